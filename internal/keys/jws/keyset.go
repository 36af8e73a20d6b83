package jws

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

const (
	// MaxKeySetBytes bounds the text of a key set.
	MaxKeySetBytes = 1 << 20
	// MaxKeys bounds how many keys of a set are looked at. Large issuers publish about ten.
	MaxKeys = 256
)

// Key is a public key that verifies signatures.
type Key struct {
	id         string
	public     crypto.PublicKey
	algorithms []Algorithm
	thumbprint string
}

// newKey returns a key for the given algorithms, or for all that its kind can do.
func newKey(id string, public crypto.PublicKey, algorithms ...Algorithm) (*Key, error) {
	sum, err := (&jose.JSONWebKey{Key: public}).Thumbprint(crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("jws: thumbprint: %w", err)
	}
	if len(algorithms) == 0 {
		algorithms = algorithmsOf(public)
	}
	return &Key{id, public, algorithms, base64.RawURLEncoding.EncodeToString(sum)}, nil
}

// ID returns the key's `kid`; "" if it has none.
func (k *Key) ID() string { return k.id }

// Algorithms returns what the key verifies: the one of its `alg`, else all that its kind can do.
func (k *Key) Algorithms() []Algorithm { return slices.Clone(k.algorithms) }

// Thumbprint returns the base64url of the key's SHA-256 thumbprint (RFC 7638), which is the same
// wherever the key is published.
func (k *Key) Thumbprint() string { return k.thumbprint }

// KeySet is a set of public keys. It does not change; nil and the zero KeySet have no keys.
type KeySet struct {
	keys        []*Key
	byID        map[string][]*Key
	fingerprint string
}

// NewKeySet returns the set of these keys.
func NewKeySet(keys ...*Key) *KeySet {
	s := &KeySet{keys: slices.Clone(keys), byID: make(map[string][]*Key, len(keys))}
	lines := make([]string, len(keys))
	for i, key := range s.keys {
		if key.id != "" {
			s.byID[key.id] = append(s.byID[key.id], key)
		}
		lines[i] = fmt.Sprintf("%q %s %s", key.id, key.thumbprint, key.algorithms)
	}
	slices.Sort(lines)
	sum := sha256.Sum256([]byte(strings.Join(lines, "\n")))
	s.fingerprint = hex.EncodeToString(sum[:])
	return s
}

// Len returns how many keys the set has.
func (s *KeySet) Len() int {
	if s == nil {
		return 0
	}
	return len(s.keys)
}

// Keys returns the keys in their order.
func (s *KeySet) Keys() []*Key {
	if s == nil {
		return nil
	}
	return slices.Clone(s.keys)
}

// Has reports whether a token with this key id can be from one of the keys; without an id, it can be
// from any.
func (s *KeySet) Has(kid string) bool { return len(s.candidates(kid)) > 0 }

// Fingerprint is the same for sets with the same keys, ids and algorithms, whatever their order and
// spelling, and differs for others.
func (s *KeySet) Fingerprint() string {
	if s == nil || s.fingerprint == "" {
		return NewKeySet().fingerprint
	}
	return s.fingerprint
}

func (s *KeySet) candidates(kid string) []*Key {
	switch {
	case s == nil:
		return nil
	case kid == "":
		return s.keys
	}
	return s.byID[kid]
}

// ParseKeySet reads a JWK Set (RFC 7517 section 5). Keys that verify nothing here, or that nobody
// should trust, are ignored, and the others work: ignored has a line for each that says which and why,
// without key material. Keys of one id are all kept. The error is of iam.KindInvalid and means that
// the text is no key set at all; a set without usable keys is none.
func ParseKeySet(text []byte) (set *KeySet, ignored []string, err error) {
	list, err := keyList(text)
	if err != nil {
		return nil, nil, err
	}
	var keys []*Key
	count := 0
	items(list, func(item jsontext.Value) bool {
		if count == MaxKeys {
			ignored = append(ignored, fmt.Sprintf("the keys from number %d on: more than %d are not looked at", count, MaxKeys))
			return false
		}
		key, kid, why := parseKey(item)
		if why != nil {
			ignored = append(ignored, fmt.Sprintf("key %d%s: %v", count, named(kid), why))
		} else {
			keys = append(keys, key)
		}
		count++
		return true
	})
	return NewKeySet(keys...), ignored, nil
}

func named(kid string) string {
	if kid == "" {
		return ""
	}
	return " with id " + untrusted.Quote(kid)
}

// keyList returns the list of keys in a key set. Names that stand twice are refused here for the set
// itself; within a key they are a reason to ignore that key, not the others.
func keyList(text []byte) (jsontext.Value, error) {
	if len(text) > MaxKeySetBytes {
		return nil, iam.Invalidf("the key set has %d bytes, the limit is %d", len(text), MaxKeySetBytes)
	}
	if _, _, err := shape(text); err != nil {
		return nil, iam.Invalidf("the text of the key set %v", err)
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(text), jsontext.AllowDuplicateNames(true))
	value, err := d.ReadValue()
	if err != nil {
		return nil, iam.Invalidf("the text of the key set %v: it must be a JWK Set, {\"keys\": [...]}", fault(err))
	}
	whole := value.Clone()
	if _, err := d.ReadToken(); err != io.EOF || whole.Kind() != '{' {
		return nil, iam.Invalidf("the text is not one JSON object: a key set must be a JWK Set, {\"keys\": [...]}")
	}
	list, count := jsontext.Value(nil), 0
	d = jsontext.NewDecoder(bytes.NewBuffer(whole), jsontext.AllowDuplicateNames(true))
	for d.ReadToken(); d.PeekKind() == '"'; {
		name, err := d.ReadToken()
		if err != nil {
			return nil, iam.Invalidf("the text of the key set %v", fault(err))
		}
		isKeys := name.String() == "keys"
		value, err := d.ReadValue()
		if err != nil {
			return nil, iam.Invalidf("the text of the key set %v", fault(err))
		}
		if isKeys {
			list, count = value.Clone(), count+1
		}
	}
	if count != 1 || list.Kind() != '[' {
		return nil, iam.Invalidf("the JSON object is no JWK Set: it must have one member `keys` that is a list")
	}
	return list, nil
}

// MarshalKeySet returns the JWK Set of these keys, to be published.
func MarshalKeySet(keys []*Key) ([]byte, error) {
	set := jose.JSONWebKeySet{Keys: make([]jose.JSONWebKey, 0, len(keys))}
	for _, key := range keys {
		published := jose.JSONWebKey{Key: key.public, KeyID: key.id, Use: "sig"}
		if len(key.algorithms) == 1 {
			published.Algorithm = string(key.algorithms[0])
		}
		set.Keys = append(set.Keys, published)
	}
	return json.Marshal(set)
}
