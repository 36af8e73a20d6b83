package scim

import (
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/patch"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// patchUser is U5 to U13.
func (d Dialect) patchUser(q *request) (*response, error) {
	operations, err := readDialectPatch(q.body)
	if err != nil {
		return nil, err
	}
	for _, o := range operations {
		if err := checkDialectOperation(o); err != nil {
			return nil, err
		}
	}
	return d.changeUser(q, func(r schema.Resource) (schema.Resource, error) {
		return patch.Apply(dialectUserType, r, operations)
	})
}

// readPatch reads a PATCH request. A body that names other schemas is another kind of request.
func readPatch(body map[string]any) ([]patch.Operation, error) {
	if err := wantSchema(body, patch.SchemaID); err != nil {
		return nil, err
	}
	return patch.Read(body)
}

// readDialectPatch is readPatch for the dialect, whose scripts may leave the schemas out.
func readDialectPatch(body map[string]any) ([]patch.Operation, error) {
	if body["schemas"] == nil {
		return patch.Read(body)
	}
	return readPatch(body)
}

// wantSchema refuses a body that says it is something else.
func wantSchema(body map[string]any, id string) error {
	list, _ := body["schemas"].([]any)
	for _, v := range list {
		if text, _ := v.(string); strings.EqualFold(text, id) {
			return nil
		}
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidSyntax, Message: `this request needs "schemas": ["` + id + `"]`}
}

// checkDialectOperation holds an operation on a person to what the dialect has: replace, and add and
// remove for roles in registries (SCIM-24, C-14).
func checkDialectOperation(o patch.Operation) error {
	if o.Path == "" {
		if o.Op != patch.Replace {
			return errReplaceOnly
		}
		return nil
	}
	path, err := filter.ParsePath(o.Path)
	if err != nil {
		return err
	}
	target, err := dialectUserType.Resolve(path.Attribute, filter.ReasonInvalidPath)
	switch {
	case err != nil:
		return err
	case target.Attribute.Name == "registryRoles":
		return nil
	case o.Op != patch.Replace:
		return errReplaceOnly
	case target.Attribute.Name == "teamRoles":
		if list, ok := o.Value.([]any); !ok || len(list) != 1 {
			return invalidValue("the value of teamRoles is a list with one object, of teamName and roleName") // SCIM-26
		}
	}
	return nil
}

var errReplaceOnly = &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidSyntax,
	Message: "here the operation on a user is replace; add and remove are for registryRoles"}
