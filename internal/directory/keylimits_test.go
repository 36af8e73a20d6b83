package directory_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// clock is a time that a test sets, and how often it was asked for.
type clock struct {
	mu    sync.Mutex
	at    time.Time
	asked int
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	return c.at
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at, c.asked = t, 0
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// watched is a house whose time the test sets.
func watched(t testing.TB) (*house, *clock) {
	h, c := newHouse(t), &clock{at: noon}
	d, err := directory.New(directory.Config{Cache: h.cache, Organization: organization, HMACKey: [32]byte{1}, Now: c.now})
	h.ok(err)
	h.Directory = d
	return h, c
}

func (h *house) limitedKey(owner iam.PrincipalRef, l iam.KeyLimits) (iam.Secret, iam.KeyID) {
	h.Helper()
	secret, c, err := h.CreateKey(context.Background(), directory.NewKey{Owner: owner, Name: "limited", Limits: l})
	h.ok(err)
	return secret, c.After.ID
}

func (h *house) byKey(key iam.Secret) *iam.Principal {
	h.Helper()
	p, err := h.PrincipalByKey(context.Background(), key)
	h.ok(err)
	return p
}

// decides asks the rules about a project as the holder of the key by which p was found.
func (h *house) decides(p *iam.Principal, permission authz.Permission, entity, project string) authz.Decision {
	h.Helper()
	f, err := h.Facts(context.Background(), p, entity, project)
	h.ok(err)
	return authz.Decide(authz.Request{Permission: permission}, f)
}

// TestKeysWithLimits: who holds one is its owner, with no more places than the key is for; others of the owner's keys
// are as they were.
func TestKeysWithLimits(t *testing.T) {
	h, _ := watched(t)
	alice, bob := h.user("alice"), h.user("bob")
	vision, audio := h.team("vision", alice), h.team("audio", alice)
	account, all := h.teamAccount("ci", vision), h.organizationAccount("org-bot", audio)
	plain := h.key(alice.Ref())
	whole := h.byKey(plain)
	for _, c := range []struct {
		name   string
		owner  iam.PrincipalRef
		limits iam.KeyLimits
		change func(*iam.Principal)
	}{
		{"only reads", alice.Ref(), iam.KeyLimits{ReadOnly: true}, func(*iam.Principal) {}},
		{"a team", alice.Ref(), iam.KeyLimits{Entity: vision.Entity(), EntityName: "vision"}, func(p *iam.Principal) {
			p.Teams, p.PersonalEntity, p.DefaultEntity = p.Teams[1:], "", "vision"
		}},
		{"a project", alice.Ref(), iam.KeyLimits{Entity: vision.Entity(), EntityName: "vision", Project: "detector"}, func(p *iam.Principal) {
			p.Teams, p.PersonalEntity, p.DefaultEntity = p.Teams[1:], "", "vision"
		}},
		{"her own entity", alice.Ref(), iam.KeyLimits{Entity: alice.PersonalEntity(), EntityName: "alice"}, func(p *iam.Principal) {
			p.Teams, p.DefaultEntity = nil, "alice"
		}},
		{"somebody else's", alice.Ref(), iam.KeyLimits{Entity: bob.PersonalEntity(), EntityName: "bob"}, func(p *iam.Principal) {
			p.Teams, p.PersonalEntity, p.DefaultEntity = nil, "", "bob"
		}},
		{"of a team's account", account.Ref(), iam.KeyLimits{Entity: vision.Entity(), EntityName: "vision", Project: "x"}, func(*iam.Principal) {}},
		{"of the organization's account", all.Ref(), iam.KeyLimits{Entity: vision.Entity(), EntityName: "vision"}, func(p *iam.Principal) {
			p.DefaultEntity = "vision"
		}},
	} {
		want := *known(h.principal(c.owner))
		want.Limits = &c.limits
		c.change(&want)
		key, _ := h.limitedKey(c.owner, c.limits)
		for range 2 { // from the store, from the cache
			got := known(h.byKey(key))
			if len(got.Teams) == 0 && len(want.Teams) == 0 {
				got.Teams, want.Teams = nil, nil
			}
			if !reflect.DeepEqual(got, &want) {
				t.Errorf("%s:\ngot  %+v %+v\nwant %+v %+v", c.name, got, got.Limits, &want, want.Limits)
			}
		}
	}
	if got := h.byKey(plain); got.Limits != nil || got != whole {
		t.Errorf("her key without limits stands for %+v", got)
	}
}

// TestLimitsOutlastChanges: between finding out who calls and deciding, anything can change. What is read anew then is
// read with the limits of the key that the request was made with.
func TestLimitsOutlastChanges(t *testing.T) {
	for name, change := range map[string]func(*house, iam.UserID, iam.TeamID, iam.KeyID) error{
		"nothing": func(*house, iam.UserID, iam.TeamID, iam.KeyID) error { return nil },
		"the owner joins another team": func(h *house, alice iam.UserID, _ iam.TeamID, _ iam.KeyID) error {
			h.team("audio", alice)
			return nil
		},
		"the owner becomes an admin": func(h *house, alice iam.UserID, _ iam.TeamID, _ iam.KeyID) error {
			role := iam.OrganizationAdmin
			_, err := h.SetUser(context.Background(), alice, directory.UserChange{Role: &role})
			return err
		},
		"the key is renamed": func(h *house, _ iam.UserID, _ iam.TeamID, id iam.KeyID) error {
			_, err := h.RenameKey(context.Background(), iam.PrincipalRef{}, id, "x")
			return err
		},
		"the key is deleted": func(h *house, _ iam.UserID, _ iam.TeamID, id iam.KeyID) error {
			_, err := h.DeleteKey(context.Background(), iam.PrincipalRef{}, id)
			return err
		},
		"the team is deleted": func(h *house, _ iam.UserID, vision iam.TeamID, _ iam.KeyID) error {
			_, err := h.DeleteTeam(context.Background(), vision)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			h, _ := watched(t)
			h.admin("root")
			alice := h.user("alice")
			vision := h.team("vision", alice)
			elsewhere := h.team("elsewhere", alice)
			h.project(elsewhere.Entity(), "open", iam.VisibilityOpen)
			key, id := h.limitedKey(alice.Ref(), iam.KeyLimits{Entity: vision.Entity(), Project: "detector", ReadOnly: true})
			p, plain := h.byKey(key), h.key(alice.Ref())
			h.decides(p, authz.ProjectRead, "vision", "detector")
			h.ok(change(h, alice, vision, id))
			stripped := *p
			stripped.Limits = nil
			forgotten := *p
			forgotten.Reading = nil
			exchanged := *p
			exchanged.Reading = h.byKey(plain).Reading
			for copied, who := range map[string]*iam.Principal{"as it was found": p, "with its limits cleared": &stripped, "without how it was read": &forgotten, "with how her other key was read": &exchanged} {
				for project, want := range map[string]iam.Reason{"detector": authz.ReasonKeyReadOnly, "other": authz.ReasonKeyScope} {
					if name == "the team is deleted" {
						want = authz.ReasonKeyScope
					}
					if d := h.decides(who, authz.RunWrite, "vision", project); d.Allowed() || d.Reason != want {
						t.Errorf("%s, %s: %v, want %s", copied, project, d, want)
					}
				}
				if d := h.decides(who, authz.ProjectRead, "elsewhere", "open"); d.Allowed() || d.Reason != authz.ReasonKeyScope {
					t.Errorf("%s, elsewhere: %v", copied, d)
				}
			}
		})
	}
}

