package directory

import (
	"context"
	"fmt"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Membership is a person's place in a team, for audit events.
type Membership struct {
	Team iam.TeamID `json:"team"`
	User iam.UserID `json:"user"`
	Role iam.Role   `json:"role"`
}

// TeamMember is a person and their role in a team.
type TeamMember struct {
	User iam.UserID
	Role iam.Role
}

// CreateTeam adds a team with its first members. A name that is taken, by a person too, is
// iam.KindConflict.
func (d *Directory) CreateTeam(ctx context.Context, name string, members ...TeamMember) (Change[iam.Team], error) {
	var c Change[iam.Team]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.After, err = tx.createTeam(name); err != nil {
			return err
		}
		_, err = tx.updateMembers(c.After.ID, members, nil)
		return err
	})
	return c, err
}

// Team returns a team as recorded. An unknown id is iam.KindNotFound.
func (d *Directory) Team(ctx context.Context, id iam.TeamID) (*iam.Team, error) {
	return get[iam.Team](ctx, d, d.names.team(id), "team", string(id))
}

// Teams calls f with every team, in no useful order, until it returns an error, which is returned.
func (d *Directory) Teams(ctx context.Context, f func(*iam.Team) error) error {
	return each(ctx, d, d.names.space+"team/", f)
}

// Members returns the people in a team, in no useful order. Service accounts are no members.
func (d *Directory) Members(ctx context.Context, team iam.TeamID) ([]*iam.User, error) {
	tx := d.reading(ctx)
	keys, err := tx.list(d.names.membersOf(team))
	if err != nil {
		return nil, err
	}
	var members []*iam.User
	for _, key := range keys {
		u, err := load[iam.User](tx, d.names.user(iam.UserID(key[len(d.names.membersOf(team)):])))
		if err != nil {
			return nil, err
		}
		if u == nil {
			continue // deleted between the two reads
		}
		if _, ok := u.Membership(team); ok {
			members = append(members, u)
		}
	}
	return members, nil
}

// DeleteTeam removes a team: its members leave, its service accounts and their keys are deleted, and its
// key of the W&B server. It
// is refused while the team has projects (their runs and files would stay at the W&B server, and a
// team made later under the same name would inherit them) and while it is the default team of a
// service account of the organization, whose work would have nowhere to go (SA-14).
func (d *Directory) DeleteTeam(ctx context.Context, id iam.TeamID) (Change[iam.Team], error) {
	var c Change[iam.Team]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.team(id); err != nil {
			return err
		}
		return tx.deleteTeam(id)
	})
	return c, err
}

// SetMember adds a person to a team or changes their role there. A project role that differs from
// the team role stays (PROLE-6); one that the team role now equals follows it again (PROLE-10).
func (d *Directory) SetMember(ctx context.Context, team iam.TeamID, user iam.UserID, role iam.Role) (Change[Membership], error) {
	var c Change[Membership]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c, err = tx.setMember(team, user, role)
		return err
	})
	return c, err
}

// RemoveMember takes a person out of a team, and out of the lists of its projects. Runs and
// ownership of projects stay (TEAM-7, VIS-12). Who is not in the team is iam.KindNotFound.
func (d *Directory) RemoveMember(ctx context.Context, team iam.TeamID, user iam.UserID) (Change[Membership], error) {
	var c Change[Membership]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c, err = tx.removeMember(team, user)
		return err
	})
	return c, err
}

// team returns a fresh copy of a team that must be there.
func (tx *transaction) team(id iam.TeamID) (*iam.Team, error) {
	t, err := load[iam.Team](tx, tx.d.names.team(id))
	if err == nil && t == nil {
		return nil, iam.NotFoundf("there is no team %q: the id is wrong, or the team was deleted", id)
	}
	return t, err
}

// standingTeam is team for changes that would be wrong if the team were deleted meanwhile. It guards
// the record of the team's name, not the team's own: principals are built from the latter, and need
// not be read anew whenever somebody joins.
func (tx *transaction) standingTeam(id iam.TeamID) (*iam.Team, error) {
	t, err := tx.team(id)
	if err != nil {
		return nil, err
	}
	return t, tx.guardName(t.Name, id.Entity())
}

