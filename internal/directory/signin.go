package directory

import (
	"context"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// A person is a verified e-mail address, bound at the first sign-in to one account (issuer and
// subject) of each authority. From then on that account counts and the address does not: whoever gets
// the address later, or renames another account to it, is not taken for its first bearer.

// The reasons for refusing a sign-in, beside ReasonDeactivated.
const (
	ReasonEmailMissing    iam.Reason = "email_missing"
	ReasonEmailUnusable   iam.Reason = "email_unusable"
	ReasonEmailUnverified iam.Reason = "email_unverified"
	ReasonEmailTaken      iam.Reason = "email_taken"
	ReasonOtherSubject    iam.Reason = "other_subject"
	ReasonNotProvisioned  iam.Reason = "not_provisioned"
	ReasonUsernameIllegal iam.Reason = "username_illegal"
	ReasonUsernameTaken   iam.Reason = "username_taken"
)

// SignIn is what an authority proved about somebody who signs in, and what may follow from it.
type SignIn struct {
	// Issuer and Subject name the account at the authority. They are compared as exact bytes, of at
	// most 1024 each.
	Issuer, Subject string
	// Email is the account's address. EmailRefuted is true when the authority says that nobody proved
	// it; an authority that says nothing (Entra) is believed.
	Email        string
	EmailRefuted bool
	// Username and Name are what the authority calls the person; both may be empty.
	Username, Name string
	// Groups are the names of the person's groups. Unless GroupsKnown they mean nothing.
	Groups      []string
	GroupsKnown bool

	// Provision lets in who is not in the directory, as a new member (JOIN-4, ENV-1). The first person of
	// all is let in without it.
	Provision bool
	// GroupSync makes the person's teams those that Groups name (ENV-3, ENV-5).
	GroupSync bool
	// ForceNames makes Username the user name of newcomers, and Name everybody's full name (ENV-7).
	ForceNames bool
	// Domains say which teams newcomers join by their address (JOIN-6..9).
	Domains []Domain
}

// Domain is an e-mail domain of the organization.
type Domain struct {
	// Name is compared with all that stands behind the @, without regard to case.
	Name string
	// DefaultTeam is the name of the team that newcomers join as members; may be empty (JOIN-7).
	DefaultTeam string
	// Choose are the names of the teams that newcomers are offered (JOIN-9).
	Choose []string
}

// SignedIn is what became of a sign-in.
type SignedIn struct {
	// User is the person as recorded now. Its Epoch goes into the session.
	User *iam.User
	// Created is true for a newcomer, Bound when the account was bound by this sign-in.
	Created, Bound bool
	// Joined and Left are the teams that the sign-in made a difference to.
	Joined, Left []iam.TeamRef
	// Unknown are names of groups and of a domain's teams that no team bears, for the log.
	Unknown []string
	// Offered are the teams that a newcomer may join with JoinTeams.
	Offered []iam.TeamRef
}

// SignIn finds, or makes, the person who signs in, in one change that is made wholly or not at all.
//
// Who may not enter is iam.KindDenied with a reason that says what to do; iam.KindUnavailable means
// that the store did not answer, and decides nothing.
func (d *Directory) SignIn(ctx context.Context, s SignIn) (*SignedIn, error) {
	if err := s.valid(); err != nil {
		return nil, err
	}
	var done *SignedIn
	err := d.change(ctx, func(tx *transaction) (err error) {
		done, err = tx.signIn(&s)
		return err
	})
	if err != nil {
		return nil, err
	}
	return done, nil
}

func (s *SignIn) valid() error {
	for what, text := range map[string]string{"the issuer of the sign-in": s.Issuer, "the subject of the sign-in": s.Subject} {
		if err := plain(what, text, maxAssertionBytes); err != nil {
			return err
		}
	}
	switch {
	case s.Email == "":
		return refuse(ReasonEmailMissing, "Your account at the sign-in service has no e-mail address, by which you are known here. Ask the people who keep it to add one, and to let this service see it (scope email).")
	case !validEmail(s.Email):
		return refuse(ReasonEmailUnusable, "The e-mail address of your account at the sign-in service cannot be used here: it has to be one address in plain ASCII. Ask the people who keep the account to correct it.")
	case s.EmailRefuted:
		return refuse(ReasonEmailUnverified, "The sign-in service says that the e-mail address of your account is not verified. Verify it there, then sign in again.")
	}
	return nil
}

func refuse(reason iam.Reason, message string) error {
	return &iam.Error{Kind: iam.KindDenied, Reason: reason, Message: message}
}

func (tx *transaction) signIn(s *SignIn) (*SignedIn, error) {
	done := new(SignedIn)
	u, err := tx.whoSignsIn(s, done)
	if err != nil {
		return nil, err
	}
	if s.ForceNames && !done.Created {
		if name := fullName(s.Name); name != "" && name != u.Name {
			u.Name = name
			if err := tx.putUser(u); err != nil {
				return nil, err
			}
		}
	}
	if err := tx.teamsAtSignIn(u.ID, s, done); err != nil {
		return nil, err
	}
	done.User, err = tx.user(u.ID)
	return done, err
}

// whoSignsIn finds the person by account, then by address, and makes a new one if that is allowed.
func (tx *transaction) whoSignsIn(s *SignIn, done *SignedIn) (*iam.User, error) {
	account := iam.Binding{Issuer: s.Issuer, Subject: s.Subject}
	bound, err := load[iam.UserID](tx, tx.d.names.binding(account))
	if err != nil {
		return nil, err
	}
	owner, err := load[emailRecord](tx, tx.d.names.email(s.Email))
	switch {
	case err != nil:
		return nil, err
	case bound != nil:
		return tx.returning(*bound, owner)
	case owner != nil:
		return tx.bind(owner, account, done)
	}
	if err := tx.mayCome(s); err != nil {
		return nil, err
	}
	return tx.newcomer(s, account, done)
}

// mayCome refuses a newcomer where nobody is added by signing in. The first person of a directory comes
// in all the same: somebody must be able to add the others (ORG-1).
func (tx *transaction) mayCome(s *SignIn) error {
	if s.Provision {
		return nil
	}
	first, err := tx.noUsers()
	if err != nil || first {
		return err
	}
	return refuse(ReasonNotProvisioned, "You proved who you are, but you are not a user here, and users are not added by signing in. Ask an organization admin to add you with the e-mail address "+s.Email+".")
}

// returning is a person whose account is bound already. Another address there changes nothing here,
// unless it is somebody else's: then one of the two records is wrong, and which cannot be told.
func (tx *transaction) returning(id iam.UserID, owner *emailRecord) (*iam.User, error) {
	u, err := tx.foundUser(id)
	switch {
	case err != nil:
		return nil, err
	case owner != nil && owner.User != id:
		return nil, refuse(ReasonEmailTaken, "Your account at the sign-in service now has the e-mail address of another user here, so you could be mistaken for each other. Ask an organization admin to correct the addresses.")
	}
	return u, mayEnter(u)
}

// bind ties the person who has the address to the account, for good.
func (tx *transaction) bind(owner *emailRecord, account iam.Binding, done *SignedIn) (*iam.User, error) {
	u, err := tx.foundUser(owner.User)
	if err != nil {
		return nil, err
	}
	if owner.Reserved {
		return nil, refuse(ReasonEmailTaken, "A user here has your e-mail address as user name but not as address, so it is not certain that this is you. Ask an organization admin to set the e-mail address of the user "+u.Username+".")
	}
	if err := mayEnter(u); err != nil {
		return nil, err
	}
	if _, other := u.Binding(account.Issuer); other {
		return nil, refuse(ReasonOtherSubject, "Your e-mail address belongs to a user here who signs in with another account of the same sign-in service. If it is yours and was made anew, ask an organization admin to release the old one; if not, sign in with your own.")
	}
	u.Bindings = append(u.Bindings, account)
	done.Bound = true
	if err := tx.put(tx.d.names.binding(account), u.ID); err != nil {
		return nil, err
	}
	return u, tx.putUser(u)
}

// foundUser returns a person that another record names. If they are not there, they were deleted
// between the two reads: the change is decided again.
func (tx *transaction) foundUser(id iam.UserID) (*iam.User, error) {
	u, err := load[iam.User](tx, tx.d.names.user(id))
	if err == nil && u == nil {
		err = store.ErrConflict
	}
	return u, err
}

func mayEnter(u *iam.User) error {
	if u.Active {
		return nil
	}
	return refuse(ReasonDeactivated, "The user "+u.Username+" is deactivated. An organization admin can reactivate it.")
}

// Unbind releases a person from their account at an issuer: the next sign-in with their address binds
// another. Sessions and access tokens end, for they may be of the account that no longer counts. A
// person who is not bound there is left alone.
func (d *Directory) Unbind(ctx context.Context, id iam.UserID, issuer string) (Change[iam.User], error) {
	var c Change[iam.User]
	err := d.change(ctx, func(tx *transaction) (err error) {
		if c.Before, err = tx.user(id); err != nil {
			return err
		}
		if c.After, err = tx.user(id); err != nil {
			return err
		}
		account, ok := c.After.Binding(issuer)
		if !ok {
			return nil
		}
		c.After.Bindings = slices.DeleteFunc(c.After.Bindings, func(b iam.Binding) bool { return b == account })
		c.After.Epoch++
		if err := tx.delete(tx.d.names.binding(account)); err != nil {
			return err
		}
		return tx.putUser(c.After)
	})
	return c, err
}

// fullName returns as much of a name as can be recorded: a name is for people to read, and no reason
// to keep somebody out.
func fullName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '\uFFFD' {
			return -1
		}
		return r
	}, name)
	if len(name) > maxLabelBytes {
		name = strings.ToValidUTF8(name[:maxLabelBytes], "")
	}
	return strings.TrimSpace(name)
}
