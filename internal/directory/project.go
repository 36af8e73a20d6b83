package directory

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// NewProject describes a project to be recorded.
type NewProject struct {
	Entity     iam.EntityID
	Name       string
	Visibility iam.Visibility
	// Owner may be nobody.
	Owner   iam.PrincipalRef
	Members []iam.ProjectMember
}

// ProjectChange is what to change about a project; nil leaves it.
type ProjectChange struct {
	Visibility *iam.Visibility
	Owner      *iam.PrincipalRef
	// Members replaces the whole list.
	Members *[]iam.ProjectMember
	// Add invites principals or changes their roles, and Remove takes principals off the list that
	// there is at that moment; who is to be taken off and is not on it is passed over.
	Add    []iam.ProjectMember
	Remove []iam.PrincipalRef
}

// RecordProject notes a project that passed through the gateway. It may be called as often as one
// likes: a project that is recorded already stays as it is.
func (d *Directory) RecordProject(ctx context.Context, n NewProject) (created bool, err error) {
	if !iam.ValidProjectName(n.Name) {
		return false, invalidProjectName(n.Name)
	}
	_, err = hotcache.Read(ctx, d.cache.View(), d.names.project(n.Entity, n.Name), decode[iam.Project])
	if !errors.Is(err, store.ErrNotFound) {
		if err != nil {
			err = unreadable(err)
		}
		return false, err
	}
	err = d.change(ctx, func(tx *transaction) error {
		created = false
		was, err := load[iam.Project](tx, d.names.project(n.Entity, n.Name))
		if err != nil || was != nil {
			return err
		}
		created = true
		made := n
		// The owner was judged before the request went on, and may have left the team since.
		err = tx.judgeOwner(&iam.Project{Entity: n.Entity, Name: n.Name}, n.Owner)
		if iam.KindOf(err) == iam.KindInvalid {
			made.Owner, err = iam.PrincipalRef{}, nil
		}
		if err == nil {
			_, err = tx.createProject(made)
		}
		return err
	})
	return created && err == nil, err
}

// CreateProject records a project. One that is there already is iam.KindConflict.
func (d *Directory) CreateProject(ctx context.Context, n NewProject) (Change[iam.Project], error) {
	var c Change[iam.Project]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c.After, err = tx.createProject(n)
		return err
	})
	return c, err
}

// Project returns a project as recorded. An unknown id is iam.KindNotFound.
func (d *Directory) Project(ctx context.Context, id iam.ProjectID) (*iam.Project, error) {
	return d.reading(ctx).project(id)
}

// Projects calls f with every project of an entity, or of the organization if entity is empty, in
// the order of names, until it returns an error, which is returned.
func (d *Directory) Projects(ctx context.Context, entity iam.EntityID, f func(*iam.Project) error) error {
	prefix := d.names.space + "project/"
	if entity != "" {
		prefix = d.names.projectsOf(entity)
	}
	return each(ctx, d, prefix, f)
}

// SetVisibility opens or closes a project. A Restricted project can only become Team (VIS-11), and where projects
// are private none becomes Open or Public (VIS-14); the reasons are those of authz.VisibilityReason.
// Project roles end when the project becomes Open or Public (PROLE-1).
func (d *Directory) SetVisibility(ctx context.Context, id iam.ProjectID, v iam.Visibility) error {
	_, err := d.SetProject(ctx, id, ProjectChange{Visibility: &v})
	return err
}

// SetProject changes a project; SetVisibility and SetProjectMember say by which rules.
func (d *Directory) SetProject(ctx context.Context, id iam.ProjectID, change ProjectChange) (Change[iam.Project], error) {
	return d.changeProject(ctx, id, func(tx *transaction, p *iam.Project) error {
		return tx.setProject(p, change)
	})
}

