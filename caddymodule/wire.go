package caddymodule

import (
	"context"
	"crypto/x509"
	"net/http"
	"net/netip"
	"os"
	"time"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/facts"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
)

// The purposes for which keys are derived from the master key. A purpose never changes its meaning:
// a new form of what it protects takes a new name.
const (
	purposeAPIKeys = "api key hashes, v1"
	purposeTickets = "upload tickets, v1"
)

// services are what one running configuration is made of.
type services struct {
	directory *directory.Directory
	upstream  *upstream.Directory // nil unless the W&B server is the record
	facts     gateway.Directory
	tickets   *gateway.Tickets
	failures  *failure.Limit[netip.Prefix]
}

// wire makes the services of a configuration from the state that outlives it.
func wire(a *App, s *state) (*services, error) {
	if err := s.checkMasterKey(context.Background(), a.Organization); err != nil {
		return nil, err
	}
	d, err := directory.New(directory.Config{
		Cache: s.cache, Organization: a.Organization,
		HMACKey: s.keys.Derive(purposeAPIKeys), Settings: a.settings.Settings,
	})
	if err != nil {
		return nil, err
	}
	local := facts.NewLocal(d, s.cache)
	w := &services{
		directory: d, facts: local,
		tickets:  gateway.NewTickets(s.keys.Derive(purposeTickets)),
		failures: failure.NewLimit[netip.Prefix](a.failures),
	}
	if a.Directory.Source != sourceWandb {
		return w, nil
	}
	if w.upstream, err = newUpstream(a); err != nil {
		return nil, err
	}
	w.facts = facts.NewWandb(local, w.upstream, a.settings.Settings)
	return w, nil
}

func newUpstream(a *App) (*upstream.Directory, error) {
	server, err := serverURL(a.Directory.URL)
	if err != nil {
		return nil, err
	}
	roots, err := readRoots(a.Directory.TLSCA)
	if err != nil {
		return nil, err
	}
	return upstream.New(upstream.Config{
		URL: server, Roots: roots, Organization: a.Organization,
		AdminKey: iam.NewSecret(adminKey(a)),
		Hits:     time.Duration(a.Directory.Hits),
		Misses:   time.Duration(a.Directory.Misses),
		Timeout:  time.Duration(a.Directory.Timeout),
	})
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
	return gateway.New(gateway.Config{
		Directory:          a.services.facts,
		Reader:             a.state.plans,
		Tickets:            a.services.tickets,
		Routes:             wandb.RouteConfig{WeavePrefix: h.WeavePrefix},
		UpstreamCredential: credential,
		ServiceKey:         iam.NewSecret(h.APIKey),
		Unplaced:           unplaced,
		ForwardUnknown:     h.UnknownRoute == "forward",
		ServerSignIn:       a.Directory.Source == sourceWandb && credential == gateway.UpstreamPassthrough,
		OwnIdentity:        true,
		ForwardTelemetry:   h.Telemetry == "forward",
		AnonymousPublic:    a.settings.AnonymousPublicProjects,
		Shadow:             a.Enforcement == "shadow",
		Failures:           a.services.failures,
		Doors: map[wandb.Door]http.Handler{
			wandb.DoorHealthz: http.HandlerFunc(healthz),
			wandb.DoorReadyz:  readyz(a.state),
			wandb.DoorOther:   http.NotFoundHandler(),
		},
		Host: gateway.Host{Client: client, RequestID: requestID, Identified: identified, Report: h.report},
	})
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
