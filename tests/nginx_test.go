//go:build e2e

package tests

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

// nginx is Debian's, with the configuration that this repository recommends, in front of two gateways on
// one Redis. Its clients come from 127.0.0.2 and itself from 127.0.0.1, which is all that the gateways trust.
type nginx struct {
	url   string
	roots string // file with the certificate that it shows
	trust *x509.CertPool
	fleet []*process
	on    config // what the gateways run
}

// behindNginx trusts nginx and nobody else.
const behindNginx = "servers {\n\t\ttrusted_proxies static 127.0.0.1/32\n\t\ttrusted_proxies_strict\n\t\tclient_ip_headers X-Forwarded-For\n\t}"

// startNginx runs two gateways and nginx before them. Changes are pairs of what to write otherwise in the
// recommended file.
func startNginx(t *testing.T, c config, changes ...string) *nginx {
	t.Helper()
	server := redistest.Start(t)
	c.caddy = behindNginx
	n := &nginx{on: c, fleet: startFleet(t, c, "redis://"+server.Address, "redis://"+server.Address)}
	n.on.store, n.on.env = "redis redis://"+server.Address, append(n.on.env, sharedMasterKey)

	dir, address := t.TempDir(), freeAddress(t)
	n.url, n.roots = "https://"+address, filepath.Join(dir, "site.crt")
	n.trust = writeCertificate(t, n.roots, filepath.Join(dir, "site.key"))
	file, err := os.ReadFile(filepath.Join("..", "configs", "nginx.conf"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(file)
	for from, to := range map[string]string{
		"gateway-1.example.com:8080":       n.fleet[0].site,
		"gateway-2.example.com:8080":       n.fleet[1].site,
		"listen 443 ssl":                   "listen " + address + " ssl",
		"/etc/nginx/wandb.example.com.crt": n.roots,
		"/etc/nginx/wandb.example.com.key": filepath.Join(dir, "site.key"),
		// Where it may write, whoever runs the tests.
		"http {\n": "http {\n\taccess_log off;\n\tclient_body_temp_path body;\n\tproxy_temp_path proxy;\n\tfastcgi_temp_path fastcgi;\n\tuwsgi_temp_path uwsgi;\n\tscgi_temp_path scgi;\n",
	} {
		text = replaceOnce(t, text, from, to)
	}
	for i := 0; i+1 < len(changes); i += 2 {
		text = replaceOnce(t, text, changes[i], changes[i+1])
	}
	conf := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	logs := new(logBuffer)
	// One process, whose end is the end of all of it.
	cmd := exec.Command(nginxBinary(t), "-p", dir, "-c", conf, "-e", "stderr", "-g", "daemon off; master_process off; pid nginx.pid;")
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("nginx printed:\n%s", logs)
		}
	})
	web := n.client("127.0.0.2")
	await(t, "nginx", 30*time.Second, func() bool {
		res, err := web.Get(n.url + "/wandb-gateway/readyz")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
	return n
}

func replaceOnce(t *testing.T, text, from, to string) string {
	t.Helper()
	if strings.Count(text, from) != 1 {
		t.Fatalf("configs/nginx.conf holds %q %d times, want once", from, strings.Count(text, from))
	}
	return strings.Replace(text, from, to, 1)
}

// nginxBinary finds the server, which Debian keeps out of most people's PATH.
func nginxBinary(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("nginx"); err == nil {
		return path
	}
	const path = "/usr/sbin/nginx"
	if _, err := os.Stat(path); err != nil {
		t.Fatal("nginx is missing: apt-get install nginx")
	}
	return path
}

// writeCertificate makes a certificate for loopback that is its own authority, as files, and returns a
// pool with it.
func writeCertificate(t *testing.T, certificate, key string) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "wandb.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{certificate: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return pool
}

// client comes from an address of the loopback network.
func (n *nginx) client(from string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	return &http.Client{Timeout: client.Timeout, CheckRedirect: client.CheckRedirect, Transport: &http.Transport{
		DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: n.trust},
	}}
}

// send sends a request as a client of nginx.
func (n *nginx) send(t *testing.T, method, path string, header http.Header, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequest(method, n.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	return sendAs(t, n.client("127.0.0.2"), req)
}

func sendAs(t *testing.T, web *http.Client, req *http.Request) answer {
	t.Helper()
	res, err := web.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, string(b)}
}

