package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// publicJWK returns a key as an issuer publishes it, with more members or changed ones: null removes.
func publicJWK(t testing.TB, key *Key, change map[string]any) string {
	t.Helper()
	text, err := MarshalKeySet([]*Key{key})
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Keys []map[string]any `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		t.Fatal(err)
	}
	jwk := set.Keys[0]
	for name, value := range change {
		if value == nil {
			delete(jwk, name)
		} else {
			jwk[name] = value
		}
	}
	changed, err := json.Marshal(jwk)
	if err != nil {
		t.Fatal(err)
	}
	return string(changed)
}

func rsaJWK(n *big.Int, e int64, more string) string {
	return fmt.Sprintf(`{"kty":"RSA","n":%q,"e":%q%s}`, base64.RawURLEncoding.EncodeToString(n.Bytes()),
		base64.RawURLEncoding.EncodeToString(big.NewInt(e).Bytes()), more)
}

type m = map[string]any

// J20: bad keys are ignored, good ones beside them work.
func TestBadKeysAreIgnored(t *testing.T) {
	good, ec, ed := newKeyFor(t, ES256), newKeyFor(t, ES256), newKeyFor(t, EdDSA)
	two := func(bits uint) *big.Int {
		return new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), bits-1), big.NewInt(1))
	}
	var rsa2048 struct{ N string }
	if err := json.Unmarshal([]byte(rfc7515A2Key), &rsa2048); err != nil {
		t.Fatal(err)
	}
	raw, err := base64.RawURLEncoding.DecodeString(rsa2048.N)
	if err != nil {
		t.Fatal(err)
	}
	n := new(big.Int).SetBytes(raw)
	for name, c := range map[string]struct{ jwk, says string }{
		"symmetric":            {`{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","alg":"HS256","kid":"x"}`, "secret"},
		"symmetric without k":  {`{"kty":"oct","kid":"x"}`, "symmetric"},
		"private EC":           {publicJWK(t, ec.Public(), m{"kid": "x", "d": "AAAA"}), "secret"},
		"private RSA":          {rsaJWK(n, 65537, `,"d":"AA","kid":"x"`), "secret"},
		"a prime of RSA":       {rsaJWK(n, 65537, `,"p":"AA","kid":"x"`), "secret"},
		"RSA of 1024 bits":     {rsaJWK(two(1024), 65537, `,"kid":"x"`), "1024"},
		"RSA of 2047 bits":     {rsaJWK(two(2047), 65537, `,"kid":"x"`), "2047"},
		"RSA of 8193 bits":     {rsaJWK(two(8193), 65537, `,"kid":"x"`), "size"},
		"RSA of 100 000 bits":  {rsaJWK(two(100_000), 65537, `,"kid":"x"`), ""},
		"RSA, even":            {rsaJWK(new(big.Int).Sub(n, big.NewInt(1)), 65537, `,"kid":"x"`), "even"},
		"RSA, e=1":             {rsaJWK(n, 1, `,"kid":"x"`), ""},
		"RSA, e=0":             {rsaJWK(n, 0, `,"kid":"x"`), ""},
		"RSA, e=2":             {rsaJWK(n, 2, `,"kid":"x"`), "exponent"},
		"RSA, e=65536":         {rsaJWK(n, 65536, `,"kid":"x"`), "exponent"},
		"RSA, e=2^33+1":        {rsaJWK(n, 1<<33+1, `,"kid":"x"`), "exponent"},
		"RSA, e=2^64+3":        {strings.Replace(rsaJWK(n, 3, `,"kid":"x"`), `"e":"Aw"`, `"e":"AQAAAAAAAAAD"`, 1), ""},
		"RSA without e":        {`{"kty":"RSA","n":"` + rsa2048.N + `","kid":"x"}`, "`e`"},
		"RSA, n a number":      {`{"kty":"RSA","n":5,"e":"AQAB","kid":"x"}`, ""},
		"RSA, n empty":         {`{"kty":"RSA","n":"","e":"AQAB","kid":"x"}`, ""},
		"RSA for encryption":   {rsaJWK(n, 65537, `,"use":"enc","kid":"x"`), "use"},
		"RSA-OAEP":             {rsaJWK(n, 65537, `,"alg":"RSA-OAEP","kid":"x"`), "alg"},
		"RSA as ES256":         {rsaJWK(n, 65537, `,"alg":"ES256","kid":"x"`), "alg"},
		"RSA as HS256":         {rsaJWK(n, 65537, `,"alg":"HS256","kid":"x"`), "alg"},
		"RSA as none":          {rsaJWK(n, 65537, `,"alg":"none","kid":"x"`), "alg"},
		"alg empty":            {rsaJWK(n, 65537, `,"alg":"","kid":"x"`), "alg"},
		"alg a number":         {rsaJWK(n, 65537, `,"alg":1,"kid":"x"`), "alg"},
		"use empty":            {rsaJWK(n, 65537, `,"use":"","kid":"x"`), "use"},
		"use Sig":              {rsaJWK(n, 65537, `,"use":"Sig","kid":"x"`), "use"},
		"use a list":           {rsaJWK(n, 65537, `,"use":["sig"],"kid":"x"`), "use"},
		"key_ops encrypt":      {rsaJWK(n, 65537, `,"key_ops":["encrypt"],"kid":"x"`), "key_ops"},
		"key_ops empty":        {rsaJWK(n, 65537, `,"key_ops":[],"kid":"x"`), "key_ops"},
		"key_ops a string":     {rsaJWK(n, 65537, `,"key_ops":"verify","kid":"x"`), "key_ops"},
		"EC off the curve":     {publicJWK(t, ec.Public(), m{"kid": "x", "y": base64.RawURLEncoding.EncodeToString(make([]byte, 32))}), ""},
		"EC at infinity":       {publicJWK(t, ec.Public(), m{"kid": "x", "x": strings.Repeat("A", 43), "y": strings.Repeat("A", 43)}), ""},
		"EC of another curve":  {publicJWK(t, ec.Public(), m{"kid": "x", "crv": "P-384"}), ""},
		"EC of no known curve": {publicJWK(t, ec.Public(), m{"kid": "x", "crv": "secp256k1"}), ""},
		"EC without curve":     {publicJWK(t, ec.Public(), m{"kid": "x", "crv": nil}), "crv"},
		"EC, short":            {publicJWK(t, ec.Public(), m{"kid": "x", "x": "AAAA"}), ""},
		"EC as ES384":          {publicJWK(t, ec.Public(), m{"kid": "x", "alg": "ES384"}), "alg"},
		"EC as EdDSA":          {publicJWK(t, ec.Public(), m{"kid": "x", "alg": "EdDSA"}), "alg"},
		"EC as OKP":            {publicJWK(t, ec.Public(), m{"kid": "x", "kty": "OKP"}), ""},
		"Ed25519, short":       {publicJWK(t, ed.Public(), m{"kid": "x", "x": "AAAA"}), ""},
		"Ed25519, long":        {publicJWK(t, ed.Public(), m{"kid": "x", "x": base64.RawURLEncoding.EncodeToString(make([]byte, 33))}), ""},
		"X25519":               {publicJWK(t, ed.Public(), m{"kid": "x", "crv": "X25519"}), ""},
		"Ed448":                {publicJWK(t, ed.Public(), m{"kid": "x", "crv": "Ed448"}), ""},
		"unknown kty":          {`{"kty":"AKP","alg":"ML-DSA-44","pub":"AA","kid":"x"}`, "kty"},
		"kty in lower case":    {rsaJWK(n, 65537, `,"kid":"x","KTY":"RSA"`)[:7] + `"rsa"` + rsaJWK(n, 65537, `,"kid":"x"`)[12:], "kty"},
		"kty missing":          {`{"n":"AA","e":"AQAB","kid":"x"}`, "kty"},
		"kid a number":         {rsaJWK(n, 65537, `,"kid":1`), "kid"},
		"kid of 257 bytes":     {rsaJWK(n, 65537, `,"kid":"`+strings.Repeat("x", 257)+`"`), "id"},
		"kid with a newline":   {rsaJWK(n, 65537, `,"kid":"x\n"`), "id"},
		"two n":                {rsaJWK(n, 65537, `,"n":"AA","kid":"x"`), "two members"},
		"two alg, escaped":     {rsaJWK(n, 65537, `,"alg":"RS256","\u0061lg":"PS256"`), "two members"},
		"a number":             {`5`, "object"},
		"null":                 {`null`, "object"},
		"a list":               {`[]`, "object"},
		"an empty object":      {`{}`, "kty"},
	} {
		text := `{"keys":[` + c.jwk + `,` + publicJWK(t, good.Public(), nil) + `,` + c.jwk + `]}`
		set, ignored, err := ParseKeySet([]byte(text))
		if err != nil || set.Len() != 1 || !set.Has(good.ID()) || set.Has("x") || len(ignored) != 2 {
			t.Errorf("%s: %d keys, %q, %v", name, set.Len(), ignored, err)
			continue
		}
		if !strings.Contains(ignored[0], c.says) || !strings.HasPrefix(ignored[1], "key 2") || len(ignored[0]) > 400 || strings.Contains(ignored[0], "\n") {
			t.Errorf("%s: %q", name, ignored)
		}
	}
}

