package directory

import (
	"context"
	"errors"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// maxEmailBytes is RFC 5321's bound on a path, less its angle brackets.
const maxEmailBytes = 254

// validEmail reports whether s looks like an e-mail address: printable ASCII with one @ inside.
// Only ASCII, so that two addresses that look the same are the same.
func validEmail(s string) bool {
	at := -1
	for i := range len(s) {
		switch c := s[i]; {
		case c == '@' && at >= 0, c <= ' ', c > '~', c == ',', c == ';', c == '<', c == '>', c == '"':
			return false
		case c == '@':
			at = i
		}
	}
	return at > 0 && at < len(s)-1 && len(s) <= maxEmailBytes
}

// FindUser returns the id of the person with that user name or, if nobody bears it, with that
// e-mail address, both without regard to case; "" when there is none.
func (d *Directory) FindUser(ctx context.Context, nameOrEmail string) (iam.UserID, error) {
	return d.findUser(ctx, iam.Attribution{Username: nameOrEmail})
}

// UserByEmailIn is FindUserByEmail through a reading session.
func (d *Directory) UserByEmailIn(ctx context.Context, v *hotcache.View, address string) (iam.UserID, error) {
	id, err := d.readByEmail(ctx, v, address)
	if err != nil {
		return "", unreadable(err)
	}
	return id, nil
}

// FindUserByEmail is FindUser for an e-mail address only.
func (d *Directory) FindUserByEmail(ctx context.Context, address string) (iam.UserID, error) {
	return d.findUser(ctx, iam.Attribution{Email: address})
}

func (d *Directory) findUser(ctx context.Context, a iam.Attribution) (iam.UserID, error) {
	for range attempts {
		v := d.cache.View()
		id, err := d.readPerson(ctx, v, a)
		if !v.Valid() {
			continue
		}
		if err != nil {
			return "", unreadable(err)
		}
		return id, nil
	}
	return "", errRestless
}

// FindEntity returns the team or person that a name stands for; nil when there is none.
func (d *Directory) FindEntity(ctx context.Context, name string) (*iam.Entity, error) {
	f, err := d.Facts(ctx, nil, name, "")
	return f.Entity, err
}

// FindTeam returns the id of the team of that name; "" when there is none.
func (d *Directory) FindTeam(ctx context.Context, name string) (iam.TeamID, error) {
	e, err := d.FindEntity(ctx, name)
	if err != nil || e == nil {
		return "", err
	}
	if id, ok := e.ID.Team(); ok {
		return id, nil
	}
	return "", nil
}

// FindServiceAccount returns the id of the service account of that name, without regard to case;
// "" when there is none.
func (d *Directory) FindServiceAccount(ctx context.Context, name string) (iam.ServiceAccountID, error) {
	if !iam.ValidName(name) {
		return "", nil
	}
	r, err := hotcache.Read(ctx, d.cache.View(), d.names.entityName(name), decode[nameRecord])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", unreadable(err)
	}
	return r.ServiceAccount, nil
}

// FindServiceAccountBySubject returns the id of the external service account with exactly this
// issuer and subject (FED-26); "" when there is none.
func (d *Directory) FindServiceAccountBySubject(ctx context.Context, issuer, subject string) (iam.ServiceAccountID, error) {
	return d.SubjectIn(ctx, d.cache.View(), issuer, subject)
}

// SubjectIn is FindServiceAccountBySubject through a reading session.
func (d *Directory) SubjectIn(ctx context.Context, v *hotcache.View, issuer, subject string) (iam.ServiceAccountID, error) {
	if issuer == "" || subject == "" {
		return "", nil
	}
	id, err := hotcache.Read(ctx, v, d.names.subject(issuer, subject), decode[iam.ServiceAccountID])
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", unreadable(err)
	}
	return *id, nil
}
