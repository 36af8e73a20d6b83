package tests

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// counts asserts whether an access token is accepted.
func (f federated) counts(t *testing.T, why, token string, want bool) {
	t.Helper()
	got := f.bearer("vision/team", token)
	if want && got.status != http.StatusOK || !want && got.status != http.StatusUnauthorized {
		t.Errorf("%s: the token gets %d %.200s, want it accepted: %t", why, got.status, got.body, want)
	}
}

// TestRevocation: each way to end access tokens works at once and ends no others.
func TestRevocation(t *testing.T) {
	f := startFederated(t)
	alice := func() string { return f.mustExchange(t, f.assertion("alice@acme.test")) }
	job := func() string { return f.mustExchange(t, f.assertion(ciSubject)) }
	jti := func(token string) string {
		_, claims := decodeToken(t, token)
		id, _ := claims["jti"].(string)
		if id == "" {
			t.Fatalf("no jti in %v", claims)
		}
		return id
	}

	first, second, train := alice(), alice(), job()
	for range 2 { // the second time from the cache
		f.counts(t, "new", first, true)
		f.counts(t, "new", second, true)
		f.counts(t, "new", train, true)
	}
	f.mustIAM("token", "delete", jti(first))
	f.counts(t, "deleted by its id", first, false)
	f.counts(t, "another of the same person", second, true)
	f.counts(t, "another's", train, true)
	f.mustIAM("token", "delete", jti(first)) // as often as one likes: nobody knows which exist

	f.mustIAM("token", "delete", "--owner", "alice")
	f.counts(t, "deleted with all of its owner", second, false)
	f.counts(t, "another owner's", train, true)
	third := alice()
	f.counts(t, "new after that", third, true)
	f.mustIAM("token", "delete", "--owner", "service_account:gh-train")
	f.counts(t, "deleted with all of the account", train, false)
	f.counts(t, "a person's", third, true)
	train = job()
	f.counts(t, "the account's new one", train, true)

	// `iat` counts whole seconds, so wait for one that lies behind both.
	issued := time.Now().Unix()
	await(t, "the next second", 5*time.Second, func() bool { return time.Now().Unix() > issued })
	f.mustIAM("token", "delete", "--before", time.Now().UTC().Format(time.RFC3339))
	f.counts(t, "issued before", third, false)
	f.counts(t, "issued before", train, false)
	fourth := alice()
	f.counts(t, "issued after", fourth, true)

	if a := f.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key gets %d %s", a.status, a.body)
	}
	f.stop()
	again := f
	again.process = start(t, config{global: trusting(f.issuer), upstream: f.upstream.host(), dir: f.dir})
	again.counts(t, "deleted before a restart", first, false)
	again.counts(t, "deleted before a restart", second, false)
	again.counts(t, "deleted before a restart", third, false)
	again.counts(t, "valid before a restart", fourth, true)

	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"token", "delete"}, "--owner"},
		{[]string{"token", "delete", "--owner", "nobody"}, "nobody"},
		{[]string{"token", "delete", "--before", "yesterday"}, "yesterday"},
		{[]string{"token", "delete", "x", "--owner", "alice"}, "--owner"},
	} {
		if out, err := again.iam("", tt.args...); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("iam %s: printed %q, error %v; want one that says %q", strings.Join(tt.args, " "), out, err, tt.says)
		}
	}
}

