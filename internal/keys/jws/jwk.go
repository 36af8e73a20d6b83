package jws

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// The bounds of an RSA key. Below, it can be factored; above, one check of a signature costs the time
// of a hundred.
const (
	minRSABits = 2048
	maxRSABits = 8192
)

// parseKey reads one JWK. It returns its id also when it is ignored, as far as it could be read.
func parseKey(item jsontext.Value) (key *Key, kid string, why error) {
	jwk, err := readObject(item)
	if err != nil {
		return nil, "", fmt.Errorf("it %w", err)
	}
	kid, err = keyText(jwk, "kid")
	switch {
	case err != nil:
		return nil, "", err
	case len(kid) > maxKeyIDBytes || strings.ContainsFunc(kid, unicode.IsControl):
		return nil, kid, errors.New("no token can name it: its id is too long or has control characters")
	}
	if err := forVerifying(jwk); err != nil {
		return nil, kid, err
	}
	public, err := publicKey(jwk)
	if err != nil {
		return nil, kid, err
	}
	pinned, err := pinnedTo(jwk, public)
	if err != nil {
		return nil, kid, err
	}
	key, err = newKey(kid, public, pinned...)
	return key, kid, err
}

// keyText returns a string member of a JWK; "" if there is none.
func keyText(jwk []member, name string) (string, error) {
	value, ok := find(jwk, name)
	if !ok {
		return "", nil
	}
	s, ok := text(value)
	if !ok {
		return "", fmt.Errorf("its `%s` is %s, but must be a string", name, typeOf(value))
	}
	return s, nil
}

// forVerifying reports why a key is not one that verifies signatures and that everybody may know
// (RFC 7517 sections 4.2 and 4.3, threats J04 and J20).
func forVerifying(jwk []member) error {
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"} {
		if _, ok := find(jwk, private); ok {
			return errors.New("it holds secret key material, which must not be published: replace this key at the issuer")
		}
	}
	use, err := keyText(jwk, "use")
	if err != nil {
		return err
	}
	if _, ok := find(jwk, "use"); ok && use != "sig" {
		return fmt.Errorf("its `use` is %s, not sig", untrusted.Quote(use))
	}
	value, ok := find(jwk, "key_ops")
	if !ok {
		return nil
	}
	operations, ok := texts(value)
	if !ok {
		return errors.New("its `key_ops` is not a list of strings")
	}
	if !slices.Contains(operations, "verify") {
		return errors.New("its `key_ops` does not have verify")
	}
	return nil
}

// publicKey returns the key itself. go-jose sees the members of the public key alone: what it makes of
// certificates must not decide whether a key counts.
func publicKey(jwk []member) (crypto.PublicKey, error) {
	kty, err := keyText(jwk, "kty")
	if err != nil {
		return nil, err
	}
	var members []string
	switch kty {
	case "RSA":
		members = []string{"kty", "n", "e"}
	case "EC":
		members = []string{"kty", "crv", "x", "y"}
	case "OKP":
		members = []string{"kty", "crv", "x"}
	case "":
		return nil, errors.New("it has no `kty`")
	case "oct":
		return nil, errors.New("it is a symmetric key, which must not be published: replace this key at the issuer")
	default:
		return nil, fmt.Errorf("its kind (`kty`) %s is not known", untrusted.Quote(kty))
	}
	var alone bytes.Buffer
	for i, name := range members {
		value, ok := find(jwk, name)
		if !ok {
			return nil, fmt.Errorf("it has no `%s`", name)
		}
		alone.WriteByte("{,"[min(i, 1)])
		fmt.Fprintf(&alone, "%q:%s", name, value)
	}
	alone.WriteByte('}')
	var parsed jose.JSONWebKey
	if err := parsed.UnmarshalJSON(alone.Bytes()); err != nil {
		return nil, fmt.Errorf("it is no %s key that can be used: %s", kty, strings.TrimPrefix(err.Error(), "go-jose/go-jose: "))
	}
	if public, ok := parsed.Key.(*rsa.PublicKey); ok {
		if err := soundRSA(public); err != nil {
			return nil, err
		}
	}
	return parsed.Key, nil
}

// soundRSA refuses RSA keys under which signatures prove nothing: with the exponent 1 every message is
// its own signature (threats J20).
func soundRSA(public *rsa.PublicKey) error {
	bits := public.N.BitLen()
	switch {
	case bits < minRSABits || bits > maxRSABits:
		return fmt.Errorf("it is an RSA key of %d bits; from %d to %d count", bits, minRSABits, maxRSABits)
	case public.N.Bit(0) == 0:
		return errors.New("its modulus is even")
	case public.E < 3 || public.E&1 == 0 || public.E > 1<<31-1:
		return errors.New("its exponent is none that is safe: odd numbers from 3 to 2^31-1 are")
	case roca(public.N):
		return errors.New("it was made by a chip whose keys can be computed from the published half (CVE-2017-15361): replace this key at the issuer")
	}
	return nil
}

// pinnedTo returns the one algorithm of a key that names one. One that does not fit its kind means
// that somebody is mistaken about the key, and it is not used at all.
func pinnedTo(jwk []member, public crypto.PublicKey) ([]Algorithm, error) {
	name, err := keyText(jwk, "alg")
	if err != nil {
		return nil, err
	}
	fitting := algorithmsOf(public)
	if len(fitting) == 0 {
		return nil, errors.New("no algorithm is known for its curve")
	}
	if _, ok := find(jwk, "alg"); !ok {
		return nil, nil
	}
	if !slices.Contains(fitting, Algorithm(name)) {
		return nil, fmt.Errorf("its `alg` is %s, but a key of its kind verifies %v", untrusted.Quote(name), fitting)
	}
	return []Algorithm{Algorithm(name)}, nil
}
