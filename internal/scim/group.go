package scim

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// groupRecord is what is seen of a team: its version and its events are made of it.
type groupRecord struct {
	ID         iam.TeamID   `json:"id"`
	Name       string       `json:"name"`
	ExternalID string       `json:"external_id,omitempty"`
	Modified   time.Time    `json:"modified,omitzero"`
	Members    []iam.UserID `json:"members"`
}

func recordOf(g *directory.Group) groupRecord {
	return groupRecord{ID: g.ID, Name: g.Name, ExternalID: g.ExternalID, Modified: g.Modified, Members: g.Members}
}

func groupVersion(g *directory.Group) string { return versionOf(recordOf(g)) }

// groupResource shows a team as the standard does, with those attributes that are wanted.
func groupResource(g *directory.Group, base string, wants func(name string) bool) schema.Resource {
	r := schema.Resource{"schemas": []any{groupSchema}, "id": string(g.ID), "displayName": g.Name}
	if g.ExternalID != "" {
		r["externalId"] = g.ExternalID
	}
	if wants("members") && len(g.Members) > 0 {
		members := make([]any, len(g.Members))
		for i, id := range g.Members {
			members[i] = schema.Resource{"value": string(id), "$ref": base + "/Users/" + string(id), "type": "User"}
		}
		r["members"] = members
	}
	if wants("meta") {
		r["meta"] = schema.Resource{
			"resourceType": "Group", "created": moment(g.Created), "lastModified": lastModified(g.Created, g.Modified),
			"location": base + "/Groups/" + string(g.ID), "version": groupVersion(g),
		}
	}
	return r
}

