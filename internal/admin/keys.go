package admin

import (
	"context"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// KeyRow is what a list shows of an API key. The key itself is kept nowhere.
type KeyRow struct {
	ID      iam.KeyID `json:"id"`
	Owner   string    `json:"owner"`
	Name    string    `json:"name"`
	Created time.Time `json:"created"`
	// LastUsed is absent if nobody knows of any use.
	LastUsed time.Time `json:"last_used,omitzero"`
	keyLimits
}

func (s *Service) createKey(ctx context.Context, r request) (any, error) {
	owner, err := s.requiredOwner(ctx, r)
	if err != nil {
		return nil, err
	}
	if text(r.Name) == "" {
		return nil, iam.Invalidf("a key needs --name, which says what it is for: `--name laptop`")
	}
	limits, err := s.keyLimits(ctx, r)
	if err != nil {
		return nil, err
	}
	secret, change, err := s.directory.CreateKey(ctx, directory.NewKey{Owner: owner, Name: *r.Name, Limits: limits})
	if err != nil {
		return nil, err
	}
	// The one place where a key leaves the gateway.
	return struct {
		Done
		ID iam.KeyID `json:"id"`
	}{Done{secret.Reveal()}, change.After.ID}, nil
}

func (s *Service) requiredOwner(ctx context.Context, r request) (iam.PrincipalRef, error) {
	if text(r.Owner) == "" {
		return iam.PrincipalRef{}, iam.Invalidf("a key needs --owner: USERNAME or service_account:NAME")
	}
	return s.principal(ctx, *r.Owner)
}

func (s *Service) getKey(ctx context.Context, r request) (any, error) {
	rows, err := s.keyRows(ctx, keyQuery{id: iam.KeyID(r.Target)})
	if err == nil && len(rows.Rows) == 0 {
		err = noKey(r.Target)
	}
	return rows.Rows, err
}

func noKey(id string) error {
	return iam.NotFoundf("there is no key with the id %q; `iam key list` shows the ids", id)
}

func (s *Service) renameKey(ctx context.Context, r request) (any, error) {
	if _, err := s.directory.RenameKey(ctx, iam.PrincipalRef{}, iam.KeyID(r.Target), text(r.Name)); err != nil {
		return nil, err
	}
	return done("key %s renamed", r.Target)
}

func (s *Service) deleteKey(ctx context.Context, r request) (any, error) {
	if _, err := s.directory.DeleteKey(ctx, iam.PrincipalRef{}, iam.KeyID(r.Target)); err != nil {
		return nil, err
	}
	return done("key %s deleted; it no longer works", r.Target)
}
