package signing

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// draft is a change of the record while it is decided.
type draft struct {
	k      *Keys
	now    time.Time // whole seconds, as in records
	keys   []key
	events []Event
}

func (k *Keys) draft(r *ring) *draft {
	return &draft{k: k, now: k.c.Now().UTC().Truncate(time.Second), keys: slices.Clone(r.keys)}
}

// encode returns the record's text.
func (d *draft) encode() ([]byte, error) {
	doc := document{Keys: make([]entry, len(d.keys))}
	for i := range d.keys {
		doc.Keys[i] = d.keys[i].entry
	}
	value, err := json.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("signing: %w", err)
	}
	return value, nil
}

func (d *draft) note(what What, i int) {
	d.events = append(d.events, Event{What: what, Key: d.info(i)})
}

// tend does what is due. Only at start is the configured algorithm looked at: two nodes that are
// configured differently, as while a change is rolled out, must not take turns.
func (d *draft) tend(start bool) error {
	if len(d.keys) == 0 {
		return d.add(d.now.Add(-skew), Created)
	}
	newest := &d.keys[len(d.keys)-1]
	switch {
	case start && newest.Algorithm != d.k.c.Algorithm:
		return d.rotate(true)
	case !d.now.Before(newest.SignsFrom.Add(d.k.c.RotateEvery)):
		return d.rotate(false)
	}
	return nil
}

// rotate adds the next key, unless it is there already and another one is not insisted on.
func (d *draft) rotate(insist bool) error {
	if len(d.keys) == 0 {
		return d.add(d.now.Add(-skew), Created)
	}
	if newest := len(d.keys) - 1; !insist && signerAt(d.keys, d.now) < newest {
		return nil
	}
	return d.add(d.now.Add(PublishAhead), Rotated)
}

// add adds a new key behind the others.
func (d *draft) add(signsFrom time.Time, what What) error {
	d.drop()
	if len(d.keys) == maxKeys {
		return iam.Conflictf("there are %d signing keys already, which is the most: wait until the oldest is dropped, or delete some", maxKeys)
	}
	private, err := d.newKey()
	if err != nil {
		return err
	}
	e, err := d.k.seal(private, d.now)
	if err != nil {
		return err
	}
	e.SignsFrom = signsFrom
	d.keys = append(d.keys, key{e, private})
	d.note(what, len(d.keys)-1)
	return nil
}

// newKey makes a key whose id does not look like an option: people give ids to commands.
func (d *draft) newKey() (*jws.PrivateKey, error) {
	for {
		private, err := jws.NewPrivateKey(d.k.c.Algorithm)
		if err != nil || !strings.HasPrefix(private.ID(), "-") {
			return private, err
		}
	}
}

// delete takes a key away, and sees to it that one signs.
func (d *draft) delete(id string) error {
	i := slices.IndexFunc(d.keys, func(k key) bool { return k.ID == id })
	if i < 0 {
		return iam.NotFoundf("there is no signing key %q: it retired, was deleted, or the id is wrong", untrusted.Clip(id))
	}
	signer := signerAt(d.keys, d.now)
	d.note(Deleted, i)
	d.keys = slices.Delete(d.keys, i, i+1)
	switch {
	case i != signer:
		return nil
	case i == len(d.keys):
		return d.add(d.now.Add(-skew), Created) // those before it have retired, and stay so
	}
	d.keys[i].SignsFrom = d.now.Add(-skew)
	d.note(TookOver, i)
	return nil
}

// drop takes away what has ended a while ago: every node judges ends by its own clock, and one whose
// clock is ahead must not take away what still counts for the others.
func (d *draft) drop() {
	for i := 0; i < len(d.keys); {
		if !d.keys[i].ended(d.now.Add(-keepEnded)) {
			i++
			continue
		}
		d.note(Retired, i)
		d.keys = slices.Delete(d.keys, i, i+1)
	}
}

// settle brings the ends in line: a key that signs, now or later, does so until the next one takes
// over, and verifies for the longest life that it gave. One that signs no more keeps its end.
func (d *draft) settle() {
	d.drop()
	retain := int64((d.k.c.Retain + time.Second - 1) / time.Second)
	signer := signerAt(d.keys, d.now)
	for i := signer; i < len(d.keys); i++ {
		e := &d.keys[i].entry
		e.RetainSeconds = max(e.RetainSeconds, retain)
		e.Ends = time.Time{}
		if i+1 < len(d.keys) {
			e.Ends = d.keys[i+1].SignsFrom.Add(time.Duration(e.RetainSeconds) * time.Second)
		}
	}
	for i := range signer {
		if e := &d.keys[i].entry; e.Ends.IsZero() { // a rotation that came late: it signed until now
			e.RetainSeconds = max(e.RetainSeconds, retain)
			e.Ends = d.keys[i+1].SignsFrom.Add(time.Duration(e.RetainSeconds) * time.Second)
		}
	}
}
