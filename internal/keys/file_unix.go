//go:build unix

package keys

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

const openNonblock = syscall.O_NONBLOCK

// tooOpen reports whether anybody but the owner may read or write the file.
func tooOpen(mode fs.FileMode) bool { return mode.Perm()&0o077 != 0 }

// syncDirectory makes a new name in the directory durable.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
