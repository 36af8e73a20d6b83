package hotcache

import (
	"errors"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// readsInline is how many reads a View keeps without allocating: a decision reads a principal and
// what the request names, and whoever has more to decide reads some records more.
const readsInline = 8

// View is one reading session: it remembers everything that was read through it, so that Valid can
// tell whether all of it is one revision. It is for one goroutine and one decision; take a new one for
// the next.
type View struct {
	cache  *Cache
	begun  bool
	count  int
	inline [readsInline]*entry
	more   []*entry
	unkept int64  // estimate of what was read and not kept
	entry  *entry // of what is being derived; nil in other sessions
}

// View begins a reading session.
func (c *Cache) View() *View { return &View{cache: c} }

// Valid reports whether nothing that was read through v has changed since: then everything read
// through it is the state of one revision. When it is false, begin again with a new View.
func (v *View) Valid() bool {
	return v.unchanged(v.inline[:min(v.count, readsInline)]) && v.unchanged(v.more)
}

func (v *View) unchanged(entries []*entry) bool {
	for _, e := range entries {
		if !v.cache.stripes.current(&e.stamps) {
			return false
		}
	}
	return true
}

// begin refuses when what is cached may be too old.
func (v *View) begin() error {
	if v.begun {
		return nil
	}
	if err := v.cache.usable(); err != nil {
		return err
	}
	v.begun = true
	return nil
}

// note remembers that e was read.
func (v *View) note(e *entry) {
	if v.count < readsInline {
		v.inline[v.count] = e
	} else {
		v.more = append(v.more, e)
	}
	v.count++
}

// stamps returns the stamps of everything that was read, without room to spare.
func (v *View) stamps() stamps {
	var all stamps
	for _, e := range v.inline[:min(v.count, readsInline)] {
		all.addAll(&e.stamps)
	}
	for _, e := range v.more {
		all.addAll(&e.stamps)
	}
	all.more = slices.Clip(slices.Clone(all.more))
	return all
}

// Held stands for a derived value as it was read once. Who has the value and this can go on using the
// value in later sessions without looking for it, as long as nothing of it has changed. The zero Held
// never holds.
type Held struct{ entry *entry }

// Held returns what stands for the value that is being derived through v. It holds from when Derived
// has returned the value; a View that was not given by Derived has none.
func (v *View) Held() Held { return Held{v.entry} }

// First reports whether nobody has asked this of the value in the round before, of which the caller says
// the number, other than 0. It is for noting now and then that a value is in use, and costs whoever is not the
// first one comparison. Who reads the value anew, because it changed or was evicted, is a first again.
func (h Held) First(round uint32) bool {
	if h.entry == nil {
		return false
	}
	last := h.entry.round.Load()
	return last != round && h.entry.round.CompareAndSwap(last, round)
}

// Last stands for what was read through v last, or for that it is missing. It never holds if that could not
// be told.
func (v *View) Last() Held {
	var last *entry
	switch {
	case len(v.more) > 0:
		last = v.more[len(v.more)-1]
	case v.count > 0:
		last = v.inline[v.count-1]
	}
	if last == nil || last.err != nil && !errors.Is(last.err, store.ErrNotFound) {
		return Held{}
	}
	return Held{last}
}

// Again reports whether nothing has changed of a value that was read from the same Cache before. Then
// the value counts as read through v, as if it had been looked up.
func (v *View) Again(h Held) bool {
	if h.entry == nil || v.begin() != nil || !v.cache.stripes.current(&h.entry.stamps) {
		return false
	}
	v.note(h.entry)
	return true
}
