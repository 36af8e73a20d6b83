package tests

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// identityOfAlice is what the upstream must be told of alice: each exactly once.
var identityOfAlice = map[string]string{
	"x-forwarded-user":               "alice",
	"x-forwarded-email":              "alice@acme.test",
	"x-forwarded-groups":             "vision",
	"x-forwarded-preferred-username": "alice",
	"x-wandb-gateway-organization":   "acme",
	"x-wandb-username":               "alice",
	"x-wandb-user-email":             "alice@acme.test",
}

// identityNames are all names by which some server behind a proxy takes an identity, another URL or
// another method.
var identityNames = []string{
	"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username",
	"X-Forwarded-Access-Token", "X-Auth-Request-User", "X-Auth-Request-Email", "X-Auth-Request-Groups",
	"Remote-User", "Remote-Groups", "Remote-Email", "X-Remote-User", "X-WANDB-USERNAME", "X-WANDB-USER-EMAIL",
	"X-Wandb-Gateway-Principal", "X-Wandb-Gateway-Organization", "X-Wandb-Gateway-Assertion", "X-Wandb-Gateway-New",
	"X-Real-IP", "Forwarded", "X-Original-URL", "X-Rewrite-URL", "X-Forwarded-Uri", "X-Forwarded-Method",
	"X-HTTP-Method", "X-HTTP-Method-Override", "X-Method-Override", "Proxy", "Proxy-Authorization",
	"X-Forwarded-Client-Cert", "X-SSL-Client-CN", "X-Auth-User", "Cf-Access-Authenticated-User-Email",
	"X-Goog-Iap-Jwt-Assertion", "Tailscale-User-Login",
}

// holdsIdentity asserts that a request tells alice's identity once, and nobody else's in any
// spelling, in the head and in trailers.
func holdsIdentity(t *testing.T, q rawRequest) {
	t.Helper()
	for name, value := range identityOfAlice {
		got := q.lines(name)
		if len(got) != 1 || !strings.HasSuffix(got[0], ": "+value) {
			t.Errorf("%s is %q, want once %q", name, got, value)
		}
	}
	if got := q.lines("x-wandb-gateway-principal"); len(got) != 1 || !strings.Contains(got[0], ": user:") {
		t.Errorf("x-wandb-gateway-principal is %q", got)
	}
	for _, name := range identityNames {
		lower := strings.ToLower(name)
		if _, ours := identityOfAlice[lower]; ours || lower == "x-wandb-gateway-principal" {
			continue
		}
		if got := q.lines(lower); len(got) != 0 {
			t.Errorf("%q reached the upstream", got)
		}
	}
	if all := strings.ToLower(q.head + q.body); strings.Contains(all, "evil") {
		t.Errorf("what the client claimed reached the upstream:\n%s", q.head+q.body)
	}
}

// anonymousIdentity asserts that a request tells nobody's identity.
func anonymousIdentity(t *testing.T, q rawRequest) {
	t.Helper()
	for _, name := range identityNames {
		if got := q.lines(strings.ToLower(name)); len(got) != 0 {
			t.Errorf("an anonymous request carries %q", got)
		}
	}
}

// spellings are the ways to write one header so that some server takes it for another. The names
// hold what a client wants to be believed.
func spellings(name string) map[string]string {
	claim := "evil"
	return map[string]string{
		"exact":       name + ": " + claim,
		"lower":       strings.ToLower(name) + ": " + claim,
		"upper":       strings.ToUpper(name) + ": " + claim,
		"underscores": strings.ReplaceAll(name, "-", "_") + ": " + claim,
		"dots":        strings.ReplaceAll(name, "-", ".") + ": " + claim,
		"mixed":       strings.Replace(name, "-", "_", 1) + ": " + claim,
		"twice":       name + ": " + claim + "\r\n" + name + ": " + claim + "2",
		"fifty":       strings.Repeat(name+": "+claim+"\r\n", 49) + name + ": " + claim,
		"list":        name + ": alice, " + claim,
		"leading tab": name + ":\t" + claim,
		"folded":      name + ": x\r\n " + claim,
		"empty":       name + ":",
		"rfc2047":     name + ": =?utf-8?q?evil?=",
		"named first": "Connection: close, " + name + "\r\n" + name + ": " + claim,
	}
}

