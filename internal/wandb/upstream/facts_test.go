package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

const (
	visionEntity = `{"id":"RW50aXR5OjE=","name":"vision","isTeam":true,"readOnly":false,"readOnlyAdmin":true}`
	audioEntity  = `{"id":"RW50aXR5OjI=","name":"audio","isTeam":true,"readOnly":true,"readOnlyAdmin":true}`
)

// project writes the server's answer for a project; fields are more of its members, as JSON.
func project(name, access, entity, fields string) string {
	if fields != "" {
		fields = "," + fields
	}
	return fmt.Sprintf(`{"id":"p","name":%q,"access":%q,"entity":%s%s}`, name, access, entity, fields)
}

func mayRead(f authz.Facts) bool {
	return authz.Decide(authz.Request{Permission: authz.ProjectRead}, f).Allowed()
}

func may(f authz.Facts, p authz.Permission) bool {
	return authz.Decide(authz.Request{Permission: p}, f).Allowed()
}

// What the server shows to a caller's own credential, and what Decide makes of it. It makes the same
// of a service account: that it is one takes nothing away that the server gives, and gives nothing.
func TestDecideFollowsTheServer(t *testing.T) {
	const ownTeam, otherTeam = "vision", "audio"
	tests := []struct {
		name    string
		entity  string // what the server shows of the entity
		project string // and of the project; "" for nothing
		in      string // the entity's name in the request
		members string // the team's members as the server lists them
		hidden  string // the project as the administrator's key sees it
		admin   bool   // the caller administers the server
		service bool   // the caller is a service account

		read, write, delete, visibility, create bool
	}{
		{name: "own team, Team", in: ownTeam, entity: visionEntity, project: project("p", "PRIVATE", visionEntity, `"readOnly":false`),
			read: true, write: true, create: true},
		{name: "own team, read-only project", in: ownTeam, entity: visionEntity, project: project("p", "PRIVATE", visionEntity, `"readOnly":true`),
			read: true},
		{name: "own team, Open but read-only", in: ownTeam, entity: visionEntity, project: project("p", "USER_WRITE", visionEntity, `"readOnly":true`),
			read: true},
		{name: "own team, Restricted and shown", in: ownTeam, entity: visionEntity, project: project("p", "RESTRICTED", visionEntity, `"readOnly":false`),
			read: true, write: true, create: true},
		{name: "own team, Restricted, shown, read-only", in: ownTeam, entity: visionEntity, project: project("p", "RESTRICTED", visionEntity, `"readOnly":true`),
			read: true},
		{name: "own team, Restricted and hidden", in: ownTeam, entity: visionEntity, hidden: project("p", "RESTRICTED", visionEntity, `"readOnly":false`),
			create: true},
		{name: "own team, unknown visibility", in: ownTeam, entity: visionEntity, project: project("p", "SOMETHING_NEW", visionEntity, `"readOnly":false`),
			read: true, write: true, create: true},
		{name: "own team, unknown visibility and hidden", in: ownTeam, entity: visionEntity, hidden: project("p", "SOMETHING_NEW", visionEntity, ``),
			create: true},
		{name: "own team, no such project", in: ownTeam, entity: visionEntity,
			read: true, write: true, create: true}, // the run creates it; a read is told that nothing is there
		{name: "own team, read-only entity", in: ownTeam, entity: strings.Replace(visionEntity, `"readOnly":false`, `"readOnly":true`, 1), project: project("p", "PRIVATE", `{"name":"vision","isTeam":true,"readOnly":true,"readOnlyAdmin":true}`, ``),
			read: true},
		{name: "own team, admin by the member list", in: ownTeam, entity: `{"name":"vision","isTeam":true,"readOnly":false,"readOnlyAdmin":false}`,
			project: project("p", "PRIVATE", `{"name":"vision","isTeam":true,"readOnly":false,"readOnlyAdmin":false}`, `"readOnly":false`),
			members: `[{"username":"bob","admin":false,"role":"member"},{"username":"alice","admin":true,"role":"admin"}]`,
			read:    true, write: true, delete: true, visibility: true, create: true},
		{name: "own team, viewer by the member list", in: ownTeam, entity: `{"name":"vision","isTeam":true}`,
			project: project("p", "PRIVATE", `{"name":"vision","isTeam":true}`, ``),
			members: `[{"username":"alice","admin":false,"role":"viewer"}]`,
			read:    true},
		{name: "own team, admin of another name", in: ownTeam, entity: `{"name":"vision","isTeam":true}`,
			project: project("p", "PRIVATE", `{"name":"vision","isTeam":true}`, ``),
			members: `[{"username":"Alice","admin":true},{"username":"alice","admin":false}]`,
			read:    true, write: true, create: true},
		{name: "own team, two rows of one name", in: ownTeam, entity: `{"name":"vision","isTeam":true}`,
			project: project("p", "PRIVATE", `{"name":"vision","isTeam":true}`, ``),
			members: `[{"username":"alice","admin":true},{"username":"alice","admin":false}]`,
			read:    true, write: true, create: true},
		{name: "own team, custom role", in: ownTeam, entity: `{"name":"vision","isTeam":true}`,
			project: project("p", "PRIVATE", `{"name":"vision","isTeam":true}`, `"readOnly":true`),
			members: `[{"username":"alice","admin":false,"role":"launcher"}]`,
			read:    true},
		{name: "own team, project owner", in: ownTeam, entity: visionEntity, project: project("p", "PRIVATE", visionEntity, `"readOnly":false,"user":{"id":"VXNlcjox","username":"alice"}`),
			read: true, write: true, visibility: true, create: true},
		{name: "own team, owner of another id but the same name", in: ownTeam, entity: visionEntity, project: project("p", "PRIVATE", visionEntity, `"readOnly":false,"user":{"id":"VXNlcjo5","username":"alice"}`),
			read: true, write: true, create: true},

		{name: "other team, Open", in: otherTeam, entity: audioEntity, project: project("p", "USER_WRITE", audioEntity, `"readOnly":false`),
			read: true, write: true},
		{name: "other team, Open, readOnly not told", in: otherTeam, entity: audioEntity, project: project("p", "USER_WRITE", audioEntity, ``),
			read: true, write: true},
		{name: "other team, Open but read-only", in: otherTeam, entity: audioEntity, project: project("p", "USER_WRITE", audioEntity, `"readOnly":true`),
			read: true},
		{name: "other team, Public", in: otherTeam, entity: audioEntity, project: project("p", "USER_READ", audioEntity, `"readOnly":true`),
			read: true},
		{name: "other team, Team and shown read-only", in: otherTeam, entity: audioEntity, project: project("p", "PRIVATE", audioEntity, `"readOnly":true`),
			read: true},
		{name: "other team, Team and shown, readOnly not told", in: otherTeam, entity: audioEntity, project: project("p", "PRIVATE", audioEntity, ``),
			read: true},
		{name: "other team, Team and shown writable", in: otherTeam, entity: audioEntity, project: project("p", "PRIVATE", audioEntity, `"readOnly":false`),
			read: true, write: true},
		{name: "other team, Restricted and shown", in: otherTeam, entity: audioEntity, project: project("p", "RESTRICTED", audioEntity, `"readOnly":true`),
			read: true},
		{name: "other team, nothing shown", in: otherTeam, entity: audioEntity},
		{name: "other team, hidden", in: otherTeam, entity: audioEntity, hidden: project("p", "USER_WRITE", audioEntity, `"readOnly":false`)},
		{name: "other team, hidden with its entity", in: otherTeam, hidden: project("p", "PRIVATE", audioEntity, `"readOnly":false`)},
		{name: "other team, writable entity gives nothing", in: otherTeam, entity: strings.Replace(audioEntity, `"readOnly":true`, `"readOnly":false`, 1)},
		{name: "administrator of the server, hidden", in: otherTeam, entity: audioEntity, hidden: project("p", "PRIVATE", audioEntity, ``), admin: true,
			visibility: true}, // administers, and does not enter

		{name: "own entity", in: "alice", entity: `{"name":"alice","isTeam":false,"readOnly":false}`, project: project("p", "PRIVATE", `{"name":"alice","isTeam":false}`, `"readOnly":false`),
			read: true, write: true, delete: true, visibility: true, create: true},
		{name: "own entity, read-only", in: "alice", entity: `{"name":"alice","isTeam":false,"readOnly":true}`, project: project("p", "PRIVATE", `{"name":"alice","isTeam":false,"readOnly":true}`, `"readOnly":true`),
			read: true, visibility: true}, // settings need no seat; the server judges them, too
		{name: "own entity, hidden all the same", in: "alice", entity: `{"name":"alice","isTeam":false}`, hidden: project("p", "PRIVATE", `{"name":"alice","isTeam":false}`, ``)},
		{name: "own entity, isTeam not told", in: "alice", entity: `{"name":"alice"}`, project: project("p", "RESTRICTED", `{"name":"alice"}`, ``),
			read: true, write: true, delete: true, visibility: true, create: true},
		{name: "a team of the caller's user name", in: "alice", entity: `{"name":"alice","isTeam":true}`},
		{name: "somebody else's entity, shown", in: "bob", entity: `{"name":"bob","isTeam":false}`, project: project("p", "PRIVATE", `{"name":"bob","isTeam":false}`, `"readOnly":true`),
			read: true},
		{name: "somebody else's entity, nothing shown", in: "bob", entity: `{"name":"bob","isTeam":false}`},
		{name: "no such entity", in: "nobody"},
		{name: "a name that leads to another team", in: ownTeam, entity: visionEntity, project: project("p", "PRIVATE", audioEntity, `"readOnly":true`),
			read: true},
	}
	people := tests
	for _, tt := range people {
		tt.name += ", service account"
		tt.service = true
		tests = append(tests, tt)
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer()
			who, root := basic(aliceKey), basic(rootKey)
			s.viewers[who] = strings.Replace(alice, `"admin":false`, fmt.Sprintf(`"admin":%t`, tt.admin), 1)
			if tt.service {
				s.viewers[who] = strings.Replace(s.viewers[who], `{`, `{"accountType":"SERVICE",`, 1)
			}
			s.entities[who+" "+tt.in], s.projects[who+" "+tt.in+"/p"] = tt.entity, tt.project
			s.entities[root+" "+tt.in], s.projects[root+" "+tt.in+"/p"] = tt.entity, tt.project
			if tt.hidden != "" {
				s.projects[root+" "+tt.in+"/p"] = tt.hidden
			}
			s.members[tt.in] = tt.members
			d := directory(t, s, withAdmin)
			p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			if err != nil {
				t.Fatal(err)
			}
			if p.IsServiceAccount() != tt.service {
				t.Fatalf("%s, want a service account: %t", p.Ref, tt.service)
			}
			f, err := d.Facts(t.Context(), p, apiKey(aliceKey), tt.in, "p")
			if err != nil {
				t.Fatal(err)
			}
			for _, check := range []struct {
				permission authz.Permission
				want       bool
			}{
				{authz.ProjectRead, tt.read}, {authz.RunWrite, tt.write}, {authz.ProjectDelete, tt.delete},
				{authz.ProjectSetVisibility, tt.visibility}, {authz.ProjectCreate, tt.create},
			} {
				got := authz.Decide(authz.Request{Permission: check.permission}, f)
				if got.Allowed() != check.want {
					t.Errorf("%s: %t (%s), want %t", check.permission, got.Allowed(), got.Reason, check.want)
				}
			}
			again, err := d.Facts(t.Context(), p, apiKey(aliceKey), tt.in, "p")
			if err != nil || again.Project != f.Project || again.Principal != f.Principal {
				t.Errorf("the second time it is something else: %+v, %v", again, err)
			}
		})
	}
}

