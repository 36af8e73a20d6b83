package standin

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

const (
	aliceKey = "a11ce0000000000000000000000000000000a11c"
	bobKey   = "b0b0000000000000000000000000000000000b0b"
	viewKey  = "e1e10000000000000000000000000000000000e1"
	adminKey = "ad11100000000000000000000000000000000ad1"
	ciKey    = "c1c1000000000000000000000000000000000c1c"
)

// acme is a server with two teams and one project of every visibility.
func acme() Config {
	return Config{
		Users: []User{
			{Username: "alice", Email: "alice@acme.test", Keys: []string{aliceKey}, Password: "secret"},
			{Username: "bob", Email: "bob@acme.test", Keys: []string{bobKey}},
			{Username: "vera", Keys: []string{viewKey}},
			{Username: "root", Keys: []string{adminKey}, Admin: true},
		},
		Teams: []Team{
			{
				Name: "vision", Members: []Member{{User: "alice"}, {User: "vera", Role: "viewer"}},
				ServiceAccounts: []ServiceAccount{{Name: "ci", Keys: []string{ciKey}}},
			},
			{Name: "speech", Members: []Member{{User: "bob", Role: "admin"}}},
		},
		Projects: []Project{
			{Entity: "vision", Name: "open", Access: "USER_WRITE"},
			{Entity: "vision", Name: "public", Access: "USER_READ"},
			{Entity: "vision", Name: "team", Access: "PRIVATE"},
			{Entity: "vision", Name: "restricted", Access: "RESTRICTED", Owner: "alice"},
			{Entity: "vision", Name: "strange", Access: "SOMETHING_NEW"},
		},
		Assertions: map[string]string{"eyJ.assertion.of-alice": "alice"},
	}
}

func start(t *testing.T, config Config) (*Server, string) {
	t.Helper()
	s, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(s)
	t.Cleanup(listener.Close)
	return s, listener.URL
}

// reply is an answer, whole.
type reply struct {
	status int
	body   []byte
	header http.Header
}

func send(t *testing.T, request *http.Request) reply {
	t.Helper()
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return reply{response.StatusCode, body, response.Header}
}

func newRequest(t *testing.T, method, target, key string, body string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.SetBasicAuth("api", key)
	}
	return r
}

// ask sends a document and returns the answer's status, data and first error.
func ask(t *testing.T, base, key, query string, variables map[string]any) (int, map[string]any, string) {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r := newRequest(t, http.MethodPost, base+"/graphql", key, string(body))
	got := send(t, r)
	var a struct {
		Data   map[string]any
		Errors []graphqlError
	}
	if err := json.Unmarshal(got.body, &a); err != nil {
		t.Fatalf("answer %q: %v", got.body, err)
	}
	message := ""
	if len(a.Errors) > 0 {
		message = a.Errors[0].Message
	}
	return got.status, a.Data, message
}

// at walks down an answer; a step is a key or an index.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			m, _ := v.(map[string]any)
			v = m[step]
		case int:
			l, _ := v.([]any)
			if step >= len(l) {
				return nil
			}
			v = l[step]
		}
	}
	return v
}

const upsert = `mutation UpsertBucket($name: String, $project: String, $entity: String, $config: JSONString) {
  upsertBucket(input: {name: $name, modelName: $project, entityName: $entity, config: $config}) {
    bucket { id name displayName config project { name entity { name } } user { username } }
    inserted
  }
}`

