package wandb

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func newReader(t testing.TB) *Reader {
	t.Helper()
	r, err := NewReader(ReaderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// body encodes a request as clients do.
func body(t testing.TB, query string, variables any) []byte {
	t.Helper()
	m := map[string]any{"query": query}
	if variables != nil {
		m["variables"] = variables
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func readCall(t testing.TB, query string, variables any) *Call {
	t.Helper()
	c, err := newReader(t).Read(body(t, query, variables))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// show writes an access on one line.
func show(a Access) string {
	r := a.Resource
	var b strings.Builder
	fmt.Fprintf(&b, "%s", a.Permission)
	switch r.Kind {
	case ResourceProject:
		fmt.Fprintf(&b, " %s/%s", r.Entity, r.Project)
		if r.Run != "" {
			fmt.Fprintf(&b, "/%s", r.Run)
		}
	case ResourceEntity:
		fmt.Fprintf(&b, " %s", r.Entity)
	case ResourceOrganization:
		fmt.Fprintf(&b, " organization %s", r.Organization)
	case ResourceID:
		fmt.Fprintf(&b, " %s:%s", r.IDType, r.ID)
		if r.Project != "" {
			fmt.Fprintf(&b, " in %s/%s", r.Entity, r.Project)
		}
	case ResourceSelf:
		b.WriteString(" self")
	case ResourceServer:
		b.WriteString(" server")
	}
	if a.SetsVisibility {
		fmt.Fprintf(&b, " to %s", a.Visibility)
	}
	for _, flag := range []struct {
		on   bool
		name string
	}{{a.Creates, "creates"}, {a.Filtered, "filtered"}, {a.Crossing, "crossing"}, {a.Redactable, "redactable"}} {
		if flag.on {
			b.WriteString(" +" + flag.name)
		}
	}
	return b.String()
}

func showAll(accesses []Access) string {
	lines := make([]string, len(accesses))
	for i, a := range accesses {
		lines[i] = show(a)
	}
	return strings.Join(lines, "\n")
}

type vars = map[string]any

const upsertBucket = `mutation Up($id: String, $e: String, $p: String, $n: String, $config: JSONString) {
  upsertBucket(input: {id: $id, entityName: $e, modelName: $p, name: $n, config: $config}) {
    bucket { id name project { id name entity { id name } } } inserted } }`

func TestAccesses(t *testing.T) {
	runID := FormatRunID("vision", "detector", "r1")
	secretID := FormatRunID("other", "secret", "r1")
	tests := []struct {
		name, query string
		variables   vars
		want        string
	}{
		// G02 to G05: the same decision in all encodings.
		{"literal", `{project(entityName:"vision",name:"detector"){id}}`, nil, "project:read vision/detector"},
		{"variable", `query($e:String,$p:String){project(entityName:$e,name:$p){id}}`, vars{"e": "vision", "p": "detector"}, "project:read vision/detector"},
		{"variable default", `query($e:String="vision",$p:String="detector"){project(entityName:$e,name:$p){id}}`, nil, "project:read vision/detector"},
		{"variable over default", `query($e:String="own",$p:String="own"){project(entityName:$e,name:$p){id}}`, vars{"e": "vision", "p": "detector"}, "project:read vision/detector"},
		{"null over default", `query($e:String="own"){project(entityName:$e,name:"detector"){id}}`, vars{"e": nil}, "project:read home/detector"},
		{"block string", `{project(entityName:"""vision""",name:"""
		   detector
		"""){id}}`, nil, "project:read vision/detector"},
		{"unicode escape", `{project(entityName:"\u0076ision",name:"detecto\u{72}"){id}}`, nil, "project:read vision/detector"},
		{"alias", `{a:project(entityName:"own",name:"p"){id} b:project(entityName:"other",name:"secret"){id}}`, nil,
			"project:read own/p\nproject:read other/secret"},
		{"alias like an allowed field", `{viewer:project(entityName:"other",name:"secret"){id}}`, nil, "project:read other/secret"},
		{"named fragment", `query{...F} fragment F on Query{project(entityName:"other",name:"secret"){id}}`, nil, "project:read other/secret"},
		{"nested fragments", `query{...F} fragment F on Query{... on Query{...G}} fragment G on Query{project(entityName:"other",name:"secret"){id}}`, nil, "project:read other/secret"},
		{"unused fragment", `query{viewer{id}} fragment G on Query{project(entityName:"other",name:"secret"){id}}`, nil, "self:read self"},
		{"left out by include", `query($no:Boolean!){viewer{id} project(entityName:"other",name:"secret") @include(if:$no){id}}`, vars{"no": false},
			"self:read self\nproject:read other/secret"},
		{"skipped", `{viewer{id} ... @skip(if:true){project(entityName:"other",name:"secret"){id}}}`, nil, "self:read self\nproject:read other/secret"},
		{"input object variable", `mutation($i:In!){upsertBucket(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "modelName": "detector", "name": "r1"}},
			"run:write vision/detector/r1 +creates"},
		{"input object default", `mutation($i:In={entityName:"vision",modelName:"detector",name:"r1"}){upsertBucket(input:$i){inserted}}`, nil,
			"run:write vision/detector/r1 +creates"},
		{"several operations", `query A{viewer{id}} query B{serverInfo{x}}`, vars{}, "!ambiguous_operation"},

		// Runs and their ids (G12, G14).
		{"upsertBucket", upsertBucket, vars{"e": "vision", "p": "detector", "n": "r1"}, "run:write vision/detector/r1 +creates"},
		{"no entity", upsertBucket, vars{"p": "detector", "n": "r1"}, "run:write home/detector/r1 +creates"},
		{"empty entity", upsertBucket, vars{"e": "", "p": "detector", "n": "r1"}, "run:write home/detector/r1 +creates"},
		{"no project", upsertBucket, vars{"n": "r1"}, "run:write home/uncategorized/r1 +creates"},
		{"only an id", upsertBucket, vars{"id": runID}, "run:write vision/detector/r1"},
		{"id and names", upsertBucket, vars{"id": runID, "e": "vision", "p": "detector", "n": "r1"}, "run:write vision/detector/r1\nrun:write vision/detector/r1 +creates"},
		{"id of another place", upsertBucket, vars{"id": secretID, "e": "vision", "p": "detector", "n": "r1"}, "!id_mismatch"},
		{"id of another run", upsertBucket, vars{"id": runID, "e": "vision", "p": "detector", "n": "r2"}, "!id_mismatch"},
		{"id and a part of the names", upsertBucket, vars{"id": runID, "p": "detector"}, "run:write vision/detector/r1\nrun:write vision/detector +creates"},
		{"opaque id", upsertBucket, vars{"id": "QWdlbnQ6MQ==", "e": "vision", "p": "detector"}, "run:write other:QWdlbnQ6MQ== in vision/detector\nrun:write vision/detector +creates"},
		{"stopRun", `mutation($id:ID!){stopRun(input:{id:$id}){success}}`, vars{"id": runID}, "run:stop vision/detector/r1"},
		{"deleteRun", `mutation($id:ID!){deleteRun(input:{id:$id}){clientMutationId}}`, vars{"id": runID}, "run:delete vision/detector/r1"},
		{"stopRun by an id with white space", `mutation($id:ID!){stopRun(input:{id:$id}){success}}`, vars{"id": runID + " "}, "run:stop other:" + runID + " "},
		{"deleteFiles", `mutation($f:[ID!]!,$p:Int){deleteFiles(input:{files:$f,projectId:$p}){success}}`, vars{"f": []string{"a", "b"}, "p": 12},
			"run:delete file:a\nrun:delete file:b\nrun:delete project_number:12"},
		{"scalar for a list", `mutation($f:[ID!]!){deleteFiles(input:{files:$f}){success}}`, vars{"f": "a"}, "run:delete file:a"},
		{"run id where a file's is due", `mutation{deleteFiles(input:{files:["` + secretID + `"]}){success}}`, nil,
			"run:delete other/secret/r1\nrun:delete file:" + secretID},

		// Writing queries.
		{"upload URLs", `query($n:String!,$e:String,$r:String!){model(name:$n,entityName:$e){bucket(name:$r){files{uploadHeaders edges{node{url(upload:true)}}}}}}`,
			vars{"n": "detector", "e": "vision", "r": "r1"}, "project:read vision/detector/r1\nrun:write vision/detector/r1"},
		{"download URLs", `query($u:Boolean=false){project(entityName:"vision",name:"detector"){run(name:"r1"){files{edges{node{url(upload:$u)}}}}}}`, nil,
			"project:read vision/detector/r1"},
		{"upload by variable", `query($u:Boolean=false){project(entityName:"vision",name:"detector"){run(name:"r1"){files{edges{node{url(upload:$u)}}}}}}`, vars{"u": true},
			"project:read vision/detector/r1\nrun:write vision/detector/r1"},
		{"upload by something true", `{project(entityName:"vision",name:"detector"){run(name:"r1"){files{edges{node{url(upload:1)}}}}}}`, nil,
			"project:read vision/detector/r1\nrun:write vision/detector/r1"},

		// Projects.
		{"upsertModel", `mutation($i:I!){upsertModel(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "name": "new"}}, "run:write vision/new +creates"},
		{"upsertModel as the SDK sends it", `mutation($n:String!,$e:String,$d:String){upsertModel(input:{name:$n,entityName:$e,description:$d}){inserted}}`,
			vars{"n": "new", "e": "vision", "d": nil}, "run:write vision/new +creates"},
		{"upsertModel changes", `mutation($n:String!,$e:String,$d:String){upsertModel(input:{name:$n,entityName:$e,description:$d}){inserted}}`,
			vars{"n": "new", "e": "vision", "d": "x"}, "run:write vision/new +creates\nproject:update vision/new +creates"},
		{"upsertModel changes what nobody here knows", `mutation($i:I!){upsertModel(input:$i){inserted}}`,
			vars{"i": vars{"entityName": "vision", "name": "new", "novel": false}}, "run:write vision/new +creates\nproject:update vision/new +creates"},
		{"visibility", `mutation($i:I!){upsertModel(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "name": "new", "access": "USER_WRITE"}},
			"project:set_visibility vision/new to open +creates"},
		{"visibility, and what is in the project", `mutation($i:I!){upsertModel(input:$i){model{name runs(first:1){edges{node{id}}}}}}`, vars{"i": vars{"entityName": "vision", "name": "p", "access": "PRIVATE"}},
			"run:write vision/p +creates\nproject:set_visibility vision/p to team +creates"},
		{"visibility, and a description", `mutation($i:I!){upsertModel(input:$i){model{name}}}`, vars{"i": vars{"entityName": "vision", "name": "p", "access": "PRIVATE", "description": "x"}},
			"run:write vision/p +creates\nproject:update vision/p +creates\nproject:set_visibility vision/p to team +creates"},
		{"visibility, read back under other names", `mutation{upsertModel(input:{entityName:"vision",name:"p",access:"PRIVATE"}){name:model{name:description}}}`, nil,
			"run:write vision/p +creates\nproject:set_visibility vision/p to team +creates"},
		{"owner", `mutation{upsertModel(input:{entityName:"vision",name:"p",owner:"u"}){model{id name entityName access}}}`, nil, "project:manage_members vision/p +creates"},
		{"owner and visibility", `mutation{upsertModel(input:{entityName:"vision",name:"p",owner:"u",access:"PRIVATE"}){inserted}}`, nil,
			"project:set_visibility vision/p to team +creates\nproject:manage_members vision/p +creates"},
		{"visibility in the document", `mutation{upsertModel(input:{entityName:"vision",name:"new",access:"PRIVATE"}){inserted}}`, nil,
			"project:set_visibility vision/new to team +creates"},
		{"visibility by variable", `mutation($a:String="USER_READ"){upsertModel(input:{entityName:"vision",name:"new",access:$a}){inserted}}`, nil,
			"project:set_visibility vision/new to public +creates"},
		{"visibility by id", `mutation{upsertModel(input:{id:"P",access:"RESTRICTED"}){inserted}}`, nil,
			"project:set_visibility project:P to restricted"},
		{"a word that nobody knows is the most closed one", `mutation($i:I!){upsertModel(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "name": "new", "access": "user_write"}},
			"project:set_visibility vision/new to restricted +creates"},
		{"an empty word too", `mutation($i:I!){upsertModel(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "name": "new", "access": ""}},
			"project:set_visibility vision/new to restricted +creates"},
		{"no word", `mutation($i:I!){upsertModel(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "name": "new", "access": nil}}, "run:write vision/new +creates"},
		{"a word that is no string", `mutation{upsertModel(input:{entityName:"vision",name:"new",access:USER_READ}){inserted}}`, nil, "!invalid_argument"},
		{"a list of words", `mutation($i:I!){upsertModel(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "name": "new", "access": []string{"PRIVATE"}}}, "!invalid_argument"},
		{"two of them", `mutation{a:upsertModel(input:{entityName:"vision",name:"new",access:"PRIVATE"}){inserted} b:upsertModel(input:{entityName:"vision",name:"new",access:"USER_WRITE"}){inserted}}`, nil,
			"project:set_visibility vision/new to team +creates\nproject:set_visibility vision/new to open +creates"},
		{"invitation", `mutation($i:I!){createInvite(input:$i){invite{id}}}`, vars{"i": vars{"entityName": "vision", "username": "bob", "admin": false}}, "team:invite vision"},
		{"invitation without more", `mutation{createInvite(input:{entityName:"vision",username:"bob"}){invite{id}}}`, nil, "team:invite vision"},
		{"invitation of an admin", `mutation($i:I!){createInvite(input:$i){invite{id}}}`, vars{"i": vars{"entityName": "vision", "username": "bob", "admin": true}}, "team:invite vision\nteam:manage vision"},
		{"invitation of something", `mutation{createInvite(input:{entityName:"vision",username:"bob",admin:"no"}){invite{id}}}`, nil, "team:invite vision\nteam:manage vision"},
		{"names and a foreign id", `mutation($i:I!){upsertModel(input:$i){inserted}}`, vars{"i": vars{"entityName": "vision", "name": "new", "id": "UHJvamVjdDox"}},
			"run:write project:UHJvamVjdDox in vision/new\nrun:write vision/new +creates"},
		{"rename judges both", `mutation{renameProject(input:{entityName:"vision",oldProjectName:"a",newProjectName:"b"}){inserted}}`, nil,
			"project:update vision/a\nproject:update vision/b +creates"},
		{"a move judges both ends", `mutation($i:I!){moveRuns(input:$i){task{id}}}`, vars{"i": vars{"sourceEntityName": "vision", "sourceProjectName": "a", "destinationEntityName": "nlp", "destinationProjectName": "b", "filters": "{}"}},
			"run:write nlp/b +creates\nrun:move vision/a"},
		{"a move between projects of nobody", `mutation{moveRuns(input:{sourceProjectName:"a",destinationProjectName:"b",filters:"{}"}){task{id}}}`, nil,
			"run:write home/b +creates\nrun:move home/a"},
		{"deleteModel", `mutation{deleteModel(input:{id:"x"}){success}}`, nil, "project:delete project:x"},

		// Artifacts, sweeps, launch.
		{"link judges source and target", `mutation($i:I!){linkArtifact(input:$i){versionIndex}}`,
			vars{"i": vars{"entityName": "reg", "projectName": "wandb-registry-x", "artifactPortfolioName": "c", "artifactID": "QQ"}},
			"run:write reg/wandb-registry-x\nproject:read artifact:QQ"},
		{"aliases of several collections", `mutation($i:I!){addAliases(input:$i){success}}`, vars{"i": vars{"artifactID": "QQ", "aliases": []vars{
			{"entityName": "vision", "projectName": "a"}, {"entityName": "other", "projectName": "b"}}}},
			"project:read artifact:QQ\nrun:write vision/a\nrun:write other/b"},
		{"alias without entity", `mutation($i:I!){addAliases(input:$i){success}}`, vars{"i": vars{"artifactID": "QQ", "aliases": []vars{{"projectName": "a"}}}}, "!invalid_argument"},
		{"files of artifacts", `mutation($f:[F!]!){createArtifactFiles(input:{artifactFiles:$f}){files{edges{node{uploadUrl}}}}}`,
			vars{"f": []vars{{"artifactID": "A", "artifactManifestID": "M"}, {"artifactID": "A", "artifactManifestID": "M"}, {"artifactID": "B"}}},
			"run:write artifact:A\nrun:write artifact:B\nrun:write artifact_manifest:M"},
		{"files of no artifact", `mutation($f:[F!]!){createArtifactFiles(input:{artifactFiles:$f}){files{edges{node{uploadUrl}}}}}`, vars{"f": []vars{{"name": "x"}}}, "!invalid_argument"},
		{"queued elsewhere", `mutation($s:JSONString!){pushToRunQueueByName(input:{entityName:"vision",projectName:"launch",queueName:"q",runSpec:$s}){runQueueItemId}}`,
			vars{"s": `{"entity":"other","project":"secret"}`}, "run:write vision/launch\nrun:write other/secret +creates"},
		{"queued twice in one spec", `mutation($s:JSONString!){pushToRunQueueByName(input:{entityName:"vision",projectName:"launch",runSpec:$s}){runQueueItemId}}`,
			vars{"s": `{"entity":"vision","project":"p","entity":"other"}`}, "!invalid_argument"},
		{"queued in another case", `mutation($s:JSONString!){pushToRunQueueByName(input:{entityName:"vision",projectName:"launch",runSpec:$s}){runQueueItemId}}`,
			vars{"s": `{"Entity":"other","Project":"secret"}`}, "!invalid_argument"},
		{"sweep by id and names", `mutation($i:I!){upsertSweep(input:$i){sweep{id}}}`, vars{"i": vars{"id": "S", "entityName": "vision", "projectName": "detector"}},
			"run:write sweep:S in vision/detector\nrun:write vision/detector +creates"},
		{"report", `mutation($i:I!){upsertView(input:$i){view{id}}}`, vars{"i": vars{"entityName": "vision", "projectName": "detector"}}, "report:create vision/detector"},
		{"report by id", `mutation($i:I!){upsertView(input:$i){view{id}}}`, vars{"i": vars{"id": "V"}}, "report:update view:V"},
		{"report of nothing", `mutation($i:I!){upsertView(input:$i){view{id}}}`, vars{"i": vars{"spec": "{}"}}, "unplaced:write"},

		// Teams and people.
		{"invite", `mutation{createInvite(input:{entityName:"vision",email:"a@b"}){invite{id}}}`, nil, "team:invite vision"},
		{"service account", `mutation{createServiceAccount(input:{entityName:"vision",description:"x"}){user{id}}}`, nil, "team:create_service_account vision"},
		{"team", `mutation{createTeam(input:{teamName:"x"}){entity{id}}}`, nil, "team:create organization "},
		{"users", `{users(query:"a"){edges{node{id apiKeys{edges{node{id}}}}}}}`, nil, "organization:provision organization "},
		{"own key", `mutation{generateApiKey(input:{description:"x"}){apiKey{id name}}}`, nil, "self:update self"},
		{"viewer", `{viewer{id entity teams{edges{node{name}}} apiKeys{edges{node{name}}}} serverInfo{features{name}}}`, nil, "self:read self\nserver:read server"},
		{"introspection", `{__schema{types{name fields{name type{name ofType{name}}}}} Q:__type(name:"Query"){fields{name}} __typename}`, nil, "server:read server"},
		{"list of projects", `{models(entityName:"vision"){edges{node{id name}}}}`, nil, "entity:read vision +filtered"},
		{"list that cannot be filtered", `{models(entityName:"vision"){edges{node{id}}}}`, nil, "!unfilterable_list"},
		{"list with the name under a condition", `query($n:Boolean!){models(entityName:"vision"){edges{node{id name @include(if:$n)}}}}`, vars{"n": false}, "!unfilterable_list"},

		{"list with another field under the name's key", `{models(entityName:"vision"){edges{node{name:description x:description name}}}}`, nil, "!unfilterable_list"},
		{"beside the edges", `{models(entityName:"vision"){edges{node{name}} runs{edges{node{config}}}}}`, nil, "entity:read vision +filtered\nunplaced:read +crossing"},

		// G16: what nobody knows is unplaced, and names in it do not place it.
		{"unknown query", `{newThing(entityName:"other",projectName:"secret"){id}}`, nil, "unplaced:read\nproject:read other/secret"},
		{"unknown mutation", `mutation($i:I!){newThing(input:$i){id}}`, vars{"i": vars{"entityName": "other", "things": []vars{{"runId": secretID}}}},
			"unplaced:write\nentity:write other\nrun:write other/secret/r1"},
		{"node", `{node(id:"` + secretID + `"){... on Run{config}}}`, nil, "unplaced:read\nproject:read other/secret/r1"},
		{"mutation as a query", `{upsertBucket(input:{entityName:"vision",modelName:"detector"}){inserted}}`, nil, "unplaced:read\nproject:read vision/detector"},

		// Wrong arguments.
		{"number for a name", `{project(entityName:"vision",name:1){id}}`, nil, "!invalid_argument"},
		{"enum for a name", `{project(entityName:vision,name:"x"){id}}`, nil, "!invalid_argument"},
		{"list for a name", `query($n:String){project(entityName:"vision",name:$n){id}}`, vars{"n": []string{"own", "secret"}}, "!invalid_argument"},
		{"list for an input", `mutation($i:I!){upsertBucket(input:$i){inserted}}`, vars{"i": []vars{{"entityName": "vision"}}}, "!invalid_argument"},
		{"no project name", `{project(entityName:"vision"){id}}`, nil, "!invalid_argument"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			c, err := newReader(t).Read(body(t, tt.query, tt.variables))
			if err == nil {
				var accesses []Access
				accesses, err = c.Accesses("home")
				got = showAll(accesses)
			}
			if err != nil {
				got = "!" + string(iam.ReasonOf(err))
			}
			if got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestNoDefaultEntity(t *testing.T) {
	_, err := readCall(t, upsertBucket, vars{"p": "detector"}).Accesses("")
	if iam.KindOf(err) != iam.KindDenied || iam.ReasonOf(err) != ReasonNoDefaultEntity || !strings.Contains(err.Error(), "WANDB_ENTITY") {
		t.Error(err)
	}
}

// TestCrossings: a document allowed at its root walks out of it (design section 3, step 4).
func TestCrossings(t *testing.T) {
	in := func(selection string) string {
		return `{project(entityName:"vision",name:"detector"){` + selection + `}}`
	}
	const root = "project:read vision/detector"
	const out = root + "\nunplaced:read +crossing"
	const emptied = out + " +redactable"
	tests := []struct{ name, query, want string }{
		{"names of the entity", in(`id name entity{id name}`), root},
		{"scalars nobody knows", in(`brandNew entityName`), root},
		{"objects nobody knows", in(`panels{layout{x y}}`), root},
		{"projects of the entity", in(`entity{projects{edges{node{name}}}}`), root + "\nentity:read vision +filtered +crossing"},
		{"projects of the entity without names", in(`entity{projects{edges{node{id runs{edges{node{id}}}}}}}`), out},
		{"another project", in(`entity{project(name:"secret"){runs{edges{node{config}}}}}`), root + "\nproject:read vision/secret"},
		{"members", in(`entity{members{name}}`), root + "\nteam:read_members vision +crossing"},
		{"keys of members", in(`entity{members{name apiKey}}`), root + "\nteam:read_members vision +crossing\nteam:manage vision +crossing +redactable"},
		{"aliased and in a fragment", in(`e:entity{...F}`) + ` fragment F on Entity{m:members{name}}`, root + "\nteam:read_members vision +crossing"},
		{"name of the user", in(`run(name:"r"){user{name username email}}`), root + "/r"},
		{"keys of the user", in(`runs{edges{node{user{apiKeys{edges{node{name}}}}}}}`), emptied},
		{"runs of the user", in(`runs{edges{node{user{runs{edges{node{config}}}}}}}`), out},
		{"inputs by name", in(`runs{edges{node{inputArtifacts{edges{node{id artifactSequence{name project{name entity{name}}}}}}}}}`), root},
		{"content of inputs", in(`runs{edges{node{inputArtifacts{edges{node{metadata}}}}}}`), emptied},
		{"files of inputs", in(`runs{edges{node{inputArtifacts{edges{node{files{edges{node{directUrl}}}}}}}}}`), out},
		{"users of an artifact", in(`artifact(name:"a:v0"){usedBy{edges{node{id name project{name}}}}}`), root},
		{"config of users of an artifact", in(`artifact(name:"a:v0"){usedBy{edges{node{config summaryMetrics}}}}`), emptied},
		{"project of users of an artifact", in(`artifact(name:"a:v0"){usedBy{edges{node{project{runs{edges{node{id}}}}}}}}`), out},
		{"maker of an artifact", in(`artifact(name:"a:v0"){createdBy{... on Run{project{runs{edges{node{id}}}}}}}`), out},
		{"collections of an artifact", in(`artifact(name:"a:v0"){artifactMemberships{edges{node{artifact{metadata}}}}}`), out},
		{"run's own project", in(`runs{edges{node{project{runs{edges{node{id}}}}}}}`), root},
		{"unknown object with an id", in(`thing(id:"x"){name}`), root + "\nunplaced:read +crossing"},
		{"unknown scalar with an entity", in(`count(entityName:"other")`), root + "\nunplaced:read +crossing\nentity:read other +crossing"},
		{"unknown object that leads out", in(`linkedRuns{edges{node{config}}}`), out},
		{"way out below an unknown object", in(`extras{more{teamMembers{email}}}`), out},
		{"query in a payload", `mutation{createAgent(input:{entityName:"vision",projectName:"detector",sweep:"s"}){agent{id} query{viewer{apiKeys{edges{node{name}}}}}}}`,
			"run:write vision/detector\nunplaced:read +crossing"},
		{"teams of the viewer", `{viewer{teams{edges{node{id name}}}}}`, "self:read self"},
		{"projects of the viewer's teams", `{viewer{teams{edges{node{name projects{edges{node{runs{edges{node{id}}}}}}}}}}}`, "self:read self\nunplaced:read +crossing"},
		{"projects of the viewer", `{viewer{projects{edges{node{name entity{name}}}}}}`, "self:read self\nself:read self +filtered +crossing"},
		{"entity", `{entity(name:"vision"){id name isTeam organization{id name orgEntity{name}}}}`, "entity:read vision"},
		{"members of an entity", `{entity(name:"vision"){members{id apiKey}}}`, "entity:read vision\nteam:read_members vision +crossing\nteam:manage vision +crossing +redactable"},
		{"project of an entity", `{entity(name:"vision"){project(name:"secret"){id}}}`, "entity:read vision\nproject:read vision/secret"},
		{"members of an organization", `{organization(name:"acme"){members{id}}}`, "organization:read organization acme\nunplaced:read +crossing"},
		{"registries", `{organization(name:"acme"){orgEntity{name projects{edges{node{name entity{name}}}}}}}`,
			"organization:read organization acme\norganization:read organization acme +filtered +crossing"},
		{"secret scalar nobody knows", in(`webhookSecret`), out},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			accesses, err := readCall(t, tt.query, nil).Accesses("home")
			if err != nil {
				t.Fatal(err)
			}
			if got := showAll(accesses); got != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
		})
	}
}

func TestReadRefuses(t *testing.T) {
	deep := strings.Repeat("{a", 5000) + strings.Repeat("}", 5000)
	double := `query{...f0}`
	for i := range 30 {
		double += fmt.Sprintf(" fragment f%d on Query{...f%d ...f%d}", i, i+1, i+1)
	}
	double += " fragment f30 on Query{viewer{id}}"
	ask := func(query string) string { return string(body(t, query, nil)) }
	tests := []struct {
		name, body string
		reason     iam.Reason
	}{
		{"G01 batch", `[{"query":"{viewer{id}}"},{"query":"{users{edges{node{id}}}}"}]`, ReasonBatch},
		{"G02 two operations", ask(`query A{viewer{id}} query B{serverInfo{x}}`), ReasonAmbiguousOperation},
		{"G02 name not in the document", `{"query":"query A{viewer{id}}","operationName":"B"}`, ReasonAmbiguousOperation},
		{"G02 one operation has no name", `{"query":"{viewer{id}} query B{serverInfo{x}}","operationName":"B"}`, ReasonAmbiguousOperation},
		{"G02 two operations of one name", `{"query":"query B{viewer{id}} query B{serverInfo{x}}","operationName":"B"}`, ReasonAmbiguousOperation},
		{"G02 name is no string", `{"query":"{viewer{id}}","operationName":1}`, ReasonMalformedJSON},
		{"G03 many aliases", ask("{" + strings.Repeat("a:viewer{id} ", 30_000) + "}"), ReasonTooManyTokens},
		{"G03 two fields under one key", ask(`{a:viewer{id} a:serverInfo{x}}`), ReasonMalformedDocument},
		{"G04 fragment cycle", ask(`query{...F} fragment F on Query{...G} fragment G on Query{...F}`), ReasonMalformedDocument},
		{"G04 unknown fragment", ask(`query{...F}`), ReasonMalformedDocument},
		{"G04 defer", ask(`query{... @defer{viewer{id}}}`), ReasonMalformedDocument},
		{"G04 stream", ask(`query{viewer{teams @stream(initialCount:1){edges{node{name}}}}}`), ReasonMalformedDocument},
		{"G04 directive on the operation", ask(`query @live{viewer{id}}`), ReasonMalformedDocument},
		{"G04 fragments that double", ask(double), "too_many_fields"},
		{"G05 argument twice", ask(`{project(name:"own",name:"secret",entityName:"e"){id}}`), ReasonMalformedDocument},
		{"G05 member twice", ask(`mutation{upsertBucket(input:{entityName:"own",entityName:"other"}){inserted}}`), ReasonMalformedDocument},
		{"G05 variable declared twice", ask(`query($a:String="x",$a:String="y"){project(name:$a,entityName:"e"){id}}`), ReasonMalformedDocument},
		{"G05 undeclared variable", ask(`{project(name:$a,entityName:"e"){id}}`), ReasonMalformedDocument},
		{"G05 half a surrogate in the document", ask(`{project(name:"\ud800",entityName:"e"){id}}`), ReasonMalformedDocument},
		{"G05 four quotes", ask(`{project(name:"""own"""",entityName:"e"){id}}`), ReasonMalformedDocument},
		{"G07 persisted query", `{"query":"{viewer{id}}","extensions":{"persistedQuery":{"sha256Hash":"x"}}}`, ReasonPersistedQuery},
		{"G07 only a hash", `{"extensions":{"persistedQuery":{"sha256Hash":"x"}}}`, ReasonPersistedQuery},
		{"G09 query twice", `{"query":"{viewer{id}}","query":"{users{edges{node{id}}}}"}`, ReasonDuplicateMember},
		{"G09 query in another case", `{"query":"{viewer{id}}","Query":"{users{edges{node{id}}}}"}`, ReasonDuplicateMember},
		{"G09 only in another case", `{"Query":"{viewer{id}}"}`, ReasonDuplicateMember},
		{"G09 escaped twin", `{"query":"{viewer{id}}","quer\u0079":"{a}"}`, ReasonDuplicateMember},
		{"G09 Kelvin twin", `{"query":"{viewer{id}}","variables":{"key":1,"\u212aey":2}}`, ReasonDuplicateMember},
		{"G09 long s twin", `{"query":"{viewer{id}}","variables":{},"variable\u017f":{}}`, ReasonDuplicateMember},
		{"G09 twins in variables", `{"query":"{viewer{id}}","variables":{"a":{"b":[{"c":1,"c":2}]}}}`, ReasonDuplicateMember},
		{"G09 two values", `{"query":"{viewer{id}}"}{"query":"{a}"}`, ReasonMalformedJSON},
		{"G09 byte order mark", "\ufeff" + `{"query":"{viewer{id}}"}`, ReasonMalformedJSON},
		{"G09 UTF-16", "{\x00\"\x00q\x00", ReasonMalformedJSON},
		{"G09 comment", `{"query":"{viewer{id}}"/*x*/}`, ReasonMalformedJSON},
		{"G09 NaN", `{"query":"{viewer{id}}","variables":{"a":NaN}}`, ReasonMalformedJSON},
		{"G09 lone surrogate", `{"query":"{viewer{id}}","variables":{"a":"\ud800"}}`, ReasonMalformedJSON},
		{"G09 half a pair", `{"query":"{viewer{id}}","variables":{"a":"\ud800\u0041"}}`, ReasonMalformedJSON},
		{"G09 invalid UTF-8", "{\"query\":\"{viewer{id}}\",\"variables\":{\"a\":\"\xff\"}}", ReasonMalformedJSON},
		{"G09 raw control character", "{\"query\":\"{viewer{id}}\",\"variables\":{\"a\":\"\n\"}}", ReasonMalformedJSON},
		{"G09 trailing comma", `{"query":"{viewer{id}}",}`, ReasonMalformedJSON},
		{"G09 query is no string", `{"query":{"a":1}}`, ReasonMalformedJSON},
		{"G09 query is null", `{"query":null}`, ReasonMalformedJSON},
		{"G09 variables are a list", `{"query":"{viewer{id}}","variables":[]}`, ReasonMalformedJSON},
		{"G09 empty", ``, ReasonMalformedJSON},
		{"G09 a string", `"{viewer{id}}"`, ReasonMalformedJSON},
		{"G11 deep document", ask(deep), ReasonTooDeep},
		{"G11 deep value", ask(`{project(name:` + strings.Repeat("[", 20_000) + `){id}}`), ReasonTooDeep},
		{"G11 deep JSON", `{"query":"{viewer{id}}","variables":{"a":` + strings.Repeat("[", 100_000), ReasonTooDeep},
		{"G11 many directives", ask("{viewer" + strings.Repeat(" @include(if:true)", 100_000) + "{id}}"), "document_too_large"},
		{"G11 large document", ask("{viewer{id}}" + strings.Repeat(" ", 50<<20)), "document_too_large"},
		{"G11 many variables", `{"query":"{viewer{id}}","variables":{` + manyMembers(1000) + `}}`, ReasonInvalidArgument},
		{"G15 subscription", ask(`subscription{runs{id}}`), ReasonSubscription},
		{"no operation", ask(`fragment F on Query{viewer{id}}`), ReasonMalformedDocument},
		{"empty document", ask(``), ReasonMalformedDocument},
		{"schema", ask(`type Query{a:Int}`), ReasonMalformedDocument},
		{"NUL in the document", ask("{viewer{id}}\x00"), ReasonMalformedDocument},
	}
	r := newReader(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := r.Read([]byte(tt.body))
			if err == nil {
				t.Fatal("accepted")
			}
			if kind := iam.KindOf(err); kind != iam.KindInvalid && kind != iam.KindTooLarge {
				t.Errorf("kind %d: %v", kind, err)
			}
			if got := iam.ReasonOf(err); got != tt.reason {
				t.Errorf("reason %q, want %q: %v", got, tt.reason, err)
			}
		})
	}
}

func manyMembers(n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `"v%d":1`, i)
	}
	return b.String()
}

// TestBody: what goes upstream says what was judged.
func TestBody(t *testing.T) {
	drop := func(names ...string) func(Root) bool {
		return func(r Root) bool {
			for _, name := range names {
				if r.Name == name {
					return true
				}
			}
			return false
		}
	}
	tests := []struct {
		name, body, want string
		drop             func(Root) bool
	}{
		{"nothing to change", ` {"query":"{viewer{id}}" , "operationName":""}`, ` {"query":"{viewer{id}}" , "operationName":""}`, nil},
		{"entity into a variable",
			`{"query":"mutation($e:String,$p:String,$n:Int){upsertBucket(input:{entityName:$e,modelName:$p,x:$n}){inserted}}","variables":{"p":"d\u0065t","n":12345678901234567890.0100,"e":null},"operationName":null}`,
			`{"query":"mutation($e:String,$p:String,$n:Int){upsertBucket(input:{entityName:$e,modelName:$p,x:$n}){inserted}}","operationName":null,"variables":{"p":"d\u0065t","n":12345678901234567890.0100,"e":"home"}}`, nil},
		{"entity into an input object",
			`{"query":"mutation($i:I!){upsertBucket(input:$i){inserted}}","variables":{"i":{"name":"r","modelName":"p","tags":[1.10]}}}`,
			`{"query":"mutation($i:I!){upsertBucket(input:$i){inserted}}","variables":{"i":{"name":"r","modelName":"p","tags":[1.10],"entityName":"home"}}}`, nil},
		{"entity into the document",
			`{"query":"mutation($p:String){upsertBucket(input:{modelName:$p}){bucket{id ...F}}} fragment F on Run{name}","variables":{"p":"det"}}`,
			`{"query":"mutation($p:String){ upsertBucket(input:{modelName:$p,entityName:\"home\"}){ bucket{ id ...F}}} fragment F on Run{ name}","variables":{"p":"det"}}`, nil},
		{"missing argument", `{"query":"{models{edges{node{name}}}}"}`, `{"query":"query{ models(entityName:\"home\"){ edges{ node{ name}}}}","variables":{}}`, nil},
		{"members nobody knows", `{"query":"{viewer{id}}","doc_id":"x","extensions":{}}`, `{"query":"{viewer{id}}","variables":{}}`, nil},
		{"own roots", `{"query":"query V($a:String,$e:String!){viewer{...V teams(x:$a){id}} serverInfo{v} p:project(entityName:$e,name:\"p\"){id}} fragment V on User{id}","variables":{"a":"1","e":"vision"},"operationName":"V"}`,
			`{"query":"query V($e:String!){ serverInfo{ v} p:project(entityName:$e,name:\"p\"){ id}}","operationName":"V","variables":{"e":"vision"}}`, drop("viewer")},
		{"own roots in fragments", `{"query":"{...F} fragment F on Query{viewer{id} ... @include(if:true){serverInfo{v}}}"}`,
			`{"query":"query{ ... @include(if:true){ serverInfo{ v}}}","variables":{}}`, drop("viewer")},
		{"nothing left", `{"query":"{viewer{id}}"}`, ``, drop("viewer")},
		{"nothing to drop", `{"query":"{viewer{id}}"}`, `{"query":"{viewer{id}}"}`, drop("users")},
	}
	r := newReader(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := r.Read([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			before, err := c.Accesses("home")
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.Body(BodyOptions{DefaultEntity: "home", Drop: tt.drop})
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got\n%s\nwant\n%s", got, tt.want)
			}
			if tt.drop != nil || len(got) == 0 {
				return
			}
			again, err := r.Read(got)
			if err != nil {
				t.Fatal(err)
			}
			// Nothing is left to be filled in.
			after, err := again.Accesses("")
			if err != nil || showAll(after) != showAll(before) {
				t.Errorf("what is forwarded is judged as\n%s\n%v\nnot as\n%s", showAll(after), err, showAll(before))
			}
		})
	}
}

// TestSharedVariable: a variable that is filled in for one place counts filled in everywhere.
func TestSharedVariable(t *testing.T) {
	c := readCall(t, `mutation($e:String){upsertBucket(input:{entityName:$e,modelName:"p"}){inserted} addAliases(input:{artifactID:"A",aliases:[{entityName:$e,projectName:"q"}]}){success}}`, nil)
	accesses, err := c.Accesses("home")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := showAll(accesses), "run:write home/p +creates\nproject:read artifact:A\nrun:write home/q"; got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	c = readCall(t, `mutation($e:String){upsertBucket(input:{entityName:$e,modelName:$e}){inserted}}`, nil)
	if accesses, err := c.Accesses("home"); iam.ReasonOf(err) != ReasonInvalidArgument {
		t.Errorf("one variable filled in with two names: %v %v", accesses, err)
	}
}

func TestRoots(t *testing.T) {
	c := readCall(t, `query($no:Boolean!,$n:Int,$x:Int){v:viewer{id} v:viewer{teams{edges{node{name}}} ...F secret @include(if:$no)} users(query:"a",first:$n,gone:$x) @skip(if:$no){edges{node{id}}}}
	  fragment F on User{teams{edges{node{id}}}}`, vars{"no": false, "n": 7})
	roots := c.Roots()
	if len(roots) != 2 || roots[0].Name != "viewer" || roots[0].ResponseKey != "v" || roots[1].Name != "users" {
		t.Fatalf("%+v", roots)
	}
	if args, _ := json.Marshal(roots[1].Args); string(args) != `{"first":7,"query":"a"}` {
		t.Errorf("arguments %s", args)
	}
	names := func(fields []Field) (out []string) {
		for _, f := range fields {
			out = append(out, f.Name)
		}
		return out
	}
	if got := strings.Join(names(roots[0].Fields), " "); got != "id teams teams" {
		t.Errorf("fields %q", got) // the second one stands in a fragment on User
	}
	if roots[0].Fields[2].Type != "User" {
		t.Errorf("%+v", roots[0].Fields[2])
	}
}

// TestPlanCache: documents come out of the cache, and not too many are in it.
func TestPlanCache(t *testing.T) {
	r, err := NewReader(ReaderConfig{PlanBytes: 16 * 8 << 10})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2000 {
		if _, err := r.Read(body(t, fmt.Sprintf(`{a%d:viewer{id}}`, i), nil)); err != nil {
			t.Fatal(err)
		}
	}
	var size int64
	for i := range r.plans.shards {
		size += r.plans.shards[i].size
	}
	if size > 16*8<<10 {
		t.Errorf("the cache holds %d bytes", size)
	}
	b := body(t, `{viewer{id}}`, nil)
	first, err := r.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	second, err := r.Read(b)
	if err != nil || first.op != second.op {
		t.Error("read twice, parsed twice", err)
	}
	if _, err := NewReader(ReaderConfig{MaxDepth: -1}); err == nil {
		t.Error("a negative bound is accepted")
	}
}

func TestRootTable(t *testing.T) {
	for name, row := range rootTable {
		if len(row.claims) == 0 || row.ref == "" {
			t.Errorf("%s has no claim or no reference", name)
		}
		if _, ok := typeTable[row.returns]; !ok {
			t.Errorf("%s returns %q, which has no row", name, row.returns)
		}
		for _, c := range row.claims {
			if c.permission == "" {
				t.Errorf("%s has a claim without permission", name)
			}
		}
	}
	for name, row := range typeTable {
		for field, s := range row.fields {
			if _, ok := typeTable[s.to]; !ok {
				t.Errorf("%s.%s leads to %q, which has no row", name, field, s.to)
			}
			if s.how == crossing && s.claim.permission == "" || s.claim.kind == claimUnplaced && s.how == crossing && s.claim.permission != authz.UnplacedRead {
				t.Errorf("%s.%s crosses without a permission", name, field)
			}
		}
	}
}
