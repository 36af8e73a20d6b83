package login

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

func TestSignInAtTheProvider(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser()
	a := b.signIn("/oidc/login?return_to=%2Facme%2Fx%3Fa%3D%252Fb")
	if a.location() != "/acme/x?a=%2Fb" {
		t.Errorf("to %q", a.location())
	}
	if e := h.last(); e.Action != ActionSignIn || e.Method != session.MethodOIDC || e.Username != "alice" || !e.Created || !e.Bound || e.Subject != "sub-alice" || e.Session == "" {
		t.Errorf("%+v", e)
	}
	for _, c := range a.given { // O10
		switch {
		case c.Name == session.NameHTTPS:
			if !c.HttpOnly || !c.Secure || c.Path != "/" || c.Domain != "" || c.SameSite != http.SameSiteLaxMode || len(c.Value) != 43 {
				t.Errorf("%+v", c)
			}
		case c.MaxAge >= 0:
			t.Errorf("left over: %+v", c)
		}
	}
	if len(b.jar) != 1 {
		t.Errorf("cookies left: %v", b.jar)
	}
}

// TestLongAddressesComeBack: the longest address fits into the flow's cookie, whatever is in it.
func TestLongAddressesComeBack(t *testing.T) {
	for _, sign := range []string{"a", "&", "'", "%26"} {
		want := "/acme/x?a="
		want += strings.Repeat(sign, (maxReturnBytes-len(want))/len(sign))
		if a := newHouse(t, nil).browser().signIn("/oidc/login?return_to=" + url.QueryEscape(want)); a.location() != want {
			t.Errorf("%q: to %.40q, %d bytes", sign, a.location(), len(a.location()))
		}
	}
}

func TestCookieOfAFlow(t *testing.T) { // O11
	for _, c := range []struct {
		name   string
		scheme string
		method oidc.Method
		same   http.SameSite
		prefix string
	}{
		{"posted by another site", "https", oidc.Implicit, http.SameSiteNoneMode, "__Host-wandb-gateway-flow-"},
		{"by a link", "https", oidc.PKCE, http.SameSiteLaxMode, "__Host-wandb-gateway-flow-"},
		{"on plain http by a link", "http", oidc.PKCE, http.SameSiteLaxMode, "wandb-gateway-flow-"},
		{"on plain http, posted", "http", oidc.Implicit, 0, "wandb-gateway-flow-"},
	} {
		h := newHouse(t, nil)
		h.provider.method = c.method
		b := h.browser()
		b.origin = c.scheme + "://" + host
		a := b.get("/oidc/login")
		if len(a.given) != 1 {
			t.Fatalf("%s: %v", c.name, a.given)
		}
		if k := a.given[0]; k.SameSite != c.same || !k.HttpOnly || k.Secure != (c.scheme == "https") || k.Path != "/" || k.Domain != "" || k.MaxAge != 600 || !strings.HasPrefix(k.Name, c.prefix) {
			t.Errorf("%s: %+v", c.name, k)
		}
		for _, secret := range []string{"state", "acme", "wandb.acme.test"} {
			if strings.Contains(a.given[0].Value, secret) {
				t.Errorf("%s: the value is readable", c.name)
			}
		}
	}
}

func TestImplicitAnswerIsPosted(t *testing.T) {
	h := newHouse(t, nil)
	h.provider.method = oidc.Implicit
	b := h.browser()
	state := b.begin("/oidc/login?return_to=/acme")
	a := b.send(http.MethodPost, "/oidc/callback", url.Values{"id_token": {"a.b.c"}, "state": {state}}.Encode(), func(r *http.Request) {
		r.Header.Set("Origin", idp)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	})
	if a.Code != http.StatusSeeOther || a.location() != "/acme" || !b.signedIn() {
		t.Errorf("%d to %s: %s", a.Code, a.location(), a.Body)
	}
}

