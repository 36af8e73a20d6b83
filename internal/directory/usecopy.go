package directory

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// CopyUses takes the uses of an organization's keys from one store to another, where the later of two times
// stays, and of when the recording began the earlier. It may be repeated after anything.
func CopyUses(ctx context.Context, from, to store.Store, space string) error {
	prefix, after := UsesSpace(space)+"/", ""
	for {
		page, err := from.List(ctx, prefix, after, maxUsesTogether)
		if err != nil || len(page) == 0 {
			return err
		}
		if err := copyUses(ctx, to, page); err != nil {
			return err
		}
		if len(page) < maxUsesTogether {
			return nil
		}
		after = page[len(page)-1].Key
	}
}

func copyUses(ctx context.Context, to store.Store, page []store.Record) error {
	var writes []store.Write
	for _, r := range page {
		there, err := to.Get(ctx, r.Key)
		switch {
		case errors.Is(err, store.ErrNotFound):
			writes = append(writes, store.Write{Key: r.Key, Value: r.Value, Expect: store.Absent()})
		case err != nil:
			return err
		case useOf(r).After(useOf(there)) != strings.HasSuffix(r.Key, "/since") && !useOf(r).Equal(useOf(there)):
			writes = append(writes, store.Write{Key: r.Key, Value: r.Value, Expect: store.At(there.Version)})
		}
	}
	if len(writes) == 0 {
		return nil
	}
	_, err := to.Commit(ctx, writes...)
	return err
}

// useOf reads a record of a use; what cannot be read is older than any.
func useOf(r store.Record) time.Time {
	var u useRecord
	if json.Unmarshal(r.Value, &u) != nil {
		return time.Time{}
	}
	return u.Last
}
