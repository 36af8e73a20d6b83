package session_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// TestCookieAttributes: what a browser is told, letter by letter (threats O10).
func TestCookieAttributes(t *testing.T) {
	secret := iam.NewSecret("value")
	end := time.Date(2026, 12, 20, 12, 0, 0, 0, time.UTC)
	month := &session.Session{Created: end.Add(-720 * time.Hour), Expires: end}
	moment := &session.Session{Created: end.Add(-time.Millisecond), Expires: end}
	for _, c := range []struct {
		name   string
		cookie *http.Cookie
		want   string
	}{
		{"https", session.Cookie(secret, true, month),
			"__Host-wandb-gateway=value; Path=/; Expires=Sun, 20 Dec 2026 12:00:00 GMT; Max-Age=2592000; HttpOnly; Secure; SameSite=Lax"},
		{"http", session.Cookie(secret, false, month),
			"wandb-gateway=value; Path=/; Expires=Sun, 20 Dec 2026 12:00:00 GMT; Max-Age=2592000; HttpOnly; SameSite=Lax"},
		{"short", session.Cookie(secret, false, moment),
			"wandb-gateway=value; Path=/; Expires=Sun, 20 Dec 2026 12:00:00 GMT; Max-Age=1; HttpOnly; SameSite=Lax"},
		{"expired, https", session.Expired(true),
			"__Host-wandb-gateway=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; Secure; SameSite=Lax"},
		{"expired, http", session.Expired(false),
			"wandb-gateway=; Path=/; Expires=Thu, 01 Jan 1970 00:00:01 GMT; Max-Age=0; HttpOnly; SameSite=Lax"},
	} {
		w := httptest.NewRecorder()
		http.SetCookie(w, c.cookie)
		if got := w.Header().Get("Set-Cookie"); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// TestCookieComesBack: what Cookie sets, Read reads, and only on the same scheme.
func TestCookieComesBack(t *testing.T) {
	h := newHouse(t)
	secret, x := h.signIn(from(alice, "00u1", ""))
	for _, https := range []bool{true, false} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.AddCookie(&http.Cookie{Name: "a", Value: "1"})
		r.AddCookie(session.Cookie(secret, https, x))
		r.AddCookie(&http.Cookie{Name: "b", Value: "2"})
		if got, found := session.Read(r.Header, https); !found || got.Reveal() != secret.Reveal() {
			t.Errorf("https %t: the cookie is not read back", https)
		}
		if _, found := session.Read(r.Header, !https); found {
			t.Errorf("https %t: the cookie counts on the other scheme", https)
		}
	}
}

const on = session.NameHTTPS

// cookieCases are Cookie lines, what is read of them on https, and what Strip leaves.
var cookieCases = []struct {
	name     string
	lines    []string
	value    string // "" when none counts
	stripped []string
}{
	{"alone", []string{on + "=v"}, "v", nil},
	{"first", []string{on + "=v; a=1"}, "v", []string{"a=1"}},
	{"in the middle", []string{"a=1; " + on + "=v; b=2"}, "v", []string{"a=1; b=2"}},
	{"last", []string{"a=1; " + on + "=v"}, "v", []string{"a=1"}},
	{"without a blank", []string{"a=1;" + on + "=v;b=2"}, "v", []string{"a=1;b=2"}},
	{"with many", []string{"a=1;\t  " + on + "=v \t; b=2"}, "v", []string{"a=1; b=2"}},
	{"on the second line", []string{"a=1", on + "=v"}, "v", []string{"a=1"}},
	{"equals signs in the value", []string{on + "=v=w=="}, "v=w==", nil},
	{"quoted", []string{on + `="v"`}, `"v"`, nil},
	{"none", []string{"a=1; b=2"}, "", []string{"a=1; b=2"}},
	{"no line", nil, "", nil},
	{"an empty line", []string{""}, "", []string{""}},
	{"semicolons", []string{";;; ;"}, "", []string{";;; ;"}},
	{"others as strange as they like", []string{`a="1;2"; b = 3 ;; =4;é=5; ` + on + "=v"}, "v", []string{`a="1;2"; b = 3 ;; =4;é=5`}},

	// Two of the name: one may be planted (O12).
	{"twice in a line", []string{on + "=v; " + on + "=w"}, "", nil},
	{"twice the same", []string{on + "=v; " + on + "=v"}, "", nil},
	{"in two lines", []string{on + "=v", "a=1; " + on + "=w"}, "", []string{"a=1"}},
	{"one without value", []string{on + "; " + on + "=v"}, "", nil},
	{"one with an empty value", []string{on + "=; " + on + "=v"}, "", nil},
	{"one with a blank before the equals sign", []string{on + " =w; " + on + "=v"}, "", nil},

	// One that does not count.
	{"without value", []string{on}, "", nil},
	{"with an empty value", []string{on + "="}, "", nil},
	{"with a blank before the equals sign", []string{on + "\t=v; a=1"}, "", []string{"a=1"}},

	// Other names.
	{"lower case", []string{"__host-wandb-gateway=v"}, "", []string{"__host-wandb-gateway=v"}},
	{"upper case", []string{"__Host-WANDB-GATEWAY=v"}, "", []string{"__Host-WANDB-GATEWAY=v"}},
	{"__Secure-", []string{"__Secure-wandb-gateway=v"}, "", []string{"__Secure-wandb-gateway=v"}},
	{"a longer name", []string{on + "2=v; x" + on + "=v"}, "", []string{on + "2=v; x" + on + "=v"}},
	{"the name of http", []string{"wandb-gateway=v; a=1"}, "", []string{"a=1"}},
	{"both names", []string{"wandb-gateway=w; " + on + "=v; a=1"}, "v", []string{"a=1"}},
	{"of a sign-in", []string{"a=1; " + on + "-flow-0123=w; " + on + "-form = w;wandb-gateway-teams"}, "", []string{"a=1"}},
	{"of a sign-in, in another case", []string{"__host-wandb-gateway-form=w"}, "", []string{"__host-wandb-gateway-form=w"}},
	{"an en quad before the name", []string{"\u2000" + on + "=w"}, "", []string{"\u2000" + on + "=w"}},
	{"an en quad before a second one", []string{on + "=v; \u2000" + on + "=w"}, "v", []string{"\u2000" + on + "=w"}},
	{"a no-break space behind the name", []string{on + "\u00a0=w"}, "", []string{on + "\u00a0=w"}},
	{"percent-encoded", []string{"%5F%5FHost-wandb-gateway=w"}, "", []string{"%5F%5FHost-wandb-gateway=w"}},
	{"an empty name", []string{"=" + on + "=w; a=1"}, "", []string{"=" + on + "=w; a=1"}},
	{"behind a comma", []string{"a=1, " + on + "=w"}, "", []string{"a=1, " + on + "=w"}},
	{"in a value", []string{"a=" + on + "=w"}, "", []string{"a=" + on + "=w"}},

	// RFC 2109 syntax, which some parsers still obey and browsers never send: quotes hide nothing.
	{"$Version in front", []string{"$Version=1; " + on + "=v; $Path=/"}, "v", []string{"$Version=1; $Path=/"}},
	{"between quotes", []string{`$Version=1; a="1; ` + on + `=v; b="; c=3`}, "v", []string{`$Version=1; a="1; b="; c=3`}},
	{"between quotes beside another", []string{`a="1; ` + on + `=w; b="; ` + on + "=v"}, "", []string{`a="1; b="`}},
	{"an escaped quote", []string{`a="\"; ` + on + `=v"`}, `v"`, []string{`a="\"`}},
}

func TestRead(t *testing.T) {
	for _, c := range cookieCases {
		h := http.Header{"Cookie": c.lines}
		got, found := session.Read(h, true)
		all := 0
		for _, pair := range rawPairs(c.lines) {
			if name, _, _ := strings.Cut(pair, "="); strings.TrimRight(name, " \t") == on {
				all++
			}
		}
		if err := session.CheckOne(h, true); (err != nil) != (all > 1) || session.CheckOne(h, false) != nil {
			t.Errorf("%s: of %d cookies: %v", c.name, all, err)
		}
		if got.Reveal() != c.value || found != (c.value != "") {
			t.Errorf("%s: read %q, %t; want %q", c.name, got.Reveal(), found, c.value)
		}
		// The same on http, under that name.
		var lines []string
		for _, line := range c.lines {
			lines = append(lines, strings.NewReplacer(on, session.NameHTTP, session.NameHTTP, on).Replace(line))
		}
		got, found = session.Read(http.Header{"Cookie": lines}, false)
		if got.Reveal() != c.value || found != (c.value != "") {
			t.Errorf("%s on http: read %q, %t; want %q", c.name, got.Reveal(), found, c.value)
		}
	}
}

func TestStrip(t *testing.T) {
	for _, c := range cookieCases {
		came := slices.Clone(c.lines)
		h := http.Header{"Cookie": came, "Accept": {"*/*"}}
		session.Strip(h)
		if got, has := h["Cookie"]; !slices.Equal(got, c.stripped) || len(c.stripped) == 0 && len(c.lines) != 0 && has {
			t.Errorf("%s:\n left %q\n want %q", c.name, got, c.stripped)
		}
		if !slices.Equal(came, c.lines) {
			t.Errorf("%s: the lines as they came were changed, and others may read them", c.name)
		}
		if h.Get("Accept") != "*/*" {
			t.Errorf("%s: another header is gone", c.name)
		}
	}
}

// FuzzCookies: after Strip nobody finds our cookie, all others are what they were, and what Read has
// found stood there once.
func FuzzCookies(f *testing.F) {
	for _, c := range cookieCases {
		f.Add(strings.Join(c.lines, "\n"))
	}
	f.Fuzz(func(t *testing.T, text string) {
		came := strings.Split(text, "\n")
		h := http.Header{"Cookie": slices.Clone(came)}
		before := parsed(h)
		secret, found := session.Read(h, true)
		if n := occurrences(came, on+"="); found && (n != 1 || strings.Contains(secret.Reveal(), ";")) {
			t.Errorf("read %q of %q, which has the name %d times", secret.Reveal(), came, n)
		}
		session.Strip(h)
		if _, found := session.Read(h, true); found {
			t.Errorf("%q: Read finds the cookie after Strip: %q", came, h["Cookie"])
		}
		if _, found := session.Read(h, false); found {
			t.Errorf("%q: Read finds the cookie of http after Strip: %q", came, h["Cookie"])
		}
		after := parsed(h)
		if len(before) > 0 && !slices.Equal(others(before), after) { // it finds none in more than 3000
			t.Errorf("%q: net/http found %q, and finds %q", came, before, after)
		}
		if want, got := foreignPairs(came), foreignPairs(h["Cookie"]); !slices.Equal(want, got) {
			t.Errorf("%q: other cookies were %q and are %q", came, want, got)
		}
		if left := len(rawPairs(h["Cookie"])) - len(foreignPairs(h["Cookie"])); left != 0 {
			t.Errorf("%q: %d of our cookies are left in %q", came, left, h["Cookie"])
		}
	})
}

// parsed is what another parser finds.
func parsed(h http.Header) []string {
	var all []string
	for _, c := range (&http.Request{Header: h}).Cookies() {
		all = append(all, c.Name+"="+c.Value)
	}
	return all
}

func others(cookies []string) []string {
	return slices.DeleteFunc(slices.Clone(cookies), func(c string) bool {
		name, _, _ := strings.Cut(c, "=")
		return isOurs(name)
	})
}

// occurrences counts the pairs that begin with text.
func occurrences(lines []string, text string) (n int) {
	for _, pair := range rawPairs(lines) {
		if strings.HasPrefix(strings.Trim(pair, " \t\r\n"), text) {
			n++
		}
	}
	return n
}

// rawPairs are the parts of lines that hold something, without the blanks in front.
func rawPairs(lines []string) []string {
	var all []string
	for _, line := range lines {
		for _, pair := range strings.Split(line, ";") {
			if pair = strings.TrimLeft(pair, " \t\r\n"); pair != "" {
				all = append(all, pair)
			}
		}
	}
	return all
}

func foreignPairs(lines []string) []string {
	return slices.DeleteFunc(rawPairs(lines), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		return isOurs(strings.TrimRight(name, " \t\r\n"))
	})
}

