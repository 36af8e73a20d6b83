package gateway

import (
	"net/http"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// Headers that carry identity to the upstream (design section 6).
const (
	headerUser              = "X-Forwarded-User"
	headerEmail             = "X-Forwarded-Email"
	headerGroups            = "X-Forwarded-Groups"
	headerPreferredUsername = "X-Forwarded-Preferred-Username"
	headerPrincipal         = "X-Wandb-Gateway-Principal"
	headerOrganization      = "X-Wandb-Gateway-Organization"
	headerAssertion         = "X-Wandb-Gateway-Assertion"
	headerAttributionName   = "X-Wandb-Username"
	headerAttributionEmail  = "X-Wandb-User-Email"
)

// foreignIdentity lists, folded by foldHeader, the names under which some server or other believes
// an identity, an original URL or another method. A client's copies are removed from every request,
// also where the gateway sets nothing in their place (threats P01 to P03).
var foreignIdentity = map[string]bool{
	"x-forwarded-user":               true,
	"x-forwarded-email":              true,
	"x-forwarded-groups":             true,
	"x-forwarded-preferred-username": true,
	"x-forwarded-access-token":       true,
	"x-forwarded-id-token":           true,
	"x-forwarded-uri":                true,
	"x-forwarded-method":             true,
	"x-forwarded-prefix":             true,
	"x-wandb-username":               true,
	"x-wandb-user-email":             true,
	"x-wandb-api-key":                true,
	"remote-user":                    true,
	"remote-groups":                  true,
	"remote-email":                   true,
	"remote-name":                    true,
	"x-remote-user":                  true,
	"x-remote-groups":                true,
	"x-webauth-user":                 true,
	"x-user":                         true,
	"x-user-id":                      true,
	"x-user-email":                   true,
	"x-auth-user":                    true,
	"x-auth-username":                true,
	"x-auth-email":                   true,
	"x-auth-groups":                  true,
	"x-client-cert":                  true,
	"x-forwarded-client-cert":        true,
	"cf-access-jwt-assertion":        true,
	"x-original-url":                 true,
	"x-original-uri":                 true,
	"x-rewrite-url":                  true,
	"x-http-method-override":         true,
	"x-http-method":                  true,
	"x-method-override":              true,
	"proxy":                          true, // HTTPoxy
	"proxy-authorization":            true,
}

// foreignPrefixes are families of such names.
var foreignPrefixes = []string{
	"x-wandb-gateway-", "x-auth-request-", "x-authenticated-", "x-goog-authenticated-user-", "x-goog-iap-",
	"x-ms-client-principal", "x-amzn-oidc-", "x-ssl-client-", "ssl-client-", "x-authentik-", "x-pomerium-", "x-vouch-",
	"tailscale-user-", "cf-access-authenticated-user-",
}

// proxyHeaders are believed only when a trusted proxy sent them.
var proxyHeaders = [...]string{"Forwarded", "X-Real-Ip"}

// foldHeader returns the form under which servers that follow CGI merge header names: lower case,
// with - for _ and . (threats P01).
func foldHeader(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case 'A' <= r && r <= 'Z':
			return r + ('a' - 'A')
		case r == '_' || r == '.':
			return '-'
		}
		return r
	}, name)
}

// carriesIdentity reports whether a header name, in any spelling, is one that a client must not
// send on.
func carriesIdentity(name string) bool {
	if harmless[name] {
		return false
	}
	folded := foldHeader(name)
	if foreignIdentity[folded] {
		return true
	}
	for _, prefix := range foreignPrefixes {
		if strings.HasPrefix(folded, prefix) {
			return true
		}
	}
	return false
}

// harmless are the names that nearly every request carries: one look-up instead of folding them.
var harmless = map[string]bool{
	"Accept": true, "Accept-Encoding": true, "Accept-Language": true, "Authorization": true,
	"Connection": true, "Content-Encoding": true, "Content-Length": true, "Content-Type": true,
	"Cookie": true, "Host": true, "Origin": true, "Range": true, "Referer": true,
	"Use-Admin-Privileges": true, "User-Agent": true, "Via": true, "X-Forwarded-For": true,
	"X-Forwarded-Host": true, "X-Forwarded-Proto": true, "Sec-Fetch-Dest": true,
	TicketHeader:     true, // a credential: read, then dropped with the others
	"Sec-Fetch-Mode": true, "Sec-Fetch-Site": true,
}

// cleanHeaders removes what a client must not tell the upstream: identity in every spelling, names
// that would make a proxy behind us drop or rewrite things, and trailers. It runs on every request,
// before anything is decided, so that no later path can forget it.
//
// Caddy's reverse_proxy deletes the headers that Connection names after this handler has set its
// own (threats F1): only the tokens that mean something to a proxy are kept.
func cleanHeaders(r *http.Request, trustedProxy bool) {
	h := r.Header
	for name := range h {
		if carriesIdentity(name) {
			delete(h, name)
		}
	}
	if !trustedProxy {
		for _, name := range proxyHeaders {
			delete(h, name)
		}
	}
	delete(h, "Trailer")
	r.Trailer = nil
	cleanConnection(h)
}

// keptConnectionTokens are the only ones that reach the next handler.
var keptConnectionTokens = [...]string{"close", "keep-alive", "upgrade", "te"}

func cleanConnection(h http.Header) {
	upgrade := h["Upgrade"]
	if len(upgrade) > 0 && !(len(upgrade) == 1 && strings.EqualFold(upgrade[0], "websocket")) {
		delete(h, "Upgrade") // h2c would leave a tunnel past every later decision (threats F4)
	}
	delete(h, "Http2-Settings")
	values, ok := h["Connection"]
	if !ok {
		return
	}
	kept := make([]string, 0, len(keptConnectionTokens))
	for _, token := range keptConnectionTokens {
		if httpguts.HeaderValuesContainsToken(values, token) {
			kept = append(kept, token)
		}
	}
	if len(kept) == 0 {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(kept, ", ")}
}

// upgrading reports whether the client asks for a WebSocket.
func upgrading(h http.Header) bool { return len(h["Upgrade"]) > 0 }
