package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// row is what the command line shows of a person.
type row struct {
	Username, Email, Name, Role string
	ModelsSeat                  string `json:"models_seat"`
	WeaveSeat                   string `json:"weave_seat"`
	Active                      bool
	Teams                       []struct{ Team, Role string }
}

func (s *signInSite) user(t *testing.T, name string) row {
	t.Helper()
	var rows []row
	if out := s.mustIAM("user", "get", name, "--json"); json.Unmarshal([]byte(out), &rows) != nil || len(rows) != 1 {
		t.Fatalf("user get prints %s", out)
	}
	return rows[0]
}

// teams are the person's teams as team:role.
func (r row) teams() (all []string) {
	for _, team := range r.Teams {
		all = append(all, team.Team+":"+team.Role)
	}
	slices.Sort(all)
	return all
}

// TestFirstPerson: the first person in an empty directory becomes its admin; whoever follows is a
// member with full seats.
func TestFirstPerson(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", nil)
	first := site.visitor(t).signIn("carol", nil)
	first.mustBe("first", "carol")
	site.visitor(t).signIn("dave", nil)
	if u := site.user(t, "carol"); u.Role != "admin" || u.Email != "carol@acme.test" || u.Name != "The person carol" {
		t.Errorf("the first is %+v", u)
	}
	if u := site.user(t, "dave"); u.Role != "member" || u.ModelsSeat != "full" || u.WeaveSeat != "full" || len(u.Teams) != 0 {
		t.Errorf("the second is %+v", u)
	}
	if e := site.signInEvents("sign_in"); len(e) != 2 || e[0].fields["created"] != true {
		t.Errorf("the log says %v", e)
	}
}

// TestWhoAPersonIs: a verified address finds a person once, the account from then on.
func TestWhoAPersonIs(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "implicit", nil).withAcme()
	for _, c := range []struct {
		name, person string
		claims       map[string]any
		username     string // "" for refused
		reason       string
	}{
		{"known by address in another case", "x", map[string]any{"sub": "1", "email": "Alice@ACME.test"}, "alice", ""},
		{"again", "x", map[string]any{"sub": "1", "email": "alice@acme.test"}, "alice", ""},
		{"another address of the same account", "x", map[string]any{"sub": "1", "email": "alice.new@acme.test"}, "alice", ""},
		{"another account with the address", "x", map[string]any{"sub": "2", "email": "alice@acme.test"}, "", "other_subject"},
		{"the account in another case", "x", map[string]any{"sub": "SUB-x"}, "x", ""},
		{"now with somebody else's address", "x", map[string]any{"sub": "1", "email": "bob@acme.test"}, "", "email_taken"},
		{"address not verified", "e1", map[string]any{"email_verified": false}, "", "email_unverified"},
		{"not verified, as text", "e2", map[string]any{"email_verified": "false"}, "", "email_unverified"},
		{"not verified, shouting", "e3", map[string]any{"email_verified": "FALSE"}, "", "email_unverified"},
		{"not verified, as number", "e4", map[string]any{"email_verified": 0}, "", "email_unverified"},
		{"not verified, null", "e5", map[string]any{"email_verified": []string{}}, "", "email_unverified"},
		{"verified, as text", "e6", map[string]any{"email_verified": "true"}, "e6", ""},
		{"nothing said, as Entra", "e7", map[string]any{"email_verified": nil}, "e7", ""},
		{"no address", "e8", map[string]any{"email": nil}, "", "email_unusable"},
		{"two addresses", "e9", map[string]any{"email": "mallory@evil.test,alice@acme.test"}, "", "email_unusable"},
		{"two signs", "e10", map[string]any{"email": "mallory@evil.test@acme.test"}, "", "email_unusable"},
		{"a line break", "e11", map[string]any{"email": "vera@acme.test\n"}, "", "email_unusable"},
		{"a look-alike", "e12", map[string]any{"email": "vera@acme.te\u017ft"}, "", "email_unusable"},
		{"a list", "e13", map[string]any{"email": []string{"vera@acme.test"}}, "", "email_unusable"},
		{"the name of a team", "vision", nil, "vision-2", ""},
		{"the name of a person", "y", map[string]any{"email": "alice@other.test"}, "alice-2", ""},
		{"and once more", "z", map[string]any{"email": "alice@third.test"}, "alice-3", ""},
		{"not made for a name", "w", map[string]any{"email": "a+b!c@acme.test"}, "a-b-c", ""},
	} {
		v := site.visitor(t)
		if c.username != "" {
			v.signIn(c.person, c.claims).mustBe(c.name, c.username)
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			site.refuses(t, v, http.StatusForbidden, c.reason, func() answer { return v.tries(c.person, c.claims) })
		})
	}
}

