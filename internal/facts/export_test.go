package facts

import (
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb/upstream"
)

// KnownForeign reports whether it is remembered of a key that it is nobody's here.
func (w *Wandb) KnownForeign(c iam.Credential) bool { return w.foreign.has(upstream.DigestOf(c)) }
