package tests

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// workload is what a platform puts into the tokens of its jobs, and how users map it.
type workload struct {
	Preset   string            `json:"preset"`
	Audience []string          `json:"audience"`
	Subject  string            `json:"account"` // of the service account, or
	Rule     map[string]string `json:"rule"`    // its claims
	Near     map[string]any    `json:"near"`    // what differs in a neighbour's token
	Claims   map[string]any    `json:"claims"`
}

// workloads reads the tokens that the platforms of the presets really make.
func workloads(t *testing.T) map[string]workload {
	t.Helper()
	files, err := filepath.Glob("../tokenexchange/testdata/shapes/*.json")
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]workload)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var w workload
		if err := json.Unmarshal(text, &w); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if w.Preset != "" { // the others are of people
			all[strings.ReplaceAll(strings.TrimSuffix(filepath.Base(file), ".json"), "_", "-")] = w
		}
	}
	if len(all) < 7 {
		t.Fatalf("%d workloads", len(all))
	}
	return all
}

// token is a job's token, signed as its platform signs.
func (w workload) token(i *issuer, key *signingKey, changes map[string]any) string {
	claims := i.claims("")
	for _, more := range []map[string]any{w.Claims, changes} {
		for name, value := range more {
			claims[name] = value
		}
	}
	claims["iss"] = i.name
	return key.token(claims)
}

// sole is a token of a platform about a person, with nothing of a job in it.
func (i *issuer) sole(key *signingKey, person string, audience []string) string {
	claims := i.claims(person)
	claims["email"], claims["email_verified"] = person, true
	if len(audience) > 0 {
		claims["aud"] = audience[0]
	}
	return key.token(claims)
}

// jwtIssuer is the block of an issuer with a preset, as configs/ has it for the platform's own.
func (w workload) jwtIssuer(i *issuer) string {
	audience := ""
	if len(w.Audience) > 0 {
		audience = "audience " + strings.Join(w.Audience, " ")
	}
	return fmt.Sprintf("\njwt_issuer %s {\n preset %s\n %s\n}", i.name, w.Preset, audience)
}

// TestJobsOfEveryPlatform: a job of each platform logs a run with the token that its platform made, and
// its neighbour on the same platform does not.
func TestJobsOfEveryPlatform(t *testing.T) {
	all := workloads(t)
	key := newKey(t, "RS256", "k1")
	issuers := make(map[string]*issuer)
	global := "failure_limit off"
	for name, w := range all {
		issuers[name] = newIssuer(t, key)
		global += w.jwtIssuer(issuers[name])
	}
	f := federated{key: key, upstream: newRecorder(t)}
	f.process = start(t, config{global: global, upstream: f.upstream.host()})
	f.importFile(acme)
	for name, w := range all {
		t.Run(name, func(t *testing.T) {
			i := issuers[name]
			args := []string{"service-account", "create", "job-" + name, "--team", "vision", "--issuer", i.name}
			if w.Subject != "" {
				args = append(args, "--subject", w.Subject)
			}
			for claim, value := range w.Rule {
				args = append(args, "--claim", claim+"="+value)
			}
			if got := f.exchange(w.token(i, key, nil)); got.status != http.StatusBadRequest {
				t.Errorf("before anybody maps it, it is answered %d %s", got.status, got.body)
			}
			f.mustIAM(args...)
			assertion := w.token(i, key, nil)
			for form, token := range map[string]string{"exchanged": f.mustExchange(t, assertion), "as it is": assertion} {
				if a := f.bearer("vision/team", token); a.status != http.StatusOK {
					t.Errorf("%s: %d %s", form, a.status, a.body)
				}
				f.told(t, "job-"+name, token)
				if a := f.bearer("speech/team", token); a.status == http.StatusOK {
					t.Errorf("%s: it works for another team", form)
				}
			}
			for why, hostile := range map[string]string{
				"a neighbour's":          w.token(i, key, w.Near),
				"for another audience":   w.token(i, key, map[string]any{"aud": "sts.amazonaws.com"}),
				"about a person":         i.sole(key, "alice@acme.test", w.Audience),
				"under another's issuer": w.token(newIssuer(t, key), key, nil),
			} {
				if got := f.exchange(hostile); got.status != http.StatusBadRequest || got.oauth().Error != "invalid_grant" {
					t.Errorf("%s: %d %s", why, got.status, got.body)
				}
			}
		})
	}
}

