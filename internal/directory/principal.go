package directory

import (
	"context"
	"encoding/hex"
	"errors"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// ReasonDeactivated is the reason for refusing the credential of a principal that was deactivated.
const ReasonDeactivated iam.Reason = "deactivated"

// ReasonUnknownCredential is the reason for refusing a credential that belongs to nobody.
const ReasonUnknownCredential iam.Reason = "unknown_credential"

var (
	errUnknownKey = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonUnknownCredential,
		Message: "this API key is unknown here: it was mistyped, deleted, or belongs to another deployment; make one at /authorize, or ask an organization admin"}
	errNoSuchPrincipal = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonUnknownCredential,
		Message: "whom this credential stands for was deleted"}
)

// Deactivated is the error for the credential of a principal that was deactivated.
func Deactivated(p *iam.Principal) error {
	kind := "user"
	if p.IsServiceAccount() {
		kind = "service account"
	}
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonDeactivated,
		Message: "the " + kind + " " + p.Username + " is deactivated: an organization admin can reactivate it"}
}

// PrincipalByKey returns who owns an API key, with the key's limits. A key that is unknown, whose owner is
// deactivated (ReasonDeactivated) or that has ended (ReasonKeyExpired) is iam.KindUnauthenticated; iam.KindUnavailable means that the store did not
// answer, and says nothing about the key.
func (d *Directory) PrincipalByKey(ctx context.Context, key iam.Secret) (*iam.Principal, error) {
	p, _, err := d.OwnerOrAbsence(ctx, key)
	return p, err
}

// Absence is the finding that a key belongs to nobody here. The zero value is no finding.
type Absence struct {
	directory *Directory
	held      hotcache.Held
}

// Holds reports whether the key still belongs to nobody: nothing that was looked for has been written since,
// and the store answers.
func (a Absence) Holds() bool { return a.directory != nil && a.directory.cache.View().Again(a.held) }

// OwnerOrAbsence is PrincipalByKey for who looks elsewhere for the owners of unknown keys, and need not look
// here again while the absence holds.
func (d *Directory) OwnerOrAbsence(ctx context.Context, key iam.Secret) (*iam.Principal, Absence, error) {
	switch apikey.FormOf(key.Reveal()) {
	case apikey.Minted, apikey.Foreign:
	case apikey.Malformed, apikey.MintedDamaged, apikey.JWT:
		return nil, Absence{}, errUnknownKey
	default:
		return nil, Absence{}, errUnknownKey
	}
	v := d.cache.View()
	p, err := d.ownerOf(ctx, v, key)
	held := v.Last()
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, Absence{d, held}, errUnknownKey
	case err != nil:
		return nil, Absence{}, unreadable(err)
	case !p.Active:
		return nil, Absence{}, Deactivated(p)
	}
	if err := d.Expired(p); err != nil {
		return nil, Absence{}, err
	}
	if d.uses != nil && held.First(d.uses.round.Load()) { // last: what was refused above is no use
		d.uses.note(d.sumOf(key))
	}
	return p, Absence{}, nil
}

// Principal returns the principal that a reference names, deactivated ones included: callers that
// authenticate look at Active. A reference to nobody is iam.KindUnauthenticated.
func (d *Directory) Principal(ctx context.Context, ref iam.PrincipalRef) (*iam.Principal, error) {
	return d.PrincipalIn(ctx, d.cache.View(), ref)
}

// PrincipalIn is Principal through a reading session: what is read is of one revision only if the
// session is still valid at its end.
func (d *Directory) PrincipalIn(ctx context.Context, v *hotcache.View, ref iam.PrincipalRef) (*iam.Principal, error) {
	p, err := d.read(ctx, v, ref)
	return p, found(err)
}

// found says what the error of reading a principal means.
func found(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return errNoSuchPrincipal
	}
	return unreadable(err)
}

// ownerOf finds the owner of an API key through a reading session. It returns store.ErrNotFound when there is none.
func (d *Directory) ownerOf(ctx context.Context, v *hotcache.View, key iam.Secret) (*iam.Principal, error) {
	l := d.owners.Get().(*ownerLookup)
	l.read(key)
	return l.find(ctx, v)
}

// ownerOfSum is ownerOf for a key whose hash is known.
func (d *Directory) ownerOfSum(ctx context.Context, v *hotcache.View, sum []byte) (*iam.Principal, error) {
	l := d.owners.Get().(*ownerLookup)
	copy(l.sum[:], sum)
	return l.find(ctx, v)
}

// ownerLookup carries one look-up to the function that the cache calls on a miss. A closure would do
// the same, and cost an allocation on every hit.
type ownerLookup struct {
	d *Directory
	macState
	name  []byte
	built bool
	build func(context.Context, *hotcache.View) (*iam.Principal, error)
}

// find looks up the key whose hash is l.sum. l is not the caller's any more.
func (l *ownerLookup) find(ctx context.Context, v *hotcache.View) (*iam.Principal, error) {
	l.built = false
	l.name = append(append(l.name[:0], l.d.names.owner...), l.sum[:]...)
	p, err := hotcache.Derived(ctx, v, l.name, l.build)
	if !l.built {
		l.d.owners.Put(l) // a hit: nobody else holds its function
	}
	return p, err
}

func newOwnerLookup(d *Directory) *ownerLookup {
	l := &ownerLookup{d: d, macState: d.newMacState()}
	l.build = func(ctx context.Context, v *hotcache.View) (*iam.Principal, error) {
		l.built = true
		k, err := hotcache.ReadUnkept(ctx, v, d.names.key+hex.EncodeToString(l.sum[:]), decode[keyRecord])
		if err != nil {
			return nil, err
		}
		p, err := d.read(ctx, v, k.Owner)
		if err != nil || k.KeyLimits.IsZero() {
			return p, err
		}
		return d.limited(ctx, v, p, k.KeyLimits)
	}
	return l
}

// read finds a principal through a reading session. It returns store.ErrNotFound when there is none.
func (d *Directory) read(ctx context.Context, v *hotcache.View, ref iam.PrincipalRef) (*iam.Principal, error) {
	if !wellFormed(ref) {
		return nil, store.ErrNotFound
	}
	l := d.principals.Get().(*principalLookup)
	l.ref, l.built = ref, false
	l.name = append(append(l.name[:0], d.names.principal...), ref.ID...)
	p, err := hotcache.Derived(ctx, v, l.name, l.build)
	if !l.built {
		d.principals.Put(l)
	}
	return p, err
}

// wellFormed reports whether the id is of the reference's kind. Principals are cached by id alone: a
// reference to a user with a service account's id must not be remembered as the latter's absence.
func wellFormed(ref iam.PrincipalRef) bool {
	switch ref.Kind {
	case iam.KindUser:
		return strings.HasPrefix(ref.ID, "usr_")
	case iam.KindServiceAccount:
		return strings.HasPrefix(ref.ID, "sa_")
	case iam.Anonymous:
		return false
	default:
		return false
	}
}

// principalLookup is to principals what ownerLookup is to the owners of keys.
type principalLookup struct {
	ref   iam.PrincipalRef
	name  []byte
	built bool
	build func(context.Context, *hotcache.View) (*iam.Principal, error)
}

func newPrincipalLookup(d *Directory) *principalLookup {
	l := new(principalLookup)
	l.build = func(ctx context.Context, v *hotcache.View) (*iam.Principal, error) {
		l.built = true
		return d.buildPrincipal(ctx, v, l.ref)
	}
	return l
}

// reading is a principal together with how it was read (iam.Reading).
type reading struct {
	principal iam.Principal
	directory *Directory
	held      hotcache.Held
}

// Holds implements iam.Reading.
func (r *reading) Holds() bool { return r.directory.cache.View().Again(r.held) }

// again returns a principal that was read by this directory before, provided that nothing of it has
// changed: then it counts as read through v. It is the directory's own, whatever became of the
// caller's copy, with the same key's limits.
func (d *Directory) again(v *hotcache.View, p *iam.Principal) (*iam.Principal, bool) {
	r, ok := p.Reading.(*reading)
	if !ok || r.directory != d || r.principal.Ref != p.Ref || r.principal.Limits != p.Limits || !v.Again(r.held) {
		return nil, false
	}
	return &r.principal, true
}

// readAgain is read for a principal that may have been read before. It keeps the limits of the key by which the
// principal was found: they never change, and whatever else did, the request was made with that key.
func (d *Directory) readAgain(ctx context.Context, v *hotcache.View, p *iam.Principal) (*iam.Principal, error) {
	if same, ok := d.again(v, p); ok {
		return same, nil
	}
	fresh, err := d.read(ctx, v, p.Ref)
	limits := p.Limits
	if r, ok := p.Reading.(*reading); ok && r.principal.Ref == p.Ref && r.principal.Limits != nil {
		limits = r.principal.Limits
	}
	if err != nil || limits == nil {
		return fresh, err
	}
	kept := narrowed(fresh, limits)
	return &kept, nil
}

