package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func testRevisions(t *testing.T, s store.Store) {
	for want := store.Revision(1); want <= 5; want++ {
		if got := commit(t, s, put("acme/a", "x"), put("acme/"+fmt.Sprint(want), "y")); got != want {
			t.Errorf("commit returned revision %d, want %d", got, want)
		}
	}
	wantRecord(t, s, "acme/a", "x", 5)
	wantRecord(t, s, "acme/3", "y", 3)
	if got := commit(t, s, store.Write{Key: "acme/none"}); got != 6 {
		t.Errorf("deleting what is not there returned revision %d, want 6", got)
	}
}

func testRevisionRecord(t *testing.T, s store.Store) {
	key := store.RevisionKey("acme")
	wantNone(t, s, key)
	for want := store.Revision(1); want <= 3; want++ {
		commit(t, s, put("acme/a", "x"))
		wantRecord(t, s, key, "", want)
	}
	commit(t, s, put("other/a", "x"))
	wantRecord(t, s, key, "", 3)
	wantKeys(t, s, "acme/", "", 0, "acme/a")
}

func testSpaces(t *testing.T, s store.Store) {
	for _, space := range []string{"acme", "acme-2", "acme.test", "acm", "ACME", "sessions"} {
		if got := commit(t, s, put(space+"/a", space)); got != 1 {
			t.Errorf("the first commit to %q returned revision %d", space, got)
		}
	}
	wantRecord(t, s, "acme/a", "acme", 1)
	wantRecord(t, s, "ACME/a", "ACME", 1)
	wantKeys(t, s, "acme/", "", 0, "acme/a")
	commit(t, s, store.Write{Key: "acme/a"})
	wantNone(t, s, "acme/a")
	wantRecord(t, s, "acme-2/a", "acme-2", 1)
}

func testDelete(t *testing.T, s store.Store) {
	commit(t, s, put("acme/a", "1"), put("acme/b", "2"))
	commit(t, s, store.Write{Key: "acme/a"}, put("acme/c", "3"))
	wantNone(t, s, "acme/a")
	wantKeys(t, s, "acme/", "", 0, "acme/b", "acme/c")
	revision := commit(t, s, put("acme/a", "again"))
	wantRecord(t, s, "acme/a", "again", revision)
}

func testExpectations(t *testing.T, s store.Store) {
	first := commit(t, s, store.Write{Key: "acme/a", Value: []byte("1"), Expect: store.Absent()})
	second := commit(t, s, store.Write{Key: "acme/a", Value: []byte("2"), Expect: store.At(first)})
	for _, test := range []struct {
		name  string
		write store.Write
		holds bool
	}{
		{"absent, but there", store.Write{Key: "acme/a", Value: []byte("x"), Expect: store.Absent()}, false},
		{"at 0 is absent", store.Write{Key: "acme/a", Value: []byte("x"), Expect: store.At(0)}, false},
		{"at an older version", store.Write{Key: "acme/a", Value: []byte("x"), Expect: store.At(first)}, false},
		{"at a future version", store.Write{Key: "acme/a", Value: []byte("x"), Expect: store.At(second + 1)}, false},
		{"at a version of what is not there", store.Write{Key: "acme/b", Value: []byte("x"), Expect: store.At(second)}, false},
		{"delete at an older version", store.Write{Key: "acme/a", Expect: store.At(first)}, false},
		{"absent and absent", store.Write{Key: "acme/c", Value: []byte("x"), Expect: store.Absent()}, true},
		{"delete what is absent", store.Write{Key: "acme/d", Expect: store.Absent()}, true},
		{"delete at its version", store.Write{Key: "acme/a", Expect: store.At(second)}, true},
		{"absent after deleting", store.Write{Key: "acme/a", Value: []byte("3"), Expect: store.Absent()}, true},
	} {
		_, err := s.Commit(t.Context(), test.write)
		if test.holds && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if !test.holds && !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", test.name, err)
		}
	}
}

