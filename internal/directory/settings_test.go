package directory_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func (h *house) set(team iam.TeamID, c directory.TeamSettingsChange) {
	h.Helper()
	_, err := h.SetTeam(context.Background(), team, directory.TeamChange{Settings: c})
	h.ok(err)
}

func (h *house) enforce(c directory.OrganizationChange) {
	h.Helper()
	_, err := h.SetOrganization(context.Background(), c)
	h.ok(err)
}

// within waits until something holds that another cache hears of.
func within(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(what)
		}
	}
}

func (h *house) teamsOf(id iam.UserID) string {
	h.Helper()
	p := h.principal(id.Ref())
	names := make([]string, len(p.Teams))
	for i, m := range p.Teams {
		names[i] = m.Name + ":" + string(m.Role)
	}
	return strings.Join(names, " ")
}

// TestSettingsReachTheFacts: what is set is in the facts of the next decision, in everybody's cache.
func TestSettingsReachTheFacts(t *testing.T) {
	h := newHouse(t)
	other := onStore(t, h.store, authz.Settings{}) // another gateway on the same store
	alice := h.user("alice")
	vision := h.team("vision", alice)
	for _, c := range []struct {
		name string
		do   func()
		want iam.TeamSettings
	}{
		{"nothing", func() {}, iam.TeamSettings{}},
		{"on", func() { h.set(vision, directory.TeamSettingsChange{Hidden: ptr(true), AutoJoin: ptr(true)}) }, iam.TeamSettings{Hidden: true, AutoJoin: true}},
		{"one more", func() { h.set(vision, directory.TeamSettingsChange{MembersInvite: ptr(true)}) }, iam.TeamSettings{Hidden: true, AutoJoin: true, MembersInvite: true}},
		{"off", func() { h.set(vision, directory.TeamSettingsChange{Hidden: ptr(false)}) }, iam.TeamSettings{AutoJoin: true, MembersInvite: true}},
		{"enforced", func() {
			h.enforce(directory.OrganizationChange{EnforcePrivateProjects: ptr(iam.SwitchOn), EnforceMembersInvite: ptr(iam.SwitchOff)})
		}, iam.TeamSettings{AutoJoin: true, PrivateProjects: true}},
		{"no longer", func() {
			h.enforce(directory.OrganizationChange{EnforcePrivateProjects: ptr(iam.SwitchUnset), EnforceMembersInvite: ptr(iam.SwitchUnset)})
		}, iam.TeamSettings{AutoJoin: true, MembersInvite: true}},
	} {
		h.facts(alice.Ref(), "vision", "") // remembered as they are before
		c.do()
		f := h.facts(alice.Ref(), "vision", "")
		if got := f.TeamSettings(); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
		within(t, c.name+", at the other gateway", func() bool {
			f, err := other.Facts(context.Background(), nil, "vision", "")
			return err == nil && f.TeamSettings() == c.want
		})
		if f := h.facts(alice.Ref(), "alice", ""); f.TeamSettings() != (iam.TeamSettings{}) || f.Enforced != (iam.EnforcedSettings{}) {
			t.Errorf("%s: a personal entity has %+v", c.name, f.TeamSettings())
		}
	}
	before := h.revision()
	h.set(vision, directory.TeamSettingsChange{AutoJoin: ptr(true)})
	h.enforce(directory.OrganizationChange{EnforceHidden: ptr(iam.SwitchUnset)})
	if h.revision() != before {
		t.Error("what changes nothing wrote something")
	}
	_, err := h.SetTeam(context.Background(), "team_nobody", directory.TeamChange{Settings: directory.TeamSettingsChange{Hidden: ptr(true)}})
	h.refused(err, iam.KindNotFound, "there is no team")
}

