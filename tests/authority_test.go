package tests

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// authority is an OpenID provider that a test controls: an issuer whose token endpoint forgives
// nothing. It has no pages: a visitor plays the person at them too.
type authority struct {
	*issuer
	key *signingKey

	mu       sync.Mutex
	document map[string]any // changes to the discovery document; nil removes
	tokens   map[string]any // changes to the answer of the token endpoint
	codes    map[string]issued
	redeemed int
	down     bool
}

// issued is what the authority remembers of a code: what PKCE binds it to, and what it is good for.
type issued struct{ challenge, redirectURI, idToken string }

const (
	gatewayClient = "wandb-gateway"
	gatewaySecret = "canary-of-the-client-6b1f"
	// signedOutAt is where the authority signs people out.
	signedOutAt = "/signed-out"
)

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key := newKey(t, "RS256", "k1")
	a := &authority{issuer: newIssuer(t, key), key: key, document: map[string]any{}, tokens: map[string]any{}, codes: map[string]issued{}}
	a.misbehaves(a.serve)
	return a
}

// set changes the authority between requests.
func (a *authority) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

func (a *authority) serve(w http.ResponseWriter, r *http.Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.down:
		w.WriteHeader(http.StatusBadGateway)
	case r.URL.Path == "/.well-known/openid-configuration":
		document := a.discovery()
		document["token_endpoint"], document["end_session_endpoint"] = a.URL+"/token", a.URL+signedOutAt
		document["response_types_supported"] = []string{"code", "id_token"}
		document["id_token_signing_alg_values_supported"] = []string{"RS256", "ES256"}
		changed(document, a.document)
		w.Header().Set("Content-Type", "application/json")
		json.NewEncoder(w).Encode(document)
	case r.URL.Path == "/token":
		a.redeem(w, r)
	default:
		return false
	}
	return true
}

// changed makes changes to an object; nil removes.
func changed(object, changes map[string]any) map[string]any {
	maps.Copy(object, changes)
	for name, value := range changes {
		if value == nil {
			delete(object, name)
		}
	}
	return object
}

func (a *authority) redeem(w http.ResponseWriter, r *http.Request) {
	r.ParseForm()
	a.redeemed++
	form := r.PostForm
	code, ok := a.codes[form.Get("code")]
	delete(a.codes, form.Get("code"))
	verifier := sha256.Sum256([]byte(form.Get("code_verifier")))
	status, body := http.StatusBadRequest, map[string]any{"error": "invalid_grant", "error_description": "no such code " + form.Get("code")}
	if ok && r.Method == http.MethodPost && r.URL.RawQuery == "" && form.Get("grant_type") == "authorization_code" &&
		code.redirectURI == form.Get("redirect_uri") && code.challenge == encode(verifier[:]) {
		status, body = http.StatusOK, changed(map[string]any{"access_token": "canary-" + rand.Text(), "token_type": "Bearer", "id_token": code.idToken}, a.tokens)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(body)
}

// says returns the claims of a good ID token about a person, with changes; nil removes one.
func (a *authority) says(person string, asked url.Values, changes map[string]any) map[string]any {
	now := time.Now().Unix()
	return changed(map[string]any{
		"iss": a.name, "sub": "sub-" + person, "aud": gatewayClient, "iat": now, "exp": now + 300, "nonce": asked.Get("nonce"),
		"email": person + "@acme.test", "email_verified": true, "name": "The person " + person, "preferred_username": person, "sid": "sid-" + person,
	}, changes)
}

// signInSite is a gateway at which people sign in.
type signInSite struct {
	*process
	authority *authority
	upstream  *recorder
	canaries  *[]string
}

// oidcBlock configures the authority.
func (a *authority) oidcBlock(method string, more ...string) string {
	return fmt.Sprintf("failure_limit off\n\t\toidc {\n\t\t\tissuer %s\n\t\t\tclient_id %s\n\t\t\tauth_method %s\n\t\t\t%s\n\t\t}", a.name, gatewayClient, method, strings.Join(more, "\n\t\t\t"))
}

// startSignIn starts a gateway before a new authority. change may add to the configuration, and sees
// the block of the authority in it. When the test ends, none of what visitors hold is in the log.
func startSignIn(t *testing.T, method string, change func(*config)) *signInSite {
	t.Helper()
	s := &signInSite{authority: newAuthority(t), upstream: newRecorder(t), canaries: new([]string)}
	c := config{global: s.authority.oidcBlock(method), upstream: s.upstream.host(), caddy: "debug"}
	if change != nil {
		change(&c)
	}
	s.process = start(t, c)
	t.Cleanup(func() { s.holdsNoCanary(*s.canaries...) })
	return s
}

// visitor is a person at a browser that speaks as browsers do, and keeps cookies as they do, but that
// follows nothing by itself.
type visitor struct {
	t    *testing.T
	site *signInSite
	// origin is the site's, as the browser has it in the address.
	origin string
	jar    http.CookieJar
	web    *http.Client
	// agent is the User-Agent.
	agent string
	// asked is what the authority was asked last.
	asked url.Values
	// page is the last page that was read.
	page string
}

func (s *signInSite) visitor(t *testing.T) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &visitor{t: t, site: s, origin: s.url, jar: jar, agent: "Mozilla/5.0 (a visitor)", web: &http.Client{
		Jar: jar, Timeout: 20 * time.Second, CheckRedirect: client.CheckRedirect, Transport: s.web.Transport,
	}}
}

