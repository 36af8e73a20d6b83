package accounts

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// createTeam makes a team whose admin is the person named, else the caller.
func (a *Accounts) createTeam(ctx context.Context, q question) (any, error) {
	name, err := q.in.required("teamName")
	if err != nil {
		return nil, err
	}
	adminName, err := q.in.text("teamAdminUserName")
	if err != nil {
		return nil, err
	}
	admin := iam.UserID(q.Who.Ref.ID) // only people create teams (ORG-12)
	if adminName != "" {
		if admin, err = a.person(ctx, adminName, ""); err != nil {
			return nil, err
		}
	}
	if admin.Ref() == q.Who.Ref {
		if err := a.mayEnterNewTeam(ctx, q.Who, name); err != nil {
			return nil, err
		}
	}
	first := directory.TeamMember{User: admin, Role: iam.RoleAdmin}
	c, err := a.by(q, authz.TeamCreate, iam.TeamRef{}).CreateTeam(ctx, name, first)
	if err != nil {
		return nil, err
	}
	q.report(a, Event{Action: ActionTeamCreated, Team: c.After.Name, After: madeTeam{c.After, []directory.TeamMember{first}}})
	o, err := a.Directory.OrganizationSettings(ctx)
	if err != nil {
		return nil, err
	}
	return payload(q, "entity", func(fields []wandb.Field) any {
		return wandb.Select(fields, func(f wandb.Field) any {
			if f.Name == "privateOnly" {
				return o.Enforced.Over(c.After.Settings).PrivateProjects
			}
			return entityField(iam.TeamRef{ID: c.After.ID, Name: name}, f.Name)
		})
	}), nil
}

// mayEnterNewTeam: organization admins may be kept from giving themselves a place in a team, and a new one is
// no exception (ENV-9); whoever else may make teams is to work in them.
func (a *Accounts) mayEnterNewTeam(ctx context.Context, who *iam.Principal, name string) error {
	if who.Role != iam.OrganizationAdmin {
		return nil
	}
	facts, err := a.Directory.Facts(ctx, who, "", "")
	if err != nil {
		return err
	}
	facts.Entity = &iam.Entity{ID: iam.NewTeamID().Entity(), Name: name}
	_, err = verdict(authz.TeamJoin, facts, name)
	return err
}

// person finds somebody by user name or by address.
func (a *Accounts) person(ctx context.Context, username, email string) (id iam.UserID, err error) {
	named := username
	if email != "" {
		named = email
		id, err = a.Directory.FindUserByEmail(ctx, email)
	}
	if id == "" && err == nil { // the SDK takes whatever has an @ for an address, and user names may have one
		id, err = a.Directory.FindUser(ctx, named)
	}
	if id == "" && err == nil {
		err = iam.NotFoundf("there is no user %q: an organization admin adds people first", untrusted.Clip(named))
	}
	return id, err
}

// createInvite makes a person of the organization a member of a team, at once.
func (a *Accounts) createInvite(ctx context.Context, q question) (any, error) {
	team, err := a.namedTeam(ctx, q)
	if err != nil {
		return nil, err
	}
	username, err := q.in.text("username")
	if err != nil {
		return nil, err
	}
	email, err := q.in.text("email")
	if err != nil {
		return nil, err
	}
	admin, err := q.in.truth("admin")
	if err != nil {
		return nil, err
	}
	if (username == "") == (email == "") {
		return nil, iam.Invalidf("name whom to invite, by email or by username, and not by both")
	}
	user, err := a.person(ctx, username, email)
	if err != nil {
		return nil, err
	}
	needs := authz.TeamInvite
	if admin {
		needs = authz.TeamManage
	}
	if user.Ref() == q.Who.Ref {
		needs = authz.TeamJoin
		if q.Reason, err = a.decide(ctx, q.Who, authz.TeamJoin, team.Name); err != nil {
			return nil, err
		}
	}
	role := iam.RoleMember
	if admin {
		role = iam.RoleAdmin
	}
	c, err := a.by(q, needs, team).AddMember(ctx, team.ID, user, role)
	if err != nil {
		return nil, err
	}
	q.report(a, Event{Action: ActionInvited, Team: team.Name, Subject: user.Ref().String(), Before: record(c.Before), After: record(c.After)})
	u, err := a.Directory.User(ctx, user)
	if err != nil {
		return nil, err
	}
	return payload(q, "invite", func(fields []wandb.Field) any { return a.invitation(team, u, fields) }), nil
}

// invitation answers an invitation that is accepted already.
func (a *Accounts) invitation(team iam.TeamRef, u *iam.User, fields []wandb.Field) json.RawMessage {
	return wandb.Select(fields, func(f wandb.Field) any {
		switch f.Name {
		case "__typename":
			return "Invite"
		case "id":
			return memberNode(team.ID, u.ID.Ref())
		case "name", "email":
			return userField(u, f.Name)
		case "createdAt":
			return a.Now().UTC().Format("2006-01-02T15:04:05")
		case "toUser":
			return answerUser(u, f.Fields)
		default:
			return nil
		}
	})
}