// A key that shows more does not lend what it was shown to another key of the same person.
func TestFactsBelongToTheCredential(t *testing.T) {
	s := newFakeServer()
	strong, weak := basic(aliceKey), basic(bobKey)
	s.viewers[strong], s.viewers[weak] = alice, alice
	s.entities[strong+" vision"], s.entities[weak+" vision"] = visionEntity, visionEntity
	s.projects[strong+" vision/p"] = project("p", "RESTRICTED", visionEntity, `"readOnly":false`)
	s.projects[basic(rootKey)+" vision/p"] = s.projects[strong+" vision/p"]
	d := directory(t, s, withAdmin)
	for key, want := range map[string]bool{aliceKey: true, bobKey: false} {
		p, err := d.PrincipalByCredential(t.Context(), apiKey(key))
		if err != nil {
			t.Fatal(err)
		}
		f, err := d.Facts(t.Context(), p, apiKey(key), "vision", "p")
		if err != nil {
			t.Fatal(err)
		}
		if mayRead(f) != want {
			t.Errorf("%s may read: %t, want %t", key, !want, want)
		}
	}
}

// The caller's credential may be the administrator's key; what it sees as a caller and as the
// administrator is kept apart.
func TestAdministratorAsCaller(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic(rootKey)] = strings.Replace(bob, `"admin":false`, `"admin":true`, 1)
	s.entities[basic(rootKey)+" vision"] = visionEntity
	s.projects[basic(rootKey)+" vision/p"] = project("p", "PRIVATE", visionEntity, `"readOnly":false`)
	d := directory(t, s, withAdmin)
	local := &iam.Principal{Ref: iam.NewServiceAccountID().Ref(), Organization: "acme", Active: true, Scope: iam.TeamRef{ID: "team_x", Name: "audio"}}
	f, err := d.Facts(t.Context(), local, iam.Credential{}, "vision", "p")
	if err != nil || mayRead(f) {
		t.Errorf("a service account of another team reads: %v", err)
	}
	p, err := d.PrincipalByCredential(t.Context(), apiKey(rootKey))
	if err != nil {
		t.Fatal(err)
	}
	if f, err = d.Facts(t.Context(), p, apiKey(rootKey), "vision", "p"); err != nil || !mayRead(f) {
		t.Errorf("the administrator does not read what they are shown: %v", err)
	}
}

