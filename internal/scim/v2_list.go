package scim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// How many resources a page has if nothing is said, and at most.
const (
	defaultPage = 100
	maxPage     = 1000
)

// farthest is where a page can start at most, so that nothing overflows: nobody has as many resources.
const farthest = 1 << 30

// search is what a list is asked for (RFC 7644 section 3.4.2).
type search struct {
	filter     *schema.Filter // nil for everything
	sort       *schema.Target // nil for the order of ids, or of names of teams
	descending bool
	start      int // counted from 0
	count      int
	projection schema.Projection
	base       string
}

// v2List is a page of a list.
type v2List struct {
	Schemas      [1]string `json:"schemas"`
	TotalResults int       `json:"totalResults"`
	StartIndex   int       `json:"startIndex"`
	ItemsPerPage int       `json:"itemsPerPage"`
	Resources    []any     `json:"Resources"`
}

func (s *search) answer(page []schema.Resource, total int) *response {
	l := v2List{Schemas: [1]string{listSchema}, TotalResults: total, StartIndex: s.start + 1, ItemsPerPage: len(page), Resources: make([]any, len(page))}
	for i, r := range page {
		l.Resources[i] = s.projection.Apply(r)
	}
	return &response{status: http.StatusOK, body: l}
}

// readSearch reads the parameters of a list, by which values.Get finds them.
func readSearch(t *schema.ResourceType, values url.Values, base string) (*search, error) {
	s := &search{count: defaultPage, base: base, projection: t.Project(commas(values["attributes"]), commas(values["excludedAttributes"]))}
	var err error
	if values.Has("filter") {
		if s.filter, err = compileFilter(t, values.Get("filter")); err != nil {
			return nil, err
		}
	}
	if name := values.Get("sortBy"); name != "" {
		target, err := t.Resolve(name, schema.ReasonInvalidValue)
		if err != nil {
			return nil, err
		}
		s.sort = &target
	}
	switch order := iam.FoldName(values.Get("sortOrder")); order {
	case "", "ascending":
	case "descending":
		s.descending = true
	default:
		return nil, invalidValue("sortOrder is ascending or descending")
	}
	for name, into := range map[string]*int{"startIndex": &s.start, "count": &s.count} {
		text := values.Get(name)
		if text == "" {
			continue
		}
		if *into, err = strconv.Atoi(text); err != nil {
			return nil, invalidValue(name + " is a whole number")
		}
	}
	s.start, s.count = min(max(s.start, 1), farthest)-1, min(max(s.count, 0), maxPage)
	return s, nil
}

