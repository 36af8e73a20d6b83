package hotcache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func wantText(t testing.TB, c *Cache, key, want string) {
	t.Helper()
	if got, err := read(t, c, key); err != nil || got != want {
		t.Errorf("reading %q: %q, %v, want %q", key, got, err, want)
	}
}

func wantMissing(t testing.TB, c *Cache, key string) {
	t.Helper()
	if got, err := read(t, c, key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("reading %q: %q, %v, want ErrNotFound", key, got, err)
	}
}

func TestConfig(t *testing.T) {
	f := newFake()
	for name, cfg := range map[string]Config{
		"no store":              {Space: "acme"},
		"no space":              {Store: f},
		"a key as space":        {Store: f, Space: "acme/users"},
		"too little memory":     {Store: f, Space: "acme", MaxBytes: 1000},
		"a stale limit too low": {Store: f, Space: "acme", StaleLimit: time.Millisecond},
		"a stale limit of ages": {Store: f, Space: "acme", StaleLimit: time.Hour},
	} {
		if c, err := New(cfg); err == nil {
			c.Close()
			t.Errorf("%s: no error", name)
		}
	}
	f.leave(errAway)
	if c, err := New(Config{Store: f, Space: "acme"}); !errors.Is(err, errAway) {
		c.Close()
		t.Errorf("a store that is away: %v", err)
	}
}

func TestReadIsCached(t *testing.T) {
	f := newFake()
	f.silent.Store(true) // or changes that are told late cost a read
	c := newCache(t, f)
	commit(t, c, put("acme/a", "1"))
	wantText(t, c, "acme/a", "1")
	c.settle()
	before := f.gets.Load()
	for range 100 {
		wantText(t, c, "acme/a", "1")
	}
	if again := f.gets.Load() - before; again != 0 {
		t.Errorf("the store was read %d times for what is cached", again)
	}
}

func TestMissingIsCached(t *testing.T) {
	f := newFake()
	f.silent.Store(true) // or changes that are told late cost a read
	c := newCache(t, f)
	wantMissing(t, c, "acme/a")
	c.settle()
	before := f.gets.Load()
	for range 100 {
		wantMissing(t, c, "acme/a")
	}
	if again := f.gets.Load() - before; again != 0 {
		t.Errorf("the store was read %d times for what is not there", again)
	}
	commit(t, c, put("acme/a", "1")) // threats K08: a key is tried before it exists
	wantText(t, c, "acme/a", "1")
	c.settle()
	commit(t, c, store.Write{Key: "acme/a"})
	wantMissing(t, c, "acme/a")
}

