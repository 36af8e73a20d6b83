package authz

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

var update = flag.Bool("update", false, "rewrite the goldens and docs/permissions.md")

const (
	matrixGolden    = "testdata/matrix.golden"
	decisionsGolden = "testdata/decisions.golden"
	manualPage      = "../docs/permissions.md"
	manualBegin     = "<!-- begin: authz/testdata/matrix.golden (go test ./authz -update) -->\n"
	manualEnd       = "<!-- end -->\n"
)

// TestMatrix prints every decision there is about vision/detector, alice/scratch and the
// organization. testdata/matrix.golden is for people and part of the manual page;
// testdata/decisions.golden has every single decision with its reason.
func TestMatrix(t *testing.T) {
	var m matrix
	m.projects()
	m.personal()
	m.entities()
	m.organization()
	m.teamSettings()
	m.switches()
	m.keys()
	m.reasons()
	golden(t, matrixGolden, m.page.String())
	golden(t, decisionsGolden, m.lines.String())
	manual(t, m.page.String())
}

// golden compares text with a file, or rewrites the file.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs at %s\nif that is meant, run: go test ./authz -update", path, firstDifference(got, string(want)))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\n got: %s\nwant: %s", i+1, g[i], w[i])
		}
	}
	return fmt.Sprintf("its end: %d lines, want %d", len(g), len(w))
}

// manual keeps the manual page in step: its middle is the matrix.
func manual(t *testing.T, page string) {
	t.Helper()
	b, err := os.ReadFile(manualPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(b), manualBegin)
	_, after, found := strings.Cut(rest, manualEnd)
	if !ok || !found {
		t.Fatalf("%s lacks the lines %q and %q", manualPage, manualBegin, manualEnd)
	}
	golden(t, manualPage, before+manualBegin+page+manualEnd+after)
}

// actor is a row: somebody, and their place in the project.
type actor struct {
	name   string
	facts  func(iam.Visibility) Facts
	placed bool // has a place in the project: a row of the project tables only
}

var visibilityTitles = map[iam.Visibility]string{
	iam.VisibilityOpen: "Open", iam.VisibilityPublic: "Public", iam.VisibilityTeam: "Team", iam.VisibilityRestricted: "Restricted",
}

// actors are the rows of the project tables.
func actors() []actor {
	viewer, member, admin, outside := user(iam.RoleViewer), user(iam.RoleMember), user(iam.RoleAdmin), user("")
	plain := func(p *iam.Principal, members ...iam.ProjectMember) func(iam.Visibility) Facts {
		return func(v iam.Visibility) Facts { return inVision(p, v, members...) }
	}
	asOwner := func(p *iam.Principal) func(iam.Visibility) Facts {
		return func(v iam.Visibility) Facts { return owned(inVision(p, v), p.Ref) }
	}
	return []actor{
		{name: "no credential", facts: plain(nil)},
		{name: "no credential, anonymous viewing on", facts: func(v iam.Visibility) Facts {
			return settings(inVision(nil, v), Settings{AnonymousPublicProjects: true})
		}},
		{name: "person of another organization", facts: plain(with(member, func(p *iam.Principal) { p.Organization = "globex" }))},
		{name: "organization member outside the team", facts: plain(outside)},
		{name: "organization admin outside the team", facts: plain(with(outside, orgRole(iam.OrganizationAdmin)))},
		{name: "organization viewer outside the team", facts: plain(with(outside, orgRole(iam.OrganizationViewer)))},
		{name: "View-Only", facts: plain(viewer)},
		{name: "Member", facts: plain(member)},
		{name: "Admin", facts: plain(admin)},
		{name: "custom role viewer + run:stop", facts: plain(user("stopper"))},
		{name: "custom role member + project:update", facts: plain(user("curator"))},
		{name: "a role that no longer exists", facts: plain(user("ghost"))},
		{name: "organization viewer, team Admin", facts: plain(with(admin, orgRole(iam.OrganizationViewer)))},
		{name: "organization admin, team Member", facts: plain(with(member, orgRole(iam.OrganizationAdmin)))},
		{name: "Member, Models seat viewer", facts: plain(with(member, seats(iam.SeatViewer, iam.SeatFull)))},
		{name: "Member, no Models seat", facts: plain(with(member, seats(iam.SeatNone, iam.SeatFull)))},
		{name: "service account of the organization", facts: plain(bot(""))},
		{name: "service account of the team", facts: plain(bot(vision))},
		{name: "service account of another team", facts: plain(bot(nlp))},
		{name: "team Admin, deactivated", facts: plain(with(admin, func(p *iam.Principal) { p.Active = false }))},
		{name: "View-Only, invited", facts: plain(viewer, invited(viewer)), placed: true},
		{name: "Member, invited", facts: plain(member, invited(member)), placed: true},
		{name: "Admin, invited", facts: plain(admin, invited(admin)), placed: true},
		{name: "Member, project role viewer", facts: plain(member, withRole(member, iam.RoleViewer)), placed: true},
		{name: "Member, project role admin", facts: plain(member, withRole(member, iam.RoleAdmin)), placed: true},
		{name: "View-Only, project role admin", facts: plain(viewer, withRole(viewer, iam.RoleAdmin)), placed: true},
		{name: "custom role viewer + run:stop, invited", facts: plain(user("stopper"), invited(member)), placed: true},
		{name: "Member who owns the project", facts: asOwner(member), placed: true},
		{name: "View-Only who owns the project", facts: asOwner(viewer), placed: true},
		{name: "owner who left the team", facts: asOwner(outside), placed: true},
		{name: "organization admin outside, on the list", facts: plain(with(outside, orgRole(iam.OrganizationAdmin)), invited(outside)), placed: true},
		{name: "service account of the organization, invited", facts: plain(bot(""), invited(bot(""))), placed: true},
		{name: "service account of the team, invited", facts: plain(bot(vision), invited(bot(vision))), placed: true},
		{name: "service account of another team, on the list", facts: plain(bot(nlp), invited(bot(nlp))), placed: true},
	}
}

