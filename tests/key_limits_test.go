package tests

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// limitedKey makes a key and returns it with its id.
func (p *process) limitedKey(owner string, limits ...string) (key, id string) {
	p.t.Helper()
	key = p.mustIAM(append([]string{"key", "create", "--owner", owner, "--name", "limited"}, limits...)...)
	if !mintedKey.MatchString(key) {
		p.t.Fatalf("key create prints %q, want the key alone", key)
	}
	return key, strings.TrimPrefix(key, "wbg-")[:8]
}

// attempt is one request, and the reason for which a key of less than its owner's rights is refused it; "" where it passes.
type attempt struct {
	name   string
	send   func(p *process, key string) answer
	reason string
}

func get(path string) func(*process, string) answer {
	return func(p *process, key string) answer { return p.send("GET", path, key, "", nil) }
}

func stream(project string) func(*process, string) answer {
	return func(p *process, key string) answer { return p.stream(project, key) }
}

func weave(path, body string) func(*process, string) answer {
	return func(p *process, key string) answer {
		return p.send("POST", "/traces"+path, key, body, http.Header{"Content-Type": {"application/json"}})
	}
}

func ask(query string, v given) func(*process, string) answer {
	return func(p *process, key string) answer { return p.graphQL(key, query, v, nil) }
}

const docUpsert = `mutation UpsertBucket($e: String, $p: String) { upsertBucket(input: {entityName: $e, modelName: $p, name: "r1"}) { bucket { id name } inserted } }`

// tries makes the attempts with a key. Nothing that is refused reaches the upstream; that the key is for less is
// said in these words.
func (p *process) tries(t *testing.T, upstream *recorder, key, says string, attempts ...attempt) {
	t.Helper()
	for _, a := range attempts {
		upstream.take()
		got := a.send(p, key)
		reached := len(upstream.take()) > 0
		words := says
		if a.reason == "key_administration" {
			words = "this API key has limits"
		}
		switch {
		case a.reason == "" && got.status != http.StatusOK:
			t.Errorf("%s: %d %s, want it allowed", a.name, got.status, got.body)
		case a.reason != "" && (got.status != http.StatusForbidden || got.reason() != a.reason || !strings.Contains(got.message(), words) || reached):
			t.Errorf("%s: %d %s (reached the upstream: %t), want 403 %s that says %q", a.name, got.status, got.body, reached, a.reason, words)
		}
	}
}

// TestKeyThatOnlyReads: nothing is written with it, by whatever way, though its owner administers the team.
func TestKeyThatOnlyReads(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host(), site: "unknown_route forward\n\t\tunplaced allow"})
	p.importFile(acme)
	key, _ := p.limitedKey("alice", "--read-only")
	const no = "key_read_only"
	p.tries(t, upstream, key, "only reads",
		attempt{"a file", get("/files/vision/team/run1/config.yaml"), ""},
		attempt{"a page", get("/vision/team"), ""},
		attempt{"who am I", ask(`{viewer{username}}`, nil), ""},
		attempt{"a project", ask(`query($e:String){project(entityName:$e,name:"team"){id name}}`, given{"e": "vision"}), ""},
		attempt{"something unknown", ask(`{fooBar{id}}`, nil), ""},
		attempt{"a trace that is read", weave("/call/read", `{"project_id":"vision/team","id":"c1"}`), ""},
		attempt{"a trace that is written", weave("/call/start", `{"start":{"project_id":"vision/team","id":"c1"}}`), no},
		attempt{"a stream", stream("vision/team"), no},
		attempt{"a run", ask(docUpsert, given{"e": "vision", "p": "team"}), no},
		attempt{"a mutation that names nothing to write", ask(`mutation{addAliases(input:{artifactID:null,aliases:[]}){success}}`, nil), no},
		attempt{"a mutation that only reads", ask(`mutation{__typename}`, nil), no},
		attempt{"an upload", func(p *process, key string) answer {
			return p.send("PUT", "/files/vision/team/run1/x", key, "x", nil)
		}, no},
		attempt{"an unknown route", func(p *process, key string) answer { return p.send("POST", "/api/thing", key, "x", nil) }, no},
		attempt{"a key", ask(docKey, given{"description": "x"}), no},
		attempt{"a member", ask(docInvite, given{"entity": "vision", "username": "bob"}), no},
	)
}