// TestInventedKeys: a million keys that do not exist take little memory and push out nothing that
// does (threats K08). A tenth of a million here: the bound is far below either.
func TestInventedKeys(t *testing.T) {
	f := newFake()
	f.silent.Store(true) // or changes that are told late cost a read
	c, err := New(Config{Store: f, Space: "acme", MaxBytes: 2 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const real = 500
	for i := range real {
		commit(t, c, put(fmt.Sprintf("acme/real/%d", i), "x"))
	}
	for i := range real {
		wantText(t, c, fmt.Sprintf("acme/real/%d", i), "x")
		c.settle()
	}
	for i := range 100_000 {
		wantMissing(t, c, fmt.Sprintf("acme/invented/%d", i))
	}
	c.settle()
	before := f.gets.Load()
	for i := range real {
		wantText(t, c, fmt.Sprintf("acme/real/%d", i), "x")
	}
	if again := f.gets.Load() - before; again > 0 {
		t.Errorf("%d of %d records were pushed out", again, real)
	}
	if free := c.missing.RemainingCost(); free < 0 {
		t.Errorf("what is missing takes %d bytes more than it may", -free)
	}
}

func TestMemoryIsBounded(t *testing.T) {
	f := newFake()
	c, err := New(Config{Store: f, Space: "acme", MaxBytes: MinMaxBytes})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	value := strings.Repeat("v", 1000)
	for i := range 5_000 {
		key := fmt.Sprintf("acme/%d", i)
		f.write(put(key, value))
		wantText(t, c, key, value)
	}
	c.settle()
	if free := c.kept.RemainingCost(); free < 0 {
		t.Errorf("the records take %d bytes more than they may", -free)
	}
}

// TestFrontIsBounded: what is looked for first is an addition to what is kept, and must not be a large one.
func TestFrontIsBounded(t *testing.T) {
	for _, maxBytes := range []int64{MinMaxBytes, MinMaxBytes + 1, DefaultMaxBytes, 1 << 40} {
		for _, share := range []int64{frontShare, negativeShare * frontShare} {
			f := newFront(maxBytes / share)
			if n := int64(len(f.slots)); n < 1 || n > maxFrontSlots || n*frontEntry > maxBytes/share {
				t.Errorf("%d bytes: %d slots", maxBytes/share, n)
			}
			f.slot(0)
			f.slot(math.MaxUint64) // the last one
		}
	}
	s := newFake()
	s.silent.Store(true) // or changes that are told late cost a read
	c := newCache(t, s)
	for key, size := range map[string]int{"acme/small": 100, "acme/large": frontEntry} {
		commit(t, c, put(key, strings.Repeat("v", size)))
		for range 3 {
			wantText(t, c, key, strings.Repeat("v", size))
			c.settle()
		}
		if inFront := c.front.slot(c.hash(key)).Load() != nil; inFront != (size < frontEntry) {
			t.Errorf("%s, in front: %t", key, inFront)
		}
	}
}

// TestMissingHasItsOwnFront: keys that somebody invents take no place of those that exist (threats K08).
func TestMissingHasItsOwnFront(t *testing.T) {
	c := newCache(t, newFake())
	for range 3 {
		wantMissing(t, c, "acme/invented")
		c.settle()
	}
	if c.front.slot(c.hash("acme/invented")).Load() != nil {
		t.Error("what is not there is in front of what is")
	}
	if c.frontOfMissing.slot(c.hash("acme/invented")).Load() == nil {
		t.Error("what is not there is not in front of its like")
	}
	commit(t, c, put("acme/invented", "found"))
	wantText(t, c, "acme/invented", "found")
}

// TestLast: what was read last serves later sessions while it holds, and that something is missing likewise.
func TestLast(t *testing.T) {
	f := newFake()
	f.silent.Store(true)
	c := newCache(t, f)
	commit(t, c, put("acme/a", "1"))
	last := func(keys ...string) Held {
		v := c.View()
		for _, key := range keys {
			Read(t.Context(), v, key, text)
		}
		return v.Last()
	}
	if c.View().Again(c.View().Last()) {
		t.Error("nothing was read, and holds")
	}
	var many []string
	for i := range readsInline + 2 {
		many = append(many, fmt.Sprintf("acme/%d", i))
	}
	for _, keys := range [][]string{{"acme/a"}, {"acme/none"}, {"acme/none", "acme/a"}, {"acme/a", "acme/none"}, append(many, "acme/a")} {
		held, key := last(keys...), keys[len(keys)-1]
		if !c.View().Again(held) {
			t.Errorf("%q does not hold", keys)
		}
		commit(t, c, put(key, "2"))
		if c.View().Again(held) {
			t.Errorf("%q holds after it was written", keys)
		}
		commit(t, c, store.Write{Key: "acme/none"})
	}
	held := last("acme/none")
	f.leave(errAway)
	if c.View().Again(last("acme/other")) {
		t.Error("what could not be read holds")
	}
	c.Close()
	if c.View().Again(held) {
		t.Error("it holds when the cache is closed")
	}
}

func TestRefusedReads(t *testing.T) {
	f := newFake()
	f.silent.Store(true)
	c := newCache(t, f)
	commit(t, c, put("acme/a", "1"))
	if _, err := read(t, c, "other/a"); err == nil || iam.KindOf(err) != iam.KindInternal {
		t.Errorf("another space: %v", err)
	}
	if _, err := c.Commit(t.Context(), put("other/a", "1")); err == nil {
		t.Error("another space was written")
	}
	_, err := Read(t.Context(), c.View(), "acme/a", func(store.Record) (int, error) { return 0, errors.New("no JSON") })
	if iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("a record that cannot be decoded: %v, want unavailable: it is neither there nor not there", err)
	}
	wantText(t, c, "acme/a", "1")
	c.settle()
	if _, err := Read(t.Context(), c.View(), "acme/a", func(store.Record) (int, error) { return 1, nil }); err == nil {
		t.Error("one key was read as two types")
	}
}

func TestKeysOfRecordsAndDerivedValuesAreApart(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "record"))
	derived := func() string {
		got, err := Derived(t.Context(), c.View(), []byte("acme/a"), func(context.Context, *View) (string, error) { return "derived", nil })
		if err != nil {
			t.Error(err)
		}
		return got
	}
	for range 3 {
		wantText(t, c, "acme/a", "record")
		if got := derived(); got != "derived" {
			t.Errorf("derived: %q", got)
		}
		c.settle()
	}
}

