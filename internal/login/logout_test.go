package login

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

func TestSignOut(t *testing.T) { // O14
	h := newHouse(t, nil)
	b := h.browser()
	if a := b.get("/logout"); a.Code != http.StatusOK || !strings.Contains(a.Body.String(), "signed out") {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	b.signIn("/oidc/login")
	old := b.cookie()
	a := b.get("/logout")
	if a.Code != http.StatusOK || !strings.Contains(a.Body.String(), `action="/logout"`) || !b.signedIn() {
		t.Errorf("a GET signs out: %d %s", a.Code, a.Body)
	}
	pageHeaders(t, a)
	for name, change := range map[string]func(*http.Request){
		"cross-site": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Origin", "https://evil.example")
		},
		"same-site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"by nobody": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Del("Origin") },
	} {
		if a := b.send(http.MethodPost, "/logout", "", change); a.Code != http.StatusForbidden || !b.signedIn() {
			t.Errorf("%s: %d", name, a.Code)
		}
	}
	a = b.post("/logout?return_to=https://evil.example", url.Values{"post_logout_redirect_uri": {"https://evil.example"}})
	if a.Code != http.StatusSeeOther || a.location() != "/logout" || h.good(old) || b.jar[session.NameHTTPS] != nil || h.sessions() != 0 {
		t.Errorf("%d to %s; %d sessions", a.Code, a.location(), h.sessions())
	}
	if e := h.last(); e.Action != ActionSignOut || e.Username != "alice" || e.Sessions != 1 {
		t.Errorf("%+v", e)
	}
	if a := b.post("/logout", nil); a.Code != http.StatusSeeOther || a.location() != "/logout" {
		t.Errorf("again: %d", a.Code)
	}
}

func TestSignOutAtTheProvider(t *testing.T) {
	h := newHouse(t, nil)
	h.provider.signsOut = idp + "/end"
	b := h.browser()
	b.signIn("/oidc/login")
	if csp := b.get("/logout").Header().Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' https:;") {
		t.Errorf("the browser would stop at %s", csp)
	}
	a := b.post("/logout", nil)
	u, err := url.Parse(a.location())
	if err != nil || u.Host != "login.acme.test" || u.Query().Get("id_token_hint") != "id-token-alice" || u.Query().Get("post_logout_redirect_uri") != origin+"/logout" {
		t.Errorf("%d to %s", a.Code, a.location())
	}
	if b.signedIn() || h.sessions() != 0 {
		t.Error("still signed in")
	}
	// Who signed in otherwise has nothing to end there.
	h = withPasswords(t, true)
	h.provider.signsOut = idp + "/end"
	b = h.browser()
	b.password("alice", "right")
	if a := b.post("/logout", nil); a.location() != "/logout" {
		t.Errorf("to %s", a.location())
	}
}

func TestSignOutWhileTheStoreIsAway(t *testing.T) { // O14
	h := newHouse(t, nil)
	b := h.browser()
	b.signIn("/oidc/login")
	h.store.away.Store(true)
	a := b.post("/logout", nil)
	if a.Code != http.StatusServiceUnavailable || b.jar[session.NameHTTPS] == nil {
		t.Errorf("%d, %v", a.Code, b.jar)
	}
	h.store.away.Store(false)
	if a := b.post("/logout", nil); a.Code != http.StatusSeeOther || h.sessions() != 0 {
		t.Errorf("%d; %d sessions", a.Code, h.sessions())
	}
}

func TestFrontChannelLogout(t *testing.T) { // O16
	h := newHouse(t, nil)
	b := h.browser()
	b.signIn("/oidc/login")
	nobody := h.browser() // in a frame of another site the browser sends no cookie
	framed := func(r *http.Request) { r.Header.Set("Sec-Fetch-Dest", "iframe") }
	for _, query := range []string{
		"iss=https://evil.example&sid=sid-alice", "iss=" + idp + "&sid=sid-bob", "iss=" + idp + "/&sid=sid-alice", "iss=" + idp + "&sid=",
		"iss=" + idp, "sid=sid-alice", "iss=" + idp + "&sid=sid-alice&sid=x", "iss=" + idp + "&iss=x&sid=sid-alice", "iss=" + idp + "&sub=sub-alice", "%zz&iss=" + idp + "&sid=sid-alice",
	} {
		if a := nobody.send(http.MethodGet, "/logout?"+query, "", framed); a.Code != http.StatusOK || !b.signedIn() {
			t.Errorf("%s: %d, signed in %v", query, a.Code, b.signedIn())
		}
	}
	if a := nobody.send(http.MethodHead, "/logout?iss="+idp+"&sid=sid-alice", "", framed); a.Code != http.StatusOK || !b.signedIn() {
		t.Error("a HEAD ended it")
	}
	h.store.away.Store(true)
	if a := nobody.send(http.MethodGet, "/logout?iss="+idp+"&sid=sid-alice", "", framed); a.Code != http.StatusServiceUnavailable {
		t.Errorf("store away: %d", a.Code)
	}
	h.store.away.Store(false)
	a := nobody.send(http.MethodGet, "/logout?iss="+idp+"&sid=sid-alice", "", framed)
	if csp := a.Header().Get("Content-Security-Policy"); a.Code != http.StatusOK || strings.Contains(csp, "frame-ancestors") || a.Header().Get("X-Frame-Options") != "" {
		t.Errorf("%d %v", a.Code, a.Header())
	}
	if b.signedIn() || h.last().Action != ActionFrontChannel {
		t.Error("still signed in")
	}
}

