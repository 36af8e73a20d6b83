package upstream

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// An account is of one sort for as long as it exists, so that it need not be asked for as often as
// rights are. Where the server told nothing it is asked again sooner: a list may have been opened.
const (
	accountTTL       = time.Hour
	accountUntoldTTL = 10 * time.Minute
)

// maxAccountTeams is in how many of the caller's teams their row is looked for. It stands in each.
const maxAccountTeams = 2

// account finds out what sort of account the owner of a credential is, p being what viewer says of
// them, and own what it calls them itself. settled is false when the server failed to answer: it should be
// asked again soon. That is no reason to keep anybody out, for everybody who is not told apart counts
// as a person.
func (d *Directory) account(ctx context.Context, c iam.Credential, p *iam.Principal, own accountType) (t accountType, settled bool) {
	if c.Kind == iam.CredentialCookie {
		return accountPerson, true // service accounts do not sign in
	}
	if own == accountPerson {
		own = accountUntold // what its other words mean there is not known
	}
	if p.Username == "" || len(p.Teams) == 0 {
		return own, true // they stand in no list
	}
	key := accountKey(p.Username)
	look := func(ctx context.Context) answer[accountType] {
		t, err := d.askAccount(ctx, askerOf(c), p)
		return answer[accountType]{value: t, absent: t == accountUntold, err: err}
	}
	e, due, ok := d.accounts.peek(key, 0)
	if due {
		d.accounts.refresh(key, 0, look)
	}
	if ok && e.err == nil {
		return cmp.Or(e.value, own), true
	}
	// The caller waits for who they are; a slow list must not use up all of their time.
	ctx, cancel := context.WithTimeout(ctx, d.timeout/2)
	defer cancel()
	t, err := d.accounts.fetch(ctx, key, 0, look)
	if err != nil {
		return cmp.Or(d.accounts.last(key), own), false
	}
	return cmp.Or(t, own), true
}

// accountKey is under which an account is remembered. User names are unique at the server.
func accountKey(username string) digest { return digestOf(purposeAccount, nil, username, "") }

// askAccount looks for the caller in the member lists of their teams. A failure counts only if no list
// tells.
func (d *Directory) askAccount(ctx context.Context, who asker, p *iam.Principal) (accountType, error) {
	var failure error
	for _, asker := range d.listAskers(who) {
		for _, team := range accountTeams(p) {
			t, err := d.accountIn(ctx, asker, team, p.Username)
			if t != accountUntold {
				return t, nil
			}
			if err != nil {
				failure = err
			}
		}
	}
	return accountUntold, failure
}

// accountIn looks for an account in one list. A list tells of everybody in it, and what it tells is
// remembered of them all: of those who come at the same moment one asks, and the others wait for that.
// Whom it does not tell of asks for themselves, for the list may be closed to the one and open to the
// other.
func (d *Directory) accountIn(ctx context.Context, who asker, team, username string) (accountType, error) {
	var asked atomic.Bool
	look := func(ctx context.Context) answer[struct{}] {
		asked.Store(true)
		return answer[struct{}]{err: d.askAccounts(ctx, who, team)}
	}
	purpose := purposeList
	if who.kind == askerAdmin {
		purpose = purposeListForAdmin
	}
	_, err := d.lists.fetch(ctx, digestOf(purpose, nil, team, ""), d.epochs.stamp(team, ""), look)
	if e, _, ok := d.accounts.peek(accountKey(username), 0); ok && e.value != accountUntold {
		return e.value, nil
	}
	if !asked.Load() && who.kind != askerAdmin && ctx.Err() == nil {
		err = d.askAccounts(ctx, who, team)
		if e, _, ok := d.accounts.peek(accountKey(username), 0); ok {
			return e.value, err
		}
	}
	return accountUntold, err
}

// askAccounts asks for a list and remembers what it tells of everybody in it.
func (d *Directory) askAccounts(ctx context.Context, who asker, team string) error {
	since := d.accounts.now()
	list, err := d.askPeople(ctx, who, team)
	if err != nil {
		return err
	}
	told := make(map[string]accountType, len(list))
	for i := range list {
		name, t := list[i].Username, list[i].Account
		if _, twice := told[name]; twice {
			t = accountUntold // two rows of one name tell nothing
		}
		told[name] = t
	}
	for name, t := range told {
		if t != accountUntold && name != "" && len(name) <= maxNameBytes {
			d.accounts.learn(accountKey(name), t, since)
		}
	}
	return nil
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
