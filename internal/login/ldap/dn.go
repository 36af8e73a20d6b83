package ldap

import (
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
	"golang.org/x/text/unicode/norm"
)

// maxDNBytes bounds what is read as a DN.
const maxDNBytes = 4096

// attributeNames are the spellings of the attribute types in DNs that directories and people use for
// one another (RFC 4519 section 2).
var attributeNames = map[string]string{
	"2.5.4.3":                    "cn",
	"commonname":                 "cn",
	"2.5.4.10":                   "o",
	"organizationname":           "o",
	"2.5.4.11":                   "ou",
	"organizationalunitname":     "ou",
	"0.9.2342.19200300.100.1.1":  "uid",
	"userid":                     "uid",
	"0.9.2342.19200300.100.1.25": "dc",
	"domaincomponent":            "dc",
}

// dn is a distinguished name as read. Two are the same if their keys are.
type dn struct {
	// key is the name in a form that is the same for all its spellings: case of letters, blanks after
	// commas, blanks in a row, ways of escaping, order inside a multi-valued RDN (RFC 4514, and
	// distinguishedNameMatch of RFC 4517 with caseIgnoreMatch for every value).
	key string
	// cn is the common name in the first RDN, as the directory spells it; "" if there is none.
	cn string
}

// parseDN reads a DN of at least one RDN, and reports whether s is one.
func parseDN(s string) (dn, bool) {
	// The library reads a semicolon as a comma, as RFC 1779 did. RFC 4514 demands that it is escaped,
	// and here it separates DNs.
	if len(s) > maxDNBytes || !strings.Contains(s, "=") || hasBare(s, ';') {
		return dn{}, false
	}
	parsed, err := goldap.ParseDN(s)
	if err != nil || len(parsed.RDNs) == 0 {
		return dn{}, false
	}
	var read dn
	for i, rdn := range parsed.RDNs {
		for _, pair := range rdn.Attributes {
			pair.Type = strings.ToLower(strings.TrimSpace(pair.Type))
			if name, ok := attributeNames[strings.TrimPrefix(pair.Type, "oid.")]; ok {
				pair.Type = name
			}
			if !validAttribute(pair.Type) {
				return dn{}, false
			}
			if i == 0 && pair.Type == "cn" {
				read.cn = pair.Value
			}
			pair.Value = foldValue(pair.Value)
		}
	}
	read.key = parsed.String()
	return read, true
}

// foldValue returns the form under which a directory compares names and DN values: without regard to
// case, to compatibility forms and to how many blanks stand in a row (RFC 4518). The directory holds
// no two groups of one container that differ in these only, so nothing more is let in than it would.
func foldValue(s string) string {
	s = norm.NFKC.String(strings.ToLower(norm.NFKC.String(s)))
	return strings.Join(strings.Fields(s), " ")
}

// validAttribute reports whether s can name an attribute: a keystring or a dotted number (RFC 4512
// section 1.4), without options.
func validAttribute(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	number := '0' <= s[0] && s[0] <= '9'
	if !number && !letter(s[0]) {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case '0' <= c && c <= '9':
		case c == '.':
			if !number || i == len(s)-1 || s[i-1] == '.' {
				return false
			}
		case letter(c), c == '-':
			if number {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func letter(c byte) bool { return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' }

// hasBare reports whether c stands in s without a backslash before it.
func hasBare(s string, c byte) bool {
	_, _, found := cutBare(s, c)
	return found
}

// cutBare is strings.Cut at the first c that is not escaped by a backslash.
func cutBare(s string, c byte) (before, after string, found bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case c:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
