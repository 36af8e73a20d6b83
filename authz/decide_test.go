package authz

import (
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// yes and no write an expected Decision.
func yes(r iam.Reason) Decision { return Decision{Allow, r} }
func no(r iam.Reason) Decision  { return Decision{Deny, r} }

// testCase asks one permission on some facts.
type testCase struct {
	name string
	ask  Permission
	with Facts
	want Decision
}

func run(t *testing.T, cases []testCase) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if got := Decide(Request{Permission: c.ask}, c.with); got != c.want {
				t.Errorf("Decide(%s) = %v, want %v", c.ask, got, c.want)
			}
		})
	}
}

// changed returns the facts after a change; the project and entity are the caller's to replace.
func changed(f Facts, change func(*Facts)) Facts {
	change(&f)
	return f
}

func settings(f Facts, s Settings) Facts {
	f.Settings = s
	return f
}

func owned(f Facts, by iam.PrincipalRef) Facts {
	f.Project.Owner = by
	return f
}

func absent(f Facts) Facts {
	f.Project = nil
	return f
}

func TestProjectReasons(t *testing.T) {
	const (
		open, public, team, restricted = iam.VisibilityOpen, iam.VisibilityPublic, iam.VisibilityTeam, iam.VisibilityRestricted
	)
	member, viewer, admin, outside := user(iam.RoleMember), user(iam.RoleViewer), user(iam.RoleAdmin), user("")
	orgAdmin := with(outside, orgRole(iam.OrganizationAdmin))
	elsewhere := with(member, func(p *iam.Principal) { p.Organization = "globex" })
	run(t, []testCase{
		{"VIS-2 outsider submits to Open", RunWrite, inVision(outside, open), yes(ReasonOpenProject)},
		{"VIS-2 outsider does not stop runs in Open", RunStop, inVision(outside, open), no(ReasonNotTeamMember)},
		{"VIS-18 outsider does not edit reports in Open", ReportUpdate, inVision(outside, open), no(ReasonNotTeamMember)},
		{"VIS-3 outsider views Public", ProjectRead, inVision(outside, public), yes(ReasonPublicProject)},
		{"VIS-3 outsider does not submit to Public", RunWrite, inVision(outside, public), no(ReasonPublicViewOnly)},
		{"VIS-4 outsider stays out of Team", ProjectRead, inVision(outside, team), no(ReasonTeamProject)},
		{"VIS-5 outsider stays out of Restricted", ProjectRead, inVision(outside, restricted), no(ReasonRestrictedProjectNotInvited)},
		{"VIS-6 team admin is not implicitly in Restricted", ProjectRead, inVision(admin, restricted), no(ReasonRestrictedProjectNotInvited)},
		{"VIS-9 own service account is not implicitly in Restricted", RunWrite, inVision(bot(vision), restricted), no(ReasonRestrictedProjectNotInvited)},
		{"VIS-12 owner of Restricted counts as invited", RunWrite, owned(inVision(member, restricted), alice.Ref()), yes(ReasonTeamMember)},
		{"VIS-12 owner who left the team has left the project", ProjectRead, owned(inVision(outside, restricted), alice.Ref()), no(ReasonNotTeamMember)},
		{"VIS-12 owner who left the team no longer opens it", ProjectSetVisibility, owned(inVision(outside, team), alice.Ref()), no(ReasonTeamProject)},
		{"service account that owns Restricted", RunWrite, owned(inVision(bot(vision), restricted), botID.Ref()), yes(ReasonServiceAccount)},
		{"a user's id does not pass for a service account's", RunWrite, owned(inVision(bot(vision), restricted), iam.PrincipalRef{Kind: iam.KindUser, ID: string(botID)}), no(ReasonRestrictedProjectNotInvited)},
		{"nobody owns a project without owner", ProjectSetVisibility, owned(inVision(member, team), iam.PrincipalRef{}), no(ReasonProjectAdminRequired)},
		{"SA-21 Team of another team", RunWrite, inVision(bot(nlp), team), no(ReasonTeamScope)},
		{"SA-21 Restricted of another team, on the list", RunWrite, inVision(bot(nlp), restricted, invited(bot(nlp))), no(ReasonTeamScope)},
		{"SA-21 Public of another team", RunWrite, inVision(bot(nlp), public), no(ReasonPublicViewOnly)},
		{"SA-21 Open of another team", RunWrite, inVision(bot(nlp), open), yes(ReasonOpenProject)},
		{"SA-21 nothing but submitting to Open of another team", RunDelete, inVision(bot(nlp), open), no(ReasonTeamScope)},
		{"a scope with a name and no id is not the organization", RunWrite, inVision(with(bot(""), func(p *iam.Principal) { p.Scope.Name = "vision" }), team), no(ReasonTeamScope)},
		{"organization admin in Team before joining", ProjectRead, inVision(orgAdmin, team), no(ReasonOrgAdminNotJoined)},
		{"organization admin in Restricted before joining", ProjectRead, inVision(orgAdmin, restricted, invited(orgAdmin)), no(ReasonOrgAdminNotJoined)},
		{"other organization in Team", ProjectRead, inVision(elsewhere, team), no(ReasonOtherOrganization)},
		{"View-Only reads", ProjectRead, inVision(viewer, team), yes(ReasonTeamMember)},
		{"View-Only does not write", RunWrite, inVision(viewer, team), no(ReasonViewOnly)},
		{"View-Only does not write to Open either (design section 8)", RunWrite, inVision(viewer, open), no(ReasonViewOnly)},
		{"PROLE-9 View-Only beats a sticky project role", RunWrite, inVision(viewer, team, withRole(viewer, iam.RoleMember)), no(ReasonViewOnly)},
		{"PROLE-4 View-Only beats the project role admin", ProjectManageMembers, inVision(viewer, team, withRole(viewer, iam.RoleAdmin)), no(ReasonViewOnly)},
		{"PROLE-2 project role above the team role", ProjectUpdate, inVision(member, team, withRole(member, iam.RoleAdmin)), yes(ReasonProjectRole)},
		{"PROLE-2 project role below the team role", RunWrite, inVision(member, restricted, withRole(member, iam.RoleViewer)), no(ReasonViewOnly)},
		{"PROLE-1 project roles mean nothing in Public", ProjectUpdate, inVision(member, public, withRole(member, iam.RoleAdmin)), no(ReasonProjectAdminRequired)},
		{"PROLE-1 a low project role means nothing in Open", RunWrite, inVision(member, open, withRole(member, iam.RoleViewer)), yes(ReasonTeamMember)},
		{"PROLE-10 a project role equal to the team role follows it", RunWrite, inVision(member, team, withRole(member, iam.RoleMember)), yes(ReasonTeamMember)},
		{"PROLE-2 project role ghost", ProjectRead, inVision(member, team, withRole(member, "ghost")), no(ReasonUnknownRole)},
		{"ROLE-2 permission added to viewer", RunStop, inVision(user("stopper"), team), yes(ReasonCustomRole)},
		{"ROLE-2 nothing else is added", RunDelete, inVision(user("stopper"), team), no(ReasonViewOnly)},
		{"ROLE-2 permission added to member", ProjectUpdate, inVision(user("curator"), team), yes(ReasonCustomRole)},
		{"ROLE-2 a custom role on viewer adds in Open too", RunStop, inVision(user("stopper"), open), yes(ReasonCustomRole)},
		{"ROLE-7 unknown names have no effect", ProjectDelete, inVision(user("curator"), team), no(ReasonProjectAdminRequired)},
		{"ROLE-7 nor does run:write", RunWrite, inVision(user("hopeful"), team), no(ReasonViewOnly)},
		{"ROLE-7 nor does setting visibility", ProjectSetVisibility, inVision(user("hopeful"), team), no(ReasonViewOnly)},
		{"a custom role as project role", RunStop, inVision(member, team, withRole(member, "stopper")), yes(ReasonCustomRole)},
		{"a custom role needs an invitation too", RunStop, inVision(user("stopper"), restricted), no(ReasonRestrictedProjectNotInvited)},
		{"a role that does not exist still views Public", ProjectRead, inVision(user("ghost"), public), yes(ReasonPublicProject)},
		{"a role that does not exist stays out of Team", ProjectRead, inVision(user("ghost"), team), no(ReasonUnknownRole)},
		{"a role that does not exist writes nowhere", RunWrite, inVision(user("ghost"), open), no(ReasonUnknownRole)},
		{"SA-8 service accounts hold no custom roles", RunStop, inVision(bot(vision), team, withRole(bot(vision), "curator")), no(ReasonUnknownRole)},
		{"TEAM-9 members stop runs; whose, the server knows", RunStop, inVision(member, team), yes(ReasonTeamMember)},
		{"TEAM-9 members delete runs", RunDelete, inVision(member, team), yes(ReasonTeamMember)},
		{"VIS-10 members move runs out of Team", RunMove, inVision(member, team), yes(ReasonTeamMember)},
		{"VIS-10 an invited admin moves none out of Restricted", RunMove, inVision(admin, restricted, invited(admin)), no(ReasonRestrictedRunsStay)},
		{"VIS-10 nor does its owner", RunMove, owned(inVision(member, restricted), alice.Ref()), no(ReasonRestrictedRunsStay)},
		{"VIS-10 nor an invited service account of the organization", RunMove, inVision(bot(""), restricted, invited(bot(""))), no(ReasonRestrictedRunsStay)},
		{"VIS-10 who may not enter Restricted is told that", RunMove, inVision(admin, restricted), no(ReasonRestrictedProjectNotInvited)},
		{"VIS-10 who may not write there is told that", RunMove, inVision(viewer, restricted, invited(viewer)), no(ReasonViewOnly)},
		{"VIS-10 an unknown visibility holds runs as Restricted does", RunMove, inVision(member, iam.VisibilityOpen+1, invited(member)), no(ReasonRestrictedRunsStay)},
		{"VIS-10 outsiders move nothing out of Open", RunMove, inVision(outside, open), no(ReasonNotTeamMember)},
		{"VIS-10 nor out of Public", RunMove, inVision(outside, public), no(ReasonPublicViewOnly)},
		{"VIS-10 nothing is moved out of what is not there", RunMove, absent(inVision(member, team)), no(ReasonNotFound)},
		{"ENV-8 nothing is moved out of one's own where personal entities are off", RunMove, settings(inPersonal(outside, team), Settings{DisablePersonalEntity: true}), no(ReasonPersonalEntityDisabled)},
		{"members do not delete projects", ProjectDelete, inVision(member, team), no(ReasonProjectAdminRequired)},
		{"TEAM-2 admins do", ProjectDelete, inVision(admin, team), yes(ReasonTeamMember)},
		{"owner edits the description", ProjectUpdate, owned(inVision(member, team), alice.Ref()), yes(ReasonProjectOwner)},
		{"owner does not delete the project", ProjectDelete, owned(inVision(member, team), alice.Ref()), no(ReasonProjectAdminRequired)},
		{"View-Only owner does not", ProjectUpdate, owned(inVision(viewer, team), alice.Ref()), no(ReasonViewOnly)},
		{"VIS-7 owner sets visibility", ProjectSetVisibility, owned(inVision(member, team), alice.Ref()), yes(ReasonProjectOwner)},
		{"VIS-7 View-Only owner does not", ProjectSetVisibility, owned(inVision(viewer, team), alice.Ref()), no(ReasonViewOnly)},
		{"VIS-7 owner with a viewer seat does not", ProjectSetVisibility, owned(inVision(with(member, seats(iam.SeatViewer, iam.SeatFull)), team), alice.Ref()), no(ReasonViewOnlySeat)},
		{"VIS-7 team admin sets visibility, uninvited", ProjectSetVisibility, inVision(admin, restricted), yes(ReasonTeamAdmin)},
		{"VIS-7 organization admin sets visibility, not joined", ProjectSetVisibility, inVision(orgAdmin, restricted), yes(ReasonOrganizationAdmin)},
		{"VIS-7 a project role admin does not", ProjectSetVisibility, inVision(member, team, withRole(member, iam.RoleAdmin)), no(ReasonProjectAdminRequired)},
		{"VIS-7 a role that does not exist does not", ProjectSetVisibility, inVision(user("ghost"), open), no(ReasonUnknownRole)},
		{"VIS-7 a member does not", ProjectSetVisibility, inVision(member, team), no(ReasonProjectAdminRequired)},
		{"VIS-7 the other organization's admin does not", ProjectSetVisibility, inVision(with(elsewhere, orgRole(iam.OrganizationAdmin)), open), no(ReasonOtherOrganization)},
		{"organization viewer who is team admin does not administer", ProjectManageMembers, inVision(with(admin, orgRole(iam.OrganizationViewer)), team), no(ReasonViewOnlyOrganization)},
		{"organization service account does not administer", ProjectSetVisibility, inVision(bot(""), team), no(ReasonProjectAdminRequired)},
		{"SA-12 an admin of the project invites", ProjectManageMembers, inVision(member, restricted, withRole(member, iam.RoleAdmin)), yes(ReasonProjectRole)},
		{"SA-12 a member of the project does not", ProjectManageMembers, inVision(member, restricted, invited(member)), no(ReasonProjectAdminRequired)},
		{"VIS-6 team admin may add themselves", ProjectManageMembers, inVision(admin, restricted), yes(ReasonTeamAdmin)},
		{"administration needs no seat", ProjectManageMembers, inVision(with(orgAdmin, seats(iam.SeatNone, iam.SeatNone)), team), yes(ReasonOrganizationAdmin)},
		{"uninvited member does not administer Restricted", ProjectManageMembers, inVision(member, restricted), no(ReasonRestrictedProjectNotInvited)},
		{"VIS-17 viewer seat", RunWrite, inVision(with(admin, seats(iam.SeatViewer, iam.SeatFull)), team), no(ReasonViewOnlySeat)},
		{"VIS-17 no seat", ProjectRead, inVision(with(admin, seats(iam.SeatNone, iam.SeatFull)), open), no(ReasonNoSeat)},
		{"VIS-17 a seat does not hide the nearer cause", RunWrite, inVision(with(viewer, seats(iam.SeatViewer, iam.SeatFull)), team), no(ReasonViewOnly)},
		{"SA-6 service accounts use no seat", RunWrite, inVision(bot(vision), team), yes(ReasonServiceAccount)},
		{"ORG-5 organization viewer", RunWrite, inVision(with(admin, orgRole(iam.OrganizationViewer)), team), no(ReasonViewOnlyOrganization)},
		{"ORG-5 organization viewer in Open", RunWrite, inVision(with(outside, orgRole(iam.OrganizationViewer)), open), no(ReasonViewOnlyOrganization)},
		{"deactivated", ProjectRead, inVision(with(admin, func(p *iam.Principal) { p.Active = false }), open), no(ReasonDeactivated)},
		{"deactivated organization admin", OrganizationManage, inVision(with(orgAdmin, func(p *iam.Principal) { p.Active = false }), open), no(ReasonDeactivated)},
		{"anonymous", ProjectRead, inVision(nil, open), no(ReasonAnonymous)},
		{"anonymous writes never", RunWrite, settings(inVision(nil, open), Settings{AnonymousPublicProjects: true}), no(ReasonAnonymous)},
		{"VIS-15 anonymous views", ProjectRead, settings(inVision(&iam.Principal{}, public), Settings{AnonymousPublicProjects: true}), yes(ReasonAnonymousView)},
		{"VIS-15 not Team", ProjectRead, settings(inVision(&iam.Principal{}, team), Settings{AnonymousPublicProjects: true}), no(ReasonAnonymous)},
		{"the deployment's own users are judged alike", RunWrite, inVision(with(viewer, func(p *iam.Principal) { p.FromUpstream = true }), team), no(ReasonViewOnly)},
	})
}

