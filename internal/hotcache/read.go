package hotcache

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

const (
	// attempts bounds how often something is read again because it changed meanwhile.
	attempts = 8
	// maxStamps bounds what one derived value may depend on; above it the value is not kept.
	maxStamps = 4096
	// entryBytes estimates what an entry costs beside its key and value: its struct, and
	// ristretto's two maps and sketch.
	entryBytes = 368
	// leastDerived estimates what a derived value takes at least. Beyond it, it takes what the
	// records do that it was made of and that are not kept themselves.
	leastDerived = 256
)

// entry is something that was read, with the stamps under which it holds. Nobody changes it once it
// was returned.
type entry struct {
	name    name
	value   any
	err     error
	stamps  stamps
	derived bool
	bytes   uint32 // estimate; at most 4 GiB is as good as more
	// round is the latest in which somebody asked whether they are the first (Held.First).
	round atomic.Uint32
}

// cost sets the estimate of what the entry takes, with so much of values.
func (e *entry) cost(values int64) {
	e.bytes = uint32(min(entryBytes+int64(len(e.name.long))+8*int64(len(e.stamps.more))+values, math.MaxUint32))
}

// Read returns the record under key, decoded. It remembers in v that the record was read, whether
// it was there or not. The decoded value is shared: nobody may change it. One key must always be
// decoded to the same type.
//
// The error is store.ErrNotFound when there is no record, and of iam.KindUnavailable when it
// cannot be told: the store did not answer, or the record could not be decoded.
func Read[T any](ctx context.Context, v *View, key string, decode func(store.Record) (T, error)) (T, error) {
	c := v.cache
	if err := v.begin(); err != nil {
		var none T
		return none, err
	}
	hash := c.hash(key)
	e := find(c, hash, key, false)
	if e == nil {
		e = c.fly(ctx, hash, key, false, func() *entry { return load(ctx, c, hash, key, decode) })
	}
	v.note(e)
	return open[T](e, key)
}

// ReadUnkept is Read for records of which one derived value is made and nothing else: the value is
// kept, and the record need not take memory beside it.
func ReadUnkept[T any](ctx context.Context, v *View, key string, decode func(store.Record) (T, error)) (T, error) {
	if err := v.begin(); err != nil {
		var none T
		return none, err
	}
	e := load(ctx, v.cache, v.cache.hash(key), key, decode)
	v.note(e)
	v.unkept += int64(e.bytes) - entryBytes
	return open[T](e, key)
}

// Derived returns the value that build makes of records it reads through the View it is given, and
// keeps it as long as every one of them is unchanged. Keys of derived values are a space of their
// own: they do not meet the keys of records. The value is shared: nobody may change it. Key is copied
// if need be.
//
// What build returns must depend on nothing but key and what it reads through its View. It must
// not derive the same key again, and values must not be derived from each other in a circle. An
// error that wraps store.ErrNotFound is kept like a value; others are not kept.
func Derived[T any](ctx context.Context, v *View, key []byte, build func(context.Context, *View) (T, error)) (T, error) {
	c := v.cache
	if err := v.begin(); err != nil {
		var none T
		return none, err
	}
	hash := c.derivedHash(key)
	e := find(c, hash, key, true)
	if e == nil {
		key := string(key)
		e = c.fly(ctx, hash, key, true, func() *entry { return derive(ctx, c, key, build) })
	}
	v.note(e)
	return open[T](e, key)
}

// open returns what is in the entry of a key.
func open[T any, K string | []byte](e *entry, key K) (value T, err error) {
	if e.err != nil {
		return value, e.err
	}
	value, ok := e.value.(T)
	if !ok {
		return value, fmt.Errorf("hotcache: %q was read as %T before, and now as %T", string(key), e.value, value)
	}
	return value, nil
}

