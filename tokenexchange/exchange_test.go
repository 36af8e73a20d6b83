package tokenexchange

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

func TestExchangeForAPersonAndAServiceAccount(t *testing.T) {
	h := newHouse(t)
	for subject, want := range map[string]iam.PrincipalRef{
		"alice@acme.test": h.alice.Ref(),
		"ALICE@Acme.Test": h.alice.Ref(), // addresses are compared without regard to case
		"job:train":       h.trainer.Ref(),
	} {
		made := h.exchange(h.assertion(map[string]any{"sub": subject}))
		who, err := h.Identify(h.ctx, made.Token)
		if err != nil || who.Ref != want {
			t.Errorf("%s: the access token is %v's (%v), want %v", subject, who, err, want)
		}
		if made.Lifetime != time.Hour || !made.Expires.Equal(time.Unix(h.now.Load(), 0).Add(time.Hour)) {
			t.Errorf("%s: it lives %s until %s", subject, made.Lifetime, made.Expires)
		}
	}
}

// TestAccessTokenClaims is RFC 9068 section 2.2.
func TestAccessTokenClaims(t *testing.T) {
	h := newHouse(t)
	made := h.exchange(h.assertion(nil))
	token, err := jws.Parse(made.Token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if token.Type != "at+jwt" || token.Algorithm != "ES256" {
		t.Errorf("the header says %s, %s", token.Type, token.Algorithm)
	}
	for name, want := range map[string]string{
		"iss": "https://gateway.test", "sub": h.alice.Ref().String(), "aud": "acme", "client_id": "wandb",
		"jti": made.ID, "assertion_issuer": issuerURL, "epoch": "0",
	} {
		if got, _, err := token.Claims.Text(name); err != nil || got != want {
			t.Errorf("%s is %q (%v), want %q", name, got, err, want)
		}
	}
	// Whoever has the published keys can verify it.
	text, err := h.Signing.Published(h.ctx)
	h.must(err)
	published, _, err := jws.ParseKeySet(text)
	h.must(err)
	if _, err := token.Verify(published, nil); err != nil {
		t.Error(err)
	}
	if strings.Contains(string(text), `"d"`) {
		t.Error("a private key is published")
	}
}

// TestRefusals is the part of J01 to J30 that the claims decide; package jws has what the form decides.
func TestRefusals(t *testing.T) {
	h := newHouse(t)
	now := h.now.Load()
	other, err := jws.NewPrivateKey("ES256")
	h.must(err)
	foreignKeyID := h.sign(other, "JWT", h.claims(nil))
	tests := []struct {
		name      string
		assertion iam.Secret
		want      iam.Reason
	}{
		{"no JWT", iam.NewSecret("local-0123456789"), jws.ReasonMalformed},
		{"unsecured", iam.NewSecret("eyJhbGciOiJub25lIn0.e30."), jws.ReasonMalformed},
		{"typ of an access token", h.sign(h.key, "at+jwt", h.claims(nil)), ReasonForeign},
		{"typ of a logout token", h.sign(h.key, "logout+jwt", h.claims(nil)), ReasonWrongType},
		{"an events claim", h.assertion(map[string]any{"events": map[string]any{}}), ReasonWrongType},
		{"issuer unknown", h.assertion(map[string]any{"iss": "https://evil.test"}), ReasonForeign},
		{"issuer with a slash", h.assertion(map[string]any{"iss": issuerURL + "/"}), ReasonForeign},
		{"issuer with a port", h.assertion(map[string]any{"iss": issuerURL + ":443"}), ReasonForeign},
		{"issuer in capitals", h.assertion(map[string]any{"iss": "https://IDP.acme.test"}), ReasonForeign},
		{"issuer missing", h.assertion(map[string]any{"iss": nil}), ReasonBadClaims},
		{"issuer no text", h.assertion(map[string]any{"iss": []string{issuerURL}}), ReasonBadClaims},
		{"audience missing", h.assertion(map[string]any{"aud": nil}), ReasonAudience},
		{"audience empty", h.assertion(map[string]any{"aud": ""}), ReasonAudience},
		{"audience empty list", h.assertion(map[string]any{"aud": []string{}}), ReasonAudience},
		{"audience a number", h.assertion(map[string]any{"aud": 7}), ReasonAudience},
		{"audience nested", h.assertion(map[string]any{"aud": []any{[]string{"acme"}}}), ReasonAudience},
		{"audience foreign", h.assertion(map[string]any{"aud": "other"}), ReasonAudience},
		{"audience in capitals", h.assertion(map[string]any{"aud": "Acme"}), ReasonAudience},
		{"audience with a slash", h.assertion(map[string]any{"aud": "acme/"}), ReasonAudience},
		{"subject missing", h.assertion(map[string]any{"sub": nil}), ReasonBadClaims},
		{"subject empty", h.assertion(map[string]any{"sub": ""}), ReasonBadClaims},
		{"subject a number", h.assertion(map[string]any{"sub": 5}), ReasonBadClaims},
		{"subject with a line end", h.assertion(map[string]any{"sub": "alice@acme.test\n"}), ReasonBadClaims},
		{"subject very long", h.assertion(map[string]any{"sub": strings.Repeat("a", 2000)}), ReasonBadClaims},
		{"subject unknown", h.assertion(map[string]any{"sub": "bob@acme.test"}), ReasonSubject},
		{"subject of a service account in capitals", h.assertion(map[string]any{"sub": "JOB:TRAIN"}), ReasonSubject},
		{"subject with a Kelvin sign", h.assertion(map[string]any{"sub": "alice@acme.test\u212a"}), ReasonSubject},
		{"subject with two @", h.assertion(map[string]any{"sub": "mallory@evil.test@acme.test"}), ReasonSubject},
		{"subject with a display name", h.assertion(map[string]any{"sub": "Alice <alice@acme.test>"}), ReasonSubject},
		{"subject with a leading space", h.assertion(map[string]any{"sub": " alice@acme.test"}), ReasonSubject},
		{"Sub instead of sub", h.assertion(map[string]any{"sub": nil, "Sub": "alice@acme.test"}), ReasonBadClaims},
		{"address unverified", h.assertion(map[string]any{"email_verified": false}), ReasonUnverified},
		{"address verified in text", h.assertion(map[string]any{"email_verified": "true"}), ReasonUnverified},
		{"address verified by 1", h.assertion(map[string]any{"email_verified": 1}), ReasonUnverified},
		{"no expiry", h.assertion(map[string]any{"exp": nil}), ReasonBadClaims},
		{"expiry in text", h.assertion(map[string]any{"exp": "9999999999"}), ReasonBadClaims},
		{"expiry negative", h.assertion(map[string]any{"exp": -1}), ReasonBadClaims},
		{"expiry 1e308", h.assertion(map[string]any{"exp": 1e308}), ReasonBadClaims},
		{"expiry 2^63", h.assertion(map[string]any{"exp": uint64(1) << 63}), ReasonBadClaims},
		{"expiry before issue", h.assertion(map[string]any{"iat": now, "exp": now - 10}), ReasonBadClaims},
		{"expired", h.assertion(map[string]any{"iat": now - 200, "exp": now - 60}), ReasonExpired},
		{"not yet valid", h.assertion(map[string]any{"nbf": now + 61}), ReasonNotYetValid},
		{"issued in the future", h.assertion(map[string]any{"iat": now + 61, "exp": now + 300}), ReasonNotYetValid},
		{"valid for ten years", h.assertion(map[string]any{"exp": now + 315360000}), ReasonLifetime},
		{"valid for ten years without iat", h.assertion(map[string]any{"iat": nil, "exp": now + 315360000}), ReasonLifetime},
		{"key unknown", foreignKeyID, jws.ReasonUnknownKey},
		{"our own access token", h.exchange(h.assertion(nil)).Token, ReasonWrongType},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for range 2 { // the second time it is remembered
				h.t = t
				if got := h.refusal(test.assertion); got != test.want {
					t.Errorf("refused as %s, want %s", got, test.want)
				}
			}
			if who, err := h.Identify(h.ctx, test.assertion); err == nil && test.want != ReasonWrongType {
				t.Errorf("it works as a credential of %v", who.Ref)
			}
		})
	}
}

