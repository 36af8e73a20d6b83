package untrusted_test

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

func TestTexts(t *testing.T) {
	for name, tt := range map[string]struct{ got, want string }{
		"whole":               {untrusted.Clip(strings.Repeat("a", 80)), strings.Repeat("a", 80)},
		"clipped":             {untrusted.Clip(strings.Repeat("a", 81)), strings.Repeat("a", 80) + "..."},
		"half a character":    {untrusted.Clip(strings.Repeat("a", 79) + "ä"), strings.Repeat("a", 79) + "..."},
		"quoted":              {untrusted.Quote("a\"\n\u202eä"), `"a\"\n\u202e\u00e4"`},
		"no UTF-8, quoted":    {untrusted.Quote("\xff"), `"\xff"`},
		"long, quoted":        {untrusted.Quote(strings.Repeat("a", 201)), `"` + strings.Repeat("a", 200) + `"...`},
		"a line":              {untrusted.Line("Zoë said: no\r\n\x1b[31m\u202e\xff", 80), "Zoë said: no???[31m??"},
		"a long line":         {untrusted.Line("äöü", 4), "äö..."},
		"grown beyond bounds": {untrusted.Line("\x00\x00ü", 3), "??..."},
		"redacted":            {untrusted.Redact("bind with hunter2 and s3: hunter2", "hunter2", "", "s3"), "bind with REDACTED and REDACTED: REDACTED"},
	} {
		if tt.got != tt.want {
			t.Errorf("%s: %q, not %q", name, tt.got, tt.want)
		}
	}
}

func FuzzLine(f *testing.F) {
	f.Add("a\nb\u2028\u202e\xff", 3)
	f.Fuzz(func(t *testing.T, s string, most int) {
		most = most & 0xff
		got := untrusted.Line(s, most)
		if len(got) > most+3 || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("Line(%q, %d) is %q", s, most, got)
		}
		if quoted := untrusted.Quote(s); len(quoted) > 4*200+5 || strings.ContainsFunc(quoted, func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("Quote(%q) is %s", s, quoted)
		}
	})
}
