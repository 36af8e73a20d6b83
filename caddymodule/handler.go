package caddymodule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync/atomic"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// Handler judges the requests of one site and hands those that may pass to what comes after it,
// usually reverse_proxy. It sets the placeholders {http.auth.user.id}, .username, .email, .kind and
// .organization, so that access logs name the caller.
type Handler struct {
	// UpstreamCredential is what the W&B server is shown: `none`, `passthrough`, `api_key` or `per_user`.
	// Default: passthrough with `directory wandb`, else none.
	UpstreamCredential string `json:"upstream_credential,omitempty"`

	// APIKey is the service key for `upstream_credential api_key`.
	APIKey string `json:"api_key,omitempty"`

	// Assertion sends X-Wandb-Gateway-Assertion along: a signed statement of who calls, which the server can
	// verify. Default: off.
	Assertion Switch `json:"assertion,omitempty"`

	// AssertionAudience is whom the statement is for. Default: scheme://host:port of the one upstream of the
	// site's reverse_proxy.
	AssertionAudience string `json:"assertion_audience,omitempty"`

	// Unplaced says who may do what cannot be placed in a project: `deny`, `members` or `allow`.
	// Default: deny, but members with `passthrough` and `per_user`, where the server judges again.
	Unplaced string `json:"unplaced,omitempty"`

	// UnknownRoute says whether a request passes whose address the gateway does not know and that
	// could change something: `refuse` or `forward`. Default: refuse, but forward where the W&B
	// server signs people in itself.
	UnknownRoute string `json:"unknown_route,omitempty"`

	// Telemetry is `off`, which answers 404 to the SDK's telemetry, or `forward`.
	Telemetry string `json:"telemetry,omitempty"`

	// WeavePrefix is the path below which Weave's trace server answers. Default: /traces.
	WeavePrefix string `json:"weave_prefix,omitempty"`

	app     *App
	logger  *zap.Logger
	gateway atomic.Pointer[gateway.Gateway]
	ready   chan struct{}
}

// CaddyModule implements caddy.Module.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.wandb_gateway", New: func() caddy.Module { return new(Handler) }}
}

// Provision fills in defaults, checks, and joins the app.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.logger = ctx.Logger()
	h.ready = make(chan struct{})
	app, err := ctx.App("wandb_gateway")
	if err != nil {
		return err
	}
	h.app = app.(*App)
	h.fillDefaults()
	if h.APIKey, err = caddy.NewReplacer().ReplaceOrErr(h.APIKey, true, true); err != nil {
		return fmt.Errorf("wandb_gateway: upstream_credential api_key: %w; set the variable, or write the key", err)
	}
	if h.AssertionAudience, err = caddy.NewReplacer().ReplaceOrErr(h.AssertionAudience, true, true); err != nil {
		return fmt.Errorf("wandb_gateway: assertion on: %w; set the variable, or write the audience", err)
	}
	if err := h.check(); err != nil {
		return fmt.Errorf("wandb_gateway: %w", err)
	}
	h.app.register(h)
	return nil
}

func (h *Handler) fillDefaults() {
	wandbIsRecord := h.app.Directory.Source == sourceWandb
	if wandbIsRecord {
		setDefault(&h.UpstreamCredential, "passthrough")
	}
	setDefault(&h.UpstreamCredential, "none")
	switch h.UpstreamCredential {
	case "passthrough":
		setDefault(&h.Unplaced, "members")
		if wandbIsRecord {
			setDefault(&h.UnknownRoute, "forward")
		}
	case "per_user":
		setDefault(&h.Unplaced, "members")
	}
	setDefault(&h.Unplaced, "deny")
	setDefault(&h.UnknownRoute, "refuse")
	setDefault(&h.Telemetry, "off")
	setDefault(&h.WeavePrefix, wandb.DefaultWeavePrefix)
}

