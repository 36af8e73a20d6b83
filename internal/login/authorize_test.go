package login

import (
	"context"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

func newAddressLimit(n int) *failure.Limit[netip.Prefix] {
	return failure.NewLimit[netip.Prefix](failure.Rate{Number: n, Period: time.Hour})
}

var keyOnPage = regexp.MustCompile(`id="key"[^>]*>(wbg-[0-9a-f]{40})<`)

func TestAuthorizeSignsInFirst(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser()
	a := b.get("/authorize?signup=true&ref=models")
	if a.Code != http.StatusSeeOther || a.location() != "/oidc/login?return_to=%2Fauthorize%3Fsignup%3Dtrue%26ref%3Dmodels" {
		t.Fatalf("%d to %s", a.Code, a.location())
	}
	if a := b.signIn(a.location()); a.location() != "/authorize?signup=true&ref=models" {
		t.Errorf("to %s", a.location())
	}
	if a := b.get("/authorize?signup=true&ref=models"); a.Code != http.StatusOK || keyOnPage.MatchString(a.Body.String()) {
		t.Errorf("a GET made a key: %d %s", a.Code, a.Body)
	}
	// A form of somebody who is signed out is not carried out after the sign-in.
	if a := h.browser().post("/authorize", url.Values{"form": {"create"}, "name": {"x"}}); a.Code != http.StatusUnauthorized || a.location() != "" {
		t.Errorf("%d", a.Code)
	}
}

func (h *house) keys(name string) (names []string) {
	h.Helper()
	id, err := h.Login.Directory.FindUser(context.Background(), name)
	h.ok(err)
	h.ok(h.Login.Directory.Keys(context.Background(), id.Ref(), func(k directory.Key) error { names = append(names, k.Name); return nil }))
	slices.Sort(names)
	return names
}

func TestKeysAreShownOnce(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser()
	b.signIn("/oidc/login")
	create := func(name string) answer {
		t.Helper()
		return b.post("/authorize", url.Values{"form": {"create"}, "token": {b.token("/authorize")}, "name": {name}})
	}
	a := create(" my <laptop> ")
	m := keyOnPage.FindStringSubmatch(a.Body.String())
	if a.Code != http.StatusOK || m == nil || !strings.Contains(a.Body.String(), "my &lt;laptop&gt;") {
		t.Fatalf("%d %s", a.Code, a.Body)
	}
	pageHeaders(t, a)
	if csp := a.Header().Get("Content-Security-Policy"); !strings.Contains(csp, "script-src 'sha256-") {
		t.Errorf("the button's script may not run: %s", csp)
	}
	p, err := h.Login.Directory.PrincipalByKey(context.Background(), iam.NewSecret(m[1]))
	if err != nil || p.Username != "alice" {
		t.Errorf("%+v, %v", p, err)
	}
	if e := h.last(); e.Action != ActionKeyCreated || e.Key == "" || strings.Contains(m[1], e.Session) {
		t.Errorf("%+v", e)
	}
	list := b.get("/authorize").Body.String()
	if strings.Contains(list, m[1]) || !strings.Contains(list, string(h.last().Key)) || !strings.Contains(list, "my &lt;laptop&gt;") {
		t.Error(list)
	}
	if again := keyOnPage.FindStringSubmatch(create("second").Body.String()); again == nil || again[1] == m[1] {
		t.Error("the second press made no new key")
	}
	for name, bad := range map[string]string{"nothing": "", "blanks": "  ", "too long": strings.Repeat("x", 129), "a control character": "a\x00b"} {
		if a := create(bad); a.Code != http.StatusBadRequest || !strings.Contains(a.Body.String(), `role="alert"`) {
			t.Errorf("%s: %d", name, a.Code)
		}
	}
	if got := h.keys("alice"); !slices.Equal(got, []string{"my <laptop>", "second"}) {
		t.Errorf("%v", got)
	}
}

func TestOnlyOnesOwnKeysAndSessions(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser()
	b.signIn("/oidc/login")
	alice, err := h.Login.Directory.FindUser(context.Background(), "alice")
	h.ok(err)
	bob, err := h.Login.Directory.CreateUser(context.Background(), directory.NewUser{Username: "bob"})
	h.ok(err)
	_, foreign, err := h.Login.Directory.MintKey(context.Background(), bob.After.ID.Ref(), "bob's")
	h.ok(err)
	_, own, err := h.Login.Directory.MintKey(context.Background(), alice.Ref(), "mine")
	h.ok(err)
	secret, theirs, err := h.Login.Sessions.Create(context.Background(), session.NewSession{Principal: bob.After.ID.Ref(), Method: session.MethodLDAP})
	h.ok(err)
	second, mine, err := h.Login.Sessions.Create(context.Background(), session.NewSession{Principal: alice.Ref(), Method: session.MethodLDAP, UserAgent: "Second/2 <b>"})
	h.ok(err)
	post := func(form, id string) answer {
		t.Helper()
		return b.post("/authorize", url.Values{"form": {form}, "token": {b.token("/authorize")}, "id": {id}})
	}
	page := b.get("/authorize").Body.String()
	if strings.Contains(page, string(foreign.After.ID)) || strings.Contains(page, theirs.ID) || !strings.Contains(page, "this browser") || !strings.Contains(page, "Second/2 &lt;b&gt;") {
		t.Error(page)
	}
	post("delete", string(foreign.After.ID))
	post("end", theirs.ID)
	if !h.good(secret) || len(h.keys("bob")) != 1 {
		t.Error("what is bob's is gone")
	}
	if a := post("delete", string(own.After.ID)); a.Code != http.StatusSeeOther || a.location() != "/authorize" || len(h.keys("alice")) != 0 || h.last().Action != ActionKeyDeleted {
		t.Errorf("%d, keys %v", a.Code, h.keys("alice"))
	}
	if a := post("end", mine.ID); a.Code != http.StatusSeeOther || h.good(second) || !b.signedIn() || h.last().Action != ActionSessionEnded {
		t.Errorf("%d", a.Code)
	}
	for _, c := range [][2]string{{"delete", "x"}, {"end", "x"}, {"nothing", "x"}} {
		if a := post(c[0], c[1]); a.Code != http.StatusBadRequest {
			t.Errorf("%v: %d", c, a.Code)
		}
	}
	// The token of one session is of no use in another.
	token := b.token("/authorize")
	b.signIn("/oidc/login")
	if a := b.post("/authorize", url.Values{"form": {"create"}, "token": {token}, "name": {"x"}}); a.Code != http.StatusForbidden || len(h.keys("alice")) != 0 {
		t.Errorf("%d", a.Code)
	}
	for name, change := range map[string]func(*http.Request){
		"cross-site": func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"foreign":    func(r *http.Request) { r.Header.Set("Origin", "https://evil.example") },
	} {
		a := b.send(http.MethodPost, "/authorize", url.Values{"form": {"create"}, "token": {b.token("/authorize")}, "name": {"x"}}.Encode(), change)
		if a.Code != http.StatusForbidden || len(h.keys("alice")) != 0 {
			t.Errorf("%s: %d", name, a.Code)
		}
	}
	_, here, err := h.SignedIn(request(b))
	h.ok(err)
	if a := post("end", here.ID); a.Code != http.StatusSeeOther || b.signedIn() || b.jar[session.NameHTTPS] != nil {
		t.Errorf("%d", a.Code)
	}
}

func request(b *browser) *http.Request {
	r, _ := http.NewRequest("GET", origin+"/", nil)
	r.AddCookie(&http.Cookie{Name: session.NameHTTPS, Value: b.cookie().Reveal()})
	return r
}

func TestStoreAwayAtEveryDoor(t *testing.T) {
	h := newHouse(t, nil)
	b := h.browser()
	b.signIn("/oidc/login")
	for _, k := range []string{"A", "B"} { // whose session nobody has cached
		c := h.browser()
		c.jar[session.NameHTTPS] = &http.Cookie{Name: session.NameHTTPS, Value: strings.Repeat(k, 42) + "A"}
		h.store.away.Store(true)
		for _, target := range []string{"/authorize", "/logout"} {
			if a := c.get(target); a.Code != http.StatusServiceUnavailable || a.Header().Get("Retry-After") == "" {
				t.Errorf("%s: %d", target, a.Code)
			}
		}
		h.store.away.Store(false)
	}
}

func TestChoosingTeams(t *testing.T) { // JOIN-9
	h := newHouse(t, func(c *Config) {
		c.Settings.Domains = []directory.Domain{{Name: "acme.test", DefaultTeam: "everyone", Choose: []string{"vision", "speech", "audio"}}}
	})
	ctx := context.Background()
	_, err := h.Login.Directory.CreateUser(ctx, directory.NewUser{Username: "root", Role: iam.OrganizationAdmin})
	h.ok(err)
	ids := map[string]iam.TeamID{}
	for _, name := range []string{"everyone", "vision", "speech", "audio", "closed"} {
		c, err := h.Login.Directory.CreateTeam(ctx, name)
		h.ok(err)
		ids[name] = c.After.ID
	}
	b := h.browser()
	a := b.signIn("/oidc/login?return_to=/acme/x")
	if a.location() != "/oidc/login?step=teams" {
		t.Fatalf("to %s", a.location())
	}
	page := b.get(a.location())
	pageHeaders(t, page)
	for _, name := range []string{"vision", "speech", "audio"} {
		if !strings.Contains(page.Body.String(), `value="`+string(ids[name])+`"> `+name) {
			t.Errorf("%s is not offered: %s", name, page.Body)
		}
	}
	choose := func(b *browser, token string, teams ...string) answer {
		t.Helper()
		return b.post("/oidc/login", url.Values{"form": {"teams"}, "token": {token}, "team": teams})
	}
	token := b.token("/oidc/login?step=teams")
	if a := choose(b, token, string(ids["vision"]), string(ids["closed"])); a.Code != http.StatusBadRequest {
		t.Errorf("a team that was not offered: %d", a.Code)
	}
	// Somebody else cannot use the offer.
	other := h.browser()
	h.passwords.err = nil
	for k, v := range b.jar {
		if k != session.NameHTTPS {
			other.jar[k] = v
		}
	}
	if a := choose(other, token, string(ids["vision"])); a.Code != http.StatusForbidden {
		t.Errorf("without the session: %d", a.Code)
	}
	if a := choose(b, token, string(ids["vision"]), string(ids["audio"])); a.Code != http.StatusSeeOther || a.location() != "/acme/x" {
		t.Errorf("%d to %s: %s", a.Code, a.location(), a.Body)
	}
	p, _, err := h.SignedIn(request(b))
	h.ok(err)
	var teams []string
	for _, m := range p.Teams {
		teams = append(teams, m.Name)
	}
	if !slices.Equal(teams, []string{"audio", "everyone", "vision"}) || h.last().Action != ActionTeamsJoined || !slices.Equal(h.last().Joined, []string{"vision", "audio"}) {
		t.Errorf("in %v; %+v", teams, h.last())
	}
	if a := b.get("/oidc/login?step=teams"); a.location() != "/" {
		t.Errorf("the offer is still there: %d", a.Code)
	}
	if a := b.signIn("/oidc/login?return_to=/acme"); a.location() != "/acme" {
		t.Errorf("offered again: %s", a.location())
	}
}
