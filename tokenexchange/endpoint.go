package tokenexchange

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// grantType is the one grant that is made here (RFC 7523 section 2.1).
const grantType = "urn:ietf:params:oauth:grant-type:jwt-bearer"

// maxRequestBytes bounds the form: an assertion of 16 KiB, percent-encoded.
const maxRequestBytes = 64 << 10

// Endpoint is the door POST /oidc/token (FED-8 to FED-10).
type Endpoint struct {
	Service *Service
	// Client returns the caller's address; Gateway the gateway's own address as the caller wrote it;
	// RequestID the id under which the server logs the request.
	Client    func(*http.Request) netip.Addr
	Gateway   func(*http.Request) string
	RequestID func(*http.Request) string
}

// ServeHTTP implements http.Handler.
func (e *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	made, event, err := e.exchange(r)
	event.Client, event.RequestID = e.Client(r), e.RequestID(r)
	if err == nil {
		event.Status = http.StatusOK
		writeOAuth(w, http.StatusOK, struct {
			Token    string `json:"access_token"`
			Type     string `json:"token_type"`
			Lifetime int64  `json:"expires_in"`
		}{made.Token.Reveal(), "Bearer", int64(made.Lifetime / time.Second)})
	} else {
		answer := e.refuse(r, event, err)
		event.Status = answer.status
		if event.Err == nil {
			event.Err, event.Reason = err, iam.ReasonOf(err)
		}
		answer.write(w, event.RequestID)
	}
	if e.Service.Report != nil {
		e.Service.Report(event)
	}
}

func (e *Endpoint) exchange(r *http.Request) (*AccessToken, Event, error) {
	form, err := readForm(r)
	if err != nil {
		return nil, Event{}, err
	}
	return e.Service.Exchange(r.Context(), Request{
		// Old SDKs send the token file as it is, with the line's end (sdk-wire 1.3).
		Assertion: iam.NewSecret(strings.TrimSpace(form.Get("assertion"))), ClientID: form.Get("client_id"), Gateway: e.Gateway(r),
	})
}

// refuse chooses the answer to a failed exchange, and counts what was definite.
func (e *Endpoint) refuse(r *http.Request, event Event, err error) *oauthError {
	if answer, ok := errors.AsType[*oauthError](err); ok {
		return answer
	}
	switch iam.KindOf(err) {
	case iam.KindUnauthenticated:
		if e.Service.overLimit(r, event) {
			return &oauthError{status: http.StatusTooManyRequests, code: "temporarily_unavailable", retryAfter: time.Minute,
				description: "Too many identity tokens that are not accepted came from this address or issuer. Stop the job that sends them, mend its token, and wait a minute."}
		}
		return &oauthError{status: http.StatusBadRequest, code: "invalid_grant", description: refusedMessage}
	case iam.KindUnavailable:
		inner, _ := asError(err)
		return &oauthError{status: http.StatusServiceUnavailable, code: "temporarily_unavailable",
			description: inner.Message, retryAfter: max(inner.RetryAfter, retryAfter)}
	default:
		return &oauthError{status: http.StatusInternalServerError, code: "server_error",
			description: "The gateway failed while exchanging the token; the request id leads to the cause in its log."}
	}
}

// retryAfter is the wait that a 503 asks for unless the error knows better: the SDK takes it as it is.
const retryAfter = 2 * time.Second

// overLimit counts a refused exchange against the client's address and, if it is a trusted one, the
// issuer that it names. Valid assertions of either go on being exchanged.
func (s *Service) overLimit(r *http.Request, e Event) bool {
	over := s.Failures.Failed(failure.Client(e.Client))
	if t, err := s.trusted(r.Context(), s.Cache.View(), e.Issuer); err == nil && t != nil {
		over = s.IssuerFailures.Failed(e.Issuer) || over
	}
	return over
}

// readForm reads the request (RFC 6749 section 4.5, appendix B). Parameters come in the body alone and
// once each; scopes do not exist here.
func readForm(r *http.Request) (url.Values, error) {
	if r.Method != http.MethodPost {
		return nil, &oauthError{status: http.StatusMethodNotAllowed, code: "invalid_request", description: "The exchange takes POST."}
	}
	media, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	charset := params["charset"]
	if err != nil || media != "application/x-www-form-urlencoded" || charset != "" && !strings.EqualFold(charset, "utf-8") || r.Header.Get("Content-Encoding") != "" {
		return nil, invalidRequest("The parameters are sent as application/x-www-form-urlencoded, without content encoding.")
	}
	if r.URL.RawQuery != "" {
		return nil, invalidRequest("The parameters are sent in the body, never in the address, where every log would keep them.")
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxRequestBytes+1))
	if err != nil {
		return nil, invalidRequest("The request's body ended too early.")
	}
	if len(body) > maxRequestBytes {
		return nil, &oauthError{status: http.StatusRequestEntityTooLarge, code: "invalid_request", description: "The request is larger than 64 KiB, which no assertion is."}
	}
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, invalidRequest("The body is no form.")
	}
	return form, checkForm(form)
}

func checkForm(form url.Values) error {
	for name, values := range form {
		if len(values) > 1 {
			return invalidRequest("The parameter " + strconv.QuoteToASCII(noted(name)) + " is there twice.")
		}
	}
	switch grant := form.Get("grant_type"); {
	case grant == "":
		return invalidRequest("The parameter grant_type is missing.")
	case grant != grantType:
		return &oauthError{status: http.StatusBadRequest, code: "unsupported_grant_type", description: "The only grant here is " + grantType + "."}
	case form.Get("assertion") == "":
		return invalidRequest("The parameter assertion is missing.")
	case form.Has("client_secret") || form.Has("client_assertion"):
		return invalidRequest("Clients do not authenticate here: the assertion says who is calling. Leave client_secret and client_assertion out.")
	case form.Get("scope") != "":
		return &oauthError{status: http.StatusBadRequest, code: "invalid_scope", description: "There are no scopes here: leave the parameter out. What a token may do follows from whom it stands for."}
	}
	return nil
}

// oauthError is an error answer of the token endpoint (RFC 6749 section 5.2).
type oauthError struct {
	status            int
	code, description string
	retryAfter        time.Duration
}

// Error implements error.
func (e *oauthError) Error() string { return e.description }

func invalidRequest(description string) error {
	return &oauthError{status: http.StatusBadRequest, code: "invalid_request", description: description}
}

func (e *oauthError) write(w http.ResponseWriter, requestID string) {
	if e.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((e.retryAfter+time.Second-1)/time.Second)))
	}
	if e.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", http.MethodPost)
	}
	writeOAuth(w, e.status, struct {
		Code        string `json:"error"`
		Description string `json:"error_description"`
		RequestID   string `json:"request_id,omitempty"`
	}{e.code, e.description, requestID})
}

// writeOAuth answers with JSON that nobody may keep (RFC 6749 section 5.1).
func writeOAuth(w http.ResponseWriter, status int, body any) {
	text, err := json.Marshal(body)
	if err != nil { // only strings and numbers are inside: they always marshal
		status, text = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.WriteHeader(status)
	w.Write(text)
}
