package upstream

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Facts returns what the server shows of an entity and a project in it, in the form that
// authz.Decide judges. Either name may be empty; names that stand for nothing give nil fields, not
// errors. Settings and custom roles are the caller's to add.
//
// A principal of the server's is judged by what the server shows to their own credential c: the
// project's visibility, the teams that viewer lists, the role in the team where the server tells
// it, and readOnly, which says what they may do even where the role is not told. Facts.Principal is
// then p as far as this project goes (see shape), and a service account in the form in which its
// teams count (see judged); it is not for anything but Decide.
//
// Any other principal is judged by the project's true visibility as the administrator's key shows
// it, and by memberships and scopes of the gateway's own record, bound to the server's teams by
// name. A nil p asks as nobody.
//
// Errors are iam.KindUnavailable; iam.KindUnauthenticated when the server no longer knows c; and
// iam.KindDenied with ReasonNoAdminKey.
func (d *Directory) Facts(ctx context.Context, p *iam.Principal, c iam.Credential, entity, project string) (authz.Facts, error) {
	facts := authz.Facts{Organization: d.organization, ProjectName: project}
	if entity == "" || len(entity) > maxNameBytes || len(project) > maxNameBytes {
		facts.Principal = judged(p)
		return facts, nil
	}
	s, err := d.showTo(ctx, p, c, entity, project)
	if err != nil {
		return facts, err
	}
	facts = s.facts(d, p)
	facts.ProjectName = project
	return facts, nil
}

// showTo returns what the server shows of an entity and a project as far as p is concerned. Its errors
// are those of Facts.
func (d *Directory) showTo(ctx context.Context, p *iam.Principal, c iam.Credential, entity, project string) (*shown, error) {
	var who asker
	var as *iam.Principal
	switch {
	case p == nil:
	case p.FromUpstream:
		if who, as = askerOf(c), p; who.kind == askerNobody {
			return nil, d.unavailable("cannot be asked about this caller without their own credential", nil, 0)
		}
	default:
		if who = d.admin; who.kind == askerNobody {
			return nil, d.noAdminKey()
		}
		who.behalf = p.Ref.ID
	}
	return d.show(ctx, who, as, entity, project)
}

// ProjectNumber returns the server's number of the project that goes by that name now: it stays with a
// project that is renamed. It is "" if there is no such project. told is false where the server does not
// tell, or where it takes the administrator's key to tell and there is none. It asks what Facts asks for
// the same caller; errors are iam.KindUnavailable, and iam.KindUnauthenticated when the server no longer
// knows c.
func (d *Directory) ProjectNumber(ctx context.Context, p *iam.Principal, c iam.Credential, entity, project string) (number string, told bool, err error) {
	admin := d.admin.kind == askerAdmin
	if p != nil && !p.FromUpstream && !admin {
		return "", false, nil
	}
	s, err := d.showTo(ctx, p, c, entity, project)
	switch {
	case err != nil:
		return "", false, err
	case s.hasProject():
		return string(s.place.number), s.place.number != "", nil
	default:
		return "", p != nil && admin, nil
	}
}

// lastFacts is the last outcome of facts for a principal.
type lastFacts struct{ p atomic.Pointer[factsFor] }

type factsFor struct {
	principal *iam.Principal
	facts     authz.Facts
}

func (s *shown) facts(d *Directory, p *iam.Principal) authz.Facts {
	if last := s.judged.p.Load(); last != nil && last.principal == p {
		return last.facts
	}
	facts := authz.Facts{Principal: judged(p), Organization: d.organization}
	switch {
	case s.place == nil:
	case p == nil:
		s.describe(&facts, nil)
	case p.FromUpstream:
		s.shape(&facts, facts.Principal)
	default:
		facts.Principal = bind(p)
		s.describe(&facts, nil)
	}
	s.judged.p.Store(&factsFor{p, facts})
	return facts
}

