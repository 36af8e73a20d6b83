package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestPersonalEntities: one for each person (SCOPE-9), under their name, which nobody else can have; what is in one
// is not the next's of that name.
func TestPersonalEntities(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	read := `query P($e: String, $p: String) { project(entityName: $e, name: $p) { name } }`
	h.log(t, aliceKey, "alice/notes", "r")
	if row := h.mustIAM("project", "get", "alice/notes", "--json"); !strings.Contains(row, `"owner": "alice"`) {
		t.Error(row)
	}
	for name, key := range map[string]string{"a member of their team": victorKey, "another": malloryKey, "an admin": rootKey, "an account of their team": ciVisionKey} {
		if got := h.graphQL(key, read, given{"e": "alice", "p": "notes"}, nil); got.status != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, got.status, got.body)
		}
		if got := h.graphQL(key, `mutation{upsertBucket(input:{entityName:"alice",modelName:"other",name:"r"}){bucket{id}}}`, nil, nil); got.status != http.StatusForbidden {
			t.Errorf("%s writes: %d %s", name, got.status, got.body)
		}
	}
	// One namespace, without regard to case.
	for name, args := range map[string][]string{
		"a team named like a person":            {"team", "create", "Alice"},
		"a person named like a team":            {"user", "create", "VISION"},
		"a person named like another":           {"user", "create", "ALICE"},
		"a service account named like a person": {"service-account", "create", "alice", "--team", "vision"},
	} {
		if out, err := h.iam("", args...); err == nil {
			t.Errorf("%s: %s", name, out)
		}
	}
	if got := h.graphQL(rootKey, docCreateTeam, given{"teamName": "victor"}, nil); !strings.Contains(got.body, `"errors"`) {
		t.Errorf("a team named like a person, by the SDK: %d %s", got.status, got.body)
	}
	// Who leaves leaves closed projects behind: whoever has the name next, person or team, does not get them.
	h.mustIAM("user", "delete", "alice")
	h.mustIAM("user", "create", "alice")
	key := strings.TrimSpace(h.mustIAM("key", "create", "--owner", "alice", "--name", "k"))
	if got := h.graphQL(key, read, given{"e": "alice", "p": "notes"}, nil); strings.Contains(got.body, `"name":"notes"`) {
		t.Errorf("the next alice: %d %s", got.status, got.body)
	}
	if got := h.graphQL(key, `{viewer{entity}}`, nil, nil); !strings.Contains(got.body, `"entity":"alice"`) {
		t.Errorf("the default entity: %s", got.body)
	}
}

// TestPersonalEntitiesOff: nothing is made in them or written to them, reading stays (ENV-8, ENV-22), and work that
// names no entity goes to the only team.
func TestPersonalEntitiesOff(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	h.log(t, aliceKey, "alice/notes", "r")
	h.mustIAM("user", "create", "nobody")
	h.stop()
	for name, how := range map[string]config{
		"setting":  {global: "personal_entities off"},
		"variable": {env: []string{"GORILLA_DISABLE_PERSONAL_ENTITY=true"}},
	} {
		how.dir, how.upstream = h.dir, h.upstreamHost
		off := house{start(t, how), h.server, h.upstreamHost}
		h.server.ResetRequests()
		for what, query := range map[string]string{
			"a run":           `mutation{upsertBucket(input:{entityName:"alice",modelName:"notes",name:"r2"}){bucket{id}}}`,
			"a run's summary": `mutation{upsertBucket(input:{id:"` + nodeID("Run:v1:r:notes:alice") + `",summaryMetrics:"{}"}){bucket{id}}}`,
			"a new project":   `mutation{upsertModel(input:{entityName:"alice",name:"new"}){model{id}}}`,
			"a description":   `mutation{upsertModel(input:{entityName:"alice",name:"notes",description:"x"}){model{id}}}`,
			"its visibility":  `mutation{upsertModel(input:{entityName:"alice",name:"notes",access:"USER_READ"}){model{id}}}`,
			"an artifact":     `mutation{createArtifact(input:{entityName:"alice",projectName:"notes",runName:"r",artifactTypeName:"t",artifactCollectionName:"c",digest:"d",digestAlgorithm:MANIFEST_MD5}){artifact{id}}}`,
			"a sweep":         `mutation{upsertSweep(input:{entityName:"alice",projectName:"notes",config:"{}"}){sweep{id}}}`,
			"a report":        `mutation{upsertView(input:{entityName:"alice",projectName:"notes",name:"x"}){view{id}}}`,
			"a deletion":      `mutation{deleteRun(input:{id:"` + nodeID("Run:v1:r:notes:alice") + `"}){clientMutationId}}`,
		} {
			if got := off.graphQL(aliceKey, query, nil, nil); got.status != http.StatusForbidden || got.reason() != "personal_entity_disabled" {
				t.Errorf("%s, %s: %d %s", name, what, got.status, got.body)
			}
		}
		if got := off.send(http.MethodPost, "/files/alice/notes/r/file_stream", aliceKey, `{"files":{}}`, http.Header{"Content-Type": {"application/json"}}); got.reason() != "personal_entity_disabled" {
			t.Errorf("%s, a stream: %d %s", name, got.status, got.body)
		}
		if n := len(off.server.Requests()); n != 0 {
			t.Errorf("%s: the server was asked %d times", name, n)
		}
		if !off.shows(t, aliceKey, "alice/notes", "r") {
			t.Errorf("%s: what is there is not read any more", name)
		}
		if got := off.graphQL(aliceKey, `{viewer{entity}}`, nil, nil); !strings.Contains(got.body, `"entity":"vision"`) {
			t.Errorf("%s, the default entity: %s", name, got.body)
		}
		if got := off.graphQL(aliceKey, `mutation{upsertBucket(input:{modelName:"team",name:"`+name+`"}){bucket{id}}}`, nil, nil); got.status != http.StatusOK || !off.shows(t, aliceKey, "vision/team", name) {
			t.Errorf("%s, work that names no entity: %d %s", name, got.status, got.body)
		}
		key := strings.TrimSpace(off.mustIAM("key", "create", "--owner", "nobody", "--name", fmt.Sprint("k-", name)))
		if got := off.graphQL(key, `mutation{upsertBucket(input:{modelName:"p",name:"r"}){bucket{id}}}`, nil, nil); got.status != http.StatusForbidden || got.reason() != "no_default_entity" {
			t.Errorf("%s, who has no entity: %d %s", name, got.status, got.body)
		}
		off.stop()
	}
}

// TestRunsOfWhoLeft: who is taken out of a team leaves their runs there (TEAM-7), and reads them no more.
func TestRunsOfWhoLeft(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	h.log(t, victorKey, "vision/team", "of-victor")
	h.mustIAM("team", "set", "vision", "--remove", "victor")
	if !h.shows(t, aliceKey, "vision/team", "of-victor") {
		t.Error("the run went with its person")
	}
	if got := h.graphQL(victorKey, `{project(entityName:"vision",name:"team"){run(name:"of-victor"){name}}}`, nil, nil); got.reason() != "team_project" {
		t.Errorf("%d %s", got.status, got.body)
	}
	h.mustIAM("user", "delete", "victor")
	if !h.shows(t, aliceKey, "vision/team", "of-victor") {
		t.Error("the run went with its person")
	}
}