// TestEnforcedSettingsAreNotTheTeams: PRIV-2. What the organization decides cannot be set otherwise, and what a team
// had chosen before is there again afterwards.
func TestEnforcedSettingsAreNotTheTeams(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	h.set(vision, directory.TeamSettingsChange{Hidden: ptr(true)})
	h.enforce(directory.OrganizationChange{EnforceHidden: ptr(iam.SwitchOff), EnforcePrivateProjects: ptr(iam.SwitchOn), EnforceMembersInvite: ptr(iam.SwitchOff)})
	before := h.revision()
	for _, c := range []struct {
		change directory.TeamSettingsChange
		cause  string
	}{
		{directory.TeamSettingsChange{MembersInvite: ptr(true)}, "the organization has set members-invite off for all teams"},
		{directory.TeamSettingsChange{MembersInvite: ptr(true), AutoJoin: ptr(true)}, "`iam organization set --enforce-members-invite unset`"},
		// To leave private-projects as it is changes nothing, so that it is not what is wrong.
		{directory.TeamSettingsChange{PrivateProjects: ptr(false), MembersInvite: ptr(true)}, "team vision cannot have it otherwise"},
	} {
		_, err := h.SetTeam(ctx, vision, directory.TeamChange{Settings: c.change, Remove: []iam.UserID{alice}})
		h.refused(err, iam.KindDenied, c.cause)
		if iam.ReasonOf(err) != directory.ReasonEnforced {
			t.Errorf("%s: %v", c.cause, iam.ReasonOf(err))
		}
	}
	if h.revision() != before {
		t.Error("a refused change wrote something")
	}
	h.set(vision, directory.TeamSettingsChange{PrivateProjects: ptr(true)}) // as it is enforced
	h.set(vision, directory.TeamSettingsChange{AutoJoin: ptr(true)})        // which nobody enforces
	_, err := h.SetTeam(ctx, vision, directory.TeamChange{Settings: directory.TeamSettingsChange{PrivateProjects: ptr(false)}})
	h.refused(err, iam.KindDenied, "private-projects on")
	f := h.facts(alice.Ref(), "vision", "")
	if got := f.TeamSettings(); got != (iam.TeamSettings{PrivateProjects: true, AutoJoin: true}) {
		t.Errorf("%+v", got)
	}
	h.enforce(directory.OrganizationChange{EnforceHidden: ptr(iam.SwitchUnset)})
	if f := h.facts(alice.Ref(), "vision", ""); !f.TeamSettings().Hidden {
		t.Error("the team has lost what it had chosen")
	}
}

