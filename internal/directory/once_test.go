package directory_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

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
	_, err = h.SetRole(ctx, iam.CustomRole{Name: "role-7", Inherits: iam.RoleMember}) // one that is there
	h.ok(err)
}
