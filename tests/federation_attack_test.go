package tests

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// forger makes hostile assertions about alice out of an issuer's own good ones.
type forger struct {
	issuer, other *issuer       // trusted, with these keys; other shares no key
	key, rsa      *signingKey   // issuer's ES256 and RS256 keys
	otherKey      *signingKey   // other's
	stranger      *signingKey   // nobody's, under the id of issuer's ES256 key
	marked        []*signingKey // published by issuer in ways that forbid their use
	attacker      string        // URL of a server that nobody may ask
}

func (f *forger) claims() map[string]any { return f.issuer.claims("alice@acme.test") }

// but is a good assertion with other claims; nil removes one.
func (f *forger) but(changes map[string]any) string {
	claims := f.claims()
	for name, value := range changes {
		if claims[name] = value; value == nil {
			delete(claims, name)
		}
	}
	return f.key.token(claims)
}

// subject is a good assertion about somebody.
func (f *forger) subject(s any) string { return f.but(map[string]any{"sub": s}) }

// payload is a correctly signed assertion with this text added before the payload's last brace.
func (f *forger) payload(more string) string {
	return f.key.sign(toJSON(f.key.header()), strings.TrimSuffix(toJSON(f.claims()), "}")+","+more+"}")
}

// header is a correctly signed assertion with this text added before the header's last brace.
func (f *forger) header(more string) string {
	return f.key.sign(strings.TrimSuffix(toJSON(f.key.header()), "}")+","+more+"}", toJSON(f.claims()))
}

// unsigned is an assertion with this `alg` and without signature.
func (f *forger) unsigned(algorithm any) string {
	h := f.key.header()
	if h["alg"] = algorithm; algorithm == nil {
		delete(h, "alg")
	}
	return encode([]byte(toJSON(h))) + "." + encode([]byte(toJSON(f.claims()))) + "."
}

// authenticated is an assertion with an HMAC under a secret that everybody knows.
func (f *forger) authenticated(algorithm string, secret []byte) string {
	input := encode([]byte(toJSON(map[string]any{"alg": algorithm, "kid": f.rsa.public["kid"], "typ": "JWT"}))) + "." + encode([]byte(toJSON(f.claims())))
	hash := sha256.New
	if algorithm == "HS512" {
		hash = sha512.New
	}
	mac := hmac.New(hash, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

// named is a good assertion that names another algorithm of the same key.
func (f *forger) named(k *signingKey, algorithm string) string {
	h := k.header()
	h["alg"] = algorithm
	input := encode([]byte(toJSON(h))) + "." + encode([]byte(toJSON(f.claims())))
	return input + "." + encode(k.signature(algorithm, input))
}

// resigned is a good assertion with another signature.
func (f *forger) resigned(change func(r, s *big.Int, signature []byte) []byte) string {
	token := f.key.token(f.claims())
	input, text, _ := cutLast(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return input + "." + encode(change(r, s, signature))
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// tampered is a good assertion with its text changed.
func (f *forger) tampered(change func(header, payload, signature string) string) string {
	parts := strings.Split(f.key.token(f.claims()), ".")
	return change(parts[0], parts[1], parts[2])
}

// unusedBits changes the last character of base64url text so that it decodes to the same bytes. The
// text must have such bits.
func unusedBits(text string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	i := strings.IndexByte(alphabet, text[len(text)-1])
	return text[:len(text)-1] + string(alphabet[i^1])
}

// hostileAssertions are those of threats (a) that a door can be shown from outside, each with the
// number it has there.
func (f *forger) hostileAssertions(t *testing.T) map[string]string {
	cases := make(map[string]string)
	f.algorithmConfusion(t, cases)
	f.headers(cases)
	f.wrongClaims(cases)
	f.encodings(cases)
	f.signatures(cases)
	f.kinds(cases)
	f.sizes(cases)
	return cases
}

// algorithmConfusion is J01 to J04.
func (f *forger) algorithmConfusion(t *testing.T, cases map[string]string) {
	for _, algorithm := range []any{"none", "None", "nOnE", "NONE", "", nil, []string{"RS256"}, 256, map[string]any{}, "RS256 ", "rs256"} {
		cases[fmt.Sprintf("J01 alg %v without signature", algorithm)] = f.unsigned(algorithm)
	}
	cases["J01 alg none with the old signature"] = f.tampered(func(_, payload, signature string) string {
		return encode([]byte(`{"alg":"none"}`)) + "." + payload + "." + signature
	})
	public := f.rsa.private.Public().(*rsa.PublicKey)
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	pkcs1 := x509.MarshalPKCS1PublicKey(public)
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, public, f.rsa.private)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: spki})
	for name, secret := range map[string][]byte{
		"PEM": text, "PEM without newline": bytes.TrimRight(text, "\n"), "DER": spki,
		"PKCS1 PEM": pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: pkcs1}), "PKCS1": pkcs1,
		"JWK": []byte(toJSON(f.rsa.public)), "modulus": public.N.Bytes(), "modulus text": []byte(f.rsa.public["n"].(string)),
		"certificate": der, "empty": nil,
	} {
		cases["J02 HS256 with "+name] = f.authenticated("HS256", secret)
		cases["J02 HS512 with "+name] = f.authenticated("HS512", secret)
	}
	cases["J02 HS256 with a published secret"] = f.authenticatedBy("shared", []byte(publishedSecret))
	for _, algorithm := range []string{"RS384", "RS512", "PS256", "PS384", "PS512"} {
		cases["J03 "+algorithm+" by a key of RS256"] = f.named(f.rsa, algorithm)
	}
	cases["J03 ES384 by a key of P-256"] = f.named(f.key, "ES384")
	cases["J03 ES256K"] = f.tampered(func(_, payload, signature string) string {
		return encode([]byte(`{"alg":"ES256K","kid":"`+fmt.Sprint(f.key.public["kid"])+`"}`)) + "." + payload + "." + signature
	})
	for _, k := range f.marked {
		cases[fmt.Sprintf("J04 J20 key %v", k.public["kid"])] = k.token(f.claims())
	}
}

