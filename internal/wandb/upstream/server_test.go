package upstream

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// fakeServer is a W&B server as far as this package asks it. It is its own RoundTripper, so that
// tests run on synctest's clock, and an http.Handler, so that they can run on a real connection.
type fakeServer struct {
	mu       sync.Mutex
	viewers  map[string]string // Authorization or Cookie header -> viewer object; absent is null
	projects map[string]string // asker's header + " " + entity/project -> project object
	entities map[string]string // asker's header + " " + entity -> entity object
	members  map[string]string // entity -> members array
	lists    map[string]string // asker's header + " " + entity -> members array, before members; a status fails
	homes    map[string]string // id -> object under `it`
	asked    []fakeQuestion

	// bad answers instead, when set.
	bad http.HandlerFunc
	// delay is how long an answer takes.
	delay time.Duration
	// lacks are fields that this server does not know.
	lacks []string
}

type fakeQuestion struct {
	header    http.Header
	path      string
	query     string
	variables map[string]string
}

func newFakeServer() *fakeServer {
	return &fakeServer{
		viewers: map[string]string{}, projects: map[string]string{}, entities: map[string]string{},
		members: map[string]string{}, lists: map[string]string{}, homes: map[string]string{},
	}
}

func basic(key string) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth("api", key)
	return r.Header.Get("Authorization")
}

func (s *fakeServer) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	delay := s.delay
	s.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Result(), nil
}

func (s *fakeServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		Query     string            `json:"query"`
		Variables map[string]string `json:"variables"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, fakeQuestion{r.Header.Clone(), r.URL.Path, q.Query, q.Variables})
	if s.bad != nil {
		s.bad(w, r)
		return
	}
	for _, field := range s.lacks {
		if strings.Contains(q.Query, " "+field+" ") {
			w.WriteHeader(http.StatusBadRequest)
			answerJSON(w, `{"errors":[{"message":"Cannot query field \"`+field+`\" on type \"T\"."}]}`)
			return
		}
	}
	who := r.Header.Get("Authorization") + r.Header.Get("Cookie")
	entity, project := q.Variables["entity"], q.Variables["project"]
	or := func(object string) string {
		if object == "" {
			return "null"
		}
		return object
	}
	data := ""
	switch {
	case strings.Contains(q.Query, "viewer"):
		data = `"viewer":` + or(s.viewers[who])
	case strings.Contains(q.Query, "members"):
		list, ok := s.lists[who+" "+entity]
		if !ok {
			list = s.members[entity]
		}
		if len(list) == 3 {
			status, _ := strconv.Atoi(list)
			w.WriteHeader(status)
			answerJSON(w, `{"errors":[{"message":"permission denied"}]}`)
			return
		}
		data = `"entity":{"members":` + or(list) + `}`
	case strings.Contains(q.Query, "it:"):
		data = `"it":` + or(s.homes[q.Variables["id"]])
	case strings.Contains(q.Query, "project("):
		data = `"project":` + or(s.projects[who+" "+entity+"/"+project]) + `,"entity":` + or(s.entities[who+" "+entity])
	default:
		data = `"entity":` + or(s.entities[who+" "+entity])
	}
	answerJSON(w, `{"data":{`+data+`}}`)
}

func answerJSON(w http.ResponseWriter, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.Write([]byte(body))
}

// set changes the server while it is asked.
func (s *fakeServer) set(change func(*fakeServer)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// count is how many questions contained the word.
func (s *fakeServer) count(word string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, q := range s.asked {
		if strings.Contains(q.query, word) {
			n++
		}
	}
	return n
}

// The people and keys of most tests.
const (
	aliceKey = "local-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	bobKey   = "local-bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	rootKey  = "local-cccccccccccccccccccccccccccccccccccccccc"

	alice = `{"id":"VXNlcjox","username":"alice","email":"alice@acme.test","name":"Alice","admin":false,"entity":"vision","deletedAt":null,"teams":{"edges":[{"node":{"name":"vision"}}]}}`
	bob   = `{"id":"VXNlcjoy","username":"bob","email":"bob@acme.test","name":"Bob","admin":false,"entity":"bob","deletedAt":null,"teams":{"edges":[]}}`
)

func apiKey(key string) iam.Credential {
	return iam.Credential{Kind: iam.CredentialAPIKey, Secret: iam.NewSecret(key)}
}

// directory returns a Directory in front of s. Its look-ups are as fast as s answers.
func directory(t testing.TB, s http.RoundTripper, change ...func(*Config)) *Directory {
	t.Helper()
	c := Config{
		URL:              &url.URL{Scheme: "https", Host: "wandb.internal:8443"},
		Client:           &http.Client{Transport: s},
		Organization:     "acme",
		LookupsPerSecond: 1 << 20,
	}
	for _, f := range change {
		f(&c)
	}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func withAdmin(c *Config) { c.AdminKey = iam.NewSecret(rootKey) }

// wantKind fails unless err is of that kind.
func wantKind(t *testing.T, err error, kind iam.Kind) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want kind %d", kind)
	}
	if got := iam.KindOf(err); got != kind {
		t.Fatalf("kind %d (%v), want %d", got, err, kind)
	}
}

// bodyOf returns what a question asks and leaves it to be read again.
func bodyOf(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err.Error()
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	return string(body)
}