func TestAbsent(t *testing.T) {
	member, outside := user(iam.RoleMember), user("")
	at := func(p *iam.Principal) Facts { return absent(inVision(p, iam.VisibilityTeam)) }
	nowhere := func(p *iam.Principal) Facts { return changed(at(p), func(f *Facts) { f.Entity = nil }) }
	run(t, []testCase{
		{"member reads", ProjectRead, at(member), yes(ReasonProjectAbsent)},
		{"View-Only reads", ProjectRead, at(user(iam.RoleViewer)), yes(ReasonProjectAbsent)},
		{"own service account reads", ProjectRead, at(bot(vision)), yes(ReasonProjectAbsent)},
		{"organization service account reads", ProjectRead, at(bot("")), yes(ReasonProjectAbsent)},
		{"owner of the personal entity reads", ProjectRead, absent(inPersonal(outside, iam.VisibilityTeam)), yes(ReasonProjectAbsent)},
		{"outsider", ProjectRead, at(outside), no(ReasonNotFound)},
		{"organization admin, not joined", ProjectRead, at(with(outside, orgRole(iam.OrganizationAdmin))), no(ReasonNotFound)},
		{"service account of another team", ProjectRead, at(bot(nlp)), no(ReasonNotFound)},
		{"role that does not exist", ProjectRead, at(user("ghost")), no(ReasonNotFound)},
		{"anonymous", ProjectRead, settings(at(nil), Settings{AnonymousPublicProjects: true}), no(ReasonNotFound)},
		{"member without seat", ProjectRead, at(with(member, seats(iam.SeatNone, iam.SeatFull))), no(ReasonNoSeat)},
		{"member writes the first run", RunWrite, at(member), yes(ReasonCreatesProject)},
		{"own service account writes the first run", RunWrite, at(bot(vision)), yes(ReasonCreatesProject)},
		{"member creates", ProjectCreate, at(member), yes(ReasonCreatesProject)},
		{"View-Only does not", ProjectCreate, at(user(iam.RoleViewer)), no(ReasonViewOnly)},
		{"View-Only does not by a run", RunWrite, at(user(iam.RoleViewer)), no(ReasonViewOnly)},
		{"outsider does not by a run", RunWrite, at(outside), no(ReasonNotTeamMember)},
		{"organization admin, not joined, does not", RunWrite, at(with(outside, orgRole(iam.OrganizationAdmin))), no(ReasonOrgAdminNotJoined)},
		{"service account of another team does not", RunWrite, at(bot(nlp)), no(ReasonTeamScope)},
		{"viewer seat does not", RunWrite, at(with(member, seats(iam.SeatViewer, iam.SeatFull))), no(ReasonViewOnlySeat)},
		{"nothing to delete", ProjectDelete, at(user(iam.RoleAdmin)), no(ReasonNotFound)},
		{"nothing to show to others", ProjectSetVisibility, at(user(iam.RoleAdmin)), no(ReasonNotFound)},
		{"no report without project", ReportCreate, at(member), no(ReasonNotFound)},
		{"no entity: read", ProjectRead, nowhere(member), no(ReasonNotFound)},
		{"no entity: write", RunWrite, nowhere(bot("")), no(ReasonNotFound)},
		{"no entity: create", ProjectCreate, nowhere(member), no(ReasonNotFound)},
		{"no entity: manage", TeamManage, nowhere(with(member, orgRole(iam.OrganizationAdmin))), no(ReasonNotFound)},
		{"an id that is no entity's", EntityRead, changed(at(member), func(f *Facts) { f.Entity = &iam.Entity{ID: "sa_bot"} }), no(ReasonNotFound)},
		{"a project of another entity", ProjectRead, changed(inVision(member, iam.VisibilityOpen), func(f *Facts) { f.Project.Entity = nlp.Entity() }), no(ReasonInconsistentFacts)},
		{"a project of another entity, to administer", ProjectSetVisibility, changed(inVision(user(iam.RoleAdmin), iam.VisibilityOpen), func(f *Facts) { f.Project.Entity = nlp.Entity() }), no(ReasonInconsistentFacts)},
		{"a project of another entity, anonymous", ProjectRead, changed(inVision(nil, iam.VisibilityOpen), func(f *Facts) { f.Project.Entity = nlp.Entity(); f.Settings.AnonymousPublicProjects = true }), no(ReasonInconsistentFacts)},
	})
}

