package wandb

import (
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
)

// plan is what an operation would touch, worked out once per document: what is left to do per call
// is to put the variables in.
type plan struct {
	needs []need
	marks marks
}

// marks says what Answer does at a field.
type marks struct {
	// headers: the field is an uploadHeaders that may need a ticket.
	headers bool
	// url: the field is the URL of an upload.
	url bool
	// download: the field is a URL, or a list of them, that clients fetch without a credential.
	download bool
	// redact is the index+1 of the need that guards the field; its value becomes empty if not met.
	redact int
	// members is the index+1 of the need whose entity's members the field is.
	members int
	// list says how to filter the list of projects that the field is; nil if it is none.
	list *listShape
	// learn is the sort of the id that the field is, lying in the project of the need at index place.
	learn IDType
	place int
	// upserted is set at a root field that makes or changes a project.
	upserted bool
}

func (m marks) any() bool {
	return m.headers || m.url || m.download || m.redact > 0 || m.members > 0 || m.list != nil || m.learn != "" || m.upserted
}

// listShape says where the nodes of a list of projects tell which project they are: response keys
// from the node down. Entity may be empty: the list does not tell it.
type listShape struct {
	name, entity []string
}

// need is an access before the variables are put in.
type need struct {
	claim claim
	// at is the field whose arguments the claim's paths start from.
	at *node
	// outer is the index+1 of the need whose project or entity this one is about; 0 if it names its own.
	outer int
	// crossing: Access.Crossing. redactable: Access.Redactable.
	crossing, redactable bool
	// unknown: any argument that looks like a name is judged too.
	unknown bool
}

// planner walks an operation's fields along the tables of roots.go and crossings.go.
type planner struct {
	op *operation
	p  plan
}

func newPlanner(op *operation) *planner { return &planner{op: op} }

func (p *planner) plan() plan {
	for _, n := range p.op.roots {
		p.root(n)
	}
	for _, n := range p.op.roots {
		sumUp(n)
		p.p.marks = join(p.p.marks, n)
	}
	return p.p
}

// sumUp tells every field whether Answer has something to do below it.
func sumUp(n *node) {
	for _, f := range n.fields {
		sumUp(f)
		n.below = n.below || f.below || f.marks.any()
	}
}

func join(m marks, n *node) marks {
	m.headers = m.headers || n.marks.headers
	m.download = m.download || n.marks.download
	m.upserted = m.upserted || n.marks.upserted
	if n.marks.learn != "" {
		m.learn = n.marks.learn
	}
	if n.marks.redact > 0 {
		m.redact = n.marks.redact
	}
	if n.marks.members > 0 {
		m.members = n.marks.members
	}
	if n.marks.list != nil {
		m.list = n.marks.list
	}
	for _, f := range n.fields {
		m = join(m, f)
	}
	return m
}

// add appends a need and returns its index+1.
func (p *planner) add(n need) int {
	p.p.needs = append(p.p.needs, n)
	return len(p.p.needs)
}

// root plans a root field: its row's claims, then what its selection walks into.
func (p *planner) root(n *node) {
	row, ok := rootTable[n.name]
	if !ok || row.mutation != p.op.mutation && n.name != "__typename" {
		p.unknownRoot(n)
		return
	}
	w := walk{planner: p, mutation: p.op.mutation}
	for i, c := range row.claims {
		index := p.add(need{claim: c, at: n})
		if i == 0 {
			w.place = index
			// What a mutation answers is small. Answers to queries by an id can be large, and stream through.
			w.named = c.kind == claimProject && c.project != "" || c.kind == claimID && c.each == "" && p.op.mutation
			w.owned = c.kind == claimProject || c.kind == claimEntity
		}
	}
	if row.list {
		w.foreign, w.owned = true, false
		n.marks.list = shapeOf(n)
		w.beside(n)
	}
	n.marks.upserted = row.upserts
	w.fields(n, row.returns)
}

// unknownRoot plans a root field that no row names: unplaced, and every name in it is judged too,
// which does not make it placed (threat G16).
func (p *planner) unknownRoot(n *node) {
	permission := authz.UnplacedRead
	if p.op.mutation {
		permission = authz.UnplacedWrite
	}
	p.add(need{claim: claim{permission: permission, kind: claimUnplaced}, at: n, unknown: true})
	w := walk{planner: p, mutation: p.op.mutation, unplacedAlready: true}
	w.fields(n, typeUnknown)
}