// TestClockBounds is J13: the leeway of 60 s is exact.
func TestClockBounds(t *testing.T) {
	h := newHouse(t)
	now := h.now.Load()
	for name, c := range map[string]map[string]any{
		"expired 59 s ago":      {"iat": now - 200, "exp": now - 59},
		"valid in 60 s":         {"nbf": now + 60},
		"issued 60 s ahead":     {"iat": now + 60},
		"exactly 24 h":          {"iat": now, "exp": now + 86400},
		"24 h from now, no iat": {"iat": nil, "exp": now + 86400},
		"fractions of a second": {"exp": float64(now) + 100.5},
		"list of audiences":     {"aud": []string{"other", "wandb"}},
		"the common audience":   {"aud": "wandb"},
		"verified address":      {"email_verified": true},
	} {
		t.Run(name, func(t *testing.T) {
			h.t = t
			h.exchange(h.assertion(c))
		})
	}
}

// TestAssertionExpires: what is remembered of an assertion does not outlive it.
func TestAssertionExpires(t *testing.T) {
	h := newHouse(t)
	assertion := h.assertion(map[string]any{"exp": h.now.Load() + 300})
	h.exchange(assertion)
	h.later(359 * time.Second)
	h.exchange(assertion)
	h.later(time.Second)
	if got := h.refusal(assertion); got != ReasonExpired {
		t.Errorf("refused as %s", got)
	}
}

