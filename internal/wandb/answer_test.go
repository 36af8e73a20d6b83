package wandb

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func answer1(t *testing.T, c *Call, upstream string, o AnswerOptions) (string, []Learned) {
	t.Helper()
	if _, err := c.Accesses("home"); err != nil {
		t.Fatal(err)
	}
	out, learned, err := c.Answer([]byte(upstream), o)
	if err != nil {
		t.Fatal(err)
	}
	return string(out), learned
}

func TestAnswerOwn(t *testing.T) {
	c := readCall(t, `{viewer{id} s:serverInfo{v}}`, nil)
	own := map[string]json.RawMessage{"viewer": json.RawMessage(`{"id":"u1"}`)}
	tests := []struct{ upstream, want string }{
		{`{"data":{"s":{"v":1.10}},"extensions":{"x":1e400}}`, `{"data":{"s":{"v":1.10},"viewer":{"id":"u1"}},"extensions":{"x":1e400}}`},
		{`{"data":{ }}`, `{"data":{ "viewer":{"id":"u1"}}}`},
		{`{"errors":[{"message":"no"}],"data":null}`, `{"errors":[{"message":"no"}],"data":null}`},
	}
	for _, tt := range tests {
		if got, _ := answer1(t, c, tt.upstream, AnswerOptions{Own: own}); got != tt.want {
			t.Errorf("got %s want %s", got, tt.want)
		}
	}
	got := EncodeAnswer(map[string]json.RawMessage{"b": json.RawMessage(`1`), "a": json.RawMessage(`2`), "c": json.RawMessage(`3`)}, []string{"c", "b", "gone"})
	if string(got) != `{"data":{"c":3,"b":1,"a":2}}` {
		t.Errorf("%s", got)
	}
}

// Members come from the record wherever the document reads those of an entity that it names.
func TestAnswerMembers(t *testing.T) {
	c := readCall(t, `query($no:Boolean!){entity(name:"vision"){m:members{username} ...F} project(entityName:"speech",name:"p"){entity{members{id}} members{username}}}
		fragment F on Entity{m:members{role x:secret @include(if:$no)} projects{edges{node{name}}}}`, vars{"no": false})
	members := func(entity string, f Field) json.RawMessage {
		names := []string{entity}
		for _, g := range f.Fields {
			names = append(names, g.ResponseKey+"="+g.Name)
		}
		b, _ := json.Marshal(names)
		return b
	}
	if o := (AnswerOptions{Members: members}); !c.WantsAnswer(o) || c.WantsAnswer(AnswerOptions{}) {
		t.Error("whether the answer is looked at does not depend on Members")
	}
	for _, tt := range []struct{ upstream, want string }{
		{`{"data":{"entity":{"m":[{"username":"old","role":"x"}],"projects":{"edges":[]}},"project":{"entity":{"members":null},"members":[{"username":"u"}]}}}`,
			`{"data":{"entity":{"m":["vision","username=username","role=role"],"projects":{"edges":[]}},"project":{"entity":{"members":["speech","id=id"]},"members":[{"username":"u"}]}}}`},
		{`{"data":{"entity":null,"project":{"entity":null}}}`, `{"data":{"entity":null,"project":{"entity":null}}}`},
		{`{"data":{"entity":{},"project":[]}}`, `{"data":{"entity":{},"project":[]}}`},
		{`{"data":{"entity":{"\u006d":"sesame"}}}`, `{"data":{"entity":{"\u006d":["vision","username=username","role=role"]}}}`},
	} {
		if got, _ := answer1(t, c, tt.upstream, AnswerOptions{Members: members}); got != tt.want {
			t.Errorf("%s becomes\n%s, want\n%s", tt.upstream, got, tt.want)
		}
	}
}

