package gateway

import (
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// knownFacts remembers one answer of the directory for the length of a request.
type knownFacts struct {
	entity, project string
	facts           authz.Facts
}

// authorize decides over every access; the first refusal ends it.
func (x *exchange) authorize(accesses []wandb.Access) error {
	if x.ticket.ID != "" {
		x.event.Effect, x.event.Reason = authz.Allow, ReasonTicket
		return nil
	}
	if x.caller.Principal == nil {
		if passes, err := x.anonymous(); passes || err != nil {
			return err
		}
	}
	if err := x.limitUnjudged(); err != nil {
		return err
	}
	switch x.route.Kind {
	case wandb.RoutePage:
		return nil // any signed-in caller: the upstream shows what it shows to this person
	case wandb.RouteUnknown:
		if !x.g.ForwardUnknown {
			return x.deny(authz.Decision{Reason: ReasonUnknownRoute}, &iam.Error{
				Kind: iam.KindDenied, Reason: ReasonUnknownRoute,
				Message: "The gateway does not know what " + x.r.Method + " " + x.r.URL.Path + " would change, and refuses what it cannot judge. An administrator can let such requests pass with `unknown_route forward`.",
			})
		}
		return nil
	}
	for i := range accesses {
		if err := x.judge(&accesses[i]); err != nil {
			return err
		}
	}
	return x.limitMutation()
}

// limitUnjudged keeps keys with limits from what is let through to whoever is signed in: nobody can tell in
// which project a page or an unknown route lies, nor what goes over a WebSocket and for how long.
func (x *exchange) limitUnjudged() error {
	p := x.caller.Principal
	if p == nil || p.Limits == nil {
		return nil
	}
	switch {
	case upgrading(x.r.Header):
		return x.deny(authz.Decision{Reason: ReasonKeyWebSocket}, &iam.Error{Kind: iam.KindDenied, Reason: ReasonKeyWebSocket,
			Message: "This API key has limits, which nobody can hold a WebSocket to. Use a key without limits."})
	case x.route.Kind == wandb.RoutePage:
		return x.limitTo(authz.UnplacedRead)
	case x.route.Kind == wandb.RouteUnknown && x.g.ForwardUnknown:
		return x.limitTo(authz.UnplacedWrite)
	}
	return nil
}

// limitMutation keeps a key that only reads from mutations of which nothing else is to be judged: whatever their
// arguments come to, they are there to write.
func (x *exchange) limitMutation() error {
	p := x.caller.Principal
	if p == nil || p.Limits == nil || !p.Limits.ReadOnly || x.call == nil || !x.call.Mutation() {
		return nil
	}
	return x.limitTo(authz.UnplacedWrite)
}

// limitTo refuses what the limits of the caller's key do not allow for what cannot be placed.
func (x *exchange) limitTo(permission authz.Permission) error {
	p := x.caller.Principal
	facts := authz.Facts{Principal: p, Organization: p.Organization, Settings: authz.Settings{Unplaced: authz.UnplacedAllow}}
	decision := authz.Decide(authz.Request{Permission: permission}, facts)
	if decision.Allowed() {
		return nil
	}
	x.event.decided(decision, permission, wandb.Resource{})
	return x.deny(decision, authz.Refuse(decision, facts, authz.Names{}))
}

// anonymous handles a caller without a credential. It reports whether the request passes without
// any further decision.
func (x *exchange) anonymous() (passes bool, err error) {
	switch {
	case x.event.Shadowed:
		return true, nil
	case x.g.ServerSignIn && x.serverJudgesAnonymous():
		x.event.Effect, x.event.Reason = authz.Allow, ReasonServerJudges
		return true, nil
	case x.g.AnonymousPublic && x.route.Kind != wandb.RoutePage && x.route.Kind != wandb.RouteUnknown:
		return false, nil
	case x.g.Shadow:
		x.event.Shadowed, x.event.Reason = true, ReasonNoCredential
		return true, nil
	default:
		return false, x.needCredential()
	}
}

// serverJudgesAnonymous reports whether a request without credential is the server's to judge: its
// sign-in and pages, and what its own pages ask before sign-in. Writing of files is not among it.
func (x *exchange) serverJudgesAnonymous() bool {
	switch x.route.Kind {
	case wandb.RoutePage, wandb.RouteGraphQL:
		return true
	case wandb.RouteUnknown:
		return x.r.Method == http.MethodPost // a sign-in form
	default:
		return x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
	}
}

func (x *exchange) needCredential() error {
	return fail(&iam.Error{
		Kind: iam.KindUnauthenticated, Reason: ReasonNoCredential,
		Message: "This request carries no API key. Run `wandb login --host " + x.address() + "`, or set WANDB_API_KEY.",
	})
}

// address is how the client reached the gateway, as far as can be told: a load balancer that ends TLS
// says so in X-Forwarded-Proto.
func (x *exchange) address() string {
	if x.https() {
		return "https://" + x.r.Host
	}
	return "http://" + x.r.Host
}

// judge decides over one access.
func (x *exchange) judge(a *wandb.Access) error {
	if a.Crossing && !x.g.soleJudge {
		return nil // the upstream judges by the caller's own credential where the document walks
	}
	resource, permission, err := x.place(a)
	if err != nil {
		return fail(err)
	}
	if x.g.soleJudge && resource.Kind == wandb.ResourceProject && !plainName(resource.Project) {
		return fail(&iam.Error{
			Kind: iam.KindInvalid, Reason: wandb.ReasonInvalidArgument,
			Message: "The request names a project that cannot be called so: no / \\ # ? % : and no invisible characters, and no space at either end or dot at the end.",
		})
	}
	facts, err := x.lookUp(resource.Entity, resource.Project)
	if err != nil {
		return fail(err)
	}
	if a.Creates && facts.Project == nil {
		permission = authz.ProjectCreate
	}
	decision := authz.Decide(authz.Request{
		Permission: permission, Product: a.Product, Visibility: a.Visibility, SetsVisibility: a.SetsVisibility,
	}, facts)
	if a.Redactable && !decision.Allowed() {
		x.withheld = append(x.withheld, *a) // the answer goes out without it
		return nil
	}
	x.event.decided(decision, permission, resource)
	if decision.Allowed() {
		if permission.Writes() && x.destination == nil {
			x.destination = facts.Entity
		}
		return nil
	}
	return x.deny(decision, authz.Refuse(decision, facts, authz.Names{Entity: resource.Entity, Project: resource.Project}))
}

// plainName reports whether a project's name is one that no server takes for another's. A database that
// ignores spaces at the end or characters without width would find a closed project under a name that
// stands in no record, and so looks like a new one.
func plainName(name string) bool {
	return iam.ValidProjectName(name) && utf8.ValidString(name) && name[0] != ' ' &&
		name[len(name)-1] != ' ' && name[len(name)-1] != '.' &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// place resolves an access whose id hides its project. What cannot be placed falls under the
// unplaced policy.
func (x *exchange) place(a *wandb.Access) (wandb.Resource, authz.Permission, error) {
	switch a.Resource.Kind {
	case wandb.ResourceUnplaced:
		return a.Resource, unplaced(a.Permission), nil
	case wandb.ResourceID:
		asker := x.caller
		asker.Ask = x.ask
		entity, project, err := x.g.Directory.Place(x.r.Context(), asker, a.Resource.IDType, a.Resource.ID)
		if iam.KindOf(err) == iam.KindNotFound {
			return a.Resource, unplaced(a.Permission), nil
		}
		if err != nil {
			return a.Resource, a.Permission, err
		}
		if !claimedThere(a.Resource, entity, project) {
			return a.Resource, a.Permission, &iam.Error{
				Kind: iam.KindInvalid, Reason: wandb.ReasonIDMismatch,
				Message: "The request names " + a.Resource.Entity + "/" + a.Resource.Project + " beside an id of something that lies elsewhere. Send names and ids of one project.",
			}
		}
		placed := a.Resource
		placed.Kind, placed.Entity, placed.Project = wandb.ResourceProject, entity, project
		x.placed = append(x.placed, placed)
		return placed, a.Permission, nil
	default:
		return a.Resource, a.Permission, nil
	}
}

// claimedThere reports whether the names that stand beside an id agree with where it lies. Whichever
// the upstream obeys, names or id, it must be the same.
func claimedThere(r wandb.Resource, entity, project string) bool {
	return (r.Entity == "" || iam.FoldName(r.Entity) == iam.FoldName(entity)) && (r.Project == "" || r.Project == project)
}

// unplaced is the permission that the policy decides over, in place of one that has no project.
func unplaced(p authz.Permission) authz.Permission {
	if p.Writes() {
		return authz.UnplacedWrite
	}
	return authz.UnplacedRead
}

// lookUp asks the directory once for each entity and project of a request.
func (x *exchange) lookUp(entity, project string) (authz.Facts, error) {
	for i := range x.facts {
		if k := &x.facts[i]; k.entity == entity && k.project == project {
			return k.facts, nil
		}
	}
	facts, err := x.g.Directory.Facts(x.r.Context(), x.caller, entity, project)
	if err != nil {
		return facts, err
	}
	facts.Settings.Unplaced = x.g.Unplaced
	if x.facts == nil {
		x.facts = x.firstFacts[:0]
	}
	x.facts = append(x.facts, knownFacts{entity, project, facts})
	return facts, nil
}

// mayList reports whether a list may show the caller a project; the others are dropped from it.
func (x *exchange) mayList(entity, project string) (bool, error) {
	facts, err := x.lookUp(entity, project)
	if err != nil {
		return false, err
	}
	return authz.Listed(facts), nil
}

// deny refuses, or only reports in shadow. What the gateway's own record would be changed by, or tell, is
// refused in shadow too: no other judge comes behind.
func (x *exchange) deny(d authz.Decision, e *iam.Error) error {
	x.event.Effect, x.event.Reason = authz.Deny, d.Reason
	if x.g.Shadow && !x.administersHere() {
		x.event.Shadowed = true
		return nil
	}
	return fail(e)
}
