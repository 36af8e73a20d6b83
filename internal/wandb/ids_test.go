package wandb

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// clientCalls are the documents of clients that testdata/clients.txt holds, by operation.
func clientCalls(t *testing.T) map[string]*Call {
	t.Helper()
	raw, err := os.ReadFile("testdata/clients.txt")
	if err != nil {
		t.Fatal(err)
	}
	calls := map[string]*Call{}
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var variables json.RawMessage
		d := json.NewDecoder(strings.NewReader(rest))
		if err := d.Decode(&variables); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		calls[name] = readCall(t, rest[d.InputOffset():], variables)
	}
	return calls
}

// opaque is every operation of sdk-wire 4.4 and the ids that it carries. decoded: the id says itself where
// it lies. own: it is about the caller, or about a team that is named.
var opaque = []struct {
	operation, document string // of clients.txt, unless one is given
	ids                 []IDType
	decoded, own        bool
}{
	// Mutations by ids alone.
	{operation: "AddAliases", ids: []IDType{IDArtifact}},
	{operation: "DeleteAliases", ids: []IDType{IDArtifact}},
	{operation: "ackRunQueueItem", ids: []IDType{IDRunQueueItem}},
	{operation: "CommitArtifact", ids: []IDType{IDArtifact}},
	{operation: "CompleteMultipartUploadArtifact", ids: []IDType{IDArtifact}},
	{operation: "CreateArtifactFiles", ids: []IDType{IDArtifact, IDArtifactManifest}},
	{operation: "CreateAutomation", ids: []IDType{IDProject, IDRunQueue}},
	{operation: "CreateAutomation of a collection", document: `mutation{createFilterTrigger(input:{scopeID:"X",scopeType:ARTIFACT_COLLECTION}){trigger{id}}}`, ids: []IDType{IDCollection}},
	{operation: "CreateAutomation of a team", document: `mutation{createFilterTrigger(input:{scopeID:"X",scopeType:"ENTITY"}){trigger{id}}}`, ids: []IDType{IDOther}},
	{operation: "CreateAutomation of what is not said", document: `mutation{createFilterTrigger(input:{scopeID:"X"}){trigger{id}}}`, ids: []IDType{IDOther}},
	{operation: "CreateRegistryMembers", ids: []IDType{IDProject}},
	{operation: "DeleteRegistryMembers", ids: []IDType{IDProject}},
	{operation: "DeleteApiKey", own: true},
	{operation: "DeleteArtifact", ids: []IDType{IDArtifact}},
	{operation: "DeleteArtifactPortfolio", ids: []IDType{IDCollection}},
	{operation: "DeleteArtifactSequence", ids: []IDType{IDCollection}},
	{operation: "DeleteAutomation", ids: []IDType{IDTrigger}},
	{operation: "deleteFiles", ids: []IDType{IDFile, IDProjectNumber}},
	{operation: "DeleteFromRunQueue", ids: []IDType{IDRunQueue, IDRunQueueItem}},
	{operation: "DeleteRegistry", ids: []IDType{IDProject}},
	{operation: "DeleteRun", decoded: true},
	{operation: "DeleteRunQueue", ids: []IDType{IDRunQueue}},
	{operation: "EnqueueSweepRun", ids: []IDType{IDSweep}},
	{operation: "failRunQueueItem", ids: []IDType{IDRunQueueItem}},
	{operation: "Heartbeat", ids: []IDType{IDAgent}},
	{operation: "pushToRunQueue", ids: []IDType{IDRunQueue}},
	{operation: "StopRun", decoded: true},
	{operation: "UnlinkArtifact", ids: []IDType{IDCollection, IDArtifact}},
	{operation: "UpdateArtifact", ids: []IDType{IDArtifact}},
	{operation: "UpdateArtifactManifest", ids: []IDType{IDArtifactManifest}},
	{operation: "UpdateArtifactManifest with a base", document: `mutation{updateArtifactManifest(input:{artifactManifestID:"M",baseArtifactID:"B"}){artifactManifest{id}}}`, ids: []IDType{IDArtifactManifest, IDArtifact}},
	{operation: "UpdateArtifactPortfolio", ids: []IDType{IDCollection}},
	{operation: "UpdateArtifactSequence", ids: []IDType{IDCollection}},
	{operation: "UpdateArtifactSequenceType", ids: []IDType{IDCollection}},
	{operation: "UpdateAutomation", ids: []IDType{IDTrigger, IDOther}}, // a webhook of its team's
	{operation: "updateLaunchAgent", ids: []IDType{IDLaunchAgent}},
	{operation: "updateRunQueueItemWarning", ids: []IDType{IDRunQueueItem}},
	{operation: "UpdateRunState", decoded: true},
	{operation: "UpdateTeamRegistryRole", ids: []IDType{IDProject}},
	{operation: "UpdateUserRegistryRole", ids: []IDType{IDProject}},
	{operation: "UpsertBucket by id", document: `mutation($id:String){upsertBucket(input:{id:$id}){bucket{id}}}`, decoded: true},

	// Queries by ids alone.
	{operation: "ArtifactByID", ids: []IDType{IDArtifact}},
	{operation: "ArtifactCollectionAliases", ids: []IDType{IDCollection}},
	{operation: "ArtifactCreatedBy", ids: []IDType{IDArtifact}},
	{operation: "ArtifactUsedBy", ids: []IDType{IDArtifact}},
	{operation: "ArtifactFileURLs", document: `query($id:ID!){artifact(id:$id){files{edges{node{name directUrl}}}}}`, ids: []IDType{IDArtifact}},
	{operation: "ArtifactFileURLsByManifestEntries", ids: []IDType{IDArtifact}},
	{operation: "ArtifactManifest", document: `query($id:ID!){artifact(id:$id){currentManifest{file{directUrl}}}}`, ids: []IDType{IDArtifact}},
	{operation: "FetchLinkedArtifacts", ids: []IDType{IDArtifact}},
	{operation: "ClientIDMapping", ids: []IDType{IDArtifactClient}},
	{operation: "LaunchAgent", ids: []IDType{IDLaunchAgent}},

	// Names and ids. Those whose id names what lies at the names must agree (TestNamesAndIDsAgree).
	{operation: "UpsertBucket", decoded: true},
	{operation: "CreateArtifactManifest", ids: []IDType{IDArtifact}},
	{operation: "UseArtifact", ids: []IDType{IDArtifact}},
	{operation: "LinkArtifact", ids: []IDType{IDArtifact}},
	{operation: "UpsertSweep by id", document: `mutation{upsertSweep(input:{id:"S",entityName:"vision",projectName:"detector"}){sweep{id}}}`, ids: []IDType{IDSweep}},
	{operation: "UpsertModel by id", document: `mutation{upsertModel(input:{id:"P",entityName:"vision",name:"detector"}){project{id}}}`, ids: []IDType{IDProject}},
	{operation: "popFromRunQueue", ids: []IDType{IDLaunchAgent}},
	{operation: "createLaunchAgent", ids: []IDType{IDRunQueue}},
	{operation: "DeleteInvite", own: true},
}

