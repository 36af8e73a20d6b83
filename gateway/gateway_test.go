package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// world is a Directory made by hand: a team `vision` with projects of every visibility, and people.
type world struct {
	principals map[string]*iam.Principal // by key
	projects   map[string]*iam.Project   // by entity/name
	down       error                     // what every question is answered with, if set
	learned    []wandb.Learned
	learnError error
	network    netip.Prefix // of the last credential
}

var (
	vision = iam.Entity{ID: "team_vision", Name: "vision"}
	speech = iam.Entity{ID: "team_speech", Name: "speech"}
)

func newWorld() *world {
	member := func(name string, e iam.Entity, role iam.Role) *iam.Principal {
		return &iam.Principal{
			Ref: iam.UserID("usr_" + name).Ref(), Organization: "acme", Username: name, Email: name + "@acme.test", Active: true,
			Role: iam.OrganizationMember, ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull, DefaultEntity: e.Name,
			Teams: []iam.Membership{{TeamRef: iam.TeamRef{ID: iam.TeamID(e.ID), Name: e.Name}, Role: role}},
		}
	}
	w := &world{principals: map[string]*iam.Principal{
		"alice-key": member("alice", vision, iam.RoleMember),
		"vera-key":  member("vera", vision, iam.RoleViewer),
		"bob-key":   member("bob", speech, iam.RoleMember),
		"ci-key": {
			Ref: iam.ServiceAccountID("sa_ci").Ref(), Organization: "acme", Username: "ci-train", Active: true,
			Scope: iam.TeamRef{ID: iam.TeamID(vision.ID), Name: vision.Name}, DefaultEntity: vision.Name,
		},
	}, projects: map[string]*iam.Project{}}
	for _, v := range []iam.Visibility{iam.VisibilityOpen, iam.VisibilityPublic, iam.VisibilityTeam, iam.VisibilityRestricted} {
		w.projects["vision/"+v.String()] = &iam.Project{ID: iam.ProjectID("prj_" + v.String()), Entity: vision.ID, Name: v.String(), Visibility: v}
	}
	return w
}

func (w *world) Identify(_ context.Context, c iam.Credential) (*iam.Principal, error) {
	w.network = c.Network
	if w.down != nil {
		return nil, w.down
	}
	if p, ok := w.principals[c.Secret.Reveal()]; ok {
		return p, nil
	}
	return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonUnknownCredential, Message: "unknown key"}
}

func (w *world) Principal(_ context.Context, ref iam.PrincipalRef) (*iam.Principal, error) {
	for _, p := range w.principals {
		if p.Ref == ref {
			return p, nil
		}
	}
	return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonUnknownCredential, Message: "gone"}
}

func (w *world) Facts(_ context.Context, who Caller, entity, project string) (authz.Facts, error) {
	f := authz.Facts{Principal: who.Principal, Organization: "acme", ProjectName: project}
	for _, e := range []iam.Entity{vision, speech} {
		if e.Name == entity {
			f.Entity, f.Project = &e, w.projects[entity+"/"+project]
		}
	}
	return f, w.down
}

func (w *world) Place(_ context.Context, _ Caller, _ wandb.IDType, id string) (string, string, error) {
	if strings.HasPrefix(id, "team-") {
		return "vision", "team", nil
	}
	return "", "", iam.NotFoundf("nowhere")
}

func (w *world) Attribute(_ context.Context, _ Caller, _ *iam.Entity, claim iam.Attribution) (*iam.Principal, error) {
	if claim.Username == "alice" {
		return w.principals["alice-key"], nil
	}
	return nil, nil
}

func (w *world) Learn(_ context.Context, _ Caller, learned []wandb.Learned) error {
	w.learned = append(w.learned, learned...)
	return w.learnError
}

// upstream notes the last request and answers as told.
type upstream struct {
	request *http.Request
	body    string
	status  int
	answer  string
	header  http.Header
}

func (u *upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) error {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	r.Body.Close()
	u.request, u.body = r, string(b)
	w.Header().Set("Content-Type", "application/json")
	for name, values := range u.header {
		w.Header()[name] = values
	}
	w.WriteHeader(u.status)
	_, err = io.WriteString(w, u.answer)
	return err
}

// scene is a gateway with its world and its upstream.
type scene struct {
	*testing.T
	world    *world
	upstream *upstream
	config   Config
	event    *Event
}