// TestUnsafeMappings: what somebody outside could satisfy stops the command, the import, the issuer's
// preset, the reload and the start, each with what to write instead.
func TestUnsafeMappings(t *testing.T) {
	key := newKey(t, "RS256", "k1")
	i := newIssuer(t, key)
	plain, preset := trusting(i), fmt.Sprintf("failure_limit off\njwt_issuer %s {\n preset github_actions\n}", i.name)
	upstream := newRecorder(t)
	p := start(t, config{global: preset, upstream: upstream.host()})
	p.importFile(acme)
	const github = "https://token.actions.githubusercontent.com"
	refused := func(why, says string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v; want a refusal that says %q", why, err, says)
		}
	}
	for _, c := range []struct {
		issuer string
		how    []string
		says   string
	}{
		{i.name, []string{"--claim", "aud=acme"}, "repository"},
		{i.name, []string{"--claim", "ref=refs/heads/main", "--claim", "environment=production"}, "repository"},
		{i.name, []string{"--claim", "job_workflow_ref=acme/shared/.github/workflows/train.yml@refs/heads/main"}, "repository"},
		{i.name, []string{"--subject", "repo:acme/*"}, "wildcard"},
		{i.name, []string{"--subject", "*"}, "wildcard"},
		{i.name, []string{"--claim", "repository=*"}, "wildcard"},
		{i.name, []string{"--claim", "repository="}, "empty"},
		{i.name, []string{"--subject", "alice@acme.test"}, "repo:OWNER/NAME"},
		{github, []string{"--claim", "ref=refs/heads/main"}, "repository"}, // nobody named a preset
	} {
		_, err := p.iam("", append([]string{"service-account", "create", "any", "--team", "vision", "--issuer", c.issuer}, c.how...)...)
		refused(strings.Join(c.how, " "), c.says, err)
	}
	file := filepath.Join(p.dir, "unsafe.json")
	account := fmt.Sprintf(`{"service_accounts": [{"name": "any", "team": "vision", "issuer": %q, "claims": {"ref": "refs/heads/main"}}]}`, i.name)
	if err := os.WriteFile(file, []byte(account), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := p.iam("", "import", file)
	refused("import", "repository", err)
	if out := p.mustIAM("service-account", "list"); strings.Contains(out, "any") {
		t.Errorf("one is there all the same:\n%s", out)
	}

	// Safe as long as nobody knows that the issuer is everybody's.
	other := newIssuer(t, key)
	p.mustIAM("issuer", "create", other.name)
	p.mustIAM("service-account", "create", "vague", "--team", "vision", "--issuer", other.name, "--subject", "main")
	_, err = p.iam("", "issuer", "set", other.name, "--preset", "github_actions")
	refused("a preset for its issuer", "vague", err)
	p.mustIAM("service-account", "delete", "vague")

	if status, body := p.load(config{global: plain, upstream: upstream.host()}); status != http.StatusOK {
		t.Fatalf("reload: %d %s", status, body)
	}
	client.CloseIdleConnections()
	p.mustIAM("service-account", "create", "loose", "--team", "vision", "--issuer", i.name, "--subject", "main")
	p.mustExchange(t, key.token(i.claims("main")))
	if status, body := p.load(config{global: preset, upstream: upstream.host()}); status == http.StatusOK || !strings.Contains(body, "loose") || !strings.Contains(body, "repo:OWNER/NAME") {
		t.Errorf("reload: %d %s", status, body)
	}
	client.CloseIdleConnections()
	p.mustExchange(t, key.token(i.claims("main"))) // the configuration of before stays
	p.stop()
	again := launch(t, config{global: preset, upstream: upstream.host(), dir: p.dir})
	if code := again.exit(20 * time.Second); code == 0 {
		t.Error("it starts")
	}
	if log := again.logs.String(); !strings.Contains(log, "loose") || !strings.Contains(log, "repo:OWNER/NAME") {
		t.Errorf("it does not say what is unsafe:\n%s", log)
	}
}

// TestReloadKeepsKeys: a reload that fails leaves the keys of the issuers as they were. The issuer may be
// down at that moment, and its jobs go on.
func TestReloadKeepsKeys(t *testing.T) {
	f := startFederated(t)
	f.mustExchange(t, f.assertion("alice@acme.test"))
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	f.issuer.misbehaves(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "down", http.StatusInternalServerError)
		return true
	})
	// Another issuer, and a site whose address somebody else has, which shows when all else has started.
	c := config{global: trusting(newIssuer(t, f.key)), upstream: f.upstream.host() + "\n}\nhttp://" + taken.Addr().String() + " {\n\trespond ok"}
	for range 8 { // Caddy starts apps in any order
		if status, body := f.load(c); status == http.StatusOK || !strings.Contains(body, "address already in use") {
			t.Fatalf("reload: %d %s", status, body)
		}
		client.CloseIdleConnections() // they are the reload's to end
		f.mustExchange(t, f.assertion("alice@acme.test"))
	}

	assertion := f.assertion("alice@acme.test")
	token := f.mustExchange(t, assertion)
	if status, body := f.load(config{global: trusting(newIssuer(t, f.key)), upstream: f.upstream.host()}); status != http.StatusOK {
		t.Fatalf("reload: %d %s", status, body)
	}
	client.CloseIdleConnections()
	for name, credential := range map[string]string{"assertion": assertion, "access token": token} {
		if a := f.bearer("vision/team", credential); a.status != http.StatusUnauthorized {
			t.Errorf("the %s of an issuer that the reload took away gets %d %s", name, a.status, a.body)
		}
	}
}