// guardName guards the record of an entity's name. An entity that was read and has lost its name was
// deleted since: the change is decided again.
func (tx *transaction) guardName(name string, id iam.EntityID) error {
	r, err := tx.nameRecord(name)
	if err != nil {
		return err
	}
	if r.entity() != id {
		return store.ErrConflict
	}
	return tx.guard(tx.d.names.entityName(name))
}

func (tx *transaction) createTeam(name string) (*iam.Team, error) {
	if err := validName("team name", name); err != nil {
		return nil, err
	}
	t := &iam.Team{ID: iam.NewTeamID(), Name: name, Created: tx.d.created()}
	if err := tx.claimName(t.ID.Entity(), name); err != nil {
		return nil, err
	}
	return t, tx.put(tx.d.names.team(t.ID), t)
}

func (tx *transaction) deleteTeam(id iam.TeamID) error {
	t, err := tx.standingTeam(id)
	if err != nil {
		return err
	}
	projects, err := tx.list(tx.d.names.projectsOf(id.Entity()))
	if err != nil {
		return err
	}
	if len(projects) > 0 {
		return &iam.Error{Kind: iam.KindConflict, Reason: "team_has_projects",
			Message: fmt.Sprintf("the team %s still has %d projects: delete them first, or a new team of that name would inherit what is in them", t.Name, len(projects))}
	}
	if err := tx.deleteServiceAccountsOf(t); err != nil {
		return err
	}
	members, err := tx.list(tx.d.names.membersOf(id))
	if err != nil {
		return err
	}
	for _, key := range members {
		if _, err := tx.removeMember(id, iam.UserID(key[len(tx.d.names.membersOf(id)):])); err != nil {
			return err
		}
	}
	if t.Settings.AutoJoin {
		if err := tx.listAutoJoin(id, false); err != nil {
			return err
		}
	}
	if err := tx.delete(tx.d.names.upstreamKey(id.Entity())); err != nil {
		return err
	}
	if err := tx.releaseName(t.Name, false); err != nil {
		return err
	}
	if err := tx.delete(tx.d.names.group(id)); err != nil {
		return err
	}
	return tx.delete(tx.d.names.team(id))
}

func (tx *transaction) setMember(team iam.TeamID, user iam.UserID, role iam.Role) (c Change[Membership], err error) {
	t, err := tx.standingTeam(team)
	if err != nil {
		return c, err
	}
	u, err := tx.user(user)
	if err != nil {
		return c, err
	}
	if err := tx.checkRole(role); err != nil {
		return c, err
	}
	if !role.Predefined() && u.Role == iam.OrganizationViewer {
		return c, iam.Invalidf("%s is a viewer of the organization and cannot have the custom role %s in team %s: make them a member of the organization first", u.Username, role, t.Name)
	}
	c.After = &Membership{team, user, role}
	i := slices.IndexFunc(u.Teams, func(m iam.TeamMembership) bool { return m.Team == team })
	switch {
	case i < 0:
		u.Teams = append(u.Teams, iam.TeamMembership{Team: team, Role: role})
	case u.Teams[i].Role == role:
		c.Before = c.After
		return c, nil
	default:
		c.Before = &Membership{team, user, u.Teams[i].Role}
		u.Teams[i].Role = role
		if err := tx.followTeamRole(user, team, role); err != nil {
			return c, err
		}
	}
	if err := tx.put(tx.d.names.member(team, user), struct{}{}); err != nil {
		return c, err
	}
	if c.Before == nil {
		if err := tx.touchGroup(team); err != nil {
			return c, err
		}
	}
	return c, tx.writeUser(u)
}

