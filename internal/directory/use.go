package directory

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// flush writes what is due; with everything, also what would be due later. What could not be written is
// tried again by the next flush.
func (u *Uses) flush(ctx context.Context, everything bool) error {
	u.flushing.Lock()
	defer u.flushing.Unlock()
	if u.round.Add(1) == 0 {
		u.round.Add(1)
	}
	if err := u.begin(ctx); err != nil {
		return err
	}
	deleted, due, lost := u.due(everything)
	for sums := range slices.Chunk(deleted, maxUsesTogether) {
		if err := u.delete(ctx, sums); err != nil {
			return err
		}
	}
	for sums := range slices.Chunk(due, maxUsesTogether) {
		if err := u.write(ctx, sums, everything); err != nil {
			return err
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d uses of API keys were left out, because more than %d waited to be written", lost, u.most)
	}
	return nil
}

// begin records once when the recording began: of a key that was not used since, nobody knows whether it was
// used before.
func (u *Uses) begin(ctx context.Context) error {
	if u.begun {
		return nil
	}
	value, err := json.Marshal(useRecord{u.now().UTC().Truncate(time.Second)})
	if err != nil {
		return err
	}
	_, err = u.store.Commit(ctx, store.Write{Key: u.since, Value: value, Expect: store.Absent()})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("recording since when the uses of API keys are known: %w", err)
	}
	u.begun = true
	return nil
}

// due returns what is to be written now, and forgets the keys that have not been used for a while. Where very many keys
// are in use it keeps those alone that wait: what is recorded of the others is a minute old at most, and none of them takes
// the place of a key of which nothing is recorded.
func (u *Uses) due(everything bool) (deleted, due []keySum, lost int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	now, crowded := u.now(), len(u.noted) > u.most/2
	for sum := range u.deleted {
		deleted = append(deleted, sum)
	}
	for sum, n := range u.noted {
		switch waits := n.last.After(n.recorded); {
		case waits && (everything || n.late()):
			due = append(due, sum)
		case crowded, !waits && now.Sub(n.last) > useKept:
			delete(u.noted, sum)
		}
	}
	lost, u.lost = u.lost, 0
	byBytes := func(a, b keySum) int { return bytes.Compare(a[:], b[:]) }
	slices.SortFunc(deleted, byBytes)
	slices.SortFunc(due, byBytes)
	return deleted, due, lost
}

// late reports whether the last recorded use of a key is long enough ago for another to be written.
func (n use) late() bool { return n.last.Sub(n.recorded) >= useEvery }

