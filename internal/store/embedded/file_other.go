//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package embedded

import (
	"os"
	"time"
)

const openNoFollow = 0

// lock leaves locking to bbolt.
func lock(*os.File, time.Duration) error { return nil }

// syncDirectory has nothing to do here.
func syncDirectory(string) error { return nil }