func TestIdentityHeaders(t *testing.T) {
	a := startAttacked(t, config{})
	const get = "GET /files/vision/team/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	auth := "Authorization: " + basic(aliceKey) + "\r\n"

	// P01, P02: every name in every spelling.
	t.Run("spellings", func(t *testing.T) {
		for _, name := range identityNames {
			for kind, lines := range spellings(name) {
				got := a.raw(t, get+auth+lines+"\r\n\r\n")
				if got.status == http.StatusBadRequest { // HTTP itself forbids it
					a.untouched(t)
					continue
				}
				q := a.passed(t, got.answer)
				holdsIdentity(t, q)
				if t.Failed() {
					t.Fatalf("%s, %s:\n%s", name, kind, q.head)
				}
			}
		}
	})

	// P01: names that HTTP does not know as names.
	for name, line := range map[string]string{
		"space before the colon": "X-Forwarded-User : evil",
		"look-alike":             "X-Forwarded\u2010User: evil",
		"control character":      "X-Forwarded-User\x00: evil",
		"no name":                ": evil",
	} {
		t.Run("illegal/"+name, func(t *testing.T) {
			a.refuses(t, a.raw(t, get+auth+line+"\r\n\r\n").answer, http.StatusBadRequest, "")
		})
	}

	// P04, F1: what a client lists in Connection is not removed behind our back.
	for name, lines := range map[string]string{
		"one line":         "Connection: close, X-Forwarded-User, X-Wandb-Gateway-Principal",
		"any case":         "connection: cLoSe, x-forwarded-USER",
		"two lines":        "Connection: keep-alive\r\nConnection: X-Forwarded-User",
		"first line empty": "Connection:\r\nConnection: X-Forwarded-User, X-Wandb-Username",
		"leading comma":    "Connection: ,X-Forwarded-User",
		"no space":         "Connection: keep-alive,X-Forwarded-User,X-Forwarded-Groups",
		"tab":              "Connection:\tX-Forwarded-User\t",
		"credentials":      "Connection: Authorization, Cookie, X-Forwarded-Email",
		"keep alive":       "Keep-Alive: timeout=5\r\nConnection: Keep-Alive, X-Forwarded-User",
		"proxy connection": "Proxy-Connection: X-Forwarded-User",
		"te":               "Connection: TE, X-Forwarded-User\r\nTE: trailers",
	} {
		t.Run("connection/"+name, func(t *testing.T) {
			holdsIdentity(t, a.passed(t, a.raw(t, get+auth+lines+"\r\n\r\n").answer))
		})
	}

	// P03: nothing of it passes with a request that has no identity of its own.
	t.Run("preflight", func(t *testing.T) {
		for _, name := range identityNames {
			got := a.raw(t, "OPTIONS /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"+auth+"Cookie: a=b\r\n"+name+": evil\r\n\r\n")
			q := a.passed(t, got.answer)
			anonymousIdentity(t, q)
			for _, credential := range []string{"authorization", "cookie"} {
				if got := q.lines(credential); len(got) != 0 {
					t.Errorf("a preflight carries %q", got)
				}
			}
		}
	})

	// P01, F3: trailers, announced and not.
	for name, announced := range map[string]string{"announced": "Trailer: X-Forwarded-User, X-Wandb-Username\r\n", "not announced": ""} {
		t.Run("trailer/"+name, func(t *testing.T) {
			got := a.raw(t, "POST /files/vision/team/run1/file_stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+announced+
				"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nX-Forwarded-User: evil\r\nX-Wandb-Username: evil\r\n\r\n")
			q := a.passed(t, got.answer)
			holdsIdentity(t, q)
			if got := q.lines("trailer"); len(got) != 0 {
				t.Errorf("%q reached the upstream", got)
			}
			if q.body != "2\r\n{}\r\n0\r\n\r\n" {
				t.Errorf("the body is %q", q.body)
			}
		})
	}

	// P11, F1, F4: upgrades.
	const socket = "GET /socket HTTP/1.1\r\nHost: 127.0.0.1\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
	t.Run("websocket", func(t *testing.T) {
		got := a.raw(t, socket+auth+"Connection: Upgrade, X-Forwarded-User\r\nUpgrade: websocket\r\nX-Forwarded-User: evil\r\n\r\n")
		q := a.passed(t, got.answer)
		holdsIdentity(t, q)
		if v, _ := q.line("Upgrade"); got.status != http.StatusSwitchingProtocols || v != "websocket" {
			t.Errorf("answered %d, upgrade to %q", got.status, v)
		}
	})
	t.Run("websocket without a credential", func(t *testing.T) {
		got := a.raw(t, socket+"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		a.refuses(t, got.answer, http.StatusUnauthorized, "no_credential")
	})
	t.Run("websocket with an unknown key", func(t *testing.T) {
		got := a.raw(t, socket+"Authorization: "+basic(strings.Repeat("f", 40))+"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		a.refuses(t, got.answer, http.StatusUnauthorized, "unknown_credential")
	})
	for name, lines := range map[string]string{
		"h2c":           "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n",
		"h2c too":       "Connection: Upgrade\r\nUpgrade: websocket, h2c\r\n",
		"h2c beside":    "Connection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n",
		"tls":           "Connection: Upgrade\r\nUpgrade: TLS/1.0\r\n",
		"connect-udp":   "Connection: Upgrade\r\nUpgrade: connect-udp\r\n",
		"h2c, prefixed": "Connection: Upgrade\r\nUpgrade: \th2c\r\n",
	} {
		t.Run("upgrade/"+name, func(t *testing.T) {
			q := a.passed(t, a.raw(t, get+auth+lines+"\r\n").answer)
			holdsIdentity(t, q)
			for _, gone := range []string{"upgrade", "http2-settings"} {
				if got := q.lines(gone); len(got) != 0 {
					t.Errorf("%q reached the upstream", got)
				}
			}
		})
	}

	// Z01, ATTR-5..9: attribution of a person is never what the client says.
	t.Run("a person borrows a name", func(t *testing.T) {
		got := a.raw(t, get+auth+"X-WANDB-USERNAME: victor\r\nX-WANDB-USER-EMAIL: victor@acme.test\r\n\r\n")
		holdsIdentity(t, a.passed(t, got.answer))
	})
	for name, want := range map[string]string{"victor": "victor", "mallory": "", "root": "", "nobody": "", "VICTOR": "victor"} {
		t.Run("a service account works for "+name, func(t *testing.T) {
			got := a.raw(t, get+"Authorization: "+basic(ciVisionKey)+"\r\nX-WANDB-USERNAME: "+name+"\r\n\r\n")
			q := a.passed(t, got.answer)
			value, _ := q.line("X-Wandb-Username")
			if user, _ := q.line("X-Forwarded-User"); user != "ci-vision" || value != want || len(q.lines("x-wandb-username")) > 1 {
				t.Errorf("user %q works for %q, want %q:\n%s", user, value, want, q.head)
			}
			if got := q.lines("x-forwarded-email"); len(got) != 0 {
				t.Errorf("a service account has %q", got)
			}
		})
	}
	t.Run("two attributions", func(t *testing.T) {
		got := a.raw(t, get+"Authorization: "+basic(ciVisionKey)+"\r\nX-WANDB-USERNAME: victor\r\nX-WANDB-USERNAME: alice\r\n\r\n")
		if got := a.passed(t, got.answer).lines("x-wandb-username"); len(got) != 0 {
			t.Errorf("attribution is %q", got)
		}
	})

	t.Run("http2", func(t *testing.T) { identityOverHTTP2(t, a) })
}

// identityOverHTTP2 repeats over HTTP/2 in clear text what is different there.
func identityOverHTTP2(t *testing.T, a attacked) {
	var protocols http.Protocols
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: &protocols}
	defer transport.CloseIdleConnections()
	c := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	t.Run("spellings", func(t *testing.T) {
		h := http.Header{"Authorization": {basic(aliceKey)}}
		for _, name := range identityNames {
			h[strings.ToLower(name)] = []string{"evil", "evil"}
			h[strings.ToLower(strings.ReplaceAll(name, "-", "_"))] = []string{"evil"}
			h[strings.ToLower(strings.ReplaceAll(name, "-", "."))] = []string{"evil"}
		}
		req, err := http.NewRequestWithContext(context.Background(), "POST", a.url+"/files/vision/team/run1/file_stream", io.NopCloser(strings.NewReader("{}")))
		if err != nil {
			t.Fatal(err)
		}
		req.Header = h
		req.Trailer = http.Header{"X-Forwarded-User": {"evil"}, "X-Wandb-Username": {"evil"}}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.ProtoMajor != 2 {
			t.Fatalf("the connection speaks %s", res.Proto)
		}
		q := a.passed(t, answer{status: res.StatusCode})
		holdsIdentity(t, q)
		if got := q.lines("trailer"); len(got) != 0 {
			t.Errorf("%q reached the upstream", got)
		}
	})
	// P08, P09, F14: what HTTP/2 forbids.
	fields := func(extra ...string) []string {
		return append([]string{":method", "POST", ":scheme", "http", ":authority", strings.TrimPrefix(a.url, "http://"),
			":path", "/files/vision/team/run1/file_stream", "authorization", basic(aliceKey)}, extra...)
	}
	for name, f := range map[string][]string{
		"connection":        fields("connection", "x-forwarded-user"),
		"transfer-encoding": fields("transfer-encoding", "chunked"),
		"upper case":        fields("X-Forwarded-User", "evil"),
		"line break":        fields("x-a", "b\r\nx-forwarded-user: evil"),
		"host":              fields("host", "evil"),
		"content-length":    fields("content-length", "5"),
		"late pseudo":       fields(":path", "/"),
		"connect":           {":method", "CONNECT", ":authority", "127.0.0.1:1", "authorization", basic(aliceKey)},
		"websocket":         {":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "127.0.0.1", ":path", "/socket", "authorization", basic(aliceKey)},
	} {
		t.Run("illegal/"+name, func(t *testing.T) {
			if status := sendHTTP2(t, a, f, "{}"); status != "reset" && status != "400" && status != "405" && status != "502" {
				t.Errorf("answered %s", status)
			}
			if requests, _ := a.upstream.take(); len(requests) != 0 {
				t.Errorf("the upstream got %q", requests)
			}
			a.healthy(t)
		})
	}
	t.Run("legal", func(t *testing.T) { // the frames are right: the refusals above are not of the framing
		if status := sendHTTP2(t, a, fields(), "{}"); status != "200" {
			t.Errorf("answered %s", status)
		}
		holdsIdentity(t, a.passed(t, answer{}))
	})
}

// sendHTTP2 writes one request, frame by frame, and returns its status, or "reset".
func sendHTTP2(t *testing.T, a attacked, fields []string, body string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	io.WriteString(conn, http2.ClientPreface)
	framer := http2.NewFramer(conn, conn)
	framer.WriteSettings()
	var block bytes.Buffer
	encoder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		encoder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]})
	}
	framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true})
	framer.WriteData(1, true, []byte(body))
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return "reset"
		}
		switch f := frame.(type) {
		case *http2.MetaHeadersFrame:
			return f.PseudoValue("status")
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return "reset"
		case *http2.SettingsFrame:
			if !f.IsAck() {
				framer.WriteSettingsAck()
			}
		}
	}
}

