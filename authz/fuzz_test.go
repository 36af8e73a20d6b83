package authz

import (
	"math/rand/v2"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// FuzzDecide looks for facts on which an invariant breaks. The bytes are the choices of draw.
func FuzzDecide(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1})
	f.Add([]byte("the quick brown fox jumps over the lazy dog, again and again and again"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		at := 0
		q, facts := draw(func(n int) int {
			if at >= len(choices) {
				return 1 % n
			}
			at++
			return int(choices[at-1]) % n
		})
		checkInvariants(t, q, facts)
	})
}

// TestInvariants checks them on random facts in every run of the tests.
func TestInvariants(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 2026))
	for range 300_000 {
		q, facts := draw(r.IntN)
		checkInvariants(t, q, facts)
	}
}

// checkInvariants checks what must hold whatever the facts are.
func checkInvariants(t *testing.T, q Request, facts Facts) {
	d := Decide(q, facts)
	check := func(ok bool, invariant string) {
		t.Helper()
		if !ok {
			t.Fatalf("%s: Decide(%v) = %v\n%s", invariant, q, d, describe(facts))
		}
	}
	check(d.Reason != "", "every decision has a reason")
	check(d.Allowed() == allowReasons[d.Reason], "a reason belongs to one effect")
	check(d == Decide(q, facts), "the same facts give the same decision")
	check(Sentence(d.Reason, Names{}) != "", "every reason has a sentence")
	check(!d.Allowed() || !Hidden(d, facts), "nothing allowed is hidden")

	p := facts.Principal
	if p == nil || p.IsAnonymous() {
		check(!d.Allowed() || q.Permission == ProjectRead, "anonymous callers never write")
		check(d.Allowed() || Hidden(d, facts), "anonymous callers learn nothing")
		return
	}
	if p.Limits != nil {
		owner := facts
		owner.Principal = with(p, func(p *iam.Principal) { p.Limits = nil })
		check(!d.Allowed() || Decide(q, owner) == d, "a key's limits only take")
	}
	check(!d.Allowed() || p.Active, "deactivated principals are never allowed")
	if p.Organization != facts.Organization && p.Active {
		check(d.Allowed() || Hidden(d, facts), "other organizations learn nothing")
	}
	if hidden := facts; facts.Enforced.Over(facts.Team).Hidden && isOutside(facts) && (facts.Project == nil || !facts.opened()) {
		hidden.Entity, hidden.Project = nil, nil
		check(d == Decide(q, hidden), "a hidden team is answered like one that does not exist")
		check(!Listed(facts), "a hidden team is in no list")
	}
	if q.SetsVisibility && d.Allowed() && (q.Permission == ProjectSetVisibility || q.Permission == ProjectCreate) {
		was := iam.VisibilityTeam
		if facts.Project != nil {
			was = facts.Project.Visibility
		}
		check(q.Visibility <= was || q.Visibility == iam.VisibilityTeam || was != iam.VisibilityRestricted, "a restricted project becomes team only (VIS-11)")
		check(q.Visibility == was || q.Visibility < iam.VisibilityPublic || !facts.team() || !facts.TeamSettings().PrivateProjects, "nothing is opened where projects are private (VIS-14)")
	}
	if facts.Entity == nil || facts.Project == nil {
		return
	}
	closed := facts.Project.Visibility != iam.VisibilityOpen && facts.Project.Visibility != iam.VisibilityPublic
	if team, ok := facts.Entity.ID.Team(); ok && p.IsServiceAccount() && !p.OrganizationScoped() && p.Scope.ID != team && closed {
		check(!d.Allowed() || !ofProject[q.Permission], "a team's service account stays out of closed projects of others (SA-21)")
	}
	if d.Allowed() && contentOfProject[q.Permission] && q.Permission != ProjectRead {
		read := Decide(Request{Permission: ProjectRead, Product: q.Product}, facts)
		check(read.Allowed(), "who changes a project may view it")
	}
	if d.Allowed() && q.Permission == ProjectRead {
		for v := facts.Project.Visibility + 1; v <= iam.VisibilityOpen && v > 0; v++ {
			check(Decide(q, opened(facts, v)).Allowed(), "raising visibility to "+v.String()+" loses no view")
		}
	}
	// An owner stays invited, and loses with the place on the list a lower role (PROLE-7).
	if !d.Allowed() && ofProject[q.Permission] && facts.Project.Visibility == iam.VisibilityRestricted && facts.Project.Owner != p.Ref {
		check(!Decide(q, uninvited(facts)).Allowed(), "being struck off the list of a restricted project gives nothing")
	}
	if !d.Allowed() && p.IsUser() && p.Organization == facts.Organization {
		for _, seat := range []iam.Seat{iam.SeatViewer, iam.SeatNone} {
			if p.ModelsSeat == iam.SeatFull && p.WeaveSeat == iam.SeatFull {
				lower := facts
				lower.Principal = with(p, seats(seat, seat))
				check(!Decide(q, lower).Allowed(), "a lesser seat gives nothing")
			}
		}
	}
}

var (
	ofProject        = permissionSet(projectPermissions...)
	contentOfProject = permissionSet(projectPermissions[:9]...)
	allowReasons     = map[iam.Reason]bool{
		ReasonOpenProject: true, ReasonPublicProject: true, ReasonAnonymousView: true, ReasonTeamMember: true,
		ReasonProjectRole: true, ReasonCustomRole: true, ReasonProjectOwner: true, ReasonPersonalOwner: true,
		ReasonServiceAccount: true, ReasonTeamAdmin: true, ReasonOrganizationAdmin: true,
		ReasonOrganizationMember: true, ReasonOrganizationAccount: true, ReasonTeamCreationOpen: true,
		ReasonSelf: true, ReasonSignedIn: true, ReasonProjectAbsent: true, ReasonCreatesProject: true,
		ReasonUnplacedMembers: true, ReasonUnplacedAllowed: true, ReasonMembersInvite: true,
	}
)

func permissionSet(permissions ...Permission) map[Permission]bool {
	set := map[Permission]bool{}
	for _, p := range permissions {
		set[p] = true
	}
	return set
}

// isOutside reports whether the caller is a stranger to a team: neither in it nor administering it.
func isOutside(f Facts) bool {
	if f.Entity == nil || f.anonymous() {
		return false
	}
	_, team := f.Entity.ID.Team()
	return team && !f.organizationAdmin() && !f.bond().inside
}

// opened returns the facts with the project at another visibility.
func opened(f Facts, v iam.Visibility) Facts {
	project := *f.Project
	project.Visibility = v
	f.Project = &project
	return f
}

// uninvited returns the facts with nobody on the project's list.
func uninvited(f Facts) Facts {
	project := *f.Project
	project.Members = nil
	f.Project = &project
	return f
}