// TestOpaqueIDs: of every operation that carries an id which hides its project, every id is judged, as what
// it names.
func TestOpaqueIDs(t *testing.T) {
	calls := clientCalls(t)
	for _, tt := range opaque {
		t.Run(tt.operation, func(t *testing.T) {
			c := calls[tt.operation]
			if tt.document != "" {
				c = readCall(t, tt.document, vars{"id": FormatRunID("vision", "detector", "r1")})
			}
			if c == nil {
				t.Fatal("no client sends it")
			}
			accesses, err := c.Accesses("home")
			if err != nil {
				t.Fatal(err)
			}
			var ids []IDType
			decoded, own := false, false
			for _, a := range accesses {
				switch r := a.Resource; r.Kind {
				case ResourceID:
					if !slices.Contains(ids, r.IDType) {
						ids = append(ids, r.IDType)
					}
				case ResourceProject:
					decoded = decoded || r.Run != ""
				case ResourceSelf, ResourceEntity:
					own = true
				}
			}
			if !slices.Equal(ids, tt.ids) || tt.decoded && !decoded || tt.own && !own || len(tt.ids) == 0 && !tt.decoded && !tt.own {
				t.Errorf("judged by the ids %v, decoded %t, of the caller or a team %t; want %+v", ids, decoded, own, tt)
			}
		})
	}
}

