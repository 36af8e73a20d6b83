//go:build e2e

package tests

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// federation is a gateway that trusts a real provider and is the only judge in front of a server
// that trusts what it is told. Clients reach it through a tap.
type federation struct {
	*process
	tap      *tap
	upstream server
	provider *provider
}

func startFederation(t *testing.T) federation {
	t.Helper()
	f := federation{provider: startProvider(t), upstream: startStandin(t, standin.Config{Trust: true})}
	f.tap, f.process = newTap(t, start(t, config{
		global: trustingURL(f.provider.Issuer), site: "upstream_credential none", upstream: f.upstream.address,
	}))
	f.importFile(withFederated(sdkDirectory, f.provider.Issuer, "gh-train", ciSubject))
	return f
}

// trustingURL is the configuration of the issuer as an operator writes it.
func trustingURL(issuer string) string {
	return fmt.Sprintf("jwt_issuer %s {\n\t\t\taudience acme\n\t\t}\n\t\taccess_token {\n\t\t\tlifetime 1h\n\t\t}", issuer)
}

// withFederated is a directory with an external service account in team vision.
func withFederated(directory, issuer, name, subject string) string {
	account := toJSON(map[string]string{"name": name, "team": "vision", "issuer": issuer, "subject": subject})
	return strings.Replace(directory, `"service_accounts": [`, `"service_accounts": [`+account+", ", 1)
}

// identity puts a token where the client looks for it, whole at any moment.
func (c *sdk) identity(t *testing.T, token string) *sdk {
	t.Helper()
	file := filepath.Join(c.home, "identity.jwt")
	if err := os.WriteFile(file+".new", []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		t.Fatal(err)
	}
	return c.with("WANDB_IDENTITY_TOKEN_FILE", file, "WANDB_CREDENTIALS_FILE", filepath.Join(c.home, "credentials.json"))
}

// noIdentityInPython are the clients whose public API, which also checks an artifact before it is
// logged, knows nothing of identity tokens and sends no credential at all.
var noIdentityInPython = map[string]bool{"0.19.11": true}

// artifacts is how many artifacts the driver will log; it is told so.
func (c *sdk) artifacts() int {
	if c.env["WANDB_IDENTITY_TOKEN_FILE"] != "" && noIdentityInPython[c.version] {
		c.with("DRIVER_ARTIFACT", "none")
		return 0
	}
	return 1
}

// TestSDKFederated: people and jobs log runs with nothing but a token of their own provider, through
// every version of the client.
func TestSDKFederated(t *testing.T) {
	t.Parallel()
	f := startFederation(t)
	forEachSDK(t, func(t *testing.T, version string) {
		for _, s := range []scenario{
			{name: "federated person", token: f.provider.idToken(t, "alice@acme.test"), env: []string{"WANDB_ENTITY", "vision"}, project: "team", entity: "vision", user: "alice", attributed: "alice"},
			{name: "federated job for a member", token: f.provider.idToken(t, ciSubject), env: []string{"WANDB_ENTITY", "vision", "WANDB_USERNAME", "alice"}, project: "team", entity: "vision", user: "gh-train", attributed: "alice"},
			{name: "federated stranger", token: f.provider.idToken(t, "bob@acme.test"), env: []string{"WANDB_ENTITY", "vision"}, project: "team", reads: []string{"members of team vision", "ask a team admin"}},
		} {
			t.Run(s.name, func(t *testing.T) {
				t.Parallel()
				s.run(t, version, f.process, f.upstream)
				f.mustBeExchangedByTheBook(t, s.token)
			})
		}
		if !noIdentityInPython[version] {
			t.Run("public api", func(t *testing.T) {
				t.Parallel()
				token := f.provider.idToken(t, "alice@acme.test")
				newSDK(t, version, f.url, "").identity(t, token).with("DRIVER_PATH", "vision/team").drive(t, "read_runs.py").mustWork(t)
				f.mustBeExchangedByTheBook(t, token)
			})
		}
		t.Run("token that ends, file replaced and key rotated during the run", func(t *testing.T) {
			t.Parallel()
			testRenewal(t, version)
		})
		t.Run("issuer down during the run", func(t *testing.T) {
			t.Parallel()
			testIssuerDown(t, version)
		})
		t.Run("refused assertion", func(t *testing.T) {
			t.Parallel()
			testRefusedAssertion(t, version, f)
		})
	})
	t.Run("assertion as API key", func(t *testing.T) {
		t.Parallel()
		testAssertionAsKey(t, f)
	})
	t.Run("issuer never reached", func(t *testing.T) {
		t.Parallel()
		testIssuerNeverThere(t)
	})
}

