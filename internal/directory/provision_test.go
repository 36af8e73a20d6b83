package directory_test

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestEditUserSeesWhatIsWritten(t *testing.T) { // S09
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	// Each adds a letter to what it saw: none is lost.
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			_, err := h.EditUser(ctx, alice, func(p directory.Person) (directory.UserChange, error) {
				return directory.UserChange{Name: ptr(p.Name + "x")}, nil
			})
			h.check(err)
		})
	}
	all.Wait()
	p, err := h.Person(ctx, alice)
	h.ok(err)
	if p.Name != "xxxxxxxxxxxxxxxxxxxx" || p.TeamNames[vision] != "vision" {
		t.Errorf("after 20 edits: %q in %v", p.Name, p.TeamNames)
	}
	if team, role, in := p.TeamRole("VISION"); team != vision || role != iam.RoleMember || !in {
		t.Errorf("the role in vision is %s %s %t", team, role, in)
	}
	before := h.revision()
	_, err = h.EditUser(ctx, alice, func(directory.Person) (directory.UserChange, error) {
		return directory.UserChange{}, errors.New("no")
	})
	if err == nil || h.revision() != before {
		t.Errorf("a refused edit: %v, revision %d and %d", err, before, h.revision())
	}
	_, err = h.EditUser(ctx, "usr_00", func(directory.Person) (directory.UserChange, error) { return directory.UserChange{}, nil })
	h.refused(err, iam.KindNotFound, "no user")
}

func TestTeamRolesAreForMembers(t *testing.T) { // design section 6
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision, speech := h.team("vision", alice), h.team("speech")
	give := func(roles map[iam.TeamID]iam.Role) error {
		_, err := h.EditUser(ctx, alice, func(directory.Person) (directory.UserChange, error) {
			return directory.UserChange{Name: ptr("Changed"), TeamRoles: roles}, nil
		})
		return err
	}
	h.refused(give(map[iam.TeamID]iam.Role{vision: iam.RoleAdmin, speech: iam.RoleAdmin}), iam.KindInvalid, "not in a team")
	h.refused(give(map[iam.TeamID]iam.Role{vision: "nosuch"}), iam.KindInvalid, "no role")
	p, err := h.Person(ctx, alice)
	h.ok(err)
	if _, role, _ := p.TeamRole("vision"); role != iam.RoleMember || p.Name != "" {
		t.Errorf("a refused change was half done: %s %q", role, p.Name)
	}
	h.ok(give(map[iam.TeamID]iam.Role{vision: iam.RoleAdmin}))
	if m, ok := h.principal(alice.Ref()).Membership(vision); !ok || m.Role != iam.RoleAdmin {
		t.Errorf("the role is %v", m)
	}
}

func TestExternalIDs(t *testing.T) { // S03
	h, ctx := newHouse(t), context.Background()
	find := func(external string, want ...iam.UserID) {
		t.Helper()
		got, err := h.FindUsersByExternalID(ctx, external)
		h.ok(err)
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%q finds %v, want %v", external, got, want)
		}
	}
	add := func(name, external string) iam.UserID {
		c, err := h.CreateUser(ctx, directory.NewUser{Username: name, ExternalID: external})
		h.ok(err)
		return c.After.ID
	}
	alice, bob := add("alice", "x"), add("bob", "x")
	carol := add("carol", string(alice))
	find("x", alice, bob)
	find("X")
	find("")
	find(string(alice), carol)
	_, err := h.SetUser(ctx, alice, directory.UserChange{ExternalID: ptr("y/../z")})
	h.ok(err)
	find("x", bob)
	find("y/../z", alice)
	_, err = h.SetUser(ctx, alice, directory.UserChange{ExternalID: ptr("")})
	h.ok(err)
	find("y/../z")
	_, err = h.DeleteUser(ctx, bob)
	h.ok(err)
	find("x")
	_, err = h.SetUser(ctx, alice, directory.UserChange{ExternalID: ptr("a\nb")})
	h.refused(err, iam.KindInvalid, "external id")
}

