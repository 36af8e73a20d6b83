// Package migrate moves a space from one store to another, whatever their backends are: it copies every
// record, compares every record on both sides, and only then lets a gateway use the target.
//
// From its first write to its last the target has a mark, with which no gateway starts (CheckFinished).
// Every write goes with the mark's version, so that of two processes that move at once one stops. A move
// keeps no place where it stopped: it looks at both sides from the beginning and writes what differs, so
// that it can be repeated after anything, and ends the same. The source is only read.
//
// It knows nothing of what records mean, but for one that tells directories apart (Move.Identity).
package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Move says what to move, and where.
type Move struct {
	// From is only read. Nobody may write to it meanwhile; that is noticed at the end.
	From store.Store
	// To holds nothing in the space yet, or what an earlier move of the same directory left.
	To store.Advancer
	// FromName and ToName name them for people; the mark keeps FromName.
	FromName, ToName string
	// Space is what is moved: one organization.
	Space string
	// Identity is the key of a record that every directory has, and each has another: by it a target
	// that holds this directory is known from one that holds some other.
	Identity string
	// Now is the clock.
	Now func() time.Time
	// Report, if set, is told how far it is.
	Report func(Progress)
}

// Progress is how far a move is.
type Progress struct {
	Phase   Phase
	Records int
}

// Phase is a part of a move.
type Phase uint8

// The phases.
const (
	GoingOn   Phase = iota // an earlier move was found
	Copying                // Records of the source are at the target
	Comparing              // Records are the same on both sides
)

// Result is what was moved.
type Result struct {
	// Records and Bytes are what both sides hold, and SHA256 is over all keys and values.
	Records int
	Bytes   int64
	SHA256  string
	// Written is how many records had to be written or deleted at the target.
	Written int
	// Already says that the target was whole before, and nothing was written.
	Already bool
}

// UnfinishedError says that the move broke off, or may have, after its first write: no gateway must
// start with the target, and none does once something is there. The same move goes on.
type UnfinishedError struct{ Err error }

// Error implements error.
func (e *UnfinishedError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnfinishedError) Unwrap() error { return e.Err }

// Run moves the space. Its error is an UnfinishedError once the target may have been written to; after
// any other one the target is as it was. Whatever is refused has an iam.Error that says what to do.
func Run(ctx context.Context, m Move) (Result, error) {
	if m.From == nil || m.To == nil || m.Now == nil || !store.ValidKey(m.Identity) || store.Space(m.Identity) != m.Space {
		return Result{}, errors.New("migrate: the move is not complete")
	}
	from, err := m.inspectSource(ctx)
	if err != nil {
		return Result{}, err
	}
	found, err := m.inspectTarget(ctx, from.identity)
	if err != nil {
		return Result{}, err
	}
	if found == whole {
		return m.confirm(ctx, from.revision)
	}
	result, err := m.move(ctx, from, found)
	if err != nil && !errors.Is(err, errTaken) {
		err = &UnfinishedError{err}
	}
	return result, err
}

// source is what the source is at the beginning.
type source struct {
	revision store.Revision
	identity []byte
}

// inspectSource refuses a source that is no whole directory.
func (m *Move) inspectSource(ctx context.Context) (source, error) {
	if err := CheckFinished(ctx, m.From, m.Space); err != nil {
		return source{}, m.about(m.FromName, err)
	}
	identity, err := m.From.Get(ctx, m.Identity)
	if errors.Is(err, store.ErrNotFound) {
		return source{}, iam.Invalidf("%s holds no directory of the organization %s: look whether the configuration to move from names the right store and organization", m.FromName, m.Space)
	}
	if err != nil {
		return source{}, m.about(m.FromName, err)
	}
	revision, err := m.revision(ctx, m.From)
	if err != nil {
		return source{}, m.about(m.FromName, err)
	}
	return source{revision, identity.Value}, nil
}

func (m *Move) revision(ctx context.Context, s store.Store) (store.Revision, error) {
	r, err := s.Get(ctx, store.RevisionKey(m.Space))
	return r.Version, err
}

// about says which of the two stores an error is about.
func (m *Move) about(name string, err error) error {
	if !errors.Is(err, store.ErrCorrupt) {
		return fmt.Errorf("%s: %w", name, err)
	}
	remedy := "restore that store from its backup, and move again"
	if name == m.ToName {
		remedy = "move to an empty one"
	}
	return &iam.Error{Kind: iam.KindUnavailable, Reason: "store_damaged", Err: err,
		Message: fmt.Sprintf("%s holds a record that is damaged: %s", name, remedy)}
}