// publishedSecret is a symmetric key in the issuer's key set, for everybody to read.
const publishedSecret = "0123456789abcdef0123456789abcdef"

func (f *forger) authenticatedBy(id string, secret []byte) string {
	input := encode([]byte(toJSON(map[string]any{"alg": "HS256", "kid": id}))) + "." + encode([]byte(toJSON(f.claims())))
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + encode(mac.Sum(nil))
}

// headers is J05, J06 and J08.
func (f *forger) headers(cases map[string]string) {
	for name, id := range map[string]any{
		"path": "../../dev/null", "file": "/proc/self/environ", "SQL": "' OR 1=1--", "URL": f.attacker + "/k",
		"64 KiB": strings.Repeat("k", 64<<10), "NUL": "k1\x00", "newline": "k1\n", "look-alike": "\u212a1", "number": 1, "list": []string{"k1"},
		"another issuer's": f.otherKey.public["kid"],
	} {
		cases["J05 kid "+name] = f.stranger.headed(map[string]any{"kid": id}, f.claims())
	}
	cases["J05 kid empty"] = f.stranger.headed(map[string]any{"kid": ""}, f.claims())
	cases["J05 kid of ours, key of nobody"] = f.stranger.token(f.claims())
	cases["J05 no kid, key of nobody"] = f.stranger.headed(map[string]any{"kid": nil}, f.claims())
	cases["J05 kid of a key of another kind"] = f.stranger.headed(map[string]any{"kid": f.rsa.public["kid"]}, f.claims())

	public := f.stranger.public
	for name, members := range map[string]map[string]any{
		"jku": {"jku": f.attacker + "/keys"}, "x5u": {"x5u": f.attacker + "/cert"}, "jwk": {"jwk": public},
		"x5c": {"x5c": []string{base64.StdEncoding.EncodeToString([]byte("certificate"))}}, "x5t": {"x5t": encode([]byte("thumb"))},
		"all": {"jku": f.attacker + "/keys", "x5u": f.attacker + "/cert", "jwk": public},
	} {
		cases["J06 "+name] = f.stranger.headed(members, f.claims())
		cases["J06 "+name+" without kid"] = f.stranger.headed(map[string]any{"kid": nil, "jku": members["jku"], "x5u": members["x5u"], "jwk": members["jwk"]}, f.claims())
	}
	for name, crit := range map[string]string{
		"exp": `"crit":["exp"],"exp":1`, "b64": `"crit":["b64"],"b64":false`, "empty": `"crit":[]`, "string": `"crit":"x"`,
		"absent": `"crit":["absent"]`, "unknown": `"crit":["x"],"x":1`, "null": `"crit":null`, "alg": `"crit":["alg"]`, "b64 alone": `"b64":false`,
	} {
		cases["J08 crit "+name] = f.header(crit)
	}
}

