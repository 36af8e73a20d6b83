package directory_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestNamesAndAddressesAreUnique(t *testing.T) { // S04
	h, ctx := newHouse(t), context.Background()
	h.user("alice")
	team := h.team("vision")
	h.teamAccount("ci", team)
	_, err := h.CreateUser(ctx, directory.NewUser{Username: "dave@acme.test"})
	h.ok(err)
	for _, c := range []struct {
		name  string
		new   directory.NewUser
		kind  iam.Kind
		cause string
	}{
		{"same", directory.NewUser{Username: "alice"}, iam.KindConflict, "taken by a user"},
		{"other case", directory.NewUser{Username: "ALICE"}, iam.KindConflict, "taken by a user"},
		{"a team's", directory.NewUser{Username: "Vision"}, iam.KindConflict, "taken by a team"},
		{"a service account's", directory.NewUser{Username: "CI"}, iam.KindConflict, "taken by a service account"},
		{"same e-mail in another case", directory.NewUser{Username: "bob", Email: "ALICE@ACME.TEST"}, iam.KindConflict, "e-mail address"},
		{"another's e-mail as user name", directory.NewUser{Username: "alice@acme.test"}, iam.KindConflict, "e-mail address"},
		{"another's user name as e-mail", directory.NewUser{Username: "bob", Email: "Dave@acme.test"}, iam.KindConflict, "e-mail address"},
		{"own e-mail as user name", directory.NewUser{Username: "erin@acme.test", Email: "Erin@acme.test"}, 0, ""},
		{"no name", directory.NewUser{}, iam.KindInvalid, "not a name"},
		{"slash", directory.NewUser{Username: "a/b"}, iam.KindInvalid, "not a name"},
		{"dots", directory.NewUser{Username: ".."}, iam.KindInvalid, "not a name"},
		{"Cyrillic a", directory.NewUser{Username: "аlice"}, iam.KindInvalid, "not a name"},
		{"line end in the name", directory.NewUser{Username: "bob", Name: "Bob\r\nX-Forwarded-User: root"}, iam.KindInvalid, "plain text"},
		{"line end in the e-mail", directory.NewUser{Username: "bob", Email: "bob@acme.test\r\n"}, iam.KindInvalid, "e-mail"},
		{"two @", directory.NewUser{Username: "bob", Email: "bob@evil@acme.test"}, iam.KindInvalid, "e-mail"},
		{"unknown role", directory.NewUser{Username: "bob", Role: "owner"}, iam.KindInvalid, "role"},
		{"unknown seat", directory.NewUser{Username: "bob", ModelsSeat: "half"}, iam.KindInvalid, "seat"},
	} {
		_, err := h.CreateUser(ctx, c.new)
		if c.kind == 0 {
			h.ok(err)
			continue
		}
		h.TB.Log(c.name)
		h.refused(err, c.kind, c.cause)
	}
	_, err = h.CreateTeam(ctx, "ALICE")
	h.refused(err, iam.KindConflict, "taken by a user")
	_, err = h.CreateTeam(ctx, "VISION")
	h.refused(err, iam.KindConflict, "taken by a team")
	_, err = h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "Alice", Team: team})
	h.refused(err, iam.KindConflict, "taken by a user")
	_, err = h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "CI", Team: team})
	h.refused(err, iam.KindConflict, "another service account")
	// A service account may be named like a team.
	h.teamAccount("vision", team)
	if id, err := h.FindTeam(ctx, "vision"); id != team || err != nil {
		t.Errorf("%q, %v", id, err)
	}
}

func TestChangingAnAddressFreesTheOldOne(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	_, err := h.SetUser(ctx, alice, directory.UserChange{Email: ptr("new@acme.test")})
	h.ok(err)
	for address, want := range map[string]iam.UserID{"alice@acme.test": "", "NEW@acme.test": alice} {
		if id, err := h.FindUserByEmail(ctx, address); id != want || err != nil {
			t.Errorf("%s: %q, %v", address, id, err)
		}
	}
	_, err = h.CreateUser(ctx, directory.NewUser{Username: "bob", Email: "alice@acme.test"})
	h.ok(err)
	_, err = h.SetUser(ctx, alice, directory.UserChange{Email: ptr("ALICE@acme.test")})
	h.refused(err, iam.KindConflict, "e-mail address")
	_, err = h.SetUser(ctx, alice, directory.UserChange{Email: ptr("New@acme.test")}) // case only
	h.ok(err)
	if p := h.principal(alice.Ref()); p.Email != "New@acme.test" {
		t.Errorf("e-mail %q", p.Email)
	}
}

