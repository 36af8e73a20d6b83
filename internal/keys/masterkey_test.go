package keys

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// sample is a key for tests: the bytes 0 to 31.
const sampleText = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

func sample(t testing.TB) MasterKey {
	t.Helper()
	k, err := ParseMasterKey(sampleText)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestParseMasterKey(t *testing.T) {
	for _, text := range []string{sampleText, sampleText + "\n", " \t" + sampleText + "\r\n"} {
		if k, err := ParseMasterKey(text); err != nil || !k.Equal(sample(t)) {
			t.Errorf("%q: %v", text, err)
		}
	}
	encode := base64.StdEncoding.EncodeToString
	for name, text := range map[string]string{
		"empty":             "",
		"white space":       " \n",
		"31 bytes":          encode(bytes.Repeat([]byte{1}, 31)),
		"33 bytes":          encode(bytes.Repeat([]byte{1}, 33)),
		"no padding":        strings.TrimRight(sampleText, "="),
		"hex":               hex.EncodeToString(bytes.Repeat([]byte{1}, 32)),
		"URL alphabet":      "__________________________________________8=",
		"trailing bits":     sampleText[:42] + "9=",
		"two lines":         sampleText[:20] + "\n" + sampleText[20:],
		"two keys":          sampleText + "\n" + sampleText,
		"quoted":            `"` + sampleText + `"`,
		"a placeholder":     "{env.WANDB_GATEWAY_MASTER_KEY}",
		"zeros":             encode(make([]byte, 32)),
		"NUL behind it":     sampleText + "\x00",
		"a byte order mark": "\ufeff" + sampleText,
	} {
		k, err := ParseMasterKey(text)
		if iam.KindOf(err) != iam.KindInvalid || !k.IsZero() {
			t.Errorf("%s: %v, %v", name, k.IsZero(), err)
			continue
		}
		if strings.TrimSpace(text) != "" && strings.Contains(err.Error(), text) {
			t.Errorf("%s: the error tells the key: %v", name, err)
		}
		if !strings.Contains(err.Error(), "openssl rand -base64 32") {
			t.Errorf("%s: the error names no remedy: %v", name, err)
		}
	}
}

func TestMasterKeyIsNeverPrinted(t *testing.T) {
	k := sample(t)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "key", k, "in", struct{ K MasterKey }{k})
	encoded, err := json.Marshal(map[string]any{"key": k, "pointer": &k})
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(encoded)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%b", "%t", "%08o"} {
		all += fmt.Sprintf(verb, k) + fmt.Sprintf(verb, &k) + fmt.Sprintf(verb, struct{ K MasterKey }{k}) + fmt.Sprintf(verb, struct{ k MasterKey }{k}) + fmt.Sprintf(verb, []MasterKey{k})
	}
	for _, form := range []string{sampleText, sampleText[:12], "000102030405", "0 1 2 3 4", "0x1, 0x2", "AAECAwQ"} {
		if strings.Contains(all, form) {
			t.Errorf("%q is in %s", form, all)
		}
	}
}

func TestDerive(t *testing.T) {
	k := sample(t)
	// RFC 5869 with this key, no salt, and info "session"; computed apart from this code.
	if got := hex.EncodeToString(slice(k.Derive("session"))); got != derivedForSession {
		t.Errorf("derived %s, want %s: stored data could not be read any more", got, derivedForSession)
	}
	seen := make(map[[32]byte]string)
	for _, purpose := range []string{"", "a", "b", "session", "session ", "api key", sealPurpose} {
		key := k.Derive(purpose)
		if other, again := seen[key]; again {
			t.Errorf("%q and %q derive the same key", purpose, other)
		}
		seen[key] = purpose
		if key != k.Derive(purpose) {
			t.Errorf("%q derives two keys", purpose)
		}
	}
	if NewMasterKey().Derive("a") == k.Derive("a") {
		t.Error("two master keys derive the same key")
	}
}

func slice(b [32]byte) []byte { return b[:] }

