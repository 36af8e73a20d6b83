package gateway

import (
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// answerViewer answers `viewer` from the gateway's own record (sdk-wire sections 7 and 8). A field
// it does not know is null, which every client takes for "nothing there"; the error of a real server
// would make old clients fall back to requests that fail in other ways.
//
// apiKeys answers the field of that name.
func answerViewer(p *iam.Principal, fields []wandb.Field, apiKeys func(wandb.Field) json.RawMessage) json.RawMessage {
	return wandb.Select(fields, func(f wandb.Field) any {
		switch f.Name {
		case "__typename":
			return "User"
		case "id":
			return wandb.FormatNodeID("User", p.Ref.ID)
		case "username", "entity", "email", "name":
			return viewerText(p, f.Name)
		case "admin":
			return p.IsUser() && p.Role == iam.OrganizationAdmin && (p.Limits == nil || !p.Limits.Scoped() && !p.Limits.ReadOnly)
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
			return wandb.Page[iam.TeamRef]{Items: viewerTeams(p), Node: answerTeam}.Select(f.Fields)
		case "apiKeys":
			return apiKeys(f)
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
	return wandb.Select(fields, func(f wandb.Field) any {
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
	return wandb.Select(fields, func(f wandb.Field) any {
		switch f.Name {
		case "__typename":
			return "Entity"
		case "id":
			return wandb.FormatNodeID("Entity", string(t.ID))
		case "name":
			return t.Name
		case "isTeam":
			return true
		default:
			return nil
		}
	})
}
