package ldap

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

const (
	// maxAllowListBytes and maxAllowListEntries bound ParseAllowList.
	maxAllowListBytes   = 64 << 10
	maxAllowListEntries = 1000
	// maxTextBytes bounds a name that a directory tells: of a group or of a person.
	maxTextBytes = 256
)

// AllowList says whose members may sign in. The zero value allows everyone. A name stands for every
// group of that common name, wherever in the directory it is; a DN for exactly one group.
type AllowList struct {
	names, dns map[string]struct{} // by foldValue, by dn.key
}

// ParseAllowList reads names of groups separated by commas, or DNs separated by semicolons: commas
// stand inside DNs. A single DN needs no semicolon. Empty text allows everyone; a list of nothing but
// separators is refused, since it would too.
func ParseAllowList(s string) (AllowList, error) {
	if strings.TrimSpace(s) == "" {
		return AllowList{}, nil
	}
	if len(s) > maxAllowListBytes {
		return AllowList{}, iam.Invalidf("the group allow list has %d bytes, %d are allowed: make one group of them in the directory", len(s), maxAllowListBytes)
	}
	var list AllowList
	var err error
	if _, one := parseDN(s); one || hasBare(s, ';') {
		list.dns, err = parseDNs(s)
	} else {
		list.names, err = parseNames(s)
	}
	if err != nil {
		return AllowList{}, err
	}
	if list.IsZero() {
		return AllowList{}, iam.Invalidf("the group allow list %q names no group: leave it empty to let everyone in", s)
	}
	if n := len(list.names) + len(list.dns); n > maxAllowListEntries {
		return AllowList{}, iam.Invalidf("the group allow list names %d groups, %d are allowed: make one group of them in the directory", n, maxAllowListEntries)
	}
	return list, nil
}

func parseDNs(s string) (map[string]struct{}, error) {
	keys := map[string]struct{}{}
	for more := true; more; {
		var part string
		part, s, more = cutBare(s, ';')
		if strings.TrimSpace(part) == "" {
			continue
		}
		read, ok := parseDN(part)
		if !ok {
			return nil, iam.Invalidf("the group allow list has semicolons, which separate DNs, but %q is no DN: write DNs such as cn=wandb,ou=groups,dc=example,dc=com, or names separated by commas", part)
		}
		keys[read.key] = struct{}{}
	}
	return keys, nil
}

func parseNames(s string) (map[string]struct{}, error) {
	names := map[string]struct{}{}
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		switch {
		case part == "":
			continue
		case strings.Contains(part, "="):
			return nil, iam.Invalidf("the group allow list has %q, which is neither a name nor a whole DN: write names separated by commas, or DNs separated by semicolons", part)
		case !validText(part):
			return nil, iam.Invalidf("the group allow list has %q, which can name no group: at most %d bytes of UTF-8 without control characters", part, maxTextBytes)
		}
		names[foldValue(part)] = struct{}{}
	}
	return names, nil
}

// IsZero reports whether everyone is allowed.
func (l AllowList) IsZero() bool { return len(l.names) == 0 && len(l.dns) == 0 }

// admits reports whether a member of these groups may sign in.
func (l AllowList) admits(of groups) bool {
	if l.IsZero() {
		return true
	}
	for _, name := range of.names {
		if _, ok := l.names[foldValue(name)]; ok {
			return true
		}
	}
	for _, key := range of.keys {
		if _, ok := l.dns[key]; ok {
			return true
		}
	}
	return false
}

// groups are a person's direct groups.
type groups struct {
	// known is false if the directory did not let the attribute be read: then nobody can tell.
	known bool
	names []string // as the directory spells them, each once
	keys  []string // dn.key of those that are DNs
}

// readGroups reads the values of the group attribute. A value that is a DN counts under its common
// name, and under none if its first RDN has none: the groups ou=admins and cn=admins are not one.
// Any other value is itself the name (gidNumber).
func readGroups(values []string) groups {
	g := groups{known: true}
	seen := map[string]bool{}
	for _, value := range values {
		name := value
		if read, ok := parseDN(value); ok {
			g.keys = append(g.keys, read.key)
			name = read.cn
		}
		if !validText(name) || seen[name] {
			continue
		}
		seen[name] = true
		g.names = append(g.names, name)
	}
	return g
}

// validText reports whether s can be shown as a name: something, in bounds, UTF-8, without control
// characters.
func validText(s string) bool {
	return s != "" && len(s) <= maxTextBytes && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}
