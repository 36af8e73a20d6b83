package jws

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

const (
	// maxDepth bounds how deep objects and lists stand in each other. Claims of workloads have three or
	// four levels.
	maxDepth = 32
	// maxMembers bounds the members of all objects in one text: finding those that stand twice takes
	// memory for each. Claims have tens; Keycloak's grow by two for each client that a user has roles of.
	maxMembers = 256
)

// member is one member of a JSON object. Its value is valid JSON and shares memory with the text that
// it was read from.
type member struct {
	name  string
	value jsontext.Value
}

// readObject reads one JSON object as RFC 7493 wants it: UTF-8, no name twice at any depth, whatever
// its spelling, and nothing behind it (threats J07). Names are compared as exact bytes ever after.
func readObject(text []byte) ([]member, error) {
	own, all, err := shape(text)
	switch {
	case err != nil:
		return nil, err
	case all > maxMembers:
		return nil, fmt.Errorf("has more than %d members in its objects", maxMembers)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(text))
	open, err := d.ReadToken()
	if err != nil {
		return nil, fault(err)
	}
	if open.Kind() != '{' {
		return nil, errors.New("is JSON, but not an object")
	}
	members := make([]member, 0, own)
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, fault(err)
		}
		read := member{name: name.String()}
		value, err := d.ReadValue()
		if err != nil {
			return nil, fault(err)
		}
		// The decoder's own slice holds until its next call only.
		end := d.InputOffset()
		read.value = text[end-int64(len(value)) : end : end]
		members = append(members, read)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, fault(err)
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, errors.New("has something behind its JSON object")
	}
	return members, nil
}

// fault says what is wrong with a text without repeating any of it.
func fault(err error) error {
	if errors.Is(err, jsontext.ErrDuplicateName) {
		return errors.New("has an object with two members of one name")
	}
	if at, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("is not valid JSON at byte %d", at.ByteOffset)
	}
	return errors.New("is not valid JSON")
}

// shape counts an object's own members and those of all objects in it, and refuses nesting beyond
// maxDepth before anything is read by recursion. It looks at what is outside strings only, which is
// exact for valid JSON; the decoder refuses the rest.
func shape(text []byte) (own, all int, err error) {
	depth, quoted := 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == ':':
			if all++; depth == 1 {
				own++
			}
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return 0, 0, fmt.Errorf("is nested deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return own, all, nil
}

// find returns the value of the member with exactly this name.
func find(members []member, name string) (jsontext.Value, bool) {
	for i := range members {
		if members[i].name == name {
			return members[i].value, true
		}
	}
	return nil, false
}

// text returns the string that a value is.
func text(value jsontext.Value) (string, bool) {
	if value.Kind() != '"' {
		return "", false
	}
	if inside := value[1 : len(value)-1]; bytes.IndexByte(inside, '\\') < 0 {
		return string(inside), true
	}
	unquoted, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "", false
	}
	return string(unquoted), true
}

// items calls yield for each item of a list until it returns false; it does nothing for other values.
func items(list jsontext.Value, yield func(jsontext.Value) bool) {
	if list.Kind() != '[' {
		return
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(list), jsontext.AllowDuplicateNames(true)) // they were refused before
	if _, err := d.ReadToken(); err != nil {
		return
	}
	for d.PeekKind() != ']' {
		item, err := d.ReadValue()
		if err != nil || !yield(item) {
			return
		}
	}
}

// texts returns the strings of a list of strings.
func texts(list jsontext.Value) (all []string, ok bool) {
	if list.Kind() != '[' {
		return nil, false
	}
	all, ok = []string{}, true
	items(list, func(item jsontext.Value) bool {
		var one string
		one, ok = text(item)
		all = append(all, one)
		return ok
	})
	if !ok {
		return nil, false
	}
	return all, true
}