// TestKeyOfOneTeam: it counts inside its team only, and administers nothing there.
func TestKeyOfOneTeam(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host(), site: "unknown_route forward\n\t\tunplaced allow"})
	p.importFile(acme)
	p.mustIAM("team", "set", "speech", "--add", "alice:admin")
	key, _ := p.limitedKey("alice", "--entity", "Vision")
	const no, never = "key_scope", "key_administration"
	p.tries(t, upstream, key, "limited to vision",
		attempt{"a stream", stream("vision/team"), ""},
		attempt{"a project that is not there yet", ask(docUpsert, given{"e": "vision", "p": "new"}), ""},
		attempt{"work that names no entity", ask(docUpsert, given{"p": "new"}), ""},
		attempt{"the team's members", ask(docTeam, given{"name": "vision"}), ""},
		attempt{"her other team", stream("speech/x"), no},
		attempt{"her own entity", stream("alice/scratch"), no},
		attempt{"a place that does not exist", stream("nowhere/x"), no},
		attempt{"another team", ask(docTeam, given{"name": "speech"}), no},
		attempt{"a page", get("/vision/team"), no},
		attempt{"an unknown route", func(p *process, key string) answer { return p.send("POST", "/api/thing", key, "x", nil) }, no},
		attempt{"something unknown", ask(`{fooBar{id}}`, nil), no},
		attempt{"the organization", ask(`{organization(name:"acme"){name}}`, nil), no},
		attempt{"a key", ask(docKey, given{"description": "x"}), never},
		attempt{"a member", ask(docInvite, given{"entity": "vision", "username": "bob"}), never},
		attempt{"a service account", ask(docAccount, given{"entity": "vision", "description": "ci"}), never},
	)
	if got := p.graphQL(key, `{viewer{username entity defaultEntity{name} teams{edges{node{name}}}}}`, nil, nil); got.body !=
		`{"data":{"viewer":{"username":"alice","entity":"vision","defaultEntity":{"name":"vision"},"teams":{"edges":[{"node":{"name":"vision"}}]}}}}` {
		t.Errorf("viewer: %s", got.body)
	}
	upstream.take()
	p.stream("vision/team", key)
	if got := upstream.take(); len(got) != 1 || got[0].header.Get("X-Forwarded-User") != "alice" || got[0].header.Get("X-Forwarded-Groups") != "vision" {
		t.Errorf("the upstream is told %+v", got)
	}

	// With the team goes what the key was for. Another of the same name is not it.
	p.mustIAM("team", "delete", "speech")
	bobs, _ := p.limitedKey("bob", "--entity", "bob")
	p.tries(t, upstream, bobs, "limited to bob", attempt{"his own entity", ask(docUpsert, given{"p": "x"}), ""}, attempt{"a team", stream("vision/open"), no})
	mustFail(t, p, "speech", "key", "create", "--owner", "bob", "--name", "x", "--entity", "speech")
}

// TestKeyOfADeletedTeam: what is left of its scope is nothing, never more.
func TestKeyOfADeletedTeam(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	key, _ := p.limitedKey("bob", "--project", "speech/asr")
	p.tries(t, upstream, key, "", attempt{"before", ask(docUpsert, given{"e": "speech", "p": "asr"}), ""})
	p.mustIAM("service-account", "delete", "ci-speech")
	for _, row := range projects(t, p, "speech") {
		p.mustIAM("project", "delete", row)
	}
	p.mustIAM("team", "delete", "speech")
	gone := attempt{"", stream("speech/asr"), "key_scope"}
	p.tries(t, upstream, key, "deleted", gone, attempt{"elsewhere", stream("vision/open"), "key_scope"})
	exported := p.mustIAM("export")
	p.mustIAM("team", "create", "speech", "--add", "bob:admin")
	p.tries(t, upstream, key, "deleted", gone)

	// Neither does its row say less than the key.
	file := filepath.Join(p.dir, "exported.json")
	write(t, p.dir, "exported.json", exported)
	p.mustIAM("import", file)
	p.tries(t, upstream, key, "deleted", gone)
}

func projects(t *testing.T, p *process, entity string) (names []string) {
	t.Helper()
	var rows []struct{ Entity, Name string }
	out, err := p.iam("", "project", "list", entity, "--json")
	if err != nil {
		return nil // there are none
	}
	if err := json.Unmarshal([]byte(out), &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		names = append(names, row.Entity+"/"+row.Name)
	}
	return names
}