// matrix is the page in the making.
type matrix struct {
	page  strings.Builder
	lines strings.Builder
	notes []iam.Reason
}

// cell decides and returns what stands in the table: yes, or no with the number of the reason.
func (m *matrix) cell(what string, q Request, f Facts) string {
	d := Decide(q, f)
	effect := "deny"
	if d.Allowed() {
		effect = "allow"
	}
	fmt.Fprintf(&m.lines, "%s | %s | %s %s\n", what, q.Permission, effect, d.Reason)
	if d.Allowed() {
		return "**yes**"
	}
	for i, r := range m.notes {
		if r == d.Reason {
			return fmt.Sprintf("no %d", i+1)
		}
	}
	m.notes = append(m.notes, d.Reason)
	return fmt.Sprintf("no %d", len(m.notes))
}

func (m *matrix) title(s, text string) { fmt.Fprintf(&m.page, "\n### %s\n\n%s\n", s, text) }

func (m *matrix) header(first string, columns ...string) {
	fmt.Fprintf(&m.page, "\n| %s | %s |\n|---|%s\n", first, strings.Join(columns, " | "), strings.Repeat("---|", len(columns)))
}

func (m *matrix) row(first string, cells ...string) {
	fmt.Fprintf(&m.page, "| %s | %s |\n", first, strings.Join(cells, " | "))
}

func permissionNames(permissions []Permission) []string {
	var names []string
	for _, p := range permissions {
		names = append(names, "`"+string(p)+"`")
	}
	return names
}

// table prints one row of decisions for each actor.
func (m *matrix) table(where string, permissions []Permission, rows []actor, facts func(actor) Facts) {
	m.header("who", permissionNames(permissions)...)
	for _, a := range rows {
		var cells []string
		for _, p := range permissions {
			cells = append(cells, m.cell(where+" | "+a.name, Request{Permission: p}, facts(a)))
		}
		m.row(a.name, cells...)
	}
}

func (m *matrix) projects() {
	texts := map[iam.Visibility]string{
		iam.VisibilityOpen:       "Whoever is signed in views and submits.",
		iam.VisibilityPublic:     "Whoever is signed in views; the team submits.",
		iam.VisibilityTeam:       "The team, and nobody else.",
		iam.VisibilityRestricted: "Invited members of the team, and its owner while in the team.",
	}
	for _, v := range visibilities {
		name := v.String()
		m.title("Project visibility: "+visibilityTitles[v], texts[v])
		m.table(name, projectPermissions, actors(), func(a actor) Facts { return a.facts(v) })
	}
	m.title("A project that does not exist", "Who would see a Team project may learn that it is missing, and the server tells them; who may create it creates it by the first run.")
	m.table("absent", projectPermissions, firstActors(), func(a actor) Facts { return absent(a.facts(iam.VisibilityTeam)) })
}

