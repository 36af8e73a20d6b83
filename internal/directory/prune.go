package directory

import (
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// prune deletes what the file does not name, in those lists that it has; first what belongs to
// others, so that a team goes after its projects.
func (im *importer) prune() error {
	for _, step := range []struct {
		list  string
		prune func() error
	}{
		{"api_keys", im.pruneKeys},
		{"projects", im.pruneProjects},
		{"service_accounts", im.pruneServiceAccounts},
		{"teams", im.pruneTeams},
		{"users", im.pruneUsers},
		{"custom_roles", im.pruneRoles},
	} {
		if !im.have[step.list] {
			continue
		}
		err := step.prune()
		if err != nil && !refusal(err) {
			return err
		}
		if err != nil {
			im.refuse("pruning "+step.list, err)
		}
	}
	return nil
}

func (im *importer) pruneKeys() error {
	prefix := im.tx.d.names.key
	keys, err := im.tx.list(prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		sum := key[len(prefix):]
		if im.has("api_key", sum) {
			continue
		}
		r, err := load[keyRecord](im.tx, key)
		if err != nil {
			return err
		}
		if err := im.tx.deleteKey(sum, r); err != nil {
			return err
		}
		im.deleted("api_key", string(r.ID))
	}
	return nil
}

func (im *importer) pruneProjects() error {
	keys, err := im.tx.list(im.tx.d.names.space + "project/")
	if err != nil {
		return err
	}
	for _, key := range keys {
		p, err := load[iam.Project](im.tx, key)
		if err != nil {
			return err
		}
		entity, err := im.tx.entityNameOf(p.Entity)
		if err != nil {
			return err
		}
		if entity == "" || im.has("project", iam.FoldName(entity)+"/"+p.Name) {
			continue // "": left behind by somebody who was deleted
		}
		if err := im.tx.deleteProject(p); err != nil {
			return err
		}
		im.deleted("project", entity+"/"+p.Name)
	}
	return nil
}

func (im *importer) pruneServiceAccounts() error {
	keys, err := im.tx.list(im.tx.d.names.space + "sa/")
	if err != nil {
		return err
	}
	for _, key := range keys {
		a, err := load[iam.ServiceAccount](im.tx, key)
		if err != nil {
			return err
		}
		if im.has("service_account", iam.FoldName(a.Name)) {
			continue
		}
		if err := im.tx.deleteServiceAccount(a.ID); err != nil {
			return err
		}
		im.deleted("service_account", a.Name)
	}
	return nil
}

func (im *importer) pruneTeams() error {
	keys, err := im.tx.list(im.tx.d.names.space + "team/")
	if err != nil {
		return err
	}
	for _, key := range keys {
		t, err := load[iam.Team](im.tx, key)
		if err != nil {
			return err
		}
		if im.has("team", iam.FoldName(t.Name)) {
			continue
		}
		if err := im.tx.deleteTeam(t.ID); err != nil {
			return err
		}
		im.deleted("team", t.Name)
	}
	return nil
}

func (im *importer) pruneUsers() error {
	keys, err := im.tx.list(im.tx.d.names.space + "user/")
	if err != nil {
		return err
	}
	for _, key := range keys {
		u, err := load[iam.User](im.tx, key)
		if err != nil {
			return err
		}
		if im.has("user", iam.FoldName(u.Username)) {
			continue
		}
		if err := im.tx.deleteUser(u.ID); err != nil {
			return err
		}
		im.deleted("user", u.Username)
	}
	return nil
}

func (im *importer) pruneRoles() error {
	roles, err := im.tx.roles()
	if err != nil {
		return err
	}
	for _, role := range slices.Clone(roles.Roles) {
		if im.has("custom_role", role.Name) {
			continue
		}
		if _, err := im.tx.deleteRole(iam.Role(role.Name)); err != nil {
			return err
		}
		im.deleted("custom_role", role.Name)
	}
	return nil
}

// pruneMembers takes everybody out of a team whom the file's list does not name.
func (im *importer) pruneMembers(team iam.TeamID, kept []iam.UserID) error {
	prefix := im.tx.d.names.membersOf(team)
	keys, err := im.tx.list(prefix)
	if err != nil {
		return err
	}
	for _, key := range keys {
		user := iam.UserID(key[len(prefix):])
		if slices.Contains(kept, user) {
			continue
		}
		if _, err := im.tx.removeMember(team, user); err != nil {
			return err
		}
	}
	return nil
}

// entityNameOf returns the name of a team or person; "" when it was deleted.
func (tx *transaction) entityNameOf(id iam.EntityID) (string, error) {
	if team, ok := id.Team(); ok {
		t, err := load[iam.Team](tx, tx.d.names.team(team))
		if err != nil || t == nil {
			return "", err
		}
		return t.Name, nil
	}
	user, _ := id.User()
	u, err := load[iam.User](tx, tx.d.names.user(user))
	if err != nil || u == nil {
		return "", err
	}
	return u.Username, nil
}
