package jws

import (
	"encoding/base64"
	"strings"
	"unicode"
)

const (
	// MaxTokenBytes bounds a token. Headers of HTTP servers end at about the same size.
	MaxTokenBytes = 16 << 10
	// maxKeyIDBytes bounds a key id, which is remembered and printed.
	maxKeyIDBytes = 256
	maxTypeBytes  = 128
)

// Token is a token that was read, not verified: until Verify has returned a key, anybody may have
// written it.
type Token struct {
	Algorithm Algorithm
	// KeyID is the header's `kid`; "" if there is none.
	KeyID string
	// Type is the header's `typ` in lower case and without "application/", such as "at+jwt"; "" if
	// there is none.
	Type   string
	Claims Claims

	signed    string // header and payload as they came, with the dot between them
	signature []byte
}

// Parse reads a token in compact form: three parts, each of them base64url without padding, white space
// or stray bits, so that no token has a second spelling; header and payload JSON objects in which no
// name stands twice. The members of the header that point to keys (`jku`, `jwk`, `x5u`, `x5c`) mean
// nothing here: nothing is fetched, and keys come from the issuer's set alone (threats J06).
// Errors are of iam.KindUnauthenticated with one of the reasons of this package.
func Parse(compact string) (*Token, error) {
	t, payload, err := open(compact)
	if err != nil {
		return nil, err
	}
	members, err := readObject(payload)
	if err != nil {
		return nil, malformed("the payload of the token %v: a token of this kind holds an object of claims", err)
	}
	t.Claims = Claims{members}
	return t, nil
}

// open reads everything but the claims. The cheap checks come first: what is not a token costs one
// pass over it and no memory (threats J14).
func open(compact string) (*Token, []byte, error) {
	head, payload, err := split(compact)
	if err != nil {
		return nil, nil, err
	}
	signature := compact[head+1+payload+1:]
	// One buffer for all three parts.
	buffer := make([]byte, 0, base64.RawURLEncoding.DecodedLen(len(compact)))
	buffer, header, err := decode(buffer, compact[:head], "header")
	if err != nil {
		return nil, nil, err
	}
	t := &Token{signed: compact[:head+1+payload]}
	if err := t.readHeader(header); err != nil {
		return nil, nil, err
	}
	buffer, claims, err := decode(buffer, compact[head+1:head+1+payload], "payload")
	if err != nil {
		return nil, nil, err
	}
	if _, t.signature, err = decode(buffer, signature, "signature"); err != nil {
		return nil, nil, err
	}
	return t, claims, nil
}

// split returns the lengths of header and payload of a text of the right form: three parts that are
// not empty, with the letters of base64url only.
func split(compact string) (head, payload int, err error) {
	if len(compact) > MaxTokenBytes {
		return 0, 0, malformed("the token has %d bytes, the limit is %d", len(compact), MaxTokenBytes)
	}
	dots, at := 0, [2]int{}
	for i := 0; i < len(compact); i++ {
		switch c := compact[i]; {
		case c == '.':
			if dots < len(at) {
				at[dots] = i
			}
			dots++
		case c == '{' && i == 0:
			return 0, 0, malformed("the token is in the JSON form of a JWS: send the compact form, three parts with dots between them")
		case !base64URL(c):
			return 0, 0, malformed("the token has a byte at %d that base64url does not have, such as padding or white space", i)
		}
	}
	switch {
	case dots == 4:
		return 0, 0, malformed("the token has five parts, as an encrypted one (JWE) has: send a signed token")
	case dots != 2:
		return 0, 0, malformed("the token has %d parts between dots instead of three", dots+1)
	case at[0] == 0:
		return 0, 0, malformed("the token has an empty header")
	case at[1] == at[0]+1:
		return 0, 0, malformed("the token has an empty payload, as a detached signature has: send the whole token")
	case at[1] == len(compact)-1:
		return 0, 0, malformed("the token is not signed: its signature is empty")
	}
	return at[0], at[1] - at[0] - 1, nil
}

func base64URL(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-' || c == '_'
}

// strict refuses stray bits in the last letter (Wycheproof's base64 vectors, threats F11). It would
// ignore line ends, which split has refused.
var strict = base64.RawURLEncoding.Strict()

// decode appends a decoded part to the buffer and returns both.
func decode(buffer []byte, part, name string) (all, decoded []byte, err error) {
	start := len(buffer)
	buffer, err = strict.AppendDecode(buffer, []byte(part))
	if err != nil {
		return nil, nil, malformed("the %s of the token is not canonical base64url", name)
	}
	return buffer, buffer[start:len(buffer):len(buffer)], nil
}

// readHeader reads what a header may say (RFC 7515 section 4).
func (t *Token) readHeader(text []byte) error {
	header, err := readObject(text)
	if err != nil {
		return malformed("the header of the token %v", err)
	}
	// Extensions that must be understood: none is. An unencoded payload (RFC 7797) must be announced in
	// `crit`, and is refused without it too (threats J08).
	for _, name := range []string{"crit", "b64"} {
		if _, ok := find(header, name); ok {
			return refuse(ReasonCritical, "the header of the token has `%s`, and no extension of it is understood", name)
		}
	}
	name, ok, err := headerText(header, "alg", maxTypeBytes)
	switch {
	case err != nil:
		return err
	case !ok:
		return malformed("the header of the token has no `alg`")
	}
	if t.Algorithm, err = ParseAlgorithm(name); err != nil {
		return refuse(ReasonAlgorithm, "%s", whyNot(name))
	}
	if t.KeyID, ok, err = headerText(header, "kid", maxKeyIDBytes); err != nil {
		return err
	}
	if ok && t.KeyID == "" {
		return malformed("the header of the token has an empty `kid`: leave it out or name a key")
	}
	if t.Type, _, err = headerText(header, "typ", maxTypeBytes); err != nil {
		return err
	}
	t.Type = strings.TrimPrefix(strings.ToLower(t.Type), "application/")
	content, _, err := headerText(header, "cty", maxTypeBytes)
	if err != nil {
		return err
	}
	if strings.EqualFold(strings.TrimPrefix(content, "application/"), "jwt") {
		return malformed("the token holds another token (`cty` is JWT): send the inner one") // threats J15
	}
	return nil
}

// headerText returns a string member of a header, and whether it is there.
func headerText(header []member, name string, limit int) (string, bool, error) {
	value, ok := find(header, name)
	if !ok {
		return "", false, nil
	}
	s, ok := text(value)
	switch {
	case !ok:
		return "", false, malformed("the member `%s` in the header of the token is %s, but must be a string", name, typeOf(value))
	case len(s) > limit:
		return "", false, malformed("the member `%s` in the header of the token has %d bytes, the limit is %d", name, len(s), limit)
	case strings.ContainsFunc(s, unicode.IsControl):
		return "", false, malformed("the member `%s` in the header of the token has control characters", name)
	}
	return s, true, nil
}
