package directory

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Projects are recorded under their exact names. The database of the W&B server may see it
// differently: many compare without regard to case and accents, and take vision/Détector for
// vision/detector. So a name that is not recorded is judged as the recorded ones that it could be
// taken for, the most closed one first; who may not enter those gets in under no other spelling
// (threat Z10).

// Likeness is what names have in common that a database could take for each other: letters without
// case and marks, in their compatibility form.
func Likeness(name string) string {
	marks := func(r rune) rune {
		if unicode.Is(unicode.Mn, r) {
			return -1
		}
		return r
	}
	folded := strings.ToLower(strings.Map(marks, norm.NFKD.String(strings.ToUpper(name))))
	return strings.Map(marks, norm.NFKD.String(folded))
}

// likeNames lists the projects of an entity whose names have one likeness.
type likeNames struct {
	Names []string `json:"names"`
}

// noteLike records a project's name under its likeness.
func (tx *transaction) noteLike(p *iam.Project) error {
	key := tx.d.names.like(p.Entity, p.Name)
	like, err := load[likeNames](tx, key)
	if err != nil {
		return err
	}
	if like == nil {
		like = new(likeNames)
	}
	if slices.Contains(like.Names, p.Name) {
		return nil
	}
	return tx.put(key, likeNames{append(slices.Clone(like.Names), p.Name)})
}

// forgetLike takes a project's name away from its likeness.
func (tx *transaction) forgetLike(p *iam.Project) error {
	key := tx.d.names.like(p.Entity, p.Name)
	like, err := load[likeNames](tx, key)
	if err != nil || like == nil {
		return err
	}
	names := slices.DeleteFunc(slices.Clone(like.Names), func(name string) bool { return name == p.Name })
	if len(names) == 0 {
		return tx.delete(key)
	}
	return tx.put(key, likeNames{names})
}

// readLike returns the most closed project that the name could be taken for, nil if there is none.
func (d *Directory) readLike(ctx context.Context, v *hotcache.View, entity iam.EntityID, name string) (*iam.Project, error) {
	like, err := hotcache.Read(ctx, v, d.names.like(entity, name), decode[likeNames])
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var closest *iam.Project
	for _, exact := range like.Names {
		p, err := hotcache.Read(ctx, v, d.names.project(entity, exact), decode[iam.Project])
		if errors.Is(err, store.ErrNotFound) {
			continue // deleted between the two reads; the view is not valid any more
		}
		if err != nil {
			return nil, err
		}
		if closest == nil || p.Visibility < closest.Visibility {
			closest = p
		}
	}
	return closest, nil
}
