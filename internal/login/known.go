package login

import (
	"net/http"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// Whoever guesses at somebody's password uses up that name's failures, and would lock its owner out for as
// long as they go on (threats K03). So a browser in which the owner once gave the right password has a
// counter of its own: strangers cannot use it up, and it opens nothing.

// knownLife is how long a browser is remembered.
const knownLife = 180 * 24 * time.Hour

// known is what the cookie of such a browser holds.
type known struct {
	Account string // as failures are counted
	Browser string // one for each right password
	Until   time.Time
}

// remember notes that the right password of an account came from this browser.
func (l *Login) remember(w http.ResponseWriter, r *http.Request, account string) {
	name := session.CookieName(l.HTTPS(r)) + knownSuffix
	value, ok := l.seal.close(name, known{Account: account, Browser: random(), Until: l.Now().Add(knownLife)})
	if ok {
		l.give(w, r, name, value, knownLife, http.SameSiteLaxMode)
	}
}

// counterOf returns under which name failures of an account count that come from this browser, and whether
// it is the browser's own.
func (l *Login) counterOf(r *http.Request, account string) (counter string, own bool) {
	var k known
	name := session.CookieName(l.HTTPS(r)) + knownSuffix
	if !l.seal.open(name, cookie(r.Header, name), &k) || k.Account != account || !l.Now().Before(k.Until) {
		return account, false
	}
	return account + "\x00" + k.Browser, true
}
