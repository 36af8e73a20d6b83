package tests

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// entry is one line of the log.
type entry struct {
	Msg     string
	UserID  string `json:"user_id"`
	Request struct {
		Method, URI string
		Headers     map[string][]string
	}
	fields map[string]any
}

// entries returns the lines of the log with this message, waiting until there are so many.
func (p *process) entries(message string, n int) []entry {
	p.t.Helper()
	var found []entry
	p.await(fmt.Sprintf("%d lines %q", n, message), 10*time.Second, func() bool {
		found = nil
		for line := range strings.Lines(p.logs.String()) {
			var e entry
			if json.Unmarshal([]byte(line), &e) != nil || e.Msg != message {
				continue
			}
			if err := json.Unmarshal([]byte(line), &e.fields); err != nil {
				p.t.Fatal(err)
			}
			found = append(found, e)
		}
		return len(found) >= n
	})
	return found
}

// changes waits until the log holds n lines of changes that people made, commands and imports apart, and returns
// them.
func (p *process) changes(n int) (found []entry) {
	p.t.Helper()
	p.await(fmt.Sprintf("%d changes", n), 30*time.Second, func() bool {
		found = slices.DeleteFunc(p.entries("directory changed", 0), func(e entry) bool { return e.fields["reason"] == "admin_endpoint" })
		return len(found) >= n
	})
	return found
}

// holdsNoCanary asserts that the log holds none of the credentials, neither as they are nor in HTTP
// Basic.
func (p *process) holdsNoCanary(canaries ...string) {
	p.t.Helper()
	log := p.logs.String()
	for _, canary := range canaries {
		for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte("api:" + canary))} {
			for line := range strings.Lines(log) {
				if strings.Contains(line, form) {
					p.t.Errorf("a credential is in the log: %s", line)
				}
			}
		}
	}
}

// TestLogsHoldNoCredential: the site has Caddy's bare `log` and nothing else, as most have.
func TestLogsHoldNoCredential(t *testing.T) {
	const ticket = "canary-ticket"
	requests := []struct {
		method, path string
		header       http.Header
	}{
		{"GET", "/page", http.Header{"Authorization": {basic(aliceKey)}}},
		{"POST", "/traces/otel/v1/traces", http.Header{"Wandb-Api-Key": {aliceKey}}},
		{"POST", "/traces/otel/v1/traces", http.Header{"wandb-api-key": {aliceKey, malloryKey}}},
		{"GET", "/elsewhere", http.Header{"Wandb-Api-Key": {aliceKey}}},
		{"GET", "/wandb-gateway/healthz", http.Header{"Wandb-Api-Key": {aliceKey}}},
		{"TRACE", "/page", http.Header{"Wandb-Api-Key": {aliceKey}}},
		{"PUT", "/storage/x", http.Header{"X-Wandb-Gateway-Ticket": {ticket}}},
		{"PUT", "/storage/x?wandb-gateway-ticket=" + ticket, nil},
		{"GET", "/storage/x?sig=1&wandb-gateway-ticket=" + ticket, nil},
		{"GET", "/storage/x?wandb-gateway-ticket=" + ticket + "&wandb-gateway-ticket=" + ticket, nil},
		{"HEAD", "/storage/x?wandb-gateway-ticket=" + ticket, http.Header{"Cookie": {"wandb=" + ticket}}},
	}
	for _, c := range []struct{ name, handlers string }{
		{"bare", ""},
		{"with errors of its own", "handle_errors {\n\t\trespond {err.status_code}\n\t}"},
		{"with handlers around", "encode\n\theader X-Around 1\n\turi strip_prefix /nothing\n\tlog_append caller {http.auth.user.username}"},
	} {
		t.Run(c.name, func(t *testing.T) {
			upstream := newRecorder(t)
			p := start(t, config{upstream: upstream.host(), handlers: c.handlers})
			p.importFile(acme)
			before := len(p.entries("handled request", 1))
			send := func() {
				for _, r := range requests {
					p.send(r.method, r.path, "", "", r.header)
				}
			}
			send()
			upstream.Close() // from here on the proxy fails, and its errors are logged
			send()
			handled := p.entries("handled request", before+2*len(requests))[before:]
			if len(handled) != 2*len(requests) {
				t.Errorf("%d requests left %d lines in the access log", 2*len(requests), len(handled))
			}
			for i, e := range handled {
				want := requests[i%len(requests)]
				if path, _, _ := strings.Cut(e.Request.URI, "?"); e.Request.Method != want.method || !strings.HasPrefix(want.path, path) {
					t.Errorf("line %d is of %s %s, want %s %s", i, e.Request.Method, e.Request.URI, want.method, want.path)
				}
				for name := range want.header {
					if got := e.Request.Headers[http.CanonicalHeaderKey(name)]; len(got) != 1 || got[0] != "REDACTED" {
						t.Errorf("%s %s: the log says %s: %q", want.method, want.path, name, got)
					}
				}
			}
			p.stop()
			p.holdsNoCanary(aliceKey, malloryKey, ticket)
		})
	}
}

