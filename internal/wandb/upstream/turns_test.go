package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// from returns an API key as it is sent from an address.
func from(address, key string) iam.Credential {
	c := apiKey(key)
	c.Network = netip.PrefixFrom(netip.MustParseAddr(address), 32)
	return c
}

// flood sends requests with invented keys until the test ends, far more than the server is to be asked.
func flood(t *testing.T, d *Directory, addresses ...string) (answered *atomic.Int64) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var flooding sync.WaitGroup
	answered = new(atomic.Int64)
	for _, address := range addresses {
		flooding.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				flooding.Go(func() {
					if _, err := d.PrincipalByCredential(ctx, from(address, fmt.Sprintf("invented-%s-%d", address, i))); iam.KindOf(err) == iam.KindUnauthenticated {
						answered.Add(1)
					}
				})
				if i%20 == 19 {
					time.Sleep(10 * time.Millisecond)
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		flooding.Wait()
		time.Sleep(2 * DefaultTimeout) // look-ups end by themselves
	})
	return answered
}

// While unknown keys come at twenty times the rate at which the server is asked, those who are known
// notice nothing for minutes, with the server slow as well, and somebody who is new gets in from
// another network. Every one of the flood that is answered is told what the server says.
func TestFloodOfUnknownKeysStarvesNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)], s.viewers[basic(bobKey)] = alice, bob
		s.entities[basic(aliceKey)+" vision"] = visionEntity
		s.projects[basic(aliceKey)+" vision/p"] = project("p", "PRIVATE", visionEntity, `"readOnly":false`)
		s.members["vision"] = visionPeople
		s.delay = 30 * time.Millisecond
		d := directory(t, s, func(c *Config) { c.LookupsPerSecond, c.Parallel = 100, 8 })
		c := from("192.0.2.1", aliceKey)
		principal(t, d, c)
		answered := flood(t, d, "198.51.100.1")
		time.Sleep(10 * time.Second)
		for second := range 90 {
			began := time.Now()
			p, err := d.PrincipalByCredential(t.Context(), c)
			if err != nil {
				t.Fatalf("after %d s: %v", second, err)
			}
			if _, err := d.Facts(t.Context(), p, c, "vision", "p"); err != nil {
				t.Fatalf("after %d s: %v", second, err)
			}
			if took := time.Since(began); took > time.Second/2 {
				t.Errorf("after %d s somebody known waits %s", second, took)
			}
			time.Sleep(time.Second - time.Since(began))
		}
		began := time.Now()
		if _, err := d.PrincipalByCredential(t.Context(), from("192.0.2.2", bobKey)); err != nil {
			t.Errorf("somebody new: %v", err)
		}
		if took := time.Since(began); took > time.Second/2 {
			t.Errorf("somebody new from another network waits %s", took)
		}
		if n := answered.Load(); n < 90*40 {
			t.Errorf("%d unknown keys were answered in 100 s: the turns that nobody else needs are theirs", n)
		}
	})
}

// Somebody whom the server knows, and who asks for project after project that is not there, waits behind
// themselves.
func TestOneCallerKeepsNobodyWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)], s.viewers[basic(bobKey)] = alice, bob
		s.delay = 10 * time.Millisecond
		d := directory(t, s, withAdmin, func(c *Config) { c.LookupsPerSecond, c.Parallel = 100, 4 })
		a, b := principal(t, d, apiKey(aliceKey)), principal(t, d, apiKey(bobKey))
		var asking sync.WaitGroup
		for i := range 2000 {
			asking.Go(func() { d.Facts(t.Context(), a, apiKey(aliceKey), "vision", fmt.Sprintf("invented-%d", i)) })
		}
		synctest.Wait()
		time.Sleep(time.Second)
		began := time.Now()
		if _, err := d.Facts(t.Context(), b, apiKey(bobKey), "bob", "p"); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > time.Second/2 {
			t.Errorf("the other caller waits %s", took)
		}
		asking.Wait()
		time.Sleep(2 * DefaultTimeout) // look-ups end by themselves
	})
}

// A server that never answers strangers, as one does that slows guessers down, still answers the known.
func TestSlowAnswersToStrangersHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		d := directory(t, transport(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Authorization") != basic(aliceKey) {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return s.RoundTrip(r)
		}), func(c *Config) { c.Parallel = 4 })
		p := principal(t, d, apiKey(aliceKey))
		var asking sync.WaitGroup
		for i := range 100 {
			asking.Go(func() { d.PrincipalByCredential(t.Context(), apiKey(fmt.Sprintf("key-%d", i))) })
		}
		synctest.Wait()
		began := time.Now()
		if _, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "p"); err != nil || time.Since(began) > 0 {
			t.Errorf("%v after %s", err, time.Since(began))
		}
		asking.Wait()
		time.Sleep(2 * DefaultTimeout) // look-ups end by themselves
	})
}

// However many come at once, only so many wait, and one network takes at most two thirds of the room.
func TestLinesHaveTheirBounds(t *testing.T) {
	var q queue
	q.lines = make(map[line]*lineUp)
	join := func(address string, times int) (joined int) {
		l := from(address, "k").Network
		for range times {
			if q.join(&waiter{line: line{network: l}}) {
				joined++
			}
		}
		return joined
	}
	if n := join("192.0.2.1", 2*maxWaiting); n > maxWaiting*2/3+1 {
		t.Errorf("one network takes %d of %d places", n, maxWaiting)
	}
	for i := range 50 {
		if join(fmt.Sprintf("192.0.2.%d", i+2), maxWaiting) == 0 {
			t.Errorf("after %d networks another one finds no place", i+1)
		}
	}
	for i := range 2 * maxWaiting {
		join(fmt.Sprintf("10.1.%d.%d", i>>8&255, i&255), 1)
	}
	if q.size > maxWaiting+maxLines || len(q.lines) > maxLines || q.round.Len() != len(q.lines) {
		t.Fatalf("%d wait in %d lines, %d of them in the round", q.size, len(q.lines), q.round.Len())
	}
	seen := map[line]int{}
	for range len(q.lines) {
		seen[q.take(time.Minute).line]++
	}
	for l, n := range seen {
		if n > 1 {
			t.Fatalf("%s had %d turns in one round", l.network, n)
		}
	}
	for q.size > 0 {
		q.take(time.Minute)
	}
	if len(q.lines) != 0 || q.round.Len() != 0 {
		t.Errorf("%d lines and %d in the round when nobody waits", len(q.lines), q.round.Len())
	}
}

// Places and turns come back, whatever happens between: those who leave before, at and after their turn.
func TestTurnsComeBack(t *testing.T) {
	tt := newTurns(1<<20, 4, time.Second)
	var asking sync.WaitGroup
	for i := range 2000 {
		asking.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i%7)*100*time.Microsecond)
			defer cancel()
			l := line{known: i%2 == 0, asker: strings.Repeat("a", i%5)}
			if end, ok := tt.wait(ctx, l); ok {
				if i%3 == 0 {
					time.Sleep(50 * time.Microsecond)
				}
				end()
			}
		})
	}
	asking.Wait()
	if tt.free != 4 || tt.strange != 3 || tt.waiting[classKnown].size != 0 || tt.waiting[classStrange].size != 0 {
		t.Errorf("free %d, for strangers %d, waiting %d and %d", tt.free, tt.strange, tt.waiting[classKnown].size, tt.waiting[classStrange].size)
	}
}
