package oidc

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-json-experiment/json"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

const (
	// freshFor is how long a discovery document counts without another look at it.
	freshFor = time.Hour
	// usableFor is how long the last good one serves while no new one can be had.
	usableFor = 24 * time.Hour
	// pause is the least time between two looks when the first one failed, whatever asks.
	pause = 5 * time.Second
)

// provider is what a discovery document says, as far as it matters here (OpenID Connect Discovery 1.0
// section 3, RFC 9207 section 3).
type provider struct {
	Issuer          string   `json:"issuer"`
	Authorization   string   `json:"authorization_endpoint"`
	Token           string   `json:"token_endpoint"`
	Keys            string   `json:"jwks_uri"`
	EndSession      string   `json:"end_session_endpoint"`
	SigningNames    []string `json:"id_token_signing_alg_values_supported"`
	ClientMethods   []string `json:"token_endpoint_auth_methods_supported"`
	IssuerParameter bool     `json:"authorization_response_iss_parameter_supported"`

	// algorithms may sign ID tokens; nil allows all that a key is for.
	algorithms []jws.Algorithm
}

// discovery is what was found out last about the provider.
type discovery struct {
	mu      sync.Mutex
	current *provider
	fetched time.Time // current
	tried   time.Time // when the last look ended
	failed  error     // why it failed; nil if it did not
	running *look     // nil if nobody looks
	closed  bool
}

// look is one question to the provider, which all who need its answer share.
type look struct {
	done  chan struct{}
	found *provider
	err   error
}

var errClosed = errors.New("the connector is closed")

// provider returns what is known about the provider, and looks if nothing is. The caller leaves when
// its context ends, without ending the look for others. Errors are of iam.KindUnavailable.
func (c *Connector) provider(ctx context.Context) (*provider, error) {
	known, running, err := c.known()
	if running == nil {
		return known, err
	}
	select {
	case <-running.done:
		return running.found, running.err
	case <-ctx.Done():
		return nil, c.away(ctx.Err(), pause)
	}
}

// known returns what counts now, or the look to wait for.
func (c *Connector) known() (*provider, *look, error) {
	d, now := &c.found, c.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	age := now.Sub(d.fetched)
	if d.current != nil && age < freshFor {
		return d.current, nil, nil
	}
	since := now.Sub(d.tried)
	if d.running == nil && !d.closed && (d.failed == nil || since >= pause || since < 0) {
		started := &look{done: make(chan struct{})}
		d.running = started
		c.busy.Go(func() { c.look(started) })
	}
	switch {
	case d.current != nil && age < usableFor:
		return d.current, nil, nil
	case d.closed:
		return nil, nil, c.away(errClosed, 0)
	case d.running != nil:
		return nil, d.running, nil
	}
	return nil, nil, c.away(d.failed, pause-since)
}

// look asks the provider and tells everybody who waits.
func (c *Connector) look(l *look) {
	ctx, cancel := context.WithTimeout(c.life, c.timeout)
	defer cancel()
	found, err := c.discover(ctx)
	d := &c.found
	d.mu.Lock()
	defer d.mu.Unlock()
	d.running, d.tried, d.failed = nil, c.now(), err
	if err == nil {
		d.current, d.fetched = found, d.tried
		l.found = found
	} else {
		l.err = c.away(err, pause)
	}
	close(l.done)
}

func (d *discovery) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed, d.current = true, nil
}

// discover fetches and judges the discovery document.
func (c *Connector) discover(ctx context.Context) (*provider, error) {
	ctx = gooidc.ClientContext(ctx, forDocuments(c.client))
	if c.issuer != c.address {
		ctx = gooidc.InsecureIssuerURLContext(ctx, c.issuer) // not left unchecked: read compares
	}
	fetched, err := gooidc.NewProvider(ctx, c.address)
	if mismatch, ok := errors.AsType[*gooidc.IssuerMismatchError](err); ok {
		return nil, c.mismatch(mismatch.Discovered)
	}
	if err != nil {
		return nil, fmt.Errorf("its discovery document cannot be had: %w", cleaned(err))
	}
	var document stdjson.RawMessage
	if err := fetched.Claims(&document); err != nil {
		return nil, fmt.Errorf("its discovery document cannot be read: %w", cleaned(err))
	}
	return c.read(document)
}

// read reads the document once more, by exact names: go-oidc takes `Issuer` for `issuer`, and the last
// of two.
func (c *Connector) read(document []byte) (*provider, error) {
	p := &provider{}
	if err := json.Unmarshal(document, p); err != nil {
		return nil, fmt.Errorf("its discovery document cannot be read: %w", cleaned(err))
	}
	if p.Issuer != c.issuer {
		return nil, c.mismatch(p.Issuer)
	}
	for _, needed := range []struct{ name, at string }{
		{"authorization_endpoint", p.Authorization}, {"jwks_uri", p.Keys}, {"token_endpoint", p.Token},
	} {
		if needed.name == "token_endpoint" && c.method == Implicit {
			continue
		}
		if !c.endpoint(needed.at) {
			return nil, fmt.Errorf("its discovery document has the %s %s: it must be an https URL without user and fragment", needed.name, untrusted.Quote(needed.at))
		}
	}
	if !c.endpoint(p.EndSession) {
		p.EndSession = "" // nobody must be able to sign out at the provider
	}
	for _, name := range p.SigningNames {
		if a, err := jws.ParseAlgorithm(name); err == nil {
			p.algorithms = append(p.algorithms, a)
		}
	}
	if len(p.SigningNames) > 0 && len(p.algorithms) == 0 {
		return nil, fmt.Errorf("it signs ID tokens with %s only, which are not accepted: set it to RS256 or ES256", clean(strings.Join(p.SigningNames, ", ")))
	}
	return p, nil
}

func (c *Connector) mismatch(says string) error {
	if strings.Contains(says, "{tenantid}") {
		return fmt.Errorf("its discovery document is one for every tenant (it names the issuer %s): configure the issuer of your own tenant, with its id", untrusted.Quote(says))
	}
	return fmt.Errorf("its discovery document names the issuer %s, but %s is configured: the two must be equal to the last letter; if the provider is the right one, configure what it names", untrusted.Quote(says), untrusted.Quote(c.issuer))
}

// endpoint reports whether an address from the document can be used. Plain http is for providers on
// this machine whose issuer is so too.
func (c *Connector) endpoint(at string) bool {
	u, err := url.Parse(at)
	if err != nil || len(at) > maxURLBytes || !visible(at) || u.Host == "" || u.User != nil || strings.Contains(at, "#") {
		return false
	}
	return u.Scheme == "https" || u.Scheme == "http" && c.plain && loopback(u)
}

// Discover finds out whether the provider can be used; for checks. It asks as rarely as everybody else.
func (c *Connector) Discover(ctx context.Context) error {
	_, err := c.provider(ctx)
	return err
}

// Status is what is known about the provider without asking it.
type Status struct {
	// Usable tells whether a sign-in can begin without another look.
	Usable bool
	// Err says why the last try failed; nil if it did not. It is for administrators.
	Err error
	// SignsOut tells whether the provider can be asked to sign people out.
	SignsOut bool
}

// Status returns what is known, at once.
func (c *Connector) Status() Status {
	d, now := &c.found, c.now()
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Status{Err: d.failed}
	if d.current != nil && now.Sub(d.fetched) < usableFor {
		s.Usable, s.SignsOut = true, d.current.EndSession != ""
	}
	return s
}
