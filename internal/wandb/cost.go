package wandb

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// ReasonTooCostly says that reading a request would cost out of proportion to what it asks.
const ReasonTooCostly iam.Reason = "too_costly"

// Every claim of a document looks for its names in the variables, so that a document of many fields
// with one large variable costs the product of the two: some MiB would hold a core for minutes
// (threat G11). The largest requests of clients, a config of some MiB, have a handful of claims.
const (
	fewNeeds     = 8
	maxNeedBytes = 256 << 20
)

// maxAccesses bounds what one call may touch: each access may have to be looked up. The longest lists
// of clients name files of one artifact, which is one access.
const maxAccesses = 4096

// affordable refuses a call whose claims would read more than maxNeedBytes together.
func (c *Call) affordable() error {
	needs := len(c.op.plan.needs)
	if needs <= fewNeeds || needs <= maxNeedBytes/(len(c.body)+1) {
		return nil
	}
	return &iam.Error{Kind: iam.KindTooLarge, Reason: ReasonTooCostly,
		Message: "the request selects too many fields for variables of this size: send it in parts"}
}

// few refuses a call that touches more than maxAccesses things.
func (r *resolved) few() error {
	if len(r.accesses) <= maxAccesses {
		return nil
	}
	return &iam.Error{Kind: iam.KindTooLarge, Reason: ReasonTooCostly,
		Message: "the request names too many things at once: send it in parts"}
}
