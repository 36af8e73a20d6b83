package tokenexchange

import (
	"net/netip"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Event is one attempt to exchange an assertion, as the log has it. It holds no token.
type Event struct {
	Client    netip.Addr
	RequestID string
	// Status is what was answered; Err is nil after an exchange.
	Status int
	Err    error
	// Reason is the check that the assertion failed; empty after an exchange.
	Reason iam.Reason
	// Issuer, Subject and AssertionID are the assertion's claims iss, sub and jti as far as they could
	// be read, bounded. They are proved only if the assertion was accepted.
	Issuer, Subject, AssertionID string
	// Principal and TokenID are what it was exchanged for.
	Principal iam.PrincipalRef
	Username  string
	TokenID   string
}

// maxNoted bounds what a stranger can write into an event.
const maxNoted = 256

func noted(s string) string {
	if len(s) > maxNoted {
		return s[:maxNoted]
	}
	return s
}
