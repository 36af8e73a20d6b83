package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// wantKey asks for a key that must be there.
func wantKey(t testing.TB, s *Set, k *jws.PrivateKey) {
	t.Helper()
	keys, err := s.Keys(t.Context(), k.ID())
	if err != nil || !keys.Has(k.ID()) {
		t.Fatalf("key %s: %v", k.ID(), err)
	}
}

// wantUnknown asks for a key that the issuer definitely does not have.
func wantUnknown(t testing.TB, s *Set, kid string) {
	t.Helper()
	keys, err := s.Keys(t.Context(), kid)
	if err != nil || keys.Has(kid) || keys.Len() == 0 {
		t.Fatalf("key %s: %d keys, %v", kid, keys.Len(), err)
	}
}

// wantUnavailable asks for a key of which nobody can tell.
func wantUnavailable(t testing.TB, s *Set, kid string) *iam.Error {
	t.Helper()
	keys, err := s.Keys(t.Context(), kid)
	e, ok := errors.AsType[*iam.Error](err)
	if keys != nil || !ok || e.Kind != iam.KindUnavailable || e.RetryAfter < time.Second || e.RetryAfter > minInterval || !strings.Contains(e.Message, s.config.Issuer) {
		t.Fatalf("key %s: %v, %#v", kid, keys, err)
	}
	return e
}

func wantRequests(t testing.TB, i *issuer, discoveries, fetches int) {
	t.Helper()
	if d, f := i.requests(); d != discoveries || f != fetches {
		t.Fatalf("%d descriptions and %d key sets were asked for, want %d and %d", d, f, discoveries, fetches)
	}
}

// J19
func TestColdCallersShareOneFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		s := i.set(nil)
		wantRequests(t, i, 0, 0) // nothing before the first call
		if s.Generation() != 0 {
			t.Error("a generation before the first fetch")
		}
		i.change(func() {
			i.jwks = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(time.Second) // of the bubble's time: all callers are waiting by now
				text, _ := jws.MarshalKeySet([]*jws.Key{k.Public()})
				w.Write(text)
			}
		})
		var callers sync.WaitGroup
		for range 1_000 {
			callers.Go(func() {
				if keys, err := s.Keys(t.Context(), k.ID()); err != nil || !keys.Has(k.ID()) {
					t.Error(err)
				}
			})
		}
		callers.Wait()
		wantRequests(t, i, 1, 1)
		if s.Generation() == 0 {
			t.Error("no generation")
		}
	})
}

// J16
func TestRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, first, second := newIssuer(t), newKey(t), newKey(t)
		i.publish(first)
		s := i.set(nil)
		wantKey(t, s, first)
		before := s.Generation()
		time.Sleep(minInterval)
		i.publish(first, second)
		wantKey(t, s, second) // with the first token that is signed by it
		wantRequests(t, i, 1, 2)
		wantKey(t, s, first)
		if s.Generation() == before {
			t.Error("other keys, same generation")
		}
		// The first key is taken away: it stops counting by itself, without anybody asking.
		i.publish(second)
		removed, with := time.Now(), s.Generation()
		for s.Generation() == with {
			if time.Since(removed) > MaxRemoval {
				t.Fatal("a key that was removed still counts")
			}
			time.Sleep(time.Second)
		}
		if took := time.Since(removed); took > defaultFresh+fetchTimeout {
			t.Errorf("it took %v", took)
		}
		time.Sleep(minInterval)
		wantUnknown(t, s, first.ID())
		wantKey(t, s, second)
		// And comes back: what was verified with the same keys holds again.
		i.publish(first, second)
		time.Sleep(defaultFresh)
		synctest.Wait()
		if s.Generation() != with {
			t.Error("the same keys have another generation")
		}
	})
}

