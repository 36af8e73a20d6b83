package login

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// On /authorize a person stores the key that they have at the W&B server, where the server is asked with
// it. The page says since when it is kept, and never what it is.

// setUpstreamKey keeps the key in a form for the person who is signed in, and for nobody else.
func (l *Login) setUpstreamKey(r *http.Request, p *iam.Principal, x *session.Session, form url.Values) error {
	if l.UpstreamKeys == nil {
		return errMalformedForm
	}
	key, err := one(form, "key")
	if err != nil {
		return err
	}
	_, err = l.UpstreamKeys.Set(r.Context(), upstreamOwner(p), iam.NewSecret(strings.TrimSpace(key)))
	if err != nil {
		return err
	}
	l.Report(r, Event{Action: ActionUpstreamKeySet, User: p.Ref, Username: p.Username, Session: x.ID})
	return nil
}

func (l *Login) deleteUpstreamKey(r *http.Request, p *iam.Principal, x *session.Session) error {
	if l.UpstreamKeys == nil {
		return errMalformedForm
	}
	if err := l.UpstreamKeys.Delete(r.Context(), upstreamOwner(p)); err != nil {
		return err
	}
	l.Report(r, Event{Action: ActionUpstreamKeyDeleted, User: p.Ref, Username: p.Username, Session: x.ID})
	return nil
}

// upstreamOwner is whose key a person's is: sessions are of people.
func upstreamOwner(p *iam.Principal) iam.EntityID { return iam.UserID(p.Ref.ID).PersonalEntity() }

func (l *Login) shownUpstreamKey(r *http.Request, p *iam.Principal) (*shownUpstreamKey, error) {
	if l.UpstreamKeys == nil {
		return nil, nil
	}
	entry, found, err := l.UpstreamKeys.Find(r.Context(), upstreamOwner(p))
	if err != nil {
		return nil, err
	}
	shown := new(shownUpstreamKey)
	if found {
		shown.Set = entry.Set.UTC().Format(day)
	}
	return shown, nil
}