func TestSelect(t *testing.T) {
	leaf := func(name, key string) Field { return Field{Name: name, ResponseKey: key} }
	with := func(f Field, below ...Field) Field { f.Fields = below; return f }
	page := Page[string]{Items: []string{"a", "b"}, More: true, Cursor: strings.ToUpper, Node: func(s string, fields []Field) json.RawMessage {
		return Select(fields, func(f Field) any { return f.Name + " of " + s })
	}}
	fields := []Field{
		with(leaf("edges", "edges"), with(leaf("node", "n"), leaf("x", "x")), leaf("cursor", "cursor"), leaf("else", "else")),
		with(leaf("edges", "edges"), with(leaf("node", "n"), leaf("y", `y"`))),
		with(leaf("pageInfo", "p"), leaf("hasNextPage", "more"), leaf("endCursor", "end"), leaf("hasPreviousPage", "less"), leaf("startCursor", "start")),
		leaf("totalCount", "edges"), leaf("totalCount", "total"),
	}
	want := `{"edges":[{"n":{"x":"x of a","y\"":"y of a"},"cursor":"A","else":null},{"n":{"x":"x of b","y\"":"y of b"},"cursor":"B","else":null}],` +
		`"p":{"more":true,"end":"B","less":false,"start":null},"total":null}`
	if got := string(page.Select(fields)); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if got := string((Page[string]{Node: page.Node}).Select(fields)); got != `{"edges":[],"p":{"more":false,"end":null,"less":false,"start":null},"total":0}` {
		t.Errorf("nothing is %s", got)
	}
}

func TestNodeIDs(t *testing.T) {
	id := FormatNodeID("Member", "team_1:user:usr_1")
	if rest, ok := ParseNodeID("Member", id); !ok || rest != "team_1:user:usr_1" {
		t.Errorf("%q %t", rest, ok)
	}
	for _, other := range []string{"", "x", id + "=", strings.TrimRight(id, "="), id + "\n", FormatNodeID("User", "1"), "TWVtYmVyOng", FormatNodeID("", "x")} {
		if rest, ok := ParseNodeID("Member", other); ok && other != FormatNodeID("Member", rest) {
			t.Errorf("%q is read as %q", other, rest)
		}
	}
}

func TestAnswerBroken(t *testing.T) {
	c := readCall(t, `{models(entityName:"vision"){edges{node{name}}}}`, nil)
	if _, err := c.Accesses("home"); err != nil {
		t.Fatal(err)
	}
	for _, upstream := range []string{``, `<html>`, `[]`, `{"data":{"models":{"edges":[`, `{"data":[]}`, `{"data":{}} {"data":{}}`,
		`{"data":{"models":null},"data":{"models":{"edges":[{"node":{"name":"secret"}}]}}}`,
		`{"data":{"models":null,"models":{"edges":[{"node":{"name":"secret"}}]}}}`} {
		out, _, err := c.Answer([]byte(upstream), AnswerOptions{Keep: func(string, string) bool { return false }})
		if iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%s: %s, %v", upstream, out, err)
		}
	}
}

