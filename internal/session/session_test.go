package session_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

const space = "acme"

var (
	alice = iam.UserID("usr_alice").Ref()
	bob   = iam.UserID("usr_bob").Ref()
)

// flaky is a store that can be away, and counts how often it is read.
type flaky struct {
	store.Store
	away  atomic.Bool
	reads atomic.Int64
	// before, if set, runs before every commit.
	before func([]store.Write)
}

var errAway = errors.New("connection refused")

func (f *flaky) Get(ctx context.Context, key string) (store.Record, error) {
	f.reads.Add(1)
	if f.away.Load() {
		return store.Record{}, errAway
	}
	return f.Store.Get(ctx, key)
}

func (f *flaky) List(ctx context.Context, prefix, after string, limit int) ([]store.Record, error) {
	if f.away.Load() {
		return nil, errAway
	}
	return f.Store.List(ctx, prefix, after, limit)
}

func (f *flaky) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	if f.before != nil {
		f.before(writes)
	}
	if f.away.Load() {
		return 0, errAway
	}
	return f.Store.Commit(ctx, writes...)
}

// house is Sessions on an embedded store, with a clock that stands until it is moved.
type house struct {
	testing.TB
	*session.Sessions
	cache *hotcache.Cache
	store *flaky
	now   atomic.Int64 // nanoseconds since 1970
}

var noon = time.Date(2026, 11, 20, 12, 0, 0, 5_000_000, time.UTC)

func newHouse(t testing.TB) *house {
	t.Helper()
	return openHouse(t, t.TempDir(), session.Config{})
}

func openHouse(t testing.TB, directory string, c session.Config) *house {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: directory})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return onStore(t, s, c)
}

func onStore(t testing.TB, s store.Store, c session.Config) *house {
	t.Helper()
	h := &house{TB: t, store: &flaky{Store: s}}
	h.now.Store(noon.UnixNano())
	cache, err := hotcache.New(hotcache.Config{Store: h.store, Space: space})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	h.cache = cache
	c.Cache, c.Space = cache, space
	if c.HMACKey == [32]byte{} {
		c.HMACKey = [32]byte{7}
	}
	if c.Now == nil {
		c.Now = func() time.Time { return time.Unix(0, h.now.Load()) }
	}
	if h.Sessions, err = session.New(c); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *house) pass(d time.Duration) { h.now.Add(int64(d)) }

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("unexpected: %v", err)
	}
}

// from is a sign-in at a provider.
func from(owner iam.PrincipalRef, subject, sid string) session.NewSession {
	return session.NewSession{
		Principal: owner, Epoch: 3, Method: session.MethodOIDC,
		Issuer: "https://acme.okta.com", Subject: subject, ProviderSession: sid,
		Client:    netip.MustParseAddr("203.0.113.7"),
		UserAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36",
	}
}

func (h *house) signIn(n session.NewSession) (iam.Secret, *session.Session) {
	h.Helper()
	secret, x, err := h.Create(context.Background(), n)
	h.ok(err)
	return secret, x
}

func (h *house) find(secret iam.Secret) (*session.Session, error) {
	return h.Find(context.Background(), h.cache.View(), secret)
}

func (h *house) wantLive(what string, secret iam.Secret) {
	h.Helper()
	if _, err := h.find(secret); err != nil {
		h.Errorf("%s: %v, want a live session", what, err)
	}
}

func (h *house) wantEnded(what string, secret iam.Secret) {
	h.Helper()
	x, err := h.find(secret)
	if x != nil || iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != session.ReasonEnded {
		h.Errorf("%s: %v, %v, want it to be ended", what, x, err)
	}
}

func (h *house) wantUnavailable(what string, err error) {
	h.Helper()
	if iam.KindOf(err) != iam.KindUnavailable {
		h.Errorf("%s: %v, want it to be unavailable", what, err)
	}
}

// listed returns the ids of an owner's sessions.
func (h *house) listed(owner iam.PrincipalRef) map[string]bool {
	h.Helper()
	ids := map[string]bool{}
	h.ok(h.List(context.Background(), owner, func(x *session.Session) error {
		ids[x.ID] = true
		return nil
	}))
	return ids
}