// shapeOf finds where the nodes of the list n tell name and entity; nil name: they do not.
func shapeOf(n *node) *listShape {
	for _, at := range [][]string{{"name"}, {"project", "name"}, {"artifactCollection", "project", "name"}} {
		if path := keysOf(n, append([]string{"edges", "node"}, at...)); path != nil {
			return &listShape{name: path[2:], entity: entityOf(n, at[:len(at)-1])}
		}
	}
	return &listShape{}
}

func entityOf(n *node, project []string) []string {
	for _, at := range [][]string{{"entityName"}, {"entity", "name"}} {
		if path := keysOf(n, append(append([]string{"edges", "node"}, project...), at...)); path != nil {
			return path[2:]
		}
	}
	return nil
}

// keysOf returns the response keys along a path of field names; nil if it is not selected for sure.
// A field under a condition or a narrower type may be missing in the answer, and does not count.
func keysOf(n *node, names []string) []string {
	if len(names) == 0 {
		return []string{}
	}
	for _, f := range n.fields {
		if f.name != names[0] || len(f.conditions) > 0 || disputed(n, f) {
			continue
		}
		if rest := keysOf(f, names[1:]); rest != nil {
			return append([]string{f.key}, rest...)
		}
	}
	return nil
}

// disputed reports whether another field beside f answers under the same key: which of the two a
// server would answer is not certain.
func disputed(n, f *node) bool {
	for _, other := range n.fields {
		if other.key == f.key && other.name != f.name {
			return true
		}
	}
	return false
}

// walk goes down a selection. It carries the place that the fields are in.
type walk struct {
	*planner
	// place is the index+1 of the need that names the place; 0 if nothing does.
	place int
	// named: the place is told by names, or by an id of which it will be found out, so that ids below it
	// can be learned.
	named bool
	// owned: the place's entity is known.
	owned    bool
	mutation bool
	// foreign: the fields belong to something else than the place: what is below is not learned.
	foreign bool
	// unplacedAlready: the root is unplaced, so that unknown fields add nothing.
	unplacedAlready bool
	// linked: artifacts below may be linked here from another project.
	linked bool
}

// fields plans the selection of n, which is of type t.
func (w walk) fields(n *node, t objectType) {
	for _, f := range n.fields {
		w.field(n, f, t)
	}
}

// structural fields keep the type: connections and lists wrap it.
func structural(name string) bool { return name == "edges" || name == "node" || name == "nodes" }

func (w walk) field(parent, f *node, t objectType) {
	w.upload(f)
	switch {
	case structural(f.name) && len(f.args) == 0:
		w.fields(f, t)
		return
	case f.name == "__typename" || f.name == "pageInfo" || f.name == "cursor" || f.name == "totalCount":
		return
	}
	step, known := typeTable[t].fields[f.name]
	if !known {
		w.unknown(f, t)
		return
	}
	w.step(f, t, step)
}

// upload marks what belongs to an upload, and the URLs of downloads. Whoever is given an upload URL can write (sdk-wire 4.3,
// RunUploadUrls and RunFiles), whatever the operation calls itself.
func (w walk) upload(f *node) {
	switch f.name {
	case "directUrl", "parquetUrls":
		f.marks.download = true
		return
	case "uploadHeaders":
		f.marks.headers = true
	case "uploadUrl":
		f.marks.url = true
	case "url":
		if find(f.args, "upload") == nil {
			return
		}
		f.marks.url = true
	default:
		return
	}
	if w.mutation {
		return
	}
	c := claim{permission: authz.RunWrite, kind: claimInherit}
	if f.name == "url" {
		c.unlessFalse = "upload"
	}
	if w.place == 0 || w.foreign {
		c = claim{permission: authz.UnplacedWrite, kind: claimUnplaced, unlessFalse: c.unlessFalse}
	}
	w.add(need{claim: c, at: f, outer: w.place})
}

// step follows a known field.
func (w walk) step(f *node, t objectType, s step) {
	if s.learn != "" && w.named && !w.foreign && !(w.linked && s.learn == IDArtifact) {
		f.marks.learn, f.marks.place = s.learn, w.place
	}
	if w.foreignArgument(f, s) {
		w.unplaced(f)
	}
	switch s.how {
	case within:
	case away:
		w.foreign, w.owned = true, false
	case owner:
		w.owned = w.owned && !w.foreign
		w.foreign = true
	case links:
		w.linked = true
	case placed:
		if !w.owned {
			w.unplaced(f)
			break
		}
		w.place = w.add(need{claim: s.claim, at: f, outer: w.place})
		w.named, w.foreign, w.linked = true, false, false
	case crossing:
		if len(f.fields) > 0 || s.leafToo {
			w.cross(f, s)
		}
	case projects:
		w.projects(f, s)
		w.foreign, w.owned = true, false
	default:
		w.unplaced(f)
	}
	w.fields(f, s.to)
}

