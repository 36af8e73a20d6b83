package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Bounds of one commit, far below store.MaxWrites: a server does nothing else meanwhile.
const (
	maxWrites     = 2000
	maxWriteBytes = 4 << 20
)

// target is the store that is written to. Each of its commits demands that the mark is as the one before
// left it, and is the next revision.
type target struct {
	store store.Advancer
	space string
	mark  mark

	// version is the mark's, revision the space's.
	version, revision store.Revision

	pending []store.Write
	bytes   int
	written int
}

var (
	errOther = iam.Conflictf("somebody else writes there: another `iam migrate`, or a gateway. Stop it, and move again")
	errTaken = iam.Conflictf("somebody else began there at the same moment, another `iam migrate` or a gateway, and nothing was written over it")
)

// begin writes the mark, and first with it, where neither is; errTaken if one is there by now.
func (t *target) begin(ctx context.Context, first store.Write) error {
	t.written++
	err := t.commit(ctx, store.Absent(), first)
	if errors.Is(err, store.ErrConflict) {
		return errTaken
	}
	return err
}

// takeOver makes the mark of an earlier move ours: whoever wrote it, and still runs, stops.
func (t *target) takeOver(ctx context.Context) error {
	r, err := t.store.Get(ctx, markKey(t.space))
	if err != nil {
		return err
	}
	revision, err := t.store.Get(ctx, store.RevisionKey(t.space))
	if err != nil {
		return err
	}
	t.revision = revision.Version
	return t.commit(ctx, store.At(r.Version))
}

// write adds a write to those that are committed next.
func (t *target) write(ctx context.Context, w store.Write) error {
	t.written++
	t.pending = append(t.pending, w)
	t.bytes += len(w.Key) + len(w.Value)
	if len(t.pending) < maxWrites && t.bytes < maxWriteBytes {
		return nil
	}
	return t.flush(ctx)
}

// flush commits what waits.
func (t *target) flush(ctx context.Context) error {
	if len(t.pending) == 0 {
		return nil
	}
	err := t.commit(ctx, store.At(t.version), t.pending...)
	t.pending, t.bytes = t.pending[:0], 0
	return err
}

// commit makes writes with the mark, which must be as demanded.
func (t *target) commit(ctx context.Context, demand store.Expect, writes ...store.Write) error {
	value, err := json.Marshal(t.mark)
	if err != nil {
		return err
	}
	return t.next(ctx, append(writes, store.Write{Key: markKey(t.space), Value: value, Expect: demand})...)
}

// finish takes the mark away. Whoever wrote since the last commit is noticed before.
func (t *target) finish(ctx context.Context) error {
	switch r, err := t.store.Get(ctx, store.RevisionKey(t.space)); {
	case err != nil:
		return err
	case r.Version != t.revision:
		return errOther
	}
	return t.next(ctx, store.Write{Key: markKey(t.space), Expect: store.At(t.version)})
}

// next commits, and refuses any but the next revision.
func (t *target) next(ctx context.Context, writes ...store.Write) error {
	revision, err := t.store.Commit(ctx, writes...)
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", errOther, err)
	}
	if err != nil {
		return fmt.Errorf("%w; what was written stays, and moving again goes on", err)
	}
	if revision != t.revision+1 {
		return errOther
	}
	t.version, t.revision = revision, revision
	return nil
}
