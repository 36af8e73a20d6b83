package session_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// TestCollect deletes what has expired, with all that belongs to it, and nothing else.
func TestCollect(t *testing.T) {
	h := openHouse(t, t.TempDir(), session.Config{Length: time.Hour})
	for i := range 30 {
		n := from(iam.UserID(fmt.Sprint("usr_", i)).Ref(), fmt.Sprint("sub-", i), "sid")
		n.IDToken = iam.NewSecret("token")
		h.signIn(n)
	}
	h.once("logout", "used", noon.Add(time.Hour), true)
	h.once("logout", "used for longer", noon.Add(2*time.Hour), true)
	h.pass(30 * time.Minute)
	fresh, x := h.signIn(from(alice, "00u1", "sid-1"))
	if n, err := h.Collect(t.Context()); n != 0 || err != nil {
		t.Errorf("collected %d, %v, of live ones", n, err)
	}
	h.pass(30 * time.Minute)
	if n, err := h.Collect(t.Context()); n != 30 || err != nil {
		t.Errorf("collected %d, %v; want 30", n, err)
	}
	h.wantLive("the fresh one", fresh)
	if ids := h.listed(alice); !ids[x.ID] {
		t.Error("the fresh one is not listed")
	}
	if n := len(h.records()); n != 4+1 { // its record and three that find it, and one used identifier
		t.Errorf("%d records are left", n)
	}
	h.once("logout", "used for longer", noon.Add(2*time.Hour), false)
	h.pass(time.Hour)
	if n, err := h.Collect(t.Context()); n != 1 || err != nil {
		t.Errorf("collected %d, %v; want 1", n, err)
	}
	if all := h.records(); len(all) != 0 {
		t.Errorf("%d records are left, such as %q", len(all), all[0].Key)
	}
}

// TestCollectPages: more than fit into one commit, and a damaged record among them, which stays and is
// told.
func TestCollectPages(t *testing.T) {
	h := openHouse(t, t.TempDir(), session.Config{Length: time.Hour})
	h.fill(1203)
	damaged := space + "/session/4000000000000000AAAA"
	_, err := h.cache.Commit(t.Context(), store.Write{Key: damaged, Value: []byte("{")})
	h.ok(err)
	h.pass(time.Hour)
	most := 0
	h.store.before = func(writes []store.Write) { most = max(most, len(writes)) }
	n, err := h.Collect(t.Context())
	if n != 1203 {
		t.Errorf("collected %d, want 1203", n)
	}
	h.wantUnavailable("a damaged record", err)
	if most > 500*5 {
		t.Errorf("one commit had %d writes", most)
	}
	if all := h.records(); len(all) != 1 || all[0].Key != damaged {
		t.Errorf("%d records are left", len(all))
	}
}

func (h *house) once(kind, id string, until time.Time, want bool) {
	h.Helper()
	if first, err := h.Once(context.Background(), kind, id, until); err != nil || first != want {
		h.Errorf("%q %q: first is %t, %v; want %t", kind, id, first, err, want)
	}
}

func TestOnce(t *testing.T) {
	h := newHouse(t)
	until := noon.Add(10 * time.Minute)
	h.once("logout", "jti", until, true)
	h.once("logout", "jti", until, false)
	h.once("logout", "jti", noon, false)
	for _, other := range [][2]string{
		{"logout", "JTI"}, {"logout", ""}, {"logoutj", "ti"}, {"", "logoutjti"}, {"another issuer", "jti"},
		{"logout", strings.Repeat("j", 1<<20)}, {"logout", "a/b\x00"},
	} {
		h.once(other[0], other[1], until, true)
		h.once(other[0], other[1], until, false)
	}
	// A time that is over already is no way to be forgotten at once.
	h.once("logout", "late", noon.Add(-time.Hour), true)
	if _, err := h.Collect(t.Context()); err != nil {
		t.Error(err)
	}
	h.once("logout", "late", noon.Add(-time.Hour), false)
	h.once("logout", "jti", until, false)
}

// TestOnceAcrossNodes: of all nodes that are given one identifier at the same moment, one takes it.
func TestOnceAcrossNodes(t *testing.T) {
	one := newHouse(t)
	two := onStore(t, one.store.Store, session.Config{})
	for round := range 50 {
		var first atomic.Int64
		var all sync.WaitGroup
		for _, node := range []*house{one, two, one, two} {
			all.Go(func() {
				ok, err := node.Once(context.Background(), "logout", fmt.Sprint(round), noon.Add(time.Minute))
				if err != nil {
					t.Error(err)
				}
				if ok {
					first.Add(1)
				}
			})
		}
		all.Wait()
		if n := first.Load(); n != 1 {
			t.Fatalf("%d of 4 were first", n)
		}
	}
}

// TestRun collects at once and every hour, and ends with its context.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		var mu sync.Mutex
		var collected []string
		report := func(n int, err error) {
			mu.Lock()
			defer mu.Unlock()
			collected = append(collected, fmt.Sprint(n, err))
		}
		want := func(when, want string) {
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if got := strings.Join(collected, ", "); got != want {
				t.Errorf("%s it has collected %q, want %q", when, got, want)
			}
		}
		h := onStore(t, s, session.Config{Length: 90 * time.Minute, Now: time.Now, Collected: report})
		defer time.Sleep(5 * time.Second) // the cache ends behind its Close, inside the bubble
		defer h.cache.Close()
		h.signIn(from(alice, "00u1", "sid-1"))
		ctx, stop := context.WithCancel(context.Background())
		var run sync.WaitGroup
		run.Go(func() { h.Run(ctx) })
		time.Sleep(time.Minute)
		want("at once", "0 <nil>")
		time.Sleep(2 * time.Hour)
		want("after two hours", "0 <nil>, 0 <nil>, 1 <nil>")
		stop()
		run.Wait()
		time.Sleep(2 * time.Hour)
		want("after its end", "0 <nil>, 0 <nil>, 1 <nil>")
	})
}
