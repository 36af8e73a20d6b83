package directory_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// usedStore is a store that counts the writes of uses, and can be away.
type usedStore struct {
	store.Store
	mu      sync.Mutex
	written map[string]int // by record
	most    int            // in one commit
	away    atomic.Bool
	// before, if set, runs once before the next commit of uses.
	before func()
}

func (s *usedStore) Get(ctx context.Context, key string) (store.Record, error) {
	if s.away.Load() {
		return store.Record{}, errAway
	}
	return s.Store.Get(ctx, key)
}

func (s *usedStore) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	if s.away.Load() {
		return 0, errAway
	}
	uses := store.Space(writes[0].Key) == directory.UsesSpace(organization)
	if uses && s.before != nil {
		f := s.before
		s.before = nil
		f()
	}
	revision, err := s.Store.Commit(ctx, writes...)
	if uses && err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.most = max(s.most, len(writes))
		for _, w := range writes {
			if strings.Contains(w.Key, "/key/") && w.Value != nil {
				s.written[w.Key]++
			}
		}
	}
	return revision, err
}

// writes is how often the use of any key was written.
func (s *usedStore) writes() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.written {
		n += times
	}
	return n
}

func newUsedStore(t testing.TB) *usedStore {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return &usedStore{Store: s, written: map[string]int{}}
}

// node is one gateway on a store.
type node struct {
	*house
	uses *directory.Uses
	// failed counts the flushes that failed.
	failed atomic.Int64
}

// newNode returns a gateway whose clock is the bubble's.
func newNode(t testing.TB, s store.Store) *node {
	t.Helper()
	cache, err := hotcache.New(hotcache.Config{Store: s, Space: organization})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cache.Close()
		time.Sleep(2 * time.Second) // in a bubble that is nothing, and its last goroutines end
	})
	n := &node{}
	n.uses, err = directory.NewUses(directory.UsesConfig{Store: s, Space: organization, Report: func(error) { n.failed.Add(1) }})
	if err != nil {
		t.Fatal(err)
	}
	n.uses.Start()
	t.Cleanup(func() { n.uses.Close() })
	n.house = n.configured(t, cache)
	return n
}

// configured is a directory of the node, as each configuration has its own.
func (n *node) configured(t testing.TB, cache *hotcache.Cache) *house {
	t.Helper()
	d, err := directory.New(directory.Config{Cache: cache, Organization: organization, HMACKey: [32]byte{1}, Uses: n.uses})
	if err != nil {
		t.Fatal(err)
	}
	return &house{TB: t, Directory: d, cache: cache, store: cache.Store()}
}

func (n *node) use(key iam.Secret) {
	n.Helper()
	_, err := n.PrincipalByKey(context.Background(), key)
	n.ok(err)
}

// lastUsed is what is told of the keys of somebody, by name.
func (h *house) lastUsed(owner iam.PrincipalRef) map[string]time.Time {
	h.Helper()
	last := map[string]time.Time{}
	h.ok(h.UsedKeys(context.Background(), owner, func(k directory.Key) error {
		last[k.Name] = k.LastUsed
		return nil
	}))
	return last
}

// TestLastUsed: a key is shown as used at once where it is used, and in the store at most once a minute, however
// often it is.
func TestLastUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUsedStore(t)
		n := newNode(t, s)
		alice := n.user("alice")
		key, idle := n.key(alice.Ref()), "idle"
		_, _, err := n.MintKey(t.Context(), alice.Ref(), idle)
		n.ok(err)
		if last := n.lastUsed(alice.Ref()); len(last) != 2 || !last["laptop"].IsZero() || !last[idle].IsZero() {
			t.Fatalf("before any use: %v", last)
		}
		began := time.Now()
		for range 10 * 60 * 4 { // ten minutes, four times a second
			n.use(key)
			time.Sleep(250 * time.Millisecond)
		}
		if writes := s.writes(); writes < 8 || writes > 11 {
			t.Errorf("in ten minutes the use of one key was written %d times", writes)
		}
		for _, owner := range []iam.PrincipalRef{alice.Ref(), {}} {
			if last := n.lastUsed(owner); time.Since(last["laptop"]) > 15*time.Second || !last[idle].IsZero() {
				t.Errorf("at %s of %s it is told %v", time.Now(), owner, last)
			}
		}
		// Long afterwards what is recorded is the last use, as exactly as a round is long.
		ended := time.Now()
		time.Sleep(5 * time.Minute)
		n.ok(n.uses.Close())
		again := newNode(t, s)
		if last := again.lastUsed(alice.Ref())["laptop"]; ended.Sub(last) > 11*time.Second || last.After(ended) {
			t.Errorf("it was used until %s, and is recorded as %s", ended, last)
		}
		if since, err := again.UsesBegan(t.Context()); err != nil || since.Sub(began) > time.Second {
			t.Errorf("recording since %s (%v), want %s", since, err, began)
		}
	})
}

