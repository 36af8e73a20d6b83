package gateway

import (
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// exchange is one request on its way through the gateway.
type exchange struct {
	g    *Gateway
	w    http.ResponseWriter
	r    *http.Request
	next Handler

	client netip.Addr
	route  wandb.Route
	caller Caller
	// call is the GraphQL call, if the request is one; body what was read of it.
	call *wandb.Call
	body *sharedBuffer
	// claim is whom the client says it works for, as it came.
	claim iam.Attribution
	// facts are what was asked of the directory so far: most requests name one project many times.
	facts      []knownFacts
	firstFacts [1]knownFacts // most requests need no more
	// destination is the entity that the request writes to, for attribution.
	destination *iam.Entity

	// ticket is whose file ticket the request carries, nobody's if it carries none that holds.
	ticket iam.PrincipalRef
	// placed are the ids of which was found out where they lie.
	placed []wandb.Resource
	// withheld are the accesses that were refused where the answer can go out without them.
	withheld []wandb.Access
	// values are the identity headers' values.
	values []string
	// stored is the answer's writer while the upstream is asked with a stored key.
	stored storedKeyAnswer
	// lists counts what was asked of the record of people and keys.
	lists int
	// listError is what kept a list from being filtered.
	listError error

	event Event
}

// run takes the exchange through its phases. Errors of the gateway's own come as *refusal.
func (x *exchange) run() error {
	defer x.releaseBody()
	x.clean()
	answered, err := x.findRoute()
	if answered || err != nil {
		return err
	}
	if err := x.identify(); err != nil {
		return err
	}
	if err := x.checkOrigin(); err != nil {
		return err
	}
	accesses, err := x.access()
	if err != nil {
		return err
	}
	if err := x.authorize(accesses); err != nil {
		return err
	}
	if err := x.attribute(); err != nil {
		return err
	}
	return x.forward()
}

// fail wraps an error of the gateway's own.
func fail(err error) error {
	if err == nil {
		return nil
	}
	return &refusal{err}
}

// clean removes what the client must not tell the upstream.
func (x *exchange) clean() {
	trusted := false
	if x.g.Host.Client != nil {
		x.client, trusted = x.g.Host.Client(x.r)
	}
	if x.r.ContentLength < 0 {
		// The server writes trailers into the request it made, when the body ends. Going on with a
		// copy keeps them from the next handler.
		r := *x.r
		x.r = &r
	}
	x.claim = readClaim(x.r.Header)
	cleanHeaders(x.r, trusted)
}

// findRoute parses the target, and answers what needs no caller.
func (x *exchange) findRoute() (answered bool, err error) {
	if x.ticket, err = x.g.Tickets.present(x.r); err != nil && len(x.r.Header["Authorization"]) == 0 {
		return false, x.failedCredential(err)
	}
	if x.ticket.ID != "" {
		// The server made up this target, and the ticket names it byte for byte: whether it is
		// canonical is not ours to judge.
		x.route = wandb.Route{Kind: wandb.RouteUnknown}
		return false, nil
	}
	x.route, err = wandb.ParseRoute(x.r.Method, x.r.URL, x.g.Routes)
	if err != nil {
		return false, fail(err)
	}
	switch x.route.Kind {
	case wandb.RouteTelemetry:
		if x.g.ForwardTelemetry {
			return false, nil
		}
		// Clients probe without a credential and take 404 as "switch it off" (sdk-wire 3.6).
		return false, fail(&iam.Error{Kind: iam.KindNotFound, Reason: ReasonTelemetryOff, Message: "SDK telemetry is not collected here."})
	case wandb.RouteDoor:
		if door, ok := x.g.CallerDoors[x.route.Door]; ok {
			return true, x.serveCaller(door)
		}
		door, ok := x.g.Doors[x.route.Door]
		if !ok && x.g.ServerSignIn {
			x.route.Kind = wandb.RoutePage // the server's own
			return false, nil
		}
		if !ok {
			return false, fail(&iam.Error{Kind: iam.KindNotFound, Reason: ReasonNotConfigured, Message: "The gateway serves this address itself, but it is not configured here."})
		}
		x.event.Effect = authz.Allow
		door.ServeHTTP(x.w, x.r)
		return true, nil
	case wandb.RoutePreflight:
		// A preflight carries no credential by design (Fetch standard), and goes on without identity.
		x.dropCredential()
		return true, x.pass(nil)
	default:
		return false, nil
	}
}

// serveCaller finds out who calls and lets a door of the gateway's own answer. Keys alone count there: a
// cookie comes along with what other sites make a browser send, and an access token is for work.
func (x *exchange) serveCaller(door CallerDoor) error {
	delete(x.r.Header, "Cookie")
	if err := x.identify(); err != nil {
		return err
	}
	if x.caller.Principal == nil && x.event.Shadowed {
		// Where nothing is enforced, administration is all the same.
		x.event.Shadowed = false
		return fail(errUnknownAdministrator)
	}
	if x.caller.Principal != nil && x.caller.Credential.Kind != iam.CredentialAPIKey {
		return fail(errKeyNeeded)
	}
	x.event.Effect = authz.Allow
	return fail(door.ServeCaller(x.w, x.r, x.caller.Principal))
}

var (
	errUnknownAdministrator = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonUnknownCredential,
		Message: "This API key is not known here, or no longer counts."}
	errKeyNeeded = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonKeyNeeded,
		Message: "Administration takes an API key, as Basic password or Bearer value; access tokens and sessions do not count here."}
)

