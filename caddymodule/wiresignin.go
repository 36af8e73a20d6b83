package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login"
	"github.com/wandb-gateway/wandb-gateway/internal/login/ldap"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// wireSignIn makes what signs people in. Sessions are there in any case: those of a time when people
// signed in here are still listed and end by themselves.
func (w *services) wireSignIn(a *App, s *state) error {
	var err error
	w.sessions, err = session.New(session.Config{
		Cache: s.cache, Space: a.space(), HMACKey: s.keys.Derive(purposeSessions), Length: a.signIn.length,
	})
	if err != nil {
		return err
	}
	if err := w.wireConnectors(a); err != nil || !a.signIn.configured() {
		return err
	}
	c := login.Config{
		Directory: w.directory, Sessions: w.sessions,
		SealKey: s.keys.Derive(purposeSignIn), Settings: a.signIn.settings,
		Hosts: a.signIn.hosts,
		HTTPS: https, Client: clientAddress, RequestID: requestID,
		AddressFailures: keptLimit[netip.Prefix](s, "passwords by address", a.failures),
		AccountFailures: keptLimit[string](s, "passwords by account", accountFailures(a.failures)),
		Canonical:       ldap.Canonical,
		Report:          reportSignIn(a.logger),
	}
	if a.signIn.sites {
		c.Host = findSites(httpApp(a)).own
	}
	if a.asksPerUser() {
		c.UpstreamKeys = w.vault
	}
	if w.oidc != nil { // an interface that holds a nil pointer is not nil
		c.Provider = w.oidc
	}
	if w.ldap != nil && a.signIn.password {
		c.Passwords = w.ldap
	}
	if a.signIn.restore {
		c.Restore = s.restorePassword(a.logger)
	}
	w.login, err = login.New(c)
	return err
}

// asksPerUser reports whether a site asks the server with each caller's own key.
func (a *App) asksPerUser() bool {
	return slices.ContainsFunc(a.handlers, func(h *Handler) bool { return h.UpstreamCredential == "per_user" })
}

func (w *services) wireConnectors(a *App) error {
	if c := a.signIn.oidc; c != nil {
		config := *c
		config.KeyWait = oidc.DefaultKeyWait
		var err error
		if config.Roots, err = readRoots(a.oidcRoots()); err != nil {
			return err
		}
		if err := w.wireProvider(config, contents(a.oidcRoots())); err != nil {
			return err
		}
	}
	if c := a.signIn.ldap; c != nil {
		config := *c
		var err error
		if config.Roots, err = readRoots(a.ldapRoots()); err != nil {
			return err
		}
		if w.ldap, err = ldap.New(config); err != nil {
			return err
		}
	}
	return nil
}

// wireProvider makes the connector of the OpenID provider. What it knows of the provider, and who is just
// signing in, outlive a reload that changes nothing about it.
func (w *services) wireProvider(config oidc.Config, roots string) error {
	key := providerKey{config.Issuer, config.ClientID, config.ClientSecret.Reveal(), roots, strings.Join(config.Scopes, " "), config.GroupsClaim, config.Method}
	var release func()
	var err error
	w.oidc, release, err = keep(key, func() (*oidc.Connector, error) { return oidc.New(config) })
	if err != nil {
		return err
	}
	w.release = append(w.release, release)
	return nil
}

func (a *App) oidcRoots() string {
	if a.OIDC == nil {
		return ""
	}
	return a.OIDC.TLSCA
}

func (a *App) ldapRoots() string {
	if a.LDAP == nil {
		return ""
	}
	return a.LDAP.TLSCA
}

// httpApp returns Caddy's HTTP server, nil in a configuration without one.
func httpApp(a *App) *caddyhttp.App {
	app, err := a.ctx.AppIfConfigured("http")
	if err != nil {
		return nil
	}
	found, _ := app.(*caddyhttp.App)
	return found
}

// signIn is what the gateway of a site knows of sign-in; nil if nobody signs in here.
func (w *services) signIn() *gateway.SignIn {
	if w.login == nil {
		return nil
	}
	return &gateway.SignIn{Page: "/oidc/login", Ready: w.login.Ready}
}

// accountFailures limits wrong passwords for one account: a tenth of what an address may get wrong, for
// behind an address there may be many people.
func accountFailures(r failure.Rate) failure.Rate {
	if r == (failure.Rate{}) {
		return r
	}
	return failure.Rate{Number: max(r.Number/10, 5), Period: r.Period}
}