// TestWhatIsAUse: a key that was refused because its owner is deactivated was not used, and neither was one that is unknown.
func TestWhatIsAUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newUsedStore(t))
		n.admin("root")
		alice := n.user("alice")
		key := n.key(alice.Ref())
		_, err := n.SetUser(t.Context(), alice, directory.UserChange{Active: ptr(false)})
		n.ok(err)
		if _, err := n.PrincipalByKey(t.Context(), key); iam.ReasonOf(err) != directory.ReasonDeactivated {
			t.Fatal(err)
		}
		n.principal(alice.Ref()) // as a session and an access token find her
		if last := n.lastUsed(alice.Ref())["laptop"]; !last.IsZero() {
			t.Errorf("refused, it counts as used at %s", last)
		}
		_, err = n.SetUser(t.Context(), alice, directory.UserChange{Active: ptr(true)})
		n.ok(err)
		n.principal(alice.Ref())
		if last := n.lastUsed(alice.Ref())["laptop"]; !last.IsZero() {
			t.Errorf("without the key it counts as used at %s", last)
		}
		n.use(key)
		if last := n.lastUsed(alice.Ref())["laptop"]; last.IsZero() {
			t.Error("used, and not told")
		}
		brief, _, err := n.CreateKey(t.Context(), directory.NewKey{Owner: alice.Ref(), Name: "brief", Limits: iam.KeyLimits{Expires: time.Now().Add(time.Hour)}})
		n.ok(err)
		n.use(brief)
		used := n.lastUsed(alice.Ref())["brief"]
		time.Sleep(2 * time.Hour)
		if _, err := n.PrincipalByKey(t.Context(), brief); iam.KindOf(err) != iam.KindUnauthenticated {
			t.Fatal(err)
		}
		if last := n.lastUsed(alice.Ref())["brief"]; used.IsZero() || !last.Equal(used) {
			t.Errorf("used at %s and expired since, it counts as used at %s", used, last)
		}
	})
}

// TestUsesOfTwoGateways: what one gateway saw the other tells soon, the later time stays whoever writes last, and
// both together write once a minute.
func TestUsesOfTwoGateways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUsedStore(t)
		a := newNode(t, s)
		alice := a.user("alice")
		key := a.key(alice.Ref())
		b := newNode(t, s)
		a.use(key)
		used := time.Now()
		time.Sleep(70 * time.Second)
		if last := b.lastUsed(alice.Ref())["laptop"]; used.Sub(last) > time.Second {
			t.Errorf("used at one at %s, the other tells %s", used, last)
		}
		before := s.writes()
		for range 5 * 60 * 2 {
			a.use(key)
			b.use(key)
			time.Sleep(500 * time.Millisecond)
		}
		if writes := s.writes() - before; writes > 6 {
			t.Errorf("in five minutes two gateways wrote %d times", writes)
		}
		// Between what one reads and writes, the other writes a later time.
		a.use(key)
		time.Sleep(2 * time.Second)
		b.use(key)
		later := time.Now()
		s.before = func() { b.ok(b.uses.Close()) }
		a.ok(a.uses.Close())
		if s.before != nil {
			t.Fatal("nothing was written")
		}
		c := newNode(t, s)
		if last := c.lastUsed(alice.Ref())["laptop"]; later.Sub(last) > time.Second {
			t.Errorf("the later use at %s is recorded as %s", later, last)
		}
	})
}

