// Package accounts answers the SDK's administration of people, teams, service accounts and API keys from the
// gateway's own directory (sdk-wire 8), where that is the record. It is handed root fields that were read and
// judged by what they name; it reads their arguments, decides with package authz over what they do not name,
// changes the directory, and tells of every change. It knows neither HTTP nor the server behind.
package accounts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// Config is what Accounts need. All but Now are required.
type Config struct {
	Directory *directory.Directory
	// Master seals the keys that wait for whoever made them.
	Master keys.MasterKey
	// Report is told of every change, after it was committed.
	Report func(Event)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Accounts administers one directory. It is safe for use by many goroutines.
type Accounts struct{ Config }

// New checks the configuration.
func New(c Config) (*Accounts, error) {
	if c.Directory == nil || c.Master.IsZero() || c.Report == nil {
		return nil, errors.New("accounts: Directory, Master and Report are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Accounts{c}, nil
}

// question is a Question of which the arguments are read.
type question struct {
	gateway.Question
	in arguments
}

// root is a root field that is answered here.
type root struct {
	// input are the members of its argument `input`, or, in a query, its arguments.
	input  []string
	query  bool
	answer func(*Accounts, context.Context, question) (any, error)
}

// roots are all of them. Each selects for itself what it answers.
var roots = map[string]root{
	"createUser":           {input: []string{"email", "admin"}, answer: (*Accounts).createUser},
	"createTeam":           {input: []string{"teamName", "teamAdminUserName"}, answer: (*Accounts).createTeam},
	"createInvite":         {input: []string{"entityName", "email", "username", "admin"}, answer: (*Accounts).createInvite},
	"deleteInvite":         {input: []string{"entityName", "id"}, answer: (*Accounts).deleteInvite},
	"createServiceAccount": {input: []string{"entityName", "description"}, answer: (*Accounts).createServiceAccount},
	"generateApiKey":       {input: []string{"description"}, answer: (*Accounts).generateKey},
	"deleteApiKey":         {input: []string{"id"}, answer: (*Accounts).deleteKey},
	"users":                {input: []string{"query", "first", "after"}, query: true, answer: (*Accounts).users},
	"entity":               {input: []string{"name"}, query: true, answer: (*Accounts).entity},
}

// Owns implements gateway.Accounts. An entity is the record's own where its members are asked for, and
// nothing that only the server knows, such as projects.
func (a *Accounts) Owns(r wandb.Root) bool {
	_, ok := roots[r.Name]
	return ok && (r.Name != "entity" || asksForMembers(r))
}

// Answer implements gateway.Accounts.
func (a *Accounts) Answer(ctx context.Context, q gateway.Question) (json.RawMessage, error) {
	r, ok := roots[q.Root.Name]
	if !ok {
		return nil, iam.Invalidf("the gateway does not know the field %s", q.Root.Name)
	}
	if err := checkFields(q.Root.Fields); err != nil {
		return nil, err
	}
	in, err := readArguments(q.Root, r)
	if err != nil {
		return nil, err
	}
	answer, err := r.answer(a, ctx, question{q, in})
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("answering %s: %w", q.Root.Name, err)
	}
	return b, nil
}

// payload answers what a mutation returns: an object of the named field alone; all else is null.
func payload(q question, name string, value func([]wandb.Field) any) any {
	return wandb.Select(q.Root.Fields, func(f wandb.Field) any {
		switch f.Name {
		case name:
			return value(f.Fields)
		case "__typename":
			return strings.ToUpper(q.Root.Name[:1]) + q.Root.Name[1:] + "Payload"
		default:
			return nil
		}
	})
}

// success is the payload of what deletes.
func success(q question) any { return payload(q, "success", func([]wandb.Field) any { return true }) }

// decide asks the rules about one of the organization's teams, or about the organization if team is "". It
// returns the reason for allowing, or the refusal.
func (a *Accounts) decide(ctx context.Context, who *iam.Principal, p authz.Permission, team string) (iam.Reason, error) {
	facts, err := a.Directory.Facts(ctx, who, team, "")
	if err != nil {
		return "", err
	}
	return verdict(p, facts, team)
}

// by is the directory for a change that the caller makes and needs a permission for, which is decided once more
// with the commit: what was judged before the request came here may not hold any more.
func (a *Accounts) by(q question, p authz.Permission, team iam.TeamRef) *directory.Directory {
	return a.Directory.By(directory.Acting{Who: q.Who.Ref, Needs: []directory.Need{{Permission: p, Team: team}}})
}

func verdict(p authz.Permission, facts authz.Facts, team string) (iam.Reason, error) {
	d := authz.Decide(authz.Request{Permission: p}, facts)
	if d.Allowed() {
		return d.Reason, nil
	}
	return "", authz.Refuse(d, facts, authz.Names{Entity: team})
}

// team finds the team that a request names.
func (a *Accounts) team(ctx context.Context, name string) (iam.TeamRef, error) {
	e, err := a.Directory.FindEntity(ctx, name)
	switch {
	case err != nil:
		return iam.TeamRef{}, err
	case e == nil: // deleted since the request was judged
		return iam.TeamRef{}, iam.NotFoundf("there is no team of that name any more")
	}
	id, ok := e.ID.Team()
	if !ok {
		return iam.TeamRef{}, iam.Invalidf("%s is a personal entity, not a team: name a team instead", e.Name)
	}
	return iam.TeamRef{ID: id, Name: e.Name}, nil
}

// Run forgets, until ctx ends, the keys that nobody took. It tells report what goes wrong.
func (a *Accounts) Run(ctx context.Context, report func(error)) {
	tick := time.NewTicker(handOverFor)
	defer tick.Stop()
	for {
		if _, err := a.Directory.CollectHandovers(ctx); err != nil && ctx.Err() == nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

var _ gateway.Accounts = (*Accounts)(nil)
