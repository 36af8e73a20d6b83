package tests

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// The keys of people at the server that is the record. alice works in vision, carol joins her later,
// mallory is in no team of theirs.
const (
	recordAlice   = "local-a11ce00000000000000000000000000000000a11"
	recordCarol   = "local-ca401000000000000000000000000000000ca401"
	recordMallory = "local-3a110400000000000000000000000000003a1104"
	recordCI      = "local-c1c100000000000000000000000000000000c1c1"
	recordRoot    = "local-400400000000000000000000000000000000400a"
)

// record is a W&B server that keeps the record of people, teams, projects and keys, and can be made to
// fail, with a gateway before it.
type record struct {
	*process
	server *standin.Server
	web    *httptest.Server
	host   string
	config config
}

// restart starts the gateway anew, with its data.
func (r *record) restart(t *testing.T) {
	t.Helper()
	r.stop()
	r.config.dir = r.dir
	r.process = start(t, r.config)
}

// recordBounds are short enough to be waited for.
const recordBounds = "hits 2s\n\t\t\tmisses 1s\n\t\t\ttimeout 1s\n\t\t\t"

const recordHits = 2 * time.Second

func startRecordWith(t *testing.T, site, directory, global string, more ...string) record {
	t.Helper()
	c := standin.Config{
		Users: []standin.User{
			{Username: "alice", Email: "alice@acme.test", Keys: []string{recordAlice}},
			{Username: "carol", Email: "carol@acme.test", Keys: []string{recordCarol}},
			{Username: "mallory", Email: "mallory@acme.test", Keys: []string{recordMallory}},
			{Username: "root", Email: "root@acme.test", Keys: []string{recordRoot}, Admin: true},
		},
		Teams: []standin.Team{
			{Name: "vision", Members: []standin.Member{{User: "alice"}, {User: "carol"}, {User: "root"}}, ServiceAccounts: []standin.ServiceAccount{{Name: "ci", Keys: []string{recordCI}}}},
			{Name: "speech", Members: []standin.Member{{User: "mallory"}}},
		},
		Projects: []standin.Project{
			{Entity: "vision", Name: "team"}, {Entity: "vision", Name: "open", Access: "USER_WRITE"},
			{Entity: "vision", Name: "closed", Access: "RESTRICTED", Owner: "alice"},
			{Entity: "vision", Name: "odd", Access: "SOMETHING_NEW", Owner: "alice"},
			{Entity: "speech", Name: "team"},
		},
	}
	for _, name := range more { // further people of vision
		c.Users = append(c.Users, standin.User{Username: name, Email: name + "@acme.test", Keys: []string{keyOf(name)}})
		c.Teams[0].Members = append(c.Teams[0].Members, standin.Member{User: name})
	}
	server, err := standin.New(c)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		web.CloseClientConnections() // an answer that hangs would hold up Close
		web.Close()
	})
	host := strings.TrimPrefix(web.URL, "http://")
	how := config{
		upstream: host, site: site,
		global: "failure_limit off\n\t\tdirectory wandb " + web.URL + " {\n\t\t\t" + recordBounds + directory + "\n\t\t}\n\t\t" + global,
	}
	return record{start(t, how), server, web, host, how}
}

// keyOf is the key of one of the further people.
func keyOf(name string) string { return fmt.Sprintf("local-%040x", name) }

// byGateway matches the gateway's own questions, and not what it lets through.
func byGateway(r standin.Request) bool { return r.Header.Get("User-Agent") == "wandb-gateway" }

// reads is what a client asks before it shows a project.
func (r record) reads(key, project string) answer {
	r.t.Helper()
	entity, name, _ := strings.Cut(project, "/")
	return r.graphQL(key, `query P($e: String, $p: String) { project(entityName: $e, name: $p) { id name } }`, map[string]any{"e": entity, "p": name}, nil)
}

// sees reports whether an answer of reads shows the project.
func (a answer) sees() bool { return a.status == http.StatusOK && strings.Contains(a.body, `"name":"`) }

// refused reports whether an answer shows nothing, whoever says so.
func (a answer) refused() bool { return !a.sees() && a.status != http.StatusServiceUnavailable }

func bomb(size int) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(`{"data":{"viewer":{"id":"1","username":"mallory","name":"`))
	z.Write(bytes.Repeat([]byte("x"), size))
	z.Close()
	return b.String()
}

