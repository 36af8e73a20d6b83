//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// The keys in the gateway's own directory: <prefix>-<40 hex> as every SDK accepts it.
const (
	sdkAliceKey = "local-a11ce0000000000000000000000000000000a11c"
	sdkVeraKey  = "local-fe1a0000000000000000000000000000000fe1a0"
	sdkBobKey   = "local-b0b0000000000000000000000000000000000b0b"
	sdkTrainKey = "local-c1c1000000000000000000000000000000000c1c"
	sdkMicKey   = "local-31c0000000000000000000000000000000000310"
	sdkOrgKey   = "local-0490000000000000000000000000000000000490"
)

// sdkDirectory has two teams with one service account each, and a project of every visibility in
// the first.
const sdkDirectory = `{"organization": "acme",
 "users": [
  {"username": "alice", "email": "alice@acme.test", "role": "admin", "models_seat": "full", "weave_seat": "full", "active": true},
  {"username": "vera", "email": "vera@acme.test", "role": "member", "models_seat": "full", "weave_seat": "full", "active": true},
  {"username": "bob", "email": "bob@acme.test", "role": "member", "models_seat": "full", "weave_seat": "full", "active": true}],
 "teams": [
  {"name": "vision", "members": [{"user": "alice", "role": "admin"}, {"user": "vera", "role": "viewer"}]},
  {"name": "speech", "members": [{"user": "bob", "role": "admin"}]}],
 "service_accounts": [{"name": "ci-train", "team": "vision"}, {"name": "mic", "team": "speech"}, {"name": "org-bot", "default_team": "vision"}],
 "projects": [
  {"entity": "vision", "name": "open", "visibility": "open", "owner": "alice"},
  {"entity": "vision", "name": "public", "visibility": "public", "owner": "alice"},
  {"entity": "vision", "name": "team", "visibility": "team", "owner": "alice"},
  {"entity": "vision", "name": "restricted-0.19.11", "visibility": "restricted", "owner": "alice"},
  {"entity": "vision", "name": "restricted-0.25.1", "visibility": "restricted", "owner": "alice"},
  {"entity": "vision", "name": "restricted-0.31.0", "visibility": "restricted", "owner": "alice"}],
 "api_keys": [
  {"owner": "alice", "name": "laptop", "key": "` + sdkAliceKey + `"},
  {"owner": "vera", "name": "laptop", "key": "` + sdkVeraKey + `"},
  {"owner": "bob", "name": "laptop", "key": "` + sdkBobKey + `"},
  {"owner": "service_account:ci-train", "name": "ci", "key": "` + sdkTrainKey + `"},
  {"owner": "service_account:mic", "name": "ci", "key": "` + sdkMicKey + `"},
  {"owner": "service_account:org-bot", "name": "ci", "key": "` + sdkOrgKey + `"}]}`

// scenario is one person or job that logs a run through the gateway.
type scenario struct {
	name    string
	key     string
	token   string // of an identity provider, in a file, instead of a key
	env     []string
	project string

	// reads is what the user must read when the run is refused: cause and next step. Empty
	// means that the run is logged.
	reads []string
	// entity is where an allowed run goes; user and attributed are what the upstream is told.
	entity, user, attributed string
}

var scenarios = []scenario{
	{name: "member", key: sdkAliceKey, env: []string{"WANDB_ENTITY", "vision"}, project: "team", entity: "vision", user: "alice", attributed: "alice"},
	{name: "member creates a project", key: sdkAliceKey, env: []string{"WANDB_ENTITY", "vision"}, project: "brand-new", entity: "vision", user: "alice", attributed: "alice"},
	{name: "member under another's name", key: sdkAliceKey, env: []string{"WANDB_ENTITY", "vision", "WANDB_USERNAME", "bob"}, project: "team", entity: "vision", user: "alice", attributed: "alice"},
	{name: "member without entity", key: sdkAliceKey, project: "mine", entity: "alice", user: "alice", attributed: "alice"},
	{name: "view-only member", key: sdkVeraKey, env: []string{"WANDB_ENTITY", "vision"}, project: "team", reads: []string{"View-Only", "ask a team admin"}},
	{name: "view-only member in an open project", key: sdkVeraKey, env: []string{"WANDB_ENTITY", "vision"}, project: "open", reads: []string{"View-Only", "ask a team admin"}},
	{name: "stranger", key: sdkBobKey, env: []string{"WANDB_ENTITY", "vision"}, project: "team", reads: []string{"members of team vision", "ask a team admin"}},
	{name: "stranger in an open project", key: sdkBobKey, env: []string{"WANDB_ENTITY", "vision"}, project: "open", entity: "vision", user: "bob", attributed: "bob"},
	{name: "stranger in a public project", key: sdkBobKey, env: []string{"WANDB_ENTITY", "vision"}, project: "public", reads: []string{"bob", "vision/public"}},
	{name: "nobody's entity", key: sdkBobKey, env: []string{"WANDB_ENTITY", "ghost"}, project: "x", reads: []string{"ghost/x", "check WANDB_ENTITY"}},
	{name: "unknown key", key: "local-" + strings.Repeat("f", 40), env: []string{"WANDB_ENTITY", "vision"}, project: "team", reads: []string{"key"}},
	{name: "job in its team", key: sdkTrainKey, env: []string{"WANDB_ENTITY", "vision"}, project: "team", entity: "vision", user: "ci-train"},
	{name: "job without entity", key: sdkTrainKey, project: "team", entity: "vision", user: "ci-train"},
	{name: "job for a member", key: sdkTrainKey, env: []string{"WANDB_ENTITY", "vision", "WANDB_USERNAME", "alice"}, project: "team", entity: "vision", user: "ci-train", attributed: "alice"},
	{name: "job for a member by address", key: sdkTrainKey, env: []string{"WANDB_USER_EMAIL", "alice@acme.test"}, project: "team", entity: "vision", user: "ci-train", attributed: "alice"},
	{name: "job for a stranger", key: sdkTrainKey, env: []string{"WANDB_ENTITY", "vision", "WANDB_USERNAME", "bob"}, project: "team", entity: "vision", user: "ci-train"},
	{name: "another team's job in an open project", key: sdkMicKey, env: []string{"WANDB_ENTITY", "vision", "WANDB_USERNAME", "bob"}, project: "open", entity: "vision", user: "mic", attributed: "bob"},
	{name: "another team's job", key: sdkMicKey, env: []string{"WANDB_ENTITY", "vision"}, project: "team", reads: []string{"limited to team speech", "set WANDB_ENTITY to speech"}},
	{name: "organization's job for a member", key: sdkOrgKey, env: []string{"WANDB_USERNAME", "alice"}, project: "team", entity: "vision", user: "org-bot", attributed: "alice"},
}

