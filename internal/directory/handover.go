package directory

import (
	"context"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/apikey"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// The SDK makes a service account with one request and reads its key with the next (sdk-wire 8), which
// another gateway may get. In between the key is kept for whoever made it, sealed, and until a time. It is
// taken once: reading it is deleting it.

// HandOver says to whom a key is handed over, until when, and how it is sealed on the way. The record's name
// is the context of the seal, so that a sealed key opens in no other place.
type HandOver struct {
	To    iam.PrincipalRef
	Until time.Time
	Seal  func(secret iam.Secret, record string) ([]byte, error)
}

// Handover is a key on its way.
type Handover struct {
	Account iam.ServiceAccountID
	// Record is the name of the record, and Sealed what Seal made of the key for it.
	Record string
	Sealed []byte
	// Made is when, for those that are in the order in which they were made.
	Made time.Time
}

// handoverRecord is the record.
type handoverRecord struct {
	Account iam.ServiceAccountID `json:"account"`
	Sealed  []byte               `json:"sealed"`
	Made    time.Time            `json:"made"`
	Until   time.Time            `json:"until"`
}

func mint() iam.Secret {
	secret, _ := apikey.Mint()
	return secret
}

func (tx *transaction) handOver(h HandOver, account *iam.ServiceAccount, secret iam.Secret) error {
	if h.To.ID == "" {
		return nil
	}
	record := tx.d.names.handover(h.To, account.Team, account.ID)
	sealed, err := h.Seal(secret, record)
	if err != nil {
		return fmt.Errorf("sealing a key: %w", err)
	}
	return tx.put(record, handoverRecord{Account: account.ID, Sealed: sealed, Made: tx.d.now().UTC(), Until: h.Until.UTC()})
}

// TakeHandovers returns the keys that wait for somebody in a team, and forgets them: of two who ask at the
// same moment one gets them. What waited for too long is forgotten too and not returned.
func (d *Directory) TakeHandovers(ctx context.Context, to iam.PrincipalRef, team iam.TeamID) ([]Handover, error) {
	var taken []Handover
	err := d.change(ctx, func(tx *transaction) error {
		taken = nil
		records, err := tx.list(d.names.handovers(to, team))
		if err != nil {
			return err
		}
		for _, record := range records {
			h, err := load[handoverRecord](tx, record)
			if err != nil {
				return err
			}
			if h != nil && d.now().Before(h.Until) {
				taken = append(taken, Handover{h.Account, record, h.Sealed, h.Made})
			}
			if err := tx.delete(record); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return taken, nil
}

// CollectHandovers forgets all keys that nobody took in time, and returns how many there were.
func (d *Directory) CollectHandovers(ctx context.Context) (n int, err error) {
	var late []string
	err = d.scan(ctx, d.names.handoverAll, func(r store.Record) error {
		h, err := decode[handoverRecord](r)
		if err != nil || d.now().Before(h.Until) {
			return err
		}
		late = append(late, r.Key)
		return nil
	})
	if err != nil {
		return 0, err
	}
	for _, record := range late { // one by one: others take theirs meanwhile
		err := d.change(ctx, func(tx *transaction) error { return tx.delete(record) })
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
