package oidc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
)

type m = map[string]any

const (
	clientID = "wandb-gateway"
	callback = "https://wandb.acme.test/oidc/callback"
	secret   = "canary-client-secret"
)

// clock is a clock that tests move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0).UTC()} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// authority is an OpenID provider that does what a test wants.
type authority struct {
	*httptest.Server
	clock *clock
	key   *signingKey

	mu        sync.Mutex
	document  m              // changes to the discovery document; a nil value removes
	discovery http.Handler   // instead of the document
	tokens    http.Handler   // instead of the token endpoint
	published []*signingKey  // nil: key alone
	asked     map[string]int // by path
	codes     map[string]code
	answer    m // changes to the token answer
	redeemed  *http.Request
}

// code is what the authority remembers of a sign-in: what PKCE binds it to, and the ID token.
type code struct{ challenge, redirectURI, idToken string }

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{clock: newClock(), key: newSigningKey(t, "k1"), asked: map[string]int{}, codes: map[string]code{}, document: m{}, answer: m{}}
	a.Server = httptest.NewServer(a)
	t.Cleanup(a.Close)
	return a
}

// set changes the authority between requests.
func (a *authority) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *authority) count(path string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asked[path]
}

func (a *authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked[r.URL.Path]++
	discovery, tokens := a.discovery, a.tokens
	a.mu.Unlock()
	switch {
	case r.URL.Path == "/.well-known/openid-configuration" && discovery != nil:
		discovery.ServeHTTP(w, r)
	case r.URL.Path == "/.well-known/openid-configuration":
		write(w, http.StatusOK, a.metadata())
	case r.URL.Path == "/jwks":
		a.mu.Lock()
		keys := a.published
		if keys == nil {
			keys = []*signingKey{a.key}
		}
		a.mu.Unlock()
		var all []m
		for _, k := range keys {
			all = append(all, k.jwk())
		}
		write(w, http.StatusOK, m{"keys": all})
	case r.URL.Path == "/token" && tokens != nil:
		tokens.ServeHTTP(w, r)
	case r.URL.Path == "/token":
		a.redeem(w, r)
	default:
		http.NotFound(w, r)
	}
}

func (a *authority) metadata() m {
	document := m{
		"issuer": a.URL, "authorization_endpoint": a.URL + "/authorize", "token_endpoint": a.URL + "/token", "jwks_uri": a.URL + "/jwks",
		"end_session_endpoint": a.URL + "/logout?ui=1", "id_token_signing_alg_values_supported": []string{"RS256", "ES256"},
		"userinfo_endpoint": a.URL + "/userinfo",
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	merge(document, a.document)
	return document
}

func merge(into, changes m) {
	maps.Copy(into, changes)
	for name, value := range changes {
		if value == nil {
			delete(into, name)
		}
	}
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// redeem is a token endpoint that forgives nothing.
func (a *authority) redeem(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r.ParseForm()
	a.redeemed = r
	form := r.PostForm
	known, ok := a.codes[form.Get("code")]
	delete(a.codes, form.Get("code"))
	sum := sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case r.Method != http.MethodPost || r.URL.RawQuery != "" || form.Get("grant_type") != "authorization_code":
		write(w, http.StatusBadRequest, m{"error": "invalid_request"})
	case !ok || known.redirectURI != form.Get("redirect_uri") || known.challenge != base64.RawURLEncoding.EncodeToString(sum[:]):
		write(w, http.StatusBadRequest, m{"error": "invalid_grant", "error_description": "no such code " + form.Get("code")})
	default:
		answer := m{"access_token": "canary-access", "token_type": "Bearer", "expires_in": 300, "id_token": known.idToken}
		merge(answer, a.answer)
		write(w, http.StatusOK, answer)
	}
}

// signingKey signs whatever a test writes.
type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

func newSigningKey(t testing.TB, id string) *signingKey {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &signingKey{id, private}
}

func (k *signingKey) jwk() m {
	point, err := k.private.PublicKey.Bytes()
	if err != nil {
		panic(err)
	}
	return m{"kty": "EC", "crv": "P-256", "kid": k.id, "use": "sig", "x": b64(point[1:33]), "y": b64(point[33:])}
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// sign returns a token with exactly this header and payload.
func (k *signingKey) sign(header, payload string) string {
	signed := b64([]byte(header)) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		panic(err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return signed + "." + b64(signature)
}

func (k *signingKey) token(claims m) string {
	payload, err := json.Marshal(claims)
	if err != nil {
		panic(err)
	}
	return k.sign(fmt.Sprintf(`{"alg":"ES256","kid":%q,"typ":"JWT"}`, k.id), string(payload))
}

// claims are those of a good ID token, with changes; a nil value removes.
func (a *authority) claims(nonce string, changes m) m {
	now := a.clock.Now().Unix()
	claims := m{"iss": a.URL, "sub": "00u1", "aud": clientID, "iat": now, "exp": now + 300, "nonce": nonce,
		"email": "alice@acme.test", "email_verified": true, "name": "Alice A.", "preferred_username": "alice", "groups": []string{"vision", "audio"}, "sid": "s1"}
	merge(claims, changes)
	return claims
}

// connector returns a connector to the authority.
func (a *authority) connector(t testing.TB, change func(*Config)) *Connector {
	t.Helper()
	cfg := Config{Issuer: a.URL, ClientID: clientID, Now: a.clock.Now}
	if change != nil {
		change(&cfg)
	}
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func withPKCE(cfg *Config) { cfg.Method = PKCE }

func begin(t testing.TB, c *Connector) (url.Values, *Flow) {
	t.Helper()
	location, f, err := c.Begin(context.Background(), callback, "/vision/detector")
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(location)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query(), f
}

// answerWith returns the provider's answer to a question, with this ID token.
func (a *authority) answerWith(c *Connector, asked url.Values, idToken string) Answer {
	answer := Answer{State: asked.Get("state")}
	switch c.Method() {
	case Implicit:
		answer.IDToken = idToken
	case PKCE:
		a.mu.Lock()
		defer a.mu.Unlock()
		answer.Code = fmt.Sprintf("canary-code-%d", len(a.asked)+len(a.codes))
		a.codes[answer.Code] = code{asked.Get("code_challenge"), asked.Get("redirect_uri"), idToken}
	}
	return answer
}

// signIn does a whole sign-in with this ID token.
func (a *authority) signIn(t testing.TB, c *Connector, idToken func(nonce string) string) (*identity.Identity, error) {
	t.Helper()
	asked, f := begin(t, c)
	return c.Finish(context.Background(), f, a.answerWith(c, asked, idToken(asked.Get("nonce"))))
}

func (a *authority) signInAs(t testing.TB, c *Connector, changes m) (*identity.Identity, error) {
	t.Helper()
	return a.signIn(t, c, func(nonce string) string { return a.key.token(a.claims(nonce, changes)) })
}

// wantError checks kind and reason of an error, and that it tells nobody a secret.
func wantError(t testing.TB, name string, err error, kind iam.Kind, reason iam.Reason) {
	t.Helper()
	if err == nil {
		t.Errorf("%s: accepted", name)
		return
	}
	if iam.KindOf(err) != kind || iam.ReasonOf(err) != reason {
		t.Errorf("%s: kind %d, reason %s: %v", name, iam.KindOf(err), iam.ReasonOf(err), err)
	}
	if strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "eyJ") || len(err.Error()) > 1500 || strings.ContainsAny(err.Error(), "\r\n") || strings.Contains(err.Error(), "<html") {
		t.Errorf("%s: tells too much: %q", name, err)
	}
}