// TestWithoutProvisioning: DISABLE_SSO_PROVISIONING lets in who is known, and nobody else.
func TestWithoutProvisioning(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) { c.env = []string{"DISABLE_SSO_PROVISIONING=true"} }).withAcme()
	v := site.visitor(t)
	a := site.refuses(t, v, http.StatusForbidden, "not_provisioned", func() answer { return v.tries("stranger", nil) })
	if !strings.Contains(a.body, "stranger@acme.test") {
		t.Errorf("the page does not say as whom: %.600s", a.body)
	}
	v.signIn("alice", nil).mustBe("known", "alice")
	if _, err := site.iam("", "user", "get", "stranger"); err == nil {
		t.Error("the stranger was added all the same")
	}
}

// TestGroupClaims: teams follow the claim groups where it is the whole truth.
func TestGroupClaims(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) { c.global += "\n\t\tsso_group_claims on" }).withAcme()
	v := site.visitor(t)
	for _, c := range []struct {
		name   string
		groups any
		want   []string
	}{
		{"two teams and one that is none", []string{"vision", "speech", "nosuch"}, []string{"speech:member", "vision:member"}},
		{"absent", nil, []string{"speech:member", "vision:member"}},
		{"a text", "vision", []string{"speech:member", "vision:member"}},
		{"a number", 7, []string{"speech:member", "vision:member"}},
		{"an object", map[string]any{"vision": true}, []string{"speech:member", "vision:member"}},
		{"numbers", []any{"vision", 7}, []string{"speech:member", "vision:member"}},
		{"nested", []any{[]string{"vision"}}, []string{"speech:member", "vision:member"}},
		{"null", json.RawMessage("null"), []string{"speech:member", "vision:member"}},
		{"elsewhere", nil, []string{"speech:member", "vision:member"}},
		{"one of them", []string{"speech"}, []string{"speech:member"}},
		{"none", []string{}, nil},
		{"back", []string{"vision"}, []string{"vision:member"}},
	} {
		claims := map[string]any{"groups": c.groups}
		if c.name == "elsewhere" {
			claims["groups"], claims["_claim_names"] = []string{}, map[string]any{"groups": "src1"}
		}
		v.signIn("dana", claims)
		if got := site.user(t, "dana").teams(); !slices.Equal(got, c.want) {
			t.Errorf("%s: dana is in %v, want %v", c.name, got, c.want)
		}
	}
	site.visitor(t).signIn("alice", map[string]any{"groups": []string{"vision", "speech"}})
	if got := site.user(t, "alice").teams(); !slices.Equal(got, []string{"speech:member", "vision:admin"}) {
		t.Errorf("alice, who was an admin of vision, is in %v", got)
	}
	if e := site.signInEvents("sign_in"); !strings.Contains(toJSON(e[0].fields), `"unknown_groups":["nosuch"]`) {
		t.Errorf("the log says %v", e[0].fields)
	}

	off := startSignIn(t, "pkce", nil).withAcme()
	off.visitor(t).signIn("alice", map[string]any{"groups": []string{}})
	if got := off.user(t, "alice").teams(); !slices.Equal(got, []string{"vision:admin"}) {
		t.Errorf("without the setting, alice is in %v", got)
	}
}

// TestIdentifierClaims: preferred_username names newcomers, and renames nobody (ENV-7).
func TestIdentifierClaims(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) { c.env = []string{"GORILLA_USE_IDENTIFIER_CLAIMS=true"} }).withAcme()
	v := site.visitor(t)
	v.signIn("erin", map[string]any{"preferred_username": "e_rin-1", "name": "Erin One"}).mustBe("first", "e_rin-1")
	v.signIn("erin", map[string]any{"preferred_username": "other", "name": "Erin Two"}).mustBe("after she was renamed there", "e_rin-1")
	if u := site.user(t, "e_rin-1"); u.Name != "Erin Two" || u.Email != "erin@acme.test" {
		t.Errorf("she is %+v", u)
	}
	for name, reason := range map[string]string{"a.b": "username_illegal", "a b": "username_illegal", "": "username_illegal", strings.Repeat("a", 129): "username_illegal", "alice": "username_taken", "ALICE": "username_taken", "vision": "username_taken"} {
		v := site.visitor(t)
		site.refuses(t, v, http.StatusForbidden, reason, func() answer {
			return v.tries("frank", map[string]any{"preferred_username": name})
		})
	}
}