// TestAnswersThatProveNothing: no session, a refusal in the audit, a page without automatic retry.
func TestAnswersThatProveNothing(t *testing.T) { // O01, O05, O06, O08, O12, O23
	type try struct {
		h     *house
		b     *browser
		state string
	}
	cookieOf := func(y try) *http.Cookie { return y.b.jar[flowName(y.state, true)] }
	for name, c := range map[string]struct {
		do     func(try) answer
		status int
		reason iam.Reason
		text   string
	}{
		"in another browser": {func(y try) answer { return y.h.browser().callback(y.state) }, 400, ReasonFlowUnknown, "not begun in this browser"},
		"in another browser that has a flow too": {func(y try) answer {
			other := y.h.browser()
			other.begin("/oidc/login")
			return other.callback(y.state)
		}, 400, ReasonFlowUnknown, "not begun"},
		"used again": {func(y try) answer {
			y.b.callback(y.state)
			y.b.jar = map[string]*http.Cookie{}
			return y.b.callback(y.state)
		}, 400, ReasonFlowUnknown, "not begun"},
		"used again with a copy of the cookie": {func(y try) answer {
			copied := cookieOf(y)
			y.b.callback(y.state)
			y.b.jar = map[string]*http.Cookie{copied.Name: copied}
			return y.b.callback(y.state)
		}, 400, ReasonFlowUsed, "used already"},
		"after eleven minutes": {func(y try) answer {
			y.h.clock = y.h.clock.Add(11 * time.Minute)
			return y.b.callback(y.state)
		}, 400, ReasonFlowUnknown, "ten minutes"},
		"with a flow from the future": {func(y try) answer {
			y.h.clock = y.h.clock.Add(-2 * time.Minute)
			return y.b.callback(y.state)
		}, 400, ReasonFlowUnknown, "not begun"},
		"with another tab's state": {func(y try) answer {
			second := y.b.begin("/oidc/login")
			y.b.jar[flowName(y.state, true)].Value = y.b.jar[flowName(second, true)].Value
			return y.b.callback(y.state)
		}, 400, ReasonFlowUnknown, "not begun"},
		"with a changed cookie": {func(y try) answer {
			c := cookieOf(y)
			c.Value = c.Value[:len(c.Value)-2] + "AA"
			return y.b.callback(y.state)
		}, 400, ReasonFlowUnknown, "not begun"},
		"with two cookies of the name": {func(y try) answer {
			return y.b.send(http.MethodGet, "/oidc/callback?code=c&state="+y.state, "", func(r *http.Request) {
				r.Header.Add("Cookie", flowName(y.state, true)+"=planted")
			})
		}, 400, ReasonFlowUnknown, "not begun"},
		"on another host of ours": {func(y try) answer {
			y.b.origin = "https://other.acme.test"
			return y.b.callback(y.state)
		}, 400, ReasonFlowUnknown, "not begun"},
		"without a state": {func(y try) answer { return y.b.get("/oidc/callback?code=c") }, 400, oidc.ReasonAnswerMalformed, "no answer of the sign-in service"},
		"with two states": {func(y try) answer {
			return y.b.get("/oidc/callback?code=c&state=" + y.state + "&state=x")
		}, 400, oidc.ReasonAnswerMalformed, "no answer"},
		"with a token in the address": {func(y try) answer {
			return y.b.get("/oidc/callback?code=c&id_token=a.b.c&state=" + y.state)
		}, 400, oidc.ReasonAnswerMalformed, "no answer"},
		"posted": {func(y try) answer {
			return y.b.post("/oidc/callback", url.Values{"code": {"c"}, "state": {y.state}})
		}, 400, oidc.ReasonAnswerMalformed, "no answer"},
		"refused by the provider, with a script": {func(y try) answer {
			y.h.provider.finish = func(_ *oidc.Flow, a oidc.Answer) (*identity.Identity, error) {
				return nil, &iam.Error{Kind: iam.KindDenied, Reason: oidc.ReasonAccessDenied, Message: a.ErrorDescription, Err: errors.New(a.ErrorDescription)}
			}
			return y.b.get("/oidc/callback?error=access_denied&error_description=%3Cscript%3Eevil&state=" + y.state)
		}, 403, oidc.ReasonAccessDenied, "does not let you in"},
		"a bad signature": {func(y try) answer {
			y.h.provider.finish = func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) {
				return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: "bad_signature", Message: "evil", Err: errors.New("evil")}
			}
			return y.b.callback(y.state)
		}, 400, "bad_signature", "does not prove who you are"},
		"the provider is away": {func(y try) answer {
			y.h.provider.finish = func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) {
				return nil, &iam.Error{Kind: iam.KindUnavailable, Reason: oidc.ReasonUnavailable, RetryAfter: 7 * time.Second, Err: errors.New("evil")}
			}
			return y.b.callback(y.state)
		}, 503, oidc.ReasonUnavailable, "cannot be reached"},
		"the store is away": {func(y try) answer {
			y.h.store.away.Store(true)
			defer y.h.store.away.Store(false)
			return y.b.callback(y.state)
		}, 503, "unavailable", "Try again soon"},
		"a bug": {func(y try) answer {
			y.h.provider.finish = func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) { return nil, errors.New("evil") }
			return y.b.callback(y.state)
		}, 500, "", "request id"},
		"an unverified address": {func(y try) answer {
			y.h.provider.finish = func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) {
				id := person("alice")
				id.EmailVerified = identity.VerifiedFalse
				return id, nil
			}
			return y.b.callback(y.state)
		}, 403, directory.ReasonEmailUnverified, "not verified"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, func(c *Config) { c.Hosts = append(c.Hosts, "other.acme.test") })
			b := h.browser()
			y := try{h, b, b.begin("/oidc/login")}
			before := 0
			if strings.HasPrefix(name, "used again") {
				before = 1
			}
			a := c.do(y)
			if a.Code != c.status || a.location() != "" || !strings.Contains(a.Body.String(), c.text) {
				t.Errorf("%d to %q: %s", a.Code, a.location(), a.Body)
			}
			if n := h.sessions(); n != before {
				t.Errorf("%d sessions", n)
			}
			for _, k := range a.given {
				if k.Name == session.NameHTTPS {
					t.Errorf("a session was given: %v", k)
				}
			}
			if e := h.last(); e.Action != ActionRefused || e.Reason != c.reason || e.Method != session.MethodOIDC {
				t.Errorf("reported %+v", e)
			}
			for _, bad := range []string{"<script", "evil"} {
				if strings.Contains(a.Body.String(), bad) {
					t.Errorf("the page says %q", bad)
				}
			}
			if strings.Contains(a.Body.String(), "http-equiv") || a.Header().Get("Refresh") != "" {
				t.Error("it tries again by itself")
			}
			if (a.Code == 503) != (a.Header().Get("Retry-After") != "") {
				t.Errorf("Retry-After %q", a.Header().Get("Retry-After"))
			}
			pageHeaders(t, a)
		})
	}
}

