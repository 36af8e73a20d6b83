package wandb

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// ticketHeader begins the line that Answer adds to uploadHeaders (design section 6). No blank follows
// the colon: clients up to 0.25 split at the colon alone, and their HTTP library refuses a value that
// begins with a blank.
const ticketHeader = "X-Wandb-Gateway-Ticket:"

// WantsAnswer reports whether Answer would look at the answer; if not, it can stream through.
func (c *Call) WantsAnswer(o AnswerOptions) bool {
	m := c.op.plan.marks
	return len(o.Own) > 0 ||
		o.Ticket != nil && m.headers ||
		o.Download != nil && m.download ||
		o.Keep != nil && m.list != nil ||
		o.Redact != nil && m.redact > 0 ||
		o.Members != nil && m.members > 0 ||
		o.Learn && (m.upserted || m.learn != "")
}

// Answer changes and learns from an upstream's answer with status 200. What it does not change
// survives byte for byte. An answer that is no JSON object is an error of iam.KindUnavailable: it
// could hold what was to be filtered. Accesses must have been called before.
func (c *Call) Answer(body []byte, o AnswerOptions) (out []byte, learned []Learned, err error) {
	if c.resolved == nil {
		return nil, nil, errors.New("reading an answer before the accesses of its request")
	}
	a := answer{call: c, body: body, o: o}
	var data span
	whole := eachMember(body, 0, func(name, value span) bool {
		if string(name.of(body)) == "data" || unquote(name.of(body)) == "data" {
			if !data.empty() {
				a.broken = true // two of them: a client may read the one that was not filtered
			}
			data = value
		}
		return true
	})
	if !whole || a.broken || len(bytes.TrimSpace(body[skipValue(body, skipSpace(body, 0)):])) > 0 {
		return nil, nil, brokenAnswer()
	}
	switch {
	case data.empty() || body[data.from] == 'n':
		return body, nil, nil
	case body[data.from] != '{':
		return nil, nil, brokenAnswer()
	}
	a.object(data, c.op.roots, nil)
	if a.broken {
		return nil, nil, brokenAnswer()
	}
	a.merge(data)
	return a.assemble(), a.learned, nil
}

func brokenAnswer() error {
	return iam.Unavailable("the W&B server sent an answer that cannot be read", nil)
}

// EncodeAnswer builds the answer of a request whose root fields were all answered by the gateway.
// Order names the response keys; those that it leaves out follow in alphabetical order.
func EncodeAnswer(own map[string]json.RawMessage, order []string) []byte {
	b := []byte(`{"data":{`)
	done := make(map[string]bool, len(own))
	for _, key := range slices.Concat(order, slices.Sorted(maps.Keys(own))) {
		value, ok := own[key]
		if !ok || done[key] {
			continue
		}
		if len(done) > 0 {
			b = append(b, ',')
		}
		done[key] = true
		b = append(append(quoteJSON(b, key), ':'), value...)
	}
	return append(b, '}', '}')
}

// edit replaces a part of the answer.
type edit struct {
	span
	with []byte
}

// answer walks an answer along the operation's fields.
type answer struct {
	call    *Call
	body    []byte
	o       AnswerOptions
	edits   []edit
	learned []Learned
	// broken: the answer is not what a GraphQL server answers.
	broken bool
}

// upload collects what belongs to one uploadHeaders: the URLs beside and below it.
type upload struct {
	headers []span
	urls    []string
}

// object walks an object whose fields are among nodes. up is the upload around it, if any.
func (a *answer) object(at span, nodes []*node, up *upload) {
	own := upload{}
	if a.o.Ticket != nil && hasHeaders(nodes) {
		up = &own
	}
	seen := make(map[string]bool)
	whole := eachMember(a.body, at.from, func(name, value span) bool {
		key := unquote(name.of(a.body))
		if seen[key] {
			return false // a client may read either
		}
		seen[key] = true
		a.member(key, value, nodes, up)
		return !a.broken
	})
	if !whole {
		a.broken = true
	}
	if up == &own {
		a.ticket(own)
	}
}

func hasHeaders(nodes []*node) bool {
	return slices.ContainsFunc(nodes, func(n *node) bool { return n.marks.headers })
}

// member walks one member of an object.
func (a *answer) member(key string, value span, nodes []*node, up *upload) {
	if a.o.Members != nil && a.members(key, value, nodes) {
		return
	}
	var below []*node
	deeper := false
	for _, n := range nodes {
		if n.key != key {
			continue
		}
		if a.marked(n, value, up) {
			return
		}
		below = append(below, n.fields...)
		deeper = deeper || n.below
	}
	if deeper {
		a.value(value, below, up)
	}
}

// members replaces the members of an entity by those of the record; false if the member is no such field.
func (a *answer) members(key string, value span, nodes []*node) bool {
	entity, below := "", []*node(nil)
	for _, n := range nodes {
		if n.key != key {
			continue
		}
		if n.marks.members == 0 {
			return false
		}
		entity = a.call.resolved.places[n.marks.members-1].Entity
		below = append(below, n.fields...)
	}
	if entity == "" {
		return false
	}
	a.edits = append(a.edits, edit{value, a.o.Members(entity, Field{Name: "members", ResponseKey: key, Fields: a.call.selected(below)})})
	return true
}

