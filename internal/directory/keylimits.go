package directory

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// ReasonKeyExpired is the reason for refusing an API key that has ended.
const ReasonKeyExpired iam.Reason = "key_expired"

// ParseExpiry reads when a key ends: a time with its zone as RFC 3339 has it, or a day, which stands for its
// beginning in UTC: of the two ends of a day, the one that gives less. Parts of a second are dropped.
func ParseExpiry(s string) (time.Time, error) {
	for _, layout := range [...]string{time.RFC3339, time.DateOnly} {
		t, err := time.Parse(layout, s)
		if t = t.UTC().Truncate(time.Second); err == nil && !t.IsZero() && 1 <= t.Year() && t.Year() <= 9999 {
			return t, nil
		}
	}
	return time.Time{}, iam.Invalidf("%q is no moment: write a day as 2027-01-31, or a time as 2027-01-31T12:00:00Z", untrusted.Clip(s))
}

// moment writes a time for people.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// keyExpired is the error for the API key of p, which has limits, after it has ended.
func keyExpired(p *iam.Principal) error {
	mend := "make another at /authorize, or ask an organization admin for one"
	if p.IsServiceAccount() {
		mend = "ask an admin of its team or of the organization for another"
	}
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonKeyExpired,
		Message: "this API key of " + p.Username + " expired on " + moment(p.Limits.Expires) + ": " + mend}
}

// Expired returns why the API key by which p was found counts no more; nil if it does. Principals are cached, so
// that this is asked at every use of a key. The clock is read for keys that end only.
func (d *Directory) Expired(p *iam.Principal) error {
	if l := p.Limits; l != nil && !l.Expires.IsZero() && l.Expired(d.now()) {
		return keyExpired(p)
	}
	return nil
}

// canBeLimits makes sure that a new key's limits mean something, and that the entity for which it is stays until
// it is recorded.
func (tx *transaction) canBeLimits(l iam.KeyLimits) error {
	switch {
	case l.Project != "" && l.Entity == "":
		return iam.Invalidf("a key for one project needs the team or person whose project it is")
	case l.Project != "" && !iam.ValidProjectName(l.Project):
		return invalidProjectName(l.Project)
	case l.Entity == "":
		return nil
	}
	if team, ok := l.Entity.Team(); ok {
		_, err := tx.standingTeam(team)
		return err
	}
	if user, ok := l.Entity.User(); ok {
		_, err := tx.standingUser(user)
		return err
	}
	return iam.NotFoundf("there is no team or person %q for which a key could be", untrusted.Clip(string(l.Entity)))
}

// limited returns the owner of a key as the key stands for them. It is made as part of deriving through v.
func (d *Directory) limited(ctx context.Context, v *hotcache.View, owner *iam.Principal, l iam.KeyLimits) (*iam.Principal, error) {
	if l.Entity != "" {
		var err error
		if l.EntityName, err = d.readEntityName(ctx, v, owner, l.Entity); err != nil {
			return nil, err
		}
	}
	r := &reading{principal: narrowed(owner, &l), directory: d, held: v.Held()}
	r.principal.Reading = r
	return &r.principal, nil
}

// narrowed is the owner of a key without what the key is not for. Rights are the rules' to take (package authz);
// this is what the server behind is told and what answers show: no other team, and as default the key's own place.
func narrowed(owner *iam.Principal, l *iam.KeyLimits) iam.Principal {
	p := *owner
	p.Limits, p.Reading = l, nil
	if !l.Scoped() {
		return p
	}
	p.DefaultEntity = l.EntityName
	team, _ := l.Entity.Team()
	p.Teams = slices.DeleteFunc(slices.Clone(p.Teams), func(m iam.Membership) bool { return m.ID != team })
	if user, ok := l.Entity.User(); !ok || user.Ref() != p.Ref {
		p.PersonalEntity = ""
	}
	return p
}

// readEntityName returns what an entity is called; "" if it was deleted.
func (d *Directory) readEntityName(ctx context.Context, v *hotcache.View, owner *iam.Principal, id iam.EntityID) (string, error) {
	if team, ok := id.Team(); ok {
		t, err := d.readTeam(ctx, v, team)
		if err != nil || t == nil {
			return "", err
		}
		return t.Name, nil
	}
	user, ok := id.User()
	switch {
	case !ok:
		return "", nil
	case user.Ref() == owner.Ref:
		return owner.Username, nil
	}
	p, err := d.read(ctx, v, user.Ref())
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", err
	}
	return p.Username, nil
}

// EntityName returns what the team or personal entity with that id is called; "" if it was deleted.
func (d *Directory) EntityName(ctx context.Context, id iam.EntityID) (string, error) {
	return d.reading(ctx).entityNameOf(id)
}

// PrincipalOfKey returns whom the key with that id stands for, with its limits, as they are asked about by
// administrators: whether the key has expired, or its owner is deactivated, is not judged.
func (d *Directory) PrincipalOfKey(ctx context.Context, id iam.KeyID) (*iam.Principal, error) {
	sum, _, err := d.reading(ctx).keyWithID(iam.PrincipalRef{}, id)
	if err != nil {
		return nil, err
	}
	raw, err := hex.DecodeString(sum)
	if err != nil {
		return nil, unreadable(err)
	}
	p, err := d.ownerOfSum(ctx, d.cache.View(), raw)
	return p, found(err)
}
