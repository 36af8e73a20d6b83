package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// bond is how the caller is tied to the entity that is asked for.
type bond struct {
	// inside is true for those to whom the entity belongs: the team's members and service accounts,
	// the organization's service accounts, and the owner of a personal entity.
	inside bool
	// personal is true when the entity is somebody's own.
	personal bool
	// name is the role that the caller holds in the entity, and role what it comes to.
	name iam.Role
	role role
}

// bond finds the caller's tie to f.Entity, which is not nil.
func (f *Facts) bond() bond {
	if owner, ok := f.Entity.ID.User(); ok {
		if f.ownOrganization() && f.Principal.Ref == owner.Ref() {
			return bond{true, true, iam.RoleAdmin, f.role(iam.RoleAdmin, ReasonPersonalOwner)}
		}
		return bond{personal: true}
	}
	team, ok := f.Entity.ID.Team()
	if !ok || !f.ownOrganization() {
		return bond{} // another organization's team may carry the same id
	}
	if f.Principal.IsServiceAccount() {
		if f.unscoped() || f.Principal.Scope.ID == team { // SA-11, SA-20
			return bond{inside: true, name: iam.RoleMember, role: f.role(iam.RoleMember, ReasonServiceAccount)}
		}
		return bond{}
	}
	m, ok := f.Principal.Membership(team)
	if !ok {
		return bond{}
	}
	return bond{inside: true, name: m.Role, role: f.role(m.Role, ReasonTeamMember)}
}

// projectRole returns what the caller may do in f.Project by role: the team role, unless the
// project gives another one.
func (f *Facts) projectRole(b bond) role {
	if b.personal || b.role.rank == rankNone {
		return b.role
	}
	// Project roles exist in Team and Restricted projects only (PROLE-1), and nothing lifts a
	// View-Only team role (PROLE-4, PROLE-9, design section 8).
	if v := f.Project.Visibility; v == iam.VisibilityOpen || v == iam.VisibilityPublic || b.name == iam.RoleViewer {
		return b.role
	}
	m, ok := f.Project.Member(f.Principal.Ref)
	if !ok || m.Role == "" || m.Role == b.name { // PROLE-3
		return b.role
	}
	return f.role(m.Role, ReasonProjectRole) // PROLE-6
}

// ownsProject reports whether the caller, who is inside, has the say of the project's owner. An
// owner who may only read has none.
func (f *Facts) ownsProject(r role) bool {
	return f.Project.Owner == f.Principal.Ref && r.rank >= rankMember
}

// outsideReason says why an entity is closed to a caller who is not inside.
func (f *Facts) outsideReason(b bond) iam.Reason {
	switch {
	case !f.ownOrganization():
		return ReasonOtherOrganization
	case f.Principal.IsServiceAccount() && !f.unscoped():
		return ReasonTeamScope // SA-21
	case b.personal:
		return ReasonPersonalEntity
	case f.organizationAdmin():
		return ReasonOrgAdminNotJoined
	}
	return ReasonNotTeamMember
}
