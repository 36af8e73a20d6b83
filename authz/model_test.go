package authz

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// model is the rules once more, written another way: who somebody is becomes a set of letters per
// visibility, and each permission asks for a letter. It says yes or no, not why.
//
//	v view  r run:write  s stop  d delete  m move  p create report  e edit report  U update  D delete project
func model(q Request, f Facts) bool {
	p := f.Principal
	placed := f.Entity != nil && (strings.HasPrefix(string(f.Entity.ID), "team_") || strings.HasPrefix(string(f.Entity.ID), "usr_"))
	there := placed && f.Project != nil && f.Project.Entity == f.Entity.ID
	if p == nil || p.Ref.Kind == iam.Anonymous {
		return q.Permission == ProjectRead && q.Product <= Weave && there && f.Settings.AnonymousPublicProjects &&
			(f.Project.Visibility == iam.VisibilityOpen || f.Project.Visibility == iam.VisibilityPublic)
	}
	human, machine := p.Ref.Kind == iam.KindUser, p.Ref.Kind == iam.KindServiceAccount
	if !keyModel(q, f) {
		return false
	}
	home := f.Organization != "" && f.Organization == p.Organization
	citizen := human && home
	boss, reader := citizen && p.Role == "admin", citizen && p.Role == "viewer"
	if !human && !machine || p.Ref.ID == "" || !p.Active || q.Product > Weave || citizen && !boss && !reader && p.Role != "member" {
		return false
	}
	orgBot := machine && home && p.Scope.ID+iam.TeamID(p.Scope.Name) == ""
	seat := iam.SeatFull
	if citizen {
		seat = []iam.Seat{p.ModelsSeat, p.WeaveSeat}[q.Product]
	}

	// What the caller holds in the entity: a role, or "out".
	held, mine := "out", false
	if placed && home {
		id := string(f.Entity.ID)
		switch {
		case human && id == p.Ref.ID:
			held, mine = "admin", true
		case machine && strings.HasPrefix(id, "team_") && (orgBot || string(p.Scope.ID) == id):
			held = "member"
		case human:
			for _, m := range p.Teams {
				if held == "out" && string(m.ID) == id {
					held = "as " + string(m.Role)
				}
			}
		}
	}
	held = strings.TrimPrefix(held, "as ")
	personal := placed && strings.HasPrefix(string(f.Entity.ID), "usr_")
	letters := func(role string) string {
		switch role {
		case "viewer":
			return "v"
		case "member":
			return "vrsdmpe"
		case "admin":
			return "vrsdmpeUD"
		}
		custom := f.Roles[iam.Role(role)]
		if custom == nil || role == "out" || machine || role == "" || custom.Inherits != "viewer" && custom.Inherits != "member" {
			return ""
		}
		set := map[iam.Role]string{"viewer": "v", "member": "vrsdmpe"}[custom.Inherits]
		for _, added := range custom.Permissions {
			set += map[string]string{"run:stop": "s", "run:delete": "d", "project:update": "U"}[added]
		}
		return set
	}
	canWrite := seat == iam.SeatFull && !reader && !(personal && f.Settings.DisablePersonalEntity)
	hold := func(by iam.Switch, own bool) bool { return by == iam.SwitchOn || own && by != iam.SwitchOff }
	hides := hold(f.Enforced.Hidden, f.Team.Hidden) && placed && !personal && held == "out" && !boss
	invites := hold(f.Enforced.MembersInvite, f.Team.MembersInvite) && human && !reader && strings.Contains(letters(held), "r")
	becomes := func(was iam.Visibility) bool { // whether the project can be what is asked for
		opens := q.Visibility == iam.VisibilityOpen || q.Visibility == iam.VisibilityPublic
		private := placed && !personal && hold(f.Enforced.PrivateProjects, f.Team.PrivateProjects)
		return !q.SetsVisibility || q.Visibility == was && f.Project != nil ||
			q.Visibility <= iam.VisibilityOpen && (!opens || !private && was >= iam.VisibilityTeam && was <= iam.VisibilityOpen)
	}
	canRead := seat == iam.SeatFull || seat == iam.SeatViewer
	runs := !personal && placed && (boss || held == "admin" && !reader) || mine && !reader && !f.Settings.DisablePersonalEntity
	create := held != "out" && strings.Contains(letters(held), "r") && canWrite

	if there { // the caller's letters in this very project
		v, owner, listed := f.Project.Visibility, f.Project.Owner == p.Ref, false
		role := held
		for _, m := range f.Project.Members {
			if m.Principal == p.Ref && !listed {
				listed = true
				if (v == iam.VisibilityTeam || v == iam.VisibilityRestricted || v > iam.VisibilityOpen) &&
					m.Role != "" && held != "viewer" && !mine && letters(held) != "" {
					role = string(m.Role)
				}
			}
		}
		set := ""
		if held != "out" && (owner || listed || v == iam.VisibilityOpen || v == iam.VisibilityPublic || v == iam.VisibilityTeam) {
			set = letters(role)
			if owner && strings.Contains(set, "r") {
				set += "UO" // an owner who writes: O is the owner's say
			}
			if role == "admin" && role != held {
				set += "M"
			}
		}
		if held == "out" && v == iam.VisibilityOpen {
			set += "vrp"
		}
		if v == iam.VisibilityOpen || v == iam.VisibilityPublic {
			set += "v"
		}
		runs := runs && !(mine && !owner && !listed && (v == iam.VisibilityRestricted || v > iam.VisibilityOpen)) // left behind
		switch q.Permission {
		case ProjectSetVisibility:
			return (runs || !personal && strings.Contains(set, "O") && canWrite) && becomes(v)
		case ProjectManageMembers:
			return runs || !personal && strings.ContainsAny(set, "OM") && canWrite
		case ProjectRead:
			return strings.Contains(set, "v") && canRead
		}
		if q.Permission == RunMove && v != iam.VisibilityOpen && v != iam.VisibilityPublic && v != iam.VisibilityTeam {
			return false
		}
		if letter, ok := projectLetters[q.Permission]; ok {
			return strings.Contains(set, letter) && canWrite
		}
	}
	switch q.Permission {
	case ProjectRead:
		return placed && f.Project == nil && held != "out" && letters(held) != "" && canRead
	case RunWrite:
		return f.Project == nil && create
	case ProjectCreate:
		was := iam.VisibilityTeam
		if f.Project != nil {
			was = f.Project.Visibility
		}
		return create && becomes(was)
	case EntityWrite:
		return create
	case EntityRead:
		return placed && !hides && (held != "out" || citizen || orgBot)
	case TeamReadMembers:
		return placed && (held != "out" && letters(held) != "" || boss && !personal)
	case TeamManage:
		return runs
	case TeamInvite:
		return !personal && (runs || invites)
	case TeamCreateServiceAcc:
		return runs && !personal && !f.Settings.DisableTeamServiceAccounts && (held == "admin" || !f.Settings.DisableAdminTeamAccess)
	case TeamJoin:
		return runs && !personal && (held == "admin" || !f.Settings.DisableAdminTeamAccess)
	case OrganizationRead:
		return home
	case OrganizationManage:
		return boss
	case OrganizationProvision:
		return boss || orgBot
	case TeamCreate:
		return boss || citizen && !reader && f.Settings.AllowUserTeamCreation
	case ServerRead, SelfRead:
		return true
	case SelfUpdate:
		return human
	case UnplacedRead, UnplacedWrite:
		full := orgBot || citizen && (q.Permission == UnplacedRead || !reader && p.ModelsSeat == iam.SeatFull)
		return f.Settings.Unplaced == UnplacedAllow || f.Settings.Unplaced == UnplacedMembers && full
	}
	return false
}

