package tests

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// longUpstream answers like a server on which everything takes long: a WebSocket that echoes lines, a
// download that goes on when told to, and uploads whose size it tells.
type longUpstream struct {
	*httptest.Server
	more chan struct{} // one for each further part of the download
}

func newLongUpstream(t *testing.T) *longUpstream {
	u := &longUpstream{more: make(chan struct{})}
	u.Server = httptest.NewServer(http.HandlerFunc(u.serve))
	t.Cleanup(func() {
		u.CloseClientConnections()
		u.Close()
	})
	return u
}

func (u *longUpstream) host() string { return strings.TrimPrefix(u.URL, "http://") }

func (u *longUpstream) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" && r.Method == http.MethodGet && strings.HasPrefix(r.URL.Path, "/files/") {
		for range parts {
			io.WriteString(w, "part\n")
			w.(http.Flusher).Flush()
			select {
			case <-u.more:
			case <-r.Context().Done():
				return
			}
		}
		return
	}
	if r.Header.Get("Upgrade") == "" {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"data":{},"size":%d}`, n)
		return
	}
	conn, rw, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	for {
		line, err := rw.ReadString('\n')
		if err != nil {
			return
		}
		if _, err := io.WriteString(conn, line); err != nil {
			return
		}
	}
}

const parts = 12

// dial opens a connection to the site and sends what a request begins with.
func (p *process) dial(t *testing.T, begin string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	if _, err := io.WriteString(conn, begin); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

const openSocket = "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
	"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: "

func (p *process) socket(t *testing.T) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, r := p.dial(t, openSocket+basic(aliceKey)+"\r\n\r\n")
	res, err := http.ReadResponse(r, nil)
	if err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the WebSocket is answered %v, %v", res, err)
	}
	return conn, r
}

// TestReloadKeepsStreams: what is under way when a configuration is loaded goes on to its end, upgraded
// connections, uploads and downloads alike, and a request whose head or body is not all there yet.
func TestReloadKeepsStreams(t *testing.T) {
	upstream := newLongUpstream(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)

	socket, fromSocket := p.socket(t)
	upload, fromUpload := p.dial(t, fmt.Sprintf("POST /files/vision/team/run1/file_stream HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: %s\r\nContent-Length: %d\r\n\r\n", basic(aliceKey), parts*8))
	query := `{"query":"query Viewer { viewer { id } serverInfo { cliVersionInfo } }"}` + strings.Repeat(" ", parts)
	judged, fromJudged := p.dial(t, fmt.Sprintf("POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", basic(aliceKey), len(query), query[:len(query)-parts]))
	_, fromDownload := p.dial(t, "GET /files/vision/team/run1/log.txt HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nAuthorization: "+basic(aliceKey)+"\r\n\r\n")
	download, err := http.ReadResponse(fromDownload, nil)
	if err != nil || download.StatusCode != http.StatusOK {
		t.Fatalf("the download is answered %v, %v", download, err)
	}
	for i := range parts {
		if status, body := p.load(config{upstream: upstream.host(), site: fmt.Sprintf("weave_prefix /traces%d", i)}); status != http.StatusOK {
			t.Fatalf("reload %d: %d %s", i, status, body)
		}
		fmt.Fprintf(socket, "line %d\n", i)
		if line, err := fromSocket.ReadString('\n'); err != nil || line != fmt.Sprintf("line %d\n", i) {
			t.Fatalf("after reload %d the WebSocket says %q, %v", i, line, err)
		}
		io.WriteString(upload, "12345678")
		io.WriteString(judged, " ")
		upstream.more <- struct{}{}
	}
	for what, r := range map[string]*bufio.Reader{"upload": fromUpload, "GraphQL": fromJudged} {
		res, err := http.ReadResponse(r, nil)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %s %v", what, res.StatusCode, body, err)
		}
		if what == "upload" && !strings.Contains(string(body), strconv.Itoa(parts*8)) {
			t.Errorf("of the upload arrived: %s", body)
		}
	}
	if body, err := io.ReadAll(download.Body); err != nil || string(body) != strings.Repeat("part\n", parts) {
		t.Errorf("the download holds %q, %v", body, err)
	}
}

// TestReloadJudgesByTheNewRules: a connection that was there before is judged by the configuration that
// is there now.
func TestReloadJudgesByTheNewRules(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host(), global: "enforcement shadow"})
	p.importFile(acme)
	c := &oneConn{address: strings.TrimPrefix(p.url, "http://")}
	defer c.close()
	const head = "GET /files/vision/team/run1/log.txt HTTP/1.1"
	for i, want := range []int{200, 401, 200, 401} {
		if status, err := c.send(head, ""); err != nil || status != want {
			t.Errorf("round %d: without a credential %d, %v; want %d", i, status, err, want)
		}
		if c.conn == nil {
			t.Errorf("round %d: the connection was closed", i)
		}
		enforcement := []string{"enforce", "shadow"}[i%2]
		if status, body := p.load(config{upstream: upstream.host(), global: "enforcement " + enforcement}); status != http.StatusOK {
			t.Fatalf("reload: %d %s", status, body)
		}
	}
}

// TestFailedReloadChangesNothing: a configuration that is sound but cannot start takes no request with it.
func TestFailedReloadChangesNothing(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)
	address := strings.TrimPrefix(p.url, "http://")
	requests := newTraffic()
	for i := range 8 {
		c := &oneConn{address: address}
		requests.run(func() (int, error) {
			if i%2 == 0 {
				defer c.close()
			}
			return c.send("POST /files/vision/team/run1/file_stream HTTP/1.1\r\nAuthorization: "+basic(aliceKey), "{}")
		})
	}
	sound := config{upstream: upstream.host()}
	otherStore := strings.Replace(sound.caddyfile(p.admin, address), "store embedded ./data", "store embedded ./other", 1)
	for range 20 {
		if status, body := p.loadFile(otherStore); status == http.StatusOK || !strings.Contains(body, "restart") {
			t.Errorf("another store is answered %d %s", status, body)
		}
	}
	requests.end(t, "during configurations that cannot start")
}

// goroutines asks the process how many goroutines it has.
func (p *process) goroutines() int {
	res, err := admin.Get("http://" + p.admin + "/debug/pprof/goroutine?debug=1")
	if err != nil {
		return 1 << 30 // asked again
	}
	defer res.Body.Close()
	line, _ := bufio.NewReader(res.Body).ReadString('\n')
	n, err := strconv.Atoi(regexp.MustCompile(`total (\d+)`).FindStringSubmatch(line + " total 1073741824")[1])
	if err != nil {
		return 1 << 30
	}
	return n
}

// openFiles counts the open files of the process; 0 where the system does not tell.
func (p *process) openFiles() int {
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil && runtime.GOOS == "linux" {
		return 1 << 30
	}
	return len(entries)
}

// TestReloadsLeaveNothing: after 100 reloads, good, bad and impossible, with connections and a WebSocket
// open all the time, there are no more goroutines and open files than before.
func TestReloadsLeaveNothing(t *testing.T) {
	upstream := newLongUpstream(t)
	c := config{upstream: upstream.host()}
	p := start(t, c)
	p.importFile(acme)
	socket, fromSocket := p.socket(t)
	address := strings.TrimPrefix(p.url, "http://")
	conns := make([]*oneConn, 8)
	each := func() {
		for i := range conns {
			if status, err := conns[i].send("POST /files/vision/team/run1/file_stream HTTP/1.1\r\nAuthorization: "+basic(aliceKey), "{}"); err != nil || status != http.StatusOK {
				t.Fatalf("a connection that rested: %d, %v", status, err)
			}
		}
	}
	for i := range conns {
		conns[i] = &oneConn{address: address}
		defer conns[i].close()
	}
	each()
	p.load(c) // what only a reload makes is there from now on
	each()
	goroutines, files := p.goroutines(), p.openFiles()
	for i := range 100 {
		file := c.caddyfile(p.admin, address)
		want := http.StatusOK
		switch i % 5 {
		case 3:
			file, want = strings.Replace(file, "store embedded ./data", "store embedded ./other", 1), http.StatusBadRequest
		case 4:
			file, want = strings.Replace(file, "organization acme", "organisation acme", 1), http.StatusBadRequest
		}
		if status, body := p.loadFile(file); status != want {
			t.Fatalf("reload %d: %d %s", i, status, body)
		}
		each()
	}
	io.WriteString(socket, "still there\n")
	if line, err := fromSocket.ReadString('\n'); err != nil || line != "still there\n" {
		t.Errorf("the WebSocket says %q, %v", line, err)
	}
	p.await("what the reloads left behind to go", 30*time.Second, func() bool {
		return p.goroutines() <= goroutines+5 && p.openFiles() <= files+5
	})
	t.Logf("goroutines %d, then %d; open files %d, then %d", goroutines, p.goroutines(), files, p.openFiles())
}

// TestReloadKeepsExchanges: what is known of an issuer and what was minted outlive a reload during which
// the issuer is away.
func TestReloadKeepsExchanges(t *testing.T) {
	f := startFederated(t)
	token := f.mustExchange(t, f.assertion(ciSubject))
	f.issuer.misbehaves(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "down", http.StatusInternalServerError)
		return true
	})
	requests := newTraffic()
	assertion := f.assertion(ciSubject)
	requests.run(func() (int, error) {
		a, err := f.try(http.MethodPost, "/oidc/token", "grant_type="+grantType+"&assertion="+url.QueryEscape(assertion), http.Header{"Content-Type": {"application/x-www-form-urlencoded"}})
		return a.status, err
	})
	requests.run(func() (int, error) {
		a, err := f.try(http.MethodPost, "/files/vision/team/run1/file_stream", "{}", http.Header{"Authorization": {"Bearer " + token}})
		return a.status, err
	})
	for i := range 10 {
		if status, body := f.load(config{global: trusting(f.issuer), upstream: f.upstream.host(), site: fmt.Sprintf("weave_prefix /traces%d", i)}); status != http.StatusOK {
			t.Fatalf("reload %d: %d %s", i, status, body)
		}
	}
	requests.end(t, "exchanges and access tokens while the issuer is away")
}

// TestReloadKeepsSignIn: a person who is at the provider when a configuration is loaded signs in
// afterwards, although the provider's documents cannot be fetched again; and stays signed in.
func TestReloadKeepsSignIn(t *testing.T) {
	key := newKey(t, "RS256", "k1")
	provider := newIssuer(t, key)
	upstream := newRecorder(t)
	global := fmt.Sprintf("oidc {\n issuer %s\n client_id gateway\n auth_method implicit\n}", provider.name)
	c := config{global: global, upstream: upstream.host()}
	p := start(t, c)
	p.importFile(acme)
	begun := p.send("GET", "/oidc/login", "", "", http.Header{"Accept": {"text/html"}})
	to, err := url.Parse(begun.header.Get("Location"))
	if err != nil || to.Query().Get("state") == "" {
		t.Fatalf("sign-in begins with %d %v %s", begun.status, begun.header, begun.body)
	}
	flow, _, _ := strings.Cut(begun.header.Get("Set-Cookie"), ";")
	idToken := func() string {
		claims := provider.claims("alice-at-the-provider")
		claims["aud"], claims["nonce"], claims["email"], claims["email_verified"] = "gateway", to.Query().Get("nonce"), "alice@acme.test", true
		return key.token(claims)
	}()
	load := func() {
		t.Helper()
		if status, body := p.load(c); status != http.StatusOK {
			t.Fatalf("reload: %d %s", status, body)
		}
	}
	load()
	form := url.Values{"state": {to.Query().Get("state")}, "id_token": {idToken}}.Encode()
	done := p.send("POST", "/oidc/callback", "", form, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}, "Cookie": {flow}})
	var session string
	for _, cookie := range done.header.Values("Set-Cookie") {
		if strings.HasPrefix(cookie, "wandb-gateway=") {
			session, _, _ = strings.Cut(cookie, ";")
		}
	}
	if session == "" {
		t.Fatalf("sign-in ends with %d %v %s", done.status, done.header, done.body)
	}
	provider.misbehaves(func(w http.ResponseWriter, _ *http.Request) bool {
		http.Error(w, "down", http.StatusInternalServerError)
		return true
	})
	for range 3 {
		load()
		if a := p.send("GET", "/files/vision/team/run1/log.txt", "", "", http.Header{"Cookie": {session}}); a.status != http.StatusOK {
			t.Errorf("after a reload the session gets %d %s", a.status, a.body)
		}
		if a := p.send("GET", "/oidc/login", "", "", http.Header{"Accept": {"text/html"}}); a.status != http.StatusFound && a.status != http.StatusSeeOther {
			t.Errorf("after a reload with the provider away sign-in begins with %d", a.status)
		}
	}
}

// TestShutdownDrains: requests that are under way when the process is told to end are judged and
// answered, whatever of the gateway they still need, and new connections are not taken any more.
func TestShutdownDrains(t *testing.T) {
	for round := range 4 { // Caddy stops its apps in any order
		upstream := newLongUpstream(t)
		p := start(t, config{upstream: upstream.host(), caddy: "grace_period 20s"})
		p.importFile(acme)
		query := `{"query":"query Viewer { viewer { id } serverInfo { cliVersionInfo } }"}`
		head := fmt.Sprintf("POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", basic(aliceKey), len(query))
		conn, reader := p.dial(t, head+query[:10])
		// Bob's key has not been seen: it is looked up in the store after the end has begun.
		other, fromOther := p.dial(t, strings.Replace(head, basic(aliceKey), basic(bobKey), 1)+query[:10])
		p.awaitActive(t, 2)
		p.cmd.Process.Signal(syscall.SIGTERM)
		p.await("the site to take no connection", 10*time.Second, func() bool {
			c, err := net.Dial("tcp", strings.TrimPrefix(p.url, "http://"))
			if err == nil {
				c.Close()
			}
			return err != nil
		})
		for _, c := range []struct {
			io.Writer
			*bufio.Reader
		}{{conn, reader}, {other, fromOther}} {
			io.WriteString(c.Writer, query[10:])
			res, err := http.ReadResponse(c.Reader, nil)
			if err != nil {
				t.Fatalf("round %d: %v", round, err)
			}
			body, err := io.ReadAll(res.Body)
			if err != nil || res.StatusCode != http.StatusOK {
				t.Errorf("round %d: %d %s %v", round, res.StatusCode, body, err)
			}
		}
		if code := p.exit(20 * time.Second); code != 0 {
			t.Errorf("round %d: the exit code is %d", round, code)
		}
	}
}

// awaitActive waits until the process works on so many requests.
func (p *process) awaitActive(t *testing.T, n int) {
	t.Helper()
	p.await("requests to be read", 10*time.Second, func() bool {
		res, err := admin.Get("http://" + p.admin + "/debug/pprof/goroutine?debug=2")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		b, _ := io.ReadAll(res.Body)
		return strings.Count(string(b), "gateway.(*Gateway).ServeHTTP") >= n
	})
}

// TestReloadKeepsLookUps: what the server that is the record answered counts after a reload, as long as it
// is the same server: no reload makes everybody be looked up again at once.
func TestReloadKeepsLookUps(t *testing.T) {
	server := newRecorder(t)
	server.says(func(r received) (int, string, string) {
		if r.target != "/graphql" {
			return http.StatusOK, "text/html", "a page"
		}
		return http.StatusOK, "application/json", `{"data":{"viewer":{"id":"VXNlcjox","username":"mia","entity":"mia","email":"mia@acme.test","admin":false,"teams":{"edges":[]}}}}`
	})
	c := config{upstream: server.host(), global: "directory wandb " + server.URL}
	p := start(t, c)
	lookUps := func() (n int) {
		if a := p.send("GET", "/some/page", "local-0123456789012345678901234567890123456789", "", nil); a.status != http.StatusOK {
			t.Fatalf("%d %s", a.status, a.body)
		}
		for _, r := range server.take() {
			if r.target == "/graphql" {
				n++
			}
		}
		return n
	}
	if n := lookUps(); n == 0 {
		t.Fatal("nobody was looked up")
	}
	for range 3 {
		if status, body := p.load(c); status != http.StatusOK {
			t.Fatalf("%d %s", status, body)
		}
		if n := lookUps(); n != 0 {
			t.Errorf("after a reload the server is asked %d times", n)
		}
	}
	c.global = "directory wandb " + server.URL + " {\n\t\t\thits 30s\n\t\t}"
	if status, body := p.load(c); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if n := lookUps(); n == 0 {
		t.Error("answers count for longer than the new configuration says")
	}
}

// TestReloadForgivesNothing: whoever guesses keys has no more guesses after a reload.
func TestReloadForgivesNothing(t *testing.T) {
	c := config{upstream: newRecorder(t).host(), global: "failure_limit 5/h"}
	p := start(t, c)
	guess := func() int {
		return p.send("GET", "/files/vision/team/run1/log.txt", "local-ffffffffffffffffffffffffffffffffffffffff", "", nil).status
	}
	p.await("the limit to be reached", 10*time.Second, func() bool { return guess() == http.StatusTooManyRequests })
	if status, body := p.load(c); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if status := guess(); status != http.StatusTooManyRequests {
		t.Errorf("after a reload a guess is answered %d", status)
	}
}