func TestPersonal(t *testing.T) {
	const open, public, team, restricted = iam.VisibilityOpen, iam.VisibilityPublic, iam.VisibilityTeam, iam.VisibilityRestricted
	owner := user("")
	other := with(owner, func(p *iam.Principal) { p.Ref = bob.Ref() })
	orgAdmin := with(other, orgRole(iam.OrganizationAdmin))
	off := func(f Facts) Facts { return settings(f, Settings{DisablePersonalEntity: true}) }
	run(t, []testCase{
		{"owner writes", RunWrite, inPersonal(owner, team), yes(ReasonPersonalOwner)},
		{"owner enters Restricted", ProjectRead, inPersonal(owner, restricted), yes(ReasonPersonalOwner)},
		{"Z10 who has the name next does not enter what was left behind", ProjectRead, owned(inPersonal(owner, restricted), iam.PrincipalRef{}), no(ReasonRestrictedProjectNotInvited)},
		{"Z10 nor open it", ProjectSetVisibility, owned(inPersonal(owner, restricted), iam.PrincipalRef{}), no(ReasonRestrictedProjectNotInvited)},
		{"Z10 nor delete it", ProjectDelete, owned(inPersonal(owner, restricted), bob.Ref()), no(ReasonRestrictedProjectNotInvited)},
		{"organization admin does not list its members", TeamReadMembers, inPersonal(orgAdmin, team), no(ReasonPersonalEntity)},
		{"owner deletes", ProjectDelete, inPersonal(owner, restricted), yes(ReasonPersonalOwner)},
		{"owner sets visibility", ProjectSetVisibility, inPersonal(owner, team), yes(ReasonPersonalOwner)},
		{"owner creates", ProjectCreate, absent(inPersonal(owner, team)), yes(ReasonCreatesProject)},
		{"owner's id at another organization", RunWrite, inPersonal(with(owner, func(p *iam.Principal) { p.Organization = "globex" }), team), no(ReasonOtherOrganization)},
		{"others submit to Open", RunWrite, inPersonal(other, open), yes(ReasonOpenProject)},
		{"others view Public", ProjectRead, inPersonal(other, public), yes(ReasonPublicProject)},
		{"others stay out of Team", ProjectRead, inPersonal(other, team), no(ReasonPersonalEntity)},
		{"others stay out of Restricted, on the list", ProjectRead, inPersonal(other, restricted, invited(other)), no(ReasonPersonalEntity)},
		{"others create nothing", ProjectCreate, absent(inPersonal(other, team)), no(ReasonPersonalEntity)},
		{"organization admin neither enters", ProjectRead, inPersonal(orgAdmin, team), no(ReasonPersonalEntity)},
		{"organization admin nor administers", ProjectSetVisibility, inPersonal(orgAdmin, open), no(ReasonPersonalEntity)},
		{"organization service account stays out", ProjectRead, inPersonal(bot(""), team), no(ReasonPersonalEntity)},
		{"organization service account submits to Open", RunWrite, inPersonal(bot(""), open), yes(ReasonOpenProject)},
		{"service account of a team stays out", ProjectRead, inPersonal(bot(vision), team), no(ReasonTeamScope)},
		{"ENV-8 owner does not write", RunWrite, off(inPersonal(owner, team)), no(ReasonPersonalEntityDisabled)},
		{"ENV-8 owner does not create", ProjectCreate, off(absent(inPersonal(owner, team))), no(ReasonPersonalEntityDisabled)},
		{"ENV-8 owner does not create by a run", RunWrite, off(absent(inPersonal(owner, team))), no(ReasonPersonalEntityDisabled)},
		{"ENV-8 owner does not open", ProjectSetVisibility, off(inPersonal(owner, team)), no(ReasonPersonalEntityDisabled)},
		{"ENV-22 owner reads", ProjectRead, off(inPersonal(owner, team)), yes(ReasonPersonalOwner)},
		{"ENV-8 others do not write to Open", RunWrite, off(inPersonal(other, open)), no(ReasonPersonalEntityDisabled)},
		{"ENV-8 teams go on", RunWrite, off(inVision(user(iam.RoleMember), team)), yes(ReasonTeamMember)},
		{"owner with the organization role viewer reads", ProjectRead, inPersonal(with(owner, orgRole(iam.OrganizationViewer)), team), yes(ReasonPersonalOwner)},
		{"owner with the organization role viewer does not write", RunWrite, inPersonal(with(owner, orgRole(iam.OrganizationViewer)), team), no(ReasonViewOnlyOrganization)},
		{"a personal entity has no service accounts", TeamCreateServiceAcc, inPersonal(owner, team), no(ReasonNotATeam)},
		{"nobody joins a personal entity", TeamJoin, inPersonal(orgAdmin, team), no(ReasonNotATeam)},
		{"another organization is not told that it is no team", TeamJoin, inPersonal(with(owner, func(p *iam.Principal) { p.Organization = "globex" }), team), no(ReasonOtherOrganization)},
	})
}

