package directory

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
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
	// ExternalID, GivenName, FamilyName, EmailForm and RegistryRoles are kept for whoever provisions people.
	ExternalID, GivenName, FamilyName string
	EmailForm                         *iam.EmailForm
	RegistryRoles                     []iam.RegistryRole
	// AdminIfFirst makes the person an organization admin when the directory has no users yet
	// (ORG-1): whoever signs in first can administer.
	AdminIfFirst bool
	// OwnTeams says that the person's teams come from elsewhere, so that they join none automatically.
	OwnTeams bool
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
	// ExternalID, GivenName, FamilyName, EmailForm and RegistryRoles are kept for whoever provisions people.
	ExternalID, GivenName, FamilyName *string
	EmailForm                         *iam.EmailForm
	RegistryRoles                     *[]iam.RegistryRole
	// TeamRoles are new roles in teams that the person is in.
	TeamRoles map[iam.TeamID]iam.Role
}

// CreateUser adds a person, who becomes a member of the teams that newcomers join (TEAM-12). A user name or e-mail address that is taken is iam.KindConflict.
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

// SetUser changes a person. Deactivating suspends the person's keys at once and ends sessions and
// access tokens for good; the organization's last active admin can be neither deactivated nor demoted
// (ORG-9, reason last_admin).
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

// DeleteUser removes a person with their keys, also that of the W&B server, memberships and invitations. A person added again
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

// standingUser is user for changes that would be wrong if the person were deleted meanwhile; it
// guards as standingTeam does.
func (tx *transaction) standingUser(id iam.UserID) (*iam.User, error) {
	u, err := tx.user(id)
	if err != nil {
		return nil, err
	}
	return u, tx.guardName(u.Username, id.PersonalEntity())
}

func (tx *transaction) putUser(u *iam.User) error {
	if err := tx.countAdmin(u.ID, u.Active && u.Role == iam.OrganizationAdmin); err != nil {
		return err
	}
	return tx.writeUser(u)
}

// writeUser stages a person's record, with the time of the change if it is one.
func (tx *transaction) writeUser(u *iam.User) error {
	key := tx.d.names.user(u.ID)
	was, err := tx.fetch(key)
	if err != nil {
		return err
	}
	if was != nil {
		same, err := json.Marshal(u)
		if err != nil {
			return fmt.Errorf("encoding record %q: %w", key, err)
		}
		if !bytes.Equal(was, same) {
			u.Modified = tx.d.created()
		}
	}
	return tx.put(key, u)
}

func (tx *transaction) createUser(n NewUser) (*iam.User, error) {
	u := &iam.User{
		ID: iam.NewUserID(), Username: n.Username, Email: n.Email, Name: n.Name,
		Role: orElse(n.Role, iam.OrganizationMember), BillingAdmin: n.BillingAdmin,
		ModelsSeat: orElse(n.ModelsSeat, iam.SeatFull), WeaveSeat: orElse(n.WeaveSeat, iam.SeatFull),
		Active: !n.Inactive, Created: tx.d.created(),
		ExternalID: n.ExternalID, GivenName: n.GivenName, FamilyName: n.FamilyName, EmailForm: n.EmailForm, RegistryRoles: n.RegistryRoles,
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
	if err := tx.indexExternalID(u.ID, "", u.ExternalID); err != nil {
		return nil, err
	}
	if !n.OwnTeams {
		if err := tx.joinAutomatically(u); err != nil {
			return nil, err
		}
	}
	return u, tx.putUser(u)
}

func (tx *transaction) setUser(id iam.UserID, c UserChange) (*iam.User, error) {
	u, err := tx.user(id)
	if err != nil {
		return nil, err
	}
	emailBefore, activeBefore, externalBefore := u.Email, u.Active, u.ExternalID
	set(&u.Email, c.Email)
	set(&u.Name, c.Name)
	set(&u.Role, c.Role)
	set(&u.BillingAdmin, c.BillingAdmin)
	set(&u.ModelsSeat, c.ModelsSeat)
	set(&u.WeaveSeat, c.WeaveSeat)
	set(&u.Active, c.Active)
	set(&u.DefaultTeam, c.DefaultTeam)
	set(&u.ExternalID, c.ExternalID)
	set(&u.GivenName, c.GivenName)
	set(&u.FamilyName, c.FamilyName)
	set(&u.RegistryRoles, c.RegistryRoles)
	if c.EmailForm != nil {
		u.EmailForm = c.EmailForm
	}
	if err := validUser(u); err != nil {
		return nil, err
	}
	if _, ok := u.Membership(u.DefaultTeam); u.DefaultTeam != "" && !ok {
		return nil, iam.Invalidf("the default team of %s must be one of the teams they are in", u.Username)
	}
	if activeBefore && !u.Active {
		tx.goes(id.Ref(), u.Username, teamsOf(u))
		u.Epoch++
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
	if err := tx.indexExternalID(id, externalBefore, u.ExternalID); err != nil {
		return nil, err
	}
	if err := tx.putUser(u); err != nil || len(c.TeamRoles) == 0 {
		return u, err
	}
	return tx.setTeamRoles(u, c.TeamRoles)
}

// setTeamRoles changes a person's roles in teams that they are in; it adds them to none.
func (tx *transaction) setTeamRoles(u *iam.User, roles map[iam.TeamID]iam.Role) (*iam.User, error) {
	for team, role := range roles {
		if _, ok := u.Membership(team); !ok {
			return nil, iam.Invalidf("%s is not in a team for which a role was given: add them to the team first", u.Username)
		}
		if _, err := tx.setMember(team, u.ID, role); err != nil {
			return nil, err
		}
	}
	return tx.user(u.ID)
}

func (tx *transaction) deleteUser(id iam.UserID) error {
	u, err := tx.standingUser(id)
	if err != nil {
		return err
	}
	if err := tx.billsNobody(u); err != nil {
		return err
	}
	tx.goes(id.Ref(), u.Username, teamsOf(u))
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
	if err := tx.delete(tx.d.names.upstreamKey(id.PersonalEntity())); err != nil {
		return err
	}
	if err := tx.releaseEmails(u); err != nil {
		return err
	}
	if err := tx.indexExternalID(id, u.ExternalID, ""); err != nil {
		return err
	}
	for _, m := range u.Teams {
		if err := tx.touchGroup(m.Team); err != nil {
			return err
		}
	}
	for _, b := range u.Bindings {
		if err := tx.delete(tx.d.names.binding(b)); err != nil {
			return err
		}
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

// ReasonBillingAdmin is the reason for refusing to delete who pays for others.
const ReasonBillingAdmin iam.Reason = "billing_admin"

// billsNobody refuses the deletion of a billing admin while there are others in the organization (ORG-8): those
// whom the same change deletes before count as gone.
func (tx *transaction) billsNobody(u *iam.User) error {
	if !u.BillingAdmin {
		return nil
	}
	errOthers := &iam.Error{Kind: iam.KindConflict, Reason: ReasonBillingAdmin,
		Message: u.Username + " is billing admin of an organization with other members and cannot be deleted: make somebody else billing admin (`iam user set NAME --billing-admin`), and " + u.Username + " none (`--billing-admin=false`)"}
	return tx.d.scan(tx.ctx, tx.d.names.space+"user/", func(r store.Record) error {
		if value, staged := tx.staged[r.Key]; r.Key == tx.d.names.user(u.ID) || staged && value == nil {
			return nil
		}
		return errOthers
	})
}
