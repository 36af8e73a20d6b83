package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// grantType is the one grant of the door (RFC 7523).
const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// grant is what the door answers.
type grant struct {
	AccessToken string          `json:"access_token"`
	ExpiresIn   json.RawMessage `json:"expires_in"`
	TokenType   string          `json:"token_type"`
}

// oauthError is an error body of OAuth (RFC 6749 section 5.2).
type oauthError struct {
	Error       string `json:"error"`
	Description string `json:"error_description"`
}

func (a answer) oauth() (e oauthError) {
	json.Unmarshal([]byte(a.body), &e)
	return e
}

// exchange sends an assertion as wandb-core does (sdk-wire 1.3).
func (p *process) exchange(assertion string) answer {
	p.t.Helper()
	return p.form("grant_type=" + grantType + "&assertion=" + url.QueryEscape(assertion))
}

// form posts a form to the door.
func (p *process) form(body string) answer {
	p.t.Helper()
	return p.send("POST", "/oidc/token", "", body, http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "User-Agent": {"wandb-core"},
	})
}

// mustExchange returns the access token for an assertion that must be accepted.
func (p *process) mustExchange(t *testing.T, assertion string) string {
	t.Helper()
	got := p.exchange(assertion)
	var g grant
	if err := json.Unmarshal([]byte(got.body), &g); got.status != http.StatusOK || err != nil || g.AccessToken == "" {
		t.Fatalf("the exchange is answered %d %.300s", got.status, got.body)
	}
	return g.AccessToken
}

// bearer sends the request of a run that logs metrics with a bearer token.
func (p *process) bearer(project, token string) answer {
	p.t.Helper()
	return p.send("POST", "/files/"+project+"/run1/file_stream", "", "{}", http.Header{"Authorization": {"Bearer " + token}})
}

// withExternal is acme with an external service account of the issuer in team vision.
func withExternal(issuer, name, subject string) string {
	account, err := json.Marshal(map[string]string{"name": name, "team": "vision", "issuer": issuer, "subject": subject})
	if err != nil {
		panic(err)
	}
	return strings.Replace(acme, `"service_accounts": [`, `"service_accounts": [`+string(account)+`,`, 1)
}

// ciSubject is the subject of the external service account gh-train.
const ciSubject = "repo:acme/detector:ref:refs/heads/main"

// federated is a gateway that trusts one issuer and knows acme and gh-train.
type federated struct {
	*process
	issuer   *issuer
	key      *signingKey
	upstream *recorder
}

func startFederated(t *testing.T) federated {
	t.Helper()
	key := newKey(t, "ES256", "k1")
	f := federated{issuer: newIssuer(t, key), key: key, upstream: newRecorder(t)}
	f.process = start(t, config{global: trusting(f.issuer), caddy: "debug", upstream: f.upstream.host()})
	f.importFile(withExternal(f.issuer.name, "gh-train", ciSubject))
	return f
}

// assertion is a fresh one for a subject.
func (f federated) assertion(subject string) string { return f.key.token(f.issuer.claims(subject)) }

// told asserts that exactly one request reached the upstream, under this name and without the token.
func (f federated) told(t *testing.T, name, token string) received {
	t.Helper()
	got := f.upstream.take()
	if len(got) != 1 {
		t.Fatalf("the upstream got %d requests, want 1", len(got))
	}
	if user := got[0].header.Values("X-Forwarded-User"); !slices.Equal(user, []string{name}) {
		t.Errorf("the upstream is told %q, want %q", user, name)
	}
	if all := fmt.Sprint(got[0]); strings.Contains(all, token) || got[0].header.Get("Authorization") != "" {
		t.Error("the caller's credential reached the upstream")
	}
	return got[0]
}

// TestExchange is the exact request and answer of sdk-wire 1.3, in both spellings that clients have.
func TestExchange(t *testing.T) {
	f := startFederated(t)
	for name, body := range map[string]func(string) string{
		"go":     func(a string) string { return "grant_type=" + grantType + "&assertion=" + url.QueryEscape(a) },
		"old go": func(a string) string { return "grant_type=" + grantType + "&assertion=" + a },
		// Old clients send the file as it is, and files end with a line break.
		"old go, line break": func(a string) string { return "grant_type=" + grantType + "&assertion=" + a + "\n" },
		"old go, CRLF":       func(a string) string { return "grant_type=" + grantType + "&assertion=" + a + "\r\n" },
		"python":             func(a string) string { return url.Values{"grant_type": {grantType}, "assertion": {a}}.Encode() },
		"reverse":            func(a string) string { return "assertion=" + a + "&grant_type=" + url.QueryEscape(grantType) },
		"more":               func(a string) string { return "assertion=" + a + "&grant_type=" + grantType + "&resource=x" },
	} {
		t.Run(name, func(t *testing.T) {
			got := f.form(body(f.assertion("alice@acme.test")))
			if got.status != http.StatusOK {
				t.Fatalf("answered %d %s", got.status, got.body)
			}
			var g grant
			if err := json.Unmarshal([]byte(got.body), &g); err != nil {
				t.Fatal(err)
			}
			// Clients decode an integer, and exchange before every request at 300 s or less.
			var seconds int
			if err := json.Unmarshal(g.ExpiresIn, &seconds); err != nil || seconds <= 300 || seconds > 3600 || strings.ContainsAny(string(g.ExpiresIn), ".eE") {
				t.Errorf("expires_in is %s", g.ExpiresIn)
			}
			if g.TokenType != "Bearer" || g.AccessToken == "" {
				t.Errorf("answered %s", got.body)
			}
			if got.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json") || got.header.Get("Set-Cookie") != "" {
				t.Errorf("header %v", got.header)
			}
			if n := len(f.upstream.take()); n != 0 {
				t.Errorf("the upstream got %d requests", n)
			}
			if a := f.bearer("vision/team", g.AccessToken); a.status != http.StatusOK {
				t.Errorf("the token gets %d %s", a.status, a.body)
			}
			f.told(t, "alice", g.AccessToken)
		})
	}
	t.Run("lifetime", func(t *testing.T) {
		p := start(t, config{global: trusting(f.issuer) + "access_token {\n\t\t\tlifetime 10m\n\t\t}", upstream: f.upstream.host()})
		p.importFile(acme)
		got := p.exchange(f.assertion("alice@acme.test"))
		if !strings.Contains(got.body, `"expires_in":600`) {
			t.Errorf("answered %d %.200s", got.status, got.body)
		}
	})
	f.holdsNoCanary(canary)
}

// TestAccessToken is RFC 9068 and the published keys: a third party can verify what we mint.
func TestAccessToken(t *testing.T) {
	f := startFederated(t)
	token := f.mustExchange(t, f.assertion("alice@acme.test"))
	header, claims := decodeToken(t, token)
	if header["typ"] != "at+jwt" || header["alg"] != "ES256" || header["kid"] == "" {
		t.Errorf("the header is %v", header)
	}
	for _, name := range []string{"iss", "sub", "aud", "client_id", "iat", "exp", "jti"} {
		if claims[name] == nil {
			t.Errorf("claim %s is missing in %v", name, claims)
		}
	}
	if subject, _ := claims["sub"].(string); !strings.HasPrefix(subject, "user:") {
		t.Errorf("sub is %v", claims["sub"])
	}
	if strings.Contains(fmt.Sprint(claims), canary) {
		t.Error("the assertion's claims are in the access token")
	}
	got := f.send("GET", "/.well-known/wandb-gateway/jwks.json", "", "", nil)
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal([]byte(got.body), &set); err != nil || got.status != http.StatusOK {
		t.Fatalf("the key set is answered %d %s", got.status, got.body)
	}
	verified := false
	for _, k := range set.Keys {
		for _, private := range []string{"d", "k", "p", "q", "dp", "dq", "qi"} {
			if k[private] != nil {
				t.Errorf("the key set holds %q", private)
			}
		}
		verified = verified || k["kid"] == header["kid"] && verifiesES256(t, k, token)
	}
	if !verified {
		t.Errorf("no published key verifies the token: %s", got.body)
	}
	got = f.send("GET", "/.well-known/oauth-authorization-server", "", "", nil)
	var metadata struct {
		Issuer string   `json:"issuer"`
		Token  string   `json:"token_endpoint"`
		JWKS   string   `json:"jwks_uri"`
		Grants []string `json:"grant_types_supported"`
	}
	if err := json.Unmarshal([]byte(got.body), &metadata); err != nil || metadata.Issuer != claims["iss"] ||
		metadata.Token != f.url+"/oidc/token" || metadata.JWKS != f.url+"/.well-known/wandb-gateway/jwks.json" || !slices.Contains(metadata.Grants, grantType) {
		t.Errorf("the metadata is answered %d %s", got.status, got.body)
	}
	if n := len(f.upstream.take()); n != 0 {
		t.Errorf("the upstream got %d requests", n)
	}
}