// TestUpstreamAnswers is P16 and P17: what an upstream may tell a client, and what not.
func TestUpstreamAnswers(t *testing.T) {
	a := startAttacked(t, config{})
	const get = "GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\n"
	auth := "Authorization: " + basic(aliceKey) + "\r\n"
	t.Run("headers pass", func(t *testing.T) {
		a.upstream.says("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nLocation: http://elsewhere/\r\nSet-Cookie: wandb=1\r\nX-Accel-Redirect: /x\r\n\r\nok")
		got := a.raw(t, get+auth+"\r\n")
		a.passed(t, got.answer)
		if got.status != 200 || got.header.Get("Set-Cookie") != "wandb=1" || got.header.Get("Location") == "" {
			t.Errorf("answered %d %v", got.status, got.header)
		}
	})
	t.Run("informational", func(t *testing.T) {
		a.upstream.says("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		a.passed(t, a.raw(t, get+auth+"\r\n").answer)
	})
	// P17: a failing upstream shows nothing of the request or of the process.
	for name, response := range map[string]string{
		"closes at once": hangUp,
		"garbage":        "garbage\r\n\r\n",
		"two lengths":    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
		"huge header":    "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 11<<20) + "\r\n\r\n",
	} {
		t.Run("failing/"+name, func(t *testing.T) {
			a.upstream.says(response)
			defer a.upstream.says("")
			got := a.raw(t, get+auth+"Connection: close\r\n\r\n")
			a.upstream.take()
			if got.status != http.StatusBadGateway {
				t.Errorf("answered %d", got.status)
			}
			for _, leak := range []string{aliceKey, "goroutine", ".go:", a.upstream.host()} {
				if strings.Contains(got.body, leak) {
					t.Errorf("the answer holds %q: %s", leak, got.body)
				}
			}
			a.healthy(t)
		})
	}
}

// TestServiceKeyStaysOnJudgedRequests holds that the upstream's service key goes with what was
// judged, and never with what only needed a caller: a page of the upstream that this caller may not
// see would open to the service key.
func TestServiceKeyStaysOnJudgedRequests(t *testing.T) {
	a := startAttacked(t, config{site: "upstream_credential api_key " + serviceKey})
	auth := "Authorization: " + basic(malloryKey) + "\r\nCookie: wandb=1\r\n"
	want := map[string]bool{
		"GET /admin/usage":                 false,
		"GET /Admin/usage":                 false,
		"GET /socket":                      false,
		"GET /files/hostile/own/run1/x":    true,
		"GET /files/vision/public/run1/x":  true,
		"OPTIONS /graphql":                 false,
		"OPTIONS /files/hostile/own/run/x": false,
	}
	for _, line := range slices.Sorted(maps.Keys(want)) {
		t.Run(line, func(t *testing.T) {
			got := a.raw(t, line+" HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Connection: close\r\n\r\n")
			q := a.passed(t, got.answer)
			value, has := q.line("Authorization")
			if has != want[line] || has && value != basic(serviceKey) {
				t.Errorf("the upstream saw %q", value)
			}
			if len(q.lines("cookie")) != 0 || strings.Contains(q.head, malloryKey) {
				t.Errorf("the caller's credential reached the upstream:\n%s", q.head)
			}
		})
	}
	t.Run("anonymous", func(t *testing.T) {
		got := a.raw(t, "GET /files/hostile/own/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: wandb=1\r\n\r\n")
		a.refuses(t, got.answer, http.StatusUnauthorized, "no_credential")
	})
}
