// Package login signs people in at a browser and out again (design section 6, "Settled for sign-in").
// Connectors prove who somebody is, package directory says who that is here, package session
// remembers it for the browser; this package is the way through them, and the pages on it.
//
// # The way
//
//	GET  /oidc/login            the pages, or straight on to the provider with a new flow (flow.go)
//	POST /oidc/login            a directory's password, the temporary password, the choice of teams
//	GET|POST /oidc/callback     what the provider sends back; the flow's cookie is used up, and then judged
//	POST /oidc/backchannel-logout  the provider ends sessions
//	GET  /logout                a button; or, with iss and sid, the provider ends a session in a frame
//	POST /logout                ends the browser's session, and the one at the provider
//	/authorize                  the person's own API keys and sessions, and key of the W&B server
//
// All sign-ins meet in admit: the person is found or made, the browser's old session ends, a new one
// begins, and the browser goes where it wanted to. Whatever fails before leaves no session.
//
// Every page is made of fixed texts and escaped values; what a provider says in words is never shown.
package login

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
	"github.com/wandb-gateway/wandb-gateway/internal/vault"
)

// Passwords is a directory that knows people by a password: ldap.Connector. Errors are iam.Errors with
// texts of its own; KindUnavailable judges nothing.
type Passwords interface {
	Authenticate(ctx context.Context, login string, password iam.Secret) (*identity.Identity, error)
}

// UpstreamKeys keep the keys that people have at the W&B server: vault.Vault. The errors of Set and Delete
// are iam.Errors whose texts people read.
type UpstreamKeys interface {
	// Find says whether a key is kept for an owner, and since when.
	Find(ctx context.Context, owner iam.EntityID) (vault.Entry, bool, error)
	Set(ctx context.Context, owner iam.EntityID, key iam.Secret) (replaced bool, err error)
	Delete(ctx context.Context, owner iam.EntityID) error
}

// Settings are the deployment's switches.
type Settings struct {
	// Provision adds who signs in for the first time (`sso_provisioning`, ENV-1).
	Provision bool
	// OIDCGroups and LDAPGroups make teams follow groups (ENV-3, ENV-5).
	OIDCGroups, LDAPGroups bool
	// ForceNames takes user names from the provider's preferred_username (ENV-7).
	ForceNames bool
	// Domains say which teams newcomers join (JOIN-6..9).
	Domains []directory.Domain
}

// Config is what a Login needs. Directory, Sessions, SealKey, HTTPS and either Hosts or Host are
// required.
type Config struct {
	Directory *directory.Directory
	Sessions  *session.Sessions
	// Provider and Passwords prove who people are; either may be nil (and then no nil pointer to a
	// connector, which would not be nil here).
	Provider  Provider
	Passwords Passwords
	// UpstreamKeys keep people's own keys of the W&B server; nil where it is not asked with these.
	UpstreamKeys UpstreamKeys
	// Restore, if set, is the temporary password with which an organization admin gets in, and the only
	// way to get in (OIDC-24).
	Restore iam.Secret
	// SealKey seals flows and makes the tokens of forms. It is derived from the master key and serves
	// nothing else.
	SealKey  [32]byte
	Settings Settings

	// Hosts are the hosts, host[:port], on which people sign in. A request for another is misdirected.
	Hosts []string
	// Host, if set, is asked about a request for none of them: it returns the host of the site's own that
	// the request is for, and whether there is one.
	Host func(*http.Request) (string, bool)
	// HTTPS reports whether the browser speaks https, as far as proxies are trusted.
	HTTPS func(*http.Request) bool
	// Client returns the browser's address; nil, or the zero Addr, if nobody can tell.
	Client func(*http.Request) netip.Addr
	// RequestID returns the id under which the server logs the request; may be nil.
	RequestID func(*http.Request) string

	// AddressFailures and AccountFailures limit wrong passwords for each client and for each log-in
	// name in all its spellings. nil limits nothing.
	AddressFailures *failure.Limit[netip.Prefix]
	AccountFailures *failure.Limit[string]
	// Canonical returns the name under which failures of a log-in name are counted: ldap.Canonical. nil
	// counts every spelling.
	Canonical func(login string) string

	// Report is told of every sign-in, refusal, sign-out, key and session, before the answer; may be nil.
	Report func(*http.Request, Event)
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Login serves the doors. It is safe for use by many goroutines.
type Login struct {
	Config
	seal  *seal
	hosts map[string]string // as compared, to as configured

	mu         sync.Mutex
	unfinished map[string]bool // ids of logout tokens that count and could not be carried out
}

// New checks the configuration.
func New(c Config) (*Login, error) {
	switch {
	case c.Directory == nil || c.Sessions == nil:
		return nil, errors.New("login: Directory and Sessions are required")
	case c.HTTPS == nil:
		return nil, errors.New("login: HTTPS is required")
	case len(c.Hosts) == 0 && c.Host == nil:
		return nil, errors.New("login: Hosts or Host is required")
	case c.SealKey == [32]byte{}:
		return nil, errors.New("login: the key for sealing flows is all zero")
	}
	l := &Login{Config: c, seal: newSeal(c.SealKey), hosts: map[string]string{}, unfinished: map[string]bool{}}
	if err := CheckHosts(c.Hosts); err != nil {
		return nil, err
	}
	for _, host := range c.Hosts {
		l.hosts[strings.ToLower(host)] = host
	}
	if l.Canonical == nil {
		l.Canonical = func(login string) string { return login }
	}
	if l.Client == nil {
		l.Client = func(*http.Request) netip.Addr { return netip.Addr{} }
	}
	if l.RequestID == nil {
		l.RequestID = func(*http.Request) string { return "" }
	}
	if l.Report == nil {
		l.Report = func(*http.Request, Event) {}
	}
	if l.Now == nil {
		l.Now = time.Now
	}
	return l, nil
}

// attempts bounds how often a session and its principal are read again because they changed meanwhile.
const attempts = 8

// SignedIn returns who is signed in at the browser that sent the request, with the session; nils if
// nobody is. An error, of iam.KindUnavailable, says that nobody can tell.
func (l *Login) SignedIn(r *http.Request) (*iam.Principal, *session.Session, error) {
	secret, found := session.Read(r.Header, l.HTTPS(r))
	if !found {
		return nil, nil, nil
	}
	p, s, err := Holder(r.Context(), l.Directory, l.Sessions, secret)
	if iam.KindOf(err) == iam.KindUnauthenticated {
		return nil, nil, nil
	}
	return p, s, err
}

// Holder returns whose session a cookie's value is, with the session. iam.KindUnauthenticated says that
// it counts for nobody, or for nobody any more; iam.KindUnavailable that nobody can tell.
func Holder(ctx context.Context, d *directory.Directory, sessions *session.Sessions, secret iam.Secret) (*iam.Principal, *session.Session, error) {
	for range attempts {
		v := d.View()
		s, err := sessions.Find(ctx, v, secret)
		var p *iam.Principal
		if err == nil {
			p, err = d.PrincipalIn(ctx, v, s.Principal)
		}
		switch {
		case !v.Valid():
			continue
		case err != nil:
			return nil, nil, err
		case !p.Active:
			return nil, nil, directory.Deactivated(p)
		case !s.Holds(p):
			return nil, nil, errSessionEnded
		}
		return p, s, nil
	}
	return nil, nil, iam.Unavailable("The store kept changing. Try again.", nil)
}

var errSessionEnded = &iam.Error{Kind: iam.KindUnauthenticated, Reason: session.ReasonEnded,
	Message: "This browser's session has ended. Sign in again."}

// admission is a proof that somebody may be let in on.
type admission struct {
	user     *iam.User
	identity *identity.Identity // nil with the temporary password
	method   session.Method
	returnTo string
	// old is the id of the session that the browser had when the sign-in began; may be empty.
	old    string
	signed *directory.SignedIn // nil with the temporary password
}

// admitIdentity lets in whom a connector proved, if the directory knows them or may add them.
func (l *Login) admitIdentity(w http.ResponseWriter, r *http.Request, id *identity.Identity, m session.Method, returnTo, old string) error {
	e := Event{Action: ActionSignIn, Method: m}
	e.of(id)
	done, err := l.Directory.SignIn(r.Context(), directory.SignIn{
		Issuer: id.Issuer, Subject: id.Subject,
		Email: id.Email, EmailRefuted: refuted(id.EmailVerified),
		Username: id.Username, Name: id.Name, Groups: id.Groups, GroupsKnown: id.GroupsKnown,
		Provision:  l.Settings.Provision,
		GroupSync:  m == session.MethodOIDC && l.Settings.OIDCGroups || m == session.MethodLDAP && l.Settings.LDAPGroups,
		ForceNames: m == session.MethodOIDC && l.Settings.ForceNames,
		Domains:    l.Settings.Domains,
	})
	if err != nil {
		l.refused(r, e, err)
		return err
	}
	return l.admit(w, r, e, admission{user: done.User, identity: id, method: m, returnTo: returnTo, old: old, signed: done})
}

// refuted reports whether an authority says that an address is not the person's.
func refuted(v identity.Verified) bool {
	switch v {
	case identity.VerifiedAbsent, identity.VerifiedTrue:
		return false
	case identity.VerifiedFalse:
		return true
	default:
		return true
	}
}

// admit ends the browser's old session, begins a new one (threats O09), and sends the browser on.
func (l *Login) admit(w http.ResponseWriter, r *http.Request, e Event, a admission) error {
	e.User, e.Username = a.user.ID.Ref(), a.user.Username
	fail := func(err error) error {
		l.refused(r, e, err)
		return err
	}
	if err := l.endOld(r, a.old); err != nil {
		return fail(err)
	}
	n := session.NewSession{
		Principal: a.user.ID.Ref(), Epoch: a.user.Epoch, Method: a.method,
		Client: l.Client(r), UserAgent: r.UserAgent(),
	}
	if id := a.identity; id != nil {
		n.Issuer, n.Subject, n.ProviderSession = id.Issuer, id.Subject, id.SessionID
		if l.Provider != nil && l.Provider.Status().SignsOut {
			n.IDToken = id.IDToken
		}
	}
	secret, s, err := l.Sessions.Create(r.Context(), n)
	if err != nil {
		return fail(err)
	}
	e.Session = s.ID
	e.became(a.signed)
	l.Report(r, e)
	http.SetCookie(w, session.Cookie(secret, l.HTTPS(r), s))
	if a.signed != nil && len(a.signed.Offered) > 0 && l.offer(w, r, a) {
		seeOther(w, teamsPage)
		return nil
	}
	seeOther(w, a.returnTo)
	return nil
}

// endOld ends the session whose cookie came with the request, and the one with that id. The cookie
// does not come with a form that another site posts, which is why a flow knows the id.
func (l *Login) endOld(r *http.Request, id string) error {
	if secret, found := session.Read(r.Header, l.HTTPS(r)); found {
		if err := l.Sessions.End(r.Context(), secret); err != nil {
			return err
		}
	}
	if id == "" {
		return nil
	}
	_, err := l.Sessions.EndByID(r.Context(), iam.PrincipalRef{}, id)
	switch iam.KindOf(err) {
	case iam.KindNotFound, iam.KindInvalid:
		return nil
	}
	return err
}

// refused reports why somebody was not let in.
func (l *Login) refused(r *http.Request, e Event, err error) {
	e.Action, e.Reason, e.Err = ActionRefused, iam.ReasonOf(err), err
	l.Report(r, e)
}

// seeOther sends the browser on with a GET, whatever it sent itself (RFC 9700 section 4.12). The target
// is one of ours or was validated; http.Redirect would clean it, and it has to stay as it is.
func seeOther(w http.ResponseWriter, target string) {
	w.Header().Set("Location", target)
	w.WriteHeader(http.StatusSeeOther)
}
