package login

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/login/ldap"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

func TestSignInWithADirectoryPassword(t *testing.T) {
	h := withPasswords(t, false)
	b := h.browser()
	a := b.password("alice", "right")
	if a.Code != http.StatusSeeOther || a.location() != "/acme/x" || !b.signedIn() {
		t.Fatalf("%d to %q: %s", a.Code, a.location(), a.Body)
	}
	if e := h.last(); e.Action != ActionSignIn || e.Method != session.MethodLDAP || e.Username != "alice" || !strings.HasPrefix(e.Issuer, "ldap://") {
		t.Errorf("%+v", e)
	}
	old := b.cookie()
	if a := b.password("alice", "right"); a.Code != http.StatusSeeOther || h.good(old) || h.sessions() != 1 {
		t.Errorf("%d; %d sessions", a.Code, h.sessions())
	}
}

func TestWrongPasswords(t *testing.T) {
	h := withPasswords(t, false)
	b := h.browser()
	for name, login := range map[string]string{"known": "alice", "unknown": "nobody", "hostile": `*)(uid=*))<script>"`} {
		a := b.password(login, "wrong")
		if a.Code != http.StatusUnauthorized || !strings.Contains(a.Body.String(), "Wrong name or password.") || strings.Contains(a.Body.String(), "<script>") || h.sessions() != 0 {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
		if a.Header().Get("Www-Authenticate") != "" {
			t.Error("the browser would ask for a password of its own")
		}
		if !strings.Contains(a.Body.String(), `name="return_to" value="/acme/x"`) {
			t.Error("where to go is forgotten")
		}
		if e := h.last(); e.Action != ActionRefused || e.Reason != ldap.ReasonWrongPassword || e.Method != session.MethodLDAP {
			t.Errorf("%s: %+v", name, e)
		}
		pageHeaders(t, a)
	}
}

func TestOneCounterForAllSpellings(t *testing.T) { // L07, K03
	h := withPasswords(t, false)
	b := h.browser()
	for i, login := range []string{"alice", "ALICE", `ACME\alice`, "Alice@acme.test", " alice "} {
		a := b.password(login, "wrong")
		want := http.StatusUnauthorized
		if i >= 3 {
			want = http.StatusTooManyRequests
		}
		if a.Code != want {
			t.Errorf("attempt %d, %q: %d", i+1, login, a.Code)
		}
	}
	asked := len(h.passwords.asked)
	a := b.password("alice", "right")
	if a.Code != http.StatusTooManyRequests || a.Header().Get("Retry-After") == "" || b.signedIn() || len(h.passwords.asked) != asked {
		t.Errorf("the right password behind the limit: %d, asked %v", a.Code, h.passwords.asked)
	}
	if a := b.password("bob", "right"); a.Code != http.StatusSeeOther {
		t.Errorf("another person is limited too: %d", a.Code)
	}
}

func TestAnAddressOverItsLimitLocksNobodyOut(t *testing.T) {
	p := &passwords{}
	h := newHouse(t, func(c *Config) {
		c.Passwords, c.Provider = p, nil
		c.AddressFailures = newAddressLimit(2)
		c.AccountFailures = failure.NewLimit[string](failure.Rate{Number: 2, Period: time.Hour})
	})
	b := h.browser()
	for range 2 {
		b.password("mallory", "wrong")
	}
	for range 5 {
		if a := b.password("alice", "wrong"); a.Code != http.StatusTooManyRequests {
			t.Fatal(a.Code)
		}
	}
	if h.AccountFailures.Failed("alice") {
		t.Error("attempts that nobody looked at were counted against alice")
	}
}

// TestGuessersLockNoOwnerOut: in a browser where the right password was given once, strangers' guesses do
// not count, however many there are; its own do.
func TestGuessersLockNoOwnerOut(t *testing.T) { // K03
	h := withPasswords(t, false)
	owner, fresh, guesser := h.browser(), h.browser(), h.browser()
	owner.password("alice", "right")
	for range 30 { // over the limits of the name and of the address that all three share
		guesser.password("alice", "wrong")
	}
	if a := fresh.password("alice", "right"); a.Code != http.StatusTooManyRequests {
		t.Errorf("a browser that nobody knows: %d", a.Code)
	}
	if a := owner.password("ALICE@acme.test", "right"); a.Code != http.StatusSeeOther {
		t.Errorf("the owner's browser: %d", a.Code)
	}
	if a := owner.password("bob", "wrong"); a.Code != http.StatusTooManyRequests {
		t.Errorf("another name in the owner's browser: %d", a.Code)
	}
	for i, want := range []int{401, 401, 401, 429} {
		if a := owner.password("alice", "wrong"); a.Code != want {
			t.Errorf("guess %d in the owner's browser: %d", i+1, a.Code)
		}
	}

	owner.password("alice", "right") // 429: too many of its own
	h.clock = h.clock.Add(knownLife)
	if _, own := h.counterOf(requestOf(owner), "alice"); own {
		t.Error("the browser is known for ever")
	}
	owner.jar[session.NameHTTPS+knownSuffix].Value += "A"
	h.clock = h.clock.Add(-knownLife)
	if _, own := h.counterOf(requestOf(owner), "alice"); own {
		t.Error("a changed cookie counts")
	}
}

func requestOf(b *browser) *http.Request {
	r := httptest.NewRequest(http.MethodGet, origin+"/oidc/login", nil)
	for _, c := range b.jar {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	return r
}

func TestRightPasswordsAndOutagesAreNoFailures(t *testing.T) {
	h := withPasswords(t, false)
	b := h.browser()
	for range 6 {
		if a := b.password("alice", "right"); a.Code != http.StatusSeeOther {
			t.Fatalf("%d", a.Code)
		}
	}
	h.passwords.err = &iam.Error{Kind: iam.KindUnavailable, Reason: "unavailable", RetryAfter: 10 * time.Second, Message: "The directory is away.", Err: errors.New("dial ldap.internal")}
	for range 6 {
		a := b.password("alice", "right")
		if a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") != "10" || !strings.Contains(a.Body.String(), "directory is away") || strings.Contains(a.Body.String(), "internal") {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
	}
	h.passwords.err = &iam.Error{Kind: iam.KindDenied, Reason: ldap.ReasonGroupNotAllowed, Message: "None of your groups may."}
	for range 6 {
		if a := b.password("alice", "right"); a.Code != http.StatusForbidden || h.last().Reason != ldap.ReasonGroupNotAllowed {
			t.Fatalf("%d %s", a.Code, a.Body)
		}
	}
}

func TestGuessesAtTheSameMomentAreCounted(t *testing.T) {
	h := withPasswords(t, false)
	b := h.browser()
	form := url.Values{"form": {"password"}, "token": {b.token("/oidc/login")}, "login": {"alice"}, "password": {"wrong"}}.Encode()
	blocked := make(chan struct{})
	slow := &slowPasswords{started: make(chan struct{}, 100), go_: blocked}
	h.Login.Passwords = slow
	h.Login.Report = func(*http.Request, Event) {}
	var all sync.WaitGroup
	for range 10 {
		c := h.browser()
		for k, v := range b.jar {
			c.jar[k] = v
		}
		all.Go(func() { c.send(http.MethodPost, "/oidc/login", form, nil) })
	}
	for range 3 {
		<-slow.started
	}
	close(blocked)
	all.Wait()
	if n := len(slow.started); n != 0 {
		t.Errorf("%d more than 3 guesses were judged", n)
	}
}

type slowPasswords struct {
	started chan struct{}
	go_     chan struct{}
}

func (p *slowPasswords) Authenticate(context.Context, string, iam.Secret) (*identity.Identity, error) {
	p.started <- struct{}{}
	<-p.go_
	return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: ldap.ReasonWrongPassword, Message: "Wrong."}
}

// TestFormsOfOthersAreRefused: every form that changes something comes from a page of ours, that this
// browser was given.
func TestFormsOfOthersAreRefused(t *testing.T) {
	h := withPasswords(t, true)
	b := h.browser()
	token := b.token("/oidc/login")
	good := url.Values{"form": {"password"}, "token": {token}, "login": {"alice"}, "password": {"right"}}
	without := func(name string) url.Values {
		v := url.Values{}
		for k := range good {
			if k != name {
				v[k] = good[k]
			}
		}
		return v
	}
	header := func(name string, values ...string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del(name)
			for _, v := range values {
				r.Header.Add(name, v)
			}
		}
	}
	both := func(site, origin string) func(*http.Request) {
		return func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Del("Origin")
			if site != "" {
				r.Header.Set("Sec-Fetch-Site", site)
			}
			if origin != "" {
				r.Header.Set("Origin", origin)
			}
		}
	}
	for name, c := range map[string]struct {
		form   url.Values
		change func(*http.Request)
		status int
	}{
		"cross-site":                      {good, header("Sec-Fetch-Site", "cross-site"), 403},
		"same-site, by a sibling":         {good, header("Sec-Fetch-Site", "same-site"), 403},
		"by the address bar":              {good, header("Sec-Fetch-Site", "none"), 403},
		"two sites":                       {good, header("Sec-Fetch-Site", "same-origin", "same-origin"), 403},
		"another origin":                  {good, header("Origin", "https://evil.example"), 403},
		"two origins":                     {good, header("Origin", origin, origin), 403},
		"our origin on http":              {good, header("Origin", "http://"+host), 403},
		"a longer origin":                 {good, header("Origin", origin+".evil.example"), 403},
		"origin null without a site":      {good, both("", "null"), 403},
		"neither origin nor site":         {good, both("", ""), 403},
		"no token":                        {without("token"), nil, 400},
		"another token":                   {url.Values{"form": {"password"}, "token": {random()}, "login": {"alice"}, "password": {"right"}}, nil, 403},
		"two tokens":                      {url.Values{"form": {"password"}, "token": {token, token}, "login": {"alice"}, "password": {"right"}}, nil, 400},
		"two passwords":                   {url.Values{"form": {"password"}, "token": {token}, "login": {"alice"}, "password": {"right", "wrong"}}, nil, 400},
		"no cookie":                       {good, header("Cookie"), 403},
		"another browser's cookie":        {good, header("Cookie", session.NameHTTPS+formSuffix+"="+random()), 403},
		"two cookies":                     {good, func(r *http.Request) { r.Header.Add("Cookie", session.NameHTTPS+formSuffix+"="+random()) }, 403},
		"an empty cookie and its token":   {url.Values{"form": {"password"}, "token": {h.seal.token("", nil)}, "login": {"alice"}, "password": {"right"}}, header("Cookie", session.NameHTTPS+formSuffix+"="), 403},
		"as text":                         {good, header("Content-Type", "text/plain"), 415},
		"as parts":                        {good, header("Content-Type", "multipart/form-data; boundary=x"), 415},
		"in UTF-16":                       {good, header("Content-Type", "application/x-www-form-urlencoded; charset=utf-16"), 415},
		"without a type":                  {good, header("Content-Type"), 415},
		"too large":                       {url.Values{"form": {strings.Repeat("x", maxFormBytes)}, "token": {token}}, nil, 413},
		"no such form":                    {url.Values{"form": {"other"}, "token": {token}}, nil, 400},
		"the temporary password's":        {url.Values{"form": {"restore"}, "token": {token}, "login": {"root"}, "password": {""}}, nil, 400},
		"teams that nobody offered":       {url.Values{"form": {"teams"}, "token": {token}, "team": {"team_x"}}, nil, 403},
		"everything in the address":       {nil, func(r *http.Request) { r.URL.RawQuery = good.Encode() }, 400},
		"for another host":                {good, func(r *http.Request) { r.Host = "evil.example" }, 421},
		"right: site alone, origin null":  {good, both("same-origin", "null"), 303},
		"right: origin alone":             {good, both("", origin), 303},
		"right: origin, capital host":     {good, both("", "https://WANDB.acme.test"), 303},
		"right: site alone":               {good, both("same-origin", ""), 303},
		"right: with the charset, quoted": {good, header("Content-Type", `application/x-www-form-urlencoded; charset="UTF-8"`), 303},
	} {
		before, sessions := len(h.passwords.asked), h.sessions()
		c1 := h.browser()
		for k, v := range b.jar {
			c1.jar[k] = v
		}
		a := c1.send(http.MethodPost, "/oidc/login", c.form.Encode(), c.change)
		if a.Code != c.status {
			t.Errorf("%s: %d, want %d: %s", name, a.Code, c.status, a.Body)
		}
		if c.status != 303 && (len(h.passwords.asked) != before || h.sessions() != sessions) {
			t.Errorf("%s: the password was judged", name)
		}
	}
}

