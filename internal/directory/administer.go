package directory

import (
	"context"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// What the SDK's administration asks for differs from other administration in that names are not given but
// found, and in that what is there already is an error and no success.

// AddPerson adds a person of whom only the e-mail address is known, under a user name made of it as at
// sign-in. An address that is taken is iam.KindConflict.
func (d *Directory) AddPerson(ctx context.Context, email string, role iam.OrganizationRole) (Change[iam.User], error) {
	var c Change[iam.User]
	err := d.change(ctx, func(tx *transaction) error {
		if !validEmail(email) {
			return iam.Invalidf("%q is not an e-mail address: use ASCII characters with one @, at most %d", untrusted.Clip(email), maxEmailBytes)
		}
		local, _, _ := strings.Cut(email, "@")
		username, err := tx.freeUsername(legalUsername(local))
		if err != nil {
			return err
		}
		c.After, err = tx.createUser(NewUser{Username: username, Email: email, Role: role})
		return err
	})
	return c, err
}

// AddMember adds a person to a team. Who is in it already keeps their role and is iam.KindConflict: of two
// admins who add somebody at the same moment, one is told.
func (d *Directory) AddMember(ctx context.Context, team iam.TeamID, user iam.UserID, role iam.Role) (Change[Membership], error) {
	var c Change[Membership]
	err := d.change(ctx, func(tx *transaction) error {
		u, err := tx.user(user)
		if err != nil {
			return err
		}
		if m, in := u.Membership(team); in {
			return iam.Conflictf("%s is in the team already, with the role %s", u.Username, m.Role)
		}
		c, err = tx.setMember(team, user, role)
		return err
	})
	return c, err
}

// MemberIDs returns the ids of the people in a team, for those that read the people themselves through the
// cache. Whoever leaves at the same moment may still be among them.
func (d *Directory) MemberIDs(ctx context.Context, team iam.TeamID) ([]iam.UserID, error) {
	prefix := d.names.membersOf(team)
	keys, err := d.reading(ctx).list(prefix)
	ids := make([]iam.UserID, len(keys))
	for i, key := range keys {
		ids[i] = iam.UserID(key[len(prefix):])
	}
	return ids, err
}

// NewAccountWithKey describes a service account of a team that is made together with its first key.
type NewAccountWithKey struct {
	Team iam.TeamID
	// Description is what people call it; its name is made of that, with a suffix if that is taken.
	Description string
	// KeyName is the key's label.
	KeyName string
	// HandOver says who is to be given the key; nobody if it names nobody.
	HandOver HandOver
}

// AccountWithKey is what was made.
type AccountWithKey struct {
	Account *iam.ServiceAccount
	Key     *Key
}

// CreateAccountWithKey adds a service account of a team with its first key, whole or not at all. The key
// is given to nobody but by TakeHandovers.
func (d *Directory) CreateAccountWithKey(ctx context.Context, n NewAccountWithKey) (Change[AccountWithKey], error) {
	if !strings.ContainsFunc(n.Description, legalInNames) {
		return Change[AccountWithKey]{}, iam.Invalidf("a service account needs a description with letters or digits (a to z, 0 to 9), of which its name is made: say what it is for, such as ci-model-training")
	}
	if err := validLabel("description", n.Description); err != nil {
		return Change[AccountWithKey]{}, err
	}
	secret := mint()
	var c Change[AccountWithKey]
	err := d.change(ctx, func(tx *transaction) error {
		name, err := tx.freeUsername(legalUsername(n.Description))
		if err != nil {
			return err
		}
		account, err := tx.createServiceAccount(NewServiceAccount{Name: name, Team: n.Team})
		if err != nil {
			return err
		}
		key, err := tx.mintKey(NewKey{Owner: account.ID.Ref(), Name: n.KeyName}, secret)
		if err != nil {
			return err
		}
		c.After = &AccountWithKey{account, key.After}
		return tx.handOver(n.HandOver, account, secret)
	})
	return c, err
}

// legalInNames reports whether a character is a letter or digit that a name may have.
func legalInNames(r rune) bool {
	return r < 0x80 && iam.ValidName(string(r)) && !strings.ContainsRune("_@-", r)
}