func TestFirstPersonBecomesAdmin(t *testing.T) {
	h := newHouse(t)
	var admins atomic.Int32
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			c, err := h.CreateUser(context.Background(), directory.NewUser{Username: fmt.Sprintf("u%d", i), AdminIfFirst: true})
			if err != nil {
				t.Error(err)
				return
			}
			if c.After.Role == iam.OrganizationAdmin {
				admins.Add(1)
			}
		})
	}
	all.Wait()
	if admins.Load() != 1 {
		t.Errorf("%d are first", admins.Load())
	}
}

func TestLastAdminStays(t *testing.T) { // ORG-9, S08
	h, ctx := newHouse(t), context.Background()
	root := h.admin("root")
	h.user("alice")
	member, viewer, off := iam.OrganizationMember, iam.OrganizationViewer, false
	for name, err := range map[string]error{
		"demoted":          second(h.SetUser(ctx, root, directory.UserChange{Role: &member})),
		"made a viewer":    second(h.SetUser(ctx, root, directory.UserChange{Role: &viewer})),
		"deactivated":      second(h.SetUser(ctx, root, directory.UserChange{Active: &off})),
		"deleted":          second(h.DeleteUser(ctx, root)),
		"imported":         second(h.Import(ctx, []byte(`{"users":[{"username":"root","role":"member"}]}`), directory.ImportOptions{})),
		"pruned":           second(h.Import(ctx, []byte(`{"users":[{"username":"alice"}]}`), directory.ImportOptions{Prune: true})),
		"imported another": second(h.Import(ctx, []byte(`{"users":[{"username":"root","active":false},{"username":"eve","role":"admin","active":false}]}`), directory.ImportOptions{})),
	} {
		if err == nil || !strings.Contains(err.Error(), "without an active admin") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p := h.principal(root.Ref()); p.Role != iam.OrganizationAdmin || !p.Active {
		t.Errorf("%+v", p)
	}
	// One file may hand over.
	_, err := h.Import(ctx, []byte(`{"users":[{"username":"root","role":"member"},{"username":"alice","role":"admin"}]}`), directory.ImportOptions{})
	h.ok(err)
}

func TestTwoAdminsCannotDemoteEachOther(t *testing.T) { // ORG-9, S09, Z13
	h, ctx := newHouse(t), context.Background()
	for round := range 20 {
		a, b := h.admin(fmt.Sprintf("a%d", round)), h.admin(fmt.Sprintf("b%d", round))
		if round > 0 { // the winner of the round before goes
			h.ok(h.Users(ctx, func(u *iam.User) error {
				if u.ID == a || u.ID == b || u.Role != iam.OrganizationAdmin {
					return nil
				}
				_, err := h.DeleteUser(ctx, u.ID)
				return err
			}))
		}
		changes := []func() error{
			func() error {
				return second(h.SetUser(ctx, a, directory.UserChange{Role: ptr(iam.OrganizationMember)}))
			},
			func() error { return second(h.DeleteUser(ctx, b)) },
			func() error {
				return second(h.Import(ctx, fmt.Appendf(nil, `{"users":[{"username":"b%d","active":false}]}`, round), directory.ImportOptions{}))
			},
		}
		var all sync.WaitGroup
		for _, change := range changes {
			all.Go(func() { _ = change() })
		}
		all.Wait()
		admins := 0
		h.ok(h.Users(ctx, func(u *iam.User) error {
			if u.Active && u.Role == iam.OrganizationAdmin {
				admins++
			}
			return nil
		}))
		if admins != 1 {
			t.Fatalf("round %d: %d admins are left", round, admins)
		}
	}
}

func TestDeletedAndCreatedAgainIsSomebodyElse(t *testing.T) { // Z10
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice, bob := h.user("alice"), h.user("bob")
	vision := h.team("vision", alice, bob)
	detector := h.project(vision.Entity(), "detector", iam.VisibilityRestricted, alice.Ref(), bob.Ref())
	h.project(alice.PersonalEntity(), "diary", iam.VisibilityOpen)
	key := h.key(alice.Ref())
	c, err := h.DeleteUser(ctx, alice)
	h.ok(err)
	if c.Before.Username != "alice" || c.After != nil {
		t.Errorf("%+v", c)
	}
	if _, err := h.PrincipalByKey(ctx, key); iam.ReasonOf(err) != directory.ReasonUnknownCredential {
		t.Errorf("key of the deleted: %v", err)
	}
	if members := h.recorded(detector).Members; len(members) != 1 || members[0].Principal != bob.Ref() {
		t.Errorf("members: %v", members)
	}
	if f := h.facts(bob.Ref(), "alice", "diary"); f.Entity != nil || f.Project != nil {
		t.Errorf("the deleted person's entity: %+v", f)
	}

	again := h.user("Alice")
	if again == alice {
		t.Fatal("the same id")
	}
	p := h.principal(again.Ref())
	if len(p.Teams) != 0 {
		t.Errorf("teams: %v", p.Teams)
	}
	if _, err := h.PrincipalByKey(ctx, key); iam.ReasonOf(err) != directory.ReasonUnknownCredential {
		t.Errorf("key of the deleted, after: %v", err)
	}
	diary := h.facts(again.Ref(), "alice", "diary").Project
	if diary == nil || diary.Visibility != iam.VisibilityRestricted || diary.Invited(again.Ref()) || diary.Entity != again.PersonalEntity() {
		t.Errorf("the old diary: %+v", diary)
	}
}

func TestRecreatedTeamNameDoesNotInherit(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	project := h.project(vision.Entity(), "detector", iam.VisibilityTeam)
	bot := h.teamAccount("ci", vision)
	key := h.key(bot.Ref())
	_, err := h.DeleteTeam(ctx, vision)
	h.refused(err, iam.KindConflict, "still has 1 projects")
	_, err = h.DeleteProject(ctx, project)
	h.ok(err)
	org := h.organizationAccount("org-bot", vision)
	_, err = h.DeleteTeam(ctx, vision)
	h.refused(err, iam.KindConflict, "default team of org-bot")
	_, err = h.DeleteServiceAccount(ctx, org)
	h.ok(err)
	_, err = h.DeleteTeam(ctx, vision)
	h.ok(err)
	if _, err := h.PrincipalByKey(ctx, key); iam.ReasonOf(err) != directory.ReasonUnknownCredential {
		t.Errorf("key of the team's service account: %v", err)
	}
	if p := h.principal(alice.Ref()); len(p.Teams) != 0 {
		t.Errorf("%+v", p)
	}
	again := h.team("vision")
	if members, err := h.Members(ctx, again); again == vision || len(members) != 0 || err != nil {
		t.Errorf("%v %v %v", again, members, err)
	}
}

func TestLeavingATeamEndsInvitations(t *testing.T) { // VIS-13, PROLE-7
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision, audio := h.team("vision", alice), h.team("audio", alice)
	inside := h.project(vision.Entity(), "detector", iam.VisibilityRestricted, alice.Ref())
	other := h.project(audio.Entity(), "speech", iam.VisibilityRestricted, alice.Ref())
	_, err := h.SetProjectMember(ctx, inside, alice.Ref(), iam.RoleAdmin)
	h.ok(err)
	_, err = h.RemoveMember(ctx, vision, alice)
	h.ok(err)
	if h.recorded(inside).Invited(alice.Ref()) || !h.recorded(other).Invited(alice.Ref()) {
		t.Error("wrong invitation ended")
	}
	h.member(vision, alice, iam.RoleMember)
	if h.recorded(inside).Invited(alice.Ref()) {
		t.Error("joining again brought the invitation back")
	}
	_, err = h.RemoveMember(ctx, vision, h.user("bob"))
	h.refused(err, iam.KindNotFound, "not in this team")
}

func TestLeavingRacesWithInviting(t *testing.T) { // Z13
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	project := h.project(vision.Entity(), "detector", iam.VisibilityRestricted)
	for round := range 30 {
		u := h.user(fmt.Sprintf("u%d", round))
		h.member(vision, u, iam.RoleMember)
		var all sync.WaitGroup
		all.Go(func() { _, _ = h.SetProjectMember(ctx, project, u.Ref(), "") })
		all.Go(func() { h.check(second(h.RemoveMember(ctx, vision, u))) })
		all.Wait()
		if h.recorded(project).Invited(u.Ref()) {
			t.Fatalf("round %d: invited without being in the team", round)
		}
	}
}

func TestProjectRoles(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice, viewer, stranger := h.user("alice"), h.user("viewer"), h.user("stranger")
	vision := h.team("vision", alice)
	h.member(vision, viewer, iam.RoleViewer)
	audio := h.team("audio")
	own, foreign, all := h.teamAccount("ci", vision), h.teamAccount("audio-ci", audio), h.organizationAccount("org-bot", audio)
	_, err := h.SetRole(ctx, iam.CustomRole{Name: "launcher", Inherits: iam.RoleViewer, Permissions: []string{"run:stop"}})
	h.ok(err)
	restricted := h.project(vision.Entity(), "detector", iam.VisibilityRestricted)
	open := h.project(vision.Entity(), "open", iam.VisibilityOpen)
	mine := h.project(alice.PersonalEntity(), "mine", iam.VisibilityRestricted)

	for _, c := range []struct {
		name    string
		project iam.ProjectID
		who     iam.PrincipalRef
		role    iam.Role
		cause   string // "" if it is allowed
		want    iam.Role
	}{
		{"PROLE-3 follows", restricted, alice.Ref(), "", "", ""},
		{"PROLE-2 differs", restricted, alice.Ref(), iam.RoleAdmin, "", iam.RoleAdmin},
		{"PROLE-2 custom", restricted, alice.Ref(), "launcher", "", "launcher"},
		{"unknown custom", restricted, alice.Ref(), "pilot", "there is no role", ""},
		{"PROLE-10 equal is following", restricted, alice.Ref(), iam.RoleMember, "", ""},
		{"PROLE-1 open", open, alice.Ref(), iam.RoleAdmin, "only team and restricted", ""},
		{"open, no role", open, alice.Ref(), "", "", ""},
		{"PROLE-4 View-Only", restricted, viewer.Ref(), iam.RoleMember, "View-Only", ""},
		{"View-Only, no role", restricted, viewer.Ref(), "", "", ""},
		{"not in the team", restricted, stranger.Ref(), "", "not in the team", ""},
		{"not in the team, role", restricted, stranger.Ref(), iam.RoleViewer, "not in the team", ""},
		{"own service account", restricted, own.Ref(), iam.RoleMember, "", ""},
		{"organization's service account", restricted, all.Ref(), "", "", ""},
		{"another team's service account", restricted, foreign.Ref(), "", "not in the team", ""},
		{"SA-8 custom role", restricted, own.Ref(), "launcher", "cannot have the custom role", ""},
		{"personal project", mine, stranger.Ref(), "", "personal one", ""},
		{"nobody", restricted, iam.PrincipalRef{}, "", "nobody", ""},
		{"unknown user", restricted, iam.PrincipalRef{Kind: iam.KindUser, ID: "usr_none"}, "", "there is no user", ""},
	} {
		_, err := h.SetProjectMember(ctx, c.project, c.who, c.role)
		if c.cause != "" {
			if err == nil || !strings.Contains(err.Error(), c.cause) {
				t.Errorf("%s: %v", c.name, err)
			}
			continue
		}
		m, ok := h.recorded(c.project).Member(c.who)
		if err != nil || !ok || m.Role != c.want {
			t.Errorf("%s: %v, %v", c.name, m, err)
		}
	}
}

func TestProjectRoleIsStickyUntilEqual(t *testing.T) { // PROLE-5, PROLE-6, PROLE-10
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	project := h.project(vision.Entity(), "detector", iam.VisibilityRestricted)
	_, err := h.SetProjectMember(ctx, project, alice.Ref(), iam.RoleAdmin)
	h.ok(err)
	role := func() iam.Role { m, _ := h.recorded(project).Member(alice.Ref()); return m.Role }
	h.member(vision, alice, iam.RoleViewer)
	if role() != iam.RoleAdmin {
		t.Errorf("View-Only beats it, and does not end it: %q", role())
	}
	h.member(vision, alice, iam.RoleMember)
	if role() != iam.RoleAdmin {
		t.Errorf("sticky: %q", role())
	}
	h.member(vision, alice, iam.RoleAdmin)
	h.member(vision, alice, iam.RoleMember)
	if role() != "" {
		t.Errorf("was equal once, so it follows: %q", role())
	}
}

func TestVisibility(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	project := h.project(vision.Entity(), "detector", iam.VisibilityTeam)
	_, err := h.SetProjectMember(ctx, project, alice.Ref(), iam.RoleAdmin)
	h.ok(err)
	h.ok(h.SetVisibility(ctx, project, iam.VisibilityRestricted))
	for _, v := range []iam.Visibility{iam.VisibilityOpen, iam.VisibilityPublic} { // VIS-11
		h.refused(h.SetVisibility(ctx, project, v), iam.KindInvalid, "can only become a team project")
	}
	h.refused(h.SetVisibility(ctx, project, 17), iam.KindInvalid, "no visibility")
	h.ok(h.SetVisibility(ctx, project, iam.VisibilityTeam))
	if m, _ := h.recorded(project).Member(alice.Ref()); m.Role != iam.RoleAdmin {
		t.Errorf("role %q", m.Role)
	}
	h.ok(h.SetVisibility(ctx, project, iam.VisibilityOpen))
	if m, ok := h.recorded(project).Member(alice.Ref()); !ok || m.Role != "" { // PROLE-1
		t.Errorf("role %q in an open project", m.Role)
	}
	h.refused(h.SetVisibility(ctx, "prj_none", iam.VisibilityOpen), iam.KindNotFound, "no project")
}

func TestRecordProjectIsIdempotent(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	n := directory.NewProject{Entity: vision.Entity(), Name: "detector", Visibility: iam.VisibilityTeam, Owner: alice.Ref()}
	var created atomic.Int32
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			made, err := h.RecordProject(ctx, n)
			if err != nil {
				t.Error(err)
			}
			if made {
				created.Add(1)
			}
		})
	}
	all.Wait()
	if created.Load() != 1 {
		t.Errorf("created %d times", created.Load())
	}
	n.Visibility, n.Owner = iam.VisibilityOpen, iam.PrincipalRef{}
	if made, err := h.RecordProject(ctx, n); made || err != nil {
		t.Error(made, err)
	}
	if p := h.facts(alice.Ref(), "vision", "detector").Project; p.Visibility != iam.VisibilityTeam || p.Owner != alice.Ref() {
		t.Errorf("%+v", p)
	}
	for name, n := range map[string]directory.NewProject{
		"no such entity":  {Entity: "team_none", Name: "x"},
		"no entity":       {Name: "x"},
		"no name":         {Entity: vision.Entity()},
		"path as name":    {Entity: vision.Entity(), Name: "a/b"},
		"unknown owner":   {Entity: vision.Entity(), Name: "x", Owner: iam.PrincipalRef{Kind: iam.KindUser, ID: "usr_none"}},
		"bad visibility":  {Entity: vision.Entity(), Name: "x", Visibility: 17},
		"entity as a key": {Entity: "team_/../../user", Name: "x"},
	} {
		if _, err := h.RecordProject(ctx, n); err == nil {
			t.Errorf("%s: recorded", name)
		}
	}
}

