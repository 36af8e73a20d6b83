package gateway

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
)

// signedIn is a scene in which people sign in at wandb.acme.test over https.
func signedIn(t *testing.T) *scene {
	s := newScene(t)
	s.config.SignIn = &SignIn{
		Page: "/oidc/login",
		Ready: func(r *http.Request) error {
			if r.Host != "wandb.acme.test" {
				return &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMisdirected}
			}
			return nil
		},
	}
	s.config.Host.HTTPS = func(*http.Request) bool { return true }
	return s
}

// browse sends a request as a browser on https does; nothing is in it but what is given.
func (s *scene) browse(method, target string, header map[string]string) *httptest.ResponseRecorder {
	s.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(""))
	r.Host = "wandb.acme.test"
	r.Body, r.ContentLength = http.NoBody, 0
	for name, value := range header {
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header.Set(name, value)
	}
	g, err := New(s.config)
	if err != nil {
		s.Fatal(err)
	}
	s.upstream.request = nil
	w := httptest.NewRecorder()
	if err := g.ServeHTTP(w, r, s.upstream); err != nil {
		s.Fatal(err)
	}
	return w
}

const aliceCookie = "__Host-wandb-gateway=alice-key"

func TestPageLoadLeadsToSignIn(t *testing.T) {
	page := map[string]string{"Accept": "text/html,*/*;q=0.8"}
	with := func(pairs ...string) map[string]string {
		h := map[string]string{}
		for name, value := range page {
			h[name] = value
		}
		for i := 0; i < len(pairs); i += 2 {
			h[pairs[i]] = pairs[i+1]
		}
		return h
	}
	for name, test := range map[string]struct {
		method, target string
		header         map[string]string
		status         int
	}{
		"page":                      {"GET", "/vision/team?tab=runs&x=%2F", page, 302},
		"navigation":                {"GET", "/vision/team?tab=runs&x=%2F", with("Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), 302},
		"ended session":             {"GET", "/vision/team?tab=runs&x=%2F", with("Cookie", "__Host-wandb-gateway=gone"), 302},
		"frame":                     {"GET", "/vision/team", with("Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), 401},
		"script":                    {"GET", "/vision/team", with("Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), 401},
		"HEAD":                      {"HEAD", "/vision/team", page, 401},
		"wrong key in the header":   {"GET", "/vision/team", with("Authorization", "Bearer unknown"), 401},
		"no page wanted":            {"GET", "/vision/team", map[string]string{"Accept": "application/json"}, 401},
		"file":                      {"GET", "/files/vision/team/r/x", map[string]string{}, 401},
		"another host":              {"GET", "/vision/team", with("Host", "evil.test"), 421},
		"another host and a script": {"GET", "/vision/team", map[string]string{"Host": "evil.test"}, 401},
		"post":                      {"POST", "/vision/team", page, 401},
		"websocket":                 {"GET", "/vision/team", map[string]string{"Upgrade": "websocket", "Connection": "Upgrade"}, 401},
	} {
		t.Run(name, func(t *testing.T) {
			s := signedIn(t)
			a := s.browse(test.method, test.target, test.header)
			if a.Code != test.status || s.upstream.request != nil {
				t.Fatalf("answered %d, upstream asked %t: %s", a.Code, s.upstream.request != nil, a.Body)
			}
			location := a.Header().Get("Location")
			if test.status == 302 && (location != "/oidc/login?return_to=%2Fvision%2Fteam%3Ftab%3Druns%26x%3D%252F" || a.Header().Get("Cache-Control") != "no-store") {
				t.Errorf("it leads to %q", location)
			}
			if test.status != 302 && location != "" {
				t.Errorf("it leads to %q", location)
			}
		})
	}
}

func TestSessionIsJudgedLikeAKey(t *testing.T) {
	s := signedIn(t)
	if a := s.browse("GET", "/files/vision/team/r/x", map[string]string{"Cookie": aliceCookie}); a.Code != 200 {
		t.Fatalf("answered %d: %s", a.Code, a.Body)
	}
	h := s.upstream.request.Header
	if h.Get("X-Forwarded-User") != "alice" || h.Get("Cookie") != "" || s.event.Credential != iam.CredentialSession {
		t.Errorf("%v, %v", h, s.event.Credential)
	}
	if a := s.browse("GET", "/files/speech/x/r/x", map[string]string{"Cookie": aliceCookie}); a.Code != 404 && a.Code != 403 {
		t.Errorf("another team's project: %d", a.Code)
	}
	// The header is judged, and the cookie is nobody's then.
	s.browse("GET", "/files/vision/open/r/x", map[string]string{"Cookie": aliceCookie, "Authorization": "Bearer bob-key"})
	if got := s.upstream.request.Header.Get("X-Forwarded-User"); got != "bob" {
		t.Errorf("the upstream is told of %q", got)
	}
	// On https, the name that anybody may plant on http is no session.
	s.upstream.request = nil
	if a := s.browse("GET", "/files/vision/team/r/x", map[string]string{"Cookie": "wandb-gateway=alice-key"}); a.Code != 401 {
		t.Errorf("the cookie of http: %d", a.Code)
	}
}

// TestCrossSite: a cookie counts for a change only if a page of the site asks for it.
func TestCrossSite(t *testing.T) {
	for name, test := range map[string]struct {
		method string
		header map[string]string
		passes bool
	}{
		"own page":                          {"PUT", map[string]string{"Origin": "https://wandb.acme.test", "Sec-Fetch-Site": "same-origin"}, true},
		"own page, no metadata":             {"PUT", map[string]string{"Origin": "https://wandb.acme.test"}, true},
		"own page that has no name":         {"PUT", map[string]string{"Origin": "null", "Sec-Fetch-Site": "same-origin"}, true},
		"no origin":                         {"PUT", map[string]string{"Sec-Fetch-Site": "same-origin"}, true},
		"nothing":                           {"PUT", nil, false},
		"other site":                        {"PUT", map[string]string{"Origin": "https://evil.test", "Sec-Fetch-Site": "cross-site"}, false},
		"same site":                         {"PUT", map[string]string{"Origin": "https://blog.acme.test", "Sec-Fetch-Site": "same-site"}, false},
		"same site that lies of its origin": {"PUT", map[string]string{"Origin": "https://wandb.acme.test", "Sec-Fetch-Site": "same-site"}, false},
		"http":                              {"PUT", map[string]string{"Origin": "http://wandb.acme.test"}, false},
		"another port":                      {"PUT", map[string]string{"Origin": "https://wandb.acme.test:8443"}, false},
		"null":                              {"PUT", map[string]string{"Origin": "null"}, false},
		"typed by hand":                     {"PUT", map[string]string{"Sec-Fetch-Site": "none"}, false},
		"reading":                           {"GET", map[string]string{"Sec-Fetch-Site": "cross-site"}, true},
		"websocket of another site":         {"GET", map[string]string{"Origin": "https://evil.test", "Upgrade": "websocket", "Connection": "Upgrade"}, false},
		"websocket of its own":              {"GET", map[string]string{"Origin": "https://wandb.acme.test", "Upgrade": "websocket", "Connection": "Upgrade"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := signedIn(t)
			header := map[string]string{"Cookie": aliceCookie}
			for name, value := range test.header {
				header[name] = value
			}
			a := s.browse(test.method, "/files/vision/team/r/x", header)
			if passes := s.upstream.request != nil; passes != test.passes || !passes && a.Code != 403 {
				t.Errorf("answered %d, passes %t", a.Code, passes)
			}
			if !test.passes && s.event.Reason != ReasonCrossSite {
				t.Errorf("the reason is %s", s.event.Reason)
			}
			delete(header, "Cookie")
			header["Authorization"] = "Bearer alice-key"
			if a := s.browse(test.method, "/files/vision/team/r/x", header); a.Code != 200 {
				t.Errorf("a key, which no browser sends by itself, is answered %d", a.Code)
			}
		})
	}
}

// TestEndedSessionIsNoGuess: a browser with an old cookie does not use up its address's failures.
func TestEndedSessionIsNoGuess(t *testing.T) {
	s := signedIn(t)
	s.config.Failures = failure.NewLimit[netip.Prefix](failure.Rate{Number: 1, Period: time.Hour})
	for range 5 {
		if a := s.browse("GET", "/files/vision/team/r/x", map[string]string{"Cookie": "__Host-wandb-gateway=gone"}); a.Code != 401 {
			t.Fatalf("answered %d", a.Code)
		}
	}
}
