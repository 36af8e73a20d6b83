package tests

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/examples/verifyassertion"
)

// startAsserting runs a gateway that tells its upstream by a signed assertion who calls, and returns what
// that upstream verifies it with.
func startAsserting(t *testing.T, site string) (federated, *verifyassertion.Verifier) {
	t.Helper()
	key := newKey(t, "ES256", "k1")
	f := federated{issuer: newIssuer(t, key), key: key, upstream: newRecorder(t)}
	f.process = start(t, config{global: trusting(f.issuer), upstream: f.upstream.host(), site: site})
	f.importFile(withExternal(f.issuer.name, "gh-train", ciSubject))
	return f, &verifyassertion.Verifier{
		Issuer: f.url, Audience: f.upstream.URL, KeysURL: f.url + "/.well-known/wandb-gateway/jwks.json", Client: client,
	}
}

// shown returns the only assertion of the only request that reached the upstream.
func (f federated) shown(t *testing.T, a answer) string {
	t.Helper()
	got := f.upstream.take()
	if a.status != http.StatusOK || len(got) != 1 {
		t.Fatalf("answered %d %s, and the upstream got %d requests", a.status, a.body, len(got))
	}
	values := got[0].header.Values(verifyassertion.Header)
	if len(values) != 1 {
		t.Fatalf("the upstream got %d assertions: %q", len(values), values)
	}
	return values[0]
}

