package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// record is Accounts made by hand: it answers everything with what a test says.
type record struct {
	answer string
	err    error
	asked  []Question
}

func (r *record) Owns(root wandb.Root) bool {
	return slices.Contains(administration, root.Name) || root.Name == "entity" && len(root.Fields) == 1
}

func (r *record) Answer(_ context.Context, q Question) (json.RawMessage, error) {
	r.asked = append(r.asked, q)
	return json.RawMessage(r.answer), r.err
}

func (r *record) Members(context.Context, *iam.Principal, string, wandb.Field) (json.RawMessage, error) {
	return json.RawMessage(`["recorded"]`), r.err
}

func (r *record) Keys(context.Context, *iam.Principal, wandb.Field) (json.RawMessage, error) {
	return json.RawMessage(`"keys"`), r.err
}

func administered(t *testing.T) (*scene, *record) {
	s, r := newScene(t), &record{answer: `{"done":true}`}
	s.config.Accounts = r
	return s, r
}

const generateKey = `mutation GenerateApiKey($d: String) { result: generateApiKey(input: {description: $d}) { apiKey { id name } } }`

// TestOwnChanges: a change of the record is carried out here, once, for who was judged.
func TestOwnChanges(t *testing.T) {
	s, r := administered(t)
	s.config.Host.RequestID = func(*http.Request) string { return "r-1" }
	w := s.graphQL("alice-key", generateKey, `{"d":"x"}`)
	if w.Code != 200 || w.Body.String() != `{"data":{"result":{"done":true}}}` || s.upstream.request != nil {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if len(r.asked) != 1 {
		t.Fatalf("asked %d times", len(r.asked))
	}
	q := r.asked[0]
	if q.Who.Username != "alice" || q.Reason != authz.ReasonSelf || !q.Alone || q.RequestID != "r-1" || q.Root.Name != "generateApiKey" || q.Root.Args["input"].(map[string]any)["description"] != "x" {
		t.Errorf("asked %+v", q)
	}
	if w.Header().Get("Cache-Control") != "no-store" {
		t.Error("an answer with a key in it may be stored")
	}
	// Whoever may not is refused before the record is asked.
	s.refused(s.graphQL("ci-key", generateKey, `{"d":"x"}`), 403, authz.ReasonServiceAccountSelfManagement)
	if len(r.asked) != 1 {
		t.Error("the record was asked for somebody who may not")
	}
}

// TestOwnFailures: what is wrong with a change itself is told in a GraphQL answer, everything else is refused.
func TestOwnFailures(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		reason iam.Reason
	}{
		{iam.Invalidf("no"), 200, "invalid"},
		{iam.NotFoundf("no"), 200, "not_found"},
		{iam.Conflictf("no"), 200, "conflict"},
		{&iam.Error{Kind: iam.KindTooLarge, Reason: "too_large", Message: "no"}, 200, "too_large"},
		{&iam.Error{Kind: iam.KindDenied, Reason: authz.ReasonTeamAdminRequired, Message: "no"}, 403, authz.ReasonTeamAdminRequired},
		{&iam.Error{Kind: iam.KindUnauthenticated, Reason: authz.ReasonDeactivated, Message: "no"}, 401, authz.ReasonDeactivated},
		{iam.Unavailable("no", nil), 503, "unavailable"},
		{errors.New("secret detail"), 500, "internal"},
	} {
		s, r := administered(t)
		r.err = tt.err
		w := s.graphQL("alice-key", generateKey, `{"d":"x"}`)
		var body struct {
			Data   map[string]any
			Errors []struct {
				Message    string
				Extensions struct{ Reason iam.Reason }
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != tt.status || len(body.Errors) != 1 || body.Errors[0].Extensions.Reason != tt.reason {
			t.Errorf("%v: %d %s", tt.err, w.Code, w.Body)
			continue
		}
		if value, there := body.Data["result"]; there != (tt.status == 200) || value != nil {
			t.Errorf("%v: data %v", tt.err, body.Data)
		}
		if s.event.Effect != authz.Deny || s.event.Reason != tt.reason || s.event.Status != tt.status || s.upstream.request != nil {
			t.Errorf("%v: event %+v", tt.err, s.event)
		}
	}
}

// TestOwnPartsOfQueries: the record's part is answered here and the rest by the server, or nothing at all.
func TestOwnPartsOfQueries(t *testing.T) {
	s, r := administered(t)
	const both = `{ me: viewer { username apiKeys { edges { node { id } } } } e: entity(name: "vision") { members { username } } project(entityName: "vision", name: "team") { id } }`
	s.upstream.answer = `{"data":{"project":{"id":"p"}}}`
	if w := s.graphQL("alice-key", both, `{}`); w.Body.String() != `{"data":{"project":{"id":"p"},"e":{"done":true},"me":{"username":"alice","apiKeys":"keys"}}}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if r.asked[0].Alone {
		t.Error("an answer that the server takes part in counts as the gateway's alone")
	}
	const rest = `{ entity(name: "vision") { members { username } name } }`
	s.upstream.answer = `{"data":{"entity":{"members":["old"],"name":"vision"}}}`
	if w := s.graphQL("alice-key", rest, `{}`); w.Body.String() != `{"data":{"entity":{"members":["recorded"],"name":"vision"}}}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	r.err = iam.Unavailable("the store is away", nil)
	if w := s.graphQL("alice-key", `{ viewer { username apiKeys { edges { node { id } } } } }`, `{}`); w.Body.String() != `{"data":{"viewer":{"username":"alice","apiKeys":null}}}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	for _, query := range []string{both, rest} {
		w := s.graphQL("alice-key", query, `{}`)
		if w.Code != 503 || w.Header().Get("Retry-After") == "" {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
}

// TestChangesStandAlone: beside anything else a change is not made, whether that was to be done here or there.
func TestChangesStandAlone(t *testing.T) {
	s, r := administered(t)
	const server = `upsertBucket(input: {entityName: "vision", modelName: "team", name: "r1"}) { bucket { id } }`
	for _, query := range []string{
		`mutation { a: generateApiKey(input: {}) { apiKey { name } } b: generateApiKey(input: {}) { apiKey { name } } }`,
		`mutation { a: generateApiKey(input: {}) { apiKey { name } } ` + server + ` }`,
		`mutation { ` + server + ` ...F } fragment F on Mutation { deleteApiKey(input: {id: "x"}) { success } }`,
		`mutation { ` + server + ` deleteApiKey(input: {id: "x"}) @skip(if: true) { success } }`,
		`mutation { viewer { id } deleteApiKey(input: {id: "x"}) { success } }`,
	} {
		s.config.Unplaced = authz.UnplacedAllow
		s.refused(s.graphQL("alice-key", query, `{}`), 400, ReasonNotAlone)
	}
	s.refused(s.graphQL("alice-key", `query { generateApiKey(input: {}) { apiKey { name } } }`, `{}`), 400, ReasonNotAlone)
	s.refused(s.graphQL("alice-key", `mutation { users(query: "") { edges { node { id } } } }`, `{}`), 400, ReasonNotAlone)
	if len(r.asked) != 0 {
		t.Errorf("the record was asked %d times", len(r.asked))
	}
}
