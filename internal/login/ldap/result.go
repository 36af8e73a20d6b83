package ldap

import (
	"errors"
	"fmt"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// maxDiagnosticBytes bounds how much of a server's own text goes into a log.
const maxDiagnosticBytes = 200

// answer is a result other than success that the directory sent.
type answer struct {
	code uint16
	said string // the server's own words, cleaned
}

// Error implements error.
func (a *answer) Error() string {
	text := fmt.Sprintf("the directory answered %d, %s", a.code, goldap.LDAPResultCodeMap[a.code])
	if a.said != "" {
		text += ": " + a.said
	}
	return text
}

// plain returns the error of go-ldap as an *answer, or as text where the directory sent no result.
// The library's own keeps the whole message, and shows the server's words at any length and with any
// control character.
func plain(err error, secrets ...string) error {
	result, ok := errors.AsType[*goldap.Error](err)
	switch {
	case !ok:
		return errors.New(clean(err.Error(), secrets...))
	case result.ResultCode >= goldap.ErrorNetwork:
		return errors.New(clean(result.Err.Error(), secrets...))
	}
	return &answer{code: result.ResultCode, said: clean(result.Err.Error(), secrets...)}
}

// clean returns a text of the server's as it can stand in a log (threat L11).
func clean(s string, secrets ...string) string {
	return untrusted.Line(untrusted.Redact(s, secrets...), maxDiagnosticBytes)
}

// codeOf returns the LDAP result code in err, and whether the server sent one: success has none.
func codeOf(err error) (uint16, bool) {
	result, ok := errors.AsType[*goldap.Error](err)
	if !ok || result.ResultCode >= goldap.ErrorNetwork {
		return 0, false
	}
	return result.ResultCode, true
}

// activeDirectoryCode returns the code that Active Directory writes into the text of its answer 49,
// such as 533 in "80090308: LdapErr: DSID-0C090447, comment: AcceptSecurityContext error, data 533,
// v3839"; "" if there is none.
func activeDirectoryCode(err error) string {
	result, ok := errors.AsType[*goldap.Error](err)
	if !ok || result.ResultCode != goldap.LDAPResultInvalidCredentials {
		return ""
	}
	_, after, found := strings.Cut(result.Err.Error(), ", data ")
	if !found {
		return ""
	}
	code, _, _ := strings.Cut(after, ",")
	return strings.ToLower(strings.TrimSpace(code))
}