func TestAssertion(t *testing.T) {
	f, verifier := startAsserting(t, "assertion on")
	ciKey := f.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "ci")
	verified := func(t *testing.T, a answer) *verifyassertion.Caller {
		t.Helper()
		caller, err := verifier.Verify(t.Context(), f.shown(t, a))
		if err != nil {
			t.Fatal(err)
		}
		return caller
	}
	forged := http.Header{"X-Wandb-Gateway-Assertion": {"evil"}, "x-wandb-gateway-assertion": {"evil"}}

	t.Run("people", func(t *testing.T) {
		for target, method := range map[string]string{"/files/vision/team/run1/file_stream": "POST", "/some/page": "GET"} {
			c := verified(t, f.send(method, target, aliceKey, "", forged))
			if !strings.HasPrefix(c.Subject, "user:usr_") || c.Username != "alice" || c.Email != "alice@acme.test" ||
				c.Organization != "acme" || !slices.Equal(c.Groups, []string{"vision"}) || c.OnBehalfOf != nil {
				t.Errorf("%+v", c)
			}
		}
	})
	t.Run("service accounts", func(t *testing.T) {
		for person, want := range map[string]string{"": "", "alice": "alice", "bob": ""} {
			c := verified(t, f.send("POST", "/files/vision/team/run1/file_stream", ciKey, "{}", http.Header{"X-Wandb-Username": {person}}))
			got := ""
			if c.OnBehalfOf != nil {
				got = c.OnBehalfOf.Username
			}
			if !strings.HasPrefix(c.Subject, "service_account:sa_") || c.Username != "ci-vision" || c.Email != "" || got != want {
				t.Errorf("who names %q is %+v, on behalf of %q", person, c, got)
			}
		}
		c := verified(t, f.bearer("vision/team", f.mustExchange(t, f.assertion(ciSubject))))
		if c.Username != "gh-train" {
			t.Errorf("%+v", c)
		}
	})
	t.Run("nobody", func(t *testing.T) {
		if a := f.send("OPTIONS", "/graphql", aliceKey, "", forged); a.status != http.StatusOK {
			t.Fatalf("%d", a.status)
		}
		if got := f.upstream.take(); len(got) != 1 || len(got[0].header.Values(verifyassertion.Header)) != 0 {
			t.Errorf("the upstream got %+v", got)
		}
	})
	t.Run("one signature for many requests", func(t *testing.T) {
		seen := map[string]int{}
		for range 20 {
			seen[f.shown(t, f.stream("vision/team", aliceKey))]++
		}
		if len(seen) > 2 { // half a minute may end in between
			t.Errorf("%d signatures for 20 requests", len(seen))
		}
	})

	// It opens no door of the gateway's.
	t.Run("no credential", func(t *testing.T) {
		text := f.shown(t, f.stream("vision/team", aliceKey))
		for name, header := range map[string]http.Header{
			"bearer":             {"Authorization": {"Bearer " + text}},
			"basic":              {"Authorization": {basic(text)}},
			"its own header":     {"X-Wandb-Gateway-Assertion": {text}},
			"session":            {"Cookie": {"wandb-gateway=" + text}},
			"ticket":             {"X-Wandb-Gateway-Ticket": {text}},
			"exporter's header":  {"Wandb-Api-Key": {text}},
			"forwarded as token": {"X-Forwarded-Access-Token": {text}},
		} {
			for _, target := range []string{"/files/vision/team/run1/file_stream", "/traces/call/upsert_batch"} {
				if a := f.send("POST", target, "", "{}", header); a.status != http.StatusUnauthorized || len(f.upstream.take()) != 0 {
					t.Errorf("%s at %s: %d %s", name, target, a.status, a.body)
				}
			}
		}
		if a := f.exchange(text); a.status != http.StatusBadRequest || a.oauth().Error != "invalid_grant" {
			t.Errorf("at the exchange: %d %s", a.status, a.body)
		}
		// Not even for an administrator who takes the gateway for an issuer of assertions.
		f.mustIAM("issuer", "create", f.url, "--keys-url", f.url+"/.well-known/wandb-gateway/jwks.json", "--audience", f.upstream.URL)
		if a := f.exchange(text); a.status != http.StatusBadRequest || a.oauth().Error != "invalid_grant" {
			t.Errorf("at the exchange, with the gateway as issuer: %d %s", a.status, a.body)
		}
	})
	// And an access token is no assertion, though the same keys sign it.
	t.Run("tampered", func(t *testing.T) {
		good := f.shown(t, f.stream("vision/team", aliceKey))
		for name, text := range hostileAssertions(t, f, good) {
			if c, err := verifier.Verify(t.Context(), text); err == nil {
				t.Errorf("%s: accepted as %+v", name, c)
			}
		}
		if _, err := verifier.Verify(t.Context(), good); err != nil {
			t.Errorf("the good one: %v", err)
		}
	})
	// What is known changes, and so does what is said, at once.
	t.Run("a change", func(t *testing.T) {
		f.mustIAM("team", "set", "speech", "--add", "alice")
		if c := verified(t, f.stream("vision/team", aliceKey)); !slices.Equal(c.Groups, []string{"speech", "vision"}) {
			t.Errorf("groups %q", c.Groups)
		}
	})
	t.Run("a deleted signing key", func(t *testing.T) {
		before := f.shown(t, f.stream("vision/team", aliceKey))
		var keys []struct{ ID string }
		if err := json.Unmarshal([]byte(f.mustIAM("signing-key", "list", "--json")), &keys); err != nil || len(keys) != 1 {
			t.Fatalf("%v, %v", keys, err)
		}
		f.mustIAM("signing-key", "delete", keys[0].ID)
		after := f.shown(t, f.stream("vision/team", aliceKey))
		fresh := &verifyassertion.Verifier{Issuer: verifier.Issuer, Audience: verifier.Audience, KeysURL: verifier.KeysURL, Client: client}
		if _, err := fresh.Verify(t.Context(), after); err != nil {
			t.Errorf("the next one: %v", err)
		}
		if _, err := fresh.Verify(t.Context(), before); err == nil {
			t.Error("what the deleted key signed counts")
		}
	})
}

