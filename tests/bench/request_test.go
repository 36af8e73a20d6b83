package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

var someone = population{keys: 800}.caller(123)

// read parses a request as a server would.
func read(t *testing.T, raw []byte) (*http.Request, []byte) {
	t.Helper()
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r, body
}

func TestRequestsAreWhatTheyClaim(t *testing.T) {
	for _, c := range []struct {
		name   string
		raw    []byte
		method string
		path   string
		size   int
	}{
		{"file", getFile(someone), "GET", "/files/team-000/project-003/run00123/config.yaml", 0},
		{"stream", postStream(8 << 10)(someone), "POST", "/files/team-000/project-003/run00123/file_stream", 8 << 10},
		{"GraphQL 2 KB", postUpsert(2 << 10)(someone), "POST", "/graphql", 2 << 10},
		{"GraphQL 8 KB", postUpsert(8 << 10)(someone), "POST", "/graphql", 8 << 10},
	} {
		r, body := read(t, c.raw)
		if r.Method != c.method || r.URL.Path != c.path || len(body) != c.size {
			t.Errorf("%s: %s %s with %d bytes, want %s %s with %d", c.name, r.Method, r.URL.Path, len(body), c.method, c.path, c.size)
		}
		if _, password, ok := r.BasicAuth(); !ok || password != key(123) {
			t.Errorf("%s: the API key is %q", c.name, password)
		}
		if c.size > 0 && !json.Valid(body) {
			t.Errorf("%s: the body is no JSON: %s", c.name, body)
		}
	}
}

func TestUpsertCarriesAConfig(t *testing.T) {
	var body struct {
		Variables struct{ Entity, Project, Name, Config string }
	}
	if err := json.Unmarshal(upsert(someone, 8<<10), &body); err != nil {
		t.Fatal(err)
	}
	var config map[string]any
	if err := json.Unmarshal([]byte(body.Variables.Config), &config); err != nil || len(config) < 50 {
		t.Errorf("config has %d parameters, %v; want at least 50", len(config), err)
	}
	if v := body.Variables; v.Entity != someone.entity || v.Project != someone.project || v.Name != someone.run {
		t.Errorf("variables name %s/%s/%s", v.Entity, v.Project, v.Name)
	}
}

func TestUpstreamAnswers(t *testing.T) {
	for _, c := range []struct {
		name, want string
		raw        []byte
		length     int
	}{
		{"file", "epochs", getFile(someone), fileSize},
		{"stream", "{}", postStream(8 << 10)(someone), 2},
		{"GraphQL", `"name":"project-003","entity":{"id":"RW50aXR5OnRlYW0tMDAw","name":"team-000"`, postUpsert(2 << 10)(someone), 0},
	} {
		r, body := read(t, c.raw)
		r.Body = io.NopCloser(bytes.NewReader(body))
		w := httptest.NewRecorder()
		answerUpstream(w, r)
		got := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(got, c.want) || c.length > 0 && len(got) != c.length {
			t.Errorf("%s: %d %s", c.name, w.Code, got)
		}
	}
}

func TestImportFile(t *testing.T) {
	p := population{keys: 800}
	text, err := p.importFile()
	if err != nil {
		t.Fatal(err)
	}
	var file map[string]json.RawMessage
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"users": 80, "teams": 4, "projects": 40, "api_keys": 800} {
		var rows []json.RawMessage
		if err := json.Unmarshal(file[name], &rows); err != nil || len(rows) != want {
			t.Errorf("%d %s, %v; want %d", len(rows), name, err, want)
		}
	}
	if p.stranger().entity == p.caller(keysEach).entity {
		t.Error("the stranger's project is of their own team")
	}
}

// The id of an imported key is the first 8 hex digits of its SHA-256: no two of the default
// population may share one.
func TestKeysDiffer(t *testing.T) {
	seen := make(map[string]int)
	for i := range 10_001 {
		sum := sha256.Sum256([]byte(key(i)))
		id := hex.EncodeToString(sum[:4])
		if j, ok := seen[id]; ok {
			t.Errorf("keys %d and %d have the id %s", i, j, id)
		}
		seen[id] = i
	}
}
