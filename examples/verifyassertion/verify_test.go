package verifyassertion

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

const (
	issuer   = "https://wandb.acme.test"
	audience = "http://wandb.internal:8080"
)

// gateway publishes keys as the gateway does, and counts how often they are fetched.
type gateway struct {
	*testing.T
	*Verifier
	key       *jws.PrivateKey
	now       time.Time
	published atomic.Pointer[[]byte]
	fetches   atomic.Int32
}

func newKey(t *testing.T) *jws.PrivateKey {
	t.Helper()
	key, err := jws.NewPrivateKey(jws.ES256)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newGateway(t *testing.T) *gateway {
	g := &gateway{T: t, key: newKey(t), now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	g.publish(g.key)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		g.fetches.Add(1)
		text := g.published.Load()
		if text == nil {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		w.Write(*text)
	}))
	t.Cleanup(server.Close)
	g.Verifier = &Verifier{Issuer: issuer, Audience: audience, KeysURL: server.URL, Now: func() time.Time { return g.now }}
	return g
}

func (g *gateway) publish(keys ...*jws.PrivateKey) {
	g.Helper()
	public := make([]*jws.Key, len(keys))
	for i, key := range keys {
		public[i] = key.Public()
	}
	text, err := jws.MarshalKeySet(public)
	if err != nil {
		g.Fatal(err)
	}
	g.published.Store(&text)
}

// sign makes an assertion with changes; nil takes a claim away.
func (g *gateway) sign(key *jws.PrivateKey, typ string, changes map[string]any) string {
	g.Helper()
	claims := map[string]any{
		"iss": issuer, "aud": audience, "sub": "service_account:sa_1", "iat": g.now.Unix(), "exp": g.now.Unix() + 60, "jti": "1",
		"organization": "acme", "preferred_username": "ci", "groups": []string{"vision"},
		"on_behalf_of": map[string]string{"sub": "user:usr_1", "preferred_username": "alice"},
	}
	maps.Copy(claims, changes)
	maps.DeleteFunc(claims, func(_ string, v any) bool { return v == nil })
	text, err := key.Sign(typ, claims)
	if err != nil {
		g.Fatal(err)
	}
	return text
}

func TestVerify(t *testing.T) {
	g := newGateway(t)
	caller, err := g.Verify(t.Context(), g.sign(g.key, tokenType, nil))
	if err != nil {
		t.Fatal(err)
	}
	if caller.Subject != "service_account:sa_1" || caller.Username != "ci" || caller.Organization != "acme" ||
		!slices.Equal(caller.Groups, []string{"vision"}) || caller.OnBehalfOf == nil || caller.OnBehalfOf.Username != "alice" {
		t.Errorf("%+v", caller)
	}
	for range 100 {
		if _, err := g.Verify(t.Context(), g.sign(g.key, tokenType, nil)); err != nil {
			t.Fatal(err)
		}
	}
	if n := g.fetches.Load(); n != 1 {
		t.Errorf("the keys were fetched %d times", n)
	}
}

