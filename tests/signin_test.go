package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// withAcme imports acme into the site.
func (s *signInSite) withAcme() *signInSite {
	s.importFile(acme)
	return s
}

// given returns the cookies that an answer gives, by name.
func (a answer) given() map[string]*http.Cookie {
	found := map[string]*http.Cookie{}
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		found[c.Name] = c
	}
	return found
}

// TestSignIn: a page leads to the authority and back to itself, byte for byte, by both methods, over
// http on loopback and over https; and what the browser sends then is known upstream by its person's
// name alone.
func TestSignIn(t *testing.T) {
	const page = "/vision/team/runs/abc?workspace=user-alice&a=%2F%2Fb%20c&d="
	for _, c := range []struct {
		name, method, host, secret string
		flow                       http.SameSite
	}{
		{"implicit", "implicit", "", "", http.SameSite(0)},
		{"pkce", "pkce", "", "", http.SameSiteLaxMode},
		{"implicit over https", "implicit", "wandb.localhost", "", http.SameSiteNoneMode},
		{"pkce with a secret over https", "pkce", "wandb.localhost", gatewaySecret, http.SameSiteLaxMode},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			site := startSignIn(t, c.method, func(conf *config) {
				conf.host = c.host
				if c.secret != "" {
					conf.env = append(conf.env, "GORILLA_OIDC_SECRET="+c.secret)
				}
			}).withAcme()
			*site.canaries = append(*site.canaries, gatewaySecret)
			v := site.visitor(t)

			a := v.load(page)
			if to := "/oidc/login?return_to=" + url.QueryEscape(page); a.status != http.StatusFound || a.header.Get("Location") != to || a.header.Get("Cache-Control") != "no-store" {
				t.Fatalf("the page is answered %d to %q (%s), want 302 to %q", a.status, a.header.Get("Location"), a.header.Get("Cache-Control"), to)
			}
			v.begin(a.header.Get("Location"))
			want := map[string]string{"client_id": gatewayClient, "redirect_uri": v.origin + "/oidc/callback", "scope": "openid profile email", "response_type": "code", "code_challenge_method": "S256"}
			if c.method == "implicit" {
				want["response_type"], want["response_mode"], want["code_challenge_method"] = "id_token", "form_post", ""
			}
			for name, value := range want {
				if got := v.asked.Get(name); got != value {
					t.Errorf("the authority is asked with %s %q, want %q", name, got, value)
				}
			}
			for _, name := range []string{"state", "nonce"} {
				if len(v.asked.Get(name)) < 22 {
					t.Errorf("%s %q can be guessed", name, v.asked.Get(name))
				}
			}
			prefix := ""
			if c.host != "" {
				prefix = "__Host-"
			}
			for name, value := range v.cookies() {
				if !strings.HasPrefix(name, prefix+"wandb-gateway-flow-") || strings.Contains(value, "vision") {
					t.Errorf("the flow's cookie is %s=%s", name, value)
				}
			}

			a = v.answered(site.authority.key.token(site.authority.says("alice", v.asked, nil)))
			if a.status != http.StatusSeeOther || a.header.Get("Location") != page {
				t.Fatalf("the callback is answered %d to %q %.300s, want 303 to %q", a.status, a.header.Get("Location"), a.body, page)
			}
			k := a.given()[prefix+"wandb-gateway"]
			if k == nil {
				t.Fatalf("no session is given: %v", a.header["Set-Cookie"])
			}
			month := time.Until(k.Expires) + time.Minute
			if !k.HttpOnly || k.Secure != (c.host != "") || k.Path != "/" || k.Domain != "" || k.SameSite != http.SameSiteLaxMode || len(k.Value) < 22 || month < 720*time.Hour || month > 721*time.Hour {
				t.Errorf("the session's cookie is %v", a.header["Set-Cookie"])
			}
			if got := v.cookies(); len(got) != 1 {
				t.Errorf("the browser is left with %v", got)
			}

			site.upstream.take()
			if a := v.load(page); a.status != http.StatusOK {
				t.Fatalf("the page is answered %d %.300s", a.status, a.body)
			}
			got := site.upstream.take()
			if len(got) != 1 || got[0].target != page {
				t.Fatalf("the upstream got %+v", got)
			}
			for name, value := range identityOfAlice {
				if got[0].header.Get(name) != value {
					t.Errorf("%s is %q, want %q", name, got[0].header.Get(name), value)
				}
			}
			if all := fmt.Sprint(got[0]); strings.Contains(all, k.Value) || got[0].header.Get("Cookie") != "" {
				t.Error("the session's cookie reached the upstream")
			}
			if events := site.signInEvents("sign_in"); len(events) != 1 || events[0].fields["username"] != "alice" || events[0].fields["subject"] != "sub-alice" || events[0].fields["method"] != "oidc" {
				t.Errorf("the log says %v", events)
			}
			if c.method == "pkce" && site.authority.redeemed != 1 {
				t.Errorf("%d codes were redeemed", site.authority.redeemed)
			}
		})
	}
}

