package ldap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// connectTimeout bounds how long it takes until the directory can be spoken to, TLS included.
const connectTimeout = 5 * time.Second

// link is one connection, which lives for one bind and what is asked under it. There is no pool: a
// bind says who all later questions come from, so a person's connection serves nobody else, and what
// a directory cut, or a firewall forgot, is never met again.
type link struct {
	*goldap.Conn
	stop func() bool
}

// close ends the connection.
func (l *link) close() {
	l.stop()
	l.Conn.Close()
}

// open connects. The connection ends with ctx, which must have a deadline. No password has been sent
// when it returns; without TLS it returns only where New let clear text pass.
func (c *Connector) open(ctx context.Context) (*link, error) {
	connecting, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	raw, err := new(net.Dialer).DialContext(connecting, "tcp", c.address.dial())
	if err != nil {
		return nil, &fault{step: stepConnect, err: err}
	}
	deadline, _ := connecting.Deadline()
	raw.SetDeadline(deadline)
	secured, err := c.secure(connecting, raw)
	if err != nil {
		raw.Close()
		return nil, err
	}
	deadline, _ = ctx.Deadline()
	raw.SetDeadline(deadline)
	l := &link{Conn: goldap.NewConn(newMessages(secured), true)}
	l.Start()
	// Closing what is below wakes whoever reads or writes; go-ldap then ends everything else.
	l.stop = context.AfterFunc(ctx, func() { raw.Close() })
	return l, nil
}

// secure puts TLS on a fresh connection, as the address and the configuration say.
func (c *Connector) secure(ctx context.Context, raw net.Conn) (net.Conn, error) {
	switch {
	case c.address.tls:
	case c.startTLS:
		if err := startTLS(ctx, raw); err != nil {
			return nil, &fault{step: stepStartTLS, err: err}
		}
	default:
		return raw, nil // loopback, as New saw to
	}
	conn := tls.Client(raw, c.tls)
	if err := conn.HandshakeContext(ctx); err != nil {
		return nil, &fault{step: stepTLS, err: err}
	}
	return conn, nil
}

const (
	// startTLSRequest is message 1, an ExtendedRequest with StartTLS's name (RFC 4511 section 4.14.1).
	startTLSRequest = "\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + "1.3.6.1.4.1.1466.20037"
	// maxStartTLSBytes bounds the answer to it.
	maxStartTLSBytes = 4 << 10
	// extendedResponse is the tag of its answer (RFC 4511 section 4.12).
	extendedResponse = 24
)

// startTLS asks for TLS. It does so by itself and not through go-ldap, whose StartTLS knows no context
// and waits forever if something else takes the answer's place. Here exactly one message is read
// before TLS begins, so that nothing from before it counts as said under it.
func startTLS(ctx context.Context, raw net.Conn) error {
	stop := context.AfterFunc(ctx, func() { raw.Close() })
	defer stop()
	if _, err := raw.Write([]byte(startTLSRequest)); err != nil {
		return err
	}
	message, err := readMessage(raw, maxStartTLSBytes)
	if err != nil {
		return err
	}
	packet, err := ber.DecodePacketErr(message)
	if err != nil {
		return err
	}
	if len(packet.Children) < 2 || packet.Children[0].Value != int64(1) || packet.Children[1].Tag != extendedResponse {
		return errors.New("the directory answered something else")
	}
	if err := goldap.GetLDAPError(packet); err != nil {
		return plain(err)
	}
	return nil
}

// step is a part of talking to the directory that can fail, in order.
type step uint8

const (
	stepConnect step = iota
	stepStartTLS
	stepTLS
	stepBind
	stepSearch
	stepPeople
	stepGroups
	stepPerson // bind as the person who signs in
)

// String returns what the step does.
func (s step) String() string {
	switch s {
	case stepConnect:
		return "connecting to the directory"
	case stepStartTLS:
		return "asking the directory for StartTLS"
	case stepTLS:
		return "securing the connection with TLS"
	case stepBind:
		return "binding to the directory"
	case stepSearch:
		return "searching the base DN"
	case stepPeople:
		return "looking for people under the base DN"
	case stepGroups:
		return "reading groups"
	case stepPerson:
		return "binding as the person"
	default:
		return "talking to the directory"
	}
}

// remedy returns what an administrator does about a step that failed.
func (s step) remedy() string {
	switch s {
	case stepConnect:
		return "check the address and the port, and that a firewall lets this machine reach them"
	case stepStartTLS:
		return "check that the server has a certificate and offers StartTLS on this port, or use ldaps:// with the port for it"
	case stepTLS:
		return "check that the server's certificate is in date, bears the host name in the address, comes from a certificate authority that this machine trusts, and that the server speaks TLS 1.2 or newer"
	case stepBind:
		return "check bind DN and password; without both the bind is anonymous, which the server must allow"
	case stepSearch:
		return "check that the base DN exists and that the bind DN may search it"
	case stepPeople:
		return "check that the base DN holds the people, that the bind DN may read them, and the name of the e-mail attribute"
	case stepGroups:
		return "check that the bind DN may read the group attribute, and its name; memberOf needs an overlay or a plug-in on some servers"
	case stepPerson:
		return "look into the directory's log"
	default:
		return "look into the directory's log"
	}
}

// fault is a failure after which nobody can tell who somebody is: the directory or the way to it is
// at fault, or our configuration, and not the person. Its text holds no password.
type fault struct {
	step step
	err  error
}

// Error implements error.
func (f *fault) Error() string { return fmt.Sprintf("%s: %v", f.step, f.err) }

// Unwrap returns the cause.
func (f *fault) Unwrap() error { return f.err }
