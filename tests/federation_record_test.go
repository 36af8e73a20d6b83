package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestTokensBeforeARecord: where the server is the record, it is asked about tokens that may be its own,
// and never shown one of the gateway's or of an issuer that is trusted here.
func TestTokensBeforeARecord(t *testing.T) {
	key := newKey(t, "ES256", "k1")
	i, stranger := newIssuer(t, key), newIssuer(t, key)
	symmetric := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode([]byte(`{"iss":"wandb","sub":"alice"}`)) + "." + encode([]byte(canary))
	server := newRecorder(t)
	server.says(func(r received) (int, string, string) {
		if r.target == "/graphql" {
			if r.header.Get("Authorization") != "Bearer "+symmetric {
				return http.StatusOK, "application/json", `{"data":{"viewer":null}}`
			}
			return http.StatusOK, "application/json", `{"data":{"viewer":{"id":"VXNlcjox","username":"alice","entity":"alice","email":"alice@acme.test","admin":false,"teams":{"edges":[]}}}}`
		}
		return http.StatusOK, "text/html", "a page"
	})
	global := "failure_limit off\ndirectory wandb " + server.URL
	p := start(t, config{global: global + "\njwt_issuer " + i.name, upstream: server.host()})
	p.importFile(withExternal(i.name, "gh-train", ciSubject))
	ours := p.mustExchange(t, key.token(i.claims(ciSubject)))
	revoked := p.mustExchange(t, key.token(i.claims(ciSubject)))
	_, claims := decodeToken(t, revoked)
	p.mustIAM("token", "delete", fmt.Sprint(claims["jti"]))
	expired := i.claims(ciSubject)
	expired["iat"], expired["exp"] = 1, 2
	shown := func() string {
		var all strings.Builder
		for _, r := range server.take() {
			fmt.Fprintln(&all, r)
		}
		return all.String()
	}
	shown()
	for name, c := range map[string]struct {
		token  string
		status int
		asked  bool
	}{
		"the server's own, signed with HS256": {symmetric, http.StatusOK, true},
		"of an issuer that is not trusted":    {key.token(stranger.claims("alice@acme.test")), http.StatusUnauthorized, true},
		"an access token of another server's": {key.headed(map[string]any{"typ": "at+jwt", "kid": nil}, i.claims("alice@acme.test")), http.StatusUnauthorized, true},
		"an assertion":                        {key.token(i.claims(ciSubject)), http.StatusForbidden, false},
		"an assertion about nobody":           {key.token(i.claims("nobody")), http.StatusUnauthorized, false},
		"an assertion that expired":           {key.token(expired), http.StatusUnauthorized, false},
		"our own":                             {ours, http.StatusForbidden, false},
		"our own, revoked":                    {revoked, http.StatusUnauthorized, false},
		"our own, changed":                    {ours[:len(ours)-8] + "AAAAAAAA", http.StatusUnauthorized, false},
	} {
		t.Run(name, func(t *testing.T) {
			got := p.send("GET", "/page", "", "", http.Header{"Authorization": {"Bearer " + c.token}})
			if got.status != c.status {
				t.Errorf("answered %d %.300s", got.status, got.body)
			}
			if strings.Contains(shown(), c.token) != c.asked {
				t.Errorf("the server is shown it: %t", !c.asked)
			}
		})
	}
	// The exchange is the gateway's where an issuer is configured, and the server's otherwise.
	if got := p.exchange("x"); got.status != http.StatusBadRequest || shown() != "" {
		t.Errorf("the exchange: %d %s", got.status, got.body)
	}
	without := start(t, config{global: global, upstream: server.host()})
	if got := without.form("grant_type=" + grantType + "&assertion=x"); got.status != http.StatusOK || got.body != "a page" {
		t.Errorf("the exchange of the server: %d %s", got.status, got.body)
	}
}
