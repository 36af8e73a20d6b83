package embedded

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"
)

// errMoved: the header of the revision that is being read was replaced by a later one.
var errMoved = errors.New("the header was overwritten by later commits")

// headerAttempts bounds how often a backup begins anew because commits came faster than it read a header.
const headerAttempts = 100

// Backup returns a copy of the store as it is now: everything whose Commit has returned is in it, and of
// a commit either all or nothing. It is a whole store file, which Open takes. It is written to a file
// without a name in the store's own folder first, so that a slow reader holds up nobody; it needs as
// much room there as the store. Commits go on meanwhile. The caller closes it.
func (s *Store) Backup(ctx context.Context) (_ *Snapshot, err error) {
	f, err := os.CreateTemp(filepath.Dir(s.path), FileName+".backup-*") // mode 0600
	if err != nil {
		return nil, fmt.Errorf("backing up %s: %w", s.path, err)
	}
	snapshot := &Snapshot{file: f}
	os.Remove(f.Name()) // fails where open files keep their names; Close tries again
	defer func() {
		if err != nil {
			snapshot.Close()
		}
	}()
	for range headerAttempts {
		err = s.view(func(tx *bbolt.Tx) error { return s.copyTo(ctx, f, tx) })
		if !errors.Is(err, errMoved) {
			break
		}
	}
	if err == nil {
		snapshot.size, err = f.Seek(0, io.SeekEnd)
	}
	if err == nil {
		_, err = f.Seek(0, io.SeekStart)
	}
	if err != nil {
		return nil, fmt.Errorf("backing up %s: %w", s.path, err)
	}
	return snapshot, nil
}

// copyTo copies what tx sees. bbolt leaves the pages of a transaction alone while it is open. Its own
// Tx.WriteTo would close our file, and gives header 0 any transaction, which check refuses.
func (s *Store) copyTo(ctx context.Context, f *os.File, tx *bbolt.Tx) error {
	headers, pageBytes, err := s.headers(uint64(tx.ID()))
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(headers, 0); err != nil {
		return err
	}
	buffer := make([]byte, 1<<20)
	for at := 2 * pageBytes; at < tx.Size(); at += int64(len(buffer)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buffer[:min(int64(len(buffer)), tx.Size()-at)]
		if _, err := s.file.ReadAt(part, at); err != nil {
			return err
		}
		if _, err := f.WriteAt(part, at); err != nil {
			return err
		}
	}
	return nil
}

// headers returns the first two pages of a file whose last transaction is txid.
func (s *Store) headers(txid uint64) (pages []byte, pageBytes int64, err error) {
	pageBytes = int64(s.db.Info().PageSize)
	pages = make([]byte, 2*pageBytes)
	if _, err := s.file.ReadAt(pages, 0); err != nil {
		return nil, 0, err
	}
	this, other := pages[:pageBytes], pages[pageBytes:]
	if txid%2 == 1 {
		this, other = other, this
	}
	if m, err := parseMeta(this[:pageHead+metaBytes], txid%2); err != nil || m.txid != txid {
		return nil, 0, errMoved
	}
	// The other header says the same, one transaction earlier: what the one before said is not kept.
	copy(other, this)
	native.PutUint64(other, 1-txid%2)
	body := other[pageHead:]
	native.PutUint64(body[48:], txid-1)
	sum := fnv.New64a()
	sum.Write(body[:metaBytes-8])
	native.PutUint64(body[metaBytes-8:], sum.Sum64())
	return pages, pageBytes, nil
}

// Snapshot is a copy of a store.
type Snapshot struct {
	file *os.File
	size int64
}

// Size returns how many bytes there are.
func (s *Snapshot) Size() int64 { return s.size }

// Read implements io.Reader.
func (s *Snapshot) Read(p []byte) (int, error) { return s.file.Read(p) }

// Close implements io.Closer, and gives back the room that the copy took.
func (s *Snapshot) Close() error {
	err := s.file.Close()
	os.Remove(s.file.Name())
	return err
}

// Verify reports why a file is not a sound store that Open would take, as the end of a sentence that
// begins with its name. It changes nothing.
func Verify(path string) error {
	f, err := os.OpenFile(path, os.O_RDONLY|openNoFollow, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return check(f)
}
