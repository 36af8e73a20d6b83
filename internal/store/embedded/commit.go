package embedded

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"go.etcd.io/bbolt"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// maxTogether bounds the writes that commits which wait at the same time put into one transaction.
// A single commit may have more.
const maxTogether = 10_000

// commit is one Commit, or one Advance, on its way through the writer.
type commit struct {
	ctx    context.Context //nolint:containedctx // a commit lives inside one call
	space  string
	writes []store.Write
	// least is the revision to advance to, where there are no writes.
	least store.Revision
	done  chan struct{}
	// revision and err are set before done is closed.
	revision store.Revision
	err      error
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	space, err := store.CheckWrites(writes)
	if err != nil {
		return 0, err
	}
	return s.await(&commit{ctx: ctx, space: space, writes: writes, done: make(chan struct{})})
}

// Advance implements store.Advancer.
func (s *Store) Advance(ctx context.Context, space string, r store.Revision) (store.Revision, error) {
	if err := store.CheckAdvance(space, r); err != nil {
		return 0, err
	}
	return s.await(&commit{ctx: ctx, space: space, least: r, done: make(chan struct{})})
}

// await gives a commit to the writer and returns when it is made.
func (s *Store) await(c *commit) (store.Revision, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	select {
	case s.commits <- c:
	case <-c.ctx.Done():
		return 0, c.ctx.Err()
	case <-s.closing:
		return 0, errClosed
	}
	<-c.done // the disk decides from here; it is not left with an outcome that nobody looks at
	return c.revision, c.err
}

// runCommits writes until the store closes. Commits that arrive while one transaction is being
// written wait for each other and share the next, so that they share its fsync.
func (s *Store) runCommits() {
	var broken error
	for {
		select {
		case <-s.closing:
			return
		case first := <-s.commits:
			together := s.gather(first)
			if broken == nil {
				broken = s.write(together)
			} else {
				fail(together, broken)
			}
			for _, c := range together {
				close(c.done)
			}
		}
	}
}

// gather returns first and the commits that wait behind it.
func (s *Store) gather(first *commit) []*commit {
	together := []*commit{first}
	for writes := len(first.writes); writes < maxTogether; {
		select {
		case c := <-s.commits:
			together = append(together, c)
			writes += len(c.writes)
		default:
			return together
		}
	}
	return together
}

// write makes one transaction of several commits. Each succeeds or conflicts for itself; a
// transaction that fails takes all of them with it. The error it returns is one after which
// nothing must be written any more.
func (s *Store) write(together []*commit) (broken error) {
	err := s.guard(func() error {
		return s.db.Update(func(tx *bbolt.Tx) error {
			s.db.AllocSize = growBytes(tx.Size()) // read by this very transaction, when it is written
			return applyAll(tx, together)
		})
	})
	if err != nil {
		fail(together, fmt.Errorf("writing %s: %w", s.path, err))
		s.watchers.Publish(store.Change{Gap: true}) // nobody knows what was written
		if passing(err) {
			return nil
		}
		return fmt.Errorf("%s is not written any more until the gateway is started again, because writing failed: %w", s.path, err)
	}
	committed := time.Now()
	for _, c := range together {
		if c.err == nil {
			s.watchers.Publish(store.Change{Keys: keysOf(c.writes), Revision: c.revision, Gap: len(c.writes) == 0, Committed: committed})
		}
	}
	return nil
}

// passing reports whether writing may work again later without a restart. After any other error,
// such as a failed fsync, the kernel may have dropped what it was told to keep, and only reading
// the file again tells what is in it.
func passing(err error) bool {
	for _, lack := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

func fail(together []*commit, err error) {
	for _, c := range together {
		c.revision, c.err = 0, err
	}
}

func applyAll(tx *bbolt.Tx, together []*commit) error {
	for _, c := range together {
		if err := apply(tx, c); err != nil {
			return err
		}
	}
	return nil
}

// apply makes one commit part of the transaction, or sets its error and leaves the transaction as
// it was: all demands are looked at before the first write. The error it returns ends the
// transaction.
func apply(tx *bbolt.Tx, c *commit) error {
	if c.err = c.ctx.Err(); c.err != nil {
		return nil
	}
	records := tx.Bucket(recordsBucket)
	h, err := readHead(tx, c.space)
	if err != nil {
		c.err = err
		return nil
	}
	if len(c.writes) == 0 {
		h.revision = max(h.revision, c.least)
		c.revision = h.revision
		return tx.Bucket(spacesBucket).Put([]byte(c.space), encodeHead(c.space, h))
	}
	h.revision++
	for _, w := range c.writes {
		old, err := readOld(records, w.Key)
		switch {
		case err != nil:
			c.err = err
			return nil
		case !w.Expect.Satisfied(old.version):
			c.err = fmt.Errorf("%w: %q", store.ErrConflict, w.Key)
			return nil
		}
		if old.version != 0 && !w.Check {
			h.records--
			h.sum -= old.checksum
		}
	}
	for _, w := range c.writes {
		if w.Check {
			continue
		}
		if w.Value == nil {
			if err := records.Delete([]byte(w.Key)); err != nil {
				return err
			}
			continue
		}
		raw, checksum := encodeRecord(w.Key, h.revision, w.Value)
		h.records++
		h.sum += checksum
		if err := records.Put([]byte(w.Key), raw); err != nil {
			return err
		}
	}
	c.revision = h.revision
	return tx.Bucket(spacesBucket).Put([]byte(c.space), encodeHead(c.space, h))
}

// readOld returns what is stored under key now; version 0 if nothing is.
func readOld(records *bbolt.Bucket, key string) (record, error) {
	raw := records.Get([]byte(key))
	if raw == nil {
		return record{}, nil
	}
	return decodeRecord([]byte(key), raw)
}

func keysOf(writes []store.Write) []string {
	keys := make([]string, 0, len(writes))
	for _, w := range writes {
		if !w.Check {
			keys = append(keys, w.Key)
		}
	}
	return keys
}