func TestRunIsLoggedAndReadBack(t *testing.T) {
	_, base := start(t, acme())
	status, data, message := ask(t, base, aliceKey, upsert, map[string]any{
		"name": "r1", "project": "new", "config": `{"lr":{"value":0.1},"_wandb":{"value":{"t":{"4":"3.11"}}}}`,
	})
	if status != 200 || at(data, "upsertBucket", "inserted") != true {
		t.Fatalf("upsertBucket: %d %v %s", status, data, message)
	}
	if got := at(data, "upsertBucket", "bucket", "project", "entity", "name"); got != "vision" {
		t.Errorf("the run went to entity %v, want the only team", got)
	}
	id, _ := at(data, "upsertBucket", "bucket", "id").(string)
	if raw, _ := base64.StdEncoding.DecodeString(id); string(raw) != "Run:v1:r1:new:vision" {
		t.Errorf("run id decodes to %q", raw)
	}
	stream := `{"files":{"wandb-history.jsonl":{"offset":0,"content":["{\"_step\":0,\"loss\":1}","{\"_step\":1,\"loss\":0.5}"]},
		"wandb-summary.json":{"offset":0,"content":["{\"loss\":0.5}"]}},"complete":true,"exitcode":0}`
	for range 2 { // the second is what a retry sends
		got := send(t, newRequest(t, "POST", base+"/files/vision/new/r1/file_stream", aliceKey, stream))
		if got.status != 200 {
			t.Fatalf("file_stream: %d %s", got.status, got.body)
		}
	}
	_, data, message = ask(t, base, aliceKey, `query R { project(name: "new", entityName: "vision") {
		runCount
		runs(first: 10) { edges { cursor node { state config summaryMetrics historyLineCount
			history(samples: 10) sampledHistory(specs: ["{\"keys\":[\"loss\"],\"samples\":10}"]) } }
			pageInfo { hasNextPage endCursor } } } }`, nil)
	if message != "" {
		t.Fatal(message)
	}
	node := at(data, "project", "runs", "edges", 0, "node")
	for name, want := range map[string]any{"state": "finished", "summaryMetrics": `{"loss":0.5}`, "historyLineCount": 2.0} {
		if got := at(node, name); got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if got := at(node, "history", 1); got != `{"_step":1,"loss":0.5}` {
		t.Errorf("history line is %v", got)
	}
	if got := at(node, "sampledHistory", 0, 1, "loss"); got != 0.5 {
		t.Errorf("sampled loss is %v", got)
	}
	_, data, _ = ask(t, base, aliceKey, `query S($n: String!) { model(name: "new", entityName: "vision") { bucket(name: $n, missingOk: true) {
		historyTail wandbConfig(keys: ["t"]) } } }`, map[string]any{"n": "r1"})
	if got := at(data, "model", "bucket", "wandbConfig"); got != `{"t":{"4":"3.11"}}` {
		t.Errorf("wandbConfig is %v", got)
	}
	if got := at(data, "model", "bucket", "historyTail"); got != `["{\"_step\":1,\"loss\":0.5}"]` {
		t.Errorf("historyTail is %v", got)
	}
}

// Every caller against every visibility: what may be read, what may be written, and how a
// refusal looks (iam.md section 6, sdk-wire 5).
func TestVisibility(t *testing.T) {
	_, base := start(t, acme())
	tests := []struct {
		key           string
		project       string
		read          bool
		write, denied int // status of upsertBucket
	}{
		{aliceKey, "open", true, 200, 0}, {aliceKey, "public", true, 200, 0}, {aliceKey, "team", true, 200, 0}, {aliceKey, "restricted", true, 200, 0},
		{aliceKey, "strange", false, 403, 0},
		{bobKey, "open", true, 200, 0}, {bobKey, "public", true, 403, 0}, {bobKey, "team", false, 403, 0}, {bobKey, "restricted", false, 403, 0},
		{viewKey, "open", true, 403, 0}, {viewKey, "team", true, 403, 0}, {viewKey, "restricted", false, 403, 0},
		{ciKey, "team", true, 200, 0}, {ciKey, "restricted", false, 403, 0},
		{"", "open", true, 403, 0}, {"", "public", true, 403, 0}, {"", "team", false, 403, 0},
	}
	for _, tt := range tests {
		t.Run(tt.key+" "+tt.project, func(t *testing.T) {
			_, data, _ := ask(t, base, tt.key, `query P($n: String!) { project(name: $n, entityName: "vision") { id } }`, map[string]any{"n": tt.project})
			if got := at(data, "project") != nil; got != tt.read {
				t.Errorf("read is %v, want %v", got, tt.read)
			}
			status, _, message := ask(t, base, tt.key, upsert, map[string]any{"name": "x" + tt.key[:min(3, len(tt.key))], "project": tt.project, "entity": "vision"})
			if status != tt.write {
				t.Errorf("upsertBucket answered %d %q, want %d", status, message, tt.write)
			}
			if status == 403 && !strings.Contains(message, "permission denied") {
				t.Errorf("refusal reads %q", message)
			}
		})
	}
}

func TestUnknownEntityIsNotFound(t *testing.T) {
	_, base := start(t, acme())
	status, _, message := ask(t, base, aliceKey, upsert, map[string]any{"name": "x", "project": "p", "entity": "ghost"})
	if status != 404 || message != "entity ghost not found during upsertBucket" {
		t.Errorf("got %d %q", status, message)
	}
}

func TestUnknownKeyIsUnauthorized(t *testing.T) {
	_, base := start(t, acme())
	if status, _, _ := ask(t, base, strings.Repeat("f", 40), `{viewer{id}}`, nil); status != 401 {
		t.Errorf("unknown key: %d, want 401", status)
	}
	if status, data, _ := ask(t, base, "", `{viewer{id}}`, nil); status != 200 || data["viewer"] != nil {
		t.Errorf("no key: %d %v, want viewer null", status, data)
	}
}

func TestServiceAccountIsAttributed(t *testing.T) {
	_, base := start(t, acme())
	for person, want := range map[string]string{"alice": "alice", "alice@acme.test": "alice", "bob": "ci", "": "ci"} {
		body, _ := json.Marshal(map[string]any{"query": upsert, "variables": map[string]any{"name": "of-" + person, "project": "team", "entity": "vision"}})
		r := newRequest(t, "POST", base+"/graphql", ciKey, string(body))
		r.Header.Set("X-WANDB-USERNAME", person)
		var a map[string]any
		json.Unmarshal(send(t, r).body, &a)
		if got := at(a, "data", "upsertBucket", "bucket", "user", "username"); got != want {
			t.Errorf("with X-WANDB-USERNAME %q the run belongs to %v, want %s", person, got, want)
		}
	}
}

func TestTrustModeBelievesTheGateway(t *testing.T) {
	_, base := start(t, Config{Trust: true})
	tests := []struct{ name, user, principal, attributed, want string }{
		{"person", "alice", "user:1", "alice", "alice"},
		{"service account", "ci", "service_account:1", "", "ci"},
		{"attributed service account", "ci", "service_account:1", "bob", "bob"},
		{"only the old header", "", "", "carol", "carol"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			body, _ := json.Marshal(map[string]any{"query": upsert, "variables": map[string]any{"name": "r" + tt.user + tt.attributed, "project": "p", "entity": "any"}})
			r := newRequest(t, "POST", base+"/graphql", "", string(body))
			for name, v := range map[string]string{"X-Forwarded-User": tt.user, "X-Wandb-Gateway-Principal": tt.principal, "X-Wandb-Username": tt.attributed} {
				if v != "" {
					r.Header.Set(name, v)
				}
			}
			var a map[string]any
			got := send(t, r)
			json.Unmarshal(got.body, &a)
			if owner := at(a, "data", "upsertBucket", "bucket", "user", "username"); owner != tt.want {
				t.Errorf("the run belongs to %v, want %s: %s", owner, tt.want, got.body)
			}
		})
	}
}

