package ldap

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
)

// Bounds on what a directory may answer. go-ldap has none of its own: it decodes a message of any
// length, and of 1000 levels each of which holds a copy of all below it.
const (
	// maxMessageBytes bounds one message. An entry with the 1500 values that Active Directory sends at
	// a time has about 200 KB.
	maxMessageBytes = 1 << 20
	// maxAnswerBytes bounds all messages of one connection.
	maxAnswerBytes = 8 << 20
	// maxElements and maxLevels bound the BER elements of one message: an entry has one for each
	// value, and six levels.
	maxElements = 32 << 10
	maxLevels   = 16
	// maxControlBytes bounds the controls of one message, whose values are decoded once more.
	maxControlBytes = 4 << 10
)

// Tags of BER elements (RFC 4511 section 5.1 and 4.1.1).
const (
	tagSequence    = 0x30
	tagControls    = 0xa0
	tagConstructed = 0x20
	tagManyOctets  = 0x1f
)

// messages is a connection from which whole, bounded LDAP messages are read and nothing else.
type messages struct {
	net.Conn
	left int    // bytes that may still come
	rest []byte // of the message that is being handed out
}

func newMessages(conn net.Conn) *messages { return &messages{Conn: conn, left: maxAnswerBytes} }

// Read implements net.Conn.
func (m *messages) Read(p []byte) (int, error) {
	if len(m.rest) == 0 {
		message, err := readMessage(m.Conn, min(m.left, maxMessageBytes))
		if err != nil {
			return 0, err
		}
		m.left -= len(message)
		m.rest = message
	}
	n := copy(p, m.rest)
	m.rest = m.rest[n:]
	return n, nil
}

// readMessage reads one LDAPMessage of at most limit bytes, and not a byte more: what follows may
// belong to TLS. Lengths are definite (RFC 4511 section 5.1).
func readMessage(r io.Reader, limit int) ([]byte, error) {
	head := make([]byte, 2, 6)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	if head[0] != tagSequence {
		return nil, fmt.Errorf("the answer is no LDAP message: it begins with %#02x", head[0])
	}
	if octets := int(head[1] &^ 0x80); head[1] > 0x80 && octets <= 4 {
		head = head[:2+octets]
		if _, err := io.ReadFull(r, head[2:]); err != nil {
			return nil, noEnd(err)
		}
	}
	length, size, err := readLength(head[1:])
	if err != nil {
		return nil, err
	}
	if length > limit-1-size {
		return nil, fmt.Errorf("the answer has %d bytes, %d are read", length, limit)
	}
	// Copied as it comes, so that a length costs no memory before its bytes do.
	message := bytes.NewBuffer(head)
	if _, err := io.CopyN(message, r, int64(length)); err != nil {
		return nil, noEnd(err)
	}
	return message.Bytes(), checkMessage(message.Bytes()[1+size:])
}

// noEnd makes the end of the input in the middle of a message an error that says so.
func noEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// readLength reads the length of an element, and how many bytes tell it.
func readLength(b []byte) (length, size int, err error) {
	if len(b) == 0 {
		return 0, 0, io.ErrUnexpectedEOF
	}
	if b[0] < 0x80 {
		return int(b[0]), 1, nil
	}
	octets := int(b[0] &^ 0x80)
	if octets == 0 || octets > 4 {
		return 0, 0, errors.New("the answer has an element of indefinite or absurd length")
	}
	if len(b) < 1+octets {
		return 0, 0, io.ErrUnexpectedEOF
	}
	var n uint64
	for _, c := range b[1 : 1+octets] {
		n = n<<8 | uint64(c)
	}
	if n > maxAnswerBytes {
		return 0, 0, fmt.Errorf("the answer has an element of %d bytes", n)
	}
	return int(n), 1 + octets, nil
}

// checkMessage checks the content of a message: that its elements fill it, and that there are neither
// too many of them nor too many levels.
func checkMessage(content []byte) error {
	elements := maxElements
	return checkElements(content, 1, &elements)
}

func checkElements(b []byte, level int, left *int) error {
	if level > maxLevels {
		return fmt.Errorf("the answer has more than %d levels", maxLevels)
	}
	for len(b) > 0 {
		if *left--; *left < 0 {
			return fmt.Errorf("the answer has more than %d elements", maxElements)
		}
		tag := b[0]
		if tag&tagManyOctets == tagManyOctets {
			return errors.New("the answer has an element that no LDAP message has")
		}
		length, size, err := readLength(b[1:])
		if err != nil {
			return err
		}
		if length > len(b)-1-size {
			return errors.New("the answer has an element that is longer than what holds it")
		}
		if level == 1 && tag == tagControls && length > maxControlBytes {
			return fmt.Errorf("the answer has controls of %d bytes, %d are read", length, maxControlBytes)
		}
		if tag&tagConstructed != 0 {
			if err := checkElements(b[1+size:1+size+length], level+1, left); err != nil {
				return err
			}
		}
		b = b[1+size+length:]
	}
	return nil
}