// TestNewerKeys: for a token that names no key, whose key may be new (J16, J21).
func TestNewerKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, first, second := newIssuer(t), newKey(t), newKey(t)
		i.publish(first)
		s := i.set(nil)
		known, err := s.Keys(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		i.publish(first, second)
		if same, err := s.Newer(t.Context(), known); same != known || err != nil {
			t.Errorf("a moment after a fetch: %d keys, %v", same.Len(), err)
		}
		time.Sleep(minInterval)
		var askers sync.WaitGroup
		for range 100 {
			askers.Go(func() {
				newer, err := s.Newer(t.Context(), known)
				if err != nil || !newer.Has(second.ID()) {
					t.Errorf("%d keys, %v", newer.Len(), err)
				}
			})
		}
		askers.Wait()
		wantRequests(t, i, 1, 2)

		time.Sleep(minInterval)
		i.down()
		known, err = s.Keys(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		if keys, err := s.Newer(t.Context(), known); keys != nil || iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("while the issuer is down: %d keys, %v", keys.Len(), err)
		}
		left, cancel := context.WithCancel(t.Context())
		cancel()
		time.Sleep(minInterval)
		if keys, err := s.Newer(left, known); keys != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("for a caller who left: %d keys, %v", keys.Len(), err)
		}
		s.Close()
		if same, err := s.Newer(t.Context(), known); same != known || err != nil {
			t.Errorf("when it is closed: %d keys, %v", same.Len(), err)
		}
		pinned := i.set(func(c *Config) { c.Pinned = jws.NewKeySet(first.Public()) })
		if same, err := pinned.Newer(t.Context(), known); same.Len() != 1 || err != nil {
			t.Errorf("when they are pinned: %d keys, %v", same.Len(), err)
		}
	})
}

func TestKeysAreRefreshedInTheBackground(t *testing.T) {
	for name, c := range map[string]struct {
		control string
		fresh   time.Duration
	}{
		"default":         {"", defaultFresh},
		"max-age":         {"public, max-age=600, must-revalidate", 10 * time.Minute},
		"max-age 0":       {"max-age=0", minFresh},
		"max-age 59":      {"Max-Age=59", minFresh},
		"max-age a day":   {"max-age=86400", maxFresh},
		"max-age no size": {"max-age=99999999999999999999", defaultFresh},
		"max-age minus":   {"max-age=-5", defaultFresh},
		"no-store":        {"no-store, max-age=600", minFresh},
		"no-cache":        {"no-cache", minFresh},
		"garbage":         {"=,;max-age,\"", defaultFresh},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				i, k := newIssuer(t), newKey(t)
				i.publish(k)
				i.change(func() { i.control = c.control })
				s := i.set(nil)
				wantKey(t, s, k)
				time.Sleep(c.fresh - time.Second)
				synctest.Wait()
				wantRequests(t, i, 1, 1)
				time.Sleep(time.Second)
				synctest.Wait()
				wantRequests(t, i, 1, 2)
				if until := s.Status().FreshUntil; !until.Equal(time.Now().Add(c.fresh)) {
					t.Errorf("fresh until %v", until)
				}
			})
		})
	}
}

// Callers do not wait for a refresh, however slow the issuer is.
func TestOldKeysServeWhileNewOnesAreFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		s := i.set(nil)
		wantKey(t, s, k)
		i.change(func() {
			i.jwks = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
		})
		time.Sleep(defaultFresh + time.Second)
		synctest.Wait()
		wantRequests(t, i, 1, 2)
		start := time.Now()
		wantKey(t, s, k)
		if took := time.Since(start); took != 0 {
			t.Errorf("waited %v", took)
		}
	})
}

func TestOneFetchAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		s := i.set(nil)
		wantKey(t, s, k)
		for range 11 {
			time.Sleep(defaultFresh)
			synctest.Wait()
		}
		wantRequests(t, i, 1, 12)
		// The next fetch reads the description again, and takes longer than the interval between fetches.
		i.change(func() {
			i.discovery = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(4 * time.Second)
				fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, i.url, i.url+"/keys")
			}
			i.jwks = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(4 * time.Second)
				text, _ := jws.MarshalKeySet([]*jws.Key{k.Public()})
				w.Write(text)
			}
		})
		time.Sleep(defaultFresh)
		for range 7 {
			wantKey(t, s, k)
			time.Sleep(time.Second)
		}
		wantRequests(t, i, 2, 13)
		time.Sleep(2 * time.Second)
		wantRequests(t, i, 2, 13)
	})
}

