package hotcache

import (
	"math/bits"
	"math/rand/v2"
	"sync/atomic"
)

const (
	// frontShare of the bytes are for the front.
	frontShare = 8
	// frontEntry is the largest entry, by estimate, that goes to the front: callers and what they ask
	// for are smaller.
	frontEntry = 2 << 10
	// maxFrontSlots is enough for the callers of a second. Go's collector looks at every slot.
	maxFrontSlots = 1 << 14
	// countEvery is how many hits in the front are told to ristretto as one.
	countEvery = 16
)

// front is where entries are looked for first: one place for each of some values of the hash, which
// belongs to the last entry that ristretto found for one of them. What is there and what is missing have
// one each, as they have memories of their own. A look-up here touches two lines of memory instead of six,
// and wakes nobody, while ristretto hands every hit to a goroutine that counts. Entries are compared here as
// they are there, so that neither a stale one can be reached nor another key's. They may outlive their
// eviction; their number and size are bounded.
type front struct {
	slots []atomic.Pointer[entry]
	shift int
}

func newFront(maxBytes int64) front {
	n := min(maxBytes/frontEntry, maxFrontSlots)
	width := bits.Len64(uint64(n)) - 1
	return front{slots: make([]atomic.Pointer[entry], 1<<width), shift: 64 - width}
}

// slot returns the place for a hash.
func (f *front) slot(hash uint64) *atomic.Pointer[entry] { return &f.slots[hash>>f.shift] }

// moveTo puts an entry in front if it is not too large for that.
func (e *entry) moveTo(slot *atomic.Pointer[entry]) {
	if e.bytes <= frontEntry {
		slot.Store(e)
	}
}

// counts reports whether a hit is to be told to ristretto, which must know what is in use.
func (f *front) counts() bool { return rand.Uint32()%countEvery == 0 }
