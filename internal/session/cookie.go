package session

import (
	"net/http"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The names of the session's cookie (design section 6). On https its prefix makes browsers refuse it
// from other hosts, from paths, and from plain http (RFC 6265bis section 4.1.3.2), so that nobody who
// controls a sibling of the host can plant one; on http there is no such protection.
const (
	NameHTTPS = "__Host-wandb-gateway"
	NameHTTP  = "wandb-gateway"
)

// CookieName returns the name of the session's cookie on a site.
func CookieName(https bool) string {
	if https {
		return NameHTTPS
	}
	return NameHTTP
}

// Cookie returns the cookie that gives a browser its session until it expires (threats O10). SameSite
// is said outright: a cookie without it goes with cross-site POSTs for two minutes in some browsers.
func Cookie(secret iam.Secret, https bool, expires time.Time) *http.Cookie {
	return &http.Cookie{
		Name: CookieName(https), Value: secret.Reveal(), Path: "/", Expires: expires,
		HttpOnly: true, Secure: https, SameSite: http.SameSiteLaxMode,
	}
}

// Expired returns the cookie that takes a browser's session cookie away.
func Expired(https bool) *http.Cookie {
	c := Cookie(iam.Secret{}, https, time.Unix(1, 0).UTC())
	c.MaxAge = -1
	return c
}

// Read finds the value of the session's cookie, which may be of any form. The name is compared byte by
// byte. If the cookie stands there twice, in one line or in two, none of them counts: one may have been
// planted, and which one is not to be told (threats O12). The same holds for one without value.
//
// Lines are split as browsers join them, at every semicolon (RFC 6265 section 5.4): quotes, and a
// $Version in front, mean nothing, so that neither can hide a cookie or make one.
func Read(h http.Header, https bool) (secret iam.Secret, found bool) {
	name := CookieName(https)
	var only string
	count := 0
	for _, line := range h["Cookie"] {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			if value, ok := valueOf(pair, name); ok {
				only = value
				count++
			}
		}
	}
	if count != 1 || only == "" {
		return iam.Secret{}, false
	}
	return iam.NewSecret(only), true
}

// Strip removes the gateway's cookies from the Cookie lines, and leaves all others as they came, byte for
// byte: the session's, under both of its names, and those of sign-in, whose names are one of the two with
// a hyphen and more behind it. A line with nothing else is removed.
func Strip(h http.Header) {
	lines := h["Cookie"]
	if !carriesOurs(lines) {
		return
	}
	kept := make([]string, 0, len(lines)) // a copy: the lines may be shared with the request as it came
	for _, line := range lines {
		if line, ok := stripLine(line); ok {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

func carriesOurs(lines []string) bool {
	for _, line := range lines {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			if ours(pair) {
				return true
			}
		}
	}
	return false
}

// stripLine returns a line without our cookies, and whether anything is left of it.
func stripLine(line string) (rest string, ok bool) {
	pairs := strings.Split(line, ";")
	kept := pairs[:0]
	for i, pair := range pairs {
		if ours(pair) {
			continue
		}
		if i > 0 && len(kept) == 0 {
			pair = strings.TrimLeft(pair, blanks) // it begins the line now
		}
		kept = append(kept, pair)
	}
	rest = strings.Join(kept, ";")
	return rest, rest != "" || len(kept) == len(pairs)
}

func ours(pair string) bool {
	name, _, _ := strings.Cut(strings.Trim(pair, blanks), "=")
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "__Host-"), NameHTTP)
	rest = strings.TrimRight(rest, blanks)
	return ok && (rest == "" || rest[0] == '-')
}

// blanks are what parsers leave out around a cookie's name. The wider Unicode has more of them, which
// belong to the name: U+2000 in front of a prefixed name makes another cookie, and one that a sibling
// can plant (threats O12).
const blanks = " \t\r\n"

// valueOf reports whether a pair is the cookie of that name, and returns its value as it stands. A
// name with a blank behind it is taken for it by some parsers, and never sent by a browser: it counts,
// without a value.
func valueOf(pair, name string) (value string, ok bool) {
	pair = strings.Trim(pair, blanks)
	rest, ok := strings.CutPrefix(pair, name)
	if !ok {
		return "", false
	}
	if value, ok := strings.CutPrefix(rest, "="); ok {
		return value, true
	}
	rest = strings.TrimLeft(rest, blanks)
	return "", rest == "" || rest[0] == '='
}
