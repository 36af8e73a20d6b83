// Package jws reads, verifies and signs tokens in the compact form of a JSON Web Signature (RFC 7515)
// whose payload is a set of claims (RFC 7519), and reads the key sets (RFC 7517) that verify them. It
// is the one package that knows go-jose. It decides what a token says and whether a key signed it;
// whom the claims name, for whom they are meant and whether their time has come, its callers judge.
//
// It is narrower than the standards on purpose (RFC 8725): asymmetric algorithms only, each key bound
// to what its own `alg` or its kind says, one encoding of every token, no member twice.
package jws

import (
	"crypto"
	_ "crypto/sha256" // the hashes that the algorithms name
	_ "crypto/sha512"
	"fmt"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// Algorithm is how a token is signed, as its header's `alg` says (RFC 7518 section 3.1, RFC 8037
// section 3.1).
type Algorithm string

// The algorithms that can be trusted: the verifier of each cannot sign.
const (
	RS256 Algorithm = "RS256"
	RS384 Algorithm = "RS384"
	RS512 Algorithm = "RS512"
	PS256 Algorithm = "PS256"
	PS384 Algorithm = "PS384"
	PS512 Algorithm = "PS512"
	ES256 Algorithm = "ES256"
	ES384 Algorithm = "ES384"
	ES512 Algorithm = "ES512"
	EdDSA Algorithm = "EdDSA" // with Ed25519
)

// The reasons for which a token is refused. They are for the audit event and for explain; who sent the
// token is told none of them (threats J30).
const (
	// ReasonMalformed: the text is not one canonical, signed, compact token with claims.
	ReasonMalformed iam.Reason = "assertion_malformed"
	// ReasonAlgorithm: its algorithm is unknown, forbidden, or not that of the key.
	ReasonAlgorithm iam.Reason = "algorithm_not_allowed"
	// ReasonSignature: no key that it could be from made its signature.
	ReasonSignature iam.Reason = "signature_invalid"
	// ReasonUnknownKey: the key set has no key for it.
	ReasonUnknownKey iam.Reason = "unknown_key"
	// ReasonCritical: its header asks for an extension that nobody here understands.
	ReasonCritical iam.Reason = "critical_header"
)

var algorithms = []Algorithm{RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA}

// Algorithms returns every algorithm that can be trusted.
func Algorithms() []Algorithm { return append([]Algorithm(nil), algorithms...) }

// ParseAlgorithm reads the name of an algorithm, letter by letter. `none` and the HMAC algorithms are
// refused with the reason for it (threats J01, J02).
func ParseAlgorithm(name string) (Algorithm, error) {
	for _, a := range algorithms {
		if string(a) == name {
			return a, nil
		}
	}
	return "", iam.Invalidf("%s", whyNot(name))
}

// whyNot says why a name is none of the algorithms.
func whyNot(name string) string {
	upper := strings.ToUpper(name)
	switch {
	case upper == "NONE":
		return fmt.Sprintf("the algorithm %s leaves a token unsigned, so that anybody could write it: use one of %s", untrusted.Quote(name), known())
	case len(name) > 2 && upper[:2] == "HS":
		return fmt.Sprintf("the algorithm %s is not accepted: whoever can verify with it can also sign, and the published key of an issuer would be the secret; use one of %s", untrusted.Quote(name), known())
	}
	for _, a := range algorithms {
		if strings.EqualFold(string(a), name) {
			return fmt.Sprintf("the algorithm %s is not written as the standard does: write %s", untrusted.Quote(name), a)
		}
	}
	return fmt.Sprintf("the algorithm %s is not known: use one of %s", untrusted.Quote(name), known())
}

func known() string {
	names := make([]string, len(algorithms))
	for i, a := range algorithms {
		names[i] = string(a)
	}
	return strings.Join(names, ", ")
}

// hash returns the hash that is signed; 0 for EdDSA, which signs the message itself, and for what is
// no algorithm.
func (a Algorithm) hash() crypto.Hash {
	switch a {
	case RS256, PS256, ES256:
		return crypto.SHA256
	case RS384, PS384, ES384:
		return crypto.SHA384
	case RS512, PS512, ES512:
		return crypto.SHA512
	case EdDSA:
		return 0
	default:
		return 0
	}
}

func malformed(format string, args ...any) error {
	return refuse(ReasonMalformed, format, args...)
}

func refuse(reason iam.Reason, format string, args ...any) error {
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: reason, Message: fmt.Sprintf(format, args...)}
}
