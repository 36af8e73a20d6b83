package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// UsedKeys is Keys with when each was last used. Of keys that are used at other gateways that is a little over a
// minute late.
func (d *Directory) UsedKeys(ctx context.Context, owner iam.PrincipalRef, f func(Key) error) error {
	prefix := d.names.key
	if owner.ID != "" {
		prefix = d.names.keysOf(owner)
	}
	uses := useList{uses: d.uses}
	tx := d.reading(ctx)
	return d.scan(ctx, prefix, func(r store.Record) error {
		sum := r.Key[len(prefix):]
		k, err := d.listedKey(tx, owner, sum, r)
		if err != nil || k == nil {
			return err // nil: deleted between the two reads
		}
		if owner.ID == "" {
			k.LastUsed, err = uses.of(ctx, sum)
		} else {
			k.LastUsed, err = d.lastUse(ctx, sum)
		}
		if k.LastUsed.Before(k.Created) { // of a key that was deleted, and recorded again
			k.LastUsed = time.Time{}
		}
		if err != nil {
			return err
		}
		return f(*k)
	})
}

// listedKey returns the key of a record under key/, or of one that lists it among its owner's.
func (d *Directory) listedKey(tx *transaction, owner iam.PrincipalRef, sum string, r store.Record) (*Key, error) {
	var found *keyRecord
	var err error
	if owner.ID == "" {
		found, err = decode[keyRecord](r)
	} else {
		found, err = load[keyRecord](tx, d.names.key+sum)
	}
	if err != nil || found == nil {
		return nil, err
	}
	k := found.key()
	return &k, nil
}

// lastUse returns when one key was last used.
func (d *Directory) lastUse(ctx context.Context, sum string) (time.Time, error) {
	if d.uses == nil {
		return time.Time{}, nil
	}
	r, err := d.uses.store.Get(ctx, d.uses.keys+sum)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return time.Time{}, unreadable(fmt.Errorf("reading the use of an API key: %w", err))
	}
	return d.uses.last(sum, useOf(r)), nil
}

// UsesBegan returns since when the uses of keys are recorded. Of a key that is older and was not used since, nobody
// knows whether it was used before.
func (d *Directory) UsesBegan(ctx context.Context) (time.Time, error) {
	if d.uses == nil {
		return d.now().UTC(), nil
	}
	return d.uses.began(ctx)
}

// UnusedSince reports whether a key was neither used nor made since a moment. Of a key without a use nothing is known
// from before uses were recorded, so that none counts as unused that early.
func (k *Key) UnusedSince(since, usesBegan time.Time) bool {
	if !k.LastUsed.IsZero() {
		return k.LastUsed.Before(since)
	}
	return k.Created.Before(since) && usesBegan.Before(since)
}

// useList goes through the recorded uses beside a list of keys, which is in the order of their hashes too.
type useList struct {
	uses  *Uses
	page  []store.Record
	after string
	ended bool
}

// of returns when the key of that hash was last used; the hashes it is asked for ascend.
func (l *useList) of(ctx context.Context, sum string) (time.Time, error) {
	if l.uses == nil {
		return time.Time{}, nil
	}
	key := l.uses.keys + sum
	for {
		i, found := slices.BinarySearchFunc(l.page, key, func(r store.Record, key string) int { return cmp.Compare(r.Key, key) })
		l.page = l.page[i:]
		switch {
		case found:
			return l.uses.last(sum, useOf(l.page[0])), nil
		case len(l.page) > 0 || l.ended:
			return l.uses.last(sum, time.Time{}), nil
		}
		page, err := l.uses.store.List(ctx, l.uses.keys, l.after, 0)
		if err != nil {
			return time.Time{}, unreadable(fmt.Errorf("listing the uses of API keys: %w", err))
		}
		l.page, l.ended = page, len(page) < store.MaxListed
		if len(page) > 0 {
			l.after = page[len(page)-1].Key
		}
	}
}
