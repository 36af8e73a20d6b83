package main

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestReadHead(t *testing.T) {
	for _, c := range []struct {
		name, text string
		want       response
		err        string
	}{
		{"usual", "HTTP/1.1 200 OK\r\nServer: Caddy\r\nContent-Length: 17\r\n\r\nbody", response{200, 17}, ""},
		{"no body", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", response{404, 0}, ""},
		{"no reason", "HTTP/1.1 503\r\nContent-Length: 0\r\n\r\n", response{503, 0}, ""},
		{"chunked", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", response{200, -1}, "without Content-Length"},
		{"another protocol", "SSH-2.0-OpenSSH\r\n", response{0, -1}, "no HTTP/1.1 answer"},
		{"status in letters", "HTTP/1.1 abc\r\n", response{0, -1}, "invalid syntax"},
		{"length in letters", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n", response{200, 0}, "invalid syntax"},
		{"cut short", "HTTP/1.1 200 OK\r\n", response{200, -1}, "EOF"},
		{"a line without end", strings.Repeat("x", 20<<10), response{0, -1}, "buffer full"},
	} {
		got, err := readHead(bufio.NewReaderSize(strings.NewReader(c.text), 16<<10))
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, %v; want %+v, %q", c.name, got, err, c.want, c.err)
		}
	}
}

// serve returns clients of a server that counts on its handler for everything.
func serve(t *testing.T, handler http.HandlerFunc) *clients {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	w := workload{requests: [][]byte{getFile(someone)}, want: response{200, 2}}
	c, err := newClients(t.Context(), server.Listener.Addr().(*net.TCPAddr).String(), 4, w)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.close)
	return c
}

func TestLoopsSeeAnswers(t *testing.T) {
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok")) })
	for name, o := range map[string]outcome{
		"closed": c.closedLoop(50 * time.Millisecond),
		"open":   c.openLoop(50*time.Millisecond, 400),
	} {
		if o.failures > 0 || len(o.latencies) == 0 || o.latencies[0] <= 0 {
			t.Errorf("%s loop: %d answers, %d failures, %v", name, len(o.latencies), o.failures, o.failure)
		}
	}
	if o := c.openLoop(100*time.Millisecond, 400); len(o.latencies) != 40 {
		t.Errorf("the open loop sent %d requests in 0.1 s at 400 a second, want 40", len(o.latencies))
	}
}

func TestLoopsCountFailures(t *testing.T) {
	refused := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) })
	if o := refused.closedLoop(20 * time.Millisecond); o.failures == 0 || len(o.latencies) != 0 || !strings.Contains(o.failure.Error(), "status 403") {
		t.Errorf("refusals: %d answers, %d failures, %v", len(o.latencies), o.failures, o.failure)
	}
	short := serve(t, func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("k")) })
	if o := short.openLoop(20*time.Millisecond, 400); o.failures != 8 || len(o.latencies) != 0 {
		t.Errorf("answers of another length: %d answers, %d failures, %v", len(o.latencies), o.failures, o.failure)
	}
	hangsUp := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	if o := hangsUp.closedLoop(20 * time.Millisecond); o.failures != 4 || len(o.latencies) != 0 {
		t.Errorf("a server that hangs up: %d answers, %d failures, %v", len(o.latencies), o.failures, o.failure)
	}
}
