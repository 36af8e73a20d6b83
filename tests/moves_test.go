package tests

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// docMoveRuns is what a move looks like in the types generated for W&B's web page (MoveRunsInput).
const docMoveRuns = "mutation MoveRuns($input: MoveRunsInput!) {\n  moveRuns(input: $input) {\n    clientMutationId\n    task {\n      id\n      name\n      state\n      progress\n      result\n    }\n  }\n}"

// house is a gateway with the hostile directory and a little more, before a stand-in server that judges nobody.
type house struct {
	*process
	server       *standin.Server
	upstreamHost string
}

func startHouse(t *testing.T, c config) house {
	t.Helper()
	server, err := standin.New(standin.Config{Trust: true})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(web.Close)
	c.upstream = strings.TrimPrefix(web.URL, "http://")
	h := house{start(t, c), server, c.upstream}
	h.importFile(hostile)
	return h
}

// did asks for what must succeed.
func (h house) did(t *testing.T, key, query string, v map[string]any) answer {
	t.Helper()
	got := h.graphQL(key, query, v, nil)
	if got.status != http.StatusOK || strings.Contains(got.body, `"errors"`) {
		t.Fatalf("%.80s: %d %s", query, got.status, got.body)
	}
	return got
}

// move moves the runs of a name.
func (h house) move(key, from, to, run string) answer {
	h.t.Helper()
	fromEntity, fromProject, _ := strings.Cut(from, "/")
	toEntity, toProject, _ := strings.Cut(to, "/")
	return h.graphQL(key, docMoveRuns, given{"input": given{
		"sourceEntityName": fromEntity, "sourceProjectName": fromProject,
		"destinationEntityName": toEntity, "destinationProjectName": toProject,
		"filters": fmt.Sprintf(`{"name":%q}`, run),
	}}, nil)
}

func (h house) log(t *testing.T, key, project, run string) {
	t.Helper()
	entity, name, _ := strings.Cut(project, "/")
	h.did(t, key, `mutation U($e: String, $p: String, $n: String) { upsertBucket(input: {entityName: $e, modelName: $p, name: $n}) { bucket { id } } }`, given{"e": entity, "p": name, "n": run})
}

func (h house) shows(t *testing.T, key, project, run string) bool {
	t.Helper()
	entity, name, _ := strings.Cut(project, "/")
	got := h.did(t, key, `query R($e: String, $p: String!, $n: String!) { project(entityName: $e, name: $p) { run(name: $n) { name } } }`, given{"e": entity, "p": name, "n": run})
	return strings.Contains(got.body, `"name":"`+run+`"`)
}