func (tx *transaction) removeMember(team iam.TeamID, user iam.UserID) (c Change[Membership], err error) {
	u, err := tx.user(user)
	if err != nil {
		return c, err
	}
	m, ok := u.Membership(team)
	if !ok {
		return c, iam.NotFoundf("%s is not in this team", u.Username)
	}
	c.Before = &Membership{team, user, m.Role}
	tx.goes(user.Ref(), u.Username, []iam.TeamID{team})
	u.Teams = slices.DeleteFunc(u.Teams, func(m iam.TeamMembership) bool { return m.Team == team })
	if u.DefaultTeam == team {
		u.DefaultTeam = ""
	}
	if err := tx.delete(tx.d.names.member(team, user)); err != nil { // first: invitations guard it
		return c, err
	}
	err = tx.uninvite(user.Ref(), func(p *iam.Project) bool { return p.Entity == team.Entity() })
	if err != nil {
		return c, err
	}
	if err := tx.touchGroup(team); err != nil {
		return c, err
	}
	return c, tx.writeUser(u)
}

// followTeamRole makes project roles follow the team role again that have become equal to it
// (PROLE-10). Others stay as they are (PROLE-6).
func (tx *transaction) followTeamRole(user iam.UserID, team iam.TeamID, role iam.Role) error {
	return tx.invitations(user.Ref(), func(p *iam.Project) error {
		i := slices.IndexFunc(p.Members, func(m iam.ProjectMember) bool { return m.Principal == user.Ref() })
		if p.Entity != team.Entity() || i < 0 || p.Members[i].Role != role {
			return nil
		}
		p.Members[i].Role = ""
		return tx.putProject(p)
	})
}

// UpdateMembers adds people to a team, changes roles and takes people out, all or nothing (S06).
// Who is to be taken out and is not there is passed over.
func (d *Directory) UpdateMembers(ctx context.Context, team iam.TeamID, set []TeamMember, remove []iam.UserID) ([]Change[Membership], error) {
	var changes []Change[Membership]
	err := d.change(ctx, func(tx *transaction) (err error) {
		changes, err = tx.updateMembers(team, set, remove)
		return err
	})
	return changes, err
}

// SyncTeams makes a person's teams those named, as a group claim or a directory says: they leave
// all others, keep their roles where they stay, and become members of new ones (ENV-20). Names that
// no team bears are returned, for the log.
func (d *Directory) SyncTeams(ctx context.Context, user iam.UserID, names []string) (changes []Change[Membership], unknown []string, err error) {
	err = d.change(ctx, func(tx *transaction) (err error) {
		changes, unknown, err = tx.syncTeams(user, names)
		return err
	})
	return changes, unknown, err
}

func (tx *transaction) updateMembers(team iam.TeamID, set []TeamMember, remove []iam.UserID) ([]Change[Membership], error) {
	var changes []Change[Membership]
	for _, user := range remove {
		c, err := tx.removeMember(team, user)
		if iam.KindOf(err) == iam.KindNotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	for _, m := range set {
		c, err := tx.setMember(team, m.User, m.Role)
		if err != nil {
			return nil, err
		}
		if c.Before != c.After {
			changes = append(changes, c)
		}
	}
	return changes, nil
}

func (tx *transaction) syncTeams(user iam.UserID, names []string) (changes []Change[Membership], unknown []string, err error) {
	var stay []iam.TeamID
	for _, name := range names {
		team, err := tx.findTeam(name)
		switch {
		case err != nil:
			return nil, nil, err
		case team == "":
			unknown = append(unknown, name)
		case !slices.Contains(stay, team):
			stay = append(stay, team)
		}
	}
	u, err := tx.user(user)
	if err != nil {
		return nil, nil, err
	}
	for _, m := range u.Teams {
		if slices.Contains(stay, m.Team) {
			continue
		}
		c, err := tx.removeMember(m.Team, user)
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, c)
	}
	for _, team := range stay {
		if _, there := u.Membership(team); there {
			continue
		}
		c, err := tx.setMember(team, user, iam.RoleMember)
		if err != nil {
			return nil, nil, err
		}
		changes = append(changes, c)
	}
	return changes, unknown, nil
}
