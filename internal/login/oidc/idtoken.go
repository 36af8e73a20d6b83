package oidc

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// maxSubjectBytes is the limit of OpenID Connect Core section 2, for sub and, here, for sid and jti.
const maxSubjectBytes = 255

// identify judges an ID token (OpenID Connect Core section 3.1.3.7 and 3.2.2.11) and returns whom it
// is about. The signature comes first: before, the claims are nobody's.
func (c *Connector) identify(ctx context.Context, p *provider, f *Flow, raw, accessToken string) (*identity.Identity, error) {
	t, err := c.verify(ctx, p, raw)
	if err != nil {
		return nil, unproven(err)
	}
	if err := forSignIn(t); err != nil {
		return nil, unproven(err)
	}
	if err := c.addressed(t.Claims); err != nil {
		return nil, unproven(err)
	}
	if _, err := c.inTime(t.Claims, f.Created.Add(-flowLife-leeway), true); err != nil {
		return nil, unproven(err)
	}
	nonce, err := required(t.Claims, "nonce")
	if err != nil {
		return nil, unproven(err)
	}
	if subtle.ConstantTimeCompare([]byte(nonce), []byte(f.Nonce)) != 1 {
		return nil, refused(ReasonNonce, "the nonce of the ID token is not that of this sign-in")
	}
	if err := besideAccessToken(t, accessToken); err != nil {
		return nil, unproven(err)
	}
	who, err := person(t.Claims, c.groups)
	if err != nil {
		return nil, err
	}
	who.Issuer, who.IDToken = c.issuer, iam.NewSecret(raw)
	return who, nil
}

// verify reads a token and checks its signature with the provider's keys.
func (c *Connector) verify(ctx context.Context, p *provider, raw string) (*jws.Token, error) {
	t, err := jws.Parse(raw)
	if err != nil {
		return nil, err
	}
	if p.algorithms != nil && !slices.Contains(p.algorithms, t.Algorithm) {
		return nil, refused(jws.ReasonAlgorithm, "the token is signed with %s, which is not among what the provider says it signs with", t.Algorithm)
	}
	set, err := c.find(ctx, p, t.KeyID)
	if err != nil {
		return nil, err
	}
	if _, err := t.Verify(set, p.algorithms); err != nil {
		return nil, err
	}
	return t, nil
}

// forSignIn refuses tokens that are for something else (threats J23): logout tokens, access tokens. An
// ID token has the type JWT or none.
func forSignIn(t *jws.Token) error {
	if t.Type != "" && t.Type != "jwt" {
		return refused(ReasonTokenKind, "the token has the type %s: an ID token has JWT or none", untrusted.Quote(t.Type))
	}
	if t.Claims.Has("events") {
		return refused(ReasonTokenKind, "the token reports an event (it has the claim events), it is no ID token")
	}
	for claim, others := range otherKinds {
		kind, ok, err := t.Claims.Text(claim)
		if ok && err == nil && slices.ContainsFunc(others, func(other string) bool { return strings.EqualFold(kind, other) }) {
			return refused(ReasonTokenKind, "the claim %s of the token is %s, it is no ID token", claim, untrusted.Quote(kind))
		}
	}
	return nil
}

// otherKinds are the claims by which Cognito and Keycloak tell their other tokens from ID tokens.
var otherKinds = map[string][]string{
	"token_use": {"access"},
	"typ":       {"Bearer", "DPoP", "Refresh", "Offline", "Logout"},
}

// addressed reports whether a token is from the provider and for us.
func (c *Connector) addressed(claims jws.Claims) error {
	issuer, err := required(claims, "iss")
	if err != nil {
		return err
	}
	if issuer != c.issuer {
		return refused(ReasonIssuer, "the token is from the issuer %s, not from %s", untrusted.Quote(issuer), c.issuer)
	}
	audience, ok, err := claims.Texts("aud")
	switch {
	case err != nil:
		return err
	case !ok:
		return refused(ReasonAudience, "the token has no aud")
	case !slices.Contains(audience, c.clientID):
		return refused(ReasonAudience, "the token is for others: its aud has %d entries, none of which is the client id %s", len(audience), untrusted.Quote(c.clientID))
	}
	party, ok, err := claims.Text("azp")
	if err != nil {
		return err
	}
	if ok && party != c.clientID {
		return refused(ReasonAudience, "the token was issued to %s (azp), not to the client id %s", untrusted.Quote(party), untrusted.Quote(c.clientID))
	}
	return nil
}