// memberIDs reads the members of a resource. What is not a person's id is looked up by find, which may be
// nil; what names nobody is refused.
func memberIDs(r schema.Resource, find func(string) (iam.UserID, error)) ([]iam.UserID, error) {
	list, _ := r["members"].([]any)
	ids := make([]iam.UserID, 0, len(list))
	for _, v := range list {
		one, _ := v.(schema.Resource)
		text := str(one, "value")
		id, err := userID(text)
		if err != nil && find != nil {
			id, err = find(text)
		}
		if err != nil && iam.KindOf(err) != iam.KindNotFound {
			return nil, err
		}
		if err != nil || id == "" {
			return nil, invalidValue("the member " + untrusted.Quote(untrusted.Clip(text)) + " is no person of this directory: teams hold people, by their id")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// addGroup makes a team (SCIM-2).
func (s *Service) addGroup(q *request, name, externalID string, members []iam.UserID) (*directory.Group, error) {
	if name == "" {
		return nil, invalidValue("a group needs a displayName, which is the team's name")
	}
	c, err := s.Directory.CreateGroup(q.ctx(), name, externalID, members)
	if err != nil {
		return nil, err
	}
	s.report(q, "team:create", string(c.After.ID), nil, recordOf(c.After))
	return c.After, nil
}

// editGroup makes of a team what f says its resource is to become; find is memberIDs'.
func (s *Service) editGroup(q *request, find func(string) (iam.UserID, error), f func(*directory.Group) (schema.Resource, error)) (*directory.Group, error) {
	id, err := teamID(q.path[1])
	if err != nil {
		return nil, err
	}
	c, err := s.Directory.EditGroup(q.ctx(), id, func(g *directory.Group) (directory.GroupEdit, error) {
		if err := q.condition.check(groupVersion(g)); err != nil {
			return directory.GroupEdit{}, err
		}
		r, err := f(g)
		if err != nil {
			return directory.GroupEdit{}, err
		}
		return s.groupEdit(q, g, r, find)
	})
	if err != nil {
		return nil, err
	}
	if before, after := recordOf(c.Before), recordOf(c.After); versionOf(before) != versionOf(after) {
		s.report(q, "team:update", string(id), before, after)
	}
	return c.After, nil
}

// groupEdit is the difference between a team and the resource that it is to become.
func (s *Service) groupEdit(q *request, g *directory.Group, r schema.Resource, find func(string) (iam.UserID, error)) (directory.GroupEdit, error) {
	var e directory.GroupEdit
	if iam.FoldName(str(r, "displayName")) != iam.FoldName(g.Name) {
		return e, &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonMutability,
			Message: "displayName stays what it was at first: a team's name stands in the address of everything in it"}
	}
	ids, err := memberIDs(r, find)
	if err != nil {
		return e, err
	}
	stay := make(map[iam.UserID]bool, len(ids))
	for _, id := range ids {
		stay[id] = true
	}
	was := make(map[iam.UserID]bool, len(g.Members))
	for _, id := range g.Members {
		was[id] = true
		if !stay[id] {
			e.Remove = append(e.Remove, id)
		}
	}
	for _, id := range ids {
		if was[id] {
			continue
		}
		if err := s.mayGive(q, id, g.Name); err != nil {
			return e, err
		}
		was[id] = true
		e.Add = append(e.Add, id)
	}
	e.ExternalID = ptr(str(r, "externalId"))
	return e, nil
}

// deleteGroup refuses: a team has projects, and their runs and files are at the W&B server (C-9, G7).
func deleteGroup(*request) (*response, error) {
	return nil, &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonNotImplemented,
		Message: "teams cannot be deleted by SCIM, because they hold projects: take the members out, or delete the team with `wandb-gateway iam team delete`"}
}

// dialectGroup is a team in the dialect.
type dialectGroup struct {
	DisplayName string          `json:"displayName"`
	ID          iam.TeamID      `json:"id"`
	Members     []dialectMember `json:"members"` // null when there are none (SCIM-37)
	Meta        dialectMeta     `json:"meta"`
	Schemas     []string        `json:"schemas"`
}

type dialectMember struct {
	Value   iam.UserID `json:"Value"`
	Ref     string     `json:"Ref"`
	Type    string     `json:"Type"`
	Display string     `json:"Display"`
}

func newDialectGroup(g *directory.Group, names map[iam.UserID]string) dialectGroup {
	d := dialectGroup{DisplayName: g.Name, ID: g.ID, Schemas: []string{groupSchema}, Meta: dialectMeta{
		ResourceType: "Group", Created: moment(g.Created), LastModified: lastModified(g.Created, g.Modified),
		Location: "Groups/" + string(g.ID), Version: groupVersion(g),
	}}
	for _, id := range g.Members {
		if name, ok := names[id]; ok { // else deleted between the two reads
			d.Members = append(d.Members, dialectMember{Value: id, Display: name})
		}
	}
	slices.SortFunc(d.Members, func(a, b dialectMember) int { return cmp.Compare(iam.FoldName(a.Display), iam.FoldName(b.Display)) })
	return d
}

func (d Dialect) groupAnswer(q *request, status int, g *directory.Group) (*response, error) {
	names, err := d.Directory.Usernames(q.ctx(), g.Members)
	if err != nil {
		return nil, err
	}
	shown := newDialectGroup(g, names)
	return &response{status: status, body: shown, version: shown.Meta.Version}, nil
}

func (d Dialect) getGroup(q *request) (*response, error) {
	id, err := teamID(q.path[1])
	if err != nil {
		return nil, err
	}
	g, err := d.Directory.Group(q.ctx(), id)
	if err != nil {
		return nil, err
	}
	return d.groupAnswer(q, http.StatusOK, g)
}

func (d Dialect) listGroups(q *request) (*response, error) {
	start, count, err := dialectPage(q)
	if err != nil {
		return nil, err
	}
	groups, err := d.dialectGroups(q)
	if err != nil {
		return nil, err
	}
	total := len(groups)
	page := groups[min(start-1, total):min(start-1+count, total)]
	var everybody []iam.UserID
	for _, g := range page {
		everybody = append(everybody, g.Members...)
	}
	names, err := d.Directory.Usernames(q.ctx(), everybody)
	if err != nil {
		return nil, err
	}
	shown := make([]dialectGroup, len(page))
	for i, g := range page {
		shown[i] = newDialectGroup(g, names)
	}
	return list(shown, start, count, total), nil
}

func (d Dialect) dialectGroups(q *request) ([]*directory.Group, error) {
	if !q.query.Has("filter") {
		return d.Directory.Groups(q.ctx(), true)
	}
	f, err := compileFilter(groupType, q.query.Get("filter"))
	if err != nil {
		return nil, err
	}
	if len(f.Needs) != 1 || len(f.Exact) != 1 || f.Exact[0].Target.Attribute.Name != "displayName" {
		return nil, errDialectFilter
	}
	id, err := d.Directory.FindTeam(q.ctx(), f.Exact[0].Value)
	return d.groupOf(q.ctx(), id, err)
}

// member finds a member by e-mail address, which the dialect takes in place of an id (SCIM-35).
func (d Dialect) member(q *request) func(string) (iam.UserID, error) {
	return func(text string) (iam.UserID, error) {
		if !strings.Contains(text, "@") {
			return "", nil
		}
		return d.Directory.FindUserByEmail(q.ctx(), text)
	}
}

func (d Dialect) createGroup(q *request) (*response, error) {
	if _, ok := q.body["members"].([]any); !ok {
		return nil, invalidValue("a group needs members, a list of objects with the value of a person's id; an empty one will do")
	}
	r, err := groupType.Read(q.body)
	if err != nil {
		return nil, err
	}
	members, err := memberIDs(r, d.member(q))
	if err != nil {
		return nil, err
	}
	g, err := d.addGroup(q, str(r, "displayName"), str(r, "externalId"), members)
	if err != nil {
		return nil, err
	}
	return d.groupAnswer(q, http.StatusCreated, g)
}

func (d Dialect) putGroup(q *request) (*response, error) {
	r, err := groupType.Read(q.body)
	if err != nil {
		return nil, err
	}
	g, err := d.editGroup(q, d.member(q), func(*directory.Group) (schema.Resource, error) { return r, nil })
	if err != nil {
		return nil, err
	}
	return d.groupAnswer(q, http.StatusOK, g)
}

func (d Dialect) patchGroup(q *request) (*response, error) {
	operations, err := readDialectPatch(q.body)
	if err != nil {
		return nil, err
	}
	for i := range operations {
		if err := d.byID(q, &operations[i].Value); err != nil {
			return nil, err
		}
	}
	g, err := d.editGroup(q, d.member(q), func(g *directory.Group) (schema.Resource, error) { return patchedGroup(g, q.base, operations) })
	if err != nil {
		return nil, err
	}
	return d.groupAnswer(q, http.StatusOK, g)
}

// byID puts ids in the place of e-mail addresses in an operation's value, so that members who are to be
// taken out are found.
func (d Dialect) byID(q *request, v *any) error {
	switch value := (*v).(type) {
	case []any:
		for i := range value {
			if err := d.byID(q, &value[i]); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, name := range []string{"value", "members"} {
			inner, ok := value[name]
			if !ok {
				continue
			}
			if err := d.byID(q, &inner); err != nil {
				return err
			}
			value[name] = inner
		}
	case string:
		id, err := d.member(q)(value)
		if err != nil {
			return err
		}
		if id != "" {
			*v = string(id)
		}
	}
	return nil
}