// placedBy says of every sort of id how it is placed: by a question, and by the answers to these documents.
// What is neither can only fall under `unplaced`.
var placedBy = map[IDType]struct {
	asked   bool
	learned [][2]string // document, answer in which the id is "ID"
}{
	IDArtifact: {asked: true, learned: [][2]string{
		{`mutation{createArtifact(input:{entityName:"vision",projectName:"detector"}){artifact{id}}}`, `{"createArtifact":{"artifact":{"id":"ID"}}}`},
		{`{project(entityName:"vision",name:"detector"){run(name:"r"){outputArtifacts{edges{node{id}}}}}}`, `{"project":{"run":{"outputArtifacts":{"edges":[{"node":{"id":"ID"}}]}}}}`},
	}},
	IDArtifactClient: {asked: true},
	IDArtifactManifest: {learned: [][2]string{
		{`mutation{createArtifactManifest(input:{entityName:"vision",projectName:"detector",runName:"r",artifactID:"A"}){artifactManifest{id}}}`, `{"createArtifactManifest":{"artifactManifest":{"id":"ID"}}}`},
	}},
	IDCollection: {asked: true, learned: [][2]string{
		{`{project(entityName:"vision",name:"detector"){artifactCollection(name:"c"){id}}}`, `{"project":{"artifactCollection":{"id":"ID"}}}`},
	}},
	IDSweep: {learned: [][2]string{
		{`mutation{upsertSweep(input:{entityName:"vision",projectName:"detector"}){sweep{id}}}`, `{"upsertSweep":{"sweep":{"id":"ID"}}}`},
		{`{project(entityName:"vision",name:"detector"){sweep(sweepName:"s"){id}}}`, `{"project":{"sweep":{"id":"ID"}}}`},
		{`{project(entityName:"vision",name:"detector"){sweeps{edges{node{id}}}}}`, `{"project":{"sweeps":{"edges":[{"node":{"id":"ID"}}]}}}`},
	}},
	IDAgent: {learned: [][2]string{
		{`mutation{createAgent(input:{entityName:"vision",projectName:"detector",sweep:"s"}){agent{id}}}`, `{"createAgent":{"agent":{"id":"ID"}}}`},
		{`{project(entityName:"vision",name:"detector"){sweep(sweepName:"s"){agents{edges{node{id}}}}}}`, `{"project":{"sweep":{"agents":{"edges":[{"node":{"id":"ID"}}]}}}}`},
	}},
	IDLaunchAgent: {learned: [][2]string{
		{`mutation{createLaunchAgent(input:{entityName:"vision",projectName:"detector"}){launchAgentId}}`, `{"createLaunchAgent":{"launchAgentId":"ID"}}`},
	}},
	IDRunQueue: {learned: [][2]string{
		{`mutation{createRunQueue(input:{entityName:"vision",projectName:"detector",queueName:"q"}){queueID}}`, `{"createRunQueue":{"queueID":"ID"}}`},
		{`{project(entityName:"vision",name:"detector"){runQueues{id}}}`, `{"project":{"runQueues":[{"id":"ID"}]}}`},
		{`{project(entityName:"vision",name:"detector"){runQueue(name:"q"){id}}}`, `{"project":{"runQueue":{"id":"ID"}}}`},
	}},
	IDRunQueueItem: {learned: [][2]string{
		{`mutation{popFromRunQueue(input:{entityName:"vision",projectName:"detector",queueName:"q"}){runQueueItemId}}`, `{"popFromRunQueue":{"runQueueItemId":"ID"}}`},
		{`mutation{pushToRunQueueByName(input:{entityName:"vision",projectName:"detector",queueName:"q"}){runQueueItemId}}`, `{"pushToRunQueueByName":{"runQueueItemId":"ID"}}`},
		{`mutation{pushToRunQueue(input:{queueID:"PLACED"}){runQueueItemId}}`, `{"pushToRunQueue":{"runQueueItemId":"ID"}}`},
		{`{project(entityName:"vision",name:"detector"){runQueue(name:"q"){runQueueItems{edges{node{id}}}}}}`, `{"project":{"runQueue":{"runQueueItems":{"edges":[{"node":{"id":"ID"}}]}}}}`},
	}},
	IDProject: {learned: [][2]string{
		{`{project(entityName:"vision",name:"detector"){id}}`, `{"project":{"id":"ID"}}`},
		{`mutation{upsertModel(input:{entityName:"vision",name:"detector"}){project{id}}}`, `{"upsertModel":{"project":{"id":"ID"}}}`},
	}},
	IDProjectNumber: {learned: [][2]string{
		{`{project(entityName:"vision",name:"detector"){internalId}}`, `{"project":{"internalId":"42"}}`},
		{`{project(entityName:"vision",name:"detector"){runs{edges{node{projectId}}}}}`, `{"project":{"runs":{"edges":[{"node":{"projectId":42}}]}}}`},
	}},
	IDTrigger: {learned: [][2]string{
		{`mutation{createFilterTrigger(input:{scopeID:"PLACED",scopeType:PROJECT}){trigger{id}}}`, `{"createFilterTrigger":{"trigger":{"id":"ID"}}}`},
		{`{project(entityName:"vision",name:"detector"){triggers{id}}}`, `{"project":{"triggers":[{"id":"ID"}]}}`},
	}},
	IDView: {asked: true, learned: [][2]string{
		{`mutation{upsertView(input:{entityName:"vision",projectName:"detector"}){view{id}}}`, `{"upsertView":{"view":{"id":"ID"}}}`},
		{`{project(entityName:"vision",name:"detector"){allViews{edges{node{id}}}}}`, `{"project":{"allViews":{"edges":[{"node":{"id":"ID"}}]}}}`},
	}},
	IDFile: {learned: [][2]string{
		{`{project(entityName:"vision",name:"detector"){run(name:"r"){files{edges{node{id}}}}}}`, `{"project":{"run":{"files":{"edges":[{"node":{"id":"ID"}}]}}}}`},
	}},
	IDOther: {}, // webhooks and other things of teams, and whatever no client names
}