// wrongClaims is J07 and J09 to J12.
func (f *forger) wrongClaims(cases map[string]string) {
	for name, more := range map[string]string{
		"sub": `"sub":"root@acme.test"`, "iss": `"iss":"` + f.issuer.name + `"`, "aud": `"aud":"acme"`, "exp": `"exp":99999999999`,
		"escaped": `"\u0073ub":"root@acme.test"`, "nested": `"x":{"a":1,"a":2}`, "in a list": `"x":[{"a":1,"a":1}]`,
	} {
		cases["J07 duplicate "+name] = f.payload(more)
	}
	cases["J07 duplicate alg"] = f.header(`"alg":"ES256"`)
	cases["J07 duplicate alg, escaped"] = f.header(`"\u0061lg":"none"`)
	cases["J07 duplicate kid"] = f.header(`"kid":"k2"`)
	for _, name := range []string{"sub", "iss", "aud", "exp"} {
		claims := f.claims()
		claims[strings.ToUpper(name)], claims[strings.ToUpper(name[:1])+name[1:]] = claims[name], claims[name]
		delete(claims, name)
		cases["J07 "+name+" only in other cases"] = f.key.token(claims)
	}
	for name, audience := range map[string]any{
		"missing": nil, "empty": "", "empty list": []string{}, "null": json.RawMessage("null"), "number": 7, "foreign": "umbrella",
		"foreign list": []string{"umbrella", "https://example.test"}, "slash": "acme/", "upper case": "ACME", "title case": "Acme", "URL": "http:acme",
		"blank": " acme", "newline": "acme\n", "nested": []any{[]string{"acme"}}, "object": map[string]any{"acme": true}, "list with a number": []any{7, "acme"},
		"joined": "acme,wandb", "with blank": "acme wandb", "prefix": "acm", "10 000": strings.Fields(strings.Repeat("a ", 10_000) + "acme"),
		"the gateway's URL": "http://127.0.0.1/oidc/token", "star": "*",
	} {
		cases["J09 aud "+name] = f.but(map[string]any{"aud": audience})
	}
	port := f.issuer.name[strings.LastIndexByte(f.issuer.name, ':')+1:]
	for name, iss := range map[string]any{
		"slash": f.issuer.name + "/", "upper case": strings.ToUpper(f.issuer.name), "localhost": "http://localhost:" + port, "path": f.issuer.name + "/.",
		"https": "https://127.0.0.1:" + port, "encoded": strings.Replace(f.issuer.name, "127", "%31%327", 1), "user": "http://x@127.0.0.1:" + port,
		"fragment": f.issuer.name + "#", "query": f.issuer.name + "?", "blank": " " + f.issuer.name, "NUL": f.issuer.name + "\x00", "no port": "http://127.0.0.1",
		"short address": "http://127.1:" + port, "missing": nil, "empty": "", "number": 7, "list": []string{f.issuer.name}, "null": json.RawMessage("null"),
		"not trusted": f.attacker, "another's": f.other.name,
	} {
		cases["J10 iss "+name] = f.but(map[string]any{"iss": iss})
	}
	cases["J10 key of another issuer under our kid"] = (&signingKey{"ES256", f.otherKey.private, f.key.public}).token(f.claims())

	for name, subject := range map[string]any{
		"missing": nil, "empty": "", "number": 7, "null": json.RawMessage("null"), "list": []string{"alice@acme.test"}, "300 characters": strings.Repeat("a", 300),
		"control characters": "alice\x01@acme.test", "user name": "alice", "service account's name": "gh-train", "principal": "user:alice", "star": "*", "blank": " ",
		"external subject in other case": strings.ToUpper(ciSubject), "external subject, longer": ciSubject + "/x", "external subject, shorter": ciSubject[:len(ciSubject)-1],
		"unknown": "nobody@acme.test", "deactivated": "gone@acme.test",
	} {
		cases["J11 sub "+name] = f.subject(subject)
	}
	claims := f.other.claims(ciSubject)
	cases["J11 external subject of another issuer"] = f.otherKey.token(claims)
	for name, subject := range map[string]string{
		"two at signs": "mallory@evil.test@acme.test", "newline": "alice@acme.test\n", "leading blank": " alice@acme.test", "trailing blank": "alice@acme.test ",
		"display name": "Alice <alice@acme.test>", "angle brackets": "<alice@acme.test>", "mailto": "mailto:alice@acme.test", "long s": "alice@acme.te\u017ft",
		"dotless i": "al\u0131ce@acme.test", "kelvin sign": "\u212aelly@acme.test", "homograph": "\u0430lice@acme.test", "quoted": `"alice"@acme.test`, "full width": "alice\uff20acme.test",
		"subdomain": "alice@acme.test.evil.test", "NUL": "alice@acme.test\x00", "comment": "alice(x)@acme.test", "plus": "alice+x@acme.test", "list": "mallory@evil.test,alice@acme.test",
		"zero width": "ali\u200bce@acme.test", "trailing dot": "alice@acme.test.", "percent": "alice%40acme.test",
	} {
		cases["J12 e-mail "+name] = f.subject(subject)
	}
}

