package tokenexchange

import (
	"context"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Check is one line of an explanation or a diagnosis.
type Check struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, warning, fault, or unknown where somebody did not answer
	Detail string `json:"detail"`
}

// Explanation says why a token counts or not.
type Explanation struct {
	// Verdict is a sentence that begins with accepted, refused or unknown.
	Verdict  string
	Accepted bool
	// Reason is the check that the token did not pass; empty if it passed all.
	Reason iam.Reason
	Checks []Check
}

// Explain makes every check of a token again, without what is remembered, and says how each ended. The
// token itself is in no line.
func (s *Service) Explain(ctx context.Context, token iam.Secret) Explanation {
	var x Explanation
	p, err := s.examine(ctx, s.Cache.View(), token, x.passed)
	if err != nil {
		return x.failed(err)
	}
	now := s.Now()
	if err := p.within(now); err != nil {
		return x.failed(err)
	}
	x.passed("time", fmt.Sprintf("valid for another %s", p.expires.Sub(now).Truncate(time.Second)))
	principal, _, err := s.identify(ctx, s.Cache.View(), token)
	if err != nil {
		return x.failed(err)
	}
	who := "user " + principal.Username
	if principal.IsServiceAccount() {
		who = "service account " + principal.Username
	}
	x.passed("principal", "the "+who+", active")
	x.Accepted, x.Verdict = true, "accepted: an assertion, which is exchanged for an access token of the "+who
	if p.access {
		x.Verdict = "accepted: an access token, which works as the " + who
	}
	return x
}

func (x *Explanation) passed(check, detail string) {
	x.Checks = append(x.Checks, Check{check, "ok", detail})
}

func (x *Explanation) failed(err error) Explanation {
	e, ok := asError(err)
	switch {
	case !ok:
		x.Verdict = "unknown: the gateway failed"
		x.Checks = append(x.Checks, Check{"failure", "unknown", err.Error()})
	case e.Kind == iam.KindUnavailable:
		x.Verdict, x.Reason = "unknown: nobody can tell at the moment, and the answer would be 503", e.Reason
		x.Checks = append(x.Checks, Check{string(e.Reason), "unknown", e.Error()})
	default:
		x.Verdict, x.Reason = "refused: "+string(e.Reason), e.Reason
		x.Checks = append(x.Checks, Check{string(e.Reason), "fault", e.Message})
	}
	return *x
}
