// Package oidc is the connector to an OpenID provider: it sends a browser there and turns what comes
// back into an identity.Identity (OpenID Connect Core 1.0). It is the one owner of go-oidc and
// x/oauth2, and knows nothing of HTTP servers, cookies, sessions or the gateway's own record.
//
// A sign-in is a Flow. Begin makes one and says where the browser goes; the caller keeps the Flow for
// this browser, where nobody can read or change it; ParseAnswer reads what the provider sent back, and
// Finish judges it against the Flow. That a Flow is used once is the caller's part: it forgets the
// Flow before it calls Finish.
//
// The ID token is the only source of what is known about a person: it is signed, userinfo is not asked.
// Tokens are read and verified by package jws, which refuses everything that has two readings. What
// cannot be decided because the provider is away is iam.KindUnavailable, never a no.
package oidc

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Method is how the provider's statement reaches the gateway (OIDC-1 to OIDC-3).
type Method uint8

// The methods. The zero value is W&B's default.
const (
	// Implicit: the browser posts the ID token itself (response_type=id_token, response_mode=form_post).
	Implicit Method = iota
	// PKCE: the browser brings a code, which the gateway redeems (RFC 7636 with S256).
	PKCE
)

// ParseMethod reads the name of a method; empty is the default, implicit.
func ParseMethod(s string) (Method, error) {
	switch strings.ToLower(s) {
	case "", "implicit":
		return Implicit, nil
	case "pkce":
		return PKCE, nil
	}
	return 0, iam.Invalidf("the authentication method %s is not known: use implicit or pkce", untrusted.Quote(s))
}

// String returns implicit or pkce.
func (m Method) String() string {
	switch m {
	case Implicit:
		return "implicit"
	case PKCE:
		return "pkce"
	default:
		return "unknown"
	}
}

// KeySource has the provider's keys. An error of iam.KindUnavailable says that nobody can tell whether
// there is such a key; a set without it, that there is none.
type KeySource interface {
	Keys(ctx context.Context, kid string) (*jws.KeySet, error)
}

// Bounds of a Config.
const (
	DefaultTimeout = 10 * time.Second
	MinTimeout     = time.Second
	MaxTimeout     = time.Minute
	// maxScopes and maxScopeBytes bound what a configuration can add to the address that browsers get.
	maxScopes     = 32
	maxScopeBytes = 256
	maxClientID   = 512
)

