//go:build !unix

package keys

import "io/fs"

const openNonblock = 0

// tooOpen cannot tell: access is not in the mode bits here.
func tooOpen(fs.FileMode) bool { return false }

// syncDirectory has nothing to do: names are journalled with the file here.
func syncDirectory(string) error { return nil }
