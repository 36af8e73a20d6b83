//go:build e2e

package tests

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
	"github.com/wandb-gateway/wandb-gateway/internal/login/ldap"
)

// These tests sign people in at OpenLDAP's slapd: real StartTLS, ldaps, memberOf, password policy,
// referrals. The server is started from a configuration made here, in a temporary folder, on
// addresses of this machine's loopback.

const (
	slapdBase    = "dc=acme,dc=test"
	slapdClosed  = "dc=closed,dc=test" // shows nothing to who is not bound
	slapdRoot    = "cn=root,dc=acme,dc=test"
	slapdRootPW  = "root-canary"
	slapdService = "cn=gateway,ou=services,dc=acme,dc=test"
	slapdPW      = "service-canary"
)

// slapdConfig is slapd.conf(5). bind_anon_dn makes the server take a bind with a name and without a
// password for a success, as RFC 4513 section 5.1.2 lets it: that nobody gets in so is our doing.
const slapdConfig = `
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
moduleload ppolicy
pidfile {dir}/pid
allow bind_anon_cred bind_anon_dn
TLSCACertificateFile {dir}/ca.pem
TLSCertificateFile {dir}/cert.pem
TLSCertificateKeyFile {dir}/key.pem

database mdb
suffix "dc=acme,dc=test"
rootdn "cn=root,dc=acme,dc=test"
rootpw root-canary
directory {dir}/acme
access to attrs=userPassword by anonymous auth by * none
access to * by * read
overlay memberof
overlay ppolicy
ppolicy_default "cn=policy,dc=acme,dc=test"

database mdb
suffix "dc=closed,dc=test"
rootdn "cn=root,dc=closed,dc=test"
rootpw root-canary
directory {dir}/closed
access to attrs=userPassword by anonymous auth by * none
access to attrs=memberOf by dn.exact="cn=gateway,dc=closed,dc=test" read by * none
access to * by users read by * none
overlay memberof
`

// slapdEntries is what the directory holds, as LDIF. Passwords are the uid and "-secret".
const slapdEntries = `
dn: dc=acme,dc=test
objectClass: dcObject
objectClass: organization
dc: acme
o: Acme

dn: cn=policy,dc=acme,dc=test
objectClass: device
objectClass: pwdPolicy
cn: policy
pwdAttribute: userPassword
pwdLockout: TRUE
pwdMaxFailure: 3
pwdMustChange: TRUE

dn: ou=services,dc=acme,dc=test
objectClass: organizationalUnit
ou: services

dn: cn=gateway,ou=services,dc=acme,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: gateway
userPassword: service-canary

dn: ou=people,dc=acme,dc=test
objectClass: organizationalUnit
ou: people

dn: ou=others,dc=acme,dc=test
objectClass: organizationalUnit
ou: others

dn: ou=groups,dc=acme,dc=test
objectClass: organizationalUnit
ou: groups

dn: ou=elsewhere,dc=acme,dc=test
objectClass: referral
objectClass: extensibleObject
ou: elsewhere
ref: ldap://{referral}/ou=elsewhere,dc=acme,dc=test

{people}
dn: uid=twin,ou=others,dc=acme,dc=test
objectClass: inetOrgPerson
uid: twin
cn: twin
sn: twin
mail: twin@others.test
userPassword: twin-secret

dn:: Y249TcO2bGxlclwsIErDtnJnLG91PXBlb3BsZSxkYz1hY21lLGRjPXRlc3Q=
objectClass: inetOrgPerson
uid: joerg
cn:: TcO2bGxlciwgSsO2cmc=
sn: x
mail: joerg@acme.test
userPassword: joerg-secret

dn: uid=nomail,ou=people,dc=acme,dc=test
objectClass: inetOrgPerson
uid: nomail
cn: nomail
sn: x
userPassword: nomail-secret

dn: uid=twomails,ou=people,dc=acme,dc=test
objectClass: inetOrgPerson
uid: twomails
cn: twomails
sn: x
mail: twomails@acme.test
mail: ceo@acme.test
userPassword: twomails-secret

dn: uid=nopassword,ou=people,dc=acme,dc=test
objectClass: inetOrgPerson
uid: nopassword
cn: nopassword
sn: x
mail: nopassword@acme.test

dn: cn=vision,ou=groups,dc=acme,dc=test
objectClass: groupOfNames
cn: vision
member: uid=alice,ou=people,dc=acme,dc=test

dn: cn=R&D\, Labs,ou=groups,dc=acme,dc=test
objectClass: groupOfNames
cn: R&D, Labs
member: uid=alice,ou=people,dc=acme,dc=test

dn: cn=inner,ou=groups,dc=acme,dc=test
objectClass: groupOfNames
cn: inner
member: uid=bob,ou=people,dc=acme,dc=test

dn: cn=outer,ou=groups,dc=acme,dc=test
objectClass: groupOfNames
cn: outer
member: cn=inner,ou=groups,dc=acme,dc=test

dn: dc=closed,dc=test
objectClass: dcObject
objectClass: organization
dc: closed
o: Closed

dn: cn=gateway,dc=closed,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: gateway
userPassword: service-canary

dn: cn=blind,dc=closed,dc=test
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: blind
userPassword: service-canary

dn: uid=alice,dc=closed,dc=test
objectClass: inetOrgPerson
uid: alice
cn: Alice
sn: x
mail: alice@acme.test
userPassword: alice-secret

dn: cn=vision,dc=closed,dc=test
objectClass: groupOfNames
cn: vision
member: uid=alice,dc=closed,dc=test
`

