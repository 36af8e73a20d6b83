package scim

import (
	"context"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/patch"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

func compileFilter(t *schema.ResourceType, text string) (*schema.Filter, error) {
	e, err := filter.Parse(text)
	if err != nil {
		return nil, err
	}
	return t.Compile(e)
}

// groupNamed returns the team of that name, if there is one.
func (s *Service) groupNamed(ctx context.Context, name string) ([]*directory.Group, error) {
	id, err := s.Directory.FindTeam(ctx, name)
	if err != nil || id == "" {
		return nil, err
	}
	g, err := s.Directory.Group(ctx, id)
	if iam.KindOf(err) == iam.KindNotFound {
		return nil, nil // deleted between the two reads
	}
	return []*directory.Group{g}, err
}

func patchedGroup(g *directory.Group, base string, operations []patch.Operation) (schema.Resource, error) {
	return patch.Apply(groupType, groupResource(g, base, everything), operations)
}
