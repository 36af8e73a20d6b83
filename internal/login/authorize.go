package login

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

const (
	// maxShownKeys bounds the keys on the page; the latest are shown.
	maxShownKeys = 200
	// maxKeys bounds the keys that a person makes here: whoever has more has lost sight of them.
	maxKeys = 1000
	// maxKeyName bounds the name of a key, which the page's own field has as well.
	maxKeyName = 128
)

type shownKey struct {
	Name, Created string
	// Used is when it was last used; "" if nobody knows of any use.
	Used    string
	ID      iam.KeyID
	created time.Time
}

// shownUpstreamKey says since when the person's key of the W&B server is kept; "" if none is.
type shownUpstreamKey struct{ Set string }

type shownSession struct {
	ID, UserAgent, Client, Created, Expires string
	Here                                    bool
	created                                 time.Time
}

type authorizePage struct {
	head
	Username, Email string
	// Upstream is nil where the W&B server is not asked with people's own keys.
	Upstream *shownUpstreamKey
	Keys     []shownKey
	MoreKeys int
	Sessions []shownSession
}

// ServeAuthorize is the door /authorize, to which `wandb login` sends people.
func (l *Login) ServeAuthorize(w http.ResponseWriter, r *http.Request) {
	if !l.allow(w, r, http.MethodGet, http.MethodHead, http.MethodPost) {
		return
	}
	p, x, err := l.SignedIn(r)
	switch {
	case err != nil:
		l.refuse(w, r, err)
	case p == nil && r.Method != http.MethodPost && session.PageLoad(r) && session.AcceptsHTML(r):
		l.header(w, r, policy{})
		seeOther(w, loginDoor+"?return_to="+url.QueryEscape(ReturnTo(r.URL.RequestURI())))
	case p == nil && session.PageLoad(r) && session.AcceptsHTML(r): // a form that was open when the session ended
		l.refuse(w, r, errNotSignedIn)
	case p == nil:
		l.refuseProgram(w, r, errNotSignedIn)
	case r.Method == http.MethodPost:
		l.postAuthorize(w, r, p, x)
	default:
		l.showAuthorize(w, r, http.StatusOK, p, x, "")
	}
}

var errNotSignedIn = &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonNotSignedIn,
	Message: "This browser is not signed in. Open /authorize as a page to sign in; what was sent was not carried out."}

func (l *Login) postAuthorize(w http.ResponseWriter, r *http.Request, p *iam.Principal, x *session.Session) {
	form, err := l.ownForm(w, r, x)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	switch form.Get("form") {
	case "create":
		l.createKey(w, r, p, x, form)
		return
	case "delete":
		err = l.deleteKey(r, p, form)
	case "end":
		err = l.endSession(w, r, p, x, form)
	case "set-upstream":
		err = l.setUpstreamKey(r, p, x, form)
	case "delete-upstream":
		err = l.deleteUpstreamKey(r, p, x)
	default:
		err = errMalformedForm
	}
	l.afterChange(w, r, p, x, err)
}

// afterChange shows the page anew, by a GET if all went well.
func (l *Login) afterChange(w http.ResponseWriter, r *http.Request, p *iam.Principal, x *session.Session, err error) {
	if err == nil || iam.KindOf(err) == iam.KindNotFound { // gone already, as was wanted
		l.header(w, r, policy{})
		seeOther(w, authorizeDoor)
		return
	}
	told := problem.From(err)
	if told.RetryAfter > 0 {
		w.Header().Set("Retry-After", seconds(told.RetryAfter))
	}
	l.showAuthorize(w, r, told.Status, p, x, told.Message)
}

// createKey makes a key and shows it: here, and never again.
func (l *Login) createKey(w http.ResponseWriter, r *http.Request, p *iam.Principal, x *session.Session, form url.Values) {
	name, err := one(form, "name")
	if err == nil {
		if name = strings.TrimSpace(name); name == "" || len(name) > maxKeyName {
			err = iam.Invalidf("Give the key a name of at most %d bytes, by which you will know it in the list.", maxKeyName)
		}
	}
	if err == nil {
		err = l.mayMakeKeys(r, p)
	}
	var secret iam.Secret
	var c directory.Change[directory.Key]
	if err == nil {
		secret, c, err = l.Directory.MintKey(r.Context(), p.Ref, name)
	}
	if err != nil {
		l.afterChange(w, r, p, x, err)
		return
	}
	l.Report(r, Event{Action: ActionKeyCreated, User: p.Ref, Username: p.Username, Key: c.After.ID, Session: x.ID})
	l.show(w, r, http.StatusOK, "key", policy{script: true}, keyPage{
		head: head{Title: "Your new API key"}, Key: secret.Reveal(), Name: c.After.Name, ID: c.After.ID,
	})
}

func (l *Login) mayMakeKeys(r *http.Request, p *iam.Principal) error {
	n := 0
	err := l.Directory.Keys(r.Context(), p.Ref, func(directory.Key) error { n++; return nil })
	if err == nil && n >= maxKeys {
		err = &iam.Error{Kind: iam.KindConflict, Reason: "too_many_keys", Message: "You have as many API keys as one person may have. Delete some that you no longer use."}
	}
	return err
}

func (l *Login) deleteKey(r *http.Request, p *iam.Principal, form url.Values) error {
	id, err := one(form, "id")
	if err != nil {
		return err
	}
	c, err := l.Directory.DeleteKey(r.Context(), p.Ref, iam.KeyID(id))
	if err != nil {
		return err
	}
	l.Report(r, Event{Action: ActionKeyDeleted, User: p.Ref, Username: p.Username, Key: c.Before.ID})
	return nil
}

// endSession ends one of the person's sessions; that of this browser too.
func (l *Login) endSession(w http.ResponseWriter, r *http.Request, p *iam.Principal, here *session.Session, form url.Values) error {
	id, err := one(form, "id")
	if err != nil {
		return err
	}
	ended, err := l.Sessions.EndByID(r.Context(), p.Ref, id)
	if err != nil {
		return err
	}
	l.Report(r, Event{Action: ActionSessionEnded, User: p.Ref, Username: p.Username, Session: ended.ID, Sessions: 1})
	if ended.ID == here.ID {
		http.SetCookie(w, session.Expired(l.HTTPS(r)))
	}
	return nil
}

func (l *Login) showAuthorize(w http.ResponseWriter, r *http.Request, status int, p *iam.Principal, x *session.Session, alert string) {
	keys, more, err := l.shownKeys(r, p)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	sessions, err := l.shownSessions(r, p, x)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	upstream, err := l.shownUpstreamKey(r, p)
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	l.show(w, r, status, "authorize", policy{forms: onlyHere}, authorizePage{
		head:     head{Title: "API keys", Alert: alert, Token: l.seal.token(l.browser(w, r), x)},
		Username: p.Username, Email: p.Email, Upstream: upstream,
		Keys: keys, MoreKeys: more, Sessions: sessions,
	})
}

// day is how times stand on the page.
const day = "2 January 2006, 15:04 MST"

func (l *Login) shownKeys(r *http.Request, p *iam.Principal) (keys []shownKey, more int, err error) {
	err = l.Directory.UsedKeys(r.Context(), p.Ref, func(k directory.Key) error {
		shown := shownKey{Name: k.Name, Created: k.Created.UTC().Format(day), ID: k.ID, created: k.Created}
		if !k.LastUsed.IsZero() {
			shown.Used = k.LastUsed.UTC().Format(day)
		}
		keys = append(keys, shown)
		return nil
	})
	slices.SortFunc(keys, func(a, b shownKey) int {
		return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	if len(keys) > maxShownKeys {
		keys, more = keys[:maxShownKeys], len(keys)-maxShownKeys
	}
	return keys, more, err
}

func (l *Login) shownSessions(r *http.Request, p *iam.Principal, here *session.Session) (shown []shownSession, err error) {
	err = l.Sessions.List(r.Context(), p.Ref, func(x *session.Session) error {
		if x.Epoch != p.Epoch {
			return nil // over, though nobody has deleted it yet
		}
		s := shownSession{
			ID: x.ID, UserAgent: browserName(x.UserAgent), Here: x.ID == here.ID, created: x.Created,
			Created: x.Created.UTC().Format(day), Expires: x.Expires.UTC().Format(day),
		}
		if x.Client.IsValid() {
			s.Client = x.Client.String()
		}
		shown = append(shown, s)
		return nil
	})
	slices.SortFunc(shown, func(a, b shownSession) int {
		return cmp.Or(b.created.Compare(a.created), cmp.Compare(a.ID, b.ID))
	})
	return shown, err
}
