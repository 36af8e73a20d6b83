package iam

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Secret is text that must never be printed: every way of formatting it says REDACTED. Reveal is
// the one way to its value, so that a search for Reveal finds every use. Secrets are not compared
// with ==.
type Secret struct {
	// A pointer, because fmt prints unexported fields of a larger value without asking their methods.
	value *string
}

const redacted = "REDACTED"

// NewSecret wraps a value.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the value.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == nil }

// Format says REDACTED, whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String says REDACTED.
func (Secret) String() string { return redacted }

// LogValue says REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON says REDACTED.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText says REDACTED.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