func TestKeys(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice, bob := h.user("alice"), h.user("bob")
	secret, c, err := h.MintKey(ctx, alice.Ref(), "laptop")
	h.ok(err)
	if c.Before != nil || c.After.ID != apikey.ID(secret) || c.After.Name != "laptop" || c.After.Owner != alice.Ref() {
		t.Errorf("%+v", c)
	}
	foreign := iam.NewSecret("local-" + strings.Repeat("9f", 20))
	_, err = h.ImportKey(ctx, bob.Ref(), "old", foreign)
	h.ok(err)
	revision := h.revision()
	_, err = h.ImportKey(ctx, bob.Ref(), "old", foreign)
	h.ok(err)
	if h.revision() != revision {
		t.Error("importing the same key again wrote")
	}
	_, err = h.ImportKey(ctx, alice.Ref(), "mine now", foreign)
	h.refused(err, iam.KindConflict, "belongs to somebody else")
	for text, cause := range map[string]string{
		"wbg-123":         "checksum",
		"eyJh.eyJz.c2ln":  "JWT",
		"short":           "printable",
		"with blank here": "printable",
	} {
		_, err := h.ImportKey(ctx, alice.Ref(), "", iam.NewSecret(text))
		h.refused(err, iam.KindInvalid, cause)
	}

	_, err = h.RenameKey(ctx, iam.PrincipalRef{}, c.After.ID, "desktop")
	h.ok(err)
	var listed []directory.Key
	collect := func(k directory.Key) error { listed = append(listed, k); return nil }
	h.ok(h.Keys(ctx, alice.Ref(), collect))
	if len(listed) != 1 || listed[0].Name != "desktop" {
		t.Errorf("%+v", listed)
	}
	h.ok(h.Keys(ctx, iam.PrincipalRef{}, collect))
	if len(listed) != 3 {
		t.Errorf("%+v", listed)
	}

	_, err = h.DeleteKey(ctx, bob.Ref(), c.After.ID)
	h.refused(err, iam.KindNotFound, "belongs to somebody else")
	_, err = h.DeleteKey(ctx, iam.PrincipalRef{}, "../x")
	h.refused(err, iam.KindInvalid, "8 hex digits")
	if _, err := h.PrincipalByKey(ctx, secret); err != nil {
		t.Error(err)
	}
	_, err = h.DeleteKey(ctx, alice.Ref(), c.After.ID)
	h.ok(err)
	if _, err := h.PrincipalByKey(ctx, secret); iam.ReasonOf(err) != directory.ReasonUnknownCredential { // KEY-7
		t.Errorf("deleted: %v", err)
	}
	if _, _, err := h.MintKey(ctx, iam.PrincipalRef{Kind: iam.KindUser, ID: "usr_none"}, ""); iam.KindOf(err) != iam.KindNotFound {
		t.Errorf("key for nobody: %v", err)
	}
}