// encodings is J15.
func (f *forger) encodings(cases map[string]string) {
	cases["J15 empty"] = ""
	cases["J15 dots"] = ".."
	cases["J15 no token"] = "opaque"
	for name, change := range map[string]func(h, p, s string) string{
		"two parts":  func(h, p, s string) string { return h + "." + p },
		"four parts": func(h, p, s string) string { return h + "." + p + "." + s + "." },
		"five parts": func(h, p, s string) string { return h + ".." + p + "." + s + "." + s },
		"detached":   func(h, p, s string) string { return h + ".." + s },
		"flattened": func(h, p, s string) string {
			return fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, h, p, s)
		},
		"general": func(h, p, s string) string {
			return fmt.Sprintf(`{"payload":%q,"signatures":[{"protected":%q,"signature":%q}]}`, p, h, s)
		},
		"quoted":              func(h, p, s string) string { return `"` + h + "." + p + "." + s + `"` },
		"bearer":              func(h, p, s string) string { return "Bearer " + h + "." + p + "." + s },
		"padding":             func(h, p, s string) string { return h + "." + p + "." + s + "==" },
		"one padding":         func(h, p, s string) string { return h + "=." + p + "." + s },
		"blank within":        func(h, p, s string) string { return h + "." + p[:8] + " " + p[8:] + "." + s },
		"newline within":      func(h, p, s string) string { return h + "." + p + "." + s[:8] + "\n" + s[8:] },
		"other alphabet":      func(h, p, s string) string { return h + "." + p + "." + s[:84] + "+/" },
		"unused bits":         func(h, p, s string) string { return h + "." + p + "." + unusedBits(s) },
		"no signature":        func(h, p, s string) string { return h + "." + p + "." },
		"changed payload":     func(h, p, s string) string { return h + "." + encode([]byte(toJSON(f.claims()))) + "." + s },
		"zero byte":           func(h, p, s string) string { return h + "." + p + "." + s + "\x00" },
		"signature one short": func(h, p, s string) string { return h + "." + p + "." + s[:len(s)-1] },
	} {
		cases["J15 "+name] = f.tampered(change)
	}
	for name, header := range map[string]string{
		"JWE":        `{"alg":"RSA-OAEP","enc":"A256GCM","kid":"k1"}`,
		"JWE PBES2":  `{"alg":"PBES2-HS256+A128KW","enc":"A256GCM","p2c":2147483648,"p2s":"AAAA"}`,
		"JWE direct": `{"alg":"dir","enc":"A256GCM","zip":"DEF"}`,
	} {
		part := encode(bytes.Repeat([]byte{1}, 32))
		cases["J15 "+name] = encode([]byte(header)) + "." + part + "." + part + "." + part + "." + part
	}
	good := f.key.token(f.claims())
	cases["J15 nested"] = f.key.sign(`{"alg":"ES256","kid":"k1","cty":"JWT"}`, good)
	cases["J15 nested, quoted"] = f.key.sign(`{"alg":"ES256","kid":"k1","cty":"JWT"}`, `"`+good+`"`)
	for name, payload := range map[string]string{
		"list": "[" + toJSON(f.claims()) + "]", "null": "null", "empty": "", "two objects": toJSON(f.claims()) + toJSON(f.claims()), "half": toJSON(f.claims())[:40],
		"byte order mark": "\ufeff" + toJSON(f.claims()), "no UTF-8": strings.Replace(toJSON(f.claims()), canary, "\xff\xfe", 1),
		"half a surrogate": strings.Replace(toJSON(f.claims()), canary, `\ud800`, 1), "comment": "/**/" + toJSON(f.claims()), "trailing comma": strings.TrimSuffix(toJSON(f.claims()), "}") + ",}",
	} {
		cases["J15 payload "+name] = f.key.sign(toJSON(f.key.header()), payload)
	}
	for name, header := range map[string]string{"list": `["ES256"]`, "null": "null", "empty": "", "string": `"ES256"`, "two objects": `{"alg":"ES256","kid":"k1"}{}`} {
		cases["J15 header "+name] = f.key.sign(header, toJSON(f.claims()))
	}
}

