package hotcache

// stampsInline is how many stamps a View keeps without allocating: a decision reads a principal
// with its key and teams, a project with its entity, and the roles.
const stampsInline = 24

// View is one reading session: it remembers the stamp of every record that was read through it, so
// that Valid can tell whether all of it is one revision. It is for one goroutine and one decision;
// take a new one for the next.
type View struct {
	cache  *Cache
	begun  bool
	count  int
	inline [stampsInline]stamp
	more   []stamp
	bytes  int64 // estimate of what was read, for the cost of what is derived from it
}

// View begins a reading session.
func (c *Cache) View() *View { return &View{cache: c} }

// Valid reports whether nothing that was read through v has changed since: then everything read
// through it is the state of one revision. When it is false, begin again with a new View.
func (v *View) Valid() bool {
	return v.cache.stripes.current(v.inline[:min(v.count, stampsInline)]) && v.cache.stripes.current(v.more)
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
	v.bytes += e.bytes
	for _, s := range e.stamps {
		if v.count < stampsInline {
			v.inline[v.count] = s
		} else {
			v.more = append(v.more, s)
		}
		v.count++
	}
}

// stamps returns a copy of everything noted.
func (v *View) stamps() []stamp {
	all := make([]stamp, 0, v.count)
	all = append(all, v.inline[:min(v.count, stampsInline)]...)
	return append(all, v.more...)
}
