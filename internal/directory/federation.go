package directory

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// An external service account signs in with assertions of an issuer (FED-26). Which are its own is
// said by a subject or by claims, never by both: two conditions in two places would be read as either.
// Everything is compared exactly, so that what a rule admits can be seen from the rule.

// Bounds on what identifies an account's assertions.
const (
	maxAssertionBytes = 1024 // of the issuer, the subject, and the value of a claim
	maxClaims         = 16
	maxClaimNameBytes = 256
)

// ClaimRule says which assertions of an issuer are a service account's: those that have each of the
// claims with exactly its value. It is shared: nobody changes it.
type ClaimRule struct {
	Account iam.ServiceAccountID `json:"account"`
	Claims  map[string]string    `json:"claims"`
}

// claimRulesRecord lists the rules of one issuer, sorted by account: an exchange needs all at once.
type claimRulesRecord struct {
	Rules []ClaimRule `json:"rules"`
}

// ClaimRules returns the claim rules of an issuer, those of deactivated accounts included; none when
// there are none. Two of them can hold for one assertion: which of the accounts is meant cannot be
// told then, and whoever asks has to refuse. The slice is shared: nobody may change it.
func (d *Directory) ClaimRules(ctx context.Context, issuer string) ([]ClaimRule, error) {
	return d.ClaimRulesIn(ctx, d.cache.View(), issuer)
}

// ClaimRulesIn is ClaimRules through a reading session.
func (d *Directory) ClaimRulesIn(ctx context.Context, v *hotcache.View, issuer string) ([]ClaimRule, error) {
	r, err := hotcache.Read(ctx, v, d.names.claimRules(issuer), decode[claimRulesRecord])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, unreadable(err)
	}
	return r.Rules, nil
}

// Federated calls f with every external service account, in no useful order, until it returns an
// error, which is returned.
func (d *Directory) Federated(ctx context.Context, f func(*iam.ServiceAccount) error) error {
	return d.ServiceAccounts(ctx, func(a *iam.ServiceAccount) error {
		if !a.Federated() {
			return nil
		}
		return f(a)
	})
}

// sameFederation reports whether the same assertions are the account's.
func sameFederation(a, b *iam.ServiceAccount) bool {
	return a.Issuer == b.Issuer && a.Subject == b.Subject && maps.Equal(a.Claims, b.Claims)
}

// cloneClaims returns a copy; nil for no claims.
func cloneClaims(claims map[string]string) map[string]string {
	if len(claims) == 0 {
		return nil
	}
	return maps.Clone(claims)
}

// judgeFederation says what is wrong with how an account is found by assertions. It is asked when
// that changes and when the account becomes active.
func (d *Directory) judgeFederation(ctx context.Context, a *iam.ServiceAccount) error {
	if !a.Federated() {
		if a.Issuer == "" {
			return nil
		}
		return iam.Invalidf("the external service account %s needs, beside the issuer, the subject or the claims of its assertions", a.Name)
	}
	switch {
	case a.Issuer == "":
		return iam.Invalidf("the external service account %s needs, beside subject or claims, the issuer of its assertions", a.Name)
	case a.Subject != "" && len(a.Claims) > 0:
		return iam.Invalidf(`the external service account %s has a subject and claims, and can be found by one of the two only: leave one out, or set it to nothing ("")`, a.Name)
	case a.Team == "":
		return iam.Invalidf("the external service account %s needs a team: whoever signs in with assertions belongs to one team, and only accounts with API keys to the whole organization", a.Name)
	case len(a.Claims) > maxClaims:
		return iam.Invalidf("the external service account %s has %d claims, and may have %d", a.Name, len(a.Claims), maxClaims)
	}
	if err := plain("the issuer", a.Issuer, maxAssertionBytes); err != nil {
		return err
	}
	if a.Subject != "" {
		if err := exact("the subject", a.Subject, maxAssertionBytes); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a.Claims)) {
		if err := exact("the name of a claim", name, maxClaimNameBytes); err != nil {
			return err
		}
		if err := exact("the claim "+untrusted.Clip(name), a.Claims[name], maxAssertionBytes); err != nil {
			return err
		}
	}
	if d.check == nil {
		return nil
	}
	return d.check(ctx, a.Issuer, a.Subject, a.Claims)
}

