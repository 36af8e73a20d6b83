package main

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// upstreamFlag makes the command serve as the upstream, in a process of its own.
const upstreamFlag = "upstream"

// fileSize is the size of the run file that the upstream gives.
const fileSize = 1 << 10

// serveUpstream answers like a W&B server that costs next to nothing.
func serveUpstream(address string) error {
	return (&http.Server{Addr: address, Handler: http.HandlerFunc(answerUpstream)}).ListenAndServe()
}

var (
	runFile = bytes.Repeat([]byte("epochs: 90 #\n.."), fileSize/15+1)[:fileSize]
	bodies  = sync.Pool{New: func() any { return new(bytes.Buffer) }}
)

func answerUpstream(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet:
		answer(w, "text/plain", runFile)
	case r.URL.Path == "/graphql":
		body := bodies.Get().(*bytes.Buffer)
		defer bodies.Put(body)
		body.Reset()
		if _, err := body.ReadFrom(r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, "application/json", answerUpsert(body.Bytes()))
	case strings.HasSuffix(r.URL.Path, "/file_stream"):
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, "application/json", []byte("{}"))
	default:
		http.NotFound(w, r)
	}
}

func answer(w http.ResponseWriter, mediaType string, body []byte) {
	w.Header().Set("Content-Type", mediaType)
	w.Write(body) // one short write: net/http sets Content-Length
}

// answerUpsert answers upsertBucket of a run that exists, with the names that were sent. It finds
// them as writeUpsert wrote them, without the price of parsing JSON.
func answerUpsert(body []byte) []byte {
	entity, project, run := member(body, "entity"), member(body, "project"), member(body, "name")
	return fmt.Appendf(nil, `{"data":{"upsertBucket":{"bucket":{"id":%q,"name":%q,"displayName":"bench",`+
		`"description":"","config":null,"sweepName":null,"historyLineCount":0,`+
		`"project":{"id":%q,"name":%q,"entity":{"id":%q,"name":%q}}},"inserted":false}}}`,
		id("Run:v1", run, project, entity), run, id("Project:v1", project, entity), project, id("Entity", entity), entity)
}

// id makes an opaque id, a different one for each thing, as the server does (sdk-wire 4.4).
func id(kind string, names ...[]byte) string {
	parts := append([][]byte{[]byte(kind)}, names...)
	return base64.StdEncoding.EncodeToString(bytes.Join(parts, []byte(":")))
}

// member returns the value of the first string member of a name.
func member(body []byte, name string) []byte {
	_, rest, _ := bytes.Cut(body, []byte(`"`+name+`":"`))
	value, _, _ := bytes.Cut(rest, []byte(`"`))
	return value
}
