package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// finding is one line of `iam doctor`.
type finding struct {
	Check  string `json:"check"`
	Result string `json:"result"` // ok, note, warning or fault
	Detail string `json:"detail"`
}

// doctor checks the running app and names what to mend.
func (a *App) doctor(ctx context.Context) ([]finding, error) {
	a.mu.Lock()
	state, services := a.state, a.services
	a.mu.Unlock()
	if state == nil || services == nil {
		return nil, iam.Unavailable("the gateway is just starting", nil)
	}
	findings := []finding{
		checkStore(ctx, a, state),
		{"directory", "ok", "source " + a.Directory.Source + ", organization " + a.Organization},
		checkPeople(ctx, services.directory),
		checkServiceAccounts(ctx, services.directory),
		checkOwners(ctx, services.directory),
		checkKeys(ctx, services.directory),
		checkKeyless(ctx, services.directory),
		checkEnforcement(a),
	}
	findings = append(findings, checkIssuers(ctx, services.tokens)...)
	findings = append(findings, services.checkConnectors(ctx)...)
	return append(findings, checkVariables(a.variables)...), nil
}

// checkConnectors asks the OpenID provider and the LDAP directory whether people could sign in.
func (w *services) checkConnectors(ctx context.Context) []finding {
	ctx, cancel := context.WithTimeout(ctx, connectorTimeout)
	defer cancel()
	var findings []finding
	if w.oidc != nil {
		findings = append(findings, verdict("oidc "+w.oidc.Issuer(), w.oidc.Discover(ctx)))
	}
	if w.ldap != nil {
		findings = append(findings, verdict("ldap", w.ldap.Test(ctx)))
	}
	return findings
}

func verdict(check string, err error) finding {
	if err != nil {
		return finding{check, "fault", err.Error()}
	}
	return finding{check, "ok", "can be used"}
}

func checkIssuers(ctx context.Context, tokens *tokenexchange.Service) []finding {
	checks, err := tokens.IssuerChecks(ctx)
	if err != nil {
		return []finding{{"issuers", "fault", err.Error()}}
	}
	findings := make([]finding, len(checks))
	for i, c := range checks {
		findings[i] = finding(c)
	}
	return findings
}

func checkStore(ctx context.Context, a *App, s *state) finding {
	_, err := s.store.Get(ctx, store.RevisionKey(a.space()))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return finding{"store", "fault", "does not answer: " + err.Error()}
	}
	if shared, ok := s.store.(interface{ Warnings() []string }); ok && len(shared.Warnings()) > 0 {
		return finding{"store", "warning", a.Store.String() + ": " + strings.Join(shared.Warnings(), "; ")}
	}
	return finding{"store", "ok", a.Store.String()}
}

// checkPeople warns of an organization that nobody can administer.
func checkPeople(ctx context.Context, d *directory.Directory) finding {
	users, admins := 0, 0
	err := d.Users(ctx, func(u *iam.User) error {
		users++
		if u.Active && u.Role == iam.OrganizationAdmin {
			admins++
		}
		return nil
	})
	switch {
	case err != nil:
		return finding{"people", "fault", err.Error()}
	case users > 0 && admins < 2:
		return finding{"people", "warning", fmt.Sprintf("%d people, %d active organization admin: name a second one, so that the organization cannot lock itself out", users, admins)}
	}
	return finding{"people", "ok", fmt.Sprintf("%d people, %d active organization admins", users, admins)}
}

// maxNamed bounds the names that a finding lists.
const maxNamed = 20

// checkServiceAccounts warns of names that say nothing about what a service account is for (BP-5).
func checkServiceAccounts(ctx context.Context, d *directory.Directory) finding {
	accounts := 0
	var vague []string
	err := d.ServiceAccounts(ctx, func(s *iam.ServiceAccount) error {
		accounts++
		if iam.VagueName(s.Name) {
			vague = append(vague, s.Name)
		}
		return nil
	})
	switch {
	case err != nil:
		return finding{"service accounts", "fault", err.Error()}
	case len(vague) > 0:
		sort.Strings(vague)
		return finding{"service accounts", "warning", fmt.Sprintf("%d of %d have a name that does not say what they are for, such as ci-model-training does: %s",
			len(vague), accounts, strings.Join(vague[:min(len(vague), maxNamed)], ", "))}
	}
	return finding{"service accounts", "ok", fmt.Sprintf("%d service accounts", accounts)}
}

