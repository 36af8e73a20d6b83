package tests

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// oneConn is a client that sends no request twice and hides nothing: what a connection loses is an
// error. It opens a new connection when it has none, or when the last answer said that it ends.
type oneConn struct {
	address string
	conn    net.Conn
	reader  *bufio.Reader
}

func (c *oneConn) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// send sends one request and returns the status of its answer.
func (c *oneConn) send(head, body string) (int, error) {
	if c.conn == nil {
		conn, err := net.DialTimeout("tcp", c.address, 10*time.Second)
		if err != nil {
			return 0, fmt.Errorf("connecting: %w", err)
		}
		c.conn, c.reader = conn, bufio.NewReader(conn)
	}
	c.conn.SetDeadline(time.Now().Add(20 * time.Second))
	request := fmt.Sprintf("%s\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", head, c.address, len(body), body)
	if _, err := io.WriteString(c.conn, request); err != nil {
		c.close()
		return 0, fmt.Errorf("writing: %w", err)
	}
	res, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		c.close()
		return 0, fmt.Errorf("reading: %w", err)
	}
	_, err = io.Copy(io.Discard, res.Body)
	res.Body.Close()
	if res.Close || err != nil {
		c.close()
	}
	return res.StatusCode, err
}

// traffic is what many clients did at once.
type traffic struct {
	sent, failed atomic.Int64
	first        atomic.Value
	stop         chan struct{}
	clients      sync.WaitGroup
}

func newTraffic() *traffic { return &traffic{stop: make(chan struct{})} }

func (f *traffic) note(status int, err error) {
	f.sent.Add(1)
	if err != nil || status != http.StatusOK {
		f.failed.Add(1)
		f.first.CompareAndSwap(nil, fmt.Sprintf("%d %v", status, err))
	}
}

// run starts a client that calls do until the traffic ends.
func (f *traffic) run(do func() (int, error)) {
	f.clients.Go(func() {
		for {
			select {
			case <-f.stop:
				return
			default:
			}
			f.note(do())
		}
	})
}

// end stops all clients and says what failed.
func (f *traffic) end(t *testing.T, what string) {
	t.Helper()
	close(f.stop)
	f.clients.Wait()
	if f.failed.Load() > 0 || f.sent.Load() == 0 {
		t.Errorf("%s: %d of %d requests failed, the first: %v", what, f.failed.Load(), f.sent.Load(), f.first.Load())
	} else {
		t.Logf("%s: %d requests, none failed", what, f.sent.Load())
	}
}

// TestReloadFailsNoRequest: while good and bad configurations are loaded, every request is answered, on
// new connections, on busy ones and on those that rest between requests. Nothing is sent twice.
func TestReloadFailsNoRequest(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	address := strings.TrimPrefix(p.url, "http://")
	head := "POST /files/vision/team/run1/file_stream HTTP/1.1\r\nAuthorization: " + basic(aliceKey)

	fresh, busy, resting := newTraffic(), newTraffic(), newTraffic()
	for range 4 {
		c := &oneConn{address: address}
		fresh.run(func() (int, error) {
			defer c.close()
			return c.send(head, "{}")
		})
	}
	for range 2 {
		c := &oneConn{address: address}
		busy.run(func() (int, error) { return c.send(head, "{}") })
	}
	for range 32 {
		c := &oneConn{address: address}
		resting.run(func() (int, error) {
			select {
			case <-time.After(rand.N(100 * time.Millisecond)):
			case <-resting.stop:
			}
			return c.send(head, "{}")
		})
	}
	for i := range 50 {
		if status, body := p.load(config{upstream: upstream.host(), site: fmt.Sprintf("weave_prefix /traces%d", i)}); status != 200 {
			t.Errorf("reload %d: %d %s", i, status, body)
		}
		if status, _ := p.load(config{upstream: upstream.host(), site: "unplaced maybe"}); status == 200 {
			t.Error("a bad configuration was taken")
		}
	}
	fresh.end(t, "new connections")
	busy.end(t, "busy connections")
	resting.end(t, "resting connections")
}
