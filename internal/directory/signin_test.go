package directory_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const provider = "https://login.example"

// arriving is somebody with an account at the provider whom the gateway may add.
func arriving(name string) directory.SignIn {
	return directory.SignIn{Issuer: provider, Subject: "sub-" + name, Email: name + "@acme.test", Provision: true}
}

func (h *house) signIn(s directory.SignIn) *directory.SignedIn {
	h.Helper()
	done, err := h.SignIn(context.Background(), s)
	h.ok(err)
	return done
}

func (h *house) barred(s directory.SignIn, reason iam.Reason) {
	h.Helper()
	before := h.revision()
	done, err := h.SignIn(context.Background(), s)
	if done != nil || iam.KindOf(err) != iam.KindDenied || iam.ReasonOf(err) != reason {
		h.Errorf("%+v: got %+v, %v (%s), want a refusal for %s", s, done, err, iam.ReasonOf(err), reason)
	}
	if h.revision() != before {
		h.Errorf("the refused sign-in wrote something")
	}
}

func TestFirstToSignInIsAdminOthersMembers(t *testing.T) { // ORG-1, JOIN-4
	h := newHouse(t)
	first := h.signIn(arriving("root"))
	if !first.Created || !first.Bound || first.User.Role != iam.OrganizationAdmin || first.User.Username != "root" {
		t.Errorf("%+v", first)
	}
	second := h.signIn(arriving("alice"))
	if u := second.User; !second.Created || u.Role != iam.OrganizationMember || u.ModelsSeat != iam.SeatFull || u.WeaveSeat != iam.SeatFull || !u.Active {
		t.Errorf("%+v", u)
	}
	before := h.revision()
	again := h.signIn(arriving("alice"))
	if again.Created || again.Bound || again.User.ID != second.User.ID || h.revision() != before {
		t.Errorf("%+v at %d, before %d", again, h.revision(), before)
	}
}

func TestManyAreFirstAtOnce(t *testing.T) {
	h := newHouse(t)
	var admins, created atomic.Int32
	var all sync.WaitGroup
	for i := range 6 {
		all.Go(func() {
			done, err := h.SignIn(context.Background(), arriving(fmt.Sprintf("u%d", i/2))) // each twice
			if err != nil {
				t.Error(err)
				return
			}
			if done.Created {
				created.Add(1)
			}
			if done.Created && done.User.Role == iam.OrganizationAdmin {
				admins.Add(1)
			}
		})
	}
	all.Wait()
	if admins.Load() != 1 || created.Load() != 3 {
		t.Errorf("%d admins, %d created", admins.Load(), created.Load())
	}
}

// TestManyComeAtOnce: newcomers do not get in each other's way, and so nobody is told to try again.
func TestManyComeAtOnce(t *testing.T) {
	h := newHouse(t)
	h.signIn(arriving("root"))
	vision := h.team("vision")
	var all sync.WaitGroup
	for i := range 200 {
		s := arriving(fmt.Sprintf("u%d", i))
		if i%2 == 0 {
			s.Domains = []directory.Domain{{Name: "acme.test", DefaultTeam: "vision"}}
		}
		all.Go(func() {
			done, err := h.SignIn(context.Background(), s)
			if err != nil || done.User.Role != iam.OrganizationMember || len(done.Joined) != (i+1)%2 {
				t.Errorf("newcomer %d: %+v, %v", i, done, err)
			}
		})
	}
	all.Wait()
	if members, err := h.Members(context.Background(), vision); err != nil || len(members) != 100 {
		t.Errorf("%d members, %v", len(members), err)
	}
}