func TestExternalServiceAccounts(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	const issuer, subject = "https://token.example", "repo:acme/detector"
	c, err := h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "gh", Team: vision, Issuer: issuer, Subject: subject})
	h.ok(err)
	gh := c.After.ID
	_, _, err = h.MintKey(ctx, gh.Ref(), "x") // KEY-4
	h.refused(err, iam.KindInvalid, "owns no API keys")
	for pair, want := range map[[2]string]iam.ServiceAccountID{
		{issuer, subject}: gh, {issuer, subject + "x"}: "", {issuer + "/", subject}: "", {issuer + "r", "epo:acme/detector"}: "",
		{issuer, ""}: "", {"", ""}: "", {issuer, strings.ToUpper(subject)}: "",
	} {
		if id, err := h.FindServiceAccountBySubject(ctx, pair[0], pair[1]); id != want || err != nil {
			t.Errorf("%v: %q, %v", pair, id, err)
		}
	}
	_, err = h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "gh2", Team: vision, Issuer: issuer, Subject: subject})
	h.refused(err, iam.KindConflict, "two would be one")
	_, err = h.SetServiceAccount(ctx, gh, directory.ServiceAccountChange{Subject: ptr("other")})
	h.ok(err)
	if id, err := h.FindServiceAccountBySubject(ctx, issuer, subject); id != "" || err != nil {
		t.Errorf("the old subject still stands: %q, %v", id, err)
	}
	own := h.teamAccount("ci", vision)
	h.key(own.Ref())
	_, err = h.SetServiceAccount(ctx, own, directory.ServiceAccountChange{Issuer: ptr(issuer), Subject: ptr("z")})
	h.refused(err, iam.KindConflict, "delete them first")

	for name, n := range map[string]directory.NewServiceAccount{
		"neither team nor default team": {Name: "x"},
		"both":                          {Name: "x", Team: vision, DefaultTeam: vision},
		"issuer only":                   {Name: "x", Team: vision, Issuer: issuer},
		"subject only":                  {Name: "x", Team: vision, Subject: "s"},
	} {
		if _, err := h.CreateServiceAccount(ctx, n); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, err = h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "x", Team: "team_none"})
	h.refused(err, iam.KindNotFound, "no team")
}