// TestEqualHashes: two keys with one hash must not answer for each other (threats K09).
func TestEqualHashes(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "1"), put("acme/b", "2"))
	wantText(t, c, "acme/a", "1")
	c.settle()
	if find(c, c.hash("acme/a"), "acme/a", false) == nil {
		t.Fatal("nothing was kept")
	}
	if found := find(c, c.hash("acme/a"), "acme/b", false); found != nil {
		t.Error("the entry of a key answers for another")
	}
	if found := find(c, c.hash("acme/a"), "acme/a", true); found != nil {
		t.Error("the entry of a record answers for a derived value")
	}
}

// TestNames: a key is compared as a whole, whether it lies in the entry or apart. One that is too long for
// the entry, and begins with or is an empty one, is none of a short one.
func TestNames(t *testing.T) {
	keys := []string{""}
	for _, n := range []int{1, nameInline - 1, nameInline, nameInline + 1, 2 * nameInline, 255, 256, 256 + nameInline, 1000} {
		equal := strings.Repeat("k", n)
		keys = append(keys, equal, equal[:n-1]+"x", "x"+equal[1:])
	}
	keys = append(keys, "\x00", "k\x00", strings.Repeat("k", nameInline-1)+"\x00")
	keys = slices.Compact(slices.Sorted(slices.Values(keys)))
	for _, key := range keys {
		n := newName(key)
		for _, other := range keys {
			if text, bytes := nameIs(&n, other), nameIs(&n, []byte(other)); text != (key == other) || bytes != text {
				t.Errorf("%d bytes %.60q and %d bytes %.60q: equal %t, %t", len(key), key, len(other), other, text, bytes)
			}
		}
	}
}

// pair is derived from two records.
func pair(ctx context.Context, v *View) (string, error) {
	a, err := Read(ctx, v, "acme/a", text)
	if err != nil {
		return "", err
	}
	b, err := Read(ctx, v, "acme/b", text)
	if err != nil {
		return "", err
	}
	return a + b, nil
}

func TestDerived(t *testing.T) {
	f := newFake()
	f.silent.Store(true) // or changes that are told late cost a read
	c := newCache(t, f)
	builds := 0
	derive := func(want string) {
		t.Helper()
		v := c.View()
		got, err := Derived(t.Context(), v, []byte("pair"), func(ctx context.Context, v *View) (string, error) {
			builds++
			return pair(ctx, v)
		})
		if want == "" && !errors.Is(err, store.ErrNotFound) || want != "" && (err != nil || got != want) {
			t.Errorf("derived %q, %v, want %q", got, err, want)
		}
		if !v.Valid() {
			t.Error("the view is not valid")
		}
		c.settle()
	}
	wantBuilds := func(want int) {
		t.Helper()
		if builds != want {
			t.Errorf("built %d times, want %d", builds, want)
		}
		builds = 0
	}
	derive("")
	derive("")
	wantBuilds(1) // that it is not there is kept
	commit(t, c, put("acme/a", "1"), put("acme/b", "2"))
	derive("12")
	derive("12")
	wantBuilds(1)
	commit(t, c, put("acme/b", "3"))
	derive("13")
	derive("13")
	wantBuilds(1)
	commit(t, c, put("acme/c", "unrelated"))
	derive("13")
	if builds > 1 { // one in 65536 shares a stripe
		t.Errorf("built %d times after an unrelated change", builds)
	}
	builds = 0
	commit(t, c, store.Write{Key: "acme/a"})
	derive("")
	wantBuilds(1)
}

// TestDerivedFromDerived: a change reaches through what is derived from what is derived.
func TestDerivedFromDerived(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "1"), put("acme/b", "2"))
	outer := func(ctx context.Context, v *View) (string, error) {
		inner, err := Derived(ctx, v, []byte("pair"), pair)
		return "<" + inner + ">", err
	}
	for _, want := range []string{"<12>", "<12>", "<32>"} {
		if want == "<32>" {
			commit(t, c, put("acme/a", "3"))
		}
		if got, err := Derived(t.Context(), c.View(), []byte("outer"), outer); err != nil || got != want {
			t.Errorf("derived %q, %v, want %q", got, err, want)
		}
		c.settle()
	}
}

