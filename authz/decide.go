package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// Decide says whether the request is allowed on the facts, and why. It is pure and total: every
// combination of arguments, nil fields included, has an answer, and what the rules do not know is
// denied. On the way to Allow it allocates nothing.
//
// The rules are the truth table of iam.md 6.6 with the statements it cites; docs/permissions.md
// prints what they come to.
func Decide(q Request, f Facts) Decision {
	if f.anonymous() {
		return decideAnonymous(q, &f)
	}
	if d := decideCaller(q, &f); !d.Allowed() {
		return d
	}
	if d := decideKey(q, &f); !d.Allowed() {
		return d
	}
	switch q.Permission {
	case ProjectRead, RunWrite, RunStop, RunDelete, RunMove, ReportCreate, ReportUpdate, ProjectUpdate, ProjectDelete:
		return f.conceal(decideProject(q, &f))
	case ProjectSetVisibility, ProjectManageMembers:
		return f.conceal(decideProjectAdministration(q, &f))
	case EntityRead, EntityWrite, ProjectCreate, TeamReadMembers, TeamManage, TeamCreateServiceAcc, TeamInvite, TeamJoin:
		return f.conceal(decideEntity(q, &f))
	case OrganizationRead, OrganizationManage, OrganizationProvision, TeamCreate:
		return decideOrganization(q, &f)
	case ServerRead:
		return allow(ReasonSignedIn)
	case SelfRead:
		return allow(ReasonSelf)
	case SelfUpdate:
		return decideSelfUpdate(&f)
	case UnplacedRead, UnplacedWrite:
		return decideUnplaced(q, &f)
	default:
		return deny(ReasonUnknownRequest)
	}
}

// Hidden reports whether a refusal must look like "not found" (404): then the caller is told
// Sentence(ReasonNotFound, ...), word for word the same as for a project that does not exist.
// Callers of the organization itself are told the cause (design section 6).
func Hidden(d Decision, f Facts) bool {
	switch {
	case d.Allowed():
		return false
	case f.anonymous():
		return true
	case d.Reason == ReasonDeactivated:
		return false // 401: the credential no longer counts, whatever was asked for
	}
	return d.Reason == ReasonNotFound || !f.ownOrganization()
}

// decideAnonymous answers callers without a credential: with the switch of VIS-15 they view Open
// and Public projects, and that is all.
func decideAnonymous(q Request, f *Facts) Decision {
	if q.Permission != ProjectRead || q.Product > Weave {
		return deny(ReasonAnonymous)
	}
	if !f.located() || f.Project == nil {
		return deny(ReasonNotFound)
	}
	if f.Project.Entity != f.Entity.ID {
		return deny(ReasonInconsistentFacts)
	}
	switch f.Project.Visibility {
	case iam.VisibilityOpen, iam.VisibilityPublic:
		if f.Settings.AnonymousPublicProjects {
			return allow(ReasonAnonymousView)
		}
		return deny(ReasonAnonymous)
	case iam.VisibilityTeam, iam.VisibilityRestricted:
		return deny(ReasonAnonymous)
	default:
		return deny(ReasonAnonymous)
	}
}

// decideCaller refuses those who may do nothing at all: deactivated principals, and principals or
// products that the rules do not know.
func decideCaller(q Request, f *Facts) Decision {
	p := f.Principal
	switch {
	case !p.IsUser() && !p.IsServiceAccount(), p.Ref.ID == "", q.Product > Weave:
		return deny(ReasonUnknownRequest)
	case !p.Active:
		return deny(ReasonDeactivated)
	case p.IsUser() && f.ownOrganization() && !knownOrganizationRole(p.Role):
		return deny(ReasonUnknownRole)
	}
	return allow(ReasonSignedIn)
}

func allow(r iam.Reason) Decision { return Decision{Allow, r} }
func deny(r iam.Reason) Decision  { return Decision{Deny, r} }

// anonymous reports whether nothing is known of the caller.
func (f *Facts) anonymous() bool { return f.Principal == nil || f.Principal.IsAnonymous() }

// located reports whether the request names an entity that exists.
func (f *Facts) located() bool {
	if f.Entity == nil {
		return false
	}
	_, team := f.Entity.ID.Team()
	_, personal := f.Entity.ID.User()
	return team || personal
}

// ownOrganization reports whether the principal belongs to the organization that is served.
func (f *Facts) ownOrganization() bool {
	return f.Organization != "" && f.Principal.Organization == f.Organization
}

// organizationAdmin reports whether the caller administers the organization.
func (f *Facts) organizationAdmin() bool {
	return f.ownOrganization() && f.Principal.IsUser() && f.Principal.Role == iam.OrganizationAdmin
}

// organizationViewer reports whether the caller may only read in this organization (ORG-5).
func (f *Facts) organizationViewer() bool {
	return f.ownOrganization() && f.Principal.IsUser() && f.Principal.Role == iam.OrganizationViewer
}

// organizationAccount reports whether the caller is a service account of the whole organization.
func (f *Facts) organizationAccount() bool {
	return f.ownOrganization() && f.unscoped()
}

// unscoped reports whether the caller is a service account without a parent team. One whose team
// has a name but no id is limited to a team that cannot be told, and so to none.
func (f *Facts) unscoped() bool {
	return f.Principal.IsServiceAccount() && f.Principal.Scope == (iam.TeamRef{})
}

func knownOrganizationRole(r iam.OrganizationRole) bool {
	switch r {
	case iam.OrganizationAdmin, iam.OrganizationMember, iam.OrganizationViewer:
		return true
	default:
		return false
	}
}
