package tokenexchange

import (
	"context"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// Request is one exchange (RFC 7523 section 2.1).
type Request struct {
	Assertion iam.Secret
	// ClientID is the request's client_id; empty if it names none, as the SDK does.
	ClientID string
	// Gateway is the gateway's own address as the client knows it: the `iss` of the access token.
	Gateway string
}

// Exchange makes an access token for whom an assertion is about. Errors are those of Identify; what the
// assertion says of itself is in the event in either case.
func (s *Service) Exchange(ctx context.Context, r Request) (*AccessToken, Event, error) {
	e := describe(r.Assertion)
	for range rounds {
		v := s.Cache.View()
		principal, p, err := s.identify(ctx, v, r.Assertion)
		if err == nil {
			err = p.exchangeable(r.ClientID)
		}
		var made *AccessToken
		if err == nil {
			made, err = s.mint(ctx, v, r.Gateway, principal, p.issuer)
		}
		if !v.Valid() && iam.KindOf(err) != iam.KindUnavailable {
			continue
		}
		if err != nil {
			e.Err, e.Reason = err, iam.ReasonOf(err)
			return nil, e, outward(err)
		}
		e.Principal, e.Username, e.TokenID = principal.Ref, principal.Username, made.ID
		return made, e, nil
	}
	e.Err = errRestless
	return nil, e, errRestless
}

// exchangeable refuses an access token of ours as assertion (threat J23), and a request in the name of
// another client than the assertion's.
func (p *proof) exchangeable(client string) error {
	if p.access {
		return reject(ReasonWrongType, "it is an access token of this gateway, which is not exchanged again")
	}
	if client != "" && client != p.client && client != p.subject {
		return reject(ReasonClient, "the request names a client_id that is neither the assertion's azp nor its subject")
	}
	return nil
}

// describe reads what a token says of itself, for the event alone: nothing of it is proved.
func describe(token iam.Secret) Event {
	t, err := jws.Parse(token.Reveal())
	if err != nil {
		return Event{}
	}
	claim := func(name string) string {
		text, _, _ := t.Claims.Text(name)
		return noted(text)
	}
	return Event{Issuer: claim("iss"), Subject: claim("sub"), AssertionID: claim("jti")}
}
