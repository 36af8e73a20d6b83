package directory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Who keeps people and teams in step from outside sees a person with the names of their teams and a
// team with its members, and decides on what it saw: changes are functions of the record, which run
// again when somebody else was faster. So a condition on the record's version holds when it is written.

// Person is a user with the names of their teams.
type Person struct {
	*iam.User
	TeamNames map[iam.TeamID]string
}

// Group is a team with the ids of its members, sorted.
type Group struct {
	*iam.Team
	// ExternalID is what provisioning calls the team.
	ExternalID string
	// Modified is when the members or the external id last changed; zero if they never did.
	Modified time.Time
	Members  []iam.UserID
}

// GroupEdit is what to change about a team. Those who are added become members; those who are there
// already keep their role.
type GroupEdit struct {
	ExternalID  *string
	Add, Remove []iam.UserID
}

// groupRecord is what provisioning keeps about a team beside the team itself, from whose record
// principals are built, so that it must not change whenever somebody joins.
type groupRecord struct {
	ExternalID string    `json:"external_id,omitempty"`
	Modified   time.Time `json:"modified,omitzero"`
}

// Person returns a user with the names of their teams. An unknown id is iam.KindNotFound.
func (d *Directory) Person(ctx context.Context, id iam.UserID) (Person, error) {
	return d.reading(ctx).person(id)
}

// NameTeams returns people with the names of their teams.
func (d *Directory) NameTeams(ctx context.Context, people []*iam.User) ([]Person, error) {
	tx := d.reading(ctx)
	named := make([]Person, len(people))
	for i, u := range people {
		var err error
		if named[i], err = tx.named(u); err != nil {
			return nil, err
		}
	}
	return named, nil
}

// EditUser changes a person as edit says, which sees them as they are when the change is made. It may
// run several times, and its error refuses the change.
func (d *Directory) EditUser(ctx context.Context, id iam.UserID, edit func(Person) (UserChange, error)) (Change[Person], error) {
	var c Change[Person]
	err := d.change(ctx, func(tx *transaction) error {
		before, err := tx.person(id)
		if err != nil {
			return err
		}
		change, err := edit(before)
		if err != nil {
			return err
		}
		u, err := tx.setUser(id, change)
		if err != nil {
			return err
		}
		after, err := tx.named(u)
		c = Change[Person]{&before, &after}
		return err
	})
	return c, err
}

// RemoveUser is DeleteUser if check has nothing against it, which sees the person as they are when they
// are deleted.
func (d *Directory) RemoveUser(ctx context.Context, id iam.UserID, check func(Person) error) (Change[Person], error) {
	var c Change[Person]
	err := d.change(ctx, func(tx *transaction) error {
		before, err := tx.person(id)
		if err != nil {
			return err
		}
		if err := check(before); err != nil {
			return err
		}
		c.Before = &before
		return tx.deleteUser(id)
	})
	return c, err
}

// UserPage returns the people from the start-th on in the order of their ids, counted from 0, at most
// count of them, and how many there are in all. Only those that are returned are read.
func (d *Directory) UserPage(ctx context.Context, start, count int) (page []*iam.User, total int, err error) {
	ids, err := d.everybody(ctx)
	if err != nil {
		return nil, 0, err
	}
	tx := d.reading(ctx)
	for _, id := range ids[min(start, len(ids)):min(start+count, len(ids))] {
		u, err := load[iam.User](tx, d.names.user(id))
		if err != nil {
			return nil, 0, err
		}
		if u != nil { // else deleted between the two reads
			page = append(page, u)
		}
	}
	return page, len(ids), nil
}

// roster is who there is at a revision.
type roster struct {
	revision store.Revision
	ids      []iam.UserID
}

// everybody returns the ids of all people, sorted. It goes through the store only if something changed
// since it last did: whoever lists a large organization asks for hundreds of pages.
func (d *Directory) everybody(ctx context.Context) ([]iam.UserID, error) {
	// Before what is scanned, so that what changes meanwhile makes the roster old.
	r, err := d.cache.Store().Get(ctx, store.RevisionKey(d.space))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, unreadable(fmt.Errorf("reading the revision: %w", err))
	}
	if known := d.roster.Load(); known != nil && known.revision == r.Version {
		return known.ids, nil
	}
	prefix := d.names.space + "user/"
	var ids []iam.UserID
	err = d.scan(ctx, prefix, func(r store.Record) error {
		ids = append(ids, iam.UserID(r.Key[len(prefix):]))
		return nil
	})
	if err != nil {
		return nil, err
	}
	d.roster.Store(&roster{r.Version, ids})
	return ids, nil
}