func newScene(t *testing.T) *scene {
	s := &scene{T: t, world: newWorld(), upstream: &upstream{status: 200, answer: `{"data":{}}`}}
	reader, err := wandb.NewReader(wandb.ReaderConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s.config = Config{
		Directory: s.world, Reader: reader, Tickets: NewTickets([32]byte{7}), OwnIdentity: true,
		Host: Host{Report: func(_ *http.Request, e *Event) {
			kept := *e
			s.event = &kept
		}},
	}
	return s
}

// do sends a request through a gateway of the scene's configuration. A nil header of the upstream's
// request means that nothing was forwarded.
func (s *scene) do(method, target, key, body string, header http.Header) *httptest.ResponseRecorder {
	s.Helper()
	g, err := New(s.config)
	if err != nil {
		s.Fatal(err)
	}
	s.upstream.request = nil
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Host = "gw.test"
	for name, values := range header {
		r.Header[name] = values
	}
	if key != "" {
		r.SetBasicAuth("api", key)
	}
	w := httptest.NewRecorder()
	if err := g.ServeHTTP(w, r, s.upstream); err != nil {
		s.Fatal(err)
	}
	return w
}

func (s *scene) graphQL(key, query, variables string) *httptest.ResponseRecorder {
	s.Helper()
	quoted, _ := json.Marshal(query)
	body := `{"query":` + string(quoted) + `,"variables":` + variables + `,"operationName":""}`
	return s.do("POST", "/graphql", key, body, http.Header{"Content-Type": {"application/json"}})
}

// refused checks that nothing was forwarded and how the caller was told.
func (s *scene) refused(w *httptest.ResponseRecorder, status int, reason iam.Reason) {
	s.Helper()
	if s.upstream.request != nil {
		s.Errorf("forwarded %s %s", s.upstream.request.Method, s.upstream.request.URL)
	}
	if w.Code != status {
		s.Errorf("status %d, want %d: %s", w.Code, status, w.Body)
	}
	var body struct {
		Errors []struct {
			Message    string
			Extensions struct{ Reason iam.Reason }
		}
		Error string
	}
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || len(body.Errors) != 1 || body.Errors[0].Message == "" || body.Error != body.Errors[0].Message {
		s.Fatalf("body %s (%v)", w.Body, err)
	}
	if got := body.Errors[0].Extensions.Reason; got != reason {
		s.Errorf("reason %q, want %q: %s", got, reason, body.Error)
	}
}

func (s *scene) forwarded(w *httptest.ResponseRecorder) http.Header {
	s.Helper()
	if s.upstream.request == nil {
		s.Fatalf("not forwarded: %d %s", w.Code, w.Body)
	}
	return s.upstream.request.Header
}

const upsertBucket = `mutation UpsertBucket($e: String, $p: String) { upsertBucket(input: {entityName: $e, modelName: $p, name: "r1"}) { bucket { id project { name entity { name } } } inserted } }`

func TestIdentityGoesUpstream(t *testing.T) {
	s := newScene(t)
	h := s.forwarded(s.do("POST", "/files/vision/team/r1/file_stream", "alice-key", "{}", http.Header{
		headerUser: {"mallory"}, headerAttributionName: {"bob"}, "Connection": {"X-Forwarded-User"}, "Cookie": {"a=b"},
	}))
	for name, want := range map[string]string{
		headerUser: "alice", headerEmail: "alice@acme.test", headerGroups: "vision", headerPreferredUsername: "alice",
		headerPrincipal: "user:usr_alice", headerOrganization: "acme", headerAttributionName: "alice",
		headerAttributionEmail: "alice@acme.test", "Authorization": "", "Cookie": "", "Connection": "",
	} {
		if got := strings.Join(h[name], "|"); got != want {
			t.Errorf("%s = %q, want %q", name, got, want)
		}
	}
}

func TestServiceAccountNamesAPerson(t *testing.T) {
	for _, tt := range []struct {
		name    string
		claim   http.Header
		want    string
		dropped bool
	}{
		{"member", http.Header{headerAttributionName: {"alice"}}, "alice", false},
		{"stranger", http.Header{headerAttributionName: {"bob"}}, "", true},
		{"empty, as the SDK sends", http.Header{headerAttributionName: {""}, headerAttributionEmail: {""}}, "", false},
		{"two lines", http.Header{headerAttributionName: {"alice", "alice"}}, "", false},
		{"none", nil, "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			h := s.forwarded(s.do("POST", "/files/vision/team/r1/file_stream", "ci-key", "{}", tt.claim))
			if got := strings.Join(h[headerAttributionName], "|"); got != tt.want {
				t.Errorf("attributed to %q, want %q", got, tt.want)
			}
			if h[headerUser][0] != "ci-train" || h[headerEmail] != nil || h[headerGroups][0] != "vision" {
				t.Errorf("identity %q %q %q", h[headerUser], h[headerEmail], h[headerGroups])
			}
			if s.event.AttributionDropped != tt.dropped {
				t.Errorf("dropped %t, want %t", s.event.AttributionDropped, tt.dropped)
			}
		})
	}
}

func TestUpstreamCredential(t *testing.T) {
	t.Run("api_key", func(t *testing.T) {
		s := newScene(t)
		s.config.UpstreamCredential, s.config.ServiceKey = UpstreamAPIKey, iam.NewSecret("svc")
		h := s.forwarded(s.do("GET", "/files/vision/team/r1/a.txt", "alice-key", "", nil))
		if h.Get("Authorization") != basic("api", "svc") {
			t.Errorf("Authorization %q", h.Get("Authorization"))
		}
	})
	t.Run("api_key is not lent to nobody", func(t *testing.T) {
		s := newScene(t)
		s.config.UpstreamCredential, s.config.ServiceKey, s.config.Shadow = UpstreamAPIKey, iam.NewSecret("svc"), true
		h := s.forwarded(s.do("GET", "/files/vision/team/r1/a.txt", "wrong-key", "", nil))
		if h.Get("Authorization") != "" {
			t.Errorf("Authorization %q", h.Get("Authorization"))
		}
	})
	t.Run("passthrough", func(t *testing.T) {
		s := newScene(t)
		s.config.UpstreamCredential = UpstreamPassthrough
		s.world.principals["alice-key"].FromUpstream = true
		h := s.forwarded(s.do("GET", "/files/vision/team/r1/a.txt", "alice-key", "", http.Header{"Cookie": {"session=bob"}}))
		if h.Get("Authorization") != basic("api", "alice-key") || h.Get("Cookie") != "" {
			t.Errorf("Authorization %q, Cookie %q", h.Get("Authorization"), h.Get("Cookie"))
		}
	})
	t.Run("passthrough of a local credential", func(t *testing.T) {
		s := newScene(t)
		s.config.UpstreamCredential = UpstreamPassthrough
		s.refused(s.do("GET", "/files/vision/team/r1/a.txt", "ci-key", "", nil), 403, ReasonLocalCredential)
	})
}

// storedKeys are the keys that are kept, by principal; down is what every question is answered with.
type storedKeys struct {
	of    map[string]string
	down  error
	asked int
}

func (k *storedKeys) Authorization(_ context.Context, p *iam.Principal) (string, error) {
	k.asked++
	return k.of[p.Username], k.down
}

func perUser(t *testing.T) (*scene, *storedKeys) {
	s := newScene(t)
	k := &storedKeys{of: map[string]string{"alice": basic("api", "alice-at-server"), "ci-train": basic("api", "vision-at-server")}}
	s.config.UpstreamCredential, s.config.UpstreamKeys = UpstreamPerUser, k
	return s, k
}

