// Package redistest runs real Redis servers, Sentinels and Clusters for tests, on loopback and in
// temporary folders. It needs Debian's packages redis-server and redis-sentinel, and fails the test
// without them.
package redistest

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands between a client and a server, and can be cut like a cable.
type Proxy struct {
	// Address is where clients connect.
	Address string

	target   string
	listener net.Listener

	mu    sync.Mutex
	state proxyState
	delay time.Duration
	wake  chan struct{} // closed when state or delay changes
	open  map[net.Conn]struct{}
}

type proxyState uint8

const (
	forwarding proxyState = iota
	refusing              // connections are reset, and new ones too
	stalled               // connections stay, and nothing comes through
)

// NewProxy begins to forward to a server.
func NewProxy(t testing.TB, target string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Address: l.Addr().String(), target: target, listener: l, wake: make(chan struct{}), open: make(map[net.Conn]struct{})}
	go p.accept()
	t.Cleanup(func() {
		l.Close()
		p.Cut()
	})
	return p
}

// Cut resets all connections, and those that are tried from now on.
func (p *Proxy) Cut() { p.set(refusing, 0) }

// Stall lets nothing through any more; nobody is told.
func (p *Proxy) Stall() { p.set(stalled, 0) }

// Slow holds everything up for so long.
func (p *Proxy) Slow(delay time.Duration) { p.set(forwarding, delay) }

// Heal forwards again.
func (p *Proxy) Heal() { p.set(forwarding, 0) }

func (p *Proxy) set(state proxyState, delay time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.state, p.delay = state, delay
	close(p.wake)
	p.wake = make(chan struct{})
	if state == refusing {
		for c := range p.open {
			reset(c)
		}
	}
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.serve(client)
	}
}

func (p *Proxy) serve(client net.Conn) {
	if !p.hold(client) {
		reset(client)
		return
	}
	defer p.drop(client)
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		return
	}
	if !p.hold(server) {
		reset(server)
		return
	}
	defer p.drop(server)
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			p.copy(way[1], way[0])
			done <- struct{}{}
		}()
	}
	<-done
}

// hold keeps a connection for Cut; it reports false while connections are refused.
func (p *Proxy) hold(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.open[c] = struct{}{}
	return p.state != refusing
}

func (p *Proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *Proxy) copy(to io.Writer, from io.Reader) {
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			p.wait()
			if _, err := to.Write(buffer[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// wait returns when something may come through.
func (p *Proxy) wait() {
	for {
		p.mu.Lock()
		state, delay, wake := p.state, p.delay, p.wake
		p.mu.Unlock()
		if state != stalled {
			if delay > 0 {
				select {
				case <-time.After(delay):
				case <-wake:
				}
			}
			return
		}
		<-wake
	}
}
