package directory_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// known is what is known of a principal, without how it was read.
func known(p *iam.Principal) *iam.Principal {
	copied := *p
	copied.Reading = nil
	return &copied
}

func TestPrincipalByKeyOfAPerson(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("Alice")
	vision, audio := h.team("vision", alice), h.team("audio")
	h.member(audio, alice, iam.RoleViewer)
	key := h.key(alice.Ref())

	want := &iam.Principal{
		Ref: alice.Ref(), Organization: organization, Username: "Alice", Email: "Alice@acme.test", Active: true,
		Role: iam.OrganizationMember, ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull,
		Teams: []iam.Membership{
			{TeamRef: iam.TeamRef{ID: audio, Name: "audio"}, Role: iam.RoleViewer},
			{TeamRef: iam.TeamRef{ID: vision, Name: "vision"}, Role: iam.RoleMember},
		},
		PersonalEntity: "Alice", DefaultEntity: "Alice",
	}
	for range 2 { // from the store, from the cache
		p, err := h.PrincipalByKey(ctx, key)
		h.ok(err)
		if got := known(p); !reflect.DeepEqual(got, want) {
			t.Fatalf("got  %+v\nwant %+v", got, want)
		}
	}
}

func TestPrincipalByKeyRefusesUnknownCredentials(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	key := h.key(alice.Ref()).Reveal()
	for name, text := range map[string]string{
		"nothing":                    "",
		"never made":                 strings.Repeat("0a", 20),
		"mistyped":                   key[:20] + "x" + key[21:],
		"cut":                        key[:len(key)-1],
		"blank behind":               key + " ",
		"a JWT":                      "eyJh.eyJz.c2ln",
		"the hash's look":            strings.Repeat("a", 64),
		"a user name":                "alice-alice-alice",
		"a path into other records":  "../user/" + string(alice),
		"longer than any key can be": strings.Repeat("k", 100_000),
	} {
		for range 2 {
			_, err := h.PrincipalByKey(ctx, iam.NewSecret(text))
			if iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != directory.ReasonUnknownCredential {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestKeyMadeAfterItWasRefusedWorks(t *testing.T) { // K08
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	key := iam.NewSecret("local-" + strings.Repeat("0a", 20))
	if _, err := h.PrincipalByKey(ctx, key); iam.KindOf(err) != iam.KindUnauthenticated {
		t.Fatal(err)
	}
	_, err := h.ImportKey(ctx, alice.Ref(), "laptop", key)
	h.ok(err)
	p, err := h.PrincipalByKey(ctx, key)
	h.ok(err)
	if p.Ref != alice.Ref() {
		t.Errorf("key of %v", p.Ref)
	}
}

func TestDeactivationSuspendsKeysUntilReactivation(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice, team := h.user("alice"), h.team("vision")
	bot := h.teamAccount("bot", team)
	aliceKey, botKey := h.key(alice.Ref()), h.key(bot.Ref())
	setActive := func(active bool) {
		_, err := h.SetUser(ctx, alice, directory.UserChange{Active: &active})
		h.ok(err)
		_, err = h.SetServiceAccount(ctx, bot, directory.ServiceAccountChange{Active: &active})
		h.ok(err)
	}
	for _, active := range []bool{true, false, true} {
		setActive(active)
		for _, key := range []iam.Secret{aliceKey, botKey} {
			_, err := h.PrincipalByKey(ctx, key)
			switch {
			case active && err != nil:
				t.Errorf("active, and refused: %v", err)
			case !active && (iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != directory.ReasonDeactivated):
				t.Errorf("deactivated: %v", err)
			}
		}
	}
	setActive(false)
	if h.principal(alice.Ref()).Active || h.principal(bot.Ref()).Active {
		t.Error("Principal says active")
	}
}

func TestServiceAccountPrincipals(t *testing.T) {
	h := newHouse(t)
	vision := h.team("vision")
	own, all := h.teamAccount("ci-train", vision), h.organizationAccount("org-bot", vision)
	if got, want := known(h.principal(own.Ref())), (&iam.Principal{Ref: own.Ref(), Organization: organization, Username: "ci-train", Name: "ci-train",
		Active: true, Scope: iam.TeamRef{ID: vision, Name: "vision"}, Home: iam.TeamRef{ID: vision, Name: "vision"}, DefaultEntity: "vision"}); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	p := h.principal(all.Ref())
	if !p.OrganizationScoped() || p.DefaultEntity != "vision" || p.Home != (iam.TeamRef{ID: vision, Name: "vision"}) {
		t.Errorf("%+v", p)
	}
}

func TestDefaultEntity(t *testing.T) { // design section 6
	for _, c := range []struct {
		name         string
		personalOff  bool
		teams        []string
		chosen, want string
	}{
		{"nothing chosen", false, []string{"a"}, "", "alice"},
		{"chosen", false, []string{"a", "b"}, "b", "b"},
		{"no personal, only team", true, []string{"a"}, "", "a"},
		{"no personal, two teams", true, []string{"a", "b"}, "", ""},
		{"no personal, no team", true, nil, "", ""},
		{"no personal, chosen", true, []string{"a", "b"}, "a", "a"},
	} {
		h := openHouse(t, authz.Settings{DisablePersonalEntity: c.personalOff})
		alice := h.user("alice")
		teams := map[string]iam.TeamID{}
		for _, name := range c.teams {
			teams[name] = h.team(name, alice)
		}
		if c.chosen != "" {
			_, err := h.SetUser(context.Background(), alice, directory.UserChange{DefaultTeam: ptr(teams[c.chosen])})
			h.ok(err)
		}
		p := h.principal(alice.Ref())
		if p.DefaultEntity != c.want || (p.PersonalEntity == "") != c.personalOff {
			t.Errorf("%s: default %q, personal %q", c.name, p.DefaultEntity, p.PersonalEntity)
		}
	}
}

func TestCacheSharedOverAReloadKeepsSettingsApart(t *testing.T) {
	h := newHouse(t)
	alice := h.user("alice")
	if h.principal(alice.Ref()).PersonalEntity == "" {
		t.Fatal("personal entities are on")
	}
	reloaded := onCache(t, h.cache, authz.Settings{DisablePersonalEntity: true})
	if p := reloaded.principal(alice.Ref()); p.PersonalEntity != "" || p.DefaultEntity != "" {
		t.Errorf("after the reload: %+v", p)
	}
	if h.principal(alice.Ref()).PersonalEntity == "" {
		t.Error("the old configuration lost its setting")
	}
}

func TestLeavingTheDefaultTeamUnsetsIt(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	_, err := h.SetUser(ctx, alice, directory.UserChange{DefaultTeam: &vision})
	h.ok(err)
	_, err = h.RemoveMember(ctx, vision, alice)
	h.ok(err)
	if p := h.principal(alice.Ref()); p.DefaultEntity != "alice" || len(p.Teams) != 0 {
		t.Errorf("%+v", p)
	}
	_, err = h.SetUser(ctx, alice, directory.UserChange{DefaultTeam: &vision})
	h.refused(err, iam.KindInvalid, "must be one of the teams")
}

func TestFacts(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("Vision", alice)
	h.project(vision.Entity(), "Detector", iam.VisibilityRestricted, alice.Ref())
	h.project(alice.PersonalEntity(), "mine", iam.VisibilityTeam)
	_, err := h.SetRole(ctx, iam.CustomRole{Name: "launcher", Inherits: iam.RoleViewer, Permissions: []string{"run:stop"}})
	h.ok(err)
	for _, c := range []struct {
		name, entity, project string
		wantEntity            string
		wantProject           string
	}{
		{"a project", "Vision", "Detector", "Vision", "Detector"},
		{"entity in another case", "vISION", "Detector", "Vision", "Detector"},
		{"project in another case", "Vision", "detector", "Vision", "Detector"},
		{"entity only", "Vision", "", "Vision", ""},
		{"neither", "", "", "", ""},
		{"project without entity", "", "Detector", "", ""},
		{"personal", "ALICE", "mine", "alice", "mine"},
		{"unknown entity", "nobody", "Detector", "", ""},
		{"unknown project", "Vision", "nothing", "Vision", ""},
		{"trailing dot", "Vision.", "Detector", "", ""},
		{"trailing blank", "Vision ", "Detector", "", ""},
		{"project with trailing blank", "Vision", "Detector ", "Vision", ""},
		{"Kelvin sign", "Vi\u017fion", "Detector", "", ""},
		{"encoded", "Vision", "Detecto%72", "Vision", ""},
		{"dot dot", "..", "Detector", "", ""},
		{"another record", "../user", string(alice), "", ""},
		{"slash in project", "Vision", "x/../Detector", "Vision", ""},
		{"NUL", "Vision\x00", "Detector", "", ""},
		{"huge", strings.Repeat("v", 1<<20), "Detector", "", ""},
		{"an id", string(vision), "Detector", "", ""},
	} {
		f := h.facts(alice.Ref(), c.entity, c.project)
		entity, project := "", ""
		if f.Entity != nil {
			entity = f.Entity.Name
		}
		if f.Project != nil {
			project = f.Project.Name
		}
		if entity != c.wantEntity || project != c.wantProject {
			t.Errorf("%s: %q/%q, want %q/%q", c.name, entity, project, c.wantEntity, c.wantProject)
		}
		if f.Organization != organization || f.Principal.Ref != alice.Ref() || f.Roles["launcher"] == nil {
			t.Errorf("%s: %+v", c.name, f)
		}
	}
	f, err := h.Facts(ctx, nil, "Vision", "Detector")
	if err != nil || f.Principal != nil || f.Project == nil {
		t.Errorf("anonymous: %+v, %v", f, err)
	}
	foreign := &iam.Principal{Ref: iam.PrincipalRef{Kind: iam.KindUser, ID: "usr_up:1"}, FromUpstream: true}
	if f, err := h.Facts(ctx, foreign, "", ""); err != nil || f.Principal != foreign {
		t.Errorf("upstream: %+v, %v", f, err)
	}
}

func TestFactsAreOfNow(t *testing.T) { // Z05: a membership withdrawn must not meet a project made since
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice := h.user("alice")
	vision := h.team("vision", alice)
	before := h.principal(alice.Ref())
	_, err := h.RemoveMember(ctx, vision, alice)
	h.ok(err)
	h.project(vision.Entity(), "secret", iam.VisibilityTeam)

	f, err := h.Facts(ctx, before, "vision", "secret")
	h.ok(err)
	if _, member := f.Principal.Membership(vision); member || f.Project == nil {
		t.Errorf("%+v", f)
	}
	_, err = h.DeleteUser(ctx, alice)
	h.ok(err)
	if _, err := h.Facts(ctx, before, "vision", "secret"); iam.KindOf(err) != iam.KindUnauthenticated {
		t.Errorf("deleted: %v", err)
	}
}

// TestFactsAreTheDirectorysOwn: how a principal was read is good for nothing but to find what the
// directory itself knows of it.
func TestFactsAreTheDirectorysOwn(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.admin("root")
	alice, bob := h.user("alice"), h.user("bob")
	vision := h.team("vision", bob)
	facts := func(d *directory.Directory, p *iam.Principal) *iam.Principal {
		t.Helper()
		f, err := d.Facts(ctx, p, "vision", "")
		h.ok(err)
		return f.Principal
	}
	promoted := *h.principal(alice.Ref())
	promoted.Role = iam.OrganizationAdmin
	promoted.Teams = h.principal(bob.Ref()).Teams
	if got := facts(h.Directory, &promoted); got.Role == iam.OrganizationAdmin || len(got.Teams) != 0 {
		t.Errorf("what a caller made of a principal became a fact: %+v", got)
	}
	exchanged := *h.principal(alice.Ref())
	exchanged.Reading = h.principal(bob.Ref()).Reading
	if got := facts(h.Directory, &exchanged); got.Ref != alice.Ref() {
		t.Errorf("alice with bob's reading became %v", got.Ref)
	}
	reloaded := onCache(t, h.cache, authz.Settings{DisablePersonalEntity: true})
	if got := facts(reloaded.Directory, h.principal(alice.Ref())); got.PersonalEntity != "" {
		t.Errorf("a principal read under other settings became a fact: %+v", got)
	}
	if p := h.principal(bob.Ref()); !p.Reading.Holds() {
		t.Error("nothing has changed, and the reading does not hold")
	} else if _, err := h.RemoveMember(ctx, vision, bob); err != nil || p.Reading.Holds() {
		t.Errorf("%v: a membership was withdrawn, and the reading holds", err)
	}
}

// TestHitsAllocateNothing holds finding a caller and the facts to what BenchmarkIdentifyAndFacts shows.
func TestHitsAllocateNothing(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	alice := h.user("alice")
	vision := h.team("vision", alice)
	h.project(vision.Entity(), "detector", iam.VisibilityTeam)
	key := h.key(alice.Ref())
	least := 1e9
	// The cache keeps things in its own time, and the race detector makes pools forget, now and then.
	for began := time.Now(); least > 0 && time.Since(began) < 10*time.Second; {
		least = min(least, testing.AllocsPerRun(1, func() {
			p, err := h.PrincipalByKey(ctx, key)
			if err == nil {
				_, err = h.Facts(ctx, p, "vision", "detector")
			}
			h.ok(err)
		}))
	}
	if least > 0 {
		t.Errorf("a hit makes %v allocations", least)
	}
}

// silent is a store that stops answering.
type silent struct {
	store.Store
	away bool
}

var errAway = errors.New("connection refused")

func (s *silent) Get(ctx context.Context, key string) (store.Record, error) {
	if s.away {
		return store.Record{}, errAway
	}
	return s.Store.Get(ctx, key)
}

func (s *silent) Commit(ctx context.Context, w ...store.Write) (store.Revision, error) {
	if s.away {
		return 0, errAway
	}
	return s.Store.Commit(ctx, w...)
}

func TestStoreAwayIsNeitherYesNorNo(t *testing.T) { // Z07, K05
	inner := newHouse(t)
	s := &silent{Store: inner.store}
	h, ctx := onStore(t, s, authz.Settings{}), context.Background()
	alice := h.user("alice")
	key := h.key(alice.Ref())
	p := h.principal(alice.Ref())
	s.away = true
	for name, err := range map[string]error{
		"key":     second(h.PrincipalByKey(ctx, key)),
		"unknown": second(h.PrincipalByKey(ctx, iam.NewSecret(strings.Repeat("0a", 20)))),
		"facts":   second(h.Facts(ctx, p, "vision", "detector")),
		"find":    second(h.FindUser(ctx, "bob")),
		"change":  second(h.SetUser(ctx, alice, directory.UserChange{Name: ptr("x")})),
		"record":  second(h.RecordProject(ctx, directory.NewProject{Entity: alice.PersonalEntity(), Name: "x"})),
	} {
		if iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func TestReferencesOfTheWrongKindNameNobody(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	bot := h.teamAccount("bot", h.team("vision"))
	for _, ref := range []iam.PrincipalRef{
		{}, {Kind: iam.KindUser, ID: string(bot)}, {Kind: iam.Anonymous, ID: string(bot)}, {Kind: iam.KindServiceAccount, ID: "usr_none"},
		{Kind: iam.KindUser, ID: "../sa/" + string(bot)}, {Kind: 9, ID: string(bot)},
	} {
		if _, err := h.Principal(ctx, ref); iam.KindOf(err) != iam.KindUnauthenticated {
			t.Errorf("%v: %v", ref, err)
		}
	}
	if h.principal(bot.Ref()).Username != "bot" {
		t.Error("the real one is gone")
	}
}