func TestStoredKeysGoUpstream(t *testing.T) {
	t.Run("each caller's own", func(t *testing.T) {
		s, k := perUser(t)
		for key, name := range map[string]string{"alice-key": "alice", "ci-key": "ci-train"} {
			h := s.forwarded(s.do("GET", "/files/vision/team/r1/a.txt", key, "", http.Header{"Cookie": {"session=bob"}}))
			if h.Get("Authorization") != k.of[name] || h.Get("Cookie") != "" || h.Get(headerUser) != name {
				t.Errorf("%s: Authorization %q, Cookie %q", name, h.Get("Authorization"), h.Get("Cookie"))
			}
			h = s.forwarded(s.graphQL(key, upsertBucket, `{"e":"vision","p":"team"}`))
			if h.Get("Authorization") != k.of[name] {
				t.Errorf("%s, GraphQL: Authorization %q", name, h.Get("Authorization"))
			}
		}
	})
	t.Run("none stored", func(t *testing.T) {
		s, _ := perUser(t)
		for _, tt := range []struct {
			key, team string
			signIn    *SignIn
			says      string
		}{
			{"vera-key", "", nil, "iam upstream-key set --user vera"},
			{"vera-key", "", &SignIn{}, "Store yours at http://gw.test/authorize"},
			{"ci-key", "vision", nil, "iam upstream-key set --team vision"},
			{"ci-key", "", nil, "its team is not there any more"},
		} {
			s.config.UpstreamKeys = &storedKeys{}
			s.config.SignIn = tt.signIn
			s.world.principals["ci-key"].Home = iam.TeamRef{ID: "team_vision", Name: tt.team}
			w := s.do("GET", "/files/vision/team/r1/a.txt", tt.key, "", nil)
			s.refused(w, 403, ReasonNoUpstreamKey)
			if !strings.Contains(w.Body.String(), tt.says) {
				t.Errorf("%s does not say %q", w.Body, tt.says)
			}
			s.refused(s.graphQL(tt.key, `{project(name:"team",entityName:"vision"){id}}`, `{}`), 403, ReasonNoUpstreamKey)
		}
	})
	t.Run("what is answered here needs none", func(t *testing.T) {
		s, k := perUser(t)
		w := s.graphQL("vera-key", `{viewer{username}}`, `{}`)
		if w.Code != 200 || s.upstream.request != nil || k.asked != 0 {
			t.Errorf("%d %s, asked %d times", w.Code, w.Body, k.asked)
		}
	})
	t.Run("what was refused asks for none", func(t *testing.T) {
		s, k := perUser(t)
		s.refused(s.do("GET", "/files/vision/restricted/r1/a.txt", "alice-key", "", nil), 403, authz.ReasonRestrictedProjectNotInvited)
		if k.asked != 0 {
			t.Errorf("asked %d times", k.asked)
		}
	})
	t.Run("not with what was not judged", func(t *testing.T) {
		s, k := perUser(t)
		for _, target := range []string{"/admin/usage", "/vision/team"} {
			h := s.forwarded(s.do("GET", target, "alice-key", "", nil))
			if h.Get("Authorization") != "" || h.Get(headerUser) != "alice" {
				t.Errorf("%s: Authorization %q", target, h.Get("Authorization"))
			}
		}
		s.forwarded(s.do("OPTIONS", "/graphql", "alice-key", "", nil))
		if k.asked != 0 {
			t.Errorf("asked %d times", k.asked)
		}
	})
	t.Run("not for nobody", func(t *testing.T) {
		s, k := perUser(t)
		s.config.Shadow = true
		h := s.forwarded(s.do("GET", "/files/vision/team/r1/a.txt", "wrong-key", "", nil))
		if h.Get("Authorization") != "" || k.asked != 0 {
			t.Errorf("Authorization %q", h.Get("Authorization"))
		}
	})
	t.Run("nobody can tell", func(t *testing.T) {
		s, k := perUser(t)
		k.of, k.down = nil, iam.Unavailable("the store is away", nil)
		s.refused(s.do("GET", "/files/vision/team/r1/a.txt", "alice-key", "", nil), 503, "unavailable")
	})
	t.Run("whom the server knows shows the server's own key", func(t *testing.T) {
		s, k := perUser(t)
		s.world.principals["alice-key"].FromUpstream = true
		h := s.forwarded(s.do("GET", "/files/vision/team/r1/a.txt", "alice-key", "", http.Header{"Cookie": {"session=bob"}}))
		if h.Get("Authorization") != basic("api", "alice-key") || h.Get("Cookie") != "" || k.asked != 0 {
			t.Errorf("Authorization %q, Cookie %q", h.Get("Authorization"), h.Get("Cookie"))
		}
		if h := s.forwarded(s.do("GET", "/admin/usage", "alice-key", "", nil)); h.Get("Authorization") != "" {
			t.Errorf("a page: Authorization %q", h.Get("Authorization"))
		}
	})
	t.Run("a document that walks out is judged here", func(t *testing.T) { // the stored key may see more than its owner
		s, _ := perUser(t)
		w := s.graphQL("ci-key", `{project(name:"team",entityName:"vision"){entity{projects(entityName:"speech"){edges{node{name}}}}}}`, `{}`)
		if w.Code == 200 || s.upstream.request != nil {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	})
	t.Run("a key that the server does not know", func(t *testing.T) {
		s, _ := perUser(t)
		s.world.principals["ci-key"].Home = iam.TeamRef{ID: "team_vision", Name: "vision"}
		s.upstream.status, s.upstream.answer = 401, `{"error":"the server's own words"}`
		s.upstream.header = http.Header{"Www-Authenticate": {"Basic"}}
		for key, says := range map[string]string{"alice-key": "stored for you", "ci-key": "iam upstream-key set --team vision"} {
			for _, w := range []*httptest.ResponseRecorder{
				s.do("GET", "/files/vision/team/r1/a.txt", key, "", nil), s.graphQL(key, upsertBucket, `{"e":"vision","p":"team"}`),
			} {
				s.upstream.request = nil // it was asked
				s.refused(w, 403, ReasonUpstreamKeyRefused)
				if !strings.Contains(w.Body.String(), says) || strings.Contains(w.Body.String(), "own words") || w.Header().Get("Www-Authenticate") != "" {
					t.Errorf("%s does not say %q, %v", w.Body, says, w.Header())
				}
			}
		}
		for _, status := range []int{200, 403, 404, 500, 503} {
			s.upstream.status = status
			if w := s.do("GET", "/files/vision/team/r1/a.txt", "alice-key", "", nil); w.Code != status || !strings.Contains(w.Body.String(), "own words") {
				t.Errorf("%d became %d %s", status, w.Code, w.Body)
			}
		}
		s.upstream.status = 401 // about what the gateway did not add
		if w := s.do("GET", "/admin/usage", "alice-key", "", nil); w.Code != 401 {
			t.Errorf("a page: %d", w.Code)
		}
		s.world.principals["alice-key"].FromUpstream = true
		if w := s.do("GET", "/files/vision/team/r1/a.txt", "alice-key", "", nil); w.Code != 401 {
			t.Errorf("the caller's own key: %d", w.Code)
		}
	})
	t.Run("a question of the gateway's own", func(t *testing.T) {
		s, k := perUser(t)
		x := &exchange{g: &Gateway{Config: s.config}, r: httptest.NewRequest("POST", "/graphql", nil), caller: Caller{Principal: s.world.principals["ci-key"]}, next: s.upstream}
		if _, err := x.ask(t.Context(), []byte(`{}`)); err != nil || s.upstream.request.Header.Get("Authorization") != k.of["ci-train"] {
			t.Errorf("%v, Authorization %q", err, s.upstream.request.Header)
		}
		s.upstream.status = 401
		if _, err := x.ask(t.Context(), []byte(`{}`)); iam.ReasonOf(err) != ReasonUpstreamKeyRefused {
			t.Errorf("%v", err)
		}
		x.caller.Principal = s.world.principals["vera-key"]
		if _, err := x.ask(t.Context(), []byte(`{}`)); iam.ReasonOf(err) != ReasonNoUpstreamKey {
			t.Errorf("%v", err)
		}
	})
	if _, err := New(Config{Directory: newWorld(), Reader: new(wandb.Reader), Tickets: new(Tickets), UpstreamCredential: UpstreamPerUser}); err == nil {
		t.Error("a gateway without keys to show is made")
	}
}

// statements say who calls in a form that a test can read.
type statements struct{ down error }

func (s statements) Assertion(r *http.Request, p, worksFor *iam.Principal) (string, error) {
	text := r.Host + " " + p.Username
	if worksFor != nil {
		text += " for " + worksFor.Username
	}
	return text, s.down
}

func TestAssertionGoesUpstream(t *testing.T) {
	s := newScene(t)
	s.config.Assertions = statements{}
	underscored := strings.ReplaceAll(headerAssertion, "-", "_")
	forged := http.Header{headerAssertion: {"evil"}, underscored: {"evil"}, headerAttributionName: {"alice"}}
	for _, tt := range []struct{ method, target, key, body, want string }{
		{"GET", "/files/vision/team/r1/a.txt", "alice-key", "", "gw.test alice"},
		{"POST", "/files/vision/team/r1/file_stream", "ci-key", "{}", "gw.test ci-train for alice"},
		{"GET", "/some/page", "alice-key", "", "gw.test alice"},
		{"OPTIONS", "/graphql", "alice-key", "", ""},
	} {
		h := s.forwarded(s.do(tt.method, tt.target, tt.key, tt.body, forged))
		if got := strings.Join(h[headerAssertion], "|"); got != tt.want || h[underscored] != nil {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.target, got, tt.want)
		}
	}
	h := s.forwarded(s.graphQL("alice-key", upsertBucket, `{"e":"vision","p":"team"}`))
	if h.Get(headerAssertion) != "gw.test alice" {
		t.Errorf("GraphQL: %q", h.Get(headerAssertion))
	}
	s.config.Shadow = true
	if h := s.forwarded(s.do("GET", "/some/page", "", "", forged)); h[headerAssertion] != nil {
		t.Errorf("nobody has %q", h[headerAssertion])
	}
	s.config.Shadow, s.config.Assertions = false, statements{iam.Unavailable("no key to sign with", nil)}
	s.refused(s.do("GET", "/files/vision/team/r1/a.txt", "alice-key", "", nil), 503, "unavailable")
	s.config.Assertions = nil
	if h := s.forwarded(s.do("GET", "/some/page", "alice-key", "", forged)); h[headerAssertion] != nil {
		t.Errorf("switched off: %q", h[headerAssertion])
	}
}

