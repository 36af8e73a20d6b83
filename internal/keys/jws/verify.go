package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"math/big"
	"slices"

	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// maxTries bounds how many signatures are checked for one token: keys of an issuer that have the same
// id, or all of the right kind where a token names none (threats J21).
const maxTries = 8

// Verify returns the key of the set that signed the token. A token that names a key is tried with the
// keys of that name only; a key works with its own algorithms only (threats J02 to J04). allowed narrows
// the algorithms further: nil allows every one, an empty list none.
// Errors are of iam.KindUnauthenticated; ReasonUnknownKey means that another key set may well have it.
func (t *Token) Verify(set *KeySet, allowed []Algorithm) (*Key, error) {
	if allowed != nil && !slices.Contains(allowed, t.Algorithm) {
		return nil, refuse(ReasonAlgorithm, "the token is signed with %s, which is not allowed for its issuer", t.Algorithm)
	}
	candidates := set.candidates(t.KeyID)
	if len(candidates) == 0 {
		return nil, t.unknownKey()
	}
	digest, tried := digest(t.Algorithm, t.signed), 0
	for _, key := range candidates {
		if tried == maxTries {
			break
		}
		if !slices.Contains(key.algorithms, t.Algorithm) {
			continue
		}
		tried++
		if key.verify(t.Algorithm, digest, t.signature) {
			return key, nil
		}
	}
	switch {
	case tried > 0:
		return nil, refuse(ReasonSignature, "the signature of the token was not made with any of the %d keys that it could be from", tried)
	case t.KeyID == "":
		return nil, t.unknownKey()
	}
	return nil, refuse(ReasonAlgorithm, "the token is signed with %s, but its key %s is not for that algorithm", t.Algorithm, untrusted.Quote(t.KeyID))
}

func (t *Token) unknownKey() error {
	if t.KeyID == "" {
		return refuse(ReasonUnknownKey, "the token names no key, and the key set of its issuer has none for %s", t.Algorithm)
	}
	return refuse(ReasonUnknownKey, "the key %s that the token names is not in the key set of its issuer", untrusted.Quote(t.KeyID))
}

// digest returns what the signature is over: the hash of header and payload as they came, or these
// themselves for EdDSA.
func digest(a Algorithm, signed string) []byte {
	h := a.hash()
	if h == 0 {
		return []byte(signed)
	}
	sum := h.New()
	sum.Write([]byte(signed))
	return sum.Sum(nil)
}

// verify checks one signature. The forms are exact: r and s in full length without DER (RFC 7518
// section 3.4), a salt as long as the hash (section 3.5); the rest is crypto's own strictness.
func (k *Key) verify(a Algorithm, digest, signature []byte) bool {
	switch a {
	case RS256, RS384, RS512:
		public, ok := k.public.(*rsa.PublicKey)
		return ok && rsa.VerifyPKCS1v15(public, a.hash(), digest, signature) == nil
	case PS256, PS384, PS512:
		public, ok := k.public.(*rsa.PublicKey)
		return ok && rsa.VerifyPSS(public, a.hash(), digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
	case ES256, ES384, ES512:
		public, ok := k.public.(*ecdsa.PublicKey)
		return ok && verifyECDSA(public, digest, signature)
	case EdDSA:
		public, ok := k.public.(ed25519.PublicKey)
		return ok && len(public) == ed25519.PublicKeySize && ed25519.Verify(public, digest, signature)
	default:
		return false
	}
}

func verifyECDSA(public *ecdsa.PublicKey, digest, signature []byte) bool {
	size := (public.Curve.Params().BitSize + 7) / 8
	if len(signature) != 2*size {
		return false
	}
	r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
	return ecdsa.Verify(public, digest, r, s)
}

// algorithmsOf returns what a public key can verify; none for keys of other kinds. ECDSA binds each algorithm to its curve
// (RFC 7518 section 3.4).
func algorithmsOf(public crypto.PublicKey) []Algorithm {
	switch key := public.(type) {
	case *rsa.PublicKey:
		return []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512}
	case *ecdsa.PublicKey:
		switch key.Curve.Params().Name {
		case "P-256":
			return []Algorithm{ES256}
		case "P-384":
			return []Algorithm{ES384}
		case "P-521":
			return []Algorithm{ES512}
		}
		return nil
	case ed25519.PublicKey:
		return []Algorithm{EdDSA}
	default:
		return nil
	}
}
