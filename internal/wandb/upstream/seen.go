package upstream

import (
	"sync"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// seenLimit is how long a principal is remembered by reference: an upload ticket's life (design
// section 6).
const seenLimit = 24 * time.Hour

// lastSeen remembers principals by reference as the server last described them.
type lastSeen struct {
	mu      sync.Mutex
	most    int
	entries map[iam.PrincipalRef]seenEntry
}

type seenEntry struct {
	principal *iam.Principal
	at        time.Time
}

func newLastSeen(most int) *lastSeen {
	return &lastSeen{most: most, entries: make(map[iam.PrincipalRef]seenEntry)}
}

func (l *lastSeen) add(p *iam.Principal) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.entries[p.Ref]; !ok && len(l.entries) >= l.most {
		l.dropOne()
	}
	l.entries[p.Ref] = seenEntry{p, time.Now()}
}

func (l *lastSeen) find(ref iam.PrincipalRef) (*iam.Principal, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, ok := l.entries[ref]
	if !ok || time.Since(e.at) >= seenLimit {
		return nil, false
	}
	return e.principal, true
}

func (l *lastSeen) drop(ref iam.PrincipalRef) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.entries, ref)
}

// dropOne drops, of a few, the one seen longest ago.
func (l *lastSeen) dropOne() {
	var victim iam.PrincipalRef
	var at time.Time
	n := 0
	for ref, e := range l.entries {
		if n == 0 || e.at.Before(at) {
			victim, at = ref, e.at
		}
		if n++; n == samples {
			break
		}
	}
	delete(l.entries, victim)
}