func TestOnPlainHTTPTheOriginIsNamed(t *testing.T) {
	h := withPasswords(t, false)
	for target, want := range map[string]string{"http://" + host: "same-origin", "https://" + host: "no-referrer"} {
		b := h.browser()
		b.origin = target
		if a := b.get("/oidc/login"); a.Header().Get("Referrer-Policy") != want {
			t.Errorf("%s: %s", target, a.Header().Get("Referrer-Policy"))
		}
	}
	h = newHouse(t, func(c *Config) { c.Passwords, c.Hosts = &passwords{}, []string{"127.0.0.1:8080", "localhost:8080"} })
	for _, target := range []string{"http://127.0.0.1:8080", "http://localhost:8080"} {
		b := h.browser()
		b.origin = target
		if a := b.get("/oidc/login"); a.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %s", target, a.Header().Get("Referrer-Policy"))
		}
		b.origin = target
		h.passwords.err = nil
		a := b.post("/oidc/login", url.Values{"form": {"password"}, "token": {b.token("/oidc/login")}, "login": {"alice"}, "password": {"right"}})
		if a.Code != http.StatusSeeOther || b.jar[session.NameHTTP] == nil || b.jar[session.NameHTTP].Secure {
			t.Errorf("%s: %d %v", target, a.Code, b.jar)
		}
	}
}

