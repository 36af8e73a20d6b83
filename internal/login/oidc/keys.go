package oidc

import (
	"context"
	"crypto/x509"
	"errors"
	"sync"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/remote"
)

// keys are the provider's: those that the configuration gives, or those at the address that the
// discovery document names, which may change.
type keys struct {
	given KeySource
	roots *x509.CertPool

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
	if err != nil && iam.KindOf(err) != iam.KindUnavailable {
		err = c.away(err, pause)
	}
	return set, err
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
