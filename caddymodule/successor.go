package caddymodule

import (
	"errors"
	"net/http"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// succeed gives a request to the server that took over from its own: a connection may outlive the
// configuration that accepted it by drainTime, and what comes on it is judged by the rules that hold
// now. Where no server listens at that address any more, nothing is.
func succeed(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	server, _ := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	original, ok := ctx.Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	next := successor(server)
	if !ok || next == nil {
		return caddyhttp.Error(http.StatusServiceUnavailable, errors.New("wandb_gateway: this configuration has ended, and no site has taken its place"))
	}
	caddyhttp.SetVar(ctx, caddyhttp.LogSkipVar, true) // the successor logs it
	clear(w.Header())
	again := r.WithContext(ctx)
	again.Method, again.URL, again.RequestURI = original.Method, original.URL, original.RequestURI
	next.ServeHTTP(w, again)
	return nil
}

// successor finds the server that listens now where another one did; nil if none does, or it is itself.
func successor(server *caddyhttp.Server) *caddyhttp.Server {
	active := caddy.ActiveContext()
	found, err := active.AppIfConfigured("http")
	app, ok := found.(*caddyhttp.App)
	if server == nil || err != nil || !ok {
		return nil
	}
	for _, next := range app.Servers {
		if next != server && slices.ContainsFunc(next.Listen, func(address string) bool { return slices.Contains(server.Listen, address) }) {
			return next
		}
	}
	return nil
}
