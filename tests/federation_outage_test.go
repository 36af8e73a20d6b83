package tests

import (
	"crypto/rand"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// await waits for a condition that comes true outside the gateway's process.
func await(t *testing.T, what string, within time.Duration, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(within); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waiting for %s took longer than %s", what, within)
		}
	}
}

// awaitGranted exchanges new assertions until one is accepted, and fails at once when one is refused
// for good: what comes late may be 503 meanwhile, never 400.
func (f federated) awaitGranted(t *testing.T, k *signingKey) string {
	t.Helper()
	token := ""
	await(t, "an exchange to be granted", 60*time.Second, func() bool {
		got := f.exchange(k.token(f.issuer.claims("alice@acme.test")))
		switch got.status {
		case http.StatusOK:
			token = f.mustExchange(t, k.token(f.issuer.claims("alice@acme.test")))
		case http.StatusServiceUnavailable:
			if got.header.Get("Retry-After") == "" || got.header.Get("Cache-Control") != "no-store" {
				t.Fatalf("503 with header %v", got.header)
			}
		default:
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		return token != ""
	})
	return token
}

// awaitRefused exchanges new assertions until one is refused.
func (f federated) awaitRefused(t *testing.T, k *signingKey) {
	t.Helper()
	await(t, "an exchange to be refused", 60*time.Second, func() bool {
		got := f.exchange(k.token(f.issuer.claims("alice@acme.test")))
		if got.status != http.StatusBadRequest && got.status != http.StatusServiceUnavailable {
			t.Fatalf("answered %d %s", got.status, got.body)
		}
		return got.status == http.StatusBadRequest
	})
}

// TestKeyRotation is J16: a new key counts at once, the old one while it is published.
func TestKeyRotation(t *testing.T) {
	f := startFederated(t)
	old := f.mustExchange(t, f.assertion("alice@acme.test"))
	direct := f.assertion("alice@acme.test")
	if a := f.bearer("vision/team", direct); a.status != http.StatusOK {
		t.Fatalf("the assertion itself gets %d %s", a.status, a.body)
	}
	second, third := newKey(t, "ES256", "k2"), newKey(t, "EdDSA", "k3")

	f.issuer.publish(f.key, second)
	f.awaitGranted(t, second)
	f.mustExchange(t, f.assertion("alice@acme.test"))

	f.issuer.publish(third)
	f.awaitGranted(t, third) // the key set was fetched anew, so the others are gone
	f.awaitRefused(t, f.key)
	f.awaitRefused(t, second)
	await(t, "the assertion by a withdrawn key to end", 10*time.Second, func() bool {
		return f.bearer("vision/team", direct).status == http.StatusUnauthorized
	})
	if a := f.bearer("vision/team", old); a.status != http.StatusOK {
		t.Errorf("an access token, which we signed, gets %d %s", a.status, a.body)
	}
	if _, n := f.issuer.fetches(); n > 10 {
		t.Errorf("the key set was fetched %d times", n)
	}
}

// TestIssuerOutage is J17 for an issuer that was known: whose key is cached goes on, who is new is
// told to wait, access tokens notice nothing, and it recovers by itself.
func TestIssuerOutage(t *testing.T) {
	f := startFederated(t)
	token := f.mustExchange(t, f.assertion("alice@acme.test"))
	second := newKey(t, "ES256", "k2")
	f.issuer.publish(f.key, second)
	f.issuer.misbehaves(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "down", http.StatusInternalServerError)
		return true
	})
	f.mustExchange(t, f.assertion("alice@acme.test"))
	if a := f.bearer("vision/team", f.assertion("alice@acme.test")); a.status != http.StatusOK {
		t.Errorf("an assertion as credential gets %d %s", a.status, a.body)
	}
	unknown := second.token(f.issuer.claims("alice@acme.test"))
	for range 3 {
		got := f.exchange(unknown)
		if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || got.oauth().Error == "" || got.oauth().Description == "" {
			t.Errorf("a key that cannot be fetched: %d %v %s", got.status, got.header, got.body)
		}
		if got := f.bearer("vision/team", unknown); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("the same as credential: %d %s", got.status, got.body)
		}
	}
	if a := f.bearer("vision/team", token); a.status != http.StatusOK {
		t.Errorf("an access token gets %d %s", a.status, a.body)
	}
	if a := f.send("GET", "/wandb-gateway/readyz", "", "", nil); a.status != http.StatusOK {
		t.Errorf("readyz answers %d: an issuer is no part of the gateway", a.status)
	}
	f.issuer.misbehaves(nil)
	f.awaitGranted(t, second)
}

