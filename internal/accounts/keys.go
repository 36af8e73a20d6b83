package accounts

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// errEnough ends a listing that has found what it was to find.
var errEnough = errors.New("enough")

// unnamed is the label of a key that is made without one.
const unnamed = "made with the SDK"

// generateKey makes a key for the caller, whomever the client believes to ask for (sdk-wire 8).
func (a *Accounts) generateKey(ctx context.Context, q question) (any, error) {
	label, err := q.in.text("description")
	if err != nil {
		return nil, err
	}
	if err := a.roomForKey(ctx, q.Who.Ref); err != nil {
		return nil, err
	}
	secret, c, err := a.by(q, authz.SelfUpdate, iam.TeamRef{}).MintKey(ctx, q.Who.Ref, cmp.Or(label, unnamed))
	if err != nil {
		return nil, err
	}
	q.report(a, Event{Action: ActionKeyCreated, Subject: q.Who.Username, After: record(c.After)})
	return payload(q, "apiKey", func(fields []wandb.Field) any {
		return wandb.Select(fields, func(f wandb.Field) any {
			if f.Name == "name" {
				return secret.Reveal() // the one time
			}
			return keyField(*c.After, f.Name)
		})
	}), nil
}

// roomForKey bounds the keys that somebody makes by themselves to those that are listed.
func (a *Accounts) roomForKey(ctx context.Context, owner iam.PrincipalRef) error {
	n := 0
	err := a.Directory.Keys(ctx, owner, func(directory.Key) error {
		if n++; n == maxKeys {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		return iam.Conflictf("you have %d API keys, and may have no more: delete those that are not used", maxKeys)
	}
	return err
}

func keyField(k directory.Key, field string) any {
	switch field {
	case "__typename":
		return "ApiKey"
	case "id":
		return keyNode(k)
	case "name", "description":
		return k.Name
	case "createdAt":
		return k.Created
	default:
		return nil
	}
}

// keyNode is a key's id on the wire: it names the owner too, because ids of imported keys can meet.
func keyNode(k directory.Key) string {
	return wandb.FormatNodeID("ApiKey", k.Owner.String()+":"+string(k.ID))
}

func parseKeyNode(id string) (owner iam.PrincipalRef, key iam.KeyID, err error) {
	if rest, ok := wandb.ParseNodeID("ApiKey", id); ok {
		if i := strings.LastIndexByte(rest, ':'); i > 0 {
			if owner, err = iam.ParsePrincipalRef(rest[:i]); err == nil && owner.ID != "" {
				return owner, iam.KeyID(rest[i+1:]), nil
			}
		}
	}
	return iam.PrincipalRef{}, "", iam.Invalidf("the id is not that of an API key: ids stand in the field apiKeys of viewer and of users")
}

// deleteKey ends a key of the caller's own, or as an admin another's (KEY-15).
func (a *Accounts) deleteKey(ctx context.Context, q question) (any, error) {
	id, err := q.in.required("id")
	if err != nil {
		return nil, err
	}
	owner, key, err := parseKeyNode(id)
	if err != nil {
		return nil, err
	}
	needs, of := authz.SelfUpdate, iam.TeamRef{}
	if owner != q.Who.Ref {
		if q.Reason, needs, of, err = a.mayDeleteKeysOf(ctx, q.Who, owner); err != nil {
			return nil, err
		}
	}
	c, err := a.by(q, needs, of).DeleteKey(ctx, owner, key)
	if err != nil {
		return nil, err
	}
	q.report(a, Event{Action: ActionKeyDeleted, Subject: owner.String(), Before: record(c.Before)})
	return success(q), nil
}

// mayDeleteKeysOf: the organization's admins may, and of a team's service account the team's. Whether there is
// such a key is told to nobody else. It returns the permission by which they may, and its team.
func (a *Accounts) mayDeleteKeysOf(ctx context.Context, who *iam.Principal, owner iam.PrincipalRef) (iam.Reason, authz.Permission, iam.TeamRef, error) {
	reason, refused := a.decide(ctx, who, authz.OrganizationManage, "")
	if iam.KindOf(refused) != iam.KindDenied || owner.Kind != iam.KindServiceAccount {
		return reason, authz.OrganizationManage, iam.TeamRef{}, refused
	}
	p, err := a.Directory.Principal(ctx, owner)
	switch {
	case iam.KindOf(err) == iam.KindUnavailable:
		return "", "", iam.TeamRef{}, err
	case err != nil || p.Scope.ID == "":
		return "", "", iam.TeamRef{}, refused
	}
	reason, err = a.decide(ctx, who, authz.TeamManage, p.Scope.Name)
	if iam.KindOf(err) == iam.KindDenied {
		err = refused
	}
	return reason, authz.TeamManage, p.Scope, err
}

// Keys implements gateway.Accounts.
func (a *Accounts) Keys(ctx context.Context, who *iam.Principal, f wandb.Field) (json.RawMessage, error) {
	if err := checkFields(f.Fields); err != nil {
		return nil, err
	}
	return a.listKeys(ctx, who.Ref, f)
}

// maxKeys bounds how many keys of an owner are listed; `iam key list` shows all.
const maxKeys = 1000

// listKeys answers an owner's keys, never the keys themselves (KEY-2).
func (a *Accounts) listKeys(ctx context.Context, owner iam.PrincipalRef, f wandb.Field) (json.RawMessage, error) {
	var keys []directory.Key
	err := a.Directory.Keys(ctx, owner, func(k directory.Key) error {
		if len(keys) == maxKeys {
			return errEnough
		}
		keys = append(keys, k)
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return nil, err
	}
	slices.SortFunc(keys, func(a, b directory.Key) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return keyPage(keys).Select(f.Fields), nil
}

// keyPage lists keys. Clients delete by the name that they are shown: of several that are called alike, all but
// the first show their id too.
func keyPage(keys []directory.Key) wandb.Page[directory.Key] {
	shown := make(map[string]directory.Key, len(keys)) // by name
	for _, k := range keys {
		name := k.Name
		if _, taken := shown[name]; taken || name == "" {
			name = strings.TrimSpace(name + " (" + string(k.ID) + ")")
		}
		shown[name] = k
	}
	names := make(map[directory.Key]string, len(keys))
	for name, k := range shown {
		names[k] = name
	}
	return wandb.Page[directory.Key]{Items: keys, Node: func(k directory.Key, fields []wandb.Field) json.RawMessage {
		return wandb.Select(fields, func(f wandb.Field) any {
			if f.Name == "name" {
				return names[k]
			}
			return keyField(k, f.Name)
		})
	}}
}