// commas splits values that are lists.
func commas(values []string) []string {
	var names []string
	for _, value := range values {
		for _, name := range strings.Split(value, ",") {
			if name = strings.TrimSpace(name); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

// searchValues makes the body of a POST to .search what a query string would be (section 3.4.3).
func searchValues(body map[string]any) (url.Values, error) {
	if err := wantSchema(body, searchSchema); err != nil {
		return nil, err
	}
	values := url.Values{}
	for _, name := range []string{"filter", "sortBy", "sortOrder", "startIndex", "count", "attributes", "excludedAttributes"} {
		switch v := body[iam.FoldName(name)].(type) {
		case nil:
		case string:
			values.Set(name, v)
		case json.Number:
			values.Set(name, v.String())
		case []any:
			for _, one := range v {
				text, ok := one.(string)
				if !ok {
					return nil, invalidValue(name + " is a list of strings")
				}
				values.Add(name, text)
			}
		default:
			return nil, invalidValue(name + " is a string, a number or a list of strings")
		}
	}
	return values, nil
}

func (v V2) listUsers(q *request) (*response, error) { return v.usersBy(q, q.query) }

func (v V2) searchUsers(q *request) (*response, error) {
	values, err := searchValues(q.body)
	if err != nil {
		return nil, err
	}
	return v.usersBy(q, values)
}

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

func (v V2) listGroups(q *request) (*response, error) { return v.groupsBy(q, q.query) }

func (v V2) searchGroups(q *request) (*response, error) {
	values, err := searchValues(q.body)
	if err != nil {
		return nil, err
	}
	return v.groupsBy(q, values)
}

func (v V2) groupsBy(q *request, values url.Values) (*response, error) {
	s, err := readSearch(groupType, values, q.base)
	if err != nil {
		return nil, err
	}
	groups, err := v.findGroups(q.ctx(), s)
	if err != nil {
		return nil, err
	}
	total := len(groups)
	groups = groups[min(s.start, total):min(s.start+s.count, total)]
	page := make([]schema.Resource, len(groups))
	for i, g := range groups {
		page[i] = groupResource(g, s.base, s.projection.Wants)
	}
	return s.answer(page, total), nil
}

// findGroups finds the teams that meet a search, in its order.
func (v V2) findGroups(ctx context.Context, s *search) ([]*directory.Group, error) {
	groups, err := v.candidates(ctx, s)
	if err != nil {
		return nil, err
	}
	type match struct {
		group *directory.Group
		key   *string
	}
	var kept []match
	for _, g := range groups {
		r := groupResource(g, s.base, everything)
		if s.filter != nil && !s.filter.Matches(r) {
			continue
		}
		m := match{group: g}
		if s.sort != nil {
			m.key = s.sort.SortKey(r)
		}
		kept = append(kept, m)
	}
	if s.sort != nil {
		slices.SortStableFunc(kept, func(a, b match) int { return s.order(a.key, b.key) })
	}
	found := make([]*directory.Group, len(kept))
	for i, k := range kept {
		found[i] = k.group
	}
	return found, nil
}

// candidates are the teams that can meet a search: the one that it names exactly, or all.
func (v V2) candidates(ctx context.Context, s *search) ([]*directory.Group, error) {
	if s.filter != nil {
		for _, e := range s.filter.Exact {
			switch e.Target.Attribute.Name {
			case "displayName":
				id, err := v.Directory.FindTeam(ctx, e.Value)
				return v.groupOf(ctx, id, err)
			case "id":
				id, err := teamID(e.Value)
				if err != nil {
					id = "" // no team's
				}
				return v.groupOf(ctx, id, nil)
			}
		}
	}
	return v.Directory.Groups(ctx, true)
}

// groupOf returns the team of that id, if there is one.
func (s *Service) groupOf(ctx context.Context, id iam.TeamID, err error) ([]*directory.Group, error) {
	if err != nil || id == "" {
		return nil, err
	}
	g, err := s.Directory.Group(ctx, id)
	if iam.KindOf(err) == iam.KindNotFound {
		return nil, nil // deleted between the two reads
	}
	return []*directory.Group{g}, err
}

// searchAll searches people and teams together (section 3.4.3): first the people who meet it, then the
// teams. What a filter or an order names must be of both, as the attributes that all resources have are.
func (v V2) searchAll(q *request) (*response, error) {
	values, err := searchValues(q.body)
	if err != nil {
		return nil, err
	}
	users, err := readSearch(userType, values, q.base)
	if err != nil {
		return nil, err
	}
	groups, err := readSearch(groupType, values, q.base)
	if err != nil {
		return nil, err
	}
	people, total, err := v.findUsers(q.ctx(), users)
	if err != nil {
		return nil, err
	}
	named, err := v.Directory.NameTeams(q.ctx(), people)
	if err != nil {
		return nil, err
	}
	found, err := v.findGroups(q.ctx(), groups)
	if err != nil {
		return nil, err
	}
	all := users.answer(nil, total+len(found))
	list := all.body.(v2List)
	for _, p := range named {
		list.Resources = append(list.Resources, users.projection.Apply(userResource(p, q.base, users.projection.Wants)))
	}
	first := max(users.start-total, 0)
	for _, g := range found[min(first, len(found)):] {
		if len(list.Resources) >= users.count {
			break
		}
		list.Resources = append(list.Resources, groups.projection.Apply(groupResource(g, q.base, groups.projection.Wants)))
	}
	list.ItemsPerPage = len(list.Resources)
	all.body = list
	return all, nil
}
