package login

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/login/ldap"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

var update = flag.Bool("update", false, "write what the tests see into their golden files")

const (
	host   = "wandb.acme.test"
	origin = "https://" + host
	idp    = "https://login.acme.test"
)

// awayStore is a store that can be away.
type awayStore struct {
	store.Store
	away    atomic.Bool
	commits atomic.Int32
}

var errAway = errors.New("the store is away")

func (s *awayStore) Get(ctx context.Context, key string) (store.Record, error) {
	if s.away.Load() {
		return store.Record{}, errAway
	}
	return s.Store.Get(ctx, key)
}

func (s *awayStore) List(ctx context.Context, prefix, after string, limit int) ([]store.Record, error) {
	if s.away.Load() {
		return nil, errAway
	}
	return s.Store.List(ctx, prefix, after, limit)
}

func (s *awayStore) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	if s.away.Load() {
		return 0, errAway
	}
	s.commits.Add(1)
	return s.Store.Commit(ctx, writes...)
}

// provider is an OpenID provider that says what a test wants.
type provider struct {
	method   oidc.Method
	begin    error
	finish   func(f *oidc.Flow, a oidc.Answer) (*identity.Identity, error)
	finished []oidc.Answer
	signsOut string
	logout   func(token string) (oidc.Logout, error)
	away     error
	now      func() time.Time
}

func (p *provider) Issuer() string                 { return idp }
func (p *provider) Method() oidc.Method            { return p.method }
func (p *provider) Discover(context.Context) error { return p.Status().Err }

func (p *provider) Status() oidc.Status {
	return oidc.Status{SignsOut: p.signsOut != "", Err: p.away}
}

func (p *provider) Begin(_ context.Context, redirectURI, returnTo string) (string, *oidc.Flow, error) {
	if p.begin != nil {
		return "", nil, p.begin
	}
	f := &oidc.Flow{State: rand.Text(), Nonce: rand.Text(), Issuer: idp, RedirectURI: redirectURI, Created: p.now(), ReturnTo: returnTo}
	return idp + "/authorize?state=" + f.State, f, nil
}

func (p *provider) Finish(_ context.Context, f *oidc.Flow, a oidc.Answer) (*identity.Identity, error) {
	p.finished = append(p.finished, a)
	return p.finish(f, a)
}

func (p *provider) LogoutURL(_ context.Context, hint iam.Secret, postLogout string) (string, bool) {
	if p.signsOut == "" {
		return "", false
	}
	return p.signsOut + "?" + url.Values{"id_token_hint": {hint.Reveal()}, "post_logout_redirect_uri": {postLogout}}.Encode(), true
}

func (p *provider) LogoutToken(_ context.Context, token string) (oidc.Logout, error) {
	return p.logout(token)
}

// passwords knows alice by "right".
type passwords struct {
	asked  []string
	groups []string // of everybody; nil if nobody can tell
	err    error
}

func (p *passwords) Authenticate(_ context.Context, login string, password iam.Secret) (*identity.Identity, error) {
	p.asked = append(p.asked, login)
	switch {
	case p.err != nil:
		return nil, p.err
	case password.Reveal() != "right":
		return nil, &iam.Error{Kind: iam.KindUnauthenticated, Reason: ldap.ReasonWrongPassword, Message: "Wrong name or password."}
	}
	return &identity.Identity{Issuer: "ldap://ldap.acme.test:389/dc=acme", Subject: "uuid-" + ldap.Canonical(login),
		Email: ldap.Canonical(login) + "@acme.test", EmailVerified: identity.VerifiedTrue, Username: ldap.Canonical(login), Groups: p.groups, GroupsKnown: p.groups != nil}, nil
}

// house is a Login on an embedded store.
type house struct {
	testing.TB
	*Login
	store     *awayStore
	provider  *provider
	passwords *passwords
	events    []Event
	clock     time.Time
}

