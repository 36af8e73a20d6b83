// Package watch tells everyone who watches a store what was committed to it, for every backend: it
// keeps a bounded queue for each receiver, and a slow one gets a Gap.
package watch

import (
	"context"
	"slices"
	"strings"
	"sync"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// maxQueuedKeys bounds what waits for one slow watcher; beyond it the watcher gets a Gap.
const maxQueuedKeys = store.MaxWrites

// Watchers are those who watch. The zero value is ready.
type Watchers struct {
	mu      sync.Mutex
	all     map[*watcher]struct{}
	running sync.WaitGroup
}

// watcher is one Watch: a queue that Publish fills and a goroutine empties.
type watcher struct {
	prefix string
	news   chan struct{} // of capacity 1: something was queued

	mu     sync.Mutex
	queue  []store.Change
	queued int // keys in queue
}

// Add starts watching the keys under prefix until ctx ends or closing is closed; then the channel is
// closed.
func (ws *Watchers) Add(ctx context.Context, prefix string, closing <-chan struct{}) <-chan store.Change {
	w := &watcher{prefix: prefix, news: make(chan struct{}, 1)}
	changes := make(chan store.Change)
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.all == nil {
		ws.all = make(map[*watcher]struct{})
	}
	ws.all[w] = struct{}{}
	ws.running.Go(func() {
		defer close(changes)
		defer ws.remove(w)
		w.deliver(ctx, changes, closing)
	})
	return changes
}

func (ws *Watchers) remove(w *watcher) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	delete(ws.all, w)
}

// Len returns how many watch.
func (ws *Watchers) Len() int {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return len(ws.all)
}

// Wait returns when every watcher has ended.
func (ws *Watchers) Wait() { ws.running.Wait() }

// Publish queues a change for whom it concerns, and never waits for them.
func (ws *Watchers) Publish(change store.Change) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		if keys := w.under(change); len(keys) > 0 || change.Gap {
			told := change
			told.Keys = keys
			w.add(told)
		}
	}
}

// under returns the keys of a change that are under the watched prefix. They are shared: nobody
// writes into them.
func (w *watcher) under(change store.Change) []string {
	if change.Gap {
		return nil
	}
	if w.prefix == store.RevisionKey(store.Space(change.Keys[0])) {
		return []string{w.prefix}
	}
	outside := func(key string) bool { return !strings.HasPrefix(key, w.prefix) }
	if !slices.ContainsFunc(change.Keys, outside) {
		return change.Keys
	}
	return slices.DeleteFunc(slices.Clone(change.Keys), outside)
}

// add puts a change at the end of the queue, or replaces a queue that is too long.
func (w *watcher) add(change store.Change) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queued += 1 + len(change.Keys)
	if w.queued > maxQueuedKeys || change.Gap {
		change.Keys, change.Gap = nil, true
		w.queue, w.queued = nil, 1
	}
	w.queue = append(w.queue, change)
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (w *watcher) take() []store.Change {
	w.mu.Lock()
	defer w.mu.Unlock()
	queue := w.queue
	w.queue, w.queued = nil, 0
	return queue
}

func (w *watcher) deliver(ctx context.Context, changes chan<- store.Change, closing <-chan struct{}) {
	for {
		for _, change := range w.take() {
			select {
			case changes <- change:
			case <-ctx.Done():
				return
			case <-closing:
				return
			}
		}
		select {
		case <-w.news:
		case <-ctx.Done():
			return
		case <-closing:
			return
		}
	}
}
