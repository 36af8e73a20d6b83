package schema

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Condition tells whether a resource, or one value of a complex attribute, meets a filter.
type Condition func(Resource) bool

// Filter is a filter whose attributes are known.
type Filter struct {
	Matches Condition
	// Needs are the top-level names that Matches looks at.
	Needs []string
	// Exact, if not nil, are comparisons by eq of which every match must meet all.
	Exact []Exact
}

// Exact is a comparison of an attribute of a resource with a string by eq.
type Exact struct {
	Target Target
	Value  string
}

// Compile finds a filter's attributes. A filter that names one that is not there, or compares what
// cannot be compared, is iam.KindInvalid with filter.ReasonInvalidFilter.
func (t *ResourceType) Compile(e filter.Expression) (*Filter, error) {
	f := &Filter{}
	var err error
	f.Matches, err = f.compile(e, func(name string) (Target, error) {
		target, err := t.Resolve(name, filter.ReasonInvalidFilter)
		if err == nil && target.Attribute == nil {
			err = invalidFilter("%q is a schema, not an attribute", untrusted.Clip(name))
		}
		if err == nil {
			f.Needs = append(f.Needs, target.TopLevel())
		}
		return target, err
	}, true)
	return f, err
}

// compileValue compiles a filter on the sub-attributes of one value.
func compileValue(a *Attribute, e filter.Expression) (Condition, error) {
	return new(Filter).compile(e, func(name string) (Target, error) {
		sub := a.Sub(name)
		if sub == nil {
			return Target{}, invalidFilter("%s has no sub-attribute %q", a.Name, untrusted.Clip(name))
		}
		return Target{Attribute: sub}, nil
	}, false)
}

// compile makes an expression a condition. While exact is true, a match of the whole must match e.
func (f *Filter) compile(e filter.Expression, resolve func(string) (Target, error), exact bool) (Condition, error) {
	switch e := e.(type) {
	case filter.And:
		left, err := f.compile(e.Left, resolve, exact)
		if err != nil {
			return nil, err
		}
		right, err := f.compile(e.Right, resolve, exact)
		return func(r Resource) bool { return left(r) && right(r) }, err
	case filter.Or:
		left, err := f.compile(e.Left, resolve, false)
		if err != nil {
			return nil, err
		}
		right, err := f.compile(e.Right, resolve, false)
		return func(r Resource) bool { return left(r) || right(r) }, err
	case filter.Not:
		of, err := f.compile(e.Of, resolve, false)
		return func(r Resource) bool { return !of(r) }, err
	case filter.Present:
		target, err := resolve(e.Attribute)
		return func(r Resource) bool { return present(target, r) }, err
	case filter.Where:
		target, err := resolve(e.Attribute)
		if err != nil {
			return nil, err
		}
		if target.Sub != nil || target.Attribute.Type != Complex {
			return nil, invalidFilter("%q has no sub-attributes", untrusted.Clip(e.Attribute))
		}
		inner, err := compileValue(target.Attribute, e.Filter)
		return func(r Resource) bool {
			for _, v := range values(target.In(r)) {
				if v, ok := v.(Resource); ok && inner(v) {
					return true
				}
			}
			return false
		}, err
	case filter.Compare:
		target, err := resolve(e.Attribute)
		if err != nil {
			return nil, err
		}
		if text, ok := e.Value.(string); ok && exact && e.Operator == filter.Equal {
			f.Exact = append(f.Exact, Exact{target, text})
		}
		return comparison(target, e)
	default:
		return nil, invalidFilter("it holds an expression of no known kind")
	}
}

func comparison(t Target, e filter.Compare) (Condition, error) {
	leaf := t.leaf()
	if leaf == nil || leaf.Type == Complex {
		return nil, invalidFilter("%q is complex: name one of its sub-attributes", untrusted.Clip(e.Attribute))
	}
	if e.Value == nil {
		switch e.Operator {
		case filter.Equal:
			return func(r Resource) bool { return !present(t, r) }, nil
		case filter.NotEqual:
			return func(r Resource) bool { return present(t, r) }, nil
		default:
			return nil, invalidFilter("null can be compared by eq and ne only")
		}
	}
	test, err := tester(leaf, e)
	if err != nil {
		return nil, err
	}
	any := func(r Resource) bool {
		for _, v := range values(t.In(r)) {
			if inner, ok := v.(Resource); ok {
				v = inner[leaf.Name]
			}
			if v != nil && test(v) {
				return true
			}
		}
		return false
	}
	if e.Operator == filter.NotEqual {
		return func(r Resource) bool { return !any(r) }, nil
	}
	return any, nil
}

