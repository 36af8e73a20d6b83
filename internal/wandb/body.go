package wandb

import (
	"strings"

	"github.com/vektah/gqlparser/v2/ast"
	"github.com/vektah/gqlparser/v2/parser"
)

// HasRoot reports whether a root field of that name is selected, whatever its alias and conditions.
// It costs nothing, where Roots decodes every argument.
func (c *Call) HasRoot(name string) bool {
	for _, n := range c.op.roots {
		if n.name == name {
			return true
		}
	}
	return false
}

// Roots returns the root fields in the order in which they are answered.
func (c *Call) Roots() []Root { return c.selected(c.op.roots) }

// selected evaluates @include and @skip and merges the fields of one response key.
func (c *Call) selected(nodes []*node) []Field {
	var fields []Field
	var merged [][]*node
	index := make(map[string]int, len(nodes))
	for _, n := range nodes {
		if !c.included(n) {
			continue
		}
		// Fields under different type conditions answer for different objects.
		key := n.key + " " + n.typ
		i, ok := index[key]
		if !ok {
			i = len(fields)
			index[key] = i
			fields = append(fields, Field{Name: n.name, ResponseKey: n.key, Type: n.typ, Args: c.decodeMembers(n.args)})
			merged = append(merged, nil)
		}
		merged[i] = append(merged[i], n.fields...)
	}
	for i := range fields {
		fields[i].Fields = c.selected(merged[i])
	}
	return fields
}

// Body returns the request that goes upstream: the bytes that came, if nothing has to change, else
// a new body that says what was judged. It is nil if no root field is left. If Accesses was not
// called with the same default entity, Body resolves the call again.
func (c *Call) Body(o BodyOptions) ([]byte, error) {
	if err := c.resolve(o.DefaultEntity); err != nil {
		return nil, err
	}
	dropped, left := c.drop(o.Drop)
	switch {
	case left == 0:
		return nil, nil
	case dropped == nil && len(c.insertions) == 0 && len(c.filled) == 0 && !c.altered:
		return c.body, nil
	case dropped == nil && len(c.insertions) == 0:
		return c.encode(c.query.of(c.body), nil), nil
	}
	text, used, err := c.rewrite(dropped)
	if err != nil {
		return nil, err
	}
	return c.encode(quoteJSON(nil, text), used), nil
}

// drop returns the response keys of the root fields that do not go upstream, and how many do. Root
// fields that are left out by a condition are not asked for, and stay.
func (c *Call) drop(wanted func(Root) bool) (keys map[string]bool, left int) {
	if wanted == nil {
		return nil, len(c.op.roots)
	}
	for _, n := range c.op.roots {
		switch {
		case !c.included(n) || !wanted(Root{Name: n.name, ResponseKey: n.key, Type: n.typ}):
			left++
		case keys == nil:
			keys = map[string]bool{n.key: true}
		default:
			keys[n.key] = true
		}
	}
	return keys, left
}

// encode writes the body anew: the document, the operation's name as it came, and the variables
// with what was filled in; with used, only the variables in it.
func (c *Call) encode(query []byte, used map[string]bool) []byte {
	b := make([]byte, 0, len(c.body)+256)
	b = append(append(b, `{"query":`...), query...)
	if !c.operationName.empty() {
		b = append(append(b, `,"operationName":`...), c.operationName.of(c.body)...)
	}
	b = append(b, `,"variables":{`...)
	first := true
	add := func(quotedName, value []byte) {
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(append(append(append(b, '"'), quotedName...), '"'), ':'), value...)
	}
	for i := range c.variables {
		name := unquote(c.variables[i].name.of(c.body))
		if used != nil && !used[name] || c.isFilled(name) {
			continue
		}
		add(c.variables[i].name.of(c.body), c.variables[i].value.of(c.body))
	}
	for i := range c.filled {
		if used == nil || used[c.filled[i].name] {
			add([]byte(c.filled[i].name), c.filled[i].raw)
		}
	}
	return append(b, '}', '}')
}

