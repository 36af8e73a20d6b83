package login

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

const (
	loginDoor    = "/oidc/login"
	callbackDoor = "/oidc/callback"
)

// teamsPage is where a newcomer chooses teams.
const teamsPage = loginDoor + "?step=teams"

// The kinds of forms that are posted to /oidc/login.
const (
	formPassword = "password"
	formRestore  = "restore"
	formTeams    = "teams"
)

// allow answers a request with another method, or for another host, and reports whether it did.
func (l *Login) allow(w http.ResponseWriter, r *http.Request, methods ...string) bool {
	allowed := false
	for _, m := range methods {
		allowed = allowed || r.Method == m
	}
	if !allowed {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		l.refuse(w, r, &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMethodNotAllowed, Message: "This address is not meant to be used so."})
		return false
	}
	if _, ok := l.host(r); !ok {
		l.refuse(w, r, errMisdirected)
		return false
	}
	return true
}

// ServeLogin is the door /oidc/login.
func (l *Login) ServeLogin(w http.ResponseWriter, r *http.Request) {
	if !l.allow(w, r, http.MethodGet, http.MethodHead, http.MethodPost) {
		return
	}
	if r.Method == http.MethodPost {
		l.postLogin(w, r)
		return
	}
	if !session.PageLoad(r) {
		l.notAPage(w, r)
		return
	}
	if err := session.CheckOne(r.Header, l.HTTPS(r)); err != nil {
		l.refuse(w, r, err)
		return
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		query = nil // says nothing
	}
	if query.Get("step") == "teams" {
		l.showTeams(w, r, "")
		return
	}
	to := returnTo(query)
	straight := l.Provider != nil && l.Restore.IsZero() && (l.Passwords == nil || query.Get("with") == "provider")
	if straight {
		l.begin(w, r, to)
		return
	}
	l.showSignIn(w, r, http.StatusOK, signInPage{ReturnTo: to})
}

// notAPage answers a script, picture or frame: signing in is for people (threats O21, O24). A picture
// on another site could fill the browser with flows otherwise.
func (l *Login) notAPage(w http.ResponseWriter, r *http.Request) {
	l.refuseProgram(w, r, &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonNotAPage,
		Message: "Sign in by opening this address as a page of its own. Programs use an API key, which /authorize makes."})
}

// refuseProgram answers what is no page. The challenge is none that makes a browser ask for a password,
// which nobody has: also what is no page can be shown as one.
func (l *Login) refuseProgram(w http.ResponseWriter, r *http.Request, err error) {
	l.header(w, r, policy{})
	p := problem.From(err)
	p.Challenge = `Bearer realm="W&B"`
	p.WriteJSON(w)
}

var errNoSignIn = &iam.Error{Kind: iam.KindNotFound, Reason: ReasonNoSignIn,
	Message: "Nobody can sign in here at a browser: neither an OpenID provider nor a directory is configured. Use an API key, or ask the administrator."}

// showSignIn shows the sign-in page with what is configured.
func (l *Login) showSignIn(w http.ResponseWriter, r *http.Request, status int, p signInPage) {
	_, x, err := l.SignedIn(r)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	p.Title = "Sign in"
	switch {
	case !l.Restore.IsZero():
		p.Title = "Sign in with the temporary password"
		p.Form, p.LoginLabel, p.PasswordLabel = formRestore, "User name of an organization admin", "Temporary password"
		p.Notice = "Single sign-on is switched off by LOCAL_RESTORE. The temporary password stands in the gateway's log. Remove the variable when you have put the settings right."
	case l.Passwords != nil:
		p.Form, p.LoginLabel, p.PasswordLabel = formPassword, "User name or e-mail address", "Password"
		if l.Provider != nil {
			p.ProviderLink = loginDoor + "?with=provider&return_to=" + url.QueryEscape(p.ReturnTo)
			p.ProviderName = providerName(l.Provider.Issuer())
			if l.Provider.Status().Err != nil {
				p.Notice = "At the moment " + p.ProviderName + " cannot be reached. Your directory password works all the same."
			}
		}
	default:
		l.refuse(w, r, errNoSignIn)
		return
	}
	p.Token, p.RequestID = l.seal.token(l.browser(w, r), x), ""
	if status != http.StatusOK {
		p.RequestID = l.RequestID(r)
	}
	l.show(w, r, status, "signin", policy{forms: onlyHere}, p)
}

// providerName is what people know a provider by.
func providerName(issuer string) string {
	if u, err := url.Parse(issuer); err == nil && u.Host != "" {
		return u.Host
	}
	return "single sign-on"
}

// Ready returns why the sign-in page would lead the browser nowhere, nil if somebody can sign in. It waits for
// the provider only where nothing is known of it. A directory shows its form in any case.
func (l *Login) Ready(r *http.Request) error {
	if _, ok := l.host(r); !ok {
		return errMisdirected
	}
	if err := session.CheckOne(r.Header, l.HTTPS(r)); err != nil {
		return err
	}
	if l.Provider == nil || l.Passwords != nil || !l.Restore.IsZero() {
		return nil
	}
	err := l.Provider.Discover(r.Context())
	if err == nil || iam.KindOf(err) != iam.KindUnavailable {
		return nil
	}
	p := problem.From(err)
	return &iam.Error{Kind: iam.KindUnavailable, Reason: iam.ReasonOf(err), Message: answerTexts[oidc.ReasonUnavailable], RetryAfter: p.RetryAfter, Err: err}
}

// begin sends the browser to the provider.
func (l *Login) begin(w http.ResponseWriter, r *http.Request, to string) {
	location, f, err := l.Provider.Begin(r.Context(), l.origin(r)+callbackDoor, to)
	if err != nil {
		l.refused(r, Event{Method: session.MethodOIDC, Issuer: plain(l.Provider.Issuer())}, err)
		if iam.KindOf(err) == iam.KindInvalid { // the site's address and the method do not go together
			l.refuse(w, r, err)
			return
		}
		l.refuseAnswer(w, r, err)
		return
	}
	held := heldFlow{Flow: *f}
	if _, x, err := l.SignedIn(r); err == nil && x != nil {
		held.Old = x.ID
	}
	if !l.keep(w, r, held) {
		l.refuse(w, r, &iam.Error{Kind: iam.KindInternal})
		return
	}
	l.Report(r, Event{Action: ActionBegun, Method: session.MethodOIDC, Issuer: plain(l.Provider.Issuer())})
	l.header(w, r, policy{})
	seeOther(w, location)
}

// ServeCallback is the door /oidc/callback.
func (l *Login) ServeCallback(w http.ResponseWriter, r *http.Request) {
	if !l.allow(w, r, http.MethodGet, http.MethodPost) {
		return
	}
	if l.Provider == nil || !l.Restore.IsZero() {
		l.refuse(w, r, errNoSignIn)
		return
	}
	e := Event{Method: session.MethodOIDC, Issuer: plain(l.Provider.Issuer())}
	id, f, err := l.answered(w, r)
	if err != nil {
		l.refused(r, e, err)
		l.refuseAnswer(w, r, err)
		return
	}
	l.header(w, r, policy{})
	if err := l.admitIdentity(w, r, id, session.MethodOIDC, ReturnTo(f.Flow.ReturnTo), f.Old); err != nil {
		l.refuse(w, r, err)
	}
}

var (
	errFlowUnknown = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonFlowUnknown}
	errFlowUsed    = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonFlowUsed}
)

// answered judges what the provider sent back. The flow's cookie is taken away before, so that this
// browser can use it once; a copy of it elsewhere is of no use either once somebody was signed in with
// it (threats O01). That is noted only then, for what strangers send must not fill the store.
func (l *Login) answered(w http.ResponseWriter, r *http.Request) (*identity.Identity, *heldFlow, error) {
	answer, err := oidc.ParseAnswer(r, l.Provider.Method())
	if err != nil {
		return nil, nil, err
	}
	f := l.resume(w, r, answer.State)
	if f == nil || l.over(f) || f.Flow.RedirectURI != l.origin(r)+callbackDoor {
		return nil, nil, errFlowUnknown
	}
	id, err := l.Provider.Finish(r.Context(), &f.Flow, answer)
	if err != nil {
		return nil, nil, err
	}
	first, err := l.Sessions.Once(r.Context(), "flow", f.Flow.State, f.Flow.Created.Add(flowLife+clockLeeway))
	if err == nil && !first {
		err = errFlowUsed
	}
	return id, f, err
}

// answerTexts are what people read when a provider's answer does not count, by reason. Whatever a
// provider says in words stays in the log (threats O06, J30).
var answerTexts = map[iam.Reason]string{
	ReasonFlowUnknown:          "This sign-in was not begun in this browser, or more than ten minutes ago. Sign in again; cookies of this site have to be allowed.",
	ReasonFlowUsed:             "This sign-in was used already: each is good for once. Sign in again.",
	oidc.ReasonFlowExpired:     "This sign-in was begun more than ten minutes ago. Sign in again.",
	oidc.ReasonAccessDenied:    "The sign-in service does not let you in here, or you stopped on its page. Ask the people who keep it to give you access to this application.",
	oidc.ReasonRefused:         "The sign-in service did not accept the request of this gateway. Ask the administrator to compare the settings on both sides; the reason is in the gateway's log.",
	oidc.ReasonClientRefused:   "The sign-in service does not know this gateway by its client id and secret. Ask the administrator to compare them; the reason is in the gateway's log.",
	oidc.ReasonEmail:           "Your account at the sign-in service does not have exactly one e-mail address, by which you are known here. Ask the people who keep it to correct that.",
	oidc.ReasonUnavailable:     "The sign-in service cannot be reached, so nobody can sign in with it at the moment. API keys and browsers that are signed in go on working. Try again soon.",
	"unavailable":              "Part of the gateway does not answer at the moment, so nobody can sign in. API keys go on working where they can. Try again soon.",
	oidc.ReasonAnswerMalformed: "What came back is no answer of the sign-in service that can be read. Sign in again; if that fails too, ask the administrator whether the service is set up for this gateway's method.",
}

// refuseAnswer answers with the page for a sign-in at the provider that came to nothing: 503 if nobody
// can tell, 403 if somebody may not, else 400. It does not try again by itself.
func (l *Login) refuseAnswer(w http.ResponseWriter, r *http.Request, err error) {
	p := problem.From(err)
	text, known := answerTexts[iam.ReasonOf(err)]
	status := p.Status
	switch iam.KindOf(err) {
	case iam.KindUnavailable:
		if !known {
			text = answerTexts["unavailable"]
		}
	case iam.KindInternal:
		text = p.Message
	case iam.KindDenied:
	default:
		if status != http.StatusMethodNotAllowed && status != http.StatusUnsupportedMediaType && status != http.StatusRequestEntityTooLarge {
			status = http.StatusBadRequest
		}
	}
	if text == "" {
		text = "What the sign-in service answered does not prove who you are, so nobody was signed in. Sign in again; if that fails too, tell the administrator, who finds the reason in the gateway's log."
	}
	l.refuseWith(w, r, status, p, text)
}
