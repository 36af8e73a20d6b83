package signing_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/signing"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

const (
	space  = "acme"
	record = "acme/signing_keys"
	retain = time.Hour + time.Minute
)

// clock is a clock that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// events collects what is reported.
type events struct {
	mu   sync.Mutex
	list []signing.Event
}

func (e *events) report(event signing.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, event)
}

// take returns what was reported since the last call, in one word each.
func (e *events) take() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var words []string
	for _, event := range e.list {
		words = append(words, string(event.What))
	}
	e.list = nil
	return strings.Join(words, " ")
}

// node is one gateway's signing keys.
type node struct {
	testing.TB
	*signing.Keys
	*clock
	*events
	cache *hotcache.Cache
}

func newStore(t testing.TB) store.Store {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

var master = func() keys.MasterKey {
	k, err := keys.ParseMasterKey("AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
	if err != nil {
		panic(err)
	}
	return k
}()

// newNode starts a node on a store. What c leaves out is as in most tests.
func newNode(t testing.TB, s store.Store, at *clock, c signing.Config) *node {
	t.Helper()
	cache, err := hotcache.New(hotcache.Config{Store: s, Space: space})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	n := &node{TB: t, clock: at, events: new(events), cache: cache}
	c.Cache, c.Space, c.Now, c.Report = cache, space, at.Now, n.report
	if c.Master.IsZero() {
		c.Master = master
	}
	if c.Retain == 0 {
		c.Retain = retain
	}
	if n.Keys, err = signing.New(c); err != nil {
		t.Fatal(err)
	}
	return n
}

// started is newNode on a store of its own, after Ensure.
func started(t testing.TB) *node {
	t.Helper()
	n := newNode(t, newStore(t), newClock(), signing.Config{})
	n.ok(n.Ensure(context.Background()))
	return n
}

func (n *node) ok(err error) {
	n.Helper()
	if err != nil {
		n.Fatalf("unexpected: %v", err)
	}
}

func (n *node) signer() *jws.PrivateKey {
	n.Helper()
	key, err := n.Signer(context.Background(), n.cache.View())
	n.ok(err)
	return key
}

func (n *node) sign() string {
	n.Helper()
	token, err := n.signer().Sign("at+jwt", map[string]string{"sub": "user:usr_1"})
	n.ok(err)
	return token
}

func (n *node) verify(token string) error {
	n.Helper()
	set, err := n.Verifying(context.Background(), n.cache.View())
	n.ok(err)
	parsed, err := jws.Parse(token)
	n.ok(err)
	_, err = parsed.Verify(set, nil)
	return err
}

func (n *node) refuses(what, token string) {
	n.Helper()
	if err := n.verify(token); iam.ReasonOf(err) != jws.ReasonUnknownKey {
		n.Errorf("%s: %v", what, err)
	}
}

// states asserts the states of all keys, the oldest first, and that what is published and what
// verifies are these keys.
func (n *node) states(want ...signing.State) {
	n.Helper()
	list, err := n.List(context.Background())
	n.ok(err)
	var got []signing.State
	var ids []string
	for _, key := range list {
		got = append(got, key.State)
		ids = append(ids, key.ID)
		if key.State == signing.Signing && key.ID != n.signer().ID() {
			n.Errorf("%s is said to sign, and %s does", key.ID, n.signer().ID())
		}
	}
	if !slices.Equal(got, want) {
		n.Errorf("the keys are %v, want %v", got, want)
	}
	text, err := n.Published(context.Background())
	n.ok(err)
	set, ignored, err := jws.ParseKeySet(text)
	n.ok(err)
	verifying, err := n.Verifying(context.Background(), n.cache.View())
	n.ok(err)
	for name, set := range map[string]*jws.KeySet{"published": set, "verifying": verifying} {
		var have []string
		for _, key := range set.Keys() {
			have = append(have, key.ID())
		}
		if !slices.Equal(have, ids) {
			n.Errorf("%s are %v, want %v", name, have, ids)
		}
	}
	if len(ignored) != 0 || strings.Contains(string(text), `"d"`) {
		n.Errorf("published is %s (%v)", text, ignored)
	}
}

func (n *node) ids() []string {
	n.Helper()
	list, err := n.List(context.Background())
	n.ok(err)
	ids := make([]string, len(list))
	for i, key := range list {
		ids[i] = key.ID
	}
	return ids
}

func (n *node) revision() store.Revision {
	n.Helper()
	r, err := n.cache.Store().Get(context.Background(), store.RevisionKey(space))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		n.Fatal(err)
	}
	return r.Version
}

// meets waits until the node has seen what another one wrote.
func (n *node) meets(other *node) {
	n.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for n.cache.Stats().Revision < other.revision() {
		if time.Now().After(deadline) {
			n.Fatal("the node never saw the change")
		}
		time.Sleep(time.Millisecond)
	}
}

func TestFirstKeySignsAtOnce(t *testing.T) {
	n, ctx := newNode(t, newStore(t), newClock(), signing.Config{}), context.Background()
	for name, err := range map[string]error{
		"signer":    second(n.Signer(ctx, n.cache.View())),
		"verifying": second(n.Verifying(ctx, n.cache.View())),
		"published": second(n.Published(ctx)),
	} {
		if iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%s before there is a key: %v", name, err)
		}
	}
	n.ok(n.Ensure(ctx))
	n.states(signing.Signing)
	if n.signer().Algorithm() != jws.ES256 {
		t.Errorf("it signs with %s", n.signer().Algorithm())
	}
	n.ok(n.verify(n.sign()))
	if got := n.take(); got != "created" {
		t.Errorf("reported %q", got)
	}
	revision := n.revision()
	n.ok(n.Ensure(ctx))
	if n.revision() != revision || n.take() != "" {
		t.Error("the second time wrote or reported something")
	}
}

