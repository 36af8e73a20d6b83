package tests

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// recorder is an upstream that notes what reaches it and answers what a test tells it to.
type recorder struct {
	*httptest.Server

	mu       sync.Mutex
	requests []received
	answer   func(received) (status int, contentType, body string)
}

// received is one request as the upstream saw it.
type received struct {
	method, target string
	header         http.Header
	trailer        http.Header
	body           string
}

func newRecorder(t *testing.T) *recorder {
	r := &recorder{}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		var body bytes.Buffer
		io.Copy(&body, req.Body)
		got := received{req.Method, req.RequestURI, req.Header.Clone(), req.Trailer.Clone(), body.String()}
		r.mu.Lock()
		r.requests = append(r.requests, got)
		answer := r.answer
		r.mu.Unlock()
		status, contentType, text := http.StatusOK, "application/json", `{"data":{}}`
		if answer != nil {
			status, contentType, text = answer(got)
		}
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, text)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) host() string { return strings.TrimPrefix(r.URL, "http://") }

// says makes the recorder answer in one way from now on.
func (r *recorder) says(answer func(received) (status int, contentType, body string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// take returns what arrived since the last call.
func (r *recorder) take() []received {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.requests
	r.requests = nil
	return slices.Clone(got)
}
