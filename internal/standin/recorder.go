package standin

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/vektah/gqlparser/v2/ast"
)

const (
	// maxRecordedBody is how much of a body the record keeps. GraphQL is kept whole up to here.
	maxRecordedBody = 64 << 10
	// maxRecorded is how many requests are kept; the oldest go first.
	maxRecorded = 10_000
)

// Request is one request as it arrived.
type Request struct {
	Time   time.Time
	Method string
	// Target is the request target byte for byte.
	Target string
	Path   string
	Host   string
	Header http.Header
	// Body holds the first 64 KiB.
	Body []byte
	// Operation and Roots say what a GraphQL document asks for: the operation's own name, and
	// its root fields without alias.
	Operation string
	Roots     []string
	Variables map[string]any
	// Status is what was answered; 0 while the request is under way.
	Status int
}

// GraphQL reports whether the request asks for the root field.
func (r Request) GraphQL(root string) bool { return slices.Contains(r.Roots, root) }

// recorder keeps the last requests. The zero value is ready.
type recorder struct {
	mu       sync.Mutex
	requests []*Request
}

// record notes the request. The returned body replaces the request's, which was read in part.
func (rec *recorder) record(r *http.Request) (*Request, io.ReadCloser) {
	head, _ := io.ReadAll(io.LimitReader(r.Body, maxRecordedBody))
	request := &Request{
		Time: time.Now(), Method: r.Method, Target: r.RequestURI, Path: r.URL.Path, Host: r.Host,
		Header: r.Header.Clone(), Body: head,
	}
	if r.URL.Path == "/graphql" {
		request.readDocument()
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	if len(rec.requests) >= maxRecorded {
		rec.requests = slices.Delete(rec.requests, 0, 1)
	}
	rec.requests = append(rec.requests, request)
	rest := struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	return request, rest
}

func (r *Request) readDocument() {
	var body graphqlBody
	if json.Unmarshal(r.Body, &body) != nil {
		return
	}
	doc, op, err := operation(body.Query, body.OperationName)
	if err != nil {
		return
	}
	r.Operation, r.Variables = op.Name, body.Variables
	r.Roots = rootsOf(doc.Fragments, op.SelectionSet, nil, map[string]bool{})
}

// rootsOf lists root fields. A fragment counts once.
func rootsOf(fragments ast.FragmentDefinitionList, set ast.SelectionSet, out []string, spread map[string]bool) []string {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			out = append(out, s.Name)
		case *ast.InlineFragment:
			out = rootsOf(fragments, s.SelectionSet, out, spread)
		case *ast.FragmentSpread:
			if def := fragments.ForName(s.Name); def != nil && !spread[s.Name] {
				spread[s.Name] = true
				out = rootsOf(fragments, def.SelectionSet, out, spread)
			}
		}
	}
	return out
}

func (rec *recorder) done(r *Request, status int) {
	rec.mu.Lock()
	defer rec.mu.Unlock()
	r.Status = status
}

// Requests returns the requests received so far, oldest first, that all filters accept.
func (s *Server) Requests(filters ...func(Request) bool) []Request {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	var out []Request
	for _, r := range s.recorder.requests {
		if !slices.ContainsFunc(filters, func(accept func(Request) bool) bool { return !accept(*r) }) {
			out = append(out, *r)
		}
	}
	return out
}

// ResetRequests forgets the requests received so far.
func (s *Server) ResetRequests() {
	s.recorder.mu.Lock()
	defer s.recorder.mu.Unlock()
	s.recorder.requests = nil
}

// ToRoot, ToPath and From are filters for Requests.
func ToRoot(root string) func(Request) bool {
	return func(r Request) bool { return r.GraphQL(root) }
}

// ToPath accepts requests whose path begins with prefix.
func ToPath(prefix string) func(Request) bool {
	return func(r Request) bool { return strings.HasPrefix(r.Path, prefix) }
}

// ByMethod accepts requests of the method.
func ByMethod(method string) func(Request) bool {
	return func(r Request) bool { return r.Method == method }
}
