package directory

import (
	"context"
	"fmt"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// NewServiceAccount describes a service account to be added: of a team (Team), or of the
// organization (DefaultTeam, which SA-13 requires).
type NewServiceAccount struct {
	// Name is unique among service accounts and people without regard to case.
	Name        string
	Team        iam.TeamID
	DefaultTeam iam.TeamID
	// Issuer with either Subject or Claims makes it an external one (see federation.go).
	Issuer, Subject string
	Claims          map[string]string
	Inactive        bool
}

// ServiceAccountChange is what to change about a service account; nil leaves it. Its team stays:
// an account that changed sides would take its keys along.
type ServiceAccountChange struct {
	// Name is by what people and the deployment behind know the account; its keys and its places in projects stay.
	Name            *string
	DefaultTeam     *iam.TeamID
	Issuer, Subject *string
	// Claims replaces all claims; an empty map leaves none.
	Claims *map[string]string
	Active *bool
}

// CreateServiceAccount adds a service account. A name that is taken, or a subject or claims that
// another account of the issuer has, are iam.KindConflict.
func (d *Directory) CreateServiceAccount(ctx context.Context, n NewServiceAccount) (Change[iam.ServiceAccount], error) {
	var c Change[iam.ServiceAccount]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c.After, err = tx.createServiceAccount(n)
		return err
	})
	return c, err
}

// ServiceAccount returns a service account as recorded. An unknown id is iam.KindNotFound.
func (d *Directory) ServiceAccount(ctx context.Context, id iam.ServiceAccountID) (*iam.ServiceAccount, error) {
	return get[iam.ServiceAccount](ctx, d, d.names.serviceAccount(id), "service account", string(id))
}

// ServiceAccounts calls f with every service account, in no useful order, until it returns an error,
// which is returned.
func (d *Directory) ServiceAccounts(ctx context.Context, f func(*iam.ServiceAccount) error) error {
	return each(ctx, d, d.names.space+"sa/", f)
}

// SetServiceAccount changes a service account. Deactivating suspends its keys at once and ends its
// access tokens for good, as does a change of issuer, subject or claims: the tokens were given to
// whoever matched the old ones.
func (d *Directory) SetServiceAccount(ctx context.Context, id iam.ServiceAccountID, change ServiceAccountChange) (Change[iam.ServiceAccount], error) {
	var c Change[iam.ServiceAccount]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.serviceAccount(id); err != nil {
			return err
		}
		c.After, err = tx.setServiceAccount(id, change)
		return err
	})
	return c, err
}

// DeleteServiceAccount removes a service account with its keys and invitations.
func (d *Directory) DeleteServiceAccount(ctx context.Context, id iam.ServiceAccountID) (Change[iam.ServiceAccount], error) {
	var c Change[iam.ServiceAccount]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.serviceAccount(id); err != nil {
			return err
		}
		return tx.deleteServiceAccount(id)
	})
	return c, err
}

// serviceAccount returns a fresh copy of a service account that must be there.
func (tx *transaction) serviceAccount(id iam.ServiceAccountID) (*iam.ServiceAccount, error) {
	a, err := load[iam.ServiceAccount](tx, tx.d.names.serviceAccount(id))
	if err == nil && a == nil {
		return nil, iam.NotFoundf("there is no service account %q: the id is wrong, or it was deleted", id)
	}
	return a, err
}

func (tx *transaction) createServiceAccount(n NewServiceAccount) (*iam.ServiceAccount, error) {
	if err := validName("service account name", n.Name); err != nil {
		return nil, err
	}
	a := &iam.ServiceAccount{ID: iam.NewServiceAccountID(), Name: n.Name, Team: n.Team, DefaultTeam: n.DefaultTeam,
		Issuer: n.Issuer, Subject: n.Subject, Claims: cloneClaims(n.Claims), Active: !n.Inactive, Created: tx.d.created()}
	if a.Team != "" {
		if _, err := tx.standingTeam(a.Team); err != nil {
			return nil, err
		}
	}
	if err := tx.claimServiceAccountName(a); err != nil {
		return nil, err
	}
	if err := tx.d.judgeFederation(tx.ctx, a); err != nil {
		return nil, err
	}
	return a, tx.putServiceAccount(a)
}

