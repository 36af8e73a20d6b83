package session

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

const (
	// collectEvery is how often expired records are deleted. They count no longer anyway: this is for
	// the room they take.
	collectEvery = time.Hour
	// leastMemory is how long an identifier is remembered at least: clocks differ, and who gives the
	// end of a token's life as until has granted it some leeway.
	leastMemory = 5 * time.Minute
)

// Once reports whether an identifier, such as the jti of a logout token, is seen for the first time,
// and remembers it until that time at least (threats O15, J22). Of all calls, on all nodes that share
// the store, one is told true. kind keeps identifiers of different origin apart: name the issuer in it.
//
// When it fails with iam.KindUnavailable, the identifier may count as seen.
func (s *Sessions) Once(ctx context.Context, kind, id string, until time.Time) (first bool, err error) {
	if least := s.now().Add(leastMemory); until.Before(least) {
		until = least
	}
	_, err = s.cache.Commit(ctx, store.Write{
		Key:    s.names.once + s.hashOf(onceHash, kind, id),
		Value:  binary.BigEndian.AppendUint64(nil, uint64(until.UnixMilli())),
		Expect: store.Absent(),
	})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, store.ErrConflict):
		return false, nil
	}
	return false, unreadable(fmt.Errorf("remembering an identifier: %w", err))
}

// Collect deletes what has expired and returns the number of sessions among it. It commits page by
// page, so that others get their turn.
func (s *Sessions) Collect(ctx context.Context) (n int, err error) {
	now := s.now()
	var skipped error // must not keep the others
	err = s.collect(ctx, s.names.session, func(r store.Record) []store.Write {
		x, err := decodeStored(r)
		switch {
		case err != nil:
			skipped = err
			return nil
		case x.live(now):
			return nil
		}
		return s.deletions([]stored{x})
	}, func(deleted int) { n += deleted })
	if err != nil {
		return n, err
	}
	err = s.collect(ctx, s.names.once, func(r store.Record) []store.Write {
		if len(r.Value) != 8 {
			skipped = damaged(fmt.Errorf("record %q is no time", r.Key))
			return nil
		}
		if now.Before(time.UnixMilli(int64(binary.BigEndian.Uint64(r.Value)))) {
			return nil
		}
		return []store.Write{{Key: r.Key, Expect: store.At(r.Version)}}
	}, func(int) {})
	return n, errors.Join(err, skipped)
}

// collect commits what deletions returns for the records under prefix, one page at a time, and tells
// counted for how many records.
func (s *Sessions) collect(ctx context.Context, prefix string, deletions func(store.Record) []store.Write, counted func(int)) error {
	after, conflicts := "", 0
	for {
		page, err := s.page(ctx, prefix, after, endTogether)
		if err != nil {
			return err
		}
		var writes []store.Write
		expired := 0
		for _, r := range page {
			if w := deletions(r); len(w) > 0 {
				writes = append(writes, w...)
				expired++
			}
		}
		if len(writes) > 0 {
			_, err = s.cache.Commit(ctx, writes...)
		}
		switch {
		case err == nil:
			counted(expired)
		case errors.Is(err, store.ErrConflict) && conflicts < rounds:
			conflicts++ // one of them has ended, or another node collects too: the same page again
			continue
		case errors.Is(err, store.ErrConflict):
			return errRestless
		default:
			return unreadable(fmt.Errorf("deleting expired records: %w", err))
		}
		if len(page) < endTogether {
			return nil
		}
		after, conflicts = page[len(page)-1].Key, 0
	}
}

// Run collects at once and then every hour, until ctx ends.
func (s *Sessions) Run(ctx context.Context) {
	tick := time.NewTicker(collectEvery)
	defer tick.Stop()
	for {
		n, err := s.Collect(ctx)
		if ctx.Err() != nil {
			return
		}
		s.collected(n, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
