package directory

import (
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

func validUser(u *iam.User) error {
	if err := validName("user name", u.Username); err != nil {
		return err
	}
	if u.Email != "" && !validEmail(u.Email) {
		return iam.Invalidf("%q is not an e-mail address: use ASCII characters with one @, at most %d", untrusted.Clip(u.Email), maxEmailBytes)
	}
	for _, label := range []struct{ what, text string }{
		{"name", u.Name}, {"given name", u.GivenName}, {"family name", u.FamilyName}, {"external id", u.ExternalID},
	} {
		if err := validLabel(label.what, label.text); err != nil {
			return err
		}
	}
	if u.EmailForm != nil {
		if err := validLabel("type of an e-mail address", u.EmailForm.Type); err != nil {
			return err
		}
	}
	if err := validRegistryRoles(u.RegistryRoles); err != nil {
		return err
	}
	if _, err := iam.ParseOrganizationRole(string(u.Role)); err != nil {
		return err
	}
	for _, seat := range []iam.Seat{u.ModelsSeat, u.WeaveSeat} {
		if _, err := iam.ParseSeat(string(seat)); err != nil {
			return err
		}
	}
	return nil
}

// maxRegistryRoles bounds what is kept for a person without being understood.
const maxRegistryRoles = 500

func validRegistryRoles(roles []iam.RegistryRole) error {
	if len(roles) > maxRegistryRoles {
		return iam.Invalidf("a person can have roles in %d registries at most", maxRegistryRoles)
	}
	for _, r := range roles {
		if r.Registry == "" || r.Role == "" {
			return iam.Invalidf("a registry role needs the names of a registry and of a role")
		}
		for _, text := range []string{r.Registry, r.Role} {
			if err := validLabel("registry role", text); err != nil {
				return err
			}
		}
	}
	return nil
}

func validName(what, name string) error {
	if iam.ValidName(name) {
		return nil
	}
	return iam.Invalidf("%s %q is not a name: use 1 to 128 of letters, digits and . _ @ -", what, untrusted.Clip(name))
}

// maxLabelBytes bounds text that only people read: full names, labels of keys.
const maxLabelBytes = 256

func validLabel(what, label string) error {
	if len(label) > maxLabelBytes || !plainText(label) {
		return iam.Invalidf("%s %q is not plain text of at most %d bytes", what, untrusted.Clip(label), maxLabelBytes)
	}
	return nil
}

// plainText reports whether text is UTF-8 without control characters.
func plainText(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\uFFFD' })
}

// created is the time that goes into records: whole seconds, so that it survives any format.
func (d *Directory) created() time.Time { return d.now().UTC().Truncate(time.Second) }

func set[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

func orElse[T comparable](v, otherwise T) T {
	if v == *new(T) {
		return otherwise
	}
	return v
}
