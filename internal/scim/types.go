package scim

import "github.com/wandb-gateway/wandb-gateway/internal/scim/schema"

// The schemas.
const (
	userSchema      = "urn:ietf:params:scim:schemas:core:2.0:User"
	groupSchema     = "urn:ietf:params:scim:schemas:core:2.0:Group"
	wandbUserSchema = "urn:wandb:params:scim:schemas:extension:2.0:User"
	listSchema      = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	searchSchema    = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
	bulkRequest     = "urn:ietf:params:scim:api:messages:2.0:BulkRequest"
	bulkResponse    = "urn:ietf:params:scim:api:messages:2.0:BulkResponse"
)

// text is an attribute that callers may set.
func text(name, description string) *schema.Attribute {
	return &schema.Attribute{Name: name, Type: schema.String, Description: description, Mutability: schema.ReadWrite, Returned: schema.Default, Uniqueness: "none"}
}

// shown is an attribute that callers only see.
func shown(name, description string) *schema.Attribute {
	a := text(name, description)
	a.Mutability = schema.ReadOnly
	return a
}

// truth is a boolean that callers may set.
func truth(name, description string) *schema.Attribute {
	a := text(name, description)
	a.Type = schema.Boolean
	return a
}

// complexOf makes an attribute of others.
func complexOf(name, description string, multi bool, sub ...*schema.Attribute) *schema.Attribute {
	a := text(name, description)
	a.Type, a.MultiValued, a.SubAttributes = schema.Complex, multi, sub
	return a
}

// with changes an attribute while it is described.
func with(a *schema.Attribute, f func(*schema.Attribute)) *schema.Attribute {
	f(a)
	return a
}

// heeded makes an attribute one that counts when it is sent, though callers cannot set it freely.
func heeded(a *schema.Attribute) { a.Mutability, a.Heeded = schema.ReadOnly, true }

func oneOf(a *schema.Attribute, values ...string) *schema.Attribute {
	a.CanonicalValues = values
	return a
}

func required(a *schema.Attribute) *schema.Attribute {
	a.Required = true
	return a
}

func exact(a *schema.Attribute) *schema.Attribute {
	a.CaseExact = true
	return a
}

// reference is an attribute that callers only see, and that leads to a resource.
func reference(name, description string, types ...string) *schema.Attribute {
	a := exact(shown(name, description))
	a.Type, a.ReferenceTypes = schema.Reference, types
	return a
}

// userType describes people. Attributes of the standard that the directory does not keep are not in it,
// and are passed over when callers send them.
var userType = &schema.ResourceType{
	Name: "User", Endpoint: "/Users", Description: "A person of the organization",
	Core: &schema.Schema{ID: userSchema, Name: "User", Description: "A person of the organization", Attributes: []*schema.Attribute{
		with(required(text("userName", "The user name: unique without regard to case, and never changed.")), func(a *schema.Attribute) {
			a.Mutability, a.Uniqueness = schema.Immutable, "server"
		}),
		complexOf("name", "Parts of the person's name.", false,
			text("givenName", "The given name."),
			text("familyName", "The family name."),
		),
		text("displayName", "The person's full name."),
		with(complexOf("emails", "The person's e-mail address. One is kept: the primary one if there are several.", true,
			required(text("value", "The address: unique without regard to case.")),
			text("type", "What the address is for, such as work."),
			truth("primary", "Of several addresses the one that is primary is kept."),
		), func(a *schema.Attribute) { a.One = true }),
		required(truth("active", "Whether the person may sign in and use their keys. Deactivation ends sessions and access tokens for good.")),
		with(complexOf("groups", "The teams that the person is in.", true,
			exact(shown("value", "The team's id.")),
			reference("$ref", "The team.", "Group"),
			shown("display", "The team's name."),
			oneOf(shown("type", "Always direct."), "direct"),
		), func(a *schema.Attribute) { a.Mutability = schema.ReadOnly }),
	}},
	Extensions: []*schema.Schema{{ID: wandbUserSchema, Required: true, Name: "WandbUser", Description: "What W&B lets a person do", Attributes: []*schema.Attribute{
		with(required(oneOf(text("organizationRole", "The role in the organization. viewer can be sent too, and gives the role member with both seats viewer."), "admin", "member")), func(a *schema.Attribute) {
			a.Also = []string{"viewer"}
		}),
		required(oneOf(text("modelsSeat", "The seat for W&B Models."), "full", "viewer", "none")),
		required(oneOf(text("weaveRole", "The seat for W&B Weave."), "full", "viewer", "none")),
		with(complexOf("teamRoles", "The roles in the teams that the person is in, for which another role can be sent. Membership itself is changed at the group.", true,
			required(text("teamName", "The team's name.")),
			required(exact(text("roleName", "admin, member, viewer or the name of a custom role."))),
		), heeded),
		with(complexOf("registryRoles", "Roles in registries, which can be sent, and are kept as they are.", true,
			required(exact(text("registryName", "The registry's name."))),
			required(exact(text("roleName", "The role's name."))),
		), heeded),
	}}},
}

// groupType describes teams.
var groupType = &schema.ResourceType{
	Name: "Group", Endpoint: "/Groups", Description: "A team of the organization",
	Core: &schema.Schema{ID: groupSchema, Name: "Group", Description: "A team of the organization", Attributes: []*schema.Attribute{
		with(required(text("displayName", "The team's name: unique without regard to case, and never changed.")), func(a *schema.Attribute) {
			a.Mutability, a.Uniqueness = schema.Immutable, "server"
		}),
		complexOf("members", "The people in the team.", true,
			with(required(exact(text("value", "The person's id."))), func(a *schema.Attribute) { a.Mutability = schema.Immutable }),
			with(reference("$ref", "The person.", "User"), func(a *schema.Attribute) { a.Mutability = schema.Immutable }),
			oneOf(with(text("type", "Always User: teams hold no teams."), func(a *schema.Attribute) { a.Mutability = schema.Immutable }), "User"),
		),
	}},
}
