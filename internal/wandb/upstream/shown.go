package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// What the server is asked about an entity, and about a project in it. readOnly is the server's own
// word on what the asker may do; readOnlyAdmin on whether the asker administers the team. internalId
// stays a project's own under whatever name.
var (
	entityWordings = []string{
		`query GatewayEntity($entity: String!) { entity(name: $entity) { name isTeam readOnly readOnlyAdmin } }`,
		`query GatewayEntity($entity: String!) { entity(name: $entity) { name readOnly } }`,
		`query GatewayEntity($entity: String!) { entity(name: $entity) { name } }`,
	}
	projectWordings = []string{
		`query GatewayProject($entity: String!, $project: String!) {` +
			` project(name: $project, entityName: $entity) { name access readOnly internalId user { id username } entity { name isTeam readOnly readOnlyAdmin } }` +
			` entity(name: $entity) { name isTeam readOnly readOnlyAdmin } }`,
		`query GatewayProject($entity: String!, $project: String!) {` +
			` project(name: $project, entityName: $entity) { name access readOnly user { id username } entity { name isTeam readOnly readOnlyAdmin } }` +
			` entity(name: $entity) { name isTeam readOnly readOnlyAdmin } }`,
		`query GatewayProject($entity: String!, $project: String!) {` +
			` project(name: $project, entityName: $entity) { name access readOnly entity { name readOnly } }` +
			` entity(name: $entity) { name readOnly } }`,
		`query GatewayProject($entity: String!, $project: String!) {` +
			` project(name: $project, entityName: $entity) { name access entity { name } }` +
			` entity(name: $entity) { name } }`,
	}
)

// shown is what the server shows one asker of an entity and perhaps a project. It is not changed
// after it was built.
type shown struct {
	place *place // nil: nothing there that the asker may see
	// hidden is true when place has a project, seen with the administrator's key, but not for the asker.
	hidden bool
	// What the server says of the asker in the entity and in the project.
	readOnly, readOnlyAdmin, projectReadOnly word
	// role is the asker's role in the team, if the server told it.
	role iam.Role
	// judged keeps the last Facts made of this, so that they are made once for a principal.
	judged lastFacts
}

// hasProject reports whether there is a project; otherwise there is none, or none was asked for.
func (s *shown) hasProject() bool { return s.place != nil && s.place.project != "" }

// answered is the answer to entityWordings or projectWordings.
type answered struct {
	entity  *shownEntity  // nil: nothing there that the asker may see
	project *shownProject // nil: the same, or none was asked for
}

type shownEntity struct {
	Name          string `json:"name"`
	IsTeam        *bool  `json:"isTeam"`
	ReadOnly      *bool  `json:"readOnly"`
	ReadOnlyAdmin *bool  `json:"readOnlyAdmin"`
}

type shownProject struct {
	Name     string        `json:"name"`
	Access   string        `json:"access"`
	ReadOnly *bool         `json:"readOnly"`
	Number   projectNumber `json:"internalId"`
	Entity   *shownEntity  `json:"entity"`
	User     *struct {
		ID       string `json:"id"`
		Username string `json:"username"`
	} `json:"user"`
}

// projectNumber is the number of a project; "" if the server does not tell it in a form that is known.
type projectNumber string

func (n *projectNumber) UnmarshalJSON(raw []byte) error {
	*n = projectNumber(wandb.ProjectNumber(strings.Trim(string(raw), `"`)))
	return nil
}

// show returns what the server shows the asker. p is the asker as a principal; nil for the
// administrator's key and for nobody.
func (d *Directory) show(ctx context.Context, who asker, p *iam.Principal, entity, project string) (*shown, error) {
	purpose := purposeShown
	if who.kind == askerAdmin { // a caller may hold the same key, and is judged by more than it shows
		purpose = purposeShownToAdmin
	}
	key := digestOf(purpose, who.digest[:], entity, project)
	stamp := d.epochs.stamp(entity, project)
	e, due, ok := d.shown.peek(key, stamp)
	switch {
	case !ok:
		return d.shown.fetch(ctx, key, stamp, d.shownLook(who, p, entity, project))
	case due:
		d.shown.refresh(key, stamp, d.shownLook(who, p, entity, project))
	}
	return e.value, e.err
}

func (d *Directory) shownLook(who asker, p *iam.Principal, entity, project string) func(context.Context) answer[*shown] {
	return func(ctx context.Context) answer[*shown] { return d.look(ctx, who, p, entity, project) }
}