// mustBeExchangedByTheBook checks each exchange of an assertion against sdk-wire 1.3, and that what
// it was exchanged for was used, and reached nobody behind the gateway.
func (f federation) mustBeExchangedByTheBook(t *testing.T, assertion string) {
	t.Helper()
	exchanges := f.tap.exchanges(assertion)
	if len(exchanges) == 0 {
		t.Fatal("the client exchanged nothing")
	}
	for _, r := range exchanges {
		form, err := url.ParseQuery(r.body)
		if r.method != http.MethodPost || r.header.Get("Content-Type") != "application/x-www-form-urlencoded" || r.header.Get("Authorization") != "" ||
			err != nil || len(form) != 2 || form.Get("grant_type") != grantType {
			t.Errorf("the client sent %s %v with the members %v", r.method, r.header, len(form))
		}
		if r.answer.status != http.StatusOK || r.answer.header.Get("Cache-Control") != "no-store" || r.answer.header.Get("Content-Type") == "" {
			t.Errorf("answered %d %v", r.answer.status, r.answer.header)
		}
	}
	for _, token := range f.tap.granted(assertion) {
		for _, secret := range []string{token, assertion} {
			if strings.Contains(f.logs.String(), secret) {
				t.Error("a token is in the log")
			}
			for _, r := range f.upstream.Requests() {
				if strings.Contains(fmt.Sprint(r.Header, r.Target), secret) {
					t.Errorf("a token reached the server with %s %s", r.Method, r.Path)
				}
			}
		}
	}
	if !f.tap.used(f.tap.granted(assertion)) {
		t.Error("the client used no access token that it was given")
	}
}

// used reports whether one of the tokens came as Bearer and was not refused as a credential.
func (p *tap) used(tokens []string) bool {
	return len(p.about(func(r tapped) bool {
		token, ok := strings.CutPrefix(r.header.Get("Authorization"), "Bearer ")
		return ok && slices.Contains(tokens, token) && r.answer.status != http.StatusUnauthorized
	})) > 0
}

// inPhases runs the driver phases.py, and one function for each phase while the run logs on. A
// function reports what keeps the run from its next phase; "" lets it go on.
func (c *sdk) inPhases(t *testing.T, phases ...func() string) outcome {
	t.Helper()
	c.with("DRIVER_FOLDER", c.home, "DRIVER_PHASES", strconv.Itoa(len(phases)))
	c.artifacts()
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for n, phase := range phases {
			began := func() string {
				if _, err := os.Stat(filepath.Join(c.home, fmt.Sprintf("began-%d", n))); err != nil {
					return "to begin"
				}
				return ""
			}
			for _, waiting := range []func() string{began, phase} {
				if why := until(done, waiting); why != "" {
					t.Errorf("phase %d waits %s", n, why)
				}
			}
			if err := os.WriteFile(filepath.Join(c.home, fmt.Sprintf("go-%d", n)), nil, 0o600); err != nil {
				t.Error(err)
			}
		}
	}()
	o := c.drive(t, "phases.py")
	close(done)
	<-ended
	return o
}

