package directory

import (
	"context"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// ReasonEnforced is the reason for refusing a team a setting that the organization decides (PRIV-2).
const ReasonEnforced iam.Reason = "enforced_setting"

// maxAutoJoin bounds the teams that newcomers are made members of: each costs their first commit three writes.
const maxAutoJoin = 50

// TeamChange is what to change about a team, all or nothing.
type TeamChange struct {
	Settings TeamSettingsChange
	// Set adds people or changes roles. Who is in Remove and not there is passed over.
	Set    []TeamMember
	Remove []iam.UserID
}

// TeamSettingsChange is what to change about a team's settings; nil leaves it.
type TeamSettingsChange struct {
	Hidden, PrivateProjects, MembersInvite, AutoJoin *bool
}

// OrganizationChange is what to change about the organization's settings; nil leaves it.
type OrganizationChange struct {
	EnforceHidden, EnforcePrivateProjects, EnforceMembersInvite *iam.Switch
}

// autoJoinRecord lists the teams that newcomers are made members of, so that a newcomer's commit need not look
// at every team.
type autoJoinRecord struct {
	Teams []iam.TeamID `json:"teams"`
}

// SetTeam changes a team's settings and members. A setting that the organization enforces otherwise is
// iam.KindDenied with ReasonEnforced.
func (d *Directory) SetTeam(ctx context.Context, id iam.TeamID, change TeamChange) (Change[iam.Team], error) {
	var c Change[iam.Team]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.team(id); err != nil {
			return err
		}
		if c.After, err = tx.setTeamSettings(id, change.Settings); err != nil {
			return err
		}
		_, err = tx.updateMembers(id, change.Set, change.Remove)
		return err
	})
	return c, err
}

// OrganizationSettings returns what is chosen for the organization as a whole.
func (d *Directory) OrganizationSettings(ctx context.Context) (iam.OrganizationSettings, error) {
	return d.reading(ctx).organizationSettings()
}

// SetOrganization changes what is chosen for the organization as a whole. What it enforces holds for every team
// at once, whatever they have chosen; they have it back when it is enforced no longer.
func (d *Directory) SetOrganization(ctx context.Context, change OrganizationChange) (Change[iam.OrganizationSettings], error) {
	var c Change[iam.OrganizationSettings]
	err := d.change(ctx, func(tx *transaction) error {
		before, err := tx.organizationSettings()
		if err != nil {
			return err
		}
		after, err := tx.setOrganization(change)
		c = Change[iam.OrganizationSettings]{&before, &after}
		return err
	})
	return c, err
}

func (tx *transaction) organizationSettings() (iam.OrganizationSettings, error) {
	s, err := load[iam.OrganizationSettings](tx, tx.d.names.organization)
	if err != nil || s == nil {
		return iam.OrganizationSettings{}, err
	}
	return *s, nil
}

func (tx *transaction) setOrganization(c OrganizationChange) (iam.OrganizationSettings, error) {
	s, err := tx.organizationSettings()
	if err != nil {
		return s, err
	}
	was := s
	set(&s.Enforced.Hidden, c.EnforceHidden)
	set(&s.Enforced.PrivateProjects, c.EnforcePrivateProjects)
	set(&s.Enforced.MembersInvite, c.EnforceMembersInvite)
	if s == was {
		return s, nil
	}
	return s, tx.put(tx.d.names.organization, s)
}

func (tx *transaction) setTeamSettings(id iam.TeamID, c TeamSettingsChange) (*iam.Team, error) {
	t, err := tx.team(id)
	if err != nil {
		return nil, err
	}
	was := t.Settings
	set(&t.Settings.Hidden, c.Hidden)
	set(&t.Settings.PrivateProjects, c.PrivateProjects)
	set(&t.Settings.MembersInvite, c.MembersInvite)
	set(&t.Settings.AutoJoin, c.AutoJoin)
	if t.Settings == was {
		return t, nil
	}
	if err := tx.leftToTeams(was, t); err != nil {
		return nil, err
	}
	if t.Settings.AutoJoin != was.AutoJoin {
		if err := tx.listAutoJoin(id, t.Settings.AutoJoin); err != nil {
			return nil, err
		}
	}
	return t, tx.put(tx.d.names.team(id), t)
}