// pageHeaders asserts what every page has (O22).
func pageHeaders(t *testing.T, a answer) {
	t.Helper()
	csp := a.Header().Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'", "form-action "} {
		if !strings.Contains(csp, part) {
			t.Errorf("policy %q has no %s", csp, part)
		}
	}
	if strings.Contains(csp, "unsafe") || a.Header().Get("Referrer-Policy") != "no-referrer" || a.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", a.Header())
	}
}

func TestTabsDoNotDisturbEachOther(t *testing.T) { // O01
	h := newHouse(t, nil)
	b := h.browser()
	first, second := b.begin("/oidc/login?return_to=/first"), b.begin("/oidc/login?return_to=/second")
	if a := b.callback(first); a.location() != "/first" {
		t.Errorf("to %s", a.location())
	}
	if a := b.callback(second); a.location() != "/second" {
		t.Errorf("to %s", a.location())
	}
	if n := h.sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestStrangersStoreNothing: whatever somebody sends who proves nothing, nothing of it is kept.
func TestStrangersStoreNothing(t *testing.T) { // D02
	h := withPasswords(t, true)
	h.provider.finish = func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) {
		return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: "bad_signature"}
	}
	h.provider.logout = func(string) (oidc.Logout, error) {
		return oidc.Logout{}, &iam.Error{Kind: iam.KindInvalid, Reason: "bad_signature"}
	}
	before := h.store.commits.Load()
	for i := range 200 {
		b := h.browser()
		b.callback(b.begin("/oidc/login?with=provider&return_to=/" + strings.Repeat("a", i)))
		b.callback("made-up")
		b.password("nobody-"+strconv.Itoa(i), "wrong")
		b.post("/oidc/backchannel-logout", url.Values{"logout_token": {"a.b.c"}})
		b.get("/logout?iss=" + url.QueryEscape(idp) + "&sid=made-up-" + strconv.Itoa(i))
		b.post("/logout", nil)
		b.post("/authorize", url.Values{"form": {"create"}, "name": {"x"}})
	}
	if n := h.store.commits.Load() - before; n != 0 || len(h.unfinished) != 0 {
		t.Errorf("%d commits, %d logout tokens", n, len(h.unfinished))
	}
}