// delete takes the uses of deleted keys out of the store.
func (u *Uses) delete(ctx context.Context, sums []keySum) error {
	writes := make([]store.Write, len(sums))
	for i, sum := range sums {
		writes[i] = store.Write{Key: u.keys + hex.EncodeToString(sum[:])}
	}
	if _, err := u.store.Commit(ctx, writes...); err != nil {
		return fmt.Errorf("forgetting the uses of deleted API keys: %w", err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, sum := range sums {
		delete(u.deleted, sum)
	}
	return nil
}

// write records the uses of some keys in one commit. Of what several gateways write the latest stays: who is beaten
// reads again.
func (u *Uses) write(ctx context.Context, sums []keySum, everything bool) error {
	var err error
	for range rounds {
		var writes []store.Write
		var settled map[keySum]time.Time
		if writes, settled, err = u.compare(ctx, sums, everything); err != nil {
			return err
		}
		if len(writes) > 0 {
			_, err = u.store.Commit(ctx, writes...)
		}
		switch {
		case err == nil:
			u.settle(settled)
			return nil
		case !errors.Is(err, store.ErrConflict):
			return fmt.Errorf("recording the uses of API keys: %w", err)
		}
	}
	return err
}

// compare reads what is recorded of keys, and returns what is to be written and what is recorded then; zero for
// keys that there are no more.
func (u *Uses) compare(ctx context.Context, sums []keySum, everything bool) ([]store.Write, map[keySum]time.Time, error) {
	var writes []store.Write
	settled := make(map[keySum]time.Time, len(sums))
	for _, sum := range sums {
		u.mu.Lock()
		n, known := u.noted[sum]
		u.mu.Unlock()
		if !known {
			continue // deleted meanwhile
		}
		key := hex.EncodeToString(sum[:])
		recorded, expect, err := u.recorded(ctx, key)
		if errors.Is(err, store.ErrNotFound) {
			settled[sum] = time.Time{}
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		n.recorded = recorded
		settled[sum] = recorded
		if !n.last.After(recorded) || !everything && !n.late() {
			continue
		}
		value, err := json.Marshal(useRecord{n.last})
		if err != nil {
			return nil, nil, err
		}
		writes = append(writes, store.Write{Key: u.keys + key, Value: value, Expect: expect})
		settled[sum] = n.last
	}
	return writes, settled, nil
}

// recorded reads when the last recorded use of a key was, zero if none is; store.ErrNotFound if there is no
// such key: it was deleted, perhaps at another gateway. A record that cannot be read is written anew.
func (u *Uses) recorded(ctx context.Context, sum string) (time.Time, store.Expect, error) {
	r, err := u.store.Get(ctx, u.keys+sum)
	switch {
	case err == nil:
		var was useRecord
		if json.Unmarshal(r.Value, &was) != nil {
			was = useRecord{}
		}
		return was.Last, store.At(r.Version), nil
	case errors.Is(err, store.ErrCorrupt):
		return time.Time{}, store.Expect{}, nil
	case !errors.Is(err, store.ErrNotFound):
		return time.Time{}, store.Expect{}, fmt.Errorf("reading the use of an API key: %w", err)
	}
	_, err = u.store.Get(ctx, u.records+sum)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		err = nil // there is one, and whoever needs it will be told
	case err != nil && !errors.Is(err, store.ErrNotFound):
		err = fmt.Errorf("reading an API key: %w", err)
	}
	return time.Time{}, store.Absent(), err
}

// settle remembers what is recorded of keys.
func (u *Uses) settle(settled map[keySum]time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for sum, recorded := range settled {
		n, known := u.noted[sum]
		switch {
		case !known:
		case recorded.IsZero(), // there is no such key
			len(u.noted) > u.most/2 && !n.last.After(recorded): // or there are too many to remember
			delete(u.noted, sum)
		default:
			n.recorded = recorded
			u.noted[sum] = n
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

// began returns since when uses are recorded. Of a key that is older and has no use, nobody knows whether it
// was used before.
func (u *Uses) began(ctx context.Context) (time.Time, error) {
	r, err := u.store.Get(ctx, u.since)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return u.now().UTC(), nil
	case err != nil:
		return time.Time{}, unreadable(err)
	}
	began, err := decode[useRecord](r)
	if err != nil {
		return time.Time{}, err
	}
	return began.Last, nil
}

// CopyUses takes the uses of an organization's keys from one store to another, where the later of two times
// stays, and of when the recording began the earlier. It may be repeated after anything.
func CopyUses(ctx context.Context, from, to store.Store, space string) error {
	prefix, after := UsesSpace(space)+"/", ""
	for {
		page, err := from.List(ctx, prefix, after, maxUsesTogether)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := copyUses(ctx, to, page); err != nil {
			return err
		}
		if len(page) < maxUsesTogether {
			return nil
		}
		after = page[len(page)-1].Key
	}
}

func copyUses(ctx context.Context, to store.Store, page []store.Record) error {
	var writes []store.Write
	for _, r := range page {
		there, err := to.Get(ctx, r.Key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			writes = append(writes, store.Write{Key: r.Key, Value: r.Value, Expect: store.Absent()})
		case err != nil:
			return err
		case useOf(r).After(useOf(there)) != strings.HasSuffix(r.Key, "/since") && !useOf(r).Equal(useOf(there)):
			writes = append(writes, store.Write{Key: r.Key, Value: r.Value, Expect: store.At(there.Version)})
		}
	}
	if len(writes) == 0 {
		return nil
	}
	_, err := to.Commit(ctx, writes...)
	return err
}

// useOf reads a record of a use; what cannot be read is older than any.
func useOf(r store.Record) time.Time {
	var u useRecord
	if json.Unmarshal(r.Value, &u) != nil {
		return time.Time{}
	}
	return u.Last
}

// useList goes through the recorded uses beside a list of keys, which is in the order of their hashes too.
type useList struct {
	uses  *Uses
	page  []store.Record
	after string
	ended bool
}

// of returns when the key of that hash was last used; the hashes it is asked for ascend.
func (l *useList) of(ctx context.Context, sum string) (time.Time, error) {
	if l.uses == nil {
		return time.Time{}, nil
	}
	key := l.uses.keys + sum
	for {
		i, found := slices.BinarySearchFunc(l.page, key, func(r store.Record, key string) int { return cmp.Compare(r.Key, key) })
		l.page = l.page[i:]
		switch {
		case found:
			return l.uses.last(sum, useOf(l.page[0])), nil
		case len(l.page) > 0 || l.ended:
			return l.uses.last(sum, time.Time{}), nil
		}
		page, err := l.uses.store.List(ctx, l.uses.keys, l.after, 0)
		if err != nil {
			return time.Time{}, unreadable(fmt.Errorf("listing the uses of API keys: %w", err))
		}
		l.page, l.ended = page, len(page) < store.MaxListed
		if len(page) > 0 {
			l.after = page[len(page)-1].Key
		}
	}
}