// A key with limits of the gateway's own is for the server's entity of that name, and for nothing once the gateway's
// is gone.
func TestLocalKeysWithLimits(t *testing.T) {
	s := newFakeServer()
	root := basic(rootKey)
	const person = `{"name":"dora","isTeam":false,"readOnly":true,"readOnlyAdmin":true}`
	for place, entity := range map[string]string{"vision": visionEntity, "audio": audioEntity, "dora": person} {
		s.entities[root+" "+place] = entity
		for _, name := range []string{"open", "other"} {
			s.projects[root+" "+place+"/"+name] = project(name, "USER_WRITE", entity, `"readOnly":true`)
		}
	}
	d := directory(t, s, withAdmin)
	as := func(l iam.KeyLimits) *iam.Principal {
		return &iam.Principal{Ref: iam.NewServiceAccountID().Ref(), Organization: "acme", Active: true, Username: "all", Limits: &l}
	}
	id := iam.NewTeamID().Entity()
	team := as(iam.KeyLimits{Entity: id, EntityName: "vision"})
	one := as(iam.KeyLimits{Entity: id, EntityName: "vision", Project: "open"})
	own := as(iam.KeyLimits{Entity: iam.NewUserID().PersonalEntity(), EntityName: "dora"})
	gone := as(iam.KeyLimits{Entity: id})
	reads := as(iam.KeyLimits{ReadOnly: true})
	for _, tt := range []struct {
		name          string
		p             *iam.Principal
		entity        string
		project       string
		read, write   bool
		whyNot        iam.Reason
		entityIsShown bool
	}{
		{"its team", team, "vision", "open", true, true, "", true},
		{"another project", team, "vision", "other", true, true, "", true},
		{"a new project", team, "vision", "new", true, true, "", true},
		{"another team", team, "audio", "open", false, false, authz.ReasonKeyScope, false},
		{"a person", team, "dora", "open", false, false, authz.ReasonKeyScope, false},
		{"nothing", team, "nowhere", "open", false, false, authz.ReasonKeyScope, false},
		{"its project", one, "vision", "open", true, true, "", true},
		{"not its project", one, "vision", "other", false, false, authz.ReasonKeyScope, true},
		{"not its new project", one, "vision", "new", false, false, authz.ReasonKeyScope, true},
		{"its project's name elsewhere", one, "audio", "open", false, false, authz.ReasonKeyScope, false},
		{"its person", own, "dora", "open", true, true, "", true},
		{"not its person", own, "vision", "open", false, false, authz.ReasonKeyScope, false},
		{"of a deleted team", gone, "vision", "open", false, false, authz.ReasonKeyScope, false},
		{"reading", reads, "vision", "open", true, false, authz.ReasonKeyReadOnly, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for range 2 { // asked, and remembered
				f, err := d.Facts(t.Context(), tt.p, iam.Credential{}, tt.entity, tt.project)
				if err != nil {
					t.Fatal(err)
				}
				write := authz.Decide(authz.Request{Permission: authz.RunWrite}, f)
				if mayRead(f) != tt.read || write.Allowed() != tt.write || tt.whyNot != "" && write.Reason != tt.whyNot || may(f, authz.EntityRead) != tt.entityIsShown {
					t.Errorf("read %t, write %v, entity %t; want %+v", mayRead(f), write, may(f, authz.EntityRead), tt)
				}
			}
		})
	}
}