func TestAccessTokenExpires(t *testing.T) {
	h := newHouse(t)
	made := h.exchange(h.assertion(nil))
	h.later(time.Hour - time.Second)
	if _, err := h.Identify(h.ctx, made.Token); err != nil {
		t.Fatal(err)
	}
	h.later(time.Second)
	if _, err := h.Identify(h.ctx, made.Token); iam.ReasonOf(err) != ReasonExpired || iam.KindOf(err) != iam.KindUnauthenticated {
		t.Errorf("at its end: %v", err)
	}
}

// TestSubjectByAddress is J12: an address in `email` counts only with `subject email`, and only if the
// issuer vouches for it.
func TestSubjectByAddress(t *testing.T) {
	numbered := map[string]any{"sub": "00u123", "email": "alice@acme.test", "email_verified": true}
	strict := newHouse(t)
	if got := strict.refusal(strict.assertion(numbered)); got != ReasonSubject {
		t.Errorf("beside a subject that is no address: refused as %s", got)
	}
	h := newHouse(t, func(c *Config) { c.Issuers[0].Subject = "email" })
	h.exchange(h.assertion(numbered))
	h.exchange(h.assertion(map[string]any{"sub": "AAAAx", "email": "alice@acme.test", "xms_edov": true}))
	h.exchange(h.assertion(nil)) // an address in sub counts as before
	if got := h.refusal(h.assertion(map[string]any{"sub": "bob@acme.test", "email": "alice@acme.test", "email_verified": true})); got != ReasonSubject {
		t.Errorf("a subject that is another's address: refused as %s", got)
	}
	for name, c := range map[string]map[string]any{
		"nothing said": {"sub": "00u1", "email": "alice@acme.test"},
		"false":        {"sub": "00u1", "email": "alice@acme.test", "email_verified": false},
		"text":         {"sub": "00u1", "email": "alice@acme.test", "email_verified": "true"},
		"null":         {"sub": "00u1", "email": "alice@acme.test", "email_verified": json0},
		"edov text":    {"sub": "00u1", "email": "alice@acme.test", "xms_edov": "1"},
	} {
		h.t = t
		if got := h.refusal(h.assertion(c)); got != ReasonUnverified {
			t.Errorf("%s: refused as %s", name, got)
		}
	}
}

// json0 is a JSON null that claims() does not take for "take it away".
var json0 = (*int)(nil)