// signatures is J24 and J25; the rest of both are Wycheproof's vectors, which the key room runs.
func (f *forger) signatures(cases map[string]string) {
	n := elliptic.P256().Params().N
	for name, change := range map[string]func(r, s *big.Int, signature []byte) []byte{
		"zeros":              func(_, _ *big.Int, _ []byte) []byte { return make([]byte, 64) },
		"r zero":             func(_, s *big.Int, _ []byte) []byte { return fixed(new(big.Int), s, 32) },
		"s zero":             func(r, _ *big.Int, _ []byte) []byte { return fixed(r, new(big.Int), 32) },
		"r and s are n":      func(_, _ *big.Int, _ []byte) []byte { return fixed(n, n, 32) },
		"r one, s n":         func(_, _ *big.Int, _ []byte) []byte { return fixed(big.NewInt(1), n, 32) },
		"swapped":            func(r, s *big.Int, _ []byte) []byte { return fixed(s, r, 32) },
		"63 bytes":           func(_, _ *big.Int, b []byte) []byte { return b[:63] },
		"65 bytes":           func(_, _ *big.Int, b []byte) []byte { return append(bytes.Clone(b), 0) },
		"128 bytes":          func(_, _ *big.Int, b []byte) []byte { return append(bytes.Clone(b), b...) },
		"of ES512's length":  func(r, s *big.Int, _ []byte) []byte { return fixed(r, s, 66) },
		"leading zero":       func(_, _ *big.Int, b []byte) []byte { return append([]byte{0}, b...) },
		"a bit flipped":      func(_, _ *big.Int, b []byte) []byte { c := bytes.Clone(b); c[40] ^= 1; return c },
		"one byte":           func(_, _ *big.Int, _ []byte) []byte { return []byte{1} },
		"a megabyte, nearly": func(_, _ *big.Int, b []byte) []byte { return bytes.Repeat(b, 200) },
		"DER": func(r, s *big.Int, _ []byte) []byte {
			der, err := asn1.Marshal(struct{ R, S *big.Int }{r, s})
			if err != nil {
				panic(err)
			}
			return der
		},
	} {
		cases["J24 "+name] = f.resigned(change)
	}
	token := f.rsa.token(f.claims())
	input, text, _ := cutLast(token, ".")
	signature, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		panic(err)
	}
	for name, changed := range map[string][]byte{
		"byte behind": append(bytes.Clone(signature), 0), "byte before": append([]byte{0}, signature...), "last byte gone": signature[:len(signature)-1],
		"zeros": make([]byte, len(signature)), "ones": bytes.Repeat([]byte{255}, len(signature)), "one": append(make([]byte, len(signature)-1), 1), "twice": append(bytes.Clone(signature), signature...),
	} {
		cases["J25 "+name] = input + "." + encode(changed)
	}
	sum := sha256.Sum256([]byte(input))
	pss, err := rsa.SignPSS(rand.Reader, f.rsa.private.(*rsa.PrivateKey), crypto.SHA256, sum[:], nil)
	if err != nil {
		panic(err)
	}
	cases["J25 PSS as RS256"] = input + "." + encode(pss)
}