// What provisioning clients told outlives a move to another store, by which they find people again.
func TestExportKeepsExternalIDs(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	_, err := h.CreateUser(ctx, directory.NewUser{Username: "alice", ExternalID: "x", GivenName: "A", FamilyName: "B"})
	h.ok(err)
	_, err = h.CreateGroup(ctx, "vision", "g", nil)
	h.ok(err)
	var file bytes.Buffer
	h.ok(h.Export(ctx, &file))
	again := newHouse(t)
	_, err = again.Import(ctx, file.Bytes(), directory.ImportOptions{})
	h.ok(err)
	ids, err := again.FindUsersByExternalID(ctx, "x")
	h.ok(err)
	if len(ids) != 1 {
		t.Fatalf("x finds %v in\n%s", ids, &file)
	}
	u, err := again.User(ctx, ids[0])
	h.ok(err)
	if u.Username != "alice" || u.GivenName != "A" || u.FamilyName != "B" {
		t.Errorf("alice is %+v", u)
	}
	groups, err := again.Groups(ctx, false)
	h.ok(err)
	if len(groups) != 1 || groups[0].ExternalID != "g" {
		t.Errorf("the teams are %+v", groups)
	}
	result, err := again.Import(ctx, file.Bytes(), directory.ImportOptions{})
	h.ok(err)
	if result.Updated != 0 || result.Created != 0 {
		t.Errorf("importing it again: %+v", result)
	}
}

func TestModified(t *testing.T) { // RFC 7643 section 3.1
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	base, ctx := newHouse(t), context.Background()
	d, err := directory.New(directory.Config{Cache: base.cache, Organization: organization, HMACKey: [32]byte{1}, Settings: authz.Settings{}, Now: func() time.Time { return now }})
	base.ok(err)
	h := &house{TB: t, Directory: d, cache: base.cache, store: base.store}
	alice := h.user("alice")
	c, err := h.CreateGroup(ctx, "vision", "g", []iam.UserID{alice})
	h.ok(err)
	vision := c.After.ID
	if !c.After.Modified.IsZero() || c.After.ExternalID != "g" || !slices.Equal(c.After.Members, []iam.UserID{alice}) {
		t.Errorf("a new team is %+v", c.After)
	}
	modified := func(user, group time.Time) {
		t.Helper()
		p, err := h.Person(ctx, alice)
		h.ok(err)
		g, err := h.Group(ctx, vision)
		h.ok(err)
		if !p.Modified.Equal(user) || !g.Modified.Equal(group) {
			t.Errorf("modified at %s and %s, want %s and %s", p.Modified, g.Modified, user, group)
		}
	}
	joined := now
	now = now.Add(time.Hour)
	modified(joined, time.Time{})
	for _, name := range []string{"Alice", "Alice"} { // the second time nothing changes
		_, err = h.SetUser(ctx, alice, directory.UserChange{Name: &name})
		h.ok(err)
	}
	renamed := now
	now = now.Add(time.Hour)
	_, err = h.SetUser(ctx, alice, directory.UserChange{Name: ptr("Alice")})
	h.ok(err)
	modified(renamed, time.Time{})
	_, err = h.SetMember(ctx, vision, alice, iam.RoleAdmin) // whose role it is, the team does not say
	h.ok(err)
	modified(now, time.Time{})
	now = now.Add(time.Hour)
	_, err = h.RemoveMember(ctx, vision, alice)
	h.ok(err)
	modified(now, now)
}

