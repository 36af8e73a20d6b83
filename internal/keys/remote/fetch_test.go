package remote

import (
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

func TestValidIssuerURL(t *testing.T) {
	for _, s := range []string{
		"https://acme.okta.com", "https://idp.test/", "https://idp.test:8443/realms/acme", "https://token.actions.githubusercontent.com",
		"https://login.microsoftonline.com/5b973f99-77df-4beb-b27d-aa0c70b8482c/v2.0", "https://IdP.Test/A%20b", "https://10.0.0.1", "https://[fd00::1]:443",
		"http://localhost:8080", "http://127.0.0.1", "http://127.1.2.3:99/a", "http://[::1]:5556/dex",
	} {
		if err := ValidIssuerURL(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for name, s := range map[string]string{
		"nothing":             "",
		"no scheme":           "acme.okta.com",
		"scheme alone":        "https://",
		"http":                "http://idp.test",
		"http, like loopback": "http://localhost.evil.test",
		"http, like 127":      "http://127.0.0.1.evil.test",
		"http, private":       "http://10.0.0.1",
		"upper-case scheme":   "HTTPS://idp.test",
		"file":                "file:///etc/passwd",
		"javascript":          "javascript:alert(1)",
		"opaque":              "https:idp.test",
		"a user name":         "https://a@idp.test",
		"a password":          "https://a:b@idp.test",
		"a query":             "https://idp.test/?a=b",
		"an empty query":      "https://idp.test?",
		"a fragment":          "https://idp.test#a",
		"an empty fragment":   "https://idp.test#",
		"a backslash":         `https://idp.test\@evil.test`,
		"a blank":             "https://idp.test/ a",
		"a blank in front":    " https://idp.test",
		"a newline":           "https://idp.test\n",
		"a NUL":               "https://idp.test\x00",
		"letters":             "https://идп.test",
		"an empty port":       "https://idp.test:",
		"a port of letters":   "https://idp.test:a",
		"bad escapes":         "https://idp.test/%zz",
		"a template":          "https://login.microsoftonline.com/{tenantid}/v2.0",
		"too long":            "https://idp.test/" + strings.Repeat("a", maxURLBytes),
	} {
		if err := ValidIssuerURL(s); iam.KindOf(err) != iam.KindInvalid || len(err.Error()) > 600 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// answers makes an issuer of handlers by path; URL stands for its own address.
func answers(t *testing.T, tls bool, paths map[string]string) *httptest.Server {
	t.Helper()
	var server *httptest.Server
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := paths[r.URL.Path]
		if to, redirects := strings.CutPrefix(body, "redirect "); redirects {
			http.Redirect(w, r, strings.ReplaceAll(to, "URL", server.URL), http.StatusTemporaryRedirect)
			return
		}
		if !ok {
			http.NotFound(w, r)
			return
		}
		fmt.Fprint(w, strings.ReplaceAll(body, "URL", server.URL))
	})
	server = httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes
	if tls {
		server.StartTLS()
	} else {
		server.Start()
	}
	t.Cleanup(server.Close)
	return server
}

func rootsOf(s *httptest.Server) *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return roots
}

const (
	standard = "/.well-known/openid-configuration"
	seed     = "/.well-known/oidc-configuration"
)

func TestDiscover(t *testing.T) {
	described := `{"issuer":"URL","jwks_uri":"URL/keys","id_token_signing_alg_values_supported":["RS256",5,"ES256"],"claims_supported":["sub"]}`
	for name, c := range map[string]struct {
		suffix string
		paths  map[string]string
		path   string
		says   string
	}{
		"the standard's path":          {"", map[string]string{standard: described}, standard, ""},
		"W&B's older path (FED-4)":     {"", map[string]string{seed: described}, seed, ""},
		"both":                         {"", map[string]string{standard: described, seed: "garbage"}, standard, ""},
		"a page, then the older path":  {"", map[string]string{standard: "<!doctype html><html>", seed: described}, seed, ""},
		"below a path":                 {"/realms/acme", map[string]string{"/realms/acme" + standard: strings.Replace(described, `"URL"`, `"URL/realms/acme"`, 1)}, standard, ""},
		"with a slash at the end":      {"/", map[string]string{standard: strings.Replace(described, `"URL"`, `"URL/"`, 1)}, standard, ""},
		"redirected within the origin": {"", map[string]string{standard: "redirect /a", "/a": "redirect URL/b", "/b": "redirect /c", "/c": described}, standard, ""},
		"redirected too often":         {"", map[string]string{standard: "redirect /a", "/a": "redirect /b", "/b": "redirect /c", "/c": "redirect /d", "/d": described}, "", "more than 3"},
		"redirected elsewhere":         {"", map[string]string{standard: "redirect https://127.0.0.1:1/"}, "", "redirects to other places"},
		"neither":                      {"", nil, "", "404"},
		"calls itself otherwise":       {"", map[string]string{standard: strings.Replace(described, `"URL"`, `"URL/"`, 1), seed: described}, "", "not exactly"},
		"no jwks_uri":                  {"", map[string]string{standard: `{"issuer":"URL"}`}, "", "jwks_uri"},
		"jwks_uri over http":           {"", map[string]string{standard: strings.Replace(described, "URL/keys", "http://keys.test/", 1)}, "", "not https"},
		"jwks_uri on another host":     {"", map[string]string{standard: strings.Replace(described, "URL/keys", "https://keys.test/", 1)}, standard, ""},
		"algorithms of another type":   {"", map[string]string{standard: `{"issuer":"URL","jwks_uri":"URL/keys","id_token_signing_alg_values_supported":"RS256"}`}, standard, ""},
		"a description that is large":  {"", map[string]string{standard: described + strings.Repeat(" ", maxDiscoveryBytes)}, "", "larger"},
	} {
		t.Run(name, func(t *testing.T) {
			server := answers(t, false, c.paths)
			found, err := Discover(t.Context(), Config{Issuer: server.URL + c.suffix})
			if c.says != "" {
				if iam.KindOf(err) != iam.KindUnavailable || !strings.Contains(err.Error(), c.says) {
					t.Fatal(err)
				}
				return
			}
			if err != nil || found.Issuer != server.URL+c.suffix || found.Path != c.path || found.JWKSURI == "" {
				t.Fatalf("%+v, %v", found, err)
			}
			if name == "both" && !slices.Equal(found.Algorithms, []string{"RS256", "ES256"}) {
				t.Error(found.Algorithms)
			}
		})
	}
	if _, err := Discover(t.Context(), Config{Issuer: "http://idp.test"}); iam.KindOf(err) != iam.KindInvalid {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	k := newKey(t)
	text, err := jws.MarshalKeySet([]*jws.Key{k.Public()})
	if err != nil {
		t.Fatal(err)
	}
	plain := answers(t, false, map[string]string{"/keys": string(text)})
	paths := map[string]string{standard: `{"issuer":"URL","jwks_uri":"URL/keys"}`, "/keys": string(text)}
	server := answers(t, true, paths)
	set := func(c Config) *Set {
		s, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(s.Close)
		return s
	}
	wantKey(t, set(Config{Issuer: server.URL, Roots: rootsOf(server)}), k)
	if e := wantUnavailable(t, set(Config{Issuer: server.URL}), k.ID()); !strings.Contains(e.Err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", e)
	}
	if e := wantUnavailable(t, set(Config{Issuer: server.URL, Roots: x509.NewCertPool()}), k.ID()); !strings.Contains(e.Err.Error(), "certificate") {
		t.Errorf("no authority: %v", e)
	}
	// Never from https to http, neither by redirect nor by description.
	down := answers(t, true, map[string]string{standard: `{"issuer":"URL","jwks_uri":"URL/keys"}`, "/keys": "redirect " + plain.URL + "/keys"})
	if e := wantUnavailable(t, set(Config{Issuer: down.URL, Roots: rootsOf(down)}), k.ID()); !strings.Contains(e.Err.Error(), "redirect") {
		t.Errorf("a redirect to http: %v", e)
	}
	points := answers(t, true, map[string]string{standard: `{"issuer":"URL","jwks_uri":"` + plain.URL + `/keys"}`})
	if e := wantUnavailable(t, set(Config{Issuer: points.URL, Roots: rootsOf(points)}), k.ID()); !strings.Contains(e.Err.Error(), "not https") {
		t.Errorf("jwks_uri over http: %v", e)
	}
}

func TestConfigurationsThatCannotWork(t *testing.T) {
	for name, c := range map[string]Config{
		"nothing":              {},
		"an issuer over http":  {Issuer: "http://idp.test"},
		"keys over http":       {Issuer: "https://idp.test", KeysURL: "http://idp.test/keys"},
		"keys in a file":       {Issuer: "https://idp.test", KeysURL: "file:///keys"},
		"keys with a password": {Issuer: "https://idp.test", KeysURL: "https://a:hunter2@idp.test/keys"},
		"keys at a fragment":   {Issuer: "https://idp.test", KeysURL: "https://idp.test/keys#a"},
	} {
		if s, err := New(c); s != nil || iam.KindOf(err) != iam.KindInvalid || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s, err := New(Config{Issuer: "https://idp.test", KeysURL: "https://keys.test/discovery/v2.0/keys?appid=1"})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// FuzzDiscovery: whatever an issuer says about itself, its keys are fetched from https or from this
// machine only, and only if it calls itself what it is called.
func FuzzDiscovery(f *testing.F) {
	for _, seed := range []string{
		`{"issuer":"https://idp.test","jwks_uri":"https://idp.test/keys","id_token_signing_alg_values_supported":["RS256"]}`,
		`{"issuer":"https://idp.test/","jwks_uri":"http://idp.test/keys"}`, `{"issuer":"https://idp.test","jwks_uri":"https://a@idp.test#"}`,
		`{"issuer":"https://idp.test","issuer":"x"}`, `[]`, ``, `null`, `{"issuer":"https://idp.test","jwks_uri":5}`,
	} {
		f.Add([]byte(seed))
	}
	c := &client{issuer: "https://idp.test"}
	f.Fuzz(func(t *testing.T, body []byte) {
		found, err := c.readDiscovery(body)
		if err == nil && (found.Issuer != c.issuer || !strings.HasPrefix(found.JWKSURI, "https://") || strings.ContainsAny(found.JWKSURI, "@#\n ") && !strings.Contains(found.JWKSURI[8:], "/")) {
			t.Fatalf("%+v", found)
		}
	})
}

// FuzzFreshness: whatever an issuer asks for stays within the bounds.
func FuzzFreshness(f *testing.F) {
	for _, seed := range []string{"", "max-age=600", "max-age=0", "no-store", "max-age=\"60\", private", "max-age=99999999999999999999", ",,=,"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, control string) {
		if got := freshness(http.Header{"Cache-Control": {control}}); got < minFresh || got > maxFresh || got+fetchTimeout > MaxRemoval || got < time.Minute {
			t.Fatal(got)
		}
	})
}
