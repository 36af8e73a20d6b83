package login

import (
	"net/url"
	"strings"
)

// maxReturnBytes bounds an address to come back to: it has to fit into a cookie.
const maxReturnBytes = 2048

// home is where a browser goes that wants to go nowhere else.
const home = "/"

// authorizeDoor is the one door that people come back to: `wandb login` sends them there first.
const authorizeDoor = "/authorize"

// ReturnTo returns the address to which a browser goes after a sign-in: raw itself, byte for byte, if
// it is a path of this site, else "/" (threats O07). What is not certainly such a path, to every
// browser, is none: a second slash or a backslash makes a host of it, browsers drop control characters
// before they look, and escapes may be undone once more on the way.
//
// The doors are none either: a sign-in that ends at a sign-out, or at the next sign-in, is a trap.
func ReturnTo(raw string) string {
	if !visiblePath(raw) {
		return home
	}
	u, err := url.Parse(raw)
	if err != nil || u.IsAbs() || u.Host != "" || u.User != nil || u.Opaque != "" || strings.Contains(raw, "#") || u.String() != raw {
		return home
	}
	path := u.EscapedPath()
	for range 4 { // as often as anybody may undo escapes
		if !plainPath(path) {
			return home
		}
		again, err := url.PathUnescape(path)
		if err != nil || again == path {
			return notADoor(path, raw)
		}
		path = again
	}
	return home
}

// visiblePath reports whether s is visible ASCII that begins with a slash. A backslash is none of the
// characters that an address can have as it is.
func visiblePath(s string) bool {
	if len(s) == 0 || len(s) > maxReturnBytes || s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '\\' {
			return false
		}
	}
	return true
}

// plainPath reports whether a path has neither empty nor dot segments, nor what browsers take for
// something else.
func plainPath(path string) bool {
	if strings.Contains(path, "//") {
		return false
	}
	for i := range len(path) {
		if c := path[i]; c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return false
		}
	}
	return true
}

// notADoor returns raw unless its path, all escapes undone, is one of the gateway's own, however it is
// written.
func notADoor(path, raw string) string {
	path = strings.TrimSuffix(strings.ToLower(path), "/")
	if path == authorizeDoor {
		return raw
	}
	for _, door := range []string{"/oidc", "/logout", "/scim", "/admin/audit_logs", "/wandb-gateway", "/.well-known"} {
		if path == door || strings.HasPrefix(path, door+"/") {
			return home
		}
	}
	return raw
}

// returnTo reads the parameter return_to. One that stands there twice says nothing.
func returnTo(values url.Values) string {
	if len(values["return_to"]) != 1 {
		return home
	}
	return ReturnTo(values.Get("return_to"))
}
