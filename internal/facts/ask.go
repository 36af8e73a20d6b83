package facts

import (
	"context"
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// artifactQuestion asks for the project that an artifact was made in: its sequence's, never that of
// a collection it was linked into later (sdk-wire 4.4).
const artifactQuestion = `query GatewayPlaceArtifact($id: ID!) { artifact(id: $id) { artifactSequence { project { name entity { name } } } } }`

// askPlace asks the upstream where an id lies. Only artifacts have a question whose fields are known
// to exist; every other id that was not learned cannot be placed.
func askPlace(ctx context.Context, who gateway.Caller, t wandb.IDType, id string) (place, error) {
	if t != wandb.IDArtifact || who.Ask == nil {
		return place{}, errNoPlace
	}
	body, err := json.Marshal(map[string]any{"query": artifactQuestion, "variables": map[string]string{"id": id}})
	if err != nil {
		return place{}, err
	}
	answer, err := who.Ask(ctx, body)
	if err != nil {
		return place{}, err
	}
	return readPlace(answer)
}

// readPlace reads the answer to artifactQuestion. What is not told is no place; what cannot be read
// is neither yes nor no.
func readPlace(answer []byte) (place, error) {
	type entity struct{ Name string }
	type project struct {
		Name   string
		Entity *entity
	}
	type sequence struct{ Project *project }
	type artifact struct{ ArtifactSequence *sequence }
	var read struct {
		Data *struct{ Artifact *artifact }
	}
	if err := json.Unmarshal(answer, &read); err != nil || read.Data == nil {
		return place{}, iam.Unavailable("The W&B server behind the gateway gave an answer that cannot be read.", err)
	}
	a := read.Data.Artifact
	if a == nil || a.ArtifactSequence == nil || a.ArtifactSequence.Project == nil || a.ArtifactSequence.Project.Entity == nil {
		return place{}, errNoPlace
	}
	p := place{a.ArtifactSequence.Project.Entity.Name, a.ArtifactSequence.Project.Name}
	if p.Entity == "" || p.Project == "" {
		return place{}, errNoPlace
	}
	return p, nil
}

var errNoPlace = iam.NotFoundf("The id does not tell in which project it lies.")
