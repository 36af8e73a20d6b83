package authz

import (
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// draw makes up a request and facts from choices: pick(n) returns a number in [0, n). The pools
// are small, so that callers, owners, members and entities meet often, and hold what should not be
// there too: roles that do not exist, ids of no kind, visibilities and seats out of range.
func draw(pick func(int) int) (Request, Facts) {
	permissions := drawPermissions
	q := Request{Permission: permissions[pick(len(permissions))], Product: Product(pick(2))}
	rare := func() bool { return pick(24) == 0 }
	if rare() {
		q.Product = Product(pick(4))
	}
	if rare() {
		q.Permission = "run:fly"
	}
	f := Facts{Organization: acme, Roles: drawRoles, Settings: Settings{
		AnonymousPublicProjects:    pick(2) == 0,
		DisablePersonalEntity:      pick(4) == 0,
		DisableAdminTeamAccess:     pick(3) == 0,
		DisableTeamServiceAccounts: pick(4) == 0,
		AllowUserTeamCreation:      pick(3) == 0,
		Unplaced:                   UnplacedPolicy(pick(3)),
	}}
	f.Team = iam.TeamSettings{Hidden: pick(4) == 0, PrivateProjects: pick(4) == 0, MembersInvite: pick(4) == 0}
	f.Enforced = iam.EnforcedSettings{Hidden: drawSwitch(pick), PrivateProjects: drawSwitch(pick), MembersInvite: drawSwitch(pick)}
	if pick(2) == 0 {
		q.SetsVisibility, q.Visibility = true, iam.Visibility(pick(4))
		if rare() {
			q.Visibility = iam.Visibility(pick(256))
		}
	}
	if rare() {
		f.Organization = ""
	}
	if rare() {
		f.Roles = nil
	}
	if !rare() {
		f.Principal = drawPrincipal(pick, rare)
	}
	if !rare() {
		f.Entity = &iam.Entity{ID: drawEntities[pick(len(drawEntities))], Name: "entity"}
		if rare() {
			f.Entity.ID = [...]iam.EntityID{"", "sa_bot", "prj_1"}[pick(3)]
		}
		if pick(5) > 0 {
			f.Project = drawProject(pick, rare, f.Entity.ID)
			f.ProjectName = f.Project.Name
		}
	} else if rare() {
		f.Project = drawProject(pick, rare, vision.Entity())
	}
	if rare() {
		f.ProjectName = drawNames[pick(len(drawNames))]
	}
	return q, f
}

var (
	drawPermissions = allPermissions()
	drawNames       = []string{"detector", "detector", "Detector", ""}
	drawEntities    = []iam.EntityID{"team_vision", "team_vision", "team_nlp", "usr_alice"}
	drawRefs        = []iam.PrincipalRef{alice.Ref(), bob.Ref(), botID.Ref(), {Kind: iam.KindUser, ID: string(botID)}, {}}
	drawTeamRoles   = []iam.Role{iam.RoleAdmin, iam.RoleMember, iam.RoleViewer, "stopper", "curator", "hopeful", "ghost", "broken", "nil", ""}
	drawSeats       = []iam.Seat{iam.SeatFull, iam.SeatFull, iam.SeatViewer, iam.SeatNone, "", "gold"}
	drawRoles       = map[iam.Role]*iam.CustomRole{
		"stopper": customRoles["stopper"],
		"curator": customRoles["curator"],
		"hopeful": customRoles["hopeful"],
		"broken":  {Name: "broken", Inherits: iam.RoleAdmin, Permissions: []string{"run:delete", "project:update"}},
		"nil":     nil,
		"":        {Name: "", Inherits: iam.RoleMember},
		"admin":   {Name: "admin", Inherits: iam.RoleViewer},
	}
)

// drawSwitch leaves most to the teams.
func drawSwitch(pick func(int) int) iam.Switch {
	return [...]iam.Switch{iam.SwitchUnset, iam.SwitchUnset, iam.SwitchUnset, iam.SwitchUnset, iam.SwitchOn, iam.SwitchOff, 9}[pick(7)]
}

func drawPrincipal(pick func(int) int, rare func() bool) *iam.Principal {
	p := &iam.Principal{Organization: acme, Active: !rare(), FromUpstream: pick(2) == 0}
	if pick(8) == 0 {
		p.Organization = "globex"
	}
	if rare() {
		p.Organization = ""
	}
	switch pick(8) {
	case 0:
		return &iam.Principal{}
	case 1, 2:
		p.Ref = botID.Ref()
		p.Scope.ID = [...]iam.TeamID{"", vision, nlp}[pick(3)]
		if p.Scope.ID != "" || rare() {
			p.Scope.Name = "vision"
		}
	default:
		p.Ref = [...]iam.UserID{alice, alice, bob}[pick(3)].Ref()
		p.Role = [...]iam.OrganizationRole{iam.OrganizationMember, iam.OrganizationMember, iam.OrganizationAdmin, iam.OrganizationViewer}[pick(4)]
		if rare() {
			p.Role = [...]iam.OrganizationRole{"", "owner", "Admin"}[pick(3)]
		}
		p.ModelsSeat, p.WeaveSeat = drawSeats[pick(len(drawSeats))], drawSeats[pick(len(drawSeats))]
		for _, team := range [...]iam.TeamID{vision, nlp} {
			if pick(3) > 0 {
				p.Teams = append(p.Teams, iam.Membership{TeamRef: iam.TeamRef{ID: team}, Role: drawTeamRoles[pick(len(drawTeamRoles))]})
			}
		}
	}
	if pick(4) == 0 {
		p.Limits = drawLimits(pick, rare)
	}
	if rare() {
		p.Ref = iam.PrincipalRef{Kind: iam.PrincipalKind(pick(5)), ID: [...]string{"", "x"}[pick(2)]}
	}
	return p
}

func drawLimits(pick func(int) int, rare func() bool) *iam.KeyLimits {
	l := &iam.KeyLimits{ReadOnly: pick(3) == 0}
	if pick(2) == 0 {
		l.Expires = keyExpires.Expires
	}
	if pick(3) > 0 {
		l.Entity = drawEntities[pick(len(drawEntities))]
	}
	if l.Entity != "" && pick(2) == 0 || rare() {
		l.Project = drawNames[pick(len(drawNames))]
	}
	if rare() {
		l.Entity = "team_deleted"
	}
	return l
}

func drawProject(pick func(int) int, rare func() bool, entity iam.EntityID) *iam.Project {
	p := &iam.Project{ID: "prj_1", Entity: entity, Visibility: iam.Visibility(pick(4)), Owner: drawRefs[pick(len(drawRefs))]}
	p.Name = drawNames[pick(len(drawNames))]
	if rare() {
		p.Visibility = iam.Visibility(pick(256))
	}
	if rare() {
		p.Entity = drawEntities[pick(len(drawEntities))]
	}
	for range pick(4) {
		m := iam.ProjectMember{Principal: drawRefs[pick(len(drawRefs))]}
		if pick(2) == 0 {
			m.Role = drawTeamRoles[pick(len(drawTeamRoles))]
		}
		p.Members = append(p.Members, m)
	}
	return p
}

// describe prints facts for a failed test.
func describe(f Facts) string {
	return fmt.Sprintf("principal %+v\nlimits %+v\norganization %q entity %+v\nproject %+v\nsettings %+v team %+v enforced %+v\nproject named %q", f.Principal, limitsOf(f.Principal), f.Organization, f.Entity, f.Project, f.Settings, f.Team, f.Enforced, f.ProjectName)
}

func limitsOf(p *iam.Principal) any {
	if p == nil || p.Limits == nil {
		return "none"
	}
	return *p.Limits
}