// SetProjectMember invites a principal to a project or changes their project role; the empty role
// follows the team role (PROLE-3). People must be in the project's team, service accounts belong to
// it or to the organization. A project role needs a Team or Restricted project (PROLE-1), and a
// person whose team role is not View-Only (PROLE-4).
func (d *Directory) SetProjectMember(ctx context.Context, id iam.ProjectID, who iam.PrincipalRef, role iam.Role) (Change[iam.Project], error) {
	return d.changeProject(ctx, id, func(tx *transaction, p *iam.Project) error {
		members := without(p.Members, who)
		return tx.setProjectMembers(p, append(members, iam.ProjectMember{Principal: who, Role: role}))
	})
}

// RemoveProjectMember takes a principal off a project's list; a project role is forgotten (PROLE-7).
// Who is not on it is iam.KindNotFound.
func (d *Directory) RemoveProjectMember(ctx context.Context, id iam.ProjectID, who iam.PrincipalRef) (Change[iam.Project], error) {
	return d.changeProject(ctx, id, func(tx *transaction, p *iam.Project) error {
		if _, ok := p.Member(who); !ok {
			return iam.NotFoundf("%s is not on the list of project %s", who, p.Name)
		}
		return tx.setProjectMembers(p, without(p.Members, who))
	})
}

// DeleteProject forgets a project. What is in it stays at the W&B server until it is deleted there.
func (d *Directory) DeleteProject(ctx context.Context, id iam.ProjectID) (Change[iam.Project], error) {
	var c Change[iam.Project]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.project(id); err != nil {
			return err
		}
		return tx.deleteProject(c.Before)
	})
	return c, err
}

func (d *Directory) changeProject(ctx context.Context, id iam.ProjectID, f func(*transaction, *iam.Project) error) (Change[iam.Project], error) {
	var c Change[iam.Project]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.project(id); err != nil {
			return err
		}
		if c.After, err = tx.project(id); err != nil {
			return err
		}
		return f(tx, c.After)
	})
	return c, err
}

// project returns a fresh copy of a project that must be there.
func (tx *transaction) project(id iam.ProjectID) (*iam.Project, error) {
	at, err := load[projectLocation](tx, tx.d.names.projectID(id))
	if err != nil {
		return nil, err
	}
	if at != nil {
		p, err := load[iam.Project](tx, tx.d.names.project(at.Entity, at.Name))
		if err != nil || p != nil && p.ID == id {
			return p, err
		}
	}
	return nil, iam.NotFoundf("there is no project %q: the id is wrong, or the project was deleted", id)
}

func (tx *transaction) createProject(n NewProject) (*iam.Project, error) {
	if !iam.ValidProjectName(n.Name) {
		return nil, invalidProjectName(n.Name)
	}
	if err := tx.standingEntity(n.Entity); err != nil {
		return nil, err
	}
	if err := tx.checkVisibility(n.Entity, n.Name, nil, n.Visibility); err != nil {
		return nil, err
	}
	was, err := load[iam.Project](tx, tx.d.names.project(n.Entity, n.Name))
	if err != nil {
		return nil, err
	}
	if was != nil {
		return nil, iam.Conflictf("the project %s is there already", n.Name)
	}
	p := &iam.Project{ID: iam.NewProjectID(), Entity: n.Entity, Name: n.Name, Visibility: n.Visibility, Created: tx.d.created()}
	if err := tx.setProject(p, ProjectChange{Owner: &n.Owner}); err != nil {
		return nil, err
	}
	if err := tx.setProjectMembers(p, n.Members); err != nil {
		return nil, err
	}
	if err := tx.noteLike(p); err != nil {
		return nil, err
	}
	return p, tx.putProject(p)
}

// standingEntity makes sure that an entity is there, and stays until this change is committed.
func (tx *transaction) standingEntity(id iam.EntityID) error {
	if team, ok := id.Team(); ok {
		_, err := tx.standingTeam(team)
		return err
	}
	user, ok := id.User()
	if !ok {
		return iam.NotFoundf("there is no team or user %q", untrusted.Clip(string(id)))
	}
	_, err := tx.standingUser(user)
	return err
}

