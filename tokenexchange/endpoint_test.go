package tokenexchange

import (
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

var update = flag.Bool("update", false, "write golden files")

// TestAnswerAsTheSDKReadsIt is sdk-wire 1.3: exactly 200, and expires_in an integer.
func TestAnswerAsTheSDKReadsIt(t *testing.T) {
	h := newHouse(t)
	// The SDK sends the colons of the grant type as they are.
	body := "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion=" + url.QueryEscape(h.assertion(nil).Reveal())
	w := h.send(httptest.NewRequest(http.MethodPost, "https://gateway.test/oidc/token", strings.NewReader(body)), "application/x-www-form-urlencoded")
	var answer map[string]json.RawMessage
	if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	if string(answer["expires_in"]) != "3600" || string(answer["token_type"]) != `"Bearer"` || len(answer) != 3 {
		t.Errorf("%s", w.Body)
	}
	if w.Header().Get("Cache-Control") != "no-store" || w.Header().Get("Content-Type") != "application/json" {
		t.Errorf("%v", w.Header())
	}
	if len(h.events) != 1 || h.events[0].Principal != h.alice.Ref() || h.events[0].TokenID == "" || h.events[0].Status != 200 || h.events[0].AssertionID != "j1" {
		t.Errorf("%+v", h.events)
	}
}

// TestRequestForms is J27.
func TestRequestForms(t *testing.T) {
	h := newHouse(t)
	good := h.assertion(nil)
	form := func(change func(url.Values)) string {
		f := grant(good)
		change(f)
		return f.Encode()
	}
	tests := []struct {
		name, method, target, contentType, body string
		header                                  [2]string
		status                                  int
		code                                    string
	}{
		{name: "another grant", body: form(func(f url.Values) { f.Set("grant_type", "authorization_code") }), status: 400, code: "unsupported_grant_type"},
		{name: "token exchange of RFC 8693", body: form(func(f url.Values) { f.Set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange") }), status: 400, code: "unsupported_grant_type"},
		{name: "no grant", body: form(func(f url.Values) { f.Del("grant_type") }), status: 400, code: "invalid_request"},
		{name: "no assertion", body: form(func(f url.Values) { f.Del("assertion") }), status: 400, code: "invalid_request"},
		{name: "empty assertion", body: form(func(f url.Values) { f.Set("assertion", "") }), status: 400, code: "invalid_request"},
		{name: "two assertions", body: form(func(f url.Values) { f.Add("assertion", "x") }), status: 400, code: "invalid_request"},
		{name: "two grants", body: form(func(f url.Values) { f.Add("grant_type", grantType) }), status: 400, code: "invalid_request"},
		{name: "a scope", body: form(func(f url.Values) { f.Set("scope", "admin") }), status: 400, code: "invalid_scope"},
		{name: "another client", body: form(func(f url.Values) { f.Set("client_id", "x") }), status: 400, code: "invalid_grant"},
		{name: "in the query string", target: "/oidc/token?" + grant(good).Encode(), status: 400, code: "invalid_request"},
		{name: "assertion in the query string", target: "/oidc/token?assertion=x", body: form(func(url.Values) {}), status: 400, code: "invalid_request"},
		{name: "JSON", contentType: "application/json", body: `{"grant_type":"` + grantType + `"}`, status: 400, code: "invalid_request"},
		{name: "multipart", contentType: "multipart/form-data; boundary=x", body: "--x--", status: 400, code: "invalid_request"},
		{name: "no content type", contentType: "-", body: form(func(url.Values) {}), status: 400, code: "invalid_request"},
		{name: "UTF-16", contentType: "application/x-www-form-urlencoded; charset=utf-16", body: form(func(url.Values) {}), status: 400, code: "invalid_request"},
		{name: "compressed", header: [2]string{"Content-Encoding", "gzip"}, body: form(func(url.Values) {}), status: 400, code: "invalid_request"},
		{name: "semicolons", body: strings.ReplaceAll(form(func(url.Values) {}), "&", ";"), status: 400, code: "invalid_request"},
		{name: "bad escape", body: "grant_type=%zz", status: 400, code: "invalid_request"},
		{name: "65 KiB", body: form(func(f url.Values) { f.Set("x", strings.Repeat("a", 65<<10)) }), status: 413, code: "invalid_request"},
		{name: "GET", method: http.MethodGet, status: 405, code: "invalid_request"},
		{name: "PUT", method: http.MethodPut, body: form(func(url.Values) {}), status: 405, code: "invalid_request"},
		{name: "OPTIONS", method: http.MethodOptions, status: 405, code: "invalid_request"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.method == "" {
				test.method = http.MethodPost
			}
			if test.target == "" {
				test.target = "/oidc/token"
			}
			switch test.contentType {
			case "":
				test.contentType = "application/x-www-form-urlencoded"
			case "-":
				test.contentType = ""
			}
			r := httptest.NewRequest(test.method, "https://gateway.test"+test.target, strings.NewReader(test.body))
			if test.header[0] != "" {
				r.Header.Set(test.header[0], test.header[1])
			}
			w := h.send(r, test.contentType)
			var answer struct{ Error, Error_description string }
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatalf("%d: %s", w.Code, w.Body)
			}
			if w.Code != test.status || answer.Error != test.code || answer.Error_description == "" {
				t.Errorf("%d %s", w.Code, w.Body)
			}
			if w.Header().Get("Cache-Control") != "no-store" {
				t.Error("the answer may be kept")
			}
			if strings.Contains(w.Body.String(), good.Reveal()) {
				t.Error("the assertion is in the answer")
			}
		})
	}
}

// TestOneWording is J30: whatever an assertion lacks, the answer is the same to the byte.
func TestOneWording(t *testing.T) {
	h := newHouse(t)
	var first string
	for _, assertion := range []iam.Secret{
		iam.NewSecret("a.b.c"), iam.NewSecret("abc"), h.assertion(map[string]any{"iss": "https://x.test"}), h.assertion(map[string]any{"aud": "x"}),
		h.assertion(map[string]any{"sub": "nobody"}), h.assertion(map[string]any{"iat": 1, "exp": 2}), h.assertion(map[string]any{"email_verified": false}),
		h.sign(h.key, "logout+jwt", h.claims(nil)), iam.NewSecret(h.assertion(nil).Reveal()[:200] + strings.Repeat("A", 40)),
	} {
		w := h.post(grant(assertion))
		if w.Code != http.StatusBadRequest {
			t.Fatalf("%d: %s", w.Code, w.Body)
		}
		if first == "" {
			first = w.Body.String()
		}
		if w.Body.String() != first {
			t.Errorf("%s\nand\n%s", first, w.Body)
		}
	}
	golden(t, "refusal.json", []byte(first+"\n"))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || string(want) != string(got) {
		t.Errorf("%s: got\n%s\nwant\n%s (%v)", name, got, want, err)
	}
}

// TestOutageIsNoRefusal: an issuer that cannot be asked is 503, and says when to try again.
func TestOutageIsNoRefusal(t *testing.T) {
	h := newHouse(t, func(c *Config) {
		c.Issuers = append(c.Issuers, TrustedIssuer{URL: "http://127.0.0.1:1"}) // nobody listens there
	})
	w := h.post(grant(h.assertion(map[string]any{"iss": "http://127.0.0.1:1"})))
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), "temporarily_unavailable") {
		t.Errorf("%d %v: %s", w.Code, w.Header(), w.Body)
	}
}

