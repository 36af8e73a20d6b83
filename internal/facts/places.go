package facts

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// place is the project in which an opaque id lies.
type place struct {
	Entity  string `json:"entity"`
	Project string `json:"project"`
	// Number is the project's own at the server, which stays when it is renamed; "" where it is not told.
	Number string `json:"number,omitempty"`
	// Used is the day since 1970 on which a record was last known to be of use.
	Used int64 `json:"used,omitempty"`
	// Moved is the second since 1970 in which runs last left the project (noteMove).
	Moved int64 `json:"moved,omitempty"`
}

func (p place) is(other place) bool { return p.Entity == other.Entity && p.Project == other.Project }

// How long the place of an id that nobody asks for is kept, and after how long a use is noted again. A
// sweep or a queue that rests for longer is found again when somebody looks at it.
const (
	keptDays  = 90
	notedDays = 7
)

// places remembers in which project an opaque id lies, as far as answers told.
//
// Ids of which the upstream cannot be asked are recorded in the store: an agent must be able to go on
// after a restart, and at another node. What the upstream can be asked about is many: of those ids only
// the last used are kept, in memory, for believed at most.
type places struct {
	recent   *recent
	cache    *hotcache.Cache
	space    string
	believed time.Duration // 0 for ever
	now      func() time.Time
}

func newPlaces(cache *hotcache.Cache, space string) *places {
	return &places{newRecent(), cache, space, 0, time.Now}
}

// recorded reports whether ids of that sort are kept in the store: those that clients go on using and of
// which the upstream cannot be asked.
func recorded(t wandb.IDType) bool {
	switch t {
	case wandb.IDSweep, wandb.IDAgent, wandb.IDLaunchAgent, wandb.IDRunQueue, wandb.IDRunQueueItem, wandb.IDTrigger,
		wandb.IDArtifactManifest, wandb.IDProject, wandb.IDProjectNumber:
		return true
	case wandb.IDArtifact, wandb.IDArtifactClient, wandb.IDCollection, wandb.IDView: // can be asked
		return false
	case wandb.IDFile, wandb.IDOther: // as many as there are files; of no known sort
		return false
	default:
		return false
	}
}

// find returns where an id lies; false if no answer told.
func (s *places) find(ctx context.Context, t wandb.IDType, id string) (place, bool, error) {
	if !recorded(t) {
		p, ok := s.recent.find(placeKey{t, id}, s.oldest(t))
		if ok && movesWithRun(t) {
			stale, err := s.leftWith(ctx, p)
			return p.place, !stale && err == nil, err
		}
		return p.place, ok, nil
	}
	p, err := hotcache.Read(ctx, s.cache.View(), s.key(t, id), decodePlace)
	if errors.Is(err, store.ErrNotFound) {
		return place{}, false, nil
	}
	if err == nil && s.today()-p.Used >= notedDays {
		// That it is used only keeps it: the request need not wait for a store that does not write.
		_ = s.record(ctx, t, id, p)
	}
	return p, err == nil, err
}

// learn remembers where an id lies. When it returns nil, what is to outlive a restart will.
func (s *places) learn(ctx context.Context, t wandb.IDType, id string, p place) error {
	if !recorded(t) {
		s.recent.put(placeKey{t, id}, p, s.now())
		return nil
	}
	if known, ok, err := s.find(ctx, t, id); err != nil || ok && known.is(p) && (p.Number == "" || p.Number == known.Number) {
		return err
	}
	return s.record(ctx, t, id, p)
}

// forget drops a place that turned out to be none any more.
func (s *places) forget(ctx context.Context, t wandb.IDType, id string) error {
	if !recorded(t) {
		s.recent.drop(placeKey{t, id})
		return nil
	}
	if _, err := s.cache.Commit(ctx, store.Write{Key: s.key(t, id)}); err != nil {
		return iam.Unavailable("The gateway's store did not take a change.", err)
	}
	return nil
}

func (s *places) record(ctx context.Context, t wandb.IDType, id string, p place) error {
	p.Used = s.today()
	value, err := json.Marshal(p)
	if err != nil {
		return err
	}
	if _, err := s.cache.Commit(ctx, store.Write{Key: s.key(t, id), Value: value}); err != nil {
		return iam.Unavailable("The gateway's store did not take a change.", err)
	}
	return nil
}

// movesWithRun reports whether things of that sort go along when their run moves to another project. Artifacts
// stay (docs.wandb.ai, manage-runs), and so does what belongs to the project.
func movesWithRun(t wandb.IDType) bool { return t == wandb.IDFile }

