package caddymodule

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/accounts"
	"github.com/wandb-gateway/wandb-gateway/internal/assertion"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/facts"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/signing"
	"github.com/wandb-gateway/wandb-gateway/internal/login"
	"github.com/wandb-gateway/wandb-gateway/internal/login/ldap"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/scim"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/store/migrate"
	"github.com/wandb-gateway/wandb-gateway/internal/vault"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// The purposes for which keys are derived from the master key. A purpose never changes its meaning:
// a new form of what it protects takes a new name.
const (
	purposeAPIKeys  = "api key hashes, v1"
	purposeTickets  = "upload tickets, v1"
	purposeSessions = "session cookies, v1"
	purposeSignIn   = "sign-in flows and forms, v1"
)

// services are what one running configuration is made of.
type services struct {
	directory *directory.Directory
	upstream  *upstream.Directory // nil unless the W&B server is the record
	facts     gateway.Directory
	accounts  gateway.Accounts // nil unless the gateway's directory is the record
	tickets   *gateway.Tickets
	failures  *failure.Limit[netip.Prefix]
	signing   *signing.Keys
	tokens    *tokenexchange.Service
	vault     *vault.Vault
	sessions  *session.Sessions
	login     *login.Login // nil unless people sign in here
	oidc      *oidc.Connector
	ldap      *ldap.Connector
	scim      *scim.Service // nil unless the gateway is the record
	// stop ends what runs beside the requests, and waits for it.
	stop func()
	// release lets go of what the next configuration may go on using.
	release []func()
}

func (w *services) close() {
	if w.stop != nil {
		w.stop()
	}
	for _, release := range w.release {
		release()
	}
}

// wire makes the services of a configuration from the state that outlives it.
func wire(a *App, s *state) (_ *services, err error) {
	ctx := context.Background()
	if err := s.checkMasterKey(ctx, a.space()); err != nil {
		return nil, err
	}
	// After the master key: a move into this store writes both at once, so that one of the two is met.
	if err := migrate.CheckFinished(ctx, s.store, a.space()); err != nil {
		return nil, err
	}
	s.uses.Start()
	w := &services{
		tickets:  gateway.NewTickets(s.keys.Derive(purposeTickets)),
		failures: keptLimit[netip.Prefix](s, "credentials by address", a.failures),
	}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	w.directory, err = directory.New(directory.Config{
		Cache: s.cache, Organization: a.Organization, Space: a.space(),
		HMACKey: s.keys.Derive(purposeAPIKeys), Settings: a.settings.Settings, Uses: s.uses,
		NoNewKeys: a.APIKeyCreation != nil && !bool(*a.APIKeyCreation),
		OwnerGone: reportOwnerGone(a.logger),
		CheckFederation: func(ctx context.Context, issuer, subject string, claims map[string]string) error {
			return w.tokens.CheckFederation(ctx, issuer, subject, claims)
		},
	})
	if err != nil {
		return nil, err
	}
	if w.vault, err = vault.New(vault.Config{Directory: w.directory, Cache: s.cache, Master: s.keys}); err != nil {
		return nil, err
	}
	if err := w.wireTokens(ctx, a, s); err != nil {
		return nil, err
	}
	if err := w.wireSignIn(a, s); err != nil {
		return nil, err
	}
	local := facts.NewLocal(w.directory, s.cache, w.tokens, holder{w.directory, w.sessions}, reportProject(a.logger))
	w.facts = local
	administered, err := accounts.New(accounts.Config{Directory: w.directory, Master: s.keys, Report: reportAdministration(a.logger)})
	if err != nil {
		return nil, err
	}
	if a.Directory.Source == sourceWandb {
		if err := w.wireUpstream(a); err != nil {
			return nil, err
		}
		w.facts = facts.NewWandb(local, w.upstream, a.settings.Settings)
	} else {
		w.accounts = administered
		w.scim, err = scim.New(scim.Config{Directory: w.directory, Gateway: a.gatewayURL, Report: reportProvisioning(a.logger)})
		if err != nil {
			return nil, err
		}
	}
	w.run(w.signing.Run, w.tokens.Run, w.sessions.Run, w.tryConnectors(a.logger),
		func(ctx context.Context) { local.Run(ctx, reportPlaces(a.logger)) },
		func(ctx context.Context) { administered.Run(ctx, reportHandovers(a.logger)) })
	return w, nil
}

