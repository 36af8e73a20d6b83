package schema

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestDecode(t *testing.T) {
	got, err := Decode([]byte(`{"Emails":[{"VALUE":"A"}],"n":1.50}`))
	if err != nil || got["emails"].([]any)[0].(map[string]any)["value"] != "A" || got["n"] != json.Number("1.50") {
		t.Errorf("read as %v, %v", got, err)
	}
	for name, body := range map[string]string{
		"nothing": ``, "blank": ` `, "null": `null`, "list": `[]`, "text": `"x"`, "half": `{"a":`, "half a list": `{"a":[1`, "two": `{}{}`, "behind": `{} x`,
		"twice": `{"a":1,"a":2}`, "twice in another case": `{"a":{"b":1,"B":2}}`, "no name": `{1:2}`, "no colon": `{"a" 1}`, "comma": `{"a":1,}`,
		"comment": `{"a":1 // x` + "\n}", "bytes": "{\"a\":\"\xff\"}", "deep": strings.Repeat(`[`, 100) + strings.Repeat(`]`, 100), "deep objects": strings.Repeat(`{"a":`, 100) + `1` + strings.Repeat(`}`, 100),
	} {
		v, err := Decode([]byte(body))
		if iam.KindOf(err) != iam.KindInvalid || iam.ReasonOf(err) != ReasonInvalidSyntax {
			t.Errorf("%s is read as %v, %v", name, v, err)
		}
	}
}

// FuzzDecode: what is read is an object of JSON, and means the same when it is written and read again.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"schemas":["x"],"Operations":[{"op":"add","value":{"a":null,"b":true,"c":1e9}}]}`))
	f.Add([]byte(`{"a":1,"A":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		object, err := Decode(body)
		if err != nil {
			if iam.ReasonOf(err) != ReasonInvalidSyntax {
				t.Fatal(err)
			}
			return
		}
		if !json.Valid(body) {
			t.Fatalf("%q is no JSON", body)
		}
		text, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode(text)
		if err != nil || len(again) != len(object) {
			t.Fatalf("%q, written as %q: %v", body, text, err)
		}
	})
}