// offered is a team that a newcomer may join.
var offered = regexp.MustCompile(`name="team" value="([^"]+)"> ?([a-z]+)`)

// TestDomains: people of a domain join its default team, and choose among the others that it has.
func TestDomains(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) {
		c.global += "\n\t\tdomain acme.test {\n\t\t\tdefault_team vision\n\t\t\tteams speech vision nosuch\n\t\t}"
	}).withAcme()
	v := site.visitor(t)
	a := v.tries("gina", nil)
	if a.status != http.StatusSeeOther || !strings.HasPrefix(a.header.Get("Location"), "/oidc/login?") {
		t.Fatalf("a newcomer: %d to %q", a.status, a.header.Get("Location"))
	}
	page := v.load(a.header.Get("Location"))
	teams := offered.FindAllStringSubmatch(page.body, -1)
	if len(teams) != 1 || teams[0][2] != "speech" {
		t.Fatalf("she is offered %v: %s", teams, page.body)
	}
	if got := site.user(t, "gina").teams(); !slices.Equal(got, []string{"vision:member"}) {
		t.Errorf("before she chose, she is in %v", got)
	}
	if a := v.submit("/oidc/login", url.Values{"form": {"teams"}, "team": {"team_of_nobody"}}); a.status != http.StatusBadRequest {
		t.Errorf("a team that was not offered: %d", a.status)
	}
	v.load(a.header.Get("Location"))
	if a := v.submit("/oidc/login", url.Values{"form": {"teams"}, "team": {teams[0][1]}}); a.status != http.StatusSeeOther || a.header.Get("Location") != "/home" {
		t.Errorf("choosing: %d to %q %.300s", a.status, a.header.Get("Location"), a.body)
	}
	if got := site.user(t, "gina").teams(); !slices.Equal(got, []string{"speech:member", "vision:member"}) {
		t.Errorf("then she is in %v", got)
	}
	site.visitor(t).signIn("hugo", map[string]any{"email": "hugo@evil-acme.test"})
	if got := site.user(t, "hugo").teams(); len(got) != 0 {
		t.Errorf("hugo, of another domain, is in %v", got)
	}
	site.visitor(t).signIn("bob", nil)
	if got := site.user(t, "bob").teams(); !slices.Equal(got, []string{"speech:member"}) {
		t.Errorf("bob, who is no newcomer, is in %v", got)
	}
}

// TestRestore: LOCAL_RESTORE lets an organization admin in with the password of the log, loudly, and
// nobody else.
func TestRestore(t *testing.T) {
	t.Parallel()
	site := startSignIn(t, "pkce", func(c *config) { c.env = []string{"LOCAL_RESTORE=true"} }).withAcme()
	var password string
	for _, line := range strings.Split(site.logs.String(), "\n") {
		var e struct {
			Level    string
			Password string `json:"temporary_password"`
		}
		if json.Unmarshal([]byte(line), &e) == nil && e.Password != "" {
			if e.Level != "error" {
				t.Errorf("the password stands in the log with level %s", e.Level)
			}
			password = e.Password
		}
	}
	if len(password) < 20 {
		t.Fatalf("the log says the password %q", password)
	}
	v := site.visitor(t)
	a := v.load("/oidc/login?return_to=/vision/team")
	if a.status != http.StatusOK || !strings.Contains(a.body, "LOCAL_RESTORE") {
		t.Fatalf("the page: %d %.500s", a.status, a.body)
	}
	try := func(login, password string) answer {
		v.load("/oidc/login?return_to=/vision/team")
		return v.submit("/oidc/login", url.Values{"form": {"restore"}, "login": {login}, "password": {password}, "return_to": {"/vision/team"}})
	}
	texts := map[string]bool{}
	for _, wrong := range [][2]string{{"root", "canary-wrong-password-77"}, {"root", ""}, {"alice", password}, {"nobody", "x"}, {"root", strings.ToLower(password)}} {
		a := try(wrong[0], wrong[1])
		if a.status != http.StatusUnauthorized || v.session() != "" {
			t.Errorf("%q: %d", wrong, a.status)
		}
		texts[regexp.MustCompile(`role="alert">[^<]*`).FindString(a.body)] = true
	}
	if len(texts) != 1 {
		t.Errorf("the pages differ: %v", texts)
	}
	v.hold("canary-wrong-password-77")
	if a := try("root", password); a.status != http.StatusSeeOther || a.header.Get("Location") != "/vision/team" {
		t.Fatalf("the admin: %d to %q %.400s", a.status, a.header.Get("Location"), a.body)
	}
	v.mustBe("with the temporary password", "root")
	events := site.entries("sign-in past single sign-on", 1)
	var loud []entry
	for _, e := range events {
		if e.fields["action"] == "sign_in" {
			loud = append(loud, e)
		}
	}
	if len(loud) != 1 || loud[0].fields["level"] != "error" || loud[0].fields["username"] != "root" || loud[0].fields["method"] != "restore" {
		t.Errorf("the log says %v", events)
	}
	if n := strings.Count(site.logs.String(), password); n != 1 {
		t.Errorf("the password is in the log %d times", n)
	}
	if a := v.linked(url.Values{"code": {"x"}, "state": {"y"}}); a.status < 400 {
		t.Errorf("the callback meanwhile: %d", a.status)
	}
	if a := site.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key meanwhile: %d", a.status)
	}
}

