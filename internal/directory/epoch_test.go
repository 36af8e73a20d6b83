package directory_test

import (
	"context"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// TestWhatEndsSessionsAndTokens: the epoch of a principal rises exactly when what was given to it
// before must no longer count.
func TestWhatEndsSessionsAndTokens(t *testing.T) { // design section 6: deactivation ends sessions and tokens for good
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice, vision := h.user("alice"), h.team("vision")
	h.member(vision, alice, iam.RoleMember)
	bot := h.teamAccount("bot", vision)
	c, err := h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: "gh", Team: vision, Issuer: "https://i.example", Subject: "a"})
	h.ok(err)
	gh := c.After.ID
	user := func(c directory.UserChange) func() error {
		return func() error { return second(h.SetUser(ctx, alice, c)) }
	}
	account := func(id iam.ServiceAccountID, c directory.ServiceAccountChange) func() error {
		return func() error { return second(h.SetServiceAccount(ctx, id, c)) }
	}
	file := func(text string) func() error {
		return func() error { return second(h.Import(ctx, []byte(text), directory.ImportOptions{})) }
	}
	on, off := true, false
	for _, step := range []struct {
		name   string
		do     func() error
		who    iam.PrincipalRef
		raised bool
	}{
		{"still active", user(directory.UserChange{Active: &on}), alice.Ref(), false},
		{"deactivated", user(directory.UserChange{Active: &off}), alice.Ref(), true},
		{"deactivated again", user(directory.UserChange{Active: &off}), alice.Ref(), false},
		{"reactivated", user(directory.UserChange{Active: &on}), alice.Ref(), false},
		{"another name", user(directory.UserChange{Name: ptr("Alice")}), alice.Ref(), false},
		{"demoted", user(directory.UserChange{ModelsSeat: ptr(iam.SeatViewer)}), alice.Ref(), false},
		{"deactivated by an import", file(`{"users":[{"username":"alice","active":false}]}`), alice.Ref(), true},
		{"imported again", file(`{"users":[{"username":"alice","active":false}]}`), alice.Ref(), false},
		{"reactivated by an import", file(`{"users":[{"username":"alice","active":true,"email":"a@acme.test"}]}`), alice.Ref(), false},
		{"ended", func() error { return h.EndCredentials(ctx, alice.Ref()) }, alice.Ref(), true},
		{"out of the team", func() error { return second(h.RemoveMember(ctx, vision, alice)) }, alice.Ref(), false},

		{"account deactivated", account(bot, directory.ServiceAccountChange{Active: &off}), bot.Ref(), true},
		{"account reactivated", account(bot, directory.ServiceAccountChange{Active: &on}), bot.Ref(), false},
		{"account made external", account(bot, directory.ServiceAccountChange{Issuer: ptr("https://i.example"), Subject: ptr("b")}), bot.Ref(), true},
		{"account ended", func() error { return h.EndCredentials(ctx, bot.Ref()) }, bot.Ref(), true},

		{"the same subject", account(gh, directory.ServiceAccountChange{Subject: ptr("a")}), gh.Ref(), false},
		{"another subject", account(gh, directory.ServiceAccountChange{Subject: ptr("c")}), gh.Ref(), true},
		{"another issuer", account(gh, directory.ServiceAccountChange{Issuer: ptr("https://j.example")}), gh.Ref(), true},
		{"another subject by an import", file(`{"service_accounts":[{"name":"gh","subject":"d"}]}`), gh.Ref(), true},
		{"imported as it is", file(`{"service_accounts":[{"name":"gh","subject":"d","issuer":"https://j.example"}]}`), gh.Ref(), false},
		{"no subject any more", account(gh, directory.ServiceAccountChange{Issuer: ptr(""), Subject: ptr("")}), gh.Ref(), true},
	} {
		before := h.principal(step.who).Epoch
		h.ok(step.do())
		after := h.principal(step.who).Epoch
		if want := before + uint64(btoi(step.raised)); after != want {
			t.Errorf("%s: the epoch went from %d to %d, want %d", step.name, before, after, want)
		}
	}
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestEndCredentialsLeavesKeysAndTakesNobodyElse(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice, bob := h.user("alice"), h.user("bob")
	key := h.key(alice.Ref())
	h.ok(h.EndCredentials(ctx, alice.Ref()))
	if p, err := h.PrincipalByKey(ctx, key); err != nil || p.Epoch != 1 {
		t.Errorf("%+v, %v", p, err)
	}
	if p := h.principal(bob.Ref()); p.Epoch != 0 {
		t.Errorf("bob's sessions ended too: %+v", p)
	}
	for _, c := range []struct {
		name string
		ref  iam.PrincipalRef
		kind iam.Kind
	}{
		{"nobody", iam.PrincipalRef{}, iam.KindInvalid},
		{"anonymous", iam.PrincipalRef{Kind: iam.Anonymous, ID: string(alice)}, iam.KindInvalid},
		{"an unknown kind", iam.PrincipalRef{Kind: 9, ID: string(alice)}, iam.KindInvalid},
		{"an unknown user", iam.PrincipalRef{Kind: iam.KindUser, ID: "usr_none"}, iam.KindNotFound},
		{"no id", iam.PrincipalRef{Kind: iam.KindUser}, iam.KindNotFound},
		{"a user as a service account", iam.PrincipalRef{Kind: iam.KindServiceAccount, ID: string(alice)}, iam.KindNotFound},
		{"a path to another record", iam.PrincipalRef{Kind: iam.KindServiceAccount, ID: "../user/" + string(alice)}, iam.KindNotFound},
	} {
		if err := h.EndCredentials(ctx, c.ref); iam.KindOf(err) != c.kind {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestEveryEndCounts: who ends credentials at the same moment as others loses no end, and no other
// change of the record is lost.
func TestEveryEndCounts(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	const ends = 6 // fewer than a change is decided anew
	var all sync.WaitGroup
	for range ends {
		all.Go(func() { h.check(h.EndCredentials(ctx, alice.Ref())) })
	}
	all.Go(func() { h.check(second(h.SetUser(ctx, alice, directory.UserChange{Name: ptr("Alice")}))) })
	all.Wait()
	if p := h.principal(alice.Ref()); p.Epoch != ends || p.Name != "Alice" {
		t.Errorf("%+v", p)
	}
}

func TestAnExportHasNoEpoch(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.imported(contract)
	alice := mustFind(h, "alice")
	before := h.exported()
	h.ok(h.EndCredentials(ctx, alice.Ref()))
	if h.exported() != before {
		t.Error("the export tells the epoch")
	}
	h.imported(before)
	if p := h.principal(alice.Ref()); p.Epoch != 1 {
		t.Errorf("an import set the epoch to %d", p.Epoch)
	}
	_, err := h.Import(ctx, []byte(`{"users":[{"username":"alice","epoch":0}]}`), directory.ImportOptions{})
	h.refused(err, iam.KindInvalid, `"epoch" is not known here`)
}