// TestWhatAProjectCanBecome: VIS-11 and VIS-14 at every way in which a visibility is set.
func TestWhatAProjectCanBecome(t *testing.T) {
	const restricted, team, public, open = iam.VisibilityRestricted, iam.VisibilityTeam, iam.VisibilityPublic, iam.VisibilityOpen
	set := func(id iam.ProjectID, v iam.Visibility) func(*house) error {
		return func(h *house) error { return h.SetVisibility(context.Background(), id, v) }
	}
	h := newHouse(t)
	alice := h.user("alice")
	vision := h.team("vision", alice)
	was := map[iam.Visibility]iam.ProjectID{}
	for _, v := range []iam.Visibility{restricted, team, public, open} {
		was[v] = h.project(vision.Entity(), v.String(), v)
	}
	personal := h.project(alice.PersonalEntity(), "mine", team)
	create := func(v iam.Visibility) func(*house) error {
		return func(h *house) error {
			_, err := h.CreateProject(context.Background(), directory.NewProject{Entity: vision.Entity(), Name: "new-" + v.String(), Visibility: v})
			return err
		}
	}
	record := func(v iam.Visibility) func(*house) error {
		return func(h *house) error {
			_, err := h.RecordProject(context.Background(), directory.NewProject{Entity: vision.Entity(), Name: "passed-" + v.String(), Visibility: v})
			return err
		}
	}
	imports := func(name, visibility string) func(*house) error {
		return func(h *house) error {
			_, err := h.Import(context.Background(), []byte(fmt.Sprintf(`{"projects":[{"entity":"vision","name":%q,"visibility":%q}]}`, name, visibility)), directory.ImportOptions{})
			return err
		}
	}
	h.set(vision, directory.TeamSettingsChange{PrivateProjects: ptr(true)})
	for _, c := range []struct {
		name   string
		do     func(*house) error
		reason iam.Reason
	}{
		{"Restricted to Open", set(was[restricted], open), authz.ReasonRestrictedOnlyToTeam},
		{"Restricted to Public", set(was[restricted], public), authz.ReasonRestrictedOnlyToTeam},
		{"Team to Open", set(was[team], open), authz.ReasonPrivateProjects},
		{"Team to Public", set(was[team], public), authz.ReasonPrivateProjects},
		{"Public to Open", set(was[public], open), authz.ReasonPrivateProjects},
		{"new and Open", create(open), authz.ReasonPrivateProjects},
		{"new and Public", create(public), authz.ReasonPrivateProjects},
		{"passing by and Open", record(open), authz.ReasonPrivateProjects},
		{"imported and Open", imports("imported", "open"), directory.ReasonImportRefused},
		{"imported from Restricted to Open", imports("restricted", "open"), directory.ReasonImportRefused},
		{"imported from Team to Public", imports("team", "public"), directory.ReasonImportRefused},
		{"no visibility", set(was[team], 9), "invalid"},

		{"Open stays", set(was[open], open), ""},
		{"imported as it is", imports("open", "open"), ""},
		{"new and Restricted", create(restricted), ""},
		{"new and Team", create(team), ""},
		{"a personal project", set(personal, open), ""},
		{"Restricted to Team", set(was[restricted], team), ""},
		{"and no further", set(was[restricted], open), authz.ReasonPrivateProjects},
		{"Open to Restricted", set(was[open], restricted), ""},
		{"and not back", set(was[open], open), authz.ReasonRestrictedOnlyToTeam},
	} {
		before := h.revision()
		err := c.do(h)
		if got := iam.ReasonOf(err); got != c.reason || (err == nil) != (c.reason == "") {
			t.Errorf("%s: %v (%s), want %s", c.name, err, got, c.reason)
		}
		if err != nil && h.revision() != before {
			t.Errorf("%s: wrote something", c.name)
		}
	}
	h.set(vision, directory.TeamSettingsChange{PrivateProjects: ptr(false)})
	h.ok(h.SetVisibility(context.Background(), was[restricted], open))
}

// TestTwoAdminsSetAVisibility: of two who want another visibility at once, each is obeyed or told (VIS-11): what the
// project becomes is what one of the two orders leads to.
func TestTwoAdminsSetAVisibility(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	for i := range 8 {
		id := h.project(vision.Entity(), fmt.Sprintf("p%d", i), iam.VisibilityTeam)
		var opened, closed error
		var both sync.WaitGroup
		both.Go(func() { opened = h.SetVisibility(ctx, id, iam.VisibilityOpen) })
		both.Go(func() { closed = h.SetVisibility(ctx, id, iam.VisibilityRestricted) })
		both.Wait()
		h.ok(closed)
		if opened != nil && iam.ReasonOf(opened) != authz.ReasonRestrictedOnlyToTeam {
			t.Errorf("opening: %v", opened)
		}
		if got := h.recorded(id).Visibility; got != iam.VisibilityRestricted {
			t.Errorf("it became %s", got)
		}
	}
}

