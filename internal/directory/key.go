package directory

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Key is what is known of an API key; the key itself is not (K06).
type Key struct {
	ID      iam.KeyID        `json:"id"`
	Owner   iam.PrincipalRef `json:"owner"`
	Name    string           `json:"name"`
	Created time.Time        `json:"created"`
	iam.KeyLimits
	// LastUsed is when the key last proved who calls, whatever they were then allowed to do; zero if it never did
	// since uses are recorded. Only UsedKeys tell it.
	LastUsed time.Time `json:"last_used,omitzero"`
}

// NewKey describes an API key to be made.
type NewKey struct {
	Owner iam.PrincipalRef
	Name  string
	// Limits are what the key may less than its owner, for good.
	Limits iam.KeyLimits
}

// MintKey makes an API key for a principal, without limits. The secret is returned here and nowhere else.
// External service accounts own no keys (KEY-4).
func (d *Directory) MintKey(ctx context.Context, owner iam.PrincipalRef, name string) (iam.Secret, Change[Key], error) {
	return d.CreateKey(ctx, NewKey{Owner: owner, Name: name})
}

// CreateKey is MintKey for keys that may have limits. One that has expired already, or whose entity is not
// there, is iam.KindInvalid or iam.KindNotFound.
func (d *Directory) CreateKey(ctx context.Context, n NewKey) (iam.Secret, Change[Key], error) {
	var c Change[Key]
	secret, _ := apikey.Mint()
	n.Limits.Expires = n.Limits.Expires.UTC().Truncate(time.Second)
	if n.Limits.Expired(d.now()) {
		return iam.Secret{}, c, iam.Invalidf("the key would have expired already, on %s: name a moment that is to come", moment(n.Limits.Expires))
	}
	err := d.change(ctx, func(tx *transaction) (err error) {
		c, err = tx.mintKey(n, secret)
		return err
	})
	if err != nil {
		return iam.Secret{}, c, err
	}
	return secret, c, nil
}

// ImportKey records a key that exists elsewhere, of any form but a JWT's. Recording it again for the
// same owner changes its name only; a key of somebody else is iam.KindConflict.
func (d *Directory) ImportKey(ctx context.Context, owner iam.PrincipalRef, name string, key iam.Secret) (Change[Key], error) {
	var c Change[Key]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c, err = tx.putKey(NewKey{Owner: owner, Name: name}, key)
		return err
	})
	return c, err
}

// Keys calls f with every key of an owner, or of the organization if owner names nobody, in no useful
// order, until it returns an error, which is returned.
func (d *Directory) Keys(ctx context.Context, owner iam.PrincipalRef, f func(Key) error) error {
	if owner.ID == "" {
		return each(ctx, d, d.names.key, func(r *keyRecord) error { return f(r.key()) })
	}
	prefix := d.names.keysOf(owner)
	tx := d.reading(ctx)
	return d.scan(ctx, prefix, func(r store.Record) error {
		k, err := load[keyRecord](tx, d.names.key+r.Key[len(prefix):])
		if err != nil || k == nil {
			return err // nil: deleted between the two reads
		}
		return f(k.key())
	})
}

// RenameKey gives a key another label; its use is not interrupted (KEY-10). owner may be nobody if
// the id is that of one key only.
func (d *Directory) RenameKey(ctx context.Context, owner iam.PrincipalRef, id iam.KeyID, name string) (Change[Key], error) {
	var c Change[Key]
	err := d.change(ctx, func(tx *transaction) error {
		if err := validLabel("key name", name); err != nil {
			return err
		}
		sum, r, err := tx.keyWithID(owner, id)
		if err != nil {
			return err
		}
		before := r.key()
		r.Name = name
		after := r.key()
		c = Change[Key]{&before, &after}
		return tx.put(tx.d.names.key+sum, r)
	})
	return c, err
}

// DeleteKey ends a key at once (KEY-7). owner may be nobody if the id is that of one key only.
func (d *Directory) DeleteKey(ctx context.Context, owner iam.PrincipalRef, id iam.KeyID) (Change[Key], error) {
	var c Change[Key]
	err := d.change(ctx, func(tx *transaction) error {
		sum, r, err := tx.keyWithID(owner, id)
		if err != nil {
			return err
		}
		before := r.key()
		c.Before = &before
		return tx.deleteKey(sum, r)
	})
	return c, err
}

func (r *keyRecord) key() Key {
	return Key{ID: r.ID, Owner: r.Owner, Name: r.Name, Created: r.Created, KeyLimits: r.KeyLimits}
}

