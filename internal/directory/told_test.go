package directory_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// TestTelling: each record of a change is told once, when it is committed, and no key with it.
func TestTelling(t *testing.T) {
	inner, ctx := newHouse(t), context.Background()
	b := &between{Store: inner.store}
	h := onStore(t, b, authz.Settings{})
	root := h.admin("root")
	var told []string
	var all strings.Builder
	d := h.Telling(func(r directory.Told) {
		effect := "changed"
		switch {
		case r.Before == nil:
			effect = "made"
		case r.After == nil:
			effect = "deleted"
		}
		told = append(told, string(r.Kind)+" "+r.Subject+" "+effect)
		all.Write(r.Before)
		all.Write(r.After)
	})
	expect := func(want ...string) {
		t.Helper()
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("told of %q, want %q", told, want)
		}
		told = nil
	}

	made, err := d.CreateTeam(ctx, "vision", directory.TeamMember{User: root, Role: iam.RoleAdmin})
	h.ok(err)
	expect("team vision made", "user root changed")
	key, minted, err := d.MintKey(ctx, root.Ref(), "laptop")
	h.ok(err)
	expect("api_key " + string(minted.After.ID) + " made")
	if strings.Contains(all.String(), key.Reveal()) {
		t.Error("the key was told")
	}

	_, err = d.CreateTeam(ctx, "vision")
	h.refused(err, iam.KindConflict, "")
	member := iam.OrganizationMember
	_, err = d.SetUser(ctx, root, directory.UserChange{Role: &member})
	h.refused(err, iam.KindConflict, "")
	h.ok(second(d.SetMember(ctx, made.After.ID, root, iam.RoleAdmin)))
	expect() // refused, or as it was

	// Decided again, because somebody else wrote in between.
	name, other := "Root", "R."
	b.happens = func() { h.check(second(h.SetUser(ctx, root, directory.UserChange{Name: &other}))) }
	h.ok(second(d.SetUser(ctx, root, directory.UserChange{Name: &name})))
	expect("user root changed")

	launcher := iam.CustomRole{Name: "launcher", Inherits: iam.RoleViewer}
	for range 2 {
		h.ok(second(d.SetRole(ctx, launcher)))
	}
	h.ok(second(d.SetRole(ctx, iam.CustomRole{Name: "pilot", Inherits: iam.RoleViewer})))
	expect("role launcher made", "role pilot made")
	launcher.Permissions = []string{"run:stop"}
	h.ok(second(d.SetRole(ctx, launcher)))
	h.ok(second(d.DeleteRole(ctx, "pilot")))
	expect("role launcher changed", "role pilot deleted")

	h.ok(second(h.CreateTeam(ctx, "audio")))
	expect() // not by this door
}
