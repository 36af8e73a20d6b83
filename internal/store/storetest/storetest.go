// Package storetest holds every backend of package store to the port's contract, sentence by
// sentence. A backend's test is a few lines: it opens a fresh store and calls Run.
package storetest

import (
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// patience is how long the suite waits for what must come. Only a failing test waits this long.
const patience = 10 * time.Second

// Run runs the suite. Open must return an empty store that is closed when the test ends; the suite
// may close it earlier.
func Run(t *testing.T, open func(testing.TB) store.Store) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, store.Store)
	}{
		{"get", testGet},
		{"values come back byte for byte", testValues},
		{"returned values are the caller's own", testOwnership},
		{"revisions", testRevisions},
		{"the revision's record", testRevisionRecord},
		{"spaces are apart", testSpaces},
		{"list in the order of bytes", testListOrder},
		{"list by pages", testListPages},
		{"list is bounded", testListBound},
		{"list sees one revision", testListSnapshot},
		{"delete", testDelete},
		{"expectations", testExpectations},
		{"checks", testChecks},
		{"a conflict writes nothing", testConflictWritesNothing},
		{"writes that break a rule", testInvalidWrites},
		{"bounds can be reached", testBounds},
		{"counters do not lose an increment", testCounters},
		{"commits are atomic to readers", testAtomicity},
		{"own commits are seen at once", testReadYourWrites},
		{"advance", testAdvance},
		{"watch", testWatch},
		{"watch tells when", testWatchCommitted},
		{"watch filters by prefix", testWatchPrefix},
		{"watch the revision", testWatchRevision},
		{"watch ends with its context", testWatchEnds},
		{"slow watchers get a gap", testWatchGap},
		{"cancelled contexts", testCancelled},
		{"close", testClose},
		{"close under load", testCloseUnderLoad},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, open(t)) })
	}
}
