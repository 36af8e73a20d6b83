package session

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"errors"
	"fmt"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store"
)

// MaxIDTokenBytes bounds the ID tokens that are kept: a longer one would not fit the address to which
// a logout redirects, and many servers refuse addresses over 8 KB.
const MaxIDTokenBytes = 4 << 10

// IDToken returns the ID token of a session for the id_token_hint of a logout at the provider (OpenID
// Connect RP-Initiated Logout 1.0 section 2). It is zero if none was kept, or if there is no such
// session: the logout goes on without it. Ask before End.
//
// It is sealed under a key that is made of the cookie's value: who reads the store cannot open it,
// not even with the master key.
func (s *Sessions) IDToken(ctx context.Context, secret iam.Secret) (iam.Secret, error) {
	key, ok := s.keyOf(secret)
	if !ok {
		return iam.Secret{}, nil
	}
	name := s.names.hint + key[len(s.names.session):]
	r, err := s.store.Get(ctx, name)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return iam.Secret{}, nil
	case err != nil:
		return iam.Secret{}, unreadable(fmt.Errorf("reading an ID token: %w", err))
	}
	aead, ok := s.hintSeal(secret)
	if !ok {
		return iam.Secret{}, nil
	}
	token, err := aead.Open(nil, nil, r.Value, []byte(name))
	if err != nil {
		return iam.Secret{}, damaged(fmt.Errorf("opening record %q: %w", name, err))
	}
	return iam.NewSecret(string(token)), nil
}

// hintOf returns the key of the record of a session's ID token, which there need not be.
func (s *Sessions) hintOf(x *Session) string { return s.names.hint + x.key[len(s.names.session):] }

// sealHint returns what is stored of an ID token; nil for nothing.
func (s *Sessions) sealHint(secret iam.Secret, x *Session, token iam.Secret) []byte {
	if token.IsZero() || len(token.Reveal()) > MaxIDTokenBytes {
		return nil
	}
	aead, ok := s.hintSeal(secret)
	if !ok {
		return nil
	}
	return aead.Seal(nil, nil, []byte(token.Reveal()), []byte(s.hintOf(x)))
}

// hintSeal returns AES-256-GCM with random nonces under the key for a session's ID token, which seals
// one text only.
func (s *Sessions) hintSeal(secret iam.Secret) (cipher.AEAD, bool) {
	key, ok := s.hintKeyOf(secret)
	if !ok {
		return nil, false
	}
	block, err := aes.NewCipher(key[:])
	if err != nil {
		return nil, false // only for keys of another length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	return aead, err == nil
}