func TestProviderAndDirectoryOnOnePage(t *testing.T) {
	h := withPasswords(t, true)
	b := h.browser()
	page := b.get("/oidc/login?return_to=/acme%3Fa=b").Body.String()
	link := `href="/oidc/login?with=provider&amp;return_to=%2Facme%3Fa%3Db"`
	if !strings.Contains(page, link) || !strings.Contains(page, "login.acme.test") || !strings.Contains(page, `type="password"`) || strings.Contains(page, "cannot be reached") {
		t.Error(page)
	}
	b.begin("/oidc/login?with=provider&return_to=%2Facme%3Fa%3Db")
	h.provider.away = errors.New("dial tcp")
	if page := b.get("/oidc/login").Body.String(); !strings.Contains(page, "cannot be reached") || strings.Contains(page, "dial tcp") {
		t.Error(page)
	}
	h = newHouse(t, func(c *Config) { c.Provider = nil })
	if a := h.browser().get("/oidc/login"); a.Code != http.StatusNotFound {
		t.Errorf("nothing is configured: %d", a.Code)
	}
	if a := h.browser().get("/oidc/callback?code=a&state=b"); a.Code != http.StatusNotFound {
		t.Errorf("nothing is configured: %d", a.Code)
	}
}

func restoring(t *testing.T) *house {
	return newHouse(t, func(c *Config) {
		c.Restore, c.Passwords = iam.NewSecret("temporary"), &passwords{}
		c.AccountFailures = failure.NewLimit[string](failure.Rate{Number: 5, Period: time.Hour})
	})
}

