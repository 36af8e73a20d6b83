package standin

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
)

// maxDocument bounds a GraphQL body (design section 9).
const maxDocument = 32 << 20

// call is one GraphQL request while it is executed. Server.mu is held all the time.
type call struct {
	caller
	server *Server
	state  *state
	// base is scheme and host that the client used, for URLs in answers.
	base string
}

type graphqlBody struct {
	Query         string         `json:"query"`
	Variables     map[string]any `json:"variables"`
	OperationName string         `json:"operationName"`
}

func (s *Server) serveGraphQL(w http.ResponseWriter, r *http.Request) {
	var body graphqlBody
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxDocument))
	d.UseNumber()
	if err := d.Decode(&body); err != nil {
		status := http.StatusBadRequest
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			status = http.StatusRequestEntityTooLarge
		}
		writeAnswer(w, refused(status, "body is not a GraphQL request: %v", err))
		return
	}
	doc, op, err := operation(body.Query, body.OperationName)
	if err != nil {
		writeAnswer(w, refused(http.StatusBadRequest, "%v", err))
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	who, err := s.identify(r)
	if err != nil {
		writeAnswer(w, refused(http.StatusUnauthorized, "%v", err))
		return
	}
	c := &call{caller: who, server: s, state: s.state, base: baseURL(r)}
	writeAnswer(w, execute(c, doc, op, body.Variables))
}

func writeAnswer(w http.ResponseWriter, a answer) {
	writeJSON(w, a.status, a)
}

// writeError answers outside GraphQL with the body that every SDK can show.
func writeError(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, map[string]any{"error": message, "errors": []graphqlError{{Message: message}}})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}

// baseURL is where the client thinks it is: the gateway's address when one stands in front.
func baseURL(r *http.Request) string {
	scheme, host := "http", r.Host
	if r.TLS != nil {
		scheme = "https"
	}
	if proto := r.Header.Get("X-Forwarded-Proto"); proto == "http" || proto == "https" {
		scheme = proto
	}
	if forwarded, _, _ := strings.Cut(r.Header.Get("X-Forwarded-Host"), ","); forwarded != "" {
		host = strings.TrimSpace(forwarded)
	}
	return scheme + "://" + host
}
