// Package directory is the record of who exists and what belongs to whom: users, teams,
// memberships, projects, service accounts, API keys and custom roles of one organization. It is
// where the facts of a decision come from when the gateway's own store is the record (`directory
// local`, design section 4); it decides nothing itself.
//
// Reading goes through hotcache and costs a look-up per fact. Changing goes through a transaction
// on the store (see transaction.go): every change is one Commit whose expectations cover what it
// was decided on, so that nothing is ever half done and nobody's change is lost.
//
// # Records
//
// All under "<space>/", JSON; the space is the organization's name, as it was at first:
//
//	user/<user id>                        iam.User, with the person's memberships
//	team/<team id>                        iam.Team
//	sa/<service account id>               iam.ServiceAccount
//	project/<entity id>/<name>            iam.Project, with invitations and project roles
//	key/<HMAC-SHA256 of the key, hex>     the API key's id, owner, name, limits; never the key
//	upstream_key/<team or user id>        the owner's key of the W&B server, as package vault sealed it
//	handover/<principal>/<team id>/<id>   a new service account's key, sealed, for who made it (handover.go)
//	group/<team id>                       what provisioning calls the team, and when its members changed
//	organization                          iam.OrganizationSettings
//	auto_join                             the teams that newcomers are made members of
//	roles                                 every custom role
//	admins                                the active admins; the guard of ORG-9
//
// and what finds them:
//
//	entity/<folded name>                  team, user or service account of that name (nameRecord)
//	email/<folded address>                user
//	subject/<hash of issuer and subject>  external service account
//	binding/<hash of issuer and subject>  user who signs in so
//	claim_rules/<hash of issuer>          external service accounts found by claims, with these
//	project_id/<project id>               entity and name of the project
//	project_like/<entity id>/<hash>       exact names of the projects that a database could confuse
//	member/<team id>/<user id>            nothing; lists a team
//	external_id/<hash>/<user id>          nothing; finds people by what provisioning calls them
//	invited/<principal>/<project id>      nothing; lists where a principal is in a project's list
//	key_id/<key id>/<HMAC>                nothing; finds a key by the id that people see
//	key_owner/<principal>/<HMAC>          nothing; lists a principal's keys
//
// Under "<space>+used/", which is a space of its own (use.go):
//
//	key/<HMAC>                            when the key was last used
//	since                                 when the recording of that began
package directory

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Config is what a Directory needs.
type Config struct {
	// Cache is the cache of the organization's space.
	Cache *hotcache.Cache
	// Organization is the organization's name, as people and assertions say it.
	Organization string
	// Space is the store's space in which the organization's records are; "" means that it is called
	// like the organization. It stays what it was when the organization is renamed (ORG-11).
	Space string
	// HMACKey hashes API keys. Whoever has it and the store still cannot recover keys, but can test
	// guesses; it is derived from the master key.
	HMACKey [32]byte
	// Settings are the deployment's switches. They go into every Facts as they are.
	Settings authz.Settings
	// CheckFederation judges whether an external service account may be found by these: an issuer
	// (exact) with either a subject or claims. It is asked when an account is created, changes them,
	// or is activated, by whatever way; its error refuses the change, and should be of iam.KindInvalid
	// and say why and what to do. A change may be decided several times, so it must depend on nothing
	// else. nil allows what the directory itself allows.
	CheckFederation func(ctx context.Context, issuer, subject string, claims map[string]string) error
	// OwnerGone is told, after the change was committed, when somebody leaves restricted projects behind that they
	// own (VIS-12): out of the team, deactivated or deleted, by whatever way. nil tells nobody.
	OwnerGone func(OwnerGone)
	// NoNewKeys keeps people and the service accounts of teams from getting new keys (KEY-12). Those of the
	// organization get them, and keys that there are go on as before.
	NoNewKeys bool
	// Uses note when keys are used; nil means that nobody does.
	Uses *Uses
	// Now is the clock for creation times; nil means time.Now.
	Now func() time.Time
}

