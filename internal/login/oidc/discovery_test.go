package oidc

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

const wellKnown = "/.well-known/openid-configuration"

// What is no discovery document of the configured provider: nobody can sign in, and as soon as it is
// one, everybody can (O17, J10, J17; oidcc-client-test-discovery-issuer-mismatch).
func TestDiscoveryThatFails(t *testing.T) {
	text := func(status int, kind, body string) func(*authority) {
		return func(a *authority) {
			a.discovery = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", kind)
				w.WriteHeader(status)
				io.WriteString(w, body)
			})
		}
	}
	changed := func(changes m) func(*authority) {
		return func(a *authority) { a.document = changes }
	}
	edited := func(edit func(a *authority, document string) string) func(*authority) {
		return func(a *authority) {
			a.discovery = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				b, err := json.Marshal(a.metadata())
				if err != nil {
					panic(err)
				}
				w.Header().Set("Content-Type", "application/json")
				io.WriteString(w, edit(a, string(b)))
			})
		}
	}
	elsewhere := newAuthority(t)
	for name, c := range map[string]struct {
		method Method
		breaks func(*authority)
		says   string
	}{
		"another issuer": {Implicit, changed(m{"issuer": "https://other.acme.test"}), `"https://other.acme.test"`},
		"issuer with a slash": {Implicit, edited(func(a *authority, s string) string {
			return strings.Replace(s, `"issuer":"`+a.URL, `"issuer":"`+a.URL+"/", 1)
		}), "to the last letter"},
		"no issuer":            {Implicit, changed(m{"issuer": nil}), "issuer"},
		"Issuer":               {Implicit, edited(func(_ *authority, s string) string { return strings.Replace(s, `"issuer"`, `"Issuer"`, 1) }), "issuer"},
		"two issuers":          {Implicit, edited(func(_ *authority, s string) string { return `{"issuer":"https://other.acme.test",` + s[1:] }), "cannot be read"},
		"two jwks_uri":         {Implicit, edited(func(_ *authority, s string) string { return `{"jwks_uri":"https://other.acme.test",` + s[1:] }), "cannot be read"},
		"every tenant":         {Implicit, changed(m{"issuer": "https://login.microsoftonline.com/{tenantid}/v2.0"}), "your own tenant"},
		"no sign-in":           {Implicit, changed(m{"authorization_endpoint": nil}), "authorization_endpoint"},
		"no keys":              {Implicit, changed(m{"jwks_uri": nil}), "jwks_uri"},
		"no token endpoint":    {PKCE, changed(m{"token_endpoint": nil}), "token_endpoint"},
		"http elsewhere":       {PKCE, changed(m{"token_endpoint": "http://other.acme.test/token"}), "token_endpoint"},
		"javascript":           {Implicit, changed(m{"authorization_endpoint": "javascript://x/%0aalert(1)"}), "authorization_endpoint"},
		"a relative path":      {Implicit, changed(m{"authorization_endpoint": "/authorize"}), "authorization_endpoint"},
		"a user":               {Implicit, changed(m{"jwks_uri": "https://u:p@idp.acme.test/jwks"}), "jwks_uri"},
		"a fragment":           {Implicit, changed(m{"authorization_endpoint": "https://idp.acme.test/#x"}), "authorization_endpoint"},
		"a number":             {Implicit, changed(m{"authorization_endpoint": 5}), "cannot be"},
		"HMAC only":            {Implicit, changed(m{"id_token_signing_alg_values_supported": []string{"HS256", "none"}}), "HS256"},
		"500":                  {Implicit, text(500, "text/plain", "boom"), "500"},
		"404":                  {Implicit, text(404, "text/html", "<html>"), "404"},
		"HTML":                 {Implicit, text(200, "text/html", "<p>welcome"), "cannot be had"},
		"garbage":              {Implicit, text(200, "application/json", "\x00\xff"), "cannot be had"},
		"nothing":              {Implicit, text(200, "application/json", ""), "cannot be had"},
		"null":                 {Implicit, text(200, "application/json", "null"), "issuer"},
		"a list":               {Implicit, text(200, "application/json", "[]"), "cannot be had"},
		"16 MiB":               {Implicit, text(200, "application/json", `{"x":"`+strings.Repeat("x", 16<<20)+`"}`), "longer than"},
		"a redirect elsewhere": {Implicit, func(a *authority) { a.discovery = http.RedirectHandler(elsewhere.URL+wellKnown, http.StatusFound) }, "another origin"},
		"a loop":               {Implicit, func(a *authority) { a.discovery = http.RedirectHandler(wellKnown, http.StatusFound) }, "redirects more than"},
		"it breaks off": {Implicit, func(a *authority) {
			a.discovery = http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
		}, "EOF"},
	} {
		a := newAuthority(t)
		a.set(func() { c.breaks(a) })
		connector := a.connector(t, func(cfg *Config) { cfg.Method = c.method })
		_, f, err := connector.Begin(t.Context(), callback, "/")
		wantError(t, name, err, iam.KindUnavailable, ReasonUnavailable)
		if f != nil || err == nil {
			t.Errorf("%s: a flow was begun", name)
			continue
		}
		status := connector.Status()
		if !strings.Contains(err.Error(), c.says) || status.Err == nil || !strings.Contains(status.Err.Error(), c.says) || status.Usable || !connector.found.tried.Equal(a.clock.Now()) || !connector.found.fetched.IsZero() {
			t.Errorf("%s: %v, %+v", name, err, status)
		}
		if e := err.(*iam.Error); e.RetryAfter <= 0 || e.RetryAfter > pause || strings.Contains(e.Message, "boom") {
			t.Errorf("%s: %+v", name, e)
		}
		// It recovers by itself, and is not asked before its pause is over.
		before := a.count(wellKnown)
		a.set(func() { a.document, a.discovery = m{}, nil })
		a.clock.add(pause - 1)
		if err := connector.Discover(t.Context()); iam.KindOf(err) != iam.KindUnavailable || a.count(wellKnown) != before {
			t.Errorf("%s: asked again at once: %v", name, err)
		}
		a.clock.add(1)
		if _, err := a.signInAs(t, connector, nil); err != nil || a.count(wellKnown) != before+1 {
			t.Errorf("%s: no recovery: %v", name, err)
		}
		if status := connector.Status(); !status.Usable || status.Err != nil || !status.SignsOut {
			t.Errorf("%s: %+v", name, status)
		}
	}
	if elsewhere.count(wellKnown) != 0 {
		t.Error("a redirect to another origin was followed")
	}
}

