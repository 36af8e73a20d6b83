package standin

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
)

// TestProviderSignsIn goes through a whole sign-in with the gateway's own connector.
func TestProviderSignsIn(t *testing.T) {
	var p *Provider
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { p.ServeHTTP(w, r) }))
	defer server.Close()
	var err error
	if p, err = NewProvider(server.URL, "wandb", Person{"alice", "alice@acme.test", "Alice"}); err != nil {
		t.Fatal(err)
	}
	c, err := oidc.New(oidc.Config{Issuer: server.URL, ClientID: "wandb", Method: oidc.PKCE})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	location, flow, err := c.Begin(t.Context(), "http://localhost:8080/oidc/callback", "/")
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page, err := browser.Get(location)
	if err != nil || page.StatusCode != http.StatusOK {
		t.Fatal(page, err)
	}
	page.Body.Close()
	choose := func(who string, want int) string {
		t.Helper()
		res, err := browser.PostForm(location, url.Values{"username": {who}})
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.StatusCode != want {
			t.Fatalf("%s is answered %d", who, res.StatusCode)
		}
		return res.Header.Get("Location")
	}
	choose("mallory", http.StatusBadRequest)
	answer, err := oidc.ParseAnswer(httptest.NewRequest(http.MethodGet, choose("alice", http.StatusSeeOther), nil), oidc.PKCE)
	if err != nil {
		t.Fatal(err)
	}
	id, err := c.Finish(t.Context(), flow, answer)
	if err != nil || id.Email != "alice@acme.test" || id.Username != "alice" {
		t.Fatalf("%+v, %v", id, err)
	}
	if _, err := c.Finish(t.Context(), flow, answer); err == nil {
		t.Error("a code is redeemed twice")
	}
	token, err := p.IdentityToken("job", "wandb", 60)
	if err != nil || strings.Count(token, ".") != 2 {
		t.Errorf("%q, %v", token, err)
	}
}