func TestUploadURLIsOnTheHostOfTheRequestAndSigned(t *testing.T) {
	s, base := start(t, acme())
	ask(t, base, aliceKey, upsert, map[string]any{"name": "r1", "project": "team", "entity": "vision"})
	body, _ := json.Marshal(map[string]any{"query": `mutation F { createRunFiles(input: {entityName: "vision", projectName: "team", runName: "r1", files: ["a b.txt"]}) {
		runID uploadHeaders files { name uploadUrl } } }`})
	r := newRequest(t, "POST", base+"/graphql", aliceKey, string(body))
	r.Header.Set("X-Forwarded-Host", "wandb.acme.test")
	r.Header.Set("X-Forwarded-Proto", "https")
	var a map[string]any
	json.Unmarshal(send(t, r).body, &a)
	text, _ := at(a, "data", "createRunFiles", "files", 0, "uploadUrl").(string)
	upload, err := url.Parse(text)
	if err != nil || upload.Scheme != "https" || upload.Host != "wandb.acme.test" {
		t.Fatalf("upload URL is %q", text)
	}
	here := base + upload.RequestURI()
	if got := send(t, newRequest(t, "PUT", here, "", "hello")); got.status != 200 || got.header.Get("Etag") == "" {
		t.Fatalf("upload: %d %s", got.status, got.body)
	}
	hostile := map[string]*http.Request{
		"another file":        newRequest(t, "PUT", strings.Replace(here, "r1", "r2", 1), "", "x"),
		"no signature":        newRequest(t, "PUT", base+"/storage?file=runs/vision/team/r1/a", aliceKey, "x"),
		"download by upload":  newRequest(t, "GET", here, "", ""),
		"run file by nobody":  newRequest(t, "GET", base+"/files/vision/team/r1/a%20b.txt", "", ""),
		"run file by another": newRequest(t, "GET", base+"/files/vision/team/r1/a%20b.txt", bobKey, ""),
	}
	for name, r := range hostile {
		if got := send(t, r); got.status < 400 {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
	}
	if got := send(t, newRequest(t, "GET", base+"/files/vision/team/r1/a%20b.txt", aliceKey, "")); string(got.body) != "hello" {
		t.Errorf("download: %d %q", got.status, got.body)
	}
	if n := len(s.Requests(ByMethod("PUT"), ToPath("/storage"))); n != 3 {
		t.Errorf("%d uploads recorded, want 3", n)
	}
}

func TestArtifactIsLoggedUsedAndLinked(t *testing.T) {
	_, base := start(t, acme())
	run := func(query string, variables map[string]any) map[string]any {
		t.Helper()
		status, data, message := ask(t, base, aliceKey, query, variables)
		if status != 200 || message != "" {
			t.Fatalf("%d %s", status, message)
		}
		return data
	}
	run(upsert, map[string]any{"name": "r1", "project": "team", "entity": "vision"})
	create := `mutation C($input: CreateArtifactInput!) { createArtifact(input: $input) { ...A } }
		fragment A on CreateArtifactPayload { artifact { id state artifactSequence { latestArtifact { id } } } }`
	input := map[string]any{"input": map[string]any{
		"entityName": "vision", "projectName": "team", "runName": "r1", "artifactCollectionName": "model", "artifactTypeName": "model",
		"digest": "d1", "clientID": "c1", "enableDigestDeduplication": true, "aliases": []any{map[string]any{"artifactCollectionName": "model", "alias": "best"}},
	}}
	data := run(create, input)
	id, _ := at(data, "createArtifact", "artifact", "id").(string)
	if at(data, "createArtifact", "artifact", "state") != "PENDING" {
		t.Fatalf("new artifact: %v", data)
	}
	data = run(`mutation M($id: ID!, $up: Boolean!) { createArtifactManifest(input: {artifactID: $id, name: "wandb_manifest.json", digest: "m",
		entityName: "vision", projectName: "team", runName: "r1", type: FULL}) { artifactManifest { id file { id uploadUrl @include(if: $up) } } } }`,
		map[string]any{"id": id, "up": true})
	manifestURL, _ := at(data, "createArtifactManifest", "artifactManifest", "file", "uploadUrl").(string)
	send(t, newRequest(t, "PUT", manifestURL, "", `{"contents":{"w.bin":{"digest":"`+md5Of([]byte("weights"))+`","size":7},"far":{"ref":"s3://b/k","size":3,"digest":"x"}}}`))
	data = run(`mutation F($f: [CreateArtifactFileSpecInput!]!) { createArtifactFiles(input: {artifactFiles: $f, storageLayout: V2}) {
		files { edges { node { uploadUrl storagePath artifact { id } } } } } }`,
		map[string]any{"f": []any{map[string]any{"artifactID": id, "name": "w.bin", "md5": md5Of([]byte("weights"))}}})
	fileURL, _ := at(data, "createArtifactFiles", "files", "edges", 0, "node", "uploadUrl").(string)
	if got := send(t, newRequest(t, "PUT", fileURL, "", "weights")); got.status != 200 {
		t.Fatalf("upload: %d %s", got.status, got.body)
	}
	run(`mutation K($id: ID!) { commitArtifact(input: {artifactID: $id}) { artifact { id digest } } }`, map[string]any{"id": id})
	if data := run(create, input); at(data, "createArtifact", "artifact", "state") != "COMMITTED" {
		t.Errorf("the same content again: %v", data)
	}

	read := `query A($n: String!) { project(name: "team", entityName: "vision") { artifactCollectionMembership(name: $n) {
		versionIndex aliases { alias } artifact { size files { edges { node { name: displayName directUrl } } } } artifactCollection { __typename } } } }`
	for _, name := range []string{"model:best", "model:latest", "model:v0", "model"} {
		data := run(read, map[string]any{"n": name})
		m := at(data, "project", "artifactCollectionMembership")
		if at(m, "versionIndex") != 0.0 || at(m, "artifact", "size") != 10.0 || at(m, "artifactCollection", "__typename") != "ArtifactSequence" {
			t.Errorf("%s: %v", name, m)
		}
		if got := at(m, "artifact", "files", "edges", 0, "node", "directUrl"); got != "s3://b/k" {
			t.Errorf("a reference's URL is %v", got)
		}
		direct, _ := at(m, "artifact", "files", "edges", 1, "node", "directUrl").(string)
		if got := send(t, newRequest(t, "GET", direct, "", "")); string(got.body) != "weights" {
			t.Errorf("download: %d %q", got.status, got.body)
		}
	}
	for _, path := range []string{"/artifacts/vision/" + hexOf(md5Of([]byte("weights"))), "/artifactsV2/default/vision/team/model/x/" + hexOf(md5Of([]byte("weights"))) + "/w.bin"} {
		if got := send(t, newRequest(t, "GET", base+path, aliceKey, "")); string(got.body) != "weights" {
			t.Errorf("%s: %d %q", path, got.status, got.body)
		}
		if got := send(t, newRequest(t, "GET", base+path, bobKey, "")); got.status != 404 {
			t.Errorf("%s by a stranger: %d", path, got.status)
		}
	}
	run(`mutation L($id: ID!) { linkArtifact(input: {artifactID: $id, artifactPortfolioName: "prod", entityName: "vision", projectName: "team"}) { versionIndex } }`, map[string]any{"id": id})
	if data := run(read, map[string]any{"n": "prod:latest"}); at(data, "project", "artifactCollectionMembership", "artifactCollection", "__typename") != "ArtifactPortfolio" {
		t.Errorf("linked: %v", data)
	}
	run(`mutation U($id: ID!) { useArtifact(input: {artifactID: $id, entityName: "vision", projectName: "team", runName: "r1"}) { artifact { id usedBy { edges { node { name } } } } } }`, map[string]any{"id": id})
	if _, data, _ := ask(t, base, bobKey, `query X($id: ID!) { artifact(id: $id) { id } }`, map[string]any{"id": id}); data["artifact"] != nil {
		t.Errorf("a stranger reads the artifact: %v", data)
	}
}

func TestSweepHandsOutItsGrid(t *testing.T) {
	_, base := start(t, acme())
	_, data, message := ask(t, base, aliceKey, `mutation S($c: String) { upsertSweep(input: {config: $c, entityName: "vision", projectName: "team"}) { sweep { name id } configValidationWarnings } }`,
		map[string]any{"c": "method: grid\nparameters:\n  lr:\n    values:\n    - 0.1\n    - 0.2\n"})
	name, _ := at(data, "upsertSweep", "sweep", "name").(string)
	if name == "" {
		t.Fatal(message)
	}
	_, data, _ = ask(t, base, aliceKey, `mutation A($s: String!) { createAgent(input: {host: "h", projectName: "team", entityName: "vision", sweep: $s}) { agent { id } } }`, map[string]any{"s": name})
	id := at(data, "createAgent", "agent", "id")
	beat := func(state string) string {
		_, data, _ := ask(t, base, aliceKey, `mutation H($id: ID!, $r: JSONString) { agentHeartbeat(input: {id: $id, runState: $r}) { commands } }`, map[string]any{"id": id, "r": state})
		text, _ := at(data, "agentHeartbeat", "commands").(string)
		return text
	}
	if got := beat(`{}`); !strings.Contains(got, `"lr":{"value":0.1}`) {
		t.Errorf("first command is %s", got)
	}
	if got := beat(`{"x":true}`); got != "[]" {
		t.Errorf("command to a busy agent is %s", got)
	}
	if got := beat(`{}`); !strings.Contains(got, `"lr":{"value":0.2}`) {
		t.Errorf("second command is %s", got)
	}
	if got := beat(`{}`); !strings.Contains(got, `"exit"`) {
		t.Errorf("last command is %s", got)
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	_, base := start(t, acme())
	tests := []struct{ name, query, want string }{
		{"unknown field", `{viewer{nope}}`, `Cannot query field "nope" on type "User".`},
		{"unknown root", `{nope}`, `Cannot query field "nope" on type "Query".`},
		{"two operations", `query A{viewer{id}} query B{viewer{id}}`, "one of the document's operations"},
		{"subscription", `subscription S{viewer{id}}`, "not supported"},
		{"no document", ``, "operations"},
		{"fragment in a circle", `{...A} fragment A on Query{...B} fragment B on Query{...A}`, "spreads itself"},
		{"fragment in a circle through fields", `{project{...A}} fragment A on Project{runs{edges{node{project{...A}}}}}`, "spreads itself"},
		{"too long", "{" + strings.Repeat("a ", 30_000) + "}", "token"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, _, message := ask(t, base, aliceKey, tt.query, nil)
			if status != 400 || !strings.Contains(message, tt.want) {
				t.Errorf("got %d %q, want 400 with %q", status, message, tt.want)
			}
		})
	}
}

func TestSelectionsAreResolved(t *testing.T) {
	_, base := start(t, acme())
	_, data, message := ask(t, base, aliceKey, `query Q($yes: Boolean = true, $no: Boolean!) {
		me: viewer { ...N ...N username @skip(if: $yes) email @include(if: $no) __typename ... on User { n: name } ... on Run { state } }
		viewer { id } } fragment N on User { username @include(if: $yes) }`, map[string]any{"no": false})
	if message != "" {
		t.Fatal(message)
	}
	me := data["me"].(map[string]any)
	if len(me) != 3 || me["username"] != "alice" || me["n"] != "alice" || me["__typename"] != "User" {
		t.Errorf("got %v", me)
	}
}

func TestOldClientsFindTheirTypes(t *testing.T) {
	_, base := start(t, acme())
	_, data, _ := ask(t, base, aliceKey, `query P { Q: __type(name: "Query") { ...f } S: __type(name: "ServerSettings") { ...f }
		I: __type(name: "UseArtifactInput") { name inputFields { name } } none: __type(name: "Nothing") { name } } fragment f on __Type { fields { name } }`, nil)
	for _, path := range [][]any{{"Q", "fields", 0, "name"}, {"S", "fields", 0, "name"}, {"I", "inputFields", 0, "name"}} {
		if at(data, path...) == nil {
			t.Errorf("%v is missing", path)
		}
	}
	if data["none"] != nil {
		t.Errorf("an unknown type is %v", data["none"])
	}
}

func TestFaults(t *testing.T) {
	s, base := start(t, acme())
	ask := func() (reply, error) {
		r := newRequest(t, "POST", base+"/graphql", aliceKey, `{"query":"{viewer{id}}"}`)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			return reply{}, err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return reply{response.StatusCode, body, response.Header}, err
	}
	tests := []struct {
		name   string
		fault  Fault
		status int
		body   string
		broken bool
	}{
		{"denied", Fault{Root: "viewer", Status: 403, Body: `{"errors":[{"message":"no"}]}`}, 403, "no", false},
		{"page", Fault{Prefix: "/graphql", Status: 200, Body: HTMLPage}, 200, "Sign in", false},
		{"null data", Fault{Root: "viewer", Status: 200, Body: NullData}, 200, "null", false},
		{"cut", Fault{Status: 200, Body: HalfJSON, Cut: true}, 200, "", true},
		{"closed", Fault{Close: true}, 0, "", true},
		{"another root", Fault{Root: "upsertBucket", Status: 500}, 200, "VXNlc", false},
		{"delay only", Fault{Delay: time.Millisecond}, 200, "VXNlc", false},
		{"retry later", Fault{Status: 503, Header: http.Header{"Retry-After": {"1"}}}, 503, "", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			remove := s.Fail(tt.fault)
			got, err := ask()
			remove()
			if tt.broken {
				if err == nil {
					t.Errorf("answered %d %q", got.status, got.body)
				}
				return
			}
			if err != nil || got.status != tt.status || !bytes.Contains(got.body, []byte(tt.body)) {
				t.Errorf("got %d %q %v", got.status, got.body, err)
			}
			if got, err := ask(); err != nil || got.status != 200 {
				t.Errorf("after the fault: %d %v", got.status, err)
			}
		})
	}
	s.Fail(Fault{Status: 500, Times: 2})
	for _, want := range []int{500, 500, 200} {
		if got, _ := ask(); got.status != want {
			t.Errorf("got %d, want %d", got.status, want)
		}
	}
}

