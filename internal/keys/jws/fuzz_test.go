package jws

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// FuzzParse: whatever comes, Parse refuses it with one of its reasons, or reads a token of which there
// is no second spelling and whose claims any JSON reader reads the same.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		rfc7515A1, rfc7515A2, rfc7515A3, rfc7515A5, rfc8037, "", "..", "a.b.c", "a.b.c.d.e", strings.Repeat(".", 100),
		unsigned(`{"alg":"ES256","kid":"k","typ":"at+jwt"}`, `{"sub":"alice","aud":["acme"],"exp":1767225600}`),
		unsigned(`{"alg":"ES256","crit":["b64"],"b64":false}`, `{}`),
		unsigned(`{"alg":"RS256","alg":"none"}`, `{"a":{"b":[1,{"c":null}]},"a":1}`),
		unsigned(`{"alg":"EdDSA"}`, `{"kubernetes.io":{"namespace":"ml"},"\u0061":"\ud83d\ude00"}`),
		unsigned(`{"alg":"ES256"}`, strings.Repeat(`{"a":`, 40)+"1"+strings.Repeat("}", 40)),
	} {
		f.Add(seed)
	}
	set := NewKeySet()
	f.Fuzz(func(t *testing.T, compact string) {
		token, err := Parse(compact)
		if err != nil {
			if token != nil || iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) == "" {
				t.Fatalf("%v, %v", token, err)
			}
			return
		}
		parts := strings.Split(compact, ".")
		if len(parts) != 3 || len(compact) > MaxTokenBytes {
			t.Fatalf("%d parts, %d bytes", len(parts), len(compact))
		}
		for i, part := range parts {
			decoded, err := base64.RawURLEncoding.DecodeString(part)
			if err != nil || base64.RawURLEncoding.EncodeToString(decoded) != part {
				t.Fatalf("part %d has another spelling: %v", i, err)
			}
			if i == 1 {
				var claims map[string]json.RawMessage
				if err := json.Unmarshal(decoded, &claims); err != nil || len(claims) != len(token.Claims.Names()) {
					t.Fatalf("%d claims, %d names, %v", len(claims), len(token.Claims.Names()), err)
				}
				for _, name := range token.Claims.Names() {
					if text, ok := token.Claims.Lookup(name); name != "" && (!ok || text != string(claims[name])) {
						t.Fatalf("%q: %s, %v, want %s", name, text, ok, claims[name])
					}
				}
			}
		}
		for _, name := range append(token.Claims.Names(), "exp", "a/b/c") {
			token.Claims.Text(name)
			token.Claims.Texts(name)
			token.Claims.Bool(name)
			token.Claims.NumericDate(name)
			token.Claims.Matches(name, "a")
		}
		if _, err := token.Verify(set, nil); err == nil {
			t.Fatal("verified without a key")
		}
	})
}

// FuzzParseKeySet: whatever an issuer publishes, the keys that are read can be published again and are
// the same then, and verifying with them does not panic.
func FuzzParseKeySet(f *testing.F) {
	for _, seed := range []string{
		`{"keys":[` + rfc7515A2Key + `,` + rfc7515A3Key + `,` + rfc8037Key + `,` + rfc7638Key + `]}`,
		`{"keys":[]}`, `{}`, `[]`, ``, `{"keys":[{"kty":"oct","k":"AA"},{"kty":"RSA","n":"AQAB","e":"AQ"},null,5]}`,
		`{"keys":[{"kty":"EC","crv":"P-256","x":"AA","y":"AA","use":"enc","key_ops":["verify"],"alg":"ES256","kid":"a"}]}`,
		`{"keys":[` + strings.Repeat(`{"kty":"oct"},`, 300) + `{}]}`,
	} {
		f.Add([]byte(seed))
	}
	var tokens []*Token
	for _, compact := range []string{rfc7515A2, rfc7515A3} {
		token, err := Parse(compact)
		if err != nil {
			f.Fatal(err)
		}
		tokens = append(tokens, token)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		set, ignored, err := ParseKeySet(text)
		if err != nil {
			if set != nil || iam.KindOf(err) != iam.KindInvalid {
				t.Fatalf("%v, %v", set, err)
			}
			return
		}
		if set.Len() > MaxKeys || len(ignored) > MaxKeys+1 {
			t.Fatalf("%d keys, %d ignored", set.Len(), len(ignored))
		}
		published, err := MarshalKeySet(set.Keys())
		if err != nil {
			t.Fatal(err)
		}
		again, ignored, err := ParseKeySet(published)
		if err != nil || len(ignored) != 0 || again.Fingerprint() != set.Fingerprint() {
			t.Fatalf("%s: %v, %v", published, ignored, err)
		}
		for _, token := range tokens {
			token.Verify(set, nil)
		}
	})
}
