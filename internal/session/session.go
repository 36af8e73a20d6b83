// Package session keeps the sessions of browsers whose people have signed in (design sections 5 and
// 6, "Settled for sign-in"): it makes, finds, lists and ends them, and remembers which logout tokens
// were used. How somebody signs in, and whether a session's principal is still active, is decided
// elsewhere.
//
// A browser holds 256 random bits in a cookie (cookie.go); the store holds their keyed hash and never
// the value (threats K06). A session is immutable: it is recorded once and later deleted, so that
// ending it cannot be undone by somebody who read it before.
//
// # Records
//
// All under "<space>/":
//
//	session/<hash>                         one session (record.go), JSON
//	session_hint/<hash>                    its ID token, sealed under a key that is made of the cookie
//	session_of/<hash of a relation>/<id>   nothing; finds the sessions of an owner, of a provider's
//	                                       session, of a subject at a provider
//	session_once/<hash>                    until when an identifier counts as used
//
// A session and what finds it are written, and deleted, in one commit.
package session

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

const (
	// DefaultLength is how long a session lasts unless the operator says otherwise (30 days).
	DefaultLength = 720 * time.Hour
	// MaxPerPerson bounds the sessions of one person: a new one beyond it ends the oldest. Sign-ins at
	// the same moment may go over it until the next.
	MaxPerPerson = 100
)

// rounds bounds how often a change is decided anew because somebody else was faster.
const rounds = 12

// ReasonEnded is the reason for refusing a cookie: nobody ever got it, or its session has ended or
// expired. Which of them is not told (threats K02).
const ReasonEnded iam.Reason = "session_ended"

var errEnded = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonEnded,
	Message: "this browser is not signed in, or its session has ended: sign in again"}

// Config is what Sessions need.
type Config struct {
	// Cache is the organization's cache.
	Cache *hotcache.Cache
	// Space is the cache's space, in which the organization's records are.
	Space string
	// HMACKey hashes cookie values and makes the keys that ID tokens are sealed under. It is derived
	// from the master key and serves nothing else; under another key all sessions are unknown.
	HMACKey [32]byte
	// Length is how long a session lasts, counted from the sign-in whatever happens in between. 0
	// means DefaultLength. Sessions that exist keep the length they were made with.
	Length time.Duration
	// Collected, if set, is told what every collection of Run came to.
	Collected func(n int, err error)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Sessions are the sessions of one organization. Its methods may be called at the same time from many
// goroutines, and on several nodes that share a store.
//
// Errors of iam.KindUnavailable mean that the store did not answer: nobody can tell whether there is
// such a session, or whether it was changed.
type Sessions struct {
	cache     *hotcache.Cache
	store     store.Store
	length    time.Duration
	collected func(int, error)
	now       func() time.Time
	names     names
	macs      sync.Pool // of *macState
}

// New returns the sessions of one organization.
func New(c Config) (*Sessions, error) {
	switch {
	case c.Cache == nil:
		return nil, errors.New("session: no cache")
	case c.Space == "" || store.Space(c.Space) != c.Space:
		return nil, fmt.Errorf("session: %q is no space of a store", c.Space)
	case c.HMACKey == [32]byte{}:
		return nil, errors.New("session: the key for hashing cookies is all zero")
	case c.Length < 0:
		return nil, iam.Invalidf("a session cannot last %s: give session length a positive duration, such as 720h", c.Length)
	}
	if c.Length == 0 {
		c.Length = DefaultLength
	}
	if c.Collected == nil {
		c.Collected = func(int, error) {}
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	s := &Sessions{
		cache: c.Cache, store: c.Cache.Store(), length: c.Length,
		collected: c.Collected, now: c.Now, names: newNames(c.Space),
	}
	s.macs.New = func() any { return newMacState(c.HMACKey) }
	return s, nil
}

// unreadable says that sessions could not be read or written. Errors that already have a kind pass.
func unreadable(err error) error {
	if _, ok := errors.AsType[*iam.Error](err); ok {
		return err
	}
	return iam.Unavailable("the store of sessions did not answer: try again shortly", err)
}

// damaged says that a record is not what was written, whatever kind of error its reading came to.
func damaged(err error) error {
	return iam.Unavailable("a record in the store of sessions cannot be read", err)
}

var errRestless = iam.Unavailable("others kept changing the same sessions: try again", nil)
