package iam

import "fmt"

// Role names a set of permissions in a team or a project: one of the three predefined ones, or
// the name of a custom role. Predefined names are compared without regard to case when parsed,
// custom ones exactly (SCIM-26). The empty Role grants nothing.
type Role string

// The predefined roles (TEAM-1). View-Only is "viewer" everywhere (design section 6).
const (
	RoleAdmin  Role = "admin"
	RoleMember Role = "member"
	RoleViewer Role = "viewer"
)

// ParseRole reads a team or project role: a predefined one in any case, else a custom role's name.
func ParseRole(s string) (Role, error) {
	switch FoldName(s) {
	case "admin":
		return RoleAdmin, nil
	case "member":
		return RoleMember, nil
	case "viewer", "view-only":
		return RoleViewer, nil
	}
	if !ValidName(s) {
		return "", Invalidf("role %q is neither admin, member, viewer nor the name of a custom role", s)
	}
	return Role(s), nil
}

// Predefined reports whether the role is admin, member or viewer.
func (r Role) Predefined() bool { return r == RoleAdmin || r == RoleMember || r == RoleViewer }

// OrganizationRole is what a person may do in the organization as a whole (ORG-2). Billing
// administration is an assignment beside it (ORG-7).
type OrganizationRole string

// The organization roles. The empty value grants nothing.
const (
	OrganizationAdmin  OrganizationRole = "admin"
	OrganizationMember OrganizationRole = "member"
	OrganizationViewer OrganizationRole = "viewer"
)

// ParseOrganizationRole reads an organization role in any case (SCIM-25).
func ParseOrganizationRole(s string) (OrganizationRole, error) {
	switch r := OrganizationRole(FoldName(s)); r {
	case OrganizationAdmin, OrganizationMember, OrganizationViewer:
		return r, nil
	}
	return "", Invalidf("organization role %q is not admin, member or viewer", s)
}

// Seat is what a person's licence lets them do in a product (SEAT-2). It limits every role.
type Seat string

// The seats (SEAT-5). The empty value is treated as SeatNone.
const (
	SeatFull   Seat = "full"
	SeatViewer Seat = "viewer"
	SeatNone   Seat = "none"
)

// ParseSeat reads a seat in any case.
func ParseSeat(s string) (Seat, error) {
	switch seat := Seat(FoldName(s)); seat {
	case SeatFull, SeatViewer, SeatNone:
		return seat, nil
	}
	return "", Invalidf("seat %q is not full, viewer or none", s)
}

// Visibility says who outside its list of members may reach a project (VIS-1). The zero value is
// the most closed one, and so is everything unknown.
type Visibility uint8

// The four visibilities, most closed first.
const (
	VisibilityRestricted Visibility = iota // only invited members of the team (VIS-5)
	VisibilityTeam                         // the team (VIS-4)
	VisibilityPublic                       // everybody views, the team submits (VIS-3)
	VisibilityOpen                         // everybody views and submits (VIS-2)
)

var visibilityNames = [...]string{"restricted", "team", "public", "open"}

// String returns the name used in files, commands and reasons.
func (v Visibility) String() string {
	if int(v) < len(visibilityNames) {
		return visibilityNames[v]
	}
	return fmt.Sprintf("Visibility(%d)", uint8(v))
}

// ParseVisibility reads the name of a visibility in any case.
func ParseVisibility(s string) (Visibility, error) {
	folded := FoldName(s)
	for i, name := range visibilityNames {
		if folded == name {
			return Visibility(i), nil
		}
	}
	return VisibilityRestricted, Invalidf("visibility %q is not open, public, team or restricted", s)
}

// MarshalText implements encoding.TextMarshaler.
func (v Visibility) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (v *Visibility) UnmarshalText(b []byte) (err error) {
	*v, err = ParseVisibility(string(b))
	return err
}

// VisibilityFromAccess converts the server's Project.access (sdk-wire 4.5, design section 8).
// What is unknown is Restricted.
func VisibilityFromAccess(access string) Visibility {
	switch access {
	case "USER_WRITE":
		return VisibilityOpen
	case "USER_READ":
		return VisibilityPublic
	case "PRIVATE", "ENTITY_READ", "ENTITY_WRITE":
		return VisibilityTeam
	default:
		return VisibilityRestricted
	}
}

// ToAccess converts a visibility to the server's Project.access.
func (v Visibility) ToAccess() string {
	switch v {
	case VisibilityOpen:
		return "USER_WRITE"
	case VisibilityPublic:
		return "USER_READ"
	case VisibilityTeam:
		return "PRIVATE"
	case VisibilityRestricted:
		return "RESTRICTED"
	default:
		return "RESTRICTED"
	}
}
