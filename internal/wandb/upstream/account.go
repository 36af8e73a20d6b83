package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// accountWordings ask a caller what sort of account they are. The question stands apart from
// viewerWordings: no client is known to ask `viewer` for accountType, and what a server makes of it
// must not decide who gets in. The second wording tells nothing, which spares servers that do not
// know the field from being asked for it every time.
var accountWordings = []string{
	`query GatewayAccount { viewer { username accountType } }`,
	`query GatewayAccount { viewer { username } }`,
}

// An account is of one sort for as long as it exists, so that it need not be asked for as often as
// rights are. Where the server told nothing it is asked again sooner: a list may have been opened.
const (
	accountTTL       = time.Hour
	accountUntoldTTL = 10 * time.Minute
)

// maxAccountTeams is in how many of the caller's teams their row is looked for. It stands in each.
const maxAccountTeams = 2

// account finds out what sort of account the owner of a credential is, p being what viewer says of
// them. settled is false when the server failed to answer: it should be asked again soon. That is no
// reason to keep anybody out, for everybody who is not told apart counts as a person.
func (d *Directory) account(ctx context.Context, c iam.Credential, p *iam.Principal) (t accountType, settled bool) {
	if c.Kind == iam.CredentialCookie {
		return accountPerson, true // service accounts do not sign in
	}
	key := digestOf(purposeAccount, nil, p.Ref.ID, "")
	look := func(ctx context.Context) answer[accountType] {
		t, err := d.askAccount(ctx, askerOf(c), p)
		return answer[accountType]{value: t, absent: t == accountUntold, err: err}
	}
	e, due, ok := d.accounts.peek(key, 0)
	if due {
		d.accounts.refresh(key, 0, look)
	}
	if ok && e.err == nil {
		return e.value, true
	}
	// The caller waits for who they are; a slow list must not use up all of their time.
	ctx, cancel := context.WithTimeout(ctx, d.timeout/2)
	defer cancel()
	t, err := d.accounts.fetch(ctx, key, 0, look)
	if err != nil {
		return d.accounts.last(key), false
	}
	return t, true
}

// askAccount looks for the caller in the member lists of their teams, else asks viewer. A failure
// counts only if nothing else tells.
func (d *Directory) askAccount(ctx context.Context, who asker, p *iam.Principal) (accountType, error) {
	var failure error
	for _, asker := range d.listAskers(who) {
		for _, team := range accountTeams(p) {
			list, err := d.askPeople(ctx, asker, team)
			if err != nil {
				failure = err
				continue
			}
			if row, _ := list.named(p.Username); row != nil && row.Account != accountUntold {
				return row.Account, nil
			}
		}
	}
	t, err := d.askOwnAccount(ctx, who)
	if err != nil {
		failure = err
	}
	if t != accountUntold {
		failure = nil
	}
	return t, failure
}

// accountTeams are the teams in whose lists the caller is looked for, their default team first: it
// is the one that a service account was made in.
func accountTeams(p *iam.Principal) []string {
	if p.Username == "" {
		return nil
	}
	var teams []string
	if _, member := p.Membership(TeamID(p.DefaultEntity)); member {
		teams = append(teams, p.DefaultEntity)
	}
	for i := range p.Teams {
		if len(teams) == maxAccountTeams {
			break
		}
		if name := p.Teams[i].Name; !slices.Contains(teams, name) {
			teams = append(teams, name)
		}
	}
	return teams
}

// askOwnAccount asks viewer. Only "SERVICE" counts there: what its other words mean on that type is
// not known, and a person need not be told from an account that is not told of.
func (d *Directory) askOwnAccount(ctx context.Context, who asker) (accountType, error) {
	r, err := d.ask(ctx, who, &d.questions.account, nil)
	switch {
	case errors.Is(err, errUnknownField), errors.Is(err, errForbidden), errors.Is(err, errNotFound):
		return accountUntold, nil
	case errors.Is(err, errRefused):
		return accountUntold, d.refusedMeanwhile(who, err)
	case err != nil:
		return accountUntold, err
	}
	var v struct {
		AccountType accountType `json:"accountType"`
	}
	if raw := r.Data["viewer"]; isNull(raw) || json.Unmarshal(raw, &v) != nil || v.AccountType != accountService {
		return accountUntold, nil
	}
	return accountService, nil
}

// asServiceAccount returns what viewer told of a caller as the service account that they are. p itself
// is not changed: a look-up of its sort may still be reading it. Its scope is its team if it is in
// exactly one: an account of the organization is listed in them all (SA-19).
func asServiceAccount(p *iam.Principal) *iam.Principal {
	account := *p
	account.Ref = iam.ServiceAccountID(serviceAccountPrefix + strings.TrimPrefix(p.Ref.ID, userPrefix)).Ref()
	if len(p.Teams) == 1 {
		account.Scope = p.Teams[0].TeamRef
	}
	if account.DefaultEntity == "" {
		account.DefaultEntity = account.Scope.Name // SA-22
	}
	return &account
}

// judged returns whom Decide judges in p's place. Its rules for service accounts rest on a scope
// that the gateway's own record is sure of. The server does not tell that of its accounts: an
// organization with one team lists an account of the organization in exactly one, and a team that
// is not listed may be one that is not shown. So they are judged, as people are, by the teams and
// roles that the server lists and by what it shows; neither does a wrong guess take away what the
// server gives, nor does it give what the server did not show.
func judged(p *iam.Principal) *iam.Principal {
	if p == nil || !p.FromUpstream || !p.IsServiceAccount() {
		return p
	}
	person := *p
	person.Ref = iam.UserID(userPrefix + strings.TrimPrefix(p.Ref.ID, serviceAccountPrefix)).Ref()
	person.Scope = iam.TeamRef{}
	return &person
}