// The gateway is the only judge and the server behind it trusts what it is told.
func TestSDKThroughGateway(t *testing.T) {
	t.Parallel()
	upstream := startStandin(t, standin.Config{Trust: true})
	gateway := start(t, config{site: "upstream_credential none", upstream: upstream.address})
	gateway.importFile(sdkDirectory)
	// The group ends when its parallel parts have, so that the gateway is not stopped before.
	forEachSDK(t, func(t *testing.T, version string) {
		for _, s := range scenarios {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, version, gateway, upstream)
			})
		}
		t.Run("restricted project", func(t *testing.T) {
			t.Parallel()
			testRestricted(t, version, gateway, upstream)
		})
		t.Run("a day's work", func(t *testing.T) {
			t.Parallel()
			testLifecycle(t, version, gateway.url, sdkAliceKey)
		})
		t.Run("offline and sync", func(t *testing.T) {
			t.Parallel()
			testOfflineAndSync(t, version, gateway.url, sdkAliceKey)
		})
		t.Run("login", func(t *testing.T) {
			t.Parallel()
			testLogin(t, version, gateway.url, sdkAliceKey)
		})
	})
}

// run logs a run and looks at both ends: what the user read, and what the server was told.
func (s scenario) run(t *testing.T, version string, gateway *process, upstream server) {
	t.Helper()
	id := runID(version, s.name)
	c := newSDK(t, version, gateway.url, s.key)
	if s.token != "" {
		c.identity(t, s.token)
	}
	artifacts := c.artifacts()
	o := c.with(s.env...).with("DRIVER_PROJECT", s.project, "WANDB_RUN_ID", id).drive(t, "log_run.py")
	if len(s.reads) > 0 {
		mustBeRefused(t, o, s.reads...)
		if got := upstream.about(id); len(got) > 0 {
			t.Errorf("a refused run reached the server: %s %s", got[0].Method, got[0].Target)
		}
		return
	}
	o.mustWork(t)
	if o.report.Entity != s.entity || o.report.Project != s.project {
		t.Errorf("the run went to %s/%s, want %s/%s", o.report.Entity, o.report.Project, s.entity, s.project)
	}
	s.mustBeTold(t, upstream.about(id))
	owner := s.attributed
	if owner == "" {
		owner = s.user
	}
	if got := upstream.runOf(t, s.entity, s.project, id); got.User.Username != owner || got.State != "finished" || got.HistoryLineCount != 3 || len(got.OutputArtifacts.Edges) != artifacts {
		t.Errorf("the server keeps %+v, want a finished run of %s with 3 lines and %d artifacts", got, owner, artifacts)
	}
}

