// Package signing keeps the keys with which the gateway signs: sealed under the master key in the
// store, shared by all nodes, followed by new ones in time, and published as a key set (RFC 7517).
//
// A key's life: it is made and published; PublishAhead later it signs, when everybody who keeps
// copies of the key set has seen it; the next one takes over, and it only verifies, until nothing
// that it signed can be good any more; then it is dropped. What moment it is in follows from the clock
// and its record alone, so no node has to do anything at a certain moment.
package signing

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

const (
	// PublishAhead is how long a key is published before it signs. Whoever publishes the set must not
	// let it be cached for longer.
	PublishAhead = 10 * time.Minute
	// DefaultRotateEvery is how long a key signs unless configured otherwise.
	DefaultRotateEvery = 30 * 24 * time.Hour
	// MinRotateEvery bounds how many keys there can be, and how often everybody must learn new ones.
	MinRotateEvery = time.Hour
	// maxKeys bounds the keys that are kept at a time, those that only verify included.
	maxKeys = 32
	// keepEnded is how long a key stays recorded after its end.
	keepEnded = time.Hour
	// maxRetained is how many keys that only verify regular rotation may leave.
	maxRetained = maxKeys / 2
	// skew is how far a node's clock may be behind for it to take a key at once that must sign at once.
	skew = time.Minute
	// lookEvery is how often Run looks whether something is due.
	lookEvery = time.Minute
	// rounds bounds how often a change is decided anew because another node was faster.
	rounds = 12
)

// ReasonUnreadable is the reason why the recorded keys cannot be used.
const ReasonUnreadable iam.Reason = "signing_keys_unreadable"

// Config says which keys are kept, and how.
type Config struct {
	// Cache is the cache of Space, the organization's space in the store.
	Cache *hotcache.Cache
	Space string
	// Master seals the keys.
	Master keys.MasterKey
	// Algorithm is what new keys sign with: ES256 or EdDSA; "" means ES256. A change of it takes effect
	// with a rotation, which Ensure begins.
	Algorithm jws.Algorithm
	// Retain is how long a key must still verify after it has signed for the last time: the longest
	// life of what is signed, and the leeway for clocks. A key remembers the longest one under which it
	// signed, so that what was given a longer life under an earlier configuration stays good.
	Retain time.Duration
	// RotateEvery is how long a key signs before the next one is made; 0 means DefaultRotateEvery, at
	// least MinRotateEvery and a sixteenth of Retain.
	RotateEvery time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Report is told what happened to keys, also by Run; may be nil. It must not block for long.
	Report func(Event)
}

// Keys are the signing keys of one organization. Its methods may be called at the same time from many
// goroutines, and by several nodes.
type Keys struct {
	c      Config
	key    string // of the record
	decode func(store.Record) (*ring, error)
}

// New returns the signing keys of an organization. It reads nothing: call Ensure before they are used.
func New(c Config) (*Keys, error) {
	if c.Algorithm == "" {
		c.Algorithm = jws.ES256
	}
	if c.RotateEvery == 0 {
		c.RotateEvery = DefaultRotateEvery
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Report == nil {
		c.Report = func(Event) {}
	}
	switch {
	case c.Cache == nil:
		return nil, errors.New("signing: no cache")
	case c.Space == "" || store.Space(c.Space) != c.Space:
		return nil, fmt.Errorf("signing: %q is no space of a store", c.Space)
	case c.Master.IsZero():
		return nil, errors.New("signing: no master key to seal the keys")
	case c.Algorithm != jws.ES256 && c.Algorithm != jws.EdDSA:
		return nil, iam.Invalidf("the gateway does not sign with %q: use ES256 or EdDSA", string(c.Algorithm))
	case c.RotateEvery < MinRotateEvery:
		return nil, iam.Invalidf("signing keys cannot be rotated every %s: %s is the least", c.RotateEvery, MinRotateEvery)
	case c.Retain <= 0:
		return nil, errors.New("signing: it is not said how long a key must still verify")
	case c.Retain/maxRetained > c.RotateEvery:
		return nil, iam.Invalidf("signing keys cannot be rotated every %s when what they sign lives for %s: too many would have to be kept; rotate them less often", c.RotateEvery, c.Retain)
	}
	k := &Keys{c: c, key: c.Space + "/signing_keys"}
	k.decode = k.open
	return k, nil
}

// Signer returns the key that signs now. The error is of iam.KindUnavailable: the store did not
// answer, or holds no keys that can be used.
func (k *Keys) Signer(ctx context.Context, v *hotcache.View) (*jws.PrivateKey, error) {
	m, err := k.moment(ctx, v)
	if err != nil {
		return nil, err
	}
	return m.signer, nil
}

// Verifying returns all keys that still count, of one revision: those that sign now, that will, and
// that did. Its errors are those of Signer.
//
// A key that retires leaves the set without a change of any record. Nothing that it signed is good by
// then, so that what was verified may be kept under v as long as its own expiry is looked at.
func (k *Keys) Verifying(ctx context.Context, v *hotcache.View) (*jws.KeySet, error) {
	m, err := k.moment(ctx, v)
	if err != nil {
		return nil, err
	}
	return m.verifying, nil
}

// Published returns the JWK Set of all keys that count, those that will sign soon included. The bytes
// are shared: nobody may change them. Its errors are those of Signer.
func (k *Keys) Published(ctx context.Context) ([]byte, error) {
	m, err := k.moment(ctx, k.c.Cache.View())
	if err != nil {
		return nil, err
	}
	return m.published()
}

func (k *Keys) moment(ctx context.Context, v *hotcache.View) (*moment, error) {
	r, err := hotcache.Read(ctx, v, k.key, k.decode)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, errNoKeys
	case err != nil:
		return nil, unavailable(err)
	}
	return r.at(k.c.Now()), nil
}

