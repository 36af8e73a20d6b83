package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// decideProject answers for what happens in a project: first who may enter, then what they may do
// there by role, last what their licence and the deployment's switches leave of it.
func decideProject(q Request, f *Facts) Decision {
	if !f.located() {
		return deny(ReasonNotFound)
	}
	b := f.bond()
	if f.Project == nil {
		return decideAbsentProject(q, f, b)
	}
	if f.Project.Entity != f.Entity.ID {
		return deny(ReasonInconsistentFacts)
	}
	if !b.inside {
		return limit(q, f, b, decideOutside(q, f, b))
	}
	return limit(q, f, b, decideInside(q, f, b))
}

// decideInside answers those to whom the project's entity belongs.
func decideInside(q Request, f *Facts, b bond) Decision {
	if f.uninvited() {
		return deny(ReasonRestrictedProjectNotInvited) // VIS-5, VIS-6, VIS-9, SA-12
	}
	r := f.projectRole(b)
	d := r.may(q.Permission)
	switch {
	case d.Allowed() && q.Permission == RunMove && closedToMembers(f.Project.Visibility):
		return deny(ReasonRestrictedRunsStay) // VIS-10: what was invited to is seen by nobody else
	case d.Allowed():
		return d
	case q.Permission == ProjectUpdate && f.ownsProject(r):
		return allow(ReasonProjectOwner)
	case q.Permission == ProjectRead:
		// A role that does not exist must not take away what everybody has.
		return decideOutside(q, f, b)
	}
	return d
}

// uninvited reports whether the project is closed to a caller to whom its entity belongs. Of their own entity that is
// what somebody of their name has left behind, who was deleted (threat Z10).
func (f *Facts) uninvited() bool {
	return closedToMembers(f.Project.Visibility) && !f.Project.Invited(f.Principal.Ref)
}

// closedToMembers reports whether a visibility asks for an invitation. What is unknown does.
func closedToMembers(v iam.Visibility) bool {
	switch v {
	case iam.VisibilityOpen, iam.VisibilityPublic, iam.VisibilityTeam:
		return false
	case iam.VisibilityRestricted:
		return true
	default:
		return true
	}
}

// decideOutside answers signed-in callers to whom the project's entity does not belong: members of
// the organization outside the team, other people's personal projects, service accounts of other
// teams, other organizations. An invitation does not help them (VIS-5: invited members of the
// parent team): an owner who left the team has left the project too (VIS-12).
func decideOutside(q Request, f *Facts, b bond) Decision {
	switch f.Project.Visibility {
	case iam.VisibilityOpen:
		switch q.Permission {
		case ProjectRead, RunWrite, ReportCreate: // VIS-2; editing what others made is not granted (VIS-18)
			return allow(ReasonOpenProject)
		}
		return deny(f.outsideReason(b))
	case iam.VisibilityPublic:
		if q.Permission == ProjectRead {
			return allow(ReasonPublicProject) // VIS-3
		}
		return deny(ReasonPublicViewOnly)
	case iam.VisibilityTeam:
		return deny(f.closedReason(b, ReasonTeamProject)) // VIS-4
	case iam.VisibilityRestricted:
		if f.Project.Invited(f.Principal.Ref) {
			return deny(f.closedReason(b, ReasonNotTeamMember))
		}
		return deny(f.closedReason(b, ReasonRestrictedProjectNotInvited)) // VIS-5
	default:
		return deny(f.closedReason(b, ReasonRestrictedProjectNotInvited))
	}
}

// closedReason says why a closed project stays closed: visibility is the cause unless something
// about the caller explains it better.
func (f *Facts) closedReason(b bond, visibility iam.Reason) iam.Reason {
	if b.inside {
		return ReasonUnknownRole
	}
	if r := f.outsideReason(b); r != ReasonNotTeamMember {
		return r
	}
	return visibility
}

// decideAbsentProject answers for a project that is not there. Those who would see a Team project
// of the entity may know that it is missing, and the server tells them; those who may create
// projects may write the run that creates it (SDK-2). For everybody else nothing is there.
func decideAbsentProject(q Request, f *Facts, b bond) Decision {
	switch q.Permission {
	case ProjectRead:
		if b.inside && b.role.rank >= rankViewer {
			return limit(q, f, b, allow(ReasonProjectAbsent))
		}
		return deny(ReasonNotFound)
	case RunWrite:
		return decideProjectCreate(q, f, b)
	default:
		return deny(ReasonNotFound)
	}
}

// decideProjectAdministration answers for a project's visibility and its list of members. It is
// the work of admins and of the project's owner (VIS-7), and admins do it without entering: the
// team's whether invited or not, the organization's before they have joined (design section 6).
// Administration belongs to no product, so admins need no seat for it; owners write, and do.
func decideProjectAdministration(q Request, f *Facts) Decision {
	return f.withVisibility(q, decideProjectAdministrator(q, f))
}

func decideProjectAdministrator(q Request, f *Facts) Decision {
	if !f.located() || f.Project == nil {
		return deny(ReasonNotFound)
	}
	if f.Project.Entity != f.Entity.ID {
		return deny(ReasonInconsistentFacts)
	}
	b := f.bond()
	if b.personal && b.inside && f.uninvited() {
		return deny(ReasonRestrictedProjectNotInvited)
	}
	if d := decideTeamAdmin(f, b); d.Allowed() || b.personal {
		return d
	}
	if !b.inside {
		return decideOutside(q, f, b)
	}
	if d := decideInside(Request{Permission: ProjectRead, Product: q.Product}, f, b); !d.Allowed() {
		return d
	}
	r := f.projectRole(b)
	switch {
	case f.organizationViewer():
		return deny(ReasonViewOnlyOrganization)
	case f.ownsProject(r):
		return limit(q, f, b, allow(ReasonProjectOwner))
	case q.Permission == ProjectManageMembers && r.rank == rankAdmin:
		return limit(q, f, b, allow(ReasonProjectRole)) // SA-12: an admin of that project
	}
	return r.may(q.Permission) // no role grants it; says which is missing
}