// TestAnotherNodeFinishes: a sign-in that one node, or one configuration, began is finished by another with
// the same master key, and by none with another.
func TestAnotherNodeFinishes(t *testing.T) {
	h := newHouse(t, nil)
	first := h.Login
	for name, key := range map[string]byte{"the same key": 3, "another key": 4} {
		h.Login = first
		b := h.browser()
		state := b.begin("/oidc/login?return_to=/acme/x")
		c := first.Config
		c.SealKey = [32]byte{key}
		var err error
		h.Login, err = New(c)
		h.ok(err)
		a := b.callback(state)
		if good := key == 3; good != (a.Code == http.StatusSeeOther && a.location() == "/acme/x") || good != b.signedIn() {
			t.Errorf("%s: %d to %q", name, a.Code, a.location())
		}
	}
}

func TestABrowserHasFiveFlowsAtMost(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser()
	b.jar["__Host-wandb-gateway-flow-planted"] = &http.Cookie{Name: "__Host-wandb-gateway-flow-planted", Value: "x"}
	var states []string
	for range 9 {
		states = append(states, b.begin("/oidc/login"))
		h.clock = h.clock.Add(time.Second)
		if len(b.jar) > 5 {
			t.Fatalf("%d cookies", len(b.jar))
		}
	}
	if a := b.callback(states[0]); a.Code != http.StatusBadRequest {
		t.Errorf("the oldest: %d", a.Code)
	}
	if a := b.callback(states[8]); a.Code != http.StatusSeeOther {
		t.Errorf("the latest: %d", a.Code)
	}
}

// TestTwoSessionCookiesLeadNowhere: a browser with a planted cookie beside its own is told so, and not sent
// to the provider and back until it gives up.
func TestTwoSessionCookiesLeadNowhere(t *testing.T) { // O12
	h := withPasswords(t, true)
	for _, target := range []string{"/oidc/login", "/oidc/login?with=provider"} {
		a := h.browser().send(http.MethodGet, target, "", func(r *http.Request) {
			r.Header["Cookie"] = []string{session.NameHTTPS + "=one; " + session.NameHTTPS + "=two"}
		})
		if a.Code != http.StatusBadRequest || len(a.given) != 0 || !strings.Contains(a.Body.String(), "two cookies") {
			t.Errorf("%s: %d %s", target, a.Code, a.Body)
		}
	}
}