// plain refuses text that cannot stand in an assertion as it is written here.
func plain(what, text string, most int) error {
	switch {
	case text == "":
		return iam.Invalidf("%s is empty, and nothing would match it: give it a value", what)
	case len(text) > most:
		return iam.Invalidf("%s has %d bytes, and may have %d", what, len(text), most)
	case !plainText(text):
		return iam.Invalidf("%s %q is not plain text: leave out control characters", what, untrusted.Clip(text))
	}
	return nil
}

// exact also refuses wildcards. They would match nobody, and read as if they matched many.
func exact(what, text string, most int) error {
	if err := plain(what, text, most); err != nil {
		return err
	}
	if strings.ContainsAny(text, "*?") {
		return iam.Invalidf("%s %q has a wildcard, but everything is compared exactly: instead name each claim that is the same in all its assertions with its whole value, such as repository=acme/detector, and leave out those that vary", what, untrusted.Clip(text))
	}
	return nil
}

// claimRules finds the rules of an issuer, whose bytes are from outside.
func (n *names) claimRules(issuer string) string {
	sum := sha256.Sum256([]byte(issuer))
	return n.space + "claim_rules/" + hex.EncodeToString(sum[:])
}

// claimFederation records what finds an external account. What another one has is iam.KindConflict.
func (tx *transaction) claimFederation(a *iam.ServiceAccount) error {
	if a.Subject != "" {
		key := tx.d.names.subject(a.Issuer, a.Subject)
		was, err := load[iam.ServiceAccountID](tx, key)
		if err != nil {
			return err
		}
		if was != nil && *was != a.ID {
			return iam.Conflictf("another service account has the subject %q of %s: two would be one", untrusted.Clip(a.Subject), untrusted.Clip(a.Issuer))
		}
		if err := tx.put(key, a.ID); err != nil {
			return err
		}
	}
	if len(a.Claims) == 0 {
		return nil
	}
	r, err := tx.otherClaimRules(a)
	if err != nil {
		return err
	}
	for _, rule := range r.Rules {
		if maps.Equal(rule.Claims, a.Claims) {
			return iam.Conflictf("another service account has the same claims of %s: two would be one", untrusted.Clip(a.Issuer))
		}
	}
	r.Rules = append(r.Rules, ClaimRule{a.ID, a.Claims})
	slices.SortFunc(r.Rules, func(a, b ClaimRule) int { return cmp.Compare(a.Account, b.Account) })
	err = tx.put(tx.d.names.claimRules(a.Issuer), r)
	if iam.KindOf(err) == iam.KindTooLarge {
		return &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large",
			Message: "the claim rules of all service accounts of " + untrusted.Clip(a.Issuer) + " together have grown too large: delete accounts that are not used, or shorten their claims"}
	}
	return err
}

// releaseFederation takes away what finds an external account.
func (tx *transaction) releaseFederation(a *iam.ServiceAccount) error {
	if a.Subject != "" {
		if err := tx.delete(tx.d.names.subject(a.Issuer, a.Subject)); err != nil {
			return err
		}
	}
	if len(a.Claims) == 0 {
		return nil
	}
	key := tx.d.names.claimRules(a.Issuer)
	r, err := tx.otherClaimRules(a)
	if err != nil {
		return err
	}
	if len(r.Rules) == 0 {
		return tx.delete(key)
	}
	return tx.put(key, r)
}

// otherClaimRules returns the rules of the account's issuer without the account's own.
func (tx *transaction) otherClaimRules(a *iam.ServiceAccount) (*claimRulesRecord, error) {
	r, err := load[claimRulesRecord](tx, tx.d.names.claimRules(a.Issuer))
	if err != nil || r == nil {
		return new(claimRulesRecord), err
	}
	r.Rules = slices.DeleteFunc(r.Rules, func(rule ClaimRule) bool { return rule.Account == a.ID })
	return r, nil
}
