package iam

import "net/netip"

// CredentialKind says how a credential proves who is calling.
type CredentialKind uint8

// The kinds. The zero value means that the request carries none.
const (
	NoCredential      CredentialKind = iota
	CredentialAPIKey                 // an opaque key, as Basic password or Bearer value
	CredentialToken                  // three dot-separated parts: an access token or a foreign assertion
	CredentialCookie                 // the W&B server's own session cookie, a whole Cookie header
	CredentialTicket                 // an upload ticket (design section 6)
	CredentialSession                // the gateway's own session cookie, its value alone
)

// String returns the kind's name for logs.
func (k CredentialKind) String() string {
	switch k {
	case CredentialAPIKey:
		return "api_key"
	case CredentialToken:
		return "token"
	case CredentialCookie:
		return "cookie"
	case CredentialTicket:
		return "ticket"
	case CredentialSession:
		return "session"
	default:
		return "none"
	}
}

// Credential is what a request offers as proof of who is calling (RFC 9110 section 11). The user
// name of Basic authentication is no part of it: clients send `api`, `user`, or anything else
// there (sdk-wire 1.2).
type Credential struct {
	Kind CredentialKind
	// Bearer is true when it came as a Bearer value rather than as the Basic password.
	Bearer bool
	Secret Secret
	// Network is where it was sent from, as far as addresses count as one client; zero if nobody knows.
	// It proves nothing: it keeps apart those who make others wait.
	Network netip.Prefix
}
