package directory

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// newcomer adds the person who signs in: as a member with full seats (JOIN-4), or as admin if there
// is nobody yet (ORG-1).
func (tx *transaction) newcomer(s *SignIn, account iam.Binding, done *SignedIn) (*iam.User, error) {
	username, err := tx.newUsername(s)
	if err != nil {
		return nil, err
	}
	u, err := tx.createUser(NewUser{Username: username, Email: s.Email, Name: fullName(s.Name), AdminIfFirst: true,
		OwnTeams: s.GroupSync && s.GroupsKnown, // of whom groups are the full truth (ENV-20)
	})
	if err != nil {
		return nil, err
	}
	for _, m := range u.Teams {
		if err := tx.tellTeams([]Change[Membership]{{After: &Membership{m.Team, u.ID, m.Role}}}, done); err != nil {
			return nil, err
		}
	}
	u.Bindings = []iam.Binding{account}
	done.Created, done.Bound = true, true
	if err := tx.put(tx.d.names.binding(account), u.ID); err != nil {
		return nil, err
	}
	return u, tx.putUser(u)
}

// newUsername is the local part of the address, made legal and unique; or, with ForceNames, what the
// authority says, or nothing.
func (tx *transaction) newUsername(s *SignIn) (string, error) {
	if !s.ForceNames {
		local, _, _ := strings.Cut(s.Email, "@")
		return tx.freeUsername(legalUsername(local))
	}
	if !forcedUsername(s.Username) {
		return "", refuse(ReasonUsernameIllegal, "Your user name at the sign-in service (preferred_username) is to be your user name here, and cannot: it has to have 1 to 128 letters, digits, _ and - only. Ask the people who keep the account to change it, or an organization admin to add you under another name.")
	}
	free, err := tx.usernameFree(s.Username)
	if err == nil && !free {
		err = refuse(ReasonUsernameTaken, "Your user name at the sign-in service is to be your user name here, but a user, team or service account has it already. Ask an organization admin to add you under another name.")
	}
	return s.Username, err
}

// forcedUsername is the grammar of ENV-7: narrower than iam.ValidName.
func forcedUsername(name string) bool {
	return iam.ValidName(name) && !strings.ContainsAny(name, ".@")
}

// legalUsername makes a user name of an address's local part: what no name may have becomes a hyphen.
func legalUsername(local string) string {
	name := strings.Map(func(r rune) rune {
		if iam.ValidName(string(r)) || r == '.' {
			return r
		}
		return '-'
	}, local)
	name = strings.Trim(name[:min(len(name), maxUsernameBytes)], "-.")
	if name == "" {
		return "user"
	}
	return name
}

const (
	// maxUsernameBytes leaves room for a suffix.
	maxUsernameBytes = 100
	// maxSuffix is how far suffixes are counted; beyond it they are drawn.
	maxSuffix = 50
)

// freeUsername returns the name, or the first of name-2, name-3, ... that is free.
func (tx *transaction) freeUsername(name string) (string, error) {
	for n := 1; n <= maxSuffix; n++ {
		candidate := name
		if n > 1 {
			candidate += "-" + strconv.Itoa(n)
		}
		if free, err := tx.usernameFree(candidate); err != nil || free {
			return candidate, err
		}
	}
	var random [6]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	return name + "-" + hex.EncodeToString(random[:]), nil
}

// usernameFree reports whether nobody and nothing bears the name, nor somebody whose projects it would
// bring back: a name that is given without anybody choosing it must not be one that the server behind
// the gateway knows as somebody else's.
func (tx *transaction) usernameFree(name string) (bool, error) {
	r, err := tx.nameRecord(name)
	return err == nil && r == nil, err
}

// teamsAtSignIn makes the person's teams what the authority and the domain say. Groups that are synced
// are the full truth: beside them a domain's teams would be left again at the next sign-in.
func (tx *transaction) teamsAtSignIn(id iam.UserID, s *SignIn, done *SignedIn) error {
	if s.GroupSync && s.GroupsKnown {
		changes, unknown, err := tx.syncTeams(id, s.Groups)
		if err != nil {
			return err
		}
		done.Unknown = unknown
		return tx.tellTeams(changes, done)
	}
	if !done.Created {
		return nil // invited people do not join the default team (JOIN-7)
	}
	_, host, _ := strings.Cut(s.Email, "@")
	for _, domain := range s.Domains {
		if iam.FoldName(domain.Name) == iam.FoldName(host) {
			return tx.joinDomain(id, domain, done)
		}
	}
	return nil
}

