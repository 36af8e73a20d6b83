package directory

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// rounds bounds how often a change is decided anew because somebody else was faster.
const rounds = 12

// transaction is one change while it is decided: it remembers the version of every record it read
// and what it wants to write. Nothing is written until the whole is committed at once, and then
// only if no written or guarded record has changed since it was read.
//
// A record that a change depends on without changing it is guarded: it is written again as it was,
// so that somebody who deletes it at the same moment, having listed what depends on it, and this change cannot
// both win. Records are not
// read at one moment, so a guard is set before what it guards is looked at.
type transaction struct {
	ctx    context.Context //nolint:containedctx // a transaction lives inside one call
	d      *Directory
	read   map[string]store.Record
	staged map[string][]byte // nil deletes
	guards map[string]bool
	// checks are records of which the commit demands only that they are as they were read. Nobody lists what
	// depends on them, and they are many changes' own: whoever acts (stillMay).
	checks map[string]bool
	// admins are the active admins once one was changed, nil before; hadAdmins says whether there
	// was one to begin with.
	admins    map[iam.UserID]bool
	hadAdmins bool
	// gone are those who left teams with this change.
	gone []gone
	// changes counts the puts and deletes that made a difference to what this transaction sees.
	changes int
	// ended are the keys that were deleted.
	ended []keySum
}

// reading returns a transaction that is never committed, for reading what people look at.
func (d *Directory) reading(ctx context.Context) *transaction {
	return &transaction{ctx: ctx, d: d,
		read: map[string]store.Record{}, staged: map[string][]byte{}, guards: map[string]bool{}, checks: map[string]bool{}}
}

// change runs f in a transaction and commits what it staged. When somebody else committed first, f
// runs again on the new state: it must have no effect but on its transaction. A change that stages
// nothing new writes nothing.
//
// Those that were beaten once are decided one after the other. Otherwise hundreds of people who join one
// team at the same moment would beat each other until most of them gave up.
func (d *Directory) change(ctx context.Context, f func(*transaction) error) error {
	for round := range rounds {
		if round == 1 {
			select {
			case d.turn <- struct{}{}:
				defer func() { <-d.turn }()
			case <-ctx.Done():
				return unreadable(ctx.Err())
			}
		}
		tx := d.reading(ctx)
		err := f(tx)
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		if err := tx.keepAnAdmin(); err != nil {
			return err
		}
		if err := tx.stillMay(); err != nil {
			return err
		}
		writes := tx.writes()
		if len(writes) == 0 {
			return nil
		}
		if len(writes) > store.MaxWrites {
			return &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large",
				Message: fmt.Sprintf("this change needs %d writes, and at most %d can be made at once: split it; nothing was changed", len(writes), store.MaxWrites)}
		}
		_, err = d.cache.Commit(ctx, writes...)
		switch {
		case err == nil:
			d.uses.forget(tx.ended)
			tx.tellGone()
			tx.tell(writes)
			return nil
		case errors.Is(err, store.ErrConflict):
			continue
		}
		return unreadable(fmt.Errorf("committing: %w", err))
	}
	return iam.Conflictf("others kept changing the same records: look at what they did and try again; nothing was changed")
}

// writes lists what is to be committed, in the order of keys; nothing when the records are as wanted.
func (tx *transaction) writes() []store.Write {
	var writes []store.Write
	for key, value := range tx.staged {
		if tx.writesRecord(key) {
			writes = append(writes, store.Write{Key: key, Value: value, Expect: tx.expectation(key)})
		}
	}
	if len(writes) == 0 {
		return nil
	}
	for key := range tx.guards {
		if tx.writesRecord(key) {
			continue // and demands it anyway
		}
		writes = append(writes, store.Write{Key: key, Value: tx.read[key].Value, Expect: tx.expectation(key)})
	}
	for key := range tx.checks {
		if !tx.writesRecord(key) && !tx.guards[key] {
			writes = append(writes, store.Write{Key: key, Expect: tx.expectation(key), Check: true})
		}
	}
	slices.SortFunc(writes, func(a, b store.Write) int { return cmp.Compare(a.Key, b.Key) })
	return writes
}

// writesRecord reports whether a staged record is not as it was.
func (tx *transaction) writesRecord(key string) bool {
	value, ok := tx.staged[key]
	was := tx.read[key]
	return ok && !(was.Version == 0 && value == nil || was.Version != 0 && value != nil && bytes.Equal(was.Value, value))
}