// wireTokens makes what exchanges assertions and signs access tokens.
func (w *services) wireTokens(ctx context.Context, a *App, s *state) error {
	lifetime := cmp.Or(time.Duration(a.AccessToken.Lifetime), tokenexchange.DefaultLifetime)
	issuers := make([]tokenexchange.TrustedIssuer, len(a.JWTIssuers))
	for i, issuer := range a.JWTIssuers {
		var err error
		if issuers[i], err = issuer.load(); err != nil {
			return err
		}
	}
	var err error
	w.signing, err = signing.New(signing.Config{
		Cache: s.cache, Space: a.space(), Master: s.keys, Algorithm: jws.Algorithm(cmp.Or(a.AccessToken.Algorithm, "ES256")),
		Retain: tokenexchange.MaxLifetime, Report: reportSigning(a.logger),
	})
	if err != nil {
		return err
	}
	if err := w.signing.Ensure(ctx); err != nil {
		return err
	}
	w.tokens, err = tokenexchange.New(tokenexchange.Config{
		Directory: w.directory, Cache: s.cache, Space: a.space(), Signing: w.signing, KeySets: s.issuers,
		Issuers: issuers, SkipAudience: a.settings.skipAudience, Lifetime: lifetime,
		Failures: w.failures, IssuerFailures: keptLimit[string](s, "assertions by issuer", a.failures),
		Report: reportExchange(a.logger),
	})
	if err != nil {
		return err
	}
	return w.tokens.CheckMappings(ctx)
}

// run starts what works beside the requests.
func (w *services) run(tasks ...func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for _, task := range tasks {
		running.Go(func() { task(ctx) })
	}
	w.stop = func() {
		cancel()
		running.Wait()
	}
}

// wireUpstream asks the server that is the record. What it answered outlives a reload that changes
// nothing about it.
func (w *services) wireUpstream(a *App) error {
	server, err := serverURL(a.Directory.URL)
	if err != nil {
		return err
	}
	roots, err := readRoots(a.Directory.TLSCA)
	if err != nil {
		return err
	}
	config := upstream.Config{
		URL: server, Roots: roots, Organization: a.Organization,
		AdminKey: iam.NewSecret(adminKey(a)),
		Hits:     time.Duration(a.Directory.Hits),
		Misses:   time.Duration(a.Directory.Misses),
		Timeout:  time.Duration(a.Directory.Timeout),
		Report:   countLookup,
	}
	key := upstreamKey{server.String(), a.Organization, adminKey(a), contents(a.Directory.TLSCA), config.Hits, config.Misses, config.Timeout}
	var release func()
	w.upstream, release, err = keep(key, func() (*upstream.Directory, error) { return upstream.New(config) })
	if err != nil {
		return err
	}
	w.release = append(w.release, release)
	return nil
}

// adminKey is the key with which the server is asked for what a caller's own key does not show: the
// one in the directory's block, else the service key that a site works with.
func adminKey(a *App) string {
	if a.Directory.APIKey != "" {
		return a.Directory.APIKey
	}
	for _, h := range a.handlers {
		if h.APIKey != "" {
			return h.APIKey
		}
	}
	return ""
}

