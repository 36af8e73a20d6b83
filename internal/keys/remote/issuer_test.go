package remote

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// issuer is an issuer in the test's own network and time: real HTTP over pipes, so that a synctest
// bubble holds all of it.
type issuer struct {
	t         testing.TB
	url       string
	transport *http.Transport

	mu          sync.Mutex
	discoveries int
	fetches     int
	keys        []*jws.Key
	discovery   http.HandlerFunc // instead of the usual description
	jwks        http.HandlerFunc // instead of the usual key set
	control     string           // Cache-Control of the key set
}

func newIssuer(t testing.TB) *issuer {
	t.Helper()
	i := &issuer{t: t, url: "http://localhost"}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.discoveries++
		instead := i.discovery
		i.mu.Unlock()
		if instead != nil {
			instead(w, r)
			return
		}
		fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q,"id_token_signing_alg_values_supported":["ES256"]}`, i.url, i.url+"/keys")
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		i.fetches++
		instead, control, keys := i.jwks, i.control, i.keys
		i.mu.Unlock()
		if control != "" {
			w.Header().Set("Cache-Control", control)
		}
		if instead != nil {
			instead(w, r)
			return
		}
		text, err := jws.MarshalKeySet(keys)
		if err != nil {
			t.Error(err)
		}
		w.Write(text)
	})
	pipes := &pipeListener{connections: make(chan net.Conn), closed: make(chan struct{})}
	server := &http.Server{Handler: mux}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		server.Serve(pipes)
	}()
	t.Cleanup(func() {
		server.Close()
		<-stopped
	})
	i.transport = &http.Transport{DisableKeepAlives: true, DialContext: pipes.dial}
	return i
}

// set returns a Set for the issuer that is closed with the test.
func (i *issuer) set(change func(*Config)) *Set {
	i.t.Helper()
	c := Config{Issuer: i.url, Transport: i.transport}
	if change != nil {
		change(&c)
	}
	s, err := New(c)
	if err != nil {
		i.t.Fatal(err)
	}
	i.t.Cleanup(s.Close)
	return s
}

// change does something to the issuer between two requests.
func (i *issuer) change(f func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	f()
}

func (i *issuer) publish(keys ...*jws.PrivateKey) {
	i.change(func() {
		i.keys = nil
		for _, key := range keys {
			i.keys = append(i.keys, key.Public())
		}
	})
}

// down makes the issuer answer 503 from now on, up makes it work.
func (i *issuer) down() {
	broken := func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "down", http.StatusServiceUnavailable) }
	i.change(func() { i.discovery, i.jwks = broken, broken })
}

func (i *issuer) up() { i.change(func() { i.discovery, i.jwks = nil, nil }) }

// requests returns how many descriptions and key sets were asked for.
func (i *issuer) requests() (discoveries, fetches int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.discoveries, i.fetches
}

// pipeListener makes connections without a network.
type pipeListener struct {
	connections chan net.Conn
	closed      chan struct{}
	once        sync.Once
}

func (l *pipeListener) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case l.connections <- there:
		return here, nil
	case <-l.closed:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.connections:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }

func newKey(t testing.TB) *jws.PrivateKey {
	t.Helper()
	k, err := jws.NewPrivateKey(jws.EdDSA)
	if err != nil {
		t.Fatal(err)
	}
	return k
}
