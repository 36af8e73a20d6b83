package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// keyRow is a key as a list shows it.
type keyRow struct {
	ID, Owner, Name string
	Created         time.Time
	LastUsed        time.Time `json:"last_used"`
}

// keys lists keys, with --json.
func (p *process) keys(args ...string) (rows []keyRow) {
	p.t.Helper()
	if err := json.Unmarshal([]byte(p.mustIAM(append([]string{"key", "list", "--json"}, args...)...)), &rows); err != nil {
		p.t.Fatal(err)
	}
	return rows
}

// lastUsed is when the one key of somebody was last used.
func (p *process) lastUsed(owner string) time.Time {
	p.t.Helper()
	rows := p.keys("--owner", owner)
	if len(rows) != 1 {
		p.t.Fatalf("%s has %d keys", owner, len(rows))
	}
	return rows[0].LastUsed
}

// unusedList is a list of all keys without when they were last used.
func (p *process) unusedList() string {
	p.t.Helper()
	rows := p.keys()
	for i := range rows {
		rows[i].LastUsed = time.Time{}
	}
	return fmt.Sprintf("%+v", rows)
}

// lastUse is when a key that was imported was last used.
func (p *process) lastUse(key string) time.Time {
	p.t.Helper()
	id := apikey.ID(iam.NewSecret(key))
	for _, r := range p.keys() {
		if r.ID == string(id) {
			return r.LastUsed
		}
	}
	p.t.Fatalf("there is no key %s", id)
	return time.Time{}
}

func namesOf(rows []keyRow) string {
	list := make([]string, len(rows))
	for i, r := range rows {
		list[i] = r.Name
	}
	return strings.Join(list, " ")
}

// TestKeyUse: a key is shown as used where it proved who calls, whether or not they might do what they asked for, and
// nowhere else; and it stays so over reloads and restarts.
func TestKeyUse(t *testing.T) {
	c := config{upstream: newRecorder(t).host()}
	p := start(t, c)
	p.importFile(acme)
	vera := p.mustIAM("key", "create", "--owner", "vera", "--name", "laptop")
	began := time.Now().Add(-time.Second)
	for owner := range map[string]bool{"alice": true, "bob": true, "vera": true} {
		if last := p.lastUsed(owner); !last.IsZero() {
			t.Errorf("%s has used a key at %s", owner, last)
		}
	}
	if a := p.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Fatal(a)
	}
	if a := p.stream("vision/team", vera); a.status != http.StatusForbidden {
		t.Fatal(a)
	}
	p.mustIAM("user", "set", "bob", "--active=false")
	if a := p.stream("speech/x", bobKey); a.status != http.StatusUnauthorized {
		t.Fatal(a)
	}
	p.stream("speech/x", bobKey[1:])
	used := map[string]time.Time{}
	for owner, want := range map[string]bool{"alice": true, "vera": true, "bob": false} {
		if used[owner] = p.lastUsed(owner); used[owner].After(began) != want || used[owner].After(time.Now()) {
			t.Errorf("%s has used a key at %s", owner, used[owner])
		}
	}
	if table := p.mustIAM("key", "list"); !strings.Contains(table, "NAME") || !strings.Contains(table, "LAST_USED") || !strings.Contains(table, used["alice"].Format(time.RFC3339)) {
		t.Errorf("the table is\n%s", table)
	}
	if status, body := p.load(c); status != http.StatusOK {
		t.Fatal(status, body)
	}
	if last := p.lastUsed("alice"); !last.Equal(used["alice"]) {
		t.Errorf("after a reload alice's key was used at %s", last)
	}
	p.stop()
	c.dir = p.dir
	again := start(t, c)
	for _, owner := range []string{"alice", "vera", "bob"} {
		if last := again.lastUsed(owner); !last.Equal(used[owner]) {
			t.Errorf("after a restart the key of %s was used at %s, and before at %s", owner, last, used[owner])
		}
	}
}

