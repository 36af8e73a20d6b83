package tests

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

func itoa(n int) string { return strconv.Itoa(n) }

// TestSmuggling is P09 and F10: where a request ends, the gateway and the upstream agree. The
// smuggled request is mallory's attempt to be read as alice's, whose requests follow on the
// upstream's connections.
func TestSmuggling(t *testing.T) {
	a := startAttacked(t, config{})
	auth := "Authorization: " + basic(malloryKey) + "\r\n"
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Forwarded-User: alice\r\n\r\n"
	head := "POST /files/hostile/own/run1/file_stream HTTP/1.1\r\nHost: 127.0.0.1\r\n" + auth

	// Refused by HTTP itself: the connection ends, whatever else came on it.
	for name, rest := range map[string]string{
		"two lengths":             "Content-Length: 0\r\nContent-Length: " + itoa(len(smuggled)) + "\r\n\r\n" + smuggled,
		"length with plus":        "Content-Length: +5\r\n\r\nhello" + smuggled,
		"negative length":         "Content-Length: -1\r\n\r\n" + smuggled,
		"hexadecimal length":      "Content-Length: 0x5\r\n\r\nhello" + smuggled,
		"length and list":         "Content-Length: 5, 6\r\n\r\nhello" + smuggled,
		"length overflows":        "Content-Length: 18446744073709551616\r\n\r\n" + smuggled,
		"unknown encoding":        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + smuggled,
		"encoding, identity":      "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + smuggled,
		"identity":                "Transfer-Encoding: identity\r\nContent-Length: 5\r\n\r\nhello" + smuggled,
		"two encodings":           "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" + smuggled,
		"chunked twice":           "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"vertical tab":            "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + smuggled,
		"space before colon":      "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + smuggled,
		"space before the length": "Content-Length : 0\r\n\r\n" + smuggled,
		"bare line feeds":         "X: y\nTransfer-Encoding: chunked\r\nContent-Length : 5\r\n\r\n" + smuggled,
		"carriage return in name": "X\r: y\r\n\r\n" + smuggled,
		"zero byte":               "X: a\x00b\r\n\r\n" + smuggled,
		"gzip, chunked":           "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + smuggled,
	} {
		t.Run("refused/"+name, func(t *testing.T) {
			got := a.raw(t, head+rest)
			if got.status != http.StatusBadRequest && got.status != http.StatusNotImplemented {
				t.Errorf("answered %d", got.status)
			}
			if !got.closed {
				t.Error("the connection stays open")
			}
			a.untouched(t)
		})
	}

	// The body breaks on the way: no whole request reaches the upstream, and nothing after it.
	for name, body := range map[string]string{
		"bare line feed in an extension": "1;a\nb\r\nx\r\n0\r\n\r\n",
		"size overflows":                 "fffffffffffffffff\r\nx\r\n0\r\n\r\n",
		"negative size":                  "-1\r\nx\r\n0\r\n\r\n",
		"size with 0x":                   "0x1\r\nx\r\n0\r\n\r\n",
		"size of nothing":                "\r\nx\r\n0\r\n\r\n",
		"no end after a chunk":           "1\r\nxy\r\n0\r\n\r\n",
		"smuggled in a chunk's end":      "1\r\nx" + smuggled,
		"long extension":                 "1;" + strings.Repeat("a", 64<<10) + "\r\nx\r\n0\r\n\r\n",
	} {
		t.Run("broken/"+name, func(t *testing.T) {
			a.raw(t, head+"Transfer-Encoding: chunked\r\n\r\n"+body+smuggled)
			for _, q := range firstOf(a.upstream.take()) {
				t.Errorf("the upstream got %q", q)
			}
			a.healthy(t)
		})
	}

	t.Run("encoding wins over length", func(t *testing.T) {
		got := a.raw(t, head+"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")
		q := a.passed(t, got.answer)
		if _, ok := q.line("Content-Length"); ok || q.body != "2\r\n{}\r\n0\r\n\r\n" {
			t.Errorf("the upstream got:\n%s%s", q.head, q.body)
		}
	})
	t.Run("length ends the body", func(t *testing.T) {
		got := a.raw(t, head+"Content-Length: 2\r\nConnection: close\r\n\r\n{}"+smuggled)
		if q := a.passed(t, got.answer); q.body != "{}" {
			t.Errorf("the upstream got body %q", q.body)
		}
	})
	t.Run("a body that holds a request", func(t *testing.T) {
		got := a.raw(t, head+"Content-Length: "+itoa(len(smuggled))+"\r\n\r\n"+smuggled)
		if q := a.passed(t, got.answer); q.body != smuggled {
			t.Errorf("the upstream got body %q", q.body)
		}
	})
	t.Run("get with a body", func(t *testing.T) {
		got := a.raw(t, "GET /files/hostile/own/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Content-Length: "+itoa(len(smuggled))+"\r\n\r\n"+smuggled)
		if q := a.passed(t, got.answer); q.body != smuggled {
			t.Errorf("the upstream got body %q", q.body)
		}
	})

	// What follows on the connection is a request of its own, with nobody's identity but its own.
	t.Run("pipelined", func(t *testing.T) {
		answers := a.pipeline(t, 2, head+"Content-Length: 2\r\n\r\n{}"+smuggled)
		if answers[0].status != http.StatusOK || answers[1].status != http.StatusUnauthorized {
			t.Errorf("answered %d and %d", answers[0].status, answers[1].status)
		}
		if q := a.passed(t, answers[0]); !strings.HasPrefix(q.target(), "POST /files/hostile/own/") {
			t.Errorf("the upstream got %q", q.target())
		}
	})
	t.Run("pipelined behind a refusal", func(t *testing.T) {
		a.raw(t, "POST /files/vision/team/run1/file_stream HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Content-Length: "+itoa(len(smuggled))+"\r\n\r\n"+smuggled)
		a.untouched(t)
	})
	t.Run("expectation of a refused request", func(t *testing.T) {
		body := strings.Repeat(smuggled, 10)
		got := a.raw(t, "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: "+itoa(len(body))+"\r\n\r\n"+body)
		a.refuses(t, got.answer, http.StatusUnauthorized, "no_credential")
	})
	t.Run("unknown expectation", func(t *testing.T) {
		got := a.raw(t, head+"Expect: smuggled\r\nContent-Length: 0\r\n\r\n")
		if got.status != http.StatusExpectationFailed {
			t.Errorf("answered %d", got.status)
		}
		a.untouched(t)
	})
	t.Run("a judged body is sent with its own length", func(t *testing.T) {
		body := `{"query":"{project(name:\"own\",entityName:\"hostile\"){id}}","x":1}`
		got := a.raw(t, "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\nTrailer: X-Forwarded-User\r\n\r\n"+
			strconv.FormatInt(int64(len(body)), 16)+"\r\n"+body+"\r\n0\r\nX-Forwarded-User: evil\r\n\r\n")
		q := a.passed(t, got.answer)
		if length, _ := q.line("Content-Length"); length != itoa(len(q.body)) || len(q.lines("transfer-encoding")) != 0 {
			t.Errorf("the upstream got:\n%s%s", q.head, q.body)
		}
		if strings.Contains(q.head+q.body, "evil") {
			t.Errorf("a trailer reached the upstream:\n%s%s", q.head, q.body)
		}
	})

	// The next caller gets its own answer, whatever came before it on the upstream's connections.
	t.Run("next caller", func(t *testing.T) {
		for range 20 {
			got := a.raw(t, "GET /files/vision/team/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "+basic(aliceKey)+"\r\n\r\n")
			q := a.passed(t, got.answer)
			if user, _ := q.line("X-Forwarded-User"); user != "alice" || q.target() != "GET /files/vision/team/run1/x" {
				t.Errorf("the upstream got %q of %q", q.target(), user)
			}
		}
	})

	// D01: heads and bodies without end.
	t.Run("too large a head", func(t *testing.T) {
		got := a.raw(t, head+"X: "+strings.Repeat("a", 2<<20)+"\r\n\r\n")
		if got.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("answered %d", got.status)
		}
		a.untouched(t)
	})
	t.Run("too many header lines", func(t *testing.T) {
		got := a.raw(t, head+strings.Repeat("X: y\r\n", 200_000)+"\r\n")
		if got.status != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("answered %d", got.status)
		}
		a.untouched(t)
	})
	t.Run("a length that never comes", func(t *testing.T) {
		got := a.raw(t, "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\n"+auth+"Content-Type: application/json\r\nContent-Length: 34359738368\r\n\r\n"+
			strings.Repeat("{", 300<<10)) // Caddy reads some of it before it lets an answer out
		a.refuses(t, got.answer, http.StatusRequestEntityTooLarge, "body_too_large")
	})
}

