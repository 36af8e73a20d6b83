// Package failure limits failed proofs of identity: credentials from one address, assertions of one
// issuer, passwords of one account. What is over its limit is told so instead of being answered; what
// is valid keeps working, so that a guesser behind a shared address locks nobody out (threat K03).
package failure

import (
	"container/list"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Rate is how many failures are allowed in each period, all at once if need be. The zero Rate allows
// any number.
type Rate struct {
	Number int
	Period time.Duration
}

// ParseRate reads `300/m`: a number of failures for each second, minute or hour. `off` is the zero Rate.
func ParseRate(s string) (Rate, error) {
	if s == "off" {
		return Rate{}, nil
	}
	number, unit, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(number)
	period, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || !ok || n < 1 || n > 1_000_000 {
		return Rate{}, iam.Invalidf("failure_limit %q is not a number for each second, minute or hour, such as 300/m, nor off", s)
	}
	return Rate{n, period}, nil
}

// Limit counts failures for each key. It remembers at most maxKeys keys and forgets the one that
// failed longest ago. A nil Limit limits nothing.
type Limit[K comparable] struct {
	rate Rate
	over atomic.Uint64

	mu      sync.Mutex
	entries map[K]*list.Element
	recent  *list.List // of *failures[K], the latest first
}

type failures[K comparable] struct {
	key    K
	bucket *rate.Limiter
}

const maxKeys = 100_000

// NewLimit returns a Limit; nil for the zero Rate.
func NewLimit[K comparable](r Rate) *Limit[K] {
	if r == (Rate{}) {
		return nil
	}
	return &Limit[K]{rate: r, entries: make(map[K]*list.Element), recent: list.New()}
}

// Failed counts one failure of the key, and reports whether the key is over its limit with it.
func (l *Limit[K]) Failed(key K) (over bool) {
	if l == nil {
		return false
	}
	if l.bucket(key).Allow() {
		return false
	}
	l.over.Add(1)
	return true
}

// Over is how many failures were over the limit, of all keys.
func (l *Limit[K]) Over() uint64 {
	if l == nil {
		return 0
	}
	return l.over.Load()
}

// TakeBack takes back one failure of the key, for those that count an attempt before they know what it
// comes to, so that attempts at the same moment do not pass together. It takes back at most what was
// counted.
func (l *Limit[K]) TakeBack(key K) {
	if l == nil {
		return
	}
	l.bucket(key).AllowN(time.Now(), -1)
}

func (l *Limit[K]) bucket(key K) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[key]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*failures[K]).bucket
	}
	if l.recent.Len() >= maxKeys {
		oldest := l.recent.Back()
		delete(l.entries, l.recent.Remove(oldest).(*failures[K]).key)
	}
	f := &failures[K]{key, rate.NewLimiter(rate.Limit(float64(l.rate.Number)/l.rate.Period.Seconds()), l.rate.Number)}
	l.entries[key] = l.recent.PushFront(f)
	return f.bucket
}

// Client is what counts as one client: an IPv4 address or an IPv6 /64, all of which one client owns.
func Client(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	p, err := addr.Prefix(bits)
	if err != nil { // no address at all, such as a Unix socket: one client
		return netip.Prefix{}
	}
	return p
}