func header(pairs ...string) http.Header {
	h := http.Header{"Content-Type": {"application/json"}}
	for i := 0; i+1 < len(pairs); i += 2 {
		h.Set(pairs[i], pairs[i+1])
	}
	return h
}

// recordFaults are the ways in which a server, or something before it, fails to say who is calling.
var recordFaults = map[string]struct {
	fault standin.Fault
	says  string
}{
	"slow":                    {standin.Fault{Hang: true}, "did not answer within 1s"},
	"cut":                     {standin.Fault{Close: true}, "cannot be reached"},
	"half an answer":          {standin.Fault{Status: 200, Header: header(), Body: standin.HalfJSON, Cut: true}, "cannot be reached"},
	"500":                     {standin.Fault{Status: 500, Header: header(), Body: `{"errors":[{"message":"internal"}]}`}, "failed with status 500"},
	"502 of a proxy":          {standin.Fault{Status: 502, Header: header("Content-Type", "text/html"), Body: "<html>Bad Gateway</html>"}, "failed with status 502"},
	"429":                     {standin.Fault{Status: 429, Header: header("Retry-After", "3")}, "limits the rate of requests (429)"},
	"sign-in page":            {standin.Fault{Status: 200, Header: header("Content-Type", "text/html"), Body: standin.HTMLPage}, "must name a W&B server"},
	"403 of a firewall":       {standin.Fault{Status: 403, Header: header("Content-Type", "text/html"), Body: "<html>blocked</html>"}, "must name a W&B server"},
	"404":                     {standin.Fault{Status: 404, Header: header("Content-Type", "text/plain"), Body: "404 page not found"}, "must name a W&B server"},
	"redirect to a sign-in":   {standin.Fault{Status: 302, Header: header("Location", "/login")}, "answers with a redirect"},
	"redirect elsewhere":      {standin.Fault{Status: 307, Header: header("Location", "http://127.0.0.1:1/")}, "answers with a redirect"},
	"half JSON":               {standin.Fault{Status: 200, Header: header(), Body: standin.HalfJSON}, "must name a W&B server"},
	"data null":               {standin.Fault{Status: 200, Header: header(), Body: standin.NullData}, "must name a W&B server"},
	"nothing":                 {standin.Fault{Status: 200, Header: header()}, "must name a W&B server"},
	"data without viewer":     {standin.Fault{Status: 200, Header: header(), Body: `{"data":{}}`}, "answered only half"},
	"an error for every root": {standin.Fault{Status: 200, Header: header(), Body: `{"data":{"viewer":null,"project":null,"entity":null},"errors":[{"message":"database is locked"}]}`}, "answered only half"},
	"nobody, on a page":       {standin.Fault{Status: 200, Header: header("Content-Type", "text/html"), Body: `{"data":{"viewer":null}}`}, "must name a W&B server"},
	"mallory for everybody, on a page": {standin.Fault{Status: 200, Header: header("Content-Type", "text/html"),
		Body: `{"data":{"viewer":{"id":"1","username":"alice","admin":true,"teams":{"edges":[{"node":{"name":"vision"}}]}}}}`}, "must name a W&B server"},
	"a huge answer":  {standin.Fault{Status: 200, Header: header(), Body: `{"data":{"viewer":{"id":"1","name":"` + strings.Repeat("x", 2<<20) + `"}}}`}, "larger than 1 MiB"},
	"a gzip bomb":    {standin.Fault{Status: 200, Header: header("Content-Encoding", "gzip"), Body: bomb(256 << 20)}, "larger than 1 MiB"},
	"no gzip":        {standin.Fault{Status: 200, Header: header("Content-Encoding", "gzip"), Body: `{"data":{"viewer":null}}`}, "cannot be reached"},
	"another server": {standin.Fault{Status: 200, Header: header(), Body: `{"errors":[{"message":"Cannot query field \"viewer\" on type \"Query\"."}]}`}, "is it a W&B server?"},
}

// TestRecordFails: whatever the server that keeps the record answers instead of an answer, nobody gets
// more than before, nobody who works is thrown out within the bound or ever told that their key is
// unknown, the message names the server, and all is as before once the server is well again. Each fault
// strikes people of its own, all of them at the same time.
func TestRecordFails(t *testing.T) {
	t.Parallel()
	var people []string
	for name := range recordFaults {
		people = append(people, faultyPeople(name)...)
	}
	r := startRecordWith(t, "", "", "", people...)
	var failing sync.WaitGroup
	for name, tt := range recordFaults {
		failing.Go(func() {
			if err := r.fails(name, tt.fault, tt.says); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		})
	}
	failing.Wait()
}

