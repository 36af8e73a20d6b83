package standin

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// maxStream bounds a file_stream request (sdk-wire section 6).
const maxStream = 32 << 20

// streamRequest is what a run sends while it goes on (sdk-wire 3.2).
type streamRequest struct {
	Files map[string]struct {
		Offset  int      `json:"offset"`
		Content []string `json:"content"`
	} `json:"files"`
	Uploaded   []string `json:"uploaded"`
	Preempting bool     `json:"preempting"`
	Complete   bool     `json:"complete"`
	ExitCode   *int     `json:"exitcode"`
}

func (s *Server) serveFileStream(w http.ResponseWriter, r *http.Request) {
	body := io.Reader(http.MaxBytesReader(w, r.Body, maxStream))
	if r.Header.Get("Content-Encoding") == "gzip" {
		unzipped, err := gzip.NewReader(body)
		if err != nil {
			writeError(w, http.StatusBadRequest, "the body is not gzip")
			return
		}
		body = io.LimitReader(unzipped, maxStream)
	}
	var sent streamRequest
	if err := json.NewDecoder(body).Decode(&sent); err != nil {
		writeError(w, http.StatusBadRequest, "the body is not a JSON object: "+err.Error())
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	who, err := s.identify(r)
	if err != nil {
		writeError(w, http.StatusUnauthorized, err.Error())
		return
	}
	p := s.state.project(r.PathValue("entity"), r.PathValue("project"))
	if p == nil || !s.mayRead(who, p) {
		writeError(w, http.StatusNotFound, "run not found")
		return
	}
	run := p.run(r.PathValue("run"))
	if run == nil {
		writeError(w, http.StatusNotFound, "run not found")
		return
	}
	if !s.mayWrite(who, p) {
		writeError(w, http.StatusForbidden, "permission denied")
		return
	}
	run.take(sent, now())
	writeJSON(w, http.StatusOK, map[string]any{"stopped": run.stopped})
}

// take adds what a stream request carries. Lines are placed by offset, so that a repeated
// request changes nothing.
func (r *run) take(sent streamRequest, at time.Time) {
	r.heartbeat = at
	for name, chunk := range sent.Files {
		switch name {
		case "wandb-history.jsonl":
			r.history = place(r.history, chunk.Offset, chunk.Content)
		case "wandb-events.jsonl":
			r.events = place(r.events, chunk.Offset, chunk.Content)
		case "output.log":
			r.logs = place(r.logs, chunk.Offset, chunk.Content)
		case "wandb-summary.json":
			if n := len(chunk.Content); n > 0 {
				r.summary = chunk.Content[n-1]
			}
		}
	}
	for _, name := range sent.Uploaded {
		if r.file(name) == nil {
			r.files = append(r.files, &file{run: r, name: name, updated: at})
		}
	}
	switch {
	case sent.ExitCode != nil:
		r.exitCode, r.state = sent.ExitCode, "finished"
		if *sent.ExitCode != 0 {
			r.state = "failed"
		}
	case sent.Preempting:
		r.state = "preempting"
	case r.state != "finished" && r.state != "failed":
		r.state = "running"
	}
}

func place(lines []string, offset int, content []string) []string {
	if offset < 0 || offset > len(lines) {
		offset = len(lines)
	}
	return append(lines[:offset:offset], content...)
}