// TestSubjectOfAnotherIssuer is J10 and J11: a key and a subject count only with their own issuer.
func TestSubjectOfAnotherIssuer(t *testing.T) {
	other, err := jws.NewPrivateKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	const otherURL = "https://other.acme.test"
	h := newHouse(t, func(c *Config) {
		c.Issuers = append(c.Issuers, TrustedIssuer{URL: otherURL, Keys: keySetOf(t, other)})
	})
	if got := h.refusal(h.sign(other, "JWT", h.claims(nil))); got != jws.ReasonUnknownKey {
		t.Errorf("the other issuer's key under this issuer's name: refused as %s", got)
	}
	if got := h.refusal(h.sign(other, "JWT", h.claims(map[string]any{"iss": otherURL, "sub": "job:train"}))); got != ReasonSubject {
		t.Errorf("this issuer's subject under the other's name: refused as %s", got)
	}
	h.exchange(h.sign(other, "JWT", h.claims(map[string]any{"iss": otherURL})))
}

func TestAudiencesOfTheIssuer(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Issuers[0].Audiences = []string{"https://wandb.acme.test", "train"} })
	h.exchange(h.assertion(map[string]any{"aud": "train"}))
	for _, audience := range []string{"acme", "wandb", "https://wandb.acme.test/"} {
		if got := h.refusal(h.assertion(map[string]any{"aud": audience})); got != ReasonAudience {
			t.Errorf("%s: refused as %s", audience, got)
		}
	}
}

// TestLongAudience is J14: what is remembered of a refusal does not grow with what a stranger wrote.
func TestLongAudience(t *testing.T) {
	h := newHouse(t)
	_, e, err := h.Exchange(h.ctx, Request{Assertion: h.assertion(map[string]any{"aud": strings.Fields(strings.Repeat("other ", 1000))})})
	if err == nil || e.Reason != ReasonAudience || len(e.Err.Error()) > 1000 {
		t.Errorf("%d bytes: %.300v", len(e.Err.Error()), e.Err)
	}
}

func TestSkipAudience(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.SkipAudience = true })
	h.exchange(h.assertion(map[string]any{"aud": "anything"}))
	h.exchange(h.assertion(map[string]any{"aud": nil}))
}

func TestAlgorithmsOfTheIssuer(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Issuers = append(c.Issuers, TrustedIssuer{URL: github, Preset: "github_actions", Keys: c.Issuers[0].Keys})
		c.Issuers[0].Algorithms = []jws.Algorithm{"RS256"}
	})
	for _, url := range []string{issuerURL, github} { // those that are configured, and those of the preset
		if got := h.refusal(h.assertion(map[string]any{"iss": url})); got != jws.ReasonAlgorithm {
			t.Errorf("%s: refused as %s", url, got)
		}
	}
}

func TestSubjectClaim(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Issuers[0].Subject = "claim login" })
	h.exchange(h.assertion(map[string]any{"sub": "x", "login": "alice@acme.test"}))
	if got := h.refusal(h.assertion(nil)); got != ReasonBadClaims {
		t.Errorf("without the claim: refused as %s", got)
	}
	verified := newHouse(t, func(c *Config) { c.Issuers[0].Subject = "claim email" })
	verified.exchange(verified.assertion(map[string]any{"email": "alice@acme.test", "email_verified": true}))
	verified.account(directory.NewServiceAccount{Name: "bot", Team: verified.vision, Issuer: issuerURL, Subject: "bot@acme.test"})
	verified.exchange(verified.assertion(map[string]any{"email": "bot@acme.test", "email_verified": true}))
	for _, address := range []string{"alice@acme.test", "bot@acme.test"} { // a person's, a service account's
		for _, said := range []any{nil, false, "true"} {
			if got := verified.refusal(verified.assertion(map[string]any{"email": address, "email_verified": said})); got != ReasonUnverified {
				t.Errorf("%s, of which the issuer says %v: refused as %s", address, said, got)
			}
		}
	}
}