// TestKeyOfOneProject logs to its project, and touches no other.
func TestKeyOfOneProject(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	const no, never = "key_scope", "key_administration"
	for owner, key := range map[string]string{
		"alice":                     keyAlone(p.limitedKey("alice", "--project", "vision/team")),
		"service_account:ci-vision": keyAlone(p.limitedKey("service_account:ci-vision", "--entity", "vision", "--project", "vision/team")),
		"service_account:org-bot":   keyAlone(p.limitedKey("service_account:org-bot", "--project", "vision/team")),
	} {
		t.Run(owner, func(t *testing.T) {
			p.tries(t, upstream, key, "limited to vision/team",
				attempt{"a stream", stream("vision/team"), ""},
				attempt{"a file", get("/files/vision/team/run1/x"), ""},
				attempt{"a run without an entity", ask(docUpsert, given{"p": "team"}), ""},
				attempt{"who am I", ask(`{viewer{username}}`, nil), ""},
				attempt{"a trace", weave("/call/start", `{"start":{"project_id":"vision/team","id":"c1"}}`), ""},
				attempt{"a trace of another project", weave("/call/start", `{"start":{"project_id":"vision/open","id":"c1"}}`), no},
				attempt{"a trace of another project that is read", weave("/call/read", `{"project_id":"vision/open","id":"c1"}`), no},
				attempt{"another project", stream("vision/open"), no},
				attempt{"an artifact of another project", get("/artifactsV2/gcp-us/vision/public/x/abc"), no},
				attempt{"another project beside its own", ask(`query($e:String){a:project(entityName:$e,name:"team"){id name} b:project(entityName:$e,name:"open"){id name}}`, given{"e": "vision"}), no},
				attempt{"another project by way of its own", ask(`query($e:String){project(entityName:$e,name:"team"){entity{project(name:"open"){id name}}}}`, given{"e": "vision"}), no},
				attempt{"another project of that spelling", stream("vision/Team"), no},
				attempt{"a file of another project", get("/files/vision/public/run1/x"), no},
				attempt{"a new project", ask(docUpsert, given{"e": "vision", "p": "new"}), no},
				attempt{"work that names no project", ask(docUpsert, nil), no},
				attempt{"the project of that name elsewhere", stream("speech/team"), no},
				attempt{"the team's members", ask(docTeam, given{"name": "vision"}), no},
				attempt{"a chart of the team", ask(`mutation{createCustomChart(input:{entity:"vision",name:"x",displayName:"x",type:"y",access:"private",spec:"{}"}){chart{id}}}`, nil), no},
				attempt{"a key", ask(docKey, given{"description": "x"}), never},
			)
		})
	}
	// The project need not be there yet.
	key := keyAlone(p.limitedKey("alice", "--project", "vision/tomorrow"))
	p.tries(t, upstream, key, "limited to vision/tomorrow",
		attempt{"its first run", ask(docUpsert, given{"p": "tomorrow"}), ""},
		attempt{"another project", stream("vision/team"), no})

	// Lists show what the key sees.
	upstream.says(func(received) (int, string, string) {
		return 200, "application/json", `{"data":{"models":{"edges":[{"node":{"name":"open"}},{"node":{"name":"team"}},{"node":{"name":"public"}}]}}}`
	})
	key = keyAlone(p.limitedKey("alice", "--project", "vision/team"))
	got := p.graphQL(key, `query($e:String){models(entityName:$e){edges{node{name}}}}`, given{"e": "vision"}, nil)
	if got.body != `{"data":{"models":{"edges":[{"node":{"name":"team"}}]}}}` {
		t.Errorf("the list is %s", got.body)
	}
}

