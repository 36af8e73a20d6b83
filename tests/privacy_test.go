package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// docAccess changes a project, or makes one, as the web pages and the registries' client do.
const docAccess = "mutation UpsertModel($input: UpsertModelInput!) {\n  upsertModel(input: $input) {\n    model {\n      name\n      entityName\n      access\n    }\n    inserted\n  }\n}"

// docRead is what a client asks before it shows a project.
const docRead = `query Project($entity: String, $name: String) { project(name: $name, entityName: $entity) { id name } }`

func (p *process) access(key, project string, access any) answer {
	p.t.Helper()
	entity, name, _ := strings.Cut(project, "/")
	return p.graphQL(key, docAccess, given{"input": given{"entityName": entity, "name": name, "access": access}}, nil)
}

func (p *process) readProject(key, project string) answer {
	p.t.Helper()
	entity, name, _ := strings.Cut(project, "/")
	return p.graphQL(key, docRead, given{"entity": entity, "name": name}, nil)
}

// visibility is what is recorded of a project; "" if it is not recorded.
func (p *process) visibility(project string) string {
	p.t.Helper()
	out, err := p.iam("", "project", "get", project, "--json")
	if err != nil {
		return ""
	}
	var rows []struct{ Visibility string }
	if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 {
		p.t.Fatalf("%s: %v", out, err)
	}
	return rows[0].Visibility
}

// upserted is a server's answer to docAccess.
func upserted(project, access string) string {
	entity, name, _ := strings.Cut(project, "/")
	return fmt.Sprintf(`{"data":{"upsertModel":{"model":{"name":%q,"entityName":%q,"access":%q},"inserted":false}}}`, name, entity, access)
}

// TestVisibilityIsJudgedBeforeTheServer: what a project cannot become is refused with the cause, and the server hears
// nothing of it (VIS-7, VIS-11, VIS-14, PRIV-2).
func TestVisibilityIsJudgedBeforeTheServer(t *testing.T) {
	a := startAttacked(t, config{})
	before := a.exportedDirectory(t)
	for name, c := range map[string]struct {
		key, project string
		access       any
		status       int
		reason       string
	}{
		"VIS-11 to Public":              {aliceKey, "vision/restricted", "USER_READ", 403, "restricted_only_to_team"},
		"VIS-11 to Open":                {aliceKey, "vision/restricted", "USER_WRITE", 403, "restricted_only_to_team"},
		"VIS-11 by organization admins": {rootKey, "vision/restricted", "USER_WRITE", 403, "restricted_only_to_team"},
		"VIS-7 by a member":             {victorKey, "vision/team", "USER_READ", 403, "project_admin_required"},
		"VIS-7 by a member, closing":    {victorKey, "vision/open", "RESTRICTED", 403, "project_admin_required"},
		"by a service account":          {ciVisionKey, "vision/team", "USER_READ", 403, "project_admin_required"},
		"from outside":                  {malloryKey, "vision/team", "USER_READ", 403, "team_project"},
		"from outside, of a new one":    {malloryKey, "vision/new", "USER_READ", 403, "not_team_member"},
		"a word in a list":              {aliceKey, "vision/team", []string{"USER_READ"}, 400, "invalid_argument"},
		"a word that is a number":       {aliceKey, "vision/team", 1, 400, "invalid_argument"},
		"without a credential":          {"", "vision/open", "USER_READ", 401, "no_credential"},
	} {
		t.Run(name, func(t *testing.T) { a.refuses(t, a.access(c.key, c.project, c.access), c.status, c.reason) })
	}
	got := a.access(aliceKey, "vision/restricted", "USER_WRITE")
	if !strings.Contains(got.body, "the restricted project vision/restricted can only become a team project: make it one first") {
		t.Errorf("the caller reads %s", got.body)
	}
	a.refuses(t, a.graphQL(aliceKey, `mutation{upsertModel(input:{entityName:"vision",name:"team",access:USER_WRITE}){inserted}}`, nil, nil), 400, "invalid_argument")
	a.refuses(t, a.graphQL(aliceKey, `mutation{a:upsertModel(input:{entityName:"vision",name:"team",access:"RESTRICTED"}){inserted} b:upsertModel(input:{entityName:"vision",name:"restricted",access:"USER_READ"}){inserted}}`, nil, nil), 403, "restricted_only_to_team")

	a.mustIAM("team", "set", "vision", "--private-projects", "on")
	private := func(reason, says string) {
		t.Helper()
		for _, project := range []string{"vision/team", "vision/public", "vision/new"} {
			got := a.access(aliceKey, project, "USER_WRITE")
			a.refuses(t, got, 403, reason)
			if !strings.Contains(got.body, says) {
				t.Errorf("the caller reads %s", got.body)
			}
		}
		a.refuses(t, a.access(rootKey, "vision/team", "USER_READ"), 403, reason)
		a.refuses(t, a.access(aliceKey, "vision/restricted", "USER_READ"), 403, "restricted_only_to_team")
	}
	private("private_projects", "team vision keeps its projects private")
	a.mustIAM("organization", "set", "--enforce-private-projects", "on")
	private("private_projects_enforced", "the organization keeps the projects of all teams private")
	a.mustIAM("organization", "set", "--enforce-private-projects", "unset")
	a.mustIAM("team", "set", "vision", "--private-projects", "off")
	if after := a.exportedDirectory(t); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
}