// accessed returns the line of the access log about a path, of whichever gateway had it.
func (n *nginx) accessed(t *testing.T, path string) (found entry) {
	t.Helper()
	await(t, "the access log to name "+path, 10*time.Second, func() bool {
		for _, p := range n.fleet {
			for _, e := range p.entries("handled request", 0) {
				if e.Request.URI == path {
					found = e
					return true
				}
			}
		}
		return false
	})
	return found
}

// forged is what a client says of itself that only a proxy may say.
func forged(key string) http.Header {
	return http.Header{
		"Authorization": {basic(key)}, "X-Forwarded-For": {"203.0.113.7"}, "X-Real-Ip": {"203.0.113.7"},
		"Forwarded": {"for=203.0.113.7;proto=http"}, "X-Forwarded-Proto": {"http"}, "X-Forwarded-Host": {"evil.example.com"},
	}
}

// TestNginx: what nginx says of its clients holds, and what they say of themselves does not, whether nginx
// replaces it or adds to it.
func TestNginx(t *testing.T) {
	for name, changes := range map[string][]string{
		"replaces": nil,
		"adds":     {"X-Forwarded-For $remote_addr;", "X-Forwarded-For $proxy_add_x_forwarded_for;"},
	} {
		t.Run(name, func(t *testing.T) {
			upstream := newRecorder(t)
			n := startNginx(t, config{upstream: upstream.host(), global: "failure_limit 3/m"}, changes...)
			n.fleet[0].importFile(acme)
			upstream.take()

			const path = "/files/vision/team/run1/from-nginx.txt"
			if a := n.send(t, "GET", path, forged(aliceKey), nil); a.status != http.StatusOK {
				t.Fatalf("a request through nginx gets %d %s", a.status, a.body)
			}
			line, _ := n.accessed(t, path).fields["request"].(map[string]any)
			if line["client_ip"] != "127.0.0.2" || line["remote_ip"] != "127.0.0.1" {
				t.Errorf("the access log names the client %v and the peer %v", line["client_ip"], line["remote_ip"])
			}
			for _, r := range upstream.take() {
				got := r.header.Get("X-Forwarded-For")
				if name == "replaces" && got != "127.0.0.2, 127.0.0.1" || !strings.HasSuffix(got, "127.0.0.2, 127.0.0.1") {
					t.Errorf("the server is told X-Forwarded-For %q", got)
				}
				for header, want := range map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-Host": strings.TrimPrefix(n.url, "https://"), "X-Real-Ip": "", "Forwarded": ""} {
					if got := r.header.Get(header); got != want {
						t.Errorf("the server is told %s %q, want %q", header, got, want)
					}
				}
			}
			const metadata = "/.well-known/oauth-authorization-server"
			if a := n.send(t, "GET", metadata, forged(aliceKey), nil); !strings.Contains(a.body, `"`+n.url+`/oidc/token"`) {
				t.Errorf("through nginx the metadata say %s", a.body)
			}
			// The same words from somebody who goes round nginx are nobody's.
			direct, err := http.NewRequest("GET", n.fleet[0].url+metadata, nil)
			if err != nil {
				t.Fatal(err)
			}
			direct.Header = http.Header{"X-Forwarded-Proto": {"https"}, "X-Forwarded-Host": {"evil.example.com"}, "X-Forwarded-For": {"203.0.113.7"}}
			if a := sendAs(t, n.client("127.0.0.2"), direct); !strings.Contains(a.body, `"`+n.fleet[0].url+`/oidc/token"`) {
				t.Errorf("past nginx the metadata say %s", a.body)
			}
			// Failures count for the client's own address, whatever it claims to be, and for no other.
			guess := func(from, claimed string) int {
				req, err := http.NewRequest("GET", n.url+path, nil)
				if err != nil {
					t.Fatal(err)
				}
				req.Header = http.Header{"Authorization": {basic(nobodysKey())}, "X-Forwarded-For": {claimed}}
				return sendAs(t, n.client(from), req).status
			}
			limited := 0
			for i := range 20 {
				if guess("127.0.0.3", fmt.Sprintf("203.0.113.%d", i)) == http.StatusTooManyRequests {
					limited++
				}
			}
			if limited < 10 {
				t.Errorf("of 20 guesses under as many names %d were limited", limited)
			}
			if status := guess("127.0.0.4", "127.0.0.3"); status != http.StatusUnauthorized {
				t.Errorf("another client's first guess gets %d", status)
			}
		})
	}
}

