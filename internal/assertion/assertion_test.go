package assertion_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/assertion"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/signing"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

const audience = "http://wandb.internal:8080"

// house is a maker with its keys and a clock that the test moves.
type house struct {
	testing.TB
	*assertion.Maker
	signing *signing.Keys
	cache   *hotcache.Cache

	mu  sync.Mutex
	now time.Time
}

func newHouse(t testing.TB) *house {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &house{TB: t, now: time.Date(2026, 11, 20, 12, 0, 0, 500, time.UTC)}
	h.cache, err = hotcache.New(hotcache.Config{Store: s, Space: "acme"})
	h.ok(err)
	t.Cleanup(func() { h.cache.Close() })
	h.signing, err = signing.New(signing.Config{Cache: h.cache, Space: "acme", Master: keys.NewMasterKey(), Retain: time.Hour, Now: h.clock})
	h.ok(err)
	h.ok(h.signing.Ensure(t.Context()))
	h.Maker, err = assertion.New(assertion.Config{
		Signing: h.signing, Cache: h.cache, Audience: audience, Now: h.clock,
		Issuer: func(r *http.Request) string { return "https://" + r.Host },
	})
	h.ok(err)
	return h
}

func (h *house) clock() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *house) forward(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("unexpected: %v", err)
	}
}

func request() *http.Request { return httptest.NewRequest("GET", "https://gw.acme.test/graphql", nil) }

func (h *house) made(p, person *iam.Principal) string {
	h.Helper()
	text, err := h.Assertion(request(), p, person)
	h.ok(err)
	return text
}

// verified reads an assertion as whoever trusts the gateway's keys does.
func (h *house) verified(text string) *jws.Token {
	h.Helper()
	token, err := jws.Parse(text)
	h.ok(err)
	set, err := h.signing.Verifying(context.Background(), h.cache.View())
	h.ok(err)
	_, err = token.Verify(set, nil)
	h.ok(err)
	return token
}

func person(name string) *iam.Principal {
	return &iam.Principal{Ref: iam.UserID("usr_" + name).Ref(), Organization: "acme", Username: name, Email: name + "@acme.test",
		Teams: []iam.Membership{{TeamRef: iam.TeamRef{ID: "team_1", Name: "speech"}}, {TeamRef: iam.TeamRef{ID: "team_2", Name: "vision"}}}}
}

func account(name string) *iam.Principal {
	return &iam.Principal{Ref: iam.ServiceAccountID("sa_" + name).Ref(), Organization: "acme", Username: name, Scope: iam.TeamRef{ID: "team_2", Name: "vision"}}
}

func TestWhatItSays(t *testing.T) {
	h := newHouse(t)
	for _, tt := range []struct {
		name              string
		principal, person *iam.Principal
		want              map[string]string // JSON by claim
		absent            []string
	}{
		{"a person", person("alice"), nil, map[string]string{
			"iss": `"https://gw.acme.test"`, "aud": `"` + audience + `"`, "sub": `"user:usr_alice"`, "preferred_username": `"alice"`,
			"email": `"alice@acme.test"`, "groups": `["speech","vision"]`, "organization": `"acme"`,
			"iat": "1795176000", "exp": "1795176060",
		}, []string{"on_behalf_of", "act", "scope"}},
		{"a service account", account("ci"), nil, map[string]string{
			"sub": `"service_account:sa_ci"`, "preferred_username": `"ci"`, "groups": `["vision"]`,
		}, []string{"email", "on_behalf_of"}},
		{"one that works for somebody", account("ci"), person("alice"), map[string]string{
			"sub":          `"service_account:sa_ci"`,
			"on_behalf_of": `{"sub":"user:usr_alice","preferred_username":"alice","email":"alice@acme.test"}`,
		}, []string{"email"}},
		{"one of the organization", &iam.Principal{Ref: iam.ServiceAccountID("sa_bot").Ref(), Organization: "acme", Username: "bot"}, nil, map[string]string{
			"sub": `"service_account:sa_bot"`,
		}, []string{"groups", "email"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			token := h.verified(h.made(tt.principal, tt.person))
			if token.Type != "wandb-gateway-assertion+jwt" || token.Algorithm != jws.ES256 {
				t.Errorf("typ %q, alg %q", token.Type, token.Algorithm)
			}
			for name, want := range tt.want {
				if got, ok := token.Claims.Lookup(name); !ok || got != want {
					t.Errorf("%s is %s, want %s", name, got, want)
				}
			}
			for _, name := range tt.absent {
				if token.Claims.Has(name) {
					t.Errorf("it has %s", name)
				}
			}
			if id, _, err := token.Claims.Text("jti"); err != nil || len(id) != 32 {
				t.Errorf("jti %q, %v", id, err)
			}
		})
	}
}