// TestUsesOutliveConfigurations: a key that is used before and after a reload is noted in both.
func TestUsesOutliveConfigurations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode(t, newUsedStore(t))
		alice := n.user("alice")
		key := n.key(alice.Ref())
		n.use(key)
		n.house = n.configured(t, n.cache)
		if last := n.lastUsed(alice.Ref())["laptop"]; last.IsZero() {
			t.Error("the use before the reload is gone")
		}
		time.Sleep(3 * time.Minute)
		n.use(key)
		if last := n.lastUsed(alice.Ref())["laptop"]; time.Since(last) > time.Second {
			t.Errorf("the use after the reload is told as %s", last)
		}
	})
}

// TestUsesWhileTheStoreIsAway: nobody is kept waiting, nothing is forgotten, and it is written when the store is back.
func TestUsesWhileTheStoreIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUsedStore(t)
		n := newNode(t, s)
		alice := n.user("alice")
		key := n.key(alice.Ref())
		n.use(key)
		synctest.Wait() // the cache takes it
		s.away.Store(true)
		used := time.Now()
		n.use(key)
		time.Sleep(5 * time.Minute)
		if n.failed.Load() == 0 || s.writes() != 0 {
			t.Fatalf("%d flushes failed, and %d uses were written to a store that is away", n.failed.Load(), s.writes())
		}
		s.away.Store(false)
		time.Sleep(15 * time.Second)
		if s.writes() != 1 {
			t.Errorf("%d uses are written when the store is back", s.writes())
		}
		if last := newNode(t, s).lastUsed(alice.Ref())["laptop"]; used.Sub(last) > time.Second {
			t.Errorf("used at %s, recorded as %s", used, last)
		}
	})
}

// TestUsesInBatches: many keys take few commits, none of them large, and none of the organization's records change.
func TestUsesInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUsedStore(t)
		n := newNode(t, s)
		n.user("alice")
		var rows []string
		for i := range 1200 {
			rows = append(rows, fmt.Sprintf(`{"owner":"alice","name":"k%d","key":"local-%040d"}`, i, i))
		}
		_, err := n.Import(t.Context(), []byte(`{"api_keys":[`+strings.Join(rows, ",")+`]}`), directory.ImportOptions{})
		n.ok(err)
		for i := range 1200 {
			n.use(iam.NewSecret(fmt.Sprintf("local-%040d", i)))
		}
		before, loads := n.revision(), n.cache.Stats().Loads
		time.Sleep(15 * time.Second)
		if s.writes() != 1200 || s.most > 500 {
			t.Errorf("%d uses are written, at most %d together", s.writes(), s.most)
		}
		for i := range 1200 {
			n.use(iam.NewSecret(fmt.Sprintf("local-%040d", i)))
		}
		if now := n.cache.Stats().Loads; now != loads {
			t.Errorf("writing uses made the cache read %d records again", now-loads)
		}
		if n.revision() != before {
			t.Error("writing uses counts as a change of the organization")
		}
		n.ok(n.UsedKeys(t.Context(), iam.PrincipalRef{}, func(k directory.Key) error {
			if k.LastUsed.IsZero() {
				return fmt.Errorf("%s was used and is not told so", k.Name)
			}
			return nil
		}))
	})
}