// TestKeyUseOnTwoGateways: what one gateway sees another tells, without the first being stopped; and a killed one has
// lost no more than it had not written.
func TestKeyUseOnTwoGateways(t *testing.T) {
	t.Parallel()
	server := miniredis.RunT(t)
	c := config{upstream: newRecorder(t).host(), env: []string{sharedMasterKey}, store: "redis redis://" + server.Addr() + "/0"}
	one, other := launch(t, c), launch(t, c)
	one.awaitReady()
	other.awaitReady()
	one.importFile(acme)
	if a := one.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Fatal(a)
	}
	other.await("the other gateway to know of the use", 90*time.Second, func() bool { return !other.lastUsed("alice").IsZero() })
	seen := other.lastUsed("alice")
	one.cmd.Process.Kill()
	<-one.done
	if last := other.lastUsed("alice"); !last.Equal(seen) {
		t.Errorf("it is told as %s, and was %s", last, seen)
	}
	// While the store is away keys work, and their use is told afterwards.
	if a := other.stream("speech/x", bobKey); a.status != http.StatusOK {
		t.Fatal(a)
	}
	server.SetError("LOADING Redis is loading the dataset in memory")
	if a := other.stream("speech/x", bobKey); a.status != http.StatusOK && a.status != http.StatusServiceUnavailable {
		t.Errorf("answered %d %s", a.status, a.body)
	}
	server.SetError("")
	third := launch(t, c)
	third.awaitReady()
	third.await("the use to be written", 90*time.Second, func() bool { return !third.lastUsed("bob").IsZero() })
}

// TestKeyUseOfLocalKeys: where the W&B server is the record, keys of the gateway's own service accounts have their
// uses noted too.
func TestKeyUseOfLocalKeys(t *testing.T) {
	p := startRecordWith(t, "upstream_credential api_key "+recordRoot, "", "").process
	p.importFile(`{"organization":"acme","teams":[{"name":"vision"}],"service_accounts":[{"name":"ci-local","team":"vision"}]}`)
	key := p.mustIAM("key", "create", "--owner", "service_account:ci-local", "--name", "ci")
	if last := p.lastUsed("service_account:ci-local"); !last.IsZero() {
		t.Errorf("used at %s", last)
	}
	if a := p.graphQL(key, `{viewer{username}}`, nil, nil); a.status != http.StatusOK {
		t.Fatal(a)
	}
	if last := p.lastUsed("service_account:ci-local"); last.IsZero() {
		t.Error("its use is not told")
	}
}

