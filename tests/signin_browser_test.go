//go:build e2e

package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// These tests sign people in with real browsers: the gateway speaks https under a name of its own, the
// provider is another site, so that cookies, forms across sites and content policies are the browsers'
// own.

// browserSite is a gateway for browsers, before a W&B server that greets who is signed in.
type browserSite struct {
	*process
	provider *provider
	upstream *recorder
}

// greets makes the upstream answer page loads with a page.
func (r *recorder) greets() {
	r.says(func(got received) (int, string, string) {
		if got.method != http.MethodGet {
			return http.StatusOK, "application/json", `{"data":{}}`
		}
		return http.StatusOK, "text/html; charset=utf-8", "<!doctype html><html lang=en><title>W&amp;B</title><h1>Hello " + got.header.Get("X-Forwarded-User") + "</h1>"
	})
}

// startBrowserSite starts a gateway that knows acme, at which people sign in at npm's oidc-provider.
func startBrowserSite(t *testing.T, method string, more ...string) *browserSite {
	t.Helper()
	s := &browserSite{provider: startProvider(t), upstream: newRecorder(t)}
	s.upstream.greets()
	s.process = start(t, config{
		host: "wandb.localhost", upstream: s.upstream.host(),
		global: fmt.Sprintf("oidc {\n\t\t\tissuer %s\n\t\t\tclient_id wandb\n\t\t\tauth_method %s\n\t\t}\n\t\t%s", s.provider.Issuer, method, strings.Join(more, "\n\t\t")),
	})
	s.importFile(acme)
	s.provider.set(t, "/client", map[string]any{
		"client_id": "wandb", "application_type": "web",
		"redirect_uris": []string{s.url + "/oidc/callback"}, "post_logout_redirect_uris": []string{s.url + "/logout"},
		"backchannel_logout_uri": s.overLoopback(t) + "/oidc/backchannel-logout", "backchannel_logout_session_required": true,
	})
	return s
}

// arrived returns what reached the upstream since the last call, but for what browsers ask by themselves.
func (s *browserSite) arrived() []received {
	return slices.DeleteFunc(s.upstream.take(), func(r received) bool { return r.target == "/favicon.ico" })
}

// overLoopback returns an address that leads to the gateway where its own name is not known.
func (s *browserSite) overLoopback(t *testing.T) string {
	t.Helper()
	site, err := url.Parse(s.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Transport: s.web.Transport, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(site)
		r.Out.Host = site.Host
	}}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

// loginAt answers the provider's question in a tab.
func (tb *tab) loginAt(p *provider, account string) {
	tb.t.Helper()
	tb.awaitURL(p.Issuer + "/interaction/")
	tb.do(nil, "fill", "selector", "input[name=login]", "text", account)
	tb.do(nil, "press", "key", "Enter", "leaves", true)
}

// session is the value of the session's cookie.
func (p *profile) session() string {
	for _, c := range p.cookies() {
		if c.Name == "__Host-wandb-gateway" {
			return c.Value
		}
	}
	return ""
}

// lives reports whether a cookie's session does.
func (s *browserSite) lives(cookie string) bool {
	return s.send("GET", "/page", "", "", http.Header{"Cookie": {"__Host-wandb-gateway=" + cookie}}).status == http.StatusOK
}

func TestBrowserSignIn(t *testing.T) {
	for _, kind := range []string{"chrome", "firefox"} {
		t.Run(kind, func(t *testing.T) {
			b := startBrowser(t, kind)
			for _, method := range []string{"implicit", "pkce"} {
				t.Run(method, func(t *testing.T) { browserSignIn(t, b, method) })
			}
		})
	}
}