// Directory is the record of one organization. Its methods may be called at the same time from
// many goroutines.
type Directory struct {
	cache        *hotcache.Cache
	organization string
	space        string
	settings     authz.Settings
	check        func(ctx context.Context, issuer, subject string, claims map[string]string) error // may be nil
	ownerGone    func(OwnerGone)                                                                   // may be nil
	now          func() time.Time
	noNewKeys    bool
	uses         *Uses // may be nil
	names        names
	hmacKey      [32]byte
	owners       *sync.Pool // of *ownerLookup
	principals   *sync.Pool // of *principalLookup
	targets      *sync.Pool // of *targetLookup
	roster       *atomic.Pointer[roster]
	acting       *Acting       // in whose name changes are made; nil asks nobody
	told         func(Told)    // is told of changed records; may be nil
	turn         chan struct{} // held by the one change among those that were beaten that is decided now
}

// New returns the directory of one organization.
func New(c Config) (*Directory, error) {
	if c.Cache == nil {
		return nil, errors.New("directory: no cache")
	}
	if !iam.ValidName(c.Organization) {
		return nil, iam.Invalidf("organization %q is not a name: use 1 to 128 of letters, digits and . _ @ -", c.Organization)
	}
	if c.Space == "" {
		c.Space = c.Organization
	}
	if !iam.ValidName(c.Space) {
		return nil, iam.Invalidf("the store's space %q is not a name: use 1 to 128 of letters, digits and . _ @ -", c.Space)
	}
	if c.HMACKey == [32]byte{} {
		return nil, errors.New("directory: the key for hashing API keys is all zero")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	d := &Directory{
		cache:        c.Cache,
		organization: c.Organization,
		space:        c.Space,
		settings:     c.Settings,
		check:        c.CheckFederation,
		ownerGone:    c.OwnerGone,
		now:          c.Now,
		noNewKeys:    c.NoNewKeys,
		uses:         c.Uses,
		hmacKey:      c.HMACKey,
		names:        newNames(c.Space, c.Organization, c.Settings),
		turn:         make(chan struct{}, 1),
		roster:       new(atomic.Pointer[roster]),
	}
	d.owners = &sync.Pool{New: func() any { return newOwnerLookup(d) }}
	d.principals = &sync.Pool{New: func() any { return newPrincipalLookup(d) }}
	d.targets = &sync.Pool{New: func() any { return newTargetLookup(d) }}
	return d, nil
}

// Organization returns the organization's name.
func (d *Directory) Organization() string { return d.organization }

// Space returns the store's space in which the organization's records are.
func (d *Directory) Space() string { return d.space }

// View begins a reading session on the directory's cache, for those that keep what they make of the
// directory's records with hotcache.Derived: the functions whose names end in In read through it.
func (d *Directory) View() *hotcache.View { return d.cache.View() }

// macState is a keyed hash that is reset instead of made anew, with room for its text and sum.
type macState struct {
	mac  hash.Hash
	text []byte
	sum  [sha256.Size]byte
}

// read sets m.sum to the HMAC of an API key. Looking keys up by it leaks nothing about them, because
// who does not know HMACKey cannot steer the hash.
func (m *macState) read(key iam.Secret) {
	m.text = append(m.text[:0], key.Reveal()...)
	m.mac.Reset()
	m.mac.Write(m.text)
	m.mac.Sum(m.sum[:0])
	clear(m.text) // no copy of the key stays behind in the pool
}

func (d *Directory) newMacState() macState {
	return macState{mac: hmac.New(sha256.New, d.hmacKey[:])}
}

// sumOf returns the HMAC of an API key.
func (d *Directory) sumOf(key iam.Secret) keySum {
	m := d.newMacState()
	m.read(key)
	return m.sum
}

// hashOf returns the HMAC of an API key as records' names have it.
func (d *Directory) hashOf(key iam.Secret) string {
	sum := d.sumOf(key)
	return hex.EncodeToString(sum[:])
}
