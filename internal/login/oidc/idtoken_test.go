package oidc

import (
	"context"
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// The ID token cases of the conformance plans for relying parties (threats b.1), and groups J and O:
// each in both methods, and each judged by nobody being signed in.
func TestIDTokens(t *testing.T) {
	a := newAuthority(t)
	now := a.clock.Now().Unix()
	longAgo := now - int64((flowLife+leeway)/time.Second)
	for name, c := range map[string]struct {
		changes m
		reason  iam.Reason // "" for accepted
	}{
		"oidcc-client-test":                {m{}, ""},
		"oidcc-client-test-invalid-iss":    {m{"iss": "https://other.acme.test"}, ReasonIssuer},
		"iss missing":                      {m{"iss": nil}, ReasonClaim},
		"iss a list":                       {m{"iss": []string{a.URL}}, jws.ReasonMalformed},
		"iss with a slash":                 {m{"iss": a.URL + "/"}, ReasonIssuer},
		"iss in capitals":                  {m{"iss": strings.ToUpper(a.URL)}, ReasonIssuer},
		"oidcc-client-test-missing-sub":    {m{"sub": nil}, ReasonSubject},
		"sub empty":                        {m{"sub": ""}, ReasonSubject},
		"sub a number":                     {m{"sub": 7}, jws.ReasonMalformed},
		"sub null":                         {m{"sub": json.RawMessage("null")}, jws.ReasonMalformed},
		"sub of 255":                       {m{"sub": strings.Repeat("x", 255)}, ""},
		"sub of 256":                       {m{"sub": strings.Repeat("x", 256)}, ReasonSubject},
		"sub with a newline":               {m{"sub": "alice\n"}, ReasonSubject},
		"sub with NUL":                     {m{"sub": "alice\x00"}, ReasonSubject},
		"Sub instead of sub":               {m{"sub": nil, "Sub": "00u1"}, ReasonSubject},
		"oidcc-client-test-invalid-aud":    {m{"aud": "another"}, ReasonAudience},
		"oidcc-client-test-missing-aud":    {m{"aud": nil}, ReasonAudience},
		"aud empty":                        {m{"aud": ""}, ReasonAudience},
		"aud no entry":                     {m{"aud": []string{}}, ReasonAudience},
		"aud null":                         {m{"aud": json.RawMessage("null")}, jws.ReasonMalformed},
		"aud a number":                     {m{"aud": 1}, jws.ReasonMalformed},
		"aud nested":                       {m{"aud": []any{[]string{clientID}}}, jws.ReasonMalformed},
		"aud in capitals":                  {m{"aud": strings.ToUpper(clientID)}, ReasonAudience},
		"aud in a list":                    {m{"aud": []string{clientID}}, ""},
		"aud several, ours among them":     {m{"aud": []string{"another", clientID}}, ""},
		"aud several, ours not among them": {m{"aud": []string{"another", "third"}}, ReasonAudience},
		"aud several, azp ours":            {m{"aud": []string{"another", clientID}, "azp": clientID}, ""},
		"aud several, azp foreign":         {m{"aud": []string{"another", clientID}, "azp": "another"}, ReasonAudience},
		"azp foreign":                      {m{"azp": "another"}, ReasonAudience},
		"azp empty":                        {m{"azp": ""}, ReasonAudience},
		"azp ours":                         {m{"azp": clientID}, ""},
		"azp a list":                       {m{"azp": []string{clientID}}, jws.ReasonMalformed},
		"oidcc-client-test-missing-iat":    {m{"iat": nil}, ReasonClaim},
		"iat a string":                     {m{"iat": fmt.Sprint(now)}, jws.ReasonMalformed},
		"iat ahead by the leeway":          {m{"iat": now + 60}, ""},
		"iat ahead by more":                {m{"iat": now + 61}, ReasonNotYetValid},
		"iat as old as can be":             {m{"iat": longAgo}, ""},
		"iat older":                        {m{"iat": longAgo - 1}, ReasonTooOld},
		"iat 0":                            {m{"iat": 0}, ReasonTooOld},
		"exp missing":                      {m{"exp": nil}, ReasonClaim},
		"exp a string":                     {m{"exp": fmt.Sprint(now + 300)}, jws.ReasonMalformed},
		"exp negative":                     {m{"exp": -1}, jws.ReasonMalformed},
		"exp 1e308":                        {m{"exp": 1e308}, jws.ReasonMalformed},
		"exp just over":                    {m{"exp": now - 59, "iat": now - 100}, ""},
		"exp over by the leeway":           {m{"exp": now - 60, "iat": now - 100}, ReasonExpired},
		"exp over":                         {m{"exp": now - 61, "iat": now - 100}, ReasonExpired},
		"exp before iat":                   {m{"exp": now + 5, "iat": now + 10}, ReasonExpired},
		"exp a fraction":                   {m{"exp": float64(now) + 300.5}, ""},
		"nbf ahead by the leeway":          {m{"nbf": now + 60}, ""},
		"nbf ahead by more":                {m{"nbf": now + 61}, ReasonNotYetValid},
		"nbf a string":                     {m{"nbf": "x"}, jws.ReasonMalformed},
		"oidcc-client-test-nonce-invalid":  {m{"nonce": "of another flow"}, ReasonNonce},
		"oidcc-client-test-nonce-unless-code-flow": {m{"nonce": nil}, ReasonClaim},
		"nonce empty":                          {m{"nonce": ""}, ReasonClaim},
		"nonce a list":                         {m{"nonce": []string{"x"}}, jws.ReasonMalformed},
		"a logout token":                       {m{"events": m{logoutEvent: m{}}}, ReasonTokenKind},
		"Cognito's access token":               {m{"token_use": "access"}, ReasonTokenKind},
		"Cognito's ID token":                   {m{"token_use": "id"}, ""},
		"Keycloak's access token":              {m{"typ": "Bearer"}, ReasonTokenKind},
		"Keycloak's ID token":                  {m{"typ": "ID"}, ""},
		"typ of somebody's own":                {m{"typ": 3}, ""},
		"sid empty":                            {m{"sid": ""}, ReasonSubject},
		"sid a number":                         {m{"sid": 4}, jws.ReasonMalformed},
		"sid missing":                          {m{"sid": nil}, ""},
		"at_hash a number":                     {m{"at_hash": 4}, jws.ReasonMalformed},
		"oidcc-client-test-distributed-claims": {m{"_claim_names": m{"x": "s"}, "_claim_sources": m{"s": m{"endpoint": "http://127.0.0.1:1/"}}}, ""},
	} {
		for _, method := range []Method{Implicit, PKCE} {
			connector := a.connector(t, func(cfg *Config) { cfg.Method = method })
			who, err := a.signInAs(t, connector, c.changes)
			name := method.String() + ", " + name
			if c.reason == "" {
				if err != nil || who == nil || who.Subject == "" {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			wantError(t, name, err, iam.KindUnauthenticated, c.reason)
			if e, ok := errors.AsType[*iam.Error](err); who != nil || !ok || e.Message != provesNobody || e.Err == nil {
				t.Errorf("%s: %+v, the message is not the one for all: %v", name, who, err)
			}
			connector.Close()
		}
	}
}

// Tokens that the provider did not sign, or not so, or whose text has two readings.
func TestForgedIDTokens(t *testing.T) {
	a := newAuthority(t)
	stranger := newSigningKey(t, "k1")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	a.document["id_token_signing_alg_values_supported"] = []string{"none", "HS256", "ES256"}
	text := func(claims m) string {
		b, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	with := func(header string) func(m) string { return func(c m) string { return a.key.sign(header, text(c)) } }
	payload := func(change func(string) string) func(m) string {
		return func(c m) string { return a.key.sign(`{"alg":"ES256","kid":"k1"}`, change(text(c))) }
	}
	doubled := func(member string) func(m) string {
		return payload(func(s string) string { return strings.TrimSuffix(s, "}") + "," + member + "}" })
	}
	for name, c := range map[string]struct {
		make   func(m) string
		reason iam.Reason
	}{
		"good":                                {a.key.token, ""},
		"oidcc-client-test-invalid-sig-es256": {func(c m) string { s := a.key.token(c); return s[:len(s)-8] + "AAAAAAAA" }, jws.ReasonSignature},
		"signed by a stranger":                {stranger.token, jws.ReasonSignature},
		"signed by a stranger, who says who": {func(c m) string {
			return stranger.sign(`{"alg":"ES256","kid":"k1","jwk":`+text(stranger.jwk())+`}`, text(c))
		}, jws.ReasonSignature},
		"jku": {func(c m) string {
			return stranger.sign(`{"alg":"ES256","kid":"k1","jku":"`+a.URL+`/attacker"}`, text(c))
		}, jws.ReasonSignature},
		"oidcc-client-test-idtoken-sig-none":  {func(c m) string { return b64([]byte(`{"alg":"none"}`)) + "." + b64([]byte(text(c))) + "." }, jws.ReasonMalformed},
		"none with a signature":               {with(`{"alg":"none","kid":"k1"}`), jws.ReasonAlgorithm},
		"nOnE":                                {with(`{"alg":"nOnE","kid":"k1"}`), jws.ReasonAlgorithm},
		"alg missing":                         {with(`{"kid":"k1"}`), jws.ReasonMalformed},
		"alg in a list":                       {with(`{"alg":["ES256"],"kid":"k1"}`), jws.ReasonMalformed},
		"alg not announced":                   {with(`{"alg":"ES384","kid":"k1"}`), jws.ReasonAlgorithm},
		"RS256 where it is not announced":     {func(c m) string { return signRSA(t, rsaKey, text(c)) }, jws.ReasonAlgorithm},
		"oidcc-client-test-invalid-sig-hs256": {func(c m) string { return signHMAC(a.key, text(c)) }, jws.ReasonAlgorithm},
		"kid unknown":                         {with(`{"alg":"ES256","kid":"k2"}`), jws.ReasonUnknownKey},
		"kid a path":                          {with(`{"alg":"ES256","kid":"../../dev/null"}`), jws.ReasonUnknownKey},
		"kid a number":                        {with(`{"alg":"ES256","kid":1}`), jws.ReasonMalformed},
		"kid of 64 KiB":                       {with(`{"alg":"ES256","kid":"` + strings.Repeat("k", 64<<10) + `"}`), jws.ReasonMalformed},
		"oidcc-client-test-kid-absent-single": {with(`{"alg":"ES256"}`), ""},
		"crit":                                {with(`{"alg":"ES256","kid":"k1","crit":["exp"]}`), jws.ReasonCritical},
		"b64":                                 {with(`{"alg":"ES256","kid":"k1","b64":false}`), jws.ReasonCritical},
		"typ at+jwt":                          {with(`{"alg":"ES256","kid":"k1","typ":"at+jwt"}`), ReasonTokenKind},
		"typ logout+jwt":                      {with(`{"alg":"ES256","kid":"k1","typ":"application/logout+JWT"}`), ReasonTokenKind},
		"typ of another":                      {with(`{"alg":"ES256","kid":"k1","typ":"secevent+jwt"}`), ReasonTokenKind},
		"typ jwt":                             {with(`{"alg":"ES256","kid":"k1","typ":"application/jwt"}`), ""},
		"no typ":                              {with(`{"alg":"ES256","kid":"k1"}`), ""},
		"sub twice":                           {doubled(`"sub":"mallory"`), jws.ReasonMalformed},
		"sub twice, escaped":                  {doubled(`"\u0073ub":"mallory"`), jws.ReasonMalformed},
		"nonce twice":                         {doubled(`"nonce":"x"`), jws.ReasonMalformed},
		"email twice":                         {doubled(`"email":"root@acme.test"`), jws.ReasonMalformed},
		"SUB beside sub":                      {doubled(`"SUB":"mallory"`), ""},
		"no object":                           {payload(func(string) string { return `["sub"]` }), jws.ReasonMalformed},
		"not UTF-8":                           {payload(func(s string) string { return strings.Replace(s, "Alice", "\xff", 1) }), jws.ReasonMalformed},
		"deep":                                {doubled(`"x":` + strings.Repeat("[", 5000) + strings.Repeat("]", 5000)), jws.ReasonMalformed},
		"padding":                             {func(c m) string { return a.key.token(c) + "==" }, jws.ReasonMalformed},
		"five parts":                          {func(c m) string { return a.key.token(c) + ".a.b" }, jws.ReasonMalformed},
		"16 384 dots":                         {func(m) string { return strings.Repeat(".", 16<<10) }, jws.ReasonMalformed},
		"nothing but dots":                    {func(m) string { return ".." }, jws.ReasonMalformed},
		"in JSON form":                        {func(c m) string { return `{"payload":"` + b64([]byte(text(c))) + `"}` }, jws.ReasonMalformed},
	} {
		for _, method := range []Method{Implicit, PKCE} {
			connector := a.connector(t, func(cfg *Config) { cfg.Method = method })
			who, err := a.signIn(t, connector, func(nonce string) string { return c.make(a.claims(nonce, nil)) })
			name := method.String() + ", " + name
			if c.reason == "" {
				if err != nil || who.Subject != "00u1" {
					t.Errorf("%s: %v", name, err)
				}
			} else {
				wantError(t, name, err, iam.KindUnauthenticated, c.reason)
			}
			connector.Close()
		}
	}
	if a.count("/attacker") != 0 {
		t.Error("the attacker's keys were fetched")
	}
}

func signRSA(t testing.TB, key *rsa.PrivateKey, payload string) string {
	t.Helper()
	signed := b64([]byte(`{"alg":"RS256","kid":"r1"}`)) + "." + b64([]byte(payload))
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(signature)
}

func signHMAC(key *signingKey, payload string) string {
	public, err := json.Marshal(key.jwk())
	if err != nil {
		panic(err)
	}
	signed := b64([]byte(`{"alg":"HS256","kid":"k1"}`)) + "." + b64([]byte(payload))
	mac := hmac.New(sha256.New, public)
	mac.Write([]byte(signed))
	return signed + "." + b64(mac.Sum(nil))
}

// oidcc-client-test-idtoken-sig-rs256, and its invalid brother, with keys that are given.
func TestRS256AndGivenKeys(t *testing.T) {
	a := newAuthority(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	jwk := m{"kty": "RSA", "kid": "r1", "alg": "RS256", "n": b64(key.N.Bytes()), "e": b64(big.NewInt(int64(key.E)).Bytes())}
	text, _ := json.Marshal(m{"keys": []m{jwk}})
	set, _, err := jws.ParseKeySet(text)
	if err != nil {
		t.Fatal(err)
	}
	given := source{set, nil}
	connector := a.connector(t, func(cfg *Config) { cfg.Keys = &given })
	sign := func(change func(string) string) func(string) string {
		return func(nonce string) string {
			payload, _ := json.Marshal(a.claims(nonce, nil))
			return change(signRSA(t, key, string(payload)))
		}
	}
	if who, err := a.signIn(t, connector, sign(func(s string) string { return s })); err != nil || who.Subject != "00u1" {
		t.Errorf("%+v, %v", who, err)
	}
	_, err = a.signIn(t, connector, sign(func(s string) string { return s[:len(s)-6] + "AAAAAA" }))
	wantError(t, "oidcc-client-test-invalid-sig-rs256", err, iam.KindUnauthenticated, jws.ReasonSignature)
	if a.count("/jwks") != 0 {
		t.Error("keys were fetched although some are given")
	}
	good := sign(func(s string) string { return s })
	given.err = &iam.Error{Kind: iam.KindUnavailable, Reason: "issuer_unavailable", Message: "no keys", RetryAfter: time.Second}
	_, err = a.signIn(t, connector, good)
	wantError(t, "no keys", err, iam.KindUnavailable, "issuer_unavailable")
	given.err = errors.New("something else")
	_, err = a.signIn(t, connector, good)
	wantError(t, "no keys for an unknown reason", err, iam.KindUnavailable, ReasonUnavailable)
}

type source struct {
	set *jws.KeySet
	err error
}

func (s *source) Keys(context.Context, string) (*jws.KeySet, error) { return s.set, s.err }

// oidcc-client-test-kid-absent-multiple-jwks: all keys of the kind are tried.
func TestNoKeyIDAmongSeveralKeys(t *testing.T) {
	a := newAuthority(t)
	a.published = []*signingKey{newSigningKey(t, "k0"), a.key, newSigningKey(t, "k2")}
	c := a.connector(t, nil)
	sign := func(k *signingKey) func(string) string {
		return func(nonce string) string {
			payload, _ := json.Marshal(a.claims(nonce, nil))
			return k.sign(`{"alg":"ES256"}`, string(payload))
		}
	}
	if _, err := a.signIn(t, c, sign(a.key)); err != nil {
		t.Error(err)
	}
	_, err := a.signIn(t, c, sign(newSigningKey(t, "k1")))
	wantError(t, "of none of them", err, iam.KindUnauthenticated, jws.ReasonSignature)
}

// oidcc-client-test-signing-key-rotation and -just-before-signing (J16), and what a stranger can make
// us fetch (J18).
func TestKeyRotation(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, nil)
	if _, err := a.signInAs(t, c, nil); err != nil {
		t.Fatal(err)
	}
	old, next := a.key, newSigningKey(t, "k2")
	a.set(func() { a.published, a.key = []*signingKey{old, next}, next })
	a.clock.add(6 * time.Second)
	if _, err := a.signInAs(t, c, nil); err != nil {
		t.Errorf("the new key at once: %v", err)
	}
	if a.count("/jwks") != 2 {
		t.Errorf("keys were fetched %d times", a.count("/jwks"))
	}
	for i := range 50 {
		_, err := a.signIn(t, c, func(nonce string) string {
			payload, _ := json.Marshal(a.claims(nonce, nil))
			return next.sign(fmt.Sprintf(`{"alg":"ES256","kid":"random-%d"}`, i), string(payload))
		})
		if kind := iam.KindOf(err); kind != iam.KindUnavailable && iam.ReasonOf(err) != jws.ReasonUnknownKey {
			t.Errorf("an unknown key: %v", err)
		}
	}
	if a.count("/jwks") > 3 {
		t.Errorf("strangers made it fetch the keys %d times", a.count("/jwks"))
	}
	a.set(func() { a.key = old })
	if _, err := a.signInAs(t, c, nil); err != nil {
		t.Errorf("the old key, which is published: %v", err)
	}
}

// J26: the access token beside an ID token.
func TestAccessTokenHash(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, withPKCE)
	sum := sha256.Sum256([]byte("canary-access"))
	for name, hash := range map[string]any{"right": b64(sum[:16]), "oidcc-client-test-missing-athash": nil} {
		if _, err := a.signInAs(t, c, m{"at_hash": hash}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, hash := range map[string]string{
		"oidcc-client-test-invalid-athash": b64(make([]byte, 16)), "whole": b64(sum[:]), "right half": b64(sum[16:]), "empty": "", "padded": b64(sum[:16]) + "==",
	} {
		_, err := a.signInAs(t, c, m{"at_hash": hash})
		wantError(t, name, err, iam.KindUnauthenticated, ReasonTokenHash)
	}
	lengths := map[int]int{}
	for _, algorithm := range jws.Algorithms() {
		lengths[len(tokenHash(algorithm, "x"))]++
	}
	if !maps.Equal(lengths, map[int]int{22: 3, 32: 3, 43: 4}) || tokenHash("HS256", "x") != "" {
		t.Error(lengths)
	}
	// RFC 8037 has none; OpenID Connect Core's own example, appendix A.3, is RS256.
	if got := tokenHash(jws.RS256, "jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y"); got != "77QmUPtjPfzWtF2AnpK9RQ" {
		t.Errorf("the example of the standard: %s", got)
	}
}
