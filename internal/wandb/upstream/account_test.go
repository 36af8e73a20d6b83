package upstream

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The service account of most tests, as viewer and in its team's member list.
const (
	ciKey = "local-dddddddddddddddddddddddddddddddddddddddd"
	ci    = `{"id":"VXNlcjoz","username":"ci","email":null,"name":"ci","entity":null,"teams":{"edges":[{"node":{"name":"vision"}}]}}`

	visionPeople = `[
		{"username":"alice","email":"Alice@acme.test","accountType":"MEMBER","pending":false},
		{"username":"ci","email":null,"accountType":"SERVICE","pending":false},
		{"username":"ci-2","email":"ci-2@acme.test","accountType":"service","pending":false},
		{"username":"untyped","email":"untyped@acme.test","accountType":null},
		{"username":null,"email":"invited@acme.test","accountType":"MEMBER","pending":true},
		{"username":"pending","email":"pending@acme.test","accountType":"MEMBER","pending":true},
		{"username":"twin","email":"twin-1@acme.test","accountType":"MEMBER"},
		{"username":"twin","email":"twin-2@acme.test","accountType":"MEMBER"},
		{"username":"shared-1","email":"shared@acme.test","accountType":"MEMBER"},
		{"username":"shared-2","email":"shared@acme.test","accountType":"MEMBER"},
		{"username":"mail@acme.test","email":"other@acme.test","accountType":"MEMBER"},
		{"username":"mail","email":"mail@acme.test","accountType":"MEMBER"},
		{"username":"line","email":"line\u0085break@acme.test","accountType":"MEMBER"},
		{"username":"no name","email":"space@acme.test","accountType":"MEMBER"}]`
	audioPeople = `[{"username":"bob","email":"bob@acme.test","accountType":"MEMBER"},{"username":"ci","accountType":"SERVICE"}]`
)

// teams writes ci with other teams.
func ciIn(teams ...string) string {
	nodes := make([]string, len(teams))
	for i, name := range teams {
		nodes[i] = `{"node":{"name":"` + name + `"}}`
	}
	return strings.Replace(ci, `{"node":{"name":"vision"}}`, strings.Join(nodes, ","), 1)
}

func withCI(viewer, vision string) *fakeServer {
	s := newFakeServer()
	s.viewers[basic(ciKey)] = viewer
	s.members["vision"], s.members["audio"] = vision, audioPeople
	return s
}

