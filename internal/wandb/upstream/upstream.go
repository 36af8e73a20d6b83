// Package upstream answers who is calling and what they may touch by asking the W&B deployment
// behind the gateway, which is the record of both (`directory wandb`, design section 4).
//
// The package owns the questions, the reading of the answers and their caching. It leaves to others
// which credentials are the gateway's own (those must be tried first and never come here), the
// decision (package authz) and the recording of what passing answers tell.
//
// Three promises hold everywhere in it:
//
//   - Nobody gets more than the server showed to the caller's own credential. What the
//     administrator's key shows serves to find projects that are hidden from the caller, principals
//     that the server does not know, and the people for whom a service account works.
//   - What the server cannot tell at the moment is iam.KindUnavailable, neither yes nor no, and is
//     not remembered as a no.
//   - Nothing is believed for longer than Config.Hits, counted from before the question was sent,
//     but whether an account is a person or a service account, which never changes: an hour.
package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The defaults of Config.
const (
	DefaultHits             = 60 * time.Second
	DefaultMisses           = 10 * time.Second
	DefaultTimeout          = 5 * time.Second
	DefaultMaxEntries       = 100_000
	DefaultLookupsPerSecond = 1000
	DefaultParallel         = 64
)

// Config says which server is the record, and within which bounds it is asked. URL and
// Organization are required; the zero value of every other field takes its default.
type Config struct {
	// URL is the server's base URL, with a path if it has one. /graphql is added to it.
	URL *url.URL
	// Client sends the questions. Its redirects and cookies are switched off in a copy: a credential
	// follows nobody. Nil makes one that trusts Roots.
	Client *http.Client
	// Roots are the certificate authorities of the server (`tls_ca`); nil for the system's. Not used
	// when Client is given.
	Roots *x509.CertPool
	// Organization is the name of the one organization that the deployment serves (SCOPE-8). Required:
	// everybody whom the server knows belongs to it.
	Organization string
	// AdminKey is an API key of the server that sees every project (`api_key`). Without it the
	// gateway knows nothing of projects that are hidden from the caller, and local principals cannot
	// be judged.
	AdminKey iam.Secret

	// Hits, Misses: how long what is there, and what is not, is believed.
	Hits, Misses time.Duration
	// Timeout bounds a look-up as a whole, its waiting for a turn included.
	Timeout time.Duration
	// MaxEntries bounds each table of remembered answers.
	MaxEntries int
	// LookupsPerSecond and Parallel bound what the server is asked, all callers together.
	LookupsPerSecond, Parallel int

	// Report, if set, is told how each question to the server ended.
	Report func(Outcome)
}

// Directory asks the deployment behind the gateway and remembers the answers. It is safe for use by
// many goroutines.
type Directory struct {
	organization string
	admin        asker

	endpoint string
	host     string
	client   *http.Client
	timeout  time.Duration
	turns    *turns
	report   func(Outcome)

	viewers  *cache[*iam.Principal]
	accounts *cache[accountType]
	lists    *cache[struct{}]
	shown    *cache[*shown]
	roles    *cache[iam.Role]
	people   *cache[*iam.Principal]
	homes    *cache[home]
	seen     *lastSeen[iam.PrincipalRef, *iam.Principal]
	places   *lastSeen[placeNames, *place]
	epochs   *epochs

	questions questions
}

