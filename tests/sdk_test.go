//go:build e2e

package tests

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// sdkVersions are the clients that the gateway is proved with: before and after the change to
// wandb-core, and the newest (sdk-wire section 9).
var sdkVersions = []string{"0.19.11", "0.25.1", "0.31.0"}

// sdkSlots bounds how many clients run at a time: each is a Python process with a Go service.
var sdkSlots = make(chan struct{}, 2)

// sdkTimeout bounds one client process.
const sdkTimeout = 3 * time.Minute

// sdkInstall makes the virtual environment of a version once and returns its bin directory.
func sdkInstall(t *testing.T, version string) string {
	t.Helper()
	venv := installed(t, "wandb-"+version, func(venv string) error {
		if err := command(venv, "python3", "-m", "venv", venv); err != nil {
			return err
		}
		return command(venv, filepath.Join(venv, "bin", "pip"), "install", "--quiet", "--disable-pip-version-check", "wandb=="+version)
	})
	return filepath.Join(venv, "bin")
}

// lockFile keeps test processes that run at the same time from installing into each other.
func lockFile(t *testing.T, path string) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

// sdk is one user's machine: a version of the client, a home directory and an environment.
type sdk struct {
	version string
	bin     string
	home    string
	env     map[string]string
}

// newSDK returns a machine that points at base and offers the key.
func newSDK(t *testing.T, version, base, key string) *sdk {
	t.Helper()
	c := &sdk{version: version, bin: sdkInstall(t, version), home: t.TempDir(), env: map[string]string{"WANDB_BASE_URL": base}}
	if key != "" {
		c.env["WANDB_API_KEY"] = key
	}
	return c
}

// with adds variables to the environment.
func (c *sdk) with(pairs ...string) *sdk {
	for i := 0; i+1 < len(pairs); i += 2 {
		c.env[pairs[i]] = pairs[i+1]
	}
	return c
}

// outcome is how a client process ended: what the user read, and what the driver reports.
type outcome struct {
	code   int
	output string
	report struct {
		Steps   map[string]string `json:"steps"`
		Entity  string            `json:"entity"`
		Project string            `json:"project"`
		Run     string            `json:"run"`
		Lines   int               `json:"lines"`
		Runs    []string          `json:"runs"`
		Viewer  string            `json:"viewer"`
		Key     string            `json:"key"`
	}
}

// drive runs a driver of the folder sdk.
func (c *sdk) drive(t *testing.T, driver string) outcome {
	t.Helper()
	script, err := filepath.Abs(filepath.Join("sdk", driver))
	if err != nil {
		t.Fatal(err)
	}
	o := c.run(t, filepath.Join(c.bin, "python"), script)
	for line := range strings.Lines(o.output) {
		if text, ok := strings.CutPrefix(line, "REPORT "); ok {
			if err := json.Unmarshal([]byte(text), &o.report); err != nil {
				t.Fatalf("reading the driver's report: %v", err)
			}
			return o
		}
	}
	t.Fatalf("%s ended with %d and without a report:\n%s", driver, o.code, o.output)
	return o
}

// run starts a program on the machine.
func (c *sdk) run(t *testing.T, program string, args ...string) outcome {
	t.Helper()
	sdkSlots <- struct{}{}
	defer func() { <-sdkSlots }()
	ctx, cancel := context.WithTimeout(t.Context(), sdkTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.home
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.home, "TMPDIR=" + c.home, "NETRC=" + filepath.Join(c.home, ".netrc"),
		"WANDB_DIR=" + c.home, "WANDB_CACHE_DIR=" + filepath.Join(c.home, "cache"), "WANDB_CONFIG_DIR=" + filepath.Join(c.home, "config"),
		"WANDB_DATA_DIR=" + filepath.Join(c.home, "data"), "WANDB_ARTIFACT_DIR=" + filepath.Join(c.home, "artifacts"),
		// Without this the client also talks to a crash collector on the internet.
		"WANDB_ERROR_REPORTING=false", "WANDB_CONSOLE=off", "PYTHONDONTWRITEBYTECODE=1", "NO_PROXY=127.0.0.1", "NO_COLOR=1",
	}
	for name, value := range c.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		t.Fatalf("%s %v took longer than %s:\n%s", program, args, sdkTimeout, &out)
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if err != nil && !ok {
		t.Fatalf("starting %s: %v", program, err)
	}
	o := outcome{output: out.String()}
	if ok {
		o.code = exit.ExitCode()
	}
	return o
}

// wandb runs the client's command line.
func (c *sdk) wandb(t *testing.T, args ...string) outcome {
	t.Helper()
	return c.run(t, filepath.Join(c.bin, "python"), append([]string{"-m", "wandb"}, args...)...)
}

// readFile returns a file of the home directory.
func (c *sdk) readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(c.home, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// mustWork fails the test for every step of the driver that did not work, but goes on.
func (o outcome) mustWork(t *testing.T) {
	t.Helper()
	failed := o.code != 0
	for name, result := range o.report.Steps {
		if result != "ok" {
			t.Errorf("%s: %s", name, result)
			failed = true
		}
	}
	if failed {
		t.Fatalf("exit code %d, output:\n%s", o.code, o.output)
	}
}

// server is a stand-in W&B server on a port of its own.
type server struct {
	*standin.Server
	address string
}

func (s server) url() string { return "http://" + s.address }

func startStandin(t *testing.T, config standin.Config) server {
	t.Helper()
	s, err := standin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	var serving sync.WaitGroup
	serving.Go(func() { web.Serve(listener) })
	t.Cleanup(func() {
		web.Close()
		serving.Wait()
	})
	return server{s, listener.Addr().String()}
}

// about returns the requests that concern a run: its id is in the path or the body.
func (s server) about(run string) []standin.Request {
	return s.Requests(func(r standin.Request) bool {
		return strings.Contains(r.Path, run) || bytes.Contains(r.Body, []byte(run)) || strings.Contains(r.Target, run)
	})
}

// forEachSDK runs a test with every version of the client, two at a time.
func forEachSDK(t *testing.T, test func(t *testing.T, version string)) {
	for _, version := range sdkVersions {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			test(t, version)
		})
	}
}

// runID makes a run id that no other scenario has, nor has as a part.
func runID(version, scenario string) string {
	return fmt.Sprintf("of-%s-%s", strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(scenario), strings.ReplaceAll(version, ".", "-"))
}
