package jws

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"testing"
)

// gitHub has the size and form of what GitHub Actions sends.
const gitHub = `{"jti":"0a6b2d9c","sub":"repo:acme/detector:ref:refs/heads/main","aud":"acme","ref":"refs/heads/main","sha":"e3b6f85d",
"repository":"acme/detector","repository_owner":"acme","repository_owner_id":"1","run_id":"2","run_number":"3","run_attempt":"1",
"repository_visibility":"private","repository_id":"4","actor_id":"5","actor":"alice","workflow":"train","head_ref":"","base_ref":"",
"event_name":"push","ref_protected":"true","ref_type":"branch","workflow_ref":"acme/detector/.github/workflows/train.yml@refs/heads/main",
"job_workflow_ref":"acme/detector/.github/workflows/train.yml@refs/heads/main","runner_environment":"github-hosted",
"iss":"https://token.actions.githubusercontent.com","nbf":1767225000,"exp":1767225600,"iat":1767225300}`

func BenchmarkParse(b *testing.B) {
	compact := unsigned(`{"typ":"JWT","alg":"RS256","x5t":"abc","kid":"38826b17-6a30-5f9b-b169-8beb8202f723"}`, gitHub)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(compact); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkClaims(b *testing.B) {
	c := claimsOf(b, gitHub)
	b.ReportAllocs()
	for b.Loop() {
		if !c.Matches("repository", "acme/detector") || c.Matches("ref/type", "branch") {
			b.Fatal("wrong")
		}
		if _, ok, err := c.NumericDate("exp"); !ok || err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	run := func(name string, compact string, set *KeySet) {
		token, err := Parse(compact)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := token.Verify(set, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	rsaSet := setOf(b, rsaJWK(rsaKey.N, int64(rsaKey.E), ""))
	for _, a := range Algorithms()[:6] {
		run(string(a), signRSA(b, a, `{"alg":"`+string(a)+`"}`), rsaSet)
	}
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		private, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			b.Fatal(err)
		}
		key, err := newKey("", private.Public())
		if err != nil {
			b.Fatal(err)
		}
		a := key.algorithms[0]
		signer := &PrivateKey{a, key, func() crypto.Signer { return private }}
		run(string(a), signedAs(b, signer, `{"alg":"`+string(a)+`"}`, gitHub), NewKeySet(key))
	}
	ed := newKeyFor(b, EdDSA)
	run("EdDSA", signedAs(b, ed, `{"alg":"EdDSA"}`, gitHub), NewKeySet(ed.Public()))
}

func BenchmarkSign(b *testing.B) {
	claims := map[string]any{"iss": "https://wandb.acme.com", "sub": "user:alice", "aud": "acme", "exp": 1767225600, "jti": "0a6b2d9c"}
	for _, a := range []Algorithm{ES256, EdDSA} {
		k := newKeyFor(b, a)
		b.Run(string(a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Sign("at+jwt", claims); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
