//go:build e2e

package tests

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// cacheFolder is where what the tests install outlives them: E2E_CACHE, or the user's cache folder.
func cacheFolder(t *testing.T) string {
	t.Helper()
	cache := os.Getenv("E2E_CACHE")
	if cache == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			t.Fatal(err)
		}
		cache = filepath.Join(user, "wandb-gateway-e2e")
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	return cache
}

// installed returns a folder of the cache that install fills once, whatever ends in between.
func installed(t *testing.T, name string, install func(dir string) error) string {
	t.Helper()
	cache := cacheFolder(t)
	unlock := lockFile(t, filepath.Join(cache, "lock"))
	defer unlock()
	dir := filepath.Join(cache, name)
	ready := filepath.Join(dir, ".ready")
	if _, err := os.Stat(ready); err == nil {
		return dir
	}
	os.RemoveAll(dir) // left by an installation that was interrupted
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := install(dir); err != nil {
		t.Fatalf("installing %s: %v", name, err)
	}
	if err := os.WriteFile(ready, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs a program to its end, in a folder; an error holds what it printed.
func command(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// provider is a running OpenID provider of npm's; provider/provider.mjs says what it can do.
type provider struct {
	Issuer  string `json:"issuer"`
	Control string `json:"control"`
}

// startProvider installs and starts the provider, with the client acme.
func startProvider(t *testing.T) *provider {
	t.Helper()
	n := startNode(t, "provider", "provider.mjs")
	p := new(provider)
	if err := json.Unmarshal([]byte(n.ready), p); err != nil {
		t.Fatal(err)
	}
	go func() { // so that it never waits for a reader
		for n.lines.Scan() {
			fmt.Fprintln(n.logs, n.lines.Text())
		}
	}()
	p.set(t, "/client", map[string]any{"client_id": "acme"})
	return p
}

// set tells the provider something on its control port, and returns its answer.
func (p *provider) set(t *testing.T, path string, value any) (answer map[string]any) {
	t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(p.Control+path, "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || json.Unmarshal(b, &answer) != nil {
		t.Fatalf("%s: %d %v %s", path, res.StatusCode, err, b)
	}
	return answer
}

// idToken signs an account in as a browser does, with PKCE, and returns its id token.
func (p *provider) idToken(t *testing.T, account string) string {
	t.Helper()
	const callback = "http://127.0.0.1/oidc/callback"
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	var arrived *url.URL
	browser := &http.Client{Jar: jar, Timeout: 20 * time.Second, CheckRedirect: func(req *http.Request, _ []*http.Request) error {
		if strings.HasPrefix(req.URL.String(), callback) {
			arrived = req.URL
			return http.ErrUseLastResponse
		}
		return nil
	}}
	verifier := rand.Text() + rand.Text()
	challenge := sha256.Sum256([]byte(verifier))
	res, err := browser.Get(p.Issuer + "/auth?" + url.Values{
		"client_id": {"acme"}, "response_type": {"code"}, "scope": {"openid email"}, "redirect_uri": {callback}, "state": {rand.Text()},
		"nonce": {rand.Text()}, "code_challenge": {encode(challenge[:])}, "code_challenge_method": {"S256"}, "login_hint": {account},
	}.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if page, _ := io.ReadAll(res.Body); arrived == nil {
		t.Fatalf("the sign-in ends with %d %s", res.StatusCode, page)
	}
	return tokenFrom(t, p.Issuer+"/token", "id_token", url.Values{
		"grant_type": {"authorization_code"}, "code": {arrived.Query().Get("code")}, "redirect_uri": {callback},
		"client_id": {"acme"}, "code_verifier": {verifier},
	})
}

// tokenFrom asks a token endpoint and returns one member of its answer.
func tokenFrom(t *testing.T, endpoint, member string, form url.Values) string {
	t.Helper()
	res, err := client.PostForm(endpoint, form)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var tokens map[string]any
	if err := json.Unmarshal(b, &tokens); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", endpoint, res.StatusCode, b)
	}
	token, _ := tokens[member].(string)
	if token == "" {
		t.Fatalf("%s answers no %s", endpoint, member)
	}
	return token
}

// TestProvider: what the other tests take for granted of the provider.
func TestProvider(t *testing.T) {
	t.Parallel()
	p := startProvider(t)
	header, claims := decodeToken(t, p.idToken(t, "alice@acme.test"))
	if claims["iss"] != p.Issuer || claims["sub"] != "alice@acme.test" || claims["aud"] != "acme" || claims["email_verified"] != true || header["alg"] != "RS256" {
		t.Errorf("the id token says %v %v", header, claims)
	}
	p.set(t, "/account", map[string]any{"id": "repo:acme/detector", "claims": map[string]any{"ref": "refs/heads/main"}})
	p.set(t, "/lifetime", map[string]any{"seconds": 90})
	rotated := p.set(t, "/rotate", map[string]any{"alg": "ES256", "keep": true})
	header, claims = decodeToken(t, p.idToken(t, "repo:acme/detector"))
	if claims["sub"] != "repo:acme/detector" || claims["ref"] != "refs/heads/main" || claims["exp"].(float64)-claims["iat"].(float64) != 90 ||
		header["alg"] != "ES256" || header["kid"] != rotated["kid"] {
		t.Errorf("the id token says %v %v", header, claims)
	}
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar, Timeout: 20 * time.Second}
	res, err := browser.Get(p.Issuer + "/auth?client_id=acme&response_type=id_token&response_mode=form_post&scope=openid&nonce=n&state=s&login_hint=bob%40acme.test&redirect_uri=http://127.0.0.1/oidc/callback")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if page, _ := io.ReadAll(res.Body); !strings.Contains(string(page), `name="id_token"`) {
		t.Errorf("the implicit flow ends with %d %s", res.StatusCode, page)
	}
	for mood, want := range map[string]int{"failing": 503, "refusing": 0, "well": 200} {
		p.set(t, "/mood", map[string]any{"mood": mood})
		status := 0
		if res, err := client.Get(p.Issuer + "/jwks"); err == nil {
			res.Body.Close()
			status = res.StatusCode
		}
		if status != want {
			t.Errorf("while %s it answers %d, want %d", mood, status, want)
		}
	}
	if n := p.set(t, "/requests", nil)["/token"]; n != 2.0 {
		t.Errorf("the token endpoint was asked %v times, want 2", n)
	}
}
