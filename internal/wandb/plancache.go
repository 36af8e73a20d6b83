package wandb

import (
	lru "container/list"
	"hash/maphash"
	"sync"
)

// planCache keeps documents by their text, within a bound of memory: the least recently used goes
// first. Clients send few documents again and again, while a caller who makes up new ones can only
// push others out, at the price of parsing. It is cut into shards so that requests seldom wait for
// each other.
type planCache struct {
	seed   maphash.Seed
	shards [16]planShard
}

type planShard struct {
	mu     sync.Mutex
	byText map[string]*lru.Element
	recent lru.List // of *planEntry, most recent first
	size   int64
	limit  int64
}

type planEntry struct {
	text string
	doc  *document
}

func newPlanCache(limit int64) *planCache {
	c := &planCache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i].byText = make(map[string]*lru.Element)
		c.shards[i].limit = max(limit/int64(len(c.shards)), 1)
	}
	return c
}

func (c *planCache) shard(text []byte) *planShard {
	// Ends and length tell documents apart well enough to spread them; hashing all is left to the map.
	const enough = 64
	part := text
	if len(part) > enough {
		part = part[len(part)-enough:]
	}
	return &c.shards[(maphash.Bytes(c.seed, part)+uint64(len(text)))%uint64(len(c.shards))]
}

func (c *planCache) get(text []byte) (*document, bool) {
	s := c.shard(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.byText[string(text)]
	if !ok {
		return nil, false
	}
	s.recent.MoveToFront(e)
	return e.Value.(*planEntry).doc, true
}

// put keeps doc unless it alone would fill a shard.
func (c *planCache) put(text []byte, doc *document) {
	s := c.shard(text)
	cost := doc.size + int64(len(text))
	if cost > s.limit {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byText[string(text)]; ok {
		return
	}
	key := string(text)
	s.byText[key] = s.recent.PushFront(&planEntry{key, doc})
	s.size += cost
	for s.size > s.limit {
		oldest := s.recent.Back()
		entry := oldest.Value.(*planEntry)
		s.recent.Remove(oldest)
		delete(s.byText, entry.text)
		s.size -= entry.doc.size + int64(len(entry.text))
	}
}
