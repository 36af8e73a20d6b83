package hotcache

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

const (
	// askEvery is how often the store is asked for its revision: what a lost message changed is
	// noticed that soon (design section 6).
	askEvery = time.Second
	// watchAgain is the pause before watching again after the store ended it.
	watchAgain = time.Second
)

// contact knows when the store last confirmed that nothing was missed.
type contact struct {
	start time.Time    // whose monotonic reading the offsets below count from
	last  atomic.Int64 // nanoseconds after start
	limit time.Duration
	// cause is why the last question went unanswered, nil if it did not.
	cause atomic.Pointer[error]
}

func (c *contact) now() time.Duration { return time.Since(c.start) }
func (c *contact) age() time.Duration { return c.now() - time.Duration(c.last.Load()) }

// silent is the refusal beyond the limit, with what an operator needs to know.
func (c *contact) silent() error {
	err := errSilent
	if cause := c.cause.Load(); cause != nil {
		err = fmt.Errorf("%w: %v", err, *cause)
	}
	return iam.Unavailable("the gateway's store has not answered for too long, try again", err)
}

// usable refuses when the store has been silent for longer than the stale limit.
func (c *Cache) usable() error {
	if c.closed.Load() {
		return errClosed
	}
	if c.contact.age() > c.contact.limit {
		return c.contact.silent()
	}
	return nil
}

var (
	errClosed = iam.Unavailable("the gateway is stopping", errors.New("hotcache: closed"))
	errSilent = errors.New("hotcache: beyond the stale limit")
)

// start watches the space and asks for its revision, in this order: what changes in between is seen
// twice rather than never.
func (c *Cache) start(limit time.Duration) error {
	c.contact.start = time.Now()
	c.contact.limit = limit
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	first, cancel := context.WithTimeout(ctx, limit)
	defer cancel()

	changes, err := c.store.Watch(ctx, c.space+"/")
	if err != nil {
		stop()
		return fmt.Errorf("watching the store: %w", err)
	}
	head, err := c.readHead(first)
	if err != nil {
		stop()
		return fmt.Errorf("asking the store for its revision: %w", err)
	}
	c.progress.reset(head) // nothing is cached yet
	c.running.Go(func() { c.follow(ctx, changes) })
	c.running.Go(func() { c.keepAsking(ctx) })
	return nil
}

// readHead returns the revision of the space, 0 if it was never written.
func (c *Cache) readHead(ctx context.Context) (store.Revision, error) {
	record, err := c.store.Get(ctx, c.head)
	if errors.Is(err, store.ErrNotFound) {
		return 0, nil
	}
	return record.Version, err
}

// follow takes changes into account until ctx ends, and watches again when the store stopped.
func (c *Cache) follow(ctx context.Context, changes <-chan store.Change) {
	for {
		for change := range changes {
			c.apply(ctx, change)
		}
		for changes = nil; changes == nil; {
			select {
			case <-ctx.Done():
				return
			case <-time.After(watchAgain):
			}
			changes, _ = c.store.Watch(ctx, c.space+"/") // silence shows in contact
		}
		c.apply(ctx, store.Change{Gap: true})
	}
}

func (c *Cache) apply(ctx context.Context, change store.Change) {
	if change.Gap {
		c.forget(ctx, change)
		return
	}
	atMost := c.contact.age()
	if c.progress.knows(change.Revision) {
		return // our own commit, mostly: what was cached since then is good
	}
	for _, key := range change.Keys {
		c.stripes.raise(c.hash(key))
	}
	c.stripes.raise(c.hash(c.head))
	fresh, inTime := c.progress.mark(change.Revision)
	if fresh {
		c.held(1, since(change.Committed, atMost), false)
	}
	if !inTime {
		c.forget(ctx, store.Change{})
	}
}

// forget makes everything unreachable, because a change was told that may not be the only one. The revision is
// read first: what is cached from then on is at least as new. If it went back, commits were lost: those that take their numbers are news.
func (c *Cache) forget(ctx context.Context, because store.Change) {
	ctx, cancel := context.WithTimeout(ctx, askEvery)
	defer cancel()
	ours, atMost := c.progress.revision(), c.contact.age()
	head, err := c.readHead(ctx)
	c.dropAll()
	switch {
	case err != nil:
	case head < ours:
		c.progress.reset(head)
	default:
		newest := head == because.Revision && !c.progress.knows(head)
		missed := c.progress.reach(head)
		if newest && missed > 0 {
			c.held(1, since(because.Committed, atMost), true)
			missed--
		}
		c.held(missed, atMost, true) // all that is known of them
	}
}

// keepAsking compares revisions with the store until ctx ends.
func (c *Cache) keepAsking(ctx context.Context) {
	every := min(askEvery, c.contact.limit/4)
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			c.ask(ctx, every)
		}
	}
}

// ask compares the store's revision with ours. The contact counts from before the question.
func (c *Cache) ask(ctx context.Context, timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, timeout+patience)
	defer cancel()
	began := c.contact.now()
	ours := c.progress.revision()
	head, err := c.readHead(ctx)
	if err == nil && head < ours { // restored from a backup, or another store altogether
		c.dropAll()
		c.progress.reset(head)
	}
	if err == nil {
		err = c.await(ctx, head)
	}
	if err != nil {
		c.contact.cause.Store(&err)
		return
	}
	c.contact.cause.Store(nil)
	c.contact.last.Store(int64(began))
}
