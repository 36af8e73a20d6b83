package oidc

import (
	"slices"
	"strings"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
)

const (
	maxEmailBytes = 254 // RFC 5321 section 4.5.3.1.3, without the angle brackets
	maxNameBytes  = 1024
)

// person returns what the claims say about a person (OIDC-5, OIDC-25).
func person(claims jws.Claims, groupsClaim string) (*identity.Identity, error) {
	subject, err := identifier(claims, "sub")
	if err != nil {
		return nil, unproven(err)
	}
	if subject == "" {
		return nil, refused(ReasonSubject, "the token has no sub")
	}
	session, err := identifier(claims, "sid")
	if err != nil {
		return nil, unproven(err)
	}
	address, err := email(claims)
	if err != nil {
		return nil, err
	}
	who := &identity.Identity{
		Subject:       subject,
		SessionID:     session,
		Email:         address,
		EmailVerified: verified(claims),
		Username:      name(claims, "preferred_username"),
		Name:          name(claims, "name"),
	}
	who.Groups, who.GroupsKnown = groups(claims, groupsClaim)
	return who, nil
}

// email returns the one address: simple, of ASCII, with one @ (threats J12). Anything else could be
// read as another address somewhere.
func email(claims jws.Claims) (string, error) {
	address, ok, err := claims.Text("email")
	at := strings.IndexByte(address, '@')
	switch {
	case err != nil || !ok || address == "":
		return "", &iam.Error{Kind: iam.KindDenied, Reason: ReasonEmail, Err: err,
			Message: "the OpenID provider did not say your e-mail address, by which people are known here: ask an administrator of the provider to give you one, and to put the claim email into the application's ID tokens"}
	case len(address) > maxEmailBytes || !visible(address) || strings.ContainsAny(address, ",;<>\"()[]:\\") ||
		at <= 0 || at == len(address)-1 || strings.Count(address, "@") != 1:
		return "", &iam.Error{Kind: iam.KindDenied, Reason: ReasonEmail,
			Message: "what the OpenID provider says your e-mail address is, is not one simple address: ask an administrator of the provider to correct it"}
	}
	return address, nil
}

// verified returns what the provider says of the address. Cognito writes "true" as text; whatever is
// not known to mean yes means no.
func verified(claims jws.Claims) identity.Verified {
	value, ok := claims.Lookup("email_verified")
	if !ok {
		return identity.VerifiedAbsent
	}
	switch value {
	case `true`, `"true"`, `1`:
		return identity.VerifiedTrue
	}
	return identity.VerifiedFalse
}

// name returns a claim for people to read; "" where it is none. Nothing is decided by it alone.
func name(claims jws.Claims, claim string) string {
	value, _, err := claims.Text(claim)
	if err != nil || len(value) > maxNameBytes || strings.ContainsFunc(value, unicode.IsControl) {
		return ""
	}
	return value
}

// groups returns the claim of groups if it is the whole truth about a person's teams: a list of strings,
// which may be empty (ENV-3). Entra writes `_claim_names` instead when there are too many; asking
// there would be another protocol, so nothing is known then (threats O18).
func groups(claims jws.Claims, claim string) ([]string, bool) {
	if !claims.Has(claim) || elsewhere(claims, claim) {
		return nil, false
	}
	value, ok := claims.Lookup(claim)
	if !ok || jsontext.Value(value).Kind() != '[' {
		return nil, false
	}
	all, _, err := claims.Texts(claim)
	if err != nil {
		return nil, false
	}
	slices.Sort(all)
	all = slices.Compact(all)
	for _, one := range all {
		if one == "" || strings.ContainsFunc(one, unicode.IsControl) {
			return nil, false
		}
	}
	return all, true
}

// elsewhere reports whether the token says that the groups are to be had somewhere else (OpenID
// Connect Core section 5.6.2).
func elsewhere(claims jws.Claims, claim string) bool {
	_, ok := claims.Lookup("_claim_names/" + claim)
	return ok
}