// putKey records a key for its owner, or renames it: the limits of one that is recorded stay.
func (tx *transaction) putKey(n NewKey, key iam.Secret) (c Change[Key], err error) {
	switch apikey.FormOf(key.Reveal()) {
	case apikey.Minted, apikey.Foreign:
	case apikey.MintedDamaged:
		return c, iam.Invalidf("the key begins with wbg- but its checksum is wrong: it was cut or mistyped")
	case apikey.JWT:
		return c, iam.Invalidf("the key has the form of a JWT and would never be looked up: use a trusted issuer instead")
	case apikey.Malformed:
		return c, malformedKey()
	default:
		return c, malformedKey()
	}
	if err := validLabel("key name", n.Name); err != nil {
		return c, err
	}
	if err := tx.canOwnKeys(n.Owner); err != nil {
		return c, err
	}
	sum := tx.d.hashOf(key)
	record := tx.d.names.key + sum
	r, err := load[keyRecord](tx, record)
	if err != nil {
		return c, err
	}
	if r != nil && r.Owner != n.Owner {
		return c, iam.Conflictf("the key with id %s belongs to somebody else: delete it there first", r.ID)
	}
	if r == nil {
		if err := tx.canBeLimits(n.Limits); err != nil {
			return c, err
		}
		r = &keyRecord{ID: apikey.ID(key), Owner: n.Owner, Created: tx.d.created(), KeyLimits: n.Limits}
	} else {
		before := r.key()
		c.Before = &before
	}
	r.Name = n.Name
	after := r.key()
	c.After = &after
	if err := tx.put(tx.d.names.keysWithID(r.ID)+sum, struct{}{}); err != nil {
		return c, err
	}
	if err := tx.put(tx.d.names.keysOf(n.Owner)+sum, struct{}{}); err != nil {
		return c, err
	}
	return c, tx.put(record, r)
}

func malformedKey() error {
	return iam.Invalidf("a key has %d to %d printable ASCII characters without blanks", apikey.MinBytes, apikey.MaxBytes)
}

// canOwnKeys makes sure that the owner is there, stays until this change is committed, and is no
// external service account. Guarded is the owner's name: the owner's own record is cached with every
// principal built from it.
func (tx *transaction) canOwnKeys(owner iam.PrincipalRef) error {
	switch owner.Kind {
	case iam.KindUser:
		_, err := tx.standingUser(iam.UserID(owner.ID))
		return err
	case iam.KindServiceAccount:
		a, err := tx.serviceAccount(iam.ServiceAccountID(owner.ID))
		if err != nil {
			return err
		}
		if a.Federated() {
			return &iam.Error{Kind: iam.KindInvalid, Reason: "external_service_account",
				Message: "the service account " + a.Name + " is an external one: it signs in with assertions of its issuer and owns no API keys"}
		}
		return tx.guard(tx.d.names.serviceAccount(a.ID)) // its own record: it might become external
	case iam.Anonymous:
		return iam.Invalidf("a key needs an owner: a user or a service account")
	default:
		return iam.Invalidf("a key needs an owner: a user or a service account")
	}
}

// foundKey is a key's record and the hash under which it stands.
type foundKey struct {
	sum    string
	record *keyRecord
}

// keysWithID finds the keys with that id, of the owner if one is named. Ids of imported keys are 32
// bits of a hash, so several keys can have one.
func (tx *transaction) keysWithID(owner iam.PrincipalRef, id iam.KeyID) ([]foundKey, error) {
	if !apikey.ValidID(string(id)) {
		return nil, iam.Invalidf("%q is not the id of a key: ids are 8 hex digits, as key list shows them", untrusted.Clip(string(id)))
	}
	prefix := tx.d.names.keysWithID(id)
	keys, err := tx.list(prefix)
	if err != nil {
		return nil, err
	}
	var found []foundKey
	for _, key := range keys {
		r, err := load[keyRecord](tx, tx.d.names.key+key[len(prefix):])
		if err != nil {
			return nil, err
		}
		if r != nil && (owner.ID == "" || r.Owner == owner) {
			found = append(found, foundKey{key[len(prefix):], r})
		}
	}
	return found, nil
}

// keyWithID finds the one key with that id.
func (tx *transaction) keyWithID(owner iam.PrincipalRef, id iam.KeyID) (sum string, r *keyRecord, err error) {
	found, err := tx.keysWithID(owner, id)
	switch {
	case err != nil:
		return "", nil, err
	case len(found) == 0:
		return "", nil, iam.NotFoundf("there is no key %s: it was deleted, or belongs to somebody else", id)
	case len(found) > 1:
		return "", nil, iam.Conflictf("several keys have the id %s: name the owner too", id)
	}
	return found[0].sum, found[0].record, nil
}

func (tx *transaction) deleteKey(sum string, r *keyRecord) error {
	var ended keySum
	if _, err := hex.Decode(ended[:], []byte(sum)); err == nil {
		tx.ended = append(tx.ended, ended)
	}
	for _, key := range []string{
		tx.d.names.keysWithID(r.ID) + sum,
		tx.d.names.keysOf(r.Owner) + sum,
		tx.d.names.key + sum,
	} {
		if err := tx.delete(key); err != nil {
			return err
		}
	}
	return nil
}

func (tx *transaction) deleteKeysOf(owner iam.PrincipalRef) error {
	prefix := tx.d.names.keysOf(owner)
	keys, err := tx.list(prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		sum := strings.TrimPrefix(key, prefix)
		r, err := load[keyRecord](tx, tx.d.names.key+sum)
		if err != nil {
			return err
		}
		if r == nil {
			return unreadable(fmt.Errorf("key %s of %s is listed but not recorded", sum[:8], owner))
		}
		if err := tx.deleteKey(sum, r); err != nil {
			return err
		}
	}
	return nil
}
