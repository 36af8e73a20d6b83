package ldap

import (
	"context"
	"errors"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// bindService binds as the account that searches, or anonymously if DN or password are missing
// (LDAP-4, LDAP-5). Then it sends no DN either: with one it would be an unauthenticated bind, which
// servers refuse (RFC 4513 section 5.1.2).
func (c *Connector) bindService(l *link) error {
	var err error
	if c.anonymous() {
		err = l.UnauthenticatedBind("")
	} else {
		err = l.Bind(c.bindDN, c.bindPassword.Reveal())
	}
	if err != nil {
		return &fault{step: stepBind, err: plain(err, c.bindPassword.Reveal())}
	}
	return nil
}

func (c *Connector) anonymous() bool { return c.bindDN == "" || c.bindPassword.IsZero() }

// verdict is what a directory says about a person's password.
type verdict uint8

const (
	verdictUnknown verdict = iota // it did not say
	verdictRight
	verdictWrong   // or: nothing that may be told to somebody who perhaps does not know the password
	verdictRefused // the password is right, but the account is disabled, expired, or barred now
	verdictChange  // the password is right, but has expired or must be changed first
)

// prove binds as the person on a connection of its own, and returns what the directory says. reason
// is its answer for the log, nil if it is plainly yes. An error is a *fault: it did not say.
func (c *Connector) prove(ctx context.Context, name string, password iam.Secret) (v verdict, reason, err error) {
	l, err := c.open(ctx)
	if err != nil {
		return verdictUnknown, nil, err
	}
	defer l.close()
	request := goldap.NewSimpleBindRequest(name, password.Reveal(), []goldap.Control{goldap.NewControlBeheraPasswordPolicy()})
	result, err := l.SimpleBind(request)
	v = judge(result, err)
	switch {
	case v == verdictRight:
		return v, nil, nil
	case err == nil:
		return v, errors.New("the directory's password policy demands a new password"), nil
	case v == verdictUnknown:
		return v, nil, &fault{step: stepPerson, err: plain(err, password.Reveal())}
	}
	return v, plain(err, password.Reveal()), nil
}

// judge reads the answer to a person's bind. That an account is disabled or a password expired is
// told on: directories say it to who knows the password. That an account is locked they tell everybody,
// so it counts as a wrong password.
func judge(result *goldap.SimpleBindResult, err error) verdict {
	if err == nil {
		if mustChange(result) {
			return verdictChange
		}
		return verdictRight
	}
	code, ok := codeOf(err)
	if !ok {
		return verdictUnknown
	}
	switch code {
	case goldap.LDAPResultInvalidCredentials:
		return judgeInvalid(result, err)
	case goldap.LDAPResultUnwillingToPerform, // 389 Directory Server: inactivated, in older versions whatever the password
		goldap.LDAPResultNoSuchObject, goldap.LDAPResultInvalidDNSyntax, // gone meanwhile, or never there
		goldap.LDAPResultInappropriateAuthentication, // has no password
		goldap.LDAPResultInsufficientAccessRights,    // may not bind
		goldap.LDAPResultConstraintViolation:         // 389 Directory Server: too many failures
		return verdictWrong
	default: // busy, unavailable, referral, confidentiality required and what else is not the person's fault
		return verdictUnknown
	}
}

// judgeInvalid reads what is behind result 49.
func judgeInvalid(result *goldap.SimpleBindResult, err error) verdict {
	if mustChange(result) {
		return verdictChange
	}
	switch activeDirectoryCode(err) {
	case "530", "531", "533", "701": // not now, not from here, disabled, account expired
		return verdictRefused
	case "532", "773": // password expired, must be changed
		return verdictChange
	default: // 52e wrong, 525 nobody, 775 locked, and servers that give no code
		return verdictWrong
	}
}

// Answers of a password policy (draft-behera-ldap-password-policy-10 section 6.2).
const (
	policyPasswordExpired  = 0
	policyChangeAfterReset = 2
)

// mustChange reports whether a control says that the password is right and of no use.
func mustChange(result *goldap.SimpleBindResult) bool {
	if result == nil {
		return false
	}
	for _, control := range result.Controls {
		switch control := control.(type) {
		case *goldap.ControlBeheraPasswordPolicy:
			if control.Error == policyPasswordExpired || control.Error == policyChangeAfterReset {
				return true
			}
		case *goldap.ControlVChuPasswordMustChange:
			return true
		}
	}
	return false
}