func verifiesES256(t *testing.T, jwk map[string]any, token string) bool {
	t.Helper()
	point := []byte{4} // uncompressed, SEC 1 section 2.3.3
	for _, name := range []string{"x", "y"} {
		text, _ := jwk[name].(string)
		b, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		point = append(point, b...)
	}
	public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
	if err != nil {
		t.Fatalf("the published key %v: %v", jwk, err)
	}
	input, text, _ := cutLast(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(signature) != 64 {
		t.Fatalf("a signature of %d bytes: %v", len(signature), err)
	}
	sum := sha256.Sum256([]byte(input))
	return ecdsa.Verify(public, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
}

// TestCredentialForms: access token and assertion count as Bearer and as the password of Basic,
// whatever the user name (netrc).
func TestCredentialForms(t *testing.T) {
	f := startFederated(t)
	for name, token := range map[string]string{
		"access token": f.mustExchange(t, f.assertion("alice@acme.test")),
		"assertion":    f.assertion("alice@acme.test"),
	} {
		for form, authorization := range map[string]string{
			"bearer": "Bearer " + token, "api": basic(token), "netrc": "Basic " + base64.StdEncoding.EncodeToString([]byte("user:"+token)),
		} {
			for range 2 { // the second time from the cache
				t.Run(name+"/"+form, func(t *testing.T) {
					h := http.Header{"Authorization": {authorization}}
					if a := f.send("POST", "/files/vision/team/run1/file_stream", "", "{}", h); a.status != http.StatusOK {
						t.Fatalf("answered %d %s", a.status, a.body)
					}
					f.told(t, "alice", token)
				})
			}
		}
		if a := f.bearer("speech/notes", token); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
			t.Errorf("%s: another team's project answers %d", name, a.status)
		}
		// Beside another credential it is still one too many.
		h := http.Header{"Authorization": {"Bearer " + token, basic(aliceKey)}}
		if a := f.send("POST", "/files/vision/team/run1/file_stream", "", "{}", h); a.status != http.StatusBadRequest {
			t.Errorf("%s: two credentials are answered %d", name, a.status)
		}
	}
	if n := len(f.upstream.take()); n != 0 {
		t.Errorf("the upstream got %d refused requests", n)
	}
	f.holdsNoCanary(canary)
}

// TestSubjects: whom a subject stands for, and whom not (J11, J12).
func TestSubjects(t *testing.T) {
	f := startFederated(t)
	t.Run("a person, in any case", func(t *testing.T) {
		for _, subject := range []string{"alice@acme.test", "Alice@ACME.test"} {
			token := f.mustExchange(t, f.assertion(subject))
			f.bearer("vision/team", token)
			f.told(t, "alice", token)
		}
	})
	t.Run("an external service account", func(t *testing.T) {
		token := f.mustExchange(t, f.assertion(ciSubject))
		if _, claims := decodeToken(t, token); !strings.HasPrefix(fmt.Sprint(claims["sub"]), "service_account:") {
			t.Errorf("sub is %v", claims["sub"])
		}
		if a := f.bearer("vision/team", token); a.status != http.StatusOK {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
		q := f.told(t, "gh-train", token)
		if q.header.Get("X-Forwarded-Groups") != "vision" || !strings.HasPrefix(q.header.Get("X-Wandb-Gateway-Principal"), "service_account:") {
			t.Errorf("the upstream is told %v", q.header)
		}
		if a := f.bearer("speech/notes", token); a.status != http.StatusForbidden && a.status != http.StatusNotFound {
			t.Errorf("another team's project answers %d", a.status)
		}
	})
	t.Run("an external service account works for a member", func(t *testing.T) { // FED-30
		token := f.mustExchange(t, f.assertion(ciSubject))
		for name, want := range map[string]string{"alice": "alice", "bob": ""} {
			f.upstream.take()
			body := `{"query":"mutation U{upsertBucket(input:{name:\"r\",entityName:\"vision\",modelName:\"team\"}){inserted}}","variables":{},"operationName":"U"}`
			h := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + token}, "X-Wandb-Username": {name}}
			if a := f.send("POST", "/graphql", "", body, h); a.status != http.StatusOK {
				t.Fatalf("answered %d %s", a.status, a.body)
			}
			if q := f.told(t, "gh-train", token); q.header.Get("X-Wandb-Username") != want {
				t.Errorf("%s: attributed to %q, want %q", name, q.header.Get("X-Wandb-Username"), want)
			}
		}
	})
	t.Run("an external service account owns no key", func(t *testing.T) { // FED-31
		if out, err := f.iam("", "key", "create", "--owner", "service_account:gh-train", "--name", "x"); err == nil {
			t.Errorf("it got %d characters", len(out))
		}
	})
	t.Run("an e-mail beside the subject does not count", func(t *testing.T) {
		claims := f.issuer.claims("10769150350006150715113082367")
		claims["email"], claims["email_verified"] = "alice@acme.test", true
		if a := f.exchange(f.key.token(claims)); a.status != http.StatusBadRequest || a.oauth().Error != "invalid_grant" {
			t.Errorf("answered %d %.200s", a.status, a.body)
		}
	})
}