// TestEverySortIsPlaced: of every sort that an operation carries, the answer before it, or a question, tells
// where its ids lie.
func TestEverySortIsPlaced(t *testing.T) {
	for _, tt := range opaque {
		for _, sort := range tt.ids {
			if _, ok := placedBy[sort]; !ok {
				t.Errorf("%s: nothing is known of the sort %s", tt.operation, sort)
			}
		}
	}
	for sort, by := range placedBy {
		if (HomeQuestion(sort) != "") != by.asked || slices.Contains(HomeQuestions(), sort) != by.asked {
			t.Errorf("%s: the question is %q", sort, HomeQuestion(sort))
		}
		id := "ID"
		if sort == IDProjectNumber {
			id = "42"
		}
		for _, document := range by.learned {
			c := readCall(t, document[0], nil)
			accesses, err := c.Accesses("")
			if err != nil {
				t.Fatal(err)
			}
			var placed []Resource // as the gateway found out
			for _, a := range accesses {
				if r := a.Resource; r.Kind == ResourceID && r.ID == "PLACED" {
					r.Kind, r.Entity, r.Project = ResourceProject, "vision", "detector"
					placed = append(placed, r)
				}
			}
			_, learned, err := c.Answer([]byte(`{"data":`+document[1]+`}`), AnswerOptions{Learn: true, Placed: placed})
			if err != nil {
				t.Fatal(err)
			}
			want := Placed{ID: id, IDType: sort, Entity: "vision", Project: "detector"}
			if !slices.ContainsFunc(learned, func(l Learned) bool { return l == want }) {
				t.Errorf("%s: %s teaches %+v", sort, document[0], learned)
			}
		}
	}
}