// slapdLoop closes the loop of groups: outer is in inner, and inner in outer.
const slapdLoop = `
dn: cn=inner,ou=groups,dc=acme,dc=test
changetype: modify
add: member
member: cn=outer,ou=groups,dc=acme,dc=test
`

// slapd is a running server.
type slapd struct {
	t            *testing.T
	dir          string
	plain, ldaps string // host:port
	roots        *x509.CertPool
	cmd          *exec.Cmd
	logs         logBuffer
	referred     atomic.Int32 // connections to where the referral leads
}

// slapdBinary finds the server, which Debian keeps out of most people's PATH.
func slapdBinary(t *testing.T) string {
	t.Helper()
	if path, err := exec.LookPath("slapd"); err == nil {
		return path
	}
	const path = "/usr/sbin/slapd"
	if _, err := os.Stat(path); err != nil {
		t.Fatal("slapd is missing: apt-get install slapd ldap-utils")
	}
	return path
}

func startSlapd(t *testing.T) *slapd {
	t.Helper()
	s := &slapd{t: t, dir: t.TempDir(), plain: freeAddress(t), ldaps: freeAddress(t)}
	for _, name := range []string{"acme", "closed"} {
		if err := os.Mkdir(filepath.Join(s.dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	s.certify()
	s.write("slapd.conf", strings.ReplaceAll(slapdConfig, "{dir}", s.dir))
	s.run()
	people := ""
	for _, uid := range []string{"alice", "bob", "carol", "twin", "lockme", "reset"} {
		people += fmt.Sprintf("dn: uid=%[1]s,ou=people,dc=acme,dc=test\nobjectClass: inetOrgPerson\nuid: %[1]s\ncn: %[1]s the person\nsn: x\nmail: %[1]s@acme.test\nuserPassword: %[1]s-secret\n\n", uid)
	}
	entries := strings.NewReplacer("{people}", people, "{referral}", s.catchReferrals()).Replace(slapdEntries)
	closed := strings.Index(entries, "dn: dc=closed")
	s.ldif("ldapadd", slapdRoot, entries[:closed])
	s.ldif("ldapadd", "cn=root,"+slapdClosed, entries[closed:])
	s.ldif("ldapmodify", slapdRoot, slapdLoop)
	s.ldif("ldapmodify", slapdRoot, "dn: uid=reset,ou=people,dc=acme,dc=test\nchangetype: modify\nreplace: pwdReset\npwdReset: TRUE\n")
	return s
}

// run starts the server and waits until it answers.
func (s *slapd) run() {
	s.t.Helper()
	s.cmd = exec.Command(slapdBinary(s.t), "-f", filepath.Join(s.dir, "slapd.conf"), "-h", "ldap://"+s.plain+"/ ldaps://"+s.ldaps+"/", "-d", "0")
	s.cmd.Stdout, s.cmd.Stderr = &s.logs, &s.logs
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	cmd, done := s.cmd, make(chan struct{})
	go func() { cmd.Wait(); close(done) }()
	s.t.Cleanup(func() { cmd.Process.Signal(syscall.SIGTERM); <-done })
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", s.ldaps)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case <-done:
			s.t.Fatalf("slapd ended:\n%s", s.logs.String())
		default:
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("slapd does not listen: %v\n%s", err, s.logs.String())
		}
	}
}

// kill ends the server, and returns when nothing listens any more.
func (s *slapd) kill() {
	s.cmd.Process.Kill()
	for {
		conn, err := net.Dial("tcp", s.plain)
		if err != nil {
			return
		}
		conn.Close()
	}
}

func (s *slapd) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
}

