package hotcache

import (
	"context"
	"sync"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

const (
	// patience is how long a reader waits for the news of a commit whose record it has already
	// read, before everything is forgotten instead.
	patience = 250 * time.Millisecond
	// maxAhead bounds how many commits may be known beyond one that is not.
	maxAhead = 4096
)

// progress is the revision up to which the stripes of every change have been raised. Commits become
// known out of order, by their writer's return and by Watch, and more than once.
type progress struct {
	mu      sync.Mutex
	applied store.Revision
	ahead   map[store.Revision]struct{}
	moved   chan struct{} // closed when applied moves
}

func (p *progress) init() {
	p.ahead = make(map[store.Revision]struct{})
	p.moved = make(chan struct{})
}

func (p *progress) revision() store.Revision {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied
}

// mark records that the stripes of one commit have been raised. It reports whether that was not known
// yet, and false for inTime when too many commits are known beyond one that never was.
func (p *progress) mark(r store.Revision) (fresh, inTime bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ahead := p.ahead[r]; ahead || r <= p.applied {
		return false, true
	}
	p.ahead[r] = struct{}{}
	p.advance(p.applied)
	return true, len(p.ahead) <= maxAhead
}

// knows reports whether the stripes of that commit have been raised.
func (p *progress) knows(r store.Revision) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, ahead := p.ahead[r]
	return ahead || r <= p.applied
}

// reach records that all commits up to r are taken into account, and returns how many of them were not
// known yet.
func (p *progress) reach(r store.Revision) (missed uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r <= p.applied {
		return 0
	}
	missed = uint64(r - p.applied)
	for known := range p.ahead {
		if known <= r {
			missed--
		}
	}
	p.advance(r)
	return missed
}

// reset sets the revision, back if need be.
func (p *progress) reset(r store.Revision) {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.ahead)
	p.applied = r
	p.advance(r)
}

// advance moves to r and on over what is known beyond it.
func (p *progress) advance(r store.Revision) {
	if r > p.applied {
		for known := range p.ahead {
			if known <= r {
				delete(p.ahead, known)
			}
		}
	}
	for {
		if _, known := p.ahead[r+1]; !known {
			break
		}
		delete(p.ahead, r+1)
		r++
	}
	if r != p.applied {
		p.applied = r
		close(p.moved)
		p.moved = make(chan struct{})
	}
}

// reached reports whether r is taken into account; if not, the channel is closed when there is news.
func (p *progress) reached(r store.Revision) (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return r <= p.applied, p.moved
}

// await returns when all changes up to r have been taken into account. If the news of one does not
// come, everything is forgotten, which amounts to the same.
func (c *Cache) await(ctx context.Context, r store.Revision) error {
	done, moved := c.progress.reached(r)
	if done {
		return nil
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case <-moved:
		case <-late.C:
			atMost := c.contact.age()
			c.dropAll()
			c.held(c.progress.reach(r), atMost, true)
		case <-ctx.Done():
			return iam.Unavailable("the request ended before the store answered", ctx.Err())
		}
		if done, moved = c.progress.reached(r); done {
			return nil
		}
	}
}
