package wandb

import (
	"slices"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// filled is a variable whose value was changed by filling in a name.
type filled struct {
	name string
	raw  []byte
}

// insertion is a name that is filled in at a place of the document where a literal stands, or
// nothing.
type insertion struct {
	at    *node
	path  string
	value string
}

// resolved is what a call asks for with one default entity.
type resolved struct {
	defaultEntity string
	accesses      []Access
	// places are, per need, what it is about; touched tells whether it led to an access at all, and
	// redactions are the accesses that guard fields.
	places     []Resource
	touched    []bool
	redactions []Access
	// seen holds the accesses once they are many.
	seen map[Access]struct{}
}

// Accesses returns all that the call wants to do: every root field, whatever its alias, in whatever
// fragment, and also where @include or @skip leave it out, and every way out of what the roots name
// (Access.Crossing). defaultEntity stands where a client may leave the entity out; if it is needed
// and empty, the error is of iam.KindDenied with ReasonNoDefaultEntity.
func (c *Call) Accesses(defaultEntity string) ([]Access, error) {
	if err := c.resolve(defaultEntity); err != nil {
		return nil, err
	}
	return c.resolved.accesses, nil
}

// resolve works in two steps: first it fills in the names that are missing, then it reads all names.
// A variable that was filled in may stand in several places, and each is judged with what it says then.
func (c *Call) resolve(defaultEntity string) error {
	if c.resolved != nil && c.resolved.defaultEntity == defaultEntity {
		return nil
	}
	if err := c.affordable(); err != nil {
		return err
	}
	if err := c.switched(); err != nil {
		return err
	}
	needs := c.op.plan.needs
	c.filled, c.insertions, c.resolved = nil, nil, nil
	r := &resolved{
		defaultEntity: defaultEntity,
		places:        make([]Resource, len(needs)),
		touched:       make([]bool, len(needs)),
		accesses:      make([]Access, 0, len(needs)),
	}
	for i := range needs {
		if err := c.fillIn(&needs[i], defaultEntity); err != nil {
			return err
		}
	}
	for i := range needs {
		if err := c.need(r, i); err != nil {
			return err
		}
		if err := r.few(); err != nil {
			return err
		}
	}
	c.resolved = r
	return nil
}

// claimed are the values of a claim's paths. A name that is null or empty is missing.
type claimed struct {
	entity, project, run, id string
	// has tells whether anything at all is given.
	has bool
}

// at follows a path from a field's arguments, or from an argument.
func (c *Call) at(args []member, base argument, path string) (argument, error) {
	first, rest, more := strings.Cut(path, ".")
	a := base
	var err error
	if args != nil || base.absent() {
		a = c.argument(find(args, first))
	} else if a, err = c.member(base, first); err != nil {
		return argument{}, err
	}
	for more {
		first, rest, more = strings.Cut(rest, ".")
		if a, err = c.member(a, first); err != nil {
			return argument{}, err
		}
	}
	return a, nil
}

func (c *Call) textAt(args []member, base argument, path string, number bool) (string, error) {
	if path == "" {
		return "", nil
	}
	a, err := c.at(args, base, path)
	if err != nil {
		return "", err
	}
	s, _, err := a.text(path, number)
	return s, err
}

// claimed reads what a claim's paths lead to.
func (c *Call) claimed(n *need, args []member, base argument) (v claimed, err error) {
	if v.entity, err = c.textAt(args, base, n.claim.entity, false); err != nil {
		return v, err
	}
	if v.project, err = c.textAt(args, base, n.claim.project, false); err != nil {
		return v, err
	}
	if v.run, err = c.textAt(args, base, n.claim.run, false); err != nil {
		return v, err
	}
	if v.id, err = c.textAt(args, base, n.claim.id, true); err != nil {
		return v, err
	}
	for _, in := range c.insertions {
		switch {
		case in.at.at != n.at.at || base.raw != nil || base.literal != nil:
		case in.path == n.claim.entity:
			v.entity = in.value
		case in.path == n.claim.project:
			v.project = in.value
		}
	}
	v.has = v.entity != "" || v.project != "" || v.id != ""
	return v, nil
}

// counts reports whether the claim's condition holds.
func (c *Call) counts(n *need) (bool, error) {
	if n.claim.when != "" {
		a, err := c.at(n.at.args, argument{}, n.claim.when)
		return err == nil && !a.null(), err
	}
	if n.claim.beyond != nil {
		a, err := c.at(n.at.args, argument{}, "input")
		return err == nil && c.givesMore(a, n.claim.beyond), err
	}
	if n.claim.unlessFalse != "" {
		a, err := c.at(n.at.args, argument{}, n.claim.unlessFalse)
		return err == nil && !a.isFalse(), err
	}
	return true, nil
}

// givesMore reports whether an input object has a member, not null, that is none of the names.
func (c *Call) givesMore(a argument, names []string) bool {
	if a.literal != nil {
		return slices.ContainsFunc(a.literal.members, func(m member) bool {
			return !slices.Contains(names, m.name) && !c.argument(m.value).null()
		})
	}
	more := false
	eachMember(a.raw, 0, func(name, value span) bool {
		given := argument{raw: value.of(a.raw)}
		more = !given.null() && !slices.Contains(names, unquote(name.of(a.raw)))
		return !more
	})
	return more
}

// fillIn fills in the entity and project that the claim of n leaves out.
func (c *Call) fillIn(n *need, defaultEntity string) error {
	k := n.claim
	if k.kind != claimProject && k.kind != claimEntity || k.entity == "" || k.each != "" || k.json != "" {
		return nil
	}
	if ok, err := c.counts(n); !ok {
		return err
	}
	v, err := c.claimed(n, n.at.args, argument{})
	if err != nil {
		return err
	}
	entity, project := defaultEntity, k.fallback
	switch {
	case k.optional && !v.has, v.id != "" && v.entity == "" && v.project == "":
		return nil
	case v.id != "" && k.idType == idRun:
		// What the names leave out is what the id says.
		if e, p, _, err := ParseRunID(v.id); err == nil {
			entity, project = e, p
		}
	}
	if v.entity == "" {
		if entity == "" {
			return &iam.Error{Kind: iam.KindDenied, Reason: ReasonNoDefaultEntity,
				Message: "the request names no entity and you have no default one: set WANDB_ENTITY, or pass entity=..., to a team you are in"}
		}
		if err := c.fill(n.at, k.entity, entity); err != nil {
			return err
		}
	}
	if v.project == "" && k.project != "" && project != "" && v.id == "" || v.project == "" && v.id != "" && k.idType == idRun && project != "" {
		return c.fill(n.at, k.project, project)
	}
	return nil
}

// fill puts a name where path leads: into the variable that stands there, or else into the document.
func (c *Call) fill(at *node, path, name string) error {
	first, rest, more := strings.Cut(path, ".")
	v := find(at.args, first)
	for more && v != nil && v.kind == objectValue {
		first, rest, more = strings.Cut(rest, ".")
		v = find(v.members, first)
	}
	if v == nil || v.kind != variableValue {
		c.insertions = append(c.insertions, insertion{at: at, path: path, value: name})
		return nil
	}
	raw := quoteJSON(nil, name)
	if more {
		old, ok := c.variable(v.text)
		if !ok || old[0] != '{' {
			return wrongArgument(path, "must be given")
		}
		if raw, ok = setMember(old, rest, raw); !ok {
			return wrongArgument(path, "must be given")
		}
	} else if old, ok := c.variable(v.text); ok && old[0] == '"' && len(old) > 2 && string(old) != string(raw) {
		return wrongArgument(path, "shares a variable with another name")
	}
	for i := range c.filled {
		if c.filled[i].name == v.text {
			c.filled[i].raw = raw
			return nil
		}
	}
	c.filled = append(c.filled, filled{name: v.text, raw: raw})
	return nil
}

// setMember returns the object raw with a member set to value.
func setMember(raw []byte, path string, value []byte) ([]byte, bool) {
	name, rest, more := strings.Cut(path, ".")
	old, ok := memberOf(raw, name)
	if more {
		if !ok {
			return nil, false
		}
		if value, ok = setMember(old, rest, value); !ok {
			return nil, false
		}
	}
	out := make([]byte, 0, len(raw)+len(value)+len(name)+4)
	out = append(out, '{')
	complete := eachMember(raw, 0, func(key, v span) bool {
		if n := key.of(raw); unquote(n) != name {
			out = append(append(append(out, '"'), n...), '"', ':')
			out = append(append(out, v.of(raw)...), ',')
		}
		return true
	})
	out = append(append(quoteJSON(out, name), ':'), value...)
	return append(out, '}'), complete
}

// need adds the accesses of one need to r.
func (c *Call) need(r *resolved, i int) error {
	n := &c.op.plan.needs[i]
	if ok, err := c.counts(n); !ok {
		return err
	}
	before := len(r.accesses)
	template := Access{Permission: n.claim.permission, Filtered: n.claim.filtered, Crossing: n.crossing, Redactable: n.redactable}
	if err := c.wish(n, n.claim.access, &template); err != nil {
		return err
	}
	if n.claim.administered {
		if err := c.administers(n, &template); err != nil {
			return err
		}
	}
	switch n.claim.kind {
	case claimProject, claimID:
		if err := c.things(r, i, n, template); err != nil {
			return err
		}
	case claimEntity:
		v, err := c.claimed(n, n.at.args, argument{})
		if err != nil {
			return err
		}
		if n.at.marks.list != nil && n.at.marks.list.name == nil && n.claim.filtered {
			return unfilterable(n.at)
		}
		template.Resource = Resource{Kind: ResourceEntity, Entity: v.entity}
		c.emit(r, i, template)
	case claimOrganization:
		name, err := c.textAt(n.at.args, argument{}, n.claim.organization, false)
		if err != nil {
			return err
		}
		template.Resource = Resource{Kind: ResourceOrganization, Organization: name}
		if n.outer > 0 && n.claim.organization == "" {
			template.Resource.Organization = r.places[n.outer-1].Organization
		}
		c.emit(r, i, template)
	case claimSelf:
		template.Resource.Kind = ResourceSelf
		c.emit(r, i, template)
	case claimServer:
		template.Resource.Kind = ResourceServer
		c.emit(r, i, template)
	case claimInherit:
		template.Resource = r.places[n.outer-1]
		if template.Resource.Kind != ResourceProject && template.Resource.Kind != ResourceID {
			template = Access{Permission: authz.UnplacedWrite, Crossing: n.crossing}
		}
		c.emit(r, i, template)
	case claimInheritEntity:
		template.Resource = Resource{Kind: ResourceEntity, Entity: r.places[n.outer-1].Entity}
		if template.Resource.Entity == "" {
			template.Permission, template.Resource = authz.UnplacedRead, Resource{}
		}
		c.emit(r, i, template)
	default:
		c.emit(r, i, template)
	}
	if n.unknown {
		c.guesses(r, i, n)
	}
	if n.outer == 0 && len(r.accesses) == before && c.lastClaim(i) && !c.answered(r, n.at) {
		// Nothing in the arguments tells what the root would touch.
		c.emit(r, i, Access{Permission: unplacedPermission(c.op.mutation)})
	}
	return nil
}

// wish reads which visibility the project is to have. It must be a string, as everywhere: what one server takes for a
// word and another does not is not recorded as what was judged.
func (c *Call) wish(n *need, path string, a *Access) error {
	if path == "" {
		return nil
	}
	value, err := c.at(n.at.args, argument{}, path)
	if err != nil {
		return err
	}
	word, given, err := value.text(path, false)
	a.Visibility, a.SetsVisibility = iam.VisibilityFromAccess(word), given
	return err
}

// administers changes an access to what administration alone needs, if the request sets visibility or owner and
// nothing else, and reads nothing of the project but what it is called: admins who are not in a project administer
// it all the same, and see nothing of what is in it (design section 6).
func (c *Call) administers(n *need, a *Access) error {
	in, err := c.at(n.at.args, argument{}, "input")
	if err != nil {
		return err
	}
	if c.givesMore(in, []string{"entityName", "name", "id", "access", "owner"}) || !onlyNames(n.at.fields) {
		return nil
	}
	switch {
	case c.gives(in, "access"):
		a.Permission = authz.ProjectSetVisibility
		return c.wish(n, "input.access", a)
	case c.gives(in, "owner"):
		a.Permission = authz.ProjectManageMembers
	}
	return nil
}

// gives reports whether an input object has a member that is not null.
func (c *Call) gives(a argument, name string) bool {
	m, err := c.member(a, name)
	return err == nil && !m.null()
}

// onlyNames reports whether what upsertModel answers is asked for nothing but names and visibility.
func onlyNames(payload []*node) bool {
	for _, f := range payload {
		switch f.name {
		case "__typename", "inserted", "clientMutationId":
		case "project", "model":
			for _, g := range f.fields {
				switch g.name {
				case "__typename", "id", "internalId", "name", "entityName", "access":
				default:
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

func unplacedPermission(mutation bool) authz.Permission {
	if mutation {
		return authz.UnplacedWrite
	}
	return authz.UnplacedRead
}

// lastClaim reports whether no further need starts at the same field.
func (c *Call) lastClaim(i int) bool {
	needs := c.op.plan.needs
	return i+1 == len(needs) || needs[i+1].at != needs[i].at
}

// answered reports whether a need of the root field n has led to an access.
func (c *Call) answered(r *resolved, n *node) bool {
	for i := range c.op.plan.needs {
		if c.op.plan.needs[i].at == n && r.touched[i] {
			return true
		}
	}
	return false
}

func unfilterable(n *node) error {
	return &iam.Error{Kind: iam.KindDenied, Reason: ReasonUnfilterableList,
		Message: "the list " + untrusted.Quote(n.key) + " can only be shown without the projects that you may not see, " +
			"and for that it must select edges { node { name } }"}
}

// things adds the accesses of a claim on projects or ids.
func (c *Call) things(r *resolved, i int, n *need, template Access) error {
	k := n.claim
	switch {
	case k.json != "":
		text, err := c.textAt(n.at.args, argument{}, k.json, false)
		if err != nil || text == "" {
			return err
		}
		if err := scanJSON([]byte(text), c.limits.depth); err != nil {
			return wrongArgument(k.json, "holds no JSON that can be read for sure")
		}
		if hasVariant([]byte(text), k.entity, k.project) {
			return wrongArgument(k.json, "holds a name in another case than it is read in")
		}
		return c.thing(r, i, n, nil, argument{raw: []byte(strings.TrimSpace(text))}, template)
	case k.each != "":
		list, err := c.at(n.at.args, argument{}, k.each)
		if err != nil {
			return err
		}
		return c.items(list, func(item argument) error {
			if item.null() {
				return wrongArgument(k.each, "holds null")
			}
			if err := r.few(); err != nil {
				return err
			}
			return c.thing(r, i, n, nil, item, template)
		})
	default:
		return c.thing(r, i, n, n.at.args, argument{}, template)
	}
}

// hasVariant reports whether the object raw has a member that a server which ignores case would take
// for one of names.
func hasVariant(raw []byte, names ...string) (found bool) {
	eachMember(raw, 0, func(key, _ span) bool {
		text := unquote(key.of(raw))
		for _, name := range names {
			found = found || text != name && foldFully(text) == foldFully(name)
		}
		return !found
	})
	return found
}

// thing adds the accesses of one claim, read from args or from base.
func (c *Call) thing(r *resolved, i int, n *need, args []member, base argument, template Access) error {
	k := n.claim
	v, err := c.claimed(n, args, base)
	if err != nil {
		return err
	}
	if k.each != "" && k.id == "" && k.kind == claimID {
		if v.id, _, err = base.text(k.each, true); err != nil {
			return err
		}
		v.has = v.id != ""
	}
	if k.optional && !v.has {
		return nil
	}
	if n.outer > 0 && k.entity == "" && k.kind == claimProject {
		v.entity = r.places[n.outer-1].Entity
	}
	if v.id != "" {
		if k.idType, err = c.sortOf(k, args, base); err != nil {
			return err
		}
		named, err := c.byID(r, i, k, v, template)
		if err != nil || !named {
			return err
		}
	}
	if k.kind == claimID {
		if v.id == "" {
			return wrongArgument(k.each+k.id, "must be given")
		}
		return nil
	}
	if v.entity == "" || v.project == "" {
		return wrongArgument(k.project, "must be given, with the entity that it belongs to")
	}
	template.Creates = k.creates
	template.Resource = Resource{Kind: ResourceProject, Entity: v.entity, Project: v.project, Run: v.run}
	if v.run == "" && !c.op.mutation {
		template.Resource.Run = c.onlyRun(n.at)
	}
	c.emit(r, i, template)
	return nil
}

// sortOf returns what the id of a claim names. A word that is none of the known leaves it open.
func (c *Call) sortOf(k claim, args []member, base argument) (IDType, error) {
	if k.sort == "" {
		return k.idType, nil
	}
	a, err := c.at(args, base, k.sort)
	if err != nil {
		return k.idType, err
	}
	word := ""
	if a.literal != nil && a.literal.kind == enumValue {
		word = a.literal.text
	} else if word, _, err = a.text(k.sort, false); err != nil {
		return k.idType, err
	}
	if sort, ok := scopeSorts[word]; ok {
		return sort, nil
	}
	return k.idType, nil
}

// byID adds the access of an id; named is true if names are given beside it and must be judged too.
func (c *Call) byID(r *resolved, i int, k claim, v claimed, template Access) (named bool, err error) {
	named = v.entity != "" && v.project != ""
	if k.idType == idRun {
		entity, project, run, err := ParseRunID(v.id)
		if err == nil {
			return named, c.runID(r, i, v, template, entity, project, run)
		}
	}
	idType := k.idType
	if idType == idRun {
		idType = IDOther
	}
	if entity, project, run, err := ParseRunID(v.id); err == nil {
		// The id of a run where another is due: judged as what it says, and as what it is taken for.
		run := Access{Permission: template.Permission, Crossing: template.Crossing,
			Visibility: template.Visibility, SetsVisibility: template.SetsVisibility,
			Resource: Resource{Kind: ResourceProject, Entity: entity, Project: project, Run: run}}
		c.emit(r, i, run)
	}
	template.Resource = Resource{Kind: ResourceID, ID: v.id, IDType: idType, Entity: v.entity, Project: v.project}
	if k.kind == claimID {
		template.Resource.Entity, template.Resource.Project = "", ""
	}
	c.emit(r, i, template)
	return named, nil
}

// runID judges the id of a run that was decoded; names beside it must agree.
func (c *Call) runID(r *resolved, i int, v claimed, template Access, entity, project, run string) error {
	agree := func(name, decoded string) bool { return name == "" || iam.FoldName(name) == iam.FoldName(decoded) }
	if !agree(v.entity, entity) || !agree(v.project, project) || v.run != "" && v.run != run {
		return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonIDMismatch,
			Message: "the id in the request is of a run in another place than the names in it say"}
	}
	template.Resource = Resource{Kind: ResourceProject, Entity: entity, Project: project, Run: run}
	c.emit(r, i, template)
	return nil
}

// onlyRun returns the name of the run that a query of a project reads, "" if it reads several or
// more than runs.
func (c *Call) onlyRun(n *node) (name string) {
	for _, f := range n.fields {
		if f.name != "run" && f.name != "bucket" {
			if len(f.fields) > 0 {
				return ""
			}
			continue
		}
		s, _, err := c.argument(find(f.args, "name")).text("name", false)
		if err != nil || name != "" && name != s {
			return ""
		}
		name = s
	}
	return name
}

// fewAccesses is up to how many accesses comparing with each one is cheaper than a map.
const fewAccesses = 32

// emit adds an access once.
func (c *Call) emit(r *resolved, i int, a Access) {
	if at := &r.places[i]; !r.touched[i] || at.Kind == ResourceID && a.Resource.Kind == ResourceProject {
		*at, r.touched[i] = a.Resource, true // names say more than the id beside them, which must agree
	}
	if a.Redactable {
		if r.redactions == nil {
			r.redactions = make([]Access, len(r.places))
		}
		r.redactions[i] = a
	}
	if len(r.accesses) <= fewAccesses {
		for j := range r.accesses {
			if r.accesses[j] == a {
				return
			}
		}
	} else {
		if r.seen == nil {
			r.seen = make(map[Access]struct{}, 2*len(r.accesses))
			for j := range r.accesses {
				r.seen[r.accesses[j]] = struct{}{}
			}
		}
		if _, ok := r.seen[a]; ok {
			return
		}
		r.seen[a] = struct{}{}
	}
	r.accesses = append(r.accesses, a)
}

// guesses judges the names that stand in the arguments of a field that nobody here knows: that the
// field is unplaced does not let anybody name what is closed to them.
func (c *Call) guesses(r *resolved, i int, n *need) {
	g := guess{call: c, resolved: r, index: i, write: c.op.mutation, crossing: n.crossing}
	g.object(func(name string) argument { return c.argument(find(n.at.args, name)) })
	for j := range n.at.args {
		g.value(c.argument(n.at.args[j].value), 0)
	}
}

type guess struct {
	call     *Call
	resolved *resolved
	index    int
	write    bool
	crossing bool
	found    int
}

// value looks into objects and lists, and at ids.
func (g *guess) value(a argument, depth int) {
	const mostFound, deepest = 64, 8
	if a.null() || depth > deepest || g.found > mostFound {
		return
	}
	if s, ok, err := a.text("", false); err == nil && ok {
		if entity, project, run, err := ParseRunID(s); err == nil {
			g.add(Resource{Kind: ResourceProject, Entity: entity, Project: project, Run: run})
		}
		return
	}
	switch {
	case a.literal != nil && a.literal.kind == objectValue:
		g.object(func(name string) argument { return g.call.argument(find(a.literal.members, name)) })
		for i := range a.literal.members {
			g.value(g.call.argument(a.literal.members[i].value), depth+1)
		}
	case a.raw != nil && a.raw[0] == '{':
		g.object(func(name string) argument {
			raw, _ := memberOf(a.raw, name)
			return argument{raw: raw}
		})
		eachMember(a.raw, 0, func(_, v span) bool {
			g.value(argument{raw: v.of(a.raw)}, depth+1)
			return true
		})
	default:
		if a.literal != nil && a.literal.kind == listValue || a.raw != nil && a.raw[0] == '[' {
			_ = g.call.items(a, func(item argument) error { g.value(item, depth+1); return nil })
		}
	}
}

// object looks for the members that name a project or an entity everywhere else.
func (g *guess) object(get func(string) argument) {
	first := func(names ...string) string {
		for _, name := range names {
			if s, ok, err := get(name).text(name, false); err == nil && ok && s != "" {
				return s
			}
		}
		return ""
	}
	entity := first("entityName", "entity", "teamName")
	project := first("projectName", "modelName", "project", "model")
	switch {
	case entity == "":
	case project != "":
		g.add(Resource{Kind: ResourceProject, Entity: entity, Project: project})
	default:
		g.add(Resource{Kind: ResourceEntity, Entity: entity})
	}
}

func (g *guess) add(resource Resource) {
	g.found++
	a := Access{Permission: authz.ProjectRead, Resource: resource, Crossing: g.crossing}
	switch {
	case resource.Kind == ResourceEntity && g.write:
		a.Permission = authz.EntityWrite
	case resource.Kind == ResourceEntity:
		a.Permission = authz.EntityRead
	case g.write:
		a.Permission = authz.RunWrite
	}
	g.call.emit(g.resolved, g.index, a)
}

// quoteJSON appends s as a JSON string.
func quoteJSON(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < 0x20:
			const hex = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
