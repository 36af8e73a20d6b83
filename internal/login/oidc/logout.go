package oidc

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

const (
	// logoutEvent is the event that a logout token reports (Back-Channel Logout 1.0 section 2.4).
	logoutEvent = "http://schemas.openid.net/event/backchannel-logout"
	// logoutLife is how old a logout token may be, so that a replay needs to be remembered as long only.
	logoutLife = time.Hour
	// maxHintBytes bounds the ID token in an address; package session keeps none that is longer.
	maxHintBytes = 4 << 10
)

// LogoutURL returns where the browser goes to sign out at the provider as well (RP-Initiated Logout
// 1.0), and whether there is such a place: many providers have none, and one that is away has none
// now; it waits for the provider only where nothing is known of it. An ID token over 4 KiB is left out.
// postLogout may be empty.
func (c *Connector) LogoutURL(ctx context.Context, idToken iam.Secret, postLogout string) (string, bool) {
	p, err := c.provider(ctx)
	if err != nil || p.EndSession == "" {
		return "", false
	}
	u, err := url.Parse(p.EndSession)
	if err != nil {
		return "", false
	}
	query := u.Query()
	query.Set("client_id", c.clientID)
	if hint := idToken.Reveal(); hint != "" && len(hint) <= maxHintBytes {
		query.Set("id_token_hint", hint)
	}
	if postLogout != "" {
		query.Set("post_logout_redirect_uri", postLogout)
		if cognitoIssuer(c.issuer) {
			query.Set("logout_uri", postLogout) // its own name for it, without which it refuses
		}
	}
	u.RawQuery = query.Encode()
	return u.String(), true
}

func cognitoIssuer(issuer string) bool {
	u, err := url.Parse(issuer)
	return err == nil && cognito(u.Hostname())
}

// Logout is what a logout token ends: the sessions of a subject, one session, or a session of a subject
// when both are there.
type Logout struct {
	Issuer string
	// Subject and SessionID are the sub and sid of the ID tokens; one of them may be "".
	Subject, SessionID string
	// ID is the token's jti: the caller refuses one that it has seen, until Expires.
	ID string
	// Issued is when the provider made the token, Expires when it no longer counts here.
	Issued, Expires time.Time
}

// LogoutToken judges what the provider sent to the back-channel logout address (Back-Channel Logout
// 1.0 section 2.6; threats O15): signed by the provider, for us, about a logout, with iat and jti, at
// most an hour old. That each is used once is the caller's part. Errors are of iam.KindInvalid, which
// is a 400, or iam.KindUnavailable, after which the provider may try again.
func (c *Connector) LogoutToken(ctx context.Context, token string) (Logout, error) {
	l, err := c.logout(ctx, token)
	if err == nil || iam.KindOf(err) == iam.KindUnavailable {
		return l, err
	}
	reason := iam.ReasonOf(err)
	if e, ok := errors.AsType[*iam.Error](err); ok && e.Message == provesNobody {
		err = e.Err // what a person at a browser would read is no help here
	}
	return Logout{}, &iam.Error{Kind: iam.KindInvalid, Reason: reason, Message: "the logout token was refused", Err: err}
}

func (c *Connector) logout(ctx context.Context, token string) (l Logout, err error) {
	p, err := c.provider(ctx)
	if err != nil {
		return l, err
	}
	t, err := c.verify(ctx, p, token)
	if err != nil {
		return l, err
	}
	if err := reportsLogout(t); err != nil {
		return l, err
	}
	if err := c.addressed(t.Claims); err != nil {
		return l, err
	}
	l.Issuer = c.issuer
	if l.Expires, err = c.inTime(t.Claims, c.now().Add(-logoutLife-leeway), false); err != nil {
		return l, err
	}
	if l.Issued, _, err = t.Claims.NumericDate("iat"); err != nil {
		return l, err
	}
	if last := l.Issued.Add(logoutLife); l.Expires.IsZero() || l.Expires.After(last) {
		l.Expires = last
	}
	l.Expires = l.Expires.Add(leeway)
	for claim, into := range map[string]*string{"sub": &l.Subject, "sid": &l.SessionID, "jti": &l.ID} {
		if *into, err = identifier(t.Claims, claim); err != nil {
			return l, err
		}
	}
	switch {
	case l.ID == "":
		return l, refused(ReasonClaim, "the logout token has no jti")
	case l.Subject == "" && l.SessionID == "":
		return l, refused(ReasonSubject, "the logout token has neither sub nor sid")
	}
	return l, nil
}

// reportsLogout tells logout tokens from ID tokens and from reports of other events.
func reportsLogout(t *jws.Token) error {
	if t.Type != "" && t.Type != "jwt" && t.Type != "logout+jwt" {
		return refused(ReasonTokenKind, "the token has the type %s: a logout token has logout+jwt, JWT or none", untrusted.Quote(t.Type))
	}
	if t.Claims.Has("nonce") {
		return refused(ReasonTokenKind, "the token has a nonce, as ID tokens have and logout tokens must not")
	}
	text, _ := t.Claims.Lookup("events")
	var events map[string]jsontext.Value
	if err := json.Unmarshal([]byte(text), &events); err != nil || events[logoutEvent].Kind() != '{' {
		return refused(ReasonLogoutEvent, "the token does not report a logout: its claim events must have %s", logoutEvent)
	}
	return nil
}