func TestUnknownKeyIsDefiniteOnlyAfterAFetchForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k, late := newIssuer(t), newKey(t), newKey(t)
		i.publish(k)
		s := i.set(nil)
		wantKey(t, s, k)
		e := wantUnavailable(t, s, "other") // the last fetch was just now, and not for it
		if !strings.Contains(e.Message, "other") || e.RetryAfter != minInterval {
			t.Errorf("%+v", e)
		}
		time.Sleep(minInterval - time.Second)
		if e := wantUnavailable(t, s, "other"); e.RetryAfter != time.Second {
			t.Errorf("retry after %v", e.RetryAfter)
		}
		wantRequests(t, i, 1, 1)
		time.Sleep(time.Second)
		wantUnknown(t, s, "other")
		wantRequests(t, i, 1, 2)
		for range 100 {
			wantUnknown(t, s, "other") // remembered: no fetch, no 503
		}
		wantUnavailable(t, s, late.ID())
		wantRequests(t, i, 1, 2)
		// Those that were asked for before a fetch are settled by it, whoever made it begin.
		time.Sleep(minInterval)
		i.publish(k, late)
		wantUnknown(t, s, "third")
		wantRequests(t, i, 1, 3)
		wantKey(t, s, late)
		// The next fetch forgets what was unknown: it is looked for again.
		time.Sleep(minInterval)
		wantUnknown(t, s, "other")
		wantRequests(t, i, 1, 4)
		// An issuer that signs with a key before it publishes it is believed with the next fetch.
		hasty := newKey(t)
		time.Sleep(minInterval)
		wantUnknown(t, s, hasty.ID())
		i.publish(k, late, hasty)
		wantUnknown(t, s, hasty.ID())
		wantRequests(t, i, 1, 5)
		time.Sleep(minInterval)
		wantKey(t, s, hasty)
		wantRequests(t, i, 1, 6)
		// A token that names no key can be from any.
		if keys, err := s.Keys(t.Context(), ""); err != nil || keys.Len() != 3 {
			t.Error(keys.Len(), err)
		}
		wantUnknown(t, s, strings.Repeat("x", 10_000)) // no token has such an id: not worth a fetch
		wantRequests(t, i, 1, 6)
	})
}

// J18
func TestFloodOfUnknownKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		s := i.set(nil)
		wantKey(t, s, k)
		time.Sleep(time.Minute)
		_, before := i.requests()
		start := time.Now()
		const seconds, rate = 20, 5_000
		for second := range seconds {
			for n := range rate {
				if keys, err := s.Keys(t.Context(), fmt.Sprintf("%d-%d", second, n)); err == nil && keys.Has(fmt.Sprintf("%d-%d", second, n)) {
					t.Fatal("found")
				} else if err != nil && iam.KindOf(err) != iam.KindUnavailable {
					t.Fatal(err)
				}
			}
			asked := time.Now()
			wantKey(t, s, k)
			if took := time.Since(asked); took != 0 {
				t.Errorf("valid traffic waited %v", took)
			}
			if len(s.asked) > maxRemembered || len(s.unknown) > maxRemembered+1 {
				t.Fatalf("%d and %d key ids are remembered", len(s.asked), len(s.unknown))
			}
			time.Sleep(time.Second)
		}
		_, after := i.requests()
		if limit := int(time.Since(start)/minInterval) + 1; after-before > limit || after == before {
			t.Errorf("%d fetches in %v, the limit is %d", after-before, time.Since(start), limit)
		}
	})
}

// J17, first half: the issuer is away while its keys are in use.
func TestOutageDuringUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		var events atomic.Int64
		s := i.set(func(c *Config) { c.Report = func(Event) { events.Add(1) } })
		wantKey(t, s, k)
		synctest.Wait()
		generation, good := s.Generation(), time.Now()
		i.down()
		time.Sleep(defaultFresh + 30*time.Second)
		synctest.Wait()
		if n := events.Load(); n != 4 { // the good one, and three after 0, 5 and 15 seconds
			t.Errorf("%d fetches", n)
		}
		time.Sleep(MaxOutage - time.Since(good) - time.Second)
		wantKey(t, s, k)
		if s.Generation() != generation {
			t.Error("the keys are the same")
		}
		e := wantUnavailable(t, s, "rotated") // second half: the key of which nobody can tell
		if e.Err == nil {
			t.Errorf("no cause: %+v", e)
		}
		if _, fetches := i.requests(); fetches > 24*60+10 {
			t.Errorf("%d fetches in a day", fetches)
		}
		if state := s.Status(); !state.Usable || state.Keys != 1 || state.LastError == nil || !state.LastSuccess.Equal(good) {
			t.Errorf("%+v", state)
		}
		time.Sleep(time.Second)
		if s.Generation() != 0 {
			t.Error("keys that are too old still count")
		}
		if state := s.Status(); state.Usable || state.Keys != 0 {
			t.Errorf("%+v", state)
		}
		wantUnavailable(t, s, k.ID())
		// Back again: found in the background.
		i.up()
		time.Sleep(maxBackoff)
		synctest.Wait()
		if s.Generation() != generation {
			t.Error("the issuer is back, its keys are not")
		}
		wantKey(t, s, k)
		if state := s.Status(); state.LastError != nil || !state.Usable {
			t.Errorf("%+v", state)
		}
	})
}

// J17: everything that an issuer can do instead of answering. Nobody hangs, nothing large is kept, and
// the answer is that nobody can tell.
func TestIssuersThatDoNotAnswer(t *testing.T) {
	status := func(code int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
	}
	text := func(body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(body)) }
	}
	endless := func(w http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 64<<10); ; {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	silent := func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }
	drip := func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write([]byte(" ")); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
			time.Sleep(time.Second)
		}
	}
	redirect := func(to string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
	}
	for name, handler := range map[string]http.HandlerFunc{
		"400":                  status(400),
		"404":                  status(404),
		"429":                  status(429),
		"500":                  status(500),
		"503":                  status(503),
		"204":                  status(204),
		"206":                  status(206),
		"304":                  status(304),
		"nothing":              text(""),
		"garbage":              text("\x00\x01\xff"),
		"JSON of another kind": text(`[1,2]`),
		"null":                 text(`null`),
		"cut":                  text(`{"keys":[{"kty":`),
		"HTML":                 text("<!doctype html><html><body>Sign in</body></html>"),
		"HTML with the right type": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write([]byte("<html>"))
		},
		"1 GiB and more":                 endless,
		"says nothing":                   silent,
		"a byte a second":                drip,
		"redirect to another host":       redirect("http://127.0.0.2/keys"),
		"redirect to another port":       redirect("http://localhost:81/keys"),
		"redirect to another scheme":     redirect("https://localhost/keys"),
		"redirect to a file":             redirect("file:///etc/passwd"),
		"redirect to itself, for ever":   func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"redirect without a place":       status(302),
		"no key":                         text(`{"keys":[]}`),
		"no key that can be used":        text(`{"keys":[{"kty":"oct","k":"AAAA"},{"kty":"RSA","n":"AQAB","e":"AQ"}]}`),
		"a description without keys":     text(`{"issuer":"http://localhost"}`),
		"a description of another":       text(`{"issuer":"http://localhost/","jwks_uri":"http://localhost/keys"}`),
		"a description with other case":  text(`{"Issuer":"http://localhost","JWKS_URI":"http://localhost/keys"}`),
		"a description of two":           text(`{"issuer":"http://evil.test","issuer":"http://localhost","jwks_uri":"http://localhost/keys"}`),
		"a description with plain keys":  text(`{"issuer":"http://localhost","jwks_uri":"http://keys.test/keys"}`),
		"a description with a file":      text(`{"issuer":"http://localhost","jwks_uri":"file:///etc/passwd"}`),
		"a description with a user name": text(`{"issuer":"http://localhost","jwks_uri":"https://a:b@keys.test/"}`),
	} {
		for _, at := range []string{"description", "key set"} {
			if at == "key set" && strings.HasPrefix(name, "a description") {
				continue
			}
			if at == "description" && strings.HasPrefix(name, "no key") {
				continue
			}
			t.Run(name+" as "+at, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					i, k := newIssuer(t), newKey(t)
					i.publish(k)
					i.change(func() {
						if at == "description" {
							i.discovery = handler
						} else {
							i.jwks = handler
						}
					})
					s := i.set(nil)
					start := time.Now()
					e := wantUnavailable(t, s, k.ID())
					if e.Err == nil || len(e.Error()) > 1_500 || iam.ReasonOf(e) != ReasonUnavailable {
						t.Errorf("%v", e)
					}
					if took := time.Since(start); took > fetchTimeout {
						t.Errorf("took %v", took)
					}
					discoveries, fetches := i.requests()
					if again := wantUnavailable(t, s, k.ID()); again.Err == nil {
						t.Errorf("the cause is forgotten: %v", again)
					}
					if time.Since(start) < minInterval {
						wantRequests(t, i, discoveries, fetches) // not asked again within five seconds
					}
					i.up()
					time.Sleep(minInterval)
					wantKey(t, s, k)
				})
			})
		}
	}
}

func TestCallerWhoLeavesEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		i.change(func() {
			i.jwks = func(w http.ResponseWriter, _ *http.Request) {
				time.Sleep(3 * time.Second)
				text, _ := jws.MarshalKeySet([]*jws.Key{k.Public()})
				w.Write(text)
			}
		})
		s := i.set(nil)
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var left atomic.Bool
		var patient sync.WaitGroup
		patient.Go(func() {
			_, err := s.Keys(impatient, k.ID()) // leads the flight
			left.Store(iam.KindOf(err) == iam.KindUnavailable && errors.Is(err, context.DeadlineExceeded))
		})
		synctest.Wait()
		patient.Go(func() {
			if keys, err := s.Keys(t.Context(), k.ID()); err != nil || !keys.Has(k.ID()) {
				t.Error(err)
			}
			if !left.Load() {
				t.Error("the impatient caller did not leave in time")
			}
		})
		patient.Wait()
		wantRequests(t, i, 1, 1)
		gone, cancelNow := context.WithCancel(t.Context())
		cancelNow()
		if keys, err := s.Keys(gone, k.ID()); err != nil || !keys.Has(k.ID()) {
			t.Errorf("what is known needs no waiting: %v", err)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		s := i.set(nil)
		s.Close() // before anything began
		wantUnavailable(t, s, k.ID())
		wantRequests(t, i, 0, 0)

		s = i.set(nil)
		wantKey(t, s, k)
		s.Close()
		s.Close()
		wantKey(t, s, k) // requests that are still under way
		time.Sleep(time.Hour)
		wantKey(t, s, k)
		wantUnavailable(t, s, "other")
		wantRequests(t, i, 1, 1)

		// What is being reported is waited for.
		var reported atomic.Bool
		s = i.set(func(c *Config) {
			c.Report = func(Event) {
				time.Sleep(time.Second)
				reported.Store(true)
			}
		})
		wantKey(t, s, k)
		if s.Close(); !reported.Load() {
			t.Error("closed while something still ran")
		}

		// In the middle of a fetch: whoever waits is let go.
		i.change(func() { i.jwks = func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() } })
		s = i.set(nil)
		var waiting sync.WaitGroup
		waiting.Go(func() { wantUnavailable(t, s, k.ID()) })
		synctest.Wait()
		start := time.Now()
		s.Close()
		waiting.Wait()
		if took := time.Since(start); took != 0 {
			t.Errorf("closing took %v", took)
		}
	})
}

// A machine that slept has timers that did not fire: keys that are older than they may be are fetched
// before they are used.
func TestClockThatJumps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, first, second := newIssuer(t), newKey(t), newKey(t)
		i.publish(first)
		var jump atomic.Int64
		s := i.set(func(c *Config) { c.Now = func() time.Time { return time.Now().Add(time.Duration(jump.Load())) } })
		wantKey(t, s, first)
		i.publish(second)
		jump.Store(int64(MaxRemoval - time.Second))
		wantKey(t, s, first) // stale: it is fetched meanwhile
		synctest.Wait()
		wantRequests(t, i, 1, 2)
		i.publish(first)
		jump.Store(int64(time.Hour))
		keys, err := s.Keys(t.Context(), second.ID())
		if err == nil && keys.Has(second.ID()) {
			t.Error("a key was used that was removed long ago")
		}
		wantKey(t, s, first)
		// Backwards: nothing hangs, nothing is lost, and keys are fetched as ever.
		synctest.Wait()
		_, before := i.requests()
		jump.Store(int64(-time.Hour))
		wantKey(t, s, first)
		synctest.Wait()
		if _, after := i.requests(); after != before+1 {
			t.Errorf("%d fetches", after-before)
		}
		third := newKey(t)
		i.publish(first, third)
		time.Sleep(minInterval)
		wantKey(t, s, third)
	})
}

func TestDescriptionIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		s := i.set(nil)
		wantKey(t, s, k)
		for range 11 {
			time.Sleep(defaultFresh)
			synctest.Wait()
		}
		wantRequests(t, i, 1, 12)
		time.Sleep(defaultFresh)
		synctest.Wait()
		wantRequests(t, i, 2, 13) // after an hour
		// The keys move: what the old place answers sends it back to the description.
		i.change(func() { i.jwks = http.NotFound })
		time.Sleep(defaultFresh)
		synctest.Wait()
		wantRequests(t, i, 2, 14)
		time.Sleep(minInterval)
		synctest.Wait()
		wantRequests(t, i, 3, 15)
	})
}

func TestPinnedKeys(t *testing.T) {
	k := newKey(t)
	s, err := New(Config{Issuer: "https://idp.test", Pinned: jws.NewKeySet(k.Public())})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantKey(t, s, k)
	wantUnknown(t, s, "other")
	if s.Generation() == 0 {
		t.Error("no generation")
	}
	if state := s.Status(); !state.Pinned || !state.Usable || state.Keys != 1 || state.LastError != nil {
		t.Errorf("%+v", state)
	}
	if _, err := New(Config{Issuer: "https://idp.test", Pinned: jws.NewKeySet()}); iam.KindOf(err) != iam.KindInvalid {
		t.Errorf("pinned to nothing: %v", err)
	}
}

func TestEventsAndStatus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		text, err := jws.MarshalKeySet([]*jws.Key{k.Public()})
		if err != nil {
			t.Fatal(err)
		}
		with := strings.Replace(string(text), `{"keys":[`, `{"keys":[{"kty":"oct","k":"c2VjcmV0","kid":"leaked"},`, 1)
		i.change(func() { i.jwks = func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(with)) } })
		events := make(chan Event, 10)
		s := i.set(func(c *Config) { c.Report = func(e Event) { events <- e } })
		start := time.Now()
		wantKey(t, s, k)
		e := <-events
		if e.Issuer != i.url || !e.At.Equal(start) || e.Err != nil || !e.Changed || e.Keys != 1 || len(e.Ignored) != 1 ||
			!strings.Contains(e.Ignored[0], "leaked") || strings.Contains(e.Ignored[0], "c2VjcmV0") {
			t.Errorf("%+v", e)
		}
		if state := s.Status(); state.DiscoveryPath != "/.well-known/openid-configuration" || state.KeysURL != i.url+"/keys" || !state.LastSuccess.Equal(start) {
			t.Errorf("%+v", state)
		}
		if e := func() Event { time.Sleep(defaultFresh); return <-events }(); e.Changed || e.Err != nil {
			t.Errorf("%+v", e)
		}
		other := strings.Replace(with, "leaked", "leaked later", 1)
		i.change(func() { i.jwks = func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte(other)) } })
		if e := func() Event { time.Sleep(defaultFresh); return <-events }(); !e.Changed || e.Keys != 1 || len(e.Ignored) != 1 || e.Err != nil {
			t.Errorf("another secret beside the same key: %+v", e)
		}
		i.down()
		if e := func() Event { time.Sleep(defaultFresh); return <-events }(); e.Err == nil || e.Changed {
			t.Errorf("%+v", e)
		}
	})
}

func TestKeysURLSkipsDiscovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i, k := newIssuer(t), newKey(t)
		i.publish(k)
		s := i.set(func(c *Config) { c.Issuer, c.KeysURL = "https://idp.test/tenant", "http://localhost/keys" })
		wantKey(t, s, k)
		wantRequests(t, i, 0, 1)
		if state := s.Status(); state.DiscoveryPath != "" || state.KeysURL != "http://localhost/keys" {
			t.Errorf("%+v", state)
		}
	})
}

func BenchmarkKeys(b *testing.B) {
	i, k := newIssuer(b), newKey(b)
	i.publish(k)
	s := i.set(nil)
	kid := k.ID()
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := s.Keys(context.Background(), kid); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkGeneration(b *testing.B) {
	i, k := newIssuer(b), newKey(b)
	i.publish(k)
	s := i.set(nil)
	if _, err := s.Keys(b.Context(), k.ID()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if s.Generation() == 0 {
				b.Fatal("none")
			}
		}
	})
}
