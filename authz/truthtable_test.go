package authz

import (
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// TestTruthTable is table 6.6 of iam.md, written down by hand: V view, R submit runs, P create
// report, for each visibility; "-" is none of them. It is the oracle for the rules and shares
// nothing with them.
func TestTruthTable(t *testing.T) {
	member := user(iam.RoleMember)
	outside := user("")
	orgAdmin := with(outside, orgRole(iam.OrganizationAdmin))
	elsewhere := with(member, func(p *iam.Principal) { p.Organization = "globex" })
	elsewhereNoSeat := with(elsewhere, func(p *iam.Principal) { p.Role, p.ModelsSeat, p.Teams = "", "", nil })
	orgAdminJoined := with(member, orgRole(iam.OrganizationAdmin))
	external := bot(vision) // an external service account differs in how it signs in only

	rows := []struct {
		actor     string
		principal *iam.Principal
		member    *iam.ProjectMember
		settings  Settings
		want      string // Open, Public, Team, Restricted
	}{
		{actor: "anonymous", want: "- - - -"},
		{actor: "anonymous, switch on", settings: Settings{AnonymousPublicProjects: true}, want: "V V - -"},
		{actor: "anonymous, every other switch on", settings: Settings{AllowUserTeamCreation: true, Unplaced: UnplacedAllow}, want: "- - - -"},
		{actor: "other organization", principal: elsewhere, want: "VRP V - -"},
		{actor: "other organization, invited", principal: elsewhere, member: &iam.ProjectMember{Principal: alice.Ref()}, want: "VRP V - -"},
		{actor: "other organization, nothing known", principal: elsewhereNoSeat, want: "VRP V - -"},
		{actor: "organization member outside the team", principal: outside, want: "VRP V - -"},
		{actor: "organization member outside the team, on the list", principal: outside, member: &iam.ProjectMember{Principal: alice.Ref(), Role: iam.RoleAdmin}, want: "VRP V - -"},
		{actor: "View-Only", principal: user(iam.RoleViewer), want: "V V V -"},
		{actor: "View-Only, invited", principal: user(iam.RoleViewer), member: &iam.ProjectMember{Principal: alice.Ref()}, want: "V V V V"},
		{actor: "View-Only, sticky project role admin", principal: user(iam.RoleViewer), member: &iam.ProjectMember{Principal: alice.Ref(), Role: iam.RoleAdmin}, want: "V V V V"},
		{actor: "Member", principal: member, want: "VRP VRP VRP -"},
		{actor: "Admin", principal: user(iam.RoleAdmin), want: "VRP VRP VRP -"},
		{actor: "Member, invited", principal: member, member: &iam.ProjectMember{Principal: alice.Ref()}, want: "VRP VRP VRP VRP"},
		{actor: "Admin, invited", principal: user(iam.RoleAdmin), member: &iam.ProjectMember{Principal: alice.Ref()}, want: "VRP VRP VRP VRP"},
		{actor: "Member, project role viewer", principal: member, member: &iam.ProjectMember{Principal: alice.Ref(), Role: iam.RoleViewer}, want: "VRP VRP V V"},
		{actor: "Admin, project role viewer", principal: user(iam.RoleAdmin), member: &iam.ProjectMember{Principal: alice.Ref(), Role: iam.RoleViewer}, want: "VRP VRP V V"},
		{actor: "Member, custom project role on viewer", principal: member, member: &iam.ProjectMember{Principal: alice.Ref(), Role: "stopper"}, want: "VRP VRP V V"},
		{actor: "Member, project role that does not exist", principal: member, member: &iam.ProjectMember{Principal: alice.Ref(), Role: "ghost"}, want: "VRP VRP - -"},
		{actor: "custom role on viewer", principal: user("stopper"), want: "V V V -"},
		{actor: "custom role on viewer, project role member", principal: user("stopper"), member: &iam.ProjectMember{Principal: alice.Ref(), Role: iam.RoleMember}, want: "V V VRP VRP"},
		{actor: "custom role on member", principal: user("curator"), want: "VRP VRP VRP -"},
		{actor: "custom role on member, invited", principal: user("curator"), member: &iam.ProjectMember{Principal: alice.Ref()}, want: "VRP VRP VRP VRP"},
		{actor: "role that does not exist", principal: user("ghost"), want: "V V - -"},
		{actor: "role that does not exist, project role member", principal: user("ghost"), member: &iam.ProjectMember{Principal: alice.Ref(), Role: iam.RoleMember}, want: "V V - -"},
		{actor: "organization admin outside the team", principal: orgAdmin, want: "VRP V - -"},
		{actor: "organization admin outside the team, on the list", principal: orgAdmin, member: &iam.ProjectMember{Principal: alice.Ref()}, want: "VRP V - -"},
		{actor: "organization admin, joined", principal: orgAdminJoined, want: "VRP VRP VRP -"},
		{actor: "organization admin, joined as View-Only", principal: with(user(iam.RoleViewer), orgRole(iam.OrganizationAdmin)), want: "V V V -"},
		{actor: "organization viewer outside the team", principal: with(outside, orgRole(iam.OrganizationViewer)), want: "V V - -"},
		{actor: "organization viewer as team admin", principal: with(user(iam.RoleAdmin), orgRole(iam.OrganizationViewer)), want: "V V V -"},
		{actor: "no organization role", principal: with(member, orgRole("")), want: "- - - -"},
		{actor: "organization service account", principal: bot(""), want: "VRP VRP VRP -"},
		{actor: "organization service account, invited", principal: bot(""), member: &iam.ProjectMember{Principal: botID.Ref()}, want: "VRP VRP VRP VRP"},
		{actor: "organization service account, invited as viewer", principal: bot(""), member: &iam.ProjectMember{Principal: botID.Ref(), Role: iam.RoleViewer}, want: "VRP VRP V V"},
		{actor: "service account of the team", principal: bot(vision), want: "VRP VRP VRP -"},
		{actor: "service account of the team, invited", principal: bot(vision), member: &iam.ProjectMember{Principal: botID.Ref()}, want: "VRP VRP VRP VRP"},
		{actor: "service account of the team, custom project role", principal: bot(vision), member: &iam.ProjectMember{Principal: botID.Ref(), Role: "curator"}, want: "VRP VRP - -"},
		{actor: "service account of another team", principal: bot(nlp), want: "VRP V - -"},
		{actor: "service account of another team, on the list", principal: bot(nlp), member: &iam.ProjectMember{Principal: botID.Ref(), Role: iam.RoleAdmin}, want: "VRP V - -"},
		{actor: "external service account", principal: external, want: "VRP VRP VRP -"},
		{actor: "seat viewer", principal: with(member, seats(iam.SeatViewer, iam.SeatFull)), want: "V V V -"},
		{actor: "seat viewer outside the team", principal: with(outside, seats(iam.SeatViewer, iam.SeatFull)), want: "V V - -"},
		{actor: "no seat", principal: with(member, seats(iam.SeatNone, iam.SeatFull)), want: "- - - -"},
		{actor: "seat empty", principal: with(member, seats("", iam.SeatFull)), want: "- - - -"},
		{actor: "seat of another product", principal: with(member, seats(iam.SeatFull, iam.SeatNone)), want: "VRP VRP VRP -"},
		{actor: "deactivated member", principal: with(member, func(p *iam.Principal) { p.Active = false }), want: "- - - -"},
		{actor: "deactivated service account", principal: with(bot(""), func(p *iam.Principal) { p.Active = false }), want: "- - - -"},
	}
	for _, row := range rows {
		t.Run(row.actor, func(t *testing.T) {
			var got []string
			for _, v := range visibilities {
				f := inVision(row.principal, v)
				f.Settings = row.settings
				if row.member != nil {
					f.Project.Members = []iam.ProjectMember{{Principal: bob.Ref()}, *row.member}
				}
				got = append(got, letters(f, Models))
			}
			if s := strings.Join(got, " "); s != row.want {
				t.Errorf("Open Public Team Restricted = %q, want %q", s, row.want)
			}
		})
	}
}

// letters returns what the facts allow of view, run and report.
func letters(f Facts, product Product) string {
	s := ""
	for _, x := range []struct {
		letter     string
		permission Permission
	}{{"V", ProjectRead}, {"R", RunWrite}, {"P", ReportCreate}} {
		if Decide(Request{Permission: x.permission, Product: product}, f).Allowed() {
			s += x.letter
		}
	}
	if s == "" {
		return "-"
	}
	return s
}