// leftToTeams refuses to set what the organization has set otherwise for all teams: it would look as if it had
// an effect.
func (tx *transaction) leftToTeams(was iam.TeamSettings, t *iam.Team) error {
	o, err := tx.organizationSettings()
	if err != nil {
		return err
	}
	for _, s := range []struct {
		name     string
		was, own bool
		enforced iam.Switch
	}{
		{"hidden", was.Hidden, t.Settings.Hidden, o.Enforced.Hidden},
		{"private-projects", was.PrivateProjects, t.Settings.PrivateProjects, o.Enforced.PrivateProjects},
		{"members-invite", was.MembersInvite, t.Settings.MembersInvite, o.Enforced.MembersInvite},
	} {
		if s.own != s.was && s.enforced != iam.SwitchUnset && s.own != (s.enforced == iam.SwitchOn) {
			return &iam.Error{Kind: iam.KindDenied, Reason: ReasonEnforced,
				Message: "the organization has set " + s.name + " " + s.enforced.String() + " for all teams, and team " + t.Name +
					" cannot have it otherwise: an organization admin can leave it to the teams (`iam organization set --enforce-" + s.name + " unset`)"}
		}
	}
	return nil
}

func (tx *transaction) autoJoinTeams() ([]iam.TeamID, error) {
	r, err := load[autoJoinRecord](tx, tx.d.names.autoJoin)
	if err != nil || r == nil {
		return nil, err
	}
	return r.Teams, nil
}

// listAutoJoin puts a team on the list of those that newcomers are made members of, or takes it off.
func (tx *transaction) listAutoJoin(id iam.TeamID, on bool) error {
	teams, err := tx.autoJoinTeams()
	if err != nil {
		return err
	}
	teams = slices.DeleteFunc(teams, func(t iam.TeamID) bool { return t == id })
	if on {
		if len(teams) == maxAutoJoin {
			return &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large",
				Message: "newcomers can be made members of 50 teams: switch auto-join off for another one first"}
		}
		teams = append(teams, id)
	}
	return tx.put(tx.d.names.autoJoin, autoJoinRecord{teams})
}

// joinAutomatically makes a person who is about to be recorded for the first time a member of the teams that
// want every newcomer (TEAM-12). Organization admins who may not give themselves a place in a team are not
// given one either (ENV-9).
func (tx *transaction) joinAutomatically(u *iam.User) error {
	teams, err := tx.autoJoinTeams()
	if err != nil || tx.barred(u) {
		return err
	}
	for _, id := range teams {
		t, err := tx.foundTeam(id)
		if err != nil {
			return err
		}
		if err := tx.guardName(t.Name, id.Entity()); err != nil {
			return err
		}
		u.Teams = append(u.Teams, iam.TeamMembership{Team: id, Role: iam.RoleMember})
		if err := tx.put(tx.d.names.member(id, u.ID), struct{}{}); err != nil {
			return err
		}
		if err := tx.touchGroup(id); err != nil {
			return err
		}
	}
	return nil
}

// foundTeam returns a team that another record names. If it is not there, it was deleted between the two reads:
// the change is decided again.
func (tx *transaction) foundTeam(id iam.TeamID) (*iam.Team, error) {
	t, err := load[iam.Team](tx, tx.d.names.team(id))
	if err == nil && t == nil {
		err = store.ErrConflict
	}
	return t, err
}

// checkVisibility refuses a visibility that a project cannot have, whoever wants it: p is the project as it is,
// or nil for a new one.
func (tx *transaction) checkVisibility(entity iam.EntityID, name string, p *iam.Project, v iam.Visibility) error {
	if v > iam.VisibilityOpen {
		return invalidVisibility(v)
	}
	f := authz.Facts{Entity: &iam.Entity{ID: entity}, Project: p}
	if team, ok := entity.Team(); ok {
		t, err := tx.team(team)
		if err != nil {
			return err
		}
		o, err := tx.organizationSettings()
		if err != nil {
			return err
		}
		f.Entity.Name, f.Team, f.Enforced = t.Name, t.Settings, o.Enforced
	}
	why := authz.VisibilityReason(&f, v)
	if why == "" {
		return nil
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: why, Message: authz.Sentence(why, authz.Names{Entity: f.Entity.Name, Project: name})}
}

// hidden reports whether a team is hidden from those outside.
func (tx *transaction) hidden(id iam.TeamID) (bool, error) {
	t, err := tx.foundTeam(id)
	if err != nil {
		return false, err
	}
	o, err := tx.organizationSettings()
	return o.Enforced.Over(t.Settings).Hidden, err
}
