package wandb

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// scanner validates JSON (RFC 8259) in one pass without building anything. It is stricter than
// encoding/json, because two parsers that disagree about a body are a way around the gateway
// (threat G09): it refuses members of one object whose names are equal or differ only in case,
// invalid UTF-8, lone surrogates, a byte order mark, and more nesting than maxDepth.
type scanner struct {
	data     []byte
	pos      int
	depth    int
	maxDepth int
	// names holds the member names of all objects that are open, innermost last.
	names []memberName
}

type memberName struct {
	span span
	hash uint32
	// plain is true if the name is ASCII without escapes, so that it reads as it stands.
	plain bool
}

// span is a part of the scanned text.
type span struct{ from, to int }

func (s span) empty() bool { return s.to == 0 }

func (s span) of(data []byte) []byte { return data[s.from:s.to] }

// scanJSON validates that data is exactly one JSON value.
func scanJSON(data []byte, maxDepth int) error {
	s := scanner{data: data, maxDepth: maxDepth}
	s.space()
	if err := s.value(); err != nil {
		return err
	}
	return s.end()
}

// end checks that nothing but space follows.
func (s *scanner) end() error {
	s.space()
	if s.pos != len(s.data) {
		return s.malformed("something follows the JSON value")
	}
	return nil
}

func (s *scanner) space() {
	for s.pos < len(s.data) {
		switch s.data[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

func (s *scanner) peek() byte {
	if s.pos < len(s.data) {
		return s.data[s.pos]
	}
	return 0
}

// value validates the value at pos and moves behind it.
func (s *scanner) value() error {
	switch c := s.peek(); {
	case c == '"':
		_, err := s.str()
		return err
	case c == '{':
		return s.object(func(memberName) error { return s.value() })
	case c == '[':
		return s.array()
	case c == '-' || '0' <= c && c <= '9':
		return s.number()
	case c == 't':
		return s.literal("true")
	case c == 'f':
		return s.literal("false")
	case c == 'n':
		return s.literal("null")
	}
	return s.malformed("a value is missing")
}

func (s *scanner) open() error {
	s.pos++
	s.depth++
	if s.depth > s.maxDepth {
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonTooDeep,
			Message: "the JSON is nested deeper than " + strconv.Itoa(s.maxDepth) + " levels"}
	}
	s.space()
	return nil
}

// object validates an object. It calls visit at the value of each member, which visit moves behind.
func (s *scanner) object(visit func(name memberName) error) error {
	if err := s.open(); err != nil {
		return err
	}
	base := len(s.names)
	defer func() { s.names = s.names[:base] }()
	var many map[string]struct{}
	for first := true; ; first = false {
		if s.peek() == '}' && first {
			break
		}
		name, err := s.name()
		if err != nil {
			return err
		}
		if err := s.unique(name, base, &many); err != nil {
			return err
		}
		s.names = append(s.names, name)
		s.space()
		if s.peek() != ':' {
			return s.malformed("a colon is missing")
		}
		s.pos++
		s.space()
		if err := visit(name); err != nil {
			return err
		}
		s.space()
		if s.peek() != ',' {
			break
		}
		s.pos++
		s.space()
	}
	return s.close('}')
}

func (s *scanner) array() error {
	if err := s.open(); err != nil {
		return err
	}
	for first := true; ; first = false {
		if s.peek() == ']' && first {
			break
		}
		if err := s.value(); err != nil {
			return err
		}
		s.space()
		if s.peek() != ',' {
			break
		}
		s.pos++
		s.space()
	}
	return s.close(']')
}

func (s *scanner) close(bracket byte) error {
	if s.peek() != bracket {
		return s.malformed("a comma or closing bracket is missing")
	}
	s.pos++
	s.depth--
	return nil
}

// name reads a member's name and hashes it as it is when case is ignored.
func (s *scanner) name() (memberName, error) {
	if s.peek() != '"' {
		return memberName{}, s.malformed("a member's name is missing")
	}
	from := s.pos
	plain, err := s.str()
	if err != nil {
		return memberName{}, err
	}
	name := memberName{span: span{from + 1, s.pos - 1}, plain: plain}
	const prime = 16777619
	hash := uint32(2166136261)
	if plain {
		for _, c := range name.span.of(s.data) {
			hash = (hash ^ uint32(lower(c))) * prime
		}
	} else {
		for _, c := range []byte(foldFully(s.text(name))) {
			hash = (hash ^ uint32(c)) * prime
		}
	}
	name.hash = hash
	return name, nil
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

// is reports whether the name says text.
func (s *scanner) is(n memberName, text string) bool {
	if n.plain {
		return string(n.span.of(s.data)) == text
	}
	return s.text(n) == text
}

// text returns the name with its escapes resolved.
func (s *scanner) text(n memberName) string { return unquote(n.span.of(s.data)) }

// fewNames is up to how many members comparing with each one is cheaper than a map.
const fewNames = 24

// unique checks that no member since base has name, whatever its case.
func (s *scanner) unique(name memberName, base int, many *map[string]struct{}) error {
	seen := s.names[base:]
	if len(seen) < fewNames {
		for _, other := range seen {
			if other.hash == name.hash && foldFully(s.text(other)) == foldFully(s.text(name)) {
				return s.duplicate(name)
			}
		}
		return nil
	}
	if *many == nil {
		*many = make(map[string]struct{}, 2*len(seen))
		for _, other := range seen {
			(*many)[foldFully(s.text(other))] = struct{}{}
		}
	}
	folded := foldFully(s.text(name))
	if _, ok := (*many)[folded]; ok {
		return s.duplicate(name)
	}
	(*many)[folded] = struct{}{}
	return nil
}

// foldFully maps every letter to one representative of those that differ only in case, as
// strings.EqualFold compares: servers in Go match member names that way.
func foldFully(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf && r != 'k' && r != 'K' && r != 's' && r != 'S' {
			return rune(lower(byte(r)))
		}
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		if 'A' <= least && least <= 'Z' {
			least += 'a' - 'A'
		}
		return least
	}, s)
}

func (s *scanner) duplicate(name memberName) error {
	text := s.text(name)
	if len(text) > 64 {
		text = strings.ToValidUTF8(text[:64], "")
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonDuplicateMember,
		Message: "the JSON object has the member " + strconv.Quote(text) + " more than once (names are compared without regard to case)"}
}

// stringStop marks the bytes at which reading a string must look closer.
var stringStop = func() (t [256]bool) {
	for c := range t {
		t[c] = c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf
	}
	return t
}()

// shortEscape marks what may follow a backslash, except u.
var shortEscape = [256]bool{'"': true, '\\': true, '/': true, 'b': true, 'f': true, 'n': true, 'r': true, 't': true}

// str validates the string at pos; plain is true if it is ASCII and has no escape.
func (s *scanner) str() (plain bool, err error) {
	data, i := s.data, s.pos+1
	plain = true
	for {
		for i < len(data) && !stringStop[data[i]] {
			i++
		}
		if i >= len(data) {
			return false, s.malformed("a string does not end")
		}
		switch c := data[i]; {
		case c == '"':
			s.pos = i + 1
			return plain, nil
		case c == '\\':
			plain = false
			// Most escapes are of this kind: documents and configurations are full of \n and \".
			if i+1 < len(data) && shortEscape[data[i+1]] {
				i += 2
				continue
			}
			n := escapeLen(data[i:])
			if n == 0 {
				s.pos = i
				return false, s.malformed("a string has an escape that stands for no character")
			}
			i += n
		case c < 0x20:
			s.pos = i
			return false, s.malformed("a string has a control character")
		default:
			plain = false
			r, n := utf8.DecodeRune(data[i:])
			if r == utf8.RuneError && n == 1 {
				s.pos = i
				return false, s.malformed("it is not UTF-8")
			}
			i += n
		}
	}
}

// escapeLen returns the length of the escape that b starts with, both halves of a surrogate pair
// together; 0 if it is none.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return 0
	}
	switch {
	case shortEscape[b[1]]:
		return 2
	case b[1] == 'u':
		r, ok := hex4(b[2:])
		switch {
		case !ok:
			return 0
		case !utf16.IsSurrogate(r):
			return 6
		case len(b) < 12 || b[6] != '\\' || b[7] != 'u':
			return 0
		}
		if low, ok := hex4(b[8:]); ok && utf16.DecodeRune(r, low) != utf8.RuneError {
			return 12
		}
	}
	return 0
}

