package migrate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// mark stands in a space while a move into it is not finished.
type mark struct {
	// From is the source, for people.
	From string `json:"from"`
	// Began is when the move, or its latest repetition, began.
	Began time.Time `json:"began"`
}

// markKey is the key of the mark.
func markKey(space string) string { return space + "/unfinished_move" }

// CheckFinished refuses a space into which a move was begun and not finished: it holds a part of a
// directory, in which whoever is missing looks like somebody who never was. Every gateway asks it when
// it starts.
func CheckFinished(ctx context.Context, s store.Store, space string) error {
	r, err := s.Get(ctx, markKey(space))
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return err
	}
	var from string
	var m mark
	if json.Unmarshal(r.Value, &m) == nil && m.From != "" {
		from = fmt.Sprintf(" from %.200q, begun %s,", m.From, m.Began.Format(time.RFC3339))
	}
	return &iam.Error{Kind: iam.KindUnavailable, Reason: "unfinished_move",
		Message: fmt.Sprintf("the store holds only a part of the organization %s: moving it here%s did not end. Run the same `iam migrate` again, which goes on, or start with the store that it is moved from", space, from)}
}
