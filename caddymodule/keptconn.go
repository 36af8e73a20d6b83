package caddymodule

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// keptConn is a connection that can move from one configuration to the next while it waits for a
// request: HTTP/1 over plain TCP keeps nothing from one request to the next. All that is asked of
// http.Server is what it says of the connection's state (noteState), and that it reads no further once
// Read says that the connection ended. Connections of TLS, HTTP/2 and other protocols between the two
// are never told of, and stay where they are.
type keptConn struct {
	*net.TCPConn
	listener *keptListener

	mu    sync.Mutex
	state connState
	// ahead is what came before the server asked for it.
	ahead []byte
	// early is the first byte of the next request, when the server has it while it still answers.
	early   []byte
	reading bool
	moved   bool // another configuration has the connection; nothing here may touch it
}

// connState is what the server does with a connection, as far as moving it is concerned.
type connState uint8

const (
	connFixed   connState = iota // not known, or not to be moved any more
	connWaiting                  // nothing of the next request has been read
	connBegun                    // a part of it has
	connServing                  // it has been read, and is not answered yet
)

// noteState implements what caddyhttp.Server.RegisterConnState takes.
func noteState(conn net.Conn, state http.ConnState) {
	c, ok := conn.(*keptConn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.state = connWaiting
	case http.StateActive:
		if c.state != connFixed {
			c.state = connServing
		}
	case http.StateIdle:
		if c.state != connFixed {
			c.state = connWaiting
		}
	default:
		c.state = connFixed // taken over by an upgrade, or closed
	}
}

// http2Preface is how HTTP/2 begins, which keeps state from one request to the next.
var http2Preface = []byte("PRI ")

// Read implements net.Conn.
func (c *keptConn) Read(p []byte) (int, error) {
	c.mu.Lock()
	switch {
	case c.moved, c.leavesNow():
		c.move(nil)
		c.mu.Unlock()
		return 0, io.EOF
	case len(c.ahead) > 0 && len(p) > 0:
		defer c.mu.Unlock()
		n := copy(p, c.ahead)
		c.ahead = c.ahead[n:]
		c.note(p, n)
		return n, nil
	}
	c.reading = true
	c.mu.Unlock()

	n, err := c.TCPConn.Read(p)

	c.mu.Lock()
	defer c.mu.Unlock()
	c.reading = false
	if c.leavesNow() {
		c.move(bytes.Clone(p[:n])) // not read here: the next configuration judges it
		return 0, io.EOF
	}
	c.note(p, n)
	return n, err
}

// note keeps account of what the server has read into its buffer.
func (c *keptConn) note(buffer []byte, n int) {
	switch {
	case n == 0:
	case c.state == connWaiting:
		c.state, c.early = connBegun, nil
		if bytes.HasPrefix(buffer[:n], http2Preface) {
			c.state = connFixed
		}
	case c.state == connServing && len(buffer) == 1:
		// While it answers, http.Server asks for one byte, to learn when the client goes away. A quick
		// client sends the next request before the server has stopped asking.
		c.early = bytes.Clone(buffer)
	}
}

func (c *keptConn) leavesNow() bool { return c.state == connWaiting && c.listener.hasLeft() }

// leave moves the connection if it waits, at once or when it does.
func (c *keptConn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.moved && c.leavesNow() && c.reading {
		c.TCPConn.SetReadDeadline(time.Unix(1, 0)) // long past: Read returns, and moves it
	}
}

func (c *keptConn) begun() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state == connBegun
}

// move gives the connection to another configuration, with what was read of it.
func (c *keptConn) move(read []byte) {
	if c.moved {
		return
	}
	c.moved = true
	c.listener.forget(c)
	c.TCPConn.SetDeadline(time.Time{})
	go c.listener.port.give(acceptance{conn: c.TCPConn, read: slices.Concat(c.early, c.ahead, read)})
}

// Close implements net.Conn. A connection that waits is closed by nobody but its client, once another
// configuration has taken over.
func (c *keptConn) Close() error {
	c.mu.Lock()
	switch {
	case c.moved:
		c.mu.Unlock()
		return nil
	case c.leavesNow():
		defer c.mu.Unlock()
		if c.reading {
			c.TCPConn.SetReadDeadline(time.Unix(1, 0))
			return nil
		}
		c.move(nil)
		return nil
	}
	c.state = connFixed
	c.mu.Unlock()
	c.listener.forget(c)
	return c.TCPConn.Close()
}

// The rest of net.Conn and of *net.TCPConn that changes something: it must not reach a connection that
// another configuration has.

// Write implements net.Conn.
func (c *keptConn) Write(p []byte) (int, error) {
	if c.isMoved() {
		return 0, net.ErrClosed
	}
	return c.TCPConn.Write(p)
}

// ReadFrom implements io.ReaderFrom, which lets the kernel copy files.
func (c *keptConn) ReadFrom(r io.Reader) (int64, error) {
	if c.isMoved() {
		return 0, net.ErrClosed
	}
	return c.TCPConn.ReadFrom(r)
}

// WriteTo implements io.WriterTo. What was read ahead comes first.
func (c *keptConn) WriteTo(w io.Writer) (int64, error) {
	return io.Copy(w, struct{ io.Reader }{c})
}

// CloseRead shuts down the reading side.
func (c *keptConn) CloseRead() error {
	return c.change(c.TCPConn.CloseRead)
}

// CloseWrite shuts down the writing side.
func (c *keptConn) CloseWrite() error {
	return c.change(c.TCPConn.CloseWrite)
}

// SetDeadline implements net.Conn.
func (c *keptConn) SetDeadline(t time.Time) error {
	return c.change(func() error { return c.TCPConn.SetDeadline(t) })
}

// SetReadDeadline implements net.Conn.
func (c *keptConn) SetReadDeadline(t time.Time) error {
	return c.change(func() error { return c.TCPConn.SetReadDeadline(t) })
}

// SetWriteDeadline implements net.Conn.
func (c *keptConn) SetWriteDeadline(t time.Time) error {
	return c.change(func() error { return c.TCPConn.SetWriteDeadline(t) })
}

func (c *keptConn) change(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moved {
		return nil
	}
	return do()
}

func (c *keptConn) isMoved() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}