// TestKeyList is KEY-6 and KEY-8: search, owners of one kind or team, every order, and pages that hold every key once.
func TestKeyList(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	ids := map[string]string{}
	for _, k := range []struct{ owner, name string }{
		{"service_account:ci-vision", "Nightly"}, {"service_account:ci-vision", "spare"}, {"service_account:ci-speech", "nightly speech"},
		{"service_account:org-bot", "sync"}, {"vera", "laptop"},
	} {
		key := p.mustIAM("key", "create", "--owner", k.owner, "--name", k.name)
		ids[k.name] = key[len("wbg-"):][:8]
		if k.name == "spare" || k.name == "sync" {
			p.stream("vision/team", key)
		}
	}
	if got := len(p.keys()); got != 7 {
		t.Errorf("%d keys", got)
	}
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"--search", "NIGHT", "--sort", "name"}, "Nightly nightly speech"},
		{[]string{"--search", strings.ToUpper(ids["spare"])}, "spare"},
		{[]string{"--search", "%"}, ""},
		{[]string{"--search", "no such"}, ""},
		{[]string{"--kind", "service_account", "--sort", "name:desc"}, "sync spare nightly speech Nightly"},
		{[]string{"--kind", "user", "--sort", "owner:desc"}, "laptop old laptop old laptop"},
		{[]string{"--team", "vision", "--sort", "name"}, "Nightly spare"},
		{[]string{"--team", "Speech"}, "nightly speech"},
		{[]string{"--owner", "vera"}, "laptop"},
		{[]string{"--owner", "vera", "--search", "spare"}, ""},
		{[]string{"--kind", "service_account", "--sort", "last-used:desc", "--search", "s", "--team", "vision"}, "spare"},
		{[]string{"--unused-for", "90d"}, ""},
		{[]string{"--unused-for", "1h"}, ""},
	} {
		if got := namesOf(p.keys(tt.args...)); got != tt.want {
			t.Errorf("key list %s lists %q, want %q", strings.Join(tt.args, " "), got, tt.want)
		}
	}
	p.await("a key not to have been used for a second", 30*time.Second, func() bool {
		return namesOf(p.keys("--unused-for", "1s", "--search", "laptop", "--owner", "vera")) == "laptop"
	})

	for _, order := range []string{"id", "owner", "name", "created", "last_used", "id:desc", "owner:desc", "name:desc", "created:desc", "last_used:desc", "name:asc"} {
		var all []string
		after := []string{}
		for pages := 0; ; pages++ {
			var page struct {
				Rows []keyRow
				Next string
			}
			out := p.mustIAM(append([]string{"key", "list", "--json", "--limit", "3", "--sort", order}, after...)...)
			if err := json.Unmarshal([]byte(out), &page); err != nil || len(page.Rows) > 3 || pages > 3 {
				t.Fatalf("%s: %v\n%s", order, err, out)
			}
			for _, r := range page.Rows {
				all = append(all, r.ID)
			}
			if page.Next == "" {
				break
			}
			after = []string{"--after", page.Next}
		}
		var whole []string
		for _, r := range p.keys("--sort", order) {
			whole = append(whole, r.ID)
		}
		if !slices.Equal(all, whole) || len(slices.Compact(slices.Sorted(slices.Values(all)))) != 7 {
			t.Errorf("by %s pages list %q, and the whole %q", order, all, whole)
		}
	}
	if sorted := p.keys("--sort", "last_used:desc"); namesOf(sorted[:2]) != "sync spare" && namesOf(sorted[:2]) != "spare sync" {
		t.Errorf("last used first: %s", namesOf(sorted))
	}
	if out := p.mustIAM("key", "list", "--limit", "2"); strings.Count(out, "\n") != 2 {
		t.Errorf("a page of the table is\n%s", out)
	}
	page := p.mustIAM("key", "list", "--json", "--limit", "2")
	cursor := page[strings.Index(page, `"next": "`)+len(`"next": "`):]
	cursor = cursor[:strings.IndexByte(cursor, '"')]
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"--sort", "colour"}, "colour"}, {[]string{"--sort", "name:up"}, "name:up"}, {[]string{"--limit", "0"}, "10000"}, {[]string{"--limit", "many"}, "many"},
		{[]string{"--unused-for", "-3d"}, "90d"}, {[]string{"--unused-for", "99999999999d"}, "90d"}, {[]string{"--unused-for", "soon"}, "90d"},
		{[]string{"--kind", "robot"}, "robot"}, {[]string{"--team", "nowhere"}, "nowhere"}, {[]string{"--owner", ""}, "--owner"},
		{[]string{"--after", cursor}, "--limit"}, {[]string{"--limit", "2", "--after", "x" + cursor}, "cursor"},
		{[]string{"--limit", "2", "--after", cursor, "--sort", "name"}, "another order"},
	} {
		if out, err := p.iam("", append([]string{"key", "list"}, tt.args...)...); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("key list %s: %q, %v; want an error that says %q", strings.Join(tt.args, " "), out, err, tt.says)
		}
	}
}

// TestRotateKey is KEY-11: a new key beside the old one, both work, the old one is deleted; and whoever changes over in
// between is never refused.
func TestRotateKey(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	mint := func() string {
		return p.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "ci")
	}
	var current atomic.Value
	current.Store(mint())
	stop := make(chan struct{})
	var workers sync.WaitGroup
	var requests atomic.Int64
	for range 4 {
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				key := current.Load().(string)
				a, err := p.try("POST", "/files/vision/team/run1/file_stream", "{}", http.Header{"Authorization": {basic(key)}})
				if err != nil || a.status != http.StatusOK {
					t.Errorf("answered %d %s (%v)", a.status, a.body, err)
					return
				}
				requests.Add(1)
			}
		})
	}
	for range 3 {
		old, fresh := current.Load().(string), mint()
		for name, key := range map[string]string{"old": old, "new": fresh} {
			if a := p.stream("vision/team", key); a.status != http.StatusOK {
				t.Errorf("while there are both, the %s one gets %d", name, a.status)
			}
		}
		p.mustIAM("key", "set", old[len("wbg-"):][:8], "--name", "ci, old") // KEY-10
		current.Store(fresh)
		seen := requests.Load()
		p.await("everybody to have changed over", 30*time.Second, func() bool { return requests.Load() >= seen+20 || t.Failed() })
		p.mustIAM("key", "delete", old[len("wbg-"):][:8])
		if a := p.stream("vision/team", old); a.status != http.StatusUnauthorized {
			t.Errorf("the old one gets %d", a.status)
		}
	}
	close(stop)
	workers.Wait()
	if rows := p.keys("--owner", "service_account:ci-vision"); len(rows) != 1 {
		t.Errorf("%d keys are left", len(rows))
	}
}

