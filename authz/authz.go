// Package authz holds the rules: given what a request wants to do and the facts about who asks and
// what it touches, Decide says whether it may, and why. It is pure: no I/O, no clock, no state. The
// facts come from package directory or from the deployment behind the gateway; the answer is
// enforced by package gateway. The whole truth table stands in testdata/matrix.golden, which is
// also the manual page docs/permissions.md.
package authz

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// Permission is one verb on one kind of resource, in W&B's own grammar object:operation (ROLE-4).
type Permission string

// Permissions on a project and what is in it. Visibility, roles, seats and scopes decide.
const (
	ProjectRead          Permission = "project:read"           // view runs, artifacts, files, reports
	RunWrite             Permission = "run:write"              // submit runs, artifacts, sweeps, jobs, traces
	RunStop              Permission = "run:stop"               // stop a run
	RunDelete            Permission = "run:delete"             // delete a run or its files
	RunMove              Permission = "run:move"               // take a run out of the project; into another one is RunWrite there (VIS-10)
	ReportCreate         Permission = "report:create"          // create a report or view
	ReportUpdate         Permission = "report:update"          // edit or delete a report or view
	ProjectUpdate        Permission = "project:update"         // description and the like, not visibility
	ProjectDelete        Permission = "project:delete"         // delete the project
	ProjectSetVisibility Permission = "project:set_visibility" // Open, Public, Team, Restricted (VIS-7)
	ProjectManageMembers Permission = "project:manage_members" // invitations and project roles
)

// Permissions on an entity: a team or a person's own.
const (
	EntityRead           Permission = "entity:read"                 // its name, id, organization; list what one may see in it
	EntityWrite          Permission = "entity:write"                // charts, launch configurations and the like
	ProjectCreate        Permission = "project:create"              // a new project in it
	TeamReadMembers      Permission = "team:read_members"           // who is in the team
	TeamManage           Permission = "team:manage"                 // members, roles, settings, webhooks, secrets
	TeamCreateServiceAcc Permission = "team:create_service_account" // service accounts of the team
	// TeamInvite is adding others as members who are in the team not yet; any other role, and taking
	// people out, is TeamManage (TEAM-6).
	TeamInvite Permission = "team:invite"
	// TeamJoin is adding oneself to a team, or raising one's own role in it; adding others is
	// TeamManage. Every door asks for it when the caller is also the one who is added (ENV-9, ENV-23).
	TeamJoin Permission = "team:join"
)

// Permissions on the organization, the server and oneself.
const (
	OrganizationRead   Permission = "organization:read"   // its name, its registries
	OrganizationManage Permission = "organization:manage" // users, teams, roles, every key
	// OrganizationProvision is keeping users, teams and roles in step from outside: SCIM, and looking
	// users up. Organization service accounts may do this and no other administration (SA-18).
	OrganizationProvision Permission = "organization:provision"
	TeamCreate            Permission = "team:create" // a new team (ORG-12)
	ServerRead            Permission = "server:read" // server info, feature list, introspection
	SelfRead              Permission = "self:read"   // who am I
	SelfUpdate            Permission = "self:update" // one's own keys and settings
	// Unplaced is asked for what the gateway cannot place in a project or entity: an unknown root
	// field, an id that hides its project. The `unplaced` policy decides (design section 3, step 4).
	UnplacedRead  Permission = "unplaced:read"
	UnplacedWrite Permission = "unplaced:write"
)

// Writes reports whether the permission is to change anything. One that the rules do not know is.
func (p Permission) Writes() bool {
	switch p {
	case ProjectRead, EntityRead, TeamReadMembers, OrganizationRead, ServerRead, SelfRead, UnplacedRead:
		return false
	default:
		return true
	}
}

// Effect is the outcome of a decision. Its zero value denies.
type Effect uint8

// The effects.
const (
	Deny Effect = iota
	Allow
)

// Decision is an Effect and why.
type Decision struct {
	Effect Effect
	Reason iam.Reason
}

// Allowed reports whether the effect is Allow.
func (d Decision) Allowed() bool { return d.Effect == Allow }

// Product is which part of W&B a request belongs to; each has a seat of its own (SEAT-1).
type Product uint8

// The products.
const (
	Models Product = iota
	Weave
)

// UnplacedPolicy says who may do what the gateway cannot place.
type UnplacedPolicy uint8

// The policies (design sections 3 and 6).
const (
	UnplacedDeny    UnplacedPolicy = iota // nobody
	UnplacedMembers                       // full members of the organization and its own service accounts
	UnplacedAllow                         // everybody signed in
)

// Request is what a caller wants.
type Request struct {
	Permission Permission
	Product    Product
	// Visibility is what the project is to have, with ProjectSetVisibility and ProjectCreate. It counts
	// if SetsVisibility: a project that is made without one becomes Team.
	Visibility     iam.Visibility
	SetsVisibility bool
}

// Facts is everything a decision depends on, read at one revision.
type Facts struct {
	// Principal is who asks; nil for a caller without a credential.
	Principal *iam.Principal
	// Organization is the name of the organization that the gateway serves.
	Organization string
	// Entity is the team or personal entity that the request names; nil if there is none.
	Entity *iam.Entity
	// Project is the project that the request names; nil if there is none (yet).
	Project *iam.Project
	// Team is what is chosen for Entity, if that is a team, and Enforced what the organization decides
	// for all teams.
	Team     iam.TeamSettings
	Enforced iam.EnforcedSettings
	// ProjectName is the name by which the request names it, there or not. API keys that are limited to one
	// project are judged by it.
	ProjectName string
	// Roles are the organization's custom roles by name.
	Roles map[iam.Role]*iam.CustomRole
	// Settings are the switches of the deployment.
	Settings Settings
}

// Settings are the switches of a deployment that change decisions. The zero value is W&B's default.
type Settings struct {
	// AnonymousPublicProjects lets callers without a credential view Open and Public projects
	// (VIS-15, GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS).
	AnonymousPublicProjects bool
	// DisablePersonalEntity refuses writing to personal projects; reading stays (ENV-8, ENV-22).
	DisablePersonalEntity bool
	// DisableAdminTeamAccess keeps organization admins from joining teams by themselves (ENV-9).
	DisableAdminTeamAccess bool
	// DisableTeamServiceAccounts blocks new team-scoped service accounts (ENV-13).
	DisableTeamServiceAccounts bool
	// AllowUserTeamCreation lets everybody create teams (ENV-12).
	AllowUserTeamCreation bool
	// Unplaced decides over UnplacedRead and UnplacedWrite.
	Unplaced UnplacedPolicy
}
