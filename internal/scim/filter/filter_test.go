package filter

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

func TestParse(t *testing.T) {
	name := Compare{"userName", Equal, "bjensen"}
	for text, want := range map[string]Expression{
		// RFC 7644, figure 1 and what follows it.
		`userName eq "bjensen"`:                                      name,
		`userName Eq "bjensen"`:                                      name,
		`userName  eq   "bjensen"`:                                   name,
		` userName eq "bjensen" `:                                    name,
		`name.familyName co "O'Malley"`:                              Compare{"name.familyName", Contains, "O'Malley"},
		`urn:ietf:params:scim:schemas:core:2.0:User:userName sw "J"`: Compare{"urn:ietf:params:scim:schemas:core:2.0:User:userName", StartsWith, "J"},
		`title pr`: Present{"title"},
		`meta.lastModified ge "2011-05-13T04:42:34Z"`:        Compare{"meta.lastModified", GreaterOrEqual, "2011-05-13T04:42:34Z"},
		`title pr and userType eq "Employee"`:                And{Present{"title"}, Compare{"userType", Equal, "Employee"}},
		`a pr or b pr and c pr`:                              Or{Present{"a"}, And{Present{"b"}, Present{"c"}}},
		`(a pr or b pr) and c pr`:                            And{Or{Present{"a"}, Present{"b"}}, Present{"c"}},
		`a pr and (b pr or c pr)`:                            And{Present{"a"}, Or{Present{"b"}, Present{"c"}}},
		`a pr and(b pr)`:                                     And{Present{"a"}, Present{"b"}},
		`not (a pr)`:                                         Not{Present{"a"}},
		`NOT(a pr)`:                                          Not{Present{"a"}},
		`emails[type eq "work" and value co "@example.com"]`: Where{"emails", And{Compare{"type", Equal, "work"}, Compare{"value", Contains, "@example.com"}}},
		`a eq 1.5`:                                           Compare{"a", Equal, json.Number("1.5")}, `a eq True`: Compare{"a", Equal, true},
		`a eq false`: Compare{"a", Equal, false}, `a ne null`: Compare{"a", NotEqual, nil},
		`a eq "say \"hi\" \u0041"`: Compare{"a", Equal, `say "hi" A`},
		`not pr`:                   Present{"not"}, // an attribute may be called so
	} {
		got, err := Parse(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %#v, %v; want %#v", text, got, err, want)
		}
	}
}

func TestParsePath(t *testing.T) {
	for text, want := range map[string]Path{
		`members`:                           {Attribute: "members"},
		`name.familyName`:                   {Attribute: "name.familyName"},
		`members[value eq "2819c223"]`:      {Attribute: "members", Filter: Compare{"value", Equal, "2819c223"}},
		`emails[type eq "work"].value`:      {Attribute: "emails", Filter: Compare{"type", Equal, "work"}, Sub: "value"},
		`urn:x:2.0:User:teamRoles.roleName`: {Attribute: "urn:x:2.0:User:teamRoles.roleName"},
		`members[$ref eq "x"]`:              {Attribute: "members", Filter: Compare{"$ref", Equal, "x"}},
	} {
		got, err := ParsePath(text)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is read as %#v, %v; want %#v", text, got, err, want)
		}
	}
}

// hostile is text that is no filter (threat S01).
var hostile = []string{
	``, ` `, `userName`, `userName eq`, `userName eq `, `userName eq bjensen`, `userName eq 'bjensen'`, `userName eq "bjensen`,
	`userName eq "a" or "1" eq "1"`, `"; DROP`, `*`, `)(uid=*`, `userName eq "a\`, `userName eq "a\"`, `userName eq "\x"`, `userName eq "a" "b"`,
	`userName is "a"`, `eq "a"`, `(userName eq "a"`, `userName eq "a")`, `userName eq "a" and`, `and userName eq "a"`, `userName eq "a" or or a pr`,
	`emails[type eq "work"`, `emails[type eq "work"] eq "x"`, `emails[a[b eq "c"]]`, `not userName eq "a"`, `userName eq "a"and b pr`, `userName eq"a"`,
	`userName eq 0x10`, `userName eq 01`, `userName eq nan`, `a eq {}`, `a eq []`, "userName\x00 eq \"a\"", "userName eq \"\xff\"", `1a eq "b"`, `-a pr`,
	"userName eq \"a\nb\"", "userName\teq\t\"a\"",
	strings.Repeat("(", 10_000) + `a pr` + strings.Repeat(")", 10_000),
	strings.Repeat("not (", 40) + `a pr` + strings.Repeat(")", 40),
	strings.Repeat("a pr or ", 300) + "a pr", `a eq "` + strings.Repeat("x", MaxBytes) + `"`, strings.Repeat("a", 1<<20),
}

func TestHostileFilters(t *testing.T) {
	for _, text := range hostile {
		e, err := Parse(text)
		if iam.KindOf(err) != iam.KindInvalid || iam.ReasonOf(err) != ReasonInvalidFilter {
			t.Errorf("%.60q is read as %#v, %v", text, e, err)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%.60q: the error repeats %d bytes", text, len(err.Error()))
		}
	}
	for _, text := range []string{``, `members[`, `members[value eq "x"`, `members[value eq "x"].`, `members[value eq "x"]x`, `a b`, `.a`, `a[b[c pr]]`, `a/b`, "a\n", strings.Repeat("a", 1<<20)} {
		p, err := ParsePath(text)
		if iam.KindOf(err) != iam.KindInvalid || iam.ReasonOf(err) != ReasonInvalidPath {
			t.Errorf("%.60q is read as %#v, %v", text, p, err)
		}
	}
}

// print writes an expression so that reading it again gives the same.
func print(e Expression) string {
	switch e := e.(type) {
	case And:
		return "(" + print(e.Left) + ") and (" + print(e.Right) + ")"
	case Or:
		return "(" + print(e.Left) + ") or (" + print(e.Right) + ")"
	case Not:
		return "not (" + print(e.Of) + ")"
	case Where:
		return e.Attribute + "[" + print(e.Filter) + "]"
	case Present:
		return e.Attribute + " pr"
	case Compare:
		value, err := json.Marshal(e.Value)
		if err != nil {
			panic(err)
		}
		return e.Attribute + " " + string(e.Operator) + " " + string(value)
	}
	panic("an expression of no kind")
}

// FuzzParse: whatever is read means the same when it is written out and read again.
func FuzzParse(f *testing.F) {
	for _, text := range hostile {
		if len(text) < 1000 {
			f.Add(text)
		}
	}
	f.Add(`emails[type eq "work" and not (value co "@x")] or a.b ge 1.5 and urn:a:2.0:User:x eq "\u0022"`)
	f.Fuzz(func(t *testing.T, text string) {
		ParsePath(text)
		e, err := Parse(text)
		if err != nil {
			if iam.ReasonOf(err) != ReasonInvalidFilter {
				t.Fatalf("refused with %v", err)
			}
			return
		}
		again, err := Parse(print(e))
		if err != nil {
			if len(text) > 200 { // written out it has more parentheses, and may be over the bounds
				return
			}
			t.Fatalf("%q, written out as %q: %v", text, print(e), err)
		}
		if !reflect.DeepEqual(e, again) {
			t.Fatalf("%q and %q differ: %#v, %#v", text, print(e), e, again)
		}
	})
}
