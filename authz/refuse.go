package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// Refuse turns a refusal into what the caller reads: the cause inside one's own organization, and nothing at
// all outside it (Hidden). n needs only what was asked for; the caller is that of f.
func Refuse(d Decision, f Facts, n Names) *iam.Error {
	n = n.By(f.Principal)
	if Hidden(d, f) {
		return &iam.Error{Kind: iam.KindNotFound, Reason: ReasonNotFound, Message: Sentence(ReasonNotFound, n)}
	}
	return &iam.Error{Kind: iam.KindDenied, Reason: d.Reason, Message: Sentence(d.Reason, n)}
}
