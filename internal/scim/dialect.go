package scim

import (
	"net/http"
	"strconv"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// W&B's own dialect, below /scim/ (iam.md section 7): the shapes that W&B's server answers with, to the
// letter of their capitals.

// dialectBase is where it answers.
const dialectBase = "/scim"

// dialectMost is how many resources a list holds, and what it says of its pages (SCIM-9).
const dialectMost = 9999

// Dialect is the door /scim/.
type Dialect struct{ *Service }

// ServeCaller answers a request of a caller, who is nil without a credential. What is refused it returns.
func (d Dialect) ServeCaller(w http.ResponseWriter, r *http.Request, caller *iam.Principal) error {
	return d.serve(w, r, caller, dialectBase, d.answer)
}

func (d Dialect) answer(q *request) (*response, error) {
	if len(q.path) == 0 || len(q.path) > 2 {
		return nil, nothingHere()
	}
	var calls map[string]func(*request) (*response, error)
	switch single := len(q.path) == 2; {
	case q.path[0] == "Users" && single:
		calls = map[string]func(*request) (*response, error){"GET": d.getUser, "PATCH": d.patchUser, "PUT": d.putUser, "DELETE": d.deleteUser}
	case q.path[0] == "Users":
		calls = map[string]func(*request) (*response, error){"GET": d.listUsers, "POST": d.createUser}
	case q.path[0] == "Groups" && single:
		calls = map[string]func(*request) (*response, error){"GET": d.getGroup, "PATCH": d.patchGroup, "PUT": d.putGroup, "DELETE": deleteGroup}
	case q.path[0] == "Groups":
		calls = map[string]func(*request) (*response, error){"GET": d.listGroups, "POST": d.createGroup}
	case q.path[0] == "Roles" && single:
		calls = map[string]func(*request) (*response, error){"GET": d.getRole, "PATCH": d.patchRole, "PUT": d.putRole, "DELETE": d.deleteRole}
	case q.path[0] == "Roles":
		calls = map[string]func(*request) (*response, error){"GET": d.listRoles, "POST": d.createRole}
	default:
		return nil, nothingHere()
	}
	return call(calls, q)
}

// call finds what answers the method; HEAD is GET without its body.
func call(calls map[string]func(*request) (*response, error), q *request) (*response, error) {
	method := q.method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	f, ok := calls[method]
	if !ok {
		return nil, notAllowed(q.method)
	}
	switch q.method {
	case http.MethodPost, http.MethodPut, http.MethodPatch:
		if q.body != nil {
			break // of an operation of a bulk request
		}
		var err error
		if q.body, err = readBody(q.http); err != nil {
			return nil, err
		}
	}
	return f(q)
}

// dialectMeta is the meta of the dialect. Locations are relative (SCIM-18).
type dialectMeta struct {
	ResourceType string `json:"resourceType"`
	Created      string `json:"created"`
	LastModified string `json:"lastModified,omitempty"`
	Location     string `json:"location"`
	Version      string `json:"version"`
}

type dialectList struct {
	Resources    any      `json:"Resources"`
	ItemsPerPage int      `json:"itemsPerPage"`
	Schemas      []string `json:"schemas"`
	StartIndex   int      `json:"startIndex"`
	TotalResults int      `json:"totalResults"`
}

// dialectPage reads which part of a list is asked for. Nothing is said of pages there, but clients of the
// standard send these, and an organization can have more than one list holds.
func dialectPage(q *request) (start, count int, err error) {
	start, err = number(q, "startIndex", 1)
	if err != nil {
		return 0, 0, err
	}
	count, err = number(q, "count", dialectMost)
	return min(max(start, 1), farthest), min(max(count, 0), dialectMost), err
}

func number(q *request, name string, otherwise int) (int, error) {
	text := q.query.Get(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return 0, invalidValue(name + " is a whole number")
	}
	return n, nil
}

func list(resources any, start, count, total int) *response {
	return &response{status: http.StatusOK, body: dialectList{
		Resources: resources, ItemsPerPage: count, Schemas: []string{listSchema}, StartIndex: start, TotalResults: total,
	}}
}
