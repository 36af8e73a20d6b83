package directory_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

const organization = "acme"

// house is a directory on an embedded store, with short hands for building a scene.
type house struct {
	testing.TB
	*directory.Directory
	cache *hotcache.Cache
	store store.Store
}

func newHouse(t testing.TB) *house { return openHouse(t, authz.Settings{}) }

func openHouse(t testing.TB, settings authz.Settings) *house {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return onStore(t, s, settings)
}

func onStore(t testing.TB, s store.Store, settings authz.Settings) *house {
	t.Helper()
	cache, err := hotcache.New(hotcache.Config{Store: s, Space: organization})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	return onCache(t, cache, settings)
}

func onCache(t testing.TB, cache *hotcache.Cache, settings authz.Settings) *house {
	t.Helper()
	d, err := directory.New(directory.Config{
		Cache: cache, Organization: organization, HMACKey: [32]byte{1}, Settings: settings,
		Now: func() time.Time { return time.Date(2026, 11, 20, 12, 0, 0, 5, time.UTC) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return &house{TB: t, Directory: d, cache: cache, store: cache.Store()}
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("unexpected: %v", err)
	}
}

// check is ok for other goroutines than the test's.
func (h *house) check(err error) {
	h.Helper()
	if err != nil {
		h.Errorf("unexpected: %v", err)
	}
}

func (h *house) user(name string) iam.UserID {
	h.Helper()
	c, err := h.CreateUser(context.Background(), directory.NewUser{Username: name, Email: name + "@acme.test"})
	h.ok(err)
	return c.After.ID
}

func (h *house) admin(name string) iam.UserID {
	h.Helper()
	c, err := h.CreateUser(context.Background(), directory.NewUser{Username: name, Role: iam.OrganizationAdmin})
	h.ok(err)
	return c.After.ID
}

func (h *house) team(name string, members ...iam.UserID) iam.TeamID {
	h.Helper()
	c, err := h.CreateTeam(context.Background(), name)
	h.ok(err)
	for _, m := range members {
		h.member(c.After.ID, m, iam.RoleMember)
	}
	return c.After.ID
}

func (h *house) member(team iam.TeamID, user iam.UserID, role iam.Role) {
	h.Helper()
	_, err := h.SetMember(context.Background(), team, user, role)
	h.ok(err)
}

func (h *house) teamAccount(name string, team iam.TeamID) iam.ServiceAccountID {
	h.Helper()
	c, err := h.CreateServiceAccount(context.Background(), directory.NewServiceAccount{Name: name, Team: team})
	h.ok(err)
	return c.After.ID
}

func (h *house) organizationAccount(name string, defaultTeam iam.TeamID) iam.ServiceAccountID {
	h.Helper()
	c, err := h.CreateServiceAccount(context.Background(), directory.NewServiceAccount{Name: name, DefaultTeam: defaultTeam})
	h.ok(err)
	return c.After.ID
}

func (h *house) project(entity iam.EntityID, name string, v iam.Visibility, members ...iam.PrincipalRef) iam.ProjectID {
	h.Helper()
	n := directory.NewProject{Entity: entity, Name: name, Visibility: v}
	for _, m := range members {
		n.Members = append(n.Members, iam.ProjectMember{Principal: m})
	}
	c, err := h.CreateProject(context.Background(), n)
	h.ok(err)
	return c.After.ID
}

func (h *house) key(owner iam.PrincipalRef) iam.Secret {
	h.Helper()
	secret, _, err := h.MintKey(context.Background(), owner, "laptop")
	h.ok(err)
	return secret
}

func (h *house) principal(ref iam.PrincipalRef) *iam.Principal {
	h.Helper()
	p, err := h.Principal(context.Background(), ref)
	h.ok(err)
	return p
}

func (h *house) recorded(id iam.ProjectID) *iam.Project {
	h.Helper()
	p, err := h.Project(context.Background(), id)
	h.ok(err)
	return p
}

func (h *house) facts(ref iam.PrincipalRef, entity, project string) authz.Facts {
	h.Helper()
	f, err := h.Facts(context.Background(), h.principal(ref), entity, project)
	h.ok(err)
	return f
}

// refused asserts that err has the kind and that its message names the cause.
func (h *house) refused(err error, kind iam.Kind, cause string) {
	h.Helper()
	var e *iam.Error
	if !errors.As(err, &e) || e.Kind != kind || !strings.Contains(e.Message, cause) {
		h.Errorf("got %v (kind %d), want kind %d with %q", err, iam.KindOf(err), kind, cause)
	}
}

func (h *house) revision() store.Revision {
	h.Helper()
	r, err := h.store.Get(context.Background(), store.RevisionKey(organization))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		h.Fatal(err)
	}
	return r.Version
}

func ptr[T any](v T) *T { return &v }

func TestNewRefusesWhatCannotWork(t *testing.T) {
	h := newHouse(t)
	for name, c := range map[string]directory.Config{
		"no cache":               {Organization: "acme", HMACKey: [32]byte{1}},
		"no organization":        {Cache: h.cache, HMACKey: [32]byte{1}},
		"organization with path": {Cache: h.cache, Organization: "a/b", HMACKey: [32]byte{1}},
		"no key":                 {Cache: h.cache, Organization: "acme"},
	} {
		if _, err := directory.New(c); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