// kinds is J23: tokens that were signed for something else.
func (f *forger) kinds(cases map[string]string) {
	for _, kind := range []string{"at+jwt", "AT+JWT", "application/at+jwt", "logout+jwt", "application/logout+jwt", "secevent+jwt", "dpop+jwt"} {
		cases["J23 typ "+kind] = f.key.headed(map[string]any{"typ": kind}, f.claims())
	}
	cases["J23 typ a number"] = f.key.headed(map[string]any{"typ": 7}, f.claims())
	cases["J23 logout events"] = f.but(map[string]any{"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}})
}

// sizes is J14.
func (f *forger) sizes(cases map[string]string) {
	cases["J14 20 KiB"] = f.but(map[string]any{"x": strings.Repeat("x", 20<<10)})
	cases["J14 64 KiB"] = f.but(map[string]any{"x": strings.Repeat("x", 64<<10)})
	cases["J14 1 MiB"] = f.but(map[string]any{"x": strings.Repeat("x", 1<<20)})
	cases["J14 100 000 dots"] = strings.Repeat(".", 100_000)
	cases["J14 10 000 dots"] = strings.Repeat(".", 10_000)
	cases["J14 deep"] = f.payload(`"x":` + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000))
	cases["J14 deep objects"] = f.payload(`"x":` + strings.Repeat(`{"a":`, 1_500) + "1" + strings.Repeat("}", 1_500))
	cases["J14 long number"] = f.payload(`"exp2":` + strings.Repeat("9", 100_000))
	cases["J14 100 000 groups"] = f.but(map[string]any{"groups": strings.Fields(strings.Repeat("g ", 100_000))})
	cases["J14 long header"] = f.header(`"x":"` + strings.Repeat("x", 20<<10) + `"`)
}

// newForger starts two issuers. The first also publishes keys that must not count.
func newForger(t *testing.T) *forger {
	f := &forger{key: newKey(t, "ES256", "k1"), rsa: newKey(t, "RS256", "rsa"), otherKey: newKey(t, "ES256", "of-other"), stranger: newKey(t, "ES256", "k1")}
	t.Setenv("GODEBUG", "rsa1024min=0") // Go itself makes and uses no such keys any more
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	mark := func(id string, k *signingKey, members map[string]any) {
		members["kid"] = id
		f.marked = append(f.marked, k.publishedAs(members))
	}
	ps := newKey(t, "PS512", "")
	rs := &signingKey{"RS256", ps.private, ps.public}
	mark("of PS512", rs, map[string]any{"alg": "PS512"})
	mark("for encryption", rs, map[string]any{"alg": "RS256", "use": "enc"})
	mark("for encrypting", rs, map[string]any{"alg": "RS256", "use": nil, "key_ops": []string{"encrypt"}})
	mark("only for signing", rs, map[string]any{"alg": "RS256", "use": nil, "key_ops": []string{"sign"}})
	mark("with its private part", rs, map[string]any{"alg": "RS256", "d": encode(sharedRSA().D.Bytes())})
	mark("of 1024 bits", &signingKey{"RS256", small, publicJWK(small)}, map[string]any{"alg": "RS256"})
	mark("of an unknown kind", rs, map[string]any{"alg": "RS256", "kty": "XYZ"})
	mark("of e 1", rs, map[string]any{"alg": "RS256", "e": "AQ"})
	mark("of a symmetric algorithm", rs, map[string]any{"alg": "HS256"})
	mark("of an even modulus", rs, map[string]any{"alg": "RS256", "n": encode(new(big.Int).Lsh(big.NewInt(1), 2047).Bytes())})
	ec := newKey(t, "ES256", "")
	mark("off its curve", ec, map[string]any{"x": ec.public["y"]})
	mark("of another curve", ec, map[string]any{"crv": "P-384", "alg": nil})
	mark("without coordinates", ec, map[string]any{"x": nil})

	published := append([]*signingKey{f.rsa}, f.marked...)
	secret := (&signingKey{public: map[string]any{}}).publishedAs(map[string]any{"kty": "oct", "kid": "shared", "alg": "HS256", "k": encode([]byte(publishedSecret))})
	f.issuer = newIssuer(t, append(published, secret, f.key)...)
	f.other = newIssuer(t, f.otherKey)
	return f
}

// TestHostileAssertions shows every hostile assertion to the door, and as Bearer and Basic
// credential. Judged by: a definite refusal in one wording (J30), nothing at the upstream, nothing of
// the token in any log, and no request to what a token names.
func TestHostileAssertions(t *testing.T) {
	f := newForger(t)
	var asked sync.Map
	attacker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.URL.Path, true)
		json.NewEncoder(w).Encode(map[string]any{"keys": []any{f.stranger.public}})
	}))
	t.Cleanup(attacker.Close)
	f.attacker = attacker.URL
	upstream := newRecorder(t)
	p := start(t, config{global: trusting(f.issuer, f.other), caddy: "debug", upstream: upstream.host(), env: []string{"GODEBUG="}})
	p.importFile(strings.Replace(withExternal(f.issuer.name, "gh-train", ciSubject), `"users": [`,
		`"users": [{"username": "gone", "email": "gone@acme.test", "active": false}, {"username": "kelly", "email": "kelly@acme.test"},`, 1))

	// The good ones that the others are made of.
	p.mustExchange(t, f.key.token(f.claims()))
	p.mustExchange(t, f.rsa.token(f.claims()))
	p.mustExchange(t, f.otherKey.token(f.other.claims("alice@acme.test")))
	p.mustExchange(t, f.but(map[string]any{"x": strings.Repeat("x", 8<<10)}))
	p.mustExchange(t, f.payload(`"Sub":"root@acme.test","SUB":"root@acme.test","Exp":1`))

	cases := f.hostileAssertions(t)
	cases["J23 our own access token"] = p.mustExchange(t, f.key.token(f.claims()))
	upstream.take()
	answers := p.show(cases)
	wordings := make(map[string]string)
	for name, assertion := range cases {
		t.Run(name, func(t *testing.T) {
			got := answers[name]
			if got.err != nil {
				t.Fatal(got.err)
			}
			switch e := got.exchange.oauth(); {
			case got.exchange.status == http.StatusRequestEntityTooLarge && len(assertion) > 16<<10:
			case got.exchange.status == http.StatusBadRequest && (len(assertion) > 16<<10 || assertion == ""):
			case got.exchange.status != http.StatusBadRequest || e.Error != "invalid_grant" || e.Description == "":
				t.Errorf("answered %d %.300s", got.exchange.status, got.exchange.body)
			default:
				wordings[e.Description] = name
			}
			if h := got.exchange.header; h.Get("Cache-Control") != "no-store" || h.Get("Set-Cookie") != "" {
				t.Errorf("header %v", h)
			}
			for _, a := range got.credential {
				if name != "J23 our own access token" && (a.status != http.StatusUnauthorized || a.message() == "") {
					t.Errorf("as credential it is answered %d %.300s", a.status, a.body)
				}
			}
		})
	}
	if len(wordings) != 1 {
		t.Errorf("refusals differ outside: %v", wordings)
	}
	if got := upstream.take(); len(got) != 2 { // those of our own access token
		t.Errorf("the upstream got %d requests, want 2", len(got))
	}
	asked.Range(func(path, _ any) bool {
		t.Errorf("the attacker's server was asked for %v", path)
		return true
	})
	p.mustExchange(t, f.key.token(f.claims()))
	canaries := []string{canary, publishedSecret}
	for _, assertion := range cases {
		if parts := strings.Split(assertion, "."); len(parts) == 3 && len(parts[2]) > 40 {
			canaries = append(canaries, parts[1][len(parts[1])/2:], parts[2][:40])
		}
	}
	p.holdsNoCanaries(canaries)
}

