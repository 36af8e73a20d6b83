package hotcache

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// TestNoStaleRead has writers and readers on one real store. It holds for every read, cached or
// not, plain or derived: who starts after a commit returned sees that commit or a later one.
//
// Writer w counts up in acme/<w>/a and acme/<w>/b, both in one commit, and deletes and recreates
// acme/<w>/c on the way, and says how far it is once a commit has returned. Readers note that before
// they read.
func TestNoStaleRead(t *testing.T) {
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c := newCache(t, s)
	const writers, readers, commits = 3, 4, 100
	var acknowledged [writers]atomic.Int64
	var writing, reading sync.WaitGroup
	var done atomic.Bool
	for w := range writers {
		commit(t, c, counts(w, 0)...)
		writing.Go(func() {
			for n := int64(1); n <= commits; n++ {
				through := c.Commit
				if n%7 == 0 {
					through = s.Commit // behind the cache's back: visible by Watch only
				}
				if _, err := through(t.Context(), counts(w, n)...); err != nil {
					t.Errorf("committing: %v", err)
					return
				}
				if n%7 != 0 {
					acknowledged[w].Store(n)
				}
			}
		})
	}
	var reads, mixed atomic.Int64
	var last [writers]atomic.Pointer[counted]
	for r := range readers {
		reading.Go(func() {
			for i := r; !done.Load(); i++ {
				w := i % writers
				atLeast := acknowledged[w].Load()
				if !readOnce(t, c, w, i, atLeast, &last[w]) {
					mixed.Add(1)
				}
				reads.Add(1)
			}
		})
	}
	writing.Wait()
	done.Store(true)
	reading.Wait()
	t.Logf("%d reads during %d commits, %d of more than one revision, %+v", reads.Load(), writers*commits, mixed.Load(), c.Stats())
	if whole := reads.Load() - mixed.Load(); whole < 1000 {
		t.Errorf("%d reads prove nothing", whole)
	}
}

func counts(w int, n int64) []store.Write {
	key := func(name string) string { return fmt.Sprintf("acme/%d/%s", w, name) }
	value := strconv.AppendInt(nil, n, 10)
	c := store.Write{Key: key("c"), Value: value}
	if n%2 == 1 {
		c.Value = nil
	}
	return []store.Write{{Key: key("a"), Value: value}, {Key: key("b"), Value: value}, c}
}

// counted is what a reader found, for others to use again.
type counted struct {
	got  [3]int64
	held Held
}

// readOnce reads what writer w wrote, in one of several ways, and reports whether it was one revision.
func readOnce(t *testing.T, c *Cache, w, way int, atLeast int64, last *atomic.Pointer[counted]) (valid bool) {
	number := func(r store.Record) (int64, error) { return strconv.ParseInt(string(r.Value), 10, 64) }
	all := func(ctx context.Context, v *View) (got [3]int64, err error) {
		for i, name := range []string{"a", "b", "c"} {
			got[i], err = Read(ctx, v, fmt.Sprintf("acme/%d/%s", w, name), number)
			if name == "c" && errors.Is(err, store.ErrNotFound) {
				got[i], err = -1, nil
			}
			if err != nil {
				return got, err
			}
		}
		return got, nil
	}
	v := c.View()
	var got [3]int64
	var err error
	switch way % 4 {
	case 0:
		got, err = all(t.Context(), v)
	case 1:
		got, err = Derived(t.Context(), v, fmt.Appendf(nil, "all/%d", w), all)
	case 2:
		if before := last.Load(); before != nil && v.Again(before.held) {
			got = before.got
			break
		}
		var now *counted
		now, err = Derived(t.Context(), v, fmt.Appendf(nil, "counted/%d", w), func(ctx context.Context, v *View) (*counted, error) {
			got, err := all(ctx, v)
			return &counted{got, v.Held()}, err
		})
		if err == nil {
			got = now.got
			last.Store(now)
		}
	default:
		got, err = Derived(t.Context(), v, fmt.Appendf(nil, "outer/%d", w), func(ctx context.Context, v *View) ([3]int64, error) {
			return Derived(ctx, v, fmt.Appendf(nil, "all/%d", w), all)
		})
	}
	if errors.Is(err, errRestless) { // a machine that is busy enough: it says so, and is not wrong
		return false
	}
	if err != nil {
		t.Errorf("reading: %v", err)
		return true
	}
	if got[0] < atLeast || got[1] < atLeast || got[2] >= 0 && got[2] < atLeast {
		t.Errorf("read %v after commit %d had returned", got, atLeast)
	}
	if !v.Valid() {
		return false
	}
	if wantC := got[0]; got[0] != got[1] || got[0]%2 == 1 && got[2] != -1 || got[0]%2 == 0 && got[2] != wantC {
		t.Errorf("read %v as one revision", got)
	}
	return true
}

// TestCloseUnderLoad closes the cache while it is read.
func TestCloseUnderLoad(t *testing.T) {
	c := newCache(t, newFake())
	commit(t, c, put("acme/a", "1"))
	var all sync.WaitGroup
	for r := range 4 {
		all.Go(func() {
			for i := 0; ; i++ {
				_, err := Read(context.Background(), c.View(), fmt.Sprintf("acme/%d", (r+i)%100), text)
				if err != nil && !errors.Is(err, store.ErrNotFound) {
					return
				}
			}
		})
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	all.Wait()
}
