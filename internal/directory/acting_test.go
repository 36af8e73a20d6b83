package directory_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// between is a store in which something happens after a change was decided and before it is committed.
type between struct {
	store.Store
	happens func()
}

func (b *between) Commit(ctx context.Context, w ...store.Write) (store.Revision, error) {
	if happens := b.happens; happens != nil {
		b.happens = nil
		happens()
	}
	return b.Store.Commit(ctx, w...)
}

// Whoever acts may still do so when what they do is committed, however late they lost it (Z05).
func TestWhoActsIsDecidedWithTheCommit(t *testing.T) {
	inner, ctx := newHouse(t), context.Background()
	b := &between{Store: inner.store}
	h := onStore(t, b, authz.Settings{})
	h.admin("other")
	team := h.team("vision")
	vision := iam.TeamRef{ID: team, Name: "vision"}
	member, off := iam.OrganizationMember, false
	never, undecided := iam.SwitchOff, iam.SwitchUnset
	membersInvite := func(on bool) error {
		return second(h.SetTeam(ctx, team, directory.TeamChange{Settings: directory.TeamSettingsChange{MembersInvite: &on}}))
	}
	lost := map[string]struct {
		need authz.Permission
		kind iam.Kind
		lose func(iam.UserID) error
	}{
		"demoted":                     {authz.OrganizationManage, iam.KindDenied, func(u iam.UserID) error { return second(h.SetUser(ctx, u, directory.UserChange{Role: &member})) }},
		"deactivated":                 {authz.OrganizationManage, iam.KindUnauthenticated, func(u iam.UserID) error { return second(h.SetUser(ctx, u, directory.UserChange{Active: &off})) }},
		"deleted":                     {authz.OrganizationManage, iam.KindUnauthenticated, func(u iam.UserID) error { return second(h.DeleteUser(ctx, u)) }},
		"provisioner":                 {authz.OrganizationProvision, iam.KindDenied, func(u iam.UserID) error { return second(h.SetUser(ctx, u, directory.UserChange{Role: &member})) }},
		"keeps their own":             {authz.SelfUpdate, iam.KindUnauthenticated, func(u iam.UserID) error { return second(h.SetUser(ctx, u, directory.UserChange{Active: &off})) }},
		"no longer admin of the team": {authz.TeamManage, iam.KindDenied, func(u iam.UserID) error { return second(h.SetMember(ctx, team, u, iam.RoleMember)) }},
		"members invite no more":      {authz.TeamInvite, iam.KindDenied, func(iam.UserID) error { return membersInvite(off) }},
		"the organization forbids it": {authz.TeamInvite, iam.KindDenied, func(iam.UserID) error {
			return second(h.SetOrganization(ctx, directory.OrganizationChange{EnforceMembersInvite: &never}))
		}},
		"no longer in the team": {authz.TeamManage, iam.KindDenied, func(u iam.UserID) error { return second(h.RemoveMember(ctx, team, u)) }},
	}
	n := 0
	for name, c := range lost {
		for _, when := range []string{"before the decision", "between decision and commit"} {
			t.Run(name+", "+when, func(t *testing.T) {
				n++
				role := iam.OrganizationAdmin
				switch c.need {
				case authz.TeamManage, authz.TeamInvite, authz.SelfUpdate:
					role = iam.OrganizationMember
				}
				h.ok(second(h.SetOrganization(ctx, directory.OrganizationChange{EnforceMembersInvite: &undecided})))
				h.ok(membersInvite(true))
				made, err := h.CreateUser(ctx, directory.NewUser{Username: fmt.Sprintf("a%d", n), Role: role})
				h.ok(err)
				actor := made.After.ID
				inTeam := iam.RoleAdmin
				if c.need == authz.TeamInvite {
					inTeam = iam.RoleMember
				}
				h.member(team, actor, inTeam)
				acting := directory.Acting{Who: actor.Ref(), Needs: []directory.Need{{Permission: c.need}}}
				if c.need == authz.TeamManage || c.need == authz.TeamInvite {
					acting.Needs[0].Team = vision
				}
				by := h.By(acting)
				if _, err := by.CreateUser(ctx, directory.NewUser{Username: fmt.Sprintf("first%d", n)}); err != nil {
					t.Fatalf("while they may: %v", err)
				}
				if when == "before the decision" {
					h.ok(c.lose(actor))
				} else {
					b.happens = func() { h.check(c.lose(actor)) }
				}
				_, err = by.CreateUser(ctx, directory.NewUser{Username: fmt.Sprintf("late%d", n)})
				if iam.KindOf(err) != c.kind {
					t.Errorf("%v", err)
				}
				if id, err := h.FindUser(ctx, fmt.Sprintf("late%d", n)); id != "" || err != nil {
					t.Errorf("made all the same: %q %v", id, err)
				}
			})
		}
	}
	// What a change does to those who make it does not take it back.
	self := h.admin("self")
	if _, err := h.By(directory.Acting{Who: self.Ref(), Needs: []directory.Need{{Permission: authz.OrganizationManage}}}).SetUser(ctx, self, directory.UserChange{Role: &member}); err != nil {
		t.Error(err)
	}
}

// What one person changes at the same moment does not get in its own way: the record of who acts is looked at only.
func TestManyChangesOfOnePerson(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	root := h.admin("root")
	before, err := h.store.Get(ctx, "acme/user/"+string(root))
	h.ok(err)
	by := h.By(directory.Acting{Who: root.Ref(), Needs: []directory.Need{{Permission: authz.OrganizationManage}}})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			_, err := by.CreateUser(ctx, directory.NewUser{Username: fmt.Sprintf("u%d", i)})
			h.check(err)
		})
	}
	all.Wait()
	if after, err := h.store.Get(ctx, "acme/user/"+string(root)); err != nil || after.Version != before.Version {
		t.Errorf("the record of who acts was written %d times, %v", after.Version-before.Version, err)
	}
}
