package embedded

import (
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"
	"go.etcd.io/bbolt"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// The file has three buckets. Under records stands every record of every space, under spaces the
// head of every space, under format what wrote the file.
var (
	recordsBucket = []byte("records")
	spacesBucket  = []byte("spaces")
	formatBucket  = []byte("format")

	formatKey   = []byte("version")
	formatValue = []byte("wandb-gateway store 1")
)

// A stored record is version (8 bytes) | checksum (8 bytes) | value, big-endian. The checksum is
// xxHash64 over key length, key, version and value: a value that was moved under another key is
// damage like any other. It guards against disks, not against people: who can write the file can
// compute it.
const recordHead = 16

type record struct {
	version  store.Revision
	checksum uint64
	value    []byte
}

func encodeRecord(key string, version store.Revision, value []byte) (raw []byte, checksum uint64) {
	checksum = recordChecksum([]byte(key), uint64(version), value)
	raw = make([]byte, recordHead, recordHead+len(value))
	binary.BigEndian.PutUint64(raw, uint64(version))
	binary.BigEndian.PutUint64(raw[8:], checksum)
	return append(raw, value...), checksum
}

// decodeRecord returns what is stored under key; value points into raw. A record that fails its
// checksum is store.ErrCorrupt.
func decodeRecord(key, raw []byte) (record, error) {
	if len(raw) < recordHead {
		return record{}, fmt.Errorf("%w: %.80q", store.ErrCorrupt, key)
	}
	version := binary.BigEndian.Uint64(raw)
	r := record{store.Revision(version), binary.BigEndian.Uint64(raw[8:]), raw[recordHead:]}
	if version == 0 || r.checksum != recordChecksum(key, version, r.value) {
		return record{}, fmt.Errorf("%w: %.80q", store.ErrCorrupt, key)
	}
	return r, nil
}

func recordChecksum(key []byte, version uint64, value []byte) uint64 {
	var d xxhash.Digest
	var word [16]byte
	binary.BigEndian.PutUint64(word[:], uint64(len(key)))
	binary.BigEndian.PutUint64(word[8:], version)
	d.Reset()
	d.Write(word[:])
	d.Write(key)
	d.Write(value)
	return d.Sum64()
}

// head is the state of a space: its revision, and over its records their count and the sum of
// their checksums. A record that was lost, or that is older than it should be, changes the sum.
type head struct {
	revision store.Revision
	records  uint64
	sum      uint64
}

const headBytes = 32

func encodeHead(space string, h head) []byte {
	raw := make([]byte, headBytes)
	binary.BigEndian.PutUint64(raw, uint64(h.revision))
	binary.BigEndian.PutUint64(raw[8:], h.records)
	binary.BigEndian.PutUint64(raw[16:], h.sum)
	binary.BigEndian.PutUint64(raw[24:], recordChecksum([]byte(space), 0, raw[:24]))
	return raw
}

func decodeHead(space, raw []byte) (head, error) {
	if len(raw) != headBytes || binary.BigEndian.Uint64(raw[24:]) != recordChecksum(space, 0, raw[:24]) {
		return head{}, fmt.Errorf("%w: the revision of space %.80q", store.ErrCorrupt, space)
	}
	return head{
		revision: store.Revision(binary.BigEndian.Uint64(raw)),
		records:  binary.BigEndian.Uint64(raw[8:]),
		sum:      binary.BigEndian.Uint64(raw[16:]),
	}, nil
}

// readHead returns the head of a space; the zero head if it was never written.
func readHead(tx *bbolt.Tx, space string) (head, error) {
	raw := tx.Bucket(spacesBucket).Get([]byte(space))
	if raw == nil {
		return head{}, nil
	}
	return decodeHead([]byte(space), raw)
}
