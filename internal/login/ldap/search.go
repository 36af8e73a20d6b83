package ldap

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"
)

// The attributes that are read beside those of the configuration. The ids are those by which servers
// know an entry whatever its name becomes: RFC 4530, Active Directory, 389 Directory Server.
const (
	attributeEntryUUID  = "entryUUID"
	attributeObjectGUID = "objectGUID"
	attributeUniqueID   = "nsUniqueId"
	attributeUID        = "uid"
	attributeAccount    = "sAMAccountName"
	attributeCN         = "cn"
	attributeNothing    = "1.1" // RFC 4511 section 4.5.1.8
)

const (
	// maxGroups bounds a person's groups.
	maxGroups = 10_000
	// maxRanges bounds how often more values of one attribute are asked for.
	maxRanges = 64
)

// person is the one entry that a log-in name belongs to.
type person struct {
	dn     string // as the server spells it, for the bind
	id     string // stable, the Subject
	emails []string
	uid    string
	cn     string
	groups groups
}

// find searches the entry of a log-in name. It is nil if there is none, or more than one: then
// reason says so for the log. An error is a *fault.
func (c *Connector) find(l *link, login string) (p *person, reason, err error) {
	request := c.search(strings.ReplaceAll(c.filter, loginPlace, goldap.EscapeFilter(login)), 2,
		c.emailAttribute, c.groupAttribute, attributeEntryUUID, attributeObjectGUID, attributeUniqueID,
		attributeUID, attributeAccount, attributeCN)
	entries, err := run(l, request)
	if err != nil {
		return nil, nil, &fault{step: stepSearch, err: err}
	}
	switch len(entries) {
	case 0:
		return nil, errors.New("no entry has this log-in name"), nil
	case 1:
	default:
		return nil, errors.New("several entries have this log-in name, so it is nobody's: make the filter or the directory tell them apart"), nil
	}
	p, err = c.read(l, entries[0])
	if err != nil {
		return nil, nil, &fault{step: stepSearch, err: err}
	}
	return p, nil, nil
}

// search returns a search below the base DN. Aliases are not followed, and neither are referrals:
// they would take a password to whatever host they name (threat L04).
func (c *Connector) search(filter string, limit int, attributes ...string) *goldap.SearchRequest {
	request := goldap.NewSearchRequest(c.base, goldap.ScopeWholeSubtree, goldap.NeverDerefAliases,
		limit, int(c.timeout/time.Second), false, filter, attributes, nil)
	request.EnforceSizeLimit = true
	return request
}

// run searches. That there are more entries than the request's limit is no error: as many come back
// as it says. Fewer, because the server has a lower limit of its own, is one: there is no telling.
func run(l *link, request *goldap.SearchRequest) ([]*goldap.Entry, error) {
	result, err := l.Search(request)
	if err == nil || result != nil && len(result.Entries) >= request.SizeLimit {
		return result.Entries, nil
	}
	return nil, plain(err)
}

// read reads a person's entry, and asks for what of it did not come along.
func (c *Connector) read(l *link, entry *goldap.Entry) (*person, error) {
	name, ok := parseDN(entry.DN)
	if !ok {
		return nil, fmt.Errorf("the entry's name %q is no DN", clean(entry.DN))
	}
	p := &person{
		dn:     entry.DN,
		emails: entry.GetEqualFoldAttributeValues(c.emailAttribute),
		uid:    first(entry, attributeUID, attributeAccount),
		cn:     first(entry, attributeCN),
	}
	var err error
	if p.id, err = subject(entry, name); err != nil {
		return nil, err
	}
	if p.groups, err = c.groups(l, entry); err != nil {
		return nil, err
	}
	return p, nil
}

// first returns the first value that can be shown of the first of the attributes that has one.
func first(entry *goldap.Entry, attributes ...string) string {
	for _, attribute := range attributes {
		for _, value := range entry.GetEqualFoldAttributeValues(attribute) {
			if validText(value) {
				return value
			}
		}
	}
	return ""
}

// subject returns the person's stable id: what the server calls the entry whatever its DN becomes, or
// the DN where it has no such id. An id that is there but unreadable is an error, since falling back
// would make another person of the same entry.
func subject(entry *goldap.Entry, name dn) (string, error) {
	for _, attribute := range []string{attributeEntryUUID, attributeObjectGUID, attributeUniqueID} {
		values := entry.GetEqualFoldRawAttributeValues(attribute)
		if len(values) == 0 {
			continue
		}
		id := strings.ToLower(string(values[0]))
		if attribute == attributeObjectGUID {
			id = formatGUID(values[0])
		}
		if len(values) > 1 || !validText(id) {
			return "", fmt.Errorf("the entry's %s cannot be read", attribute)
		}
		return id, nil
	}
	return name.key, nil
}