// TestKeyEndsWhileCached: at its second, exactly, however often it was seen before. A clock that is set back gives
// it back its time, as one that is set ahead took it (K11).
func TestKeyEndsWhileCached(t *testing.T) {
	h, c := watched(t)
	alice := h.user("alice")
	end := noon.Add(720 * time.Hour)
	key, id := h.limitedKey(alice.Ref(), iam.KeyLimits{Expires: end.Add(900 * time.Millisecond)})
	for _, step := range []struct {
		at   time.Time
		good bool
	}{
		{noon, true}, {end.Add(-time.Nanosecond), true}, {end, false}, {end.Add(time.Hour), false}, {end.Add(-time.Hour), true}, {end.AddDate(50, 0, 0), false},
	} {
		c.set(step.at)
		p, err := h.PrincipalByKey(t.Context(), key)
		switch {
		case step.good && (err != nil || p.Ref != alice.Ref()):
			t.Errorf("at %s: %v", step.at, err)
		case !step.good:
			h.refused(err, iam.KindUnauthenticated, "expired on 2026-12-20T12:00:00Z")
			if iam.ReasonOf(err) != directory.ReasonKeyExpired {
				t.Errorf("reason %s", iam.ReasonOf(err))
			}
		}
	}
	// It ends for good: a name is all that it can be given, and deactivation is told before.
	_, err := h.RenameKey(t.Context(), iam.PrincipalRef{}, id, "x")
	h.ok(err)
	if _, err := h.PrincipalByKey(t.Context(), key); iam.ReasonOf(err) != directory.ReasonKeyExpired {
		t.Errorf("renamed: %v", err)
	}
	h.admin("root")
	inactive := false
	_, err = h.SetUser(t.Context(), alice, directory.UserChange{Active: &inactive})
	h.ok(err)
	if _, err := h.PrincipalByKey(t.Context(), key); iam.ReasonOf(err) != directory.ReasonDeactivated {
		t.Errorf("deactivated: %v", err)
	}
}

