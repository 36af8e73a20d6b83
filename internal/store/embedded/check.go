package embedded

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// bbolt maps the file and follows what its pages say: a damaged page makes it panic, read what
// belongs elsewhere, or miss a record without a word. So the whole file is read here first, with
// bounds checked and in memory of our own, and every statement in it verified: both headers, the
// shape and order of every page, that every page is used once or free, the checksum of every
// record, and the sum over each space, which a lost or older record would change.
//
// The layout is that of bbolt 1.x, file format 2, in the byte order of the machine.
const (
	boltMagic    = 0xED0CDAED
	boltVersion  = 2
	metaBytes    = 64
	pageHead     = 16
	elementBytes = 16
	bucketHead   = 16

	branchPage   = 0x01
	leafPage     = 0x02
	metaPage     = 0x04
	freelistPage = 0x10
	bucketFlag   = 0x01

	minPageBytes = 1 << 10
	maxPageBytes = 1 << 24
	maxDepth     = 64
	noFreelist   = ^uint64(0)
)

var native = binary.NativeEndian

// check returns why the file is not a sound store, as the end of a sentence that begins with its
// name.
func check(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot be read: %w", err)
	}
	return checkImage(f, info.Size())
}

// checkImage is check on anything that can be read at an offset.
func checkImage(r io.ReaderAt, size int64) error {
	if size == 0 {
		return errors.New("is empty, which no store ever is: it was cut off or created by something else")
	}
	m, err := readMeta(r, size)
	if err != nil {
		return err
	}
	c := &checker{file: r, meta: m, used: make([]bool, m.pages), spaces: make(map[string]head)}
	c.used[0], c.used[1] = true, true
	if err := c.checkAll(); err != nil {
		return fmt.Errorf("is damaged: %w", err)
	}
	return nil
}

// meta is one of the two headers of a file: what is valid after one transaction.
type meta struct {
	pageBytes int64
	root      uint64
	freelist  uint64
	pages     uint64
	txid      uint64
}

// readMeta returns the later of the two headers. Both must be sound: a header is written as one
// disk sector, so a crash does not tear it, and without one of them nobody can tell whether the
// last commit is lost.
func readMeta(r io.ReaderAt, size int64) (meta, error) {
	page := make([]byte, pageHead+metaBytes)
	if _, err := r.ReadAt(page, 0); err != nil {
		return meta{}, fmt.Errorf("is no store or is cut off: it has only %d bytes", size)
	}
	first, err := parseMeta(page, 0)
	if err != nil {
		return meta{}, err
	}
	if size < 2*first.pageBytes {
		return meta{}, fmt.Errorf("is cut off: it has only %d bytes", size)
	}
	if _, err := r.ReadAt(page, first.pageBytes); err != nil {
		return meta{}, fmt.Errorf("cannot be read: %w", err)
	}
	second, err := parseMeta(page, 1)
	if err != nil {
		return meta{}, err
	}
	m := first
	if second.txid > first.txid {
		m = second
	}
	switch {
	case first.pageBytes != second.pageBytes || first.txid == second.txid:
		return meta{}, errors.New("is damaged: its two headers contradict each other")
	case m.pages < 2 || m.pages > uint64(size/m.pageBytes):
		return meta{}, fmt.Errorf("is cut off: it should have at least %d pages of %d bytes, and has %d bytes", m.pages, m.pageBytes, size)
	}
	return m, nil
}

func parseMeta(page []byte, id uint64) (meta, error) {
	m := page[pageHead:]
	if native.Uint32(m) != boltMagic {
		return meta{}, fmt.Errorf("is not a store of this gateway, or is damaged: header %d is missing", id)
	}
	if v := native.Uint32(m[4:]); v != boltVersion {
		return meta{}, fmt.Errorf("has file format %d, which this version does not know", v)
	}
	sum := fnv.New64a()
	sum.Write(m[:metaBytes-8])
	if native.Uint64(m[metaBytes-8:]) != sum.Sum64() || native.Uint64(page) != id || native.Uint16(page[8:]) != metaPage {
		return meta{}, fmt.Errorf("is damaged: header %d fails its checksum", id)
	}
	parsed := meta{
		pageBytes: int64(native.Uint32(m[8:])),
		root:      native.Uint64(m[16:]),
		freelist:  native.Uint64(m[32:]),
		pages:     native.Uint64(m[40:]),
		txid:      native.Uint64(m[48:]),
	}
	if b := parsed.pageBytes; b < minPageBytes || b > maxPageBytes || b&(b-1) != 0 || parsed.txid%2 != id {
		return meta{}, fmt.Errorf("is damaged: header %d is no header", id)
	}
	return parsed, nil
}

// checker walks one file.
type checker struct {
	file   io.ReaderAt
	meta   meta
	used   []bool // pages that something refers to
	spaces map[string]head

	space string // of the record visited last
	sum   head   // over the records of space so far; its revision is the highest version seen
}