func TestEverySignInIsANewSession(t *testing.T) { // O09
	h := newHouse(t, nil)
	b := h.browser()
	b.jar[session.NameHTTPS] = &http.Cookie{Name: session.NameHTTPS, Value: strings.Repeat("A", 43)} // chosen by somebody else
	b.signIn("/oidc/login")
	first := b.cookie()
	if first.Reveal() == strings.Repeat("A", 43) {
		t.Fatal("the chosen session was taken")
	}
	b.signIn("/oidc/login")
	if second := b.cookie(); second.Reveal() == first.Reveal() || h.good(first) || !h.good(second) || h.sessions() != 1 {
		t.Errorf("the old session lives on; %d sessions", h.sessions())
	}
	// The answer that another site posts comes without the session's cookie.
	old := b.cookie()
	h.provider.method = oidc.Implicit
	state := b.begin("/oidc/login")
	delete(b.jar, session.NameHTTPS)
	b.post("/oidc/callback", url.Values{"id_token": {"a.b.c"}, "state": {state}})
	if h.good(old) || !b.signedIn() || h.sessions() != 1 {
		t.Errorf("the old session lives on; %d sessions", h.sessions())
	}
}

func TestProviderAwayAtTheDoor(t *testing.T) { // O17
	c, err := oidc.New(oidc.Config{Issuer: "http://127.0.0.1:1", ClientID: "wandb", Method: oidc.PKCE})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	h := newHouse(t, func(cfg *Config) { cfg.Provider = c })
	a := h.browser().get("/oidc/login")
	if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" || !strings.Contains(a.Body.String(), "API keys and browsers that are signed in go on working") {
		t.Errorf("%d %v %s", a.Code, a.Header(), a.Body)
	}
	if len(a.given) != 0 || h.last().Reason != oidc.ReasonUnavailable {
		t.Errorf("%v, %+v", a.given, h.last())
	}
	pageHeaders(t, a)
}

