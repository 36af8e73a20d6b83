package login

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// CheckHosts refuses hosts of a configuration that are not host[:port].
func CheckHosts(hosts []string) error {
	for _, host := range hosts {
		if !validHost(host) {
			return iam.Invalidf("redirect_hosts: %q is not host[:port]: leave out scheme and path", host)
		}
	}
	return nil
}

// validHost reports whether s is host[:port] and nothing else.
func validHost(s string) bool {
	u, err := url.Parse("https://" + s)
	return err == nil && s != "" && u.Host == s && u.Hostname() != "" && !strings.ContainsAny(s, " \t\r\n")
}

// host returns the host under which the request's site is known. It is taken from the configuration, so
// that no header of a request gets into an address (threats O20).
func (l *Login) host(r *http.Request) (string, bool) {
	asked := strings.ToLower(r.Host)
	bare, port := strings.TrimSuffix(asked, ":80"), ":80" // which may be left out or said
	if l.HTTPS(r) {
		bare, port = strings.TrimSuffix(asked, ":443"), ":443"
	}
	for _, spelling := range []string{asked, bare, asked + port} {
		if host, ok := l.hosts[spelling]; ok {
			return host, true
		}
	}
	if l.Host == nil {
		return "", false
	}
	return l.Host(r)
}

// origin returns the origin of the request's site; "" if it is none of the hosts.
func (l *Login) origin(r *http.Request) string {
	host, ok := l.host(r)
	if !ok {
		return ""
	}
	if l.HTTPS(r) {
		return "https://" + host
	}
	return "http://" + host
}

var errMisdirected = &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMisdirected,
	Message: "Nobody signs in under this host name. Use the address of your W&B server, or ask its administrator to add this one to redirect_hosts."}

// trustworthy reports whether browsers take the site for safe from the network, and tell it in
// Sec-Fetch-Site where a request comes from (W3C Secure Contexts section 3.1).
func (l *Login) trustworthy(r *http.Request) bool {
	if l.HTTPS(r) {
		return true
	}
	host := r.Host
	if bare, _, err := net.SplitHostPort(host); err == nil {
		host = bare
	}
	host = strings.ToLower(strings.Trim(host, "[]"))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

var errCrossSite = &iam.Error{Kind: iam.KindDenied, Reason: ReasonCrossSite,
	Message: "This form was not sent by a page of this site, or the browser did not say so. Open the page again and send it from there."}

// sameOrigin checks that one of the site's own pages sent a request that changes something.
func (l *Login) sameOrigin(r *http.Request) error {
	if !session.SameOrigin(r, l.origin(r)) {
		return errCrossSite
	}
	return nil
}