func (c *Call) isFilled(name string) bool {
	for i := range c.filled {
		if c.filled[i].name == name {
			return true
		}
	}
	return false
}

// rewrite prints the operation anew without the dropped root fields and with the names that were
// filled in; used are the variables that are left. It is the slow way, which few requests take: the
// document is parsed once more, and only what is reachable is printed.
func (c *Call) rewrite(dropped map[string]bool) (text string, used map[string]bool, err error) {
	doc, err := parser.ParseQueryWithTokenLimit(&ast.Source{Input: unquote(insideOf(c.query.of(c.body)))}, c.limits.tokens)
	if err != nil { // it was parsed before
		return "", nil, parseError(err, c.limits)
	}
	op := doc.Operations.ForName(c.op.name)
	if op == nil {
		return "", nil, malformedDocument("its operation cannot be found again")
	}
	p := printer{fragments: doc.Fragments, insertions: c.insertions, used: make(map[string]bool), needed: make(map[string]bool)}
	p.roots(op.SelectionSet, dropped, nil)
	body := p.b.String()
	p.b.Reset()
	for printed := map[string]bool{}; len(printed) < len(p.needed); {
		for _, f := range doc.Fragments {
			if p.needed[f.Name] && !printed[f.Name] {
				printed[f.Name] = true
				p.b.WriteString(" fragment " + f.Name + " on " + f.TypeCondition)
				p.selections(f.SelectionSet)
			}
		}
	}
	return p.operation(op) + "{" + body + "}" + p.b.String(), p.used, nil
}

func insideOf(quoted []byte) []byte { return quoted[1 : len(quoted)-1] }

// printer writes parts of a parsed document as GraphQL text.
type printer struct {
	b          strings.Builder
	fragments  ast.FragmentDefinitionList
	insertions []insertion
	used       map[string]bool
	needed     map[string]bool
}

// operation prints what stands before the selection, with the variables that are used.
func (p *printer) operation(op *ast.OperationDefinition) string {
	var b strings.Builder
	b.WriteString(string(op.Operation))
	if op.Name != "" {
		b.WriteString(" " + op.Name)
	}
	open := "("
	for _, v := range op.VariableDefinitions {
		if !p.used[v.Variable] {
			continue
		}
		b.WriteString(open + "$" + v.Variable + ":" + v.Type.String())
		open = " "
		if v.DefaultValue != nil {
			b.WriteString("=" + v.DefaultValue.String())
		}
	}
	if open == " " {
		b.WriteByte(')')
	}
	return b.String()
}

// roots prints the root fields that stay, out of their fragments; the fragments' conditions go with
// each of them.
func (p *printer) roots(set ast.SelectionSet, dropped map[string]bool, outer ast.DirectiveList) {
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			if !dropped[s.Alias] {
				p.field(s, outer)
			}
		case *ast.InlineFragment:
			p.roots(s.SelectionSet, dropped, joined(outer, s.Directives))
		case *ast.FragmentSpread:
			if f := p.fragments.ForName(s.Name); f != nil {
				p.roots(f.SelectionSet, dropped, joined(outer, s.Directives))
			}
		}
	}
}

func joined(outer, own ast.DirectiveList) ast.DirectiveList {
	return append(outer[:len(outer):len(outer)], own...)
}

// field prints a field. Conditions of fragments around it become inline fragments, since a directive
// may stand at a place only once.
func (p *printer) field(f *ast.Field, outer ast.DirectiveList) {
	for _, d := range outer {
		p.b.WriteString(" ...")
		p.directive(d)
		p.b.WriteByte('{')
	}
	p.b.WriteByte(' ')
	if f.Alias != f.Name {
		p.b.WriteString(f.Alias + ":")
	}
	p.b.WriteString(f.Name)
	p.arguments(p.inserted(f))
	for _, d := range f.Directives {
		p.directive(d)
	}
	if len(f.SelectionSet) > 0 {
		p.selections(f.SelectionSet)
	}
	for range outer {
		p.b.WriteByte('}')
	}
}

