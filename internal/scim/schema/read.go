package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// The reasons for which a body is refused; they are SCIM's own detail codes (RFC 7644 table 9).
const (
	ReasonInvalidSyntax iam.Reason = "invalid_syntax"
	ReasonInvalidValue  iam.Reason = "invalid_value"
)

// maxNesting bounds a body's depth; a bulk request with a PATCH in it has eight levels.
const maxNesting = 16

// Decode reads a body that is one JSON object. Names of members are in lower case in the result, because
// SCIM compares them so, and two that differ by nothing else are refused: readers would differ over
// which one counts. Numbers are json.Number.
func Decode(body []byte) (map[string]any, error) {
	if !utf8.Valid(body) {
		return nil, invalidSyntax("it is not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	v, err := decode(d, 0)
	if err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, invalidSyntax("there is more behind its end")
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, invalidSyntax("it is no JSON object")
	}
	return object, nil
}

func decode(d *json.Decoder, depth int) (any, error) {
	if depth > maxNesting {
		return nil, invalidSyntax("it is nested more than %d deep", maxNesting)
	}
	token, err := d.Token()
	if err != nil {
		return nil, invalidSyntax("it is no JSON at byte %d", d.InputOffset())
	}
	switch token {
	case json.Delim('{'):
		object := map[string]any{}
		for d.More() {
			token, err := d.Token()
			name, ok := token.(string)
			if err != nil || !ok {
				return nil, invalidSyntax("it is no JSON at byte %d", d.InputOffset())
			}
			name = iam.FoldName(name)
			if _, twice := object[name]; twice {
				return nil, invalidSyntax("the member %s is there twice", untrusted.Quote(untrusted.Clip(name)))
			}
			if object[name], err = decode(d, depth+1); err != nil {
				return nil, err
			}
		}
		return object, end(d)
	case json.Delim('['):
		list := []any{}
		for d.More() {
			v, err := decode(d, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, end(d)
	}
	return token, nil
}

func end(d *json.Decoder) error {
	if _, err := d.Token(); err != nil {
		return invalidSyntax("it is no JSON at byte %d", d.InputOffset())
	}
	return nil
}

// Read takes from a decoded body what the resource type knows, with canonical names and values of the
// right type. What it does not know is left out, as is what callers cannot set; null and empty lists are
// no value (RFC 7643 section 2.5). A value of a wrong type is iam.KindInvalid with ReasonInvalidValue.
func (t *ResourceType) Read(body map[string]any) (Resource, error) {
	r := Resource{}
	attributes := append(common[:len(common):len(common)], t.Core.Attributes...)
	if err := readInto(r, attributes, body); err != nil {
		return nil, err
	}
	for _, extension := range t.Extensions {
		v, ok := body[iam.FoldName(extension.ID)]
		if !ok || v == nil {
			continue
		}
		object, ok := v.(map[string]any)
		if !ok {
			return nil, invalidValue("%s is an object", extension.ID)
		}
		inner := Resource{}
		if err := readInto(inner, extension.Attributes, object); err != nil {
			return nil, err
		}
		if len(inner) > 0 {
			r[extension.ID] = inner
		}
	}
	return r, nil
}

func readInto(r Resource, attributes []*Attribute, body map[string]any) error {
	for _, a := range attributes {
		v, ok := body[iam.FoldName(a.Name)]
		if !ok || v == nil || !a.Settable() {
			continue
		}
		value, err := a.Read(v)
		if err != nil {
			return err
		}
		if value != nil {
			r[a.Name] = value
		}
	}
	return nil
}

// Read reads the attribute's value: a list if it is multi-valued, of which a single value is one with
// one. It returns nil for what counts as no value.
func (a *Attribute) Read(v any) (any, error) {
	if !a.MultiValued {
		if list, ok := v.([]any); ok && len(list) == 1 {
			v = list[0] // Entra puts single values into lists
		}
		return a.readOne(v)
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var read []any
	primaries := 0
	for _, v := range list {
		one, err := a.readOne(v)
		if err != nil {
			return nil, err
		}
		if one == nil {
			continue
		}
		if inner, ok := one.(Resource); ok && inner["primary"] == true {
			primaries++
		}
		read = append(read, one)
	}
	if primaries > 1 {
		return nil, invalidValue("%s has %d primary values, and can have one", a.Name, primaries)
	}
	if read == nil {
		return nil, nil
	}
	return read, nil
}

func (a *Attribute) readOne(v any) (any, error) {
	if v == nil {
		return nil, nil
	}
	switch a.Type {
	case Complex:
		object, ok := v.(map[string]any)
		if !ok {
			value := a.Sub("value")
			text, isText := v.(string)
			if value == nil || !isText {
				return nil, invalidValue("%s is an object", a.Name)
			}
			object = map[string]any{"value": text} // lists of plain values are common
		}
		inner := Resource{}
		if err := readInto(inner, a.SubAttributes, object); err != nil {
			return nil, err
		}
		for _, sub := range a.SubAttributes {
			if sub.Required && inner[sub.Name] == nil {
				return nil, invalidValue("%s needs a %s", a.Name, sub.Name)
			}
		}
		if len(inner) == 0 {
			return nil, nil
		}
		return inner, nil
	case Boolean:
		b, ok := boolean(v)
		if !ok {
			return nil, invalidValue("%s is true or false", a.Name)
		}
		return b, nil
	case DateTime:
		text, ok := v.(string)
		if _, err := time.Parse(time.RFC3339, text); !ok || err != nil {
			return nil, invalidValue("%s is a time such as 2011-05-13T04:42:34Z", a.Name)
		}
		return text, nil
	case String, Reference:
		text, ok := v.(string)
		if !ok {
			return nil, invalidValue("%s is a string", a.Name)
		}
		return a.canonical(text)
	default:
		return nil, invalidValue("%s cannot be set", a.Name)
	}
}

// canonical writes one of the values that there are as the schema does.
func (a *Attribute) canonical(text string) (any, error) {
	if text == "" {
		return nil, nil
	}
	if len(a.CanonicalValues) == 0 {
		return text, nil
	}
	for _, values := range [][]string{a.CanonicalValues, a.Also} {
		for _, value := range values {
			if iam.FoldName(value) == iam.FoldName(text) {
				return value, nil
			}
		}
	}
	return nil, invalidValue("%s is one of %s", a.Name, strings.Join(a.CanonicalValues, ", "))
}

func invalidSyntax(format string, args ...any) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonInvalidSyntax, Message: "the request's body cannot be read: " + fmt.Sprintf(format, args...)}
}

func invalidValue(format string, args ...any) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonInvalidValue, Message: fmt.Sprintf(format, args...)}
}
