package tokenexchange

import (
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func (h *house) works(token iam.Secret) bool {
	h.t.Helper()
	_, err := h.Identify(h.ctx, token)
	if err != nil && (iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != ReasonRevoked) {
		h.t.Errorf("refused as %s: %v", iam.ReasonOf(err), err)
	}
	return err == nil
}

func TestRevokeOneToken(t *testing.T) {
	h := newHouse(t)
	first, second := h.exchange(h.assertion(nil)), h.exchange(h.assertion(nil))
	if !h.works(first.Token) || !h.works(second.Token) {
		t.Fatal("they do not work")
	}
	h.must(h.RevokeToken(h.ctx, first.ID))
	if h.works(first.Token) || !h.works(second.Token) {
		t.Error("not the one that was revoked ended, or not that alone")
	}
	for _, id := range []string{"", "x", strings.Repeat("a", 31), strings.Repeat("g", 32), "../" + strings.Repeat("a", 29)} {
		if err := h.RevokeToken(h.ctx, id); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%q: %v", id, err)
		}
	}
	h.must(h.RevokeToken(h.ctx, strings.ToUpper(second.ID)))
	if h.works(second.Token) {
		t.Error("a token whose id was written in capitals still works")
	}
	h.must(h.Collect(h.ctx))
	if h.works(first.Token) {
		t.Error("the mark was collected before the token's end")
	}
	h.later(MaxLifetime + leeway + time.Second)
	h.must(h.Collect(h.ctx))
	marks, err := h.Cache.Store().List(h.ctx, h.names.revoked, "", 0)
	if err != nil || len(marks) != 0 {
		t.Errorf("%d marks are left (%v)", len(marks), err)
	}
}

func TestRevokeAllOfAPrincipal(t *testing.T) {
	h := newHouse(t)
	hers, its := h.exchange(h.assertion(nil)), h.exchange(h.assertion(map[string]any{"sub": "job:train"}))
	if !h.works(hers.Token) || !h.works(its.Token) {
		t.Fatal("they do not work")
	}
	h.must(h.Directory.EndCredentials(h.ctx, h.alice.Ref()))
	if h.works(hers.Token) || !h.works(its.Token) {
		t.Error("not hers ended, or not hers alone")
	}
	if !h.works(h.exchange(h.assertion(nil)).Token) {
		t.Error("what she exchanges afterwards does not work")
	}
}

func TestRevokeBefore(t *testing.T) {
	h := newHouse(t, func(c *Config) { // whose clock shows 0.7 s after the whole second
		seconds := c.Now
		c.Now = func() time.Time { return seconds().Add(700 * time.Millisecond) }
	})
	old := h.exchange(h.assertion(nil))
	if !h.works(old.Token) {
		t.Fatal("it does not work")
	}
	now := time.Unix(h.now.Load(), 0)
	if err := h.RevokeBefore(h.ctx, now.Add(time.Second)); iam.KindOf(err) != iam.KindInvalid {
		t.Errorf("a moment to come: %v", err)
	}
	h.must(h.RevokeBefore(h.ctx, now.Add(500*time.Millisecond)))
	if h.works(old.Token) {
		t.Error("it still works")
	}
	// A token of the same second as the moment, but after it, must not be dead from birth.
	if !h.works(h.exchange(h.assertion(nil)).Token) {
		t.Error("a later one does not work")
	}
	h.must(h.RevokeBefore(h.ctx, now.Add(-time.Hour)))
	if h.works(old.Token) {
		t.Error("an earlier moment gave it back")
	}
}

