package directory

import (
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// The following find what a row refers to. A reference to a row that was refused is errFaulty.

func (im *importer) userNamed(name string) (iam.UserID, error) {
	id, err := im.tx.findUser(name)
	if err == nil && id == "" {
		return "", im.missing("user", name)
	}
	return id, err
}

func (im *importer) teamNamed(name string) (iam.TeamID, error) {
	id, err := im.tx.findTeam(name)
	if err == nil && id == "" {
		return "", im.missing("team", name)
	}
	return id, err
}

func (im *importer) serviceAccountNamed(name string) (iam.PrincipalRef, error) {
	a, err := im.tx.findServiceAccount(name)
	switch {
	case err != nil:
		return iam.PrincipalRef{}, err
	case a == nil:
		return iam.PrincipalRef{}, im.missing("service_account", name)
	}
	return a.ID.Ref(), nil
}

func (im *importer) entityNamed(name string) (iam.EntityID, error) {
	r, err := im.tx.nameRecord(name)
	switch {
	case err != nil:
		return "", err
	case r.entity() != "":
		return r.entity(), nil
	case im.bad["team/"+iam.FoldName(name)]:
		return "", errFaulty
	}
	return "", im.missing("user", name, "team or ")
}

// serviceAccountPrefix marks an owner that is no person.
const serviceAccountPrefix = "service_account:"

// principalNamed reads NAME or service_account:NAME.
func (im *importer) principalNamed(owner string) (iam.PrincipalRef, error) {
	if name, ok := strings.CutPrefix(owner, serviceAccountPrefix); ok {
		return im.serviceAccountNamed(name)
	}
	id, err := im.userNamed(owner)
	if err != nil {
		return iam.PrincipalRef{}, err
	}
	return id.Ref(), nil
}

func (im *importer) missing(kind, name string, orKind ...string) error {
	if im.bad[kind+"/"+iam.FoldName(name)] {
		return errFaulty
	}
	return iam.Invalidf("there is no %s%s %q, neither here nor in the file", strings.Join(orKind, ""), strings.ReplaceAll(kind, "_", " "), untrusted.Clip(name))
}

func (tx *transaction) nameRecord(name string) (*nameRecord, error) {
	if !iam.ValidName(name) {
		return nil, nil
	}
	return load[nameRecord](tx, tx.d.names.entityName(name))
}

func (tx *transaction) findUser(name string) (iam.UserID, error) {
	r, err := tx.nameRecord(name)
	if id, ok := r.entity().User(); ok {
		return id, err
	}
	return "", err
}

func (tx *transaction) findTeam(name string) (iam.TeamID, error) {
	r, err := tx.nameRecord(name)
	if id, ok := r.entity().Team(); ok {
		return id, err
	}
	return "", err
}

// findServiceAccount returns nil when there is none of that name.
func (tx *transaction) findServiceAccount(name string) (*iam.ServiceAccount, error) {
	r, err := tx.nameRecord(name)
	if err != nil || r == nil || r.ServiceAccount == "" {
		return nil, err
	}
	return tx.serviceAccount(r.ServiceAccount)
}