// TestPagesLeadToSignInWhereItLeadsOn: a page that needs a person says itself why nobody can sign in, as the
// door would.
func TestPagesLeadToSignInWhereItLeadsOn(t *testing.T) {
	away := func(h *house) {
		h.provider.away = &iam.Error{Kind: iam.KindUnavailable, Reason: oidc.ReasonUnavailable, RetryAfter: 7 * time.Second, Err: errors.New("dial")}
	}
	restore := func() *house { return newHouse(t, func(c *Config) { c.Restore = iam.NewSecret("temporary") }) }
	for name, c := range map[string]struct {
		house  *house
		change func(*house)
		host   string
		cookie string
		want   iam.Reason // "" if somebody can sign in
	}{
		"a provider":                     {newHouse(t, nil), nil, host, "", ""},
		"one session":                    {newHouse(t, nil), nil, host, session.NameHTTPS + "=one", ""},
		"two sessions":                   {newHouse(t, nil), nil, host, session.NameHTTPS + "=one; " + session.NameHTTPS + "=two", session.ReasonTwo},
		"another host":                   {newHouse(t, nil), nil, "evil.test", "", problem.ReasonMisdirected},
		"a provider that is away":        {newHouse(t, nil), away, host, "", oidc.ReasonUnavailable},
		"one beside a directory":         {withPasswords(t, true), away, host, "", ""},
		"another host with passwords":    {withPasswords(t, false), nil, "evil.test", "", problem.ReasonMisdirected},
		"two sessions and the temporary": {restore(), nil, host, session.NameHTTPS + "=one; " + session.NameHTTPS + "=two", session.ReasonTwo},
		"the temporary password":         {restore(), away, host, "", ""},
	} {
		if c.change != nil {
			c.change(c.house)
		}
		r := httptest.NewRequest(http.MethodGet, "https://"+c.host+"/acme/x", nil)
		r.Header.Set("Cookie", c.cookie)
		if err := c.house.Ready(r); (err != nil) != (c.want != "") || iam.ReasonOf(err) != c.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedirectURIComesFromTheConfiguration(t *testing.T) { // O20
	h := newHouse(t, func(c *Config) { c.Hosts = []string{host, "Second.acme.test:8443"} })
	for asked, want := range map[string]string{
		host: origin, "WANDB.acme.test": origin, host + ":443": origin, "second.acme.test:8443": "https://Second.acme.test:8443",
		"evil.example": "", "second.acme.test": "", host + ":8443": "", host + ".evil.example": "", "": "", host + "@evil.example": "", host + ".": "",
	} {
		b := h.browser()
		a := b.send(http.MethodGet, "/oidc/login", "", func(r *http.Request) {
			r.Host = asked
			r.Header.Set("X-Forwarded-Host", "evil.example")
			r.Header.Set("X-Forwarded-Proto", "javascript")
		})
		if want == "" {
			if a.Code != http.StatusMisdirectedRequest || len(a.given) != 0 {
				t.Errorf("%q: %d %s", asked, a.Code, a.location())
			}
			continue
		}
		var f heldFlow
		if len(a.given) != 1 || !h.seal.open(a.given[0].Name, a.given[0].Value, &f) || f.Flow.RedirectURI != want+"/oidc/callback" {
			t.Errorf("%q: %+v", asked, f.Flow.RedirectURI)
		}
	}
	for _, bad := range []string{"https://a.test", "a.test/x", "a b", "", "user@a.test", "a.test?x"} {
		c := h.Config
		c.Hosts = []string{bad}
		if _, err := New(c); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// TestHostBesideTheSites: the host of the variable HOST, and beside it the sites' own.
func TestHostBesideTheSites(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Hosts = []string{host + ":443"}
		c.Host = func(r *http.Request) (string, bool) { return r.Host, r.Host == "site.acme.test" }
	})
	for asked, want := range map[string]string{
		host: origin + ":443", "WANDB.acme.test:443": origin + ":443", "site.acme.test": "https://site.acme.test", "evil.example": "", host + ":8443": "",
	} {
		r := httptest.NewRequest(http.MethodGet, origin+"/", nil)
		r.Host = asked
		if got := h.origin(r); got != want {
			t.Errorf("%q is %q, want %q", asked, got, want)
		}
	}
}

func TestOnlyPageLoadsBegin(t *testing.T) { // O21, O24
	h := newHouse(t, nil)
	for name, change := range map[string]func(*http.Request){
		"picture":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "image") },
		"frame":     func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "iframe") },
		"script":    func(r *http.Request) { r.Header.Set("Sec-Fetch-Mode", "cors") },
		"websocket": func(r *http.Request) { r.Header.Set("Upgrade", "websocket") },
	} {
		for _, target := range []string{"/oidc/login", "/authorize"} {
			a := h.browser().send(http.MethodGet, target, "", change)
			if a.Code != http.StatusUnauthorized || len(a.given) != 0 || a.Header().Get("Www-Authenticate") == "" || a.Header().Get("Content-Type") != "application/json" {
				t.Errorf("%s of %s: %d %v", name, target, a.Code, a.Header())
			}
		}
	}
	a := h.browser().send(http.MethodGet, "/authorize", "", func(r *http.Request) { r.Header.Set("Accept", "*/*") })
	if a.Code != http.StatusUnauthorized {
		t.Errorf("a program: %d", a.Code)
	}
	for target, methods := range map[string][]string{
		"/oidc/login": {"PUT", "DELETE", "OPTIONS"}, "/oidc/callback": {"PUT", "HEAD"}, "/logout": {"PUT"}, "/authorize": {"PATCH"}, "/oidc/backchannel-logout": {"GET", "PUT"},
	} {
		for _, method := range methods {
			if a := h.browser().send(method, target, "", nil); a.Code != http.StatusMethodNotAllowed || a.Header().Get("Allow") == "" {
				t.Errorf("%s %s: %d", method, target, a.Code)
			}
		}
	}
}