// checkOwners warns of restricted projects whose owner is not there any more (VIS-12): nobody invites to them but the
// team's admins, who may not know.
func checkOwners(ctx context.Context, d *directory.Directory) finding {
	restricted := 0
	var left []string
	teams := map[iam.EntityID]string{}
	err := d.Teams(ctx, func(t *iam.Team) error {
		teams[t.ID.Entity()] = t.Name
		return nil
	})
	if err == nil {
		err = d.OwnerStates(ctx, func(p *iam.Project, state directory.OwnerState) error {
			if p.Visibility != iam.VisibilityRestricted {
				return nil
			}
			restricted++
			if state != directory.OwnerPresent {
				left = append(left, fmt.Sprintf("%s/%s (%s)", teams[p.Entity], p.Name, ownerWords(state)))
			}
			return nil
		})
	}
	switch {
	case err != nil:
		return finding{"owners", "fault", err.Error()}
	case len(left) > 0:
		sort.Strings(left)
		return finding{"owners", "warning", fmt.Sprintf("%d of %d restricted projects have no owner who could open them; an admin of the team names one with `iam project set ENTITY/NAME --owner USERNAME`: %s",
			len(left), restricted, strings.Join(left[:min(len(left), maxNamed)], ", "))}
	}
	return finding{"owners", "ok", fmt.Sprintf("%d restricted projects, each with an owner", restricted)}
}

func ownerWords(s directory.OwnerState) string {
	if s == directory.OwnerNone {
		return "nobody was named"
	}
	return "owner " + string(s)
}

// unusedFor is after how long without a use a key is worth a look (BP-4).
const unusedFor = 90 * 24 * time.Hour

// checkKeys names the keys that nobody has used for a long time. That is for people to look at: a key may be for a rare
// occasion.
func checkKeys(ctx context.Context, d *directory.Directory) finding {
	since := time.Now().Add(-unusedFor)
	began, err := d.UsesBegan(ctx)
	if err != nil {
		return finding{"API keys", "fault", err.Error()}
	}
	keys, unused, expired := 0, 0, 0
	var named []string
	err = d.UsedKeys(ctx, iam.PrincipalRef{}, func(k directory.Key) error {
		keys++
		if k.Expired(time.Now()) {
			expired++
		}
		if !k.UnusedSince(since, began) {
			return nil
		}
		if unused++; len(named) < maxNamed {
			named = append(named, string(k.ID))
		}
		return nil
	})
	switch {
	case err != nil:
		return finding{"API keys", "fault", err.Error()}
	case expired > 0 && unused == 0:
		return finding{"API keys", "note", fmt.Sprintf("%d of %d have expired and can be deleted, see `iam key list --sort expires`", expired, keys)}
	case unused > 0:
		return finding{"API keys", "note", fmt.Sprintf("%d of %d were not used for 90 days, look at them with `iam key list --unused-for 90d`: %s",
			unused, keys, strings.Join(named, ", "))}
	case began.After(since):
		return finding{"API keys", "ok", fmt.Sprintf("%d API keys; uses are recorded since %s, and after 90 days those are named here that nobody used", keys, began.Format(time.DateOnly))}
	}
	return finding{"API keys", "ok", fmt.Sprintf("%d API keys, all used within 90 days", keys)}
}

// checkKeyless names the service accounts of which nobody can make use, because they have no key, and those of which nobody
// ever did (BP-4).
func checkKeyless(ctx context.Context, d *directory.Directory) finding {
	used := map[iam.PrincipalRef]bool{} // by who has keys
	err := d.UsedKeys(ctx, iam.PrincipalRef{}, func(k directory.Key) error {
		if k.Owner.Kind == iam.KindServiceAccount {
			used[k.Owner] = used[k.Owner] || !k.LastUsed.IsZero()
		}
		return nil
	})
	accounts := 0
	var keyless, idle []string
	if err == nil {
		err = d.ServiceAccounts(ctx, func(a *iam.ServiceAccount) error {
			if a.Federated() {
				return nil
			}
			accounts++
			switch ever, has := used[a.ID.Ref()]; {
			case !has:
				keyless = append(keyless, a.Name)
			case !ever:
				idle = append(idle, a.Name)
			}
			return nil
		})
	}
	if err != nil {
		return finding{"service accounts' keys", "fault", err.Error()}
	}
	var notes []string
	for _, n := range []struct {
		what  string
		names []string
	}{{"have no API key", keyless}, {"were not used since uses are recorded", idle}} {
		if len(n.names) > 0 {
			sort.Strings(n.names)
			notes = append(notes, fmt.Sprintf("%d of %d %s: %s", len(n.names), accounts, n.what, strings.Join(n.names[:min(len(n.names), maxNamed)], ", ")))
		}
	}
	if len(notes) > 0 {
		return finding{"service accounts' keys", "note", strings.Join(notes, "; ")}
	}
	return finding{"service accounts' keys", "ok", fmt.Sprintf("%d service accounts with keys, all used", accounts)}
}

func checkEnforcement(a *App) finding {
	if a.Enforcement == "shadow" {
		return finding{"enforcement", "warning", "shadow: nothing is refused; write `enforcement enforce` when the log shows no surprises"}
	}
	return finding{"enforcement", "ok", "enforce"}
}

// checkVariables names the GORILLA_ variables that the gateway leaves alone, of which somebody who
// moved an environment block over may expect something.
func checkVariables(read map[string]bool) []finding {
	var findings []finding
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "GORILLA_") && value != "" && !read[name] {
			findings = append(findings, finding{"environment", "warning", name + " is set, and the gateway does not read it"})
		}
	}
	sort.Slice(findings, func(i, j int) bool { return findings[i].Detail < findings[j].Detail })
	return findings
}
