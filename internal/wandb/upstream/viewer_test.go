package upstream

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestPrincipalIsWhatTheServerTells(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = `{"id":"VXNlcjox","username":"alice","email":"alice@acme.test","name":"Alice A.","admin":false,"entity":"vision","deletedAt":null,` +
		`"teams":{"edges":[{"node":{"name":"vision"}},{"node":{"name":"audio"}},{"node":{"name":"vision"}},{"node":{"name":"alice"}},{"node":{"name":"a,b"}}]}}`
	got, err := directory(t, s).PrincipalByCredential(t.Context(), apiKey(aliceKey))
	if err != nil {
		t.Fatal(err)
	}
	want := &iam.Principal{
		Ref:          iam.PrincipalRef{Kind: iam.KindUser, ID: "usr_up:VXNlcjox"},
		Organization: "acme", Username: "alice", Email: "alice@acme.test", Name: "Alice A.", Active: true,
		Role: iam.OrganizationMember, ModelsSeat: iam.SeatFull, WeaveSeat: iam.SeatFull,
		Teams: []iam.Membership{
			{TeamRef: iam.TeamRef{ID: "team_up:audio", Name: "audio"}, Role: iam.RoleMember},
			{TeamRef: iam.TeamRef{ID: "team_up:vision", Name: "vision"}, Role: iam.RoleMember},
		},
		PersonalEntity: "alice", DefaultEntity: "vision", FromUpstream: true,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCredentialReachesTheServerAsItCame(t *testing.T) {
	tests := []struct {
		name       string
		credential iam.Credential
		header     string
		want       string
	}{
		{"API key as Basic", apiKey(aliceKey), "Authorization", basic(aliceKey)},
		{"API key as Bearer", iam.Credential{Kind: iam.CredentialAPIKey, Bearer: true, Secret: iam.NewSecret(aliceKey)}, "Authorization", "Bearer " + aliceKey},
		{"token as Bearer", iam.Credential{Kind: iam.CredentialToken, Bearer: true, Secret: iam.NewSecret("a.b.c")}, "Authorization", "Bearer a.b.c"},
		{"token as Basic", iam.Credential{Kind: iam.CredentialToken, Secret: iam.NewSecret("a.b.c")}, "Authorization", basic("a.b.c")},
		{"cookie", iam.Credential{Kind: iam.CredentialCookie, Secret: iam.NewSecret("wandb=x; theme=dark")}, "Cookie", "wandb=x; theme=dark"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newFakeServer()
			s.viewers[tt.want] = alice
			d := directory(t, s, func(c *Config) { c.URL = c.URL.JoinPath("wandb") })
			p, err := d.PrincipalByCredential(t.Context(), tt.credential)
			if err != nil || p.Username != "alice" {
				t.Fatalf("got %v, %v", p, err)
			}
			q := s.asked[0]
			if q.path != "/wandb/graphql" {
				t.Errorf("asked at %s", q.path)
			}
			for _, header := range []string{"Authorization", "Cookie"} {
				want := ""
				if header == tt.header {
					want = tt.want
				}
				if got := q.header.Get(header); got != want {
					t.Errorf("%s = %q, want %q", header, got, want)
				}
			}
		})
	}
}

// One value as key, token or cookie is three credentials: what is known of one says nothing about
// the others (threats K09).
func TestCredentialsOfOneValueStayApart(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic("x.y.z")] = alice
	d := directory(t, s)
	same := iam.NewSecret("x.y.z")
	if _, err := d.PrincipalByCredential(t.Context(), iam.Credential{Kind: iam.CredentialToken, Secret: same}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []iam.Credential{
		{Kind: iam.CredentialToken, Bearer: true, Secret: same},
		{Kind: iam.CredentialAPIKey, Bearer: true, Secret: same},
		{Kind: iam.CredentialCookie, Secret: same},
	} {
		_, err := d.PrincipalByCredential(t.Context(), c)
		wantKind(t, err, iam.KindUnauthenticated)
	}
}

func TestCredentialThatCannotBeSentIsUnknown(t *testing.T) {
	s := newFakeServer()
	d := directory(t, s)
	for name, c := range map[string]iam.Credential{
		"none":               {},
		"empty":              {Kind: iam.CredentialAPIKey},
		"ticket":             {Kind: iam.CredentialTicket, Secret: iam.NewSecret("t")},
		"header injection":   {Kind: iam.CredentialAPIKey, Bearer: true, Secret: iam.NewSecret("x\r\nX-Admin: 1")},
		"blank in a key":     apiKey("a b"),
		"outside ASCII":      apiKey("schlüssel"),
		"longer than 16 KiB": apiKey(strings.Repeat("k", 16<<10+1)),
		"unknown kind":       {Kind: 200, Secret: iam.NewSecret("x")},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := d.PrincipalByCredential(t.Context(), c)
			wantKind(t, err, iam.KindUnauthenticated)
		})
	}
	if n := s.count(""); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

