package tokenexchange

import (
	"context"
	"crypto/ecdsa"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// publisher is an issuer on this machine whose key set is fetched.
type publisher struct {
	url     string
	keys    atomic.Pointer[[]byte]
	fetches atomic.Int64
	gate    atomic.Pointer[chan struct{}] // when set, key sets wait until it is closed
}

func newPublisher(t *testing.T, keys ...*jws.PrivateKey) *publisher {
	t.Helper()
	p := new(publisher)
	p.publish(t, keys...)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			w.Write([]byte(`{"issuer":"` + p.url + `","jwks_uri":"` + p.url + `/keys"}`))
			return
		}
		p.fetches.Add(1)
		if gate := p.gate.Load(); gate != nil {
			<-*gate
		}
		w.Write(*p.keys.Load())
	}))
	t.Cleanup(s.Close)
	p.url = s.URL
	return p
}

func (p *publisher) publish(t *testing.T, keys ...*jws.PrivateKey) {
	t.Helper()
	set := []byte(keySetOf(t, keys...))
	p.keys.Store(&set)
}

func newSigner(t *testing.T) *jws.PrivateKey {
	t.Helper()
	key, err := jws.NewPrivateKey("ES256")
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// withPublisher is a house that trusts the publisher too.
func withPublisher(t *testing.T, p *publisher) *house {
	t.Helper()
	h := newHouse(t, func(c *Config) { c.Issuers = append(c.Issuers, TrustedIssuer{URL: p.url}) })
	t.Cleanup(h.KeySets.Close)
	return h
}

// by is a good assertion of the publisher's, signed with a key.
func (p *publisher) by(h *house, key *jws.PrivateKey) iam.Secret {
	return h.sign(key, "JWT", h.claims(map[string]any{"iss": p.url}))
}

// TestKeyTakenBack is J16: an issuer that takes a new key back publishes the same keys as before it had
// that key. What was signed with it must not count again because of that.
func TestKeyTakenBack(t *testing.T) {
	first, second := newSigner(t), newSigner(t)
	p := newPublisher(t, first)
	h := withPublisher(t, p)
	old := p.by(h, first)
	h.exchange(old)

	p.publish(t, first, second)
	h.later(10 * time.Second)
	taken := p.by(h, second)
	h.exchange(taken) // which is how the rotation is noticed

	p.publish(t, first)
	h.later(10 * time.Second)
	if got := h.refusal(p.by(h, newSigner(t))); got != jws.ReasonUnknownKey {
		t.Fatalf("an unknown key, for which the keys are fetched again, is refused as %s", got)
	}
	h.neverAccepted(taken)
	h.exchange(old)
}

// neverAccepted shows a token that must not count until a refusal would be remembered, if it were
// one to remember: the cache takes what it is given in its own time.
func (h *house) neverAccepted(token iam.Secret) {
	h.t.Helper()
	for range 1000 {
		if _, err := h.Identify(h.ctx, token); err == nil {
			h.t.Fatal("an assertion by a key that is not published is accepted")
		}
	}
}

// TestUnknownKeyIsNotForGood is J16: an assertion that came before its key was published counts as soon
// as the keys may be fetched again.
func TestUnknownKeyIsNotForGood(t *testing.T) {
	first, second := newSigner(t), newSigner(t)
	p := newPublisher(t, first)
	h := withPublisher(t, p)
	h.exchange(p.by(h, first))
	h.later(10 * time.Second)
	early := p.by(h, second)
	if got := h.refusal(early); got != jws.ReasonUnknownKey {
		t.Fatalf("refused as %s", got)
	}
	h.neverAccepted(early)
	p.publish(t, first, second)
	h.later(10 * time.Second)
	h.exchange(early)
}

// jwkOf is a published key without id.
func jwkOf(t *testing.T, key *ecdsa.PrivateKey) string {
	t.Helper()
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return `{"kty":"EC","crv":"P-256","x":"` + encoded(string(point[1:33])) + `","y":"` + encoded(string(point[33:])) + `"}`
}

// TestRotationWithoutKeyIDs is J16 and J21: an issuer whose keys have no names can replace them, too.
func TestRotationWithoutKeyIDs(t *testing.T) {
	first, second, nobody := newECKey(t), newECKey(t), newECKey(t)
	p := newPublisher(t)
	publish := func(key *ecdsa.PrivateKey) {
		set := []byte(`{"keys":[` + jwkOf(t, key) + `]}`)
		p.keys.Store(&set)
	}
	publish(first)
	h := withPublisher(t, p)
	by := func(key *ecdsa.PrivateKey) iam.Secret {
		return withoutKeyID(t, key, "JWT", h.claims(map[string]any{"iss": p.url}))
	}
	h.exchange(by(first))
	publish(second)
	rotated := by(second)
	if got := h.refusal(rotated); got != jws.ReasonSignature { // in one wording, as refusal looks
		t.Errorf("a moment after a fetch: refused as %s", got)
	}
	h.neverAccepted(rotated)
	h.later(10 * time.Second)
	h.exchange(rotated) // the refusal was not for good
	if got := h.refusal(by(first)); got != jws.ReasonSignature {
		t.Errorf("by the key of before: refused as %s", got)
	}
	h.later(10 * time.Second)
	before := p.fetches.Load()
	for range 100 {
		if got := h.refusal(by(nobody)); got != jws.ReasonSignature {
			t.Fatalf("by nobody's key: refused as %s", got)
		}
	}
	if n := p.fetches.Load() - before; n != 1 {
		t.Errorf("a flood made the gateway fetch %d times, want once", n)
	}
}

// TestLeaderWhoLeaves: whoever examines a token for all goes away while the issuer is asked; the others
// do not fail with it, and its failure is not remembered.
func TestLeaderWhoLeaves(t *testing.T) {
	key, gate := newSigner(t), make(chan struct{})
	p := newPublisher(t, key)
	p.gate.Store(&gate)
	h := withPublisher(t, p)
	assertion := p.by(h, key)
	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := h.Identify(leaving, assertion)
		left <- err
	}()
	for p.fetches.Load() == 0 { // until the issuer is asked
		runtime.Gosched()
	}
	followers := make(chan error)
	for range 10 {
		go func() {
			_, err := h.Identify(h.ctx, assertion)
			followers <- err
		}()
	}
	leave()
	if err := <-left; iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("the one who left: %v", err)
	}
	close(gate)
	for range 10 {
		if err := <-followers; err != nil {
			t.Errorf("one who stayed: %v", err)
		}
	}
	if n := p.fetches.Load(); n != 1 {
		t.Errorf("the key set was fetched %d times", n)
	}
}

