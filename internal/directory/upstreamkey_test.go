package directory_test

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// A key is never left behind by an owner who is deleted at the moment in which it is stored.
func TestUpstreamKeyDoesNotOutliveItsOwner(t *testing.T) {
	h := newHouse(t)
	for range 30 {
		id := h.user("alice")
		team := h.team("vision")
		var both sync.WaitGroup
		for _, owner := range []iam.EntityID{id.PersonalEntity(), team.Entity()} {
			both.Go(func() {
				if _, err := h.SetUpstreamKey(t.Context(), owner, json.RawMessage(`{}`)); err != nil && iam.KindOf(err) != iam.KindNotFound {
					t.Error(err)
				}
			})
		}
		both.Go(func() {
			_, err := h.DeleteUser(t.Context(), id)
			h.check(err)
		})
		both.Go(func() {
			_, err := h.DeleteTeam(t.Context(), team)
			h.check(err)
		})
		both.Wait()
		h.ok(h.UpstreamKeys(t.Context(), func(owner iam.EntityID, _ store.Record) error {
			t.Errorf("the key of %s is left", owner)
			return nil
		}))
	}
}
