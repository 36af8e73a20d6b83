package admin

import (
	"context"
	"fmt"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Question asks whether somebody may do something or, with Token, whether a token counts.
type Question struct {
	Token    string `json:"token"`
	As       string `json:"as"`       // USERNAME, service_account:NAME or anonymous
	Key      string `json:"key"`      // or the id of an API key, with its limits
	To       string `json:"to"`       // a permission
	Resource string `json:"resource"` // ENTITY/PROJECT or ENTITY
}

// Explanation is the answer, with the reason that the gateway would give.
type Explanation struct {
	Done
	Allowed bool       `json:"allowed"`
	Reason  iam.Reason `json:"reason"`
}

// Explain decides a question by the same rules and facts as a request.
func (s *Service) Explain(ctx context.Context, body []byte) (any, error) {
	var q Question
	if err := decode(body, &q); err != nil {
		return nil, err
	}
	if q.Token != "" {
		return s.explainToken(ctx, q.Token)
	}
	p, err := s.asker(ctx, q)
	if err != nil {
		return nil, err
	}
	if p != nil && p.Active {
		if err := s.directory.Expired(p); err != nil {
			reason := iam.ReasonOf(err)
			return Explanation{Done{fmt.Sprintf("refused: %s\n%s", reason, err)}, false, reason}, nil
		}
	}
	entity, project, _ := strings.Cut(q.Resource, "/")
	facts, err := s.directory.Facts(ctx, p, entity, project)
	if err != nil {
		return nil, err
	}
	permission := authz.Permission(q.To)
	d := authz.Decide(authz.Request{Permission: permission}, facts)
	if d.Reason == authz.ReasonUnknownRequest {
		return nil, iam.Invalidf("%q is no permission; docs/permissions.md lists them, such as project:read and run:write", q.To)
	}
	names := authz.Names{Entity: entity, Project: project}.By(p)
	verdict := "allowed: " + string(d.Reason)
	if !d.Allowed() {
		verdict = fmt.Sprintf("refused: %s\n%s", d.Reason, authz.Sentence(d.Reason, names))
	}
	return Explanation{Done{verdict}, d.Allowed(), d.Reason}, nil
}

// asker finds whom a question is about; nil for somebody without a credential.
func (s *Service) asker(ctx context.Context, q Question) (*iam.Principal, error) {
	switch {
	case q.Key != "" && q.As != "":
		return nil, iam.Invalidf("a question is about --as WHO or about --key ID, whose owner is known, and not about both")
	case q.Key != "":
		return s.directory.PrincipalOfKey(ctx, iam.KeyID(q.Key))
	case q.As == "anonymous":
		return nil, nil
	}
	ref, err := s.principal(ctx, q.As)
	if err != nil {
		return nil, err
	}
	return s.directory.Principal(ctx, ref)
}