var errNoKeys = iam.Unavailable("the gateway has no signing keys: they are made when it starts, try again shortly", errors.New("signing: no record"))

func unavailable(err error) error {
	if iam.KindOf(err) == iam.KindUnavailable {
		return err
	}
	return iam.Unavailable("the gateway's store did not answer, try again", err)
}

// Ensure makes the first key if there is none, and begins a rotation when one is due or the configured
// algorithm is not that of the newest key. It is called at start, when keys that cannot be read are an
// error to stop for: ReasonUnreadable, with the remedy. iam.KindUnavailable means that the store did
// not answer.
func (k *Keys) Ensure(ctx context.Context) error {
	return k.change(ctx, func(d *draft) error { return d.tend(true) })
}

// Run rotates keys when it is time, and drops what has retired, until ctx ends. Every node may run it:
// one of them is first, and the others see what it did. What fails is reported, and tried again.
func (k *Keys) Run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := k.change(ctx, func(d *draft) error { return d.tend(false) })
		if err != nil && ctx.Err() == nil {
			k.c.Report(Event{What: Failed, Err: err})
		}
	}
}

// Rotate makes a new key and returns it. It is published now and signs PublishAhead later; the one
// that signs now then only verifies. If the next key is published already, that one is returned: two
// who rotate at the same moment make one key. To take a key away that others may have, use Delete.
func (k *Keys) Rotate(ctx context.Context) (Info, error) {
	var next Info
	err := k.change(ctx, func(d *draft) error {
		if err := d.rotate(false); err != nil {
			return err
		}
		next = d.info(len(d.keys) - 1)
		return nil
	})
	return next, err
}

// List returns all keys that count, the oldest first.
func (k *Keys) List(ctx context.Context) ([]Info, error) {
	r, err := k.read(ctx)
	if err != nil {
		return nil, err
	}
	d := k.draft(r)
	list := []Info{}
	for i := range d.keys {
		if !d.keys[i].ended(d.now) {
			list = append(list, d.info(i))
		}
	}
	return list, nil
}

// Delete takes a key away at once, with everything that it signed. When it was the one that signs,
// the next key takes over at once, or a new one if there is no next: another node that has not heard
// of the change yet, for a second at most, does not know what is signed with a new one. An unknown id
// is iam.KindNotFound.
func (k *Keys) Delete(ctx context.Context, id string) error {
	return k.change(ctx, func(d *draft) error { return d.delete(id) })
}

// change decides a change on what is recorded and commits it; if another node was faster, anew on what
// that one did. What is reported happened.
func (k *Keys) change(ctx context.Context, decide func(*draft) error) error {
	for range rounds {
		r, err := k.read(ctx)
		if err != nil {
			return err
		}
		d := k.draft(r)
		if err := decide(d); err != nil {
			return err
		}
		d.settle()
		value, err := d.encode()
		if err != nil {
			return err
		}
		if r.same(value) {
			return nil
		}
		_, err = k.c.Cache.Commit(ctx, store.Write{Key: k.key, Value: value, Expect: r.expect()})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return unavailable(fmt.Errorf("writing the signing keys: %w", err))
		}
		for _, e := range d.events {
			k.c.Report(e)
		}
		return nil
	}
	return iam.Conflictf("other nodes kept changing the signing keys: look at them and try again; nothing was changed")
}

// read returns what is recorded, past the cache; an empty ring if nothing is.
func (k *Keys) read(ctx context.Context) (*ring, error) {
	record, err := k.c.Cache.Store().Get(ctx, k.key)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return new(ring), nil
	case err != nil:
		return nil, unavailable(fmt.Errorf("reading the signing keys: %w", err))
	}
	return k.open(record)
}
