package ldap

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/login/identity"
)

const (
	base       = "dc=acme,dc=test"
	serviceDN  = "cn=gateway,dc=acme,dc=test"
	servicePW  = "service-canary"
	aliceDN    = "uid=alice,ou=people,dc=acme,dc=test"
	alicePW    = "correct horse"
	wrongPW    = "wrong-canary"
	aliceUUID  = "5f0c9d3a-0000-4000-8000-0000000000aa"
	malloryDN  = "uid=mallory,ou=people,dc=acme,dc=test"
	malloryPW  = "mallory's"
	visionDN   = "cn=vision,ou=groups,dc=acme,dc=test"
	groupAdmin = "cn=admins,ou=groups,dc=acme,dc=test"
)

// acme is a directory with a service account, alice in two groups, and mallory in none.
func acme() *directory {
	return &directory{
		passwords: map[string]string{serviceDN: servicePW, aliceDN: alicePW, malloryDN: malloryPW},
		entries: []entry{
			{base, map[string][]string{"objectClass": {"domain"}}},
			{aliceDN, map[string][]string{"uid": {"alice"}, "cn": {"Alice Liddell"}, "MAIL": {"alice@acme.test"},
				"entryUUID": {strings.ToUpper(aliceUUID)}, "memberOf": {visionDN, groupAdmin, visionDN}}},
			{malloryDN, map[string][]string{"uid": {"mallory"}, "cn": {"Mallory"}, "mail": {"mallory@acme.test"}}},
		},
	}
}

// config is the configuration for a directory without TLS.
func config(d *directory) Config {
	return Config{Address: d.address(), BaseDN: base, BindDN: serviceDN, BindPassword: iam.NewSecret(servicePW), InsecureCleartext: true, Timeout: 5 * time.Second}
}