// TestRefusals: what each kind of trouble is answered with, and that nothing passes.
func TestRefusals(t *testing.T) {
	for _, tt := range []struct {
		name                      string
		method, target, key, body string
		header                    http.Header
		status                    int
		reason                    iam.Reason
	}{
		{"no key", "POST", "/files/vision/team/r1/file_stream", "", "{}", nil, 401, ReasonNoCredential},
		{"unknown key", "POST", "/files/vision/team/r1/file_stream", "nope", "{}", nil, 401, ReasonUnknownCredential},
		{"stranger", "POST", "/files/vision/team/r1/file_stream", "bob-key", "{}", nil, 403, authz.ReasonTeamProject},
		{"view-only writes", "POST", "/files/vision/team/r1/file_stream", "vera-key", "{}", nil, 403, authz.ReasonViewOnly},
		{"not invited", "GET", "/files/vision/restricted/r1/x", "alice-key", "", nil, 403, authz.ReasonRestrictedProjectNotInvited},
		{"no such entity", "GET", "/files/nowhere/team/r1/x", "alice-key", "", nil, 404, authz.ReasonNotFound},
		{"unknown route", "POST", "/api/launch", "alice-key", "{}", nil, 403, ReasonUnknownRoute},
		{"page without key", "GET", "/vision/team", "", "", nil, 401, ReasonNoCredential},
		{"telemetry", "POST", "/sdk/otel/v1/metrics", "", "", nil, 404, ReasonTelemetryOff},
		{"door that is not configured", "POST", "/oidc/token", "", "", nil, 404, ReasonNotConfigured},
		{"GET of GraphQL", "GET", "/graphql", "alice-key", "", nil, 405, "method_not_allowed"},
		{"GraphQL as form", "POST", "/graphql", "alice-key", "query=x", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415, "unsupported_media_type"},
		{"GraphQL compressed", "POST", "/graphql", "alice-key", "x", http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}}, 415, "unsupported_media_type"},
		{"GraphQL in UTF-16", "POST", "/graphql", "alice-key", "x", http.Header{"Content-Type": {"application/json; charset=utf-16"}}, 415, "unsupported_media_type"},
		{"two content types", "POST", "/graphql", "alice-key", "x", http.Header{"Content-Type": {"application/json", "text/plain"}}, 415, "unsupported_media_type"},
		{"batch", "POST", "/graphql", "alice-key", "[]", http.Header{"Content-Type": {"application/json"}}, 400, wandb.ReasonBatch},
		{"CONNECT", "CONNECT", "/x", "alice-key", "", nil, 405, "method_not_allowed"},
		{"climbing", "GET", "/files/vision/team/../../x", "alice-key", "", nil, 400, wandb.ReasonNonCanonicalTarget},
		{"upload without ticket", "PUT", "/storage/x", "", "x", nil, 401, ReasonNoCredential},
		{"upload with a made-up ticket", "PUT", "/storage/x", "", "x", http.Header{TicketHeader: {"AAAA"}}, 401, ReasonBadTicket},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newScene(t)
			s.refused(s.do(tt.method, tt.target, tt.key, tt.body, tt.header), tt.status, tt.reason)
			if s.event == nil || s.event.Status != tt.status || s.event.Effect != authz.Deny {
				t.Errorf("event %+v", s.event)
			}
		})
	}
}

