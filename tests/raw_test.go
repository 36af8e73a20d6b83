package tests

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// rawUpstream is an upstream that keeps the exact bytes of every request. It understands no more of
// HTTP than where a request ends, so that nothing is lost in a parser that agrees with the gateway's.
type rawUpstream struct {
	listener net.Listener

	mu       sync.Mutex
	arrived  int // bytes, of anything
	requests []rawRequest
	response string
}

// rawRequest is one request as it came: its head up to the empty line, and what came after.
type rawRequest struct {
	head string
	body string // as on the wire: with chunk sizes and trailers, if it has them
}

// okResponse is what a rawUpstream answers unless a test tells it otherwise.
const (
	hangUp     = "\n" // what it answers when a test tells it to close the connection instead
	okResponse = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 11\r\n\r\n{\"data\":{}}"
)

func newRawUpstream(t *testing.T) *rawUpstream {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	u := &rawUpstream{listener: l, response: okResponse}
	go u.serve()
	return u
}

func (u *rawUpstream) host() string { return u.listener.Addr().String() }

func (u *rawUpstream) serve() {
	for {
		c, err := u.listener.Accept()
		if err != nil {
			return
		}
		go u.converse(c)
	}
}

func (u *rawUpstream) converse(c net.Conn) {
	defer c.Close()
	r := bufio.NewReader(io.TeeReader(c, counter{u}))
	for {
		request, err := readRaw(r)
		if err != nil {
			return
		}
		u.mu.Lock()
		u.requests = append(u.requests, request)
		response := u.response
		u.mu.Unlock()
		if _, upgrade := request.line("Upgrade"); upgrade {
			response = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
		}
		if _, err := io.WriteString(c, response); err != nil || response == hangUp {
			return
		}
	}
}

// counter counts what arrives, whether or not it is a request.
type counter struct{ u *rawUpstream }

func (c counter) Write(p []byte) (int, error) {
	c.u.mu.Lock()
	defer c.u.mu.Unlock()
	c.u.arrived += len(p)
	return len(p), nil
}

// readRaw reads one request.
func readRaw(r *bufio.Reader) (rawRequest, error) {
	var q rawRequest
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return q, err
		}
		q.head += line
		if line == "\r\n" {
			break
		}
	}
	var body bytes.Buffer
	if encoding, ok := q.line("Transfer-Encoding"); ok && encoding == "chunked" {
		for last := false; ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return q, err
			}
			body.WriteString(line)
			if last && line == "\r\n" {
				break
			}
			if size, err := strconv.ParseInt(strings.TrimSpace(line), 16, 64); err == nil && !last {
				if last = size == 0; !last {
					if _, err := io.CopyN(&body, r, size+2); err != nil {
						return q, err
					}
				}
			}
		}
	} else if length, ok := q.line("Content-Length"); ok {
		n, err := strconv.ParseInt(length, 10, 64)
		if err != nil {
			return q, err
		}
		if _, err := io.CopyN(&body, r, n); err != nil {
			return q, err
		}
	}
	q.body = body.String()
	return q, nil
}

// line returns the value of the first line whose name is exactly that.
func (q rawRequest) line(name string) (string, bool) {
	for line := range strings.SplitSeq(q.head, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && n == name {
			return strings.TrimSpace(v), true
		}
	}
	return "", false
}

// lines returns all lines whose name a server that follows CGI would merge with this one.
func (q rawRequest) lines(name string) (found []string) {
	fold := strings.NewReplacer("_", "-", ".", "-")
	for line := range strings.SplitSeq(q.head+q.body, "\r\n") {
		if n, _, ok := strings.Cut(line, ":"); ok && strings.EqualFold(fold.Replace(strings.TrimSpace(n)), name) {
			found = append(found, line)
		}
	}
	return found
}

// target is the request's method and target.
func (q rawRequest) target() string {
	line, _, _ := strings.Cut(q.head, "\r\n")
	return strings.TrimSuffix(line, " HTTP/1.1")
}

// take returns the requests since the last call, and how many bytes came with them.
func (u *rawUpstream) take() (requests []rawRequest, bytes int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	requests, bytes = slices.Clone(u.requests), u.arrived
	u.requests, u.arrived = nil, 0
	return requests, bytes
}

// says makes the upstream answer these bytes from now on; "" makes it answer as at first.
func (u *rawUpstream) says(response string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.response = response; response == "" {
		u.response = okResponse
	}
}