// TestNamesAndIDsAgree: where an id names what lies at the names beside it, both are judged together, so
// that one that lies elsewhere is refused whichever the server obeys.
func TestNamesAndIDsAgree(t *testing.T) {
	run := FormatRunID("speech", "secret", "r1")
	for document, want := range map[string]string{
		`mutation{upsertBucket(input:{id:"` + run + `",entityName:"vision"}){bucket{id}}}`:                                                                                          "refused",
		`mutation{upsertBucket(input:{id:"` + run + `",modelName:"detector"}){bucket{id}}}`:                                                                                         "refused",
		`mutation{upsertBucket(input:{id:"` + run + `",name:"r2"}){bucket{id}}}`:                                                                                                    "refused",
		`mutation{createArtifactManifest(input:{entityName:"vision",projectName:"detector",runName:"r",artifactID:"A"}){artifactManifest{id}}}`:                                     "vision/detector",
		`mutation{useArtifact(input:{entityName:"vision",projectName:"detector",runName:"r",artifactID:"A",artifactEntityName:"speech",artifactProjectName:"data"}){artifact{id}}}`: "speech/data",
		`mutation{linkArtifact(input:{entityName:"vision",projectName:"detector",artifactPortfolioID:"C"}){versionIndex}}`:                                                          "vision/detector",
		`mutation{upsertSweep(input:{entityName:"vision",projectName:"detector",id:"S"}){sweep{id}}}`:                                                                               "vision/detector",
		`mutation{upsertModel(input:{entityName:"vision",name:"detector",id:"P"}){project{id}}}`:                                                                                    "vision/detector",
	} {
		accesses, err := readCall(t, document, nil).Accesses("")
		if want == "refused" {
			if iam.ReasonOf(err) != ReasonIDMismatch {
				t.Errorf("%s: %v, %v", document, accesses, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", document, err)
		}
		found := slices.ContainsFunc(accesses, func(a Access) bool {
			return a.Resource.Kind == ResourceID && fmt.Sprintf("%s/%s", a.Resource.Entity, a.Resource.Project) == want
		})
		if !found {
			t.Errorf("%s: no id is judged to lie in %s: %s", document, want, showAll(accesses))
		}
	}
}

func TestReadHomeAnswer(t *testing.T) {
	const detector = `{"name":"detector","entity":{"name":"vision"}}`
	there, nowhere, fails := Home{Entity: "vision", Project: "detector"}, Home{}, Home{Artifact: "fails"}
	for _, tt := range []struct {
		name, answer string
		sort         IDType
		want         Home
	}{
		{"artifact", `{"data":{"it":{"artifactSequence":{"project":` + detector + `}}}}`, IDArtifact, there},
		{"artifact, by its own project", `{"data":{"it":{"project":` + detector + `}}}`, IDArtifact, nowhere},
		{"collection", `{"data":{"it":{"project":` + detector + `}}}`, IDCollection, there},
		{"report", `{"data":{"it":{"project":{"name":"detector","entityName":"vision"}}}}`, IDView, there},
		{"client id", `{"data":{"it":{"serverID":"A"}}}`, IDArtifactClient, Home{Artifact: "A"}},
		{"client id of nothing", `{"data":{"it":null}}`, IDArtifactClient, nowhere},
		{"a sort that nobody is asked about", `{"data":{"it":{"project":` + detector + `}}}`, IDSweep, nowhere},
		{"nothing", `{"data":{"it":null}}`, IDArtifact, nowhere},
		{"no project", `{"data":{"it":{"project":null}}}`, IDCollection, nowhere},
		{"no entity", `{"data":{"it":{"project":{"name":"detector","entity":null}}}}`, IDCollection, nowhere},
		{"no name", `{"data":{"it":{"project":{"name":"","entity":{"name":"vision"}}}}}`, IDCollection, nowhere},
		{"not for the asker", `{"data":{"it":null},"errors":[{"message":"permission denied"}]}`, IDArtifact, nowhere},
		{"an old server", `{"errors":[{"message":"Cannot query field \"view\" on type \"Query\"."}]}`, IDView, nowhere},
		{"failing", `{"data":{"it":null},"errors":[{"message":"timeout"}]}`, IDArtifact, fails},
		{"failing beside a denial", `{"data":{"it":null},"errors":[{"message":"permission denied"},{"message":"timeout"}]}`, IDArtifact, fails},
		{"data null", `{"data":null}`, IDArtifact, fails},
		{"empty", ``, IDArtifact, fails},
		{"half", `{"data":{"it":{"artifactSeq`, IDArtifact, fails},
		{"a page", `<html>`, IDArtifact, fails},
		{"a list", `{"data":{"it":[]}}`, IDArtifact, fails},
		{"a number for a name", `{"data":{"it":{"project":{"name":7,"entity":{"name":"vision"}}}}}`, IDCollection, fails},
		{"a client id without end", `{"data":{"it":{"serverID":"` + strings.Repeat("A", 4<<10) + `"}}}`, IDArtifactClient, fails},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadHomeAnswer(tt.sort, []byte(tt.answer))
			if (err != nil) != (tt.want == fails) || err == nil && got != tt.want {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

// FuzzReadHomeAnswer: whatever a server answers, it is a place with both its names, an artifact, nowhere, or
// an error.
func FuzzReadHomeAnswer(f *testing.F) {
	f.Add(`{"data":{"it":{"artifactSequence":{"project":{"name":"detector","entity":{"name":"vision"}}}}}}`)
	f.Add(`{"data":{"it":{"project":{"name":"detector","entityName":"vision"}}},"errors":[]}`)
	f.Add(`{"data":{"it":{"serverID":"A"}}}`)
	f.Add(`{"data":{"it":null},"errors":[{"message":"timeout"}]}`)
	f.Fuzz(func(t *testing.T, answer string) {
		for _, sort := range append(HomeQuestions(), IDSweep, IDOther) {
			h, err := ReadHomeAnswer(sort, []byte(answer))
			switch {
			case err != nil && h != Home{}:
				t.Errorf("%s: %+v beside %v", sort, h, err)
			case (h.Entity == "") != (h.Project == ""), h.Entity != "" && h.Artifact != "", h.Artifact != "" && sort != IDArtifactClient:
				t.Errorf("%s: %+v", sort, h)
			}
		}
	})
}
