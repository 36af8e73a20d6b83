package jws

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func newKeyFor(t testing.TB, a Algorithm) *PrivateKey {
	t.Helper()
	k, err := NewPrivateKey(a)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestSignedTokenIsVerifiedByThePublishedKey(t *testing.T) {
	for _, a := range []Algorithm{ES256, EdDSA} {
		t.Run(string(a), func(t *testing.T) {
			k, other := newKeyFor(t, a), newKeyFor(t, a)
			token, err := k.Sign("at+jwt", map[string]any{"sub": "user:alice", "exp": 1767225600})
			if err != nil {
				t.Fatal(err)
			}
			text, err := MarshalKeySet([]*Key{other.Public(), k.Public()})
			if err != nil {
				t.Fatal(err)
			}
			set, ignored, err := ParseKeySet(text)
			if err != nil || len(ignored) != 0 || set.Len() != 2 {
				t.Fatalf("%s: %v, %v", text, ignored, err)
			}
			if want := NewKeySet(k.Public(), other.Public()).Fingerprint(); set.Fingerprint() != want {
				t.Error("what was published and read again has another fingerprint")
			}
			read, err := Parse(token)
			if err != nil {
				t.Fatal(err)
			}
			if read.Algorithm != a || read.KeyID != k.ID() || read.Type != "at+jwt" {
				t.Errorf("%+v", read)
			}
			if sub, ok, err := read.Claims.Text("sub"); sub != "user:alice" || !ok || err != nil {
				t.Error(sub, ok, err)
			}
			if exp, ok, err := read.Claims.NumericDate("exp"); !exp.Equal(time.Unix(1767225600, 0)) || !ok || err != nil {
				t.Error(exp, ok, err)
			}
			key, err := read.Verify(set, nil)
			if err != nil || key.ID() != k.ID() || key.ID() != key.Thumbprint() {
				t.Error(key, err)
			}
			if _, err := read.Verify(set, []Algorithm{RS256}); iam.ReasonOf(err) != ReasonAlgorithm {
				t.Errorf("not among those allowed: %v", err)
			}
			if _, err := read.Verify(NewKeySet(other.Public()), nil); iam.ReasonOf(err) != ReasonUnknownKey {
				t.Errorf("without its key: %v", err)
			}
		})
	}
}

func TestPrivateKeyIsKeptAndReadAgain(t *testing.T) {
	for _, a := range []Algorithm{ES256, EdDSA} {
		k := newKeyFor(t, a)
		der, err := k.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParsePrivateKey(der)
		if err != nil || again.ID() != k.ID() || again.Algorithm() != a {
			t.Errorf("%s: %v, %v", a, again.ID(), err)
		}
		if _, err := ParsePrivateKey(der[:len(der)-1]); err == nil {
			t.Errorf("%s: a key cut short was read", a)
		}
	}
	for _, a := range []Algorithm{RS256, ES384, "none", ""} {
		if _, err := NewPrivateKey(a); iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%q: %v", a, err)
		}
	}
}

func TestPrivateKeyIsNeverPrinted(t *testing.T) {
	k := newKeyFor(t, EdDSA)
	der, err := k.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	holder := struct {
		Key  *PrivateKey
		flat PrivateKey
	}{k, *k}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "key", k, "holder", holder)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		fmt.Fprintf(&out, verb+verb+verb, k, *k, holder)
	}
	seed := der[len(der)-32:]
	for _, secret := range []string{fmt.Sprintf("%x", seed), fmt.Sprint(seed), fmt.Sprintf("%#v", seed), string(seed)} {
		if strings.Contains(out.String(), strings.Trim(secret, "[]")) {
			t.Fatal("a private key was printed")
		}
	}
	if !strings.Contains(out.String(), "REDACTED") {
		t.Error(out.String())
	}
}

func TestNothingIsSignedThatWouldNotBeRead(t *testing.T) {
	k := newKeyFor(t, EdDSA)
	for name, claims := range map[string]any{
		"no object":   "alice",
		"null":        nil,
		"a list":      []int{1},
		"two members": rawJSON(`{"sub":"a","sub":"b"}`),
		"no JSON":     make(chan int),
		"too large":   map[string]string{"sub": strings.Repeat("a", MaxTokenBytes)},
	} {
		if token, err := k.Sign("jwt", claims); err == nil {
			t.Errorf("%s: %s", name, token)
		}
	}
	if _, err := new(PrivateKey).Sign("", map[string]int{}); err == nil {
		t.Error("no key signed")
	}
	var none *PrivateKey
	if _, err := none.Sign("", map[string]int{}); err == nil || none.ID() != "" || none.Public() != nil {
		t.Error("nil signed")
	}
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }
