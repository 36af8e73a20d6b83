package tests

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// signIn signs dora in at a browser, by the implicit flow, and returns the session's cookie.
func (r record) signIn(t *testing.T, idp *issuer, key *signingKey) string {
	t.Helper()
	begin := r.send("GET", "/oidc/login", "", "", http.Header{"Accept": {"text/html"}})
	to, err := url.Parse(begin.header.Get("Location"))
	if err != nil || begin.status != http.StatusFound && begin.status != http.StatusSeeOther {
		t.Fatalf("sign-in begins with %d %v %s", begin.status, begin.header, begin.body)
	}
	claims := idp.claims("dora")
	claims["email"], claims["nonce"] = "dora@acme.test", to.Query().Get("nonce")
	form := url.Values{"id_token": {key.token(claims)}, "state": {to.Query().Get("state")}}
	end := r.send("POST", "/oidc/callback", "", form.Encode(), http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "Cookie": {cookies(begin)},
	})
	if session := cookies(end); end.status < 400 && session != "" {
		return session
	}
	t.Fatalf("sign-in ends with %d %v %s", end.status, end.header, end.body)
	return ""
}

// cookies are the cookies that an answer sets, as a browser sends them back.
func cookies(a answer) string {
	var kept []string
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.MaxAge >= 0 && c.Value != "" {
			kept = append(kept, c.Name+"="+c.Value)
		}
	}
	return strings.Join(kept, "; ")
}

// signInAt is the configuration of an issuer at which people sign in.
func signInAt(idp *issuer) string {
	return "oidc {\n\t\t\tissuer " + idp.name + "\n\t\t\tclient_id acme\n\t\t\tauth_method implicit\n\t\t}"
}

// TestMixedSessions: people sign in at the gateway, while the server that is the record is shown one key. Their
// session never reaches it.
func TestMixedSessions(t *testing.T) {
	t.Parallel()
	signer := newKey(t, "RS256", "k1")
	idp := newIssuer(t, signer)
	r := startRecordWith(t, "upstream_credential api_key "+recordRoot, "api_key "+recordRoot, signInAt(idp))
	r.importFile(mixed(""))
	session := r.signIn(t, idp, signer)
	browser := http.Header{"Cookie": {session + "; wandb_session=of-the-server"}, "Origin": {r.url}, "Sec-Fetch-Site": {"same-origin"}}
	ask := func(entity, project string) answer {
		return r.graphQL("", `query P($e: String, $p: String) { project(entityName: $e, name: $p) { id name } }`, map[string]any{"e": entity, "p": project}, browser)
	}
	r.server.ResetRequests()
	if got := ask("vision", "team"); !got.sees() {
		t.Fatalf("her team's project: %d %s", got.status, got.body)
	}
	through := r.server.Requests(toServer)
	if len(through) != 1 || through[0].Header.Get("Authorization") != basic(recordRoot) || through[0].Header.Get("X-Forwarded-User") != "dora" || through[0].Header.Get("Cookie") != "" {
		t.Errorf("the server is shown %+v", through)
	}
	for _, project := range []string{"speech/team", "vision/closed", "vision/odd"} {
		entity, name, _ := strings.Cut(project, "/")
		if got := ask(entity, name); !got.refused() {
			t.Errorf("%s: %d %s", project, got.status, got.body)
		}
	}
	r.server.ResetRequests()
	r.send("GET", "/some/page", "", "", http.Header{"Cookie": {session}, "Accept": {"text/html"}})
	for _, q := range r.server.Requests() {
		if q.Header.Get("Authorization") != "" || q.Header.Get("Cookie") != "" {
			t.Errorf("a page is asked for with %v: it was not judged", q.Header)
		}
	}
	if got := r.reads(recordAlice, "vision/team"); !got.sees() {
		t.Errorf("the server's person: %d %s", got.status, got.body)
	}
	r.mustIAM("user", "set", "dora", "--active=false")
	if got := ask("vision", "team"); got.status != http.StatusUnauthorized {
		t.Errorf("after she left: %d %s", got.status, got.body)
	}
}

// TestMixedSessionsPassthrough: where the server is shown the caller's own credential, a session at the gateway
// is nothing to show it. Who signed in here is told so, the cookie never reaches the server, and whoever is
// signed in at the server, or has a key of its, works.
func TestMixedSessionsPassthrough(t *testing.T) {
	t.Parallel()
	signer := newKey(t, "RS256", "k1")
	idp := newIssuer(t, signer)
	r := startRecordWith(t, "", "api_key "+recordRoot, signInAt(idp))
	r.importFile(mixed(""))
	session := r.signIn(t, idp, signer)
	r.server.ResetRequests()
	browser := http.Header{"Cookie": {session}, "Origin": {r.url}, "Sec-Fetch-Site": {"same-origin"}}
	got := r.graphQL("", `{ project(entityName: "vision", name: "team") { id name } }`, nil, browser)
	if got.status != http.StatusForbidden || got.reason() != "local_credential" {
		t.Errorf("%d %s", got.status, got.body)
	}
	_, value, _ := strings.Cut(session, "=")
	for _, q := range r.server.Requests() {
		if strings.Contains(q.Header.Get("Cookie"), value) {
			t.Errorf("%s %s: the session reached the server", q.Method, q.Path)
		}
	}
	if got := r.reads(recordAlice, "vision/team"); !got.sees() {
		t.Errorf("a key of the server's: %d %s", got.status, got.body)
	}
}
