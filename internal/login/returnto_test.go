package login

import (
	"net/url"
	"strings"
	"testing"
)

// hostile are the payloads of open redirects (threats b.3).
var hostile = []string{
	"//evil.example", "///evil.example", "////evil.example/%2e%2e", `/\evil.example`, `\\evil.example`,
	`/\/evil.example`, `\/\/evil.example`, "/%5cevil.example", "/%09/evil.example", "/\t/evil.example",
	"/\n/evil.example", "/\r/evil.example", "/\v/evil.example", "/ /evil.example", "/\t\t\\\t/evil.example",
	`/./\evil.example`, `/./../../\evil.example`, "/..//evil.example", "/.//evil.example", "/%2f%2fevil.example",
	"%2f%2fevil.example", "/%2fevil.example", "https:evil.example", "https:/evil.example", "https:///evil.example",
	`http:\\evil.example`, "hTTps://evil.example", "//evil%00.example", "//evil%E3%80%82example", "〵evil.example", "/〵evil.example",
	"https://gw.test@evil.example", "https://gw.test:443@evil.example", "https://gw.test%40evil.example", "https://evil.example#@gw.test",
	"https://gw.test.evil.example", "https://evilgw.test", `https://gw.test\.evil.example`, `https://evil.example\@gw.test`, "https://evil.example?gw.test",
	"https://gw.test%0d%0aLocation:%20https://evil.example", "/path%0d%0aSet-Cookie:x=1", "/path\r\nSet-Cookie:x=1",
	"javascript:alert(1)", "java%0dscript:alert(1)", "data:text/html,x", "vbscript:x", "blob:", "file:///etc/passwd", "about:blank",
	"http://0xd83ad6ce", "http://3627734734", "http://00330.0x3a.54990", "http://[::ffff:127.0.0.1]", "http://127.1",
	"", " ", "/" + strings.Repeat("a", 100<<10), "acme/x", "?x", "#x", "/#x", "/a#/evil.example", "/a/../b", "/a/./b", "/%2e%2e/b", "/%252e%252e/b",
	"/%252f%252fevil.example", "/%25252fevil.example", "/a%00", "/a%7f", "/a%5c..%5cb", "/%25%35%63evil.example",
	"/logout", "/oidc/login", "/oidc/login?return_to=/oidc/login", "/oidc/callback", "/oidc/callback?code=x&state=y", "/oidc/token", "/oidc",
	"/LOGOUT", "/logout/", "/%6cogout", "/%256cogout", "/scim/Users", "/wandb-gateway/readyz", "/.well-known/oauth-authorization-server",
}

func TestReturnToStaysHere(t *testing.T) { // O07
	for _, raw := range hostile {
		for _, spelling := range []string{raw, url.QueryEscape(raw), url.QueryEscape(url.QueryEscape(raw))} {
			if got := ReturnTo(spelling); got != "/" {
				t.Errorf("%.80q comes back as %.80q", spelling, got)
			}
			// As they come in a query.
			h := url.Values{"return_to": {spelling}}
			values, err := url.ParseQuery("return_to=" + h.Get("return_to"))
			if err == nil {
				sameSite(t, spelling, returnTo(values))
			}
		}
	}
	for query, want := range map[string]string{
		"return_to=/ok&return_to=//evil": "/", "return_to[]=//evil": "/", "return_to=/ok": "/ok", "": "/", "return_to": "/",
		"return_to=/a%3Fb%3Dc%26d": "/a?b=c&d", "return_to=%2Facme%2Fx": "/acme/x", "return_to=%252Facme": "/",
	} {
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatal(err)
		}
		if got := returnTo(values); got != want {
			t.Errorf("%s: %q, want %q", query, got, want)
		}
	}
}

func TestReturnToIsKeptByteForByte(t *testing.T) {
	for _, path := range []string{
		"/", "/acme/x", "/acme/x/runs/abc?workspace=user-alice&a=%2F%2Fb", "/acme/x/", "/a%20b", "/a%2520b", "/acme/na%C3%AFve", "/a?", "/a?x=https://b.test//c",
		"/a?b=\"'<>", "/a;b=c", "/a:b@c", "/authorize", "/authorize?signup=true&ref=models", "/logouts", "/oidcx", "/acme/logout", "/a%25", "/a%25zz", "/a?q=%0d%0a",
		"/%E5%98%8A%E5%98%8DSet-Cookie:x", "/artifacts/x/model%3Av0",
	} {
		if got := ReturnTo(path); got != path {
			t.Errorf("%q comes back as %q", path, got)
		}
	}
}

// sameSite asserts that a browser that goes to an address from a page of ours stays with us.
func sameSite(t *testing.T, raw, got string) {
	t.Helper()
	if got != raw && got != "/" && url.QueryEscape(got) != raw && url.QueryEscape(url.QueryEscape(got)) != raw {
		t.Errorf("%.80q became %.80q", raw, got)
	}
	base, _ := url.Parse("https://gw.test/oidc/callback")
	to, err := base.Parse(got)
	if err != nil || to.Scheme != "https" || to.Host != "gw.test" || to.User != nil {
		t.Errorf("%.80q leads to %v, %v", raw, to, err)
	}
}

func FuzzReturnTo(f *testing.F) {
	for _, raw := range hostile {
		f.Add(raw[:min(len(raw), 4096)])
	}
	f.Add("/acme/x?y=z")
	f.Fuzz(func(t *testing.T, raw string) {
		got := ReturnTo(raw)
		if got != raw && got != "/" {
			t.Fatalf("%q became %q", raw, got)
		}
		base, _ := url.Parse("https://gw.test/oidc/callback")
		to, err := base.Parse(got)
		if err != nil || to.Host != "gw.test" || to.Scheme != "https" || to.User != nil || to.Fragment != "" {
			t.Fatalf("%q leads to %v, %v", raw, to, err)
		}
		if len(got) > 1 && (got[1] == '/' || got[1] == '\\') || strings.ContainsAny(got, "\\\r\n\t\x00") {
			t.Fatalf("%q: %q", raw, got)
		}
		if path := strings.ToLower(to.Path); path == "/logout" || strings.HasPrefix(path, "/oidc/") {
			t.Fatalf("%q leads to the door %q", raw, path)
		}
	})
}
