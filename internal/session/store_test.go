package session_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// TestNothingSecretIsStored searches the store and its file for a cookie's value and an ID token
// (threats K06).
func TestNothingSecretIsStored(t *testing.T) {
	directory := t.TempDir()
	h := openHouse(t, directory, session.Config{})
	n := from(alice, "00u1", "sid-1")
	n.IDToken = iam.NewSecret("eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIwMHUxIn0.c2lnbmF0dXJl")
	secret, x := h.signIn(n)
	raw, err := base64.RawURLEncoding.DecodeString(secret.Reveal())
	h.ok(err)
	file, err := os.ReadFile(directory + "/" + embedded.FileName)
	h.ok(err)
	if !bytes.Contains(file, []byte(x.ID)) {
		t.Error("the file was not searched: not even the session's id is in it")
	}
	for what, text := range map[string][]byte{
		"the value": []byte(secret.Reveal()), "its bits": raw, "its hex": []byte(hex.EncodeToString(raw)),
		"the ID token": []byte(n.IDToken.Reveal()), "the ID token's claims": []byte("eyJzdWIiOiIwMHUxIn0"),
	} {
		if bytes.Contains(file, text) {
			t.Errorf("%s is in the file", what)
		}
	}
	if printed := fmt.Sprintf("%v %+v %#v", secret, x, *x); strings.Contains(printed, secret.Reveal()) {
		t.Error("the value is printed")
	}
}

func TestIDToken(t *testing.T) {
	h := newHouse(t)
	with := func(token string) iam.Secret {
		n := from(alice, "00u1", "sid-1")
		n.IDToken = iam.NewSecret(token)
		secret, _ := h.signIn(n)
		return secret
	}
	longest := strings.Repeat("e", session.MaxIDTokenBytes)
	for _, c := range []struct{ name, token, want string }{
		{"one", "header.claims.signature", "header.claims.signature"},
		{"none", "", ""},
		{"the longest", longest, longest},
		{"one too long to be of use", longest + "e", ""},
	} {
		secret := with(c.token)
		token, err := h.IDToken(t.Context(), secret)
		if err != nil || token.Reveal() != c.want {
			t.Errorf("%s: %d bytes, %v; want %d", c.name, len(token.Reveal()), err, len(c.want))
		}
		h.ok(h.End(t.Context(), secret))
		if token, err := h.IDToken(t.Context(), secret); err != nil || !token.IsZero() {
			t.Errorf("%s: after the end there is an ID token (%v)", c.name, err)
		}
	}

	// One session's ID token under another's name opens for nobody.
	mine, theirs := with("mine"), with("theirs")
	var hints []store.Record
	for _, r := range h.records() {
		if strings.HasPrefix(r.Key, space+"/session_hint/") {
			hints = append(hints, r)
		}
	}
	if len(hints) != 2 {
		t.Fatalf("%d sealed ID tokens, want 2", len(hints))
	}
	_, err := h.cache.Commit(t.Context(), store.Write{Key: hints[0].Key, Value: hints[1].Value}, store.Write{Key: hints[1].Key, Value: hints[0].Value})
	h.ok(err)
	for _, secret := range []iam.Secret{mine, theirs} {
		token, err := h.IDToken(t.Context(), secret)
		if !token.IsZero() {
			t.Error("a moved ID token opens")
		}
		h.wantUnavailable("a moved ID token", err)
	}
}

// fill makes sessions of as many people, many at a time, so that they share the disk's syncs.
func (h *house) fill(n int) []iam.Secret {
	h.Helper()
	secrets := make([]iam.Secret, n)
	var all sync.WaitGroup
	for worker := range 64 {
		all.Go(func() {
			for i := worker; i < n; i += 64 {
				secret, _, err := h.Create(context.Background(), from(iam.NewUserID().Ref(), fmt.Sprintf("00u%017d", i), fmt.Sprintf("%036d", i)))
				if err != nil {
					h.Error(err)
					return
				}
				secrets[i] = secret
			}
		})
	}
	all.Wait()
	return secrets
}

// TestRestart: sessions outlive the process; under another key they are unknown.
func TestRestart(t *testing.T) {
	directory := t.TempDir()
	var secret iam.Secret
	t.Run("before", func(t *testing.T) {
		h := openHouse(t, directory, session.Config{})
		n := from(alice, "00u1", "sid-1")
		n.IDToken = iam.NewSecret("token")
		secret, _ = h.signIn(n)
		h.once("logout", "jti", noon.Add(time.Hour), true)
	})
	t.Run("another key", func(t *testing.T) {
		openHouse(t, directory, session.Config{HMACKey: [32]byte{8}}).wantEnded("under another key", secret)
	})
	t.Run("after", func(t *testing.T) {
		h := openHouse(t, directory, session.Config{Length: time.Minute})
		x, err := h.find(secret)
		h.ok(err)
		if x.Expires != noon.Add(720*time.Hour) {
			t.Errorf("another length moved its end to %s", x.Expires)
		}
		h.once("logout", "jti", noon.Add(time.Hour), false)
		if token, err := h.IDToken(t.Context(), secret); err != nil || token.Reveal() != "token" {
			t.Errorf("its ID token is lost: %v", err)
		}
		if n, err := h.EndAtProvider(t.Context(), "https://acme.okta.com", "", "sid-1"); n != 1 || err != nil {
			t.Errorf("ended %d, %v", n, err)
		}
	})
}

