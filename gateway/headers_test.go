package gateway

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// TestCleanHeadersRemovesIdentity is the class of threats P01 to P03: every name under which
// somebody could believe an identity, in every spelling that a server folds into it.
func TestCleanHeadersRemovesIdentity(t *testing.T) {
	names := []string{
		headerUser, headerEmail, headerGroups, headerPreferredUsername, headerPrincipal, headerOrganization,
		headerAttributionName, headerAttributionEmail,
		"X-Wandb-Gateway-Assertion", "X-Wandb-Gateway-Anything", "X-Auth-Request-User", "X-Auth-Request-Email", "Remote-User",
		"Remote-Groups", "Remote-Email", "X-Forwarded-Access-Token", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Uri",
		"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "Forwarded", "X-Real-Ip", "Proxy", "Trailer",
	}
	spellings := []func(string) string{
		func(s string) string { return s },
		strings.ToLower,
		strings.ToUpper,
		func(s string) string { return strings.ReplaceAll(s, "-", "_") },
		func(s string) string { return strings.ReplaceAll(s, "-", ".") },
		func(s string) string { return strings.Replace(s, "-", "_", 1) },
		func(s string) string { return strings.ToLower(strings.Replace(s, "-", ".", 1)) },
	}
	for _, name := range names {
		for _, spell := range spellings {
			spelled := spell(name)
			if strings.ContainsAny(spelled, "_.") && (name == "Forwarded" || name == "Proxy" || name == "Trailer" || name == "X-Real-Ip") {
				continue // not identity: believed in their own spelling only
			}
			if name == "Forwarded" || name == "X-Real-Ip" || name == "Trailer" {
				spelled = http.CanonicalHeaderKey(spelled) // as the server's parser gives them
			}
			r := &http.Request{Header: http.Header{spelled: {"mallory", "admin"}, "Accept": {"*/*"}}}
			cleanHeaders(r, false)
			if len(r.Header) != 1 {
				t.Errorf("%q survives: %v", spelled, r.Header)
			}
		}
	}
}

func TestCleanHeadersKeepsWhatClientsNeed(t *testing.T) {
	keep := http.Header{
		"Use-Admin-Privileges": {"true"}, "User-Agent": {"W&B Public Client 0.31.0"}, "Content-Type": {"application/json"},
		"X-Wandb-Use-Async-Filestream": {"true"}, "X-Wandb-Client-Id": {"abc"}, "X-Wandb-Async-Client-Id": {"abc"},
		"X-Wandb-Server-Side-Derived-Summary": {"true"}, "X-Wandb-Python-Func": {"log"}, "Range": {"bytes=0-1"}, "If-Match": {`"x"`},
		"X-Forwarded-For": {"192.0.2.1"}, "X-Request-Id": {"1"}, "X-Ms-Blob-Type": {"BlockBlob"}, "Content-Md5": {"x"},
	}
	r := &http.Request{Header: keep.Clone()}
	cleanHeaders(r, false)
	for name := range keep {
		if !slices.Equal(r.Header[name], keep[name]) {
			t.Errorf("%s = %q, want %q", name, r.Header[name], keep[name])
		}
	}
}

func TestCleanHeadersBelievesATrustedProxy(t *testing.T) {
	r := &http.Request{Header: http.Header{"Forwarded": {"for=192.0.2.1"}, "X-Real-Ip": {"192.0.2.1"}, headerUser: {"mallory"}}}
	cleanHeaders(r, true)
	if len(r.Header) != 2 {
		t.Errorf("headers = %v, want Forwarded and X-Real-Ip", r.Header)
	}
}

// TestCleanConnection is threats P04 and F4: no token may make the reverse proxy drop what we set.
func TestCleanConnection(t *testing.T) {
	for _, tt := range []struct {
		name    string
		header  http.Header
		want    []string
		upgrade bool
	}{
		{"close", http.Header{"Connection": {"close"}}, []string{"close"}, false},
		{"identity named", http.Header{"Connection": {"close, X-Forwarded-User"}}, []string{"close"}, false},
		{"other case", http.Header{"Connection": {"x-forwarded-user, CLOSE"}}, []string{"close"}, false},
		{"second line", http.Header{"Connection": {"", "X-Forwarded-User"}}, nil, false},
		{"empty items", http.Header{"Connection": {", ,X-Forwarded-User"}}, nil, false},
		{"authorization and cookie", http.Header{"Connection": {"Authorization, Cookie"}}, nil, false},
		{"websocket", http.Header{"Connection": {"keep-alive, Upgrade, X-Wandb-Username"}, "Upgrade": {"WebSocket"}}, []string{"keep-alive, upgrade"}, true},
		{"h2c", http.Header{"Connection": {"Upgrade, HTTP2-Settings"}, "Upgrade": {"h2c"}, "Http2-Settings": {"AAMAAABkAAQAoAAAAAIAAAAA"}}, []string{"upgrade"}, false},
		{"two upgrades", http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket", "h2c"}}, []string{"upgrade"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cleanConnection(tt.header)
			if !slices.Equal(tt.header["Connection"], tt.want) {
				t.Errorf("Connection = %q, want %q", tt.header["Connection"], tt.want)
			}
			if upgrading(tt.header) != tt.upgrade || tt.header["Http2-Settings"] != nil {
				t.Errorf("upgrade %q, settings %q", tt.header["Upgrade"], tt.header["Http2-Settings"])
			}
		})
	}
}

// FuzzCarriesIdentity: no header that folds to one of ours survives.
func FuzzCarriesIdentity(f *testing.F) {
	for _, s := range []string{"X-Forwarded-User", "x_forwarded.user", "X-Wandb-Gateway-X", "Accept", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		folded := foldHeader(name)
		if (foreignIdentity[folded] || strings.HasPrefix(folded, "x-wandb-gateway-")) && !carriesIdentity(name) {
			t.Errorf("%q folds to %q and survives", name, folded)
		}
		if foldHeader(folded) != folded {
			t.Errorf("folding %q twice gives %q", folded, foldHeader(folded))
		}
	})
}

func BenchmarkCleanHeaders(b *testing.B) {
	header := http.Header{
		"Accept-Encoding": {"gzip"}, "Authorization": {"Basic eA=="}, "Content-Length": {"2048"}, "Content-Type": {"application/json"},
		"User-Agent": {"wandb-core"}, "X-Wandb-Username": {""}, "X-Wandb-User-Email": {""},
	}
	r := &http.Request{Header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		for k, v := range header {
			r.Header[k] = v
		}
		cleanHeaders(r, false)
	}
}
