package keys

import (
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// The sealed form: one version byte, the id of the master key, and what AES-256-GCM makes with a
// random nonce in front (NIST SP 800-38D). Version and key id are authenticated with the context.
const (
	sealVersion = 1
	idBytes     = 4
	headBytes   = 1 + idBytes
	nonceBytes  = 12
	tagBytes    = 16
	// Overhead is how many bytes a sealed text is longer than its plaintext.
	Overhead = headBytes + nonceBytes + tagBytes
	// MaxSealBytes bounds a plaintext; a record cannot hold more anyway.
	MaxSealBytes = 1 << 20
)

// sealPurpose keeps the key that seals apart from every other derived key.
const sealPurpose = "wandb-gateway seal v1"

// The ways in which Open fails. Compare with errors.Is.
var (
	// ErrWrongKey: the text was sealed under another master key.
	ErrWrongKey = errors.New("keys: sealed under another master key")
	// ErrDamaged: the text was changed, cut short, or sealed for another context.
	ErrDamaged = errors.New("keys: the sealed text is damaged or belongs elsewhere")
)

// Seal encrypts and authenticates plaintext. The context says what the text is for, with everything
// that makes its place unique, such as organization and name: a sealed text opens in no other.
func (k MasterKey) Seal(plaintext []byte, context string) ([]byte, error) {
	if len(plaintext) > MaxSealBytes {
		return nil, iam.Invalidf("%d bytes are too many to seal, the limit is %d", len(plaintext), MaxSealBytes)
	}
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	id := k.id()
	head := append(make([]byte, 0, Overhead+len(plaintext)), sealVersion)
	head = append(head, id[:]...)
	return aead.Seal(head, nil, plaintext, boundTo(head, context)), nil
}

// Open returns the plaintext of what Seal made under the same key and context. Its errors are
// ErrWrongKey and ErrDamaged, wrapped in an iam.Error that says what to do.
func (k MasterKey) Open(sealed []byte, context string) ([]byte, error) {
	if len(sealed) < Overhead || sealed[0] != sealVersion {
		return nil, damaged(ErrDamaged)
	}
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	if id := k.id(); [idBytes]byte(sealed[1:headBytes]) != id {
		return nil, &iam.Error{Reason: "master_key_mismatch",
			Message: fmt.Sprintf("a stored secret was sealed under the master key %x, but the gateway runs with %x: start it with the master key it had before", sealed[1:headBytes], id),
			Err:     ErrWrongKey}
	}
	plaintext, err := aead.Open(nil, nil, sealed[headBytes:], boundTo(sealed[:headBytes], context))
	if err != nil {
		return nil, damaged(ErrDamaged)
	}
	return plaintext, nil
}

func damaged(cause error) error {
	return &iam.Error{Reason: "sealed_text_damaged",
		Message: "a stored secret is damaged or was moved from another place: store it again, or restore the store from a backup",
		Err:     cause}
}

// aead returns the cipher under the sealing key.
func (k MasterKey) aead() (cipher.AEAD, error) {
	if k.IsZero() {
		return nil, errors.New("keys: no master key")
	}
	key := k.Derive(sealPurpose)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	// Random nonces are safe for 2^32 texts under one key; a directory seals thousands.
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	return aead, nil
}

// boundTo returns the additional data. The head has a fixed length, so that head and context cannot
// be split in two ways.
func boundTo(head []byte, context string) []byte {
	bound := append(make([]byte, 0, headBytes+len(context)), head...)
	return append(bound, context...)
}