func TestWhoIsDeactivatedIsSignedOut(t *testing.T) {
	h := newHouse(t, nil)
	h.Login.Directory.CreateUser(context.Background(), directory.NewUser{Username: "root", Role: iam.OrganizationAdmin})
	b := h.browser()
	b.signIn("/oidc/login")
	id, err := h.Login.Directory.FindUser(context.Background(), "alice")
	h.ok(err)
	off, on := false, true
	_, err = h.Login.Directory.SetUser(context.Background(), id, directory.UserChange{Active: &off})
	h.ok(err)
	if b.signedIn() {
		t.Error("the session counts")
	}
	if a := b.callback(b.begin("/oidc/login")); a.Code != http.StatusForbidden || h.last().Reason != directory.ReasonDeactivated {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	_, err = h.Login.Directory.SetUser(context.Background(), id, directory.UserChange{Active: &on})
	h.ok(err)
	if b.signedIn() {
		t.Error("the session came back")
	}
}

func TestSettingsReachTheDirectory(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Settings = Settings{OIDCGroups: true, ForceNames: true, Provision: true} })
	_, err := h.Login.Directory.CreateTeam(context.Background(), "vision")
	h.ok(err)
	h.provider.finish = func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) {
		id := person("alice")
		id.Username, id.Name, id.Groups, id.GroupsKnown = "asmith", "Alice Smith", []string{"vision", "none\n"}, true
		return id, nil
	}
	h.browser().signIn("/oidc/login")
	if e := h.last(); e.Username != "asmith" || len(e.Joined) != 1 || e.Joined[0] != "vision" || len(e.Unknown) != 1 || e.Unknown[0] != "none?" {
		t.Errorf("%+v", e)
	}
	h = newHouse(t, func(c *Config) { c.Settings = Settings{} })
	_, err = h.Login.Directory.CreateUser(context.Background(), directory.NewUser{Username: "boss", Role: iam.OrganizationAdmin})
	h.ok(err) // so that alice is not the first
	a := h.browser()
	if got := a.callback(a.begin("/oidc/login")); got.Code != http.StatusForbidden || h.last().Reason != directory.ReasonNotProvisioned || !strings.Contains(got.Body.String(), "alice@acme.test") {
		t.Errorf("%d %s", got.Code, got.Body)
	}
}

// TestGroupsFollowTheirOwnSetting: a provider's groups are one setting (ENV-3), a directory's another (ENV-5).
func TestGroupsFollowTheirOwnSetting(t *testing.T) {
	for _, c := range []struct {
		settings           Settings
		provider, password []string // the teams that a newcomer joins
	}{
		{Settings{Provision: true}, nil, nil},
		{Settings{Provision: true, OIDCGroups: true}, []string{"vision"}, nil},
		{Settings{Provision: true, LDAPGroups: true}, nil, []string{"speech"}},
	} {
		h := withPasswords(t, true)
		h.Settings = c.settings
		for _, team := range []string{"vision", "speech"} {
			_, err := h.Login.Directory.CreateTeam(context.Background(), team)
			h.ok(err)
		}
		h.provider.finish = func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) {
			id := person("alice")
			id.Groups, id.GroupsKnown = []string{"vision"}, true
			return id, nil
		}
		h.passwords.groups = []string{"speech"}
		h.browser().signIn("/oidc/login?with=provider")
		if e := h.last(); e.Method != session.MethodOIDC || !slices.Equal(e.Joined, c.provider) {
			t.Errorf("%+v, at the provider: %+v", c.settings, e)
		}
		h.browser().password("bob", "right")
		if e := h.last(); e.Method != session.MethodLDAP || !e.Created || !slices.Equal(e.Joined, c.password) {
			t.Errorf("%+v, by password: %+v", c.settings, e)
		}
	}
}

func FuzzFlowCookie(f *testing.F) {
	s := newSeal([32]byte{3})
	name := flowName("state", true)
	good, _ := s.close(name, heldFlow{Flow: oidc.Flow{State: "state", ReturnTo: "/"}, Old: "0123456789abcdef"})
	f.Add(name, good)
	f.Add(name, "")
	f.Add(flowName("other", true), good)
	f.Add(name, good+"=")
	f.Fuzz(func(t *testing.T, as, value string) {
		var held heldFlow
		if s.open(as, value, &held) && (as != name || held.Flow.State != "state" || held.Old != "0123456789abcdef") {
			t.Fatalf("%q opened as %q: %+v", value, as, held.Old)
		}
	})
}