// An operator who asks Caddy for credentials in its logs gets these, too.
func TestLogCredentials(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host(), caddy: "servers {\n\t\tlog_credentials\n\t}"})
	p.send("GET", "/page", "", "", http.Header{"Wandb-Api-Key": {"canary"}})
	p.await("the credential in the log", 10*time.Second, func() bool { return strings.Contains(p.logs.String(), `["canary"]`) })
}

// TestProxyLogsNoKey: a proxy that loses the server in the middle of an answer logs what it sent. The
// key of Weave's exporters goes on to the server as HTTP Basic, which Caddy hides.
func TestProxyLogsNoKey(t *testing.T) {
	const key = "serverkey0000000000000000000000000000canary"
	sent := make(chan http.Header, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/graphql" {
			w.Header().Set("Content-Type", "application/json")
			io.WriteString(w, `{"data":{"viewer":{"id":"VXNlcjox","username":"alice","entity":"alice","email":"alice@acme.test","admin":false,"teams":{"edges":[]}}}}`)
			return
		}
		sent <- r.Header
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	p := start(t, config{upstream: host, global: "directory wandb " + server.URL})
	req, err := http.NewRequest("GET", p.url+"/traces/server_info", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Wandb-Api-Key"] = []string{key}
	res, err := client.Do(req)
	if err == nil {
		io.Copy(io.Discard, res.Body) // breaks off
		res.Body.Close()
	}
	select {
	case h := <-sent:
		if _, password, _ := (&http.Request{Header: h}).BasicAuth(); password != key || h["Wandb-Api-Key"] != nil {
			t.Errorf("the server got %v", h)
		}
	case <-time.After(10 * time.Second):
		t.Fatalf("nothing reached the server:\n%s", p.logs)
	}
	p.entries("aborting with incomplete response", 1)
	p.stop()
	p.holdsNoCanary(key)
}

// TestAccessLogNamesTheCaller: Caddy's own user_id, and the placeholders for further fields.
func TestAccessLogNamesTheCaller(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host(), handlers: "log_append kind {http.auth.user.kind}\n\tlog_append username {http.auth.user.username}\n\tlog_append email {http.auth.user.email}\n\tlog_append organization {http.auth.user.organization}"})
	p.importFile(acme)
	ci := p.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "k")
	before := len(p.entries("handled request", 1))
	p.send("GET", "/files/vision/team/run1/x", aliceKey, "", nil)
	p.send("GET", "/files/vision/team/run1/x", ci, "", nil)
	p.send("GET", "/files/vision/team/run1/x", bobKey, "", nil) // refused, and named all the same
	p.send("POST", "/traces/call/read", "", `{"project_id":"vision/team","id":"c1"}`, http.Header{"Content-Type": {"application/json"}, "Wandb-Api-Key": {aliceKey}})
	p.send("GET", "/files/vision/team/run1/x", "", "", nil)
	got := p.entries("handled request", before+5)[before:]
	for i, want := range [][4]any{
		{"user", "alice", "alice@acme.test", "acme"},
		{"service_account", "ci-vision", "", "acme"},
		{"user", "bob", "bob@acme.test", "acme"},
		{"user", "alice", "alice@acme.test", "acme"},
		{nil, nil, nil, nil},
	} {
		f := got[i].fields
		if who := [4]any{f["kind"], f["username"], f["email"], f["organization"]}; who != want {
			t.Errorf("line %d names %q, want %q", i, who, want)
		}
		if anonymous := want[0] == nil; (got[i].UserID == "") != anonymous {
			t.Errorf("line %d has the user_id %q", i, got[i].UserID)
		}
	}
	if got[0].UserID != got[3].UserID || got[0].UserID == got[1].UserID {
		t.Errorf("user_id is %q, %q, %q", got[0].UserID, got[1].UserID, got[3].UserID)
	}
}

