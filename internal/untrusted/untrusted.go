// Package untrusted makes what strangers wrote fit to stand in messages and logs: bounded, on one line, and
// without the secrets that a server should have the idea to repeat (threats L11, V02).
package untrusted

import (
	"strconv"
	"strings"
	"unicode"
)

const (
	maxClipped = 80
	maxQuoted  = 200 // enough for the URL of an issuer
)

// Clip returns the first 80 bytes of s, and "..." for the rest.
func Clip(s string) string { return cut(s, maxClipped) }

// cut leaves no half character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// Quote returns s in quotation marks and as ASCII, so that nothing in it looks like something else, at most
// 200 bytes of it.
func Quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// Line returns s as one line of UTF-8, with "..." for what is beyond so many bytes, and a question mark for each
// character that cannot be printed.
func Line(s string, most int) string {
	return cut(strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?")), most)
}

// Redact returns s with REDACTED in the place of every secret.
func Redact(s string, secrets ...string) string {
	for _, secret := range secrets {
		if secret != "" {
			s = strings.ReplaceAll(s, secret, "REDACTED")
		}
	}
	return s
}
