package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// A key that works at the server works through the gateway, and no other: for every caller and
// project of a small deployment, Decide on our facts comes to what the server does when the same
// key reads the project and submits a run to it.
func TestDecideDoesWhatTheServerDoes(t *testing.T) {
	config := standin.Config{Organization: "acme", Teams: []standin.Team{
		{Name: "vision", Members: []standin.Member{{User: "anna", Role: "admin"}, {User: "mia", Role: "member"}, {User: "vera", Role: "viewer"}},
			ServiceAccounts: []standin.ServiceAccount{{Name: "ci-vision", Keys: []string{callerKey("ci-vision")}}}},
		{Name: "audio"},
	}}
	callers := []string{"anna", "mia", "vera", "otto"}
	for _, name := range callers {
		config.Users = append(config.Users, standin.User{Username: name, Keys: []string{callerKey(name)}})
	}
	callers = append(callers, "ci-vision")
	config.Users = append(config.Users, standin.User{Username: "root", Admin: true, Keys: []string{rootKey}})
	names := []string{"restricted", "invited", "new"}
	for name, access := range map[string]string{"open": "USER_WRITE", "public": "USER_READ", "team": "PRIVATE", "restricted": "RESTRICTED"} {
		if name != "restricted" {
			names = append(names, name)
		}
		config.Projects = append(config.Projects, standin.Project{Entity: "vision", Name: name, Access: access, Owner: "anna"})
	}
	config.Projects = append(config.Projects, standin.Project{Entity: "vision", Name: "invited", Access: "RESTRICTED", Members: []string{"mia", "vera", "ci-vision"}})
	server, err := standin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	d := directory(t, transport(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Result(), nil
	}), withAdmin)
	for _, caller := range callers {
		for _, name := range names {
			t.Run(caller+" "+name, func(t *testing.T) {
				c := apiKey(callerKey(caller))
				p, err := d.PrincipalByCredential(t.Context(), c)
				if err != nil {
					t.Fatal(err)
				}
				if p.IsServiceAccount() != (caller == "ci-vision") {
					t.Errorf("%s is taken for %s", caller, p.Ref)
				}
				// Asked before the server is: a run to "new" creates it.
				f, err := d.Facts(t.Context(), p, c, "vision", name)
				if err != nil {
					t.Fatal(err)
				}
				if name != "new" {
					shows := serverAllows(t, server, caller, fmt.Sprintf(`{ result: project(name: %q, entityName: "vision") { id } }`, name))
					if got := mayRead(f); got != shows {
						t.Errorf("read: %t, the server %t", got, shows)
					}
				}
				project := name
				if name == "new" {
					project = "new-of-" + caller
				}
				takes := serverAllows(t, server, caller, fmt.Sprintf(`mutation { result: upsertBucket(input: {entityName: "vision", modelName: %q, name: "run-%s"}) { bucket { id } } }`, project, caller))
				got := authz.Decide(authz.Request{Permission: authz.RunWrite}, f)
				if got.Allowed() != takes {
					t.Errorf("write: %t (%s), the server %t", got.Allowed(), got.Reason, takes)
				}
			})
		}
	}
	_, err = d.PrincipalByCredential(t.Context(), apiKey(callerKey("nobody")))
	wantKind(t, err, iam.KindUnauthenticated)
}

