// Package redis is the store that several gateways share: a Redis server (or Valkey), one behind
// Sentinel, or a Cluster. It is the only code that knows go-redis.
//
// # What stands in Redis
//
// The keys of one space carry one hash tag, so that a space is one slot of a Cluster:
//
//	<prefix>{<space>}:head        "<revision> <id of the commit that made it>"
//	<prefix>{<space>}:records     a hash: the rest of a record's key -> "<version>:<value>"
//	<prefix>{<space>}:index       a sorted set of the same keys, all with score 0: their order
//	<prefix>{<space>}:done:<id>   for a while, the revision of a commit: it is not made twice
//	<prefix>{<space>}:changes     the channel on which commits are announced
//
// The id of a commit is random, and ends with "@" and the server's time in microseconds, if the server
// tells it.
//
// A hash, rather than one key of Redis for each record, lets a script that touches thousands of
// records still name all the keys it uses. A commit is one script: nobody sees
// half of it, and it reaches the append-only file and the replicas as one transaction.
//
// # What it does not trust
//
// Messages get lost, so the revision is compared twice a second as well. Acknowledged writes can be
// lost in a failover, so the commits form a chain: each announcement names the commit before it, and
// whoever finds another one there than it knew drops everything. A server that was demoted, or cut
// from its replicas, may answer with what is no longer true, so reading the revision asks for leave
// to write. A server that came back empty is not an empty directory: this process remembers that
// there was something, and answers that nobody can tell.
package redis

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// DefaultPrefix begins every key unless the configuration says otherwise.
const DefaultPrefix = "wandb-gateway:"

// Bounds of single operations; the caller's context may end them earlier.
const (
	readTimeout   = 2 * time.Second
	listTimeout   = 10 * time.Second
	commitTimeout = 15 * time.Second
	// DefaultOpenTimeout bounds how long Open tries to reach the server.
	DefaultOpenTimeout = 7 * time.Second
)

// Config says where the store is.
type Config struct {
	// URL is the address, in one of the forms that ParseAddress takes.
	URL string
	// Username and Password are used where the URL has none. A password with special characters is
	// easier written here.
	Username string
	Password iam.Secret
	// Prefix begins every key, so that others can use the same server; a user of Redis needs access to
	// keys and channels that begin with it. Empty means DefaultPrefix.
	Prefix string
	// Roots are trusted for rediss; nil means the system's.
	Roots *x509.CertPool
	// OpenTimeout is how long Open tries to reach the server; 0 means DefaultOpenTimeout.
	OpenTimeout time.Duration
}

// Store is an open store. It implements store.Store. Errors other than the port's own are of
// iam.KindUnavailable.
type Store struct {
	client   goredis.UniversalClient
	address  Address
	names    names
	warnings []string

	closing chan struct{}
	close   func() error

	mu    sync.Mutex
	feeds map[string]*feed // by space, while somebody watches it
	ended bool
	// running are the goroutines of feeds.
	running sync.WaitGroup

	// filled are the spaces that this process has seen with a revision.
	filled sync.Map // space -> struct{}
}

var _ store.Advancer = (*Store)(nil)

var (
	errClosed = errors.New("redis store: closed")
	errLost   = errors.New("the server has lost the records that it held: restore it from its backup, or restart all gateways to begin anew")
)

// Open connects to the server and looks at its settings. It refuses, with an iam.Error that names
// address and remedy and never a password: a server that cannot be reached in time, that does not let
// this user in, that gives up records when its memory is full, or that is no master.
func Open(cfg Config) (*Store, error) {
	address, err := ParseAddress(cfg.URL)
	if err != nil {
		return nil, err
	}
	address.username = cmp.Or(address.username, cfg.Username)
	if address.password.IsZero() {
		address.password = cfg.Password
	}
	prefix := cmp.Or(cfg.Prefix, DefaultPrefix)
	if err := CheckPrefix(prefix); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), cmp.Or(cfg.OpenTimeout, DefaultOpenTimeout))
	defer cancel()
	names := names{prefix}
	client, address, warnings, err := connect(ctx, address, cfg.Roots, names)
	if err != nil {
		return nil, err
	}
	s := &Store{
		client: client, address: address, names: names, warnings: warnings,
		closing: make(chan struct{}), feeds: make(map[string]*feed),
	}
	s.close = sync.OnceValue(s.shut)
	return s, nil
}

var validPrefix = regexp.MustCompile(`^[A-Za-z0-9._:/-]{1,64}$`)