func (h *Handler) check() error {
	if _, err := h.upstreamCredential(); err != nil {
		return err
	}
	if _, err := h.unplaced(); err != nil {
		return err
	}
	switch {
	case (h.UpstreamCredential == "api_key") != (h.APIKey != ""):
		return iam.Invalidf("upstream_credential api_key needs a key, and nothing else takes one: write `upstream_credential api_key {env.WANDB_SERVICE_KEY}`")
	case h.AssertionAudience != "" && !bool(h.Assertion):
		return iam.Invalidf("assertion_audience is for `assertion on`, which is off; write both or neither")
	case h.UpstreamCredential == "passthrough" && h.app.Directory.Source == sourceLocal:
		return iam.Invalidf("upstream_credential passthrough needs `directory wandb URL`: the W&B server does not know credentials of `directory local`")
	case (h.UpstreamCredential == "none" || h.UpstreamCredential == "per_user") && h.app.Directory.Source == sourceWandb && h.app.Directory.APIKey == "":
		return iam.Invalidf("upstream_credential %s with directory wandb needs an admin's key in the block, `directory wandb URL { api_key ... }`: without it a project that the caller cannot see looks like a new one", h.UpstreamCredential)
	}
	return cmp.Or(
		checkAudience(h.AssertionAudience),
		checkOneOf("unknown_route", h.UnknownRoute, "refuse", "forward"),
		checkOneOf("telemetry", h.Telemetry, "off", "forward"),
		checkWeavePrefix(h.WeavePrefix),
	)
}

var upstreamCredentials = []string{"none", "passthrough", "api_key", "per_user"}

func (h *Handler) upstreamCredential() (gateway.UpstreamCredential, error) {
	switch h.UpstreamCredential {
	case "none":
		return gateway.UpstreamNone, nil
	case "passthrough":
		return gateway.UpstreamPassthrough, nil
	case "api_key":
		return gateway.UpstreamAPIKey, nil
	case "per_user":
		return gateway.UpstreamPerUser, nil
	}
	return 0, notOneOf("upstream_credential", h.UpstreamCredential, upstreamCredentials...)
}

func (h *Handler) unplaced() (authz.UnplacedPolicy, error) {
	switch h.Unplaced {
	case "deny":
		return authz.UnplacedDeny, nil
	case "members":
		return authz.UnplacedMembers, nil
	case "allow":
		return authz.UnplacedAllow, nil
	}
	return 0, notOneOf("unplaced", h.Unplaced, "deny", "members", "allow")
}

// build makes the gateway when the app has what it needs.
func (h *Handler) build(a *App) error {
	g, err := newGateway(a, h)
	if err != nil {
		return err
	}
	h.gateway.Store(g)
	close(h.ready)
	return nil
}

// ServeHTTP implements caddyhttp.MiddlewareHandler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	g := h.gateway.Load()
	if g == nil {
		if g = h.await(r.Context()); g == nil {
			return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("wandb_gateway has not started"))
		}
	}
	if gateway.HasUnhidden(r) {
		switch {
		case restore(r):
			next = hideWeaveKey(next)
		case serveAgain(w, r):
			return nil
		}
	}
	return g.ServeHTTP(w, r, next)
}

// await waits for the app: the listener may be open before the store is.
func (h *Handler) await(ctx context.Context) *gateway.Gateway {
	select {
	case <-h.ready:
		return h.gateway.Load()
	case <-ctx.Done():
		return nil
	}
}

// client tells the caller's address, as far as the site trusts proxies.
func client(r *http.Request) (netip.Addr, bool) {
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	text, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	addr, err := netip.ParseAddr(text)
	if err != nil {
		return netip.Addr{}, trusted
	}
	return addr, trusted
}

func clientAddress(r *http.Request) netip.Addr {
	addr, _ := client(r)
	return addr
}

// https reports whether the client speaks https: itself, or through a trusted proxy that says so.
func https(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	return trusted && r.Header.Get("X-Forwarded-Proto") == "https"
}

func scheme(r *http.Request) string {
	if https(r) {
		return "https"
	}
	return "http"
}

// proxyStatus is the status of an error of reverse_proxy's, which it returns in place of an answer.
func proxyStatus(err error) int {
	failed, ok := errors.AsType[caddyhttp.HandlerError](err)
	if !ok {
		return 0
	}
	switch failed.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return failed.StatusCode
	default:
		return 0
	}
}

// requestID is the id that Caddy gives a request in its own placeholders.
func requestID(r *http.Request) string {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return ""
	}
	id, _ := replacer.GetString("http.request.uuid")
	return id
}

// identified gives the placeholders that access logs and later handlers use. They are worked out
// when somebody asks for one.
func identified(r *http.Request, p *iam.Principal) {
	replacer, ok := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	if !ok {
		return
	}
	replacer.Map(func(key string) (any, bool) {
		switch key {
		case "http.auth.user.id":
			return p.Ref.ID, true
		case "http.auth.user.username":
			return p.Username, true
		case "http.auth.user.email":
			return p.Email, true
		case "http.auth.user.kind":
			return p.Ref.Kind.String(), true
		case "http.auth.user.organization":
			return p.Organization, true
		}
		return nil, false
	})
}

// Interface guards.
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
)
