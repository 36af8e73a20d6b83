package wandb

import "github.com/wandb-gateway/wandb-gateway/internal/iam"

// maxWeaveDepth bounds the nesting of a body. Python's own encoder and decoder give up near 1000.
const maxWeaveDepth = 512

// maxWeaveNames bounds the members of all objects that are open at once, and so the memory that
// telling them apart takes: less than the largest body.
const maxWeaveNames = 1 << 18

// readJSON reads a body once, from front to back, and collects the projects and references in it.
// It is as strict as scanner, but for members whose names differ only in case: they are refused
// where they decide, and are the caller's own data elsewhere (a Python function may well have
// arguments x and X).
func (f *weaveFound) readJSON(body []byte, s *shape) error {
	r := weaveReader{scanner: scanner{data: body, maxDepth: maxWeaveDepth}, found: f}
	r.space()
	if err := r.shaped(s); err != nil {
		return err
	}
	return r.end()
}

// weaveReader reads one body.
type weaveReader struct {
	scanner
	found *weaveFound
}

// shaped reads the value at pos. If s is not nil the value must have that shape.
func (r *weaveReader) shaped(s *shape) error {
	switch r.peek() {
	case '{':
		return r.shapedObject(s)
	case '[':
		return r.shapedArray(s)
	case '"':
		from := r.pos + 1
		if _, err := r.str(); err != nil {
			return err
		}
		return r.found.text(r.data[from:r.pos-1], s)
	}
	if err := r.value(); err != nil {
		return err
	}
	if s != nil {
		return s.mismatch()
	}
	return nil
}

func (r *weaveReader) shapedArray(s *shape) error {
	var element *shape
	if s != nil {
		if s.kind != shapeList {
			return s.mismatch()
		}
		element = s.element
	}
	if err := r.open(); err != nil {
		return err
	}
	if r.peek() == ']' {
		return r.close(']')
	}
	for {
		if err := r.shaped(element); err != nil {
			return err
		}
		if !r.comma() {
			return r.close(']')
		}
	}
}

func (r *weaveReader) shapedObject(s *shape) error {
	if s != nil && s.kind != shapeObject {
		return s.mismatch()
	}
	if err := r.open(); err != nil {
		return err
	}
	base := len(r.names)
	var seen uint64 // bit i: s.members[i] was there
	for more := r.peek() != '}'; more; more = r.comma() {
		i, err := r.shapedName(s)
		if err != nil {
			return err
		}
		var member *shape
		if i >= 0 {
			seen |= 1 << i
			member = s.members[i].shape
			if s.members[i].optional && r.peek() == 'n' { // null
				member = nil
			}
		}
		if err := r.shaped(member); err != nil {
			return err
		}
	}
	if err := r.close('}'); err != nil {
		return err
	}
	if err := r.distinct(r.names[base:]); err != nil {
		return err
	}
	r.names = r.names[:base]
	return s.complete(seen)
}

// shapedName reads a member's name and the colon behind it, and returns which member of s it is.
func (r *weaveReader) shapedName(s *shape) (int, error) {
	name, err := r.name()
	if err != nil {
		return -1, err
	}
	if r.names = append(r.names, name); len(r.names) > maxWeaveNames {
		return -1, &iam.Error{Kind: iam.KindTooLarge, Reason: ReasonBodyTooLarge,
			Message: "an object in the body has too many members; send a list, or split it"}
	}
	r.space()
	if r.peek() != ':' {
		return -1, r.malformed("a colon is missing")
	}
	r.pos++
	r.space()
	if s == nil {
		return -1, nil
	}
	if name.plain {
		return s.member(name.span.of(r.data))
	}
	return s.member([]byte(r.text(name)))
}

// comma moves behind a comma, if one comes.
func (r *weaveReader) comma() bool {
	r.space()
	if r.peek() != ',' {
		return false
	}
	r.pos++
	r.space()
	return true
}

// distinct refuses equal names. Almost every object has few.
func (r *weaveReader) distinct(names []memberName) error {
	if len(names) < fewNames {
		for i, name := range names {
			for _, other := range names[:i] {
				if name.hash == other.hash && r.equal(name, other) {
					return r.duplicateExactly(name)
				}
			}
		}
		return nil
	}
	seen := make(map[string]struct{}, len(names))
	for _, name := range names {
		text := r.text(name)
		if _, ok := seen[text]; ok {
			return r.duplicateExactly(name)
		}
		seen[text] = struct{}{}
	}
	return nil
}

func (r *weaveReader) equal(a, b memberName) bool {
	if a.plain && b.plain {
		return string(a.span.of(r.data)) == string(b.span.of(r.data))
	}
	return r.text(a) == r.text(b)
}

func (r *weaveReader) duplicateExactly(name memberName) error {
	return weaveInvalid(ReasonDuplicateMember, "the body has the member %.66q more than once in one object", r.text(name))
}