// cross adds the access that a known way out needs.
func (w walk) cross(f *node, s step) {
	c, redactable := s.claim, s.redactable
	if c.kind == claimInheritEntity && !w.owned {
		c, redactable = claim{permission: authz.UnplacedRead, kind: claimUnplaced}, true
	}
	if c.kind == claimUnplaced && w.unplacedAlready {
		return
	}
	index := w.add(need{claim: c, at: f, outer: w.place, crossing: true, redactable: redactable})
	if redactable {
		f.marks.redact = index
	}
	if s.people && c.kind == claimInheritEntity {
		f.marks.members = index
	}
}

// projects adds a list of projects below the root: filtered if its nodes tell their names, else
// unplaced.
func (w walk) projects(f *node, s step) {
	shape := shapeOf(f)
	if shape.name == nil || s.claim.kind == claimInheritEntity && !w.owned {
		w.unplaced(f)
		return
	}
	f.marks.list = shape
	w.beside(f)
	w.add(need{claim: s.claim, at: f, outer: w.place, crossing: true})
}

// beside judges what is selected on a list of projects itself: only its edges are filtered.
func (w walk) beside(list *node) {
	for _, f := range list.fields {
		if len(f.fields) > 0 && !structural(f.name) && f.name != "pageInfo" {
			w.unplaced(f)
		}
	}
}

// unplaced adds an access for what nobody here can place.
func (w walk) unplaced(f *node) {
	if w.unplacedAlready {
		return
	}
	w.add(need{claim: claim{permission: authz.UnplacedRead, kind: claimUnplaced}, at: f, crossing: true, unknown: true})
}

// unknown judges a field that the type's row does not name.
func (w walk) unknown(f *node, t objectType) {
	leaf := len(f.fields) == 0
	switch {
	case w.foreignArgument(f, step{}):
		w.unplaced(f)
	case leaf && !typeTable[t].openLeaves:
		// A new scalar of a type of which only some are harmless need not refuse the whole request.
		w.cross(f, emptied())
	case leaf && typeTable[t].openLeaves && !hasWord(f.name, secretWords):
	case !leaf && typeTable[t].openFields && !hasWord(f.name, wayOut):
	default:
		w.unplaced(f)
	}
	if leaf {
		return
	}
	w.fields(f, typeUnknown)
}

// foreignArgument reports whether f names something by an argument that the row does not expect:
// a nested field with its own entityName or id can read anything.
func (w walk) foreignArgument(f *node, s step) bool {
	for _, a := range f.args {
		if namesSomething(a.name) && !s.expects(a.name) {
			return true
		}
	}
	return false
}

// namesSomething reports whether an argument's name says that it names a thing.
func namesSomething(name string) bool {
	words := wordsOf(name)
	switch words[len(words)-1] {
	case "id", "ids", "ds": // IDs splits into I and Ds
		return true
	}
	return hasWord(name, argumentWords)
}

func hasWord(name string, set map[string]bool) bool {
	for _, word := range wordsOf(name) {
		if set[word] {
			return true
		}
	}
	return false
}

// wordsOf splits a camelCase or snake_case name into lower-case words: orgEntity is org, entity;
// artifactID is artifact, id.
func wordsOf(name string) []string {
	var words []string
	from := 0
	cut := func(to int) {
		if to > from {
			words = append(words, strings.ToLower(name[from:to]))
		}
		from = to
	}
	for i := 1; i < len(name); i++ {
		upper := 'A' <= name[i] && name[i] <= 'Z'
		previous := 'A' <= name[i-1] && name[i-1] <= 'Z'
		next := i+1 < len(name) && 'a' <= name[i+1] && name[i+1] <= 'z'
		switch {
		case name[i] == '_':
			cut(i)
			from = i + 1
		case upper && (!previous || next):
			cut(i)
		}
	}
	cut(len(name))
	if len(words) == 0 {
		return []string{strings.ToLower(name)}
	}
	return words
}
