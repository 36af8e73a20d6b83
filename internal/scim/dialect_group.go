package scim

import (
	"cmp"
	"net/http"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

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
	r, err := readDialectGroup(q.body)
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

// readDialectGroup reads a team. Where its files are kept is the W&B server's to say: a team whose files would
// lie elsewhere than was asked for must not come about in silence (SCIM-38).
func readDialectGroup(body map[string]any) (schema.Resource, error) {
	if body["storagebucket"] != nil {
		return nil, invalidValue("storageBucket cannot be set here: leave it out, and choose where the team's files are kept at the W&B server")
	}
	return groupType.Read(body)
}

func (d Dialect) putGroup(q *request) (*response, error) {
	r, err := readDialectGroup(q.body)
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