// inserted returns the arguments of f with the names that were filled in.
func (p *printer) inserted(f *ast.Field) ast.ArgumentList {
	args := f.Arguments
	for _, in := range p.insertions {
		if f.Position == nil || f.Position.Start != in.at.at {
			continue
		}
		first, rest, more := strings.Cut(in.path, ".")
		value := &ast.Value{Kind: ast.StringValue, Raw: in.value}
		if more {
			value = withMember(valueOf(args, first), rest, value)
		}
		args = withArgument(args, first, value)
	}
	return args
}

func valueOf(args ast.ArgumentList, name string) *ast.Value {
	if a := args.ForName(name); a != nil {
		return a.Value
	}
	return nil
}

func withArgument(args ast.ArgumentList, name string, value *ast.Value) ast.ArgumentList {
	out := make(ast.ArgumentList, 0, len(args)+1)
	for _, a := range args {
		if a.Name != name {
			out = append(out, a)
		}
	}
	return append(out, &ast.Argument{Name: name, Value: value})
}

// withMember returns the object v with the member at path set; v may be missing.
func withMember(v *ast.Value, path string, value *ast.Value) *ast.Value {
	first, rest, more := strings.Cut(path, ".")
	out := &ast.Value{Kind: ast.ObjectValue}
	if v != nil && v.Kind == ast.ObjectValue {
		for _, child := range v.Children {
			if child.Name != first {
				out.Children = append(out.Children, child)
			} else if more {
				value = withMember(child.Value, rest, value)
				more = false
			}
		}
	}
	if more {
		value = withMember(nil, rest, value)
	}
	out.Children = append(out.Children, &ast.ChildValue{Name: first, Value: value})
	return out
}

func (p *printer) selections(set ast.SelectionSet) {
	p.b.WriteByte('{')
	for _, selection := range set {
		switch s := selection.(type) {
		case *ast.Field:
			p.field(s, nil)
		case *ast.InlineFragment:
			p.b.WriteString(" ...")
			if s.TypeCondition != "" {
				p.b.WriteString(" on " + s.TypeCondition)
			}
			for _, d := range s.Directives {
				p.directive(d)
			}
			p.selections(s.SelectionSet)
		case *ast.FragmentSpread:
			p.b.WriteString(" ..." + s.Name)
			p.needed[s.Name] = true
			for _, d := range s.Directives {
				p.directive(d)
			}
		}
	}
	p.b.WriteByte('}')
}

func (p *printer) directive(d *ast.Directive) {
	p.b.WriteString(" @" + d.Name)
	p.arguments(d.Arguments)
}

func (p *printer) arguments(args ast.ArgumentList) {
	if len(args) == 0 {
		return
	}
	p.b.WriteByte('(')
	for i, a := range args {
		if i > 0 {
			p.b.WriteByte(',')
		}
		p.b.WriteString(a.Name + ":")
		p.value(a.Value)
	}
	p.b.WriteByte(')')
}

// value prints a value and notes the variables in it. Strings are printed as JSON strings, which
// every GraphQL parser reads alike; block strings were resolved before.
func (p *printer) value(v *ast.Value) {
	switch v.Kind {
	case ast.Variable:
		p.used[v.Raw] = true
		p.b.WriteString("$" + v.Raw)
	case ast.StringValue, ast.BlockValue:
		p.b.Write(quoteJSON(nil, v.Raw))
	case ast.ListValue:
		p.b.WriteByte('[')
		for i, child := range v.Children {
			if i > 0 {
				p.b.WriteByte(',')
			}
			p.value(child.Value)
		}
		p.b.WriteByte(']')
	case ast.ObjectValue:
		p.b.WriteByte('{')
		for i, child := range v.Children {
			if i > 0 {
				p.b.WriteByte(',')
			}
			p.b.WriteString(child.Name + ":")
			p.value(child.Value)
		}
		p.b.WriteByte('}')
	default:
		p.b.WriteString(v.Raw)
	}
}
