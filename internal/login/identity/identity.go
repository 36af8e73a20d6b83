// Package identity holds what a connector proved about a person who signs in: the one noun that the
// connectors and the sign-in state machine share, so that neither imports the other. It decides
// nothing: whether such a person may enter, and as whom, is the business of package login.
package identity

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// Verified is what an authority says about an e-mail address. The zero value is that it says
// nothing, which some (Entra) never do.
type Verified uint8

// What an authority can say of an address.
const (
	VerifiedAbsent Verified = iota // nothing
	VerifiedFalse                  // nobody proved that the address is theirs
	VerifiedTrue                   // the address is the person's
)

// String returns absent, false or true.
func (v Verified) String() string {
	switch v {
	case VerifiedAbsent:
		return "absent"
	case VerifiedFalse:
		return "false"
	case VerifiedTrue:
		return "true"
	default:
		return "unknown"
	}
}

// Identity is a person as an authority knows them, after the connector checked everything that
// proves it. All texts are the authority's: whoever shows them escapes them.
type Identity struct {
	// Issuer and Subject together are the person's stable id: the issuer of the ID token and its sub,
	// or the address of the LDAP directory and the id of the person's entry. Compared as exact bytes.
	Issuer, Subject string
	// Email is the person's address as the authority spells it.
	Email string
	// EmailVerified is what the authority says about Email.
	EmailVerified Verified
	// Username is preferred_username, or uid; Name is name, or cn. Both may be empty.
	Username, Name string
	// Groups are the names of the person's direct groups, without order or repetition. They count only
	// with GroupsKnown; without it memberships stay as they are. Known and empty is known.
	Groups      []string
	GroupsKnown bool
	// SessionID is the sid of the ID token: the authority's name for its own session; may be empty.
	SessionID string
	// IDToken goes back to the authority as id_token_hint at sign-out; may be zero.
	IDToken iam.Secret
}
