package upstream

import (
	"sync"
	"time"
)

// seenLimit is how long a principal is remembered by reference: an upload ticket's life (design
// section 6).
const seenLimit = 24 * time.Hour

// lastSeen remembers things by name as the server last described them. Each is kept once, however many
// callers the server describes it to: whoever adds the same is given what is there.
type lastSeen[K comparable, V any] struct {
	mu      sync.Mutex
	most    int
	same    func(V, V) bool
	entries map[K]seenEntry[V]
}

type seenEntry[V any] struct {
	value V
	at    time.Time
}

func newLastSeen[K comparable, V any](most int, same func(V, V) bool) *lastSeen[K, V] {
	return &lastSeen[K, V]{most: most, same: same, entries: make(map[K]seenEntry[V])}
}

// add remembers v, and returns it or the same from before.
func (l *lastSeen[K, V]) add(key K, v V) V {
	l.mu.Lock()
	defer l.mu.Unlock()
	old, ok := l.entries[key]
	if ok && l.same(old.value, v) {
		v = old.value
	}
	if !ok && len(l.entries) >= l.most {
		l.dropOne()
	}
	l.entries[key] = seenEntry[V]{v, time.Now()}
	return v
}

func (l *lastSeen[K, V]) find(key K) (v V, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[key]
	if !ok || time.Since(e.at) >= seenLimit {
		return v, false
	}
	return e.value, true
}

func (l *lastSeen[K, V]) drop(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, key)
}

// dropOne drops, of a few, the one seen longest ago.
func (l *lastSeen[K, V]) dropOne() {
	var victim K
	var at time.Time
	n := 0
	for key, e := range l.entries {
		if n == 0 || e.at.Before(at) {
			victim, at = key, e.at
		}
		if n++; n == samples {
			break
		}
	}
	delete(l.entries, victim)
}
