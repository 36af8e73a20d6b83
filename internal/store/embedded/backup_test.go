package embedded

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// backUp writes a backup into a folder of its own and returns the folder.
func backUp(t testing.TB, s *Store) string {
	t.Helper()
	snapshot, err := s.Backup(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer snapshot.Close()
	folder := t.TempDir()
	path := filepath.Join(folder, FileName)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(f, snapshot)
	if err := errors.Join(err, f.Close()); err != nil || n != snapshot.Size() {
		t.Fatalf("copied %d of %d bytes: %v", n, snapshot.Size(), err)
	}
	if err := Verify(path); err != nil {
		t.Fatalf("the backup %v", err)
	}
	return folder
}

// TestBackupUnderWrites: whatever was acknowledged before a backup began is in it, and pairs that are
// written together are there together.
func TestBackupUnderWrites(t *testing.T) {
	folder := t.TempDir()
	s := open(t, folder)
	const writers = 4
	var acknowledged [writers]atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				_, err := s.Commit(t.Context(),
					store.Write{Key: fmt.Sprintf("acme/left/%d/%d", w, i), Value: make([]byte, i%3000)},
					store.Write{Key: fmt.Sprintf("acme/right/%d/%d", w, i), Value: make([]byte, 10)},
					store.Write{Key: fmt.Sprintf("acme/left/%d/%d", w, i-50)}) // pages become free, and are used again
				if err != nil {
					t.Error(err)
					return
				}
				acknowledged[w].Store(int64(i))
			}
		})
	}
	for range 20 {
		var before [writers]int64
		for w := range writers {
			before[w] = acknowledged[w].Load()
		}
		restored := open(t, backUp(t, s))
		for w := range writers {
			for i := max(1, before[w]-20); i <= before[w]; i++ {
				if _, err := restored.Get(t.Context(), fmt.Sprintf("acme/right/%d/%d", w, i)); err != nil {
					t.Fatalf("commit %d of writer %d was acknowledged before: %v", i, w, err)
				}
			}
			next := before[w] + 1
			_, left := restored.Get(t.Context(), fmt.Sprintf("acme/left/%d/%d", w, next))
			_, right := restored.Get(t.Context(), fmt.Sprintf("acme/right/%d/%d", w, next))
			if (left == nil) != (right == nil) {
				t.Errorf("half of commit %d is there: %v, %v", next, left, right)
			}
		}
		if _, err := restored.Commit(t.Context(), store.Write{Key: "acme/restored", Value: []byte("x")}); err != nil {
			t.Errorf("the restored store takes no commit: %v", err)
		}
	}
	close(stop)
	all.Wait()
	if names, _ := filepath.Glob(filepath.Join(folder, "*")); len(names) != 1 {
		t.Errorf("backups left %q", names)
	}
}

// TestBackupWithoutCommits: header 0 and header 1 in turn hold the last transaction.
func TestBackupWithoutCommits(t *testing.T) {
	s := open(t, t.TempDir())
	for i := range 6 {
		restored := open(t, backUp(t, s))
		got, err := restored.List(t.Context(), "acme/", "", 0)
		if err != nil || len(got) != i {
			t.Errorf("after %d commits the backup holds %d records, %v", i, len(got), err)
		}
		if _, err := s.Commit(t.Context(), store.Write{Key: fmt.Sprintf("acme/%d", i), Value: []byte("x")}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestBackupOfAClosedStore(t *testing.T) {
	folder := t.TempDir()
	s, err := Open(Config{Directory: folder})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := s.Backup(t.Context()); !errors.Is(err, errClosed) {
		t.Errorf("%v", err)
	}
	if names, _ := filepath.Glob(filepath.Join(folder, "*")); len(names) != 1 {
		t.Errorf("it left %q", names)
	}
}

func TestVerify(t *testing.T) {
	if err := Verify(filepath.Join(t.TempDir(), "nothing")); err == nil {
		t.Error("a missing file is sound")
	}
	s := open(t, t.TempDir())
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/x", Value: []byte("value")}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(backUp(t, s), FileName)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, whole[:len(whole)-1], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Verify(path); err == nil {
		t.Error("a file that was cut off is sound")
	}
}
