package directory

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

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