// TestKeyLimitsOfAdministrators: SCIM and the SDK's administration take no key of less than its owner's rights.
func TestKeyLimitsOfAdministrators(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	for limits, reason := range map[string]string{"--read-only": "key_read_only", "--entity=vision": "key_administration", "--project=vision/team": "key_administration"} {
		for _, owner := range []string{"root", "service_account:org-bot"} {
			key := keyAlone(p.limitedKey(owner, limits))
			for _, path := range []string{"/scim/Users", "/scim/v2/Users"} {
				if got := p.send("GET", path, key, "", nil); got.status != http.StatusForbidden || !strings.Contains(got.body, "key") {
					t.Errorf("%s of %s, %s: %d %s", limits, owner, path, got.status, got.body)
				}
			}
			if got := p.graphQL(key, docUsers, given{"query": "alice"}, nil); got.status != http.StatusForbidden || got.reason() != reason {
				t.Errorf("%s of %s, users: %d %s", limits, owner, got.status, got.body)
			}
		}
	}
	// A key that only ends is its owner, but makes nothing that outlasts it.
	key := keyAlone(p.limitedKey("root", "--expires", "720h"))
	if got := p.send("GET", "/scim/v2/Users", key, "", nil); got.status != 200 {
		t.Errorf("SCIM: %d %s", got.status, got.body)
	}
	p.tries(t, upstream, key, "", attempt{"users", ask(docUsers, given{"query": "alice"}), ""},
		attempt{"a key", ask(docKey, given{"description": "x"}), "key_administration"},
		attempt{"a service account", ask(docAccount, given{"entity": "vision", "description": "ci"}), "key_administration"})
}

