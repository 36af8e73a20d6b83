//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package embedded

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// openNoFollow: whoever may replace the file by a link must not choose which file is opened.
const openNoFollow = syscall.O_NOFOLLOW

// lock takes the lock that bbolt takes, on the same open file.
func lock(f *os.File, timeout time.Duration) error {
	for waited := time.Duration(0); ; waited += 50 * time.Millisecond {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return err
		}
		if waited >= timeout {
			return errLocked
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// syncDirectory makes a new name in the directory durable.
func syncDirectory(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