// records returns everything in the store.
func (h *house) records() []store.Record {
	h.Helper()
	all, err := h.store.Store.List(context.Background(), space+"/", "", 0)
	h.ok(err)
	return all
}

func TestNew(t *testing.T) {
	h := newHouse(t)
	good := session.Config{Cache: h.cache, Space: space, HMACKey: [32]byte{1}}
	for name, change := range map[string]func(*session.Config){
		"no cache":          func(c *session.Config) { c.Cache = nil },
		"no space":          func(c *session.Config) { c.Space = "" },
		"a key as space":    func(c *session.Config) { c.Space = "acme/x" },
		"an all-zero key":   func(c *session.Config) { c.HMACKey = [32]byte{} },
		"a negative length": func(c *session.Config) { c.Length = -time.Second },
	} {
		c := good
		change(&c)
		if _, err := session.New(c); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := session.New(good); err != nil {
		t.Error(err)
	}
}

// TestCreateAndFind: what was put in comes out, under a value that nobody can guess.
func TestCreateAndFind(t *testing.T) {
	h := newHouse(t)
	secret, created := h.signIn(from(alice, "00u1", "sid-1"))
	found, err := h.find(secret)
	h.ok(err)
	want := session.Session{
		ID: created.ID, Principal: alice, Epoch: 3, Created: noon, Expires: noon.Add(720 * time.Hour),
		Issuer: "https://acme.okta.com", Subject: "00u1", ProviderSession: "sid-1", Method: session.MethodOIDC,
		Client: netip.MustParseAddr("203.0.113.7"), UserAgent: from(alice, "", "").UserAgent,
	}
	if got := fmt.Sprintf("%+v", public(*found)); got != fmt.Sprintf("%+v", public(want)) {
		t.Errorf("found   %s\nwant    %+v", got, public(want))
	}
	if *found != *created {
		t.Errorf("found %+v, created %+v", found, created)
	}
	raw, err := base64.RawURLEncoding.DecodeString(secret.Reveal())
	if err != nil || len(raw) != 32 {
		t.Errorf("the cookie's value has %d bytes, %v; want 256 bits", len(raw), err)
	}
	if !session.ValidID(found.ID) {
		t.Errorf("%q is no id", found.ID)
	}
	again, _ := h.signIn(from(alice, "00u1", "sid-1"))
	if again.Reveal() == secret.Reveal() {
		t.Error("two sign-ins have one value")
	}
	h.wantLive("the first after the second", secret)
}

// public drops what is not exported.
func public(x session.Session) map[string]any {
	return map[string]any{"id": x.ID, "principal": x.Principal, "epoch": x.Epoch, "created": x.Created, "expires": x.Expires,
		"iss": x.Issuer, "sub": x.Subject, "sid": x.ProviderSession, "method": x.Method, "client": x.Client, "agent": x.UserAgent}
}

// TestCreateRefuses: what would not be read back as it was, or belongs to nobody who can sign in.
func TestCreateRefuses(t *testing.T) {
	h := newHouse(t)
	for name, change := range map[string]func(*session.NewSession){
		"nobody":                    func(n *session.NewSession) { n.Principal = iam.PrincipalRef{} },
		"a service account":         func(n *session.NewSession) { n.Principal = iam.ServiceAccountID("sa_1").Ref() },
		"a person without id":       func(n *session.NewSession) { n.Principal = iam.UserID("").Ref() },
		"an endless id":             func(n *session.NewSession) { n.Principal = iam.UserID(strings.Repeat("u", 129)).Ref() },
		"no method":                 func(n *session.NewSession) { n.Method = "" },
		"an unknown method":         func(n *session.NewSession) { n.Method = "saml" },
		"an endless subject":        func(n *session.NewSession) { n.Subject = strings.Repeat("s", 1025) },
		"a broken character":        func(n *session.NewSession) { n.Subject = "a\xff" },
		"a line break in a sid":     func(n *session.NewSession) { n.ProviderSession = "a\nb" },
		"NUL in an issuer":          func(n *session.NewSession) { n.Issuer = "https://a\x00" },
		"a subject without issuer":  func(n *session.NewSession) { n.Issuer, n.ProviderSession = "", "" },
		"a session without issuer":  func(n *session.NewSession) { n.Issuer, n.Subject = "", "" },
		"a C1 control in a subject": func(n *session.NewSession) { n.Subject = "a\u0085b" },
	} {
		n := from(alice, "00u1", "sid-1")
		change(&n)
		secret, x, err := h.Create(t.Context(), n)
		if iam.KindOf(err) != iam.KindInvalid || x != nil || !secret.IsZero() {
			t.Errorf("%s: %v, %v, want it refused as invalid", name, x, err)
		}
	}
	if all := h.records(); len(all) != 0 {
		t.Errorf("refused sessions left %d records", len(all))
	}
}

func TestUserAgent(t *testing.T) {
	h := newHouse(t)
	for sent, want := range map[string]string{
		"curl/8":                       "curl/8",
		"a\r\nSet-Cookie: x":           "a??Set-Cookie: x",
		"\x1b[2Jx":                     "?[2Jx",
		"é":                            "??",
		strings.Repeat("a", 1<<20):     strings.Repeat("a", 128),
		strings.Repeat("a", 127) + "é": strings.Repeat("a", 127) + "?",
	} {
		n := from(alice, "", "")
		n.UserAgent = sent
		n.Client = netip.MustParseAddr("::ffff:192.0.2.1%eth0")
		secret, _ := h.signIn(n)
		x, err := h.find(secret)
		h.ok(err)
		if x.UserAgent != want {
			t.Errorf("%.40q is kept as %q", sent, x.UserAgent)
		}
		if x.Client != netip.MustParseAddr("192.0.2.1") {
			t.Errorf("the client is kept as %s", x.Client)
		}
	}
}

// TestFormOfValues: a value that can be none of ours is refused before the store is asked.
func TestFormOfValues(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.signIn(from(alice, "00u1", ""))
	good := secret.Reveal()
	// 43 characters hold two bits more than 256: four spellings decode to one value, one is right.
	last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", good[42])
	other := good[:42] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[last+1])
	before := h.store.reads.Load()
	for name, value := range map[string]string{
		"nothing":          "",
		"cut":              good[:42],
		"longer":           good + "A",
		"padded":           good + "=",
		"quoted":           `"` + good + `"`,
		"another spelling": other,
		"a blank":          " " + good[1:],
		"a line break":     "\n" + good[1:],
		"base64 of files":  "+/" + good[2:],
		"an API key":       "wbg-0123456789012345678901234567890123456789",
		"a megabyte":       strings.Repeat("A", 1<<20),
		"its own hash":     h.records()[0].Key,
	} {
		h.wantEnded(name, iam.NewSecret(value))
		h.ok(h.End(t.Context(), iam.NewSecret(value)))
		if token, err := h.IDToken(t.Context(), iam.NewSecret(value)); err != nil || !token.IsZero() {
			t.Errorf("%s: an ID token: %v, %v", name, token, err)
		}
	}
	if n := h.store.reads.Load() - before; n != 0 {
		t.Errorf("the store was read %d times", n)
	}
	h.wantEnded("an unknown value", iam.NewSecret(strings.Repeat("A", 43)))
	h.wantLive("the good value", secret)
}

