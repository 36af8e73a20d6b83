package gateway

import (
	"net/http"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// forward sends what was judged on, with the verified identity.
func (x *exchange) forward() error {
	x.setIdentity()
	if err := x.setCredential(); err != nil {
		return fail(err)
	}
	if x.call == nil {
		if err := x.introduce(); err != nil {
			return fail(err)
		}
		return x.pass(nil)
	}
	if err := x.refuseAdministration(); err != nil {
		return err
	}
	own := x.ownRoots()
	if len(own) == 0 && x.administersHere() && x.call.Mutation() {
		return writeGraphQL(x.w, wandb.EncodeAnswer(nil, nil)) // @skip leaves the change out
	}
	body, err := x.call.Body(wandb.BodyOptions{DefaultEntity: x.defaultEntity(), Drop: own.has})
	if err != nil {
		return fail(err)
	}
	answers, err := x.answerOwn(own, body == nil)
	if err != nil {
		return x.ownFailure(own, err)
	}
	if body == nil {
		return writeGraphQL(x.w, wandb.EncodeAnswer(answers, own.order())) // which needs no key of the upstream's
	}
	if err := x.introduce(); err != nil {
		return fail(err)
	}
	if err := x.noteMove(); err != nil {
		return fail(err)
	}
	x.sendBody(body)
	if options := x.answerOptions(answers); x.call.WantsAnswer(options) {
		err = x.observe(options)
	} else {
		err = x.pass(nil)
	}
	if err != nil {
		return err
	}
	return x.forgetAccounts()
}

// noteMove tells the directory, before the server hears of it, that runs are about to leave a project: when that
// cannot be recorded, they stay.
func (x *exchange) noteMove() error {
	if !x.call.Mutation() || !x.call.HasRoot("moveRuns") {
		return nil
	}
	accesses, err := x.call.Accesses(x.defaultEntity())
	if err != nil {
		return err
	}
	var moves []wandb.Learned
	for i := range accesses {
		if a := &accesses[i]; a.Permission == authz.RunMove {
			moves = append(moves, wandb.RunsMoved{Entity: a.Resource.Entity, Project: a.Resource.Project})
		}
	}
	return x.g.Directory.Learn(x.r.Context(), x.caller, moves)
}

// forgetAccounts tells the directory that a request may have changed who may do what: the caller's
// next request must see it.
func (x *exchange) forgetAccounts() error {
	if x.caller.Principal == nil || !x.call.Mutation() || !x.administers() {
		return nil
	}
	changed := wandb.AccountsChanged{}
	for i := range x.facts {
		if x.facts[i].entity != "" {
			changed.Entity = x.facts[i].entity
		}
	}
	return x.g.Directory.Learn(x.r.Context(), x.caller, []wandb.Learned{changed})
}

// pass hands the request to what comes next; w replaces the answer's writer if not nil.
func (x *exchange) pass(w http.ResponseWriter) error {
	if w == nil {
		w = x.w
	}
	err := x.next.ServeHTTP(w, x.r)
	if x.stored.refused {
		clear(x.w.Header()) // they belong to the answer that is not given
		return fail(x.refusedUpstreamKey())
	}
	return err
}

// setIdentity tells the upstream who calls. The client's own copies are gone since clean; an empty
// value is an absent header, and an anonymous request carries none (design section 6).
func (x *exchange) setIdentity() {
	p := x.caller.Principal
	if p == nil {
		return
	}
	x.set(headerUser, p.Username)
	x.set(headerPreferredUsername, p.Username)
	x.set(headerPrincipal, p.Ref.String())
	x.set(headerOrganization, p.Organization)
	if p.IsServiceAccount() {
		x.set(headerGroups, p.Scope.Name)
		x.setAttribution(x.event.Attributed)
		return
	}
	x.set(headerEmail, p.Email)
	x.set(headerGroups, teamNames(p))
	x.setAttribution(p)
}

// setAttribution names the person for whom the work is done; nobody for a service account that
// works for itself.
func (x *exchange) setAttribution(person *iam.Principal) {
	if person == nil {
		return
	}
	x.set(headerAttributionName, person.Username)
	x.set(headerAttributionEmail, person.Email)
}

// identityHeaders is how many headers carry identity and the upstream's credential at most.
const identityHeaders = 10

// set sets a header, unless the value is empty or could be read as more than one line. The values
// of one request share one array: each header has a slice of one, which nobody can append to.
func (x *exchange) set(name, value string) {
	if value == "" || !oneLine(value) {
		return
	}
	if x.values == nil {
		x.values = make([]string, 0, identityHeaders)
	}
	n := len(x.values)
	x.values = append(x.values, value)
	x.r.Header[name] = x.values[n : n+1 : n+1]
}

// oneLine reports whether a value cannot be read as more than one line. Values are short, and every
// request has several.
func oneLine(value string) bool {
	for i := range len(value) {
		if c := value[i]; c == '\r' || c == '\n' || c == 0 {
			return false
		}
	}
	return true
}

func teamNames(p *iam.Principal) string {
	switch len(p.Teams) {
	case 0:
		return ""
	case 1:
		return p.Teams[0].Name
	}
	names := make([]string, len(p.Teams))
	for i := range p.Teams {
		names[i] = p.Teams[i].Name
	}
	return strings.Join(names, ",")
}

// setCredential replaces the caller's credential by the one that the upstream is to see.
func (x *exchange) setCredential() error {
	switch x.g.UpstreamCredential {
	case UpstreamPassthrough:
		return x.passCredential()
	case UpstreamAPIKey:
		x.dropCredential()
		if x.caller.Principal != nil && x.judged() { // never on behalf of nobody
			x.set("Authorization", x.g.serviceAuthorization)
		}
		return nil
	case UpstreamPerUser:
		if x.upstreamSeesCaller() && x.judged() {
			return x.passCredential() // the server's own key: theirs already
		}
		x.dropCredential()
		return nil
	case UpstreamNone:
		x.dropCredential()
		return nil
	default:
		x.dropCredential()
		return nil
	}
}

// introduce adds what must be asked for before a request goes on: the caller's stored key, and the signed
// statement of who calls.
func (x *exchange) introduce() error {
	if err := x.showStoredKey(); err != nil {
		return err
	}
	if x.g.Assertions == nil || x.caller.Principal == nil {
		return nil
	}
	text, err := x.g.Assertions.Assertion(x.r, x.caller.Principal, x.event.Attributed)
	if err != nil {
		return err
	}
	x.set(headerAssertion, text)
	return nil
}

// showStoredKey shows the upstream the key that is kept for the caller, where each caller has one of
// their own, and only with what was judged: a team's key would show its pages to all its accounts.
func (x *exchange) showStoredKey() error {
	p := x.caller.Principal
	if x.g.UpstreamCredential != UpstreamPerUser || p == nil || !x.judged() || x.upstreamSeesCaller() {
		return nil
	}
	authorization, err := x.g.UpstreamKeys.Authorization(x.r.Context(), p)
	switch {
	case err != nil:
		return err
	case authorization == "":
		return x.noUpstreamKey(p)
	}
	x.set("Authorization", authorization)
	x.stored.ResponseWriter = x.w
	x.w = &x.stored
	return nil
}

// storedKeyAnswer lets an answer through, unless the upstream says that it does not know the key which it
// was shown. The client would take that 401 for one about its own credential, which is good, and throw
// it away.
type storedKeyAnswer struct {
	http.ResponseWriter
	refused bool
}

// WriteHeader implements http.ResponseWriter.
func (a *storedKeyAnswer) WriteHeader(status int) {
	if status == http.StatusUnauthorized {
		a.refused = true
		return
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write implements io.Writer.
func (a *storedKeyAnswer) Write(p []byte) (int, error) {
	if a.refused {
		return len(p), nil
	}
	return a.ResponseWriter.Write(p)
}

// Flush implements http.Flusher.
func (a *storedKeyAnswer) Flush() {
	if !a.refused {
		http.NewResponseController(a.ResponseWriter).Flush()
	}
}

// Unwrap is for http.ResponseController.
func (a *storedKeyAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// refusedUpstreamKey says which key the upstream does not know, and where to store another.
func (x *exchange) refusedUpstreamKey() error {
	owner := "you"
	if p := x.caller.Principal; p.IsServiceAccount() {
		owner = "the team " + p.Home.Name
	}
	return &iam.Error{Kind: iam.KindDenied, Reason: ReasonUpstreamKeyRefused,
		Message: "The W&B server does not know the key of its own that is stored for " + owner + ": it was mistyped, or deleted there. " + x.whereToStore(),
	}
}

// noUpstreamKey says where to store the key that is missing (design section 6).
func (x *exchange) noUpstreamKey(p *iam.Principal) error {
	e := &iam.Error{Kind: iam.KindDenied, Reason: ReasonNoUpstreamKey}
	switch {
	case p.IsServiceAccount() && p.Home.Name == "":
		e.Message = "The service account " + p.Username + " works with its team's key of the W&B server, and its team is not there any more. An administrator gives it another with `wandb-gateway iam service-account`."
	case p.IsServiceAccount():
		e.Message = "No key of the W&B server is stored for the team " + p.Home.Name + ", with which its service account " + p.Username + " works. " + x.whereToStore()
	default:
		e.Message = "No key of the W&B server is stored for " + p.Username + ", and the server is asked with each person's own. " + x.whereToStore()
	}
	return e
}

// whereToStore says where the key that stands for the caller is stored.
func (x *exchange) whereToStore() string {
	p := x.caller.Principal
	switch {
	case p.IsServiceAccount():
		return "An administrator stores one with `wandb-gateway iam upstream-key set --team " + p.Home.Name + "`."
	case x.g.SignIn != nil:
		return "Store yours at " + x.address() + "/authorize, or let an administrator do it with `wandb-gateway iam upstream-key set --user " + p.Username + "`."
	default:
		return "An administrator stores yours with `wandb-gateway iam upstream-key set --user " + p.Username + "`."
	}
}

// judged reports whether the request was decided over by what it touches. Pages and unknown routes
// only needed a caller: shown the service key, the upstream would answer them with that key's rights
// to everybody who is signed in.
func (x *exchange) judged() bool {
	switch x.route.Kind {
	case wandb.RouteGraphQL, wandb.RouteFileStream, wandb.RouteRunFile, wandb.RouteArtifact, wandb.RouteWeave:
		return true
	default:
		return false
	}
}

// passCredential leaves the caller's own credential in place, which the server must know. Whoever
// is known only here would be a stranger there (design section 6).
func (x *exchange) passCredential() error {
	h := x.r.Header
	delete(h, TicketHeader)
	if x.route.Kind != wandb.RouteWeave {
		delete(h, weaveKeyHeader) // it was not judged
	}
	session.Strip(h)
	if _, ok := h["Authorization"]; ok || x.caller.Credential.Kind != iam.CredentialCookie && x.caller.Credential.Kind != iam.NoCredential {
		delete(h, "Cookie") // the header was judged, even if it holds nothing; the cookie was not
	}
	p := x.caller.Principal
	if p == nil || p.FromUpstream || x.caller.Credential.Kind == iam.CredentialTicket {
		return nil
	}
	return &iam.Error{
		Kind: iam.KindDenied, Reason: ReasonLocalCredential,
		Message: "The credential of " + p.Username + " is known to the gateway only, and this site passes credentials through to the W&B server, which does not know it. Use an API key of the server, or let an administrator set `upstream_credential api_key`.",
	}
}

func (x *exchange) dropCredential() {
	h := x.r.Header
	delete(h, "Authorization")
	delete(h, TicketHeader)
	delete(h, weaveKeyHeader)
	delete(h, "Cookie")
}

// upstreamSeesCaller reports whether the upstream sees the caller's own credential, so that what it says
// of "the caller" is about our caller. Shown the service key, it would answer anybody with that key's own
// account, and make keys for it; so it would with a stored key, which may be anybody's.
func (x *exchange) upstreamSeesCaller() bool {
	p := x.caller.Principal
	if p == nil || !p.FromUpstream {
		return false
	}
	return x.g.UpstreamCredential == UpstreamPassthrough || x.g.UpstreamCredential == UpstreamPerUser
}