// heldPair is derived from two records, and remembers how.
type heldPair struct {
	text string
	held Held
}

func buildHeldPair(ctx context.Context, v *View) (*heldPair, error) {
	text, err := pair(ctx, v)
	return &heldPair{text, v.Held()}, err
}

// TestAgain: what was read once serves later sessions, without a look-up, until something of it changes.
func TestAgain(t *testing.T) {
	f := newFake()
	f.silent.Store(true) // or changes that are told late cost a read
	c := newCache(t, f)
	commit(t, c, put("acme/a", "1"), put("acme/b", "2"), put("acme/c", "3"))
	derive := func() *heldPair {
		t.Helper()
		got, err := Derived(t.Context(), c.View(), []byte("pair"), buildHeldPair)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first := derive()
	before := f.gets.Load()
	for range 3 {
		if v := c.View(); !v.Again(first.held) || !v.Valid() {
			t.Error("nothing has changed, and it does not hold")
		}
	}
	if again := f.gets.Load() - before; again != 0 {
		t.Errorf("the store was read %d times", again)
	}
	later := c.View()
	if !later.Again(first.held) {
		t.Error("nothing has changed, and it does not hold")
	}
	commit(t, c, put("acme/b", "4"))
	if _, err := Read(t.Context(), later, "acme/c", text); err != nil || later.Valid() {
		t.Errorf("%v: what was read before the change and after it passes as one revision", err)
	}
	if c.View().Again(first.held) {
		t.Error("a change of a record was not noticed")
	}
	if got := derive(); got.text != "14" || !c.View().Again(got.held) {
		t.Errorf("read anew: %q", got.text)
	}
	if c.View().Again(Held{}) {
		t.Error("what was never read holds")
	}
}

// TestAgainFromDerived: a change reaches through what was derived from something that is used again.
func TestAgainFromDerived(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "1"), put("acme/b", "2"))
	inner, err := Derived(t.Context(), c.View(), []byte("pair"), buildHeldPair)
	if err != nil {
		t.Fatal(err)
	}
	outer := func(_ context.Context, v *View) (string, error) {
		if !v.Again(inner.held) {
			return "changed", nil
		}
		return "<" + inner.text + ">", nil
	}
	for _, want := range []string{"<12>", "<12>", "changed"} {
		if want == "changed" {
			commit(t, c, put("acme/a", "3"))
		}
		if got, err := Derived(t.Context(), c.View(), []byte("outer"), outer); err != nil || got != want {
			t.Errorf("derived %q, %v, want %q", got, err, want)
		}
		c.settle()
	}
}

// TestReadUnkept: the record is read each time, what is derived from it is kept, until it changes.
func TestReadUnkept(t *testing.T) {
	f := newFake()
	f.silent.Store(true) // or changes that are told late cost a read
	c := newCache(t, f)
	commit(t, c, put("acme/a", "1"))
	reads := func(want int64, read func() (string, error), text string) {
		t.Helper()
		before := f.gets.Load()
		for range 3 {
			if got, err := read(); got != text || (text == "") != errors.Is(err, store.ErrNotFound) {
				t.Errorf("read %q, %v, want %q", got, err, text)
			}
			c.settle()
		}
		if got := f.gets.Load() - before; got != want {
			t.Errorf("the store was read %d times, want %d", got, want)
		}
	}
	once := func() (string, error) { return ReadUnkept(t.Context(), c.View(), "acme/a", text) }
	derived := func() (string, error) {
		return Derived(t.Context(), c.View(), []byte("a"), func(ctx context.Context, v *View) (string, error) {
			return ReadUnkept(ctx, v, "acme/a", text)
		})
	}
	reads(3, once, "1")
	reads(1, derived, "1")
	commit(t, c, put("acme/a", "2"))
	reads(1, derived, "2")
	commit(t, c, store.Write{Key: "acme/a"})
	reads(1, derived, "")
	commit(t, c, put("acme/a", "3"))
	reads(1, derived, "3")
}

func TestDerivedErrorsAreNotKept(t *testing.T) {
	c := newCache(t, newFake())
	refusal := errors.New("deactivated")
	builds := 0
	for range 2 {
		if _, err := Derived(t.Context(), c.View(), []byte("x"), func(context.Context, *View) (int, error) { builds++; return 0, refusal }); !errors.Is(err, refusal) {
			t.Errorf("%v, want %v", err, refusal)
		}
		c.settle()
	}
	if builds != 2 {
		t.Errorf("built %d times, want 2", builds)
	}
}

