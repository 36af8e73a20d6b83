package standin

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// search is the part of a sweep's configuration that says which runs to make.
type search struct {
	method     string
	parameters []parameter
}

// parameter is one dimension: values to choose from, or a range.
type parameter struct {
	name     string
	values   []any
	min, max float64
	whole    bool
}

// parseSearch reads a sweep's configuration. Clients dump it as block YAML or as JSON; what is not
// understood is left out, and the runs get no value for it.
func parseSearch(config string) search {
	var tree any
	if json.Unmarshal([]byte(config), &tree) != nil {
		tree = parseBlock(config)
	}
	root, _ := tree.(map[string]any)
	s := search{}
	s.method, _ = root["method"].(string)
	parameters, _ := root["parameters"].(map[string]any)
	for name, v := range parameters {
		spec, _ := v.(map[string]any)
		p := parameter{name: name}
		if value, ok := spec["value"]; ok {
			p.values = []any{value}
		} else if values, ok := spec["values"].([]any); ok {
			p.values = values
		} else {
			low, _ := spec["min"].(float64)
			high, ok := spec["max"].(float64)
			if !ok || !(low <= high && high-low < 1<<31) {
				continue
			}
			p.min, p.max = low, high
			p.whole = low == math.Trunc(low) && high == math.Trunc(high)
		}
		s.parameters = append(s.parameters, p)
	}
	slices.SortFunc(s.parameters, func(a, b parameter) int { return strings.Compare(a.name, b.name) })
	return s
}

// expected is how many runs a grid has; nil for a search without end.
func (s search) expected() any {
	if s.method != "grid" {
		return nil
	}
	n := 1
	for _, p := range s.parameters {
		n *= len(p.values)
	}
	return n
}

// next returns the arguments of the run after done others; false when the grid is done.
func (s search) next(done int) (map[string]any, bool) {
	args := map[string]any{}
	for _, p := range s.parameters {
		var v any
		switch {
		case s.method == "grid" && len(p.values) > 0:
			v = p.values[done%len(p.values)]
			done /= len(p.values)
		case len(p.values) > 0:
			v = p.values[rand.IntN(len(p.values))]
		case p.whole:
			v = int(p.min) + rand.IntN(int(p.max-p.min)+1)
		default:
			v = p.min + rand.Float64()*(p.max-p.min)
		}
		args[p.name] = map[string]any{"value": v}
	}
	return args, s.method != "grid" || done == 0
}

// line is one line of block YAML.
type line struct {
	indent int
	text   string
}

// parseBlock reads the subset of YAML that the SDK's dumper writes: nested maps, lists and plain
// or quoted scalars, each on a line of its own.
func parseBlock(text string) any {
	var lines []line
	for raw := range strings.Lines(text) {
		trimmed := strings.TrimSpace(raw)
		if trimmed == "" || strings.HasPrefix(trimmed, "#") {
			continue
		}
		lines = append(lines, line{len(raw) - len(strings.TrimLeft(raw, " ")), trimmed})
	}
	v, _ := block(lines, 0)
	return v
}

// maxBlockDepth bounds nesting; a sweep's configuration has about four levels.
const maxBlockDepth = 32

func block(lines []line, depth int) (any, []line) {
	if len(lines) == 0 || depth > maxBlockDepth {
		return nil, nil
	}
	indent := lines[0].indent
	if strings.HasPrefix(lines[0].text, "- ") {
		var list []any
		for len(lines) > 0 && lines[0].indent == indent && strings.HasPrefix(lines[0].text, "- ") {
			list = append(list, scalar(lines[0].text[2:]))
			lines = lines[1:]
		}
		return list, lines
	}
	tree := map[string]any{}
	for len(lines) > 0 && lines[0].indent == indent {
		key, value, ok := strings.Cut(lines[0].text, ":")
		if !ok || strings.HasPrefix(lines[0].text, "- ") {
			break
		}
		lines = lines[1:]
		if value = strings.TrimSpace(value); value != "" {
			tree[key] = scalar(value)
			continue
		}
		if len(lines) > 0 && (lines[0].indent > indent || lines[0].indent == indent && strings.HasPrefix(lines[0].text, "- ")) {
			tree[key], lines = block(lines, depth+1)
		}
	}
	return tree, lines
}

func scalar(text string) any {
	if unquoted := strings.Trim(text, `'"`); unquoted != text {
		return unquoted
	}
	if n, err := strconv.ParseFloat(text, 64); err == nil {
		return n
	}
	switch text {
	case "true":
		return true
	case "false":
		return false
	case "null", "~":
		return nil
	}
	return text
}