// joinDomain makes a newcomer a member of the domain's default team, and notes which teams to offer.
func (tx *transaction) joinDomain(id iam.UserID, domain Domain, done *SignedIn) error {
	u, err := tx.user(id)
	if err != nil || tx.barred(u) {
		return err
	}
	if domain.DefaultTeam != "" {
		team, err := tx.knownTeam(domain.DefaultTeam, done)
		if err != nil {
			return err
		}
		if team.ID != "" && !slices.Contains(done.Joined, team) {
			if _, err := tx.setMember(team.ID, id, iam.RoleMember); err != nil {
				return err
			}
			done.Joined = append(done.Joined, team)
		}
	}
	for _, name := range domain.Choose {
		team, err := tx.knownTeam(name, done)
		if err != nil {
			return err
		}
		if team.ID == "" || slices.Contains(done.Joined, team) || slices.Contains(done.Offered, team) {
			continue
		}
		hidden, err := tx.hidden(team.ID)
		if err != nil {
			return err
		}
		if !hidden { // which nobody outside is to hear of
			done.Offered = append(done.Offered, team)
		}
	}
	return nil
}

// barred reports whether the person may not make themselves a member of a team (ENV-9).
func (tx *transaction) barred(u *iam.User) bool {
	return tx.d.settings.DisableAdminTeamAccess && u.Role == iam.OrganizationAdmin
}

// knownTeam returns the team of that name; the zero TeamRef, noted as unknown, if there is none.
func (tx *transaction) knownTeam(name string, done *SignedIn) (iam.TeamRef, error) {
	r, err := tx.nameRecord(name)
	if err != nil {
		return iam.TeamRef{}, err
	}
	if id, ok := r.entity().Team(); ok {
		return iam.TeamRef{ID: id, Name: r.Name}, nil
	}
	done.Unknown = append(done.Unknown, name)
	return iam.TeamRef{}, nil
}

func (tx *transaction) tellTeams(changes []Change[Membership], done *SignedIn) error {
	for _, c := range changes {
		to, m := &done.Joined, c.After
		if m == nil {
			to, m = &done.Left, c.Before
		}
		t, err := load[iam.Team](tx, tx.d.names.team(m.Team))
		if err != nil {
			return err
		}
		if t == nil {
			return store.ErrConflict // deleted between the two reads
		}
		*to = append(*to, iam.TeamRef{ID: t.ID, Name: t.Name})
	}
	return nil
}

// JoinTeams makes a person a member of teams; where they are in already, their role stays. That the
// teams were offered to them is for the caller to know. Organization admins may be barred from it
// (ENV-9): iam.KindDenied.
func (d *Directory) JoinTeams(ctx context.Context, user iam.UserID, teams ...iam.TeamID) ([]Change[Membership], error) {
	var changes []Change[Membership]
	err := d.change(ctx, func(tx *transaction) error {
		changes = nil
		u, err := tx.user(user)
		if err != nil {
			return err
		}
		if tx.barred(u) {
			return refuse("admin_team_access", "Organization admins cannot join teams by themselves here. Ask an admin of the team to add you.")
		}
		if err := mayEnter(u); err != nil {
			return err
		}
		for _, team := range teams {
			if _, in := u.Membership(team); in {
				continue
			}
			c, err := tx.setMember(team, user, iam.RoleMember)
			if err != nil {
				return err
			}
			changes = append(changes, c)
		}
		return nil
	})
	return changes, err
}

// ReasonNotAdmin is the reason for refusing to let somebody in who is no organization admin.
const ReasonNotAdmin iam.Reason = "not_an_admin"

// RestoreAdmin returns the active organization admin of that user name, for those who are locked out
// (OIDC-24). In a directory without users it makes one. Everybody else, and a name that nobody has, is
// iam.KindDenied, without telling which.
func (d *Directory) RestoreAdmin(ctx context.Context, username string) (u *iam.User, created bool, err error) {
	err = d.change(ctx, func(tx *transaction) (err error) {
		u, created, err = tx.restoreAdmin(username)
		return err
	})
	if err != nil {
		return nil, false, err
	}
	return u, created, nil
}

func (tx *transaction) restoreAdmin(username string) (u *iam.User, created bool, err error) {
	first, err := tx.noUsers()
	if err != nil {
		return nil, false, err
	}
	if first {
		u, err = tx.createUser(NewUser{Username: username, Role: iam.OrganizationAdmin})
		return u, true, err
	}
	id, err := tx.findUser(username)
	if err != nil {
		return nil, false, err
	}
	if id != "" {
		if u, err = tx.foundUser(id); err != nil {
			return nil, false, err
		}
	}
	if u == nil || !u.Active || u.Role != iam.OrganizationAdmin {
		return nil, false, refuse(ReasonNotAdmin, "There is no active organization admin of that user name.")
	}
	return u, false, nil
}