// FindUserByName returns the id of the person with exactly that user name, without regard to case; ""
// when there is none.
func (d *Directory) FindUserByName(ctx context.Context, name string) (iam.UserID, error) {
	e, err := d.FindEntity(ctx, name)
	if err != nil || e == nil {
		return "", err
	}
	if id, ok := e.ID.User(); ok {
		return id, nil
	}
	return "", nil
}

// FindUsersByExternalID returns the ids of the people whom provisioning calls so.
func (d *Directory) FindUsersByExternalID(ctx context.Context, externalID string) ([]iam.UserID, error) {
	if externalID == "" {
		return nil, nil
	}
	prefix := d.names.externalIDs(externalID)
	keys, err := d.reading(ctx).list(prefix)
	if err != nil {
		return nil, err
	}
	ids := make([]iam.UserID, len(keys))
	for i, key := range keys {
		ids[i] = iam.UserID(key[len(prefix):])
	}
	return ids, nil
}

// Group returns a team with its members. An unknown id is iam.KindNotFound.
func (d *Directory) Group(ctx context.Context, id iam.TeamID) (*Group, error) {
	g, err := d.reading(ctx).group(id)
	if iam.KindOf(err) == iam.KindNotFound {
		return nil, iam.NotFoundf("there is no team %q: the id is wrong, or the team was deleted", untrusted.Clip(string(id)))
	}
	return g, err
}

