package facts

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// sorts are all sorts of ids, and whether their places outlive a restart.
var sorts = map[wandb.IDType]bool{
	wandb.IDArtifact: false, wandb.IDArtifactClient: false, wandb.IDCollection: false, wandb.IDView: false, // can be asked
	wandb.IDFile: false, wandb.IDOther: false,
	wandb.IDArtifactManifest: true, wandb.IDSweep: true, wandb.IDAgent: true, wandb.IDLaunchAgent: true,
	wandb.IDRunQueue: true, wandb.IDRunQueueItem: true, wandb.IDProject: true, wandb.IDProjectNumber: true, wandb.IDTrigger: true,
}

var detector = place{Entity: "vision", Project: "detector"}

func openStore(t *testing.T) store.Store {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// node is one gateway above a store that several may share, at a time that the test sets.
func node(t *testing.T, s store.Store, now *time.Time) *places {
	t.Helper()
	cache, err := hotcache.New(hotcache.Config{Store: s, Space: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	p := newPlaces(cache, "acme")
	p.now = func() time.Time { return *now }
	return p
}

func (s *places) mustFind(t *testing.T, sort wandb.IDType, id string) (place, bool) {
	t.Helper()
	p, ok, err := s.find(t.Context(), sort, id)
	if err != nil {
		t.Fatalf("%s: %v", sort, err)
	}
	return p, ok
}

// What nobody can be asked about is there after a restart and at another node; the rest is asked for.
func TestPlacesOutliveARestart(t *testing.T) {
	now, s := time.Now(), openStore(t)
	first := node(t, s, &now)
	for sort := range sorts {
		if _, ok := first.mustFind(t, sort, "ID"); ok {
			t.Errorf("%s: known before it was learned", sort)
		}
		if err := first.learn(t.Context(), sort, "ID", detector); err != nil {
			t.Fatal(err)
		}
		if p, ok := first.mustFind(t, sort, "ID"); !ok || !p.is(detector) {
			t.Errorf("%s: %+v %t after it was learned", sort, p, ok)
		}
	}
	second := node(t, s, &now)
	for sort, recorded := range sorts {
		if p, ok := second.mustFind(t, sort, "ID"); ok != recorded || ok && !p.is(detector) {
			t.Errorf("%s: %+v %t at another node, want %t", sort, p, ok, recorded)
		}
		if _, ok := second.mustFind(t, sort, "id"); ok {
			t.Errorf("%s: another id is known", sort)
		}
	}
	// What moved is learned anew, and holds at once where it was learned.
	moved := place{Entity: "vision", Project: "renamed"}
	for sort := range sorts {
		if err := first.learn(t.Context(), sort, "ID", moved); err != nil {
			t.Fatal(err)
		}
		if p, _ := first.mustFind(t, sort, "ID"); !p.is(moved) {
			t.Errorf("%s: %+v after it moved", sort, p)
		}
	}
}

// What the server can be asked about is believed for as long as all else that it said.
func TestAskablePlacesAreBelievedForATime(t *testing.T) {
	now := time.Now()
	p := node(t, openStore(t), &now)
	p.believed = time.Minute
	for sort := range sorts {
		if err := p.learn(t.Context(), sort, "ID", detector); err != nil {
			t.Fatal(err)
		}
	}
	for after, askable := range map[time.Duration]bool{59 * time.Second: true, 61 * time.Second: false} {
		at := now
		now = now.Add(after)
		for sort := range sorts {
			want := askable || wandb.HomeQuestion(sort) == ""
			if _, ok := p.mustFind(t, sort, "ID"); ok != want {
				t.Errorf("%s: known after %s: %t, want %t", sort, after, ok, want)
			}
		}
		now = at
	}
}

// An id that is used is kept for good, and one that is not goes after keptDays.
func TestUnusedPlacesAreCollected(t *testing.T) {
	now, s := time.Now(), openStore(t)
	p := node(t, s, &now)
	if err := p.learn(t.Context(), wandb.IDAgent, "7", detector); err != nil {
		t.Fatal(err)
	}
	one, err := s.Get(t.Context(), p.key(wandb.IDAgent, "7"))
	if err != nil {
		t.Fatal(err)
	}
	var many []store.Write // more than two pages
	for i := range 2500 {
		if i != 7 {
			many = append(many, store.Write{Key: p.key(wandb.IDAgent, fmt.Sprint(i)), Value: one.Value})
		}
	}
	if _, err := p.cache.Commit(t.Context(), many...); err != nil {
		t.Fatal(err)
	}
	for range 10 { // twenty months
		now = now.Add((keptDays - 30) * 24 * time.Hour)
		if _, ok := p.mustFind(t, wandb.IDAgent, "7"); !ok {
			t.Fatal("an id in use is forgotten")
		}
		if _, err := p.collect(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	left, err := s.List(t.Context(), p.prefix(), "", 0)
	if err != nil || len(left) != 1 {
		t.Errorf("%d records left, %v", len(left), err)
	}
	if _, ok := p.mustFind(t, wandb.IDAgent, "8"); ok {
		t.Error("an id that was collected is still known")
	}
}

// A use is noted once a week, not with every request.
func TestUseIsNotedSeldom(t *testing.T) {
	now, s := time.Now(), openStore(t)
	p := node(t, s, &now)
	if err := p.learn(t.Context(), wandb.IDAgent, "ID", detector); err != nil {
		t.Fatal(err)
	}
	version := func() store.Revision {
		r, err := s.Get(t.Context(), p.key(wandb.IDAgent, "ID"))
		if err != nil {
			t.Fatal(err)
		}
		return r.Version
	}
	before := version()
	for range 100 {
		now = now.Add(time.Hour)
		p.mustFind(t, wandb.IDAgent, "ID")
	}
	if version() != before {
		t.Error("a use within the week was written")
	}
	now = now.Add(notedDays * 24 * time.Hour)
	p.mustFind(t, wandb.IDAgent, "ID")
	if version() == before {
		t.Error("a use after a week was not written")
	}
}

// Local asks, where nothing was learned, the server through the caller's own request; once.
func TestLocalAsksWhereIDsLie(t *testing.T) {
	now := time.Now()
	l := &Local{places: node(t, openStore(t), &now)}
	answers := map[string]string{
		"art":  `{"data":{"it":{"artifactSequence":{"project":{"name":"detector","entity":{"name":"vision"}}}}}}`,
		"col":  `{"data":{"it":{"project":{"name":"detector","entity":{"name":"vision"}}}}}`,
		"view": `{"data":{"it":{"project":{"name":"detector","entityName":"vision"}}}}`,
		"cli":  `{"data":{"it":{"serverID":"art"}}}`,
		"loop": `{"data":{"it":{"serverID":"loop"}}}`,
		"none": `{"data":{"it":null}}`,
		"bad":  `<html>`,
	}
	asked := 0
	who := gateway.Caller{Ask: func(_ context.Context, body []byte) ([]byte, error) {
		asked++
		for id, answer := range answers {
			if string(body[len(body)-len(id)-4:]) == `"`+id+`"}}` {
				return []byte(answer), nil
			}
		}
		return nil, iam.Unavailable("nobody there", nil)
	}}
	for _, tt := range []struct {
		sort  wandb.IDType
		id    string
		kind  iam.Kind // KindInternal: placed
		asked int      // the first time, and the second
		again int
	}{
		{wandb.IDArtifact, "art", iam.KindInternal, 1, 0},
		{wandb.IDCollection, "col", iam.KindInternal, 1, 0},
		{wandb.IDView, "view", iam.KindInternal, 1, 0},
		{wandb.IDArtifactClient, "cli", iam.KindInternal, 2, 0},
		{wandb.IDArtifactClient, "loop", iam.KindNotFound, 2, 2},
		{wandb.IDArtifact, "none", iam.KindNotFound, 1, 1},
		{wandb.IDArtifact, "bad", iam.KindUnavailable, 1, 1},
		{wandb.IDArtifact, "away", iam.KindUnavailable, 1, 1},
		{wandb.IDSweep, "art", iam.KindNotFound, 0, 0},
		{wandb.IDOther, "col", iam.KindNotFound, 0, 0},
	} {
		for i, want := range []int{tt.asked, tt.again} {
			asked = 0
			entity, project, err := l.Place(t.Context(), who, tt.sort, tt.id)
			placed := entity == "vision" && project == "detector" && err == nil
			if placed != (tt.kind == iam.KindInternal) || err != nil && iam.KindOf(err) != tt.kind {
				t.Errorf("%s %s, time %d: %q %q %v", tt.sort, tt.id, i+1, entity, project, err)
			}
			if asked != want {
				t.Errorf("%s %s, time %d: asked %d times, want %d", tt.sort, tt.id, i+1, asked, want)
			}
		}
	}
}

// Runs that are moved take their files along, at a time that only the server knows: where those were seen before
// counts at no gateway until the move is surely over, and only for the project that runs left.
func TestMovedRunsTakeFilesAlong(t *testing.T) {
	now, s := time.Now(), openStore(t)
	a, b := node(t, s, &now), node(t, s, &now)
	other := place{Entity: "vision", Project: "tracker"}
	learn := func(p *places, id string, at place) {
		t.Helper()
		if err := p.learn(t.Context(), wandb.IDFile, id, at); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, p *places, id string, found bool) {
		t.Helper()
		if _, ok := p.mustFind(t, wandb.IDFile, id); ok != found {
			t.Errorf("%s: %s found is %t, want %t", when, id, ok, found)
		}
	}
	learn(a, "1", detector)
	learn(b, "1", place{Entity: "Vision", Project: "Détector"}) // names that a server may take for the same
	learn(b, "2", other)
	want("before", a, "1", true)
	now = now.Add(time.Minute)
	if err := a.noteMove(t.Context(), "VISION", "detector"); err != nil {
		t.Fatal(err)
	}
	want("after the move", a, "1", false)
	deadline := time.Now().Add(time.Minute)
	for _, ok := b.mustFind(t, wandb.IDFile, "1"); ok; _, ok = b.mustFind(t, wandb.IDFile, "1") {
		if time.Now().After(deadline) {
			t.Fatal("another gateway does not hear of the move")
		}
		time.Sleep(time.Millisecond)
	}
	want("after the move", b, "2", true)
	learn(a, "1", detector)
	want("seen again while the server may still be moving", a, "1", false)
	now = now.Add(moveTakes)
	want("seen while the server may have been moving", a, "1", false)
	learn(a, "1", detector)
	want("seen again", a, "1", true)
	learn(a, "1", other)
	want("seen elsewhere", a, "1", true)
	if err := a.noteMove(t.Context(), "vision", "tracker"); err != nil {
		t.Fatal(err)
	}
	want("after another move", a, "1", false)

	// The records of moves are collected, long after files that were seen before are forgotten.
	learn(b, "2", detector)
	now = now.Add(25 * time.Hour)
	want("a day later", b, "2", false)
	if n, err := a.collect(t.Context()); n != 0 || err != nil {
		t.Errorf("%d collected, %v", n, err)
	}
	now = now.Add((keptDays + 1) * 24 * time.Hour)
	if n, err := a.collect(t.Context()); n != 2 || err != nil {
		t.Errorf("%d collected, %v", n, err)
	}
}
