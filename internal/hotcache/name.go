package hotcache

// nameInline is how much of a key lies in the entry itself: all of the hash of an API key or a token, and
// of what most requests name. Every look-up compares the key, and memory far away costs more than the
// comparison.
const nameInline = 55

// name is the key of an entry.
type name struct {
	inline [nameInline]byte
	length uint8
	long   string // the key, if it is longer; then length is more than inline holds
}

func newName(key string) name {
	n := name{length: uint8(min(len(key), nameInline+1))}
	if len(key) > nameInline {
		n.long = key
	} else {
		copy(n.inline[:], key)
	}
	return n
}

// nameIs reports whether n is that key, comparing all of it.
func nameIs[K string | []byte](n *name, key K) bool {
	if len(key) > nameInline {
		return n.long == string(key)
	}
	return int(n.length) == len(key) && string(n.inline[:len(key)]) == string(key)
}