func TestManyStamps(t *testing.T) {
	c := newCache(t, newFake())
	const records = 3 * max(stampsInline, readsInline)
	sum := func(ctx context.Context, v *View) (all string, err error) {
		for i := range records {
			one, err := Read(ctx, v, fmt.Sprintf("acme/%d", i), text)
			if err != nil {
				return "", err
			}
			all += one
		}
		return all, nil
	}
	for i := range records {
		commit(t, c, put(fmt.Sprintf("acme/%d", i), "x"))
	}
	for _, i := range []int{0, stampsInline - 1, stampsInline, readsInline - 1, readsInline, records - 1} {
		v := c.View()
		if _, err := Derived(t.Context(), v, []byte("sum"), sum); err != nil || !v.Valid() {
			t.Fatalf("%v, valid %t", err, v.Valid())
		}
		c.settle()
		commit(t, c, put(fmt.Sprintf("acme/%d", i), "y"))
		if v.Valid() {
			t.Errorf("a change of record %d was not noticed by the view", i)
		}
		if got, err := Derived(t.Context(), c.View(), []byte("sum"), sum); err != nil || got[i] != 'y' {
			t.Errorf("a change of record %d is not in %q, %v", i, got, err)
		}
	}
}

// TestOneRevision has a reader between what a commit makes visible and its return: what it read
// before and what it reads then must not pass as one revision.
func TestOneRevision(t *testing.T) {
	for name, writes := range map[string][]store.Write{
		"changed": {put("acme/a", "2"), put("acme/b", "2")},
		"deleted": {put("acme/a", "2"), {Key: "acme/b"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake()
			c := newCache(t, f)
			commit(t, c, put("acme/a", "1"), put("acme/b", "1"))
			wantText(t, c, "acme/a", "1")
			c.settle() // a is cached, b is not
			f.silent.Store(true)
			mixed := make(chan string, 1)
			f.visible = func() {
				go func() {
					v := c.View()
					a, _ := Read(t.Context(), v, "acme/a", text)
					b, _ := Read(t.Context(), v, "acme/b", text)
					if v.Valid() && a != b && a+b != "2" {
						mixed <- "read " + a + " and " + b + " as one revision"
						return
					}
					mixed <- ""
				}()
				time.Sleep(5 * time.Millisecond) // the reader meets the commit here, or waits for it
			}
			commit(t, c, writes...)
			if problem := <-mixed; problem != "" {
				t.Error(problem)
			}
		})
	}
}

func TestOneFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.write(put("acme/a", "1"))
		release := make(chan struct{})
		f.during = func(string) { <-release }
		c := newCache(t, f)
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() { wantText(t, c, "acme/a", "1") })
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if gets := f.gets.Load(); gets != 1 {
			t.Errorf("50 readers read the store %d times", gets)
		}
		endBubble(c)
	})
}

// endBubble lets the cache's goroutines end, inside a bubble.
func endBubble(c *Cache) {
	c.Close()
	time.Sleep(2 * closingGrace)
}

// TestLateFlight: a reader that starts after a commit does not take the answer of a read that
// began before it.
func TestLateFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		commit(t, c, put("acme/a", "1"))
		slow := make(chan struct{})
		decode := func(r store.Record) (string, error) {
			if string(r.Value) == "1" {
				<-slow
			}
			return string(r.Value), nil
		}
		var all sync.WaitGroup
		all.Go(func() { Read(t.Context(), c.View(), "acme/a", decode) }) // holds "1", undelivered
		synctest.Wait()
		commit(t, c, put("acme/a", "2"))
		all.Go(func() {
			if got, err := Read(t.Context(), c.View(), "acme/a", decode); got != "2" || err != nil {
				t.Errorf("after the commit: %q, %v", got, err)
			}
		})
		synctest.Wait()
		close(slow)
		all.Wait()
		wantText(t, c, "acme/a", "2")
		endBubble(c)
	})
}

