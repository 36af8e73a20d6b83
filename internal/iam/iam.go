// Package iam holds the nouns of W&B's identity and access management: organizations, teams,
// projects, users, service accounts, roles, visibilities and principals. It knows nothing of
// stores, HTTP or Caddy, imports only the standard library, and decides nothing: rules live in
// package authz.
//
// Naming follows one rule: Parse reads untrusted text, From and To convert between trusted
// representations, and the zero value of every type is its most closed meaning.
package iam

import (
	"crypto/rand"
	"encoding/hex"
	"strings"
	"time"
	"unicode/utf8"
)

// Typed identifiers. They are opaque, never reused, and distinct types so that one cannot stand
// in for another. The prefix tells a reader of logs what kind of thing an id names.
type (
	// UserID names a User and the user's personal entity.
	UserID string
	// TeamID names a Team.
	TeamID string
	// ProjectID names a Project.
	ProjectID string
	// ServiceAccountID names a ServiceAccount.
	ServiceAccountID string
	// KeyID names an API key: 8 lower-case hex digits (design section 6). It is no secret.
	KeyID string
	// RoleID names a custom role where a name would not do (SCIM).
	RoleID string
	// EntityID names what owns projects: a TeamID, or the UserID of a personal entity.
	EntityID string
)

// NewUserID, NewTeamID, NewProjectID and NewServiceAccountID return fresh random ids.
func NewUserID() UserID                     { return UserID(newID("usr_")) }
func NewTeamID() TeamID                     { return TeamID(newID("team_")) }
func NewProjectID() ProjectID               { return ProjectID(newID("prj_")) }
func NewServiceAccountID() ServiceAccountID { return ServiceAccountID(newID("sa_")) }

// NewRoleID returns a fresh random id.
func NewRoleID() RoleID { return RoleID(newID("role_")) }

// newID returns prefix and 80 random bits: enough that two ids never meet in one organization.
func newID(prefix string) string {
	var b [10]byte
	rand.Read(b[:]) // never fails (crypto/rand)
	return prefix + hex.EncodeToString(b[:])
}

// Entity returns the entity that a team is.
func (id TeamID) Entity() EntityID { return EntityID(id) }

// PersonalEntity returns the id of the user's personal entity (SCOPE-9).
func (id UserID) PersonalEntity() EntityID { return EntityID(id) }

// Team returns the team that the entity is, and whether it is one.
func (id EntityID) Team() (TeamID, bool) { return TeamID(id), strings.HasPrefix(string(id), "team_") }

// User returns the user whose personal entity this is, and whether it is one.
func (id EntityID) User() (UserID, bool) { return UserID(id), strings.HasPrefix(string(id), "usr_") }

// maxNameBytes bounds every name.
const maxNameBytes = 128

// ValidName reports whether s can name a user, team, service account or organization:
// 1 to 128 of letters, digits and . _ @ - (design section 6), but neither "." nor "..".
func ValidName(s string) bool {
	if s == "" || len(s) > maxNameBytes || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '@', c == '-':
		default:
			return false
		}
	}
	return true
}

// ValidProjectName reports whether s can name a project: 1 to 128 bytes of UTF-8 without / \ # ? % :
// and control characters (W&B's own rule), but neither "." nor "..".
func ValidProjectName(s string) bool {
	if s == "" || len(s) > maxNameBytes || s == "." || s == ".." {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case c < ' ', c == 0x7f, c == '/', c == '\\', c == '#', c == '?', c == '%', c == ':':
			return false
		}
	}
	return utf8.ValidString(s)
}

// FoldName returns the form under which names and e-mail addresses are compared and indexed:
// ASCII letters in lower case, every other byte as it is. Names are ASCII by ValidName; folding
// only ASCII keeps look-alike letters (Kelvin sign, dotless i) from meeting their ASCII twins.
func FoldName(s string) string {
	for i := range len(s) {
		if c := s[i]; 'A' <= c && c <= 'Z' {
			return strings.Map(func(r rune) rune {
				if 'A' <= r && r <= 'Z' {
					return r + ('a' - 'A')
				}
				return r
			}, s)
		}
	}
	return s
}

// Organization is the root of everything: one deployment serves one (SCOPE-8).
type Organization struct {
	Name string `json:"name"`
}

// Team is a part of the organization that owns projects.
type Team struct {
	ID       TeamID       `json:"id"`
	Name     string       `json:"name"`
	Settings TeamSettings `json:"settings,omitzero"`
	Created  time.Time    `json:"created"`
}

// Project is a named collection of runs and artifacts inside a team or a personal entity.
type Project struct {
	ID         ProjectID       `json:"id"`
	Entity     EntityID        `json:"entity"`
	Name       string          `json:"name"`
	Visibility Visibility      `json:"visibility"`
	Owner      PrincipalRef    `json:"owner,omitzero"`
	Members    []ProjectMember `json:"members,omitempty"`
	Created    time.Time       `json:"created"`
}

// ProjectMember is one Principal's place in a project: an invitation to a Restricted one, or a
// project role that differs from the team role (PROLE-1..10).
type ProjectMember struct {
	Principal PrincipalRef `json:"principal"`
	// Role is the project role; empty means that it follows the team role (PROLE-3).
	Role Role `json:"role,omitempty"`
}

