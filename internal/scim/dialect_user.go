package scim

import (
	"context"
	"net/http"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// dialectUser is a person in the dialect. emails is one object with capitals (SCIM-17).
type dialectUser struct {
	Active           bool                  `json:"active"`
	DisplayName      string                `json:"displayName"`
	Emails           dialectEmail          `json:"emails"`
	ID               iam.UserID            `json:"id"`
	Meta             dialectMeta           `json:"meta"`
	ModelsSeat       iam.Seat              `json:"modelsSeat"`
	OrganizationRole iam.OrganizationRole  `json:"organizationRole"`
	RegistryRoles    []dialectRegistryRole `json:"registryRoles,omitempty"`
	Schemas          []string              `json:"schemas"`
	TeamRoles        []dialectTeamRole     `json:"teamRoles"`
	UserName         string                `json:"userName"`
	WeaveRole        iam.Seat              `json:"weaveRole"`
}

type dialectEmail struct {
	Value   string `json:"Value"`
	Display string `json:"Display"`
	Type    string `json:"Type"`
	Primary bool   `json:"Primary"`
}

type dialectTeamRole struct {
	TeamName string   `json:"teamName"`
	RoleName iam.Role `json:"roleName"`
}

type dialectRegistryRole struct {
	RegistryName string `json:"registryName"`
	RoleName     string `json:"roleName"`
}

func newDialectUser(p directory.Person) dialectUser {
	u := dialectUser{
		Active: p.Active, DisplayName: p.Name, ID: p.ID, UserName: p.Username, Schemas: []string{userSchema},
		ModelsSeat: p.ModelsSeat, WeaveRole: p.WeaveSeat, OrganizationRole: p.Role, TeamRoles: []dialectTeamRole{},
		Emails: dialectEmail{Value: p.Email, Primary: true},
		Meta: dialectMeta{ResourceType: "User", Created: moment(p.Created), LastModified: lastModified(p.Created, p.Modified),
			Location: "Users/" + string(p.ID), Version: userVersion(p.User)},
	}
	for _, m := range p.Teams {
		if name, ok := p.TeamNames[m.Team]; ok {
			u.TeamRoles = append(u.TeamRoles, dialectTeamRole{name, m.Role})
		}
	}
	for _, r := range p.RegistryRoles {
		u.RegistryRoles = append(u.RegistryRoles, dialectRegistryRole{r.Registry, r.Role})
	}
	return u
}

func dialectUserAnswer(status int, p directory.Person) *response {
	u := newDialectUser(p)
	if status == http.StatusCreated {
		u.Meta.LastModified = "" // SCIM-19
	}
	return &response{status: status, body: u, version: u.Meta.Version}
}

// dialectUserType has W&B's attributes beside the others.
var dialectUserType = &schema.ResourceType{
	Name: "User", Endpoint: "/Users",
	Core: &schema.Schema{ID: userSchema, Attributes: append(userType.Core.Attributes[:len(userType.Core.Attributes):len(userType.Core.Attributes)],
		userType.Extensions[0].Attributes...)},
}

// standard makes a resource of the dialect one of the standard, where W&B's attributes stand apart.
func standard(r schema.Resource) schema.Resource {
	wandb := schema.Resource{}
	for _, a := range userType.Extensions[0].Attributes {
		if v, ok := r[a.Name]; ok {
			wandb[a.Name] = v
			delete(r, a.Name)
		}
	}
	r[wandbUserSchema] = wandb
	return r
}

// flat is the other way round.
func flat(p directory.Person, base string) schema.Resource {
	r := userResource(p, base, everything)
	for name, v := range r[wandbUserSchema].(schema.Resource) {
		r[name] = v
	}
	delete(r, wandbUserSchema)
	return r
}

func (d Dialect) getUser(q *request) (*response, error) {
	id, err := userID(q.path[1])
	if err != nil {
		return nil, err
	}
	p, err := d.Directory.Person(q.ctx(), id)
	if err != nil {
		return nil, err
	}
	return dialectUserAnswer(http.StatusOK, p), nil
}

func (d Dialect) listUsers(q *request) (*response, error) {
	start, count, err := dialectPage(q)
	if err != nil {
		return nil, err
	}
	var people []*iam.User
	total := 0
	if q.query.Has("filter") {
		people, err = d.findUser(q.ctx(), q.query.Get("filter"))
		total = len(people)
		people = people[min(start-1, total):min(start-1+count, total)]
	} else {
		people, total, err = d.Directory.UserPage(q.ctx(), start-1, count)
	}
	if err != nil {
		return nil, err
	}
	named, err := d.Directory.NameTeams(q.ctx(), people)
	if err != nil {
		return nil, err
	}
	users := make([]dialectUser, len(named))
	for i, p := range named {
		users[i] = newDialectUser(p)
	}
	return list(users, start, count, total), nil
}

// findUser finds the person that one of the dialect's filters names (SCIM-13).
func (d Dialect) findUser(ctx context.Context, text string) ([]*iam.User, error) {
	e, err := filter.Parse(text)
	if err != nil {
		return nil, err
	}
	compare, _ := e.(filter.Compare)
	value, isText := compare.Value.(string)
	var id iam.UserID
	switch attribute := iam.FoldName(compare.Attribute); {
	case !isText || compare.Operator != filter.Equal:
		return nil, errDialectFilter
	case attribute == "username":
		id, err = d.Directory.FindUserByName(ctx, value)
	case attribute == "emails.value" || attribute == "emails":
		id, err = d.Directory.FindUserByEmail(ctx, value)
	default:
		return nil, errDialectFilter
	}
	if err != nil || id == "" {
		return nil, err
	}
	u, err := d.Directory.User(ctx, id)
	if iam.KindOf(err) == iam.KindNotFound {
		return nil, nil // deleted between the two reads
	}
	return []*iam.User{u}, err
}

var errDialectFilter = &iam.Error{Kind: iam.KindInvalid, Reason: filter.ReasonInvalidFilter,
	Message: `here people are found by userName eq "NAME" or emails.value eq "ADDRESS", and teams by displayName eq "NAME"; every other filter of the standard works below /scim/v2`}

func (d Dialect) createUser(q *request) (*response, error) {
	r, err := dialectUserType.Read(q.body)
	if err != nil {
		return nil, err
	}
	list, _ := r["emails"].([]any)
	if len(list) == 0 {
		return nil, invalidValue("a user needs emails, a list with the primary address in it")
	}
	if len(list) > 1 && !hasPrimary(list) {
		return nil, invalidValue("of several emails one needs to be primary")
	}
	n, err := newUser(standard(r))
	if err != nil {
		return nil, err
	}
	p, err := d.addUser(q, n)
	if err != nil {
		return nil, err
	}
	return dialectUserAnswer(http.StatusCreated, p), nil
}

func hasPrimary(list []any) bool {
	for _, v := range list {
		if one, _ := v.(schema.Resource); one["primary"] == true {
			return true
		}
	}
	return false
}

func (d Dialect) deleteUser(q *request) (*response, error) { return d.removeUser(q) }

// putUser replaces what the request mentions, and leaves alone what it does not: the dialect says nothing
// of PUT, and a script that leaves a role out does not mean to take it away.
func (d Dialect) putUser(q *request) (*response, error) {
	sent, err := dialectUserType.Read(q.body)
	if err != nil {
		return nil, err
	}
	return d.changeUser(q, func(r schema.Resource) (schema.Resource, error) {
		for name, v := range sent {
			r[name] = v
		}
		return r, nil
	})
}

// changeUser makes of a person what f makes of its resource in the dialect.
func (d Dialect) changeUser(q *request, f func(schema.Resource) (schema.Resource, error)) (*response, error) {
	p, err := d.editUser(q, func(p directory.Person) (schema.Resource, error) {
		r, err := f(flat(p, q.base))
		if err != nil {
			return nil, err
		}
		return standard(r), nil
	})
	if err != nil {
		return nil, err
	}
	return dialectUserAnswer(http.StatusOK, p), nil
}