// TestExpiry: the life is absolute, and over at its very end.
func TestExpiry(t *testing.T) {
	h := openHouse(t, t.TempDir(), session.Config{Length: 90 * time.Minute})
	secret, x := h.signIn(from(alice, "00u1", "sid-1"))
	for range 89 {
		h.pass(time.Minute)
		h.wantLive("in use", secret)
	}
	h.pass(time.Minute - time.Nanosecond)
	h.wantLive("just before its end", secret)
	if ids := h.listed(alice); !ids[x.ID] {
		t.Error("just before its end it is not listed")
	}
	h.pass(time.Nanosecond)
	h.wantEnded("at its end", secret)
	if len(h.listed(alice)) != 0 || len(h.listed(iam.PrincipalRef{})) != 0 {
		t.Error("an expired session is listed")
	}
	if _, err := h.EndByID(t.Context(), alice, x.ID); iam.KindOf(err) != iam.KindNotFound {
		t.Errorf("ending an expired session: %v", err)
	}
}

// TestShortestLength: any positive length is one.
func TestShortestLength(t *testing.T) {
	h := openHouse(t, t.TempDir(), session.Config{Length: time.Millisecond})
	secret, _ := h.signIn(from(alice, "", ""))
	h.wantLive("at once", secret)
	h.pass(time.Millisecond)
	h.wantEnded("after a millisecond", secret)
}