// TestIssuerNeverReached is J17 for issuers that misbehave from the beginning: 503 within the
// bounds, whatever they do, and nobody else is asked.
func TestIssuerNeverReached(t *testing.T) {
	var foreign atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { foreign.Add(1) }))
	t.Cleanup(elsewhere.Close)
	key := newKey(t, "ES256", "k1")
	var sent atomic.Int64
	only := func(path string, f func(w http.ResponseWriter, i *issuer)) func(*issuer) func(http.ResponseWriter, *http.Request) bool {
		return func(i *issuer) func(http.ResponseWriter, *http.Request) bool {
			return func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, path) {
					return false
				}
				f(w, i)
				return true
			}
		}
	}
	says := func(status int, body string) func(http.ResponseWriter, *issuer) {
		return func(w http.ResponseWriter, _ *issuer) {
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	ended := make(chan struct{})
	hangs := func(http.ResponseWriter, *issuer) { <-ended }
	endless := func(w http.ResponseWriter, _ *issuer) {
		for part := strings.Repeat(" ", 1<<16); sent.Load() < 64<<20; {
			n, err := io.WriteString(w, part)
			if sent.Add(int64(n)); err != nil {
				return
			}
		}
	}
	to := func(url string) func(http.ResponseWriter, *issuer) {
		return func(w http.ResponseWriter, _ *issuer) {
			w.Header().Set("Location", url)
			w.WriteHeader(http.StatusFound)
		}
	}
	without := func(member string, value any) func(http.ResponseWriter, *issuer) {
		return func(w http.ResponseWriter, i *issuer) {
			d := i.discovery()
			if d[member] = value; value == nil {
				delete(d, member)
			}
			io.WriteString(w, toJSON(d))
		}
	}
	modes := map[string]func(*issuer) func(http.ResponseWriter, *http.Request) bool{
		"discovery 500":              only("well-known", says(500, "")),
		"discovery 404":              only("well-known", says(404, "not found")),
		"discovery HTML":             only("well-known", says(200, "<!doctype html><title>Sign in</title>")),
		"discovery garbage":          only("well-known", says(200, "{\"issuer\":")),
		"discovery endless":          only("well-known", endless),
		"discovery hangs":            only("well-known", hangs),
		"discovery redirects":        only("well-known", to(elsewhere.URL)),
		"discovery of another":       only("well-known", without("issuer", "https://idp.acme.test")),
		"discovery with a slash":     only("well-known", func(w http.ResponseWriter, i *issuer) { without("issuer", i.name+"/")(w, i) }),
		"discovery without issuer":   only("well-known", without("issuer", nil)),
		"discovery without jwks_uri": only("well-known", without("jwks_uri", nil)),
		"jwks_uri of a file":         only("well-known", without("jwks_uri", "file:///etc/passwd")),
		"keys 500":                   only("/keys", says(500, "")),
		"keys empty":                 only("/keys", says(200, `{"keys":[]}`)),
		"keys missing":               only("/keys", says(200, `{}`)),
		"keys HTML":                  only("/keys", says(200, "<html>")),
		"keys endless":               only("/keys", endless),
		"keys hang":                  only("/keys", hangs),
		"keys redirect":              only("/keys", to(elsewhere.URL)),
		"keys redirect in circles":   only("/keys", func(w http.ResponseWriter, i *issuer) { to(i.URL+"/keys")(w, i) }),
	}
	issuers := make(map[string]*issuer)
	var all []*issuer
	for name, mode := range modes {
		i := newIssuer(t, key)
		i.misbehaves(mode(i))
		issuers[name] = i
		all = append(all, i)
	}
	refusing := newIssuer(t, key) // nobody listens there any more
	refusing.Close()
	issuers["nobody listens"] = refusing
	all = append(all, refusing)
	t.Cleanup(func() { close(ended) }) // before the issuers close
	upstream := newRecorder(t)
	p := start(t, config{global: trusting(all...), upstream: upstream.host()})
	p.importFile(acme)

	answers := make(map[string]*shown)
	var sending sync.WaitGroup
	for name, i := range issuers {
		s := new(shown)
		answers[name] = s
		sending.Go(func() {
			s.exchange, s.err = p.try("POST", "/oidc/token", url.Values{"grant_type": {grantType}, "assertion": {key.token(i.claims("alice@acme.test"))}}.Encode(),
				http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		})
	}
	// Meanwhile others are served.
	if a := p.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key gets %d %s", a.status, a.body)
	}
	sending.Wait()
	for name, s := range answers {
		t.Run(name, func(t *testing.T) {
			if s.err != nil {
				t.Fatal(s.err)
			}
			if e := s.exchange.oauth(); s.exchange.status != http.StatusServiceUnavailable || s.exchange.header.Get("Retry-After") == "" || e.Error == "" || e.Description == "" {
				t.Errorf("answered %d %v %s", s.exchange.status, s.exchange.header, s.exchange.body)
			}
		})
	}
	if n := foreign.Load(); n != 0 {
		t.Errorf("redirects to another host were followed %d times", n)
	}
	if n := sent.Load(); n >= 64<<20 {
		t.Errorf("%d bytes of endless answers were read", n)
	}
	t.Run("recovers", func(t *testing.T) {
		i := issuers["keys 500"]
		i.misbehaves(nil)
		federated{process: p, issuer: i, key: key}.awaitGranted(t, key)
	})
}

// TestColdStart is J19: a thousand first exchanges ask the issuer once.
func TestColdStart(t *testing.T) {
	const n = 1000
	key := newKey(t, "ES256", "k1")
	i := newIssuer(t, key)
	var written atomic.Int64
	i.misbehaves(func(_ http.ResponseWriter, r *http.Request) bool {
		// Nothing is answered before everybody has asked.
		for deadline := time.Now().Add(4 * time.Second); written.Load() < n && time.Now().Before(deadline); {
			time.Sleep(10 * time.Millisecond)
		}
		return false
	})
	p := start(t, config{global: trusting(i), upstream: newRecorder(t).host()})
	p.importFile(acme)
	var bodies []string
	for range n {
		bodies = append(bodies, url.Values{"grant_type": {grantType}, "assertion": {key.token(i.claims("alice@acme.test"))}}.Encode())
	}
	var mu sync.Mutex
	statuses := make(map[int]int)
	var sending sync.WaitGroup
	crowd := &http.Client{Timeout: 60 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: n}}
	defer crowd.CloseIdleConnections()
	for _, body := range bodies {
		sending.Go(func() {
			req, err := http.NewRequest("POST", p.url+"/oidc/token", strings.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			trace := &httptrace.ClientTrace{WroteRequest: func(httptrace.WroteRequestInfo) { written.Add(1) }}
			res, err := crowd.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), trace)))
			if err != nil {
				t.Error(err)
				return
			}
			defer res.Body.Close()
			io.Copy(io.Discard, res.Body)
			mu.Lock()
			statuses[res.StatusCode]++
			mu.Unlock()
		})
	}
	sending.Wait()
	if statuses[http.StatusOK] != n {
		t.Errorf("statuses %v, want %d times 200", statuses, n)
	}
	if discoveries, keySets := i.fetches(); discoveries != 1 || keySets != 1 {
		t.Errorf("the issuer was asked for discovery %d times and for keys %d times, want once each", discoveries, keySets)
	}
}