// A claim holds here when it holds at the server: the run that a service account submits with the
// name that Attribute gave belongs to the same user as the one it submits with the claim itself. A
// person's claim changes nothing in either place.
func TestAttributionFollowsTheServer(t *testing.T) {
	server, err := standin.New(standin.Config{
		Organization: "acme",
		Users: []standin.User{
			{Username: "mia", Email: "mia@acme.test", Keys: []string{callerKey("mia")}},
			{Username: "otto", Email: "otto@acme.test", Keys: []string{callerKey("otto")}},
			{Username: "root", Admin: true, Keys: []string{rootKey}},
		},
		Teams: []standin.Team{
			{Name: "vision", Members: []standin.Member{{User: "mia"}}, ServiceAccounts: []standin.ServiceAccount{
				{Name: "ci-vision", Keys: []string{callerKey("ci-vision")}}, {Name: "ci-other", Keys: []string{callerKey("ci-other")}}}},
			{Name: "audio", Members: []standin.Member{{User: "otto"}}},
		},
		Projects: []standin.Project{
			{Entity: "vision", Name: "p", Access: "PRIVATE"},
			{Entity: "audio", Name: "p", Access: "USER_WRITE"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := directory(t, transport(func(r *http.Request) (*http.Response, error) {
		w := httptest.NewRecorder()
		server.ServeHTTP(w, r)
		return w.Result(), nil
	}))
	tests := []struct {
		caller, entity string
		claim          string
		want           string // who is named; "" for nobody
	}{
		{"ci-vision", "vision", "mia", "mia"},
		{"ci-vision", "vision", "mia@acme.test", "mia"},
		{"ci-vision", "vision", "otto", ""},
		{"ci-vision", "vision", "nobody", ""},
		{"ci-vision", "audio", "mia", "mia"}, // ATTR-8
		{"ci-vision", "audio", "otto", ""},
		{"mia", "vision", "otto", ""},
		{"otto", "audio", "mia", ""},
	}
	for _, tt := range tests {
		t.Run(tt.caller+" in "+tt.entity+" for "+tt.claim, func(t *testing.T) {
			c := apiKey(callerKey(tt.caller))
			p := principal(t, d, c)
			if service := strings.HasPrefix(tt.caller, "ci-"); p.IsServiceAccount() != service {
				t.Fatalf("%s, want a service account: %t", p.Ref, service)
			}
			person, err := d.Attribute(t.Context(), p, c, tt.entity, iam.Attribution{Username: tt.claim})
			if err != nil {
				t.Fatal(err)
			}
			named := ""
			if person != nil {
				named = person.Username
			}
			if named != tt.want {
				t.Errorf("named %q, want %q", named, tt.want)
			}
			if got, want := runOwner(t, server, tt.caller, tt.entity, named), runOwner(t, server, tt.caller, tt.entity, tt.claim); got != want {
				t.Errorf("the run belongs to %q, without the gateway to %q", got, want)
			}
		})
	}
}

// runOwner submits a run in somebody's name and returns whose the server takes it for.
func runOwner(t *testing.T, server http.Handler, caller, entity, onBehalf string) string {
	t.Helper()
	document := fmt.Sprintf(`mutation { result: upsertBucket(input: {entityName: %q, modelName: "p", name: %q}) { bucket { user { username } } } }`, entity, caller+"-"+strconv.Itoa(rand.Int()))
	body, err := json.Marshal(map[string]string{"query": document})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Wandb-Username", onBehalf)
	r.SetBasicAuth("api", callerKey(caller))
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	var answered struct {
		Data struct {
			Result struct {
				Bucket struct {
					User struct{ Username string }
				}
			}
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &answered); err != nil || answered.Data.Result.Bucket.User.Username == "" {
		t.Fatalf("%v: %s", err, w.Body)
	}
	return answered.Data.Result.Bucket.User.Username
}

func callerKey(name string) string { return fmt.Sprintf("local-%040x", name) }

// serverAllows reports whether the server gives the caller a result.
func serverAllows(t *testing.T, server http.Handler, caller, document string) bool {
	t.Helper()
	body, err := json.Marshal(map[string]string{"query": document})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.SetBasicAuth("api", callerKey(caller))
	w := httptest.NewRecorder()
	server.ServeHTTP(w, r)
	answered, err := io.ReadAll(w.Result().Body)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := parseReply(answered)
	if err != nil {
		t.Fatalf("%s: %v", answered, err)
	}
	return w.Code == http.StatusOK && len(reply.Errors) == 0 && !isNull(reply.Data["result"])
}
