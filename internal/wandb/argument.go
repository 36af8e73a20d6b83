package wandb

import (
	"bytes"
	"encoding/json"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// argument is a value of a call: a literal of the document, or a part of the variables' JSON. Both
// nil: it is absent. Variables and their defaults are put in before an argument is looked at.
type argument struct {
	literal *value
	raw     []byte
}

func (a argument) absent() bool { return a.literal == nil && a.raw == nil }

// null reports whether the argument is absent or null.
func (a argument) null() bool {
	if a.literal != nil {
		return a.literal.kind == nullValue
	}
	return a.raw == nil || a.raw[0] == 'n'
}

// argument returns what stands in the document as v: a literal, or what a variable is. A variable
// that is not given and has no default is absent (GraphQL section 6.1.2); null is given.
func (c *Call) argument(v *value) argument {
	if v == nil || v.kind != variableValue {
		return argument{literal: v}
	}
	if raw, ok := c.variable(v.text); ok {
		return argument{raw: raw}
	}
	for i := range c.op.variables {
		if c.op.variables[i].name == v.text {
			return argument{literal: c.op.variables[i].fallback}
		}
	}
	return argument{}
}

// variable returns the JSON of a variable, with what was filled in.
func (c *Call) variable(name string) ([]byte, bool) {
	for i := range c.filled {
		if c.filled[i].name == name {
			return c.filled[i].raw, true
		}
	}
	for i := range c.variables {
		if v := &c.variables[i]; v.is(c.body, name) {
			return v.value.of(c.body), true
		}
	}
	return nil, false
}

// member returns a member of an argument that must be an object or null.
func (c *Call) member(a argument, name string) (argument, error) {
	switch {
	case a.null():
		return argument{}, nil
	case a.literal != nil && a.literal.kind == objectValue:
		return c.argument(find(a.literal.members, name)), nil
	case a.raw != nil && a.raw[0] == '{':
		raw, _ := memberOf(a.raw, name)
		return argument{raw: raw}, nil
	}
	return argument{}, wrongArgument(name, "stands in something that is no input object")
}

// items hands each item of a list to visit, and a value that is no list as the list of itself
// (GraphQL section 3.11, input coercion).
func (c *Call) items(a argument, visit func(argument) error) error {
	switch {
	case a.null():
		return nil
	case a.literal != nil && a.literal.kind == listValue:
		for i := range a.literal.members {
			if err := visit(c.argument(a.literal.members[i].value)); err != nil {
				return err
			}
		}
		return nil
	case a.raw != nil && a.raw[0] == '[':
		var err error
		eachItem(a.raw, 0, func(s span) bool {
			err = visit(argument{raw: s.of(a.raw)})
			return err == nil
		})
		return err
	}
	return visit(a)
}

// text returns an argument that must be a string or null; ok is false for null. With number it may
// be a whole number too, as ids may. Everything else is refused: servers differ in what they turn
// into a string.
func (a argument) text(name string, number bool) (s string, ok bool, err error) {
	switch {
	case a.null():
		return "", false, nil
	case a.literal != nil && (a.literal.kind == stringValue || number && a.literal.kind == numberValue && wholeNumber(a.literal.text)):
		return a.literal.text, true, nil
	case a.raw != nil && a.raw[0] == '"':
		return unquote(a.raw[1 : len(a.raw)-1]), true, nil
	case a.raw != nil && number && wholeNumber(string(a.raw)):
		return string(a.raw), true, nil
	}
	return "", false, wrongArgument(name, "must be a string")
}

func wholeNumber(s string) bool {
	if s == "" || len(s) > 20 || len(s) > 1 && s[0] == '0' {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// isFalse reports whether the argument is certainly false, null or absent.
func (a argument) isFalse() bool {
	return a.null() || a.literal != nil && a.literal.kind == booleanValue && a.literal.text == "false" ||
		a.raw != nil && bytes.Equal(a.raw, []byte("false"))
}

func wrongArgument(name, why string) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonInvalidArgument,
		Message: "the argument " + untrusted.Quote(name) + " " + why}
}

// switched refuses a call whose @include or @skip hangs on anything but true or false: a server that
// makes a boolean of it might answer a field that was taken for left out, or the other way round.
func (c *Call) switched() error {
	for _, name := range c.op.switches {
		a := c.argument(&value{kind: variableValue, text: name})
		literal := a.literal != nil && a.literal.kind == booleanValue
		if !literal && string(a.raw) != "true" && string(a.raw) != "false" {
			return wrongArgument("$"+name, "must be true or false, for a field hangs on it")
		}
	}
	return nil
}

// included reports whether @include and @skip leave the field in.
func (c *Call) included(n *node) bool {
	for _, condition := range n.conditions {
		a := c.argument(condition.value)
		if a.isFalse() != condition.negated {
			return false
		}
	}
	return true
}

// decode returns the argument as Go values, as Field.Args describes them.
func (c *Call) decode(a argument) (any, bool) {
	if a.absent() {
		return nil, false
	}
	if a.raw != nil {
		var v any
		d := json.NewDecoder(bytes.NewReader(a.raw))
		d.UseNumber()
		if err := d.Decode(&v); err != nil { // the body was scanned: it decodes
			return nil, false
		}
		return v, true
	}
	return c.decodeLiteral(a.literal), true
}

func (c *Call) decodeLiteral(v *value) any {
	switch v.kind {
	case variableValue:
		decoded, _ := c.decode(c.argument(v))
		return decoded
	case nullValue:
		return nil
	case numberValue:
		return json.Number(v.text)
	case booleanValue:
		return v.text == "true"
	case stringValue, enumValue:
		return v.text
	case listValue:
		list := make([]any, 0, len(v.members))
		for i := range v.members {
			list = append(list, c.decodeLiteral(v.members[i].value))
		}
		return list
	case objectValue:
		return c.decodeMembers(v.members)
	default:
		return nil
	}
}

// decodeMembers leaves out members whose variable is not given.
func (c *Call) decodeMembers(members []member) map[string]any {
	m := make(map[string]any, len(members))
	for i := range members {
		if decoded, ok := c.decode(c.argument(members[i].value)); ok {
			m[members[i].name] = decoded
		}
	}
	return m
}
