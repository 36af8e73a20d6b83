package ldap

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const (
	// maxLoginBytes bounds a log-in name: an e-mail address has at most 254.
	maxLoginBytes = 256
	// maxPasswordBytes bounds a password: no directory's own bound is higher by default.
	maxPasswordBytes = 1024
)

// usableLogin returns the log-in name to search for, and whether there can be one. Blanks around it
// are the keyboard's. Characters that do not show are refused: a directory ignores some of them when
// it compares, so they would make spellings without end of one name.
func usableLogin(login string) (string, bool) {
	if len(login) > maxLoginBytes || !utf8.ValidString(login) {
		return "", false
	}
	login = strings.TrimSpace(login)
	hidden := func(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) }
	return login, login != "" && !strings.ContainsFunc(login, hidden)
}

// usablePassword reports whether a bind with the password proves anything. A simple bind with an
// empty one is an unauthenticated bind, which succeeds for whatever name it is given (RFC 4513
// section 5.1.2), and some servers end a password at its first NUL. A password of nothing but blanks
// is a slip of the hand, and empty to servers that prepare passwords.
func usablePassword(password iam.Secret) bool {
	p := password.Reveal()
	return len(p) <= maxPasswordBytes && !strings.Contains(p, "\x00") && strings.TrimSpace(p) != ""
}

// Canonical returns the name under which failed attempts for a log-in name are counted: one for all
// spellings that a directory may take for one another, so that none of them is a fresh chance
// (threat L07). Case, compatibility forms, accents, blanks and characters that do not show do not
// count, nor does a domain before a backslash or behind an @. People whose names differ in these only
// share a counter. It says nothing about whether two people are the same.
func Canonical(login string) string {
	login = likeness(login[:min(len(login), maxLoginBytes)])
	if i := strings.LastIndexByte(login, '\\'); i >= 0 && i < len(login)-1 {
		login = login[i+1:]
	}
	if i := strings.IndexByte(login, '@'); i > 0 {
		login = login[:i]
	}
	return login
}

// likeness folds what a directory's matching rules may fold (RFC 4518, and Active Directory's, which
// pass over accents).
func likeness(s string) string {
	drop := func(r rune) rune {
		if unicode.Is(unicode.Mn, r) || unicode.Is(unicode.Cf, r) || unicode.IsControl(r) || unicode.IsSpace(r) {
			return -1
		}
		return r
	}
	s = strings.Map(drop, norm.NFKD.String(strings.ToValidUTF8(s, "")))
	return strings.Map(drop, norm.NFKD.String(cases.Fold().String(s)))
}
