package main

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

func newIssuer(t *testing.T) (*issuer, *jws.KeySet) {
	t.Helper()
	i, err := startIssuer()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { i.server.Close() })
	answer, err := http.Get(i.url + "/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	set, _, err := jws.ParseKeySet(text)
	if err != nil {
		t.Fatal(err)
	}
	return i, set
}

func TestAssertionsAreWhatTheyClaim(t *testing.T) {
	i, set := newIssuer(t)
	all, err := i.assertions(4, 2)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]bool)
	for n, text := range all {
		token, err := jws.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := token.Verify(set, nil); err != nil {
			t.Errorf("assertion %d: %v", n, err)
		}
		if subject, _, _ := token.Claims.Text("sub"); subject != address(n%2) {
			t.Errorf("assertion %d is about %q", n, subject)
		}
		if seen[text] {
			t.Errorf("assertion %d was there before", n)
		}
		seen[text] = true
	}
}

// A bogus token must cost the check of a signature, and fail it.
func TestBogusTokensFailAtTheirSignature(t *testing.T) {
	i, set := newIssuer(t)
	first, second := i.bogus(0, "same"), i.bogus(0, "same")
	if first == second {
		t.Error("two bogus tokens are the same")
	}
	token, err := jws.Parse(first)
	if err != nil {
		t.Fatal(err)
	}
	_, err = token.Verify(set, nil)
	if err == nil || !strings.Contains(err.Error(), "signature") {
		t.Errorf("its signature is judged %v", err)
	}
}

func TestExchangeRequest(t *testing.T) {
	r, body := read(t, postExchange("a.b.c"))
	if r.Method != http.MethodPost || r.URL.Path != "/oidc/token" || r.Header.Get("Authorization") != "" {
		t.Errorf("%s %s", r.Method, r.URL)
	}
	r.Body = io.NopCloser(strings.NewReader(string(body)))
	if r.FormValue("assertion") != "a.b.c" || !strings.HasSuffix(r.FormValue("grant_type"), ":jwt-bearer") {
		t.Errorf("the form is %s", body)
	}
}

func TestOnceSendsNothingTwice(t *testing.T) {
	got := make(chan string, 100)
	c := serve(t, func(w http.ResponseWriter, r *http.Request) {
		got <- r.URL.Path
		w.Write([]byte("ok"))
	})
	c.requests = nil
	for n := range 50 {
		who := someone
		who.run = strings.Repeat("r", n+1)
		c.requests = append(c.requests, getFile(who))
	}
	begun := time.Now()
	if o := c.once(time.Minute); o.failures > 0 || len(o.latencies) != 50 {
		t.Errorf("%d answers, %d failures, %v", len(o.latencies), o.failures, o.failure)
	}
	if time.Since(begun) > 30*time.Second {
		t.Error("it did not end when all were sent")
	}
	if o := c.once(time.Minute); len(o.latencies) != 0 {
		t.Errorf("%d were sent again", len(o.latencies))
	}
	close(got)
	seen := make(map[string]bool)
	for path := range got {
		if seen[path] {
			t.Errorf("%s was sent twice", path)
		}
		seen[path] = true
	}
}

func TestAFloodMustBeRefused(t *testing.T) {
	w := workload{refused: true}
	for status, fine := range map[int]bool{200: false, 400: true, 401: true, 403: false, 429: true, 500: false, 503: false} {
		if err := w.right(response{status, 17}); (err == nil) != fine {
			t.Errorf("status %d: %v", status, err)
		}
	}
}

func TestEachRoundHasNewAssertions(t *testing.T) {
	e := exchanges{fresh: make([]string, 2*exchangesEach)}
	for n := range e.fresh {
		text, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		e.fresh[n] = string(text)
	}
	first, second := e.new(0).requests, e.new(1).requests
	if len(first) != exchangesEach || len(second) != exchangesEach {
		t.Fatalf("%d and %d requests", len(first), len(second))
	}
	if !strings.HasSuffix(string(first[0]), "assertion=0&grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer") || string(first[0]) == string(second[0]) {
		t.Errorf("the rounds begin with %s and %s", first[0], second[0])
	}
}
