package redis

import (
	"context"

	goredis "github.com/redis/go-redis/v9"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// advanceScript raises the revision. To whoever watches it is a commit whose keys were too many to be
// named. Doing it twice is doing it once, so nothing remembers that it was done.
//
// KEYS: head. ARGV: id, whether the space must exist, the revision, channel.
var advanceScript = goredis.NewScript(`
local head = redis.call('GET', KEYS[1])
if not head and ARGV[2] == '1' then return '!' end
local previous = ''
if head then
	local number, id = string.match(head, '^(%d+) (%S+)')
	if not number then return '?' end
	if tonumber(number) >= tonumber(ARGV[3]) then return '+' .. number end
	previous = id
end
redis.call('SET', KEYS[1], ARGV[3] .. ' ' .. ARGV[1])
redis.pcall('PUBLISH', ARGV[4], ARGV[3] .. ' ' .. previous .. ' ' .. ARGV[1] .. ' g')
return '+' .. ARGV[3]
`)

// Advance implements store.Advancer.
func (s *Store) Advance(ctx context.Context, space string, r store.Revision) (store.Revision, error) {
	if err := store.CheckAdvance(space, r); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	call, cancel := context.WithTimeout(ctx, commitTimeout)
	defer cancel()
	mustExist := "0"
	if _, filled := s.filled.Load(space); filled {
		mustExist = "1"
	}
	answer, err := advanceScript.Run(call, s.client, []string{s.names.head(space)}, newID(), mustExist, uint64(r), s.names.changes(space)).Text()
	return s.made(ctx, space, answer, err)
}

// Listeners returns how many watch a space, in whatever process: each gateway that runs does. A gateway
// whose machine went away counts until the server notices that its connection is dead.
func (s *Store) Listeners(ctx context.Context, space string) (int, error) {
	call, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	channel, listeners := s.names.changes(space), 0
	err := eachMaster(call, s.client, func(ctx context.Context, node goredis.Cmdable) error {
		found, err := node.PubSubNumSub(ctx, channel).Result()
		listeners += int(found[channel])
		return err
	})
	if err != nil {
		return 0, s.failed(ctx, "asking who listens", err)
	}
	return listeners, nil
}
