// Package filter reads the filters and paths of SCIM (RFC 7644 sections 3.4.2.2 and 3.5.2): text that
// callers write in, expressions out. It knows the grammar and no attribute: which exist, and what a
// comparison with them means, package schema says.
//
// Both are bounded before they cost anything: in length, in nesting and in terms (threat S01).
package filter

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Bounds on a filter. What identity providers send has one or two terms.
const (
	MaxBytes = 16 << 10
	maxDepth = 32
	maxTerms = 256
)

// The reasons for which text is refused; they are SCIM's own detail codes (RFC 7644 table 9).
const (
	ReasonInvalidFilter iam.Reason = "invalid_filter"
	ReasonInvalidPath   iam.Reason = "invalid_path"
)

// Operator compares an attribute with a value.
type Operator string

// The operators that take a value.
const (
	Equal          Operator = "eq"
	NotEqual       Operator = "ne"
	Contains       Operator = "co"
	StartsWith     Operator = "sw"
	EndsWith       Operator = "ew"
	Greater        Operator = "gt"
	GreaterOrEqual Operator = "ge"
	Less           Operator = "lt"
	LessOrEqual    Operator = "le"
)

// Expression is one of And, Or, Not, Compare, Present and Where.
type Expression interface{ expression() }

type (
	// And holds if both do.
	And struct{ Left, Right Expression }
	// Or holds if one does.
	Or struct{ Left, Right Expression }
	// Not holds if its expression does not.
	Not struct{ Of Expression }
	// Compare compares an attribute with a value: a string, json.Number, bool or nil.
	Compare struct {
		Attribute string
		Operator  Operator
		Value     any
	}
	// Present holds if the attribute has a value.
	Present struct{ Attribute string }
	// Where holds if one of the values of a complex attribute meets a filter on its sub-attributes.
	Where struct {
		Attribute string
		Filter    Expression
	}
)

func (And) expression()     {}
func (Or) expression()      {}
func (Not) expression()     {}
func (Compare) expression() {}
func (Present) expression() {}
func (Where) expression()   {}

// Path names what a PATCH operation changes: an attribute, those of its values that meet a filter, or
// one sub-attribute of these.
type Path struct {
	Attribute string
	Filter    Expression // nil if there is none
	Sub       string     // what follows the filter; empty if nothing does
}

// Parse reads a filter. What is no filter is iam.KindInvalid with ReasonInvalidFilter.
func Parse(text string) (Expression, error) {
	p := &parser{rest: text, reason: ReasonInvalidFilter}
	if err := p.fits(); err != nil {
		return nil, err
	}
	e, err := p.or(0, true)
	if err != nil {
		return nil, err
	}
	p.blanks()
	if p.rest != "" {
		return nil, p.errorf("%s is behind its end", p.shown())
	}
	return e, nil
}

// ParsePath reads the path of a PATCH operation. What is none is iam.KindInvalid with ReasonInvalidPath.
func ParsePath(text string) (Path, error) {
	p := &parser{rest: text, reason: ReasonInvalidPath}
	if err := p.fits(); err != nil {
		return Path{}, err
	}
	attribute, err := p.attribute()
	if err != nil {
		return Path{}, err
	}
	path := Path{Attribute: attribute}
	if p.take("[") {
		if path.Filter, err = p.or(0, false); err != nil {
			return Path{}, err
		}
		p.blanks()
		if !p.take("]") {
			return Path{}, p.errorf("a ] is missing")
		}
		if p.take(".") {
			if path.Sub, err = p.attribute(); err != nil {
				return Path{}, err
			}
		}
	}
	if p.rest != "" {
		return Path{}, p.errorf("%s is behind its end", p.shown())
	}
	return path, nil
}

// parser reads from left to right and never goes back, so that its work grows with the text's length
// and nothing else.
type parser struct {
	rest   string
	terms  int
	reason iam.Reason
}

func (p *parser) fits() error {
	switch {
	case len(p.rest) > MaxBytes:
		return p.errorf("it has more than %d bytes", MaxBytes)
	case !utf8.ValidString(p.rest):
		return p.errorf("it is not UTF-8")
	}
	return nil
}

// or reads a chain of expressions; `and` binds closer (RFC 7644 section 3.4.2.2). Filters in brackets hold
// no further brackets.
func (p *parser) or(depth int, brackets bool) (Expression, error) {
	left, err := p.and(depth, brackets)
	for err == nil && p.word("or") {
		var right Expression
		right, err = p.and(depth, brackets)
		left = Or{left, right}
	}
	return left, err
}

func (p *parser) and(depth int, brackets bool) (Expression, error) {
	left, err := p.term(depth, brackets)
	for err == nil && p.word("and") {
		var right Expression
		right, err = p.term(depth, brackets)
		left = And{left, right}
	}
	return left, err
}

