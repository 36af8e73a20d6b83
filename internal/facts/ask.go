package facts

import (
	"context"
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// askPlace asks the upstream where an id lies, if there is a question for its sort. An id that a client
// made up for an artifact is asked for first.
func askPlace(ctx context.Context, who gateway.Caller, t wandb.IDType, id string) (place, error) {
	h, err := askHome(ctx, who, t, id)
	if err == nil && h.Artifact != "" {
		h, err = askHome(ctx, who, wandb.IDArtifact, h.Artifact)
	}
	switch {
	case err != nil:
		return place{}, err
	case h.Entity == "":
		return place{}, errNoPlace
	}
	return place{Entity: h.Entity, Project: h.Project}, nil
}

func askHome(ctx context.Context, who gateway.Caller, t wandb.IDType, id string) (wandb.Home, error) {
	question := wandb.HomeQuestion(t)
	if question == "" || who.Ask == nil {
		return wandb.Home{}, nil
	}
	body, err := json.Marshal(map[string]any{"query": question, "variables": map[string]string{"id": id}})
	if err != nil {
		return wandb.Home{}, err
	}
	answer, err := who.Ask(ctx, body)
	if err != nil {
		return wandb.Home{}, err
	}
	h, err := wandb.ReadHomeAnswer(t, answer)
	if err != nil {
		return wandb.Home{}, iam.Unavailable("The W&B server behind the gateway was asked where an id belongs and gave an answer that cannot be read. The request was neither allowed nor refused; try again.", err)
	}
	return h, nil
}

var errNoPlace = iam.NotFoundf("The id does not tell in which project it lies.")
