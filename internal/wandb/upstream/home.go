package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// home is the project that an opaque id belongs to.
type home struct{ entity, project string }

// homeQuestions ask where ids belong, for the sorts of which the SDK's own questions show how
// (sdk-wire 4.4). Each has one root field, aliased to `it`. An artifact belongs to the project of its
// sequence, wherever else it is linked.
func homeQuestions() map[wandb.IDType]*question {
	const inSequence = `{ artifactSequence { project { name entity { name } } } }`
	return map[wandb.IDType]*question{
		wandb.IDArtifact: {wordings: []string{
			`query GatewayHome($id: ID!) { it: artifact(id: $id) ` + inSequence + ` }`,
		}},
		wandb.IDCollection: {wordings: []string{
			`query GatewayHome($id: ID!) { it: artifactCollection(id: $id) { project { name entity { name } } } }`,
		}},
		wandb.IDArtifactClient: {wordings: []string{
			`query GatewayHome($id: ID!) { it: clientIDMapping(clientID: $id) { serverID } }`,
		}},
	}
}

// PlaceID finds the project of an opaque id by asking the server: with the administrator's key if
// there is one, since a place is the same for everybody, else with the caller's credential c. It
// says nothing about whether the caller may see it.
//
// It returns iam.KindNotFound with ReasonUnplaced when the server shows no such thing or has no way
// to say, and iam.KindUnavailable when it does not answer.
func (d *Directory) PlaceID(ctx context.Context, c iam.Credential, t wandb.IDType, id string) (entity, project string, err error) {
	who := d.admin
	if who.kind == askerNobody {
		who = askerOf(c)
	}
	if _, ok := d.questions.homes[t]; !ok || id == "" || len(id) > maxNameBytes || who.kind == askerNobody {
		return "", "", d.unplaced(t)
	}
	key := digestOf(purposeHome, who.digest[:], string(t), id)
	e, due, ok := d.homes.peek(key, 0)
	look := func(ctx context.Context) answer[home] {
		h, err := d.askHome(ctx, who, t, id)
		return answer[home]{value: h, err: err}
	}
	switch {
	case !ok:
		e.value, e.err = d.homes.fetch(ctx, key, 0, look)
	case due:
		d.homes.refresh(key, 0, look)
	}
	return e.value.entity, e.value.project, e.err
}

func (d *Directory) askHome(ctx context.Context, who asker, t wandb.IDType, id string) (home, error) {
	r, err := d.ask(ctx, who, d.questions.homes[t], map[string]string{"id": id})
	switch {
	case errors.Is(err, errRefused):
		return home{}, d.refused(who, err)
	case errors.Is(err, errForbidden), errors.Is(err, errNotFound), errors.Is(err, errUnknownField):
		return home{}, d.unplaced(t)
	case err != nil:
		return home{}, err
	}
	raw, absent, err := r.root("it")
	switch {
	case err != nil:
		return home{}, d.unavailable("answered only half of where an id belongs", err, 0)
	case absent:
		return home{}, d.unplaced(t)
	}
	var it struct {
		ServerID         string          `json:"serverID"`
		Project          json.RawMessage `json:"project"`
		ArtifactSequence struct {
			Project json.RawMessage `json:"project"`
		} `json:"artifactSequence"`
	}
	if err := json.Unmarshal(raw, &it); err != nil {
		return home{}, d.unavailable("answered something unreadable about an id", err, 0)
	}
	if t == wandb.IDArtifactClient {
		if it.ServerID == "" || len(it.ServerID) > maxNameBytes {
			return home{}, d.unplaced(t)
		}
		return d.askHome(ctx, who, wandb.IDArtifact, it.ServerID)
	}
	return d.homeOf(t, it.Project, it.ArtifactSequence.Project)
}

// homeOf reads the first of the projects that is there.
func (d *Directory) homeOf(t wandb.IDType, projects ...json.RawMessage) (home, error) {
	for _, raw := range projects {
		if isNull(raw) {
			continue
		}
		var project struct {
			Name   string `json:"name"`
			Entity struct {
				Name string `json:"name"`
			} `json:"entity"`
		}
		if err := json.Unmarshal(raw, &project); err != nil {
			return home{}, d.unavailable("answered something unreadable about an id", err, 0)
		}
		if project.Name != "" && project.Entity.Name != "" {
			return home{entity: project.Entity.Name, project: project.Name}, nil
		}
	}
	return home{}, d.unplaced(t)
}

func (d *Directory) unplaced(t wandb.IDType) error {
	return &iam.Error{
		Kind: iam.KindNotFound, Reason: ReasonUnplaced,
		Message: fmt.Sprintf("The gateway cannot tell to which project this %s id belongs.", t),
	}
}
