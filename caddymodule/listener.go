package caddymodule

import (
	"context"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// Caddy opens a socket of its own for each configuration, beside the old one's, and closes the old one:
// the kernel then resets the connections that wait in its queue or are half open, and http.Server closes
// those that wait for their next request, which may be on its way. A kept listener is one socket that
// all configurations of the process take connections from, and connections that wait move to the new
// one. docs/decisions/0013-reload.md says why it is done in this way.

// keptPrefix marks the networks of kept listeners, in front of the name of the plain network.
const keptPrefix = "kept-"

// settleTime is how long a replaced configuration may still read the head of a request that had begun.
const settleTime = 200 * time.Millisecond

func init() {
	for network, http3 := range map[string]string{"tcp": "udp", "tcp4": "udp4", "tcp6": "udp6"} {
		caddy.RegisterNetwork(keptPrefix+network, listenKept)
		caddyhttp.RegisterNetworkHTTP3(keptPrefix+network, http3)
	}
}

func (a *App) seamless() bool { return a.SeamlessReload == nil || bool(*a.SeamlessReload) }

// keepListeners makes a server listen on kept listeners. Other addresses than TCP's stay as they are:
// Caddy shares Unix sockets and inherited ones already.
func keepListeners(server *caddyhttp.Server) {
	changed := false // not by another site of the same server
	for i, text := range server.Listen {
		address, err := caddy.ParseNetworkAddress(text)
		if err != nil {
			continue // Caddy says so itself
		}
		switch address.Network {
		case "tcp", "tcp4", "tcp6":
			address.Network = keptPrefix + address.Network
			server.Listen[i] = address.String()
			changed = true
		}
	}
	if changed {
		server.RegisterConnState(noteState)
	}
}

// keepConnections lets the connections of a site's server outlive the configuration. Those that wait
// move to the next one just before Caddy stops this one.
func (a *App) keepConnections(ctx caddy.Context) error {
	if server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok {
		keepListeners(server)
	}
	var err error
	a.leaving.Do(func() {
		var events any
		if events, err = ctx.App("events"); err == nil {
			err = events.(*caddyevents.App).On("stopping", leaver{a})
		}
	})
	return err
}

// leaver implements caddyevents.Handler.
type leaver struct{ app *App }

// Handle implements caddyevents.Handler.
func (l leaver) Handle(context.Context, caddy.Event) error {
	if caddy.Exiting() {
		return nil
	}
	var mine []*keptListener
	keptListeners.Range(func(key, _ any) bool {
		if listener := key.(*keptListener); listener.config == l.app.ctx.Done() {
			mine = append(mine, listener)
		}
		return true
	})
	for _, listener := range mine {
		listener.leave()
	}
	for began := time.Now(); time.Since(began) < settleTime; time.Sleep(time.Millisecond) {
		if !anyBegun(mine) {
			return nil
		}
	}
	l.app.logger.Warn("clients that were sending the head of a request will have to send it again", zap.Duration("waited", settleTime))
	return nil
}

func anyBegun(listeners []*keptListener) bool {
	for _, listener := range listeners {
		for _, conn := range listener.connections() {
			if conn.begun() {
				return true
			}
		}
	}
	return false
}

// keptPorts are the open sockets, by network and address.
var keptPorts = caddy.NewUsagePool()

// keptListeners are the shares that are open, as keys.
var keptListeners sync.Map

// keptPort is one open socket.
type keptPort struct {
	listener  net.Listener // Caddy's own
	keepAlive net.KeepAliveConfig
	accepted  chan acceptance
	closed    chan struct{}
}

// acceptance is what a call of Accept returns: a new connection, or one that another configuration had.
type acceptance struct {
	conn net.Conn
	// read is what came on it already.
	read []byte
	err  error
}

// listenKept implements caddy.ListenerFunc: it opens the socket, or shares the one that is open.
func listenKept(ctx context.Context, network, host, ports string, offset uint, config net.ListenConfig) (any, error) {
	address, err := caddy.ParseNetworkAddress(caddy.JoinNetworkAddress(strings.TrimPrefix(network, keptPrefix), host, ports))
	if err != nil {
		return nil, err
	}
	address = address.At(offset)
	if address.StartPort == 0 {
		return address.Listen(ctx, 0, config) // another port each time
	}
	key := address.Network + "/" + address.JoinHostPort(0)
	value, _, err := keptPorts.LoadOrNew(key, func() (caddy.Destructor, error) {
		return openPort(ctx, address, config)
	})
	if err != nil {
		return nil, err
	}
	l := &keptListener{
		port: value.(*keptPort), key: key, keepAlive: config.KeepAliveConfig,
		config: ctx.Done(), // one for each configuration, and the only thing that all its modules share
		left:   make(chan struct{}), closed: make(chan struct{}),
		conns: make(map[*keptConn]struct{}),
	}
	keptListeners.Store(l, nil)
	return l, nil
}

func openPort(ctx context.Context, address caddy.NetworkAddress, config net.ListenConfig) (*keptPort, error) {
	listener, err := address.Listen(ctx, 0, config)
	if err != nil {
		return nil, err
	}
	port := &keptPort{
		listener: listener.(net.Listener), keepAlive: config.KeepAliveConfig,
		accepted: make(chan acceptance), closed: make(chan struct{}),
	}
	go port.accept()
	return port, nil
}

// accept takes connections for whichever configuration asks. Errors go the same way: http.Server waits
// before it asks again, when too many files are open.
func (p *keptPort) accept() {
	for {
		conn, err := p.listener.Accept()
		if !p.give(acceptance{conn: conn, err: err}) {
			return
		}
	}
}

// give waits until a configuration takes what was accepted, and reports false when none does any more.
func (p *keptPort) give(a acceptance) bool {
	select {
	case p.accepted <- a:
		return true
	case <-p.closed:
		if a.err == nil {
			a.conn.Close()
		}
		return false
	}
}

// Destruct implements caddy.Destructor: no configuration listens here any more.
func (p *keptPort) Destruct() error {
	close(p.closed)
	return p.listener.Close()
}

// keptListener is one configuration's share of a kept port.
type keptListener struct {
	port      *keptPort
	key       string
	keepAlive net.KeepAliveConfig
	config    <-chan struct{}

	leaving, closing sync.Once
	left             chan struct{} // closed when another configuration takes over
	closed           chan struct{}

	mu    sync.Mutex
	conns map[*keptConn]struct{}
}

// Accept implements net.Listener.
func (l *keptListener) Accept() (net.Conn, error) {
	for {
		if l.hasLeft() {
			<-l.closed // no new connection, but http.Server must not stop by itself
		}
		select {
		case a := <-l.port.accepted:
			if a.err != nil {
				return nil, a.err
			}
			if conn := l.own(a); conn != nil {
				return conn, nil
			}
		case <-l.left:
		case <-l.closed:
			return nil, net.ErrClosed
		}
	}
}

// own makes an accepted connection one of this configuration; nil if its client is gone.
func (l *keptListener) own(a acceptance) net.Conn {
	conn, ok := a.conn.(*net.TCPConn)
	if !ok {
		return a.conn
	}
	if l.keepAlive != l.port.keepAlive { // which the socket was opened with
		if err := conn.SetKeepAliveConfig(l.keepAlive); err != nil {
			conn.Close()
			return nil
		}
	}
	c := &keptConn{TCPConn: conn, listener: l, ahead: a.read}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = struct{}{}
	return c
}

func (l *keptListener) forget(c *keptConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
}

func (l *keptListener) connections() []*keptConn {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*keptConn, 0, len(l.conns))
	for c := range l.conns {
		all = append(all, c)
	}
	return all
}

// leave gives the connections that wait for a request to the configuration that takes over, if one does.
func (l *keptListener) leave() {
	if users, _ := keptPorts.References(l.key); users < 2 || caddy.Exiting() {
		return
	}
	l.leaving.Do(func() { close(l.left) })
	for _, c := range l.connections() {
		c.leave()
	}
}

func (l *keptListener) hasLeft() bool {
	select {
	case <-l.left:
		return true
	default:
		return false
	}
}

// Close implements net.Listener. The socket stays open while another configuration uses it.
func (l *keptListener) Close() error {
	var err error
	l.closing.Do(func() {
		l.leave() // a configuration that could not start ends without an event
		close(l.closed)
		keptListeners.Delete(l)
		_, err = keptPorts.Delete(l.key)
	})
	return err
}

// Addr implements net.Listener.
func (l *keptListener) Addr() net.Addr { return l.port.listener.Addr() }