func principal(t *testing.T, d *Directory, c iam.Credential) *iam.Principal {
	t.Helper()
	p, err := d.PrincipalByCredential(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestServiceAccountsAreTold(t *testing.T) {
	row := func(fields string) string { return `[{"username":"alice","accountType":"MEMBER"},` + fields + `]` }
	root := basic(rootKey)
	tests := []struct {
		name    string
		viewer  string
		list    string // vision's member list
		change  func(*fakeServer)
		cookie  bool
		service bool
		scope   string
		entity  string // the default
	}{
		{name: "SERVICE", viewer: ci, list: row(`{"username":"ci","accountType":"SERVICE"}`), service: true, scope: "vision", entity: "vision"},
		{name: "in other letters", viewer: ci, list: row(`{"username":"ci","accountType":"Service"}`), service: true, scope: "vision", entity: "vision"},
		{name: "a person", viewer: ci, list: row(`{"username":"ci","accountType":"MEMBER"}`)},
		{name: "a word that only begins so", viewer: ci, list: row(`{"username":"ci","accountType":"SERVICED"}`)},
		{name: "null", viewer: ci, list: row(`{"username":"ci","accountType":null}`)},
		{name: "no word", viewer: ci, list: row(`{"username":"ci","accountType":["SERVICE"]}`)},
		{name: "not told", viewer: ci, list: row(`{"username":"ci"}`)},
		{name: "somebody else is one", viewer: ci, list: row(`{"username":"CI","accountType":"SERVICE"}`)},
		{name: "a display name is no user name", viewer: ci, list: row(`{"username":"x","name":"ci","accountType":"SERVICE"}`)},
		{name: "two rows of one name", viewer: ci, list: row(`{"username":"ci","accountType":"SERVICE"},{"username":"ci","accountType":"MEMBER"}`)},
		{name: "rows without any name", viewer: strings.Replace(ci, `"username":"ci"`, `"username":null`, 1), list: row(`{"username":"","accountType":"SERVICE"}`)},
		{name: "list closed", viewer: ci, list: "403"},
		{name: "list null", viewer: ci, list: "null"},
		{name: "list empty", viewer: ci, list: "[]"},
		{name: "no list, but null rows", viewer: ci, list: "[null,null]"},

		{name: "closed, open to the administrator", viewer: ci, list: "403", service: true, scope: "vision", entity: "vision",
			change: func(s *fakeServer) {
				s.lists[root+" vision"] = row(`{"username":"ci","accountType":"SERVICE"}`)
			}},
		{name: "shown without service accounts, open to the administrator", viewer: ci, list: `[{"username":"alice","accountType":"MEMBER"}]`, service: true, scope: "vision", entity: "vision",
			change: func(s *fakeServer) {
				s.lists[root+" vision"] = row(`{"username":"ci","accountType":"SERVICE"}`)
			}},
		{name: "failing, open to the administrator", viewer: ci, list: "500", service: true, scope: "vision", entity: "vision",
			change: func(s *fakeServer) {
				s.lists[root+" vision"] = row(`{"username":"ci","accountType":"SERVICE"}`)
			}},
		{name: "told by viewer alone", viewer: strings.Replace(ci, `{`, `{"accountType":"SERVICE",`, 1), list: "403", service: true, scope: "vision", entity: "vision"},
		{name: "told by viewer while the list fails", viewer: strings.Replace(ci, `{`, `{"accountType":"SERVICE",`, 1), list: "500", service: true, scope: "vision", entity: "vision"},
		{name: "denied by the list, whatever viewer says", viewer: strings.Replace(ci, `{`, `{"accountType":"SERVICE",`, 1), list: row(`{"username":"ci","accountType":"MEMBER"}`)},
		{name: "server without accountType", viewer: ci, list: row(`{"username":"ci"}`), change: func(s *fakeServer) { s.lacks = []string{"accountType"} }},
		{name: "server without pending", viewer: ci, list: row(`{"username":"ci","accountType":"SERVICE"}`), service: true, scope: "vision", entity: "vision",
			change: func(s *fakeServer) { s.lacks = []string{"pending"} }},

		{name: "several teams", viewer: ciIn("audio", "vision"), list: visionPeople, service: true},
		{name: "several teams and a default", viewer: strings.Replace(ciIn("audio", "vision"), `"entity":null`, `"entity":"vision"`, 1), list: visionPeople, service: true, entity: "vision"},
		{name: "several teams, the first list closed", viewer: ciIn("audio", "vision"), list: visionPeople, service: true,
			change: func(s *fakeServer) { s.members["audio"] = "403" }},
		{name: "no team", viewer: ciIn(), list: visionPeople},
		{name: "no team, told by viewer", viewer: strings.Replace(ciIn(), `{`, `{"accountType":"SERVICE",`, 1), list: visionPeople, service: true},
		{name: "only its own name for a team", viewer: ciIn("ci"), list: visionPeople},
		{name: "browser session", viewer: ci, list: visionPeople, cookie: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := withCI(tt.viewer, tt.list)
			if tt.change != nil {
				tt.change(s)
			}
			c := apiKey(ciKey)
			if tt.cookie {
				c = iam.Credential{Kind: iam.CredentialCookie, Secret: iam.NewSecret("wandb=x")}
				s.viewers["wandb=x"] = tt.viewer
			}
			p := principal(t, directory(t, s, withAdmin), c)
			if p.IsServiceAccount() != tt.service || !p.FromUpstream || !p.Active {
				t.Fatalf("%s, want a service account: %t", p.Ref, tt.service)
			}
			want := userID("VXNlcjoz").Ref()
			if tt.service {
				want = iam.ServiceAccountID("sa_up:VXNlcjoz").Ref()
			}
			if p.Ref != want {
				t.Errorf("reference %s, want %s", p.Ref, want)
			}
			if p.Scope.Name != tt.scope || (p.Scope.ID == "") != (tt.scope == "") {
				t.Errorf("scope %+v, want %q", p.Scope, tt.scope)
			}
			if p.DefaultEntity != tt.entity {
				t.Errorf("default entity %q, want %q", p.DefaultEntity, tt.entity)
			}
		})
	}
}

// Nobody waits for a member list longer than half of what a look-up may take, and nobody is refused
// for want of one. Once it answers it is believed, and what it said outlasts its failing again.
func TestListThatFailsKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withCI(ci, "500")
		var slow atomic.Bool
		d := directory(t, transport(func(r *http.Request) (*http.Response, error) {
			if slow.Load() && strings.Contains(bodyOf(r), "GatewayPeople") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return s.RoundTrip(r)
		}))
		c := apiKey(ciKey)
		if p := principal(t, d, c); !p.IsUser() {
			t.Fatalf("%s while nothing is told", p.Ref)
		}
		s.set(func(s *fakeServer) { s.members["vision"] = visionPeople })
		time.Sleep(DefaultMisses)
		principal(t, d, c)
		synctest.Wait()
		if p := principal(t, d, c); !p.IsServiceAccount() {
			t.Errorf("%s after the list came back", p.Ref)
		}
		slow.Store(true)
		for range 3 * 60 * 4 { // three hours in constant use
			if p := principal(t, d, c); !p.IsServiceAccount() {
				t.Fatalf("%s after the list stopped to answer", p.Ref)
			}
			synctest.Wait()
			time.Sleep(15 * time.Second)
		}

		other := directory(t, transport(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(bodyOf(r), "GatewayPeople") {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
			return s.RoundTrip(r)
		}))
		began := time.Now()
		if p := principal(t, other, c); !p.IsUser() || time.Since(began) > DefaultTimeout/2 {
			t.Errorf("%s after %s", p.Ref, time.Since(began))
		}
		time.Sleep(DefaultTimeout) // the look-up itself ends then
	})
}

