package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// rank orders what roles allow. Custom roles have the rank of the role they inherit from.
type rank uint8

const (
	rankNone   rank = iota // a role that does not exist: grants nothing
	rankViewer             // reads (TEAM-4)
	rankMember             // writes (TEAM-10)
	rankAdmin              // administers (TEAM-2)
	rankNobody             // above every role: permissions that no role grants
)

// role is a Role looked up: its rank, and what a custom role adds to it (ROLE-2).
type role struct {
	rank   rank
	source iam.Reason // why it counts, when it allows
	custom *iam.CustomRole
}

// role looks up a role by name.
func (f *Facts) role(name iam.Role, source iam.Reason) role {
	switch name {
	case iam.RoleAdmin:
		return role{rank: rankAdmin, source: source}
	case iam.RoleMember:
		return role{rank: rankMember, source: source}
	case iam.RoleViewer:
		return role{rank: rankViewer, source: source}
	case "":
		return role{source: source}
	}
	if f.Principal.IsServiceAccount() {
		return role{source: source} // custom roles cannot be given to service accounts (SA-8)
	}
	custom := f.Roles[name]
	if custom == nil {
		return role{source: source}
	}
	switch custom.Inherits {
	case iam.RoleMember:
		return role{rankMember, source, custom}
	case iam.RoleViewer:
		return role{rankViewer, source, custom}
	default:
		return role{source: source} // ROLE-2 knows no other base
	}
}

// may says whether the role allows a permission on a project.
func (r role) may(p Permission) Decision {
	switch {
	case r.rank >= rankFor(p):
		return allow(r.source)
	case r.adds(p):
		return allow(ReasonCustomRole)
	case r.rank == rankNone:
		return deny(ReasonUnknownRole)
	case r.rank == rankViewer:
		return deny(ReasonViewOnly)
	}
	return deny(ReasonProjectAdminRequired)
}

// adds reports whether a custom role adds the permission. Only three names have an effect; other
// well-formed ones are kept for the server (ROLE-7, design section 6).
func (r role) adds(p Permission) bool {
	if r.custom == nil {
		return false
	}
	switch p {
	case RunStop, RunDelete, ProjectUpdate:
		for _, added := range r.custom.Permissions {
			if added == string(p) {
				return true
			}
		}
	}
	return false
}

// rankFor returns the least rank that grants a permission (TEAM-10). Whether a member stops,
// deletes and edits only what is their own (TEAM-9) is left to the server: the gateway does not
// know who made a run.
func rankFor(p Permission) rank {
	switch p {
	case ProjectRead:
		return rankViewer
	case RunWrite, RunStop, RunDelete, RunMove, ReportCreate, ReportUpdate:
		return rankMember
	case ProjectUpdate, ProjectDelete:
		return rankAdmin
	default:
		return rankNobody
	}
}
