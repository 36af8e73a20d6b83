package directory_test

import (
	"context"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// TestRenamedOrganizationKeepsItsRecords: the organization gets another name (ORG-11), its records
// stay in the space where they are, and nothing that was cached under the old name is shown.
func TestRenamedOrganizationKeepsItsRecords(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.imported(contract)
	alice := mustFind(h, "alice")
	key := h.key(alice.Ref())
	if p := h.principal(alice.Ref()); p.Organization != "acme" {
		t.Fatalf("%+v", p)
	}
	if h.Space() != "acme" {
		t.Fatalf("the space is %q", h.Space())
	}

	d, err := directory.New(directory.Config{Cache: h.cache, Organization: "globex", Space: "acme", HMACKey: [32]byte{1}})
	h.ok(err)
	renamed := &house{TB: t, Directory: d, cache: h.cache, store: h.store}
	p, err := renamed.PrincipalByKey(ctx, key)
	h.ok(err)
	if p.Organization != "globex" || p.Username != "alice" || renamed.Organization() != "globex" || renamed.Space() != "acme" {
		t.Errorf("%+v in %s", p, renamed.Space())
	}
	if f := renamed.facts(alice.Ref(), "vision", "detector"); f.Organization != "globex" || f.Project == nil {
		t.Errorf("%+v", f)
	}
	if p := h.principal(alice.Ref()); p.Organization != "acme" {
		t.Errorf("the configuration before the reload says %q", p.Organization)
	}
	_, err = renamed.Import(ctx, []byte(contract), directory.ImportOptions{})
	renamed.refused(err, iam.KindInvalid, `the file is of "acme", this gateway serves globex`)
	renamed.count(renamed.imported(renamed.exported()), directory.ImportResult{Unchanged: 9})
	renamed.user("bob") // written into the old space, or the commit would be refused
	if id := mustFind(h, "bob"); id == "" {
		t.Error("bob went elsewhere")
	}
}

func TestNewRefusesASpaceThatIsNone(t *testing.T) {
	h := newHouse(t)
	for _, space := range []string{"a/b", "..", "a b", "é"} {
		if _, err := directory.New(directory.Config{Cache: h.cache, Organization: "acme", Space: space, HMACKey: [32]byte{1}}); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%q: %v", space, err)
		}
	}
}

// TestReadingThroughASession: what is kept with hotcache.Derived is forgotten when any record changes
// that was read for it.
func TestReadingThroughASession(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.imported(contract)
	alice := mustFind(h, "alice")
	const issuer, subject = "https://token.actions.githubusercontent.com", "repo:acme/detector:ref:refs/heads/main"
	type reading struct {
		account iam.ServiceAccountID
		user    iam.UserID
		epoch   uint64
	}
	builds := 0
	derived := func() reading {
		t.Helper()
		r, err := hotcache.Derived(ctx, h.View(), []byte("test"), func(ctx context.Context, v *hotcache.View) (r reading, err error) {
			builds++
			if r.account, err = h.SubjectIn(ctx, v, issuer, subject); err != nil {
				return r, err
			}
			if r.user, err = h.UserByEmailIn(ctx, v, "ALICE@acme.test"); err != nil || r.user == "" {
				return r, err
			}
			p, err := h.PrincipalIn(ctx, v, r.user.Ref())
			if err != nil {
				return r, err
			}
			r.epoch = p.Epoch
			return r, nil
		})
		h.ok(err)
		return r
	}
	if r := derived(); r.account == "" || r.user != alice || r.epoch != 0 {
		t.Fatalf("%+v", r)
	}
	h.ok(h.EndCredentials(ctx, alice.Ref()))
	if r := derived(); r.epoch != 1 {
		t.Errorf("after the end: %+v", r)
	}
	h.imported(`{"service_accounts":[{"name":"gh-train","subject":"x"}]}`)
	if r := derived(); r.account != "" || r.user != alice {
		t.Errorf("after the subject moved: %+v", r)
	}
	h.imported(`{"users":[{"username":"alice","email":"other@acme.test"}]}`)
	if r := derived(); r.user != "" {
		t.Errorf("after the address moved: %+v", r)
	}
	if builds < 4 {
		t.Errorf("built %d times", builds)
	}
	if _, err := h.PrincipalIn(ctx, h.View(), iam.UserID("usr_none").Ref()); iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != directory.ReasonUnknownCredential {
		t.Errorf("nobody: %v", err)
	}
}

func TestReadingThroughASessionWhileTheStoreIsAway(t *testing.T) { // Z07
	inner := newHouse(t)
	s := &silent{Store: inner.store}
	h, ctx := onStore(t, s, authz.Settings{}), context.Background()
	s.away = true
	for name, err := range map[string]error{
		"subject":   second(h.SubjectIn(ctx, h.View(), "https://i.example", "s")),
		"address":   second(h.UserByEmailIn(ctx, h.View(), "alice@acme.test")),
		"principal": second(h.PrincipalIn(ctx, h.View(), iam.UserID("usr_1").Ref())),
		"end":       h.EndCredentials(ctx, iam.UserID("usr_1").Ref()),
	} {
		if iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
