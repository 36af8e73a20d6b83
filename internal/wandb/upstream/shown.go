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
	entity  *shownEntity  // nil: nothing there that the asker may see
	project *shownProject // nil: the same, or none was asked for
	// hidden is true when project is there, seen with the administrator's key, but not for the asker.
	hidden bool
	// role is the asker's role in the team, if the server told it.
	role iam.Role
	// judged keeps the last Facts made of this, so that they are made once for a principal.
	judged lastFacts
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

// isTrue and isFalse read the server's word: one that it did not say is neither.
func isTrue(b *bool) bool  { return b != nil && *b }
func isFalse(b *bool) bool { return b != nil && !*b }

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
	if project != "" && s.project == nil && p != nil && d.admin.kind == askerAdmin {
		if err := d.revealHidden(ctx, d.adminFor(who), s, entity, project); err != nil {
			return answer[*shown]{err: err}
		}
	}
	if d.needsRole(s, p) {
		if s.role, a.asOf, err = d.role(ctx, who, p, s.entity.Name); err != nil {
			return answer[*shown]{err: err}
		}
	}
	a.absent = s.entity == nil || s.hidden || project != "" && s.project == nil
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
	s, err := shownOf(r, project != "")
	if err != nil {
		return nil, d.unavailable("answered only half of what the caller may see", err, 0)
	}
	return s, nil
}

// shownOf reads the answer to entityWordings or projectWordings.
func shownOf(r reply, withProject bool) (*shown, error) {
	s := &shown{}
	if withProject {
		project, err := rootOf[shownProject](r, "project")
		if err != nil {
			return nil, err
		}
		if project != nil && !project.plausible() {
			return nil, errors.New("project has no name, or members that are none")
		}
		s.project = project
	}
	entity, err := rootOf[shownEntity](r, "entity")
	if err != nil && s.project == nil {
		return nil, err
	}
	s.entity = entity
	if s.project != nil && s.project.Entity != nil {
		s.entity = s.project.Entity // where the project is, the server knows best: names may lead elsewhere
	}
	switch {
	case s.entity == nil && s.project != nil:
		return nil, errors.New("project has no entity")
	case s.entity != nil && !iam.ValidName(s.entity.Name):
		return nil, errors.New("entity has no name, or one that is none")
	}
	return s, nil
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
	if all.project == nil {
		return nil
	}
	s.project, s.hidden = all.project, true
	if s.entity == nil || s.entity.Name != all.entity.Name {
		// Without readOnly: that is the server's word to the administrator.
		s.entity = &shownEntity{Name: all.entity.Name, IsTeam: all.entity.IsTeam}
	}
	return nil
}
