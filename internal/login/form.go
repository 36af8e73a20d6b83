package login

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// The reasons for refusing what comes to a door, beside those of connectors, directory and sessions.
const (
	ReasonCrossSite     iam.Reason = "cross_site"
	ReasonMalformedForm iam.Reason = "malformed_form"
	ReasonFormExpired   iam.Reason = "form_expired"
	ReasonFlowUnknown   iam.Reason = "flow_unknown"
	ReasonFlowUsed      iam.Reason = "flow_used"
	ReasonTooMany       iam.Reason = "too_many_failures"
	ReasonNoSignIn      iam.Reason = "no_sign_in"
	ReasonNotAPage      iam.Reason = "not_a_page_load"
	ReasonNotSignedIn   iam.Reason = "not_signed_in"
	ReasonWrongPassword iam.Reason = "wrong_password"
	ReasonReplayed      iam.Reason = "logout_token_replayed"
)

// maxFormBytes bounds a form of ours.
const maxFormBytes = 16 << 10

// readForm reads the body of a form, and nothing of the address. Its content type is exactly that of a
// form; in another, pages of other sites can write what they want without asking.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, error) {
	types := r.Header["Content-Type"]
	if len(types) != 1 {
		return nil, errNotAForm
	}
	kind, params, err := mime.ParseMediaType(types[0])
	charset, given := params["charset"]
	if err != nil || kind != "application/x-www-form-urlencoded" || given && !strings.EqualFold(charset, "utf-8") || r.Header.Get("Content-Encoding") != "" {
		return nil, errNotAForm
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxFormBytes))
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return nil, &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large", Message: "The form is too large."}
		}
		return nil, errMalformedForm
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		return nil, errMalformedForm
	}
	return values, nil
}

var (
	errNotAForm = &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonUnsupportedMediaType,
		Message: "What was sent is no form (application/x-www-form-urlencoded)."}
	errMalformedForm = &iam.Error{Kind: iam.KindInvalid, Reason: ReasonMalformedForm,
		Message: "The form cannot be read. Open the page again and send it from there."}
	errFormExpired = &iam.Error{Kind: iam.KindDenied, Reason: ReasonFormExpired,
		Message: "The form was not made for this browser as it is signed in now, or is too old. Open the page again and send it from there."}
)

// one returns the value of a field that stands in the form exactly once.
func one(form url.Values, name string) (string, error) {
	if len(form[name]) != 1 {
		return "", errMalformedForm
	}
	return form[name][0], nil
}

// formLife is how long a browser's forms are good.
const formLife = 24 * time.Hour

// browser returns the value by which the browser's forms are known, and gives it one if it has none.
func (l *Login) browser(w http.ResponseWriter, r *http.Request) string {
	name := session.CookieName(l.HTTPS(r)) + formSuffix
	if value := cookie(r.Header, name); validRandom(value) {
		return value
	}
	value := random()
	l.give(w, r, name, value, formLife, http.SameSiteLaxMode)
	return value
}

func validRandom(s string) bool {
	b, err := strict.DecodeString(s)
	return err == nil && len(b) == 32
}

// ownForm reads a form that one of our pages sent: by its origin, and by the token that only a page
// which this browser was given can have. x is the browser's session, nil if it has none.
func (l *Login) ownForm(w http.ResponseWriter, r *http.Request, x *session.Session) (url.Values, error) {
	if err := l.sameOrigin(r); err != nil {
		return nil, err
	}
	form, err := readForm(w, r)
	if err != nil {
		return nil, err
	}
	token, err := one(form, "token")
	if err != nil {
		return nil, err
	}
	browser := cookie(r.Header, session.CookieName(l.HTTPS(r))+formSuffix)
	if !validRandom(browser) || !l.seal.validToken(token, browser, x) {
		return nil, errFormExpired
	}
	return form, nil
}
