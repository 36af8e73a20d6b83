package remote

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// How old keys may be. A key that the issuer takes away stops counting within MaxRemoval while the
// issuer can be reached, and within MaxOutage whatever happens.
const (
	// MaxRemoval bounds how long a key counts that the issuer no longer publishes. It is five minutes
	// unless the issuer asks for more.
	MaxRemoval = 15 * time.Minute
	// MaxOutage bounds how long the last keys that were fetched count while the issuer is down. No
	// assertion lives longer.
	MaxOutage = 24 * time.Hour

	defaultFresh = 5 * time.Minute
	minFresh     = time.Minute
	maxFresh     = MaxRemoval - fetchTimeout

	// minInterval lies between two fetches, whoever asks for what (threats J18).
	minInterval = 5 * time.Second
	maxBackoff  = time.Minute
	// rediscovery is how long the issuer's word on where its keys are is kept; a failed fetch ends it.
	rediscovery = time.Hour

	// maxRemembered bounds the key ids that are remembered as asked for, and as unknown.
	maxRemembered = 1000
	// maxKeyIDBytes is what jws lets pass.
	maxKeyIDBytes = 256
)

// Set is the key set of one issuer, kept fresh. Nothing is fetched and nothing runs before Keys is
// called for the first time; from then on it is fetched again in the background whenever it is no
// longer fresh, until Close. It is safe for concurrent use.
type Set struct {
	config Config
	client *client
	now    func() time.Time

	context context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	reporting sync.Mutex // one Report at a time

	mu         sync.Mutex
	closed     bool
	keys       *jws.KeySet // of the last fetch that succeeded; nil before
	ignored    []string    // what it brought that cannot be used
	fetchedAt  time.Time   // when that fetch began
	freshUntil time.Time
	begunAt    time.Time // when the last fetch began, whatever became of it
	failures   int       // since the last one that succeeded
	failure    error
	flight     *flight
	timer      *time.Timer
	asked      map[string]bool // key ids that no fetch has looked for yet
	unknown    map[string]bool // key ids that the last fetch looked for and did not find

	discovery    Discovery
	discoveredAt time.Time

	current atomic.Pointer[current] // what Generation reads without the lock
}

// current says which keys there are; nil means none.
type current struct {
	generation uint64
	fetchedAt  time.Time
}

// flight is one fetch, for which any number of callers wait.
type flight struct {
	done  chan struct{}
	begun time.Time
	asked map[string]bool // the key ids that it is to find
	err   error           // set before done is closed
}