// saysJSON makes it answer one JSON text.
func (u *rawUpstream) saysJSON(body string) {
	u.says(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// attacked is a gateway in front of a rawUpstream, for cases that share it.
type attacked struct {
	*process
	upstream *rawUpstream
}

// startAttacked runs a gateway with the hostile directory, at log level debug and with HTTP/2 over
// clear text.
func startAttacked(t *testing.T, c config) attacked {
	t.Helper()
	u := newRawUpstream(t)
	c.upstream = u.host()
	if c.caddy == "" {
		c.caddy = "servers {\n\t\tprotocols h1 h2c\n\t}"
	}
	c.caddy = "debug\n\t" + c.caddy
	a := attacked{start(t, c), u}
	a.importFile(hostile)
	return a
}

// hostile is the directory of the attacks. Mallory is in team hostile and wants what is vision's;
// victor is in vision but not invited to what is restricted.
const hostile = `{
	"organization": "acme",
	"users": [
		{"username": "root", "email": "root@acme.test", "role": "admin"},
		{"username": "alice", "email": "alice@acme.test", "name": "Alice"},
		{"username": "victor", "email": "victor@acme.test"},
		{"username": "mallory", "email": "mallory@acme.test"}
	],
	"teams": [
		{"name": "vision", "members": [{"user": "alice", "role": "admin"}, {"user": "victor", "role": "member"}]},
		{"name": "hostile", "members": [{"user": "mallory", "role": "admin"}]}
	],
	"projects": [
		{"entity": "vision", "name": "open", "visibility": "open"},
		{"entity": "vision", "name": "public", "visibility": "public"},
		{"entity": "vision", "name": "team", "visibility": "team"},
		{"entity": "vision", "name": "same", "visibility": "team"},
		{"entity": "vision", "name": "restricted", "visibility": "restricted", "owner": "alice"},
		{"entity": "hostile", "name": "own", "visibility": "team"},
		{"entity": "hostile", "name": "same", "visibility": "team"}
	],
	"service_accounts": [
		{"name": "ci-vision", "team": "vision"},
		{"name": "ci-hostile", "team": "hostile"},
		{"name": "org-bot", "default_team": "vision"}
	],
	"api_keys": [
		{"owner": "root", "name": "k", "key": "local-000000000000000000000000000000000000root"},
		{"owner": "alice", "name": "k", "key": "local-00000000000000000000000000000000000alice"},
		{"owner": "victor", "name": "k", "key": "local-0000000000000000000000000000000000victor"},
		{"owner": "mallory", "name": "k", "key": "local-000000000000000000000000000000000mallory"},
		{"owner": "service_account:ci-vision", "name": "k", "key": "local-0000000000000000000000000000000000vision"},
		{"owner": "service_account:ci-hostile", "name": "k", "key": "local-000000000000000000000000000000000hostile"},
		{"owner": "service_account:org-bot", "name": "k", "key": "local-000000000000000000000000000000000org-bot"}
	]
}`

// Keys that hostile imports. aliceKey stands beside acme.
const (
	rootKey      = "local-000000000000000000000000000000000000root"
	victorKey    = "local-0000000000000000000000000000000000victor"
	malloryKey   = "local-000000000000000000000000000000000mallory"
	ciVisionKey  = "local-0000000000000000000000000000000000vision"
	ciHostileKey = "local-000000000000000000000000000000000hostile"
	orgBotKey    = "local-000000000000000000000000000000000org-bot"
)

// rawAnswer is the first answer on a connection. closed says that nothing can follow on it.
type rawAnswer struct {
	answer
	closed bool
}

// raw writes bytes on a connection of their own and reads one answer. It fails the test when there
// is none in time; status 0 stands for a connection that was closed without one.
func (a attacked) raw(t *testing.T, request string) rawAnswer {
	t.Helper()
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(a.url, "http://"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(2 * time.Minute))
	go io.WriteString(c, request) // the answer may come before all is written
	return readAnswer(t, bufio.NewReader(c), request)
}

func readAnswer(t *testing.T, r *bufio.Reader, request string) rawAnswer {
	t.Helper()
	method, _, _ := strings.Cut(request, " ")
	res, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			t.Fatalf("no answer to %.200q", request)
		}
		return rawAnswer{closed: true}
	}
	defer res.Body.Close()
	var body []byte
	if res.StatusCode != http.StatusSwitchingProtocols {
		body, _ = io.ReadAll(res.Body)
	}
	return rawAnswer{answer{res.StatusCode, res.Header, string(body)}, res.Close}
}

// refuses asserts the whole of a refusal: its status and reason, that the upstream got not one byte,
// and that the process lives on. An empty reason stands for refusals of Caddy's own.
func (a attacked) refuses(t *testing.T, got answer, status int, reason string) {
	t.Helper()
	if got.status != status || got.reason() != reason {
		t.Errorf("answered %d %q, want %d %q: %.300s", got.status, got.reason(), status, reason, got.body)
	}
	a.untouched(t)
	if cookie := got.header.Get("Set-Cookie"); cookie != "" {
		t.Errorf("a refusal sets a cookie: %s", cookie)
	}
}

// untouched asserts that the upstream got nothing and that the process lives on.
func (a attacked) untouched(t *testing.T) {
	t.Helper()
	if requests, n := a.upstream.take(); n != 0 {
		t.Errorf("the upstream got %d bytes: %q", n, requests)
	}
	a.healthy(t)
}

func (a attacked) healthy(t *testing.T) {
	t.Helper()
	if got := a.send("GET", "/wandb-gateway/healthz", "", "", nil); got.status != http.StatusOK {
		t.Errorf("healthz answers %d", got.status)
	}
}

// passed asserts that exactly one request reached the upstream and returns it.
func (a attacked) passed(t *testing.T, got answer) rawRequest {
	t.Helper()
	requests, _ := a.upstream.take()
	if len(requests) != 1 {
		t.Fatalf("the upstream got %d requests, want 1; the client %d %.300s", len(requests), got.status, got.body)
	}
	return requests[0]
}

// basic is the value of Authorization for a key.
func basic(key string) string {
	req := http.Request{Header: http.Header{}}
	req.SetBasicAuth("api", key)
	return req.Header.Get("Authorization")
}