// marked does at a field what its marks say; true if nothing of it is left.
func (a *answer) marked(n *node, value span, up *upload) bool {
	m := n.marks
	if m.redact > 0 && a.o.Redact != nil && a.o.Redact(a.call.resolved.redactions[m.redact-1]) {
		a.empty(value)
		return true
	}
	if up != nil && m.headers && a.body[value.from] == '[' {
		up.headers = append(up.headers, value)
	}
	if up != nil && m.url {
		a.url(value, up)
	}
	if m.download && a.o.Download != nil {
		a.download(value)
	}
	if m.list != nil && a.o.Keep != nil {
		a.filter(value, m.list, n)
	}
	if a.o.Learn && m.learn != "" {
		a.place(n, value)
	}
	if a.o.Learn && m.upserted {
		a.upserted(n, value)
	}
	return false
}

// empty replaces a value by one of its kind that says nothing.
func (a *answer) empty(value span) {
	with := []byte("null")
	if a.body[value.from] == '[' {
		with = []byte("[]")
	}
	a.edits = append(a.edits, edit{value, with})
}

func (a *answer) value(value span, nodes []*node, up *upload) {
	switch a.body[value.from] {
	case '{':
		a.object(value, nodes, up)
	case '[':
		if !eachItem(a.body, value.from, func(item span) bool {
			a.value(item, nodes, up)
			return !a.broken
		}) {
			a.broken = true
		}
	}
}

// url notes the URL of an upload, or the URLs of a list.
func (a *answer) url(value span, up *upload) {
	if a.body[value.from] == '"' {
		up.urls = append(up.urls, unquote(insideOf(value.of(a.body))))
	}
}

// download replaces a URL, or the URLs of a list, by what a client is to fetch instead.
func (a *answer) download(value span) {
	switch a.body[value.from] {
	case '"':
		if url, ok := a.o.Download(unquote(insideOf(value.of(a.body)))); ok {
			a.edits = append(a.edits, edit{value, quoteJSON(nil, url)})
		}
	case '[':
		whole := eachItem(a.body, value.from, func(item span) bool {
			a.download(item)
			return true
		})
		a.broken = a.broken || !whole
	}
}

// ticket adds the ticket's line to the headers of an upload.
func (a *answer) ticket(up upload) {
	if len(up.urls) == 0 || len(up.headers) == 0 {
		return
	}
	value, ok := a.o.Ticket(up.urls)
	if !ok {
		return
	}
	line := quoteJSON(nil, ticketHeader+value)
	for _, h := range up.headers {
		end, with := h.to-1, line // in front of the closing bracket
		if len(bytes.TrimSpace(a.body[h.from+1:end])) > 0 {
			with = append([]byte{','}, line...)
		}
		a.edits = append(a.edits, edit{span{end, end}, with})
	}
}

// filter drops the edges of a list whose nodes may not be shown.
func (a *answer) filter(value span, shape *listShape, n *node) {
	if a.body[value.from] != '{' {
		return
	}
	for _, f := range n.fields {
		if f.name != "edges" && f.name != "nodes" {
			continue
		}
		if edges := memberSpan(a.body, value.from, f.key); !edges.empty() && a.body[edges.from] == '[' {
			a.filterEdges(edges, f, shape)
		}
	}
}

func (a *answer) filterEdges(edges span, f *node, shape *listShape) {
	var items []span
	var keep []bool
	if !eachItem(a.body, edges.from, func(item span) bool {
		items = append(items, item)
		keep = append(keep, a.shows(item, f, shape))
		return true
	}) {
		a.broken = true
		return
	}
	// A dropped edge takes the comma before it along, or the one behind it if nothing before it stays.
	before := false
	for i, item := range items {
		switch {
		case keep[i]:
			before = true
		case before:
			a.edits = append(a.edits, edit{span: span{items[i-1].to, item.to}})
		case i+1 < len(items):
			a.edits = append(a.edits, edit{span: span{item.from, items[i+1].from}})
		default:
			a.edits = append(a.edits, edit{span: item})
		}
	}
}

// shows reports whether an edge's node is a project that may be shown. One that does not say which
// project it is may not.
func (a *answer) shows(item span, f *node, shape *listShape) bool {
	n := a.nodeOf(item, f)
	name := a.textAt(n, shape.name)
	return name != "" && a.o.Keep(a.textAt(n, shape.entity), name)
}

// nodeOf returns the node of an edge.
func (a *answer) nodeOf(item span, edges *node) []byte {
	if edges.name == "nodes" {
		return item.of(a.body)
	}
	for _, f := range edges.fields {
		if f.name == "node" {
			if node, ok := memberOf(item.of(a.body), f.key); ok {
				return node
			}
		}
	}
	return nil
}

