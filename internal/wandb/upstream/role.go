package upstream

import (
	"context"
	"errors"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// memberWordings ask for the roles in a team. Keys of service accounts stand in the same list and
// are not asked for.
var memberWordings = []string{
	`query GatewayMembers($entity: String!) { entity(name: $entity) { members { username admin role } } }`,
	`query GatewayMembers($entity: String!) { entity(name: $entity) { members { username admin } } }`,
}

// needsRole reports whether the member list says something that is not clear already. It can be
// long, so it is not asked for where the server says that the asker does not administer the team
// and whether they may write.
func (d *Directory) needsRole(s *shown, p *iam.Principal) bool {
	if s.place == nil || p == nil || p.Username == "" {
		return false
	}
	if _, member := p.Membership(TeamID(s.place.entity)); !member {
		return false
	}
	return s.readOnlyAdmin != yes || s.readOnly == untold
}

// role returns the asker's role in a team and since when that is known; "" when the server does
// not tell.
func (d *Directory) role(ctx context.Context, who asker, p *iam.Principal, team string) (iam.Role, time.Duration, error) {
	key := digestOf(purposeRole, who.digest[:], team, p.Username)
	stamp := d.epochs.stamp(team, "")
	look := func(ctx context.Context) answer[iam.Role] {
		role, err := d.askRole(ctx, who, p.Username, team)
		return answer[iam.Role]{value: role, err: err}
	}
	e, due, ok := d.roles.peek(key, stamp)
	if due {
		d.roles.refresh(key, stamp, look)
	}
	if ok {
		return e.value, e.asOf, e.err
	}
	known := d.roles.now()
	role, err := d.roles.fetch(ctx, key, stamp, look)
	if e, _, ok = d.roles.peek(key, stamp); ok {
		known = e.asOf // older, if the look-up was somebody else's
	}
	return role, known, err
}

func (d *Directory) askRole(ctx context.Context, who asker, username, team string) (iam.Role, error) {
	r, err := d.ask(ctx, who, &d.questions.members, map[string]string{"entity": team})
	switch {
	case errors.Is(err, errTooLarge), errors.Is(err, errUnknownField), errors.Is(err, errForbidden), errors.Is(err, errNotFound):
		return "", nil // the server does not tell, and will not the next time
	case errors.Is(err, errRefused):
		return "", d.refused(who, err)
	case err != nil:
		return "", err
	}
	entity, err := rootOf[struct {
		Members []member `json:"members"`
	}](r, "entity")
	if err != nil {
		return "", d.unavailable("answered only half of who is in the team", err, 0)
	}
	if entity == nil {
		return "", nil
	}
	return roleOf(entity.Members, username), nil
}

type member struct {
	Username string `json:"username"`
	Admin    bool   `json:"admin"`
	Role     string `json:"role"`
}

// roleOf finds a person's role in a member list. Two rows of one name tell nothing. A role that is
// not one of the predefined is a custom one: what it adds is not told, so it counts as its base as
// far as readOnly shows that.
func roleOf(members []member, username string) iam.Role {
	var found *member
	for i := range members {
		if members[i].Username != username {
			continue
		}
		if found != nil {
			return ""
		}
		found = &members[i]
	}
	if found == nil {
		return ""
	}
	role, err := iam.ParseRole(found.Role)
	switch {
	case err == nil && role == iam.RoleViewer:
		return iam.RoleViewer
	case found.Admin || err == nil && role == iam.RoleAdmin:
		return iam.RoleAdmin
	case err == nil && role == iam.RoleMember:
		return iam.RoleMember
	default:
		return ""
	}
}
