package wandb

import (
	"slices"
	"strconv"
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// document is a GraphQL document, read once and kept for all calls that send the same text. It is
// never changed after it was read.
type document struct {
	operations []*operation
	// size is what the document costs in memory, roughly, in bytes.
	size int64
}

// operation is one operation of a document: its root fields with all fragments spread.
type operation struct {
	name      string
	mutation  bool
	variables []variable
	// switches are the variables that stand in an @include or @skip.
	switches []string
	roots    []*node
	plan     plan
}

// variable is a variable's definition.
type variable struct {
	name     string
	fallback *value // nil if it has no default
}

// node is one selected field. Fragments are spread, so that a document's fields form a tree.
type node struct {
	name string
	// key is the response key: the alias, or the name.
	key string
	// typ is the condition of the innermost fragment around the field; "" if none.
	typ  string
	args []member
	// conditions are the values of @include and @skip around and at the field.
	conditions []condition
	fields     []*node
	// at is the field's place in the text, which tells it from all others.
	at int
	// marks is what Answer must do here; below tells whether it must do anything beneath.
	marks marks
	below bool
}

// condition is an @include, or with negated a @skip.
type condition struct {
	value   *value
	negated bool
}

// value is a literal or a variable in a document.
type value struct {
	kind valueKind
	// text is a string's value, a number's, boolean's or enum's text, or a variable's name.
	text string
	// members are an object's members, or a list's items with empty names.
	members []member
}

type member struct {
	name  string
	value *value
}

type valueKind uint8

const (
	variableValue valueKind = iota
	nullValue
	stringValue
	numberValue
	booleanValue
	enumValue
	listValue
	objectValue
)

func find(members []member, name string) *value {
	for i := range members {
		if members[i].name == name {
			return members[i].value
		}
	}
	return nil
}

// maxMembers bounds the arguments of a field and the members of an input object.
const maxMembers = 256

// limits are the bounds of a document.
type limits struct {
	bytes, tokens, depth, fields int
}

// readDocument parses text and spreads its fragments. It takes no more than l allows: the checks
// that need no parser come first (threat G11).
func readDocument(text string, l limits) (*document, error) {
	if len(text) > l.bytes {
		return nil, documentTooLarge(l)
	}
	if err := checkText(text); err != nil {
		return nil, err
	}
	parsed, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: text}, l.tokens)
	if err != nil {
		return nil, parseError(err, l)
	}
	r := documentReader{limits: l, fragments: make(map[string]*ast.FragmentDefinition, len(parsed.Fragments))}
	for _, f := range parsed.Fragments {
		if _, ok := r.fragments[f.Name]; ok {
			return nil, malformedDocument("the fragment " + untrusted.Quote(f.Name) + " is defined twice")
		}
		if len(f.VariableDefinition) > 0 || len(f.Directives) > 0 {
			return nil, malformedDocument("a fragment has variables or directives of its own")
		}
		r.fragments[f.Name] = f
	}
	doc := &document{}
	names := make(map[string]bool, len(parsed.Operations))
	for _, o := range parsed.Operations {
		if names[o.Name] {
			return nil, &iam.Error{Kind: iam.KindInvalid, Reason: ReasonAmbiguousOperation,
				Message: "the GraphQL document has two operations of one name"}
		}
		names[o.Name] = true
		op, err := r.operation(o)
		if err != nil {
			return nil, err
		}
		doc.operations = append(doc.operations, op)
	}
	if len(doc.operations) == 0 {
		return nil, malformedDocument("it has no operation")
	}
	const perField, perValue, fixed = 224, 72, 1024
	doc.size = int64(2*len(text) + perField*r.fields + perValue*r.values + fixed)
	return doc, nil
}

// checkText refuses what parsers are known to read differently: control characters, and four quotes
// in a row, where a block string ends one quote earlier for some than for others.
func checkText(text string) error {
	for i := range len(text) {
		if c := text[i]; c < 0x20 && c != '\t' && c != '\n' && c != '\r' {
			return malformedDocument("it has a control character")
		}
	}
	if strings.Contains(text, `""""`) {
		return malformedDocument("it has four quotes in a row")
	}
	return nil
}

func documentTooLarge(l limits) error {
	return &iam.Error{Kind: iam.KindTooLarge, Reason: "document_too_large",
		Message: "the GraphQL document is longer than " + strconv.Itoa(l.bytes) + " bytes"}
}