// TestWhereSettingsComeFrom: one line at the start says of each setting of sign-in whether a variable, the file
// or neither made it, and no secret. A directory with LOCAL_LDAP_LOGIN off is tested and signs nobody in.
func TestWhereSettingsComeFrom(t *testing.T) {
	t.Parallel()
	const bindPassword = "canary-bind-password-5d20"
	nowhere := freeAddress(t)
	site := startSignIn(t, "pkce", func(c *config) {
		c.global += fmt.Sprintf("\n\t\tsso_group_claims on\n\t\tldap {\n\t\t\taddress ldap://%s\n\t\t\tinsecure_cleartext\n\t\t\tbase_dn dc=file,dc=test\n\t\t\tlogin on\n\t\t}", nowhere)
		c.env = []string{
			"GORILLA_OIDC_SECRET=" + gatewaySecret, "SESSION_LENGTH=24", "GORILLA_USE_IDENTIFIER_CLAIMS=false", "GORILLA_FUTURE=canary", "DISABLE_SSO_PROVISIONING=true",
			"LOCAL_LDAP_LOGIN=False", "LOCAL_LDAP_BASE_DN=dc=acme,dc=test", "LOCAL_LDAP_BIND_DN=cn=wandb,dc=acme,dc=test", "LOCAL_LDAP_BIND_PW=" + bindPassword,
		}
	}).withAcme()
	*site.canaries = append(*site.canaries, gatewaySecret, bindPassword)
	says := site.entries("how people sign in", 1)[0].fields
	for setting, want := range map[string]any{
		"oidc_issuer": site.authority.name, "oidc_issuer_from": "file", "oidc_client_secret_from": "GORILLA_OIDC_SECRET",
		"oidc_auth_method": "pkce", "oidc_auth_method_from": "file", "oidc_scopes_from": "default",
		"session_length": 86400.0, "session_length_from": "SESSION_LENGTH", "provisioning": false, "provisioning_from": "DISABLE_SSO_PROVISIONING",
		"group_claims": true, "group_claims_from": "file", "host_from": "default",
		"ldap_address_from": "file", "ldap_base_dn": "dc=acme,dc=test", "ldap_base_dn_from": "LOCAL_LDAP_BASE_DN", "ldap_bind_password_from": "LOCAL_LDAP_BIND_PW",
		"ldap_login": false, "ldap_login_from": "LOCAL_LDAP_LOGIN", "ldap_group_sync": false, "ldap_group_sync_from": "default",
	} {
		if says[setting] != want {
			t.Errorf("the log says %s is %v, want %v", setting, says[setting], want)
		}
	}

	if tested := site.entries("the LDAP directory cannot be used", 1)[0].fields; !strings.Contains(fmt.Sprint(tested["error"]), "check the address") {
		t.Errorf("the test at the start says %v", tested)
	}
	out := site.mustIAM("doctor")
	if !strings.Contains(out, "connecting to the directory failed") || !strings.Contains(out, "check the address") {
		t.Errorf("doctor prints %s", out)
	}
	if !strings.Contains(out, "GORILLA_FUTURE is set") || strings.Count(out, "does not read it") != 1 {
		t.Errorf("doctor says of the variables: %s", out)
	}
	v := site.visitor(t)
	v.begin("/oidc/login") // straight to the authority, past a form for passwords
	v.signIn("alice", nil)
	v.load("/authorize") // whose token is good for every form
	if a := v.submit("/oidc/login", url.Values{"form": {"password"}, "login": {"alice"}, "password": {"canary"}}); a.status != http.StatusBadRequest {
		t.Errorf("a password is answered %d", a.status)
	}
}
