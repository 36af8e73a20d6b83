package caddymodule

import (
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// streamsStay is how long WebSockets outlive the configuration under which they were opened. Caddy would
// end them with it, unless `stream_close_delay` says how long they may stay.
const streamsStay = 24 * time.Hour

// proxies are those that stand behind the gateway in one configuration.
type proxies struct {
	all []*reverseproxy.Handler
	// kept are those whose streams outlive a reload by the gateway's doing.
	kept []*reverseproxy.Handler
}

// guardedProxies finds the proxies of all sites that the gateway guards.
func guardedProxies(app *caddyhttp.App) (found proxies) {
	if app == nil {
		return found
	}
	for _, server := range app.Servers {
		if all, guarded := findProxies(server.Routes); guarded {
			found.all = append(found.all, all...)
		}
	}
	return found
}

// keepStreams lets streams outlive a reload, where the operator has not said how long they may.
// docs/decisions/0013-reload.md says why.
func (p *proxies) keepStreams() {
	for _, proxy := range p.all {
		if proxy.StreamCloseDelay == 0 {
			proxy.StreamCloseDelay = caddy.Duration(streamsStay)
			p.kept = append(p.kept, proxy)
		}
	}
}

// endStreams lets Caddy close the streams properly, because the process ends.
func (p *proxies) endStreams() {
	for _, proxy := range p.kept {
		proxy.StreamCloseDelay = 0
	}
}

// letGo closes connections to the server that wait for a request. Caddy forgets those of a proxy without
// a `transport` of its own, so that each reload would leave some behind for two minutes.
func (p *proxies) letGo() {
	for _, proxy := range p.all {
		if transport, ok := proxy.Transport.(*reverseproxy.HTTPTransport); ok && transport.Transport != nil {
			transport.Transport.CloseIdleConnections()
		}
	}
}

// findProxies returns the proxies among routes, and whether the gateway is there too.
func findProxies(routes caddyhttp.RouteList) (found []*reverseproxy.Handler, guarded bool) {
	for i := range routes {
		for _, handler := range routes[i].Handlers {
			switch handler := handler.(type) {
			case *Handler:
				guarded = true
			case *reverseproxy.Handler:
				found = append(found, handler)
			case *caddyhttp.Subroute:
				below, here := findProxies(handler.Routes)
				found, guarded = append(found, below...), guarded || here
			}
		}
	}
	return found, guarded
}
