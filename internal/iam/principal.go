package iam

import (
	"strings"
)

// PrincipalKind says what a Principal is.
type PrincipalKind uint8

// The kinds. The zero value is Anonymous: a caller without any credential.
const (
	Anonymous PrincipalKind = iota
	KindUser
	KindServiceAccount
)

// String returns "anonymous", "user" or "service_account".
func (k PrincipalKind) String() string {
	switch k {
	case KindUser:
		return "user"
	case KindServiceAccount:
		return "service_account"
	default:
		return "anonymous"
	}
}

// PrincipalRef names a user or a service account. It is comparable; its zero value names nobody.
type PrincipalRef struct {
	Kind PrincipalKind
	ID   string
}

// Ref returns the reference to a user.
func (id UserID) Ref() PrincipalRef { return PrincipalRef{KindUser, string(id)} }

// Ref returns the reference to a service account.
func (id ServiceAccountID) Ref() PrincipalRef { return PrincipalRef{KindServiceAccount, string(id)} }

// String returns "user:<id>" or "service_account:<id>", the form of the header
// X-Wandb-Gateway-Principal; "" for nobody.
func (r PrincipalRef) String() string {
	if r.ID == "" {
		return ""
	}
	return r.Kind.String() + ":" + r.ID
}

// ParsePrincipalRef reads what String wrote.
func ParsePrincipalRef(s string) (PrincipalRef, error) {
	kind, id, ok := strings.Cut(s, ":")
	switch {
	case s == "":
		return PrincipalRef{}, nil
	case ok && id != "" && kind == "user":
		return PrincipalRef{KindUser, id}, nil
	case ok && id != "" && kind == "service_account":
		return PrincipalRef{KindServiceAccount, id}, nil
	}
	return PrincipalRef{}, Invalidf("%q is not user:ID or service_account:ID", s)
}

// MarshalText implements encoding.TextMarshaler.
func (r PrincipalRef) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (r *PrincipalRef) UnmarshalText(b []byte) (err error) {
	*r, err = ParsePrincipalRef(string(b))
	return err
}

// Principal is who a request acts as, once proved, with everything about them that a decision
// needs, read at one revision. A Principal is shared between requests: nobody changes it after it
// was built.
type Principal struct {
	Ref PrincipalRef
	// Organization is the name of the principal's organization.
	Organization string
	// Username is a person's user name or a service account's name.
	Username string
	Email    string
	Name     string
	// Active is false for a principal that was deactivated.
	Active bool
	// Epoch is the epoch of the principal's record: sessions and access tokens of another one no
	// longer count.
	Epoch uint64

	// The following hold for people.

	Role       OrganizationRole
	ModelsSeat Seat
	WeaveSeat  Seat
	// Teams are the person's memberships, with names, sorted by name. A service account with
	// FromUpstream has them too: the teams that list it.
	Teams []Membership
	// PersonalEntity is the person's own entity; empty when personal entities are off.
	PersonalEntity string

	// The following hold for service accounts.

	// Scope is the parent team of a team-scoped account; zero for an organization-scoped one. With
	// FromUpstream it is what the server's lists come to, which is good for attribution alone.
	Scope TeamRef
	// Home is the team that takes the account's work when it names none: its parent or default team.
	Home TeamRef

	// DefaultEntity is where work goes that names no entity (design section 6); empty means that
	// it is refused with the advice to set WANDB_ENTITY.
	DefaultEntity string

	// Limits are those of the API key by which the principal was found; nil if it has none, or if it was found in
	// another way. Teams, PersonalEntity and DefaultEntity then tell no more than the key is for.
	Limits *KeyLimits

	// FromUpstream is true when the deployment behind the gateway is the record of this principal:
	// it knows the caller's own credential (design section 4, directory wandb).
	FromUpstream bool

	// Reading is the directory's own memory of how it read the principal, by which it can go on using
	// it instead of reading it anew. It means nothing to anybody else, and may be nil.
	Reading Reading
}

// Reading is what whoever reads a Principal remembers of it.
type Reading interface {
	// Holds reports whether nothing that the Principal was made of has changed since.
	Holds() bool
}

// TeamRef is a team's id and name.
type TeamRef struct {
	ID   TeamID
	Name string
}

// Membership is a person's role in one team.
type Membership struct {
	TeamRef
	Role Role
}

// IsUser reports whether the principal is a person.
func (p *Principal) IsUser() bool { return p.Ref.Kind == KindUser }

// IsServiceAccount reports whether the principal is a service account.
func (p *Principal) IsServiceAccount() bool { return p.Ref.Kind == KindServiceAccount }

// IsAnonymous reports whether nothing is known of the caller.
func (p *Principal) IsAnonymous() bool { return p.Ref.Kind == Anonymous }

// OrganizationScoped reports whether the principal is a service account of the whole organization.
func (p *Principal) OrganizationScoped() bool { return p.IsServiceAccount() && p.Scope.ID == "" }

// Membership finds the person's membership in the team with that id.
func (p *Principal) Membership(id TeamID) (Membership, bool) {
	for i := range p.Teams {
		if p.Teams[i].ID == id {
			return p.Teams[i], true
		}
	}
	return Membership{}, false
}

// Entity is what a name in a request's path or arguments stands for: a team or a person's own
// entity.
type Entity struct {
	ID   EntityID
	Name string
}

// Attribution names the person for whom a service account works (ATTR-1..9).
type Attribution struct {
	Username string
	Email    string
}
