package redis

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

// pair opens two stores on one server, as two gateways do.
func pair(t *testing.T) (*miniredis.Miniredis, *Store, *Store) {
	t.Helper()
	server := miniredis.RunT(t)
	return server, open(t, Config{URL: "redis://" + server.Addr()}), open(t, Config{URL: "redis://" + server.Addr()})
}

func put(t *testing.T, s *Store, key string) store.Revision {
	t.Helper()
	revision, err := s.Commit(t.Context(), store.Write{Key: key, Value: []byte("x")})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func watchSpace(t *testing.T, s *Store) <-chan store.Change {
	t.Helper()
	changes, err := s.Watch(t.Context(), "acme/")
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

// next returns the next change, which must come within a time.
func next(t *testing.T, changes <-chan store.Change, within time.Duration) store.Change {
	t.Helper()
	select {
	case change, open := <-changes:
		if !open {
			t.Fatal("the channel was closed")
		}
		return change
	case <-time.After(within):
		t.Fatalf("nothing is told within %s", within)
	}
	panic("unreachable")
}

// quietly commits without an announcement, as when the message is lost.
func quietly(t *testing.T, s *Store, key string) store.Revision {
	t.Helper()
	id := newID()
	args := s.arguments("acme", id, []store.Write{{Key: key, Value: []byte("x")}})
	args[3] = "nowhere"
	n := s.names
	answer, err := commitScript.Run(t.Context(), s.client, []string{n.head("acme"), n.records("acme"), n.index("acme"), n.done("acme", id)}, args...).Text()
	if err != nil {
		t.Fatal(err)
	}
	revision, err := parseRevision(strings.TrimPrefix(answer, "+"))
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

// TestLostMessage: what no message tells is noticed within the time of two looks at the revision.
func TestLostMessage(t *testing.T) {
	_, a, b := pair(t)
	put(t, a, "acme/a")
	changes := watchSpace(t, b)
	lost := quietly(t, a, "acme/b")
	began := time.Now()
	if change := next(t, changes, 3*time.Second); !change.Gap || change.Revision != lost {
		t.Errorf("told is %+v, want a gap at %d", change, lost)
	}
	t.Logf("noticed after %s", time.Since(began))

	// The next message shows at once that one is missing.
	lost = quietly(t, a, "acme/c")
	last := put(t, a, "acme/d")
	for change := next(t, changes, 3*time.Second); change.Revision < last; change = next(t, changes, 3*time.Second) {
		if change.Revision >= lost && !change.Gap {
			t.Errorf("told is %+v, without what was lost before it", change)
		}
	}
}

// TestLostCommits: after a failover to a server that had not heard of the last commits, or to one where
// others took their place, everything is told to be in doubt.
func TestLostCommits(t *testing.T) {
	for name, lose := range map[string]func(*miniredis.Miniredis, *Store){
		"the last is gone":       func(m *miniredis.Miniredis, s *Store) { m.Set(s.names.head("acme"), "2 other") },
		"another took its place": func(m *miniredis.Miniredis, s *Store) { m.Set(s.names.head("acme"), "3 other") },
		"many took their place":  func(m *miniredis.Miniredis, s *Store) { m.Set(s.names.head("acme"), "9 other") },
		"another announces":      func(m *miniredis.Miniredis, s *Store) { m.Publish(s.names.changes("acme"), "4 other new k\x01x") },
		"an old number again":    func(m *miniredis.Miniredis, s *Store) { m.Publish(s.names.changes("acme"), "2 other new k\x01x") },
		"nobody can read it":     func(m *miniredis.Miniredis, s *Store) { m.Publish(s.names.changes("acme"), "hello") },
	} {
		t.Run(name, func(t *testing.T) {
			server, a, b := pair(t)
			changes := watchSpace(t, b)
			for range 3 {
				put(t, a, "acme/a")
				next(t, changes, 3*time.Second)
			}
			lose(server, b)
			if change := next(t, changes, 3*time.Second); !change.Gap {
				t.Errorf("told is %+v, want a gap", change)
			}
		})
	}
}

// TestEmptyServer: a server that came back without its records has not lost its users; nobody can tell.
func TestEmptyServer(t *testing.T) {
	server, a, _ := pair(t)
	put(t, a, "acme/a")
	server.FlushAll()
	_, err := a.Get(t.Context(), "acme/a")
	_, headErr := a.Get(t.Context(), store.RevisionKey("acme"))
	_, listErr := a.List(t.Context(), "acme/", "", 0)
	_, commitErr := a.Commit(t.Context(), store.Write{Key: "acme/b", Value: []byte("x")})
	for what, err := range map[string]error{"getting": err, "the revision": headErr, "listing": listErr, "committing": commitErr} {
		if iam.KindOf(err) != iam.KindUnavailable || !errors.Is(err, errLost) || !strings.Contains(err.Error(), "backup") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if keys := server.Keys(); len(keys) > 0 {
		t.Errorf("it wrote %q", keys)
	}
	// Somebody else who begins anew may: then there is a revision again.
	fresh := open(t, Config{URL: "redis://" + server.Addr()})
	put(t, fresh, "acme/b")
	if _, err := a.Get(t.Context(), "acme/b"); err != nil {
		t.Error(err)
	}
}

// TestReconnect cuts all connections: whoever watches is told of a gap, and goes on.
func TestReconnect(t *testing.T) {
	server := miniredis.RunT(t)
	proxy := redistest.NewProxy(t, server.Addr())
	a, b := open(t, Config{URL: "redis://" + server.Addr()}), open(t, Config{URL: "redis://" + proxy.Address})
	changes := watchSpace(t, b)
	for range 3 {
		proxy.Cut()
		missed := put(t, a, "acme/a")
		proxy.Heal()
		for change := next(t, changes, 5*time.Second); ; change = next(t, changes, 5*time.Second) {
			if change.Gap && change.Revision >= missed {
				break
			}
		}
		// Another gap may follow, when the subscription stands again; then messages come at once.
		for last := put(t, a, "acme/b"); ; {
			if change := next(t, changes, 5*time.Second); change.Revision >= last {
				break
			}
		}
	}
}

// TestCommitIsMadeOnce breaks the connection after the server has made a commit and before it could
// say so. The client sends it again, and must neither see a conflict with itself nor commit twice.
func TestCommitIsMadeOnce(t *testing.T) {
	server := miniredis.RunT(t)
	mute := newMute(t, server.Addr())
	s := open(t, Config{URL: "redis://" + mute.address})
	put(t, s, "acme/a")
	for want := store.Revision(2); want < 10; want++ {
		mute.next.Store(true)
		revision, err := s.Commit(t.Context(), store.Write{Key: "acme/" + newID(), Value: []byte("x"), Expect: store.Absent()})
		if err != nil || revision != want {
			t.Fatalf("the commit: revision %d, %v, want %d", revision, err, want)
		}
		if mute.next.Load() {
			t.Fatal("no answer was lost")
		}
	}
}

// mute is a proxy that can lose one answer, and the connection with it.
type mute struct {
	address string
	next    atomic.Bool
}

func newMute(t *testing.T, target string) *mute {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	m := &mute{address: l.Addr().String()}
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", target)
			if err != nil {
				client.Close()
				continue
			}
			go m.copy(server, client, nil)
			go m.copy(client, server, func() bool { return m.next.CompareAndSwap(true, false) })
		}
	}()
	return m
}

func (m *mute) copy(to, from net.Conn, lose func() bool) {
	defer to.Close()
	defer from.Close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || lose != nil && lose() {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// TestNobodyLeft: feeds end with the last who watches, and Close leaves nothing running.
func TestNobodyLeft(t *testing.T) {
	server := miniredis.RunT(t)
	before := runtime.NumGoroutine()
	s, err := Open(Config{URL: "redis://" + server.Addr()})
	if err != nil {
		t.Fatal(err)
	}
	for _, prefix := range []string{"acme/", "acme/users/", "other/"} {
		if _, err := s.Watch(t.Context(), prefix); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for late := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before+1; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(late) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
	if _, err := s.Watch(t.Context(), "acme/"); err == nil {
		t.Error("a closed store is watched")
	}
}

// TestWatchWithoutSpace: several spaces cannot be watched at once.
func TestWatchWithoutSpace(t *testing.T) {
	_, a, _ := pair(t)
	for _, prefix := range []string{"", "acme", "/"} {
		if _, err := a.Watch(t.Context(), prefix); err == nil {
			t.Errorf("%q is watched", prefix)
		}
	}
}

// TestHungServer: a server that answers no more is away, within a bound.
func TestHungServer(t *testing.T) {
	server := miniredis.RunT(t)
	proxy := redistest.NewProxy(t, server.Addr())
	s := open(t, Config{URL: "redis://" + proxy.Address})
	put(t, s, "acme/a")
	proxy.Stall()
	caller, cancel := context.WithTimeout(t.Context(), 5*readTimeout)
	defer cancel()
	_, err := s.Get(caller, "acme/a")
	if iam.KindOf(err) != iam.KindUnavailable || !strings.Contains(err.Error(), proxy.Address) || caller.Err() != nil {
		t.Errorf("%v, while the caller waits: %t", err, caller.Err() == nil)
	}
	proxy.Heal()
	if _, err := s.Get(t.Context(), "acme/a"); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}
