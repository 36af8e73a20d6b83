package iam

import "time"

// KeyLimits are what an API key may less than its owner. They take and never give: a decision must be
// allowed by the owner's rights and by them. They are set when the key is made and do not change. The zero
// value takes nothing.
type KeyLimits struct {
	// Expires is the moment from which the key counts no more; zero for never.
	Expires time.Time `json:"expires,omitzero"`
	// ReadOnly takes all that writes.
	ReadOnly bool `json:"read_only,omitempty"`
	// Entity is the team or personal entity outside of which the key counts for nothing; "" if it is not
	// limited to one. It is an id: a team of the same name that is made later is not it.
	Entity EntityID `json:"entity,omitempty"`
	// Project is the name of the one project in Entity for which the key is; "" for all. A name, because the
	// project need not be there yet.
	Project string `json:"project,omitempty"`
	// EntityName is what Entity is called now, where that is known; "" if it was deleted. It is recorded nowhere.
	EntityName string `json:"-"`
}

// IsZero reports whether there are no limits.
func (l KeyLimits) IsZero() bool { return l == KeyLimits{} }

// Scoped reports whether the key is for one entity or project.
func (l *KeyLimits) Scoped() bool { return l.Entity != "" || l.Project != "" }

// Scope says for what the key is, as people write it: ENTITY or ENTITY/PROJECT. It is "" without a scope, and if
// the entity was deleted.
func (l *KeyLimits) Scope() string {
	if l.Project == "" || l.EntityName == "" {
		return l.EntityName
	}
	return l.EntityName + "/" + l.Project
}

// Expired reports whether the key counts no more.
func (l *KeyLimits) Expired(now time.Time) bool { return !l.Expires.IsZero() && !now.Before(l.Expires) }
