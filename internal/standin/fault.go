package standin

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault makes the server misbehave for matching requests. The zero value matches everything and
// does nothing.
type Fault struct {
	// Root, Method and Prefix narrow the match to a GraphQL root field, a method and the
	// beginning of the path; empty matches all. Match narrows it further.
	Root   string
	Method string
	Prefix string
	Match  func(Request) bool
	// Times bounds how often the fault strikes; 0 is without end.
	Times int

	// Delay passes before anything else happens.
	Delay time.Duration
	// Hang never answers until the client or the server goes away. Close drops the connection.
	Hang, Close bool
	// Status, when set, is answered with Header and Body instead of serving the request.
	Status int
	Header http.Header
	Body   string
	// Cut announces more bytes than Body has and then drops the connection: half an answer.
	Cut bool
}

// Ready-made bodies for faults that tests keep asking for.
const (
	HTMLPage = "<!doctype html><title>Sign in</title><h1>Sign in to continue</h1>"
	HalfJSON = `{"data":{"viewer":{"id":"VXNlc`
	NullData = `{"data":null}`
)

type faults struct {
	mu   sync.Mutex
	list []*Fault
}

// Fail adds a fault; the latest that matches wins. The returned function removes it.
func (s *Server) Fail(f Fault) (remove func()) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	added := &f
	s.faults.list = append(s.faults.list, added)
	return func() { s.faults.remove(added) }
}

func (fs *faults) remove(f *Fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.list = slices.DeleteFunc(fs.list, func(other *Fault) bool { return other == f })
}

// match takes the fault that strikes for the request; nil if none does.
func (fs *faults) match(r *Request) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for i, f := range slices.Backward(fs.list) {
		if !f.matches(*r) {
			continue
		}
		if f.Times == 1 {
			fs.list = slices.Delete(fs.list, i, i+1)
		} else if f.Times > 1 {
			f.Times--
		}
		return f
	}
	return nil
}

func (f *Fault) matches(r Request) bool {
	return (f.Root == "" || r.GraphQL(f.Root)) &&
		(f.Method == "" || r.Method == f.Method) &&
		strings.HasPrefix(r.Path, f.Prefix) &&
		(f.Match == nil || f.Match(r))
}

// serve plays the fault and reports whether the request is answered thereby.
func (f *Fault) serve(w http.ResponseWriter, r *http.Request) bool {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			return true
		}
	}
	switch {
	case f.Hang:
		io.Copy(io.Discard, r.Body) // a client that goes away is only noticed once its body is read
		<-r.Context().Done()
		return true
	case f.Close:
		panic(http.ErrAbortHandler)
	case f.Status == 0:
		return false
	}
	for name, values := range f.Header {
		w.Header()[name] = values
	}
	if f.Cut {
		w.Header().Set("Content-Length", "100000")
	}
	w.WriteHeader(f.Status)
	io.WriteString(w, f.Body)
	if f.Cut {
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	return true
}
