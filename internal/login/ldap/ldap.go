// Package ldap is the connector to an LDAP directory: it turns a log-in name and a password into an
// identity.Identity. It is the one owner of go-ldap, and knows nothing of HTTP, sessions or the
// gateway's own record. Caching it leaves out: every sign-in asks the directory, so what it says now
// counts, and no hash of a password is kept.
//
// It searches, then binds. A service account, or nobody in particular, searches the one entry that
// the log-in name belongs to; then, on a connection of its own, that entry's name and the password
// are bound. No DN is ever put together from what a person typed. Nobody's entry is bound too, to a
// name that does not exist, so that a name nobody has and a wrong password take the same steps.
//
// What cannot be decided because the directory, the way to it or the configuration is at fault is
// iam.KindUnavailable, never a no. Groups are those that the group attribute of the entry names:
// direct ones. Groups in groups, and Active Directory's primary group, are not among them.
package ldap

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
)

// Defaults and bounds of a Config.
const (
	DefaultEmailAttribute = "mail"
	DefaultGroupAttribute = "memberOf"
	DefaultFilter         = "(|(mail={login})(uid={login}))"
	DefaultTimeout        = 10 * time.Second
	MinTimeout            = time.Second
	MaxTimeout            = time.Minute
	DefaultMaxConnections = 16
	MaxMaxConnections     = 1024
)

const (
	// loginPlace is where the log-in name stands in a filter.
	loginPlace = "{login}"
	// maxFilterBytes bounds a filter, maxBindDNBytes the name of the service account.
	maxFilterBytes = 4096
	maxBindDNBytes = 4096
	// turnTimeout is how long a sign-in waits for one of the connections.
	turnTimeout = 2 * time.Second
	// retryAway and retryBusy say when to come again: the directory is away, or has enough to do.
	retryAway = 10 * time.Second
	retryBusy = 2 * time.Second
)

// Config says which directory there is, and how to ask it.
type Config struct {
	// Address is ldap://host[:port], ldaps://host[:port], or host[:port], which is ldap://. The ports
	// are 389 and 636 by default.
	Address string
	// BaseDN is where all searches start. Address and BaseDN are part of the name under which accounts are
	// bound to people: with another host, port or base, everybody is bound anew by e-mail address.
	BaseDN string
	// BindDN and BindPassword are the account that searches; anonymous if one of them is missing.
	// Active Directory also takes user@domain for the DN.
	BindDN       string
	BindPassword iam.Secret
	// EmailAttribute holds a person's one e-mail address; empty means mail.
	EmailAttribute string
	// GroupAttribute of a person's entry names the groups; empty means memberOf. Where its values are
	// no DNs, they are the names themselves.
	GroupAttribute string
	// StartTLS secures the connection of an ldap:// address, before anything is said on it. An ldaps://
	// address is secured in any case.
	StartTLS bool
	// Roots are the certificate authorities that the server's certificate may come from; nil means
	// those of the machine. There is no way to leave the certificate unchecked.
	Roots *x509.CertPool
	// InsecureCleartext lets passwords go in clear text, to this machine only.
	InsecureCleartext bool
	// Filter finds a person's entry; {login} stands for what the person typed. Empty means
	// DefaultFilter; for Active Directory (|(mail={login})(sAMAccountName={login})(userPrincipalName={login})).
	Filter string
	// AllowList says whose members may sign in; zero means everyone whom the filter finds.
	AllowList AllowList
	// Timeout bounds a sign-in from the first connection to the last answer. 0 means DefaultTimeout;
	// between MinTimeout and MaxTimeout.
	Timeout time.Duration
	// MaxConnections bounds the connections that are open at a time. 0 means DefaultMaxConnections; at
	// most MaxMaxConnections.
	MaxConnections int
}

// Reasons of the errors that Authenticate returns.
const (
	ReasonWrongPassword   iam.Reason = "wrong_password"
	ReasonAccountRefused  iam.Reason = "account_refused"
	ReasonPasswordExpired iam.Reason = "password_expired"
	ReasonGroupNotAllowed iam.Reason = "group_not_allowed"
	ReasonEmailUnusable   iam.Reason = "email_unusable"
)

// Connector asks one directory. Its methods may be called from many goroutines.
type Connector struct {
	address                        address
	startTLS                       bool
	tls                            *tls.Config
	base, issuer                   string
	bindDN                         string
	bindPassword                   iam.Secret
	emailAttribute, groupAttribute string
	filter                         string
	allowed                        AllowList
	timeout                        time.Duration
	nobody                         string        // a DN that no entry has
	turns                          chan struct{} // one for each connection that may be open
}

