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

// Cookie returns the cookie that gives a browser a new session until it expires (threats O10). Its length
// is said too, and wins (RFC 6265 section 5.3): a browser whose clock is fast would drop the cookie as old,
// and be sent to sign in again and again. SameSite is said outright: a cookie without it goes with
// cross-site POSTs for two minutes in some browsers.
func Cookie(secret iam.Secret, https bool, s *Session) *http.Cookie {
	c := cookie(secret.Reveal(), https)
	c.Expires, c.MaxAge = s.Expires, max(1, int(s.Expires.Sub(s.Created)/time.Second))
	return c
}

// Expired returns the cookie that takes a browser's session cookie away.
func Expired(https bool) *http.Cookie {
	c := cookie("", https)
	c.Expires, c.MaxAge = time.Unix(1, 0).UTC(), -1
	return c
}

func cookie(value string, https bool) *http.Cookie {
	return &http.Cookie{Name: CookieName(https), Value: value, Path: "/", HttpOnly: true, Secure: https, SameSite: http.SameSiteLaxMode}
}

// Read finds the value of the session's cookie, which may be of any form. The name is compared byte by
// byte. If the cookie stands there twice, in one line or in two, none of them counts: one may have been
// planted, and which one is not to be told (threats O12). The same holds for one without value.
//
// Lines are split as browsers join them, at every semicolon (RFC 6265 section 5.4): quotes, and a
// $Version in front, mean nothing, so that neither can hide a cookie or make one.
func Read(h http.Header, https bool) (secret iam.Secret, found bool) {
	value, count := values(h, https)
	if count != 1 || value == "" {
		return iam.Secret{}, false
	}
	return iam.NewSecret(value), true
}

// ReasonTwo is the reason for not sending a browser to sign-in that has two session cookies.
const ReasonTwo iam.Reason = "two_session_cookies"

// CheckOne refuses a request with two session cookies: signing in would give the browser one more, which
// would not count either, and lead to sign-in again without end.
func CheckOne(h http.Header, https bool) error {
	if _, count := values(h, https); count > 1 {
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonTwo,
			Message: "This browser has two cookies called " + CookieName(https) + " for this site, so it cannot be told who is signed in. Delete this site's cookies in the browser, then open the page again. If that does not last, another site of the same domain sets them: tell the administrator."}
	}
	return nil
}

// values returns the last value that stands under the session's name, and how many there are.
func values(h http.Header, https bool) (last string, count int) {
	name := CookieName(https)
	for _, line := range h["Cookie"] {
		for more := true; more; {
			var pair string
			pair, line, more = strings.Cut(line, ";")
			if value, ok := valueOf(pair, name); ok {
				last = value
				count++
			}
		}
	}
	return last, count
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
