package directory

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// nameRecord is what a name stands for. Teams and people share one namespace, as in W&B's URLs. A
// service account may be named like a team but never like a person: the deployment behind the
// gateway is told who calls by name (X-Forwarded-User), and must not take one for the other.
type nameRecord struct {
	// ID is the team or person; empty if the name is only a service account's.
	ID iam.EntityID `json:"id,omitempty"`
	// Name is the team's or person's name as it is written.
	Name           string               `json:"name,omitempty"`
	ServiceAccount iam.ServiceAccountID `json:"service_account,omitempty"`
	// Retired is true when the person ID was deleted and left personal projects behind: the name may
	// be taken again, and then those projects come back closed (see transaction.inherit).
	Retired bool `json:"retired,omitempty"`
}

// entity returns the team or person that bears the name; "" if none does.
func (r *nameRecord) entity() iam.EntityID {
	if r == nil || r.Retired {
		return ""
	}
	return r.ID
}

// emailRecord is whose an e-mail address is.
type emailRecord struct {
	User iam.UserID `json:"user"`
	// Reserved is true when nobody has the address, but User has a user name of that spelling:
	// another person with it as address would be mistaken for User.
	Reserved bool `json:"reserved,omitempty"`
}

// keyRecord is one API key.
type keyRecord struct {
	ID      iam.KeyID
	Owner   iam.PrincipalRef
	Name    string
	Created time.Time
	iam.KeyLimits
}

// keyForm is how a keyRecord is written. The owner of a key with limits stands with these: a gateway from before there
// were any, or one that is put back in its place, finds nobody's key and refuses it, instead of taking it for one that
// may all. Whoever adds limits that these gateways would not know does the same.
type keyForm struct {
	ID      iam.KeyID        `json:"id"`
	Owner   iam.PrincipalRef `json:"owner,omitzero"`
	Name    string           `json:"name,omitempty"`
	Created time.Time        `json:"created"`
	Limited *limitedForm     `json:"limited,omitempty"`
}

type limitedForm struct {
	Owner iam.PrincipalRef `json:"owner"`
	iam.KeyLimits
}

// MarshalJSON implements json.Marshaler.
func (r *keyRecord) MarshalJSON() ([]byte, error) {
	form := keyForm{ID: r.ID, Owner: r.Owner, Name: r.Name, Created: r.Created}
	if !r.KeyLimits.IsZero() {
		form.Owner, form.Limited = iam.PrincipalRef{}, &limitedForm{r.Owner, r.KeyLimits}
	}
	return json.Marshal(form)
}

// UnmarshalJSON implements json.Unmarshaler.
func (r *keyRecord) UnmarshalJSON(b []byte) error {
	var form keyForm
	if err := json.Unmarshal(b, &form); err != nil {
		return err
	}
	*r = keyRecord{ID: form.ID, Owner: form.Owner, Name: form.Name, Created: form.Created}
	if form.Limited != nil {
		r.Owner, r.KeyLimits = form.Limited.Owner, form.Limited.KeyLimits
	}
	return nil
}

// projectLocation is where a project id is recorded.
type projectLocation struct {
	Entity iam.EntityID `json:"entity"`
	Name   string       `json:"name"`
}

// adminsRecord lists the active admins of the organization.
type adminsRecord struct {
	Users []iam.UserID `json:"users"`
}

// rolesRecord holds every custom role: they are few, and a decision needs them at once.
type rolesRecord struct {
	Roles []iam.CustomRole `json:"roles"`
}

// decode reads a record's JSON. Damage that the store's checksums did not see is the store's
// failure, not the caller's.
func decode[T any](r store.Record) (*T, error) {
	v := new(T)
	if err := json.Unmarshal(r.Value, v); err != nil {
		return nil, unreadable(fmt.Errorf("decoding record %q: %w", r.Key, err))
	}
	return v, nil
}

func decodeRoles(r store.Record) (map[iam.Role]*iam.CustomRole, error) {
	record, err := decode[rolesRecord](r)
	if err != nil {
		return nil, err
	}
	roles := make(map[iam.Role]*iam.CustomRole, len(record.Roles))
	for i := range record.Roles {
		roles[iam.Role(record.Roles[i].Name)] = &record.Roles[i]
	}
	return roles, nil
}

// unreadable says that the directory's records could not be read or written. Errors that already
// have a kind pass.
func unreadable(err error) error {
	if _, ok := errors.AsType[*iam.Error](err); ok {
		return err
	}
	return iam.Unavailable("the directory's store did not answer: try again shortly", err)
}
