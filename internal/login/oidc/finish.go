package oidc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"golang.org/x/oauth2"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// retryAway says when to come again after the provider said that it has trouble.
const retryAway = 10 * time.Second

// Finish judges an answer by the flow it belongs to and returns whom it proves. Errors are of
// iam.KindUnauthenticated when it proves nobody, iam.KindDenied when the provider refuses, and
// iam.KindUnavailable when the provider is away. In no case may the flow be used again.
func (c *Connector) Finish(ctx context.Context, f *Flow, a Answer) (*identity.Identity, error) {
	if err := c.checkFlow(f, a); err != nil {
		return nil, err
	}
	if a.Issuer != "" && a.Issuer != c.issuer { // before anything is asked of anybody (threats O04)
		return nil, refused(ReasonIssuer, "the answer is from the issuer %s, not from %s", untrusted.Quote(a.Issuer), c.issuer)
	}
	p, err := c.provider(ctx)
	if err != nil {
		return nil, err
	}
	// An ID token names its issuer itself, and some providers leave the parameter out beside one.
	if a.Issuer == "" && p.IssuerParameter && a.IDToken == "" {
		return nil, refused(ReasonIssuer, "the answer does not name its issuer, though %s says that its answers do (RFC 9207)", c.issuer)
	}
	if a.Error != "" {
		return nil, c.answeredError(a)
	}
	if err := a.complete(c.method, false); err != nil { // an Answer that nobody parsed
		return nil, err
	}
	raw, accessToken := a.IDToken, ""
	if c.method == PKCE {
		if raw, accessToken, err = c.redeem(ctx, p, f, a.Code); err != nil {
			return nil, err
		}
	}
	return c.identify(ctx, p, f, raw, accessToken)
}

// answeredError turns the provider's refusal into ours (RFC 6749 section 4.1.2.1, OpenID Connect Core
// section 3.1.2.6).
func (c *Connector) answeredError(a Answer) error {
	detail := fmt.Errorf("the OpenID provider answered %s: %s", untrusted.Quote(a.Error), untrusted.Quote(clean(a.ErrorDescription)))
	switch a.Error {
	case "access_denied", "login_required", "consent_required", "interaction_required", "account_selection_required":
		return &iam.Error{Kind: iam.KindDenied, Reason: ReasonAccessDenied, Err: detail,
			Message: "the OpenID provider did not let you sign in, or you did not agree: sign in again, or ask an administrator of the provider to assign you to this application"}
	case "server_error", "temporarily_unavailable":
		return c.away(detail, retryAway)
	}
	return &iam.Error{Kind: iam.KindDenied, Reason: ReasonRefused, Err: detail,
		Message: fmt.Sprintf("the OpenID provider refused the gateway's question: ask an administrator to look it up in the gateway's log, and to check that the application at the provider allows the authentication method %s, this redirect URI and the scopes", c.method)}
}

// authStyle returns how the gateway proves who it is (OpenID Connect Discovery 1.0 section 3): by what
// the provider lists, by client_secret_basic if it lists nothing.
func (c *Connector) authStyle(p *provider) oauth2.AuthStyle {
	switch {
	case c.secret.IsZero(): // a public client names itself
		return oauth2.AuthStyleInParams
	case slices.Contains(p.ClientMethods, "client_secret_basic"):
		return oauth2.AuthStyleInHeader
	case slices.Contains(p.ClientMethods, "client_secret_post"):
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// redeem exchanges the code for an ID token. What the token endpoint refuses (4xx) is definite; what it
// cannot answer is not.
func (c *Connector) redeem(ctx context.Context, p *provider, f *Flow, code string) (idToken, accessToken string, err error) {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, forTokens(c.client, c.originFor(p, f)))
	tokens, err := c.oauth(p, f.RedirectURI).Exchange(ctx, code, oauth2.VerifierOption(f.Verifier))
	if err != nil {
		return "", "", c.notRedeemed(err, code, f.Verifier, c.secret.Reveal())
	}
	idToken, ok := tokens.Extra("id_token").(string)
	if !ok || idToken == "" {
		return "", "", refused(ReasonNoIDToken, "the token endpoint answered without an ID token: the application at the provider must be one for OpenID Connect")
	}
	return idToken, tokens.AccessToken, nil
}

// originFor returns the origin that the code is redeemed from, where one is demanded: Microsoft Entra
// takes the codes of single-page applications, which is how a public client is registered there, from
// browsers only and tells them by their Origin (OIDC-17, AADSTS9002327).
func (c *Connector) originFor(p *provider, f *Flow) string {
	at, err := url.Parse(p.Token)
	if err != nil || !c.secret.IsZero() || !microsoft(at.Hostname()) {
		return ""
	}
	redirect, err := url.Parse(f.RedirectURI)
	if err != nil {
		return ""
	}
	return origin(redirect)
}

// notRedeemed sorts the ways in which a code is not redeemed. The library's own error would repeat the
// whole answer.
func (c *Connector) notRedeemed(err error, secrets ...string) error {
	answer, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return c.away(fmt.Errorf("redeeming the code: %w", cleaned(err, secrets...)), retryAway)
	}
	status := answer.Response.StatusCode
	detail := fmt.Errorf("the token endpoint answered %d, error %s: %s", status,
		untrusted.Quote(clean(answer.ErrorCode, secrets...)), untrusted.Quote(clean(answer.ErrorDescription, secrets...)))
	switch {
	case status == http.StatusRequestTimeout, status == http.StatusTooManyRequests, status >= 500,
		status >= 300 && status < 400,
		answer.ErrorCode == "server_error", answer.ErrorCode == "temporarily_unavailable":
		return c.away(detail, retryAway)
	case answer.ErrorCode == "invalid_client", answer.ErrorCode == "unauthorized_client", status == http.StatusUnauthorized:
		return &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonClientRefused, Err: detail,
			Message: "the OpenID provider does not accept the gateway's client id or secret: ask an administrator to check both, and whether the application at the provider is one with or without a secret"}
	}
	return refusedFor(ReasonCodeRefused, detail)
}
