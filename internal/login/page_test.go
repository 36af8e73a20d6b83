package login

import (
	"bytes"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

var (
	styleOnPage  = regexp.MustCompile(`(?s)<style>(.*?)</style>`)
	scriptOnPage = regexp.MustCompile(`(?s)<script>(.*?)</script>`)
)

// TestPages compares every page with its golden file, and holds it to what all pages promise.
func TestPages(t *testing.T) {
	h := newHouse(t, nil)
	r := httptest.NewRequest("GET", origin+"/oidc/login", nil)
	hostile := `"><script>alert(1)</script>&`
	for name, c := range map[string]struct {
		page   string
		policy policy
		data   any
	}{
		"signin_both":  {"signin", policy{forms: onlyHere}, signInPage{head: head{Title: "Sign in", Token: "TOKEN"}, ProviderLink: "/oidc/login?with=provider&return_to=%2F", ProviderName: "acme.okta.com", Form: formPassword, ReturnTo: "/", LoginLabel: "User name or e-mail address", PasswordLabel: "Password"}},
		"signin_wrong": {"signin", policy{forms: onlyHere}, signInPage{head: head{Title: "Sign in", Token: "TOKEN", Alert: "Wrong.", RequestID: "request-1"}, Form: formPassword, ReturnTo: "/a?b=" + hostile, Login: hostile, LoginLabel: "User name or e-mail address", PasswordLabel: "Password"}},
		"signout":      {"signout", policy{forms: onlyHere}, signOutPage{head{Title: "Sign out"}, "alice"}},
		"teams":        {"teams", policy{forms: onlyHere}, teamsView{head{Title: "Choose your teams", Token: "TOKEN"}, []iam.TeamRef{{ID: "team_1", Name: "vision"}, {ID: "team_2", Name: "speech"}}}},
		"key":          {"key", policy{script: true}, keyPage{head{Title: "Your new API key"}, "wbg-0123456789", "laptop " + hostile, "01234567"}},
		"authorize": {"authorize", policy{forms: onlyHere}, authorizePage{head: head{Title: "API keys", Token: "TOKEN", Alert: "Too many."}, Username: "alice", Email: "alice@acme.test",
			Keys: []shownKey{{Name: hostile, Created: "20 November 2026, 12:00 UTC", ID: "01234567"}, {ID: "89abcdef", Created: "19 November 2026, 12:00 UTC"}}, MoreKeys: 3,
			Sessions: []shownSession{{ID: "0123456789abcdef", UserAgent: hostile, Client: "192.0.2.7", Created: "20 November 2026, 12:00 UTC", Expires: "20 December 2026, 12:00 UTC", Here: true}}}},
		"authorize_none_stored": {"authorize", policy{forms: onlyHere}, authorizePage{head: head{Title: "API keys", Token: "TOKEN"}, Username: "alice", Upstream: &shownUpstreamKey{}}},
		"authorize_stored":      {"authorize", policy{forms: onlyHere}, authorizePage{head: head{Title: "API keys", Token: "TOKEN"}, Username: "alice", Upstream: &shownUpstreamKey{Set: "20 November 2026, 12:00 UTC"}}},
		"message":               {"message", policy{}, messagePage{head: head{Title: "This did not work", RequestID: "request-1"}, Text: "It is " + hostile, Link: loginDoor, LinkText: "Sign in again"}},
	} {
		w := httptest.NewRecorder()
		h.show(w, r, 200, c.page, c.policy, c.data)
		got := w.Body.Bytes()
		file := filepath.Join("testdata", name+".html")
		if *update {
			if err := os.WriteFile(file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s differs from %s (%v); look at it, then run with -update:\n%s", name, file, err, got)
		}
		csp := w.Header().Get("Content-Security-Policy")
		page := string(got)
		if m := styleOnPage.FindStringSubmatch(page); m == nil || !strings.Contains(csp, "style-src "+hashSource(m[1])+";") {
			t.Errorf("%s: the style on the page is not the allowed one", name)
		}
		if scripts := scriptOnPage.FindAllStringSubmatch(page, -1); len(scripts) > 0 != c.policy.script || len(scripts) > 1 || len(scripts) == 1 && !strings.Contains(csp, "script-src "+hashSource(scripts[0][1])) {
			t.Errorf("%s: scripts %v under %s", name, scripts, csp)
		}
		if strings.Contains(page, "alert(1)</script>") || strings.Contains(page, ` style="`) || strings.Contains(page, " onclick") || strings.Contains(page, "http://") || strings.Contains(page, "https://") {
			t.Errorf("%s: %s", name, page)
		}
		for _, id := range regexp.MustCompile(`<label for="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			if strings.Count(page, ` id="`+id[1]+`"`) != 1 {
				t.Errorf("%s: no field for the label of %s", name, id[1])
			}
		}
		if !strings.Contains(page, `<html lang="en">`) || strings.Count(page, "<h1>") != 1 || strings.Count(page, "<main") != 1 || !strings.Contains(page, `name="viewport"`) {
			t.Errorf("%s has no language, heading, main part or width", name)
		}
	}
}

func TestEventTextsAreOneShortLine(t *testing.T) {
	for _, s := range []string{"a\r\nb", "\x1b[2J", strings.Repeat("é", 1000), "\xff\xfe", "a\u202eb"} {
		if got := plain(s); len(got) > maxEventBytes+3 || strings.ContainsAny(got, "\r\n\x1b\u202e") || strings.ToValidUTF8(got, "") != got {
			t.Errorf("%q became %q", s, got)
		}
	}
}