func (tx *transaction) expectation(key string) store.Expect {
	if was, ok := tx.read[key]; ok && was.Version != 0 {
		return store.At(was.Version)
	}
	return store.Absent()
}

// fetch returns the record as this transaction sees it; nil when it is absent.
func (tx *transaction) fetch(key string) ([]byte, error) {
	if value, ok := tx.staged[key]; ok {
		return value, nil
	}
	r, err := tx.original(key)
	return r.Value, err
}

// original returns the record as it was first read; Version 0 when it was absent.
func (tx *transaction) original(key string) (store.Record, error) {
	if r, ok := tx.read[key]; ok {
		return r, nil
	}
	r, err := tx.d.cache.Store().Get(tx.ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		r, err = store.Record{Key: key}, nil
	}
	if err != nil {
		return r, unreadable(fmt.Errorf("reading record %q: %w", key, err))
	}
	tx.read[key] = r
	return r, nil
}

// guard makes the change depend on the record staying as it is, present or absent.
func (tx *transaction) guard(key string) error {
	_, err := tx.original(key)
	tx.guards[key] = true
	return err
}

func (tx *transaction) put(key string, v any) error {
	was, err := tx.fetch(key)
	if err != nil {
		return err
	}
	value, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encoding record %q: %w", key, err)
	}
	if len(value) > store.MaxValueBytes {
		return &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large",
			Message: fmt.Sprintf("the record would grow to %d bytes, and may have %d: give it fewer members", len(value), store.MaxValueBytes)}
	}
	return tx.stage(key, was, value)
}

func (tx *transaction) delete(key string) error {
	was, err := tx.fetch(key)
	if err != nil {
		return err
	}
	return tx.stage(key, was, nil)
}

func (tx *transaction) stage(key string, was, value []byte) error {
	if _, err := tx.original(key); err != nil {
		return err
	}
	if !bytes.Equal(was, value) {
		tx.changes++
	}
	tx.staged[key] = value
	return nil
}

// load reads a record into a fresh value; nil when it is absent.
func load[T any](tx *transaction, key string) (*T, error) {
	value, err := tx.fetch(key)
	if err != nil || value == nil {
		return nil, err
	}
	return decode[T](store.Record{Key: key, Value: value})
}

// list returns the keys under prefix as this transaction sees them, sorted.
func (tx *transaction) list(prefix string) ([]string, error) {
	found := map[string]bool{}
	err := tx.d.scan(tx.ctx, prefix, func(r store.Record) error {
		if _, ok := tx.read[r.Key]; !ok {
			tx.read[r.Key] = r
		}
		found[r.Key] = true
		return nil
	})
	if err != nil {
		return nil, err
	}
	for key, value := range tx.staged {
		if strings.HasPrefix(key, prefix) {
			found[key] = value != nil
		}
	}
	maps.DeleteFunc(found, func(_ string, present bool) bool { return !present })
	return slices.Sorted(maps.Keys(found)), nil
}

// scan calls f with every record under prefix, in the order of keys, one page after the other.
func (d *Directory) scan(ctx context.Context, prefix string, f func(store.Record) error) error {
	after := ""
	for {
		page, err := d.cache.Store().List(ctx, prefix, after, 0)
		if err != nil {
			return unreadable(fmt.Errorf("listing records %q: %w", prefix, err))
		}
		for _, r := range page {
			if err := f(r); err != nil {
				return err
			}
		}
		if len(page) < store.MaxListed {
			return nil
		}
		after = page[len(page)-1].Key
	}
}

// get reads one record for people to look at, past the cache.
func get[T any](ctx context.Context, d *Directory, key, what, id string) (*T, error) {
	v, err := load[T](d.reading(ctx), key)
	if err == nil && v == nil {
		return nil, iam.NotFoundf("there is no %s %q: the id is wrong, or it was deleted", what, untrusted.Clip(id))
	}
	return v, err
}

// each calls f with every record under prefix, past the cache.
func each[T any](ctx context.Context, d *Directory, prefix string, f func(*T) error) error {
	return d.scan(ctx, prefix, func(r store.Record) error {
		v, err := decode[T](r)
		if err != nil {
			return err
		}
		return f(v)
	})
}
