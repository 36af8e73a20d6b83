// Package problem is the one translation from the gateway's errors to what a caller reads. Inside,
// errors are iam.Errors with a kind, a reason code and a cause; outside, they are a status and a
// body that every W&B client shows in full. Nothing of a cause crosses.
package problem

import (
	"cmp"
	"encoding/json"
	"errors"
	"html/template"
	"net/http"
	"strconv"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Problem is a refusal as the caller sees it.
type Problem struct {
	Status  int
	Code    string // coarse, upper case: FORBIDDEN, UNAVAILABLE, ...
	Reason  iam.Reason
	Message string
	// RequestID leads from what the user reads to the gateway's log.
	RequestID string
	// RetryAfter is when it makes sense to try again; 0 if it never does.
	RetryAfter time.Duration
	// Challenge is the WWW-Authenticate of a 401, without which RFC 9110 forbids the status.
	Challenge string
}

// The reasons that carry a status of their own, because the kind alone does not say enough.
const (
	ReasonMethodNotAllowed     iam.Reason = "method_not_allowed"
	ReasonUnsupportedMediaType iam.Reason = "unsupported_media_type"
	ReasonMisdirected          iam.Reason = "misdirected_host"
	ReasonNotImplemented       iam.Reason = "not_implemented"
	ReasonPreconditionFailed   iam.Reason = "precondition_failed"
)

// retryAfter is the wait that a 503 or 429 asks for unless the error knows better. The SDK takes it as it is, without a cap
// (sdk-wire 5.1), so it is short.
const retryAfter = 2 * time.Second

// From translates an error. An error that is no iam.Error becomes a 500 that says nothing.
func From(err error) Problem {
	inner, ok := errors.AsType[*iam.Error](err)
	if !ok || inner.Kind == iam.KindInternal {
		return Problem{
			Status: http.StatusInternalServerError, Code: "INTERNAL", Reason: "internal",
			Message: "The gateway failed while handling this request. Nothing was forwarded; the request id leads to the cause in its log.",
		}
	}
	p := Problem{Reason: inner.Reason, Message: inner.Message}
	p.Status, p.Code = status(inner)
	switch p.Status {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		p.RetryAfter = cmp.Or(inner.RetryAfter, retryAfter)
	case http.StatusUnauthorized:
		p.Challenge = `Basic realm="W&B API key", charset="UTF-8"`
	}
	return p
}

func status(e *iam.Error) (int, string) {
	switch e.Reason {
	case ReasonMethodNotAllowed:
		return http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED"
	case ReasonUnsupportedMediaType:
		return http.StatusUnsupportedMediaType, "UNSUPPORTED_MEDIA_TYPE"
	case ReasonMisdirected:
		return http.StatusMisdirectedRequest, "MISDIRECTED"
	case ReasonNotImplemented:
		return http.StatusNotImplemented, "NOT_IMPLEMENTED"
	case ReasonPreconditionFailed:
		return http.StatusPreconditionFailed, "PRECONDITION_FAILED"
	}
	switch e.Kind {
	case iam.KindInvalid:
		return http.StatusBadRequest, "BAD_REQUEST"
	case iam.KindUnauthenticated:
		return http.StatusUnauthorized, "UNAUTHENTICATED"
	case iam.KindDenied:
		return http.StatusForbidden, "FORBIDDEN"
	case iam.KindNotFound:
		return http.StatusNotFound, "NOT_FOUND"
	case iam.KindConflict:
		return http.StatusConflict, "CONFLICT"
	case iam.KindUnavailable:
		return http.StatusServiceUnavailable, "UNAVAILABLE"
	case iam.KindTooLarge:
		return http.StatusRequestEntityTooLarge, "TOO_LARGE"
	case iam.KindTooMany:
		return http.StatusTooManyRequests, "TOO_MANY_REQUESTS"
	default:
		return http.StatusInternalServerError, "INTERNAL"
	}
}

type (
	extensions struct {
		Code      string     `json:"code"`
		Reason    iam.Reason `json:"reason"`
		RequestID string     `json:"request_id,omitempty"`
	}
	graphQLError struct {
		Message    string     `json:"message"`
		Extensions extensions `json:"extensions"`
	}
	body struct {
		Errors []graphQLError `json:"errors"`
		Error  string         `json:"error"`
	}
)

// JSON returns the body for everything that is not a person at a browser. `errors` feeds the
// clients' GraphQL layer, `error` their other requests and their progress lines, which look at the
// first 1024 bytes only: the text comes first (sdk-wire 5.2).
func (p Problem) JSON() []byte {
	b, err := json.Marshal(body{
		Errors: []graphQLError{{Message: p.Message, Extensions: extensions{p.Code, p.Reason, p.RequestID}}},
		Error:  p.Message,
	})
	if err != nil { // only strings are inside: they always marshal
		return []byte(`{"error":"internal"}`)
	}
	return b
}

// GraphQL returns the answer with status 200 that says what is wrong with a request which a GraphQL server
// would take: every root field, by response key, is null.
func (p Problem) GraphQL(roots []string) []byte {
	data := make(map[string]any, len(roots))
	for _, key := range roots {
		data[key] = nil
	}
	b, err := json.Marshal(struct {
		Data   map[string]any `json:"data"`
		Errors []graphQLError `json:"errors"`
	}{data, []graphQLError{{Message: p.Message, Extensions: extensions{p.Code, p.Reason, p.RequestID}}}})
	if err != nil { // only strings are inside: they always marshal
		return []byte(`{"data":null}`)
	}
	return b
}

// WriteJSON answers with the problem as JSON.
func (p Problem) WriteJSON(w http.ResponseWriter) {
	b := p.JSON()
	p.header(w.Header(), "application/json", len(b))
	w.WriteHeader(p.Status)
	w.Write(b)
}

// page needs no script, image or font, so that its policy can forbid everything. It looks like the pages
// of sign-in.
var page = template.Must(template.New("problem").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{.Title}} – W&amp;B gateway</title>
<style>
:root{color-scheme:light dark;--page:#f6f7f9;--card:#fff;--text:#1a1c1f;--faint:#5b6470;--line:#8a929c}
@media (prefers-color-scheme:dark){:root{--page:#131416;--card:#1e2023;--text:#e8eaed;--faint:#a9b1bb;--line:#7d8590}}
body{margin:0;background:var(--page);color:var(--text);font:1rem/1.5 system-ui,sans-serif}
main{box-sizing:border-box;max-width:30rem;margin:8vh auto;padding:1.5rem;background:var(--card);border:1px solid var(--line);border-radius:.75rem}
h1{font-size:1.375rem;line-height:1.25;margin:0 0 1rem}
p{margin:1rem 0 0;overflow-wrap:anywhere}
small{color:var(--faint)}
@media (max-width:32rem){main{margin:0;min-height:100vh;border:0;border-radius:0}}
</style>
<main>
<h1>{{.Title}}</h1>
<p>{{.Message}}</p>
{{with .RequestID}}<p><small>Request id: <code>{{.}}</code></small></p>{{end}}
</main>
</html>
`))

// WriteHTML answers with the problem as a small page.
func (p Problem) WriteHTML(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	// A challenge would open the browser's own password prompt, which no person can answer.
	p.Challenge = ""
	p.header(h, "text/html; charset=utf-8", -1)
	w.WriteHeader(p.Status)
	page.Execute(w, struct {
		Title, Message, RequestID string
	}{http.StatusText(p.Status), p.Message, p.RequestID})
}

func (p Problem) header(h http.Header, contentType string, length int) {
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if length >= 0 {
		h.Set("Content-Length", strconv.Itoa(length))
	}
	if p.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int((p.RetryAfter+time.Second-1)/time.Second)))
	}
	if p.Challenge != "" {
		h.Set("Www-Authenticate", p.Challenge)
	}
}