func TestBackChannelLogout(t *testing.T) { // O15
	h := newHouse(t, nil)
	bad := errors.New("inner")
	h.provider.logout = func(token string) (oidc.Logout, error) {
		l := oidc.Logout{Issuer: idp, ID: token, Issued: h.clock, Expires: h.clock.Add(time.Hour)}
		switch {
		case strings.HasPrefix(token, "sid"):
			l.SessionID = "sid-alice"
		case strings.HasPrefix(token, "sub"):
			l.Subject = "sub-alice"
		case token == "away":
			return l, &iam.Error{Kind: iam.KindUnavailable, RetryAfter: 3 * time.Second, Err: bad}
		default:
			return l, &iam.Error{Kind: iam.KindInvalid, Reason: "bad_signature", Err: bad}
		}
		return l, nil
	}
	provider := h.browser()
	token := func(token string) answer {
		t.Helper()
		return provider.send(http.MethodPost, "/oidc/backchannel-logout", url.Values{"logout_token": {token}}.Encode(), func(r *http.Request) {
			r.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
			r.Host = "gateway.internal"
		})
	}
	b := h.browser()
	for _, id := range []string{"sid-1", "sub-1"} {
		b.signIn("/oidc/login")
		a := token(id)
		if a.Code != http.StatusOK || a.Body.Len() != 0 || b.signedIn() {
			t.Errorf("%s: %d %q", id, a.Code, a.Body)
		}
		if e := h.last(); e.Action != ActionBackChannel || e.Sessions != 1 || e.Issuer != idp {
			t.Errorf("%+v", e)
		}
	}
	b.signIn("/oidc/login")
	for name, c := range map[string]struct {
		do     func() answer
		status int
		reason iam.Reason
	}{
		"replayed": {func() answer { return token("sid-1") }, 400, ReasonReplayed},
		"forged":   {func() answer { return token("forged") }, 400, "bad_signature"},
		"away":     {func() answer { return token("away") }, 503, ""},
		"no token": {func() answer { return provider.post("/oidc/backchannel-logout", url.Values{"x": {"y"}}) }, 400, oidc.ReasonAnswerMalformed},
		"two tokens": {func() answer {
			return provider.post("/oidc/backchannel-logout", url.Values{"logout_token": {"sid-8", "sid-9"}})
		}, 400, oidc.ReasonAnswerMalformed},
		"in the query": {func() answer { return provider.post("/oidc/backchannel-logout?logout_token=sid-9", nil) }, 400, oidc.ReasonAnswerMalformed},
		"10 MB": {func() answer {
			return provider.post("/oidc/backchannel-logout", url.Values{"logout_token": {strings.Repeat("x", 10<<20)}})
		}, 400, ""},
		"as JSON": {func() answer {
			return provider.send(http.MethodPost, "/oidc/backchannel-logout", `{"logout_token":"sid-9"}`, func(r *http.Request) { r.Header.Set("Content-Type", "application/json") })
		}, 400, oidc.ReasonAnswerMalformed},
	} {
		a := c.do()
		if a.Code != c.status || !b.signedIn() || a.Header().Get("Content-Type") != "application/json" || !strings.Contains(a.Body.String(), `"error":"invalid_request"`) || strings.Contains(a.Body.String(), "inner") {
			t.Errorf("%s: %d %v %s", name, a.Code, a.Header(), a.Body)
		}
		if e := h.last(); e.Action != ActionLogoutRefused || c.reason != "" && e.Reason != c.reason {
			t.Errorf("%s: %+v", name, e)
		}
		if (a.Code == 503) != (a.Header().Get("Retry-After") != "") {
			t.Errorf("%s: Retry-After %q", name, a.Header().Get("Retry-After"))
		}
	}
}

// TestLogoutTokenIsTriedAgain: a token that could not be carried out counts when it comes again.
func TestLogoutTokenIsTriedAgain(t *testing.T) {
	h := newHouse(t, nil)
	h.provider.logout = func(token string) (oidc.Logout, error) {
		return oidc.Logout{Issuer: idp, ID: token, SessionID: "sid-alice", Expires: h.clock.Add(time.Hour)}, nil
	}
	b := h.browser()
	b.signIn("/oidc/login")
	send := func() answer { return b.post("/oidc/backchannel-logout", url.Values{"logout_token": {"one"}}) }
	h.store.away.Store(true)
	if a := send(); a.Code != http.StatusServiceUnavailable {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	h.store.away.Store(false)
	if a := send(); a.Code != http.StatusOK || b.signedIn() {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if a := send(); a.Code != http.StatusBadRequest {
		t.Errorf("replayed: %d", a.Code)
	}
}

func TestBackChannelWithoutAProvider(t *testing.T) {
	h := newHouse(t, func(c *Config) { c.Provider = nil })
	if a := h.browser().post("/oidc/backchannel-logout", nil); a.Code != http.StatusNotFound {
		t.Errorf("%d", a.Code)
	}
}