func TestAnswerFilter(t *testing.T) {
	c := readCall(t, `{m:models(entityName:"vision"){total:totalCount e:edges{cursor n:node{x:name entity{en:name} user{apiKeys{edges{node{name}}}}}}}}`, nil)
	edge := func(name string) string {
		return fmt.Sprintf(`{"n":{"x":%q,"entity":{"en":"vision"},"user":{"apiKeys":{"edges":[{"node":{"name":"key"}}]}}},"cursor":"1"}`, name)
	}
	emptied := func(name string) string {
		return fmt.Sprintf(`{"n":{"x":%q,"entity":{"en":"vision"},"user":{"apiKeys":null}},"cursor":"1"}`, name)
	}
	tests := []struct{ name, have, want string }{
		{"all", edge("a") + ", " + edge("b"), emptied("a") + ", " + emptied("b")},
		{"first hidden", edge("secret") + ", " + edge("b"), emptied("b")},
		{"last hidden", edge("a") + " ," + edge("secret"), emptied("a")},
		{"middle hidden", edge("a") + "," + edge("secret") + "," + edge("secret2") + "," + edge("b"), emptied("a") + "," + emptied("b")},
		{"only one shown", edge("secret") + "," + edge("b") + "," + edge("secret"), emptied("b")},
		{"none shown", edge("secret") + "," + edge("secret"), ""},
		{"names that say nothing", `{"n":{"x":null}},{"n":null},null,{"n":{"entity":{"en":"vision"}}}`, ""},
		{"escaped name", `{"n":{"x":"\u0073ecret","user":{}}}`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, _ := answer1(t, c, `{"data":{"m":{"total":4,"e":[`+tt.have+`]}}}`, AnswerOptions{
				Keep:   func(entity, project string) bool { return !strings.HasPrefix(project, "secret") },
				Redact: func(a Access) bool { return a.Crossing },
			})
			if want := `{"data":{"m":{"total":4,"e":[` + tt.want + `]}}}`; got != want || !json.Valid([]byte(got)) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestAnswerRedact(t *testing.T) {
	c := readCall(t, `{entity(name:"vision"){name members{name k:apiKey}}}`, nil)
	const upstream = `{"data":{"entity":{"name":"vision","members":[{"name":"a","k":"s1"},{"k":"s2","name":"b"}]}}}`
	if got, _ := answer1(t, c, upstream, AnswerOptions{Redact: func(a Access) bool { return true }}); got !=
		`{"data":{"entity":{"name":"vision","members":[{"name":"a","k":null},{"k":null,"name":"b"}]}}}` {
		t.Error(got)
	}
	if got, _ := answer1(t, c, upstream, AnswerOptions{Redact: func(a Access) bool { return false }}); got != upstream {
		t.Error(got)
	}
}

func TestAnswerTicket(t *testing.T) {
	ticket := func(urls []string) (string, bool) {
		for _, u := range urls {
			if !strings.HasPrefix(u, "http://gw/") {
				return "", false
			}
		}
		return strings.Join(urls, "+"), true
	}
	const line = `"X-Wandb-Gateway-Ticket:`
	tests := []struct{ name, query, upstream, want string }{
		{"run files", `mutation{createRunFiles(input:{entityName:"vision",projectName:"detector",runName:"r1",files:["a","b"]}){runID h:uploadHeaders files{name u:uploadUrl}}}`,
			`{"data":{"createRunFiles":{"runID":"x","h":[],"files":[{"name":"a","u":"http://gw/a"},{"name":"b","u":null},{"name":"c","u":"http://gw/c"}]}}}`,
			`{"data":{"createRunFiles":{"runID":"x","h":[` + line + `http://gw/a+http://gw/c"],"files":[{"name":"a","u":"http://gw/a"},{"name":"b","u":null},{"name":"c","u":"http://gw/c"}]}}}`},
		{"artifact files", `mutation{createArtifactFiles(input:{artifactFiles:[{artifactID:"A"}]}){files{edges{node{uploadUrl uploadHeaders uploadMultipartUrls{uploadUrlParts{uploadUrl}}}}}}}`,
			`{"data":{"createArtifactFiles":{"files":{"edges":[` +
				`{"node":{"uploadUrl":"http://gw/1","uploadHeaders":["A: b"],"uploadMultipartUrls":{"uploadUrlParts":[{"uploadUrl":"http://gw/p1"}]}}},` +
				`{"node":{"uploadUrl":"http://s3/2","uploadHeaders":["A: b"],"uploadMultipartUrls":null}},` +
				`{"node":{"uploadUrl":null,"uploadHeaders":null}}]}}}}`,
			`{"data":{"createArtifactFiles":{"files":{"edges":[` +
				`{"node":{"uploadUrl":"http://gw/1","uploadHeaders":["A: b",` + line + `http://gw/1+http://gw/p1"],"uploadMultipartUrls":{"uploadUrlParts":[{"uploadUrl":"http://gw/p1"}]}}},` +
				`{"node":{"uploadUrl":"http://s3/2","uploadHeaders":["A: b"],"uploadMultipartUrls":null}},` +
				`{"node":{"uploadUrl":null,"uploadHeaders":null}}]}}}}`},
		{"manifest", `mutation($yes:Boolean!){createArtifactManifest(input:{entityName:"vision",projectName:"detector",artifactID:"A"}){artifactManifest{id file{id uploadUrl @include(if:$yes) uploadHeaders @include(if:$yes)}}}}`,
			`{"data":{"createArtifactManifest":{"artifactManifest":{"id":"M","file":{"id":"F","uploadUrl":"http://gw/m","uploadHeaders":[]}}}}}`,
			`{"data":{"createArtifactManifest":{"artifactManifest":{"id":"M","file":{"id":"F","uploadUrl":"http://gw/m","uploadHeaders":[` + line + `http://gw/m"]}}}}}`},
		{"old clients", `{model(name:"detector",entityName:"vision"){bucket(name:"r1"){files{uploadHeaders edges{node{name url(upload:true)}}}}}}`,
			`{"data":{"model":{"bucket":{"files":{"uploadHeaders":[ ],"edges":[{"node":{"name":"x","url":"http://gw/x"}}]}}}}}`,
			`{"data":{"model":{"bucket":{"files":{"uploadHeaders":[ ` + line + `http://gw/x"],"edges":[{"node":{"name":"x","url":"http://gw/x"}}]}}}}}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := readCall(t, tt.query, vars{"yes": true})
			if !c.WantsAnswer(AnswerOptions{Ticket: ticket}) {
				t.Error("the answer would stream through")
			}
			if got, _ := answer1(t, c, tt.upstream, AnswerOptions{Ticket: ticket}); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
	c := readCall(t, `{project(entityName:"vision",name:"detector"){id}}`, nil)
	if c.WantsAnswer(AnswerOptions{Ticket: ticket, Keep: func(string, string) bool { return true }, Redact: func(Access) bool { return true }}) {
		t.Error("an answer without anything to change does not stream through")
	}
}

func TestAnswerLearns(t *testing.T) {
	placed := func(t IDType, id string) Learned {
		return Placed{ID: id, IDType: t, Entity: "vision", Project: "detector"}
	}
	tests := []struct {
		name, query, upstream string
		want                  []Learned
	}{
		{"run", upsertBucket, `{"data":{"upsertBucket":{"bucket":{"id":"R","name":"r1","project":{"id":"P","name":"detector","entity":{"id":"E","name":"vision"}}},"inserted":true}}}`,
			[]Learned{ProjectUpserted{Entity: "vision", Project: "detector"}, placed(IDProject, "P")}},
		{"failed", upsertBucket, `{"data":{"upsertBucket":null},"errors":[{"message":"no"}]}`, nil},
		{"project", `mutation{upsertModel(input:{entityName:"vision",name:"detector",access:"PRIVATE"}){p:project{id n:name entityName a:access} i:inserted}}`,
			`{"data":{"upsertModel":{"p":{"id":"P","n":"Detector","entityName":"vision","a":"USER_READ"},"i":true}}}`,
			[]Learned{ProjectUpserted{Entity: "vision", Project: "Detector", Access: "PRIVATE", Requested: true, Inserted: true}, placed(IDProject, "P")}},
		{"project by an id that was placed", `mutation{upsertModel(input:{id:"Z",access:"RESTRICTED"}){inserted}}`, `{"data":{"upsertModel":{"inserted":false}}}`,
			[]Learned{ProjectUpserted{Entity: "vision", Project: "detector", Access: "RESTRICTED", Requested: true}}},
		{"a word that says nothing", `mutation{upsertModel(input:{entityName:"vision",name:"detector",access:""}){project{access}}}`, `{"data":{"upsertModel":{"project":{"access":"USER_WRITE"}}}}`,
			[]Learned{ProjectUpserted{Entity: "vision", Project: "detector", Access: "", Requested: true}}},
		{"project without names", `mutation{upsertModel(input:{entityName:"vision",name:"detector"}){inserted}}`, `{"data":{"upsertModel":{"inserted":false}}}`,
			[]Learned{ProjectUpserted{Entity: "vision", Project: "detector"}}},
		{"artifact", `mutation{createArtifact(input:{entityName:"vision",projectName:"detector"}){artifact{i:id artifactSequence{id latestArtifact{id}}}}}`,
			`{"data":{"createArtifact":{"artifact":{"i":"A","artifactSequence":{"id":"S","latestArtifact":{"id":"L"}}}}}}`, []Learned{placed(IDArtifact, "A")}},
		{"used artifact", `mutation{useArtifact(input:{entityName:"vision",projectName:"detector",artifactID:"X"}){artifact{id}}}`, `{"data":{"useArtifact":{"artifact":{"id":"X"}}}}`, nil},
		{"linked artifact", `mutation{linkArtifact(input:{entityName:"vision",projectName:"detector",artifactID:"X"}){artifact{id}}}`, `{"data":{"linkArtifact":{"artifact":{"id":"X"}}}}`, nil},
		{"inputs and outputs", `{project(entityName:"vision",name:"detector"){run(name:"r1"){inputArtifacts{edges{node{id}}} outputArtifacts{edges{node{id}}}}}}`,
			`{"data":{"project":{"run":{"inputArtifacts":{"edges":[{"node":{"id":"X"}}]},"outputArtifacts":{"edges":[{"node":{"id":"A"}},{"node":{"id":"B"}}]}}}}}`,
			[]Learned{placed(IDArtifact, "A"), placed(IDArtifact, "B")}},
		{"artifact that may be linked", `{project(entityName:"vision",name:"detector"){artifact(name:"c:v0"){id} artifactCollection(name:"c"){id artifacts{edges{node{id}}}}}}`,
			`{"data":{"project":{"artifact":{"id":"X"},"artifactCollection":{"id":"C","artifacts":{"edges":[{"node":{"id":"Y"}}]}}}}}`, []Learned{placed(IDCollection, "C")}},
		{"sweep, agent, numbers", `{project(entityName:"vision",name:"detector"){internalId sweep(sweepName:"s"){id agents{edges{node{id}}}} runs{edges{node{projectId}}}}}`,
			`{"data":{"project":{"internalId":"UHJvamVjdEludGVybmFsSWQ6NDI=","sweep":{"id":"S","agents":{"edges":[{"node":{"id":"G"}}]}},"runs":{"edges":[{"node":{"projectId":43}}]}}}}`,
			[]Learned{placed(IDProjectNumber, "42"), placed(IDSweep, "S"), placed(IDAgent, "G"), placed(IDProjectNumber, "43")}},
		{"launch", `mutation{createLaunchAgent(input:{entityName:"vision",projectName:"detector"}){launchAgentId}}`, `{"data":{"createLaunchAgent":{"launchAgentId":"L"}}}`,
			[]Learned{placed(IDLaunchAgent, "L")}},
		{"another project", `{project(entityName:"own",name:"p"){entity{project(name:"q"){id}}}}`, `{"data":{"project":{"entity":{"project":{"id":"Q"}}}}}`,
			[]Learned{Placed{ID: "Q", IDType: IDProject, Entity: "own", Project: "q"}}},
		{"by an id that was placed", `mutation{pushToRunQueue(input:{queueID:"Q"}){runQueueItemId}}`, `{"data":{"pushToRunQueue":{"runQueueItemId":"I"}}}`,
			[]Learned{placed(IDRunQueueItem, "I")}},
		{"by an id that was placed as another sort", `mutation{agentHeartbeat(input:{id:"Q"}){agent{id}}}`, `{"data":{"agentHeartbeat":{"agent":{"id":"Q"}}}}`, nil},
		{"by id", `{artifact(id:"X"){id currentManifest{id}}}`, `{"data":{"artifact":{"id":"X","currentManifest":{"id":"M"}}}}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := readCall(t, tt.query, vars{"e": "vision", "p": "detector", "n": "r1"})
			got, learned := answer1(t, c, tt.upstream, AnswerOptions{Learn: true, Placed: []Resource{
				{Kind: ResourceProject, IDType: IDRunQueue, ID: "Q", Entity: "vision", Project: "detector"},
				{Kind: ResourceProject, IDType: IDProject, ID: "Z", Entity: "vision", Project: "detector"},
			}})
			if got != tt.upstream {
				t.Errorf("learning changed the answer to %s", got)
			}
			if !slices.Equal(learned, tt.want) {
				t.Errorf("learned %+v, want %+v", learned, tt.want)
			}
		})
	}
}
