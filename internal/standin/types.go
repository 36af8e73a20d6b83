package standin

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// objectType is a GraphQL type: what its values are called and how their fields are resolved.
type objectType struct {
	name       string
	interfaces []string
	fields     map[string]resolver
}

type resolver func(c *call, self any, a arguments) any

// fields are the resolvers of a type whose values are T. A resolver returns a scalar, a value of
// another registered type, a slice of such, nil, or an error.
type fields[T any] map[string]func(c *call, self T, a arguments) any

// objectTypes finds the type of a Go value. It is filled by the schema_*.go files at start and
// only read afterwards.
var objectTypes = map[reflect.Type]*objectType{}

func typeKey[T any]() reflect.Type { return reflect.TypeFor[T]() }

// define registers the type of T.
func define[T any](name string, fs fields[T], interfaces ...string) bool {
	t := &objectType{name: name, interfaces: interfaces, fields: make(map[string]resolver, len(fs))}
	for field, resolve := range fs {
		t.fields[field] = func(c *call, self any, a arguments) any { return resolve(c, self.(T), a) }
	}
	objectTypes[reflect.TypeFor[T]()] = t
	return true
}

// payload is an object without a type of its own: the answer of a mutation, an edge, a small
// structure. Its keys are its fields.
type payload map[string]any

var payloadType = &objectType{name: "Payload"}

func typeOf(v any) *objectType {
	if _, ok := v.(payload); ok {
		return payloadType
	}
	return objectTypes[reflect.TypeOf(v)]
}

// typed is implemented by values that are of one of several GraphQL types.
type typed interface{ typename() string }

func (t *objectType) nameOf(v any) string {
	if v, ok := v.(typed); ok {
		return v.typename()
	}
	if p, ok := v.(payload); ok {
		if name, ok := p["__typename"].(string); ok {
			return name
		}
	}
	return t.name
}

// satisfies reports whether a fragment on condition applies to values called name.
func (t *objectType) satisfies(name, condition string) bool {
	return condition == "" || condition == name || condition == t.name || t == payloadType ||
		slices.Contains(t.interfaces, condition) ||
		t.name == "Connection" && strings.HasSuffix(condition, "Connection")
}

func (t *objectType) field(v any, name string) resolver {
	if p, ok := v.(payload); ok {
		if _, has := p[name]; !has {
			return nil
		}
		return func(*call, any, arguments) any { return p[name] }
	}
	return t.fields[name]
}

// connection is one page of a list in the shape that W&B's clients walk.
type connection struct {
	edges []payload
	end   int
	total int
	more  bool
}

// page cuts items by the arguments first and after. Cursors are positions.
func page[T any](items []T, a arguments) connection {
	start := 0
	if after, err := strconv.Atoi(a.text("after")); err == nil {
		start = min(max(after, 0), len(items))
	}
	end := min(start+max(a.number("first", 1000), 0), len(items))
	c := connection{end: end, total: len(items), more: end < len(items)}
	for i, item := range items[start:end] {
		c.edges = append(c.edges, payload{"cursor": strconv.Itoa(start + i + 1), "node": item})
	}
	return c
}

var _ = define("Connection", fields[connection]{
	"edges": func(_ *call, p connection, _ arguments) any {
		if p.edges == nil {
			return []payload{}
		}
		return p.edges
	},
	"totalCount": func(_ *call, p connection, _ arguments) any { return p.total },
	"pageInfo": func(_ *call, p connection, _ arguments) any {
		return payload{
			"__typename": "PageInfo", "hasNextPage": p.more, "endCursor": strconv.Itoa(p.end),
			"hasPreviousPage": false, "startCursor": "",
		}
	},
})
