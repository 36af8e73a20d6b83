package redis

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/watch"
)

const (
	// pollEvery is how often the revision is compared. A lost message is noticed by the next but one,
	// so within a second.
	pollEvery = 500 * time.Millisecond
	// silentFor is how long a subscription says nothing before it is asked whether it lives; after
	// twice that time it is given up.
	silentFor = 2 * time.Second
	// subscribeAgain is the pause before a new subscription.
	subscribeAgain = 100 * time.Millisecond
	// watchTimeout bounds how long Watch waits for its subscription.
	watchTimeout = 5 * time.Second
)

// feed tells those who watch one space what is committed to it, whoever commits it. One subscription
// listens, and the revision is polled beside it: what one does not tell, the other does.
type feed struct {
	store    *Store
	space    string
	watchers watch.Watchers

	ctx    context.Context //nolint:containedctx // ends the feed's goroutines
	stop   context.CancelFunc
	users  int           // Watch calls that have not ended; guarded by store.mu
	synced chan struct{} // closed when the head was read after the first subscription stood

	mu sync.Mutex
	// subscription is the one that listens now; confirmed says that the server has taken it, and
	// generation counts how often it did: go-redis connects again by itself.
	subscription *goredis.PubSub
	confirmed    bool
	generation   int
	// known says that the head was read since.
	known bool
	// at is the last commit that was told; based is the revision that was last read rather than heard:
	// what is heard of it and before it is old news.
	at    head
	based store.Revision
	// clock knows the server's.
	clock clock
	// owed is a revision that was read and not yet heard of.
	owed store.Revision
	// began says that synced is closed.
	began bool
}

// Watch implements store.Store. It returns when the subscription stands: what is committed from then
// on is told. A prefix must hold a whole space; changes of several spaces cannot be watched at once.
func (s *Store) Watch(ctx context.Context, prefix string) (<-chan store.Change, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	space := store.Space(prefix)
	if space == "" || space == prefix {
		return nil, fmt.Errorf("redis store: watching %q: a prefix must name a space and a slash", prefix)
	}
	f, err := s.join(space)
	if err != nil {
		return nil, err
	}
	late := time.NewTimer(watchTimeout)
	defer late.Stop()
	select {
	case <-f.synced:
	case <-ctx.Done():
		s.leave(f)
		return nil, ctx.Err()
	case <-s.closing:
		s.leave(f)
		return nil, errClosed
	case <-late.C:
		s.leave(f)
		return nil, iam.Unavailable("the gateway's store did not answer, try again", fmt.Errorf("redis at %s: no subscription", s.address))
	}
	changes := f.watchers.Add(ctx, prefix, s.closing)
	s.running.Go(func() {
		defer s.leave(f)
		select {
		case <-ctx.Done():
		case <-s.closing:
		}
	})
	return changes, nil
}

// join returns the feed of a space, and begins it for the first who watches.
func (s *Store) join(space string) (*feed, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil, errClosed
	}
	f := s.feeds[space]
	if f == nil {
		f = &feed{store: s, space: space, synced: make(chan struct{})}
		f.ctx, f.stop = context.WithCancel(context.Background())
		s.feeds[space] = f
		s.running.Go(f.listen)
		s.running.Go(f.poll)
	}
	f.users++
	return f, nil
}

// leave ends the feed after the last who watched.
func (s *Store) leave(f *feed) {
	s.mu.Lock()
	f.users--
	last := f.users == 0
	if last {
		delete(s.feeds, f.space)
	}
	s.mu.Unlock()
	if last {
		f.stop()
		f.hangUp()
		f.watchers.Wait()
	}
}

// listen subscribes until the feed ends, again whenever a subscription breaks.
func (f *feed) listen() {
	for f.ctx.Err() == nil {
		f.subscribe()
		select {
		case <-f.ctx.Done():
		case <-time.After(subscribeAgain):
		}
	}
}

