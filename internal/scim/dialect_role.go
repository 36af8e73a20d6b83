package scim

import (
	"encoding/base64"
	"net/http"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/patch"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// Custom roles are an addition of W&B's, and in its dialect alone (SCIM-1, R1 to R6).

// inherited are the permissions that a base is shown with: those that W&B's documents name (ROLE-5,
// ROLE-8). What a base may do, authz says.
var inherited = map[iam.Role][]string{
	iam.RoleViewer: {"artifact:read", "launchagent:read", "project:read", "run:read"},
	iam.RoleMember: {"artifact:read", "launchagent:read", "project:read", "run:read"},
}

type dialectRole struct {
	Description    string              `json:"description"`
	ID             string              `json:"id"`
	InheritedFrom  iam.Role            `json:"inheritedFrom"`
	Meta           dialectMeta         `json:"meta"`
	Name           string              `json:"name"`
	OrganizationID string              `json:"organizationID"`
	Permissions    []dialectPermission `json:"permissions"`
	Schemas        []string            `json:"schemas"`
}

type dialectPermission struct {
	Name        string `json:"name"`
	IsInherited bool   `json:"isInherited"`
}

// wireID writes an id as W&B's API does (SCOPE-12).
func wireID(kind, id string) string {
	return base64.StdEncoding.EncodeToString([]byte(kind + ":" + id))
}

func roleID(text string) (iam.RoleID, error) {
	if raw, err := base64.StdEncoding.DecodeString(text); err == nil && len(raw) > len("Role:") && string(raw[:5]) == "Role:" {
		text = string(raw[5:])
	}
	if !wellFormed(text, "role_") {
		return "", iam.NotFoundf("there is no custom role of this id: it is wrong, or the role was deleted")
	}
	return iam.RoleID(text), nil
}

func (d Dialect) newRole(r iam.CustomRole) dialectRole {
	id := wireID("Role", string(r.ID))
	role := dialectRole{
		Description: r.Description, ID: id, InheritedFrom: r.Inherits, Name: r.Name, Schemas: []string{""},
		OrganizationID: wireID("Organization", d.Directory.Space()),
		Meta:           dialectMeta{ResourceType: "Role", Created: moment(r.Created), Location: "Roles/" + id, Version: versionOf(r)},
	}
	for _, name := range inherited[r.Inherits] {
		role.Permissions = append(role.Permissions, dialectPermission{name, true})
	}
	for _, name := range r.Permissions {
		if !slices.Contains(inherited[r.Inherits], name) {
			role.Permissions = append(role.Permissions, dialectPermission{name, false})
		}
	}
	return role
}

func (d Dialect) roleAnswer(status int, r iam.CustomRole) *response {
	role := d.newRole(r)
	return &response{status: status, body: role, version: role.Meta.Version}
}

func (d Dialect) getRole(q *request) (*response, error) {
	id, err := roleID(q.path[1])
	if err != nil {
		return nil, err
	}
	roles, err := d.Directory.Roles(q.ctx())
	if err != nil {
		return nil, err
	}
	for _, r := range roles {
		if r.ID == id {
			return d.roleAnswer(http.StatusOK, r), nil
		}
	}
	return nil, iam.NotFoundf("there is no custom role of this id: it is wrong, or the role was deleted")
}

func (d Dialect) listRoles(q *request) (*response, error) {
	if q.query.Has("filter") {
		return nil, errDialectFilter
	}
	roles, err := d.Directory.Roles(q.ctx())
	if err != nil {
		return nil, err
	}
	shown := make([]dialectRole, len(roles))
	for i, r := range roles {
		shown[i] = d.newRole(r)
	}
	return list(shown, 1, dialectMost, len(shown)), nil
}

// roleIn reads name, description and base of a role; nil for what is not given.
func roleIn(body map[string]any) (name, description *string, base *iam.Role, err error) {
	fields := map[string]*string{}
	for _, field := range []string{"name", "description", "inheritedfrom"} {
		switch v := body[field].(type) {
		case nil:
		case string:
			fields[field] = &v
		default:
			return nil, nil, nil, invalidValue(field + " is a string")
		}
	}
	if text := fields["inheritedfrom"]; text != nil {
		role := iam.Role(iam.FoldName(*text)) // which roles there are to inherit from, the directory knows
		base = &role
	}
	return fields["name"], fields["description"], base, nil
}

// permissionsIn reads a list of permissions: objects with a name.
func permissionsIn(v any) ([]string, error) {
	list, ok := v.([]any)
	if !ok {
		return nil, invalidValue(`permissions is a list of objects such as {"name": "run:stop"}`)
	}
	names := make([]string, 0, len(list))
	for _, v := range list {
		object, _ := v.(map[string]any)
		name, ok := object["name"].(string)
		if !ok {
			return nil, invalidValue(`permissions is a list of objects such as {"name": "run:stop"}`)
		}
		names = append(names, name)
	}
	return names, nil
}

func (d Dialect) createRole(q *request) (*response, error) {
	name, description, base, err := roleIn(q.body)
	if err != nil {
		return nil, err
	}
	role := iam.CustomRole{Name: value(name), Description: value(description), Inherits: value(base)}
	if v, given := q.body["permissions"]; given && v != nil {
		if role.Permissions, err = permissionsIn(v); err != nil {
			return nil, err
		}
	}
	c, err := d.by(q).CreateRole(q.ctx(), own(role))
	if err != nil {
		return nil, err
	}
	d.report(q, "role:create", string(c.After.ID), nil, c.After)
	return d.roleAnswer(http.StatusCreated, *c.After), nil
}

// own leaves out of a role's permissions those that it inherits.
func own(r iam.CustomRole) iam.CustomRole {
	r.Permissions = slices.DeleteFunc(slices.Clone(r.Permissions), func(name string) bool {
		return slices.Contains(inherited[r.Inherits], name)
	})
	return r
}

// putRole is R6. Permissions that are given replace those that were added; else these stay (C-13).
func (d Dialect) putRole(q *request) (*response, error) {
	name, description, base, err := roleIn(q.body)
	if err != nil {
		return nil, err
	}
	if name == nil || base == nil {
		return nil, invalidValue("a role needs a name and inheritedFrom, which is member or viewer")
	}
	var permissions []string
	v, given := q.body["permissions"]
	if given = given && v != nil; given {
		if permissions, err = permissionsIn(v); err != nil {
			return nil, err
		}
	}
	return d.editRole(q, func(r iam.CustomRole) (iam.CustomRole, error) {
		r.Name, r.Description, r.Inherits = *name, value(description), *base
		if given {
			r.Permissions = permissions
		}
		return own(r), nil
	})
}

// patchRole is R5.
func (d Dialect) patchRole(q *request) (*response, error) {
	operations, err := readDialectPatch(q.body)
	if err != nil {
		return nil, err
	}
	for _, o := range operations {
		if iam.FoldName(o.Path) != "permissions" || o.Op == patch.Replace {
			return nil, &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonInvalidSyntax,
				Message: "of a role, permissions can be added and removed; PUT changes the rest"}
		}
	}
	return d.editRole(q, func(r iam.CustomRole) (iam.CustomRole, error) {
		for _, o := range operations {
			names, err := permissionsIn(o.Value)
			if err != nil {
				return r, err
			}
			if r, err = changePermissions(r, o.Op, names); err != nil {
				return r, err
			}
		}
		return r, nil
	})
}

