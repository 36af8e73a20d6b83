package tests

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestBehindLoadBalancer: what a trusted proxy says of the client's scheme counts for sign-in, the
// cookies and the addresses that the gateway writes; what anybody else says does not.
func TestBehindLoadBalancer(t *testing.T) {
	key := newKey(t, "RS256", "k1")
	provider := newIssuer(t, key)
	global := fmt.Sprintf("oidc {\n issuer %s\n client_id gateway\n auth_method pkce\n redirect_hosts wandb.example.com\n}", provider.name)
	provider.misbehaves(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/.well-known/openid-configuration" {
			return false
		}
		document := provider.discovery()
		document["token_endpoint"] = provider.URL + "/token"
		w.Header().Set("Content-Type", "application/json")
		w.Write([]byte(toJSON(document)))
		return true
	})
	for name, tt := range map[string]struct {
		trusted, scheme string
	}{
		"trusted":   {"127.0.0.0/8", "https"},
		"a network": {"10.0.0.0/24", "http"},
	} {
		t.Run(name, func(t *testing.T) {
			servers := fmt.Sprintf("servers {\n trusted_proxies static %s\n trusted_proxies_strict\n client_ip_headers X-Forwarded-For\n}", tt.trusted)
			p := start(t, config{global: global, caddy: servers, upstream: newRecorder(t).host()})
			site := strings.TrimPrefix(p.url, "http://")
			file := strings.Replace(config{global: global, caddy: servers, upstream: "127.0.0.1:9"}.caddyfile(p.admin, site), "http://"+site, "http://:"+site[strings.LastIndex(site, ":")+1:], 1)
			if status, body := p.loadFile(file); status != http.StatusOK { // any name, as behind a load balancer
				t.Fatalf("%d %s", status, body)
			}
			a := p.hosted(t, "wandb.example.com", "/oidc/login", http.Header{"Accept": {"text/html"}, "X-Forwarded-Proto": {"https"}, "X-Forwarded-For": {"203.0.113.7"}})
			to, err := url.Parse(a.header.Get("Location"))
			if err != nil || to.Query().Get("redirect_uri") != tt.scheme+"://wandb.example.com/oidc/callback" {
				t.Errorf("sign-in begins with %d, redirect_uri %q, %s", a.status, to.Query().Get("redirect_uri"), a.body)
			}
			if secure := strings.Contains(a.header.Get("Set-Cookie"), "Secure"); secure != (tt.scheme == "https") {
				t.Errorf("the flow's cookie is %q", a.header.Get("Set-Cookie"))
			}
			a = p.hosted(t, "wandb.example.com", "/.well-known/oauth-authorization-server", http.Header{"X-Forwarded-Proto": {"https"}})
			if !strings.Contains(a.body, `"`+tt.scheme+`://wandb.example.com/oidc/token"`) {
				t.Errorf("the metadata say %s", a.body)
			}
			// Health checks name no host.
			if a := p.send("GET", "/wandb-gateway/readyz", "", "", nil); a.status != http.StatusOK {
				t.Errorf("readyz answers %d", a.status)
			}
		})
	}
}

// hosted sends a GET for a host of that name.
func (p *process) hosted(t *testing.T, host, path string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequest("GET", p.url+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host, req.Header = host, header
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	return readResponse(t, res)
}

func readResponse(t *testing.T, res *http.Response) answer {
	t.Helper()
	defer res.Body.Close()
	var b strings.Builder
	if err := res.Write(&b); err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, b.String()}
}