func TestUnavailableIsNeitherYesNorNo(t *testing.T) {
	s := newScene(t)
	s.world.down = iam.Unavailable("The directory does not answer.", errors.New("secret detail"))
	w := s.do("POST", "/files/vision/team/r1/file_stream", "alice-key", "{}", nil)
	s.refused(w, 503, "unavailable")
	if w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "secret detail") {
		t.Errorf("Retry-After %q, body %s", w.Header().Get("Retry-After"), w.Body)
	}
}

func TestBodyBound(t *testing.T) {
	s := newScene(t)
	large := strings.Repeat(" ", MaxBodyBytes+1)
	h := http.Header{"Content-Type": {"application/json"}}
	s.refused(s.do("POST", "/graphql", "alice-key", large, h), 413, ReasonBodyTooLarge)
	// The same without a length.
	g, _ := New(s.config)
	r := httptest.NewRequest("POST", "/graphql", io.MultiReader(strings.NewReader(large)))
	r.Header = h.Clone()
	r.SetBasicAuth("api", "alice-key")
	w := httptest.NewRecorder()
	if err := g.ServeHTTP(w, r, s.upstream); err != nil {
		t.Fatal(err)
	}
	s.refused(w, 413, ReasonBodyTooLarge)
}

func TestPageRefusalIsAPage(t *testing.T) {
	s := newScene(t)
	w := s.do("GET", "/vision/team", "", "", http.Header{"Accept": {"text/html"}, "Sec-Fetch-Mode": {"navigate"}})
	if w.Code != 401 || !strings.HasPrefix(w.Header().Get("Content-Type"), "text/html") || w.Header().Get("Www-Authenticate") != "" {
		t.Errorf("%d %v", w.Code, w.Header())
	}
}

func TestShadowRefusesNothing(t *testing.T) {
	s := newScene(t)
	s.config.Shadow = true
	s.forwarded(s.do("POST", "/files/vision/team/r1/file_stream", "bob-key", "{}", nil))
	if !s.event.Shadowed || s.event.Reason != authz.ReasonTeamProject || s.event.Effect != authz.Deny {
		t.Errorf("event %+v", s.event)
	}
	if h := s.forwarded(s.do("GET", "/vision/team", "", "", nil)); h.Get(headerUser) != "" || !s.event.Shadowed {
		t.Errorf("anonymous in shadow: %v %+v", h, s.event)
	}
	s.refused(s.do("POST", "/graphql", "alice-key", "[]", http.Header{"Content-Type": {"application/json"}}), 400, wandb.ReasonBatch)
}

func TestNullEntityIsFilledIn(t *testing.T) {
	s := newScene(t)
	s.forwarded(s.graphQL("alice-key", upsertBucket, `{"e":null,"p":"team"}`))
	if !strings.Contains(s.upstream.body, "vision") {
		t.Errorf("the upstream would choose an entity of its own: %s", s.upstream.body)
	}
	s.world.principals["alice-key"].DefaultEntity = ""
	s.refused(s.graphQL("alice-key", upsertBucket, `{"e":null,"p":"team"}`), 403, wandb.ReasonNoDefaultEntity)
}

func TestViewerIsAnsweredHere(t *testing.T) {
	s := newScene(t)
	w := s.graphQL("alice-key", `query Viewer { me: viewer { id entity username email flags teams { edges { node { name } } } unknown } }`, `{}`)
	if s.upstream.request != nil {
		t.Error("forwarded")
	}
	want := `{"data":{"me":{"id":"VXNlcjp1c3JfYWxpY2U=","entity":"vision","username":"alice","email":"alice@acme.test","flags":"{}","teams":{"edges":[{"node":{"name":"vision"}}]},"unknown":null}}}`
	if got := strings.TrimSpace(w.Body.String()); got != want {
		t.Errorf("answer\n got %s\nwant %s", got, want)
	}
}