// Principals of the gateway's own are judged by the project's true visibility and their own record.
func TestLocalPrincipals(t *testing.T) {
	s := newFakeServer()
	root := basic(rootKey)
	for name, access := range map[string]string{"open": "USER_WRITE", "public": "USER_READ", "team": "PRIVATE", "restricted": "RESTRICTED"} {
		s.projects[root+" vision/"+name] = project(name, access, visionEntity, `"readOnly":true`)
	}
	s.entities[root+" vision"] = visionEntity
	d := directory(t, s, withAdmin)
	account := func(team string) *iam.Principal {
		return &iam.Principal{
			Ref: iam.NewServiceAccountID().Ref(), Organization: "acme", Active: true, Username: "ci",
			Scope: iam.TeamRef{ID: iam.NewTeamID(), Name: team},
		}
	}
	person := &iam.Principal{
		Ref: iam.NewUserID().Ref(), Organization: "acme", Active: true, Username: "vision-fan", Role: iam.OrganizationMember,
		ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull,
		Teams: []iam.Membership{{TeamRef: iam.TeamRef{ID: iam.NewTeamID(), Name: "vision"}, Role: iam.RoleViewer}},
	}
	tests := []struct {
		name    string
		p       *iam.Principal
		project string
		read    bool
		write   bool
	}{
		{"own team's account, Team", account("vision"), "team", true, true},
		{"own team's account, Restricted", account("vision"), "restricted", false, false},
		{"other team's account, Team", account("audio"), "team", false, false},
		{"other team's account, Open", account("audio"), "open", true, true},
		{"account of a team in other letters", account("Vision"), "team", false, false},
		{"local View-Only person, Team", person, "team", true, false},
		{"local View-Only person, Restricted", person, "restricted", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			// The local credential must not reach the server.
			f, err := d.Facts(t.Context(), tt.p, apiKey("wbg-secret"), "vision", tt.project)
			if err != nil {
				t.Fatal(err)
			}
			if mayRead(f) != tt.read || may(f, authz.RunWrite) != tt.write {
				t.Errorf("read %t write %t, want %t %t", mayRead(f), may(f, authz.RunWrite), tt.read, tt.write)
			}
		})
	}
	for _, q := range s.asked {
		if q.header.Get("Authorization") != root {
			t.Errorf("asked with %s", q.header.Get("Authorization"))
		}
	}

	_, err := directory(t, s).Facts(t.Context(), account("vision"), iam.Credential{}, "vision", "team")
	wantKind(t, err, iam.KindDenied)
	if iam.ReasonOf(err) != ReasonNoAdminKey || !strings.Contains(err.Error(), "api_key") {
		t.Errorf("got %v", err)
	}
}

