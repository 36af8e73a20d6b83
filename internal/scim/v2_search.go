package scim

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
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

// compileFilter reads a filter on resources of a type.
func compileFilter(t *schema.ResourceType, text string) (*schema.Filter, error) {
	e, err := filter.Parse(text)
	if err != nil {
		return nil, err
	}
	return t.Compile(e)
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

// byQuery answers a GET, which asks in the query string.
func byQuery(find func(*request, url.Values) (*response, error)) func(*request) (*response, error) {
	return func(q *request) (*response, error) { return find(q, q.query) }
}

// byBody answers a POST to .search, which asks in the body.
func byBody(find func(*request, url.Values) (*response, error)) func(*request) (*response, error) {
	return func(q *request) (*response, error) {
		values, err := searchValues(q.body)
		if err != nil {
			return nil, err
		}
		return find(q, values)
	}
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

// allBy searches people and teams together (section 3.4.3): first the people who meet it, then the
// teams. What a filter or an order names must be of both, as the attributes that all resources have are.
func (v V2) allBy(q *request, values url.Values) (*response, error) {
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
