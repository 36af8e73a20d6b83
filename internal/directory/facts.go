package directory

import (
	"context"
	"errors"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// attempts bounds how often a reading is repeated because something it read changed meanwhile.
const attempts = 16

var errRestless = iam.Unavailable("the directory changes faster than it can be read: try again shortly", nil)

// Facts returns what a decision needs to know, all of one revision: the principal as it is now, the
// entity and the project that the request names (nil where there is none of that name; both names
// may be empty), and the custom roles. p may be nil for a caller without a credential. Entities are
// found without regard to case, as their names are unique that way; projects exactly, as W&B does.
//
// Facts.Principal is read anew unless nothing of p has changed: p was read earlier, and a membership
// withdrawn since must not meet a project made since (threat Z05). A principal deleted since is
// iam.KindUnauthenticated.
func (d *Directory) Facts(ctx context.Context, p *iam.Principal, entity, project string) (authz.Facts, error) {
	for range attempts {
		v := d.cache.View()
		f, err := d.readFacts(ctx, v, p, entity, project)
		if !v.Valid() {
			continue
		}
		if err != nil {
			return authz.Facts{}, unreadable(err)
		}
		return f, nil
	}
	return authz.Facts{}, errRestless
}

func (d *Directory) readFacts(ctx context.Context, v *hotcache.View, p *iam.Principal, entity, project string) (authz.Facts, error) {
	f := authz.Facts{Organization: d.organization, Settings: d.settings, ProjectName: project}
	switch {
	case p == nil || p.IsAnonymous():
	case p.FromUpstream:
		f.Principal = p // another record is the truth about it
	default:
		var err error
		if f.Principal, err = d.readAgain(ctx, v, p); errors.Is(err, store.ErrNotFound) {
			return f, errNoSuchPrincipal
		} else if err != nil {
			return f, err
		}
	}
	t, err := d.readTarget(ctx, v, entity, project)
	if err != nil {
		return f, err
	}
	f.Entity, f.Project, f.Roles = t.entity, t.project, t.roles
	f.Team, f.Enforced = t.team, t.enforced
	return f, nil
}

// target is what a request names, and the roles by which it is judged. It is shared: nobody
// changes it.
type target struct {
	entity  *iam.Entity
	project *iam.Project
	roles   map[iam.Role]*iam.CustomRole
	// team is what is chosen for entity, if it is a team, and enforced what the organization decides.
	team     iam.TeamSettings
	enforced iam.EnforcedSettings
}

// readTarget finds what names stand for. Names that can name nothing are not looked up, so they
// cannot fill the cache.
func (d *Directory) readTarget(ctx context.Context, v *hotcache.View, entity, project string) (*target, error) {
	if !iam.ValidName(entity) {
		entity, project = "", ""
	}
	if !iam.ValidProjectName(project) {
		project = ""
	}
	l := d.targets.Get().(*targetLookup)
	l.entity, l.project, l.built = entity, project, false
	t, err := hotcache.Derived(ctx, v, l.name(), l.build)
	if !l.built {
		d.targets.Put(l)
	}
	return t, err
}

// targetLookup is to targets what ownerLookup is to the owners of keys.
type targetLookup struct {
	d               *Directory
	entity, project string
	built           bool
	build           func(context.Context, *hotcache.View) (*target, error)
	text            []byte
}

func newTargetLookup(d *Directory) *targetLookup {
	l := &targetLookup{d: d}
	l.build = func(ctx context.Context, v *hotcache.View) (*target, error) {
		l.built = true
		return d.buildTarget(ctx, v, l.entity, l.project)
	}
	return l
}

func (l *targetLookup) name() []byte {
	l.text = append(append(l.text[:0], l.d.names.target...), iam.FoldName(l.entity)...)
	l.text = append(append(l.text, '/'), l.project...)
	return l.text
}

func (d *Directory) buildTarget(ctx context.Context, v *hotcache.View, entity, project string) (*target, error) {
	t := new(target)
	var err error
	if t.roles, err = hotcache.Read(ctx, v, d.names.roles, decodeRoles); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if entity == "" {
		return t, nil
	}
	e, err := hotcache.Read(ctx, v, d.names.entityName(entity), decode[nameRecord])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return t, nil
	case err != nil:
		return nil, err
	case e.entity() == "":
		return t, nil
	}
	t.entity = &iam.Entity{ID: e.ID, Name: e.Name}
	if err := d.readSettings(ctx, v, t); err != nil {
		return nil, err
	}
	if project == "" {
		return t, nil
	}
	t.project, err = hotcache.Read(ctx, v, d.names.project(e.ID, project), decode[iam.Project])
	if errors.Is(err, store.ErrNotFound) {
		t.project, err = d.readLike(ctx, v, e.ID, project)
	}
	return t, err
}

// readSettings finds what is chosen for the team that t is about, and by the organization.
func (d *Directory) readSettings(ctx context.Context, v *hotcache.View, t *target) error {
	id, ok := t.entity.ID.Team()
	if !ok {
		return nil
	}
	team, err := d.readTeam(ctx, v, id)
	if err != nil {
		return err
	}
	if team != nil { // else deleted between the two reads; the view will not be valid
		t.team = team.Settings
	}
	o, err := hotcache.Read(ctx, v, d.names.organization, decode[iam.OrganizationSettings])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	t.enforced = o.Enforced
	return nil
}