func isOurs(name string) bool {
	return name == session.NameHTTPS || name == session.NameHTTP ||
		strings.HasPrefix(name, session.NameHTTPS+"-") || strings.HasPrefix(name, session.NameHTTP+"-")
}

// BenchmarkCookie reads and removes the cookie among those that a browser sends.
func BenchmarkCookie(b *testing.B) {
	line := "_ga=GA1.1.1234567890.1764000000; theme=dark; " + on + "=" + strings.Repeat("A", 43) + "; _gid=GA1.1.987654321"
	b.Run("read", func(b *testing.B) {
		h := http.Header{"Cookie": {line}}
		b.ReportAllocs()
		for b.Loop() {
			if _, found := session.Read(h, true); !found {
				b.Fatal("not found")
			}
		}
	})
	b.Run("strip", func(b *testing.B) {
		h := http.Header{}
		lines := []string{line}
		b.ReportAllocs()
		for b.Loop() {
			h["Cookie"] = lines
			session.Strip(h)
		}
	})
	b.Run("strip nothing", func(b *testing.B) {
		h := http.Header{"Cookie": {"_ga=GA1.1.1234567890.1764000000; theme=dark; _gid=GA1.1.987654321"}}
		b.ReportAllocs()
		for b.Loop() {
			session.Strip(h)
		}
	})
}
