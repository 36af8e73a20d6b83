// Package patch applies PATCH requests to resources (RFC 7644 section 3.5.2), in the forms that Okta and
// Entra send too: operations in capitals, values without a path whose names are paths, and the members
// to be removed as a value. It works on a copy, so that a request that fails half-way changes nothing.
package patch

import (
	"fmt"
	"maps"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// SchemaID is the schema of a PATCH request.
const SchemaID = "urn:ietf:params:scim:api:messages:2.0:PatchOp"

// ReasonNoTarget is the reason for refusing an operation whose path leads to nothing.
const ReasonNoTarget iam.Reason = "no_target"

// maxOperations bounds one request. Entra sends a hundred members in as many operations at most.
const maxOperations = 1000

// Op is what an operation does.
type Op string

// The operations.
const (
	Add     Op = "add"
	Remove  Op = "remove"
	Replace Op = "replace"
)

// Operation is one operation as it was sent.
type Operation struct {
	Op    Op
	Path  string // empty if there is none
	Value any    // as schema.Decode returns it; nil if there is none
}

// Read takes the operations from a request's decoded body.
func Read(body map[string]any) ([]Operation, error) {
	list, ok := body["operations"].([]any)
	if !ok || len(list) == 0 {
		return nil, invalid(schema.ReasonInvalidSyntax, "a PATCH request needs a list of Operations with at least one in it")
	}
	if len(list) > maxOperations {
		return nil, &iam.Error{Kind: iam.KindTooLarge, Reason: "too_large", Message: fmt.Sprintf("a PATCH request can hold %d Operations: send several", maxOperations)}
	}
	operations := make([]Operation, len(list))
	for i, v := range list {
		object, ok := v.(map[string]any)
		if !ok {
			return nil, invalid(schema.ReasonInvalidSyntax, "each of the Operations is an object")
		}
		var err error
		if operations[i], err = read(object); err != nil {
			return nil, err
		}
	}
	return operations, nil
}

func read(object map[string]any) (Operation, error) {
	name, _ := object["op"].(string)
	o := Operation{Op: Op(iam.FoldName(name)), Value: object["value"]}
	switch o.Op {
	case Add, Remove, Replace:
	default:
		return o, invalid(schema.ReasonInvalidSyntax, "%s is no operation: op is add, remove or replace", untrusted.Quote(untrusted.Clip(name)))
	}
	switch path := object["path"].(type) {
	case nil:
	case string:
		o.Path = path
	default:
		return o, invalid(filter.ReasonInvalidPath, "a path is a string")
	}
	if _, given := object["value"]; o.Op == Add && !given {
		return o, invalid(schema.ReasonInvalidValue, "the operation add needs a value")
	}
	if o.Op == Remove && o.Path == "" {
		return o, invalid(ReasonNoTarget, "the operation remove needs a path")
	}
	return o, nil
}

// Apply returns the resource as the operations leave it. It does not change r. Attributes that the
// resource type does not have are passed over: callers send those of other servers along with what
// matters.
func Apply(t *schema.ResourceType, r schema.Resource, operations []Operation) (schema.Resource, error) {
	p := patcher{t, copied(r).(schema.Resource)}
	for _, o := range operations {
		if err := p.apply(o); err != nil {
			return nil, err
		}
	}
	return p.resource, nil
}

type patcher struct {
	t        *schema.ResourceType
	resource schema.Resource
}

func (p *patcher) apply(o Operation) error {
	if o.Path == "" {
		object, ok := o.Value.(map[string]any)
		if !ok {
			return invalid(schema.ReasonInvalidValue, "an operation without a path needs an object as its value")
		}
		// Each name is a path. In order, so that the same request always does the same.
		for _, name := range slices.Sorted(maps.Keys(object)) {
			if name == "schemas" || name == "id" || name == "meta" {
				continue // clients send the resource back as they got it
			}
			if err := p.apply(Operation{o.Op, name, object[name]}); err != nil {
				return err
			}
		}
		return nil
	}
	path, err := filter.ParsePath(o.Path)
	if err != nil {
		return err
	}
	if _, err := p.t.Resolve(path.Attribute, filter.ReasonInvalidPath); err != nil {
		return nil // no attribute of ours
	}
	target, condition, err := p.t.ResolvePath(path)
	if err != nil {
		return err
	}
	if target.Attribute == nil {
		return p.applyExtension(o, target)
	}
	if !target.Attribute.Settable() || target.Sub != nil && !target.Sub.Settable() {
		return invalid(schema.ReasonMutability, "%s cannot be changed by callers", o.Path)
	}
	holder := p.holder(target)
	if condition != nil {
		err = p.applyWhere(o, target, path, condition, holder)
	} else {
		err = p.applyTo(o, target, holder)
	}
	p.settle(target)
	return err
}

// applyExtension applies an operation to all of an extension.
func (p *patcher) applyExtension(o Operation, t schema.Target) error {
	if o.Op == Remove {
		for _, a := range t.Extension.Attributes {
			if err := p.unset(a, p.holder(t)); err != nil {
				return err
			}
		}
		p.settle(t)
		return nil
	}
	object, ok := o.Value.(map[string]any)
	if !ok {
		return invalid(schema.ReasonInvalidValue, "the value of %s is an object", t.Extension.ID)
	}
	for _, name := range slices.Sorted(maps.Keys(object)) {
		if err := p.apply(Operation{o.Op, t.Extension.ID + ":" + name, object[name]}); err != nil {
			return err
		}
	}
	return nil
}

// holder returns the object that has the attribute: the resource, or an extension's part of it.
func (p *patcher) holder(t schema.Target) schema.Resource {
	if t.Extension == nil {
		return p.resource
	}
	inner, ok := p.resource[t.Extension.ID].(schema.Resource)
	if !ok {
		inner = schema.Resource{}
		p.resource[t.Extension.ID] = inner
	}
	return inner
}

// settle removes what an operation left empty.
func (p *patcher) settle(t schema.Target) {
	if t.Extension == nil {
		return
	}
	if inner, ok := p.resource[t.Extension.ID].(schema.Resource); ok && len(inner) == 0 {
		delete(p.resource, t.Extension.ID)
	}
}

// applyTo applies an operation to an attribute, or to a sub-attribute of its value or of all its values.
func (p *patcher) applyTo(o Operation, t schema.Target, holder schema.Resource) error {
	a := t.Attribute
	if t.Sub != nil {
		return p.applySub(o, t, holder)
	}
	if o.Op == Remove {
		return p.remove(o, a, holder)
	}
	value, err := a.Read(o.Value)
	if err != nil {
		return err
	}
	if value == nil {
		if o.Op == Add {
			return nil
		}
		return p.unset(a, holder)
	}
	switch {
	case a.MultiValued && o.Op == Add && !a.One:
		holder[a.Name] = added(holder[a.Name], value.([]any))
	case !a.MultiValued && a.Type == schema.Complex:
		into, ok := holder[a.Name].(schema.Resource)
		if !ok {
			into = schema.Resource{}
		}
		maps.Copy(into, value.(schema.Resource))
		holder[a.Name] = into
	default:
		return assign(a, holder, value)
	}
	return nil
}

// assign sets an attribute. One that is immutable can be given its own value, in any case if its case
// does not count.
func assign(a *schema.Attribute, holder schema.Resource, value any) error {
	was, set := holder[a.Name]
	if a.Mutability == schema.Immutable && set {
		before, _ := was.(string)
		after, _ := value.(string)
		if before == after || !a.CaseExact && iam.FoldName(before) == iam.FoldName(after) {
			return nil
		}
		return invalid(schema.ReasonMutability, "%s stays what it was at first", a.Name)
	}
	holder[a.Name] = value
	return nil
}

func (p *patcher) unset(a *schema.Attribute, holder schema.Resource) error {
	if _, set := holder[a.Name]; !set {
		return nil
	}
	if a.Required || a.Mutability == schema.Immutable {
		return invalid(schema.ReasonMutability, "%s cannot be without a value", a.Name)
	}
	delete(holder, a.Name)
	return nil
}

// remove takes out an attribute or, if a value is given, those of its values (Entra).
func (p *patcher) remove(o Operation, a *schema.Attribute, holder schema.Resource) error {
	if o.Value == nil || !a.MultiValued {
		return p.unset(a, holder)
	}
	value, err := a.Read(o.Value)
	if err != nil || value == nil {
		return err
	}
	out := keysOf(value.([]any))
	return p.keep(a, holder, func(v any) bool { return !out[keyOf(v)] })
}

// keep leaves those of an attribute's values that are kept.
func (p *patcher) keep(a *schema.Attribute, holder schema.Resource, kept func(any) bool) error {
	list, _ := holder[a.Name].([]any)
	left := slices.DeleteFunc(slices.Clone(list), func(v any) bool { return !kept(v) })
	if len(left) == 0 {
		return p.unset(a, holder)
	}
	holder[a.Name] = left
	return nil
}

// applySub applies an operation to a sub-attribute.
func (p *patcher) applySub(o Operation, t schema.Target, holder schema.Resource) error {
	if t.Attribute.MultiValued {
		list, _ := holder[t.Attribute.Name].([]any)
		if len(list) == 0 && o.Op != Remove {
			return p.appendValue(o, t, holder, schema.Resource{})
		}
		for _, v := range list {
			if err := p.changeValue(o, t.Sub, v); err != nil {
				return err
			}
		}
		return nil
	}
	into, ok := holder[t.Attribute.Name].(schema.Resource)
	if !ok {
		into = schema.Resource{}
	}
	if err := p.changeValue(o, t.Sub, into); err != nil {
		return err
	}
	holder[t.Attribute.Name] = into
	if len(into) == 0 {
		delete(holder, t.Attribute.Name)
	}
	return nil
}

// applyWhere applies an operation to those values that meet a filter.
func (p *patcher) applyWhere(o Operation, t schema.Target, path filter.Path, condition schema.Condition, holder schema.Resource) error {
	list, _ := holder[t.Attribute.Name].([]any)
	if o.Op == Remove && t.Sub == nil {
		return p.keep(t.Attribute, holder, func(v any) bool {
			inner, ok := v.(schema.Resource)
			return !ok || !condition(inner)
		})
	}
	found := false
	for _, v := range list {
		if inner, ok := v.(schema.Resource); ok && condition(inner) {
			found = true
			if err := p.changeValue(o, t.Sub, inner); err != nil {
				return err
			}
			if t.Sub == nil {
				if err := p.mergeValue(o, t.Attribute, inner); err != nil {
					return err
				}
			}
		}
	}
	switch {
	case found || o.Op == Remove:
		return nil
	case o.Op == Replace:
		return invalid(ReasonNoTarget, "no value of %s meets the filter of the path", t.Attribute.Name)
	}
	made := schema.Resource{}
	if !describe(path.Filter, t.Attribute, made) {
		return invalid(ReasonNoTarget, "no value of %s meets the filter of the path, and it does not say what a new one is like", t.Attribute.Name)
	}
	return p.appendValue(o, t, holder, made)
}

// appendValue adds a value that an operation makes.
func (p *patcher) appendValue(o Operation, t schema.Target, holder schema.Resource, made schema.Resource) error {
	if err := p.changeValue(o, t.Sub, made); err != nil {
		return err
	}
	if t.Sub == nil {
		if err := p.mergeValue(o, t.Attribute, made); err != nil {
			return err
		}
	}
	if len(made) == 0 {
		return nil
	}
	if t.Attribute.One {
		holder[t.Attribute.Name] = []any{made}
		return nil
	}
	holder[t.Attribute.Name] = added(holder[t.Attribute.Name], []any{made})
	return nil
}

// mergeValue sets the sub-attributes that an operation's value has.
func (p *patcher) mergeValue(o Operation, a *schema.Attribute, into schema.Resource) error {
	one := *a
	one.MultiValued = false
	value, err := one.Read(o.Value)
	if inner, ok := value.(schema.Resource); ok {
		maps.Copy(into, inner)
	}
	return err
}

// changeValue applies an operation to a sub-attribute of one value; sub may be nil.
func (p *patcher) changeValue(o Operation, sub *schema.Attribute, v any) error {
	inner, ok := v.(schema.Resource)
	if sub == nil || !ok {
		return nil
	}
	if o.Op == Remove {
		return p.unset(sub, inner)
	}
	value, err := sub.Read(o.Value)
	if err != nil {
		return err
	}
	if value == nil {
		return p.unset(sub, inner)
	}
	return assign(sub, inner, value)
}

// describe fills in what a filter that asks for equality alone says of a value: Entra adds a value so.
func describe(e filter.Expression, a *schema.Attribute, into schema.Resource) bool {
	switch e := e.(type) {
	case filter.And:
		return describe(e.Left, a, into) && describe(e.Right, a, into)
	case filter.Compare:
		sub := a.Sub(e.Attribute)
		if e.Operator != filter.Equal || sub == nil {
			return false
		}
		if !sub.Settable() {
			return true
		}
		value, err := sub.Read(e.Value)
		if err == nil && value != nil {
			into[sub.Name] = value
		}
		return err == nil
	case filter.Or, filter.Not, filter.Present, filter.Where:
		return false
	default:
		return false
	}
}

// added returns a list with further values. Those that are there already are not added again.
func added(was any, more []any) []any {
	list, _ := was.([]any)
	there := keysOf(list)
	for _, v := range more {
		key := keyOf(v)
		if there[key] {
			continue
		}
		there[key] = true
		list = append(list, v)
	}
	return list
}

func keysOf(list []any) map[string]bool {
	keys := make(map[string]bool, len(list))
	for _, v := range list {
		keys[keyOf(v)] = true
	}
	return keys
}

// keyOf tells values apart: by what they are of, and the rest only if they have no `value`.
func keyOf(v any) string {
	if inner, ok := v.(schema.Resource); ok {
		if value, ok := inner["value"].(string); ok {
			return "=" + value
		}
	}
	return fmt.Sprint(v) // maps are printed in the order of their keys
}

// copied returns a deep copy.
func copied(v any) any {
	switch v := v.(type) {
	case schema.Resource:
		out := make(schema.Resource, len(v))
		for name, inner := range v {
			out[name] = copied(inner)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, inner := range v {
			out[i] = copied(inner)
		}
		return out
	default:
		return v
	}
}

func invalid(reason iam.Reason, format string, args ...any) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: reason, Message: fmt.Sprintf(format, args...)}
}
