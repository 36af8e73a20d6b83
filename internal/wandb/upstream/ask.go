package upstream

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// maxAnswerBytes bounds what is read of an answer, after decompression (threats D17).
const maxAnswerBytes = 1 << 20

// maxHeaderBytes bounds an answer's header in the same way.
const maxHeaderBytes = 64 << 10

// What an answer as a whole can say besides its data. They are matched with errors.Is and never
// reach a caller.
var (
	errRefused      = errors.New("the server does not know the credential (401)")
	errForbidden    = errors.New("the server forbids it (403)")
	errNotFound     = errors.New("the server finds nothing (404)")
	errUnknownField = errors.New("the server does not know a field of the question")
	errTooLarge     = fmt.Errorf("the answer is larger than %d bytes", maxAnswerBytes)
)

// questions are all that the server is ever asked.
type questions struct {
	viewer, entity, project, members, people question
	homes                                    map[wandb.IDType]*question
}

func newQuestions() questions {
	return questions{
		viewer:  question{wordings: viewerWordings},
		entity:  question{wordings: entityWordings},
		project: question{wordings: projectWordings},
		members: question{wordings: memberWordings},
		people:  question{wordings: peopleWordings},
		homes:   homeQuestions(),
	}
}

// question is a GraphQL query in one or more wordings, the fullest first. Servers differ in age: one
// that does not know a field of a wording is asked the next one, and from then on for a while at
// once.
type question struct {
	wordings []string
	// start is the wording to begin with, and until when, in one word: set and read together.
	start atomic.Pointer[wordingStart]
}

type wordingStart struct {
	index int
	until time.Time
}

// wordingTTL is how long a poorer wording is kept. Then the fullest is tried again, because servers
// are upgraded.
const wordingTTL = time.Hour

func (q *question) first() int {
	if s := q.start.Load(); s != nil && time.Now().Before(s.until) {
		return s.index
	}
	return 0
}

// ask puts a question to the server in somebody's name and returns what it said. An error is one of
// the err values above or an iam.KindUnavailable.
func (d *Directory) ask(ctx context.Context, who asker, q *question, variables map[string]string) (reply, error) {
	r, err := d.askInTurn(ctx, who, q, variables)
	if d.report != nil {
		d.report(outcomeOf(err))
	}
	return r, err
}

func (d *Directory) askInTurn(ctx context.Context, who asker, q *question, variables map[string]string) (reply, error) {
	for i := 0; ; i++ {
		end, ok := d.turns.wait(ctx, who.line())
		if !ok {
			return reply{}, d.busy(ctx.Err())
		}
		first := q.first() // read when the turn has come: those before may have found out
		if i = max(i, first); i == len(q.wordings) {
			end()
			break
		}
		r, err := d.post(ctx, who, q.wordings[i], variables)
		end()
		if errors.Is(err, errUnknownField) {
			continue
		}
		if err == nil && i > first {
			q.start.Store(&wordingStart{index: i, until: time.Now().Add(wordingTTL)})
		}
		return r, err
	}
	q.start.Store(nil)
	return reply{}, d.unavailable("does not know the fields that the gateway asks for; is it a W&B server?", errUnknownField, 0)
}

// post sends one request and sorts its answer.
func (d *Directory) post(ctx context.Context, who asker, wording string, variables map[string]string) (reply, error) {
	body, err := json.Marshal(map[string]any{"query": wording, "variables": variables})
	if err != nil { // strings only
		return reply{}, d.unavailable("cannot be asked", err, 0)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, d.endpoint, bytes.NewReader(body))
	if err != nil {
		return reply{}, d.unavailable("cannot be asked", err, 0)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "wandb-gateway")
	// wandb.Api() sends this with every request of every user (sdk-wire 1.4). Without it the server
	// shows an administrator less than the same key would see through the gateway.
	req.Header.Set("Use-Admin-Privileges", "true")
	present(req.Header, who.credential)

	res, err := d.client.Do(req)
	if err != nil {
		return reply{}, d.notAnswering(err)
	}
	defer res.Body.Close()
	answered, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes+1))
	if err != nil {
		return reply{}, d.notAnswering(err)
	}
	return d.read(res, answered)
}

// present shows the server exactly the credential that the caller showed us.
func present(h http.Header, c iam.Credential) {
	switch c.Kind {
	case iam.CredentialAPIKey, iam.CredentialToken:
		if c.Bearer {
			h.Set("Authorization", "Bearer "+c.Secret.Reveal())
			return
		}
		h.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte("api:"+c.Secret.Reveal())))
	case iam.CredentialCookie:
		h.Set("Cookie", c.Secret.Reveal())
	case iam.NoCredential, iam.CredentialTicket:
		// Nothing that the server could know.
	default:
		// A kind without a rule is shown to nobody.
	}
}