// shown is how a gateway answered an assertion.
type shown struct {
	exchange   answer
	credential []answer // as Bearer and as Basic, where a header can hold it
	err        error
}

// show sends assertions all at once, so that those that must wait for a key set wait together.
func (p *process) show(assertions map[string]string) map[string]*shown {
	answers := make(map[string]*shown)
	slots := make(chan struct{}, 64)
	var sending sync.WaitGroup
	for name, assertion := range assertions {
		s := new(shown)
		answers[name] = s
		sending.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
			body := url.Values{"grant_type": {grantType}, "assertion": {assertion}}.Encode()
			if s.exchange, s.err = p.settled("/oidc/token", body, h); s.err != nil {
				return
			}
			if len(assertion) > 8<<10 || strings.ContainsAny(assertion, " \n\r\x00") || assertion == "" {
				return
			}
			for _, authorization := range []string{"Bearer " + assertion, basic(assertion)} {
				var a answer
				if a, s.err = p.settled("/files/vision/team/run1/file_stream", "{}", http.Header{"Authorization": {authorization}}); s.err != nil {
					return
				}
				s.credential = append(s.credential, a)
			}
		})
	}
	sending.Wait()
	return answers
}

// settled repeats a POST while the answer is that nobody can tell yet: an unknown key id is definite
// only after the key set was fetched again, which is not done at once after a fetch.
func (p *process) settled(path, body string, h http.Header) (answer, error) {
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		got, err := p.try("POST", path, body, h)
		if err != nil || got.status != http.StatusServiceUnavailable {
			return got, err
		}
		if got.header.Get("Retry-After") == "" {
			return got, errors.New("503 without Retry-After")
		}
		if time.Now().After(deadline) {
			return got, errors.New("still 503 after 20 seconds")
		}
	}
}

// holdsNoCanaries is holdsNoCanary for so many that the log is searched once for each.
func (p *process) holdsNoCanaries(canaries []string) {
	p.t.Helper()
	log := p.logs.String()
	for _, c := range canaries {
		if i := strings.Index(log, c); i >= 0 && c != "" {
			p.t.Errorf("a part of a token is in the log: %s", log[max(0, i-200):min(len(log), i+200)])
		}
	}
}