// newGateway makes the gateway of one site.
func newGateway(a *App, h *Handler) (*gateway.Gateway, error) {
	credential, err := h.upstreamCredential()
	if err != nil {
		return nil, err
	}
	unplaced, err := h.unplaced()
	if err != nil {
		return nil, err
	}
	assertions, err := newAssertions(a, h)
	if err != nil {
		return nil, err
	}
	return gateway.New(gateway.Config{
		Assertions:         assertions,
		Directory:          a.services.facts,
		Reader:             a.state.plans,
		Tickets:            a.services.tickets,
		Routes:             wandb.RouteConfig{WeavePrefix: h.WeavePrefix},
		UpstreamCredential: credential,
		ServiceKey:         iam.NewSecret(h.APIKey),
		UpstreamKeys:       a.services.vault,
		Unplaced:           unplaced,
		ForwardUnknown:     h.UnknownRoute == "forward",
		ServerSignIn:       a.Directory.Source == sourceWandb && credential == gateway.UpstreamPassthrough,
		OwnIdentity:        true,
		Accounts:           a.services.accounts,
		ForwardTelemetry:   h.Telemetry == "forward",
		AnonymousPublic:    a.settings.AnonymousPublicProjects,
		Shadow:             a.Enforcement == "shadow",
		Failures:           a.services.failures,
		SignIn:             a.services.signIn(),
		Doors:              doors(a),
		CallerDoors:        callerDoors(a),
		Host:               gateway.Host{Client: client, HTTPS: https, RequestID: requestID, Identified: identified, ProxyStatus: proxyStatus, Report: h.report},
	})
}

// newAssertions makes what tells the upstream of a site who calls; nil if the site does not ask for it.
func newAssertions(a *App, h *Handler) (gateway.Assertions, error) {
	if !h.Assertion {
		return nil, nil
	}
	audience, err := h.audience(httpApp(a))
	if err != nil {
		return nil, err
	}
	h.logger.Info("the upstream is told who calls by a signed assertion", zap.String("audience", audience))
	return assertion.New(assertion.Config{
		Signing: a.services.signing, Cache: a.state.cache, Audience: audience, Issuer: a.gatewayURL,
	})
}

// doors are what the gateway serves itself. In front of a server that is the record, the exchange is one
// of them only when an issuer is configured (design section 6), and the keys also when a site's server
// is told who calls.
func doors(a *App) map[wandb.Door]http.Handler {
	served := map[wandb.Door]http.Handler{
		wandb.DoorHealthz: http.HandlerFunc(healthz),
		wandb.DoorReadyz:  readyz(a.state),
		wandb.DoorOther:   http.NotFoundHandler(),
	}
	if l := a.services.login; l != nil {
		served[wandb.DoorLogin] = http.HandlerFunc(l.ServeLogin)
		served[wandb.DoorCallback] = http.HandlerFunc(l.ServeCallback)
		served[wandb.DoorBackchannelLogout] = http.HandlerFunc(l.ServeBackchannelLogout)
		served[wandb.DoorLogout] = http.HandlerFunc(l.ServeLogout)
		served[wandb.DoorAuthorize] = http.HandlerFunc(l.ServeAuthorize)
	}
	exchange := &tokenexchange.Endpoint{
		Service:   a.services.tokens,
		Client:    clientAddress,
		Gateway:   a.gatewayURL,
		RequestID: requestID,
	}
	exchanges := a.Directory.Source == sourceLocal || len(a.JWTIssuers) > 0
	if exchanges || slices.ContainsFunc(a.handlers, func(h *Handler) bool { return bool(h.Assertion) }) {
		served[wandb.DoorJWKS] = http.HandlerFunc(exchange.Keys)
	}
	if !exchanges {
		return served
	}
	served[wandb.DoorToken] = exchange
	served[wandb.DoorAuthorizationServer] = http.HandlerFunc(exchange.Metadata)
	return served
}

// callerDoors are what the gateway serves to those who administer: the directory is its own to keep only
// where it is the record.
func callerDoors(a *App) map[wandb.Door]gateway.CallerDoor {
	if a.services.scim == nil {
		return nil
	}
	return map[wandb.Door]gateway.CallerDoor{
		wandb.DoorSCIM:   scim.Dialect{Service: a.services.scim},
		wandb.DoorSCIMv2: scim.V2{Service: a.services.scim},
	}
}

// gatewayURL is the gateway's own address: as configured, else as the client wrote it.
func (a *App) gatewayURL(r *http.Request) string {
	if a.AccessToken.Issuer != "" {
		return strings.TrimSuffix(a.AccessToken.Issuer, "/")
	}
	return scheme(r) + "://" + r.Host
}

// readRoots reads a file of certificates in PEM; nil stands for the system's.
func readRoots(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, iam.Invalidf("tls_ca: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, iam.Invalidf("tls_ca %s holds no certificate in PEM", file)
	}
	return roots, nil
}