// read sorts an answer by its status. Everything that is not clearly the server's word is
// unavailable: login pages, proxies' errors and half answers say nothing about the caller.
func (d *Directory) read(res *http.Response, body []byte) (reply, error) {
	status := res.StatusCode
	if len(body) > maxAnswerBytes {
		return reply{}, d.unavailable("sent an answer larger than 1 MiB", errTooLarge, 0)
	}
	r, err := parseReply(body)
	cause := func() error { return describe(res, body, err) }
	switch {
	case status == http.StatusUnauthorized:
		return reply{}, errRefused
	case status == http.StatusTooManyRequests:
		return reply{}, d.unavailable("limits the rate of requests (429)", cause(), retryAfter(res.Header))
	case status >= 500:
		return reply{}, d.unavailable(fmt.Sprintf("failed with status %d", status), cause(), retryAfter(res.Header))
	case status >= 300 && status < 400:
		return reply{}, d.unavailable("answers with a redirect, which the gateway does not follow with a credential; "+
			"`directory wandb` must name the server's own address", cause(), 0)
	case err != nil || !mayBeJSON(res.Header.Get("Content-Type")):
		return reply{}, d.unavailable("answered something that is not a GraphQL answer; "+
			"`directory wandb` must name a W&B server", cause(), 0)
	case r.unknownField():
		return reply{}, fmt.Errorf("%w: %s", errUnknownField, r.firstMessage())
	case status == http.StatusForbidden && len(r.Errors) > 0:
		return reply{}, fmt.Errorf("%w: %s", errForbidden, r.firstMessage())
	case status == http.StatusNotFound && len(r.Errors) > 0:
		return reply{}, fmt.Errorf("%w: %s", errNotFound, r.firstMessage())
	case status != http.StatusOK:
		return reply{}, d.unavailable(fmt.Sprintf("answered with status %d", status), cause(), 0)
	}
	return r, nil
}

// mayBeJSON reports whether a body of that type can be the word of a GraphQL server. Some name no type,
// or plain text; what calls itself a page or a picture was not written by one, whatever it holds.
func mayBeJSON(contentType string) bool {
	if contentType == "" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case err != nil:
		return false
	case media == "text/plain", media == "text/json", media == "application/octet-stream":
		return true
	default:
		return media == "application/json" || strings.HasSuffix(media, "+json")
	}
}

// reply is the envelope of a GraphQL answer.
type reply struct {
	// Data maps root fields to what stands in them. Nil when the whole is null or missing.
	Data   map[string]json.RawMessage `json:"data"`
	Errors []replyError               `json:"errors"`
}

type replyError struct {
	Message    string `json:"message"`
	Path       []any  `json:"path"`
	Extensions struct {
		Code any `json:"code"`
	} `json:"extensions"`
}

// parseReply reads a whole answer. One that has neither data nor errors is none.
func parseReply(body []byte) (reply, error) {
	var r reply
	if err := json.Unmarshal(body, &r); err != nil {
		return reply{}, err
	}
	if r.Data == nil && len(r.Errors) == 0 {
		return reply{}, errors.New("neither data nor errors")
	}
	return r, nil
}

func (r reply) firstMessage() string {
	if len(r.Errors) == 0 {
		return ""
	}
	return clip(r.Errors[0].Message)
}

// unknownField reports whether the server refused the question's wording, in the words that every
// GraphQL implementation took over from the reference one.
func (r reply) unknownField() bool {
	for _, e := range r.Errors {
		if strings.Contains(e.Message, "Cannot query field") || strings.Contains(e.Message, "Unknown argument") {
			return true
		}
	}
	return false
}

// root returns what stands in a root field. absent means that the server says there is nothing that
// the caller may see. Anything else is an error: a null because of a failure is no answer.
func (r reply) root(name string) (value json.RawMessage, absent bool, err error) {
	value, ok := r.Data[name]
	if ok && !isNull(value) {
		return value, false, nil
	}
	denials := 0
	for _, e := range r.Errors {
		if !e.concerns(name) {
			continue
		}
		if !e.denies() {
			return nil, false, fmt.Errorf("%s is missing: %s", name, clip(e.Message))
		}
		denials++
	}
	if !ok && denials == 0 {
		return nil, false, fmt.Errorf("%s is missing", name)
	}
	return nil, true, nil
}

// errorIn returns the first error that concerns a root field, whether or not there is data.
func (r reply) errorIn(name string) error {
	for _, e := range r.Errors {
		if e.concerns(name) {
			return errors.New(clip(e.Message))
		}
	}
	return nil
}

// unauthenticated reports whether all errors say that nobody is signed in, as servers do beside a viewer
// that is null, and in place of 401.
func (r reply) unauthenticated() bool {
	for _, e := range r.Errors {
		switch code := fmt.Sprint(e.Extensions.Code); strings.ToUpper(code) {
		case "UNAUTHENTICATED", "401":
			continue
		}
		if message := strings.ToLower(e.Message); !strings.Contains(message, "not logged in") && !strings.Contains(message, "unauthenticated") {
			return false
		}
	}
	return len(r.Errors) > 0
}

// concerns reports whether the error is about a root field. One without a path is about all.
func (e replyError) concerns(root string) bool {
	if len(e.Path) == 0 {
		return true
	}
	name, ok := e.Path[0].(string)
	return !ok || name == root
}

// denies reports whether the error says that the caller may not see something or that it is not
// there, which the server words in several ways (VIS-19).
func (e replyError) denies() bool {
	switch code := fmt.Sprint(e.Extensions.Code); strings.ToUpper(code) {
	case "FORBIDDEN", "PERMISSION_DENIED", "NOT_FOUND", "403", "404":
		return true
	}
	message := strings.ToLower(e.Message)
	for _, words := range []string{"permission", "not found", "does not exist", "could not find", "forbidden", "access denied"} {
		if strings.Contains(message, words) {
			return true
		}
	}
	return false
}

func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