// firstActors are the actors without a place in the project.
func firstActors() []actor {
	var first []actor
	for _, a := range actors() {
		if !a.placed {
			first = append(first, a)
		}
	}
	return first
}

func (m *matrix) personal() {
	owner := user("")
	other := with(owner, func(p *iam.Principal) { p.Ref = bob.Ref() })
	people := []struct {
		name      string
		principal *iam.Principal
		settings  Settings
	}{
		{"owner", owner, Settings{}},
		{"owner, personal entities off", owner, Settings{DisablePersonalEntity: true}},
		{"owner, organization viewer", with(owner, orgRole(iam.OrganizationViewer)), Settings{}},
		{"organization member", other, Settings{}},
		{"organization member, personal entities off", other, Settings{DisablePersonalEntity: true}},
		{"organization admin", with(other, orgRole(iam.OrganizationAdmin)), Settings{}},
		{"service account of the organization", bot(""), Settings{}},
		{"service account of a team", bot(vision), Settings{}},
	}
	m.title("A project in a personal entity", "The owner of the entity acts as its admin. An invitation does not open it to others.")
	for _, v := range visibilities {
		var rows []actor
		for _, p := range people {
			rows = append(rows, actor{name: p.name, facts: func(v iam.Visibility) Facts {
				return settings(inPersonal(p.principal, v, invited(p.principal)), p.settings)
			}})
		}
		fmt.Fprintf(&m.page, "\n%s:\n", visibilityTitles[v])
		m.table("personal "+v.String(), projectPermissions, rows, func(a actor) Facts { return a.facts(v) })
	}
	m.title("A personal entity", "What is not about one project in it.")
	var rows []actor
	for _, p := range people {
		rows = append(rows, actor{name: p.name, facts: func(v iam.Visibility) Facts {
			return settings(absent(inPersonal(p.principal, v)), p.settings)
		}})
	}
	m.table("personal entity", entityPermissions, rows, func(a actor) Facts { return a.facts(iam.VisibilityTeam) })
}

func (m *matrix) entities() {
	m.title("A team", "Writing needs a seat; reading names and members does not, and administration neither.")
	m.table("team", entityPermissions, firstActors(), func(a actor) Facts { return absent(a.facts(iam.VisibilityTeam)) })
}

func (m *matrix) organization() {
	wanted := map[string]bool{
		"no credential": true, "person of another organization": true, "organization member outside the team": true,
		"organization admin outside the team": true, "organization viewer outside the team": true,
		"Member, Models seat viewer": true, "Member, no Models seat": true, "service account of the organization": true,
		"service account of the team": true, "team Admin, deactivated": true,
	}
	var rows []actor
	for _, a := range actors() {
		if wanted[a.name] {
			a.name = strings.TrimSuffix(a.name, " outside the team")
			rows = append(rows, a)
		}
	}
	nowhere := func(u UnplacedPolicy) func(actor) Facts {
		return func(a actor) Facts {
			f := a.facts(iam.VisibilityTeam)
			f.Entity, f.Project, f.Settings.Unplaced = nil, nil, u
			return f
		}
	}
	m.title("The organization, the server and oneself", "What is not about a project or an entity.")
	m.table("organization", otherPermissions[:7], rows, nowhere(UnplacedDeny))
	m.title("What cannot be tied to a project", "The setting `unplaced` decides.")
	for _, u := range []struct {
		name   string
		policy UnplacedPolicy
	}{{"deny", UnplacedDeny}, {"members", UnplacedMembers}, {"allow", UnplacedAllow}} {
		fmt.Fprintf(&m.page, "\n`unplaced %s`:\n", u.name)
		m.table("unplaced "+u.name, otherPermissions[7:], rows, nowhere(u.policy))
	}
}

// teamSettings prints what the settings of a team change, and what the organization enforces.
func (m *matrix) teamSettings() {
	m.title("Settings of a team", "What `iam team set` changes, beside what stands above. The organization can decide each of the first three for all teams (`iam organization set`).")
	m.hiddenTeam()
	m.invitations()
	m.privateProjects()
}