func newHouse(t testing.TB, change func(*Config)) *house {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	h := &house{TB: t, store: &awayStore{Store: s}, clock: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	now := func() time.Time { return h.clock }
	cache, err := hotcache.New(hotcache.Config{Store: h.store, Space: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	d, err := directory.New(directory.Config{Cache: cache, Organization: "acme", HMACKey: [32]byte{1}, Settings: authz.Settings{}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	sessions, err := session.New(session.Config{Cache: cache, Space: "acme", HMACKey: [32]byte{2}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	h.provider = &provider{method: oidc.PKCE, now: now, finish: func(*oidc.Flow, oidc.Answer) (*identity.Identity, error) { return person("alice"), nil }}
	h.passwords = &passwords{}
	c := Config{
		Directory: d, Sessions: sessions, Provider: h.provider,
		SealKey: [32]byte{3}, Settings: Settings{Provision: true}, Hosts: []string{host},
		HTTPS:     func(r *http.Request) bool { return r.URL.Scheme == "https" },
		Client:    func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.7") },
		RequestID: func(*http.Request) string { return "request-1" },
		Canonical: ldap.Canonical,
		Report:    func(_ *http.Request, e Event) { h.events = append(h.events, e) },
		Now:       now,
	}
	if change != nil {
		change(&c)
	}
	if h.Login, err = New(c); err != nil {
		t.Fatal(err)
	}
	return h
}

// withPasswords is newHouse with a directory, and with the provider only if both is set.
func withPasswords(t testing.TB, both bool) *house {
	p := &passwords{}
	h := newHouse(t, func(c *Config) {
		c.Passwords = p
		if !both {
			c.Provider = nil
		}
		rate := failure.Rate{Number: 3, Period: time.Hour}
		c.AccountFailures = failure.NewLimit[string](rate)
		c.AddressFailures = failure.NewLimit[netip.Prefix](failure.Rate{Number: 20, Period: time.Hour})
	})
	h.passwords = p
	return h
}

func person(name string) *identity.Identity {
	return &identity.Identity{Issuer: idp, Subject: "sub-" + name, Email: name + "@acme.test", EmailVerified: identity.VerifiedTrue,
		Username: name, SessionID: "sid-" + name, IDToken: iam.NewSecret("id-token-" + name)}
}

func (h *house) ok(err error) {
	h.Helper()
	if err != nil {
		h.Fatalf("unexpected: %v", err)
	}
}

func (h *house) last() Event {
	h.Helper()
	if len(h.events) == 0 {
		h.Fatal("nothing was reported")
	}
	return h.events[len(h.events)-1]
}

// sessions returns how many sessions there are in all.
func (h *house) sessions() (n int) {
	h.Helper()
	h.ok(h.Login.Sessions.List(context.Background(), iam.PrincipalRef{}, func(*session.Session) error { n++; return nil }))
	return n
}

func (h *house) serve(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/oidc/login":
		h.ServeLogin(w, r)
	case "/oidc/callback":
		h.ServeCallback(w, r)
	case "/oidc/backchannel-logout":
		h.ServeBackchannelLogout(w, r)
	case "/logout":
		h.ServeLogout(w, r)
	case "/authorize":
		h.ServeAuthorize(w, r)
	default:
		h.Fatalf("no door at %s", r.URL.Path)
	}
}

// browser keeps cookies and says of itself what browsers say.
type browser struct {
	*house
	origin string
	jar    map[string]*http.Cookie
}

func (h *house) browser() *browser {
	return &browser{house: h, origin: origin, jar: map[string]*http.Cookie{}}
}

type answer struct {
	*httptest.ResponseRecorder
	given []*http.Cookie
}

func (a answer) location() string { return a.Header().Get("Location") }

// send sends a request of the browser's, with its cookies. change comes last.
func (b *browser) send(method, target, body string, change func(*http.Request)) answer {
	b.Helper()
	r := httptest.NewRequest(method, b.origin+target, strings.NewReader(body))
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	r.Header.Set("User-Agent", "Browser/1.0")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.origin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	for _, c := range b.jar {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	if change != nil {
		change(r)
	}
	w := httptest.NewRecorder()
	b.serve(w, r)
	given := w.Result().Cookies()
	for _, c := range given {
		if c.MaxAge < 0 {
			delete(b.jar, c.Name)
		} else {
			b.jar[c.Name] = c
		}
	}
	if h := w.Header(); h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" && w.Code != http.StatusSeeOther {
		b.Errorf("%s %s: headers %v", method, target, h)
	}
	return answer{w, given}
}

func (b *browser) get(target string) answer {
	b.Helper()
	return b.send(http.MethodGet, target, "", nil)
}

func (b *browser) post(target string, form url.Values) answer {
	b.Helper()
	return b.send(http.MethodPost, target, form.Encode(), nil)
}

// begin begins a sign-in at the provider, and returns its state.
func (b *browser) begin(target string) string {
	b.Helper()
	a := b.get(target)
	u, err := url.Parse(a.location())
	if err != nil || a.Code != http.StatusSeeOther || !strings.HasPrefix(a.location(), idp+"/authorize?") {
		b.Fatalf("%d to %q: %s", a.Code, a.location(), a.Body)
	}
	return u.Query().Get("state")
}

func (b *browser) callback(state string) answer {
	b.Helper()
	return b.get("/oidc/callback?code=c&state=" + url.QueryEscape(state))
}

// signIn signs the browser in at the provider.
func (b *browser) signIn(target string) answer {
	b.Helper()
	a := b.callback(b.begin(target))
	if a.Code != http.StatusSeeOther || !b.signedIn() {
		b.Fatalf("not signed in: %d %s %v", a.Code, a.Body, b.last().Err)
	}
	return a
}

func (b *browser) cookie() iam.Secret {
	if c := b.jar[session.NameHTTPS]; c != nil {
		return iam.NewSecret(c.Value)
	}
	return iam.Secret{}
}

// signedIn reports whether the browser's cookie is good.
func (b *browser) signedIn() bool {
	b.Helper()
	return b.good(b.cookie())
}

func (h *house) good(secret iam.Secret) bool {
	h.Helper()
	r := httptest.NewRequest("GET", origin+"/", nil)
	r.AddCookie(&http.Cookie{Name: session.NameHTTPS, Value: secret.Reveal()})
	p, _, err := h.SignedIn(r)
	h.ok(err)
	return p != nil
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]+)"`)

// token returns the token of the forms on a page.
func (b *browser) token(target string) string {
	b.Helper()
	a := b.get(target)
	m := tokenField.FindStringSubmatch(a.Body.String())
	if m == nil {
		b.Fatalf("no form at %s: %d %s", target, a.Code, a.Body)
	}
	return m[1]
}

func (b *browser) password(login, password string) answer {
	b.Helper()
	return b.post("/oidc/login", url.Values{"form": {"password"}, "token": {b.token("/oidc/login")}, "login": {login}, "password": {password}, "return_to": {"/acme/x"}})
}