func TestEntity(t *testing.T) {
	admin, member, outside := user(iam.RoleAdmin), user(iam.RoleMember), user("")
	orgAdmin := with(outside, orgRole(iam.OrganizationAdmin))
	elsewhere := with(member, func(p *iam.Principal) { p.Organization = "globex" })
	at := func(p *iam.Principal) Facts { return absent(inVision(p, iam.VisibilityTeam)) }
	noAdminAccess := Settings{DisableAdminTeamAccess: true}
	run(t, []testCase{
		{"names are known in the organization", EntityRead, at(outside), yes(ReasonOrganizationMember)},
		{"a team's service account knows its team", EntityRead, at(bot(vision)), yes(ReasonServiceAccount)},
		{"and no other", EntityRead, at(bot(nlp)), no(ReasonTeamScope)},
		{"other organization", EntityRead, at(elsewhere), no(ReasonOtherOrganization)},
		{"member writes", EntityWrite, at(member), yes(ReasonTeamMember)},
		{"outsider does not", EntityWrite, at(outside), no(ReasonNotTeamMember)},
		{"who is in the team: member", TeamReadMembers, at(user(iam.RoleViewer)), yes(ReasonTeamMember)},
		{"who is in the team: organization admin", TeamReadMembers, at(orgAdmin), yes(ReasonOrganizationAdmin)},
		{"who is in the team: outsider", TeamReadMembers, at(outside), no(ReasonNotTeamMember)},
		{"TEAM-8 team admin manages", TeamManage, at(admin), yes(ReasonTeamAdmin)},
		{"TEAM-8 organization admin manages", TeamManage, at(orgAdmin), yes(ReasonOrganizationAdmin)},
		{"TEAM-3 member does not", TeamManage, at(member), no(ReasonTeamAdminRequired)},
		{"custom role does not", TeamManage, at(user("curator")), no(ReasonTeamAdminRequired)},
		{"service account does not", TeamManage, at(bot("")), no(ReasonTeamAdminRequired)},
		{"team admin without seat manages", TeamManage, at(with(admin, seats(iam.SeatNone, iam.SeatNone))), yes(ReasonTeamAdmin)},
		{"admin of another team does not", TeamManage, at(with(outside, func(p *iam.Principal) {
			p.Teams = []iam.Membership{{TeamRef: iam.TeamRef{ID: nlp, Name: "vision"}, Role: iam.RoleAdmin}}
		})), no(ReasonNotTeamMember)},
		{"SA-2 team admin makes service accounts", TeamCreateServiceAcc, at(admin), yes(ReasonTeamAdmin)},
		{"SA-27 unless switched off", TeamCreateServiceAcc, settings(at(admin), Settings{DisableTeamServiceAccounts: true}), no(ReasonTeamServiceAccountsDisabled)},
		{"SA-27 who may not is told so first", TeamCreateServiceAcc, settings(at(member), Settings{DisableTeamServiceAccounts: true}), no(ReasonTeamAdminRequired)},
		{"ENV-9 no key instead of joining", TeamCreateServiceAcc, settings(at(orgAdmin), noAdminAccess), no(ReasonAdminTeamAccessDisabled)},
		{"ENV-9 team admins go on", TeamCreateServiceAcc, settings(at(admin), noAdminAccess), yes(ReasonTeamAdmin)},
		{"VIS-6 organization admin joins", TeamJoin, at(orgAdmin), yes(ReasonOrganizationAdmin)},
		{"ENV-9 unless switched off", TeamJoin, settings(at(orgAdmin), noAdminAccess), no(ReasonAdminTeamAccessDisabled)},
		{"ENV-9 a View-Only admin does not rise", TeamJoin, settings(at(with(user(iam.RoleViewer), orgRole(iam.OrganizationAdmin))), noAdminAccess), no(ReasonAdminTeamAccessDisabled)},
		{"ENV-9 adding others stays", TeamManage, settings(at(orgAdmin), noAdminAccess), yes(ReasonOrganizationAdmin)},
		{"others do not join by themselves", TeamJoin, at(outside), no(ReasonNotTeamMember)},
		{"members do not rise by themselves", TeamJoin, at(member), no(ReasonTeamAdminRequired)},
		{"ENV-9 a team admin has nothing to gain", TeamJoin, settings(at(with(admin, orgRole(iam.OrganizationAdmin))), noAdminAccess), yes(ReasonOrganizationAdmin)},
	})
}

// TestTeamSettings: what is chosen for a team, and what the organization enforces (PRIV-1, PRIV-2).
func TestTeamSettings(t *testing.T) {
	admin, member, viewer, outside := user(iam.RoleAdmin), user(iam.RoleMember), user(iam.RoleViewer), user("")
	orgAdmin := with(outside, orgRole(iam.OrganizationAdmin))
	orgViewer := with(member, orgRole(iam.OrganizationViewer))
	elsewhere := with(member, func(p *iam.Principal) { p.Organization = "globex" })
	at := func(p *iam.Principal, s iam.TeamSettings, e ...iam.EnforcedSettings) Facts {
		f := absent(inVision(p, iam.VisibilityTeam))
		f.Team = s
		for _, f.Enforced = range e {
		}
		return f
	}
	in := func(p *iam.Principal, v iam.Visibility, s iam.TeamSettings) Facts {
		f := inVision(p, v)
		f.Team = s
		return f
	}
	hidden, invite := iam.TeamSettings{Hidden: true}, iam.TeamSettings{MembersInvite: true}
	run(t, []testCase{
		{"hidden from the organization", EntityRead, at(outside, hidden), no(ReasonNotFound)},
		{"hidden from another team's account", EntityRead, at(bot(nlp), hidden), no(ReasonNotFound)},
		{"not from members", EntityRead, at(viewer, hidden), yes(ReasonTeamMember)},
		{"not from who administers it", EntityRead, at(orgAdmin, hidden), yes(ReasonOrganizationMember)},
		{"not from the organization's accounts", EntityRead, at(bot(""), hidden), yes(ReasonServiceAccount)},
		{"nor is it there to be managed", TeamManage, at(outside, hidden), no(ReasonNotFound)},
		{"nor to make projects in", ProjectCreate, at(outside, hidden), no(ReasonNotFound)},
		{"its closed projects are not there", ProjectRead, in(outside, iam.VisibilityTeam, hidden), no(ReasonNotFound)},
		{"whoever its list names", ProjectRead, in(outside, iam.VisibilityRestricted, hidden), no(ReasonNotFound)},
		{"nor to be administered", ProjectSetVisibility, in(outside, iam.VisibilityTeam, hidden), no(ReasonNotFound)},
		{"VIS-2 whoever knows an Open project", RunWrite, in(outside, iam.VisibilityOpen, hidden), yes(ReasonOpenProject)},
		{"and is told what they may not do in it", RunDelete, in(outside, iam.VisibilityOpen, hidden), no(ReasonNotTeamMember)},
		{"an organization admin is told why", ProjectRead, in(orgAdmin, iam.VisibilityTeam, hidden), no(ReasonOrgAdminNotJoined)},
		{"enforced on a team that is not hidden", EntityRead, at(outside, iam.TeamSettings{}, iam.EnforcedSettings{Hidden: iam.SwitchOn}), no(ReasonNotFound)},
		{"enforced off on one that is", EntityRead, at(outside, hidden, iam.EnforcedSettings{Hidden: iam.SwitchOff}), yes(ReasonOrganizationMember)},

		{"TEAM-6 admins invite", TeamInvite, at(admin, iam.TeamSettings{}), yes(ReasonTeamAdmin)},
		{"TEAM-6 organization admins invite", TeamInvite, at(orgAdmin, iam.TeamSettings{}), yes(ReasonOrganizationAdmin)},
		{"C-21 members do not, by default", TeamInvite, at(member, iam.TeamSettings{}), no(ReasonTeamAdminRequired)},
		{"C-21 members do, if it is on", TeamInvite, at(member, invite), yes(ReasonMembersInvite)},
		{"View-Only does not", TeamInvite, at(viewer, invite), no(ReasonViewOnly)},
		{"a custom role with base Member does", TeamInvite, at(user("curator"), invite), yes(ReasonMembersInvite)},
		{"one with base View-Only does not", TeamInvite, at(user("stopper"), invite), no(ReasonViewOnly)},
		{"a role that does not exist does not", TeamInvite, at(user("ghost"), invite), no(ReasonUnknownRole)},
		{"an organization viewer does not", TeamInvite, at(orgViewer, invite), no(ReasonTeamAdminRequired)},
		{"the team's account does not", TeamInvite, at(bot(vision), invite), no(ReasonTeamAdminRequired)},
		{"somebody outside does not", TeamInvite, at(outside, invite), no(ReasonNotTeamMember)},
		{"nor another organization", TeamInvite, at(elsewhere, invite), no(ReasonOtherOrganization)},
		{"a member does nothing else", TeamManage, at(member, invite), no(ReasonTeamAdminRequired)},
		{"nor joins as an admin", TeamJoin, at(member, invite), no(ReasonTeamAdminRequired)},
		{"enforced off", TeamInvite, at(member, invite, iam.EnforcedSettings{MembersInvite: iam.SwitchOff}), no(ReasonTeamAdminRequired)},
		{"enforced on", TeamInvite, at(member, iam.TeamSettings{}, iam.EnforcedSettings{MembersInvite: iam.SwitchOn}), yes(ReasonMembersInvite)},
		{"a personal entity has nobody to invite", TeamInvite, absent(inPersonal(member, iam.VisibilityTeam)), no(ReasonNotATeam)},
	})
}