func (c *checker) checkAll() error {
	roots := make(map[string][]byte)
	err := c.walk(c.meta.root, func(key, value []byte, isBucket bool) error {
		if !isBucket {
			return fmt.Errorf("it has a record %.80q outside its buckets", key)
		}
		roots[string(key)] = bytes.Clone(value)
		return nil
	})
	if err != nil {
		return err
	}
	if err := c.checkBuckets(roots); err != nil {
		return err
	}
	return c.checkFreelist()
}

// checkBuckets looks at the three buckets: the heads of the spaces first, because the records are
// measured by them.
func (c *checker) checkBuckets(roots map[string][]byte) error {
	known := 0
	for _, name := range [][]byte{formatBucket, spacesBucket, recordsBucket} {
		if roots[string(name)] != nil {
			known++
		}
	}
	if known != 3 || len(roots) != 3 {
		return errors.New("it belongs to another program, or lost a part")
	}
	formats := 0
	err := c.walkBucket(roots[string(formatBucket)], func(key, value []byte) error {
		formats++
		if !bytes.Equal(key, formatKey) || !bytes.Equal(value, formatValue) {
			return fmt.Errorf("it was written as %.80q, which this version does not know", value)
		}
		return nil
	})
	if err == nil && formats != 1 {
		err = errors.New("it does not say what wrote it")
	}
	if err != nil {
		return err
	}
	if err := c.walkBucket(roots[string(spacesBucket)], c.checkHead); err != nil {
		return err
	}
	if err := c.walkBucket(roots[string(recordsBucket)], c.checkRecord); err != nil {
		return err
	}
	if err := c.closeSpace(); err != nil {
		return err
	}
	for space, h := range c.spaces { // those that were met have been taken out
		if h.records != 0 {
			return fmt.Errorf("%d records of space %.80q are missing", h.records, space)
		}
	}
	return nil
}

func (c *checker) checkHead(space, raw []byte) error {
	h, err := decodeHead(space, raw)
	if err == nil {
		c.spaces[string(space)] = h
	}
	return err
}

func (c *checker) checkRecord(key, raw []byte) error {
	r, err := decodeRecord(key, raw)
	if err != nil {
		return err
	}
	if len(key) <= len(c.space) || key[len(c.space)] != '/' || string(key[:len(c.space)]) != c.space {
		if err := c.closeSpace(); err != nil {
			return err
		}
		c.space = store.Space(string(key))
	}
	c.sum.records++
	c.sum.sum += r.checksum
	c.sum.revision = max(c.sum.revision, r.version)
	return nil
}

// closeSpace compares what was found of a space with its head, when its last record has been seen:
// keys of one space share a prefix, so they stand together.
func (c *checker) closeSpace() error {
	found := c.sum
	c.sum = head{}
	if found.records == 0 {
		return nil
	}
	h, ok := c.spaces[c.space]
	switch {
	case !ok:
		return fmt.Errorf("the revision of space %.80q is missing", c.space)
	case found.revision > h.revision:
		return fmt.Errorf("space %.80q has records newer than itself", c.space)
	case found.records != h.records || found.sum != h.sum:
		return fmt.Errorf("records of space %.80q are missing or older than they should be", c.space)
	}
	delete(c.spaces, c.space)
	return nil
}

// walkBucket visits every key of a bucket, given what stands in its parent: the page of its root,
// or the page itself when the bucket is small.
func (c *checker) walkBucket(stored []byte, visit func(key, value []byte) error) error {
	if len(stored) < bucketHead {
		return errors.New("a bucket is cut off")
	}
	each := func(key, value []byte, isBucket bool) error {
		if isBucket {
			return fmt.Errorf("bucket %.80q is where a record should be", key)
		}
		return visit(key, value)
	}
	if root := native.Uint64(stored); root != 0 {
		return c.walk(root, each)
	}
	w := walker{c: c, visit: each}
	return w.leaf(stored[bucketHead:], bounds{})
}

// walk visits every key below a page, in order.
func (c *checker) walk(root uint64, visit func(key, value []byte, isBucket bool) error) error {
	w := walker{c: c, visit: visit}
	return w.page(root, bounds{}, 0)
}

