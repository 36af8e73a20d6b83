package tokenexchange

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/signing"
)

// The life of an access token (design section 6). The SDK exchanges before every request when 300 s or
// less are left (FED-15).
const (
	DefaultLifetime = time.Hour
	MinLifetime     = 10 * time.Minute
	MaxLifetime     = 24 * time.Hour
)

const (
	// leeway is how far the clocks of an issuer and the gateway may be apart.
	leeway = time.Minute
	// maxAssertionLife is how long an assertion may be valid from its `iat` on, or from now without one.
	maxAssertionLife = 24 * time.Hour
)

// Config is what a Service needs. Directory, Cache, Space, Signing and KeySets are required.
type Config struct {
	Directory *directory.Directory
	Cache     *hotcache.Cache
	// Space is the store's space of the organization.
	Space   string
	Signing *signing.Keys
	KeySets *KeySets

	// Issuers are those of the configuration.
	Issuers []TrustedIssuer
	// SkipAudience accepts assertions for any audience (SKIP_AUDIENCE_VALIDATION, FED-23).
	SkipAudience bool
	// Lifetime is how long access tokens count; 0 means DefaultLifetime.
	Lifetime time.Duration
	// Failures and IssuerFailures limit failed exchanges of one client address, and of assertions that
	// name one trusted issuer; nil limits nothing.
	Failures       *failure.Limit[netip.Prefix]
	IssuerFailures *failure.Limit[string]
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Report is told how each exchange ended; nil tells nobody.
	Report func(Event)
}

// Service exchanges assertions, and tells who holds a token. Its methods may be called from many
// goroutines.
type Service struct {
	Config
	configured map[string]*TrustedIssuer
	names      names
	// epoch tells apart what different configurations of one process came to: the cache outlives them.
	epoch string
	texts sync.Pool // of *[]byte, for tokens while they are hashed
}

// epochs numbers the services of the process.
var epochs atomic.Uint64

// names are the keys of the records that this package keeps.
type names struct{ issuers, revoked, cutoff string }

// New checks the configuration and returns a Service.
func New(c Config) (*Service, error) {
	if c.Directory == nil || c.Cache == nil || c.Space == "" || c.Signing == nil || c.KeySets == nil {
		return nil, errors.New("tokenexchange: Directory, Cache, Space, Signing and KeySets are required")
	}
	c.Lifetime = cmp.Or(c.Lifetime, DefaultLifetime)
	if err := CheckLifetime(c.Lifetime); err != nil {
		return nil, err
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Service{
		Config:     c,
		configured: make(map[string]*TrustedIssuer, len(c.Issuers)),
		names:      names{c.Space + "/issuers", c.Space + "/revoked_token/", c.Space + "/tokens_not_before"},
		epoch:      "proof/" + strconv.FormatUint(epochs.Add(1), 36) + "/",
	}
	s.texts.New = func() any { return new([]byte) }
	for i := range c.Issuers {
		t := &c.Issuers[i]
		if err := t.Check(); err != nil {
			return nil, err
		}
		if _, twice := s.configured[t.URL]; twice {
			return nil, iam.Invalidf("the issuer %s is configured twice; keep one", t.URL)
		}
		s.configured[t.URL] = t
	}
	return s, nil
}

// CheckLifetime refuses a life of access tokens with which clients cannot work, or that nobody means.
func CheckLifetime(d time.Duration) error {
	if d < MinLifetime || d > MaxLifetime {
		return iam.Invalidf("access_token lifetime %s is not between %s and %s: the SDK exchanges anew when 5 minutes are left", d, MinLifetime, MaxLifetime)
	}
	return nil
}

// trusted returns the trusted issuer of that exact URL; nil if there is none.
func (s *Service) trusted(ctx context.Context, v *hotcache.View, url string) (*TrustedIssuer, error) {
	if t, ok := s.configured[url]; ok {
		return t, nil
	}
	recorded, err := s.recorded(ctx, v)
	if err != nil {
		return nil, err
	}
	return recorded[url], nil
}

// CheckMappings refuses service accounts that somebody outside could satisfy, among those that are
// there already: a preset may have come to their issuer since.
func (s *Service) CheckMappings(ctx context.Context) error {
	return s.Directory.Federated(ctx, func(a *iam.ServiceAccount) error {
		if err := s.CheckFederation(ctx, a.Issuer, a.Subject, a.Claims); err != nil {
			return fmt.Errorf("the service account %s: %w", a.Name, err)
		}
		return nil
	})
}

// CheckFederation refuses a mapping of an issuer's assertions to a service account that somebody
// outside could satisfy.
func (s *Service) CheckFederation(ctx context.Context, issuer, subject string, claims map[string]string) error {
	t, err := s.trusted(ctx, s.Cache.View(), issuer)
	if err != nil {
		return err
	}
	p := impliedPreset(issuer)
	if t != nil {
		p = t.preset()
	}
	return checkRule(p, issuer, subject, claims)
}