// find returns the entry under key if there is one that still holds.
func find[K string | []byte](c *Cache, hash uint64, key K, derived bool) *entry {
	slot, slotOfMissing := c.front.slot(hash), c.frontOfMissing.slot(hash)
	if e := slot.Load(); e != nil && holds(c, e, key, derived) {
		if c.front.counts() {
			c.kept.Get(hash)
		}
		return e
	}
	if e := slotOfMissing.Load(); e != nil && holds(c, e, key, derived) {
		if c.front.counts() {
			c.missing.Get(hash)
		}
		return e
	}
	if e, ok := c.kept.Get(hash); ok && holds(c, e, key, derived) {
		e.moveTo(slot)
		return e
	}
	if e, ok := c.missing.Get(hash); ok && holds(c, e, key, derived) {
		e.moveTo(slotOfMissing)
		return e
	}
	return nil
}

// holds reports whether an entry is that of a key, and nothing of it has changed.
func holds[K string | []byte](c *Cache, e *entry, key K, derived bool) bool {
	return e.derived == derived && nameIs(&e.name, key) && c.stripes.current(&e.stamps)
}

// load reads a record from the store. The stamp is taken first, and the record's revision awaited
// before it is used: what was cached from before that revision has become unreachable by then.
func load[T any](ctx context.Context, c *Cache, hash uint64, key string, decode func(store.Record) (T, error)) *entry {
	if store.Space(key) != c.space {
		return &entry{err: fmt.Errorf("hotcache: key %q is not of space %q", key, c.space)}
	}
	var e *entry
	for range attempts {
		e = &entry{name: newName(key)}
		e.stamps.add(c.stripes.take(hash))
		e.cost(0)
		record, err := c.get(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			e.err = store.ErrNotFound
		case err != nil:
			e.err = iam.Unavailable("the gateway's store did not answer, try again", fmt.Errorf("reading %q: %w", key, err))
			return e
		}
		if c.stripes.current(&e.stamps) {
			if e.err != nil {
				return e
			}
			value, err := decode(record)
			if err != nil {
				e.err = iam.Unavailable("a record in the gateway's store cannot be read", fmt.Errorf("decoding %q: %w", key, err))
				return e
			}
			e.value = value
			e.cost(2 * int64(len(record.Value)))
			return e
		}
	}
	e.err = errRestless
	return e
}

// get reads one record and waits until changes up to what it saw are taken into account.
func (c *Cache) get(ctx context.Context, key string) (store.Record, error) {
	c.loads.Add(1)
	record, err := c.store.Get(ctx, key)
	seen := record.Version
	if errors.Is(err, store.ErrNotFound) {
		// A record that is not there tells no revision; the space does.
		if seen, err = c.readHead(ctx); err == nil {
			err = store.ErrNotFound
		}
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return store.Record{}, err
	}
	if waited := c.await(ctx, seen); waited != nil {
		return store.Record{}, waited
	}
	return record, err
}

// derive builds a value from records of one revision.
func derive[T any](ctx context.Context, c *Cache, key string, build func(context.Context, *View) (T, error)) *entry {
	e := &entry{name: newName(key), derived: true}
	for range attempts {
		v := &View{cache: c, entry: e}
		value, err := build(ctx, v)
		e.value, e.err, e.stamps = value, err, v.stamps()
		e.cost(max(v.unkept, leastDerived))
		if v.Valid() || iam.KindOf(err) == iam.KindUnavailable {
			return e
		}
	}
	e.value, e.err = nil, errRestless
	return e
}

var errRestless = iam.Unavailable("the records changed faster than they could be read, try again", nil)

// keep puts an entry where it will be found. Whether it arrives, and when, does not matter.
func (c *Cache) keep(hash uint64, e *entry) {
	missing := errors.Is(e.err, store.ErrNotFound)
	if e.err != nil && !missing || e.stamps.count > maxStamps || !c.stripes.current(&e.stamps) {
		return
	}
	c.keeping.RLock()
	defer c.keeping.RUnlock()
	switch {
	case c.closed.Load():
	case missing:
		c.missing.Set(hash, e, int64(e.bytes))
	default:
		c.kept.Set(hash, e, int64(e.bytes))
	}
}