// TestStoreAway: nothing is unknown, ended or done because the store does not answer (F13, O14).
func TestStoreAway(t *testing.T) {
	h := newHouse(t)
	cached, x := h.signIn(from(alice, "00u1", "sid-1"))
	h.waitCached(cached)
	uncached, _ := h.signIn(from(bob, "00u2", "sid-2"))
	h.store.away.Store(true)
	h.wantLive("cached", cached)
	_, err := h.find(uncached)
	h.wantUnavailable("finding", err)
	_, _, err = h.Create(t.Context(), from(alice, "00u1", "sid-1"))
	h.wantUnavailable("creating", err)
	h.wantUnavailable("ending", h.End(t.Context(), uncached))
	_, err = h.EndByID(t.Context(), alice, x.ID)
	h.wantUnavailable("ending by id", err)
	_, err = h.EndAll(t.Context(), alice)
	h.wantUnavailable("ending all", err)
	_, err = h.EndAtProvider(t.Context(), "https://acme.okta.com", "00u1", "")
	h.wantUnavailable("ending at a provider", err)
	_, err = h.Collect(t.Context())
	h.wantUnavailable("collecting", err)
	_, err = h.IDToken(t.Context(), cached)
	h.wantUnavailable("the ID token", err)
	h.wantUnavailable("listing", h.List(t.Context(), iam.PrincipalRef{}, func(*session.Session) error { return nil }))
	h.wantUnavailable("listing one's own", h.List(t.Context(), alice, func(*session.Session) error { return nil }))
	first, err := h.Once(t.Context(), "logout", "jti", noon)
	h.wantUnavailable("remembering", err)
	if first {
		t.Error("an identifier counts as seen for the first time although it was not remembered")
	}
	h.store.away.Store(false)
	h.wantLive("afterwards", cached)
	h.wantLive("afterwards", uncached)
	h.once("logout", "jti", noon, true)
}

// waitCached waits until a session is found without reading the store.
func (h *house) waitCached(secret iam.Secret) {
	h.Helper()
	for range 1_000_000 {
		before := h.store.reads.Load()
		h.wantLive("before", secret)
		if h.store.reads.Load() == before {
			return
		}
	}
	h.Fatal("the session is never cached")
}

// TestDamagedRecord: a record that cannot be read is neither a session nor none.
func TestDamagedRecord(t *testing.T) {
	for name, value := range map[string]string{
		"no JSON": "x", "empty": "", "no object": "[]", "no principal": `{"from":1,"to":9000000000000}`,
		"a principal of no kind": `{"who":"admin:1","to":9000000000000}`,
		"a text as time":         `{"who":"user:usr_1","to":"never"}`,
		"another client":         `{"who":"user:usr_1","to":9000000000000,"ip":"x"}`,
	} {
		h := newHouse(t)
		secret, _ := h.signIn(from(alice, "00u1", "sid-1"))
		for _, r := range h.records() {
			if strings.HasPrefix(r.Key, space+"/session/") {
				_, err := h.cache.Commit(t.Context(), store.Write{Key: r.Key, Value: []byte(value)})
				h.ok(err)
			}
		}
		x, err := h.find(secret)
		if x != nil {
			t.Errorf("%s: a session", name)
		}
		h.wantUnavailable(name, err)
		_, err = h.EndAll(t.Context(), alice)
		h.wantUnavailable(name, err)
	}
}

// TestRoomPerSession: less than 1 KB for a session and all that finds it, in records and in the file
// (design section 9).
func TestRoomPerSession(t *testing.T) {
	directory := t.TempDir()
	h := openHouse(t, directory, session.Config{})
	const sessions = 4000
	size := func() int64 {
		info, err := os.Stat(directory + "/" + embedded.FileName)
		h.ok(err)
		return info.Size()
	}
	empty := size()
	h.fill(sessions)
	inRecords := 0
	h.ok(func() error {
		after := ""
		for {
			page, err := h.store.Store.List(t.Context(), space+"/", after, 0)
			if err != nil || len(page) == 0 {
				return err
			}
			for _, r := range page {
				inRecords += len(r.Key) + len(r.Value)
			}
			after = page[len(page)-1].Key
		}
	}())
	perSession, inFile := inRecords/sessions, int(size()-empty)/sessions
	t.Logf("%d bytes in records, %d in the file", perSession, inFile)
	if perSession >= 1000 {
		t.Errorf("a session takes %d bytes in records", perSession)
	}
}