// holder fulfils facts.Sessions.
type holder struct {
	directory *directory.Directory
	sessions  *session.Sessions
}

// Holder implements facts.Sessions.
func (h holder) Holder(ctx context.Context, cookie iam.Secret) (*iam.Principal, error) {
	p, _, err := login.Holder(ctx, h.directory, h.sessions, cookie)
	return p, err
}

// connectorTimeout bounds a look at a connector that nobody waits for.
const connectorTimeout = 30 * time.Second

// tryConnectors looks once whether the provider and the directory can be used, so that the log says at
// start what people would otherwise find out. A directory with `login off` is tested this way before
// anybody depends on it (LDAP-2, LDAP-7).
func (w *services) tryConnectors(logger *zap.Logger) func(context.Context) {
	return func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, connectorTimeout)
		defer cancel()
		if w.oidc != nil {
			if err := w.oidc.Discover(ctx); err != nil && ctx.Err() == nil {
				logger.Warn("the OpenID provider cannot be used; the gateway finds it by itself when it can", zap.String("issuer", w.oidc.Issuer()), zap.Error(err))
			}
		}
		if w.ldap == nil {
			return
		}
		switch err := w.ldap.Test(ctx); {
		case ctx.Err() != nil:
		case err != nil:
			logger.Warn("the LDAP directory cannot be used", zap.Error(err))
		default:
			logger.Info("the LDAP directory can be used")
		}
	}
}

// restorePassword is the temporary password of LOCAL_RESTORE (OIDC-24). It stays the same as long as the
// process runs, and is printed each time the configuration asks for it.
func (s *state) restorePassword(logger *zap.Logger) iam.Secret {
	s.restoreOnce.Do(func() {
		var random [15]byte
		rand.Read(random[:]) // never fails (crypto/rand)
		s.restore = iam.NewSecret(base32.StdEncoding.EncodeToString(random[:]))
	})
	logger.Error("LOCAL_RESTORE is set: single sign-on is off, and whoever has this temporary password can sign in as any organization admin; remove the variable as soon as you are in again",
		zap.String("temporary_password", s.restore.Reveal()))
	return s.restore
}

// reportSignIn logs what happens at the doors of sign-in.
func reportSignIn(logger *zap.Logger) func(*http.Request, login.Event) {
	return func(r *http.Request, e login.Event) {
		countSignIn(e)
		switch e.Action {
		case login.ActionBegun, login.ActionSignOut:
			leaveUnlogged(r)
		}
		fields := []zap.Field{
			zap.String("request_id", requestID(r)), zap.String("client", clientAddress(r).String()),
			zap.String("action", string(e.Action)), zap.String("method", string(e.Method)),
		}
		for _, text := range []struct{ name, value string }{
			{"reason", string(e.Reason)}, {"issuer", e.Issuer}, {"subject", e.Subject}, {"login", e.Login},
			{"principal", e.User.String()}, {"username", e.Username}, {"session", e.Session}, {"key", string(e.Key)},
		} {
			if text.value != "" {
				fields = append(fields, zap.String(text.name, text.value))
			}
		}
		for _, list := range []struct {
			name  string
			names []string
		}{{"joined", e.Joined}, {"left", e.Left}, {"unknown_groups", e.Unknown}} {
			if len(list.names) > 0 {
				fields = append(fields, zap.Strings(list.name, list.names))
			}
		}
		if e.Created {
			fields = append(fields, zap.Bool("created", true))
		}
		if e.Sessions > 0 {
			fields = append(fields, zap.Int("sessions", e.Sessions))
		}
		if e.Err != nil {
			fields = append(fields, zap.NamedError("cause", e.Err))
		}
		switch {
		case e.Method == session.MethodRestore:
			logger.Error("sign-in past single sign-on", fields...) // loud: somebody used the way in for lock-outs
		case iam.KindOf(e.Err) == iam.KindUnavailable && e.Err != nil:
			logger.Error("sign-in could not be judged", fields...)
		default:
			logger.Info("sign-in", fields...)
		}
	}
}

// leaveUnlogged keeps a request out of the access log. Whoever signs out is sent to the provider with the
// ID token in the address, and whoever signs in with state and nonce, by which a reader of the log could
// sign that browser in as somebody else. Caddy logs the headers of its answers as they are; the line about
// the sign-in or sign-out says as much and holds none of it.
func leaveUnlogged(r *http.Request) {
	server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if ok && (server.Logs == nil || !server.Logs.ShouldLogCredentials) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}
