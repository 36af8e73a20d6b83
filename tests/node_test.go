//go:build e2e

package tests

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// installNode installs a folder of the tests with what its package-lock.json names.
func installNode(t *testing.T, folder string, files ...string) string {
	t.Helper()
	hash := sha256.New()
	contents := map[string][]byte{}
	for _, name := range append([]string{"package.json", "package-lock.json"}, files...) {
		b, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		contents[name] = b
		hash.Write(b)
	}
	return installed(t, folder+"-"+hex.EncodeToString(hash.Sum(nil)[:6]), func(dir string) error {
		for name, b := range contents {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				return err
			}
		}
		return command(dir, "npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts")
	})
}

// node is a running script of the tests that said READY.
type node struct {
	ready string // what it said behind that
	stdin io.WriteCloser
	lines *bufio.Scanner // what it says after that
	logs  *logBuffer
}

// startNode installs a folder of the tests and runs a script of it, which ends with its standard input.
func startNode(t *testing.T, folder, script string, args ...string) *node {
	t.Helper()
	n := &node{logs: new(logBuffer)}
	cmd := exec.Command("node", append([]string{script}, args...)...)
	cmd.Dir = installNode(t, folder, script)
	cmd.Env = append(cleanEnvironment(), "HOME="+t.TempDir(), "MOZ_HEADLESS=1") // which is for Firefox
	cmd.Stderr = n.logs
	var err error
	if n.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.stdin.Close()
		ended := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		cmd.Wait()
		ended.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", script, n.logs)
		}
	})
	n.lines = bufio.NewScanner(stdout)
	n.lines.Buffer(nil, 16<<20) // a picture of a page is one line
	var ok bool
	for n.lines.Scan() {
		if n.ready, ok = strings.CutPrefix(n.lines.Text(), "READY "); ok {
			return n
		}
	}
	cmd.Process.Kill()
	t.Fatalf("%s did not start:\n%s", script, n.logs)
	return nil
}
