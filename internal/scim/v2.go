package scim

import (
	"net/http"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/patch"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// v2Base is where the standard's protocol answers.
const v2Base = "/scim/v2"

// V2 is the door /scim/v2/ (RFC 7644).
type V2 struct{ *Service }

// ServeCaller answers a request of a caller, who is nil without a credential. What is refused it returns.
func (v V2) ServeCaller(w http.ResponseWriter, r *http.Request, caller *iam.Principal) error {
	return v.serve(w, r, caller, v2Base, func(q *request) (*response, error) {
		if len(q.path) == 1 && q.path[0] == "Bulk" {
			return call(map[string]func(*request) (*response, error){"POST": v.bulk}, q)
		}
		return v.answer(q)
	})
}

// answer answers a request, or one operation of a bulk request.
func (v V2) answer(q *request) (*response, error) {
	if len(q.path) == 0 || len(q.path) > 2 {
		return nil, nothingHere()
	}
	var calls map[string]func(*request) (*response, error)
	single := len(q.path) == 2
	switch search := single && q.path[1] == ".search"; {
	case q.path[0] == ".search" && !single:
		calls = map[string]func(*request) (*response, error){"POST": byBody(v.allBy)}
	case q.path[0] == "Users" && search:
		calls = map[string]func(*request) (*response, error){"POST": byBody(v.usersBy)}
	case q.path[0] == "Users" && single:
		calls = map[string]func(*request) (*response, error){"GET": v.getUser, "PUT": v.putUser, "PATCH": v.patchUser, "DELETE": v.removeUser}
	case q.path[0] == "Users":
		calls = map[string]func(*request) (*response, error){"GET": byQuery(v.usersBy), "POST": v.createUser}
	case q.path[0] == "Groups" && search:
		calls = map[string]func(*request) (*response, error){"POST": byBody(v.groupsBy)}
	case q.path[0] == "Groups" && single:
		calls = map[string]func(*request) (*response, error){"GET": v.getGroup, "PUT": v.putGroup, "PATCH": v.patchGroup, "DELETE": deleteGroup}
	case q.path[0] == "Groups":
		calls = map[string]func(*request) (*response, error){"GET": byQuery(v.groupsBy), "POST": v.createGroup}
	case q.path[0] == "Me" && !single:
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonNotImplemented, Message: "who calls is not answered here: find yourself among the Users"}
	default:
		return v.discover(q)
	}
	return call(calls, q)
}

// projection reads the parameters attributes and excludedAttributes.
func (q *request) projection(t *schema.ResourceType) schema.Projection {
	return t.Project(commas(q.query["attributes"]), commas(q.query["excludedAttributes"]))
}

func (v V2) userAnswer(q *request, status int, p directory.Person) *response {
	r := userResource(p, q.base, everything)
	a := &response{status: status, body: q.projection(userType).Apply(r), location: q.base + "/Users/" + string(p.ID), version: userVersion(p.User)}
	return a
}

func (v V2) groupAnswer(q *request, status int, g *directory.Group) *response {
	r := groupResource(g, q.base, everything)
	return &response{status: status, body: q.projection(groupType).Apply(r), location: q.base + "/Groups/" + string(g.ID), version: groupVersion(g)}
}

func (v V2) getUser(q *request) (*response, error) {
	id, err := userID(q.path[1])
	if err != nil {
		return nil, err
	}
	p, err := v.Directory.Person(q.ctx(), id)
	if err != nil {
		return nil, err
	}
	return v.userAnswer(q, http.StatusOK, p), nil
}

func (v V2) createUser(q *request) (*response, error) {
	if err := wantSchema(q.body, userSchema); err != nil {
		return nil, err
	}
	r, err := userType.Read(q.body)
	if err != nil {
		return nil, err
	}
	n, err := newUser(r)
	if err != nil {
		return nil, err
	}
	p, err := v.addUser(q, n)
	if err != nil {
		return nil, err
	}
	return v.userAnswer(q, http.StatusCreated, p), nil
}

// putUser replaces a person's attributes. Those that give rights stay as they are unless the request has
// them: identity providers send PUT without W&B's extension.
func (v V2) putUser(q *request) (*response, error) {
	if err := wantSchema(q.body, userSchema); err != nil {
		return nil, err
	}
	sent, err := userType.Read(q.body)
	if err != nil {
		return nil, err
	}
	if str(sent, "userName") == "" {
		return nil, invalidValue("a user needs a userName")
	}
	if name := fullName(sent); str(sent, "displayName") == "" && name != "" {
		sent["displayName"] = name
	}
	p, err := v.editUser(q, func(directory.Person) (schema.Resource, error) { return sent, nil })
	if err != nil {
		return nil, err
	}
	return v.userAnswer(q, http.StatusOK, p), nil
}

func (v V2) patchUser(q *request) (*response, error) {
	operations, err := readPatch(q.body)
	if err != nil {
		return nil, err
	}
	p, err := v.editUser(q, func(p directory.Person) (schema.Resource, error) {
		r, err := patch.Apply(userType, userResource(p, q.base, everything), operations)
		if err != nil {
			return nil, err
		}
		if r[wandbUserSchema] == nil {
			r[wandbUserSchema] = schema.Resource{} // what was taken out of it is to go
		}
		return r, nil
	})
	if err != nil {
		return nil, err
	}
	return v.userAnswer(q, http.StatusOK, p), nil
}

func (v V2) getGroup(q *request) (*response, error) {
	id, err := teamID(q.path[1])
	if err != nil {
		return nil, err
	}
	g, err := v.Directory.Group(q.ctx(), id)
	if err != nil {
		return nil, err
	}
	return v.groupAnswer(q, http.StatusOK, g), nil
}

func (v V2) createGroup(q *request) (*response, error) {
	if err := wantSchema(q.body, groupSchema); err != nil {
		return nil, err
	}
	r, err := groupType.Read(q.body)
	if err != nil {
		return nil, err
	}
	members, err := memberIDs(r, nil)
	if err != nil {
		return nil, err
	}
	g, err := v.addGroup(q, str(r, "displayName"), str(r, "externalId"), members)
	if err != nil {
		return nil, err
	}
	return v.groupAnswer(q, http.StatusCreated, g), nil
}

func (v V2) putGroup(q *request) (*response, error) {
	if err := wantSchema(q.body, groupSchema); err != nil {
		return nil, err
	}
	r, err := groupType.Read(q.body)
	if err != nil {
		return nil, err
	}
	g, err := v.editGroup(q, nil, func(*directory.Group) (schema.Resource, error) { return r, nil })
	if err != nil {
		return nil, err
	}
	return v.groupAnswer(q, http.StatusOK, g), nil
}

// patchGroup answers with the team only if the caller says which of its attributes: a team can have
// thousands of members, and identity providers change them a hundred at a time (RFC 7644 section 3.5.2).
func (v V2) patchGroup(q *request) (*response, error) {
	operations, err := readPatch(q.body)
	if err != nil {
		return nil, err
	}
	g, err := v.editGroup(q, nil, func(g *directory.Group) (schema.Resource, error) { return patchedGroup(g, q.base, operations) })
	if err != nil {
		return nil, err
	}
	if !q.query.Has("attributes") && !q.query.Has("excludedAttributes") {
		return &response{status: http.StatusNoContent, location: q.base + "/Groups/" + string(g.ID), version: groupVersion(g)}, nil
	}
	return v.groupAnswer(q, http.StatusOK, g), nil
}