func second[T any](_ T, err error) error { return err }

// TestLifeOfAKey follows keys through a rotation, to the second (K11).
func TestLifeOfAKey(t *testing.T) {
	n, ctx := started(t), context.Background()
	old := n.sign()
	n.forward(signing.DefaultRotateEvery - 2*time.Minute) // it counts from a little before it was made
	n.ok(n.Ensure(ctx))
	n.states(signing.Signing)
	n.take()

	n.forward(2 * time.Minute)
	n.ok(n.Ensure(ctx))
	n.states(signing.Signing, signing.Next)
	if got := n.take(); got != "rotated" {
		t.Errorf("reported %q", got)
	}
	n.forward(signing.PublishAhead - time.Second)
	n.states(signing.Signing, signing.Next)
	last := n.sign()
	n.forward(time.Second)
	n.states(signing.Verifying, signing.Signing) // without anybody having done anything
	fresh := n.sign()
	for name, token := range map[string]string{"old": old, "last": last, "fresh": fresh} {
		if err := n.verify(token); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	n.forward(retain - time.Second)
	n.ok(n.verify(last))
	n.states(signing.Verifying, signing.Signing)
	n.forward(time.Second)
	n.refuses("after its end", last)
	n.states(signing.Signing)
	n.ok(n.verify(fresh))

	revision := n.revision()
	n.ok(n.Ensure(ctx))
	if n.revision() != revision {
		t.Error("dropped at once: a node whose clock is ahead would end it for all")
	}
	n.forward(time.Hour)
	n.ok(n.Ensure(ctx))
	if got := n.take(); got != "retired" || n.revision() == revision {
		t.Errorf("reported %q", got)
	}
	n.states(signing.Signing)
}

func TestRotateByHand(t *testing.T) {
	n, ctx := started(t), context.Background()
	next, err := n.Rotate(ctx)
	n.ok(err)
	if next.State != signing.Next || !next.SignsFrom.Equal(n.Now().Add(signing.PublishAhead)) || !next.Ends.IsZero() || next.ID == n.signer().ID() {
		t.Errorf("%+v", next)
	}
	again, err := n.Rotate(ctx)
	n.ok(err)
	if again != next {
		t.Errorf("rotating again made %+v", again)
	}
	n.states(signing.Signing, signing.Next)
	n.forward(signing.PublishAhead)
	if n.signer().ID() != next.ID {
		t.Error("another one signs")
	}

	empty := newNode(t, newStore(t), newClock(), signing.Config{})
	first, err := empty.Rotate(ctx)
	empty.ok(err)
	if first.State != signing.Signing || first.ID != empty.signer().ID() {
		t.Errorf("the first: %+v", first)
	}
}

func TestNodesThatStartAndRotateAtOnceMakeOneKey(t *testing.T) {
	s, at, ctx := newStore(t), newClock(), context.Background()
	nodes := []*node{newNode(t, s, at, signing.Config{}), newNode(t, s, at, signing.Config{}), newNode(t, s, at, signing.Config{})}
	together := func(do func(*node) error) {
		var all sync.WaitGroup
		for _, n := range nodes {
			for range 3 {
				all.Go(func() {
					if err := do(n); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		for _, n := range nodes {
			n.meets(nodes[0])
		}
	}
	together(func(n *node) error { return n.Ensure(ctx) })
	nodes[0].states(signing.Signing)
	token := nodes[0].sign()
	for _, n := range nodes {
		n.ok(n.verify(token))
	}
	together(func(n *node) error { return second(n.Rotate(ctx)) })
	for _, n := range nodes {
		n.states(signing.Signing, signing.Next)
	}
	at.forward(signing.DefaultRotateEvery + signing.PublishAhead)
	together(func(n *node) error { return n.Ensure(ctx) })
	for _, n := range nodes {
		n.states(signing.Signing, signing.Next) // the first one's end has passed
	}
	reported := ""
	for _, n := range nodes {
		reported += n.take() + " "
	}
	if got := strings.Fields(reported); len(got) != 3+1 { // a key and what became of the first, each once
		t.Errorf("reported %v", got)
	}
}

func TestRestart(t *testing.T) {
	s, at, ctx := newStore(t), newClock(), context.Background()
	n := newNode(t, s, at, signing.Config{})
	n.ok(n.Ensure(ctx))
	second(n.Rotate(ctx))
	token, ids := n.sign(), n.ids()

	again := newNode(t, s, at, signing.Config{})
	again.ok(again.Ensure(ctx))
	again.ok(again.verify(token))
	if got := again.ids(); !slices.Equal(got, ids) {
		t.Errorf("%v, before %v", got, ids)
	}
	revision := n.revision()
	other := newNode(t, s, at, signing.Config{Master: keys.NewMasterKey()})
	err := other.Ensure(ctx)
	if iam.ReasonOf(err) != signing.ReasonUnreadable || !errors.Is(err, keys.ErrWrongKey) || !strings.Contains(err.Error(), "the master key it had before") {
		t.Errorf("another master key: %v", err)
	}
	if other.revision() != revision {
		t.Error("another master key, and the record was written")
	}
	for name, err := range map[string]error{"signer": second(other.Signer(ctx, other.cache.View())), "published": second(other.Published(ctx))} {
		if iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("another master key, %s: %v", name, err)
		}
	}
}

func TestDamagedRecords(t *testing.T) {
	type fields = map[string]any
	keysOf := func(doc fields) []any { return doc["keys"].([]any) }
	for _, c := range []struct {
		name   string
		damage func(doc fields) any
	}{
		{"no object", func(fields) any { return 7 }},
		{"no keys", func(fields) any { return fields{} }},
		{"an empty list", func(fields) any { return fields{"keys": []any{}} }},
		{"too many", func(doc fields) any {
			for range 40 {
				doc["keys"] = append(keysOf(doc), keysOf(doc)[0])
			}
			return doc
		}},
		{"one twice", func(doc fields) any { keysOf(doc)[1] = keysOf(doc)[0]; return doc }},
		{"the order changed", func(doc fields) any { slices.Reverse(keysOf(doc)); return doc }},
		{"the last has an end", func(doc fields) any {
			keysOf(doc)[1].(fields)["ends"] = "2027-01-01T00:00:00Z"
			return doc
		}},
		{"the first has no end", func(doc fields) any { delete(keysOf(doc)[0].(fields), "ends"); return doc }},
		{"another algorithm", func(doc fields) any { keysOf(doc)[0].(fields)["algorithm"] = "EdDSA"; return doc }},
		{"another id", func(doc fields) any { keysOf(doc)[0].(fields)["id"] = "x"; return doc }},
		{"ids exchanged", func(doc fields) any {
			a, b := keysOf(doc)[0].(fields), keysOf(doc)[1].(fields)
			a["id"], b["id"] = b["id"], a["id"]
			return doc
		}},
		{"not sealed", func(doc fields) any { keysOf(doc)[0].(fields)["sealed"] = ""; return doc }},
		{"a flipped bit", func(doc fields) any {
			sealed := []byte(keysOf(doc)[0].(fields)["sealed"].(string))
			sealed[60] ^= 1
			keysOf(doc)[0].(fields)["sealed"] = string(sealed)
			return doc
		}},
		{"no time", func(doc fields) any { keysOf(doc)[0].(fields)["signs_from"] = "soon"; return doc }},
	} {
		t.Run(c.name, func(t *testing.T) {
			n, ctx := started(t), context.Background()
			n.ok(second(n.Rotate(ctx)))
			r, err := n.cache.Store().Get(ctx, record)
			n.ok(err)
			var doc fields
			n.ok(json.Unmarshal(r.Value, &doc))
			value, err := json.Marshal(c.damage(doc))
			n.ok(err)
			_, err = n.cache.Commit(ctx, store.Write{Key: record, Value: value})
			n.ok(err)
			revision := n.revision()
			for name, err := range map[string]error{"ensure": n.Ensure(ctx), "rotate": second(n.Rotate(ctx)), "list": second(n.List(ctx)), "delete": n.Delete(ctx, "x")} {
				if iam.ReasonOf(err) != signing.ReasonUnreadable || !strings.Contains(err.Error(), "restore the store from a backup") {
					t.Errorf("%s: %v", name, err)
				}
			}
			for name, err := range map[string]error{
				"signer": second(n.Signer(ctx, n.cache.View())), "verifying": second(n.Verifying(ctx, n.cache.View())), "published": second(n.Published(ctx)),
			} {
				if iam.KindOf(err) != iam.KindUnavailable {
					t.Errorf("%s: %v", name, err)
				}
			}
			if n.revision() != revision {
				t.Error("what cannot be read was written over")
			}
		})
	}
}

func TestKeysOfAnotherOrganizationDoNotOpen(t *testing.T) {
	n, ctx := started(t), context.Background()
	r, err := n.cache.Store().Get(ctx, record)
	n.ok(err)
	cache, err := hotcache.New(hotcache.Config{Store: n.cache.Store(), Space: "globex"})
	n.ok(err)
	defer cache.Close()
	_, err = cache.Commit(ctx, store.Write{Key: "globex/signing_keys", Value: r.Value})
	n.ok(err)
	k, err := signing.New(signing.Config{Cache: cache, Space: "globex", Master: master, Retain: retain})
	n.ok(err)
	if err := k.Ensure(ctx); iam.ReasonOf(err) != signing.ReasonUnreadable {
		t.Errorf("%v", err)
	}
}

func TestDelete(t *testing.T) {
	ctx := context.Background()
	rotated := func(t *testing.T) *node { // verifying, signing, next
		n := started(t)
		n.ok(second(n.Rotate(ctx)))
		n.forward(signing.PublishAhead)
		n.ok(second(n.Rotate(ctx)))
		n.states(signing.Verifying, signing.Signing, signing.Next)
		n.take()
		return n
	}
	t.Run("the signer, and the next takes over", func(t *testing.T) {
		n := rotated(t)
		token, ids := n.sign(), n.ids()
		n.ok(n.Delete(ctx, ids[1]))
		n.refuses("what it signed", token)
		n.states(signing.Verifying, signing.Signing)
		if n.signer().ID() != ids[2] || n.take() != "deleted took_over" {
			t.Errorf("%v signs, of %v", n.signer().ID(), ids)
		}
		n.ok(n.verify(n.sign()))
		n.forward(retain)
		n.states(signing.Signing)
	})
	t.Run("the only one", func(t *testing.T) {
		n := started(t)
		token, ids := n.sign(), n.ids()
		n.take()
		n.ok(n.Delete(ctx, ids[0]))
		n.refuses("what it signed", token)
		n.states(signing.Signing)
		if n.signer().ID() == ids[0] || n.take() != "deleted created" {
			t.Error("it still signs")
		}
		n.ok(n.verify(n.sign()))
	})
	t.Run("the signer, and what has retired stays so", func(t *testing.T) {
		n := started(t)
		n.ok(second(n.Rotate(ctx)))
		n.forward(signing.PublishAhead)
		ids := n.ids()
		n.ok(n.Delete(ctx, ids[1]))
		n.states(signing.Verifying, signing.Signing)
		if n.signer().ID() == ids[0] {
			t.Error("the old one signs again")
		}
		n.forward(retain)
		n.states(signing.Signing)
	})
	t.Run("the next one, and the signer goes on", func(t *testing.T) {
		n := rotated(t)
		ids := n.ids()
		n.ok(n.Delete(ctx, ids[2]))
		n.states(signing.Verifying, signing.Signing)
		n.forward(signing.PublishAhead + retain)
		n.states(signing.Signing)
		if n.signer().ID() != ids[1] {
			t.Error("another one signs")
		}
	})
	t.Run("one that only verifies", func(t *testing.T) {
		n := rotated(t)
		n.ok(n.Delete(ctx, n.ids()[0]))
		n.states(signing.Signing, signing.Next)
	})
	t.Run("all, one after the other", func(t *testing.T) {
		n := rotated(t)
		for _, id := range n.ids() {
			n.ok(n.Delete(ctx, id))
		}
		n.states(signing.Signing)
		n.ok(n.verify(n.sign()))
	})
	t.Run("none", func(t *testing.T) {
		n := rotated(t)
		revision := n.revision()
		for _, id := range []string{"", "x", n.ids()[0] + "x", strings.Repeat("x", 1<<20)} {
			if err := n.Delete(ctx, id); iam.KindOf(err) != iam.KindNotFound || len(err.Error()) > 300 {
				t.Errorf("%.20q: %v", id, err)
			}
		}
		if n.revision() != revision {
			t.Error("wrote")
		}
	})
	t.Run("on another node", func(t *testing.T) {
		n := rotated(t)
		other := newNode(t, n.cache.Store(), n.clock, signing.Config{})
		token := n.sign()
		n.ok(other.verify(token))
		n.ok(n.Delete(ctx, n.ids()[1]))
		other.meets(n)
		other.refuses("what it signed", token)
		other.ok(other.verify(n.sign()))
	})
	t.Run("by two at once", func(t *testing.T) {
		n := rotated(t)
		other := newNode(t, n.cache.Store(), n.clock, signing.Config{})
		ids := n.ids()
		var all sync.WaitGroup
		for i, who := range []*node{n, other} {
			all.Go(func() {
				if err := who.Delete(ctx, ids[1+i]); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		n.meets(other)
		n.states(signing.Verifying, signing.Signing)
		if id := n.signer().ID(); slices.Contains(ids, id) {
			t.Errorf("%s signs, of %v", id, ids)
		}
	})
}

// TestDeletedKeysEndWhatWasKept: a token that was verified and kept is looked at again when a key is
// taken away.
func TestDeletedKeysEndWhatWasKept(t *testing.T) {
	n, ctx := started(t), context.Background()
	token := n.sign()
	parsed, err := jws.Parse(token)
	n.ok(err)
	kept := func() error {
		return second(hotcache.Derived(ctx, n.cache.View(), []byte("token"), func(ctx context.Context, v *hotcache.View) (*jws.Key, error) {
			set, err := n.Verifying(ctx, v)
			if err != nil {
				return nil, err
			}
			return parsed.Verify(set, nil)
		}))
	}
	n.ok(kept())
	n.ok(n.Delete(ctx, n.signer().ID()))
	if err := kept(); iam.ReasonOf(err) != jws.ReasonUnknownKey {
		t.Errorf("%v", err)
	}
}

// TestIDsAreNoOptions: one random key in 64 has an id that commands would take for an option.
func TestIDsAreNoOptions(t *testing.T) {
	n := started(t)
	for range 500 {
		id := n.signer().ID()
		if strings.HasPrefix(id, "-") {
			t.Fatalf("a signing key is called %q", id)
		}
		n.ok(n.Delete(context.Background(), id))
	}
}

func TestAnotherAlgorithm(t *testing.T) {
	s, at, ctx := newStore(t), newClock(), context.Background()
	n := newNode(t, s, at, signing.Config{})
	n.ok(n.Ensure(ctx))
	old := n.sign()
	changed := newNode(t, s, at, signing.Config{Algorithm: jws.EdDSA})
	changed.ok(changed.Ensure(ctx))
	changed.states(signing.Signing, signing.Next)
	if changed.signer().Algorithm() != jws.ES256 {
		t.Error("it signs before it was published")
	}
	changed.ok(changed.Ensure(ctx))
	changed.states(signing.Signing, signing.Next) // once
	at.forward(signing.PublishAhead)
	if changed.signer().Algorithm() != jws.EdDSA {
		t.Error("the old algorithm is left")
	}
	changed.ok(changed.verify(old))
	changed.ok(changed.verify(changed.sign()))
	n.meets(changed)
	n.ok(n.verify(changed.sign()))

	// Changed back before the next has begun: that one is passed over in its turn.
	n.ok(n.Ensure(ctx))
	changed.meets(n)
	changed.ok(changed.Ensure(ctx))
	changed.states(signing.Verifying, signing.Signing, signing.Next, signing.Next)
	at.forward(signing.PublishAhead)
	changed.states(signing.Verifying, signing.Verifying, signing.Verifying, signing.Signing)
	if changed.signer().Algorithm() != jws.EdDSA {
		t.Error("not the last that was asked for")
	}
}

// TestALongerLifeOfTokens: what was signed under any configuration is good for as long as that said.
func TestALongerLifeOfTokens(t *testing.T) {
	s, at, ctx := newStore(t), newClock(), context.Background()
	n := newNode(t, s, at, signing.Config{})
	n.ok(n.Ensure(ctx))
	n.ok(second(n.Rotate(ctx)))

	longer := newNode(t, s, at, signing.Config{Retain: 12 * time.Hour})
	longer.ok(longer.Ensure(ctx)) // while the old one still signs
	old := longer.sign()
	at.forward(signing.PublishAhead + 12*time.Hour - time.Second)
	longer.ok(longer.verify(old))
	shorter := newNode(t, s, at, signing.Config{Retain: 20 * time.Minute})
	shorter.ok(shorter.Ensure(ctx))
	shorter.ok(shorter.verify(old))
	at.forward(time.Second)
	longer.refuses("after 12 hours", old)

	young := longer.sign()
	shorter.ok(second(shorter.Rotate(ctx)))
	at.forward(signing.PublishAhead + 12*time.Hour - time.Second)
	shorter.ok(shorter.verify(young))
	at.forward(time.Second)
	shorter.refuses("after 12 hours", young)
}

// TestClocksThatDisagree by as much as Retain allows for beyond the life of tokens: whatever any node
// signs, all verify, at every moment of a rotation.
func TestClocksThatDisagree(t *testing.T) {
	s, ctx := newStore(t), context.Background()
	clocks := []*clock{newClock(), newClock(), newClock()}
	clocks[0].forward(30 * time.Second)
	clocks[2].forward(-30 * time.Second)
	var nodes []*node
	for _, c := range clocks {
		nodes = append(nodes, newNode(t, s, c, signing.Config{}))
		nodes[len(nodes)-1].ok(nodes[len(nodes)-1].Ensure(ctx))
	}
	type signed struct {
		token string
		until time.Time // by the clock in the middle
	}
	var tokens []signed
	agree := func() {
		t.Helper()
		for _, n := range nodes {
			n.meets(nodes[0])
			tokens = append(tokens, signed{n.sign(), clocks[1].Now().Add(time.Hour)})
		}
		for _, n := range nodes {
			for _, token := range tokens {
				if clocks[1].Now().Before(token.until) {
					n.ok(n.verify(token.token))
				}
			}
		}
	}
	agree()
	nodes[0].ok(second(nodes[0].Rotate(ctx)))
	for range 2 * (10 + 65) {
		for _, c := range clocks {
			c.forward(30 * time.Second)
		}
		agree()
		tokens = tokens[max(0, len(tokens)-15):]
	}
	for _, n := range nodes {
		n.states(signing.Signing)
	}
}

// TestAClockThatIsAnHourOff takes nothing away from other nodes, and finds a key to sign with (K11).
func TestAClockThatIsAnHourOff(t *testing.T) {
	for _, off := range []time.Duration{time.Hour, -time.Hour, -365 * 24 * time.Hour} {
		s, ctx, wrong := newStore(t), context.Background(), newClock()
		n := newNode(t, s, newClock(), signing.Config{})
		wrong.forward(off)
		other := newNode(t, s, wrong, signing.Config{})
		n.ok(n.Ensure(ctx))
		old := n.sign()
		n.ok(second(n.Rotate(ctx)))
		n.forward(signing.PublishAhead + 30*time.Minute)
		wrong.forward(signing.PublishAhead + 30*time.Minute)
		other.ok(other.Ensure(ctx))
		n.meets(other)
		n.ok(n.verify(old))
		n.ok(n.verify(other.sign()))
		n.states(signing.Verifying, signing.Signing)
	}
}

// TestThereIsABoundOnKeys and deleting helps.
func TestThereIsABoundOnKeys(t *testing.T) {
	s, at, ctx := newStore(t), newClock(), context.Background()
	n := newNode(t, s, at, signing.Config{Retain: 24 * time.Hour})
	n.ok(n.Ensure(ctx))
	var err error
	made := 1
	for ; err == nil && made < 100; made++ {
		at.forward(signing.PublishAhead)
		_, err = n.Rotate(ctx)
	}
	if iam.KindOf(err) != iam.KindConflict || made != 33 {
		t.Errorf("%d keys, %v", made, err)
	}
	n.ok(n.verify(n.sign()))
	n.ok(n.Delete(ctx, n.ids()[0]))
	n.ok(second(n.Rotate(ctx)))
}

// away is a store that does not answer.
type away struct {
	store.Store
	mu   sync.Mutex
	gone bool
}

func (s *away) leave(gone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gone = gone
}

func (s *away) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone {
		return errors.New("connection refused")
	}
	return nil
}

func (s *away) Get(ctx context.Context, key string) (store.Record, error) {
	if err := s.err(); err != nil {
		return store.Record{}, err
	}
	return s.Store.Get(ctx, key)
}

func (s *away) Commit(ctx context.Context, w ...store.Write) (store.Revision, error) {
	if err := s.err(); err != nil {
		return 0, err
	}
	return s.Store.Commit(ctx, w...)
}

func TestStoreAwayIsNeitherYesNorNo(t *testing.T) { // Z07
	s, ctx := &away{Store: newStore(t)}, context.Background()
	n := newNode(t, s, newClock(), signing.Config{})
	s.leave(true)
	for name, err := range map[string]error{
		"ensure": n.Ensure(ctx), "rotate": second(n.Rotate(ctx)), "list": second(n.List(ctx)), "delete": n.Delete(ctx, "x"),
		"signer": second(n.Signer(ctx, n.cache.View())), "verifying": second(n.Verifying(ctx, n.cache.View())), "published": second(n.Published(ctx)),
	} {
		if iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
	s.leave(false)
	n.ok(n.Ensure(ctx))
	token := n.sign()
	for loads := uint64(0); loads != n.cache.Stats().Loads; n.signer() { // until it is cached
		loads = n.cache.Stats().Loads
	}
	s.leave(true)
	n.ok(n.verify(token))
}

// TestRun lets days pass: keys rotate and retire without anybody's help, also while the store was
// away for a time, and what was signed is always good for its life.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &away{Store: newStore(t)}
		cache, err := hotcache.New(hotcache.Config{Store: s, Space: space})
		if err != nil {
			t.Fatal(err)
		}
		reported := new(events)
		k, err := signing.New(signing.Config{Cache: cache, Space: space, Master: master, Retain: retain, RotateEvery: 3 * time.Hour, Report: reported.report})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var running sync.WaitGroup
		running.Go(func() { k.Run(ctx) })
		n := &node{TB: t, Keys: k, cache: cache, events: reported}

		type signed struct {
			token string
			until time.Time
		}
		var tokens []signed
		signers := map[string]bool{}
		for range 24 * 4 {
			time.Sleep(15 * time.Minute)
			synctest.Wait()
			signers[n.signer().ID()] = true
			tokens = append(tokens, signed{n.sign(), time.Now().Add(retain - time.Minute)})
			for _, token := range tokens {
				if err := n.verify(token.token); time.Now().Before(token.until) && err != nil {
					t.Fatalf("%s before its time: %v", time.Until(token.until), err)
				}
			}
			if len(n.ids()) > 3 {
				t.Fatalf("%d keys", len(n.ids()))
			}
		}
		if len(signers) != 8 { // 24 h of 3 h and 10 min each
			t.Errorf("%d keys signed in a day", len(signers))
		}
		if words := n.take(); strings.Count(words, "rotated") != 7 || strings.Count(words, "retired") < 6 || strings.Contains(words, "failed") {
			t.Errorf("reported %q", words)
		}
		n.refuses("a token of yesterday", tokens[0].token)

		s.leave(true)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		if words := n.take(); !strings.HasPrefix(words, "failed failed") {
			t.Errorf("reported %q while the store was away", words)
		}
		s.leave(false)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if words := n.take(); !strings.Contains(words, "rotated") {
			t.Errorf("reported %q when the store was back", words)
		}
		stop()
		running.Wait() // it returns
		cache.Close()
		time.Sleep(2 * time.Second) // the cache gives back its memory a little later
	})
}

func TestNothingPrintsAKey(t *testing.T) {
	n, ctx := started(t), context.Background()
	n.ok(second(n.Rotate(ctx)))
	r, err := n.cache.Store().Get(ctx, record)
	n.ok(err)
	der, err := n.signer().Marshal()
	n.ok(err)
	list, err := n.List(ctx)
	n.ok(err)
	asJSON, err := json.Marshal(list)
	n.ok(err)
	published, err := n.Published(ctx)
	n.ok(err)
	for name, text := range map[string]string{
		"record": string(r.Value), "list": fmt.Sprintf("%+v %#v", list, list), "list as JSON": string(asJSON), "published": string(published),
		"keys": fmt.Sprintf("%+v %#v", n.Keys, *n.Keys), "events": fmt.Sprintf("%+v", n.list), "signer": fmt.Sprintf("%+v %#v %x", n.signer(), n.signer(), n.signer()),
	} {
		for _, form := range []string{string(der[36:68]), fmt.Sprintf("%x", der[36:68]), fmt.Sprint(der[36:68]), strings.Trim(fmt.Sprint(der[40:60]), "[]")} {
			if strings.Contains(text, form) {
				t.Errorf("%s holds the key", name)
			}
		}
	}
	if !strings.Contains(string(asJSON), `"state":"next"`) || strings.Contains(string(asJSON), "sealed") {
		t.Errorf("%s", asJSON)
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	n := started(t)
	good := signing.Config{Cache: n.cache, Space: space, Master: master, Retain: retain}
	for _, c := range []struct {
		name   string
		change func(*signing.Config)
	}{
		{"no cache", func(c *signing.Config) { c.Cache = nil }},
		{"no space", func(c *signing.Config) { c.Space = "" }},
		{"a path", func(c *signing.Config) { c.Space = "acme/x" }},
		{"no master key", func(c *signing.Config) { c.Master = keys.MasterKey{} }},
		{"RS256", func(c *signing.Config) { c.Algorithm = jws.RS256 }},
		{"none", func(c *signing.Config) { c.Algorithm = "none" }},
		{"HS256", func(c *signing.Config) { c.Algorithm = "HS256" }},
		{"other case", func(c *signing.Config) { c.Algorithm = "eddsa" }},
		{"no retain", func(c *signing.Config) { c.Retain = 0 }},
		{"negative retain", func(c *signing.Config) { c.Retain = -time.Hour }},
		{"rotation in no time", func(c *signing.Config) { c.RotateEvery = time.Minute }},
		{"negative rotation", func(c *signing.Config) { c.RotateEvery = -time.Hour }},
		{"too many to keep", func(c *signing.Config) { c.RotateEvery, c.Retain = time.Hour, 18*time.Hour }},
	} {
		config := good
		c.change(&config)
		if _, err := signing.New(config); err == nil {
			t.Errorf("%s: accepted", c.name)
		}
	}
	if _, err := signing.New(good); err != nil {
		t.Error(err)
	}
}

// TestRegularRotationStaysBelowTheBound at the shortest interval that is allowed.
func TestRegularRotationStaysBelowTheBound(t *testing.T) {
	at, ctx := newClock(), context.Background()
	n := newNode(t, newStore(t), at, signing.Config{RotateEvery: time.Hour, Retain: 16 * time.Hour})
	for range 100 {
		n.ok(n.Ensure(ctx))
		at.forward(20 * time.Minute)
	}
	if got := len(n.ids()); got < 13 || got > 20 {
		t.Errorf("%d keys", got)
	}
}

// recordedKeys are the ids in testdata/record.json: a rotation at newClock's time, sealed under master.
var recordedKeys = []string{"YLl41pbdYN8kslR9lpeXfW5C2dnAYTga62a4_8z8-bU", "y-Vf3Dy2msRbo8bb7eRoxx2dCloU5vlKdvCKv4RDKQ4"}

func recorded(t testing.TB) []byte {
	t.Helper()
	value, err := os.ReadFile("testdata/record.json")
	if err != nil {
		t.Fatal(err)
	}
	return value
}

// TestRecordsOfEarlierVersionsOpen: the record's form is kept by deployments that are updated.
func TestRecordsOfEarlierVersionsOpen(t *testing.T) {
	n, ctx := newNode(t, newStore(t), newClock(), signing.Config{}), context.Background()
	_, err := n.cache.Commit(ctx, store.Write{Key: record, Value: recorded(t)})
	n.ok(err)
	n.ok(n.Ensure(ctx))
	n.states(signing.Signing, signing.Next)
	if got := n.ids(); !slices.Equal(got, recordedKeys) {
		t.Errorf("%v, want %v", got, recordedKeys)
	}
	n.forward(signing.PublishAhead + retain)
	if got := n.signer().ID(); got != recordedKeys[1] {
		t.Errorf("%s signs", got)
	}
}

// FuzzRecord: whatever stands in the record, reading it neither panics nor lets a key count that was
// not sealed.
func FuzzRecord(f *testing.F) {
	n := newNode(f, newStore(f), newClock(), signing.Config{})
	f.Add(recorded(f))
	f.Add([]byte(`{"keys":[]}`))
	f.Add([]byte(`{"keys":[{"id":"x","algorithm":"ES256","sealed":"AAAA","created":"2026-01-01T00:00:00Z","signs_from":"9999-01-01T00:00:00Z","retain_seconds":9223372036854775807}]}`))
	f.Add([]byte(`[`))
	f.Fuzz(func(t *testing.T, value []byte) {
		n := &node{TB: t, Keys: n.Keys, clock: n.clock, events: n.events, cache: n.cache}
		ctx := context.Background()
		if len(value) == 0 {
			return // deletes
		}
		_, err := n.cache.Commit(ctx, store.Write{Key: record, Value: value})
		n.ok(err)
		set, err := n.Verifying(ctx, n.cache.View())
		if err != nil {
			return
		}
		for _, key := range set.Keys() {
			if !slices.Contains(recordedKeys, key.ID()) {
				t.Errorf("the key %s counts", key.ID())
			}
		}
		if !set.Has(n.signer().ID()) && len(n.ids()) > 0 {
			t.Errorf("what is signed does not verify: %s", value)
		}
	})
}

func BenchmarkKeys(b *testing.B) {
	n, ctx := started(b), context.Background()
	n.ok(second(n.Rotate(ctx)))
	token, err := jws.Parse(n.sign())
	n.ok(err)
	n.forward(signing.PublishAhead)
	b.Run("verifying", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := n.Verifying(ctx, n.cache.View()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("signer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := n.Signer(ctx, n.cache.View()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("verifying and verify", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			set, err := n.Verifying(ctx, n.cache.View())
			if err != nil {
				b.Fatal(err)
			}
			if _, err := token.Verify(set, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("sign", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n.sign()
		}
	})
	b.Run("published", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := n.Published(ctx); err != nil {
				b.Fatal(err)
			}
		}
	})
}
