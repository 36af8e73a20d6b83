package hotcache

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// watched is what a Cache told of commits.
type watched struct {
	mu   sync.Mutex
	told []Propagation
}

func (w *watched) add(p Propagation) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, p)
}

// take returns what was told since the last time.
func (w *watched) take() []Propagation {
	w.mu.Lock()
	defer w.mu.Unlock()
	told := w.told
	w.told = nil
	return told
}

func (w *watched) commits() (n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.told {
		n += p.Commits
	}
	return n
}

func newWatchedCache(t *testing.T, s store.Store) (*Cache, *watched) {
	t.Helper()
	w := new(watched)
	c, err := New(Config{Store: s, Space: "acme", Propagated: w.add})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c, w
}

// late tells a change that was committed some time ago.
func (f *fake) late(ago time.Duration, change store.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change.Committed = time.Now().Add(-ago)
	f.tell(change)
}

func wantTold(t *testing.T, w *watched, want ...Propagation) {
	t.Helper()
	got := w.take()
	if len(got) != len(want) {
		t.Errorf("told is %+v, want %+v", got, want)
		return
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("told is %+v, want %+v", got, want)
		}
	}
}

// TestPropagation: the time runs from the commit to when it holds, and is never longer than since the last
// contact, by which everything older held.
func TestPropagation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c, w := newWatchedCache(t, f)
		time.Sleep(askEvery + 700*time.Millisecond) // the last contact is 700 ms ago
		f.silent.Store(true)
		quietly := func(n int) (last store.Revision) {
			t.Helper()
			for range n {
				last, _ = f.write(put("acme/a", "x"))
			}
			return last
		}
		tell := func(ago time.Duration, change store.Change) {
			t.Helper()
			f.silent.Store(false)
			f.late(ago, change)
			f.silent.Store(true)
			synctest.Wait()
		}
		keys := []string{"acme/a"}

		first := quietly(1)
		tell(20*time.Millisecond, store.Change{Keys: keys, Revision: first})
		wantTold(t, w, Propagation{1, 20 * time.Millisecond, false})
		tell(30*time.Millisecond, store.Change{Keys: keys, Revision: first})
		wantTold(t, w) // told already

		tell(time.Hour, store.Change{Keys: keys, Revision: quietly(1)})
		wantTold(t, w, Propagation{1, 700 * time.Millisecond, false})
		tell(-time.Hour, store.Change{Keys: keys, Revision: quietly(1)})
		wantTold(t, w, Propagation{1, 0, false})

		// Gaps: of the last of what was missed it is known when it was made.
		tell(10*time.Millisecond, store.Change{Gap: true, Revision: quietly(1)})
		wantTold(t, w, Propagation{1, 10 * time.Millisecond, true})
		tell(10*time.Millisecond, store.Change{Gap: true, Revision: quietly(5)})
		wantTold(t, w, Propagation{1, 10 * time.Millisecond, true}, Propagation{4, 700 * time.Millisecond, true})
		tell(10*time.Millisecond, store.Change{Gap: true, Revision: quietly(3) - 1})
		wantTold(t, w, Propagation{3, 700 * time.Millisecond, true})
		tell(10*time.Millisecond, store.Change{Gap: true, Revision: 1})
		wantTold(t, w) // nothing was missed
		if drops := c.Stats().Drops; drops != 4 {
			t.Errorf("%d drops, want 4", drops)
		}

		// What nobody tells at all is found by asking.
		quietly(2)
		time.Sleep(2 * askEvery)
		synctest.Wait()
		wantTold(t, w, Propagation{2, 0, true}.after(askEvery+patience))
		endBubble(c)
	})
}

func (p Propagation) after(d time.Duration) Propagation {
	p.Took = d
	return p
}

// TestPropagationAcrossHole: a later commit becomes known first, by its writer's own return. The one that
// was missed is counted once, and not with the other's time.
func TestPropagationAcrossHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		c, w := newWatchedCache(t, f)
		time.Sleep(askEvery + 300*time.Millisecond)
		f.silent.Store(true)
		f.write(put("acme/a", "somebody's"))
		commit(t, c, put("acme/b", "ours"))
		wantTold(t, w, Propagation{1, 0, false})
		f.silent.Store(false)
		f.late(0, store.Change{Gap: true, Revision: 2})
		synctest.Wait()
		wantTold(t, w, Propagation{1, 300 * time.Millisecond, true})
		endBubble(c)
	})
}

// TestPropagationCountsAll: two caches on one store, and writers on both: each cache counts every commit
// once, with some time that can be.
func TestPropagationCountsAll(t *testing.T) {
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	began := time.Now()
	a, wa := newWatchedCache(t, s)
	b, wb := newWatchedCache(t, s)
	const writers, each = 4, 50
	var all sync.WaitGroup
	for i := range writers {
		c := []*Cache{a, b}[i%2]
		all.Go(func() {
			for range each {
				if _, err := c.Commit(t.Context(), put(fmt.Sprintf("acme/%d", i), "x")); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	for name, c := range map[string]*Cache{"a": a, "b": b} {
		for late := time.Now().Add(20 * time.Second); c.Stats().Revision < writers*each; time.Sleep(time.Millisecond) {
			if time.Now().After(late) {
				t.Fatalf("%s is at revision %d", name, c.Stats().Revision)
			}
		}
	}
	for name, w := range map[string]*watched{"a": wa, "b": wb} {
		for late := time.Now().Add(20 * time.Second); w.commits() < writers*each; time.Sleep(time.Millisecond) {
			if time.Now().After(late) {
				break
			}
		}
		if n := w.commits(); n != writers*each {
			t.Errorf("%s counted %d commits, want %d", name, n, writers*each)
		}
		for _, p := range w.take() {
			if p.Took < 0 || p.Took > time.Since(began) {
				t.Errorf("%s was told %+v", name, p)
			}
		}
	}
}
