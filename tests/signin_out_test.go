package tests

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// copied sends the cookie that somebody copied from a browser.
func (s *signInSite) copied(cookie string) answer {
	return s.send("GET", "/page", "", "", http.Header{"Cookie": {"wandb-gateway=" + cookie}})
}

// TestSignOut: the button ends the session here and leads to where the authority ends its own.
func TestSignOut(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	v := site.visitor(t).signIn("alice", nil)
	cookie := v.session()

	if a := v.load("/logout"); a.status != http.StatusOK || !strings.Contains(a.body, "<button>Sign out</button>") || !strings.Contains(a.header.Get("Content-Security-Policy"), "form-action 'self'") {
		t.Errorf("the page: %d %s %.300s", a.status, a.header.Get("Content-Security-Policy"), a.body)
	}
	v.load("/logout?post_logout_redirect_uri=https://evil.test&iss=" + url.QueryEscape(site.authority.name))
	v.mustBe("after looking at the page", "alice")
	for name, h := range map[string]http.Header{ // O14
		"another site":      {"Origin": {"https://evil.test"}, "Sec-Fetch-Site": {"cross-site"}},
		"nobody says where": {},
		"a picture":         {"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"no-cors"}, "Sec-Fetch-Dest": {"image"}},
	} {
		if a := v.send("POST", "/logout", "", h); a.status != http.StatusForbidden {
			t.Errorf("%s signs her out: %d", name, a.status)
		}
	}
	v.mustBe("after other sites tried", "alice")

	a := v.submit("/logout", url.Values{"post_logout_redirect_uri": {"https://evil.test"}})
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), site.authority.URL+signedOutAt) {
		t.Fatalf("signing out: %d to %q", a.status, a.header.Get("Location"))
	}
	_, hint := decodeToken(t, to.Query().Get("id_token_hint"))
	if q := to.Query(); q.Get("client_id") != gatewayClient || q.Get("post_logout_redirect_uri") != site.url+"/logout" || hint["sub"] != "sub-alice" {
		t.Errorf("the authority is asked %v", q)
	}
	if c := a.given()["wandb-gateway"]; c == nil || c.MaxAge >= 0 || v.session() != "" {
		t.Errorf("the cookie stays: %v", a.header["Set-Cookie"])
	}
	if a := site.copied(cookie); a.status != http.StatusUnauthorized {
		t.Errorf("a copy of the cookie is answered %d", a.status)
	}
	if a := v.load("/logout"); a.status != http.StatusOK || strings.Contains(a.body, "<form") {
		t.Errorf("afterwards: %d %.300s", a.status, a.body)
	}
	if a := site.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("her key is answered %d", a.status)
	}

	v.signIn("alice", nil)
	cookie = v.session()
	site.authority.set(func() { site.authority.down = true })
	if a := v.submit("/logout", url.Values{}); a.status != http.StatusSeeOther {
		t.Errorf("while the authority is down: %d %.300s", a.status, a.body)
	}
	if a := site.copied(cookie); a.status != http.StatusUnauthorized {
		t.Errorf("a session that ended while the authority was down is answered %d", a.status)
	}
}

// TestFrontChannelLogout: a frame of the authority's, in which no cookie is sent, ends the session
// whose id it knows.
func TestFrontChannelLogout(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "implicit", nil).withAcme()
	v, bob := site.visitor(t).signIn("alice", nil), site.visitor(t).signIn("bob", nil)
	frame := func(iss, sid string) answer {
		return site.send("GET", "/logout?"+url.Values{"iss": {iss}, "sid": {sid}}.Encode(), "", "", http.Header{
			"Accept": {"text/html"}, "Sec-Fetch-Dest": {"iframe"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Site": {"cross-site"},
		})
	}
	for _, wrong := range [][2]string{{site.authority.name + "/", "sid-alice"}, {"https://evil.test", "sid-alice"}, {site.authority.name, "sid-Alice"}, {site.authority.name, "*"}, {site.authority.name, "sid-alice\x00"}} {
		if a := frame(wrong[0], wrong[1]); a.status >= 500 {
			t.Errorf("%q: %d", wrong, a.status)
		}
	}
	v.mustBe("after wrong ids", "alice")
	if a := frame(site.authority.name, "sid-alice"); a.status != http.StatusOK || a.header.Get("X-Frame-Options") != "" || strings.Contains(a.header.Get("Content-Security-Policy"), "frame-ancestors") || a.header.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", a.status, a.header)
	}
	v.mustBe("after the authority signed her out", "")
	bob.mustBe("then", "bob")
}

// logoutToken is what the authority says to end sessions, with changes; nil removes a claim.
func (a *authority) logoutToken(changes map[string]any) map[string]any {
	now := time.Now().Unix()
	return changed(map[string]any{
		"iss": a.name, "aud": gatewayClient, "iat": now, "exp": now + 120, "jti": rand.Text(), "sid": "sid-alice",
		"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
	}, changes)
}

