package tests

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

func TestRestartKeepsEverything(t *testing.T) {
	upstream := newRecorder(t)
	first := start(t, config{upstream: upstream.host()})
	first.importFile(acme)
	key := first.mustIAM("key", "create", "--owner", "alice", "--name", "laptop")
	before := first.mustIAM("export")
	first.stop()

	second := start(t, config{upstream: upstream.host(), dir: first.dir})
	if after := second.mustIAM("export"); after != before {
		t.Errorf("after a restart:\n%s\nbefore:\n%s", after, before)
	}
	if a := second.stream("vision/team", key); a.status != 200 {
		t.Errorf("the key gets %d %s", a.status, a.body)
	}
	if strings.Contains(second.logs.String(), "made a new master key") {
		t.Error("a second master key was made")
	}
}

// TestKillLosesNothingAcknowledged: what a command said is done is there after kill -9.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	for round := range 3 {
		keys := make(chan string, 100)
		var workers sync.WaitGroup
		for w := range 4 {
			workers.Go(func() {
				for i := range 3 {
					key, err := p.iam("", "key", "create", "--owner", "alice", "--name", fmt.Sprintf("r%dw%dn%d", round, w, i))
					if err != nil {
						return // killed
					}
					keys <- strings.TrimSpace(key)
				}
			})
		}
		// Kill while some are acknowledged and others under way.
		acknowledged := []string{<-keys}
		p.cmd.Process.Signal(syscall.SIGKILL)
		<-p.done
		workers.Wait()
		close(keys)
		for key := range keys {
			acknowledged = append(acknowledged, key)
		}
		p = start(t, config{upstream: upstream.host(), dir: p.dir})
		for _, key := range acknowledged {
			if a := p.stream("vision/team", key); a.status != 200 {
				t.Errorf("round %d: an acknowledged key gets %d %s", round, a.status, a.body)
			}
		}
	}
}

// TestDamagedDataStopsTheStart: the gateway never opens on data it cannot trust, and never takes
// damage for an empty store.
func TestDamagedDataStopsTheStart(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	p.stop()
	file := filepath.Join(p.dir, "data", "gateway.db")
	whole, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	flipped := bytes.Clone(whole)
	at := bytes.Index(flipped, []byte(`"alice"`))
	if at < 0 {
		t.Fatal("no record of alice in the file")
	}
	flipped[at+1] ^= 1
	for name, damaged := range map[string][]byte{
		"empty":     {},
		"truncated": whole[:len(whole)/2],
		"foreign":   bytes.Repeat([]byte("not a store\n"), 4096),
		"one bit":   flipped,
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(file, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			broken := launch(t, config{upstream: "127.0.0.1:9", dir: p.dir})
			if code := broken.exit(15 * time.Second); code == 0 {
				t.Error("the exit code is 0")
			}
			logs := broken.logs.String()
			if !strings.Contains(logs, "gateway.db") || strings.Contains(logs, "panic") || strings.Contains(logs, "goroutine ") {
				t.Errorf("it printed:\n%s", logs)
			}
			if after, _ := os.ReadFile(file); !bytes.Equal(after, damaged) {
				t.Error("the file was changed")
			}
		})
	}
}

