package login

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// postLogin reads one of the forms that are sent to /oidc/login.
func (l *Login) postLogin(w http.ResponseWriter, r *http.Request) {
	_, x, err := l.SignedIn(r)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	form, err := l.ownForm(w, r, x)
	if err != nil {
		l.refused(r, Event{}, err)
		l.refuse(w, r, err)
		return
	}
	switch kind := form.Get("form"); {
	case kind == formTeams:
		l.postTeams(w, r, form)
	case kind == formRestore && !l.Restore.IsZero(), kind == formPassword && l.Restore.IsZero() && l.Passwords != nil:
		l.postPassword(w, r, form, kind)
	default:
		l.refuse(w, r, errMalformedForm)
	}
}

// postPassword judges a log-in name and a password. It does not ask when there were too many wrong ones:
// an answer to the right one would tell it from the others.
func (l *Login) postPassword(w http.ResponseWriter, r *http.Request, form url.Values, kind string) {
	login, err1 := one(form, "login")
	password, err2 := one(form, "password")
	if err1 != nil || err2 != nil {
		l.refuse(w, r, errMalformedForm)
		return
	}
	secret := iam.NewSecret(password)
	to := returnTo(form)
	e := Event{Method: session.MethodLDAP, Login: plain(login)}
	judge, account := l.askDirectory, l.Canonical(login)
	if kind == formRestore {
		e.Method, judge, account = session.MethodRestore, l.askRestore, l.restoreAccount(r)
	}
	settle, tooMany := l.attempt(r, account)
	if tooMany != nil {
		l.refused(r, e, tooMany)
		l.signInAgain(w, r, tooMany, login, to)
		return
	}
	a, err := judge(r, login, secret)
	settle(err)
	if err != nil {
		l.refused(r, e, err)
		l.signInAgain(w, r, err, login, to)
		return
	}
	l.header(w, r, policy{})
	if a.identity != nil {
		l.remember(w, r, account)
		err = l.admitIdentity(w, r, a.identity, a.method, to, "")
	} else {
		a.returnTo = to
		e.Action, e.Created = ActionSignIn, a.created
		err = l.admit(w, r, e, a.admission)
	}
	if err != nil {
		l.refuse(w, r, err)
	}
}

// proved is who gave the right password.
type proved struct {
	admission
	created bool
}

func (l *Login) askDirectory(r *http.Request, login string, password iam.Secret) (proved, error) {
	id, err := l.Passwords.Authenticate(r.Context(), login, password)
	return proved{admission: admission{identity: id, method: session.MethodLDAP}}, err
}

// restoreAccount is the one account of the temporary password from an address: whatever the name, it is the
// password that is guessed. One for all addresses would let anybody keep the administrator out of the way
// that is left, and no number of addresses guesses 120 bits.
func (l *Login) restoreAccount(r *http.Request) string {
	return "\x00restore " + failure.Client(l.Client(r)).String()
}

var errWrongRestore = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonWrongPassword,
	Message: "That is not the temporary password, or not the user name of an active organization admin. The password stands in the gateway's log, and is another after each start."}

// askRestore lets an organization admin in with the temporary password (OIDC-24). The directory is
// asked only behind the password, so that nobody learns the names of admins.
func (l *Login) askRestore(r *http.Request, login string, password iam.Secret) (proved, error) {
	given, want := sha256.Sum256([]byte(password.Reveal())), sha256.Sum256([]byte(l.Restore.Reveal()))
	if subtle.ConstantTimeCompare(given[:], want[:]) != 1 {
		return proved{}, errWrongRestore
	}
	u, created, err := l.Directory.RestoreAdmin(r.Context(), login)
	switch iam.KindOf(err) {
	case iam.KindDenied, iam.KindInvalid, iam.KindConflict:
		return proved{}, &iam.Error{Kind: errWrongRestore.Kind, Reason: iam.ReasonOf(err), Message: errWrongRestore.Message, Err: err}
	}
	if err != nil {
		return proved{}, err
	}
	return proved{admission: admission{user: u, method: session.MethodRestore}, created: created}, nil
}

// attempt counts a failure for the browser's address and the account before the password is judged, so
// that attempts at the same moment are counted too. settle takes it back if it was none, or if nobody
// judged it. A browser that is known counts for itself alone.
func (l *Login) attempt(r *http.Request, account string) (settle func(error), tooMany error) {
	client := failure.Client(l.Client(r))
	counter, own := l.counterOf(r, account)
	// The account only behind the address: an address over its limit would lock accounts otherwise.
	if !own && l.AddressFailures.Failed(client) || l.AccountFailures.Failed(counter) {
		return nil, &iam.Error{Kind: iam.KindTooMany, Reason: ReasonTooMany, RetryAfter: 30 * time.Second,
			Message: "Too many wrong passwords came from here or for this name, so this one was not looked at. Wait a minute and try again."}
	}
	return func(err error) {
		if err == nil || iam.KindOf(err) == iam.KindUnavailable || iam.KindOf(err) == iam.KindDenied {
			if !own {
				l.AddressFailures.TakeBack(client)
			}
			l.AccountFailures.TakeBack(counter)
		}
	}, nil
}

// signInAgain shows the form with what went wrong. The text is the connector's or ours: nothing in it is
// the directory's.
func (l *Login) signInAgain(w http.ResponseWriter, r *http.Request, err error, login, to string) {
	p := problem.From(err)
	if p.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(p.RetryAfter))
	}
	if len(login) > maxEventBytes {
		login = ""
	}
	l.showSignIn(w, r, p.Status, signInPage{head: head{Alert: p.Message}, Login: login, ReturnTo: to})
}
