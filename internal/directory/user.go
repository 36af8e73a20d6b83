package directory

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Change is what an administrative call did, for audit events: Before is nil for what was created,
// After for what was deleted.
type Change[T any] struct {
	Before, After *T
}

// NewUser describes a person to be added.
type NewUser struct {
	// Username is unique among people, teams and service accounts without regard to case.
	Username string
	// Email is unique without regard to case; may be empty.
	Email string
	// Name is the full name; may be empty.
	Name string
	// Role is the organization role; "" means member (JOIN-4).
	Role         iam.OrganizationRole
	BillingAdmin bool
	// The seats; "" means full (SEAT-5).
	ModelsSeat, WeaveSeat iam.Seat
	// Inactive adds the person deactivated.
	Inactive bool
	// AdminIfFirst makes the person an organization admin when the directory has no users yet
	// (ORG-1): whoever signs in first can administer.
	AdminIfFirst bool
}

// UserChange is what to change about a person; nil leaves it.
type UserChange struct {
	Email, Name           *string
	Role                  *iam.OrganizationRole
	BillingAdmin          *bool
	ModelsSeat, WeaveSeat *iam.Seat
	Active                *bool
	// DefaultTeam is one of the person's teams, or "" for none.
	DefaultTeam *iam.TeamID
}

// CreateUser adds a person. A user name or e-mail address that is taken is iam.KindConflict.
func (d *Directory) CreateUser(ctx context.Context, n NewUser) (Change[iam.User], error) {
	var c Change[iam.User]
	err := d.change(ctx, func(tx *transaction) (err error) {
		c.After, err = tx.createUser(n)
		return err
	})
	return c, err
}

// User returns a person as recorded. An unknown id is iam.KindNotFound.
func (d *Directory) User(ctx context.Context, id iam.UserID) (*iam.User, error) {
	return get[iam.User](ctx, d, d.names.user(id), "user", string(id))
}

// Users calls f with every person, in no useful order, until it returns an error, which is returned.
func (d *Directory) Users(ctx context.Context, f func(*iam.User) error) error {
	return each(ctx, d, d.names.space+"user/", f)
}

// SetUser changes a person. Deactivating suspends the person's keys at once; the organization's
// last active admin can be neither deactivated nor demoted (ORG-9, reason last_admin).
func (d *Directory) SetUser(ctx context.Context, id iam.UserID, change UserChange) (Change[iam.User], error) {
	var c Change[iam.User]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.user(id); err != nil {
			return err
		}
		c.After, err = tx.setUser(id, change)
		return err
	})
	return c, err
}

// DeleteUser removes a person with their keys, memberships and invitations. A person added again
// under the same name is a new one, with a new id. Personal projects stay recorded, closed to
// everybody: whoever gets the name next does not get them (threat Z10).
func (d *Directory) DeleteUser(ctx context.Context, id iam.UserID) (Change[iam.User], error) {
	var c Change[iam.User]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.user(id); err != nil {
			return err
		}
		return tx.deleteUser(id)
	})
	return c, err
}

// user returns a fresh copy of a person that must be there.
func (tx *transaction) user(id iam.UserID) (*iam.User, error) {
	u, err := load[iam.User](tx, tx.d.names.user(id))
	if err == nil && u == nil {
		return nil, iam.NotFoundf("there is no user %q: the id is wrong, or the user was deleted", id)
	}
	return u, err
}

func (tx *transaction) putUser(u *iam.User) error {
	if err := tx.countAdmin(u.ID, u.Active && u.Role == iam.OrganizationAdmin); err != nil {
		return err
	}
	return tx.put(tx.d.names.user(u.ID), u)
}

func (tx *transaction) createUser(n NewUser) (*iam.User, error) {
	u := &iam.User{
		ID: iam.NewUserID(), Username: n.Username, Email: n.Email, Name: n.Name,
		Role: orElse(n.Role, iam.OrganizationMember), BillingAdmin: n.BillingAdmin,
		ModelsSeat: orElse(n.ModelsSeat, iam.SeatFull), WeaveSeat: orElse(n.WeaveSeat, iam.SeatFull),
		Active: !n.Inactive, Created: tx.d.created(),
	}
	if err := validUser(u); err != nil {
		return nil, err
	}
	if n.AdminIfFirst {
		first, err := tx.noUsers()
		if err != nil {
			return nil, err
		}
		if first {
			u.Role = iam.OrganizationAdmin
		}
	}
	if err := tx.claimName(u.ID.PersonalEntity(), u.Username); err != nil {
		return nil, err
	}
	if err := tx.claimEmails(u); err != nil {
		return nil, err
	}
	return u, tx.putUser(u)
}

