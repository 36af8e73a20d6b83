package directory

import (
	"context"
	"regexp"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Bounds on custom roles: all of them are read for every decision that is not cached.
const (
	maxRoles            = 200
	maxPermissions      = 200
	maxDescriptionBytes = 1024
)

// permissionForm is W&B's grammar object:operation (ROLE-7). Names that mean nothing here are kept.
var permissionForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}:[a-z][a-z0-9_]{0,63}$`)

// SetRole adds a custom role or replaces the one of that name. Names are compared exactly (SCIM-26).
func (d *Directory) SetRole(ctx context.Context, role iam.CustomRole) (Change[iam.CustomRole], error) {
	var c Change[iam.CustomRole]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c, err = tx.setRole(role)
		return err
	})
	return c, err
}

// Roles returns the custom roles, sorted by name.
func (d *Directory) Roles(ctx context.Context) ([]iam.CustomRole, error) {
	r, err := d.reading(ctx).roles()
	return r.Roles, err
}

// EditRole changes the custom role of that id as edit says, which sees it as it is when the change is
// made. It may run several times, and its error refuses the change. Under a new name the role stays with
// those who hold it. An unknown id is iam.KindNotFound, a name that is taken iam.KindConflict.
func (d *Directory) EditRole(ctx context.Context, id iam.RoleID, edit func(iam.CustomRole) (iam.CustomRole, error)) (Change[iam.CustomRole], error) {
	var c Change[iam.CustomRole]
	err := d.change(ctx, func(tx *transaction) error {
		before, err := tx.roleOf(id)
		if err != nil {
			return err
		}
		after, err := edit(before)
		if err != nil {
			return err
		}
		if after.Name != before.Name {
			if err := tx.renameRole(before, after.Name); err != nil {
				return err
			}
		}
		c, err = tx.setRole(after)
		c.Before = &before
		return err
	})
	return c, err
}

// CreateRole adds a custom role. A name that is taken is iam.KindConflict with ReasonTaken.
func (d *Directory) CreateRole(ctx context.Context, role iam.CustomRole) (Change[iam.CustomRole], error) {
	var c Change[iam.CustomRole]
	err := d.change(ctx, func(tx *transaction) error {
		r, err := tx.roles()
		if err != nil {
			return err
		}
		if r.index(iam.Role(role.Name)) >= 0 {
			return takenf("there is a custom role %s already: choose another name", role.Name)
		}
		c, err = tx.setRole(role)
		return err
	})
	return c, err
}

// RemoveRole is DeleteRole by id, if check has nothing against it.
func (d *Directory) RemoveRole(ctx context.Context, id iam.RoleID, check func(iam.CustomRole) error) (Change[iam.CustomRole], error) {
	var c Change[iam.CustomRole]
	err := d.change(ctx, func(tx *transaction) error {
		role, err := tx.roleOf(id)
		if err != nil {
			return err
		}
		if err := check(role); err != nil {
			return err
		}
		c, err = tx.deleteRole(iam.Role(role.Name))
		return err
	})
	return c, err
}

func (tx *transaction) roleOf(id iam.RoleID) (iam.CustomRole, error) {
	r, err := tx.roles()
	if err != nil {
		return iam.CustomRole{}, err
	}
	for _, role := range r.Roles {
		if role.ID == id {
			return role, nil
		}
	}
	return iam.CustomRole{}, iam.NotFoundf("there is no custom role of this id: it is wrong, or the role was deleted")
}

// renameRole gives a role another name, with all who hold it.
func (tx *transaction) renameRole(role iam.CustomRole, name string) error {
	r, err := tx.roles()
	if err != nil {
		return err
	}
	if r.index(iam.Role(name)) >= 0 {
		return takenf("there is a custom role %s already: choose another name", name)
	}
	was := iam.Role(role.Name)
	role.Name = name
	if err := validCustomRole(role); err != nil {
		return err
	}
	r.Roles[r.index(was)] = role
	slices.SortFunc(r.Roles, func(a, b iam.CustomRole) int { return strings.Compare(a.Name, b.Name) })
	if err := tx.put(tx.d.names.roles, r); err != nil {
		return err
	}
	if err := tx.replaceTeamRoles(was, iam.Role(name)); err != nil {
		return err
	}
	return tx.replaceProjectRoles(was, iam.Role(name))
}

// DeleteRole removes a custom role. Whoever holds it gets the role that it inherits from (ROLE-9); a
// role made later under the same name is not theirs.
func (d *Directory) DeleteRole(ctx context.Context, name iam.Role) (Change[iam.CustomRole], error) {
	var c Change[iam.CustomRole]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c, err = tx.deleteRole(name)
		return err
	})
	return c, err
}

func (tx *transaction) roles() (rolesRecord, error) {
	r, err := load[rolesRecord](tx, tx.d.names.roles)
	if err != nil || r == nil {
		return rolesRecord{}, err
	}
	return *r, nil
}

func (r rolesRecord) index(name iam.Role) int {
	return slices.IndexFunc(r.Roles, func(role iam.CustomRole) bool { return role.Name == string(name) })
}

// checkRole makes sure that a role can be given: a predefined one, or a custom one that stays until
// this change is committed.
func (tx *transaction) checkRole(role iam.Role) error {
	if role.Predefined() {
		return nil
	}
	r, err := tx.roles()
	if err != nil {
		return err
	}
	if r.index(role) < 0 {
		return iam.Invalidf("there is no role %q: use admin, member, viewer, or make a custom role of that name first", untrusted.Clip(string(role)))
	}
	return tx.guard(tx.d.names.roles)
}

func (tx *transaction) setRole(role iam.CustomRole) (c Change[iam.CustomRole], err error) {
	if err := validCustomRole(role); err != nil {
		return c, err
	}
	role.Permissions = slices.Compact(slices.Sorted(slices.Values(role.Permissions)))
	r, err := tx.roles()
	if err != nil {
		return c, err
	}
	c.After = &role
	switch i := r.index(iam.Role(role.Name)); {
	case i >= 0:
		before := r.Roles[i]
		c.Before = &before
		role.ID, role.Created = before.ID, before.Created
		r.Roles[i] = role
	case len(r.Roles) >= maxRoles:
		return c, &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large", Message: "an organization can have 200 custom roles: delete one first"}
	default:
		role.ID, role.Created = iam.NewRoleID(), tx.d.created()
		r.Roles = append(r.Roles, role)
		slices.SortFunc(r.Roles, func(a, b iam.CustomRole) int { return strings.Compare(a.Name, b.Name) })
	}
	return c, tx.put(tx.d.names.roles, r)
}

func (tx *transaction) deleteRole(name iam.Role) (c Change[iam.CustomRole], err error) {
	r, err := tx.roles()
	if err != nil {
		return c, err
	}
	i := r.index(name)
	if i < 0 {
		return c, iam.NotFoundf("there is no custom role %q", untrusted.Clip(string(name)))
	}
	before := r.Roles[i]
	c.Before = &before
	r.Roles = slices.Delete(r.Roles, i, i+1)
	if err := tx.put(tx.d.names.roles, r); err != nil {
		return c, err
	}
	if err := tx.replaceTeamRoles(name, before.Inherits); err != nil {
		return c, err
	}
	return c, tx.replaceProjectRoles(name, before.Inherits)
}

// withoutCustomRoles gives a person who became a viewer of the organization the roles that their
// custom ones inherit from: viewers cannot have custom roles (ROLE-12).
func (tx *transaction) withoutCustomRoles(u *iam.User) error {
	r, err := tx.roles()
	if err != nil {
		return err
	}
	for i, m := range u.Teams {
		if m.Role.Predefined() {
			continue
		}
		u.Teams[i].Role = iam.RoleViewer
		if at := r.index(m.Role); at >= 0 {
			u.Teams[i].Role = r.Roles[at].Inherits
		}
		if err := tx.followTeamRole(u.ID, m.Team, u.Teams[i].Role); err != nil {
			return err
		}
	}
	return nil
}

// replaceTeamRoles looks at everybody: roles are deleted so rarely that an index of their holders
// would cost more than it saves.
func (tx *transaction) replaceTeamRoles(role, by iam.Role) error {
	keys, err := tx.list(tx.d.names.space + "user/")
	if err != nil {
		return err
	}
	for _, key := range keys {
		u, err := load[iam.User](tx, key)
		if err != nil {
			return err
		}
		changed := false
		for i, m := range u.Teams {
			if m.Role != role {
				continue
			}
			u.Teams[i].Role, changed = by, true
			if err := tx.followTeamRole(u.ID, m.Team, by); err != nil {
				return err
			}
		}
		if !changed {
			continue
		}
		if err := tx.writeUser(u); err != nil {
			return err
		}
	}
	return nil
}

func (tx *transaction) replaceProjectRoles(role, by iam.Role) error {
	keys, err := tx.list(tx.d.names.space + "project/")
	if err != nil {
		return err
	}
	for _, key := range keys {
		p, err := load[iam.Project](tx, key)
		if err != nil {
			return err
		}
		changed := false
		for i, m := range p.Members {
			if m.Role != role {
				continue
			}
			changed = true
			if p.Members[i].Role, err = tx.projectRole(p, m.Principal, by); err != nil {
				return err
			}
		}
		if !changed {
			continue
		}
		if err := tx.put(key, p); err != nil {
			return err
		}
	}
	return nil
}

// projectRole returns a project role as it is recorded: empty if it equals the team role (PROLE-10).
func (tx *transaction) projectRole(p *iam.Project, who iam.PrincipalRef, role iam.Role) (iam.Role, error) {
	team, _ := p.Entity.Team()
	_, teamRole, err := tx.placeInTeam(team, who)
	if teamRole == role {
		return "", err
	}
	return role, err
}

func validCustomRole(role iam.CustomRole) error {
	if err := validName("role name", role.Name); err != nil {
		return err
	}
	if parsed, _ := iam.ParseRole(role.Name); parsed.Predefined() {
		return iam.Invalidf("%q is a predefined role: choose another name", role.Name)
	}
	if role.Inherits != iam.RoleMember && role.Inherits != iam.RoleViewer {
		return iam.Invalidf("the custom role %s inherits from %q: it must be member or viewer", role.Name, untrusted.Clip(string(role.Inherits)))
	}
	if len(role.Description) > maxDescriptionBytes {
		return iam.Invalidf("the description of the custom role %s has more than %d bytes", role.Name, maxDescriptionBytes)
	}
	if len(role.Permissions) > maxPermissions {
		return iam.Invalidf("the custom role %s has more than %d permissions", role.Name, maxPermissions)
	}
	for _, permission := range role.Permissions {
		if !permissionForm.MatchString(permission) {
			return iam.Invalidf("%q is not a permission: permissions read object:operation, as run:stop; * is none", untrusted.Clip(permission))
		}
	}
	return nil
}