func browserSignIn(t *testing.T, b *browser, method string) {
	s := startBrowserSite(t, method)
	const page = "/vision/team/runs/abc?workspace=user-alice&a=%2F%2Fb"

	t.Run("there and back", func(t *testing.T) {
		p := b.profile(t)
		tb := p.tab()
		if status := tb.open(s.url + page); status != http.StatusOK || !strings.HasPrefix(tb.url(), s.provider.Issuer) {
			t.Fatalf("the page leads to %d %s", status, tb.url())
		}
		tb.loginAt(s.provider, "alice@acme.test")
		tb.awaitText("Hello alice")
		if tb.url() != s.url+page {
			t.Errorf("the sign-in ends at %s", tb.url())
		}
		var ours []cookie
		for _, c := range p.cookies() {
			if strings.Contains(c.Name, "wandb") {
				ours = append(ours, c)
			}
		}
		if len(ours) != 1 || ours[0].Name != "__Host-wandb-gateway" || !ours[0].Secure || !ours[0].HTTPOnly || ours[0].Path != "/" || ours[0].Domain != "wandb.localhost" || !strings.EqualFold(ours[0].SameSite, "Lax") {
			t.Errorf("the browser keeps %+v", ours)
		}
		var seen string
		tb.evaluate(&seen, "document.cookie")
		if seen != "" {
			t.Errorf("scripts see %s", seen)
		}
		s.upstream.take()
		var status int
		tb.evaluate(&status, `fetch('/files/vision/team/run1/file_stream', {method: 'POST', body: '{}'}).then(r => r.status)`)
		if got := s.arrived(); status != http.StatusOK || len(got) != 1 || got[0].header.Get("X-Forwarded-User") != "alice" || got[0].header.Get("Cookie") != "" {
			t.Errorf("a script's request: %d %+v", status, got)
		}
	})

	t.Run("two tabs", func(t *testing.T) {
		p := b.profile(t)
		first, second := p.tab(), p.tab()
		first.open(s.url + "/first")
		second.open(s.url + "/second?b")
		second.loginAt(s.provider, "alice@acme.test")
		second.awaitURL(s.url + "/second?b")
		first.loginAt(s.provider, "alice@acme.test")
		first.awaitURL(s.url + "/first")
		first.awaitText("Hello alice")
	})

	t.Run("other sites", func(t *testing.T) { // cross-site requests, by which a session must do nothing
		p := b.profile(t)
		tb := p.tab()
		tb.open(s.url + "/home")
		tb.loginAt(s.provider, "alice@acme.test")
		tb.awaitText("Hello alice")
		evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprintf(w, `<!doctype html><form method="post" action="%s%s"><input name="form" value="create"><input name="name" value="x"><button>go</button></form>`, s.url, r.URL.Query().Get("at"))
		}))
		t.Cleanup(evil.Close)
		s.upstream.take()
		for _, at := range []string{"/files/vision/team/run1/file_stream", "/authorize", "/logout", "/oidc/login"} {
			tb.open(evil.URL + "/?at=" + at)
			tb.press("button", "go")
			if text := tb.text(); strings.Contains(text, "Hello") || strings.Contains(text, "wbg-") {
				t.Errorf("another site's form to %s is answered %s", at, text)
			}
		}
		tb.open(evil.URL)
		var outcome string
		tb.evaluate(nil, fmt.Sprintf(`fetch('%s/files/vision/team/run1/file_stream', {method: 'POST', body: '{}', mode: 'no-cors', credentials: 'include'}).then(r => r.type, e => 'failed')`, s.url))
		tb.evaluate(&outcome, fmt.Sprintf(`new Promise(done => { const s = new WebSocket('%s/socket'); s.onopen = () => done('open'); s.onerror = () => done('failed') })`, strings.Replace(s.url, "https:", "wss:", 1)))
		if outcome != "failed" {
			t.Errorf("another site's WebSocket: %s", outcome)
		}
		if got := s.arrived(); len(got) != 0 {
			t.Errorf("other sites reached the upstream with %+v", got)
		}
		if !s.lives(p.session()) {
			t.Error("another site signed her out")
		}
		if status := tb.open(s.url + "/home"); status != http.StatusOK {
			t.Errorf("then her page is answered %d", status)
		}
	})

	t.Run("a key", func(t *testing.T) {
		p := b.profile(t)
		tb := p.tab()
		tb.open(s.url + "/authorize?ref=models")
		tb.loginAt(s.provider, "alice@acme.test")
		tb.awaitURL(s.url + "/authorize?ref=models")
		tb.looked("authorize")
		tb.fill("Name of a new API key", "laptop of "+b.kind)
		tb.press("button", "Make an API key")
		tb.awaitText("This is the only time")
		tb.looked("key")
		key := shownKey.FindString(tb.text())
		if b.kind == "chrome" {
			if err := tb.tell(nil, "permit", map[string]any{"context": p.context, "origin": s.url}); err != nil {
				t.Fatal(err)
			}
		}
		tb.do(nil, "click", "role", "button", "name", "Copy")
		tb.awaitText("Copied.")
		if b.kind == "chrome" { // Firefox asks a person before it lets a script read
			var copied string
			tb.evaluate(&copied, "navigator.clipboard.readText()")
			if copied != key {
				t.Errorf("%d characters were copied, want the key's %d", len(copied), len(key))
			}
		}
		if a := s.stream("vision/team", key); key == "" || a.status != http.StatusOK {
			t.Errorf("the key is answered %d", a.status)
		}
		tb.press("link", "Your API keys and sessions")
		if text := tb.text(); !strings.Contains(text, "laptop of "+b.kind) || shownKey.MatchString(text) {
			t.Errorf("the page says %s", text)
		}
		tb.press("button", "Delete the API key "+key[len("wbg-"):][:8])
		tb.awaitURL(s.url + "/authorize")
		if a := s.stream("vision/team", key); a.status != http.StatusUnauthorized {
			t.Errorf("the deleted key is answered %d", a.status)
		}
	})

	t.Run("sign-out", func(t *testing.T) {
		p := b.profile(t)
		tb := p.tab()
		tb.open(s.url + "/authorize")
		tb.loginAt(s.provider, "alice@acme.test")
		tb.awaitURL(s.url + "/authorize")
		cookie := p.session()
		tb.press("link", "Sign out")
		tb.looked("sign-out")
		tb.press("button", "Sign out")
		tb.awaitURL(s.provider.Issuer + "/session/end")
		tb.do(nil, "click", "selector", "button[name=logout]", "leaves", true)
		tb.awaitURL(s.url + "/logout")
		tb.awaitText("You are signed out")
		tb.looked("signed-out")
		if s.lives(cookie) || p.session() != "" {
			t.Error("the session lives on")
		}
		tb.press("link", "Sign in")
		tb.awaitURL(s.provider.Issuer + "/interaction/") // the provider's own session ended too
	})

	t.Run("sign-out at the provider", func(t *testing.T) { // back-channel
		p := b.profile(t)
		tb := p.tab()
		tb.open(s.url + "/home")
		tb.loginAt(s.provider, "alice@acme.test")
		tb.awaitText("Hello alice")
		cookie := p.session()
		tb.open(s.provider.Issuer + "/session/end")
		tb.do(nil, "click", "selector", "button[name=logout]", "leaves", true)
		await(t, "the provider to end the session", 10*time.Second, func() bool { return !s.lives(cookie) })
		tb.open(s.url + "/home")
		tb.awaitURL(s.provider.Issuer + "/interaction/")
	})

	t.Run("refused", func(t *testing.T) {
		s.provider.set(t, "/account", map[string]any{"id": "mallory@acme.test", "claims": map[string]any{"email": "root@acme.test", "email_verified": false}})
		p := b.profile(t)
		tb := p.tab()
		tb.open(s.url + "/home")
		tb.loginAt(s.provider, "mallory@acme.test")
		tb.awaitText("not verified")
		tb.looked("refused")
		if p.session() != "" {
			t.Error("she has a session")
		}
		if !strings.HasPrefix(tb.url(), s.url+"/oidc/callback") {
			t.Errorf("the page led on to %s", tb.url())
		}
	})

	t.Run("the provider is down", func(t *testing.T) {
		p := b.profile(t)
		tb := p.tab()
		tb.open(s.url + "/home")
		tb.loginAt(s.provider, "bob@acme.test")
		tb.awaitText("Hello bob")
		s.provider.set(t, "/mood", map[string]any{"mood": "failing"})
		defer s.provider.set(t, "/mood", map[string]any{"mood": "well"})
		if status := tb.open(s.url + "/home"); status != http.StatusOK {
			t.Errorf("who is signed in is answered %d", status)
		}
		offline := start(t, config{host: "wandb.localhost", upstream: s.upstream.host(), global: fmt.Sprintf("oidc {\n\t\t\tissuer %s\n\t\t\tclient_id wandb\n\t\t\tauth_method %s\n\t\t}", s.provider.Issuer, method)})
		other := b.profile(t).tab()
		if status := other.open(offline.url + "/oidc/login"); status != http.StatusServiceUnavailable {
			t.Errorf("the sign-in page is answered %d", status)
		}
		other.awaitText("cannot be reached")
		other.looked("provider-away")
		if status := other.open(offline.url + "/vision/team"); status != http.StatusServiceUnavailable {
			t.Errorf("a page is answered %d", status)
		}
		other.looked("provider-away-page")
		other.open(offline.url + "/authorize")
		other.awaitText("cannot be reached")
	})
}

