// Package tests holds the black-box tests: the built binary, in front of a recorder or of the
// stand-in W&B server, is spoken to over the network as its users do. Tests that need more than Go
// stand behind the build tag e2e.
package tests

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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
)

// binary is the gateway under test, built once.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "wandb-gateway-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "wandb-gateway")
	args := []string{"build", "-o", binary}
	if raceEnabled {
		args = append(args, "-race")
		// A binary with the race detector waits a second before it ends, for threads that still run. There are hundreds of
		// commands; what it finds it prints at once.
		os.Setenv("GORACE", "atexit_sleep_ms=50 "+os.Getenv("GORACE"))
	}
	build := exec.Command("go", append(args, "github.com/wandb-gateway/wandb-gateway/cmd/wandb-gateway")...)
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the binary:", err)
		return 1
	}
	return m.Run()
}

// process is a running gateway.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	dir   string       // holds Caddyfile and data
	url   string       // of the site
	admin string       // address of the admin endpoint
	site  string       // where it listens, ip:port
	web   *http.Client // for the site
	logs  *logBuffer
	done  chan struct{}
	err   error
}

// logBuffer keeps what a process prints, for assertions and for failed tests.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// config is what a test writes into the Caddyfile. The site listens on plain http, unless it has a name.
type config struct {
	host     string   // the site's name: it speaks https, with a certificate of Caddy's own authority
	global   string   // inside the global block wandb_gateway
	store    string   // the option of that name; "" keeps an embedded one in ./data
	site     string   // inside the site's block wandb_gateway
	upstream string   // host:port behind the gateway
	caddy    string   // further global options
	handlers string   // further directives of the site
	env      []string // further variables, NAME=VALUE
	dir      string   // reuse the data of an earlier process
	listen   string   // listen where an earlier process did, ip:port
	binary   string   // run this one, not the gateway under test
}

// start runs a gateway and waits until it answers.
func start(t *testing.T, c config) *process {
	t.Helper()
	p := launch(t, c)
	p.awaitReady()
	return p
}

// launch runs a gateway without waiting.
func launch(t *testing.T, c config) *process {
	t.Helper()
	p := &process{web: client, t: t, dir: c.dir, logs: new(logBuffer), done: make(chan struct{})}
	if p.dir == "" {
		p.dir = t.TempDir()
	}
	if p.site = c.listen; p.site == "" {
		p.site = freeAddress(t)
	}
	p.admin = freeAddress(t)
	p.url, p.web = "http://"+p.site, client
	if c.host != "" {
		_, port, _ := net.SplitHostPort(p.site)
		p.url, p.web = "https://"+net.JoinHostPort(c.host, port), p.overTLS()
	}
	file := filepath.Join(p.dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(c.caddyfile(p.admin, p.site)), 0o600); err != nil {
		t.Fatal(err)
	}
	p.cmd = exec.Command(cmp.Or(c.binary, binary), "run", "--config", file, "--adapter", "caddyfile")
	p.cmd.Dir = p.dir
	p.cmd.Env = append(cleanEnvironment(), "HOME="+p.dir, "XDG_DATA_HOME="+p.dir, "XDG_CONFIG_HOME="+p.dir)
	p.cmd.Env = append(p.cmd.Env, c.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.logs, p.logs
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the gateway printed:\n%s", p.logs)
		}
	})
	return p
}

func (c config) caddyfile(admin, site string) string {
	address, https, secure := "http://"+site, "auto_https off", ""
	if c.host != "" {
		ip, port, _ := net.SplitHostPort(site)
		address, https, secure = "https://"+net.JoinHostPort(c.host, port), "auto_https disable_redirects\n\tskip_install_trust\n\tdefault_bind "+ip, "\n\ttls internal"
	}
	return fmt.Sprintf(`{
	admin %s
	%s
	persist_config off
	grace_period 2s
	%s
	wandb_gateway {
		organization acme
		store %s
		%s
	}
}
%s {
	log%s
	wandb_gateway {
		%s
	}
	%s
	reverse_proxy http://%s
}
`, admin, https, c.caddy, cmp.Or(c.store, "embedded ./data"), c.global, address, secure, c.site, c.handlers, c.upstream)
}

// cleanEnvironment is the environment without W&B's own variables, which would win over the file.
func cleanEnvironment() []string {
	var kept []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); !strings.HasPrefix(name, "WANDB") && !strings.HasPrefix(name, "GORILLA") && !strings.HasPrefix(name, "OIDC") && !strings.HasPrefix(name, "LOCAL_") && name != "SKIP_AUDIENCE_VALIDATION" && name != "SESSION_LENGTH" && name != "DISABLE_SSO_PROVISIONING" && name != "HOST" {
			kept = append(kept, v)
		}
	}
	return kept
}