func (m *matrix) hiddenTeam() {
	fmt.Fprint(&m.page, "\n`--hidden on`: everybody else is answered as if the team did not exist. What it has opened stays open to whoever knows of it, and is in no list.\n")
	hidden := func(f Facts) Facts { f.Team.Hidden = true; return f }
	m.header("who", "`entity:read`", "`team:join`", "`project:read`, Team", "`project:read`, Open", "`run:delete`, Open", "in a list, Open")
	for _, a := range firstActors() {
		if a.name == "a role that no longer exists" || strings.HasPrefix(a.name, "custom role") || strings.Contains(a.name, "seat") || strings.Contains(a.name, "Models") {
			continue // as without the setting
		}
		where := "hidden | " + a.name
		listed := "no"
		if Listed(hidden(a.facts(iam.VisibilityOpen))) {
			listed = "**yes**"
		}
		m.row(a.name,
			m.cell(where, Request{Permission: EntityRead}, hidden(absent(a.facts(iam.VisibilityTeam)))),
			m.cell(where, Request{Permission: TeamJoin}, hidden(absent(a.facts(iam.VisibilityTeam)))),
			m.cell(where+" | team", Request{Permission: ProjectRead}, hidden(a.facts(iam.VisibilityTeam))),
			m.cell(where+" | open", Request{Permission: ProjectRead}, hidden(a.facts(iam.VisibilityOpen))),
			m.cell(where+" | open", Request{Permission: RunDelete}, hidden(a.facts(iam.VisibilityOpen))), listed)
	}
}

func (m *matrix) invitations() {
	fmt.Fprint(&m.page, "\n`--members-invite on`: Members add others as Members. They change no role and take nobody out.\n")
	m.header("who", "`team:invite`, off", "`team:invite`, on", "`team:manage`, on")
	for _, a := range firstActors() {
		off := absent(a.facts(iam.VisibilityTeam))
		on := changed(off, func(f *Facts) { f.Team.MembersInvite = true })
		m.row(a.name, m.cell("invite off | "+a.name, Request{Permission: TeamInvite}, off),
			m.cell("invite on | "+a.name, Request{Permission: TeamInvite}, on), m.cell("invite on | "+a.name, Request{Permission: TeamManage}, on))
	}
}

func (m *matrix) privateProjects() {
	fmt.Fprint(&m.page, "\nWhat a team Admin makes of a project. `--private-projects on`: none becomes Open or Public, and one that is stays.\n")
	m.header("the project is", "to become", "off", "on", "enforced by the organization")
	admin := user(iam.RoleAdmin)
	for _, was := range append(visibilities, iam.Visibility(255)) {
		f, ask, title := inVision(admin, was), ProjectSetVisibility, visibilityTitles[was]
		if was == 255 {
			f, ask, title = absent(f), ProjectCreate, "new"
		}
		on := changed(f, func(f *Facts) { f.Team.PrivateProjects = true })
		enforced := changed(f, func(f *Facts) { f.Enforced.PrivateProjects = iam.SwitchOn })
		for _, v := range visibilities {
			q := Request{Permission: ask, SetsVisibility: true, Visibility: v}
			where := title + " to " + v.String()
			m.row(title, visibilityTitles[v], m.cell("private off | "+where, q, f), m.cell("private on | "+where, q, on), m.cell("private enforced | "+where, q, enforced))
		}
	}
}

func (m *matrix) switches() {
	orgAdmin := with(user(""), orgRole(iam.OrganizationAdmin))
	m.title("Switches", "What a setting of the deployment changes, beside those above.")
	m.header("setting", "who", "permission", "off", "on")
	for _, s := range []struct {
		name      string
		settings  Settings
		who       string
		principal *iam.Principal
		ask       Permission
	}{
		{"`GORILLA_ALLOW_USER_TEAM_CREATION`", Settings{AllowUserTeamCreation: true}, "organization member", user(""), TeamCreate},
		{"`GORILLA_ALLOW_USER_TEAM_CREATION`", Settings{AllowUserTeamCreation: true}, "service account of the organization", bot(""), TeamCreate},
		{"`GORILLA_DISABLE_ADMIN_TEAM_ACCESS`", Settings{DisableAdminTeamAccess: true}, "organization admin outside the team", orgAdmin, TeamJoin},
		{"`GORILLA_DISABLE_ADMIN_TEAM_ACCESS`", Settings{DisableAdminTeamAccess: true}, "organization admin outside the team", orgAdmin, TeamCreateServiceAcc},
		{"`GORILLA_DISABLE_ADMIN_TEAM_ACCESS`", Settings{DisableAdminTeamAccess: true}, "organization admin outside the team", orgAdmin, TeamManage},
		{"`GORILLA_DISABLE_TEAM_SERVICE_ACCOUNT_CREATION`", Settings{DisableTeamServiceAccounts: true}, "Admin", user(iam.RoleAdmin), TeamCreateServiceAcc},
	} {
		f := absent(inVision(s.principal, iam.VisibilityTeam))
		m.row(s.name, s.who, "`"+string(s.ask)+"`",
			m.cell("off "+s.name+" | "+s.who, Request{Permission: s.ask}, f),
			m.cell("on "+s.name+" | "+s.who, Request{Permission: s.ask}, settings(f, s.settings)))
	}
}

