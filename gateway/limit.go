package gateway

import (
	"container/list"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// FailureLimit counts failed credentials for each client address. An address that is over its
// limit is told so instead of being answered; valid credentials from the same address keep working,
// so that a guesser behind a shared address locks nobody out (threats K03).
//
// It remembers at most maxAddresses addresses and forgets the one that failed longest ago. An IPv6
// client owns a whole /64, so that is what counts.
type FailureLimit struct {
	rate  rate.Limit
	burst int

	mu      sync.Mutex
	entries map[netip.Prefix]*list.Element
	recent  *list.List // of *failures, the latest first
}

type failures struct {
	prefix netip.Prefix
	bucket *rate.Limiter
}

const maxAddresses = 100_000

// NewFailureLimit allows n failures in each period, all at once if need be.
func NewFailureLimit(n int, period time.Duration) *FailureLimit {
	return &FailureLimit{
		rate: rate.Limit(float64(n) / period.Seconds()), burst: n,
		entries: make(map[netip.Prefix]*list.Element), recent: list.New(),
	}
}

// ParseFailureLimit reads `300/m`: a number of failures for each second, minute or hour. `off`
// gives nil, which limits nothing.
func ParseFailureLimit(s string) (*FailureLimit, error) {
	if s == "off" {
		return nil, nil
	}
	number, unit, _ := strings.Cut(s, "/")
	n, err := strconv.Atoi(number)
	period, ok := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[unit]
	if err != nil || !ok || n < 1 || n > 1_000_000 {
		return nil, iam.Invalidf("failure_limit %q is not a number for each second, minute or hour, such as 300/m, nor off", s)
	}
	return NewFailureLimit(n, period), nil
}

// Failed counts one failed credential of the address, and reports whether the address is over its
// limit with it.
func (l *FailureLimit) Failed(addr netip.Addr) (over bool) {
	if l == nil {
		return false
	}
	return !l.bucket(clientPrefix(addr)).Allow()
}

func (l *FailureLimit) bucket(p netip.Prefix) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if e, ok := l.entries[p]; ok {
		l.recent.MoveToFront(e)
		return e.Value.(*failures).bucket
	}
	if l.recent.Len() >= maxAddresses {
		oldest := l.recent.Back()
		delete(l.entries, l.recent.Remove(oldest).(*failures).prefix)
	}
	f := &failures{p, rate.NewLimiter(l.rate, l.burst)}
	l.entries[p] = l.recent.PushFront(f)
	return f.bucket
}

// clientPrefix is what counts as one client: an IPv4 address or an IPv6 /64.
func clientPrefix(addr netip.Addr) netip.Prefix {
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

var errTooManyFailures = &iam.Error{
	Kind: iam.KindTooMany, Reason: ReasonTooManyFailures,
	Message: "Too many requests with an unknown API key came from this address. Stop the client that sends them, check its WANDB_API_KEY, and wait a minute.",
}