// TestDeactivationEndsTokensForGood is J28: keys come back with their owner, tokens and assertions do not.
func TestDeactivationEndsTokensForGood(t *testing.T) {
	f := startFederated(t)
	for _, c := range []struct {
		name, subject string
		command       []string
		key           string // comes back with its owner
	}{
		{"person", "alice@acme.test", []string{"user", "set", "alice"}, aliceKey},
		{"external service account", ciSubject, []string{"service-account", "set", "gh-train"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			assertion := f.assertion(c.subject)
			token := f.mustExchange(t, assertion)
			for range 2 {
				f.counts(t, "access token", token, true)
				f.counts(t, "assertion", assertion, true)
			}
			f.mustIAM(append(c.command, "--active=false")...)
			f.counts(t, "deactivated", token, false)
			f.counts(t, "assertion of one who is deactivated", assertion, false)
			if a := f.exchange(assertion); a.status != http.StatusBadRequest || a.oauth().Error != "invalid_grant" {
				t.Errorf("an exchange is answered %d %s", a.status, a.body)
			}
			f.mustIAM(append(c.command, "--active=true")...)
			f.counts(t, "reactivated, old token", token, false)
			f.counts(t, "reactivated, new token", f.mustExchange(t, f.assertion(c.subject)), true)
			if c.key != "" {
				if a := f.stream("vision/team", c.key); a.status != http.StatusOK {
					t.Errorf("the key gets %d %s", a.status, a.body)
				}
			}
		})
	}
	t.Run("another subject", func(t *testing.T) {
		token := f.mustExchange(t, f.assertion(ciSubject))
		f.mustIAM("service-account", "set", "gh-train", "--subject", ciSubject+"2")
		f.counts(t, "its account stands for another subject", token, false)
		if a := f.exchange(f.assertion(ciSubject)); a.status != http.StatusBadRequest {
			t.Errorf("the old subject is answered %d %s", a.status, a.body)
		}
		f.counts(t, "new subject", f.mustExchange(t, f.assertion(ciSubject+"2")), true)
	})
	t.Run("deleted and made again", func(t *testing.T) {
		f.mustIAM("user", "create", "carol", "--email", "carol@acme.test")
		f.mustIAM("team", "set", "vision", "--add", "carol")
		token := f.mustExchange(t, f.assertion("carol@acme.test"))
		f.counts(t, "carol", token, true)
		f.mustIAM("user", "delete", "carol")
		f.counts(t, "carol is gone", token, false)
		f.mustIAM("user", "create", "carol", "--email", "carol@acme.test")
		f.mustIAM("team", "set", "vision", "--add", "carol")
		f.counts(t, "another carol does not get the old token", token, false)
	})
	t.Run("left the team", func(t *testing.T) {
		token := f.mustExchange(t, f.assertion("alice@acme.test"))
		f.mustIAM("team", "set", "vision", "--remove", "alice")
		if a := f.bearer("vision/team", token); a.status != http.StatusForbidden {
			t.Errorf("answered %d %s: a token is no memory of rights", a.status, a.body)
		}
	})
}

// TestIssuerCommands: an issuer that an admin registers counts at once, and no longer once deleted.
func TestIssuerCommands(t *testing.T) {
	key := newKey(t, "ES256", "k1")
	i := newIssuer(t, key)
	configured := newIssuer(t, key)
	upstream := newRecorder(t)
	f := federated{issuer: i, key: key, upstream: upstream}
	f.process = start(t, config{global: trusting(configured), upstream: upstream.host()})
	f.importFile(acme)
	gets := func(why string, status int, audience string) {
		t.Helper()
		claims := i.claims("alice@acme.test")
		claims["aud"] = audience
		if a := f.exchange(key.token(claims)); a.status != status {
			t.Errorf("%s: %d %.200s, want %d", why, a.status, a.body, status)
		}
	}
	gets("not trusted", 400, "acme")
	if d, k := i.fetches(); d+k != 0 {
		t.Errorf("an issuer that nobody trusts was asked %d times", d+k)
	}
	f.mustIAM("issuer", "create", i.name, "--audience", "gw")
	gets("trusted", 200, "gw")
	gets("for another audience", 400, "acme")
	f.mustIAM("issuer", "set", i.name, "--audience", "a", "--audience", "b")
	gets("changed", 200, "a")
	gets("changed", 200, "b")
	gets("old audience", 400, "gw")

	list := f.mustIAM("issuer", "list")
	if !strings.Contains(list, i.name) || !strings.Contains(list, configured.name) {
		t.Errorf("issuer list prints\n%s", list)
	}
	var rows []map[string]any
	if err := json.Unmarshal([]byte(f.mustIAM("issuer", "list", "--json")), &rows); err != nil || len(rows) != 2 {
		t.Errorf("issuer list --json: %v %v", rows, err)
	}
	if got := f.mustIAM("issuer", "get", i.name); !strings.Contains(got, i.name) || !strings.Contains(got, "a") {
		t.Errorf("issuer get prints\n%s", got)
	}
	f.stop()
	f.process = start(t, config{global: trusting(configured), upstream: upstream.host(), dir: f.dir})
	gets("after a restart", 200, "a")
	f.mustIAM("issuer", "delete", i.name)
	gets("deleted", 400, "a")

	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"issuer", "create", "http://idp.acme.test"}, "https"},
		{[]string{"issuer", "create", "idp"}, "https"},
		{[]string{"issuer", "create", configured.name}, configured.name},
		{[]string{"issuer", "get", i.name}, i.name},
		{[]string{"issuer", "set", i.name, "--audience", "a"}, i.name},
		{[]string{"issuer", "delete", i.name}, i.name},
		{[]string{"issuer", "delete", configured.name}, "configuration"},
		{[]string{"issuer", "create", i.name, "--algorithm", "HS256"}, "HS256"},
	} {
		if out, err := f.iam("", tt.args...); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("iam %s: printed %q, error %v; want one that says %q", strings.Join(tt.args, " "), out, err, tt.says)
		}
	}
}

