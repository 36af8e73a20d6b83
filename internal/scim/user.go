package scim

import (
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

// userVersion names the state of a person's record.
func userVersion(u *iam.User) string { return versionOf(u) }

// moment writes a time as SCIM does.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// lastModified is when a record last changed: when it was made, if it never did (RFC 7643 section 3.1).
func lastModified(created, modified time.Time) string {
	if modified.IsZero() {
		modified = created
	}
	return moment(modified)
}

// userResource shows a person as the standard does, with those attributes that are wanted. Team names
// are needed for groups and the extension only.
func userResource(p directory.Person, base string, wants func(name string) bool) schema.Resource {
	r := schema.Resource{"schemas": []any{userSchema, wandbUserSchema}, "id": string(p.ID), "userName": p.Username, "active": p.Active}
	set := func(name string, value any) {
		if value != "" {
			r[name] = value
		}
	}
	set("externalId", p.ExternalID)
	set("displayName", p.Name)
	if p.GivenName != "" || p.FamilyName != "" {
		name := schema.Resource{}
		if p.GivenName != "" {
			name["givenName"] = p.GivenName
		}
		if p.FamilyName != "" {
			name["familyName"] = p.FamilyName
		}
		r["name"] = name
	}
	if p.Email != "" {
		r["emails"] = []any{emailResource(p.User)}
	}
	if wants("groups") {
		if groups := groupsOf(p, base); len(groups) > 0 {
			r["groups"] = groups
		}
	}
	if wants(wandbUserSchema) {
		r[wandbUserSchema] = wandbUser(p)
	}
	if wants("meta") {
		r["meta"] = schema.Resource{
			"resourceType": "User", "created": moment(p.Created), "lastModified": lastModified(p.Created, p.Modified),
			"location": base + "/Users/" + string(p.ID), "version": userVersion(p.User),
		}
	}
	return r
}

// emailResource shows an address as the client wrote it, and one that no client wrote as most do.
func emailResource(u *iam.User) schema.Resource {
	if u.EmailForm == nil {
		return schema.Resource{"value": u.Email, "type": "work", "primary": true}
	}
	r := schema.Resource{"value": u.Email}
	if u.EmailForm.Type != "" {
		r["type"] = u.EmailForm.Type
	}
	if u.EmailForm.Primary != nil {
		r["primary"] = *u.EmailForm.Primary
	}
	return r
}

func everything(string) bool { return true }

func groupsOf(p directory.Person, base string) []any {
	var groups []any
	for _, m := range p.Teams {
		if name, ok := p.TeamNames[m.Team]; ok {
			groups = append(groups, schema.Resource{"value": string(m.Team), "$ref": base + "/Groups/" + string(m.Team), "display": name, "type": "direct"})
		}
	}
	return groups
}

func wandbUser(p directory.Person) schema.Resource {
	r := schema.Resource{"organizationRole": string(p.Role), "modelsSeat": string(p.ModelsSeat), "weaveRole": string(p.WeaveSeat)}
	var roles []any
	for _, m := range p.Teams {
		if name, ok := p.TeamNames[m.Team]; ok {
			roles = append(roles, schema.Resource{"teamName": name, "roleName": string(m.Role)})
		}
	}
	if roles != nil {
		r["teamRoles"] = roles
	}
	var registries []any
	for _, role := range p.RegistryRoles {
		registries = append(registries, schema.Resource{"registryName": role.Registry, "roleName": role.Role})
	}
	if registries != nil {
		r["registryRoles"] = registries
	}
	return r
}

// newUser reads a person to be added.
func newUser(r schema.Resource) (directory.NewUser, error) {
	name, _ := r["name"].(schema.Resource)
	n := directory.NewUser{
		Username: str(r, "userName"), Name: str(r, "displayName"),
		ExternalID: str(r, "externalId"), GivenName: str(name, "givenName"), FamilyName: str(name, "familyName"),
		Inactive: r["active"] == false,
	}
	n.Email, n.EmailForm = emailIn(r)
	if n.Username == "" {
		return n, invalidValue("a user needs a userName")
	}
	if n.Name == "" {
		n.Name = fullName(r)
	}
	wandb, _ := r[wandbUserSchema].(schema.Resource)
	if wandb["teamRoles"] != nil {
		return n, invalidValue("a new user is in no team yet: add them to the team's members first, then give them a role there")
	}
	role, models, weave, err := rights(wandb, "")
	if err != nil {
		return n, err
	}
	n.RegistryRoles = registryRoles(wandb)
	n.Role, n.ModelsSeat, n.WeaveSeat = value(role), value(models), value(weave)
	return n, nil
}

// fullName is a person's name made of its parts.
func fullName(r schema.Resource) string {
	name, _ := r["name"].(schema.Resource)
	return strings.TrimSpace(str(name, "givenName") + " " + str(name, "familyName"))
}

// rights reads organization role and seats; nil for what is not given. The role viewer, which W&B does
// not give any more, is the role member with seats that only read (ORG-6, design section 6); whoever has it
// of old keeps it until told otherwise.
func rights(wandb schema.Resource, was iam.OrganizationRole) (role *iam.OrganizationRole, models, weave *iam.Seat, err error) {
	if role, err = parsed(wandb, "organizationRole", iam.ParseOrganizationRole); err != nil {
		return nil, nil, nil, err
	}
	if models, err = parsed(wandb, "modelsSeat", iam.ParseSeat); err != nil {
		return nil, nil, nil, err
	}
	if weave, err = parsed(wandb, "weaveRole", iam.ParseSeat); err != nil {
		return nil, nil, nil, err
	}
	if value(role) == iam.OrganizationViewer && was != iam.OrganizationViewer {
		member, viewer := iam.OrganizationMember, iam.SeatViewer
		role, models, weave = &member, &viewer, &viewer
	}
	return role, models, weave, nil
}

// userChange is the difference between a person and the resource that they are to become. What says
// what a person may do stays as it is where the resource does not mention it.
func (s *Service) userChange(q *request, p directory.Person, r schema.Resource) (directory.UserChange, error) {
	var c directory.UserChange
	if iam.FoldName(str(r, "userName")) != iam.FoldName(p.Username) {
		return c, &iam.Error{Kind: iam.KindInvalid, Reason: schema.ReasonMutability,
			Message: "userName stays what it was at first: delete the user and create another"}
	}
	name, _ := r["name"].(schema.Resource)
	var address string
	address, c.EmailForm = emailIn(r)
	if address == p.Email && p.EmailForm == nil && reflect.DeepEqual(r["emails"], []any{emailResource(p.User)}) {
		c.EmailForm = nil // as it is shown anyway
	}
	c.Email, c.Name, c.ExternalID = &address, ptr(str(r, "displayName")), ptr(str(r, "externalId"))
	c.GivenName, c.FamilyName = ptr(str(name, "givenName")), ptr(str(name, "familyName"))
	if active, ok := r["active"].(bool); ok {
		c.Active = &active
	}
	wandb, ok := r[wandbUserSchema].(schema.Resource)
	if !ok {
		return c, nil
	}
	var err error
	if c.Role, c.ModelsSeat, c.WeaveSeat, err = rights(wandb, p.Role); err != nil {
		return c, err
	}
	c.RegistryRoles = ptr(registryRoles(wandb))
	roles, err := teamRoles(wandb)
	if err != nil {
		return c, err
	}
	if str(wandb, "organizationRole") == string(iam.OrganizationViewer) && p.Role != iam.OrganizationViewer {
		c.TeamRoles = viewerEverywhere(p)
	}
	return c, s.changeTeamRoles(q, p, &c, roles)
}

// teamRole is a role in a team as callers write it.
type teamRole struct {
	team string
	role iam.Role
}

func teamRoles(wandb schema.Resource) ([]teamRole, error) {
	var roles []teamRole
	list, _ := wandb["teamRoles"].([]any)
	for _, v := range list {
		one, _ := v.(schema.Resource)
		name := str(one, "roleName")
		if !iam.ValidName(name) {
			return nil, invalidValue("a roleName is admin, member, viewer or the name of a custom role")
		}
		role, err := iam.ParseRole(name)
		if err != nil {
			return nil, err
		}
		roles = append(roles, teamRole{str(one, "teamName"), role})
	}
	return roles, nil
}

// changeTeamRoles adds what differs of a person's roles to a change. A team that the person is not in is
// refused (design section 6).
func (s *Service) changeTeamRoles(q *request, p directory.Person, c *directory.UserChange, roles []teamRole) error {
	for _, role := range roles {
		team, is, in := p.TeamRole(role.team)
		if !in {
			return invalidValue(p.Username + " is not in a team of that name, and a role adds nobody to a team: add them to the team's members first")
		}
		if is == role.role {
			continue
		}
		if err := s.mayGive(q, p.ID, role.team); err != nil {
			return err
		}
		if c.TeamRoles == nil {
			c.TeamRoles = map[iam.TeamID]iam.Role{}
		}
		c.TeamRoles[team] = role.role
	}
	return nil
}

// viewerEverywhere are the roles of one who only reads (ORG-6).
func viewerEverywhere(p directory.Person) map[iam.TeamID]iam.Role {
	roles := map[iam.TeamID]iam.Role{}
	for _, m := range p.Teams {
		roles[m.Team] = iam.RoleViewer
	}
	return roles
}

func registryRoles(wandb schema.Resource) []iam.RegistryRole {
	var roles []iam.RegistryRole
	list, _ := wandb["registryRoles"].([]any)
	for _, v := range list {
		one, _ := v.(schema.Resource)
		role := iam.RegistryRole{Registry: str(one, "registryName"), Role: str(one, "roleName")}
		// One role a registry: another takes its place.
		if i := slices.IndexFunc(roles, func(r iam.RegistryRole) bool { return r.Registry == role.Registry }); i >= 0 {
			roles[i] = role
			continue
		}
		roles = append(roles, role)
	}
	return roles
}

// emailIn is the primary address of a resource, else the first, and how it is written; nil without one.
func emailIn(r schema.Resource) (string, *iam.EmailForm) {
	list, _ := r["emails"].([]any)
	if len(list) == 0 {
		return "", nil
	}
	chosen, _ := list[0].(schema.Resource)
	for _, v := range list {
		if one, _ := v.(schema.Resource); one["primary"] == true {
			chosen = one
		}
	}
	form := &iam.EmailForm{Type: str(chosen, "type")}
	if primary, given := chosen["primary"].(bool); given {
		form.Primary = &primary
	}
	return str(chosen, "value"), form
}

func str(r schema.Resource, name string) string {
	text, _ := r[name].(string)
	return text
}

func parsed[T any](r schema.Resource, name string, parse func(string) (T, error)) (*T, error) {
	text := str(r, name)
	if text == "" {
		return nil, nil
	}
	v, err := parse(text)
	if err != nil {
		return nil, err
	}
	return &v, nil
}

func ptr[T any](v T) *T { return &v }

// value returns what p points to, or the zero value.
func value[T any](p *T) T {
	var zero T
	if p == nil {
		return zero
	}
	return *p
}