func changePermissions(r iam.CustomRole, op patch.Op, names []string) (iam.CustomRole, error) {
	if op == patch.Add {
		r.Permissions = append(slices.Clone(r.Permissions), names...)
		return own(r), nil
	}
	for _, name := range names {
		if slices.Contains(inherited[r.Inherits], name) { // ROLE-13
			return r, invalidValue("the permission " + name + " is inherited from " + string(r.Inherits) + " and cannot be removed")
		}
	}
	r.Permissions = slices.DeleteFunc(slices.Clone(r.Permissions), func(name string) bool { return slices.Contains(names, name) })
	return r, nil
}

func (d Dialect) editRole(q *request, edit func(iam.CustomRole) (iam.CustomRole, error)) (*response, error) {
	id, err := roleID(q.path[1])
	if err != nil {
		return nil, err
	}
	c, err := d.by(q).EditRole(q.ctx(), id, func(r iam.CustomRole) (iam.CustomRole, error) {
		if err := q.condition.check(versionOf(r)); err != nil {
			return r, err
		}
		return edit(r)
	})
	if err != nil {
		return nil, err
	}
	if versionOf(c.Before) != versionOf(c.After) {
		d.report(q, "role:update", string(id), c.Before, c.After)
	}
	return d.roleAnswer(http.StatusOK, *c.After), nil
}

// deleteRole is R4: those who hold the role get the one that it inherits from.
func (d Dialect) deleteRole(q *request) (*response, error) {
	id, err := roleID(q.path[1])
	if err != nil {
		return nil, err
	}
	c, err := d.by(q).RemoveRole(q.ctx(), id, func(r iam.CustomRole) error { return q.condition.check(versionOf(r)) })
	if err != nil {
		return nil, err
	}
	d.report(q, "role:delete", string(id), c.Before, nil)
	return &response{status: http.StatusNoContent}, nil
}
