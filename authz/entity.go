package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// decideEntity answers for a team or a personal entity.
func decideEntity(q Request, f *Facts) Decision {
	if !f.located() {
		return deny(ReasonNotFound)
	}
	b := f.bond()
	switch q.Permission {
	case EntityRead:
		return decideEntityRead(f, b)
	case EntityWrite, ProjectCreate:
		return decideProjectCreate(q, f, b)
	case TeamReadMembers:
		return decideReadMembers(f, b)
	case TeamManage:
		return decideTeamAdmin(f, b)
	case TeamCreateServiceAcc:
		return decideCreateServiceAccount(f, b)
	case TeamInvite:
		return decideInvite(f, b)
	case TeamJoin:
		return decideJoin(f, b)
	default:
		return deny(ReasonUnknownRequest)
	}
}

// decideEntityRead: names are known throughout the organization, but for those of hidden teams, and
// what is listed in an entity is judged one by one. A team's service account knows its team only.
func decideEntityRead(f *Facts, b bond) Decision {
	if b.inside {
		return allow(b.role.source)
	}
	if f.concealed() {
		return deny(ReasonNotFound)
	}
	if f.ownOrganization() && (f.Principal.IsUser() || f.unscoped()) {
		return allow(ReasonOrganizationMember)
	}
	return deny(f.outsideReason(b))
}

// decideProjectCreate answers for writing into the entity as a whole, new projects above all: it
// takes a role that writes.
func decideProjectCreate(q Request, f *Facts, b bond) Decision {
	if !b.inside {
		return deny(f.outsideReason(b))
	}
	d := b.role.may(RunWrite)
	if d.Allowed() && q.Permission != EntityWrite {
		d = allow(ReasonCreatesProject)
	}
	return f.withVisibility(q, limit(q, f, b, d))
}

// decideReadMembers answers for who is in the team: those who are, and who administers them.
func decideReadMembers(f *Facts, b bond) Decision {
	switch {
	case b.inside && b.role.rank >= rankViewer:
		return allow(b.role.source)
	case f.organizationAdmin() && !b.personal:
		return allow(ReasonOrganizationAdmin)
	case b.inside:
		return deny(ReasonUnknownRole)
	}
	return deny(f.outsideReason(b))
}

// decideTeamAdmin answers for administration: of the team by its admins and those of the
// organization (TEAM-8), of a personal entity by its owner alone. No seat is needed.
func decideTeamAdmin(f *Facts, b bond) Decision {
	if b.personal {
		return decidePersonalAdmin(f, b)
	}
	switch {
	case f.organizationAdmin():
		return allow(ReasonOrganizationAdmin)
	case !b.inside:
		return deny(f.outsideReason(b))
	case b.role.rank != rankAdmin:
		return deny(ReasonTeamAdminRequired)
	case f.organizationViewer():
		return deny(ReasonViewOnlyOrganization) // ORG-5
	}
	return allow(ReasonTeamAdmin)
}

// decideInvite: whoever administers the team adds people (TEAM-6) and, where the team or the organization
// says so, its Members do. Inviting is a person's doing: a job has nobody to invite.
func decideInvite(f *Facts, b bond) Decision {
	if b.personal {
		return deny(f.notATeamReason(b))
	}
	d := decideTeamAdmin(f, b)
	switch {
	case d.Allowed(), !b.inside, !f.TeamSettings().MembersInvite, !f.Principal.IsUser(), f.organizationViewer():
		return d
	}
	if d := b.role.may(RunWrite); !d.Allowed() {
		return d
	}
	return allow(ReasonMembersInvite)
}

func decidePersonalAdmin(f *Facts, b bond) Decision {
	switch {
	case !b.inside:
		return deny(f.outsideReason(b))
	case f.organizationViewer():
		return deny(ReasonViewOnlyOrganization)
	case f.Settings.DisablePersonalEntity:
		return deny(ReasonPersonalEntityDisabled) // ENV-8
	}
	return allow(ReasonPersonalOwner)
}

// decideCreateServiceAccount: whoever administers the team may (SA-2), unless switched off
// (ENV-13). An organization admin who must not enter the team (ENV-9) must not make a key that does.
func decideCreateServiceAccount(f *Facts, b bond) Decision {
	if b.personal {
		return deny(f.notATeamReason(b))
	}
	d := decideTeamAdmin(f, b)
	switch {
	case !d.Allowed():
		return d
	case f.Settings.DisableTeamServiceAccounts:
		return deny(ReasonTeamServiceAccountsDisabled)
	case f.keptOut(b):
		return deny(ReasonAdminTeamAccessDisabled)
	}
	return d
}

// keptOut reports whether an administrator must not gain access to the team that they do not have:
// organization admins, when they are kept from joining (ENV-9). The team's own admins gain nothing.
func (f *Facts) keptOut(b bond) bool {
	return f.Settings.DisableAdminTeamAccess && b.role.rank != rankAdmin
}

// decideJoin: organization admins may add themselves to a team (VIS-6), unless switched off
// (ENV-9). Everybody else is added by an admin.
func decideJoin(f *Facts, b bond) Decision {
	if b.personal {
		return deny(f.notATeamReason(b))
	}
	d := decideTeamAdmin(f, b)
	if d.Allowed() && f.keptOut(b) {
		return deny(ReasonAdminTeamAccessDisabled)
	}
	return d
}

// notATeamReason tells the organization's own callers that a personal entity is no team.
func (f *Facts) notATeamReason(b bond) iam.Reason {
	if f.ownOrganization() {
		return ReasonNotATeam
	}
	return f.outsideReason(b)
}
