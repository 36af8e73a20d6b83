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
	cmd   *exec.Cmd
	slow  bool // it was ended for saying nothing
}

// startNode installs a folder of the tests and runs a script of it, which ends with its standard input.
func startNode(t *testing.T, folder, script string, args ...string) *node {
	t.Helper()
	dir, home := installNode(t, folder, script), t.TempDir()
	// Once in some hundred starts on a crowded machine Node came to life and never got to its first line.
	for range 2 {
		n := launchNode(t, dir, home, append([]string{script}, args...))
		for line, ok := n.says(); ok; line, ok = n.says() {
			if n.ready, ok = strings.CutPrefix(line, "READY "); ok {
				return n
			}
		}
		n.cmd.Process.Kill()
		if !n.slow {
			t.Fatalf("%s did not start:\n%s", script, n.logs)
		}
		t.Logf("%s said nothing for %s:\n%s", script, nodeAnswer, n.logs)
	}
	t.Fatalf("%s did not start", script)
	return nil
}

func launchNode(t *testing.T, dir, home string, args []string) *node {
	t.Helper()
	n := &node{logs: new(logBuffer), cmd: exec.Command("node", args...)}
	n.cmd.Dir = dir
	n.cmd.Env = append(cleanEnvironment(), "HOME="+home, "MOZ_HEADLESS=1") // which is for Firefox
	n.cmd.Stderr = n.logs
	var err error
	if n.stdin, err = n.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	stdout, err := n.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		n.stdin.Close()
		ended := time.AfterFunc(20*time.Second, func() { n.cmd.Process.Kill() })
		n.cmd.Wait()
		ended.Stop()
		if t.Failed() {
			t.Logf("%s printed:\n%s", args[0], n.logs)
		}
	})
	n.lines = bufio.NewScanner(stdout)
	n.lines.Buffer(nil, 16<<20) // a picture of a page is one line
	return n
}

// nodeAnswer bounds how long a script takes to say something: far more than it needs on a busy machine.
const nodeAnswer = 2 * time.Minute

// says waits for the next line that the script prints. It ends a script that prints none, so that a test
// fails rather than to wait for ever.
func (n *node) says() (line string, ok bool) {
	late := time.AfterFunc(nodeAnswer, func() { n.cmd.Process.Kill() })
	ok = n.lines.Scan()
	n.slow = !late.Stop()
	return n.lines.Text(), ok
}
