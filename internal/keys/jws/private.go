package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

const redacted = "REDACTED"

// PrivateKey is a key that signs. However it is printed, it says REDACTED. Its zero value is no key:
// signing with it fails.
type PrivateKey struct {
	algorithm Algorithm
	public    *Key
	// signer is a function because fmt prints what stands in somebody's unexported field without asking
	// its methods; of a function it prints the address.
	signer func() crypto.Signer
}

// Format says REDACTED for every verb.
func (PrivateKey) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String says REDACTED.
func (PrivateKey) String() string { return redacted }

// GoString says REDACTED.
func (PrivateKey) GoString() string { return redacted }

// LogValue says REDACTED.
func (PrivateKey) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON says REDACTED.
func (PrivateKey) MarshalJSON() ([]byte, error) { return json.Marshal(redacted) }

// MarshalText says REDACTED.
func (PrivateKey) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// NewPrivateKey returns a new random key for ES256 or EdDSA. Other algorithms are verified only: their
// keys or signatures are larger and not better.
func NewPrivateKey(algorithm Algorithm) (*PrivateKey, error) {
	switch algorithm {
	case ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("jws: %w", err)
		}
		return privateKey(key)
	case EdDSA:
		_, key, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("jws: %w", err)
		}
		return privateKey(key)
	default:
		return nil, iam.Invalidf("the gateway does not sign with %s: use %s or %s", untrusted.Quote(string(algorithm)), ES256, EdDSA)
	}
}

// privateKey wraps a key whose kind says its algorithm.
func privateKey(signer crypto.Signer) (*PrivateKey, error) {
	fitting := algorithmsOf(signer.Public())
	if len(fitting) != 1 || fitting[0] != ES256 && fitting[0] != EdDSA {
		return nil, errors.New("jws: the private key is none for ES256 or EdDSA")
	}
	public, err := newKey("", signer.Public(), fitting...)
	if err != nil {
		return nil, err
	}
	public.id = public.thumbprint
	return &PrivateKey{fitting[0], public, func() crypto.Signer { return signer }}, nil
}

// ParsePrivateKey reads what Marshal wrote. The error does not tell what is in it.
func ParsePrivateKey(der []byte) (*PrivateKey, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("jws: the text is no private key in PKCS #8")
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, errors.New("jws: the private key does not sign")
	}
	return privateKey(signer)
}

// Marshal returns the key as PKCS #8 in DER. It is what must be sealed before it is kept.
func (k *PrivateKey) Marshal() ([]byte, error) {
	if k.IsZero() {
		return nil, errNoKey
	}
	der, err := x509.MarshalPKCS8PrivateKey(k.signer())
	if err != nil {
		return nil, errors.New("jws: the private key cannot be written as PKCS #8")
	}
	return der, nil
}

var errNoKey = errors.New("jws: no private key")

// IsZero reports whether k is no key.
func (k *PrivateKey) IsZero() bool { return k == nil || k.signer == nil }

// ID returns the key id that its tokens carry: the public key's thumbprint; "" for no key.
func (k *PrivateKey) ID() string {
	if k.IsZero() {
		return ""
	}
	return k.public.id
}

// Algorithm returns what the key signs with; "" for no key.
func (k *PrivateKey) Algorithm() Algorithm {
	if k.IsZero() {
		return ""
	}
	return k.algorithm
}

// Public returns the half that verifies; nil for no key.
func (k *PrivateKey) Public() *Key {
	if k.IsZero() {
		return nil
	}
	return k.public
}

// Sign returns a signed token with the given `typ` (such as "at+jwt"; "" for none) and the claims as
// encoding/json writes them. What Parse would refuse is not signed.
func (k *PrivateKey) Sign(typ string, claims any) (string, error) {
	if k.IsZero() {
		return "", errNoKey
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("jws: claims: %w", err)
	}
	if _, err := readObject(payload); err != nil {
		return "", fmt.Errorf("jws: the text of the claims %w", err)
	}
	header, err := json.Marshal(struct {
		Algorithm Algorithm `json:"alg"`
		KeyID     string    `json:"kid"`
		Type      string    `json:"typ,omitempty"`
	}{k.algorithm, k.public.id, typ})
	if err != nil {
		return "", fmt.Errorf("jws: header: %w", err)
	}
	token := make([]byte, 0, base64.RawURLEncoding.EncodedLen(len(header)+len(payload)+2*ed25519.SignatureSize)+8)
	token = base64.RawURLEncoding.AppendEncode(token, header)
	token = append(token, '.')
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	signature, err := k.sign(string(token))
	if err != nil {
		return "", err
	}
	token = append(token, '.')
	token = base64.RawURLEncoding.AppendEncode(token, signature)
	if len(token) > MaxTokenBytes {
		return "", fmt.Errorf("jws: the token would have %d bytes, the limit is %d", len(token), MaxTokenBytes)
	}
	return string(token), nil
}

// sign returns the signature in the form of RFC 7518 section 3.4 or RFC 8037 section 3.1.
func (k *PrivateKey) sign(signed string) ([]byte, error) {
	message := digest(k.algorithm, signed)
	switch key := k.signer().(type) {
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, key, message)
		if err != nil {
			return nil, fmt.Errorf("jws: signing: %w", err)
		}
		size := (key.Curve.Params().BitSize + 7) / 8
		signature := make([]byte, 2*size)
		r.FillBytes(signature[:size])
		s.FillBytes(signature[size:])
		return signature, nil
	case ed25519.PrivateKey:
		return ed25519.Sign(key, message), nil
	default:
		return nil, errNoKey
	}
}
