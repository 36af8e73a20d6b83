package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// TeamSettings returns what holds for the team that is asked for: what is chosen for it, unless the
// organization decides that for all teams (PRIV-2).
func (f *Facts) TeamSettings() iam.TeamSettings { return f.Enforced.Over(f.Team) }

// concealed reports whether the caller must not learn that the entity exists: a hidden team, to everybody
// but those to whom it belongs and those who administer it (PRIV-1).
func (f *Facts) concealed() bool {
	if !f.team() || !f.TeamSettings().Hidden {
		return false
	}
	return f.anonymous() || !f.organizationAdmin() && !f.bond().inside
}

// conceal makes of a refusal that tells of a hidden team one that tells of nothing.
func (f *Facts) conceal(d Decision) Decision {
	if !d.Allowed() && f.concealed() && !f.opened() {
		return deny(ReasonNotFound)
	}
	return d
}

// team reports whether the entity that is asked for is a team.
func (f *Facts) team() bool {
	if f.Entity == nil {
		return false
	}
	_, team := f.Entity.ID.Team()
	return team
}

// opened reports whether the project is one that whoever knows of it views (VIS-2, VIS-3). Who does knows
// that its team exists, and may be told why something else is refused.
func (f *Facts) opened() bool {
	return f.Project != nil && f.Project.Entity == f.Entity.ID && openToOutsiders(f.Project.Visibility)
}

// openToOutsiders reports whether a visibility lets others than the team view. What is unknown does not.
func openToOutsiders(v iam.Visibility) bool {
	switch v {
	case iam.VisibilityOpen, iam.VisibilityPublic:
		return true
	case iam.VisibilityTeam, iam.VisibilityRestricted:
		return false
	default:
		return false
	}
}

// Listed reports whether a list may show the project to the caller: they may view it, and its team is not
// hidden from them. What a hidden team has opened is for whoever knows of it, and a list would tell everybody.
func Listed(f Facts) bool {
	return Decide(Request{Permission: ProjectRead}, f).Allowed() && !f.concealed()
}

// withVisibility takes from an allowed decision a visibility that the project cannot have.
func (f *Facts) withVisibility(q Request, d Decision) Decision {
	if !d.Allowed() || !q.SetsVisibility || q.Permission != ProjectSetVisibility && q.Permission != ProjectCreate {
		return d
	}
	if why := VisibilityReason(f, q.Visibility); why != "" {
		return deny(why)
	}
	return d
}

// VisibilityReason says why the project of f, or one that is not there yet, cannot be given a visibility; ""
// if it can. A Restricted project becomes Team and nothing else (VIS-11), and where projects are private none
// becomes Open or Public; one that is stays what it is (VIS-14). Who asks makes no difference.
func VisibilityReason(f *Facts, v iam.Visibility) iam.Reason {
	switch {
	case v > iam.VisibilityOpen:
		return ReasonUnknownRequest
	case f.Project != nil && f.Project.Visibility == v, !openToOutsiders(v):
		return ""
	case f.Project != nil && closedToMembers(f.Project.Visibility):
		return ReasonRestrictedOnlyToTeam
	case !f.team() || !f.TeamSettings().PrivateProjects:
		return ""
	case f.Enforced.PrivateProjects == iam.SwitchOn:
		return ReasonPrivateProjectsEnforced
	}
	return ReasonPrivateProjects
}