// TestCookieOfTheFlow: the cookie that has to come along with another site's form, and no other, is
// sent across sites (threats O11).
func TestCookieOfTheFlow(t *testing.T) {
	t.Parallel()
	for method, same := range map[string]http.SameSite{"implicit": http.SameSiteNoneMode, "pkce": http.SameSiteLaxMode} {
		site := startSignIn(t, method, func(c *config) { c.host = "wandb.localhost" })
		a := site.visitor(t).load("/oidc/login")
		for name, c := range a.given() {
			if c.SameSite != same || !c.Secure || !c.HttpOnly || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 || c.MaxAge > 600 || !strings.HasPrefix(name, "__Host-wandb-gateway-flow-") {
				t.Errorf("%s: %v", method, a.header["Set-Cookie"])
			}
		}
		if len(a.given()) != 1 {
			t.Errorf("%s: %v", method, a.header["Set-Cookie"])
		}
	}
}

// TestWhoIsSentToSignIn: a page that a person opens, and nothing else (threats O21).
func TestWhoIsSentToSignIn(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	html := "text/html,*/*;q=0.8"
	h := func(pairs ...string) http.Header {
		header := http.Header{}
		for i := 0; i < len(pairs); i += 2 {
			header.Add(pairs[i], pairs[i+1])
		}
		return header
	}
	dead := "wandb-gateway=" + strings.Repeat("A", 43)
	for _, c := range []struct {
		name, method, path string
		header             http.Header
		redirected         bool
	}{
		{"a page", "GET", "/vision/team", pageLoad(), true},
		{"a page of an old browser", "GET", "/vision/team", h("Accept", html), true},
		{"a page with a dead session", "GET", "/vision/team", h("Accept", html, "Cookie", dead), true},
		{"the first page", "GET", "/", pageLoad(), true},
		{"curl", "GET", "/vision/team", h("Accept", "*/*"), false},
		{"no Accept", "GET", "/vision/team", h(), false},
		{"fetch", "GET", "/vision/team", h("Accept", html, "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), false},
		{"a frame", "GET", "/vision/team", h("Accept", html, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), false},
		{"a picture", "GET", "/vision/team", h("Accept", "image/*,*/*", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"), false},
		{"a form", "POST", "/vision/team", h("Accept", html, "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), false},
		{"a WebSocket", "GET", "/vision/team", h("Accept", "*/*", "Connection", "Upgrade", "Upgrade", "websocket", "Sec-Websocket-Version", "13", "Sec-Websocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==", "Sec-Fetch-Mode", "websocket"), false},
		{"GraphQL", "POST", "/graphql", h("Accept", html, "Content-Type", "application/json"), false},
		{"a file", "GET", "/files/vision/team/run1/x.txt", h("Accept", "*/*"), false},
		{"a run", "POST", "/files/vision/team/run1/file_stream", h("Accept", "*/*"), false},
		{"a dead key", "GET", "/vision/team", h("Accept", html, "Authorization", basic(strings.Repeat("0", 40))), false},
		{"a script with a dead session", "POST", "/graphql", h("Accept", "*/*", "Content-Type", "application/json", "Cookie", dead, "Sec-Fetch-Site", "same-origin"), false},
	} {
		a := site.send(c.method, c.path, "", `{"query":"{viewer{id}}"}`, c.header)
		switch {
		case c.redirected:
			if a.status != http.StatusFound || a.header.Get("Location") != "/oidc/login?return_to="+url.QueryEscape(c.path) {
				t.Errorf("%s: %d to %q", c.name, a.status, a.header.Get("Location"))
			}
		case a.status != http.StatusUnauthorized || a.header.Get("Location") != "":
			t.Errorf("%s: %d %v", c.name, a.status, a.header)
		case c.header.Get("Authorization") != "": // a page, without what makes a browser ask for a password
		case a.message() == "" || a.header.Get("Content-Type") != "application/json" || a.header.Get("WWW-Authenticate") == "":
			t.Errorf("%s: not in JSON: %s %.200s", c.name, a.header.Get("Content-Type"), a.body)
		}
		if got := site.upstream.take(); len(got) != 0 {
			t.Errorf("%s: the upstream got %+v", c.name, got)
		}
	}
	if a := site.send("OPTIONS", "/graphql", "", "", h("Origin", "https://other.test", "Access-Control-Request-Method", "POST", "Cookie", dead)); a.status != http.StatusOK {
		t.Errorf("a preflight is answered %d", a.status)
	}
	if got := site.upstream.take(); len(got) != 1 || got[0].header.Get("Cookie") != "" {
		t.Errorf("the preflight reached the upstream as %+v", got)
	}
}

// TestSessionIsJudgedAsAKey: what a signed-in browser sends gets the answer that an SDK of the same
// person gets.
func TestSessionIsJudgedAsAKey(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	alice, vera := site.visitor(t).signIn("alice", nil), site.visitor(t).signIn("vera", nil)
	veraKey := site.mustIAM("key", "create", "--owner", "vera", "--name", "laptop")
	for _, c := range []struct{ method, path, body string }{
		{"POST", "/files/vision/team/run1/file_stream", "{}"},
		{"POST", "/files/vision/restricted/run1/file_stream", "{}"},
		{"POST", "/files/speech/x/run1/file_stream", "{}"},
		{"GET", "/files/vision/restricted/run1/x", ""},
		{"GET", "/files/vision/public/run1/x", ""},
		{"POST", "/graphql", `{"query":"mutation{upsertBucket(input:{entityName:\"vision\",modelName:\"restricted\",name:\"r1\"}){bucket{id}}}"}`},
		{"POST", "/graphql", `{"query":"{project(entityName:\"speech\",name:\"x\"){id}}"}`},
		{"POST", "/graphql", `{"query":"{viewer{id username email}}"}`},
		{"DELETE", "/somewhere", ""},
	} {
		for _, who := range []struct {
			v   *visitor
			key string
		}{{alice, aliceKey}, {vera, veraKey}} {
			site.upstream.take()
			byKey := site.send(c.method, c.path, who.key, c.body, http.Header{"Content-Type": {"application/json"}})
			keyArrived := site.upstream.take()
			bySession := who.v.script(c.method, c.path, c.body)
			arrived := site.upstream.take()
			if bySession.status != byKey.status || bySession.reason() != byKey.reason() || len(arrived) != len(keyArrived) {
				t.Errorf("%s %s %s: by key %d %s, by session %d %s", c.method, c.path, c.body, byKey.status, byKey.reason(), bySession.status, bySession.reason())
				continue
			}
			for i := range arrived {
				if got, want := arrived[i].header.Get("X-Wandb-Gateway-Principal"), keyArrived[i].header.Get("X-Wandb-Gateway-Principal"); got != want || got == "" || arrived[i].header.Get("Cookie") != "" {
					t.Errorf("%s %s: the upstream is told %q by session and %q by key; cookie %q", c.method, c.path, got, want, arrived[i].header.Get("Cookie"))
				}
			}
		}
	}

	t.Run("a header beats the cookie", func(t *testing.T) {
		site.upstream.take()
		a := alice.send("GET", "/page", "", http.Header{"Authorization": {basic(bobKey)}})
		if got := site.upstream.take(); a.status != http.StatusOK || len(got) != 1 || got[0].header.Get("X-Forwarded-User") != "bob" || got[0].header.Get("Cookie") != "" {
			t.Errorf("%d, the upstream got %+v", a.status, got)
		}
		a = alice.send("GET", "/page", "", http.Header{"Authorization": {basic(strings.Repeat("0", 40))}})
		if a.status != http.StatusUnauthorized || len(site.upstream.take()) != 0 {
			t.Errorf("with a dead key beside a session: %d", a.status)
		}
	})
	t.Run("two cookies of the name", func(t *testing.T) { // O12
		for name, lines := range map[string][]string{
			"in one line":   {"wandb-gateway=planted; wandb-gateway=" + alice.session()},
			"the other way": {"wandb-gateway=" + alice.session() + "; wandb-gateway=planted"},
			"twice hers":    {"wandb-gateway=" + alice.session() + "; wandb-gateway=" + alice.session()},
			"in two lines":  {"wandb-gateway=" + alice.session(), "wandb-gateway=planted"},
			"another case":  {"Wandb-Gateway=" + alice.session()},
			"of https":      {"__Host-wandb-gateway=" + alice.session()},
			"quoted":        {`wandb-gateway="` + alice.session() + `"`},
			"without name":  {"=wandb-gateway=" + alice.session()},
		} {
			a := site.send("GET", "/page", "", "", http.Header{"Cookie": lines})
			if a.status != http.StatusUnauthorized || len(site.upstream.take()) != 0 {
				t.Errorf("%s: %d", name, a.status)
			}
		}
		// A page says so, rather than to lead to sign-in and back without end.
		twice := pageLoad()
		twice.Set("Cookie", "wandb-gateway=planted; wandb-gateway="+alice.session())
		if a := site.send("GET", "/page", "", "", twice); a.status != http.StatusBadRequest || a.header.Get("Location") != "" || !strings.Contains(a.body, "two cookies") {
			t.Errorf("a page: %d to %q %.300s", a.status, a.header.Get("Location"), a.body)
		}
		// None of the others goes on either: it could be a session at the server, of somebody else.
		a := site.send("GET", "/page", "", "", http.Header{"Cookie": {"theme=dark; wandb-gateway=" + alice.session() + "; other=1"}})
		if got := site.upstream.take(); a.status != http.StatusOK || len(got) != 1 || got[0].header.Get("Cookie") != "" {
			t.Errorf("among others: %d %+v", a.status, got)
		}
	})
}

// TestCrossSite: a change, or a WebSocket, by cookie needs a page of the site itself.
func TestCrossSite(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	v := site.visitor(t).signIn("alice", nil)
	own := v.origin
	for _, c := range []struct {
		name           string
		origins, sites []string
		passes         bool
	}{
		{"same origin", []string{own}, []string{"same-origin"}, true},
		{"same origin, old browser", []string{own}, nil, true},
		{"same origin without Origin", nil, []string{"same-origin"}, true},
		{"its own page that may not be named", []string{"null"}, []string{"same-origin"}, true},
		{"nothing said", nil, nil, false},
		{"cross-site", []string{"https://evil.test"}, []string{"cross-site"}, false},
		{"cross-site, old browser", []string{"https://evil.test"}, nil, false},
		{"cross-site without Origin", nil, []string{"cross-site"}, false},
		{"same site, another port", []string{"http://127.0.0.1:1"}, []string{"same-site"}, false},
		{"another port, old browser", []string{"http://127.0.0.1:1"}, nil, false},
		{"another scheme", []string{strings.Replace(own, "http:", "https:", 1)}, nil, false},
		{"typed by the person", nil, []string{"none"}, false},
		{"null", []string{"null"}, nil, false},
		{"they disagree", []string{"https://evil.test"}, []string{"same-origin"}, false},
		{"disagree the other way", []string{own}, []string{"cross-site"}, false},
		{"two origins", []string{own, own}, nil, false},
		{"two sites", []string{own}, []string{"same-origin", "same-origin"}, false},
		{"a longer host", []string{own + ".evil.test"}, nil, false},
		{"an odd value", []string{own}, []string{"Same-Origin"}, false},
	} {
		h := http.Header{"Content-Type": {"application/json"}}
		if c.origins != nil {
			h["Origin"] = c.origins
		}
		if c.sites != nil {
			h["Sec-Fetch-Site"] = c.sites
		}
		for _, way := range []struct{ method, path string }{
			{"POST", "/files/vision/team/run1/file_stream"}, {"PUT", "/files/vision/team/run1/x"}, {"POST", "/graphql"}, {"GET", "/socket"},
		} {
			site.upstream.take()
			header, body := h.Clone(), "{}"
			if way.path == "/graphql" {
				body = `{"query":"mutation{upsertBucket(input:{entityName:\"vision\",modelName:\"team\",name:\"r1\"}){bucket{id}}}"}`
			}
			if way.path == "/socket" {
				body = ""
				header.Set("Connection", "Upgrade")
				header.Set("Upgrade", "websocket")
				header.Set("Sec-WebSocket-Version", "13")
				header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
			}
			a := v.send(way.method, way.path, body, header)
			arrived := len(site.upstream.take())
			if c.passes && (a.status != http.StatusOK || arrived != 1) || !c.passes && (a.status != http.StatusForbidden || a.reason() != "cross_site" || arrived != 0) {
				t.Errorf("%s, %s %s: %d %s, %d at the upstream", c.name, way.method, way.path, a.status, a.body, arrived)
			}
			header.Set("Authorization", basic(aliceKey)) // which no other site's page can send
			if a := v.send(way.method, way.path, body, header); a.status != http.StatusOK {
				t.Errorf("%s, %s %s with a key: %d %s", c.name, way.method, way.path, a.status, a.body)
			}
		}
		if a := v.send("GET", "/page", "", h); a.status != http.StatusOK {
			t.Errorf("%s: a page that changes nothing: %d", c.name, a.status)
		}
	}
}

// TestForeignHost: nobody signs in under a name that is not the site's, and no header makes an
// address (threats O20).
func TestForeignHost(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	load := func(path, host string, more ...string) answer {
		req, err := http.NewRequest("GET", site.url+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header, req.Host = pageLoad(), host
		for i := 0; i < len(more); i += 2 {
			req.Header.Set(more[i], more[i+1])
		}
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return answer{status: res.StatusCode, header: res.Header}
	}
	for _, path := range []string{"/oidc/login", "/oidc/callback", "/logout", "/authorize", "/vision/team"} {
		if a := load(path, "127.0.0.1:1"); a.status != http.StatusMisdirectedRequest || a.header.Get("Location") != "" {
			t.Errorf("%s on another port: %d to %q", path, a.status, a.header.Get("Location"))
		}
	}
	a := load("/oidc/login", site.site, "X-Forwarded-Host", "evil.test", "X-Forwarded-Proto", "https", "Forwarded", "host=evil.test", "X-Forwarded-Port", "1", "Origin", "https://evil.test")
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || to.Query().Get("redirect_uri") != site.url+"/oidc/callback" {
		t.Errorf("headers make the address %q", a.header.Get("Location"))
	}

	named := startSignIn(t, "pkce", func(c *config) {
		c.global = strings.Replace(c.global, "auth_method", "redirect_hosts wandb.acme.test other.acme.test:8443\n\t\t\tauth_method", 1)
	}).withAcme()
	for _, path := range []string{"/oidc/login", "/authorize", "/vision/team"} {
		if a := named.visitor(t).load(path); a.status != http.StatusMisdirectedRequest {
			t.Errorf("%s on a host that is not among redirect_hosts: %d", path, a.status)
		}
	}
	if a := named.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key there: %d", a.status)
	}
}

// shownSessions are the ids of the sessions on the page /authorize.
var shownSession = regexp.MustCompile(`aria-label="End the session ([0-9a-f]+)"`)

func (v *visitor) shownSessions() (ids []string) {
	v.t.Helper()
	a := v.load("/authorize")
	if a.status != http.StatusOK {
		v.t.Fatalf("/authorize: %d to %q", a.status, a.header.Get("Location"))
	}
	for _, m := range shownSession.FindAllStringSubmatch(a.body, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// TestSessions: each sign-in has a session of its own, which its owner and an admin see and end.
func TestSessions(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	laptop, phone, bob := site.visitor(t), site.visitor(t), site.visitor(t)
	laptop.agent, phone.agent = "Laptop/1.0", "Phone/2.0 <script>"
	laptop.signIn("alice", nil)

	t.Run("a new one at each sign-in", func(t *testing.T) { // O09
		first := laptop.session()
		laptop.signIn("alice", nil)
		if laptop.session() == first {
			t.Error("the session stays the same")
		}
		old := site.send("GET", "/page", "", "", http.Header{"Cookie": {"wandb-gateway=" + first}})
		if old.status != http.StatusUnauthorized {
			t.Errorf("the old session is answered %d", old.status)
		}
		chosen := strings.Repeat("B", 43)
		fixed := site.visitor(t)
		at, _ := url.Parse(site.url)
		fixed.jar.SetCookies(at, []*http.Cookie{{Name: "wandb-gateway", Value: chosen, Path: "/"}})
		fixed.signIn("vera", nil)
		if fixed.session() == chosen || fixed.session() == "" {
			t.Error("a chosen session is taken over")
		}
		fixed.signIn("bob", nil) // another person at the same browser
		fixed.mustBe("after bob signed in", "bob")
	})

	phone.signIn("alice", nil)
	bob.signIn("bob", nil)
	ids := phone.shownSessions()
	if len(ids) != 2 || !strings.Contains(phone.page, "Laptop/1.0") || strings.Contains(phone.page, "<script>") || !strings.Contains(phone.page, "this browser") {
		t.Fatalf("alice is shown the sessions %v: %s", ids, phone.page)
	}

	t.Run("nobody ends another's", func(t *testing.T) {
		bob.load("/authorize")
		bob.submit("/authorize", url.Values{"form": {"end"}, "id": {ids[0]}})
		bob.submit("/authorize", url.Values{"form": {"end"}, "id": {"../" + ids[0]}})
		laptop.mustBe("after bob tried", "alice")
		phone.mustBe("after bob tried", "alice")
	})
	t.Run("ended by its owner", func(t *testing.T) {
		other := ids[1] // the latest stands first, which is the phone's own
		if a := phone.submit("/authorize", url.Values{"form": {"end"}, "id": {other}}); a.status != http.StatusForbidden && a.status != http.StatusSeeOther {
			t.Fatalf("ending it: %d", a.status)
		}
		phone.load("/authorize")
		phone.submit("/authorize", url.Values{"form": {"end"}, "id": {other}})
		laptop.mustBe("after its session was ended on the phone", "")
		phone.mustBe("then", "alice")
	})
	t.Run("ended by an admin", func(t *testing.T) {
		var rows []struct {
			ID, Owner string
			UserAgent string `json:"user_agent"`
		}
		out := site.mustIAM("session", "list", "--owner", "alice", "--json")
		if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || !strings.Contains(out, phone.agent[:8]) || strings.Contains(out, phone.session()) {
			t.Fatalf("session list: %v %s", err, out)
		}
		site.mustIAM("session", "delete", rows[0].ID)
		phone.mustBe("after an admin ended it", "")
		bob.mustBe("then", "bob")
		if _, err := site.iam("", "session", "delete", rows[0].ID); err == nil {
			t.Error("ending it again says that it worked")
		}
	})
	t.Run("ended by deactivation, for good", func(t *testing.T) {
		phone.signIn("alice", nil)
		site.mustIAM("user", "set", "alice", "--active=false")
		phone.mustBe("after deactivation", "")
		if a := site.stream("vision/team", aliceKey); a.status != http.StatusUnauthorized && a.status != http.StatusForbidden {
			t.Errorf("her key is answered %d", a.status)
		}
		site.refuses(t, phone, http.StatusForbidden, "deactivated", func() answer { return phone.tries("alice", nil) })
		copied := phone.session()
		site.mustIAM("user", "set", "alice", "--active=true")
		if a := site.send("GET", "/page", "", "", http.Header{"Cookie": {"wandb-gateway=" + copied}}); a.status != http.StatusUnauthorized {
			t.Errorf("after reactivation her old session is answered %d", a.status)
		}
		if a := site.stream("vision/team", aliceKey); a.status != http.StatusOK {
			t.Errorf("her key is answered %d", a.status)
		}
		phone.signIn("alice", nil).mustBe("after she signed in again", "alice")
	})
}

// TestSessionsOutliveTheProcess: restart and reload end no session, and no sign-in on its way.
func TestSessionsOutliveTheProcess(t *testing.T) {
	t.Parallel()
	var c config
	site := startSignIn(t, "pkce", func(conf *config) { c = *conf }).withAcme()
	v := site.visitor(t).signIn("alice", nil)
	onTheWay := site.visitor(t)
	onTheWay.begin("/oidc/login?return_to=/home")

	if status, body := site.load(c); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, body)
	}
	v.mustBe("after a reload", "alice")
	c.global = strings.Replace(c.global, "failure_limit off", "failure_limit off\n\t\tsession {\n\t\t\tlength 1h\n\t\t}", 1)
	if status, body := site.load(c); status != http.StatusOK {
		t.Fatalf("reloading: %d %s", status, body)
	}
	v.mustBe("after a reload with another length", "alice")
	if a := onTheWay.answered(site.authority.key.token(site.authority.says("bob", onTheWay.asked, nil))); a.status != http.StatusSeeOther || a.given()["wandb-gateway"] == nil || time.Until(a.given()["wandb-gateway"].Expires) > time.Hour {
		t.Errorf("a sign-in on its way ends with %d %v", a.status, a.header["Set-Cookie"])
	}
	onTheWay.begin("/oidc/login?return_to=/home")

	site.stop()
	c.dir = site.dir
	again := start(t, c)
	site.process = again
	v.origin = again.url
	v.mustBe("after a restart", "alice")
	onTheWay.origin = again.url
	a := onTheWay.answered(site.authority.key.token(site.authority.says("vera", onTheWay.asked, nil)))
	if a.status != http.StatusBadRequest { // it came back to another address than it was begun at
		t.Errorf("a sign-in that began at another address ends with %d", a.status)
	}
}

// TestSessionLength: a session ends when its time is over, whatever happens in between.
func TestSessionLength(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) { c.global += "\n\t\tsession {\n\t\t\tlength 2s\n\t\t}" }).withAcme()
	v := site.visitor(t)
	began := time.Now()
	v.signIn("alice", nil)
	cookie := v.session()
	lasted := func() bool {
		a := site.send("POST", "/graphql", "", `{"query":"{viewer{username}}"}`, http.Header{"Cookie": {"wandb-gateway=" + cookie}, "Content-Type": {"application/json"}, "Sec-Fetch-Site": {"same-origin"}})
		return a.status == http.StatusOK
	}
	if !lasted() && time.Since(began) < 2*time.Second {
		t.Fatal("it does not work")
	}
	site.await("the session to end", 10*time.Second, func() bool { return !lasted() })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it lasted %s", took)
	}
}

// made is a key that the page /authorize shows.
var shownKey = regexp.MustCompile(`wbg-[0-9a-f]{40}`)

// TestAuthorize: a signed-in person makes a key, which is shown once, and deletes it.
func TestAuthorize(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	v := site.visitor(t)
	if a := v.load("/authorize?signup=true"); a.status != http.StatusSeeOther && a.status != http.StatusFound || a.header.Get("Location") != "/oidc/login?return_to="+url.QueryEscape("/authorize?signup=true") {
		t.Errorf("without a session: %d to %q", a.status, a.header.Get("Location"))
	}
	if a := v.submit("/authorize", url.Values{"form": {"create"}, "name": {"x"}}); a.status != http.StatusUnauthorized || shownKey.MatchString(a.body) {
		t.Errorf("a form without a session: %d", a.status)
	}
	v.signIn("alice", nil)
	if a := v.load("/authorize"); a.status != http.StatusOK || shownKey.MatchString(a.body) || !strings.Contains(a.body, "old laptop") || a.header.Get("Cache-Control") != "no-store" || !strings.Contains(a.header.Get("Content-Security-Policy"), "default-src 'none'") {
		t.Errorf("the page: %d %v", a.status, a.header)
	}
	keys := func() int {
		var rows []struct{ ID string }
		if err := json.Unmarshal([]byte(site.mustIAM("key", "list", "--owner", "alice", "--json")), &rows); err != nil {
			t.Fatal(err)
		}
		return len(rows)
	}
	token := tokenField.FindStringSubmatch(v.page)[1]
	create := url.Values{"form": {"create"}, "name": {"my <b>laptop</b>"}}
	for name, attempt := range map[string]func() answer{
		"from another site": func() answer {
			h := pageLoad()
			h.Set("Content-Type", "application/x-www-form-urlencoded")
			h.Set("Origin", "https://evil.test")
			h.Set("Sec-Fetch-Site", "cross-site")
			return v.send("POST", "/authorize", create.Encode()+"&token="+token, h)
		},
		"without saying from where": func() answer {
			return v.send("POST", "/authorize", create.Encode()+"&token="+token, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		},
		"without a token": func() answer {
			page := v.page
			defer func() { v.page = page }()
			v.page = ""
			return v.submit("/authorize", create)
		},
		"with another's token": func() answer {
			other := site.visitor(t).signIn("bob", nil)
			other.load("/authorize")
			form := url.Values{"token": {tokenField.FindStringSubmatch(other.page)[1]}}
			for name := range create {
				form.Set(name, create.Get(name))
			}
			return v.submit("/authorize", form)
		},
		"in the address": func() answer { return v.load("/authorize?" + create.Encode() + "&token=" + token) },
	} {
		if a := attempt(); shownKey.MatchString(a.body) || name != "in the address" && a.status != http.StatusForbidden && a.status != http.StatusBadRequest {
			t.Errorf("%s: %d %.300s", name, a.status, a.body)
		}
		create.Del("token")
	}
	if n := keys(); n != 1 {
		t.Fatalf("alice has %d keys", n)
	}

	var made []string
	for range 2 {
		v.load("/authorize")
		create.Del("token")
		a := v.submit("/authorize", create)
		key := shownKey.FindString(a.body)
		if a.status != http.StatusOK || key == "" || strings.Contains(a.body, "<b>") || a.header.Get("Cache-Control") != "no-store" {
			t.Fatalf("making a key: %d %.600s", a.status, a.body)
		}
		made = append(made, key)
		v.hold(key)
	}
	if made[0] == made[1] || keys() != 3 {
		t.Errorf("two presses make %v, and %d keys", made, keys())
	}
	if a := v.load("/authorize"); shownKey.MatchString(a.body) {
		t.Error("a key is shown again")
	}
	site.upstream.take()
	if a := site.stream("vision/team", made[0]); a.status != http.StatusOK || site.upstream.take()[0].header.Get("X-Forwarded-User") != "alice" {
		t.Errorf("the key is answered %d", a.status)
	}
	id := made[0][len("wbg-"):][:8]
	v.load("/authorize")
	if a := v.submit("/authorize", url.Values{"form": {"delete"}, "id": {id}}); a.status != http.StatusSeeOther {
		t.Errorf("deleting it: %d %.300s", a.status, a.body)
	}
	if a := site.stream("vision/team", made[0]); a.status != http.StatusUnauthorized {
		t.Errorf("the deleted key is answered %d", a.status)
	}
	if a := site.stream("vision/team", made[1]); a.status != http.StatusOK {
		t.Errorf("the other one is answered %d", a.status)
	}
	other := site.visitor(t).signIn("bob", nil)
	other.load("/authorize")
	other.submit("/authorize", url.Values{"form": {"delete"}, "id": {made[1][len("wbg-"):][:8]}})
	if a := site.stream("vision/team", made[1]); a.status != http.StatusOK {
		t.Errorf("after bob deleted it, alice's key is answered %d", a.status)
	}
}
