package embedded

import (
	"errors"
	"fmt"
	"io/fs"
	"math/bits"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// lockTimeout is how long Open waits for another process to let go of the file: long enough for
// one that is just ending, short enough for an operator.
const lockTimeout = 1500 * time.Millisecond

// The file grows by half of what is used, within these bounds: a file that lost its second half has
// then lost pages, which is noticed, and a growing one seldom has to ask for room.
const (
	minGrowBytes = 16 << 10
	maxGrowBytes = 4 << 20
)

// growBytes is by how much a file with that many used bytes grows at a time.
func growBytes(used int64) int {
	return int(min(max(used/2, minGrowBytes), maxGrowBytes))
}

// errLocked: somebody else has the file open.
var errLocked = errors.New("the file is locked")

// openFile opens the file at path, creating it if there is none, and looks at all of it before
// bbolt does.
func openFile(path string) (*os.File, *bbolt.DB, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := create(path); err != nil {
			return nil, nil, refuse(path, "cannot be created: look at the folder's owner, mode and free space", err)
		}
	case err != nil:
		return nil, nil, refuse(path, "cannot be opened: look at the owner and mode of the folders above it", err)
	case !info.Mode().IsRegular():
		return nil, nil, refuse(path, fmt.Sprintf("is no regular file (%s): name the folder that the store really is in", info.Mode().Type()), nil)
	}
	f, err := os.OpenFile(path, os.O_RDWR|openNoFollow, 0)
	if err != nil {
		return nil, nil, refuse(path, "cannot be opened for writing: look at its owner and mode, it must belong to the user the gateway runs as", err)
	}
	db, err := openLocked(path, f)
	if err != nil {
		f.Close() // twice if bbolt has already closed it, which is harmless
		return nil, nil, err
	}
	return f, db, nil
}

func openLocked(path string, f *os.File) (*bbolt.DB, error) {
	if err := lock(f, lockTimeout); err != nil {
		if errors.Is(err, errLocked) {
			return nil, refuse(path, "is in use by another process: stop the other gateway, or give this one a store of its own", nil)
		}
		return nil, refuse(path, "cannot be locked: an embedded store needs a local disk", err)
	}
	if err := tighten(f); err != nil {
		return nil, refuse(path, "can be read by others, and its mode cannot be changed: run `chmod 600` on it as its owner", err)
	}
	if err := check(f); err != nil {
		return nil, refuse(path, err.Error()+". Nothing was changed. Restore the file from a backup, or move it away to begin with an empty store", nil)
	}
	db, err := openBolt(path, f)
	if err != nil {
		return nil, refuse(path, "cannot be opened", err)
	}
	return db, nil
}

// openBolt hands the locked file to bbolt, which locks it again without waiting.
func openBolt(path string, f *os.File) (db *bbolt.DB, err error) {
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%w: %v", store.ErrCorrupt, panicked)
		}
	}()
	options := &bbolt.Options{
		Timeout: lockTimeout,
		// Every commit writes the list of free pages, and an import of many leaves a long one: an array is in
		// order already, where a map is sorted each time.
		FreelistType: bbolt.FreelistArrayType,
		NoStatistics: true,
		OpenFile:     func(string, int, os.FileMode) (*os.File, error) { return f, nil },
	}
	if bits.UintSize == 64 && runtime.GOOS != "windows" {
		// Address space, not memory: while a file grows within it, readers never hold up a writer.
		options.InitialMmapSize = 4 << 30
	}
	if db, err = bbolt.Open(path, 0o600, options); err == nil {
		db.AllocSize = minGrowBytes
	}
	return db, err
}

// tighten takes everybody else's access away.
func tighten(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Mode().Perm()&0o077 == 0 || runtime.GOOS == "windows" {
		return err
	}
	return f.Chmod(0o600)
}

// create makes an empty store under another name, and gives it its own when it is whole and
// durable: a process that is killed here leaves no half file that the next start would refuse.
func create(path string) error {
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(directory, FileName+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	db, err := openBolt(f.Name(), f)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{recordsBucket, spacesBucket, formatBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(formatBucket).Put(formatKey, formatValue)
	})
	if err = errors.Join(err, db.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDirectory(directory)
}

func refuse(path, what string, cause error) error {
	return &iam.Error{Kind: iam.KindUnavailable, Reason: "store_file",
		Message: fmt.Sprintf("the store's file %s %s", path, what), Err: cause}
}
