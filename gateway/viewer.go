package gateway

import (
	"encoding/base64"
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// answerViewer answers `viewer` from the gateway's own record (sdk-wire sections 7 and 8). A field
// it does not know is null, which every client takes for "nothing there"; the error of a real server
// would make old clients fall back to requests that fail in other ways.
func answerViewer(p *iam.Principal, fields []wandb.Field) json.RawMessage {
	return selectFields(fields, func(f wandb.Field) any {
		switch f.Name {
		case "__typename":
			return "User"
		case "id":
			return nodeID("User", p.Ref.ID)
		case "username", "entity", "email", "name":
			return viewerText(p, f.Name)
		case "admin":
			return p.IsUser() && p.Role == iam.OrganizationAdmin
		case "flags":
			return "{}"
		case "accountType":
			if p.IsServiceAccount() {
				return "SERVICE"
			}
			return "USER"
		case "defaultEntity":
			return answerDefaultEntity(p, f.Fields)
		case "teams":
			return connection(f, viewerTeams(p), answerTeam)
		case "apiKeys":
			return connection[iam.TeamRef](f, nil, answerTeam) // keys are listed by `iam key list`
		default:
			return nil
		}
	})
}

func viewerText(p *iam.Principal, field string) any {
	var value string
	switch field {
	case "username":
		value = p.Username
	case "entity":
		value = p.DefaultEntity
	case "email":
		value = p.Email
	case "name":
		if value = p.Name; value == "" {
			value = p.Username // non-null for wandb.Api()
		}
	}
	if value == "" {
		return nil
	}
	return value
}

// answerDefaultEntity is what the Weave client reads its entity from.
func answerDefaultEntity(p *iam.Principal, fields []wandb.Field) any {
	if p.DefaultEntity == "" {
		return nil
	}
	return selectFields(fields, func(f wandb.Field) any {
		if f.Name == "name" {
			return p.DefaultEntity
		}
		return nil
	})
}

// viewerTeams are the teams that count as the caller's own.
func viewerTeams(p *iam.Principal) []iam.TeamRef {
	if p.IsServiceAccount() {
		if p.Scope.ID == "" {
			return nil
		}
		return []iam.TeamRef{p.Scope}
	}
	teams := make([]iam.TeamRef, len(p.Teams))
	for i := range p.Teams {
		teams[i] = p.Teams[i].TeamRef
	}
	return teams
}

func answerTeam(t iam.TeamRef, fields []wandb.Field) json.RawMessage {
	return selectFields(fields, func(f wandb.Field) any {
		switch f.Name {
		case "__typename":
			return "Entity"
		case "id":
			return nodeID("Entity", string(t.ID))
		case "name":
			return t.Name
		case "isTeam":
			return true
		default:
			return nil
		}
	})
}

// connection answers a list in the form edges{node}, pageInfo, totalCount.
func connection[T any](f wandb.Field, items []T, node func(T, []wandb.Field) json.RawMessage) json.RawMessage {
	return selectFields(f.Fields, func(f wandb.Field) any {
		switch f.Name {
		case "edges":
			edges := make([]json.RawMessage, 0, len(items))
			for _, item := range items {
				edges = append(edges, selectFields(f.Fields, func(f wandb.Field) any {
					if f.Name == "node" {
						return node(item, f.Fields)
					}
					return nil
				}))
			}
			return edges
		case "pageInfo":
			return selectFields(f.Fields, func(f wandb.Field) any {
				if f.Name == "hasNextPage" || f.Name == "hasPreviousPage" {
					return false
				}
				return nil
			})
		case "totalCount":
			return len(items)
		default:
			return nil
		}
	})
}

// selectFields builds an object of the selected fields in their order.
func selectFields(fields []wandb.Field, value func(wandb.Field) any) json.RawMessage {
	b := []byte{'{'}
	for i, f := range fields {
		if i > 0 {
			b = append(b, ',')
		}
		key, _ := json.Marshal(f.ResponseKey) // a string always marshals
		b = append(b, key...)
		b = append(b, ':')
		v, err := json.Marshal(value(f))
		if err != nil {
			v = []byte("null")
		}
		b = append(b, v...)
	}
	return append(b, '}')
}

// nodeID is a GraphQL id in W&B's form (SCOPE-12).
func nodeID(kind, id string) string {
	return base64.StdEncoding.EncodeToString([]byte(kind + ":" + id))
}
