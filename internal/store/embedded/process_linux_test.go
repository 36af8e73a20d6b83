package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// The tests of this file run the test binary again as a process of its own: what it does stands in
// these variables.
const (
	roleVariable   = "EMBEDDED_TEST_ROLE"
	folderVariable = "EMBEDDED_TEST_FOLDER"
)

func TestMain(m *testing.M) {
	folder := os.Getenv(folderVariable)
	var err error
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "commit until killed":
		err = commitUntilKilled(folder)
	case "fill the disk":
		err = fillTheDisk(folder)
	default:
		err = fmt.Errorf("no role %q", role)
	}
	if err != nil {
		fmt.Println("failed:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func child(ctx context.Context, t *testing.T, role, folder string) *exec.Cmd {
	t.Helper()
	binary, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(ctx, binary)
	c.Env = append(os.Environ(), roleVariable+"="+role, folderVariable+"="+folder)
	c.Stderr = os.Stderr
	return c
}

// writers is how many goroutines of the child commit at the same time.
const writers = 4

// commitUntilKilled commits numbers, a pair of records in each commit, and prints every number
// once it is acknowledged.
func commitUntilKilled(folder string) error {
	s, err := Open(Config{Directory: folder})
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range writers {
		go func() {
			for n := 1; ; n++ {
				value := fmt.Sprintf("%d %s", n, strings.Repeat("v", rand.IntN(3000)))
				_, err := s.Commit(context.Background(),
					store.Write{Key: fmt.Sprintf("acme/%d/left/%d", w, n%50), Value: []byte(value)},
					store.Write{Key: fmt.Sprintf("acme/%d/right/%d", w, n%50), Value: []byte(value)},
					store.Write{Key: fmt.Sprintf("acme/%d/last", w), Value: fmt.Append(nil, n)})
				if err != nil {
					failed <- err
					return
				}
				fmt.Printf("%d %d\n", w, n)
			}
		}()
	}
	return <-failed
}

// TestKilled kills a committing process at random moments (threats D09): what it acknowledged is
// there, no commit is there by half, and the file opens without any help.
func TestKilled(t *testing.T) {
	folder := t.TempDir()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	kills, commits := 0, 0
	for end := time.Now().Add(4 * time.Second); time.Now().Before(end); kills++ {
		acknowledged := killAfter(t, folder, time.Duration(random.IntN(120))*time.Millisecond)
		s := open(t, folder)
		for w, n := range acknowledged {
			commits += n
			verifyWriter(t, s, w, n)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if t.Failed() {
			return
		}
		if err := os.Remove(filepath.Join(folder, FileName)); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d kills, %d acknowledged commits", kills, commits)
	if kills < 5 || commits == 0 {
		t.Errorf("%d kills and %d commits prove nothing", kills, commits)
	}
}

// killAfter lets a child commit for a while after its first acknowledgement, kills it, and returns
// the last number that each of its writers acknowledged.
func killAfter(t *testing.T, folder string, after time.Duration) (acknowledged [writers]int) {
	t.Helper()
	c := child(t.Context(), t, "commit until killed", folder)
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	var kill *time.Timer
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if kill == nil {
			kill = time.AfterFunc(after, func() { c.Process.Kill() })
		}
		var w, n int
		if _, err := fmt.Sscanf(lines.Text(), "%d %d", &w, &n); err != nil {
			t.Errorf("the child says %q", lines.Text())
			continue
		}
		acknowledged[w] = n
	}
	c.Wait() // it was killed, which is its error
	return acknowledged
}

func verifyWriter(t *testing.T, s *Store, w, acknowledged int) {
	t.Helper()
	last := 0
	if r, err := s.Get(t.Context(), fmt.Sprintf("acme/%d/last", w)); err == nil {
		fmt.Sscan(string(r.Value), &last)
	} else if acknowledged > 0 {
		t.Errorf("writer %d: commit %d was acknowledged and is lost: %v", w, acknowledged, err)
		return
	}
	if last < acknowledged {
		t.Errorf("writer %d: commit %d was acknowledged, the last one there is %d", w, acknowledged, last)
	}
	for n := max(1, last-49); n <= last; n++ {
		left, err := s.Get(t.Context(), fmt.Sprintf("acme/%d/left/%d", w, n%50))
		right, err2 := s.Get(t.Context(), fmt.Sprintf("acme/%d/right/%d", w, n%50))
		if err != nil || err2 != nil || string(left.Value) != string(right.Value) || left.Version != right.Version {
			t.Errorf("writer %d: commit %d is there by half: %.10q, %v, %.10q, %v", w, n, left.Value, err, right.Value, err2)
		}
		if !strings.HasPrefix(string(left.Value), fmt.Sprint(n, " ")) {
			t.Errorf("writer %d: in the place of commit %d is %.10q", w, n, left.Value)
		}
	}
}

// fillTheDisk commits under a limit on the size of files, which fails writes in the midst of a
// file as a full disk does, and goes on when the limit is lifted.
func fillTheDisk(folder string) error {
	signal.Ignore(syscall.SIGXFSZ)
	s, err := Open(Config{Directory: folder})
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := range 60 {
		if _, err := s.Commit(ctx, store.Write{Key: fmt.Sprintf("acme/%d", i), Value: make([]byte, 20_000)}); err != nil {
			return err
		}
	}
	for _, limit := range []uint64{1_000_000, 300_000, 30_000, 5_000} {
		if err := limitFiles(limit); err != nil {
			return err
		}
		failures := 0
		for i := range 200 {
			_, err := s.Commit(ctx, store.Write{Key: fmt.Sprintf("acme/more/%d", i), Value: make([]byte, 20_000)})
			switch {
			case err == nil:
			case !errors.Is(err, syscall.EFBIG):
				return fmt.Errorf("committing to a full disk: %w", err)
			default:
				failures++
			}
			if _, err := s.Get(ctx, "acme/7"); err != nil {
				return fmt.Errorf("reading from a full disk: %w", err)
			}
		}
		if failures == 0 {
			return fmt.Errorf("below %d bytes everything was written", limit)
		}
		if err := limitFiles(1 << 40); err != nil {
			return err
		}
		if _, err := s.Commit(ctx, store.Write{Key: "acme/after", Value: fmt.Append(nil, limit)}); err != nil {
			return fmt.Errorf("after there is room again: %w", err)
		}
	}
	if err := limitFiles(5_000); err != nil { // and end full
		return err
	}
	s.Commit(ctx, store.Write{Key: "acme/after", Value: []byte("lost")})
	return s.Close()
}

func limitFiles(bytes uint64) error {
	return syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: 1 << 40})
}

// TestDiskFull: writes fail with an error, reads go on, the file stays sound (threats D08).
func TestDiskFull(t *testing.T) {
	folder := t.TempDir()
	if out, err := child(t.Context(), t, "fill the disk", folder).Output(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	s := open(t, folder)
	if r, err := s.Get(t.Context(), "acme/after"); err != nil || string(r.Value) != "5000" {
		t.Errorf("the last acknowledged value is %q, %v", r.Value, err)
	}
	for i := range 60 {
		if r, err := s.Get(t.Context(), fmt.Sprintf("acme/%d", i)); err != nil || len(r.Value) != 20_000 {
			t.Errorf("record %d: %d bytes, %v", i, len(r.Value), err)
		}
	}
}