// Member lists can be long: what they told is kept for as long as accounts stay what they are, and
// what they did not tell is not asked for with every look-up.
func TestListsAreAskedForSeldom(t *testing.T) {
	for name, tt := range map[string]struct {
		list string
		most int
	}{
		"told":          {visionPeople, 2},
		"not told":      {"403", 8},
		"field unknown": {`[{"username":"ci"}]`, 10},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := withCI(ci, tt.list)
				if name == "field unknown" {
					s.lacks = []string{"accountType"}
				}
				d := directory(t, s)
				for range 60 * 4 { // one hour
					principal(t, d, apiKey(ciKey))
					synctest.Wait()
					time.Sleep(15 * time.Second)
				}
				if n := s.count("GatewayPeople"); n < 1 || n > tt.most {
					t.Errorf("lists asked for %d times in an hour, want at most %d", n, tt.most)
				}
				if n := s.count("GatewayViewer"); n < 60 {
					t.Errorf("viewer asked %d times in an hour: rights must be asked for as before", n)
				}
			})
		})
	}
}

// Two keys of one account are one account: the second one's list is not asked for.
func TestAccountIsSharedByItsKeys(t *testing.T) {
	s := withCI(ci, visionPeople)
	s.viewers[basic(aliceKey)] = ci
	d := directory(t, s)
	a, b := principal(t, d, apiKey(ciKey)), principal(t, d, apiKey(aliceKey))
	if a.Ref != b.Ref || !b.IsServiceAccount() || s.count("GatewayPeople") != 1 {
		t.Errorf("%s and %s with %d questions", a.Ref, b.Ref, s.count("GatewayPeople"))
	}
}

// A key that is refused between two questions is refused in the end, by what viewer says.
func TestKeyRefusedWhileItsSortIsAsked(t *testing.T) {
	s := withCI(ci, "401")
	s.set(func(s *fakeServer) { s.members["vision"] = "401" })
	d := directory(t, transport(func(r *http.Request) (*http.Response, error) {
		body := bodyOf(r)
		res, err := s.RoundTrip(r)
		if strings.Contains(body, "GatewayViewer") { // from then on it is unknown
			s.set(func(s *fakeServer) { s.bad = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) } })
		}
		return res, err
	}))
	if p := principal(t, d, apiKey(ciKey)); !p.IsUser() {
		t.Errorf("%s", p.Ref)
	}
	_, err := d.PrincipalByCredential(t.Context(), apiKey(ciKey))
	wantKind(t, err, iam.KindUnauthenticated)
}