// mustBeTold checks that every request of a run names its principal and carries nothing that the
// client offered as proof.
func (s scenario) mustBeTold(t *testing.T, requests []standin.Request) {
	t.Helper()
	if len(requests) == 0 {
		t.Fatal("no request about the run reached the server")
	}
	uploads := 0
	for _, r := range requests {
		what := r.Method + " " + r.Path + " " + r.Operation
		for _, name := range []string{"Authorization", "Cookie", "X-Wandb-Gateway-Ticket"} {
			if r.Header.Get(name) != "" {
				t.Errorf("%s: the caller's %s reached the server", what, name)
			}
		}
		if text := fmt.Sprint(r.Header); strings.Contains(text, s.key+s.token) {
			t.Errorf("%s: the caller's credential reached the server", what)
		}
		if r.Method == http.MethodPut {
			uploads++
		}
		attributed := s.attributed
		if s.user != s.attributed && r.Path != "/graphql" {
			attributed = "" // clients name the person of a job in GraphQL only (sdk-wire 1.4)
		}
		for name, want := range map[string]string{"X-Forwarded-User": s.user, "X-Wandb-Username": attributed, "X-Wandb-Gateway-Organization": "acme"} {
			if got := r.Header.Values(name); strings.Join(got, ",") != want {
				t.Errorf("%s: %s is %q, want %q", what, name, got, want)
			}
		}
	}
	if uploads == 0 {
		t.Error("no file was uploaded")
	}
}

func mustBeRefused(t *testing.T, o outcome, texts ...string) {
	t.Helper()
	if o.code == 0 {
		t.Fatalf("the run was not refused:\n%s", o.output)
	}
	for _, text := range texts {
		if !strings.Contains(o.output, text) {
			t.Errorf("the user does not read %q:\n%s", text, o.output)
		}
	}
}

// loggedRun is what the server keeps of a run.
type loggedRun struct {
	State            string
	HistoryLineCount int
	User             struct{ Username string }
	OutputArtifacts  struct{ Edges []any }
}

// runOf asks a server that trusts its callers about a run.
func (s server) runOf(t *testing.T, entity, project, run string) loggedRun {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"query": `query R($e: String!, $p: String!, $r: String!) { project(entityName: $e, name: $p) { run(name: $r) {
			state historyLineCount user { username } outputArtifacts { edges { node { id } } } } } }`,
		"variables": map[string]string{"e": entity, "p": project, "r": run},
	})
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Post(s.url()+"/graphql", "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var answer struct {
		Data struct{ Project struct{ Run loggedRun } }
	}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer.Data.Project.Run
}

// A job is refused in a restricted project until it is put on the list, and the refusal says so.
func testRestricted(t *testing.T, version string, gateway *process, upstream server) {
	t.Helper()
	project := "restricted-" + version
	s := scenario{name: "job before it is added", key: sdkTrainKey, env: []string{"WANDB_ENTITY", "vision"}, project: project,
		reads: []string{"not on the access list", "vision/" + project, "add it"}}
	s.run(t, version, gateway, upstream)
	gateway.mustIAM("project", "set", "vision/"+project, "--add", "service_account:ci-train")
	s.name, s.reads, s.entity, s.user = "job after it is added", nil, "vision", "ci-train"
	s.run(t, version, gateway, upstream)
	gateway.mustIAM("project", "set", "vision/"+project, "--remove", "service_account:ci-train")
	s.name, s.reads = "job after it is removed", []string{"not on the access list"}
	s.run(t, version, gateway, upstream)
}

// The server stays the record, and each caller's own key goes on to it: nobody notices the first
// day.
func TestSDKWithServerAsRecord(t *testing.T) {
	t.Parallel()
	upstream := startStandin(t, recordConfig())
	gateway := start(t, config{global: "directory wandb " + upstream.url(), upstream: upstream.address})
	forEachSDK(t, func(t *testing.T, version string) {
		t.Run("a day's work", func(t *testing.T) {
			t.Parallel()
			testLifecycle(t, version, gateway.url, aliceServerKey)
		})
		t.Run("login", func(t *testing.T) {
			t.Parallel()
			testLogin(t, version, gateway.url, aliceServerKey)
		})
		t.Run("administration", func(t *testing.T) {
			t.Parallel()
			team := "made-" + strings.ReplaceAll(version, ".", "-")
			newSDK(t, version, gateway.url, rootServerKey).with("DRIVER_TEAM", team, "DRIVER_EMAIL", "carol-"+strings.TrimPrefix(team, "made-")+"@acme.test").
				drive(t, "administer.py").mustWork(t)
		})
		t.Run("unknown key", func(t *testing.T) {
			t.Parallel()
			o := newSDK(t, version, gateway.url, strings.Repeat("f", 40)).with("DRIVER_PROJECT", "p").drive(t, "log_run.py")
			mustBeRefused(t, o, "key")
		})
	})
}

// The gateway is the record and speaks to the server with one service key; the server still
// learns whose work it is.
func TestSDKWithOneServiceKey(t *testing.T) {
	t.Parallel()
	upstream := startStandin(t, recordConfig())
	gateway := start(t, config{site: "upstream_credential api_key " + botServerKey, upstream: upstream.address})
	gateway.importFile(sdkDirectory)
	forEachSDK(t, func(t *testing.T, version string) {
		testLifecycle(t, version, gateway.url, sdkAliceKey)
		for _, r := range upstream.about(runID(version, "day")) {
			if strings.Contains(fmt.Sprint(r.Header), sdkAliceKey) {
				t.Errorf("%s %s: the caller's key reached the server", r.Method, r.Target)
			}
		}
	})
}