func TestWhoIsRefusedAtSignIn(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice := h.user("alice")
	h.signIn(arriving("alice"))
	gone := h.user("gone")
	_, err := h.SetUser(ctx, gone, directory.UserChange{Active: ptr(false)})
	h.ok(err)
	_, err = h.CreateUser(ctx, directory.NewUser{Username: "dave@acme.test"})
	h.ok(err)
	h.signIn(arriving("bob"))
	change := func(name string, f func(*directory.SignIn)) directory.SignIn {
		s := arriving(name)
		f(&s)
		return s
	}
	for name, c := range map[string]struct {
		s      directory.SignIn
		reason iam.Reason
	}{
		"no address":                        {change("new", func(s *directory.SignIn) { s.Email = "" }), directory.ReasonEmailMissing},
		"no address any more":               {change("alice", func(s *directory.SignIn) { s.Email = "" }), directory.ReasonEmailMissing},
		"two addresses":                     {change("new", func(s *directory.SignIn) { s.Email = "a@acme.test,b@acme.test" }), directory.ReasonEmailUnusable},
		"not ASCII":                         {change("new", func(s *directory.SignIn) { s.Email = "аlice@acme.test" }), directory.ReasonEmailUnusable},
		"line end":                          {change("new", func(s *directory.SignIn) { s.Email = "a@acme.test\r\n" }), directory.ReasonEmailUnusable},
		"no @":                              {change("new", func(s *directory.SignIn) { s.Email = "alice" }), directory.ReasonEmailUnusable},
		"refuted":                           {change("new", func(s *directory.SignIn) { s.EmailRefuted = true }), directory.ReasonEmailUnverified},
		"refuted later":                     {change("alice", func(s *directory.SignIn) { s.EmailRefuted = true }), directory.ReasonEmailUnverified},
		"the address with another subject":  {change("alice", func(s *directory.SignIn) { s.Subject = "other" }), directory.ReasonOtherSubject},
		"the subject in another case":       {change("alice", func(s *directory.SignIn) { s.Subject = "SUB-alice" }), directory.ReasonOtherSubject},
		"capital address, another subject":  {change("ALICE", func(*directory.SignIn) {}), directory.ReasonOtherSubject},
		"now the address of somebody else":  {change("alice", func(s *directory.SignIn) { s.Email = "bob@acme.test" }), directory.ReasonEmailTaken},
		"the address is another's name":     {change("dave", func(*directory.SignIn) {}), directory.ReasonEmailTaken},
		"deactivated":                       {change("gone", func(*directory.SignIn) {}), directory.ReasonDeactivated},
		"unknown, and nobody is added":      {change("new", func(s *directory.SignIn) { s.Provision = false }), directory.ReasonNotProvisioned},
		"forced name with a dot":            {change("new", func(s *directory.SignIn) { s.ForceNames, s.Username = true, "new.er" }), directory.ReasonUsernameIllegal},
		"forced name is an address (Entra)": {change("new", func(s *directory.SignIn) { s.ForceNames, s.Username = true, "new@acme.test" }), directory.ReasonUsernameIllegal},
		"forced name is missing":            {change("new", func(s *directory.SignIn) { s.ForceNames = true }), directory.ReasonUsernameIllegal},
		"forced name of 129":                {change("new", func(s *directory.SignIn) { s.ForceNames, s.Username = true, strings.Repeat("a", 129) }), directory.ReasonUsernameIllegal},
		"forced name is taken":              {change("new", func(s *directory.SignIn) { s.ForceNames, s.Username = true, "ALICE" }), directory.ReasonUsernameTaken},
	} {
		t.Log(name)
		h.barred(c.s, c.reason)
	}
	for name, s := range map[string]directory.SignIn{
		"no issuer":             change("new", func(s *directory.SignIn) { s.Issuer = "" }),
		"no subject":            change("new", func(s *directory.SignIn) { s.Subject = "" }),
		"long subject":          change("new", func(s *directory.SignIn) { s.Subject = strings.Repeat("s", 1025) }),
		"control in the issuer": change("new", func(s *directory.SignIn) { s.Issuer = "https://a\n" }),
	} {
		if _, err := h.SignIn(ctx, s); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Deactivated later.
	_, err = h.SetUser(ctx, alice, directory.UserChange{Active: ptr(false)})
	h.ok(err)
	h.barred(arriving("alice"), directory.ReasonDeactivated)
}

func TestAccountCountsNotTheAddress(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice := h.user("alice")
	s := arriving("alice")
	s.Email, s.Provision = "Alice@ACME.test", false
	if done := h.signIn(s); done.User.ID != alice || done.Created || !done.Bound || done.User.Email != "alice@acme.test" {
		t.Fatalf("%+v", done)
	}
	// Another address at the provider renames and moves nothing.
	s.Email = "alice.smith@other.test"
	if done := h.signIn(s); done.User.ID != alice || done.Bound || done.User.Email != "alice@acme.test" {
		t.Errorf("%+v", done)
	}
	// Nor does another address here.
	_, err := h.SetUser(ctx, alice, directory.UserChange{Email: ptr("a.smith@acme.test")})
	h.ok(err)
	s.Email = "alice@acme.test"
	if done := h.signIn(s); done.User.ID != alice {
		t.Errorf("%+v", done)
	}
	// A second authority binds too, by the address, and does not meet the first.
	s.Issuer, s.Subject, s.Email = "ldap://ldap.acme.test:389/dc=acme", "uuid", "a.smith@acme.test"
	if done := h.signIn(s); done.User.ID != alice || !done.Bound || len(done.User.Bindings) != 2 {
		t.Errorf("%+v", done)
	}
	// The same subject at another issuer is somebody else.
	other := directory.SignIn{Issuer: "https://evil.example", Subject: "sub-alice", Email: "mallory@evil.test", Provision: true}
	if done := h.signIn(other); done.User.ID == alice {
		t.Error("alice is known by a subject alone")
	}
	// Whoever is deleted and comes again is new, with a new id.
	_, err = h.DeleteUser(ctx, alice)
	h.ok(err)
	if done := h.signIn(arriving("alice")); done.User.ID == alice || !done.Created || len(done.User.Bindings) != 1 {
		t.Errorf("%+v", done)
	}
}

func TestUnbindReleasesTheOldAccount(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice := h.signIn(arriving("alice")).User
	remade := arriving("alice")
	remade.Subject = "remade"
	h.barred(remade, directory.ReasonOtherSubject)
	c, err := h.Unbind(ctx, alice.ID, provider)
	h.ok(err)
	if len(c.After.Bindings) != 0 || c.After.Epoch != alice.Epoch+1 {
		t.Errorf("%+v", c.After)
	}
	before := h.revision()
	_, err = h.Unbind(ctx, alice.ID, provider)
	h.ok(err)
	if h.revision() != before {
		t.Error("unbinding what is not bound wrote something")
	}
	if done := h.signIn(remade); done.User.ID != alice.ID || !done.Bound {
		t.Errorf("%+v", done)
	}
	h.barred(arriving("alice"), directory.ReasonOtherSubject) // the old one does not come back
	_, err = h.Unbind(ctx, "usr_none", provider)
	h.refused(err, iam.KindNotFound, "no user")
}

func TestUserNamesOfNewcomers(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	h.user("taken")
	vision := h.team("vision")
	h.teamAccount("ci", vision)
	left := h.user("left")
	h.project(left.PersonalEntity(), "old", iam.VisibilityOpen)
	_, err := h.DeleteUser(ctx, left)
	h.ok(err)
	for i, c := range []struct{ email, want string }{
		{"alice@acme.test", "alice"},
		{"Alice.Smith@acme.test", "Alice.Smith"},
		{"alice@other.test", "alice-2"},
		{"ALICE@third.test", "ALICE-3"},
		{"taken@other.test", "taken-2"},
		{"vision@acme.test", "vision-2"},
		{"ci@acme.test", "ci-2"},
		{"left@other.test", "left-2"}, // whose projects the server behind still has
		{"o'brien+wandb@acme.test", "o-brien-wandb"},
		{"..@acme.test", "user"},
		{"!#$%@acme.test", "user-2"},
		{"a/b@acme.test", "a-b"},
		{strings.Repeat("x", 200) + "@acme.test", strings.Repeat("x", 100)},
		{strings.Repeat("x", 201) + "@acme.test", strings.Repeat("x", 100) + "-2"},
	} {
		done := h.signIn(directory.SignIn{Issuer: provider, Subject: fmt.Sprint(i), Email: c.email, Provision: true})
		if done.User.Username != c.want {
			t.Errorf("%s: %s, want %s", c.email, done.User.Username, c.want)
		}
	}
	seen := map[string]bool{}
	for i := range 70 { // more than suffixes are counted
		done := h.signIn(directory.SignIn{Issuer: provider, Subject: fmt.Sprint("info", i), Email: fmt.Sprintf("info@d%d.test", i), Provision: true})
		if name := done.User.Username; seen[name] || !strings.HasPrefix(name, "info") {
			t.Errorf("%q", name)
		}
		seen[done.User.Username] = true
	}
}

func TestForcedNames(t *testing.T) { // ENV-7
	h := newHouse(t)
	h.admin("root")
	h.user("bob")
	s := arriving("alice.smith")
	s.ForceNames, s.Username, s.Name = true, "asmith", "Alice\x00 Smith"
	done := h.signIn(s)
	if done.User.Username != "asmith" || done.User.Name != "Alice Smith" {
		t.Errorf("%+v", done.User)
	}
	s.Username, s.Name = "renamed", "Alice Jones"
	if done := h.signIn(s); done.User.Username != "asmith" || done.User.Name != "Alice Jones" {
		t.Errorf("%+v", done.User)
	}
	s.Name = ""
	if done := h.signIn(s); done.User.Name != "Alice Jones" {
		t.Errorf("no name took the name away: %+v", done.User)
	}
	s.ForceNames, s.Name = false, "Nobody"
	if done := h.signIn(s); done.User.Name != "Alice Jones" {
		t.Errorf("%+v", done.User)
	}
	// Who was added beforehand keeps a user name that could not be forced.
	b := arriving("bob")
	b.ForceNames, b.Username, b.Name = true, "not legal", strings.Repeat("é", 200)
	if done := h.signIn(b); done.User.Username != "bob" || done.User.Name != strings.Repeat("é", 128) {
		t.Errorf("%+v", done.User)
	}
}

func teamNames(teams []iam.TeamRef) []string {
	names := []string{}
	for _, t := range teams {
		names = append(names, t.Name)
	}
	slices.Sort(names)
	return names
}

func TestGroupsBecomeTeams(t *testing.T) { // ENV-3, ENV-20
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	vision, speech := h.team("vision"), h.team("speech")
	h.team("audio")
	alice := h.user("alice")
	h.member(vision, alice, iam.RoleAdmin)
	h.member(speech, alice, iam.RoleMember)
	s := arriving("alice")
	s.GroupSync = true
	for _, step := range []struct {
		name                  string
		groups                []string
		known, off            bool
		joined, left, unknown []string
		teams                 []string
	}{
		{"no claim", nil, false, false, nil, nil, nil, []string{"speech", "vision"}},
		{"malformed claim", []string{"audio"}, false, false, nil, nil, nil, []string{"speech", "vision"}},
		{"sync is off", []string{}, true, true, nil, nil, nil, []string{"speech", "vision"}},
		{"one stays, one comes, one goes", []string{"VISION", "audio", "wonderland", "audio", "alice", "a/b"}, true, false, []string{"audio"}, []string{"speech"}, []string{"wonderland", "alice", "a/b"}, []string{"audio", "vision"}},
		{"the same", []string{"audio", "vision"}, true, false, nil, nil, nil, []string{"audio", "vision"}},
		{"none", nil, true, false, nil, []string{"audio", "vision"}, nil, nil},
		{"back", []string{"vision"}, true, false, []string{"vision"}, nil, nil, []string{"vision"}},
	} {
		s.Groups, s.GroupsKnown, s.GroupSync = step.groups, step.known, !step.off
		before := h.revision()
		done := h.signIn(s)
		if !slices.Equal(teamNames(done.Joined), append([]string{}, step.joined...)) || !slices.Equal(teamNames(done.Left), append([]string{}, step.left...)) || !slices.Equal(done.Unknown, step.unknown) {
			t.Errorf("%s: %+v", step.name, done)
		}
		var teams []string
		for _, m := range h.principal(alice.Ref()).Teams {
			teams = append(teams, m.Name)
			if want := step.name != "back" && m.Name == "vision"; (m.Role == iam.RoleAdmin) != want {
				t.Errorf("%s: %s in %s", step.name, m.Role, m.Name)
			}
		}
		if !slices.Equal(teams, step.teams) {
			t.Errorf("%s: in %v", step.name, teams)
		}
		if step.name == "the same" && h.revision() != before {
			t.Error("nothing changed, and something was written")
		}
	}
	if id, err := h.FindTeam(ctx, "wonderland"); id != "" || err != nil {
		t.Error("an unknown group became a team")
	}
}

func TestDomains(t *testing.T) { // JOIN-6..9
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	vision, speech := h.team("vision"), h.team("speech")
	h.user("invited")
	domains := []directory.Domain{{Name: "Acme.test", DefaultTeam: "vision", Choose: []string{"speech", "vision", "nowhere"}}}
	arrive := func(name, email string, change func(*directory.SignIn)) *directory.SignedIn {
		s := arriving(name)
		s.Email, s.Domains = email, domains
		if change != nil {
			change(&s)
		}
		return h.signIn(s)
	}
	none := []string{}
	for _, c := range []struct {
		name            string
		done            *directory.SignedIn
		joined, offered []string
	}{
		{"captured", arrive("a", "a@ACME.test", nil), []string{"vision"}, []string{"speech"}},
		{"captured, again", arrive("a", "a@acme.test", nil), none, none},
		{"invited", arrive("i", "invited@acme.test", nil), none, none},
		{"elsewhere", arrive("b", "b@other.test", nil), none, none},
		{"a subdomain", arrive("c", "c@x.acme.test", nil), none, none},
		{"a suffix", arrive("d", "d@notacme.test", nil), none, none},
		{"groups say otherwise", arrive("e", "e@acme.test", func(s *directory.SignIn) { s.GroupSync, s.GroupsKnown = true, true }), none, none},
		{"groups say nothing", arrive("f", "f@acme.test", func(s *directory.SignIn) { s.GroupSync = true }), []string{"vision"}, []string{"speech"}},
	} {
		if !slices.Equal(teamNames(c.done.Joined), c.joined) || !slices.Equal(teamNames(c.done.Offered), c.offered) {
			t.Errorf("%s: %+v", c.name, c.done)
		}
	}
	a := arrive("a", "a@acme.test", nil).User
	if m, in := a.Membership(vision); !in || m.Role != iam.RoleMember {
		t.Errorf("%+v", a)
	}
	h.member(vision, a.ID, iam.RoleAdmin)
	changes, err := h.JoinTeams(ctx, a.ID, speech, vision)
	h.ok(err)
	if len(changes) != 1 || changes[0].After.Team != speech {
		t.Errorf("%+v", changes)
	}
	if u, err := h.User(ctx, a.ID); err != nil || u.Teams[0].Role != iam.RoleAdmin {
		t.Errorf("joining again took the role: %+v, %v", u, err)
	}
	_, err = h.JoinTeams(ctx, a.ID, "team_none")
	h.refused(err, iam.KindNotFound, "no team")
}

func TestAdminsBarredFromTeamsJoinNone(t *testing.T) { // ENV-9
	h, ctx := openHouse(t, authz.Settings{DisableAdminTeamAccess: true}), context.Background()
	vision := h.team("vision")
	s := arriving("root") // the first, so an admin
	s.Domains = []directory.Domain{{Name: "acme.test", DefaultTeam: "vision", Choose: []string{"vision"}}}
	done := h.signIn(s)
	if done.User.Role != iam.OrganizationAdmin || len(done.Joined)+len(done.Offered)+len(done.User.Teams) != 0 {
		t.Errorf("%+v", done)
	}
	_, err := h.JoinTeams(ctx, done.User.ID, vision)
	h.refused(err, iam.KindDenied, "cannot join teams by themselves")
}

func TestRestoreAdmin(t *testing.T) { // OIDC-24
	h, ctx := newHouse(t), context.Background()
	if _, _, err := h.RestoreAdmin(ctx, "a/b"); iam.KindOf(err) != iam.KindInvalid {
		t.Error(err)
	}
	u, created, err := h.RestoreAdmin(ctx, "root")
	if err != nil || !created || u.Role != iam.OrganizationAdmin {
		t.Fatalf("%+v, %v", u, err)
	}
	again, created, err := h.RestoreAdmin(ctx, "ROOT")
	if err != nil || created || again.ID != u.ID {
		t.Errorf("%+v, %v", again, err)
	}
	h.user("alice")
	h.admin("off")
	_, err = h.SetUser(ctx, mustFind(h, "off"), directory.UserChange{Active: ptr(false)})
	h.ok(err)
	h.team("vision")
	for _, name := range []string{"alice", "off", "vision", "nobody", "", "root@acme.test"} {
		if u, created, err := h.RestoreAdmin(ctx, name); u != nil || created || iam.ReasonOf(err) != directory.ReasonNotAdmin {
			t.Errorf("%q: %+v, %v", name, u, err)
		}
	}
}

func TestSignInRacesWithDeletion(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	for round := range 20 {
		name := fmt.Sprintf("u%d", round)
		first := h.signIn(arriving(name)).User
		var all sync.WaitGroup
		all.Go(func() { h.check(second(h.DeleteUser(ctx, first.ID))) })
		all.Go(func() {
			if _, err := h.SignIn(ctx, arriving(name)); err != nil && !errors.As(err, new(*iam.Error)) {
				t.Error(err)
			}
		})
		all.Wait()
		done := h.signIn(arriving(name))
		if done.User.ID == first.ID {
			t.Fatalf("round %d: the deleted user came back", round)
		}
	}
}
