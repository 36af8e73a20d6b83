package caddymodule

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// site provisions a configuration, without starting anything, and returns its only gateway.
func site(t *testing.T, input string) (*caddyhttp.App, *Handler) {
	t.Helper()
	withoutVariables(t)
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		t.Fatal(err)
	}
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(adapted, config); err != nil {
		t.Fatal(err)
	}
	ctx, err := caddy.ProvisionContext(config)
	if err != nil {
		t.Fatal(err)
	}
	http, err := ctx.App("http")
	if err != nil {
		t.Fatal(err)
	}
	app, err := ctx.App("wandb_gateway")
	if err != nil {
		t.Fatal(err)
	}
	handlers := app.(*App).handlers
	if len(handlers) != 1 {
		t.Fatalf("%d sites", len(handlers))
	}
	return http.(*caddyhttp.App), handlers[0]
}

func TestAudience(t *testing.T) {
	const gateway = "wandb_gateway {\n\t\tassertion on\n\t}\n\t"
	for _, tt := range []struct{ name, site, want, err string }{
		{"http", gateway + "reverse_proxy http://wandb.internal:8080", "http://wandb.internal:8080", ""},
		{"without a scheme", gateway + "reverse_proxy wandb.internal:8080", "http://wandb.internal:8080", ""},
		{"the scheme's port", gateway + "reverse_proxy http://wandb.internal", "http://wandb.internal:80", ""},
		{"https", gateway + "reverse_proxy https://wandb.internal", "https://wandb.internal:443", ""},
		{"https elsewhere", gateway + "reverse_proxy https://wandb.internal:8443", "https://wandb.internal:8443", ""},
		{"capitals", gateway + "reverse_proxy http://WandB.internal:8080", "http://wandb.internal:8080", ""},
		{"IPv6", gateway + "reverse_proxy http://[::1]:8080", "http://[::1]:8080", ""},
		{"TLS by the transport", gateway + "reverse_proxy wandb.internal:8443 {\n\t\ttransport http {\n\t\t\ttls\n\t\t}\n\t}", "https://wandb.internal:8443", ""},
		{"TLS but not to this port", gateway + "reverse_proxy wandb.internal:8080 {\n\t\ttransport http {\n\t\t\ttls\n\t\t\ttls_except_ports 8080\n\t\t}\n\t}", "http://wandb.internal:8080", ""},
		{"written before", "reverse_proxy http://wandb.internal:8080\n\t" + gateway, "http://wandb.internal:8080", ""},
		{"one server in two places", gateway + "reverse_proxy /traces/* http://wandb.internal:8080\n\treverse_proxy http://wandb.internal:8080", "http://wandb.internal:8080", ""},
		{"inside handle", "handle /x/* {\n\t\t" + gateway + "reverse_proxy http://x.internal:1\n\t}\n\thandle {\n\t\treverse_proxy http://y.internal:2\n\t}", "http://x.internal:1", ""},
		{"a proxy inside handle", gateway + "handle {\n\t\treverse_proxy http://wandb.internal:8080\n\t}", "", "no reverse_proxy follows"}, // handle is ordered before
		{"a proxy inside route", gateway + "route {\n\t\treverse_proxy http://wandb.internal:8080\n\t}", "", "no reverse_proxy follows"},
		{"all in a route", "route {\n\t\t" + gateway + "handle {\n\t\t\treverse_proxy http://wandb.internal:8080\n\t\t}\n\t}", "http://wandb.internal:8080", ""},

		{"none", gateway + "respond 204", "", "no reverse_proxy follows wandb_gateway in the site"},
		{"two servers", gateway + "reverse_proxy http://a.internal:1 http://b.internal:2", "", "several upstreams, http://a.internal:1 and http://b.internal:2"},
		{"two proxies", gateway + "reverse_proxy /traces/* http://a.internal:1\n\treverse_proxy http://b.internal:2", "", "several upstreams"},
		{"two ports", gateway + "reverse_proxy wandb.internal:8080 wandb.internal:8081", "", "several upstreams"},
		{"a placeholder", gateway + "reverse_proxy {http.request.header.X-To}:80", "", "has a placeholder"},
		{"looked up", gateway + "reverse_proxy {\n\t\tdynamic a wandb.internal 8080\n\t}", "", "looked up for every request"},
		{"a socket", gateway + "reverse_proxy unix//run/wandb.sock", "", "no host with a port"},
		{"FastCGI", gateway + "reverse_proxy wandb.internal:9000 {\n\t\ttransport fastcgi\n\t}", "", "does not speak HTTP"},
		{"written out", "wandb_gateway {\n\t\tassertion on wandb\n\t}\n\treverse_proxy http://a.internal:1 http://b.internal:2", "wandb", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			app, h := site(t, "http://one.test:8080 {\n\t"+tt.site+"\n}\nhttp://other.test:8080 {\n\treverse_proxy http://other.internal:9\n}\n")
			got, err := h.audience(app)
			if got != tt.want || (err == nil) != (tt.err == "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%q, %v; want %q, %q", got, err, tt.want, tt.err)
			}
			if err != nil && !strings.Contains(err.Error(), "write `assertion on AUDIENCE`") {
				t.Errorf("%v names no remedy", err)
			}
		})
	}
}

// Handlers may stand in routes of their own, as JSON configurations have them.
func TestAudienceInSeparateRoutes(t *testing.T) {
	h := &Handler{Assertion: true}
	proxy := func(dial string) caddyhttp.Route {
		return caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{&reverseproxy.Handler{
			Transport: new(reverseproxy.HTTPTransport), Upstreams: reverseproxy.UpstreamPool{{Dial: dial}},
		}}}
	}
	gateway := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{&caddyhttp.Subroute{
		Routes: caddyhttp.RouteList{{Handlers: []caddyhttp.MiddlewareHandler{h}}},
	}}}
	app := &caddyhttp.App{Servers: map[string]*caddyhttp.Server{
		"s": {Routes: caddyhttp.RouteList{proxy("before.internal:1"), gateway, proxy("wandb.internal:8080")}},
		"t": {Routes: caddyhttp.RouteList{proxy("elsewhere.internal:2")}},
	}}
	if got, err := h.audience(app); err != nil || got != "http://wandb.internal:8080" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := h.audience(nil); err == nil {
		t.Error("without an HTTP server there is an audience")
	}
	if _, err := h.audience(&caddyhttp.App{Servers: map[string]*caddyhttp.Server{"s": {Routes: caddyhttp.RouteList{{}}}}}); err == nil {
		t.Error("a handler that is nowhere has an audience")
	}
}
