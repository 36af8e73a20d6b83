package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// listScript returns the head, and of the records between two keys up to a number, key and value in
// turn: all of one revision, because a script is alone with the server.
//
// KEYS: head, records, index. ARGV: least, greatest, both as ZRANGEBYLEX wants them, and how many.
var listScript = goredis.NewScript(`
local out = {redis.call('GET', KEYS[1])}
local keys = redis.call('ZRANGEBYLEX', KEYS[3], ARGV[1], ARGV[2], 'LIMIT', 0, ARGV[3])
local portion = 500
for first = 1, #keys, portion do
	local last = math.min(first + portion - 1, #keys)
	local values = redis.call('HMGET', KEYS[2], unpack(keys, first, last))
	for i = first, last do
		out[#out + 1] = keys[i]
		out[#out + 1] = values[i - first + 1]
	end
end
return out
`)

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) ([]store.Record, error) {
	if limit <= 0 || limit > store.MaxListed {
		limit = store.MaxListed
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	if !strings.Contains(prefix, "/") {
		return s.listSpaces(ctx, call, prefix, after, limit)
	}
	return s.listSpace(ctx, call, store.Space(prefix), prefix, after, limit)
}

// listSpaces lists over all spaces that a prefix without a slash covers. It looks through all keys of
// the server: it is for moving a store elsewhere, not for serving. It sees one revision of each space.
func (s *Store) listSpaces(ctx, call context.Context, prefix, after string, limit int) ([]store.Record, error) {
	spaces, err := s.spaces(call, prefix)
	if err != nil {
		return nil, s.failed(ctx, "listing", err)
	}
	var records []store.Record
	for _, space := range spaces {
		if len(records) >= limit {
			break
		}
		more, err := s.listSpace(ctx, call, space, space+"/", after, limit-len(records))
		if err != nil {
			return nil, err
		}
		records = append(records, more...)
	}
	return records, nil
}

// spaces finds the spaces that begin with prefix, in the order of their records.
func (s *Store) spaces(ctx context.Context, prefix string) ([]string, error) {
	pattern := escapePattern.Replace(s.names.prefix+"{") + "*" + escapePattern.Replace("}:head")
	found := make(map[string]struct{})
	scan := func(ctx context.Context, c goredis.Cmdable) error {
		keys := c.Scan(ctx, 0, pattern, 1000).Iterator()
		for keys.Next(ctx) {
			if space, ok := s.names.space(keys.Val()); ok && strings.HasPrefix(space, prefix) {
				found[space+"/"] = struct{}{}
			}
		}
		return keys.Err()
	}
	err := eachMaster(ctx, s.client, scan)
	spaces := make([]string, 0, len(found))
	for space := range found {
		spaces = append(spaces, space)
	}
	slices.Sort(spaces)
	for i := range spaces {
		spaces[i] = spaces[i][:len(spaces[i])-1]
	}
	return spaces, err
}

var escapePattern = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`)

func (s *Store) listSpace(ctx, call context.Context, space, prefix, after string, limit int) ([]store.Record, error) {
	least, greatest, empty := bounds(space, prefix, after)
	if empty || space == "" {
		return nil, nil
	}
	keys := []string{s.names.head(space), s.names.records(space), s.names.index(space)}
	answer, err := listScript.Run(call, s.client, keys, least, greatest, limit).Slice()
	if err != nil {
		return nil, s.failed(ctx, "listing", err)
	}
	records, err := s.listed(space, answer)
	if err != nil {
		return nil, s.failed(ctx, "listing", err)
	}
	return records, nil
}

// listed reads the answer of listScript.
func (s *Store) listed(space string, answer []any) ([]store.Record, error) {
	if len(answer)%2 != 1 {
		return nil, errors.New("the server's answer is not a list of records")
	}
	if answer[0] == nil {
		if _, filled := s.filled.Load(space); filled {
			return nil, errLost
		}
	}
	records := make([]store.Record, 0, len(answer)/2)
	for i := 1; i < len(answer); i += 2 {
		key, isKey := answer[i].(string)
		raw, isValue := answer[i+1].(string)
		if !isKey || !isValue {
			return nil, fmt.Errorf("%w: a key of space %.80q has no record", store.ErrCorrupt, space)
		}
		r, err := decodeRecord(space+"/"+key, raw)
		if err != nil {
			return nil, err
		}
		records = append(records, r)
	}
	return records, nil
}

// bounds are the arguments of ZRANGEBYLEX for the keys of a space under prefix and after a key.
func bounds(space, prefix, after string) (least, greatest string, empty bool) {
	rest := prefix[len(space)+1:]
	least, greatest = "-", "+"
	if rest != "" {
		least = "[" + rest
	}
	if end := successor(rest); end != "" {
		greatest = "(" + end
	}
	if after >= prefix {
		// Behind all keys of the space, or behind one of them.
		key, inside := strings.CutPrefix(after, space+"/")
		if !inside {
			return "", "", true
		}
		if key != "" {
			least = "(" + key
		}
	}
	return least, greatest, false
}

// successor returns the least string that is greater than all that begin with prefix; "" if there is
// none.
func successor(prefix string) string {
	for i := len(prefix) - 1; i >= 0; i-- {
		if prefix[i] < 0xff {
			return prefix[:i] + string([]byte{prefix[i] + 1})
		}
	}
	return ""
}
