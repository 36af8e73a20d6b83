//go:build e2e

package tests

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

// These tests break Redis, and the wire that leads to it, under running gateways (threats D05, D06, K04, K05).
// Whatever happens, a caller who may is never told that they may not: 503 is tried again, 401 and 403
// end a run.

// judged sends a request with a key that is good, and fails if the answer is anything but 200 or a 503
// that says when to come again.
func (p *process) judged(key string) int {
	p.t.Helper()
	a := p.stream("vision/team", key)
	switch {
	case a.status == http.StatusOK:
	case a.status == http.StatusServiceUnavailable && a.header.Get("Retry-After") != "":
	default:
		p.t.Errorf("a caller who may gets %d %v %s", a.status, a.header, a.body)
	}
	return a.status
}

// awaitRecovery waits until a gateway serves again as it should, and fails after 5 seconds.
func (p *process) awaitRecovery(known string) {
	p.t.Helper()
	began := time.Now()
	await(p.t, "the gateway to recover", 5*time.Second, func() bool {
		return p.send("GET", "/wandb-gateway/readyz", "", "", nil).status == 200 &&
			p.judged(known) == 200 && p.stream("vision/team", nobodysKey()).status == 401
	})
	if _, err := p.call("user/set", map[string]any{"target": "bob", "name": fmt.Sprint(began)}); err != nil {
		p.t.Errorf("after the recovery a change is refused: %v", err)
	}
	p.t.Logf("recovered after %s", time.Since(began).Round(time.Millisecond))
}

// nobodysKey is one of a form that only the store can tell about.
func nobodysKey() string {
	var random [20]byte
	rand.Read(random[:])
	return hex.EncodeToString(random[:])
}

// outage is one way in which Redis can fail.
type outage struct {
	name string
	// begin breaks it, end mends it.
	begin, end func()
	// reads says that what is stored can still be read, and the gateway stays ready; atFirst, that it can
	// be read until the stale limit.
	reads, atFirst bool
}

