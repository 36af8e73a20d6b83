package tokenexchange

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/remote"
)

// Diagnose checks an issuer from where the gateway stands, whether it is trusted already or not: can it
// be reached, is it who it says, which keys has it, and who relies on it.
func (s *Service) Diagnose(ctx context.Context, url string) ([]Check, error) {
	if err := remote.ValidIssuerURL(url); err != nil {
		return nil, err
	}
	trust, err := s.trusted(ctx, s.Cache.View(), url)
	if err != nil {
		return nil, err
	}
	checks := []Check{s.checkTrust(trust)}
	if trust == nil {
		trust = &TrustedIssuer{URL: url}
	}
	checks = append(checks, s.checkKeys(ctx, trust)...)
	relying, err := s.checkRelying(ctx, trust)
	return append(checks, relying...), err
}

func (s *Service) checkTrust(t *TrustedIssuer) Check {
	if t == nil {
		return Check{"trust", "fault", "it is not trusted: write `jwt_issuer URL` into the configuration, or run `iam issuer create URL`; trailing slashes count"}
	}
	audiences := strings.Join(t.Audiences, ", ")
	switch {
	case s.SkipAudience:
		audiences = "any, because skip_audience_validation is on"
	case audiences == "":
		audiences = s.Directory.Organization() + ", " + commonAudience
	}
	detail := "trusted; audience: " + audiences
	if t.Preset != "" {
		detail += "; preset " + t.Preset
	}
	return Check{"trust", "ok", detail}
}

// checkKeys asks the issuer afresh, past what is remembered of it.
func (s *Service) checkKeys(ctx context.Context, t *TrustedIssuer) []Check {
	pinned, err := t.pinned()
	if err == nil && pinned != nil {
		return []Check{{"keys", "ok", fmt.Sprintf("%d pinned keys; the issuer is not asked", pinned.Len())}}
	}
	roots, err := t.roots()
	if err != nil {
		return []Check{{"keys", "fault", err.Error()}}
	}
	var checks []Check
	config := remote.Config{Issuer: t.URL, KeysURL: t.KeysURL, Roots: roots, Now: s.Now}
	if t.KeysURL == "" {
		found, err := remote.Discover(ctx, config)
		if err != nil {
			return []Check{{"discovery", "fault", err.Error()}}
		}
		checks = append(checks, Check{"discovery", "ok", found.Path + " names the key set " + found.JWKSURI})
	}
	fresh, err := remote.New(config)
	if err != nil {
		return append(checks, Check{"keys", "fault", err.Error()})
	}
	defer fresh.Close()
	set, err := fresh.Keys(ctx, "")
	if err != nil {
		return append(checks, Check{"keys", "fault", err.Error()})
	}
	usable := t.usable(set)
	if len(usable) == 0 {
		return append(checks, Check{"keys", "fault", fmt.Sprintf("%d keys, none for an algorithm that is allowed here: %s", set.Len(), joined(t.allowed()))})
	}
	return append(checks, Check{"keys", "ok", fmt.Sprintf("%d: %s", len(usable), strings.Join(usable[:min(len(usable), maxNamed)], "; "))})
}

// maxNamed bounds how many keys or service accounts one line names.
const maxNamed = 20

// usable lists the keys that can verify an assertion of the issuer, each with its algorithms.
func (t *TrustedIssuer) usable(set *jws.KeySet) []string {
	var usable []string
	for _, key := range set.Keys() {
		algorithms := key.Algorithms()
		if allowed := t.allowed(); len(allowed) > 0 {
			algorithms = slices.DeleteFunc(algorithms, func(a jws.Algorithm) bool { return !slices.Contains(allowed, a) })
		}
		if len(algorithms) > 0 {
			usable = append(usable, fmt.Sprintf("%q for %s", key.ID(), joined(algorithms)))
		}
	}
	return usable
}

// IssuerChecks says of every trusted issuer how its keys stand, without asking it.
func (s *Service) IssuerChecks(ctx context.Context) ([]Check, error) {
	issuers, err := s.Issuers(ctx)
	if err != nil {
		return nil, err
	}
	checks := make([]Check, 0, len(issuers))
	for i := range issuers {
		checks = append(checks, s.checkStatus(&issuers[i].TrustedIssuer))
	}
	return checks, nil
}

func (s *Service) checkStatus(t *TrustedIssuer) Check {
	name := "issuer " + t.URL
	set, err := s.KeySets.of(t)
	if err != nil {
		return Check{name, "fault", err.Error()}
	}
	switch status := set.Status(); {
	case status.Usable && status.LastError != nil:
		return Check{name, "warning", fmt.Sprintf("%d keys from %s go on counting, but fetching fails: %v", status.Keys, status.LastSuccess.UTC().Format(time.RFC3339), status.LastError)}
	case status.Usable:
		return Check{name, "ok", fmt.Sprintf("%d keys", status.Keys)}
	case status.LastError != nil:
		return Check{name, "fault", fmt.Sprintf("its keys cannot be had: %v", status.LastError)}
	}
	return Check{name, "ok", "not asked for its keys yet; `iam doctor issuer " + t.URL + "` asks it"}
}

func joined[T ~string](list []T) string {
	texts := make([]string, len(list))
	for i, item := range list {
		texts[i] = string(item)
	}
	return cmp.Or(strings.Join(texts, ", "), "all asymmetric ones")
}

func (s *Service) checkRelying(ctx context.Context, t *TrustedIssuer) ([]Check, error) {
	var names []string
	var faults []Check
	err := s.Directory.Federated(ctx, func(a *iam.ServiceAccount) error {
		if a.Issuer != t.URL {
			if strings.TrimSuffix(a.Issuer, "/") == strings.TrimSuffix(t.URL, "/") {
				faults = append(faults, Check{"service account " + a.Name, "fault", fmt.Sprintf("relies on %q, which is not this issuer byte for byte", a.Issuer)})
			}
			return nil
		}
		names = append(names, a.Name)
		if err := t.checkMapping(a.Subject, a.Claims); err != nil {
			faults = append(faults, Check{"service account " + a.Name, "fault", err.Error()})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	detail := fmt.Sprintf("%d rely on it", len(names))
	if len(names) > 0 {
		shown := names[:min(len(names), maxNamed)]
		detail += ": " + strings.Join(shown, ", ")
	}
	if t.forWorkloads() {
		detail += "; people are not signed in by it, as its preset is for workloads"
	}
	return append([]Check{{"service accounts", "ok", detail}}, faults...), nil
}