func TestKeySetsThatAreNone(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":       "",
		"HTML":          "<!doctype html><html>",
		"a list":        "[]",
		"null":          "null",
		"no keys":       "{}",
		"keys null":     `{"keys":null}`,
		"keys object":   `{"keys":{}}`,
		"keys twice":    `{"keys":[],"keys":[]}`,
		"keys, escaped": `{"keys":[],"\u006beys":[]}`,
		"Keys":          `{"Keys":[]}`,
		"cut":           `{"keys":[`,
		"a tail":        `{"keys":[]}x`,
		"another":       `{"keys":[]}{"keys":[]}`,
		"deep":          `{"keys":` + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000) + `}`,
		"not UTF-8":     "{\"keys\":[\"\xff\"]}",
		"too large":     `{"keys":[]` + strings.Repeat(" ", MaxKeySetBytes) + `}`,
		"one key":       rfc7515A2Key,
	} {
		set, ignored, err := ParseKeySet([]byte(text))
		if set != nil || ignored != nil || iam.KindOf(err) != iam.KindInvalid {
			t.Errorf("%s: %v, %v, %v", name, set, ignored, err)
		}
	}
	set, ignored, err := ParseKeySet([]byte(`{"keys":[],"more":{"a":1}}`))
	if err != nil || set.Len() != 0 || len(ignored) != 0 || set.Has("") {
		t.Error(set, ignored, err)
	}
	many := `{"keys":[` + strings.Repeat(`{"kty":"oct"},`, 10_000) + rfc7515A3Key + `]}`
	set, ignored, err = ParseKeySet([]byte(many))
	if err != nil || set.Len() != 0 || len(ignored) != MaxKeys+1 {
		t.Errorf("10 001 keys: %d, %d lines, %v", set.Len(), len(ignored), err)
	}
}

