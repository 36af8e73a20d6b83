package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// decideOrganization answers for the organization as a whole.
func decideOrganization(q Request, f *Facts) Decision {
	if !f.ownOrganization() {
		return deny(ReasonOtherOrganization)
	}
	switch q.Permission {
	case OrganizationRead:
		return allow(ReasonOrganizationMember)
	case OrganizationManage:
		if f.organizationAdmin() {
			return allow(ReasonOrganizationAdmin) // ORG-3
		}
		return deny(ReasonOrganizationAdminRequired)
	case OrganizationProvision:
		if f.organizationAdmin() {
			return allow(ReasonOrganizationAdmin) // SCIM-3
		}
		if f.organizationAccount() {
			return allow(ReasonOrganizationAccount) // SA-18
		}
		return deny(ReasonOrganizationAdminRequired)
	case TeamCreate:
		return decideTeamCreate(f)
	default:
		return deny(ReasonUnknownRequest)
	}
}

// decideTeamCreate: organization admins, or everybody who may write if the deployment says so
// (ORG-12, ENV-12). "Everybody" means people: a service account works in teams that exist.
func decideTeamCreate(f *Facts) Decision {
	switch {
	case f.organizationAdmin():
		return allow(ReasonOrganizationAdmin)
	case f.organizationViewer():
		return deny(ReasonViewOnlyOrganization)
	case f.Settings.AllowUserTeamCreation && f.Principal.IsUser():
		return allow(ReasonTeamCreationOpen)
	}
	return deny(ReasonOrganizationAdminRequired)
}

// decideSelfUpdate: people keep their own keys and settings, whatever their role or seat, for one
// needs a key to read. A service account's keys are kept by an admin (design section 6).
func decideSelfUpdate(f *Facts) Decision {
	if f.Principal.IsServiceAccount() {
		return deny(ReasonServiceAccountSelfManagement)
	}
	return allow(ReasonSelf)
}

// decideUnplaced answers for what cannot be tied to a project or an entity (design sections 3 and
// 6). It could be anything, so a service account limited to one team is never let through by
// `members`, and writing takes what writing anywhere takes.
func decideUnplaced(q Request, f *Facts) Decision {
	switch f.Settings.Unplaced {
	case UnplacedAllow:
		return allow(ReasonUnplacedAllowed)
	case UnplacedMembers:
		return decideUnplacedMembers(q, f)
	case UnplacedDeny:
		return deny(ReasonUnplaced)
	default:
		return deny(ReasonUnplaced)
	}
}

func decideUnplacedMembers(q Request, f *Facts) Decision {
	switch {
	case !f.ownOrganization():
		return deny(ReasonOtherOrganization)
	case f.Principal.IsServiceAccount() && !f.unscoped():
		return deny(ReasonTeamScope)
	case q.Permission == UnplacedRead:
		return allow(ReasonUnplacedMembers)
	case f.organizationViewer():
		return deny(ReasonViewOnlyOrganization)
	}
	switch f.seat(Models) {
	case iam.SeatFull:
		return allow(ReasonUnplacedMembers)
	case iam.SeatViewer:
		return deny(ReasonViewOnlySeat)
	default:
		return deny(ReasonNoSeat)
	}
}
