package vault_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
	"github.com/wandb-gateway/wandb-gateway/internal/vault"
)

const (
	aliceKey = "local-a11ce00000000000000000000000000000000000"
	bobKey   = "local-b0b0000000000000000000000000000000000000"
	teamKey  = "local-7ea3000000000000000000000000000000000000"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 5, time.UTC)

// house is a vault above a directory: alice and bob, the team vision with the account ci, and org-bot of
// the organization.
type house struct {
	testing.TB
	*vault.Vault
	directory  *directory.Directory
	cache      *hotcache.Cache
	alice, bob iam.UserID
	vision     iam.TeamID
	ci, bot    iam.ServiceAccountID
}

func newHouse(t testing.TB) *house {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &house{TB: t}
	h.cache, err = hotcache.New(hotcache.Config{Store: s, Space: "acme"})
	h.ok(err)
	t.Cleanup(func() { h.cache.Close() })
	h.directory, err = directory.New(directory.Config{Cache: h.cache, Organization: "acme", HMACKey: [32]byte{1}})
	h.ok(err)
	h.Vault = h.open(keys.NewMasterKey())
	for name, id := range map[string]*iam.UserID{"alice": &h.alice, "bob": &h.bob} {
		c, err := h.directory.CreateUser(t.Context(), directory.NewUser{Username: name})
		h.ok(err)
		*id = c.After.ID
	}
	c, err := h.directory.CreateTeam(t.Context(), "vision", directory.TeamMember{User: h.alice, Role: iam.RoleMember})
	h.ok(err)
	h.vision = c.After.ID
	for id, n := range map[*iam.ServiceAccountID]directory.NewServiceAccount{
		&h.ci:  {Name: "ci", Team: h.vision},
		&h.bot: {Name: "org-bot", DefaultTeam: h.vision},
	} {
		c, err := h.directory.CreateServiceAccount(t.Context(), n)
		h.ok(err)
		*id = c.After.ID
	}
	return h
}

func (h *house) open(master keys.MasterKey) *vault.Vault {
	h.Helper()
	v, err := vault.New(vault.Config{Directory: h.directory, Cache: h.cache, Master: master, Now: func() time.Time { return noon }})
	h.ok(err)
	return v
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("unexpected: %v", err)
	}
}

func (h *house) set(owner iam.EntityID, key string) {
	h.Helper()
	_, err := h.Set(h.Context(), owner, iam.NewSecret(key))
	h.ok(err)
}

// shown asserts which key stands for a principal, "" for none.
func (h *house) shown(ref iam.PrincipalRef, key string) {
	h.Helper()
	p, err := h.directory.Principal(h.Context(), ref)
	h.ok(err)
	want := ""
	if key != "" {
		want = "Basic " + base64.StdEncoding.EncodeToString([]byte("api:"+key))
	}
	if got, err := h.Authorization(h.Context(), p); err != nil || got != want {
		h.Errorf("for %s stands %q (%v), want %q", p.Username, got, err, want)
	}
}

func TestWhoseKeyStandsForWhom(t *testing.T) {
	h := newHouse(t)
	for _, ref := range []iam.PrincipalRef{h.alice.Ref(), h.bob.Ref(), h.ci.Ref(), h.bot.Ref()} {
		h.shown(ref, "")
	}
	h.set(h.vision.Entity(), teamKey)
	h.shown(h.alice.Ref(), "") // a member does not act as the team
	h.shown(h.ci.Ref(), teamKey)
	h.shown(h.bot.Ref(), teamKey)
	h.set(h.alice.PersonalEntity(), aliceKey)
	h.shown(h.alice.Ref(), aliceKey)
	h.shown(h.bob.Ref(), "")
	h.shown(h.ci.Ref(), teamKey)
	if got, err := h.Authorization(t.Context(), &iam.Principal{}); err != nil || got != "" {
		t.Errorf("for nobody stands %q (%v)", got, err)
	}
}