func hex4(b []byte) (rune, bool) {
	if len(b) < 4 {
		return 0, false
	}
	hi, ok1 := unhex(b[0], b[1])
	lo, ok2 := unhex(b[2], b[3])
	return rune(hi)<<8 | rune(lo), ok1 && ok2
}

// unquote resolves the escapes of the inside of a valid JSON string.
func unquote(inside []byte) string {
	if bytes.IndexByte(inside, '\\') < 0 {
		return string(inside)
	}
	out := make([]byte, 0, len(inside))
	for len(inside) > 0 {
		i := bytes.IndexByte(inside, '\\')
		if i < 0 {
			return string(append(out, inside...))
		}
		out = append(out, inside[:i]...)
		inside = inside[i:]
		n := escapeLen(inside)
		if n == 0 { // not valid: only what the upstream sent can be so
			return string(append(out, inside...))
		}
		switch c := inside[1]; c {
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, _ := hex4(inside[2:])
			if n == 12 {
				low, _ := hex4(inside[8:])
				r = utf16.DecodeRune(r, low)
			}
			out = utf8.AppendRune(out, r)
		default:
			out = append(out, c)
		}
		inside = inside[n:]
	}
	return string(out)
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.pos++
	}
	switch c := s.peek(); {
	case c == '0':
		s.pos++
	case '1' <= c && c <= '9':
		s.digits()
	default:
		return s.malformed("a number has no digits")
	}
	if s.peek() == '.' {
		s.pos++
		if !s.digits() {
			return s.malformed("a number has no digits behind its point")
		}
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.pos++
		if c := s.peek(); c == '+' || c == '-' {
			s.pos++
		}
		if !s.digits() {
			return s.malformed("a number has no digits in its exponent")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.pos
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.pos++
	}
	return s.pos > from
}