// TestWhatWasJudgedIsRecorded: the record takes the visibility of the request, whatever word the server's answer has, in
// the next request already; a word that nobody knows is Restricted (VIS-16, design section 8).
func TestWhatWasJudgedIsRecorded(t *testing.T) {
	a := startAttacked(t, config{})
	for _, c := range []struct{ key, project, access, answered, want string }{
		{aliceKey, "vision/team", "USER_READ", "USER_WRITE", "public"},
		{aliceKey, "vision/team", "USER_WRITE", "", "open"},
		{rootKey, "vision/team", "PRIVATE", "PRIVATE", "team"}, // C-15
		{aliceKey, "vision/team", "SOMETHING_NEW", "USER_WRITE", "restricted"},
		{aliceKey, "vision/team", "ENTITY_READ", "PRIVATE", "team"},
		{aliceKey, "vision/team", "", "USER_WRITE", "restricted"},
		{aliceKey, "vision/team", "PRIVATE", "RESTRICTED", "team"},
		{victorKey, "vision/mine", "RESTRICTED", "USER_WRITE", "restricted"},
		{victorKey, "vision/mine", "PRIVATE", "USER_WRITE", "team"}, // as its owner
		{aliceKey, "vision/plain", "USER_READ", "USER_READ", "public"},
	} {
		a.upstream.saysJSON(upserted(c.project, c.answered))
		if got := a.access(c.key, c.project, c.access); got.status != 200 {
			t.Fatalf("%+v: answered %d %s", c, got.status, got.body)
		}
		if got := a.visibility(c.project); got != c.want {
			t.Errorf("%+v: recorded as %s", c, got)
		}
	}
	a.mustIAM("team", "set", "vision", "--private-projects", "on")
	a.upstream.saysJSON(upserted("vision/open", "USER_WRITE"))
	if got := a.access(aliceKey, "vision/open", "USER_WRITE"); got.status != 200 || a.visibility("vision/open") != "open" {
		t.Errorf("VIS-14: an open project does not stay: %d %s", got.status, got.body)
	}
}

