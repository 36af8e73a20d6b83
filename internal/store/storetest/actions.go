package storetest

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// put is a Write without demand.
func put(key, value string) store.Write { return store.Write{Key: key, Value: []byte(value)} }

// commit commits and returns the revision.
func commit(t testing.TB, s store.Store, writes ...store.Write) store.Revision {
	t.Helper()
	revision, err := s.Commit(t.Context(), writes...)
	if err != nil {
		t.Fatalf("committing: %v", err)
	}
	return revision
}

// wantRecord fails unless the store has exactly this record.
func wantRecord(t testing.TB, s store.Store, key, value string, version store.Revision) {
	t.Helper()
	r, err := s.Get(t.Context(), key)
	switch {
	case err != nil:
		t.Errorf("getting %q: %v", key, err)
	case r.Key != key || string(r.Value) != value || r.Version != version:
		t.Errorf("getting %q: %q %.80q at %d, want %.80q at %d", key, r.Key, r.Value, r.Version, value, version)
	}
}

// wantNone fails if there is a record.
func wantNone(t testing.TB, s store.Store, key string) {
	t.Helper()
	if r, err := s.Get(t.Context(), key); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("getting %.80q: %.80q, %v, want ErrNotFound", key, r.Value, err)
	}
}

// wantKeys fails unless listing yields exactly these keys.
func wantKeys(t testing.TB, s store.Store, prefix, after string, limit int, want ...string) {
	t.Helper()
	records, err := s.List(t.Context(), prefix, after, limit)
	if err != nil {
		t.Fatalf("listing: %v", err)
	}
	var got []string
	for _, r := range records {
		got = append(got, r.Key)
	}
	if !slices.Equal(got, want) {
		t.Errorf("listing %q after %q, at most %d: %q, want %q", prefix, after, limit, got, want)
	}
}

// next returns the next change that is no Gap before the first commit.
func next(t testing.TB, changes <-chan store.Change) store.Change {
	t.Helper()
	select {
	case change, open := <-changes:
		if !open {
			t.Fatal("the channel of changes was closed")
		}
		return change
	case <-time.After(patience):
		t.Fatal("no change arrived")
	}
	panic("unreachable")
}

// await takes changes until the one of a revision, and returns it. A Gap counts as any revision.
func await(t testing.TB, changes <-chan store.Change, revision store.Revision) store.Change {
	t.Helper()
	for {
		if change := next(t, changes); change.Revision >= revision {
			return change
		}
	}
}

// wantClosed fails unless the channel is closed soon.
func wantClosed(t testing.TB, changes <-chan store.Change) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case _, open := <-changes:
			if !open {
				return
			}
		case <-late:
			t.Fatal("the channel of changes is still open")
		}
	}
}
