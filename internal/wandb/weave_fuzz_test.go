package wandb

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// FuzzReadWeave feeds bytes to every endpoint. What is read must be named by valid names, what is
// refused must say why, and a JSON body that is read must name its project to encoding/json as well.
func FuzzReadWeave(f *testing.F) {
	for i := range weaveEndpoints {
		r := sampleWeave(&weaveEndpoints[i])
		f.Add(r.Method, r.Endpoint, r.ContentType, r.Query.Encode(), r.Header.Get("project_id"), r.Body)
	}
	f.Add("POST", "/call/read", "application/json", "", "", []byte(`{"project\u005fid":"a\/b","x":"\u0077eave:///c/d/e"}`))
	f.Add("POST", "/files/create", "multipart/form-data; boundary=b", "", "", []byte("--b\r\n\r\n--b--"))
	f.Fuzz(func(t *testing.T, method, endpoint, contentType, rawQuery, header string, body []byte) {
		query, err := url.ParseQuery(rawQuery)
		if err != nil {
			return
		}
		r := WeaveRequest{Method: method, Endpoint: endpoint, ContentType: contentType, Query: query, Body: body}
		if header != "" {
			r.Header = http.Header{"Project_id": {header}}
		}
		list, err := ReadWeave(r)
		if err != nil {
			if kind := iam.KindOf(err); kind != iam.KindInvalid && kind != iam.KindTooLarge {
				t.Fatalf("error %v of kind %v", err, kind)
			}
			if iam.ReasonOf(err) == "" || !strings.Contains(err.Error(), " ") {
				t.Fatalf("error %v does not say why", err)
			}
			return
		}
		if len(list) == 0 {
			t.Fatal("a request that wants nothing would be allowed to everybody")
		}
		for _, a := range list {
			p := weaveProject{a.Resource.Entity, a.Resource.Project}
			if a.Resource.Kind == ResourceProject && !p.valid() || a.Permission == "" {
				t.Fatalf("access %+v", a)
			}
		}
		if row := findWeave(method, endpoint); row != nil && row.body == bodyProject {
			agreesWithStdlib(t, body, list)
		}
	})
}

// agreesWithStdlib checks that another parser sees the same project, and the same references.
func agreesWithStdlib(t *testing.T, body []byte, list []Access) {
	var decoded map[string]any
	if err := json.Unmarshal(body, &decoded); err != nil {
		t.Fatalf("encoding/json does not read what was read: %v", err)
	}
	seen := describe(list)
	if id := fmt.Sprint(decoded["project_id"]); !strings.Contains(seen, "@"+id) {
		t.Fatalf("project_id %q is not in %s", id, seen)
	}
	walkTexts(decoded, func(s string) {
		rest, ok := strings.CutPrefix(s, refScheme)
		if !ok {
			return
		}
		names := strings.SplitN(rest, "/", 3)
		if len(names) < 3 || !strings.Contains(seen, "@"+names[0]+"/"+names[1]) {
			t.Fatalf("reference %q is not in %s", s, seen)
		}
	})
}

func walkTexts(value any, visit func(string)) {
	switch v := value.(type) {
	case string:
		visit(v)
	case []any:
		for _, item := range v {
			walkTexts(item, visit)
		}
	case map[string]any:
		for _, item := range v {
			walkTexts(item, visit)
		}
	}
}

// BenchmarkReadWeave reads a batch of calls of 8 KiB, which is what a busy application sends.
func BenchmarkReadWeave(b *testing.B) {
	call := `{"mode":"start","req":{"start":{"project_id":"vision/detector","id":"0192f0c0-1111-7000-8000-%012d",` +
		`"trace_id":"0192f0c0-2222-7000-8000-%012d","op_name":"weave:///vision/detector/op/predict:%032d",` +
		`"started_at":"2026-01-01T00:00:00Z","attributes":{"weave":{"client_version":"0.54.0","source":"python-sdk"}},` +
		`"inputs":{"self":"weave:///vision/detector/object/Model:%032d","messages":[{"role":"user","content":"` +
		strings.Repeat("What do you see in the picture? ", 8) + `"}],"temperature":0.7},"wb_run_id":null}}}`
	var calls []string
	for i := range 10 {
		calls = append(calls, fmt.Sprintf(call, i, i, i, i))
	}
	r := post("/call/upsert_batch", `{"batch":[`+strings.Join(calls, ",")+`]}`)
	b.SetBytes(int64(len(r.Body)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadWeave(r); err != nil {
			b.Fatal(err)
		}
	}
}