func pinnedIssuer(t *testing.T, url string) *TrustedIssuer {
	t.Helper()
	return &TrustedIssuer{URL: url, Keys: keySetOf(t, newSigner(t))}
}

func TestGenerationFollowsTheKeySets(t *testing.T) {
	k := &KeySets{}
	t.Cleanup(k.Close)
	if k.generation() != 0 {
		t.Error("without key sets there is a generation")
	}
	first, second := pinnedIssuer(t, "https://first.test"), pinnedIssuer(t, "https://second.test")
	set, err := k.of(first)
	if err != nil {
		t.Fatal(err)
	}
	one := k.generation()
	if one == 0 {
		t.Error("with a key set there is no generation")
	}
	if again, err := k.of(first); err != nil || again != set || k.generation() != one {
		t.Errorf("the same issuer has another key set the second time (%v)", err)
	}
	if _, err := k.of(second); err != nil {
		t.Fatal(err)
	}
	if k.generation() == one {
		t.Error("another issuer's keys leave the generation as it was")
	}
	k.keep(map[string]bool{first.source(): true})
	if k.generation() != one {
		t.Error("the keys of a dropped issuer still count")
	}
	k.keep(nil)
	if k.generation() != 0 {
		t.Error("all issuers are dropped, and keys still count")
	}
}

// TestKeySetsAreReadWhileTheyChange is for the race detector.
func TestKeySetsAreReadWhileTheyChange(t *testing.T) {
	k := &KeySets{}
	t.Cleanup(k.Close)
	kept := pinnedIssuer(t, "https://kept.test")
	set, err := k.of(kept)
	if err != nil {
		t.Fatal(err)
	}
	other := pinnedIssuer(t, "https://other.test")
	var running sync.WaitGroup
	for range 4 {
		running.Go(func() {
			for range 100 {
				if _, err := k.of(other); err != nil {
					t.Error(err)
				}
				k.keep(map[string]bool{kept.source(): true})
				if k.generation() == 0 {
					t.Error("the keys of the issuer that stays are gone")
				}
			}
		})
	}
	running.Wait()
	if again, err := k.of(kept); err != nil || again != set {
		t.Errorf("the issuer that stays has another key set now (%v)", err)
	}
}
