package embedded

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func TestRefusedFiles(t *testing.T) {
	image, _ := filled(t, 10)
	write := func(content string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(content), mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name string
		make func(*testing.T, string)
		want string
	}{
		{"empty", write("", 0o600), "is empty"},
		{"text", write(strings.Repeat("hello ", 2000), 0o600), "is not a store"},
		{"short text", write("hello", 0o600), "only 5 bytes"},
		{"SQLite", write("SQLite format 3\x00"+strings.Repeat("\x00", 8192), 0o600), "is not a store"},
		{"zeros", write(strings.Repeat("\x00", 1<<16), 0o600), "is not a store"},
		{"half", write(string(image[:len(image)/2]), 0o600), "is cut off"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "is no regular file"},
		{"a symbolic link", func(t *testing.T, path string) {
			target := filepath.Join(t.TempDir(), "elsewhere.db")
			write(string(image), 0o600)(t, target)
			if err := os.Symlink(target, path); err != nil {
				t.Fatal(err)
			}
		}, "is no regular file"},
		{"a dangling link", func(t *testing.T, path string) {
			if err := os.Symlink(filepath.Join(t.TempDir(), "nothing"), path); err != nil {
				t.Fatal(err)
			}
		}, "is no regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			directory := t.TempDir()
			path := filepath.Join(directory, FileName)
			test.make(t, path)
			s, err := Open(Config{Directory: directory})
			if err == nil {
				s.Close()
				t.Fatal("it was opened")
			}
			wantRemedy(t, test.name, path, err)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("the error %q does not say %q", err, test.want)
			}
		})
	}
	t.Run("a file where the folder should be", func(t *testing.T) {
		directory := filepath.Join(t.TempDir(), "file")
		write("x", 0o600)(t, directory)
		_, err := Open(Config{Directory: directory})
		wantRemedy(t, "a file where the folder should be", directory, err)
	})
	t.Run("no folder", func(t *testing.T) {
		if _, err := Open(Config{}); err == nil {
			t.Error("it was opened")
		}
	})
}

func TestModes(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "a", "b")
	s := open(t, directory)
	wantMode := func(path string, want fs.FileMode) {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
	wantMode(directory, 0o700)
	wantMode(filepath.Dir(directory), 0o700)
	wantMode(s.Path(), 0o600)
	if left, _ := filepath.Glob(filepath.Join(directory, "*")); len(left) != 1 {
		t.Errorf("creating left %q", left)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Path(), 0o664); err != nil {
		t.Fatal(err)
	}
	open(t, directory)
	wantMode(s.Path(), 0o600)
}

func TestReopened(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	revision, err := s.Commit(t.Context(), store.Write{Key: "acme/a", Value: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, directory)
	if r, err := s.Get(t.Context(), "acme/a"); err != nil || r.Version != revision || string(r.Value) != "1" {
		t.Errorf("after opening again: %+v, %v", r, err)
	}
	if next, err := s.Commit(t.Context(), store.Write{Key: "acme/a", Value: []byte("2")}); err != nil || next != revision+1 {
		t.Errorf("the next commit has revision %d, %v, want %d", next, err, revision+1)
	}
}

func TestLocked(t *testing.T) {
	directory := t.TempDir()
	s := open(t, directory)
	var err error
	synctest.Test(t, func(t *testing.T) { // its clock stands still but while Open sleeps
		began := time.Now()
		_, err = Open(Config{Directory: directory})
		if took := time.Since(began); took != lockTimeout {
			t.Errorf("it waited for %s, want %s", took, lockTimeout)
		}
	})
	wantRemedy(t, "locked", s.Path(), err)
	if !strings.Contains(err.Error(), "another process") {
		t.Errorf("the error does not say why: %v", err)
	}
	if _, err := s.Commit(t.Context(), store.Write{Key: "acme/a", Value: []byte("x")}); err != nil {
		t.Errorf("the store that is open does not go on: %v", err)
	}
}

// TestOpenedAtOnce has many open one new folder at the same moment: one gets the store, nobody
// sees a half made file.
func TestOpenedAtOnce(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "new")
	var all sync.WaitGroup
	opened := make(chan *Store, 8)
	for range 8 {
		all.Go(func() {
			s, err := Open(Config{Directory: directory})
			if err != nil {
				if !strings.Contains(err.Error(), "another process") {
					t.Errorf("opening: %v", err)
				}
				return
			}
			opened <- s
		})
	}
	all.Wait()
	close(opened)
	count := 0
	for s := range opened {
		count++
		s.Close()
	}
	if count != 1 {
		t.Errorf("%d have it open", count)
	}
}

func TestConflictLeavesOthersAlone(t *testing.T) {
	s := open(t, t.TempDir())
	// One transaction takes all three: the one in the middle conflicts.
	together := []*commit{
		{ctx: t.Context(), space: "acme", writes: []store.Write{{Key: "acme/a", Value: []byte("1")}}},
		{ctx: t.Context(), space: "acme", writes: []store.Write{{Key: "acme/b", Value: []byte("2")}, {Key: "acme/a", Value: []byte("2"), Expect: store.Absent()}}},
		{ctx: t.Context(), space: "acme", writes: []store.Write{{Key: "acme/a", Value: []byte("3"), Expect: store.At(1)}}},
		{ctx: t.Context(), space: "other", writes: []store.Write{{Key: "other/a", Value: []byte("4")}}},
	}
	if broken := s.write(together); broken != nil {
		t.Fatal(broken)
	}
	for i, want := range []struct {
		revision store.Revision
		err      error
	}{{1, nil}, {0, store.ErrConflict}, {2, nil}, {1, nil}} {
		if c := together[i]; c.revision != want.revision || !errors.Is(c.err, want.err) {
			t.Errorf("commit %d: revision %d, %v, want %d, %v", i, c.revision, c.err, want.revision, want.err)
		}
	}
	if r, err := s.Get(t.Context(), "acme/a"); err != nil || r.Version != 2 || !bytes.Equal(r.Value, []byte("3")) {
		t.Errorf("getting: %+v, %v", r, err)
	}
	if _, err := s.Get(t.Context(), "acme/b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the commit that conflicted was written: %v", err)
	}
}
