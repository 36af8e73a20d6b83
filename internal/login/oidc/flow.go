package oidc

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"io"
	"net/url"
	"time"

	"golang.org/x/oauth2"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

const (
	// flowLife is how long a person may take to sign in (threats O01).
	flowLife = 10 * time.Minute
	// leeway is how far the provider's clock may be from ours.
	leeway = 60 * time.Second
	// randomBytes is the size of state, nonce and verifier before they are written as text.
	randomBytes = 32
)

// Flow is one sign-in on its way. Its caller keeps it for the browser that began it, sealed: the
// fields are secrets towards everybody else, the person included (they must not choose the nonce).
type Flow struct {
	// State comes back with the answer and ties it to this browser.
	State string
	// Nonce comes back in the ID token and ties it to this flow.
	Nonce string
	// Verifier is what the code challenge was made from (RFC 7636); "" for implicit.
	Verifier string
	// Issuer is who was asked: the flow counts at no other connector (mix-up, threats O04).
	Issuer string
	// RedirectURI is where the answer was asked to.
	RedirectURI string
	// Created is when.
	Created time.Time
	// ReturnTo is where the person wants to go. It is the caller's: nothing here looks at it.
	ReturnTo string
}

// Format prints no secret.
func (f Flow) Format(s fmt.State, _ rune) { io.WriteString(s, "oidc.Flow(REDACTED)") }

// random returns 256 random bits as text.
func random() string {
	var bits [randomBytes]byte
	rand.Read(bits[:]) // never fails (crypto/rand)
	return base64.RawURLEncoding.EncodeToString(bits[:])
}

// CheckRedirectURI reports whether the provider's answer can come to this address: https, or http,
// which implicit takes on this machine only, because a form posted from another site carries no cookie
// that is not Secure. The error is of iam.KindInvalid.
func (c *Connector) CheckRedirectURI(redirectURI string) error {
	u, err := url.Parse(redirectURI)
	switch {
	case err != nil || len(redirectURI) > maxURLBytes || !visible(redirectURI) || u.Host == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "":
		return iam.Invalidf("the redirect URI %s is none: it must be the full URL of the gateway's /oidc/callback", untrusted.Quote(redirectURI))
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return iam.Invalidf("the redirect URI %s must begin with https:// or http://", untrusted.Quote(redirectURI))
	case c.method == Implicit && !loopback(u):
		return iam.Invalidf("the authentication method implicit needs https, but the gateway was reached as http://%s: serve it with https, or use the method pkce", u.Host)
	}
	return nil
}

// Begin returns where the browser must go to sign in, and the flow that its answer will be judged by.
// Errors are of iam.KindInvalid for a redirect URI that cannot be, and of iam.KindUnavailable when the
// provider is away.
func (c *Connector) Begin(ctx context.Context, redirectURI, returnTo string) (location string, f *Flow, err error) {
	if err := c.CheckRedirectURI(redirectURI); err != nil {
		return "", nil, err
	}
	p, err := c.provider(ctx)
	if err != nil {
		return "", nil, err
	}
	f = &Flow{State: random(), Nonce: random(), Issuer: c.issuer, RedirectURI: redirectURI, Created: c.now(), ReturnTo: returnTo}
	options := []oauth2.AuthCodeOption{oauth2.SetAuthURLParam("nonce", f.Nonce)}
	switch c.method {
	case Implicit:
		options = append(options, oauth2.SetAuthURLParam("response_type", "id_token"), oauth2.SetAuthURLParam("response_mode", "form_post"))
	case PKCE:
		// Whatever the provider says it supports: one that knows no challenge ignores it, and `plain` is
		// never used (threats O03).
		f.Verifier = random()
		options = append(options, oauth2.S256ChallengeOption(f.Verifier))
	default:
		return "", nil, iam.Invalidf("the authentication method is not known: use implicit or pkce")
	}
	return c.oauth(p, redirectURI).AuthCodeURL(f.State, options...), f, nil
}

// oauth returns the provider as x/oauth2 wants it.
func (c *Connector) oauth(p *provider, redirectURI string) *oauth2.Config {
	return &oauth2.Config{
		ClientID:     c.clientID,
		ClientSecret: c.secret.Reveal(),
		Endpoint:     oauth2.Endpoint{AuthURL: p.Authorization, TokenURL: p.Token, AuthStyle: c.authStyle(p)},
		RedirectURL:  redirectURI,
		Scopes:       c.scopes,
	}
}

// checkFlow reports whether an answer belongs to a flow that can still end.
func (c *Connector) checkFlow(f *Flow, a Answer) error {
	switch {
	case f == nil || f.State == "" || f.Nonce == "" || f.Created.IsZero():
		return again(ReasonFlowUnknown, "no sign-in was begun in this browser, or it was finished already")
	case f.Issuer != c.issuer || (f.Verifier != "") != (c.method == PKCE):
		return again(ReasonFlowUnknown, "this sign-in was begun before the gateway's OpenID provider was set up anew")
	case subtle.ConstantTimeCompare([]byte(f.State), []byte(a.State)) != 1:
		return again(ReasonState, "this answer belongs to another sign-in")
	}
	if age := c.now().Sub(f.Created); age > flowLife || age < -leeway {
		return again(ReasonFlowExpired, fmt.Sprintf("this sign-in took longer than %d minutes", int(flowLife/time.Minute)))
	}
	return nil
}
