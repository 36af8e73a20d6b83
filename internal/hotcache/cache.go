// Package hotcache keeps decoded records in memory in front of a store.Store, in such a way that a
// stale value cannot be reached (design sections 5 and 9).
//
// Every key belongs to one of a fixed number of stripes, and every stripe has a counter. Whoever
// reads a record first takes its stamp, the stripe's counter at that moment; whoever changes a
// record raises its counter after the change is in the store. A value is served only while every
// stamp it was read under is still current, so nothing has to be deleted from the cache, and no
// order of arrival inside it matters. What is no longer reachable is evicted in its own time.
//
// The package knows nothing of what records mean. It serves one space of the store.
package hotcache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/ristretto/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Defaults and bounds of a Config.
const (
	DefaultMaxBytes   = 256 << 20
	MinMaxBytes       = 1 << 20
	DefaultStaleLimit = 10 * time.Second
	MinStaleLimit     = time.Second
	MaxStaleLimit     = time.Minute
)

const (
	// negativeShare of the bytes are for keys that were not found, kept apart: a caller who
	// invents keys pushes out inventions only (threats K08).
	negativeShare = 16
	// bytesPerCounter sizes the admission sketch: one counter for every entry of this size.
	bytesPerCounter = 1024
	// closingGrace is how long look-ups that began before Close may still use the memory that
	// Close gives back.
	closingGrace = time.Second
)

// Config says what a Cache caches.
type Config struct {
	// Store is where records are kept. The Cache does not close it.
	Store store.Store
	// Space is the one space that is cached: the organization's name.
	Space string
	// MaxBytes bounds the memory of the entries, by estimate. 0 means DefaultMaxBytes; at least
	// MinMaxBytes.
	MaxBytes int64
	// StaleLimit is how long cached values are used when the store does not answer. 0 means
	// DefaultStaleLimit; between MinStaleLimit and MaxStaleLimit.
	StaleLimit time.Duration
	// Propagated, if set, is told how soon commits hold here. It is called by whoever makes them hold,
	// also from several goroutines at once, and must not wait for anything.
	Propagated func(Propagation)
}

func (cfg Config) withDefaults() (Config, error) {
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = DefaultMaxBytes
	}
	if cfg.StaleLimit == 0 {
		cfg.StaleLimit = DefaultStaleLimit
	}
	switch {
	case cfg.Store == nil:
		return cfg, errors.New("hotcache: no store")
	case cfg.Space == "" || store.Space(cfg.Space) != cfg.Space:
		return cfg, fmt.Errorf("hotcache: %q is no space of a store", cfg.Space)
	case cfg.MaxBytes < MinMaxBytes:
		return cfg, fmt.Errorf("hotcache: %d bytes are too few, give it at least %d", cfg.MaxBytes, MinMaxBytes)
	case cfg.StaleLimit < MinStaleLimit || cfg.StaleLimit > MaxStaleLimit:
		return cfg, fmt.Errorf("hotcache: stale limit %s is not between %s and %s", cfg.StaleLimit, MinStaleLimit, MaxStaleLimit)
	}
	return cfg, nil
}

// Cache serves the records of one space. Its methods may be called from many goroutines.
type Cache struct {
	store store.Store
	space string
	head  string // the key of the space's revision

	recordSeed, derivedSeed maphash.Seed

	kept, missing         *ristretto.Cache[uint64, *entry]
	front, frontOfMissing front // of the one, and of the other

	stripes  stripes
	progress progress
	contact  contact
	flights  flights
	// propagated is told how soon commits hold; nil if nobody wants to know.
	propagated func(Propagation)

	// closed is read on every look-up; keeping orders insertions before the end of ristretto,
	// which must not be inserted into afterwards.
	closed  atomic.Bool
	keeping sync.RWMutex
	stop    context.CancelFunc
	running sync.WaitGroup

	loads, drops atomic.Uint64
}