// TestNewcomersJoin: TEAM-12 and C-20, whatever door they come through; groups stay the truth for those who have them
// (ENV-20).
func TestNewcomersJoin(t *testing.T) {
	ctx := context.Background()
	for name, come := range map[string]func(*house) iam.UserID{
		"by command": func(h *house) iam.UserID { return h.user("alice") },
		"by the SDK": func(h *house) iam.UserID {
			c, err := h.AddPerson(ctx, "alice@acme.test", "")
			h.ok(err)
			return c.After.ID
		},
		"by SCIM, deactivated": func(h *house) iam.UserID {
			c, err := h.CreateUser(ctx, directory.NewUser{Username: "alice", Inactive: true, ExternalID: "00u1"})
			h.ok(err)
			if len(c.After.Teams) != 1 {
				h.Errorf("whoever made them sees %+v", c.After)
			}
			return c.After.ID
		},
		"by import": func(h *house) iam.UserID {
			h.imported(`{"users":[{"username":"alice"}]}`)
			return mustFind(h, "alice")
		},
		"by sign-in": func(h *house) iam.UserID {
			done := h.signIn(arriving("alice"))
			if len(done.Joined) != 1 || done.Joined[0].Name != "vision" || len(done.User.Teams) != 1 || len(done.User.Bindings) != 1 {
				h.Errorf("%+v %+v", done, done.User)
			}
			return done.User.ID
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.admin("root")
			early := h.user("early")
			vision := h.team("vision")
			h.team("audio")
			h.set(vision, directory.TeamSettingsChange{AutoJoin: ptr(true)})
			id := come(h)
			if got := h.teamsOf(id); got != "vision:member" {
				t.Errorf("in %q", got)
			}
			members, err := h.MemberIDs(ctx, vision)
			h.ok(err)
			if len(members) != 1 || members[0] != id {
				t.Errorf("the team has %v", members)
			}
			if got := h.teamsOf(early); got != "" {
				t.Errorf("who was there before is in %q", got)
			}
			h.set(vision, directory.TeamSettingsChange{AutoJoin: ptr(false)})
			if got := h.teamsOf(h.user("late")); got != "" {
				t.Errorf("afterwards newcomers are in %q", got)
			}
			if got := h.teamsOf(id); got != "vision:member" {
				t.Errorf("who joined is now in %q", got)
			}
		})
	}
}

func TestNewcomersWhoDoNotJoin(t *testing.T) {
	h, ctx := openHouse(t, authz.Settings{DisableAdminTeamAccess: true}), context.Background()
	vision, audio := h.team("vision"), h.team("audio")
	h.set(vision, directory.TeamSettingsChange{AutoJoin: ptr(true)})
	first := h.signIn(arriving("root"))
	if first.User.Role != iam.OrganizationAdmin || len(first.User.Teams) != 0 {
		t.Errorf("an admin who may not join by themselves (ENV-9) is in %+v", first.User.Teams)
	}
	grouped := arriving("alice")
	grouped.GroupSync, grouped.GroupsKnown, grouped.Groups = true, true, []string{"audio"}
	if done := h.signIn(grouped); h.teamsOf(done.User.ID) != "audio:member" || len(done.Left) != 0 || len(done.Joined) != 1 {
		t.Errorf("with groups: %+v, in %q", done, h.teamsOf(done.User.ID))
	}
	unknown := arriving("bob")
	unknown.GroupSync = true // but nothing is known of their groups
	if done := h.signIn(unknown); h.teamsOf(done.User.ID) != "vision:member" {
		t.Errorf("without: in %q", h.teamsOf(done.User.ID))
	}
	domain := arriving("carol")
	domain.Domains = []directory.Domain{{Name: "acme.test", DefaultTeam: "vision", Choose: []string{"vision", "audio"}}}
	if done := h.signIn(domain); h.teamsOf(done.User.ID) != "vision:member" || len(done.Joined) != 1 || len(done.Offered) != 1 {
		t.Errorf("of a domain with the same team: %+v", done)
	}
	h.set(audio, directory.TeamSettingsChange{Hidden: ptr(true)})
	domain.Subject, domain.Email = "sub-dave", "dave@acme.test"
	if done := h.signIn(domain); len(done.Offered) != 0 {
		t.Errorf("a hidden team is offered: %+v", done.Offered)
	}
	_, err := h.DeleteTeam(ctx, vision)
	h.ok(err)
	if got := h.teamsOf(h.user("erin")); got != "" {
		t.Errorf("a deleted team: in %q", got)
	}
}