// shape makes the facts for a principal of the server's so that Decide comes to what the server
// said, and never to more:
//
//   - In their own team they have the role that the server told, else a member's. readOnly makes it
//     a viewer's.
//   - A Restricted project of their team that they are shown, they were invited to.
//   - A Team or Restricted project of somebody else's that they are shown, they may view; where the
//     server says that it is not read-only for them, submit to as well. This is how the server
//     treats its own administrators and organization-wide keys.
//   - readOnly also takes submitting away where visibility alone would give it (Open), and
//     everything but viewing in their own entity.
//   - A project that is hidden from them is Restricted, without them.
func (s *shown) shape(facts *authz.Facts, p *iam.Principal) {
	s.describe(facts, p)
	if own := iam.EntityID(p.Ref.ID); s.hidden && facts.Entity.ID == own {
		// An owner enters their own entity's projects whatever their visibility. Not this one.
		facts.Entity = &iam.Entity{ID: hiddenEntityID(s.place.entity), Name: s.place.entity}
		facts.Project = projectIn(facts.Entity, facts.Project)
	}
	readOnly := s.readOnly == yes || s.hasProject() && !s.hidden && s.projectReadOnly == yes

	team, isTeam := facts.Entity.ID.Team()
	m, isMember := p.Membership(team)
	switch {
	case isTeam && isMember:
		role := m.Role
		if s.role != "" {
			role = s.role
		}
		if readOnly {
			role = iam.RoleViewer
		}
		facts.Principal = withRole(p, team, role)
	case facts.Entity.ID == iam.EntityID(p.Ref.ID):
		if readOnly {
			facts.Principal = withoutWriting(p)
		}
	default:
		s.admitGuest(facts)
		return
	}
	if facts.Project == nil || s.hidden {
		return
	}
	invited, owned := facts.Project.Visibility == iam.VisibilityRestricted, s.place.owner.is(p)
	if !invited && !owned {
		return
	}
	project := *facts.Project
	if invited {
		project.Members = []iam.ProjectMember{{Principal: p.Ref}}
	}
	if owned {
		project.Owner = p.Ref
	}
	facts.Project = &project
}

// admitGuest sets the visibility of a project outside the caller's teams to what it is for them.
func (s *shown) admitGuest(facts *authz.Facts) {
	if facts.Project == nil || s.hidden {
		return
	}
	switch {
	case s.projectReadOnly == no:
		facts.Project = seenAs(iam.VisibilityOpen, facts.Project)
	case facts.Project.Visibility == iam.VisibilityOpen && s.projectReadOnly == untold:
		// Nothing is said against what the visibility gives.
	default:
		facts.Project = seenAs(iam.VisibilityPublic, facts.Project)
	}
}

// describe sets the entity and the project as p may see them, nil for nobody. Others may be given the same:
// what is another for p takes its place and does not change it.
func (s *shown) describe(facts *authz.Facts, p *iam.Principal) {
	facts.Entity = s.place.entityFor(p)
	if !s.hasProject() {
		return
	}
	facts.Project = projectIn(facts.Entity, &s.place.asProject)
	if s.hidden {
		facts.Project = seenAs(iam.VisibilityRestricted, facts.Project)
	}
}

// projectIn returns a project as one of the entity.
func projectIn(entity *iam.Entity, p *iam.Project) *iam.Project {
	if p.Entity == entity.ID {
		return p
	}
	project := *p
	project.Entity = entity.ID
	return &project
}

// seenAs returns a project with that visibility.
func seenAs(v iam.Visibility, p *iam.Project) *iam.Project {
	if p.Visibility == v {
		return p
	}
	project := *p
	project.Visibility = v
	return &project
}

// withRole returns p with another role in one team.
func withRole(p *iam.Principal, team iam.TeamID, role iam.Role) *iam.Principal {
	if m, ok := p.Membership(team); ok && m.Role == role {
		return p
	}
	shaped := *p
	shaped.Teams = slices.Clone(p.Teams)
	for i := range shaped.Teams {
		if shaped.Teams[i].ID == team {
			shaped.Teams[i].Role = role
		}
	}
	return &shaped
}

// withoutWriting returns p as somebody whose licence only reads.
func withoutWriting(p *iam.Principal) *iam.Principal {
	shaped := *p
	shaped.ModelsSeat, shaped.WeaveSeat = iam.SeatViewer, iam.SeatViewer
	return &shaped
}

// bind returns a principal of the gateway's own record with its teams as the server's: the record
// names them, and the name is checked here, at use.
func bind(p *iam.Principal) *iam.Principal {
	bound := *p
	if p.Scope.ID != "" {
		bound.Scope.ID = TeamID(p.Scope.Name)
	}
	bound.Teams = slices.Clone(p.Teams)
	for i := range bound.Teams {
		bound.Teams[i].ID = TeamID(bound.Teams[i].Name)
	}
	if l := p.Limits; l != nil && l.Entity != "" {
		limits := *l
		limits.Entity = boundEntity(l)
		bound.Limits = &limits
	}
	return &bound
}

// boundEntity is the server's id of the entity for which a key of the gateway's is. What was deleted from the
// gateway's record is nothing at the server, whatever has its name there. Nobody of the gateway's own record is
// the person of a personal entity at the server.
func boundEntity(l *iam.KeyLimits) iam.EntityID {
	_, isTeam := l.Entity.Team()
	switch {
	case l.EntityName == "":
		return l.Entity // which no entity of the server's has
	case isTeam:
		return TeamID(l.EntityName).Entity()
	}
	return userIDByName(l.EntityName).PersonalEntity()
}
