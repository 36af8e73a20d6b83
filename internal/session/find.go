package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Find returns the session of a cookie's value, read through v. It is iam.KindUnauthenticated
// (ReasonEnded) if there is none, or no longer. A value that can be none of ours is refused before
// anything is looked up.
//
// The caller reads the principal through v too, asks whether the session Holds for it, and v whether
// it is Valid.
func (s *Sessions) Find(ctx context.Context, v *hotcache.View, secret iam.Secret) (*Session, error) {
	key, ok := s.keyOf(secret)
	if !ok {
		return nil, errEnded
	}
	found, err := hotcache.Read(ctx, v, key, decode)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errEnded
	case err != nil:
		return nil, unreadable(err)
	case !found.live(s.now()):
		return nil, errEnded
	}
	return found, nil
}

// List calls f with every live session of an owner, or of everybody if owner names nobody, in no
// useful order, until it returns an error, which is returned.
func (s *Sessions) List(ctx context.Context, owner iam.PrincipalRef, f func(*Session) error) error {
	now := s.now()
	visit := func(x stored) error {
		if !x.live(now) {
			return nil
		}
		return f(x.Session)
	}
	if owner.ID == "" {
		return s.scan(ctx, s.names.session, store.MaxListed, func(r store.Record) error {
			x, err := decodeStored(r)
			if err != nil {
				return err
			}
			return visit(x)
		})
	}
	all, err := s.owned(ctx, owner)
	if err != nil {
		return err
	}
	for _, x := range all {
		if err := visit(x); err != nil {
			return err
		}
	}
	return nil
}

// stored is a session as it stands in the store.
type stored struct {
	*Session
	version store.Revision
}

func decodeStored(r store.Record) (stored, error) {
	x, err := decode(r)
	return stored{x, r.Version}, err
}

// owned returns all sessions of an owner.
func (s *Sessions) owned(ctx context.Context, owner iam.PrincipalRef) ([]stored, error) {
	ids, err := s.list(ctx, s.sessionsOf(owner))
	if err != nil {
		return nil, err
	}
	return s.withIDs(ctx, ids, func(x *Session) bool { return x.Principal == owner })
}

// list returns the ids in an index.
func (s *Sessions) list(ctx context.Context, index string) ([]string, error) {
	var ids []string
	err := s.scan(ctx, index, store.MaxListed, func(r store.Record) error {
		ids = append(ids, r.Key[len(index):])
		return nil
	})
	return ids, err
}

// withIDs returns the sessions with those ids that are wanted. An id that leads to nothing was ended
// between the two reads.
func (s *Sessions) withIDs(ctx context.Context, ids []string, wanted func(*Session) bool) ([]stored, error) {
	var all []stored
	for _, id := range ids {
		err := s.scan(ctx, s.names.session+id, store.MaxListed, func(r store.Record) error {
			x, err := decodeStored(r)
			if err == nil && wanted(x.Session) {
				all = append(all, x)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// scan calls f with every record under prefix, in the order of keys, in pages of that size.
func (s *Sessions) scan(ctx context.Context, prefix string, size int, f func(store.Record) error) error {
	after := ""
	for {
		page, err := s.page(ctx, prefix, after, size)
		if err != nil {
			return err
		}
		for _, r := range page {
			if err := f(r); err != nil {
				return err
			}
		}
		if len(page) < size {
			return nil
		}
		after = page[len(page)-1].Key
	}
}

func (s *Sessions) page(ctx context.Context, prefix, after string, size int) ([]store.Record, error) {
	page, err := s.store.List(ctx, prefix, after, size)
	if err != nil {
		return nil, unreadable(fmt.Errorf("listing records %q: %w", prefix, err))
	}
	return page, nil
}
