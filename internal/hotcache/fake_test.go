package hotcache

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// fake is a store in memory that can be away, and that tells of changes when the test says so.
type fake struct {
	store.Store // panics on what the cache does not use

	mu       sync.Mutex
	records  map[string]store.Record
	revision store.Revision
	away     error
	watching []chan store.Change
	watches  int

	// silent keeps changes from the watchers: a message that is lost.
	silent atomic.Bool
	gets   atomic.Int64
	// during, if set, runs inside every Get of a record, before it is read.
	during func(key string)
	// visible, if set, runs inside Commit when its writes can be read but Commit has not returned.
	visible func()
}

func newFake() *fake { return &fake{records: make(map[string]store.Record)} }

func (f *fake) Get(ctx context.Context, key string) (store.Record, error) {
	if f.during != nil && key != store.RevisionKey("acme") {
		f.during(key)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return store.Record{}, ctx.Err()
	case f.away != nil:
		return store.Record{}, f.away
	case key == store.RevisionKey("acme"):
		return store.Record{Key: key, Version: f.revision}, nil
	}
	f.gets.Add(1)
	r, ok := f.records[key]
	if !ok {
		return store.Record{}, store.ErrNotFound
	}
	return r, nil
}

func (f *fake) Commit(_ context.Context, writes ...store.Write) (store.Revision, error) {
	revision, err := f.write(writes...)
	if f.visible != nil {
		f.visible()
	}
	return revision, err
}

func (f *fake) write(writes ...store.Write) (store.Revision, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil {
		return 0, f.away
	}
	f.revision++
	change := store.Change{Revision: f.revision}
	for _, w := range writes {
		if w.Value == nil {
			delete(f.records, w.Key)
		} else {
			f.records[w.Key] = store.Record{Key: w.Key, Value: bytes.Clone(w.Value), Version: f.revision}
		}
		change.Keys = append(change.Keys, w.Key)
	}
	f.tell(change)
	return f.revision, nil
}

// tell sends a change to the watchers. The caller holds mu.
func (f *fake) tell(change store.Change) {
	if f.silent.Load() {
		return
	}
	for _, w := range f.watching {
		w <- change
	}
}

func (f *fake) Watch(ctx context.Context, _ string) (<-chan store.Change, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.away != nil {
		return nil, f.away
	}
	f.watches++
	changes := make(chan store.Change, 1000)
	f.watching = append(f.watching, changes)
	context.AfterFunc(ctx, f.endWatches)
	return changes, nil
}

func (f *fake) endWatches() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.watching {
		close(w)
	}
	f.watching = nil
}

// leave makes the store fail, or answer again with nil.
func (f *fake) leave(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.away = err
}

var errAway = errors.New("connection refused")

func put(key, value string) store.Write { return store.Write{Key: key, Value: []byte(value)} }

// text decodes a record as its text.
func text(r store.Record) (string, error) { return string(r.Value), nil }

// read reads one record through a View of its own.
func read(t testing.TB, c *Cache, key string) (string, error) {
	t.Helper()
	return Read(t.Context(), c.View(), key, text)
}

func newCache(t testing.TB, s store.Store) *Cache {
	t.Helper()
	c, err := New(Config{Store: s, Space: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func commit(t testing.TB, c *Cache, writes ...store.Write) {
	t.Helper()
	if _, err := c.Commit(t.Context(), writes...); err != nil {
		t.Fatal(err)
	}
}

// settle waits until what was kept can be found.
func (c *Cache) settle() {
	c.kept.Wait()
	c.missing.Wait()
}
