package facts

import (
	"context"
	"errors"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// Wandb is `directory wandb`: the deployment behind the gateway is the record of users, teams and
// projects. What the gateway knows itself, service accounts above all, stands beside it.
type Wandb struct {
	local    *Local
	upstream *upstream.Directory
	settings authz.Settings
	foreign  foreignKeys
}

// NewWandb returns the facts of the deployment behind, beside those of the gateway's own directory.
// Of ids, what an answer told counts for hits, as all that the server said does.
func NewWandb(local *Local, u *upstream.Directory, s authz.Settings) *Wandb {
	local.places.believed = u.Hits()
	return &Wandb{local: local, upstream: u, settings: s}
}

// Identify implements gateway.Directory. A key of the gateway's own is never shown to the server: it
// is tried here first, and a key of our form that is not known here exists nowhere.
func (w *Wandb) Identify(ctx context.Context, c iam.Credential) (*iam.Principal, error) {
	if c.Kind == iam.CredentialCookie {
		p, err := w.upstream.PrincipalByCredential(ctx, c)
		if iam.KindOf(err) == iam.KindUnauthenticated {
			return nil, nil // some other cookie, or a session that ended: the server's pages handle it
		}
		return p, err
	}
	if c.Kind == iam.CredentialAPIKey {
		return w.ownerOf(ctx, c)
	}
	p, err := w.local.Identify(ctx, c)
	if err == nil || iam.ReasonOf(err) == authz.ReasonDeactivated || iam.KindOf(err) != iam.KindUnauthenticated {
		return p, err
	}
	if c.Kind == iam.CredentialSession {
		return p, err // a cookie of our own
	}
	if c.Kind == iam.CredentialToken && !errors.Is(err, tokenexchange.ErrForeign) {
		return nil, err // ours, or of an issuer that is trusted here: the server is not asked about it
	}
	return w.upstream.PrincipalByCredential(ctx, c)
}

// ownerOf finds the owner of an API key, who is the server's while the key is known to be nobody's here.
func (w *Wandb) ownerOf(ctx context.Context, c iam.Credential) (*iam.Principal, error) {
	digest := upstream.DigestOf(c)
	if w.foreign.has(digest) {
		return w.upstream.PrincipalByDigest(ctx, c, digest)
	}
	p, absence, err := w.local.directory.OwnerOrAbsence(ctx, c.Secret)
	if err == nil || iam.ReasonOf(err) != directory.ReasonUnknownCredential {
		return p, err // known here: one that ended, or whose owner is deactivated, is not the server's to judge
	}
	if apikey.Ours(c.Secret.Reveal()) {
		return nil, errUnknownKey
	}
	if p, err = w.upstream.PrincipalByDigest(ctx, c, digest); err == nil {
		w.foreign.add(digest, absence)
	}
	return p, err
}

// Principal implements gateway.Directory.
func (w *Wandb) Principal(ctx context.Context, ref iam.PrincipalRef) (*iam.Principal, error) {
	p, err := w.local.Principal(ctx, ref)
	if iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) == authz.ReasonDeactivated {
		return p, err
	}
	return w.upstream.Principal(ref)
}

// Facts implements gateway.Directory. A principal of the gateway's own is judged by its own
// memberships and scope, which the upstream's teams take by name.
func (w *Wandb) Facts(ctx context.Context, who gateway.Caller, entity, project string) (authz.Facts, error) {
	p, credential := who.Principal, who.Credential
	var roles map[iam.Role]*iam.CustomRole
	if p != nil && !p.FromUpstream {
		known, err := w.local.Facts(ctx, who, "", "")
		if err != nil {
			return known, err
		}
		p, roles, credential = known.Principal, known.Roles, iam.Credential{}
	}
	facts, err := w.upstream.Facts(ctx, p, credential, entity, project)
	facts.Roles, facts.Settings = roles, w.settings
	return facts, err
}

