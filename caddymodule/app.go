// Package caddymodule is the only code of the gateway that knows Caddy: the app wandb_gateway, which
// holds what a deployment has once (organization, store, directory), the handler
// http.handlers.wandb_gateway, which judges the requests of one site, their Caddyfile, the routes on
// Caddy's admin endpoint and the iam commands. wire.go is where all other rooms meet.
package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func init() {
	caddy.RegisterModule(&App{})
	caddy.RegisterModule(&Handler{})
	caddy.RegisterModule(&adminRoutes{})
}

// App is the app `wandb_gateway`: what one deployment has once, for all its sites. The zero value is
// a working configuration: an embedded store below ./data, whose directory is the record.
type App struct {
	// Organization is the name of the one organization that this deployment serves. Default: wandb.
	Organization string `json:"organization,omitempty"`

	// Formerly is the name under which a renamed organization first filled its store, where its records
	// stay (ORG-11).
	Formerly string `json:"formerly,omitempty"`

	// Store is where the gateway keeps its records. It cannot change by a reload.
	Store *Store `json:"store,omitempty"`

	// MasterKey seals secrets and keys the hashes of API keys: base64 of 32 bytes. Without it and
	// MasterKeyFile, the variable WANDB_GATEWAY_MASTER_KEY counts; without that, an embedded store
	// makes a key of its own beside its data at first start, and a shared one refuses to start.
	MasterKey string `json:"master_key,omitempty"`

	// MasterKeyFile is a file that holds the master key.
	MasterKeyFile string `json:"master_key_file,omitempty"`

	// Directory says which record counts: the gateway's own, or the W&B server's behind it.
	Directory *DirectoryConfig `json:"directory,omitempty"`

	// Enforcement is `enforce`, or `shadow` to decide and log without ever refusing.
	Enforcement string `json:"enforcement,omitempty"`

	// FailureLimit bounds failed credentials for each client address, such as `300/m`; `off` bounds
	// nothing. Default: 300/m.
	FailureLimit string `json:"failure_limit,omitempty"`

	// StaleLimit is how long cached records count when the store does not answer, 1 s to 60 s.
	// Default: 10 s. A change takes effect at the next start.
	StaleLimit caddy.Duration `json:"stale_limit,omitempty"`

	// CacheSize bounds the memory for decoded records, by estimate: 16 MiB to 64 GiB, such as
	// "256MiB". Default: 256 MiB. A change takes effect at the next start.
	CacheSize Size `json:"cache_size,omitempty"`

	// SeamlessReload takes connections from a socket that stays open while configurations change, so
	// that a reload ends none. Off leaves sockets to Caddy. Default: on.
	SeamlessReload *Switch `json:"seamless_reload,omitempty"`

	// PersonalEntities gives every person an entity of their own (SCOPE-9). Default: on.
	PersonalEntities *Switch `json:"personal_entities,omitempty"`

	// APIKeyCreation lets people and the service accounts of teams have new API keys. Off leaves that to service
	// accounts of the organization; keys that there are go on (KEY-12). Default: on.
	APIKeyCreation *Switch `json:"api_key_creation,omitempty"`

	// AnonymousPublicProjects lets callers without a credential view Open and Public projects
	// (VIS-15). Default: off.
	AnonymousPublicProjects Switch `json:"anonymous_public_projects,omitempty"`

	// JWTIssuers are the issuers whose assertions are exchanged for access tokens. Administrators can
	// register more.
	JWTIssuers []*JWTIssuer `json:"jwt_issuer,omitempty"`

	// AccessToken says how the gateway's own tokens are made.
	AccessToken *AccessToken `json:"access_token,omitempty"`

	// SkipAudienceValidation accepts assertions for any audience (FED-23). Default: off.
	SkipAudienceValidation Switch `json:"skip_audience_validation,omitempty"`

	// OIDC is the OpenID provider at which people sign in.
	OIDC *OIDC `json:"oidc,omitempty"`

	// LDAP is the directory with whose passwords people sign in.
	LDAP *LDAP `json:"ldap,omitempty"`

	// Session says how long browsers stay signed in.
	Session *SessionConfig `json:"session,omitempty"`

	// SSOProvisioning adds who signs in for the first time (JOIN-5, ENV-1). Default: on.
	SSOProvisioning *Switch `json:"sso_provisioning,omitempty"`

	// SSOGroupClaims makes membership in teams follow the claim `groups` (ENV-3). Default: off.
	SSOGroupClaims Switch `json:"sso_group_claims,omitempty"`

	// IdentifierClaims takes user names from the claim `preferred_username`, and full names from `name`
	// (ENV-7). Default: off.
	IdentifierClaims Switch `json:"identifier_claims,omitempty"`

	// Domains say which teams people of an e-mail domain join when they first sign in.
	Domains []*Domain `json:"domain,omitempty"`

	ctx      caddy.Context
	logger   *zap.Logger
	failures failure.Rate
	settings settings
	signIn   *signIn
	// variables are W&B's own that the gateway reads.
	variables map[string]bool

	mu       sync.Mutex
	handlers []*Handler
	state    *state
	services *services
	proxies  proxies

	leaving sync.Once // says once that connections are to move on

	// ended is closed when the configuration serves no more: it was replaced, or could not start.
	ended chan struct{}
}

