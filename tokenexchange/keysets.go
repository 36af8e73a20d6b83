package tokenexchange

import (
	"sync"
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

	mu     sync.RWMutex
	sets   map[string]*remote.Set // by TrustedIssuer.source
	closed bool
}

// of returns the key set of an issuer.
func (k *KeySets) of(t *TrustedIssuer) (*remote.Set, error) {
	source := t.source()
	k.mu.RLock()
	set, ok := k.sets[source]
	k.mu.RUnlock()
	if ok {
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
	if set, ok := k.sets[source]; ok {
		return set, nil
	}
	set, err = remote.New(remote.Config{Issuer: t.URL, KeysURL: t.KeysURL, Pinned: pinned, Roots: roots, Now: k.Now, Report: k.Report})
	if err != nil {
		return nil, err
	}
	if k.closed {
		set.Close()
		return set, nil
	}
	if k.sets == nil {
		k.sets = make(map[string]*remote.Set)
	}
	k.sets[source] = set
	return set, nil
}

// keep ends the fetching for issuers that are not trusted any more: all but those of the sources.
func (k *KeySets) keep(sources map[string]bool) {
	var dropped []*remote.Set
	k.mu.Lock()
	for source, set := range k.sets {
		if !sources[source] {
			delete(k.sets, source)
			dropped = append(dropped, set)
		}
	}
	k.mu.Unlock()
	for _, set := range dropped {
		set.Close() // waits for a fetch that runs
	}
}

// generation changes whenever the keys of any issuer change, so that what was verified with the keys
// of before is verified again.
func (k *KeySets) generation() uint64 {
	k.mu.RLock()
	defer k.mu.RUnlock()
	var sum uint64
	for _, set := range k.sets {
		sum += set.Generation() // 64 bits of a fingerprint each
	}
	return sum
}

// Close ends all fetching.
func (k *KeySets) Close() {
	k.mu.Lock()
	k.closed = true
	k.mu.Unlock()
	k.keep(nil)
}
