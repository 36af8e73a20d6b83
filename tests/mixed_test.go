package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// mixed is what a gateway knows itself beside a server that is the record: a service account with keys
// of its own, one that an issuer vouches for, and a person. Their team is the server's, by name.
func mixed(issuer string) string {
	external := ""
	if issuer != "" {
		external = fmt.Sprintf(`, {"name": "gh-train", "team": "vision", "issuer": %q, "subject": %q}`, issuer, ciSubject)
	}
	return `{"organization": "acme",
 "users": [{"username": "dora", "email": "dora@acme.test", "role": "member", "models_seat": "full", "weave_seat": "full", "active": true}],
 "teams": [{"name": "vision", "members": [{"user": "dora"}]}],
 "service_accounts": [{"name": "ci-local", "team": "vision"}` + external + `]}`
}

// toServer are the requests that were let through, without the gateway's own questions.
func toServer(r standin.Request) bool { return !byGateway(r) }

// TestMixedRecord: service accounts and federated identities of the gateway's own beside the server's people,
// where the server is shown one key for all.
func TestMixedRecord(t *testing.T) {
	t.Parallel()
	signer := newKey(t, "ES256", "k1")
	idp := newIssuer(t, signer)
	r := startRecordWith(t, "upstream_credential api_key "+recordRoot, "api_key "+recordRoot, "jwt_issuer "+idp.name)
	r.importFile(mixed(idp.name))
	local := r.mustIAM("key", "create", "--owner", "service_account:ci-local", "--name", "k")
	assertion := signer.token(idp.claims(ciSubject))
	external := r.mustExchange(t, assertion)
	person := r.mustExchange(t, signer.token(idp.claims("dora@acme.test")))
	bearer := func(token string) http.Header { return http.Header{"Authorization": {"Bearer " + token}} }
	callers := map[string]struct {
		header http.Header
		name   string // as the server is told
		kind   string
		local  bool // judged by the gateway's own record
	}{
		"the server's person":           {http.Header{"Authorization": {basic(recordAlice)}}, "alice", "user:", false},
		"the server's service account":  {http.Header{"Authorization": {basic(recordCI)}}, "ci", "service_account:", false},
		"the gateway's service account": {http.Header{"Authorization": {basic(local)}}, "ci-local", "service_account:", true},
		"an external service account":   {bearer(external), "gh-train", "service_account:", true},
		"its token as Basic":            {http.Header{"Authorization": {basic(external)}}, "gh-train", "service_account:", true},
		"its assertion, not exchanged":  {bearer(assertion), "gh-train", "service_account:", true},
		"a person of the gateway's":     {bearer(person), "dora", "user:", true},
	}
	for name, c := range callers {
		t.Run(name, func(t *testing.T) {
			r.server.ResetRequests()
			if got := r.graphQL("", `query P { project(entityName: "vision", name: "team") { id name } }`, nil, c.header); !got.sees() {
				t.Fatalf("their team's project: %d %s", got.status, got.body)
			}
			through := r.server.Requests(toServer)
			if len(through) != 1 {
				t.Fatalf("%d requests were let through", len(through))
			}
			h := through[0].Header
			if h.Get("Authorization") != basic(recordRoot) || h.Get("X-Forwarded-User") != c.name || !strings.HasPrefix(h.Get("X-Wandb-Gateway-Principal"), c.kind) {
				t.Errorf("the server is shown %v", h)
			}
			secret := strings.TrimPrefix(strings.TrimPrefix(c.header.Get("Authorization"), "Bearer "), "Basic ")
			for _, request := range r.server.Requests() {
				if c.local && strings.Contains(fmt.Sprint(request.Header, string(request.Body)), secret) {
					t.Errorf("%s %s: a credential of the gateway's reached the server", request.Method, request.Operation)
				}
			}
			for project, sees := range map[string]bool{"vision/open": true, "speech/team": false, "vision/closed": !c.local && c.name == "alice", "vision/ghost": false, "ghost/x": false} {
				entity, p, _ := strings.Cut(project, "/")
				got := r.graphQL("", `query P($e: String, $p: String) { project(entityName: $e, name: $p) { id name } }`, map[string]any{"e": entity, "p": p}, c.header)
				if got.sees() != sees || got.status >= 500 {
					t.Errorf("%s: %d %s, want it shown: %t", project, got.status, got.body, sees)
				}
			}
			if got := r.graphQL("", `mutation { upsertBucket(input: {entityName: "vision", modelName: "team", name: "run-of-somebody"}) { bucket { id name } } }`, nil, c.header); !got.sees() {
				t.Errorf("submitting: %d %s", got.status, got.body)
			}
		})
	}
	t.Run("viewer", func(t *testing.T) {
		for name, c := range callers {
			got := r.graphQL("", `query Viewer { viewer { username } }`, nil, c.header)
			if got.status != http.StatusOK || !strings.Contains(got.body, `"username":"`+c.name+`"`) {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	})
	t.Run("the server fails", func(t *testing.T) {
		remove := r.server.Fail(standin.Fault{Status: 500, Match: byGateway})
		defer remove()
		for name, c := range callers {
			var got answer
			r.await(name+" to wait for the server", 10*time.Second, func() bool {
				got = r.graphQL("", `query P { project(entityName: "vision", name: "team") { id name } }`, nil, c.header)
				return !got.sees()
			})
			if got.status != http.StatusServiceUnavailable || !strings.Contains(got.message(), r.host) {
				t.Errorf("%s: %d %s, want 503 that names %s", name, got.status, got.body, r.host)
			}
		}
	})
	t.Run("the administrator's key is gone", func(t *testing.T) {
		remove := r.server.Fail(standin.Fault{Status: 401, Header: header(), Body: `{"errors":[{"message":"unknown"}]}`, Match: func(q standin.Request) bool {
			return byGateway(q) && q.Header.Get("Authorization") == basic(recordRoot)
		}})
		defer remove()
		r.await("the remedy", 10*time.Second, func() bool {
			got := r.reads(local, "vision/team")
			if got.status != http.StatusOK && got.status != http.StatusServiceUnavailable {
				t.Fatalf("%d %s", got.status, got.body)
			}
			return strings.Contains(got.message(), "does not accept the `api_key`")
		})
	})
	t.Run("revoked at the gateway", func(t *testing.T) {
		r.await("the server to be believed again", 10*time.Second, func() bool { return r.reads(local, "vision/team").sees() })
		r.mustIAM("service-account", "delete", "ci-local")
		if got := r.reads(local, "vision/team"); got.status != http.StatusUnauthorized {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

// TestMixedPassthrough: where the server is shown the caller's own credential, whoever is known only to
// the gateway is told so, and why; their credential never reaches the server.
func TestMixedPassthrough(t *testing.T) {
	t.Parallel()
	signer := newKey(t, "ES256", "k1")
	idp := newIssuer(t, signer)
	r := startRecordWith(t, "", "api_key "+recordRoot, "jwt_issuer "+idp.name)
	r.importFile(mixed(idp.name))
	local := r.mustIAM("key", "create", "--owner", "service_account:ci-local", "--name", "k")
	token := r.mustExchange(t, signer.token(idp.claims(ciSubject)))
	r.server.ResetRequests()
	for name, h := range map[string]http.Header{"key": {"Authorization": {basic(local)}}, "token": {"Authorization": {"Bearer " + token}}} {
		for _, got := range []answer{
			r.graphQL("", `query P { project(entityName: "vision", name: "team") { id name } }`, nil, h),
			r.send("POST", "/files/vision/team/run1/file_stream", "", "{}", h),
		} {
			if got.status != http.StatusForbidden || got.reason() != "local_credential" || !strings.Contains(got.message(), "upstream_credential api_key") {
				t.Errorf("%s: %d %s", name, got.status, got.body)
			}
		}
	}
	for _, request := range r.server.Requests() {
		if all := fmt.Sprint(request.Header); strings.Contains(all, basic(local)) || strings.Contains(all, token) {
			t.Errorf("%s %s: a credential of the gateway's reached the server", request.Method, request.Operation)
		}
	}
	if got := r.reads(recordAlice, "vision/team"); !got.sees() {
		t.Errorf("the server's person: %d %s", got.status, got.body)
	}
	// A token of an issuer that the gateway does not trust is the server's to know.
	if got := r.send("GET", "/page", "", "", http.Header{"Authorization": {"Bearer " + signer.token(map[string]any{"iss": "https://elsewhere.test", "sub": "x", "exp": 4102444800})}}); got.status != http.StatusUnauthorized {
		t.Errorf("a foreign token: %d %s", got.status, got.body)
	}
}

// TestDoorsOfMixedRecord: without an issuer the server's own doors are open, and with one only the exchange
// is the gateway's.
func TestDoorsOfMixedRecord(t *testing.T) {
	t.Parallel()
	idp := newIssuer(t, newKey(t, "ES256", "k1"))
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { fmt.Fprint(w, "the server's "+q.URL.Path) }))
	defer web.Close()
	without := start(t, config2(web.URL))
	with := config2(web.URL)
	with.global += "\n\t\tjwt_issuer " + idp.name
	exchanging := start(t, with)
	for _, door := range []struct {
		method, path string
		ours         bool // with an issuer
	}{
		{"POST", "/oidc/token", true}, {"GET", "/.well-known/wandb-gateway/jwks.json", true}, {"GET", "/.well-known/oauth-authorization-server", true},
		{"GET", "/oidc/login", false}, {"GET", "/oidc/callback", false}, {"GET", "/logout", false}, {"GET", "/authorize", false},
		{"GET", "/scim/Users", false}, {"GET", "/admin/audit_logs", false},
	} {
		for name, p := range map[string]*process{"without": without, "with": exchanging} {
			got := p.send(door.method, door.path, "", "", nil)
			servers := got.body == "the server's "+door.path
			if want := !(door.ours && name == "with"); servers != want {
				t.Errorf("%s an issuer, %s: %d %.100s, want the server's: %t", name, door.path, got.status, got.body, want)
			}
		}
	}
}