func TestHangEndsWithTheClient(t *testing.T) {
	s, base := start(t, acme())
	defer s.Fail(Fault{Hang: true})()
	client := http.Client{Timeout: 50 * time.Millisecond}
	if _, err := client.Get(base + "/healthz"); err == nil {
		t.Error("a hanging server answered")
	}
}

func TestRequestsAreRecorded(t *testing.T) {
	s, base := start(t, acme())
	ask(t, base, aliceKey, `mutation N { ...R } fragment R on Mutation { result: createTeam(input: {teamName: "x"}) { entity { id } } }`, map[string]any{"v": 1})
	send(t, newRequest(t, "GET", base+"/some/page?x=%2F", "", ""))
	got := s.Requests(ToRoot("createTeam"))
	if len(got) != 1 || got[0].Operation != "N" || got[0].Status != 403 || got[0].Header.Get("Authorization") == "" || got[0].Variables["v"] != 1.0 {
		t.Errorf("recorded %+v", got)
	}
	if got := s.Requests(ToPath("/some/")); len(got) != 1 || got[0].Target != "/some/page?x=%2F" {
		t.Errorf("recorded %+v", got)
	}
	s.ResetRequests()
	if got := s.Requests(); len(got) != 0 {
		t.Errorf("after reset %+v", got)
	}
}

