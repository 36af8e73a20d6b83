package redis

import (
	"context"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// TestListeners: every process that watches a space counts, and those that stopped do not.
func TestListeners(t *testing.T) {
	server := miniredis.RunT(t)
	asking := open(t, Config{URL: "redis://" + server.Addr()})
	want := func(space string, n int) {
		t.Helper()
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			got, err := asking.Listeners(t.Context(), space)
			if err != nil {
				t.Fatal(err)
			}
			if got == n {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d listen to %q, want %d", got, space, n)
			}
		}
	}
	want("acme", 0)
	stops := make([]context.CancelFunc, 3)
	for i := range stops {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		stops[i] = stop
		if _, err := open(t, Config{URL: "redis://" + server.Addr()}).Watch(ctx, "acme/"); err != nil {
			t.Fatal(err)
		}
	}
	want("acme", 3)
	want("acme-2", 0)
	stops[0]()
	want("acme", 2)
	server.Close()
	if _, err := asking.Listeners(t.Context(), "acme"); err == nil {
		t.Error("a server that is away has an answer")
	}
}
