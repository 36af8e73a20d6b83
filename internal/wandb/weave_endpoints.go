package wandb

import (
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
)

// weaveEndpoint is one row of the table: what the endpoint does and where its project stands.
type weaveEndpoint struct {
	method string
	// path is behind the prefix; a segment in braces stands for any one segment. The project of
	// /v2/{entity}/{project}/... is always judged.
	path       string
	permission authz.Permission
	place      weavePlace
	// body is the shape of a JSON body, or of what in it is judged; nil where there is none to read.
	body *shape
	// also is a second permission that is needed, for what one permission does not cover.
	also authz.Permission
}

// weavePlace says which part of a request names its project.
type weavePlace uint8

const (
	weaveServer weavePlace = iota // no project: the server itself
	weaveBody                     // a JSON body
	weaveQuery                    // ?project_id=
	weavePath                     // /v2/{entity}/{project}/; refs in query and body are judged too
	weaveForm                     // the form field project_id of an upload
	weaveOTLP                     // header project_id or resource attributes of an OTLP export
)

// weaveEndpoints is every request that weave 0.50 to 0.54 for Python, weave 0.11 for JavaScript and
// the OpenTelemetry guides of W&B are known to make, sorted by path.
var weaveEndpoints = []weaveEndpoint{
	{"POST", "/actions/execute_batch", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/agents/agent-versions/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/conversations/chat", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/conversations/spans", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/otel/v1/traces", authz.RunWrite, weaveOTLP, nil, ""},
	{"POST", "/agents/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/search", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/spans/custom-attrs/schema", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/spans/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/spans/stats", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/agents/traces/chat", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"GET", "/aliases", authz.ProjectRead, weaveQuery, nil, ""},
	{"POST", "/annotation_queues", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/annotation_queues/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/annotation_queues/stats", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"DELETE", "/annotation_queues/{queue}", authz.RunDelete, weaveQuery, nil, ""},
	{"GET", "/annotation_queues/{queue}", authz.ProjectRead, weaveQuery, nil, ""},
	{"PUT", "/annotation_queues/{queue}", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/annotation_queues/{queue}/items", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/annotation_queues/{queue}/items/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/annotation_queues/{queue}/items/{item}/progress", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/call/end", authz.RunWrite, weaveBody, bodyEnd, ""},
	{"POST", "/call/read", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/call/start", authz.RunWrite, weaveBody, bodyStart, ""},
	{"POST", "/call/update", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/call/upsert_batch", authz.RunWrite, weaveBody, bodyCallBatch, ""},
	{"POST", "/calls/delete", authz.RunDelete, weaveBody, bodyProject, ""},
	{"POST", "/calls/query", authz.ProjectRead, weaveBody, bodyFiltered, ""},
	{"POST", "/calls/query_stats", authz.ProjectRead, weaveBody, bodyFiltered, ""},
	{"POST", "/calls/score", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/calls/stats", authz.ProjectRead, weaveBody, bodyFiltered, ""},
	{"POST", "/calls/stream_query", authz.ProjectRead, weaveBody, bodyFiltered, ""},
	{"POST", "/calls/usage", authz.ProjectRead, weaveBody, bodyProject, ""},
	// Completions and images spend the team's own provider keys.
	{"POST", "/completions/create", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/completions/create_stream", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/cost/create", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/cost/purge", authz.RunDelete, weaveBody, bodyProject, ""},
	{"POST", "/cost/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/dataset_sources/link", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/dataset_sources/link_delete", authz.RunDelete, weaveBody, bodyProject, ""},
	{"POST", "/dataset_sources/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/dataset_sources/source_datasets_query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/evaluations/evaluate_model", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/evaluations/rescore", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/evaluations/status", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/feedback/aggregate", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/feedback/batch/create", authz.RunWrite, weaveBody, bodyBatch, ""},
	{"POST", "/feedback/create", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/feedback/payload_schema", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/feedback/purge", authz.RunDelete, weaveBody, bodyProject, ""},
	{"POST", "/feedback/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/feedback/replace", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/feedback/stats", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/file/content", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/file/create", authz.RunWrite, weaveForm, nil, ""},
	{"POST", "/files/content", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/files/create", authz.RunWrite, weaveForm, nil, ""},
	{"POST", "/files/query_stats", authz.ProjectRead, weaveBody, bodyProject, ""},
	// Its uris name places in a bucket; nothing says that they are the project's own.
	{"POST", "/files/resolve_url", authz.ProjectRead, weaveBody, bodyProject, authz.UnplacedRead},
	{"POST", "/files/stats", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"GET", "/geolocate", authz.ServerRead, weaveServer, nil, ""},
	{"GET", "/health", authz.ServerRead, weaveServer, nil, ""},
	{"POST", "/image/create", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/link_to_registry", authz.RunWrite, weaveBody, bodyTarget, ""},
	{"POST", "/obj/create", authz.RunWrite, weaveBody, bodyObject, ""},
	{"POST", "/obj/delete", authz.RunDelete, weaveBody, bodyProject, ""},
	{"POST", "/obj/read", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/objs/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"PUT", "/objs/{object}/aliases", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/objs/{object}/aliases/remove", authz.RunWrite, weaveBody, bodyProject, ""},
	{"PUT", "/objs/{object}/versions/{digest}/tags", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/objs/{object}/versions/{digest}/tags/remove", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/op/create", authz.RunWrite, weaveBody, bodyOpObject, ""},
	{"POST", "/op/read", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/ops/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/otel/v1/trace", authz.RunWrite, weaveOTLP, nil, ""},
	{"POST", "/otel/v1/traces", authz.RunWrite, weaveOTLP, nil, ""},
	{"POST", "/project/ingest_sampling_settings/read", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"GET", "/project/sensitive_data_settings", authz.ProjectRead, weaveQuery, nil, ""},
	{"POST", "/project/stats", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/project/ttl_settings/read", authz.ProjectRead, weaveBody, bodyProject, ""},
	// A short life deletes what is there.
	{"POST", "/project/ttl_settings/update", authz.ProjectUpdate, weaveBody, bodyProject, authz.RunDelete},
	{"POST", "/refs/read_batch", authz.ProjectRead, weaveBody, bodyRefs, ""},
	{"GET", "/server_info", authz.ServerRead, weaveServer, nil, ""},
	{"POST", "/service/projects_info", authz.ProjectRead, weaveBody, bodyProjects, ""},
	{"POST", "/table/create", authz.RunWrite, weaveBody, bodyTable, ""},
	{"POST", "/table/create_from_digests", authz.RunWrite, weaveBody, bodyProject, ""},
	{"POST", "/table/query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/table/query_stats", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/table/query_stats_batch", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/table/query_stream", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/table/update", authz.RunWrite, weaveBody, bodyProject, ""},
	{"GET", "/tags", authz.ProjectRead, weaveQuery, nil, ""},
	{"POST", "/threads/stream_query", authz.ProjectRead, weaveBody, bodyProject, ""},
	{"POST", "/trace/usage", authz.ProjectRead, weaveBody, bodyFiltered, ""},
	{"POST", "/v2/{entity}/{project}/call/end", authz.RunWrite, weavePath, bodyEnd, ""},
	{"POST", "/v2/{entity}/{project}/call/start", authz.RunWrite, weavePath, bodyStart, ""},
	{"POST", "/v2/{entity}/{project}/calls/complete", authz.RunWrite, weavePath, bodyBatch, ""},
	{"GET", "/v2/{entity}/{project}/datasets", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/datasets", authz.RunWrite, weavePath, bodyPath, ""},
	{"DELETE", "/v2/{entity}/{project}/datasets/{object}", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/datasets/{object}/versions/{digest}", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/eval_results/query", authz.ProjectRead, weavePath, bodyPath, ""},
	{"DELETE", "/v2/{entity}/{project}/evaluation_runs", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/evaluation_runs", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/evaluation_runs", authz.RunWrite, weavePath, bodyPath, ""},
	{"GET", "/v2/{entity}/{project}/evaluation_runs/{run}", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/evaluation_runs/{run}/finish", authz.RunWrite, weavePath, bodyPath, ""},
	{"GET", "/v2/{entity}/{project}/evaluations", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/evaluations", authz.RunWrite, weavePath, bodyPath, ""},
	{"DELETE", "/v2/{entity}/{project}/evaluations/{object}", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/evaluations/{object}/versions/{digest}", authz.ProjectRead, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/models", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/models", authz.RunWrite, weavePath, bodyPath, ""},
	{"DELETE", "/v2/{entity}/{project}/models/{object}", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/models/{object}/versions/{digest}", authz.ProjectRead, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/ops", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/ops", authz.RunWrite, weavePath, bodyPath, ""},
	{"DELETE", "/v2/{entity}/{project}/ops/{object}", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/ops/{object}/versions/{digest}", authz.ProjectRead, weavePath, nil, ""},
	{"DELETE", "/v2/{entity}/{project}/predictions", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/predictions", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/predictions", authz.RunWrite, weavePath, bodyPath, ""},
	{"GET", "/v2/{entity}/{project}/predictions/{prediction}", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/predictions/{prediction}/finish", authz.RunWrite, weavePath, bodyPath, ""},
	// It says where the team's provider key is sent.
	{"PUT", "/v2/{entity}/{project}/runtimes/{runtime}", authz.ProjectUpdate, weavePath, bodyPath, ""},
	{"GET", "/v2/{entity}/{project}/scorers", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/scorers", authz.RunWrite, weavePath, bodyPath, ""},
	{"DELETE", "/v2/{entity}/{project}/scorers/{object}", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/scorers/{object}/versions/{digest}", authz.ProjectRead, weavePath, nil, ""},
	{"DELETE", "/v2/{entity}/{project}/scores", authz.RunDelete, weavePath, nil, ""},
	{"GET", "/v2/{entity}/{project}/scores", authz.ProjectRead, weavePath, nil, ""},
	{"POST", "/v2/{entity}/{project}/scores", authz.RunWrite, weavePath, bodyPath, ""},
	{"GET", "/v2/{entity}/{project}/scores/{score}", authz.ProjectRead, weavePath, nil, ""},
	{"GET", "/version", authz.ServerRead, weaveServer, nil, ""},
}

type weaveKey struct{ method, path string }

// weavePlain finds rows without braces behind the project; weaveTemplates are the others, by method.
var weavePlain, weaveTemplates = indexWeave(weaveEndpoints)

func indexWeave(rows []weaveEndpoint) (map[weaveKey]*weaveEndpoint, map[string][]weaveTemplate) {
	plain, templates := map[weaveKey]*weaveEndpoint{}, map[string][]weaveTemplate{}
	for i := range rows {
		row := &rows[i]
		path := row.path
		if rest, _, _, ok := cutWeaveProject(path); ok {
			path = rest
		}
		if !strings.Contains(path, "{") {
			plain[weaveKey{row.method, path}] = row
			continue
		}
		templates[row.method] = append(templates[row.method], weaveTemplate{row, strings.Split(path, "/")})
	}
	return plain, templates
}

// cutWeaveProject takes entity and project, as escaped as they came, out of /v2/{entity}/{project}/...
// What it returns as rest is no path, so that none can be mistaken for it.
func cutWeaveProject(path string) (rest, entity, project string, ok bool) {
	names, ok := strings.CutPrefix(path, "/v2/")
	if !ok {
		return "", "", "", false
	}
	entity, names, _ = strings.Cut(names, "/")
	project, rest, ok = strings.Cut(names, "/")
	if !ok || entity == "" || project == "" {
		return "", "", "", false
	}
	return "v2:/" + rest, entity, project, true
}

type weaveTemplate struct {
	endpoint *weaveEndpoint
	segments []string
}

// findWeave returns the row of a request; nil if there is none.
func findWeave(method, path string) *weaveEndpoint {
	if rest, _, _, ok := cutWeaveProject(path); ok {
		path = rest
	}
	if row := weavePlain[weaveKey{method, path}]; row != nil {
		return row
	}
	for _, t := range weaveTemplates[method] {
		if t.matches(path) {
			return t.endpoint
		}
	}
	return nil
}

func (t weaveTemplate) matches(path string) bool {
	rest, more := path, true
	for _, want := range t.segments {
		if !more {
			return false
		}
		var segment string
		segment, rest, more = strings.Cut(rest, "/")
		if isBraced := strings.HasPrefix(want, "{"); isBraced && segment == "" || !isBraced && segment != want {
			return false
		}
	}
	return !more
}
