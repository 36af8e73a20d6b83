package tests

import (
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// samples are the metrics of a process as they were scraped: a sample's name with its labels, as the
// text format writes them, and its value.
type samples map[string]float64

// scrape reads the metrics at the admin endpoint.
func (p *process) scrape() samples {
	p.t.Helper()
	return p.scrapeAt(p.admin)
}

func (p *process) scrapeAt(address string) samples {
	p.t.Helper()
	all := make(samples)
	for line := range strings.Lines(p.metricsAt(address)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		line = strings.TrimSpace(line)
		space := strings.LastIndexByte(line, ' ')
		if space < 0 {
			p.t.Fatalf("no sample: %q", line)
		}
		value, err := strconv.ParseFloat(line[space+1:], 64)
		if err != nil {
			p.t.Fatalf("no sample: %q", line)
		}
		all[line[:space]] = value
	}
	return all
}

func (p *process) metricsText() string {
	p.t.Helper()
	return p.metricsAt(p.admin)
}

func (p *process) metricsAt(address string) string {
	p.t.Helper()
	res, err := client.Get("http://" + address + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		p.t.Fatalf("metrics: %d, %v", res.StatusCode, err)
	}
	return string(body)
}

const (
	propagationCount = "wandb_gateway_store_propagation_seconds_count"
	storeRevision    = "wandb_gateway_store_revision"
	propagationSum   = "wandb_gateway_store_propagation_seconds_sum"
)

// within is how many changes held within so many seconds, one of the bounds of the histogram.
func (s samples) within(seconds float64) float64 {
	return s[fmt.Sprintf("wandb_gateway_store_propagation_seconds_bucket{le=%q}", strconv.FormatFloat(seconds, 'g', -1, 64))]
}

// scrapeAtRest returns what each gateway of a fleet tells once all of them know the newest commit and have
// counted it: a scrape in between finds a commit in one number and not yet in another.
func scrapeAtRest(t *testing.T, fleet []*process) []samples {
	t.Helper()
	told := make([]samples, len(fleet))
	await(t, "a fleet at rest", 30*time.Second, func() bool {
		rest := true
		for i, p := range fleet {
			now := p.scrape()
			rest = rest && told[i] != nil && now[storeRevision] == told[i][storeRevision] && now[propagationCount] == told[i][propagationCount]
			told[i] = now
			rest = rest && now[storeRevision] == told[0][storeRevision]
		}
		return rest
	})
	return told
}

// TestPropagationIsMeasured: what is revoked on one gateway is in the histogram of the other, once for
// each change, with the time that it took.
func TestPropagationIsMeasured(t *testing.T) {
	server := miniredis.RunT(t)
	c := config{upstream: newRecorder(t).host(), env: []string{sharedMasterKey}, store: "redis redis://" + server.Addr()}
	a, b := launch(t, c), launch(t, c)
	a.awaitReady()
	b.awaitReady()
	a.importFile(acme)
	key := a.mustIAM("key", "create", "--owner", "alice", "--name", "laptop")
	b.await("the new key", 30*time.Second, func() bool { return b.stream("vision/team", key).status == http.StatusOK })
	first := b.scrape()
	if first[propagationCount] == 0 {
		t.Fatalf("nothing was counted:\n%s", b.metricsText())
	}
	a.mustIAM("key", "delete", key[len("wbg-"):][:8])
	b.await("the revocation", 30*time.Second, func() bool { return b.stream("vision/team", key).status == http.StatusUnauthorized })
	var after samples
	b.await("the revocation in the histogram", 30*time.Second, func() bool {
		after = b.scrape()
		return after[propagationCount] > first[propagationCount]
	})
	if after.within(60) != after[propagationCount] {
		t.Errorf("not all changes took less than a minute:\n%s", b.metricsText())
	}
	if took := after[propagationSum] - first[propagationSum]; took < 0 || took > 30 {
		t.Errorf("the revocation took %g seconds", took)
	}
	for name, most := range map[string]float64{"wandb_gateway_store_contact_age_seconds": 30, "wandb_gateway_store_stale_limit_seconds": 10} {
		if got, ok := after[name]; !ok || got < 0 || got > most {
			t.Errorf("%s is %g", name, got)
		}
	}
	if got := after["wandb_gateway_store_stale_limit_seconds"]; got != 10 {
		t.Errorf("the stale limit is %g seconds", got)
	}
	// Every gateway counts every commit once, whoever makes it.
	fleet := []*process{a, b}
	begun := scrapeAtRest(t, fleet)
	for range 5 {
		for _, p := range fleet {
			p.mustIAM("key", "create", "--owner", "alice", "--name", "another")
		}
	}
	for i, p := range fleet {
		p.await("the commits to be counted", 30*time.Second, func() bool {
			now := p.scrape()
			commits := now[storeRevision] - begun[i][storeRevision]
			counted := now[propagationCount] - begun[i][propagationCount]
			return commits >= 10 && counted == commits
		})
	}
}

// TestMetrics: refusals, exchanges and limits are counted by outcome and reason; the counts go on after
// a reload and after one that fails; nothing of a caller is in them; and no site serves them.
func TestMetrics(t *testing.T) {
	const canary = "canary-7f3a"
	recorder := newRecorder(t)
	issuer := newIssuer(t, newKey(t, "ES256", "k1"))
	c := config{upstream: recorder.host(), global: "failure_limit 5/h\n\t\tjwt_issuer " + issuer.name}
	p := start(t, c)
	p.importFile(strings.ReplaceAll(acme, "Alice", canary))
	p.mustIAM("user", "create", canary, "--email", canary+"@acme.test")
	key := p.mustIAM("key", "create", "--owner", canary, "--name", canary)

	p.exchange("no.assertion." + canary)
	for range 3 {
		p.stream("vision/team", aliceKey)                       // passes
		p.stream("vision/restricted", key)                      // is refused
		p.stream(canary+"/"+canary, key)                        // passes, in their own entity
		p.stream("vision/team", "wbg-"+strings.Repeat("0", 40)) // is nobody
	}
	p.send(http.MethodPost, "/"+canary, key, canary, http.Header{"User-Agent": {canary}, canary: {canary}})
	for range 2 {
		p.stream("vision/team", "wbg-"+strings.Repeat("1", 40)) // is over the limit in the end
	}

	want := func(when string, scraped samples) {
		t.Helper()
		for name, least := range map[string]float64{
			`wandb_gateway_requests_total{outcome="passed",reason="team_member"}`:                     3,
			`wandb_gateway_requests_total{outcome="refused",reason="restricted_project_not_invited"}`: 3,
			`wandb_gateway_requests_total{outcome="refused",reason="unknown_credential"}`:             4,
			`wandb_gateway_requests_total{outcome="limited",reason="too_many_failures"}`:              1,
			`wandb_gateway_limited_total{limit="credentials_by_address"}`:                             1,
			propagationCount: 3,
		} {
			if scraped[name] < least {
				t.Errorf("%s, %s is %g, want %g or more", when, name, scraped[name], least)
			}
		}
		exchanges := 0.0
		for name, value := range scraped {
			if strings.HasPrefix(name, `wandb_gateway_exchanges_total{outcome="refused"`) {
				exchanges += value
			}
		}
		if exchanges != 1 {
			t.Errorf("%s, %g exchanges are refused, want 1", when, exchanges)
		}
	}
	first := p.scrape()
	want("at first", first)
	if t.Failed() {
		t.Logf("the metrics:\n%s", p.metricsText())
	}

	// With a site of their own, as where the admin endpoint is closed to whoever scrapes.
	inside := freeAddress(t)
	if status, body := p.loadFile(c.caddyfile(p.admin, p.site) + "http://" + inside + " {\n\tmetrics /metrics\n}\n"); status != http.StatusOK {
		t.Fatalf("the reload: %d %s", status, body)
	}
	want("after a reload", p.scrape())
	want("at a site of their own", p.scrapeAt(inside))
	bad := c
	bad.upstream = "127.0.0.1:9\n\tnonsense"
	bad.store = "redis redis://127.0.0.1:1"
	if status, _ := p.load(bad); status == http.StatusOK {
		t.Fatal("a bad configuration was taken")
	}
	bad.upstream = c.upstream
	if status, _ := p.load(bad); status == http.StatusOK {
		t.Fatal("another store was taken")
	}
	want("after a reload that failed", p.scrape())
	if p.stream("vision/team", aliceKey).status != http.StatusOK {
		t.Error("a key does not count any more")
	}
	p.await("counting to go on", 30*time.Second, func() bool {
		const passed = `wandb_gateway_requests_total{outcome="passed",reason="team_member"}`
		return p.scrape()[passed] > first[passed]
	})

	text := p.metricsText()
	if strings.Contains(strings.ToLower(text), canary) || strings.Contains(text, key) || strings.Contains(text, key[4:12]) {
		t.Errorf("the metrics name a caller, a key or a path (V05):\n%s", text)
	}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "wandb_gateway_") && !plainSample.MatchString(line) {
			t.Errorf("a label with what is no word of ours: %s", line)
		}
	}
	got := p.send(http.MethodGet, "/metrics", aliceKey, "", nil)
	if strings.Contains(got.body, "wandb_gateway_") {
		t.Errorf("the site serves the metrics (P18): %d", got.status)
	}
}