// TestKeysWithoutEndReadNoClock, and a hit of a key with limits allocates nothing either.
func TestKeysWithoutEndReadNoClock(t *testing.T) {
	h, c := watched(t)
	alice := h.user("alice")
	vision := h.team("vision", alice)
	endless := []iam.Secret{h.key(alice.Ref())}
	for _, l := range []iam.KeyLimits{{ReadOnly: true}, {Entity: vision.Entity(), Project: "detector"}} {
		key, _ := h.limitedKey(alice.Ref(), l)
		endless = append(endless, key)
	}
	ending, _ := h.limitedKey(alice.Ref(), iam.KeyLimits{Expires: noon.AddDate(1, 0, 0)})
	c.set(noon)
	for _, key := range endless {
		h.byKey(key)
		h.byKey(key)
	}
	if c.asked != 0 {
		t.Errorf("keys without an end asked for the time %d times", c.asked)
	}
	if h.byKey(ending); c.asked != 1 {
		t.Errorf("a key with an end asked for the time %d times", c.asked)
	}
	for i, key := range append(endless, ending) {
		least := 1e9
		for began := time.Now(); least > 0 && time.Since(began) < 10*time.Second; {
			least = min(least, testing.AllocsPerRun(1, func() {
				p, err := h.PrincipalByKey(t.Context(), key)
				if err == nil {
					_, err = h.Facts(t.Context(), p, "vision", "detector")
				}
				h.ok(err)
			}))
		}
		if least > 0 {
			t.Errorf("key %d: a hit makes %v allocations", i, least)
		}
	}
}

// TestKeyWithLimitsInTheStore: who reads a record without knowing limits finds no owner in it, and no key that may all.
func TestKeyWithLimitsInTheStore(t *testing.T) {
	h, _ := watched(t)
	alice := h.user("alice")
	h.key(alice.Ref())
	for _, l := range []iam.KeyLimits{{ReadOnly: true}, {Expires: noon.AddDate(1, 0, 0)}, {Entity: alice.PersonalEntity(), Project: "x"}} {
		h.limitedKey(alice.Ref(), l)
	}
	records, err := h.store.List(t.Context(), organization+"/key/", "", 0)
	h.ok(err)
	owned := 0
	for _, r := range records {
		var before struct {
			ID    iam.KeyID
			Owner iam.PrincipalRef
		}
		h.ok(json.Unmarshal(r.Value, &before))
		if before.ID == "" {
			t.Errorf("%s", r.Value)
		}
		if before.Owner == alice.Ref() {
			owned++
		}
	}
	if len(records) != 4 || owned != 1 {
		t.Errorf("of %d keys %d are alice's to whom knows no limits", len(records), owned)
	}
	limited := 0
	h.ok(h.Keys(t.Context(), alice.Ref(), func(k directory.Key) error {
		if !k.KeyLimits.IsZero() {
			limited++
		}
		return nil
	}))
	if limited != 3 {
		t.Errorf("%d are listed with limits", limited)
	}
}

// TestLimitsOfWhatWasDeleted: an entity that is gone is no entity, for a node that saw it before and for one that
// starts now, and whatever takes its name.
func TestLimitsOfWhatWasDeleted(t *testing.T) {
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := onStore(t, s, authz.Settings{})
	h.admin("root")
	alice, bob := h.user("alice"), h.user("bob")
	vision := h.team("vision", alice)
	ofTeam, _ := h.limitedKey(alice.Ref(), iam.KeyLimits{Entity: vision.Entity()})
	ofPerson, _ := h.limitedKey(alice.Ref(), iam.KeyLimits{Entity: bob.PersonalEntity(), Project: "x"})
	h.byKey(ofTeam)
	h.byKey(ofPerson)
	_, err = h.DeleteTeam(t.Context(), vision)
	h.ok(err)
	_, err = h.DeleteUser(t.Context(), bob)
	h.ok(err)
	again := h.user("bob")
	h.team("vision", alice)
	h.project(again.PersonalEntity(), "x", iam.VisibilityOpen)
	for name, node := range map[string]*house{"the node that saw it": h, "another": onStore(t, s, authz.Settings{})} {
		for _, key := range []iam.Secret{ofTeam, ofPerson} {
			p := node.byKey(key)
			if p.Limits == nil || p.Limits.Scope() != "" || p.DefaultEntity != "" || len(p.Teams) > 0 || p.PersonalEntity != "" {
				t.Errorf("%s: %+v %+v", name, p, p.Limits)
			}
			for _, place := range [][2]string{{"vision", "new"}, {"bob", "x"}, {"alice", "mine"}} {
				if d := node.decides(p, authz.ProjectRead, place[0], place[1]); d.Reason != authz.ReasonKeyScope {
					t.Errorf("%s at %s: %v", name, place, d)
				}
			}
		}
	}
}

func TestLimitsThatMeanNothingAreRefused(t *testing.T) {
	h, _ := watched(t)
	alice := h.user("alice")
	vision := h.team("vision", alice)
	for name, c := range map[string]struct {
		limits iam.KeyLimits
		kind   iam.Kind
		says   string
	}{
		"over":                {iam.KeyLimits{Expires: noon}, iam.KindInvalid, "2026-11-20T12:00:00Z"},
		"over, by a rounding": {iam.KeyLimits{Expires: noon.Add(time.Second - 1)}, iam.KindInvalid, "expired already"},
		"no such team":        {iam.KeyLimits{Entity: "team_none"}, iam.KindNotFound, "team"},
		"no such person":      {iam.KeyLimits{Entity: "usr_none"}, iam.KindNotFound, "user"},
		"a service account":   {iam.KeyLimits{Entity: "sa_none"}, iam.KindNotFound, "team or person"},
		"another record":      {iam.KeyLimits{Entity: "../team/x"}, iam.KindNotFound, "team or person"},
		"project alone":       {iam.KeyLimits{Project: "detector"}, iam.KindInvalid, "whose project"},
		"no project's name":   {iam.KeyLimits{Entity: vision.Entity(), Project: "a/b"}, iam.KindInvalid, "a/b"},
	} {
		_, _, err := h.CreateKey(t.Context(), directory.NewKey{Owner: alice.Ref(), Name: name, Limits: c.limits})
		h.refused(err, c.kind, c.says)
	}
	h.ok(h.Keys(t.Context(), alice.Ref(), func(k directory.Key) error {
		t.Errorf("recorded %+v", k)
		return nil
	}))
}

