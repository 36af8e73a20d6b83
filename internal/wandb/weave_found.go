package wandb

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// memberProjectID is how Weave names a project everywhere: the text "entity/project".
const memberProjectID = "project_id"

// weaveProject is a project that a request names.
type weaveProject struct{ entity, name string }

// weaveFound collects the projects that a request names while it is read.
type weaveFound struct {
	// anchors speak for the whole request and must agree; elements are those of a batch, which must
	// agree with the anchor if there is one.
	anchors, elements []weaveProject
	// listed are projects that are asked for one beside the other, references those that are read
	// on the way.
	listed, references []weaveProject
	// target is written to beside what is read; empty if there is none.
	target weaveProject
}

func (f *weaveFound) anchor(p weaveProject)  { f.anchors = append(f.anchors, p) }
func (f *weaveFound) element(p weaveProject) { f.elements = insert(f.elements, p) }
func (f *weaveFound) list(p weaveProject)    { f.listed = insert(f.listed, p) }
func (f *weaveFound) refer(p weaveProject)   { f.references = insert(f.references, p) }

// knows reports whether p was collected before, and so is valid: the same few projects are named
// over and over.
func (f *weaveFound) knows(p weaveProject) bool {
	return slices.Contains(f.elements, p) || slices.Contains(f.references, p)
}

// insert keeps what is bounded by maxWeaveAccesses free of repetitions. One more than the bound is
// kept, so that accesses can tell.
func insert(projects []weaveProject, p weaveProject) []weaveProject {
	if len(projects) > maxWeaveAccesses || slices.Contains(projects, p) {
		return projects
	}
	return append(projects, p)
}

// accesses turns what was found into what the endpoint does there.
func (f *weaveFound) accesses(row *weaveEndpoint) ([]Access, error) {
	if row.place == weaveServer {
		return []Access{{Permission: row.permission, Product: authz.Weave, Resource: Resource{Kind: ResourceServer}}}, nil
	}
	placed := slices.Concat(f.anchors, f.elements)
	if len(f.anchors) > 0 {
		for _, p := range placed {
			if p != f.anchors[0] {
				return nil, weaveInvalid(ReasonConflictingProjects,
					"the request names two projects where it must name one: %s and %s", f.anchors[0], p)
			}
		}
	}
	placed = append(placed, f.listed...)
	if f.target != (weaveProject{}) {
		if !f.target.valid() {
			return nil, weaveInvalid(ReasonMalformedProject, "the target names no project")
		}
		placed = append(placed, f.target)
	}
	if len(placed) == 0 && row.body != bodyRefs && row.body != bodyProjects {
		return nil, missingProject()
	}
	var list []Access
	for _, p := range placed {
		list = p.appendAccess(list, row.permission)
		if row.also != "" {
			list = p.appendAccess(list, row.also)
		}
	}
	for _, p := range f.references {
		list = p.appendAccess(list, authz.ProjectRead)
	}
	if len(list) > maxWeaveAccesses {
		return nil, weaveInvalid(ReasonTooManyProjects,
			"the request touches more than %d projects; split it", maxWeaveAccesses)
	}
	if len(list) == 0 {
		// An empty list of references or projects reads nothing.
		list = append(list, Access{Permission: authz.ServerRead, Product: authz.Weave, Resource: Resource{Kind: ResourceServer}})
	}
	return list, nil
}

// unknownEndpoint is what a request to an endpoint outside the table wants: nobody can tell, but if
// its path names a project, the caller must at least be able to read that.
func (f *weaveFound) unknownEndpoint(method string) []Access {
	unplaced := Access{Permission: authz.UnplacedWrite, Product: authz.Weave}
	if method == "GET" || method == "HEAD" {
		unplaced.Permission = authz.UnplacedRead
	}
	list := []Access{unplaced}
	for _, p := range f.anchors {
		list = p.appendAccess(list, authz.ProjectRead)
	}
	return list
}

// appendAccess adds an access to the project, unless it is there.
func (p weaveProject) appendAccess(list []Access, permission authz.Permission) []Access {
	a := Access{Permission: permission, Product: authz.Weave,
		Resource: Resource{Kind: ResourceProject, Entity: p.entity, Project: p.name}}
	switch permission {
	case authz.UnplacedRead, authz.UnplacedWrite:
		a.Resource = Resource{Kind: ResourceUnplaced, Entity: p.entity, Project: p.name}
	}
	if slices.Contains(list, a) {
		return list
	}
	return append(list, a)
}

func (p weaveProject) String() string { return p.entity + "/" + p.name }

func malformedProjectID() error {
	return weaveInvalid(ReasonMalformedProject,
		"a project_id must read entity/project, with the names of an existing team or user and project")
}

// pathProject reads the two segments behind /v2/.
func pathProject(entity, name string) (weaveProject, error) {
	entity, err := canonicalSegment(entity)
	if err != nil {
		return weaveProject{}, err
	}
	name, err = canonicalSegment(name)
	if err != nil {
		return weaveProject{}, err
	}
	p := weaveProject{entity, name}
	if !p.valid() {
		return weaveProject{}, weaveInvalid(ReasonMalformedProject, "the path must read /v2/entity/project/...")
	}
	return p, nil
}

