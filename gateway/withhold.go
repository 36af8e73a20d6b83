package gateway

import (
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// redacted stands where a credential was, so that a log still shows that there was one.
const redacted = "REDACTED"

// unhiddenHeaders carry credentials under names that no server hides in its logs by itself, as it
// does with Authorization and Cookie.
var unhiddenHeaders = [...]string{weaveKeyHeader, TicketHeader}

// Withheld are the credentials that were taken out of a request before it was logged.
type Withheld struct {
	headers [len(unhiddenHeaders)][]string
	ticket  string // the query from the first ticket on
	inQuery bool
	query   string // of a door that is told secrets in it
	whole   bool
}

// secretive are the doors whose query holds secrets, if only by mistake.
var secretive = [...]string{"/oidc/token", "/oidc/callback", "/oidc/backchannel-logout"}

// isSecretive reports whether the path is one of theirs, in whatever spelling somebody may send it.
func isSecretive(path string) bool {
	path = strings.TrimSuffix(path, "/")
	return slices.ContainsFunc(secretive[:], func(door string) bool { return strings.EqualFold(door, path) })
}

// HasUnhidden reports whether a request carries a credential that a server's log would show: the key
// of Weave's exporters, an upload's ticket, a download's ticket in the query, or an assertion or code in
// the query of a door of sign-in.
func HasUnhidden(r *http.Request) bool {
	for _, name := range unhiddenHeaders {
		if _, ok := r.Header[name]; ok {
			return true
		}
	}
	return r.URL.RawQuery != "" && (strings.Contains(r.URL.RawQuery, ticketParameter) || isSecretive(r.URL.Path))
}

// Withhold returns a copy of the request, with REDACTED in place of such credentials, and what it
// took out. The request itself stays as it is.
func Withhold(r *http.Request) (*http.Request, *Withheld) {
	held := new(Withheld)
	bare := new(http.Request)
	*bare = *r
	bare.Header = r.Header.Clone()
	bare.URL = new(url.URL)
	*bare.URL = *r.URL
	for i, name := range unhiddenHeaders {
		if values, ok := r.Header[name]; ok {
			held.headers[i] = values
			bare.Header[name] = []string{redacted}
		}
	}
	if r.URL.RawQuery != "" && isSecretive(r.URL.Path) {
		held.query, held.whole = r.URL.RawQuery, true
		bare.URL.RawQuery = redacted
		before, _, _ := strings.Cut(r.RequestURI, "?")
		bare.RequestURI = before + "?" + redacted
		return bare, held
	}
	if before, ticket, ok := strings.Cut(r.URL.RawQuery, ticketParameter); ok {
		held.ticket, held.inQuery = ticket, true
		bare.URL.RawQuery = before + ticketParameter + redacted
		if before, _, ok := strings.Cut(r.RequestURI, ticketParameter); ok {
			bare.RequestURI = before + ticketParameter + redacted
		}
	}
	return bare, held
}

// Restore puts back what was taken out, in the places that still say REDACTED: what another handler
// removed or replaced in between stays so.
func (held *Withheld) Restore(r *http.Request) {
	for i, name := range unhiddenHeaders {
		if values := r.Header[name]; held.headers[i] != nil && len(values) == 1 && values[0] == redacted {
			r.Header[name] = held.headers[i]
		}
	}
	if held.whole && r.URL.RawQuery == redacted {
		r.URL.RawQuery = held.query
		r.RequestURI = strings.TrimSuffix(r.RequestURI, redacted) + held.query
	}
	if held.inQuery {
		r.URL.RawQuery = held.restoreTicket(r.URL.RawQuery)
		r.RequestURI = held.restoreTicket(r.RequestURI)
	}
}

// restoreTicket puts the ticket back at the end of a query, where Withhold left its name.
func (held *Withheld) restoreTicket(s string) string {
	if rest, ok := strings.CutSuffix(s, ticketParameter+redacted); ok {
		return rest + ticketParameter + held.ticket
	}
	return s
}

// HideWeaveKey hands the key of Weave's exporters on as HTTP Basic, which the server takes in its place
// (docs.wandb.ai, "Send OpenTelemetry spans", Authentication): a proxy that logs what it sends hides
// Authorization, and not the other header. A request that has both is left alone.
func HideWeaveKey(r *http.Request) {
	values := r.Header[weaveKeyHeader]
	if _, ok := r.Header["Authorization"]; ok || len(values) != 1 {
		return
	}
	delete(r.Header, weaveKeyHeader)
	r.Header["Authorization"] = []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+values[0]))}
}
