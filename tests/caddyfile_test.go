package tests

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// launchRepository runs the repository's own Caddyfile as its README says: `run` without any option,
// from the folder where it stands.
func launchRepository(t *testing.T, environment ...string) *process {
	t.Helper()
	source, err := os.ReadFile(filepath.Join("..", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{web: client, t: t, dir: t.TempDir(), logs: new(logBuffer), done: make(chan struct{})}
	if err := os.WriteFile(filepath.Join(p.dir, "Caddyfile"), source, 0o600); err != nil {
		t.Fatal(err)
	}
	site := freeAddress(t)
	p.url, p.admin = "http://"+site, freeAddress(t)
	p.cmd = exec.Command(binary, "run")
	p.cmd.Dir = p.dir
	p.cmd.Env = append(cleanEnvironment(), "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir,
		"CADDY_ADMIN="+p.admin, "GATEWAY_ADDRESS="+p.url)
	p.cmd.Env = append(p.cmd.Env, environment...)
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(p.stop)
	return p
}

func TestRepositoryCaddyfile(t *testing.T) {
	const key = "serverkey0000000000000000000000000000canary"
	upstream := newRecorder(t)
	upstream.says(func(r received) (int, string, string) {
		if r.method == http.MethodPost && r.header.Get("Authorization") == "" {
			return http.StatusUnauthorized, "application/json", `{"error":"no key"}`
		}
		return http.StatusOK, "application/json", `{"data":{"viewer":{"id":"VXNlcjox","username":"alice","entity":"alice","email":"alice@acme.test","admin":false,"teams":{"edges":[]}}}}`
	})
	p := launchRepository(t, "WANDB_UPSTREAM="+upstream.URL)
	p.awaitReady()

	if a := p.send(http.MethodGet, "/home", key, "", nil); a.status != http.StatusOK {
		t.Errorf("a key of the server was answered %d: %s", a.status, a.body)
	}
	var forwarded *received
	for _, r := range upstream.take() {
		if r.target == "/home" {
			forwarded = &r
		}
	}
	if forwarded == nil {
		t.Fatal("the request did not reach the server")
	}
	if got := forwarded.header.Get("X-Forwarded-User"); got != "alice" {
		t.Errorf("the server was told %q, not alice", got)
	}
	if _, password, _ := (&http.Request{Header: forwarded.header}).BasicAuth(); password != key {
		t.Error("the server did not get the caller's own key")
	}
}

// A server behind https must see its own name, or its virtual hosts and its certificate's do not
// match; X-Forwarded-Host keeps the name that the client used.
func TestRepositoryCaddyfileInFrontOfHTTPS(t *testing.T) {
	hosts := make(chan [2]string, 100)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			hosts <- [2]string{r.Host, r.Header.Get("X-Forwarded-Host")}
		}
	}))
	defer server.Close()
	roots := filepath.Join(t.TempDir(), "roots.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(roots, block, 0o600); err != nil {
		t.Fatal(err)
	}
	p := launchRepository(t, "WANDB_UPSTREAM="+server.URL, "SSL_CERT_FILE="+roots)
	p.awaitReady()
	if a := p.send(http.MethodGet, "/login", "", "", nil); a.status != http.StatusOK {
		t.Fatalf("the server's page was answered %d: %s", a.status, a.body)
	}
	want := [2]string{strings.TrimPrefix(server.URL, "https://"), strings.TrimPrefix(p.url, "http://")}
	if got := <-hosts; got != want {
		t.Errorf("Host and X-Forwarded-Host are %q, want %q", got, want)
	}
}

// Credentials must not be in the log, whichever header they came in: neither where a request was
// answered nor where the proxy failed.
func TestRepositoryCaddyfileLogsNoCredential(t *testing.T) {
	upstream := newRecorder(t)
	p := launchRepository(t, "WANDB_UPSTREAM="+upstream.URL)
	p.awaitReady()
	upstream.Close() // what passes from now on fails in the proxy, and is logged as an error

	headers := []http.Header{
		{"Authorization": {"Bearer canary-bearer"}},
		{"Cookie": {"session=canary-cookie"}},
		{"Wandb-Api-Key": {"canary-weave"}},
		{"X-Wandb-Gateway-Ticket": {"canary-ticket"}},
	}
	for _, h := range headers {
		for _, path := range []string{"/login", "/traces/otel/v1/traces", "/storage/x"} {
			for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut} {
				p.send(method, path, "", "", h)
			}
		}
	}
	p.send(http.MethodGet, "/login", "", "", http.Header{"Wandb-Api-Key": {"canary-weave"}, "X-Wandb-Gateway-Ticket": {"canary-ticket"}})
	p.await("the proxy's error in the log", 10*time.Second, func() bool {
		return strings.Contains(p.logs.String(), "http.log.error") && strings.Count(p.logs.String(), "handled request") > 0
	})
	p.stop()
	for line := range strings.Lines(p.logs.String()) {
		if strings.Contains(line, "canary-") {
			t.Errorf("a credential is in the log: %s", line)
		}
	}
}

func TestRepositoryCaddyfileNamesTheMissingVariable(t *testing.T) {
	p := launchRepository(t)
	if code := p.exit(15 * time.Second); code == 0 || !strings.Contains(p.logs.String(), "WANDB_UPSTREAM") {
		t.Errorf("exit code %d, printed:\n%s", code, p.logs)
	}
}
