package directory

import (
	"context"
	"errors"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Attribute returns the person for whom a service account says it works, or nil when the claim
// fails its check: the request then goes on without attribution (ATTR-7). It counts when the person
// is an active member of the account's parent team, wherever the work goes (ATTR-5, ATTR-6,
// ATTR-8); for an organization-scoped account, of the team that the work goes to (ATTR-9), which is
// its default team when the request names none (destination nil). A personal entity has no members,
// so nobody can be named there.
//
// A user name beats an e-mail address even when nobody bears it (ATTR-3), and may itself be an
// e-mail address (ATTR-4). People and callers without a credential attribute nothing (ATTR-10).
func (d *Directory) Attribute(ctx context.Context, sa *iam.Principal, destination *iam.Entity, a iam.Attribution) (*iam.Principal, error) {
	if sa == nil || !sa.IsServiceAccount() || a == (iam.Attribution{}) {
		return nil, nil
	}
	for range attempts {
		v := d.cache.View()
		person, err := d.attribute(ctx, v, sa, destination, a)
		if !v.Valid() {
			continue
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, unreadable(err)
		}
		return person, nil
	}
	return nil, errRestless
}

func (d *Directory) attribute(ctx context.Context, v *hotcache.View, sa *iam.Principal, destination *iam.Entity, a iam.Attribution) (*iam.Principal, error) {
	team := sa.Scope.ID
	if sa.OrganizationScoped() {
		var err error
		if team, err = d.destinationTeam(ctx, v, sa, destination); err != nil || team == "" {
			return nil, err
		}
	}
	id, err := d.readPerson(ctx, v, a)
	if err != nil || id == "" {
		return nil, err
	}
	person, err := d.read(ctx, v, id.Ref())
	if err != nil {
		return nil, err
	}
	if _, member := person.Membership(team); !member || !person.Active {
		return nil, nil
	}
	return person, nil
}

func (d *Directory) destinationTeam(ctx context.Context, v *hotcache.View, sa *iam.Principal, destination *iam.Entity) (iam.TeamID, error) {
	if destination == nil {
		t, err := d.readTarget(ctx, v, sa.DefaultEntity, "")
		if err != nil || t.entity == nil {
			return "", err
		}
		destination = t.entity
	}
	team, ok := destination.ID.Team()
	if !ok {
		return "", nil
	}
	return team, nil
}

// readPerson finds the named person; "" if there is none.
func (d *Directory) readPerson(ctx context.Context, v *hotcache.View, a iam.Attribution) (iam.UserID, error) {
	if a.Username == "" {
		return d.readByEmail(ctx, v, a.Email)
	}
	id, err := d.readByUsername(ctx, v, a.Username)
	if err != nil || id != "" {
		return id, err
	}
	return d.readByEmail(ctx, v, a.Username)
}

func (d *Directory) readByUsername(ctx context.Context, v *hotcache.View, name string) (iam.UserID, error) {
	t, err := d.readTarget(ctx, v, name, "")
	if err != nil || t.entity == nil {
		return "", err
	}
	if id, ok := t.entity.ID.User(); ok {
		return id, nil
	}
	return "", nil
}

func (d *Directory) readByEmail(ctx context.Context, v *hotcache.View, address string) (iam.UserID, error) {
	if !validEmail(address) {
		return "", nil
	}
	r, err := hotcache.Read(ctx, v, d.names.email(address), decode[emailRecord])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	case r.Reserved:
		return "", nil
	}
	return r.User, nil
}
