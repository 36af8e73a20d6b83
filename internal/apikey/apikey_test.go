package apikey_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// acceptedByClients is the rule of wandb/sdk/lib/wbauth/validation.py (SCOPE-16).
var acceptedByClients = regexp.MustCompile(`^(?:[^-]+-)?[A-Za-z0-9_-]{40,}$`)

func TestMint(t *testing.T) {
	seen := map[string]bool{}
	for range 1000 {
		key, id := apikey.Mint()
		text := key.Reveal()
		if seen[text] {
			t.Fatal("minted the same key twice")
		}
		seen[text] = true
		if !regexp.MustCompile(`^wbg-[0-9a-f]{40}$`).MatchString(text) || !acceptedByClients.MatchString(text) {
			t.Fatalf("minted %q", text)
		}
		if apikey.FormOf(text) != apikey.Minted {
			t.Fatalf("%q is not recognised as minted", text)
		}
		if string(id) != text[4:12] || apikey.ID(key) != id || !apikey.ValidID(string(id)) {
			t.Fatalf("id of %q is %q", text, id)
		}
	}
}

func TestEveryMistypedDigitIsDamage(t *testing.T) {
	key, _ := apikey.Mint()
	text := key.Reveal()
	for i := 4; i < len(text); i++ {
		for _, digit := range []byte("0123456789abcdefgF-") {
			if digit == text[i] {
				continue
			}
			mistyped := text[:i] + string(digit) + text[i+1:]
			if form := apikey.FormOf(mistyped); form != apikey.MintedDamaged {
				t.Fatalf("%q with digit %d changed has form %d", text, i, form)
			}
		}
	}
}

func TestFormOf(t *testing.T) {
	key, _ := apikey.Mint()
	minted := key.Reveal()
	for _, c := range []struct {
		name, text string
		want       apikey.Form
	}{
		{"minted", minted, apikey.Minted},
		{"minted in capitals", "wbg-" + strings.ToUpper(minted[4:]), apikey.MintedDamaged},
		{"minted, cut", minted[:len(minted)-1], apikey.MintedDamaged},
		{"minted, longer", minted + "0", apikey.MintedDamaged},
		{"minted with a line end", minted + "\n", apikey.MintedDamaged},
		{"only the prefix", "wbg-", apikey.MintedDamaged},
		{"prefix in capitals", "WBG-" + minted[4:], apikey.Foreign},
		{"W&B's own, 40 hex", strings.Repeat("0a", 20), apikey.Foreign},
		{"local, as in the import file", "local-" + strings.Repeat("9f", 20), apikey.Foreign},
		{"W&B's longer form", "wandb_v1_" + strings.Repeat("Ab9_", 20), apikey.Foreign},
		{"assertion", "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln", apikey.JWT},
		{"assertion of 8 KiB", "eyJh." + strings.Repeat("a", 8<<10) + ".c2ln", apikey.JWT},
		{"unsigned assertion", "eyJh.eyJi.", apikey.Foreign},
		{"four parts", "aaaa.bbbb.cccc.dddd", apikey.Foreign},
		{"empty", "", apikey.Malformed},
		{"short", "1234567", apikey.Malformed},
		{"longest", strings.Repeat("k", apikey.MaxBytes), apikey.Foreign},
		{"too long", strings.Repeat("k", apikey.MaxBytes+1), apikey.Malformed},
		{"too long with our prefix", "wbg-" + strings.Repeat("0", apikey.MaxBytes), apikey.Malformed},
		{"blank inside", "abcdefgh ijkl", apikey.Malformed},
		{"NUL inside", "abcdefgh\x00ijkl", apikey.Malformed},
		{"not ASCII", "schlüssel-schlüssel", apikey.Malformed},
	} {
		if got := apikey.FormOf(c.text); got != c.want {
			t.Errorf("%s: form %d, want %d", c.name, got, c.want)
		}
	}
}

func TestIDOfForeignKeyIsOfItsHash(t *testing.T) {
	// echo -n local-0123 | sha256sum
	if got := apikey.ID(iam.NewSecret("local-0123")); got != "153e733f" {
		t.Errorf("id %q", got)
	}
}

func FuzzFormOf(f *testing.F) {
	key, _ := apikey.Mint()
	for _, seed := range []string{"", key.Reveal(), key.Reveal() + "0", "wbg-", "a.b.c", "..", "\xff", strings.Repeat("k", 600)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		form := apikey.FormOf(text)
		if form == apikey.Minted && !regexp.MustCompile(`^wbg-[0-9a-f]{40}$`).MatchString(text) {
			t.Errorf("%q counts as minted", text)
		}
		if strings.HasPrefix(text, "wbg-") && form != apikey.Minted && form != apikey.MintedDamaged && form != apikey.Malformed {
			t.Errorf("%q counts as form %d", text, form)
		}
		if apikey.Ours(text) != (form == apikey.Minted || form == apikey.MintedDamaged) {
			t.Errorf("%q is of form %d, and ours: %t", text, form, apikey.Ours(text))
		}
		if (form == apikey.Foreign || form == apikey.Minted) && (len(text) < apikey.MinBytes || len(text) > apikey.MaxBytes) {
			t.Errorf("%d bytes count as a key", len(text))
		}
		if !apikey.ValidID(string(apikey.ID(iam.NewSecret(text)))) {
			t.Errorf("id of %q is not an id", text)
		}
	})
}

func BenchmarkFormOf(b *testing.B) {
	key, _ := apikey.Mint()
	text := key.Reveal()
	b.ReportAllocs()
	for b.Loop() {
		if apikey.FormOf(text) != apikey.Minted {
			b.Fatal("form")
		}
	}
}