func TestEditGroupIsAllOrNothing(t *testing.T) { // S06
	h, ctx := newHouse(t), context.Background()
	alice, bob := h.user("alice"), h.user("bob")
	vision := h.team("vision", alice)
	h.member(vision, alice, iam.RoleAdmin)
	edit := func(e directory.GroupEdit) error {
		_, err := h.EditGroup(ctx, vision, func(*directory.Group) (directory.GroupEdit, error) { return e, nil })
		return err
	}
	members := func(want ...string) {
		t.Helper()
		g, err := h.Group(ctx, vision)
		h.ok(err)
		names, err := h.Usernames(ctx, g.Members)
		h.ok(err)
		got := slices.Sorted(maps.Values(names))
		if !slices.Equal(got, want) {
			t.Errorf("the members are %v, want %v", got, want)
		}
	}
	h.refused(edit(directory.GroupEdit{Remove: []iam.UserID{alice}, Add: []iam.UserID{bob, "usr_00"}}), iam.KindInvalid, "no user")
	members("alice")
	h.ok(edit(directory.GroupEdit{Add: []iam.UserID{bob, alice}}))
	members("alice", "bob")
	if m, _ := h.principal(alice.Ref()).Membership(vision); m.Role != iam.RoleAdmin {
		t.Errorf("who was there already is %s now", m.Role)
	}
	h.ok(edit(directory.GroupEdit{Remove: []iam.UserID{alice, "usr_00"}}))
	members("bob")
	_, err := h.CreateGroup(ctx, "VISION", "", nil)
	h.refused(err, iam.KindConflict, "taken by a team")
	_, err = h.CreateGroup(ctx, "more", "", []iam.UserID{"usr_00"})
	h.refused(err, iam.KindInvalid, "no user")
	if id, err := h.FindTeam(ctx, "more"); id != "" || err != nil {
		t.Errorf("a team was made for members who are not there: %s %v", id, err)
	}
	all, err := h.Groups(ctx, true)
	h.ok(err)
	if len(all) != 1 || len(all[0].Members) != 1 {
		t.Errorf("all teams: %+v", all)
	}
}

func TestUserPages(t *testing.T) { // S10
	h, ctx := newHouse(t), context.Background()
	var ids []iam.UserID
	for _, name := range []string{"a", "b", "c", "d", "e"} {
		ids = append(ids, h.user(name))
	}
	slices.Sort(ids)
	page := func(start, count int, want ...iam.UserID) {
		t.Helper()
		users, total, err := h.UserPage(ctx, start, count)
		h.ok(err)
		var got []iam.UserID
		for _, u := range users {
			got = append(got, u.ID)
		}
		if total != len(ids) || !slices.Equal(got, want) {
			t.Errorf("from %d, %d: %v of %d, want %v of %d", start, count, got, total, want, len(ids))
		}
	}
	page(0, 2, ids[:2]...)
	page(2, 2, ids[2:4]...)
	page(4, 2, ids[4:]...)
	page(5, 2)
	page(99, 2)
	page(0, 0)
	_, err := h.DeleteUser(ctx, ids[1])
	h.ok(err)
	ids = slices.Delete(ids, 1, 2)
	page(0, 9, ids...)
	ids = append(ids, h.user("f"))
	slices.Sort(ids)
	page(0, 9, ids...)
}

func TestRenamingARoleKeepsItsHolders(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	c, err := h.CreateRole(ctx, iam.CustomRole{Name: "launcher", Inherits: iam.RoleViewer, Permissions: []string{"run:stop"}})
	h.ok(err)
	h.member(vision, alice, "launcher")
	project := h.project(vision.Entity(), "p", iam.VisibilityTeam)
	_, err = h.CreateRole(ctx, iam.CustomRole{Name: "launcher", Inherits: iam.RoleMember})
	h.refused(err, iam.KindConflict, "already")
	_, err = h.CreateRole(ctx, iam.CustomRole{Name: "other", Inherits: iam.RoleMember})
	h.ok(err)
	rename := func(name string) error {
		_, err := h.EditRole(ctx, c.After.ID, func(r iam.CustomRole) (iam.CustomRole, error) {
			r.Name = name
			return r, nil
		})
		return err
	}
	h.refused(rename("other"), iam.KindConflict, "already")
	h.refused(rename("Admin"), iam.KindInvalid, "predefined")
	h.ok(rename("stopper"))
	if m, _ := h.principal(alice.Ref()).Membership(vision); m.Role != "stopper" {
		t.Errorf("alice is %s", m.Role)
	}
	f := h.facts(alice.Ref(), "vision", "p")
	if d := authz.Decide(authz.Request{Permission: authz.RunStop}, f); !d.Allowed() {
		t.Errorf("under its new name the role denies: %v (%v)", d, project)
	}
	_, err = h.RemoveRole(ctx, c.After.ID, func(iam.CustomRole) error { return nil })
	h.ok(err)
	if m, _ := h.principal(alice.Ref()).Membership(vision); m.Role != iam.RoleViewer {
		t.Errorf("without the role alice is %s", m.Role)
	}
}