func TestDeletingAServiceAccountEndsItsInvitations(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	bot := h.organizationAccount("bot", vision)
	project := h.project(vision.Entity(), "detector", iam.VisibilityRestricted, bot.Ref())
	_, err := h.DeleteServiceAccount(ctx, bot)
	h.ok(err)
	if members := h.recorded(project).Members; len(members) != 0 {
		t.Errorf("%v", members)
	}
	if id, err := h.FindServiceAccount(ctx, "bot"); id != "" || err != nil {
		t.Error(id, err)
	}
	h.user("bot") // the name is free
}

func TestCustomRoles(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	role := iam.CustomRole{Name: "launcher", Inherits: iam.RoleViewer, Permissions: []string{"run:stop", "artifact:read", "run:stop"}}
	c, err := h.SetRole(ctx, role)
	h.ok(err)
	if c.Before != nil || c.After.ID == "" || fmt.Sprint(c.After.Permissions) != "[artifact:read run:stop]" {
		t.Errorf("%+v", c)
	}
	for name, bad := range map[string]iam.CustomRole{
		"predefined":          {Name: "Admin", Inherits: iam.RoleViewer},
		"View-Only":           {Name: "view-only", Inherits: iam.RoleViewer},
		"no name":             {Inherits: iam.RoleViewer},
		"inherits nothing":    {Name: "x"},
		"inherits admin":      {Name: "x", Inherits: iam.RoleAdmin},
		"inherits custom":     {Name: "x", Inherits: "launcher"},
		"everything":          {Name: "x", Inherits: iam.RoleViewer, Permissions: []string{"*"}},
		"everything on runs":  {Name: "x", Inherits: iam.RoleViewer, Permissions: []string{"run:*"}},
		"capitals":            {Name: "x", Inherits: iam.RoleViewer, Permissions: []string{"Run:stop"}},
		"no operation":        {Name: "x", Inherits: iam.RoleViewer, Permissions: []string{"run"}},
		"empty permission":    {Name: "x", Inherits: iam.RoleViewer, Permissions: []string{""}},
		"line end":            {Name: "x", Inherits: iam.RoleViewer, Permissions: []string{"run:stop\n"}},
		"too many":            {Name: "x", Inherits: iam.RoleViewer, Permissions: make([]string, 201)},
		"endless description": {Name: "x", Inherits: iam.RoleViewer, Description: strings.Repeat("x", 2000)},
	} {
		if _, err := h.SetRole(ctx, bad); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}

	alice, viewer := h.user("alice"), h.user("viewer")
	vision := h.team("vision", alice)
	h.member(vision, alice, "launcher")
	project := h.project(vision.Entity(), "detector", iam.VisibilityTeam)
	h.member(vision, viewer, iam.RoleMember)
	_, err = h.SetProjectMember(ctx, project, viewer.Ref(), "launcher")
	h.ok(err)
	_, err = h.SetMember(ctx, vision, alice, "pilot")
	h.refused(err, iam.KindInvalid, "there is no role")
	_, err = h.SetMember(ctx, vision, alice, "Launcher") // SCIM-26: exactly
	h.refused(err, iam.KindInvalid, "there is no role")

	_, err = h.DeleteRole(ctx, "launcher") // ROLE-9
	h.ok(err)
	if m, _ := h.principal(alice.Ref()).Membership(vision); m.Role != iam.RoleViewer {
		t.Errorf("team role %q", m.Role)
	}
	if m, _ := h.recorded(project).Member(viewer.Ref()); m.Role != iam.RoleViewer {
		t.Errorf("project role %q", m.Role)
	}
	_, err = h.SetRole(ctx, role)
	h.ok(err)
	if m, _ := h.principal(alice.Ref()).Membership(vision); m.Role != iam.RoleViewer {
		t.Errorf("a role of the old name came back: %q", m.Role)
	}
	_, err = h.DeleteRole(ctx, "pilot")
	h.refused(err, iam.KindNotFound, "no custom role")
}

