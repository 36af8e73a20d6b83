package patch

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/scim/schema"
)

func attribute(name string, change func(*schema.Attribute)) *schema.Attribute {
	a := &schema.Attribute{Name: name, Type: schema.String, Mutability: schema.ReadWrite}
	if change != nil {
		change(a)
	}
	return a
}

func list(sub ...*schema.Attribute) func(*schema.Attribute) {
	return func(a *schema.Attribute) { a.Type, a.MultiValued, a.SubAttributes = schema.Complex, true, sub }
}

// thing has an attribute of every form.
var thing = &schema.ResourceType{Name: "Thing", Core: &schema.Schema{ID: "urn:t:Thing", Attributes: []*schema.Attribute{
	attribute("text", nil),
	attribute("fixed", func(a *schema.Attribute) { a.Mutability = schema.Immutable }),
	attribute("ours", func(a *schema.Attribute) { a.Mutability = schema.ReadOnly }),
	attribute("needed", func(a *schema.Attribute) { a.Required = true }),
	attribute("flag", func(a *schema.Attribute) { a.Type = schema.Boolean }),
	attribute("words", func(a *schema.Attribute) { a.MultiValued = true }),
	attribute("name", func(a *schema.Attribute) {
		a.Type, a.SubAttributes = schema.Complex, []*schema.Attribute{attribute("first", nil), attribute("last", nil)}
	}),
	attribute("items", list(attribute("value", nil), attribute("kind", nil))),
	attribute("single", func(a *schema.Attribute) { list(attribute("value", nil), attribute("kind", nil))(a); a.One = true }),
}}, Extensions: []*schema.Schema{{ID: "urn:t:2.0:Ext", Attributes: []*schema.Attribute{attribute("extra", nil)}}}}

const before = `{"text":"a","fixed":"Once","ours":"o","needed":"n","words":["x","y"],"name":{"first":"f","last":"l"},"items":[{"value":"1","kind":"k"},{"value":"2"}]}`