func TestClaimRules(t *testing.T) {
	h := newHouse(t)
	nightly := h.account(directory.NewServiceAccount{Name: "nightly", Team: h.vision, Issuer: issuerURL,
		Claims: map[string]string{"repository": "acme/detector", "kubernetes.io/namespace": "train", "ref": "refs/heads/main"}})
	good := map[string]any{"sub": "x", "repository": "acme/detector", "ref": "refs/heads/main", "kubernetes.io": map[string]any{"namespace": "train"}}
	made := h.exchange(h.assertion(good))
	if who, err := h.Identify(h.ctx, made.Token); err != nil || who.Ref != nightly.Ref() {
		t.Errorf("%v, %v", who, err)
	}
	good["ref"] = "refs/heads/other"
	if got := h.refusal(h.assertion(good)); got != ReasonSubject {
		t.Errorf("with another branch: refused as %s", got)
	}
	good["ref"] = "refs/heads/main"
	h.account(directory.NewServiceAccount{Name: "any", Team: h.vision, Issuer: issuerURL, Claims: map[string]string{"repository": "acme/detector"}})
	if got := h.refusal(h.assertion(good)); got != ReasonAmbiguous {
		t.Errorf("with two rules that hold: refused as %s", got)
	}
	// The subject goes before the rules.
	good["sub"] = "job:train"
	made = h.exchange(h.assertion(good))
	if who, err := h.Identify(h.ctx, made.Token); err != nil || who.Ref != h.trainer.Ref() {
		t.Errorf("%v, %v", who, err)
	}
}

// TestRuleByAddress: an address in a rule counts only if the issuer vouches for it.
func TestRuleByAddress(t *testing.T) {
	h := newHouse(t)
	h.account(directory.NewServiceAccount{Name: "gcp", Team: h.vision, Issuer: issuerURL, Claims: map[string]string{"email": "t@acme.test"}})
	h.exchange(h.assertion(map[string]any{"sub": "1", "email": "t@acme.test", "email_verified": true}))
	if got := h.refusal(h.assertion(map[string]any{"sub": "1", "email": "t@acme.test"})); got != ReasonSubject {
		t.Errorf("refused as %s", got)
	}
}

// TestWorkloadsAreNoPeople: an issuer with a preset signs nobody in.
func TestWorkloadsAreNoPeople(t *testing.T) {
	h := newHouse(t)
	c := h.Config
	c.Issuers = []TrustedIssuer{{URL: issuerURL, Keys: keySetOf(t, h.key), Preset: "kubernetes"}}
	var err error
	h.Service, err = New(c)
	h.must(err)
	if got := h.refusal(h.assertion(map[string]any{"email_verified": true})); got != ReasonSubject {
		t.Errorf("refused as %s", got)
	}
}

func TestDeactivation(t *testing.T) {
	h := newHouse(t)
	off, on := false, true
	assertion := h.assertion(map[string]any{"sub": "job:train"})
	made := h.exchange(assertion)
	_, err := h.Directory.SetServiceAccount(h.ctx, h.trainer, directory.ServiceAccountChange{Active: &off})
	h.must(err)
	for name, token := range map[string]iam.Secret{"access token": made.Token, "assertion": assertion} {
		if _, err := h.Identify(h.ctx, token); iam.ReasonOf(err) != directory.ReasonDeactivated {
			t.Errorf("%s: %v", name, err)
		}
	}
	if got := h.refusal(assertion); got != directory.ReasonDeactivated {
		t.Errorf("the exchange is refused as %s", got)
	}
	_, err = h.Directory.SetServiceAccount(h.ctx, h.trainer, directory.ServiceAccountChange{Active: &on})
	h.must(err)
	if _, err := h.Identify(h.ctx, made.Token); iam.ReasonOf(err) != ReasonRevoked {
		t.Errorf("after reactivation the access token of before: %v", err)
	}
	h.exchange(assertion)
}

