package hotcache

import "sync/atomic"

// stripeCount counters take 256 KiB. A change invalidates whatever shares its stripe: with a
// million cached records that is fifteen others, which are read again from the store.
const stripeCount = 1 << 16

// stripes are the counters. A counter that is raised 2^32 times between taking a stamp and
// looking at it would go unnoticed; at a thousand commits a second to one stripe that takes
// seven weeks, and stamps of that age belong to keys that nobody reads.
type stripes [stripeCount]atomic.Uint32

// stamp is a counter as it was when a record was about to be read.
type stamp struct {
	stripe uint32
	count  uint32
}

// take returns the present stamp of a key by its hash.
func (s *stripes) take(hash uint64) stamp {
	i := uint32(hash % stripeCount)
	return stamp{i, s[i].Load()}
}

// raise makes all stamps of a key's stripe outdated.
func (s *stripes) raise(hash uint64) { s[hash%stripeCount].Add(1) }

func (s *stripes) raiseAll() {
	for i := range s {
		s[i].Add(1)
	}
}

// current reports whether no record under the stamps may have changed since they were taken.
func (s *stripes) current(stamps *stamps) bool {
	return s.unchanged(stamps.inline[:min(stamps.count, stampsInline)]) && s.unchanged(stamps.more)
}

func (s *stripes) unchanged(stamps []stamp) bool {
	for _, t := range stamps {
		if s[t.stripe%stripeCount].Load() != t.count {
			return false
		}
	}
	return true
}

// stampsInline is how many stamps lie beside what they are for: an API key with its principal and one
// team, or a project with its entity and the roles. Every look-up compares them, and memory far away
// costs more than the comparison.
const stampsInline = 4

// stamps are all stamps under which something holds.
type stamps struct {
	inline [stampsInline]stamp
	more   []stamp
	count  uint32
}

func (s *stamps) add(t stamp) {
	if s.count < stampsInline {
		s.inline[s.count] = t
	} else {
		s.more = append(s.more, t)
	}
	s.count++
}

func (s *stamps) addAll(other *stamps) {
	for _, t := range other.inline[:min(other.count, stampsInline)] {
		s.add(t)
	}
	for _, t := range other.more {
		s.add(t)
	}
}