func (b *browser) restore(login, password string) answer {
	b.Helper()
	return b.post("/oidc/login", url.Values{"form": {"restore"}, "token": {b.token("/oidc/login")}, "login": {login}, "password": {password}, "return_to": {"/"}})
}

func TestRestore(t *testing.T) { // OIDC-24
	h := restoring(t)
	b := h.browser()
	page := b.get("/oidc/login").Body.String()
	if !strings.Contains(page, "LOCAL_RESTORE") || strings.Contains(page, "login.acme.test") || strings.Contains(page, "temporary\"") {
		t.Error(page)
	}
	if a := b.get("/oidc/callback?code=a&state=b"); a.Code != http.StatusNotFound {
		t.Errorf("single sign-on is on: %d", a.Code)
	}
	if a := b.get("/oidc/login?with=provider"); a.location() != "" {
		t.Errorf("single sign-on is on: %s", a.location())
	}
	token := b.token("/oidc/login")
	if a := b.post("/oidc/login", url.Values{"form": {"password"}, "token": {token}, "login": {"alice"}, "password": {"right"}}); a.Code != http.StatusBadRequest || h.sessions() != 0 {
		t.Errorf("the directory is on: %d", a.Code)
	}
	if a := b.restore("root", "wrong"); a.Code != http.StatusUnauthorized || h.sessions() != 0 {
		t.Errorf("%d", a.Code)
	}
	if a := b.restore("root", ""); a.Code != http.StatusUnauthorized {
		t.Errorf("%d", a.Code)
	}
	if a := b.restore("root", "temporary"); a.Code != http.StatusSeeOther || !b.signedIn() {
		t.Errorf("%d %s", a.Code, a.Body)
	}
	if e := h.last(); e.Action != ActionSignIn || e.Method != session.MethodRestore || e.Username != "root" || !e.Created {
		t.Errorf("%+v", e)
	}
	_, err := h.Login.Directory.CreateUser(context.Background(), directory.NewUser{Username: "alice"})
	h.ok(err)
	var texts []string
	for _, c := range [][2]string{{"alice", "temporary"}, {"nobody", "temporary"}, {"root", "guess"}} {
		a := h.browser().restore(c[0], c[1])
		if a.Code != http.StatusUnauthorized || h.sessions() != 1 {
			t.Errorf("%v: %d", c, a.Code)
		}
		texts = append(texts, strings.ReplaceAll(tokenField.ReplaceAllString(a.Body.String(), ""), `value="`+c[0]+`"`, ""))
	}
	if texts[0] != texts[1] || texts[0] != texts[2] {
		t.Errorf("the answers tell who is an admin:\n%s\n%s\n%s", texts[0], texts[1], texts[2])
	}
	if a := h.browser().restore("whoever", "guess"); a.Code != http.StatusTooManyRequests {
		t.Errorf("guessing goes on: %d", a.Code)
	}
	h.Login.Client = func(*http.Request) netip.Addr { return netip.MustParseAddr("198.51.100.1") }
	if a := h.browser().restore("root", "temporary"); a.Code != http.StatusSeeOther {
		t.Errorf("guesses from elsewhere lock the administrator out: %d", a.Code)
	}
}