// until repeats a question until it has no objection, and returns the last one when time is up.
func until(done <-chan struct{}, question func() string) (why string) {
	deadline := time.After(60 * time.Second)
	for {
		if why = question(); why == "" {
			return ""
		}
		select {
		case <-done:
			return why
		case <-deadline:
			return why
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// mustBeComplete checks that the server has every line that the driver logged.
func (f federation) mustBeComplete(t *testing.T, c *sdk, o outcome, run, user string) {
	t.Helper()
	o.mustWork(t)
	got := f.upstream.runOf(t, "vision", "team", run)
	if got.State != "finished" || got.HistoryLineCount != o.report.Lines || got.User.Username != user || len(got.OutputArtifacts.Edges) != c.artifacts() {
		t.Errorf("the server keeps %+v, want a finished run of %s with %d lines and %d artifacts", got, user, o.report.Lines, c.artifacts())
	}
}

// readsTokenOnce are the clients that read the identity token's file when they start, and exchange
// what it held then for as long as they run.
var readsTokenOnce = map[string]bool{"0.19.11": true, "0.25.1": true}

// testRenewal: a job outlives its access token and its identity token, while the issuer goes over to
// another key. The old access tokens are revoked as soon as there is a new one.
func testRenewal(t *testing.T, version string) {
	f := startFederation(t)
	f.tap.renewsAfter(3)
	run := runID(version, "renewal")
	first := f.provider.idToken(t, ciSubject)
	c := newSDK(t, version, f.url, "").identity(t, first).with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "team", "WANDB_RUN_ID", run)

	current, before := first, 1 // what the client will exchange next, and how often it has
	replace := func() {
		next := f.provider.idToken(t, ciSubject)
		c.identity(t, next)
		if !readsTokenOnce[version] {
			current = next
		}
		before = len(f.tap.granted(current))
	}
	o := c.inPhases(t,
		func() string {
			if len(f.tap.granted(current)) <= before {
				return "for the client to exchange the same assertion again"
			}
			replace()
			return ""
		},
		func() string {
			if len(f.tap.granted(current)) <= before {
				return "for the client to go on after its file was replaced"
			}
			f.provider.set(t, "/rotate", map[string]any{"alg": "ES256", "keep": true})
			replace()
			return ""
		},
		func() string {
			tokens := f.tap.granted(current)
			if len(tokens) <= before || !f.tap.used(tokens[before:]) {
				return "for the client to go on after the issuer's key was rotated"
			}
			for _, old := range append(f.tap.granted(first), tokens[:before]...) {
				if !slices.Contains(tokens[before:], old) {
					_, claims := decodeToken(t, old)
					f.mustIAM("token", "delete", fmt.Sprint(claims["jti"]))
				}
			}
			return ""
		},
	)
	f.mustBeComplete(t, c, o, run, "gh-train")
}

// testIssuerDown: whoever has a token, or an assertion by a key that the gateway knows, does not
// notice that the issuer is gone.
func testIssuerDown(t *testing.T, version string) {
	f := startFederation(t)
	f.tap.renewsAfter(3)
	run := runID(version, "issuer-down")
	token := f.provider.idToken(t, "alice@acme.test")
	before := 0
	c := newSDK(t, version, f.url, "").identity(t, token).with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "team", "WANDB_RUN_ID", run)
	o := c.inPhases(t,
		func() string {
			f.provider.set(t, "/mood", map[string]any{"mood": "refusing"})
			before = len(f.tap.granted(token))
			return ""
		},
		func() string {
			if len(f.tap.granted(token)) < before+2 {
				return "for the client to renew its access token twice while the issuer is down"
			}
			return ""
		},
	)
	f.mustBeComplete(t, c, o, run, "alice")
}

// keepsRefusalsToItself are the clients that take every failed exchange for a broken connection, try
// until the time for init is up, and then say only that.
var keepsRefusalsToItself = map[string]bool{"0.25.1": true}

// testRefusedAssertion: the user reads at once what happened and whom to ask.
func testRefusedAssertion(t *testing.T, version string, f federation) {
	t.Helper()
	token := f.provider.idToken(t, "nobody@acme.test")
	refusal := f.exchange(token)
	says := refusal.oauth().Description
	if refusal.status != http.StatusBadRequest || says == "" {
		t.Fatalf("answered %d %s", refusal.status, refusal.body)
	}
	if !strings.Contains(says, "identity token") || !strings.Contains(says, "admin") {
		t.Errorf("%q does not name the token and whom to ask", says)
	}
	run := runID(version, "refused-assertion")
	o := newSDK(t, version, f.url, "").identity(t, token).
		with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "team", "WANDB_RUN_ID", run, "DRIVER_INIT_TIMEOUT", "15").drive(t, "log_run.py")
	if keepsRefusalsToItself[version] {
		mustBeRefused(t, o, "timed out")
	} else {
		mustBeRefused(t, o, says)
	}
	if got := f.upstream.about(run); len(got) > 0 {
		t.Errorf("a refused run reached the server: %s %s", got[0].Method, got[0].Target)
	}
}