// finding is what the target holds before the move.
type finding uint8

const (
	empty      finding = iota
	unfinished         // a part of this directory, marked
	whole              // this directory, which a gateway may use
)

// inspectTarget refuses a target that holds anything that is not this directory.
func (m *Move) inspectTarget(ctx context.Context, identity []byte) (finding, error) {
	_, err := m.To.Get(ctx, markKey(m.Space))
	marked := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, m.about(m.ToName, err)
	}
	there, err := m.To.Get(ctx, m.Identity)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return 0, m.about(m.ToName, err)
	}
	same := err == nil && bytes.Equal(there.Value, identity)
	switch {
	case marked && same:
		return unfinished, nil
	case same:
		return whole, nil
	}
	records, err := m.To.List(ctx, m.Space+"/", "", 1)
	switch {
	case err != nil:
		return 0, m.about(m.ToName, err)
	case len(records) > 0:
		return 0, iam.Conflictf("%s holds another directory of the organization %s already, and nothing was written over it: move into an empty folder, another database, or with another prefix", m.ToName, m.Space)
	}
	return empty, nil
}

// confirm compares a target that is whole: the move was made before, and perhaps nobody was told.
func (m *Move) confirm(ctx context.Context, revision store.Revision) (Result, error) {
	result, err := m.compare(ctx)
	if d, ok := errors.AsType[differences](err); ok {
		return Result{}, iam.Conflictf("%s holds this directory already, in another state (%s): it was used since it was moved, or is from before. Nothing was written over it: move what is not wanted away first, a file to another folder, or choose another prefix", m.ToName, d)
	}
	if err != nil {
		return Result{}, err
	}
	// A move takes the revisions on, so that what was moved has later ones.
	switch there, err := m.revision(ctx, m.To); {
	case err != nil:
		return Result{}, m.about(m.ToName, err)
	case there == revision:
		return Result{}, iam.Invalidf("%s and %s are one and the same store, or one is a copy of the other's file: there is nothing to move", m.FromName, m.ToName)
	}
	result.Already = true
	return result, nil
}

// move writes what the target lacks, compares, and takes the mark away.
func (m *Move) move(ctx context.Context, from source, found finding) (Result, error) {
	t := &target{store: m.To, space: m.Space, mark: mark{From: m.FromName, Began: m.Now().UTC()}}
	if err := m.begin(ctx, t, from, found); err != nil {
		return Result{}, m.about(m.ToName, err)
	}
	if err := m.copy(ctx, t); err != nil {
		return Result{}, err
	}
	result, err := m.compare(ctx)
	if d, ok := errors.AsType[differences](err); ok {
		return Result{}, &iam.Error{Kind: iam.KindUnavailable, Reason: "not_the_same",
			Message: fmt.Sprintf("what was written to %s is not what %s holds (%s): somebody writes to one of them, or %s loses what it acknowledged; stop all gateways and move again", m.ToName, m.FromName, d, m.ToName)}
	}
	if err != nil {
		return Result{}, err
	}
	switch revision, err := m.revision(ctx, m.From); {
	case err != nil:
		return Result{}, m.about(m.FromName, err)
	case revision != from.revision:
		return Result{}, iam.Conflictf("somebody wrote to %s while it was moved (revision %d, then %d): stop all gateways that use it, and move again", m.FromName, from.revision, revision)
	}
	if err := t.finish(ctx); err != nil {
		return Result{}, m.about(m.ToName, err)
	}
	result.Written = t.written
	return result, nil
}

// begin marks the target. The first commit also writes the record that tells directories apart, so that
// of a move and of a gateway that starts with the empty target at the same moment only one begins.
func (m *Move) begin(ctx context.Context, t *target, from source, found finding) error {
	if found == unfinished {
		m.report(GoingOn, 0)
		if err := t.takeOver(ctx); err != nil {
			return err
		}
	}
	revision, err := m.To.Advance(ctx, m.Space, from.revision)
	if err != nil {
		return err
	}
	t.revision = revision
	if found == unfinished {
		return nil
	}
	return t.begin(ctx, store.Write{Key: m.Identity, Value: from.identity, Expect: store.Absent()})
}

func (m *Move) report(phase Phase, records int) {
	if m.Report != nil {
		m.Report(Progress{phase, records})
	}
}
