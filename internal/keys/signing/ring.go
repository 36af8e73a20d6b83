package signing

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// entry is a key as it is recorded, in the order in which keys sign. All but the last have an end.
type entry struct {
	ID        string        `json:"id"`
	Algorithm jws.Algorithm `json:"algorithm"`
	Sealed    []byte        `json:"sealed"` // PKCS #8, under the context of its record and id
	Created   time.Time     `json:"created"`
	SignsFrom time.Time     `json:"signs_from"`
	// RetainSeconds is the longest Retain under which the key signed.
	RetainSeconds int64 `json:"retain_seconds"`
	// Ends is when it verifies no more: that long after the next one takes over.
	Ends time.Time `json:"ends,omitzero"`
}

// ended reports whether the key no longer counts: exactly from its end on.
func (e *entry) ended(now time.Time) bool { return !e.Ends.IsZero() && !now.Before(e.Ends) }

type document struct {
	Keys []entry `json:"keys"`
}

// key is an entry that was opened.
type key struct {
	entry
	private *jws.PrivateKey
}

// ring is the record, opened once for each revision. Nobody changes its keys.
type ring struct {
	keys    []key
	value   []byte
	version store.Revision
	present atomic.Pointer[moment]
}

// same reports whether the record has this text.
func (r *ring) same(value []byte) bool { return r.version != 0 && bytes.Equal(r.value, value) }

func (r *ring) expect() store.Expect {
	if r.version == 0 {
		return store.Absent()
	}
	return store.At(r.version)
}

// moment is what the keys are for a while: from included, until not.
type moment struct {
	from, until time.Time // until is zero when only a new record can change anything
	signer      *jws.PrivateKey
	verifying   *jws.KeySet
	published   func() ([]byte, error)
}

// at returns the present moment, made anew only when it has passed.
func (r *ring) at(now time.Time) *moment {
	if m := r.present.Load(); m != nil && !now.Before(m.from) && (m.until.IsZero() || now.Before(m.until)) {
		return m
	}
	m := &moment{from: now.Round(0)} // without the monotonic clock: records are of the wall's
	m.signer = r.keys[signerAt(r.keys, now)].private
	var counting []*jws.Key
	for i := range r.keys {
		e := &r.keys[i].entry
		for _, change := range []time.Time{e.SignsFrom, e.Ends} {
			if change.After(now) && (m.until.IsZero() || change.Before(m.until)) {
				m.until = change
			}
		}
		if !e.ended(now) {
			counting = append(counting, r.keys[i].private.Public())
		}
	}
	m.verifying = jws.NewKeySet(counting...)
	m.published = sync.OnceValues(func() ([]byte, error) { return jws.MarshalKeySet(counting) })
	r.present.Store(m)
	return m
}

// signerAt returns which key signs: the last whose time has come. The first one signs even before
// its time, which is another node's clock that was ahead.
func signerAt(keys []key, now time.Time) int {
	for i := len(keys) - 1; i > 0; i-- {
		if !keys[i].SignsFrom.After(now) {
			return i
		}
	}
	return 0
}

// open decodes the record and opens its keys. What cannot be trusted in one key makes the whole
// unusable: a gateway that goes on with half of its keys refuses tokens for no reason its users see.
func (k *Keys) open(record store.Record) (*ring, error) {
	var doc document
	if err := json.Unmarshal(record.Value, &doc); err != nil {
		return nil, k.damaged(fmt.Errorf("decoding: %w", err))
	}
	if len(doc.Keys) == 0 || len(doc.Keys) > maxKeys {
		return nil, k.damaged(fmt.Errorf("%d keys", len(doc.Keys)))
	}
	r := &ring{keys: make([]key, len(doc.Keys)), value: record.Value, version: record.Version}
	for i, e := range doc.Keys {
		if last := i == len(doc.Keys)-1; last != e.Ends.IsZero() {
			return nil, k.damaged(fmt.Errorf("key %d of %d has the end %s", i, len(doc.Keys), e.Ends))
		}
		if slices.ContainsFunc(doc.Keys[:i], func(other entry) bool { return other.ID == e.ID }) {
			return nil, k.damaged(fmt.Errorf("key %d is there twice", i))
		}
		private, err := k.unseal(e)
		if err != nil {
			return nil, err
		}
		r.keys[i] = key{e, private}
	}
	return r, nil
}

func (k *Keys) unseal(e entry) (*jws.PrivateKey, error) {
	der, err := k.c.Master.Open(e.Sealed, k.context(e.ID))
	if err != nil {
		return nil, k.unreadable(err)
	}
	defer clear(der)
	private, err := jws.ParsePrivateKey(der)
	if err != nil {
		return nil, k.damaged(err)
	}
	if private.ID() != e.ID || private.Algorithm() != e.Algorithm {
		return nil, k.damaged(errors.New("a key is not what its record says"))
	}
	return private, nil
}

// seal makes the entry of a new key. SignsFrom is set by who adds it.
func (k *Keys) seal(private *jws.PrivateKey, now time.Time) (entry, error) {
	der, err := private.Marshal()
	if err != nil {
		return entry{}, err
	}
	defer clear(der)
	sealed, err := k.c.Master.Seal(der, k.context(private.ID()))
	return entry{ID: private.ID(), Algorithm: private.Algorithm(), Sealed: sealed, Created: now}, err
}

// context is what a sealed key is for: it opens in no other place.
func (k *Keys) context(id string) string { return k.key + "/" + id }

func (k *Keys) damaged(cause error) error {
	return &iam.Error{Reason: ReasonUnreadable, Err: fmt.Errorf("record %q: %w", k.key, cause),
		Message: "the gateway's signing keys are damaged in its store: restore the store from a backup"}
}

// unreadable says why a key could not be opened, with the remedy of whoever sealed it.
func (k *Keys) unreadable(err error) error {
	what := "they are damaged or were moved from another place: restore the store from a backup"
	if errors.Is(err, keys.ErrWrongKey) {
		what = "they were sealed under another master key: start the gateway with the master key it had before"
	}
	return &iam.Error{Reason: ReasonUnreadable, Message: "the gateway's signing keys cannot be opened: " + what, Err: err}
}