func TestFingerprint(t *testing.T) {
	a, b := newKeyFor(t, ES256), newKeyFor(t, EdDSA)
	one := setOf(t, publicJWK(t, a.Public(), nil), publicJWK(t, b.Public(), nil))
	same := setOf(t, publicJWK(t, b.Public(), m{"use": nil, "x5t": "AA"}), publicJWK(t, a.Public(), m{"key_ops": []string{"verify"}}))
	if one.Fingerprint() != same.Fingerprint() {
		t.Error("order and spelling change it")
	}
	for name, other := range map[string]*KeySet{
		"fewer":        NewKeySet(a.Public()),
		"another id":   setOf(t, publicJWK(t, a.Public(), m{"kid": "x"}), publicJWK(t, b.Public(), nil)),
		"another key":  setOf(t, publicJWK(t, newKeyFor(t, ES256).Public(), m{"kid": a.ID()}), publicJWK(t, b.Public(), nil)),
		"one twice":    NewKeySet(a.Public(), a.Public(), b.Public()),
		"none":         nil,
		"an id in two": setOf(t, publicJWK(t, a.Public(), m{"kid": a.ID() + `" "`}), publicJWK(t, b.Public(), nil)),
	} {
		if other.Fingerprint() == one.Fingerprint() || other.Fingerprint() == "" {
			t.Errorf("%s has the same fingerprint", name)
		}
	}
	var zero KeySet
	if zero.Fingerprint() != NewKeySet().Fingerprint() || zero.Len() != 0 || zero.Has("a") || zero.Has("") {
		t.Error("the zero set is not the empty set")
	}
	wide, pinned := setOf(t, rfc7515A2Key), setOf(t, strings.Replace(rfc7515A2Key, `"kty"`, `"alg":"RS256","kty"`, 1))
	if wide.Fingerprint() == pinned.Fingerprint() {
		t.Error("what a key is bound to does not count")
	}
}

func verifyError(t testing.TB, compact string, set *KeySet, allowed ...Algorithm) error {
	t.Helper()
	token, err := Parse(compact)
	if err != nil {
		return err
	}
	_, err = token.Verify(set, allowed)
	return err
}

