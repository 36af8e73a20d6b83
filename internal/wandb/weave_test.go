package wandb

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

var updateWeave = flag.Bool("update-weave", false, "write testdata/weave.golden anew")

// weaveSamples are bodies as clients send them, cut to what matters, by the shape they have.
var weaveSamples = map[*shape]string{
	bodyProject:  `{"project_id":"vision/detector","limit":null,"weave_ref":"weave:///vision/detector/call/c1"}`,
	bodyPath:     `{"name":"m","evaluation":"weave:///vision/detector/object/e:d"}`,
	bodyFiltered: `{"project_id":"vision/detector","filter":{"op_names":null,"wb_run_ids":["vision/other/r1"]},"limit":1000}`,
	bodyStart: `{"start":{"project_id":"vision/detector","id":"c1","op_name":"weave:///vision/detector/op/f:d",
		"inputs":{"x":1,"X":"weave:///nlp/corpus/object/o:d"},"attributes":{},"wb_run_id":"vision/detector/r1"}}`,
	bodyEnd:      `{"end":{"project_id":"vision/detector","id":"c1","output":{"project_id":"nlp/corpus"},"summary":{}}}`,
	bodyObject:   `{"obj":{"project_id":"vision/detector","object_id":"d","val":{"rows":"weave:///vision/detector/table/d"}}}`,
	bodyTable:    `{"table":{"project_id":"vision/detector","rows":[{"a":1},{"a":2}],"expected_digest":null}}`,
	bodyOpObject: `{"op_obj":{"project_id":"vision/detector","object_id":"f","val":{}}}`,
	bodyBatch: `{"batch":[{"project_id":"vision/detector","id":"c1","inputs":{"x":1},"wb_run_id":null},
		{"project_id":"vision/detector","weave_ref":"weave:///vision/detector/call/c1","payload":{"emoji":"\ud83d\udc4d"}}]}`,
	bodyCallBatch: `{"batch":[{"mode":"start","req":{"start":{"project_id":"vision/detector","id":"c1","inputs":{}}}},
		{"mode":"end","req":{"end":{"project_id":"vision/detector","id":"c1","summary":{}}}}]}`,
	bodyRefs:     `{"refs":["weave:///vision/detector/object/o:d/attr/a","weave:///nlp/corpus/object/o:d"]}`,
	bodyProjects: `{"project_ids":["vision/detector","nlp/corpus"]}`,
	bodyTarget: `{"ref":"weave:///vision/detector/object/o:d","aliases":[],
		"target":{"portfolio_name":"p","entity_name":"acme","project_name":"wandb-registry-model"}}`,
}

// sampleWeave is a request to the endpoint as a client sends it.
func sampleWeave(row *weaveEndpoint) WeaveRequest {
	names := strings.NewReplacer("{entity}", "vision", "{project}", "detector")
	r := WeaveRequest{Method: row.method, Endpoint: names.Replace(row.path), ContentType: "application/json"}
	r.Endpoint = strings.NewReplacer("{", "", "}", "").Replace(r.Endpoint)
	switch row.place {
	case weaveServer:
	case weaveBody, weavePath:
		if row.body != nil {
			r.Body = []byte(weaveSamples[row.body])
		}
	case weaveQuery:
		r.Query = url.Values{"project_id": {"vision/detector"}}
	case weaveForm:
		r.ContentType, r.Body = "multipart/form-data; boundary=b", []byte(form(field("project_id", "vision/detector"), sampleFile))
	case weaveOTLP:
		r.ContentType, r.Header = "application/x-protobuf", http.Header{"Project_id": {"vision/detector"}}
		r.Body = export(resource("wandb.entity", "vision", "wandb.project", "detector"))
	}
	return r
}

