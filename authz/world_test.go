package authz

import (
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The world of the tests: the organization acme with the teams vision and nlp. The project
// vision/detector is what most requests are about.
const (
	acme   = "acme"
	vision = iam.TeamID("team_vision")
	nlp    = iam.TeamID("team_nlp")
	alice  = iam.UserID("usr_alice")
	bob    = iam.UserID("usr_bob")
	botID  = iam.ServiceAccountID("sa_bot")
)

var (
	projectPermissions = []Permission{
		ProjectRead, RunWrite, RunStop, RunDelete, RunMove, ReportCreate, ReportUpdate,
		ProjectUpdate, ProjectDelete, ProjectSetVisibility, ProjectManageMembers,
	}
	entityPermissions = []Permission{
		EntityRead, EntityWrite, ProjectCreate, TeamReadMembers, TeamManage, TeamInvite, TeamCreateServiceAcc, TeamJoin,
	}
	otherPermissions = []Permission{
		OrganizationRead, OrganizationManage, OrganizationProvision, TeamCreate,
		ServerRead, SelfRead, SelfUpdate, UnplacedRead, UnplacedWrite,
	}
	visibilities = []iam.Visibility{
		iam.VisibilityOpen, iam.VisibilityPublic, iam.VisibilityTeam, iam.VisibilityRestricted,
	}
	customRoles = map[iam.Role]*iam.CustomRole{
		"stopper": {Name: "stopper", Inherits: iam.RoleViewer, Permissions: []string{"run:stop"}},
		"curator": {Name: "curator", Inherits: iam.RoleMember, Permissions: []string{"project:update", "launchagent:read"}},
		// Names that are well-formed and without effect here (ROLE-7).
		"hopeful": {Name: "hopeful", Inherits: iam.RoleViewer, Permissions: []string{"run:write", "project:delete", "project:set_visibility", "report:create", "team:manage"}},
	}
)

func allPermissions() []Permission {
	var all []Permission
	all = append(all, projectPermissions...)
	all = append(all, entityPermissions...)
	return append(all, otherPermissions...)
}

// user returns a member of the organization with full seats, in the team vision with that role
// ("": not in it).
func user(role iam.Role) *iam.Principal {
	p := &iam.Principal{
		Ref: alice.Ref(), Organization: acme, Username: "alice", Active: true,
		Role: iam.OrganizationMember, ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull,
	}
	if role != "" {
		p.Teams = []iam.Membership{{TeamRef: iam.TeamRef{ID: vision, Name: "vision"}, Role: role}}
	}
	return p
}

// bot returns a service account of the team, or of the organization ("").
func bot(team iam.TeamID) *iam.Principal {
	return &iam.Principal{
		Ref: botID.Ref(), Organization: acme, Username: "ci-train", Active: true,
		Scope: iam.TeamRef{ID: team},
	}
}

// with returns a changed copy of the principal.
func with(p *iam.Principal, change func(*iam.Principal)) *iam.Principal {
	c := *p
	change(&c)
	return &c
}

func orgRole(r iam.OrganizationRole) func(*iam.Principal) {
	return func(p *iam.Principal) { p.Role = r }
}

func seats(models, weave iam.Seat) func(*iam.Principal) {
	return func(p *iam.Principal) { p.ModelsSeat, p.WeaveSeat = models, weave }
}

// limited returns the principal as an API key with limits stands for it.
func limited(p *iam.Principal, l iam.KeyLimits) *iam.Principal {
	return with(p, func(p *iam.Principal) { p.Limits = &l })
}

// The keys with limits that the tests know.
var (
	keyReads     = iam.KeyLimits{ReadOnly: true}
	keyOfVision  = iam.KeyLimits{Entity: vision.Entity(), EntityName: "vision"}
	keyOfProject = iam.KeyLimits{Entity: vision.Entity(), EntityName: "vision", Project: "detector"}
	keyOfNothing = iam.KeyLimits{Entity: "team_deleted"}
	keyExpires   = iam.KeyLimits{Expires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}
)

// inVision returns the facts about the principal and the project vision/detector.
func inVision(p *iam.Principal, v iam.Visibility, members ...iam.ProjectMember) Facts {
	entity := &iam.Entity{ID: vision.Entity(), Name: "vision"}
	return Facts{
		Principal: p, Organization: acme, Entity: entity, Roles: customRoles,
		Project: &iam.Project{
			ID: "prj_1", Entity: entity.ID, Name: "detector", Visibility: v,
			Owner: bob.Ref(), Members: members,
		},
		ProjectName: "detector",
	}
}

// inPersonal returns the facts about the principal and alice's own project alice/scratch.
func inPersonal(p *iam.Principal, v iam.Visibility, members ...iam.ProjectMember) Facts {
	f := inVision(p, v, members...)
	f.Entity = &iam.Entity{ID: alice.PersonalEntity(), Name: "alice"}
	f.Project.Entity, f.Project.Owner, f.Project.Name, f.ProjectName = f.Entity.ID, alice.Ref(), "scratch", "scratch"
	return f
}

// invited is a place in the project without a role of its own; withRole one with.
func invited(p *iam.Principal) iam.ProjectMember { return iam.ProjectMember{Principal: p.Ref} }

func withRole(p *iam.Principal, r iam.Role) iam.ProjectMember {
	return iam.ProjectMember{Principal: p.Ref, Role: r}
}