// TestSetVisibility: what a project can become, whoever makes it so (VIS-7, VIS-11, VIS-14).
func TestSetVisibility(t *testing.T) {
	const (
		restricted, team, public, open = iam.VisibilityRestricted, iam.VisibilityTeam, iam.VisibilityPublic, iam.VisibilityOpen
	)
	member, admin := user(iam.RoleMember), user(iam.RoleAdmin)
	private := iam.TeamSettings{PrivateProjects: true}
	enforced := func(s iam.Switch) iam.EnforcedSettings { return iam.EnforcedSettings{PrivateProjects: s} }
	for _, c := range []struct {
		name     string
		ask      Permission
		facts    Facts
		team     iam.TeamSettings
		enforced iam.EnforcedSettings
		to       iam.Visibility
		want     Decision
	}{
		{"Team to Open", ProjectSetVisibility, inVision(admin, team), iam.TeamSettings{}, enforced(0), open, yes(ReasonTeamAdmin)},
		{"VIS-11 Restricted to Team", ProjectSetVisibility, inVision(admin, restricted), private, enforced(0), team, yes(ReasonTeamAdmin)},
		{"VIS-11 Restricted to Public", ProjectSetVisibility, inVision(admin, restricted), iam.TeamSettings{}, enforced(0), public, no(ReasonRestrictedOnlyToTeam)},
		{"VIS-11 Restricted to Open, whatever the setting", ProjectSetVisibility, inVision(admin, restricted), private, enforced(iam.SwitchOn), open, no(ReasonRestrictedOnlyToTeam)},
		{"what is unknown is Restricted", ProjectSetVisibility, inVision(admin, 200), iam.TeamSettings{}, enforced(0), open, no(ReasonRestrictedOnlyToTeam)},
		{"VIS-14 Team to Open", ProjectSetVisibility, inVision(admin, team), private, enforced(0), open, no(ReasonPrivateProjects)},
		{"VIS-14 Public to Open", ProjectSetVisibility, inVision(admin, public), private, enforced(0), open, no(ReasonPrivateProjects)},
		{"VIS-14 Open stays", ProjectSetVisibility, inVision(admin, open), private, enforced(0), open, yes(ReasonTeamAdmin)},
		{"VIS-14 Open closes", ProjectSetVisibility, inVision(admin, open), private, enforced(0), restricted, yes(ReasonTeamAdmin)},
		{"VIS-14 new and Open", ProjectCreate, absent(inVision(member, team)), private, enforced(0), open, no(ReasonPrivateProjects)},
		{"VIS-14 new and Restricted", ProjectCreate, absent(inVision(member, team)), private, enforced(0), restricted, yes(ReasonCreatesProject)},
		{"PRIV-2 enforced", ProjectCreate, absent(inVision(member, team)), iam.TeamSettings{}, enforced(iam.SwitchOn), public, no(ReasonPrivateProjectsEnforced)},
		{"PRIV-2 enforced the other way", ProjectCreate, absent(inVision(member, team)), private, enforced(iam.SwitchOff), public, yes(ReasonCreatesProject)},
		{"who may not is told that first", ProjectSetVisibility, inVision(member, restricted, invited(member)), private, enforced(0), open, no(ReasonProjectAdminRequired)},
		{"personal entities have no such setting", ProjectSetVisibility, inPersonal(user(""), team), private, enforced(iam.SwitchOn), open, yes(ReasonPersonalOwner)},
		{"no visibility at all", ProjectSetVisibility, inVision(admin, team), iam.TeamSettings{}, enforced(0), 4, no(ReasonUnknownRequest)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := c.facts
			f.Team, f.Enforced = c.team, c.enforced
			if got := Decide(Request{Permission: c.ask, SetsVisibility: true, Visibility: c.to}, f); got != c.want {
				t.Errorf("Decide = %v, want %v", got, c.want)
			}
		})
	}
}

