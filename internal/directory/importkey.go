package directory

import (
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// importedLimits are the members of a row of api_keys that say what the key may less than its owner; nil for
// those that it does not have.
type importedLimits struct {
	expires         *time.Time
	readOnly        *bool
	entity, project *string
}

func readKeyLimits(r *row) importedLimits {
	return importedLimits{parsed(r, "expires", ParseExpiry), r.truth("read_only"), r.text("entity"), r.text("project")}
}

// newLimits are those of a key that the file adds. A moment that is over is taken: the file may be older than
// the key's end, and the key is then known for what it is instead of being unknown, or the file refused.
func (im *importer) newLimits(m importedLimits) (l iam.KeyLimits, err error) {
	set(&l.Expires, m.expires)
	set(&l.ReadOnly, m.readOnly)
	set(&l.Project, m.project)
	switch {
	case m.project != nil && l.Project == "":
		return l, iam.Invalidf("project is empty: leave it out for a key that is for the whole entity")
	case m.entity == nil:
		return l, nil
	case *m.entity == "":
		// An export writes this for an entity that was deleted.
		return l, iam.Invalidf("entity is empty: name the team or person for which the key is, or leave it out for a key that is not limited to one")
	}
	l.Entity, err = im.entityNamed(*m.entity)
	return l, err
}

// sameLimits refuses a row that says of a recorded key that it may more or less than it does: a file must not
// widen what somebody was given, and who holds a key must be able to rely on it. What the row leaves out is as
// it is.
func (im *importer) sameLimits(m importedLimits, was *keyRecord) error {
	entity := ""
	if m.entity != nil && was.Entity != "" {
		var err error
		if entity, err = im.tx.entityNameOf(was.Entity); err != nil {
			return err
		}
	}
	switch {
	case m.expires != nil && !m.expires.Equal(was.Expires):
		return otherLimits("expires", moment(*m.expires))
	case m.readOnly != nil && *m.readOnly != was.ReadOnly:
		return otherLimits("read_only", map[bool]string{true: "true", false: "false"}[*m.readOnly])
	case m.entity != nil && (was.Entity == "" || iam.FoldName(*m.entity) != iam.FoldName(entity)):
		return otherLimits("entity", *m.entity)
	case m.project != nil && *m.project != was.Project:
		return otherLimits("project", *m.project)
	}
	return nil
}

func otherLimits(member, value string) error {
	return iam.Invalidf("%s %q is not what the key was made with, which does not change: leave it out, or make another key", member, untrusted.Clip(value))
}
