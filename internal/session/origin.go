package session

import (
	"net/http"
	"strings"
)

// SameOrigin reports whether one of the site's own pages made the browser send a request. own is the
// site's origin, such as https://wandb.example.com. A browser says so in Sec-Fetch-Site (W3C Fetch
// Metadata section 2.3); one that does not, and all of them on plain http, name the page's origin
// (RFC 6454 section 7). `null` is the origin of a page that may not be named, the site's own among
// them, and needs the former. Whatever is there must agree; a request that says nothing is nobody's.
func SameOrigin(r *http.Request, own string) bool {
	sites, origins := r.Header["Sec-Fetch-Site"], r.Header["Origin"]
	if len(sites) > 1 || len(origins) > 1 {
		return false
	}
	named := len(origins) == 1 && sameOrigin(own, origins[0])
	switch {
	case len(sites) == 0:
		return named
	case sites[0] != "same-origin":
		return false
	}
	return len(origins) == 0 || origins[0] == "null" || named
}

// PageLoad reports whether a person is looking at what is answered: a whole page, not a script's request,
// picture, frame or WebSocket (threats O21, O24).
func PageLoad(r *http.Request) bool {
	if dest := r.Header.Get("Sec-Fetch-Dest"); dest != "" && dest != "document" {
		return false
	}
	mode := r.Header.Get("Sec-Fetch-Mode")
	return (mode == "" || mode == "navigate") && r.Header.Get("Upgrade") == ""
}

// AcceptsHTML reports whether the client asks for a page in so many words, as browsers do.
func AcceptsHTML(r *http.Request) bool {
	return strings.Contains(strings.ToLower(strings.Join(r.Header["Accept"], ",")), "text/html")
}

// sameOrigin compares an Origin, which never has the scheme's own port, with the site's.
func sameOrigin(own, origin string) bool {
	own = strings.ToLower(own)
	port := ":80"
	if strings.HasPrefix(own, "https:") {
		port = ":443"
	}
	return own != "" && strings.TrimSuffix(own, port) == strings.ToLower(origin)
}