// identify finds the one credential and who holds it.
func (x *exchange) identify() error {
	credential, err := readCredential(x.r.Header, credentialPlaces{
		session: x.g.SignIn != nil, https: x.https(),
		serverCookies: x.g.ServerSignIn, weaveHeader: x.route.Kind == wandb.RouteWeave,
	})
	if err != nil {
		return x.failedCredential(err)
	}
	credential.Network = failure.Client(x.client)
	x.caller.Credential = credential
	x.event.Credential = credential.Kind
	switch {
	case credential.Kind == iam.NoCredential && x.ticket.ID != "":
		x.caller.Credential.Kind, x.event.Credential = iam.CredentialTicket, iam.CredentialTicket
		x.caller.Principal, err = x.g.Directory.Principal(x.r.Context(), x.ticket)
	case credential.Kind == iam.NoCredential:
		return nil
	default:
		x.caller.Principal, err = x.g.Directory.Identify(x.r.Context(), credential)
	}
	if err != nil {
		return x.failedCredential(err)
	}
	if x.ticket.ID != "" && (x.caller.Principal == nil || x.caller.Principal.Ref != x.ticket) {
		return x.failedCredential(errTicket) // somebody else's
	}
	x.event.Principal = x.caller.Principal
	if x.g.Host.Identified != nil && x.caller.Principal != nil {
		x.g.Host.Identified(x.r, x.caller.Principal)
	}
	return nil
}

// failedCredential counts an unknown credential against the client's address.
func (x *exchange) failedCredential(err error) error {
	if iam.KindOf(err) != iam.KindUnauthenticated {
		return fail(err)
	}
	// A browser whose session ended sends its cookie with every picture: that is no guessing.
	if x.caller.Credential.Kind != iam.CredentialSession && x.g.Failures.Failed(failure.Client(x.client)) {
		return fail(errTooManyFailures)
	}
	if x.g.Shadow {
		x.event.Shadowed, x.event.Reason = true, iam.ReasonOf(err)
		x.caller.Principal = nil
		return nil
	}
	return fail(err)
}

var errTooManyFailures = &iam.Error{
	Kind: iam.KindTooMany, Reason: ReasonTooManyFailures,
	Message: "Too many requests with an unknown API key came from this address. Stop the client that sends them, check its WANDB_API_KEY, and wait a minute.",
}

// access lists what the request would touch.
func (x *exchange) access() ([]wandb.Access, error) {
	switch {
	case x.ticket.ID != "":
		return nil, nil // decided when the ticket was made, for exactly this URL
	case x.route.Kind == wandb.RouteGraphQL:
		return x.graphQL()
	case x.route.Kind == wandb.RouteWeave:
		return x.weave()
	default:
		return x.route.Accesses, nil
	}
}

