package gateway

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

const testKey = "0123456789abcdef0123456789abcdef01234567"

// TestReadCredential holds every spelling of sdk-wire 1.1 and 1.2, and the hostile ones of threats
// P12 and P13.
func TestReadCredential(t *testing.T) {
	jwt := "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
	for _, tt := range []struct {
		name    string
		header  http.Header
		cookies bool
		weave   bool
		kind    iam.CredentialKind
		secret  string
		reason  iam.Reason
	}{
		{name: "none", header: http.Header{}},
		{name: "SDK", header: http.Header{"Authorization": {basic("api", testKey)}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "netrc writes user", header: http.Header{"Authorization": {basic("user", testKey)}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "SCIM client writes a name", header: http.Header{"Authorization": {basic("demo", testKey)}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "SCIM with empty user", header: http.Header{"Authorization": {basic("", testKey)}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "user of somebody else", header: http.Header{"Authorization": {basic("bob", testKey)}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "password with colons", header: http.Header{"Authorization": {basic("api", "a:b:c")}}, kind: iam.CredentialAPIKey, secret: "a:b:c"},
		{name: "local prefix", header: http.Header{"Authorization": {basic("api", "local-"+testKey)}}, kind: iam.CredentialAPIKey, secret: "local-" + testKey},
		{name: "86 characters", header: http.Header{"Authorization": {basic("api", strings.Repeat("k", 86))}}, kind: iam.CredentialAPIKey, secret: strings.Repeat("k", 86)},
		{name: "JWT as password", header: http.Header{"Authorization": {basic("api", jwt)}}, kind: iam.CredentialToken, secret: jwt},
		{name: "Bearer key", header: http.Header{"Authorization": {"Bearer " + testKey}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "Bearer JWT", header: http.Header{"Authorization": {"Bearer " + jwt}}, kind: iam.CredentialToken, secret: jwt},
		{name: "scheme in any case", header: http.Header{"Authorization": {"bEARER " + testKey}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "several spaces", header: http.Header{"Authorization": {"Bearer   " + testKey}}, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "old client without a key", header: http.Header{"Authorization": {basic("api", "")}}},
		{name: "empty Bearer", header: http.Header{"Authorization": {"Bearer "}}},
		{name: "Bearer alone", header: http.Header{"Authorization": {"Bearer"}}},
		{name: "header beats cookie", header: http.Header{"Authorization": {basic("api", testKey)}, "Cookie": {"session=1"}}, cookies: true, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "server cookie", header: http.Header{"Cookie": {"session=1"}}, cookies: true, kind: iam.CredentialCookie, secret: "session=1"},
		{name: "cookie lines are one header", header: http.Header{"Cookie": {"a=1", "b=2"}}, cookies: true, kind: iam.CredentialCookie, secret: "a=1; b=2"},
		{name: "cookie of no server", header: http.Header{"Cookie": {"session=1"}}},
		{name: "ticket alone", header: http.Header{TicketHeader: {"abc"}}},
		{name: "header beats ticket", header: http.Header{"Authorization": {basic("api", testKey)}, TicketHeader: {"abc"}}, kind: iam.CredentialAPIKey, secret: testKey},

		{name: "Weave exporter", header: http.Header{"Wandb-Api-Key": {testKey}}, weave: true, kind: iam.CredentialAPIKey, secret: testKey},
		{name: "Weave exporter's header elsewhere", header: http.Header{"Wandb-Api-Key": {testKey}}},

		{name: "Weave key and Authorization", header: http.Header{"Wandb-Api-Key": {testKey}, "Authorization": {basic("api", testKey)}}, weave: true, reason: ReasonTwoCredentials},
		{name: "two Authorization lines", header: http.Header{"Authorization": {basic("api", testKey), "Bearer x"}}, reason: ReasonTwoCredentials},
		{name: "two equal lines", header: http.Header{"Authorization": {basic("api", testKey), basic("api", testKey)}}, reason: ReasonTwoCredentials},
		{name: "two tickets", header: http.Header{TicketHeader: {"a", "b"}}, reason: ReasonTwoCredentials},
		{name: "two in one line", header: http.Header{"Authorization": {"Bearer A, Basic B"}}, reason: ReasonMalformedCredential},
		{name: "no colon", header: http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(testKey))}}, reason: ReasonMalformedCredential},
		{name: "not base64", header: http.Header{"Authorization": {"Basic !!!!"}}, reason: ReasonMalformedCredential},
		{name: "url-safe base64", header: http.Header{"Authorization": {"Basic YXBpOj_-"}}, reason: ReasonMalformedCredential},
		{name: "no padding", header: http.Header{"Authorization": {strings.TrimRight(basic("api", testKey), "=")}}, reason: ReasonMalformedCredential},
		{name: "unused bits set", header: http.Header{"Authorization": {"Basic OmE6Yf=="}}, reason: ReasonMalformedCredential},
		{name: "line break inside", header: http.Header{"Authorization": {"Basic YXBp\nOmE="}}, reason: ReasonMalformedCredential},
		{name: "NUL in key", header: http.Header{"Authorization": {basic("api", "abc\x00def")}}, reason: ReasonMalformedCredential},
		{name: "line break in key", header: http.Header{"Authorization": {basic("api", testKey+"\n")}}, reason: ReasonMalformedCredential},
		{name: "Latin-1 key", header: http.Header{"Authorization": {basic("api", "caf\xe9")}}, reason: ReasonMalformedCredential},
		{name: "UTF-8 key", header: http.Header{"Authorization": {basic("api", "café")}}, reason: ReasonMalformedCredential},
		{name: "unknown scheme", header: http.Header{"Authorization": {"Digest abc"}}, reason: ReasonMalformedCredential},
		{name: "64 KiB", header: http.Header{"Authorization": {"Bearer " + strings.Repeat("a", 64<<10)}}, reason: ReasonMalformedCredential},
		{name: "server cookie beside the gateway's", header: http.Header{"Cookie": {"a=1; wandb-gateway-flow-0123=" + strings.Repeat("a", 16<<10), "wandb-gateway-form=x; b=2"}}, cookies: true, kind: iam.CredentialCookie, secret: "a=1; b=2"},
		{name: "the gateway's cookies alone", header: http.Header{"Cookie": {"__Host-wandb-gateway-flow-0123=x; __Host-wandb-gateway-form=y"}}, cookies: true, kind: iam.NoCredential},
		{name: "two sessions", header: http.Header{"Cookie": {"wandb-gateway=one; wandb-gateway=two"}}, cookies: true, kind: iam.NoCredential},
		{name: "64 KiB cookie", header: http.Header{"Cookie": {strings.Repeat("a", 64<<10)}}, cookies: true, reason: ReasonMalformedCredential},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c, err := readCredential(tt.header, credentialPlaces{session: true, serverCookies: tt.cookies, weaveHeader: tt.weave})
			if got := iam.ReasonOf(err); got != tt.reason {
				t.Fatalf("reason %q (%v), want %q", got, err, tt.reason)
			}
			if c.Kind != tt.kind || c.Secret.Reveal() != tt.secret {
				t.Errorf("got %s %q, want %s %q", c.Kind, c.Secret.Reveal(), tt.kind, tt.secret)
			}
		})
	}
}

// FuzzParseAuthorization: whatever is accepted is printable ASCII, and the user name never is part
// of it.
func FuzzParseAuthorization(f *testing.F) {
	for _, s := range []string{basic("api", testKey), "Bearer a.b.c", "Basic", "basic  YTpi", "Bearer \x7f", basic("a:b", "c")} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		c, err := parseAuthorization(value)
		if err != nil {
			if k := iam.KindOf(err); k != iam.KindUnauthenticated && k != iam.KindInvalid {
				t.Fatalf("kind %d: %v", k, err)
			}
			return
		}
		if (c.Kind == iam.NoCredential) != c.Secret.IsZero() {
			t.Fatalf("%s with secret %q", c.Kind, c.Secret.Reveal())
		}
		for _, b := range []byte(c.Secret.Reveal()) {
			if b <= ' ' || b >= 0x7f {
				t.Fatalf("accepted byte %#x in %q", b, c.Secret.Reveal())
			}
		}
	})
}
