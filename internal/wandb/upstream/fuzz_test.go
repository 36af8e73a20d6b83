package upstream

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Whatever the server answers, a principal is somebody, is the server's, and can be written into
// headers.
func FuzzReadViewer(f *testing.F) {
	f.Add([]byte(`{"data":{"viewer":` + alice + `}}`))
	f.Add([]byte(`{"data":{"viewer":null}}`))
	f.Add([]byte(`{"data":null,"errors":[{"message":"x","path":[0],"extensions":{"code":{}}}]}`))
	f.Add([]byte(`{"data":{"viewer":{"username":"a\r\nb","id":"\u2028","email":"\u0000"}}}`))
	f.Add([]byte(`{"data":{"viewer":{"username":"@x","teams":{"edges":[{"node":{"name":"a,b"}},null]}}}}`))
	f.Add([]byte(`{"data":{"viewer":{"id":"1","id":"2","ID":"3","deletedAt":""}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseReply(body)
		if err != nil {
			return
		}
		v, err := viewerOf(r)
		if err != nil || v == nil {
			return
		}
		p := v.toPrincipal("acme")
		if !strings.HasPrefix(p.Ref.ID, userPrefix) || len(p.Ref.ID) <= len(userPrefix) {
			t.Fatalf("id %q", p.Ref.ID)
		}
		if p.Username != "" && !iam.ValidName(p.Username) || p.DefaultEntity != "" && !iam.ValidName(p.DefaultEntity) {
			t.Fatalf("names %q, %q", p.Username, p.DefaultEntity)
		}
		for _, s := range []string{p.Ref.String(), p.Email, p.Name} {
			if strings.ContainsAny(s, "\r\n\x00") {
				t.Fatalf("%q breaks a header", s)
			}
		}
		for _, m := range p.Teams {
			if m.ID != TeamID(m.Name) || !iam.ValidName(m.Name) || m.Role != iam.RoleMember {
				t.Fatalf("team %+v", m)
			}
		}
	})
}

// Whatever the server answers, nobody writes to what it calls read-only, and nothing hidden is read.
func FuzzReadProject(f *testing.F) {
	f.Add([]byte(`{"data":{"project":`+project("p", "PRIVATE", visionEntity, `"readOnly":false`)+`,"entity":`+visionEntity+`}}`), false)
	f.Add([]byte(`{"data":{"project":`+project("p", "RESTRICTED", audioEntity, `"readOnly":true`)+`,"entity":null}}`), true)
	f.Add([]byte(`{"data":{"project":{"name":"p","access":null,"readOnly":null,"entity":{"name":"alice"}},"entity":null}}`), false)
	f.Add([]byte(`{"data":{"project":null,"entity":null},"errors":[{"message":"not found"}]}`), false)
	f.Add([]byte(`{"data":{"project":{"name":"p","user":{"id":"VXNlcjox"},"entity":{"name":"alice","isTeam":false}},"entity":[]}}`), true)
	d := directory(f, newFakeServer())
	p := &iam.Principal{
		Ref: userID("VXNlcjox").Ref(), Organization: "acme", Username: "alice", Active: true, Role: iam.OrganizationMember,
		ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull, PersonalEntity: "alice", FromUpstream: true,
		Teams: []iam.Membership{{TeamRef: iam.TeamRef{ID: TeamID("vision"), Name: "vision"}, Role: iam.RoleMember}},
	}
	f.Fuzz(func(t *testing.T, body []byte, hidden bool) {
		r, err := parseReply(body)
		if err != nil {
			return
		}
		a, err := answeredOf(r, true)
		if err != nil {
			return
		}
		s := d.shownBy(a)
		s.hidden = hidden && a.project != nil
		facts := s.facts(d, p)
		if (facts.Project == nil) != (a.project == nil) || facts.Project != nil && facts.Project.Entity != facts.Entity.ID {
			t.Fatalf("facts %+v of %+v", facts, s)
		}
		write := authz.Decide(authz.Request{Permission: authz.RunWrite}, facts)
		switch {
		case s.hidden && mayRead(facts):
			t.Fatalf("a hidden project is read: %s", body)
		case a.project != nil && a.project.ReadOnly != nil && *a.project.ReadOnly && write.Allowed() && !s.hidden:
			t.Fatalf("a read-only project is written: %s (%s)", body, write.Reason)
		}
	})
}

// Whatever the server answers, only a row that has the claimed name or address, and that is no
// service account, is named, in a form that can be written into headers.
func FuzzReadPeople(f *testing.F) {
	f.Add([]byte(visionPeople), "alice", true)
	f.Add([]byte(visionPeople), "shared@acme.test", false)
	f.Add([]byte(audioPeople), "ci", true)
	f.Add([]byte(`[null,{"username":"a\r\nb","accountType":{}},{"username":"@","email":"@"}]`), "@", true)
	f.Add([]byte(`[{"accountType":"SERVICE","accountType":null,"username":"x"}]`), "x", true)
	d := &Directory{organization: "acme"}
	f.Fuzz(func(t *testing.T, body []byte, name string, byName bool) {
		var list people
		if json.Unmarshal(body, &list) != nil || name == "" {
			return
		}
		by := purposePersonByEmail
		if byName {
			by = purposePersonByName
		}
		row, told := list.find(by, name)
		person := d.toPerson(row)
		if person == nil {
			return
		}
		if !told || row.Account == accountService || row.Username != name && iam.FoldName(row.Email) != iam.FoldName(name) {
			t.Fatalf("%q names %+v", name, row)
		}
		if !iam.ValidName(person.Username) || strings.ContainsAny(person.Email, "\r\n\x00") || !person.IsUser() {
			t.Fatalf("%+v", person)
		}
	})
}
