package directory

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

const (
	// useRound is how often uses are written. Within a round a key is noted once, so what is recorded of a key
	// that is not used any more is at most this old.
	useRound = 10 * time.Second
	// useEvery is how often the use of one key is written, whatever the number of gateways.
	useEvery = time.Minute
	// useKept is how long a key is remembered after its use was written, so that the next one need not be
	// compared with the store's.
	useKept = 2 * useEvery
	// maxUses bounds the uses, and the deleted keys, that wait: some 10 MB. Beyond it a use is left out, and the next
	// round notes it if it comes again.
	maxUses = 100_000
	// maxUsesTogether bounds one commit: whoever else wants to write waits for it.
	maxUsesTogether = 500
	// useTimeout bounds one flush, and lastFlush the one when the gateway ends.
	useTimeout = time.Minute
	lastFlush  = 5 * time.Second
)

// UsesSpace is the store's space of the uses of an organization's keys. It is not the organization's own:
// uses are written all the time, and every commit to a space counts as a change of it, for the cache and for whoever
// waits for a moment without one. No organization can be called like that.
func UsesSpace(space string) string { return space + usesSuffix }

// IsUsesSpace reports whether a space of the store is one of the uses of keys.
func IsUsesSpace(space string) bool { return strings.HasSuffix(space, usesSuffix) }

const usesSuffix = "+used"

// UsesConfig is what Uses need. Store and Space are required.
type UsesConfig struct {
	// Store is where they are kept. Uses do not close it.
	Store store.Store
	// Space is the organization's.
	Space string
	// Report is told what could not be written, once a minute at most; nil tells nobody.
	Report func(error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Uses know when API keys were last used. They are noted in memory, where requests pass, and written
// beside them. They outlive a configuration, as the cache does by which they know who was noted already. A nil
// Uses notes nothing.
type Uses struct {
	store   store.Store
	keys    string // before the hash of an API key whose use is recorded
	since   string // when the recording began
	records string // before the hash of an API key that there is
	report  func(error)
	now     func() time.Time
	most    int // maxUses, but in tests

	// round is the number of the present round, never 0.
	round atomic.Uint32
	// flushing is held by the one flush that runs.
	flushing sync.Mutex
	// begun says that since is recorded.
	begun bool

	mu      sync.Mutex
	noted   map[keySum]use
	deleted map[keySum]bool
	lost    int // uses that were left out since the last flush

	start   sync.Once
	ctx     context.Context //nolint:containedctx // of the goroutine that writes, until Close
	stop    context.CancelFunc
	running sync.WaitGroup
}

// keySum is the HMAC of an API key.
type keySum = [sha256.Size]byte

// use is when a key was last used, and what is recorded of that as far as it is known here.
type use struct{ last, recorded time.Time }

// useRecord is the record.
type useRecord struct {
	Last time.Time `json:"last"`
}

// NewUses returns Uses that are written from Start to Close.
func NewUses(c UsesConfig) (*Uses, error) {
	if c.Store == nil || !iam.ValidName(c.Space) {
		return nil, errors.New("directory: the uses of keys need a store and a space")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Report == nil {
		c.Report = func(error) {}
	}
	space := UsesSpace(c.Space) + "/"
	u := &Uses{
		store: c.Store, keys: space + "key/", since: space + "since", records: c.Space + "/key/", report: c.Report, now: c.Now, most: maxUses,
		noted: map[keySum]use{}, deleted: map[keySum]bool{},
	}
	u.ctx, u.stop = context.WithCancel(context.Background())
	u.round.Store(1)
	return u, nil
}

// Start begins to write. It may be called by every configuration, once the store is known to be the right one.
func (u *Uses) Start() {
	u.start.Do(func() { u.running.Go(u.run) })
}

// Close writes what is not written yet. The store must still be open.
func (u *Uses) Close() error {
	never := false
	u.start.Do(func() { never = true })
	u.stop()
	u.running.Wait()
	if never {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lastFlush)
	defer cancel()
	return u.flush(ctx, true)
}

func (u *Uses) run() {
	tick := time.NewTicker(useRound)
	defer tick.Stop()
	var told time.Time
	for {
		ctx, cancel := context.WithTimeout(u.ctx, useTimeout)
		err := u.flush(ctx, false)
		cancel()
		if err != nil && u.ctx.Err() == nil && time.Since(told) >= useEvery {
			u.report(err)
			told = time.Now()
		}
		select {
		case <-u.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// note says that a key was used just now.
func (u *Uses) note(sum keySum) {
	now := u.now().UTC().Truncate(time.Second)
	u.mu.Lock()
	defer u.mu.Unlock()
	noted, known := u.noted[sum]
	switch {
	case !known && len(u.noted) >= u.most:
		u.lost++
	case now.After(noted.last):
		noted.last = now
		u.noted[sum] = noted
	}
}

// forget says that keys were deleted.
func (u *Uses) forget(sums []keySum) {
	if u == nil || len(sums) == 0 {
		return
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, sum := range sums {
		delete(u.noted, sum)
		if len(u.deleted) < u.most {
			u.deleted[sum] = true
		}
	}
}

// last returns when a key was last used, of what is recorded and what is noted here.
func (u *Uses) last(sum string, recorded time.Time) time.Time {
	var s keySum
	if n, err := hex.Decode(s[:], []byte(sum)); err != nil || n != len(s) {
		return recorded
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if n := u.noted[s]; n.last.After(recorded) {
		return n.last
	}
	return recorded
}