// subscribe listens on one connection until it breaks.
func (f *feed) subscribe() {
	subscription := f.store.client.Subscribe(f.ctx, f.store.names.changes(f.space))
	defer subscription.Close()
	f.mu.Lock()
	f.subscription = subscription
	f.mu.Unlock()
	asked := false
	for {
		news, err := subscription.ReceiveTimeout(f.ctx, silentFor)
		if f.ctx.Err() != nil {
			return
		}
		if err != nil {
			if asked || !isTimeout(err) || subscription.Ping(f.ctx) != nil {
				f.confirm(false)
				return
			}
			asked = true
			continue
		}
		asked = false
		switch news := news.(type) {
		case *goredis.Subscription:
			f.confirm(true)
			f.compare()
		case *goredis.Message:
			f.hear(news.Payload)
		}
	}
}

func isTimeout(err error) bool {
	timeout, ok := errors.AsType[net.Error](err)
	return ok && timeout.Timeout()
}

// confirm records that the server has taken the subscription, or that it broke. What was announced
// between the two was missed.
func (f *feed) confirm(taken bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.confirmed, f.known = taken, false
	f.generation++
}

// hangUp ends the present subscription; listen makes another, unless the feed has ended.
func (f *feed) hangUp() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.subscription != nil {
		f.subscription.Close()
	}
}

// hear takes an announcement: it is told on if it continues the chain of commits, else there is a gap.
func (f *feed) hear(payload string) {
	a, err := decodeAnnouncement(f.space, payload)
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case !f.known:
		return // the gap that follows tells it
	case err != nil:
		f.gap(f.at)
		return
	case a.revision <= f.based || a.head == f.at:
		return
	}
	whole := a.revision == f.at.revision+1 && a.previous == f.at.id && !a.gap
	if !whole {
		f.gap(a.head)
		return
	}
	f.at = a.head
	f.watchers.Publish(store.Change{Keys: a.keys, Revision: a.revision, Committed: f.clock.local(a.made())})
}

// gap says that everything up to h may have changed.
func (f *feed) gap(h head) {
	f.at = h
	f.watchers.Publish(store.Change{Gap: true, Revision: h.revision, Committed: f.clock.local(h.made())})
}

// poll compares revisions until the feed ends.
func (f *feed) poll() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-tick.C:
			f.compare()
		}
	}
}

// compare reads the head of the space and finds out whether messages were lost, or commits.
func (f *feed) compare() {
	f.mu.Lock()
	before, generation, subscription := f.at, f.generation, f.subscription
	f.mu.Unlock()
	ctx, cancel := context.WithTimeout(f.ctx, readTimeout)
	defer cancel()
	asked := time.Now()
	now, told, err := f.store.readHead(ctx, f.space)
	if err != nil {
		return // whoever caches asks too, and notices
	}
	f.clock.learn(asked, time.Now(), told)
	if f.judge(before, now, generation) && subscription != nil {
		subscription.Close() // it may listen where nobody speaks any more
	}
}

// judge takes into account what was read. It reports whether the subscription told too little.
func (f *feed) judge(before, now head, generation int) (deaf bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.generation != generation:
		return false // what was missed since then is not in it
	case f.confirmed && !f.known:
		f.sync(now)
	case !f.began:
	case f.at != before:
		f.owed = max(f.owed, now.revision) // messages arrive; the next time tells
	case now == f.at:
		f.owed = 0
	case !f.confirmed, now.revision <= f.at.revision:
		// Nobody tells, or commits that were acknowledged are gone: a failover, or a backup.
		f.rebase(now)
	case f.owed > f.at.revision:
		f.rebase(now)
		return true
	default:
		f.owed = now.revision
	}
	return false
}

// sync begins to tell what the subscription says, from the head that was read after it stood.
func (f *feed) sync(now head) {
	f.known = true
	if f.began {
		f.rebase(now)
		return
	}
	f.at, f.based, f.began = now, now.revision, true
	close(f.synced)
}

// rebase goes on from what was read.
func (f *feed) rebase(now head) {
	f.based, f.owed = now.revision, 0
	f.gap(now)
}