func (x *exchange) graphQL() ([]wandb.Access, error) {
	if err := requireJSON(x.r); err != nil {
		return nil, fail(err)
	}
	if x.caller.Principal == nil && !x.g.mayBeAnonymous() {
		return nil, x.needCredential() // before a stranger's document costs us anything
	}
	if err := x.readBody(); err != nil {
		return nil, fail(err)
	}
	call, err := x.g.Reader.Read(x.body.Bytes())
	if err != nil {
		return nil, fail(err)
	}
	x.call = call
	x.event.Operation = call.Name()
	accesses, err := call.Accesses(x.defaultEntity())
	if iam.KindOf(err) == iam.KindDenied && x.passesUnjudged(iam.ReasonOf(err)) {
		return nil, nil
	}
	return accesses, fail(err)
}

// passesUnjudged sends a call on as it came that lacks something for being judged, such as an entity,
// where that is not the gateway's to refuse: the upstream judges by the caller's own credential and
// knows the caller's default, or nothing is enforced.
func (x *exchange) passesUnjudged(why iam.Reason) bool {
	switch {
	case !x.g.soleJudge:
		x.event.Effect, x.event.Reason = authz.Allow, ReasonServerJudges
	case x.g.Shadow:
		x.event.Shadowed, x.event.Effect, x.event.Reason = true, authz.Deny, why
	default:
		return false
	}
	x.call = nil
	x.sendBody(x.body.Bytes())
	return true
}

func (x *exchange) weave() ([]wandb.Access, error) {
	if x.caller.Principal == nil && !x.g.mayBeAnonymous() {
		return nil, x.needCredential()
	}
	query, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil { // a pair that Go drops, another parser might keep
		return nil, fail(&iam.Error{Kind: iam.KindInvalid, Reason: wandb.ReasonNonCanonicalTarget, Message: "The query string cannot be read in one way only."})
	}
	request := wandb.WeaveRequest{
		Method: x.r.Method, Endpoint: x.route.WeaveEndpoint,
		ContentType: x.r.Header.Get("Content-Type"), Query: query, Header: x.r.Header,
	}
	if wandb.WeaveNeedsBody(request.Method, request.Endpoint) {
		if err := x.readBody(); err != nil {
			return nil, fail(err)
		}
		request.Body = x.body.Bytes()
		x.sendBody(x.body.Bytes())
	}
	accesses, err := wandb.ReadWeave(request)
	return accesses, fail(err)
}

// mayBeAnonymous reports whether some request without a credential could be allowed.
func (g *Gateway) mayBeAnonymous() bool { return g.ServerSignIn || g.Shadow || g.AnonymousPublic }

func (x *exchange) defaultEntity() string {
	if x.caller.Principal == nil {
		return ""
	}
	return x.caller.Principal.DefaultEntity
}

// requireJSON holds /graphql to the one form in which it is judged (design section 6).
func requireJSON(r *http.Request) error {
	if r.Method != http.MethodPost {
		return &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMethodNotAllowed, Message: "GraphQL requests are sent with POST."}
	}
	for _, encoding := range r.Header["Content-Encoding"] { // an empty line must not hide the next
		if encoding != "" {
			return errContentEncoding
		}
	}
	values := r.Header["Content-Type"]
	if len(values) == 1 {
		if values[0] == "application/json" { // what every W&B client sends
			return nil
		}
		media, params, err := mime.ParseMediaType(values[0])
		charset := params["charset"]
		if err == nil && media == "application/json" && (charset == "" || strings.EqualFold(charset, "utf-8")) {
			return nil
		}
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonUnsupportedMediaType, Message: "GraphQL requests are sent as application/json."}
}

var errContentEncoding = &iam.Error{
	Kind: iam.KindInvalid, Reason: problem.ReasonUnsupportedMediaType,
	Message: "A request whose body is judged must not be compressed. Send it without Content-Encoding.",
}
