package jws

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// b64 encodes a part of a token.
func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// unsigned puts a token together with a signature of nothing.
func unsigned(header, payload string) string {
	return b64(header) + "." + b64(payload) + "." + b64("signature")
}

// signedAs signs any header and payload as they are.
func signedAs(t testing.TB, k *PrivateKey, header, payload string) string {
	t.Helper()
	signed := b64(header) + "." + b64(payload)
	signature, err := k.sign(signed)
	if err != nil {
		t.Fatal(err)
	}
	return signed + "." + b64(string(signature))
}

// The examples of the standards.
const (
	rfc7515Payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
	rfc7515A2Key   = `{"kty":"RSA","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`
	rfc7515A2      = "eyJhbGciOiJSUzI1NiJ9." + rfc7515Payload + ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
	rfc7515A3Key   = `{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	rfc7515A3      = "eyJhbGciOiJFUzI1NiJ9." + rfc7515Payload + ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
	rfc7515A1      = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." + rfc7515Payload + ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	rfc7515A5      = "eyJhbGciOiJub25lIn0." + rfc7515Payload + "."
	rfc8037Key     = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rfc8037        = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
	rfc7638Key     = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
)

func setOf(t testing.TB, keys ...string) *KeySet {
	t.Helper()
	set, ignored, err := ParseKeySet([]byte(`{"keys":[` + strings.Join(keys, ",") + `]}`))
	if err != nil || len(ignored) != 0 {
		t.Fatal(ignored, err)
	}
	return set
}

func TestExamplesOfTheStandards(t *testing.T) {
	set := setOf(t, rfc8037Key, rfc7515A3Key, rfc7515A2Key)
	for name, compact := range map[string]string{"RFC 7515 A.2": rfc7515A2, "RFC 7515 A.3": rfc7515A3} {
		token, err := Parse(compact)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if _, err := token.Verify(set, nil); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if root, ok, err := token.Claims.Bool("http://example.com/is_root"); !root || !ok || err != nil {
			t.Errorf("%s: %v, %v, %v", name, root, ok, err)
		}
	}
	token, _, err := open(rfc8037) // its payload is no claims
	if err != nil {
		t.Fatal(err)
	}
	if key, err := token.Verify(set, nil); err != nil || key.Thumbprint() != "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k" {
		t.Errorf("RFC 8037 A.3 and A.4: %v", err)
	}
	if key := setOf(t, rfc7638Key).Keys()[0]; key.Thumbprint() != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Errorf("RFC 7638 3.1: %s", key.Thumbprint())
	}
	if _, err := Parse(rfc7515A1); iam.ReasonOf(err) != ReasonAlgorithm {
		t.Errorf("RFC 7515 A.1 (HS256): %v", err)
	}
	if _, err := Parse(rfc7515A5); iam.ReasonOf(err) != ReasonMalformed {
		t.Errorf("RFC 7515 A.5 (unsecured): %v", err)
	}
}

func TestParseRefuses(t *testing.T) {
	const header, payload = `{"alg":"ES256","kid":"k"}`, `{"sub":"alice"}`
	good := unsigned(header, payload)
	if _, err := Parse(good); err != nil {
		t.Fatal(err)
	}
	head, rest, _ := strings.Cut(good, ".")
	with := func(header string) string { return unsigned(header, payload) }
	claims := func(payload string) string { return unsigned(header, payload) }
	for name, c := range map[string]struct {
		text   string
		reason iam.Reason
	}{
		// J01
		"alg none":           {with(`{"alg":"none"}`), ReasonAlgorithm},
		"alg None":           {with(`{"alg":"None"}`), ReasonAlgorithm},
		"alg nOnE":           {with(`{"alg":"nOnE"}`), ReasonAlgorithm},
		"alg NONE":           {with(`{"alg":"NONE"}`), ReasonAlgorithm},
		"none, unsigned":     {b64(`{"alg":"none"}`) + "." + b64(payload) + ".", ReasonMalformed},
		"ES256, unsigned":    {b64(header) + "." + b64(payload) + ".", ReasonMalformed},
		"alg missing":        {with(`{"typ":"JWT"}`), ReasonMalformed},
		"alg empty":          {with(`{"alg":""}`), ReasonAlgorithm},
		"alg null":           {with(`{"alg":null}`), ReasonMalformed},
		"alg a list":         {with(`{"alg":["RS256"]}`), ReasonMalformed},
		"alg a number":       {with(`{"alg":256}`), ReasonMalformed},
		"alg in lower case":  {with(`{"alg":"es256"}`), ReasonAlgorithm},
		"alg with a blank":   {with(`{"alg":"ES256 "}`), ReasonAlgorithm},
		"alg with a NUL":     {with(`{"alg":"ES256\u0000"}`), ReasonMalformed},
		"alg ES256K":         {with(`{"alg":"ES256K"}`), ReasonAlgorithm},
		"alg under Alg":      {with(`{"Alg":"ES256"}`), ReasonMalformed},
		"alg of a JWE":       {with(`{"alg":"RSA-OAEP","enc":"A256GCM"}`), ReasonAlgorithm},
		"alg HS256":          {with(`{"alg":"HS256"}`), ReasonAlgorithm}, // J02
		"alg hs512":          {with(`{"alg":"hs512"}`), ReasonAlgorithm},
		"alg of 100 KB":      {with(`{"alg":"` + strings.Repeat("a", 8000) + `"}`), ReasonMalformed},
		"kid a number":       {with(`{"alg":"ES256","kid":1}`), ReasonMalformed}, // J05
		"kid null":           {with(`{"alg":"ES256","kid":null}`), ReasonMalformed},
		"kid empty":          {with(`{"alg":"ES256","kid":""}`), ReasonMalformed},
		"kid with a NUL":     {with(`{"alg":"ES256","kid":"a\u0000"}`), ReasonMalformed},
		"kid with a newline": {with(`{"alg":"ES256","kid":"a\nb"}`), ReasonMalformed},
		"kid with C1":        {with(`{"alg":"ES256","kid":"a\u0085"}`), ReasonMalformed},
		"kid of 257 bytes":   {with(`{"alg":"ES256","kid":"` + strings.Repeat("a", 257) + `"}`), ReasonMalformed},
		"kid of 64 KiB":      {with(`{"alg":"ES256","kid":"` + strings.Repeat("a", 64<<10) + `"}`), ReasonMalformed},
		"typ a number":       {with(`{"alg":"ES256","typ":1}`), ReasonMalformed},
		"two alg":            {with(`{"alg":"ES256","alg":"none"}`), ReasonMalformed}, // J07
		"two alg, escaped":   {with(`{"alg":"none","\u0061lg":"ES256"}`), ReasonMalformed},
		"two sub":            {claims(`{"sub":"alice","sub":"mallory"}`), ReasonMalformed},
		"two sub, escaped":   {claims(`{"sub":"alice","\u0073ub":"mallory"}`), ReasonMalformed},
		"two deep inside":    {claims(`{"a":[{"b":{"c":1,"d":2,"c":3}}]}`), ReasonMalformed},
		"crit exp":           {with(`{"alg":"ES256","crit":["exp"],"exp":1}`), ReasonCritical}, // J08
		"crit b64":           {with(`{"alg":"ES256","crit":["b64"],"b64":false}`), ReasonCritical},
		"b64 alone":          {with(`{"alg":"ES256","b64":true}`), ReasonCritical},
		"crit empty":         {with(`{"alg":"ES256","crit":[]}`), ReasonCritical},
		"crit a string":      {with(`{"alg":"ES256","crit":"x"}`), ReasonCritical},
		"crit null":          {with(`{"alg":"ES256","crit":null}`), ReasonCritical},
		"crit of the absent": {with(`{"alg":"ES256","crit":["absent"]}`), ReasonCritical},
		// J14
		"16 KiB and a byte":  {good + strings.Repeat("A", MaxTokenBytes+1-len(good)), ReasonMalformed},
		"1 MiB":              {good + strings.Repeat("A", 1<<20), ReasonMalformed},
		"100 000 dots":       {strings.Repeat(".", 100_000), ReasonMalformed},
		"16 000 dots":        {strings.Repeat(".", 16_000), ReasonMalformed},
		"many dots behind":   {good + strings.Repeat(".", 1_000), ReasonMalformed},
		"lists, deep":        {claims(`{"a":` + strings.Repeat("[", 5_000) + strings.Repeat("]", 5_000) + `}`), ReasonMalformed},
		"objects, deep":      {claims(strings.Repeat(`{"a":`, 33) + "1" + strings.Repeat("}", 33)), ReasonMalformed},
		"unclosed, deep":     {claims(strings.Repeat("[", 12_000)), ReasonMalformed},
		"deep in the header": {with(`{"alg":"ES256","x":` + strings.Repeat("[", 500) + strings.Repeat("]", 500) + `}`), ReasonMalformed},
		// J15
		"nothing":                 {"", ReasonMalformed},
		"one part":                {"abc", ReasonMalformed},
		"two parts":               {head + "." + b64(payload), ReasonMalformed},
		"four parts":              {good + ".AA", ReasonMalformed},
		"five parts":              {"a.b.c.d.e", ReasonMalformed},
		"empty header":            {"." + rest, ReasonMalformed},
		"detached payload":        {head + ".." + b64("signature"), ReasonMalformed},
		"flattened JSON":          {`{"payload":"` + b64(payload) + `","protected":"` + b64(header) + `","signature":"AA"}`, ReasonMalformed},
		"general JSON":            {`{"payload":"` + b64(payload) + `","signatures":[{"protected":"` + b64(header) + `","signature":"AA"}]}`, ReasonMalformed},
		"too many members":        {claims(`{"a":[` + strings.Repeat(`{"b":1},`, maxMembers) + `1]}`), ReasonMalformed},
		"nested, by cty":          {with(`{"alg":"ES256","cty":"JWT"}`), ReasonMalformed},
		"nested, by cty in full":  {with(`{"alg":"ES256","cty":"application/jwt"}`), ReasonMalformed},
		"nested":                  {unsigned(header, good), ReasonMalformed},
		"padding":                 {head + "=." + rest, ReasonMalformed},
		"standard alphabet +":     {good + "+", ReasonMalformed},
		"standard alphabet /":     {good + "/", ReasonMalformed},
		"newline behind":          {good + "\n", ReasonMalformed},
		"carriage return inside":  {head[:8] + "\r\n" + head[8:] + "." + rest, ReasonMalformed},
		"blank before":            {" " + good, ReasonMalformed},
		"blank inside":            {head + " ." + rest, ReasonMalformed},
		"stray bits in header":    {b64(`{"alg":"ES256"}` + " ")[:21] + "B." + rest, ReasonMalformed},
		"stray bits in signature": {head + "." + b64(payload) + ".AB", ReasonMalformed},
		"one letter":              {head + "." + b64(payload) + ".A", ReasonMalformed},
		"not ASCII":               {head + ".é." + b64("s"), ReasonMalformed},
		"a NUL":                   {good + "\x00", ReasonMalformed},
		// what claims are
		"payload a list":      {claims(`["sub"]`), ReasonMalformed},
		"payload a string":    {claims(`"sub"`), ReasonMalformed},
		"payload null":        {claims(`null`), ReasonMalformed},
		"payload cut":         {claims(`{"sub":"alice"`), ReasonMalformed},
		"payload two objects": {claims(`{} {}`), ReasonMalformed},
		"payload with a tail": {claims(`{}x`), ReasonMalformed},
		"payload not UTF-8":   {claims("{\"sub\":\"a\xff\"}"), ReasonMalformed},
		"lone surrogate":      {claims(`{"sub":"\ud800"}`), ReasonMalformed},
		"byte order mark":     {claims("\ufeff{}"), ReasonMalformed},
		"UTF-16":              {claims("{\x00}\x00"), ReasonMalformed},
		"a comment":           {claims(`{"a":1/**/}`), ReasonMalformed},
		"a trailing comma":    {claims(`{"a":1,}`), ReasonMalformed},
		"NaN":                 {claims(`{"exp":NaN}`), ReasonMalformed},
		"header a list":       {with(`["alg"]`), ReasonMalformed},
		"header not UTF-8":    {with("{\"alg\":\"ES256\",\"kid\":\"\xff\"}"), ReasonMalformed},
	} {
		token, err := Parse(c.text)
		if made := testing.AllocsPerRun(1, func() { Parse(c.text) }); made > 100 {
			t.Errorf("%s: refusing it makes %v allocations", name, made)
		}
		if token != nil || iam.KindOf(err) != iam.KindUnauthenticated || iam.ReasonOf(err) != c.reason {
			t.Errorf("%s: %v, want %s", name, err, c.reason)
			continue
		}
		if len(err.Error()) > 600 || strings.ContainsFunc(err.Error(), func(r rune) bool { return r < ' ' || r > '~' }) {
			t.Errorf("%s: not fit for a log: %q", name, err)
		}
	}
}

func TestParseReadsWhatIsAllowed(t *testing.T) {
	for name, c := range map[string]struct{ header, kid, typ string }{
		"nothing but alg":       {`{"alg":"ES256"}`, "", ""},
		"typ JWT":               {`{"alg":"ES256","typ":"JWT"}`, "", "jwt"},
		"typ in full":           {`{"alg":"ES256","typ":"application/AT+JWT"}`, "", "at+jwt"},
		"kid of 256 bytes":      {`{"alg":"ES256","kid":"` + strings.Repeat("a", 256) + `"}`, strings.Repeat("a", 256), ""},
		"kid like a path":       {`{"alg":"ES256","kid":"../../dev/null"}`, "../../dev/null", ""},
		"kid with letters":      {`{"alg":"ES256","kid":"ключ"}`, "ключ", ""},
		"white space":           {" {\n\t\"alg\" : \"ES256\" } ", "", ""},
		"cty of something else": {`{"alg":"ES256","cty":"json"}`, "", ""},
		"members unknown here":  {`{"alg":"ES256","x5t":"abc","nonce":{"a":[1]}}`, "", ""},
	} {
		token, err := Parse(unsigned(c.header, `{}`))
		if err != nil || token.KeyID != c.kid || token.Type != c.typ || token.Algorithm != ES256 {
			t.Errorf("%s: %+v, %v", name, token, err)
		}
	}
	deep := strings.Repeat(`{"[":`, 32) + `"{[\"{{{["` + strings.Repeat("}", 32)
	if _, err := Parse(unsigned(`{"alg":"ES256"}`, deep)); err != nil {
		t.Errorf("32 levels: %v", err)
	}
}

// J06: what a header says about keys is not looked at, and nobody is asked.
func TestKeysInTheHeaderAreIgnored(t *testing.T) {
	asked := make(chan string, 10)
	attacker := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- r.URL.Path }))
	defer attacker.Close()
	issuer, mallory := newKeyFor(t, ES256), newKeyFor(t, ES256)
	text, err := MarshalKeySet([]*Key{mallory.Public()})
	if err != nil {
		t.Fatal(err)
	}
	var published struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(text, &published); err != nil {
		t.Fatal(err)
	}
	for _, more := range []string{
		fmt.Sprintf(`"jwk":%s`, published.Keys[0]),
		fmt.Sprintf(`"jku":"%s/keys"`, attacker.URL),
		fmt.Sprintf(`"x5u":"%s/cert"`, attacker.URL),
		`"x5c":["MIIB"],"x5t":"AA"`,
	} {
		for _, kid := range []string{"", `,"kid":"` + issuer.ID() + `"`, `,"kid":"` + mallory.ID() + `"`} {
			token, err := Parse(signedAs(t, mallory, `{"alg":"ES256",`+more+kid+`}`, `{"sub":"alice"}`))
			if err != nil {
				t.Fatal(err)
			}
			if key, err := token.Verify(NewKeySet(issuer.Public()), nil); key != nil || iam.KindOf(err) != iam.KindUnauthenticated {
				t.Errorf("%s%s: %v", more, kid, err)
			}
		}
	}
	attacker.Close()
	close(asked)
	for path := range asked {
		t.Errorf("the attacker was asked for %s", path)
	}
}

// J07: other spellings of a name are other claims.
func TestNamesAreExact(t *testing.T) {
	token, err := Parse(unsigned(`{"alg":"ES256"}`, `{"Sub":"mallory","SUB":"mallory","sub":"alice","\u0069ss":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	if sub, _, _ := token.Claims.Text("sub"); sub != "alice" {
		t.Error(sub)
	}
	if iss, ok, _ := token.Claims.Text("iss"); iss != "x" || !ok {
		t.Errorf("an escaped name is the same name: %q", iss)
	}
	if token.Claims.Has("Iss") || token.Claims.Has("aud") {
		t.Error("a claim that is not there was found")
	}
	if got := token.Claims.Names(); !slices.Equal(got, []string{"Sub", "SUB", "sub", "iss"}) {
		t.Error(got)
	}
}

func TestParseAlgorithm(t *testing.T) {
	for _, a := range Algorithms() {
		if got, err := ParseAlgorithm(string(a)); got != a || err != nil {
			t.Errorf("%s: %s, %v", a, got, err)
		}
	}
	for name, says := range map[string]string{
		"none": "unsigned", "NONE": "unsigned", "HS256": "sign", "hs384": "sign", "rs256": "write RS256",
		"eddsa": "write EdDSA", "": "not known", "RSA-OAEP": "not known", " RS256": "not known", "ES521": "not known",
	} {
		if got, err := ParseAlgorithm(name); got != "" || iam.KindOf(err) != iam.KindInvalid || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %q, %v", name, got, err)
		}
	}
}

// J14: what a hostile text costs is bounded by its own size.
func TestParseAllocatesLittle(t *testing.T) {
	var names strings.Builder
	for i := range maxMembers - 1 {
		fmt.Fprintf(&names, `"%x":1,`, i)
	}
	padding := strings.Repeat("a", MaxTokenBytes*3/4-names.Len()-100)
	for name, c := range map[string]struct {
		text  string
		limit int
	}{
		"too long":   {strings.Repeat("a", 1<<20), 1 << 10},
		"dots":       {strings.Repeat(".", 16_000), 1 << 10},
		"groups":     {unsigned(`{"alg":"ES256"}`, `{"groups":[`+strings.Repeat(`"a",`, 2_500)+`"a"]}`), 0},
		"a number":   {unsigned(`{"alg":"ES256"}`, `{"exp":`+strings.Repeat("9", 12_000)+`}`), 0},
		"nested":     {unsigned(`{"alg":"ES256"}`, `{"a":[`+strings.Repeat(`{"a":{}},`, maxMembers/2-1)+`1]}`), 0},
		"escapes":    {unsigned(`{"alg":"ES256"}`, `{"a":"`+strings.Repeat(`\u0061`, 2_000)+`"}`), 0},
		"many names": {unsigned(`{"alg":"ES256"}`, `{`+names.String()+`"x":"`+padding+`"}`), 0},
	} {
		if c.limit == 0 {
			c.limit = 4*len(c.text) + 4<<10 // the race detector needs some as well
			if _, err := Parse(c.text); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := allocated(func() { Parse(c.text) }); got > c.limit {
			t.Errorf("%s: %d bytes for a text of %d, the limit is %d", name, got, len(c.text), c.limit)
		}
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) int {
	f() // fills pools
	const runs = 20
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		f()
	}
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc-before.TotalAlloc) / runs
}
