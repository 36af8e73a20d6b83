package login

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
)

func (l *Login) https(r *http.Request) bool { return l.Scheme(r) == "https" }

// validHost reports whether s is host[:port] and nothing else.
func validHost(s string) bool {
	u, err := url.Parse("https://" + s)
	return err == nil && s != "" && u.Host == s && u.Hostname() != "" && !strings.ContainsAny(s, " \t\r\n")
}

// host returns the host under which the request's site is known. It is taken from the configuration, so
// that no header of a request gets into an address (threats O20).
func (l *Login) host(r *http.Request) (string, bool) {
	if len(l.hosts) == 0 {
		return l.Host(r)
	}
	asked := strings.ToLower(r.Host)
	if host, ok := l.hosts[asked]; ok {
		return host, true
	}
	// The scheme's own port may be left out or said.
	port := ":80"
	if l.https(r) {
		port = ":443"
	}
	if bare, ok := strings.CutSuffix(asked, port); ok {
		host, ok := l.hosts[bare]
		return host, ok
	}
	host, ok := l.hosts[asked+port]
	return host, ok
}

// origin returns the origin of the request's site; "" if it is none of the hosts.
func (l *Login) origin(r *http.Request) string {
	host, ok := l.host(r)
	if !ok {
		return ""
	}
	if l.https(r) {
		return "https://" + host
	}
	return "http://" + host
}

var errMisdirected = &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMisdirected,
	Message: "Nobody signs in under this host name. Use the address of your W&B server, or ask its administrator to add this one to redirect_hosts."}

// trustworthy reports whether browsers take the site for safe from the network, and tell it in
// Sec-Fetch-Site where a request comes from (W3C Secure Contexts section 3.1).
func (l *Login) trustworthy(r *http.Request) bool {
	if l.https(r) {
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

// sameOrigin checks that one of the site's own pages sent a request that changes something. Browsers
// say so in Sec-Fetch-Site; those that do not, and all on plain http, name the page's origin. `null` is
// the origin of a page that may not be named, ours among them, so it needs the former.
func (l *Login) sameOrigin(r *http.Request) error {
	sites, origins := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	if len(sites) > 1 || len(origins) > 1 {
		return errCrossSite
	}
	own := len(origins) == 1 && l.ownOrigin(r, origins[0])
	switch {
	case len(sites) == 0:
		if own {
			return nil
		}
		return errCrossSite
	case sites[0] != "same-origin":
		return errCrossSite
	case len(origins) == 0 || origins[0] == "null" || own:
		return nil
	}
	return errCrossSite
}

// ownOrigin compares an Origin, which never has the scheme's own port, with the site's.
func (l *Login) ownOrigin(r *http.Request, origin string) bool {
	own := strings.ToLower(l.origin(r))
	port := ":80"
	if l.https(r) {
		port = ":443"
	}
	return own != "" && strings.TrimSuffix(own, port) == strings.ToLower(origin)
}

// pageLoad reports whether a person is looking at what is answered: a whole page, not a script's
// request, picture or frame (threats O21, O24).
func pageLoad(r *http.Request) bool {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return false
	}
	mode := r.Header.Get("Sec-Fetch-Mode")
	return (mode == "" || mode == "navigate") && r.Header.Get("Upgrade") == ""
}

// acceptsHTML reports whether the client asks for a page in so many words, as browsers do.
func acceptsHTML(r *http.Request) bool {
	return strings.Contains(strings.ToLower(strings.Join(r.Header["Accept"], ",")), "text/html")
}
