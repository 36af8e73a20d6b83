//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// tap stands between clients and the gateway and notes what a client really sends. It changes one
// thing, if told to: it shortens the announced life of access tokens, because the shortest that the
// gateway grants outlasts a test.
type tap struct {
	mu       sync.Mutex
	requests []tapped
	lifetime int // announced instead of the gateway's, unless 0
}

// tapped is one request of a client. Bodies are kept of exchanges only.
type tapped struct {
	method, path string
	header       http.Header
	body         string
	answer       answer
}

// newTap starts a tap in front of a gateway, and returns the gateway as clients see it.
func newTap(t *testing.T, gateway *process) (*tap, *process) {
	t.Helper()
	target, err := url.Parse(gateway.url)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Host = r.In.Host // the gateway writes upload addresses for who asks
		},
		ModifyResponse: p.note,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/oidc/token" {
			body, _ := io.ReadAll(r.Body)
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	seen := *gateway
	seen.url = server.URL
	return p, &seen
}

func (p *tap) note(res *http.Response) error {
	r := res.Request
	got := tapped{method: r.Method, path: r.URL.Path, header: r.Header.Clone(), answer: answer{status: res.StatusCode, header: res.Header.Clone()}}
	if got.path == "/oidc/token" {
		if r.GetBody != nil {
			sent, err := r.GetBody()
			if err != nil {
				return err
			}
			b, _ := io.ReadAll(sent)
			got.body = string(b)
		}
		b, err := io.ReadAll(res.Body)
		if err != nil {
			return err
		}
		got.answer.body = string(b)
		res.Body = io.NopCloser(bytes.NewReader(p.shortened(b)))
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests = append(p.requests, got)
	return nil
}

func (p *tap) shortened(body []byte) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	var members map[string]json.RawMessage
	if p.lifetime == 0 || json.Unmarshal(body, &members) != nil || members["expires_in"] == nil {
		return body
	}
	members["expires_in"] = json.RawMessage(strconv.Itoa(p.lifetime))
	b, err := json.Marshal(members)
	if err != nil {
		return body
	}
	// Of the same length, which the header announces already: JSON may end with blanks.
	return append(b, bytes.Repeat([]byte(" "), max(0, len(body)-len(b)))...)
}

// renewsAfter makes clients take access tokens for expiring this many seconds after they got them:
// they renew when five minutes are left.
func (p *tap) renewsAfter(seconds int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lifetime = 300 + seconds
}

// about returns the requests for which the condition holds, in order.
func (p *tap) about(condition func(tapped) bool) []tapped {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.requests), func(r tapped) bool { return !condition(r) })
}

// exchanges returns the exchanges of an assertion. Old clients send what their file holds, with the
// line break at its end.
func (p *tap) exchanges(assertion string) []tapped {
	return p.about(func(r tapped) bool {
		form, err := url.ParseQuery(r.body)
		return r.path == "/oidc/token" && err == nil && strings.TrimSpace(form.Get("assertion")) == assertion
	})
}

// granted returns the access tokens that an assertion was exchanged for.
func (p *tap) granted(assertion string) (tokens []string) {
	for _, r := range p.exchanges(assertion) {
		var g grant
		if json.Unmarshal([]byte(r.answer.body), &g) == nil && g.AccessToken != "" {
			tokens = append(tokens, g.AccessToken)
		}
	}
	return tokens
}
