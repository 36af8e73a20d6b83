package facts

import (
	"sync/atomic"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
)

// foreignKeys remembers of keys that the server knows that they are nobody's here, as long as that holds:
// then they need not be looked for here with every request. Each of some values of the digest has a place,
// which belongs to the last key that was seen. Keys that the server does not know take no place of others
// (threats K08).
type foreignKeys [1 << 12]atomic.Pointer[foreignKey]

type foreignKey struct {
	digest  upstream.Digest // all of it is compared (threats K09)
	absence directory.Absence
}

func (f *foreignKeys) place(d upstream.Digest) *atomic.Pointer[foreignKey] {
	return &f[d.Number()%uint64(len(f))]
}

// has reports whether a key is known to be nobody's here.
func (f *foreignKeys) has(d upstream.Digest) bool {
	k := f.place(d).Load()
	return k != nil && k.digest == d && k.absence.Holds()
}

func (f *foreignKeys) add(d upstream.Digest, a directory.Absence) {
	if a == (directory.Absence{}) {
		return // by its form it is no key of ours, and was not looked for
	}
	f.place(d).Store(&foreignKey{d, a})
}