// TestVisibilityChangesAtOnce: VIS-13, with everything remembered that can be.
func TestVisibilityChangesAtOnce(t *testing.T) {
	a := startAttacked(t, config{})
	sees := func(key string, want bool, reason string) {
		t.Helper()
		got := a.readProject(key, "vision/team")
		if want {
			if got.status != 200 {
				t.Errorf("answered %d %s", got.status, got.body)
			}
			a.upstream.take()
			return
		}
		a.refuses(t, got, 403, reason)
	}
	const restricted, team = "restricted_project_not_invited", "team_project"
	for range 3 {
		sees(victorKey, true, "")
		sees(malloryKey, false, team)
		a.mustIAM("project", "set", "vision/team", "--visibility", "restricted", "--add", "service_account:ci-vision")
		sees(victorKey, false, restricted)
		sees(ciVisionKey, true, "")
		sees(aliceKey, false, restricted) // VIS-6: not implicitly
		a.mustIAM("project", "set", "vision/team", "--add", "victor")
		sees(victorKey, true, "")
		a.mustIAM("project", "set", "vision/team", "--remove", "victor")
		sees(victorKey, false, restricted)
		a.mustIAM("project", "set", "vision/team", "--visibility", "team", "--remove", "service_account:ci-vision")
		sees(victorKey, true, "")
		sees(aliceKey, true, "")
		a.mustIAM("project", "set", "vision/team", "--visibility", "open")
		sees(malloryKey, true, "")
		a.mustIAM("project", "set", "vision/team", "--visibility", "team")
	}
	// VIS-8: with whom to invite from the beginning.
	a.mustIAM("project", "create", "vision/new", "--visibility", "restricted", "--owner", "alice", "--add", "victor")
	for key, status := range map[string]int{aliceKey: 200, victorKey: 200, ciVisionKey: 403, orgBotKey: 403, rootKey: 403} {
		if got := a.readProject(key, "vision/new"); got.status != status {
			t.Errorf("%s: answered %d %s", key, got.status, got.body)
		}
	}
}

