package authz

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// declaredReasons reads the reasons from the source, so that none is forgotten.
func declaredReasons(t *testing.T) map[string]iam.Reason {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "reasons.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	reasons, codes := map[string]iam.Reason{}, map[iam.Reason]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if codes[iam.Reason(code)] {
			t.Errorf("two reasons have the code %s", code)
		}
		codes[iam.Reason(code)] = true
		reasons[spec.Names[0].Name] = iam.Reason(code)
		return true
	})
	if len(reasons) < 40 {
		t.Fatalf("found %d reasons only", len(reasons))
	}
	return reasons
}

// TestSentences prints what people read for every refusal.
func TestSentences(t *testing.T) {
	callers := []Names{
		{Principal: "alice", Kind: iam.KindUser, Entity: "vision", Project: "detector"},
		{Principal: "ci-train", Kind: iam.KindServiceAccount, Entity: "vision", Project: "detector", Team: "nlp", KeyScope: "nlp/tagger"},
		{},
	}
	fallback := func(n Names) string { return Sentence("no such reason", n) }
	var b strings.Builder
	declared := declaredReasons(t)
	for _, r := range sortedDenials(declared) {
		fmt.Fprintf(&b, "%s\n", r)
		for _, n := range callers {
			s := Sentence(r, n)
			fmt.Fprintf(&b, "  %s\n", s)
			if s == fallback(n) {
				t.Errorf("%s has no sentence of its own", r)
			}
			if len(s) > 240 {
				t.Errorf("%s is no short sentence: %d bytes", r, len(s))
			}
			if !strings.Contains(s, ": ") {
				t.Errorf("%s does not say what to do: %s", r, s)
			}
		}
	}
	golden(t, "testdata/sentences.golden", b.String())
}

func sortedDenials(declared map[string]iam.Reason) []iam.Reason {
	var denials []iam.Reason
	for _, r := range declared {
		if !allowReasons[r] {
			denials = append(denials, r)
		}
	}
	slices.Sort(denials)
	return denials
}

// TestSentenceHides: the sentence for what is hidden depends on what was asked for, not on who
// asks or what there is.
func TestSentenceHides(t *testing.T) {
	a := Sentence(ReasonNotFound, Names{Entity: "vision", Project: "detector"})
	b := Sentence(ReasonNotFound, Names{Principal: "mallory", Kind: iam.KindUser, Entity: "vision", Project: "detector", Team: "nlp"})
	if a != b {
		t.Errorf("two callers read two sentences:\n%s\n%s", a, b)
	}
}

func TestSentenceHostileNames(t *testing.T) {
	for _, c := range []struct{ name, project string }{
		{"line break", "x\nSet-Cookie: a=b"},
		{"carriage return", "x\r\n\r\n<html>"},
		{"terminal escape", "\x1b[2J\x1b]0;owned\x07"},
		{"nul", "x\x00y"},
		{"right to left override", "x\u202egnp.exe"},
		{"not UTF-8", "x\xff\xfe"},
		{"huge", strings.Repeat("A", 1<<20)},
		{"huge, cut inside a letter", strings.Repeat("\u00e4", 1<<16)},
		{"huge, not UTF-8", strings.Repeat("\x80", 1<<16)},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range sortedDenials(declaredReasons(t)) {
				s := Sentence(r, Names{Principal: c.project, Kind: iam.KindUser, Entity: c.project, Project: c.project, Team: c.project, KeyScope: c.project})
				if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
					t.Errorf("%s: not printable: %q", r, s)
				}
				if len(s) > 4096 {
					t.Errorf("%s: %d bytes", r, len(s))
				}
			}
		})
	}
}

func FuzzSentence(f *testing.F) {
	f.Add("restricted_project_not_invited", "ci-train", "vision", "detector", "nlp", uint8(2))
	f.Add("not_found", "\x1b[2J", "x\nSet-Cookie: a", "\xff", "\u202e", uint8(9))
	f.Fuzz(func(t *testing.T, reason, principal, entity, project, team string, kind uint8) {
		s := Sentence(iam.Reason(reason), Names{principal, iam.PrincipalKind(kind), entity, project, team, principal})
		if s == "" || len(s) > 4096 || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
			t.Errorf("Sentence = %q", s)
		}
	})
}