// send sends a request with these headers beside the cookies.
func (v *visitor) send(method, path, body string, header http.Header) answer {
	v.t.Helper()
	res, err := v.try(method, path, body, header)
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		// As browsers do where a connection that was kept is closed: a reload closes them.
		res, err = v.try(method, path, body, header)
	}
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range res.Cookies() {
		v.hold(c.Value)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

func (v *visitor) try(method, path, body string, header http.Header) (*http.Response, error) {
	req, err := http.NewRequest(method, v.origin+path, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", v.agent)
	for name, values := range header {
		req.Header[name] = values
	}
	return v.web.Do(req)
}

// hold notes a secret, which no log may hold.
func (v *visitor) hold(secret string) {
	if len(secret) >= 20 {
		*v.site.canaries = append(*v.site.canaries, secret)
	}
}

// pageLoad are the headers of a page that somebody opens by typing its address.
func pageLoad() http.Header {
	return http.Header{"Accept": {"text/html,application/xhtml+xml,*/*;q=0.8"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-Dest": {"document"}, "Sec-Fetch-Site": {"none"}}
}

// load opens a page.
func (v *visitor) load(path string) answer {
	v.t.Helper()
	a := v.send(http.MethodGet, path, "", pageLoad())
	v.page = a.body
	return a
}

// script sends what a script of the site's own pages sends.
func (v *visitor) script(method, path, body string) answer {
	v.t.Helper()
	h := http.Header{"Accept": {"*/*"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"}, "Sec-Fetch-Site": {"same-origin"}, "Content-Type": {"application/json"}}
	if method != http.MethodGet {
		h.Set("Origin", v.origin)
	}
	return v.send(method, path, body, h)
}

// submit sends a form of the page that was loaded last.
func (v *visitor) submit(path string, form url.Values) answer {
	v.t.Helper()
	if token := tokenField.FindStringSubmatch(v.page); token != nil && form.Get("token") == "" {
		form.Set("token", html.UnescapeString(token[1]))
	}
	h := pageLoad()
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	h.Set("Origin", v.origin)
	h.Set("Sec-Fetch-Site", "same-origin")
	a := v.send(http.MethodPost, path, form.Encode(), h)
	v.page = a.body
	return a
}

var tokenField = regexp.MustCompile(`name="token" value="([^"]*)"`)

// begin begins a sign-in, and notes what the authority is asked.
func (v *visitor) begin(path string) {
	v.t.Helper()
	a := v.load(path)
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || a.status != http.StatusSeeOther || !strings.HasPrefix(to.String(), v.site.authority.URL+"/authorize?") {
		v.t.Fatalf("%s answers %d to %q %.300s, want 303 to the authority", path, a.status, a.header.Get("Location"), a.body)
	}
	v.asked = to.Query()
	v.hold(v.asked.Get("state"))
	v.hold(v.asked.Get("nonce"))
}

// answered sends what the authority answers to what it was asked: an ID token by a form on its page, or
// a code for it by a link.
func (v *visitor) answered(idToken string) answer {
	v.t.Helper()
	v.hold(idToken)
	form := url.Values{"state": {v.asked.Get("state")}}
	if v.asked.Get("response_type") == "id_token" {
		form.Set("id_token", idToken)
		return v.posted(form)
	}
	code := "canary-code-" + rand.Text()
	v.hold(code)
	v.site.authority.set(func() {
		v.site.authority.codes[code] = issued{v.asked.Get("code_challenge"), v.asked.Get("redirect_uri"), idToken}
	})
	form.Set("code", code)
	return v.linked(form)
}

// posted is a form that the authority's page posts to the callback.
func (v *visitor) posted(form url.Values) answer {
	v.t.Helper()
	h := pageLoad()
	h.Set("Content-Type", "application/x-www-form-urlencoded")
	h.Set("Origin", v.site.authority.URL)
	h.Set("Sec-Fetch-Site", "cross-site")
	return v.send(http.MethodPost, "/oidc/callback", form.Encode(), h)
}

// linked is a redirect of the authority's to the callback.
func (v *visitor) linked(query url.Values) answer {
	v.t.Helper()
	h := pageLoad()
	h.Set("Sec-Fetch-Site", "cross-site")
	return v.send(http.MethodGet, "/oidc/callback?"+query.Encode(), "", h)
}

// tries signs in as a person, about whom the authority says something else than usual.
func (v *visitor) tries(person string, changes map[string]any) answer {
	v.t.Helper()
	v.begin("/oidc/login?return_to=/home")
	return v.answered(v.site.authority.key.token(v.site.authority.says(person, v.asked, changes)))
}

// signIn signs in as a person, which must work.
func (v *visitor) signIn(person string, changes map[string]any) *visitor {
	v.t.Helper()
	if a := v.tries(person, changes); a.status != http.StatusSeeOther || a.header.Get("Location") != "/home" {
		v.t.Fatalf("signing in as %s ends with %d to %q %.400s", person, a.status, a.header.Get("Location"), a.body)
	}
	return v
}

// whoami is the user name under which the browser is signed in, "" if it is not.
func (v *visitor) whoami() string {
	v.t.Helper()
	a := v.script(http.MethodPost, "/graphql", `{"query":"{viewer{username}}"}`)
	var body struct {
		Data struct{ Viewer *struct{ Username string } }
	}
	switch err := json.Unmarshal([]byte(a.body), &body); {
	case a.status == http.StatusUnauthorized:
		return ""
	case a.status != http.StatusOK || err != nil || body.Data.Viewer == nil:
		v.t.Fatalf("the viewer is answered %d %.300s", a.status, a.body)
	}
	return body.Data.Viewer.Username
}

// mustBe asserts who is signed in at the browser; "" for nobody.
func (v *visitor) mustBe(when, username string) {
	v.t.Helper()
	if got := v.whoami(); got != username {
		v.t.Errorf("%s, the browser is signed in as %q, want %q", when, got, username)
	}
}

// cookies returns the browser's cookies of the site by name.
func (v *visitor) cookies() map[string]string {
	site, err := url.Parse(v.origin)
	if err != nil {
		v.t.Fatal(err)
	}
	found := map[string]string{}
	for _, c := range v.jar.Cookies(site) {
		found[c.Name] = c.Value
	}
	return found
}

// session is the value of the session's cookie, "" without one.
func (v *visitor) session() string {
	found := v.cookies()
	return cmp.Or(found["__Host-wandb-gateway"], found["wandb-gateway"])
}

// signInEvents are the lines of the log about signing in and out with this action, so far.
func (s *signInSite) signInEvents(action string) []entry {
	return slices.DeleteFunc(s.entries("sign-in", 0), func(e entry) bool { return e.fields["action"] != action })
}

// awaitRefusal waits for one more refusal in the log than there were, and returns its reason.
func (s *signInSite) awaitRefusal(action string, before int) string {
	s.t.Helper()
	var events []entry
	s.await("a line about "+action, 10*time.Second, func() bool {
		events = s.signInEvents(action)
		return len(events) > before
	})
	reason, _ := events[len(events)-1].fields["reason"].(string)
	return reason
}

// refuses asserts that an attempt ends with this status, for this reason, and with nothing else: no
// session in the browser, nothing at the upstream, a refusal in the log (threats F12).
func (s *signInSite) refuses(t *testing.T, v *visitor, status int, reason string, attempt func() answer) answer {
	t.Helper()
	s.upstream.take()
	held, before := v.session(), len(s.signInEvents("sign_in_refused"))
	a := attempt()
	if a.status != status {
		t.Errorf("answered %d %.300s, want %d", a.status, a.body, status)
	}
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if strings.HasSuffix(c.Name, "wandb-gateway") && c.MaxAge >= 0 && c.Value != "" {
			t.Errorf("it gives the session %s", c.Name)
		}
	}
	if got := s.awaitRefusal("sign_in_refused", before); got != reason {
		t.Errorf("the log says %q, want %q", got, reason)
	}
	if held == "" && v.whoami() != "" {
		t.Errorf("the browser is signed in as %s", v.whoami())
	}
	if got := s.upstream.take(); len(got) != 0 {
		t.Errorf("the upstream got %d requests", len(got))
	}
	if h := a.header; h.Get("Cache-Control") != "no-store" || !strings.Contains(h.Get("Content-Security-Policy"), "default-src 'none'") || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") {
		t.Errorf("the page's headers are %v", h)
	}
	if strings.Contains(a.body, "<script") || strings.Contains(a.body, canary) {
		t.Errorf("the page shows what came from outside: %.600s", a.body)
	}
	return a
}