func TestServersOwnSignIn(t *testing.T) {
	_, base := start(t, acme())
	form := func(password string) reply {
		r := newRequest(t, "POST", base+"/login", "", url.Values{"username": {"alice"}, "password": {password}}.Encode())
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return send(t, r)
	}
	if got := form("wrong"); got.status != 401 || got.header.Get("Set-Cookie") != "" {
		t.Errorf("wrong password: %d %v", got.status, got.header)
	}
	signedIn := form("secret")
	cookie, _, _ := strings.Cut(signedIn.header.Get("Set-Cookie"), ";")
	if signedIn.status != 303 || cookie == "" {
		t.Fatalf("sign-in: %d %v", signedIn.status, signedIn.header)
	}
	page := func(cookie string) string {
		r := newRequest(t, "GET", base+"/vision", "", "")
		r.Header.Set("Cookie", cookie)
		return string(send(t, r).body)
	}
	if got := page(cookie); !strings.Contains(got, `<b id="user">alice</b>`) {
		t.Errorf("page says %s", got)
	}
	out := newRequest(t, "POST", base+"/logout", "", "")
	out.Header.Set("Cookie", cookie)
	send(t, out)
	if got := page(cookie); strings.Contains(got, "alice") {
		t.Errorf("after signing out the page says %s", got)
	}
}

