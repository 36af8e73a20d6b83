package tests

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// Keys of the W&B server's own, which no log may hold.
const (
	aliceAtServer = "local-a11ce0000000000000000000000000000canary"
	bobAtServer   = "local-b0b000000000000000000000000000000canary"
	teamAtServer  = "local-7ea300000000000000000000000000000canary"
)

// startStandinProvider runs a stand-in OpenID provider at which alice and bob can sign in.
func startStandinProvider(t *testing.T) (issuer string) {
	t.Helper()
	var provider *standin.Provider
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { provider.ServeHTTP(w, r) }))
	t.Cleanup(server.Close)
	var err error
	provider, err = standin.NewProvider(server.URL, "wandb-gateway",
		standin.Person{Username: "alice", Email: "alice@acme.test", Name: "Alice"}, standin.Person{Username: "bob", Email: "bob@acme.test", Name: "Bob"})
	if err != nil {
		t.Fatal(err)
	}
	return server.URL
}

// signedIn is a browser in which somebody is signed in.
type signedIn struct {
	*process
	*http.Client
}

func (p *process) signIn(username string) signedIn {
	p.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		p.t.Fatal(err)
	}
	b := signedIn{p, &http.Client{Jar: jar, Timeout: client.Timeout}}
	page := b.load("GET", p.url+"/authorize", nil)
	page = b.load("POST", page.Request.URL.String(), url.Values{"username": {username}})
	if page.StatusCode != http.StatusOK || page.Request.URL.String() != p.url+"/authorize" {
		p.t.Fatalf("signing in ends at %s with %d", page.Request.URL, page.StatusCode)
	}
	return b
}

// load opens a page as a browser does, and follows where it leads.
func (b signedIn) load(method, address string, form url.Values) *http.Response {
	b.t.Helper()
	req, err := http.NewRequest(method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Accept", "text/html")
	req.Header.Set("Sec-Fetch-Mode", "navigate")
	req.Header.Set("Sec-Fetch-Dest", "document")
	if method == http.MethodPost {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", strings.TrimSuffix(req.URL.Scheme+"://"+req.URL.Host, "/"))
		req.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	res, err := b.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil {
		b.t.Fatal(err)
	}
	res.Body = io.NopCloser(strings.NewReader(string(body)))
	return res
}

func (b signedIn) page(res *http.Response) string {
	body, _ := io.ReadAll(res.Body)
	return string(body)
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// submit sends one of the forms of /authorize and returns the page that follows.
func (b signedIn) submit(form url.Values) string {
	b.t.Helper()
	page := b.page(b.load("GET", b.url+"/authorize", nil))
	token := formToken.FindStringSubmatch(page)
	if token == nil {
		b.t.Fatalf("no form in %s", page)
	}
	form.Set("token", token[1])
	return b.page(b.load("POST", b.url+"/authorize", form))
}

// cookies are the browser's, for requests that its pages make.
func (b signedIn) cookies() string {
	u, _ := url.Parse(b.url)
	var all []string
	for _, c := range b.Jar.Cookies(u) {
		all = append(all, c.Name+"="+c.Value)
	}
	return strings.Join(all, "; ")
}

// startPerUser runs a gateway where people sign in, jobs show assertions, and the upstream is asked with
// each caller's own key.
func startPerUser(t *testing.T) federated {
	t.Helper()
	provider := startStandinProvider(t)
	key := newKey(t, "ES256", "k1")
	f := federated{issuer: newIssuer(t, key), key: key, upstream: newRecorder(t)}
	f.process = start(t, config{
		upstream: f.upstream.host(), site: "upstream_credential per_user", caddy: "debug",
		global: trusting(f.issuer) + "oidc {\n\t\t\tissuer " + provider + "\n\t\t\tclient_id wandb-gateway\n\t\t\tauth_method pkce\n\t\t}",
	})
	f.importFile(withExternal(f.issuer.name, "gh-train", ciSubject))
	return f
}

// asked asserts that the upstream got one request, with this key and no other credential.
func asked(t *testing.T, upstream *recorder, a answer, user, key string) {
	t.Helper()
	got := upstream.take()
	if a.status != http.StatusOK || len(got) != 1 {
		t.Fatalf("answered %d %s, and the upstream got %d requests", a.status, a.body, len(got))
	}
	h := got[0].header
	want := []string{basic(key)}
	if key == "" {
		want = nil
	}
	if auth := h.Values("Authorization"); fmt.Sprint(auth) != fmt.Sprint(want) || h.Get("X-Forwarded-User") != user || h.Get("Cookie") != "" {
		t.Errorf("the upstream is asked for %q with %q, cookie %q; want %q with %q", h.Get("X-Forwarded-User"), auth, h.Get("Cookie"), user, want)
	}
}

func TestEachCallersOwnKeyGoesUpstream(t *testing.T) {
	p := startPerUser(t)
	upstream := p.upstream
	const graph = `query Q { project(name:"team",entityName:"vision") { id } }`
	ciKey := p.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "ci")
	botKey := p.mustIAM("key", "create", "--owner", "service_account:org-bot", "--name", "bot")

	t.Run("none stored", func(t *testing.T) {
		for _, c := range []struct{ key, says string }{
			{aliceKey, "Store yours at " + p.url + "/authorize"},
			{aliceKey, "iam upstream-key set --user alice"},
			{ciKey, "iam upstream-key set --team vision"},
			{botKey, "iam upstream-key set --team vision"},
		} {
			for _, a := range []answer{p.stream("vision/team", c.key), p.graphQL(c.key, graph, nil, nil)} {
				if a.status != http.StatusForbidden || a.reason() != "no_upstream_key" || !strings.Contains(a.message(), c.says) {
					t.Errorf("answered %d %s, want 403 that says %q", a.status, a.body, c.says)
				}
			}
		}
		// Whoever signs in with `wandb login` is told who they are all the same.
		if a := p.graphQL(aliceKey, `query Viewer { viewer { username } }`, nil, nil); a.status != http.StatusOK || !strings.Contains(a.body, `"alice"`) {
			t.Errorf("viewer: %d %s", a.status, a.body)
		}
		if got := upstream.take(); len(got) != 0 {
			t.Errorf("the upstream got %d requests", len(got))
		}
	})

	for _, c := range []struct{ key, option, name string }{
		{aliceAtServer + "\n", "--user", "alice"}, {bobAtServer, "--user", "bob"}, {teamAtServer, "--team", "vision"},
	} {
		out, err := p.iam(c.key, "upstream-key", "set", c.option, c.name)
		if err != nil || !strings.Contains(out, c.name) || strings.Contains(out, strings.TrimSpace(c.key)) {
			t.Fatalf("prints %q, %v", out, err)
		}
	}
	second := p.mustIAM("key", "create", "--owner", "alice", "--name", "second")
	for _, c := range []struct{ key, project, user, want string }{
		{aliceKey, "vision/team", "alice", aliceAtServer},
		{second, "vision/team", "alice", aliceAtServer},
		{bobKey, "vision/open", "bob", bobAtServer},
		{ciKey, "vision/team", "ci-vision", teamAtServer},
		{botKey, "vision/team", "org-bot", teamAtServer},
	} {
		asked(t, upstream, p.stream(c.project, c.key), c.user, c.want)
	}
	asked(t, upstream, p.graphQL(aliceKey, graph, nil, nil), "alice", aliceAtServer)

	t.Run("only what was judged", func(t *testing.T) {
		asked(t, upstream, p.send("GET", "/admin/usage", aliceKey, "", nil), "alice", "")
		asked(t, upstream, p.send("OPTIONS", "/graphql", aliceKey, "", nil), "", "")
		if a := p.stream("vision/team", bobKey); a.status != http.StatusForbidden || len(upstream.take()) != 0 {
			t.Errorf("bob in a team that is not his: %d %s", a.status, a.body)
		}
	})

	t.Run("unknown to the server", func(t *testing.T) {
		upstream.says(func(received) (int, string, string) { return http.StatusUnauthorized, "text/plain", "who are you?" })
		defer upstream.says(nil)
		for _, a := range []answer{p.stream("vision/team", aliceKey), p.graphQL(aliceKey, graph, nil, nil)} {
			if a.status != http.StatusForbidden || a.reason() != "upstream_key_refused" || !strings.Contains(a.message(), p.url+"/authorize") || strings.Contains(a.body, "who are you") {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		}
		upstream.take()
	})

	t.Run("listed and exported without the keys", func(t *testing.T) {
		list := p.mustIAM("upstream-key", "list") + p.mustIAM("upstream-key", "list", "--json") + p.mustIAM("export")
		for _, name := range []string{"alice", "bob", "team:vision"} {
			if !strings.Contains(list, name) {
				t.Errorf("%s is not in %s", name, list)
			}
		}
		if strings.Contains(list, "canary") || strings.Contains(list, "sealed") {
			t.Errorf("a key is in %s", list)
		}
	})

	t.Run("deleted and replaced at once", func(t *testing.T) {
		p.mustIAM("upstream-key", "delete", "--team", "vision")
		if a := p.stream("vision/team", ciKey); a.status != http.StatusForbidden || a.reason() != "no_upstream_key" {
			t.Errorf("after its deletion: %d %s", a.status, a.body)
		}
		if _, err := p.iam("", "upstream-key", "delete", "--team", "vision"); err == nil {
			t.Error("deleted twice")
		}
		if _, err := p.iam(bobAtServer, "upstream-key", "set", "--user", "alice"); err != nil {
			t.Fatal(err)
		}
		asked(t, upstream, p.stream("vision/team", aliceKey), "alice", bobAtServer)
		p.mustIAM("user", "delete", "bob")
		if list := p.mustIAM("upstream-key", "list"); strings.Contains(list, "bob") {
			t.Errorf("the key of who was deleted is listed: %s", list)
		}
	})

	t.Run("what is no key, or nobody's", func(t *testing.T) {
		for _, c := range []struct {
			stdin string
			args  []string
			says  string
		}{
			{"", []string{"--user", "alice"}, "standard input"},
			{"short", []string{"--user", "alice"}, "printable ASCII"},
			{"two canaries here", []string{"--user", "alice"}, "without blanks"},
			{second, []string{"--user", "alice"}, "the gateway's own"},
			{aliceAtServer, []string{"--user", "nobody"}, "no user"},
			{aliceAtServer, []string{"--team", "nothing"}, "no team"},
			{aliceAtServer, nil, "--user NAME or --team NAME"},
			{aliceAtServer, []string{"--user", "alice", "--team", "vision"}, "--user NAME or --team NAME"},
			{strings.Repeat("a", 2<<20), []string{"--user", "alice"}, "larger"},
		} {
			out, err := p.iam(c.stdin, append([]string{"upstream-key", "set"}, c.args...)...)
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "canar") {
				t.Errorf("%q: prints %q, %v; want an error that says %q", c.args, out, err, c.says)
			}
		}
	})

	p.stop()
	p.holdsNoCanary(aliceAtServer, bobAtServer, teamAtServer)
	found, err := filepath.Glob(filepath.Join(p.dir, "data", "*"))
	if err != nil || len(found) == 0 {
		t.Fatalf("no data: %v", err)
	}
	for _, file := range found {
		if content, err := os.ReadFile(file); err != nil || strings.Contains(string(content), "canary") {
			t.Errorf("%s holds a key (%v)", file, err)
		}
	}
}

// A person stores their key in the browser; it is shown with the session, with a token that they had for
// an assertion, and with every API key of theirs, and it outlives a restart.
func TestStoringOnesOwnKeyInTheBrowser(t *testing.T) {
	p := startPerUser(t)
	upstream := p.upstream
	b := p.signIn("alice")
	page := b.submit(url.Values{"form": {"set-upstream"}, "key": {aliceAtServer}})
	if !strings.Contains(page, "Stored") || strings.Contains(page, aliceAtServer) {
		t.Fatalf("the page says %s", page)
	}
	asked(t, upstream, p.stream("vision/team", aliceKey), "alice", aliceAtServer)

	if _, err := p.iam(teamAtServer, "upstream-key", "set", "--team", "vision"); err != nil {
		t.Fatal(err)
	}
	for subject, want := range map[string]struct{ user, key string }{"alice@acme.test": {"alice", aliceAtServer}, ciSubject: {"gh-train", teamAtServer}} {
		assertion := p.assertion(subject)
		asked(t, upstream, p.bearer("vision/team", assertion), want.user, want.key)
		asked(t, upstream, p.bearer("vision/team", p.mustExchange(t, assertion)), want.user, want.key)
	}

	session := http.Header{"Cookie": {b.cookies()}, "Origin": {p.url}, "Sec-Fetch-Site": {"same-origin"}}
	asked(t, upstream, p.send("POST", "/files/vision/team/run1/file_stream", "", "{}", session), "alice", aliceAtServer)

	other := p.signIn("bob")
	if page := other.page(other.load("GET", p.url+"/authorize", nil)); !strings.Contains(page, "None is stored yet") {
		t.Errorf("bob sees %s", page)
	}
	page = b.submit(url.Values{"form": {"delete-upstream"}})
	if !strings.Contains(page, "None is stored yet") {
		t.Errorf("after the deletion: %s", page)
	}
	if a := p.stream("vision/team", aliceKey); a.status != http.StatusForbidden || a.reason() != "no_upstream_key" {
		t.Errorf("after the deletion: %d %s", a.status, a.body)
	}
	p.stop()
	p.holdsNoCanary(aliceAtServer)
}

// In front of a server that is the record, who is known there goes on with the server's own key, and who
// is known here only with the one that is stored.
func TestStoredKeysBesideTheRecord(t *testing.T) {
	const miaAtServer, adminAtServer = "local-00000000000000000000000000000000000mia", "local-00000000000000000000000000000000admin"
	record, err := standin.New(standin.Config{
		Organization: "acme",
		Users: []standin.User{
			{Username: "mia", Email: "mia@acme.test", Keys: []string{miaAtServer}},
			{Username: "root", Email: "root@acme.test", Admin: true, Keys: []string{adminAtServer}},
			{Username: "robot", Email: "robot@acme.test", Keys: []string{teamAtServer}},
		},
		Teams:    []standin.Team{{Name: "vision", Members: []standin.Member{{User: "mia"}, {User: "robot"}}}},
		Projects: []standin.Project{{Entity: "vision", Name: "team", Access: "PRIVATE"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(record)
	defer server.Close()
	upstream := newRecorder(t)
	p := start(t, config{
		upstream: upstream.host(), site: "upstream_credential per_user",
		global: "directory wandb " + server.URL + " {\n\t\t\tapi_key " + adminAtServer + "\n\t\t}",
	})
	p.importFile(`{"teams": [{"name": "vision"}], "service_accounts": [{"name": "ci", "team": "vision"}]}`)
	ciKey := p.mustIAM("key", "create", "--owner", "service_account:ci", "--name", "ci")

	asked(t, upstream, p.stream("vision/team", miaAtServer), "mia", miaAtServer)
	asked(t, upstream, p.send("GET", "/some/page", miaAtServer, "", nil), "mia", "")
	if a := p.stream("vision/team", ciKey); a.status != http.StatusForbidden || a.reason() != "no_upstream_key" {
		t.Errorf("before it is stored: %d %s", a.status, a.body)
	}
	if _, err := p.iam(teamAtServer, "upstream-key", "set", "--team", "vision"); err != nil {
		t.Fatal(err)
	}
	asked(t, upstream, p.stream("vision/team", ciKey), "ci", teamAtServer)
	asked(t, upstream, p.stream("vision/team", miaAtServer), "mia", miaAtServer)
}
