package keys

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// maxFileBytes is more than any key file holds, with room for an operator's trailing newlines.
const maxFileBytes = 256

// LoadMasterKey reads the key from a file that only its owner may read: mode 0600 or 0400. Errors
// are iam.Errors that name the file and the remedy.
func LoadMasterKey(path string) (MasterKey, error) {
	// Without O_NONBLOCK a FIFO would hold the start for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return MasterKey{}, refuse(path, "cannot be opened: create it or correct master_key_file", err)
	}
	defer f.Close()
	info, err := f.Stat() // of the open file: the path may come to name another
	if err != nil {
		return MasterKey{}, refuse(path, "cannot be read", err)
	}
	if !info.Mode().IsRegular() {
		return MasterKey{}, refuse(path, "is no regular file", nil)
	}
	if tooOpen(info.Mode()) {
		return MasterKey{}, refuse(path, fmt.Sprintf("can be read by others (mode %04o): run `chmod 600 %s`, and replace the key if somebody may have read it", info.Mode().Perm(), path), nil)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err != nil {
		return MasterKey{}, refuse(path, "cannot be read", err)
	}
	if len(text) > maxFileBytes {
		return MasterKey{}, refuse(path, "is too long: it should hold the base64 of 32 bytes and nothing else", nil)
	}
	k, err := ParseMasterKey(string(text))
	if err != nil {
		return MasterKey{}, refuse(path, "does not hold a master key: restore it from a backup, secrets in the store cannot be opened without it", err)
	}
	return k, nil
}

// LoadOrCreateMasterKey reads the key from the file, or creates the file, mode 0600, with a new key
// if there is none. Only a missing file is created: an empty or damaged one is refused, because a
// new key could not open what the old one sealed. Two processes that start at the same moment end
// up with the same key.
func LoadOrCreateMasterKey(path string) (k MasterKey, created bool, err error) {
	if _, err := os.Lstat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		k, err := LoadMasterKey(path)
		return k, false, err
	}
	k = NewMasterKey()
	err = writeNew(path, []byte(k.Text().Reveal()+"\n"))
	if errors.Is(err, fs.ErrExist) {
		k, err := LoadMasterKey(path)
		return k, false, err
	}
	if err != nil {
		return MasterKey{}, false, refuse(path, "cannot be created", err)
	}
	return k, true, nil
}

// writeNew makes path with content, whole or not at all, and fails with fs.ErrExist when it is
// there: it is written under another name first, and durable before it gets its own.
func writeNew(path string, content []byte) error {
	directory := filepath.Dir(path)
	if err := os.MkdirAll(directory, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(directory, filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), path); err != nil {
		return err
	}
	return syncDirectory(directory)
}

func refuse(path, what string, cause error) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: "master_key_file",
		Message: fmt.Sprintf("the master key file %s %s", path, what), Err: cause}
}