// New returns the key set of an issuer. It does no I/O. Errors are of iam.KindInvalid.
func New(c Config) (*Set, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.Pinned != nil && c.Pinned.Len() == 0 {
		return nil, iam.Invalidf("the pinned key set of the issuer %s has no key that can be used: give it a JWK Set with the issuer's public keys", untrusted.Quote(c.Issuer))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	// The wall clock alone: it goes on while the machine sleeps, and the keys grow old meanwhile.
	now := func() time.Time { return c.Now().Round(0) }
	s := &Set{config: c, now: now, client: newClient(c), asked: map[string]bool{}, unknown: map[string]bool{}}
	s.context, s.cancel = context.WithCancel(context.Background())
	if c.Pinned != nil {
		s.keys = c.Pinned
		s.current.Store(&current{generation: generationOf(c.Pinned)})
	}
	return s, nil
}

// Keys returns the issuer's keys, among which the key with this id is if the issuer has it; kid is ""
// for a token that names none. It waits only if nothing is known yet, or if kid is: an unknown key id
// makes it fetch at once, so that a rotation is picked up with the first token (threats J16). A key
// set without kid is a definite answer: a fetch that began after kid was asked for did not find it.
//
// The error is of iam.KindUnavailable with RetryAfter when nobody can tell: the issuer cannot be
// reached and its last keys are too old, or kid is unknown and the last fetch was a moment ago. A
// caller whose context ends leaves alone; the fetch goes on for the others.
func (s *Set) Keys(ctx context.Context, kid string) (*jws.KeySet, error) {
	var landed *flight
	for {
		keys, wait, err := s.look(kid, landed)
		if wait == nil {
			return keys, err
		}
		select {
		case <-wait.done:
			landed = wait
		case <-ctx.Done():
			return nil, s.unavailable(minInterval, ctx.Err())
		}
	}
}

// look returns what Keys does, or the flight to wait for first. landed is the flight that was waited
// for already.
func (s *Set) look(kid string, landed *flight) (*jws.KeySet, *flight, error) {
	if s.config.Pinned != nil {
		return s.config.Pinned, nil, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	usable := s.usable(now)
	// What the last fetch did not find is settled until the next may begin: the issuer may publish it by
	// then, and whoever asks again is answered by a fetch of its own.
	settled := s.unknown[kid] && (landed != nil || s.pause(now) > 0)
	if usable && (s.keys.Has(kid) || settled || len(kid) > maxKeyIDBytes) {
		if wait := s.refresh(now); wait != nil && landed == nil {
			return nil, wait, nil
		}
		return s.keys, nil, nil
	}
	if landed != nil && landed.err != nil {
		return nil, nil, s.unavailable(s.pause(now), landed.err)
	}
	s.remember(kid)
	switch pause := s.pause(now); {
	case s.flight != nil: // it may have begun too early for kid, but may also find it
		return nil, s.flight, nil
	case s.closed:
		return nil, nil, s.unavailable(minInterval, fmt.Errorf("the key set is closed: %w", context.Canceled))
	case pause > 0 && usable:
		return nil, nil, s.unknownYet(kid, pause)
	case pause > 0:
		return nil, nil, s.unavailable(pause, s.failure)
	}
	return nil, s.begin(now, kid), nil
}

// Newer returns the issuer's keys for a token that names no key and that none of these signed: theirs,
// fetched again if that may be done by now, else the same. Without a key id, a rotation shows in nothing
// else (threats J16, J21). The error is of iam.KindUnavailable, as that of Keys.
func (s *Set) Newer(ctx context.Context, than *jws.KeySet) (*jws.KeySet, error) {
	wait := s.again(than)
	if wait == nil {
		return s.latest(), nil
	}
	select {
	case <-wait.done:
	case <-ctx.Done():
		return nil, s.unavailable(minInterval, ctx.Err())
	}
	if wait.err != nil {
		return nil, s.unavailable(minInterval, wait.err)
	}
	return s.latest(), nil
}

// again returns the flight that fetches newer keys than these; nil if there are some, or if none may
// begin.
func (s *Set) again(than *jws.KeySet) *flight {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	switch {
	case s.keys != than || s.config.Pinned != nil || s.closed:
		return nil
	case s.flight == nil && s.pause(now) <= 0:
		return s.begin(now, "")
	}
	return s.flight
}

func (s *Set) latest() *jws.KeySet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys
}

// refresh begins to fetch keys that are no longer fresh. It returns a flight only if the caller must
// wait for it: the keys are older than they may be, because nothing tried to fetch them in time (the
// machine slept).
func (s *Set) refresh(now time.Time) *flight {
	fresh := now.Before(s.freshUntil) && !now.Before(s.fetchedAt)
	if fresh || s.closed {
		return nil
	}
	tried := !s.begunAt.Before(s.freshUntil)
	if s.flight == nil && s.sinceBegun(now) >= s.backoff() {
		s.begin(now, "")
	}
	if tried || now.Sub(s.fetchedAt) < MaxRemoval {
		return nil
	}
	return s.flight
}

// pause is how long no fetch may begin yet; 0 or less if one may.
func (s *Set) pause(now time.Time) time.Duration { return minInterval - s.sinceBegun(now) }

// sinceBegun is how long ago the last fetch began. A clock that was set back must not stop fetching.
func (s *Set) sinceBegun(now time.Time) time.Duration {
	if since := now.Sub(s.begunAt); since >= 0 {
		return since
	}
	return maxBackoff
}

// usable reports whether there are keys that are not too old.
func (s *Set) usable(now time.Time) bool {
	return s.keys != nil && now.Sub(s.fetchedAt) < MaxOutage
}

// remember notes that kid was asked for, so that the next fetch settles whether the issuer has it.
func (s *Set) remember(kid string) {
	if kid != "" && len(kid) <= maxKeyIDBytes && len(s.asked) < maxRemembered {
		s.asked[kid] = true
	}
}

// begin starts a fetch. The lock is held.
func (s *Set) begin(now time.Time, kid string) *flight {
	f := &flight{done: make(chan struct{}), begun: now, asked: s.asked}
	if kid != "" {
		f.asked[kid] = true
	}
	s.asked = map[string]bool{}
	s.begunAt, s.flight = now, f
	if s.timer != nil {
		s.timer.Stop()
	}
	s.running.Go(func() { s.fly(f) })
	return f
}

// fly fetches, and lands even if fetching panics: others must not wait for ever.
func (s *Set) fly(f *flight) {
	var event Event
	func() {
		got, err := fetched{}, errNotEnded
		defer func() { event = s.land(f, got, err) }()
		got, err = s.fetch()
	}()
	if s.config.Report != nil {
		s.reporting.Lock()
		defer s.reporting.Unlock()
		s.config.Report(event)
	}
}

var errNotEnded = errors.New("remote: the fetch did not end")

// fetch asks the issuer, within the time for one fetch.
func (s *Set) fetch() (fetched, error) {
	ctx, cancel := context.WithTimeout(s.context, fetchTimeout)
	defer cancel()
	address := s.config.KeysURL
	if address == "" {
		found, err := s.discover(ctx)
		if err != nil {
			return fetched{}, err
		}
		address = found.JWKSURI
	}
	return s.client.fetchKeys(ctx, address)
}

// discover returns what the issuer says about itself, from memory for a while.
func (s *Set) discover(ctx context.Context) (Discovery, error) {
	s.mu.Lock()
	known, at := s.discovery, s.discoveredAt
	s.mu.Unlock()
	now := s.now()
	if known.JWKSURI != "" && now.Sub(at) < rediscovery {
		return known, nil
	}
	found, err := s.client.discover(ctx)
	if err != nil {
		return Discovery{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discovery, s.discoveredAt = found, now
	return found, nil
}

// land keeps what a flight brought, lets its callers go on, and plans the next one.
func (s *Set) land(f *flight, got fetched, err error) Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer close(f.done)
	event := Event{Issuer: s.config.Issuer, At: f.begun, Err: err, Ignored: got.ignored}
	s.flight, f.err = nil, err
	if err != nil {
		s.failed(f, err)
		return event
	}
	event.Keys = got.keys.Len()
	event.Changed = s.keys.Fingerprint() != got.keys.Fingerprint() || !slices.Equal(s.ignored, got.ignored)
	s.keys, s.ignored, s.failures, s.failure = got.keys, got.ignored, 0, nil
	s.current.Store(&current{generationOf(got.keys), f.begun})
	s.fetchedAt, s.freshUntil = f.begun, f.begun.Add(got.fresh)
	s.unknown = f.asked
	maps.DeleteFunc(s.unknown, func(kid string, _ bool) bool { return s.keys.Has(kid) })
	s.plan(s.freshUntil.Sub(s.now()))
	return event
}

// failed keeps what there is, and tries again in the background if there is something to keep fresh.
func (s *Set) failed(f *flight, err error) {
	s.failures++
	s.failure = err
	s.discoveredAt = time.Time{} // its keys may have moved: ask again
	for kid := range f.asked {
		s.remember(kid)
	}
	if s.keys != nil {
		now := s.now()
		s.plan(max(s.begunAt.Add(s.backoff()).Sub(now), s.freshUntil.Sub(now)))
	}
}

// backoff is how long to wait from the beginning of one fetch to that of the next in the background.
func (s *Set) backoff() time.Duration {
	return min(minInterval<<min(max(s.failures-1, 0), 8), maxBackoff)
}

// plan sets the time of the next fetch in the background.
func (s *Set) plan(after time.Duration) {
	if s.closed {
		return
	}
	after = max(after, 0)
	if s.timer == nil {
		s.timer = time.AfterFunc(after, s.due)
		return
	}
	s.timer.Reset(after)
}

// due begins the fetch that was planned.
func (s *Set) due() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.flight != nil {
		return
	}
	now := s.now()
	if pause := s.pause(now); pause > 0 {
		s.plan(pause)
		return
	}
	s.begin(now, "")
}

// Generation is another number whenever the usable keys are others, also when they become too old
// to be used: then it is 0, as before the first fetch. What was verified with the keys of one
// generation holds in that generation, for every Set of the issuer. It waits for nothing.
func (s *Set) Generation() uint64 { return s.GenerationAt(s.now()) }

// GenerationAt is Generation for callers that look at many sets with one look at the clock, which must
// be that of Config.Now.
func (s *Set) GenerationAt(now time.Time) uint64 {
	keys := s.current.Load()
	switch {
	case keys == nil:
		return 0
	case s.config.Pinned == nil && now.Sub(keys.fetchedAt) >= MaxOutage: // fetchedAt is the wall clock's
		return 0
	}
	return keys.generation
}

// generationOf is the beginning of the keys' fingerprint, and never 0.
func generationOf(keys *jws.KeySet) uint64 {
	sum, err := hex.DecodeString(keys.Fingerprint())
	if err != nil || len(sum) < 8 {
		return 1
	}
	return max(binary.BigEndian.Uint64(sum), 1)
}

// Status is the state of a Set for people and metrics.
type Status struct {
	Issuer string
	// Pinned says that nothing is fetched.
	Pinned bool
	// Usable says whether there are keys that count now, and Keys how many.
	Usable bool
	Keys   int
	// LastSuccess is when the last fetch that succeeded began, LastAttempt when the last began; zero for
	// none.
	LastSuccess, LastAttempt time.Time
	// FreshUntil is when the keys are fetched again.
	FreshUntil time.Time
	// LastError is why the last fetch failed; nil if it did not.
	LastError error
	// DiscoveryPath is where the issuer's description was found, below its URL; "" if it was not asked.
	DiscoveryPath string
	// KeysURL is where the keys were fetched from last.
	KeysURL string
}

// Status returns the state now. It fetches nothing.
func (s *Set) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := Status{Issuer: s.config.Issuer, Pinned: s.config.Pinned != nil,
		LastSuccess: s.fetchedAt, LastAttempt: s.begunAt, FreshUntil: s.freshUntil, LastError: s.failure,
		DiscoveryPath: s.discovery.Path, KeysURL: s.config.KeysURL}
	if state.KeysURL == "" {
		state.KeysURL = s.discovery.JWKSURI
	}
	if state.Usable = state.Pinned || s.usable(s.now()); state.Usable {
		state.Keys = s.keys.Len()
	}
	return state
}

// Close ends all fetching and waits until nothing runs any more. Requests that are still under way
// are served from the keys that there are.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	if s.timer != nil {
		s.timer.Stop()
	}
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	s.client.close()
}

// unknownYet is the answer for a key id that the last fetch did not look for, when the next one may not
// begin yet.
func (s *Set) unknownYet(kid string, after time.Duration) error {
	return &iam.Error{Kind: iam.KindUnavailable, Reason: ReasonUnavailable, RetryAfter: max(after, time.Second), Err: s.failure,
		Message: fmt.Sprintf("the key %s is not among the keys of the issuer %s, which were fetched a moment ago: try again shortly, when they are fetched again", untrusted.Quote(kid), untrusted.Quote(s.config.Issuer))}
}

func (s *Set) unavailable(after time.Duration, cause error) error {
	return &iam.Error{Kind: iam.KindUnavailable, Reason: ReasonUnavailable, RetryAfter: max(after, time.Second), Err: cause,
		Message: fmt.Sprintf("the keys of the issuer %s cannot be had right now, so nobody can tell whether its tokens are genuine: try again shortly", untrusted.Quote(s.config.Issuer))}
}