// TestSignInIssuerIsNoTrustedIssuer is J29: an issuer at which people sign in vouches for nobody at the
// exchange unless it is named for that, too.
func TestSignInIssuerIsNoTrustedIssuer(t *testing.T) {
	key := newKey(t, "RS256", "k1")
	i := newIssuer(t, key)
	upstream := newRecorder(t)
	p := start(t, config{global: fmt.Sprintf("failure_limit off\noidc {\n issuer %s\n client_id gateway\n}", i.name), upstream: upstream.host()})
	p.importFile(acme)
	for _, audience := range []string{"gateway", "acme", "wandb"} {
		claims := i.claims("alice@acme.test")
		claims["aud"], claims["email"], claims["email_verified"] = audience, "alice@acme.test", true
		token := key.token(claims)
		if got := p.exchange(token); got.status != http.StatusBadRequest || got.oauth().Error != "invalid_grant" {
			t.Errorf("for %s: %d %s", audience, got.status, got.body)
		}
		if a := p.bearer("vision/team", token); a.status != http.StatusUnauthorized {
			t.Errorf("for %s, as credential: %d %s", audience, a.status, a.body)
		}
	}
}

// TestNullsInJSON: what only JSON can say is refused like every other mistake.
func TestNullsInJSON(t *testing.T) {
	for name, app := range map[string]string{
		"jwt_issuer": `{"jwt_issuer": [null]}`, "domain": `{"domain": [null]}`,
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "caddy.json")
		if err := os.WriteFile(file, []byte(`{"apps": {"wandb_gateway": `+app+`}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := runIn(dir, "validate", "--config", file)
		if err == nil || !strings.Contains(out, "null; write") || strings.Contains(out, "goroutine") {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

// TestRenamedOrganization is ORG-11: the audience is the organization's present name, what was issued
// under the name of before goes on, and the upstream is told the present one.
func TestRenamedOrganization(t *testing.T) {
	f := startFederated(t)
	under := func(audience string) string {
		claims := f.issuer.claims("alice@acme.test")
		claims["aud"] = audience
		return f.key.token(claims)
	}
	old, direct := f.mustExchange(t, under("acme")), under("acme")
	if a := f.bearer("vision/team", direct); a.status != http.StatusOK {
		t.Fatalf("before: %d %s", a.status, a.body)
	}
	c := config{global: trusting(f.issuer), upstream: f.upstream.host()}
	text := strings.Replace(c.caddyfile(f.admin, strings.TrimPrefix(f.url, "http://")), "organization acme", "organization umbrella {\n\t\t\tformerly acme\n\t\t}", 1)
	res, err := admin.Post("http://"+f.admin+"/load", "text/caddyfile", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("reload: %d", res.StatusCode)
	}
	client.CloseIdleConnections()
	if got := f.exchange(under("acme")); got.status != http.StatusBadRequest {
		t.Errorf("for the old name: %d %s", got.status, got.body)
	}
	if a := f.bearer("vision/team", direct); a.status != http.StatusUnauthorized {
		t.Errorf("for the old name, remembered: %d %s", a.status, a.body)
	}
	f.mustExchange(t, under("wandb"))
	renamed := f.mustExchange(t, under("umbrella"))
	if _, claims := decodeToken(t, renamed); claims["aud"] != "umbrella" {
		t.Errorf("the access token is for %v", claims["aud"])
	}
	f.upstream.take()
	for name, token := range map[string]string{"before": old, "after": renamed} {
		if a := f.bearer("vision/team", token); a.status != http.StatusOK {
			t.Errorf("a token from %s: %d %s", name, a.status, a.body)
		}
		if got := f.told(t, "alice", token).header.Get("X-Wandb-Gateway-Organization"); got != "umbrella" {
			t.Errorf("a token from %s: the upstream is told the organization %q", name, got)
		}
	}
}