// freeAddress finds a loopback port that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// awaitReady waits until the gateway says that it is ready.
func (p *process) awaitReady() {
	p.t.Helper()
	p.await("the gateway to be ready", 30*time.Second, func() bool {
		res, err := p.web.Get(p.url + "/wandb-gateway/readyz")
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
}

// await waits for a condition, and fails the test when the process ends or the time is up.
func (p *process) await(what string, within time.Duration, condition func() bool) {
	p.t.Helper()
	deadline := time.After(within)
	for !condition() {
		select {
		case <-p.done:
			p.t.Fatalf("waiting for %s, the gateway ended: %v\n%s", what, p.err, p.logs)
		case <-deadline:
			p.t.Fatalf("waiting for %s took longer than %s\n%s", what, within, p.logs)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the process as a service manager would.
func (p *process) stop() {
	select {
	case <-p.done:
		return
	default:
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(15 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

// exit waits for the process to end by itself and returns its exit code.
func (p *process) exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("the gateway still runs after %s\n%s", within, p.logs)
	}
	exit, ok := errors.AsType[*exec.ExitError](p.err)
	if !ok {
		return 0
	}
	return exit.ExitCode()
}

// iam runs an iam command against the process and returns what it prints.
func (p *process) iam(stdin string, args ...string) (stdout string, err error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, append(append([]string{"iam"}, args...), "--address", p.admin)...)
	cmd.Dir = p.dir
	cmd.Env = cleanEnvironment()
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("iam %s: %w\n%s", strings.Join(args, " "), err, &errs)
	}
	return out.String(), nil
}

// mustIAM is iam for commands that must succeed.
func (p *process) mustIAM(args ...string) string {
	p.t.Helper()
	out, err := p.iam("", args...)
	if err != nil {
		p.t.Fatal(err)
	}
	return strings.TrimSpace(out)
}

// importFile imports a directory.
func (p *process) importFile(contents string) {
	p.t.Helper()
	file := filepath.Join(p.dir, "import.json")
	if err := os.WriteFile(file, []byte(contents), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.mustIAM("import", file)
}

// answer is what a client received.
type answer struct {
	status int
	header http.Header
	body   string
}

// message is the text that a W&B client would show of a refusal.
func (a answer) message() string {
	var body struct{ Errors []struct{ Message string } }
	if json.Unmarshal([]byte(a.body), &body) != nil || len(body.Errors) == 0 {
		return ""
	}
	return body.Errors[0].Message
}

// reason is the reason code of a refusal.
func (a answer) reason() string {
	var body struct {
		Errors []struct{ Extensions struct{ Reason string } }
	}
	if json.Unmarshal([]byte(a.body), &body) != nil || len(body.Errors) == 0 {
		return ""
	}
	return body.Errors[0].Extensions.Reason
}

// client follows no redirect and reuses no cookie.
var client = &http.Client{
	Timeout:       20 * time.Second,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// overTLS is a client for a site that speaks https: it finds the site whatever its name, and trusts the
// authority that Caddy makes at its first start.
func (p *process) overTLS() *http.Client {
	return &http.Client{Timeout: client.Timeout, CheckRedirect: client.CheckRedirect, Transport: &http.Transport{
		DialTLSContext: func(ctx context.Context, network, asked string) (net.Conn, error) {
			root, err := os.ReadFile(p.rootFile())
			if err != nil {
				return nil, err
			}
			name, _, err := net.SplitHostPort(asked)
			if err != nil {
				return nil, err
			}
			roots := x509.NewCertPool()
			roots.AppendCertsFromPEM(root)
			dialer := tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: name}}
			return dialer.DialContext(ctx, network, p.site)
		},
	}}
}

// rootFile is where Caddy keeps the certificate of its own authority.
func (p *process) rootFile() string {
	return filepath.Join(p.dir, "caddy", "pki", "authorities", "local", "root.crt")
}

// send sends a request with an API key ("" for none).
func (p *process) send(method, path, key, body string, header http.Header) answer {
	p.t.Helper()
	if key != "" {
		h := http.Header{"Authorization": {basic(key)}}
		for name, values := range header {
			if name != "Authorization" {
				h[name] = values
			}
		}
		header = h
	}
	a, err := p.try(method, path, body, header)
	if err != nil {
		p.t.Fatal(err)
	}
	return a
}

// try is send for goroutines, and for requests that may end without an answer.
func (p *process) try(method, path, body string, header http.Header) (answer, error) {
	req, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	res, err := p.web.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header, string(b)}, err
}

// graphQL sends a GraphQL request as wandb-core does.
func (p *process) graphQL(key, query string, variables map[string]any, header http.Header) answer {
	p.t.Helper()
	body, err := json.Marshal(map[string]any{"query": query, "variables": variables, "operationName": ""})
	if err != nil {
		p.t.Fatal(err)
	}
	h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"wandb-core"}}
	for name, values := range header {
		h[name] = values
	}
	return p.send(http.MethodPost, "/graphql", key, string(body), h)
}

// runIn runs the binary in a folder and returns all it prints.
func runIn(dir string, args ...string) (string, error) { return runWith(dir, nil, args...) }

// runWith is runIn with further variables, NAME=VALUE.
func runWith(dir string, env []string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = dir
	cmd.Env = append(append(cleanEnvironment(), "HOME="+dir), env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// killAfter kills the gateway with -9 a moment after something was begun that says in the end whether it was
// acknowledged, or when it has said so. It reports what was said.
func (p *process) killAfter(moment time.Duration, acknowledged <-chan bool) (ok bool) {
	p.t.Helper()
	answered := false
	select {
	case ok = <-acknowledged:
		answered = true
	case <-time.After(moment):
	}
	p.cmd.Process.Signal(syscall.SIGKILL)
	<-p.done
	if !answered {
		ok = <-acknowledged
	}
	return ok
}