// TestNewcomersAndTheSettingRace: whoever comes after the setting was made is in the team; who comes at the same moment
// is in it or not, but never by half.
func TestNewcomersAndTheSettingRace(t *testing.T) {
	h := newHouse(t)
	vision := h.team("vision")
	var all sync.WaitGroup
	ids := make([]iam.UserID, 8)
	for i := range ids {
		all.Go(func() {
			c, err := h.CreateUser(context.Background(), directory.NewUser{Username: fmt.Sprintf("u%d", i)})
			h.check(err)
			if err == nil {
				ids[i] = c.After.ID
			}
		})
	}
	all.Go(func() {
		_, err := h.SetTeam(context.Background(), vision, directory.TeamChange{Settings: directory.TeamSettingsChange{AutoJoin: ptr(true)}})
		h.check(err)
	})
	all.Wait()
	members, err := h.MemberIDs(context.Background(), vision)
	h.ok(err)
	in := map[iam.UserID]bool{}
	for _, id := range members {
		in[id] = true
	}
	for _, id := range ids {
		if got := h.teamsOf(id); (got == "vision:member") != in[id] {
			t.Errorf("%s is in %q, and in the team's list: %t", id, got, in[id])
		}
	}
	if got := h.teamsOf(h.user("late")); got != "vision:member" {
		t.Errorf("who came later is in %q", got)
	}
}

// meddled is a store with which something happens right after a record was read for the first time.
type meddled struct {
	store.Store
	key  string
	once sync.Once
	then func()
}

func (m *meddled) Get(ctx context.Context, key string) (store.Record, error) {
	r, err := m.Store.Get(ctx, key)
	if key == m.key {
		m.once.Do(m.then)
	}
	return r, err
}

// TestNewcomersAndADeletedTeam: that a team goes while somebody comes is no reason to keep them out.
func TestNewcomersAndADeletedTeam(t *testing.T) {
	for name, key := range map[string]string{"that newcomers join": "acme/auto_join", "that is offered": "acme/entity/offered"} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			h.admin("root")
			joined, offered := h.team("joined"), h.team("offered")
			h.set(joined, directory.TeamSettingsChange{AutoJoin: ptr(true)})
			happened := false
			other := onStore(t, &meddled{Store: h.store, key: key, then: func() {
				happened = true
				for _, id := range []iam.TeamID{joined, offered} {
					_, err := h.DeleteTeam(context.Background(), id)
					h.check(err)
				}
			}}, authz.Settings{})
			s := arriving("alice")
			s.Domains = []directory.Domain{{Name: "acme.test", Choose: []string{"offered"}}}
			done := other.signIn(s)
			if !happened || len(done.User.Teams) != 0 || len(done.Joined) != 0 || len(done.Offered) != 0 {
				t.Errorf("%t: %+v %+v", happened, done, done.User)
			}
		})
	}
}

func TestAutoJoinHasABound(t *testing.T) {
	h := newHouse(t)
	for i := range 50 {
		h.set(h.team(fmt.Sprintf("t%d", i)), directory.TeamSettingsChange{AutoJoin: ptr(true)})
	}
	_, err := h.SetTeam(context.Background(), h.team("more"), directory.TeamChange{Settings: directory.TeamSettingsChange{AutoJoin: ptr(true)}})
	h.refused(err, iam.KindTooLarge, "50 teams")
	if got := strings.Count(h.teamsOf(h.user("alice")), ":member"); got != 50 {
		t.Errorf("in %d teams", got)
	}
}