// TestKeyExpires at its moment: a key that was good, and cached, and whose connection is kept, is so no more.
func TestKeyExpires(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	if key := keyAlone(p.limitedKey("alice", "--expires", "2100-01-31")); p.stream("vision/team", key).status != 200 {
		t.Error("a key that ends in 2100 is refused")
	}
	good := 0
	key := keyAlone(p.limitedKey("alice", "--expires", "3s"))
	var last answer
	p.await("the key to expire", 30*time.Second, func() bool {
		if last = p.stream("vision/team", key); last.status == 200 {
			good++
		}
		return last.status != 200
	})
	if last.status != 401 || last.reason() != "key_expired" || !strings.Contains(last.message(), time.Now().UTC().Format("2006-01-02")) || good == 0 {
		t.Fatalf("after %d good ones: %d %s", good, last.status, last.body)
	}
	upstream.take()
	for name, send := range map[string]func(*process, string) answer{"file": get("/files/vision/team/r/x"), "graphql": ask(docViewer, nil), "scim": get("/scim/v2/Users"), "page": get("/vision")} {
		if got := send(p, key); got.status != 401 || !strings.Contains(got.body, "expired") {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := upstream.take(); len(got) > 0 {
		t.Errorf("the upstream got %+v", got)
	}
}

// TestExpiredKeyIsNotTheServersToJudge: in front of a server that is the record too, a key that ended here is shown to nobody.
func TestExpiredKeyIsNotTheServersToJudge(t *testing.T) {
	server, p := startRecord(t, "upstream_credential api_key "+serviceKey, "api_key "+serviceKey)
	p.importFile(`{"organization": "acme", "users": [{"username": "root", "role": "admin"}], "teams": [{"name": "vision"}, {"name": "hostile"}], "service_accounts": [{"name": "ci-local", "team": "vision"}, {"name": "all", "default_team": "vision"}],
		"api_keys": [{"owner": "service_account:ci-local", "name": "old", "key": "` + malloryKey + `", "expires": "2020-01-01"},
		{"owner": "service_account:ci-local", "name": "reads", "key": "reads-reads-reads", "read_only": true},
		{"owner": "service_account:all", "name": "one", "key": "one-one-one-one", "entity": "vision", "project": "team"}]}`)
	server.ResetRequests()
	if got := p.stream("vision/team", malloryKey); got.status != 401 || got.reason() != "key_expired" {
		t.Errorf("expired: %d %s", got.status, got.body)
	}
	if asked := server.Requests(func(r standin.Request) bool {
		return strings.Contains(r.Header.Get("Authorization"), strings.TrimPrefix(basic(malloryKey), "Basic "))
	}); len(asked) > 0 {
		t.Errorf("the server was shown the key: %+v", asked)
	}
	for _, c := range []struct {
		key, project, reason string
	}{
		{"reads-reads-reads", "vision/team", "key_read_only"}, {"one-one-one-one", "vision/team", ""},
		{"one-one-one-one", "vision/other", "key_scope"}, {"one-one-one-one", "hostile/own", "key_scope"},
	} {
		got := p.stream(c.project, c.key)
		if c.reason == "" && got.status/100 == 4 && got.reason() != "" || c.reason != "" && (got.status != 403 || got.reason() != c.reason) {
			t.Errorf("%s at %s: %d %s, want %q", c.key, c.project, got.status, got.body, c.reason)
		}
	}
	if got := p.graphQL("reads-reads-reads", `{project(entityName:"vision",name:"team"){name}}`, nil, nil); got.status != 200 {
		t.Errorf("reading: %d %s", got.status, got.body)
	}
}

// TestKeyLimitsInFiles: what a key may is in the file, is read again as it was, and cannot be widened by a file.
func TestKeyLimitsInFiles(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	const row = `{"api_keys":[{"owner":"alice","name":"ci","key":"limited-limited-limited"%s}]}`
	const limits = `,"expires":"2099-01-31T12:00:00+01:00","read_only":true,"entity":"vision","project":"team"`
	p.importFile(fmt.Sprintf(row, limits))
	keyAlone(p.limitedKey("alice", "--read-only", "--expires", "2099-01-31", "--project", "vision/team"))
	exported := p.mustIAM("export")
	if n := strings.Count(exported, `"read_only": true`); n != 2 || !strings.Contains(exported, `"expires": "2099-01-31T11:00:00Z"`) || !strings.Contains(exported, `"expires": "2099-01-31T00:00:00Z"`) || strings.Count(exported, `"project": "team"`) != 2 {
		t.Errorf("the export says\n%s", exported)
	}
	write(t, p.dir, "exported.json", exported)
	for _, file := range []string{"import.json", "exported.json"} {
		if out := p.mustIAM("import", filepath.Join(p.dir, file)); !strings.HasPrefix(out, "0 created, 0 updated") {
			t.Errorf("importing %s again: %s", file, out)
		}
	}
	if out, err := p.iam(fmt.Sprintf(row, ""), "import", "-"); err != nil || !strings.HasPrefix(out, "0 created, 0 updated") {
		t.Errorf("a row that leaves the limits out: %s %v", out, err)
	}
	const fresh = `{"api_keys":[{"owner":"alice","name":"new","key":"other-other-other"%s}]}`
	for name, members := range map[string]string{"no entity": `,"project":"team"`, "no project": `,"entity":"vision","project":""`, "a deleted team": `,"entity":""`} {
		if out, err := p.iam(fmt.Sprintf(fresh, members), "import", "-"); err == nil || !strings.Contains(err.Error(), "api_keys[0]") {
			t.Errorf("%s: %s %v", name, out, err)
		}
	}
	for name, members := range map[string]string{
		"writing":       `,"read_only":false`,
		"another end":   `,"expires":"2099-02-01"`,
		"another team":  `,"entity":"speech","project":"team"`,
		"all of it":     `,"entity":"vision","project":""`,
		"no team":       `,"entity":""`,
		"no such team":  `,"entity":"nowhere"`,
		"not a moment":  `,"expires":"tomorrow"`,
		"a duration":    `,"expires":"720h"`,
		"not a project": `,"entity":"vision","project":"a/b"`,
		"a number":      `,"expires":4070908800`,
		"a word":        `,"read_only":"yes"`,
	} {
		if out, err := p.iam(fmt.Sprintf(row, members), "import", "-"); err == nil || !strings.Contains(err.Error(), "api_keys[0]") {
			t.Errorf("%s: %s %v", name, out, err)
		}
	}
	// A file may be old: a key that has ended since is recorded, as one that has.
	p.importFile(`{"api_keys":[{"owner":"alice","name":"old","key":"ended-ended-ended","expires":"2020-01-31"}]}`)
	if got := p.stream("vision/team", "ended-ended-ended"); got.status != 401 || got.reason() != "key_expired" || !strings.Contains(got.message(), "2020-01-31") {
		t.Errorf("ended: %d %s", got.status, got.body)
	}
	ended := sha256.Sum256([]byte("ended-ended-ended"))
	if out := p.mustIAM("explain", "--key", hex.EncodeToString(ended[:4]), "--to", "project:read", "vision/team"); !strings.HasPrefix(out, "refused: key_expired") || !strings.Contains(out, "2020-01-31") {
		t.Errorf("explained as %s", out)
	}
	if after := p.mustIAM("key", "list", "--owner", "alice"); !strings.Contains(after, "2020-01-31T00:00:00Z") || !strings.Contains(after, "vision") {
		t.Errorf("the list says\n%s", after)
	}
}

// TestKeyLimitsAtTheCommand: what nobody can mean is refused with words, and a key can be asked about.
func TestKeyLimitsAtTheCommand(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	for says, limits := range map[string][]string{
		"2020-01-31":         {"--expires", "2020-01-31"},
		"tomorrow":           {"--expires", "tomorrow"},
		"-1h":                {"--expires", "-1h"},
		"0s":                 {"--expires", "0s"},
		"nowhere":            {"--entity", "nowhere"},
		"ENTITY/NAME":        {"--project", "team"},
		"a/b":                {"--project", "vision/a/b"},
		"speech":             {"--entity", "speech", "--project", "vision/team"},
		"--entity":           {"--entity", ""},
		"--project":          {"--project", ""},
		"--expires":          {"--expires", ""},
		"9999-99-99":         {"--expires", "9999-99-99"},
		"10000-01-01T00:00Z": {"--expires", "10000-01-01T00:00Z"},
	} {
		mustFail(t, p, says, append([]string{"key", "create", "--owner", "alice", "--name", "x"}, limits...)...)
	}
	_, id := p.limitedKey("alice", "--read-only", "--project", "vision/team")
	for _, c := range []struct{ to, resource, says string }{
		{"project:read", "vision/team", "allowed: team_member"},
		{"run:write", "vision/team", "refused: key_read_only"},
		{"project:read", "vision/open", "refused: key_scope"},
		{"project:read", "speech/x", "refused: key_scope"},
	} {
		if out := p.mustIAM("explain", "--key", id, "--to", c.to, c.resource); !strings.HasPrefix(out, c.says) {
			t.Errorf("%s on %s: %s, want %s", c.to, c.resource, out, c.says)
		}
	}
	mustFail(t, p, "00000000", "explain", "--key", "00000000", "--to", "run:write", "vision/team")
	mustFail(t, p, "--key", "explain", "--key", id, "--as", "alice", "--to", "run:write", "vision/team")

	// A new name is all that a key can be given.
	p.mustIAM("key", "set", id, "--name", "renamed")
	if out := p.mustIAM("explain", "--key", id, "--to", "run:write", "vision/team"); !strings.HasPrefix(out, "refused: key_read_only") {
		t.Errorf("renamed: %s", out)
	}
	var rows []struct {
		ID, Name, Entity, Project string
		ReadOnly                  bool `json:"read_only"`
	}
	if err := json.Unmarshal([]byte(p.mustIAM("key", "get", id, "--json")), &rows); err != nil || len(rows) != 1 || !rows[0].ReadOnly || rows[0].Entity != "vision" || rows[0].Project != "team" || rows[0].Name != "renamed" {
		t.Errorf("key get: %+v %v", rows, err)
	}
}

// TestKeyLimitsOutliveRestart, and hold as soon as the gateway answers again.
func TestKeyLimitsOutliveRestart(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	key, _ := p.limitedKey("alice", "--project", "vision/team", "--read-only")
	p.stop()
	p = start(t, config{upstream: upstream.host(), dir: p.dir})
	p.tries(t, upstream, key, "", attempt{"reading", get("/files/vision/team/r/x"), ""}, attempt{"writing", stream("vision/team"), "key_read_only"},
		attempt{"elsewhere", get("/files/vision/open/r/x"), "key_scope"})
}

// TestKeyLimitsInShadow are told and hold nobody back, but for administration.
func TestKeyLimitsInShadow(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host(), global: "enforcement shadow"})
	p.importFile(acme)
	key, _ := p.limitedKey("alice", "--project", "vision/team", "--read-only")
	p.tries(t, upstream, key, "", attempt{"writing", stream("vision/team"), ""}, attempt{"elsewhere", get("/files/vision/open/r/x"), ""},
		attempt{"a page", get("/vision/team"), ""}, attempt{"a key", ask(docKey, given{"description": "x"}), "key_read_only"})
	p.await("the log to tell of it", 10*time.Second, func() bool {
		return strings.Contains(p.logs.String(), "key_scope") && strings.Contains(p.logs.String(), "key_read_only")
	})
}

func mustFail(t *testing.T, p *process, says string, args ...string) {
	t.Helper()
	if out, err := p.iam("", args...); err == nil || !strings.Contains(err.Error(), says) {
		t.Errorf("iam %s printed %q, error %v; want one that says %q", strings.Join(args, " "), out, err, says)
	}
}

func keyAlone(key, _ string) string { return key }