func TestOwnAndForeignRootsAreMerged(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"serverInfo":{"latest":1}}}`
	w := s.graphQL("alice-key", `query Viewer { viewer { username } serverInfo { latest } }`, `{}`)
	if strings.Contains(s.upstream.body, "viewer {") || !strings.Contains(s.upstream.body, "serverInfo") {
		t.Errorf("forwarded %s", s.upstream.body)
	}
	var got struct {
		Data struct {
			Viewer     struct{ Username string }
			ServerInfo struct{ Latest int }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.Data.Viewer.Username != "alice" || got.Data.ServerInfo.Latest != 1 {
		t.Errorf("answer %s (%v)", w.Body, err)
	}
}

func TestCreatedProjectIsLearned(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"upsertBucket":{"bucket":{"id":"x","project":{"name":"fresh","entity":{"name":"vision"}}},"inserted":true}}}`
	s.forwarded(s.graphQL("alice-key", upsertBucket, `{"e":"vision","p":"fresh"}`))
	if len(s.world.learned) == 0 {
		t.Fatal("nothing was learned")
	}
	if p, ok := s.world.learned[0].(wandb.ProjectUpserted); !ok || p.Entity != "vision" || p.Project != "fresh" {
		t.Errorf("learned %+v", s.world.learned)
	}
}

// TestUnrecordedIsUnacknowledged: when the record cannot be written the client must not believe
// that it was.
func TestUnrecordedIsUnacknowledged(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"upsertBucket":{"bucket":{"id":"x","project":{"name":"fresh","entity":{"name":"vision"}}},"inserted":true}}}`
	s.upstream.header = http.Header{"Set-Cookie": {"upstream=1"}}
	s.world.learnError = iam.Unavailable("The store does not answer.", nil)
	w := s.graphQL("alice-key", upsertBucket, `{"e":"vision","p":"fresh"}`)
	if w.Code != 503 || strings.Contains(w.Body.String(), `"bucket"`) || w.Header().Get("Set-Cookie") != "" {
		t.Errorf("%d %v %s", w.Code, w.Header(), w.Body)
	}
}

func TestUploadsGetTickets(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"createRunFiles":{"runID":"x","uploadHeaders":["X-Other: 1"],"files":[{"name":"a","uploadUrl":"https://gw.test/storage/a?sig=1"}]}}}`
	const query = `mutation CreateRunFiles($entity: String!, $project: String!, $run: String!, $files: [String!]!) { createRunFiles(input: {entityName: $entity, projectName: $project, runName: $run, files: $files}) { runID uploadHeaders files { name uploadUrl } } }`
	w := s.graphQL("alice-key", query, `{"entity":"vision","project":"team","run":"r1","files":["a"]}`)
	var got struct {
		Data struct {
			CreateRunFiles struct{ UploadHeaders []string }
		}
	}
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
		t.Fatalf("%s: %v", w.Body, err)
	}
	headers := got.Data.CreateRunFiles.UploadHeaders
	if len(headers) != 2 || headers[0] != "X-Other: 1" || !strings.HasPrefix(headers[1], TicketHeader+":") {
		t.Fatalf("uploadHeaders %q", headers)
	}
	ticket := strings.TrimPrefix(headers[1], TicketHeader+":")
	h := s.forwarded(s.do("PUT", "https://gw.test/storage/a?sig=1", "", "data", http.Header{TicketHeader: {ticket}}))
	if h.Get(headerUser) != "alice" || h.Get(TicketHeader) != "" || s.upstream.body != "data" {
		t.Errorf("upload as %q with ticket %q: %q", h.Get(headerUser), h.Get(TicketHeader), s.upstream.body)
	}
	s.refused(s.do("PUT", "https://gw.test/storage/b?sig=1", "", "data", http.Header{TicketHeader: {ticket}}), 401, ReasonBadTicket)

	s.upstream.answer = strings.ReplaceAll(s.upstream.answer, "gw.test", "bucket.test")
	if w := s.graphQL("alice-key", query, `{"entity":"vision","project":"team","run":"r1","files":["a"]}`); strings.Contains(w.Body.String(), TicketHeader) {
		t.Errorf("a ticket goes to another host: %s", w.Body)
	}
}

// TestUploadWithCredentialAndTicket: wandb.Api() sends both.
func TestUploadWithCredentialAndTicket(t *testing.T) {
	s := newScene(t)
	target := "https://gw.test/storage/a?sig=1"
	ticket, _ := s.config.Tickets.Mint(forUpload, s.world.principals["alice-key"], []string{target})
	h := http.Header{TicketHeader: {ticket}}
	s.forwarded(s.do("PUT", target, "alice-key", "data", h))
	s.refused(s.do("PUT", target, "bob-key", "data", h), 401, ReasonBadTicket)
	s.refused(s.do("PUT", target, "nope", "data", h), 401, ReasonUnknownCredential)
	s.refused(s.do("PUT", target, "alice-key", "data", http.Header{TicketHeader: {"AAAA"}}), 403, ReasonUnknownRoute)
}

func TestDownloadsGetTickets(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"project":{"run":{"files":{"edges":[{"node":{"name":"a","directUrl":"https://gw.test/storage/a?sig=1"}},{"node":{"name":"b","directUrl":"https://bucket.test/b"}}]}}}}}`
	w := s.graphQL("alice-key", `query F($e: String!, $p: String!, $r: String!) { project(name: $p, entityName: $e) { run(name: $r) { files { edges { node { name directUrl } } } } } }`, `{"e":"vision","p":"team","r":"r1"}`)
	urls := regexp.MustCompile(`https://[^"]+`).FindAllString(w.Body.String(), -1)
	if len(urls) != 2 || urls[1] != "https://bucket.test/b" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	s.forwarded(s.do("GET", urls[0], "", "", nil))
	if got := s.upstream.request.URL.RequestURI(); got != "/storage/a?sig=1" {
		t.Errorf("the server sees %s", got)
	}
	s.refused(s.do("GET", strings.Replace(urls[0], "/a?", "/b?", 1), "", "", nil), 401, ReasonBadTicket)
	s.refused(s.do("GET", "https://gw.test/storage/a?sig=1", "", "", nil), 401, ReasonNoCredential)
}