func TestWrongMasterKeyStopsTheStart(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	p.stop()
	file := filepath.Join(p.dir, "data", "master.key")
	if err := os.WriteFile(file, []byte("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := launch(t, config{upstream: "127.0.0.1:9", dir: p.dir})
	if code := other.exit(15 * time.Second); code == 0 || !strings.Contains(other.logs.String(), "master key") {
		t.Errorf("exit code %d, printed:\n%s", code, other.logs)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	lost := launch(t, config{upstream: "127.0.0.1:9", dir: p.dir})
	if code := lost.exit(15 * time.Second); code == 0 || !strings.Contains(lost.logs.String(), "master key") {
		t.Errorf("with the key lost: exit code %d, printed:\n%s", code, lost.logs)
	}
}

func TestLockedDataStopsTheStart(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	second := launch(t, config{upstream: "127.0.0.1:9", dir: p.dir})
	if code := second.exit(15 * time.Second); code == 0 || !strings.Contains(second.logs.String(), "gateway.db") {
		t.Errorf("exit code %d, printed:\n%s", code, second.logs)
	}
}

// TestBadConfigurationStopsTheStart: the message names the line and what to write.
func TestBadConfigurationStopsTheStart(t *testing.T) {
	for name, tt := range map[string]struct {
		config config
		says   []string
	}{
		"unknown option":             {config{global: "organisation acme"}, []string{"Caddyfile:10", "organisation"}},
		"unknown site option":        {config{site: "upstream_key x"}, []string{"Caddyfile:16", "upstream_key"}},
		"bad value":                  {config{global: "enforcement maybe"}, []string{"Caddyfile:10", "enforce", "shadow"}},
		"bad limit":                  {config{global: "failure_limit lots"}, []string{"Caddyfile:10", "300/m"}},
		"twice":                      {config{global: "directory local\n\t\tdirectory local"}, []string{"Caddyfile:11", "twice"}},
		"passthrough of local keys":  {config{site: "upstream_credential passthrough"}, []string{"directory wandb"}},
		"key without a value":        {config{site: "upstream_credential api_key {env.NO_SUCH_VARIABLE}"}, []string{"NO_SUCH_VARIABLE"}},
		"stale_limit out of bounds":  {config{global: "stale_limit 5m"}, []string{"Caddyfile:10", "stale_limit", "60s"}},
		"directory without a server": {config{global: "directory wandb"}, []string{"Caddyfile:10"}},
		"two master keys":            {config{global: "master_key AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\t\tmaster_key_file b"}, []string{"Caddyfile:11", "master_key_file"}},
	} {
		t.Run(name, func(t *testing.T) {
			tt.config.upstream = "127.0.0.1:9"
			p := launch(t, tt.config)
			if code := p.exit(15 * time.Second); code == 0 {
				t.Error("the exit code is 0")
			}
			for _, want := range tt.says {
				if !strings.Contains(p.logs.String(), want) {
					t.Errorf("does not say %q:\n%s", want, p.logs)
				}
			}
			if _, err := os.Stat(filepath.Join(p.dir, "data")); err == nil {
				t.Error("a data folder was made")
			}
		})
	}
}

// admin is a client for the admin endpoint.
var admin = &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

// load sends a configuration to the running process, as an operator's reload does.
func (p *process) load(c config) (status int, body string) {
	p.t.Helper()
	return p.loadFile(c.caddyfile(p.admin, p.site))
}

// loadFile loads a Caddyfile. It asks again when the connection is lost: each reload replaces the admin
// endpoint too, whose sockets are Caddy's.
func (p *process) loadFile(file string) (status int, body string) {
	p.t.Helper()
	var res *http.Response
	var err error
	for range 10 {
		req, _ := http.NewRequest("POST", "http://"+p.admin+"/load", strings.NewReader(file))
		req.Header.Set("Content-Type", "text/caddyfile")
		req.Header.Set("Cache-Control", "must-revalidate") // load it even if nothing changed
		if res, err = admin.Do(req); err == nil {
			break
		}
	}
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	b.ReadFrom(res.Body)
	return res.StatusCode, b.String()
}

// TestReloadUnderLoad reloads good and bad configurations while requests run: none is refused, and a
// bad configuration leaves the old one in place.
func TestReloadUnderLoad(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)

	var sent, refused atomic.Int64
	var firstRefusal atomic.Value
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				a, err := p.try("POST", "/files/vision/team/run1/file_stream", "{}", http.Header{"Authorization": {basic(aliceKey)}})
				sent.Add(1)
				if err != nil || a.status != 200 {
					refused.Add(1)
					firstRefusal.CompareAndSwap(nil, fmt.Sprintf("%d %s %v", a.status, a.body, err))
				}
			}
		})
	}
	for i := range 10 {
		good := config{upstream: upstream.host(), site: fmt.Sprintf("weave_prefix /traces%d", i)}
		if status, body := p.load(good); status != 200 {
			t.Errorf("reload %d: %d %s", i, status, body)
		}
		if status, _ := p.load(config{upstream: upstream.host(), site: "unplaced maybe"}); status == 200 {
			t.Error("a bad configuration was taken")
		}
	}
	otherStore := config{upstream: upstream.host()}
	file := strings.Replace(otherStore.caddyfile(p.admin, strings.TrimPrefix(p.url, "http://")), "store embedded ./data", "store embedded ./other", 1)
	res, err := admin.Post("http://"+p.admin+"/load", "text/caddyfile", strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	b.ReadFrom(res.Body)
	res.Body.Close()
	if res.StatusCode == 200 || !strings.Contains(b.String(), "restart") {
		t.Errorf("another store by reload: %d %s", res.StatusCode, &b)
	}
	close(stop)
	workers.Wait()
	if refused.Load() > 0 || sent.Load() == 0 {
		t.Errorf("%d of %d requests were refused, the first: %v", refused.Load(), sent.Load(), firstRefusal.Load())
	}
	if a := p.stream("vision/team", aliceKey); a.status != 200 {
		t.Errorf("afterwards: %d %s", a.status, a.body)
	}
	if out := p.mustIAM("user", "list"); !strings.Contains(out, "alice") {
		t.Errorf("the directory is gone: %s", out)
	}
}

func TestValidateOpensNothing(t *testing.T) {
	dir := t.TempDir()
	c := config{upstream: "127.0.0.1:9"}
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(c.caddyfile("localhost:0", "localhost:0")), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"validate", "adapt"} {
		out, err := runIn(dir, verb, "--config", file, "--adapter", "caddyfile")
		if err != nil {
			t.Errorf("%s: %v\n%s", verb, err, out)
		}
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the folder holds %v", entries)
	}
}

func TestHealth(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	for path, want := range map[string]int{
		"/wandb-gateway/healthz": 200, "/wandb-gateway/readyz": 200, "/wandb-gateway/other": 404, "/wandb-gateway/console/": 404,
	} {
		if a := p.send("GET", path, "", "", nil); a.status != want {
			t.Errorf("%s: %d, want %d", path, a.status, want)
		}
	}
	if got := upstream.take(); len(got) > 0 {
		t.Errorf("forwarded: %+v", got)
	}
}