// TestHiddenTeam: to whoever is outside, a hidden team is answered letter for letter like one that does not exist, and
// is in no list (PRIV-1); what it has opened is there for whoever knows of it (VIS-2).
func TestHiddenTeam(t *testing.T) {
	a := startAttacked(t, config{})
	ask := map[string]func(key, team string) answer{
		"team": func(key, team string) answer { return a.graphQL(key, docTeam, given{"name": team}, nil) },
		"its name": func(key, team string) answer {
			return a.graphQL(key, `query($n:String!){entity(name:$n){id}}`, given{"n": team}, nil)
		},
		"its projects": func(key, team string) answer {
			return a.graphQL(key, `query($n:String!){models(entityName:$n){edges{node{name}}}}`, given{"n": team}, nil)
		},
		"a project":    func(key, team string) answer { return a.readProject(key, team+"/team") },
		"a closed one": func(key, team string) answer { return a.readProject(key, team+"/restricted") },
		"none":         func(key, team string) answer { return a.readProject(key, team+"/none") },
		"an invitation": func(key, team string) answer {
			return a.graphQL(key, docInvite, given{"entity": team, "username": "mallory"}, nil)
		},
		"an account": func(key, team string) answer {
			return a.graphQL(key, docAccount, given{"entity": team, "description": "x"}, nil)
		},
		"a removal": func(key, team string) answer {
			return a.graphQL(key, docUninvite, given{"entity": team, "id": "x"}, nil)
		},
		"a visibility":  func(key, team string) answer { return a.access(key, team+"/team", "USER_READ") },
		"a new project": func(key, team string) answer { return a.access(key, team+"/new", "USER_READ") },
		"a run": func(key, team string) answer {
			return a.graphQL(key, `mutation($e:String){upsertBucket(input:{entityName:$e,modelName:"team",name:"r"}){inserted}}`, given{"e": team}, nil)
		},
		"a run's metrics": func(key, team string) answer { return a.stream(team+"/team", key) },
		"a chart": func(key, team string) answer {
			return a.graphQL(key, `mutation($e:String){createCustomChart(input:{entity:$e,name:"c"}){chart{id}}}`, given{"e": team}, nil)
		},
	}
	told := func(got answer, team string) string {
		body := requestUUID.ReplaceAllString(got.body, `"request_id":"REQUEST"`)
		return fmt.Sprint(got.status, " ", strings.ReplaceAll(body, team, "TEAM"))
	}
	for _, how := range []string{"team set vision --hidden on", "team set vision --hidden off", "organization set --enforce-hidden on", "organization set --enforce-hidden off"} {
		a.mustIAM(strings.Fields(how)...)
		hidden := strings.HasSuffix(how, "on")
		for name, f := range ask {
			for _, key := range []string{malloryKey, ciHostileKey} {
				got, nothing := f(key, "vision"), f(key, "nobody-there")
				if same := told(got, "vision") == told(nothing, "nobody-there"); hidden && (!same || got.status != 404 || got.reason() != "not_found") {
					t.Errorf("%s, %s: the team is told by\n%s\nwhere nothing is\n%s", how, name, told(got, "vision"), told(nothing, "nobody-there"))
				} else if !hidden && key == malloryKey && same && name != "none" {
					t.Errorf("%s, %s: nothing is shown: %s", how, name, told(got, "vision"))
				}
			}
		}
		a.upstream.take()
	}
	a.mustIAM("organization", "set", "--enforce-hidden", "unset")
	a.mustIAM("team", "set", "vision", "--hidden", "on")
	for name, c := range map[string]struct {
		key, project string
		status       int
		reason       string
	}{
		"a member":                     {victorKey, "vision/team", 200, ""},
		"the team's account":           {ciVisionKey, "vision/team", 200, ""},
		"the organization's account":   {orgBotKey, "vision/team", 200, ""},
		"a member, not invited":        {victorKey, "vision/restricted", 403, "restricted_project_not_invited"},
		"an organization admin":        {rootKey, "vision/team", 403, "org_admin_not_joined"},
		"whoever knows an Open one":    {malloryKey, "vision/open", 200, ""},
		"whoever knows a Public one":   {ciHostileKey, "vision/public", 200, ""},
		"who does not know the others": {malloryKey, "vision/team", 404, "not_found"},
	} {
		if got := a.readProject(c.key, c.project); got.status != c.status || got.reason() != c.reason {
			t.Errorf("%s: answered %d %q", name, got.status, got.reason())
		}
	}
	if got := a.graphQL(rootKey, docTeam, given{"name": "vision"}, nil); got.status != 200 || len(membersOf(t, got)) == 0 {
		t.Errorf("who administers it sees %d %s", got.status, got.body)
	}
	// A list that goes through everything.
	const everything = `{organization(name:"acme"){orgEntity{projects{edges{node{name entityName}}}}}}`
	a.upstream.saysJSON(`{"data":{"organization":{"orgEntity":{"projects":{"edges":[{"node":{"name":"open","entityName":"vision"}},{"node":{"name":"own","entityName":"hostile"}}]}}}}}`)
	for key, want := range map[string]bool{malloryKey: false, victorKey: true} {
		got := a.graphQL(key, everything, nil, nil)
		if got.status != 200 || strings.Contains(got.body, `"vision"`) != want {
			t.Errorf("the list shows %d %s", got.status, got.body)
		}
	}
}

