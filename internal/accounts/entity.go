package accounts

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// handOverFor is how long a new key waits for whoever made it (design section 6).
const handOverFor = 10 * time.Minute

// entityFields are what the record can say of an entity. What only the server knows, such as how much is
// stored, has the value that says nothing.
var entityFields = map[string]any{
	"__typename": nil, "id": nil, "name": nil, "isTeam": nil, "entityType": nil, "readOnly": nil, "members": nil,
	"available": false, "photoUrl": nil, "readOnlyAdmin": false, "privateOnly": false, "storageBytes": 0,
	"codeSavingEnabled": false, "defaultAccess": "PRIVATE", "isPaid": true, "limits": nil,
}

// asksForMembers reports whether an entity's selection asks for its members, and for nothing that the record
// cannot say.
func asksForMembers(r wandb.Root) bool {
	members := false
	for _, f := range r.Fields {
		if _, known := entityFields[f.Name]; !known {
			return false
		}
		members = members || f.Name == "members"
	}
	return members
}

// entityField answers what is the same for everybody who asks.
func entityField(team iam.TeamRef, field string) any {
	switch field {
	case "__typename":
		return "Entity"
	case "id":
		return wandb.FormatNodeID("Entity", string(team.ID))
	case "name":
		return team.Name
	case "isTeam":
		return true
	case "entityType":
		return "team"
	default:
		return entityFields[field]
	}
}

// entity answers a team with its members, or a personal entity with its person.
func (a *Accounts) entity(ctx context.Context, q question) (any, error) {
	name, err := q.in.required("name")
	if err != nil {
		return nil, err
	}
	facts, err := a.Directory.Facts(ctx, q.Who, name, "")
	if err != nil {
		return nil, err
	}
	if facts.Entity == nil { // deleted since the request was judged
		return nil, nil
	}
	ref := iam.TeamRef{ID: iam.TeamID(facts.Entity.ID), Name: facts.Entity.Name}
	_, isTeam := facts.Entity.ID.Team()
	members, err := a.members(ctx, facts, q.Alone && showsKeys(q.Root))
	if err != nil {
		return nil, err
	}
	return wandb.Select(q.Root.Fields, func(f wandb.Field) any {
		switch f.Name {
		case "readOnly":
			return !authz.Decide(authz.Request{Permission: authz.EntityWrite}, facts).Allowed()
		case "privateOnly":
			return facts.TeamSettings().PrivateProjects
		case "isTeam":
			return isTeam
		case "entityType":
			if !isTeam {
				return "user"
			}
		case "members":
			return answerMembers(members, f.Fields)
		}
		return entityField(ref, f.Name)
	}), nil
}

// Members implements gateway.Accounts. It shows no new key, which the answer around it could lose.
func (a *Accounts) Members(ctx context.Context, who *iam.Principal, entity string, f wandb.Field) (json.RawMessage, error) {
	if err := checkFields(f.Fields); err != nil {
		return nil, err
	}
	facts, err := a.Directory.Facts(ctx, who, entity, "")
	if err != nil {
		return nil, err
	}
	if facts.Entity == nil {
		return json.RawMessage("[]"), nil
	}
	members, err := a.members(ctx, facts, false)
	if err != nil {
		return nil, err
	}
	return json.Marshal(answerMembers(members, f.Fields))
}

func answerMembers(members []*member, fields []wandb.Field) []json.RawMessage {
	list := make([]json.RawMessage, len(members))
	for i, m := range members {
		list[i] = m.answer(fields)
	}
	return list
}

// member is somebody's place in a team.
type member struct {
	team           iam.TeamID
	who            iam.PrincipalRef
	username, name string
	email          string
	role           iam.Role
	// created orders service accounts. made is when the key was made that the caller has yet to see, and key
	// is that key: zero for everybody else.
	created, made time.Time
	key           iam.Secret
}

func (m *member) answer(fields []wandb.Field) json.RawMessage {
	service := m.who.Kind == iam.KindServiceAccount
	return wandb.Select(fields, func(f wandb.Field) any {
		switch f.Name {
		case "__typename":
			return "Member"
		case "id":
			return memberNode(m.team, m.who)
		case "admin":
			return m.role == iam.RoleAdmin
		case "role":
			return string(m.role)
		case "pending":
			return false
		case "email":
			return orNull(m.email)
		case "username":
			return m.username
		case "name":
			return cmp.Or(m.name, m.username)
		case "accountType":
			if service {
				return "SERVICE"
			}
			return "MEMBER"
		case "apiKey":
			if m.key.IsZero() {
				return nil
			}
			return m.key.Reveal() // the one time
		default:
			return nil
		}
	})
}

