package login

import (
	"context"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
)

// Provider is an OpenID provider: oidc.Connector, which says what the methods do. Errors are
// iam.Errors; KindUnavailable says that the provider is away, and judges nothing.
type Provider interface {
	Issuer() string
	Method() oidc.Method
	// Status returns what is known without asking the provider.
	Status() oidc.Status
	// Discover returns why the provider cannot be used, and asks it only if nothing fresh is known.
	Discover(ctx context.Context) error
	Begin(ctx context.Context, redirectURI, returnTo string) (location string, f *oidc.Flow, err error)
	Finish(ctx context.Context, f *oidc.Flow, a oidc.Answer) (*identity.Identity, error)
	LogoutURL(ctx context.Context, idToken iam.Secret, postLogout string) (string, bool)
	// LogoutToken verifies a back-channel logout token, but not whether it is a replay.
	LogoutToken(ctx context.Context, token string) (oidc.Logout, error)
}

var _ Provider = (*oidc.Connector)(nil)
