package tests

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

const (
	sharedMasterKey = "WANDB_GATEWAY_MASTER_KEY=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
	otherMasterKey  = "WANDB_GATEWAY_MASTER_KEY=AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="
)

// TestSharedStore: what one gateway records, another that shares its store knows at once, and a third
// with another key or none does not start.
func TestSharedStore(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireUserAuth("gateway", "store-canary")
	c := config{
		upstream: newRecorder(t).host(), env: []string{sharedMasterKey},
		store: "redis redis://" + server.Addr() + "/0 {\n\t\t\tusername gateway\n\t\t\tpassword store-canary\n\t\t\tprefix acme:\n\t\t}",
	}
	// Both begin at the same moment, with an empty store.
	a, b := launch(t, c), launch(t, c)
	a.awaitReady()
	b.awaitReady()
	a.importFile(acme)
	if got := b.stream("vision/team", aliceKey); got.status != http.StatusOK {
		t.Errorf("a key that the other gateway imported gets %d %s", got.status, got.body)
	}
	key := b.mustIAM("key", "create", "--owner", "alice", "--name", "laptop")
	if got := a.stream("vision/team", key); got.status != http.StatusOK {
		t.Errorf("a key that the other gateway made gets %d %s", got.status, got.body)
	}
	a.mustIAM("user", "set", "alice", "--active=false")
	b.await("the deactivation", 10*time.Second, func() bool { return b.stream("vision/team", key).status == http.StatusUnauthorized })
	if out := b.mustIAM("doctor"); !strings.Contains(out, "redis "+server.Addr()) {
		t.Errorf("doctor prints %q", out)
	}

	t.Run("restart", func(t *testing.T) {
		before := a.mustIAM("export")
		c := c
		c.dir = a.dir
		a.stop()
		again := start(t, c)
		if after := again.mustIAM("export"); after != before {
			t.Errorf("after a restart:\n%s\nbefore:\n%s", after, before)
		}
	})
	t.Run("another store by reload", func(t *testing.T) {
		for name, store := range map[string]string{
			"another server": "redis redis://127.0.0.1:1", "a file": "embedded ./data",
			"another prefix": strings.Replace(c.store, "acme:", "other:", 1),
		} {
			other := c
			other.store = store
			if status, body := b.load(other); status == http.StatusOK || !strings.Contains(body, "restart") || strings.Contains(body, "canary") {
				t.Errorf("%s: %d %s", name, status, body)
			}
		}
		if status, body := b.load(c); status != http.StatusOK {
			t.Errorf("the same: %d %s", status, body)
		}
		if got := b.stream("speech/x", bobKey); got.status != http.StatusOK {
			t.Errorf("afterwards a key gets %d %s", got.status, got.body)
		}
	})
	for name, bad := range map[string]struct {
		env  []string
		says []string
	}{
		"without a master key":    {nil, []string{"master key", "WANDB_GATEWAY_MASTER_KEY"}},
		"with another master key": {[]string{otherMasterKey}, []string{"master key is not the one"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := c
			c.env = bad.env
			p := launch(t, c)
			if code := p.exit(15 * time.Second); code == 0 {
				t.Error("the exit code is 0")
			}
			for _, want := range bad.says {
				if !strings.Contains(p.logs.String(), want) {
					t.Errorf("does not say %q:\n%s", want, p.logs)
				}
			}
		})
	}
	if strings.Contains(a.logs.String()+b.logs.String(), "canary") {
		t.Error("a log shows the password")
	}
}

// TestUnreachableStoreStopsTheStart: within 10 seconds, with the address and without the password.
func TestUnreachableStoreStopsTheStart(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireAuth("right")
	silent := newSilentListener(t)
	for name, url := range map[string]struct{ url, says string }{
		"nobody listens":    {"redis://:store-canary@127.0.0.1:1", "127.0.0.1:1"},
		"nobody answers":    {"redis://:store-canary@" + silent, silent},
		"no such host":      {"redis://:store-canary@redis.invalid", "redis.invalid:6379"},
		"wrong password":    {"redis://:store-canary@" + server.Addr(), "does not let this gateway in"},
		"no password":       {"redis://" + server.Addr(), "does not let this gateway in"},
		"no Sentinel":       {"redis+sentinel://:store-canary@127.0.0.1:1/main", "127.0.0.1:1"},
		"no Cluster":        {"redis+cluster://:store-canary@127.0.0.1:1,127.0.0.1:2", "127.0.0.1:1,127.0.0.1:2"},
		"TLS where is none": {"rediss://:store-canary@" + server.Addr(), server.Addr()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := launch(t, config{upstream: "127.0.0.1:9", env: []string{sharedMasterKey}, store: "redis " + url.url})
			if code := p.exit(30 * time.Second); code == 0 {
				t.Error("the exit code is 0")
			}
			if logs := p.logs.String(); !strings.Contains(logs, url.says) || strings.Contains(logs, "canary") || strings.Contains(logs, "goroutine ") {
				t.Errorf("it printed:\n%s", logs)
			}
		})
	}
}

// newSilentListener takes connections and never answers.
func newSilentListener(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}
