package gateway

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/netip"
	"sync"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// Directory is where the facts come from: the gateway's own record or the deployment behind it
// (design section 4). It is the one seam between the two.
//
// Errors are iam.Errors: KindUnauthenticated when a credential is not known or no longer counts,
// KindUnavailable when nobody can tell at the moment, which is neither yes nor no.
type Directory interface {
	// Identify finds who holds a credential. It is called for every request and must be fast when
	// asked again. Nil without an error stands for a cookie that is no session at all.
	Identify(ctx context.Context, c iam.Credential) (*iam.Principal, error)

	// Principal finds a principal by reference, for tickets that were made for one.
	Principal(ctx context.Context, ref iam.PrincipalRef) (*iam.Principal, error)

	// Facts returns what is known of an entity and a project, as one revision. Either name may be
	// empty. Names that stand for nothing give nil fields, not errors.
	Facts(ctx context.Context, who Caller, entity, project string) (authz.Facts, error)

	// Place finds the project that an opaque id belongs to. It returns KindNotFound when the id
	// cannot be placed.
	Place(ctx context.Context, who Caller, t wandb.IDType, id string) (entity, project string, err error)

	// Attribute finds the person for whom a service account works in the destination entity, nil
	// if the claim does not hold (ATTR-3..9).
	Attribute(ctx context.Context, who Caller, destination *iam.Entity, claim iam.Attribution) (*iam.Principal, error)

	// Learn records what an answer told: projects made, visibilities changed, ids placed. What it
	// has acknowledged is kept.
	Learn(ctx context.Context, who Caller, learned []wandb.Learned) error
}

// Caller is who asks: the principal, and the credential that proved it, with which the deployment
// behind may be asked in the caller's own name.
type Caller struct {
	Principal  *iam.Principal // nil for an anonymous caller
	Credential iam.Credential
	// Ask, given where ids are to be placed, puts a GraphQL request of the gateway's own to the upstream, on the way that the caller's
	// request takes, with the caller's verified identity and the site's credential. It returns the
	// answer's body.
	Ask func(ctx context.Context, body []byte) ([]byte, error)
}

// UpstreamCredential says with what the upstream is shown that a request may pass (design
// section 4).
type UpstreamCredential uint8

// The kinds. The zero value shows nothing: the upstream trusts the gateway's headers.
const (
	UpstreamNone        UpstreamCredential = iota
	UpstreamPassthrough                    // the caller's own credential
	UpstreamAPIKey                         // one service key; attribution names the caller
	UpstreamPerUser                        // the key that is kept for the caller
)

// UpstreamKeys are the keys of the upstream's own that are kept for principals.
type UpstreamKeys interface {
	// Authorization returns the Authorization header that shows the upstream the key of a principal; "" when
	// none is kept. iam.KindUnavailable means that nobody can tell at the moment. It is called for every
	// request that goes on and must be fast when asked again.
	Authorization(ctx context.Context, p *iam.Principal) (string, error)
}

// Assertions are signed statements of who calls, for the upstream.
type Assertions interface {
	// Assertion returns the statement that p makes the request and for whom it works; worksFor may be nil.
	// iam.KindUnavailable means that nothing can be signed at the moment. It is called for every request of
	// a caller that goes on and must be fast when asked again.
	Assertion(r *http.Request, p, worksFor *iam.Principal) (string, error)
}

// Config is what a Gateway needs. Directory, Reader and Tickets are required.
type Config struct {
	Directory Directory
	Reader    *wandb.Reader
	Tickets   *Tickets
	Routes    wandb.RouteConfig

	UpstreamCredential UpstreamCredential
	// ServiceKey is shown to the upstream with UpstreamAPIKey.
	ServiceKey iam.Secret
	// UpstreamKeys are shown to the upstream with UpstreamPerUser.
	UpstreamKeys UpstreamKeys

	// Assertions, if set, are sent along in the header X-Wandb-Gateway-Assertion.
	Assertions Assertions

	// Unplaced decides over what cannot be placed in a project (design section 3, step 4).
	Unplaced authz.UnplacedPolicy
	// ForwardUnknown lets requests pass whose route is not in the table (`unknown_route forward`).
	ForwardUnknown bool
	// ServerSignIn says that the server behind signs people in itself: its own pages, cookies and
	// forms pass, and requests without a credential are its to judge.
	ServerSignIn bool
	// AnonymousPublic says that callers without a credential may view Open and Public projects, so
	// that their requests are worth reading (VIS-15).
	AnonymousPublic bool
	// OwnIdentity says that the gateway answers `viewer` itself, because the upstream does not know
	// the caller.
	OwnIdentity bool
	// Accounts, if set, is the gateway's own record of people, teams and API keys, which the SDK's administration
	// changes. nil leaves it to the upstream, and refuses it to callers whom the upstream does not know.
	Accounts Accounts
	// ForwardTelemetry lets /sdk/otel pass instead of answering 404.
	ForwardTelemetry bool
	// Shadow decides and reports, but refuses nothing that a decision or an unknown credential
	// would refuse. Malformed requests are refused all the same, and so are administration that the
	// upstream would carry out on somebody else's account, and what another site made a browser send.
	Shadow bool

	// SignIn says that the gateway signs people in at a browser; nil if it does not.
	SignIn *SignIn

	// Failures limits failed credentials for each address; nil limits nothing.
	Failures *failure.Limit[netip.Prefix]
	// Doors are what the gateway serves itself. A door that is not in it but in the route table
	// answers 404.
	Doors map[wandb.Door]http.Handler
	// CallerDoors are those of its own for which the gateway finds out who calls.
	CallerDoors map[wandb.Door]CallerDoor

	Host Host
}

