package hotcache

import "time"

// Propagation tells that commits hold here from now on: what was cached from before them is not served any
// more. Every commit since the Cache began is told of once, whoever made it, unless the store lost it.
type Propagation struct {
	Commits uint64
	// Took is how long ago they were made: as exactly as the store tells, else at most.
	Took time.Duration
	// Missed says that nobody told of them and they were found by asking.
	Missed bool
}

// held reports that so many commits hold.
func (c *Cache) held(commits uint64, took time.Duration, missed bool) {
	if c.propagated != nil && commits > 0 {
		c.propagated(Propagation{commits, took, missed})
	}
}

// since is how long ago a commit was made that was not known yet at the last contact, which is atMost ago.
// That bounds what the clocks of others can make of it.
func since(committed time.Time, atMost time.Duration) time.Duration {
	if committed.IsZero() {
		return atMost
	}
	return min(max(time.Since(committed), 0), atMost)
}