// One signature serves all requests of half a minute, so that what arrives is good for the other half.
func TestSignedOnceInHalfAMinute(t *testing.T) {
	h := newHouse(t)
	alice, bob := person("alice"), person("bob")
	first := h.made(alice, nil)
	if h.made(bob, nil) == first || h.made(account("ci"), alice) == first {
		t.Error("two principals have one assertion")
	}
	h.forward(30*time.Second - 1)
	if h.made(alice, nil) != first {
		t.Error("signed again within half a minute")
	}
	h.forward(1)
	second := h.made(alice, nil)
	if second == first {
		t.Error("still the first one after half a minute")
	}
	exp, _, err := h.verified(second).Claims.NumericDate("exp")
	if err != nil || exp.Sub(h.clock()) > time.Minute || exp.Sub(h.clock()) < 59*time.Second {
		t.Errorf("it lives until %s, and it is %s", exp, h.clock())
	}
	h.forward(-time.Hour) // a clock that is set back
	if h.made(alice, nil) == second {
		t.Error("an assertion from the future is shown")
	}
}

// What is said changes at once with what is known.
func TestSaysWhatIsKnownNow(t *testing.T) {
	h := newHouse(t)
	alice := person("alice")
	first := h.made(alice, nil)
	left := person("alice") // another principal in her place, without a team
	left.Teams = left.Teams[:1]
	if got, _ := h.verified(h.made(left, nil)).Claims.Lookup("groups"); got != `["speech"]` {
		t.Errorf("after she left a team: %s", got)
	}
	ci := account("ci")
	for _, someone := range []*iam.Principal{nil, alice, person("bob")} {
		token := h.verified(h.made(ci, someone))
		got, ok := token.Claims.Lookup("on_behalf_of/preferred_username")
		if ok != (someone != nil) || ok && got != `"`+someone.Username+`"` {
			t.Errorf("on behalf of %s", got)
		}
	}
	elsewhere := httptest.NewRequest("GET", "https://other.acme.test/", nil)
	text, err := h.Assertion(elsewhere, alice, nil)
	h.ok(err)
	if got, _ := h.verified(text).Claims.Lookup("iss"); got != `"https://other.acme.test"` {
		t.Errorf("by another address: %s", got)
	}
	if h.made(alice, nil) != first {
		t.Error("the first one was forgotten")
	}
}

// A signing key that was taken away signs nothing more, and nothing that it signed is shown again.
func TestDeletedSigningKey(t *testing.T) {
	h := newHouse(t)
	alice := person("alice")
	token := h.verified(h.made(alice, nil))
	h.ok(h.signing.Delete(t.Context(), token.KeyID))
	if again := h.verified(h.made(alice, nil)); again.KeyID == token.KeyID {
		t.Error("signed with the deleted key")
	}
}

func TestNoKeyToSignWith(t *testing.T) {
	h := newHouse(t)
	h.ok(h.cache.Close())
	if text, err := h.Assertion(request(), person("alice"), nil); text != "" || iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("%q, %v", text, err)
	}
}

func TestTooManyGroups(t *testing.T) {
	h := newHouse(t)
	p := person("alice")
	p.Teams = nil
	for i := range 50 {
		p.Teams = append(p.Teams, iam.Membership{TeamRef: iam.TeamRef{Name: fmt.Sprintf("%s-%d", strings.Repeat("t", 100), i)}})
	}
	if text := h.made(p, nil); len(text) > 8<<10 {
		t.Errorf("%d bytes", len(text))
	}
	p = person("alice")
	for i := range 500 {
		p.Teams = append(p.Teams, iam.Membership{TeamRef: iam.TeamRef{Name: fmt.Sprintf("%s-%d", strings.Repeat("t", 100), i)}})
	}
	if _, err := h.Assertion(request(), p, nil); iam.ReasonOf(err) != assertion.ReasonTooManyGroups || iam.KindOf(err) != iam.KindDenied {
		t.Errorf("%v", err)
	}
}

// Requests that come at once share one signature.
func TestAtOnce(t *testing.T) {
	h := newHouse(t)
	alice := person("alice")
	var mu sync.Mutex
	seen := map[string]bool{}
	var all sync.WaitGroup
	for range 32 {
		all.Go(func() {
			text, err := h.Assertion(request(), alice, nil)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Error(err)
			}
			seen[text] = true
		})
	}
	all.Wait()
	if len(seen) != 1 {
		t.Errorf("%d signatures", len(seen))
	}
}

func TestNewRefuses(t *testing.T) {
	h := newHouse(t)
	good := h.Config
	for name, change := range map[string]func(*assertion.Config){
		"no keys":     func(c *assertion.Config) { c.Signing = nil },
		"no cache":    func(c *assertion.Config) { c.Cache = nil },
		"no issuer":   func(c *assertion.Config) { c.Issuer = nil },
		"no audience": func(c *assertion.Config) { c.Audience = "" },
	} {
		c := good
		change(&c)
		if _, err := assertion.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func BenchmarkAssertion(b *testing.B) {
	h := newHouse(b)
	alice, r := person("alice"), request()
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.Assertion(r, alice, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.forward(time.Minute)
			if _, err := h.Assertion(r, alice, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
}
