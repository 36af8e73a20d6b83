package storetest

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func testGet(t *testing.T, s store.Store) {
	wantNone(t, s, "acme/a")
	revision := commit(t, s, put("acme/a", "1"), put("acme/b", "2"))
	wantRecord(t, s, "acme/a", "1", revision)
	wantRecord(t, s, "acme/b", "2", revision)
	for _, key := range []string{"", "acme", "acme/", "acme/A", "acme/a/", "acme/a\x00", "/a", "b/a", strings.Repeat("k", store.MaxKeyBytes+1)} {
		wantNone(t, s, key)
	}
}

func testValues(t *testing.T, s store.Store) {
	everyByte := make([]byte, 256)
	for i := range everyByte {
		everyByte[i] = byte(i)
	}
	values := map[string]string{
		"acme/empty":          "",
		"acme/zero":           "\x00",
		"acme/every byte":     string(everyByte),
		"acme/json":           `{"a":"ü"}`,
		"acme/lines":          "a\r\nb\n",
		"acme/key \x00\xff\n": "a key may have any byte",
		"acme/ключ":           "значение",
		"acme/{tag}*?[a]":     "what patterns are made of",
	}
	for key, value := range values {
		revision := commit(t, s, put(key, value))
		wantRecord(t, s, key, value, revision)
	}
	for key, value := range values {
		records, err := s.List(t.Context(), key, "", 1)
		if err != nil || len(records) != 1 || string(records[0].Value) != value {
			t.Errorf("listing %q: %v, %v", key, records, err)
		}
	}
}

func testOwnership(t *testing.T, s store.Store) {
	value := []byte("value")
	revision := commit(t, s, store.Write{Key: "acme/a", Value: value})
	copy(value, "spoil")
	wantRecord(t, s, "acme/a", "value", revision)
	got, err := s.Get(t.Context(), "acme/a")
	if err != nil {
		t.Fatal(err)
	}
	copy(got.Value, "spoil")
	wantRecord(t, s, "acme/a", "value", revision)
	listed, err := s.List(t.Context(), "acme/", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	copy(listed[0].Value, "spoil")
	_ = append(listed[0].Value, "spoil"...)
	wantRecord(t, s, "acme/a", "value", revision)
}

func testListOrder(t *testing.T, s store.Store) {
	keys := []string{"acme/\x00", "acme/\x01", "acme/ ", "acme/10", "acme/9", "acme/A", "acme/Z", "acme/a", "acme/a/", "acme/a/b", "acme/a0", "acme/aa", "acme/ä", "acme/\xff", "acme/\xff\xff"}
	slices.Sort(keys) // Go compares strings by bytes
	backwards := slices.Clone(keys)
	slices.Reverse(backwards)
	for _, key := range backwards {
		commit(t, s, put(key, key))
	}
	commit(t, s, put("acmf/a", "of the next space"))
	commit(t, s, put("acm/a", "of a space before"))
	wantKeys(t, s, "acme/", "", 0, keys...)
	wantKeys(t, s, "acme/a", "", 0, "acme/a", "acme/a/", "acme/a/b", "acme/a0", "acme/aa")
	wantKeys(t, s, "acme/a/", "", 0, "acme/a/", "acme/a/b")
	wantKeys(t, s, "acme/\xff", "", 0, "acme/\xff", "acme/\xff\xff")
	wantKeys(t, s, "acme/none", "", 0)
	wantKeys(t, s, "none/", "", 0)
}

func testListPages(t *testing.T, s store.Store) {
	var keys []string
	var writes []store.Write
	for i := range 25 {
		keys = append(keys, fmt.Sprintf("acme/%02d", i))
		writes = append(writes, put(keys[i], "x"))
	}
	commit(t, s, writes...)
	var got []string
	for after := ""; ; {
		records, err := s.List(t.Context(), "acme/", after, 10)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			got = append(got, r.Key)
		}
		if len(records) < 10 {
			break
		}
		after = records[9].Key
	}
	if !slices.Equal(got, keys) {
		t.Errorf("pages: %q, want %q", got, keys)
	}
	wantKeys(t, s, "acme/", "acme/07", 2, "acme/08", "acme/09")
	wantKeys(t, s, "acme/", "acme/07x", 1, "acme/08")
	wantKeys(t, s, "acme/", "acme/24", 0)
	wantKeys(t, s, "acme/2", "acme/0", 2, "acme/20", "acme/21")
	wantKeys(t, s, "acme/0", "acme/1", 0)
	wantKeys(t, s, "acme/1", "acme/1", 1, "acme/10")
}

func testListBound(t *testing.T, s store.Store) {
	writes := make([]store.Write, store.MaxListed+1)
	for i := range writes {
		writes[i] = put(fmt.Sprintf("acme/%06d", i), "x")
	}
	commit(t, s, writes...)
	for _, limit := range []int{0, -1, store.MaxListed, store.MaxListed + 1} {
		records, err := s.List(t.Context(), "acme/", "", limit)
		if err != nil || len(records) != store.MaxListed {
			t.Errorf("limit %d: %d records, %v, want %d", limit, len(records), err, store.MaxListed)
		}
	}
	wantKeys(t, s, "acme/", writes[store.MaxListed-1].Key, 0, writes[store.MaxListed].Key)
}

// testListSnapshot has one writer give all records the same value, again and again: a list that
// mixes values saw two revisions.
func testListSnapshot(t *testing.T, s store.Store) {
	const records = 200
	rewrite := func(value string) []store.Write {
		writes := make([]store.Write, records)
		for i := range writes {
			writes[i] = put(fmt.Sprintf("acme/%03d", i), value)
		}
		return writes
	}
	commit(t, s, rewrite("0")...)
	var done atomic.Bool
	finished := make(chan error, 1)
	go func() {
		defer done.Store(true)
		var err error
		for i := 1; i <= 30 && err == nil; i++ {
			_, err = s.Commit(t.Context(), rewrite(fmt.Sprint(i))...)
		}
		finished <- err
	}()
	for !done.Load() {
		listed, err := s.List(t.Context(), "acme/", "", 0)
		if err != nil {
			t.Errorf("listing: %v", err)
			break
		}
		if len(listed) != records {
			t.Errorf("%d records, want %d", len(listed), records)
		}
		for _, r := range listed {
			if r.Version != listed[0].Version || string(r.Value) != string(listed[0].Value) {
				t.Fatalf("one list has %q at %d and %q at %d", listed[0].Value, listed[0].Version, r.Value, r.Version)
			}
		}
	}
	if err := <-finished; err != nil {
		t.Errorf("committing: %v", err)
	}
}