// TestMembersInvite: TEAM-6 and C-21. Where it is on, Members add Members, and do nothing else.
func TestMembersInvite(t *testing.T) {
	a := startAttacked(t, config{})
	a.mustIAM("user", "create", "vera")
	a.mustIAM("team", "set", "vision", "--add", "vera:viewer")
	veraKey := a.mustIAM("key", "create", "--owner", "vera", "--name", "k")
	admin := memberOf(t, a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil), "alice").ID
	invite := func(key, who string, asAdmin any) answer {
		return a.graphQL(key, docInvite, given{"entity": "vision", "username": who, "admin": asAdmin}, nil)
	}
	a.refuses(t, invite(victorKey, "mallory", false), 403, "team_admin_required")
	a.mustIAM("team", "set", "vision", "--members-invite", "on")
	for name, c := range map[string]struct {
		got    answer
		status int
		reason string
	}{
		"as an admin":                {invite(victorKey, "mallory", true), 403, "team_admin_required"},
		"as something":               {invite(victorKey, "mallory", "yes"), 403, "team_admin_required"},
		"by View-Only":               {invite(veraKey, "mallory", false), 403, "view_only"},
		"by the team's account":      {invite(ciVisionKey, "mallory", false), 403, "team_admin_required"},
		"by the organization's":      {invite(orgBotKey, "mallory", false), 403, "team_admin_required"},
		"by somebody outside":        {invite(malloryKey, "mallory", false), 403, "not_team_member"},
		"himself, as an admin":       {invite(victorKey, "victor", true), 403, "team_admin_required"},
		"who is there already":       {invite(victorKey, "vera", false), 200, "conflict"},
		"nobody":                     {invite(victorKey, "nobody", false), 200, "not_found"},
		"takes somebody out":         {a.graphQL(victorKey, docUninvite, given{"entity": "vision", "id": admin}, nil), 403, "team_admin_required"},
		"makes a service account":    {a.graphQL(victorKey, docAccount, given{"entity": "vision", "description": "x"}, nil), 403, "team_admin_required"},
		"where the organization not": {a.graphQL(victorKey, docInvite, given{"entity": "hostile", "username": "victor"}, nil), 403, "not_team_member"},
	} {
		t.Run(name, func(t *testing.T) { a.refuses(t, c.got, c.status, c.reason) })
	}
	if got := invite(victorKey, "mallory", nil); got.status != 200 || got.reason() != "" {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	if m := memberOf(t, a.graphQL(victorKey, docTeam, given{"name": "vision"}, nil), "mallory"); m.Admin {
		t.Errorf("invited as %+v", m)
	}
	a.await("the log to say by which right", 30*time.Second, func() bool {
		return strings.Contains(a.logs.String(), `"action":"team:invite_user","reason":"members_invite"`)
	})
	a.mustIAM("team", "set", "vision", "--remove", "mallory")
	a.mustIAM("organization", "set", "--enforce-members-invite", "off")
	a.refuses(t, invite(victorKey, "mallory", false), 403, "team_admin_required")
	if _, err := a.iam("", "team", "set", "vision", "--members-invite", "on"); err != nil {
		t.Errorf("what the team has chosen already is refused: %v", err)
	}
	a.mustIAM("team", "set", "vision", "--members-invite", "off")
	if _, err := a.iam("", "team", "set", "vision", "--members-invite", "on"); err == nil || !strings.Contains(err.Error(), "the organization has set members-invite off for all teams") {
		t.Errorf("a team sets what the organization enforces: %v", err)
	}
	a.mustIAM("organization", "set", "--enforce-members-invite", "on")
	if got := invite(victorKey, "mallory", false); got.status != 200 || got.reason() != "" {
		t.Errorf("enforced: %d %s", got.status, got.body)
	}
}

