package authz

// decideKey takes what the caller's API key may less than its owner. Where the key is for is judged first, so
// that who found one cannot ask with it what there is elsewhere.
//
//   - A key for an entity counts nowhere else, one for a project for nothing else in the entity: whatever lies
//     in no entity that can be told, or in the whole organization, is outside too.
//   - A key that only reads asks for nothing that writes.
//   - Neither administers: people, teams and keys that it made or changed could do what it may not. For the
//     same reason a key that only expires makes no keys, which would outlive it.
func decideKey(q Request, f *Facts) Decision {
	l := f.Principal.Limits
	if l == nil || l.IsZero() {
		return allow(ReasonSignedIn)
	}
	administers, makesKeys := false, false
	switch q.Permission {
	case ServerRead, SelfRead:
		return allow(ReasonSignedIn) // the same whatever the key is for
	case ProjectRead, RunWrite, RunStop, RunDelete, RunMove, ReportCreate, ReportUpdate, ProjectUpdate, ProjectDelete,
		ProjectSetVisibility, ProjectManageMembers, ProjectCreate:
		if l.Scoped() && !(f.inKeysEntity() && f.inKeysProject()) {
			return deny(ReasonKeyScope)
		}
	case EntityRead: // what is listed in it is judged one by one
		if l.Scoped() && !f.inKeysEntity() {
			return deny(ReasonKeyScope)
		}
	case EntityWrite, TeamReadMembers, TeamManage, TeamInvite, TeamCreateServiceAcc, TeamJoin:
		if l.Scoped() && (!f.inKeysEntity() || l.Project != "") {
			return deny(ReasonKeyScope)
		}
		makesKeys = q.Permission == TeamCreateServiceAcc
		administers = makesKeys || q.Permission == TeamManage || q.Permission == TeamInvite || q.Permission == TeamJoin
	case OrganizationRead, UnplacedRead, UnplacedWrite:
		if l.Scoped() {
			return deny(ReasonKeyScope)
		}
	case OrganizationManage, OrganizationProvision, TeamCreate:
		administers = true
	case SelfUpdate:
		administers, makesKeys = true, true
	default:
		return deny(ReasonUnknownRequest)
	}
	switch {
	case l.ReadOnly && q.Permission.Writes():
		return deny(ReasonKeyReadOnly)
	case makesKeys, administers && l.Scoped():
		return deny(ReasonKeyAdministration)
	}
	return allow(ReasonSignedIn)
}

// inKeysEntity reports whether the request is about the entity for which the caller's key is. An entity that
// was deleted is no request's, and one that is hidden from the key's owner looks like that.
func (f *Facts) inKeysEntity() bool {
	l := f.Principal.Limits
	return f.Entity != nil && l.Entity != "" && f.Entity.ID == l.Entity && (!f.concealed() || f.opened())
}

// inKeysProject reports whether the request is about the project for which the key is, if it is for one. The
// name is compared as it was asked and as it was found: where a database could take two names for one, neither
// stands for the other here.
func (f *Facts) inKeysProject() bool {
	l := f.Principal.Limits
	return l.Project == "" || f.ProjectName == l.Project && (f.Project == nil || f.Project.Name == l.Project)
}
