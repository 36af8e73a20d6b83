package upstream

import (
	"context"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Attribute finds the person for whom a service account of the server's says it works (ATTR-1..9).
// c is the account's credential and destination the team that the request writes to, "" for none or
// for what is no team. It is nil without an error when the claim does not hold, and when the server
// does not tell: the request goes on without it (ATTR-7).
//
// The person must be in the account's own team (ATTR-5, ATTR-6, ATTR-8); for an account of several
// teams, in the destination (ATTR-9), else in its default team (SA-14). The server's member list of
// that team decides, as it is shown to the account or, where it is closed to it, to the
// administrator's key. A person alone is found in it: neither another service account nor somebody
// who has not accepted yet.
//
// What is returned names the person and gives no right. Errors are iam.KindUnavailable.
func (d *Directory) Attribute(ctx context.Context, p *iam.Principal, c iam.Credential, destination string, claim iam.Attribution) (*iam.Principal, error) {
	if p == nil || !p.FromUpstream || !p.IsServiceAccount() {
		return nil, nil
	}
	team, who := attributionTeam(p, destination), askerOf(c)
	if who.kind == askerNobody {
		who = d.admin // an upload's ticket is nothing that the server knows
	}
	by, name := purposePersonByName, claim.Username // which wins over the address (ATTR-3)
	if name == "" {
		by, name = purposePersonByEmail, claim.Email
	}
	if team == "" || name == "" || len(team) > maxNameBytes || len(name) > maxNameBytes || who.kind == askerNobody {
		return nil, nil
	}
	key := digestOf(by, who.digest[:], team, name)
	stamp := d.epochs.stamp(team, "")
	e, due, ok := d.people.peek(key, stamp)
	switch {
	case !ok:
		return d.people.fetch(ctx, key, stamp, d.personLook(who, team, by, name))
	case due:
		d.people.refresh(key, stamp, d.personLook(who, team, by, name))
	}
	return e.value, e.err
}

func (d *Directory) personLook(who asker, team string, by purpose, name string) func(context.Context) answer[*iam.Principal] {
	return func(ctx context.Context) answer[*iam.Principal] {
		person, err := d.askPerson(ctx, who, team, by, name)
		return answer[*iam.Principal]{value: person, absent: person == nil, err: err}
	}
}

// attributionTeam is the team whose member list decides; "" if that cannot be told.
func attributionTeam(p *iam.Principal, destination string) string {
	switch {
	case p.Scope.Name != "":
		return p.Scope.Name
	case len(p.Teams) == 0:
		return "" // an account of one team whose team is not shown, perhaps
	case destination != "":
		return destination
	}
	if _, member := p.Membership(TeamID(p.DefaultEntity)); member {
		return p.DefaultEntity
	}
	return ""
}

// askPerson looks the name up in the team's member list. A list that cannot be had is a failure only
// if the other one does not tell.
func (d *Directory) askPerson(ctx context.Context, who asker, team string, by purpose, name string) (*iam.Principal, error) {
	var failure error
	for _, asker := range d.listAskers(who) {
		list, err := d.askPeople(ctx, asker, team)
		if err != nil {
			failure = err
			continue
		}
		if row, told := list.find(by, name); told {
			return d.toPerson(row), nil
		}
	}
	return nil, failure
}

// find looks for whom a claim names: by user name, which may be an e-mail address (ATTR-4), or by
// address alone. told is false when the list does not tell.
func (l people) find(by purpose, name string) (row *listed, told bool) {
	if len(l) == 0 {
		return nil, false
	}
	if by == purposePersonByName {
		if row, ok := l.named(name); row != nil || !ok {
			return row, true
		}
		if !strings.Contains(name, "@") {
			return nil, true
		}
	}
	row, _ = l.withEmail(name)
	return row, row != nil || l.tellsEmails()
}

// toPerson returns the person of a row, nil for one that is none.
func (d *Directory) toPerson(row *listed) *iam.Principal {
	if row == nil || row.Account == accountService || row.Pending || !iam.ValidName(row.Username) {
		return nil
	}
	person := &iam.Principal{
		Ref:          userIDByName(row.Username).Ref(), // the list does not tell the id
		Organization: d.organization,
		Username:     row.Username,
		Email:        row.Email,
		Active:       true,
		Role:         iam.OrganizationMember,
		FromUpstream: true,
	}
	if len(person.Email) > maxNameBytes || !printable(person.Email) {
		person.Email = ""
	}
	return person
}
