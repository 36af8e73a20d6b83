package tokenexchange

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// fetchedIssuer is an issuer whose keys are fetched and that signs with RS256, as most do. Unlike the
// pinned one of the house it costs what a real one costs: a look at the clock for each judgement.
type fetchedIssuer struct {
	*httptest.Server
	key *rsa.PrivateKey
}

func newFetchedIssuer(b *testing.B) *fetchedIssuer {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	i := &fetchedIssuer{key: key}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{{
			"kty": "RSA", "kid": "bench", "use": "sig", "alg": "RS256",
			"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()),
			"e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(key.E)).Bytes()),
		}}})
	})
	i.Server = httptest.NewServer(mux)
	b.Cleanup(i.Close)
	return i
}

// assertion has the claims that the SDK's documentation shows, for alice.
func (i *fetchedIssuer) assertion(b *testing.B) iam.Secret {
	now := time.Now().Unix()
	claims, err := json.Marshal(map[string]any{"iss": i.URL, "sub": "alice@acme.test", "aud": "acme", "iat": now, "nbf": now, "exp": now + 3600, "jti": "0a6b2d9c"})
	if err != nil {
		b.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	signed := encode([]byte(`{"alg":"RS256","kid":"bench","typ":"JWT"}`)) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(nil, i.key, crypto.SHA256, sum[:])
	if err != nil {
		b.Fatal(err)
	}
	return iam.NewSecret(signed + "." + encode(signature))
}

// newFetchingHouse is a house on the real clock that trusts an issuer whose keys it fetches.
func newFetchingHouse(b *testing.B) (*house, iam.Secret) {
	i := newFetchedIssuer(b)
	h := newHouse(b, func(c *Config) {
		c.Now, c.KeySets, c.Report = time.Now, &KeySets{}, nil
		c.Issuers = append(c.Issuers, TrustedIssuer{URL: i.URL})
	})
	b.Cleanup(h.KeySets.Close)
	return h, i.assertion(b)
}

// BenchmarkIdentify is what finding the caller costs every request: with a token, cached, no more than
// with an API key.
func BenchmarkIdentify(b *testing.B) {
	h, assertion := newFetchingHouse(b)
	made := h.exchange(assertion)
	key, _, err := h.Directory.MintKey(h.ctx, h.alice.Ref(), "bench")
	h.must(err)
	run := func(name string, identify func() (*iam.Principal, error)) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := identify(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("API key", func() (*iam.Principal, error) { return h.Directory.PrincipalByKey(h.ctx, key) })
	run("access token", func() (*iam.Principal, error) { return h.Identify(h.ctx, made.Token) })
	run("assertion", func() (*iam.Principal, error) { return h.Identify(h.ctx, assertion) })
	b.Run("refused", func(b *testing.B) { // the same bad token, again and again
		bad := iam.NewSecret(strings.Replace(assertion.Reveal(), ".", ".A", 1))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := h.Identify(h.ctx, bad); err == nil {
				b.Fatal("it is accepted")
			}
		}
	})
	b.Run("parallel access token", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := h.Identify(h.ctx, made.Token); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// BenchmarkExchange is bounded by one signature check and one signature where nothing is cached.
func BenchmarkExchange(b *testing.B) {
	h, assertion := newFetchingHouse(b)
	h.exchange(assertion)
	n := 0 // goes on when a benchmark is run again, so that nothing new comes twice
	b.Run("repeated assertion", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			h.exchange(assertion)
		}
	})
	b.Run("new assertion", func(b *testing.B) {
		epoch := h.epoch
		b.ReportAllocs()
		for b.Loop() {
			n++
			h.epoch = fmt.Sprint(epoch, n) // nothing is remembered of it
			h.exchange(assertion)
		}
		h.epoch = epoch
	})
	b.Run("bogus assertion", func(b *testing.B) { // an invented signature, each time another
		text := assertion.Reveal()
		at := strings.LastIndexByte(text, '.') + 1
		b.ReportAllocs()
		for b.Loop() {
			n++
			bogus := iam.NewSecret(text[:at] + fmt.Sprintf("%08d", n) + text[at+8:])
			if _, _, err := h.Exchange(h.ctx, Request{Assertion: bogus}); iam.ReasonOf(err) != directory.ReasonUnknownCredential {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkGeneration is part of every judgement, however many issuers are trusted.
func BenchmarkGeneration(b *testing.B) {
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("issuers=%d", n), func(b *testing.B) {
			k := &KeySets{}
			b.Cleanup(k.Close)
			for range n {
				i := newFetchedIssuer(b)
				set, err := k.of(&TrustedIssuer{URL: i.URL})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := set.Keys(b.Context(), "bench"); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportAllocs()
			for b.Loop() {
				if k.generation() == 0 {
					b.Fatal("no keys")
				}
			}
		})
	}
}
