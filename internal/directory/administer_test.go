package directory_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

func TestAddPerson(t *testing.T) {
	h := newHouse(t)
	h.user("carol")
	for _, tt := range []struct{ email, username string }{
		{"dave@acme.test", "dave"},
		{"Carol@other.test", "Carol-2"},
		{"o'brien+x@acme.test", "o-brien-x"},
		{"@@acme.test", ""},
		{"eve", ""},
		{"", ""},
		{"a@b@c", ""},
		{strings.Repeat("x", 300) + "@acme.test", ""},
		{"évé@acme.test", ""},
	} {
		c, err := h.AddPerson(t.Context(), tt.email, iam.OrganizationMember)
		if tt.username == "" {
			h.refused(err, iam.KindInvalid, "e-mail address")
			continue
		}
		h.check(err)
		if u := c.After; u.Username != tt.username || u.Email != tt.email || u.Role != iam.OrganizationMember || !u.Active || c.Before != nil {
			t.Errorf("%s becomes %+v", tt.email, u)
		}
	}
	_, err := h.AddPerson(t.Context(), "DAVE@acme.test", iam.OrganizationAdmin)
	h.refused(err, iam.KindConflict, "taken by another user")
}

func TestAddMemberKeepsRoles(t *testing.T) {
	h := newHouse(t)
	alice, team := h.user("alice"), h.team("vision")
	c, err := h.AddMember(t.Context(), team, alice, iam.RoleAdmin)
	h.check(err)
	if c.Before != nil || c.After.Role != iam.RoleAdmin {
		t.Errorf("changed %+v", c)
	}
	_, err = h.AddMember(t.Context(), team, alice, iam.RoleMember)
	h.refused(err, iam.KindConflict, "already, with the role admin")
	if m, _ := h.principal(alice.Ref()).Membership(team); m.Role != iam.RoleAdmin {
		t.Errorf("alice is now %s", m.Role)
	}
	_, err = h.AddMember(t.Context(), team, "usr_00000000000000000000", iam.RoleMember)
	h.refused(err, iam.KindNotFound, "no user")
	_, err = h.AddMember(t.Context(), "team_00000000000000000000", alice, iam.RoleMember)
	h.refused(err, iam.KindNotFound, "no team")
}

// clocked is a house whose clock a test sets.
func clocked(t *testing.T) (*house, *time.Time) {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	cache, err := hotcache.New(hotcache.Config{Store: s, Space: organization})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	d, err := directory.New(directory.Config{Cache: cache, Organization: organization, HMACKey: [32]byte{1}, Settings: authz.Settings{}, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return &house{TB: t, Directory: d, cache: cache, store: s}, &now
}

// A key that is handed over is taken once, by whom it waits for and in time.
func TestHandovers(t *testing.T) {
	h, now := clocked(t)
	alice, bob, team, other := h.user("alice"), h.user("bob"), h.team("vision"), h.team("speech")
	seal := func(secret iam.Secret, record string) ([]byte, error) {
		return []byte(record + " " + secret.Reveal()), nil
	}
	made := func(description string) *directory.AccountWithKey {
		t.Helper()
		c, err := h.CreateAccountWithKey(t.Context(), directory.NewAccountWithKey{Team: team, Description: description, KeyName: "first",
			HandOver: directory.HandOver{To: alice.Ref(), Until: now.Add(10 * time.Minute), Seal: seal}})
		h.check(err)
		return c.After
	}
	take := func(who iam.UserID, team iam.TeamID) []directory.Handover {
		t.Helper()
		taken, err := h.TakeHandovers(t.Context(), who.Ref(), team)
		h.check(err)
		return taken
	}
	bot := made("the bot")
	if bot.Account.Name != "the-bot" || bot.Account.Team != team || bot.Key.Owner != bot.Account.ID.Ref() || bot.Key.Name != "first" {
		t.Errorf("made %+v %+v", bot.Account, bot.Key)
	}
	if n := len(take(bob, team)) + len(take(alice, other)); n != 0 {
		t.Errorf("%d keys were given to somebody else, or in another team", n)
	}
	taken := take(alice, team)
	if len(taken) != 1 || taken[0].Account != bot.Account.ID {
		t.Fatalf("taken %v", taken)
	}
	record, secret, _ := strings.Cut(string(taken[0].Sealed), " ")
	if p, err := h.PrincipalByKey(t.Context(), iam.NewSecret(secret)); err != nil || p.Ref != bot.Account.ID.Ref() || record != taken[0].Record {
		t.Errorf("the key is that of %v (%v), sealed for %s in %s", p, err, record, taken[0].Record)
	}
	if n := len(take(alice, team)); n != 0 {
		t.Errorf("taken again: %d", n)
	}

	made("second")
	*now = now.Add(9 * time.Minute)
	made("third")
	if n, err := h.CollectHandovers(t.Context()); n != 0 || err != nil {
		t.Errorf("collected %d (%v) too early", n, err)
	}
	*now = now.Add(time.Minute)
	if n, err := h.CollectHandovers(t.Context()); n != 1 || err != nil {
		t.Errorf("collected %d (%v)", n, err)
	}
	*now = now.Add(9 * time.Minute)
	if n := len(take(alice, team)); n != 0 {
		t.Errorf("taken too late: %d", n)
	}
	if n, err := h.CollectHandovers(t.Context()); n != 0 || err != nil {
		t.Errorf("%d are left behind (%v)", n, err)
	}
}

// When any part fails there is neither an account nor a key.
func TestAccountWithKeyIsWholeOrNotAtAll(t *testing.T) {
	h := newHouse(t)
	alice, team := h.user("alice"), h.team("vision")
	before := h.revision()
	failing := func(iam.Secret, string) ([]byte, error) { return nil, errors.New("no master key") }
	for what, n := range map[string]directory.NewAccountWithKey{
		"sealing fails":       {Team: team, Description: "bot", HandOver: directory.HandOver{To: alice.Ref(), Seal: failing}},
		"no team":             {Team: "team_00000000000000000000", Description: "bot"},
		"no description":      {Team: team},
		"only signs":          {Team: team, Description: "_@-. "},
		"another alphabet":    {Team: team, Description: "日本語"},
		"line break":          {Team: team, Description: "a\nb"},
		"long description":    {Team: team, Description: strings.Repeat("x", 257)},
		"a label for no list": {Team: team, Description: "bot", KeyName: "a\x00b"},
	} {
		if _, err := h.CreateAccountWithKey(t.Context(), n); err == nil {
			t.Errorf("%s: made", what)
		}
	}
	if h.revision() != before {
		t.Error("something was written")
	}
	// The organization's names are one: a suffix keeps accounts from being called alike.
	for _, want := range []string{"alice-2", "alice-3"} {
		c, err := h.CreateAccountWithKey(t.Context(), directory.NewAccountWithKey{Team: team, Description: "alice"})
		h.check(err)
		if c.After.Account.Name != want {
			t.Errorf("called %s, want %s", c.After.Account.Name, want)
		}
	}
}