func resource(t *testing.T, text string) schema.Resource {
	t.Helper()
	var r schema.Resource
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func apply(t *testing.T, r schema.Resource, operations string) (schema.Resource, error) {
	t.Helper()
	body, err := schema.Decode([]byte(`{"Operations":[` + operations + `]}`))
	if err != nil {
		t.Fatal(err)
	}
	list, err := Read(body)
	if err != nil {
		return nil, err
	}
	return Apply(thing, r, list)
}

// TestApply holds each operation to what it changes of the thing, by the rules of RFC 7644 section 3.5.2.
func TestApply(t *testing.T) {
	for operations, want := range map[string]string{
		`{"op":"add","path":"text","value":"b"}`:                                                                    `{"text":"b"}`,
		`{"op":"ADD","path":"TEXT","value":["b"]}`:                                                                  `{"text":"b"}`,
		`{"op":"add","path":"urn:t:thing:text","value":"b"}`:                                                        `{"text":"b"}`,
		`{"op":"remove","path":"text"}`:                                                                             `{"text":null}`,
		`{"op":"replace","path":"text","value":null}`:                                                               `{"text":null}`,
		`{"op":"add","path":"text","value":null}`:                                                                   `{}`,
		`{"op":"replace","path":"flag","value":"TRUE"}`:                                                             `{"flag":true}`,
		`{"op":"replace","path":"fixed","value":"ONCE"}`:                                                            `{}`,
		`{"op":"add","path":"words","value":["y","z","z"]}`:                                                         `{"words":["x","y","z"]}`,
		`{"op":"add","path":"words","value":"z"}`:                                                                   `{"words":["x","y","z"]}`,
		`{"op":"remove","path":"words","value":["x","q"]}`:                                                          `{"words":["y"]}`,
		`{"op":"replace","path":"words","value":["z"]}`:                                                             `{"words":["z"]}`,
		`{"op":"replace","path":"words","value":[]}`:                                                                `{"words":null}`,
		`{"op":"replace","path":"name","value":{"last":"m"}}`:                                                       `{"name":{"first":"f","last":"m"}}`,
		`{"op":"replace","path":"name.last","value":"m"}`:                                                           `{"name":{"first":"f","last":"m"}}`,
		`{"op":"remove","path":"name.last"}`:                                                                        `{"name":{"first":"f"}}`,
		`{"op":"remove","path":"name.last"},{"op":"remove","path":"name.first"}`:                                    `{"name":null}`,
		`{"op":"add","path":"items","value":[{"value":"1"},{"value":"3"}]}`:                                         `{"items":[{"value":"1","kind":"k"},{"value":"2"},{"value":"3"}]}`,
		`{"op":"remove","path":"items[kind eq \"k\"]"}`:                                                             `{"items":[{"value":"2"}]}`,
		`{"op":"remove","path":"items[value eq \"9\"]"}`:                                                            `{}`,
		`{"op":"remove","path":"items[value pr]"}`:                                                                  `{"items":null}`,
		`{"op":"remove","path":"items","value":[{"value":"2","kind":"other"}]}`:                                     `{"items":[{"value":"1","kind":"k"}]}`,
		`{"op":"remove","path":"items.kind"}`:                                                                       `{"items":[{"value":"1"},{"value":"2"}]}`,
		`{"op":"replace","path":"items[value eq \"2\"].kind","value":"z"}`:                                          `{"items":[{"value":"1","kind":"k"},{"value":"2","kind":"z"}]}`,
		`{"op":"replace","path":"items[value eq \"2\"]","value":{"value":"5"}}`:                                     `{"items":[{"value":"1","kind":"k"},{"value":"5"}]}`,
		`{"op":"add","path":"items[value eq \"7\" and kind eq \"q\"]","value":{}}`:                                  `{"items":[{"value":"1","kind":"k"},{"value":"2"},{"value":"7","kind":"q"}]}`,
		`{"op":"add","path":"items[kind eq \"q\"].value","value":"7"}`:                                              `{"items":[{"value":"1","kind":"k"},{"value":"2"},{"value":"7","kind":"q"}]}`,
		`{"op":"add","path":"single","value":[{"value":"1"}]},{"op":"add","path":"single","value":[{"value":"2"}]}`: `{"single":[{"value":"2"}]}`,
		`{"op":"add","path":"urn:t:2.0:Ext:extra","value":"e"}`:                                                     `{"urn:t:2.0:Ext":{"extra":"e"}}`,
		`{"op":"add","path":"urn:t:2.0:ext","value":{"extra":"e","more":1}}`:                                        `{"urn:t:2.0:Ext":{"extra":"e"}}`,
		`{"op":"add","value":{"urn:t:2.0:Ext":{"extra":"e"}}},{"op":"remove","path":"urn:t:2.0:Ext"}`:               `{}`,
		`{"op":"replace","value":{"name.first":"g","items[value eq \"1\"].kind":"z","id":"x","schemas":[]}}`:        `{"name":{"first":"g","last":"l"},"items":[{"value":"1","kind":"z"},{"value":"2"}]}`,
		`{"op":"replace","path":"nosuch","value":1},{"op":"add","path":"urn:other:2.0:X:y","value":1},{"op":"remove","path":"nosuch[a eq 1].b"}`: `{}`,
	} {
		r := resource(t, before)
		got, err := apply(t, r, operations)
		if err != nil {
			t.Errorf("%s: %v", operations, err)
			continue
		}
		wanted := resource(t, before)
		for name, v := range resource(t, want) {
			if wanted[name] = v; v == nil {
				delete(wanted, name)
			}
		}
		if !reflect.DeepEqual(got, wanted) {
			t.Errorf("%s:\n got %v\nwant %v", operations, got, wanted)
		}
		if !reflect.DeepEqual(r, resource(t, before)) {
			t.Errorf("%s changed what it was given: %v", operations, r)
		}
	}
}

func TestApplyRefuses(t *testing.T) {
	for operations, reason := range map[string]iam.Reason{
		`{"op":"replace","path":"ours","value":"x"}`:                       schema.ReasonMutability,
		`{"op":"remove","path":"needed"}`:                                  schema.ReasonMutability,
		`{"op":"replace","path":"needed","value":""}`:                      schema.ReasonMutability,
		`{"op":"replace","path":"fixed","value":"twice"}`:                  schema.ReasonMutability,
		`{"op":"remove","path":"fixed"}`:                                   schema.ReasonMutability,
		`{"op":"replace","path":"meta","value":{}}`:                        schema.ReasonMutability,
		`{"op":"replace","path":"items[value eq \"9\"].kind","value":"z"}`: ReasonNoTarget,
		`{"op":"add","path":"items[value co \"9\"].kind","value":"z"}`:     ReasonNoTarget,
		`{"op":"remove"}`: ReasonNoTarget,
		`{"op":"replace","path":"text","value":{"a":1}}`:               schema.ReasonInvalidValue,
		`{"op":"replace","path":"text","value":["a","b"]}`:             schema.ReasonInvalidValue,
		`{"op":"replace","path":"flag","value":"1"}`:                   schema.ReasonInvalidValue,
		`{"op":"replace","path":"name","value":7}`:                     schema.ReasonInvalidValue,
		`{"op":"add","path":"text"}`:                                   schema.ReasonInvalidValue,
		`{"op":"add","value":7}`:                                       schema.ReasonInvalidValue,
		`{"op":"add","path":7,"value":7}`:                              "invalid_path",
		`{"op":"add","path":"a b","value":7}`:                          "invalid_path",
		`{"op":"add","path":"text[a eq 1]","value":7}`:                 "invalid_path",
		`{"op":"add","path":"name[first eq \"x\"]","value":7}`:         "invalid_path",
		`{"op":"add","path":"items[value eq \"1\"].nosuch","value":7}`: "invalid_path",
		`{"op":"swap","path":"text","value":7}`:                        schema.ReasonInvalidSyntax,
		`{"path":"text","value":7}`:                                    schema.ReasonInvalidSyntax,
		`[]`:                                                           schema.ReasonInvalidSyntax,
		``:                                                             schema.ReasonInvalidSyntax,
	} {
		r := resource(t, before)
		got, err := apply(t, r, operations)
		if iam.KindOf(err) != iam.KindInvalid || iam.ReasonOf(err) != reason {
			t.Errorf("%s: %v, %v; want %s", operations, got, err, reason)
		}
		if !reflect.DeepEqual(r, resource(t, before)) {
			t.Errorf("%s changed what it was given: %v", operations, r)
		}
	}
}