// TestServiceAccountLife: renamed, disabled and enabled, an account keeps its keys, its places in projects and what is
// known of it.
func TestServiceAccountLife(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	p.mustIAM("project", "set", "vision/restricted", "--add", "service_account:ci-vision")
	key := p.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "ci")
	spare := p.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "spare")
	doctor := func(says string) {
		t.Helper()
		if out := p.mustIAM("doctor"); !strings.Contains(out, says) {
			t.Errorf("doctor does not say %q:\n%s", says, out)
		}
	}
	doctor("2 of 3 have no API key: ci-speech, org-bot; 1 of 3 were not used since uses are recorded: ci-vision")
	if a := p.stream("vision/restricted", key); a.status != http.StatusOK {
		t.Fatal(a)
	}
	var rows []struct {
		Name, Kind, Team string
		Keys             int
		Created          time.Time
		LastUsed         time.Time `json:"last_used"`
	}
	list := func(args ...string) {
		t.Helper()
		rows = nil
		if err := json.Unmarshal([]byte(p.mustIAM(append([]string{"service-account", "list", "--json"}, args...)...)), &rows); err != nil {
			t.Fatal(err)
		}
	}
	list()
	if got := fmt.Sprintf("%+v", rows); len(rows) != 3 || rows[1].Name != "ci-vision" || rows[1].Keys != 2 || rows[1].Kind != "team" || rows[1].LastUsed.IsZero() || rows[1].Created.IsZero() ||
		rows[2].Kind != "organization" || rows[2].Keys != 0 || !rows[2].LastUsed.IsZero() {
		t.Errorf("the accounts are %s", got)
	}
	if list("--team", "vision"); len(rows) != 1 || rows[0].Name != "ci-vision" {
		t.Errorf("those of the team are %+v", rows)
	}

	if out := p.mustIAM("service-account", "set", "ci-vision", "--name", "nightly-eval"); !strings.Contains(out, "is called nightly-eval") {
		t.Errorf("renaming says %q", out)
	}
	upstream.take()
	for _, key := range []string{key, spare} {
		if a := p.stream("vision/restricted", key); a.status != http.StatusOK {
			t.Errorf("renamed, it gets %d %s", a.status, a.body)
		}
	}
	if got := upstream.take(); len(got) != 2 || got[0].header.Get("X-Forwarded-User") != "nightly-eval" {
		t.Errorf("the upstream is told %v", got)
	}
	for name, says := range map[string]string{"ci-speech": "taken", "alice": "taken", "a b": "not a name", "": "not a name"} {
		if _, err := p.iam("", "service-account", "set", "nightly-eval", "--name", name); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("renamed to %q: %v", name, err)
		}
	}
	if out := p.mustIAM("service-account", "set", "nightly-eval", "--name", "Test-SA"); !strings.Contains(out, "does not say what it is for") {
		t.Errorf("a vague name is answered with %q", out)
	}
	p.mustIAM("service-account", "set", "Test-SA", "--name", "test-sa") // case alone
	p.mustIAM("service-account", "create", "ci-vision", "--team", "vision")

	if out := p.mustIAM("service-account", "set", "test-sa", "--active=false"); !strings.Contains(out, "work again when it is enabled") {
		t.Errorf("disabling says %q", out)
	}
	if a := p.stream("vision/team", key); a.status != http.StatusUnauthorized || a.reason() != "deactivated" {
		t.Errorf("disabled, it gets %d %s", a.status, a.body)
	}
	if out := p.mustIAM("service-account", "set", "test-sa", "--active=true"); !strings.Contains(out, "keys work again") {
		t.Errorf("enabling says %q", out)
	}
	for _, key := range []string{key, spare} {
		if a := p.stream("vision/restricted", key); a.status != http.StatusOK {
			t.Errorf("enabled, it gets %d %s", a.status, a.body)
		}
	}
	out, err := p.iam(`{"service_accounts":[{"name":"temp","team":"vision"},{"name":"nightly-train","team":"vision"}]}`, "import", "--json", "-")
	if err != nil || !strings.Contains(out, "service account temp. Its name does not say") || strings.Contains(out, "nightly-train. Its") {
		t.Errorf("an import answers %q %v", out, err)
	}
	if out := p.mustIAM("service-account", "create", "sa-1", "--team", "vision", "--issuer", "https://ci.example", "--subject", "x"); !strings.Contains(out, "does not say what it is for") {
		t.Errorf("a vague external account is answered with %q", out)
	}
	if _, err := p.iam("", "key", "create", "--owner", "service_account:sa-1", "--name", "x"); err == nil || !strings.Contains(err.Error(), "owns no API keys") { // KEY-4
		t.Errorf("a key for an external account: %v", err)
	}
}

