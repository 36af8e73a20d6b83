package gateway

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
)

func TestWithhold(t *testing.T) {
	tests := []struct {
		name    string
		target  string
		header  http.Header
		has     bool
		shown   string // request target that a log sees
		headers http.Header
	}{
		{"nothing", "/x?a=1", http.Header{"Accept": {"*/*"}}, false, "/x?a=1", http.Header{"Accept": {"*/*"}}},
		{"what every log hides", "/x", http.Header{"Authorization": {"Basic canary"}}, false, "/x", http.Header{"Authorization": {"Basic canary"}}},
		{"Weave's key", "/x", http.Header{"Wandb-Api-Key": {"canary"}}, true, "/x", http.Header{"Wandb-Api-Key": {"REDACTED"}}},
		{"two of Weave's keys", "/x", http.Header{"Wandb-Api-Key": {"canary", "canary2"}}, true, "/x", http.Header{"Wandb-Api-Key": {"REDACTED"}}},
		{"an upload's ticket", "/x", http.Header{"X-Wandb-Gateway-Ticket": {"canary"}}, true, "/x", http.Header{"X-Wandb-Gateway-Ticket": {"REDACTED"}}},
		{"both, and an empty one", "/x", http.Header{"Wandb-Api-Key": {""}, "X-Wandb-Gateway-Ticket": {"canary"}}, true, "/x",
			http.Header{"Wandb-Api-Key": {"REDACTED"}, "X-Wandb-Gateway-Ticket": {"REDACTED"}}},
		{"a download's ticket", "/x?sig=%2F&wandb-gateway-ticket=canary", nil, true, "/x?sig=%2F&wandb-gateway-ticket=REDACTED", http.Header{}},
		{"a ticket alone", "/x?wandb-gateway-ticket=canary", nil, true, "/x?wandb-gateway-ticket=REDACTED", http.Header{}},
		{"two tickets and more behind", "/x?wandb-gateway-ticket=canary&b=2&wandb-gateway-ticket=canary", nil, true, "/x?wandb-gateway-ticket=REDACTED", http.Header{}},
		{"a ticket that says REDACTED", "/x?wandb-gateway-ticket=REDACTED&wandb-gateway-ticket=canary", nil, true, "/x?wandb-gateway-ticket=REDACTED", http.Header{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, test.target, nil)
			for name, values := range test.header {
				r.Header[name] = values
			}
			before := fmt.Sprint(r.URL, r.RequestURI, r.Header)
			if HasUnhidden(r) != test.has {
				t.Errorf("HasUnhidden is %v", !test.has)
			}
			bare, held := Withhold(r)
			if bare.RequestURI != test.shown || bare.URL.RequestURI() != test.shown || !reflect.DeepEqual(bare.Header, test.headers) {
				t.Errorf("a log sees %s, %s, %v", bare.RequestURI, bare.URL, bare.Header)
			}
			if after := fmt.Sprint(r.URL, r.RequestURI, r.Header); after != before {
				t.Errorf("the request became %s", after)
			}
			held.Restore(bare)
			held.Restore(bare) // for a site that judges twice
			if after := fmt.Sprint(bare.URL, bare.RequestURI, bare.Header); after != before {
				t.Errorf("restored: %s, want %s", after, before)
			}
		})
	}
}

// A handler that removes a header, or sets it, must not be undone.
func TestRestoreLeavesWhatChanged(t *testing.T) {
	r := httptest.NewRequest(http.MethodPut, "/x?wandb-gateway-ticket=canary", nil)
	r.Header["Wandb-Api-Key"], r.Header[TicketHeader] = []string{"canary"}, []string{"canary"}
	bare, held := Withhold(r)
	delete(bare.Header, "Wandb-Api-Key")
	bare.Header[TicketHeader] = []string{"another"}
	bare.URL.RawQuery, bare.RequestURI = "", "/x"
	held.Restore(bare)
	if got := fmt.Sprint(bare.URL, bare.RequestURI, bare.Header); strings.Contains(got, "canary") {
		t.Errorf("restored %s", got)
	}
}

func TestHideWeaveKey(t *testing.T) {
	tests := []struct {
		name         string
		header, want http.Header
	}{
		{"no key", http.Header{"Accept": {"*/*"}}, http.Header{"Accept": {"*/*"}}},
		{"a key", http.Header{"Wandb-Api-Key": {testKey}}, http.Header{"Authorization": {basic("api", testKey)}}},
		{"a key beside Authorization", http.Header{"Wandb-Api-Key": {"k"}, "Authorization": {"Bearer b"}}, http.Header{"Wandb-Api-Key": {"k"}, "Authorization": {"Bearer b"}}},
		{"two keys", http.Header{"Wandb-Api-Key": {"k", "l"}}, http.Header{"Wandb-Api-Key": {"k", "l"}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/", nil)
			r.Header = test.header
			if HideWeaveKey(r); !reflect.DeepEqual(r.Header, test.want) {
				t.Errorf("got %v, want %v", r.Header, test.want)
			}
		})
	}
}

// TestQueriesOfSignInAreWithheld: an assertion or a code in an address would be in every access log.
func TestQueriesOfSignInAreWithheld(t *testing.T) {
	for _, target := range []string{"/oidc/token?assertion=canary&x=1", "/OIDC/Token/?canary", "/oidc/callback?code=canary&state=canary"} {
		r := httptest.NewRequest("GET", target, nil)
		if !HasUnhidden(r) {
			t.Fatalf("%s hides nothing", target)
		}
		bare, held := Withhold(r)
		if strings.Contains(bare.RequestURI+bare.URL.String(), "canary") {
			t.Errorf("%s becomes %s, %s", target, bare.RequestURI, bare.URL)
		}
		held.Restore(bare)
		if bare.URL.RawQuery != r.URL.RawQuery || bare.RequestURI != r.RequestURI {
			t.Errorf("%s is restored as %s, %s", target, bare.RequestURI, bare.URL)
		}
	}
	if HasUnhidden(httptest.NewRequest("GET", "/oidc/callback", nil)) || HasUnhidden(httptest.NewRequest("GET", "/vision/team?code=x", nil)) {
		t.Error("a request without a secret is served twice")
	}
}