func (tx *transaction) setServiceAccount(id iam.ServiceAccountID, c ServiceAccountChange) (*iam.ServiceAccount, error) {
	a, err := tx.serviceAccount(id)
	if err != nil {
		return nil, err
	}
	was := *a
	if c.Name != nil && *c.Name != a.Name {
		if err := tx.renameServiceAccount(a, *c.Name); err != nil {
			return nil, err
		}
	}
	set(&a.DefaultTeam, c.DefaultTeam)
	set(&a.Issuer, c.Issuer)
	set(&a.Subject, c.Subject)
	set(&a.Active, c.Active)
	if c.Claims != nil {
		a.Claims = cloneClaims(*c.Claims)
	}
	if was.Active && !a.Active {
		tx.goes(id.Ref(), a.Name, accountTeams(a))
	}
	moved := !sameFederation(&was, a)
	if moved || was.Active && !a.Active {
		a.Epoch++
	}
	if moved || a.Active && !was.Active { // deactivating must not depend on rules made since
		if err := tx.d.judgeFederation(tx.ctx, a); err != nil {
			return nil, err
		}
	}
	if moved {
		if err := tx.releaseFederation(&was); err != nil {
			return nil, err
		}
	}
	if a.Federated() && !was.Federated() {
		keys, err := tx.list(tx.d.names.keysOf(id.Ref()))
		if err != nil {
			return nil, err
		}
		if len(keys) > 0 {
			return nil, iam.Conflictf("the service account %s owns %d API keys, and an external one owns none: delete them first", a.Name, len(keys))
		}
	}
	return a, tx.putServiceAccount(a)
}

func (tx *transaction) renameServiceAccount(a *iam.ServiceAccount, name string) error {
	if err := validName("service account name", name); err != nil {
		return err
	}
	if err := tx.releaseServiceAccountName(a); err != nil {
		return err
	}
	a.Name = name
	return tx.claimServiceAccountName(a)
}

// putServiceAccount records a valid service account, and what finds it if it is an external one.
func (tx *transaction) putServiceAccount(a *iam.ServiceAccount) error {
	switch {
	case a.Team != "" && a.DefaultTeam != "":
		return iam.Invalidf("the service account %s belongs to a team, which is where its work goes: leave the default team out", a.Name)
	case a.Team == "" && a.DefaultTeam == "":
		return iam.Invalidf("the service account %s needs a team, or as one of the organization a default team, where work goes that names none", a.Name)
	}
	if a.DefaultTeam != "" {
		if _, err := tx.standingTeam(a.DefaultTeam); err != nil {
			return err
		}
	}
	if err := tx.claimFederation(a); err != nil {
		return err
	}
	return tx.put(tx.d.names.serviceAccount(a.ID), a)
}

func (tx *transaction) deleteServiceAccount(id iam.ServiceAccountID) error {
	a, err := tx.serviceAccount(id)
	if err != nil {
		return err
	}
	tx.goes(id.Ref(), a.Name, accountTeams(a))
	if err := tx.uninvite(id.Ref(), func(*iam.Project) bool { return true }); err != nil {
		return err
	}
	if err := tx.deleteKeysOf(id.Ref()); err != nil {
		return err
	}
	if err := tx.releaseFederation(a); err != nil {
		return err
	}
	if err := tx.releaseServiceAccountName(a); err != nil {
		return err
	}
	return tx.delete(tx.d.names.serviceAccount(id))
}

// deleteServiceAccountsOf deletes the team's own accounts. It refuses while the team is the default
// of another.
func (tx *transaction) deleteServiceAccountsOf(t *iam.Team) error {
	var own []iam.ServiceAccountID
	var others []string
	keys, err := tx.list(tx.d.names.space + "sa/")
	if err != nil {
		return err
	}
	for _, key := range keys {
		a, err := load[iam.ServiceAccount](tx, key)
		switch {
		case err != nil:
			return err
		case a.Team == t.ID:
			own = append(own, a.ID)
		case a.DefaultTeam == t.ID:
			others = append(others, a.Name)
		}
	}
	if len(others) > 0 {
		return &iam.Error{Kind: iam.KindConflict, Reason: "default_team",
			Message: fmt.Sprintf("the team %s is the default team of %s: give them another default team first", t.Name, untrusted.Clip(strings.Join(others, ", ")))}
	}
	for _, id := range own {
		if err := tx.deleteServiceAccount(id); err != nil {
			return err
		}
	}
	return nil
}
