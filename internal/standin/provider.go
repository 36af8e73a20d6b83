package standin

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// Provider is a small OpenID provider: a page with one button for each person, codes with PKCE (RFC
// 7636), and ID tokens. It also signs identity tokens as a CI system does. Whoever presses a button is
// that person, so it is for the demo and for tests on one machine, and for nothing else.
type Provider struct {
	url    string
	client string
	people []Person
	key    *jws.PrivateKey
	mux    *http.ServeMux
	now    func() time.Time

	mu    sync.Mutex
	codes map[string]grantedCode
}

// Person is somebody who can sign in at a Provider.
type Person struct{ Username, Email, Name string }

// grantedCode is a sign-in between the button and the gateway's question.
type grantedCode struct {
	person                     Person
	redirect, nonce, challenge string
	expires                    time.Time
}

const (
	codeLife = time.Minute
	// maxCodes bounds what strangers on this machine can make it remember.
	maxCodes = 1000
)

// NewProvider returns a provider that is served at url, for the gateway as a public client of that name.
func NewProvider(url, client string, people ...Person) (*Provider, error) {
	key, err := jws.NewPrivateKey("ES256")
	if err != nil {
		return nil, err
	}
	p := &Provider{url: url, client: client, people: people, key: key, mux: http.NewServeMux(), now: time.Now, codes: make(map[string]grantedCode)}
	p.mux.HandleFunc("GET /.well-known/openid-configuration", p.serveConfiguration)
	p.mux.HandleFunc("GET /keys", p.serveKeys)
	p.mux.HandleFunc("GET /authorize", p.serveChoice)
	p.mux.HandleFunc("POST /authorize", p.serveChosen)
	p.mux.HandleFunc("POST /token", p.serveToken)
	p.mux.HandleFunc("GET /end-session", p.serveEndSession)
	return p, nil
}

// ServeHTTP implements http.Handler.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.mux.ServeHTTP(w, r) }

// IdentityToken is what a CI system would give a job: an assertion about the subject, for the audience.
func (p *Provider) IdentityToken(subject, audience string, life time.Duration) (string, error) {
	now := p.now()
	return p.key.Sign("JWT", map[string]any{
		"iss": p.url, "sub": subject, "aud": audience, "iat": now.Unix(), "exp": now.Add(life).Unix(), "jti": rand.Text(),
	})
}

func (p *Provider) serveConfiguration(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]any{
		"issuer": p.url, "authorization_endpoint": p.url + "/authorize", "token_endpoint": p.url + "/token",
		"jwks_uri": p.url + "/keys", "end_session_endpoint": p.url + "/end-session",
		"response_types_supported": []string{"code"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "code_challenge_methods_supported": []string{"S256"},
		"token_endpoint_auth_methods_supported": []string{"none"}, "authorization_response_iss_parameter_supported": true,
	})
}

func (p *Provider) serveKeys(w http.ResponseWriter, _ *http.Request) {
	text, err := jws.MarshalKeySet([]*jws.Key{p.key.Public()})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Write(text)
}

var choicePage = template.Must(template.New("choice").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Who are you? – stand-in provider</title>
<style>body{font:1rem/1.5 system-ui,sans-serif;max-width:24rem;margin:15vh auto 0;padding:0 1rem}button{display:block;width:100%;margin:.5rem 0;padding:.6rem;font:inherit}</style>
<main>
<h1>Who are you?</h1>
<p>This page plays the company's OpenID provider.</p>
<form method="post">
{{range .}}<button name="username" value="{{.Username}}">{{.Name}}</button>
{{end}}</form>
</main>
</html>
`))

func (p *Provider) serveChoice(w http.ResponseWriter, r *http.Request) {
	if !p.asked(r) {
		http.Error(w, "this is no request of the gateway's", http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	choicePage.Execute(w, p.people)
}

// asked reports whether a request is one that the gateway makes: a code with PKCE, for its client.
func (p *Provider) asked(r *http.Request) bool {
	q := r.URL.Query()
	return q.Get("client_id") == p.client && q.Get("response_type") == "code" && q.Get("code_challenge_method") == "S256" && q.Get("code_challenge") != ""
}

func (p *Provider) serveChosen(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	person, known := p.person(r.PostFormValue("username"))
	q := r.URL.Query()
	redirect, err := url.Parse(q.Get("redirect_uri"))
	if !p.asked(r) || !known || err != nil {
		http.Error(w, "this is no request of the gateway's", http.StatusBadRequest)
		return
	}
	code := rand.Text()
	p.mu.Lock()
	if len(p.codes) >= maxCodes {
		clear(p.codes)
	}
	p.codes[code] = grantedCode{person, q.Get("redirect_uri"), q.Get("nonce"), q.Get("code_challenge"), p.now().Add(codeLife)}
	p.mu.Unlock()
	redirect.RawQuery = url.Values{"code": {code}, "state": {q.Get("state")}, "iss": {p.url}}.Encode()
	http.Redirect(w, r, redirect.String(), http.StatusSeeOther)
}

func (p *Provider) person(username string) (Person, bool) {
	for _, person := range p.people {
		if person.Username == username {
			return person, true
		}
	}
	return Person{}, false
}

func (p *Provider) serveToken(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
	code := r.PostFormValue("code")
	p.mu.Lock()
	granted, ok := p.codes[code]
	delete(p.codes, code)
	p.mu.Unlock()
	verifier := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	challenge := base64.RawURLEncoding.EncodeToString(verifier[:])
	if !ok || p.now().After(granted.expires) || granted.redirect != r.PostFormValue("redirect_uri") ||
		subtle.ConstantTimeCompare([]byte(challenge), []byte(granted.challenge)) != 1 {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	now := p.now()
	token, err := p.key.Sign("JWT", map[string]any{
		"iss": p.url, "sub": "person-" + granted.person.Username, "aud": p.client, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"nonce": granted.nonce, "sid": rand.Text(), "email": granted.person.Email, "email_verified": true,
		"preferred_username": granted.person.Username, "name": granted.person.Name,
	})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 3600, "id_token": token})
}

func (p *Provider) serveEndSession(w http.ResponseWriter, r *http.Request) {
	back, err := url.Parse(r.URL.Query().Get("post_logout_redirect_uri"))
	if err != nil || back.Host == "" {
		w.Write([]byte("You are signed out.\n"))
		return
	}
	http.Redirect(w, r, back.String(), http.StatusSeeOther)
}
