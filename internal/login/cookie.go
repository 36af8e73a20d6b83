package login

import (
	"net/http"
	"strings"
	"time"
)

// maxCookieBytes is how long name and value of a cookie may be for every browser to keep it (RFC
// 6265bis section 5.6), less some.
const maxCookieBytes = 4000

// The cookies of this package, beside that of the session. Their names begin as the session's does, so
// that on https they have its prefix too, and that session.Strip knows them.
const (
	flowSuffix  = "-flow-"
	formSuffix  = "-form"
	offerSuffix = "-teams"
	knownSuffix = "-known"
)

// cookies returns the values of all cookies whose name begins with prefix, by name. A name that stands
// there twice has none: one of the two may have been planted (threats O12). Lines are split as browsers
// join them.
func cookies(h http.Header, prefix string) map[string]string {
	found := map[string]string{}
	twice := map[string]bool{}
	for _, line := range h["Cookie"] {
		for pair := range strings.SplitSeq(line, ";") {
			name, value, _ := strings.Cut(strings.Trim(pair, " \t\r\n"), "=")
			if !strings.HasPrefix(name, prefix) {
				continue
			}
			if _, seen := found[name]; seen {
				twice[name] = true
			}
			found[name] = value
		}
	}
	for name := range twice {
		delete(found, name)
	}
	return found
}

// cookie returns the value of the one cookie of that name; "" if there is none, or more than one.
func cookie(h http.Header, name string) string { return cookies(h, name)[name] }

// give sets a cookie that only this host gets and no script reads.
func (l *Login) give(w http.ResponseWriter, r *http.Request, name, value string, life time.Duration, same http.SameSite) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: int(life / time.Second),
		HttpOnly: true, Secure: l.HTTPS(r), SameSite: same,
	})
}

// take takes a cookie away.
func (l *Login) take(w http.ResponseWriter, r *http.Request, name string) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Path: "/", MaxAge: -1, HttpOnly: true, Secure: l.HTTPS(r), SameSite: http.SameSiteLaxMode,
	})
}
