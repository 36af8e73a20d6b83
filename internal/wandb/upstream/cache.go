package upstream

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const (
	// backoff is how long a look-up that failed is not repeated: the server is asked about one key
	// at most once in this time, however many requests come with it. It is far shorter than a miss,
	// because it says nothing about the key.
	backoff = time.Second
	// maxFlights bounds the look-ups of one cache that are under way or wait for their turn. The lines
	// before the server are shorter: a flood ends there, and takes no look-up from others.
	maxFlights = 2*(maxWaiting+maxLines) + 1<<10
	shards     = 64
	// samples is how many entries are looked at to find the one to drop from a full shard.
	samples = 8
)

// clock counts from a moment before anything was asked, so that 0 can stand for "never". The caches
// of a Directory share one: what one knows since when means the same to the others.
type clock struct{ start time.Time }

func newClock() clock { return clock{time.Now().Add(-time.Second)} }

// now is the time on the monotonic clock, which leaps of the wall clock do not touch (threats D07).
func (c clock) now() time.Duration { return time.Since(c.start) }

// bounds are the limits of a cache.
type bounds struct {
	clock
	hits, misses time.Duration
	timeout      time.Duration     // of one look-up
	entries      int               // in each of the two tables
	busy         func(error) error // there are too many look-ups
	late         func(error) error // whoever waits can wait no more
}

// answer is what a look-up came back with.
type answer[V any] struct {
	value V
	// absent is true when the server said that there is nothing; value may still hold what it said.
	absent bool
	// soon is true for an answer that is good, but should be asked for again before long.
	soon bool
	// asOf is set when the answer rests on something older than its own look-up.
	asOf time.Duration
	// err tells a definite no (unauthenticated, denied, not found), which is remembered like
	// absence, or a failure, which is not.
	err error
}

// definite reports whether err is the server's own no.
func definite(err error) bool {
	switch iam.KindOf(err) {
	case iam.KindUnauthenticated, iam.KindDenied, iam.KindNotFound:
		return true
	default:
		return false
	}
}

// cache remembers answers for a time, asks one question at a time per key, and never holds more
// than its bounds. What is there and what is not have tables of their own, so that a flood of bad
// keys cannot push out good ones (threats K08).
type cache[V any] struct {
	bounds
	perMap  int
	flights atomic.Int64
	// forgotten are counters by key, as epochs are by name.
	forgotten [1 << 10]atomic.Uint64
	shards    [shards]shard[V]
}

type shard[V any] struct {
	mu      sync.RWMutex
	present map[digest]entry[V]
	absent  map[digest]entry[V]
	flights map[flightKey]*flight[V]
}

type entry[V any] struct {
	value   V
	err     error
	stamp   uint64
	asOf    time.Duration
	expires time.Duration
	refresh time.Duration // from then on it is asked for again, ahead of need; 0 for never
}

// flightKey has the stamp in it: who comes after something was forgotten does not join a look-up
// from before.
type flightKey struct {
	digest
	stamp uint64
}

type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newCache[V any](b bounds) *cache[V] {
	c := &cache[V]{bounds: b, perMap: max(1, b.entries/shards)}
	for i := range c.shards {
		c.shards[i].present = make(map[digest]entry[V])
		c.shards[i].absent = make(map[digest]entry[V])
		c.shards[i].flights = make(map[flightKey]*flight[V])
	}
	return c
}

func (c *cache[V]) shard(key digest) *shard[V] { return &c.shards[key[0]%shards] }

// forget makes what is remembered under the key, and what is being asked, out of date.
func (c *cache[V]) forget(key digest) { c.forgottenCounter(key).Add(1) }

func (c *cache[V]) forgottenCounter(key digest) *atomic.Uint64 {
	return &c.forgotten[(int(key[1])|int(key[2])<<8)%len(c.forgotten)]
}

// peek returns what is remembered, if anything. due says that it is about time to ask again.
func (c *cache[V]) peek(key digest, stamp uint64) (e entry[V], due, ok bool) {
	stamp += c.forgottenCounter(key).Load()
	now := c.now()
	s := c.shard(key)
	s.mu.RLock()
	e, ok = s.find(key, stamp, now)
	s.mu.RUnlock()
	return e, ok && e.refresh != 0 && now >= e.refresh, ok
}

// fetch looks the key up, together with everybody who asks for it at the same time. The look-up
// does not end when the caller who began it goes away: the others wait for it, too.
func (c *cache[V]) fetch(ctx context.Context, key digest, stamp uint64, look func(context.Context) answer[V]) (V, error) {
	stamp += c.forgottenCounter(key).Load()
	s := c.shard(key)
	s.mu.Lock()
	if e, ok := s.find(key, stamp, c.now()); ok {
		s.mu.Unlock()
		return e.value, e.err
	}
	f := c.join(s, flightKey{key, stamp}, look)
	s.mu.Unlock()

	var none V
	if f == nil {
		return none, c.busy(nil)
	}
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		return none, c.late(ctx.Err())
	}
}