// TestAudiences: FED-22, FED-23 and what an explicit audience excludes.
func TestAudiences(t *testing.T) {
	key := newKey(t, "ES256", "k1")
	byDefault, explicit := newIssuer(t, key), newIssuer(t, key)
	upstream := newRecorder(t)
	global := trusting(byDefault) + fmt.Sprintf("\t\tjwt_issuer %s {\n\t\t\taudience https://gw.acme.test\n\t\t}\n", explicit.name)
	p := start(t, config{global: global, upstream: upstream.host()})
	p.importFile(acme)
	skipping := start(t, config{global: trusting(byDefault), upstream: upstream.host(), env: []string{"SKIP_AUDIENCE_VALIDATION=true"}})
	skipping.importFile(acme)
	for _, c := range []struct {
		name     string
		gateway  *process
		issuer   *issuer
		audience any
		status   int
	}{
		{"organization", p, byDefault, "acme", 200},
		{"wandb", p, byDefault, "wandb", 200},
		{"list", p, byDefault, []string{"other", "acme"}, 200},
		{"list of one", p, byDefault, []string{"wandb"}, 200},
		{"foreign", p, byDefault, "https://gw.acme.test", 400},
		{"explicit", p, explicit, "https://gw.acme.test", 200},
		{"explicit, organization", p, explicit, "acme", 400},
		{"explicit, wandb", p, explicit, "wandb", 400},
		{"skipped, foreign", skipping, byDefault, "anything", 200},
		{"skipped, none", skipping, byDefault, nil, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			claims := c.issuer.claims("alice@acme.test")
			if claims["aud"] = c.audience; c.audience == nil {
				delete(claims, "aud")
			}
			if a := c.gateway.exchange(key.token(claims)); a.status != c.status {
				t.Errorf("answered %d %.200s, want %d", a.status, a.body, c.status)
			}
		})
	}
}

