package admin

import (
	"cmp"
	"context"
	"slices"
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

func (s *Service) listKeys(ctx context.Context, r request) (any, error) {
	var owner iam.PrincipalRef
	if r.Owner != nil {
		var err error
		if owner, err = s.requiredOwner(ctx, r); err != nil {
			return nil, err
		}
	}
	return s.keyRows(ctx, owner, func(directory.Key) bool { return true })
}

func (s *Service) getKey(ctx context.Context, r request) (any, error) {
	rows, err := s.keyRows(ctx, iam.PrincipalRef{}, func(k directory.Key) bool { return string(k.ID) == r.Target })
	if err == nil && len(rows) == 0 {
		err = noKey(r.Target)
	}
	return rows, err
}

func noKey(id string) error {
	return iam.NotFoundf("there is no key with the id %q; `iam key list` shows the ids", id)
}

// keyRows collects keys, sorted by owner and time.
func (s *Service) keyRows(ctx context.Context, owner iam.PrincipalRef, wanted func(directory.Key) bool) ([]KeyRow, error) {
	names, entities := make(map[iam.PrincipalRef]string), make(map[iam.EntityID]string)
	rows := []KeyRow{}
	err := s.directory.Keys(ctx, owner, func(k directory.Key) error {
		if !wanted(k) {
			return nil
		}
		name, ok := names[k.Owner]
		if !ok {
			p, err := s.directory.Principal(ctx, k.Owner)
			if err != nil {
				return err
			}
			if name = p.Username; p.IsServiceAccount() {
				name = "service_account:" + name
			}
			names[k.Owner] = name
		}
		limits, err := s.shownLimits(ctx, k.KeyLimits, entities)
		if err != nil {
			return err
		}
		rows = append(rows, KeyRow{k.ID, name, k.Name, k.Created, limits})
		return nil
	})
	slices.SortFunc(rows, func(a, b KeyRow) int {
		return cmp.Or(cmp.Compare(a.Owner, b.Owner), a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
	return rows, err
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
