package storetest

import (
	"errors"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

func testAdvance(t *testing.T, s store.Store) {
	a, ok := s.(store.Advancer)
	if !ok {
		t.Fatalf("%T cannot advance", s)
	}
	advance := func(space string, r, want store.Revision) {
		t.Helper()
		if got, err := a.Advance(t.Context(), space, r); err != nil || got != want {
			t.Errorf("advancing %q to %d: %d, %v, want %d", space, r, got, err, want)
		}
	}
	advance("acme", 1000, 1000) // a space that was never written
	wantRecord(t, s, store.RevisionKey("acme"), "", 1000)
	wantKeys(t, s, "acme/", "", 0)
	if got := commit(t, s, put("acme/a", "x")); got != 1001 {
		t.Errorf("the next commit returned revision %d", got)
	}
	changes := watch(t, s, "acme/")
	advance("acme", 7, 1001) // never back
	advance("acme", 1001, 1001)
	advance("acme", 5000, 5000)
	if change := await(t, changes, 5000); !change.Gap {
		t.Errorf("advancing yields %+v, want a gap", change)
	}
	wantRecord(t, s, "acme/a", "x", 1001)
	wantRecord(t, s, store.RevisionKey("acme"), "", 5000)
	if got := commit(t, s, store.Write{Key: "acme/a", Value: []byte("y"), Expect: store.At(1001)}); got != 5001 {
		t.Errorf("the next commit returned revision %d", got)
	}
	wantNone(t, s, store.RevisionKey("acme-2"))
	advance("beta", store.MaxRevision-10, store.MaxRevision-10)
	if got := commit(t, s, put("beta/a", "x")); got != store.MaxRevision-9 {
		t.Errorf("the commit after a large revision returned %d", got)
	}
	for _, bad := range []struct {
		space string
		r     store.Revision
	}{{"", 1}, {"acme/a", 1}, {"acme", 0}, {"acme", store.MaxRevision + 1}, {strings.Repeat("x", store.MaxKeyBytes), 1}} {
		if _, err := a.Advance(t.Context(), bad.space, bad.r); !errors.Is(err, store.ErrInvalid) {
			t.Errorf("advancing %.20q to %d: %v, want ErrInvalid", bad.space, bad.r, err)
		}
	}
}