func TestProviderThatIsNotThere(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, nil)
	if s := c.Status(); c.Issuer() != a.URL || s.Usable || s.Err != nil || !c.found.tried.IsZero() || a.count(wellKnown) != 0 {
		t.Errorf("before anybody asked: %+v", s)
	}
	a.Close()
	_, _, err := c.Begin(t.Context(), callback, "/")
	wantError(t, "Begin", err, iam.KindUnavailable, ReasonUnavailable)
	if message := err.(*iam.Error).Message; !strings.Contains(message, a.URL) || strings.Contains(message, "connection refused") {
		t.Error(message)
	}
	_, err = c.Finish(t.Context(), &Flow{State: "s", Nonce: "n", Issuer: a.URL, Created: a.clock.Now()}, Answer{State: "s", IDToken: "x"})
	wantError(t, "Finish", err, iam.KindUnavailable, ReasonUnavailable)
	_, err = c.LogoutToken(t.Context(), "x")
	wantError(t, "LogoutToken", err, iam.KindUnavailable, ReasonUnavailable)
	if at, ok := c.LogoutURL(t.Context(), iam.Secret{}, ""); ok {
		t.Error(at)
	}
}

// A certificate that nobody trusts is a provider that is away; one that the configuration trusts is not.
func TestCertificates(t *testing.T) {
	a := newAuthority(t)
	secure := httptest.NewUnstartedServer(a)
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it would tell of the stranger
	secure.StartTLS()
	t.Cleanup(secure.Close)
	a.URL = secure.URL
	stranger := a.connector(t, nil)
	err := stranger.Discover(t.Context())
	wantError(t, "unknown authority", err, iam.KindUnavailable, ReasonUnavailable)
	if !strings.Contains(err.Error(), "certificate") {
		t.Error(err)
	}
	pool := secure.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	trusting := a.connector(t, func(cfg *Config) { cfg.Roots, cfg.Method = pool, PKCE })
	if _, err := a.signInAs(t, trusting, nil); err != nil {
		t.Error(err)
	}
	// https stays https: an endpoint in clear text is none, be it on this machine.
	a.document["token_endpoint"] = "http://127.0.0.1:1/token"
	downgraded := a.connector(t, func(cfg *Config) { cfg.Roots, cfg.Method = pool, PKCE })
	wantError(t, "clear text", downgraded.Discover(t.Context()), iam.KindUnavailable, ReasonUnavailable)
}

// gate holds a handler until it is opened, and tells when somebody waits.
type gate struct{ waiting, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}, 100), make(chan struct{})} }

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.waiting <- struct{}{}
	select {
	case <-g.open:
	case <-r.Context().Done():
	}
	http.Error(w, "late", http.StatusInternalServerError)
}