// TestAbandonedFlight: the one who reads for all goes away; the others do not fail with it.
func TestAbandonedFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		commit(t, c, put("acme/a", "1"))
		ctx, cancel := context.WithCancel(t.Context())
		first := true
		release := make(chan struct{})
		f.during = func(string) {
			if first {
				first = false
				<-release
			}
		}
		var all sync.WaitGroup
		all.Go(func() {
			if _, err := Read(ctx, c.View(), "acme/a", text); iam.KindOf(err) != iam.KindUnavailable || !errors.Is(err, context.Canceled) {
				t.Errorf("the one who left: %v", err)
			}
		})
		synctest.Wait()
		for range 5 {
			all.Go(func() { wantText(t, c, "acme/a", "1") })
		}
		synctest.Wait()
		cancel()
		close(release)
		all.Wait()
		endBubble(c)
	})
}

// TestPanicInFlight: who decodes for all panics; the others do not wait for ever.
func TestPanicInFlight(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "1"))
	func() {
		defer func() { recover() }()
		Read(t.Context(), c.View(), "acme/a", func(store.Record) (string, error) { panic("decoder") })
	}()
	wantText(t, c, "acme/a", "1")
}

func TestChangesByOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		f.write(put("acme/a", "1"))
		synctest.Wait()
		wantText(t, c, "acme/a", "1")
		c.settle()
		f.write(put("acme/a", "2"))
		synctest.Wait() // the change arrives
		wantText(t, c, "acme/a", "2")
		if drops := c.Stats().Drops; drops != 0 {
			t.Errorf("everything was forgotten %d times for one change", drops)
		}
		endBubble(c)
	})
}

// TestLostCommits: after a failover the store may be at an older revision. Commits that then take the
// numbers of those that were lost are news, from the gap on.
func TestLostCommits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		for range 5 {
			f.write(put("acme/a", "lost"))
		}
		synctest.Wait()
		wantText(t, c, "acme/a", "lost")
		c.settle()
		f.mu.Lock()
		f.revision = 2
		f.records["acme/a"] = store.Record{Key: "acme/a", Value: []byte("old"), Version: 1}
		f.tell(store.Change{Gap: true, Revision: 2})
		f.mu.Unlock()
		synctest.Wait()
		wantText(t, c, "acme/a", "old")
		c.settle()
		f.write(put("acme/a", "new")) // revision 3, of which there was another
		synctest.Wait()
		wantText(t, c, "acme/a", "new")
		endBubble(c)
	})
}

func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		f.write(put("acme/a", "1"))
		synctest.Wait()
		wantText(t, c, "acme/a", "1")
		c.settle()
		f.silent.Store(true)
		f.write(put("acme/a", "2"))
		f.silent.Store(false)
		f.mu.Lock()
		f.tell(store.Change{Gap: true})
		f.mu.Unlock()
		synctest.Wait()
		wantText(t, c, "acme/a", "2")
		if got := c.Stats().Revision; got != 2 {
			t.Errorf("after the gap the cache is at revision %d, want 2", got)
		}
		endBubble(c)
	})
}

// TestLostMessage: a change that nobody tells is noticed by comparing revisions.
func TestLostMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		f.write(put("acme/a", "1"))
		synctest.Wait()
		wantText(t, c, "acme/a", "1")
		c.settle()
		f.silent.Store(true)
		f.write(put("acme/a", "2"))
		time.Sleep(askEvery + 2*patience)
		wantText(t, c, "acme/a", "2")
		endBubble(c)
	})
}

// TestNewerFact: reading a record of a commit that was not told yet makes what was cached before
// that commit unusable in the same view.
func TestNewerFact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		f.write(put("acme/a", "1"), put("acme/b", "1"))
		synctest.Wait()
		wantText(t, c, "acme/a", "1")
		c.settle()
		f.silent.Store(true)
		f.write(put("acme/a", "2"), put("acme/b", "2"))
		v := c.View()
		a, _ := Read(t.Context(), v, "acme/a", text)
		b, _ := Read(t.Context(), v, "acme/b", text)
		if v.Valid() {
			t.Errorf("%q and %q pass as one revision", a, b)
		}
		wantText(t, c, "acme/a", "2")
		endBubble(c)
	})
}

// TestRestoredStore: the store was replaced by an older one.
func TestRestoredStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		commit(t, c, put("acme/a", "1"))
		commit(t, c, put("acme/a", "2"))
		wantText(t, c, "acme/a", "2")
		c.settle()
		f.mu.Lock()
		f.revision = 1
		f.records["acme/a"] = store.Record{Key: "acme/a", Value: []byte("1"), Version: 1}
		f.mu.Unlock()
		time.Sleep(askEvery + patience)
		wantText(t, c, "acme/a", "1")
		endBubble(c)
	})
}

func TestStoreAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		commit(t, c, put("acme/a", "1"))
		wantText(t, c, "acme/a", "1")
		c.settle()
		f.leave(errAway)
		wantUnavailable := func(key string) {
			t.Helper()
			if got, err := read(t, c, key); iam.KindOf(err) != iam.KindUnavailable {
				t.Errorf("reading %q with the store away: %q, %v", key, got, err)
			}
		}
		wantUnavailable("acme/b") // neither there nor not there
		if _, err := c.Commit(t.Context(), put("acme/a", "2")); !errors.Is(err, errAway) {
			t.Errorf("committing: %v", err)
		}
		f.leave(nil)
		wantText(t, c, "acme/a", "1") // the outcome was unknown, so it was read again
		c.settle()
		used, err := Derived(t.Context(), c.View(), []byte("used"), func(ctx context.Context, v *View) (Held, error) {
			_, err := Read(ctx, v, "acme/a", text)
			return v.Held(), err
		})
		if err != nil || !c.View().Again(used) {
			t.Errorf("%v, or what was just read does not hold", err)
		}
		f.leave(errAway)
		time.Sleep(DefaultStaleLimit - 2*askEvery)
		wantText(t, c, "acme/a", "1")
		time.Sleep(3 * askEvery)
		wantUnavailable("acme/a")
		if _, err := Read(t.Context(), c.View(), "acme/a", text); !strings.Contains(err.Error(), errAway.Error()) {
			t.Errorf("the refusal does not say why the store is silent: %v", err)
		}
		if _, err := Derived(t.Context(), c.View(), []byte("x"), func(context.Context, *View) (int, error) { return 1, nil }); iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("deriving: %v", err)
		}
		if c.View().Again(used) {
			t.Error("what was read before is used again")
		}
		if age := c.Stats().SinceContact; age < DefaultStaleLimit {
			t.Errorf("the last contact is %s ago", age)
		}
		f.leave(nil)
		time.Sleep(2 * askEvery)
		wantText(t, c, "acme/a", "1")
		endBubble(c)
	})
}

// TestWatchEnded: the store ends the watch; the cache watches again and forgets what it had.
func TestWatchEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c := newCache(t, f)
		commit(t, c, put("acme/a", "1"))
		wantText(t, c, "acme/a", "1")
		c.settle()
		f.endWatches()
		f.write(put("acme/a", "2")) // told to nobody
		time.Sleep(2 * watchAgain)
		wantText(t, c, "acme/a", "2")
		if f.watches != 2 {
			t.Errorf("watched %d times, want 2", f.watches)
		}
		endBubble(c)
	})
}

func TestClosed(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "1"))
	wantText(t, c, "acme/a", "1")
	for range 2 {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := read(t, c, "acme/a"); iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("reading from a closed cache: %v", err)
	}
}

// TestFirst: in each round one of those who read a value is the first, and whoever reads it anew begins again.
func TestFirst(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "1"))
	held := func() Held {
		v := c.View()
		if _, err := Derived(t.Context(), v, []byte("a"), func(ctx context.Context, v *View) (string, error) {
			return Read(ctx, v, "acme/a", func(r store.Record) (string, error) { return string(r.Value), nil })
		}); err != nil {
			t.Fatal(err)
		}
		return v.Last()
	}
	h := held()
	for _, tt := range []struct {
		round uint32
		first bool
	}{{1, true}, {1, false}, {2, true}, {2, false}, {math.MaxUint32, true}, {1, true}} {
		if first := h.First(tt.round); first != tt.first {
			t.Errorf("round %d: first is %t", tt.round, first)
		}
	}
	var firsts, group = make(chan bool, 100), sync.WaitGroup{}
	for range cap(firsts) {
		group.Go(func() { firsts <- h.First(3) })
	}
	group.Wait()
	close(firsts)
	n := 0
	for first := range firsts {
		if first {
			n++
		}
	}
	if n != 1 {
		t.Errorf("of those who ask at once %d are the first", n)
	}
	commit(t, c, put("acme/a", "2"))
	if !held().First(3) {
		t.Error("who reads it anew is not the first")
	}
	if (Held{}).First(1) {
		t.Error("nothing has a first")
	}
}