func TestListsShowWhatTheCallerMayView(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"models":{"edges":[{"node":{"name":"open","entityName":"vision"}},{"node":{"name":"team","entityName":"vision"}},{"node":{"name":"restricted","entityName":"vision"}}]}}}`
	const query = `query Projects($entity: String) { models(entityName: $entity) { edges { node { name entityName } } } }`
	for key, want := range map[string]string{"alice-key": "open team", "bob-key": "open"} {
		w := s.graphQL(key, query, `{"entity":"vision"}`)
		var got struct {
			Data struct {
				Models struct {
					Edges []struct{ Node struct{ Name string } }
				}
			}
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatalf("%s: %v", w.Body, err)
		}
		var names []string
		for _, e := range got.Data.Models.Edges {
			names = append(names, e.Node.Name)
		}
		if strings.Join(names, " ") != want {
			t.Errorf("%s sees %q, want %q", key, names, want)
		}
	}
}

func TestUnreadableAnswersAreUnavailable(t *testing.T) {
	for _, answer := range []string{"<html>", `{"data":`, "", "[]"} {
		s := newScene(t)
		s.upstream.answer = answer
		if w := s.graphQL("alice-key", upsertBucket, `{"e":"vision","p":"fresh"}`); w.Code != 503 {
			t.Errorf("answer %q: %d %s", answer, w.Code, w.Body)
		}
	}
}

func TestUpstreamRefusalsPassThrough(t *testing.T) {
	s := newScene(t)
	s.upstream.status, s.upstream.answer = 403, `{"errors":[{"message":"server says no"}]}`
	if w := s.graphQL("alice-key", upsertBucket, `{"e":"vision","p":"team"}`); w.Code != 403 || w.Body.String() != s.upstream.answer {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

// TestServerSignIn: with the server as the record its own sign-in, pages and cookies keep working.
func TestServerSignIn(t *testing.T) {
	s := newScene(t)
	s.config.UpstreamCredential, s.config.ServerSignIn, s.config.ForwardUnknown = UpstreamPassthrough, true, true
	s.world.principals["session=alice"] = s.world.principals["alice-key"]
	s.world.principals["session=alice"].FromUpstream = true
	s.forwarded(s.do("GET", "/login", "", "", nil))
	s.forwarded(s.do("POST", "/login", "", "user=alice", nil))
	s.forwarded(s.do("POST", "/oidc/token", "", "x", nil))
	h := s.forwarded(s.do("GET", "/vision/team", "", "", http.Header{"Cookie": {"session=alice"}}))
	if h.Get("Cookie") != "session=alice" || h.Get(headerUser) != "alice" {
		t.Errorf("Cookie %q, user %q", h.Get("Cookie"), h.Get(headerUser))
	}
	// The gateway's own cookies make nobody of a session at the server, and go no further.
	h = s.forwarded(s.do("GET", "/vision/team", "", "", http.Header{"Cookie": {"wandb-gateway-form=x; session=alice; wandb-gateway=old"}}))
	if h.Get("Cookie") != "session=alice" || h.Get(headerUser) != "alice" {
		t.Errorf("Cookie %q, user %q", h.Get("Cookie"), h.Get(headerUser))
	}
	if h := s.forwarded(s.do("GET", "/login", "", "", http.Header{"Cookie": {"wandb-gateway-flow-0123=x"}})); h.Get("Cookie") != "" {
		t.Errorf("Cookie %q", h.Get("Cookie"))
	}
	s.refused(s.do("POST", "/files/vision/team/r1/file_stream", "", "{}", nil), 401, ReasonNoCredential)
	s.refused(s.do("PUT", "/storage/x", "", "x", nil), 401, ReasonNoCredential)
}

// TestWithheldFieldsAreEmpty: a document that a client always sends works for those who may see most
// of it, and what they may not see is not in the answer.
func TestWithheldFieldsAreEmpty(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"entity":{"name":"vision","members":[{"username":"ci","apiKey":"sesame"}]}}}`
	const query = `query GetTeamEntity($name: String!) { entity(name: $name) { name members { username apiKey } } }`
	w := s.graphQL("alice-key", query, `{"name":"vision"}`)
	if w.Code != 200 || strings.Contains(w.Body.String(), "sesame") || !strings.Contains(w.Body.String(), `"username":"ci"`) {
		t.Errorf("a member reads %d %s", w.Code, w.Body)
	}
	s.world.principals["alice-key"].Teams[0].Role = iam.RoleAdmin
	if w := s.graphQL("alice-key", query, `{"name":"vision"}`); !strings.Contains(w.Body.String(), "sesame") {
		t.Errorf("the team's admin reads %d %s", w.Code, w.Body)
	}
	s.refused(s.graphQL("bob-key", query, `{"name":"vision"}`), 403, authz.ReasonNotTeamMember)
}

// TestIDsAndNamesMustAgree: whichever of the two the upstream obeys, it is what was judged.
func TestIDsAndNamesMustAgree(t *testing.T) {
	s := newScene(t)
	const query = `mutation M($e: String!, $p: String!, $id: ID!) { createArtifactManifest(input: {entityName: $e, projectName: $p, runName: "r", artifactID: $id}) { artifactManifest { id } } }`
	s.forwarded(s.graphQL("alice-key", query, `{"e":"vision","p":"team","id":"team-1"}`))
	s.refused(s.graphQL("alice-key", query, `{"e":"vision","p":"open","id":"team-1"}`), 400, wandb.ReasonIDMismatch)
	s.refused(s.graphQL("alice-key", query, `{"e":"vision","p":"team","id":"elsewhere"}`), 403, authz.ReasonUnplaced)
}