// TestMoves: who moves runs writes where they are and where they go, and out of a restricted project they
// never go (VIS-10).
func TestMoves(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	h.mustIAM("team", "set", "hostile", "--add", "victor")
	h.mustIAM("team", "set", "vision", "--add", "root:viewer")
	h.mustIAM("project", "create", "vision/opened", "--visibility", "restricted", "--owner", "alice", "--add", "service_account:org-bot", "--add", "victor:viewer")
	for project, key := range map[string]string{
		"vision/team": aliceKey, "vision/open": aliceKey, "vision/public": aliceKey, "vision/restricted": aliceKey, "vision/opened": aliceKey,
		"hostile/own": malloryKey, "alice/own": aliceKey, "mallory/own": malloryKey,
	} {
		h.log(t, key, project, "stays")
	}
	for name, c := range map[string]struct {
		key, from, to string
		status        int
		reason        string
	}{
		"out of restricted, by its owner":                 {aliceKey, "vision/restricted", "vision/team", 403, "restricted_runs_stay"},
		"out of restricted, into itself":                  {aliceKey, "vision/restricted", "vision/restricted", 403, "restricted_runs_stay"},
		"out of restricted, into another that is closed":  {aliceKey, "vision/restricted", "vision/opened", 403, "restricted_runs_stay"},
		"out of restricted, by an invited account":        {orgBotKey, "vision/opened", "vision/team", 403, "restricted_runs_stay"},
		"out of restricted, in another spelling":          {aliceKey, "VISION/Restricted", "vision/team", 403, "restricted_runs_stay"},
		"out of restricted, not invited":                  {victorKey, "vision/restricted", "vision/team", 403, "restricted_project_not_invited"},
		"out of restricted, not the organization's admin": {rootKey, "vision/restricted", "vision/team", 403, "view_only"},
		"into restricted, not invited":                    {victorKey, "vision/team", "vision/restricted", 403, "restricted_project_not_invited"},
		"into restricted, only to read":                   {victorKey, "vision/team", "vision/opened", 403, "view_only"},
		"into restricted by its team's account":           {ciVisionKey, "vision/team", "vision/restricted", 403, "restricted_project_not_invited"},
		"out of another team's":                           {malloryKey, "vision/team", "hostile/own", 403, "team_project"},
		"out of another team's that is open":              {malloryKey, "vision/open", "hostile/own", 403, "not_team_member"},
		"out of another team's that is public":            {malloryKey, "vision/public", "hostile/own", 403, "public_view_only"},
		"into another team's":                             {malloryKey, "hostile/own", "vision/team", 403, "team_project"},
		"into a new project of another team":              {malloryKey, "hostile/own", "vision/new", 403, "not_team_member"},
		"by an account of another team":                   {ciHostileKey, "hostile/own", "vision/team", 403, "team_scope"},
		"out of the personal entity of another":           {malloryKey, "alice/own", "hostile/own", 403, "personal_entity"},
		"View-Only":                                       {rootKey, "vision/team", "vision/open", 403, "view_only"},
		"out of what is not there":                        {aliceKey, "vision/nothing", "vision/team", 403, "not_found"},
		"without a credential":                            {"", "vision/team", "vision/open", 401, "no_credential"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.reason == "not_found" {
				c.status = http.StatusNotFound
			}
			h.server.ResetRequests()
			if got := h.move(c.key, c.from, c.to, "stays"); got.status != c.status || got.reason() != c.reason {
				t.Errorf("%d %s, want %d %s: %s", got.status, got.reason(), c.status, c.reason, got.body)
			}
			if n := len(h.server.Requests(standin.ToRoot("moveRuns"))); n != 0 {
				t.Errorf("the server was asked %d times", n)
			}
		})
	}
	for i, c := range []struct{ key, from, to string }{
		{victorKey, "vision/team", "vision/open"},
		{victorKey, "vision/team", "hostile/own"},
		{malloryKey, "hostile/own", "vision/open"}, // an outsider submits there (VIS-2)
		{aliceKey, "vision/public", "vision/restricted"},
		{orgBotKey, "vision/team", "vision/opened"},
		{ciVisionKey, "vision/open", "vision/team"},
		{aliceKey, "alice/own", "vision/team"},
		{victorKey, "vision/team", "vision/made-by-a-move"},
	} {
		run := fmt.Sprint("r", i)
		h.log(t, c.key, c.from, run)
		if got := h.move(c.key, c.from, c.to, run); got.status != http.StatusOK || strings.Contains(got.body, `"errors"`) {
			t.Errorf("%s to %s: %d %s", c.from, c.to, got.status, got.body)
			continue
		}
		if !h.shows(t, c.key, c.to, run) || h.shows(t, c.key, c.from, run) {
			t.Errorf("the run did not go from %s to %s", c.from, c.to)
		}
		if !h.shows(t, c.key, c.from, "stays") && c.from != "hostile/own" && c.from != "vision/public" {
			t.Errorf("moving one run out of %s moved another", c.from)
		}
	}
	if row := h.mustIAM("project", "get", "vision/made-by-a-move", "--json"); !strings.Contains(row, `"owner": "victor"`) || !strings.Contains(row, `"visibility": "team"`) {
		t.Errorf("the project that was made by a move is recorded as %s", row)
	}

	t.Run("the next request feels a change", func(t *testing.T) {
		h.log(t, victorKey, "vision/team", "late")
		h.mustIAM("project", "set", "vision/team", "--visibility", "restricted", "--add", "victor")
		if got := h.move(victorKey, "vision/team", "vision/open", "late"); got.reason() != "restricted_runs_stay" {
			t.Errorf("%d %s", got.status, got.body)
		}
		h.mustIAM("project", "set", "vision/team", "--visibility", "team")
		if got := h.move(victorKey, "vision/team", "vision/open", "late"); got.status != http.StatusOK {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("whole projects keep their place", func(t *testing.T) {
		got := h.graphQL(aliceKey, `mutation{moveProjects(input:{sourceEntityName:"vision",destinationEntityName:"alice",ownerUsername:"alice"}){tasks{id}}}`, nil, nil)
		if got.status != http.StatusForbidden || len(h.server.Requests(standin.ToRoot("moveProjects"))) != 0 {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
}

// TestMovesWithoutPersonalEntities: nothing is written to personal entities where they are off, and taking runs
// out of one is writing to it (ENV-8).
func TestMovesWithoutPersonalEntities(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{global: "personal_entities off"})
	h.mustIAM("project", "create", "alice/own", "--owner", "alice")
	h.log(t, aliceKey, "vision/team", "r")
	for from, to := range map[string]string{"vision/team": "alice/own", "alice/own": "vision/team"} {
		if got := h.move(aliceKey, from, to, "r"); got.status != http.StatusForbidden || got.reason() != "personal_entity_disabled" {
			t.Errorf("%s to %s: %d %s", from, to, got.status, got.body)
		}
	}
	if got := h.move(aliceKey, "vision/team", "vision/open", "r"); got.status != http.StatusOK {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestMovedRunsFiles: a file's id that was shown while its run lay in an open project opens nothing where the run
// lies now.
func TestMovedRunsFiles(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	files := `query F($e: String, $p: String!) { project(entityName: $e, name: $p) { run(name: "r") { files { edges { node { id name } } } } } }`
	remove := `mutation D($files: [ID!]!) { deleteFiles(input: {files: $files}) { success } }`
	h.log(t, aliceKey, "vision/team", "r")
	upload := between(t, h.did(t, aliceKey, `mutation { createRunFiles(input: {entityName: "vision", projectName: "team", runName: "r", files: ["model.pt"]}) { files { name uploadUrl } } }`, nil).body, `"uploadUrl":"`, `"`)
	upload = strings.NewReplacer(`\u0026`, "&").Replace(upload)
	put, err := http.NewRequest(http.MethodPut, upload, strings.NewReader("weights"))
	if err != nil {
		t.Fatal(err)
	}
	put.SetBasicAuth("api", aliceKey)
	res, err := h.web.Do(put)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()

	// victor sees the file in vision/team, which he may write to.
	id := between(t, h.did(t, victorKey, files, given{"e": "vision", "p": "team"}).body, `"id":"`, `"`)
	if got := h.move(aliceKey, "vision/team", "vision/restricted", "r"); got.status != http.StatusOK {
		t.Fatalf("%d %s", got.status, got.body)
	}
	h.server.ResetRequests()
	for _, of := range []string{victorKey, malloryKey} {
		if got := h.graphQL(of, remove, given{"files": []string{id}}, nil); got.status != http.StatusForbidden || got.reason() != "unplaced" {
			t.Errorf("deleting a file of a moved run: %d %s", got.status, got.body)
		}
	}
	if n := len(h.server.Requests(standin.ToRoot("deleteFiles"))); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
	// The id that was built of the old names is judged by them, and finds nothing there.
	if got := h.graphQL(victorKey, `mutation{deleteRun(input:{id:"`+nodeID("Run:v1:r:restricted:vision")+`"}){clientMutationId}}`, nil, nil); got.reason() != "restricted_project_not_invited" {
		t.Errorf("%d %s", got.status, got.body)
	}
	h.graphQL(victorKey, `mutation{deleteRun(input:{id:"`+nodeID("Run:v1:r:team:vision")+`"}){clientMutationId}}`, nil, nil)
	// Who may enter sees it there, and deletes it.
	id = between(t, h.did(t, aliceKey, files, given{"e": "vision", "p": "restricted"}).body, `"id":"`, `"`)
	h.did(t, aliceKey, remove, given{"files": []string{id}})
	if got := h.graphQL(victorKey, remove, given{"files": []string{id}}, nil); got.reason() != "restricted_project_not_invited" {
		t.Errorf("%d %s", got.status, got.body)
	}
}