func (s *scanner) literal(word string) error {
	if !bytes.HasPrefix(s.data[s.pos:], []byte(word)) {
		return s.malformed("a value is missing")
	}
	s.pos += len(word)
	return nil
}

func (s *scanner) malformed(why string) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonMalformedJSON,
		Message: "the body is not the JSON that it must be, at byte " + strconv.Itoa(s.pos) + ": " + why}
}

// The following read JSON that is known to be valid, or that comes from the upstream, where only
// its bounds must hold.

// skipValue returns the index behind the value at i, len(data) if it does not end.
func skipValue(data []byte, i int) int {
	depth := 0
	for i < len(data) {
		switch data[i] {
		case '"':
			i = skipString(data, i)
			if depth == 0 {
				return i
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			depth--
			if depth == 0 {
				return i + 1
			}
			if depth < 0 {
				return i
			}
		case ',', ' ', '\t', '\n', '\r', ':':
			if depth == 0 {
				return i
			}
		}
		i++
	}
	return len(data)
}

// skipString returns the index behind the string that starts at i.
func skipString(data []byte, i int) int {
	for i++; i < len(data); i++ {
		switch data[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(data)
}

func skipSpace(data []byte, i int) int {
	for i < len(data) && (data[i] == ' ' || data[i] == '\t' || data[i] == '\n' || data[i] == '\r') {
		i++
	}
	return i
}

// eachMember calls visit with the spans of the inside of the name and of the value of each member of
// the object that starts at from. It returns false if there is no well-formed object, or when visit
// does.
func eachMember(data []byte, from int, visit func(name, value span) bool) bool {
	i := skipSpace(data, from)
	if i >= len(data) || data[i] != '{' {
		return false
	}
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == '}' {
		return true
	}
	for i < len(data) && data[i] == '"' {
		nameEnd := skipString(data, i)
		name := span{i + 1, max(i+1, nameEnd-1)}
		i = skipSpace(data, nameEnd)
		if i >= len(data) || data[i] != ':' {
			return false
		}
		i = skipSpace(data, i+1)
		end := skipValue(data, i)
		if end == i || !visit(name, span{i, end}) {
			return false
		}
		i = skipSpace(data, end)
		if i >= len(data) {
			return false
		}
		if data[i] == '}' {
			return true
		}
		if data[i] != ',' {
			return false
		}
		i = skipSpace(data, i+1)
	}
	return false
}

// eachItem calls visit with the span of each item of the array that starts at from.
func eachItem(data []byte, from int, visit func(value span) bool) bool {
	i := skipSpace(data, from)
	if i >= len(data) || data[i] != '[' {
		return false
	}
	i = skipSpace(data, i+1)
	if i < len(data) && data[i] == ']' {
		return true
	}
	for i < len(data) {
		end := skipValue(data, i)
		if end == i || !visit(span{i, end}) {
			return false
		}
		i = skipSpace(data, end)
		if i >= len(data) {
			return false
		}
		if data[i] == ']' {
			return true
		}
		if data[i] != ',' {
			return false
		}
		i = skipSpace(data, i+1)
	}
	return false
}

// memberOf finds a member of the object raw by name.
func memberOf(raw []byte, name string) (value []byte, ok bool) {
	if s := memberSpan(raw, 0, name); !s.empty() {
		return s.of(raw), true
	}
	return nil, false
}

// memberSpan finds a member of the object in data at from by name; the span is empty if there is none.
func memberSpan(data []byte, from int, name string) (found span) {
	eachMember(data, from, func(key, value span) bool {
		n := key.of(data)
		if string(n) == name || bytes.IndexByte(n, '\\') >= 0 && unquote(n) == name {
			found = value
			return false
		}
		return true
	})
	return found
}