// ldif changes the directory with one of OpenLDAP's own tools.
func (s *slapd) ldif(tool, as, text string) {
	s.t.Helper()
	cmd := exec.Command(tool, "-x", "-H", "ldap://"+s.plain, "-D", as, "-w", slapdRootPW, "-M")
	cmd.Stdin = strings.NewReader(strings.TrimSpace(text) + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.t.Fatalf("%s: %v\n%s", tool, err, out)
	}
}

// catchReferrals listens where the referral leads, and counts who comes.
func (s *slapd) catchReferrals() string {
	s.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			s.referred.Add(1)
			conn.Close()
		}
	}()
	return listener.Addr().String()
}

// certify makes a certificate authority, and a certificate for 127.0.0.1 by it.
func (s *slapd) certify() {
	s.t.Helper()
	check := func(err error) {
		if err != nil {
			s.t.Helper()
			s.t.Fatal(err)
		}
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(err)
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	cert := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "127.0.0.1"}, NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, KeyUsage: x509.KeyUsageDigitalSignature}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	check(err)
	der, err := x509.CreateCertificate(rand.Reader, cert, ca, &key.PublicKey, caKey)
	check(err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	check(err)
	encode := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	s.write("ca.pem", encode("CERTIFICATE", caDER))
	s.write("cert.pem", encode("CERTIFICATE", der))
	s.write("key.pem", encode("PRIVATE KEY", keyDER))
	s.roots = x509.NewCertPool()
	s.roots.AppendCertsFromPEM([]byte(encode("CERTIFICATE", caDER)))
}

// config asks the server by StartTLS, bound as the service account.
func (s *slapd) config() ldap.Config {
	return ldap.Config{Address: "ldap://" + s.plain, BaseDN: slapdBase, BindDN: slapdService, BindPassword: iam.NewSecret(slapdPW), StartTLS: true, Roots: s.roots}
}

