package redis

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// rememberDone is how long a commit is known by its id, far longer than anybody tries it again.
const rememberDone = 2 * time.Minute

// commitScript makes one commit. The client repeats it when a connection breaks, without knowing
// whether it was made: then its id is known, and it answers as it did the first time.
//
// Everything that can be refused is refused before the first write, for Redis does not take back what
// a script wrote: the types of the keys are asked for, and the first write is one that a full, demoted
// or isolated server refuses. To the id under which the commit becomes known it adds the server's time,
// unless the user may not ask for that. Arguments of commands go in portions, because Lua's stack is bounded.
//
// KEYS: head, records, index, done. ARGV: id, whether the space must exist, the time to remember the
// id in ms, channel, the end of the announcement, and for each write: key, what is demanded, and for
// a put the value. A demand is p, d or c, for put, delete or a check alone, and the version, if one is demanded.
var commitScript = goredis.NewScript(`
local done = redis.call('GET', KEYS[4])
if done then return '+' .. done end
local head = redis.call('GET', KEYS[1])
if not head and ARGV[2] == '1' then return '!' end
redis.call('HLEN', KEYS[2])
redis.call('ZCARD', KEYS[3])

local id, clock = ARGV[1], redis.pcall('TIME')
if not clock.err then id = id .. '@' .. string.format('%.0f', clock[1] * 1000000 + clock[2]) end
local revision, previous = 0, ''
if head then
	local number, last = string.match(head, '^(%d+) (%S+)')
	if not number then return '?' end
	revision, previous = tonumber(number), last
end
revision = string.format('%.0f', revision + 1)

local portion = 500
local asked, wanted = {}, {}
local function check()
	if #asked == 0 then return nil end
	local found = redis.call('HMGET', KEYS[2], unpack(asked))
	for i = 1, #asked do
		local version = '0'
		if found[i] then version = string.match(found[i], '^(%d+):') end
		if version ~= wanted[i] then return asked[i] end
	end
	asked, wanted = {}, {}
	return nil
end
local i = 6
while i <= #ARGV do
	local demand = ARGV[i + 1]
	if #demand > 1 then
		asked[#asked + 1], wanted[#wanted + 1] = ARGV[i], string.sub(demand, 2)
		if #asked >= portion then
			local broken = check()
			if broken then return '-' .. broken end
		end
	end
	if string.sub(demand, 1, 1) == 'p' then i = i + 3 else i = i + 2 end
end
local broken = check()
if broken then return '-' .. broken end

redis.call('SET', KEYS[1], revision .. ' ' .. id)
redis.call('SET', KEYS[4], revision, 'PX', ARGV[3])
local put, ordered, gone = {}, {}, {}
local function write()
	if #put > 0 then
		redis.call('HSET', KEYS[2], unpack(put))
		redis.call('ZADD', KEYS[3], unpack(ordered))
		put, ordered = {}, {}
	end
	if #gone > 0 then
		redis.call('HDEL', KEYS[2], unpack(gone))
		redis.call('ZREM', KEYS[3], unpack(gone))
		gone = {}
	end
end
i = 6
while i <= #ARGV do
	local key = ARGV[i]
	if string.sub(ARGV[i + 1], 1, 1) == 'p' then
		put[#put + 1], put[#put + 2] = key, revision .. ':' .. ARGV[i + 2]
		ordered[#ordered + 1], ordered[#ordered + 2] = '0', key
		i = i + 3
	else
		if string.sub(ARGV[i + 1], 1, 1) == 'd' then gone[#gone + 1] = key end
		i = i + 2
	end
	if #put >= portion or #gone >= portion then write() end
end
write()
redis.pcall('PUBLISH', ARGV[4], revision .. ' ' .. previous .. ' ' .. id .. ' ' .. ARGV[5])
return '+' .. revision
`)

// Commit implements store.Store. The server makes it once, however often the connection breaks
// meanwhile; after an error it may still be made.
func (s *Store) Commit(ctx context.Context, writes ...store.Write) (store.Revision, error) {
	space, err := store.CheckWrites(writes)
	if err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	call, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	id := newID()
	keys := []string{s.names.head(space), s.names.records(space), s.names.index(space), s.names.done(space, id)}
	answer, err := commitScript.Run(call, s.client, keys, s.arguments(space, id, writes)...).Text()
	return s.made(ctx, space, answer, err)
}

// made reads the answer of a script that writes.
func (s *Store) made(ctx context.Context, space, answer string, err error) (store.Revision, error) {
	if err == nil && answer == "" {
		err = errors.New("an empty answer")
	}
	if err != nil {
		return 0, s.failed(ctx, "writing", err)
	}
	switch answer[0] {
	case '+':
		revision, err := parseRevision(answer[1:])
		if err != nil {
			return 0, s.failed(ctx, "writing", err)
		}
		s.filled.LoadOrStore(space, struct{}{})
		return revision, nil
	case '-':
		return 0, fmt.Errorf("%w: %q", store.ErrConflict, space+"/"+answer[1:])
	case '!':
		return 0, s.failed(ctx, "writing", errLost)
	default:
		return 0, s.failed(ctx, "writing", fmt.Errorf("%w: the head of space %.80q", store.ErrCorrupt, space))
	}
}

// arguments are the ARGV of commitScript.
func (s *Store) arguments(space, id string, writes []store.Write) []any {
	mustExist := "0"
	if _, filled := s.filled.Load(space); filled {
		mustExist = "1"
	}
	args := make([]any, 0, 5+3*len(writes))
	args = append(args, id, mustExist, rememberDone.Milliseconds(), s.names.changes(space), encodeKeys(space, writes))
	for _, w := range writes {
		args = append(args, strings.TrimPrefix(w.Key, space+"/"), demand(w))
		if w.Value != nil {
			args = append(args, w.Value)
		}
	}
	return args
}

func demand(w store.Write) string {
	kind := "p"
	switch {
	case w.Check:
		kind = "c"
	case w.Value == nil:
		kind = "d"
	}
	if version, demanded := w.Expect.Demand(); demanded {
		return kind + strconv.FormatUint(uint64(version), 10)
	}
	return kind
}

// newID returns 128 random bits.
func newID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	return hex.EncodeToString(id[:])
}
