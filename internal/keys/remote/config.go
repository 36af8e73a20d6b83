// Package remote keeps the key sets of issuers: found by discovery, fetched over HTTP with bounds on
// size, time and rate, kept fresh, and used further while an issuer is down. Sites without internet pin
// the keys instead.
package remote

import (
	"crypto/x509"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// ReasonUnavailable is the reason of errors that mean that the issuer's keys cannot be had, so that
// nobody can tell whether a token is genuine.
const ReasonUnavailable iam.Reason = "issuer_unavailable"

// Config says whose keys are wanted and how they are reached.
type Config struct {
	// Issuer is the exact `iss` of its tokens.
	Issuer string
	// KeysURL is where the key set is, for issuers without discovery; "" asks the issuer.
	KeysURL string
	// Pinned is the key set itself: nothing is fetched then.
	Pinned *jws.KeySet
	// Roots are the certificate authorities that are trusted for the issuer; nil means the system's.
	Roots *x509.CertPool
	// Transport makes the requests instead of one of the package's own, which has TLS 1.2 or later,
	// Roots, and the proxy of the environment. It is for tests.
	Transport http.RoundTripper
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Report is told of every fetch, one at a time for each Set; nil means nobody is. It must not close
	// the Set.
	Report func(Event)
}

// Event is one fetch of an issuer's keys.
type Event struct {
	Issuer string
	// At is when the fetch began.
	At time.Time
	// Err is why it failed; nil if it did not.
	Err error
	// Changed says whether the keys, or those that cannot be used, are others than before.
	Changed bool
	// Keys is how many keys can be used.
	Keys int
	// Ignored has a line for each key that cannot, without key material. Secret keys that somebody
	// published are among them.
	Ignored []string
}

func (c Config) validate() error {
	if err := ValidIssuerURL(c.Issuer); err != nil {
		return err
	}
	if c.KeysURL == "" {
		return nil
	}
	return ValidKeysURL(c.KeysURL)
}

// ValidKeysURL says whether keys can be fetched from an address: an https URL, or http on a loopback
// address, without user name or fragment. It may have a query, by which some issuers tell applications
// apart. Errors are of iam.KindInvalid.
func ValidKeysURL(s string) error {
	u, err := parseURL(s)
	switch {
	case strings.Contains(s, "@"): // it may be a password, which no message repeats
		return iam.Invalidf("the address of an issuer's keys holds a user name or a password: write it without")
	case err != nil || u.Scheme != "https" && !plainLoopback(u):
		return iam.Invalidf("%s is no place to fetch the keys of an issuer from: write an https URL without user name and fragment (http only on a loopback address)", untrusted.Quote(s))
	}
	return nil
}

// maxURLBytes bounds the URLs of issuers.
const maxURLBytes = 2048

// ValidIssuerURL says whether a text can be the name of an issuer whose keys are fetched: an https URL,
// or http on a loopback address, without user name, query or fragment (OpenID Connect Discovery 1.0
// section 3). It is never rewritten: names of issuers are compared as exact bytes (threats J10). Errors
// are of iam.KindInvalid.
func ValidIssuerURL(s string) error {
	u, err := parseURL(s)
	switch {
	case s == "":
		return iam.Invalidf("the issuer is empty: write its URL exactly as it stands in the `iss` of its tokens")
	case len(s) > maxURLBytes:
		return iam.Invalidf("the issuer has %d bytes, the limit is %d", len(s), maxURLBytes)
	case strings.Contains(s, "@"): // it may be a password, which no message repeats
		return iam.Invalidf("the issuer's URL holds a user name or a password: write it exactly as it stands in the `iss` of its tokens, such as https://acme.okta.com")
	case err != nil:
		return iam.Invalidf("the issuer %s is no URL with a host alone: write it exactly as it stands in the `iss` of its tokens, such as https://acme.okta.com, without user name or fragment", untrusted.Quote(s))
	case strings.Contains(s, "?"):
		return iam.Invalidf("the issuer %s has a query, which the name of an issuer cannot have: leave out everything from the question mark on", untrusted.Quote(s))
	case u.Scheme == "https" || plainLoopback(u):
		return nil
	case u.Scheme == "http":
		return iam.Invalidf("the issuer %s is reached without TLS, so that anybody on the way could replace its keys: use https (http only on a loopback address)", untrusted.Quote(s))
	}
	return iam.Invalidf("the issuer %s is no https URL: write it exactly as it stands in the `iss` of its tokens", untrusted.Quote(s))
}

// parseURL reads an absolute http or https URL whose every part is what it looks like.
func parseURL(s string) (*url.URL, error) {
	if len(s) > maxURLBytes || strings.ContainsAny(s, "#\\\"<>^`{|} ") || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, errNoURL
	}
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || u.User != nil || u.Opaque != "" || strings.HasSuffix(u.Host, ":") {
		return nil, errNoURL
	}
	if !strings.HasPrefix(s, u.Scheme+"://") { // another spelling of the scheme
		return nil, errNoURL
	}
	return u, nil
}

var errNoURL = iam.Invalidf("no URL")

// plainLoopback reports whether a URL is http to this machine itself, where nobody listens in.
func plainLoopback(u *url.URL) bool {
	if u.Scheme != "http" {
		return false
	}
	if u.Hostname() == "localhost" {
		return true
	}
	address, err := netip.ParseAddr(u.Hostname())
	return err == nil && address.IsLoopback()
}
