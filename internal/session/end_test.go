package session_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func TestEnd(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.signIn(from(alice, "00u1", "sid-1"))
	other, _ := h.signIn(from(alice, "00u1", "sid-2"))
	h.wantLive("before", secret) // is cached now
	h.ok(h.End(t.Context(), secret))
	h.wantEnded("a copy of the cookie", secret)
	h.wantLive("the other browser", other)
	h.ok(h.End(t.Context(), secret))
	h.ok(h.End(t.Context(), other))
	if all := h.records(); len(all) != 0 {
		t.Errorf("%d records are left, such as %q", len(all), all[0].Key)
	}
}

func TestEndByID(t *testing.T) {
	h := newHouse(t)
	secret, x := h.signIn(from(alice, "00u1", "sid-1"))
	for name, c := range map[string]struct {
		owner iam.PrincipalRef
		id    string
		want  iam.Kind
	}{
		"somebody else's":      {bob, x.ID, iam.KindNotFound},
		"an unknown id":        {alice, "0123456789abcdef", iam.KindNotFound},
		"no id":                {alice, "", iam.KindInvalid},
		"the beginning of one": {alice, x.ID[:8], iam.KindInvalid},
		"capitals":             {alice, "ABCDEF0123456789", iam.KindInvalid},
		"a path":               {alice, "../session/01234", iam.KindInvalid},
	} {
		if got, err := h.EndByID(t.Context(), c.owner, c.id); iam.KindOf(err) != c.want || got != nil {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	h.wantLive("after attempts on it", secret)
	ended, err := h.EndByID(t.Context(), alice, x.ID)
	if err != nil || ended.ID != x.ID || ended.Principal != alice {
		t.Errorf("ended %+v, %v", ended, err)
	}
	h.wantEnded("by its id", secret)

	secret, x = h.signIn(from(bob, "00u2", ""))
	if ended, err := h.EndByID(t.Context(), iam.PrincipalRef{}, x.ID); err != nil || ended.Principal != bob {
		t.Errorf("an admin ended %+v, %v", ended, err)
	}
	h.wantEnded("by an admin", secret)
}

func TestEndAll(t *testing.T) {
	h := newHouse(t)
	var mine []iam.Secret
	for i := range 7 {
		secret, _ := h.signIn(from(alice, "00u1", fmt.Sprint("sid-", i)))
		h.wantLive("before", secret)
		mine = append(mine, secret)
	}
	theirs, _ := h.signIn(from(bob, "00u2", "sid-bob"))
	if n, err := h.EndAll(t.Context(), alice); n != 7 || err != nil {
		t.Errorf("ended %d, %v; want 7", n, err)
	}
	for _, secret := range mine {
		h.wantEnded("after EndAll", secret)
	}
	h.wantLive("somebody else", theirs)
	if n, err := h.EndAll(t.Context(), alice); n != 0 || err != nil {
		t.Errorf("again ended %d, %v; want 0", n, err)
	}
	if _, err := h.EndAll(t.Context(), iam.PrincipalRef{}); iam.KindOf(err) != iam.KindInvalid {
		t.Errorf("everybody's: %v, want it refused", err)
	}
}

// TestEndAtProvider: a logout at one provider touches its own sessions only (threats K09, O15, O16).
func TestEndAtProvider(t *testing.T) {
	const okta, entra = "https://acme.okta.com", "https://login.example/acme"
	type signIn struct {
		name, issuer, subject, sid string
		owner                      iam.PrincipalRef
	}
	all := []signIn{
		{"laptop", okta, "alice", "s1", alice},
		{"second tab", okta, "alice", "s1", alice},
		{"phone", okta, "alice", "s2", alice},
		{"without sid", okta, "alice", "", alice},
		{"another person", okta, "bob", "s3", bob},
		{"another provider", entra, "alice", "s1", alice},
		{"split elsewhere", okta + "a", "lice", "s1", bob},
		{"no provider", "", "", "", bob},
	}
	for _, c := range []struct {
		name, issuer, subject, sid string
		want                       []string
	}{
		{"a session", okta, "", "s1", []string{"laptop", "second tab"}},
		{"a session and its subject", okta, "alice", "s1", []string{"laptop", "second tab"}},
		{"a subject", okta, "alice", "", []string{"laptop", "second tab", "phone", "without sid"}},
		{"a subject as session", okta, "", "alice", nil},
		{"a session as subject", okta, "s1", "", nil},
		{"an unknown session", okta, "alice", "s9", nil},
		{"another case", okta, "Alice", "", nil},
		{"a trailing slash", okta + "/", "alice", "", nil},
		{"the other provider", entra, "", "s1", []string{"another provider"}},
	} {
		h := newHouse(t)
		secrets := map[string]iam.Secret{}
		for _, s := range all {
			n := from(s.owner, s.subject, s.sid)
			n.Issuer = s.issuer
			secrets[s.name], _ = h.signIn(n)
			h.wantLive(s.name, secrets[s.name])
		}
		if n, err := h.EndAtProvider(t.Context(), c.issuer, c.subject, c.sid); n != len(c.want) || err != nil {
			t.Errorf("%s: ended %d, %v; want %d", c.name, n, err, len(c.want))
		}
		for _, name := range c.want {
			h.wantEnded(c.name+": "+name, secrets[name])
			delete(secrets, name)
		}
		for name, secret := range secrets {
			h.wantLive(c.name+": "+name, secret)
		}
	}

	h := newHouse(t)
	for name, c := range map[string][3]string{
		"nothing": {}, "no issuer": {"", "alice", "s1"}, "an issuer alone": {okta, "", ""},
	} {
		if _, err := h.EndAtProvider(t.Context(), c[0], c[1], c[2]); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%s: %v, want it refused", name, err)
		}
	}
}

// TestTwoEndAtOnce: however many end one session, one is told that it has, and nothing is left.
func TestTwoEndAtOnce(t *testing.T) {
	h := newHouse(t)
	for range 30 {
		secret, x := h.signIn(from(alice, "00u1", "sid-1"))
		var told atomic.Int64
		count := func(n int, err error) {
			if err != nil {
				t.Error(err)
			}
			told.Add(int64(n))
		}
		byID := func() {
			ended, err := h.EndByID(context.Background(), alice, x.ID)
			switch {
			case err == nil && ended.ID == x.ID:
				count(1, nil)
			case iam.KindOf(err) != iam.KindNotFound:
				t.Error(ended, err)
			}
		}
		var all sync.WaitGroup
		all.Go(byID)
		all.Go(byID)
		all.Go(func() { count(h.EndAll(context.Background(), alice)) })
		all.Go(func() { count(h.EndAtProvider(context.Background(), "https://acme.okta.com", "00u1", "")) })
		all.Go(func() { count(h.EndAtProvider(context.Background(), "https://acme.okta.com", "", "sid-1")) })
		all.Wait()
		if n := told.Load(); n != 1 {
			t.Fatalf("%d were told that they had ended it", n)
		}
		h.wantEnded("after all", secret)
		h.ok(h.End(context.Background(), secret))
	}
	if all := h.records(); len(all) != 0 {
		t.Errorf("%d records are left, such as %q", len(all), all[0].Key)
	}
}

// TestEndWhileInUse: once End has returned, nobody finds the session, whatever was being read.
func TestEndWhileInUse(t *testing.T) {
	h := newHouse(t)
	for range 50 {
		secret, _ := h.signIn(from(alice, "00u1", "sid-1"))
		var ended atomic.Bool
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 200 {
					before := ended.Load()
					if _, err := h.find(secret); err == nil && before {
						t.Error("found after its end")
						return
					}
				}
			})
		}
		h.ok(h.End(context.Background(), secret))
		ended.Store(true)
		all.Wait()
	}
}

// TestOtherNode: what one node ends, another that has it cached does not find any more.
func TestOtherNode(t *testing.T) {
	one := newHouse(t)
	two := onStore(t, one.store.Store, session.Config{})
	secret, _ := one.signIn(from(alice, "00u1", "sid-1"))
	two.wantLive("on the other node", secret)
	one.ok(one.End(t.Context(), secret))
	one.wantEnded("on the same node", secret)
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := two.find(secret); iam.KindOf(err) == iam.KindUnauthenticated {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the other node still finds it after 10 s")
		}
	}
}

// TestLostOutcome: a commit that failed although it was made leaves no way in and blocks none.
func TestLostOutcome(t *testing.T) {
	h := newHouse(t)
	secret, _ := h.signIn(from(alice, "00u1", "sid-1"))
	h.wantLive("before", secret)
	h.store.before = func(writes []store.Write) {
		if _, err := h.store.Store.Commit(context.Background(), writes...); err != nil {
			t.Error(err)
		}
		h.store.away.Store(true)
	}
	h.wantUnavailable("ending", h.End(t.Context(), secret))
	h.store.before = nil
	h.store.away.Store(false)
	h.wantEnded("after an end whose outcome was lost", secret)
	h.ok(h.End(t.Context(), secret))
}
