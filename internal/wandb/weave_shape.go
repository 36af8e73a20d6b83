package wandb

import "bytes"

// shape is the part of a JSON body that is judged. What no shape describes is the caller's own data:
// there only references count.
type shape struct {
	kind shapeKind
	// element is the shape of a list's elements.
	element *shape
	// members are those of an object.
	members []shapeMember
	// either says that one of the members suffices, else all but the optional ones are needed.
	either bool
}

type shapeKind uint8

const (
	shapeText         shapeKind = iota // any text
	shapeObject                        // an object
	shapeList                          // an array
	shapeAnchorID                      // "entity/project", for the whole request
	shapeElementID                     // "entity/project", for an element of a batch
	shapeListedID                      // "entity/project", asked for beside others
	shapeRunID                         // "entity/project/run"
	shapeTargetEntity                  // the entity of a project that is written to beside what is read
	shapeTargetName                    // and that project's name
)

type shapeMember struct {
	name     string
	shape    *shape
	optional bool
}

// The shapes of the bodies in weaveEndpoints.
var (
	bodyProject = objectOf(needsMember(memberProjectID, anchorShape))
	bodyPath    = objectOf(mayHaveMember(memberProjectID, anchorShape))

	bodyFiltered = objectOf(needsMember(memberProjectID, anchorShape),
		mayHaveMember("filter", objectOf(mayHaveMember("wb_run_ids", listOf(runShape)))))

	bodyStart    = wrapped("start", objectOf(needsMember(memberProjectID, anchorShape), mayHaveMember("wb_run_id", runShape)))
	bodyEnd      = wrapped("end", objectOf(needsMember(memberProjectID, anchorShape)))
	bodyObject   = wrapped("obj", bodyProject)
	bodyTable    = wrapped("table", bodyProject)
	bodyOpObject = &shape{kind: shapeObject, either: true,
		members: []shapeMember{needsMember("op_obj", bodyProject), needsMember(memberProjectID, anchorShape)}}

	bodyBatch     = wrapped("batch", listOf(callShape))
	bodyCallBatch = wrapped("batch", listOf(objectOf(needsMember("req", &shape{kind: shapeObject, either: true,
		members: []shapeMember{needsMember("start", callShape), needsMember("end", callShape)}}))))

	bodyRefs     = objectOf(needsMember("refs", listOf(textShape)), mayHaveMember(memberProjectID, anchorShape))
	bodyProjects = objectOf(needsMember("project_ids", listOf(&shape{kind: shapeListedID})))
	bodyTarget   = objectOf(needsMember("ref", textShape), needsMember("target", objectOf(
		needsMember("entity_name", &shape{kind: shapeTargetEntity}), needsMember("project_name", &shape{kind: shapeTargetName}))))
)

var (
	textShape   = &shape{kind: shapeText}
	anchorShape = &shape{kind: shapeAnchorID}
	runShape    = &shape{kind: shapeRunID}
	callShape   = objectOf(needsMember(memberProjectID, &shape{kind: shapeElementID}), mayHaveMember("wb_run_id", runShape))
)

func needsMember(name string, s *shape) shapeMember   { return shapeMember{name, s, false} }
func mayHaveMember(name string, s *shape) shapeMember { return shapeMember{name, s, true} }
func listOf(element *shape) *shape                    { return &shape{kind: shapeList, element: element} }

func objectOf(members ...shapeMember) *shape { return &shape{kind: shapeObject, members: members} }

// wrapped is an object with one member that holds the project; a project_id beside it is ignored by
// the server, but must not say something else.
func wrapped(name string, s *shape) *shape {
	return objectOf(needsMember(name, s), mayHaveMember(memberProjectID, anchorShape))
}

// member finds the member of that name: -1 if the shape has none. A name that differs from one of
// them only in case is refused, because some server might take it for that.
func (s *shape) member(name []byte) (int, error) {
	for i := range s.members {
		if string(name) == s.members[i].name {
			return i, nil
		}
	}
	for i := range s.members {
		if bytes.EqualFold(name, []byte(s.members[i].name)) {
			return -1, weaveInvalid(ReasonDuplicateMember, "the member %q must be spelled %q", name, s.members[i].name)
		}
	}
	return -1, nil
}

// complete reports what is missing when the members in seen were there.
func (s *shape) complete(seen uint64) error {
	if s == nil || s.either && seen != 0 {
		return nil
	}
	for i, m := range s.members {
		if !m.optional && seen&(1<<i) == 0 {
			return m.missing()
		}
	}
	return nil
}

func (m shapeMember) missing() error {
	if m.name == memberProjectID {
		return missingProject()
	}
	return weaveInvalid(ReasonMissingProject, "the body has no member %q, in which the project stands", m.name)
}

// mismatch is the error for a value that has another type.
func (s *shape) mismatch() error {
	switch s.kind {
	case shapeObject:
		return weaveInvalid(ReasonMalformedProject, "an object is missing where the project stands")
	case shapeList:
		return weaveInvalid(ReasonMalformedProject, "an array is missing where the project stands")
	case shapeAnchorID, shapeElementID, shapeListedID, shapeTargetEntity, shapeTargetName:
		return missingProject()
	case shapeText, shapeRunID:
		return weaveInvalid(ReasonMalformedReference, "a text is missing where a reference stands")
	default:
		return weaveInvalid(ReasonMalformedJSON, "the body has another form than expected")
	}
}