// tester compares one value; for ne it says whether they are equal.
func tester(a *Attribute, e filter.Compare) (func(any) bool, error) {
	if a.Type == Boolean {
		want, ok := boolean(e.Value)
		if !ok || e.Operator != filter.Equal && e.Operator != filter.NotEqual {
			return nil, invalidFilter("%s is true or false, and can be compared by eq and ne only", a.Name)
		}
		return func(v any) bool { return v == want }, nil
	}
	text, ok := e.Value.(string)
	if !ok {
		return nil, invalidFilter("%s is text: write the value in quotes", a.Name)
	}
	if a.Type == DateTime {
		return timeTester(a, e.Operator, text)
	}
	form := func(s string) string { return s }
	if !a.CaseExact {
		form = iam.FoldName
	}
	want := form(text)
	var test func(string) bool
	switch e.Operator {
	case filter.Equal, filter.NotEqual:
		test = func(s string) bool { return s == want }
	case filter.Contains:
		test = func(s string) bool { return strings.Contains(s, want) }
	case filter.StartsWith:
		test = func(s string) bool { return strings.HasPrefix(s, want) }
	case filter.EndsWith:
		test = func(s string) bool { return strings.HasSuffix(s, want) }
	case filter.Greater, filter.GreaterOrEqual, filter.Less, filter.LessOrEqual:
		test = func(s string) bool { return ordered(e.Operator, strings.Compare(s, want)) }
	default:
		return nil, invalidFilter("it has an operator of no known kind")
	}
	return func(v any) bool {
		s, ok := v.(string)
		return ok && test(form(s))
	}, nil
}

func timeTester(a *Attribute, o filter.Operator, text string) (func(any) bool, error) {
	want, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, invalidFilter("%s is a time: write it as 2011-05-13T04:42:34Z", a.Name)
	}
	switch o {
	case filter.Contains, filter.StartsWith, filter.EndsWith:
		return nil, invalidFilter("%s is a time, and times have no beginning, end or parts to compare", a.Name)
	case filter.Equal, filter.NotEqual, filter.Greater, filter.GreaterOrEqual, filter.Less, filter.LessOrEqual:
	default:
		return nil, invalidFilter("it has an operator of no known kind")
	}
	return func(v any) bool {
		s, _ := v.(string)
		got, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return false
		}
		return ordered(o, got.Compare(want))
	}, nil
}

func ordered(o filter.Operator, c int) bool {
	switch o {
	case filter.Greater:
		return c > 0
	case filter.GreaterOrEqual:
		return c >= 0
	case filter.Less:
		return c < 0
	case filter.LessOrEqual:
		return c <= 0
	default:
		return c == 0
	}
}

// present is `pr`: there is a value, and it is not empty (RFC 7644 table 3).
func present(t Target, r Resource) bool {
	for _, v := range values(t.In(r)) {
		if inner, ok := v.(Resource); ok {
			if t.Sub == nil {
				if len(inner) > 0 {
					return true
				}
				continue
			}
			v = inner[t.Sub.Name]
		}
		if v != nil && v != "" {
			return true
		}
	}
	return false
}

// values are an attribute's values, of which one that is no list has one or none.
func values(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		return []any{v}
	}
}

// SortKey returns what a resource is ordered by: the primary or first value of the attribute; nil if it
// has none (RFC 7644 section 3.4.2.3).
func (t Target) SortKey(r Resource) *string {
	leaf := t.leaf()
	if leaf == nil {
		return nil
	}
	all := values(t.In(r))
	for _, v := range all {
		if inner, ok := v.(Resource); ok && inner["primary"] == true {
			all = []any{v}
			break
		}
	}
	if len(all) == 0 {
		return nil
	}
	v := all[0]
	if inner, ok := v.(Resource); ok {
		v = inner[leaf.Name]
	}
	var text string
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		text = v
	case bool:
		text = strconv.FormatBool(v)
	default:
		return nil
	}
	if !leaf.CaseExact {
		text = iam.FoldName(text)
	}
	return &text
}

// CompareKeys orders two keys of SortKey; what has none comes last.
func CompareKeys(a, b *string) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return 1
	case b == nil:
		return -1
	}
	return strings.Compare(*a, *b)
}

// boolean reads true and false, also as strings in any case, as Entra sends them.
func boolean(v any) (value, ok bool) {
	switch v := v.(type) {
	case bool:
		return v, true
	case string:
		switch iam.FoldName(v) {
		case "true":
			return true, true
		case "false":
			return false, true
		}
	}
	return false, false
}

func invalidFilter(format string, args ...any) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: filter.ReasonInvalidFilter, Message: "the filter cannot be used: " + fmt.Sprintf(format, args...)}
}
