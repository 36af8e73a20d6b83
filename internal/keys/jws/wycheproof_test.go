package jws

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

type vectorFile struct {
	NumberOfTests int `json:"numberOfTests"`
	TestGroups    []struct {
		Public  json.RawMessage `json:"public"`
		Private json.RawMessage `json:"private"`
		Tests   []vector        `json:"tests"`
	} `json:"testGroups"`
}

type vector struct {
	ID      int             `json:"tcId"`
	Comment string          `json:"comment"`
	JWS     json.RawMessage `json:"jws"`
	JWE     json.RawMessage `json:"jwe"`
	Result  string          `json:"result"`
}

// text returns the token of a vector: most are in compact form, some are objects.
func (v vector) text() string {
	raw := v.JWS
	if raw == nil {
		raw = v.JWE
	}
	var compact string
	if json.Unmarshal(raw, &compact) != nil {
		return string(raw)
	}
	return compact
}

func readVectors(t *testing.T, name string) vectorFile {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	if err != nil {
		t.Fatal(err)
	}
	var file vectorFile
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	count := 0
	for _, group := range file.TestGroups {
		count += len(group.Tests)
	}
	if count == 0 || count != file.NumberOfTests {
		t.Fatalf("%s: %d vectors read, %d announced", name, count, file.NumberOfTests)
	}
	return file
}

// asKeySet puts a single JWK into a set.
func asKeySet(t *testing.T, key json.RawMessage) json.RawMessage {
	t.Helper()
	var probe struct {
		Keys json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(key, &probe); err != nil {
		t.Fatal(err)
	}
	if probe.Keys != nil {
		return key
	}
	return json.RawMessage(`{"keys":[` + string(key) + `]}`)
}

// refusedThoughValid are the vectors that their authors call valid and that are refused here, each
// with the reason. There is no list of the opposite: no invalid vector is accepted.
var refusedThoughValid = map[string]map[int]struct {
	reason iam.Reason
	why    string
}{
	"json_web_signature_test.json": {
		1:   {ReasonAlgorithm, hmac},
		348: {ReasonAlgorithm, hmac},
		352: {ReasonAlgorithm, hmac},
		357: {ReasonAlgorithm, hmac},
		358: {ReasonAlgorithm, hmac},
		359: {ReasonAlgorithm, hmac},
		376: {ReasonAlgorithm, hmac},
		377: {ReasonAlgorithm, hmac},
		259: {ReasonMalformed, empty},
		264: {ReasonMalformed, empty},
		268: {ReasonMalformed, empty},
		272: {ReasonMalformed, empty},
		320: {ReasonMalformed, empty},
		325: {ReasonMalformed, empty},
		346: {ReasonAlgorithm, label + "PS256 for a token that is signed with PS384"},
		350: {ReasonAlgorithm, label + "PS256 for a token that is signed with PS384"},
		347: {ReasonUnknownKey, label + "ES521, which is no algorithm"},
		351: {ReasonUnknownKey, label + "ES521, which is no algorithm"},
		372: {ReasonMalformed, "a question mark in the header, which base64url does not have"},
		373: {ReasonMalformed, "a question mark in the payload, which base64url does not have"},
	},
	"json_web_key_test.json": {
		2:  {ReasonAlgorithm, hmac},
		13: {ReasonAlgorithm, hmac},
		14: {ReasonAlgorithm, hmac},
		15: {ReasonAlgorithm, hmac},
	},
	"json_web_crypto_test.json": {
		1:  {ReasonAlgorithm, hmac},
		48: {ReasonAlgorithm, hmac},
		50: {ReasonMalformed, "an encrypted token (JWE)"},
		67: {ReasonMalformed, "an encrypted token (JWE)"},
	},
}

const (
	hmac  = "HMAC: who verifies could sign"
	empty = "an empty payload holds no claims, and is how a detached signature looks"
	label = "the label of the key is wrong in the vector (accepted when corrected, see below): "
)

// TestWycheproof judges every vector. Their payloads are texts such as "foo", which Parse refuses for
// not being claims; so that the signatures are judged and not the payloads, the vectors go through all
// of Parse but its last step, and then it is checked that Parse would have refused them as well.
func TestWycheproof(t *testing.T) {
	for _, name := range []string{"json_web_signature_test.json", "json_web_key_test.json", "json_web_crypto_test.json"} {
		t.Run(name, func(t *testing.T) {
			deviations := refusedThoughValid[name]
			for _, group := range readVectors(t, name).TestGroups {
				key := group.Public
				if key == nil {
					key = group.Private // symmetric: there is no other
				}
				set, _, err := ParseKeySet(asKeySet(t, key))
				if err != nil {
					t.Fatal(err)
				}
				for _, v := range group.Tests {
					token, _, err := open(v.text())
					if err == nil {
						_, err = token.Verify(set, nil)
					}
					deviation, deviates := deviations[v.ID]
					switch {
					case v.Result != "valid" && v.Result != "invalid":
						t.Errorf("%d: the result %q cannot be judged", v.ID, v.Result)
					case v.Result == "invalid" && err == nil:
						t.Errorf("%d (%s) is invalid and was accepted", v.ID, v.Comment)
					case v.Result == "invalid" && deviates:
						t.Errorf("%d (%s) is listed as valid and is not", v.ID, v.Comment)
					case v.Result == "valid" && !deviates && err != nil:
						t.Errorf("%d (%s) is valid and was refused: %v", v.ID, v.Comment, err)
					case v.Result == "valid" && deviates && iam.ReasonOf(err) != deviation.reason:
						t.Errorf("%d (%s): %v, want %s: %s", v.ID, v.Comment, err, deviation.reason, deviation.why)
					}
					if err != nil && iam.KindOf(err) != iam.KindUnauthenticated {
						t.Errorf("%d (%s): the refusal %v is of another kind", v.ID, v.Comment, err)
					}
					if _, err := Parse(v.text()); iam.KindOf(err) != iam.KindUnauthenticated {
						t.Errorf("%d (%s): Parse: %v", v.ID, v.Comment, err)
					}
				}
			}
		})
	}
}

func TestWycheproofMislabelledKeysWorkWhenCorrected(t *testing.T) {
	wrong := map[int][2]string{346: {`"PS256"`, `"PS384"`}, 350: {`"PS256"`, `"PS384"`}, 347: {`"ES521"`, `"ES512"`}, 351: {`"ES521"`, `"ES512"`}}
	for _, group := range readVectors(t, "json_web_signature_test.json").TestGroups {
		for _, v := range group.Tests {
			fix, ok := wrong[v.ID]
			if !ok {
				continue
			}
			delete(wrong, v.ID)
			corrected := strings.Replace(string(group.Public), fix[0], fix[1], 1)
			set, ignored, err := ParseKeySet(asKeySet(t, json.RawMessage(corrected)))
			if err != nil || len(ignored) != 0 {
				t.Fatal(ignored, err)
			}
			token, _, err := open(v.text())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := token.Verify(set, nil); err != nil {
				t.Errorf("%d: %v", v.ID, err)
			}
		}
	}
	if len(wrong) != 0 {
		t.Errorf("not found: %v", wrong)
	}
}

func TestNoEncryptedTokenIsRead(t *testing.T) {
	for _, group := range readVectors(t, "json_web_encryption_test.json").TestGroups {
		for _, v := range group.Tests {
			if _, err := Parse(v.text()); iam.ReasonOf(err) != ReasonMalformed {
				t.Errorf("%d (%s): %v", v.ID, v.Comment, err)
			}
		}
	}
}