// Member finds the principal's place in the project.
func (p *Project) Member(ref PrincipalRef) (ProjectMember, bool) {
	for _, m := range p.Members {
		if m.Principal == ref {
			return m, true
		}
	}
	return ProjectMember{}, false
}

// Invited reports whether the principal may enter the project when it is Restricted: members of
// its list, and its owner (design section 6).
func (p *Project) Invited(ref PrincipalRef) bool {
	if ref.ID == "" {
		return false
	}
	if p.Owner == ref {
		return true
	}
	_, ok := p.Member(ref)
	return ok
}

// User is a person.
type User struct {
	ID           UserID           `json:"id"`
	Username     string           `json:"username"`
	Email        string           `json:"email,omitempty"`
	Name         string           `json:"name,omitempty"`
	Role         OrganizationRole `json:"role"`
	BillingAdmin bool             `json:"billing_admin,omitempty"`
	ModelsSeat   Seat             `json:"models_seat"`
	WeaveSeat    Seat             `json:"weave_seat"`
	Active       bool             `json:"active"`
	// Epoch numbers the span for which sessions and access tokens are good: they carry the epoch of
	// their principal, and count only while it is the same. It only grows.
	Epoch uint64 `json:"epoch,omitempty"`
	// DefaultTeam is the team the person chose for work that names no entity; empty if none.
	DefaultTeam TeamID `json:"default_team,omitempty"`
	// Teams are the person's memberships, in the order they were joined.
	Teams []TeamMembership `json:"teams,omitempty"`
	// Bindings are the person's accounts at sign-in authorities, at most one of each issuer.
	Bindings []Binding `json:"bindings,omitempty"`
	// ExternalID is what a provisioning client calls the person. It is kept for that client and finds
	// nobody but in its own searches (threat S03).
	ExternalID string `json:"external_id,omitempty"`
	// GivenName and FamilyName are parts of a name as a provisioning client told them.
	GivenName  string `json:"given_name,omitempty"`
	FamilyName string `json:"family_name,omitempty"`
	// EmailForm is how a provisioning client wrote the address; nil if none did.
	EmailForm *EmailForm `json:"email_form,omitempty"`
	// RegistryRoles are kept as they were given: registries are the W&B server's own.
	RegistryRoles []RegistryRole `json:"registry_roles,omitempty"`
	Created       time.Time      `json:"created"`
	// Modified is when the record last changed; zero if it never did.
	Modified time.Time `json:"modified,omitzero"`
}

// EmailForm is what a provisioning client says of an e-mail address beside it. It means nothing here.
type EmailForm struct {
	Type    string `json:"type,omitempty"`
	Primary *bool  `json:"primary,omitempty"`
}

// RegistryRole is a person's role in one registry of the W&B server.
type RegistryRole struct {
	Registry string `json:"registry"`
	Role     string `json:"role"`
}

// Binding ties a User to one account of a sign-in authority: at that issuer, the person is this
// subject and no other. Both are compared as exact bytes.
type Binding struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
}

// Binding finds the person's account at an issuer.
func (u *User) Binding(issuer string) (Binding, bool) {
	for _, b := range u.Bindings {
		if b.Issuer == issuer {
			return b, true
		}
	}
	return Binding{}, false
}

// TeamMembership is a person's Role in one team.
type TeamMembership struct {
	Team TeamID `json:"team"`
	Role Role   `json:"role"`
}

// Membership finds the person's membership in the team.
func (u *User) Membership(id TeamID) (TeamMembership, bool) {
	for _, m := range u.Teams {
		if m.Team == id {
			return m, true
		}
	}
	return TeamMembership{}, false
}

// ServiceAccount is a non-human identity of the organization or of one team (SA-1, SA-2).
type ServiceAccount struct {
	ID   ServiceAccountID `json:"id"`
	Name string           `json:"name"`
	// Team is the parent team of a team-scoped account; empty for an organization-scoped one.
	Team TeamID `json:"team,omitempty"`
	// DefaultTeam takes the work of an organization-scoped account that names no entity (SA-14).
	DefaultTeam TeamID `json:"default_team,omitempty"`
	// Issuer with Subject or Claims identifies an external account's assertions: they have exactly
	// this subject (FED-26), or all of these claims with exactly these values. All are empty for a
	// built-in account. An external one owns no API keys (KEY-4, FED-31).
	Issuer  string            `json:"issuer,omitempty"`
	Subject string            `json:"subject,omitempty"`
	Claims  map[string]string `json:"claims,omitempty"`
	Active  bool              `json:"active"`
	// Epoch is to the account what a User's is to a person.
	Epoch   uint64    `json:"epoch,omitempty"`
	Created time.Time `json:"created"`
}

// Federated reports whether the account signs in with assertions instead of API keys.
func (s *ServiceAccount) Federated() bool { return s.Subject != "" || len(s.Claims) > 0 }

// CustomRole is a predefined base with permissions added to it (ROLE-1..10).
type CustomRole struct {
	ID          RoleID    `json:"id,omitempty"`
	Name        string    `json:"name"`
	Description string    `json:"description,omitempty"`
	Inherits    Role      `json:"inherits"` // RoleMember or RoleViewer
	Permissions []string  `json:"permissions,omitempty"`
	Created     time.Time `json:"created,omitzero"`
}