func TestRedisOutages(t *testing.T) {
	const password = "right-canary"
	server := redistest.Start(t, "requirepass "+password, "appendfsync always", "enable-debug-command yes")
	fleet := startFleet(t, config{upstream: newRecorder(t).host(), global: "stale_limit 1s\n\t\tfailure_limit off"},
		"redis://:"+password+"@"+server.Address)
	p := fleet[0]
	p.importFile(acme)
	fresh := make([]string, 0, 20)
	for range cap(fresh) {
		key, _ := p.mintKey("alice")
		fresh = append(fresh, key) // that no request has shown yet
	}
	p.awaitRecovery(aliceKey)
	before := p.goroutines()

	kill := func() { server.Do("CLIENT", "KILL", "TYPE", "normal"); server.Do("CLIENT", "KILL", "TYPE", "pubsub") }
	for i, o := range []outage{
		{"killed", server.Kill, server.Run, false, false},
		{"paused", server.Pause, server.Resume, false, false},
		{"full", func() { server.Do("CONFIG", "SET", "maxmemory", "1") }, func() { server.Do("CONFIG", "SET", "maxmemory", "0") }, true, false},
		{"a replica by now", func() { server.Do("REPLICAOF", "127.0.0.1", "1") }, func() { server.Do("REPLICAOF", "NO", "ONE") }, false, true},
		{"not enough replicas", func() { server.Do("CONFIG", "SET", "min-replicas-to-write", "1") }, func() { server.Do("CONFIG", "SET", "min-replicas-to-write", "0") }, false, true},
		{"loading", func() {
			server.Do("DEBUG", "POPULATE", "3000", "filler")
			server.Do("BGREWRITEAOF")
			server.Await("the rewrite", func() bool {
				info := server.Do("INFO", "persistence")
				return strings.Contains(info, "aof_rewrite_in_progress:0") && strings.Contains(info, "aof_rewrite_scheduled:0")
			})
			server.Kill()
			server.Launch("--key-load-delay", "5000", "--loading-process-events-interval-bytes", "1024")
			server.Await("loading", func() bool { out, _ := server.Try("PING"); return strings.Contains(out, "LOADING") })
		}, func() {
			server.Kill()
			server.Run()
		}, false, false},
		{"another password", func() {
			server.Do("CONFIG", "SET", "requirepass", "wrong-canary")
			server.Login("wrong-canary")
			kill()
		}, func() {
			server.Do("CONFIG", "SET", "requirepass", password)
			server.Login(password)
		}, false, false},
	} {
		t.Run(o.name, func(t *testing.T) {
			p := *p
			p.t = t
			o.begin()
			began := time.Now()
			if !o.reads {
				const probe = 5 * time.Second // timeoutSeconds in configs/kubernetes
				if a := p.send("GET", "/wandb-gateway/readyz", "", "", nil); a.status != 503 || a.header.Get("Retry-After") == "" || time.Since(began) > probe {
					t.Errorf("readyz answers %d after %s", a.status, time.Since(began))
				}
			} else if a := p.send("GET", "/wandb-gateway/readyz", "", "", nil); a.status != 200 {
				t.Errorf("readyz answers %d", a.status)
			}
			if a := p.send("GET", "/wandb-gateway/healthz", "", "", nil); a.status != 200 {
				t.Errorf("healthz answers %d", a.status)
			}
			var all sync.WaitGroup
			all.Go(func() {
				if answer, err := p.call("user/set", map[string]any{"target": "bob", "name": o.name}); err == nil {
					t.Errorf("a change is acknowledged: %s", answer)
				} else if !strings.Contains(err.Error(), " 503:") {
					t.Errorf("a change: %v", err)
				}
			})
			all.Go(func() {
				if status := p.judged(fresh[2*i]); o.reads && status != 200 || !o.reads && !o.atFirst && status != 503 {
					t.Errorf("a key that was never shown gets %d", status)
				}
			})
			all.Go(func() {
				a := p.stream("vision/team", nobodysKey())
				if o.reads && a.status != 401 || !o.reads && a.status != 503 {
					t.Errorf("an unknown key gets %d %s", a.status, a.body)
				}
			})
			all.Wait()
			if !o.reads {
				await(t, "the stale limit", 4*time.Second, func() bool { return p.judged(aliceKey) == 503 })
			} else if status := p.judged(aliceKey); status != 200 {
				t.Errorf("a cached key gets %d", status)
			}
			o.end()
			p.awaitRecovery(aliceKey)
			if status := p.judged(fresh[2*i+1]); status != 200 {
				t.Errorf("after the recovery a key that was never shown gets %d", status)
			}
		})
	}
	await(t, "goroutines to end", 20*time.Second, func() bool { return p.goroutines() <= before+10 })
	if strings.Contains(p.logs.String(), "canary") {
		t.Error("the log shows a password")
	}
}

// fault is one way in which the wire between a gateway and Redis misbehaves.
type fault struct {
	name  string
	begin func(*wire)
	// what still gets through: everything, if late; nothing in time; or nobody can say.
	gets through
}

type through uint8

const (
	everything through = iota
	nothing
	something
)

func poisoned(toxics ...toxic) func(*wire) { return func(w *wire) { w.poison(toxics...) } }

var faults = []fault{
	{"latency", poisoned(toxic{Type: "latency", Attributes: map[string]int{"latency": 60, "jitter": 40}}), everything},
	{"slices", poisoned(toxic{Type: "slicer", Attributes: map[string]int{"average_size": 7, "size_variation": 6, "delay": 100}}), everything},
	{"bandwidth", poisoned(toxic{Type: "bandwidth", Attributes: map[string]int{"rate": 20}}), everything},
	{"unplugged", (*wire).unplug, nothing},
	{"5 s of latency", poisoned(toxic{Type: "latency", Attributes: map[string]int{"latency": 5000}}), nothing},
	{"no answer comes", poisoned(toxic{Type: "timeout", Attributes: map[string]int{"timeout": 0}}), nothing},
	{"no question arrives", poisoned(toxic{Type: "timeout", Stream: "upstream", Attributes: map[string]int{"timeout": 0}}), nothing},
	{"no answer, then closed", poisoned(toxic{Type: "timeout", Attributes: map[string]int{"timeout": 200}}), nothing},
	{"reset", poisoned(toxic{Type: "reset_peer", Attributes: map[string]int{"timeout": 0}}), nothing},
	{"answers that break off", poisoned(toxic{Type: "limit_data", Attributes: map[string]int{"bytes": 20}}), nothing},
	{"every second connection is reset", poisoned(toxic{Type: "reset_peer", Toxicity: 0.5, Attributes: map[string]int{"timeout": 0}}), something},
	{"connections that break off", poisoned(toxic{Type: "limit_data", Attributes: map[string]int{"bytes": 1500}}), something},
	{"questions that break off", poisoned(toxic{Type: "limit_data", Stream: "upstream", Attributes: map[string]int{"bytes": 2500}}), something},
	{"a trickle in slices", poisoned(toxic{Type: "bandwidth", Attributes: map[string]int{"rate": 1}},
		toxic{Type: "slicer", Attributes: map[string]int{"average_size": 3, "size_variation": 2, "delay": 100}}), something},
}