// noUsers reports whether the directory is empty of people. Two who are first at the same moment
// meet on the record of admins: one of them is decided again, and is second.
func (tx *transaction) noUsers() (bool, error) {
	page, err := tx.d.cache.Store().List(tx.ctx, tx.d.names.space+"user/", "", 1)
	if err != nil {
		return false, unreadable(err)
	}
	return len(page) == 0, tx.guard(tx.d.names.admins)
}

func (tx *transaction) setUser(id iam.UserID, c UserChange) (*iam.User, error) {
	u, err := tx.user(id)
	if err != nil {
		return nil, err
	}
	emailBefore := u.Email
	set(&u.Email, c.Email)
	set(&u.Name, c.Name)
	set(&u.Role, c.Role)
	set(&u.BillingAdmin, c.BillingAdmin)
	set(&u.ModelsSeat, c.ModelsSeat)
	set(&u.WeaveSeat, c.WeaveSeat)
	set(&u.Active, c.Active)
	set(&u.DefaultTeam, c.DefaultTeam)
	if err := validUser(u); err != nil {
		return nil, err
	}
	if _, ok := u.Membership(u.DefaultTeam); u.DefaultTeam != "" && !ok {
		return nil, iam.Invalidf("the default team of %s must be one of the teams they are in", u.Username)
	}
	if u.Role == iam.OrganizationViewer {
		if err := tx.withoutCustomRoles(u); err != nil {
			return nil, err
		}
	}
	if iam.FoldName(u.Email) != iam.FoldName(emailBefore) {
		if err := tx.releaseEmails(&iam.User{ID: u.ID, Username: u.Username, Email: emailBefore}); err != nil {
			return nil, err
		}
		if err := tx.claimEmails(u); err != nil {
			return nil, err
		}
	}
	return u, tx.putUser(u)
}

func (tx *transaction) deleteUser(id iam.UserID) error {
	u, err := tx.user(id)
	if err != nil {
		return err
	}
	for _, m := range u.Teams {
		if err := tx.delete(tx.d.names.member(m.Team, id)); err != nil {
			return err
		}
	}
	if err := tx.uninvite(id.Ref(), func(*iam.Project) bool { return true }); err != nil {
		return err
	}
	if err := tx.deleteKeysOf(id.Ref()); err != nil {
		return err
	}
	if err := tx.releaseEmails(u); err != nil {
		return err
	}
	projects, err := tx.list(tx.d.names.projectsOf(id.PersonalEntity()))
	if err != nil {
		return err
	}
	if err := tx.releaseName(u.Username, len(projects) > 0); err != nil {
		return err
	}
	if err := tx.countAdmin(id, false); err != nil {
		return err
	}
	return tx.delete(tx.d.names.user(id))
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
		return iam.Conflictf("the e-mail address %s is taken by another user, as address or as user name (case does not count)", address)
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
			return iam.Conflictf("the name %s is taken by a team: teams and people share their names, as both stand first in a project's path; choose another", name)
		case was.entity() != "":
			return iam.Conflictf("the name %s is taken by a user (case does not count): choose another", name)
		case was.ServiceAccount != "" && person:
			return iam.Conflictf("the name %s is taken by a service account: a user of that name would be mistaken for it; choose another", name)
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

// ReasonLastAdmin is the reason for refusing what would leave the organization without an admin.
const ReasonLastAdmin iam.Reason = "last_admin"

func validUser(u *iam.User) error {
	if err := validName("user name", u.Username); err != nil {
		return err
	}
	if u.Email != "" && !validEmail(u.Email) {
		return iam.Invalidf("%q is not an e-mail address: use ASCII characters with one @, at most %d", clip(u.Email), maxEmailBytes)
	}
	if err := validLabel("name", u.Name); err != nil {
		return err
	}
	if _, err := iam.ParseOrganizationRole(string(u.Role)); err != nil {
		return err
	}
	for _, seat := range []iam.Seat{u.ModelsSeat, u.WeaveSeat} {
		if _, err := iam.ParseSeat(string(seat)); err != nil {
			return err
		}
	}
	return nil
}

func validName(what, name string) error {
	if iam.ValidName(name) {
		return nil
	}
	return iam.Invalidf("%s %q is not a name: use 1 to 128 of letters, digits and . _ @ -", what, clip(name))
}

// maxLabelBytes bounds text that only people read: full names, labels of keys.
const maxLabelBytes = 256

func validLabel(what, label string) error {
	if len(label) > maxLabelBytes || strings.ContainsFunc(label, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' }) {
		return iam.Invalidf("%s %q is not plain text of at most %d bytes", what, clip(label), maxLabelBytes)
	}
	return nil
}

// clip bounds what a message quotes.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// created is the time that goes into records: whole seconds, so that it survives any format.
func (d *Directory) created() time.Time { return d.now().UTC().Truncate(time.Second) }

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func orElse[T comparable](v, otherwise T) T {
	if v == *new(T) {
		return otherwise
	}
	return v
}