// DirectoryConfig says where users, teams and projects come from.
type DirectoryConfig struct {
	// Source is `local`, or `wandb` for the server at URL.
	Source string `json:"source,omitempty"`
	// URL is the W&B server that is the record.
	URL string `json:"url,omitempty"`
	// APIKey is an admin's key of that server, for facts that a caller's own key does not show.
	APIKey string `json:"api_key,omitempty"`
	// TLSCA is a file of certificates to trust for that server, in place of the system's.
	TLSCA string `json:"tls_ca,omitempty"`
	// Hits is how long an answer counts. Default: 60 s.
	Hits caddy.Duration `json:"hits,omitempty"`
	// Misses is how long "unknown" counts. Default: 10 s.
	Misses caddy.Duration `json:"misses,omitempty"`
	// Timeout bounds one look-up. Default: 5 s.
	Timeout caddy.Duration `json:"timeout,omitempty"`
}

// Local and Wandb are the sources of a directory.
const (
	sourceLocal = "local"
	sourceWandb = "wandb"
)

// CaddyModule implements caddy.Module.
func (*App) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "wandb_gateway", New: func() caddy.Module { return new(App) }}
}

// Provision fills in defaults and checks everything that can be checked without opening anything:
// `validate` and `adapt` must leave no trace.
func (a *App) Provision(ctx caddy.Context) error {
	if err := measured.Register(ctx.GetMetricsRegistry()); err != nil {
		return fmt.Errorf("wandb_gateway: %w", err)
	}
	a.ctx, a.logger = ctx, ctx.Logger()
	a.ended = make(chan struct{})
	a.fillDefaults()
	if err := a.expand(); err != nil {
		return err
	}
	if err := a.check(); err != nil {
		return fmt.Errorf("wandb_gateway: %w", err)
	}
	var err error
	if a.failures, err = failure.ParseRate(a.FailureLimit); err != nil {
		return fmt.Errorf("wandb_gateway: %w", err)
	}
	e := newEnvironment()
	if a.settings, err = readSettings(a, e); err == nil {
		a.signIn, err = a.readSignIn(e)
	}
	if err != nil {
		return fmt.Errorf("wandb_gateway: %w", err)
	}
	a.variables = e.variables
	return nil
}

func (a *App) fillDefaults() {
	setDefault(&a.Organization, "wandb")
	setDefault(&a.Enforcement, "enforce")
	setDefault(&a.FailureLimit, "300/m")
	if a.StaleLimit == 0 {
		a.StaleLimit = caddy.Duration(10 * time.Second)
	}
	if a.CacheSize == 0 {
		a.CacheSize = hotcache.DefaultMaxBytes
	}
	if a.Store == nil {
		a.Store = &Store{}
	}
	a.Store.fillDefaults()
	if a.Directory == nil {
		a.Directory = &DirectoryConfig{}
	}
	setDefault(&a.Directory.Source, sourceLocal)
	if a.AccessToken == nil {
		a.AccessToken = &AccessToken{}
	}
	if a.Session == nil {
		a.Session = &SessionConfig{}
	}
}

// space is the store's space of the organization.
func (a *App) space() string { return cmp.Or(a.Formerly, a.Organization) }

func setDefault(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// expand puts in the values of placeholders such as {env.WANDB_ADMIN_KEY}, and makes the path of
// the store one that a later change of directory does not move.
func (a *App) expand() error {
	replacer := caddy.NewReplacer()
	err := expandAll(replacer, slices.Concat(a.signInValues(), a.storeValues(), []namedValue{
		{"access_token issuer", &a.AccessToken.Issuer},
		{"directory wandb", &a.Directory.URL},
		{"directory wandb api_key", &a.Directory.APIKey},
		{"directory wandb tls_ca", &a.Directory.TLSCA},
	}))
	if err != nil {
		return err
	}
	for _, issuer := range a.JWTIssuers {
		if issuer == nil { // JSON's null
			return errors.New("wandb_gateway: jwt_issuer: an issuer is null; write an object with its url")
		}
		if err := issuer.expand(replacer); err != nil {
			return err
		}
	}
	return a.Store.absolute()
}

// storeValues are the values that say which store is opened, for whom and with which key.
func (a *App) storeValues() []namedValue {
	return append(a.Store.values(), []namedValue{
		{"organization", &a.Organization},
		{"formerly", &a.Formerly},
		{"master_key", &a.MasterKey},
		{"master_key_file", &a.MasterKeyFile},
	}...)
}

func expandAll(replacer *caddy.Replacer, fields []namedValue) error {
	for _, field := range fields {
		value, err := replacer.ReplaceOrErr(*field.value, true, true)
		if err != nil {
			return fmt.Errorf("wandb_gateway: %s: %w; set the variable, or write the value", field.name, err)
		}
		*field.value = value
	}
	return nil
}

// check refuses settings that are wrong or contradict each other.
func (a *App) check() error {
	return cmp.Or(
		a.checkStore(),
		checkOneOf("enforcement", a.Enforcement, "enforce", "shadow"),
		checkStaleLimit("stale_limit", time.Duration(a.StaleLimit)),
		checkCacheSize(a.CacheSize),
		a.Directory.check(),
		a.checkFederation(),
	)
}

// checkStore is check for what says which store is opened, for whom and with which key.
func (a *App) checkStore() error {
	return cmp.Or(
		checkOrganization(a.Organization),
		checkOrganization(a.space()),
		a.Store.check(),
		a.checkOneMasterKey(),
		a.checkMasterKeyText(),
	)
}

func (a *App) checkOneMasterKey() error {
	if a.MasterKey != "" && a.MasterKeyFile != "" {
		return iam.Invalidf("master_key and master_key_file are both set; keep one")
	}
	return nil
}

// checkMasterKeyText checks a key that stands in the configuration or in its variable. A file is not
// opened before the start.
func (a *App) checkMasterKeyText() error {
	text := a.masterKeyText()
	if text == "" {
		return nil
	}
	return checkMasterKey(text)
}

func (d *DirectoryConfig) check() error {
	switch d.Source {
	case sourceLocal:
		if *d != (DirectoryConfig{Source: sourceLocal}) {
			return errLocalOptions
		}
		return nil
	case sourceWandb:
		_, err := serverURL(d.URL)
		return cmp.Or(err,
			checkLookupTime("hits", time.Duration(d.Hits)),
			checkLookupTime("misses", time.Duration(d.Misses)),
			checkLookupTime("timeout", time.Duration(d.Timeout)),
		)
	default:
		return notOneOf("directory", d.Source, sourceLocal, sourceWandb)
	}
}

// Start opens the store, or takes over the one that is open, and makes the gateways of all sites.
// Requests that come before it is done wait for it; if it fails, they go to the configuration that stays.
func (a *App) Start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := a.start(); err != nil {
		close(a.ended)
		return err
	}
	a.proxies = guardedProxies(httpApp(a))
	if a.seamless() {
		a.proxies.keepStreams()
	}
	started.add(a)
	return nil
}

func (a *App) start() error {
	state, err := acquireState(a)
	if err != nil {
		return fmt.Errorf("wandb_gateway: %w", err)
	}
	a.state = state
	if a.services, err = wire(a, state); err != nil {
		return errors.Join(fmt.Errorf("wandb_gateway: %w", err), a.release())
	}
	for _, h := range a.handlers {
		if err := h.build(a); err != nil {
			return errors.Join(fmt.Errorf("wandb_gateway: %w", err), a.release())
		}
	}
	return nil
}

// Stop lets go of the store; it closes when no newer configuration uses it. When the process ends,
// requests that are under way need it to their end: Caddy stops its apps in any order.
func (a *App) Stop() error {
	if caddy.Exiting() {
		a.proxies.endStreams()
		caddy.OnExit(func(context.Context) { a.end() })
		return nil
	}
	close(a.ended)
	a.proxies.letGo()
	return a.end()
}

// end leaves key sets to whichever configuration stays, the one that was replaced or the one that replaces
// it: had they been dropped before, a reload that fails would have to ask issuers again, which may be down.
func (a *App) end() error {
	started.remove(a)
	if stays := started.latest(); stays != nil {
		stays.dropKeySets()
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.release()
}

// dropKeySets ends the fetching for issuers that the configuration does not trust.
func (a *App) dropKeySets() {
	w := a.running()
	if w == nil {
		return
	}
	if err := w.tokens.DropKeySets(context.Background()); err != nil {
		a.logger.Warn("the keys of issuers that are not trusted any more go on being fetched for now", zap.Error(err))
	}
}

// hasEnded reports whether another configuration has taken this one's place.
func (a *App) hasEnded() bool {
	select {
	case <-a.ended:
		return true
	default:
		return false
	}
}

func (a *App) release() error {
	if a.state == nil {
		return nil
	}
	if a.services != nil {
		a.services.close()
	}
	a.state, a.services = nil, nil
	return releaseState(a)
}

// register adds a site's handler, whose gateway Start makes.
func (a *App) register(h *Handler) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.handlers = append(a.handlers, h)
}

// running returns what the app is made of, nil before Start and after Stop.
func (a *App) running() *services {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.services
}

// started are the apps that run, the latest last. During a reload there are two; the admin endpoint
// of a configuration that then fails to load must speak of the one that stays.
var started runningApps

type runningApps struct {
	mu   sync.Mutex
	apps []*App
}

func (r *runningApps) add(a *App) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apps = append(r.apps, a)
}

func (r *runningApps) remove(a *App) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.apps = slices.DeleteFunc(r.apps, func(other *App) bool { return other == a })
}

// latest returns the app that serves, nil if none does.
func (r *runningApps) latest() *App {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.apps) == 0 {
		return nil
	}
	return r.apps[len(r.apps)-1]
}

// Interface guards.
var (
	_ caddy.App         = (*App)(nil)
	_ caddy.Provisioner = (*App)(nil)
)