// TestListed: a list shows what the caller may view, unless a hidden team would be told of by it.
func TestListed(t *testing.T) {
	for _, c := range []struct {
		name   string
		who    *iam.Principal
		v      iam.Visibility
		hidden bool
		want   bool
	}{
		{"Open, outside", user(""), iam.VisibilityOpen, false, true},
		{"Open of a hidden team, outside", user(""), iam.VisibilityOpen, true, false},
		{"Open of a hidden team, inside", user(iam.RoleViewer), iam.VisibilityOpen, true, true},
		{"Open of a hidden team, organization admin", with(user(""), orgRole(iam.OrganizationAdmin)), iam.VisibilityOpen, true, true},
		{"Team, outside", user(""), iam.VisibilityTeam, false, false},
		{"Open, without a credential", nil, iam.VisibilityOpen, false, true},
		{"Open of a hidden team, without a credential", nil, iam.VisibilityOpen, true, false},
	} {
		f := settings(inVision(c.who, c.v), Settings{AnonymousPublicProjects: true})
		f.Team.Hidden = c.hidden
		if got := Listed(f); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
	if Listed(Facts{}) {
		t.Error("nothing is listed")
	}
}

func TestOrganization(t *testing.T) {
	member := user("")
	orgAdmin := with(member, orgRole(iam.OrganizationAdmin))
	orgViewer := with(member, orgRole(iam.OrganizationViewer))
	elsewhere := with(orgAdmin, func(p *iam.Principal) { p.Organization = "globex" })
	of := func(p *iam.Principal) Facts { return Facts{Principal: p, Organization: acme} }
	everybody := Settings{AllowUserTeamCreation: true}
	run(t, []testCase{
		{"ORG-3 admin manages", OrganizationManage, of(orgAdmin), yes(ReasonOrganizationAdmin)},
		{"ORG-4 member does not", OrganizationManage, of(member), no(ReasonOrganizationAdminRequired)},
		{"SA-18 organization service account does not manage", OrganizationManage, of(bot("")), no(ReasonOrganizationAdminRequired)},
		{"SA-18 organization service account provisions", OrganizationProvision, of(bot("")), yes(ReasonOrganizationAccount)},
		{"SA-18 service account of a team does not", OrganizationProvision, of(bot(vision)), no(ReasonOrganizationAdminRequired)},
		{"SCIM-3 member does not", OrganizationProvision, of(member), no(ReasonOrganizationAdminRequired)},
		{"admin of another organization", OrganizationManage, of(elsewhere), no(ReasonOtherOrganization)},
		{"no organization is nobody's", OrganizationManage, Facts{Principal: with(orgAdmin, func(p *iam.Principal) { p.Organization = "" })}, no(ReasonOtherOrganization)},
		{"ORG-12 admin creates teams", TeamCreate, of(orgAdmin), yes(ReasonOrganizationAdmin)},
		{"ORG-12 member does not", TeamCreate, of(member), no(ReasonOrganizationAdminRequired)},
		{"ENV-12 member does", TeamCreate, settings(of(member), everybody), yes(ReasonTeamCreationOpen)},
		{"ENV-12 organization viewer does not", TeamCreate, settings(of(orgViewer), everybody), no(ReasonViewOnlyOrganization)},
		{"ENV-12 service account does not", TeamCreate, settings(of(bot("")), everybody), no(ReasonOrganizationAdminRequired)},
		{"name and registries", OrganizationRead, of(bot(vision)), yes(ReasonOrganizationMember)},
		{"server", ServerRead, of(bot(vision)), yes(ReasonSignedIn)},
		{"server, anonymous", ServerRead, of(nil), no(ReasonAnonymous)},
		{"who am I", SelfRead, of(orgViewer), yes(ReasonSelf)},
		{"own keys", SelfUpdate, of(orgViewer), yes(ReasonSelf)},
		{"a service account's own keys", SelfUpdate, of(bot("")), no(ReasonServiceAccountSelfManagement)},
		{"unknown permission", "run:fly", of(orgAdmin), no(ReasonUnknownRequest)},
		{"empty permission", "", of(orgAdmin), no(ReasonUnknownRequest)},
		{"unknown permission, anonymous", "run:fly", of(nil), no(ReasonAnonymous)},
		{"unknown kind of caller", SelfRead, of(with(member, func(p *iam.Principal) { p.Ref.Kind = 9 })), no(ReasonUnknownRequest)},
		{"caller without id", SelfRead, of(with(member, func(p *iam.Principal) { p.Ref.ID = "" })), no(ReasonUnknownRequest)},
		{"organization role that does not exist", SelfRead, of(with(member, orgRole("owner"))), no(ReasonUnknownRole)},
	})
}

func TestUnplaced(t *testing.T) {
	member := user("")
	viewerSeat := with(member, seats(iam.SeatViewer, iam.SeatFull))
	noSeat := with(member, seats(iam.SeatNone, iam.SeatFull))
	elsewhere := with(member, func(p *iam.Principal) { p.Organization = "globex" })
	under := func(u UnplacedPolicy, p *iam.Principal) Facts {
		return Facts{Principal: p, Organization: acme, Settings: Settings{Unplaced: u}}
	}
	run(t, []testCase{
		{"deny: admin reads", UnplacedRead, under(UnplacedDeny, with(member, orgRole(iam.OrganizationAdmin))), no(ReasonUnplaced)},
		{"deny: admin writes", UnplacedWrite, under(UnplacedDeny, with(member, orgRole(iam.OrganizationAdmin))), no(ReasonUnplaced)},
		{"members: user reads", UnplacedRead, under(UnplacedMembers, member), yes(ReasonUnplacedMembers)},
		{"members: user writes", UnplacedWrite, under(UnplacedMembers, member), yes(ReasonUnplacedMembers)},
		{"members: viewer seat reads", UnplacedRead, under(UnplacedMembers, viewerSeat), yes(ReasonUnplacedMembers)},
		{"members: viewer seat writes", UnplacedWrite, under(UnplacedMembers, viewerSeat), no(ReasonViewOnlySeat)},
		{"members: no seat reads", UnplacedRead, under(UnplacedMembers, noSeat), yes(ReasonUnplacedMembers)},
		{"members: no seat writes", UnplacedWrite, under(UnplacedMembers, noSeat), no(ReasonNoSeat)},
		{"members: organization viewer writes", UnplacedWrite, under(UnplacedMembers, with(member, orgRole(iam.OrganizationViewer))), no(ReasonViewOnlyOrganization)},
		{"members: organization service account reads", UnplacedRead, under(UnplacedMembers, bot("")), yes(ReasonUnplacedMembers)},
		{"members: organization service account writes", UnplacedWrite, under(UnplacedMembers, bot("")), yes(ReasonUnplacedMembers)},
		{"members: service account of a team reads", UnplacedRead, under(UnplacedMembers, bot(vision)), no(ReasonTeamScope)},
		{"members: service account of a team writes", UnplacedWrite, under(UnplacedMembers, bot(vision)), no(ReasonTeamScope)},
		{"members: other organization", UnplacedRead, under(UnplacedMembers, elsewhere), no(ReasonOtherOrganization)},
		{"members: anonymous", UnplacedRead, under(UnplacedMembers, nil), no(ReasonAnonymous)},
		{"allow: everybody signed in", UnplacedWrite, under(UnplacedAllow, bot(vision)), yes(ReasonUnplacedAllowed)},
		{"allow: anonymous", UnplacedRead, under(UnplacedAllow, nil), no(ReasonAnonymous)},
		{"a policy that does not exist", UnplacedRead, under(7, member), no(ReasonUnplaced)},
	})
}

// TestProducts: each product has a seat of its own (SEAT-1).
func TestProducts(t *testing.T) {
	modelsOnly := with(user(iam.RoleMember), seats(iam.SeatFull, iam.SeatNone))
	weaveOnly := with(user(iam.RoleMember), seats(iam.SeatNone, iam.SeatFull))
	for _, c := range []struct {
		name      string
		product   Product
		principal *iam.Principal
		want      Decision
	}{
		{"models with models", Models, modelsOnly, yes(ReasonTeamMember)},
		{"weave with models", Weave, modelsOnly, no(ReasonNoSeat)},
		{"models with weave", Models, weaveOnly, no(ReasonNoSeat)},
		{"weave with weave", Weave, weaveOnly, yes(ReasonTeamMember)},
		{"a product that does not exist", 2, modelsOnly, no(ReasonUnknownRequest)},
		{"a service account, no seat needed", Weave, bot(vision), yes(ReasonServiceAccount)},
		{"anonymous, a product that does not exist", 2, nil, no(ReasonAnonymous)},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := settings(inVision(c.principal, iam.VisibilityTeam), Settings{AnonymousPublicProjects: true})
			if got := Decide(Request{Permission: RunWrite, Product: c.product}, f); got != c.want {
				t.Errorf("Decide = %v, want %v", got, c.want)
			}
		})
	}
}