func connector(t *testing.T, cfg Config) *Connector {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func signIn(t *testing.T, c *Connector, login, password string) (*identity.Identity, error) {
	t.Helper()
	return c.Authenticate(t.Context(), login, iam.NewSecret(password))
}

func TestAuthenticate(t *testing.T) {
	d := acme().start(t)
	c := connector(t, config(d))
	id, err := signIn(t, c, "alice", alicePW)
	if err != nil {
		t.Fatal(err)
	}
	want := identity.Identity{
		Issuer:  "ldap://" + d.listener.Addr().String() + "/dc=acme,dc=test",
		Subject: aliceUUID, Email: "alice@acme.test", EmailVerified: identity.VerifiedTrue,
		Username: "alice", Name: "Alice Liddell", GroupsKnown: true, Groups: []string{"vision", "admins"},
	}
	if got, want := fmt.Sprintf("%+v", *id), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if want := []bound{{serviceDN, servicePW}, {aliceDN, alicePW}}; !slices.Equal(d.seen(), want) {
		t.Errorf("binds: %v", d.seen())
	}
	if d.accepted.Load() != 2 {
		t.Errorf("%d connections: a person's password goes on one of its own", d.accepted.Load())
	}
}

// One person, however the name is spelled (threat L07).
func TestOneIdentityForAllSpellings(t *testing.T) {
	c := connector(t, config(acme().start(t)))
	for _, login := range []string{"alice", "ALICE", " alice ", "alice@acme.test", "Alice@ACME.test"} {
		id, err := signIn(t, c, login, alicePW)
		if err != nil || id.Subject != aliceUUID {
			t.Errorf("%q: %v, %v", login, id, err)
		}
	}
}

// Whatever is typed stays one value of the filter, and finds one person or nobody (threats L01, L02).
func TestHostileLogins(t *testing.T) {
	d := acme().start(t)
	c := connector(t, config(d))
	for name, login := range map[string]string{
		"star":                  "*",
		"prefix":                "a*",
		"closes the filter":     "admin)(|(uid=*",
		"matches everything":    "*)(objectClass=*)",
		"ends the filter":       "alice)(&)",
		"an escape":             `\2a`,
		"an escaped NUL":        `a\00`,
		"a second escape":       `\5c2a`,
		"a DN":                  "alice,ou=admins",
		"a whole DN":            aliceDN,
		"a multi-valued RDN":    "alice+cn=x",
		"hex":                   "#0405616c696365",
		"quoted":                `"alice"`,
		"leading number sign":   "#alice",
		"a backslash":           `alice\`,
		"a domain":              `ACME\alice`,
		"the place of the name": "{login}",
		"Greek":                 "αλίκη",
		"a look-alike":          "аlice",
		"an assertion":          "alice=*",
		"a matching rule":       "alice:caseExactMatch:=alice",
	} {
		before := len(d.seen())
		id, err := signIn(t, c, login, alicePW)
		if id != nil || iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != ReasonWrongPassword {
			t.Errorf("%s: %v, %v", name, id, err)
		}
		binds := d.seen()[before:]
		if len(binds) != 2 || binds[0].dn != serviceDN || !strings.HasPrefix(binds[1].dn, "cn=") || !strings.HasSuffix(binds[1].dn, ","+base) {
			t.Errorf("%s: binds %v", name, binds)
		}
	}
	for _, filter := range d.filters {
		if strings.Count(filter, "(") != 3 {
			t.Errorf("the filter has another shape: %s", filter)
		}
	}
}

// What cannot be a log-in name or a password reaches no directory (threats L01, L03).
func TestNothingIsAskedForImpossibleInput(t *testing.T) {
	d := acme()
	d.onBind = func(string, string) *ber.Packet { return result(goldap.ApplicationBindResponse, 0, "") } // bind_anon_cred
	d.start(t)
	c := connector(t, config(d))
	for name, in := range map[string]bound{
		"no password":           {"alice", ""},
		"NUL":                   {"alice", "\x00"},
		"NULs":                  {"alice", "\x00\x00\x00"},
		"NUL before it":         {"alice", "\x00" + alicePW},
		"NUL behind it":         {"alice", alicePW + "\x00"},
		"blanks":                {"alice", "  \t\r\n"},
		"a no-break space":      {"alice", "\u00a0"},
		"a password of 2 KiB":   {"alice", strings.Repeat("x", 2<<10)},
		"no name":               {"", alicePW},
		"a blank name":          {"  ", alicePW},
		"NUL in the name":       {"alice\x00", alicePW},
		"line break":            {"alice\n(uid=*)", alicePW},
		"100 KiB":               {strings.Repeat("a", 100<<10), alicePW},
		"257 bytes":             {strings.Repeat("a", 257), alicePW},
		"no UTF-8":              {"alice\xff", alicePW},
		"overlong UTF-8":        {"\xc0\xaa", alicePW},
		"zero-width space":      {"al\u200bice", alicePW},
		"soft hyphen":           {"al\u00adice", alicePW},
		"right-to-left":         {"\u202ealice", alicePW},
		"DEL":                   {"alice\x7f", alicePW},
		"a byte order mark":     {"\ufeffalice", alicePW},
		"both empty":            {"", ""},
		"name of controls only": {"\x01\x02", alicePW},
	} {
		id, err := signIn(t, c, in.dn, in.password)
		if id != nil || iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != ReasonWrongPassword {
			t.Errorf("%s: %v, %v", name, id, err)
		}
	}
	if d.accepted.Load() != 0 {
		t.Errorf("the directory was asked %d times", d.accepted.Load())
	}
}

// A name that nobody has and a wrong password are one answer by one way (threat L12).
func TestUnknownIsAnsweredAsWrong(t *testing.T) {
	d := acme().start(t)
	c := connector(t, config(d))
	told := map[string]bool{}
	for _, login := range []string{"alice", "nobody"} {
		before, conns := len(d.seen()), d.accepted.Load()
		_, err := signIn(t, c, login, wrongPW)
		e, ok := errors.AsType[*iam.Error](err)
		if !ok || e.Kind != iam.KindUnauthenticated {
			t.Fatalf("%s: %v", login, err)
		}
		told[fmt.Sprint(e.Kind, e.Reason, e.Message, e.RetryAfter, len(d.seen())-before, d.accepted.Load()-conns)] = true
		if last := d.seen()[len(d.seen())-1]; last.password != wrongPW || (last.dn == aliceDN) != (login == "alice") {
			t.Errorf("%s: the last bind is %v", login, last)
		}
	}
	if len(told) != 1 {
		t.Errorf("they can be told apart: %v", told)
	}
}

// Even a directory that takes every bind lets nobody in who is not in it.
func TestNobodyIsNobodyWhateverBinds(t *testing.T) {
	d := acme()
	d.onBind = func(string, string) *ber.Packet { return result(goldap.ApplicationBindResponse, 0, "") }
	id, err := signIn(t, connector(t, config(d.start(t))), "nobody", "x")
	if id != nil || iam.KindOf(err) != iam.KindUnauthenticated {
		t.Errorf("%v, %v", id, err)
	}
}

// What comes back from a search is one person, or nobody, or no telling (threat L04).
func TestSearchAnswers(t *testing.T) {
	alice := acme().entries[1]
	with := func(name string, values ...string) map[string][]string {
		m := maps.Clone(alice.attributes)
		m[name] = values
		return m
	}
	without := func(name string) map[string][]string {
		m := maps.Clone(alice.attributes)
		delete(m, name)
		return m
	}
	done := func(code int64) *ber.Packet { return result(goldap.ApplicationSearchResultDone, code, "") }
	const in, wrong, denied, away = iam.Kind(255), iam.KindUnauthenticated, iam.KindDenied, iam.KindUnavailable
	for name, c := range map[string]struct {
		answers []*ber.Packet
		want    iam.Kind
	}{
		"one":                             {[]*ber.Packet{found(aliceDN, alice.attributes), done(0)}, in},
		"none":                            {[]*ber.Packet{done(0)}, wrong},
		"two":                             {[]*ber.Packet{found(aliceDN, alice.attributes), found(malloryDN, alice.attributes), done(0)}, wrong},
		"two, and a size limit":           {[]*ber.Packet{found(aliceDN, alice.attributes), found(malloryDN, alice.attributes), done(4)}, wrong},
		"three":                           {[]*ber.Packet{found(aliceDN, alice.attributes), found(malloryDN, nil), found(malloryDN, nil), done(0)}, wrong},
		"one, and a size limit":           {[]*ber.Packet{found(aliceDN, alice.attributes), done(4)}, away},
		"one, and a time limit":           {[]*ber.Packet{found(aliceDN, alice.attributes), done(3)}, away},
		"none, and a size limit":          {[]*ber.Packet{done(4)}, away},
		"one, and a reference":            {[]*ber.Packet{reference("ldap://127.0.0.1:1/dc=evil"), found(aliceDN, alice.attributes), done(0)}, in},
		"only a reference":                {[]*ber.Packet{reference("ldap://127.0.0.1:1/dc=evil"), done(0)}, wrong},
		"a referral":                      {[]*ber.Packet{done(10)}, away},
		"no such base":                    {[]*ber.Packet{done(32)}, away},
		"may not search":                  {[]*ber.Packet{done(50)}, away},
		"busy":                            {[]*ber.Packet{done(51)}, away},
		"a result that nobody knows":      {[]*ber.Packet{done(4711)}, away},
		"an entry without a name":         {[]*ber.Packet{found("", alice.attributes), done(0)}, away},
		"an entry whose name is no DN":    {[]*ber.Packet{found("alice", alice.attributes), done(0)}, away},
		"an entry without attributes":     {[]*ber.Packet{found(aliceDN, nil), done(0)}, denied},
		"no e-mail":                       {[]*ber.Packet{found(aliceDN, without("MAIL")), done(0)}, denied},
		"two e-mails":                     {[]*ber.Packet{found(aliceDN, with("MAIL", "alice@acme.test", "ceo@acme.test")), done(0)}, denied},
		"an e-mail that is none":          {[]*ber.Packet{found(aliceDN, with("MAIL", "alice")), done(0)}, denied},
		"two addresses in one":            {[]*ber.Packet{found(aliceDN, with("MAIL", "alice@acme.test,ceo@acme.test")), done(0)}, denied},
		"a NUL in the e-mail":             {[]*ber.Packet{found(aliceDN, with("MAIL", "alice@acme.test\x00")), done(0)}, denied},
		"a look-alike e-mail":             {[]*ber.Packet{found(aliceDN, with("MAIL", "аlice@acme.test")), done(0)}, denied},
		"a long e-mail":                   {[]*ber.Packet{found(aliceDN, with("MAIL", strings.Repeat("a", 300)+"@acme.test")), done(0)}, denied},
		"an attribute in another case":    {[]*ber.Packet{found(aliceDN, with("ENTRYUUID", "x")), done(0)}, in},
		"an objectGUID of 3 bytes":        {[]*ber.Packet{found(aliceDN, map[string][]string{"objectGUID": {"abc"}, "mail": {"alice@acme.test"}}), done(0)}, away},
		"two entryUUIDs":                  {[]*ber.Packet{found(aliceDN, with("entryUUID", "a", "b")), done(0)}, away},
		"a binary name":                   {[]*ber.Packet{found(aliceDN, with("cn", "\xff\xfe")), done(0)}, in},
		"the end is a bind response":      {[]*ber.Packet{found(aliceDN, alice.attributes), result(goldap.ApplicationSearchResultDone, 0, "ok")}, in},
		"a search end without any result": {[]*ber.Packet{ber.Encode(ber.ClassApplication, ber.TypeConstructed, goldap.ApplicationSearchResultDone, nil, "")}, away},
	} {
		t.Run(name, func(t *testing.T) {
			d := acme()
			d.onSearch = func(r request) []*ber.Packet {
				if r.filter.Tag == goldap.FilterOr {
					return c.answers
				}
				return nil
			}
			d.start(t)
			id, err := signIn(t, connector(t, config(d)), "alice", alicePW)
			if c.want == in {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if id != nil || err == nil || iam.KindOf(err) != c.want {
				t.Errorf("%v, %v", id, err)
			}
			if c.want == away && d.gotPassword(alicePW) {
				t.Error("the password was sent all the same")
			}
		})
	}
}

// What a directory answers to a person's bind (threat L08).
func TestBindAnswers(t *testing.T) {
	data := func(code string) string {
		return "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data " + code + ", v3839\x00"
	}
	policy := func(e byte) *ber.Packet {
		return control(goldap.ControlTypeBeheraPasswordPolicy, []byte{0x30, 3, 0x81, 1, e})
	}
	grace := control(goldap.ControlTypeBeheraPasswordPolicy, []byte{0x30, 5, 0xa0, 3, 0x81, 1, 2})
	for name, c := range map[string]struct {
		code     int64
		text     string
		controls *ber.Packet
		kind     iam.Kind
		reason   iam.Reason
	}{
		"wrong":                        {49, "", nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"AD: wrong":                    {49, data("52e"), nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"AD: nobody":                   {49, data("525"), nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"AD: locked":                   {49, data("775"), nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"AD: not at this time":         {49, data("530"), nil, iam.KindDenied, ReasonAccountRefused},
		"AD: disabled":                 {49, data("533"), nil, iam.KindDenied, ReasonAccountRefused},
		"AD: account expired":          {49, data("701"), nil, iam.KindDenied, ReasonAccountRefused},
		"AD: password expired":         {49, data("532"), nil, iam.KindDenied, ReasonPasswordExpired},
		"AD: must change":              {49, data("773"), nil, iam.KindDenied, ReasonPasswordExpired},
		"AD: a code of another result": {80, data("533"), nil, iam.KindUnavailable, "unavailable"},
		"inactivated":                  {53, "Account inactivated. Contact system administrator.", nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"too many failures":            {19, "Exceed password retry limit", nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"no password":                  {48, "", nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"gone":                         {32, "", nil, iam.KindUnauthenticated, ReasonWrongPassword},
		"policy: locked":               {49, "", policy(1), iam.KindUnauthenticated, ReasonWrongPassword},
		"policy: expired":              {49, "", policy(0), iam.KindDenied, ReasonPasswordExpired},
		"policy: bound, but expired":   {0, "", policy(0), iam.KindDenied, ReasonPasswordExpired},
		"policy: bound, but reset":     {0, "", policy(2), iam.KindDenied, ReasonPasswordExpired},
		"policy: bound with grace":     {0, "", grace, 255, ""},
		"policy: nonsense":             {0, "", control(goldap.ControlTypeBeheraPasswordPolicy, []byte{0x30, 0x7f}), iam.KindUnavailable, "unavailable"},
		"must change (Netscape)":       {0, "", control(goldap.ControlTypeVChuPasswordMustChange, []byte("0")), iam.KindDenied, ReasonPasswordExpired},
		"a control nobody knows":       {0, "", control("1.2.3.4", nil), 255, ""},
		"referral":                     {10, "", nil, iam.KindUnavailable, "unavailable"},
		"SASL goes on":                 {14, "", nil, iam.KindUnavailable, "unavailable"},
		"confidentiality required":     {13, "", nil, iam.KindUnavailable, "unavailable"},
		"busy":                         {51, "", nil, iam.KindUnavailable, "unavailable"},
		"unavailable":                  {52, "", nil, iam.KindUnavailable, "unavailable"},
		"a code nobody knows":          {4711, "", nil, iam.KindUnavailable, "unavailable"},
		"a negative code":              {-1, "", nil, iam.KindUnavailable, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			d := acme()
			d.onBind = func(dn, _ string) *ber.Packet {
				if dn != aliceDN {
					return nil
				}
				return result(goldap.ApplicationBindResponse, c.code, c.text)
			}
			d.controls = func(dn string) *ber.Packet {
				if dn != aliceDN {
					return nil
				}
				return c.controls
			}
			d.start(t)
			id, err := signIn(t, connector(t, config(d)), "alice", alicePW)
			if c.kind == 255 {
				if err != nil || id.Subject != aliceUUID {
					t.Fatalf("%v, %v", id, err)
				}
				return
			}
			if id != nil || err == nil || iam.KindOf(err) != c.kind || iam.ReasonOf(err) != c.reason {
				t.Errorf("%v, %v", id, err)
			}
		})
	}
}

// Without both a DN and a password the search is anonymous, and so is the bind (LDAP-4, LDAP-5).
func TestAnonymousSearch(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"no DN":       func(c *Config) { c.BindDN = "" },
		"no password": func(c *Config) { c.BindPassword = iam.Secret{} },
	} {
		d := acme().start(t)
		cfg := config(d)
		change(&cfg)
		if _, err := signIn(t, connector(t, cfg), "alice", alicePW); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if first := d.seen()[0]; first != (bound{}) {
			t.Errorf("%s: the first bind is %v", name, first)
		}
	}
}

func TestAllowList(t *testing.T) {
	for list, allowed := range map[string]bool{
		"":                                      true,
		"vision":                                true,
		"VISION":                                true,
		"ops, vision":                           true,
		"ops":                                   false,
		"visio":                                 false,
		"groups":                                false,
		visionDN:                                true,
		"CN=Vision, OU=Groups, DC=acme,DC=TEST": true,
		"cn=ops,dc=acme,dc=test;" + visionDN:    true,
		"cn=vision,ou=others,dc=acme,dc=test":   false,
		"cn=vision":                             false,
		"cn=ops,dc=acme,dc=test; ":              false,
	} {
		parsed, err := ParseAllowList(list)
		if err != nil {
			t.Fatalf("%q: %v", list, err)
		}
		cfg := config(acme().start(t))
		cfg.AllowList = parsed
		c := connector(t, cfg)
		id, err := signIn(t, c, "alice", alicePW)
		if allowed != (err == nil) || !allowed && (id != nil || iam.KindOf(err) != iam.KindDenied || iam.ReasonOf(err) != ReasonGroupNotAllowed) {
			t.Errorf("%q: %v, %v", list, id, err)
		}
		// Who does not know the password does not learn who may enter.
		if _, err := signIn(t, c, "alice", wrongPW); iam.ReasonOf(err) != ReasonWrongPassword {
			t.Errorf("%q, wrong password: %v", list, err)
		}
		// Mallory is known to be in no group.
		if _, err := signIn(t, c, "mallory", malloryPW); (list == "") != (err == nil) || list != "" && iam.ReasonOf(err) != ReasonGroupNotAllowed {
			t.Errorf("%q, no groups: %v", list, err)
		}
	}
}

// An absent group attribute means no groups only where the attribute can be read.
func TestGroupsThatCannotBeRead(t *testing.T) {
	d := acme()
	d.start(t)
	cfg := config(d)
	id, err := signIn(t, connector(t, cfg), "mallory", malloryPW)
	if err != nil || !id.GroupsKnown || len(id.Groups) != 0 {
		t.Errorf("in none: %+v, %v", id, err)
	}

	hidden := acme()
	delete(hidden.entries[1].attributes, "memberOf")
	hidden.start(t)
	cfg = config(hidden)
	id, err = signIn(t, connector(t, cfg), "mallory", malloryPW)
	if err != nil || id.GroupsKnown || len(id.Groups) != 0 {
		t.Errorf("not readable: %+v, %v", id, err)
	}
	if cfg.AllowList, err = ParseAllowList("vision"); err != nil {
		t.Fatal(err)
	}
	if _, err := signIn(t, connector(t, cfg), "mallory", malloryPW); iam.KindOf(err) != iam.KindUnavailable {
		t.Errorf("not readable, with an allow list: %v", err)
	}

	refused := acme()
	refused.onSearch = func(r request) []*ber.Packet {
		if r.filter.Tag != goldap.FilterPresent {
			return nil
		}
		return []*ber.Packet{result(goldap.ApplicationSearchResultDone, goldap.LDAPResultTimeLimitExceeded, "")}
	}
	id, err = signIn(t, connector(t, config(refused.start(t))), "mallory", malloryPW)
	if err != nil || id.GroupsKnown {
		t.Errorf("the directory does not want to look: %+v, %v", id, err)
	}
}

// 4000 groups come in three pieces, and none is lost (threat L06).
func TestRangeRetrieval(t *testing.T) {
	var all []string
	for i := range 4000 {
		all = append(all, fmt.Sprintf("CN=team %04d,OU=Groups,DC=acme,DC=test", i))
	}
	piece := func(name string, values []string) []*ber.Packet {
		return []*ber.Packet{
			found(aliceDN, map[string][]string{name: values, "mail": {"alice@acme.test"}, "memberOf": nil}),
			result(goldap.ApplicationSearchResultDone, 0, ""),
		}
	}
	for name, c := range map[string]struct {
		next func(asked string) []*ber.Packet
		want int // groups; -1: unavailable
	}{
		"as Active Directory": {func(asked string) []*ber.Packet {
			switch asked {
			case "memberOf":
				return piece("memberOf;range=0-1499", all[:1500])
			case "memberOf;range=1500-*":
				return piece("memberOf;range=1500-2999", all[1500:3000])
			case "memberOf;range=3000-*":
				return piece("memberOf;Range=3000-*", all[3000:])
			}
			return nil
		}, 4000},
		"the same piece again": {func(string) []*ber.Packet { return piece("memberOf;range=0-1499", all[:1500]) }, -1},
		"never an end": {func(asked string) []*ber.Packet {
			from := 0
			fmt.Sscanf(asked, "memberOf;range=%d-*", &from)
			return piece(fmt.Sprintf("memberOf;range=%d-%d", from, from), all[:1])
		}, -1},
		"a piece that says more than it has": {func(asked string) []*ber.Packet {
			if asked == "memberOf" {
				return piece("memberOf;range=0-1499", all[:3])
			}
			return piece("memberOf;range=1500-*", all[1500:])
		}, -1},
		"a gap": {func(asked string) []*ber.Packet {
			if asked == "memberOf" {
				return piece("memberOf;range=0-1499", all[:1500])
			}
			return piece("memberOf;range=1501-*", all[1501:])
		}, -1},
		"the rest does not come": {func(asked string) []*ber.Packet {
			if asked == "memberOf" {
				return piece("memberOf;range=0-1499", all[:1500])
			}
			return piece("cn", []string{"x"})
		}, -1},
		"nonsense":                          {func(string) []*ber.Packet { return piece("memberOf;range=x-y", all[:1]) }, -1},
		"an overflow":                       {func(string) []*ber.Packet { return piece("memberOf;range=0-99999999999999999999", all[:1]) }, -1},
		"empty, at once":                    {func(string) []*ber.Packet { return piece("memberOf;range=0-*", nil) }, 0},
		"the attribute with another option": {func(string) []*ber.Packet { return piece("memberOf;lang-en", all[:1]) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			d := acme()
			d.onSearch = func(r request) []*ber.Packet {
				for _, a := range r.attributes {
					if strings.HasPrefix(a, "memberOf") {
						return c.next(a)
					}
				}
				return nil
			}
			id, err := signIn(t, connector(t, config(d.start(t))), "alice", alicePW)
			if c.want < 0 {
				if id != nil || iam.KindOf(err) != iam.KindUnavailable {
					t.Fatalf("%v, %v", id, err)
				}
				return
			}
			if err != nil || !id.GroupsKnown || len(id.Groups) != c.want {
				t.Fatalf("%d groups, %v", len(id.Groups), err)
			}
		})
	}
}

// The way to the directory is at fault: no telling, soon, and no password sent (threats L05, L09).
func TestDirectoryAway(t *testing.T) {
	reset := func(conn net.Conn) {
		raw := conn.(*net.TCPConn)
		raw.SetLinger(0)
		raw.Close()
	}
	drain := func(conn net.Conn) { io.Copy(io.Discard, conn) }
	for name, prepare := range map[string]func(d *directory){
		"accepts and says nothing": func(d *directory) { d.onAccept = func(conn net.Conn) bool { drain(conn); return true } },
		"closes at once":           func(d *directory) { d.onAccept = func(net.Conn) bool { return true } },
		"resets at once":           func(d *directory) { d.onAccept = func(conn net.Conn) bool { reset(conn); return true } },
		"speaks HTTP": func(d *directory) {
			d.onAccept = func(conn net.Conn) bool {
				io.WriteString(conn, "HTTP/1.1 400 Bad Request\r\n\r\n")
				drain(conn)
				return true
			}
		},
		"hangs in the search": func(d *directory) {
			d.onSearch = func(r request) []*ber.Packet { drain(r.conn); return []*ber.Packet{} }
		},
		"resets in the middle of an entry": func(d *directory) {
			d.onSearch = func(r request) []*ber.Packet {
				whole := message(2, found(aliceDN, map[string][]string{"mail": {"alice@acme.test"}}), nil)
				r.conn.Write(whole[:len(whole)/2])
				reset(r.conn)
				return []*ber.Packet{}
			}
		},
		"one byte a second": func(d *directory) {
			d.onSearch = func(r request) []*ber.Packet {
				for _, b := range message(2, found(aliceDN, map[string][]string{"mail": {"alice@acme.test"}}), nil) {
					if _, err := r.conn.Write([]byte{b}); err != nil {
						break
					}
					select {
					case <-time.After(time.Second):
					case <-d.t.Context().Done():
					}
				}
				return []*ber.Packet{}
			}
		},
		"a message of 2 GB": func(d *directory) {
			d.onSearch = func(r request) []*ber.Packet {
				r.conn.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
				drain(r.conn)
				return []*ber.Packet{}
			}
		},
		"entries without end": func(d *directory) {
			d.onSearch = func(r request) []*ber.Packet {
				flood := bytes.Repeat(message(2, reference("ldap://127.0.0.1:1/"+strings.Repeat("x", 900)), nil), 64)
				for {
					if _, err := r.conn.Write(flood); err != nil {
						return []*ber.Packet{}
					}
				}
			}
		},
		"answers to what was not asked": func(d *directory) {
			d.onSearch = func(r request) []*ber.Packet {
				r.conn.Write(message(99, result(goldap.ApplicationSearchResultDone, 0, ""), nil))
				drain(r.conn)
				return []*ber.Packet{}
			}
		},
		"refuses the service account": func(d *directory) { d.passwords[serviceDN] = "changed" },
	} {
		t.Run(name, func(t *testing.T) {
			d := acme()
			prepare(d)
			d.start(t)
			cfg := config(d)
			cfg.Timeout = MinTimeout
			began := time.Now()
			id, err := signIn(t, connector(t, cfg), "alice", alicePW)
			e, ok := errors.AsType[*iam.Error](err)
			if id != nil || !ok || e.Kind != iam.KindUnavailable || e.RetryAfter <= 0 || e.Err == nil {
				t.Fatalf("%v, %v", id, err)
			}
			if took := time.Since(began); took > cfg.Timeout+10*time.Second {
				t.Errorf("it took %s", took)
			}
			if d.gotPassword(alicePW) {
				t.Error("the password was sent all the same")
			}
			if strings.Contains(err.Error(), servicePW) || strings.Contains(err.Error(), alicePW) {
				t.Errorf("the error tells a password: %v", err)
			}
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		d := acme().start(t)
		cfg := config(d)
		d.listener.Close()
		if id, err := signIn(t, connector(t, cfg), "alice", alicePW); id != nil || iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%v, %v", id, err)
		}
	})
	t.Run("whoever asked went away", func(t *testing.T) {
		d := acme()
		asked := make(chan struct{})
		d.onSearch = func(r request) []*ber.Packet { close(asked); drain(r.conn); return []*ber.Packet{} }
		d.start(t)
		cfg := config(d)
		cfg.Timeout = MaxTimeout
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-asked; cancel() }()
		began := time.Now()
		if _, err := connector(t, cfg).Authenticate(ctx, "alice", iam.NewSecret(alicePW)); iam.KindOf(err) != iam.KindUnavailable {
			t.Errorf("%v", err)
		}
		if took := time.Since(began); took > 20*time.Second {
			t.Errorf("it took %s", took)
		}
	})
}

func TestTLS(t *testing.T) {
	ca, other := newAuthority(t), newAuthority(t)
	good := func() *tls.Config { return ca.issue("127.0.0.1", time.Now().Add(time.Hour)) }
	old := good()
	old.MaxVersion = tls.VersionTLS11
	old.MinVersion = tls.VersionTLS10
	for name, c := range map[string]struct {
		server  *tls.Config
		ldaps   bool
		prepare func(d *directory)
		ok      bool
		says    string
		hangs   bool
	}{
		"ldaps":                       {server: good(), ldaps: true, ok: true},
		"StartTLS":                    {server: good(), ok: true},
		"ldaps, another's name":       {server: ca.issue("ldap.evil.test", time.Now().Add(time.Hour)), ldaps: true, says: "certificate"},
		"StartTLS, another's name":    {server: ca.issue("ldap.evil.test", time.Now().Add(time.Hour)), says: "certificate"},
		"ldaps, expired":              {server: ca.issue("127.0.0.1", time.Now().Add(-time.Hour)), ldaps: true, says: "expired"},
		"StartTLS, expired":           {server: ca.issue("127.0.0.1", time.Now().Add(-time.Hour)), says: "expired"},
		"ldaps, unknown authority":    {server: other.issue("127.0.0.1", time.Now().Add(time.Hour)), ldaps: true, says: "authority"},
		"StartTLS, unknown authority": {server: other.issue("127.0.0.1", time.Now().Add(time.Hour)), says: "authority"},
		"ldaps, TLS 1.1":              {server: old, ldaps: true, says: "version"},
		"StartTLS, TLS 1.1":           {server: old, says: "version"},
		"ldaps to a port without":     {server: good(), ldaps: true, prepare: func(d *directory) { d.onAccept = func(c net.Conn) bool { io.Copy(c, c); return true } }, says: "TLS"},
		"StartTLS refused":            {server: good(), prepare: answerStartTLS(result(goldap.ApplicationExtendedResponse, 2, "unsupported extended operation")), says: "unsupported"},
		"StartTLS stripped":           {server: good(), prepare: stripStartTLS, says: "TLS"},
		"StartTLS answered by a bind": {server: good(), prepare: answerStartTLS(result(goldap.ApplicationBindResponse, 0, "")), says: "something else"},
		"StartTLS answered by another's id": {server: good(), prepare: func(d *directory) {
			d.onStartTLS = func(c net.Conn, _ int64) *ber.Packet {
				c.Write(message(0, result(goldap.ApplicationExtendedResponse, 0, ""), nil))
				return nil
			}
		}, says: "something else"},
		"StartTLS, and words before TLS": {server: good(), prepare: wordsBeforeTLS, says: "TLS"},
		"StartTLS answered by half a packet": {server: good(), prepare: func(d *directory) {
			d.onStartTLS = func(c net.Conn, _ int64) *ber.Packet { c.Write([]byte{0x30, 0x20, 2}); c.Close(); return nil }
		}, says: "StartTLS"},
		"StartTLS never answered": {server: good(), hangs: true, prepare: silence, says: "StartTLS"},
		"ldaps never answered":    {server: good(), hangs: true, ldaps: true, prepare: silence, says: "TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			d := acme()
			d.tls, d.ldaps = c.server, c.ldaps
			if c.prepare != nil {
				c.prepare(d)
			}
			d.start(t)
			cfg := config(d)
			cfg.Roots, cfg.StartTLS, cfg.InsecureCleartext = ca.roots(), true, false
			if c.hangs {
				cfg.Timeout = MinTimeout
			}
			con := connector(t, cfg)
			id, err := signIn(t, con, "alice", alicePW)
			if c.ok {
				if err != nil || id.Subject != aliceUUID {
					t.Fatalf("%v, %v", id, err)
				}
				if err := con.Test(t.Context()); err != nil {
					t.Error(err)
				}
				return
			}
			if id != nil || iam.KindOf(err) != iam.KindUnavailable || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, %v", id, err)
			}
			if len(d.seen()) > 0 {
				t.Errorf("it was bound all the same: %v", d.seen())
			}
			if err := con.Test(t.Context()); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("the test says %v", err)
			}
		})
	}
}

func answerStartTLS(response *ber.Packet) func(*directory) {
	return func(d *directory) { d.onStartTLS = func(net.Conn, int64) *ber.Packet { return response } }
}

// silence accepts and never answers.
func silence(d *directory) {
	d.onAccept = func(conn net.Conn) bool { io.Copy(io.Discard, conn); return true }
}

// stripStartTLS says yes and goes on in clear text, as a box in the middle does.
func stripStartTLS(d *directory) {
	d.onStartTLS = func(conn net.Conn, id int64) *ber.Packet {
		conn.Write(message(id, result(goldap.ApplicationExtendedResponse, 0, ""), nil))
		io.WriteString(conn, "no TLS here")
		io.Copy(io.Discard, conn)
		return nil
	}
}

// wordsBeforeTLS sends the answer to a later question in clear text, and then does speak TLS.
func wordsBeforeTLS(d *directory) {
	d.onStartTLS = func(conn net.Conn, id int64) *ber.Packet {
		yes := message(id, result(goldap.ApplicationExtendedResponse, 0, ""), nil)
		conn.Write(append(yes, message(1, result(goldap.ApplicationBindResponse, 0, ""), nil)...))
		tls.Server(conn, d.tls).Handshake()
		return nil
	}
}

// However many sign in at once, no more connections are open than allowed; who finds none free is
// told to come again, and what was begun ends (threat L09).
func TestManyAtOnce(t *testing.T) {
	const people, most = 500, 4
	d := acme()
	hold := make(chan struct{})
	d.onSearch = func(request) []*ber.Packet { <-hold; return nil }
	d.start(t)
	cfg := config(d)
	cfg.MaxConnections, cfg.Timeout = most, 30*time.Second
	c := connector(t, cfg)
	var mu sync.Mutex
	var in, busy, other, opened int
	var all sync.WaitGroup
	for range people {
		all.Go(func() {
			_, err := c.Authenticate(t.Context(), "alice", iam.NewSecret(alicePW))
			e, _ := errors.AsType[*iam.Error](err)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				in++
			case e != nil && e.Kind == iam.KindUnavailable && e.RetryAfter > 0:
				busy++
				if busy == people-most {
					opened = int(d.accepted.Load())
					close(hold)
				}
			default:
				other++
			}
		})
	}
	all.Wait()
	if in != most || busy != people-most || other != 0 {
		t.Errorf("%d in, %d told to come again, %d else", in, busy, other)
	}
	if opened != most {
		t.Errorf("%d connections were open at a time", opened)
	}
	if _, err := signIn(t, c, "alice", alicePW); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// Nothing is left running behind a directory that hangs.
func TestNothingLeaks(t *testing.T) {
	d := acme()
	d.onSearch = func(r request) []*ber.Packet { io.Copy(io.Discard, r.conn); return []*ber.Packet{} }
	d.start(t)
	cfg := config(d)
	cfg.Timeout = MinTimeout
	c := connector(t, cfg)
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() { c.Authenticate(t.Context(), "alice", iam.NewSecret(alicePW)) })
	}
	all.Wait()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// No password is in any error, also if the directory repeats it (threat L11).
func TestErrorsTellNoPassword(t *testing.T) {
	for _, code := range []int64{49, 53, 80} {
		d := acme()
		d.onBind = func(dn, password string) *ber.Packet {
			return result(goldap.ApplicationBindResponse, code, "no such "+dn+" with "+password+" \x1b[31m"+strings.Repeat("x", 1000))
		}
		d.start(t)
		c := connector(t, config(d))
		_, err := signIn(t, c, "alice", alicePW)
		all := fmt.Sprintf("%v %+v %#v %v", err, err, c, c.Test(t.Context()))
		d.onBind = func(dn, password string) *ber.Packet {
			if dn == serviceDN {
				return nil
			}
			return result(goldap.ApplicationBindResponse, code, "no such "+dn+" with "+password)
		}
		_, err = signIn(t, c, "alice", alicePW)
		all += fmt.Sprintf("%v %+v", err, err)
		for e := err; e != nil; e = errors.Unwrap(e) {
			all += fmt.Sprintf("%v %+v %#v", e, e, e)
		}
		if strings.Contains(all, servicePW) || strings.Contains(all, alicePW) {
			t.Errorf("%d: a password is told: %s", code, all)
		}
		if strings.Contains(all, "\x1b") || strings.Contains(all, strings.Repeat("x", 500)) {
			t.Errorf("%d: the directory's words are taken as they come: %s", code, all)
		}
	}
}

// Two directories with one uid are two people, also if all else is the same (threat L10).
func TestTwoDirectories(t *testing.T) {
	one, err := signIn(t, connector(t, config(acme().start(t))), "alice", alicePW)
	if err != nil {
		t.Fatal(err)
	}
	two, err := signIn(t, connector(t, config(acme().start(t))), "alice", alicePW)
	if err != nil {
		t.Fatal(err)
	}
	if one.Issuer == two.Issuer {
		t.Errorf("both are %s", one.Issuer)
	}
}

func TestSubject(t *testing.T) {
	guid := "\x3a\x9d\x0c\x5f\x34\x12\x78\x56\x80\x00\x01\x02\x03\x04\x05\x06"
	for name, c := range map[string]struct {
		attributes map[string][]string
		want       string
	}{
		"entryUUID":     {map[string][]string{"entryUUID": {aliceUUID}, "objectGUID": {guid}}, aliceUUID},
		"objectGUID":    {map[string][]string{"OBJECTGUID": {guid}, "nsUniqueId": {"a-b"}}, "5f0c9d3a-1234-5678-8000-010203040506"},
		"nsUniqueId":    {map[string][]string{"nsUniqueId": {"66446001-1dd211b2-66225011-2ee211db"}}, "66446001-1dd211b2-66225011-2ee211db"},
		"the DN":        {nil, aliceDN},
		"the DN folded": {map[string][]string{"dn": {"UID=Alice, OU=People,  DC=acme,DC=test"}}, aliceDN},
	} {
		d := acme()
		delete(d.entries[1].attributes, "entryUUID")
		maps.Copy(d.entries[1].attributes, c.attributes)
		if spelled := c.attributes["dn"]; spelled != nil {
			d.entries[1].dn = spelled[0]
			d.passwords[spelled[0]] = alicePW
		}
		id, err := signIn(t, connector(t, config(d.start(t))), "alice", alicePW)
		if err != nil || id.Subject != c.want {
			t.Errorf("%s: %+v, %v", name, id, err)
		}
	}
}

func TestTest(t *testing.T) {
	list, err := ParseAllowList("vision")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		prepare func(d *directory, cfg *Config)
		says    string // "" if it passes
	}{
		"all is well":            {func(*directory, *Config) {}, ""},
		"with an allow list":     {func(_ *directory, cfg *Config) { cfg.AllowList = list }, ""},
		"no server":              {func(d *directory, _ *Config) { d.listener.Close() }, "connecting"},
		"wrong service password": {func(_ *directory, cfg *Config) { cfg.BindPassword = iam.NewSecret("old") }, "binding"},
		"anonymous bind refused": {func(d *directory, cfg *Config) {
			cfg.BindDN = ""
			d.onBind = func(string, string) *ber.Packet { return result(1, 48, "anonymous bind disallowed") }
		}, "anonymous bind disallowed"},
		"no such base":                {func(_ *directory, cfg *Config) { cfg.BaseDN = "dc=other" }, "searching the base DN"},
		"nobody has this attribute":   {func(_ *directory, cfg *Config) { cfg.EmailAttribute = "rfc822" }, "looking for people"},
		"groups that nobody may read": {func(_ *directory, cfg *Config) { cfg.AllowList = list; cfg.GroupAttribute = "isMemberOf" }, "reading groups"},
		"groups that nobody asks for": {func(_ *directory, cfg *Config) { cfg.GroupAttribute = "isMemberOf" }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := acme().start(t)
			cfg := config(d)
			c.prepare(d, &cfg)
			err := connector(t, cfg).Test(t.Context())
			if c.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			e, ok := errors.AsType[*iam.Error](err)
			if !ok || e.Kind != iam.KindUnavailable || !strings.Contains(e.Message, c.says) || !strings.Contains(e.Message, "Remedy: ") {
				t.Errorf("%v", err)
			}
		})
	}
}