func (d *Directory) buildPrincipal(ctx context.Context, v *hotcache.View, ref iam.PrincipalRef) (*iam.Principal, error) {
	p, err := d.makePrincipal(ctx, v, ref)
	if err != nil {
		return nil, err
	}
	r := &reading{principal: *p, directory: d, held: v.Held()}
	r.principal.Reading = r
	return &r.principal, nil
}

func (d *Directory) makePrincipal(ctx context.Context, v *hotcache.View, ref iam.PrincipalRef) (*iam.Principal, error) {
	switch ref.Kind {
	case iam.KindUser:
		return d.makeUser(ctx, v, iam.UserID(ref.ID))
	case iam.KindServiceAccount:
		return d.makeServiceAccount(ctx, v, iam.ServiceAccountID(ref.ID))
	case iam.Anonymous:
		return nil, store.ErrNotFound
	default:
		return nil, store.ErrNotFound
	}
}

func (d *Directory) makeUser(ctx context.Context, v *hotcache.View, id iam.UserID) (*iam.Principal, error) {
	u, err := hotcache.ReadUnkept(ctx, v, d.names.user(id), decode[iam.User])
	if err != nil {
		return nil, err
	}
	p := &iam.Principal{
		Ref: id.Ref(), Organization: d.organization,
		Username: u.Username, Email: u.Email, Name: u.Name, Active: u.Active, Epoch: u.Epoch,
		Role: u.Role, ModelsSeat: u.ModelsSeat, WeaveSeat: u.WeaveSeat,
	}
	for _, m := range u.Teams {
		t, err := d.readTeam(ctx, v, m.Team)
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue // between the two reads the team was deleted; the view will not be valid
		}
		p.Teams = append(p.Teams, iam.Membership{TeamRef: iam.TeamRef{ID: t.ID, Name: t.Name}, Role: m.Role})
	}
	slices.SortFunc(p.Teams, func(a, b iam.Membership) int { return strings.Compare(a.Name, b.Name) })
	if !d.settings.DisablePersonalEntity {
		p.PersonalEntity = u.Username
	}
	p.DefaultEntity = defaultEntity(p, u.DefaultTeam)
	return p, nil
}

// defaultEntity is where a person's work goes that names no entity (design section 6).
func defaultEntity(p *iam.Principal, chosen iam.TeamID) string {
	if m, ok := p.Membership(chosen); ok && chosen != "" {
		return m.Name
	}
	if p.PersonalEntity != "" {
		return p.PersonalEntity
	}
	if len(p.Teams) == 1 {
		return p.Teams[0].Name
	}
	return ""
}

func (d *Directory) makeServiceAccount(ctx context.Context, v *hotcache.View, id iam.ServiceAccountID) (*iam.Principal, error) {
	a, err := hotcache.ReadUnkept(ctx, v, d.names.serviceAccount(id), decode[iam.ServiceAccount])
	if err != nil {
		return nil, err
	}
	p := &iam.Principal{Ref: id.Ref(), Organization: d.organization, Username: a.Name, Name: a.Name, Active: a.Active, Epoch: a.Epoch}
	home := a.Team
	if home == "" {
		home = a.DefaultTeam
	}
	if home == "" {
		return p, nil
	}
	p.Home = iam.TeamRef{ID: home}
	t, err := d.readTeam(ctx, v, home)
	if err != nil {
		return nil, err
	}
	if a.Team != "" {
		p.Scope = iam.TeamRef{ID: a.Team} // kept even if its team is gone: it must not become wider
	}
	if t == nil {
		return p, nil
	}
	p.Home.Name = t.Name
	if a.Team != "" {
		p.Scope.Name = t.Name
	}
	p.DefaultEntity = t.Name
	return p, nil
}

// readTeam returns nil for a team that is not there.
func (d *Directory) readTeam(ctx context.Context, v *hotcache.View, id iam.TeamID) (*iam.Team, error) {
	t, err := hotcache.Read(ctx, v, d.names.team(id), decode[iam.Team])
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	return t, err
}
