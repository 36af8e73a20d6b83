package tokenexchange

import (
	"context"
	"errors"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// rounds bounds how often a token is judged anew because something it rests on changed meanwhile.
const rounds = 16

var errRestless = iam.Unavailable("the directory changes faster than it can be read: try again shortly", nil)

// refusedMessage is the one wording of every definite refusal of an assertion (threat J30): who made it
// up learns nothing from it, and who may know the reason can look it up.
const refusedMessage = "The identity token was not accepted: its issuer, audience, subject, time or signature does not fit what is registered here. The gateway's log has the reason under the request's id, and an administrator sees it with `wandb-gateway iam explain --token FILE`."

// refused is how a refusal of an assertion reads outside; the reason stays inside.
func refused(err error) error {
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: directory.ReasonUnknownCredential, Message: refusedMessage, Err: err}
}

// ErrForeign is in the error that refuses a token because it is neither an access token of the gateway's
// nor an assertion of a trusted issuer. A form that is not read here is foreign too, for others sign
// their own tokens as they like (HS256 above all).
var ErrForeign = errors.New("some other server may know it")

// foreign is the refusal of a token that is nobody's here.
func foreign(reason iam.Reason, message string) error {
	return rejection{&iam.Error{Kind: iam.KindUnauthenticated, Reason: reason, Message: message, Err: ErrForeign}}
}

// Identify tells who holds a token: an access token of the gateway's, or an assertion, which counts
// like what it would be exchanged for. A token that does not count is iam.KindUnauthenticated;
// iam.KindUnavailable means that nobody can tell at the moment.
func (s *Service) Identify(ctx context.Context, token iam.Secret) (*iam.Principal, error) {
	for range rounds {
		v := s.Cache.View()
		principal, _, err := s.identify(ctx, v, token)
		if v.Valid() || iam.KindOf(err) == iam.KindUnavailable {
			return principal, outward(err)
		}
	}
	return nil, errRestless
}

// identify judges a token by what stands in the store, by the clock and by its principal's state. The
// proof is there whenever the token itself was accepted.
func (s *Service) identify(ctx context.Context, v *hotcache.View, token iam.Secret) (*iam.Principal, *proof, error) {
	p, err := s.prove(ctx, v, token)
	if err != nil {
		return nil, nil, err
	}
	if err := p.within(s.Now()); err != nil {
		return nil, p, p.ended(err)
	}
	principal := p.holder
	switch {
	case principal == nil:
		return nil, p, p.ended(reject(ReasonSubject, "whom it stands for was deleted"))
	case !principal.Active:
		return nil, p, directory.Deactivated(principal)
	case !p.access && principal.OrganizationScoped():
		return nil, p, reject(ReasonSubject, "the service account "+principal.Username+" belongs to no team, and assertions stand for accounts of a team only")
	case p.access && p.epoch != principal.Epoch:
		return nil, p, p.ended(reject(ReasonRevoked, "all access tokens of "+principal.Username+" from before were ended"))
	}
	return principal, p, nil
}

// ended tells the holder of an access token what became of it: it was ours, so that nobody learns what
// they should not. A refusal of an assertion stays as it is.
func (p *proof) ended(err error) error {
	if e, ok := asError(err); ok && p.access {
		return ended(e)
	}
	return err
}

func ended(why *iam.Error) error {
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: why.Reason,
		Message: "The access token does not count any more: " + why.Message + ". Exchange a new one; the SDK does so when its process starts again."}
}

// outward gives every definite refusal of an assertion its one wording.
func outward(err error) error {
	if rejected, ok := errors.AsType[rejection](err); ok {
		if rejected.reason.Reason == ReasonRevoked {
			return ended(rejected.reason)
		}
		return refused(rejected.reason)
	}
	e, ok := asError(err)
	if ok && e.Kind == iam.KindUnauthenticated && (e.Reason == jws.ReasonUnknownKey || e.Reason == jws.ReasonSignature) {
		return refused(e)
	}
	return unreachable(err)
}

func asError(err error) (*iam.Error, bool) { return errors.AsType[*iam.Error](err) }
