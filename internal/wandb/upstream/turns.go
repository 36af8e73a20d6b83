package upstream

import (
	"container/list"
	"context"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// The bounds of the look-ups of one class that wait for their turn: so many, and beyond that one each in
// so many lines.
const (
	maxWaiting = 1 << 14
	maxLines   = 1 << 12
)

// class says how much is known of those for whom a look-up is made.
type class uint8

const (
	// classKnown: the server, or the gateway's own record, vouched for them before.
	classKnown class = iota
	// classStrange: nobody did. Whoever invents keys makes any number of them.
	classStrange
	classes
)

// line is the queue that a look-up stands in: of known callers each has one, and strangers have one
// for the network they come from. The zero line is that of strangers from nowhere.
type line struct {
	known   bool
	asker   string       // of the known
	network netip.Prefix // of strangers
}

func (l line) class() class {
	if l.known {
		return classKnown
	}
	return classStrange
}

// turns decides who is asked for next, when more is to be asked than the server is to bear: at most so
// many questions a second, and so many at a time. The classes take turns, and within each the lines
// do. So whoever asks for much waits behind themselves, and no flood of unknown keys keeps those
// waiting who work (threats K08); strangers never take the last quarter of the places, in which slow
// answers would hold everybody up.
type turns struct {
	limit *rate.Limiter
	// patience is how long the first in a line may have waited. Beyond, there is more to ask than time to
	// ask it in, and the last who came goes first: the first would not live to see the answer.
	patience time.Duration

	mu      sync.Mutex
	free    int // places for questions under way
	strange int // of which strangers may take so many
	waiting [classes]queue
	next    class
	waking  bool // a timer is set for when the rate allows more
}

// queue holds those who wait, by line.
type queue struct {
	lines map[line]*lineUp
	round list.List // of *lineUp that somebody waits in; the one whose turn it is first
	size  int
}

type lineUp struct {
	waiters list.List // of *waiter
	turn    *list.Element
}

// waiter is one look-up. Its channel is closed when its turn comes.
type waiter struct {
	line    line
	since   time.Time
	granted chan struct{}
	at      *list.Element // nil once it waits no more
}

func newTurns(perSecond, parallel int, timeout time.Duration) *turns {
	t := &turns{
		limit:    rate.NewLimiter(rate.Limit(perSecond), perSecond),
		patience: timeout / 2,
		free:     parallel,
		strange:  max(1, parallel-parallel/4),
	}
	for c := range t.waiting {
		t.waiting[c].lines = make(map[line]*lineUp)
	}
	return t
}

// wait returns when the server may be asked once more; end tells that it has answered. ok is false if
// the line is too long, or the context ended first.
func (t *turns) wait(ctx context.Context, l line) (end func(), ok bool) {
	w := &waiter{line: l, since: time.Now(), granted: make(chan struct{})}
	t.mu.Lock()
	joined := t.waiting[l.class()].join(w)
	if joined {
		t.dispatch()
	}
	t.mu.Unlock()
	if !joined {
		return nil, false
	}
	end = func() { t.end(l.class()) }
	select {
	case <-w.granted:
		return end, true
	case <-ctx.Done():
	}
	t.mu.Lock()
	left := t.waiting[l.class()].leave(w)
	t.mu.Unlock()
	if !left { // the turn came at the same moment
		end()
	}
	return nil, false
}

func (t *turns) end(c class) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.free++
	if c == classStrange {
		t.strange++
	}
	t.dispatch()
}

// dispatch grants turns while there are any. It is called with the lock held.
func (t *turns) dispatch() {
	for t.free > 0 {
		c, ok := t.pick()
		if !ok {
			return
		}
		if !t.limit.Allow() {
			t.wake()
			return
		}
		t.next = (c + 1) % classes
		t.free--
		if c == classStrange {
			t.strange--
		}
		close(t.waiting[c].take(t.patience).granted)
	}
}

// pick returns the class whose turn it is.
func (t *turns) pick() (class, bool) {
	for i := range classes {
		c := (t.next + i) % classes
		if t.waiting[c].size > 0 && (c == classKnown || t.strange > 0) {
			return c, true
		}
	}
	return 0, false
}

// wake comes back when the rate allows one more.
func (t *turns) wake() {
	if t.waking {
		return
	}
	t.waking = true
	time.AfterFunc(time.Duration(float64(time.Second)/float64(t.limit.Limit())), func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.waking = false
		t.dispatch()
	})
}

// join puts the waiter at the end of its line. No line may be longer than twice what is left for all
// others, and a new one has room when there is none: whoever floods the queue is in nobody's way.
func (q *queue) join(w *waiter) bool {
	l, ok := q.lines[w.line]
	switch {
	case !ok && q.size >= maxWaiting && len(q.lines) >= maxLines, ok && l.waiters.Len() >= 2*(maxWaiting-q.size):
		return false
	case !ok:
		l = new(lineUp)
		q.lines[w.line] = l
		l.turn = q.round.PushBack(l)
	}
	w.at = l.waiters.PushBack(w)
	q.size++
	return true
}

// take removes the waiter whose turn it is from the line whose turn it is, and puts the line last.
func (q *queue) take(patience time.Duration) *waiter {
	l := q.round.Front().Value.(*lineUp)
	w := l.waiters.Front().Value.(*waiter)
	if time.Since(w.since) > patience {
		w = l.waiters.Back().Value.(*waiter)
	}
	q.round.MoveToBack(l.turn)
	q.leave(w)
	return w
}

// leave removes a waiter; false if it waits no more.
func (q *queue) leave(w *waiter) bool {
	if w.at == nil {
		return false
	}
	l := q.lines[w.line]
	l.waiters.Remove(w.at)
	w.at = nil
	q.size--
	if l.waiters.Len() == 0 {
		q.round.Remove(l.turn)
		delete(q.lines, w.line)
	}
	return true
}