// TestAdministrationStaysHere: the upstream must not get a second record of people and keys.
func TestAdministrationStaysHere(t *testing.T) {
	s := newScene(t)
	const generate = `mutation GenerateApiKey($d: String) { result: generateApiKey(input: {description: $d}) { apiKey { id name } } }`
	s.refused(s.graphQL("alice-key", generate, `{"d":"x"}`), 403, ReasonAdministeredHere)
	s.config.UpstreamCredential = UpstreamPassthrough
	s.world.principals["alice-key"].FromUpstream = true
	s.forwarded(s.graphQL("alice-key", generate, `{"d":"x"}`))
}

// TestRunningRunsAreNotReadAgain: what a client sends every few seconds streams through, once its
// project is recorded.
func TestRunningRunsAreNotReadAgain(t *testing.T) {
	s := newScene(t)
	s.upstream.answer = `{"data":{"upsertBucket":{"bucket":{"id":"x","project":{"name":"team","entity":{"name":"vision"}}},"inserted":false}}}`
	w := s.graphQL("alice-key", upsertBucket, `{"e":"vision","p":"team"}`)
	if w.Code != 200 || w.Body.String() != s.upstream.answer || len(s.world.learned) != 0 {
		t.Errorf("%d %s, learned %v", w.Code, w.Body, s.world.learned)
	}
}

// TestServerJudgesWhatItAlsoJudges: where the upstream judges by the caller's own credential, the
// gateway refuses nothing for want of an entity or of a name to filter by.
func TestServerJudgesWhatItAlsoJudges(t *testing.T) {
	s := newScene(t)
	s.config.UpstreamCredential, s.config.ServerSignIn = UpstreamPassthrough, true
	s.world.principals["alice-key"].FromUpstream = true
	const unfilterable = `query { scope: viewer { projects { edges { node { id } } } } }`
	s.forwarded(s.graphQL("alice-key", unfilterable, `{}`))
	// A browser before sign-in.
	s.forwarded(s.graphQL("", `query { models(entityName: null) { edges { node { name } } } }`, `{}`))
	if h := s.upstream.request.Header; h.Get(headerUser) != "" {
		t.Errorf("identity %q", h.Get(headerUser))
	}
	s.refused(s.graphQL("", `query { a: nope`, `{}`), 400, wandb.ReasonMalformedDocument)
}

// TestShadowRefusesNoDocument: what a document lacks for being judged is reported, not refused.
func TestShadowRefusesNoDocument(t *testing.T) {
	s := newScene(t)
	s.config.Shadow = true
	s.world.principals["alice-key"].DefaultEntity = ""
	s.forwarded(s.graphQL("alice-key", upsertBucket, `{"e":null,"p":"team"}`))
	if !s.event.Shadowed || s.event.Reason != wandb.ReasonNoDefaultEntity || !strings.Contains(s.upstream.body, `"e":null`) {
		t.Errorf("event %+v, body %s", s.event, s.upstream.body)
	}
}

// A credential is known by the network it comes from, so that no other network waits for its look-up.
func TestCredentialsHaveANetwork(t *testing.T) {
	for address, want := range map[string]string{"192.0.2.7": "192.0.2.7/32", "::ffff:192.0.2.7": "192.0.2.7/32", "2001:db8::1:2": "2001:db8::/64"} {
		s := newScene(t)
		s.config.Host.Client = func(*http.Request) (netip.Addr, bool) { return netip.MustParseAddr(address), false }
		s.forwarded(s.do("GET", "/files/vision/team/r1/x", "alice-key", "", nil))
		if got := s.world.network.String(); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

// A request that was let through and got no answer from behind the proxy says so, in the form that its client
// reads and with the proxy's own status; a page is left to the site.
func TestServerUnreachable(t *testing.T) {
	failed := errors.New("dial tcp 10.0.0.1: connection refused")
	for name, tt := range map[string]struct {
		path, accept string
		status       int // of the error
		want         int // 0: the error is handed on
	}{
		"GraphQL":        {"/graphql", "", 502, 502},
		"stream":         {"/files/vision/team/r1/file_stream", "", 502, 502},
		"time is up":     {"/graphql", "", 504, 504},
		"none available": {"/graphql", "", 503, 503},
		"client went":    {"/graphql", "", 0, 0},
		"page":           {"/vision/team", "text/html", 502, 0},
		"file in a page": {"/files/vision/team/r1/x", "text/html", 502, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.config.Host.ProxyStatus = func(error) int { return tt.status }
			g, err := New(s.config)
			if err != nil {
				t.Fatal(err)
			}
			r := httptest.NewRequest("POST", tt.path, strings.NewReader(`{"query":"{project(entityName:\"vision\",name:\"team\"){id}}"}`))
			r.Header = http.Header{"Content-Type": {"application/json"}}
			if tt.accept != "" {
				r = httptest.NewRequest("GET", tt.path, nil)
				r.Header.Set("Accept", tt.accept)
			}
			r.SetBasicAuth("api", "alice-key")
			w := httptest.NewRecorder()
			err = g.ServeHTTP(w, r, failing{failed})
			if tt.want == 0 {
				if !errors.Is(err, failed) || w.Body.Len() > 0 {
					t.Errorf("%v, answered %s", err, w.Body)
				}
				return
			}
			if err != nil || w.Code != tt.want || !strings.Contains(w.Body.String(), string(ReasonServerUnreachable)) || strings.Contains(w.Body.String(), "10.0.0.1") {
				t.Errorf("%v, answered %d %s", err, w.Code, w.Body)
			}
			if s.event.Status != tt.want || !errors.Is(s.event.Err, failed) || s.event.Reason != ReasonServerUnreachable {
				t.Errorf("reported %+v", s.event)
			}
		})
	}
}

// failing is a proxy that gets no answer.
type failing struct{ err error }

// ServeHTTP implements Handler.
func (f failing) ServeHTTP(http.ResponseWriter, *http.Request) error { return f.err }