func TestNobodyIsShownWhatTheServerShowsNobody(t *testing.T) {
	s := newFakeServer()
	s.entities[" vision"], s.projects[" vision/open"] = visionEntity, project("open", "USER_WRITE", visionEntity, ``)
	s.projects[basic(rootKey)+" vision/team"] = project("team", "PRIVATE", visionEntity, ``)
	d := directory(t, s, withAdmin)
	f, err := d.Facts(t.Context(), nil, iam.Credential{}, "vision", "open")
	if err != nil || f.Project == nil || f.Project.Visibility != iam.VisibilityOpen {
		t.Fatalf("got %+v, %v", f, err)
	}
	f.Settings.AnonymousPublicProjects = true
	if !mayRead(f) || may(f, authz.RunWrite) {
		t.Error("an Open project is not readable alone")
	}
	if f, err = d.Facts(t.Context(), nil, iam.Credential{}, "vision", "team"); err != nil || f.Project != nil {
		t.Errorf("got %+v, %v", f, err)
	}
	s.set(func(s *fakeServer) { s.bad = status(401, "") })
	if f, err = d.Facts(t.Context(), nil, iam.Credential{}, "vision", "other"); err != nil || f.Project != nil {
		t.Errorf("a server that shows strangers nothing: %+v, %v", f, err)
	}
}