// CallerDoor is one of the gateway's own doors that serves those who hold an API key. What it refuses, it
// returns as an error, and the gateway answers.
type CallerDoor interface {
	// ServeCaller answers a request of a principal, nil for a request without a credential.
	ServeCaller(w http.ResponseWriter, r *http.Request, caller *iam.Principal) error
}

// SignIn is what the gateway knows of its own sign-in, whose doors are among Doors.
type SignIn struct {
	// Page is where a browser signs in. It takes the parameter return_to.
	Page string
	// Ready returns why the page would lead this browser nowhere, and may take a while to find out; nil if
	// somebody can sign in.
	Ready func(*http.Request) error
}

// Host is what the server around the gateway knows of a request. Every field may be nil.
type Host struct {
	// Client returns the caller's address as far as proxies are trusted, and whether the peer is a
	// trusted proxy.
	Client func(*http.Request) (addr netip.Addr, trustedProxy bool)
	// HTTPS reports whether the client speaks https, as far as proxies are trusted.
	HTTPS func(*http.Request) bool
	// RequestID returns the id under which the server logs the request.
	RequestID func(*http.Request) string
	// Identified is told who calls, before the request goes on.
	Identified func(*http.Request, *iam.Principal)
	// ProxyStatus returns the status that an error of the proxy stands for, if the proxy has answered
	// nothing and the server behind it is at fault: 502, 503 or 504. 0 for every other error.
	ProxyStatus func(error) int
	// Report is told how each request ended. It does not keep the event.
	Report func(*http.Request, *Event)
}

// Gateway judges requests and lets through what may pass. It is safe for use by many goroutines.
type Gateway struct {
	Config
	serviceAuthorization string
	soleJudge            bool
}

// New checks the configuration and returns a Gateway.
func New(c Config) (*Gateway, error) {
	switch {
	case c.Directory == nil || c.Reader == nil || c.Tickets == nil:
		return nil, errors.New("gateway: Directory, Reader and Tickets are required")
	case c.UpstreamCredential == UpstreamAPIKey && c.ServiceKey.IsZero():
		return nil, errors.New("gateway: upstream_credential api_key needs a key")
	case c.UpstreamCredential == UpstreamPerUser && c.UpstreamKeys == nil:
		return nil, errors.New("gateway: upstream_credential per_user needs UpstreamKeys")
	}
	// With UpstreamPerUser the upstream judges too, but by keys that are not the callers' own credentials:
	// a team's stands for service accounts that may do less, and nobody has proved whose key was stored.
	g := &Gateway{Config: c, soleJudge: c.UpstreamCredential != UpstreamPassthrough}
	if c.UpstreamCredential == UpstreamAPIKey {
		g.serviceAuthorization = "Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+c.ServiceKey.Reveal()))
	}
	return g, nil
}

// ServeHTTP judges one request and hands it to next when it may pass. The error is next's own; what
// the gateway refuses it answers itself.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request, next Handler) error {
	x := exchanges.Get().(*exchange)
	*x = exchange{g: g, w: w, r: r, next: next}
	err := x.run()
	if refusal, ok := errors.AsType[*refusal](err); ok {
		x.w = w // what watches the upstream's answer does not watch ours
		x.refuse(refusal.error)
		err = nil
	} else if err != nil && x.unanswered(err) {
		err = nil
	}
	x.report()
	*x = exchange{} // nothing of one request waits in the pool for another
	exchanges.Put(x)
	return err
}

// exchanges are used again: one is larger than all else that a request needs here. Whatever an
// exchange hands out ends with the request.
var exchanges = sync.Pool{New: func() any { return new(exchange) }}

// Handler is what comes after the gateway: the reverse proxy.
type Handler interface {
	ServeHTTP(http.ResponseWriter, *http.Request) error
}

// refusal marks an error of the gateway's own, which it answers itself, apart from errors of what
// comes after it.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }
