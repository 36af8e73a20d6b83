// Package assertion makes the gateway's own signed statement of who calls, for the server behind it
// (`assertion on`, design section 6): with it that server believes a name because of a signature, and
// not because of the network that a request came from.
//
// The statement is for one audience and lives for a minute. It proves nothing to the gateway: its type is
// its own, which no door takes for an access token, an assertion to exchange or a session.
package assertion

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/signing"
)

const (
	// Type is the header `typ` of an assertion (RFC 8725 section 3.11).
	Type = "wandb-gateway-assertion+jwt"
	// Life is how long an assertion is good.
	Life = time.Minute
	// reuse is how long one is shown again: what arrives is good for at least as long as is left.
	reuse = Life / 2
	// maxGroupBytes bounds the names of groups, so that the header stays below what servers take.
	maxGroupBytes = 6 << 10
)

// ReasonTooManyGroups is why no assertion can be made for somebody.
const ReasonTooManyGroups iam.Reason = "assertion_too_large"

// Config is what a Maker needs. All but Now are required.
type Config struct {
	// Signing keeps the keys that sign, and Cache is the cache of their records.
	Signing *signing.Keys
	Cache   *hotcache.Cache
	// Audience is the server that is told: `aud`.
	Audience string
	// Issuer returns the gateway's address, as the request or the configuration says: `iss`.
	Issuer func(*http.Request) string
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Maker makes the assertions of one site. It is safe for use by many goroutines.
type Maker struct {
	Config
	kept *kept
}

// New checks the configuration. It reads nothing.
func New(c Config) (*Maker, error) {
	if c.Signing == nil || c.Cache == nil || c.Issuer == nil {
		return nil, errors.New("assertion: Signing, Cache and Issuer are required")
	}
	if c.Audience == "" {
		return nil, errors.New("assertion: it is not said for whom")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Maker{Config: c, kept: newKept()}, nil
}

// Assertion returns a statement that p makes the request, and for whom it works; worksFor may be nil.
// One is signed for each principal and half a minute, however many requests there are, and another one
// at once when anything that it says has changed, or when the key that signed it signs no more.
// Both principals must be such as nobody changes. iam.KindUnavailable means that there is no key to sign
// with at the moment.
func (m *Maker) Assertion(r *http.Request, p, worksFor *iam.Principal) (string, error) {
	key, err := m.signer(r.Context())
	if err != nil {
		return "", err
	}
	about := subject{principal: p, issuer: m.Issuer(r)}
	if worksFor != nil {
		about.person = person{worksFor.Ref.String(), worksFor.Username, worksFor.Email}
	}
	s := m.kept.find(about)
	s.mu.Lock() // many requests that come at once wait for one signature
	defer s.mu.Unlock()
	now := m.Now()
	if s.key == key.ID() && !now.Before(s.made) && now.Sub(s.made) < reuse {
		return s.text, nil
	}
	text, err := m.sign(key, about, now)
	if err != nil {
		return "", err
	}
	s.key, s.made, s.text = key.ID(), now, text
	return text, nil
}

func (m *Maker) signer(ctx context.Context) (*jws.PrivateKey, error) {
	return m.Signing.Signer(ctx, m.Cache.View())
}

// claims are what an assertion says. docs/verify-assertion.md explains them to those who read them.
type claims struct {
	Issuer       string   `json:"iss"`
	Subject      string   `json:"sub"`
	Audience     string   `json:"aud"`
	Issued       int64    `json:"iat"`
	Expires      int64    `json:"exp"`
	ID           string   `json:"jti"`
	Organization string   `json:"organization"`
	Username     string   `json:"preferred_username"`
	Email        string   `json:"email,omitempty"`
	Groups       []string `json:"groups,omitempty"`
	// OnBehalfOf is the person whom a service account works for. The subject stays the account: it acts
	// by its own rights (so this is not `act` of RFC 8693, where the subject is who is acted for).
	OnBehalfOf *person `json:"on_behalf_of,omitempty"`
}

type person struct {
	Subject  string `json:"sub"`
	Username string `json:"preferred_username"`
	Email    string `json:"email,omitempty"`
}

func (m *Maker) sign(key *jws.PrivateKey, about subject, now time.Time) (string, error) {
	p := about.principal
	groups, err := groupsOf(p)
	if err != nil {
		return "", err
	}
	var id [16]byte
	rand.Read(id[:]) // never fails (crypto/rand)
	issued := now.Unix()
	c := claims{
		Issuer: about.issuer, Subject: p.Ref.String(), Audience: m.Audience,
		Issued: issued, Expires: issued + int64(Life/time.Second), ID: hex.EncodeToString(id[:]),
		Organization: p.Organization, Username: p.Username, Email: p.Email, Groups: groups,
	}
	if about.person != (person{}) {
		c.OnBehalfOf = &about.person
	}
	text, err := key.Sign(Type, c)
	if err != nil {
		return "", fmt.Errorf("signing an assertion: %w", err)
	}
	return text, nil
}

// groupsOf are the names that X-Forwarded-Groups has too.
func groupsOf(p *iam.Principal) ([]string, error) {
	if p.IsServiceAccount() {
		if p.Scope.Name == "" {
			return nil, nil
		}
		return []string{p.Scope.Name}, nil
	}
	groups, size := make([]string, len(p.Teams)), 0
	for i := range p.Teams {
		groups[i] = p.Teams[i].Name
		size += len(groups[i]) + len(`"",`)
	}
	if size > maxGroupBytes {
		return nil, &iam.Error{Kind: iam.KindDenied, Reason: ReasonTooManyGroups,
			Message: fmt.Sprintf("%s is in %d teams, more than the gateway can tell the W&B server in one header. Ask an administrator to take you out of teams that you do not need.", p.Username, len(p.Teams))}
	}
	return groups, nil
}

// subject is what an assertion says, beside the time. Principals are compared by identity: what is known
// of somebody changes by another principal in its place.
type subject struct {
	principal *iam.Principal
	issuer    string
	person    person
}

// signed is the assertion that was made last for a subject.
type signed struct {
	mu   sync.Mutex
	key  string // its id
	made time.Time
	text string
}

// maxKept bounds each of two maps that take turns: what was not used while one of them filled up is
// forgotten with the other.
const maxKept = 10_000

type kept struct {
	mu          sync.Mutex
	young, aged map[subject]*signed
}

func newKept() *kept {
	return &kept{young: make(map[subject]*signed), aged: make(map[subject]*signed)}
}

// find returns the place for a subject's assertion, which is empty for a new one.
func (k *kept) find(about subject) *signed {
	k.mu.Lock()
	defer k.mu.Unlock()
	s, ok := k.young[about]
	if ok {
		return s
	}
	if s = k.aged[about]; s == nil {
		s = new(signed)
	}
	if len(k.young) >= maxKept {
		k.young, k.aged = make(map[subject]*signed), k.young
	}
	k.young[about] = s
	return s
}