func (tx *transaction) putProject(p *iam.Project) error {
	if err := tx.put(tx.d.names.projectID(p.ID), projectLocation{p.Entity, p.Name}); err != nil {
		return err
	}
	return tx.put(tx.d.names.project(p.Entity, p.Name), p)
}

func (tx *transaction) deleteProject(p *iam.Project) error {
	for _, m := range p.Members {
		if err := tx.delete(tx.d.names.invitation(m.Principal, p.ID)); err != nil {
			return err
		}
	}
	if err := tx.delete(tx.d.names.projectID(p.ID)); err != nil {
		return err
	}
	if err := tx.forgetLike(p); err != nil {
		return err
	}
	return tx.delete(tx.d.names.project(p.Entity, p.Name))
}

func (tx *transaction) setProject(p *iam.Project, c ProjectChange) error {
	if c.Owner != nil && *c.Owner != p.Owner {
		if err := tx.judgeOwner(p, *c.Owner); err != nil {
			return err
		}
		p.Owner = *c.Owner
	}
	if c.Visibility != nil {
		if err := tx.setVisibility(p, *c.Visibility); err != nil {
			return err
		}
	}
	if c.Members == nil && c.Add == nil && c.Remove == nil {
		return tx.putProject(p)
	}
	members := p.Members
	if c.Members != nil {
		members = *c.Members
	}
	for _, who := range c.Remove {
		members = without(members, who)
	}
	for _, m := range c.Add {
		members = append(without(members, m.Principal), m)
	}
	return tx.setProjectMembers(p, members)
}

func (tx *transaction) setVisibility(p *iam.Project, v iam.Visibility) error {
	if err := tx.checkVisibility(p.Entity, p.Name, p, v); err != nil {
		return err
	}
	p.Visibility = v
	if !hasProjectRoles(v) {
		for i := range p.Members {
			p.Members[i].Role = ""
		}
	}
	return nil
}

// hasProjectRoles reports whether projects of that visibility have roles of their own (PROLE-1).
func hasProjectRoles(v iam.Visibility) bool {
	return v == iam.VisibilityTeam || v == iam.VisibilityRestricted
}

// setProjectMembers replaces a project's list. Entries that stay as they are were judged before:
// only new and changed ones are judged again.
func (tx *transaction) setProjectMembers(p *iam.Project, members []iam.ProjectMember) error {
	var list []iam.ProjectMember
	seen := map[iam.PrincipalRef]bool{}
	for _, m := range members {
		if seen[m.Principal] {
			return iam.Invalidf("%s is named twice in the list of project %s", m.Principal, p.Name)
		}
		seen[m.Principal] = true
		was, there := p.Member(m.Principal)
		if !there || was != m {
			var err error
			if m, err = tx.judgeProjectMember(p, m); err != nil {
				return err
			}
		}
		if !there {
			if err := tx.put(tx.d.names.invitation(m.Principal, p.ID), struct{}{}); err != nil {
				return err
			}
		}
		list = append(list, m)
	}
	for _, m := range p.Members {
		if seen[m.Principal] {
			continue
		}
		if err := tx.delete(tx.d.names.invitation(m.Principal, p.ID)); err != nil {
			return err
		}
	}
	slices.SortFunc(list, func(a, b iam.ProjectMember) int {
		return strings.Compare(a.Principal.String(), b.Principal.String())
	})
	p.Members = list
	return tx.putProject(p)
}

