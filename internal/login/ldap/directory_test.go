package ldap

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// directory is an LDAP server for tests: enough of one to be signed in with, and all that real ones
// must not do.
type directory struct {
	t        *testing.T
	listener net.Listener
	tls      *tls.Config // of StartTLS and, with ldaps, of every connection
	ldaps    bool

	entries []entry
	// passwords of DNs; a DN that has none answers 49.
	passwords map[string]string
	// onBind and onSearch answer instead of what is above, if they return something.
	onBind   func(dn, password string) *ber.Packet
	onSearch func(r request) []*ber.Packet
	controls func(dn string) *ber.Packet
	// onAccept takes a connection over if it returns true.
	onAccept func(conn net.Conn) bool
	// onStartTLS answers instead of agreeing.
	onStartTLS func(conn net.Conn, id int64) *ber.Packet

	mu       sync.Mutex
	binds    []bound
	filters  []string
	accepted atomic.Int32
	running  sync.WaitGroup
}

type bound struct{ dn, password string }

type request struct {
	conn       net.Conn
	base       string
	scope      int64
	filter     *ber.Packet
	attributes []string
}

type entry struct {
	dn         string
	attributes map[string][]string
}

// start listens on a port of this machine until the test ends.
func (d *directory) start(t *testing.T) *directory {
	t.Helper()
	d.t = t
	var err error
	if d.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	d.running.Go(d.accept)
	t.Cleanup(func() {
		d.listener.Close()
		d.running.Wait()
	})
	return d
}

func (d *directory) address() string {
	if d.ldaps {
		return "ldaps://" + d.listener.Addr().String()
	}
	return "ldap://" + d.listener.Addr().String()
}

func (d *directory) accept() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.accepted.Add(1)
		d.running.Go(func() {
			d.serve(conn)
			conn.Close()
		})
	}
}

func (d *directory) serve(conn net.Conn) {
	conn.SetDeadline(time.Now().Add(time.Minute)) // so that a test that fails ends
	if d.onAccept != nil && d.onAccept(conn) {
		return
	}
	if d.ldaps {
		conn = tls.Server(conn, d.tls)
	}
	reader := bufio.NewReader(conn)
	for {
		packet, err := ber.ReadPacket(reader)
		if err != nil || len(packet.Children) < 2 {
			return
		}
		id, op := packet.Children[0].Value.(int64), packet.Children[1]
		switch op.Tag {
		case goldap.ApplicationBindRequest:
			dn, password := op.Children[1].Value.(string), op.Children[2].Data.String()
			var controls *ber.Packet
			if d.controls != nil {
				controls = d.controls(dn)
			}
			d.send(conn, id, d.bind(dn, password), controls)
		case goldap.ApplicationSearchRequest:
			for _, response := range d.search(conn, op) {
				d.send(conn, id, response, nil)
			}
		case goldap.ApplicationExtendedRequest:
			if d.onStartTLS != nil {
				if response := d.onStartTLS(conn, id); response != nil {
					d.send(conn, id, response, nil)
				}
				continue
			}
			d.send(conn, id, result(goldap.ApplicationExtendedResponse, 0, ""), nil)
			conn = tls.Server(conn, d.tls)
			reader = bufio.NewReader(conn)
		default:
			return
		}
	}
}

func (d *directory) bind(dn, password string) *ber.Packet {
	d.mu.Lock()
	d.binds = append(d.binds, bound{dn, password})
	d.mu.Unlock()
	if d.onBind != nil {
		if response := d.onBind(dn, password); response != nil {
			return response
		}
	}
	if want, ok := d.passwords[dn]; dn == "" && password == "" || ok && want == password {
		return result(goldap.ApplicationBindResponse, 0, "")
	}
	return result(goldap.ApplicationBindResponse, goldap.LDAPResultInvalidCredentials, "")
}