// What a server, or something in front of it, may answer instead of saying who is calling. Only its
// clear word makes a credential unknown.
var answers = []struct {
	name   string
	answer http.HandlerFunc
	kind   iam.Kind
	reason iam.Reason
	says   string        // in the message
	wait   time.Duration // RetryAfter
}{
	{"401", status(401, `{"errors":[{"message":"unauthenticated"}]}`), iam.KindUnauthenticated, ReasonUnknown, "WANDB_API_KEY", 0},
	{"401 with HTML", status(401, `<html>`), iam.KindUnauthenticated, ReasonUnknown, "", 0},
	{"viewer null", status(200, `{"data":{"viewer":null}}`), iam.KindUnauthenticated, ReasonUnknown, "", 0},
	{"viewer null, nobody signed in", status(200, `{"data":{"viewer":null},"errors":[{"message":"user is not logged in","path":["viewer"],"extensions":{"code":"PERMISSION_ERROR"}}]}`), iam.KindUnauthenticated, ReasonUnknown, "", 0},
	{"viewer null, unauthenticated", status(200, `{"data":{"viewer":null},"errors":[{"message":"no","extensions":{"code":"UNAUTHENTICATED"}}]}`), iam.KindUnauthenticated, ReasonUnknown, "", 0},
	{"as plain text", typed("text/plain; charset=utf-8", status(200, `{"data":{"viewer":null}}`)), iam.KindUnauthenticated, ReasonUnknown, "", 0},
	{"as GraphQL's own type", typed("application/graphql-response+json", status(200, `{"data":{"viewer":null}}`)), iam.KindUnauthenticated, ReasonUnknown, "", 0},
	{"compressed", zipped(`{"data":{"viewer":null}}`), iam.KindUnauthenticated, ReasonUnknown, "", 0},
	{"deleted person", status(200, `{"data":{"viewer":{"id":"1","username":"eve","deletedAt":"2026-01-01T00:00:00Z"}}}`), iam.KindUnauthenticated, ReasonDeactivated, "deleted", 0},
	{"403 of the server", status(403, `{"errors":[{"message":"locked"}]}`), iam.KindDenied, ReasonForbidden, "refuses", 0},

	{"403 of a firewall", status(403, `<html>blocked</html>`), iam.KindUnavailable, ReasonUpstream, "not a GraphQL answer", shortWait},
	{"403 as JSON without errors", status(403, `{"message":"blocked"}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"404", status(404, `not found`), iam.KindUnavailable, ReasonUpstream, "must name a W&B server", shortWait},
	{"404 as GraphQL", status(404, `{"errors":[{"message":"no such page"}]}`), iam.KindUnavailable, ReasonUpstream, "must name a W&B server", shortWait},
	{"400", status(400, `{"errors":[{"message":"bad"}]}`), iam.KindUnavailable, ReasonUpstream, "status 400", shortWait},
	{"429", status(429, `slow down`), iam.KindUnavailable, ReasonUpstream, "limits the rate", shortWait},
	{"429 with Retry-After", wait("7", status(429, `slow down`)), iam.KindUnavailable, ReasonUpstream, "in 7 seconds", 7 * time.Second},
	{"503 with a long Retry-After", wait("86400", status(503, ``)), iam.KindUnavailable, ReasonUpstream, "status 503", longestWait},
	{"503 with a senseless Retry-After", wait("-1", status(503, ``)), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"503 with NaN", wait("NaN", status(503, ``)), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"500 with a viewer null", status(500, `{"data":{"viewer":null}}`), iam.KindUnavailable, ReasonUpstream, "status 500", shortWait},
	{"redirect", redirect("https://elsewhere.test/login"), iam.KindUnavailable, ReasonUpstream, "redirect", shortWait},
	{"as a page", typed("text/html; charset=utf-8", status(200, `{"data":{"viewer":null}}`)), iam.KindUnavailable, ReasonUpstream, "not a GraphQL answer", shortWait},
	{"as a broken type", typed("json;=", status(200, `{"data":{"viewer":null}}`)), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"a person, as a page", typed("text/html", status(200, `{"data":{"viewer":{"id":"1","username":"eve"}}}`)), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"403 as a page", typed("text/html", status(403, `{"errors":[{"message":"locked"}]}`)), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"viewer null, one of two errors says why", status(200, `{"data":{"viewer":null},"errors":[{"message":"user is not logged in"},{"message":"timeout"}]}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"compressed a thousandfold", zipped(`{"data":{"viewer":{"id":"1","name":"` + strings.Repeat("x", 64<<20) + `"}}}`), iam.KindUnavailable, ReasonUpstream, "larger than 1 MiB", shortWait},
	{"said to be compressed", encoded("gzip", status(200, `{"data":{"viewer":null}}`)), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"compressed in another way", encoded("br", status(200, "\x8b\x0b\x80{}\x03")), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"a header without end", wait(strings.Repeat("9", 2*maxHeaderBytes), status(200, `{"data":{"viewer":null}}`)), iam.KindUnavailable, ReasonUpstream, "cannot be reached", shortWait},
	{"HTML sign-in page", status(200, `<!doctype html><title>Sign in</title>`), iam.KindUnavailable, ReasonUpstream, "must name a W&B server", shortWait},
	{"nothing", status(200, ``), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"half JSON", status(200, `{"data":{"viewer":{"id":"VXNlcjox","usern`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"JSON and more", status(200, `{"data":{"viewer":null}} {"data":{}}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"JSON array", status(200, `[]`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"JSON null", status(200, `null`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"data null", status(200, `{"data":null}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"data null with errors", status(200, `{"data":null,"errors":[{"message":"permission denied"}]}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"no viewer", status(200, `{"data":{}}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"viewer null with an error", status(200, `{"data":{"viewer":null},"errors":[{"message":"database is locked","path":["viewer"]}]}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"viewer is a list", status(200, `{"data":{"viewer":[]}}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"viewer is nobody", status(200, `{"data":{"viewer":{}}}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"teams failed", status(200, `{"data":{"viewer":{"id":"1","username":"eve","teams":null}},"errors":[{"message":"timeout","path":["viewer","teams"]}]}`), iam.KindUnavailable, ReasonUpstream, "", shortWait},
	{"fields that no wording does without", status(200, `{"errors":[{"message":"Cannot query field \"viewer\" on type \"Query\"."}]}`), iam.KindUnavailable, ReasonUpstream, "is it a W&B server?", shortWait},
	{"more than 1 MiB", status(200, `{"data":{"viewer":{"id":"1","name":"`+strings.Repeat("x", maxAnswerBytes)+`"}}}`), iam.KindUnavailable, ReasonUpstream, "larger than 1 MiB", shortWait},
	{"connection cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, iam.KindUnavailable, ReasonUpstream, "cannot be reached", shortWait},
	{"body cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		w.Write([]byte(`{"data":`))
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, iam.KindUnavailable, ReasonUpstream, "cannot be reached", shortWait},
	{"a byte at a time", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			w.Write([]byte(" "))
			w.(http.Flusher).Flush()
			time.Sleep(5 * time.Millisecond)
		}
	}, iam.KindUnavailable, ReasonUpstream, "did not answer within", shortWait},
	{"slower than the timeout", func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body) // a server notices that the client left once it has read the body
		<-r.Context().Done()
	}, iam.KindUnavailable, ReasonUpstream, "did not answer within", shortWait},
}

func status(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code)
		w.Write([]byte(body))
	}
}

func wait(value string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", value)
		next(w, r)
	}
}

func typed(contentType string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", contentType)
		next(w, r)
	}
}

func encoded(encoding string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", encoding)
		next(w, r)
	}
}

// zipped answers in gzip, which the client asks for by itself.
func zipped(body string) http.HandlerFunc {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(body))
	z.Close()
	return encoded("gzip", typed("application/json", status(200, b.String())))
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusTemporaryRedirect) }
}

func TestAnswersThatNameNobody(t *testing.T) {
	for _, tt := range answers {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(tt.answer)
			defer server.Close()
			u, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			d := directory(t, nil, func(c *Config) {
				c.URL, c.Client = u, nil
				if strings.HasPrefix(tt.says, "did not answer") {
					c.Timeout = 50 * time.Millisecond
				}
			})
			_, err = d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			wantKind(t, err, tt.kind)
			if got := iam.ReasonOf(err); got != tt.reason {
				t.Errorf("reason %q, want %q", got, tt.reason)
			}
			told, _ := errors.AsType[*iam.Error](err)
			if !strings.Contains(told.Message, u.Host) || !strings.Contains(told.Message, tt.says) {
				t.Errorf("message %q does not name %s or lacks %q", told.Message, u.Host, tt.says)
			}
			if told.RetryAfter != tt.wait {
				t.Errorf("RetryAfter %s, want %s", told.RetryAfter, tt.wait)
			}
			if strings.Contains(err.Error(), aliceKey) {
				t.Error("the error contains the key")
			}
		})
	}
}

// A redirect is not followed, and nothing of the credential reaches where it points.
func TestRedirectIsNotFollowed(t *testing.T) {
	var visited atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited.Store(true) }))
	defer elsewhere.Close()
	server := httptest.NewServer(redirect(elsewhere.URL))
	defer server.Close()
	u, _ := url.Parse(server.URL)
	// The given client would follow.
	d := directory(t, nil, func(c *Config) { c.URL, c.Client = u, &http.Client{} })
	_, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
	wantKind(t, err, iam.KindUnavailable)
	if visited.Load() {
		t.Error("the redirect was followed")
	}
}

func TestPartialViewerIsTolerated(t *testing.T) {
	s := newFakeServer()
	s.bad = status(200, `{"data":{"viewer":{"id":"1","username":"alice","email":null,"name":null,"admin":null,"entity":null,"teams":{"edges":[]}}},"errors":[{"message":"no e-mail","path":["viewer","email"]}]}`)
	p, err := directory(t, s).PrincipalByCredential(t.Context(), apiKey(aliceKey))
	if err != nil {
		t.Fatal(err)
	}
	if p.Username != "alice" || p.Email != "" || p.DefaultEntity != "" || p.Role != iam.OrganizationMember {
		t.Errorf("got %+v", p)
	}
}

func TestServersOfAnotherAgeAreAskedForLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.lacks = []string{"deletedAt"}
		s.viewers[basic(aliceKey)], s.viewers[basic(bobKey)] = alice, bob
		d := directory(t, s)
		for i, key := range []string{aliceKey, bobKey} {
			if _, err := d.PrincipalByCredential(t.Context(), apiKey(key)); err != nil {
				t.Fatal(err)
			}
			if got, want := s.count("GatewayViewer"), 3+i; got != want {
				t.Errorf("asked %d times after key %d, want %d: the working wording is kept", got, i, want)
			}
		}
		// An upgraded server is asked in full again.
		s.set(func(s *fakeServer) { s.lacks = nil })
		time.Sleep(wordingTTL)
		if _, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey)); err != nil {
			t.Fatal(err)
		}
		if got := s.count("deletedAt"); got != 3 {
			t.Errorf("the full wordings were tried %d times, want 3", got)
		}
	})
}

func TestHitsAndMissesHaveTheirBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		d := directory(t, s)
		ask := func(key string) error {
			_, err := d.PrincipalByCredential(t.Context(), apiKey(key))
			return err
		}
		if err := ask(aliceKey); err != nil {
			t.Fatal(err)
		}
		wantKind(t, ask(bobKey), iam.KindUnauthenticated)

		// Bob's key is made; the miss ends after 10 s and not before.
		s.set(func(s *fakeServer) { s.viewers[basic(bobKey)] = bob })
		time.Sleep(DefaultMisses - time.Nanosecond)
		wantKind(t, ask(bobKey), iam.KindUnauthenticated)
		time.Sleep(time.Nanosecond)
		if err := ask(bobKey); err != nil {
			t.Fatal(err)
		}
		if got := s.count("GatewayViewer"); got != 3 {
			t.Errorf("asked %d times, want 3", got)
		}

		// Alice's key is deleted while nobody uses it: unknown after 60 s at the latest.
		s.set(func(s *fakeServer) { delete(s.viewers, basic(aliceKey)) })
		time.Sleep(DefaultHits - DefaultMisses)
		wantKind(t, ask(aliceKey), iam.KindUnauthenticated)
	})
}

// A key in constant use is refused within the bound after it was deleted, and is asked for ahead of
// need, so that no request waits for the server.
func TestDeletedKeyInUseIsRefusedWithinTheBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		d := directory(t, s)
		for range 300 { // five minutes, a request each second
			if _, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if n := s.count("GatewayViewer"); n < 5 || n > 12 {
			t.Errorf("asked %d times in five minutes, want about one in 30 to 45 s", n)
		}
		s.set(func(s *fakeServer) { delete(s.viewers, basic(aliceKey)) })
		deleted := time.Now()
		for {
			_, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			if err != nil {
				wantKind(t, err, iam.KindUnauthenticated)
				break
			}
			if time.Since(deleted) > DefaultHits {
				t.Fatal("the key still counts")
			}
			time.Sleep(time.Second)
		}
	})
}

// The bound counts from before the question was sent: an answer that took long is old already.
func TestBoundCountsFromTheQuestion(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		s.delay = 4 * time.Second
		d := directory(t, s)
		if _, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey)); err != nil {
			t.Fatal(err)
		}
		s.set(func(s *fakeServer) { delete(s.viewers, basic(aliceKey)); s.delay = 0 })
		time.Sleep(DefaultHits - 4*time.Second)
		_, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
		wantKind(t, err, iam.KindUnauthenticated)
	})
}

// While the server is away, those who are known go on within the bound, then nobody can tell. It is
// probed once a second for each key, however many requests come. When it is back, all is as before.
func TestServerAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		d := directory(t, s)
		ask := func() error {
			_, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			return err
		}
		if err := ask(); err != nil {
			t.Fatal(err)
		}
		s.set(func(s *fakeServer) { s.bad = status(502, "bad gateway") })
		for start := time.Now(); time.Since(start) < DefaultHits; time.Sleep(time.Second) {
			if err := ask(); err != nil {
				t.Fatalf("thrown out after %s: %v", time.Since(start), err)
			}
		}
		s.set(func(s *fakeServer) { s.asked = nil })
		for range 100 { // ten seconds
			wantKind(t, ask(), iam.KindUnavailable)
			time.Sleep(100 * time.Millisecond)
		}
		if n := s.count("GatewayViewer"); n > 10 {
			t.Errorf("the server was probed %d times in ten seconds, want at most 10", n)
		}
		s.set(func(s *fakeServer) { s.bad = nil })
		time.Sleep(backoff)
		if err := ask(); err != nil {
			t.Fatalf("the failure was remembered: %v", err)
		}
	})
}

// A deleted key is refused although the server fails in between: a failure extends nothing.
func TestFailureExtendsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		d := directory(t, s)
		for start := time.Now(); ; time.Sleep(time.Second) {
			_, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
			switch {
			case err == nil && time.Since(start) >= DefaultHits:
				t.Fatal("counts beyond the bound")
			case err != nil && time.Since(start) < DefaultHits:
				t.Fatalf("thrown out after %s: %v", time.Since(start), err)
			case err != nil:
				wantKind(t, err, iam.KindUnavailable)
				return
			}
			s.set(func(s *fakeServer) { s.bad = status(500, "") })
		}
	})
}

// Ten thousand people of a hundred teams come at the same moment, each with two requests. The server is
// asked once for each key, and beside that a few times for each team's list.
func TestManyFirstRequestsCauseOneLookupPerKey(t *testing.T) {
	const keys, requests, teams = 10_000, 2, 100
	key := func(i int) string { return fmt.Sprintf("local-%040x", i) }
	for name, tt := range map[string]struct {
		lacks  string
		viewer int // look-ups beside one for each key
	}{
		"server that tells all": {"nothing", 0},
		"server of less":        {"accountType", 2 * DefaultParallel},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer()
			s.lacks = []string{tt.lacks}
			lists := make([]strings.Builder, teams)
			for i := range keys {
				s.viewers[basic(key(i))] = fmt.Sprintf(`{"id":"User:%d","username":"user-%d","teams":{"edges":[{"node":{"name":"team-%d"}}]}}`, i, i, i%teams)
				fmt.Fprintf(&lists[i%teams], `{"username":"user-%d","accountType":"MEMBER"},`, i)
			}
			for i := range lists {
				s.members[fmt.Sprintf("team-%d", i)] = "[" + strings.TrimSuffix(lists[i].String(), ",") + "]"
			}
			d := directory(t, s, func(c *Config) { c.Timeout = time.Minute })
			var wg sync.WaitGroup
			var wrong atomic.Int64
			for i := range keys * requests {
				wg.Go(func() {
					p, err := d.PrincipalByCredential(t.Context(), apiKey(key(i%keys)))
					if err != nil || p.Username != fmt.Sprintf("user-%d", i%keys) {
						wrong.Add(1)
					}
				})
			}
			wg.Wait()
			if n := wrong.Load(); n != 0 {
				t.Errorf("%d requests failed or got somebody else", n)
			}
			if n := s.count("GatewayViewer"); n < keys || n > keys+tt.viewer {
				t.Errorf("%d look-ups for %d keys", n, keys)
			}
			if n := s.count("GatewayPeople"); n > 3*teams {
				t.Errorf("%d questions about the members of %d teams", n, teams)
			}
		})
	}
}

// The first caller goes away; those who wait with them still get their answer, from one look-up.
func TestFirstCallerGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		s.delay = time.Second
		d := directory(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { _, err := d.PrincipalByCredential(ctx, apiKey(aliceKey)); first <- err }()
		synctest.Wait()
		go func() { _, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey)); second <- err }()
		synctest.Wait()
		cancel()
		wantKind(t, <-first, iam.KindUnavailable)
		if err := <-second; err != nil {
			t.Error(err)
		}
		if n := s.count("GatewayViewer"); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestLookupsAreLimitedInRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		d := directory(t, s, func(c *Config) { c.LookupsPerSecond = 10; c.Timeout = time.Second })
		var wg sync.WaitGroup
		var busy atomic.Int64
		for i := range 100 {
			wg.Go(func() {
				_, err := d.PrincipalByCredential(t.Context(), apiKey(fmt.Sprintf("key-%d", i)))
				if iam.ReasonOf(err) == ReasonBusy && iam.KindOf(err) == iam.KindUnavailable {
					busy.Add(1)
				}
			})
		}
		wg.Wait()
		if n := s.count("GatewayViewer"); n > 20 { // a burst of 10, then 10 within the second
			t.Errorf("%d look-ups within a second, want at most 20", n)
		}
		if busy.Load() < 80 {
			t.Errorf("%d told that it is the gateway's own limit, want at least 80", busy.Load())
		}
	})
}

// A flood of bad keys neither grows memory beyond the bound nor pushes out a good key (K08, D03).
func TestFloodOfBadKeys(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = alice
	d := directory(t, s, func(c *Config) { c.MaxEntries = 1024 })
	if _, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey)); err != nil {
		t.Fatal(err)
	}
	for i := range 20_000 {
		_, err := d.PrincipalByCredential(t.Context(), apiKey(fmt.Sprintf("bad-%d", i)))
		wantKind(t, err, iam.KindUnauthenticated)
	}
	if n := d.viewers.size(); n > 2048 {
		t.Errorf("%d entries, want at most 2048", n)
	}
	asked := s.count("GatewayViewer")
	if _, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey)); err != nil {
		t.Fatal(err)
	}
	if s.count("GatewayViewer") != asked {
		t.Error("the good key was pushed out")
	}
}

func TestForgetCredential(t *testing.T) {
	s := newFakeServer()
	s.viewers[basic(aliceKey)] = alice
	d := directory(t, s)
	p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.Principal(p.Ref); err != nil || got != p {
		t.Errorf("by reference: %v, %v", got, err)
	}
	s.set(func(s *fakeServer) { delete(s.viewers, basic(aliceKey)) })
	d.ForgetCredential(apiKey(aliceKey))
	_, err = d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
	wantKind(t, err, iam.KindUnauthenticated)
	_, err = d.Principal(p.Ref)
	wantKind(t, err, iam.KindUnavailable) // tickets of theirs no longer count
}

func TestPrincipalByReferenceIsKeptForADay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newFakeServer()
		s.viewers[basic(aliceKey)] = alice
		d := directory(t, s)
		p, err := d.PrincipalByCredential(t.Context(), apiKey(aliceKey))
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(seenLimit - 1)
		if _, err := d.Principal(p.Ref); err != nil {
			t.Error(err)
		}
		time.Sleep(time.Nanosecond)
		_, err = d.Principal(p.Ref)
		wantKind(t, err, iam.KindUnavailable)
	})
}

func TestIdsNeverMeet(t *testing.T) {
	seen := map[string]string{}
	for what, id := range map[string]string{
		"by id":               string(userID("alice")),
		"by name":             string(userIDByName("alice")),
		"service account":     serviceAccountPrefix + "alice",
		"id with @":           string(userID("@alice")),
		"id with %":           string(userID("%40alice")),
		"team":                string(TeamID("alice")),
		"team with colon":     string(TeamID("a:b")),
		"project":             string(projectID("a", "b")),
		"project with colon":  string(projectID("a:b", "")),
		"project with escape": string(projectID("a%3ab", "")),
		"local":               string(iam.NewUserID()),
	} {
		if other, ok := seen[id]; ok {
			t.Errorf("%s and %s are both %s", what, other, id)
		}
		seen[id] = what
	}
	if ref, err := iam.ParsePrincipalRef(userID("a:b").Ref().String()); err != nil || ref != userID("a:b").Ref() {
		t.Errorf("the reference does not survive: %v, %v", ref, err)
	}
}

func TestNewRefuses(t *testing.T) {
	parse := func(s string) *url.URL { u, _ := url.Parse(s); return u }
	for name, c := range map[string]Config{
		"no URL":          {Organization: "acme"},
		"no host":         {URL: parse("https://"), Organization: "acme"},
		"no scheme":       {URL: parse("wandb.internal"), Organization: "acme"},
		"another scheme":  {URL: parse("ftp://wandb.internal"), Organization: "acme"},
		"password in it":  {URL: parse("https://u:hunter2@wandb.internal"), Organization: "acme"},
		"query":           {URL: parse("https://wandb.internal?x=1"), Organization: "acme"},
		"no organization": {URL: parse("https://wandb.internal")},
		"negative bound":  {URL: parse("https://wandb.internal"), Organization: "acme", Hits: -1},
		"negative number": {URL: parse("https://wandb.internal"), Organization: "acme", MaxEntries: -1},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(c)
			if err == nil {
				t.Fatal("accepted")
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("%v contains the password", err)
			}
		})
	}
}