func TestMappingTakenAway(t *testing.T) {
	h := newHouse(t)
	assertion := h.assertion(map[string]any{"sub": "job:train"})
	made := h.exchange(assertion)
	subject := "job:other"
	_, err := h.Directory.SetServiceAccount(h.ctx, h.trainer, directory.ServiceAccountChange{Subject: &subject})
	h.must(err)
	if got := h.refusal(assertion); got != ReasonSubject {
		t.Errorf("the assertion of before: refused as %s", got)
	}
	if _, err := h.Identify(h.ctx, made.Token); iam.ReasonOf(err) != ReasonRevoked {
		t.Errorf("the access token of before: %v", err)
	}
	_, err = h.Directory.DeleteServiceAccount(h.ctx, h.trainer)
	h.must(err)
	if _, err := h.Identify(h.ctx, made.Token); iam.KindOf(err) != iam.KindUnauthenticated {
		t.Errorf("after deletion: %v", err)
	}
}

// TestCachedTokensCostNothing is the promise of speed: no read of the store, whatever is judged.
func TestCachedTokensCostNothing(t *testing.T) {
	h := newHouse(t)
	assertion := h.assertion(nil)
	made := h.exchange(assertion)
	for _, token := range []iam.Secret{made.Token, assertion} {
		if _, err := h.Identify(h.ctx, token); err != nil {
			t.Fatal(err)
		}
	}
	awaitKept(t, func() bool {
		start := h.store.reads.Load()
		for _, token := range []iam.Secret{made.Token, assertion} {
			if _, err := h.Identify(h.ctx, token); err != nil {
				t.Fatal(err)
			}
		}
		return h.store.reads.Load() == start
	})
}

// awaitKept tries again until the cache, which takes its entries in its own time, has them.
func awaitKept(t *testing.T, kept func() bool) {
	t.Helper()
	for range 10_000 {
		if kept() {
			return
		}
	}
	t.Error("it is never kept")
}

// TestStoreAway: what nobody can tell is neither yes nor no.
func TestStoreAway(t *testing.T) {
	h := newHouse(t)
	assertion := h.assertion(map[string]any{"sub": "job:train"})
	made := h.exchange(h.assertion(nil))
	h.must(h.Directory.EndCredentials(h.ctx, h.trainer.Ref())) // so that something must be read
	h.store.away.Store(true)
	_, _, err := h.Exchange(h.ctx, Request{Assertion: assertion})
	if iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("an exchange: %v", err)
	}
	fresh := h.sign(h.key, "JWT", h.claims(map[string]any{"jti": "another"}))
	if _, err := h.Identify(h.ctx, fresh); iam.KindOf(err) != iam.KindUnavailable && err != nil {
		t.Errorf("an assertion not seen before: %v", err)
	}
	h.store.away.Store(false)
	if _, err := h.Identify(context.Background(), made.Token); err != nil {
		t.Errorf("when the store is back: %v", err)
	}
}

func TestClientID(t *testing.T) {
	h := newHouse(t)
	assertion := h.assertion(map[string]any{"azp": "trainer-app"})
	for client, want := range map[string]bool{"": true, "trainer-app": true, "alice@acme.test": true, "other": false} {
		_, e, err := h.Exchange(h.ctx, Request{Assertion: assertion, ClientID: client})
		if (err == nil) != want || err != nil && e.Reason != ReasonClient {
			t.Errorf("client_id %q: %v", client, err)
		}
	}
}

