package tests

import (
	"net/http"
	"testing"
)

// TestWeaveAttacks is J07-like duplicates, P12 and Z11 for Weave: a body names its project, and the
// exporters' header is a credential like any other.
func TestWeaveAttacks(t *testing.T) {
	a := startAttacked(t, config{})
	json := http.Header{"Content-Type": {"application/json"}}
	with := func(name string, values ...string) http.Header {
		return http.Header{"Content-Type": {"application/json"}, name: values}
	}
	const own = `{"project_id":"hostile/own","id":"c1"}`

	for name, c := range map[string]struct {
		body   string
		header http.Header
		status int
		reason string
	}{
		"another's project":   {`{"project_id":"vision/team","id":"c1"}`, json, 403, "team_project"},
		"escaped":             {`{"project\u005fid":"vision\/te\u0061m","id":"c1"}`, json, 403, "team_project"},
		"twice":               {`{"project_id":"hostile/own","project_id":"vision/team","id":"c1"}`, json, 400, "duplicate_member"},
		"twice, escaped":      {`{"project_id":"hostile/own","project\u005fid":"vision/team","id":"c1"}`, json, 400, "duplicate_member"},
		"twice, deep":         {`{"project_id":"hostile/own","id":"c1","x":{"a":[{"b":1,"b":2}]}}`, json, 400, "duplicate_member"},
		"reference elsewhere": {`{"project_id":"hostile/own","id":"weave:///vision/team/object/x:v1"}`, json, 403, "team_project"},
		"batch":               {`[` + own + `,{"project_id":"vision/team","id":"c1"}]`, json, 400, ""},
		"no project":          {`{"id":"c1"}`, json, 400, "missing_project"},
		"project a list":      {`{"project_id":["hostile/own"],"id":"c1"}`, json, 400, ""},
		"three parts":         {`{"project_id":"hostile/own/../../vision/team","id":"c1"}`, json, 400, "malformed_project"},
		"dots":                {`{"project_id":"hostile/..","id":"c1"}`, json, 400, "malformed_project"},
		"more behind it":      {own + own, json, 400, "malformed_json"},
		"compressed":          {own, with("Content-Encoding", "gzip"), 400, "unsupported_content_encoding"},
		"compressed, hidden":  {own, with("Content-Encoding", "identity", "gzip"), 400, "unsupported_content_encoding"},
		"two credentials":     {own, with("Wandb-Api-Key", aliceKey), 400, "two_credentials"},
		"two equal ones":      {own, with("Wandb-Api-Key", malloryKey), 400, "two_credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			got := a.send("POST", "/traces/call/read", malloryKey, c.body, c.header)
			if c.reason == "" && got.reason() != "" { // any that says what is wrong
				c.reason = got.reason()
			} else if got.reason() == "" {
				t.Error("the refusal has no reason")
			}
			a.refuses(t, got, c.status, c.reason)
		})
	}
	t.Run("a query that names another project", func(t *testing.T) {
		for _, query := range []string{"project_id=vision/team", "project_id=hostile/own&project_id=vision/team", "Project_ID=vision/team", "a;project_id=vision/team", "a=%zz"} {
			a.notThere(t, a.send("POST", "/traces/call/read?"+query, malloryKey, own, json))
		}
	})
	t.Run("unknown endpoint", func(t *testing.T) {
		a.notThere(t, a.send("POST", "/traces/brand/new", malloryKey, own, json))
		a.notThere(t, a.send("DELETE", "/traces/call/read", malloryKey, own, json))
	})
	t.Run("two keys of exporters", func(t *testing.T) {
		a.refuses(t, a.send("POST", "/traces/call/read", "", own, with("Wandb-Api-Key", malloryKey, aliceKey)), 400, "two_credentials")
	})
	t.Run("no key", func(t *testing.T) {
		a.refuses(t, a.send("POST", "/traces/call/read", "", own, with("Wandb-Api-Key", "")), 401, "no_credential")
	})
	for name, c := range map[string]struct {
		key    string
		header http.Header
	}{"key": {malloryKey, json}, "key of exporters": {"", with("Wandb-Api-Key", malloryKey)}} {
		t.Run("passes with a "+name, func(t *testing.T) {
			q := a.passed(t, a.send("POST", "/traces/call/read", c.key, own, c.header))
			if q.body != own || len(q.lines("wandb-api-key"))+len(q.lines("authorization")) != 0 {
				t.Errorf("the upstream got:\n%s%s", q.head, q.body)
			}
			if user, _ := q.line("X-Forwarded-User"); user != "mallory" {
				t.Errorf("the request is %q's", user)
			}
		})
	}
	t.Run("the header counts nowhere else", func(t *testing.T) {
		a.refuses(t, a.send("POST", "/files/hostile/own/run1/file_stream", "", "{}", with("Wandb-Api-Key", malloryKey)), 401, "no_credential")
	})
}
