//go:build !windows

package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is how long a server may take for what it must do. Only a failing test waits this long.
const patience = 30 * time.Second

// Server is one process.
type Server struct {
	t testing.TB
	// Address is its host:port.
	Address string

	program   string
	arguments []string
	login     []string // of redis-cli
	process   *exec.Cmd
	output    *os.File
}

// Start runs a redis-server that writes an append-only file. Settings are those of redis.conf, such
// as "maxmemory 10mb"; a later one replaces an earlier one.
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	return start(t, "redis-server", FreePort(t), append([]string{"appendonly yes", "appendfsync everysec", "save \"\"", "repl-diskless-sync-delay 0"}, settings...))
}

func start(t testing.TB, program string, port int, settings []string) *Server {
	t.Helper()
	path, err := exec.LookPath(program)
	if err != nil {
		t.Fatalf("%s is missing: apt-get install redis-server redis-sentinel", program)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "server.conf")
	lines := append([]string{"bind 127.0.0.1", fmt.Sprintf("port %d", port), "dir " + dir, "daemonize no", "protected-mode no"}, settings...)
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &Server{t: t, Address: fmt.Sprintf("127.0.0.1:%d", port), program: path, arguments: []string{file}}
	for _, line := range settings {
		if name, value, _ := strings.Cut(line, " "); name == "requirepass" {
			s.Login(value)
		}
	}
	if s.output, err = os.Create(filepath.Join(dir, "output")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.Kill()
		s.output.Close()
	})
	s.Run()
	return s
}

// Login sets the password that Do and Try use.
func (s *Server) Login(password string) { s.login = []string{"-a", password, "--no-auth-warning"} }

// Run starts the process, again after Kill, and waits until it answers.
func (s *Server) Run() {
	s.t.Helper()
	s.Launch()
	s.Await("an answer", func() bool {
		answer, _ := s.Try("PING")
		return strings.Contains(answer, "PONG") || strings.Contains(answer, "NOAUTH") // of a user that is off
	})
}

// Launch starts the process without waiting, with further arguments.
func (s *Server) Launch(arguments ...string) {
	s.t.Helper()
	s.process = exec.Command(s.program, append(slices.Clone(s.arguments), arguments...)...)
	s.process.Stdout, s.process.Stderr = s.output, s.output
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
}

// Kill ends the process as kill -9 does.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	s.process.Process.Signal(syscall.SIGCONT)
	s.process.Process.Kill()
	s.process.Wait()
	s.process = nil
}

// Pause stops the process, which keeps its connections; Resume lets it go on.
func (s *Server) Pause() { s.process.Process.Signal(syscall.SIGSTOP) }

// Resume ends a Pause.
func (s *Server) Resume() { s.process.Process.Signal(syscall.SIGCONT) }

// Port is the port alone.
func (s *Server) Port() string { return s.Address[strings.LastIndexByte(s.Address, ':')+1:] }

// Try sends a command and returns what redis-cli prints.
func (s *Server) Try(command ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	arguments := append([]string{"-h", "127.0.0.1", "-p", s.Port()}, s.login...)
	out, err := exec.CommandContext(ctx, "redis-cli", append(arguments, command...)...).CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// Do is Try for commands that must succeed.
func (s *Server) Do(command ...string) string {
	s.t.Helper()
	out, err := s.Try(command...)
	if err != nil || strings.HasPrefix(out, "ERR") || strings.HasPrefix(out, "(error)") {
		s.t.Fatalf("%s answers %s: %s, %v", s.Address, command, out, err)
	}
	return out
}

// Await waits for a condition, and fails the test when it does not come.
func (s *Server) Await(what string, condition func() bool) {
	s.t.Helper()
	for late := time.Now().Add(patience); !condition(); {
		if time.Now().After(late) {
			printed, _ := os.ReadFile(s.output.Name())
			s.t.Fatalf("waiting for %s of %s took too long; it printed:\n%s", what, s.Address, printed)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// nextPort is where to look for a free port: below those that the system gives to connections.
var nextPort atomic.Int32

// FreePort finds a loopback port that is free and, as a Cluster needs, the one 10000 above it.
func FreePort(t testing.TB) int {
	t.Helper()
	nextPort.CompareAndSwap(0, int32(10_000+os.Getpid()%10_000))
	for range 5000 {
		port := int(nextPort.Add(1))
		if port >= 22_000 {
			nextPort.Store(10_000)
			continue
		}
		if free(port) && free(port+10_000) {
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func free(port int) bool {
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return false
	}
	l.Close()
	return true
}
