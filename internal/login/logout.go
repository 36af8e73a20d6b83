package login

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

const logoutDoor = "/logout"

// ServeLogout is the door /logout.
func (l *Login) ServeLogout(w http.ResponseWriter, r *http.Request) {
	if !l.allow(w, r, http.MethodGet, http.MethodHead, http.MethodPost) {
		return
	}
	if r.Method == http.MethodPost {
		l.postLogout(w, r)
		return
	}
	if iss, sid, ok := frontChannel(r); ok && r.Method == http.MethodGet {
		l.frontChannelLogout(w, r, iss, sid)
		return
	}
	l.showLogout(w, r, http.StatusOK, "")
}

func (l *Login) showLogout(w http.ResponseWriter, r *http.Request, status int, alert string) {
	p, _, err := l.SignedIn(r)
	switch {
	case err != nil:
		l.refuse(w, r, err)
	case p == nil:
		l.message(w, r, status, messagePage{head: head{Title: "You are signed out"},
			Text: "This browser has no session here. API keys go on working.", Link: loginDoor, LinkText: "Sign in"})
	default:
		l.show(w, r, status, "signout", policy{forms: l.logoutForms(r)}, signOutPage{
			head: head{Title: "Sign out", Alert: alert}, Username: p.Username,
		})
	}
}

// logoutForms says where the form on the sign-out page may lead. Browsers hold the policy against
// redirects too, and the provider may send the browser on to places of its own.
func (l *Login) logoutForms(r *http.Request) string {
	if l.Provider == nil {
		return onlyHere
	}
	at, ok := "", l.Provider.Status().SignsOut // not to wait for one that is away
	if ok {
		at, ok = l.Provider.LogoutURL(r.Context(), iam.Secret{}, "")
	}
	if !ok {
		return onlyHere
	}
	if u, err := url.Parse(at); err == nil && u.Scheme == "http" && validHost(u.Host) {
		return onlyHere + " https: http://" + u.Host
	}
	return onlyHere + " https:"
}

// postLogout ends the browser's session, and sends it on to end the provider's. That a page of ours
// sent it is all it needs to show: a sign-out is not worth a token that may be too old.
func (l *Login) postLogout(w http.ResponseWriter, r *http.Request) {
	if err := l.sameOrigin(r); err != nil {
		l.Report(r, Event{Action: ActionLogoutRefused, Reason: ReasonCrossSite, Err: err})
		l.refuse(w, r, err)
		return
	}
	on, err := l.signOut(r)
	if err != nil {
		l.refuse(w, r, err) // the cookie stays, so that it can be tried again
		return
	}
	http.SetCookie(w, session.Expired(l.HTTPS(r)))
	l.header(w, r, policy{})
	seeOther(w, on)
}

// signOut ends the session and returns where the browser goes.
func (l *Login) signOut(r *http.Request) (string, error) {
	secret, found := session.Read(r.Header, l.HTTPS(r))
	if !found {
		return logoutDoor, nil
	}
	p, x, err := l.SignedIn(r)
	if err != nil {
		return "", err
	}
	var hint iam.Secret
	if x != nil && x.Method == session.MethodOIDC {
		// Without the hint the provider asks the person, which is better than not to sign out here.
		hint, _ = l.Sessions.IDToken(r.Context(), secret)
	}
	if err := l.Sessions.End(r.Context(), secret); err != nil {
		return "", err
	}
	if x == nil {
		return logoutDoor, nil
	}
	l.Report(r, Event{Action: ActionSignOut, Method: x.Method, Issuer: plain(x.Issuer), Subject: plain(x.Subject),
		User: p.Ref, Username: p.Username, Session: x.ID, Sessions: 1})
	if l.Provider == nil || x.Method != session.MethodOIDC || x.Issuer != l.Provider.Issuer() {
		return logoutDoor, nil
	}
	if at, ok := l.Provider.LogoutURL(r.Context(), hint, l.origin(r)+logoutDoor); ok {
		return at, nil
	}
	return logoutDoor, nil
}

// frontChannel returns the parameters by which a provider's page ends a session (OpenID Connect
// Front-Channel Logout 1.0 section 3).
func frontChannel(r *http.Request) (iss, sid string, ok bool) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil || len(query["iss"]) != 1 || len(query["sid"]) != 1 {
		return "", "", false
	}
	iss, sid = query.Get("iss"), query.Get("sid")
	return iss, sid, iss != "" && sid != ""
}

// frontChannelLogout ends the sessions that belong to a session of the provider. It is loaded in a frame
// of the provider's page, where the browser sends no cookie, so what it knows is all that counts: who
// does not know the provider's id of a session ends none (threats O16). The answer says nothing, and is
// the one that may be framed.
func (l *Login) frontChannelLogout(w http.ResponseWriter, r *http.Request, iss, sid string) {
	if l.Provider != nil && iss == l.Provider.Issuer() {
		n, err := l.Sessions.EndAtProvider(r.Context(), iss, "", sid)
		if err != nil {
			l.refuse(w, r, err)
			return
		}
		if n > 0 {
			l.Report(r, Event{Action: ActionFrontChannel, Issuer: plain(iss), Sessions: n})
		}
	}
	l.header(w, r, policy{framed: true})
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	w.Write([]byte("<!doctype html>\n<html lang=\"en\"><title>Signed out</title></html>\n"))
}

// ServeBackchannelLogout is the door /oidc/backchannel-logout (OpenID Connect Back-Channel Logout 1.0).
// The token proves who asks, so that the host does not matter.
func (l *Login) ServeBackchannelLogout(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if r.Method != http.MethodPost {
		h.Set("Allow", http.MethodPost)
		logoutFailed(w, http.StatusMethodNotAllowed, "a logout token comes by POST")
		return
	}
	if l.Provider == nil {
		logoutFailed(w, http.StatusNotFound, "no OpenID provider is configured here")
		return
	}
	err := l.backchannelLogout(r)
	if err == nil {
		w.WriteHeader(http.StatusOK)
		return
	}
	l.Report(r, Event{Action: ActionLogoutRefused, Issuer: plain(l.Provider.Issuer()), Reason: iam.ReasonOf(err), Err: err})
	switch p := problem.From(err); p.Status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", seconds(p.RetryAfter))
		logoutFailed(w, p.Status, "the sessions cannot be ended at the moment: try again")
	case http.StatusInternalServerError:
		logoutFailed(w, p.Status, "the gateway failed")
	default:
		logoutFailed(w, http.StatusBadRequest, "the logout token does not count: "+string(iam.ReasonOf(err)))
	}
}

func (l *Login) backchannelLogout(r *http.Request) error {
	token, err := oidc.ParseLogoutRequest(r)
	if err != nil {
		return err
	}
	out, err := l.Provider.LogoutToken(r.Context(), token)
	if err != nil {
		return err
	}
	if err := l.firstUse(r.Context(), out); err != nil {
		return err
	}
	n, err := l.Sessions.EndAtProvider(r.Context(), out.Issuer, out.Subject, out.SessionID)
	l.settle(out, err != nil)
	if err != nil {
		return err
	}
	l.Report(r, Event{Action: ActionBackChannel, Issuer: plain(out.Issuer), Subject: plain(out.Subject), Sessions: n})
	return nil
}

// firstUse refuses a token that was used (threats O15), but not one whose sessions could not be ended
// when it came: the provider sends it again.
func (l *Login) firstUse(ctx context.Context, out oidc.Logout) error {
	l.mu.Lock()
	again := l.unfinished[out.ID]
	l.mu.Unlock()
	first, err := l.Sessions.Once(ctx, "logout "+out.Issuer, out.ID, out.Expires)
	if err != nil {
		l.settle(out, true)
		return err
	}
	if !first && !again {
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonReplayed, Message: "the logout token was used before"}
	}
	return nil
}

// maxUnfinished bounds the tokens that are remembered for another try.
const maxUnfinished = 1000

func (l *Login) settle(out oidc.Logout, failed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !failed {
		delete(l.unfinished, out.ID)
		return
	}
	if len(l.unfinished) < maxUnfinished {
		l.unfinished[out.ID] = true
	}
}

// logoutFailed answers as Back-Channel Logout 1.0 section 2.8 has it.
func logoutFailed(w http.ResponseWriter, status int, why string) {
	b, err := json.Marshal(map[string]string{"error": "invalid_request", "error_description": why})
	if err != nil { // strings always marshal
		b = []byte(`{"error":"invalid_request"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	w.Write(b)
}

// seconds writes a wait as Retry-After has it.
func seconds(d time.Duration) string { return strconv.Itoa(int((d + time.Second - 1) / time.Second)) }