// TestRedisWire is K04 and K05, with toxiproxy on the wire of one of two gateways: whatever becomes of it,
// that gateway uses what it knows for stale_limit and no longer, answers 503 to what it cannot know,
// acknowledges no change that is not made, and lets nobody in whom the other has refused for that long.
func TestRedisWire(t *testing.T) {
	const limit = 3 * time.Second
	server := redistest.Start(t)
	w := newWire(t, server.Address)
	fleet := startFleet(t, config{upstream: newRecorder(t).host(), global: "stale_limit 3s\n\t\tfailure_limit off"}, "redis://"+server.Address, "redis://"+w.address)
	a, b := fleet[0], fleet[1]
	a.importFile(acme)
	b.awaitRecovery(aliceKey)
	before := b.goroutines()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			a, b, w := *a, *b, *w
			a.t, b.t, w.t = t, t, t
			revoked, id := a.mintKey("alice")
			unseen, _ := a.mintKey("alice")
			await(t, "a new key", 5*time.Second, func() bool { return b.stream("vision/team", revoked).status == 200 && b.judged(aliceKey) == 200 })

			f.begin(&w)
			defer w.heal()
			if status := b.judged(aliceKey); status != 200 {
				t.Errorf("a key that is known gets %d at once", status)
			}
			a.mustCall("key/delete", map[string]any{"target": id})
			b.withoutRevoked(revoked, limit, f.gets)
			b.changesHold(&a, f)
			if status := b.judged(unseen); f.gets == everything && status != 200 || f.gets == nothing && status != 503 {
				t.Errorf("a key that was never shown gets %d", status)
			}
			switch status := b.stream("vision/team", nobodysKey()).status; {
			case status == 401 && f.gets != nothing:
			case status == 503 && f.gets != everything:
			default:
				t.Errorf("an unknown key gets %d", status)
			}
			switch status := b.send("GET", "/wandb-gateway/readyz", "", "", nil).status; {
			case status == 200 && f.gets != nothing:
			case status == 503 && f.gets != everything:
			default:
				t.Errorf("readyz answers %d", status)
			}
			if status := b.send("GET", "/wandb-gateway/healthz", "", "", nil).status; status != 200 {
				t.Errorf("healthz answers %d", status)
			}

			w.heal()
			b.awaitRecovery(aliceKey)
			if status := b.stream("vision/team", revoked).status; status != 401 {
				t.Errorf("after the recovery a revoked key gets %d", status)
			}
			if status := b.judged(unseen); status != 200 {
				t.Errorf("after the recovery a key that was never shown gets %d", status)
			}
		})
	}
	await(t, "goroutines to end", 20*time.Second, func() bool { return b.goroutines() <= before+10 })
}

// withoutRevoked uses a key that was revoked just now, and one that was not, for longer than the stale
// limit. The bound is exact however slow the machine: a request that is judged later is judged by what
// Redis said later.
func (p *process) withoutRevoked(revoked string, limit time.Duration, gets through) {
	p.t.Helper()
	began := time.Now()
	var lastAllowed time.Duration
	settled := func(revoked, good int) bool {
		switch gets {
		case everything:
			return revoked == 401 && good == 200
		case nothing:
			return revoked == 503 && good == 503
		default:
			return revoked != 200
		}
	}
	await(p.t, "the stale limit", limit+20*time.Second, func() bool {
		asked := time.Since(began)
		status := p.stream("vision/team", revoked).status
		switch {
		case status == 200 && asked <= limit:
			lastAllowed = asked
		case status == 200:
			p.t.Errorf("a revoked key passed %s after that, with a stale limit of %s", asked, limit)
		case status != 401 && status != 503:
			p.t.Fatalf("a revoked key gets %d", status)
		}
		good := p.judged(aliceKey)
		if good != 200 && gets == everything {
			p.t.Errorf("a caller who may gets %d", good)
		}
		return asked > limit && settled(status, good)
	})
	p.t.Logf("the revoked key passed last %s after its revocation", lastAllowed.Round(time.Millisecond))
}

// changesHold makes changes on a gateway whose wire misbehaves: one that it acknowledges is there for the
// other, and one that it does not is 503.
func (p *process) changesHold(other *process, f fault) {
	p.t.Helper()
	for i := range 3 {
		name := fmt.Sprintf("%s, change %d", f.name, i)
		_, err := p.call("user/set", map[string]any{"target": "bob", "name": name})
		switch {
		case err == nil && f.gets == nothing:
			p.t.Error("a change is acknowledged")
		case err == nil:
			await(p.t, "an acknowledged change at the other gateway", 10*time.Second, func() bool {
				return strings.Contains(other.mustCall("user/list", nil), name)
			})
		case f.gets == everything || !strings.Contains(err.Error(), " 503:"):
			p.t.Errorf("a change: %v", err)
		}
	}
}

// TestRedisFailover kills the master that a Sentinel, and a Cluster, watches: gateways find the new
// one, what was acknowledged and replicated is there, and revocations go on holding on both.
func TestRedisFailover(t *testing.T) {
	t.Run("sentinel", func(t *testing.T) {
		group := redistest.StartGroup(t, "min-replicas-to-write 1", "min-replicas-max-lag 2")
		testFailover(t, group.URL(), func() (*redistest.Server, func() bool) {
			old := group.Master()
			return old, func() bool { return group.Master() != old }
		})
	})
	t.Run("cluster", func(t *testing.T) {
		nodes := redistest.StartCluster(t, 1)
		testFailover(t, nodes.URL(), func() (*redistest.Server, func() bool) {
			const head = "wandb-gateway:{acme}:head"
			old := nodes.Owner(head)
			return old, func() bool { return nodes.Find(head) != nil }
		})
	})
}

func testFailover(t *testing.T, url string, master func() (old *redistest.Server, failedOver func() bool)) {
	fleet := startFleet(t, config{upstream: newRecorder(t).host(), global: "failure_limit off"}, url, url)
	a, b := fleet[0], fleet[1]
	a.importFile(acme)
	revoked, id := a.mintKey("alice")
	await(t, "a new key", 5*time.Second, func() bool { return b.judged(revoked) == 200 })
	a.mustCall("key/delete", map[string]any{"target": id})
	await(t, "the revocation", 5*time.Second, func() bool { return b.stream("vision/team", revoked).status == 401 })

	old, failedOver := master()
	old.Kill()
	began := time.Now()
	await(t, "the failover", 30*time.Second, func() bool {
		b.judged(aliceKey)
		if status := b.stream("vision/team", revoked).status; status != 401 && status != 503 {
			t.Fatalf("a revoked key gets %d", status)
		}
		return failedOver()
	})
	t.Logf("the failover took %s", time.Since(began).Round(time.Millisecond))
	for _, p := range fleet {
		p.awaitRecovery(aliceKey)
	}
	if status := b.stream("vision/team", revoked).status; status != 401 {
		t.Errorf("a key that was revoked before the failover gets %d", status)
	}
	again, id := a.mintKey("alice")
	await(t, "a new key", 5*time.Second, func() bool { return b.judged(again) == 200 })
	a.mustCall("key/delete", map[string]any{"target": id})
	acknowledged := time.Now()
	await(t, "a revocation", 5*time.Second, func() bool { return b.stream("vision/team", again).status == 401 })
	t.Logf("after the failover a revocation holds within %s", time.Since(acknowledged))

	old.Run() // it comes back, and learns that it is a replica
	for range 50 {
		if status := b.stream("vision/team", again).status; status != 401 {
			t.Fatalf("with the old master back, a revoked key gets %d", status)
		}
		b.judged(aliceKey)
	}
}
