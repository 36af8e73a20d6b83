package tokenexchange

import (
	"context"
	"fmt"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// maxClaimBytes bounds the claims that name somebody.
const maxClaimBytes = 1024

// examineAssertion makes the five checks of FED-19 to FED-24 and those of design section 8.
func (s *Service) examineAssertion(ctx context.Context, v *hotcache.View, t *jws.Token, note func(check, detail string)) (*proof, error) {
	if err := checkType(t); err != nil {
		return nil, err
	}
	note("type", "meant as an assertion")
	issuer, err := requiredText(t.Claims, "iss")
	if err != nil {
		return nil, err
	}
	trust, err := s.trusted(ctx, v, issuer)
	switch {
	case err != nil:
		return nil, err
	case trust == nil:
		return nil, foreign(ReasonForeign, fmt.Sprintf("the issuer %.200q is not trusted here; an administrator can register it with `iam issuer create`", issuer))
	}
	note("issuer", issuer+" is trusted")
	p, err := readProof(t.Claims, trust)
	if err != nil {
		return nil, err
	}
	note("claims", "subject "+noted(p.subject))
	if err := s.checkAudience(t.Claims, trust); err != nil {
		return nil, err
	}
	note("audience", "accepted")
	if err := s.verify(ctx, t, trust); err != nil {
		return nil, err
	}
	note("signature", "made by a key of the issuer")
	if p.principal, err = s.findSubject(ctx, v, trust, p.subject, t.Claims); err != nil {
		return nil, err
	}
	note("subject", "stands for "+p.principal.String())
	return p, nil
}

// checkType refuses JWTs that were made for another purpose (RFC 8725 section 3.11, threat J23):
// access tokens, logout tokens and security events. ID tokens and workload tokens have no type of
// their own.
func checkType(t *jws.Token) error {
	if t.Type != "" && t.Type != "jwt" {
		return reject(ReasonWrongType, fmt.Sprintf("its header says typ %.40q, and an assertion is a plain JWT", t.Type))
	}
	if t.Claims.Has("events") {
		return reject(ReasonWrongType, "it has the claim events, so it is a logout token or a security event")
	}
	return nil
}

// readProof reads the claims that say who, when and for how long.
func readProof(c jws.Claims, trust *TrustedIssuer) (*proof, error) {
	p := &proof{issuer: trust.URL}
	var err error
	if p.subject, err = requiredText(c, trust.subjectClaim()); err != nil {
		return nil, err
	}
	if p.id, _, err = optionalText(c, "jti"); err != nil {
		return nil, err
	}
	if p.client, _, err = optionalText(c, "azp"); err != nil {
		return nil, err
	}
	expires, ok, err := c.NumericDate("exp")
	if err != nil || !ok {
		return nil, reject(ReasonBadClaims, "the claim exp is missing or is no time")
	}
	p.expires = expires
	if p.notBefore, _, err = c.NumericDate("nbf"); err != nil {
		return nil, reject(ReasonBadClaims, "the claim nbf is no time")
	}
	issued, ok, err := c.NumericDate("iat")
	if err != nil {
		return nil, reject(ReasonBadClaims, "the claim iat is no time")
	}
	if !ok {
		return p, nil
	}
	p.issued = issued
	switch {
	case expires.Before(issued):
		return nil, reject(ReasonBadClaims, "it expires before it was issued")
	case expires.Sub(issued) > maxAssertionLife:
		return nil, reject(ReasonLifetime, "it is valid for more than 24 hours: have the issuer sign it for a shorter time")
	}
	return p, nil
}

func requiredText(c jws.Claims, name string) (string, error) {
	text, ok, err := optionalText(c, name)
	if err == nil && (!ok || text == "") {
		err = reject(ReasonBadClaims, fmt.Sprintf("the claim %.80s is missing or empty", name))
	}
	return text, err
}

func optionalText(c jws.Claims, name string) (string, bool, error) {
	text, ok, err := c.Text(name)
	switch {
	case err != nil:
		return "", false, reject(ReasonBadClaims, fmt.Sprintf("the claim %.80s is no text", name))
	case len(text) > maxClaimBytes:
		return "", false, reject(ReasonBadClaims, fmt.Sprintf("the claim %.80s has more than %d bytes", name, maxClaimBytes))
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", false, reject(ReasonBadClaims, fmt.Sprintf("the claim %.80s has control characters", name))
	}
	return text, ok, nil
}

// checkAudience holds the assertion to its audience (FED-22, FED-23): one match suffices.
func (s *Service) checkAudience(c jws.Claims, trust *TrustedIssuer) error {
	if s.SkipAudience {
		return nil
	}
	audiences, ok, err := c.Texts("aud")
	if err != nil || !ok {
		return reject(ReasonAudience, "the claim aud is missing or is neither a text nor a list of texts")
	}
	if trust.accepts(audiences, s.Directory.Organization()) {
		return nil
	}
	wanted := strings.Join(trust.Audiences, ", ")
	if wanted == "" {
		wanted = s.Directory.Organization() + ", " + commonAudience
	}
	// Bounded as a whole: a stranger may list thousands, and refusals are remembered.
	return reject(ReasonAudience, fmt.Sprintf("it is for the audience %.200q, and counts here for one of: %s", strings.Join(audiences, " "), noted(wanted)))
}

// verify checks the signature with the issuer's keys (FED-19). An issuer that cannot be asked is
// iam.KindUnavailable.
func (s *Service) verify(ctx context.Context, t *jws.Token, trust *TrustedIssuer) error {
	set, err := s.KeySets.of(trust)
	if err != nil {
		return err
	}
	keys, err := set.Keys(ctx, t.KeyID)
	if err != nil {
		return err // an unknown key id is not remembered here: the issuer may publish it any moment
	}
	_, err = t.Verify(keys, trust.allowed())
	if err == nil || t.KeyID != "" || iam.ReasonOf(err) == jws.ReasonAlgorithm {
		return definite(err)
	}
	newer, unknown := set.Newer(ctx, keys) // the token names no key, which may be a new one
	switch {
	case unknown != nil:
		return unknown
	case newer == keys: // they were fetched a moment ago: refused, but not for good
		return err
	}
	_, err = t.Verify(newer, trust.allowed())
	return definite(err)
}