// TestSettingsInAFile: an export says all, changes nothing where it is from, and makes its like elsewhere.
func TestSettingsInAFile(t *testing.T) {
	h := newHouse(t)
	alice := h.user("alice")
	vision := h.team("vision", alice)
	h.team("audio")
	h.project(vision.Entity(), "opened", iam.VisibilityOpen)
	h.set(vision, directory.TeamSettingsChange{Hidden: ptr(true), PrivateProjects: ptr(true), MembersInvite: ptr(true), AutoJoin: ptr(true)})
	h.enforce(directory.OrganizationChange{EnforceHidden: ptr(iam.SwitchOff), EnforcePrivateProjects: ptr(iam.SwitchOn)})
	file, before := h.exported(), h.revision()
	h.imported(file)
	if h.revision() != before {
		t.Error("importing an export wrote something")
	}
	empty := newHouse(t)
	empty.imported(file)
	if got := empty.exported(); got != file {
		t.Errorf("elsewhere it became\n%s\nfrom\n%s", got, file)
	}

	// A file may take back what kept its rows from being what they are to be.
	h.imported(`{"enforced":{"private_projects":"off"},"teams":[{"name":"audio","hidden":false}],
		"projects":[{"entity":"audio","name":"speech","visibility":"open"}]}`)
	h.imported(`{"teams":[{"name":"vision","private_projects":false}],"projects":[{"entity":"vision","name":"new","visibility":"public"}]}`)
	for _, c := range []struct{ file, cause string }{
		{`{"enforced":{"hidden":"on"},"teams":[{"name":"vision","hidden":"yes"}]}`, "teams[0] (vision): hidden is a string and must be true or false"},
		{`{"enforced":{"hidden":true}}`, "enforced: hidden is true or false and must be a string"},
		{`{"enforced":{"hidden":"sometimes"}}`, `enforced: hidden: "sometimes" is not on, off or unset`},
		{`{"enforced":{"auto_join":"on"}}`, `enforced: "auto_join" is not known here: use hidden, private_projects, members_invite`},
		{`{"enforced":["hidden"]}`, "enforced is a list and must be an object"},
		{`{"teams":[{"name":"audio","hidden":true}]}`, "teams[0] (audio): the organization has set hidden off for all teams"},
	} {
		before := h.exported()
		_, err := h.Import(context.Background(), []byte(c.file), directory.ImportOptions{})
		h.refused(err, iam.KindInvalid, c.cause)
		if h.exported() != before {
			t.Errorf("%s changed something", c.file)
		}
	}
}

// TestProjectRoleFollowsAfterACustomRoleIsGone: PROLE-10. A project role that the team role has become equal to follows
// it again, also when the team role changed because a custom role ended (ROLE-9) or may not be held any more (ROLE-12).
func TestProjectRoleFollowsAfterACustomRoleIsGone(t *testing.T) {
	for name, end := range map[string]func(*house, iam.UserID) error{
		"deleted": func(h *house, _ iam.UserID) error { return second(h.DeleteRole(context.Background(), "pilot")) },
		"not for viewers": func(h *house, id iam.UserID) error {
			return second(h.SetUser(context.Background(), id, directory.UserChange{Role: ptr(iam.OrganizationViewer)}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, ctx := newHouse(t), context.Background()
			h.admin("root")
			_, err := h.SetRole(ctx, iam.CustomRole{Name: "pilot", Inherits: iam.RoleMember, Permissions: []string{"run:stop"}})
			h.ok(err)
			alice := h.user("alice")
			vision := h.team("vision")
			h.member(vision, alice, "pilot")
			p := h.project(vision.Entity(), "detector", iam.VisibilityRestricted)
			_, err = h.SetProjectMember(ctx, p, alice.Ref(), iam.RoleMember)
			h.ok(err)
			h.ok(end(h, alice))
			if m := h.recorded(p).Members; len(m) != 1 || m[0].Role != "" {
				t.Errorf("the list is %+v", m)
			}
		})
	}
}
