package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// Bounds of what is held of one store at a time. Records are a few hundred bytes; where they are not,
// pages get shorter, down to one record.
const (
	pageRecords  = 500
	maxPageBytes = 8 << 20
)

// pages goes through the records of a space in the order of their keys.
type pages struct {
	store store.Store
	space string
	// sum is over what was gone through.
	sum     hash.Hash
	records int
	bytes   int64

	limit int
	page  []store.Record
	after string
	ended bool
}

func newPages(s store.Store, space string) *pages {
	return &pages{store: s, space: space, sum: sha256.New(), limit: pageRecords}
}

// first returns the record that is next, nil at the end. The mark is not one of them.
func (p *pages) first(ctx context.Context) (*store.Record, error) {
	for {
		if len(p.page) > 0 {
			if p.page[0].Key != markKey(p.space) {
				return &p.page[0], nil
			}
			p.page = p.page[1:]
			continue
		}
		if p.ended {
			return nil, nil
		}
		if err := p.turn(ctx); err != nil {
			return nil, err
		}
	}
}

// turn reads the next page.
func (p *pages) turn(ctx context.Context) error {
	page, err := p.store.List(ctx, p.space+"/", p.after, p.limit)
	if err != nil {
		return err
	}
	p.page, p.ended = page, len(page) < p.limit
	if len(page) > 0 {
		p.after = page[len(page)-1].Key
	}
	bytes := 0
	for _, r := range page {
		bytes += len(r.Value)
	}
	if bytes > maxPageBytes {
		p.limit = max(p.limit*maxPageBytes/bytes, 1)
	}
	return nil
}

// pass goes on behind the first record.
func (p *pages) pass() {
	r := p.page[0]
	p.page = p.page[1:]
	p.records++
	p.bytes += int64(len(r.Key) + len(r.Value))
	// Lengths stand before both, so that nothing can move from one into the other.
	var lengths [2 * binary.MaxVarintLen64]byte
	head := binary.AppendUvarint(lengths[:0], uint64(len(r.Key)))
	p.sum.Write(binary.AppendUvarint(head, uint64(len(r.Value))))
	p.sum.Write([]byte(r.Key))
	p.sum.Write(r.Value)
}

// result is what was gone through.
func (p *pages) result() Result {
	return Result{Records: p.records, Bytes: p.bytes, SHA256: hex.EncodeToString(p.sum.Sum(nil))}
}