// TestNewcomersJoinAtEveryDoor: TEAM-12, C-20.
func TestNewcomersJoinAtEveryDoor(t *testing.T) {
	a := startAttacked(t, config{})
	a.mustIAM("team", "set", "vision", "--auto-join", "on")
	a.graphQL(rootKey, docCreateUser, given{"email": "sdk@acme.test"}, nil)
	a.mustIAM("user", "create", "command", "--email", "command@acme.test")
	a.importFile(`{"users":[{"username":"file"},{"username":"mallory"}]}`)
	h := http.Header{"Content-Type": {"application/scim+json"}}
	for path, user := range map[string]string{
		"/scim/v2/Users": `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"scim2","emails":[{"value":"scim2@acme.test"}]}`,
		"/scim/Users":    `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"scim1","emails":[{"primary":true,"value":"scim1@acme.test"}]}`,
	} {
		got := a.send("POST", path, rootKey, user, h)
		if got.status != 201 || path == "/scim/Users" && !strings.Contains(got.body, `"vision"`) {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	team := a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil)
	for _, name := range []string{"sdk", "command", "file", "scim1", "scim2"} {
		if m := memberOf(t, team, name); m.Admin {
			t.Errorf("%s is %+v", name, m)
		}
	}
	if strings.Contains(team.body, `"mallory"`) {
		t.Error("who was there before has joined")
	}
}

// TestSettingsByCommand: what is set is shown, in the table and as JSON, and nonsense is refused with what it should be.
func TestSettingsByCommand(t *testing.T) {
	a := startAttacked(t, config{})
	if got := a.mustIAM("team", "set", "vision", "--hidden", "on", "--private-projects", "ON", "--members-invite", "off", "--auto-join", "on", "--remove", "victor"); got != "team vision changed" {
		t.Errorf("printed %q", got)
	}
	var teams []map[string]any
	if err := json.Unmarshal([]byte(a.mustIAM("team", "get", "vision", "--json")), &teams); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(teams[0]["hidden"], teams[0]["private_projects"], teams[0]["members_invite"], teams[0]["auto_join"], teams[0]["members"]); got != "true true false true [map[role:admin user:alice]]" {
		t.Errorf("recorded as %s", got)
	}
	if got := a.mustIAM("team", "list"); !strings.Contains(got, "PRIVATE_PROJECTS") || !strings.Contains(got, "true") {
		t.Errorf("listed as\n%s", got)
	}
	if got := a.mustIAM("organization", "set", "--enforce-hidden", "off", "--enforce-members-invite", "on"); got != "for all teams: hidden off, private-projects unset, members-invite on" {
		t.Errorf("printed %q", got)
	}
	if got := strings.Join(strings.Fields(a.mustIAM("organization", "get")), " "); got != "NAME ENFORCE_HIDDEN ENFORCE_PRIVATE_PROJECTS ENFORCE_MEMBERS_INVITE acme off unset on" {
		t.Errorf("shown as %s", got)
	}
	before := a.exportedDirectory(t)
	for _, c := range []struct{ command, says string }{
		{"team set vision --hidden maybe", `--hidden: "maybe" is not on or off`},
		{"team set vision --hidden unset", `--hidden: "unset" is not on or off`},
		{"team set vision --auto-join off --add nobody", `there is no user "nobody"`},
		{"team set nobody --hidden on", `there is no team "nobody"`},
		{"team set alice --hidden on", `there is no team "alice"`},
		{"organization set --enforce-hidden true", `--enforce-hidden: "true" is not on, off or unset`},
		{"organization set --enforce-auto-join on", "unknown flag"},
		{"organization set acme", "acme"},
	} {
		if _, err := a.iam("", strings.Fields(c.command)...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.command, err)
		}
	}
	if after := a.exportedDirectory(t); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
	// What clients are told of the team is what holds.
	for _, c := range []struct{ command, want string }{
		{"team set vision --private-projects on", `"privateOnly":true`},
		{"organization set --enforce-private-projects off", `"privateOnly":false`},
	} {
		a.mustIAM(strings.Fields(c.command)...)
		if got := a.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil); !strings.Contains(got.body, c.want) || !strings.Contains(got.body, `"defaultAccess":"PRIVATE"`) {
			t.Errorf("%s: %s", c.command, got.body)
		}
	}
}