// page reads a page with its overflow, into buffer if that is large enough, and marks it as used.
func (c *checker) page(id uint64, buffer []byte) ([]byte, error) {
	if id >= c.meta.pages {
		return nil, fmt.Errorf("page %d does not exist", id)
	}
	var first [pageHead]byte
	if _, err := c.file.ReadAt(first[:], int64(id)*c.meta.pageBytes); err != nil {
		return nil, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	run := uint64(native.Uint32(first[12:])) + 1
	if native.Uint64(first[:]) != id || run > c.meta.pages-id {
		return nil, fmt.Errorf("page %d is not what it should be", id)
	}
	for i := id; i < id+run; i++ {
		if c.used[i] {
			return nil, fmt.Errorf("page %d is used twice", i)
		}
		c.used[i] = true
	}
	page := slices.Grow(buffer[:0], int(run)*int(c.meta.pageBytes))[:int(run)*int(c.meta.pageBytes)]
	if _, err := c.file.ReadAt(page, int64(id)*c.meta.pageBytes); err != nil {
		return nil, fmt.Errorf("page %d cannot be read: %w", id, err)
	}
	return page, nil
}

// checkFreelist verifies that the pages nobody refers to are exactly the free ones: bbolt writes
// into free pages.
func (c *checker) checkFreelist() error {
	if c.meta.freelist == noFreelist {
		return errors.New("it has no list of free pages")
	}
	page, err := c.page(c.meta.freelist, nil)
	if err != nil {
		return err
	}
	if native.Uint16(page[8:]) != freelistPage {
		return errors.New("the list of free pages is not where it should be")
	}
	ids := page[pageHead:]
	count := uint64(native.Uint16(page[10:]))
	if count == 0xFFFF { // too many for the field: the first entry is the count
		count = native.Uint64(ids)
		ids = ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return errors.New("the list of free pages is cut off")
	}
	for i := range count {
		id := native.Uint64(ids[8*i:])
		if id >= c.meta.pages || c.used[id] {
			return fmt.Errorf("page %d is listed as free and is not", id)
		}
		c.used[id] = true
	}
	for id, used := range c.used {
		if !used {
			return fmt.Errorf("page %d is lost", id)
		}
	}
	return nil
}

// bounds are the keys between which a page's keys must lie: from low, below high; nil is no bound.
type bounds struct{ low, high []byte }

func (b bounds) hold(key []byte) bool {
	return bytes.Compare(key, b.low) >= 0 && (b.high == nil || bytes.Compare(key, b.high) < 0)
}

// walker goes through one tree.
type walker struct {
	c     *checker
	visit func(key, value []byte, isBucket bool) error
	// pages are the one page of each depth that is being looked at: those above are still in use.
	pages [maxDepth + 1][]byte
}

func (w *walker) page(id uint64, b bounds, depth int) error {
	if depth > maxDepth {
		return errors.New("its pages are nested too deeply")
	}
	page, err := w.c.page(id, w.pages[depth])
	if err != nil {
		return err
	}
	w.pages[depth] = page
	switch flags := native.Uint16(page[8:]); flags {
	case branchPage:
		return w.branch(page, b, depth)
	case leafPage:
		return w.leaf(page, b)
	default:
		return fmt.Errorf("page %d is of kind %d where records should be", id, flags)
	}
}

// branch visits the pages below a branch page. Each holds keys from its own up to the next one's.
func (w *walker) branch(page []byte, b bounds, depth int) error {
	count := int(native.Uint16(page[10:]))
	if count == 0 {
		return errors.New("a branch page is empty")
	}
	keys := make([][]byte, count)
	children := make([]uint64, count)
	for i := range count {
		at := pageHead + i*elementBytes
		if at+elementBytes > len(page) {
			return errors.New("a branch page is cut off")
		}
		e := page[at:]
		key, ok := part(e, uint64(native.Uint32(e)), uint64(native.Uint32(e[4:])))
		if !ok || !b.hold(key) || i > 0 && bytes.Compare(keys[i-1], key) >= 0 {
			return errors.New("a branch page is out of order")
		}
		keys[i], children[i] = key, native.Uint64(e[8:])
	}
	for i, child := range children {
		below := bounds{keys[i], b.high}
		if i+1 < count {
			below.high = keys[i+1]
		}
		if err := w.page(child, below, depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) leaf(page []byte, b bounds) error {
	if len(page) < pageHead || native.Uint16(page[8:]) != leafPage {
		return errors.New("a leaf page is not what it should be")
	}
	var last []byte
	for i := range int(native.Uint16(page[10:])) {
		at := pageHead + i*elementBytes
		if at+elementBytes > len(page) {
			return errors.New("a leaf page is cut off")
		}
		e := page[at:]
		flags, pos := native.Uint32(e), uint64(native.Uint32(e[4:]))
		keyBytes, valueBytes := uint64(native.Uint32(e[8:])), uint64(native.Uint32(e[12:]))
		key, ok := part(e, pos, keyBytes)
		if !ok || !b.hold(key) || i > 0 && bytes.Compare(last, key) >= 0 {
			return errors.New("a leaf page is out of order")
		}
		value, ok := part(e, pos+keyBytes, valueBytes)
		if !ok || flags&^bucketFlag != 0 {
			return fmt.Errorf("the record %.80q is cut off", key)
		}
		if err := w.visit(key, value, flags == bucketFlag); err != nil {
			return err
		}
		last = key
	}
	return nil
}

// part returns length bytes of b from pos on, if there are that many.
func part(b []byte, pos, length uint64) ([]byte, bool) {
	if pos+length > uint64(len(b)) { // both are below 2^33
		return nil, false
	}
	return b[pos : pos+length : pos+length], true
}
