package hotcache

import (
	"context"
	"errors"
	"sync"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// flights let many readers of one key wait for one read of the store.
type flights [64]struct {
	sync.Mutex
	running map[flightKey]*flight
}

// flightKey is the whole key, not its hash: two keys must never share an answer (threats K09).
type flightKey struct {
	key     string
	derived bool
}

type flight struct {
	done  chan struct{}
	entry *entry // set before done is closed
}

func (f *flights) init() {
	for i := range f {
		f[i].running = make(map[flightKey]*flight)
	}
}

// join returns the flight of a key, and whether the caller leads it.
func (f *flights) join(hash uint64, k flightKey) (*flight, bool) {
	part := &f[hash>>58]
	part.Lock()
	defer part.Unlock()
	if running, ok := part.running[k]; ok {
		return running, false
	}
	fresh := &flight{done: make(chan struct{})}
	part.running[k] = fresh
	return fresh, true
}

func (f *flights) land(hash uint64, k flightKey, landed *flight) {
	part := &f[hash>>58]
	part.Lock()
	delete(part.running, k)
	part.Unlock()
	close(landed.done)
}

// joins is how often a reader waits for another's flight before reading for itself.
const joins = 3

// fly returns what read returns, or what another reader of the same key has just read. What others
// read counts only if it holds after the waiting: their flight may have begun before a change that
// this reader must see.
func (c *Cache) fly(ctx context.Context, hash uint64, key string, derived bool, read func() *entry) *entry {
	k := flightKey{key, derived}
	for range joins {
		f, leads := c.flights.join(hash, k)
		if leads {
			return c.lead(hash, k, f, read)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return &entry{err: iam.Unavailable("the request ended before the store answered", ctx.Err())}
		}
		if e := f.entry; e != nil && !abandoned(e.err) && c.stripes.current(&e.stamps) {
			return e
		}
	}
	return read()
}

func (c *Cache) lead(hash uint64, k flightKey, f *flight, read func() *entry) *entry {
	defer c.flights.land(hash, k, f) // even if read panics: others must not wait for ever
	e := read()
	c.keep(hash, e)
	f.entry = e
	return e
}

// abandoned reports whether a read ended because its own caller went away, which says nothing to
// others.
func abandoned(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