func (d *directory) search(conn net.Conn, op *ber.Packet) []*ber.Packet {
	r := request{conn: conn, base: op.Children[0].Value.(string), scope: op.Children[1].Value.(int64), filter: op.Children[6]}
	for _, a := range op.Children[7].Children {
		r.attributes = append(r.attributes, a.Value.(string))
	}
	limit := op.Children[3].Value.(int64)
	text, err := goldap.DecompileFilter(r.filter)
	if err != nil {
		text = err.Error()
	}
	d.mu.Lock()
	d.filters = append(d.filters, text)
	d.mu.Unlock()
	if d.onSearch != nil {
		if responses := d.onSearch(r); responses != nil {
			return responses
		}
	}
	var responses []*ber.Packet
	for _, e := range d.entries {
		if r.scope == goldap.ScopeBaseObject && !strings.EqualFold(e.dn, r.base) || !matches(r.filter, e.attributes) {
			continue
		}
		if int64(len(responses)) == limit {
			return append(responses, result(goldap.ApplicationSearchResultDone, goldap.LDAPResultSizeLimitExceeded, ""))
		}
		responses = append(responses, found(e.dn, chosen(e.attributes, r.attributes)))
	}
	return append(responses, result(goldap.ApplicationSearchResultDone, 0, ""))
}

func (d *directory) send(conn net.Conn, id int64, op, controls *ber.Packet) {
	conn.Write(message(id, op, controls))
}

// seen returns the binds so far.
func (d *directory) seen() []bound {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.binds)
}

// gotPassword reports whether the password came here in any bind.
func (d *directory) gotPassword(password string) bool {
	return slices.ContainsFunc(d.seen(), func(b bound) bool { return b.password == password })
}

func message(id int64, op, controls *ber.Packet) []byte {
	packet := ber.NewSequence("")
	packet.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	packet.AppendChild(op)
	if controls != nil {
		packet.AppendChild(controls)
	}
	return packet.Bytes()
}

func octets(s string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, s, "")
}

// result is an answer that ends an operation.
func result(tag ber.Tag, code int64, text string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, code, ""))
	p.AppendChild(octets(""))
	p.AppendChild(octets(text))
	return p
}

// found is an entry in the answer to a search.
func found(dn string, attributes map[string][]string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultEntry, nil, "")
	p.AppendChild(octets(dn))
	list := ber.NewSequence("")
	for name, values := range attributes {
		attribute := ber.NewSequence("")
		attribute.AppendChild(octets(name))
		set := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range values {
			set.AppendChild(octets(v))
		}
		attribute.AppendChild(set)
		list.AppendChild(attribute)
	}
	p.AppendChild(list)
	return p
}

// reference is a continuation reference in the answer to a search.
func reference(url string) *ber.Packet {
	p := ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultReference, nil, "")
	p.AppendChild(octets(url))
	return p
}

// control is the list of one control.
func control(oid string, value []byte) *ber.Packet {
	c := ber.NewSequence("")
	c.AppendChild(octets(oid))
	if value != nil {
		c.AppendChild(octets(string(value)))
	}
	list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 0, nil, "")
	list.AppendChild(c)
	return list
}

// chosen returns the attributes that were asked for.
func chosen(attributes map[string][]string, names []string) map[string][]string {
	some := map[string][]string{}
	for name, values := range attributes {
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			some[name] = values
		}
	}
	return some
}

// matches judges an entry by a filter, as far as the tests ask.
func matches(filter *ber.Packet, attributes map[string][]string) bool {
	values := func(name string) []string {
		for n, v := range attributes {
			if strings.EqualFold(n, name) {
				return v
			}
		}
		return nil
	}
	switch filter.Tag {
	case goldap.FilterAnd:
		return !slices.ContainsFunc(filter.Children, func(f *ber.Packet) bool { return !matches(f, attributes) })
	case goldap.FilterOr:
		return slices.ContainsFunc(filter.Children, func(f *ber.Packet) bool { return matches(f, attributes) })
	case goldap.FilterPresent:
		name := filter.Data.String()
		return strings.EqualFold(name, "objectClass") || values(name) != nil
	case goldap.FilterEqualityMatch:
		want := filter.Children[1].Value.(string)
		return slices.ContainsFunc(values(filter.Children[0].Value.(string)), func(v string) bool { return strings.EqualFold(v, want) })
	default:
		return false
	}
}

// authority issues certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, cert, key}
}

func (a *authority) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

// issue returns the configuration of a server with a certificate for an IP address or a name.
func (a *authority) issue(name string, end time.Time) *tls.Config {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
}
