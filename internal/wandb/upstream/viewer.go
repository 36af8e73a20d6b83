package upstream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// viewerWordings ask who holds the credential. All their fields but one stand in the SDK's own questions
// (sdk-wire 7, 8). No client is known to ask viewer for accountType: a server that does not know it there
// is asked without it.
var viewerWordings = []string{
	`query GatewayViewer { viewer { id username email name admin entity deletedAt accountType teams { edges { node { name } } } } }`,
	`query GatewayViewer { viewer { id username email name admin entity deletedAt teams { edges { node { name } } } } }`,
	`query GatewayViewer { viewer { id username email name entity teams { edges { node { name } } } } }`,
	`query GatewayViewer { viewer { id username entity teams { edges { node { name } } } } }`,
}

// The bounds of what is kept of an answer.
const (
	maxNameBytes = 256  // of a name or id, in questions, too
	maxTeams     = 4096 // of a person
)

// PrincipalByCredential finds who holds a credential by asking the server with it: an API key as
// Basic or Bearer, a token, or a Cookie header with the server's own session. It must not be called
// with a credential of the gateway's own.
//
// It returns iam.KindUnauthenticated when the server does not know the credential or the person was
// deleted, iam.KindDenied when it refuses it, and iam.KindUnavailable when it cannot tell. A
// credential that stops to count at the server counts here for at most Config.Hits more.
//
// It is a service account where the server's member lists say so, and a person where they do not
// tell. A service account's Scope is its team if viewer lists exactly one; Teams are those it lists.
// Team roles are members' here; Facts finds out more where it matters.
func (d *Directory) PrincipalByCredential(ctx context.Context, c iam.Credential) (*iam.Principal, error) {
	return d.PrincipalByDigest(ctx, c, DigestOf(c))
}

// PrincipalByDigest is PrincipalByCredential for who has the credential's digest already.
func (d *Directory) PrincipalByDigest(ctx context.Context, c iam.Credential, of Digest) (*iam.Principal, error) {
	if !askable(c) {
		return nil, d.unknown(nil)
	}
	key := of.digest
	e, due, ok := d.viewers.peek(key, 0)
	if !ok {
		return d.viewers.fetch(ctx, key, 0, d.viewerLook(c))
	}
	if due {
		d.viewers.refresh(key, 0, d.viewerLook(c))
	}
	return e.value, e.err
}

// Principal finds a principal that the server vouched for within the last day, by reference. It is
// for upload tickets, which outlive what is remembered of a credential. One that is not known is
// iam.KindUnavailable: the next request of its own tells again who it is.
func (d *Directory) Principal(ref iam.PrincipalRef) (*iam.Principal, error) {
	if p, ok := d.seen.find(ref); ok {
		return p, nil
	}
	return nil, d.unavailable("has not been asked about the owner of this upload since the gateway started; "+
		"any other request of theirs makes up for it", nil, 0)
}

// askable reports whether the credential is one that can be sent: what could not stand in a header
// was never issued by a server.
func askable(c iam.Credential) bool {
	value := c.Secret.Reveal()
	if value == "" || len(value) > 16<<10 {
		return false
	}
	switch c.Kind {
	case iam.CredentialAPIKey, iam.CredentialToken, iam.CredentialCookie:
	default:
		return false
	}
	for i := range len(value) {
		if b := value[i]; b < ' ' || b >= 0x7f || b == ' ' && c.Kind != iam.CredentialCookie {
			return false
		}
	}
	return true
}

func (d *Directory) viewerLook(c iam.Credential) func(context.Context) answer[*iam.Principal] {
	return func(ctx context.Context) answer[*iam.Principal] {
		who := askerOf(c)
		was := d.viewers.last(who.digest)
		who.strange = was == nil
		p, told, err := d.askViewer(ctx, who)
		soon := false
		switch {
		case err == nil:
			account, settled := d.account(ctx, c, p, told)
			if account == accountService {
				p = asServiceAccount(p)
			}
			soon = !settled
			p = d.seen.add(p.Ref, p)
		case definite(err):
			// Upload tickets of theirs stop as well. Another credential of theirs brings them back.
			if was != nil {
				d.seen.drop(was.Ref)
				d.seen.drop(judged(was).Ref) // from before it was known what they are
			}
		}
		return answer[*iam.Principal]{value: p, soon: soon, err: err}
	}
}

// askViewer returns who holds the credential, and what sort of account viewer itself calls them.
func (d *Directory) askViewer(ctx context.Context, who asker) (*iam.Principal, accountType, error) {
	r, err := d.ask(ctx, who, &d.questions.viewer, nil)
	switch {
	case errors.Is(err, errRefused):
		return nil, accountUntold, d.unknown(err)
	case errors.Is(err, errForbidden):
		return nil, accountUntold, d.forbidden(err)
	case errors.Is(err, errNotFound):
		return nil, accountUntold, d.unavailable("has no /graphql; `directory wandb` must name a W&B server", err, 0)
	case err != nil:
		return nil, accountUntold, err
	}
	v, err := viewerOf(r)
	switch {
	case err != nil:
		return nil, accountUntold, d.unavailable("answered only half of who is calling", err, 0)
	case v == nil:
		return nil, accountUntold, d.unknown(nil)
	case v.deleted():
		return nil, accountUntold, d.deactivated()
	}
	return v.toPrincipal(d.organization), v.Account, nil
}

// viewer is what the server says of who holds a credential.
type viewer struct {
	ID        string          `json:"id"`
	Username  string          `json:"username"`
	Email     string          `json:"email"`
	Name      string          `json:"name"`
	Admin     bool            `json:"admin"`
	Entity    string          `json:"entity"`
	DeletedAt json.RawMessage `json:"deletedAt"`
	Account   accountType     `json:"accountType"`
	Teams     *struct {
		Edges []struct {
			Node struct {
				Name string `json:"name"`
			} `json:"node"`
		} `json:"edges"`
	} `json:"teams"`
}

// viewerOf reads the answer to viewerWordings: nil when the server says that it knows nobody. An
// answer that leaves open who it is, or in which teams, is an error.
func viewerOf(r reply) (*viewer, error) {
	raw, ok := r.Data["viewer"]
	if !ok {
		return nil, fmt.Errorf("viewer is missing: %s", r.firstMessage())
	}
	failure := r.errorIn("viewer")
	if isNull(raw) {
		if r.unauthenticated() {
			return nil, nil
		}
		return nil, failure // null with any other error is a failure, null alone is nobody
	}
	var v viewer
	if err := json.Unmarshal(raw, &v); err != nil {
		return nil, fmt.Errorf("viewer: %w", err)
	}
	v.clean()
	if v.ID == "" && v.Username == "" {
		return nil, errors.New("viewer has neither id nor username")
	}
	if v.Teams == nil && failure != nil {
		return nil, fmt.Errorf("viewer has no teams: %w", failure)
	}
	return &v, nil
}

// clean drops what could not stand in a header or be a name. A name that is dropped gives nothing.
func (v *viewer) clean() {
	for _, field := range []*string{&v.ID, &v.Email, &v.Name} {
		if len(*field) > maxNameBytes || !printable(*field) {
			*field = ""
		}
	}
	for _, field := range []*string{&v.Username, &v.Entity} {
		if !iam.ValidName(*field) {
			*field = ""
		}
	}
}

// samePrincipal reports whether viewer told the same of both.
func samePrincipal(a, b *iam.Principal) bool { return reflect.DeepEqual(a, b) }

func (v *viewer) deleted() bool { return !isNull(v.DeletedAt) && string(v.DeletedAt) != `""` }

func (v *viewer) toPrincipal(organization string) *iam.Principal {
	id := userID(v.ID)
	if v.ID == "" {
		id = userIDByName(v.Username)
	}
	p := &iam.Principal{
		Ref:            id.Ref(),
		Organization:   organization,
		Username:       v.Username,
		Email:          v.Email,
		Name:           v.Name,
		Active:         true,
		Role:           iam.OrganizationMember,
		ModelsSeat:     iam.SeatFull, // the server does not tell; what it calls read-only limits Facts
		WeaveSeat:      iam.SeatFull,
		Teams:          v.memberships(),
		PersonalEntity: v.Username,
		DefaultEntity:  v.Entity,
		FromUpstream:   true,
	}
	if v.Admin {
		p.Role = iam.OrganizationAdmin
	}
	return p
}

// memberships returns the teams by name, without doubles and without what is no name.
func (v *viewer) memberships() []iam.Membership {
	if v.Teams == nil {
		return nil
	}
	teams := make([]iam.Membership, 0, min(maxTeams, len(v.Teams.Edges)))
	for _, edge := range v.Teams.Edges {
		name := edge.Node.Name
		// Some servers list the personal entity among the teams; it is none.
		if !iam.ValidName(name) || name == v.Username {
			continue
		}
		if len(teams) == maxTeams {
			break
		}
		teams = append(teams, iam.Membership{TeamRef: iam.TeamRef{ID: TeamID(name), Name: name}, Role: iam.RoleMember})
	}
	slices.SortFunc(teams, func(a, b iam.Membership) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(teams, func(a, b iam.Membership) bool { return a.Name == b.Name })
}

// printable reports whether s is free of control characters, in any of Unicode's ways to begin a
// new line.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029' || r == '\ufffd'
	})
}