// TestIssuerNoLongerTrusted: what was had for its assertions ends with it.
func TestIssuerNoLongerTrusted(t *testing.T) {
	h := newHouse(t)
	const url = "https://ci.acme.test"
	h.must(h.CreateIssuer(h.ctx, TrustedIssuer{URL: url, Keys: keySetOf(t, h.key)}))
	assertion := h.assertion(map[string]any{"iss": url})
	made := h.exchange(assertion)
	if !h.works(made.Token) {
		t.Fatal("it does not work")
	}
	h.must(h.SetIssuer(h.ctx, url, func(t *TrustedIssuer) { t.Audiences = []string{"other"} }))
	if got := h.refusal(assertion); got != ReasonAudience {
		t.Errorf("after a change of audience: refused as %s", got)
	}
	source := func() string { // of the issuer's keys, as it is recorded now
		recorded, err := h.recorded(h.ctx, h.Cache.View())
		h.must(err)
		return recorded[url].source()
	}
	before := source()
	h.must(h.SetIssuer(h.ctx, url, func(i *TrustedIssuer) { i.Keys = keySetOf(t, newSigner(t)) }))
	if _, there := h.KeySets.find(before); there || source() == before {
		t.Error("the keys of before are still kept")
	}
	if got := h.refusal(h.assertion(map[string]any{"iss": url, "aud": "other"})); got != jws.ReasonUnknownKey {
		t.Errorf("after a change of keys: refused as %s", got)
	}
	last := source()
	if _, there := h.KeySets.find(last); !there {
		t.Error("the new keys are not kept")
	}
	h.must(h.DeleteIssuer(h.ctx, url))
	if _, there := h.KeySets.find(last); there {
		t.Error("the keys of a deleted issuer are still kept")
	}
	if got := h.refusal(assertion); got != ReasonForeign {
		t.Errorf("after deletion: refused as %s", got)
	}
	if h.works(made.Token) {
		t.Error("the access token still works")
	}
	for name, err := range map[string]error{
		"deleting it again":         h.DeleteIssuer(h.ctx, url),
		"changing what is not":      h.SetIssuer(h.ctx, url, func(*TrustedIssuer) {}),
		"deleting a configured one": h.DeleteIssuer(h.ctx, issuerURL),
		"creating a configured one": h.CreateIssuer(h.ctx, TrustedIssuer{URL: issuerURL}),
	} {
		if kind := iam.KindOf(err); kind != iam.KindNotFound && kind != iam.KindConflict {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIssuersAreListed(t *testing.T) {
	h := newHouse(t)
	h.must(h.CreateIssuer(h.ctx, TrustedIssuer{URL: "https://b.test"}))
	h.must(h.CreateIssuer(h.ctx, TrustedIssuer{URL: "https://a.test"}))
	if err := h.CreateIssuer(h.ctx, TrustedIssuer{URL: "https://a.test"}); iam.KindOf(err) != iam.KindConflict {
		t.Errorf("again: %v", err)
	}
	all, err := h.Issuers(h.ctx)
	h.must(err)
	var got []string
	for _, i := range all {
		got = append(got, i.URL)
	}
	if strings.Join(got, " ") != issuerURL+" https://a.test https://b.test" || !all[0].Configured || all[1].Configured {
		t.Errorf("%v", got)
	}
}

// TestRaceOfTwoAdmins: both issuers are there in the end.
func TestRaceOfTwoAdmins(t *testing.T) {
	h := newHouse(t)
	done := make(chan error, 8)
	for i := range 8 {
		go func() { done <- h.CreateIssuer(h.ctx, TrustedIssuer{URL: "https://" + string(rune('a'+i)) + ".test"}) }()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if all, err := h.Issuers(h.ctx); err != nil || len(all) != 9 {
		t.Errorf("%d issuers (%v)", len(all), err)
	}
}

// TestSigningKeyDeleted: a key that others know ends with what it signed.
func TestSigningKeyDeleted(t *testing.T) {
	h := newHouse(t)
	made := h.exchange(h.assertion(nil))
	list, err := h.Signing.List(h.ctx)
	h.must(err)
	h.must(h.Signing.Delete(h.ctx, list[0].ID))
	if _, err := h.Identify(h.ctx, made.Token); iam.KindOf(err) != iam.KindUnauthenticated {
		t.Errorf("what it signed: %v", err)
	}
	if !h.works(h.exchange(h.assertion(nil)).Token) {
		t.Error("what the next one signs does not work")
	}
}

// TestNoTokenIsStored is K06 and V01 for tokens: the store holds neither assertion nor access token.
func TestNoTokenIsStored(t *testing.T) {
	h := newHouse(t)
	assertion := h.assertion(nil)
	made := h.exchange(assertion)
	h.must(h.RevokeToken(h.ctx, made.ID))
	var records []store.Record
	for after := ""; ; after = records[len(records)-1].Key {
		var err error
		records, err = h.Cache.Store().List(h.ctx, "acme/", after, 0)
		h.must(err)
		for _, r := range records {
			for _, secret := range []iam.Secret{assertion, made.Token} {
				signature := secret.Reveal()[strings.LastIndexByte(secret.Reveal(), '.')+1:]
				if strings.Contains(string(r.Value)+r.Key, signature) {
					t.Errorf("%s holds a token", r.Key)
				}
			}
		}
		if len(records) < store.MaxListed {
			return
		}
	}
}