func TestList(t *testing.T) {
	h := newHouse(t)
	_, a := h.signIn(from(alice, "00u1", "sid-1"))
	_, b := h.signIn(from(alice, "", ""))
	_, c := h.signIn(from(bob, "00u2", "sid-2"))
	for _, l := range []struct {
		name  string
		owner iam.PrincipalRef
		want  []string
	}{
		{"alice", alice, []string{a.ID, b.ID}},
		{"bob", bob, []string{c.ID}},
		{"everybody", iam.PrincipalRef{}, []string{a.ID, b.ID, c.ID}},
		{"nobody known", iam.UserID("usr_a").Ref(), nil},
		{"a service account of that id", iam.ServiceAccountID("usr_alice").Ref(), nil},
	} {
		got := h.listed(l.owner)
		for _, id := range l.want {
			if !got[id] {
				t.Errorf("%s: %s is not listed", l.name, id)
			}
		}
		if len(got) != len(l.want) {
			t.Errorf("%s: %d sessions are listed, want %d", l.name, len(got), len(l.want))
		}
	}
	stop := errors.New("enough")
	calls := 0
	err := h.List(t.Context(), iam.PrincipalRef{}, func(*session.Session) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("after an error: %d calls, %v", calls, err)
	}
}

// TestBoundPerPerson: one person's sign-ins do not fill the store (threats D02, D03), and nobody else
// pays for them.
func TestBoundPerPerson(t *testing.T) {
	h := newHouse(t)
	theirs, _ := h.signIn(from(bob, "00u2", "sid-bob"))
	var mine []iam.Secret
	for range session.MaxPerPerson {
		h.pass(time.Second)
		secret, _ := h.signIn(from(alice, "00u1", "sid-1"))
		mine = append(mine, secret)
	}
	h.wantLive("the oldest at the bound", mine[0])
	size := len(h.records())
	for i := range 5 {
		h.pass(time.Second)
		secret, _ := h.signIn(from(alice, "00u1", "sid-1"))
		mine = append(mine, secret)
		h.wantEnded("the oldest beyond the bound", mine[i])
		h.wantLive("the second oldest", mine[i+1])
		h.wantLive("the newest", secret)
	}
	h.wantLive("somebody else", theirs)
	if got := len(h.records()); got != size {
		t.Errorf("the store went from %d records to %d", size, got)
	}
	if n := len(h.listed(alice)); n != session.MaxPerPerson {
		t.Errorf("%d sessions are listed", n)
	}
}

// TestSignInsAtOnce: sign-ins of one person at the bound do not fail, and the bound holds again with
// the next.
func TestSignInsAtOnce(t *testing.T) {
	h := newHouse(t)
	var all sync.WaitGroup
	for range session.MaxPerPerson + 20 {
		all.Go(func() {
			if _, _, err := h.Create(context.Background(), from(alice, "00u1", "sid-1")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	h.signIn(from(alice, "00u1", "sid-1"))
	if n := len(h.listed(alice)); n > session.MaxPerPerson {
		t.Errorf("%d sessions are left", n)
	}
}

// FuzzFind: of all values, the one that was given out finds the session.
func FuzzFind(f *testing.F) {
	h := newHouse(f)
	secret, x := h.signIn(from(alice, "00u1", "sid-1"))
	for _, value := range []string{secret.Reveal(), "", secret.Reveal() + "=", strings.Repeat("A", 43), strings.Repeat("\n", 43), x.ID} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		found, err := h.find(iam.NewSecret(value))
		switch {
		case value == secret.Reveal() && (err != nil || found.ID != x.ID):
			t.Errorf("the value finds %v, %v", found, err)
		case value != secret.Reveal() && iam.KindOf(err) != iam.KindUnauthenticated:
			t.Errorf("%q finds %v, %v", value, found, err)
		}
	})
}
