package caddymodule

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// sites are the hosts of the sites that the gateway guards, with the ports they are served on: where
// people sign in unless `redirect_hosts` says otherwise.
type sites struct {
	hosts map[string][]string // host to ports, "" for the scheme's own
}

// findSites looks through the server's routes for those that hold one of the gateway's handlers.
func findSites(app *caddyhttp.App) *sites {
	s := &sites{hosts: make(map[string][]string)}
	if app == nil {
		return s
	}
	for _, server := range app.Servers {
		s.collect(server.Routes, nil, portsOf(server.Listen))
	}
	return s
}

func (s *sites) collect(routes caddyhttp.RouteList, hosts, ports []string) {
	for i := range routes {
		named := hostsOf(routes[i].MatcherSets)
		if len(named) == 0 {
			named = hosts
		}
		for _, handler := range routes[i].Handlers {
			switch handler := handler.(type) {
			case *Handler:
				s.add(named, ports)
			case *caddyhttp.Subroute:
				s.collect(handler.Routes, named, ports)
			}
		}
	}
}

func hostsOf(sets caddyhttp.MatcherSets) []string {
	var hosts []string
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case caddyhttp.MatchHost:
				hosts = append(hosts, m...)
			case *caddyhttp.MatchHost:
				hosts = append(hosts, *m...)
			}
		}
	}
	return hosts
}

// add notes hosts by their own name; one with a wildcard is no address to send a browser to.
func (s *sites) add(hosts, ports []string) {
	for _, host := range hosts {
		if !strings.Contains(host, "*") {
			host = strings.ToLower(host)
			s.hosts[host] = append(s.hosts[host], ports...)
		}
	}
}

func portsOf(listen []string) []string {
	var ports []string
	for _, address := range listen {
		parsed, err := caddy.ParseNetworkAddress(address)
		if err != nil {
			continue
		}
		for i := range parsed.PortRangeSize() {
			_, port, err := net.SplitHostPort(parsed.JoinHostPort(i))
			if err == nil {
				ports = append(ports, port)
			}
		}
	}
	return ports
}

// own returns the host that a request is for if it is one of the sites'. Without any site that names
// its host, it is this machine's own name, and no other: whoever asks could have made it up.
func (s *sites) own(r *http.Request) (string, bool) {
	asked := strings.ToLower(r.Host)
	host, port, err := net.SplitHostPort(asked)
	if err != nil {
		host, port = asked, ""
	}
	if len(s.hosts) == 0 {
		return asked, loopbackName(host)
	}
	ports, ok := s.hosts[strings.Trim(host, "[]")]
	return asked, ok && (port == "" || port == "80" || port == "443" || slices.Contains(ports, port))
}

// loopbackName reports whether a host can only be this machine.
func loopbackName(host string) bool {
	host = strings.Trim(host, "[]")
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && addr.IsLoopback()
}