// New returns a Connector. It checks the configuration and opens nothing: whether there is such a
// directory, Test tells.
func New(cfg Config) (*Connector, error) {
	at, err := parseAddress(cfg.Address)
	if err != nil {
		return nil, err
	}
	if err := cfg.validSecurity(at); err != nil {
		return nil, err
	}
	base, ok := parseDN(cfg.BaseDN)
	if !ok {
		return nil, iam.Invalidf("the base DN %q is no DN: give the one under which people are searched, such as dc=example,dc=com", cfg.BaseDN)
	}
	if cfg, err = cfg.withDefaults(); err != nil {
		return nil, err
	}
	var random [16]byte
	rand.Read(random[:]) // never fails (crypto/rand)
	return &Connector{
		address:        at,
		startTLS:       cfg.StartTLS,
		tls:            &tls.Config{MinVersion: tls.VersionTLS12, ServerName: at.host, RootCAs: cfg.Roots},
		base:           cfg.BaseDN,
		issuer:         at.issuer(base.key),
		bindDN:         cfg.BindDN,
		bindPassword:   cfg.BindPassword,
		emailAttribute: cfg.EmailAttribute,
		groupAttribute: cfg.GroupAttribute,
		filter:         cfg.Filter,
		allowed:        cfg.AllowList,
		timeout:        cfg.Timeout,
		nobody:         "cn=" + hex.EncodeToString(random[:]) + "," + cfg.BaseDN,
		turns:          make(chan struct{}, cfg.MaxConnections),
	}, nil
}

// validSecurity refuses what would send passwords in clear text over a network (threat L05).
func (cfg Config) validSecurity(at address) error {
	switch {
	case at.tls || cfg.StartTLS:
		return nil
	case !at.loopback():
		return iam.Invalidf("the directory %s would be sent passwords in clear text: use an ldaps:// address, or turn TLS on for StartTLS", at.dial())
	case !cfg.InsecureCleartext:
		return iam.Invalidf("the directory %s would be sent passwords in clear text: use an ldaps:// address, turn TLS on for StartTLS, or allow it with insecure_cleartext, which this machine's own address may have", at.dial())
	}
	return nil
}

func (cfg Config) withDefaults() (Config, error) {
	setDefault(&cfg.EmailAttribute, DefaultEmailAttribute)
	setDefault(&cfg.GroupAttribute, DefaultGroupAttribute)
	setDefault(&cfg.Filter, DefaultFilter)
	setDefault(&cfg.Timeout, DefaultTimeout)
	setDefault(&cfg.MaxConnections, DefaultMaxConnections)
	if err := validFilter(cfg.Filter); err != nil {
		return cfg, err
	}
	switch {
	case !validAttribute(cfg.EmailAttribute):
		return cfg, iam.Invalidf("the e-mail attribute %q is no name of an attribute", cfg.EmailAttribute)
	case !validAttribute(cfg.GroupAttribute):
		return cfg, iam.Invalidf("the group attribute %q is no name of an attribute", cfg.GroupAttribute)
	case len(cfg.BindDN) > maxBindDNBytes:
		return cfg, iam.Invalidf("the bind DN has %d bytes, %d are allowed", len(cfg.BindDN), maxBindDNBytes)
	case cfg.Timeout < MinTimeout || cfg.Timeout > MaxTimeout:
		return cfg, iam.Invalidf("the directory's timeout %s is not between %s and %s", cfg.Timeout, MinTimeout, MaxTimeout)
	case cfg.MaxConnections < 0 || cfg.MaxConnections > MaxMaxConnections:
		return cfg, iam.Invalidf("%d connections to the directory are not between 1 and %d", cfg.MaxConnections, MaxMaxConnections)
	}
	return cfg, nil
}

func setDefault[T comparable](value *T, otherwise T) {
	var zero T
	if *value == zero {
		*value = otherwise
	}
}

// validFilter checks that a filter can be read and asks for the log-in name, as a value: where an
// attribute's name or an operator stands, escaping would not keep it in its place.
func validFilter(filter string) error {
	if len(filter) > maxFilterBytes {
		return iam.Invalidf("the directory's filter has %d bytes, %d are allowed", len(filter), maxFilterBytes)
	}
	parts := strings.Split(filter, loginPlace)
	if len(parts) == 1 {
		return iam.Invalidf("the directory's filter %q does not ask for the log-in name: write {login} where it stands, as in %s", filter, DefaultFilter)
	}
	before := ""
	for _, part := range parts[:len(parts)-1] {
		before += part
		if strings.LastIndexByte(before, '=') <= strings.LastIndexAny(before, "()") || strings.HasSuffix(before, `\`) {
			return iam.Invalidf("the directory's filter %q has {login} elsewhere than behind an equals sign: write it as in %s", filter, DefaultFilter)
		}
		before += "x"
	}
	if _, err := goldap.CompileFilter(strings.ReplaceAll(filter, loginPlace, "x")); err != nil {
		return iam.Invalidf("the directory's filter %q cannot be read (%v): write one as in %s", filter, plain(err), DefaultFilter)
	}
	return nil
}

// Authenticate returns who has this log-in name and this password. Its errors are *iam.Error:
// KindUnauthenticated is one answer for every name that nobody has and every password that is wrong;
// KindDenied is for who proved the password and may not enter; KindUnavailable says that the
// directory could not be asked, and decides nothing.
func (c *Connector) Authenticate(ctx context.Context, login string, password iam.Secret) (*identity.Identity, error) {
	login, ok := usableLogin(login)
	if !ok || !usablePassword(password) {
		return nil, wrongPassword(errors.New("no directory has such a log-in name or password, so none was asked"))
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	done, err := c.turn(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	p, missing, err := c.ask(ctx, login)
	if err != nil {
		return nil, unavailable(err)
	}
	name := c.nobody
	if p != nil {
		name = p.dn
	}
	v, reason, err := c.prove(ctx, name, password)
	switch {
	case err != nil:
		return nil, unavailable(err)
	case p == nil:
		return nil, wrongPassword(missing)
	}
	switch v {
	case verdictRight:
		return c.admit(p)
	case verdictWrong:
		return nil, wrongPassword(reason)
	case verdictRefused:
		return nil, &iam.Error{Kind: iam.KindDenied, Reason: ReasonAccountRefused, Err: reason,
			Message: "The directory does not let this account sign in: it is disabled, has expired, or is barred at this time. Ask the people who keep the directory."}
	case verdictChange:
		return nil, &iam.Error{Kind: iam.KindDenied, Reason: ReasonPasswordExpired, Err: reason,
			Message: "The password is right, but the directory wants a new one. Change it where you do for your other services, then sign in here."}
	case verdictUnknown:
		return nil, unavailable(reason)
	default:
		return nil, unavailable(reason)
	}
}

// turn waits for one of the connections. The caller gives it back with done.
func (c *Connector) turn(ctx context.Context) (done func(), err error) {
	wait := time.NewTimer(turnTimeout)
	defer wait.Stop()
	select {
	case c.turns <- struct{}{}:
		return func() { <-c.turns }, nil
	case <-wait.C:
		err = errors.New("all connections to the directory are in use")
	case <-ctx.Done():
		err = ctx.Err()
	}
	return nil, &iam.Error{Kind: iam.KindUnavailable, Reason: "unavailable", RetryAfter: retryBusy, Err: err,
		Message: "Too many people sign in at this moment, so the directory was not asked. Try again in a few seconds."}
}

// ask searches a person on a connection that ends with it.
func (c *Connector) ask(ctx context.Context, login string) (p *person, reason, err error) {
	l, err := c.open(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer l.close()
	if err := c.bindService(l); err != nil {
		return nil, nil, err
	}
	return c.find(l, login)
}

// admit judges a person who proved the password.
func (c *Connector) admit(p *person) (*identity.Identity, error) {
	if !c.allowed.IsZero() {
		if !p.groups.known {
			return nil, unavailable(&fault{step: stepGroups, err: errors.New("the directory shows nobody's " + c.groupAttribute + " to the account that searches, so the group allow list cannot be followed")})
		}
		if !c.allowed.admits(p.groups) {
			return nil, &iam.Error{Kind: iam.KindDenied, Reason: ReasonGroupNotAllowed,
				Message: "Your password is right, but you are in none of the directory's groups whose members may sign in here. Ask your W&B administrator to be added to one."}
		}
	}
	if len(p.emails) != 1 || !addressLike(p.emails[0]) {
		return nil, &iam.Error{Kind: iam.KindDenied, Reason: ReasonEmailUnusable,
			Message: "Your password is right, but your entry in the directory does not have exactly one e-mail address, by which you are known here. Ask the people who keep the directory to correct it."}
	}
	return &identity.Identity{
		Issuer:  c.issuer,
		Subject: p.id,
		Email:   p.emails[0],
		// The operator named this directory and this attribute as the authority for addresses.
		EmailVerified: identity.VerifiedTrue,
		Username:      p.uid,
		Name:          p.cn,
		Groups:        p.groups.names,
		GroupsKnown:   p.groups.known,
	}, nil
}

// maxEmailBytes is RFC 5321's bound on a path, less its angle brackets.
const maxEmailBytes = 254

// addressLike reports whether s looks like an e-mail address: printable ASCII with one @ inside, as
// package directory has it.
func addressLike(s string) bool {
	at := strings.IndexByte(s, '@')
	if at <= 0 || at == len(s)-1 || at != strings.LastIndexByte(s, '@') || len(s) > maxEmailBytes {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`,;<>"`, r) })
}

// wrongPassword is the one answer to a log-in name or password that does not count.
func wrongPassword(reason error) error {
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonWrongPassword, Err: reason,
		Message: "The directory does not know this log-in name with this password. Check both and try again; if you are sure of them, your account may be locked."}
}

// unavailable is the answer when the directory could not be asked.
func unavailable(err error) error {
	return &iam.Error{Kind: iam.KindUnavailable, Reason: "unavailable", RetryAfter: retryAway, Err: err,
		Message: "The company's directory cannot be asked at this moment, so nobody can sign in with its passwords; yours was not judged. Try again soon; if it lasts, tell your W&B administrator."}
}
