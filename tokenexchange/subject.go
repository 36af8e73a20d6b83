package tokenexchange

import (
	"context"
	"fmt"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// findSubject finds whom an assertion is about: an external service account with exactly this issuer
// and subject, else the one whose claims it has, else a person by e-mail address (FED-21, FED-26,
// design section 8). Issuers of workloads vouch for no people.
func (s *Service) findSubject(ctx context.Context, v *hotcache.View, trust *TrustedIssuer, subject string, c jws.Claims) (iam.PrincipalRef, error) {
	if trust.subjectClaim() == claimEmail && verified(c) != yes { // also where a service account has it
		return iam.PrincipalRef{}, errUnverified
	}
	account, err := s.Directory.SubjectIn(ctx, v, trust.URL, subject)
	if err != nil {
		return iam.PrincipalRef{}, err
	}
	if account == "" {
		account, err = s.findByClaims(ctx, v, trust, c)
	}
	if err != nil || account != "" {
		return account.Ref(), err
	}
	if trust.forWorkloads() {
		return iam.PrincipalRef{}, reject(ReasonSubject, fmt.Sprintf("no external service account of %s has the subject %.200q or these claims", trust.URL, subject))
	}
	return s.findPerson(ctx, v, trust, subject, c)
}

// findByClaims finds the service account all of whose claims the assertion has.
func (s *Service) findByClaims(ctx context.Context, v *hotcache.View, trust *TrustedIssuer, c jws.Claims) (found iam.ServiceAccountID, err error) {
	rules, err := s.Directory.ClaimRulesIn(ctx, v, trust.URL)
	if err != nil {
		return "", err
	}
	for _, rule := range rules {
		if !matches(c, rule.Claims) {
			continue
		}
		if found != "" {
			return "", reject(ReasonAmbiguous, "more than one service account has claims that this assertion has: give them claims that tell their jobs apart")
		}
		found = rule.Account
	}
	return found, nil
}

// matches reports whether an assertion has every claim of a rule. An address counts only if the issuer
// vouches for it.
func matches(c jws.Claims, rule map[string]string) bool {
	for name, want := range rule {
		if !c.Matches(name, want) {
			return false
		}
		if name == claimEmail && verified(c) != yes {
			return false
		}
	}
	return len(rule) > 0
}

// findPerson finds the person whose e-mail address the subject is. With `subject email`, a subject that
// is no address leads on to the claim `email`, which then must be verified: many issuers number people
// in `sub`.
func (s *Service) findPerson(ctx context.Context, v *hotcache.View, trust *TrustedIssuer, subject string, c jws.Claims) (iam.PrincipalRef, error) {
	address, said := subject, verified(c)
	if trust.Subject == bySubjectEmail && !strings.Contains(subject, "@") {
		email, ok, err := optionalText(c, claimEmail)
		if err != nil {
			return iam.PrincipalRef{}, err
		}
		if !ok {
			return iam.PrincipalRef{}, unknownPerson(subject)
		}
		if address = email; said != yes {
			return iam.PrincipalRef{}, errUnverified
		}
	}
	if said == no {
		return iam.PrincipalRef{}, errUnverified
	}
	id, err := s.Directory.UserByEmailIn(ctx, v, address)
	if err == nil && id == "" {
		err = unknownPerson(address)
	}
	return id.Ref(), err
}

// claimEmail is the claim that counts only if the issuer vouches for it (threat J12).
const claimEmail = "email"

var errUnverified = reject(ReasonUnverified, "the issuer does not say that the address is verified (email_verified: true), so that anybody could have put it in")

func unknownPerson(subject string) error {
	return reject(ReasonSubject, fmt.Sprintf("neither an external service account with the subject %.200q, nor a person with this e-mail address is known here", subject))
}

// answer is what an issuer says of an address.
type answer uint8

const (
	unsaid answer = iota
	yes
	no
)

// verified reads `email_verified`, and Entra's `xms_edov` where that is missing. Only the boolean true
// says yes (threat J12).
func verified(c jws.Claims) answer {
	for _, name := range []string{"email_verified", "xms_edov"} {
		if !c.Has(name) {
			continue
		}
		if value, ok, err := c.Bool(name); err == nil && ok && value {
			return yes
		}
		return no
	}
	return unsaid
}
