package tokenexchange

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// The reasons for which a token is refused, in the order of the checks. They stand in events and
// explanations; outside, every definite refusal of an assertion reads the same, and like that of an
// unknown API key.
const (
	ReasonForeign     iam.Reason = "foreign_token"       // not one of ours, nor of an issuer that is trusted
	ReasonWrongType   iam.Reason = "wrong_token_type"    // a JWT for another purpose
	ReasonBadClaims   iam.Reason = "malformed_claims"    // a claim that is missing or of the wrong form
	ReasonAudience    iam.Reason = "wrong_audience"      // for somebody else
	ReasonLifetime    iam.Reason = "lifetime_too_long"   // valid for longer than an assertion may be
	ReasonSubject     iam.Reason = "unknown_subject"     // nobody here is meant
	ReasonAmbiguous   iam.Reason = "ambiguous_subject"   // more than one service account is meant
	ReasonUnverified  iam.Reason = "email_not_verified"  // the issuer does not vouch for the address
	ReasonExpired     iam.Reason = "token_expired"       // too late
	ReasonNotYetValid iam.Reason = "token_not_yet_valid" // too early
	ReasonRevoked     iam.Reason = "token_revoked"       // ended by an administrator
	ReasonClient      iam.Reason = "client_id_mismatch"  // the request names another client than the assertion
)

// rejection is a definite refusal. It is remembered like a record that is not there.
type rejection struct{ reason *iam.Error }

// Error implements error.
func (r rejection) Error() string { return r.reason.Error() }

// Unwrap lets a rejection be kept by hotcache, and keeps its kind and reason visible.
func (r rejection) Unwrap() []error { return []error{r.reason, store.ErrNotFound} }

func reject(reason iam.Reason, message string) error {
	return rejection{&iam.Error{Kind: iam.KindUnauthenticated, Reason: reason, Message: message}}
}

// proof is what a token proves, as far as it does not depend on the clock.
type proof struct {
	principal iam.PrincipalRef
	// holder is the principal as it is now; nil if it was deleted. Whether it is active, and of which
	// epoch, is for identify to say.
	holder *iam.Principal
	// access says that it is an access token of ours, with the epoch of its principal.
	access bool
	epoch  uint64
	// issuer, subject, id and client are an assertion's claims; an access token has only its id.
	issuer, subject, id, client string
	// issued is zero if the token does not say.
	issued, notBefore, expires time.Time
}

// within checks the token against the clock. The bounds are exact: RFC 7519 sections 4.1.4 and 4.1.5,
// with the leeway that different clocks need. Access tokens are made and checked by the same clock.
func (p *proof) within(now time.Time) error {
	if p.access {
		if !now.Before(p.expires) {
			return reject(ReasonExpired, "it expired at "+p.expires.UTC().Format(time.RFC3339))
		}
		return nil
	}
	switch {
	case !now.Before(p.expires.Add(leeway)):
		return reject(ReasonExpired, "it expired at "+p.expires.UTC().Format(time.RFC3339)+", and it is "+now.UTC().Format(time.RFC3339)+" here")
	case now.Before(p.notBefore.Add(-leeway)):
		return reject(ReasonNotYetValid, "it is valid from "+p.notBefore.UTC().Format(time.RFC3339)+" on, and it is "+now.UTC().Format(time.RFC3339)+" here: compare the clocks")
	case now.Before(p.issued.Add(-leeway)):
		return reject(ReasonNotYetValid, "it was issued in the future, at "+p.issued.UTC().Format(time.RFC3339)+", and it is "+now.UTC().Format(time.RFC3339)+" here: compare the clocks")
	case p.issued.IsZero() && p.expires.Sub(now) > maxAssertionLife:
		return reject(ReasonLifetime, "it is valid for more than 24 hours: have the issuer sign it for a shorter time")
	}
	return nil
}

// prove returns what a token proves, and for whom. The answer is remembered until something it rests on
// changes: the keys of an issuer or of the gateway, the trusted issuers, the mapping of the subject, a
// revocation, the principal.
func (s *Service) prove(ctx context.Context, v *hotcache.View, token iam.Secret) (*proof, error) {
	text := s.texts.Get().(*[]byte)
	defer s.texts.Put(text)
	for range rounds {
		generation := s.KeySets.generation()
		*text = s.proofKey(*text, token, generation)
		p, err := hotcache.Derived(ctx, v, *text, func(ctx context.Context, v *hotcache.View) (*proof, error) {
			p, err := s.examine(ctx, v, token, func(string, string) {})
			if s.KeySets.generation() != generation && iam.KindOf(err) != iam.KindUnavailable {
				return nil, errOtherKeys
			}
			if err != nil {
				return nil, err
			}
			p.holder, err = s.holder(ctx, v, p.principal)
			return p, err
		})
		if !errors.Is(err, errOtherKeys) {
			return p, err
		}
	}
	return nil, errRestless
}

// errOtherKeys says that the keys of an issuer became others while a token was examined. What it came
// to must not be remembered under the keys of before: an issuer that takes a key back goes back to
// them, and a proof made with that key would count again.
var errOtherKeys = iam.Unavailable("the keys of an issuer changed at this moment: try again", nil)

// proofKey writes over text what names the memory of a token: its hash, so that no token lies in memory.
func (s *Service) proofKey(text []byte, token iam.Secret, generation uint64) []byte {
	text = append(text[:0], token.Reveal()...)
	sum := sha256.Sum256(text)
	clear(text) // no copy of the token stays behind in the pool
	text = append(text[:0], s.epoch...)
	text = binary.BigEndian.AppendUint64(text, generation)
	return append(text, sum[:]...)
}

// holder returns the principal that a token stands for, nil if it was deleted.
func (s *Service) holder(ctx context.Context, v *hotcache.View, ref iam.PrincipalRef) (*iam.Principal, error) {
	p, err := s.Directory.PrincipalIn(ctx, v, ref)
	switch {
	case errors.Is(err, store.ErrNotFound) || iam.KindOf(err) == iam.KindUnauthenticated:
		return nil, nil
	case err != nil:
		return nil, unreachable(err)
	}
	return p, nil
}

// examine makes the checks, one after the other, and notes each that was passed. Cheap ones come first.
func (s *Service) examine(ctx context.Context, v *hotcache.View, token iam.Secret, note func(check, detail string)) (*proof, error) {
	t, err := jws.Parse(token.Reveal())
	if err != nil {
		return nil, unread(err)
	}
	note("form", "a signed JWT, "+string(t.Algorithm))
	if t.Type == accessTokenType {
		return s.examineAccessToken(ctx, v, t, note)
	}
	return s.examineAssertion(ctx, v, t, note)
}

// unread is the refusal of what jws cannot read, or would never believe.
func unread(err error) error {
	if e, ok := asError(err); ok && e.Kind == iam.KindUnauthenticated {
		return foreign(e.Reason, e.Message)
	}
	return err
}

// definite marks a refusal as one that may be remembered. That a key is unknown may not: the issuer can
// publish it any moment, and then the same token counts.
func definite(err error) error {
	if e, ok := asError(err); ok && e.Kind == iam.KindUnauthenticated && e.Reason != jws.ReasonUnknownKey {
		return rejection{e}
	}
	return err
}
