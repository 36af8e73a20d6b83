package tests

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// projectMember is how `iam project get --json` shows a member.
type projectMember struct {
	User, ServiceAccount, Role string
	TeamRole                   string `json:"team_role"`
}

func (p *process) projectMembers(t *testing.T, project string) map[string]projectMember {
	t.Helper()
	var rows []struct{ Members []projectMember }
	if err := json.Unmarshal([]byte(p.mustIAM("project", "get", project, "--json")), &rows); err != nil || len(rows) != 1 {
		t.Fatal(rows, err)
	}
	members := map[string]projectMember{}
	for _, m := range rows[0].Members {
		members[m.User+m.ServiceAccount] = m
	}
	return members
}

// TestProjectRoles goes through PROLE-1 to PROLE-10 as an administrator and a member see them: a change counts for
// the very next request.
func TestProjectRoles(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	h.mustIAM("role", "create", "stopper", "--inherits", "viewer", "--permission", "run:stop")
	h.mustIAM("project", "set", "vision/restricted", "--add", "victor")
	for _, project := range []string{"vision/team", "vision/restricted", "vision/open", "vision/public"} {
		h.log(t, aliceKey, project, "r")
	}
	// may reports what victor may do in a project: read, write, stop and describe it.
	may := func(project string) string {
		t.Helper()
		entity, name, _ := strings.Cut(project, "/")
		v := given{"e": entity, "p": name, "id": nodeID("Run:v1:r:" + name + ":" + entity)}
		got := ""
		for _, a := range []struct{ letter, query string }{
			{"r", `query Q($e: String, $p: String!, $id: ID) { project(entityName: $e, name: $p) { name } }`},
			{"w", `mutation M($e: String, $p: String, $id: ID) { upsertBucket(input: {entityName: $e, modelName: $p, name: "r"}) { bucket { name } } }`},
			{"s", `mutation M($e: String, $p: String, $id: ID!) { stopRun(input: {id: $id}) { success } }`},
			{"d", `mutation M($e: String, $p: String!, $id: ID) { upsertModel(input: {entityName: $e, name: $p, description: "x"}) { inserted } }`},
		} {
			switch answer := h.graphQL(victorKey, a.query, v, nil); answer.status {
			case http.StatusOK:
				got += a.letter
			case http.StatusForbidden:
			default:
				t.Errorf("%s in %s: %d %s", a.letter, project, answer.status, answer.body)
			}
		}
		return got
	}
	want := func(statement, project, letters string) {
		t.Helper()
		if got := may(project); got != letters {
			t.Errorf("%s: victor may %q in %s, want %q", statement, got, project, letters)
		}
	}
	role := func(project, as string) { t.Helper(); h.mustIAM("project", "set", project, "--add", "victor:"+as) }
	team := func(as string) { t.Helper(); h.mustIAM("team", "set", "vision", "--add", "victor:"+as) }
	shown := func(statement, project, role, teamRole string) {
		t.Helper()
		m := h.projectMembers(t, project)["victor"]
		if m.Role != role || m.TeamRole != teamRole {
			t.Errorf("%s: the list says %+v, want %s and in the team %s", statement, m, role, teamRole)
		}
	}

	want("PROLE-3 the team role counts", "vision/restricted", "rws")
	shown("PROLE-3", "vision/restricted", "", "member")
	if out := h.mustIAM("project", "get", "vision/restricted"); strings.Contains(out, "*") {
		t.Errorf("PROLE-8: nothing differs, and the list says %s", out)
	}

	// PROLE-2, PROLE-8: another role, custom ones too, counts at once and is marked.
	for as, letters := range map[string]string{"viewer": "r", "stopper": "rs", "admin": "rwsd"} {
		role("vision/restricted", as)
		want("PROLE-2 "+as, "vision/restricted", letters)
		shown("PROLE-8 "+as, "vision/restricted", as, "member")
		if out := h.mustIAM("project", "get", "vision/restricted"); !strings.Contains(out, "victor:"+as+"*") {
			t.Errorf("PROLE-8: %s", out)
		}
		if out := h.mustIAM("project", "list", "vision"); !strings.Contains(out, "victor:"+as+"*") {
			t.Errorf("PROLE-8: %s", out)
		}
	}
	want("PROLE-2 elsewhere nothing changed", "vision/team", "rws")

	// PROLE-6: sticky, while it differs.
	role("vision/restricted", "viewer")
	team("admin")
	want("PROLE-6 the team role rises", "vision/restricted", "r")
	shown("PROLE-6", "vision/restricted", "viewer", "admin")
	// PROLE-5: elsewhere the team role carries over.
	want("PROLE-5", "vision/team", "rwsd")
	team("member")

	// PROLE-9, PROLE-4: View-Only in the team beats what differs, which comes back with the next team role.
	role("vision/restricted", "admin")
	team("viewer")
	want("PROLE-9", "vision/restricted", "r")
	if _, err := h.iam("", "project", "set", "vision/restricted", "--add", "victor:member"); err == nil || !strings.Contains(err.Error(), "View-Only") {
		t.Errorf("PROLE-4: %v", err)
	}
	team("member")
	want("PROLE-9 and back", "vision/restricted", "rwsd")

	// PROLE-10: one that has become equal follows.
	team("admin")
	shown("PROLE-10", "vision/restricted", "", "admin")
	team("member")
	want("PROLE-10", "vision/restricted", "rws")
	role("vision/restricted", "member")
	shown("PROLE-10 equal from the start", "vision/restricted", "", "member")

	// PROLE-7: off the list and on it again is the team role again.
	role("vision/restricted", "viewer")
	h.mustIAM("project", "set", "vision/restricted", "--remove", "victor")
	want("PROLE-7 off the list", "vision/restricted", "")
	h.mustIAM("project", "set", "vision/restricted", "--add", "victor")
	want("PROLE-7 on it again", "vision/restricted", "rws")
	shown("PROLE-7", "vision/restricted", "", "member")
	// And out of the team and in again is off the list.
	role("vision/restricted", "admin")
	h.mustIAM("team", "set", "vision", "--remove", "victor")
	want("out of the team", "vision/restricted", "")
	team("member")
	want("in it again", "vision/restricted", "")

	// PROLE-1: only in Team and Restricted projects, and gone when the project opens.
	for _, project := range []string{"vision/open", "vision/public"} {
		if _, err := h.iam("", "project", "set", project, "--add", "victor:viewer"); err == nil || !strings.Contains(err.Error(), "only team and restricted projects") {
			t.Errorf("PROLE-1: %s: %v", project, err)
		}
	}
	role("vision/team", "viewer")
	want("PROLE-1 team", "vision/team", "r")
	h.mustIAM("project", "set", "vision/team", "--visibility", "public")
	want("PROLE-1 the project opens", "vision/team", "rws")
	h.mustIAM("project", "set", "vision/team", "--visibility", "team")
	want("PROLE-1 and closes", "vision/team", "rws")

	// ROLE-9: a custom role that is deleted leaves what it inherited from.
	role("vision/team", "stopper")
	want("custom", "vision/team", "rs")
	h.mustIAM("role", "delete", "stopper")
	want("ROLE-9", "vision/team", "r")
	shown("ROLE-9", "vision/team", "viewer", "member")

	// A service account's team role is what it works as.
	h.mustIAM("project", "set", "vision/team", "--add", "service_account:ci-vision:viewer")
	var rows []struct {
		Members []struct {
			Account  string `json:"service_account"`
			Role     string
			TeamRole string `json:"team_role"`
		}
	}
	out := h.mustIAM("project", "get", "vision/team", "--json")
	if err := json.Unmarshal([]byte(out), &rows); err != nil || !strings.Contains(out, `"team_role": "member"`) {
		t.Error(out, err)
	}
}