// namedTeam finds the team of entityName.
func (a *Accounts) namedTeam(ctx context.Context, q question) (iam.TeamRef, error) {
	name, err := q.in.required("entityName")
	if err != nil {
		return iam.TeamRef{}, err
	}
	return a.team(ctx, name)
}

// memberNode is the id of somebody's place in a team. It names both: deleteInvite is judged by the team that it
// names beside the id, and the two must agree.
func memberNode(team iam.TeamID, who iam.PrincipalRef) string {
	return wandb.FormatNodeID("Member", string(team)+":"+who.String())
}

func parseMemberNode(id string) (team iam.TeamID, who iam.PrincipalRef, err error) {
	if rest, ok := wandb.ParseNodeID("Member", id); ok {
		if first, second, ok := strings.Cut(rest, ":"); ok && first != "" {
			if who, err = iam.ParsePrincipalRef(second); err == nil && who.ID != "" {
				return iam.TeamID(first), who, nil
			}
		}
	}
	return "", iam.PrincipalRef{}, iam.Invalidf("the id is not that of a member: ids stand in the field members of the team")
}

// deleteInvite takes a person out of a team, or deletes a service account of the team with its keys.
func (a *Accounts) deleteInvite(ctx context.Context, q question) (any, error) {
	team, err := a.namedTeam(ctx, q)
	if err != nil {
		return nil, err
	}
	id, err := q.in.required("id")
	if err != nil {
		return nil, err
	}
	of, who, err := parseMemberNode(id)
	if err != nil {
		return nil, err
	}
	if of != team.ID {
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: wandb.ReasonIDMismatch,
			Message: "the id is that of a member of another team than " + team.Name + ", which the request names"}
	}
	if who.Kind == iam.KindServiceAccount {
		return a.deleteAccount(ctx, q, team, iam.ServiceAccountID(who.ID))
	}
	c, err := a.by(q, authz.TeamManage, team).RemoveMember(ctx, team.ID, iam.UserID(who.ID))
	if err != nil {
		return nil, err
	}
	q.report(a, Event{Action: ActionUninvited, Team: team.Name, Subject: who.String(), Before: record(c.Before), After: record(c.After)})
	return success(q), nil
}

func (a *Accounts) deleteAccount(ctx context.Context, q question, team iam.TeamRef, id iam.ServiceAccountID) (any, error) {
	account, err := a.Directory.ServiceAccount(ctx, id)
	if err != nil {
		return nil, err
	}
	if account.Team != team.ID { // which it never changes
		return nil, iam.NotFoundf("the service account is not one of the team %s", team.Name)
	}
	c, err := a.by(q, authz.TeamManage, team).DeleteServiceAccount(ctx, id)
	if err != nil {
		return nil, err
	}
	q.report(a, Event{Action: ActionAccountDeleted, Team: team.Name, Subject: account.Name, Before: record(c.Before)})
	return success(q), nil
}

// createServiceAccount makes a service account of a team with a first key, which waits for the caller's next
// look at the team (sdk-wire 8).
func (a *Accounts) createServiceAccount(ctx context.Context, q question) (any, error) {
	team, err := a.namedTeam(ctx, q)
	if err != nil {
		return nil, err
	}
	description, err := q.in.required("description")
	if err != nil {
		return nil, err
	}
	c, err := a.by(q, authz.TeamCreateServiceAcc, team).CreateAccountWithKey(ctx, directory.NewAccountWithKey{
		Team: team.ID, Description: description, KeyName: unnamed,
		HandOver: directory.HandOver{To: q.Who.Ref, Until: a.Now().Add(handOverFor), Seal: a.seal},
	})
	if err != nil {
		return nil, err
	}
	made := c.After.Account
	q.report(a, Event{Action: ActionAccountCreated, Team: team.Name, Subject: made.Name, Vague: iam.VagueName(made.Name), After: record(made)})
	q.report(a, Event{Action: ActionKeyCreated, Team: team.Name, Subject: made.Name, After: record(c.After.Key)})
	return payload(q, "user", func(fields []wandb.Field) any {
		return wandb.Select(fields, func(f wandb.Field) any {
			switch f.Name {
			case "__typename":
				return "User"
			case "id":
				return wandb.FormatNodeID("User", string(made.ID))
			case "username", "name":
				return made.Name
			case "admin":
				return false
			case "accountType":
				return "SERVICE"
			default:
				return nil
			}
		})
	}), nil
}

// seal seals a key for its place on the way.
func (a *Accounts) seal(secret iam.Secret, record string) ([]byte, error) {
	return a.Master.Seal([]byte(secret.Reveal()), record)
}
