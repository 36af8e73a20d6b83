package tests

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// issuer is an identity provider that a test controls: discovery and a key set over HTTP on
// loopback, and assertions signed with any key. It knows nothing of the code under test, so that
// both cannot be wrong in the same way.
type issuer struct {
	*httptest.Server
	name string // the `iss` of its assertions, exact

	mu          sync.Mutex
	keys        []map[string]any // published
	discoveries int
	keySets     int
	// answers, when set, is asked first; it reports whether it answered.
	answers func(w http.ResponseWriter, r *http.Request) bool
}

// newIssuer starts an issuer that publishes the public part of the keys.
func newIssuer(t *testing.T, keys ...*signingKey) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewServer(i)
	i.name = i.URL
	i.publish(keys...)
	t.Cleanup(func() {
		i.CloseClientConnections() // an answer that hangs would hold up Close
		i.Close()
	})
	return i
}

func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		i.discoveries++
	case "/keys":
		i.keySets++
	}
	answers, keys := i.answers, i.keys
	i.mu.Unlock()
	if answers != nil && answers(w, r) {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		json.NewEncoder(w).Encode(i.discovery())
	case "/keys":
		json.NewEncoder(w).Encode(map[string]any{"keys": keys})
	default:
		http.NotFound(w, r)
	}
}

// discovery is the issuer's metadata, with what OpenID Connect Discovery demands.
func (i *issuer) discovery() map[string]any {
	return map[string]any{
		"issuer": i.name, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize",
		"response_types_supported": []string{"id_token"}, "subject_types_supported": []string{"public"},
		"id_token_signing_alg_values_supported": []string{"RS256"},
	}
}

// publish replaces the key set.
func (i *issuer) publish(keys ...*signingKey) {
	set := []map[string]any{}
	for _, k := range keys {
		set = append(set, k.public)
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = set
}

// misbehaves makes f answer every request for which it returns true; nil makes the issuer well again.
func (i *issuer) misbehaves(f func(w http.ResponseWriter, r *http.Request) bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answers = f
}

// fetches returns how often each document was asked for.
func (i *issuer) fetches() (discoveries, keySets int) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.discoveries, i.keySets
}

// claims are a valid assertion's, for subject and audience acme, with a canary that no log may hold.
func (i *issuer) claims(subject string) map[string]any {
	now := time.Now()
	return map[string]any{
		"iss": i.name, "sub": subject, "aud": "acme", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"jti": rand.Text(), "canary": canary,
	}
}

// canary is in every assertion; whoever logs claims that he does not know logs it.
const canary = "canary-3f9c2e71d5"

// signingKey is a key of an issuer: how it signs, and what the issuer publishes of it.
type signingKey struct {
	algorithm string
	private   crypto.Signer
	public    map[string]any
}

// algorithms are those that an issuer may sign with.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

// sharedRSA is the RSA key of all tests that need any: making one takes long.
var sharedRSA = sync.OnceValue(func() *rsa.PrivateKey {
	k, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return k
})

// newKey makes a key. RSA keys share one modulus, under different ids.
func newKey(t *testing.T, algorithm, id string) *signingKey {
	t.Helper()
	k := &signingKey{algorithm: algorithm}
	var err error
	switch algorithm {
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		k.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		k.private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		k.private = sharedRSA()
	}
	if err != nil {
		t.Fatal(err)
	}
	k.public = publicJWK(k.private)
	k.public["kid"], k.public["use"], k.public["alg"] = id, "sig", algorithm
	return k
}

// publishedAs returns the key with other members in its published form; nil removes a member.
func (k *signingKey) publishedAs(members map[string]any) *signingKey {
	public := map[string]any{}
	for _, from := range []map[string]any{k.public, members} {
		for name, value := range from {
			if public[name] = value; value == nil {
				delete(public, name)
			}
		}
	}
	return &signingKey{k.algorithm, k.private, public}
}

// publicJWK is the public part of a key as RFC 7518 section 6 and RFC 8037 write it.
func publicJWK(private crypto.Signer) map[string]any {
	switch k := private.Public().(type) {
	case *rsa.PublicKey:
		return map[string]any{"kty": "RSA", "n": encode(k.N.Bytes()), "e": encode(big.NewInt(int64(k.E)).Bytes())}
	case *ecdsa.PublicKey:
		point, err := k.Bytes()
		if err != nil {
			panic(err)
		}
		size := (len(point) - 1) / 2
		return map[string]any{"kty": "EC", "crv": k.Curve.Params().Name, "x": encode(point[1 : 1+size]), "y": encode(point[1+size:])}
	case ed25519.PublicKey:
		return map[string]any{"kty": "OKP", "crv": "Ed25519", "x": encode(k)}
	}
	panic("a key of another kind")
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// header is a header that names the key.
func (k *signingKey) header() map[string]any {
	return map[string]any{"alg": k.algorithm, "kid": k.public["kid"], "typ": "JWT"}
}

// token signs claims under the key's own header.
func (k *signingKey) token(claims map[string]any) string {
	return k.sign(toJSON(k.header()), toJSON(claims))
}

// headed signs claims under a header with other members; nil removes one.
func (k *signingKey) headed(members, claims map[string]any) string {
	h := k.header()
	for name, value := range members {
		if h[name] = value; value == nil {
			delete(h, name)
		}
	}
	return k.sign(toJSON(h), toJSON(claims))
}

// sign signs header and payload byte for byte, however odd.
func (k *signingKey) sign(header, payload string) string {
	input := encode([]byte(header)) + "." + encode([]byte(payload))
	return input + "." + encode(k.signature(k.algorithm, input))
}

// signature signs with an algorithm of the key's own kind, which need not be the key's.
func (k *signingKey) signature(algorithm, input string) []byte {
	var hash crypto.Hash
	switch algorithm[2:] {
	case "256":
		hash = crypto.SHA256
	case "384":
		hash = crypto.SHA384
	case "512":
		hash = crypto.SHA512
	}
	sum := []byte(input)
	if hash != 0 {
		h := hash.New()
		h.Write(sum)
		sum = h.Sum(nil)
	}
	var signature []byte
	var err error
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		var options crypto.SignerOpts = hash
		if algorithm[0] == 'P' {
			options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: hash}
		}
		signature, err = private.Sign(rand.Reader, sum, options)
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		if r, s, err = ecdsa.Sign(rand.Reader, private, sum); err == nil {
			signature = fixed(r, s, (private.Curve.Params().BitSize+7)/8)
		}
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, sum)
	}
	if err != nil {
		panic(err)
	}
	return signature
}

// fixed is r and s as RFC 7518 section 3.4 joins them.
func fixed(r, s *big.Int, size int) []byte {
	b := make([]byte, 2*size)
	r.FillBytes(b[:size])
	s.FillBytes(b[size:])
	return b
}

func toJSON(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic(err)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

// decodeToken reads header and claims of a token without verifying it.
func decodeToken(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("a token of %d parts", len(parts))
	}
	for i, into := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// trusting is the configuration of a gateway that trusts the issuers and counts no failures.
func trusting(issuers ...*issuer) string {
	var b strings.Builder
	b.WriteString("failure_limit off\n")
	for _, i := range issuers {
		fmt.Fprintf(&b, "\t\tjwt_issuer %s\n", i.name)
	}
	return b.String()
}