// keyModel is what a key with limits may, written another way: the permissions that it has by each limit.
func keyModel(q Request, f Facts) bool {
	l := f.Principal.Limits
	if l == nil || l.IsZero() {
		return true
	}
	has := func(permissions ...Permission) bool { return slices.Contains(permissions, q.Permission) }
	if has(SelfUpdate, TeamCreateServiceAcc) {
		return false // no key makes keys
	}
	if l.ReadOnly && !has(ProjectRead, EntityRead, TeamReadMembers, OrganizationRead, ServerRead, SelfRead, UnplacedRead) {
		return false
	}
	if l.Entity == "" && l.Project == "" || has(ServerRead, SelfRead) {
		return true
	}
	if f.Entity == nil || f.Entity.ID != l.Entity || l.Entity == "" {
		return false
	}
	if l.Project == "" {
		return has(append([]Permission{EntityRead, EntityWrite, ProjectCreate, TeamReadMembers}, projectPermissions...)...)
	}
	return has(EntityRead) || has(append([]Permission{ProjectCreate}, projectPermissions...)...) &&
		f.ProjectName == l.Project && (f.Project == nil || f.Project.Name == f.ProjectName)
}

var projectLetters = map[Permission]string{
	RunWrite: "r", RunStop: "s", RunDelete: "d", RunMove: "m", ReportCreate: "p", ReportUpdate: "e", ProjectUpdate: "U", ProjectDelete: "D",
}

// TestModel compares the rules with the model on random facts.
func TestModel(t *testing.T) {
	cases := 1_200_000
	r := rand.New(rand.NewPCG(2026, 11))
	allowed := map[Permission]int{}
	seen := map[iam.Reason]bool{}
	for range cases {
		q, f := draw(r.IntN)
		got, want := Decide(q, f), model(q, f)
		if got.Allowed() != want {
			t.Fatalf("Decide(%v) = %v, the model says %v\n%s", q, got, want, describe(f))
		}
		seen[got.Reason] = true
		if want {
			allowed[q.Permission]++
		}
	}
	// A comparison in which nothing is ever allowed, or nothing denied, compares nothing.
	for _, p := range allPermissions() {
		if share := float64(allowed[p]) * float64(len(allPermissions())) / float64(cases); share < 0.005 || share > 0.95 {
			t.Errorf("%s is allowed in %.3f of the cases: the facts are drawn badly", p, share)
		}
	}
	for name, r := range declaredReasons(t) {
		if !seen[r] {
			t.Errorf("%s was never the reason", name)
		}
	}
}
