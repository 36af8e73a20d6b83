package facts_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/facts"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/standin"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// key returns somebody's API key at the server.
func key(name string) string { return fmt.Sprintf("local-%040x", name) }

// server is a W&B server that keeps the record: mia and the service account ci work in vision, otto
// in audio.
func server(t testing.TB) *standin.Server {
	t.Helper()
	s, err := standin.New(standin.Config{
		Organization: "acme",
		Users: []standin.User{
			{Username: "mia", Email: "mia@acme.test", Keys: []string{key("mia")}},
			{Username: "otto", Email: "otto@acme.test", Keys: []string{key("otto")}},
		},
		Teams: []standin.Team{
			{Name: "vision", Members: []standin.Member{{User: "mia"}}, ServiceAccounts: []standin.ServiceAccount{{Name: "ci", Keys: []string{key("ci")}}}},
			{Name: "audio", Members: []standin.Member{{User: "otto"}}},
		},
		Projects: []standin.Project{
			{Entity: "vision", Name: "p", Access: "PRIVATE"},
			{Entity: "audio", Name: "open", Access: "USER_WRITE"},
			{Entity: "audio", Name: "p", Access: "PRIVATE"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

type roundTripper struct{ http.Handler }

// RoundTrip implements http.RoundTripper.
func (h roundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result(), nil
}

// wandbFacts returns `directory wandb` in front of a server.
func wandbFacts(t testing.TB, s http.Handler) *facts.Wandb {
	t.Helper()
	_, local := localFacts(t)
	return beside(t, local, s)
}

// beside returns `directory wandb` in front of a server, beside a directory of the gateway's own.
func beside(t testing.TB, local *facts.Local, s http.Handler) *facts.Wandb {
	t.Helper()
	u, err := upstream.New(upstream.Config{
		URL: &url.URL{Scheme: "http", Host: "wandb.internal"}, Client: &http.Client{Transport: roundTripper{s}}, Organization: "acme",
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { u.Close() })
	return facts.NewWandb(local, u, authz.Settings{})
}

// localFacts returns `directory local` and its directory, which is empty.
func localFacts(t testing.TB) (*directory.Directory, *facts.Local) {
	t.Helper()
	d, local, _ := cachedFacts(t)
	return d, local
}

// cachedFacts is localFacts with the cache, for who ends it.
func cachedFacts(t testing.TB) (*directory.Directory, *facts.Local, *hotcache.Cache) {
	t.Helper()
	store, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	cache, err := hotcache.New(hotcache.Config{Store: store, Space: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	d, err := directory.New(directory.Config{Cache: cache, Organization: "acme", HMACKey: [32]byte{1}})
	if err != nil {
		t.Fatal(err)
	}
	return d, facts.NewLocal(d, cache, noTokens{}, nil, nil), cache
}

// noTokens knows no token: the server may.
type noTokens struct{}

func (noTokens) Identify(context.Context, iam.Secret) (*iam.Principal, error) {
	return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: tokenexchange.ReasonForeign, Err: tokenexchange.ErrForeign}
}

// proxy stands for the reverse proxy: it hands on what the gateway let through.
type proxy struct{ to http.Handler }

// ServeHTTP implements gateway.Handler.
func (p proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	p.to.ServeHTTP(w, r)
	return nil
}

// A run that a service account of the server's submits for a person through the gateway belongs to
// that person at the server, and one that names anybody else to the account itself; the event says
// which. A person's run is the person's, whatever they claim.
func TestRunsOfServiceAccountsBelongToWhomTheyName(t *testing.T) {
	s := server(t)
	w := wandbFacts(t, s)
	reader, err := wandb.NewReader(wandb.ReaderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	var event gateway.Event
	g, err := gateway.New(gateway.Config{
		Directory: w, Reader: reader, Tickets: gateway.NewTickets([32]byte{7}), UpstreamCredential: gateway.UpstreamPassthrough,
		Host: gateway.Host{Report: func(_ *http.Request, e *gateway.Event) { event = *e }},
	})
	if err != nil {
		t.Fatal(err)
	}
	const upsert = `mutation Upsert($entity: String, $project: String, $run: String) {
		upsertBucket(input: {entityName: $entity, modelName: $project, name: $run}) { bucket { id user { username } } } }`
	tests := []struct {
		caller, entity, project, username, email string

		owner, attributed string
		dropped           bool
	}{
		{"ci", "vision", "p", "mia", "", "mia", "mia", false},
		{"ci", "vision", "p", "", "MIA@acme.test", "mia", "mia", false},
		{"ci", "vision", "p", "mia@acme.test", "otto@acme.test", "mia", "mia", false},
		{"ci", "vision", "p", "", "", "ci", "", false},
		{"ci", "vision", "p", "otto", "", "ci", "", true},
		{"ci", "vision", "p", "ci", "", "ci", "", true},
		{"ci", "vision", "new", "mia", "", "mia", "mia", false},
		{"ci", "", "p", "mia", "", "mia", "mia", false},
		{"ci", "audio", "open", "mia", "", "mia", "mia", false},
		{"ci", "audio", "open", "otto", "", "ci", "", true},
		{"mia", "vision", "p", "otto", "otto@acme.test", "mia", "", true},
	}
	for i, tt := range tests {
		t.Run(fmt.Sprintf("%s in %s-%s for %s %s", tt.caller, tt.entity, tt.project, tt.username, tt.email), func(t *testing.T) {
			variables := map[string]string{"project": tt.project, "run": fmt.Sprintf("run-%d", i)}
			if tt.entity != "" {
				variables["entity"] = tt.entity
			}
			answer := send(t, g, s, tt.caller, upsert, variables, tt.username, tt.email)
			var got struct {
				Data struct {
					UpsertBucket struct {
						Bucket struct{ User struct{ Username string } }
					}
				}
			}
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil || answer.Code != http.StatusOK {
				t.Fatalf("%d %s (%v)", answer.Code, answer.Body, err)
			}
			if owner := got.Data.UpsertBucket.Bucket.User.Username; owner != tt.owner {
				t.Errorf("the run belongs to %q, want %q", owner, tt.owner)
			}
			attributed := ""
			if event.Attributed != nil {
				attributed = event.Attributed.Username
			}
			if attributed != tt.attributed || event.AttributionDropped != tt.dropped {
				t.Errorf("event: attributed %q, dropped %t; want %q, %t", attributed, event.AttributionDropped, tt.attributed, tt.dropped)
			}
			if event.Principal.IsServiceAccount() != (tt.caller == "ci") {
				t.Errorf("event: principal %s", event.Principal.Ref)
			}
		})
	}
	refused := send(t, g, s, "ci", upsert, map[string]string{"entity": "audio", "project": "p", "run": "x"}, "otto", "")
	if refused.Code == http.StatusOK || event.Effect != authz.Deny {
		t.Errorf("a run in another team's project: %d %s", refused.Code, refused.Body)
	}
	// What an upload ticket holds is found again.
	if p, err := w.Principal(t.Context(), event.Principal.Ref); err != nil || p.Username != "ci" {
		t.Errorf("%+v, %v", p, err)
	}
}

func send(t *testing.T, g *gateway.Gateway, to http.Handler, caller, query string, variables map[string]string, username, email string) *httptest.ResponseRecorder {
	t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables})
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/graphql", bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header["X-Wandb-Username"], r.Header["X-Wandb-User-Email"] = []string{username}, []string{email}
	r.SetBasicAuth("api", key(caller))
	w := httptest.NewRecorder()
	if err := g.ServeHTTP(w, r, proxy{to}); err != nil {
		t.Fatal(err)
	}
	return w
}

// An account that could be the organization's names members of the team that it writes to. A
// person's own entity has none.
func TestDestinationDecidesForAccountsOfTheOrganization(t *testing.T) {
	w := wandbFacts(t, server(t))
	c := iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key("ci"))}
	p, err := w.Identify(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	several := *p
	several.Scope = iam.TeamRef{}
	who := gateway.Caller{Principal: &several, Credential: c}
	for destination, want := range map[*iam.Entity]bool{
		nil: true, // the default team
		{ID: upstream.TeamID("vision").Entity(), Name: "vision"}:      true,
		{ID: upstream.TeamID("audio").Entity(), Name: "audio"}:        false,
		{ID: iam.UserID("usr_up:x").PersonalEntity(), Name: "vision"}: false,
		{ID: iam.EntityID("something else"), Name: "vision"}:          false,
		{ID: upstream.TeamID("nowhere").Entity(), Name: "nowhere"}:    false,
	} {
		person, err := w.Attribute(t.Context(), who, destination, iam.Attribution{Username: "mia"})
		if err != nil || (person != nil) != want {
			t.Errorf("%+v: %+v, %v, want somebody: %t", destination, person, err, want)
		}
	}
}
