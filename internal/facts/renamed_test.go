package facts_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/facts"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
)

// renaming is a server with the team vision, to which mia belongs, whose projects change their names. It
// shows them to everybody who has a key.
type renaming struct {
	mu       sync.Mutex
	projects map[string]int // name -> number
	old      bool           // it does not know internalId
	down     bool
	asked    int // about projects
}

func (s *renaming) set(change func(*renaming)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

func (s *renaming) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var q struct {
		Query     string
		Variables map[string]string
	}
	json.NewDecoder(r.Body).Decode(&q)
	w.Header().Set("Content-Type", "application/json")
	const vision = `{"name":"vision","isTeam":true,"readOnly":false,"readOnlyAdmin":false}`
	switch {
	case s.down:
		w.WriteHeader(http.StatusBadGateway)
	case strings.Contains(q.Query, "internalId") && s.old:
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"errors":[{"message":"Cannot query field \"internalId\" on type \"Project\"."}]}`)
	case strings.Contains(q.Query, "GatewayViewer"):
		fmt.Fprint(w, `{"data":{"viewer":{"id":"VXNlcjox","username":"mia","entity":"mia","email":"mia@acme.test","admin":false,"teams":{"edges":[{"node":{"name":"vision"}}]}}}}`)
	case strings.Contains(q.Query, "GatewayProject"):
		s.asked++
		project := "null"
		if number, ok := s.projects[q.Variables["project"]]; ok {
			project = fmt.Sprintf(`{"name":%q,"access":"PRIVATE","readOnly":false,"entity":%s`, q.Variables["project"], vision)
			if strings.Contains(q.Query, "internalId") {
				project += fmt.Sprintf(`,"internalId":"%d"`, number)
			}
			project += "}"
		}
		fmt.Fprintf(w, `{"data":{"project":%s,"entity":%s}}`, project, vision)
	default:
		fmt.Fprint(w, `{"data":{"entity":{"members":[]}}}`)
	}
}

// behind returns `directory wandb` in front of the server, with or without an administrator's key, and mia as its
// caller.
func behind(t *testing.T, s *renaming, asAdmin bool) (*facts.Wandb, *upstream.Directory, gateway.Caller) {
	t.Helper()
	c := upstream.Config{URL: &url.URL{Scheme: "http", Host: "wandb.internal"}, Client: &http.Client{Transport: roundTripper{s}}, Organization: "acme"}
	if asAdmin {
		c.AdminKey = iam.NewSecret(key("root"))
	}
	u, err := upstream.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	_, local := localFacts(t)
	w := facts.NewWandb(local, u, authz.Settings{})
	mia := gateway.Caller{Credential: iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key("mia"))}}
	if mia.Principal, err = w.Identify(t.Context(), mia.Credential); err != nil {
		t.Fatal(err)
	}
	return w, u, mia
}

// An id that an answer told lies in the project of that name for as long as the project has it: the name of
// one that was renamed is nobody's, and then another's, and says nothing of the id any more.
func TestRenamedProjectsKeepTheirIDs(t *testing.T) {
	kept := []wandb.IDType{wandb.IDSweep, wandb.IDAgent, wandb.IDRunQueue, wandb.IDArtifactManifest, wandb.IDProject, wandb.IDFile}
	for name, tt := range map[string]struct {
		old    bool // the server does not tell numbers
		closed bool // no api_key
		rename func(*renaming)
		placed bool // by the old name
	}{
		"not renamed":                   {rename: func(s *renaming) { s.projects["other"] = 43 }, placed: true},
		"renamed":                       {rename: func(s *renaming) { s.projects = map[string]int{"new": 42} }},
		"the name is another's":         {rename: func(s *renaming) { s.projects = map[string]int{"new": 42, "p": 43} }},
		"the same, without api_key":     {closed: true, rename: func(s *renaming) { s.projects = map[string]int{"new": 42, "p": 43} }},
		"a server that tells nothing":   {old: true, rename: func(s *renaming) { s.projects = map[string]int{"new": 42, "p": 43} }, placed: true},
		"the project is hidden, no key": {closed: true, rename: func(s *renaming) { s.projects = nil }, placed: true}, // judged as what the caller is shown
	} {
		t.Run(name, func(t *testing.T) {
			s := &renaming{projects: map[string]int{"p": 42}, old: tt.old}
			w, u, mia := behind(t, s, !tt.closed)
			learn := func(project string) {
				t.Helper()
				var learned []wandb.Learned
				for _, sort := range kept {
					learned = append(learned, wandb.Placed{ID: "X", IDType: sort, Entity: "vision", Project: project})
				}
				if err := w.Learn(t.Context(), mia, learned); err != nil {
					t.Fatal(err)
				}
			}
			wantPlaces := func(want string) {
				t.Helper()
				for _, sort := range kept {
					entity, project, err := w.Place(t.Context(), mia, sort, "X")
					switch {
					case want == "" && iam.KindOf(err) != iam.KindNotFound:
						t.Errorf("%s: %s/%s, %v, want no place", sort, entity, project, err)
					case want != "" && (err != nil || entity != "vision" || project != want):
						t.Errorf("%s: %s/%s, %v, want %s", sort, entity, project, err, want)
					}
				}
			}
			learn("p")
			wantPlaces("p")
			s.set(tt.rename)
			u.Forget("vision", "p") // hits have passed
			if !tt.placed {
				wantPlaces("")
				s.set(func(s *renaming) { s.asked = 0 })
				wantPlaces("")
				if s.asked > 0 {
					t.Errorf("of what is known to be elsewhere the server was asked %d times", s.asked)
				}
				learn("new") // somebody looks at it
				wantPlaces("new")
				return
			}
			wantPlaces("p")
			s.set(func(s *renaming) { s.down = true })
			u.Forget("vision", "p")
			if _, _, err := w.Place(t.Context(), mia, wandb.IDSweep, "X"); !tt.old && iam.KindOf(err) != iam.KindUnavailable {
				t.Errorf("while the server is away: %v", err)
			}
		})
	}
}

// What was made or renamed a moment ago is not refused for what was remembered of its name.
func TestNewProjectsPlaceTheirIDs(t *testing.T) {
	s := &renaming{projects: map[string]int{}}
	w, _, mia := behind(t, s, true)
	for number := range 3 { // made, and made again under the same name
		if f, err := w.Facts(t.Context(), mia, "vision", "p"); err != nil || (f.Project != nil) != (number > 0) {
			t.Fatalf("%+v, %v", f.Project, err)
		}
		s.set(func(s *renaming) { s.projects["p"] = 42 + number })
		if err := w.Learn(t.Context(), mia, []wandb.Learned{wandb.Placed{ID: "X", IDType: wandb.IDAgent, Entity: "vision", Project: "p"}}); err != nil {
			t.Fatal(err)
		}
		if _, project, err := w.Place(t.Context(), mia, wandb.IDAgent, "X"); err != nil || project != "p" {
			t.Errorf("%q, %v", project, err)
		}
	}
}