// judgeProjectMember holds a new entry of a project's list against the rules, and returns it as it is
// recorded: a role that equals the team role is empty, because it follows it (PROLE-10).
func (tx *transaction) judgeProjectMember(p *iam.Project, m iam.ProjectMember) (iam.ProjectMember, error) {
	team, ok := p.Entity.Team()
	if !ok {
		return m, iam.Invalidf("the project %s is a personal one and has no members: move it to a team to share it", p.Name)
	}
	name, teamRole, err := tx.placeInTeam(team, m.Principal)
	if err != nil {
		return m, err
	}
	switch {
	case teamRole == "":
		return m, iam.Invalidf("%s is not in the team of project %s: only its members, its service accounts and those of the organization can be added", name, p.Name)
	case m.Role == "" || m.Role == teamRole:
		m.Role = ""
		return m, nil
	case !hasProjectRoles(p.Visibility):
		return m, iam.Invalidf("%s cannot have a project role in %s: only team and restricted projects have project roles, and it is %s", name, p.Name, p.Visibility)
	case teamRole == iam.RoleViewer:
		return m, iam.Invalidf("%s cannot have another role in project %s: their team role is View-Only; change that first", name, p.Name)
	case m.Principal.Kind == iam.KindServiceAccount && !m.Role.Predefined():
		return m, iam.Invalidf("the service account %s cannot have the custom role %s: use admin, member or viewer", name, m.Role)
	}
	return m, tx.checkRole(m.Role)
}

// placeInTeam returns a principal's name and their role in a team; "" if they have none. A service
// account counts as a member of its own team, one of the organization of every team (SA-11, SA-20).
// The place is guarded: a principal that leaves at the same moment takes the invitation along.
func (tx *transaction) placeInTeam(team iam.TeamID, who iam.PrincipalRef) (name string, role iam.Role, err error) {
	switch who.Kind {
	case iam.KindUser:
		u, err := tx.user(iam.UserID(who.ID))
		if err != nil {
			return "", "", err
		}
		m, in := u.Membership(team)
		place, err := tx.fetch(tx.d.names.member(team, u.ID))
		if err != nil {
			return "", "", err
		}
		if in != (place != nil) {
			return "", "", store.ErrConflict // joined or left between the two reads
		}
		return u.Username, m.Role, tx.guard(tx.d.names.member(team, u.ID))
	case iam.KindServiceAccount:
		a, err := tx.serviceAccount(iam.ServiceAccountID(who.ID))
		if err != nil {
			return "", "", err
		}
		if a.Team == "" || a.Team == team {
			role = iam.RoleMember
		}
		return a.Name, role, tx.guard(tx.d.names.serviceAccount(a.ID))
	case iam.Anonymous:
		return "", "", iam.Invalidf("nobody cannot be a member of a project")
	default:
		return "", "", iam.Invalidf("nobody cannot be a member of a project")
	}
}

// present makes sure that a principal is there; nobody is.
func (tx *transaction) present(who iam.PrincipalRef) (err error) {
	switch who.Kind {
	case iam.KindUser:
		_, err = tx.user(iam.UserID(who.ID))
	case iam.KindServiceAccount:
		_, err = tx.serviceAccount(iam.ServiceAccountID(who.ID))
	case iam.Anonymous:
	default:
		err = iam.Invalidf("%s is neither a user nor a service account", who)
	}
	return err
}

// invitations calls f with a fresh copy of every project on whose list the principal is.
func (tx *transaction) invitations(who iam.PrincipalRef, f func(*iam.Project) error) error {
	prefix := tx.d.names.invitationsOf(who)
	keys, err := tx.list(prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		p, err := tx.project(iam.ProjectID(key[len(prefix):]))
		if err != nil {
			return err
		}
		if err := f(p); err != nil {
			return err
		}
	}
	return nil
}

// uninvite takes the principal off the lists of those projects that which picks.
func (tx *transaction) uninvite(who iam.PrincipalRef, which func(*iam.Project) bool) error {
	return tx.invitations(who, func(p *iam.Project) error {
		if !which(p) {
			return nil
		}
		return tx.setProjectMembers(p, without(p.Members, who))
	})
}

func without(members []iam.ProjectMember, who iam.PrincipalRef) []iam.ProjectMember {
	return slices.DeleteFunc(slices.Clone(members), func(m iam.ProjectMember) bool { return m.Principal == who })
}

func invalidProjectName(name string) error {
	return iam.Invalidf("%q is not a project name: use 1 to 128 bytes without / \\ # ? %% : and control characters", untrusted.Clip(name))
}

func invalidVisibility(v iam.Visibility) error {
	return iam.Invalidf("%s is no visibility: use open, public, team or restricted", v)
}