func testConflictWritesNothing(t *testing.T, s store.Store) {
	first := commit(t, s, put("acme/a", "1"), put("acme/b", "1"))
	_, err := s.Commit(t.Context(), put("acme/a", "2"), put("acme/new", "2"), store.Write{Key: "acme/b"},
		store.Write{Key: "acme/c", Value: []byte("2"), Expect: store.At(7)})
	if !errors.Is(err, store.ErrConflict) {
		t.Fatalf("%v, want ErrConflict", err)
	}
	wantRecord(t, s, "acme/a", "1", first)
	wantRecord(t, s, "acme/b", "1", first)
	wantNone(t, s, "acme/new")
	wantRecord(t, s, store.RevisionKey("acme"), "", first)
	if next := commit(t, s, put("acme/a", "3")); next != first+1 {
		t.Errorf("the commit after a conflict has revision %d, want %d", next, first+1)
	}
}

func testChecks(t *testing.T, s store.Store) {
	first := commit(t, s, put("acme/a", "1"), put("acme/b", "1"))
	look := func(key string, e store.Expect) store.Write { return store.Write{Key: key, Expect: e, Check: true} }
	second := commit(t, s, put("acme/b", "2"), look("acme/a", store.At(first)), look("acme/none", store.Absent()))
	wantRecord(t, s, "acme/a", "1", first)
	wantRecord(t, s, "acme/b", "2", second)
	wantNone(t, s, "acme/none")
	for name, w := range map[string]store.Write{
		"at an older version": look("acme/b", store.At(first)),
		"absent, but there":   look("acme/a", store.Absent()),
		"there, but absent":   look("acme/none", store.At(first)),
	} {
		if _, err := s.Commit(t.Context(), put("acme/c", "x"), w); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	wantNone(t, s, "acme/c")
	// Many look at the same record at once, and none of them beats another.
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			if _, err := s.Commit(t.Context(), put(fmt.Sprintf("acme/n%d", i), "x"), look("acme/a", store.At(first))); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	wantRecord(t, s, "acme/a", "1", first)
	commit(t, s, store.Write{Key: "acme/a"}, look("acme/b", store.At(second)))
	wantNone(t, s, "acme/a")
	wantRecord(t, s, "acme/b", "2", second)
}

func testInvalidWrites(t *testing.T, s store.Store) {
	tooMany := make([]store.Write, store.MaxWrites+1)
	for i := range tooMany {
		tooMany[i] = put(fmt.Sprintf("acme/%d", i), "x")
	}
	for name, writes := range map[string][]store.Write{
		"none":                 {},
		"too many":             tooMany,
		"an empty key":         {put("", "x")},
		"a space alone":        {put("acme", "x")},
		"nothing behind it":    {put("acme/", "x")},
		"an empty space":       {put("/a", "x")},
		"too long a key":       {put("acme/"+strings.Repeat("k", store.MaxKeyBytes-4), "x")},
		"too long a value":     {put("acme/a", strings.Repeat("v", store.MaxValueBytes+1))},
		"two spaces":           {put("acme/a", "x"), put("other/a", "x")},
		"a space and its like": {put("acme/a", "x"), put("acme-2/a", "x")},
		"one key twice":        {put("acme/a", "x"), put("acme/b", "x"), put("acme/a", "y")},
		"put and delete":       {put("acme/a", "x"), {Key: "acme/a"}},
		"nothing but a look":   {{Key: "acme/a", Expect: store.Absent(), Check: true}},
		"a look at nothing":    {put("acme/a", "x"), {Key: "acme/b", Check: true}},
		"a look that writes":   {put("acme/a", "x"), {Key: "acme/b", Value: []byte("x"), Expect: store.Absent(), Check: true}},
		"a look and a write":   {put("acme/a", "x"), {Key: "acme/a", Expect: store.Absent(), Check: true}},
		"the revision":         {put(store.RevisionKey("acme"), "x")},
		"no revision":          {put("acme/a", "x"), {Key: store.RevisionKey("acme")}},
	} {
		if _, err := s.Commit(t.Context(), writes...); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	wantKeys(t, s, "", "", 0)
	wantNone(t, s, store.RevisionKey("acme"))
}

func testBounds(t *testing.T, s store.Store) {
	key := "acme/" + strings.Repeat("k", store.MaxKeyBytes-5)
	value := strings.Repeat("v", store.MaxValueBytes)
	revision := commit(t, s, put(key, value))
	wantRecord(t, s, key, value, revision)
	writes := make([]store.Write, store.MaxWrites)
	for i := range writes {
		writes[i] = put(fmt.Sprintf("acme/%d", i), "x")
	}
	revision = commit(t, s, writes...)
	wantRecord(t, s, writes[store.MaxWrites-1].Key, "x", revision)
}

// testCounters has many writers raise one counter by compare-and-swap.
func testCounters(t *testing.T, s store.Store) {
	const writers, increments = 8, 20
	commit(t, s, put("acme/counter", "0"))
	var conflicts atomic.Int64
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for done := 0; done < increments; {
				r, err := s.Get(t.Context(), "acme/counter")
				if err != nil {
					t.Errorf("getting: %v", err)
					return
				}
				n, _ := strconv.Atoi(string(r.Value))
				_, err = s.Commit(t.Context(), store.Write{Key: "acme/counter", Value: []byte(strconv.Itoa(n + 1)), Expect: store.At(r.Version)})
				switch {
				case err == nil:
					done++
				case errors.Is(err, store.ErrConflict):
					conflicts.Add(1)
				default:
					t.Errorf("committing: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	wantRecord(t, s, "acme/counter", strconv.Itoa(writers*increments), writers*increments+1)
	t.Logf("%d conflicts", conflicts.Load())
}

// testAtomicity moves units between records; no reader may see one created or lost. It reads by
// List, the one call that promises one revision.
func testAtomicity(t *testing.T, s store.Store) {
	const accounts, each, moves = 5, 100, 60
	var writes []store.Write
	for i := range accounts {
		writes = append(writes, put(fmt.Sprintf("acme/%d", i), strconv.Itoa(each)))
	}
	commit(t, s, writes...)
	var writers, readers sync.WaitGroup
	var done atomic.Bool
	for w := range 4 {
		writers.Go(func() {
			for i := range moves {
				move(t, s, (w+i)%accounts, (w+2*i+1)%accounts)
			}
		})
	}
	for range 2 {
		readers.Go(func() {
			for !done.Load() {
				total := 0
				listed, err := s.List(t.Context(), "acme/", "", 0)
				for _, r := range listed {
					n, _ := strconv.Atoi(string(r.Value))
					total += n
				}
				if err != nil || total != accounts*each {
					t.Errorf("total %d, %v, want %d", total, err, accounts*each)
					return
				}
			}
		})
	}
	writers.Wait()
	done.Store(true)
	readers.Wait()
}

// move takes one unit from a record to another, however often it must try.
func move(t testing.TB, s store.Store, from, to int) {
	if from == to {
		return
	}
	step := func(i, by int) store.Write {
		r, err := s.Get(t.Context(), fmt.Sprintf("acme/%d", i))
		if err != nil {
			t.Errorf("getting: %v", err)
		}
		n, _ := strconv.Atoi(string(r.Value))
		return store.Write{Key: r.Key, Value: []byte(strconv.Itoa(n + by)), Expect: store.At(r.Version)}
	}
	for {
		_, err := s.Commit(t.Context(), step(from, -1), step(to, 1))
		if !errors.Is(err, store.ErrConflict) {
			if err != nil {
				t.Errorf("committing: %v", err)
			}
			return
		}
	}
}

func testReadYourWrites(t *testing.T, s store.Store) {
	var all sync.WaitGroup
	for w := range 4 {
		all.Go(func() {
			key := fmt.Sprintf("acme/%d", w)
			for i := range 30 {
				value := strconv.Itoa(i)
				revision, err := s.Commit(t.Context(), put(key, value))
				if err != nil {
					t.Errorf("committing: %v", err)
					return
				}
				wantRecord(t, s, key, value, revision)
				if head, err := s.Get(t.Context(), store.RevisionKey("acme")); err != nil || head.Version < revision {
					t.Errorf("the space is at %d, %v, after a commit at %d", head.Version, err, revision)
				}
			}
		})
	}
	all.Wait()
}