// Where no project is named, Decide is told neither of a scope, which the server may not mean, nor of
// an account of the organization, which may be one of a team that is not shown (SA-18).
func TestGuessedScopeDecidesNothing(t *testing.T) {
	for name, viewer := range map[string]string{"one team": ci, "several": ciIn("audio", "vision"), "none": strings.Replace(ciIn(), `{`, `{"accountType":"SERVICE",`, 1)} {
		t.Run(name, func(t *testing.T) {
			d := directory(t, withCI(viewer, visionPeople))
			p := principal(t, d, apiKey(ciKey))
			if !p.IsServiceAccount() {
				t.Fatalf("%s is no service account", p.Ref)
			}
			f, err := d.Facts(t.Context(), p, apiKey(ciKey), "", "")
			if err != nil {
				t.Fatal(err)
			}
			f.Settings.Unplaced = authz.UnplacedMembers
			for permission, want := range map[authz.Permission]bool{
				authz.SelfRead: true, authz.ServerRead: true, authz.OrganizationRead: true, authz.UnplacedRead: true, authz.UnplacedWrite: true,
				authz.OrganizationProvision: false, authz.OrganizationManage: false, authz.TeamCreate: false,
			} {
				if may(f, permission) != want {
					t.Errorf("%s: %t, want %t", permission, !want, want)
				}
			}
		})
	}
}

// A team that the server lists is the account's own; one that it does not list is not, even for an
// account that could be the organization's.
func TestServiceAccountOfSeveralTeams(t *testing.T) {
	s := withCI(ciIn("audio", "vision"), visionPeople)
	who := basic(ciKey)
	for _, team := range []string{"audio", "vision", "speech"} {
		entity := strings.Replace(visionEntity, `"vision"`, `"`+team+`"`, 1)
		s.entities[who+" "+team] = entity
		s.projects[who+" "+team+"/p"] = project("p", "PRIVATE", entity, `"readOnly":false`)
	}
	d := directory(t, s)
	p := principal(t, d, apiKey(ciKey))
	for team, own := range map[string]bool{"audio": true, "vision": true, "speech": false} {
		f, err := d.Facts(t.Context(), p, apiKey(ciKey), team, "p")
		if err != nil || !may(f, authz.RunWrite) {
			t.Errorf("%s: what the server calls writable is not: %v", team, err)
		}
		if f, err = d.Facts(t.Context(), p, apiKey(ciKey), team, "new"); err != nil || may(f, authz.RunWrite) != own {
			t.Errorf("%s: a new project: %t, want %t (%v)", team, !own, own, err)
		}
		if !may(f, authz.EntityRead) {
			t.Errorf("%s: the server shows it and the gateway does not", team)
		}
	}
}

// An upload ticket of theirs ends with the key, also one from before it was known what they are.
func TestTicketsOfServiceAccountsEndWithTheKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := withCI(ci, "500")
		d := directory(t, s)
		before := principal(t, d, apiKey(ciKey))
		s.set(func(s *fakeServer) { s.members["vision"] = visionPeople })
		time.Sleep(DefaultHits)
		after := principal(t, d, apiKey(ciKey))
		for _, p := range []*iam.Principal{before, after} {
			if _, err := d.Principal(p.Ref); err != nil {
				t.Errorf("%s: %v", p.Ref, err)
			}
		}
		s.set(func(s *fakeServer) { delete(s.viewers, basic(ciKey)) })
		time.Sleep(DefaultHits)
		_, err := d.PrincipalByCredential(t.Context(), apiKey(ciKey))
		wantKind(t, err, iam.KindUnauthenticated)
		for _, p := range []*iam.Principal{before, after} {
			_, err := d.Principal(p.Ref)
			wantKind(t, err, iam.KindUnavailable)
		}
	})
}