func firstOf(requests []rawRequest, _ int) []rawRequest { return requests }

// pipeline writes bytes on one connection and reads n answers.
func (a attacked) pipeline(t *testing.T, n int, requests string) []answer {
	t.Helper()
	c, err := net.DialTimeout("tcp", strings.TrimPrefix(a.url, "http://"), 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	go io.WriteString(c, requests)
	r := bufio.NewReader(c)
	answers := make([]answer, n)
	for i := range answers {
		answers[i] = readAnswer(t, r, requests).answer
	}
	return answers
}

// TestForwardedAddresses is P14: who is the client is told by the peer, unless the site trusts it.
func TestForwardedAddresses(t *testing.T) {
	headers := map[string]string{
		"one":       "X-Forwarded-For: 203.0.113.7",
		"several":   "X-Forwarded-For: 203.0.113.7, 198.51.100.1",
		"unknown":   "X-Forwarded-For: unknown",
		"zone":      "X-Forwarded-For: fe80::1%eth0",
		"mapped":    "X-Forwarded-For: ::ffff:203.0.113.7",
		"port":      "X-Forwarded-For: 203.0.113.7:80",
		"long":      "X-Forwarded-For: " + strings.TrimSuffix(strings.Repeat("203.0.113.7, ", 1000), ", "),
		"real ip":   "X-Real-IP: 203.0.113.7",
		"forwarded": "Forwarded: for=203.0.113.7;proto=https;host=evil",
		"proto":     "X-Forwarded-Proto: https",
		"host":      "X-Forwarded-Host: evil",
	}
	request := func(line string) string {
		return "GET /files/hostile/own/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: " + basic(malloryKey) + "\r\n" + line + "\r\n\r\n"
	}
	t.Run("nobody is trusted", func(t *testing.T) {
		a := startAttacked(t, config{global: "failure_limit 3/h"})
		for name, line := range headers {
			t.Run(name, func(t *testing.T) {
				q := a.passed(t, a.raw(t, request(line)).answer)
				for header, want := range map[string]string{"x-forwarded-for": "127.0.0.1", "x-forwarded-proto": "http", "x-forwarded-host": "127.0.0.1"} {
					if got := q.lines(header); len(got) != 1 || !strings.EqualFold(got[0], header+": "+want) {
						t.Errorf("%s is %q", header, got)
					}
				}
				if got := append(q.lines("x-real-ip"), q.lines("forwarded")...); len(got) != 0 {
					t.Errorf("%q reached the upstream", got)
				}
			})
		}
		t.Run("the failure limit counts the peer", func(t *testing.T) {
			last := 0
			for i := range 5 {
				got := a.raw(t, "GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "+basic(strings.Repeat(itoa(i), 40))+"\r\nX-Forwarded-For: 203.0.113."+itoa(i)+"\r\n\r\n")
				last = got.status
			}
			if last != http.StatusTooManyRequests {
				t.Errorf("the fifth failure is answered %d", last)
			}
			a.untouched(t)
		})
	})
	t.Run("the peer is trusted", func(t *testing.T) {
		a := startAttacked(t, config{
			global: "failure_limit 3/h",
			caddy:  "servers {\n\t\tprotocols h1 h2c\n\t\ttrusted_proxies static 127.0.0.1/32\n\t\ttrusted_proxies_strict\n\t}",
		})
		t.Run("identity is removed all the same", func(t *testing.T) {
			got := a.raw(t, "GET /files/vision/team/run1/x HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "+basic(aliceKey)+"\r\nX-Forwarded-User: evil\r\nRemote-User: evil\r\nX-Wandb-Gateway-Principal: evil\r\n\r\n")
			holdsIdentity(t, a.passed(t, got.answer))
		})
		t.Run("addresses pass", func(t *testing.T) {
			q := a.passed(t, a.raw(t, request("X-Forwarded-For: 203.0.113.7\r\nX-Real-IP: 203.0.113.7\r\nX-Forwarded-Proto: https")).answer)
			if got, _ := q.line("X-Forwarded-For"); got != "203.0.113.7, 127.0.0.1" {
				t.Errorf("X-Forwarded-For is %q", got)
			}
			if got, _ := q.line("X-Real-Ip"); got != "203.0.113.7" {
				t.Errorf("X-Real-Ip is %q", got)
			}
		})
		t.Run("the failure limit counts the client", func(t *testing.T) {
			for i := range 5 {
				got := a.raw(t, "GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "+basic(strings.Repeat(itoa(i), 40))+"\r\nX-Forwarded-For: 203.0.113."+itoa(i)+"\r\n\r\n")
				a.refuses(t, got.answer, http.StatusUnauthorized, "unknown_credential")
			}
		})
		// What the client wrote in front of what the proxy added does not count.
		t.Run("the rightmost address counts", func(t *testing.T) {
			last := 0
			for i := range 5 {
				got := a.raw(t, "GET /page HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: "+basic(strings.Repeat(itoa(i), 40))+"\r\nX-Forwarded-For: 192.0.2."+itoa(i)+", 198.51.100.99\r\n\r\n")
				last = got.status
			}
			if last != http.StatusTooManyRequests {
				t.Errorf("the fifth failure is answered %d", last)
			}
		})
	})
}
