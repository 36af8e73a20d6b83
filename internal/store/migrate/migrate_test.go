package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis"
)

const identity = "acme/identity"

// backends open a store that is empty, and closed when the test ends.
var backends = map[string]func(testing.TB) store.Advancer{"embedded": openEmbedded, "redis": openRedis}

func openEmbedded(t testing.TB) store.Advancer {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openRedis(t testing.TB) store.Advancer {
	t.Helper()
	return openRedisAt(t, miniredis.RunT(t).Addr())
}

func openRedisAt(t testing.TB, address string) store.Advancer {
	t.Helper()
	s, err := redis.Open(redis.Config{URL: "redis://" + address})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func commit(t testing.TB, s store.Store, writes ...store.Write) store.Revision {
	t.Helper()
	revision, err := s.Commit(t.Context(), writes...)
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func put(key, value string) store.Write { return store.Write{Key: key, Value: []byte(value)} }

// fill makes a directory with a history: records that were changed and deleted, keys and values of any
// bytes, and a second organization beside it.
func fill(t testing.TB, s store.Store, records int) {
	t.Helper()
	random := rand.New(rand.NewPCG(1, 2))
	commit(t, s, put(identity, fmt.Sprintf("the directory %d", time.Now().UnixNano())))
	var writes []store.Write
	for i := range records {
		value := make([]byte, random.IntN(400))
		for j := range value {
			value[j] = byte(random.IntN(256))
		}
		writes = append(writes, store.Write{Key: fmt.Sprintf("acme/%c/%d", 'a'+i%5, i), Value: value})
		if len(writes) == 5000 {
			commit(t, s, writes...)
			writes = writes[:0]
		}
	}
	writes = append(writes,
		put("acme/empty", ""), put("acme/\x00\xff{}%*[\n", "\x00\xff"), put("acme/"+strings.Repeat("k", store.MaxKeyBytes-5), "x"),
		put("acme/large", strings.Repeat("v", store.MaxValueBytes)), put("acme/gone", "x"), put("acme/"+"!", "first"), put("acme/\xff\xff", "last"))
	commit(t, s, writes...)
	commit(t, s, put("acme/empty", ""), store.Write{Key: "acme/gone"})
	commit(t, s, put("acme-2/x", "of others"), put("acme-2/identity", "of others"))
	for range 20 {
		commit(t, s, put("acme/counter", fmt.Sprint(random.Int())))
	}
}

// contents are the records of a space, with their versions.
func contents(t testing.TB, s store.Store, space string) map[string]store.Record {
	t.Helper()
	all := make(map[string]store.Record)
	for after := ""; ; {
		page, err := s.List(t.Context(), space+"/", after, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range page {
			all[r.Key], after = r, r.Key
		}
		if len(page) < store.MaxListed {
			return all
		}
	}
}

// same asserts that a space holds exactly what another does.
func same(t testing.TB, got, want map[string]store.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("there are %d records, want %d", len(got), len(want))
	}
	for key, w := range want {
		if g, ok := got[key]; !ok || !bytes.Equal(g.Value, w.Value) {
			t.Errorf("under %.80q stands %.80q, want %.80q", key, g.Value, w.Value)
		}
	}
}

func revision(t testing.TB, s store.Store) store.Revision {
	t.Helper()
	r, err := s.Get(t.Context(), store.RevisionKey("acme"))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return r.Version
}

func between(from store.Store, to store.Advancer) Move {
	return Move{From: from, To: to, FromName: "the old store", ToName: "the new store", Space: "acme", Identity: identity, Now: time.Now}
}

// TestMove: every record, and no other, between any two backends; the source is as it was, revisions go
// on, and the same once more changes nothing.
func TestMove(t *testing.T) {
	for from, openFrom := range backends {
		for to, openTo := range backends {
			t.Run(from+" to "+to, func(t *testing.T) {
				t.Parallel()
				a, b := openFrom(t), openTo(t)
				fill(t, a, 7000)
				before, others, was := contents(t, a, "acme"), contents(t, a, "acme-2"), revision(t, a)
				m := between(a, b)
				var last Progress
				m.Report = func(p Progress) {
					if p.Phase < last.Phase || p.Phase == last.Phase && p.Records < last.Records {
						t.Errorf("after %+v comes %+v", last, p)
					}
					last = p
				}
				result, err := Run(t.Context(), m)
				if err != nil {
					t.Fatal(err)
				}
				if result.Records != len(before) || result.Written != len(before) || result.Already || len(result.SHA256) != 64 || result.Bytes < store.MaxValueBytes {
					t.Errorf("the result is %+v of %d records", result, len(before))
				}
				if last.Phase != Comparing || last.Records < 7000 {
					t.Errorf("the last report is %+v", last)
				}
				moved := contents(t, b, "acme")
				same(t, moved, before)
				for key, r := range moved {
					if r.Version <= was {
						t.Errorf("%.80q has version %d, which the source had before", key, r.Version)
					}
				}
				if left := contents(t, b, "acme-2"); len(left) != 0 {
					t.Errorf("records of another organization were moved: %v", left)
				}
				for space, want := range map[string]map[string]store.Record{"acme": before, "acme-2": others} {
					for key, r := range contents(t, a, space) {
						if r.Version != want[key].Version {
							t.Errorf("the source's %.80q was written", key)
						}
					}
				}
				if now := revision(t, a); now != was {
					t.Errorf("the source has revision %d, and had %d", now, was)
				}
				there := revision(t, b)
				again, err := Run(t.Context(), between(a, b))
				if err != nil || !again.Already || again.Written != 0 || again.SHA256 != result.SHA256 || revision(t, b) != there {
					t.Errorf("once more: %+v, %v", again, err)
				}
				if err := CheckFinished(t.Context(), b, "acme"); err != nil {
					t.Errorf("the target: %v", err)
				}
			})
		}
	}
}

var errBroken = errors.New("the cable is cut")

// failing is a store whose nth operation fails, before or after it was done.
type failing struct {
	store.Advancer
	left  int
	after bool
	// meanwhile, if set, runs before every operation.
	meanwhile func(operation string)
}

func (f *failing) fails(operation string, do func() error) error {
	if f.meanwhile != nil {
		f.meanwhile(operation)
	}
	f.left--
	if f.left == 0 && !f.after {
		return errBroken
	}
	err := do()
	if f.left == 0 {
		return errBroken
	}
	return err
}

func (f *failing) Get(ctx context.Context, key string) (r store.Record, err error) {
	err = f.fails("get", func() error { r, err = f.Advancer.Get(ctx, key); return err })
	return r, err
}

func (f *failing) List(ctx context.Context, prefix, after string, limit int) (page []store.Record, err error) {
	err = f.fails("list", func() error { page, err = f.Advancer.List(ctx, prefix, after, limit); return err })
	return page, err
}

func (f *failing) Commit(ctx context.Context, writes ...store.Write) (r store.Revision, err error) {
	err = f.fails("commit", func() error { r, err = f.Advancer.Commit(ctx, writes...); return err })
	return r, err
}

func (f *failing) Advance(ctx context.Context, space string, to store.Revision) (r store.Revision, err error) {
	err = f.fails("advance", func() error { r, err = f.Advancer.Advance(ctx, space, to); return err })
	return r, err
}

// TestBrokenOffAnywhere breaks a move off at each of its operations in turn, on either side, before and
// after the operation. Whatever is at the target then, it is nothing, marked, or whole; and the same move
// goes on and ends the same.
func TestBrokenOffAnywhere(t *testing.T) {
	for name, open := range backends {
		for _, after := range []bool{false, true} {
			for _, side := range []string{"source", "target"} {
				t.Run(fmt.Sprintf("%s, %s, after %t", name, side, after), func(t *testing.T) {
					t.Parallel()
					from := openEmbedded(t)
					fill(t, from, 2500)
					want := contents(t, from, "acme")
					for n := 1; ; n++ {
						to := open(t)
						m := between(from, to)
						if side == "source" {
							m.From = &failing{Advancer: from, left: n, after: after}
						} else {
							m.To = &failing{Advancer: to, left: n, after: after}
						}
						_, err := Run(t.Context(), m)
						if err == nil {
							if n < 8 {
								t.Fatalf("only %d operations were met", n)
							}
							return
						}
						if !errors.Is(err, errBroken) {
							t.Fatalf("operation %d: %v", n, err)
						}
						usable := CheckFinished(t.Context(), to, "acme") == nil
						_, begun := errors.AsType[*UnfinishedError](err)
						switch found := contents(t, to, "acme"); {
						case len(found) > 0 && !begun:
							t.Errorf("operation %d: the target has %d records, and the error says that it has none", n, len(found))
						case len(found) == 0:
						case usable:
							same(t, found, want)
						}
						result, err := Run(t.Context(), between(from, to))
						if err != nil {
							t.Fatalf("again after operation %d: %v", n, err)
						}
						if result.Records != len(want) || usable && result.Written != 0 && len(contents(t, to, "acme")) == 0 {
							t.Errorf("again after operation %d: %+v", n, result)
						}
						same(t, contents(t, to, "acme"), want)
					}
				})
			}
		}
	}
}

// unfinishedMove leaves a target in which a move broke off after that many operations.
func unfinishedMove(t *testing.T, from store.Store, to store.Advancer, operations int) {
	t.Helper()
	m := between(from, to)
	m.To = &failing{Advancer: to, left: operations}
	_, err := Run(t.Context(), m)
	if _, begun := errors.AsType[*UnfinishedError](err); !begun {
		t.Fatalf("the move ended with %v", err)
	}
	if err := CheckFinished(t.Context(), to, "acme"); err == nil || !strings.Contains(err.Error(), "the old store") || iam.ReasonOf(err) != "unfinished_move" {
		t.Fatalf("the target is %v", err)
	}
}

// TestGoingOnAfterChanges: what the source lost, gained and changed since an earlier try is as in the
// source, and revisions go on from its latest.
func TestGoingOnAfterChanges(t *testing.T) {
	from, to := openEmbedded(t), openRedis(t)
	fill(t, from, 9000)
	unfinishedMove(t, from, to, 10)
	if n := len(contents(t, to, "acme")); n < 2000 || n > 8000 {
		t.Fatalf("the earlier try wrote %d records, want a part", n)
	}
	for range 50 {
		commit(t, from, store.Write{Key: "acme/a/0"}, put("acme/a/5", "changed"), put("acme/a/00", "new"))
	}
	was := revision(t, from)
	result, err := Run(t.Context(), between(from, to))
	if err != nil || result.Written >= 9000 {
		t.Fatalf("%+v, %v", result, err)
	}
	same(t, contents(t, to, "acme"), contents(t, from, "acme"))
	if now := revision(t, to); now <= was {
		t.Errorf("the target has revision %d, the source %d", now, was)
	}
}

// TestWrittenMeanwhile: a move is not declared done when somebody writes to either side, and is when
// nobody does any more.
func TestWrittenMeanwhile(t *testing.T) {
	for _, side := range []string{"source", "target"} {
		for _, when := range []string{"early", "late", "at the end"} {
			t.Run(side+" "+when, func(t *testing.T) {
				from, to := openRedis(t), openEmbedded(t)
				fill(t, from, 5000)
				m := between(from, to)
				var write, read int
				disturb := func() {
					write++
					if side == "source" {
						commit(t, from, put("acme/counter", "disturbed"))
						return
					}
					commit(t, to, put("acme/counter", "disturbed"))
				}
				comparing := false
				m.Report = func(p Progress) { comparing = comparing || p.Phase == Comparing }
				watched := &failing{Advancer: to, meanwhile: func(operation string) {
					if write > 0 {
						return
					}
					switch {
					case operation == "list":
						read++
						if when == "early" && read == 2 || when == "late" && comparing {
							disturb()
						}
					case operation == "get" && when == "at the end" && comparing:
						disturb()
					}
				}}
				m.To = watched
				source := &failing{Advancer: from, meanwhile: func(operation string) {
					if operation == "get" && when == "at the end" && side == "source" && comparing && write == 0 {
						disturb()
					}
				}}
				m.From = source
				result, err := Run(t.Context(), m)
				if write == 0 {
					t.Fatal("nobody disturbed")
				}
				if _, begun := errors.AsType[*UnfinishedError](err); !begun {
					t.Fatalf("%+v, %v", result, err)
				}
				if err := CheckFinished(t.Context(), to, "acme"); err == nil {
					t.Error("the target is taken for whole")
				}
				if _, err := Run(t.Context(), between(from, to)); err != nil {
					t.Fatalf("again: %v", err)
				}
				same(t, contents(t, to, "acme"), contents(t, from, "acme"))
			})
		}
	}
}

// TestTwoAtOnce: of two moves into one target the first stops when the second begins.
func TestTwoAtOnce(t *testing.T) {
	from, to := openEmbedded(t), openRedis(t)
	fill(t, from, 9000)
	commits := 0
	m := between(from, to)
	m.To = &failing{Advancer: to, meanwhile: func(operation string) {
		if operation != "commit" {
			return
		}
		if commits++; commits != 3 {
			return
		}
		result, err := Run(t.Context(), between(from, to))
		if err != nil || result.Records != len(contents(t, from, "acme")) {
			t.Errorf("the second: %+v, %v", result, err)
		}
	}}
	if _, err := Run(t.Context(), m); !errors.Is(err, errOther) {
		t.Errorf("the first: %v", err)
	}
	same(t, contents(t, to, "acme"), contents(t, from, "acme"))
	if err := CheckFinished(t.Context(), to, "acme"); err != nil {
		t.Error(err)
	}
}

// TestTakenMeanwhile: a gateway that begins between the look at an empty target and the first write keeps
// its directory, and the move says that it wrote nothing.
func TestTakenMeanwhile(t *testing.T) {
	from, to := openEmbedded(t), openRedis(t)
	fill(t, from, 10)
	m := between(from, to)
	m.To = &failing{Advancer: to, meanwhile: func(operation string) {
		if operation == "advance" {
			commit(t, to, put(identity, "a new one"))
		}
	}}
	_, err := Run(t.Context(), m)
	if _, begun := errors.AsType[*UnfinishedError](err); begun || !errors.Is(err, errTaken) {
		t.Errorf("%v", err)
	}
	if found := contents(t, to, "acme"); len(found) != 1 || string(found[identity].Value) != "a new one" {
		t.Errorf("there are %d records", len(found))
	}
}

// TestRace: many moves and a gateway that starts, all at the same moment and into the same Redis. There is
// one directory in the end, either the moved one or the new one.
func TestRace(t *testing.T) {
	from, server := openEmbedded(t), miniredis.RunT(t)
	fill(t, from, 3000)
	want, err := from.Get(t.Context(), identity)
	if err != nil {
		t.Fatal(err)
	}
	gateway := openRedisAt(t, server.Addr())
	targets := make([]store.Advancer, 4)
	for i := range targets {
		targets[i] = openRedisAt(t, server.Addr())
	}
	var all sync.WaitGroup
	all.Go(func() {
		gateway.Commit(t.Context(), store.Write{Key: identity, Value: []byte("a new one"), Expect: store.Absent()})
	})
	errs := make([]error, len(targets))
	for i, to := range targets {
		all.Go(func() { _, errs[i] = Run(t.Context(), between(from, to)) })
	}
	all.Wait()
	got, err := gateway.Get(t.Context(), identity)
	if err != nil {
		t.Fatal(err)
	}
	_, err = Run(t.Context(), between(from, gateway))
	switch {
	case bytes.Equal(got.Value, want.Value):
		if err != nil {
			t.Errorf("the last move: %v", err)
		}
		same(t, contents(t, gateway, "acme"), contents(t, from, "acme"))
	default:
		if found := contents(t, gateway, "acme"); len(found) != 1 || iam.KindOf(err) != iam.KindConflict {
			t.Errorf("beside a new directory there are %d records; %v", len(found)-1, err)
		}
		for _, err := range errs {
			if _, begun := errors.AsType[*UnfinishedError](err); begun || err == nil {
				t.Errorf("with a new directory there, a move says %v", err)
			}
		}
	}
}

// TestRefused: what is no move is refused before anything is written, and says what to do.
func TestRefused(t *testing.T) {
	for name, tt := range map[string]struct {
		prepare func(t *testing.T, from, to store.Advancer) Move
		says    string
	}{
		"nothing to move": {func(t *testing.T, from, to store.Advancer) Move {
			commit(t, from, put("other/identity", "x"))
			return between(from, to)
		}, "holds no directory of the organization acme"},
		"a source that is half itself": {func(t *testing.T, from, to store.Advancer) Move {
			first := openEmbedded(t)
			fill(t, first, 3000)
			unfinishedMove(t, first, from, 10)
			return between(from, to)
		}, "holds only a part"},
		"another directory": {func(t *testing.T, from, to store.Advancer) Move {
			fill(t, from, 10)
			fill(t, to, 10)
			return between(from, to)
		}, "the new store holds another directory"},
		"half of another directory": {func(t *testing.T, from, to store.Advancer) Move {
			other := openEmbedded(t)
			fill(t, from, 10)
			fill(t, other, 3000)
			unfinishedMove(t, other, to, 10)
			return between(from, to)
		}, "the new store holds another directory"},
		"records of nobody": {func(t *testing.T, from, to store.Advancer) Move {
			fill(t, from, 10)
			commit(t, to, put("acme/x", "x"))
			return between(from, to)
		}, "the new store holds another directory"},
		"used since it was moved": {func(t *testing.T, from, to store.Advancer) Move {
			fill(t, from, 10)
			if _, err := Run(t.Context(), between(from, to)); err != nil {
				t.Fatal(err)
			}
			commit(t, to, put("acme/a/0", "changed"), put("acme/new", "x"), store.Write{Key: "acme/b/1"})
			return between(from, to)
		}, "1 records are missing, 1 differ, 1 are too many"},
		"one and the same": {func(t *testing.T, from, _ store.Advancer) Move {
			fill(t, from, 10)
			return between(from, from)
		}, "one and the same store"},
	} {
		t.Run(name, func(t *testing.T) {
			from, to := openEmbedded(t), openRedis(t)
			m := tt.prepare(t, from, to)
			before, was := contents(t, m.To, "acme"), revision(t, m.To)
			_, err := Run(t.Context(), m)
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("%v, want an error that says %q", err, tt.says)
			}
			if _, begun := errors.AsType[*UnfinishedError](err); begun || iam.KindOf(err) == iam.KindInternal {
				t.Errorf("the error is %#v", err)
			}
			same(t, contents(t, m.To, "acme"), before)
			if now := revision(t, m.To); now != was {
				t.Errorf("the target was written to: revision %d, then %d", was, now)
			}
		})
	}
}

// TestDamagedSource: a record that is damaged stops the move; the target stays unusable.
func TestDamagedSource(t *testing.T) {
	server := miniredis.RunT(t)
	from, to := openRedisAt(t, server.Addr()), openEmbedded(t)
	fill(t, from, 100)
	server.HSet("wandb-gateway:{acme}:records", "c/2", "no record")
	_, err := Run(t.Context(), between(from, to))
	if !errors.Is(err, store.ErrCorrupt) || !strings.Contains(err.Error(), "restore") || !strings.Contains(err.Error(), "the old store") {
		t.Errorf("%v", err)
	}
	if contents := contents(t, to, "acme"); len(contents) > 0 && CheckFinished(t.Context(), to, "acme") == nil {
		t.Errorf("%d records are taken for a whole directory", len(contents))
	}
}

// TestLyingTarget: a target that does not keep what it acknowledged is found out.
func TestLyingTarget(t *testing.T) {
	from, to := openEmbedded(t), openRedis(t)
	fill(t, from, 100)
	m := between(from, to)
	m.To = forgetful{to}
	_, err := Run(t.Context(), m)
	if _, begun := errors.AsType[*UnfinishedError](err); !begun || !strings.Contains(err.Error(), "1 records are missing, 0 differ, 0 are too many") {
		t.Errorf("%v", err)
	}
}

// forgetful loses one record.
type forgetful struct{ store.Advancer }

func (f forgetful) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	var kept []store.Write
	for _, w := range writes {
		if w.Key != "acme/a/50" {
			kept = append(kept, w)
		}
	}
	return f.Advancer.Commit(ctx, kept...)
}

// TestPagesAreBounded: where records are large, few are held at a time.
func TestPagesAreBounded(t *testing.T) {
	from, to := openEmbedded(t), openEmbedded(t)
	commit(t, from, put(identity, "x"))
	value := strings.Repeat("v", store.MaxValueBytes)
	for i := range 10 {
		var writes []store.Write
		for j := range 10 {
			writes = append(writes, put(fmt.Sprintf("acme/%d/%d", i, j), value))
		}
		commit(t, from, writes...)
	}
	p := newPages(from, "acme")
	p.limit = 50
	largest := 0
	for pages := 0; ; pages++ {
		r, err := p.first(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if r == nil {
			break
		}
		if p.records > 50 {
			largest = max(largest, len(p.page))
		}
		p.pass()
	}
	if largest == 0 || largest > maxPageBytes/store.MaxValueBytes {
		t.Errorf("after the first page, %d MiB were held", largest)
	}
	writes := 0
	m := between(from, to)
	counting := &counted{Advancer: to, largest: &writes}
	m.To = counting
	if _, err := Run(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	if writes > maxWriteBytes+2*store.MaxValueBytes {
		t.Errorf("one commit had %d bytes", writes)
	}
}

type counted struct {
	store.Advancer
	largest *int
}

func (c *counted) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	bytes := 0
	for _, w := range writes {
		bytes += len(w.Value)
	}
	*c.largest = max(*c.largest, bytes)
	return c.Advancer.Commit(ctx, writes...)
}

// TestCacheFollows: whoever has the target open and cached what was not there sees what is moved in.
func TestCacheFollows(t *testing.T) {
	server := miniredis.RunT(t)
	from := openEmbedded(t)
	fill(t, from, 100)
	watcher := openRedisAt(t, server.Addr())
	cache, err := hotcache.New(hotcache.Config{Store: watcher, Space: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	defer cache.Close()
	read := func() string {
		value, err := hotcache.Read(t.Context(), cache.View(), "acme/counter", func(r store.Record) (string, error) { return string(r.Value), nil })
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return value
	}
	if got := read(); got != "" {
		t.Fatalf("there is %q before", got)
	}
	if _, err := Run(t.Context(), between(from, openRedisAt(t, server.Addr()))); err != nil {
		t.Fatal(err)
	}
	want := string(contents(t, from, "acme")["acme/counter"].Value)
	for deadline := time.Now().Add(30 * time.Second); read() != want || cache.Stats().Revision != revision(t, watcher); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the cache has %q of revision %d, want %q of %d", read(), cache.Stats().Revision, want, revision(t, watcher))
		}
	}
}

// TestCancelled: an interrupt ends the move, which goes on later.
func TestCancelled(t *testing.T) {
	from, to := openEmbedded(t), openRedis(t)
	fill(t, from, 9000)
	ctx, cancel := context.WithCancel(t.Context())
	m := between(from, to)
	m.Report = func(p Progress) {
		if p.Records >= 5000 {
			cancel()
		}
	}
	_, err := Run(ctx, m)
	if _, begun := errors.AsType[*UnfinishedError](err); !begun {
		t.Fatalf("%v", err)
	}
	if CheckFinished(t.Context(), to, "acme") == nil {
		t.Error("the target is taken for whole")
	}
	if _, err := Run(t.Context(), between(from, to)); err != nil {
		t.Fatal(err)
	}
	same(t, contents(t, to, "acme"), contents(t, from, "acme"))
}

// TestUnreadableMark: whatever stands there, the space is not whole.
func TestUnreadableMark(t *testing.T) {
	s := openEmbedded(t)
	for _, value := range []string{"", "null", "{", `{"from":7}`, `{"from":"` + strings.Repeat("x", 9000) + `"}`} {
		commit(t, s, put(markKey("acme"), value))
		if err := CheckFinished(t.Context(), s, "acme"); iam.ReasonOf(err) != "unfinished_move" || len(err.Error()) > 800 {
			t.Errorf("with %.20q: %v", value, err)
		}
	}
}