// TestUsesGoWithTheirKeys: what is deleted, by whatever way, leaves no use behind, also where another gateway
// had it noted; and a key that is recorded again has not been used.
func TestUsesGoWithTheirKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newUsedStore(t)
		a := newNode(t, s)
		b := newNode(t, s)
		left := func() (n int) {
			t.Helper()
			records, err := s.List(t.Context(), directory.UsesSpace(organization)+"/key/", "", 0)
			a.ok(err)
			return len(records)
		}
		root := a.admin("root")
		secret := func(i int) iam.Secret { return iam.NewSecret(fmt.Sprintf("local-%040d", i)) }
		for name, end := range map[string]func(iam.UserID, iam.KeyID) error{
			"key": func(_ iam.UserID, id iam.KeyID) error {
				return second(a.DeleteKey(t.Context(), iam.PrincipalRef{}, id))
			},
			"owner": func(u iam.UserID, _ iam.KeyID) error { return second(a.DeleteUser(t.Context(), u)) },
			"prune": func(iam.UserID, iam.KeyID) error {
				return second(a.Import(t.Context(), []byte(`{"api_keys":[]}`), directory.ImportOptions{Prune: true}))
			},
		} {
			alice := a.user("alice")
			c, err := a.ImportKey(t.Context(), alice.Ref(), "laptop", secret(1))
			a.ok(err)
			a.use(secret(1))
			time.Sleep(time.Minute)
			if left() != 1 {
				t.Fatalf("%s: %d uses are recorded", name, left())
			}
			time.Sleep(time.Minute)
			b.use(secret(1)) // noted there, and not written when the key ends
			a.ok(end(alice, c.After.ID))
			time.Sleep(3 * time.Minute)
			if left() != 0 {
				t.Errorf("%s: %d uses are left", name, left())
			}
			if name != "owner" {
				a.ok(second(a.DeleteUser(t.Context(), alice)))
			}
		}
		// Recorded again before the use of the deleted one is forgotten.
		_, err := a.ImportKey(t.Context(), root.Ref(), "laptop", secret(2))
		a.ok(err)
		a.use(secret(2))
		time.Sleep(time.Minute)
		a.ok(second(b.Import(t.Context(), []byte(`{"api_keys":[]}`), directory.ImportOptions{Prune: true})))
		time.Sleep(2 * time.Second)
		_, err = a.ImportKey(t.Context(), root.Ref(), "again", secret(2))
		a.ok(err)
		if last := a.lastUsed(root.Ref())["again"]; !last.IsZero() {
			t.Errorf("a key that was just recorded counts as used at %s", last)
		}
	})
}

// TestUsesAreBounded: whoever uses very many keys fills no memory.
func TestUsesAreBounded(t *testing.T) {
	s := newUsedStore(t)
	uses, err := directory.NewUses(directory.UsesConfig{Store: s, Space: organization})
	if err != nil {
		t.Fatal(err)
	}
	defer uses.Close()
	for i := range 150_000 {
		uses.Note([32]byte{byte(i), byte(i >> 8), byte(i >> 16)})
	}
	if n := uses.Noted(); n != 100_000 {
		t.Errorf("%d uses wait", n)
	}
}

// TestUsesOfVeryManyKeys: those that are in use all the time do not keep others from being recorded.
func TestUsesOfVeryManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const hot, others, most = 550, 400, 1000 // together more than half of what is held, and each time anew
		s := newUsedStore(t)
		n := newNode(t, s)
		n.uses.SetMost(most)
		sum := func(i int) [32]byte { return [32]byte{byte(i), byte(i >> 8)} }
		writes := make([]store.Write, hot+others)
		for i := range writes {
			writes[i] = store.Write{Key: fmt.Sprintf("%s/key/%x", organization, sum(i)), Value: []byte(`{}`)}
		}
		_, err := s.Commit(t.Context(), writes...)
		n.ok(err)
		for range 2 {
			for i := range hot {
				n.uses.Note(sum(i))
			}
			time.Sleep(11 * time.Second)
		}
		for i := range others {
			n.uses.Note(sum(hot + i))
		}
		time.Sleep(15 * time.Second)
		if s.writes() != hot+others {
			t.Errorf("of %d keys in use %d are recorded", hot+others, s.writes())
		}
		if n.failed.Load() != 0 {
			t.Error("some were left out")
		}
	})
}

