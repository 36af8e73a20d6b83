package login

import (
	"context"
	"net/http"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
)

// Provider is an OpenID provider: oidc.Connector. Errors are iam.Errors; KindUnavailable says that the
// provider is away, and judges nothing.
type Provider interface {
	// Issuer returns what the provider calls itself.
	Issuer() string
	// FormPost reports whether the provider answers by a form that its own page posts here.
	FormPost() bool
	// Away returns why the provider could not be asked the last time; nil if it could.
	Away() error
	// Begin returns where to send the browser, and what to keep for when it comes back.
	Begin(ctx context.Context, redirectURI, returnTo string) (location string, f *Flow, err error)
	// Parse reads what the browser brings back. It checks the form of it and nothing else.
	Parse(r *http.Request) (Answer, error)
	// Finish judges an answer against its flow.
	Finish(ctx context.Context, f *Flow, a Answer) (*identity.Identity, error)
	// LogoutURL returns where the provider ends its own session, if it has such a place.
	LogoutURL(ctx context.Context, idToken iam.Secret, postLogout, state string) (string, bool)
	// LogoutToken verifies a back-channel logout token, but not whether it is a replay.
	LogoutToken(ctx context.Context, token string) (Logout, error)
}

// Flow is what a sign-in at a provider has to remember until the browser comes back.
type Flow struct {
	State, Nonce, Verifier string
	Issuer                 string
	RedirectURI            string
	Created                time.Time
	ReturnTo               string
}

// Answer is what the browser brings back from the provider.
type Answer struct {
	Code, IDToken, State, Issuer, Error, ErrorDescription string
}

// Logout is what a back-channel logout token says.
type Logout struct {
	Issuer, Subject, SessionID string
	ID                         string
	Issued                     time.Time
}