// J19: all who come while nothing is known share one question.
func TestManyAskOnce(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, nil)
	var all sync.WaitGroup
	for range 200 {
		all.Go(func() {
			if _, err := a.signInAs(t, c, nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if a.count(wellKnown) != 1 || a.count("/jwks") != 1 {
		t.Errorf("asked %v", a.asked)
	}
}

// Who leaves does not end the question for those who stay; Close does, and leaves nothing behind.
func TestLeavingAndClosing(t *testing.T) {
	a := newAuthority(t)
	g := newGate()
	a.discovery = g
	c := a.connector(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	first, second := make(chan error), make(chan error)
	go func() { first <- c.Discover(ctx) }()
	<-g.waiting
	go func() { second <- c.Discover(t.Context()) }()
	leave()
	wantError(t, "who left", <-first, iam.KindUnavailable, ReasonUnavailable)
	select {
	case err := <-second:
		t.Errorf("it ended for others: %v", err)
	default:
	}
	c.Close()
	wantError(t, "who stayed", <-second, iam.KindUnavailable, ReasonUnavailable)
	wantError(t, "after Close", c.Discover(t.Context()), iam.KindUnavailable, ReasonUnavailable)
	if a.count(wellKnown) != 1 {
		t.Errorf("asked %d times", a.count(wellKnown))
	}
	c.Close() // again
	// With everything known, too.
	a.set(func() { a.discovery = nil })
	c = a.connector(t, nil)
	if _, err := a.signInAs(t, c, nil); err != nil {
		t.Fatal(err)
	}
	_, f := begin(t, c)
	c.Close()
	_, err := c.Finish(t.Context(), f, Answer{State: f.State, IDToken: a.key.token(a.claims(f.Nonce, nil))})
	wantError(t, "Finish after Close", err, iam.KindUnavailable, ReasonUnavailable)
}

// The document is read again hourly, in the background, and the last good one serves for a day.
func TestDiscoveryGrowsOld(t *testing.T) {
	a := newAuthority(t)
	c := a.connector(t, nil)
	ask := func(want string) {
		t.Helper()
		location, _, err := c.Begin(t.Context(), callback, "/")
		if err != nil || !strings.HasPrefix(location, want+"?") {
			t.Errorf("%s, %v", location, err)
		}
	}
	settled := func() { c.busy.Wait() }
	ask(a.URL + "/authorize")
	a.set(func() { a.document["authorization_endpoint"] = "https://new.acme.test/authorize" })
	a.clock.add(freshFor - 1)
	ask(a.URL + "/authorize")
	settled()
	if a.count(wellKnown) != 1 {
		t.Errorf("asked %d times within the hour", a.count(wellKnown))
	}
	a.clock.add(1)
	ask(a.URL + "/authorize") // the old one, at once
	settled()
	ask("https://new.acme.test/authorize")
	if a.count(wellKnown) != 2 {
		t.Errorf("asked %d times after the hour", a.count(wellKnown))
	}
	a.set(func() { a.discovery = http.NotFoundHandler() })
	a.clock.add(freshFor)
	for range 10 {
		ask("https://new.acme.test/authorize")
		settled()
	}
	if a.count(wellKnown) != 3 {
		t.Errorf("asked %d times while it fails", a.count(wellKnown))
	}
	if s := c.Status(); !s.Usable || s.Err == nil {
		t.Errorf("%+v", s)
	}
	a.clock.add(usableFor - freshFor - 1)
	ask("https://new.acme.test/authorize")
	settled()
	a.clock.add(pause)
	_, _, err := c.Begin(t.Context(), callback, "/")
	wantError(t, "after a day", err, iam.KindUnavailable, ReasonUnavailable)
	if s := c.Status(); s.Usable {
		t.Errorf("%+v", s)
	}
	a.set(func() { a.discovery = nil })
	a.clock.add(pause)
	ask("https://new.acme.test/authorize")
}

// The address of the keys may change with the document.
func TestKeysMove(t *testing.T) {
	a := newAuthority(t)
	other := newAuthority(t)
	c := a.connector(t, nil)
	if _, err := a.signInAs(t, c, nil); err != nil {
		t.Fatal(err)
	}
	a.set(func() { a.document["jwks_uri"] = other.URL + "/jwks"; a.key = other.key })
	a.clock.add(freshFor)
	begin(t, c)
	c.busy.Wait()
	if _, err := a.signInAs(t, c, nil); err != nil || other.count("/jwks") != 1 {
		t.Errorf("%v, asked %d times", err, other.count("/jwks"))
	}
}

// The algorithms of the document narrow those of the keys; a document without them does not.
func TestAnnouncedAlgorithms(t *testing.T) {
	for name, c := range map[string]struct {
		announced any
		reason    iam.Reason
		reads     []jws.Algorithm
	}{
		"nothing":          {nil, "", nil},
		"none at all":      {[]string{}, "", nil},
		"it":               {[]string{"ES256"}, "", []jws.Algorithm{jws.ES256}},
		"it among strange": {[]string{"none", "HS256", "ES256", "XX"}, "", []jws.Algorithm{jws.ES256}},
		"another":          {[]string{"RS256"}, jws.ReasonAlgorithm, []jws.Algorithm{jws.RS256}},
	} {
		a := newAuthority(t)
		a.document["id_token_signing_alg_values_supported"] = c.announced
		connector := a.connector(t, nil)
		_, err := a.signInAs(t, connector, nil)
		if iam.ReasonOf(err) != c.reason || (err == nil) != (c.reason == "") {
			t.Errorf("%s: %v", name, err)
		}
		if got := connector.found.current.algorithms; !slices.Equal(got, c.reads) {
			t.Errorf("%s: %s", name, got)
		}
	}
}

// roundTrip answers for hosts that tests cannot be.
type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Microsoft Entra, both versions, with a public client (OIDC-16, OIDC-17): version 1.0 is found below
// its log-in host and calls itself otherwise; codes of single-page applications need an Origin.
func TestEntra(t *testing.T) {
	const tenant = "11111111-2222-3333-4444-555555555555"
	const host = "https://login.microsoftonline.com/" + tenant
	for issuer, names := range map[string]string{
		host + "/v2.0": host + "/v2.0",
		host:           "https://sts.windows.net/" + tenant + "/",
		host + "/":     "https://sts.windows.net/" + tenant + "/",
		"https://sts.windows.net/" + tenant + "/": "https://sts.windows.net/" + tenant + "/",
	} {
		for _, password := range []string{"", secret} {
			a := newAuthority(t)
			keySet := source{}
			text, _ := json.Marshal(m{"keys": []m{a.key.jwk()}})
			keySet.set, _, _ = jws.ParseKeySet(text)
			c := a.connector(t, func(cfg *Config) {
				cfg.Issuer, cfg.Method, cfg.Keys, cfg.ClientSecret = issuer, PKCE, &keySet, iam.NewSecret(password)
			})
			var nonce, from string
			says := names
			c.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				w := httptest.NewRecorder()
				switch r.URL.String() {
				case strings.TrimSuffix(issuer, "/") + wellKnown:
					write(w, 200, m{"issuer": says, "authorization_endpoint": host + "/oauth2/authorize", "token_endpoint": host + "/oauth2/token", "jwks_uri": "https://login.microsoftonline.com/common/discovery/keys"})
				case host + "/oauth2/token":
					from = r.Header.Get("Origin")
					write(w, 200, m{"access_token": "x", "id_token": a.key.token(a.claims(nonce, m{"iss": names, "email_verified": nil, "tid": tenant}))})
				default:
					return nil, fmt.Errorf("asked for %s", r.URL)
				}
				return w.Result(), nil
			})
			_, f := begin(t, c)
			nonce = f.Nonce
			who, err := c.Finish(t.Context(), f, Answer{Code: "c", State: f.State, Issuer: ""})
			if err != nil || who.Issuer != names || c.Issuer() != names {
				t.Errorf("%s: %+v, %v", issuer, who, err)
			}
			if want := map[bool]string{true: "https://wandb.acme.test"}[password == ""]; from != want {
				t.Errorf("%s: the origin is %q", issuer, from)
			}
			// The other name is followed for exactly this tenant.
			says = "https://sts.windows.net/99999999-2222-3333-4444-555555555555/"
			a.clock.add(usableFor)
			wantError(t, issuer, c.Discover(t.Context()), iam.KindUnavailable, ReasonUnavailable)
		}
	}
}

// FuzzDiscovery: whatever a document says, what is taken from it is the configured provider's, and its
// addresses can be used.
func FuzzDiscovery(f *testing.F) {
	for _, s := range []string{
		`{"issuer":"https://idp.acme.test","authorization_endpoint":"https://idp.acme.test/a","token_endpoint":"https://idp.acme.test/t","jwks_uri":"https://idp.acme.test/k","end_session_endpoint":"http://x","id_token_signing_alg_values_supported":["ES256"],"authorization_response_iss_parameter_supported":true}`,
		`{"issuer":"https://idp.acme.test","issuer":"https://other"}`, `{"Issuer":"https://idp.acme.test"}`, `null`, `{`, `{"issuer":5}`,
	} {
		f.Add([]byte(s))
	}
	c, err := New(Config{Issuer: "https://idp.acme.test", ClientID: "x", Method: PKCE})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		p, err := c.read(document)
		if err != nil {
			if len(err.Error()) > 1000 || strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("%q", err)
			}
			return
		}
		if p.Issuer != c.issuer || len(p.SigningNames) > 0 && len(p.algorithms) == 0 {
			t.Fatal(p)
		}
		for _, at := range []string{p.Authorization, p.Token, p.Keys, p.EndSession} {
			if at != "" && !strings.HasPrefix(strings.ToLower(at), "https://") {
				t.Fatal(at)
			}
		}
		if p.Authorization == "" || p.Token == "" || p.Keys == "" {
			t.Fatal(p)
		}
	})
}