// look asks the server about the entity and project, and what else is needed to judge the answer.
func (d *Directory) look(ctx context.Context, who asker, p *iam.Principal, entity, project string) (a answer[*shown]) {
	s, err := d.askShown(ctx, who, entity, project)
	if err != nil {
		return answer[*shown]{err: err}
	}
	a.value = s
	if project != "" && !s.hasProject() && p != nil && d.admin.kind == askerAdmin {
		if err := d.revealHidden(ctx, d.adminFor(who), s, entity, project); err != nil {
			return answer[*shown]{err: err}
		}
	}
	if d.needsRole(s, p) {
		if s.role, a.asOf, err = d.role(ctx, who, p, s.place.entity); err != nil {
			return answer[*shown]{err: err}
		}
	}
	a.absent = s.place == nil || s.hidden || project != "" && !s.hasProject()
	return a
}

func (d *Directory) askShown(ctx context.Context, who asker, entity, project string) (*shown, error) {
	q, variables := &d.questions.entity, map[string]string{"entity": entity}
	if project != "" {
		q, variables["project"] = &d.questions.project, project
	}
	r, err := d.ask(ctx, who, q, variables)
	switch {
	case errors.Is(err, errRefused) && who.kind == askerNobody:
		return &shown{}, nil // the server shows strangers nothing
	case errors.Is(err, errRefused):
		return nil, d.refused(who, err)
	case errors.Is(err, errForbidden), errors.Is(err, errNotFound):
		return &shown{}, nil
	case err != nil:
		return nil, err
	}
	a, err := answeredOf(r, project != "")
	if err != nil {
		return nil, d.unavailable("answered only half of what the caller may see", err, 0)
	}
	return d.shownBy(a), nil
}

// shownBy returns what an answer shows, in the form in which it is remembered.
func (d *Directory) shownBy(a answered) *shown {
	if a.entity == nil {
		return &shown{}
	}
	s := &shown{readOnly: wordOf(a.entity.ReadOnly), readOnlyAdmin: wordOf(a.entity.ReadOnlyAdmin)}
	t := told{placeNames: placeNames{entity: a.entity.Name}, isTeam: wordOf(a.entity.IsTeam)}
	if p := a.project; p != nil {
		s.projectReadOnly = wordOf(p.ReadOnly)
		t.project, t.access, t.number = p.Name, p.Access, p.Number
		if p.User != nil {
			t.owner = owner{p.User.ID, p.User.Username}
		}
	}
	s.place = d.placeOf(t)
	return s
}

// answeredOf reads an answer.
func answeredOf(r reply, withProject bool) (a answered, err error) {
	if withProject {
		a.project, err = rootOf[shownProject](r, "project")
		if err != nil {
			return answered{}, err
		}
		if a.project != nil && !a.project.plausible() {
			return answered{}, errors.New("project has no name, or members that are none")
		}
	}
	a.entity, err = rootOf[shownEntity](r, "entity")
	if err != nil && a.project == nil {
		return answered{}, err
	}
	if a.project != nil && a.project.Entity != nil {
		a.entity = a.project.Entity // where the project is, the server knows best: names may lead elsewhere
	}
	switch {
	case a.entity == nil && a.project != nil:
		return answered{}, errors.New("project has no entity")
	case a.entity != nil && !iam.ValidName(a.entity.Name):
		return answered{}, errors.New("entity has no name, or one that is none")
	}
	return a, nil
}

// plausible reports whether the members can be what they should be, and are small enough to keep.
func (p *shownProject) plausible() bool {
	if p.Name == "" || len(p.Access) > maxNameBytes || p.User != nil && len(p.User.ID)+len(p.User.Username) > 2*maxNameBytes {
		return false
	}
	return len(p.Name) <= maxNameBytes && printable(p.Name)
}

// rootOf reads a root field; nil when the server says that there is nothing.
func rootOf[T any](r reply, name string) (*T, error) {
	raw, absent, err := r.root(name)
	if err != nil || absent {
		return nil, err
	}
	v := new(T)
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return v, nil
}

// revealHidden finds out with the administrator's key whether a project that the asker was not shown
// is there all the same. Else a run could be created "in a new project" that is somebody's
// restricted one.
func (d *Directory) revealHidden(ctx context.Context, admin asker, s *shown, entity, project string) error {
	all, err := d.show(ctx, admin, nil, entity, project)
	if err != nil {
		return err
	}
	if !all.hasProject() {
		return nil
	}
	t := all.place.told
	if s.place != nil && s.place.entity == t.entity {
		t.isTeam = s.place.isTeam
	} else {
		s.readOnly, s.readOnlyAdmin = untold, untold // the server's word is to the administrator, or of another entity
	}
	s.place, s.hidden = d.placeOf(t), true
	return nil
}