// testAssertionAsKey: the provider's token in WANDB_API_KEY arrives as the password of Basic
// (sdk-wire 1.1); older clients refuse it themselves.
func testAssertionAsKey(t *testing.T, f federation) {
	version := sdkVersions[len(sdkVersions)-1]
	for _, s := range []scenario{
		{name: "token as key of a person", key: f.provider.idToken(t, "alice@acme.test"), env: []string{"WANDB_ENTITY", "vision"}, project: "team", entity: "vision", user: "alice", attributed: "alice"},
		{name: "token as key of a job", key: f.provider.idToken(t, ciSubject), project: "team", entity: "vision", user: "gh-train"},
		{name: "token as key of nobody", key: f.provider.idToken(t, "nobody@acme.test"), env: []string{"WANDB_ENTITY", "vision"}, project: "team", reads: []string{"identity token"}},
	} {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			s.run(t, version, f.process, f.upstream)
			if n := len(f.tap.exchanges(s.key)); n != 0 {
				t.Errorf("the client exchanged it %d times", n)
			}
			if n := len(f.tap.about(func(r tapped) bool { return r.header.Get("Authorization") == basic(s.key) })); n == 0 {
				t.Error("no request carried it")
			}
		})
	}
}

// testIssuerNeverThere: what is nobody's fault is 503; the client tries again, and then tells.
func testIssuerNeverThere(t *testing.T) {
	p := startProvider(t)
	token := p.idToken(t, "alice@acme.test")
	p.set(t, "/mood", map[string]any{"mood": "refusing"})
	upstream := startStandin(t, standin.Config{Trust: true})
	tap, gateway := newTap(t, start(t, config{global: trustingURL(p.Issuer), site: "upstream_credential none", upstream: upstream.address}))
	gateway.importFile(sdkDirectory)
	version := sdkVersions[len(sdkVersions)-1]
	c := newSDK(t, version, gateway.url, "").identity(t, token).with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "team", "WANDB_RUN_ID", runID(version, "never"), "DRIVER_INIT_TIMEOUT", "20")
	o := c.drive(t, "log_run.py")
	if o.code == 0 {
		t.Fatal("the run was logged")
	}
	if !strings.Contains(o.output, "503") && !strings.Contains(o.output, p.Issuer) {
		t.Errorf("the user does not read why:\n%s", o.output)
	}
	tries := tap.exchanges(token)
	if len(tries) < 2 {
		t.Errorf("the client tried %d times", len(tries))
	}
	for _, r := range tries {
		if r.answer.status != http.StatusServiceUnavailable || r.answer.header.Get("Retry-After") == "" {
			t.Errorf("answered %d %v", r.answer.status, r.answer.header)
		}
	}
	// The same job, once the issuer is back.
	p.set(t, "/mood", map[string]any{"mood": "well"})
	again := newSDK(t, version, gateway.url, "").identity(t, token).with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "team", "WANDB_RUN_ID", runID(version, "again"))
	again.drive(t, "log_run.py").mustWork(t)
}
