package admin

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// IssuerRow is what a list shows of a trusted issuer.
type IssuerRow struct {
	URL        string          `json:"url"`
	Source     string          `json:"source"` // configuration or record
	Preset     string          `json:"preset"`
	Audiences  []string        `json:"audiences"`
	Algorithms []jws.Algorithm `json:"algorithms"`
	Subject    string          `json:"subject"`
	Keys       string          `json:"keys"` // where its key set comes from
}

func (s *Service) createIssuer(ctx context.Context, r request) (any, error) {
	t := tokenexchange.TrustedIssuer{URL: r.Target}
	if err := r.describeIssuer(&t); err != nil {
		return nil, err
	}
	if err := s.tokens.CreateIssuer(ctx, t); err != nil {
		return nil, err
	}
	return done("issuer %s is trusted; `iam doctor issuer %s` checks that its keys can be had", t.URL, t.URL)
}

func (s *Service) setIssuer(ctx context.Context, r request) (any, error) {
	if err := r.describeIssuer(new(tokenexchange.TrustedIssuer)); err != nil {
		return nil, err
	}
	err := s.tokens.SetIssuer(ctx, r.Target, func(t *tokenexchange.TrustedIssuer) {
		_ = r.describeIssuer(t) // which was tried before
	})
	if err != nil {
		return nil, err
	}
	return done("issuer %s changed", r.Target)
}

// describeIssuer puts the options that were given into an issuer. An empty one takes a setting away.
func (r *request) describeIssuer(t *tokenexchange.TrustedIssuer) error {
	if r.Audience != nil {
		t.Audiences = given(r.Audience)
	}
	if r.Algorithm != nil {
		t.Algorithms = nil
		for _, name := range given(r.Algorithm) {
			algorithm, err := jws.ParseAlgorithm(name)
			if err != nil {
				return err
			}
			t.Algorithms = append(t.Algorithms, algorithm)
		}
	}
	for _, option := range []struct {
		from *string
		into *string
	}{{r.Subject, &t.Subject}, {r.Preset, &t.Preset}, {r.KeysURL, &t.KeysURL}, {r.Roots, &t.Roots}} {
		if option.from != nil {
			*option.into = *option.from
		}
	}
	if r.Keys != nil {
		t.Keys = json.RawMessage(*r.Keys)
		if len(t.Keys) > 0 && !json.Valid(t.Keys) {
			return iam.Invalidf("the file with the issuer's keys is no JSON: save what its jwks_uri answers")
		}
	}
	return nil
}

// given leaves out the empty value that takes a list away.
func given(list []string) []string {
	return slices.DeleteFunc(slices.Clone(list), func(s string) bool { return s == "" })
}

func (s *Service) listIssuers(ctx context.Context, r request) (any, error) {
	issuers, err := s.tokens.Issuers(ctx)
	if err != nil {
		return nil, err
	}
	rows := []IssuerRow{}
	for _, i := range issuers {
		if r.Target == "" || i.URL == r.Target {
			rows = append(rows, issuerRow(i))
		}
	}
	if r.Target != "" && len(rows) == 0 {
		return nil, iam.NotFoundf("there is no trusted issuer %q; `iam issuer list` shows them, byte for byte", r.Target)
	}
	return rows, nil
}

func issuerRow(i tokenexchange.Issuer) IssuerRow {
	row := IssuerRow{URL: i.URL, Source: "record", Preset: i.Preset, Audiences: i.Audiences, Algorithms: i.Algorithms, Subject: i.Subject, Keys: "discovery"}
	if i.Configured {
		row.Source = "configuration"
	}
	if row.Subject == "" {
		row.Subject = "claim sub"
	}
	switch {
	case len(i.TrustedIssuer.Keys) > 0:
		row.Keys = "pinned"
	case i.KeysURL != "":
		row.Keys = i.KeysURL
	}
	return row
}

func (s *Service) deleteIssuer(ctx context.Context, r request) (any, error) {
	if err := s.tokens.DeleteIssuer(ctx, r.Target); err != nil {
		return nil, err
	}
	return done("issuer %s is not trusted any more; access tokens that were had for its assertions ended with it", r.Target)
}

// deleteTokens ends access tokens: one by its id, those of a principal, or all before a moment.
func (s *Service) deleteTokens(ctx context.Context, r request) (any, error) {
	chosen := 0
	for _, given := range []bool{r.Target != "", r.Owner != nil, r.Before != nil} {
		if given {
			chosen++
		}
	}
	if chosen != 1 {
		return nil, iam.Invalidf("say which tokens are to end: the ID of one (its claim jti), --owner NAME for all of one principal, or --before TIME for all from before a moment, such as --before now")
	}
	switch {
	case r.Owner != nil:
		ref, err := s.requiredOwner(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := s.directory.EndCredentials(ctx, ref); err != nil {
			return nil, err
		}
		return done("all access tokens and sessions of %s ended", *r.Owner)
	case r.Before != nil:
		moment, err := parseMoment(*r.Before)
		if err != nil {
			return nil, err
		}
		if err := s.tokens.RevokeBefore(ctx, moment); err != nil {
			return nil, err
		}
		return done("all access tokens from before %s ended", moment.UTC().Format(time.RFC3339))
	default:
		if err := s.tokens.RevokeToken(ctx, r.Target); err != nil {
			return nil, err
		}
		return done("access token %s ended", r.Target)
	}
}

// parseMoment reads `now` or a time of RFC 3339.
func parseMoment(s string) (time.Time, error) {
	if s == "now" {
		return time.Now(), nil
	}
	moment, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return moment, iam.Invalidf("--before %q is neither `now` nor a time such as 2026-01-31T12:00:00Z", s)
	}
	return moment, nil
}

func (s *Service) rotateSigningKey(ctx context.Context, _ request) (any, error) {
	made, err := s.tokens.Signing.Rotate(ctx)
	if err != nil {
		return nil, err
	}
	return done("signing key %s is published and signs from %s on", made.ID, made.SignsFrom.UTC().Format(time.RFC3339))
}

func (s *Service) listSigningKeys(ctx context.Context, _ request) (any, error) {
	return s.tokens.Signing.List(ctx)
}

func (s *Service) deleteSigningKey(ctx context.Context, r request) (any, error) {
	if err := s.tokens.Signing.Delete(ctx, r.Target); err != nil {
		return nil, err
	}
	return done("signing key %s deleted; access tokens that it signed ended with it", r.Target)
}

// TokenExplanation says why a token counts or not, check by check.
type TokenExplanation struct {
	Done
	Accepted bool                  `json:"accepted"`
	Reason   iam.Reason            `json:"reason,omitempty"`
	Checks   []tokenexchange.Check `json:"checks"`
}

// explainToken says check by check why a token counts or not. The token is in no answer.
func (s *Service) explainToken(ctx context.Context, token string) (any, error) {
	token = strings.TrimSpace(token)
	if token == "" {
		return nil, iam.Invalidf("the file holds no token")
	}
	x := s.tokens.Explain(ctx, iam.NewSecret(token))
	return TokenExplanation{Done{x.Verdict}, x.Accepted, x.Reason, x.Checks}, nil
}

// DoctorIssuer checks an issuer from here: its discovery document, its keys, and who relies on it.
func (s *Service) DoctorIssuer(ctx context.Context, body []byte) (any, error) {
	var r request
	if err := decode(body, &r); err != nil {
		return nil, err
	}
	return s.tokens.Diagnose(ctx, r.Target)
}
