package signing

import (
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
)

// State is where a key is in its life.
type State string

// The states.
const (
	Next      State = "next"      // published; will sign
	Signing   State = "signing"   // signs
	Verifying State = "verifying" // signs no more; what it signed is good until its end
)

// Info is what may be told of a key.
type Info struct {
	ID        string        `json:"id"` // the `kid` of what it signs
	Algorithm jws.Algorithm `json:"algorithm"`
	State     State         `json:"state"`
	Created   time.Time     `json:"created"`
	SignsFrom time.Time     `json:"signs_from"`
	// Ends is when it no longer verifies; zero while no other key is to take over.
	Ends time.Time `json:"ends,omitzero"`
}

// What says what happened to a key.
type What string

// What happens to keys.
const (
	Created  What = "created"   // the first one, or one in place of a deleted one; it signs at once
	Rotated  What = "rotated"   // a new one is published, and signs in PublishAhead
	TookOver What = "took_over" // the next one signs already, because the one before it was deleted
	Retired  What = "retired"   // nothing that it signed is good any more
	Deleted  What = "deleted"   // by order, with everything that it signed
	Failed   What = "failed"    // Run could not do what is due, and tries again
)

// Event is something that happened to a key.
type Event struct {
	What What
	Key  Info  // zero for Failed
	Err  error // nil but for Failed
}

func (d *draft) info(i int) Info {
	e := &d.keys[i].entry
	state := Signing
	switch signer := signerAt(d.keys, d.now); {
	case i > signer:
		state = Next
	case i < signer:
		state = Verifying
	}
	return Info{e.ID, e.Algorithm, state, e.Created, e.SignsFrom, e.Ends}
}
