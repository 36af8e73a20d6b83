package jws

import (
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Claims are the members of a token's payload. Names are exact: `Sub` is not `sub`. A claim of another
// type than was asked for is an error (ReasonMalformed), never the same as an absent one; null is a
// value of no type. The zero Claims hold nothing.
type Claims struct{ members []member }

// ParseClaims reads claims that come without a token around them, with the same strictness and bound.
func ParseClaims(text []byte) (Claims, error) {
	if len(text) > MaxTokenBytes {
		return Claims{}, malformed("the claims have %d bytes, the limit is %d", len(text), MaxTokenBytes)
	}
	members, err := readObject(text)
	if err != nil {
		return Claims{}, malformed("the text of the claims %v", err)
	}
	return Claims{members}, nil
}

// Has reports whether a claim is there, even as null.
func (c Claims) Has(name string) bool {
	_, ok := find(c.members, name)
	return ok
}

// Names returns the names of all claims in their order.
func (c Claims) Names() []string {
	names := make([]string, len(c.members))
	for i := range c.members {
		names[i] = c.members[i].name
	}
	return names
}

// Text returns a string claim, and whether it is there.
func (c Claims) Text(name string) (string, bool, error) {
	value, ok := find(c.members, name)
	if !ok {
		return "", false, nil
	}
	s, ok := text(value)
	if !ok {
		return "", false, wrongType(name, value, "a string")
	}
	return s, true, nil
}

// Bool returns a boolean claim, and whether it is there. The strings "true" and "false" are none
// (threats J12).
func (c Claims) Bool(name string) (bool, bool, error) {
	value, ok := find(c.members, name)
	switch {
	case !ok:
		return false, false, nil
	case value.Kind() == 't':
		return true, true, nil
	case value.Kind() == 'f':
		return false, true, nil
	}
	return false, false, wrongType(name, value, "true or false")
}

// maxSeconds is where a float64 stops telling seconds apart.
const maxSeconds = 1 << 53

// NumericDate returns a time claim (RFC 7519 section 2), and whether it is there: a number of seconds,
// fractions allowed, from 0 to below 2^53. Text, negative and larger numbers are errors (threats J13).
func (c Claims) NumericDate(name string) (time.Time, bool, error) {
	value, ok := find(c.members, name)
	if !ok {
		return time.Time{}, false, nil
	}
	if value.Kind() != '0' {
		return time.Time{}, false, wrongType(name, value, "a number of seconds since 1970")
	}
	seconds, err := strconv.ParseFloat(string(value), 64)
	if err != nil || value[0] == '-' || seconds >= maxSeconds {
		return time.Time{}, false, malformed("the claim %s is no time: it must be a number of seconds since 1970, from 0 to below 2^53", untrusted.Quote(name))
	}
	whole := int64(seconds)
	return time.Unix(whole, int64((seconds-float64(whole))*1e9)).UTC(), true, nil
}

// Texts returns a claim that is a string or a list of strings, as `aud` is (RFC 7519 section 4.1.3),
// and whether it is there. An empty list is there and has no strings.
func (c Claims) Texts(name string) ([]string, bool, error) {
	value, ok := find(c.members, name)
	if !ok {
		return nil, false, nil
	}
	if s, ok := text(value); ok {
		return []string{s}, true, nil
	}
	all, ok := texts(value)
	if !ok {
		return nil, false, wrongType(name, value, "a string or a list of strings")
	}
	return all, true, nil
}

// Lookup returns the JSON text of what a path names, and whether it is there. A path is the name of a
// claim, or names separated by "/" that lead into nested objects. Names may have slashes and dots of
// their own (`kubernetes.io`, `https://sts.amazonaws.com/`): at each level the longest name that the
// path can begin with is tried first.
func (c Claims) Lookup(path string) (string, bool) {
	value, ok := lookup(c.members, path)
	return string(value), ok
}

// Matches reports whether a path names the string want, a list with it, or a number or boolean whose
// JSON text is exactly want.
func (c Claims) Matches(path, want string) bool {
	value, ok := lookup(c.members, path)
	if !ok {
		return false
	}
	if equals(value, want) {
		return true
	}
	found := false
	items(value, func(item jsontext.Value) bool {
		found = equals(item, want)
		return !found
	})
	return found
}

func equals(value jsontext.Value, want string) bool {
	switch value.Kind() {
	case '"':
		s, ok := text(value)
		return ok && s == want
	case '0', 't', 'f':
		return string(value) == want
	default: // null, lists and objects equal no text
		return false
	}
}

// lookup reaches every object by one chain of names at most, so that its work is bounded by the size
// of the claims.
func lookup(members []member, path string) (jsontext.Value, bool) {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '/') {
		value, ok := find(members, path[:end])
		if !ok {
			continue
		}
		if end == len(path) {
			return value, true
		}
		if value.Kind() != '{' {
			continue
		}
		nested, err := readObject(value)
		if err != nil {
			continue
		}
		if value, ok := lookup(nested, path[end+1:]); ok {
			return value, true
		}
	}
	return nil, false
}

func wrongType(name string, value jsontext.Value, want string) error {
	return malformed("the claim %s is %s, but must be %s", untrusted.Quote(name), typeOf(value), want)
}

func typeOf(value jsontext.Value) string {
	switch value.Kind() {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "a list (of other things)"
	case '{':
		return "an object"
	default:
		return "no JSON"
	}
}