func TestReplacedAndDeletedAtOnce(t *testing.T) {
	h := newHouse(t)
	owner := h.alice.PersonalEntity()
	h.set(owner, bobKey)
	h.shown(h.alice.Ref(), bobKey)
	replaced, err := h.Set(t.Context(), owner, iam.NewSecret(aliceKey))
	if err != nil || !replaced {
		t.Errorf("replaced %t, %v", replaced, err)
	}
	h.shown(h.alice.Ref(), aliceKey)
	e, found, err := h.Find(t.Context(), owner)
	if err != nil || !found || !e.Set.Equal(noon.Truncate(time.Second)) {
		t.Errorf("%+v, %t, %v", e, found, err)
	}
	h.ok(h.Delete(t.Context(), owner))
	h.shown(h.alice.Ref(), "")
	if _, found, err := h.Find(t.Context(), owner); err != nil || found {
		t.Errorf("found %t, %v", found, err)
	}
	if err := h.Delete(t.Context(), owner); iam.KindOf(err) != iam.KindNotFound {
		t.Errorf("a second time: %v", err)
	}
}

// Whoever is deleted takes the key along, and who gets the name next does not get it.
func TestKeysEndWithTheirOwners(t *testing.T) {
	h := newHouse(t)
	h.set(h.alice.PersonalEntity(), aliceKey)
	h.set(h.vision.Entity(), teamKey)
	h.shown(h.ci.Ref(), teamKey)
	_, err := h.directory.DeleteUser(t.Context(), h.alice)
	h.ok(err)
	_, err = h.directory.DeleteServiceAccount(t.Context(), h.bot) // of which the team is the default
	h.ok(err)
	_, err = h.directory.DeleteTeam(t.Context(), h.vision)
	h.ok(err)
	h.ok(h.List(t.Context(), func(e vault.Entry) error { return fmt.Errorf("%s is left", e.Owner) }))
	again, err := h.directory.CreateUser(t.Context(), directory.NewUser{Username: "alice"})
	h.ok(err)
	h.shown(again.After.ID.Ref(), "")
	for _, owner := range []iam.EntityID{h.alice.PersonalEntity(), h.vision.Entity()} {
		if _, err := h.Set(t.Context(), owner, iam.NewSecret(aliceKey)); iam.KindOf(err) != iam.KindNotFound {
			t.Errorf("a key for who is gone: %v", err)
		}
	}
	for _, owner := range []iam.EntityID{"", "usr_", "x", "../roles", iam.EntityID(h.ci)} {
		if _, err := h.Set(t.Context(), owner, iam.NewSecret(aliceKey)); err == nil {
			t.Errorf("a key for %q is taken", owner)
		}
	}
}

func TestCheck(t *testing.T) {
	minted, _ := apikey.Mint()
	for _, tt := range []struct {
		name, key string
		good      bool
	}{
		{"of a server", aliceKey, true},
		{"of 40 digits", strings.Repeat("a", 40), true},
		{"of 86", strings.Repeat("Z", 86), true},
		{"with a colon", "local:0123456789", true},
		{"the longest", strings.Repeat("a", apikey.MaxBytes), true},
		{"longer", strings.Repeat("a", apikey.MaxBytes+1), false},
		{"empty", "", false},
		{"short", "1234567", false},
		{"with a blank", "local-0123 456789", false},
		{"with a line break", aliceKey + "\r\nX-Forwarded-User: root", false},
		{"with NUL", aliceKey + "\x00", false},
		{"beyond ASCII", aliceKey + "é", false},
		{"the gateway's own", minted.Reveal(), false},
		{"the gateway's own, cut", minted.Reveal()[:20], false},
		{"a token", "aaaaaaaa.bbbbbbbb.cccccccc", false},
	} {
		err := vault.Check(iam.NewSecret(tt.key))
		if (err == nil) != tt.good || err != nil && iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err != nil && len(tt.key) > 4 && strings.Contains(err.Error(), tt.key) {
			t.Errorf("%s: the error tells the key: %v", tt.name, err)
		}
	}
}

