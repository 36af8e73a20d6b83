package iam

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// TestSecretIsNeverPrinted formats a secret in every way that a careless line could.
func TestSecretIsNeverPrinted(t *testing.T) {
	const value = "wbg-0123456789"
	type holder struct {
		Open   Secret
		closed Secret
		inner  struct{ deep *Credential }
	}
	secret := NewSecret(value)
	h := holder{Open: secret, closed: secret}
	h.inner.deep = &Credential{Secret: secret}
	_ = h.closed
	var printed bytes.Buffer
	for _, v := range []any{secret, &secret, h, &h, []Secret{secret}, map[string]Secret{"k": secret}, Credential{Secret: secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X", "%T", "%p"} {
			fmt.Fprintf(&printed, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&printed, nil)).Info("m", "v", v)
		slog.New(slog.NewTextHandler(&printed, nil)).Info("m", "v", v)
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		printed.Write(b)
	}
	out := strings.ToLower(printed.String())
	for _, form := range []string{value, fmt.Sprintf("%x", value)} {
		if strings.Contains(out, form) {
			t.Errorf("%q is printed", form)
		}
	}
	if !strings.Contains(out, "redacted") {
		t.Error("nothing says that something is left out")
	}
	if secret.Reveal() != value || secret.IsZero() || !NewSecret("").IsZero() || (Secret{}).Reveal() != "" {
		t.Error("Reveal and IsZero")
	}
}
