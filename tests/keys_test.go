package tests

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// TestCredentials is P12 and P13: every form in which a key can come.
func TestCredentials(t *testing.T) {
	a := startAttacked(t, config{})
	const get = "GET /files/vision/team/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	encode := base64.StdEncoding.EncodeToString
	minted := a.mustIAM("key", "create", "--owner", "alice", "--name", "minted")
	damaged := minted[:len(minted)-1] + string("0123456789abcdef"[(strings.IndexByte("0123456789abcdef", minted[len(minted)-1])+1)%16])

	for name, authorization := range map[string]string{
		"user api":         "Basic " + encode([]byte("api:"+aliceKey)),
		"user user":        "Basic " + encode([]byte("user:"+aliceKey)),
		"no user":          "Basic " + encode([]byte(":"+aliceKey)),
		"another's name":   "Basic " + encode([]byte("mallory:"+aliceKey)),
		"lower case":       "basic " + encode([]byte("api:"+aliceKey)),
		"upper case":       "BASIC " + encode([]byte("api:"+aliceKey)),
		"two spaces":       "Basic  " + encode([]byte("api:"+aliceKey)),
		"bearer":           "Bearer " + aliceKey,
		"bearer lower":     "bearer " + aliceKey,
		"minted":           "Basic " + encode([]byte("api:"+minted)),
		"folded line":      "Basic\r\n " + encode([]byte("api:"+aliceKey)),
		"spaces around it": "  Basic " + encode([]byte("api:"+aliceKey)) + "  ",
	} {
		t.Run("accepted/"+name, func(t *testing.T) {
			q := a.passed(t, a.raw(t, get+"Authorization: "+authorization+"\r\n\r\n").answer)
			holdsIdentity(t, q)
			if got := q.lines("authorization"); len(got) != 0 {
				t.Errorf("%q reached the upstream", got)
			}
		})
	}

	for name, c := range map[string]struct {
		lines  string
		status int
		reason string
	}{
		"two lines":           {"Authorization: " + basic(aliceKey) + "\r\nAuthorization: " + basic(malloryKey), 400, "two_credentials"},
		"two equal lines":     {"Authorization: " + basic(aliceKey) + "\r\nAuthorization: " + basic(aliceKey), 400, "two_credentials"},
		"basic and bearer":    {"Authorization: " + basic(aliceKey) + "\r\nAuthorization: Bearer " + aliceKey, 400, "two_credentials"},
		"valid and empty":     {"Authorization: " + basic(aliceKey) + "\r\nAuthorization:", 400, "two_credentials"},
		"a list":              {"Authorization: Bearer " + aliceKey + ", Basic " + basic(malloryKey), 401, "malformed_credential"},
		"no scheme":           {"Authorization: " + aliceKey, 401, "malformed_credential"},
		"other scheme":        {"Authorization: Digest " + aliceKey, 401, "malformed_credential"},
		"negotiate":           {"Authorization: Negotiate " + encode([]byte(aliceKey)), 401, "malformed_credential"},
		"no colon":            {"Authorization: Basic " + encode([]byte(aliceKey)), 401, "malformed_credential"},
		"no base64":           {"Authorization: Basic !!!!", 401, "malformed_credential"},
		"no padding":          {"Authorization: Basic " + strings.TrimRight(encode([]byte("ap:"+aliceKey)), "="), 401, "malformed_credential"},
		"more padding":        {"Authorization: Basic " + encode([]byte("api:"+aliceKey)) + "==", 401, "malformed_credential"},
		"space within":        {"Authorization: Basic " + encode([]byte("api:" + aliceKey))[:20] + " " + encode([]byte("api:" + aliceKey))[20:], 401, "malformed_credential"},
		"unused bits":         {"Authorization: Basic YXB=", 401, "malformed_credential"},
		"space in the key":    {"Authorization: Basic " + encode([]byte("api: "+aliceKey)), 401, "malformed_credential"},
		"line break in it":    {"Authorization: Basic " + encode([]byte("api:"+aliceKey+"\n")), 401, "malformed_credential"},
		"zero byte in it":     {"Authorization: Basic " + encode([]byte("api:"+aliceKey+"\x00")), 401, "malformed_credential"},
		"latin-1":             {"Authorization: Basic " + encode([]byte("api:\xe9"+aliceKey)), 401, "malformed_credential"},
		"colon behind it":     {"Authorization: Basic " + encode([]byte("api:"+aliceKey+":x")), 401, "unknown_credential"},
		"key as the user":     {"Authorization: Basic " + encode([]byte(aliceKey+":x")), 401, "unknown_credential"},
		"key as user alone":   {"Authorization: Basic " + encode([]byte(aliceKey+":")), 401, "no_credential"},
		"empty password":      {"Authorization: Basic " + encode([]byte("api:")), 401, "no_credential"},
		"empty bearer":        {"Authorization: Bearer ", 401, "malformed_credential|no_credential"},
		"empty":               {"Authorization:", 401, "malformed_credential"},
		"other case":          {"Authorization: " + basic(strings.ToUpper(aliceKey)), 401, "unknown_credential"},
		"part of a key":       {"Authorization: " + basic(aliceKey[:len(aliceKey)-1]), 401, "unknown_credential"},
		"longer than a key":   {"Authorization: " + basic(aliceKey+"0"), 401, "unknown_credential"},
		"without its prefix":  {"Authorization: " + basic(strings.TrimPrefix(aliceKey, "local-")), 401, "unknown_credential"},
		"damaged":             {"Authorization: " + basic(damaged), 401, "unknown_credential"},
		"minted, upper case":  {"Authorization: " + basic(strings.ToUpper(minted)), 401, "unknown_credential"},
		"unknown, of 40":      {"Authorization: " + basic(strings.Repeat("a", 40)), 401, "unknown_credential"},
		"unknown, of 86":      {"Authorization: " + basic(strings.Repeat("a", 86)), 401, "unknown_credential"},
		"like a token":        {"Authorization: Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZSJ9.", 401, "unknown_credential"},
		"like a token, basic": {"Authorization: " + basic("a.b.c"), 401, "unknown_credential"},
		"20 KiB":              {"Authorization: Basic " + encode([]byte("api:"+strings.Repeat("a", 20<<10))), 431, ""},
		"20 KiB bearer":       {"Authorization: Bearer " + strings.Repeat("a", 20<<10), 431, ""},
		"cookie alone":        {"Cookie: wandb=" + aliceKey + "; api_key=" + aliceKey + "; wandb-gateway=" + aliceKey, 401, "no_credential"},
		"proxy authorization": {"Proxy-Authorization: " + basic(aliceKey), 401, "no_credential"},
		"exporter's header":   {"Wandb-Api-Key: " + aliceKey, 401, "no_credential"},
		"another api key":     {"X-Api-Key: " + aliceKey + "\r\nX-Wandb-Api-Key: " + aliceKey, 401, "no_credential"},
		"a ticket of nobody":  {"X-Wandb-Gateway-Ticket: AAAA", 401, "no_credential"},
	} {
		t.Run("refused/"+name, func(t *testing.T) {
			got := a.raw(t, get+c.lines+"\r\n\r\n")
			reason := c.reason
			if first, second, two := strings.Cut(reason, "|"); two {
				if reason = first; got.reason() == second {
					reason = second
				}
			}
			a.refuses(t, got.answer, c.status, reason)
			if challenge := got.header.Get("Www-Authenticate"); (c.status == http.StatusUnauthorized) != (challenge != "") {
				t.Errorf("the challenge is %q", challenge)
			}
		})
	}
	for _, query := range []string{"access_token=", "api_key=", "key=", "token=", "password="} {
		t.Run("refused/query "+query, func(t *testing.T) {
			a.refuses(t, a.send("GET", "/files/vision/team/run1/x?"+query+aliceKey, "", "", nil), http.StatusUnauthorized, "no_credential")
		})
	}
	t.Run("a credential in the target", func(t *testing.T) {
		got := a.raw(t, "GET http://api:"+aliceKey+"@127.0.0.1/files/vision/team/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
		a.refuses(t, got.answer, http.StatusUnauthorized, "no_credential")
	})

	// The header is judged, the cookie goes nowhere.
	t.Run("header and cookie", func(t *testing.T) {
		q := a.passed(t, a.raw(t, get+"Authorization: "+basic(aliceKey)+"\r\nCookie: wandb=mallory\r\nCookie: x=y\r\n\r\n").answer)
		holdsIdentity(t, q)
		if got := q.lines("cookie"); len(got) != 0 {
			t.Errorf("%q reached the upstream", got)
		}
	})

	// K02: what is unknown, and what was deleted, read alike.
	t.Run("deleted key reads as unknown", func(t *testing.T) {
		deleted := a.mustIAM("key", "create", "--owner", "alice", "--name", "short")
		a.passed(t, a.raw(t, get+"Authorization: "+basic(deleted)+"\r\n\r\n").answer)
		id := strings.TrimPrefix(deleted, "wbg-")[:8]
		a.mustIAM("key", "delete", id)
		one := a.send("GET", "/files/vision/team/run1/x", deleted, "", nil)
		other := a.send("GET", "/files/vision/team/run1/x", strings.Repeat("b", 40), "", nil)
		if one.status != http.StatusUnauthorized || one.message() != other.message() || one.reason() != other.reason() {
			t.Errorf("answered %d %s, an unknown key %d %s", one.status, one.body, other.status, other.body)
		}
		a.untouched(t)
	})
	// K08: a key that was refused before it existed is good as soon as it does.
	t.Run("key after its refusal", func(t *testing.T) {
		const key = "00000000000000000000000000000000000later"
		a.refuses(t, a.send("GET", "/files/vision/team/run1/x", key, "", nil), http.StatusUnauthorized, "unknown_credential")
		a.importFile(`{"organization":"acme","api_keys":[{"owner":"alice","name":"later","key":"` + key + `"}]}`)
		holdsIdentity(t, a.passed(t, a.send("GET", "/files/vision/team/run1/x", key, "", nil)))
	})
}

// TestFailureLimit is K03: guesses from one address come to an end, and lock nobody out.
func TestFailureLimit(t *testing.T) {
	a := startAttacked(t, config{global: "failure_limit 5/h"})
	for i := range 5 {
		a.refuses(t, a.send("GET", "/page", fmt.Sprintf("%040d", i), "", nil), http.StatusUnauthorized, "unknown_credential")
	}
	for i := range 3 {
		got := a.send("GET", "/page", fmt.Sprintf("%040d", 100+i), "", nil)
		a.refuses(t, got, http.StatusTooManyRequests, "too_many_failures")
		if got.header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
	}
	for _, authorization := range []string{"Bearer unknown", "Digest x", "Basic !!"} { // whatever the form
		got := a.send("GET", "/page", "", "", http.Header{"Authorization": {authorization}})
		a.refuses(t, got, http.StatusTooManyRequests, "too_many_failures")
	}
	a.passed(t, a.send("GET", "/page", aliceKey, "", nil))
	a.refuses(t, a.send("GET", "/page", "", "", nil), http.StatusUnauthorized, "no_credential")
}

// TestTickets replays an upload's ticket everywhere but where it was made for.
func TestTickets(t *testing.T) {
	a := startAttacked(t, config{})
	host := strings.TrimPrefix(a.url, "http://")
	const target = "/storage?file=run1%2Fx&signature=abc"
	a.upstream.saysJSON(`{"data":{"createRunFiles":{"uploadHeaders":[],"files":[{"uploadUrl":"http://` + host + target + `"}]}}}`)
	got := a.graphQLRaw(t, malloryKey, document(`mutation{createRunFiles(input:{entityName:"hostile",projectName:"own",runName:"run1",files:["x"]}){uploadHeaders files{uploadUrl}}}`))
	a.passed(t, got)
	a.upstream.says("")
	_, rest, ok := strings.Cut(got.body, "X-Wandb-Gateway-Ticket:")
	ticket, _, closed := strings.Cut(strings.TrimSpace(rest), `"`)
	if !ok || !closed {
		t.Fatalf("no ticket in %s", got.body)
	}
	put := func(method, target, host, lines string) rawAnswer {
		return a.raw(t, method+" "+target+" HTTP/1.1\r\nHost: "+host+"\r\n"+lines+"Connection: close\r\nContent-Length: 2\r\n\r\nhi")
	}
	line := "X-Wandb-Gateway-Ticket: " + ticket + "\r\n"
	for range 2 { // clients retry
		q := a.passed(t, put("PUT", target, host, line).answer)
		if q.target() != "PUT "+target || q.body != "hi" || len(q.lines("x-wandb-gateway-ticket")) != 0 {
			t.Errorf("the upstream got:\n%s%s", q.head, q.body)
		}
		if user, _ := q.line("X-Forwarded-User"); user != "mallory" {
			t.Errorf("the upload is %q's", user)
		}
	}
	flipped := []byte(ticket)
	flipped[20] ^= 1
	for name, got := range map[string]func() rawAnswer{
		"other file":      func() rawAnswer { return put("PUT", strings.Replace(target, "run1", "run2", 1), host, line) },
		"other signature": func() rawAnswer { return put("PUT", target+"d", host, line) },
		"less of the url": func() rawAnswer { return put("PUT", "/storage?file=run1%2Fx", host, line) },
		"other escapes":   func() rawAnswer { return put("PUT", strings.Replace(target, "%2F", "%2f", 1), host, line) },
		"decoded":         func() rawAnswer { return put("PUT", strings.Replace(target, "%2F", "/", 1), host, line) },
		"run of another":  func() rawAnswer { return put("PUT", "/files/vision/team/run1/x", host, line) },
		"get":             func() rawAnswer { return put("GET", target, host, line) },
		"post":            func() rawAnswer { return put("POST", target, host, line) },
		"patch":           func() rawAnswer { return put("PATCH", target, host, line) },
		"delete":          func() rawAnswer { return put("DELETE", target, host, line) },
		"graphql":         func() rawAnswer { return put("POST", "/graphql", host, line+"Content-Type: application/json\r\n") },
		"other host":      func() rawAnswer { return put("PUT", target, "127.0.0.1:1", line) },
		"flipped":         func() rawAnswer { return put("PUT", target, host, "X-Wandb-Gateway-Ticket: "+string(flipped)+"\r\n") },
		"cut": func() rawAnswer {
			return put("PUT", target, host, "X-Wandb-Gateway-Ticket: "+ticket[:len(ticket)-4]+"\r\n")
		},
		"padded":       func() rawAnswer { return put("PUT", target, host, "X-Wandb-Gateway-Ticket: "+ticket+"=\r\n") },
		"empty":        func() rawAnswer { return put("PUT", target, host, "X-Wandb-Gateway-Ticket:\r\n") },
		"two":          func() rawAnswer { return put("PUT", target, host, line+line) },
		"as a bearer":  func() rawAnswer { return put("PUT", target, host, "Authorization: Bearer "+ticket+"\r\n") },
		"as a key":     func() rawAnswer { return put("PUT", target, host, "Authorization: "+basic(ticket)+"\r\n") },
		"in the query": func() rawAnswer { return put("GET", target+"&wandb-gateway-ticket="+ticket, host, "") },
		"as a cookie":  func() rawAnswer { return put("PUT", target, host, "Cookie: X-Wandb-Gateway-Ticket="+ticket+"\r\n") },
		"by another":   func() rawAnswer { return put("PUT", target, host, line+"Authorization: "+basic(aliceKey)+"\r\n") },
	} {
		t.Run(name, func(t *testing.T) {
			got := got()
			if got.status < 400 || got.status >= 500 || got.reason() == "" {
				t.Errorf("answered %d %q", got.status, got.reason())
			}
			a.untouched(t)
		})
	}
	t.Run("deactivated", func(t *testing.T) {
		a.mustIAM("user", "set", "mallory", "--active=false")
		a.refuses(t, put("PUT", target, host, line).answer, http.StatusUnauthorized, "deactivated")
	})
}

// TestKeysStaySecret is K06, K07 and V01: with everything logged, no key shows in what the process
// prints, in what it answers, or in what it keeps.
func TestKeysStaySecret(t *testing.T) {
	a := startAttacked(t, config{})
	const imported = "local-ca0a2ca0a2ca0a2ca0a2ca0a2ca0a2ca0a2ca0a2"
	a.mustIAM("import", canaryFile(t, imported))
	minted := a.mustIAM("key", "create", "--owner", "alice", "--name", "canary")
	unknown := "wbg-" + strings.Repeat("ca0a2", 8)
	keys := []string{imported, minted, unknown}
	var answers strings.Builder
	use := func(got answer) {
		fmt.Fprintf(&answers, "%v %s\n", got.header, got.body)
		a.upstream.take()
	}
	for _, key := range keys {
		use(a.graphQLRaw(t, key, document("{viewer{id username apiKeys{edges{node{id name}}}}}")))
		use(a.graphQLRaw(t, key, document(`{project(name:"team",entityName:"vision"){id}}`)))
		use(a.graphQLRaw(t, key, document(`{project(name:"own",entityName:"hostile"){id}}`)))
		use(a.graphQLRaw(t, key, "{"))
		use(a.stream("vision/team", key))
		use(a.stream("hostile/own", key))
		use(a.send("GET", "/page", key, "", nil))
		use(a.send("GET", "/%2e%2e/graphql", key, "", nil))
		use(a.send("GET", "/page", "", "", http.Header{"Authorization": {"Bearer " + key}}))
		use(a.send("GET", "/page", "", "", http.Header{"Authorization": {"Digest " + key}}))
		use(a.send("GET", "/page", "", "", http.Header{"Authorization": {basic(key), basic(key)}}))
		use(a.send("GET", "/page", "", "", http.Header{"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(key))}}))
		use(a.send("GET", "/page", "", "", http.Header{"Proxy-Authorization": {basic(key)}, "Cookie": {"wandb=" + key}}))
		use(a.send("GET", "/wandb-gateway/readyz", key, "", nil))
		use(a.send("POST", "/oidc/token", key, "", nil))
		a.upstream.says(hangUp)
		use(a.send("GET", "/page", key, "", nil))
		use(a.graphQLRaw(t, key, document(`{project(name:"team",entityName:"vision"){id}}`)))
		a.upstream.says("")
	}
	use(answer{body: a.mustIAM("key", "list", "--json") + a.mustIAM("export") + a.mustIAM("user", "list", "--json")})
	a.stop()
	for _, key := range keys {
		for name, form := range keyForms(key) {
			for where, text := range map[string]string{"the log": a.logs.String(), "an answer": answers.String(), "the data folder": folder(t, filepath.Join(a.dir, "data"))} {
				if strings.Contains(text, form) {
					t.Errorf("%s holds %s %s of a key", where, name, form)
				}
			}
		}
	}
	if !strings.Contains(a.logs.String(), "handled request") || !strings.Contains(a.logs.String(), `"level":"debug"`) {
		t.Error("the log is not one at level debug with access logs")
	}
}

// keyForms are a key in every form in which it could come to light.
func keyForms(key string) map[string]string {
	inner := strings.TrimPrefix(strings.TrimPrefix(key, "wbg-"), "local-")
	return map[string]string{
		"the text":          key,
		"the secret part":   inner[8:], // the first 8 are the id of a minted key
		"base64 with user":  strings.TrimRight(base64.StdEncoding.EncodeToString([]byte("api:"+key)), "="),
		"base64":            strings.TrimRight(base64.StdEncoding.EncodeToString([]byte(key)), "="),
		"base64, shifted 1": base64.StdEncoding.EncodeToString([]byte("x" + key))[4:40],
		"base64, shifted 2": base64.StdEncoding.EncodeToString([]byte("xx" + key))[4:40],
		"hexadecimal":       hex.EncodeToString([]byte(key)),
		"url":               url.QueryEscape(key),
	}
}

func canaryFile(t *testing.T, key string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "canary.json")
	if err := os.WriteFile(file, []byte(`{"organization":"acme","api_keys":[{"owner":"alice","name":"imported canary","key":"`+key+`"}]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// folder reads all files below a folder.
func folder(t *testing.T, root string) string {
	t.Helper()
	var all strings.Builder
	files := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		all.Write(b)
		return err
	})
	if err != nil || files == 0 {
		t.Fatalf("reading %s: %d files, %v", root, files, err)
	}
	return all.String()
}

// startRecord runs a stand-in W&B server that is the record of people and keys, and a gateway before it.
func startRecord(t *testing.T, site, admin string) (*standin.Server, *process) {
	t.Helper()
	server, err := standin.New(standin.Config{
		Users: []standin.User{
			{Username: "service", Email: "service@acme.test", Admin: true, Keys: []string{serviceKey}},
			{Username: "alice", Email: "alice@acme.test", Keys: []string{aliceKey}, Password: "pw"},
			{Username: "mallory", Email: "mallory@acme.test", Keys: []string{malloryKey}},
		},
		Teams: []standin.Team{
			{Name: "vision", Members: []standin.Member{{User: "alice", Role: "admin"}}},
			{Name: "hostile", Members: []standin.Member{{User: "mallory", Role: "admin"}}},
		},
		Projects: []standin.Project{{Entity: "vision", Name: "team"}, {Entity: "hostile", Name: "own"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	p := start(t, config{
		upstream: strings.TrimPrefix(web.URL, "http://"), site: site,
		global: "directory wandb " + web.URL + " {\n\t\t\t" + admin + "\n\t\t}",
	})
	return server, p
}

// serviceKey is the key of a powerful account of the stand-in.
const serviceKey = "0123456789abcdef0123456789abcdef01234567"

// TestServiceKeyIsNobodysAccount holds that nobody gets at the account behind the service key, where
// the server is the record but is shown one key for all.
func TestServiceKeyIsNobodysAccount(t *testing.T) {
	server, p := startRecord(t, "upstream_credential api_key "+serviceKey, "api_key "+serviceKey)
	for name, query := range map[string]string{
		"viewer":            `{viewer{id username apiKeys{edges{node{id name}}}}}`,
		"viewer, alias":     `{x:viewer{id username admin}}`,
		"viewer, fragment":  `{...F} fragment F on Query{y:viewer{username}}`,
		"viewer, and more":  `{viewer{username} serverInfo{features{name}}}`,
		"generate":          `mutation{generateApiKey(input:{description:"x"}){apiKey{id name}}}`,
		"generate, alias":   `mutation{x:generateApiKey(input:{description:"x"}){apiKey{name}}}`,
		"generate, skipped": `mutation{x:generateApiKey(input:{description:"x"})@skip(if:false){apiKey{name}}}`,
		"delete":            `mutation{deleteApiKey(input:{id:"QXBpS2V5OjE="}){success}}`,
	} {
		t.Run(name, func(t *testing.T) {
			server.ResetRequests()
			got := p.graphQL(malloryKey, query, nil, nil)
			if strings.Contains(got.body, "service") || strings.Contains(got.body, serviceKey) {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			for _, r := range server.Requests() {
				for _, root := range r.Roots {
					if strings.Contains(root, "ApiKey") || root == "viewer" && r.Header.Get("Authorization") == basic(serviceKey) && r.Header.Get("X-Forwarded-User") == "mallory" {
						t.Errorf("%s was asked with the service key", root)
					}
				}
			}
		})
	}
}

// TestPassthrough is P12 where credentials go on: what was judged goes on, and nothing beside it.
func TestPassthrough(t *testing.T) {
	server, p := startRecord(t, "", "")
	cookie := "wandb=" + strings.Repeat("a", 32)
	for name, c := range map[string]struct {
		authorization string
		status        int
		wantCookie    bool
	}{
		"a key and a cookie":          {basic(aliceKey), 200, false},
		"an empty key and a cookie":   {"Basic " + base64.StdEncoding.EncodeToString([]byte("api:")), 0, false},
		"an empty bearer, and cookie": {"Bearer  ", 0, false},
		"a cookie":                    {"", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			server.ResetRequests()
			h := http.Header{"Cookie": {cookie}, "X-Forwarded-User": {"evil"}}
			if c.authorization != "" {
				h.Set("Authorization", c.authorization)
			}
			got := p.send("GET", "/page", "", "", h)
			if c.status != 0 && got.status != c.status {
				t.Errorf("answered %d", got.status)
			}
			for _, r := range server.Requests() {
				if r.Path == "/page" && (r.Header.Get("Cookie") != "") != c.wantCookie {
					t.Errorf("the server saw the cookie %q beside %q", r.Header.Get("Cookie"), r.Header.Get("Authorization"))
				}
				if r.Header.Get("X-Forwarded-User") == "evil" {
					t.Error("the server saw what the client claims to be")
				}
			}
		})
	}
	t.Run("a key of our form is never shown to the server", func(t *testing.T) {
		server.ResetRequests()
		got := p.send("GET", "/page", "wbg-"+strings.Repeat("a", 40), "", nil)
		if got.status != http.StatusUnauthorized || len(server.Requests()) != 0 {
			t.Errorf("answered %d; the server saw %d requests", got.status, len(server.Requests()))
		}
	})
	t.Run("another's project", func(t *testing.T) {
		got := p.graphQL(malloryKey, `{project(name:"team",entityName:"vision"){id}}`, nil, nil)
		if got.status == http.StatusOK && !strings.Contains(got.body, `"project":null`) {
			t.Errorf("answered %d %s", got.status, got.body)
		}
		for _, path := range []string{"/files/vision/team/run1/file_stream"} {
			server.ResetRequests()
			if got := p.send("POST", path, malloryKey, "{}", nil); got.status != http.StatusForbidden && got.status != http.StatusNotFound {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			for _, r := range server.Requests() {
				if r.Path == path {
					t.Error("the request reached the server")
				}
			}
		}
	})
	t.Run("upgrade with the session of another site", func(t *testing.T) {
		got := p.send("POST", "/files/vision/team/run1/file_stream", "", "{}", http.Header{"Cookie": {cookie}})
		if got.status < 400 {
			t.Errorf("answered %d", got.status)
		}
	})
}