func TestOrganizationViewersHaveNoCustomRoles(t *testing.T) { // ROLE-12
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	_, err := h.SetRole(ctx, iam.CustomRole{Name: "launcher", Inherits: iam.RoleMember})
	h.ok(err)
	alice := h.user("alice")
	vision := h.team("vision", alice)
	h.member(vision, alice, "launcher")
	_, err = h.SetUser(ctx, alice, directory.UserChange{Role: ptr(iam.OrganizationViewer)})
	h.ok(err)
	if m, _ := h.principal(alice.Ref()).Membership(vision); m.Role != iam.RoleMember {
		t.Errorf("role %q", m.Role)
	}
	_, err = h.SetMember(ctx, vision, alice, "launcher")
	h.refused(err, iam.KindInvalid, "viewer of the organization")
}

func TestConcurrentChangesToOnePersonAllCount(t *testing.T) { // S09
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	var all sync.WaitGroup
	for i := range 6 {
		team := h.team(fmt.Sprintf("t%d", i))
		all.Go(func() { h.check(second(h.SetMember(ctx, team, alice, iam.RoleMember))) })
	}
	all.Go(func() { h.check(second(h.SetUser(ctx, alice, directory.UserChange{Name: ptr("Alice")}))) })
	all.Wait()
	if p := h.principal(alice.Ref()); len(p.Teams) != 6 || p.Name != "Alice" {
		t.Errorf("%+v", p)
	}
}