func parseError(err error, l limits) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "token limit"):
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonTooManyTokens,
			Message: "the GraphQL document has more than " + strconv.Itoa(l.tokens) + " tokens"}
	case strings.Contains(text, "nesting depth"):
		return tooDeep(l)
	}
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonMalformedDocument,
		Message: "the GraphQL document cannot be parsed", Err: err}
}

func malformedDocument(why string) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonMalformedDocument,
		Message: "the GraphQL document is not accepted: " + why}
}

func tooDeep(l limits) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonTooDeep,
		Message: "the GraphQL document is nested deeper than " + strconv.Itoa(l.depth) + " levels"}
}

// documentReader turns gqlparser's tree into ours.
type documentReader struct {
	limits    limits
	fragments map[string]*ast.FragmentDefinition
	// open are the fragments around the selection that is being read.
	open      []string
	variables map[string]bool
	switches  []string
	fields    int
	values    int
}

func (r *documentReader) operation(o *ast.OperationDefinition) (*operation, error) {
	if len(o.Directives) > 0 {
		return nil, malformedDocument("an operation has a directive")
	}
	op := &operation{name: o.Name, mutation: o.Operation == ast.Mutation}
	if o.Operation == ast.Subscription {
		return nil, &iam.Error{Kind: iam.KindInvalid, Reason: ReasonSubscription,
			Message: "subscriptions are not served here; W&B clients poll"}
	}
	r.variables, r.switches = make(map[string]bool, len(o.VariableDefinitions)), nil
	for _, v := range o.VariableDefinitions {
		if r.variables[v.Variable] || len(v.Directives) > 0 {
			return nil, malformedDocument("the variable " + untrusted.Quote(v.Variable) + " is defined twice or has a directive")
		}
		r.variables[v.Variable] = true
		fallback, err := r.value(v.DefaultValue, 0)
		if err != nil {
			return nil, err
		}
		op.variables = append(op.variables, variable{name: v.Variable, fallback: fallback})
	}
	root := node{}
	if err := r.selections(&root, o.SelectionSet, "", nil, 0); err != nil {
		return nil, err
	}
	op.roots = root.fields
	if err := checkKeys(op.roots); err != nil {
		return nil, err
	}
	op.switches = r.switches
	op.plan = newPlanner(op).plan()
	return op, nil
}

// checkKeys refuses two root fields under one response key that are not one field: which of the
// two a server would answer is not certain.
func checkKeys(roots []*node) error {
	byKey := make(map[string]*node, len(roots))
	for _, n := range roots {
		other, ok := byKey[n.key]
		if ok && (other.name != n.name || !sameMembers(other.args, n.args)) {
			return malformedDocument("two root fields answer as " + untrusted.Quote(n.key))
		}
		byKey[n.key] = n
	}
	return nil
}

func sameMembers(a, b []member) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].name != b[i].name || !sameValue(a[i].value, b[i].value) {
			return false
		}
	}
	return true
}

func sameValue(a, b *value) bool {
	return a.kind == b.kind && a.text == b.text && sameMembers(a.members, b.members)
}

// selections adds what is selected to parent; depth counts the fields and fragments around it.
func (r *documentReader) selections(parent *node, set ast.SelectionSet, typ string, conditions []condition, depth int) error {
	if depth > r.limits.depth {
		return tooDeep(r.limits)
	}
	for _, selection := range set {
		if err := r.selection(parent, selection, typ, conditions, depth); err != nil {
			return err
		}
	}
	return nil
}

func (r *documentReader) selection(parent *node, selection ast.Selection, typ string, outer []condition, depth int) error {
	// Fragments count too: fragments that spread each other twice over double with every level.
	if r.fields++; r.fields > r.limits.fields {
		return &iam.Error{Kind: iam.KindInvalid, Reason: "too_many_fields",
			Message: "the GraphQL document selects more than " + strconv.Itoa(r.limits.fields) + " fields"}
	}
	switch s := selection.(type) {
	case *ast.Field:
		conditions, err := r.conditions(s.Directives, outer)
		if err != nil {
			return err
		}
		return r.field(parent, s, typ, conditions, depth)
	case *ast.InlineFragment:
		conditions, err := r.conditions(s.Directives, outer)
		if err != nil {
			return err
		}
		if s.TypeCondition != "" {
			typ = s.TypeCondition
		}
		return r.selections(parent, s.SelectionSet, typ, conditions, depth+1)
	case *ast.FragmentSpread:
		conditions, err := r.conditions(s.Directives, outer)
		if err != nil {
			return err
		}
		return r.spread(parent, s.Name, conditions, depth)
	default:
		return malformedDocument("a selection is of an unknown kind")
	}
}

