// Package store is the port to where the gateway keeps its records: five methods, small enough
// that every backend can be held to one conformance suite (package storetest).
//
// A store keeps opaque values under string keys. The first segment of a key, up to the first
// slash, is its space: one organization, or a space of its own for sessions and counters. Every
// Commit writes into exactly one space, and raises that space's revision by one. Typed
// repositories are written above this port, in the room that owns the noun.
//
// It is not a database: no queries, no secondary indexes, no transactions across spaces. An index
// is a record like any other, written in the same Commit as what it points to.
package store

import (
	"context"
	"errors"
	"time"
)

// Revision counts the commits to one space. It never goes back.
type Revision uint64

// Record is one value as it was read. Version is the revision of the commit that wrote it.
type Record struct {
	Key     string
	Value   []byte
	Version Revision
}

// Write is one change of a Commit.
type Write struct {
	Key string
	// Value is what to store; nil deletes the record.
	Value []byte
	// Expect is the condition under which the whole Commit holds.
	Expect Expect
	// Check demands Expect of the record and leaves it as it is, for what a Commit depends on and does not
	// change: Value is nil then, and nobody is told of the key. A Commit has at least one other Write.
	Check bool
}

// Expect is what a Write demands of the record it replaces. The zero value demands nothing.
type Expect struct {
	set     bool
	version Revision
}

// Absent demands that there is no record yet.
func Absent() Expect { return Expect{set: true} }

// At demands that the record was last written at that version.
func At(v Revision) Expect { return Expect{set: true, version: v} }

// Satisfied reports whether a record at the given version (0: none) meets the demand.
func (e Expect) Satisfied(version Revision) bool { return !e.set || e.version == version }

// Demand returns the demanded version and whether one is demanded at all. Version 0 means that
// the record must be absent.
func (e Expect) Demand() (Revision, bool) { return e.version, e.set }

// Change tells that records changed. It is a hint: it may come late, more than once, or not at
// all after the writer has died. Keys are those of one commit, Revision its revision.
type Change struct {
	Keys     []string
	Revision Revision
	// Gap says that changes may have been missed: whoever caches must drop everything.
	Gap bool
	// Committed is when the commit was made, with a Gap the last one that it is about, by this process's
	// own clock, as well as the backend can tell; zero if it cannot. Only measuring may rely on it.
	Committed time.Time
}

// The errors that callers can tell apart; every other error means that the store did not answer.
// Compare with errors.Is.
var (
	// ErrNotFound: there is no record under the key.
	ErrNotFound = errors.New("store: no such record")
	// ErrConflict: an expectation of the Commit did not hold; nothing was written.
	ErrConflict = errors.New("store: the record was changed by somebody else")
	// ErrCorrupt: a record failed its checksum. It is never returned as a value.
	ErrCorrupt = errors.New("store: a record is damaged")
)

// Bounds that every backend enforces.
const (
	MaxKeyBytes   = 1 << 10 // 1 KiB
	MaxValueBytes = 1 << 20 // 1 MiB
	MaxWrites     = 50_000  // in one Commit
	MaxListed     = 10_000  // records of one List call

	MaxRevision = 1 << 53 // exact in every number of every backend; no space has that many commits
)

// Store keeps records. All methods may be called at the same time from many goroutines.
type Store interface {
	// Get returns the record under key, or ErrNotFound.
	Get(ctx context.Context, key string) (Record, error)

	// List returns, in the order of their keys' bytes, the records whose key starts with prefix
	// and comes after the key after ("" for the first page). It returns at most limit records; a
	// limit of 0 or above MaxListed means MaxListed. Fewer than that means the end. One call sees
	// one revision; two pages may see two.
	List(ctx context.Context, prefix, after string, limit int) ([]Record, error)

	// Commit makes all writes or none, and returns the space's new revision. When it returns nil
	// the writes are durable, as far as the backend is configured to keep them, and every later Get
	// through this Store sees them. It returns ErrConflict, having written nothing, when an
	// expectation does not hold. After any other error the outcome is unknown: the caller reads
	// before it tries again. All keys must be of one space and distinct.
	Commit(ctx context.Context, writes ...Write) (Revision, error)

	// Watch yields the changes to keys under prefix until ctx ends or the store is closed, then
	// closes the channel. Slow receivers get a Gap instead of an ever longer queue. The first value
	// may be a Gap.
	Watch(ctx context.Context, prefix string) (<-chan Change, error)

	// Close releases what the store holds. Calls after it fail.
	Close() error
}

// Advancer is a Store whose spaces can go on counting where another store's have ended. Both backends
// are; it is apart from Store because only moving a space needs it.
type Advancer interface {
	Store

	// Advance raises the revision of a space to at least r, and returns what it is then. It changes no
	// record, and those who watch get a Gap. It is for a space that is moved here from another store:
	// revisions are known outside, and must not come a second time with other records. After an error
	// the outcome is unknown; doing it again does no harm.
	Advance(ctx context.Context, space string, r Revision) (Revision, error)
}

// Space returns the space of a key: all before its first slash.
func Space(key string) string {
	for i := range len(key) {
		if key[i] == '/' {
			return key[:i]
		}
	}
	return key
}

// RevisionKey returns the key under which every backend keeps the revision of a space. Its record
// has no value; its Version is the revision. It can be read and watched, not written.
func RevisionKey(space string) string { return space + "/!revision" }