// What the server may answer instead of facts: only its clear word makes a project absent.
func TestAnswersWithoutFacts(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		kind   iam.Kind // KindInternal: no error, nothing shown
	}{
		{"both null", status(200, `{"data":{"project":null,"entity":null}}`), iam.KindInternal},
		{"permission denied", status(200, `{"data":{"project":null,"entity":null},"errors":[{"message":"permission denied","path":["project"]}]}`), iam.KindInternal},
		{"data null, denied", status(200, `{"data":null,"errors":[{"message":"nope","extensions":{"code":"FORBIDDEN"}}]}`), iam.KindInternal},
		{"403", status(403, `{"errors":[{"message":"forbidden"}]}`), iam.KindInternal},
		{"404", status(404, `{"errors":[{"message":"project not found"}]}`), iam.KindInternal},
		{"401", status(401, ``), iam.KindUnauthenticated},
		{"failure", status(200, `{"data":{"project":null,"entity":null},"errors":[{"message":"deadlock","path":["project"]}]}`), iam.KindUnavailable},
		{"failure without path", status(200, `{"data":{"project":null,"entity":null},"errors":[{"message":"deadlock"}]}`), iam.KindUnavailable},
		{"denied and failed", status(200, `{"data":{"project":null,"entity":null},"errors":[{"message":"forbidden"},{"message":"deadlock"}]}`), iam.KindUnavailable},
		{"data null", status(200, `{"data":null}`), iam.KindUnavailable},
		{"project missing", status(200, `{"data":{"entity":null}}`), iam.KindUnavailable},
		{"project without name", status(200, `{"data":{"project":{},"entity":null}}`), iam.KindUnavailable},
		{"project without entity", status(200, `{"data":{"project":{"name":"p"},"entity":null}}`), iam.KindUnavailable},
		{"entity without name", status(200, `{"data":{"project":null,"entity":{}}}`), iam.KindUnavailable},
		{"entity with a hostile name", status(200, `{"data":{"project":null,"entity":{"name":"vision\r\nX: y"}}}`), iam.KindUnavailable},
		{"readOnly is text", status(200, `{"data":{"project":{"name":"p","readOnly":"false","entity":{"name":"vision"}},"entity":null}}`), iam.KindUnavailable},
		{"half", status(200, `{"data":{"project":{"name":"p","acc`), iam.KindUnavailable},
		{"HTML", status(200, `<html>`), iam.KindUnavailable},
		{"500", status(500, ``), iam.KindUnavailable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer()
			s.viewers[basic(aliceKey)] = alice
			d := directory(t, s)
			p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			if err != nil {
				t.Fatal(err)
			}
			s.set(func(s *fakeServer) { s.bad = tt.answer })
			f, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "p")
			if tt.kind != iam.KindInternal {
				wantKind(t, err, tt.kind)
				return
			}
			if err != nil || f.Project != nil || f.Entity != nil {
				t.Errorf("got %+v, %v", f, err)
			}
		})
	}
}

func TestNamesThatCannotBeAskedAreNothing(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = alice
	d := directory(t, s)
	p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
	if err != nil {
		t.Fatal(err)
	}
	for _, names := range [][2]string{{"", ""}, {"", "p"}, {strings.Repeat("e", 257), "p"}, {"vision", strings.Repeat("p", 257)}} {
		f, err := d.Facts(t.Context(), p, apiKey(aliceKey), names[0], names[1])
		if err != nil || f.Entity != nil || f.Project != nil || f.Principal != p {
			t.Errorf("%.8q: %+v, %v", names, f, err)
		}
	}
	if n := s.count("GatewayEntity") + s.count("GatewayProject"); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

// A role is as old as the question for it: the sum of two caches is no longer than one bound.
func TestDemotionHoldsWithinTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		who := basic(aliceKey)
		entity := `{"name":"vision","isTeam":true}`
		s.viewers[who] = alice
		s.entities[who+" vision"] = entity
		for i := range 100 {
			s.projects[fmt.Sprintf("%s vision/p%d", who, i)] = project(fmt.Sprintf("p%d", i), "PRIVATE", entity, ``)
		}
		s.members["vision"] = `[{"username":"alice","admin":true}]`
		d := directory(t, s)
		ask := func(project string) authz.Facts {
			p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			if err != nil {
				t.Fatal(err)
			}
			f, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", project)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		if !may(ask("p0"), authz.ProjectDelete) {
			t.Fatal("a team's admin may not delete a project")
		}
		s.set(func(s *fakeServer) { s.members["vision"] = `[{"username":"alice","admin":false,"role":"viewer"}]` })
		time.Sleep(DefaultHits - time.Second)
		ask("p1") // rests on the old role, and must not make it younger
		time.Sleep(time.Second)
		for _, project := range []string{"p0", "p1", "p2"} {
			if f := ask(project); may(f, authz.ProjectDelete) || may(f, authz.RunWrite) {
				t.Errorf("%s: the old role still counts", project)
			}
		}
	})
}

