package tokenexchange

import (
	"context"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Check is one line of an explanation.
type Check struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, fault, or unknown where somebody did not answer
	Detail string `json:"detail"`
}

// Explain makes every check of a token again, without what is remembered, and says how each ended. The
// token itself is in no line. The last line is the verdict.
func (s *Service) Explain(ctx context.Context, token iam.Secret) []Check {
	var checks []Check
	note := func(check, detail string) { checks = append(checks, Check{check, "ok", detail}) }
	failed := func(err error) []Check {
		e, ok := asError(err)
		switch {
		case !ok:
			return append(checks, Check{"verdict", "unknown", "the gateway failed: " + err.Error()})
		case e.Kind == iam.KindUnavailable:
			return append(checks, Check{"unavailable", "unknown", e.Error()}, Check{"verdict", "unknown", "nobody can tell at the moment: the answer would be 503"})
		}
		return append(checks, Check{string(e.Reason), "fault", e.Message}, Check{"verdict", "fault", "the token does not count"})
	}
	p, err := s.examine(ctx, s.Cache.View(), token, note)
	if err != nil {
		return failed(err)
	}
	now := s.now()
	if err := p.within(now); err != nil {
		return failed(err)
	}
	note("time", fmt.Sprintf("valid for another %s", p.expires.Sub(now).Truncate(time.Second)))
	principal, _, err := s.identify(ctx, s.Cache.View(), token)
	if err != nil {
		return failed(err)
	}
	kind := "user"
	if principal.IsServiceAccount() {
		kind = "service account"
	}
	note("principal", fmt.Sprintf("the %s %s, active", kind, principal.Username))
	verdict := "an access token: it works as the " + kind + " " + principal.Username
	if !p.access {
		verdict = "an assertion: it is exchanged for an access token of the " + kind + " " + principal.Username
	}
	return append(checks, Check{"verdict", "ok", verdict})
}
