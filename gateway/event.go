package gateway

import (
	"net/netip"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// Event says how one request ended: who wanted what, whether they got it, and why. It is filled on
// the way and reported once. It never holds a credential.
type Event struct {
	Client     netip.Addr
	Credential iam.CredentialKind
	Principal  *iam.Principal // nil for an anonymous caller
	// Operation is the name that the client gave its GraphQL operation. It is no part of any
	// decision.
	Operation string

	// Effect, Reason, Permission and Resource are those of the decision that ended the request: the
	// first refusal, or the last allow.
	Effect     authz.Effect
	Reason     iam.Reason
	Permission authz.Permission
	Resource   wandb.Resource

	// Attributed is the person for whom a service account works; AttributionDropped is true when a
	// claim did not hold.
	Attributed         *iam.Principal
	AttributionDropped bool

	// Shadowed is true when the request passed only because nothing is enforced.
	Shadowed bool
	// Status is what the gateway answered itself; 0 when the request went on.
	Status int
	// Err is the cause of a refusal, for the log.
	Err error
}

func (e *Event) decided(d authz.Decision, p authz.Permission, r wandb.Resource) {
	if e.Shadowed {
		return // the first refusal is the one to tell
	}
	e.Effect, e.Reason, e.Permission, e.Resource = d.Effect, d.Reason, p, r
}
