package tests

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// payloads are addresses to come back to that lead elsewhere, or could (threats b.3).
var payloads = []string{
	"//evil.example", "///evil.example", "////evil.example/%2e%2e", `/\evil.example`, `\\evil.example`,
	`/\/evil.example`, `\/\/evil.example`, "/%5cevil.example", "/%09/evil.example", "/\t/evil.example",
	"/\n/evil.example", "/\r/evil.example", "/\v/evil.example", "/ /evil.example", "/\t\t\\\t/evil.example",
	`/./\evil.example`, `/./../../\evil.example`, "/..//evil.example", "/.//evil.example", "/%2f%2fevil.example",
	"%2f%2fevil.example", "/%2fevil.example", "https:evil.example", "https:/evil.example", "https:///evil.example",
	`http:\\evil.example`, "hTTps://evil.example", "//evil%00.example", "//evil%E3%80%82example", "〵evil.example",
	"https://gw.test@evil.example", "https://gw.test:443@evil.example", "https://gw.test%40evil.example", "https://evil.example#@gw.test",
	"https://gw.test.evil.example", "https://evilgw.test", `https://gw.test\.evil.example`, `https://evil.example\@gw.test`, "https://evil.example?gw.test",
	"https://gw.test%0d%0aLocation:%20https://evil.example", "/path%0d%0aSet-Cookie:x=1", "/path\r\nSet-Cookie:x=1",
	"javascript:alert(1)", "java%0dscript:alert(1)", "data:text/html,x", "vbscript:x", "blob:", "file:///etc/passwd", "about:blank",
	"http://0xd83ad6ce", "http://3627734734", "http://00330.0x3a.54990", "http://[::ffff:127.0.0.1]", "http://127.1",
	"", "/" + strings.Repeat("a", 4<<10), "/logout", "/oidc/callback", "/oidc/login?return_to=/oidc/login", "/oidc/login", "/scim/Users", "/wandb-gateway/readyz",
}

// TestReturnTo: wherever somebody asks to come back to, a sign-in ends on the site itself (threats O07).
func TestReturnTo(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil).withAcme()
	v := site.visitor(t)
	ends := func(query string) string {
		t.Helper()
		v.begin("/oidc/login?" + query)
		a := v.answered(site.authority.key.token(site.authority.says("alice", v.asked, nil)))
		if a.status != http.StatusSeeOther || len(a.header["Location"]) != 1 {
			t.Fatalf("%.100s: %d %.300s", query, a.status, a.body)
		}
		return a.header.Get("Location")
	}
	for _, payload := range payloads {
		queries := []string{url.QueryEscape(payload), url.QueryEscape(url.QueryEscape(payload))}
		if visibleOnly(payload) {
			queries = append(queries, payload) // as it is
		}
		for _, q := range queries {
			if len(q) > 1<<20 {
				continue
			}
			if to := ends("return_to=" + q); to != "/" {
				t.Errorf("%.100q leads to %.100q", q, to)
			}
		}
	}
	if a := v.load("/oidc/login?return_to=/" + strings.Repeat("a", 100<<10)); a.status < 400 && a.header.Get("Location") != "/oidc/login" && !strings.HasPrefix(a.header.Get("Location"), site.authority.URL) {
		t.Errorf("100 KiB: %d to %.100q", a.status, a.header.Get("Location"))
	}
	for query, want := range map[string]string{
		"return_to=/ok&return_to=//evil": "/", "return_to=//evil&return_to=/ok": "/", "return_to[]=//evil": "/", "rd=//evil&next=//evil": "/", "return_to": "/",
		"return_to=" + url.QueryEscape("/%E5%98%8A%E5%98%8DSet-Cookie:x"):          "/%E5%98%8A%E5%98%8DSet-Cookie:x",
		"return_to=" + url.QueryEscape("/a%20b?x=https://evil.test//c&y=%0d%0a&z"): "/a%20b?x=https://evil.test//c&y=%0d%0a&z",
		"return_to=" + url.QueryEscape("/authorize?ref=models"):                    "/authorize?ref=models",
	} {
		if to := ends(query); to != want {
			t.Errorf("%s leads to %q, want %q", query, to, want)
		}
	}
}