// TestBackChannelLogout: a token for this, which is used once, ends sessions; nothing else does
// (threats O15).
func TestBackChannelLogout(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	a, k := site.authority, site.authority.key
	v, bob := site.visitor(t).signIn("alice", nil), site.visitor(t).signIn("bob", nil)
	foreign := newKey(t, "ES256", "k1")
	post := func(body string, more ...string) answer {
		h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return site.send("POST", "/oidc/backchannel-logout", "", body, h)
	}
	form := func(token string) string { return "logout_token=" + url.QueryEscape(token) }
	token := func(changes map[string]any) string { return k.token(a.logoutToken(changes)) }
	now := time.Now().Unix()
	unsigned := func(header string, claims map[string]any) string {
		return encode([]byte(header)) + "." + encode([]byte(toJSON(claims))) + "."
	}
	event := "http://schemas.openid.net/event/backchannel-logout"
	for name, attempt := range map[string]func() answer{
		"alg none":          func() answer { return post(form(unsigned(`{"alg":"none"}`, a.logoutToken(nil)))) },
		"alg None":          func() answer { return post(form(unsigned(`{"alg":"None","kid":"k1"}`, a.logoutToken(nil)))) },
		"another algorithm": func() answer { return post(form(foreign.token(a.logoutToken(nil)))) },
		"broken signature":  func() answer { return post(form(tampered(token(nil)))) },
		"wrong aud":         func() answer { return post(form(token(map[string]any{"aud": "other"}))) },
		"no aud":            func() answer { return post(form(token(map[string]any{"aud": nil}))) },
		"wrong iss":         func() answer { return post(form(token(map[string]any{"iss": a.name + "/"}))) },
		"no iss":            func() answer { return post(form(token(map[string]any{"iss": nil}))) },
		"no events":         func() answer { return post(form(token(map[string]any{"events": nil}))) },
		"wrong event": func() answer {
			return post(form(token(map[string]any{"events": map[string]any{event + "s": map[string]any{}}})))
		},
		"events no object":    func() answer { return post(form(token(map[string]any{"events": []string{event}}))) },
		"event no object":     func() answer { return post(form(token(map[string]any{"events": map[string]any{event: true}}))) },
		"with nonce":          func() answer { return post(form(token(map[string]any{"nonce": "n"}))) },
		"neither sub nor sid": func() answer { return post(form(token(map[string]any{"sid": nil}))) },
		"no iat":              func() answer { return post(form(token(map[string]any{"iat": nil}))) },
		"no jti":              func() answer { return post(form(token(map[string]any{"jti": nil}))) },
		"expired":             func() answer { return post(form(token(map[string]any{"exp": now - 120, "iat": now - 240}))) },
		"from the future":     func() answer { return post(form(token(map[string]any{"iat": now + 600, "exp": now + 900}))) },
		"of yesterday":        func() answer { return post(form(token(map[string]any{"iat": now - 86400}))) },
		"an ID token":         func() answer { return post(form(k.token(a.says("alice", url.Values{"nonce": {"n"}}, nil)))) },
		"nothing":             func() answer { return post("") },
		"no token":            func() answer { return post(form("")) },
		"two tokens":          func() answer { return post(form(token(nil)) + "&" + form(token(nil))) },
		"10 MB":               func() answer { return post(form(strings.Repeat("a", 10<<20))) },
		"JSON":                func() answer { return post(`{"logout_token":"`+token(nil)+`"}`, "Content-Type", "application/json") },
		"text":                func() answer { return post(form(token(nil)), "Content-Type", "text/plain") },
		"in the address": func() answer {
			return site.send("POST", "/oidc/backchannel-logout?"+form(token(nil)), "", "", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		},
		"GET": func() answer { return site.send("GET", "/oidc/backchannel-logout?"+form(token(nil)), "", "", nil) },
		"somebody else's session": func() answer {
			return post(form(foreign.token(a.logoutToken(map[string]any{"iss": "https://evil.test"}))))
		},
	} {
		got := attempt()
		want := http.StatusBadRequest
		if name == "GET" {
			want = http.StatusMethodNotAllowed
		}
		if got.status != want && !(name == "10 MB" && got.status == http.StatusRequestEntityTooLarge) || got.header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d %.200s", name, got.status, got.body)
		}
		v.mustBe("after "+name, "alice")
	}
	if n := len(site.signInEvents("logout_refused")); n < 25 {
		t.Errorf("the log has %d refusals", n)
	}

	good := token(nil)
	if got := post(form(good)); got.status != http.StatusOK || got.header.Get("Cache-Control") != "no-store" {
		t.Fatalf("a good token: %d %s", got.status, got.body)
	}
	v.mustBe("after the authority signed her out", "")
	bob.mustBe("then", "bob")
	v.signIn("alice", nil)
	if got := post(form(good)); got.status != http.StatusBadRequest {
		t.Errorf("the same token again: %d", got.status)
	}
	v.mustBe("after the replay", "alice")

	second := site.visitor(t).signIn("alice", map[string]any{"sid": "another"})
	if got := post(form(token(map[string]any{"sub": "sub-alice", "sid": "another"}))); got.status != http.StatusOK {
		t.Errorf("sub and sid: %d %s", got.status, got.body)
	}
	v.mustBe("after another of her sessions ended", "alice")
	second.mustBe("then", "")
	second.signIn("alice", map[string]any{"sid": nil})
	if got := post(form(k.headed(map[string]any{"typ": "logout+jwt"}, a.logoutToken(map[string]any{"sub": "sub-alice", "sid": nil})))); got.status != http.StatusOK {
		t.Errorf("sub alone: %d %s", got.status, got.body)
	}
	v.mustBe("after all of hers ended", "")
	second.mustBe("then", "")
	bob.mustBe("then", "bob")
	if got := post(form(token(map[string]any{"sub": "sub-nobody", "sid": nil}))); got.status != http.StatusOK {
		t.Errorf("a subject without sessions: %d %s", got.status, got.body)
	}
}

// tampered changes one bit of a token's signature.
func tampered(token string) string {
	head, signature := token[:strings.LastIndexByte(token, '.')+1], token[strings.LastIndexByte(token, '.')+1:]
	b, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		panic(fmt.Sprint("a signature that is none: ", err))
	}
	b[len(b)/2] ^= 1
	return head + encode(b)
}
