package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// row is one thing of a directory file, in the file's own form: what a list shows can be imported.
type row map[string]any

// rows reads one list of the directory file.
func (s *Service) rows(ctx context.Context, list string) ([]row, error) {
	lists, err := s.lists(ctx)
	return lists[list], err
}

// lists reads the directory as a file, so that all of it is of one revision.
func (s *Service) lists(ctx context.Context) (map[string][]row, error) {
	var file bytes.Buffer
	if err := s.directory.Export(ctx, &file); err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(file.Bytes(), &members); err != nil {
		return nil, err
	}
	lists := make(map[string][]row)
	for name, raw := range members {
		if name == "organization" || name == "enforced" {
			continue
		}
		var list []row
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, err
		}
		lists[name] = list
	}
	return lists, nil
}

// only keeps the rows whose member is the name, without regard to case as names are compared; an
// empty name keeps all. Nothing found for a name is iam.KindNotFound.
func only(rows []row, member, name, what string) ([]row, error) {
	if name == "" {
		return append([]row{}, rows...), nil
	}
	found := []row{}
	for _, r := range rows {
		if value, _ := r[member].(string); iam.FoldName(value) == iam.FoldName(name) {
			found = append(found, r)
		}
	}
	if len(found) == 0 {
		return nil, iam.NotFoundf("there is no %s %q", what, name)
	}
	return found, nil
}

func (s *Service) listUsers(ctx context.Context, r request) (any, error) {
	lists, err := s.lists(ctx)
	if err != nil {
		return nil, err
	}
	users, err := only(lists["users"], "username", r.Target, "user")
	if err != nil {
		return nil, err
	}
	teams := teamsOf(lists["teams"])
	for _, user := range users {
		user["teams"] = teams[user["username"]]
	}
	return users, s.addAccounts(ctx, users)
}

// addAccounts says at which issuers people have accounts they sign in with. That is no part of the
// directory file: who imports it elsewhere binds people anew.
func (s *Service) addAccounts(ctx context.Context, users []row) error {
	issuers := make(map[string][]any)
	err := s.directory.Users(ctx, func(u *iam.User) error {
		for _, b := range u.Bindings {
			issuers[u.Username] = append(issuers[u.Username], b.Issuer)
		}
		return nil
	})
	for _, user := range users {
		name, _ := user["username"].(string)
		user["accounts"] = issuers[name]
	}
	return err
}

// teamsOf returns the memberships of each user by name, as rows of team and role.
func teamsOf(teams []row) map[any][]any {
	of := make(map[any][]any)
	for _, team := range teams {
		members, _ := team["members"].([]any)
		for _, m := range members {
			if member, ok := m.(map[string]any); ok {
				user := member["user"]
				of[user] = append(of[user], map[string]any{"team": team["name"], "role": member["role"]})
			}
		}
	}
	return of
}

func (s *Service) listTeams(ctx context.Context, r request) (any, error) {
	rows, err := s.rows(ctx, "teams")
	if err != nil {
		return nil, err
	}
	return only(rows, "name", r.Target, "team")
}

// listProjects takes no name, an entity's, or ENTITY/NAME.
func (s *Service) listProjects(ctx context.Context, r request) (any, error) {
	lists, err := s.lists(ctx)
	if err != nil {
		return nil, err
	}
	found, err := projectsNamed(lists["projects"], r.Target)
	if err != nil {
		return nil, err
	}
	addTeamRoles(found, lists["teams"])
	return found, s.addOwnerStates(ctx, found)
}

func projectsNamed(rows []row, target string) ([]row, error) {
	entity, name, one := strings.Cut(target, "/")
	if !one {
		return only(rows, "entity", entity, "project in the entity")
	}
	found := []row{}
	for _, row := range rows {
		if e, _ := row["entity"].(string); iam.FoldName(e) == iam.FoldName(entity) && row["name"] == name {
			found = append(found, row)
		}
	}
	if len(found) == 0 {
		return nil, iam.NotFoundf("there is no project %q", target)
	}
	return found, nil
}

