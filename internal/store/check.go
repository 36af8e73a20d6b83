package store

import (
	"errors"
	"fmt"
	"slices"
)

// ErrInvalid: the writes of a Commit break a rule or bound of this package; nothing was written,
// and trying again does not help. Compare with errors.Is.
var ErrInvalid = errors.New("store: the commit breaks a rule of the store")

// CheckWrites returns the space of the writes of one Commit, or ErrInvalid with the rule that they
// break: one space, distinct keys that have something after the space, within the bounds, none of
// them the revision itself. Every backend calls it first.
func CheckWrites(writes []Write) (space string, err error) {
	if len(writes) == 0 {
		return "", fmt.Errorf("%w: it has no writes", ErrInvalid)
	}
	if len(writes) > MaxWrites {
		return "", fmt.Errorf("%w: it has %d writes, the limit is %d", ErrInvalid, len(writes), MaxWrites)
	}
	space = Space(writes[0].Key)
	writing := false
	for _, w := range writes {
		if err := checkWrite(w, space); err != nil {
			return "", err
		}
		writing = writing || !w.Check
	}
	if !writing {
		return "", fmt.Errorf("%w: it writes nothing", ErrInvalid)
	}
	if len(writes) == 1 {
		return space, nil
	}
	keys := make([]string, len(writes))
	for i, w := range writes {
		keys[i] = w.Key
	}
	slices.Sort(keys)
	for i := range keys[1:] {
		if keys[i] == keys[i+1] {
			return "", fmt.Errorf("%w: it writes %q twice", ErrInvalid, keys[i])
		}
	}
	return space, nil
}

// CheckAdvance returns ErrInvalid with the rule that an Advance breaks. Every backend calls it first.
func CheckAdvance(space string, r Revision) error {
	switch {
	case !ValidKey(RevisionKey(space)) || Space(space) != space:
		return fmt.Errorf("%w: %.80q is no space", ErrInvalid, space)
	case r == 0 || r > MaxRevision:
		return fmt.Errorf("%w: no space has revision %d", ErrInvalid, r)
	}
	return nil
}

func checkWrite(w Write, space string) error {
	switch {
	case !ValidKey(w.Key):
		return fmt.Errorf("%w: %.80q is no key", ErrInvalid, w.Key)
	case Space(w.Key) != space:
		return fmt.Errorf("%w: it writes into two spaces, %q and %q", ErrInvalid, space, Space(w.Key))
	case w.Key == RevisionKey(space):
		return fmt.Errorf("%w: %q cannot be written", ErrInvalid, w.Key)
	case w.Check && (w.Value != nil || !w.Expect.set):
		return fmt.Errorf("%w: %q is to be looked at only, and has a value or no demand", ErrInvalid, w.Key)
	case len(w.Value) > MaxValueBytes:
		return fmt.Errorf("%w: the value of %q has %d bytes, the limit is %d", ErrInvalid, w.Key, len(w.Value), MaxValueBytes)
	}
	return nil
}

// ValidKey reports whether a record can have the key: a space, a slash, something behind it, and
// at most MaxKeyBytes. There is never a record under another key.
func ValidKey(key string) bool {
	space := len(Space(key))
	return space > 0 && space+1 < len(key) && len(key) <= MaxKeyBytes
}
