package upstream

import (
	"context"
	"errors"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Outcome says how a question to the server ended.
type Outcome uint8

// The outcomes.
const (
	OutcomeAnswered    Outcome = iota // also that there is nothing
	OutcomeRefused                    // the server does not know the credential, or forbids it
	OutcomeUnavailable                // no answer, or none of a W&B server
	OutcomeLimited                    // it was not asked, within the limits on what it is asked
	OutcomeAbandoned                  // nobody waited for it any longer
)

// outcomeOf tells what an error of ask is.
func outcomeOf(err error) Outcome {
	switch {
	case err == nil, errors.Is(err, errNotFound):
		return OutcomeAnswered
	case errors.Is(err, errRefused), errors.Is(err, errForbidden):
		return OutcomeRefused
	case errors.Is(err, context.Canceled):
		return OutcomeAbandoned
	case iam.ReasonOf(err) == ReasonBusy:
		return OutcomeLimited
	default:
		return OutcomeUnavailable
	}
}
