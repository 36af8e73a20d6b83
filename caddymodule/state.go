package caddymodule

import (
	"context"
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// state is what outlives a reload: the store, whose file a second open would wait for, the keys, and
// what was cached. It is shared by all configurations that name the same store.
type state struct {
	store store.Store
	space string
	cache *hotcache.Cache
	keys  keys.MasterKey
	plans *wandb.Reader
	// uses are when API keys were used. What was noted is found again by what is cached.
	uses *directory.Uses
	// issuers are the key sets of trusted issuers.
	issuers *tokenexchange.KeySets

	// limits count failures, by what they count and how many may be: a reload gives no guesses back.
	limits sync.Map

	// restore is the temporary password of LOCAL_RESTORE.
	restoreOnce sync.Once
	restore     iam.Secret

	// What the cache was made with.
	cacheSize  Size
	staleLimit caddy.Duration
}

// states holds the one state of the process while any configuration uses it.
var states = caddy.NewUsagePool()

// stateKey says what must be the same for a state to be shared.
type stateKey struct {
	store Store
	space string
}

func (a *App) stateKey() stateKey { return stateKey{*a.Store, a.space()} }

// acquireState opens the store, or takes over what the configuration before this one opened. A store
// cannot change while the process runs: what is cached and who is signed in belong to it.
func acquireState(a *App) (*state, error) {
	key, err := a.stateKey(), error(nil)
	states.Range(func(other, _ any) bool {
		if other != key {
			err = iam.Invalidf("the store or the organization cannot change by a reload; restart the gateway to use %s", a.Store)
		}
		return err == nil
	})
	if err != nil {
		return nil, err
	}
	value, running, err := states.LoadOrNew(key, func() (caddy.Destructor, error) { return openState(a) })
	if err != nil {
		return nil, err
	}
	s := value.(*state)
	if running && (s.cacheSize != a.CacheSize || s.staleLimit != a.StaleLimit) {
		a.logger.Warn("cache_size and stale_limit change at the next start, not by a reload",
			zap.Stringer("cache_size", s.cacheSize), zap.Duration("stale_limit", time.Duration(s.staleLimit)))
	}
	return s, nil
}

func releaseState(a *App) error {
	_, err := states.Delete(a.stateKey())
	return err
}

func openState(a *App) (*state, error) {
	master, err := masterKey(a)
	if err != nil {
		return nil, err
	}
	s, err := a.Store.open(a.logger)
	if err != nil {
		return nil, err
	}
	cache, err := hotcache.New(hotcache.Config{
		Store: s, Space: a.space(),
		MaxBytes: int64(a.CacheSize), StaleLimit: time.Duration(a.StaleLimit),
		Propagated: countPropagation,
	})
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	plans, err := wandb.NewReader(wandb.ReaderConfig{})
	if err != nil {
		return nil, errors.Join(err, cache.Close(), s.Close())
	}
	uses, err := directory.NewUses(directory.UsesConfig{Store: s, Space: a.space(), Report: reportUses(a.logger)})
	if err != nil {
		return nil, errors.Join(err, cache.Close(), s.Close())
	}
	return &state{
		store: s, space: a.space(), cache: cache, keys: master, plans: plans, uses: uses,
		issuers:   &tokenexchange.KeySets{Report: reportKeySet(a.logger)},
		cacheSize: a.CacheSize, staleLimit: a.StaleLimit,
	}, nil
}

// masterKeyCheck is a record whose opening proves that the master key is the store's own.
const masterKeyCheck = "master key check"

// masterKey finds the master key: from the configuration, from its variable, or from a file beside
// the data of an embedded store, which is made at first start. Gateways that share a store must be
// given the key that they share.
func masterKey(a *App) (keys.MasterKey, error) {
	if text := a.masterKeyText(); text != "" {
		return keys.ParseMasterKey(text)
	}
	if a.MasterKeyFile != "" {
		return keys.LoadMasterKey(a.MasterKeyFile)
	}
	if a.Store.Backend != storeEmbedded {
		return keys.MasterKey{}, &iam.Error{Kind: iam.KindInvalid, Reason: "no_master_key",
			Message: "store redis needs a master key, the same for all gateways that share it: set WANDB_GATEWAY_MASTER_KEY, or `master_key_file PATH`, to base64 of 32 random bytes, such as `openssl rand -base64 32` prints"}
	}
	key, created, err := keys.LoadOrCreateMasterKey(a.ownMasterKeyFile())
	if created {
		a.logger.Warn("made a new master key: keep a copy, for the records cannot be read without it", zap.String("file", a.ownMasterKeyFile()))
	}
	return key, err
}

// ownMasterKeyFile is where an embedded store has a master key that nothing else names.
func (a *App) ownMasterKeyFile() string { return filepath.Join(a.Store.Path, "master.key") }

// masterKeyText is the key that stands in the configuration or, without one, in its variable.
func (a *App) masterKeyText() string {
	if a.MasterKey == "" && a.MasterKeyFile == "" {
		return os.Getenv("WANDB_GATEWAY_MASTER_KEY")
	}
	return a.MasterKey
}

// masterKeyPath is the key of the record by which the master key is checked. It also tells directories
// apart: two were never sealed to the same bytes.
func masterKeyPath(space string) string { return space + "/master_key_check" }

// checkMasterKey refuses a key that is not the one with which the store was filled: with another
// key every API key would be unknown, which looks like an attack on everybody at once.
func (s *state) checkMasterKey(ctx context.Context, space string) error {
	path := masterKeyPath(space)
	record, err := s.store.Get(ctx, path)
	if errors.Is(err, store.ErrNotFound) {
		record, err = s.recordMasterKey(ctx, path)
	}
	if err != nil {
		return err
	}
	if err := opensCheck(s.keys, record); err != nil {
		return &iam.Error{Kind: iam.KindInvalid, Reason: "wrong_master_key", Err: err,
			Message: "the master key is not the one with which this store was filled; start with that key, or with a store of its own"}
	}
	return nil
}

// opensCheck reports why a master key is not the one with which the record was written.
func opensCheck(master keys.MasterKey, record store.Record) error {
	sealed, err := base64.StdEncoding.DecodeString(string(record.Value))
	if err == nil {
		_, err = master.Open(sealed, record.Key)
	}
	return err
}

// recordMasterKey records the check, and returns what stands there now: another gateway may have been
// faster, with this key or with another.
func (s *state) recordMasterKey(ctx context.Context, path string) (store.Record, error) {
	sealed, err := s.keys.Seal([]byte(masterKeyCheck), path)
	if err != nil {
		return store.Record{}, err
	}
	_, err = s.store.Commit(ctx, store.Write{Key: path, Value: []byte(base64.StdEncoding.EncodeToString(sealed)), Expect: store.Absent()})
	if err != nil && !errors.Is(err, store.ErrConflict) {
		return store.Record{}, err
	}
	return s.store.Get(ctx, path)
}

// Destruct implements caddy.Destructor: the last configuration that used the state is gone.
func (s *state) Destruct() error {
	s.issuers.Close()
	return errors.Join(s.uses.Close(), s.cache.Close(), s.store.Close())
}