func visibleOnly(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '#' })
}

// TestRelyingParty are the certification cases of OpenID Connect's relying parties, and the attacks on
// a flow, before an authority that does as each says. Whether one counts is told by what follows: a
// session, or none with a refusal in the log and nothing at the upstream (threats F12, b.1, b.2).
func TestRelyingParty(t *testing.T) {
	for _, method := range []string{"implicit", "pkce"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			testRelyingParty(t, method)
		})
	}
}

func testRelyingParty(t *testing.T, method string) {
	site := startSignIn(t, method, func(c *config) { c.env = []string{"GORILLA_OIDC_SECRET=" + gatewaySecret} }).withAcme()
	a, k := site.authority, site.authority.key
	foreign, ec := newKey(t, "ES256", "k1"), newKey(t, "ES256", "e1")
	now := time.Now().Unix()
	begin := func(t *testing.T) *visitor {
		v := site.visitor(t)
		v.begin("/oidc/login?return_to=/home")
		return v
	}
	claims := func(v *visitor, changes map[string]any) map[string]any { return a.says("alice", v.asked, changes) }

	// What does not count.
	tokens := map[string]struct {
		token  func(v *visitor) string
		reason string
	}{}
	but := func(name, reason string, changes map[string]any) {
		tokens[name] = struct {
			token  func(v *visitor) string
			reason string
		}{func(v *visitor) string { return k.token(claims(v, changes)) }, reason}
	}
	by := func(name, reason string, token func(v *visitor) string) {
		tokens[name] = struct {
			token  func(v *visitor) string
			reason string
		}{token, reason}
	}
	but("invalid iss", "issuer_mismatch", map[string]any{"iss": a.name + "/"})
	but("iss in capitals", "issuer_mismatch", map[string]any{"iss": strings.ToUpper(a.name)})
	but("missing iss", "claim_malformed", map[string]any{"iss": nil})
	but("missing sub", "subject_malformed", map[string]any{"sub": nil})
	but("empty sub", "subject_malformed", map[string]any{"sub": ""})
	but("sub as a number", "", map[string]any{"sub": 7})
	but("invalid aud", "audience_mismatch", map[string]any{"aud": "other"})
	but("missing aud", "audience_mismatch", map[string]any{"aud": nil})
	but("aud in capitals", "audience_mismatch", map[string]any{"aud": strings.ToUpper(gatewayClient)})
	but("aud empty", "audience_mismatch", map[string]any{"aud": []string{}})
	but("aud nested", "", map[string]any{"aud": []any{[]string{gatewayClient}}})
	but("foreign azp", "audience_mismatch", map[string]any{"aud": []string{gatewayClient, "other"}, "azp": "other"})
	but("missing iat", "claim_malformed", map[string]any{"iat": nil})
	but("missing exp", "claim_malformed", map[string]any{"exp": nil})
	but("expired", "token_expired", map[string]any{"exp": now - 120, "iat": now - 300})
	but("from the future", "token_not_yet_valid", map[string]any{"iat": now + 600, "exp": now + 900})
	but("not yet", "token_not_yet_valid", map[string]any{"nbf": now + 600})
	but("from before the flow", "token_too_old", map[string]any{"iat": now - 86400})
	but("invalid nonce", "nonce_mismatch", map[string]any{"nonce": "other"})
	but("missing nonce", "claim_malformed", map[string]any{"nonce": nil})
	but("empty nonce", "claim_malformed", map[string]any{"nonce": ""})
	but("a logout token", "", map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})
	by("sig none", "", func(v *visitor) string {
		return encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(toJSON(claims(v, nil)))) + "."
	})
	by("sig nOnE with kid", "", func(v *visitor) string {
		return encode([]byte(`{"alg":"nOnE","kid":"k1"}`)) + "." + encode([]byte(toJSON(claims(v, nil)))) + ".AA"
	})
	by("invalid sig rs256", "", func(v *visitor) string { return tampered(k.token(claims(v, nil))) })
	by("invalid sig es256", "", func(v *visitor) string { return foreign.token(claims(v, nil)) })
	by("sig hs256 by the client's secret", "", func(v *visitor) string {
		input := encode([]byte(`{"alg":"HS256","kid":"k1"}`)) + "." + encode([]byte(toJSON(claims(v, nil))))
		mac := hmac.New(sha256.New, []byte(gatewaySecret))
		mac.Write([]byte(input))
		return input + "." + encode(mac.Sum(nil))
	})
	by("key in the header", "", func(v *visitor) string {
		return foreign.headed(map[string]any{"jwk": foreign.public, "kid": nil}, claims(v, nil))
	})
	by("claims changed afterwards", "", func(v *visitor) string {
		parts := strings.Split(k.token(claims(v, nil)), ".")
		parts[1] = encode([]byte(toJSON(claims(v, map[string]any{"email": "root@acme.test", "sub": "root"}))))
		return strings.Join(parts, ".")
	})
	by("two sub", "", func(v *visitor) string {
		text := toJSON(claims(v, nil))
		return k.sign(toJSON(k.header()), strings.Replace(text, `{`, `{"sub":"root",`, 1))
	})
	by("a logout token's type", "token_kind", func(v *visitor) string { return k.headed(map[string]any{"typ": "logout+jwt"}, claims(v, nil)) })
	by("an access token's type", "token_kind", func(v *visitor) string { return k.headed(map[string]any{"typ": "at+jwt"}, claims(v, nil)) })
	by("no token", "", func(*visitor) string { return "abc" })
	by("critical header", "", func(v *visitor) string {
		return k.headed(map[string]any{"crit": []string{"x"}, "x": 1}, claims(v, nil))
	})
	by("the nonce of another flow", "nonce_mismatch", func(v *visitor) string {
		other := begin(t)
		return k.token(a.says("alice", other.asked, nil))
	})
	for name, c := range tokens {
		t.Run(name, func(t *testing.T) {
			v := begin(t)
			site.refusesFor(t, v, c.reason, func() answer { return v.answered(c.token(v)) })
			// The flow is used up: the right answer comes too late.
			site.refusesFor(t, v, "flow_unknown", func() answer { return v.answered(k.token(claims(v, nil))) })
		})
	}

	// Answers that are none, whatever is in them.
	good := func(v *visitor) url.Values {
		form := url.Values{"state": {v.asked.Get("state")}}
		if method == "implicit" {
			form.Set("id_token", k.token(claims(v, nil)))
		} else {
			form.Set("code", "canary-code-of-an-attack-0815")
			v.hold(form.Get("code"))
			a.set(func() {
				a.codes[form.Get("code")] = issued{v.asked.Get("code_challenge"), v.asked.Get("redirect_uri"), k.token(claims(v, nil))}
			})
		}
		return form
	}
	arrives := func(v *visitor, form url.Values) answer {
		if method == "implicit" {
			return v.posted(form)
		}
		return v.linked(form)
	}
	with := func(form url.Values, name, value string) url.Values {
		form.Add(name, value)
		return form
	}
	for name, c := range map[string]struct {
		attempt func(v *visitor) answer
		status  int
		reason  string
	}{
		"another state": {func(v *visitor) answer {
			form := good(v)
			form.Set("state", v.asked.Get("state")+"x")
			return arrives(v, form)
		}, 400, "flow_unknown"},
		"no state": {func(v *visitor) answer {
			form := good(v)
			form.Del("state")
			return arrives(v, form)
		}, 400, "answer_malformed"},
		"two states":      {func(v *visitor) answer { return arrives(v, with(good(v), "state", "x")) }, 400, "answer_malformed"},
		"two proofs":      {func(v *visitor) answer { return arrives(v, with(with(good(v), "code", "x"), "id_token", "x")) }, 400, "answer_malformed"},
		"access token":    {func(v *visitor) answer { return arrives(v, with(good(v), "access_token", "x")) }, 400, "answer_malformed"},
		"error and proof": {func(v *visitor) answer { return arrives(v, with(good(v), "error", "access_denied")) }, 400, "answer_malformed"},
		"another iss":     {func(v *visitor) answer { return arrives(v, with(good(v), "iss", "https://evil.test")) }, 400, "issuer_mismatch"},
		"the other method": {func(v *visitor) answer {
			if method == "implicit" {
				return v.linked(good(v))
			}
			return v.posted(good(v))
		}, 400, "answer_malformed"},
		"access denied": {func(v *visitor) answer {
			return arrives(v, url.Values{"state": {v.asked.Get("state")}, "error": {"access_denied"}, "error_description": {"<script>alert('" + canary + "')</script>"}, "error_uri": {"https://evil.test"}})
		}, 403, "access_denied"},
		"another error": {func(v *visitor) answer {
			return arrives(v, url.Values{"state": {v.asked.Get("state")}, "error": {"unauthorized_client"}})
		}, 403, "provider_refused"},
		"login required": {func(v *visitor) answer {
			return arrives(v, url.Values{"state": {v.asked.Get("state")}, "error": {"login_required"}})
		}, 0, ""},
		"an odd error": {func(v *visitor) answer {
			return arrives(v, url.Values{"state": {v.asked.Get("state")}, "error": {strings.Repeat("e", 4096)}})
		}, 400, "answer_malformed"},
		"in another browser": {func(v *visitor) answer { // O01, O08
			other := site.visitor(t)
			other.asked = v.asked
			answer := arrives(other, good(v))
			other.mustBe("after another browser's answer", "")
			return answer
		}, 400, "flow_unknown"},
		"swapped between tabs": {func(v *visitor) answer {
			form := good(v)
			v.begin("/oidc/login?return_to=/second")
			form.Set("state", v.asked.Get("state"))
			return arrives(v, form)
		}, 400, map[string]string{"implicit": "nonce_mismatch", "pkce": "code_refused"}[method]},
		"planted cookie": {func(v *visitor) answer { // O12
			form := good(v)
			for name := range v.cookies() {
				h := http.Header{"Cookie": {name + "=planted"}, "Accept": {"text/html"}}
				if method == "pkce" {
					return v.send("GET", "/oidc/callback?"+form.Encode(), "", h)
				}
				h.Set("Content-Type", "application/x-www-form-urlencoded")
				return v.send("POST", "/oidc/callback", form.Encode(), h)
			}
			return answer{}
		}, 400, "flow_unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			v := begin(t)
			got := answer{}
			if c.status == 0 {
				got = site.refusesFor(t, v, c.reason, func() answer { return c.attempt(v) })
			} else {
				got = site.refuses(t, v, c.status, c.reason, func() answer { return c.attempt(v) })
			}
			if strings.Contains(got.body, "evil") || got.header.Get("Location") != "" || got.header.Get("Refresh") != "" {
				t.Errorf("the page leads on: %v %.600s", got.header, got.body)
			}
		})
	}
	switch method {
	case "implicit":
		form := func(v *visitor) string { return good(v).Encode() }
		for name, attempt := range map[string]func(v *visitor) answer{ // O23
			"text": func(v *visitor) answer {
				return v.send("POST", "/oidc/callback", form(v), http.Header{"Content-Type": {"text/plain"}})
			},
			"no type": func(v *visitor) answer { return v.send("POST", "/oidc/callback", form(v), nil) },
			"utf-16": func(v *visitor) answer {
				return v.send("POST", "/oidc/callback", form(v), http.Header{"Content-Type": {"application/x-www-form-urlencoded; charset=utf-16"}})
			},
			"multipart": func(v *visitor) answer {
				return v.send("POST", "/oidc/callback", form(v), http.Header{"Content-Type": {"multipart/form-data; boundary=x"}})
			},
			"in address": func(v *visitor) answer {
				return v.send("POST", "/oidc/callback?"+form(v), "", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
			},
			"10 MB": func(v *visitor) answer {
				return v.send("POST", "/oidc/callback", form(v)+"&x="+strings.Repeat("a", 10<<20), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
			},
		} {
			t.Run("a form as "+name, func(t *testing.T) {
				v := begin(t)
				status := http.StatusBadRequest
				if name == "10 MB" {
					status = http.StatusRequestEntityTooLarge
				}
				site.refuses(t, v, status, "answer_malformed", func() answer { return attempt(v) })
			})
		}
	case "pkce":
		for name, c := range map[string]struct {
			answer map[string]any
			reason string
		}{
			"missing ID token":      {map[string]any{"id_token": nil}, "id_token_missing"},
			"ID token no text":      {map[string]any{"id_token": 7}, ""},
			"wrong at_hash":         {map[string]any{"id_token": nil}, ""},
			"another's code":        {nil, "code_refused"},
			"a code that is no one": {nil, "code_refused"},
		} {
			t.Run(name, func(t *testing.T) {
				v := begin(t)
				if name == "wrong at_hash" {
					c.answer, c.reason = map[string]any{"id_token": k.token(claims(v, map[string]any{"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"}))}, "token_hash_mismatch"
				}
				a.set(func() { a.tokens = c.answer })
				defer a.set(func() { a.tokens = nil })
				site.refusesFor(t, v, c.reason, func() answer {
					form := good(v)
					switch name {
					case "another's code": // O03: injected, so that the challenge is another flow's
						code := a.codes[form.Get("code")]
						code.challenge = encode([]byte("another challenge of 32 bytes..."))
						a.set(func() { a.codes[form.Get("code")] = code })
					case "a code that is no one":
						form.Set("code", "canary-code-that-is-none-4711")
					}
					return arrives(v, form)
				})
			})
		}
	}

	// What does count.
	for name, token := range map[string]func(v *visitor) string{
		"a token":           func(v *visitor) string { return k.token(claims(v, nil)) },
		"kid absent single": func(v *visitor) string { return k.headed(map[string]any{"kid": nil}, claims(v, nil)) },
		"several aud": func(v *visitor) string {
			return k.token(claims(v, map[string]any{"aud": []string{"other", gatewayClient}}))
		},
		"several aud and azp": func(v *visitor) string {
			return k.token(claims(v, map[string]any{"aud": []string{"other", gatewayClient}, "azp": gatewayClient}))
		},
		"without type":          func(v *visitor) string { return k.headed(map[string]any{"typ": nil}, claims(v, nil)) },
		"clock behind a little": func(v *visitor) string { return k.token(claims(v, map[string]any{"iat": time.Now().Unix() + 20})) },
		"claims nobody knows": func(v *visitor) string {
			return k.token(claims(v, map[string]any{"x": map[string]any{"y": []int{1}}, "acr": "0", "amr": []string{"pwd"}}))
		},
		"signing key rotation just before signing": func(v *visitor) string {
			a.publish(k, ec)
			return ec.token(claims(v, nil))
		},
		"kid absent, several keys": func(v *visitor) string { return k.headed(map[string]any{"kid": nil}, claims(v, nil)) },
	} {
		t.Run(name, func(t *testing.T) {
			v := begin(t)
			if got := v.answered(token(v)); got.status != http.StatusSeeOther {
				t.Fatalf("answered %d %.300s", got.status, got.body)
			}
			v.mustBe("then", "alice")
		})
	}

	t.Run("two tabs", func(t *testing.T) {
		v := begin(t)
		first := v.asked
		v.begin("/oidc/login?return_to=/second")
		second := v.asked
		v.asked = first
		if got := v.answered(k.token(claims(v, nil))); got.header.Get("Location") != "/home" {
			t.Errorf("the first tab ends with %d to %q", got.status, got.header.Get("Location"))
		}
		v.asked = second
		if got := v.answered(k.token(claims(v, nil))); got.header.Get("Location") != "/second" {
			t.Errorf("the second tab ends with %d to %q", got.status, got.header.Get("Location"))
		}
		site.refusesFor(t, v, "flow_unknown", func() answer { return v.answered(k.token(claims(v, nil))) })
	})
}

// refusesFor is refuses with 400, and any reason if none is named.
func (s *signInSite) refusesFor(t *testing.T, v *visitor, reason string, attempt func() answer) answer {
	t.Helper()
	if reason != "" {
		return s.refuses(t, v, http.StatusBadRequest, reason, attempt)
	}
	before := len(s.signInEvents("sign_in_refused"))
	a := attempt()
	if reason = s.awaitRefusal("sign_in_refused", before); reason == "" {
		t.Error("the log gives no reason")
	}
	if a.status != http.StatusBadRequest && a.status != http.StatusForbidden {
		t.Errorf("answered %d %.300s", a.status, a.body)
	}
	v.mustBe("after it was refused", "")
	if got := s.upstream.take(); len(got) != 0 {
		t.Errorf("the upstream got %d requests", len(got))
	}
	return a
}

// TestProviderAway: nobody signs in while the authority is away, and everybody else goes on; the
// gateway finds it again by itself (threats O17).
func TestProviderAway(t *testing.T) {
	for _, method := range []string{"implicit", "pkce"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			a := newAuthority(t)
			a.set(func() { a.down = true })
			upstream := newRecorder(t)
			c := config{global: a.oidcBlock(method), upstream: upstream.host()}
			site := &signInSite{authority: a, upstream: upstream, canaries: new([]string), process: start(t, c)}
			site.withAcme()
			v := site.visitor(t)
			for _, path := range []string{"/oidc/login", "/vision/team", "/"} {
				got := v.load(path)
				if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" || !strings.Contains(got.body, "cannot be reached") || got.header.Get("Cache-Control") != "no-store" {
					t.Errorf("%s from the start: %d %v %.300s", path, got.status, got.header, got.body)
				}
			}
			if got := site.stream("vision/team", aliceKey); got.status != http.StatusOK {
				t.Errorf("a key: %d", got.status)
			}
			if got := v.script("POST", "/graphql", `{"query":"{viewer{id}}"}`); got.status != http.StatusUnauthorized {
				t.Errorf("a script without session: %d", got.status)
			}

			a.set(func() { a.down = false })
			site.await("the authority to be found again", 30*time.Second, func() bool { return v.load("/oidc/login").status == http.StatusSeeOther })
			v.signIn("alice", nil)

			onTheWay := site.visitor(t)
			onTheWay.begin("/oidc/login?return_to=/home")
			a.set(func() { a.down = true })
			v.mustBe("while the authority is down again", "alice")
			if got := v.load("/vision/team"); got.status != http.StatusOK {
				t.Errorf("a page of who is signed in: %d", got.status)
			}
			if method == "pkce" {
				got := onTheWay.answered(a.key.token(a.says("bob", onTheWay.asked, nil)))
				if got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
					t.Errorf("a sign-in on its way: %d %.300s", got.status, got.body)
				}
				onTheWay.mustBe("then", "")
			} else {
				unknown := newKey(t, "RS256", "k2")
				got := onTheWay.answered(unknown.token(a.says("bob", onTheWay.asked, nil)))
				if got.status != http.StatusServiceUnavailable && got.status != http.StatusBadRequest {
					t.Errorf("a token by a key that cannot be looked up: %d %.300s", got.status, got.body)
				}
				onTheWay.mustBe("then", "")
			}
			a.set(func() { a.down = false })
			site.await("a sign-in to work again", 30*time.Second, func() bool {
				return site.visitor(t).tries("bob", nil).status == http.StatusSeeOther
			})
			site.holdsNoCanary(*site.canaries...)
		})
	}
	t.Run("another issuer answers", func(t *testing.T) { // discovery-issuer-mismatch
		t.Parallel()
		a := newAuthority(t)
		a.set(func() { a.document = map[string]any{"issuer": a.name + "/"} })
		site := &signInSite{authority: a, upstream: newRecorder(t), canaries: new([]string)}
		site.process = start(t, config{global: a.oidcBlock("pkce"), upstream: site.upstream.host()})
		if got := site.visitor(t).load("/oidc/login"); got.status != http.StatusServiceUnavailable {
			t.Errorf("%d %.300s", got.status, got.body)
		}
	})
}
