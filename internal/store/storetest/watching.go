package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// watch watches a prefix until the test ends.
func watch(t testing.TB, s store.Store, prefix string) <-chan store.Change {
	t.Helper()
	changes, err := s.Watch(t.Context(), prefix)
	if err != nil {
		t.Fatalf("watching: %v", err)
	}
	return changes
}

func testWatch(t *testing.T, s store.Store) {
	commit(t, s, put("acme/before", "x"))
	first, second := watch(t, s, "acme/"), watch(t, s, "acme/")
	a := commit(t, s, put("acme/a", "1"), put("acme/b", "1"))
	b := commit(t, s, store.Write{Key: "acme/a"})
	for _, changes := range []<-chan store.Change{first, second} {
		if change := await(t, changes, a); !change.Gap && !slices.Equal(slices.Sorted(slices.Values(change.Keys)), []string{"acme/a", "acme/b"}) {
			t.Errorf("the first commit yields %+v", change)
		}
		if change := await(t, changes, b); !change.Gap && !slices.Equal(change.Keys, []string{"acme/a"}) {
			t.Errorf("the second commit yields %+v", change)
		}
	}
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/a", Value: []byte("x"), Expect: store.At(99)}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("%v, want ErrConflict", err)
	}
	c := commit(t, s, put("acme/c", "1"))
	if change := await(t, first, b+1); !change.Gap && (change.Revision != c || !slices.Equal(change.Keys, []string{"acme/c"})) {
		t.Errorf("after a conflict the next commit yields %+v", change)
	}
}

// testWatchCommitted: the time of a commit is by this process's clock, whatever clock the backend has.
func testWatchCommitted(t *testing.T, s store.Store) {
	changes := watch(t, s, "acme/")
	for range 5 {
		before := time.Now()
		change := await(t, changes, commit(t, s, put("acme/a", "x")))
		if early, late := before.Sub(change.Committed), time.Until(change.Committed); early > patience || late > patience {
			t.Errorf("a commit of just now was made at %s, by its change", change.Committed)
		}
	}
}

func testWatchPrefix(t *testing.T, s store.Store) {
	changes := watch(t, s, "acme/users/")
	commit(t, s, put("acme/teams/a", "x"))
	commit(t, s, put("acme-2/users/a", "x"))
	commit(t, s, put("acme/users", "x"))
	last := commit(t, s, put("acme/users/a", "x"), put("acme/teams/b", "x"), put("acme/users/b", "x"))
	for {
		change := next(t, changes)
		for _, key := range change.Keys {
			if key != "acme/users/a" && key != "acme/users/b" {
				t.Errorf("the change of %q arrived", key)
			}
		}
		if change.Revision == last {
			if !change.Gap && len(change.Keys) != 2 {
				t.Errorf("of the last commit %q arrived", change.Keys)
			}
			return
		}
	}
}

func testWatchRevision(t *testing.T, s store.Store) {
	key := store.RevisionKey("acme")
	changes := watch(t, s, key)
	commit(t, s, put("other/a", "x"))
	for range 3 {
		revision := commit(t, s, put("acme/a", "x"))
		if change := await(t, changes, revision); !change.Gap && !slices.Equal(change.Keys, []string{key}) {
			t.Errorf("watching the revision yields %+v", change)
		}
	}
}

func testWatchEnds(t *testing.T, s store.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	ended, err := s.Watch(ctx, "acme/")
	if err != nil {
		t.Fatal(err)
	}
	full, err := s.Watch(ctx, "acme/") // nobody receives from it
	if err != nil {
		t.Fatal(err)
	}
	other := watch(t, s, "acme/")
	commit(t, s, put("acme/a", "x"))
	cancel()
	wantClosed(t, ended)
	wantClosed(t, full)
	revision := commit(t, s, put("acme/b", "x"))
	await(t, other, revision)
}

// testWatchGap has a watcher that receives nothing while far more is committed than a queue may
// hold: it must learn of the last commit, or that it missed something.
func testWatchGap(t *testing.T, s store.Store) {
	changes := watch(t, s, "acme/")
	const commits, writesEach = 60, 2_000
	missing := make(map[store.Revision]bool)
	for i := range commits {
		writes := make([]store.Write, writesEach)
		for j := range writes {
			writes[j] = put(fmt.Sprintf("acme/%d", j), fmt.Sprint(i))
		}
		missing[commit(t, s, writes...)] = true
	}
	queued := 0
	for gap := false; !gap && len(missing) > 0; {
		change := next(t, changes)
		gap = change.Gap
		queued += len(change.Keys)
		delete(missing, change.Revision)
	}
	if queued >= commits*writesEach {
		t.Errorf("%d keys waited for a watcher that received nothing", queued)
	}
	revision := commit(t, s, put("acme/last", "x"))
	await(t, changes, revision) // and it goes on
}

func testCancelled(t *testing.T, s store.Store) {
	commit(t, s, put("acme/a", "1"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(ctx, "acme/a"); !errors.Is(err, context.Canceled) {
		t.Errorf("getting: %v", err)
	}
	if _, err := s.List(ctx, "acme/", "", 0); !errors.Is(err, context.Canceled) {
		t.Errorf("listing: %v", err)
	}
	if _, err := s.Commit(ctx, put("acme/a", "2")); !errors.Is(err, context.Canceled) {
		t.Errorf("committing: %v", err)
	}
	if changes, err := s.Watch(ctx, "acme/"); err == nil {
		wantClosed(t, changes)
	} else if !errors.Is(err, context.Canceled) {
		t.Errorf("watching: %v", err)
	}
	wantRecord(t, s, "acme/a", "1", 1)
}

func testClose(t *testing.T, s store.Store) {
	commit(t, s, put("acme/a", "1"))
	changes := watch(t, s, "acme/")
	if err := s.Close(); err != nil {
		t.Fatalf("closing: %v", err)
	}
	wantClosed(t, changes)
	if _, err := s.Get(t.Context(), "acme/a"); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("getting from a closed store: %v", err)
	}
	if _, err := s.List(t.Context(), "acme/", "", 0); err == nil {
		t.Error("a closed store lists")
	}
	if _, err := s.Commit(t.Context(), put("acme/a", "2")); err == nil || errors.Is(err, store.ErrConflict) {
		t.Errorf("committing to a closed store: %v", err)
	}
	if _, err := s.Watch(t.Context(), "acme/"); err == nil {
		t.Error("a closed store can be watched")
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

// testCloseUnderLoad closes while everything is going on: nothing may hang or panic.
func testCloseUnderLoad(t *testing.T, s store.Store) {
	var all sync.WaitGroup
	began := make(chan struct{}, 16)
	for w := range 4 {
		key := fmt.Sprintf("acme/%d", w)
		all.Go(func() {
			for i := 0; ; i++ {
				if _, err := s.Commit(context.Background(), put(key, fmt.Sprint(i))); err != nil {
					return
				}
				if i == 0 {
					began <- struct{}{}
				}
			}
		})
		all.Go(func() {
			for {
				if _, err := s.Get(context.Background(), key); err != nil && !errors.Is(err, store.ErrNotFound) {
					return
				}
				if _, err := s.List(context.Background(), "acme/", "", 0); err != nil {
					return
				}
			}
		})
		all.Go(func() {
			changes, err := s.Watch(context.Background(), "acme/")
			for err == nil {
				if _, open := <-changes; !open {
					return
				}
			}
		})
	}
	for range 4 {
		<-began
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	all.Wait()
}
