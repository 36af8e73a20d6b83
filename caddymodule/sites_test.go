package caddymodule

import (
	"net/http/httptest"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// TestSites finds the hosts of the sites that the gateway guards, and takes no other for its own.
func TestSites(t *testing.T) {
	guarded := caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{&Handler{}}}
	at := func(hosts caddyhttp.MatchHost, route caddyhttp.Route) caddyhttp.Route {
		route.MatcherSets = caddyhttp.MatcherSets{{hosts}}
		return route
	}
	app := &caddyhttp.App{Servers: map[string]*caddyhttp.Server{
		"tls": {Listen: []string{":443"}, Routes: caddyhttp.RouteList{
			at(caddyhttp.MatchHost{"Wandb.acme.test", "*.acme.test"}, caddyhttp.Route{Handlers: []caddyhttp.MiddlewareHandler{
				&caddyhttp.Subroute{Routes: caddyhttp.RouteList{guarded}},
			}}),
			at(caddyhttp.MatchHost{"other.acme.test"}, caddyhttp.Route{}), // a site of another kind
		}},
		"port": {Listen: []string{"127.0.0.1:8080-8081"}, Routes: caddyhttp.RouteList{at(caddyhttp.MatchHost{"127.0.0.1"}, guarded)}},
	}}
	s := findSites(app)
	for host, want := range map[string]bool{
		"wandb.acme.test": true, "WANDB.acme.test": true, "wandb.acme.test:443": true, "wandb.acme.test:8443": false,
		"x.acme.test": false, "other.acme.test": false, "evil.test": false, "": false, "wandb.acme.test.evil.test": false,
		"127.0.0.1:8080": true, "127.0.0.1:8081": true, "127.0.0.1:9000": false, "localhost:8080": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		if _, ok := s.own(r); ok != want {
			t.Errorf("%q is the site's own: %t", host, ok)
		}
	}
	// A site without a host name can be asked for under any: only this machine's own names count.
	none := findSites(&caddyhttp.App{Servers: map[string]*caddyhttp.Server{"any": {Listen: []string{":8080"}, Routes: caddyhttp.RouteList{guarded}}}})
	for host, want := range map[string]bool{"localhost:8080": true, "127.0.0.1:8080": true, "[::1]:8080": true, "gw.localhost": true, "wandb.acme.test": false, "10.0.0.1:8080": false} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		if _, ok := none.own(r); ok != want {
			t.Errorf("without a named site, %q counts: %t", host, ok)
		}
	}
	if s := findSites(nil); len(s.hosts) != 0 {
		t.Error("hosts without a server")
	}
}