// addTeamRoles says beside the project role of each member, if they have one, which role they have in the team: the
// two differ where both stand (PROLE-8). Service accounts work as members.
func addTeamRoles(projects, teams []row) {
	of := teamsOf(teams)
	for _, project := range projects {
		members, _ := project["members"].([]any)
		for _, m := range members {
			member, _ := m.(map[string]any)
			if _, ok := member["service_account"]; ok {
				member["team_role"] = iam.RoleMember
			}
			for _, place := range of[member["user"]] {
				if place, ok := place.(map[string]any); ok && place["team"] == project["entity"] {
					member["team_role"] = place["role"]
				}
			}
		}
	}
}

// addOwnerStates says of the projects of teams whether their owner is there (VIS-12), and names one who left: the
// file for import leaves them out.
func (s *Service) addOwnerStates(ctx context.Context, projects []row) error {
	at := make(map[string]row, len(projects))
	for _, project := range projects {
		at[fmt.Sprint(project["entity"], "/", project["name"])] = project
	}
	teams := map[iam.EntityID]string{}
	err := s.directory.Teams(ctx, func(t *iam.Team) error {
		teams[t.ID.Entity()] = t.Name
		return nil
	})
	if err != nil {
		return err
	}
	return s.directory.OwnerStates(ctx, func(p *iam.Project, state directory.OwnerState) error {
		project := at[teams[p.Entity]+"/"+p.Name]
		if project == nil {
			return nil
		}
		project["owner_state"] = state
		if state != directory.OwnerLeft || p.Owner.Kind != iam.KindUser {
			return nil
		}
		u, err := s.directory.User(ctx, iam.UserID(p.Owner.ID))
		if err == nil {
			project["owner"] = u.Username
		}
		if iam.KindOf(err) == iam.KindNotFound {
			err = nil // deleted meanwhile
		}
		return err
	})
}

func (s *Service) listServiceAccounts(ctx context.Context, r request) (any, error) {
	rows, err := s.rows(ctx, "service_accounts")
	if err != nil {
		return nil, err
	}
	if rows, err = only(rows, "name", r.Target, "service account"); err != nil {
		return nil, err
	}
	if team := text(r.Team); team != "" {
		if _, err := s.team(ctx, team); err != nil {
			return nil, err
		}
		rows = slices.DeleteFunc(rows, func(r row) bool {
			name, _ := r["team"].(string)
			return iam.FoldName(name) != iam.FoldName(team)
		})
	}
	return rows, s.addUses(ctx, rows)
}

// addUses says of service accounts of which kind they are, when they were made, how many keys they have, and when the last
// of those was used. That is no part of the directory file. What several reads find of one account may be of several
// moments.
func (s *Service) addUses(ctx context.Context, accounts []row) error {
	known := make(map[iam.PrincipalRef]row, len(accounts))
	named := make(map[string]row, len(accounts))
	for _, a := range accounts {
		a["keys"] = 0
		name, _ := a["name"].(string)
		named[name] = a
	}
	err := s.directory.ServiceAccounts(ctx, func(a *iam.ServiceAccount) error {
		r, ok := named[a.Name]
		if !ok {
			return nil
		}
		known[a.ID.Ref()] = r
		r["created"] = a.Created
		switch {
		case a.Federated():
			r["kind"] = "external"
		case a.Team != "":
			r["kind"] = "team"
		default:
			r["kind"] = "organization"
		}
		return nil
	})
	if err != nil {
		return err
	}
	count := func(k directory.Key) error {
		r, ok := known[k.Owner]
		if !ok {
			return nil
		}
		n, _ := r["keys"].(int)
		r["keys"] = n + 1
		if last, _ := r["last_used"].(time.Time); k.LastUsed.After(last) {
			r["last_used"] = k.LastUsed
		}
		return nil
	}
	if len(known) != 1 {
		return s.directory.UsedKeys(ctx, iam.PrincipalRef{}, count)
	}
	for ref := range known {
		err = s.directory.UsedKeys(ctx, ref, count)
	}
	return err
}

func (s *Service) listRoles(ctx context.Context, r request) (any, error) {
	rows, err := s.rows(ctx, "custom_roles")
	if err != nil {
		return nil, err
	}
	return only(rows, "name", r.Target, "custom role")
}
