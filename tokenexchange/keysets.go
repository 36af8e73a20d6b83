package tokenexchange

import (
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/remote"
)

// KeySets are the key sets of the issuers that a process has met. They outlive a reload of the
// configuration: an issuer that is down at that moment must not stop the jobs that rely on it.
type KeySets struct {
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Report is told of fetches; nil tells nobody.
	Report func(remote.Event)

	mu     sync.Mutex // orders changes
	closed bool
	known  atomic.Pointer[knownSets] // nil before the first issuer is met
}

// knownSets are the key sets at one moment. Nobody changes them: every request with a token looks at
// all of them, and must not wait for a lock to do so.
type knownSets struct {
	bySource map[string]*remote.Set // by TrustedIssuer.source
	list     []*remote.Set
}

// find returns the set of a source.
func (k *KeySets) find(source string) (*remote.Set, bool) {
	known := k.known.Load()
	if known == nil {
		return nil, false
	}
	set, ok := known.bySource[source]
	return set, ok
}

// change replaces what is known by what f makes of a copy of it. The lock is held.
func (k *KeySets) change(f func(bySource map[string]*remote.Set)) {
	bySource := make(map[string]*remote.Set)
	if known := k.known.Load(); known != nil {
		maps.Copy(bySource, known.bySource)
	}
	f(bySource)
	k.known.Store(&knownSets{bySource, slices.Collect(maps.Values(bySource))})
}

// of returns the key set of an issuer.
func (k *KeySets) of(t *TrustedIssuer) (*remote.Set, error) {
	source := t.source()
	if set, ok := k.find(source); ok {
		return set, nil
	}
	pinned, err := t.pinned()
	if err != nil {
		return nil, err
	}
	roots, err := t.roots()
	if err != nil {
		return nil, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if set, ok := k.find(source); ok {
		return set, nil
	}
	set, err := remote.New(remote.Config{Issuer: t.URL, KeysURL: t.KeysURL, Pinned: pinned, Roots: roots, Now: k.Now, Report: k.Report})
	if err != nil {
		return nil, err
	}
	if k.closed {
		set.Close()
		return set, nil
	}
	k.change(func(bySource map[string]*remote.Set) { bySource[source] = set })
	return set, nil
}

// keep ends the fetching for issuers that are not trusted any more: all but those of the sources.
func (k *KeySets) keep(sources map[string]bool) {
	var dropped []*remote.Set
	k.mu.Lock()
	k.change(func(bySource map[string]*remote.Set) {
		maps.DeleteFunc(bySource, func(source string, set *remote.Set) bool {
			if !sources[source] {
				dropped = append(dropped, set)
			}
			return !sources[source]
		})
	})
	k.mu.Unlock()
	for _, set := range dropped {
		set.Close() // waits for a fetch that runs
	}
}

// generation changes whenever the keys of any issuer change, so that what was verified with the keys
// of before is verified again.
func (k *KeySets) generation() uint64 {
	known := k.known.Load()
	if known == nil {
		return 0
	}
	now := k.now()
	var sum uint64
	for _, set := range known.list {
		sum += set.GenerationAt(now) // 64 bits of a fingerprint each
	}
	return sum
}

func (k *KeySets) now() time.Time {
	if k.Now == nil {
		return time.Now()
	}
	return k.Now()
}

// Close ends all fetching.
func (k *KeySets) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.keep(nil)
}