func FuzzCheck(f *testing.F) {
	for _, s := range []string{aliceKey, "", "\r\n", strings.Repeat("a", 600), "a.b.c", "wbg-0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if vault.Check(iam.NewSecret(s)) != nil {
			return
		}
		for i := range len(s) {
			if s[i] <= ' ' || s[i] > '~' {
				t.Fatalf("%q can be a key", s)
			}
		}
		if len(s) < apikey.MinBytes || len(s) > apikey.MaxBytes {
			t.Fatalf("a key of %d bytes", len(s))
		}
	})
}

// What lies in the store tells nothing, and is of no use in another's place or under another master key.
func TestSealedForItsOwner(t *testing.T) {
	h := newHouse(t)
	h.set(h.alice.PersonalEntity(), aliceKey)
	h.set(h.bob.PersonalEntity(), bobKey)
	r, err := h.directory.UpstreamKey(t.Context(), h.alice.PersonalEntity())
	h.ok(err)
	var record struct{ Sealed []byte }
	h.ok(json.Unmarshal(r.Value, &record))
	for _, text := range [][]byte{r.Value, record.Sealed} {
		if bytes.Contains(text, []byte(aliceKey)) || bytes.Contains(text, []byte(aliceKey[6:20])) {
			t.Errorf("the key lies open: %s", text)
		}
	}
	var out bytes.Buffer
	h.ok(h.directory.Export(t.Context(), &out))
	if strings.Contains(out.String(), base64.StdEncoding.EncodeToString(record.Sealed)) || strings.Contains(out.String(), aliceKey) {
		t.Errorf("the export holds the key: %s", &out)
	}
	// Bob's record replaced by alice's.
	_, err = h.cache.Commit(t.Context(), store.Write{Key: h.directory.UpstreamKeyRecord(h.bob.PersonalEntity()), Value: r.Value})
	h.ok(err)
	bob, err := h.directory.Principal(t.Context(), h.bob.Ref())
	h.ok(err)
	if got, err := h.Authorization(t.Context(), bob); err == nil || got != "" || iam.KindOf(err) != iam.KindUnavailable || !errors.Is(err, keys.ErrDamaged) {
		t.Errorf("alice's key stands for bob: %q, %v", got, err)
	}
	_, err = h.cache.Commit(t.Context(), store.Write{Key: h.directory.UpstreamKeyRecord(h.bob.PersonalEntity()), Value: []byte(`{"sealed":1}`)})
	h.ok(err)
	if got, err := h.Authorization(t.Context(), bob); got != "" || iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("a damaged record: %q, %v", got, err)
	}
	h.set(h.alice.PersonalEntity(), aliceKey) // not cached
	other := h.open(keys.NewMasterKey())
	alice, err := h.directory.Principal(t.Context(), h.alice.Ref())
	h.ok(err)
	if got, err := other.Authorization(t.Context(), alice); got != "" || !errors.Is(err, keys.ErrWrongKey) {
		t.Errorf("under another master key: %q, %v", got, err)
	}
}

func TestNothingPrintsAKey(t *testing.T) {
	h := newHouse(t)
	h.set(h.alice.PersonalEntity(), aliceKey)
	h.shown(h.alice.Ref(), aliceKey)
	e, _, err := h.Find(t.Context(), h.alice.PersonalEntity())
	h.ok(err)
	for _, v := range []any{e, h.Vault} {
		if text := fmt.Sprintf("%+v %#v", v, v); strings.Contains(text, aliceKey) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte("api:"+aliceKey))) {
			t.Error(text)
		}
	}
}

func BenchmarkAuthorization(b *testing.B) {
	h := newHouse(b)
	h.set(h.alice.PersonalEntity(), aliceKey)
	p, err := h.directory.Principal(b.Context(), h.alice.Ref())
	h.ok(err)
	b.ReportAllocs()
	for b.Loop() {
		if text, err := h.Authorization(b.Context(), p); err != nil || text == "" {
			b.Fatal(err)
		}
	}
}