var plainSample = regexp.MustCompile(`^[a-z_]+(\{([a-z]+="([a-z_ ]*|[0-9.e-]+|\+Inf)",?)+\})? [0-9.e+-]+\n$`)

// TestLookupsAreCounted: what the server that is the record was asked, and whether it answered.
func TestLookupsAreCounted(t *testing.T) {
	r := startRecordWith(t, "", "", "")
	if got, err := r.tryRead(recordAlice, "vision/team"); err != nil || !got.sees() {
		t.Fatalf("%d %s %v", got.status, got.body, err)
	}
	r.tryRead(recordAlice+"0", "vision/team")
	r.server.Fail(standin.Fault{Status: http.StatusBadGateway, Header: http.Header{}, Match: byGateway})
	r.tryRead(recordMallory, "vision/team")
	scraped := r.scrape()
	for name, least := range map[string]float64{
		`wandb_gateway_lookups_total{outcome="passed"}`:                                     1,
		`wandb_gateway_lookups_total{outcome="refused"}`:                                    1,
		`wandb_gateway_lookups_total{outcome="unavailable"}`:                                1,
		`wandb_gateway_requests_total{outcome="refused",reason="unknown_credential"}`:       1,
		`wandb_gateway_requests_total{outcome="unavailable",reason="upstream_unavailable"}`: 1,
	} {
		if scraped[name] < least {
			t.Errorf("%s is %g, want %g or more", name, scraped[name], least)
		}
	}
	if t.Failed() {
		t.Log(r.metricsText())
	}
}

// TestSignInsAreCounted: those that succeed and those that do not, and nothing that somebody showed.
func TestSignInsAreCounted(t *testing.T) {
	site := startSignIn(t, "pkce", nil).withAcme()
	site.visitor(t).signIn("alice", nil)
	site.visitor(t).tries("bob", map[string]any{"aud": "another"})
	scraped, passed, refused := site.scrape(), 0.0, 0.0
	for name, value := range scraped {
		switch {
		case strings.HasPrefix(name, `wandb_gateway_sign_ins_total{method="oidc",outcome="passed",`):
			passed += value
		case strings.HasPrefix(name, `wandb_gateway_sign_ins_total{method="oidc",outcome="refused",`):
			refused += value
		}
	}
	text := site.metricsText()
	if passed != 1 || refused != 1 {
		t.Errorf("%g sign-ins passed and %g were refused, want 1 each:\n%s", passed, refused, text)
	}
	for _, canary := range append(*site.canaries, "alice", "bob") {
		if strings.Contains(text, canary) {
			t.Errorf("the metrics hold %q (V01)", canary)
		}
	}
}
