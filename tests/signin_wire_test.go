package tests

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestSignInBehindAProxy: where a trusted proxy ends TLS, the browser speaks https to all that it sees:
// address, cookies and origins. Anything but one plain `https` of the proxy's is http.
func TestSignInBehindAProxy(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) {
		c.caddy += "\n\tservers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t}"
	}).withAcme()
	v := site.visitor(t)
	v.web = client // no jar: it would not return Secure cookies to the proxy's side
	ask := func(method, path, proto, cookie string, more ...string) answer {
		t.Helper()
		h := pageLoad()
		h.Set("X-Forwarded-Proto", proto)
		h.Set("Cookie", cookie)
		for i := 0; i < len(more); i += 2 {
			h.Set(more[i], more[i+1])
		}
		return v.send(method, path, "", h)
	}
	begin := func(proto string) (redirectURI, cookie string) {
		t.Helper()
		a := ask("GET", "/oidc/login?return_to=/home", proto, "")
		to, err := url.Parse(a.header.Get("Location"))
		if err != nil || len(a.given()) != 1 {
			t.Fatalf("%d to %q, cookies %v", a.status, a.header.Get("Location"), a.header["Set-Cookie"])
		}
		v.asked = to.Query()
		for _, c := range a.given() {
			if c.Secure != strings.HasPrefix(c.Name, "__Host-") {
				t.Errorf("%s: %v", proto, c)
			}
			cookie = c.Name + "=" + c.Value
		}
		return v.asked.Get("redirect_uri"), cookie
	}
	callback := func(proto, cookie string) answer {
		t.Helper()
		const code = "canary-code-behind-a-proxy"
		site.authority.set(func() {
			site.authority.codes[code] = issued{v.asked.Get("code_challenge"), v.asked.Get("redirect_uri"), site.authority.key.token(site.authority.says("alice", v.asked, nil))}
		})
		return ask("GET", "/oidc/callback?code="+code+"&state="+v.asked.Get("state"), proto, cookie)
	}

	secure := strings.Replace(site.url, "http:", "https:", 1)
	for proto, origin := range map[string]string{"https": secure, "http": site.url, "": site.url, "https,http": site.url, "wss": site.url, "javascript": site.url} {
		if at, _ := begin(proto); at != origin+"/oidc/callback" {
			t.Errorf("behind %q the address is %q", proto, at)
		}
	}

	_, flow := begin("https")
	if a := callback("http", flow); a.status != http.StatusBadRequest || len(a.given()) != 0 {
		t.Errorf("a sign-in that began on https ends on http with %d %v", a.status, a.header["Set-Cookie"])
	}
	_, flow = begin("http")
	if a := callback("https", "__Host-"+flow); a.status != http.StatusBadRequest || a.given()["__Host-wandb-gateway"] != nil {
		t.Errorf("a sign-in that began on http ends on https with %d %v", a.status, a.header["Set-Cookie"])
	}
	_, flow = begin("https")
	a := callback("https", flow)
	k := a.given()["__Host-wandb-gateway"]
	if a.status != http.StatusSeeOther || k == nil || !k.Secure {
		t.Fatalf("%d %v", a.status, a.header["Set-Cookie"])
	}
	held := k.Name + "=" + k.Value
	for name, c := range map[string]struct {
		method, proto string
		more          []string
		status        int
	}{
		"a page on https":                {"GET", "https", nil, 200},
		"a page on http":                 {"GET", "http", nil, 302},
		"a change from its own page":     {"POST", "https", []string{"Origin", secure, "Sec-Fetch-Site", "same-origin"}, 200},
		"a change from its page on http": {"POST", "https", []string{"Origin", site.url, "Sec-Fetch-Site", "same-origin"}, 403},
	} {
		path := "/page"
		if c.method == "POST" {
			path = "/files/vision/team/run1/file_stream"
		}
		if a := ask(c.method, path, c.proto, held, c.more...); a.status != c.status {
			t.Errorf("%s: %d %.200s", name, a.status, a.body)
		}
	}
}

// TestCookieCrumbs: HTTP/2 may send each cookie in a field of its own, which makes neither two of one nor
// one of two.
func TestCookieCrumbs(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) { c.caddy += "\n\tservers {\n\t\tprotocols h1 h2c\n\t}" }).withAcme()
	v := site.visitor(t).signIn("alice", nil)
	own := "wandb-gateway=" + v.session()
	for name, c := range map[string]struct {
		crumbs []string
		status string
	}{
		"alone":             {[]string{own}, "200"},
		"among others":      {[]string{"a=1", own, "b=2"}, "200"},
		"in halves":         {[]string{own[:20], own[20:]}, "401"},
		"two":               {[]string{own, "wandb-gateway=planted"}, "401"},
		"two the other way": {[]string{"wandb-gateway=planted", own}, "401"},
	} {
		fields := []string{":method", "GET", ":scheme", "http", ":authority", site.site, ":path", "/page", "accept", "*/*"}
		for _, crumb := range c.crumbs {
			fields = append(fields, "cookie", crumb)
		}
		site.upstream.take()
		status := sendHTTP2(t, attacked{process: site.process}, fields, "")
		got := site.upstream.take()
		if status != c.status || (len(got) == 1) != (status == "200") || len(got) == 1 && got[0].header.Get("Cookie") != "" {
			t.Errorf("%s: %s, the upstream got %+v", name, status, got)
		}
	}
}

// TestTargetsOfSignIn: a request whose target is a whole address, or that names the host in another way,
// makes no other address of the site.
func TestTargetsOfSignIn(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	_, port, _ := strings.Cut(site.site, ":")
	for name, c := range map[string]struct{ target, host, status string }{
		"the site":                {"/oidc/login", site.site, "303"},
		"a whole address":         {site.url + "/oidc/login", site.site, "303"},
		"https in it":             {"https://" + site.site + "/oidc/login", site.site, "303"},
		"another host in it":      {"http://evil.test/oidc/login", site.site, ""},
		"another Host beside it":  {site.url + "/oidc/login", "evil.test", "303"},
		"a dot behind":            {"/oidc/login", "127.0.0.1.:" + port, ""},
		"as a number":             {"/oidc/login", "2130706433:" + port, ""},
		"a user before it":        {"/oidc/login", "evil@" + site.site, ""},
		"a path in it":            {"/oidc/login", site.site + "/x", ""},
		"two slashes":             {"//evil.test/oidc/login", site.site, "400"},
		"a page at another host":  {"//evil.test/..", site.site, "400"},
		"an encoded slash in one": {"/oidc%2flogin", site.site, "400"},
		"upper case":              {"/OIDC/login", site.site, "400"},
	} {
		t.Run(name, func(t *testing.T) {
			got := attacked{process: site.process}.raw(t, "GET "+c.target+" HTTP/1.1\r\nHost: "+c.host+"\r\nAccept: text/html\r\nConnection: close\r\n\r\n")
			to, err := url.Parse(got.header.Get("Location"))
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case c.status == "303" && (got.status != http.StatusSeeOther || to.Query().Get("redirect_uri") != site.url+"/oidc/callback"):
				t.Errorf("%d to %v", got.status, to)
			case c.status == "400" && got.status != http.StatusBadRequest:
				t.Errorf("%d", got.status)
			case c.status != "303" && (to.String() != "" || len(got.header["Set-Cookie"]) != 0 || strings.Contains(got.body, "evil")):
				t.Errorf("%d to %v, %v %.200s", got.status, to, got.header["Set-Cookie"], got.body)
			}
		})
	}
}