func (p *parser) term(depth int, brackets bool) (Expression, error) {
	if p.terms++; p.terms > maxTerms {
		return nil, p.errorf("it has more than %d terms", maxTerms)
	}
	if depth > maxDepth {
		return nil, p.errorf("it is nested more than %d deep", maxDepth)
	}
	p.blanks()
	switch {
	case p.take("("):
		return p.grouped(depth, brackets)
	case p.negation():
		of, err := p.grouped(depth, brackets)
		return Not{of}, err
	}
	attribute, err := p.attribute()
	if err != nil {
		return nil, err
	}
	if brackets && p.take("[") {
		inner, err := p.or(depth+1, false)
		if err != nil {
			return nil, err
		}
		p.blanks()
		if !p.take("]") {
			return nil, p.errorf("a ] is missing")
		}
		return Where{attribute, inner}, nil
	}
	return p.comparison(attribute)
}

// negation takes `not (`.
func (p *parser) negation() bool {
	if len(p.rest) < 3 || !strings.EqualFold(p.rest[:3], "not") {
		return false
	}
	behind := strings.TrimLeft(p.rest[3:], " ")
	if !strings.HasPrefix(behind, "(") {
		return false
	}
	p.rest = behind[1:]
	return true
}

// grouped reads what stands in parentheses, of which the first was taken.
func (p *parser) grouped(depth int, brackets bool) (Expression, error) {
	e, err := p.or(depth+1, brackets)
	if err != nil {
		return nil, err
	}
	p.blanks()
	if !p.take(")") {
		return nil, p.errorf("a ) is missing")
	}
	return e, nil
}

func (p *parser) comparison(attribute string) (Expression, error) {
	if !strings.HasPrefix(p.rest, " ") {
		return nil, p.errorf("an operator is missing behind %q", untrusted.Clip(attribute))
	}
	p.blanks()
	word := p.run(isLetter)
	switch o := Operator(strings.ToLower(word)); o {
	case "pr":
		return Present{attribute}, nil
	case Equal, NotEqual, Contains, StartsWith, EndsWith, Greater, GreaterOrEqual, Less, LessOrEqual:
		if !strings.HasPrefix(p.rest, " ") {
			return nil, p.errorf("a value is missing behind %q", word)
		}
		p.blanks()
		value, err := p.value()
		return Compare{attribute, o, value}, err
	default:
		return nil, p.errorf("%q is no operator: use eq, ne, co, sw, ew, gt, ge, lt, le or pr", untrusted.Clip(word))
	}
}

// value reads a JSON string, number, true, false or null. The words count in any case, as Entra writes
// them.
func (p *parser) value() (any, error) {
	if strings.HasPrefix(p.rest, `"`) {
		return p.quoted()
	}
	word := p.run(func(c byte) bool { return c > ' ' && c != ')' && c != ']' && c < utf8.RuneSelf })
	switch strings.ToLower(word) {
	case "true":
		return true, nil
	case "false":
		return false, nil
	case "null":
		return nil, nil
	}
	var n json.Number
	if word == "" || json.Unmarshal([]byte(word), &n) != nil || word[0] == '"' {
		return nil, p.errorf("%q is no value: write strings in quotes", untrusted.Clip(word))
	}
	return n, nil
}

// quoted reads a JSON string, so that what it says is compared, and not how it is spelled.
func (p *parser) quoted() (string, error) {
	for i := 1; i < len(p.rest); i++ {
		switch p.rest[i] {
		case '\\':
			i++
		case '"':
			var text string
			if err := json.Unmarshal([]byte(p.rest[:i+1]), &text); err != nil {
				return "", p.errorf("%s is no string of JSON", untrusted.Clip(p.rest[:i+1]))
			}
			p.rest = p.rest[i+1:]
			return text, nil
		}
	}
	return "", p.errorf("a quote is missing at its end")
}

// attribute reads the name of an attribute, with its schema before it and a sub-attribute behind it.
func (p *parser) attribute() (string, error) {
	name := p.run(func(c byte) bool {
		return isLetter(c) || '0' <= c && c <= '9' || c == ':' || c == '.' || c == '-' || c == '_' || c == '$'
	})
	if name == "" || !isLetter(name[0]) && name[0] != '$' {
		return "", p.errorf("the name of an attribute is missing before %s", p.shown())
	}
	return name, nil
}

// word takes a word between blanks, in any case.
func (p *parser) word(word string) bool {
	behind := strings.TrimLeft(p.rest, " ")
	if len(behind) == len(p.rest) || len(behind) <= len(word) || !strings.EqualFold(behind[:len(word)], word) {
		return false
	}
	if c := behind[len(word)]; c != ' ' && c != '(' {
		return false
	}
	p.rest = behind[len(word):]
	return true
}

func (p *parser) take(s string) bool {
	rest, ok := strings.CutPrefix(p.rest, s)
	p.rest = rest
	return ok
}

func (p *parser) blanks() { p.rest = strings.TrimLeft(p.rest, " ") }

// run takes the bytes at the beginning that belong.
func (p *parser) run(belongs func(byte) bool) string {
	n := 0
	for n < len(p.rest) && belongs(p.rest[n]) {
		n++
	}
	taken := p.rest[:n]
	p.rest = p.rest[n:]
	return taken
}

func (p *parser) shown() string {
	if p.rest == "" {
		return "its end"
	}
	return fmt.Sprintf("%q", untrusted.Clip(p.rest))
}

func (p *parser) errorf(format string, args ...any) error {
	what := "the filter"
	if p.reason == ReasonInvalidPath {
		what = "the path"
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: p.reason, Message: what + " cannot be read: " + fmt.Sprintf(format, args...)}
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }
