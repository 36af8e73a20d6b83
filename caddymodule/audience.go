package caddymodule

import (
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// maxAudienceBytes bounds an audience that is written out.
const maxAudienceBytes = 512

// checkAudience checks an audience that is written out: any name that a server goes by.
func checkAudience(s string) error {
	if len(s) > maxAudienceBytes || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return iam.Invalidf("the audience %.80q of assertion is no name such as https://wandb.internal:8080: it has blanks or is too long", s)
	}
	return nil
}

// audience is whom the site's assertions are for: as configured, else scheme://host:port of the one
// server to which requests go on after the handler (design section 6).
func (h *Handler) audience(app *caddyhttp.App) (string, error) {
	if h.AssertionAudience != "" {
		return h.AssertionAudience, nil
	}
	var proxies []*reverseproxy.Handler
	if app != nil {
		for _, server := range app.Servers {
			if found, after := proxiesAfter(server.Routes, h); found {
				proxies = after
				break
			}
		}
	}
	if len(proxies) == 0 {
		return "", unknownAudience("no reverse_proxy follows wandb_gateway in the site")
	}
	var only string
	for _, proxy := range proxies {
		addresses, err := addressesOf(proxy)
		if err != nil {
			return "", err
		}
		for _, address := range addresses {
			if only != "" && only != address {
				return "", unknownAudience("the site has several upstreams, " + only + " and " + address)
			}
			only = address
		}
	}
	return only, nil
}

func unknownAudience(why string) error {
	return iam.Invalidf("assertion on cannot tell for whom the assertions are: %s; write `assertion on AUDIENCE` with the name that the server expects, such as https://wandb.internal:8080", why)
}

// proxiesAfter finds a handler, and the proxies that come after it: in the innermost list of routes
// around it that has any, because a request that one of those takes goes no further.
func proxiesAfter(routes caddyhttp.RouteList, h *Handler) (found bool, proxies []*reverseproxy.Handler) {
	for i := range routes {
		for _, handler := range routes[i].Handlers {
			if found {
				proxies = append(proxies, proxiesIn(handler)...)
				continue
			}
			switch handler := handler.(type) {
			case *Handler:
				found = handler == h
			case *caddyhttp.Subroute:
				if found, proxies = proxiesAfter(handler.Routes, h); len(proxies) > 0 {
					return true, proxies
				}
			}
		}
	}
	return found, proxies
}

func proxiesIn(handler caddyhttp.MiddlewareHandler) (proxies []*reverseproxy.Handler) {
	switch handler := handler.(type) {
	case *reverseproxy.Handler:
		return []*reverseproxy.Handler{handler}
	case *caddyhttp.Subroute:
		for i := range handler.Routes {
			for _, inner := range handler.Routes[i].Handlers {
				proxies = append(proxies, proxiesIn(inner)...)
			}
		}
	}
	return proxies
}

// addressesOf returns scheme://host:port of a proxy's upstreams; an error if not all are known by now.
func addressesOf(proxy *reverseproxy.Handler) ([]string, error) {
	transport, ok := proxy.Transport.(reverseproxy.TLSTransport)
	if !ok {
		return nil, unknownAudience("a reverse_proxy of the site does not speak HTTP")
	}
	if proxy.DynamicUpstreams != nil {
		return nil, unknownAudience("the upstreams of the site's reverse_proxy are looked up for every request")
	}
	var addresses []string
	for _, upstream := range proxy.Upstreams {
		if hasPlaceholder(upstream.Dial) {
			return nil, unknownAudience("the upstream " + upstream.Dial + " has a placeholder, which stands for something else in every request")
		}
		address, err := caddy.ParseNetworkAddress(upstream.Dial)
		if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() || address.PortRangeSize() != 1 {
			return nil, unknownAudience("the upstream " + upstream.Dial + " is no host with a port")
		}
		scheme := "http"
		if transport.TLSEnabled() && !exceptPort(transport, address) {
			scheme = "https"
		}
		addresses = append(addresses, scheme+"://"+strings.ToLower(address.JoinHostPort(0)))
	}
	return addresses, nil
}

// exceptPort reports whether a transport that speaks TLS does not do so to the port of an address.
func exceptPort(transport reverseproxy.TLSTransport, address caddy.NetworkAddress) bool {
	t, ok := transport.(*reverseproxy.HTTPTransport)
	if !ok || t.TLS == nil {
		return false
	}
	return slices.Contains(t.TLS.ExceptPorts, strconv.FormatUint(uint64(address.StartPort), 10))
}