// TestAlgorithms: each algorithm works with its key, also where the key set names none.
func TestAlgorithms(t *testing.T) {
	var keys []*signingKey
	issuers := []*issuer{newIssuer(t)} // one of all keys, then one for each key without id and algorithm
	for _, algorithm := range algorithms {
		k := newKey(t, algorithm, "key of "+algorithm)
		keys = append(keys, k)
		issuers = append(issuers, newIssuer(t, k.publishedAs(map[string]any{"kid": nil, "alg": nil, "use": nil})))
	}
	issuers[0].publish(keys...)
	p := start(t, config{global: trusting(issuers...), upstream: newRecorder(t).host()})
	p.importFile(acme)
	for n, k := range keys {
		t.Run(k.algorithm, func(t *testing.T) {
			p.mustExchange(t, k.token(issuers[0].claims("alice@acme.test")))
			p.mustExchange(t, k.headed(map[string]any{"kid": nil}, issuers[0].claims("alice@acme.test"))) // J21
			p.mustExchange(t, k.headed(map[string]any{"kid": nil, "typ": nil}, issuers[n+1].claims("alice@acme.test")))
		})
	}
}

// TestTimes is J13 with the leeway of 60 s; the margins are for slow machines.
func TestTimes(t *testing.T) {
	f := startFederated(t)
	now := time.Now()
	at := func(d time.Duration) any { return now.Add(d).Unix() }
	for name, c := range map[string]struct {
		claims map[string]any // nil removes one
		status int
	}{
		"expired within the leeway": {map[string]any{"iat": at(-time.Hour), "exp": at(-30 * time.Second)}, 200},
		"begins within the leeway":  {map[string]any{"nbf": at(55 * time.Second)}, 200},
		"issued within the leeway":  {map[string]any{"iat": at(55 * time.Second)}, 200},
		"no iat":                    {map[string]any{"iat": nil}, 200},
		"fractions":                 {map[string]any{"iat": float64(now.Unix()) + .5, "exp": float64(now.Unix()) + 300.25}, 200},
		"a day":                     {map[string]any{"exp": at(24*time.Hour - time.Minute)}, 200},
		"expired":                   {map[string]any{"iat": at(-time.Hour), "exp": at(-61 * time.Second)}, 400},
		"begins later":              {map[string]any{"nbf": at(2 * time.Minute)}, 400},
		"issued later":              {map[string]any{"iat": at(2 * time.Minute)}, 400},
		"ends before it was issued": {map[string]any{"iat": at(50 * time.Second), "exp": at(20 * time.Second)}, 400},
		"more than a day":           {map[string]any{"exp": at(24*time.Hour + 3*time.Minute)}, 400},
		"more than a day, no iat":   {map[string]any{"iat": nil, "exp": at(24*time.Hour + 3*time.Minute)}, 400},
		"more than a day, and old":  {map[string]any{"iat": at(-24 * time.Hour), "exp": at(time.Hour)}, 400},
		"ten years":                 {map[string]any{"exp": at(10 * 365 * 24 * time.Hour)}, 400},
		"no exp":                    {map[string]any{"exp": nil}, 400},
		"exp null":                  {map[string]any{"exp": json.RawMessage("null")}, 400},
		"exp a string":              {map[string]any{"exp": fmt.Sprint(at(time.Hour))}, 400},
		"exp zero":                  {map[string]any{"exp": 0}, 400},
		"exp negative":              {map[string]any{"exp": -1}, 400},
		"exp 1e308":                 {map[string]any{"exp": json.RawMessage("1e308")}, 400},
		"exp beyond every number":   {map[string]any{"exp": json.RawMessage("1e999")}, 400},
		"exp 2^63":                  {map[string]any{"exp": json.RawMessage("9223372036854775808")}, 400},
		"exp in milliseconds":       {map[string]any{"exp": now.Add(time.Hour).UnixMilli()}, 400},
		"exp true":                  {map[string]any{"exp": true}, 400},
		"exp a list":                {map[string]any{"exp": []any{at(time.Hour)}}, 400},
		"nbf a string":              {map[string]any{"nbf": fmt.Sprint(at(-time.Hour))}, 400},
		"iat a string":              {map[string]any{"iat": fmt.Sprint(at(0))}, 400},
		"iat before every clock":    {map[string]any{"iat": -1}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			claims := f.issuer.claims("alice@acme.test")
			for n, v := range c.claims {
				if claims[n] = v; v == nil {
					delete(claims, n)
				}
			}
			a := f.exchange(f.key.token(claims))
			if a.status != c.status || a.status == 400 && a.oauth().Error != "invalid_grant" {
				t.Errorf("answered %d %.200s, want %d", a.status, a.body, c.status)
			}
		})
	}
}