// moveTakes bounds how long a server takes for a move: it answers before it begins.
const moveTakes = time.Hour

// runsMoved is the sort of the records of moves.
const runsMoved wandb.IDType = "runs_moved"

func (s *places) moveKey(entity, project string) string {
	return s.key(runsMoved, iam.FoldName(entity)+"/"+directory.Likeness(project))
}

// noteMove notes that runs are about to leave a project. Which, only the server knows: of all files of the
// project it is no longer known that they lie there, at this gateway and at others, until the move is over and
// an answer shows them again.
func (s *places) noteMove(ctx context.Context, entity, project string) error {
	value, err := json.Marshal(place{Entity: entity, Project: project, Used: s.today(), Moved: s.now().Unix()})
	if err != nil {
		return err
	}
	if _, err := s.cache.Commit(ctx, store.Write{Key: s.moveKey(entity, project), Value: value}); err != nil {
		return iam.Unavailable("The gateway's store did not take a change.", err)
	}
	return nil
}

// leftWith reports whether what lay in a place may have left it with a run since.
func (s *places) leftWith(ctx context.Context, p recentPlace) (bool, error) {
	move, err := hotcache.Read(ctx, s.cache.View(), s.moveKey(p.Entity, p.Project), decodePlace)
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	return err == nil && p.learned.Before(time.Unix(move.Moved, 0).Add(moveTakes)), err
}

func (s *places) today() int64 { return s.now().Unix() / (24 * 60 * 60) }

// oldest is since when a place must have been learned: what the upstream can be asked again is believed
// for a time, and what may move for less than a move is remembered.
func (s *places) oldest(t wandb.IDType) time.Time {
	if movesWithRun(t) {
		return s.now().Add(-24 * time.Hour)
	}
	if s.believed == 0 || wandb.HomeQuestion(t) == "" {
		return time.Time{}
	}
	return s.now().Add(-s.believed)
}

// collect deletes the records that were of no use for keptDays, page by page. It returns how many.
func (s *places) collect(ctx context.Context) (n int, err error) {
	const page = 1000
	for after := ""; ; {
		records, err := s.cache.Store().List(ctx, s.prefix(), after, page)
		if err != nil {
			return n, err
		}
		var writes []store.Write
		for _, r := range records {
			after = r.Key
			if p, err := decodePlace(r); err == nil && p.Used != 0 && s.today()-p.Used > keptDays {
				writes = append(writes, store.Write{Key: r.Key, Expect: store.At(r.Version)})
			}
		}
		if len(writes) > 0 {
			_, err = s.cache.Commit(ctx, writes...)
		}
		switch {
		case err == nil:
			n += len(writes)
		case !errors.Is(err, store.ErrConflict): // somebody used one of them: the next time
			return n, err
		}
		if len(records) < page {
			return n, nil
		}
	}
}

func (s *places) prefix() string { return s.space + "/place/" }

// key hashes the id, which comes from outside and may be long.
func (s *places) key(t wandb.IDType, id string) string {
	sum := sha256.Sum256([]byte(id))
	return s.prefix() + string(t) + "/" + hex.EncodeToString(sum[:16])
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
	young, aged map[placeKey]recentPlace
}

type placeKey struct {
	t  wandb.IDType
	id string
}

type recentPlace struct {
	place
	learned time.Time
}

const (
	placesPerMap = 100_000
	maxIDBytes   = 256 // longer ids are asked for anew each time
)

func newRecent() *recent {
	return &recent{young: make(map[placeKey]recentPlace), aged: make(map[placeKey]recentPlace)}
}

// find returns what was learned since oldest.
func (s *recent) find(key placeKey, oldest time.Time) (recentPlace, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, ok := s.young[key]
	if !ok {
		if p, ok = s.aged[key]; ok {
			s.add(key, p)
		}
	}
	if !ok || p.learned.Before(oldest) {
		return recentPlace{}, false
	}
	return p, true
}

func (s *recent) put(key placeKey, p place, learned time.Time) {
	if len(key.id) > maxIDBytes {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.add(key, recentPlace{p, learned})
}

func (s *recent) drop(key placeKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.young, key)
	delete(s.aged, key)
}

func (s *recent) add(key placeKey, p recentPlace) {
	if len(s.young) >= placesPerMap {
		s.young, s.aged = make(map[placeKey]recentPlace), s.young
	}
	s.young[key] = p
}
