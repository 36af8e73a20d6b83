package oidc

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

const (
	// maxAnswerBytes bounds a posted form.
	maxAnswerBytes = 64 << 10
	// maxQueryBytes bounds a query; Entra's codes have 2 KB.
	maxQueryBytes = 16 << 10
	maxCodeBytes  = 8 << 10
	maxStateBytes = 256
	maxErrorBytes = 128
	// maxParameters bounds how many parameters an answer has; Google sends seven.
	maxParameters = 64
)

// Answer is what the provider sent back through the browser: not judged yet, and possibly written by
// anybody. It has either an error, or what its method asks for.
type Answer struct {
	// Code is to be redeemed (PKCE).
	Code string
	// IDToken is the provider's statement (implicit).
	IDToken string
	// State must be the flow's.
	State string
	// Issuer is the `iss` parameter (RFC 9207); "" if there is none.
	Issuer string
	// Error is the provider's code for why it refuses; "" if it does not.
	Error string
	// ErrorDescription is its own words, in one bounded line. They are for the log: anybody can have
	// written them (threats O06).
	ErrorDescription string
}

// Format prints no secret.
func (a Answer) Format(s fmt.State, _ rune) { io.WriteString(s, "oidc.Answer(REDACTED)") }

// ParseAnswer reads a request to the callback in the one form that the method has: for PKCE the query
// of a GET, for implicit the form of a POST, and nothing else in either (threats O05, O23). The body
// of the request is read, never more than 64 KiB of it. Errors are of iam.KindInvalid, or of
// iam.KindTooLarge.
func ParseAnswer(r *http.Request, m Method) (Answer, error) {
	switch m {
	case PKCE:
		if r.Method != http.MethodGet {
			return Answer{}, malformed("a code must come by GET, not by %s", untrusted.Quote(r.Method))
		}
		if len(r.URL.RawQuery) > maxQueryBytes {
			return Answer{}, malformed("the query has %d bytes, the limit is %d", len(r.URL.RawQuery), maxQueryBytes)
		}
		return parseAnswer(r.URL.RawQuery, m)
	case Implicit:
		form, err := readForm(r)
		if err != nil {
			return Answer{}, err
		}
		return parseAnswer(form, m)
	default:
		return Answer{}, malformed("the authentication method is not known")
	}
}

// ParseLogoutRequest reads the logout token out of a request to the back-channel logout address
// (OpenID Connect Back-Channel Logout 1.0 section 2.5), with the same strictness and kinds of errors.
func ParseLogoutRequest(r *http.Request) (token string, err error) {
	token, err = parseLogoutRequest(r)
	if e, ok := errors.AsType[*iam.Error](err); ok {
		return "", &iam.Error{Kind: e.Kind, Reason: e.Reason, Err: e.Err, Message: "the request is no logout request: post a form with one logout_token"}
	}
	return token, err
}

func parseLogoutRequest(r *http.Request) (string, error) {
	form, err := readForm(r)
	if err != nil {
		return "", err
	}
	values, err := parameters(form)
	if err != nil {
		return "", err
	}
	return parameter(values, "logout_token", jws.MaxTokenBytes)
}

// readForm returns the text of a posted form.
func readForm(r *http.Request) (string, error) {
	switch {
	case r.Method != http.MethodPost:
		return "", malformed("the answer must come by POST, not by %s", untrusted.Quote(r.Method))
	case r.URL.RawQuery != "":
		return "", malformed("the answer must come in the body alone, but the address has a query")
	case r.Body == nil:
		return "", malformed("the answer has no body")
	}
	if err := formType(r.Header); err != nil {
		return "", err
	}
	body, err := io.ReadAll(io.LimitReader(r.Body, maxAnswerBytes+1))
	if err != nil {
		return "", malformed("the body cannot be read: %w", cleaned(err))
	}
	if len(body) > maxAnswerBytes {
		return "", &iam.Error{Kind: iam.KindTooLarge, Reason: ReasonAnswerMalformed, Message: fmt.Sprintf("the answer of the OpenID provider has more than %d bytes", maxAnswerBytes)}
	}
	return string(body), nil
}

// formType reports whether the body says that it is a form, in UTF-8 and as it is.
func formType(h http.Header) error {
	types := h.Values("Content-Type")
	if len(types) != 1 || len(h.Values("Content-Encoding")) > 0 {
		return malformed("the body must have one content type and no content encoding")
	}
	media, params, err := mime.ParseMediaType(types[0])
	if err != nil || media != "application/x-www-form-urlencoded" {
		return malformed("the content type is %s instead of application/x-www-form-urlencoded", untrusted.Quote(types[0]))
	}
	for name, value := range params {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return malformed("the content type is %s: a form is in UTF-8", untrusted.Quote(types[0]))
		}
	}
	return nil
}

func parseAnswer(text string, m Method) (Answer, error) {
	values, err := parameters(text)
	if err != nil {
		return Answer{}, err
	}
	var a Answer
	for _, p := range []struct {
		name  string
		into  *string
		limit int
	}{
		{"code", &a.Code, maxCodeBytes},
		{"id_token", &a.IDToken, jws.MaxTokenBytes},
		{"state", &a.State, maxStateBytes},
		{"iss", &a.Issuer, maxURLBytes},
		{"error", &a.Error, maxErrorBytes},
	} {
		if _, ok := values[p.name]; !ok {
			continue
		}
		if *p.into, err = parameter(values, p.name, p.limit); err != nil {
			return Answer{}, err
		}
	}
	a.ErrorDescription = clean(values.Get("error_description"))
	_, accessToken := values["access_token"]
	if err := a.complete(m, accessToken); err != nil {
		return Answer{}, err
	}
	return a, nil
}

// complete reports whether an answer has what its method asks for and nothing that another has.
func (a Answer) complete(m Method, accessToken bool) error {
	proof, other := a.Code, a.IDToken
	switch m {
	case PKCE:
	case Implicit:
		proof, other = a.IDToken, a.Code
	default:
		return malformed("the authentication method is not known")
	}
	switch {
	case accessToken || other != "":
		return malformed("the answer has a token or code that was not asked for")
	case a.State == "":
		return malformed("the answer has no state")
	case a.Error != "" && proof != "":
		return malformed("the answer says both yes and no")
	case a.Error == "" && proof == "":
		return malformed("the answer has neither what was asked for nor an error")
	}
	return nil
}

// parameters reads a form or query in which no name stands twice (RFC 6749 section 3.1). Names that
// mean nothing here are left alone: providers add some.
func parameters(text string) (url.Values, error) {
	if strings.Count(text, "&") >= maxParameters {
		return nil, malformed("the answer has more than %d parameters", maxParameters)
	}
	values, err := url.ParseQuery(text)
	if err != nil {
		return nil, malformed("the answer is no form: its text is not what a browser makes of one")
	}
	for name, all := range values {
		if len(all) > 1 {
			return nil, malformed("the parameter %s stands there %d times", untrusted.Quote(name), len(all))
		}
	}
	return values, nil
}

// parameter returns the value of a parameter that must be there: bounded, of visible ASCII.
func parameter(values url.Values, name string, limit int) (string, error) {
	value := values.Get(name)
	switch {
	case value == "":
		return "", malformed("the parameter %s is missing or empty", name)
	case len(value) > limit:
		return "", malformed("the parameter %s has %d bytes, the limit is %d", name, len(value), limit)
	case !visible(value):
		return "", malformed("the parameter %s has characters that none has", name)
	}
	return value, nil
}
