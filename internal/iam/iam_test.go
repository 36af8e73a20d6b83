package iam

import (
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"
)

// The forms as they are written down; the functions are loops because they run for every request.
var (
	nameForm    = regexp.MustCompile(`^[A-Za-z0-9._@-]{1,128}$`)
	projectForm = regexp.MustCompile(`^[^/\\#?%:\x00-\x1f\x7f]+$`)
)

func FuzzValidNames(f *testing.F) {
	for _, s := range []string{"", ".", "..", "...", "alice", "a b", "a/b", "a\x00", "é", "\xff", "K", strings.Repeat("a", 128), strings.Repeat("a", 129), "a@b.c", "x\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		dots := s == "." || s == ".."
		if got, want := ValidName(s), nameForm.MatchString(s) && !dots; got != want {
			t.Errorf("ValidName(%q) = %t, want %t", s, got, want)
		}
		want := len(s) <= 128 && utf8.ValidString(s) && projectForm.MatchString(s) && !dots
		if got := ValidProjectName(s); got != want {
			t.Errorf("ValidProjectName(%q) = %t, want %t", s, got, want)
		}
		if folded := FoldName(s); FoldName(folded) != folded || len(folded) != len(s) && utf8.ValidString(s) {
			t.Errorf("FoldName(%q) = %q", s, folded)
		}
	})
}

func TestPrincipalRefRoundTrip(t *testing.T) {
	for _, ref := range []PrincipalRef{{}, UserID("usr_1").Ref(), ServiceAccountID("sa_up:x%3a").Ref()} {
		if got, err := ParsePrincipalRef(ref.String()); err != nil || got != ref {
			t.Errorf("%v reads back as %v, %v", ref, got, err)
		}
	}
	for _, s := range []string{"user:", "user", "admin:1", ":1", "anonymous:1"} {
		if ref, err := ParsePrincipalRef(s); err == nil {
			t.Errorf("%q is read as %v", s, ref)
		}
	}
}

func TestVisibilityFromAccessClosesWhatItDoesNotKnow(t *testing.T) {
	for access, want := range map[string]Visibility{
		"USER_WRITE": VisibilityOpen, "USER_READ": VisibilityPublic, "PRIVATE": VisibilityTeam, "ENTITY_READ": VisibilityTeam,
		"ENTITY_WRITE": VisibilityTeam, "RESTRICTED": VisibilityRestricted, "": VisibilityRestricted, "user_write": VisibilityRestricted, "NEW": VisibilityRestricted,
	} {
		if got := VisibilityFromAccess(access); got != want {
			t.Errorf("%q is %s, want %s", access, got, want)
		}
	}
	for v := range VisibilityOpen + 1 {
		if VisibilityFromAccess(v.ToAccess()) != v {
			t.Errorf("%s becomes %s", v, VisibilityFromAccess(v.ToAccess()))
		}
	}
}
