//go:build e2e

package tests

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// The keys that the stand-in knows by itself, in tests where it is the record.
const (
	aliceServerKey = "a11ce0000000000000000000000000000000a11c"
	rootServerKey  = "0ad0000000000000000000000000000000000ad0"
	botServerKey   = "b0700000000000000000000000000000000000b0"
)

func recordConfig() standin.Config {
	return standin.Config{
		Users: []standin.User{
			{Username: "alice", Email: "alice@acme.test", Keys: []string{aliceServerKey}, Password: "secret"},
			{Username: "root", Email: "root@acme.test", Keys: []string{rootServerKey}, Admin: true},
		},
		Teams: []standin.Team{{
			Name: "vision", Members: []standin.Member{{User: "alice", Role: "admin"}},
			ServiceAccounts: []standin.ServiceAccount{{Name: "bot", Keys: []string{botServerKey}}},
		}},
	}
}

// Without a gateway, so that a failure with one is the gateway's.
func TestSDKAgainstStandin(t *testing.T) {
	t.Parallel()
	forEachSDK(t, func(t *testing.T, version string) {
		upstream := startStandin(t, recordConfig())
		t.Run("lifecycle", func(t *testing.T) {
			t.Parallel()
			testLifecycle(t, version, upstream.url(), aliceServerKey)
		})
		t.Run("administration", func(t *testing.T) {
			t.Parallel()
			newSDK(t, version, upstream.url(), rootServerKey).
				with("DRIVER_TEAM", "made", "DRIVER_EMAIL", "carol@acme.test").
				drive(t, "administer.py").mustWork(t)
		})
		t.Run("offline and sync", func(t *testing.T) {
			t.Parallel()
			testOfflineAndSync(t, version, upstream.url(), aliceServerKey)
		})
		t.Run("login", func(t *testing.T) {
			t.Parallel()
			testLogin(t, version, upstream.url(), aliceServerKey)
		})
		t.Run("unknown key", func(t *testing.T) {
			t.Parallel()
			o := newSDK(t, version, upstream.url(), strings.Repeat("f", 40)).with("DRIVER_PROJECT", "p").drive(t, "log_run.py")
			if o.code == 0 || !strings.Contains(o.output, "not known to this server") {
				t.Errorf("exit code %d, output:\n%s", o.code, o.output)
			}
		})
	})
}

// testLifecycle does a day's work in a project of the team vision.
func testLifecycle(t *testing.T, version, base, key string, env ...string) {
	t.Helper()
	newSDK(t, version, base, key).with(env...).
		with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "day-"+version, "DRIVER_USER", "alice", "DRIVER_RUN", runID(version, "day")).
		drive(t, "lifecycle.py").mustWork(t)
}

func testOfflineAndSync(t *testing.T, version, base, key string) {
	t.Helper()
	c := newSDK(t, version, base, key).with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "offline-"+version)
	made := c.drive(t, "offline.py")
	made.mustWork(t)
	runs, err := filepath.Glob(filepath.Join(c.home, "wandb", "offline-run-*"))
	if err != nil || len(runs) != 1 {
		t.Fatalf("offline runs: %v %v", runs, err)
	}
	if o := c.wandb(t, "sync", runs[0]); o.code != 0 {
		t.Fatalf("wandb sync: exit code %d\n%s", o.code, o.output)
	}
	read := c.with("DRIVER_PATH", "vision/offline-"+version).drive(t, "read_runs.py")
	read.mustWork(t)
	if len(read.report.Runs) != 1 || read.report.Runs[0] != made.report.Run {
		t.Errorf("after the sync the project holds %v, want %s", read.report.Runs, made.report.Run)
	}
}

// netrcEntry is what `wandb login` leaves behind, with the login name that makes Basic credentials
// arrive as user:<key> (sdk-wire 1.2).
var netrcEntry = regexp.MustCompile(`(?s)machine \S+\s+login user\s+password (\S+)`)

func testLogin(t *testing.T, version, base, key string) {
	t.Helper()
	c := newSDK(t, version, base, "")
	o := c.wandb(t, "login", "--relogin", "--verify", "--host", base, key)
	if o.code != 0 {
		t.Fatalf("wandb login: exit code %d\n%s", o.code, o.output)
	}
	netrc := c.readFile(t, ".netrc")
	if m := netrcEntry.FindStringSubmatch(netrc); m == nil || m[1] != key {
		t.Errorf("after the login .netrc holds %q", netrc)
	}
	other := newSDK(t, version, base, "")
	if o := other.wandb(t, "login", "--relogin", "--verify", "--host", base, strings.Repeat("f", 40)); o.code == 0 {
		t.Errorf("wandb login with an unknown key worked:\n%s", o.output)
	}
}
