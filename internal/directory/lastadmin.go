package directory

import (
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// ReasonLastAdmin is the reason for refusing what would leave the organization without an admin.
const ReasonLastAdmin iam.Reason = "last_admin"

// noUsers reports whether the directory is empty of people. Two who are first at the same moment
// meet on the record of admins: one of them is decided again, and is second. Whoever finds somebody there
// cannot be first, and depends on nothing: on a company's first day hundreds come at the same moment.
func (tx *transaction) noUsers() (bool, error) {
	if err := tx.guard(tx.d.names.admins); err != nil {
		return false, err
	}
	page, err := tx.d.cache.Store().List(tx.ctx, tx.d.names.space+"user/", "", 1)
	if err != nil {
		return false, unreadable(err)
	}
	if len(page) > 0 {
		delete(tx.guards, tx.d.names.admins)
	}
	return len(page) == 0, nil
}

// countAdmin notes whether the person is an active admin. The record is written once, at the end.
func (tx *transaction) countAdmin(id iam.UserID, admin bool) error {
	if tx.admins == nil {
		was, err := load[adminsRecord](tx, tx.d.names.admins)
		if err != nil {
			return err
		}
		tx.admins = map[iam.UserID]bool{}
		if was != nil {
			for _, id := range was.Users {
				tx.admins[id] = true
			}
		}
		tx.hadAdmins = len(tx.admins) > 0
	}
	if admin {
		tx.admins[id] = true
	} else {
		delete(tx.admins, id)
	}
	return nil
}

// keepAnAdmin stages the record of admins, and refuses to leave the organization without one that
// had one (ORG-9). Two admins who demote each other meet on the record: the second is refused.
func (tx *transaction) keepAnAdmin() error {
	if tx.admins == nil {
		return nil
	}
	if tx.hadAdmins && len(tx.admins) == 0 {
		return &iam.Error{Kind: iam.KindConflict, Reason: ReasonLastAdmin,
			Message: "this would leave the organization without an active admin: make somebody else an admin first"}
	}
	r := adminsRecord{Users: []iam.UserID{}}
	for id := range tx.admins {
		r.Users = append(r.Users, id)
	}
	if !tx.hadAdmins && len(r.Users) == 0 {
		return nil
	}
	slices.Sort(r.Users)
	return tx.put(tx.d.names.admins, r)
}