// tampered changes a part of a token by its JSON.
func tampered(t *testing.T, token string, part int, change func(map[string]any)) string {
	t.Helper()
	parts := strings.Split(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(parts[part])
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(text, &object); err != nil {
		t.Fatal(err)
	}
	change(object)
	if text, err = json.Marshal(object); err != nil {
		t.Fatal(err)
	}
	parts[part] = base64.RawURLEncoding.EncodeToString(text)
	return strings.Join(parts, ".")
}

func TestVerifyRefuses(t *testing.T) {
	g := newGateway(t)
	good := g.sign(g.key, tokenType, nil)
	with := func(name string, value any) string { return g.sign(g.key, tokenType, map[string]any{name: value}) }
	seconds := func(d time.Duration) int64 { return g.now.Add(d).Unix() }
	for name, token := range map[string]string{
		"nothing":                    "",
		"no token":                   "alice",
		"another subject":            tampered(t, good, 1, func(c map[string]any) { c["sub"] = "user:usr_admin" }),
		"another key id":             tampered(t, good, 0, func(h map[string]any) { h["kid"] = "other" }),
		"no algorithm":               tampered(t, good, 0, func(h map[string]any) { h["alg"] = "none" }),
		"unsigned":                   good[:strings.LastIndexByte(good, '.')+1],
		"a symmetric algorithm":      tampered(t, good, 0, func(h map[string]any) { h["alg"] = "HS256" }),
		"another algorithm":          tampered(t, good, 0, func(h map[string]any) { h["alg"] = "EdDSA" }),
		"signed by somebody else":    g.sign(newKey(t), tokenType, nil),
		"an access token":            g.sign(g.key, "at+jwt", nil),
		"without a type":             g.sign(g.key, "", nil),
		"type of an access token":    tampered(t, good, 0, func(h map[string]any) { h["typ"] = "at+jwt" }),
		"another issuer":             with("iss", "https://evil.test"),
		"no issuer":                  with("iss", nil),
		"another audience":           with("aud", "http://other.internal:8080"),
		"no audience":                with("aud", nil),
		"an empty audience":          with("aud", ""),
		"no subject":                 with("sub", nil),
		"no end":                     with("exp", nil),
		"no beginning":               with("iat", nil),
		"expired":                    g.sign(g.key, tokenType, map[string]any{"iat": seconds(-90 * time.Second), "exp": seconds(-30 * time.Second)}),
		"of the future":              g.sign(g.key, tokenType, map[string]any{"iat": seconds(30 * time.Second), "exp": seconds(90 * time.Second)}),
		"that lives for an hour":     with("exp", seconds(time.Hour)),
		"an end that is no time":     with("exp", "never"),
		"a subject that is no text":  with("sub", 7),
		"a key in its own header":    tampered(t, good, 0, func(h map[string]any) { h["jwk"] = map[string]string{"kty": "EC"}; h["kid"] = nil }),
		"with a byte more":           good + "A",
		"with another dot":           good + ".",
		"in another encoding of one": strings.Replace(good, ".", "=.", 1),
	} {
		if caller, err := g.Verify(t.Context(), token); err == nil {
			t.Errorf("%s: accepted as %+v", name, caller)
		}
	}
	if _, err := g.Verify(t.Context(), good); err != nil {
		t.Errorf("the good one afterwards: %v", err)
	}
}

func TestRequest(t *testing.T) {
	g := newGateway(t)
	good := g.sign(g.key, tokenType, nil)
	for n, values := range [][]string{{}, {good}, {good, good}, {""}} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header[Header] = values
		if caller, err := g.Request(r); (err == nil) != (n == 1) {
			t.Errorf("%d assertions: %+v, %v", len(values), caller, err)
		}
	}
}

// A new key is found at once, one that was taken away counts for five minutes at most, and nobody can
// make the server fetch keys all the time.
func TestKeysFollowTheGateway(t *testing.T) {
	g := newGateway(t)
	verify := func(key *jws.PrivateKey) error {
		_, err := g.Verify(t.Context(), g.sign(key, tokenType, nil))
		return err
	}
	if err := verify(g.key); err != nil {
		t.Fatal(err)
	}
	next := newKey(t)
	g.publish(g.key, next)
	g.now = g.now.Add(minFetch)
	if err := verify(next); err != nil {
		t.Errorf("a new key: %v", err)
	}
	g.publish(next)
	g.now = g.now.Add(keysAge)
	if err := verify(g.key); err == nil {
		t.Error("a key counts that was taken away")
	}
	before := g.fetches.Load()
	for range 50 {
		if err := verify(newKey(t)); err == nil {
			t.Error("an unknown key counts")
		}
	}
	if n := g.fetches.Load() - before; n != 0 {
		t.Errorf("unknown keys caused %d fetches", n)
	}
	g.published.Store(nil) // the gateway does not answer
	if err := verify(next); err != nil {
		t.Errorf("while the gateway is away: %v", err)
	}
	g.now = g.now.Add(keysAge)
	if err := verify(next); err == nil {
		t.Error("old keys count although nobody can tell")
	}
}
