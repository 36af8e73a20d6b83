package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// maxAnswerBytes bounds an answer that is read. Only answers that are small by nature are: what a
// mutation made, lists of projects and of upload URLs.
const maxAnswerBytes = 64 << 20

// answerOptions says what is to be learned from the answer and changed in it.
func (x *exchange) answerOptions(own map[string]json.RawMessage) wandb.AnswerOptions {
	// Where the upstream judges too, an id that cannot be placed is its to refuse: only what a
	// mutation made or changed must be learned, because it contradicts what was cached.
	o := wandb.AnswerOptions{Own: own, Ticket: x.uploadTicket, Learn: (x.g.soleJudge || x.call.Mutation()) && !x.nothingNew(), Placed: x.placed}
	if x.g.soleJudge {
		o.Keep = x.keep
	}
	if x.g.Accounts != nil && x.caller.Principal != nil {
		o.Members = x.membersOf
	}
	if !x.g.ServerSignIn { // which lets reads without a credential pass: the server checks its own signature
		o.Download = x.downloadWithTicket
	}
	if len(x.withheld) > 0 {
		o.Redact = func(a wandb.Access) bool { return slices.Contains(x.withheld, a) }
	}
	return o
}

// nothingNew reports whether the answer cannot tell anything that is not known: a run is updated in a
// project that is recorded, as running clients do all the time. Such an answer streams through.
func (x *exchange) nothingNew() bool {
	if !x.call.Only("upsertBucket") {
		return false
	}
	for i := range x.facts {
		if x.facts[i].facts.Project == nil {
			return false
		}
	}
	return true
}

// uploadTicket mints a ticket when all these uploads will come back to this host.
func (x *exchange) uploadTicket(urls []string) (string, bool) {
	if x.caller.Principal == nil || !x.comesBack(urls...) {
		return "", false
	}
	return x.g.Tickets.Mint(forUpload, x.caller.Principal, urls)
}

// downloadWithTicket returns the URL with a ticket in it when the download will come back to this host.
func (x *exchange) downloadWithTicket(url string) (string, bool) {
	if x.caller.Principal == nil || !x.comesBack(url) {
		return "", false
	}
	ticket, ok := x.g.Tickets.Mint(forDownload, x.caller.Principal, []string{url})
	if !ok {
		return "", false
	}
	return withTicket(url, ticket), true
}

// comesBack reports whether requests for these URLs go to the host that this request came to.
func (x *exchange) comesBack(urls ...string) bool {
	for _, u := range urls {
		parsed, err := url.Parse(u)
		if err != nil || !strings.EqualFold(parsed.Host, x.r.Host) {
			return false
		}
	}
	return true
}

// keep decides whether a list may show a project. When nobody can tell, the project is not shown,
// and the request fails as a whole: half a list would be taken for the whole one.
func (x *exchange) keep(entity, project string) bool {
	if entity == "" {
		entity = x.listedEntity()
	}
	ok, err := x.mayList(entity, project)
	if err != nil && x.listError == nil {
		x.listError = err
	}
	return ok && err == nil
}

// listedEntity is the entity of a list whose nodes do not tell it: the only one that the request
// names. A list across entities that does not tell them shows nothing.
func (x *exchange) listedEntity() string {
	only := ""
	for i := range x.facts {
		switch entity := x.facts[i].entity; {
		case x.facts[i].project != "" || entity == "" || entity == only:
		case only != "":
			return ""
		default:
			only = entity
		}
	}
	return only
}

// observe sends the request on, and reads and changes the answer on its way back.
func (x *exchange) observe(options wandb.AnswerOptions) error {
	// The answer must come as it is meant to be read. What the gateway writes is small.
	delete(x.r.Header, "Accept-Encoding")
	recorder := &answerRecorder{ResponseWriter: x.w}
	if err := x.pass(recorder); err != nil {
		return err
	}
	if !recorder.held {
		return nil // not a GraphQL answer, and already written
	}
	if recorder.overflow {
		clear(x.w.Header())
		return fail(iam.Unavailable("The W&B server's answer is larger than the gateway can judge (64 MiB). Ask for less at a time.", nil))
	}
	out, learned, err := x.call.Answer(recorder.body.Bytes(), options)
	if err == nil {
		err = x.listError
	}
	if err == nil && len(learned) > 0 {
		// Recorded before the client hears of it: what was acknowledged is not lost.
		err = x.g.Directory.Learn(x.r.Context(), x.caller, learned)
		if x.g.Shadow && iam.KindOf(err) == iam.KindInvalid {
			// It is not to be so, which would have been refused: the record stays as it is.
			x.event.Shadowed, x.event.Reason, err = true, iam.ReasonOf(err), nil
		}
	}
	if err != nil {
		clear(x.w.Header()) // they belong to the answer that is not given
		return fail(err)
	}
	h := x.w.Header()
	h.Set("Content-Length", strconv.Itoa(len(out)))
	h.Del("Etag") // of a body that we may have changed
	x.w.WriteHeader(http.StatusOK)
	_, err = x.w.Write(out)
	return err
}

// answerRecorder holds back a GraphQL answer, and lets everything else through as it comes.
type answerRecorder struct {
	http.ResponseWriter
	decided, held, overflow bool
	body                    bytes.Buffer
}

// WriteHeader implements http.ResponseWriter.
func (a *answerRecorder) WriteHeader(status int) {
	if status < 200 { // 1xx: informational
		a.ResponseWriter.WriteHeader(status)
		return
	}
	if a.decided {
		return
	}
	a.decided = true
	a.held = status == http.StatusOK
	if !a.held {
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write implements io.Writer.
func (a *answerRecorder) Write(p []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	if !a.held {
		return a.ResponseWriter.Write(p)
	}
	if a.overflow || a.body.Len()+len(p) > maxAnswerBytes {
		a.overflow = true
		a.body.Reset()
		return len(p), nil
	}
	return a.body.Write(p)
}

// Flush implements http.Flusher: nothing leaves before the whole was read.
func (a *answerRecorder) Flush() {
	if a.decided && !a.held {
		http.NewResponseController(a.ResponseWriter).Flush()
	}
}

// writeGraphQL answers a call of which nothing had to go upstream.
func writeGraphQL(w http.ResponseWriter, body []byte) error {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
	_, err := w.Write(body)
	return err
}