func (s *slapd) connector(cfg ldap.Config) *ldap.Connector {
	s.t.Helper()
	c, err := ldap.New(cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func (s *slapd) signIn(cfg ldap.Config, login, password string) (*identity.Identity, error) {
	s.t.Helper()
	return s.connector(cfg).Authenticate(s.t.Context(), login, iam.NewSecret(password))
}

func TestSlapd(t *testing.T) {
	s := startSlapd(t)

	t.Run("ways in", func(t *testing.T) {
		for name, change := range map[string]func(*ldap.Config){
			"StartTLS":            func(*ldap.Config) {},
			"ldaps":               func(c *ldap.Config) { c.Address, c.StartTLS = "ldaps://"+s.ldaps, false },
			"clear text":          func(c *ldap.Config) { c.StartTLS, c.InsecureCleartext = false, true },
			"anonymous search":    func(c *ldap.Config) { c.BindDN, c.BindPassword = "", iam.Secret{} },
			"DN without password": func(c *ldap.Config) { c.BindPassword = iam.Secret{} },
		} {
			cfg := s.config()
			change(&cfg)
			if err := s.connector(cfg).Test(t.Context()); err != nil {
				t.Errorf("%s: the test says %v", name, err)
			}
			id, err := s.signIn(cfg, "alice", "alice-secret")
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if id.Email != "alice@acme.test" || id.Username != "alice" || id.Name != "alice the person" || len(id.Subject) != 36 || !id.GroupsKnown {
				t.Errorf("%s: %+v", name, id)
			}
			if got := slices.Sorted(slices.Values(id.Groups)); !slices.Equal(got, []string{"R&D, Labs", "vision"}) {
				t.Errorf("%s: groups %q", name, got)
			}
		}
	})

	t.Run("closed ways", func(t *testing.T) {
		other := x509.NewCertPool()
		for name, c := range map[string]struct {
			change func(*ldap.Config)
			says   string
		}{
			"unknown authority, StartTLS": {func(c *ldap.Config) { c.Roots = other }, "certificate"},
			"unknown authority, ldaps":    {func(c *ldap.Config) { c.Address, c.Roots = "ldaps://"+s.ldaps, other }, "certificate"},
			"another name":                {func(c *ldap.Config) { c.Address = strings.Replace(c.Address, "127.0.0.1", "localhost", 1) }, "certificate"},
			"ldaps to the other port":     {func(c *ldap.Config) { c.Address = "ldaps://" + s.plain }, "TLS"},
			"StartTLS to the ldaps port":  {func(c *ldap.Config) { c.Address = "ldap://" + s.ldaps }, "StartTLS"},
			"wrong service password":      {func(c *ldap.Config) { c.BindPassword = iam.NewSecret("old") }, "binding"},
			"no such base":                {func(c *ldap.Config) { c.BaseDN = "dc=nowhere,dc=test" }, "searching the base DN"},
			"anonymous, closed":           {func(c *ldap.Config) { c.BindDN, c.BaseDN = "", slapdClosed }, "searching the base DN"},
			"nobody has the attribute":    {func(c *ldap.Config) { c.EmailAttribute = "telexNumber" }, "looking for people"},
		} {
			cfg := s.config()
			cfg.Timeout = 3 * time.Second
			c.change(&cfg)
			err := s.connector(cfg).Test(t.Context())
			if iam.KindOf(err) != iam.KindUnavailable || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: the test says %v", name, err)
			}
			if name == "nobody has the attribute" {
				continue // which a sign-in tells after the password
			}
			if id, err := s.signIn(cfg, "alice", "alice-secret"); id != nil || iam.KindOf(err) != iam.KindUnavailable {
				t.Errorf("%s: %v, %v", name, id, err)
			}
		}
	})

	t.Run("who is refused", func(t *testing.T) {
		wrong := ldap.ReasonWrongPassword
		for name, c := range map[string]struct {
			login, password string
			reason          iam.Reason
		}{
			"wrong password":          {"alice", "bob-secret", wrong},
			"no password":             {"alice", "", wrong},
			"NUL":                     {"alice", "\x00", wrong},
			"NUL behind the password": {"alice", "alice-secret\x00", wrong},
			"nobody":                  {"nobody", "alice-secret", wrong},
			"two entries":             {"twin", "twin-secret", wrong},
			"star":                    {"*", "alice-secret", wrong},
			"prefix":                  {"ali*", "alice-secret", wrong},
			"filter":                  {"alice)(uid=*", "alice-secret", wrong},
			"DN":                      {"uid=alice,ou=people,dc=acme,dc=test", "alice-secret", wrong},
			"hex":                     {`\61lice`, "alice-secret", wrong},
			"no password in there":    {"nopassword", "x", wrong},
			"no e-mail":               {"nomail", "nomail-secret", ldap.ReasonEmailUnusable},
			"two e-mails":             {"twomails", "twomails-secret", ldap.ReasonEmailUnusable},
			"must change":             {"reset", "reset-secret", ldap.ReasonPasswordExpired},
			"must change, but wrong":  {"reset", "x", wrong},
			"the service account":     {"gateway", slapdPW, wrong},
		} {
			id, err := s.signIn(s.config(), c.login, c.password)
			if id != nil || iam.ReasonOf(err) != c.reason {
				t.Errorf("%s: %v, %v", name, id, err)
			}
		}
	})

	t.Run("the empty password is ours to refuse", func(t *testing.T) {
		conn, err := goldap.DialURL("ldap://" + s.plain)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.UnauthenticatedBind("uid=alice,ou=people,dc=acme,dc=test"); err != nil {
			t.Errorf("the server refuses it by itself (%v), so this shows nothing", err)
		}
	})

	t.Run("spellings", func(t *testing.T) {
		want, err := s.signIn(s.config(), "alice", "alice-secret")
		if err != nil {
			t.Fatal(err)
		}
		for _, login := range []string{"ALICE", " alice ", "Alice@ACME.test", "\uff41lice"} {
			id, err := s.signIn(s.config(), login, "alice-secret")
			if err == nil && id.Subject != want.Subject {
				t.Errorf("%q is another person: %+v", login, id)
			}
			if ldap.Canonical(login) != ldap.Canonical("alice") {
				t.Errorf("%q has another counter", login)
			}
			if err != nil && login != "\uff41lice" {
				t.Errorf("%q: %v", login, err)
			}
		}
	})

	t.Run("a DN with commas and umlauts", func(t *testing.T) {
		id, err := s.signIn(s.config(), "joerg", "joerg-secret")
		if err != nil || id.Name != "Möller, Jörg" || !id.GroupsKnown || len(id.Groups) != 0 {
			t.Errorf("%+v, %v", id, err)
		}
	})

	t.Run("groups", func(t *testing.T) {
		id, err := s.signIn(s.config(), "bob", "bob-secret")
		if err != nil || !slices.Equal(id.Groups, []string{"inner"}) {
			t.Errorf("groups in groups, in a loop: %+v, %v", id, err)
		}
		for list, allowed := range map[string]map[string]bool{
			"vision":                                 {"alice": true, "bob": false, "carol": false},
			"VISION, inner":                          {"alice": true, "bob": true, "carol": false},
			"outer":                                  {"bob": false},
			"CN=Vision, OU=Groups, DC=acme, DC=test": {"alice": true, "bob": false},
			`cn=r&d\2c labs,ou=groups,dc=acme,dc=test`:     {"alice": true, "bob": false},
			"cn=vision,ou=people,dc=acme,dc=test":          {"alice": false},
			"cn=x,dc=x;cn=inner,ou=groups,dc=acme,dc=test": {"alice": false, "bob": true},
		} {
			cfg := s.config()
			if cfg.AllowList, err = ldap.ParseAllowList(list); err != nil {
				t.Fatal(err)
			}
			if err := s.connector(cfg).Test(t.Context()); err != nil {
				t.Errorf("%s: the test says %v", list, err)
			}
			for who, may := range allowed {
				id, err := s.signIn(cfg, who, who+"-secret")
				if may != (err == nil) || !may && (id != nil || iam.ReasonOf(err) != ldap.ReasonGroupNotAllowed) {
					t.Errorf("%s for %q: %v, %v", who, list, id, err)
				}
			}
		}
	})

	t.Run("groups that the service account may not read", func(t *testing.T) {
		cfg := s.config()
		cfg.BaseDN, cfg.BindDN = slapdClosed, "cn=gateway,"+slapdClosed
		id, err := s.signIn(cfg, "alice", "alice-secret")
		if err != nil || !id.GroupsKnown || !slices.Equal(id.Groups, []string{"vision"}) {
			t.Errorf("may read: %+v, %v", id, err)
		}
		cfg.BindDN = "cn=blind," + slapdClosed
		id, err = s.signIn(cfg, "alice", "alice-secret")
		if err != nil || id.GroupsKnown || len(id.Groups) != 0 {
			t.Errorf("may not: %+v, %v", id, err)
		}
		if cfg.AllowList, err = ldap.ParseAllowList("vision"); err != nil {
			t.Fatal(err)
		}
		if id, err := s.signIn(cfg, "alice", "alice-secret"); id != nil || iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("may not, with an allow list: %v, %v", id, err)
		}
		if err := s.connector(cfg).Test(t.Context()); err == nil || !strings.Contains(err.Error(), "reading groups") {
			t.Errorf("the test says %v", err)
		}
	})

	t.Run("a new name is no new person", func(t *testing.T) {
		before, err := s.signIn(s.config(), "carol", "carol-secret")
		if err != nil {
			t.Fatal(err)
		}
		s.ldif("ldapmodify", slapdRoot, "dn: uid=carol,ou=people,dc=acme,dc=test\nchangetype: modrdn\nnewrdn: uid=caroline\ndeleteoldrdn: 1\nnewsuperior: ou=others,dc=acme,dc=test\n")
		after, err := s.signIn(s.config(), "caroline", "carol-secret")
		if err != nil || after.Subject != before.Subject || after.Issuer != before.Issuer {
			t.Errorf("%+v, then %+v, %v", before, after, err)
		}
	})

	t.Run("locked after three failures", func(t *testing.T) {
		if _, err := s.signIn(s.config(), "lockme", "lockme-secret"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			s.signIn(s.config(), "lockme", "x")
		}
		if id, err := s.signIn(s.config(), "lockme", "lockme-secret"); id != nil || iam.ReasonOf(err) != ldap.ReasonWrongPassword {
			t.Errorf("%v, %v", id, err)
		}
	})

	t.Run("many at once", func(t *testing.T) {
		cfg := s.config()
		cfg.MaxConnections = 8
		c := s.connector(cfg)
		var all sync.WaitGroup
		var in, busy, other atomic.Int32
		for range 200 {
			all.Go(func() {
				_, err := c.Authenticate(t.Context(), "alice", iam.NewSecret("alice-secret"))
				switch {
				case err == nil:
					in.Add(1)
				case iam.KindOf(err) == iam.KindUnavailable:
					busy.Add(1)
				default:
					other.Add(1)
					t.Error(err)
				}
			})
		}
		all.Wait()
		if in.Load() < 8 || other.Load() > 0 {
			t.Errorf("%d in, %d told to come again, %d else", in.Load(), busy.Load(), other.Load())
		}
		t.Logf("%d in, %d told to come again", in.Load(), busy.Load())
	})

	t.Run("a server that goes and comes", func(t *testing.T) {
		c := s.connector(s.config())
		s.kill()
		id, err := c.Authenticate(t.Context(), "alice", iam.NewSecret("alice-secret"))
		if e, ok := errors.AsType[*iam.Error](err); id != nil || !ok || e.Kind != iam.KindUnavailable || e.RetryAfter <= 0 {
			t.Errorf("away: %v, %v", id, err)
		}
		s.run()
		if _, err := c.Authenticate(t.Context(), "alice", iam.NewSecret("alice-secret")); err != nil {
			t.Errorf("back: %v", err)
		}
	})

	t.Run("referrals are met and not followed", func(t *testing.T) {
		conn, err := goldap.DialURL("ldap://" + s.plain)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		found, err := conn.Search(goldap.NewSearchRequest(slapdBase, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases, 2, 5, false, "(uid=alice)", nil, nil))
		if err != nil || len(found.Entries) != 1 || len(found.Referrals) != 1 {
			t.Fatalf("%+v, %v: the server refers nobody, so this shows nothing", found, err)
		}
	})
	if n := s.referred.Load(); n != 0 {
		t.Errorf("%d connections went where a referral leads", n)
	}
}