// TestAssertionMayComeAgain is J22 and J28: clients exchange the same assertion again while it is valid, and get a
// token each time, also after a restart (design 8).
func TestAssertionMayComeAgain(t *testing.T) {
	f := startFederated(t)
	assertion := f.assertion("alice@acme.test")
	first := f.mustExchange(t, assertion)
	second := f.mustExchange(t, assertion)
	f.stop()
	p := start(t, config{global: trusting(f.issuer), upstream: f.upstream.host(), dir: f.dir})
	third := p.mustExchange(t, assertion)
	for _, token := range []string{first, second, third} {
		if a := p.bearer("vision/team", token); a.status != http.StatusOK {
			t.Errorf("answered %d %s", a.status, a.body)
		}
	}
	// A token that outlived a restart still knows its principal.
	p.mustIAM("user", "set", "alice", "--active=false")
	for _, token := range []string{first, second, third} {
		if a := p.bearer("vision/team", token); a.status != http.StatusUnauthorized {
			t.Errorf("answered %d after deactivation", a.status)
		}
	}
}

// TestFederationConfiguration: what cannot be meant stops the start, naming the setting.
func TestFederationConfiguration(t *testing.T) {
	for name, c := range map[string]struct{ global, says string }{
		"short lifetime":      {"access_token {\n lifetime 599s\n}", "lifetime"},
		"negative lifetime":   {"access_token {\n lifetime -1h\n}", "lifetime"},
		"clear text":          {"jwt_issuer http://idp.acme.test", "https"},
		"other scheme":        {"jwt_issuer ftp://127.0.0.1", "https"},
		"user information":    {"jwt_issuer https://user:secret@idp.acme.test", "password"},
		"query":               {"jwt_issuer https://idp.acme.test/?a=b", "idp.acme.test"},
		"fragment":            {"jwt_issuer https://idp.acme.test/#a", "idp.acme.test"},
		"no host":             {"jwt_issuer https:///a", "issuer"},
		"twice":               {"jwt_issuer https://idp.acme.test\njwt_issuer https://idp.acme.test", "twice"},
		"no signature":        {"jwt_issuer https://idp.acme.test {\n algorithms none\n}", "none"},
		"symmetric":           {"jwt_issuer https://idp.acme.test {\n algorithms RS256 HS256\n}", "HS256"},
		"unknown algorithm":   {"jwt_issuer https://idp.acme.test {\n algorithms ES256K\n}", "ES256K"},
		"unknown preset":      {"jwt_issuer https://idp.acme.test {\n preset jenkins\n}", "jenkins"},
		"unknown option":      {"jwt_issuer https://idp.acme.test {\n trust everybody\n}", "trust"},
		"unset variable":      {"jwt_issuer {$NOT_SET}", "jwt_issuer"},
		"an empty audience":   {"jwt_issuer https://idp.acme.test {\n audience \"\"\n}", "audience"},
		"a variable of W&B's": {"", "SKIP_AUDIENCE_VALIDATION"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			file := filepath.Join(dir, "Caddyfile")
			text := config{global: c.global, upstream: "127.0.0.1:1"}.caddyfile("127.0.0.1:0", "127.0.0.1:0")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			var env []string
			if c.says == "SKIP_AUDIENCE_VALIDATION" {
				env = append(env, "SKIP_AUDIENCE_VALIDATION=perhaps")
			}
			out, err := runWith(dir, env, "validate", "--config", file, "--adapter", "caddyfile")
			if err == nil || !strings.Contains(out, c.says) {
				t.Errorf("validate: %v; want an error that says %q:\n%s", err, c.says, out)
			}
			if name == "user information" && strings.Contains(out, "secret") {
				t.Error("a password is printed")
			}
		})
	}
}
