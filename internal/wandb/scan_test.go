package wandb

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// FuzzScanJSON holds the scanner against encoding/json: it accepts nothing that encoding/json does
// not, refuses only for the reasons it is stricter for, and reads the same values.
func FuzzScanJSON(f *testing.F) {
	for _, seed := range []string{`{}`, `[]`, `null`, `{"a":[1,-2.5e+10,"\u00e9\ud83d\ude00",true,false,null,{"b":{}}]}`, ` {"a" : 1 , "A":2} `,
		`{"k":1,"\u212a":2}`, `"\ud800"`, "\"\xff\"", `01`, `1.`, `-`, `1e`, `[1,]`, `{"a":1,}`, `{"a"}`, `tru`, `"\x"`, "\"\t\"", `{} {}`, "\ufeff{}"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := scanJSON(data, 64)
		valid := json.Valid(data)
		if err == nil && !valid {
			t.Fatalf("accepts %q, which is no JSON", data)
		}
		if err != nil {
			switch reason := iam.ReasonOf(err); {
			case !valid || reason == ReasonDuplicateMember || reason == ReasonTooDeep:
			case reason == ReasonMalformedJSON && (!utf8.Valid(data) || hasLoneSurrogate(data)):
			default:
				t.Fatalf("refuses %q: %v", data, err)
			}
			return
		}
		var want any
		d := json.NewDecoder(bytes.NewReader(data))
		d.UseNumber()
		if err := d.Decode(&want); err != nil {
			t.Fatalf("encoding/json refuses %q: %v", data, err)
		}
		if got := build(t, data, skipSpace(data, 0)); !reflect.DeepEqual(got, want) {
			t.Fatalf("%q reads as %#v, not %#v", data, got, want)
		}
	})
}

// hasLoneSurrogate reports whether data may hold an escaped half of a surrogate pair.
func hasLoneSurrogate(data []byte) bool { return bytes.Contains(bytes.ToLower(data), []byte(`\ud`)) }

// build makes Go values with the functions that read scanned JSON.
func build(t *testing.T, data []byte, from int) any {
	switch data[from] {
	case '{':
		m := map[string]any{}
		if !eachMember(data, from, func(name, value span) bool {
			m[unquote(name.of(data))] = build(t, data, value.from)
			if again := memberSpan(data, from, unquote(name.of(data))); again != value {
				t.Fatalf("%q: member %q is found at %v, not %v", data, name.of(data), again, value)
			}
			return true
		}) {
			t.Fatalf("%q: the object at %d is not read to its end", data, from)
		}
		return m
	case '[':
		list := []any{}
		if !eachItem(data, from, func(value span) bool {
			list = append(list, build(t, data, value.from))
			return true
		}) {
			t.Fatalf("%q: the list at %d is not read to its end", data, from)
		}
		return list
	case '"':
		return unquote(data[from+1 : skipString(data, from)-1])
	case 't':
		return true
	case 'f':
		return false
	case 'n':
		return nil
	}
	return json.Number(data[from:skipValue(data, from)])
}

func TestScanMany(t *testing.T) {
	// Many members are compared by a map, in another way than few.
	if err := scanJSON([]byte("{"+manyMembers(5000)+"}"), 64); err != nil {
		t.Error(err)
	}
	for _, twin := range []string{`"v17":1`, `"V17":1`, `"\u007617":1`} {
		if err := scanJSON([]byte("{"+manyMembers(5000)+","+twin+"}"), 64); iam.ReasonOf(err) != ReasonDuplicateMember {
			t.Errorf("%s: %v", twin, err)
		}
	}
	// Members of other objects do not count.
	if err := scanJSON([]byte(`{"a":{"b":1,"c":{"a":1}},"b":[{"a":1},{"a":2}],"c":1}`), 64); err != nil {
		t.Error(err)
	}
}

// FuzzReadCall: whatever the body, Read and Accesses end without panic, errors can be told, and what
// is forwarded is judged as what came.
func FuzzReadCall(f *testing.F) {
	add := func(query, variables string) { f.Add(query, variables, "") }
	add(upsertBucket, `{"e":null,"p":"p"}`)
	add(upsertBucket, `{"id":"`+FormatRunID("e", "p", "r")+`"}`)
	add(`query($i:I={entityName:"e"}){...F} fragment F on Query{a:models{edges{node{name}}} project(name:"""p"""){entity{projects{edges{node{name}}}}}}`, `{}`)
	add(`mutation($i:I){linkArtifact(input:$i){x} addAliases(input:{aliases:$i}){x}}`, `{"i":{"projectName":"p"}}`)
	add(`mutation{pushToRunQueue(input:{queueID:1,runSpec:"{\"entity\":\"e\",\"project\":\"p\"}"}){x}}`, `null`)
	add(`{viewer{id} models{edges @include(if:true){node{name}}} node(id:"x"){... on Run{user{apiKeys{x}}}}}`, `{}`)
	r, err := NewReader(ReaderConfig{MaxTokens: 2000, MaxFields: 500})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, query, variables, operation string) {
		quoted, _ := json.Marshal(query)
		name, _ := json.Marshal(operation)
		raw := []byte(`{"query":` + string(quoted) + `,"variables":` + variables + `,"operationName":` + string(name) + `}`)
		c, err := r.Read(raw)
		if err != nil {
			tellable(t, err)
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("reads %q", raw)
		}
		c.Roots()
		before, err := c.Accesses("home")
		if err != nil {
			tellable(t, err)
			return
		}
		if len(before) == 0 {
			t.Fatalf("%q asks for nothing", query)
		}
		forwarded, err := c.Body(BodyOptions{DefaultEntity: "home"})
		if err != nil {
			t.Fatalf("%q: %v", raw, err)
		}
		again, err := r.Read(forwarded)
		if err != nil {
			t.Fatalf("%q is forwarded as %q, which is refused: %v", raw, forwarded, err)
		}
		after, err := again.Accesses("home")
		if err != nil {
			t.Fatalf("%q is forwarded as %q, which is refused: %v", raw, forwarded, err)
		}
		if showAll(after) != showAll(before) {
			t.Fatalf("%q is judged as\n%s\nand forwarded as %q, which is\n%s", raw, showAll(before), forwarded, showAll(after))
		}
		// The gateway answers some roots itself: the rest asks for no more than the whole.
		rest, err := c.Body(BodyOptions{DefaultEntity: "home", Drop: func(r Root) bool { return r.Name == "viewer" }})
		if err != nil || rest == nil {
			return
		}
		if again, err = r.Read(rest); err != nil {
			t.Fatalf("%q without viewer is %q, which is refused: %v", raw, rest, err)
		}
		if after, err = again.Accesses("home"); err != nil {
			t.Fatalf("%q without viewer is %q, which is refused: %v", raw, rest, err)
		}
		whole := showAll(before)
		for _, a := range after {
			if !strings.Contains(whole, show(a)) {
				t.Fatalf("%q without viewer is %q, which asks for %s", raw, rest, show(a))
			}
		}
	})
}

func tellable(t *testing.T, err error) {
	t.Helper()
	switch iam.KindOf(err) {
	case iam.KindInvalid, iam.KindTooLarge, iam.KindDenied:
	default:
		t.Fatalf("an error that cannot be told: %v", err)
	}
}