func (r *documentReader) spread(parent *node, name string, conditions []condition, depth int) error {
	f, ok := r.fragments[name]
	if !ok {
		return malformedDocument("the fragment " + untrusted.Quote(name) + " is not defined")
	}
	for _, open := range r.open {
		if open == name {
			return malformedDocument("the fragment " + untrusted.Quote(name) + " contains itself")
		}
	}
	r.open = append(r.open, name)
	defer func() { r.open = r.open[:len(r.open)-1] }()
	return r.selections(parent, f.SelectionSet, f.TypeCondition, conditions, depth+1)
}

func (r *documentReader) field(parent *node, f *ast.Field, typ string, conditions []condition, depth int) error {
	n := &node{name: f.Name, key: f.Alias, typ: typ, conditions: conditions}
	if f.Position != nil {
		n.at = f.Position.Start
	}
	if len(f.Arguments) > maxMembers {
		return malformedDocument("a field has too many arguments")
	}
	for _, a := range f.Arguments {
		if find(n.args, a.Name) != nil {
			return malformedDocument("the argument " + untrusted.Quote(a.Name) + " is given twice")
		}
		v, err := r.value(a.Value, 0)
		if err != nil {
			return err
		}
		n.args = append(n.args, member{a.Name, v})
	}
	parent.fields = append(parent.fields, n)
	return r.selections(n, f.SelectionSet, "", nil, depth+1)
}

// conditions reads @include and @skip. Every other directive is refused: @defer and @stream change
// how an answer looks, and of others nobody here knows what they do.
func (r *documentReader) conditions(directives ast.DirectiveList, outer []condition) ([]condition, error) {
	all := outer
	for _, d := range directives {
		if d.Name != "include" && d.Name != "skip" || len(d.Arguments) != 1 || d.Arguments[0].Name != "if" {
			return nil, malformedDocument("the directive @" + untrusted.Quote(d.Name) + " is not known here, or has other arguments than `if`")
		}
		v, err := r.value(d.Arguments[0].Value, 0)
		if err != nil {
			return nil, err
		}
		switch {
		case v.kind == variableValue && !slices.Contains(r.switches, v.text):
			r.switches = append(r.switches, v.text)
		case v.kind != variableValue && v.kind != booleanValue:
			return nil, malformedDocument("the condition of @" + d.Name + " is neither true, false nor a variable")
		}
		all = append(all[:len(all):len(all)], condition{value: v, negated: d.Name == "skip"})
	}
	return all, nil
}

func (r *documentReader) value(v *ast.Value, depth int) (*value, error) {
	if v == nil {
		return nil, nil
	}
	if depth > r.limits.depth {
		return nil, tooDeep(r.limits)
	}
	r.values++
	out := &value{text: v.Raw}
	switch v.Kind {
	case ast.Variable:
		out.kind = variableValue
		if !r.variables[v.Raw] {
			return nil, malformedDocument("the variable " + untrusted.Quote(v.Raw) + " is not declared")
		}
	case ast.IntValue, ast.FloatValue:
		out.kind = numberValue
	case ast.StringValue, ast.BlockValue:
		out.kind = stringValue
		if strings.ContainsRune(v.Raw, '\uFFFD') {
			return nil, malformedDocument("a string holds half a surrogate pair")
		}
	case ast.BooleanValue:
		out.kind = booleanValue
	case ast.NullValue:
		out.kind = nullValue
	case ast.EnumValue:
		out.kind = enumValue
	case ast.ListValue:
		out.kind = listValue
	case ast.ObjectValue:
		out.kind = objectValue
	default:
		return nil, malformedDocument("a value is of an unknown kind")
	}
	// Members are compared with each other; no input object of the schema comes near this.
	if out.kind == objectValue && len(v.Children) > maxMembers {
		return nil, malformedDocument("an input object has too many members")
	}
	for _, child := range v.Children {
		if out.kind == objectValue && find(out.members, child.Name) != nil {
			return nil, malformedDocument("the member " + untrusted.Quote(child.Name) + " is given twice")
		}
		item, err := r.value(child.Value, depth+1)
		if err != nil {
			return nil, err
		}
		out.members = append(out.members, member{child.Name, item})
	}
	return out, nil
}
