package directory

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// A document is JSON that people wrote, read so that every mistake can be named by its place: unlike
// encoding/json it tells members apart by case, and refuses equal and unknown ones.

// Bounds on nesting and on members of one object; the import file needs four levels and ten members.
const (
	maxDocumentDepth = 8
	maxMembers       = 64
)

// The kinds of JSON values, in the words of messages.
const (
	anObject = "an object"
	aList    = "a list"
	aString  = "a string"
	aNumber  = "a number"
	aBoolean = "true or false"
	aNull    = "null"
)

// value is one JSON value. Which of its parts count depends on its kind.
type value struct {
	kind    string
	text    string
	truth   bool
	items   []value
	members []member
}

type member struct {
	name  string
	value value
}

// parseDocument reads one JSON value and nothing behind it. Errors name line and column.
func parseDocument(data []byte) (value, error) {
	p := &documentParser{data: data, tokens: json.NewDecoder(bytes.NewReader(data))}
	p.tokens.UseNumber()
	v, err := p.value(0)
	if err != nil {
		return value{}, err
	}
	if _, err := p.tokens.Token(); err != io.EOF {
		return value{}, p.errorf("there is more after the end of the object")
	}
	return v, nil
}

type documentParser struct {
	data   []byte
	tokens *json.Decoder
}

func (p *documentParser) value(depth int) (value, error) {
	if depth > maxDocumentDepth {
		return value{}, p.errorf("nested too deeply")
	}
	token, err := p.tokens.Token()
	if err != nil {
		return value{}, p.syntax(err)
	}
	switch t := token.(type) {
	case json.Delim:
		if t == '{' {
			return p.object(depth)
		}
		return p.list(depth)
	case string:
		return value{kind: aString, text: t}, nil
	case json.Number:
		return value{kind: aNumber, text: t.String()}, nil
	case bool:
		return value{kind: aBoolean, truth: t}, nil
	default:
		return value{kind: aNull}, nil
	}
}

func (p *documentParser) object(depth int) (value, error) {
	v := value{kind: anObject}
	for p.tokens.More() {
		token, err := p.tokens.Token()
		if err != nil {
			return v, p.syntax(err)
		}
		name, ok := token.(string)
		if !ok {
			return v, p.errorf("a member needs a name in quotes")
		}
		if _, twice := v.member(name); twice {
			return v, p.errorf("the member %q is there twice", untrusted.Clip(name))
		}
		if len(v.members) == maxMembers {
			return v, p.errorf("an object with more than %d members", maxMembers)
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.members = append(v.members, member{name, item})
	}
	return v, p.end()
}

func (p *documentParser) list(depth int) (value, error) {
	v := value{kind: aList}
	for p.tokens.More() {
		item, err := p.value(depth + 1)
		if err != nil {
			return v, err
		}
		v.items = append(v.items, item)
	}
	return v, p.end()
}

func (p *documentParser) end() error {
	if _, err := p.tokens.Token(); err != nil {
		return p.syntax(err)
	}
	return nil
}

func (p *documentParser) syntax(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return p.errorf("the file ends too early")
	}
	return p.errorf("no JSON: %v", err)
}

// errorf says where the parser stands.
func (p *documentParser) errorf(format string, args ...any) error {
	read := p.data[:min(p.tokens.InputOffset(), int64(len(p.data)))]
	line := 1 + bytes.Count(read, []byte{'\n'})
	column := len(read) - bytes.LastIndexByte(read, '\n')
	return fmt.Errorf("line %d, column %d: %s", line, column, fmt.Sprintf(format, args...))
}

// member finds a member by its exact name. Objects here have few members.
func (v *value) member(name string) (*value, bool) {
	for i := range v.members {
		if v.members[i].name == name {
			return &v.members[i].value, true
		}
	}
	return nil, false
}

// row is an object of the import file as it is read: members are asked for by name, and what is
// wrong with them is noted, not returned, so that the whole row can be reported.
type row struct {
	value value
	// label is the row's place, as "users[3]"; name is what it is about; key is both its kind and its
	// name, to find it again.
	label, name, key string

	asked  []string
	faults []string
}

func (r *row) faultf(format string, args ...any) {
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *row) ask(name, kind string) (*value, bool) {
	r.asked = append(r.asked, name)
	v, ok := r.value.member(name)
	if !ok {
		return nil, false
	}
	if v.kind != kind {
		r.faultf("%s is %s and must be %s", name, v.kind, kind)
		return nil, false
	}
	return v, true
}

// text returns nil for a member that is not there.
func (r *row) text(name string) *string {
	if v, ok := r.ask(name, aString); ok {
		return &v.text
	}
	return nil
}

// needText is text for a member without which the row means nothing.
func (r *row) needText(name string) string {
	if s := r.text(name); s != nil && *s != "" {
		return *s
	}
	if v, ok := r.value.member(name); !ok || v.kind == aString {
		r.faultf("%s is missing", name)
	}
	return ""
}

func (r *row) truth(name string) *bool {
	if v, ok := r.ask(name, aBoolean); ok {
		return &v.truth
	}
	return nil
}

func (r *row) texts(name string) *[]string {
	v, ok := r.ask(name, aList)
	if !ok {
		return nil
	}
	list := []string{}
	for i, item := range v.items {
		if item.kind != aString {
			r.faultf("%s[%d] is %s and must be a string", name, i, item.kind)
			continue
		}
		list = append(list, item.text)
	}
	return &list
}

// namedTexts reads an object whose members are all strings, under names of the file's choice.
func (r *row) namedTexts(name string) *map[string]string {
	v, ok := r.ask(name, anObject)
	if !ok {
		return nil
	}
	named := make(map[string]string, len(v.members))
	for _, m := range v.members {
		if m.value.kind != aString {
			r.faultf("%s: %q is %s and must be a string", name, untrusted.Clip(m.name), m.value.kind)
			continue
		}
		named[m.name] = m.value.text
	}
	return &named
}

// rows calls f with every item of a list, and reports whether the list is there.
func (r *row) rows(name string, f func(i int, item *row)) bool {
	v, ok := r.ask(name, aList)
	if !ok {
		return false
	}
	for i, item := range v.items {
		f(i, &row{value: item})
	}
	return true
}

// unknown notes members that nobody asked for: a misspelt one must not pass as absent.
func (r *row) unknown() {
	for _, m := range r.value.members {
		if !slices.Contains(r.asked, m.name) {
			r.faultf("%q is not known here: use %s", untrusted.Clip(m.name), strings.Join(r.asked, ", "))
		}
	}
}
