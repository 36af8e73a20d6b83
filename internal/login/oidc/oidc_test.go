package oidc

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
)

func TestMethods(t *testing.T) {
	for text, want := range map[string]Method{"": Implicit, "implicit": Implicit, "pkce": PKCE, "PKCE": PKCE} {
		if got, err := ParseMethod(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"code", "pkce ", "hybrid", "none"} {
		if _, err := ParseMethod(text); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%q: %v", text, err)
		}
	}
	if Implicit.String()+PKCE.String()+Method(9).String() != "implicitpkceunknown" {
		t.Error(Implicit, PKCE, Method(9))
	}
}

func TestNew(t *testing.T) {
	const tenant = "11111111-2222-3333-4444-555555555555"
	good := func() Config { return Config{Issuer: "https://acme.okta.com", ClientID: "0oa1"} }
	for issuer, want := range map[string]string{
		"https://acme.okta.com":                                              "https://acme.okta.com",
		"https://acme.eu.auth0.com/":                                         "https://acme.eu.auth0.com/",
		"https://accounts.google.com":                                        "https://accounts.google.com",
		"https://keycloak.acme.test/realms/acme":                             "https://keycloak.acme.test/realms/acme",
		"https://login.microsoftonline.com/" + tenant + "/v2.0":              "https://login.microsoftonline.com/" + tenant + "/v2.0",
		"https://login.microsoftonline.com/" + tenant:                        "https://sts.windows.net/" + tenant + "/",
		"https://login.microsoftonline.com/" + strings.ToUpper(tenant) + "/": "https://sts.windows.net/" + tenant + "/",
		"https://sts.windows.net/" + tenant + "/":                            "https://sts.windows.net/" + tenant + "/",
		"http://127.0.0.1:8080":                                              "http://127.0.0.1:8080",
		"http://localhost:8080/realms/x":                                     "http://localhost:8080/realms/x",
	} {
		cfg := good()
		cfg.Issuer = issuer
		c, err := New(cfg)
		if err != nil || c.Issuer() != want {
			t.Errorf("%s: %v", issuer, err)
			continue
		}
		c.Close()
	}
	for name, c := range map[string]struct {
		change func(*Config)
		says   string
	}{
		"no issuer":                {func(c *Config) { c.Issuer = "" }, "issuer"},
		"no URL":                   {func(c *Config) { c.Issuer = "acme.okta.com" }, "URL"},
		"http":                     {func(c *Config) { c.Issuer = "http://idp.acme.test" }, "https"},
		"http, named like us":      {func(c *Config) { c.Issuer = "http://localhost.acme.test" }, "https"},
		"a user":                   {func(c *Config) { c.Issuer = "https://user:pass@idp.acme.test" }, "user"},
		"a query":                  {func(c *Config) { c.Issuer = "https://idp.acme.test?x=1" }, "query"},
		"a fragment":               {func(c *Config) { c.Issuer = "https://idp.acme.test#x" }, "fragment"},
		"another scheme":           {func(c *Config) { c.Issuer = "ftp://idp.acme.test" }, "https"},
		"the document":             {func(c *Config) { c.Issuer = "https://idp.acme.test/.well-known/openid-configuration" }, "before /.well-known"},
		"every tenant":             {func(c *Config) { c.Issuer = "https://login.microsoftonline.com/common/v2.0" }, "tenant id"},
		"every organization":       {func(c *Config) { c.Issuer = "https://login.microsoftonline.com/organizations/v2.0" }, "tenant id"},
		"everybody at home":        {func(c *Config) { c.Issuer = "https://login.microsoftonline.us/consumers" }, "tenant id"},
		"a Cognito domain":         {func(c *Config) { c.Issuer, c.Method = "https://acme.auth.eu-west-1.amazoncognito.com", PKCE }, "cognito-idp"},
		"Cognito, implicit":        {func(c *Config) { c.Issuer = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A" }, "pkce"},
		"no client id":             {func(c *Config) { c.ClientID = "" }, "client id"},
		"client id with a blank":   {func(c *Config) { c.ClientID = "a b" }, "client id"},
		"a scope with a blank":     {func(c *Config) { c.Scopes = []string{"a b"} }, "scope"},
		"an empty scope":           {func(c *Config) { c.Scopes = []string{""} }, "scope"},
		"a scope in quotes":        {func(c *Config) { c.Scopes = []string{`"a"`} }, "scope"},
		"many scopes":              {func(c *Config) { c.Scopes = numbered(40) }, "limit"},
		"a method that is none":    {func(c *Config) { c.Method = 7 }, "method"},
		"a timeout too short":      {func(c *Config) { c.Timeout = time.Millisecond }, "timeout"},
		"a timeout too long":       {func(c *Config) { c.Timeout = time.Hour }, "timeout"},
		"a timeout before zero":    {func(c *Config) { c.Timeout = -1 }, "timeout"},
		"an issuer over the limit": {func(c *Config) { c.Issuer = "https://idp.acme.test/" + strings.Repeat("x", 4000) }, "limit"},
	} {
		cfg := good()
		c.change(&cfg)
		if _, err := New(cfg); iam.KindOf(err) != iam.KindInvalid || !strings.Contains(err.Error(), c.says) || len(err.Error()) > 600 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func numbered(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("scope%d", i)
	}
	return all
}

func TestRedirectURIs(t *testing.T) {
	a := newAuthority(t)
	implicit, pkce := a.connector(t, nil), a.connector(t, withPKCE)
	for uri, want := range map[string][2]bool{ // implicit, pkce
		"https://wandb.acme.test/oidc/callback":      {true, true},
		"https://wandb.acme.test:8443/oidc/callback": {true, true},
		"http://localhost:8080/oidc/callback":        {true, true},
		"http://127.0.0.1/oidc/callback":             {true, true},
		"http://[::1]:8080/oidc/callback":            {true, true},
		"http://wandb.acme.test/oidc/callback":       {false, true},
		"http://127.0.0.1.acme.test/oidc/callback":   {false, true},
		"javascript://wandb.acme.test/%0aalert(1)":   {},
		"//wandb.acme.test/oidc/callback":            {},
		"/oidc/callback":                             {},
		"":                                           {},
		"https://user@wandb.acme.test/oidc/callback": {},
		"https://wandb.acme.test/oidc/callback#x":    {},
		"https://wandb.acme.test/oidc/callback?x":    {},
		"https://wandb.acme.test/\r\nX: y":           {},
		"https:wandb.acme.test":                      {},
	} {
		for i, c := range []*Connector{implicit, pkce} {
			if err := c.CheckRedirectURI(uri); (err == nil) != want[i] || err != nil && iam.KindOf(err) != iam.KindInvalid {
				t.Errorf("%s, %s: %v", c.Method(), uri, err)
			}
			if _, f, err := c.Begin(t.Context(), uri, "/"); (err == nil) != want[i] || (f != nil) != want[i] {
				t.Errorf("%s, %s: %v", c.Method(), uri, err)
			}
		}
	}
}

// What the browser is sent with, in both methods (OIDC-1, OIDC-9, O03).
func TestBegin(t *testing.T) {
	a := newAuthority(t)
	a.document["code_challenge_methods_supported"] = []string{"plain"}
	a.document["authorization_endpoint"] = a.URL + "/authorize?tenant=acme"
	for _, method := range []Method{Implicit, PKCE} {
		c := a.connector(t, func(cfg *Config) {
			cfg.Method, cfg.Scopes, cfg.ClientSecret = method, []string{"groups", "openid", "groups"}, iam.NewSecret(secret)
		})
		location, f, err := c.Begin(t.Context(), callback, "/vision?x=%2F")
		if err != nil {
			t.Fatal(err)
		}
		u, _ := url.Parse(location)
		q := u.Query()
		want := url.Values{"tenant": {"acme"}, "client_id": {clientID}, "redirect_uri": {callback}, "scope": {"openid profile email groups"}, "state": {f.State}, "nonce": {f.Nonce}}
		switch method {
		case Implicit:
			want["response_type"], want["response_mode"] = []string{"id_token"}, []string{"form_post"}
			if f.Verifier != "" {
				t.Error("implicit has a verifier")
			}
		case PKCE:
			sum := sha256.Sum256([]byte(f.Verifier))
			want["response_type"], want["code_challenge_method"], want["code_challenge"] = []string{"code"}, []string{"S256"}, []string{b64(sum[:])}
			if len(f.Verifier) != 43 || f.Verifier == f.Nonce || f.Verifier == f.State {
				t.Error(f.Verifier)
			}
		}
		if q.Encode() != want.Encode() || u.Host != strings.TrimPrefix(a.URL, "http://") || u.Path != "/authorize" {
			t.Errorf("%s: %s", method, location)
		}
		if f.Issuer != a.URL || f.RedirectURI != callback || f.ReturnTo != "/vision?x=%2F" || !f.Created.Equal(a.clock.Now()) || len(f.State) != 43 || len(f.Nonce) != 43 || f.State == f.Nonce {
			t.Errorf("%s: %+v", method, *f)
		}
		_, other, err := c.Begin(t.Context(), callback, "/")
		if err != nil || other.State == f.State || other.Nonce == f.Nonce {
			t.Error("two flows are alike")
		}
		if strings.Contains(location, secret) || strings.Contains(fmt.Sprintf("%v %+v %#v %s", f, *f, f, f), f.State) {
			t.Error("a secret is told")
		}
		kept, err := json.Marshal(f)
		var back Flow
		if err != nil || json.Unmarshal(kept, &back) != nil || back != *f && !back.Created.Equal(f.Created) {
			t.Errorf("a flow cannot be kept: %s, %v", kept, err)
		}
	}
}

// oidcc-client-test, in both methods, and for each way in which the gateway can prove who it is.
func TestSignIn(t *testing.T) {
	for name, c := range map[string]struct {
		method  Method
		secret  string
		methods any // token_endpoint_auth_methods_supported
		basic   bool
	}{
		"implicit":                   {Implicit, "", nil, false},
		"implicit with a secret":     {Implicit, secret, nil, false},
		"public client":              {PKCE, "", nil, false},
		"public client, basic":       {PKCE, "", []string{"client_secret_basic"}, false},
		"secret, nothing listed":     {PKCE, secret, nil, true},
		"secret, basic":              {PKCE, secret, []string{"client_secret_post", "client_secret_basic"}, true},
		"secret, post":               {PKCE, secret, []string{"private_key_jwt", "client_secret_post"}, false},
		"secret, neither":            {PKCE, secret, []string{"private_key_jwt"}, true},
		"secret with signs, in post": {PKCE, "a:b/c+d% é", []string{"client_secret_post"}, false},
		"secret with signs, basic":   {PKCE, "a:b/c+d% é", nil, true},
	} {
		a := newAuthority(t)
		a.document["token_endpoint_auth_methods_supported"] = c.methods
		connector := a.connector(t, func(cfg *Config) { cfg.Method, cfg.ClientSecret = c.method, iam.NewSecret(c.secret) })
		var raw string
		who, err := a.signIn(t, connector, func(nonce string) string {
			raw = a.key.token(a.claims(nonce, nil))
			return raw
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		groups := who.Groups
		slices.Sort(groups)
		if who.Issuer != a.URL || who.Subject != "00u1" || who.Email != "alice@acme.test" || who.EmailVerified != identity.VerifiedTrue ||
			who.Username != "alice" || who.Name != "Alice A." || !slices.Equal(groups, []string{"audio", "vision"}) || !who.GroupsKnown ||
			who.SessionID != "s1" || who.IDToken.Reveal() != raw {
			t.Errorf("%s: %+v", name, who)
		}
		if a.count("/userinfo") != 0 || a.count("/.well-known/openid-configuration") != 1 || a.count("/jwks") != 1 {
			t.Errorf("%s: asked %v", name, a.asked)
		}
		if c.method == Implicit {
			if a.count("/token") != 0 {
				t.Errorf("%s: the token endpoint was asked", name)
			}
			continue
		}
		id, password, basic := a.redeemed.BasicAuth()
		form := a.redeemed.PostForm
		if basic != c.basic || form.Has("client_secret") != (!c.basic && c.secret != "") {
			t.Errorf("%s: basic %v, form %v", name, basic, form)
		}
		if basic {
			id, _ = url.QueryUnescape(id)
			password, _ = url.QueryUnescape(password)
		} else {
			id, password = form.Get("client_id"), form.Get("client_secret")
		}
		if id != clientID || password != c.secret || a.redeemed.Header.Get("Origin") != "" {
			t.Errorf("%s: %q, %q, %v", name, id, password, a.redeemed.Header)
		}
	}
}