// A project in constant use is asked for ahead of need, and so is the role that it rests on: neither
// waits for the other's end, and none is asked for with every request.
func TestProjectInConstantUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		who := basic(aliceKey)
		entity := `{"name":"vision","isTeam":true}`
		s.viewers[who], s.entities[who+" vision"] = alice, entity
		s.members["vision"] = `[{"username":"alice","admin":true}]`
		for i := range 3 {
			s.projects[fmt.Sprintf("%s vision/p%d", who, i)] = project(fmt.Sprintf("p%d", i), "PRIVATE", entity, ``)
		}
		d := directory(t, s)
		for i := range 3000 { // five minutes
			p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			if err != nil {
				t.Fatal(err)
			}
			f, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", fmt.Sprintf("p%d", i%(1+i/1000)))
			if err != nil || !may(f, authz.ProjectDelete) {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.count("GatewayMembers"); n < 5 || n > 12 {
			t.Errorf("the role was asked for %d times, want about once in 30 to 45 s", n)
		}
		if n := s.count("project("); n < 12 || n > 48 {
			t.Errorf("projects were asked for %d times, want at most 8 a minute each", n)
		}
	})
}

func TestForgetShowsWhatWasCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		who := basic(aliceKey)
		s.viewers[who] = alice
		s.entities[who+" vision"] = visionEntity
		d := directory(t, s)
		p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
		if err != nil {
			t.Fatal(err)
		}
		there := func() bool {
			f, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "new")
			if err != nil {
				t.Fatal(err)
			}
			return f.Project != nil
		}
		if there() {
			t.Fatal("there before it was created")
		}
		s.set(func(s *fakeServer) { s.projects[who+" vision/new"] = project("new", "PRIVATE", visionEntity, ``) })
		if there() {
			t.Fatal("the miss was not remembered")
		}
		d.Forget("vision", "new")
		if !there() {
			t.Error("not there after Forget")
		}
		s.set(func(s *fakeServer) { delete(s.projects, who+" vision/new") })
		d.Forget("vision", "")
		if there() {
			t.Error("Forget of the entity left its project")
		}
	})
}

// A question sent before Forget was called does not answer those who ask after it.
func TestForgetOvertakesLookups(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		who := basic(aliceKey)
		s.viewers[who] = alice
		s.entities[who+" vision"] = visionEntity
		d := directory(t, s)
		p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
		if err != nil {
			t.Fatal(err)
		}
		// The old answer is on its way for a second.
		slow := &slowAnswers{fakeServer: s, delay: time.Second}
		d.client.Transport = slow
		old := make(chan authz.Facts, 1)
		go func() {
			f, _ := d.Facts(context.Background(), p, apiKey(aliceKey), "vision", "new")
			old <- f
		}()
		synctest.Wait()
		s.set(func(s *fakeServer) { s.projects[who+" vision/new"] = project("new", "PRIVATE", visionEntity, ``) })
		slow.set(0)
		d.Forget("vision", "new")
		f, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "new")
		if err != nil || f.Project == nil {
			t.Errorf("joined the look-up from before: %+v, %v", f, err)
		}
		<-old
		if f, err = d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "new"); err != nil || f.Project == nil {
			t.Errorf("the old answer replaced the new one: %+v, %v", f, err)
		}
	})
}

// slowAnswers answers what was true when the question came, a while later.
type slowAnswers struct {
	*fakeServer
	mu    sync.Mutex
	delay time.Duration
}

func (s *slowAnswers) set(delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay = delay
}

func (s *slowAnswers) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	delay := s.delay
	s.mu.Unlock()
	res, err := s.fakeServer.RoundTrip(r)
	time.Sleep(delay)
	return res, err
}

// A credential that the server refuses while it is asked about a project is looked up again.
func TestRefusedWhileAsked(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = alice
	d := directory(t, s)
	p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
	if err != nil {
		t.Fatal(err)
	}
	s.set(func(s *fakeServer) { s.bad = status(401, "") })
	_, err = d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "p")
	wantKind(t, err, iam.KindUnauthenticated)
	_, err = d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
	wantKind(t, err, iam.KindUnauthenticated)
}

