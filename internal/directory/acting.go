package directory

import (
	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Acting is in whose name a change is made, and what they need for it.
type Acting struct {
	Who   iam.PrincipalRef
	Needs []Need
}

// Need is a permission, on a team unless that is zero.
type Need struct {
	Permission authz.Permission
	Team       iam.TeamRef
}

// By returns the directory for somebody's changes. What they need is decided once more on the record that stands
// when a change is committed, and the commit demands that the record stands: once it is acknowledged that somebody
// was demoted, deactivated or deleted, nothing that was underway in their name is done any more (threat Z05).
// Reading is as before.
func (d *Directory) By(a Acting) *Directory {
	by := *d
	by.acting = &a
	return &by
}

// stillMay decides whether whoever acts may still do so.
func (tx *transaction) stillMay() error {
	a := tx.d.acting
	if a == nil {
		return nil
	}
	p, err := tx.actor(a.Who)
	if err != nil {
		return err
	}
	// No custom role administers: what they add is not read.
	facts := authz.Facts{Principal: p, Organization: tx.d.organization, Settings: tx.d.settings}
	for _, need := range a.Needs {
		if err := tx.aboutTeam(&facts, need.Team); err != nil {
			return err
		}
		switch d := authz.Decide(authz.Request{Permission: need.Permission}, facts); {
		case d.Allowed():
		case d.Reason == authz.ReasonDeactivated:
			return Deactivated(p)
		default:
			return authz.Refuse(d, facts, authz.Names{Entity: need.Team.Name})
		}
	}
	return nil
}

// aboutTeam says what is asked about, and what was chosen for it before this change. Nothing is, of a team that the
// change makes.
func (tx *transaction) aboutTeam(f *authz.Facts, team iam.TeamRef) error {
	f.Entity, f.Team, f.Enforced = nil, iam.TeamSettings{}, iam.EnforcedSettings{}
	if team.ID == "" {
		return nil
	}
	f.Entity = &iam.Entity{ID: team.ID.Entity(), Name: team.Name}
	t, err := unchanged[iam.Team](tx, tx.d.names.team(team.ID))
	if err != nil {
		return err
	}
	o, err := unchanged[iam.OrganizationSettings](tx, tx.d.names.organization)
	if err != nil {
		return err
	}
	if t != nil {
		f.Team = t.Settings
	}
	if o != nil {
		f.Enforced = o.Enforced
	}
	return nil
}

// actor is who acts, as recorded before this change, which may be about themselves. The commit demands that this
// is how they are recorded.
func (tx *transaction) actor(who iam.PrincipalRef) (*iam.Principal, error) {
	switch who.Kind {
	case iam.KindUser:
		u, err := unchanged[iam.User](tx, tx.d.names.user(iam.UserID(who.ID)))
		if err != nil {
			return nil, err
		}
		if u == nil {
			return nil, errNoSuchPrincipal
		}
		p := &iam.Principal{Ref: who, Organization: tx.d.organization, Username: u.Username, Active: u.Active,
			Role: u.Role, ModelsSeat: u.ModelsSeat, WeaveSeat: u.WeaveSeat}
		for _, m := range u.Teams {
			p.Teams = append(p.Teams, iam.Membership{TeamRef: iam.TeamRef{ID: m.Team}, Role: m.Role})
		}
		return p, nil
	case iam.KindServiceAccount:
		a, err := unchanged[iam.ServiceAccount](tx, tx.d.names.serviceAccount(iam.ServiceAccountID(who.ID)))
		if err != nil {
			return nil, err
		}
		if a == nil {
			return nil, errNoSuchPrincipal
		}
		return &iam.Principal{Ref: who, Organization: tx.d.organization, Username: a.Name, Active: a.Active, Scope: iam.TeamRef{ID: a.Team}}, nil
	case iam.Anonymous:
		return nil, errNoSuchPrincipal
	default:
		return nil, errNoSuchPrincipal
	}
}

// unchanged reads a record as it stood before this transaction, and has the commit demand it; nil if there was none.
func unchanged[T any](tx *transaction, key string) (*T, error) {
	r, err := tx.original(key)
	if err != nil {
		return nil, err
	}
	tx.checks[key] = true
	if r.Version == 0 {
		return nil, nil
	}
	return decode[T](r)
}
