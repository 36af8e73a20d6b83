package directory_test

import (
	"context"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestAttribute(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice, bob, carol := h.user("alice"), h.user("bob"), h.user("carol")
	gone := h.user("gone")
	// dave's user name is spelt like an address; nobody else may have that address.
	created, err := h.CreateUser(ctx, directory.NewUser{Username: "dave@acme.test", Email: "other@acme.test"})
	h.ok(err)
	dave := created.After.ID
	vision, audio := h.team("vision", alice, carol, gone, dave), h.team("audio", bob, carol)
	h.member(vision, carol, iam.RoleViewer)
	_, err = h.SetUser(ctx, gone, directory.UserChange{Active: ptr(false)})
	h.ok(err)
	own := h.principal(h.teamAccount("ci", vision).Ref())
	all := h.principal(h.organizationAccount("org-bot", audio).Ref())
	entity := func(name string) *iam.Entity { return h.facts(alice.Ref(), name, "").Entity }

	for _, c := range []struct {
		name        string
		sa          *iam.Principal
		destination string
		claim       iam.Attribution
		want        iam.UserID
	}{
		{"ATTR-5 member of the parent team", own, "vision", iam.Attribution{Username: "alice"}, alice},
		{"ATTR-5 by e-mail", own, "vision", iam.Attribution{Email: "ALICE@acme.test"}, alice},
		{"ATTR-6 no team named", own, "", iam.Attribution{Username: "alice"}, alice},
		{"ATTR-6 not in the parent team", own, "", iam.Attribution{Username: "bob"}, ""},
		{"ATTR-8 another team's project, of the parent team", own, "audio", iam.Attribution{Username: "alice"}, alice},
		{"ATTR-8 another team's project, of that team", own, "audio", iam.Attribution{Username: "bob"}, ""},
		{"ATTR-3 user name wins", own, "vision", iam.Attribution{Username: "alice", Email: "carol@acme.test"}, alice},
		{"ATTR-3 user name wins though unknown", own, "vision", iam.Attribution{Username: "nobody", Email: "alice@acme.test"}, ""},
		{"ATTR-3 user name wins though no member", own, "vision", iam.Attribution{Username: "bob", Email: "alice@acme.test"}, ""},
		{"ATTR-4 e-mail as user name", own, "vision", iam.Attribution{Username: "alice@acme.test"}, alice},
		{"ATTR-4 user name spelt like an e-mail", own, "vision", iam.Attribution{Username: "dave@acme.test"}, dave},
		{"such a user name is no e-mail", own, "vision", iam.Attribution{Email: "dave@acme.test"}, ""},
		{"user name in the e-mail header", own, "vision", iam.Attribution{Email: "alice"}, ""},
		{"ATTR-9 member of the destination", all, "vision", iam.Attribution{Username: "alice"}, alice},
		{"ATTR-9 not of the destination", all, "vision", iam.Attribution{Username: "bob"}, ""},
		{"ATTR-9 default team", all, "", iam.Attribution{Username: "bob"}, bob},
		{"ATTR-9 not of the default team", all, "", iam.Attribution{Username: "alice"}, ""},
		{"personal entity", all, "alice", iam.Attribution{Username: "alice"}, ""},
		{"View-Only is a member", own, "vision", iam.Attribution{Username: "carol"}, carol},
		{"deactivated", own, "vision", iam.Attribution{Username: "gone"}, ""},
		{"organization admin outside the team", own, "vision", iam.Attribution{Username: "root"}, ""},
		{"a team's name", own, "vision", iam.Attribution{Username: "vision"}, ""},
		{"a service account's name", own, "vision", iam.Attribution{Username: "ci"}, ""},
		{"an id", own, "vision", iam.Attribution{Username: string(alice)}, ""},
		{"nothing", own, "vision", iam.Attribution{}, ""},
		{"ATTR-10 a person names another", h.principal(carol.Ref()), "vision", iam.Attribution{Username: "alice"}, ""},
		{"no caller", nil, "vision", iam.Attribution{Username: "alice"}, ""},
	} {
		var destination *iam.Entity
		if c.destination != "" {
			destination = entity(c.destination)
		}
		p, err := h.Attribute(ctx, c.sa, destination, c.claim)
		h.ok(err)
		got := iam.UserID("")
		if p != nil {
			got = iam.UserID(p.Ref.ID)
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	_, err = h.RemoveMember(ctx, vision, alice)
	h.ok(err)
	if p, err := h.Attribute(ctx, own, nil, iam.Attribution{Username: "alice"}); p != nil || err != nil {
		t.Errorf("left the team: %v, %v", p, err)
	}
}