// formatGUID returns an objectGUID in the form that Microsoft's tools show, in which the first three
// numbers are stored least significant byte first; "" if it is none.
func formatGUID(b []byte) string {
	if len(b) != 16 {
		return ""
	}
	ordered := []byte{b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]}
	s := hex.EncodeToString(ordered)
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// groups reads the groups of an entry, all of them also where the server sends them piece by piece.
// An entry without the attribute has no groups only where the attribute can be read at all.
func (c *Connector) groups(l *link, entry *goldap.Entry) (groups, error) {
	values, next, found, err := ranged(entry, c.groupAttribute, 0)
	for rounds := 0; err == nil && next > 0; rounds++ {
		if rounds == maxRanges || len(values) > maxGroups {
			err = fmt.Errorf("the entry has more than %d groups", len(values))
			break
		}
		var more []string
		more, next, err = c.moreValues(l, entry.DN, next)
		values = append(values, more...)
	}
	if err != nil {
		return groups{}, err
	}
	if len(values) > maxGroups {
		return groups{}, fmt.Errorf("the entry has more than %d groups", maxGroups)
	}
	if found {
		return readGroups(values), nil
	}
	known, err := c.shown(l, c.groupAttribute)
	if _, refused := errors.AsType[*answer](err); refused {
		return groups{}, nil // it would not search for this, or not for so long
	}
	return groups{known: known}, err
}

// moreValues asks for the values of the group attribute from the given one on.
func (c *Connector) moreValues(l *link, name string, from int) (values []string, next int, err error) {
	request := c.search("(objectClass=*)", 1, c.groupAttribute+rangeOption+strconv.Itoa(from)+"-*")
	request.BaseDN, request.Scope = name, goldap.ScopeBaseObject
	entries, err := run(l, request)
	if err != nil {
		return nil, 0, err
	}
	if len(entries) != 1 {
		return nil, 0, errors.New("the entry went away while it was read")
	}
	values, next, found, err := ranged(entries[0], c.groupAttribute, from)
	if err == nil && !found {
		err = errors.New("the rest of the entry's groups did not come")
	}
	return values, next, err
}

// rangeOption begins the option with which Active Directory says which of many values it sends
// (MS-ADTS section 3.1.1.3.1.3.3), such as memberOf;range=0-1499, and memberOf;range=1500-* at the end.
const rangeOption = ";range="

// ranged returns the values of an attribute that begin with the given one, whether the attribute is
// there, and with which value the next piece begins; 0 if this was the last.
func ranged(entry *goldap.Entry, attribute string, from int) (values []string, next int, found bool, err error) {
	for _, a := range entry.Attributes {
		if len(a.Name) <= len(attribute+rangeOption) || !strings.EqualFold(a.Name[:len(attribute+rangeOption)], attribute+rangeOption) {
			continue
		}
		next, err := parseRange(a.Name[len(attribute+rangeOption):], from, len(a.Values))
		return a.Values, next, true, err
	}
	for _, a := range entry.Attributes {
		if from == 0 && strings.EqualFold(a.Name, attribute) {
			return a.Values, 0, true, nil
		}
	}
	return nil, 0, false, nil
}

// parseRange reads the bounds of a piece of n values which begins with the given one, and returns
// where the next begins; 0 for none. Bounds that do not fit would leave groups out, or never end.
func parseRange(s string, from, n int) (next int, err error) {
	low, high, _ := strings.Cut(s, "-")
	if low != strconv.Itoa(from) {
		return 0, fmt.Errorf("values from %d on were asked for, %q came", from, clean(s))
	}
	if high == "*" {
		return 0, nil
	}
	last, err := strconv.Atoi(high)
	if err != nil || last < from || last-from+1 != n {
		return 0, fmt.Errorf("%d values came as the range %q", n, clean(s))
	}
	return last + 1, nil
}

// shown reports whether the directory shows the attribute of any entry to the account that searches:
// LDAP does not tell an attribute that is absent from one that may not be read.
func (c *Connector) shown(l *link, attribute string) (bool, error) {
	entries, err := run(l, c.search("("+attribute+"=*)", 1, attribute))
	if err != nil {
		return false, err
	}
	for _, entry := range entries {
		for _, a := range entry.Attributes {
			name, _, _ := strings.Cut(a.Name, ";")
			if strings.EqualFold(name, attribute) {
				return true, nil
			}
		}
	}
	return false, nil
}
