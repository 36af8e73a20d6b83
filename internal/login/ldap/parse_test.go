package ldap

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestParseAddress(t *testing.T) {
	for in, want := range map[string]string{
		"ldap://ldap.acme.com":          "ldap.acme.com:389",
		"ldap://ldap.acme.com/":         "ldap.acme.com:389",
		"LDAP://Ldap.Acme.com.:3389":    "ldap.acme.com:3389",
		"ldaps://ldap.acme.com":         "ldap.acme.com:636 tls",
		"ldaps://ldap.acme.com:3269":    "ldap.acme.com:3269 tls",
		"ldap.acme.com":                 "ldap.acme.com:389",
		"ldap.acme.com:1389":            "ldap.acme.com:1389",
		"ldaps://[::1]:636":             "[::1]:636 tls",
		"[::1]":                         "[::1]:389",
		"127.0.0.1:0389":                "127.0.0.1:389",
		"":                              "",
		"ldap://":                       "",
		"ldapi:///run/slapd/ldapi":      "",
		"cldap://ldap.acme.com":         "",
		"https://ldap.acme.com":         "",
		"ldap://ldap.acme.com/dc=x":     "",
		"ldap://ldap.acme.com?uid":      "",
		"ldap://ldap.acme.com?":         "",
		"ldap://ldap.acme.com#":         "",
		"ldap://cn=x:pw@ldap.acme.com":  "",
		"ldap://ldap.acme.com:":         "",
		"ldap://ldap.acme.com:0":        "",
		"ldap://ldap.acme.com:65536":    "",
		"ldap://ldap.acme.com:ldap":     "",
		"ldap://a b":                    "",
		"ldap://a\x00b":                 "",
		"ldap://.acme.com":              "",
		"ldap://acme..com":              "",
		"ldap://[fe80::1%25eth0]":       "",
		"ldap://a,b":                    "",
		"ldap://ldap.acme.com ldap://b": "",
		"//ldap.acme.com":               "",
		"ldaps:ldap.acme.com":           "",
		"::1":                           "",
		strings.Repeat("a", 301):        "",
	} {
		a, err := parseAddress(in)
		got := a.dial()
		if a.tls {
			got += " tls"
		}
		if want == "" && iam.KindOf(err) != iam.KindInvalid || want != "" && (err != nil || got != want) {
			t.Errorf("%q: %s, %v; want %q", in, got, err, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{Address: "ldaps://ldap.acme.test", BaseDN: base}
	if _, err := New(good); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no address":                  func(c *Config) { c.Address = "" },
		"clear text":                  func(c *Config) { c.Address = "ldap://ldap.acme.test" },
		"clear text, allowed":         func(c *Config) { c.Address = "ldap://ldap.acme.test"; c.InsecureCleartext = true },
		"clear text without scheme":   func(c *Config) { c.Address = "ldap.acme.test:636"; c.InsecureCleartext = true },
		"clear text on loopback":      func(c *Config) { c.Address = "ldap://127.0.0.1" },
		"a name that may be loopback": func(c *Config) { c.Address = "ldap://localhost.acme.test"; c.InsecureCleartext = true },
		"no base":                     func(c *Config) { c.BaseDN = "" },
		"W&B's own misprint":          func(c *Config) { c.BaseDN = "email=mail,group" },
		"a base that is no DN":        func(c *Config) { c.BaseDN = "acme.test" },
		"an e-mail attribute":         func(c *Config) { c.EmailAttribute = "mail)(uid" },
		"a group attribute":           func(c *Config) { c.GroupAttribute = "memberOf;range=0-1" },
		"a filter without the name":   func(c *Config) { c.Filter = "(uid=alice)" },
		"a filter without brackets":   func(c *Config) { c.Filter = "uid={login}" },
		"a filter that does not end":  func(c *Config) { c.Filter = "(uid={login}" },
		"two filters":                 func(c *Config) { c.Filter = "(uid={login})(mail={login})" },
		"the name as attribute":       func(c *Config) { c.Filter = "({login}=x)" },
		"the name as operator":        func(c *Config) { c.Filter = "({login}(uid=x))" },
		"the name as both":            func(c *Config) { c.Filter = "(|(uid={login})({login}=x))" },
		"the name in an escape":       func(c *Config) { c.Filter = `(uid=\{login})` },
		"a long filter":               func(c *Config) { c.Filter = "(uid={login}" + strings.Repeat("x", 5000) + ")" },
		"a long bind DN":              func(c *Config) { c.BindDN = strings.Repeat("x", 5000) },
		"a short timeout":             func(c *Config) { c.Timeout = time.Millisecond },
		"a negative timeout":          func(c *Config) { c.Timeout = -1 },
		"a long timeout":              func(c *Config) { c.Timeout = time.Hour },
		"negative connections":        func(c *Config) { c.MaxConnections = -1 },
		"many connections":            func(c *Config) { c.MaxConnections = 1 << 20 },
	} {
		cfg := good
		change(&cfg)
		if c, err := New(cfg); c != nil || iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Config){
		"StartTLS":      func(c *Config) { c.Address = "ldap://ldap.acme.test"; c.StartTLS = true },
		"both":          func(c *Config) { c.StartTLS = true },
		"localhost":     func(c *Config) { c.Address = "ldap://localhost"; c.InsecureCleartext = true },
		"IPv6 loopback": func(c *Config) { c.Address = "ldap://[::1]"; c.InsecureCleartext = true },
		"Active Directory": func(c *Config) {
			c.Filter = "(&(objectClass=user)(|(sAMAccountName={login})(userPrincipalName={login}@acme.test)))"
		},
		"a matching rule":       func(c *Config) { c.Filter = "(uid:caseExactMatch:={login})" },
		"a user principal name": func(c *Config) { c.BindDN = "svc@acme.test" },
	} {
		cfg := good
		change(&cfg)
		if _, err := New(cfg); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestIssuer(t *testing.T) {
	issuer := func(address, base string, startTLS bool) string {
		c, err := New(Config{Address: address, BaseDN: base, StartTLS: startTLS, InsecureCleartext: true})
		if err != nil {
			t.Fatal(err)
		}
		return c.issuer
	}
	want := "ldap://127.0.0.1:389/dc=acme,dc=test"
	for _, got := range []string{
		issuer("ldap://127.0.0.1", "dc=acme,dc=test", false),
		issuer("127.0.0.1:389", " DC=Acme, dc=test", true),
		issuer("ldaps://127.0.0.1:389/", "0.9.2342.19200300.100.1.25=acme,domainComponent=test", false),
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	for _, other := range []string{
		issuer("ldap://127.0.0.1", "dc=acme,dc=org", true), issuer("ldaps://127.0.0.1", "dc=acme,dc=test", true), issuer("ldap://127.0.0.2", "dc=acme,dc=test", true),
	} {
		if other == want {
			t.Errorf("another directory is %s", other)
		}
	}
}

// Spellings of one DN are the same, and different DNs are not (threat L06).
func TestDN(t *testing.T) {
	same := [][]string{
		{"cn=vision,ou=groups,dc=acme", "CN=Vision, OU=Groups,  DC=acme", "cn =vision , ou= groups,dc=acme", `cn=\76ision,ou=groups,dc=acme`, "2.5.4.3=vision,ou=groups,dc=acme", "commonName=vision,organizationalUnitName=groups,domainComponent=acme", "cn=#0406766973696f6e,ou=groups,dc=acme"},
		{`cn=a\,b,dc=x`, `cn=a\2cb,dc=x`, `CN=A\2Cb,DC=x`},
		{`cn=a\;b,dc=x`, `cn=a\3bb,dc=x`},
		{"cn=two  words,dc=x", "cn=Two Words,dc=x"},
		{"cn=a+uid=b,dc=x", "UID=b+cn=A,dc=x"},
		{"cn=größe,dc=x", "CN=GRÖßE,dc=x ", `cn=gr\c3\b6\c3\9fe,dc=x`, "cn=gro\u0308ße,dc=x"},
		{"ou=vision,dc=acme"},
		{"cn=vision,ou=groups,dc=acme,dc=test"},
		{"cn=a,cn=b,dc=x"},
		{"cn=b,cn=a,dc=x"},
		{`cn=a\,cn=b,dc=x`},
	}
	key := map[string]int{}
	for i, spellings := range same {
		for _, s := range spellings {
			read, ok := parseDN(s)
			if !ok {
				t.Errorf("%q is no DN", s)
				continue
			}
			if j, seen := key[read.key]; seen && j != i {
				t.Errorf("%q is %q", s, same[j][0])
			}
			if first, _ := parseDN(spellings[0]); first.key != read.key {
				t.Errorf("%q is %q, and %q is %q", s, read.key, spellings[0], first.key)
			}
			key[read.key] = i
		}
	}
	for name, s := range map[string]string{
		"nothing": "", "a name": "vision", "blanks": "  ", "a number": "5000", "no type": "=vision,dc=x", "no value's type": "cn=a,b", "a bare semicolon": "cn=a;dc=x",
		"ends in a backslash": `cn=a\`, "half an escape": `cn=a\4`, "bare quote": `cn="a",dc=x`, "bad hex": "cn=#zz", "cut BER": "cn=#0405", "too long": "cn=" + strings.Repeat("a", maxDNBytes),
		"an option": "cn;lang-en=a", "a type with a blank": "c n=a", "a comma at the end": "cn=a,", "BER in depth": "cn=#" + strings.Repeat("3080", 1000),
	} {
		if read, ok := parseDN(s); ok {
			t.Errorf("%s: %q is %+v", name, s, read)
		}
	}
}

func TestReadGroups(t *testing.T) {
	for name, c := range map[string]struct {
		values []string
		want   string
	}{
		"none":                      {nil, ""},
		"names of entries":          {[]string{"CN=Vision Team,OU=Groups,DC=acme", "cn=ops,dc=acme"}, "Vision Team|ops"},
		"numbers":                   {[]string{"5000", "5001"}, "5000|5001"},
		"names":                     {[]string{"vision"}, "vision"},
		"an escaped comma":          {[]string{`cn=a\,b,dc=x`, `cn=a\2cb,dc=y`}, "a,b"},
		"a group that has no cn":    {[]string{"ou=admins,dc=acme", "cn=ops,dc=acme"}, "ops"},
		"one name twice":            {[]string{"cn=ops,ou=a,dc=x", "cn=ops,ou=b,dc=x"}, "ops"},
		"a multi-valued RDN":        {[]string{"ou=x+cn=ops,dc=acme"}, "ops"},
		"control characters":        {[]string{`cn=a\0ab,dc=x`, "a\nb", "c"}, "c"},
		"no UTF-8":                  {[]string{"\xff", `cn=\ff,dc=x`, "c"}, "c"},
		"a long name":               {[]string{strings.Repeat("x", 300), "c"}, "c"},
		"an empty one":              {[]string{"", "c"}, "c"},
		"cn in a deeper place":      {[]string{"uid=x,cn=admins,dc=acme"}, ""},
		"a name that imitates a DN": {[]string{"cn=admins"}, "admins"},
		"an escaped equals sign":    {[]string{`cn=a\3dcn,dc=x`}, "a=cn"},
		"an RDN within the value":   {[]string{`cn=ops\,cn=admins,dc=x`}, "ops,cn=admins"},
		"markup stays what it is":   {[]string{"cn=\\<script\\>,dc=x"}, "<script>"},
		"hundred of the same":       {slices.Repeat([]string{"cn=ops,dc=x"}, 100), "ops"},
	} {
		g := readGroups(c.values)
		if got := strings.Join(g.names, "|"); got != c.want || !g.known {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestParseAllowListRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"a comma":                ",",
		"commas and blanks":      " , ,, ",
		"a semicolon":            ";",
		"semicolons":             " ; ; ",
		"names and semicolons":   "vision;ops",
		"DNs and a name":         "cn=a,dc=x;ops",
		"a name and a DN":        "ops,cn=a",
		"half a DN":              "cn=a,dc",
		"a broken DN":            `cn=a\,dc=x\`,
		"control characters":     "a\x00b",
		"a long name":            strings.Repeat("x", 300),
		"no UTF-8":               "\xff",
		"far too long":           strings.Repeat("x,", 64<<10),
		"more than can be meant": strings.Join(numbers(1001), ","),
	} {
		list, err := ParseAllowList(s)
		if iam.KindOf(err) != iam.KindInvalid || !list.IsZero() {
			t.Errorf("%s: %v, %v", name, list, err)
		}
	}
	for s, want := range map[string]string{
		"":                               "",
		" ":                              "",
		"a,b , c,":                       "a b c",
		"A,a":                            "a",
		"two words":                      "two words",
		"cn=A, dc=x":                     "cn=a,dc=x",
		"cn=a,dc=x; cn=b,dc=x;":          "cn=a,dc=x cn=b,dc=x",
		`cn=a\;b,dc=x;cn=c,dc=x`:         `cn=a\;b,dc=x cn=c,dc=x`,
		strings.Join(numbers(1000), ","): strings.Join(slices.Sorted(slices.Values(numbers(1000))), " "),
	} {
		list, err := ParseAllowList(s)
		got := strings.Join(append(slices.Sorted(maps.Keys(list.names)), slices.Sorted(maps.Keys(list.dns))...), " ")
		if err != nil || got != want {
			t.Errorf("%.50q: %.50q, %v", s, got, err)
		}
	}
}

func numbers(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprint(i)
	}
	return list
}

func TestParseAttributes(t *testing.T) {
	for in, want := range map[string]string{
		"email=mail, group=gidNumber":        "mail gidNumber",
		"email=mail,group=memberOf":          "mail memberOf",
		"group=memberOf":                     " memberOf",
		" EMAIL = mail ":                     "mail ",
		"email=0.9.2342.19200300.100.1.3":    "0.9.2342.19200300.100.1.3 ",
		"":                                   "refused",
		",":                                  "refused",
		"email":                              "refused",
		"email=":                             "refused",
		"mail":                               "refused",
		"email=mail,":                        "refused",
		"email=mail,email=mail":              "refused",
		"email=mail group=gidNumber":         "refused",
		"email=mail;group=gidNumber":         "refused",
		"e-mail=mail":                        "refused",
		"email=mail,user=uid":                "refused",
		"email=mail)(uid=*":                  "refused",
		"email=mail;binary":                  "refused",
		"email=ma\x00il":                     "refused",
		"email=1mail":                        "refused",
		"email=1..2":                         "refused",
		"email=1.":                           "refused",
		"email=máil":                         "refused",
		"dc=example,dc=com":                  "refused",
		"email=" + strings.Repeat("a", 5000): "refused",
	} {
		email, group, err := ParseAttributes(in)
		got := email + " " + group
		if err != nil {
			got = "refused"
		}
		if got != want || err != nil && iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%.50q: %q, %v; want %q", in, got, err, want)
		}
	}
}

func TestFromEnvironment(t *testing.T) {
	file := Config{Address: "ldap://file.test", BaseDN: "dc=file", BindDN: "cn=file", BindPassword: iam.NewSecret("file"), EmailAttribute: "fileMail", GroupAttribute: "fileGroup", Timeout: time.Second}
	read := func(t *testing.T, env map[string]string) (Config, *bool, []string, error) {
		t.Helper()
		return FromEnvironment(func(name string) string { return env[name] }, file)
	}

	t.Run("unset and empty", func(t *testing.T) {
		cfg, login, used, err := read(t, map[string]string{"LOCAL_LDAP_ADDRESS": "", "LOCAL_LDAP_LOGIN": "", "LOCAL_LDAP_BASE_DN": " ", "LOCAL_LDAP_BIND_PW": ""})
		if err != nil || login != nil || len(used) != 0 || cfg.Address != file.Address || cfg.BaseDN != file.BaseDN || cfg.BindPassword.Reveal() != "file" {
			t.Errorf("%+v, %v, %v, %v", cfg, login, used, err)
		}
	})
	t.Run("all eight win", func(t *testing.T) {
		cfg, login, used, err := read(t, map[string]string{
			"LOCAL_LDAP_ADDRESS": "ldaps://ldap.example.com:636", "LOCAL_LDAP_BASE_DN": "dc=example,dc=org",
			"LOCAL_LDAP_BIND_DN": "cn=admin, dc=example,dc=org", "LOCAL_LDAP_BIND_PW": " pw ", "LOCAL_LDAP_ATTRIBUTES": "email=mail, group=gidNumber",
			"LOCAL_LDAP_TLS_ENABLE": "true", "LOCAL_LDAP_GROUP_ALLOW_LIST": "5000", "LOCAL_LDAP_LOGIN": "True",
		})
		if err != nil || login == nil || !*login || !cfg.StartTLS || cfg.AllowList.IsZero() || cfg.Timeout != time.Second ||
			cfg.Address != "ldaps://ldap.example.com:636" || cfg.BaseDN != "dc=example,dc=org" || cfg.BindDN != "cn=admin, dc=example,dc=org" ||
			cfg.BindPassword.Reveal() != " pw " || cfg.EmailAttribute != "mail" || cfg.GroupAttribute != "gidNumber" {
			t.Errorf("%+v, %v, %v", cfg, login, err)
		}
		want := "LOCAL_LDAP_ADDRESS LOCAL_LDAP_BASE_DN LOCAL_LDAP_BIND_DN LOCAL_LDAP_BIND_PW LOCAL_LDAP_ATTRIBUTES LOCAL_LDAP_TLS_ENABLE LOCAL_LDAP_GROUP_ALLOW_LIST LOCAL_LDAP_LOGIN"
		if got := strings.Join(used, " "); got != want {
			t.Errorf("used: %s", got)
		}
		if _, err := New(cfg); err != nil {
			t.Error(err)
		}
	})
	t.Run("in part", func(t *testing.T) {
		cfg, login, used, err := read(t, map[string]string{"LOCAL_LDAP_ATTRIBUTES": "group=gidNumber", "LOCAL_LDAP_LOGIN": "FALSE"})
		if err != nil || login == nil || *login || len(used) != 2 || cfg.EmailAttribute != "fileMail" || cfg.GroupAttribute != "gidNumber" {
			t.Errorf("%+v, %v, %v, %v", cfg, login, used, err)
		}
	})
	for variable, bad := range map[string][]string{
		"LOCAL_LDAP_ADDRESS":          {"http://x", "ldap://a/b"},
		"LOCAL_LDAP_BASE_DN":          {"example.org", "dc"},
		"LOCAL_LDAP_ATTRIBUTES":       {"mail", "email=mail,x=y"},
		"LOCAL_LDAP_TLS_ENABLE":       {"yes", "on", "2"},
		"LOCAL_LDAP_GROUP_ALLOW_LIST": {",", "a;b"},
		"LOCAL_LDAP_LOGIN":            {"enabled", "no"},
	} {
		for _, value := range bad {
			_, login, used, err := read(t, map[string]string{variable: value})
			if iam.KindOf(err) != iam.KindInvalid || !strings.Contains(err.Error(), variable) || login != nil || used != nil {
				t.Errorf("%s=%s: %v", variable, value, err)
			}
		}
	}
}

// One counter for all spellings (threat L07), and another for another name.
func TestCanonical(t *testing.T) {
	for _, spellings := range [][]string{
		{"alice", "ALICE", " alice ", "alice@acme.test", "ALICE@corp", `CORP\alice`, `corp\ALICE`, `CORP\alice@acme.test`, "ａｌｉｃｅ", "álice", "a\u0301lice", "al\u200bice", "al\u00adice", "al ice", "alice\x00", "alice\t", "\u202ealice", "alice\xff", `ACME\CORP\alice`},
		{"bob"},
		{"kelvin", "\u212aelvin"},
		{"straße", "STRASSE"},
		{`alice\`},
		{"@acme"},
		{""},
		{"alice.liddell"},
	} {
		want := Canonical(spellings[0])
		for _, s := range spellings {
			if got := Canonical(s); got != want {
				t.Errorf("%q: %q, want %q", s, got, want)
			}
		}
	}
	distinct := map[string]bool{}
	for _, s := range []string{"alice", "bob", "alice.liddell", "alice-2"} {
		distinct[Canonical(s)] = true
	}
	if len(distinct) != 4 {
		t.Errorf("different names share a counter: %v", distinct)
	}
}

func TestReadMessageRefuses(t *testing.T) {
	deep := func(n int) string {
		s := ""
		for range n {
			s = "\x30" + string(rune(len(s))) + s
		}
		return s
	}
	for name, s := range map[string]string{
		"nothing":                          "",
		"HTTP":                             "HTTP/1.1 200 OK\r\n\r\n",
		"TLS":                              "\x16\x03\x01\x00\x05hello",
		"a set":                            "\x31\x00",
		"half a head":                      "\x30",
		"indefinite length":                "\x30\x80\x02\x01\x01\x00\x00",
		"a length of five bytes":           "\x30\x85\x00\x00\x00\x00\x01x",
		"a length of 127 bytes":            "\x30\xff",
		"half a length":                    "\x30\x84\x00\x00",
		"4 GB":                             "\x30\x84\xff\xff\xff\xff",
		"one byte more than allowed":       "\x30\x83\x10\x00\x00" + strings.Repeat("\x04\x00", 1<<19),
		"ends early":                       "\x30\x05\x02\x01\x01",
		"an element longer than the whole": "\x30\x03\x02\x7f\x01",
		"an element of indefinite length":  "\x30\x04\x30\x80\x00\x00",
		"an element without length":        "\x30\x01\x02",
		"a tag of several bytes":           "\x30\x04\x1f\x81\x01\x00",
		"too deep":                         deep(maxLevels + 1),
		"too many elements":                "\x30\x83\x01\x00\x02" + strings.Repeat("\x04\x00", maxElements+1),
		"long controls":                    "\x30\x82\x10\x05\xa0\x82\x10\x01" + strings.Repeat("\x00", 4097),
	} {
		if m, err := readMessage(strings.NewReader(s), maxMessageBytes); err == nil {
			t.Errorf("%s: %q passes", name, m)
		}
	}
	for name, s := range map[string]string{
		"empty": "\x30\x00", "long form": "\x30\x84\x00\x00\x00\x03\x02\x01\x01", "as deep as allowed": deep(maxLevels),
	} {
		if m, err := readMessage(strings.NewReader(s+"rest"), maxMessageBytes); err != nil || string(m) != s {
			t.Errorf("%s: %q, %v", name, m, err)
		}
	}
}

// However small the messages are, a connection ends with so many bytes of them.
func TestMessagesEnd(t *testing.T) {
	here, there := net.Pipe()
	defer here.Close()
	one := append([]byte("\x30\x84\x00\x00\x10\x00"), bytes.Repeat([]byte("\x04\x00"), 2048)...)
	go func() {
		for {
			if _, err := there.Write(one); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, newMessages(here))
	if err == nil || n > maxAnswerBytes || n < maxAnswerBytes-int64(len(one)) {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Whatever is typed, the filter has the configured shape and holds it as a value.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{"alice", "*", "a*", "admin)(|(uid=*", `\2a`, "a\x00b", `a\00`, "ä", "\xff", "(", ")", `\`, "{login}", "=", "~=", ":dn:="} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, login string) {
		filter := strings.ReplaceAll(DefaultFilter, loginPlace, goldap.EscapeFilter(login))
		packet, err := goldap.CompileFilter(filter)
		if err != nil {
			t.Fatalf("%q: %v", filter, err)
		}
		if packet.Tag != goldap.FilterOr || len(packet.Children) != 2 {
			t.Fatalf("%q: another shape", filter)
		}
		for i, attribute := range []string{"mail", "uid"} {
			match := packet.Children[i]
			if match.Tag != goldap.FilterEqualityMatch || match.Children[0].Value != attribute || match.Children[1].Value != login {
				t.Fatalf("%q: %q is asked for as %q", filter, login, match.Children[1].Value)
			}
		}
	})
}

// A filter that New takes keeps its shape for every log-in name.
func FuzzConfiguredFilter(f *testing.F) {
	f.Add(DefaultFilter, "alice)(uid=*")
	f.Add("(&(objectClass=user)(sAMAccountName={login}))", "*")
	f.Add("(uid=*{login}*)", `\`)
	f.Add("(!(uid:dn:2.4.6.8.10:={login}))", "x")
	f.Add(`(uid=\{login})`, "2a")
	f.Add("({login}={login})", "2a")
	f.Fuzz(func(t *testing.T, filter, login string) {
		if validFilter(filter) != nil {
			return
		}
		shape := func(login string) string {
			packet, err := goldap.CompileFilter(strings.ReplaceAll(filter, loginPlace, goldap.EscapeFilter(login)))
			if err != nil {
				t.Fatalf("%q with %q: %v", filter, login, err)
			}
			var b strings.Builder
			writeShape(&b, packet)
			return b.String()
		}
		if a, b := shape("x"), shape("x"+login); a != b {
			t.Fatalf("%q: %q gives %s instead of %s", filter, login, b, a)
		}
	})
}

func FuzzParseAllowList(f *testing.F) {
	for _, s := range []string{"", "a,b", "cn=a,dc=x;cn=b", ",", ";", `cn=a\;b;cn=c`, "cn=a\\", "cn=#0400,dc=x", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		list, err := ParseAllowList(s)
		switch {
		case err != nil && iam.KindOf(err) != iam.KindInvalid:
			t.Fatal(err)
		case err == nil && list.IsZero() && strings.TrimSpace(s) != "":
			t.Fatalf("%q lets everyone in", s)
		case err == nil && !list.IsZero() && list.admits(groups{known: true}):
			t.Fatalf("%q lets in who is in no group", s)
		}
	})
}

func FuzzParseAttributes(f *testing.F) {
	for _, s := range []string{"email=mail, group=gidNumber", "", "email==", "email=a,email=b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		email, group, err := ParseAttributes(s)
		if err != nil {
			return
		}
		again, group2, err := ParseAttributes(strings.Trim("email="+email+",group="+group, ","))
		if email != "" && group != "" && (err != nil || again != email || group2 != group) {
			t.Fatalf("%q: %q %q, then %q %q, %v", s, email, group, again, group2, err)
		}
		for _, name := range []string{email, group} {
			if name == "" {
				continue
			}
			if _, err := goldap.CompileFilter("(" + name + "=*)"); err != nil {
				t.Fatalf("%q: %v", name, err)
			}
		}
	})
}

// A DN read back from its key is the same DN, and a value cannot pretend to be another RDN.
func FuzzParseDN(f *testing.F) {
	for _, s := range []string{"cn=a,dc=x", `cn=a\,b+uid=c,dc=x`, "CN=#0403616263", `cn=\ `, "cn=a;dc=x", "2.5.4.3=a", "cn=größe", `cn=\ff`, "cn=a  b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		read, ok := parseDN(s)
		if !ok {
			return
		}
		again, ok := parseDN(read.key)
		if len(read.key) <= maxDNBytes && (!ok || again.key != read.key) {
			t.Fatalf("%q: %q, then %q, %v", s, read.key, again.key, ok)
		}
		readGroups([]string{s})
	})
}

func FuzzCanonical(f *testing.F) {
	for _, s := range []string{"alice", `CORP\alice`, "alice@corp", "ÄLICE", "ß", "\xff", "@", `\`, "\u0130"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name := Canonical(s)
		if len(s) <= 40 && utf8.ValidString(s) { // far from the bound, whatever folding adds
			for _, spelling := range []string{strings.ToUpper(s), " " + s + " "} {
				if got := Canonical(spelling); got != name {
					t.Fatalf("%q is %q, %q is %q", s, name, spelling, got)
				}
			}
		}
	})
}

// Whatever a directory sends, no message passes that is longer, deeper or fuller than the bounds, and
// not a byte after it is read.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00rest"))
	f.Add([]byte("\x30\x84\x00\x00\x00\x03\x02\x01\x01"))
	f.Add([]byte("\x30\x80\x00\x00"))
	f.Add([]byte("\x30\x04\x30\x02\x30\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := strings.NewReader(string(b))
		message, err := readMessage(r, 4096)
		if err != nil {
			return
		}
		if len(message) > 4096 || string(message) != string(b[:len(message)]) || r.Len() != len(b)-len(message) {
			t.Fatalf("%x of %x, %d left", message, b, r.Len())
		}
	})
}

// writeShape writes the operators and attributes of a filter, and how many values it has.
func writeShape(b *strings.Builder, p *ber.Packet) {
	fmt.Fprintf(b, "(%d/%d", p.ClassType, p.Tag)
	for _, child := range p.Children {
		writeShape(b, child)
	}
	b.WriteByte(')')
}