// valid reports whether the names can be those of a project. Names that a lenient server could take
// for others are not: spaces around them and look-alikes of separators.
func (p weaveProject) valid() bool {
	return iam.ValidName(p.entity) && iam.ValidProjectName(p.name) && utf8.ValidString(p.name) &&
		strings.TrimSpace(p.name) == p.name && !strings.ContainsAny(p.name, lookAlikes) &&
		!strings.ContainsRune(p.name, utf8.RuneError)
}

// The schemes of references. The server follows the first, and stores it as the second, which
// nobody outside may send; the third names an artifact.
const (
	refScheme         = "weave:///"
	refInternalScheme = "weave-trace-internal:///"
	refArtifactScheme = "wandb-artifact:///"
)

// maxRefPrefix is how much of a string, as it came, tells which project it refers to: the longest
// scheme and two names of 128 characters, all of them escaped.
const maxRefPrefix = (len(refInternalScheme) + 2*128 + 2) * len(`\ud83d\ude00`)

// text takes a string of a JSON body. raw is what stands between its quotes; s is nil for the
// caller's own data.
func (f *weaveFound) text(raw []byte, s *shape) error {
	if s == nil || s.kind == shapeText {
		if !mayRefer(raw) {
			return nil
		}
		return f.reference(unquote(raw[:min(len(raw), maxRefPrefix)]))
	}
	if len(raw) > maxRefPrefix {
		return weaveInvalid(ReasonMalformedProject, "the name of a project is too long")
	}
	name := unquote(raw)
	switch s.kind {
	case shapeAnchorID, shapeElementID, shapeListedID:
		return f.projectID(name, s.kind)
	case shapeRunID:
		return f.runReference(name)
	case shapeTargetEntity:
		f.target.entity = name
		return nil
	case shapeTargetName:
		f.target.name = name
		return nil
	default:
		return s.mismatch()
	}
}

// mayRefer tells most texts from references without decoding them.
func mayRefer(raw []byte) bool {
	head := raw[:min(len(raw), len("weave"))]
	return string(head) == "weave" || string(head) == "wandb" || bytes.IndexByte(head, '\\') >= 0
}

// projectID collects the project that id names as "entity/project", for what kind says.
func (f *weaveFound) projectID(id string, kind shapeKind) error {
	entity, name, _ := strings.Cut(id, "/")
	p := weaveProject{entity, name}
	if !f.knows(p) && !p.valid() {
		return malformedProjectID()
	}
	switch kind {
	case shapeElementID:
		f.element(p)
	case shapeListedID:
		f.list(p)
	default:
		f.anchor(p)
	}
	return nil
}

// reference collects the project that s refers to. What does not start as a reference is text.
func (f *weaveFound) reference(s string) error {
	if len(s) == 0 || s[0] != 'w' {
		return nil
	}
	if strings.HasPrefix(s, refInternalScheme) {
		return weaveInvalid(ReasonMalformedReference, "references must start with %s", refScheme)
	}
	rest, ok := strings.CutPrefix(s, refScheme)
	if !ok {
		return f.artifactReference(s)
	}
	entity, rest, _ := strings.Cut(rest, "/")
	name, _, ok := strings.Cut(rest, "/")
	p := weaveProject{entity, name}
	if !ok || !f.knows(p) && !p.valid() {
		return weaveInvalid(ReasonMalformedReference,
			"a text that starts with %s must be a reference: %sentity/project/...", refScheme, refScheme)
	}
	f.refer(p)
	return nil
}

// artifactReference collects the project of wandb-artifact:///entity/project/name. The server does
// not follow what has fewer segments: it is text.
func (f *weaveFound) artifactReference(s string) error {
	rest, ok := strings.CutPrefix(s, refArtifactScheme)
	if !ok {
		return nil
	}
	entity, rest, _ := strings.Cut(rest, "/")
	name, _, ok := strings.Cut(rest, "/")
	if !ok {
		return nil
	}
	p := weaveProject{entity, name}
	if !p.valid() {
		return weaveInvalid(ReasonMalformedReference,
			"a text that starts with %s must be a reference: %sentity/project/...", refArtifactScheme, refArtifactScheme)
	}
	f.refer(p)
	return nil
}

// runReference collects the project of a run id in Weave's form: entity/project/run.
func (f *weaveFound) runReference(id string) error {
	entity, rest, _ := strings.Cut(id, "/")
	name, run, _ := strings.Cut(rest, "/")
	p := weaveProject{entity, name}
	if !p.valid() || !iam.ValidProjectName(run) {
		return weaveInvalid(ReasonMalformedReference, "a wb_run_id must read entity/project/run")
	}
	f.refer(p)
	return nil
}

func missingProject() error {
	return weaveInvalid(ReasonMissingProject, "the request names no project; set project_id to entity/project")
}

func weaveInvalid(reason iam.Reason, format string, args ...any) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: reason, Message: fmt.Sprintf(format, args...)}
}

func weaveTooLarge() error {
	return &iam.Error{Kind: iam.KindTooLarge, Reason: ReasonBodyTooLarge,
		Message: fmt.Sprintf("the body is larger than %d MiB; send it in smaller batches", MaxWeaveBodyBytes>>20)}
}
