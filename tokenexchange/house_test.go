package tokenexchange

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/signing"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// issuerURL is the issuer whose key set the tests pin: what is not tested here is how keys are fetched.
const issuerURL = "https://idp.acme.test"

// house is a service with a directory in which alice is a person and trainer an external service
// account of the team vision.
type house struct {
	*Service
	t      testing.TB
	ctx    context.Context
	store  *countingStore
	now    atomic.Int64 // seconds
	key    *jws.PrivateKey
	events []Event

	alice   iam.UserID
	trainer iam.ServiceAccountID
	vision  iam.TeamID
}

// countingStore counts reads, and can be away.
type countingStore struct {
	store.Store
	reads atomic.Int64
	away  atomic.Bool
}

func (s *countingStore) Get(ctx context.Context, key string) (store.Record, error) {
	s.reads.Add(1)
	if s.away.Load() {
		return store.Record{}, context.DeadlineExceeded
	}
	return s.Store.Get(ctx, key)
}

func newHouse(t testing.TB, change ...func(*Config)) *house {
	t.Helper()
	h := &house{t: t, ctx: t.Context()}
	h.now.Store(time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).Unix())
	opened, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	h.must(err)
	h.store = &countingStore{Store: opened}
	cache, err := hotcache.New(hotcache.Config{Store: h.store, Space: "acme"})
	h.must(err)
	t.Cleanup(func() {
		cache.Close()
		opened.Close()
	})
	clock := func() time.Time { return time.Unix(h.now.Load(), 0) }
	d, err := directory.New(directory.Config{
		Cache: cache, Organization: "acme", HMACKey: [32]byte{1}, Now: clock,
		CheckFederation: func(ctx context.Context, issuer, subject string, claims map[string]string) error {
			return h.CheckFederation(ctx, issuer, subject, claims)
		},
	})
	h.must(err)
	signer, err := signing.New(signing.Config{Cache: cache, Space: "acme", Master: keys.NewMasterKey(), Algorithm: "ES256", Retain: MaxLifetime, Now: clock})
	h.must(err)
	h.must(signer.Ensure(h.ctx))
	h.key, err = jws.NewPrivateKey("ES256")
	h.must(err)
	c := Config{
		Directory: d, Cache: cache, Space: "acme", Signing: signer, KeySets: &KeySets{Now: clock}, Now: clock,
		Issuers: []TrustedIssuer{{URL: issuerURL, Keys: keySetOf(t, h.key)}},
		Report:  func(e Event) { h.events = append(h.events, e) },
	}
	for _, f := range change {
		f(&c)
	}
	h.Service, err = New(c)
	h.must(err)

	user, err := d.CreateUser(h.ctx, directory.NewUser{Username: "alice", Email: "alice@acme.test", Role: iam.OrganizationAdmin})
	h.must(err)
	h.alice = user.After.ID
	team, err := d.CreateTeam(h.ctx, "vision")
	h.must(err)
	h.vision = team.After.ID
	h.trainer = h.account(directory.NewServiceAccount{Name: "trainer", Team: h.vision, Issuer: issuerURL, Subject: "job:train"})
	return h
}

func (h *house) must(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) account(n directory.NewServiceAccount) iam.ServiceAccountID {
	h.t.Helper()
	c, err := h.Directory.CreateServiceAccount(h.ctx, n)
	h.must(err)
	return c.After.ID
}

func (h *house) later(d time.Duration) { h.now.Add(int64(d / time.Second)) }

func keySetOf(t testing.TB, keys ...*jws.PrivateKey) json.RawMessage {
	t.Helper()
	public := make([]*jws.Key, len(keys))
	for i, key := range keys {
		public[i] = key.Public()
	}
	text, err := jws.MarshalKeySet(public)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claims are those of a good assertion with changes; nil takes a claim away.
func (h *house) claims(changes map[string]any) map[string]any {
	now := h.now.Load()
	c := map[string]any{"iss": issuerURL, "sub": "alice@acme.test", "aud": "acme", "iat": now, "exp": now + 300, "jti": "j1"}
	maps.Copy(c, changes)
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	return c
}

// assertion signs a good assertion with changes.
func (h *house) assertion(changes map[string]any) iam.Secret {
	h.t.Helper()
	return h.sign(h.key, "JWT", h.claims(changes))
}

func (h *house) sign(key *jws.PrivateKey, typ string, claims any) iam.Secret {
	h.t.Helper()
	token, err := key.Sign(typ, claims)
	h.must(err)
	return iam.NewSecret(token)
}

// exchange makes an access token of an assertion that must be good.
func (h *house) exchange(assertion iam.Secret) *AccessToken {
	h.t.Helper()
	made, _, err := h.Exchange(h.ctx, Request{Assertion: assertion, Gateway: "https://gateway.test"})
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return made
}

// refusal exchanges an assertion that must be refused, and returns the reason that only the event has.
func (h *house) refusal(assertion iam.Secret) iam.Reason {
	h.t.Helper()
	_, e, err := h.Exchange(h.ctx, Request{Assertion: assertion, Gateway: "https://gateway.test"})
	if err == nil {
		h.t.Fatal("it is exchanged")
	}
	if iam.KindOf(err) == iam.KindUnauthenticated && iam.ReasonOf(err) != directory.ReasonDeactivated {
		if refusal, ok := asError(err); !ok || refusal.Message != refusedMessage {
			h.t.Errorf("the refusal tells more than its one wording: %v", err)
		}
	}
	return e.Reason
}

// post sends a form to the endpoint.
func (h *house) post(form url.Values) *httptest.ResponseRecorder {
	return h.send(httptest.NewRequest(http.MethodPost, "https://gateway.test/oidc/token", strings.NewReader(form.Encode())), "application/x-www-form-urlencoded")
}

func (h *house) send(r *http.Request, contentType string) *httptest.ResponseRecorder {
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.endpoint().ServeHTTP(w, r)
	return w
}

func (h *house) endpoint() *Endpoint {
	return &Endpoint{
		Service:   h.Service,
		Client:    func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") },
		Gateway:   func(*http.Request) string { return "https://gateway.test" },
		RequestID: func(*http.Request) string { return "request-1" },
	}
}

func grant(assertion iam.Secret) url.Values {
	return url.Values{"grant_type": {grantType}, "assertion": {assertion.Reveal()}}
}
