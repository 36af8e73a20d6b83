package scim

import (
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
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

func patchedGroup(g *directory.Group, base string, operations []patch.Operation) (schema.Resource, error) {
	return patch.Apply(groupType, groupResource(g, base, everything), operations)
}
