package facts

import (
	"context"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// Local is `directory local`: the gateway's own store is the record.
type Local struct {
	directory *directory.Directory
	tokens    Tokens
	sessions  Sessions
	places    *places
	changed   func(ProjectChange) // may be nil
}

// ProjectChange is what passed through the gateway and changed the record of a project.
type ProjectChange struct {
	Who    *iam.Principal // nil for a stranger whom shadow let pass
	Entity string
	// Before is nil for a project that was made.
	Before, After *iam.Project
}

// Sessions tells whose session a browser's cookie is. Its errors are those of
// gateway.Directory.Identify.
type Sessions interface {
	Holder(ctx context.Context, cookie iam.Secret) (*iam.Principal, error)
}

// Tokens tells who holds a token. Its errors are those of gateway.Directory.Identify.
type Tokens interface {
	Identify(ctx context.Context, token iam.Secret) (*iam.Principal, error)
}

// NewLocal returns the facts of a directory, above the same cache. changed, which may be nil, is told of every
// project that is recorded or opened because of what passed.
func NewLocal(d *directory.Directory, cache *hotcache.Cache, tokens Tokens, sessions Sessions, changed func(ProjectChange)) *Local {
	return &Local{directory: d, tokens: tokens, sessions: sessions, places: newPlaces(cache, d.Space()), changed: changed}
}

var errUnknownKey = &iam.Error{
	Kind: iam.KindUnauthenticated, Reason: gateway.ReasonUnknownCredential,
	Message: "This API key is not known here, or was deleted. Check that WANDB_API_KEY belongs to this host, or ask an administrator for a new key.",
}

// Identify implements gateway.Directory.
func (l *Local) Identify(ctx context.Context, c iam.Credential) (*iam.Principal, error) {
	switch c.Kind {
	case iam.CredentialAPIKey:
		return l.directory.PrincipalByKey(ctx, c.Secret)
	case iam.CredentialToken:
		return l.tokens.Identify(ctx, c.Secret)
	case iam.CredentialSession:
		return l.sessions.Holder(ctx, c.Secret)
	default:
		return nil, errUnknownKey
	}
}

// Principal implements gateway.Directory.
func (l *Local) Principal(ctx context.Context, ref iam.PrincipalRef) (*iam.Principal, error) {
	p, err := l.directory.Principal(ctx, ref)
	if err != nil {
		return nil, err
	}
	if !p.Active {
		return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: authz.ReasonDeactivated, Message: authz.Sentence(authz.ReasonDeactivated, authz.Names{Principal: p.Username, Kind: p.Ref.Kind})}
	}
	return p, nil
}

// Facts implements gateway.Directory.
func (l *Local) Facts(ctx context.Context, who gateway.Caller, entity, project string) (authz.Facts, error) {
	return l.directory.Facts(ctx, who.Principal, entity, project)
}

// Attribute implements gateway.Directory.
func (l *Local) Attribute(ctx context.Context, who gateway.Caller, destination *iam.Entity, claim iam.Attribution) (*iam.Principal, error) {
	return l.directory.Attribute(ctx, who.Principal, destination, claim)
}

// Place implements gateway.Directory: what an answer told before, else what the upstream says.
func (l *Local) Place(ctx context.Context, who gateway.Caller, t wandb.IDType, id string) (string, string, error) {
	p, ok, err := l.places.find(ctx, t, id)
	if err == nil && !ok {
		if p, err = askPlace(ctx, who, t, id); err == nil {
			l.places.recent.put(placeKey{t, id}, p, l.places.now())
		}
	}
	return p.Entity, p.Project, err
}

// Run forgets, until ctx ends, where ids lie that nobody has used for a long time. It tells report what
// goes wrong, if that is not nil.
func (l *Local) Run(ctx context.Context, report func(error)) {
	const every = 24 * time.Hour
	for {
		if _, err := l.places.collect(ctx); err != nil && ctx.Err() == nil && report != nil {
			report(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(every):
		}
	}
}

// Learn implements gateway.Directory. A project that an answer shows for the first time belongs to
// the caller who made it; its visibility is what the request asked for, else Team, the server's
// default (sdk-wire 4.5). Of a project that is known the record itself is the truth: only a request
// that set the visibility changes it.
//
// What it may be was judged before the server was asked. If somebody closed the project meanwhile, or the
// projects of its team, the record stays as closed as they want it, and the error tells the caller: what the
// server has stored counts for nobody who comes through the gateway.
func (l *Local) Learn(ctx context.Context, who gateway.Caller, learned []wandb.Learned) error {
	for _, fact := range learned {
		switch fact := fact.(type) {
		case wandb.Placed:
			if err := l.places.learn(ctx, fact.IDType, fact.ID, place{Entity: fact.Entity, Project: fact.Project}); err != nil {
				return err
			}
		case wandb.RunsMoved:
			if err := l.places.noteMove(ctx, fact.Entity, fact.Project); err != nil {
				return err
			}
		case wandb.ProjectUpserted:
			if err := l.learnProject(ctx, who, fact); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Local) learnProject(ctx context.Context, who gateway.Caller, fact wandb.ProjectUpserted) error {
	known, err := l.directory.Facts(ctx, who.Principal, fact.Entity, fact.Project)
	if err != nil || known.Entity == nil {
		return err
	}
	visibility := iam.VisibilityTeam
	if fact.Requested {
		visibility = iam.VisibilityFromAccess(fact.Access)
	}
	if known.Project == nil {
		n := directory.NewProject{Entity: known.Entity.ID, Name: fact.Project, Visibility: visibility}
		if who.Principal != nil { // shadow lets strangers pass
			n.Owner = who.Principal.Ref
		}
		return l.recordProject(ctx, who, known.Entity.Name, n)
	}
	if !fact.Requested || known.Project.Visibility == visibility {
		return nil
	}
	c, err := l.directory.SetProject(ctx, known.Project.ID, directory.ProjectChange{Visibility: &visibility})
	if err == nil {
		l.tell(ProjectChange{Who: who.Principal, Entity: known.Entity.Name, Before: c.Before, After: c.After})
	}
	return err
}

// recordProject records a project that the server has made. One that is not to be as open as it was made is
// recorded all the same, for its own team: a project without a record would have no owner and no list.
func (l *Local) recordProject(ctx context.Context, who gateway.Caller, entity string, n directory.NewProject) error {
	created, refused := l.directory.RecordProject(ctx, n)
	if iam.KindOf(refused) == iam.KindInvalid && n.Visibility > iam.VisibilityTeam {
		n.Visibility = iam.VisibilityTeam
		var err error
		if created, err = l.directory.RecordProject(ctx, n); err != nil {
			return err
		}
	}
	if !created {
		return refused
	}
	made, err := l.directory.Facts(ctx, who.Principal, entity, n.Name)
	if err != nil {
		return err
	}
	if made.Project != nil {
		l.tell(ProjectChange{Who: who.Principal, Entity: entity, After: made.Project})
	}
	return refused
}

func (l *Local) tell(c ProjectChange) {
	if l.changed != nil {
		l.changed(c)
	}
}

var _ gateway.Directory = (*Local)(nil)