// members lists who is in a team: people by user name, then its service accounts in the order in which they
// were made, those last of which the caller is shown the key now, with handOver.
func (a *Accounts) members(ctx context.Context, facts authz.Facts, handOver bool) ([]*member, error) {
	team, isTeam := facts.Entity.ID.Team()
	if !isTeam {
		return a.owner(ctx, facts.Entity.ID)
	}
	list, err := a.people(ctx, team)
	if err != nil {
		return nil, err
	}
	accounts, err := a.accounts(ctx, team)
	if err != nil {
		return nil, err
	}
	// A key with limits is handed none without: who finds it must not come to more by it.
	handOver = handOver && facts.Principal.Limits == nil
	if handOver && authz.Decide(authz.Request{Permission: authz.TeamManage}, facts).Allowed() {
		if err := a.handOver(ctx, facts.Principal, team, accounts); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(accounts, func(a, b *member) int {
		return cmp.Or(a.made.Compare(b.made), a.created.Compare(b.created), cmp.Compare(a.username, b.username))
	})
	return append(list, accounts...), nil
}

// people are the persons in a team. They are read through the cache, for a team may have thousands.
func (a *Accounts) people(ctx context.Context, team iam.TeamID) ([]*member, error) {
	ids, err := a.Directory.MemberIDs(ctx, team)
	if err != nil {
		return nil, err
	}
	list := make([]*member, 0, len(ids))
	for _, id := range ids {
		p, err := a.Directory.Principal(ctx, id.Ref())
		switch {
		case iam.KindOf(err) == iam.KindUnauthenticated: // deleted meanwhile
			continue
		case err != nil:
			return nil, err
		}
		if m, in := p.Membership(team); in {
			list = append(list, ofPerson(team, p, m.Role))
		}
	}
	slices.SortFunc(list, func(a, b *member) int { return cmp.Compare(iam.FoldName(a.username), iam.FoldName(b.username)) })
	return list, nil
}

func ofPerson(team iam.TeamID, p *iam.Principal, role iam.Role) *member {
	return &member{team: team, who: p.Ref, username: p.Username, name: p.Name, email: p.Email, role: role}
}

// owner is the person of a personal entity.
func (a *Accounts) owner(ctx context.Context, id iam.EntityID) ([]*member, error) {
	user, ok := id.User()
	if !ok {
		return nil, nil
	}
	p, err := a.Directory.Principal(ctx, user.Ref())
	switch {
	case iam.KindOf(err) == iam.KindUnauthenticated: // deleted meanwhile
		return nil, nil
	case err != nil:
		return nil, err
	}
	return []*member{ofPerson(iam.TeamID(id), p, iam.RoleAdmin)}, nil
}

// accounts are the team's own service accounts. The organization's work in every team and are no team's.
func (a *Accounts) accounts(ctx context.Context, team iam.TeamID) ([]*member, error) {
	var list []*member
	err := a.Directory.ServiceAccounts(ctx, func(s *iam.ServiceAccount) error {
		if s.Team == team {
			list = append(list, &member{team: team, who: s.ID.Ref(), username: s.Name, role: iam.RoleMember, created: s.Created})
		}
		return nil
	})
	return list, err
}

// showsKeys reports whether a field asks for members' keys.
func showsKeys(entity wandb.Root) bool {
	return slices.ContainsFunc(entity.Fields, func(f wandb.Field) bool {
		return f.Name == "members" && slices.ContainsFunc(f.Fields, func(g wandb.Field) bool { return g.Name == "apiKey" })
	})
}

// handOver gives the caller the keys that wait for them, once.
func (a *Accounts) handOver(ctx context.Context, who *iam.Principal, team iam.TeamID, accounts []*member) error {
	if len(accounts) == 0 {
		return nil
	}
	taken, err := a.Directory.TakeHandovers(ctx, who.Ref, team)
	if err != nil {
		return err
	}
	for _, h := range taken {
		if err := a.show(h, accounts); err != nil {
			return err
		}
	}
	return nil
}

func (a *Accounts) show(h directory.Handover, accounts []*member) error {
	i := slices.IndexFunc(accounts, func(m *member) bool { return m.who == h.Account.Ref() })
	if i < 0 {
		return nil // deleted meanwhile
	}
	key, err := a.Master.Open(h.Sealed, h.Record)
	if err != nil {
		return err
	}
	defer clear(key)
	accounts[i].key, accounts[i].made = iam.NewSecret(string(key)), h.Made
	return nil
}