// TestNginxStreams: nothing waits in nginx. WebSockets, downloads that go on and uploads larger than it
// would take by itself pass.
func TestNginxStreams(t *testing.T) {
	upstream := newLongUpstream(t)
	n := startNginx(t, config{upstream: upstream.host()})
	n.fleet[0].importFile(acme)

	dialer := tls.Dialer{Config: &tls.Config{RootCAs: n.trust}}
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	socket, err := dialer.DialContext(ctx, "tcp", strings.TrimPrefix(n.url, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(60 * time.Second))
	io.WriteString(socket, openSocket+basic(aliceKey)+"\r\n\r\n")
	fromSocket := bufio.NewReader(socket)
	if res, err := http.ReadResponse(fromSocket, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the WebSocket is answered %v, %v", res, err)
	}

	req, err := http.NewRequestWithContext(ctx, "GET", n.url+"/files/vision/team/run1/log.txt", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", basic(aliceKey))
	download, err := n.client("127.0.0.2").Do(req)
	if err != nil || download.StatusCode != http.StatusOK {
		t.Fatalf("the download is answered %v, %v", download, err)
	}
	defer download.Body.Close()
	fromDownload := bufio.NewReader(download.Body)
	for i := range parts {
		// Each part arrives before the server is told to write the next.
		if part, err := fromDownload.ReadString('\n'); err != nil || part != "part\n" {
			t.Fatalf("part %d is %q, %v", i, part, err)
		}
		fmt.Fprintf(socket, "line %d\n", i)
		if line, err := fromSocket.ReadString('\n'); err != nil || line != fmt.Sprintf("line %d\n", i) {
			t.Fatalf("the WebSocket says %q, %v", line, err)
		}
		upstream.more <- struct{}{}
	}
	if rest, err := io.ReadAll(fromDownload); err != nil || len(rest) > 0 {
		t.Errorf("the download ends with %q, %v", rest, err)
	}

	const size = 8 << 20
	for what, body := range map[string]io.Reader{"with its length": bytes.NewReader(make([]byte, size)), "in chunks": io.LimitReader(zeros{}, size)} {
		a := n.send(t, "POST", "/files/vision/team/run1/file_stream", http.Header{"Authorization": {basic(aliceKey)}}, body)
		if a.status != http.StatusOK || !strings.Contains(a.body, fmt.Sprint(size)) {
			t.Errorf("an upload %s is answered %d %s", what, a.status, a.body)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// TestSDKThroughNginx logs a run while one gateway ends, is killed or is replaced, and then the other:
// nothing of the run is lost.
func TestSDKThroughNginx(t *testing.T) {
	upstream := startStandin(t, standin.Config{Trust: true})
	n := startNginx(t, config{site: "upstream_credential none", upstream: upstream.address})
	n.fleet[0].importFile(sdkDirectory)

	version := sdkVersions[len(sdkVersions)-1]
	id := runID(version, "behind-nginx")
	c := newSDK(t, version, n.url, sdkAliceKey).with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "team", "WANDB_RUN_ID", id,
		"SSL_CERT_FILE", n.roots, "REQUESTS_CA_BUNDLE", n.roots)
	streamed := func() int {
		return len(upstream.Requests(func(r standin.Request) bool {
			return r.Path == "/files/vision/team/"+id+"/file_stream" && r.Status == http.StatusOK
		}))
	}
	// after does something and lets the run go on until more of it has arrived.
	after := func(do func()) func() string {
		wanted := -1
		return func() string {
			if wanted < 0 {
				do()
				wanted = streamed() + 3
			}
			if got := streamed(); got < wanted {
				return fmt.Sprintf("for more of the run at the server: %d of %d", got, wanted)
			}
			return ""
		}
	}
	replace := func(i int) {
		on := n.on
		on.listen = n.fleet[i].site
		n.fleet[i] = launch(t, on)
		n.fleet[i].awaitReady()
	}
	o := c.inPhases(t,
		after(func() {}),
		after(n.fleet[0].stop),
		after(func() { replace(0) }),
		after(func() { n.fleet[1].cmd.Process.Kill() }),
		after(func() { replace(1) }),
	)
	o.mustWork(t)
	if got := upstream.runOf(t, "vision", "team", id); got.State != "finished" || got.HistoryLineCount != o.report.Lines || got.User.Username != "alice" || len(got.OutputArtifacts.Edges) != c.artifacts() {
		t.Errorf("the server keeps %+v, want a finished run of alice with %d lines and %d artifacts", got, o.report.Lines, c.artifacts())
	}
}
