package tokenexchange

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// accessTokenType is the header `typ` of access tokens (RFC 9068 section 2.1).
const accessTokenType = "at+jwt"

// clientID is the client in access tokens (RFC 9068 section 2.2): clients do not register here.
const clientID = "wandb"

// accessClaims are the claims of an access token: those that RFC 9068 requires, the epoch of its
// principal, and whose assertion it was had for.
type accessClaims struct {
	Issuer          string `json:"iss"`
	Subject         string `json:"sub"`
	Audience        string `json:"aud"`
	Client          string `json:"client_id"`
	Issued          int64  `json:"iat"`
	Expires         int64  `json:"exp"`
	ID              string `json:"jti"`
	Epoch           string `json:"epoch"`
	AssertionIssuer string `json:"assertion_issuer"`
}

// AccessToken is a token that was made.
type AccessToken struct {
	Token   iam.Secret
	ID      string
	Expires time.Time
	// Lifetime is what the client is told: whole seconds.
	Lifetime time.Duration
}

// mint makes an access token for a principal. issuer is the gateway's own address.
func (s *Service) mint(ctx context.Context, v *hotcache.View, issuer string, p *iam.Principal, assertionIssuer string) (*AccessToken, error) {
	key, err := s.Signing.Signer(ctx, v)
	if err != nil {
		return nil, err
	}
	cutoff, err := s.cutoff(ctx, v)
	if err != nil {
		return nil, err
	}
	issued := s.Now().Truncate(time.Second)
	if issued.Before(cutoff) {
		issued = cutoff.Add(time.Second - 1).Truncate(time.Second) // else it would be dead from birth
	}
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	made := &AccessToken{ID: tokenID(id[:]), Expires: issued.Add(s.Lifetime), Lifetime: s.Lifetime.Truncate(time.Second)}
	text, err := key.Sign(accessTokenType, accessClaims{
		Issuer: issuer, Subject: p.Ref.String(), Audience: s.Directory.Organization(), Client: clientID,
		Issued: issued.Unix(), Expires: made.Expires.Unix(), ID: made.ID,
		Epoch: strconv.FormatUint(p.Epoch, 10), AssertionIssuer: assertionIssuer,
	})
	if err != nil {
		return nil, fmt.Errorf("signing an access token: %w", err)
	}
	made.Token = iam.NewSecret(text)
	return made, nil
}

// tokenID is the one spelling of an access token's id: a mark under another one would end nothing.
func tokenID(raw []byte) string { return hex.EncodeToString(raw) }

// examineAccessToken checks an access token of ours. A token of the same type that none of our keys
// signed is somebody else's.
func (s *Service) examineAccessToken(ctx context.Context, v *hotcache.View, t *jws.Token, note func(check, detail string)) (*proof, error) {
	keys, err := s.Signing.Verifying(ctx, v)
	if err != nil {
		return nil, err
	}
	if t.KeyID == "" || !keys.Has(t.KeyID) { // ours all name their key
		return nil, foreign(ReasonForeign, "it is an access token that this gateway did not make, or made with a key that has been retired since")
	}
	if _, err := t.Verify(keys, nil); err != nil {
		return nil, definite(err)
	}
	note("signature", "made by this gateway")
	p, assertionIssuer, err := s.readAccessToken(t.Claims)
	if err != nil {
		return nil, err
	}
	note("claims", "for "+p.principal.String()+", token "+p.id)
	trust, err := s.trusted(ctx, v, assertionIssuer)
	switch {
	case err != nil:
		return nil, err
	case trust == nil:
		return nil, reject(ReasonRevoked, fmt.Sprintf("it was had for an assertion of %.200q, which is not trusted any more", assertionIssuer))
	}
	note("issuer", assertionIssuer+" is trusted")
	if err := s.checkRevoked(ctx, v, p); err != nil {
		return nil, err
	}
	note("revocation", "not revoked")
	return p, nil
}

// readAccessToken reads the claims of a token whose signature is ours. A claim that is not as we write
// it is refused all the same.
func (s *Service) readAccessToken(c jws.Claims) (p *proof, assertionIssuer string, err error) {
	p = &proof{access: true}
	var subject, epoch string
	for _, claim := range []struct {
		name string
		into *string
	}{{"sub", &subject}, {"jti", &p.id}, {"epoch", &epoch}, {"assertion_issuer", &assertionIssuer}} {
		if *claim.into, err = requiredText(c, claim.name); err != nil {
			return nil, "", err
		}
	}
	if p.principal, err = iam.ParsePrincipalRef(subject); err != nil {
		return nil, "", reject(ReasonBadClaims, "the claim sub names no principal")
	}
	if p.epoch, err = strconv.ParseUint(epoch, 10, 64); err != nil {
		return nil, "", reject(ReasonBadClaims, "the claim epoch is no number")
	}
	audiences, _, err := c.Texts("aud")
	if err != nil || !slices.Contains(audiences, s.Directory.Organization()) && !slices.Contains(audiences, s.Space) {
		return nil, "", reject(ReasonAudience, "it is for another organization")
	}
	var hasIssued, hasExpires bool
	if p.issued, hasIssued, err = c.NumericDate("iat"); err == nil {
		p.expires, hasExpires, err = c.NumericDate("exp")
	}
	if err != nil || !hasIssued || !hasExpires {
		return nil, "", reject(ReasonBadClaims, "the claims iat and exp are missing or are no times")
	}
	return p, assertionIssuer, nil
}

// revokedToken marks one access token that no longer counts. It is kept until the token has expired,
// also if a node made it whose clock is ahead.
type revokedToken struct {
	Expires time.Time `json:"expires"`
}

// notBeforeRecord says from when on access tokens count at all.
type notBeforeRecord struct {
	NotBefore time.Time `json:"not_before"`
}

func (s *Service) checkRevoked(ctx context.Context, v *hotcache.View, p *proof) error {
	_, err := hotcache.Read(ctx, v, s.names.revoked+p.id, decode[revokedToken])
	switch {
	case err == nil:
		return reject(ReasonRevoked, "an administrator revoked it")
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	cutoff, err := s.cutoff(ctx, v)
	if err != nil {
		return err
	}
	if p.issued.Before(cutoff) {
		return reject(ReasonRevoked, "an administrator revoked all access tokens from before "+cutoff.UTC().Format(time.RFC3339))
	}
	return nil
}

// cutoff is the moment before which access tokens do not count; zero if there is none.
func (s *Service) cutoff(ctx context.Context, v *hotcache.View) (time.Time, error) {
	r, err := hotcache.Read(ctx, v, s.names.cutoff, decode[notBeforeRecord])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return time.Time{}, nil
	case err != nil:
		return time.Time{}, err
	}
	return r.NotBefore, nil
}

func decode[T any](r store.Record) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(r.Value, v); err != nil {
		return nil, iam.Unavailable("a record in the gateway's store cannot be read", fmt.Errorf("decoding record %q: %w", r.Key, err))
	}
	return v, nil
}
