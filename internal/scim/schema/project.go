package schema

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// Projection says which attributes an answer has (RFC 7644 section 3.9). The zero value leaves nothing
// out.
type Projection struct {
	only, without []Target
}

// Project reads the parameters attributes and excludedAttributes. What names no attribute selects none:
// callers ask for attributes of extensions that other servers have.
func (t *ResourceType) Project(attributes, excluded []string) Projection {
	var p Projection
	for _, name := range attributes {
		if target, err := t.Resolve(name, ReasonInvalidValue); err == nil {
			p.only = append(p.only, target)
		}
	}
	if len(attributes) > 0 && p.only == nil {
		p.only = []Target{}
	}
	for _, name := range excluded {
		if target, err := t.Resolve(name, ReasonInvalidValue); err == nil {
			p.without = append(p.without, target)
		}
	}
	return p
}

// Wants reports whether an answer can hold the attribute of that top-level name.
func (p Projection) Wants(name string) bool {
	for _, t := range p.without {
		if t.Sub == nil && t.Extension == nil && t.Attribute != nil && t.Attribute.Name == name {
			return false
		}
	}
	if p.only == nil {
		return true
	}
	for _, t := range p.only {
		if t.TopLevel() == name {
			return true
		}
	}
	return false
}

// Apply returns the resource with what the projection leaves of it. It does not change r.
func (p Projection) Apply(r Resource) Resource {
	out := r
	if p.only != nil {
		out = Resource{}
		for _, a := range common {
			if v, ok := r[a.Name]; ok && a.Returned == Always {
				out[a.Name] = v
			}
		}
		for _, t := range p.only {
			t.copy(out, r)
		}
	}
	for _, t := range p.without {
		if t.Attribute == nil || t.Attribute.Returned != Always {
			out = t.drop(out)
		}
	}
	return out
}

// copy copies what the target names from one resource to another.
func (t Target) copy(to, from Resource) {
	if t.Extension != nil {
		inner, ok := from[t.Extension.ID].(Resource)
		if !ok {
			return
		}
		if t.Attribute == nil {
			to[t.Extension.ID] = inner
			return
		}
		into, _ := to[t.Extension.ID].(Resource)
		if into == nil {
			into = Resource{}
		}
		Target{Attribute: t.Attribute, Sub: t.Sub}.copy(into, inner)
		if len(into) > 0 {
			to[t.Extension.ID] = into
		}
		return
	}
	v, ok := from[t.Attribute.Name]
	if !ok {
		return
	}
	if t.Sub == nil {
		to[t.Attribute.Name] = v
		return
	}
	if list, ok := v.([]any); ok {
		before, _ := to[t.Attribute.Name].([]any)
		picked := make([]any, 0, len(list))
		for i, v := range list {
			into := Resource{}
			if i < len(before) {
				into, _ = before[i].(Resource)
			}
			pick(into, v, t.Sub)
			picked = append(picked, into)
		}
		to[t.Attribute.Name] = picked
		return
	}
	into, _ := to[t.Attribute.Name].(Resource)
	if into == nil {
		into = Resource{}
	}
	pick(into, v, t.Sub)
	if len(into) > 0 {
		to[t.Attribute.Name] = into
	}
}

func pick(into Resource, from any, sub *Attribute) {
	if inner, ok := from.(Resource); ok && inner[sub.Name] != nil {
		into[sub.Name] = inner[sub.Name]
	}
}

// drop returns a copy of the resource without what the target names.
func (t Target) drop(r Resource) Resource {
	out := make(Resource, len(r))
	for name, v := range r {
		out[name] = v
	}
	if t.Extension != nil {
		inner, ok := out[t.Extension.ID].(Resource)
		switch {
		case !ok:
		case t.Attribute == nil:
			delete(out, t.Extension.ID)
		default:
			out[t.Extension.ID] = Target{Attribute: t.Attribute, Sub: t.Sub}.drop(inner)
		}
		return out
	}
	if t.Sub == nil {
		delete(out, t.Attribute.Name)
		return out
	}
	switch v := out[t.Attribute.Name].(type) {
	case Resource:
		out[t.Attribute.Name] = Target{Attribute: t.Sub}.drop(v)
	case []any:
		list := make([]any, len(v))
		for i, one := range v {
			list[i] = one
			if inner, ok := one.(Resource); ok {
				list[i] = Target{Attribute: t.Sub}.drop(inner)
			}
		}
		out[t.Attribute.Name] = list
	}
	return out
}

// ReasonMutability is the reason for refusing to change what cannot be changed.
const ReasonMutability iam.Reason = "mutability"