// TestNoNewKeys is KEY-12: with api_key_creation off nobody but the organization's service accounts gets a new key, at any
// door, and what there is goes on.
func TestNoNewKeys(t *testing.T) {
	const literal = "API key creation has been disabled by your organization administrator. You can still edit, delete, and use existing API keys."
	on := config{upstream: newRecorder(t).host()}
	p := start(t, on)
	p.importFile(acme)
	made := p.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "before")
	off := on
	off.global = "api_key_creation off"
	if status, body := p.load(off); status != http.StatusOK {
		t.Fatal(status, body)
	}
	for _, owner := range []string{"alice", "root", "service_account:ci-vision"} {
		if out, err := p.iam("", "key", "create", "--owner", owner, "--name", "x"); err == nil || !strings.Contains(err.Error(), literal) || strings.Contains(out, "wbg-") {
			t.Errorf("a key for %s: %q %v", owner, out, err)
		}
	}
	for name, a := range map[string]answer{
		"generateApiKey":       p.graphQL(aliceKey, docKey, given{"description": "x"}, nil),
		"createServiceAccount": p.graphQL(aliceKey, docAccount, given{"entity": "vision", "description": "ci of vision"}, nil),
	} {
		if a.status != http.StatusForbidden || a.reason() != "api_key_creation_disabled" || a.message() != literal || strings.Contains(a.body, "wbg-") {
			t.Errorf("%s is answered %d %s", name, a.status, a.body)
		}
	}
	if list := p.mustIAM("service-account", "list"); strings.Contains(list, "ci-of-vision") {
		t.Errorf("an account without its key is left behind:\n%s", list)
	}
	if bot := p.mustIAM("key", "create", "--owner", "service_account:org-bot", "--name", "x"); p.stream("vision/team", bot).status != http.StatusOK {
		t.Error("the organization's account got a key that does not work")
	}
	for name, key := range map[string]string{"imported": aliceKey, "minted": made} {
		if a := p.stream("vision/team", key); a.status != http.StatusOK {
			t.Errorf("an %s key gets %d", name, a.status)
		}
	}
	p.mustIAM("key", "set", made[len("wbg-"):][:8], "--name", "renamed")
	p.mustIAM("key", "delete", made[len("wbg-"):][:8])
	p.importFile(acme) // records what exists elsewhere, and makes nothing
	if status, body := p.load(on); status != http.StatusOK {
		t.Fatal(status, body)
	}
	p.mustIAM("key", "create", "--owner", "alice", "--name", "after")
}

// TestNoNewKeysAtAuthorize is the same for people at a browser, who see when they used what they have.
func TestNoNewKeysAtAuthorize(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) { c.global += "\n\t\tapi_key_creation off" }).withAcme()
	v := site.visitor(t).signIn("alice", nil)
	if a := v.load("/authorize"); a.status != http.StatusOK || strings.Contains(a.body, "last used") {
		t.Errorf("the page: %d %s", a.status, a.body)
	}
	if a := v.submit("/authorize", url.Values{"form": {"create"}, "name": {"x"}}); a.status != http.StatusForbidden || shownKey.MatchString(a.body) ||
		!strings.Contains(a.body, "API key creation has been disabled by your organization administrator. You can still edit, delete, and use existing API keys.") {
		t.Errorf("making a key: %d %s", a.status, a.body)
	}
	if a := site.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Fatal(a)
	}
	if a := v.load("/authorize"); !strings.Contains(a.body, ", last used ") {
		t.Errorf("the page does not say when the key was used:\n%s", a.body)
	}
}