func TestMembersChangeTogetherOrNotAtAll(t *testing.T) { // S06
	h, ctx := newHouse(t), context.Background()
	alice, bob, carol := h.user("alice"), h.user("bob"), h.user("carol")
	vision := h.team("vision", alice)
	revision := h.revision()
	_, err := h.UpdateMembers(ctx, vision, []directory.TeamMember{{User: bob, Role: iam.RoleMember}, {User: "usr_none", Role: iam.RoleMember}}, []iam.UserID{alice})
	h.refused(err, iam.KindNotFound, "no user")
	_, err = h.CreateTeam(ctx, "audio", directory.TeamMember{User: bob, Role: "pilot"})
	h.refused(err, iam.KindInvalid, "there is no role")
	if h.revision() != revision {
		t.Error("half of it was written")
	}
	changes, err := h.UpdateMembers(ctx, vision, []directory.TeamMember{{User: bob, Role: iam.RoleAdmin}, {User: bob, Role: iam.RoleAdmin}}, []iam.UserID{alice, carol})
	h.ok(err)
	members, err := h.Members(ctx, vision)
	h.ok(err)
	if len(changes) != 2 || len(members) != 1 || members[0].ID != bob {
		t.Errorf("%v, %v", changes, members)
	}
}

func TestSyncTeams(t *testing.T) { // ENV-20
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision")
	h.team("audio", alice)
	h.member(vision, alice, iam.RoleAdmin)
	h.team("text")
	for _, c := range []struct {
		name    string
		claim   []string
		teams   string
		unknown int
		changes int
	}{
		{"stays, leaves, joins; unknown and equal names", []string{"Vision", "text", "text", "nowhere", "alice", ""}, "text:member vision:admin", 3, 2},
		{"the same again", []string{"vision", "text"}, "text:member vision:admin", 0, 0},
		{"empty leaves all", nil, "", 0, 2},
	} {
		changes, unknown, err := h.SyncTeams(ctx, alice, c.claim)
		h.ok(err)
		var teams []string
		for _, m := range h.principal(alice.Ref()).Teams {
			teams = append(teams, m.Name+":"+string(m.Role))
		}
		if got := strings.Join(teams, " "); got != c.teams || len(unknown) != c.unknown || len(changes) != c.changes {
			t.Errorf("%s: %q, unknown %v, changes %v", c.name, got, unknown, changes)
		}
	}
}

// TestFactsAreOfOneRevision looks from many sides while a membership and a project change places:
// alice is in the team, or the project is there, never both (Z05).
func TestFactsAreOfOneRevision(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	key := h.key(alice.Ref())
	done := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for looked := 0; ; looked++ {
				select {
				case <-done:
					if looked == 0 {
						t.Error("never looked")
					}
					return
				default:
				}
				p, err := h.PrincipalByKey(ctx, key)
				if err != nil {
					t.Error(err)
					return
				}
				f, err := h.Facts(ctx, p, "vision", "secret")
				if iam.KindOf(err) == iam.KindUnavailable {
					continue // restless: neither yes nor no
				}
				if err != nil {
					t.Error(err)
					return
				}
				if _, member := f.Principal.Membership(vision); member && f.Project != nil {
					t.Error("the membership of before met the project of after")
					return
				}
			}
		})
	}
	for range 100 {
		h.check(second(h.RemoveMember(ctx, vision, alice)))
		c, err := h.CreateProject(ctx, directory.NewProject{Entity: vision.Entity(), Name: "secret", Visibility: iam.VisibilityTeam})
		if err != nil {
			t.Error(err)
			break
		}
		h.check(second(h.DeleteProject(ctx, c.After.ID)))
		h.check(second(h.SetMember(ctx, vision, alice, iam.RoleMember)))
	}
	close(done)
	all.Wait()
}

