package upstream

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// place is an entity, and perhaps a project in it, as the server describes them to everybody alike. Those
// who are shown the same place share it (Directory.places). It is not changed after it was built.
type place struct {
	told
	// asEntity and asProject are what Decide is given of it, but for whom it is another than for most.
	asEntity  iam.Entity
	asProject iam.Project
}

// told is what the server says of a place.
type told struct {
	placeNames
	isTeam word
	access string
	number projectNumber
	owner  owner
}

// placeNames are the names of a place as the server writes them; project is "" for an entity alone.
type placeNames struct{ entity, project string }

// owner is whom the server names as a project's owner; zero for nobody.
type owner struct{ id, username string }

// is reports whether the principal is the owner.
func (o owner) is(p *iam.Principal) bool {
	if o.id != "" {
		return userID(o.id).Ref() == p.Ref
	}
	return o.username != "" && userIDByName(o.username).Ref() == p.Ref
}

// word is the server's answer to a question with a yes and a no. One that it did not give is neither.
type word uint8

const (
	untold word = iota
	no
	yes
)

func wordOf(b *bool) word {
	switch {
	case b == nil:
		return untold
	case *b:
		return yes
	default:
		return no
	}
}

// placeOf returns the place that is told, the one from before if the same was told then.
func (d *Directory) placeOf(t told) *place {
	p := &place{told: t, asEntity: iam.Entity{ID: TeamID(t.entity).Entity(), Name: t.entity}}
	if t.isTeam == no {
		p.asEntity.ID = userIDByName(t.entity).PersonalEntity()
	}
	if t.project != "" {
		p.asProject = iam.Project{
			ID:         projectID(t.entity, t.project),
			Entity:     p.asEntity.ID,
			Name:       t.project,
			Visibility: iam.VisibilityFromAccess(t.access),
		}
	}
	return d.places.add(t.placeNames, p)
}

func samePlace(a, b *place) bool { return a.told == b.told }

// entityFor returns the entity as Decide judges it for p, whose own it may be; p is nil for nobody.
func (at *place) entityFor(p *iam.Principal) *iam.Entity {
	if p != nil && p.PersonalEntity == at.entity && at.isTeam != yes {
		return &iam.Entity{ID: iam.UserID(p.Ref.ID).PersonalEntity(), Name: at.entity}
	}
	return &at.asEntity
}
