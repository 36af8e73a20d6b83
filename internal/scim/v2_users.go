package scim

import (
	"context"
	"net/url"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

func (v V2) usersBy(q *request, values url.Values) (*response, error) {
	s, err := readSearch(userType, values, q.base)
	if err != nil {
		return nil, err
	}
	people, total, err := v.findUsers(q.ctx(), s)
	if err != nil {
		return nil, err
	}
	named, err := v.Directory.NameTeams(q.ctx(), people)
	if err != nil {
		return nil, err
	}
	page := make([]schema.Resource, len(named))
	for i, p := range named {
		page[i] = userResource(p, s.base, s.projection.Wants)
	}
	return s.answer(page, total), nil
}

// findUsers finds a page of people and how many there are. Who is named exactly is looked up; whatever
// else is asked for, everybody is looked at once.
func (v V2) findUsers(ctx context.Context, s *search) ([]*iam.User, int, error) {
	if s.filter == nil && s.sort == nil {
		return v.Directory.UserPage(ctx, s.start, s.count)
	}
	if ids, exact, err := v.exactUsers(ctx, s.filter); err != nil || exact {
		return v.among(ctx, s, ids, err)
	}
	m, err := v.matcher(ctx, s)
	if err != nil {
		return nil, 0, err
	}
	err = v.Directory.Users(ctx, func(u *iam.User) error {
		m.look(u)
		return nil
	})
	return m.page(), m.total, err
}

// exactUsers returns those who can meet a filter that names somebody exactly.
func (v V2) exactUsers(ctx context.Context, f *schema.Filter) (ids []iam.UserID, exact bool, err error) {
	if f == nil {
		return nil, false, nil
	}
	for _, e := range f.Exact {
		if e.Target.Extension != nil || e.Target.Attribute == nil {
			continue
		}
		var id iam.UserID
		switch name := e.Target.Attribute.Name; {
		case name == "userName":
			id, err = v.Directory.FindUserByName(ctx, e.Value)
		case name == "emails" && (e.Target.Sub == nil || e.Target.Sub.Name == "value"):
			id, err = v.Directory.FindUserByEmail(ctx, e.Value)
		case name == "externalId":
			ids, err = v.Directory.FindUsersByExternalID(ctx, e.Value)
			return ids, true, err
		case name == "id":
			if id, err = userID(e.Value); err != nil {
				return nil, true, nil
			}
		default:
			continue
		}
		if err != nil || id == "" {
			return nil, true, err
		}
		return []iam.UserID{id}, true, nil
	}
	return nil, false, nil
}

// among finds the page among the people of these ids.
func (v V2) among(ctx context.Context, s *search, ids []iam.UserID, err error) ([]*iam.User, int, error) {
	if err != nil {
		return nil, 0, err
	}
	m, err := v.matcher(ctx, s)
	if err != nil {
		return nil, 0, err
	}
	for _, id := range ids {
		u, err := v.Directory.User(ctx, id)
		if iam.KindOf(err) == iam.KindNotFound {
			continue // deleted between the two reads
		}
		if err != nil {
			return nil, 0, err
		}
		m.look(u)
	}
	return m.page(), m.total, nil
}

// matcher takes people one after the other, and keeps those who meet a search.
type matcher struct {
	*search
	needs map[string]bool
	teams map[iam.TeamID]string
	total int
	kept  []match
}

type match struct {
	user *iam.User
	key  *string // by which they are ordered
}

func (v V2) matcher(ctx context.Context, s *search) (*matcher, error) {
	m := &matcher{search: s, needs: map[string]bool{}}
	if s.filter != nil {
		for _, name := range s.filter.Needs {
			m.needs[name] = true
		}
	}
	if s.sort != nil {
		m.needs[s.sort.TopLevel()] = true
	}
	if !m.needs["groups"] && !m.needs[wandbUserSchema] {
		return m, nil
	}
	m.teams = map[iam.TeamID]string{}
	return m, v.Directory.Teams(ctx, func(t *iam.Team) error {
		m.teams[t.ID] = t.Name
		return nil
	})
}

func (m *matcher) look(u *iam.User) {
	r := userResource(directory.Person{User: u, TeamNames: m.teams}, m.base, func(name string) bool { return m.needs[name] })
	if m.filter != nil && !m.filter.Matches(r) {
		return
	}
	m.total++
	switch {
	case m.sort != nil:
		m.kept = append(m.kept, match{u, m.sort.SortKey(r)})
	case m.total > m.start && len(m.kept) < m.count:
		m.kept = append(m.kept, match{user: u})
	}
}

// page returns the people of the page.
func (m *matcher) page() []*iam.User {
	kept := m.kept
	if m.sort != nil {
		slices.SortStableFunc(kept, func(a, b match) int { return m.order(a.key, b.key) })
		kept = kept[min(m.start, len(kept)):min(m.start+m.count, len(kept))]
	}
	users := make([]*iam.User, len(kept))
	for i, k := range kept {
		users[i] = k.user
	}
	return users
}

func (s *search) order(a, b *string) int {
	c := schema.CompareKeys(a, b)
	if s.descending {
		return -c
	}
	return c
}