// faultyPeople are who meets a fault: somebody at work, and somebody who comes later.
func faultyPeople(fault string) []string {
	name := strings.Map(func(c rune) rune {
		if c == ' ' || c == ',' || c == '-' {
			return -1
		}
		return c
	}, fault)
	return []string{name[:min(len(name), 14)] + "-works", name[:min(len(name), 14)] + "-later"}
}

// fails leads one fault's people through it.
func (r record) fails(name string, fault standin.Fault, says string) error {
	people := faultyPeople(name)
	works, later, unknown := keyOf(people[0]), keyOf(people[1]), keyOf("nobody-"+people[0])
	began := time.Now()
	if got, err := r.tryRead(works, "vision/team"); err != nil || !got.sees() {
		return fmt.Errorf("before: %d %s %v", got.status, got.body, err)
	}
	if got, err := r.tryRead(works, "speech/team"); err != nil || !got.refused() {
		return fmt.Errorf("another team, before: %d %s %v", got.status, got.body, err)
	}
	fault.Match = func(q standin.Request) bool {
		who := q.Header.Get("Authorization")
		return byGateway(q) && (who == basic(works) || who == basic(later) || who == basic(unknown))
	}
	remove := r.server.Fail(fault)
	defer remove()
	struck := time.Now()

	// What is answered within the bound, counted from the first question, is as before; what is asked
	// beyond it, counted from the last answer, is neither yes nor no, for anybody.
	if err := within(20*time.Second, func() (bool, error) {
		asked := time.Since(struck)
		got, err := r.tryRead(works, "vision/team")
		switch answered := time.Since(began); {
		case err != nil:
		case got.sees() && asked > recordHits:
			err = fmt.Errorf("believed for %s", asked)
		case !got.sees() && answered < recordHits:
			err = fmt.Errorf("within the bound, after %s: %d %s", answered, got.status, got.body)
		}
		return !got.sees(), err
	}); err != nil {
		return err
	}
	for range 2 {
		for who, key := range map[string]string{"who works": works, "who comes later": later, "nobody": unknown} {
			for _, project := range []string{"vision/team", "speech/team"} {
				got, err := r.tryRead(key, project)
				if err != nil || got.status != http.StatusServiceUnavailable || !strings.Contains(got.message(), r.host) || !strings.Contains(got.message(), says) {
					return fmt.Errorf("%s, %s: %d %s %v, want 503 that names %s and says %q", who, project, got.status, got.body, err, r.host, says)
				}
				if wait, err := strconv.Atoi(got.header.Get("Retry-After")); err != nil || wait < 1 || wait > 60 {
					return fmt.Errorf("%s: Retry-After %q", who, got.header.Get("Retry-After"))
				}
			}
		}
		got, err := r.try("POST", "/files/vision/team/run1/file_stream", "{}", http.Header{"Authorization": {basic(works)}})
		if err != nil || got.status != http.StatusServiceUnavailable {
			return fmt.Errorf("the stream of a run is answered %d %s %v: any 4xx ends it for good", got.status, got.body, err)
		}
	}
	// The server is well again.
	remove()
	for what, want := range map[string]struct {
		key, project string
		is           func(answer) bool
	}{
		"who works":                  {works, "vision/team", answer.sees},
		"who comes later":            {later, "vision/team", answer.sees},
		"who works, in another team": {works, "speech/team", answer.refused},
		"nobody":                     {unknown, "vision/team", func(a answer) bool { return a.status == http.StatusUnauthorized }},
	} {
		if err := within(30*time.Second, func() (bool, error) {
			got, err := r.tryRead(want.key, want.project)
			if err == nil && !want.is(got) && got.status != http.StatusServiceUnavailable {
				err = fmt.Errorf("%d %s", got.status, got.body)
			}
			return want.is(got), err
		}); err != nil {
			return fmt.Errorf("afterwards, %s: %w", what, err)
		}
	}
	return nil
}

// within waits for a condition.
func within(limit time.Duration, condition func() (bool, error)) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		switch ok, err := condition(); {
		case ok || err != nil:
			return err
		case time.Now().After(deadline):
			return fmt.Errorf("not within %s", limit)
		}
	}
}

// tryRead is reads for goroutines.
func (r record) tryRead(key, project string) (answer, error) {
	entity, name, _ := strings.Cut(project, "/")
	body := fmt.Sprintf(`{"query":"query P { project(entityName: \"%s\", name: \"%s\") { id name } }","operationName":""}`, entity, name)
	return r.try("POST", "/graphql", body, http.Header{"Authorization": {basic(key)}, "Content-Type": {"application/json"}, "User-Agent": {"wandb-core"}})
}

// TestRecordFailsInPart: the server still says who is calling, but no more what they may see.
func TestRecordFailsInPart(t *testing.T) {
	t.Parallel()
	faults := map[string]standin.Fault{
		"500":        {Status: 500},
		"null":       {Status: 200, Header: header(), Body: `{"data":{"project":null,"entity":null},"errors":[{"message":"timeout","path":["project"]}]}`},
		"half":       {Status: 200, Header: header(), Body: `{"data":{"project":{"name":"team","access":"PRIVATE","entity":{"name":"vi`},
		"data null":  {Status: 200, Header: header(), Body: standin.NullData},
		"an array":   {Status: 200, Header: header(), Body: `{"data":{"project":[],"entity":[]}}`},
		"no entity":  {Status: 200, Header: header(), Body: `{"data":{"project":{"name":"team","access":"USER_WRITE"},"entity":null}}`},
		"wrong type": {Status: 200, Header: header(), Body: `{"data":{"project":{"name":7,"access":"USER_WRITE"},"entity":{"name":"vision"}}}`},
	}
	var people []string
	for name := range faults {
		people = append(people, faultyPeople(name)[0])
	}
	r := startRecordWith(t, "", "", "", people...)
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			key := keyOf(faultyPeople(name)[0])
			fault.Root = "project"
			fault.Match = func(q standin.Request) bool { return byGateway(q) && q.Header.Get("Authorization") == basic(key) }
			r.server.Fail(fault)
			for _, project := range []string{"vision/team", "speech/team"} {
				for _, got := range []answer{
					r.reads(key, project), r.send("POST", "/files/"+project+"/run1/file_stream", key, "{}", nil),
					r.send("GET", "/files/"+project+"/run1/x", key, "", nil),
				} {
					if got.status != http.StatusServiceUnavailable || !strings.Contains(got.message(), r.host) {
						t.Errorf("%s: %d %s, want 503 that names %s", project, got.status, got.body, r.host)
					}
				}
			}
		})
	}
}

// TestUnknownVisibility: an access that the gateway does not know counts as Restricted. The owner, to whom
// the server shows the project, works; whoever is judged by the project's visibility does not.
func TestUnknownVisibility(t *testing.T) {
	r := startRecordWith(t, "upstream_credential api_key "+recordRoot, "api_key "+recordRoot, "")
	r.importFile(mixed(""))
	local := r.mustIAM("key", "create", "--owner", "service_account:ci-local", "--name", "k")
	if got := r.reads(local, "vision/team"); !got.sees() {
		t.Fatalf("a local account in its team: %d %s", got.status, got.body)
	}
	for _, key := range []string{local, recordMallory} {
		if got := r.reads(key, "vision/odd"); !got.refused() {
			t.Errorf("%d %s", got.status, got.body)
		}
	}
	if got := r.reads(recordAlice, "vision/odd"); !got.sees() {
		t.Errorf("the owner: %d %s", got.status, got.body)
	}
}

// TestDeletedKeyIsRefused within `hits`, in constant use, and a new one works within `misses`.
func TestDeletedKeyIsRefused(t *testing.T) {
	t.Parallel()
	r := startRecordWith(t, "", "", "")
	made := r.graphQL(recordAlice, `mutation { generateApiKey(input: {description: "second"}) { apiKey { id name } } }`, nil, nil)
	id, secret := between(t, made.body, `"id":"`, `"`), between(t, made.body, `"name":"`, `"`)
	if got := r.reads(secret, "vision/team"); !got.sees() {
		t.Fatalf("the new key: %d %s", got.status, got.body)
	}
	// Deleted at the server itself, of which the gateway hears nothing.
	body := fmt.Sprintf(`{"query":"mutation { deleteApiKey(input: {id: \"%s\"}) { success } }"}`, id)
	req, _ := http.NewRequest("POST", r.web.URL+"/graphql", strings.NewReader(body))
	req.Header = http.Header{"Authorization": {basic(recordAlice)}, "Content-Type": {"application/json"}}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	deleted := time.Now()
	r.await("the deleted key to be refused", 10*time.Second, func() bool {
		asked := time.Since(deleted)
		got := r.reads(secret, "vision/team")
		if got.status != http.StatusUnauthorized || got.sees() {
			t.Fatalf("%d %s: the server refuses at once, and the gateway in the end", got.status, got.body)
		}
		refused := got.reason() == "unknown_credential"
		if !refused && asked > recordHits {
			t.Fatalf("the gateway let the deleted key pass after %s, want at most %s", asked, recordHits)
		}
		return refused
	})
	if got := r.reads(recordAlice, "vision/team"); !got.sees() {
		t.Errorf("the other key: %d %s", got.status, got.body)
	}
}

