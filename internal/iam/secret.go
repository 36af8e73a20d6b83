package iam

import (
	"encoding/json"
	"log/slog"
)

// Secret is text that must never be printed: every way of formatting it says REDACTED. Reveal is
// the one way to its value, so that a search for Reveal finds every use.
type Secret struct{ value string }

const redacted = "REDACTED"

// NewSecret wraps a value.
func NewSecret(value string) Secret { return Secret{value} }

// Reveal returns the value.
func (s Secret) Reveal() string { return s.value }

// IsZero reports whether there is no value.
func (s Secret) IsZero() bool { return s.value == "" }

// String says REDACTED.
func (Secret) String() string { return redacted }

// GoString says REDACTED.
func (Secret) GoString() string { return redacted }

// LogValue says REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON says REDACTED.
func (Secret) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText says REDACTED.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }
