package ldap

import (
	"context"
	"errors"
	"fmt"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// Test goes through everything that a sign-in needs but a person's password, so that a directory can
// be tested before anybody depends on it (LDAP-2): it connects, secures the connection, binds,
// searches the base DN, and looks for one entry with an e-mail address and, if there is an allow list,
// for one with groups. The error is an *iam.Error whose message says for an administrator which step
// failed, why, and what to do.
func (c *Connector) Test(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	done, err := c.turn(ctx)
	if err != nil {
		return err
	}
	defer done()
	err = c.rehearse(ctx)
	if err == nil {
		return nil
	}
	f, ok := errors.AsType[*fault](err)
	if !ok {
		return unavailable(err)
	}
	return &iam.Error{Kind: iam.KindUnavailable, Reason: "unavailable", RetryAfter: retryAway,
		Message: fmt.Sprintf("The directory %s cannot be used: %s failed (%v). Remedy: %s.", c.address.dial(), f.step, f.err, f.step.remedy())}
}

func (c *Connector) rehearse(ctx context.Context) error {
	l, err := c.open(ctx)
	if err != nil {
		return err
	}
	defer l.close()
	if err := c.bindService(l); err != nil {
		return err
	}
	base := c.search("(objectClass=*)", 1, attributeNothing)
	base.Scope = goldap.ScopeBaseObject
	switch entries, err := run(l, base); {
	case err != nil:
		return &fault{step: stepSearch, err: err}
	case len(entries) == 0:
		return &fault{step: stepSearch, err: errors.New("the directory shows nothing there")}
	}
	if err := c.expect(l, stepPeople, c.emailAttribute); err != nil || c.allowed.IsZero() {
		return err
	}
	return c.expect(l, stepGroups, c.groupAttribute)
}

// expect fails if the directory shows no entry with the attribute.
func (c *Connector) expect(l *link, s step, attribute string) error {
	shown, err := c.shown(l, attribute)
	if err == nil && !shown {
		err = fmt.Errorf("the directory shows no entry with the attribute %s", attribute)
	}
	if err != nil {
		return &fault{step: s, err: err}
	}
	return nil
}
