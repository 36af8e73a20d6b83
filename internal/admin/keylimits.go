package admin

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// keyLimits is what a list shows of a key's limits: names in place of ids.
type keyLimits struct {
	Expires  time.Time `json:"expires,omitzero"`
	ReadOnly bool      `json:"read_only,omitempty"`
	Entity   string    `json:"entity,omitempty"`
	Project  string    `json:"project,omitempty"`
}

// deletedEntity stands for a team or person that is there no more. It is no name that one could have.
const deletedEntity = "(deleted)"

// shownLimits finds the names in a key's limits, and keeps them in names: many keys are for few entities.
func (s *Service) shownLimits(ctx context.Context, l iam.KeyLimits, names map[iam.EntityID]string) (keyLimits, error) {
	shown := keyLimits{Expires: l.Expires, ReadOnly: l.ReadOnly, Project: l.Project}
	if l.Entity == "" {
		return shown, nil
	}
	name, known := names[l.Entity]
	if !known {
		var err error
		if name, err = s.directory.EntityName(ctx, l.Entity); err != nil {
			return shown, err
		}
		names[l.Entity] = name
	}
	shown.Entity = cmp.Or(name, deletedEntity)
	return shown, nil
}

// keyLimits reads the options that say what a new key may less than its owner. An empty one is refused: whoever
// writes it, or a script that lost what it was to be, means a limit.
func (s *Service) keyLimits(ctx context.Context, r request) (l iam.KeyLimits, err error) {
	for option, value := range map[string]*string{"expires": r.Expires, "entity": r.Entity, "project": r.Project} {
		if value != nil && *value == "" {
			return l, iam.Invalidf("--%s is empty: say what it is, or leave it out for a key without that limit", option)
		}
	}
	l.ReadOnly = value(r.ReadOnly)
	if r.Expires != nil {
		if l.Expires, err = parseExpires(*r.Expires, s.now()); err != nil {
			return l, err
		}
	}
	entity := text(r.Entity)
	if r.Project != nil {
		of, project, ok := strings.Cut(*r.Project, "/")
		switch {
		case !ok:
			return l, iam.Invalidf("--project %q is not ENTITY/NAME, such as vision/detector", *r.Project)
		case entity != "" && iam.FoldName(entity) != iam.FoldName(of):
			return l, iam.Invalidf("--entity %q is not that of --project %q: leave it out, or make a key for each", entity, *r.Project)
		}
		entity, l.Project = of, project
		if !iam.ValidProjectName(project) {
			return l, iam.Invalidf("--project %q names no project: its name has no slash and no control characters", *r.Project)
		}
	}
	if r.Entity == nil && r.Project == nil {
		return l, nil
	}
	e, err := s.directory.FindEntity(ctx, entity)
	switch {
	case err != nil:
		return l, err
	case e == nil:
		return l, iam.NotFoundf("there is no team or person %q for which the key could be", entity)
	}
	l.Entity = e.ID
	return l, nil
}

// parseExpires reads a time from now, or a moment.
func parseExpires(s string, now time.Time) (time.Time, error) {
	if life, err := time.ParseDuration(s); err == nil {
		if life <= 0 {
			return time.Time{}, iam.Invalidf("--expires %s is no time to come", s)
		}
		return now.Add(life), nil
	}
	t, err := directory.ParseExpiry(s)
	if err != nil {
		return t, iam.Invalidf("--expires %q is no moment: write a time from now as 720h, a day as 2027-01-31, or a time as 2027-01-31T12:00:00Z", s)
	}
	return t, nil
}
