package caddymodule

import (
	"context"
	"net/http"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wandb-gateway/wandb-gateway/gateway"
)

type withheldKey struct{}

// serveAgain keeps credentials out of Caddy's logs that Caddy does not know as such. It copies every
// request for its logs before any handler runs, and no handler can reach that copy: so a request with
// such a credential is given back to the server, with REDACTED in its place, and the first round is
// not logged. It reports whether it did so; the answer is then written.
// docs/decisions/0007-credentials-in-logs.md says why.
func serveAgain(w http.ResponseWriter, r *http.Request) bool {
	ctx := r.Context()
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok || ctx.Value(caddyhttp.ErrorCtxKey) != nil {
		return false
	}
	if server.Logs != nil && server.Logs.ShouldLogCredentials {
		return false // the operator wants to see them
	}
	original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok {
		return false
	}
	first := *r
	first.Method, first.URL, first.RequestURI = original.Method, original.URL, original.RequestURI
	bare, held := gateway.Withhold(&first)
	caddyhttp.SetVar(ctx, caddyhttp.LogSkipVar, true)
	clear(w.Header()) // whoever set a header in the first round sets it again
	server.ServeHTTP(w, bare.WithContext(context.WithValue(ctx, withheldKey{}, held)))
	return true
}

// restore puts the credentials back in the second round, and reports whether this is one.
func restore(r *http.Request) bool {
	held, ok := r.Context().Value(withheldKey{}).(*gateway.Withheld)
	if ok {
		held.Restore(r)
	}
	return ok
}

// hideWeaveKey keeps the key of Weave's exporters out of what the proxy logs of its own request.
func hideWeaveKey(next caddyhttp.Handler) caddyhttp.Handler {
	return caddyhttp.HandlerFunc(func(w http.ResponseWriter, r *http.Request) error {
		gateway.HideWeaveKey(r)
		return next.ServeHTTP(w, r)
	})
}
