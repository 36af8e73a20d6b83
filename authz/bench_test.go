package authz

import (
	"fmt"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// benchFacts are what training runs and people ask all day.
func benchFacts() []struct {
	name string
	q    Request
	f    Facts
} {
	inMany := with(user(iam.RoleMember), func(p *iam.Principal) {
		for i := range 10 {
			p.Teams = append([]iam.Membership{{TeamRef: iam.TeamRef{ID: iam.TeamID(fmt.Sprintf("team_%d", i))}, Role: iam.RoleViewer}}, p.Teams...)
		}
	})
	var list []iam.ProjectMember
	for i := range 30 {
		list = append(list, iam.ProjectMember{Principal: iam.UserID(fmt.Sprintf("usr_%d", i)).Ref()})
	}
	list = append(list, withRole(bot(vision), iam.RoleMember))
	return []struct {
		name string
		q    Request
		f    Facts
	}{
		{"member_run", Request{Permission: RunWrite}, inVision(inMany, iam.VisibilityTeam)},
		{"service_account_run", Request{Permission: RunWrite}, inVision(bot(vision), iam.VisibilityTeam)},
		{"restricted_30_members", Request{Permission: RunWrite}, inVision(bot(vision), iam.VisibilityRestricted, list...)},
		{"custom_role_stop", Request{Permission: RunStop}, inVision(user("stopper"), iam.VisibilityTeam)},
		{"open_outsider_view", Request{Permission: ProjectRead}, inVision(user(""), iam.VisibilityOpen)},
		{"key_of_a_project", Request{Permission: RunWrite}, inVision(limited(bot(vision), keyOfProject), iam.VisibilityTeam)},
		{"self", Request{Permission: SelfRead}, Facts{Principal: user(""), Organization: acme}},
	}
}

func BenchmarkDecide(b *testing.B) {
	for _, c := range benchFacts() {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if d := Decide(c.q, c.f); !d.Allowed() {
					b.Fatal(d)
				}
			}
		})
	}
}

// TestNoAllocation: deciding to allow costs no memory.
func TestNoAllocation(t *testing.T) {
	for _, c := range benchFacts() {
		var d Decision
		if n := testing.AllocsPerRun(100, func() { d = Decide(c.q, c.f) }); n != 0 {
			t.Errorf("%s: %v allocations", c.name, n)
		}
		if !d.Allowed() {
			t.Errorf("%s: %v", c.name, d)
		}
	}
}