func (a *answer) textAt(raw []byte, path []string) string {
	if len(path) == 0 {
		return ""
	}
	for _, name := range path {
		var ok bool
		if raw, ok = memberOf(raw, name); !ok {
			return ""
		}
	}
	if len(raw) < 2 || raw[0] != '"' {
		return ""
	}
	return unquote(insideOf(raw))
}

// place learns where an id lies.
func (a *answer) place(n *node, value span) {
	at := a.call.resolved.places[n.marks.place-1]
	if at.Kind == ResourceID {
		at = a.placed(at)
	}
	if at.Kind != ResourceProject || at.Entity == "" || at.Project == "" {
		return
	}
	raw := value.of(a.body)
	id := string(raw)
	if raw[0] == '"' {
		id = unquote(insideOf(raw))
	}
	if n.marks.learn == IDProjectNumber {
		id = ProjectNumber(id)
	}
	if id == "" || id == "null" || len(id) > maxIDBytes {
		return
	}
	a.learned = append(a.learned, Placed{ID: id, IDType: n.marks.learn, Entity: at.Entity, Project: at.Project})
}

// placed returns where what an id names was found to lie; the resource itself if it was not found out.
func (a *answer) placed(r Resource) Resource {
	for _, p := range a.o.Placed {
		if p.ID == r.ID && p.IDType == r.IDType && p.Project != "" {
			return Resource{Kind: ResourceProject, Entity: p.Entity, Project: p.Project}
		}
	}
	return r
}

// ProjectNumber returns the number in a project's internal id, which is one, or base64 of
// Project:<n> or ProjectInternalId:<n> (sdk-wire 4.4); "" if it is neither.
func ProjectNumber(id string) string {
	if wholeNumber(id) {
		return id
	}
	kind, number, err := decodeID(id)
	if err != nil || kind != "Project" && kind != "ProjectInternalId" || !wholeNumber(number) {
		return ""
	}
	return number
}

// upserted learns of a project from the answer of upsertBucket or upsertModel.
func (a *answer) upserted(n *node, value span) {
	if a.body[value.from] != '{' {
		return
	}
	payload := value.of(a.body)
	p := ProjectUpserted{}
	for _, f := range n.fields {
		switch f.name {
		case "bucket":
			for _, g := range f.fields {
				if g.name == "project" {
					a.projectAt(&p, payload, []string{f.key, g.key}, g)
				}
			}
		case "project", "model":
			a.projectAt(&p, payload, []string{f.key}, f)
		case "inserted":
			raw, _ := memberOf(payload, f.key)
			p.Inserted = n.name == "upsertModel" && string(raw) == "true"
		}
	}
	if asked := a.placed(a.call.placeOf(n)); p.Entity == "" || p.Project == "" {
		p.Entity, p.Project = asked.Entity, asked.Project
	}
	if access, err := a.call.at(n.args, argument{}, "input.access"); err == nil {
		if asked, given, err := access.text("access", false); err == nil && given {
			p.Access, p.Requested = asked, true // what was judged, whatever the server made of it
		}
	}
	if p.Entity != "" && p.Project != "" {
		a.learned = append(a.learned, p)
	}
}

func (a *answer) projectAt(p *ProjectUpserted, payload []byte, path []string, project *node) {
	for _, f := range project.fields {
		at := append(slices.Clone(path), f.key)
		switch f.name {
		case "name":
			p.Project = a.textAt(payload, at)
		case "entityName":
			p.Entity = a.textAt(payload, at)
		case "access":
			p.Access = a.textAt(payload, at)
		case "entity":
			for _, g := range f.fields {
				if g.name == "name" {
					p.Entity = a.textAt(payload, append(at, g.key))
				}
			}
		}
	}
}

// placeOf returns what the root field n is about.
func (c *Call) placeOf(n *node) Resource {
	for i := range c.op.plan.needs {
		if c.op.plan.needs[i].at == n {
			return c.resolved.places[i]
		}
	}
	return Resource{}
}

// merge adds the gateway's own root fields at the end of data.
func (a *answer) merge(data span) {
	if len(a.o.Own) == 0 {
		return
	}
	end := data.to - 1
	b := EncodeAnswer(a.o.Own, nil)
	b = b[len(`{"data":{`) : len(b)-2]
	if len(bytes.TrimSpace(a.body[data.from+1:end])) > 0 {
		b = append([]byte{','}, b...)
	}
	a.edits = append(a.edits, edit{span{end, end}, b})
}

// assemble applies the edits. One that lies inside another is lost with it.
func (a *answer) assemble() []byte {
	if len(a.edits) == 0 {
		return a.body
	}
	slices.SortStableFunc(a.edits, func(x, y edit) int {
		if x.from != y.from {
			return x.from - y.from
		}
		return y.to - x.to
	})
	var out bytes.Buffer
	at := 0
	for _, e := range a.edits {
		if e.from < at {
			continue
		}
		out.Write(a.body[at:e.from])
		out.Write(e.with)
		at = e.to
	}
	out.Write(a.body[at:])
	return out.Bytes()
}
