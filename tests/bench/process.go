package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// process is a child on one core, whose output is kept in a file for when it fails.
type process struct {
	name    string
	core    int
	command []string
	cmd     *exec.Cmd
	output  string
	ended   chan struct{}
}

// start runs a command pinned to a core; the child counts that core alone when it sizes itself. home
// is its working directory and all it knows of a home.
func start(ctx context.Context, name, home string, core int, command ...string) (*process, error) {
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	p := &process{name: name, core: core, command: command, output: filepath.Join(home, "output"), ended: make(chan struct{})}
	output, err := os.Create(p.output)
	if err != nil {
		return nil, err
	}
	defer output.Close()
	// taskset becomes the command, so that the process id is the command's.
	p.cmd = exec.CommandContext(ctx, "taskset", append([]string{"-c", strconv.Itoa(core)}, command...)...)
	p.cmd.Dir = home
	p.cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME="+home, "XDG_CONFIG_HOME="+home)
	p.cmd.Stdout, p.cmd.Stderr = output, output
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = stopTimeout
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait() // how it ended matters only before stop, and then its output tells
		close(p.ended)
	}()
	return p, nil
}

// again runs the command of a process that has ended, in the same place.
func (p *process) again(ctx context.Context) (*process, error) {
	return start(ctx, p.name, filepath.Dir(p.output), p.core, p.command...)
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// stopTimeout is how long a child may take to end before it is killed.
const stopTimeout = 5 * time.Second

// stop ends the process and waits for it.
func (p *process) stop() {
	p.cmd.Cancel()
	select {
	case <-p.ended:
	case <-time.After(stopTimeout):
		p.cmd.Process.Kill()
		<-p.ended
	}
}

// startTimeout bounds how long a child may take until it listens.
const startTimeout = 30 * time.Second

// listening waits until the process accepts connections.
func (p *process) listening(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := net.DialTimeout("tcp", address, time.Second)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.ended:
			return p.failed(errors.New("it ended"))
		case <-ctx.Done():
			return p.failed(err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// failed adds the end of the process's output to an error.
func (p *process) failed(err error) error {
	text, _ := os.ReadFile(p.output)
	return fmt.Errorf("%s: %w; its output ends with:\n%s", p.name, err, text[max(0, len(text)-2000):])
}

// pinSelf moves this process, whose part is the load, to a core.
func pinSelf(core int) error {
	out, err := exec.Command("taskset", "-a", "-p", "-c", strconv.Itoa(core), strconv.Itoa(os.Getpid())).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset (util-linux): %w: %s", err, out)
	}
	return nil
}

// freeAddress finds an address on loopback that nothing listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// buildGateway builds the binary that is measured.
func buildGateway(ctx context.Context, folder string, progress io.Writer) (string, error) {
	binary := filepath.Join(folder, "wandb-gateway")
	build := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/wandb-gateway/wandb-gateway/cmd/wandb-gateway")
	build.Stdout, build.Stderr = progress, progress
	if err := build.Run(); err != nil {
		return "", fmt.Errorf("building the gateway: %w", err)
	}
	return binary, nil
}
