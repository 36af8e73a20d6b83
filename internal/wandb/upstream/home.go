package upstream

import (
	"context"
	"errors"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// home is the project that an opaque id belongs to.
type home struct{ entity, project string }

// homeQuestions ask where ids belong.
func homeQuestions() map[wandb.IDType]*question {
	questions := make(map[wandb.IDType]*question)
	for _, t := range wandb.HomeQuestions() {
		questions[t] = &question{wordings: []string{wandb.HomeQuestion(t)}}
	}
	return questions
}

// PlaceID finds the project of an opaque id by asking the server: with the administrator's key if
// there is one, since a place is the same for everybody, else with the caller's credential c. It
// says nothing about whether the caller p may see it.
//
// It returns iam.KindNotFound with ReasonUnplaced when the server shows no such thing or has no way
// to say, and iam.KindUnavailable when it does not answer.
func (d *Directory) PlaceID(ctx context.Context, p *iam.Principal, c iam.Credential, t wandb.IDType, id string) (entity, project string, err error) {
	who := d.admin
	if who.kind == askerNobody {
		who = askerOf(c)
	} else if p != nil {
		who.behalf = p.Ref.ID
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
	read, err := wandb.ReadHome(t, raw)
	switch {
	case err != nil:
		return home{}, d.unavailable("answered something unreadable about an id", err, 0)
	case read.Artifact != "" && t != wandb.IDArtifact:
		return d.askHome(ctx, who, wandb.IDArtifact, read.Artifact)
	case read.Entity == "":
		return home{}, d.unplaced(t)
	}
	return home{entity: read.Entity, project: read.Project}, nil
}

func (d *Directory) unplaced(t wandb.IDType) error {
	return &iam.Error{
		Kind: iam.KindNotFound, Reason: ReasonUnplaced,
		Message: fmt.Sprintf("The gateway cannot tell to which project this %s id belongs.", t),
	}
}