// TestBrowserPasswords: the form for a directory's password, with nothing but the keyboard.
func TestBrowserPasswords(t *testing.T) {
	directory := startSlapd(t)
	upstream := newRecorder(t)
	upstream.greets()
	ldap := fmt.Sprintf("ldap {\n\t\t\taddress ldap://%s\n\t\t\ttls on\n\t\t\tbase_dn %s\n\t\t\tbind_dn %s\n\t\t\tbind_password %s\n\t\t\ttls_ca %s\n\t\t\tgroup_sync on\n\t\t}", directory.plain, slapdBase, slapdService, slapdPW, filepath.Join(directory.dir, "ca.pem"))
	p := start(t, config{host: "wandb.localhost", upstream: upstream.host(), global: "failure_limit 50/m\n\t\t" + ldap})
	p.importFile(acme)
	provider := startProvider(t)
	both := start(t, config{host: "wandb.localhost", upstream: upstream.host(), global: fmt.Sprintf("%s\n\t\toidc {\n\t\t\tissuer %s\n\t\t\tclient_id wandb\n\t\t}", ldap, provider.Issuer)})
	both.importFile(acme)
	for _, kind := range []string{"chrome", "firefox"} {
		t.Run(kind, func(t *testing.T) {
			b := startBrowser(t, kind)
			person := b.profile(t)
			tb := person.tab()
			const page = "/vision/team?a=%2Fb"
			if status := tb.open(p.url + page); status != http.StatusOK || !strings.HasPrefix(tb.url(), p.url+"/oidc/login?return_to=") {
				t.Fatalf("the page leads to %d %s", status, tb.url())
			}
			tb.looked("password")
			write := func(login, password string) {
				t.Helper()
				tb.do(nil, "type", "text", login) // the cursor stands there already
				tb.do(nil, "press", "key", "Tab")
				tb.do(nil, "type", "text", password)
				tb.do(nil, "press", "key", "Enter", "leaves", true)
			}
			write("alice", "canary-wrong-password-4e1")
			tb.awaitText("password")
			var alert, login, focus string
			tb.evaluate(&alert, `document.querySelector('[role=alert]')?.innerText ?? ''`)
			tb.evaluate(&login, `document.querySelector('input[name=login]').value`)
			tb.evaluate(&focus, `document.activeElement.name ?? ''`)
			if alert == "" || login != "alice" || focus != "password" || strings.Contains(tb.text(), "4e1") {
				t.Errorf("after a wrong password: %q, name %q, the cursor in %q", alert, login, focus)
			}
			tb.looked("password-wrong")
			tb.do(nil, "type", "text", "alice-secret")
			tb.do(nil, "press", "key", "Tab")
			var pressed string
			tb.evaluate(&pressed, `document.activeElement.innerText`)
			if pressed != "Sign in" {
				t.Errorf("the next control is %q", pressed)
			}
			tb.do(nil, "press", "key", "Enter", "leaves", true)
			tb.awaitText("Hello alice")
			if tb.url() != p.url+page {
				t.Errorf("the sign-in ends at %s", tb.url())
			}

			// The page of keys, by the keyboard alone.
			tb.open(p.url + "/authorize")
			for i := 0; pressed != "Make an API key"; i++ {
				if i == 10 {
					t.Fatal("the button cannot be reached")
				}
				tb.do(nil, "press", "key", "Tab")
				tb.evaluate(&pressed, `document.activeElement.innerText`)
			}
			tb.do(nil, "press", "key", "Enter", "leaves", true)
			if key := shownKey.FindString(tb.text()); p.stream("vision/team", key).status != http.StatusOK {
				t.Error("the key does not work")
			}

			mixed := b.profile(t).tab()
			mixed.open(both.url + "/oidc/login?return_to=/home")
			mixed.looked("both")
			mixed.fill("User name or e-mail address", "bob")
			mixed.fill("Password", "bob-secret")
			mixed.press("button", "Sign in")
			mixed.awaitText("Hello bob")
			leads := b.profile(t).tab()
			leads.open(both.url + "/oidc/login?return_to=/home")
			provided, _ := url.Parse(provider.Issuer)
			leads.press("link", "Sign in with "+provided.Host)
			if !strings.HasPrefix(leads.url(), provider.Issuer) {
				t.Errorf("the link leads to %s", leads.url())
			}
		})
	}
	p.holdsNoCanary("canary-wrong-password-4e1", "alice-secret", slapdPW)
	both.holdsNoCanary("bob-secret", slapdPW)
	directory.kill()
	t.Run("the directory is down", func(t *testing.T) {
		tb := startBrowser(t, "chrome").profile(t).tab()
		tb.open(p.url + "/oidc/login?return_to=/home")
		tb.fill("User name or e-mail address", "alice")
		tb.fill("Password", "alice-secret")
		tb.press("button", "Sign in")
		tb.looked("directory-away")
		var alert string
		tb.evaluate(&alert, `document.querySelector('[role=alert]')?.innerText ?? ''`)
		if alert == "" {
			t.Errorf("the page says %s", tb.text())
		}
	})
}