func TestServersOwnTokensAndSCIM(t *testing.T) {
	_, base := start(t, acme())
	exchange := func(assertion string) reply {
		r := newRequest(t, "POST", base+"/oidc/token", "", "grant_type=urn:ietf:params:oauth:grant-type:jwt-bearer&assertion="+assertion)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return send(t, r)
	}
	if got := exchange("eyJ.forged"); got.status != 400 {
		t.Errorf("forged assertion: %d", got.status)
	}
	var token struct {
		AccessToken string `json:"access_token"`
		ExpiresIn   int    `json:"expires_in"`
	}
	json.Unmarshal(exchange("eyJ.assertion.of-alice").body, &token)
	if token.ExpiresIn <= 300 {
		t.Errorf("expires_in is %d: the SDK would exchange before every request", token.ExpiresIn)
	}
	r := newRequest(t, "POST", base+"/graphql", "", `{"query":"{viewer{username}}"}`)
	r.Header.Set("Authorization", "Bearer "+token.AccessToken)
	if got := send(t, r); !bytes.Contains(got.body, []byte(`"alice"`)) {
		t.Errorf("bearer: %d %s", got.status, got.body)
	}
	for key, want := range map[string]int{"": 401, aliceKey: 403, adminKey: 200} {
		for _, path := range []string{"/scim/Users", "/scim/Groups", "/admin/audit_logs"} {
			if got := send(t, newRequest(t, "GET", base+path, key, "")); got.status != want {
				t.Errorf("%s with %q: %d, want %d", path, key, got.status, want)
			}
		}
	}
	if got := send(t, newRequest(t, "POST", base+"/scim/Users", adminKey, `{"userName":"dora","emails":[{"value":"d@acme.test"}]}`)); got.status != 201 {
		t.Errorf("SCIM create: %d %s", got.status, got.body)
	}
}