// keys prints what keys with limits may: all are an administrator's, who may do everything without.
func (m *matrix) keys() {
	boss := with(user(iam.RoleAdmin), orgRole(iam.OrganizationAdmin))
	var rows []actor
	for _, k := range []struct {
		name   string
		limits iam.KeyLimits
	}{
		{"`--read-only`", keyReads},
		{"`--entity vision`", keyOfVision},
		{"`--project vision/detector`", keyOfProject},
		{"`--entity` of a team that was deleted", keyOfNothing},
		{"`--expires`, until then", keyExpires},
	} {
		rows = append(rows, actor{name: k.name, facts: func(v iam.Visibility) Facts { return inVision(limited(boss, k.limits), v) }})
	}
	at := func(entity iam.TeamID, project string) func(actor) Facts {
		return func(a actor) Facts {
			f := a.facts(iam.VisibilityTeam)
			f.Entity = &iam.Entity{ID: entity.Entity(), Name: "there"}
			f.Project.Entity, f.Project.Name, f.Project.Owner, f.ProjectName = f.Entity.ID, project, alice.Ref(), project
			f.Principal = with(f.Principal, func(p *iam.Principal) {
				p.Teams = []iam.Membership{{TeamRef: iam.TeamRef{ID: entity, Name: "there"}, Role: iam.RoleAdmin}}
			})
			f.Settings.Unplaced = UnplacedAllow
			return f
		}
	}
	m.title("API keys with limits", "What a key of `iam key create` with these options may, whose owner is an organization admin, the admin of both teams, and the project's owner. "+
		"What the owner may not do, none of them may.")
	for _, place := range []struct {
		name        string
		permissions []Permission
		facts       func(actor) Facts
	}{
		{"The project vision/detector", projectPermissions, at(vision, "detector")},
		{"Another project of the team vision", projectPermissions, at(vision, "tracker")},
		{"The team vision", entityPermissions, func(a actor) Facts { f := at(vision, "")(a); f.Project = nil; return f }},
		{"Another team, and what is in it", append(append([]Permission{}, projectPermissions[:2]...), entityPermissions...), at(nlp, "detector")},
		{"The organization, the server, oneself, and with `unplaced allow` what cannot be tied to a project", otherPermissions, func(a actor) Facts { f := at(vision, "")(a); f.Entity, f.Project = nil, nil; return f }},
	} {
		fmt.Fprintf(&m.page, "\n%s:\n", place.name)
		m.table("keys, "+place.name, place.permissions, rows, place.facts)
	}
}

// reasons prints what the numbers stand for, and what people read.
func (m *matrix) reasons() {
	m.title("The reasons", "The numbers above, with the code that answers, logs and audit events carry, and the sentence that the caller reads.")
	m.header("", "code", "sentence")
	service := map[iam.Reason]bool{ReasonTeamScope: true, ReasonRestrictedProjectNotInvited: true, ReasonServiceAccountSelfManagement: true}
	for i, r := range m.notes {
		n := Names{Principal: "alice", Kind: iam.KindUser, Entity: "vision", Project: "detector"}
		if service[r] {
			n.Principal, n.Kind, n.Team = "ci-train", iam.KindServiceAccount, "nlp"
		}
		if r == ReasonPersonalEntity || r == ReasonNotATeam {
			n.Entity = "bob"
		}
		if r == ReasonKeyScope {
			n.KeyScope = "nlp/detector"
		}
		m.row(fmt.Sprint(i+1), "`"+string(r)+"`", Sentence(r, n))
	}
}