// J02: the published key is no secret to sign with.
func TestPublicKeyAsHMACSecret(t *testing.T) {
	set := setOf(t, rfc7515A2Key)
	public := set.Keys()[0].public.(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	armoured := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(public)})
	for name, secret := range map[string][]byte{
		"PEM": armoured, "PEM without the last newline": armoured[:len(armoured)-1], "PKCS #1": pkcs1, "DER": der,
		"JWK": []byte(rfc7515A2Key), "modulus": public.N.Bytes(),
	} {
		signed := b64(`{"alg":"HS256"}`) + "." + rfc7515Payload
		mac := hmacSHA256(secret, signed)
		if err := verifyError(t, signed+"."+b64(string(mac)), set); iam.ReasonOf(err) != ReasonAlgorithm {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func hmacSHA256(secret []byte, text string) []byte {
	if len(secret) > 64 {
		sum := sha256.Sum256(secret)
		secret = sum[:]
	}
	var inner, outer [64]byte
	copy(inner[:], secret)
	copy(outer[:], secret)
	for i := range inner {
		inner[i] ^= 0x36
		outer[i] ^= 0x5c
	}
	sum := sha256.Sum256(append(inner[:], text...))
	sum = sha256.Sum256(append(outer[:], sum[:]...))
	return sum[:]
}

// rsaKey is made once: it takes long.
var rsaKey, _ = rsa.GenerateKey(rand.Reader, 2048)

func signRSA(t testing.TB, a Algorithm, header string) string {
	t.Helper()
	signed := b64(header) + "." + b64(`{"sub":"alice"}`)
	var signature []byte
	var err error
	if strings.HasPrefix(string(a), "RS") {
		signature, err = rsa.SignPKCS1v15(nil, rsaKey, a.hash(), digest(a, signed))
	} else {
		signature, err = rsa.SignPSS(rand.Reader, rsaKey, a.hash(), digest(a, signed), &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	}
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(string(signature))
}

// J03, J04, J21: which algorithms a key verifies.
func TestKeysAreBoundToTheirAlgorithm(t *testing.T) {
	wide := setOf(t, rsaJWK(rsaKey.N, int64(rsaKey.E), `,"kid":"k"`))
	if got := wide.Keys()[0].Algorithms(); !slices.Equal(got, Algorithms()[:6]) {
		t.Error(got)
	}
	for _, signed := range Algorithms()[:6] {
		compact := signRSA(t, signed, `{"alg":"`+string(signed)+`","kid":"k"}`)
		if err := verifyError(t, compact, wide); err != nil {
			t.Errorf("%s: %v", signed, err)
		}
		for _, pinned := range Algorithms()[:6] {
			set := setOf(t, rsaJWK(rsaKey.N, int64(rsaKey.E), `,"kid":"k","alg":"`+string(pinned)+`"`))
			err := verifyError(t, compact, set)
			if want := map[bool]iam.Reason{false: ReasonAlgorithm}[signed == pinned]; iam.ReasonOf(err) != want {
				t.Errorf("%s with a key for %s: %v", signed, pinned, err)
			}
			err = verifyError(t, compact, wide, pinned, ES256)
			if want := map[bool]iam.Reason{false: ReasonAlgorithm}[signed == pinned]; iam.ReasonOf(err) != want {
				t.Errorf("%s where %s is allowed: %v", signed, pinned, err)
			}
		}
		for _, other := range Algorithms()[:6] {
			if other == signed {
				continue
			}
			lies := signRSA(t, signed, `{"alg":"`+string(other)+`","kid":"k"}`)
			if err := verifyError(t, lies, wide); iam.ReasonOf(err) != ReasonSignature {
				t.Errorf("signed with %s, says %s: %v", signed, other, err)
			}
		}
	}
	compact := signRSA(t, RS256, `{"alg":"RS256"}`)
	if token, _ := Parse(compact); token != nil {
		if _, err := token.Verify(wide, []Algorithm{}); iam.ReasonOf(err) != ReasonAlgorithm {
			t.Errorf("nothing is allowed: %v", err)
		}
	}
}

// J05, J21: which keys are tried.
func TestKeysByID(t *testing.T) {
	var all []*PrivateKey
	for range maxTries + 1 {
		all = append(all, newKeyFor(t, ES256))
	}
	sameID := func(keys ...*PrivateKey) *KeySet {
		var texts []string
		for _, k := range keys {
			texts = append(texts, publicJWK(t, k.Public(), m{"kid": "same"}))
		}
		return setOf(t, texts...)
	}
	signed := func(k *PrivateKey, kid string) string {
		return signedAs(t, k, `{"alg":"ES256"`+kid+`}`, `{"sub":"alice"}`)
	}
	const same = `,"kid":"same"`
	if err := verifyError(t, signed(all[7], same), sameID(all...)); err != nil {
		t.Errorf("the eighth key of one id: %v", err)
	}
	if err := verifyError(t, signed(all[8], same), sameID(all...)); iam.ReasonOf(err) != ReasonSignature {
		t.Errorf("the ninth key of one id: %v", err)
	}
	if err := verifyError(t, signed(all[7], ""), sameID(all...)); err != nil {
		t.Errorf("without id, the eighth key: %v", err)
	}
	if err := verifyError(t, signed(all[8], ""), sameID(all...)); iam.ReasonOf(err) != ReasonSignature {
		t.Errorf("without id, the ninth key: %v", err)
	}
	// Keys of other kinds do not use up the tries.
	mixed := []string{}
	for range 2 * maxTries {
		mixed = append(mixed, publicJWK(t, newKeyFor(t, EdDSA).Public(), m{"kid": "same"}))
	}
	mixed = append(mixed, publicJWK(t, all[0].Public(), m{"kid": "same"}))
	if err := verifyError(t, signed(all[0], ""), setOf(t, mixed...)); err != nil {
		t.Errorf("behind keys of another kind: %v", err)
	}
	if err := verifyError(t, signed(all[0], ""), setOf(t, mixed[:2]...)); iam.ReasonOf(err) != ReasonUnknownKey {
		t.Errorf("without id, no key of the kind: %v", err)
	}
	if err := verifyError(t, signed(all[0], same), setOf(t, mixed[:2]...)); iam.ReasonOf(err) != ReasonAlgorithm {
		t.Errorf("with the id of a key of another kind: %v", err)
	}
	// Without an id in the set, a token that names one has no key: ids are not guessed.
	nameless := setOf(t, publicJWK(t, all[0].Public(), m{"kid": nil}))
	if err := verifyError(t, signed(all[0], ""), nameless); err != nil {
		t.Errorf("neither has an id: %v", err)
	}
	if err := verifyError(t, signed(all[0], same), nameless); iam.ReasonOf(err) != ReasonUnknownKey {
		t.Errorf("the key has no id: %v", err)
	}
	for _, kid := range []string{"Same", "same ", "../same", "' OR 1=1--", "s\u0430me", "http://127.0.0.1/k"} {
		text, _ := json.Marshal(kid)
		if err := verifyError(t, signed(all[0], `,"kid":`+string(text)), sameID(all[0])); iam.ReasonOf(err) != ReasonUnknownKey {
			t.Errorf("%s: %v", kid, err)
		}
	}
	for _, set := range []*KeySet{nil, {}, NewKeySet()} {
		for _, kid := range []string{"", same} {
			if err := verifyError(t, signed(all[0], kid), set); iam.ReasonOf(err) != ReasonUnknownKey {
				t.Errorf("no keys: %v", err)
			}
		}
	}
}

// J24: the forms of ECDSA signatures that prove nothing.
func TestSignaturesOfECDSA(t *testing.T) {
	for a, curve := range map[Algorithm]elliptic.Curve{ES256: elliptic.P256(), ES384: elliptic.P384(), ES512: elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		key, err := newKey("", private.Public())
		if err != nil {
			t.Fatal(err)
		}
		set := NewKeySet(key)
		signed := b64(`{"alg":"`+string(a)+`"}`) + "." + b64(`{"sub":"alice"}`)
		size := (curve.Params().BitSize + 7) / 8
		r, s, err := ecdsa.Sign(rand.Reader, private, digest(a, signed))
		if err != nil {
			t.Fatal(err)
		}
		pair := func(r, s *big.Int) []byte {
			return append(r.FillBytes(make([]byte, size)), s.FillBytes(make([]byte, size))...)
		}
		der, err := ecdsa.SignASN1(rand.Reader, private, digest(a, signed))
		if err != nil {
			t.Fatal(err)
		}
		good, n, zero := pair(r, s), curve.Params().N, new(big.Int)
		if err := verifyError(t, signed+"."+b64(string(good)), set); err != nil {
			t.Fatalf("%s: %v", a, err)
		}
		for name, signature := range map[string][]byte{
			"0, 0":            pair(zero, zero),
			"r 0":             pair(zero, s),
			"s 0":             pair(r, zero),
			"n, n":            pair(n, n),
			"n, s":            pair(n, s),
			"1, 1":            pair(big.NewInt(1), big.NewInt(1)),
			"swapped":         pair(s, r),
			"DER":             der,
			"a byte less":     good[:len(good)-1],
			"a byte more":     append(slices.Clone(good), 0),
			"a byte in front": append([]byte{0}, good...),
			"half":            good[:size],
			"twice":           append(slices.Clone(good), good...),
			"one byte":        {0},
		} {
			if err := verifyError(t, signed+"."+b64(string(signature)), set); iam.ReasonOf(err) != ReasonSignature {
				t.Errorf("%s, %s: %v", a, name, err)
			}
		}
	}
}

// J25, and what a change of one bit does everywhere.
func TestChangedTokensAreRefused(t *testing.T) {
	ec, ed := newKeyFor(t, ES256), newKeyFor(t, EdDSA)
	set := setOf(t, rsaJWK(rsaKey.N, int64(rsaKey.E), ""), publicJWK(t, ec.Public(), nil), publicJWK(t, ed.Public(), nil))
	for name, compact := range map[string]string{
		"RS256": signRSA(t, RS256, `{"alg":"RS256"}`),
		"PS256": signRSA(t, PS256, `{"alg":"PS256"}`),
		"ES256": signedAs(t, ec, `{"alg":"ES256"}`, `{"sub":"alice"}`),
		"EdDSA": signedAs(t, ed, `{"alg":"EdDSA"}`, `{"sub":"alice"}`),
	} {
		if err := verifyError(t, compact, set); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for i := range compact {
			for _, c := range []byte{'A', '_', '.'} {
				if compact[i] == c {
					continue
				}
				changed := compact[:i] + string(c) + compact[i+1:]
				if err := verifyError(t, changed, set); iam.KindOf(err) != iam.KindUnauthenticated {
					t.Fatalf("%s, %c at %d: %v", name, c, i, err)
				}
			}
		}
		for _, tail := range []string{"A", "AA", "AAAA", compact[strings.LastIndexByte(compact, '.')+1:]} {
			if err := verifyError(t, compact+tail, set); iam.KindOf(err) != iam.KindUnauthenticated {
				t.Errorf("%s with %q behind it: %v", name, tail, err)
			}
		}
	}
	// Salts of another length than the hash's (RFC 7518 section 3.5).
	signed := b64(`{"alg":"PS256"}`) + "." + b64(`{"sub":"alice"}`)
	for _, salt := range []int{0, 20, 31, 33, 64, 222} {
		sign := func() ([]byte, error) {
			return rsa.SignPSS(rand.Reader, rsaKey, crypto.SHA256, digest(PS256, signed), &rsa.PSSOptions{SaltLength: salt})
		}
		if salt == 0 {
			sign = func() ([]byte, error) { return signPSSWithoutSalt(signed) }
		}
		signature, err := sign()
		if err != nil {
			t.Fatal(err)
		}
		if err := verifyError(t, signed+"."+b64(string(signature)), set); iam.ReasonOf(err) != ReasonSignature {
			t.Errorf("a salt of %d bytes: %v", salt, err)
		}
	}
}

// signPSSWithoutSalt does what rsa.SignPSS does not: its 0 means as long as possible.
func signPSSWithoutSalt(signed string) ([]byte, error) {
	hashed := digest(PS256, signed)
	sum := sha256.Sum256(append(make([]byte, 8), hashed...))
	em := make([]byte, 256)
	em[len(em)-34] = 1
	copy(em[len(em)-33:], sum[:])
	em[len(em)-1] = 0xbc
	for i, counter := 0, byte(0); i < len(em)-33; counter++ {
		mask := sha256.Sum256(append(slices.Clone(sum[:]), 0, 0, 0, counter))
		for j := 0; j < len(mask) && i < len(em)-33; j++ {
			em[i] ^= mask[j]
			i++
		}
	}
	em[0] &= 0x7f
	signature := new(big.Int).Exp(new(big.Int).SetBytes(em), rsaKey.D, rsaKey.N).FillBytes(make([]byte, 256))
	// That it is one is checked here, or the test would prove nothing.
	return signature, rsa.VerifyPSS(&rsaKey.PublicKey, crypto.SHA256, hashed, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthAuto})
}