// TestUnknownKeyFlood is J18: random key ids cost the issuer one fetch in five seconds, and the
// others nothing.
func TestUnknownKeyFlood(t *testing.T) {
	f := startFederated(t)
	stranger := newKey(t, "ES256", "")
	flood := func() answer {
		a, err := f.try("POST", "/oidc/token", url.Values{"grant_type": {grantType}, "assertion": {
			stranger.headed(map[string]any{"kid": rand.Text()}, f.issuer.claims("alice@acme.test"))}}.Encode(),
			http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		if err != nil {
			t.Error(err)
		}
		return a
	}
	token := f.mustExchange(t, f.assertion("alice@acme.test"))
	fetched, answer := make(chan struct{}), make(chan struct{})
	var first sync.Once
	f.issuer.misbehaves(func(_ http.ResponseWriter, r *http.Request) bool {
		first.Do(func() {
			close(fetched)
			select {
			case <-answer:
			case <-r.Context().Done():
				t.Error("the others wait for what the flood has fetched")
			}
		})
		return false
	})
	began := time.Now()
	stop := began.Add(7 * time.Second) // more than one interval
	var flooding sync.WaitGroup
	var sent atomic.Int64
	for range 4 {
		flooding.Go(func() {
			for ; time.Now().Before(stop); sent.Add(1) {
				if a := flood(); a.status != http.StatusBadRequest && a.status != http.StatusServiceUnavailable {
					t.Errorf("the flood is answered %d %s", a.status, a.body)
					return
				}
			}
		})
	}
	for served := 0; time.Now().Before(stop) || served > 0 && served < 20; {
		if a := f.bearer("vision/team", token); a.status != http.StatusOK {
			t.Fatalf("a token gets %d %s", a.status, a.body)
		}
		f.mustExchange(t, f.assertion("alice@acme.test"))
		select {
		case <-fetched:
			if served++; served == 20 { // all while nobody answers the fetch
				close(answer)
			}
		default:
		}
	}
	flooding.Wait()
	select {
	case <-answer:
	default:
		t.Error("the flood made the gateway fetch nothing")
	}
	_, keySets := f.issuer.fetches()
	if most := 2 + int(time.Since(began)/(5*time.Second)); keySets > most {
		t.Errorf("%d unknown keys cost %d fetches, want at most %d", sent.Load(), keySets, most)
	}
}

// TestDiscoveryPaths: W&B's own path is asked where the standard one is not there (FED-4).
func TestDiscoveryPaths(t *testing.T) {
	key := newKey(t, "ES256", "k1")
	i := newIssuer(t, key)
	var mu sync.Mutex
	var asked []string
	i.misbehaves(func(w http.ResponseWriter, r *http.Request) bool {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, r.URL.Path)
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			http.NotFound(w, r)
		case "/.well-known/oidc-configuration":
			io.WriteString(w, toJSON(i.discovery()))
		default:
			return false
		}
		return true
	})
	p := start(t, config{global: trusting(i), upstream: newRecorder(t).host()})
	p.importFile(acme)
	p.mustExchange(t, key.token(i.claims("alice@acme.test")))
	mu.Lock()
	defer mu.Unlock()
	if want := []string{"/.well-known/openid-configuration", "/.well-known/oidc-configuration", "/keys"}; !slices.Equal(asked, want) {
		t.Errorf("the issuer was asked for %q, want %q", asked, want)
	}
}