func encoded(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func newECKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// withoutKeyID is a token of a key that the header does not name.
func withoutKeyID(t *testing.T, key *ecdsa.PrivateKey, typ string, claims any) iam.Secret {
	t.Helper()
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed := encoded(`{"alg":"ES256","typ":"`+typ+`"}`) + "." + encoded(string(payload))
	digest := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	var signature [64]byte
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return iam.NewSecret(signed + "." + encoded(string(signature[:])))
}

// TestForeignTokens: only what is none of ours may be asked of another server.
func TestForeignTokens(t *testing.T) {
	const otherURL = "https://other.acme.test"
	h := newHouse(t, func(c *Config) {
		c.Issuers = append(c.Issuers, TrustedIssuer{URL: otherURL, Keys: c.Issuers[0].Keys, Algorithms: []jws.Algorithm{"RS256"}})
	})
	made := h.exchange(h.assertion(nil))
	h.must(h.RevokeToken(h.ctx, made.ID))
	ours := made.Token.Reveal()
	for name, test := range map[string]struct {
		token   iam.Secret
		foreign bool
	}{
		"another issuer's":           {h.assertion(map[string]any{"iss": "https://wandb.acme.test"}), true},
		"an access token of its":     {h.sign(h.key, "at+jwt", h.claims(nil)), true},
		"one of its without kid":     {withoutKeyID(t, newECKey(t), "at+jwt", h.claims(nil)), true},
		"signed with HS256":          {iam.NewSecret(encoded(`{"alg":"HS256"}`) + "." + encoded(`{"sub":"alice"}`) + "." + encoded("mac")), true},
		"with an extension":          {iam.NewSecret(encoded(`{"alg":"ES256","crit":["x"],"x":1}`) + "." + encoded(`{"sub":"alice"}`) + "." + encoded("signature")), true},
		"no JWT":                     {iam.NewSecret("a.b.c"), true},
		"algorithm not its issuer's": {h.assertion(map[string]any{"iss": otherURL}), false},
		"with another signature":     {iam.NewSecret(ours[:strings.LastIndexByte(ours, '.')+1] + encoded(strings.Repeat("x", 64))), false},
		"our own, ended":             {iam.NewSecret(ours), false},
		"expired, of our issuer":     {h.assertion(map[string]any{"iat": 1, "exp": 2}), false},
		"for another organization":   {h.assertion(map[string]any{"aud": "x"}), false},
	} {
		_, err := h.Identify(h.ctx, test.token)
		if err == nil || errors.Is(err, ErrForeign) != test.foreign {
			t.Errorf("%s: foreign %t (%v)", name, !test.foreign, err)
		}
	}
}

func TestIssuersAreChecked(t *testing.T) {
	h := newHouse(t)
	good := h.Config
	for name, issuer := range map[string]TrustedIssuer{
		"no keys in the set":   {URL: issuerURL, Keys: []byte(`{"keys":[]}`)},
		"keys no JSON":         {URL: issuerURL, Keys: []byte(`{`)},
		"roots no PEM":         {URL: issuerURL, Roots: "x"},
		"audience a wildcard":  {URL: issuerURL, Audiences: []string{"*"}},
		"algorithm none":       {URL: issuerURL, Algorithms: []jws.Algorithm{"none"}},
		"algorithm HS256":      {URL: issuerURL, Algorithms: []jws.Algorithm{"HS256"}},
		"preset unknown":       {URL: issuerURL, Preset: "jenkins"},
		"preset of another":    {URL: issuerURL, Preset: "github_actions"},
		"subject the audience": {URL: issuerURL, Subject: "claim aud"},
		"subject a branch":     {URL: "https://token.actions.githubusercontent.com", Subject: "claim ref"},
		"plain http":           {URL: "http://idp.acme.test"},
		"with a user":          {URL: "https://a@idp.acme.test"},
		"keys over plain http": {URL: issuerURL, KeysURL: "http://idp.acme.test/keys"},
		"keys twice":           {URL: issuerURL, KeysURL: issuerURL + "/keys", Keys: good.Issuers[0].Keys},
	} {
		c := good
		c.Issuers = []TrustedIssuer{issuer}
		if _, err := New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, address := range []string{"https://keys.test/discovery/v2.0/keys?appid=1", "http://127.0.0.1:1/keys"} {
		if err := (&TrustedIssuer{URL: issuerURL, KeysURL: address}).Check(); err != nil {
			t.Errorf("keys at %s: %v", address, err)
		}
	}
	c := good
	c.Issuers = []TrustedIssuer{good.Issuers[0], good.Issuers[0]}
	if _, err := New(c); err == nil {
		t.Error("one issuer twice: accepted")
	}
	for _, lifetime := range []time.Duration{time.Minute, MinLifetime - 1, MaxLifetime + 1} {
		c := good
		c.Lifetime = lifetime
		if _, err := New(c); err == nil {
			t.Errorf("a life of %s: accepted", lifetime)
		}
	}
}