// Groups returns every team, sorted by name; with members only if asked.
func (d *Directory) Groups(ctx context.Context, members bool) ([]*Group, error) {
	var groups []*Group
	tx := d.reading(ctx)
	if _, err := tx.list(d.names.space + "group/"); err != nil { // in one go, for what follows
		return nil, err
	}
	at := map[string]*Group{}
	err := d.Teams(ctx, func(t *iam.Team) error {
		g := &Group{Team: t}
		groups, at[string(t.ID)] = append(groups, g), g
		return tx.describe(g)
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(groups, func(a, b *Group) int { return cmp.Compare(iam.FoldName(a.Name), iam.FoldName(b.Name)) })
	if !members {
		return groups, nil
	}
	prefix := d.names.space + "member/"
	return groups, d.scan(ctx, prefix, func(r store.Record) error {
		team, user, _ := strings.Cut(r.Key[len(prefix):], "/")
		if g := at[team]; g != nil {
			g.Members = append(g.Members, iam.UserID(user))
		}
		return nil
	})
}

// manyNames is from how many people on it is cheaper to read everybody than each of them.
const manyNames = 1000

// Usernames returns the user names of people. Who was deleted meanwhile has none.
func (d *Directory) Usernames(ctx context.Context, ids []iam.UserID) (map[iam.UserID]string, error) {
	names := make(map[iam.UserID]string, len(ids))
	if len(ids) > manyNames {
		return names, d.Users(ctx, func(u *iam.User) error {
			names[u.ID] = u.Username
			return nil
		})
	}
	tx := d.reading(ctx)
	for _, id := range ids {
		u, err := load[iam.User](tx, d.names.user(id))
		if err != nil {
			return nil, err
		}
		if u != nil {
			names[id] = u.Username
		}
	}
	return names, nil
}

// CreateGroup adds a team with its first members. A name that is taken is iam.KindConflict with
// ReasonTaken, a member who does not exist iam.KindInvalid.
func (d *Directory) CreateGroup(ctx context.Context, name, externalID string, members []iam.UserID) (Change[Group], error) {
	var c Change[Group]
	err := d.change(ctx, func(tx *transaction) error {
		t, err := tx.createTeam(name)
		if err != nil {
			return err
		}
		if err := tx.editGroup(t.ID, GroupEdit{ExternalID: &externalID, Add: members}); err != nil {
			return err
		}
		r, err := load[groupRecord](tx, tx.d.names.group(t.ID))
		if err != nil {
			return err
		}
		if r != nil { // it was not modified since it was made
			if err := tx.put(tx.d.names.group(t.ID), groupRecord{ExternalID: r.ExternalID}); err != nil {
				return err
			}
		}
		c.After, err = tx.group(t.ID)
		return err
	})
	return c, err
}

// EditGroup changes a team as edit says, which sees it as it is when the change is made. It may run
// several times, and its error refuses the change.
func (d *Directory) EditGroup(ctx context.Context, id iam.TeamID, edit func(*Group) (GroupEdit, error)) (Change[Group], error) {
	var c Change[Group]
	err := d.change(ctx, func(tx *transaction) error {
		// First, so that two who change one team meet here, whomever they add or take out (threat S09).
		if _, err := tx.standingTeam(id); err != nil {
			return err
		}
		before, err := tx.group(id)
		if err != nil {
			return err
		}
		change, err := edit(before)
		if err != nil {
			return err
		}
		if err := tx.editGroup(id, change); err != nil {
			return err
		}
		after, err := tx.group(id)
		c = Change[Group]{before, after}
		return err
	})
	return c, err
}

func (tx *transaction) editGroup(id iam.TeamID, e GroupEdit) error {
	for _, user := range e.Add {
		u, err := load[iam.User](tx, tx.d.names.user(user))
		if err != nil {
			return err
		}
		if u == nil {
			return iam.Invalidf("there is no user %q: members of a team are people of this directory, by their id", untrusted.Clip(string(user)))
		}
		if _, in := u.Membership(id); in {
			continue
		}
		if _, err := tx.setMember(id, user, iam.RoleMember); err != nil {
			return err
		}
	}
	if _, err := tx.updateMembers(id, nil, e.Remove); err != nil {
		return err
	}
	if e.ExternalID == nil {
		return nil
	}
	return tx.setGroup(id, func(r *groupRecord) { r.ExternalID = *e.ExternalID })
}

// touchGroup notes that a team's members changed.
func (tx *transaction) touchGroup(id iam.TeamID) error {
	return tx.setGroup(id, func(r *groupRecord) { r.Modified = tx.d.created() })
}

func (tx *transaction) setGroup(id iam.TeamID, f func(*groupRecord)) error {
	key := tx.d.names.group(id)
	r, err := load[groupRecord](tx, key)
	if err != nil {
		return err
	}
	if r == nil {
		r = new(groupRecord)
	}
	before := *r
	f(r)
	if *r == before {
		return nil
	}
	if err := validLabel("external id", r.ExternalID); err != nil {
		return err
	}
	r.Modified = tx.d.created()
	return tx.put(key, r)
}

func (tx *transaction) group(id iam.TeamID) (*Group, error) {
	t, err := tx.team(id)
	if err != nil {
		return nil, err
	}
	g := &Group{Team: t}
	if err := tx.describe(g); err != nil {
		return nil, err
	}
	prefix := tx.d.names.membersOf(id)
	keys, err := tx.list(prefix)
	if err != nil {
		return nil, err
	}
	for _, key := range keys {
		g.Members = append(g.Members, iam.UserID(key[len(prefix):]))
	}
	return g, nil
}

func (tx *transaction) describe(g *Group) error {
	r, err := load[groupRecord](tx, tx.d.names.group(g.ID))
	if err == nil && r != nil {
		g.ExternalID, g.Modified = r.ExternalID, r.Modified
	}
	return err
}

func (tx *transaction) person(id iam.UserID) (Person, error) {
	u, err := load[iam.User](tx, tx.d.names.user(id))
	if err != nil {
		return Person{}, err
	}
	if u == nil {
		return Person{}, iam.NotFoundf("there is no user %q: the id is wrong, or the user was deleted", untrusted.Clip(string(id)))
	}
	return tx.named(u)
}

func (tx *transaction) named(u *iam.User) (Person, error) {
	p := Person{User: u, TeamNames: map[iam.TeamID]string{}}
	for _, m := range u.Teams {
		t, err := load[iam.Team](tx, tx.d.names.team(m.Team))
		if err != nil {
			return p, err
		}
		if t != nil {
			p.TeamNames[m.Team] = t.Name
		}
	}
	return p, nil
}

// TeamRole returns the id of the person's team of that name, without regard to case, and their role there.
func (p Person) TeamRole(team string) (iam.TeamID, iam.Role, bool) {
	for _, m := range p.Teams {
		if name, ok := p.TeamNames[m.Team]; ok && iam.FoldName(name) == iam.FoldName(team) {
			return m.Team, m.Role, true
		}
	}
	return "", "", false
}

// indexExternalID makes a person findable by what provisioning calls them.
func (tx *transaction) indexExternalID(id iam.UserID, before, after string) error {
	if before == after {
		return nil
	}
	if before != "" {
		if err := tx.delete(tx.d.names.externalIDs(before) + string(id)); err != nil {
			return err
		}
	}
	if after == "" {
		return nil
	}
	return tx.put(tx.d.names.externalIDs(after)+string(id), struct{}{})
}