func TestSeal(t *testing.T) {
	k := sample(t)
	for _, plaintext := range []string{"", "x", "secret", strings.Repeat("long", 10_000)} {
		sealed, err := k.Seal([]byte(plaintext), "acme/secret/a")
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(plaintext)+Overhead {
			t.Errorf("%d bytes seal to %d, want %d more", len(plaintext), len(sealed), Overhead)
		}
		if opened, err := k.Open(sealed, "acme/secret/a"); err != nil || string(opened) != plaintext {
			t.Errorf("opened %.20q, %v", opened, err)
		}
		again, _ := k.Seal([]byte(plaintext), "acme/secret/a")
		if bytes.Equal(sealed, again) {
			t.Error("sealing twice gives the same")
		}
	}
	if _, err := k.Seal(make([]byte, MaxSealBytes+1), ""); iam.KindOf(err) != iam.KindInvalid {
		t.Errorf("too long: %v", err)
	}
	if _, err := (MasterKey{}).Seal(nil, ""); err == nil {
		t.Error("a zero key seals")
	}
}

// TestSealedForm keeps what is in stores readable.
func TestSealedForm(t *testing.T) {
	sealed, err := hex.DecodeString(sealedSample)
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := sample(t).Open(sealed, "acme/secret/a"); err != nil || string(opened) != "a secret" {
		t.Errorf("opened %q, %v", opened, err)
	}
}

func TestOpenRefuses(t *testing.T) {
	k := sample(t)
	const context = "acme/secret/a"
	sealed, err := k.Seal([]byte("a secret"), context)
	if err != nil {
		t.Fatal(err)
	}
	for at := range sealed {
		changed := bytes.Clone(sealed)
		changed[at] ^= 1
		if _, err := k.Open(changed, context); !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrWrongKey) {
			t.Errorf("byte %d changed: %v", at, err)
		}
		if _, err := k.Open(sealed[:at], context); !errors.Is(err, ErrDamaged) {
			t.Errorf("cut at %d: %v", at, err)
		}
	}
	if _, err := k.Open(append(bytes.Clone(sealed), 0), context); !errors.Is(err, ErrDamaged) {
		t.Errorf("one byte more: %v", err)
	}
	for _, other := range []string{"", "acme/secret/b", "acme/secret/a ", "acme-2/secret/a", "acme/secret"} {
		if _, err := k.Open(sealed, other); !errors.Is(err, ErrDamaged) {
			t.Errorf("opened as %q: %v", other, err)
		}
	}
	_, err = NewMasterKey().Open(sealed, context)
	if !errors.Is(err, ErrWrongKey) || !strings.Contains(err.Error(), k.ID()) {
		t.Errorf("another key: %v, want one that names key %s", err, k.ID())
	}
	if _, err := (MasterKey{}).Open(sealed, context); err == nil {
		t.Error("a zero key opens")
	}
}

func FuzzParseMasterKey(f *testing.F) {
	for _, seed := range []string{sampleText, sampleText + "\n", "", "====", strings.Repeat("A", 44), "\x00", sampleText + sampleText} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := ParseMasterKey(text)
		if (err == nil) == k.IsZero() {
			t.Fatalf("%q: %v, and a key %t", text, err, !k.IsZero())
		}
		if err == nil && k.Text().Reveal() != strings.TrimSpace(text) {
			t.Fatalf("%q stands for %q", text, k.Text().Reveal())
		}
	})
}

// FuzzOpen: nothing opens but what was sealed.
func FuzzOpen(f *testing.F) {
	k, err := ParseMasterKey(sampleText)
	if err != nil {
		f.Fatal(err)
	}
	const sealedFor = "acme/secret/a"
	sealed, err := hex.DecodeString(sealedSample) // the same in every process of the fuzzer
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed, sealedFor)
	f.Add(sealed[:Overhead], sealedFor)
	f.Add(sealed, "")
	f.Add([]byte{}, sealedFor)
	f.Add([]byte{sealVersion}, sealedFor)
	f.Fuzz(func(t *testing.T, data []byte, context string) {
		plaintext, err := k.Open(data, context)
		if err == nil && !(bytes.Equal(data, sealed) && context == sealedFor && string(plaintext) == "a secret") {
			t.Fatalf("%x opened as %q", data, plaintext)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	k := sample(b)
	sealed, err := k.Seal(make([]byte, 40), "context")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Open(sealed, "context"); err != nil {
			b.Fatal(err)
		}
	}
}
