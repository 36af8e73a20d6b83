package directory

import (
	"context"
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// A person or a team can have a key of the W&B server's own, which package vault seals and opens. What
// it makes of the key is recorded here, so that it ends with its owner, in the same commit.

// UpstreamKeyRecord is the name of the record of an owner's key, for those that read it through the
// cache.
func (d *Directory) UpstreamKeyRecord(owner iam.EntityID) string { return d.names.upstreamKey(owner) }

// SetUpstreamKey records the sealed key of a person or team, in place of an earlier one, and reports
// whether there was one. An owner that does not exist is iam.KindNotFound.
func (d *Directory) SetUpstreamKey(ctx context.Context, owner iam.EntityID, sealed json.RawMessage) (replaced bool, err error) {
	err = d.change(ctx, func(tx *transaction) error {
		if err := tx.standingOwner(owner); err != nil {
			return err
		}
		key := tx.d.names.upstreamKey(owner)
		before, err := tx.fetch(key)
		if err != nil {
			return err
		}
		replaced = before != nil
		return tx.put(key, sealed)
	})
	return replaced, err
}

// DeleteUpstreamKey forgets the key of a person or team at once. Without one it is iam.KindNotFound.
func (d *Directory) DeleteUpstreamKey(ctx context.Context, owner iam.EntityID) error {
	return d.change(ctx, func(tx *transaction) error {
		key := tx.d.names.upstreamKey(owner)
		before, err := tx.fetch(key)
		if err == nil && before == nil {
			err = iam.NotFoundf("no key of the W&B server is stored for them")
		}
		if err != nil {
			return err
		}
		return tx.delete(key)
	})
}

// UpstreamKey returns the record of an owner's key past the cache; store.ErrNotFound if there is none.
func (d *Directory) UpstreamKey(ctx context.Context, owner iam.EntityID) (store.Record, error) {
	r, err := d.reading(ctx).original(d.names.upstreamKey(owner))
	if err == nil && r.Version == 0 {
		err = store.ErrNotFound
	}
	return r, err
}

// UpstreamKeys calls f with every owner of a key and its record, in no useful order, until it returns an
// error, which is returned.
func (d *Directory) UpstreamKeys(ctx context.Context, f func(owner iam.EntityID, r store.Record) error) error {
	return d.scan(ctx, d.names.upstream, func(r store.Record) error {
		return f(iam.EntityID(r.Key[len(d.names.upstream):]), r)
	})
}

// standingOwner makes sure that a team or person is there and stays until this change is committed.
func (tx *transaction) standingOwner(owner iam.EntityID) error {
	if team, ok := owner.Team(); ok {
		_, err := tx.standingTeam(team)
		return err
	}
	user, ok := owner.User()
	if !ok {
		return iam.Invalidf("%q is neither a person nor a team", untrusted.Clip(string(owner)))
	}
	_, err := tx.standingUser(user)
	return err
}