// inTime reports whether a token's time has come and is not over (threats J13), and returns when it
// ends; zero where it does not say, which needsEnd refuses. It must not be from before earliest.
func (c *Connector) inTime(claims jws.Claims, earliest time.Time, needsEnd bool) (expires time.Time, err error) {
	now := c.now()
	issued, ok, err := claims.NumericDate("iat")
	switch {
	case err != nil:
		return expires, err
	case !ok:
		return expires, refused(ReasonClaim, "the token has no iat")
	case issued.After(now.Add(leeway)):
		return expires, refused(ReasonNotYetValid, "the token was issued at %s, which is in the future: compare the clocks", stamp(issued))
	case issued.Before(earliest):
		return expires, refused(ReasonTooOld, "the token was issued at %s, but must not be older than from %s", stamp(issued), stamp(earliest))
	}
	begins, ok, err := claims.NumericDate("nbf")
	if err != nil {
		return expires, err
	}
	if ok && begins.After(now.Add(leeway)) {
		return expires, refused(ReasonNotYetValid, "the token counts from %s on only: compare the clocks", stamp(begins))
	}
	expires, ok, err = claims.NumericDate("exp")
	switch {
	case err != nil:
		return expires, err
	case !ok && needsEnd:
		return expires, refused(ReasonClaim, "the token has no exp")
	case !ok:
		return time.Time{}, nil
	case !now.Before(expires.Add(leeway)):
		return expires, refused(ReasonExpired, "the token expired at %s", stamp(expires))
	case expires.Before(issued):
		return expires, refused(ReasonExpired, "the token expires at %s, before it was issued", stamp(expires))
	}
	return expires, nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// besideAccessToken reports whether the access token that came with an ID token is the one that the
// provider sent (OpenID Connect Core section 3.1.3.8). It is never used; another one beside the ID
// token means that somebody mixed two answers.
func besideAccessToken(t *jws.Token, accessToken string) error {
	hash, ok, err := t.Claims.Text("at_hash")
	if err != nil {
		return err
	}
	if !ok || accessToken == "" {
		return nil // optional where the token did not come through the browser
	}
	if subtle.ConstantTimeCompare([]byte(hash), []byte(tokenHash(t.Algorithm, accessToken))) != 1 {
		return refused(ReasonTokenHash, "the at_hash of the ID token is not that of the access token beside it")
	}
	return nil
}

// tokenHash returns the left half of a token's hash by the algorithm of the signature; "" for an unknown one.
// Ed25519 hashes with SHA-512.
func tokenHash(a jws.Algorithm, token string) string {
	var sum []byte
	switch a {
	case jws.RS256, jws.PS256, jws.ES256:
		h := sha256.Sum256([]byte(token))
		sum = h[:]
	case jws.RS384, jws.PS384, jws.ES384:
		h := sha512.Sum384([]byte(token))
		sum = h[:]
	case jws.RS512, jws.PS512, jws.ES512, jws.EdDSA:
		h := sha512.Sum512([]byte(token))
		sum = h[:]
	default:
		return ""
	}
	return base64.RawURLEncoding.EncodeToString(sum[:len(sum)/2])
}

// required returns a string claim that must be there.
func required(claims jws.Claims, name string) (string, error) {
	value, ok, err := claims.Text(name)
	if err == nil && (!ok || value == "") {
		err = refused(ReasonClaim, "the token has no %s", name)
	}
	return value, err
}

// identifier returns a claim that names something for ever: bounded, without control characters; "" if
// it is absent.
func identifier(claims jws.Claims, name string) (string, error) {
	value, ok, err := claims.Text(name)
	switch {
	case err != nil || !ok:
		return "", err
	case value == "" || len(value) > maxSubjectBytes || strings.ContainsFunc(value, unicode.IsControl):
		return "", refused(ReasonSubject, "the claim %s is empty, longer than %d bytes, or has control characters", name, maxSubjectBytes)
	}
	return value, nil
}
