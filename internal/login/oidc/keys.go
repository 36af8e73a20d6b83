package oidc

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/remote"
)

// keys are the provider's: those that the configuration gives, or those at the address that the
// discovery document names, which may change.
type keys struct {
	given KeySource
	roots *x509.CertPool

	waiting atomic.Int32 // callers that wait for the next fetch

	mu     sync.Mutex
	own    *remote.Set
	at     string // own's address
	closed bool
}

// find returns the keys among which kid is, if the provider has it. Errors are of iam.KindUnavailable.
func (c *Connector) find(ctx context.Context, p *provider, kid string) (*jws.KeySet, error) {
	source, err := c.keySource(p.Keys)
	if err != nil {
		return nil, c.away(err, 0)
	}
	set, err := source.Keys(ctx, kid)
	if after := fetchedJustNow(err); after > 0 && after <= c.keyWait && c.wait(ctx, after) {
		set, err = source.Keys(ctx, kid)
	}
	if err != nil && iam.KindOf(err) != iam.KindUnavailable {
		err = c.away(err, pause)
	}
	return set, err
}

// maxWaiting bounds how many wait for keys, for anybody can make up the id of a key.
const maxWaiting = 64

// fetchedJustNow returns how long to wait for the next fetch if an error says that a key is unknown only
// because the last one was a moment ago; 0 for any other, and for keys that cannot be had.
func fetchedJustNow(err error) time.Duration {
	e, ok := errors.AsType[*iam.Error](err)
	if !ok || e.Kind != iam.KindUnavailable || e.Err != nil {
		return 0
	}
	return e.RetryAfter
}

// wait reports whether the time went by, which it does not if too many wait already or the caller is
// gone.
func (c *Connector) wait(ctx context.Context, d time.Duration) bool {
	defer c.keys.waiting.Add(-1)
	if c.keys.waiting.Add(1) > maxWaiting {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	case <-c.life.Done():
		return false
	}
}

func (c *Connector) keySource(address string) (KeySource, error) {
	k := &c.keys
	if k.given != nil {
		return k.given, nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.closed:
		return nil, errClosed
	case k.own != nil && k.at == address:
		return k.own, nil
	}
	own, err := remote.New(remote.Config{Issuer: c.issuer, KeysURL: address, Roots: k.roots, Now: c.now})
	if err != nil {
		return nil, errors.New("its keys have no address that can be used")
	}
	if k.own != nil {
		old := k.own
		c.busy.Go(old.Close) // it may be in use, and waits
	}
	k.own, k.at = own, address
	return own, nil
}

func (k *keys) close() {
	k.mu.Lock()
	k.closed = true
	own := k.own
	k.mu.Unlock()
	if own != nil {
		own.Close()
	}
}