// TestVariablesWin: W&B's own variables win over the file, and the log says so.
func TestVariablesWin(t *testing.T) {
	page := func(env ...string) (*process, int) {
		p := start(t, config{upstream: newRecorder(t).host(), global: "anonymous_public_projects off", env: env})
		p.importFile(acme)
		return p, p.send("GET", "/files/vision/public/run1/x", "", "", nil).status
	}
	if _, status := page(); status == http.StatusOK {
		t.Error("the file does not count")
	}
	p, status := page("GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS=true", "GORILLA_DISABLE_PERSONAL_ENTITY=")
	if status != http.StatusOK {
		t.Errorf("the variable does not win: answered %d", status)
	}
	lines := p.entries("setting comes from the environment", 1)
	if len(lines) != 1 || lines[0].fields["variable"] != "GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS" || lines[0].fields["value"] != true {
		t.Errorf("the log says %v", lines)
	}
}

// TestShadow: everything passes, and the log says what would not have.
func TestShadow(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host(), global: "enforcement shadow"})
	p.importFile(acme)
	if a := p.stream("vision/restricted", bobKey); a.status != http.StatusOK {
		t.Errorf("answered %d: %s", a.status, a.body)
	}
	if a := p.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("answered %d: %s", a.status, a.body)
	}
	if n := len(upstream.take()); n != 2 {
		t.Errorf("%d requests reached the upstream, want 2", n)
	}
	lines := p.entries("would be refused", 1)
	if len(lines) != 1 {
		t.Fatalf("the log says %v", lines)
	}
	for name, want := range map[string]any{"username": "bob", "entity": "vision", "project": "restricted", "shadow": true, "path": "/files/vision/restricted/run1/file_stream"} {
		if got := lines[0].fields[name]; got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if reason, _ := lines[0].fields["reason"].(string); reason == "" {
		t.Errorf("the log names no reason: %v", lines[0].fields)
	}
	if out := p.mustIAM("doctor"); !strings.Contains(out, "shadow: nothing is refused") {
		t.Errorf("iam doctor says %s", out)
	}
}

// TestReloadOfCacheSize: the cache outlives a reload, and the log says that its size does, too.
func TestReloadOfCacheSize(t *testing.T) {
	c := config{upstream: newRecorder(t).host(), global: "cache_size 64MiB"}
	p := start(t, c)
	if status, body := p.load(c); status != http.StatusOK {
		t.Fatalf("reload answered %d: %s", status, body)
	}
	const warning = "cache_size and stale_limit change at the next start, not by a reload"
	if strings.Contains(p.logs.String(), warning) {
		t.Error("a reload that changes nothing warns")
	}
	c.global = "cache_size 1GiB"
	if status, body := p.load(c); status != http.StatusOK {
		t.Fatalf("reload answered %d: %s", status, body)
	}
	if lines := p.entries(warning, 1); lines[0].fields["cache_size"] != "64MiB" {
		t.Errorf("the log says %v", lines[0].fields)
	}
}