// TestZeroFacts: without facts nothing is allowed.
func TestZeroFacts(t *testing.T) {
	for _, p := range append(allPermissions(), "", "project:*") {
		for _, product := range []Product{Models, Weave, 255} {
			if d := Decide(Request{Permission: p, Product: product}, Facts{}); d.Allowed() {
				t.Errorf("%s is allowed on no facts: %v", p, d)
			}
		}
	}
	if (Decision{}).Allowed() {
		t.Error("the zero Decision allows")
	}
}

func TestHidden(t *testing.T) {
	member, outside := user(iam.RoleMember), user("")
	elsewhere := with(member, func(p *iam.Principal) { p.Organization = "globex" })
	inactive := func(p *iam.Principal) { p.Active = false }
	for _, c := range []struct {
		name string
		ask  Permission
		with Facts
		want bool
	}{
		{"allowed", ProjectRead, inVision(member, iam.VisibilityTeam), false},
		{"own organization, Team", ProjectRead, inVision(outside, iam.VisibilityTeam), false},
		{"own organization, Restricted", ProjectRead, inVision(member, iam.VisibilityRestricted), false},
		{"own organization, nothing there", ProjectRead, absent(inVision(outside, iam.VisibilityTeam)), true},
		{"own organization, no entity", EntityRead, Facts{Principal: member, Organization: acme}, true},
		{"service account of another team", RunWrite, inVision(bot(nlp), iam.VisibilityTeam), false},
		{"anonymous, nil", ProjectRead, inVision(nil, iam.VisibilityOpen), true},
		{"anonymous", ProjectRead, inVision(&iam.Principal{}, iam.VisibilityTeam), true},
		{"other organization", ProjectRead, inVision(elsewhere, iam.VisibilityTeam), true},
		{"other organization, Public", RunWrite, inVision(elsewhere, iam.VisibilityPublic), true},
		{"deactivated", ProjectRead, inVision(with(member, inactive), iam.VisibilityTeam), false},
		{"deactivated at another organization", ProjectRead, inVision(with(elsewhere, inactive), iam.VisibilityTeam), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := Hidden(Decide(Request{Permission: c.ask}, c.with), c.with); got != c.want {
				t.Errorf("Hidden = %v, want %v", got, c.want)
			}
		})
	}
}

// TestKeyLimits: what a key takes from its owner, and with which reason. The rest stands in the matrix.
func TestKeyLimits(t *testing.T) {
	const team = iam.VisibilityTeam
	admin := with(user(iam.RoleAdmin), orgRole(iam.OrganizationAdmin))
	both := keyOfProject
	both.ReadOnly = true
	named := func(f Facts, name string) Facts { f.ProjectName = name; return f }
	found := func(f Facts, name string) Facts { f.Project.Name = name; return f }
	elsewhere := func(p *iam.Principal) Facts {
		f := inVision(p, iam.VisibilityOpen)
		f.Entity, f.Project.Entity = &iam.Entity{ID: nlp.Entity(), Name: "nlp"}, nlp.Entity()
		return f
	}
	at := func(l iam.KeyLimits) Facts { return inVision(limited(admin, l), team) }
	run(t, []testCase{
		{"no limits, though there is a record of them", RunWrite, at(iam.KeyLimits{}), yes(ReasonTeamMember)},
		{"reads", ProjectRead, at(keyReads), yes(ReasonTeamMember)},
		{"reads, and writes not", RunWrite, at(keyReads), no(ReasonKeyReadOnly)},
		{"reads, and looks nobody up for SCIM", OrganizationProvision, at(keyReads), no(ReasonKeyReadOnly)},
		{"in its project", RunWrite, at(keyOfProject), yes(ReasonTeamMember)},
		{"in its project, which opens to others", ProjectSetVisibility, at(keyOfProject), yes(ReasonOrganizationAdmin)},
		{"in its project, in other letters", RunWrite, named(at(keyOfProject), "Detector"), no(ReasonKeyScope)},
		{"in what a database takes for its project", RunWrite, found(at(keyOfProject), "Detector"), no(ReasonKeyScope)},
		{"in its project, not there yet", RunWrite, absent(at(keyOfProject)), yes(ReasonCreatesProject)},
		{"in its project, to be made", ProjectCreate, absent(at(keyOfProject)), yes(ReasonCreatesProject)},
		{"another to be made", ProjectCreate, named(absent(at(keyOfProject)), "tracker"), no(ReasonKeyScope)},
		{"without a name", ProjectCreate, named(absent(at(keyOfProject)), ""), no(ReasonKeyScope)},
		{"in a project of that name elsewhere", ProjectRead, elsewhere(limited(admin, keyOfProject)), no(ReasonKeyScope)},
		{"in an open project elsewhere", ProjectRead, elsewhere(limited(admin, keyOfVision)), no(ReasonKeyScope)},
		{"of a place that does not exist, the same", ProjectRead, Facts{Principal: limited(admin, keyOfVision), Organization: acme, ProjectName: "detector"}, no(ReasonKeyScope)},
		{"administers not its team", TeamManage, at(keyOfVision), no(ReasonKeyAdministration)},
		{"nor the organization", OrganizationManage, at(keyOfVision), no(ReasonKeyAdministration)},
		{"makes no teams", TeamCreate, at(keyOfVision), no(ReasonKeyAdministration)},
		{"administers no other team", TeamManage, elsewhere(limited(admin, keyOfVision)), no(ReasonKeyScope)},
		{"expires, and administers", OrganizationManage, at(keyExpires), yes(ReasonOrganizationAdmin)},
		{"expires, and makes no keys", SelfUpdate, at(keyExpires), no(ReasonKeyAdministration)},
		{"expires, and makes no accounts with keys", TeamCreateServiceAcc, at(keyExpires), no(ReasonKeyAdministration)},
		{"of a deleted team, in none", EntityRead, at(keyOfNothing), no(ReasonKeyScope)},
		{"of a deleted team, who am I", SelfRead, at(keyOfNothing), yes(ReasonSelf)},
		{"a project without an entity is none", RunWrite, at(iam.KeyLimits{Project: "detector"}), no(ReasonKeyScope)},
		{"both limits, where neither allows", RunWrite, elsewhere(limited(admin, both)), no(ReasonKeyScope)},
		{"both limits, inside", RunWrite, at(both), no(ReasonKeyReadOnly)},
		{"gives its owner nothing", RunWrite, inVision(limited(user(iam.RoleViewer), keyOfProject), team), no(ReasonViewOnly)},
		{"of a service account of another team", RunWrite, inVision(limited(bot(nlp), keyOfProject), team), no(ReasonTeamScope)},
		{"of somebody deactivated", ProjectRead, inVision(with(limited(admin, keyReads), func(p *iam.Principal) { p.Active = false }), team), no(ReasonDeactivated)},
		{"for what is not known", "run:fly", at(keyReads), no(ReasonUnknownRequest)},
	})
}
