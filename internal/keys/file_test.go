package keys

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestLoadOrCreateMasterKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "master.key")
	k, created, err := LoadOrCreateMasterKey(path)
	if err != nil || !created || k.IsZero() {
		t.Fatalf("created %t, %v", created, err)
	}
	content, err := os.ReadFile(path)
	if err != nil || string(content) != k.Text().Reveal()+"\n" {
		t.Errorf("the file has %d bytes, %v", len(content), err)
	}
	for p, want := range map[string]fs.FileMode{path: 0o600, filepath.Dir(path): 0o700} {
		if info, err := os.Stat(p); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s has mode %v, want %v", p, info.Mode().Perm(), want)
		}
	}
	again, created, err := LoadOrCreateMasterKey(path)
	if err != nil || created || !again.Equal(k) {
		t.Errorf("the second time: created %t, same %t, %v", created, again.Equal(k), err)
	}
	if loaded, err := LoadMasterKey(path); err != nil || !loaded.Equal(k) {
		t.Errorf("loading: same %t, %v", loaded.Equal(k), err)
	}
	if names, _ := filepath.Glob(filepath.Join(filepath.Dir(path), "*")); len(names) != 1 {
		t.Errorf("creating left %q", names)
	}
}

// TestCreatedAtOnce: everybody who starts at the same moment ends up with the same key.
func TestCreatedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "master.key")
	var all sync.WaitGroup
	var mu sync.Mutex
	seen, created := make(map[string]bool), 0
	for range 16 {
		all.Go(func() {
			k, first, err := LoadOrCreateMasterKey(path)
			if err != nil {
				t.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			seen[k.Text().Reveal()] = true
			if first {
				created++
			}
		})
	}
	all.Wait()
	if len(seen) != 1 || created != 1 {
		t.Errorf("%d keys, created %d times", len(seen), created)
	}
}

func TestRefusedKeyFiles(t *testing.T) {
	write := func(content string, mode fs.FileMode) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(path, mode); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, test := range []struct {
		name string
		make func(*testing.T, string)
		want string
	}{
		{"empty", write("", 0o600), "restore it from a backup"},
		{"damaged", write(sampleText[:30], 0o600), "restore it from a backup"},
		{"text", write("hunter2\n", 0o600), "restore it from a backup"},
		{"long", write(strings.Repeat(sampleText, 1000), 0o600), "too long"},
		{"readable by the group", write(sampleText, 0o640), "chmod 600"},
		{"readable by all", write(sampleText, 0o644), "chmod 600"},
		{"writable by others", write(sampleText, 0o602), "chmod 600"},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "no regular file"},
		{"a dangling link", func(t *testing.T, path string) {
			if err := os.Symlink(filepath.Join(t.TempDir(), "nothing"), path); err != nil {
				t.Fatal(err)
			}
		}, "cannot be opened"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "master.key")
			test.make(t, path)
			before, _ := os.ReadFile(path)
			_, created, err := LoadOrCreateMasterKey(path)
			if err == nil || created {
				t.Fatalf("created %t, %v", created, err)
			}
			if !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) {
				t.Errorf("the error %q does not name %s and say %q", err, path, test.want)
			}
			if strings.Contains(err.Error(), sampleText[:20]) || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the error tells the key: %v", err)
			}
			if after, _ := os.ReadFile(path); string(after) != string(before) {
				t.Error("the file was changed")
			}
		})
	}
	t.Run("absent", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "master.key")
		if _, err := LoadMasterKey(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%v", err)
		}
		if _, err := os.Stat(path); err == nil {
			t.Error("loading created the file")
		}
	})
	t.Run("0400 will do", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "master.key")
		write(sampleText+"\n", 0o400)(t, path)
		if k, err := LoadMasterKey(path); err != nil || !k.Equal(sample(t)) {
			t.Errorf("%v", err)
		}
	})
}
