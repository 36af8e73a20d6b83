package login

import (
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// offered is what the cookie of an offer holds: which teams a newcomer may join, and where they wanted
// to go (JOIN-9). It is sealed, and good for this person and a while only.
type offered struct {
	User     iam.UserID
	Teams    []iam.TeamRef
	ReturnTo string
	Until    time.Time
}

const offerLife = 10 * time.Minute

// offer gives the browser the cookie, and reports whether the browser will keep it.
func (l *Login) offer(w http.ResponseWriter, r *http.Request, a admission) bool {
	name := session.CookieName(l.HTTPS(r)) + offerSuffix
	o := offered{User: a.user.ID, Teams: a.signed.Offered, ReturnTo: a.returnTo, Until: l.Now().Add(offerLife)}
	value, ok := l.seal.close(name, o)
	if ok {
		l.give(w, r, name, value, offerLife, http.SameSiteLaxMode)
	}
	return ok
}

// theOffer returns what the browser was offered, if it is signed in as whom it was offered to; nil if
// nothing was.
func (l *Login) theOffer(r *http.Request) (*offered, *session.Session, error) {
	name := session.CookieName(l.HTTPS(r)) + offerSuffix
	p, x, err := l.SignedIn(r)
	if err != nil || p == nil {
		return nil, nil, err
	}
	var o offered
	if !l.seal.open(name, cookie(r.Header, name), &o) || o.User.Ref() != p.Ref || !l.Now().Before(o.Until) {
		return nil, x, nil
	}
	return &o, x, nil
}

func (l *Login) showTeams(w http.ResponseWriter, r *http.Request, alert string) {
	o, x, err := l.theOffer(r)
	switch {
	case err != nil:
		l.refuse(w, r, err)
	case o == nil:
		l.header(w, r, policy{})
		seeOther(w, home)
	default:
		l.show(w, r, http.StatusOK, "teams", policy{forms: onlyHere}, teamsView{
			head:  head{Title: "Choose your teams", Alert: alert, Token: l.seal.token(l.browser(w, r), x)},
			Teams: o.Teams,
		})
	}
}

// postTeams makes the newcomer a member of the teams they chose among those offered.
func (l *Login) postTeams(w http.ResponseWriter, r *http.Request, form url.Values) {
	o, _, err := l.theOffer(r)
	if err == nil && o == nil {
		err = errFormExpired
	}
	if err != nil {
		l.refuse(w, r, err)
		return
	}
	e := Event{Action: ActionTeamsJoined, User: o.User.Ref()}
	var chosen []iam.TeamID
	for _, id := range form["team"] {
		i := slices.IndexFunc(o.Teams, func(t iam.TeamRef) bool { return string(t.ID) == id })
		if i < 0 {
			l.refuse(w, r, errMalformedForm)
			return
		}
		chosen = append(chosen, o.Teams[i].ID)
		e.Joined = append(e.Joined, o.Teams[i].Name)
	}
	if len(chosen) > 0 {
		if _, err := l.Directory.JoinTeams(r.Context(), o.User, chosen...); err != nil {
			l.refuse(w, r, err)
			return
		}
		l.Report(r, e)
	}
	l.take(w, r, session.CookieName(l.HTTPS(r))+offerSuffix)
	l.header(w, r, policy{})
	seeOther(w, ReturnTo(o.ReturnTo))
}