// TestClosedWhileTheServerAnswers: between the judgement and the server's answer somebody closes what is being opened.
// The record stays closed, and whoever opened it is told.
func TestClosedWhileTheServerAnswers(t *testing.T) {
	var meanwhile func()
	answers := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		meanwhile()
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answers)
	}))
	t.Cleanup(server.Close)
	p := start(t, config{upstream: strings.TrimPrefix(server.URL, "http://")})
	p.importFile(hostile)

	meanwhile = func() { p.mustIAM("project", "set", "vision/team", "--visibility", "restricted") }
	answers = upserted("vision/team", "USER_WRITE")
	if got := p.access(aliceKey, "vision/team", "USER_WRITE"); got.status != 400 || got.reason() != "restricted_only_to_team" {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	if got := p.visibility("vision/team"); got != "restricted" {
		t.Errorf("it is %s", got)
	}

	meanwhile = func() { p.mustIAM("team", "set", "vision", "--private-projects", "on") }
	answers = upserted("vision/new", "USER_WRITE")
	if got := p.access(aliceKey, "vision/new", "USER_WRITE"); got.status != 400 || got.reason() != "private_projects" {
		t.Errorf("answered %d %s", got.status, got.body)
	}
	if got := p.visibility("vision/new"); got != "team" {
		t.Errorf("what the server made is recorded as %q", got)
	}
	if got := p.mustIAM("project", "get", "vision/new"); !strings.Contains(got, "alice") {
		t.Errorf("it has no owner: %s", got)
	}
}

// TestVisibilityInShadow: where nothing is refused, the server does what it is asked, and the record stays as closed as it
// is to be when something will be.
func TestVisibilityInShadow(t *testing.T) {
	a := startAttacked(t, config{global: "enforcement shadow"})
	a.mustIAM("team", "set", "vision", "--private-projects", "on")
	for project, want := range map[string]string{"vision/restricted": "restricted", "vision/team": "team", "vision/new": "team", "vision/open": "open"} {
		a.upstream.saysJSON(upserted(project, "USER_WRITE"))
		if got := a.access(aliceKey, project, "USER_WRITE"); got.status != 200 || !strings.Contains(got.body, `"USER_WRITE"`) {
			t.Errorf("%s: answered %d %s", project, got.status, got.body)
		}
		if got := a.visibility(project); got != want {
			t.Errorf("%s is %s", project, got)
		}
	}
}

// TestPrivacyOnTwoGateways: what is set at one gateway holds at the other, and two admins who set one visibility at
// different gateways are each obeyed or told (Z13).
func TestPrivacyOnTwoGateways(t *testing.T) {
	server := miniredis.RunT(t)
	c := config{upstream: newRecorder(t).host(), env: []string{sharedMasterKey}, store: "redis redis://" + server.Addr() + "/0"}
	one, other := launch(t, c), launch(t, c)
	one.awaitReady()
	other.awaitReady()
	one.importFile(hostile)
	holds := func(what, key, project string, status int) {
		t.Helper()
		other.await(what, 30*time.Second, func() bool { return other.readProject(key, project).status == status })
	}
	holds("the team's project", victorKey, "vision/team", 200)
	holds("no project for others", malloryKey, "vision/team", 403)
	one.mustIAM("project", "set", "vision/team", "--visibility", "restricted")
	holds("VIS-13: nobody who is not invited", victorKey, "vision/team", 403)
	one.mustIAM("project", "set", "vision/team", "--visibility", "team")
	holds("VIS-13: everybody of the team", victorKey, "vision/team", 200)
	one.mustIAM("team", "set", "vision", "--hidden", "on")
	holds("a hidden team", malloryKey, "vision/team", 404)
	one.mustIAM("organization", "set", "--enforce-hidden", "off")
	holds("a team that is hidden no more", malloryKey, "vision/team", 403)

	for i := range 5 {
		project := fmt.Sprintf("vision/raced-%d", i)
		one.mustIAM("project", "create", project)
		var opened, closed error
		var both sync.WaitGroup
		both.Go(func() { _, opened = one.iam("", "project", "set", project, "--visibility", "open") })
		both.Go(func() { _, closed = other.iam("", "project", "set", project, "--visibility", "restricted") })
		both.Wait()
		if closed != nil || opened != nil && !strings.Contains(opened.Error(), "can only become a team project") {
			t.Errorf("opening: %v; closing: %v", opened, closed)
		}
		if got := one.visibility(project); got != "restricted" {
			t.Errorf("%s is %s", project, got)
		}
	}
}