// New returns a Cache that already watches its space. It asks the store once, so that a store that
// is away is noticed here. Close it to end its goroutines.
func New(cfg Config) (*Cache, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	kept, err := newMemory(cfg.MaxBytes - cfg.MaxBytes/negativeShare - cfg.MaxBytes/frontShare)
	if err != nil {
		return nil, err
	}
	missingBytes := cfg.MaxBytes / negativeShare
	missing, err := newMemory(missingBytes - missingBytes/frontShare)
	if err != nil {
		kept.Close()
		return nil, err
	}
	c := &Cache{
		store: cfg.Store, space: cfg.Space, head: store.RevisionKey(cfg.Space),
		recordSeed: maphash.MakeSeed(), derivedSeed: maphash.MakeSeed(),
		kept: kept, missing: missing,
		front: newFront(cfg.MaxBytes / frontShare), frontOfMissing: newFront(missingBytes / frontShare),
		propagated: cfg.Propagated,
	}
	c.progress.init()
	c.flights.init()
	if err := c.start(cfg.StaleLimit); err != nil {
		kept.Close()
		missing.Close()
		return nil, err
	}
	return c, nil
}

func newMemory(maxBytes int64) (*ristretto.Cache[uint64, *entry], error) {
	return ristretto.NewCache(&ristretto.Config[uint64, *entry]{
		NumCounters:        max(maxBytes/bytesPerCounter, 1024),
		MaxCost:            maxBytes,
		BufferItems:        64,
		IgnoreInternalCost: true, // else its own estimate counts on top, and few entries stay
		// Keys arrive hashed with a secret seed. Every entry carries its full key and is compared
		// with it, so that no second hash is needed against collisions.
		KeyToHash: func(hash uint64) (uint64, uint64) { return hash, 0 },
	})
}

// Store returns the store behind the cache: uncached Get and List for administration.
func (c *Cache) Store() store.Store { return c.store }

// Commit writes through to the store (see store.Store.Commit). When it returns, no read that begins
// afterwards sees a value from before it. All keys must be of the cache's space.
func (c *Cache) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	for _, w := range writes {
		if store.Space(w.Key) != c.space {
			return 0, fmt.Errorf("hotcache: key %q is not of space %q", w.Key, c.space)
		}
	}
	began := time.Now()
	revision, err := c.store.Commit(ctx, writes...)
	if errors.Is(err, store.ErrConflict) {
		return 0, err
	}
	if err == nil && c.progress.knows(revision) {
		return revision, nil // Watch was faster
	}
	// After an error the outcome is unknown: forgetting is right in either case.
	for _, w := range writes {
		if !w.Check {
			c.stripes.raise(c.hash(w.Key))
		}
	}
	c.stripes.raise(c.hash(c.head))
	if err != nil {
		return 0, err
	}
	if fresh, _ := c.progress.mark(revision); fresh {
		c.held(1, time.Since(began), false)
	}
	return revision, nil
}

// Close ends watching. Reads that begin afterwards are iam.KindUnavailable. It does not close the
// store.
func (c *Cache) Close() error {
	if c.closed.Swap(true) {
		return nil
	}
	c.stop()
	c.running.Wait()
	c.keeping.Lock() // whoever was inserting has finished
	defer c.keeping.Unlock()
	// A look-up that passed the check of closed just before may still be inside ristretto, which
	// does not allow for that; counting look-ups would cost every one of them.
	time.AfterFunc(closingGrace, func() {
		c.kept.Close()
		c.missing.Close()
	})
	return nil
}

// Stats are for metrics and the readiness check.
type Stats struct {
	// Revision is the revision up to which all changes have been taken into account.
	Revision store.Revision
	// SinceContact is how long ago the store last confirmed that nothing was missed.
	SinceContact time.Duration
	// Loads counts reads of the store; Drops counts how often everything had to be forgotten.
	Loads, Drops uint64
}

// Stats returns the present state.
func (c *Cache) Stats() Stats {
	return Stats{
		Revision:     c.progress.revision(),
		SinceContact: c.contact.age(),
		Loads:        c.loads.Load(),
		Drops:        c.drops.Load(),
	}
}

func (c *Cache) hash(key string) uint64        { return maphash.String(c.recordSeed, key) }
func (c *Cache) derivedHash(key []byte) uint64 { return maphash.Bytes(c.derivedSeed, key) }

// dropAll makes every value read so far unreachable.
func (c *Cache) dropAll() {
	c.drops.Add(1)
	c.stripes.raiseAll()
}
