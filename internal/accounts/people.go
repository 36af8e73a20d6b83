package accounts

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

func (a *Accounts) createUser(ctx context.Context, q question) (any, error) {
	email, err := q.in.required("email")
	if err != nil {
		return nil, err
	}
	admin, err := q.in.truth("admin")
	if err != nil {
		return nil, err
	}
	role := iam.OrganizationMember
	if admin {
		role = iam.OrganizationAdmin
	}
	c, err := a.by(q, authz.OrganizationManage, iam.TeamRef{}).AddPerson(ctx, email, role)
	if err != nil {
		return nil, err
	}
	q.report(a, Event{Action: ActionUserCreated, Subject: c.After.Username, Before: record(c.Before), After: record(c.After)})
	return payload(q, "user", func(fields []wandb.Field) any { return answerUser(c.After, fields) }), nil
}

// answerUser answers what the record itself tells of a person.
func answerUser(u *iam.User, fields []wandb.Field) json.RawMessage {
	return wandb.Select(fields, func(f wandb.Field) any { return userField(u, f.Name) })
}

func userField(u *iam.User, field string) any {
	switch field {
	case "__typename":
		return "User"
	case "id":
		return wandb.FormatNodeID("User", string(u.ID))
	case "username":
		return u.Username
	case "name":
		return cmp.Or(u.Name, u.Username) // which clients need
	case "email":
		return orNull(u.Email)
	case "admin":
		return u.Role == iam.OrganizationAdmin
	case "flags":
		return "{}"
	case "accountType":
		return "USER"
	default:
		return nil
	}
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// maxUsers bounds one page of users; others come after it.
const maxUsers = 1000

// beforeAll is the cursor behind whoever comes out of the order of ids: it stands before every id.
const beforeAll = "!"

// users finds people by the beginning or the end of their user name or address, in the order of their ids;
// who bears exactly the name comes first, which is whom `Api.user` returns, and who has exactly the address
// comes alone.
func (a *Accounts) users(ctx context.Context, q question) (any, error) {
	query, err := q.in.text("query")
	if err != nil {
		return nil, err
	}
	first, err := q.in.count("first", maxUsers)
	if err != nil {
		return nil, err
	}
	after, err := q.in.text("after")
	if err != nil {
		return nil, err
	}
	page, err := a.findUsers(ctx, query, after, first)
	if err != nil {
		return nil, err
	}
	listed := lister{a: a, ctx: ctx}
	// An organization's service account looks users up, and administers no keys (SA-18).
	switch _, err := a.decide(ctx, q.Who, authz.OrganizationManage, ""); {
	case err == nil:
		listed.keys = true
	case iam.KindOf(err) != iam.KindDenied:
		return nil, err
	}
	page.Node = listed.answer
	answer := page.Select(q.Root.Fields)
	return answer, listed.err
}

func (a *Accounts) findUsers(ctx context.Context, query, after string, first int) (page wandb.Page[*iam.User], err error) {
	query = iam.FoldName(query)
	var exact iam.UserID
	page.Cursor = func(u *iam.User) string {
		if u.ID == exact {
			return beforeAll
		}
		return string(u.ID)
	}
	if query != "" {
		if exact, err = a.Directory.FindUser(ctx, query); err != nil {
			return page, err
		}
	}
	if exact != "" && after == "" {
		u, err := a.Directory.User(ctx, exact)
		if err != nil && iam.KindOf(err) != iam.KindNotFound { // else deleted between the two reads
			return page, err
		}
		if err == nil {
			page.Items = append(page.Items, u)
		}
	}
	if len(page.Items) > 0 && strings.Contains(query, "@") {
		return page, nil // a whole address is somebody's own: who looks one up need not wait for all others to be read
	}
	err = a.Directory.Users(ctx, func(u *iam.User) error {
		switch {
		case string(u.ID) <= after && after != "" || u.ID == exact || !matches(u, query):
		case len(page.Items) == first:
			page.More = true
			return errEnough
		default:
			page.Items = append(page.Items, u)
		}
		return nil
	})
	if err == errEnough {
		err = nil
	}
	return page, err
}

// matches reports whether a person's user name or address begins or ends with a text, without regard to case.
func matches(u *iam.User, folded string) bool {
	return slices.ContainsFunc([]string{u.Username, u.Email}, func(s string) bool {
		s = iam.FoldName(s)
		return s != "" && (strings.HasPrefix(s, folded) || strings.HasSuffix(s, folded))
	})
}

// lister answers people in a list. What goes wrong in one of them is kept for the whole.
type lister struct {
	a    *Accounts
	ctx  context.Context //nolint:containedctx // a lister lives inside one call
	keys bool            // whether keys may be listed
	err  error
}

func (l *lister) answer(u *iam.User, fields []wandb.Field) json.RawMessage {
	return wandb.Select(fields, func(f wandb.Field) any {
		if l.err != nil {
			return nil
		}
		switch f.Name {
		case "apiKeys":
			if !l.keys {
				return keyPage(nil).Select(f.Fields)
			}
			var keys json.RawMessage
			keys, l.err = l.a.listKeys(l.ctx, u.ID.Ref(), f)
			return keys
		case "entity", "teams":
			return l.place(u, f)
		default:
			return userField(u, f.Name)
		}
	})
}

// place answers what needs the names of a person's teams.
func (l *lister) place(u *iam.User, f wandb.Field) any {
	p, err := l.a.Directory.Principal(l.ctx, u.ID.Ref())
	switch {
	case iam.KindOf(err) == iam.KindUnauthenticated: // deleted meanwhile
		p = &iam.Principal{}
	case err != nil:
		l.err = err
		return nil
	}
	if f.Name == "entity" {
		return orNull(p.DefaultEntity)
	}
	return wandb.Page[iam.Membership]{Items: p.Teams, Node: func(m iam.Membership, fields []wandb.Field) json.RawMessage {
		return wandb.Select(fields, func(f wandb.Field) any {
			switch f.Name {
			case "__typename":
				return "Entity"
			case "id":
				return wandb.FormatNodeID("Entity", string(m.ID))
			case "name":
				return m.Name
			case "isTeam":
				return true
			default:
				return nil
			}
		})
	}}.Select(f.Fields)
}
