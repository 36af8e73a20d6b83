package standin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// maxTokens bounds a document; the SDK's longest has about 400.
const maxTokens = 20_000

// statusError is a resolver's error that gives the whole answer a status, as the W&B server does
// for permission denied (403) and entity not found (404).
type statusError struct {
	status  int
	message string
}

func (e *statusError) Error() string { return e.message }

// graphqlError is one member of an answer's errors.
type graphqlError struct {
	Message string `json:"message"`
	Path    []any  `json:"path,omitempty"`
}

// answer is the body of a GraphQL answer. Data is null when nothing was executed.
type answer struct {
	Errors []graphqlError `json:"errors,omitempty"`
	Data   any            `json:"data"`

	status int
}

// refused is the answer to a document that cannot be executed.
func refused(status int, format string, v ...any) answer {
	return answer{Errors: []graphqlError{{Message: fmt.Sprintf(format, v...)}}, status: status}
}

// execution is one run of one operation.
type execution struct {
	call      *call
	fragments ast.FragmentDefinitionList
	variables map[string]any
	errors    []graphqlError
	status    int
}

// operation picks the operation that the body asks for.
func operation(query, name string) (*ast.QueryDocument, *ast.OperationDefinition, error) {
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: query}, maxTokens)
	if err != nil {
		return nil, nil, fmt.Errorf("parsing document: %w", err)
	}
	if name, ok := circular(doc.Fragments); ok {
		return nil, nil, fmt.Errorf("fragment %s spreads itself", name)
	}
	switch op := doc.Operations.ForName(name); {
	case op != nil:
		return doc, op, nil
	case len(doc.Operations) == 1 && name == "":
		return doc, doc.Operations[0], nil
	default:
		return nil, nil, errors.New("must provide the name of one of the document's operations")
	}
}

// circular finds a fragment that reaches itself; executing it would never end.
func circular(fragments ast.FragmentDefinitionList) (string, bool) {
	const entered, left = 1, 2
	visits := map[string]int{}
	var enter func(f *ast.FragmentDefinition) bool
	var walk func(set ast.SelectionSet) bool
	walk = func(set ast.SelectionSet) bool {
		for _, s := range set {
			found := false
			switch s := s.(type) {
			case *ast.Field:
				found = walk(s.SelectionSet)
			case *ast.InlineFragment:
				found = walk(s.SelectionSet)
			case *ast.FragmentSpread:
				found = enter(fragments.ForName(s.Name))
			}
			if found {
				return true
			}
		}
		return false
	}
	enter = func(f *ast.FragmentDefinition) bool {
		switch {
		case f == nil || visits[f.Name] == left:
			return false
		case visits[f.Name] == entered:
			return true
		}
		visits[f.Name] = entered
		found := walk(f.SelectionSet)
		visits[f.Name] = left
		return found
	}
	for _, f := range fragments {
		if enter(f) {
			return f.Name, true
		}
	}
	return "", false
}

// execute resolves an operation. The schema lives in the resolvers: an unknown field is refused
// when it is reached, with the words that old SDKs look for before they try an older document.
func execute(c *call, doc *ast.QueryDocument, op *ast.OperationDefinition, variables map[string]any) answer {
	root := any(queryRoot{})
	switch op.Operation {
	case ast.Query:
	case ast.Mutation:
		root = mutationRoot{}
	default:
		return refused(http.StatusBadRequest, "operation %s is not supported", op.Operation)
	}
	e := &execution{call: c, fragments: doc.Fragments, variables: withDefaults(op, variables)}
	data := e.object(root, op.SelectionSet, nil)
	a := answer{Errors: e.errors, Data: data, status: http.StatusOK}
	if e.status != 0 {
		a.status = e.status
	}
	return a
}

func withDefaults(op *ast.OperationDefinition, given map[string]any) map[string]any {
	all := make(map[string]any, len(op.VariableDefinitions))
	for _, def := range op.VariableDefinitions {
		if v, ok := given[def.Variable]; ok {
			all[def.Variable] = v
		} else if def.DefaultValue != nil {
			all[def.Variable], _ = (&execution{}).value(def.DefaultValue)
		}
	}
	return all
}

// object resolves every selected field of v and returns them under their response keys.
func (e *execution) object(v any, set ast.SelectionSet, path []any) any {
	typ := typeOf(v)
	if typ == nil {
		e.fail(path, fmt.Errorf("stand-in has no type for %T", v))
		return nil
	}
	selected := e.collect(typ, typ.nameOf(v), set, nil, map[string]bool{})
	out := make(map[string]any, len(selected))
	for _, f := range selected {
		at := append(slices.Clip(path), f.key)
		if f.name == "__typename" {
			out[f.key] = typ.nameOf(v)
			continue
		}
		resolve := typ.field(v, f.name)
		if resolve == nil {
			e.fail(at, &statusError{http.StatusBadRequest,
				fmt.Sprintf("Cannot query field %q on type %q.", f.name, typ.nameOf(v))})
			continue
		}
		out[f.key] = e.complete(resolve(e.call, v, e.arguments(f.arguments)), f.set, at)
	}
	return out
}

