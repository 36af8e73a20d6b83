package tests

import (
	"net/http"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// TestOpaqueIDsBehindARecord: where the gateway is the only judge before a server that is the record, ids of
// sweeps, agents, artifacts and manifests work for whoever may, after a restart as before, and for nobody
// else: not alone, not beside names of one's own, and not made up.
func TestOpaqueIDsBehindARecord(t *testing.T) {
	t.Parallel()
	r := startRecordWith(t, "upstream_credential api_key "+recordRoot, "api_key "+recordRoot, "")
	did := func(key, query string) answer {
		t.Helper()
		got := r.graphQL(key, query, nil, nil)
		if got.status != http.StatusOK || strings.Contains(got.body, `"errors"`) {
			t.Fatalf("%s: %d %s", query, got.status, got.body)
		}
		return got
	}
	idOf := func(a answer) string { return between(t, a.body, `"id":"`, `"`) }

	did(recordAlice, `mutation { upsertBucket(input: {entityName: "vision", modelName: "team", name: "r1"}) { bucket { id } } }`)
	sweep := idOf(did(recordAlice, `mutation { upsertSweep(input: {entityName: "vision", projectName: "team", config: "{\"method\":\"grid\"}"}) { sweep { id name } } }`))
	name := between(t, did(recordAlice, `{ project(entityName: "vision", name: "team") { sweeps { edges { node { id name } } } } }`).body, `"name":"`, `"`)
	agent := idOf(did(recordAlice, `mutation { createAgent(input: {entityName: "vision", projectName: "team", sweep: "`+name+`", host: "h"}) { agent { id } } }`))
	artifact := idOf(did(recordAlice, `mutation { createArtifact(input: {entityName: "vision", projectName: "team", runName: "r1", artifactTypeName: "dataset", artifactCollectionName: "d", digest: "x", digestAlgorithm: MANIFEST_MD5}) { artifact { id } } }`))
	manifest := idOf(did(recordAlice, `mutation { createArtifactManifest(input: {entityName: "vision", projectName: "team", runName: "r1", artifactID: "`+artifact+`", name: "wandb_manifest.json", digest: "x", type: FULL}) { artifactManifest { id } } }`))

	byID := map[string]string{
		"heartbeat":       `mutation { agentHeartbeat(input: {id: "` + agent + `", runState: "{}", metrics: "{}"}) { agent { id } } }`,
		"sweep":           `mutation { upsertSweep(input: {id: "` + sweep + `", entityName: "vision", projectName: "team", description: "d"}) { sweep { id } } }`,
		"artifact":        `{ artifact(id: "` + artifact + `") { id } }`,
		"update artifact": `mutation { updateArtifact(input: {artifactID: "` + artifact + `", description: "d"}) { artifact { id } } }`,
		"manifest":        `mutation { createArtifactFiles(input: {artifactFiles: [{artifactID: "` + artifact + `", artifactManifestID: "` + manifest + `", name: "f", md5: "x"}], storageLayout: V2}) { files { edges { node { name } } } } }`,
	}
	beside := map[string]string{
		"manifest beside other names":  `mutation { createArtifactManifest(input: {entityName: "speech", projectName: "team", runName: "r1", artifactID: "` + artifact + `", name: "n", digest: "x", type: FULL}) { artifactManifest { id } } }`,
		"sweep beside other names":     `mutation { upsertSweep(input: {id: "` + sweep + `", entityName: "speech", projectName: "team"}) { sweep { id } } }`,
		"artifact used from one's own": `mutation { useArtifact(input: {entityName: "speech", projectName: "team", runName: "r1", artifactID: "` + artifact + `"}) { artifact { id } } }`,
		"another sort of id":           `mutation { agentHeartbeat(input: {id: "` + sweep + `"}) { agent { id } } }`,
	}
	madeUp := strings.NewReplacer(agent, "QWdlbnQ6OTk5OTk=", sweep, "U3dlZXA6OTk5OTk=", artifact, "QXJ0aWZhY3Q6OTk5OTk=", manifest, "TTo5OTk5OQ==")
	for _, when := range []string{"at once", "after a restart"} {
		t.Run(when, func(t *testing.T) {
			if when != "at once" {
				r.restart(t)
			}
			for what, query := range byID {
				if got := r.graphQL(recordAlice, query, nil, nil); got.status != http.StatusOK || strings.Contains(got.body, `"errors"`) {
					t.Errorf("%s: %d %s", what, got.status, got.body)
				}
			}
			r.server.ResetRequests()
			for what, query := range byID {
				for how, got := range map[string]answer{"another's": r.graphQL(recordMallory, query, nil, nil), "made up": r.graphQL(recordAlice, madeUp.Replace(query), nil, nil)} {
					if got.status != http.StatusForbidden && got.status != http.StatusNotFound {
						t.Errorf("%s, %s: %d %s", what, how, got.status, got.body)
					}
				}
			}
			for what, query := range beside {
				if got := r.graphQL(recordMallory, query, nil, nil); got.status != http.StatusBadRequest && got.status != http.StatusForbidden && got.status != http.StatusNotFound {
					t.Errorf("%s: %d %s", what, got.status, got.body)
				}
			}
			if through := r.server.Requests(toServer); len(through) > 0 {
				t.Errorf("%s reached the server", through[0].Body)
			}
		})
	}
	t.Run("the server fails", func(t *testing.T) {
		r.restart(t)
		if got := r.reads(recordAlice, "vision/team"); !got.sees() {
			t.Fatalf("%d %s", got.status, got.body)
		}
		defer r.server.Fail(standin.Fault{Status: 500, Match: func(q standin.Request) bool { return byGateway(q) && q.GraphQL("artifact") }})()
		if got := r.graphQL(recordAlice, byID["artifact"], nil, nil); got.status != http.StatusServiceUnavailable || !strings.Contains(got.message(), r.host) {
			t.Errorf("an artifact: %d %s", got.status, got.body)
		}
		if got := r.graphQL(recordAlice, byID["heartbeat"], nil, nil); got.status != http.StatusOK {
			t.Errorf("an agent, whose place is recorded: %d %s", got.status, got.body)
		}
	})
}
