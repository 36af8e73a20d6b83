package tests

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestBackupAndRestore is what docs/operations.md says: a backup while keys are made, restored by putting
// the file and the master key where the store is. All keys that were printed before it began work.
func TestBackupAndRestore(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	var mu sync.Mutex
	var printed []string
	stop := make(chan struct{})
	var makers sync.WaitGroup
	for m := range 3 {
		makers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				key, err := p.iam("", "key", "create", "--owner", "alice", "--name", fmt.Sprintf("m%dn%d", m, i))
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				printed = append(printed, strings.TrimSpace(key))
				mu.Unlock()
			}
		})
	}
	await(t, "some keys to be made", 10*time.Second, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(printed) >= 6
	})
	mu.Lock()
	before := append([]string(nil), printed...)
	mu.Unlock()
	backup := filepath.Join(p.dir, "backup.db")
	p.mustIAM("backup", backup)
	close(stop)
	makers.Wait()
	if info, err := os.Stat(backup); err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the backup: %v, %v", info, err)
	}
	if _, err := p.iam("", "backup", backup); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("over an older backup: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(p.dir, "*.part-*")); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
	p.stop()

	restored := t.TempDir()
	data := filepath.Join(restored, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{backup: "gateway.db", filepath.Join(p.dir, "data", "master.key"): "master.key"} {
		b, err := os.ReadFile(from)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(data, to), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	again := start(t, config{upstream: upstream.host(), dir: restored})
	for _, key := range before {
		if a := again.stream("vision/team", key); a.status != 200 {
			t.Errorf("a key that was printed before the backup gets %d %s", a.status, a.body)
		}
	}
	if a := again.stream("vision/team", aliceKey); a.status != 200 {
		t.Errorf("an imported key gets %d", a.status)
	}
}