// complete turns what a resolver returned into what the answer holds.
func (e *execution) complete(v any, set ast.SelectionSet, path []any) any {
	if isNil(v) {
		return nil
	}
	if err, ok := v.(error); ok {
		e.fail(path, err)
		return nil
	}
	if len(set) == 0 {
		return v
	}
	if list := reflect.ValueOf(v); list.Kind() == reflect.Slice {
		out := make([]any, list.Len())
		for i := range out {
			out[i] = e.complete(list.Index(i).Interface(), set, append(slices.Clip(path), i))
		}
		return out
	}
	return e.object(v, set, path)
}

func isNil(v any) bool {
	if v == nil {
		return true
	}
	switch r := reflect.ValueOf(v); r.Kind() {
	case reflect.Pointer, reflect.Map:
		return r.IsNil()
	default:
		return false
	}
}

func (e *execution) fail(path []any, err error) {
	e.errors = append(e.errors, graphqlError{Message: err.Error(), Path: path})
	if s, ok := errors.AsType[*statusError](err); ok && e.status == 0 {
		e.status = s.status
	}
}

// selection is a field of the answer after fragments and directives are resolved.
type selection struct {
	key, name string
	arguments ast.ArgumentList
	set       ast.SelectionSet
}

// collect flattens fragments, each once, and merges the fields that share a response key.
func (e *execution) collect(typ *objectType, name string, set ast.SelectionSet, out []selection, spread map[string]bool) []selection {
	for _, s := range set {
		switch s := s.(type) {
		case *ast.Field:
			if !e.included(s.Directives) {
				continue
			}
			if i := slices.IndexFunc(out, func(o selection) bool { return o.key == s.Alias }); i >= 0 {
				out[i].set = append(slices.Clip(out[i].set), s.SelectionSet...)
				continue
			}
			out = append(out, selection{s.Alias, s.Name, s.Arguments, s.SelectionSet})
		case *ast.InlineFragment:
			if e.included(s.Directives) && typ.satisfies(name, s.TypeCondition) {
				out = e.collect(typ, name, s.SelectionSet, out, spread)
			}
		case *ast.FragmentSpread:
			def := e.fragments.ForName(s.Name)
			if def != nil && !spread[s.Name] && e.included(s.Directives) && typ.satisfies(name, def.TypeCondition) {
				spread[s.Name] = true
				out = e.collect(typ, name, def.SelectionSet, out, spread)
			}
		}
	}
	return out
}

// included evaluates @include and @skip.
func (e *execution) included(ds ast.DirectiveList) bool {
	for _, d := range ds {
		condition, _ := e.arguments(d.Arguments)["if"].(bool)
		if d.Name == "include" && !condition || d.Name == "skip" && condition {
			return false
		}
	}
	return true
}

func (e *execution) arguments(list ast.ArgumentList) arguments {
	out := make(arguments, len(list))
	for _, a := range list {
		if v, ok := e.value(a.Value); ok {
			out[a.Name] = v
		}
	}
	return out
}

// value resolves a literal or variable; false means that a variable was not given.
func (e *execution) value(v *ast.Value) (any, bool) {
	switch v.Kind {
	case ast.Variable:
		got, ok := e.variables[v.Raw]
		return got, ok
	case ast.ListValue:
		out := make([]any, 0, len(v.Children))
		for _, child := range v.Children {
			item, _ := e.value(child.Value)
			out = append(out, item)
		}
		return out, true
	case ast.ObjectValue:
		out := make(map[string]any, len(v.Children))
		for _, child := range v.Children {
			if item, ok := e.value(child.Value); ok {
				out[child.Name] = item
			}
		}
		return out, true
	case ast.IntValue, ast.FloatValue:
		return json.Number(v.Raw), true
	case ast.BooleanValue:
		return v.Raw == "true", true
	case ast.NullValue:
		return nil, true
	default: // strings, block strings, enums
		return v.Raw, true
	}
}

// arguments are a field's arguments, or an input object, as they came.
type arguments map[string]any

// text returns a string, "" if it is absent or null.
func (a arguments) text(name string) string {
	switch v := a[name].(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	default:
		return ""
	}
}

// textOr returns a string, or other when it is absent or null.
func (a arguments) textOr(name, other string) string {
	if v, ok := a[name].(string); ok {
		return v
	}
	return other
}

func (a arguments) truth(name string) bool { v, _ := a[name].(bool); return v }

func (a arguments) number(name string, absent int) int {
	v, ok := a[name].(json.Number)
	if !ok {
		return absent
	}
	n, err := strconv.ParseFloat(v.String(), 64)
	if err != nil {
		return absent
	}
	return int(n)
}

func (a arguments) texts(name string) []string {
	var out []string
	switch v := a[name].(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, item := range v {
			if s, ok := item.(string); ok {
				out = append(out, s)
			}
		}
	}
	return out
}

// object returns an input object; absent is empty.
func (a arguments) object(name string) arguments {
	v, _ := a[name].(map[string]any)
	return v
}

func (a arguments) objects(name string) []arguments {
	list, _ := a[name].([]any)
	out := make([]arguments, 0, len(list))
	for _, item := range list {
		if v, ok := item.(map[string]any); ok {
			out = append(out, v)
		}
	}
	return out
}

// given reports whether the argument is present and not null.
func (a arguments) given(name string) bool { return a[name] != nil }
