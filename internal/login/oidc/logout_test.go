package oidc

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

func TestLogoutURL(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, nil)
	token := iam.NewSecret("a.b.c")
	for name, k := range map[string]struct {
		token      iam.Secret
		postLogout string
		want       url.Values
	}{
		"oidcc-client-test-rp-init-logout-no-state": {token, "https://wandb.acme.test/", url.Values{"ui": {"1"}, "client_id": {clientID}, "id_token_hint": {"a.b.c"}, "post_logout_redirect_uri": {"https://wandb.acme.test/"}}},
		"nothing":             {iam.Secret{}, "", url.Values{"ui": {"1"}, "client_id": {clientID}}},
		"a token of a scroll": {iam.NewSecret(strings.Repeat("x", maxHintBytes+1)), "", url.Values{"ui": {"1"}, "client_id": {clientID}}},
	} {
		at, ok := c.LogoutURL(t.Context(), k.token, k.postLogout)
		u, err := url.Parse(at)
		if err != nil || !ok || !strings.HasPrefix(at, a.URL+"/logout?") || !maps.EqualFunc(u.Query(), k.want, func(a, b []string) bool { return strings.Join(a, " ") == strings.Join(b, " ") }) {
			t.Errorf("%s: %s", name, at)
		}
	}
	for name, at := range map[string]any{"none": nil, "empty": "", "javascript": "javascript:alert(1)", "clear text": "http://idp.acme.test/logout", "a number": json.RawMessage(`""`)} {
		a := newAuthority(t)
		a.document["end_session_endpoint"] = at
		c := a.connector(t, nil)
		if at, ok := c.LogoutURL(t.Context(), token, ""); ok || at != "" {
			t.Errorf("%s: %s", name, at)
		}
		if _, err := a.signInAs(t, c, nil); err != nil || c.Status().SignsOut {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !cognitoIssuer("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A") || cognitoIssuer("https://cognito-idp.eu-west-1.amazonaws.com.evil.test/x") {
		t.Error("Cognito is not recognized by its host")
	}
}

// O15, and the back-channel cases of the conformance plan.
func TestLogoutTokens(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, nil)
	now := a.clock.Now().Unix()
	claims := func(changes m) m {
		all := m{"iss": a.URL, "aud": clientID, "iat": now, "exp": now + 120, "jti": "j1", "sub": "00u1", "sid": "s1", "events": m{logoutEvent: m{}}}
		merge(all, changes)
		return all
	}
	at := func(seconds int64) time.Time { return a.clock.Now().Add(time.Duration(seconds) * time.Second) }
	sign := func(header string, claims m) string {
		payload, err := json.Marshal(claims)
		if err != nil {
			t.Fatal(err)
		}
		return a.key.sign(header, string(payload))
	}
	const header = `{"alg":"ES256","kid":"k1","typ":"logout+jwt"}`
	for name, k := range map[string]struct {
		token string
		want  Logout
	}{
		"oidcc-client-test-rp-backchannel-rpinitlogout": {sign(header, claims(nil)), Logout{a.URL, "00u1", "s1", "j1", at(0), at(180)}},
		"typ JWT":           {a.key.token(claims(nil)), Logout{a.URL, "00u1", "s1", "j1", at(0), at(180)}},
		"no typ":            {sign(`{"alg":"ES256","kid":"k1"}`, claims(nil)), Logout{a.URL, "00u1", "s1", "j1", at(0), at(180)}},
		"sub alone":         {sign(header, claims(m{"sid": nil})), Logout{a.URL, "00u1", "", "j1", at(0), at(180)}},
		"sid alone":         {sign(header, claims(m{"sub": nil})), Logout{a.URL, "", "s1", "j1", at(0), at(180)}},
		"aud in a list":     {sign(header, claims(m{"aud": []string{"x", clientID}})), Logout{a.URL, "00u1", "s1", "j1", at(0), at(180)}},
		"no exp":            {sign(header, claims(m{"exp": nil})), Logout{a.URL, "00u1", "s1", "j1", at(0), at(3660)}},
		"exp in a year":     {sign(header, claims(m{"exp": now + 365*86400})), Logout{a.URL, "00u1", "s1", "j1", at(0), at(3660)}},
		"an hour old":       {sign(header, claims(m{"iat": now - 3660})), Logout{a.URL, "00u1", "s1", "j1", at(-3660), at(0)}},
		"another event too": {sign(header, claims(m{"events": m{logoutEvent: m{}, "https://x": m{}}})), Logout{a.URL, "00u1", "s1", "j1", at(0), at(180)}},
	} {
		got, err := c.LogoutToken(t.Context(), k.token)
		if err != nil || fmt.Sprint(got) != fmt.Sprint(k.want) {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	stranger := newSigningKey(t, "k1")
	strangers, _ := json.Marshal(claims(nil))
	for name, k := range map[string]struct {
		token  string
		reason iam.Reason
	}{
		"oidcc-client-test-rp-backchannel-alg-none": {b64([]byte(`{"alg":"none"}`)) + "." + b64(strangers) + ".", jws.ReasonMalformed},
		"none, signed": {sign(`{"alg":"none"}`, claims(nil)), jws.ReasonAlgorithm},
		"oidcc-client-test-rp-backchannel-wrong-alg": {signHMAC(a.key, string(strangers)), jws.ReasonAlgorithm},
		"by a stranger": {stranger.sign(header, string(strangers)), jws.ReasonSignature},
		"oidcc-client-test-rp-backchannel-no-event":    {sign(header, claims(m{"events": nil})), ReasonLogoutEvent},
		"oidcc-client-test-rp-backchannel-wrong-event": {sign(header, claims(m{"events": m{logoutEvent + "x": m{}}})), ReasonLogoutEvent},
		"event null":                 {sign(header, claims(m{"events": m{logoutEvent: json.RawMessage("null")}})), ReasonLogoutEvent},
		"event a string":             {sign(header, claims(m{"events": m{logoutEvent: "x"}})), ReasonLogoutEvent},
		"events a list":              {sign(header, claims(m{"events": []string{logoutEvent}})), ReasonLogoutEvent},
		"events null":                {sign(header, claims(m{"events": json.RawMessage("null")})), ReasonLogoutEvent},
		"a claim that looks like it": {sign(header, claims(m{"events": nil, "events/" + logoutEvent: m{}})), ReasonLogoutEvent},
		"oidcc-client-test-rp-backchannel-with-nonce": {sign(header, claims(m{"nonce": "n"})), ReasonTokenKind},
		"nonce null": {sign(header, claims(m{"nonce": json.RawMessage("null")})), ReasonTokenKind},
		"oidcc-client-test-rp-backchannel-wrong-aud": {sign(header, claims(m{"aud": "another"})), ReasonAudience},
		"no aud": {sign(header, claims(m{"aud": nil})), ReasonAudience},
		"oidcc-client-test-rp-backchannel-wrong-iss": {sign(header, claims(m{"iss": a.URL + "/"})), ReasonIssuer},
		"no iss":                    {sign(header, claims(m{"iss": nil})), ReasonClaim},
		"neither sub nor sid":       {sign(header, claims(m{"sub": nil, "sid": nil})), ReasonSubject},
		"sub empty":                 {sign(header, claims(m{"sub": ""})), ReasonSubject},
		"sid a number":              {sign(header, claims(m{"sid": 1})), jws.ReasonMalformed},
		"no jti":                    {sign(header, claims(m{"jti": nil})), ReasonClaim},
		"jti of 256":                {sign(header, claims(m{"jti": strings.Repeat("j", 256)})), ReasonSubject},
		"no iat":                    {sign(header, claims(m{"iat": nil})), ReasonClaim},
		"iat in the future":         {sign(header, claims(m{"iat": now + 61, "exp": now + 100})), ReasonNotYetValid},
		"older than an hour":        {sign(header, claims(m{"iat": now - 3661})), ReasonTooOld},
		"expired":                   {sign(header, claims(m{"iat": now - 100, "exp": now - 60})), ReasonExpired},
		"an ID token":               {a.key.token(a.claims("n", nil)), ReasonTokenKind},
		"an ID token without nonce": {a.key.token(a.claims("n", m{"nonce": nil})), ReasonLogoutEvent},
		"an access token":           {sign(`{"alg":"ES256","kid":"k1","typ":"at+jwt"}`, claims(nil)), ReasonTokenKind},
		"another event's":           {sign(`{"alg":"ES256","kid":"k1","typ":"secevent+jwt"}`, claims(nil)), ReasonTokenKind},
		"no token":                  {"x", jws.ReasonMalformed},
		"nothing":                   {"", jws.ReasonMalformed},
	} {
		got, err := c.LogoutToken(t.Context(), k.token)
		wantError(t, name, err, iam.KindInvalid, k.reason)
		if got != (Logout{}) {
			t.Errorf("%s: %+v", name, got)
		}
		if err != nil && strings.Contains(err.Error(), "sign in") {
			t.Errorf("%s: says what helps nobody: %v", name, err)
		}
	}
	// And no logout token signs anybody in (J23).
	_, err := a.signIn(t, c, func(nonce string) string {
		return sign(header, a.claims(nonce, m{"events": m{logoutEvent: m{}}}))
	})
	wantError(t, "a logout token as an ID token", err, iam.KindUnauthenticated, ReasonTokenKind)
}