func TestConfigThatIsRefused(t *testing.T) {
	for name, config := range map[string]Config{
		"unknown member":  {Teams: []Team{{Name: "t", Members: []Member{{User: "ghost"}}}}},
		"unknown entity":  {Projects: []Project{{Entity: "t", Name: "p"}}},
		"same name twice": {Users: []User{{Username: "a"}, {Username: "a"}}},
		"unknown owner":   {Users: []User{{Username: "a"}}, Projects: []Project{{Entity: "a", Name: "p", Owner: "b"}}},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// Nothing that a client sends may bring the server down.
func FuzzGraphQL(f *testing.F) {
	f.Add(`{"query":"{viewer{id}}"}`)
	f.Add(`{"query":"query($a:X=[1,{b:$c}]){project(name:$a){runs(first:-1,after:\"9\"){edges{node{id}}}}}","variables":{"a":null}}`)
	f.Add(`{"query":"{...A} fragment A on Query{...A}"}`)
	f.Add(`{"query":"mutation{upsertBucket(input:{id:\"UnVuOg==\"}){bucket{id}}}"}`)
	f.Add(`{"query":"{project(name:\"open\",entityName:\"vision\"){artifact(name:\":\"){id} runs(filters:\"{\\\"$and\\\":[1]}\"){totalCount}}}"}`)
	s, err := New(acme())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("POST", "/graphql", strings.NewReader(body))
		r.SetBasicAuth("api", aliceKey)
		s.ServeHTTP(w, r)
		if !json.Valid(w.Body.Bytes()) {
			t.Errorf("answer is no JSON: %q", w.Body)
		}
	})
}

func FuzzParseSearch(f *testing.F) {
	f.Add("method: grid\nparameters:\n  lr:\n    values:\n    - 0.1\n")
	f.Add(`{"method":"random","parameters":{"x":{"min":0,"max":1}}}`)
	f.Add("parameters:\n  a:\n    min: 1\n    max: 0\n")
	f.Fuzz(func(_ *testing.T, config string) {
		search := parseSearch(config)
		search.next(3)
		search.expected()
	})
}