// TestCopyUses: the later time stays, whatever was there, and doing it again changes nothing.
func TestCopyUses(t *testing.T) {
	from, to := newUsedStore(t), newUsedStore(t)
	ctx, space := t.Context(), directory.UsesSpace(organization)
	put := func(s store.Store, key string, at string) {
		t.Helper()
		if _, err := s.Commit(ctx, store.Write{Key: space + "/key/" + key, Value: []byte(`{"last":"2026-11-` + at + `T00:00:00Z"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	put(from, "a", "01")
	put(from, "b", "09")
	put(from, "c", "02")
	put(to, "b", "03")
	put(to, "c", "08")
	put(to, "d", "04")
	since := func(s store.Store, at string) {
		t.Helper()
		if _, err := s.Commit(ctx, store.Write{Key: space + "/since", Value: []byte(`{"last":"2026-11-` + at + `T00:00:00Z"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	since(from, "01")
	since(to, "09")
	many := make([]store.Write, 1500)
	for i := range many {
		many[i] = store.Write{Key: fmt.Sprintf("%s/key/many-%04d", space, i), Value: []byte(`{"last":"2026-11-05T00:00:00Z"}`)}
	}
	if _, err := from.Commit(ctx, many...); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := directory.CopyUses(ctx, from, to, organization); err != nil {
			t.Fatal(err)
		}
		if r, err := to.Get(ctx, space+"/since"); err != nil || !strings.Contains(string(r.Value), "2026-11-01") {
			t.Errorf("recording since %s (%v)", r.Value, err)
		}
		var got []string
		records, err := to.List(ctx, space+"/key/", "", 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records[:4] {
			got = append(got, r.Key[len(space)+5:]+string(r.Value[17:19]))
		}
		if want := []string{"a01", "b09", "c08", "d04"}; !slices.Equal(got, want) || len(records) != 1504 {
			t.Errorf("%q of %d, want %q", got, len(records), want)
		}
	}
}

// BenchmarkNotedUse is BenchmarkIdentifyAndFacts/identify with uses noted.
func BenchmarkNotedUse(b *testing.B) {
	n := newNode(b, newUsedStore(b))
	key := n.key(n.user("alice").Ref())
	n.use(key)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := n.PrincipalByKey(context.Background(), key); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUsedKeys lists all keys with their uses, of which every second key has one: what `iam key list` reads,
// whatever it shows of it.
func BenchmarkUsedKeys(b *testing.B) {
	for _, keys := range []int{1_000, 1_000_000} {
		b.Run(fmt.Sprintf("keys=%d", keys), func(b *testing.B) {
			s := newUsedStore(b)
			fill(b, s, keys/10, 1, keys)
			n := newNode(b, s)
			var batch []store.Write
			at, after := 0, ""
			for {
				page, err := s.List(b.Context(), organization+"/key/", after, 0)
				n.ok(err)
				if len(page) == 0 {
					break
				}
				for _, r := range page {
					if at++; at%2 == 0 {
						batch = append(batch, store.Write{Key: directory.UsesSpace(organization) + strings.TrimPrefix(r.Key, organization), Value: []byte(`{"last":"2026-11-05T00:00:00Z"}`)})
					}
				}
				_, err = s.Store.Commit(b.Context(), batch...)
				n.ok(err)
				batch, after = batch[:0], page[len(page)-1].Key
			}
			b.ReportAllocs()
			for b.Loop() {
				all, used := 0, 0
				n.ok(n.UsedKeys(b.Context(), iam.PrincipalRef{}, func(k directory.Key) error {
					if all++; !k.LastUsed.IsZero() {
						used++
					}
					return nil
				}))
				if all != keys || used != keys/2 {
					b.Fatalf("%d of %d are used", used, all)
				}
			}
		})
	}
}

// BenchmarkFlush writes the uses of many keys.
func BenchmarkFlush(b *testing.B) {
	const keys = 10_000
	s := newUsedStore(b)
	secrets := fill(b, s, 1000, 1, keys)
	for b.Loop() {
		b.StopTimer()
		n := newNode(b, s)
		for _, secret := range secrets {
			n.use(iam.NewSecret(secret))
		}
		b.StartTimer()
		n.ok(n.uses.Close())
	}
}
