package caddymodule

import (
	"cmp"
	"path/filepath"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis"
)

// Store configures the backend.
type Store struct {
	// Backend is `embedded`: one file, one process; or `redis`: a server that several gateways share.
	Backend string `json:"backend,omitempty"`
	// Path is the folder of an embedded store. Default: ./data.
	Path string `json:"path,omitempty"`
	// URL is where Redis is, such as redis://host:6379/0, rediss://... with TLS,
	// redis+sentinel://host,host/master or redis+cluster://host,host.
	URL string `json:"url,omitempty"`
	// Username is Redis's user, if the URL names none.
	Username string `json:"username,omitempty"`
	// Password is that user's password, if the URL has none.
	Password string `json:"password,omitempty"`
	// Prefix begins all keys in Redis. Default: wandb-gateway:.
	Prefix string `json:"prefix,omitempty"`
	// TLSCA is a file of certificates to trust for Redis, in place of the system's.
	TLSCA string `json:"tls_ca,omitempty"`
}

const (
	storeEmbedded = "embedded"
	storeRedis    = "redis"
)

var errNoRedis = iam.Invalidf("store redis needs the address of the server, and there is none, or its variable is empty; write `store redis redis://HOST:6379/0`")

func (s *Store) fillDefaults() {
	setDefault(&s.Backend, storeEmbedded)
	if s.Backend == storeEmbedded {
		setDefault(&s.Path, "./data")
	}
}

// values are those in which placeholders are replaced.
func (s *Store) values() []namedValue {
	return []namedValue{
		{"store embedded", &s.Path},
		{"store redis", &s.URL},
		{"store redis username", &s.Username},
		{"store redis password", &s.Password},
		{"store redis prefix", &s.Prefix},
		{"store redis tls_ca", &s.TLSCA},
	}
}

// absolute makes the paths ones that a later change of directory does not move.
func (s *Store) absolute() error {
	for _, path := range []*string{&s.Path, &s.TLSCA} {
		if *path == "" {
			continue
		}
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return err
		}
		*path = absolute
	}
	return nil
}

func (s *Store) check() error {
	switch s.Backend {
	case storeEmbedded:
		if *s != (Store{Backend: storeEmbedded, Path: s.Path}) {
			return iam.Invalidf("store embedded takes a folder alone; write `store embedded FOLDER`, or `store redis URL { ... }`")
		}
		return nil
	case storeRedis:
		if s.Path != "" {
			return iam.Invalidf("store redis has no path; write `store redis URL`, or `store embedded FOLDER`")
		}
		return cmp.Or(checkRedisURL(s.URL), checkRedisPrefix(s.Prefix))
	default:
		return iam.Invalidf("store %q is not known; write `store embedded FOLDER`, or `store redis URL` for several gateways", s.Backend)
	}
}

func checkRedisURL(s string) error {
	if s == "" {
		return errNoRedis
	}
	_, err := redis.ParseAddress(s)
	return err
}

func checkRedisPrefix(s string) error {
	if s == "" {
		return nil
	}
	return redis.CheckPrefix(s)
}

// String names the store, without a password.
func (s *Store) String() string {
	if s.Backend != storeRedis {
		return s.Backend + " " + s.Path
	}
	address, err := redis.ParseAddress(s.URL)
	if err != nil {
		return s.Backend
	}
	return s.Backend + " " + address.String()
}

// open opens the store, and says in the log what may lose records.
func (s *Store) open(logger *zap.Logger) (store.Store, error) {
	if s.Backend != storeRedis {
		return embedded.Open(embedded.Config{Directory: s.Path})
	}
	roots, err := readRoots(s.TLSCA)
	if err != nil {
		return nil, err
	}
	opened, err := redis.Open(redis.Config{
		URL: s.URL, Username: s.Username, Password: iam.NewSecret(s.Password), Prefix: s.Prefix, Roots: roots,
	})
	if err != nil {
		return nil, err
	}
	for _, warning := range opened.Warnings() {
		logger.Warn(warning)
	}
	return opened, nil
}

// parseStore reads `store embedded <folder>`, or
//
//	store redis <url> {
//		username <name>
//		password <text>
//		prefix <text>
//		tls_ca <file>
//	}
func (a *App) parseStore(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("store needs a backend; write `store embedded FOLDER`, or `store redis URL`")
	}
	a.Store = &Store{Backend: d.Val()}
	switch d.Val() {
	case storeEmbedded:
		return a.Store.parseEmbedded(d)
	case storeRedis:
		return a.Store.parseRedis(d)
	default:
		return d.WrapErr(a.Store.check())
	}
}

func (s *Store) parseEmbedded(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return nil
	}
	s.Path = d.Val()
	if d.NextArg() {
		return d.Errf("store embedded takes one folder, not also %q", d.Val())
	}
	return nil
}

func (s *Store) parseRedis(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() == "" {
		return d.WrapErr(errNoRedis)
	}
	s.URL = d.Val()
	if !hasPlaceholder(s.URL) {
		if err := checkRedisURL(s.URL); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Err("store redis takes one address, with several hosts separated by commas; options stand in a block behind it")
	}
	return eachOption(d, options{
		"username": text(&s.Username),
		"password": text(&s.Password),
		"prefix":   checked(&s.Prefix, checkRedisPrefix),
		"tls_ca":   text(&s.TLSCA),
	})
}
