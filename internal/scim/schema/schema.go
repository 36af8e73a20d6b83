// Package schema says which attributes SCIM resources have (RFC 7643): it finds them by what callers
// write, reads values that callers send, tells whether a resource meets a filter, sorts, and leaves out
// what was not asked for. A Resource here is a tree of canonical names and values of the right type:
// what comes out of Read needs no further checks of form, and what no schema names is not in it
// (threat S02).
package schema

import (
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/filter"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Type is the type of an attribute's values (RFC 7643 section 2.3).
type Type string

// The types in use.
const (
	String    Type = "string"
	Boolean   Type = "boolean"
	DateTime  Type = "dateTime"
	Reference Type = "reference"
	Complex   Type = "complex"
)

// Mutability says who may set an attribute (RFC 7643 section 7).
type Mutability string

// The mutabilities in use.
const (
	ReadWrite Mutability = "readWrite"
	ReadOnly  Mutability = "readOnly"
	Immutable Mutability = "immutable"
)

// Returned says when an attribute is in an answer (RFC 7643 section 7).
type Returned string

// The ways in use.
const (
	Default Returned = "default"
	Always  Returned = "always"
)

// Attribute describes one attribute. Its JSON is what /Schemas shows.
type Attribute struct {
	Name            string       `json:"name"`
	Type            Type         `json:"type"`
	MultiValued     bool         `json:"multiValued"`
	Description     string       `json:"description"`
	Required        bool         `json:"required"`
	CaseExact       bool         `json:"caseExact"`
	CanonicalValues []string     `json:"canonicalValues,omitempty"`
	Mutability      Mutability   `json:"mutability"`
	Returned        Returned     `json:"returned"`
	Uniqueness      string       `json:"uniqueness"`
	ReferenceTypes  []string     `json:"referenceTypes,omitempty"`
	SubAttributes   []*Attribute `json:"subAttributes,omitempty"`
	// Also are values that are read beside the canonical ones.
	Also []string `json:"-"`
	// Heeded is true for what is published as readOnly, because callers cannot set it to whatever they
	// like, and counts all the same when they send it.
	Heeded bool `json:"-"`
	// One is true for a multi-valued attribute of which one value is kept: another takes its place.
	One bool `json:"-"`
}

// Settable reports whether what callers send for the attribute counts.
func (a *Attribute) Settable() bool { return a.Mutability != ReadOnly || a.Heeded }

// Sub finds a sub-attribute without regard to case; nil if there is none.
func (a *Attribute) Sub(name string) *Attribute { return find(a.SubAttributes, name) }

// Schema is a named set of attributes.
type Schema struct {
	ID          string
	Name        string
	Description string
	Attributes  []*Attribute
	// Required is true for an extension that every resource has.
	Required bool
}

// ResourceType is a kind of resource: a core schema and extensions.
type ResourceType struct {
	Name        string
	Endpoint    string
	Description string
	Core        *Schema
	Extensions  []*Schema
}

// Resource is one resource, or the value of a complex attribute: canonical names and values. Extensions
// stand under their schema's id.
type Resource = map[string]any

// common are the attributes that every resource has (RFC 7643 section 3.1).
var common = []*Attribute{
	{Name: "schemas", Type: Reference, MultiValued: true, CaseExact: true, Mutability: ReadOnly, Returned: Always, Uniqueness: "none"},
	{Name: "id", Type: String, CaseExact: true, Mutability: ReadOnly, Returned: Always, Uniqueness: "server"},
	{Name: "externalId", Type: String, CaseExact: true, Mutability: ReadWrite, Returned: Default, Uniqueness: "none"},
	{Name: "meta", Type: Complex, Mutability: ReadOnly, Returned: Default, Uniqueness: "none", SubAttributes: []*Attribute{
		{Name: "resourceType", Type: String, CaseExact: true, Mutability: ReadOnly, Returned: Default, Uniqueness: "none"},
		{Name: "created", Type: DateTime, Mutability: ReadOnly, Returned: Default, Uniqueness: "none"},
		{Name: "lastModified", Type: DateTime, Mutability: ReadOnly, Returned: Default, Uniqueness: "none"},
		{Name: "location", Type: Reference, CaseExact: true, Mutability: ReadOnly, Returned: Default, Uniqueness: "none"},
		{Name: "version", Type: String, CaseExact: true, Mutability: ReadOnly, Returned: Default, Uniqueness: "none"},
	}},
}

// Target is the attribute that a name stands for.
type Target struct {
	// Extension is the schema of an extension's attribute; nil for the core's.
	Extension *Schema
	// Attribute is nil when the name is an extension's own.
	Attribute *Attribute
	Sub       *Attribute // nil if none is named
}

// Resolve finds the attribute that a name stands for: [schema:]attribute[.sub-attribute], all without
// regard to case. The error has the reason given.
func (t *ResourceType) Resolve(name string, reason iam.Reason) (Target, error) {
	unknown := &iam.Error{Kind: iam.KindInvalid, Reason: reason,
		Message: "there is no attribute " + untrusted.Quote(untrusted.Clip(name)) + " of a " + t.Name + ": /Schemas lists those that are"}
	var target Target
	attributes := append(common[:len(common):len(common)], t.Core.Attributes...)
	if rest, ok := cutSchema(name, t.Core.ID); ok {
		name = rest
	}
	for _, extension := range t.Extensions {
		rest, ok := cutSchema(name, extension.ID)
		if !ok {
			continue
		}
		target.Extension = extension
		if rest == "" {
			return target, nil
		}
		name, attributes = rest, extension.Attributes
	}
	name, sub, dotted := strings.Cut(name, ".")
	if target.Attribute = find(attributes, name); target.Attribute == nil {
		return Target{}, unknown
	}
	if dotted {
		if target.Sub = target.Attribute.Sub(sub); target.Sub == nil {
			return Target{}, unknown
		}
	}
	return target, nil
}

// cutSchema takes a schema's id from the beginning of a name.
func cutSchema(name, id string) (rest string, ok bool) {
	if len(name) < len(id) || !strings.EqualFold(name[:len(id)], id) {
		return name, false
	}
	rest = name[len(id):]
	if rest == "" {
		return "", true
	}
	return strings.CutPrefix(rest, ":")
}

// leaf returns what is compared: the sub-attribute if one is named, else the `value` of a complex
// attribute, else the attribute.
func (t Target) leaf() *Attribute {
	switch {
	case t.Sub != nil:
		return t.Sub
	case t.Attribute != nil && t.Attribute.Type == Complex:
		return t.Attribute.Sub("value")
	default:
		return t.Attribute
	}
}

// In returns the attribute's value in a resource; nil if it has none.
func (t Target) In(r Resource) any {
	if t.Extension != nil {
		r, _ = r[t.Extension.ID].(Resource)
	}
	if t.Attribute == nil {
		return r
	}
	return r[t.Attribute.Name]
}

// TopLevel returns the name under which a resource holds the attribute.
func (t Target) TopLevel() string {
	if t.Extension != nil {
		return t.Extension.ID
	}
	return t.Attribute.Name
}

func find(attributes []*Attribute, name string) *Attribute {
	for _, a := range attributes {
		if iam.FoldName(a.Name) == iam.FoldName(name) {
			return a
		}
	}
	return nil
}

// ResolvePath finds what a path of PATCH stands for, and makes its filter a condition on one value.
func (t *ResourceType) ResolvePath(p filter.Path) (Target, Condition, error) {
	target, err := t.Resolve(p.Attribute, filter.ReasonInvalidPath)
	if err != nil || p.Filter == nil {
		return target, nil, err
	}
	wrong := &iam.Error{Kind: iam.KindInvalid, Reason: filter.ReasonInvalidPath,
		Message: "the path " + untrusted.Quote(untrusted.Clip(p.Attribute)) + " cannot have a filter: only attributes with several values and sub-attributes can"}
	a := target.Attribute
	if a == nil || target.Sub != nil || !a.MultiValued || a.Type != Complex {
		return Target{}, nil, wrong
	}
	condition, err := compileValue(a, p.Filter)
	if err != nil {
		return Target{}, nil, err
	}
	if p.Sub != "" {
		if target.Sub = a.Sub(p.Sub); target.Sub == nil {
			return Target{}, nil, wrong
		}
	}
	return target, condition, nil
}
