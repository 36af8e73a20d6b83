package directory

import (
	"context"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// OwnerState says whether a project's owner can still act as one. Ownership stays when somebody leaves (VIS-12):
// who comes back has it again, and until then the team's admins name another.
type OwnerState string

// The states.
const (
	OwnerPresent     OwnerState = "present"
	OwnerNone        OwnerState = "none" // nobody was named
	OwnerLeft        OwnerState = "left the team"
	OwnerDeactivated OwnerState = "deactivated"
	OwnerDeleted     OwnerState = "deleted"
)

// OwnerGone tells of somebody who left restricted projects behind that they own. To whom those are not open
// already, they open no more until somebody else owns them.
type OwnerGone struct {
	Owner iam.PrincipalRef
	// Name is the owner's, and Team the name of the projects' team.
	Name, Team string
	State      OwnerState
	// Projects are the restricted ones, by name.
	Projects []string
}

// OwnerStates calls f with every project of a team and the state of its owner, in no useful order, until it
// returns an error, which is returned.
func (d *Directory) OwnerStates(ctx context.Context, f func(*iam.Project, OwnerState) error) error {
	tx := d.reading(ctx) // remembers people, of whom most own more than one
	return d.Projects(ctx, "", func(p *iam.Project) error {
		team, ok := p.Entity.Team()
		if !ok {
			return nil
		}
		state, err := tx.ownerState(team, p.Owner)
		if err != nil {
			return err
		}
		return f(p, state)
	})
}

func (tx *transaction) ownerState(team iam.TeamID, owner iam.PrincipalRef) (OwnerState, error) {
	if owner.ID == "" {
		return OwnerNone, nil
	}
	in, active := false, false
	switch owner.Kind {
	case iam.KindUser:
		u, err := load[iam.User](tx, tx.d.names.user(iam.UserID(owner.ID)))
		if err != nil {
			return "", err
		}
		if u == nil {
			return OwnerDeleted, nil
		}
		_, in = u.Membership(team)
		active = u.Active
	case iam.KindServiceAccount:
		a, err := load[iam.ServiceAccount](tx, tx.d.names.serviceAccount(iam.ServiceAccountID(owner.ID)))
		if err != nil {
			return "", err
		}
		if a == nil {
			return OwnerDeleted, nil
		}
		in, active = a.Team == "" || a.Team == team, a.Active
	case iam.Anonymous:
		return OwnerNone, nil
	default:
		return OwnerNone, nil
	}
	switch {
	case !in:
		return OwnerLeft, nil
	case !active:
		return OwnerDeactivated, nil
	}
	return OwnerPresent, nil
}

// judgeOwner refuses an owner who could not act as one: the owner of a team's project is in the team, one of its
// service accounts or of the organization's, and that of a personal project the person.
func (tx *transaction) judgeOwner(p *iam.Project, owner iam.PrincipalRef) error {
	if err := tx.present(owner); err != nil || owner.ID == "" {
		return err
	}
	team, ok := p.Entity.Team()
	if !ok {
		if person, _ := p.Entity.User(); owner != person.Ref() {
			return iam.Invalidf("the project %s is in a personal entity: nobody but its person can own it", p.Name)
		}
		return nil
	}
	name, role, err := tx.placeInTeam(team, owner)
	if err == nil && role == "" {
		err = iam.Invalidf("%s is not in the team of project %s and could do nothing as its owner: add them to the team first, or name somebody who is in it", name, p.Name)
	}
	return err
}

// goes notes that somebody leaves teams, so that what they leave behind is told of after the commit. nil teams are
// all.
func (tx *transaction) goes(who iam.PrincipalRef, name string, teams []iam.TeamID) {
	if tx.d.ownerGone != nil {
		tx.gone = append(tx.gone, gone{who, name, teams})
	}
}

type gone struct {
	who   iam.PrincipalRef
	name  string
	teams []iam.TeamID
}

// tellGone tells, after a commit, of the restricted projects whose owners left with it. Projects are looked through
// once, and only when somebody left: an index of owners would cost more. What cannot be read is not told, and
// `iam doctor` finds it.
func (tx *transaction) tellGone() {
	if len(tx.gone) == 0 {
		return
	}
	ctx := context.WithoutCancel(tx.ctx) // the change is made, whether or not somebody waits for it
	for team, people := range tx.goneFrom(ctx) {
		found := map[iam.PrincipalRef][]string{}
		_ = tx.d.Projects(ctx, team.Entity(), func(p *iam.Project) error {
			if p.Visibility == iam.VisibilityRestricted {
				found[p.Owner] = append(found[p.Owner], p.Name)
			}
			return nil
		})
		for _, g := range people {
			if len(found[g.who]) == 0 {
				continue
			}
			now := tx.d.reading(ctx)
			t, err := now.team(team)
			if err != nil {
				continue // deleted meanwhile
			}
			if state, err := now.ownerState(team, g.who); err == nil && state != OwnerPresent { // not back already
				tx.d.ownerGone(OwnerGone{Owner: g.who, Name: g.name, Team: t.Name, State: state, Projects: found[g.who]})
			}
		}
	}
}

// goneFrom sorts who left by team.
func (tx *transaction) goneFrom(ctx context.Context) map[iam.TeamID][]gone {
	from := map[iam.TeamID][]gone{}
	for _, g := range tx.gone {
		teams := g.teams
		if teams == nil {
			_ = tx.d.Teams(ctx, func(t *iam.Team) error {
				teams = append(teams, t.ID)
				return nil
			})
		}
		for _, team := range teams {
			from[team] = append(from[team], g)
		}
	}
	return from
}

func teamsOf(u *iam.User) []iam.TeamID {
	teams := make([]iam.TeamID, len(u.Teams))
	for i, m := range u.Teams {
		teams[i] = m.Team
	}
	return teams
}

// accountTeams are the teams in which a service account can own projects; nil for all.
func accountTeams(a *iam.ServiceAccount) []iam.TeamID {
	if a.Team == "" {
		return nil
	}
	return []iam.TeamID{a.Team}
}