// TestTokenRequests is J27: requests that are no exchange.
func TestTokenRequests(t *testing.T) {
	f := startFederated(t)
	const form = "application/x-www-form-urlencoded"
	grant := "grant_type=" + url.QueryEscape(grantType)
	with := func() string { return "assertion=" + f.assertion("alice@acme.test") }
	for name, c := range map[string]struct {
		method, path, contentType, body string
		status                          int
		error                           string // several are separated by |
	}{
		"no grant type":         {"POST", "/oidc/token", form, with(), 400, "invalid_request"},
		"empty grant type":      {"POST", "/oidc/token", form, "grant_type=&" + with(), 400, "invalid_request|unsupported_grant_type"},
		"other grant":           {"POST", "/oidc/token", form, "grant_type=authorization_code&" + with(), 400, "unsupported_grant_type"},
		"client credentials":    {"POST", "/oidc/token", form, "grant_type=client_credentials&" + with(), 400, "unsupported_grant_type"},
		"token exchange":        {"POST", "/oidc/token", form, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&" + with(), 400, "unsupported_grant_type"},
		"refresh":               {"POST", "/oidc/token", form, "grant_type=refresh_token&" + with(), 400, "unsupported_grant_type"},
		"upper case":            {"POST", "/oidc/token", form, strings.ToUpper(grant[:11]) + grant[11:] + "&" + with(), 400, "invalid_request"},
		"two grant types":       {"POST", "/oidc/token", form, grant + "&grant_type=x&" + with(), 400, "invalid_request"},
		"no assertion":          {"POST", "/oidc/token", form, grant, 400, "invalid_request"},
		"empty assertion":       {"POST", "/oidc/token", form, grant + "&assertion=", 400, "invalid_request|invalid_grant"},
		"two assertions":        {"POST", "/oidc/token", form, grant + "&" + with() + "&" + with(), 400, "invalid_request"},
		"equal assertions":      {"POST", "/oidc/token", form, grant + strings.Repeat("&"+with(), 2), 400, "invalid_request"},
		"in the query":          {"POST", "/oidc/token?" + grant + "&" + with(), form, "", 400, "invalid_request"},
		"assertion in query":    {"POST", "/oidc/token?" + with(), form, grant, 400, "invalid_request"},
		"in both":               {"POST", "/oidc/token?" + with(), form, grant + "&" + with(), 400, "invalid_request"},
		"scope":                 {"POST", "/oidc/token", form, grant + "&scope=admin&" + with(), 400, "invalid_scope"},
		"client secret":         {"POST", "/oidc/token", form, grant + "&client_assertion=x&client_assertion_type=y&" + with(), 400, "invalid_client|invalid_request"},
		"JSON":                  {"POST", "/oidc/token", "application/json", `{"grant_type":"` + grantType + `","assertion":"x"}`, 400, "invalid_request"},
		"no content type":       {"POST", "/oidc/token", "", grant + "&" + with(), 400, "invalid_request"},
		"multipart":             {"POST", "/oidc/token", "multipart/form-data; boundary=x", "--x--", 400, "invalid_request"},
		"bad escape":            {"POST", "/oidc/token", form, grant + "&assertion=%zz", 400, "invalid_request"},
		"semicolon":             {"POST", "/oidc/token", form, grant + ";" + with(), 400, "invalid_request"},
		"empty":                 {"POST", "/oidc/token", form, "", 400, "invalid_request"},
		"many fields":           {"POST", "/oidc/token", form, grant + "&" + with() + strings.Repeat("&a=b", 50_000), 0, ""},
		"20 MiB":                {"POST", "/oidc/token", form, grant + "&assertion=" + strings.Repeat("a", 20<<20), 0, ""},
		"GET":                   {"GET", "/oidc/token?" + grant + "&" + with(), "", "", 405, ""},
		"PUT":                   {"PUT", "/oidc/token", form, grant + "&" + with(), 405, ""},
		"slash":                 {"POST", "/oidc/token/", form, grant + "&" + with(), 400, ""},
		"another door's prefix": {"POST", "/oidc/tokens", form, grant + "&" + with(), 404, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if c.contentType != "" {
				h.Set("Content-Type", c.contentType)
			}
			got, err := f.try(c.method, c.path, c.body, h)
			if err != nil {
				if timeout, is := err.(net.Error); len(c.body) < 1<<20 || is && timeout.Timeout() {
					t.Fatal(err)
				}
				return // the door was shut while the body was still coming
			}
			switch {
			case c.status == 0: // whatever the bound, it is the client's fault
				if got.status != http.StatusBadRequest && got.status != http.StatusRequestEntityTooLarge {
					t.Errorf("answered %d %.200s", got.status, got.body)
				}
			case c.status == 404 && (got.status == 401 || got.status == 403): // as every unknown route
			case got.status != c.status:
				t.Errorf("answered %d %.200s, want %d", got.status, got.body, c.status)
			case c.error != "" && !strings.Contains("|"+c.error+"|", "|"+got.oauth().Error+"|"):
				t.Errorf("answered %.200s, want %s", got.body, c.error)
			}
			if c.status == 400 && (got.header.Get("Cache-Control") != "no-store" || !strings.HasPrefix(got.header.Get("Content-Type"), "application/json")) {
				t.Errorf("header %v", got.header)
			}
		})
	}
	t.Run("a charset is no other type", func(t *testing.T) {
		h := http.Header{"Content-Type": {form + "; charset=UTF-8"}}
		if got := f.send("POST", "/oidc/token", "", grant+"&"+with(), h); got.status != http.StatusOK {
			t.Errorf("answered %d %s", got.status, got.body)
		}
	})
	if got := f.upstream.take(); len(got) != 0 {
		t.Errorf("the upstream got %d requests, first %s %.100s", len(got), got[0].method, got[0].target)
	}
	f.holdsNoCanaries([]string{canary, encode([]byte(canary))[4:20]})
}

// TestFailedExchangesAreLimited: whoever fails too often waits, and those with tokens do not notice.
func TestFailedExchangesAreLimited(t *testing.T) {
	key := newKey(t, "ES256", "k1")
	i := newIssuer(t, key)
	upstream := newRecorder(t)
	p := start(t, config{global: fmt.Sprintf("failure_limit 20/m\n\t\tjwt_issuer %s", i.name), upstream: upstream.host()})
	p.importFile(acme)
	token := p.mustExchange(t, key.token(i.claims("alice@acme.test")))
	limited := 0
	for n := range 40 {
		got := p.exchange(key.token(i.claims(fmt.Sprintf("nobody%d@acme.test", n))))
		switch got.status {
		case http.StatusBadRequest:
			if limited > 0 {
				t.Error("the limit does not hold")
			}
		case http.StatusTooManyRequests:
			if limited++; got.header.Get("Retry-After") == "" {
				t.Error("429 without Retry-After")
			}
		default:
			t.Fatalf("answered %d %s", got.status, got.body)
		}
	}
	if limited < 15 || limited > 25 {
		t.Errorf("%d of 40 failures were limited, want 20", limited)
	}
	if a := p.bearer("vision/team", token); a.status != http.StatusOK {
		t.Errorf("a token from the limited address gets %d %s", a.status, a.body)
	}
	if a := p.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key from the limited address gets %d %s", a.status, a.body)
	}
	if n := len(upstream.take()); n != 2 {
		t.Errorf("the upstream got %d requests, want 2", n)
	}
}
