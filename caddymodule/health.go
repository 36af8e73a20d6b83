package caddymodule

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// healthz says that the process answers.
func healthz(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	io.WriteString(w, "ok\n")
}

// readyTimeout bounds how long a load balancer waits for a store that hangs.
const readyTimeout = 2 * time.Second

// readyz says whether the store answers and the key material is there, so that requests can be
// judged. Key material is checked before the app starts.
func readyz(s *state) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), readyTimeout)
		defer cancel()
		w.Header().Set("Cache-Control", "no-store")
		_, err := s.store.Get(ctx, store.RevisionKey(s.space))
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
			io.WriteString(w, "the store does not answer\n")
			return
		}
		io.WriteString(w, "ready\n")
	})
}
