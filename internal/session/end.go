package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// endTogether bounds the sessions that end in one commit.
const endTogether = 500

// End ends the session of a cookie's value: when it returns nil, no copy of the cookie is good for
// anything on this node, nor, within the bound of the cache, on any other (threats O14). Ending what
// there is not, or no longer, is no error.
func (s *Sessions) End(ctx context.Context, secret iam.Secret) error {
	key, ok := s.keyOf(secret)
	if !ok {
		return nil
	}
	_, err := s.end(ctx, func() ([]stored, error) {
		r, err := s.store.Get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, unreadable(fmt.Errorf("reading a session: %w", err))
		}
		x, err := decodeStored(r)
		return []stored{x}, err
	})
	return err
}

// EndByID ends the session of an owner with that id and returns it; owner may be nobody for an admin
// who ends anybody's. If there is none, or it has been ended by somebody else at the same moment, that
// is iam.KindNotFound.
func (s *Sessions) EndByID(ctx context.Context, owner iam.PrincipalRef, id string) (*Session, error) {
	if !ValidID(id) {
		return nil, iam.Invalidf("%q is not the id of a session: ids are 16 hex digits, as the list shows them", untrusted.Clip(id))
	}
	ended, err := s.end(ctx, func() ([]stored, error) {
		return s.withIDs(ctx, []string{id}, func(x *Session) bool { return owner.ID == "" || x.Principal == owner })
	})
	switch {
	case err != nil:
		return nil, err
	case len(ended) == 0:
		return nil, iam.NotFoundf("there is no session %s: it has ended, or belongs to somebody else", id)
	}
	return ended[0], nil
}

// EndAll ends all sessions of an owner and returns how many were live. A session that is being made at
// the same moment may remain: what ends that one too is a new epoch of the principal.
func (s *Sessions) EndAll(ctx context.Context, owner iam.PrincipalRef) (n int, err error) {
	if owner.ID == "" {
		return 0, iam.Invalidf("whose sessions are to end must be said")
	}
	ended, err := s.end(ctx, func() ([]stored, error) { return s.owned(ctx, owner) })
	return len(ended), err
}

// EndAtProvider ends the sessions that a provider says are over (OpenID Connect Back-Channel Logout
// 1.0 section 2.7 and Front-Channel Logout 1.0 section 3) and returns how many were live: those of its
// session sid, or, if that is empty, all of its subject. None is no error. Issuer, and one of sid and
// subject, must be given.
func (s *Sessions) EndAtProvider(ctx context.Context, issuer, subject, sid string) (n int, err error) {
	if issuer == "" || subject == "" && sid == "" {
		return 0, iam.Invalidf("a logout names its issuer, and a session or a subject there")
	}
	index, wanted := s.sessionsOfProvider(issuer, sid), func(x *Session) bool {
		return x.Issuer == issuer && x.ProviderSession == sid
	}
	if sid == "" {
		index, wanted = s.sessionsOfSubject(issuer, subject), func(x *Session) bool {
			return x.Issuer == issuer && x.Subject == subject
		}
	}
	ended, err := s.end(ctx, func() ([]stored, error) {
		ids, err := s.list(ctx, index)
		if err != nil {
			return nil, err
		}
		return s.withIDs(ctx, ids, wanted)
	})
	return len(ended), err
}

// end deletes the sessions that find returns, and returns those that this call has ended: of several
// that end one session at the same moment, one is told so. Expired ones are deleted, but not returned.
// When it fails, those that it returns have ended nevertheless.
func (s *Sessions) end(ctx context.Context, find func() ([]stored, error)) (ended []*Session, err error) {
	now := s.now()
	for range rounds {
		found, err := find()
		if err != nil {
			return ended, err
		}
		conflict := false
		for together := range slices.Chunk(found, endTogether) {
			_, err := s.cache.Commit(ctx, s.deletions(together)...)
			if errors.Is(err, store.ErrConflict) {
				conflict = true // one of them has ended: look again
				continue
			}
			if err != nil {
				return ended, unreadable(fmt.Errorf("ending sessions: %w", err))
			}
			for _, x := range together {
				if x.live(now) {
					ended = append(ended, x.Session)
				}
			}
		}
		if !conflict {
			return ended, nil
		}
	}
	return ended, errRestless
}

// deletions returns the writes that delete sessions with all that belongs to them, unless one of them
// was deleted meanwhile.
func (s *Sessions) deletions(sessions []stored) []store.Write {
	var writes []store.Write
	for _, x := range sessions {
		writes = append(writes,
			store.Write{Key: x.key, Expect: store.At(x.version)},
			store.Write{Key: s.hintOf(x.Session)})
		for _, index := range s.indexes(x.Session) {
			writes = append(writes, store.Write{Key: index})
		}
	}
	return writes
}
