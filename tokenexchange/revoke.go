package tokenexchange

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// RevokeToken ends one access token at once. id is its claim `jti`, which stands in the event of its
// exchange.
func (s *Service) RevokeToken(ctx context.Context, id string) error {
	raw, err := hex.DecodeString(id)
	if err != nil || len(raw) != 16 {
		return iam.Invalidf("%.80q is not the id of an access token: it is its claim jti, 32 hex digits, as the log of its exchange has it", id)
	}
	value, err := json.Marshal(revokedToken{Expires: s.Now().Add(MaxLifetime + leeway).UTC()})
	if err != nil {
		return err
	}
	_, err = s.Cache.Commit(ctx, store.Write{Key: s.names.revoked + tokenID(raw), Value: value})
	return unreachable(err)
}

// RevokeBefore ends all access tokens that were made before a moment, which must have passed. A moment
// before the one of an earlier call changes nothing.
func (s *Service) RevokeBefore(ctx context.Context, moment time.Time) error {
	if moment.After(s.Now()) {
		return iam.Invalidf("%s has not come yet: tokens of the future cannot be revoked", moment.UTC().Format(time.RFC3339))
	}
	for range attempts {
		r, err := s.Cache.Store().Get(ctx, s.names.cutoff)
		expect := store.At(r.Version)
		if errors.Is(err, store.ErrNotFound) {
			expect, err = store.Absent(), nil
		}
		if err != nil {
			return unreachable(err)
		}
		if len(r.Value) > 0 {
			was, err := decode[notBeforeRecord](r)
			if err != nil {
				return err
			}
			if !moment.After(was.NotBefore) {
				return nil
			}
		}
		value, err := json.Marshal(notBeforeRecord{moment.UTC()})
		if err != nil {
			return err
		}
		_, err = s.Cache.Commit(ctx, store.Write{Key: s.names.cutoff, Value: value, Expect: expect})
		if !errors.Is(err, store.ErrConflict) {
			return unreachable(err)
		}
	}
	return iam.Conflictf("others kept revoking at the same moment: try again")
}

// Collect deletes the marks of tokens that would have expired by now.
func (s *Service) Collect(ctx context.Context) error {
	after := ""
	for {
		page, err := s.Cache.Store().List(ctx, s.names.revoked, after, 0)
		if err != nil {
			return unreachable(err)
		}
		var writes []store.Write
		for _, r := range page {
			if mark, err := decode[revokedToken](r); err == nil && mark.Expires.Before(s.Now()) {
				writes = append(writes, store.Write{Key: r.Key, Expect: store.At(r.Version)})
			}
		}
		if len(writes) > 0 {
			if _, err := s.Cache.Commit(ctx, writes...); err != nil && !errors.Is(err, store.ErrConflict) {
				return unreachable(err)
			}
		}
		if len(page) < store.MaxListed {
			return nil
		}
		after = page[len(page)-1].Key
	}
}

// collectEvery is how often is looked for what is not needed any more.
const collectEvery = time.Hour

// Run deletes the marks of expired tokens, and stops fetching for issuers that another node, or a
// request of the configuration before, left here, until ctx ends. What fails is tried again the next
// time.
func (s *Service) Run(ctx context.Context) {
	ticker := time.NewTicker(collectEvery)
	defer ticker.Stop()
	for {
		_ = s.Collect(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		_ = s.DropKeySets(ctx) // not at once: this configuration may not stay
	}
}
