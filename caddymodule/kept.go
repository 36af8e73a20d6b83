package caddymodule

import (
	"fmt"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
)

// Beside the state, what speaks with others outlives a reload too, as long as the new configuration
// says the same about it: under a key that holds all that it was made of, secrets and certificates
// included, and never leaves the process.

// upstreamKey is what an upstream.Directory is made of.
type upstreamKey struct {
	url, organization, adminKey, roots string
	hits, misses, timeout              time.Duration
}

// providerKey is what an oidc.Connector is made of.
type providerKey struct {
	issuer, clientID, secret, roots, scopes, groupsClaim string
	method                                               oidc.Method
}

var keptValues = caddy.NewUsagePool()

// keep returns what the configuration before this one made under an equal key, or makes it. The caller
// releases it once.
func keep[T any](key any, make func() (T, error)) (value T, release func(), err error) {
	held, _, err := keptValues.LoadOrNew(key, func() (caddy.Destructor, error) {
		made, err := make()
		return keptValue[T]{made}, err
	})
	if err != nil {
		return value, nil, err
	}
	kept, ok := held.(keptValue[T])
	if !ok {
		return value, nil, fmt.Errorf("wandb_gateway: %T is kept under a key of something else", held)
	}
	return kept.value, func() { keptValues.Delete(key) }, nil
}

// keptValue closes a value when the last configuration has released it.
type keptValue[T any] struct{ value T }

// Destruct implements caddy.Destructor.
func (k keptValue[T]) Destruct() error {
	switch closer := any(k.value).(type) {
	case interface{ Close() error }:
		return closer.Close()
	case interface{ Close() }:
		closer.Close()
	}
	return nil
}

// contents reads a file of certificates; "" if there is none, or if it cannot be read, which is an
// error elsewhere.
func contents(file string) string {
	if file == "" {
		return ""
	}
	text, _ := os.ReadFile(file)
	return string(text)
}

// limitKey is what a count of failures is for, and how many may be.
type limitKey struct {
	what string
	rate failure.Rate
}

// keptLimit returns the count that the state has, or begins one.
func keptLimit[K comparable](s *state, what string, rate failure.Rate) *failure.Limit[K] {
	limit, _ := s.limits.LoadOrStore(limitKey{what, rate}, failure.NewLimit[K](rate))
	return limit.(*failure.Limit[K])
}
