package login

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/vault"
)

// safe keeps keys by owner.
type safe struct {
	keys map[iam.EntityID]string
	down error
}

func (s *safe) Find(_ context.Context, owner iam.EntityID) (vault.Entry, bool, error) {
	_, ok := s.keys[owner]
	return vault.Entry{Owner: owner, Set: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}, ok, s.down
}

func (s *safe) Set(_ context.Context, owner iam.EntityID, key iam.Secret) (bool, error) {
	if err := vault.Check(key); err != nil {
		return false, err
	}
	_, replaced := s.keys[owner]
	s.keys[owner] = key.Reveal()
	return replaced, s.down
}

func (s *safe) Delete(_ context.Context, owner iam.EntityID) error {
	if _, ok := s.keys[owner]; !ok {
		return iam.NotFoundf("none")
	}
	delete(s.keys, owner)
	return s.down
}

const serverKey = "local-5e12e700000000000000000000000000canary"

func TestStoringOnesKeyOfTheServer(t *testing.T) {
	s := &safe{keys: map[iam.EntityID]string{}}
	h := newHouse(t, func(c *Config) { c.UpstreamKeys = s })
	b := h.browser()
	b.signIn("/oidc/login")
	alice, err := h.Login.Directory.FindUser(context.Background(), "alice")
	h.ok(err)
	post := func(form string, keys ...string) answer {
		t.Helper()
		return b.post("/authorize", url.Values{"form": {form}, "token": {b.token("/authorize")}, "key": keys})
	}
	if page := b.get("/authorize").Body.String(); !strings.Contains(page, "None is stored yet") || strings.Contains(page, "delete-upstream") {
		t.Error(page)
	}
	for _, keys := range [][]string{{"  " + serverKey + "\r\n"}, {serverKey}} { // set, and set again
		if a := post("set-upstream", keys...); a.Code != http.StatusSeeOther || a.location() != "/authorize" {
			t.Errorf("%d %s", a.Code, a.Body)
		}
		if s.keys[alice.PersonalEntity()] != serverKey || len(s.keys) != 1 {
			t.Errorf("kept are %v", s.keys)
		}
		if e := h.last(); e.Action != ActionUpstreamKeySet || e.User != alice.Ref() || strings.Contains(fmt.Sprintf("%+v", e), serverKey) {
			t.Errorf("%+v", e)
		}
	}
	page := b.get("/authorize").Body.String()
	if !strings.Contains(page, "20 November 2026, 12:00 UTC") || !strings.Contains(page, "delete-upstream") || strings.Contains(page, serverKey) {
		t.Error(page)
	}
	events := len(h.events)
	for name, keys := range map[string][]string{"none": nil, "two": {serverKey, serverKey}, "empty": {""}, "short": {"x"}, "two lines": {serverKey + "\r\nX-Evil: 1"}, "large": {strings.Repeat("a", 600)}} {
		a := post("set-upstream", keys...)
		if a.Code != http.StatusBadRequest || s.keys[alice.PersonalEntity()] != serverKey || strings.Contains(a.Body.String(), serverKey) {
			t.Errorf("%s: %d, kept are %v", name, a.Code, s.keys)
		}
	}
	for name, change := range map[string]func(*http.Request){
		"cross-site":   func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"foreign":      func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
		"without":      func(r *http.Request) { r.Header.Del("Cookie") },
		"another type": func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
	} {
		for _, form := range []string{"set-upstream", "delete-upstream"} {
			body := url.Values{"form": {form}, "token": {b.token("/authorize")}, "key": {"local-evil0000000000"}}.Encode()
			if a := b.send(http.MethodPost, "/authorize", body, change); a.Code < 400 || s.keys[alice.PersonalEntity()] != serverKey {
				t.Errorf("%s, %s: %d, kept are %v", name, form, a.Code, s.keys)
			}
		}
	}
	if len(h.events) != events {
		t.Errorf("reported %+v", h.last())
	}
	if a := b.post("/authorize", url.Values{"form": {"set-upstream"}, "token": {"x"}, "key": {serverKey}}); a.Code != http.StatusForbidden {
		t.Errorf("a form with another's token: %d", a.Code)
	}
	for range 2 { // gone is what was wanted
		if a := post("delete-upstream"); a.Code != http.StatusSeeOther || len(s.keys) != 0 {
			t.Errorf("%d, kept are %v", a.Code, s.keys)
		}
	}
	if h.last().Action != ActionUpstreamKeyDeleted {
		t.Errorf("%+v", h.last())
	}
	token := b.token("/authorize")
	s.down = iam.Unavailable("away", nil)
	if a := b.post("/authorize", url.Values{"form": {"set-upstream"}, "token": {token}, "key": {serverKey}}); a.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", a.Code)
	}
	if a := b.get("/authorize"); a.Code != http.StatusServiceUnavailable {
		t.Errorf("%d", a.Code)
	}
}

// Where the server is not asked with people's own keys, there is nowhere to store one.
func TestNoPlaceForAKeyOfTheServer(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser()
	b.signIn("/oidc/login")
	if page := b.get("/authorize").Body.String(); strings.Contains(page, "upstream") {
		t.Error(page)
	}
	for _, form := range []string{"set-upstream", "delete-upstream"} {
		if a := b.post("/authorize", url.Values{"form": {form}, "token": {b.token("/authorize")}, "key": {serverKey}}); a.Code != http.StatusBadRequest {
			t.Errorf("%s: %d", form, a.Code)
		}
	}
}