// Config says which provider there is, and as whom the gateway stands before it.
type Config struct {
	// Issuer is the provider's issuer, exactly as its ID tokens write it.
	Issuer string
	// ClientID is what the provider calls the gateway.
	ClientID string
	// ClientSecret proves it when a code is redeemed; zero for a public client. Implicit needs none.
	ClientSecret iam.Secret
	// Method must be one that the provider allows for this client.
	Method Method
	// Scopes are asked for beside openid, profile and email.
	Scopes []string
	// GroupsClaim is the claim that lists a person's groups; empty means groups. Some providers reserve
	// that name, or have one of their own, such as cognito:groups.
	GroupsClaim string
	// Roots are the certificate authorities that the provider's certificate may come from; nil means
	// those of the machine.
	Roots *x509.CertPool
	// Keys are the provider's keys; nil fetches them from where its discovery document says.
	Keys KeySource
	// Timeout bounds each question to the provider. 0 means DefaultTimeout; between MinTimeout and
	// MaxTimeout.
	Timeout time.Duration
	// KeyWait is how long a sign-in waits where its token is signed with a key that the provider began to
	// use a moment after its keys were fetched: a program would be told to come again, a browser does not.
	// 0 waits for nothing; DefaultKeyWait for the next fetch.
	KeyWait time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// DefaultKeyWait is a little more than what lies between two fetches of keys.
const DefaultKeyWait = 6 * time.Second

// Connector speaks with one provider. Its methods may be called from many goroutines.
type Connector struct {
	issuer   string // what the provider calls itself
	address  string // below which its discovery document is
	plain    bool   // the issuer is http on this machine, and so may its endpoints be
	clientID string
	secret   iam.Secret
	method   Method
	scopes   []string
	groups   string
	timeout  time.Duration
	keyWait  time.Duration
	now      func() time.Time
	client   *http.Client

	keys  keys
	found discovery

	life context.Context
	end  context.CancelFunc
	busy sync.WaitGroup
}

// New returns a Connector. It checks the configuration and asks nobody: the gateway starts when the
// provider is away, and finds it later.
func New(cfg Config) (*Connector, error) {
	address, err := parseIssuer(cfg.Issuer, cfg.Method)
	if err != nil {
		return nil, err
	}
	if cfg.ClientID == "" || len(cfg.ClientID) > maxClientID || !visible(cfg.ClientID) {
		return nil, iam.Invalidf("the client id %s is none: use the one that the OpenID provider gave to the application", untrusted.Quote(cfg.ClientID))
	}
	if len(cfg.GroupsClaim) > maxScopeBytes || !visible(cfg.GroupsClaim) {
		return nil, iam.Invalidf("the claim of groups %s is none: use its name, such as cognito:groups", untrusted.Quote(cfg.GroupsClaim))
	}
	scopes, err := allScopes(cfg.Scopes)
	if err != nil {
		return nil, err
	}
	switch cfg.Method {
	case Implicit, PKCE:
	default:
		return nil, iam.Invalidf("the authentication method is not known: use implicit or pkce")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.Timeout < MinTimeout || cfg.Timeout > MaxTimeout {
		return nil, iam.Invalidf("the timeout %s for the OpenID provider is out of bounds: use %s to %s", cfg.Timeout, MinTimeout, MaxTimeout)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	c := &Connector{
		issuer:   issuerAt(cfg.Issuer),
		address:  cfg.Issuer,
		plain:    address.Scheme == "http",
		clientID: cfg.ClientID,
		secret:   cfg.ClientSecret,
		method:   cfg.Method,
		scopes:   scopes,
		groups:   cmp.Or(cfg.GroupsClaim, "groups"),
		timeout:  cfg.Timeout,
		keyWait:  cfg.KeyWait,
		now:      cfg.Now,
		client:   newClient(cfg.Roots, cfg.Timeout),
		keys:     keys{given: cfg.Keys, roots: cfg.Roots},
	}
	c.life, c.end = context.WithCancel(context.Background())
	return c, nil
}

// allScopes returns the scopes that are asked for, each once (OIDC-9, RFC 6749 section 3.3).
func allScopes(extra []string) ([]string, error) {
	all := []string{gooidc.ScopeOpenID, gooidc.ScopeProfile, gooidc.ScopeEmail}
	for _, scope := range extra {
		if scope == "" || len(scope) > maxScopeBytes || !visible(scope) || strings.ContainsAny(scope, `"\`) {
			return nil, iam.Invalidf("the scope %s is none: use letters, digits and signs without blanks, quotation marks and backslashes", untrusted.Quote(scope))
		}
		if !slices.Contains(all, scope) {
			all = append(all, scope)
		}
	}
	if len(all) > maxScopes {
		return nil, iam.Invalidf("there are %d scopes, the limit is %d", len(all), maxScopes)
	}
	return all, nil
}

// Issuer returns what the provider calls itself, which is the Issuer of every Identity.
func (c *Connector) Issuer() string { return c.issuer }

// Method returns how the provider's statement reaches the gateway.
func (c *Connector) Method() Method { return c.method }

// Close ends what runs in the background and returns when it has ended. Nobody can sign in afterwards.
func (c *Connector) Close() {
	c.found.close()
	c.end()
	c.keys.close() // before the wait: changing their address begins something
	c.busy.Wait()
	c.client.CloseIdleConnections()
}
