// Package embedded is the store in one file on the local disk, made with bbolt. It is for a
// gateway that runs as a single process; the file is locked while it is open.
//
// What it adds to bbolt: a revision per space; a checksum in every record, bound to its key, and
// one over all records of a space, so that damage is found and never served; a look at the whole
// file before bbolt maps it, because bbolt trusts its pages; commits that share one fsync; and the
// news of changes.
package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/watch"
)

// FileName is the name of the store's file in its directory.
const FileName = "gateway.db"

// Config says where the store is.
type Config struct {
	// Directory is where the file FileName is. It is created, mode 0700, if it does not exist.
	Directory string
}

// Store is an open store. It implements store.Store.
type Store struct {
	path string
	file *os.File // of db, which closes it
	db   *bbolt.DB
	// fault is set once bbolt panicked. It may have done so with its locks held: from then on it is
	// left alone.
	fault atomic.Pointer[error]

	commits  chan *commit
	closing  chan struct{}
	close    func() error
	finished sync.WaitGroup
	watchers watch.Watchers
}

var _ store.Advancer = (*Store)(nil)

var errClosed = errors.New("embedded store: closed")

// Open opens the store, and creates it if there is no file. It reads the whole file first: a file
// that is damaged, truncated, empty, not a store, or in use by another process is refused with an
// iam.Error that names the file and the remedy.
func Open(cfg Config) (*Store, error) {
	if cfg.Directory == "" {
		return nil, errors.New("embedded store: no directory")
	}
	path, err := filepath.Abs(filepath.Join(cfg.Directory, FileName))
	if err != nil {
		return nil, fmt.Errorf("embedded store: %w", err)
	}
	file, db, err := openFile(path)
	if err != nil {
		return nil, err
	}
	s := &Store{
		path:    path,
		file:    file,
		db:      db,
		commits: make(chan *commit),
		closing: make(chan struct{}),
	}
	s.close = sync.OnceValue(s.shut)
	s.finished.Go(s.runCommits)
	return s, nil
}

// Path returns the absolute path of the file.
func (s *Store) Path() string { return s.path }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (record store.Record, err error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	if !store.ValidKey(key) {
		return store.Record{}, store.ErrNotFound
	}
	err = s.view(func(tx *bbolt.Tx) error {
		if space := store.Space(key); key == store.RevisionKey(space) {
			head, err := readHead(tx, space)
			if err == nil && head.revision == 0 {
				err = store.ErrNotFound
			}
			record = store.Record{Key: key, Version: head.revision}
			return err
		}
		raw := tx.Bucket(recordsBucket).Get([]byte(key))
		if raw == nil {
			return store.ErrNotFound
		}
		r, err := decodeRecord([]byte(key), raw)
		if err != nil {
			return err
		}
		record = store.Record{Key: key, Value: bytes.Clone(r.value), Version: r.version}
		return nil
	})
	if err != nil {
		return store.Record{}, err
	}
	return record, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]store.Record, error) {
	if limit <= 0 || limit > store.MaxListed {
		limit = store.MaxListed
	}
	var records []store.Record
	err := s.view(func(tx *bbolt.Tx) error {
		c := tx.Bucket(recordsBucket).Cursor()
		key, raw := c.Seek([]byte(max(prefix, after)))
		if after != "" && string(key) == after {
			key, raw = c.Next()
		}
		for ; key != nil && bytes.HasPrefix(key, []byte(prefix)) && len(records) < limit; key, raw = c.Next() {
			if err := ctx.Err(); err != nil {
				return err
			}
			r, err := decodeRecord(key, raw)
			if err != nil {
				return err
			}
			records = append(records, store.Record{Key: string(key), Value: bytes.Clone(r.value), Version: r.version})
		}
		return ctx.Err()
	})
	if err != nil {
		return nil, err
	}
	return records, nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, prefix string) (<-chan store.Change, error) {
	select {
	case <-s.closing:
		return nil, errClosed
	default:
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.watchers.Add(ctx, prefix, s.closing), nil
}

// Close implements store.Store. It waits for reads and for the commit that is being written.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	close(s.closing)
	s.finished.Wait()
	s.watchers.Wait()
	closeFile := s.db.Close
	if s.fault.Load() != nil {
		closeFile = s.file.Close // releases the lock; what is mapped stays until the process ends
	}
	if err := closeFile(); err != nil {
		return fmt.Errorf("closing %s: %w", s.path, err)
	}
	return nil
}

// view reads at one revision.
func (s *Store) view(read func(*bbolt.Tx) error) error {
	return s.guard(func() error { return s.db.View(read) })
}

// guard runs what uses bbolt. A page that went bad under the running process makes bbolt panic, or
// the processor refuse an address: both are store.ErrCorrupt.
func (s *Store) guard(use func() error) (err error) {
	if fault := s.fault.Load(); fault != nil {
		return *fault
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("%w: %s: %v; restart the gateway to have the file checked", store.ErrCorrupt, s.path, panicked)
			s.fault.CompareAndSwap(nil, &err)
		}
	}()
	err = use()
	if errors.Is(err, berrors.ErrDatabaseNotOpen) {
		return errClosed
	}
	return err
}
