package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// The reasons for which nothing can be said at the moment, and for which a credential does not
// count. The first two are 503.
const (
	// ReasonUpstream: the server did not answer, or not as a W&B server does.
	ReasonUpstream iam.Reason = "upstream_unavailable"
	// ReasonBusy: more is to be looked up than the gateway's own limits allow.
	ReasonBusy iam.Reason = "upstream_lookups_limited"
	// ReasonUnknown: the server does not know the credential.
	ReasonUnknown iam.Reason = "unknown_credential"
	// ReasonForbidden: the server knows the credential and refuses it.
	ReasonForbidden iam.Reason = "upstream_forbidden"
	// ReasonDeactivated: the person was deleted at the server.
	ReasonDeactivated iam.Reason = "deactivated"
	// ReasonNoAdminKey: a principal of the gateway's own cannot be judged without `api_key`.
	ReasonNoAdminKey iam.Reason = "no_upstream_key"
	// ReasonUnplaced: the server does not say where an id belongs.
	ReasonUnplaced iam.Reason = "unplaced"
)

// The wait that is asked for, unless the server asked for another one. Clients take it as it is
// (sdk-wire 5.1), so it has an upper bound.
const (
	shortWait   = 2 * time.Second
	longestWait = 60 * time.Second
)

// unavailable is a 503 that names the side at fault. what completes "The W&B server at HOST ...".
func (d *Directory) unavailable(what string, cause error, wait time.Duration) error {
	if wait <= 0 {
		wait = shortWait
	}
	return &iam.Error{
		Kind: iam.KindUnavailable, Reason: ReasonUpstream, Err: cause, RetryAfter: wait,
		Message: fmt.Sprintf("The W&B server at %s, which the gateway asks who is calling, %s. "+
			"The request was neither allowed nor refused; try again in %d seconds.",
			d.host, what, int(wait/time.Second)),
	}
}

// notAnswering is the 503 for a server that cannot be reached or stops in the middle.
func (d *Directory) notAnswering(err error) error {
	if errors.Is(err, context.DeadlineExceeded) {
		return d.unavailable(fmt.Sprintf("did not answer within %s", d.timeout), err, 0)
	}
	return d.unavailable("cannot be reached", err, 0)
}

// late is the 503 for a look-up that somebody cannot wait for any longer: another look-up, whose time is
// up because the server takes so long, or a caller who went away.
func (d *Directory) late(cause error) error {
	if errors.Is(cause, context.DeadlineExceeded) {
		return d.notAnswering(cause)
	}
	return d.busy(cause)
}

// busy is the 503 for a look-up that did not get its turn, or whose caller went away.
func (d *Directory) busy(cause error) error {
	return &iam.Error{
		Kind: iam.KindUnavailable, Reason: ReasonBusy, Err: cause, RetryAfter: shortWait,
		Message: fmt.Sprintf("The gateway asks the W&B server at %s about too many callers at once and this one did not get its turn. "+
			"The request was neither allowed nor refused; try again in %d seconds.", d.host, int(shortWait/time.Second)),
	}
}

// unknown is the 401 for a credential that the server does not know.
func (d *Directory) unknown(cause error) error {
	return &iam.Error{
		Kind: iam.KindUnauthenticated, Reason: ReasonUnknown, Err: cause,
		Message: fmt.Sprintf("Neither this gateway nor the W&B server at %s knows this credential. "+
			"Check WANDB_API_KEY, or make a new key in the server's user settings.", d.host),
	}
}

// forbidden is the 403 for a credential that the server refuses altogether.
func (d *Directory) forbidden(cause error) error {
	return &iam.Error{
		Kind: iam.KindDenied, Reason: ReasonForbidden, Err: cause,
		Message: fmt.Sprintf("The W&B server at %s refuses this credential. Ask its administrator whether the user or key is locked.", d.host),
	}
}

func (d *Directory) deactivated() error {
	return &iam.Error{
		Kind: iam.KindUnauthenticated, Reason: ReasonDeactivated,
		Message: fmt.Sprintf("The owner of this credential was deleted at the W&B server at %s.", d.host),
	}
}

func (d *Directory) noAdminKey() error {
	return &iam.Error{
		Kind: iam.KindDenied, Reason: ReasonNoAdminKey,
		Message: fmt.Sprintf("The caller is known to the gateway but not to the W&B server at %s, which is the record of projects. "+
			"The operator must set `api_key` in `directory wandb` so that the gateway can look projects up for such callers.", d.host),
	}
}

// refused is for a credential that the server does not know while it is asked about something else
// than who holds it: a caller's stopped to count just now.
func (d *Directory) refused(who asker, cause error) error {
	if who.kind == askerAdmin {
		return d.adminRefused(cause)
	}
	d.viewers.forget(who.digest)
	return d.unknown(cause)
}

// refusedMeanwhile is the 503 for the same where it is no answer to give: who holds the credential
// is looked up again, and that is what the caller will be told.
func (d *Directory) refusedMeanwhile(who asker, cause error) error {
	if who.kind == askerAdmin {
		return d.adminRefused(cause)
	}
	d.viewers.forget(who.digest)
	return d.unavailable("does not accept a credential any more that it knew a moment ago", cause, 0)
}

// adminRefused is the 503 for an `api_key` that the server does not accept: the operator's fault,
// and no caller's.
func (d *Directory) adminRefused(cause error) error {
	return d.unavailable("does not accept the `api_key` of `directory wandb`; the operator must replace it", cause, 0)
}

// retryAfter reads the server's Retry-After in seconds, within bounds; 0 if it gives none.
func retryAfter(h http.Header) time.Duration {
	seconds, err := strconv.ParseFloat(h.Get("Retry-After"), 64)
	if err != nil || !(seconds > 0) {
		return 0
	}
	if seconds > longestWait.Seconds() {
		return longestWait
	}
	return max(time.Second, time.Duration(seconds*float64(time.Second)))
}

// describe tells the log what came instead of an answer.
func describe(res *http.Response, body []byte, err error) error {
	what := fmt.Sprintf("status %d, content type %q, body %q", res.StatusCode, res.Header.Get("Content-Type"), clip(string(body)))
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return errors.New(what)
}

// clip returns text of the server's as it can stand in a log.
func clip(s string) string { return untrusted.Line(s, 200) }