func TestFailuresAreLimited(t *testing.T) {
	limits := map[string]func(*Config){
		"by address": func(c *Config) {
			c.Failures = failure.NewLimit[netip.Prefix](failure.Rate{Number: 3, Period: time.Hour})
		},
		"by issuer": func(c *Config) {
			c.IssuerFailures = failure.NewLimit[string](failure.Rate{Number: 3, Period: time.Hour})
		},
	}
	for name, limit := range limits {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, limit)
			for i := range 5 {
				w := h.post(grant(h.assertion(map[string]any{"sub": fmt.Sprint("guess", i)})))
				want := http.StatusBadRequest
				if i >= 3 {
					want = http.StatusTooManyRequests
				}
				if w.Code != want || (want == http.StatusTooManyRequests) != (w.Header().Get("Retry-After") != "") {
					t.Errorf("failure %d: %d %v", i+1, w.Code, w.Header())
				}
			}
			if w := h.post(grant(h.assertion(nil))); w.Code != http.StatusOK {
				t.Errorf("a good assertion is answered %d: guesses lock its owner out", w.Code)
			}
		})
	}
}

func TestMetadata(t *testing.T) {
	h := newHouse(t)
	w := httptest.NewRecorder()
	h.endpoint().Metadata(w, httptest.NewRequest(http.MethodGet, "/.well-known/oauth-authorization-server", nil))
	golden(t, "metadata.json", append(w.Body.Bytes(), '\n'))
	w = httptest.NewRecorder()
	h.endpoint().Keys(w, httptest.NewRequest(http.MethodGet, "/.well-known/wandb-gateway/jwks.json", nil))
	if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), `"use":"sig"`) || w.Header().Get("Cache-Control") != "public, max-age=300" {
		t.Errorf("%d %v: %s", w.Code, w.Header(), w.Body)
	}
	w = httptest.NewRecorder()
	h.endpoint().Keys(w, httptest.NewRequest(http.MethodPost, "/.well-known/wandb-gateway/jwks.json", nil))
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST is answered %d", w.Code)
	}
}

// FuzzForm holds reading the form to its promise: one assertion, as it was sent, or an OAuth error.
func FuzzForm(f *testing.F) {
	for _, body := range []string{"", "grant_type=" + grantType + "&assertion=a.b.c", "assertion=a&assertion=b", "%", "a=b;c=d", "grant_type=x", "grant_type=" + grantType + "&assertion=%00"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		r := httptest.NewRequest(http.MethodPost, "/oidc/token", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		form, err := readForm(r)
		if err != nil {
			if _, ok := err.(*oauthError); !ok {
				t.Errorf("%q: %v is no OAuth error", body, err)
			}
			return
		}
		if len(form["assertion"]) != 1 || form.Get("assertion") == "" || form.Get("grant_type") != grantType {
			t.Errorf("%q is read as %v", body, form)
		}
	})
}
