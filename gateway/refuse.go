package gateway

import (
	"net/http"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// refuse answers in the caller's own protocol: a person at a browser gets a page, everything else
// JSON.
func (x *exchange) refuse(err error) {
	if x.mustSignIn(err) {
		if err = x.toSignIn(err); err == nil {
			return
		}
	}
	p := problem.From(err)
	x.event.Effect, x.event.Status, x.event.Err = authz.Deny, p.Status, err
	if x.event.Reason == "" || x.event.Reason != p.Reason && iam.KindOf(err) != iam.KindNotFound {
		x.event.Reason = p.Reason // a hidden refusal keeps its true reason in the event
	}
	if x.g.Host.RequestID != nil {
		p.RequestID = x.g.Host.RequestID(x.r)
	}
	if wandb.BelowSCIM(x.r.URL.Path) && !x.g.ServerSignIn {
		p.WriteSCIM(x.w)
		return
	}
	if x.wantsPage() {
		p.WriteHTML(x.w)
		return
	}
	if x.r.Header.Get("Sec-Fetch-Mode") != "" {
		p.Challenge = `Bearer realm="W&B"` // Basic would open the browser's own prompt over the page
	}
	p.WriteJSON(x.w)
}

// unanswered tells a client whose request was let through that the server did not answer it: an empty
// 502 says neither which side is at fault nor what to do. Pages are left to the site's own error
// handling. It reports whether it answered.
func (x *exchange) unanswered(err error) bool {
	if x.g.Host.ProxyStatus == nil || x.route.Kind == wandb.RoutePage || x.route.Kind == wandb.RouteUnknown || x.wantsPage() {
		return false
	}
	status := x.g.Host.ProxyStatus(err)
	p := problem.Problem{Status: status, Code: "BAD_GATEWAY", Reason: ReasonServerUnreachable}
	switch status {
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		p.Message = "The gateway let this request through, but the W&B server behind it cannot be reached or broke off. Its operator can tell why; try again."
	case http.StatusGatewayTimeout:
		p.Code, p.Message = "GATEWAY_TIMEOUT", "The gateway let this request through, but the W&B server behind it did not answer in time. Its operator can tell why; try again."
	default:
		return false
	}
	if x.g.Host.RequestID != nil {
		p.RequestID = x.g.Host.RequestID(x.r)
	}
	x.event.Status, x.event.Reason, x.event.Err = status, p.Reason, err
	p.WriteJSON(x.w)
	return true
}

// wantsPage reports whether the request is a page load: a person reads what comes back.
func (x *exchange) wantsPage() bool {
	if x.r.Method != http.MethodGet && x.r.Method != http.MethodHead {
		return false
	}
	return x.route.Kind != wandb.RouteGraphQL && session.PageLoad(x.r) && session.AcceptsHTML(x.r)
}

// report tells how the request ended.
func (x *exchange) report() {
	if x.g.Host.Report == nil {
		return
	}
	x.event.Client = x.client
	x.g.Host.Report(x.r, &x.event)
}