// TestBrowserOtherPages: the pages that stand on no way above.
func TestBrowserOtherPages(t *testing.T) {
	t.Parallel()
	b := startBrowser(t, "chrome")
	s := startBrowserSite(t, "pkce", "domain acme.test {\n\t\t\tdefault_team vision\n\t\t\tteams speech vision\n\t\t}")
	tb := b.profile(t).tab()
	tb.open(s.url + "/home")
	tb.loginAt(s.provider, "newcomer@acme.test")
	tb.awaitText("Choose your teams")
	tb.looked("teams")
	tb.do(nil, "click", "role", "checkbox", "name", "speech")
	tb.press("button", "Go on")
	tb.awaitText("Hello newcomer")
	if groups := s.arrived(); !strings.Contains(fmt.Sprint(groups[len(groups)-1].header["X-Forwarded-Groups"]), "speech") {
		t.Errorf("the upstream is told the groups %v", groups[len(groups)-1].header["X-Forwarded-Groups"])
	}

	restore := start(t, config{host: "wandb.localhost", upstream: s.upstream.host(), env: []string{"LOCAL_RESTORE=true"}})
	locked := b.profile(t).tab()
	locked.open(restore.url + "/home")
	locked.looked("restore")

	closed := startBrowserSite(t, "implicit", "sso_provisioning off")
	stranger := b.profile(t).tab()
	stranger.open(closed.url + "/home")
	stranger.loginAt(closed.provider, "a-stranger-with-a-rather-long-name@a-rather-long-domain-of-some-company.acme.test")
	stranger.awaitText("not a user here")
	stranger.looked("not-a-user")
	forbidden := b.profile(t).tab()
	forbidden.open(closed.url + "/home")
	forbidden.loginAt(closed.provider, "bob@acme.test")
	forbidden.awaitText("Hello bob")
	forbidden.open(closed.url + "/files/vision/restricted/run1/x.png")
	forbidden.looked("refused-by-the-gateway")
}

// TestSDKLogin: `wandb login` with the key that /authorize shows.
func TestSDKLogin(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	v := site.visitor(t).signIn("alice", nil)
	for _, version := range sdkVersions {
		t.Run(version, func(t *testing.T) {
			v.load("/authorize")
			key := shownKey.FindString(v.submit("/authorize", url.Values{"form": {"create"}, "name": {"wandb login " + version}}).body)
			if key == "" {
				t.Fatal("no key is shown")
			}
			v.hold(key)
			c := newSDK(t, version, site.url, "")
			o := c.wandb(t, "login", "--host", site.url, "--relogin", "--verify", key)
			if o.code != 0 || !strings.Contains(o.output, "alice") {
				t.Fatalf("wandb login ends with %d:\n%s", o.code, o.output)
			}
			if netrc := c.readFile(t, ".netrc"); !strings.Contains(netrc, key) || !strings.Contains(netrc, "127.0.0.1") {
				t.Errorf("the key is not in .netrc, which has %d bytes", len(netrc))
			}
		})
	}
}