func TestDeletingRacesWithAdding(t *testing.T) { // Z13: nothing is left behind for what was deleted
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	for round := range 25 {
		alice, member := h.user(fmt.Sprintf("alice%d", round)), h.user(fmt.Sprintf("member%d", round))
		team := h.team(fmt.Sprintf("team%d", round))
		var all sync.WaitGroup
		all.Go(func() { h.check(second(h.DeleteUser(ctx, alice))) })
		all.Go(func() { _, _, _ = h.MintKey(ctx, alice.Ref(), "late") })
		all.Go(func() { _, _ = h.DeleteTeam(ctx, team) })
		all.Go(func() { _, _ = h.SetMember(ctx, team, member, iam.RoleMember) })
		all.Go(func() { _, _ = h.RecordProject(ctx, directory.NewProject{Entity: team.Entity(), Name: "late"}) })
		all.Wait()

		h.ok(h.Keys(ctx, iam.PrincipalRef{}, func(k directory.Key) error {
			t.Errorf("round %d: key %s of a deleted user", round, k.ID)
			return nil
		}))
		if _, err := h.Team(ctx, team); iam.KindOf(err) != iam.KindNotFound {
			continue // the project was first
		}
		if p := h.principal(member.Ref()); len(p.Teams) != 0 {
			t.Errorf("round %d: in a deleted team", round)
		}
		u, err := h.User(ctx, member)
		h.ok(err)
		h.ok(h.Projects(ctx, team.Entity(), func(p *iam.Project) error {
			t.Errorf("round %d: project of a deleted team", round)
			return nil
		}))
		if len(u.Teams) != 0 {
			t.Errorf("round %d: recorded in a deleted team", round)
		}
	}
}

// A billing admin is not deleted while the organization has other members, by whatever way (ORG-8).
func TestBillingAdminStays(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	yes, no := true, false
	root, bill := h.admin("root"), h.user("bill")
	h.ok(second(h.SetUser(ctx, bill, directory.UserChange{BillingAdmin: &yes})))
	for name, err := range map[string]error{
		"deleted": second(h.DeleteUser(ctx, bill)),
		"removed": second(h.RemoveUser(ctx, bill, func(directory.Person) error { return nil })),
		"pruned":  second(h.Import(ctx, []byte(`{"users":[{"username":"root"}]}`), directory.ImportOptions{Prune: true})),
	} {
		if err == nil || !strings.Contains(err.Error(), "bill is billing admin of an organization with other members") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if p := h.principal(bill.Ref()); !p.Active {
		t.Errorf("%+v", p)
	}
	h.ok(second(h.SetUser(ctx, bill, directory.UserChange{Active: &no}))) // which ends access, and no contract
	if err := second(h.DeleteUser(ctx, bill)); iam.ReasonOf(err) != directory.ReasonBillingAdmin {
		t.Errorf("deleted when deactivated: %v", err)
	}
	// Another one takes over.
	h.ok(second(h.SetUser(ctx, root, directory.UserChange{BillingAdmin: &yes})))
	h.ok(second(h.SetUser(ctx, bill, directory.UserChange{BillingAdmin: &no})))
	h.ok(second(h.DeleteUser(ctx, bill)))
	// Alone, it is the last admin's rule that counts.
	if err := second(h.DeleteUser(ctx, root)); iam.ReasonOf(err) != directory.ReasonLastAdmin {
		t.Errorf("the last one: %v", err)
	}
	// One file may hand over and delete.
	ann := h.user("ann")
	_, err := h.Import(ctx, []byte(`{"users":[{"username":"ann","role":"admin","billing_admin":true},{"username":"root","billing_admin":false}]}`), directory.ImportOptions{})
	h.ok(err)
	h.ok(second(h.DeleteUser(ctx, root)))
	if p := h.principal(ann.Ref()); p.Role != iam.OrganizationAdmin {
		t.Errorf("%+v", p)
	}
	// The only member may go, if nobody has to administer: an organization whose admins were never named.
	lone := newHouse(t)
	only, err := lone.CreateUser(ctx, directory.NewUser{Username: "only", BillingAdmin: true})
	h.ok(err)
	h.ok(second(lone.DeleteUser(ctx, only.After.ID)))
}
