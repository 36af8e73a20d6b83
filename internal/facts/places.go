package facts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// place is the project in which an opaque id lies.
type place struct {
	Entity  string `json:"entity"`
	Project string `json:"project"`
}

// places remembers in which project an opaque id lies, as far as answers told.
//
// Ids of things that live long, such as sweeps and run queues, are recorded in the store: nobody can
// be asked about them, and an agent must be able to go on after a restart. Ids of artifacts are many,
// and the upstream can be asked: of those only the last used are kept, in memory.
type places struct {
	recent *recent
	cache  *hotcache.Cache
	space  string
}

func newPlaces(cache *hotcache.Cache, space string) *places {
	return &places{newRecent(), cache, space}
}

// recorded reports whether ids of that sort are kept in the store.
func recorded(t wandb.IDType) bool {
	switch t {
	case wandb.IDSweep, wandb.IDAgent, wandb.IDLaunchAgent, wandb.IDRunQueue, wandb.IDTrigger, wandb.IDView,
		wandb.IDCollection, wandb.IDProject, wandb.IDProjectNumber:
		return true
	default:
		return false
	}
}

// find returns where an id lies; false if no answer told.
func (s *places) find(ctx context.Context, t wandb.IDType, id string) (place, bool, error) {
	if p, ok := s.recent.find(placeKey{t, id}); ok {
		return p, true, nil
	}
	if !recorded(t) {
		return place{}, false, nil
	}
	p, err := hotcache.Read(ctx, s.cache.View(), s.key(t, id), decodePlace)
	if errors.Is(err, store.ErrNotFound) {
		return place{}, false, nil
	}
	return p, err == nil, err
}

// learn remembers where an id lies. When it returns nil, what is to outlive a restart will.
func (s *places) learn(ctx context.Context, t wandb.IDType, id string, p place) error {
	if known, ok, err := s.find(ctx, t, id); err != nil || ok && known == p {
		return err
	}
	if recorded(t) {
		value, err := json.Marshal(p)
		if err != nil {
			return err
		}
		if _, err := s.cache.Commit(ctx, store.Write{Key: s.key(t, id), Value: value}); err != nil {
			return iam.Unavailable("The gateway's store did not take a change.", err)
		}
	}
	s.recent.put(placeKey{t, id}, p)
	return nil
}

// key hashes the id, which comes from outside and may be long.
func (s *places) key(t wandb.IDType, id string) string {
	sum := sha256.Sum256([]byte(id))
	return s.space + "/place/" + string(t) + "/" + hex.EncodeToString(sum[:16])
}

func decodePlace(r store.Record) (place, error) {
	var p place
	err := json.Unmarshal(r.Value, &p)
	return p, err
}

// recent keeps the places that were used last: two maps take turns, and what was not used while one
// of them filled up is forgotten with the other.
type recent struct {
	mu          sync.Mutex
	young, aged map[placeKey]place
}

type placeKey struct {
	t  wandb.IDType
	id string
}

const (
	placesPerMap = 100_000
	maxIDBytes   = 256 // longer ids are asked for anew each time
)

func newRecent() *recent {
	return &recent{young: make(map[placeKey]place), aged: make(map[placeKey]place)}
}

func (s *recent) find(key placeKey) (place, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.young[key]; ok {
		return p, true
	}
	p, ok := s.aged[key]
	if ok {
		s.add(key, p)
	}
	return p, ok
}

func (s *recent) put(key placeKey, p place) {
	if len(key.id) > maxIDBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(key, p)
}

func (s *recent) add(key placeKey, p place) {
	if len(s.young) >= placesPerMap {
		s.young, s.aged = make(map[placeKey]place), s.young
	}
	s.young[key] = p
}
