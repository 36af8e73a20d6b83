package redis

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// names are the keys in Redis.
type names struct{ prefix string }

var (
	escapeTag   = strings.NewReplacer("%", "%25", "{", "%7B", "}", "%7D")
	unescapeTag = strings.NewReplacer("%25", "%", "%7B", "{", "%7D", "}")
)

// of returns what all keys of a space begin with. A Cluster hashes what stands between the first
// braces, which must be the whole space.
func (n names) of(space string) string { return n.prefix + "{" + escapeTag.Replace(space) + "}:" }

func (n names) head(space string) string     { return n.of(space) + "head" }
func (n names) records(space string) string  { return n.of(space) + "records" }
func (n names) index(space string) string    { return n.of(space) + "index" }
func (n names) done(space, id string) string { return n.of(space) + "done:" + id }
func (n names) probe(space string) string    { return n.of(space) + "probe" }
func (n names) changes(space string) string  { return n.of(space) + "changes" }

// space returns the space whose head stands under key.
func (n names) space(key string) (string, bool) {
	tag, prefixed := strings.CutPrefix(key, n.prefix+"{")
	tag, ended := strings.CutSuffix(tag, "}:head")
	return unescapeTag.Replace(tag), prefixed && ended
}

// decodeRecord reads "<version>:<value>". What is not of that form was written by somebody else.
func decodeRecord(key, raw string) (store.Record, error) {
	number, value, ok := strings.Cut(raw, ":")
	version, err := parseRevision(number)
	if !ok || err != nil || version == 0 {
		return store.Record{}, fmt.Errorf("%w: %.80q", store.ErrCorrupt, key)
	}
	return store.Record{Key: key, Value: []byte(value), Version: version}, nil
}

func parseRevision(s string) (store.Revision, error) {
	n, err := strconv.ParseUint(s, 10, 64)
	return store.Revision(n), err
}

// head is the state of a space. id names the commit that made it: two commits that have one revision,
// because a failover lost the first, differ in it.
type head struct {
	revision store.Revision
	id       string
}

// made is when the commit was made by the server's clock; zero if its id does not tell. The id ends with
// the time, behind an @, where it is nothing to gateways that do not look for it.
func (h head) made() serverTime {
	_, text, _ := strings.Cut(h.id, "@")
	return parseServerTime(text)
}

// decodeHead reads "<revision> <id>". A later release may write more behind it.
func decodeHead(raw string) (head, error) {
	parts := strings.SplitN(raw, " ", 3)
	if len(parts) < 2 {
		return head{}, fmt.Errorf("%w: the head of a space", store.ErrCorrupt)
	}
	revision, err := parseRevision(parts[0])
	if err != nil || revision == 0 {
		return head{}, fmt.Errorf("%w: the head of a space", store.ErrCorrupt)
	}
	return head{revision, parts[1]}, nil
}

// maxMessageBytes bounds the keys in an announcement; a commit with more is announced without them.
const maxMessageBytes = 64 << 10

// encodeKeys makes the end of an announcement: a letter, then every key behind its length. A commit
// of too many keys has the letter alone.
func encodeKeys(space string, writes []store.Write) string {
	size := 1
	for _, w := range writes {
		size += 2 + len(w.Key) - len(space) - 1
	}
	if size > maxMessageBytes {
		return "g"
	}
	message := make([]byte, 1, size)
	message[0] = 'k'
	for _, w := range writes {
		if w.Check {
			continue
		}
		rest := w.Key[len(space)+1:]
		message = binary.AppendUvarint(message, uint64(len(rest)))
		message = append(message, rest...)
	}
	return string(message)
}

// announcement is the news of one commit. gap stands for keys that were too many.
type announcement struct {
	head
	previous string // id of the commit before, "" before the first
	keys     []string
	gap      bool
}

// decodeAnnouncement reads "<revision> <previous id> <id> <keys>".
func decodeAnnouncement(space, raw string) (announcement, error) {
	broken := fmt.Errorf("%w: an announcement", store.ErrCorrupt)
	parts := strings.SplitN(raw, " ", 4)
	if len(parts) < 4 || parts[3] == "" {
		return announcement{}, broken
	}
	revision, err := parseRevision(parts[0])
	if err != nil || revision == 0 {
		return announcement{}, broken
	}
	a := announcement{head: head{revision, parts[2]}, previous: parts[1]}
	switch kind, rest := parts[3][0], parts[3][1:]; kind {
	case 'g':
		a.gap = true
	case 'k':
		if a.keys, err = decodeKeys(space, rest); err != nil || len(a.keys) == 0 {
			return announcement{}, broken
		}
	default:
		a.gap = true // of a later release
	}
	return a, nil
}

func decodeKeys(space, raw string) ([]string, error) {
	var keys []string
	for rest := []byte(raw); len(rest) > 0; {
		length, n := binary.Uvarint(rest)
		if n <= 0 || length == 0 || length > uint64(len(rest)-n) {
			return nil, store.ErrCorrupt
		}
		keys = append(keys, space+"/"+string(rest[n:n+int(length)]))
		rest = rest[n+int(length):]
	}
	return keys, nil
}
