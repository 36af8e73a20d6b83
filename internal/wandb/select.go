package wandb

import (
	"encoding/base64"
	"encoding/json"
	"slices"
)

// Select builds the object of the selected fields in their order, for roots that the gateway answers itself.
// Fields of one response key, which conditions on types can leave side by side, are answered once.
func Select(fields []Field, value func(Field) any) json.RawMessage {
	b := []byte{'{'}
	for i, f := range fields {
		same := func(other Field) bool { return other.ResponseKey == f.ResponseKey }
		if slices.ContainsFunc(fields[:i], same) {
			continue
		}
		for _, other := range fields[i+1:] {
			if same(other) && other.Name == f.Name {
				f.Fields = slices.Concat(f.Fields, other.Fields)
			}
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(quoteJSON(b, f.ResponseKey), ':')
		v, err := json.Marshal(value(f))
		if err != nil {
			v = []byte("null")
		}
		b = append(b, v...)
	}
	return append(b, '}')
}

// Page is a list, or a part of one, in the form in which W&B answers lists.
type Page[T any] struct {
	Items []T
	// More says that others come behind Items.
	More bool
	// Cursor names the place behind an item; nil for a list that is whole.
	Cursor func(T) string
	// Node answers one item.
	Node func(T, []Field) json.RawMessage
}

// Select answers a list: edges{node cursor}, pageInfo, totalCount.
func (p Page[T]) Select(fields []Field) json.RawMessage {
	return Select(fields, func(f Field) any {
		switch f.Name {
		case "edges":
			edges := make([]json.RawMessage, 0, len(p.Items))
			for _, item := range p.Items {
				edges = append(edges, p.edge(item, f.Fields))
			}
			return edges
		case "pageInfo":
			return Select(f.Fields, p.info)
		case "totalCount":
			if p.Cursor != nil { // nobody counted
				return nil
			}
			return len(p.Items)
		default:
			return nil
		}
	})
}

func (p Page[T]) edge(item T, fields []Field) json.RawMessage {
	return Select(fields, func(f Field) any {
		switch {
		case f.Name == "node":
			return p.Node(item, f.Fields)
		case f.Name == "cursor" && p.Cursor != nil:
			return p.Cursor(item)
		default:
			return nil
		}
	})
}

func (p Page[T]) info(f Field) any {
	switch f.Name {
	case "hasNextPage":
		return p.More
	case "hasPreviousPage":
		return false
	case "endCursor":
		if p.Cursor != nil && len(p.Items) > 0 {
			return p.Cursor(p.Items[len(p.Items)-1])
		}
	}
	return nil
}

// FormatNodeID writes an id in W&B's form, base64 of Type:id (SCOPE-12).
func FormatNodeID(kind, id string) string {
	return base64.StdEncoding.EncodeToString([]byte(kind + ":" + id))
}

// ParseNodeID reads what FormatNodeID wrote, and nothing else: two ids that a lenient decoder would take for
// one are two here (threat G12). ok is false for an id of another type.
func ParseNodeID(kind, id string) (rest string, ok bool) {
	found, rest, err := decodeID(id)
	return rest, err == nil && found == kind && FormatNodeID(kind, rest) == id
}
