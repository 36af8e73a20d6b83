package jws

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func claimsOf(t testing.TB, text string) Claims {
	t.Helper()
	c, err := ParseClaims([]byte(text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return c
}

func TestNumericDate(t *testing.T) {
	for text, want := range map[string]time.Time{
		`0`:                time.Unix(0, 0),
		`1767225600`:       time.Unix(1767225600, 0),
		`1767225600.5`:     time.Unix(1767225600, 500_000_000),
		`1.7672256e9`:      time.Unix(1767225600, 0),
		`9007199254740991`: time.Unix(1<<53-1, 0),
	} {
		got, ok, err := claimsOf(t, `{"exp":`+text+`}`).NumericDate("exp")
		if !got.Equal(want) || !ok || err != nil {
			t.Errorf("%s: %v, %v, %v", text, got, ok, err)
		}
	}
	for _, text := range []string{
		`"1767225600"`, `-1`, `-0`, `-0.5`, `1e308`, `1e309`, `9007199254740992`, `9223372036854775808`, `null`, `true`,
		`[1767225600]`, `{}`, `""`, strings.Repeat("9", 10_000),
	} {
		got, ok, err := claimsOf(t, `{"exp":`+text+`}`).NumericDate("exp")
		if !got.IsZero() || ok || iam.ReasonOf(err) != ReasonMalformed {
			t.Errorf("%.30s: %v, %v, %v", text, got, ok, err)
		}
	}
	if got, ok, err := claimsOf(t, `{"Exp":1}`).NumericDate("exp"); !got.IsZero() || ok || err != nil {
		t.Error(got, ok, err)
	}
}

func TestTypesOfClaims(t *testing.T) {
	c := claimsOf(t, `{"s":"a\"\u0062","empty":"","yes":true,"no":false,"str":"true","one":1,"null":null,
		"list":["a","b"],"none":[],"mixed":["a",1],"nested":[["a"]],"nulls":[null],"object":{"a":1}}`)
	for name, want := range map[string]string{"s": `a"b`, "empty": "", "str": "true"} {
		if got, ok, err := c.Text(name); got != want || !ok || err != nil {
			t.Errorf("Text %s: %q, %v, %v", name, got, ok, err)
		}
	}
	for _, name := range []string{"yes", "one", "null", "list", "object"} {
		if got, ok, err := c.Text(name); got != "" || ok || iam.ReasonOf(err) != ReasonMalformed {
			t.Errorf("Text %s: %q, %v, %v", name, got, ok, err)
		}
	}
	for name, want := range map[string]bool{"yes": true, "no": false} {
		if got, ok, err := c.Bool(name); got != want || !ok || err != nil {
			t.Errorf("Bool %s: %v, %v, %v", name, got, ok, err)
		}
	}
	for _, name := range []string{"str", "one", "null", "list", "empty"} { // J12
		if got, ok, err := c.Bool(name); got || ok || iam.ReasonOf(err) != ReasonMalformed {
			t.Errorf("Bool %s: %v, %v, %v", name, got, ok, err)
		}
	}
	for name, want := range map[string][]string{"s": {`a"b`}, "empty": {""}, "list": {"a", "b"}, "none": {}} {
		if got, ok, err := c.Texts(name); !slices.Equal(got, want) || !ok || err != nil {
			t.Errorf("Texts %s: %q, %v, %v", name, got, ok, err)
		}
	}
	for _, name := range []string{"yes", "one", "null", "mixed", "nested", "nulls", "object"} { // J09
		if got, ok, err := c.Texts(name); got != nil || ok || iam.ReasonOf(err) != ReasonMalformed {
			t.Errorf("Texts %s: %q, %v, %v", name, got, ok, err)
		}
	}
	if !c.Has("null") || c.Has("absent") {
		t.Error("Has")
	}
	for _, absent := range []func() (bool, error){
		func() (bool, error) { _, ok, err := c.Text("absent"); return ok, err },
		func() (bool, error) { _, ok, err := c.Bool("absent"); return ok, err },
		func() (bool, error) { _, ok, err := c.Texts("absent"); return ok, err },
		func() (bool, error) { _, ok, err := Claims{}.Text("sub"); return ok, err },
	} {
		if ok, err := absent(); ok || err != nil {
			t.Error(ok, err)
		}
	}
}

func TestPathsOfClaims(t *testing.T) {
	c := claimsOf(t, `{
		"sub":"system:serviceaccount:ml:trainer",
		"kubernetes.io":{"namespace":"ml","pod":{"name":"p","uid":"1"},"warnafter":1767225600},
		"https://sts.amazonaws.com/":{"principal_tags":{"team":["vision","audio"]},"org_id":"o-1"},
		"https://example.com/roles":["admin",1,true,null,["nested"]],
		"a":{"b/c":"1","b":{"c":"2","d":"3"}},
		"a/b":{"e":"4"},
		"a/b/f":"5",
		"ref_protected":"true","runner":true,"run_attempt":1,"ratio":1.50,"big":10000000000000000000001,
		"empty":"","null":null,"":"nameless","object":{"":"inner"},"s/":"slash"}`)
	for path, want := range map[string]string{
		"sub":                       "system:serviceaccount:ml:trainer",
		"kubernetes.io/namespace":   "ml",
		"kubernetes.io/pod/name":    "p",
		"kubernetes.io/warnafter":   "1767225600",
		"https://example.com/roles": "admin",
		"https://sts.amazonaws.com//principal_tags/team": "audio",
		"https://sts.amazonaws.com//org_id":              "o-1",
		"a/b/c":                                          "1", // the longest name in each object
		"a/b/d":                                          "3",
		"a/b/e":                                          "4", // "a" is tried after "a/b"
		"a/b/f":                                          "5",
		"ref_protected":                                  "true",
		"runner":                                         "true",
		"run_attempt":                                    "1",
		"ratio":                                          "1.50",
		"big":                                            "10000000000000000000001",
		"empty":                                          "",
		"s/":                                             "slash",
	} {
		if !c.Matches(path, want) {
			text, ok := c.Lookup(path)
			t.Errorf("%s does not match %q: %s, %v", path, want, text, ok)
		}
	}
	for path, want := range map[string]string{
		"Sub":                             "system:serviceaccount:ml:trainer",
		"sub":                             "system:serviceaccount:ml:Trainer",
		"sub/":                            "system:serviceaccount:ml:trainer",
		"/sub":                            "system:serviceaccount:ml:trainer",
		"kubernetes.io":                   "ml",
		"kubernetes.io/pod":               "p",
		"kubernetes.io.namespace":         "ml",
		"kubernetes":                      "ml",
		"https://sts.amazonaws.com":       "o-1",
		"https://example.com/roles/0":     "admin",
		"https://example.com/roles":       "nested",
		"a":                               "1",
		"ratio":                           "1.5",
		"run_attempt":                     "1.0",
		"big":                             "1e22",
		"null":                            "null",
		"absent":                          "",
		"":                                "nameless",
		"object/":                         "inner",
		"runner":                          "True",
		"https://sts.amazonaws.com/*":     "o-1",
		strings.Repeat("a/", 10_000):      "1",
		"a/b/c/" + strings.Repeat("/", 5): "1",
	} {
		if c.Matches(path, want) {
			t.Errorf("%.60s matches %q", path, want)
		}
	}
	for path, want := range map[string]string{"kubernetes.io/pod/uid": `"1"`, "runner": "true", "null": "null", "kubernetes.io/pod": `{"name":"p","uid":"1"}`} {
		if got, ok := c.Lookup(path); got != want || !ok {
			t.Errorf("%s: %s, %v", path, got, ok)
		}
	}
	if got, ok := c.Lookup("kubernetes.io/absent"); got != "" || ok {
		t.Error(got, ok)
	}
}

func TestParseClaims(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "a list": "[]", "two": "{}{}", "too large": `{"a":"` + strings.Repeat("a", MaxTokenBytes) + `"}`,
		"twice": `{"a":1,"a":1}`,
	} {
		if _, err := ParseClaims([]byte(text)); iam.ReasonOf(err) != ReasonMalformed {
			t.Errorf("%s: %v", name, err)
		}
	}
}