// CheckPrefix refuses a prefix that would be read as a pattern or a hash tag.
func CheckPrefix(prefix string) error {
	if !validPrefix.MatchString(prefix) {
		return iam.Invalidf("store redis: prefix %.80q is not 1 to 64 letters, digits and . _ : / -", prefix)
	}
	return nil
}

// Address returns where the store is.
func (s *Store) Address() Address { return s.address }

// Warnings are what was found at Open that may lose records or could not be checked, each a sentence
// with its remedy.
func (s *Store) Warnings() []string { return s.warnings }

// Get implements store.Store. Reading the revision fails on a server that may not be written to.
func (s *Store) Get(ctx context.Context, key string) (store.Record, error) {
	if err := ctx.Err(); err != nil {
		return store.Record{}, err
	}
	if !store.ValidKey(key) {
		return store.Record{}, store.ErrNotFound
	}
	call, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	space := store.Space(key)
	if key == store.RevisionKey(space) {
		h, _, err := s.readHead(call, space)
		if err != nil {
			return store.Record{}, s.failed(ctx, "reading the revision", err)
		}
		if h.revision == 0 {
			return store.Record{}, store.ErrNotFound
		}
		return store.Record{Key: key, Version: h.revision}, nil
	}
	raw, err := s.client.HGet(call, s.names.records(space), key[len(space)+1:]).Result()
	if errors.Is(err, goredis.Nil) {
		return store.Record{}, s.missing(ctx, space)
	}
	if err != nil {
		return store.Record{}, s.failed(ctx, "reading a record", err)
	}
	return decodeRecord(key, raw)
}

// missing says why there is no record: because there is none, or because the server lost everything.
func (s *Store) missing(ctx context.Context, space string) error {
	if _, filled := s.filled.Load(space); !filled {
		return store.ErrNotFound
	}
	call, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	n, err := s.client.Exists(call, s.names.head(space)).Result()
	if err == nil && n == 0 {
		err = errLost
	}
	if err != nil {
		return s.failed(ctx, "reading a record", err)
	}
	return store.ErrNotFound
}

// readHead returns the head of a space, the zero head if it was never written, and the server's time;
// zero if it does not tell. On a server that may not be written to it fails.
func (s *Store) readHead(ctx context.Context, space string) (head, serverTime, error) {
	answer, err := headScript.Run(ctx, s.client, []string{s.names.head(space), s.names.probe(space)}).StringSlice()
	if err == nil && len(answer) != 2 {
		err = errors.New("an answer that is none")
	}
	if err != nil {
		return head{}, 0, err
	}
	now := parseServerTime(answer[1])
	if answer[0] == "" {
		if _, filled := s.filled.Load(space); filled {
			return head{}, now, errLost
		}
		return head{}, now, nil
	}
	h, err := decodeHead(answer[0])
	if err == nil {
		s.filled.LoadOrStore(space, struct{}{})
	}
	return h, now, err
}

// headScript reads the head of a space, "" if there is none, and the server's time in microseconds, ""
// if the user may not ask for it. It first deletes a key that never exists, which changes
// nothing, but which a server refuses that is a replica by now or does not have as many replicas as
// it must. One that cannot save to its disk may still be read.
var headScript = goredis.NewScript(`
local leave = redis.pcall('DEL', KEYS[2])
if type(leave) == 'table' and leave.err and not string.find(leave.err, 'MISCONF', 1, true) then
	return leave
end
local clock, now = redis.pcall('TIME'), ''
if not clock.err then now = string.format('%.0f', clock[1] * 1000000 + clock[2]) end
return {redis.call('GET', KEYS[1]) or '', now}
`)

// failed wraps an error of the client. Our own time limits are no cancelled context: whoever waits
// with others must not take them for the caller's.
func (s *Store) failed(ctx context.Context, doing string, err error) error {
	if errors.Is(err, goredis.ErrClosed) {
		return errClosed
	}
	if ctx.Err() != nil {
		return iam.Unavailable("the request ended before the store answered", ctx.Err())
	}
	if errors.Is(err, store.ErrCorrupt) {
		return err
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		err = errors.New("no answer in time")
	}
	return iam.Unavailable("the gateway's store did not answer, try again", fmt.Errorf("redis at %s: %s: %w", s.address, doing, err))
}

// Close implements store.Store.
func (s *Store) Close() error { return s.close() }

func (s *Store) shut() error {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	close(s.closing)
	err := s.client.Close() // before waiting: it wakes whoever reads
	s.running.Wait()
	return err
}