// hostileAssertions are assertions that were changed, and other tokens of the gateway's, by name.
func hostileAssertions(t *testing.T, f federated, good string) map[string]string {
	t.Helper()
	header, payload := jwtPart(t, good, 0), jwtPart(t, good, 1)
	parts := strings.Split(good, ".")
	with := func(part map[string]any, name string, value any) string {
		changed := maps.Clone(part)
		changed[name] = value
		text, err := json.Marshal(changed)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signature := []byte(parts[2])
	signature[10] ^= 1
	return map[string]string{
		"another subject":      parts[0] + "." + with(payload, "sub", "user:usr_0") + "." + parts[2],
		"another user name":    parts[0] + "." + with(payload, "preferred_username", "root") + "." + parts[2],
		"a longer life":        parts[0] + "." + with(payload, "exp", 4102444800) + "." + parts[2],
		"no algorithm":         with(header, "alg", "none") + "." + parts[1] + ".",
		"the type of a token":  with(header, "typ", "at+jwt") + "." + parts[1] + "." + parts[2],
		"another signature":    parts[0] + "." + parts[1] + "." + string(signature),
		"an access token":      f.mustExchange(t, f.assertion("alice@acme.test")),
		"an assertion of a CI": f.assertion("alice@acme.test"),
		"an API key":           aliceKey,
		"nothing":              "",
	}
}

func jwtPart(t *testing.T, token string, n int) (part map[string]any) {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[n])
	if err == nil {
		err = json.Unmarshal(text, &part)
	}
	if err != nil {
		t.Fatal(err)
	}
	return part
}

func TestAssertionForAnotherAudience(t *testing.T) {
	f, verifier := startAsserting(t, "assertion on urn:wandb:acme")
	text := f.shown(t, f.stream("vision/team", aliceKey))
	if _, err := verifier.Verify(t.Context(), text); err == nil {
		t.Error("an assertion for somebody else counts")
	}
	verifier.Audience = "urn:wandb:acme"
	if _, err := verifier.Verify(t.Context(), text); err != nil {
		t.Error(err)
	}
	verifier.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	if _, err := verifier.Verify(t.Context(), text); err == nil {
		t.Error("an assertion of two minutes ago counts")
	}
}

// In front of a server that is the record, the keys are published for whoever verifies, and nothing is
// exchanged.
func TestAssertionInFrontOfTheRecord(t *testing.T) {
	upstream := newRecorder(t)
	upstream.says(func(r received) (int, string, string) {
		return http.StatusOK, "application/json", `{"data":{"viewer":{"id":"VXNlcjox","username":"mia","entity":"mia","email":"mia@acme.test","admin":false,"teams":{"edges":[]}}}}`
	})
	p := start(t, config{upstream: upstream.host(), global: "directory wandb " + upstream.URL, site: "assertion on"})
	if a := p.send("GET", "/some/page", "local-0123456789012345678901234567890123456789", "", nil); a.status != http.StatusOK {
		t.Fatalf("%d %s", a.status, a.body)
	}
	got := upstream.take()
	verifier := &verifyassertion.Verifier{Issuer: p.url, Audience: upstream.URL, KeysURL: p.url + "/.well-known/wandb-gateway/jwks.json"}
	caller, err := verifier.Verify(t.Context(), got[len(got)-1].header.Get(verifyassertion.Header))
	if err != nil || caller.Username != "mia" || caller.Subject != got[len(got)-1].header.Get("X-Wandb-Gateway-Principal") {
		t.Errorf("%+v, %v", caller, err)
	}
	for _, r := range got[:len(got)-1] { // the gateway's own look-ups
		if r.header.Get(verifyassertion.Header) != "" {
			t.Errorf("a look-up carries an assertion: %+v", r)
		}
	}
	upstream.says(func(received) (int, string, string) { return http.StatusNotFound, "text/plain", "the server's own" })
	if a := p.send("POST", "/oidc/token", "", "x=y", http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}); a.body != "the server's own" {
		t.Errorf("the exchange answers %d %s", a.status, a.body)
	}
}

// Where nobody can tell for whom assertions would be, the gateway does not start.
func TestUnknownAudienceStopsTheStart(t *testing.T) {
	p := launch(t, config{site: "assertion on", upstream: "127.0.0.1:9 http://127.0.0.1:10"})
	if code := p.exit(30 * time.Second); code == 0 {
		t.Error("it ended well")
	}
	if log := p.logs.String(); !strings.Contains(log, "several upstreams, http://127.0.0.1:9 and http://127.0.0.1:10") || !strings.Contains(log, "write `assertion on AUDIENCE`") {
		t.Errorf("it says %s", log)
	}
}