// between returns what stands between two texts.
func between(t *testing.T, s, before, after string) string {
	t.Helper()
	_, s, ok := strings.Cut(s, before)
	s, _, end := strings.Cut(s, after)
	if !ok || !end {
		t.Fatalf("no %s in %s", before, s)
	}
	return s
}

// TestFirstRequestsOfManyKeys: each new key costs the server one look-up, however many requests come with
// it, and the list of its team is asked for seldom.
func TestFirstRequestsOfManyKeys(t *testing.T) {
	t.Parallel()
	const keys, requests, workers = 2000, 3, 64
	config := standin.Config{Teams: []standin.Team{{Name: "vision"}}, Projects: []standin.Project{{Entity: "vision", Name: "team"}}}
	key := func(i int) string { return fmt.Sprintf("local-%040x", i+1) }
	for i := range keys {
		name := fmt.Sprintf("user-%d", i)
		config.Users = append(config.Users, standin.User{Username: name, Email: name + "@acme.test", Keys: []string{key(i)}})
		config.Teams[0].Members = append(config.Teams[0].Members, standin.Member{User: name})
	}
	server, err := standin.New(config)
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server)
	defer web.Close()
	p := start(t, config2(web.URL))
	server.ResetRequests()
	var next, failed atomic.Int64
	var sending sync.WaitGroup
	for range workers {
		sending.Go(func() {
			for i := next.Add(1) - 1; i < keys*requests; i = next.Add(1) - 1 {
				got, err := p.try("GET", "/page", "", http.Header{"Authorization": {basic(key(int(i) / requests))}})
				if err != nil || got.status == http.StatusUnauthorized || got.status >= 500 {
					failed.Add(1)
				}
			}
		})
	}
	sending.Wait()
	if n := failed.Load(); n > 0 {
		t.Errorf("%d requests failed", n)
	}
	asked, other := map[string]int{}, 0
	for _, r := range server.Requests(byGateway) {
		if r.GraphQL("viewer") {
			asked[r.Header.Get("Authorization")]++
		} else {
			other++
		}
	}
	for i := range keys {
		if n := asked[basic(key(i))]; n != 1 {
			t.Fatalf("key %d was looked up %d times", i, n)
		}
	}
	if other > 20 {
		t.Errorf("%d questions beside the look-ups", other)
	}
}

func config2(url string) config {
	return config{upstream: strings.TrimPrefix(url, "http://"), global: "directory wandb " + url}
}

// TestServerBehindIsDown: a request that the gateway let through from what it remembers, and that the
// server does not answer, says so to clients in their own form, with the status that proxies give.
func TestServerBehindIsDown(t *testing.T) {
	t.Parallel()
	r := startRecordWith(t, "", "", "")
	if got := r.reads(recordAlice, "vision/team"); !got.sees() {
		t.Fatalf("before: %d %s", got.status, got.body)
	}
	r.web.CloseClientConnections()
	r.web.Listener.Close()
	for _, got := range []answer{r.reads(recordAlice, "vision/team"), r.send("POST", "/files/vision/team/run1/file_stream", recordAlice, "{}", nil)} {
		if got.status != http.StatusBadGateway || got.reason() != "server_unreachable" || !strings.Contains(got.message(), "the W&B server behind it cannot be reached") {
			t.Errorf("%d %s", got.status, got.body)
		}
		if strings.Contains(got.body, r.host) || strings.Contains(got.body, "dial") {
			t.Errorf("the answer tells of the inside: %s", got.body)
		}
	}
	if got := r.send("GET", "/page", recordAlice, "", http.Header{"Accept": {"text/html"}}); got.status != http.StatusBadGateway {
		t.Errorf("a page: %d %s", got.status, got.body)
	}
	r.await("the cause in the log", 5*time.Second, func() bool {
		return strings.Contains(r.logs.String(), "the server did not answer") && strings.Contains(r.logs.String(), "connection refused")
	})
}
