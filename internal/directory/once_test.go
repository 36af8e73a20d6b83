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

// TestProjectsAreMadeOnce: who makes a project that is there opens none that is closed, and names that are none
// of a project's make no record.
func TestProjectsAreMadeOnce(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	id := h.project(vision.Entity(), "detector", iam.VisibilityRestricted, alice.Ref())
	_, err := h.CreateProject(ctx, directory.NewProject{Entity: vision.Entity(), Name: "detector", Visibility: iam.VisibilityOpen})
	h.refused(err, iam.KindConflict, "there already")
	if p := h.recorded(id); p.Visibility != iam.VisibilityRestricted || !p.Invited(alice.Ref()) {
		t.Errorf("%+v", p)
	}
	revision := h.revision()
	for _, name := range []string{"", "a/b", `a\b`, "a#b", "a?b", "a%b", "a:b", "..", "a\x00b", "\xff"} {
		_, err := h.CreateProject(ctx, directory.NewProject{Entity: vision.Entity(), Name: name})
		h.refused(err, iam.KindInvalid, "project")
	}
	for _, entity := range []iam.EntityID{"", "team_none", "nobody", "usr_none"} {
		_, err := h.CreateProject(ctx, directory.NewProject{Entity: entity, Name: "x"})
		h.refused(err, iam.KindNotFound, "no ")
	}
	_, err = h.RemoveProjectMember(ctx, id, h.user("bob").Ref())
	h.refused(err, iam.KindNotFound, "not on the list")
	if now := h.revision(); now != revision+1 { // bob alone
		t.Errorf("the revision went from %d to %d", revision, now)
	}

	var made atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			_, err := h.CreateProject(ctx, directory.NewProject{Entity: vision.Entity(), Name: "race"})
			switch {
			case err == nil:
				made.Add(1)
			case iam.KindOf(err) != iam.KindConflict:
				t.Error(err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 {
		t.Errorf("the project was made %d times", made.Load())
	}
}

// TestListsOfProjectsNameEachOnce: a list is replaced as a whole, and names nobody twice, for their two roles would
// depend on who reads it.
func TestListsOfProjectsNameEachOnce(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice, bob := h.user("alice"), h.user("bob")
	vision := h.team("vision", alice, bob)
	id := h.project(vision.Entity(), "detector", iam.VisibilityRestricted, alice.Ref())
	_, err := h.SetProject(ctx, id, directory.ProjectChange{Members: &[]iam.ProjectMember{{Principal: bob.Ref()}, {Principal: alice.Ref()}, {Principal: bob.Ref(), Role: iam.RoleAdmin}}})
	h.refused(err, iam.KindInvalid, "named twice")
	if p := h.recorded(id); len(p.Members) != 1 || !p.Invited(alice.Ref()) {
		t.Errorf("%+v", p.Members)
	}
	_, err = h.SetProject(ctx, id, directory.ProjectChange{Members: &[]iam.ProjectMember{{Principal: bob.Ref(), Role: iam.RoleViewer}}})
	h.ok(err)
	if p := h.recorded(id); len(p.Members) != 1 || p.Members[0] != (iam.ProjectMember{Principal: bob.Ref(), Role: iam.RoleViewer}) {
		t.Errorf("%+v", p.Members)
	}
}

// TestCustomRolesHaveABound: all of them stand in one record, which every decision about a custom role reads.
func TestCustomRolesHaveABound(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	var roles []string
	for i := range 200 {
		roles = append(roles, fmt.Sprintf(`{"name":"role-%d","inherits":"viewer"}`, i))
	}
	h.imported(`{"custom_roles":[` + strings.Join(roles, ",") + `]}`)
	_, err := h.SetRole(ctx, iam.CustomRole{Name: "one-more", Inherits: iam.RoleViewer})
	h.refused(err, iam.KindTooLarge, "200 custom roles")
	_, err = h.CreateRole(ctx, iam.CustomRole{Name: "one-more", Inherits: iam.RoleViewer})
	h.refused(err, iam.KindTooLarge, "200 custom roles")
	var permissions []string
	for i := range 201 {
		permissions = append(permissions, fmt.Sprintf("run:do_%d", i))
	}
	_, err = h.SetRole(ctx, iam.CustomRole{Name: "role-7", Inherits: iam.RoleViewer, Permissions: permissions})
	h.refused(err, iam.KindInvalid, "200")
	_, err = h.SetRole(ctx, iam.CustomRole{Name: "role-7", Inherits: iam.RoleViewer, Permissions: permissions[:200]})
	h.ok(err)
	_, err = h.SetRole(ctx, iam.CustomRole{Name: "role-7", Inherits: iam.RoleMember}) // one that is there
	h.ok(err)
}

// TestDefaultTeamsAreThere: work that names no team must have somewhere to go (SA-13, SA-14).
func TestDefaultTeamsAreThere(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	vision := h.team("vision")
	_, err := h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "bot", DefaultTeam: "team_none"})
	h.refused(err, iam.KindNotFound, "no team")
	bot := h.organizationAccount("bot", vision)
	_, err = h.SetServiceAccount(ctx, bot, directory.ServiceAccountChange{DefaultTeam: ptr(iam.TeamID("team_none"))})
	h.refused(err, iam.KindNotFound, "no team")
	_, err = h.SetServiceAccount(ctx, bot, directory.ServiceAccountChange{DefaultTeam: ptr(iam.TeamID(""))})
	h.refused(err, iam.KindInvalid, "default team")
}

// TestTwoKeysOfOneID: the id of a key that came from elsewhere has 32 bits, and two can have the same. Neither is
// deleted or renamed in the place of the other.
func TestTwoKeysOfOneID(t *testing.T) {
	seen := map[iam.KeyID]string{}
	var first, second iam.Secret
	for i := 0; second == (iam.Secret{}); i++ {
		text := fmt.Sprintf("local-%040d", i)
		id := apikey.ID(iam.NewSecret(text))
		if other, ok := seen[id]; ok {
			first, second = iam.NewSecret(other), iam.NewSecret(text)
		}
		seen[id] = text
	}
	h, ctx := newHouse(t), context.Background()
	alice, bob := h.user("alice"), h.user("bob")
	_, err := h.ImportKey(ctx, alice.Ref(), "old", first)
	h.ok(err)
	_, err = h.ImportKey(ctx, bob.Ref(), "old", second)
	h.ok(err)
	id := apikey.ID(first)
	works := func(key iam.Secret, want bool) {
		t.Helper()
		if _, err := h.PrincipalByKey(ctx, key); (err == nil) != want {
			t.Errorf("the key works: %v", err)
		}
	}
	_, err = h.DeleteKey(ctx, iam.PrincipalRef{}, id)
	h.refused(err, iam.KindConflict, "name the owner")
	_, err = h.RenameKey(ctx, iam.PrincipalRef{}, id, "new")
	h.refused(err, iam.KindConflict, "name the owner")
	works(first, true)
	works(second, true)
	_, err = h.DeleteKey(ctx, bob.Ref(), id)
	h.ok(err)
	works(first, true)
	works(second, false)
	_, err = h.DeleteKey(ctx, iam.PrincipalRef{}, id) // now it is one
	h.ok(err)
	works(first, false)
}