// An `api_key` that the server refuses is the operator's fault and nobody's denial.
func TestRefusedAdminKey(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = alice
	s.entities[basic(aliceKey)+" vision"] = visionEntity
	d := directory(t, transport(func(r *http.Request) (*http.Response, error) {
		if r.Header.Get("Authorization") == basic(rootKey) {
			return &http.Response{StatusCode: 401, Body: http.NoBody, Header: http.Header{}}, nil
		}
		return s.RoundTrip(r)
	}), withAdmin)
	p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "hidden")
	wantKind(t, err, iam.KindUnavailable)
	if !strings.Contains(err.Error(), "`api_key`") {
		t.Errorf("%v does not name the setting", err)
	}
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPlaceID(t *testing.T) {
	const inVision = `{"name":"detector","entity":{"name":"vision"}}`
	s := newFakeServer()
	s.homes["art"] = `{"artifactSequence":{"project":` + inVision + `}}`
	s.homes["col"] = `{"project":` + inVision + `}`
	s.homes["view"] = `{"project":{"name":"detector","entityName":"vision"}}`
	s.homes["cli"] = `{"serverID":"art"}`
	s.homes["loose"] = `{"artifactSequence":{"project":null}}`
	s.homes["loop"] = `{"serverID":""}`
	s.homes["half"] = `{"artifactSequence":{"project":{"name":"detector","entity":null}}}`
	tests := []struct {
		name string
		t    wandb.IDType
		id   string
		kind iam.Kind // KindInternal: placed in vision/detector
	}{
		{"artifact", wandb.IDArtifact, "art", iam.KindInternal},
		{"collection", wandb.IDCollection, "col", iam.KindInternal},
		{"client id", wandb.IDArtifactClient, "cli", iam.KindInternal},
		{"report", wandb.IDView, "view", iam.KindInternal},
		{"artifact nowhere", wandb.IDArtifact, "loose", iam.KindNotFound},
		{"client id of nothing", wandb.IDArtifactClient, "loop", iam.KindNotFound},
		{"no entity", wandb.IDArtifact, "half", iam.KindNotFound},
		{"no such id", wandb.IDArtifact, "none", iam.KindNotFound},
		{"a sort that cannot be asked", wandb.IDSweep, "art", iam.KindNotFound},
		{"empty", wandb.IDArtifact, "", iam.KindNotFound},
		{"long", wandb.IDArtifact, strings.Repeat("x", 300), iam.KindNotFound},
	}
	for _, key := range []string{"", rootKey} {
		d := directory(t, s, func(c *Config) { c.AdminKey = iam.NewSecret(key) })
		want := basic(aliceKey)
		if key != "" {
			want = basic(key)
		}
		for _, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				s.set(func(s *fakeServer) { s.asked = nil })
				entity, project, err := d.PlaceID(t.Context(), nil, apiKey(aliceKey), tt.t, tt.id)
				for _, q := range s.asked {
					if q.header.Get("Authorization") != want {
						t.Error("asked in the wrong name")
					}
				}
				if tt.kind != iam.KindInternal {
					wantKind(t, err, tt.kind)
					return
				}
				if err != nil || entity != "vision" || project != "detector" {
					t.Errorf("got %q %q %v", entity, project, err)
				}
			})
		}
	}
	d := directory(t, s)
	s.set(func(s *fakeServer) { s.bad = status(500, "") })
	_, _, err := d.PlaceID(t.Context(), nil, apiKey(aliceKey), wandb.IDArtifact, "art")
	wantKind(t, err, iam.KindUnavailable)
}

// A server that answers each question in time, but not all that belong together, is told to be slow: the
// gateway's own limits are not to blame. What it did answer counts, so that the next try succeeds.
func TestSlowServerIsCalledSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		who := basic(aliceKey)
		s.viewers[who], s.members["vision"] = alice, visionPeople
		s.entities[who+" vision"] = `{"name":"vision","isTeam":true}`
		s.projects[who+" vision/p"] = project("p", "PRIVATE", s.entities[who+" vision"], ``)
		d := directory(t, s)
		p := principal(t, d, apiKey(aliceKey))
		s.set(func(s *fakeServer) { s.delay = DefaultTimeout * 3 / 4 })
		_, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "p")
		told, _ := errors.AsType[*iam.Error](err)
		if told == nil || told.Reason != ReasonUpstream || !strings.Contains(told.Message, "did not answer within 5s") {
			t.Errorf("%v", err)
		}
		time.Sleep(told.RetryAfter + DefaultTimeout)
		if f, err := d.Facts(t.Context(), p, apiKey(aliceKey), "vision", "p"); err != nil || !may(f, authz.RunWrite) {
			t.Errorf("the next time: %v", err)
		}
	})
}
