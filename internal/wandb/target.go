package wandb

import (
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// target is an escaped path cut at its slashes, not yet decoded.
type target struct {
	raw      string
	segments []string
}

// reserved are the first segments behind which something is judged. A look-alike of one of them is
// refused: if it were passed as a page, a server that ignores case would serve what was not judged
// (threat P05).
var reserved = []string{
	"graphql", "files", "artifacts", "artifactsV2", "sdk", "scim", "oidc", "wandb-gateway", "authorize", "logout",
}

// parseTarget takes the path as it will be forwarded and checks what holds for all of it.
func parseTarget(u *url.URL) (target, error) {
	raw := u.EscapedPath()
	switch {
	case u.Opaque != "" || raw == "" || raw[0] != '/':
		return target{}, nonCanonical("it is no absolute path")
	case len(raw) > maxTargetBytes:
		return target{}, nonCanonical("it is too long")
	}
	return target{raw: raw, segments: strings.Split(raw[1:], "/")}, nil
}

// segment returns a segment that stands in the table; it is compared as it came, because a
// canonical target does not escape letters.
func (t target) segment(i int) string {
	if i < len(t.segments) {
		return t.segments[i]
	}
	return ""
}

// checkPrefix refuses look-alikes of what is judged: another case, or a slash behind /graphql.
func (t target) checkPrefix(weavePrefix string) error {
	first, err := canonicalSegment(t.segments[0])
	if err != nil && t.raw != "/" {
		return err
	}
	for _, name := range reserved {
		if first != name && strings.EqualFold(first, name) {
			return nonCanonical("it is spelled like /" + name + " but is not")
		}
	}
	if len(t.raw) >= len(weavePrefix) && strings.EqualFold(t.raw[:len(weavePrefix)], weavePrefix) &&
		!strings.HasPrefix(t.raw, weavePrefix) {
		return nonCanonical("it is spelled like " + weavePrefix + " but is not")
	}
	if first == "graphql" && len(t.segments) > 1 {
		return nonCanonical("GraphQL is served at /graphql and nothing below it")
	}
	return nil
}

// checkAll holds every segment to the rule; one slash at the end is allowed.
func (t target) checkAll() error {
	for i, segment := range t.segments {
		if segment == "" && i == len(t.segments)-1 {
			return nil
		}
		if _, err := canonicalSegment(segment); err != nil {
			return err
		}
	}
	return nil
}

// plain reports whether a segment is nothing but letters, digits, '-', '_' and inner dots, and no
// longer than a name may be: such a segment reads in one way only and passes every rule below. Most do.
func plain(raw string) bool {
	if raw == "" || len(raw) > 128 || raw[0] == '.' || raw[len(raw)-1] == '.' {
		return false
	}
	for i := range len(raw) {
		c := raw[i]
		if !('a' <= c|0x20 && c|0x20 <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_' || c == '.') {
			return false
		}
	}
	return true
}

func (t target) entity(i int) (string, error) {
	if plain(t.segments[i]) {
		return t.segments[i], nil
	}
	name, err := canonicalSegment(t.segments[i])
	if err == nil && !iam.ValidName(name) {
		err = nonCanonical("a segment that must name a team or user cannot be such a name")
	}
	return name, err
}

func (t target) project(i int) (string, error) {
	if plain(t.segments[i]) {
		return t.segments[i], nil
	}
	name, err := canonicalSegment(t.segments[i])
	if err == nil && (!iam.ValidProjectName(name) || strings.ContainsAny(name, lookAlikes)) {
		err = nonCanonical("a segment that must name a project or run cannot be such a name")
	}
	return name, err
}

// lookAlikes are characters that some servers map to a slash, a backslash or a dot.
const lookAlikes = "\uff0f\uff3c\uff0e\u2215\u2044\u2024"

// canonicalSegment decodes a segment that decides. It refuses whatever a second parser could read
// differently: a dot segment, an escaped letter, dot or separator, a path parameter, a trailing dot
// or space, a control character, what is still escaped after decoding, and what is not UTF-8
// (threats P05 and P06).
func canonicalSegment(raw string) (string, error) {
	if plain(raw) {
		return raw, nil
	}
	if escapesUnreserved(raw) {
		return "", nonCanonical("it escapes a character that needs no escape")
	}
	s, err := url.PathUnescape(raw)
	switch {
	case err != nil || !utf8.ValidString(s):
		return "", nonCanonical("an escape in it cannot be read")
	case s == "":
		return "", nonCanonical("it has an empty segment")
	case s == "." || s == "..":
		return "", nonCanonical("it has a dot segment")
	case s[len(s)-1] == '.' || s[len(s)-1] == ' ' || s[0] == ' ':
		return "", nonCanonical("a segment starts with a space or ends in a dot or space")
	case strings.ContainsAny(s, "/\\;"):
		return "", nonCanonical("a segment holds a separator")
	case hasControl(s):
		return "", nonCanonical("a segment holds a control character")
	case stillEscaped(s):
		return "", nonCanonical("it is escaped twice")
	}
	return s, nil
}

// escapesUnreserved reports whether raw escapes a letter, digit, '-', '.', '_' or '~', which have
// no need of it (RFC 3986 section 2.3).
func escapesUnreserved(raw string) bool {
	for i := 0; i+2 < len(raw); i++ {
		if raw[i] != '%' {
			continue
		}
		c, ok := unhex(raw[i+1], raw[i+2])
		if ok && (c == '-' || c == '.' || c == '_' || c == '~' || '0' <= c && c <= '9' ||
			'a' <= c|0x20 && c|0x20 <= 'z') {
			return true
		}
	}
	return false
}

// stillEscaped reports whether decoding s once more would change it.
func stillEscaped(s string) bool {
	for i := 0; i+2 < len(s); i++ {
		if s[i] != '%' {
			continue
		}
		if _, ok := unhex(s[i+1], s[i+2]); ok || s[i+1]|0x20 == 'u' {
			return true
		}
	}
	return false
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r == 0x7f || 0x80 <= r && r < 0xa0 })
}

// checkTail lets a file name pass as it came, but not climb out of the segments before it: no dot
// segment in any decoding, no control character, nothing that is not UTF-8.
func (t target) checkTail(from int) error {
	for from < len(t.segments) && plain(t.segments[from]) {
		from++
	}
	if from >= len(t.segments) {
		return nil
	}
	s := strings.Join(t.segments[from:], "/")
	// Every round of decoding shortens s, so that this ends; a name that is escaped more often
	// than this means no file.
	for range 8 {
		if !utf8.ValidString(s) || hasControl(s) {
			return nonCanonical("a file name holds a control character or is not UTF-8")
		}
		if climbs(s) {
			return nonCanonical("a file name has a dot segment")
		}
		decoded := decodeLoosely(s)
		if decoded == s {
			return nil
		}
		s = decoded
	}
	return nonCanonical("a file name is escaped too often")
}

// climbs reports whether a segment of s is, or is taken by some servers for, "." or "..".
func climbs(s string) bool {
	for segment := range strings.FieldsFuncSeq(s, isSeparator) {
		segment, _, _ = strings.Cut(segment, ";")
		switch strings.Trim(segment, " ") {
		case ".", "..":
			return true
		}
	}
	return false
}

func isSeparator(r rune) bool {
	return r == '/' || r == '\\' || r == '\uff0f' || r == '\uff3c' || r == '\u2215' || r == '\u2044'
}

// decodeLoosely decodes %XX and the %uXXXX of some servers, once, and leaves what is neither.
func decodeLoosely(s string) string {
	if !strings.Contains(s, "%") {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if c, ok := unhex(s[i+1], s[i+2]); ok {
				b.WriteByte(c)
				i += 2
				continue
			}
		}
		if s[i] == '%' && i+5 < len(s) && s[i+1]|0x20 == 'u' {
			hi, ok1 := unhex(s[i+2], s[i+3])
			lo, ok2 := unhex(s[i+4], s[i+5])
			if ok1 && ok2 {
				b.WriteRune(rune(hi)<<8 | rune(lo))
				i += 5
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

func unhex(hi, lo byte) (byte, bool) {
	h, ok1 := hexDigit(hi)
	l, ok2 := hexDigit(lo)
	return h<<4 | l, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
