package remote

import (
	"context"
	"crypto/x509"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

type Event struct{}
type Config struct {
	Issuer, KeysURL string
	Pinned          *jws.KeySet
	Roots           *x509.CertPool
	Now             func() time.Time
	Report          func(Event)
}
type Set struct{ pinned *jws.KeySet }
type Discovery struct{ Issuer, JWKSURI, Path string }

func New(c Config) (*Set, error) { return &Set{c.Pinned}, nil }
func (s *Set) Keys(ctx context.Context, kid string) (*jws.KeySet, error) {
	if s.pinned == nil {
		return nil, iam.Unavailable("stub", nil)
	}
	return s.pinned, nil
}
func (s *Set) Generation() uint64 { return 1 }
func (s *Set) Close()             {}
func ValidIssuerURL(s string) error { return nil }
func Discover(ctx context.Context, c Config) (Discovery, error) { return Discovery{}, nil }