// Attribute implements gateway.Directory. A service account of the server's names people whom the
// server lists in its team; one of the gateway's own names people whom the gateway knows, for only
// they can be vouched for.
func (w *Wandb) Attribute(ctx context.Context, who gateway.Caller, destination *iam.Entity, claim iam.Attribution) (*iam.Principal, error) {
	if !who.Principal.FromUpstream {
		return w.local.Attribute(ctx, who, nil, claim)
	}
	team := ""
	if destination != nil {
		if _, ok := destination.ID.Team(); !ok && who.Principal.OrganizationScoped() {
			return nil, nil // nobody is a member of a personal entity
		}
		team = destination.Name
	}
	return w.upstream.Attribute(ctx, who.Principal, who.Credential, team, claim)
}

// Place implements gateway.Directory.
func (w *Wandb) Place(ctx context.Context, who gateway.Caller, t wandb.IDType, id string) (string, string, error) {
	if p, ok, err := w.kept(ctx, who, t, id); ok || err != nil {
		return p.Entity, p.Project, err
	}
	credential := who.Credential
	if who.Principal != nil && !who.Principal.FromUpstream {
		credential = iam.Credential{}
	}
	return w.upstream.PlaceID(ctx, who.Principal, credential, t, id)
}

// kept returns where an answer told that an id lies, as long as the project has that name. After it was
// renamed, the name is nobody's or another project's, and the place is forgotten.
func (w *Wandb) kept(ctx context.Context, who gateway.Caller, t wandb.IDType, id string) (place, bool, error) {
	p, ok, err := w.local.places.find(ctx, t, id)
	if err != nil || !ok || p.Number == "" {
		return p, ok, err
	}
	number, told, err := w.numberNow(ctx, who, p, func(number string) bool { return number == p.Number })
	switch {
	case err != nil:
		return place{}, false, err
	case !told || number == p.Number:
		return p, true, nil
	default:
		return place{}, false, w.local.places.forget(ctx, t, id)
	}
}

// numberNow returns the number of the project that has the name of p. What was remembered of it and is
// not as expected is asked again: the project may have been made or renamed since.
func (w *Wandb) numberNow(ctx context.Context, who gateway.Caller, p place, expected func(number string) bool) (number string, told bool, err error) {
	number, told, err = w.upstream.ProjectNumber(ctx, who.Principal, who.Credential, p.Entity, p.Project)
	if err == nil && told && !expected(number) {
		w.upstream.Forget(p.Entity, p.Project)
		number, told, err = w.upstream.ProjectNumber(ctx, who.Principal, who.Credential, p.Entity, p.Project)
	}
	return number, told, err
}

// Learn implements gateway.Directory: the server keeps the record, so that learning means to ask
// again what may have changed. Only where ids lie of which the server cannot be asked is recorded here.
func (w *Wandb) Learn(ctx context.Context, who gateway.Caller, learned []wandb.Learned) error {
	var at place // of the id before: most answers are about one project
	for _, fact := range learned {
		switch fact := fact.(type) {
		case wandb.Placed:
			if next := (place{Entity: fact.Entity, Project: fact.Project}); !at.is(next) {
				at = next
				// That the number is not known now costs no answer: the place then counts by its name.
				at.Number, _, _ = w.numberNow(ctx, who, at, func(number string) bool { return number != "" })
			}
			if err := w.local.places.learn(ctx, fact.IDType, fact.ID, at); err != nil {
				return err
			}
		case wandb.RunsMoved:
			if err := w.local.places.noteMove(ctx, fact.Entity, fact.Project); err != nil {
				return err
			}
		case wandb.ProjectUpserted:
			w.upstream.Forget(fact.Entity, fact.Project)
		case wandb.AccountsChanged:
			w.upstream.ForgetCredential(who.Credential)
			if fact.Entity != "" {
				w.upstream.Forget(fact.Entity, "")
			}
		}
	}
	return nil
}

var _ gateway.Directory = (*Wandb)(nil)