// FuzzAnswer: whatever the upstream sends, Answer ends without panic, keeps JSON valid, and shows no
// project that is to be hidden.
func FuzzAnswer(f *testing.F) {
	f.Add([]byte(`{"data":{"models":{"edges":[{"node":{"name":"secret"}},{"node":{"name":"a","user":{"apiKeys":{}}}}]},"files":{"uploadHeaders":[],"uploadUrl":"x"}}}`))
	f.Add([]byte(`{"data":{"models":{"edges":[{"node":{"name":"a"}},{"node":{"name":"secret"}}]},"project":{"id":"P","run":{"files":{"uploadHeaders":["a"],"edges":[{"node":{"url":"u"}}]}}}}}`))
	f.Add([]byte(`{"data":{"project":{"entity":{"members":[{"apiKey":"sesame"}]}}}}`))
	f.Add([]byte(`{"data":null}`))
	f.Add([]byte(`{"data":{"models":{"edges":[}}}`))
	r, err := NewReader(ReaderConfig{})
	if err != nil {
		f.Fatal(err)
	}
	request := []byte(`{"query":"{models(entityName:\"e\"){edges{node{name user{apiKeys{x}}}}} project(entityName:\"e\",name:\"p\"){id run(name:\"r\"){files{uploadHeaders edges{node{url(upload:true)}}}} entity{members{apiKey}}}}"}`)
	f.Fuzz(func(t *testing.T, upstream []byte) {
		c, err := r.Read(request)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Accesses("home"); err != nil {
			t.Fatal(err)
		}
		out, _, err := c.Answer(upstream, AnswerOptions{
			Own:     map[string]json.RawMessage{"own": json.RawMessage(`1`)},
			Keep:    func(_, project string) bool { return project != "secret" },
			Redact:  func(Access) bool { return true },
			Members: func(string, Field) json.RawMessage { return json.RawMessage(`[]`) },
			Ticket:  func([]string) (string, bool) { return "t", true },
			Learn:   true,
		})
		if err != nil || !json.Valid(upstream) {
			return
		}
		if !json.Valid(out) {
			t.Fatalf("%q becomes %q", upstream, out)
		}
		var answer struct {
			Data struct {
				Models struct {
					Edges []struct{ Node struct{ Name any } }
				}
				Project struct{ Entity struct{ Members any } }
			}
		}
		if scanJSON(out, 10_000) == nil && json.Unmarshal(out, &answer) == nil {
			for _, edge := range answer.Data.Models.Edges {
				if edge.Node.Name == "secret" {
					t.Fatalf("%q shows what is hidden: %q", upstream, out)
				}
			}
			if list, empty := answer.Data.Project.Entity.Members.([]any); answer.Data.Project.Entity.Members != nil && (!empty || len(list) > 0) {
				t.Fatalf("%q shows the server's members: %q", upstream, out)
			}
		}
	})
}

// padded is an upsertBucket as wandb-core sends it, with a configuration that fills it up to size.
func padded(b *testing.B, size int) []byte {
	const document = `
mutation UpsertBucket($id: String, $name: String, $project: String, $entity: String, $groupName: String,
    $displayName: String, $notes: String, $config: JSONString, $host: String, $program: String, $jobType: String,
    $tags: [String!], $summaryMetrics: JSONString) {
  upsertBucket(input: {id: $id, name: $name, modelName: $project, entityName: $entity, groupName: $groupName,
      displayName: $displayName, notes: $notes, config: $config, host: $host, jobProgram: $program, jobType: $jobType,
      tags: $tags, summaryMetrics: $summaryMetrics}) {
    bucket { id name displayName config sweepName project { id name entity { id name } } historyLineCount }
    inserted
  }
}`
	variables := vars{"name": "r1", "project": "detector", "entity": "vision", "displayName": "brisk-sun-7", "host": "node-1",
		"program": "train.py", "tags": []string{"a", "b"}}
	raw := body(b, document, variables)
	var config strings.Builder
	for config.Len() < size-len(raw)-200 {
		config.WriteString(`{"learning_rate": {"desc": null, "value": 0.001}}, `)
	}
	variables["config"] = config.String()
	return body(b, document, variables)
}

func BenchmarkRead(b *testing.B) {
	r := newReader(b)
	for _, size := range []int{2 << 10, 8 << 10} {
		raw := padded(b, size)
		b.Run("cached/"+sizeName(size), func(b *testing.B) {
			b.SetBytes(int64(len(raw)))
			b.ReportAllocs()
			for b.Loop() {
				benchRead(b, r, raw)
			}
		})
	}
	raw := padded(b, 2<<10)
	b.Run("uncached/"+sizeName(2<<10), func(b *testing.B) {
		b.ReportAllocs()
		cold, err := NewReader(ReaderConfig{PlanBytes: 1})
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			benchRead(b, cold, raw)
		}
	})
}

func sizeName(size int) string { return map[int]string{2 << 10: "2KB", 8 << 10: "8KB"}[size] }

func benchRead(b *testing.B, r *Reader, raw []byte) {
	c, err := r.Read(raw)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := c.Accesses("vision"); err != nil {
		b.Fatal(err)
	}
	if _, err := c.Body(BodyOptions{DefaultEntity: "vision"}); err != nil {
		b.Fatal(err)
	}
}
