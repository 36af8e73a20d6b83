package session_test

import (
	"context"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// newDirectory returns a directory beside the sessions, with one person.
func newDirectory(h *house) (*directory.Directory, iam.PrincipalRef) {
	h.Helper()
	d, err := directory.New(directory.Config{Cache: h.cache, Organization: space, HMACKey: [32]byte{1}})
	h.ok(err)
	user, err := d.CreateUser(context.Background(), directory.NewUser{Username: "alice", Email: "alice@acme.test"})
	h.ok(err)
	return d, user.After.ID.Ref()
}

// holds identifies as a gateway does: cookie, then principal, in one reading session.
func (h *house) holds(d *directory.Directory, secret iam.Secret) bool {
	h.Helper()
	v := h.cache.View()
	x, err := h.Find(context.Background(), v, secret)
	h.ok(err)
	p, err := d.PrincipalIn(context.Background(), v, x.Principal)
	h.ok(err)
	if !v.Valid() {
		h.Fatal("the records changed while nobody changed them")
	}
	return p.Active && x.Holds(p)
}

// TestDeactivation ends sessions for good, those too that were being made at the same moment, and
// reactivation brings none of them back.
func TestDeactivation(t *testing.T) {
	h, ctx := newHouse(t), t.Context()
	d, who := newDirectory(h)
	signIn := func(epoch uint64) iam.Secret {
		n := from(who, "00u1", "sid-1")
		n.Epoch = epoch
		secret, _ := h.signIn(n)
		return secret
	}
	set := func(active bool) {
		_, err := d.SetUser(ctx, iam.UserID(who.ID), directory.UserChange{Active: &active})
		h.ok(err)
	}
	epoch := func() uint64 {
		p, err := d.Principal(ctx, who)
		h.ok(err)
		return p.Epoch
	}

	began := epoch()
	before := signIn(began)
	if !h.holds(d, before) {
		t.Fatal("a fresh session does not hold")
	}
	set(false)
	late := signIn(began) // was decided before
	for name, secret := range map[string]iam.Secret{"before": before, "at the same moment": late} {
		if h.holds(d, secret) {
			t.Errorf("a session made %s holds for a deactivated person", name)
		}
	}
	set(true)
	for name, secret := range map[string]iam.Secret{"before": before, "at the same moment": late} {
		if h.holds(d, secret) {
			t.Errorf("reactivation brought back a session made %s", name)
		}
	}
	after := signIn(epoch())
	if !h.holds(d, after) {
		t.Error("a new session of the reactivated person does not hold")
	}
	h.ok(d.EndCredentials(ctx, who))
	if h.holds(d, after) {
		t.Error("a session holds after all credentials were ended")
	}
}

// TestHolds: a session is its principal's alone.
func TestHolds(t *testing.T) {
	x := session.Session{Principal: alice, Epoch: 2}
	for _, c := range []struct {
		name string
		p    iam.Principal
		want bool
	}{
		{"its own", iam.Principal{Ref: alice, Epoch: 2}, true},
		{"an older epoch", iam.Principal{Ref: alice, Epoch: 1}, false},
		{"a newer epoch", iam.Principal{Ref: alice, Epoch: 3}, false},
		{"somebody else", iam.Principal{Ref: bob, Epoch: 2}, false},
		{"a service account of that id", iam.Principal{Ref: iam.ServiceAccountID(alice.ID).Ref(), Epoch: 2}, false},
		{"nobody", iam.Principal{}, false},
	} {
		if got := x.Holds(&c.p); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}
