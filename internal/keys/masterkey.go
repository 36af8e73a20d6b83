// Package keys holds the master key: the one secret from which the gateway derives every key that
// it does not keep, and under which it seals those that it keeps (design section 5).
package keys

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// MasterKeyBytes is the length of a master key: 256 bits.
const MasterKeyBytes = 32

const redacted = "REDACTED"

// MasterKey is 32 random bytes. However it is printed, it says REDACTED. Its zero value is no key:
// deriving and sealing with it fail.
type MasterKey struct {
	// key is a function because fmt does not ask the methods of what stands in somebody's unexported
	// field, and prints bytes through a pointer too; of a function it prints the address.
	key func() *[MasterKeyBytes]byte
}

func keyOf(raw *[MasterKeyBytes]byte) MasterKey {
	return MasterKey{func() *[MasterKeyBytes]byte { return raw }}
}

// Format says REDACTED for every verb: those that are not for strings would print the bytes.
func (MasterKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String says REDACTED.
func (MasterKey) String() string { return redacted }

// GoString says REDACTED.
func (MasterKey) GoString() string { return redacted }

// LogValue says REDACTED.
func (MasterKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON says REDACTED.
func (MasterKey) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText says REDACTED.
func (MasterKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// IsZero reports whether k is no key.
func (k MasterKey) IsZero() bool { return k.key == nil }

// NewMasterKey returns a random key.
func NewMasterKey() MasterKey {
	raw := new([MasterKeyBytes]byte)
	rand.Read(raw[:]) // never fails (crypto/rand)
	return keyOf(raw)
}

// ParseMasterKey reads a key from the text that operators handle: the standard base64 (RFC 4648
// section 4) of 32 bytes, white space around it ignored. The error tells what is wrong with the
// text, never what is in it.
func ParseMasterKey(text string) (MasterKey, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return MasterKey{}, iam.Invalidf("the master key is empty: %s", howToMake)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return MasterKey{}, iam.Invalidf("the master key is not base64: %s", howToMake)
	}
	if len(raw) != MasterKeyBytes {
		return MasterKey{}, iam.Invalidf("the master key has %d bytes instead of %d: %s", len(raw), MasterKeyBytes, howToMake)
	}
	key := (*[MasterKeyBytes]byte)(raw)
	if *key == [MasterKeyBytes]byte{} {
		return MasterKey{}, iam.Invalidf("the master key is all zeros, which protects nothing: %s", howToMake)
	}
	return keyOf(key), nil
}

// Equal reports whether two keys are the same, in constant time.
func (k MasterKey) Equal(other MasterKey) bool {
	if k.IsZero() || other.IsZero() {
		return k.IsZero() == other.IsZero()
	}
	return subtle.ConstantTimeCompare(k.key()[:], other.key()[:]) == 1
}

const howToMake = "it is the base64 of 32 random bytes, for example from `openssl rand -base64 32`"

// Text returns what ParseMasterKey reads; the zero Secret for no key. It is for the key file and
// nothing else.
func (k MasterKey) Text() iam.Secret {
	if k.IsZero() {
		return iam.Secret{}
	}
	return iam.NewSecret(base64.StdEncoding.EncodeToString(k.key()[:]))
}

// ID tells keys apart without revealing them: the first 4 bytes of the key's SHA-256, in hex; "" for no key.
func (k MasterKey) ID() string {
	if k.IsZero() {
		return ""
	}
	id := k.id()
	return hex.EncodeToString(id[:])
}

func (k MasterKey) id() (id [idBytes]byte) {
	sum := sha256.Sum256(k.key()[:])
	copy(id[:], sum[:])
	return id
}

// Derive returns the key for one purpose: HKDF-SHA256 (RFC 5869) of the master key, without salt,
// the purpose as info. Keys for different purposes say nothing about each other.
// A zero MasterKey panics: it would yield a key that everybody can compute.
func (k MasterKey) Derive(purpose string) [32]byte {
	if k.IsZero() {
		panic("keys: Derive with a zero MasterKey")
	}
	derived, err := hkdf.Key(sha256.New, k.key()[:], nil, purpose, 32)
	if err != nil {
		panic("keys: HKDF: " + err.Error()) // only for more than 255 times 32 bytes
	}
	return [32]byte(derived)
}
