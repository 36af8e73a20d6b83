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

// These tests break Redis, and what leads to it, under running gateways (threats D05, D06, K04, K05).
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
	proxy := redistest.NewProxy(t, server.Address)
	fleet := startFleet(t, config{upstream: newRecorder(t).host(), global: "stale_limit 1s\n\t\tfailure_limit off"},
		"redis://:"+password+"@"+proxy.Address)
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
		{"reset", proxy.Cut, proxy.Heal, false, false},
		{"nothing comes through", proxy.Stall, proxy.Heal, false, false},
		{"5 s of latency", func() { proxy.Slow(5 * time.Second) }, proxy.Heal, false, false},
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

// TestRedisCut is K04 and K05: a gateway that is cut off goes on for stale_limit and no longer, and
// what was revoked meanwhile is refused from the moment it is back.
func TestRedisCut(t *testing.T) {
	const limit = 2 * time.Second
	server := redistest.Start(t)
	proxy := redistest.NewProxy(t, server.Address)
	fleet := startFleet(t, config{upstream: newRecorder(t).host(), global: "stale_limit 2s"}, "redis://"+server.Address, "redis://"+proxy.Address)
	a, b := fleet[0], fleet[1]
	a.importFile(acme)
	for name, cut := range map[string]func(){"reset": proxy.Cut, "nothing comes through": proxy.Stall} {
		t.Run(name, func(t *testing.T) {
			key, id := a.mintKey("alice")
			await(t, "a new key", 5*time.Second, func() bool { return b.stream("vision/team", key).status == 200 })
			cut()
			began := time.Now()
			a.mustCall("key/delete", map[string]any{"target": id})
			var lastAllowed time.Duration
			for served := false; time.Since(began) < limit+3*time.Second; {
				asked := time.Since(began)
				status := b.stream("vision/team", key).status
				switch answered := time.Since(began); {
				case status == 200:
					lastAllowed, served = asked, true
				case status != 503:
					t.Fatalf("%s after the cut: %d", asked, status)
				case !served && answered < limit/2:
					t.Fatal("the cached key was not served at all")
				}
				time.Sleep(10 * time.Millisecond) // a pace, not a wait
			}
			t.Logf("the last request passed %s after the cut, with a stale limit of %s", lastAllowed, limit)
			if lastAllowed > limit+100*time.Millisecond {
				t.Errorf("a revoked key passed %s after the cut", lastAllowed)
			}
			proxy.Heal()
			await(t, "the gateway to recover", 5*time.Second, func() bool {
				if status := b.stream("vision/team", key).status; status != 503 && status != 401 {
					t.Fatalf("a revoked key gets %d", status)
				}
				return b.stream("vision/team", aliceKey).status == 200
			})
			if status := b.stream("vision/team", key).status; status != 401 {
				t.Errorf("a revoked key gets %d", status)
			}
		})
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