// refresh asks again without anybody waiting. What is remembered stays until its own end, unless
// the server says otherwise before.
func (c *cache[V]) refresh(key digest, stamp uint64, look func(context.Context) answer[V]) {
	stamp += c.forgottenCounter(key).Load()
	s := c.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.present[key]
	if !ok || e.stamp != stamp || c.now() < e.refresh {
		return // somebody was faster
	}
	e.refresh = c.now() + c.timeout + backoff // one refresh at a time
	s.present[key] = e
	c.join(s, flightKey{key, stamp}, look)
}

// join returns the look-up that is under way for the key, begins one if there is none, and returns
// nil if there are too many. The shard is locked.
func (c *cache[V]) join(s *shard[V], key flightKey, look func(context.Context) answer[V]) *flight[V] {
	if f, ok := s.flights[key]; ok {
		return f
	}
	if c.flights.Add(1) > maxFlights {
		c.flights.Add(-1)
		return nil
	}
	f := &flight[V]{done: make(chan struct{})}
	s.flights[key] = f
	go c.fly(s, key, f, look)
	return f
}

func (c *cache[V]) fly(s *shard[V], key flightKey, f *flight[V], look func(context.Context) answer[V]) {
	defer c.flights.Add(-1)
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	asked := c.now()
	a := look(ctx)
	if a.asOf == 0 || a.asOf > asked {
		a.asOf = asked
	}
	f.value, f.err = a.value, a.err

	s.mu.Lock()
	c.remember(s, key, a, asked)
	delete(s.flights, key)
	s.mu.Unlock()
	close(f.done)
}

// remember keeps an answer for as long as its sort allows. The shard is locked.
func (c *cache[V]) remember(s *shard[V], key flightKey, a answer[V], asked time.Duration) {
	old, had := s.present[key.digest]
	if had && old.stamp > key.stamp {
		return // asked before, answered after something was forgotten
	}
	e := entry[V]{value: a.value, err: a.err, stamp: key.stamp, asOf: a.asOf}
	switch {
	case a.err != nil && !definite(a.err):
		if had && old.stamp == key.stamp && c.now() < old.expires {
			old.refresh = c.now() + backoff
			s.present[key.digest] = old
			return
		}
		e.expires = c.now() + backoff
		c.put(s.absent, key.digest, e)
	case a.err != nil || a.absent:
		delete(s.present, key.digest)
		e.expires = a.asOf + c.misses
		c.put(s.absent, key.digest, e)
	default:
		delete(s.absent, key.digest)
		e.expires = a.asOf + c.hits
		// Between half and three quarters of its life, spread by key: what was asked together is
		// not asked together again (threats D04).
		e.refresh = a.asOf + c.hits/2 + c.hits/4*time.Duration(key.digest[3])/256
		// What rests on something older is not asked for with every request until that is renewed.
		e.refresh = max(e.refresh, asked+c.hits/8)
		if a.soon {
			e.refresh = asked + c.misses
		}
		c.put(s.present, key.digest, e)
	}
}

// learn remembers what the answer to another question told. asked is when that was asked.
func (c *cache[V]) learn(key digest, v V, asked time.Duration) {
	s := c.shard(key)
	stamp := c.forgottenCounter(key).Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	c.remember(s, flightKey{key, stamp}, answer[V]{value: v, asOf: asked}, asked)
}

// find returns the entry under key if it still counts. The shard is locked for reading.
func (s *shard[V]) find(key digest, stamp uint64, now time.Duration) (entry[V], bool) {
	if e, ok := s.present[key]; ok && e.stamp == stamp && now < e.expires {
		return e, true
	}
	if e, ok := s.absent[key]; ok && e.stamp == stamp && now < e.expires {
		return e, true
	}
	return entry[V]{}, false
}

// put stores an entry and drops another if the table is full: of a few, the one that ends first.
func (c *cache[V]) put(table map[digest]entry[V], key digest, e entry[V]) {
	if _, ok := table[key]; !ok && len(table) >= c.perMap {
		var victim digest
		seen := 0
		for k, candidate := range table { // begins at a random place
			if seen == 0 || candidate.expires < table[victim].expires {
				victim = k
			}
			if seen++; seen == samples {
				break
			}
		}
		delete(table, victim)
	}
	table[key] = e
}

// last returns the value last remembered under the key, however old; the zero value if none is.
func (c *cache[V]) last(key digest) V {
	s := c.shard(key)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.present[key].value
}

// size counts what is remembered.
func (c *cache[V]) size() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.present) + len(s.absent)
		s.mu.RUnlock()
	}
	return n
}