// New checks the configuration and returns a Directory. It asks the server nothing.
func New(c Config) (*Directory, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("directory wandb: %w", err)
	}
	c = c.withDefaults()
	d := &Directory{
		organization: c.Organization,
		endpoint:     c.URL.JoinPath("graphql").String(),
		host:         c.URL.Host,
		client:       client(c),
		timeout:      c.Timeout,
		turns:        newTurns(c.LookupsPerSecond, c.Parallel, c.Timeout),
		report:       c.Report,
		seen:         newLastSeen[iam.PrincipalRef](c.MaxEntries, samePrincipal),
		places:       newLastSeen[placeNames](c.MaxEntries, samePlace),
		epochs:       newEpochs(),
		questions:    newQuestions(),
	}
	if !c.AdminKey.IsZero() {
		d.admin = askerOf(iam.Credential{Kind: iam.CredentialAPIKey, Secret: c.AdminKey})
		d.admin.kind = askerAdmin
	}
	limits := bounds{clock: newClock(), hits: c.Hits, misses: c.Misses, timeout: c.Timeout, entries: c.MaxEntries, busy: d.busy, late: d.late}
	d.viewers = newCache[*iam.Principal](limits)
	d.shown = newCache[*shown](limits)
	d.roles = newCache[iam.Role](limits)
	d.people = newCache[*iam.Principal](limits)
	d.homes = newCache[home](limits)
	limits.hits, limits.misses = accountTTL, accountUntoldTTL
	d.accounts = newCache[accountType](limits)
	limits.hits, limits.misses = backoff, backoff // what they tell is remembered in accounts
	d.lists = newCache[struct{}](limits)
	return d, nil
}

// Hits is how long what the server said is believed.
func (d *Directory) Hits() time.Duration { return d.shown.hits }

// Close lets go of idle connections. Look-ups under way end within Config.Timeout.
func (d *Directory) Close() error {
	d.client.CloseIdleConnections()
	return nil
}

// Forget drops what is remembered of an entity and a project for every caller: the next question
// goes to the server. With an empty project it drops everything about the entity and its projects.
// It is called when a passing answer told that something was created, changed or deleted.
func (d *Directory) Forget(entity, project string) {
	d.epochs.raise(entity, project)
}

// ForgetCredential drops who holds a credential. It is called when the server refused it.
func (d *Directory) ForgetCredential(c iam.Credential) {
	d.viewers.forget(digestOfCredential(c))
}

func (c Config) validate() error {
	switch {
	case c.URL == nil:
		return errors.New("the URL of the W&B server is missing")
	case c.URL.Scheme != "http" && c.URL.Scheme != "https", c.URL.Host == "":
		return fmt.Errorf("%q is not the URL of a W&B server: it needs http:// or https:// and a host", c.URL.Redacted())
	case c.URL.User != nil:
		return errors.New("the URL must not contain a user or password; use `api_key`")
	case c.URL.RawQuery != "" || c.URL.Fragment != "":
		return fmt.Errorf("%q must be a base URL, without ? and #", c.URL)
	case c.Organization == "":
		return errors.New("the name of the organization is missing")
	case c.Hits < 0 || c.Misses < 0 || c.Timeout < 0:
		return errors.New("hits, misses and timeout must be positive durations")
	case c.MaxEntries < 0 || c.LookupsPerSecond < 0 || c.Parallel < 0:
		return errors.New("bounds must be positive numbers")
	}
	return nil
}

func (c Config) withDefaults() Config {
	orDefault(&c.Hits, DefaultHits)
	orDefault(&c.Misses, DefaultMisses)
	orDefault(&c.Timeout, DefaultTimeout)
	orDefault(&c.MaxEntries, DefaultMaxEntries)
	orDefault(&c.LookupsPerSecond, DefaultLookupsPerSecond)
	orDefault(&c.Parallel, DefaultParallel)
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// client returns the HTTP client that carries credentials: it follows no redirect and keeps no
// cookie, so that a credential reaches the configured server and nobody else.
func client(c Config) *http.Client {
	own := http.Client{}
	if c.Client != nil {
		own = *c.Client
	} else {
		own.Transport = &http.Transport{
			Proxy:               http.ProxyFromEnvironment,
			TLSClientConfig:     &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			ForceAttemptHTTP2:   true,
			MaxIdleConnsPerHost: c.Parallel,
			IdleConnTimeout:     90 * time.Second,

			MaxResponseHeaderBytes: maxHeaderBytes,
		}
	}
	own.Jar = nil
	own.Timeout = 0 // every look-up has a deadline of its own
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}