// TestReadWeaveEndpoints writes what every endpoint of the table means, on the sample of its shape.
func TestReadWeaveEndpoints(t *testing.T) {
	var got strings.Builder
	for i := range weaveEndpoints {
		row := &weaveEndpoints[i]
		r := sampleWeave(row)
		if row.body != nil && r.Body == nil {
			t.Errorf("%s %s: no sample of its body", row.method, row.path)
		}
		if found := findWeave(r.Method, r.Endpoint); found != row {
			t.Errorf("%s %s is found as %v", r.Method, r.Endpoint, found)
		}
		if needs := WeaveNeedsBody(r.Method, r.Endpoint); needs != (r.Body != nil) {
			t.Errorf("%s %s: WeaveNeedsBody = %v", r.Method, r.Endpoint, needs)
		}
		list, err := ReadWeave(r)
		if err != nil {
			t.Errorf("%s %s: %v", r.Method, r.Endpoint, err)
		}
		fmt.Fprintf(&got, "%-6s %-58s %s\n", row.method, row.path, describe(list))
	}
	golden := filepath.Join("testdata", "weave.golden")
	if *updateWeave {
		if err := os.WriteFile(golden, []byte(got.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the endpoints mean something else than %s; see with -update-weave and git diff:\n%s", golden, got.String())
	}
}

// describe writes accesses as permission@entity/project, all of them Weave's.
func describe(list []Access) string {
	var parts []string
	for _, a := range list {
		where := "server"
		switch a.Resource.Kind {
		case ResourceProject:
			where = a.Resource.Entity + "/" + a.Resource.Project
		case ResourceUnplaced:
			where = "unplaced"
		}
		if a.Product != authz.Weave {
			where += " of another product"
		}
		parts = append(parts, string(a.Permission)+"@"+where)
	}
	return strings.Join(parts, " ")
}

func post(endpoint, body string) WeaveRequest {
	return WeaveRequest{Method: "POST", Endpoint: endpoint, ContentType: "application/json", Body: []byte(body)}
}

func TestReadWeave(t *testing.T) {
	deep := strings.Repeat("[", 200) + strings.Repeat("]", 200)
	var many strings.Builder
	for i := range 100 {
		fmt.Fprintf(&many, `"k%d":%d,`, i, i)
	}
	tests := map[string]struct {
		request WeaveRequest
		want    string
	}{
		"every element of a batch counts": {
			post("/call/upsert_batch", `{"batch":[{"mode":"start","req":{"start":{"project_id":"vision/detector"}}},
				{"mode":"end","req":{"end":{"project_id":"nlp/corpus"}}}]}`),
			"run:write@vision/detector run:write@nlp/corpus"},
		"start and end in one element both count": {
			post("/call/upsert_batch", `{"batch":[{"req":{"start":{"project_id":"vision/detector"},"end":{"project_id":"nlp/corpus"}}}]}`),
			"run:write@vision/detector run:write@nlp/corpus"},
		"a caller's own members are not judged": {
			post("/call/start", `{"start":{"project_id":"vision/detector","inputs":{"project_id":"nlp/corpus","Project_ID":1,"refs":["x"]}}}`),
			"run:write@vision/detector"},
		"a caller's own members may differ in case only": {
			post("/call/start", `{"start":{"project_id":"vision/detector","inputs":{"x":1,"X":2}}}`), "run:write@vision/detector"},
		"a reference anywhere is a read": {
			post("/calls/stream_query", `{"project_id":"vision/detector","query":{"$expr":{"$eq":[{"$getField":"inputs.x"},{"$literal":"weave:///nlp/corpus/object/o:*"}]}}}`),
			"project:read@vision/detector project:read@nlp/corpus"},
		"an escaped reference is one": {
			post("/call/start", `{"start":{"project_id":"vision/detector","inputs":{"x":"\u0077eave:\/\/\/nlp\/corpus\/object\/o:d"}}}`),
			"run:write@vision/detector project:read@nlp/corpus"},
		"an artifact reference is a read": {
			post("/feedback/create", `{"project_id":"vision/detector","weave_ref":"wandb-artifact:///nlp/corpus/a:v1"}`),
			"run:write@vision/detector project:read@nlp/corpus"},
		"a prompt by reference is a read": {
			post("/completions/create", `{"project_id":"vision/detector","inputs":{"model":"m","prompt":"weave:///nlp/prompts/object/p:v"}}`),
			"run:write@vision/detector project:read@nlp/prompts"},
		"text about references is text": {
			post("/call/start", `{"start":{"project_id":"vision/detector","inputs":{"a":"see weave:///x","b":"weave","c":"weave://x","d":"wandb-artifact:///x"}}}`),
			"run:write@vision/detector"},
		"an escaped project_id":            {post("/call/read", `{"project\u005fid":"vision\/d\u0065tector"}`), "project:read@vision/detector"},
		"project names may have spaces":    {post("/call/read", `{"project_id":"vision/my detector"}`), "project:read@vision/my detector"},
		"path names may have spaces":       {post("/v2/vision/my%20detector/calls/complete", `{"batch":[{"project_id":"vision/my detector"}]}`), "run:write@vision/my detector"},
		"own data may be nested":           {post("/obj/create", `{"obj":{"project_id":"vision/detector","val":`+deep+`}}`), "run:write@vision/detector"},
		"objects may have many members":    {post("/obj/create", `{"obj":{"project_id":"vision/detector","val":{`+many.String()+`"end":1}}}`), "run:write@vision/detector"},
		"a filter may be null":             {post("/calls/stream_query", `{"project_id":"vision/detector","filter":null}`), "project:read@vision/detector"},
		"a run of another project":         {post("/call/start", `{"start":{"project_id":"vision/detector","wb_run_id":"nlp/corpus/r1"}}`), "run:write@vision/detector project:read@nlp/corpus"},
		"an empty list of references":      {post("/refs/read_batch", `{"refs":[]}`), "server:read@server"},
		"a path tells all":                 {post("/v2/vision/detector/predictions/p1/finish", ""), "run:write@vision/detector"},
		"charset utf-8":                    {WeaveRequest{Method: "POST", Endpoint: "/call/read", ContentType: "application/json; charset=UTF-8", Body: []byte(`{"project_id":"vision/detector"}`)}, "project:read@vision/detector"},
		"no content type":                  {WeaveRequest{Method: "POST", Endpoint: "/call/read", Body: []byte(`{"project_id":"vision/detector"}`)}, "project:read@vision/detector"},
		"references in the query":          {WeaveRequest{Method: "GET", Endpoint: "/v2/vision/detector/evaluation_runs", Query: url.Values{"models": {"x,weave:///nlp/corpus/object/m:d"}}}, "project:read@vision/detector project:read@nlp/corpus"},
		"an unknown GET":                   {WeaveRequest{Method: "GET", Endpoint: "/calls"}, "unplaced:read@unplaced"},
		"an unknown POST":                  {post("/calls", `{`), "unplaced:write@unplaced"},
		"an unknown method":                {WeaveRequest{Method: "PATCH", Endpoint: "/call/read"}, "unplaced:write@unplaced"},
		"an unknown case":                  {post("/Call/read", `{}`), "unplaced:write@unplaced"},
		"a slash at the end":               {post("/call/read/", `{}`), "unplaced:write@unplaced"},
		"a path without names":             {post("/v2//datasets", `{"project_id":"vision/detector"}`), "unplaced:write@unplaced"},
		"an unknown endpoint of a project": {WeaveRequest{Method: "GET", Endpoint: "/v2/vision/detector/new"}, "unplaced:read@unplaced project:read@vision/detector"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			list, err := ReadWeave(test.request)
			if err != nil {
				t.Fatal(err)
			}
			if got := describe(list); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestReadWeaveRefuses(t *testing.T) {
	withType := func(r WeaveRequest, contentType string) WeaveRequest { r.ContentType = contentType; return r }
	read := func(body string) WeaveRequest { return post("/call/read", body) }
	start := func(inputs string) WeaveRequest {
		return post("/call/start", `{"start":{"project_id":"vision/detector","inputs":`+inputs+`}}`)
	}
	query := func(q url.Values) WeaveRequest { return WeaveRequest{Method: "GET", Endpoint: "/tags", Query: q} }
	var tooMany strings.Builder
	for i := range maxWeaveAccesses + 1 {
		fmt.Fprintf(&tooMany, `"weave:///vision/p%d/object/o:d",`, i)
	}
	var manyNames strings.Builder
	for i := range maxWeaveNames {
		fmt.Fprintf(&manyNames, `"%d":1,`, i)
	}
	tests := map[string]struct {
		request WeaveRequest
		want    iam.Reason
	}{
		"too many members":                   {start(`{` + manyNames.String() + `"x":1}`), ReasonBodyTooLarge},
		"no project_id":                      {read(`{}`), ReasonMissingProject},
		"null project_id":                    {read(`{"project_id":null}`), ReasonMissingProject},
		"a number for project_id":            {read(`{"project_id":1}`), ReasonMissingProject},
		"an array for project_id":            {read(`{"project_id":["vision/detector"]}`), ReasonMissingProject},
		"an object for project_id":           {read(`{"project_id":{"$ne":1}}`), ReasonMissingProject},
		"empty project_id":                   {read(`{"project_id":""}`), ReasonMalformedProject},
		"no slash":                           {read(`{"project_id":"detector"}`), ReasonMalformedProject},
		"two slashes":                        {read(`{"project_id":"vision/detector/x"}`), ReasonMalformedProject},
		"no entity":                          {read(`{"project_id":"/detector"}`), ReasonMalformedProject},
		"no name":                            {read(`{"project_id":"vision/"}`), ReasonMalformedProject},
		"dot segments":                       {read(`{"project_id":"vision/.."}`), ReasonMalformedProject},
		"an escaped slash":                   {read(`{"project_id":"vision/a%2fb"}`), ReasonMalformedProject},
		"space around the entity":            {read(`{"project_id":" vision/detector"}`), ReasonMalformedProject},
		"space behind the name":              {read(`{"project_id":"vision/detector "}`), ReasonMalformedProject},
		"a look-alike of a slash":            {read("{\"project_id\":\"vision/a\uff0fb\"}"), ReasonMalformedProject},
		"NUL":                                {read(`{"project_id":"vision/a\u0000"}`), ReasonMalformedProject},
		"a name beyond measure":              {read(`{"project_id":"vision/` + strings.Repeat("a", 10000) + `"}`), ReasonMalformedProject},
		"an internal id":                     {read(`{"project_id":"UHJvamVjdDox"}`), ReasonMalformedProject},
		"project_id twice":                   {read(`{"project_id":"vision/detector","project_id":"nlp/corpus"}`), ReasonDuplicateMember},
		"project_id twice, once escaped":     {read(`{"project_id":"vision/detector","project\u005fid":"nlp/corpus"}`), ReasonDuplicateMember},
		"project_id in another case":         {read(`{"project_id":"vision/detector","Project_ID":"nlp/corpus"}`), ReasonDuplicateMember},
		"project_id only in another case":    {read(`{"PROJECT_ID":"vision/detector"}`), ReasonDuplicateMember},
		"project_id with a long s":           {post("/call/\u0073tart", `{"\u017ftart":{"project_id":"vision/detector"},"start":{"project_id":"vision/detector"}}`), ReasonDuplicateMember},
		"twice in own data":                  {start(`{"a":1,"a":2}`), ReasonDuplicateMember},
		"twice in own data, once escaped":    {start(`{"a":1,"\u0061":2}`), ReasonDuplicateMember},
		"twice deep in own data":             {start(`{"a":[{"b":{"c":1,"c":1}}]}`), ReasonDuplicateMember},
		"start twice":                        {post("/call/start", `{"start":{"project_id":"vision/detector"},"start":{"project_id":"nlp/corpus"}}`), ReasonDuplicateMember},
		"an array for start":                 {post("/call/start", `{"start":[{"project_id":"vision/detector"}]}`), ReasonMalformedProject},
		"null for start":                     {post("/call/start", `{"start":null}`), ReasonMalformedProject},
		"no start":                           {post("/call/start", `{"project_id":"vision/detector"}`), ReasonMissingProject},
		"start and the top disagree":         {post("/call/start", `{"start":{"project_id":"vision/detector"},"project_id":"nlp/corpus"}`), ReasonConflictingProjects},
		"batch and the top disagree":         {post("/feedback/batch/create", `{"batch":[{"project_id":"nlp/corpus"}],"project_id":"vision/detector"}`), ReasonConflictingProjects},
		"batch and the path disagree":        {post("/v2/vision/detector/calls/complete", `{"batch":[{"project_id":"vision/detector"},{"project_id":"nlp/corpus"}]}`), ReasonConflictingProjects},
		"batch and the path differ in case":  {post("/v2/vision/detector/calls/complete", `{"batch":[{"project_id":"Vision/detector"}]}`), ReasonConflictingProjects},
		"body and the path disagree":         {post("/v2/vision/detector/datasets", `{"project_id":"nlp/corpus"}`), ReasonConflictingProjects},
		"body and the query disagree":        {WeaveRequest{Method: "POST", Endpoint: "/call/read", ContentType: "application/json", Query: url.Values{"project_id": {"nlp/corpus"}}, Body: []byte(`{"project_id":"vision/detector"}`)}, ReasonConflictingProjects},
		"an object for the batch":            {post("/call/upsert_batch", `{"batch":{"req":{"start":{"project_id":"vision/detector"}}}}`), ReasonMalformedProject},
		"an array in the batch":              {post("/call/upsert_batch", `{"batch":[[{"req":{"start":{"project_id":"vision/detector"}}}]]}`), ReasonMalformedProject},
		"an element without a project":       {post("/call/upsert_batch", `{"batch":[{"req":{"start":{"project_id":"vision/detector"}}},{"req":{"end":{}}}]}`), ReasonMissingProject},
		"an element without start and end":   {post("/call/upsert_batch", `{"batch":[{"req":{}}]}`), ReasonMissingProject},
		"null in the batch":                  {post("/call/upsert_batch", `{"batch":[null]}`), ReasonMalformedProject},
		"an empty batch":                     {post("/call/upsert_batch", `{"batch":[]}`), ReasonMissingProject},
		"a text for the batch":               {post("/call/upsert_batch", `{"batch":"x"}`), ReasonMalformedProject},
		"a number among the references":      {post("/refs/read_batch", `{"refs":[1]}`), ReasonMalformedReference},
		"a text for the references":          {post("/refs/read_batch", `{"refs":"weave:///vision/detector/object/o:d"}`), ReasonMalformedProject},
		"an internal reference":              {start(`"weave-trace-internal:///UHJvamVjdDox/object/o:d"`), ReasonMalformedReference},
		"a reference to no project":          {start(`"weave:///vision"`), ReasonMalformedReference},
		"a reference without a thing":        {start(`"weave:///vision/detector"`), ReasonMalformedReference},
		"a reference that climbs":            {start(`"weave:///vision/../object/o:d"`), ReasonMalformedReference},
		"an escaped reference that climbs":   {start(`"weave:///vision/%2e%2e/object/o:d"`), ReasonMalformedReference},
		"an artifact reference that climbs":  {start(`"wandb-artifact:///vision/../a:v1"`), ReasonMalformedReference},
		"a run without a project":            {post("/call/start", `{"start":{"project_id":"vision/detector","wb_run_id":"r1"}}`), ReasonMalformedReference},
		"an object for the filter's runs":    {post("/calls/stream_query", `{"project_id":"vision/detector","filter":{"wb_run_ids":{"a":1}}}`), ReasonMalformedProject},
		"an empty batch beside a reference":  {WeaveRequest{Method: "POST", Endpoint: "/call/upsert_batch", ContentType: "application/json", Query: url.Values{"x": {"weave:///vision/detector/call/c"}}, Body: []byte(`{"batch":[]}`)}, ReasonMissingProject},
		"too many projects":                  {post("/refs/read_batch", `{"refs":[`+tooMany.String()+`"x"]}`), ReasonTooManyProjects},
		"a target without a name":            {post("/link_to_registry", `{"ref":"weave:///vision/detector/object/o:d","target":{"entity_name":"acme","project_name":""}}`), ReasonMalformedProject},
		"nothing":                            {read(``), ReasonMalformedJSON},
		"an array":                           {read(`[{"project_id":"vision/detector"}]`), ReasonMalformedProject},
		"half":                               {read(`{"project_id":"vision/detector"`), ReasonMalformedJSON},
		"two values":                         {read(`{"project_id":"vision/detector"}{"project_id":"nlp/corpus"}`), ReasonMalformedJSON},
		"a comma at the end":                 {read(`{"project_id":"vision/detector",}`), ReasonMalformedJSON},
		"a comma at an array's end":          {start(`[1,]`), ReasonMalformedJSON},
		"a comment":                          {read(`{"project_id":"vision/detector"/**/}`), ReasonMalformedJSON},
		"NaN":                                {start(`{"a":NaN}`), ReasonMalformedJSON},
		"a byte order mark":                  {read("\ufeff" + `{"project_id":"vision/detector"}`), ReasonMalformedJSON},
		"UTF-16":                             {read("{\x00\"\x00"), ReasonMalformedJSON},
		"invalid UTF-8":                      {start("\"\xff\""), ReasonMalformedJSON},
		"half a surrogate pair":              {start(`"\ud83d"`), ReasonMalformedJSON},
		"too deep":                           {start(strings.Repeat("[", 100000)), ReasonTooDeep},
		"too deep in objects":                {start(strings.Repeat(`{"a":`, 100000)), ReasonTooDeep},
		"too large":                          {read(strings.Repeat(" ", MaxWeaveBodyBytes+1)), ReasonBodyTooLarge},
		"a form for JSON":                    {withType(read(`{"project_id":"vision/detector"}`), "text/plain"), ReasonUnsupportedMediaType},
		"another charset":                    {withType(read(`{"project_id":"vision/detector"}`), "application/json; charset=utf-16"), ReasonUnsupportedMediaType},
		"compressed JSON":                    {WeaveRequest{Method: "POST", Endpoint: "/call/read", ContentType: "application/json", Header: http.Header{"Content-Encoding": {"gzip"}}}, ReasonUnsupportedEncoding},
		"no project in the query":            {query(nil), ReasonMissingProject},
		"two projects in the query":          {query(url.Values{"project_id": {"vision/detector", "vision/detector"}}), ReasonConflictingProjects},
		"another case in the query":          {query(url.Values{"project_id": {"vision/detector"}, "Project_id": {"nlp/corpus"}}), ReasonMalformedProject},
		"a malformed project in the query":   {query(url.Values{"project_id": {"detector"}}), ReasonMalformedProject},
		"an internal reference in the query": {WeaveRequest{Method: "GET", Endpoint: "/v2/vision/detector/evaluation_runs", Query: url.Values{"models": {"weave-trace-internal:///x/object/m:d"}}}, ReasonMalformedReference},
		"a path that climbs":                 {WeaveRequest{Method: "GET", Endpoint: "/v2/vision/%2e%2e/ops"}, ReasonNonCanonicalTarget},
		"a path with an impossible name":     {WeaveRequest{Method: "GET", Endpoint: "/v2/vis%20ion/detector/ops"}, ReasonMalformedProject},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { refused(t, test.request, test.want) })
	}
}

func refused(t *testing.T, r WeaveRequest, want iam.Reason) {
	t.Helper()
	list, err := ReadWeave(r)
	if err == nil {
		t.Fatalf("read as %s, want it refused as %s", describe(list), want)
	}
	if got := iam.ReasonOf(err); got != want {
		t.Errorf("refused as %s (%v), want %s", got, err, want)
	}
	if kind := iam.KindOf(err); kind != iam.KindInvalid && kind != iam.KindTooLarge {
		t.Errorf("kind %v", kind)
	}
}

const sampleFile = "Content-Disposition: form-data; name=\"file\"; filename=\"obj.py\"\r\nContent-Type: text/x-python\r\n\r\nimport weave\r\n"

// form builds a multipart body with boundary b of parts with their headers.
func form(parts ...string) string { return "--b\r\n" + strings.Join(parts, "--b\r\n") + "--b--\r\n" }

func field(name, value string) string {
	return "Content-Disposition: form-data; name=\"" + name + "\"\r\n\r\n" + value + "\r\n"
}

func TestReadWeaveForm(t *testing.T) {
	project := field("project_id", "vision/detector")
	upload := func(body string) WeaveRequest {
		return WeaveRequest{Method: "POST", Endpoint: "/file/create", ContentType: "multipart/form-data; boundary=b", Body: []byte(body)}
	}
	for name, body := range map[string]string{
		"project first":          form(project, field("expected_digest", "d"), sampleFile),
		"file first":             form(sampleFile, project),
		"a boundary in the file": form(project, strings.Replace(sampleFile, "import weave", "x = '--b'", 1)),
		"a name in other letters": form(project, strings.Replace(sampleFile, `filename="obj.py"`,
			`filename="o.py"; filename*=utf-8''%c3%b6.py`, 1)),
	} {
		t.Run(name, func(t *testing.T) {
			list, err := ReadWeave(upload(body))
			if got := describe(list); err != nil || got != "run:write@vision/detector" {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	other := field("project_id", "nlp/corpus")
	for name, test := range map[string]struct {
		body string
		want iam.Reason
	}{
		"no project":              {form(sampleFile), ReasonMissingProject},
		"a malformed project":     {form(field("project_id", "detector"), sampleFile), ReasonMalformedProject},
		"two projects":            {form(project, sampleFile, other), ReasonMalformedForm},
		"another field":           {form(project, field("project", "x")), ReasonMalformedForm},
		"another case":            {form(project, field("Project_Id", "nlp/corpus")), ReasonMalformedForm},
		"two names in one part":   {form(project, "Content-Disposition: form-data; name=\"file\"; name=\"project_id\"\r\n\r\nnlp/corpus\r\n"), ReasonMalformedForm},
		"an encoded name":         {form(project, "Content-Disposition: form-data; name=\"file\"; name*=utf-8''project_id\r\n\r\nnlp/corpus\r\n"), ReasonMalformedForm},
		"a name behind an escape": {form(project, "Content-Disposition: form-data; name=\"file\"; filename=\"a\\\"; name=project_id; x=\"\r\n\r\nnlp/corpus\r\n"), ReasonMalformedForm},
		"two dispositions":        {form(project, "Content-Disposition: form-data; name=\"file\"\r\nContent-Disposition: form-data; name=\"project_id\"\r\n\r\nnlp/corpus\r\n"), ReasonMalformedForm},
		"a transfer encoding":     {form(project, "Content-Transfer-Encoding: base64\r\n"+sampleFile), ReasonMalformedForm},
		"a prologue":              {"x\r\n" + form(project, sampleFile), ReasonMalformedForm},
		"an epilogue":             {form(project, sampleFile) + "--b\r\n" + other + "--b--\r\n", ReasonMalformedForm},
		"bare line feeds":         {strings.ReplaceAll(form(project, sampleFile), "\r\n", "\n"), ReasonMalformedForm},
		"no end":                  {"--b\r\n" + project + "--b\r\n" + sampleFile, ReasonMalformedForm},
		"an endless field":        {form(field("project_id", strings.Repeat("a", 1<<20))), ReasonMalformedForm},
		"nothing":                 {"", ReasonMalformedForm},
	} {
		t.Run(name, func(t *testing.T) { refused(t, upload(test.body), test.want) })
	}
	for _, contentType := range []string{"application/json", "multipart/form-data", "multipart/form-data; boundary=b; charset=utf-16",
		"multipart/form-data; boundary=b; boundary=c", "multipart/mixed; boundary=b"} {
		r := upload(form(project, sampleFile))
		r.ContentType = contentType
		t.Run(contentType, func(t *testing.T) { refused(t, r, ReasonUnsupportedMediaType) })
	}
}

// pb writes a length-delimited protobuf field.
func pb(number byte, value ...byte) []byte {
	out := []byte{number<<3 | wireBytes}
	for n := len(value); ; n >>= 7 {
		if n < 0x80 {
			return append(append(out, byte(n)), value...)
		}
		out = append(out, byte(n)|0x80)
	}
}

func attribute(key, value string) []byte {
	return pb(1, append(pb(1, []byte(key)...), pb(2, pb(1, []byte(value)...)...)...)...)
}

// resource writes a ResourceSpans whose resource has the attributes, and a span with one of its own.
func resource(pairs ...string) []byte {
	var attributes []byte
	for i := 0; i < len(pairs); i += 2 {
		attributes = append(attributes, attribute(pairs[i], pairs[i+1])...)
	}
	span := pb(2, pb(2, attribute("wandb.project", "of a span")...)...)
	return pb(1, append(pb(1, attributes...), span...)...)
}

func export(resources ...[]byte) []byte { return bytes.Join(resources, nil) }

func TestReadWeaveExport(t *testing.T) {
	type request struct {
		header   []string
		body     []byte
		encoding string
	}
	detector := resource("service.name", "s", "wandb.entity", "vision", "wandb.project", "detector")
	corpus := resource("wandb.entity", "nlp", "wandb.project", "corpus")
	var zipped, deflated, bomb bytes.Buffer
	compress(t, gzip.NewWriter(&zipped), detector)
	compress(t, zlib.NewWriter(&deflated), detector)
	compress(t, gzip.NewWriter(&bomb), make([]byte, MaxWeaveBodyBytes+1))
	twoKeys := pb(1, pb(1, pb(1, append(append(pb(1, []byte("x")...), pb(1, []byte("wandb.entity")...)...), pb(2, pb(1, []byte("nlp")...)...)...)...)...)...)
	for name, test := range map[string]struct {
		request request
		want    string
		refused iam.Reason
	}{
		"by header":                  {request{[]string{"vision/detector"}, resource("service.name", "s"), ""}, "run:write@vision/detector", ""},
		"by attributes":              {request{nil, detector, ""}, "run:write@vision/detector", ""},
		"by both":                    {request{[]string{"vision/detector"}, corpus, ""}, "run:write@vision/detector run:write@nlp/corpus", ""},
		"by several attributes":      {request{nil, export(detector, corpus), ""}, "run:write@vision/detector run:write@nlp/corpus", ""},
		"half by attributes":         {request{[]string{"vision/detector"}, resource("wandb.project", "other"), ""}, "run:write@vision/detector run:write@vision/other", ""},
		"gzip":                       {request{nil, zipped.Bytes(), "gzip"}, "run:write@vision/detector", ""},
		"deflate":                    {request{nil, deflated.Bytes(), "deflate"}, "run:write@vision/detector", ""},
		"by nothing":                 {request{nil, resource("service.name", "s"), ""}, "", ReasonMissingProject},
		"one by nothing":             {request{nil, export(detector, resource("service.name", "s")), ""}, "", ReasonMissingProject},
		"no resource":                {request{nil, nil, ""}, "", ReasonMissingProject},
		"two headers that agree":     {request{[]string{"vision/detector", "vision/detector"}, nil, ""}, "run:write@vision/detector", ""},
		"two headers":                {request{[]string{"vision/detector", "nlp/corpus"}, nil, ""}, "", ReasonConflictingProjects},
		"a malformed header":         {request{[]string{"detector"}, nil, ""}, "", ReasonMalformedProject},
		"an attribute twice":         {request{nil, resource("wandb.entity", "vision", "wandb.project", "detector", "wandb.entity", "nlp"), ""}, "", ReasonMalformedProject},
		"a malformed attribute":      {request{nil, resource("wandb.entity", "vision/x", "wandb.project", "detector"), ""}, "", ReasonMalformedProject},
		"an attribute in two pieces": {request{[]string{"vision/detector"}, append(pb(1, pb(1, attribute("wandb.entity", "nlp")...)...), pb(1, append(pb(1, attribute("wandb.entity", "nlp")...), pb(1, attribute("wandb.project", "corpus")...)...)...)...), ""}, "run:write@vision/detector run:write@nlp/detector run:write@nlp/corpus", ""},
		"two keys":                   {request{[]string{"vision/detector"}, twoKeys, ""}, "", ReasonMalformedExport},
		"a list as attribute":        {request{nil, pb(1, pb(1, pb(1, append(pb(1, []byte("wandb.entity")...), pb(2, pb(5, []byte("x")...)...)...)...)...)...), ""}, "", ReasonMalformedProject},
		"a bomb":                     {request{nil, bomb.Bytes(), "gzip"}, "", ReasonBodyTooLarge},
		"another encoding":           {request{nil, detector, "br"}, "", ReasonUnsupportedEncoding},
		"two encodings":              {request{nil, zipped.Bytes(), "gzip, gzip"}, "", ReasonUnsupportedEncoding},
		"no gzip":                    {request{nil, detector, "gzip"}, "", ReasonMalformedExport},
		"half":                       {request{nil, detector[:len(detector)-1], ""}, "", ReasonMalformedExport},
		"JSON":                       {request{nil, []byte(`{"resourceSpans":[]}`), ""}, "", ReasonMalformedExport},
		"a group":                    {request{nil, []byte{1<<3 | 3, 1<<3 | 4}, ""}, "", ReasonMalformedExport},
		"a length beyond measure":    {request{nil, []byte{1<<3 | 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, ""}, "", ReasonMalformedExport},
	} {
		t.Run(name, func(t *testing.T) {
			r := WeaveRequest{Method: "POST", Endpoint: "/otel/v1/traces", ContentType: "application/x-protobuf",
				Header: http.Header{}, Body: test.request.body}
			for _, value := range test.request.header {
				r.Header.Add("project_id", value)
			}
			if test.request.encoding != "" {
				r.Header.Set("Content-Encoding", test.request.encoding)
			}
			if test.refused != "" {
				refused(t, r, test.refused)
				return
			}
			list, err := ReadWeave(r)
			if got := describe(list); err != nil || got != test.want {
				t.Errorf("got  %s, %v\nwant %s", got, err, test.want)
			}
		})
	}
	refused(t, WeaveRequest{Method: "POST", Endpoint: "/otel/v1/traces", ContentType: "application/json",
		Header: http.Header{"Project_id": {"vision/detector"}}, Body: []byte("{}")}, ReasonUnsupportedMediaType)
}

func compress(t *testing.T, w io.WriteCloser, data []byte) {
	t.Helper()
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}