// TestExplainToken: an operator learns check by check why a token is or is not accepted, and the
// token is printed and logged nowhere.
func TestExplainToken(t *testing.T) {
	f := startFederated(t)
	stranger := newKey(t, "ES256", "k1")
	changed := func(changes map[string]any) string {
		claims := f.issuer.claims("alice@acme.test")
		for name, value := range changes {
			if claims[name] = value; value == nil {
				delete(claims, name)
			}
		}
		return f.key.token(claims)
	}
	for name, c := range map[string]struct {
		token string
		says  []string
	}{
		"accepted person":  {f.assertion("alice@acme.test"), []string{f.issuer.name, "alice"}},
		"accepted account": {f.assertion(ciSubject), []string{"gh-train"}},
		"our own":          {f.mustExchange(t, f.assertion("alice@acme.test")), []string{"alice"}},
		"foreign issuer":   {changed(map[string]any{"iss": "https://idp.umbrella.test"}), []string{"https://idp.umbrella.test"}},
		"foreign audience": {changed(map[string]any{"aud": "umbrella"}), []string{"umbrella", "acme"}},
		"expired":          {changed(map[string]any{"iat": time.Now().Add(-2 * time.Hour).Unix(), "exp": time.Now().Add(-time.Hour).Unix()}), []string{"exp"}},
		"unknown subject":  {changed(map[string]any{"sub": "nobody@acme.test"}), []string{"nobody@acme.test"}},
		"no exp":           {changed(map[string]any{"exp": nil}), []string{"exp"}},
		"bad signature":    {stranger.token(f.issuer.claims("alice@acme.test")), []string{"signature"}},
		"HS256":            {stranger.headed(map[string]any{"alg": "HS256"}, f.issuer.claims("alice@acme.test")), []string{"HS256"}},
		"no token":         {"not a token", []string{"token"}},
		"terminal escapes": {changed(map[string]any{"sub": "\x1b[2J\x1b]0;x\x07"}), nil},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "token")
			if err := os.WriteFile(file, []byte(c.token+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := f.iam("", "explain", "--token", file)
			if err != nil {
				out += err.Error() // the exit code may say that it is refused
			}
			for _, text := range c.says {
				if !strings.Contains(out, text) {
					t.Errorf("it does not say %q:\n%s", text, out)
				}
			}
			if strings.HasPrefix(out, "refused") == (strings.HasPrefix(name, "accepted") || name == "our own") {
				t.Errorf("the first word is wrong:\n%s", out)
			}
			for _, part := range strings.Split(c.token, ".") {
				if len(part) > 20 && strings.Contains(out, part) {
					t.Errorf("a part of the token is printed:\n%s", out)
				}
				if len(part) > 60 {
					f.holdsNoCanaries([]string{part[len(part)/2:]})
				}
			}
			if strings.ContainsAny(out, "\x1b\x07") || strings.Contains(out, canary) {
				t.Errorf("what a token says is printed as it came: %q", out)
			}
		})
	}
	if _, err := f.iam("", "explain", "--token", "no-such-file"); err == nil || !strings.Contains(err.Error(), "no-such-file") {
		t.Errorf("a missing file: %v", err)
	}
	if n := len(f.upstream.take()); n != 0 {
		t.Errorf("the upstream got %d requests", n)
	}
	f.holdsNoCanary(canary)
}

// TestDoctorIssuer: reachability and keys of an issuer, trusted or not yet.
func TestDoctorIssuer(t *testing.T) {
	f := startFederated(t)
	candidate := newIssuer(t, newKey(t, "RS256", "candidate-key"))
	broken := newIssuer(t)
	broken.misbehaves(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "down", http.StatusBadGateway)
		return true
	})
	for _, c := range []struct {
		name string
		url  string
		says []string
	}{
		{"trusted", f.issuer.name, []string{f.issuer.name, "openid-configuration", "ES256"}},
		{"not yet trusted", candidate.name, []string{"candidate-key", "RS256", "iam issuer create"}},
		{"broken", broken.name, []string{"502"}},
		{"not allowed", "http://idp.acme.test", []string{"https"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := f.iam("", "doctor", "issuer", c.url)
			if err != nil {
				out += err.Error()
			}
			for _, text := range c.says {
				if !strings.Contains(out, text) {
					t.Errorf("it does not say %q:\n%s", text, out)
				}
			}
		})
	}
	if out := f.mustIAM("doctor"); !strings.Contains(out, f.issuer.name) {
		t.Errorf("doctor does not name the issuer:\n%s", out)
	}
}