// TestLimitedKeyOfATeamThatGoes: of two who make a key for a team and delete the team at the same moment, the key is
// made for the team that was there, or not at all.
func TestLimitedKeyOfATeamThatGoes(t *testing.T) {
	h, _ := watched(t)
	alice := h.user("alice")
	for range 20 {
		vision := h.team("vision")
		var all sync.WaitGroup
		var key iam.Secret
		var made error
		all.Go(func() {
			key, _, made = h.CreateKey(context.Background(), directory.NewKey{Owner: alice.Ref(), Limits: iam.KeyLimits{Entity: vision.Entity()}})
		})
		all.Go(func() {
			_, err := h.DeleteTeam(context.Background(), vision)
			h.check(err)
		})
		all.Wait()
		if made != nil {
			h.refused(made, iam.KindNotFound, "team")
			continue
		}
		if p := h.byKey(key); p.Limits == nil || p.Limits.Entity != vision.Entity() || p.Limits.EntityName != "" {
			t.Fatalf("%+v", p.Limits)
		}
	}
}

func TestParseExpiry(t *testing.T) {
	for text, want := range map[string]string{
		"2027-01-31":                     "2027-01-31T00:00:00Z",
		"2027-01-31T12:00:00Z":           "2027-01-31T12:00:00Z",
		"2027-01-31T12:00:00.999Z":       "2027-01-31T12:00:00Z",
		"2027-01-31T12:00:00+02:00":      "2027-01-31T10:00:00Z",
		"1999-01-01":                     "1999-01-01T00:00:00Z", // a file may be old
		"":                               "",
		"tomorrow":                       "",
		"2027-1-31":                      "",
		"2027-02-30":                     "",
		"2027-01-31T12:00":               "",
		"2027-01-31 12:00:00":            "",
		"0001-01-01":                     "", // would be no end at all
		"0001-01-01T00:00:00.5Z":         "",
		"0001-01-01T00:00:00+14:00":      "",
		"9999-12-31T23:59:59-01:00":      "", // in UTC a year that no file can hold
		"10000-01-01":                    "",
		"1700000000":                     "",
		"720h":                           "",
		"2027-01-31T12:00:00Z\n":         "",
		strings.Repeat("2027-01-31 ", 9): "",
	} {
		got, err := directory.ParseExpiry(text)
		switch {
		case want == "" && (err == nil || iam.KindOf(err) != iam.KindInvalid):
			t.Errorf("%q is %v, %v", text, got, err)
		case want != "" && (err != nil || got.Format(time.RFC3339Nano) != want):
			t.Errorf("%q is %v, %v; want %s", text, got, err, want)
		}
	}
}

// FuzzParseExpiry: what is read is a moment in UTC, never none, and is read as itself again.
func FuzzParseExpiry(f *testing.F) {
	for _, s := range []string{"2027-01-31", "2027-01-31T12:00:00+02:00", "0001-01-01", "9999-12-31T23:59:59-23:59"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := directory.ParseExpiry(s)
		if err != nil {
			return
		}
		again, err := directory.ParseExpiry(got.Format(time.RFC3339))
		if err != nil || !again.Equal(got) || got.IsZero() || got.Location() != time.UTC || got.Nanosecond() != 0 {
			t.Errorf("%q is %v, and that %v, %v", s, got, again, err)
		}
	})
}
