package directory

import (
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Names and addresses are unique because each is a record of its own: who creates it first has it.

// ReasonTaken is the reason for refusing a name or an address that somebody else has.
const ReasonTaken iam.Reason = "taken"

func takenf(format string, args ...any) error {
	return &iam.Error{Kind: iam.KindConflict, Reason: ReasonTaken, Message: fmt.Sprintf(format, args...)}
}

// claimEmails records that the person's address is theirs, and keeps others from having an address
// that reads like the person's user name.
func (tx *transaction) claimEmails(u *iam.User) error {
	if validEmail(u.Username) {
		if err := tx.claimEmail(u, u.Username, iam.FoldName(u.Username) != iam.FoldName(u.Email)); err != nil {
			return err
		}
	}
	if u.Email == "" {
		return nil
	}
	return tx.claimEmail(u, u.Email, false)
}

func (tx *transaction) claimEmail(u *iam.User, address string, reserved bool) error {
	key := tx.d.names.email(address)
	was, err := load[emailRecord](tx, key)
	if err != nil {
		return err
	}
	if was != nil && was.User != u.ID {
		return takenf("the e-mail address %s is taken by another user, as address or as user name (case does not count)", address)
	}
	return tx.put(key, emailRecord{User: u.ID, Reserved: reserved})
}

func (tx *transaction) releaseEmails(u *iam.User) error {
	for _, address := range []string{u.Email, u.Username} {
		if !validEmail(address) {
			continue
		}
		key := tx.d.names.email(address)
		was, err := load[emailRecord](tx, key)
		if err != nil {
			return err
		}
		if was == nil || was.User != u.ID {
			continue
		}
		if err := tx.delete(key); err != nil {
			return err
		}
	}
	return nil
}

// claimName gives a name to a team or a person.
func (tx *transaction) claimName(id iam.EntityID, name string) error {
	key := tx.d.names.entityName(name)
	was, err := load[nameRecord](tx, key)
	if err != nil {
		return err
	}
	r := nameRecord{ID: id, Name: name}
	if was != nil {
		_, person := id.User()
		switch _, team := was.entity().Team(); {
		case was.entity() != "" && team:
			return takenf("the name %s is taken by a team: teams and people share their names, as both stand first in a project's path; choose another", name)
		case was.entity() != "":
			return takenf("the name %s is taken by a user (case does not count): choose another", name)
		case was.ServiceAccount != "" && person:
			return takenf("the name %s is taken by a service account: a user of that name would be mistaken for it; choose another", name)
		}
		r.ServiceAccount = was.ServiceAccount
		if was.Retired {
			if err := tx.inherit(was.ID, id); err != nil {
				return err
			}
		}
	}
	return tx.put(key, r)
}

// releaseName takes a name from a team or a person. If projects stay behind, the name remembers it.
func (tx *transaction) releaseName(name string, retired bool) error {
	key := tx.d.names.entityName(name)
	r, err := load[nameRecord](tx, key)
	switch {
	case err != nil || r == nil:
		return err
	case retired:
		r.Retired = true
	case r.ServiceAccount != "":
		r.ID, r.Name = "", ""
	default:
		return tx.delete(key)
	}
	return tx.put(key, r)
}

// inherit gives the projects of a deleted entity to the one that now bears its name. The paths are
// the same, so the deployment behind the gateway would show the old projects to the newcomer: they
// become Restricted, without owner or members, until an organization admin opens them.
func (tx *transaction) inherit(from, to iam.EntityID) error {
	keys, err := tx.list(tx.d.names.projectsOf(from))
	if err != nil {
		return err
	}
	for _, key := range keys {
		p, err := load[iam.Project](tx, key)
		if err != nil {
			return err
		}
		if err := tx.deleteProject(p); err != nil {
			return err
		}
		closed := &iam.Project{ID: iam.NewProjectID(), Entity: to, Name: p.Name, Created: p.Created}
		if err := tx.putProject(closed); err != nil {
			return err
		}
	}
	return nil
}

func (tx *transaction) claimServiceAccountName(a *iam.ServiceAccount) error {
	key := tx.d.names.entityName(a.Name)
	r, err := load[nameRecord](tx, key)
	if err != nil {
		return err
	}
	if r == nil {
		r = new(nameRecord)
	}
	if _, person := r.entity().User(); person {
		return takenf("the name %s is taken by a user: a service account of that name would be mistaken for them; choose another", a.Name)
	}
	if r.ServiceAccount != "" {
		return takenf("the name %s is taken by another service account (case does not count): choose another", a.Name)
	}
	r.ServiceAccount = a.ID
	return tx.put(key, r)
}

func (tx *transaction) releaseServiceAccountName(a *iam.ServiceAccount) error {
	key := tx.d.names.entityName(a.Name)
	r, err := load[nameRecord](tx, key)
	if err != nil || r == nil {
		return err
	}
	r.ServiceAccount = ""
	if r.ID == "" {
		return tx.delete(key)
	}
	return tx.put(key, r)
}
