package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// ownerGone is what the log says of restricted projects that lost their owner.
type ownerGone struct {
	Action, Username, Team, State, Owner string
	Projects                             []string
	Level                                string
}

// awaitOwnerGone waits for the log to say it of somebody.
func (p *process) awaitOwnerGone(t *testing.T, username string) (found ownerGone) {
	t.Helper()
	p.await("the log to name the projects of "+username, 30*time.Second, func() bool {
		for line := range strings.Lines(p.logs.String()) {
			var g ownerGone
			if json.Unmarshal([]byte(line), &g) == nil && g.Action == "project:owner_gone" && g.Username == username {
				found = g
				return true
			}
		}
		return false
	})
	return found
}

// TestOwnersLeave: whoever leaves a team, by whatever way, leaves their restricted projects closed behind, and the
// log, the list and the doctor name them until the team's admins have named another owner (VIS-12).
func TestOwnersLeave(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	sees := func(key, project string) answer {
		t.Helper()
		entity, name, _ := strings.Cut(project, "/")
		return h.graphQL(key, `query P($e: String, $p: String) { project(entityName: $e, name: $p) { name } }`, given{"e": entity, "p": name}, nil)
	}
	scim := func(method, path, body string) {
		t.Helper()
		if got := h.send(method, path, rootKey, body, http.Header{"Content-Type": {"application/scim+json"}}); got.status >= 300 {
			t.Fatalf("%s %s: %d %s", method, path, got.status, got.body)
		}
	}
	idOf := func(name string) string {
		t.Helper()
		got := h.send(http.MethodGet, `/scim/v2/Users?filter=userName%20eq%20"`+name+`"`, rootKey, "", nil)
		return between(t, got.body, `"id":"`, `"`)
	}
	groupOf := func(name string) string {
		t.Helper()
		got := h.send(http.MethodGet, `/scim/v2/Groups?filter=displayName%20eq%20"`+name+`"&excludedAttributes=members`, rootKey, "", nil)
		return between(t, got.body, `"id":"`, `"`)
	}
	patch := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[%s]}`
	doors := map[string]struct {
		state string
		leave func(name string)
	}{
		"command": {"left the team", func(name string) { h.mustIAM("team", "set", "vision", "--remove", name) }},
		"sdk": {"left the team", func(name string) {
			m := memberOf(t, h.did(t, aliceKey, docTeam, given{"name": "vision"}), name)
			h.did(t, aliceKey, docUninvite, given{"id": m.ID, "entity": "vision"})
		}},
		"group": {"left the team", func(name string) {
			scim(http.MethodPatch, "/scim/v2/Groups/"+groupOf("vision"), fmt.Sprintf(patch, `{"op":"remove","path":"members[value eq \"`+idOf(name)+`\"]"}`))
		}},
		"deactivated": {"deactivated", func(name string) { h.mustIAM("user", "set", name, "--active=false") }},
		"deactivated2": {"deactivated", func(name string) {
			scim(http.MethodPatch, "/scim/v2/Users/"+idOf(name), fmt.Sprintf(patch, `{"op":"replace","path":"active","value":false}`))
		}},
		"deleted":  {"deleted", func(name string) { h.mustIAM("user", "delete", name) }},
		"deleted2": {"deleted", func(name string) { scim(http.MethodDelete, "/scim/v2/Users/"+idOf(name), "") }},
		"file": {"left the team", func(name string) {
			members := `{"user":"alice","role":"admin"},{"user":"victor","role":"member"}`
			for other := range strings.FieldsSeq(h.others(t, name)) {
				members += `,{"user":"` + other + `"}`
			}
			h.importText(`{"organization":"acme","teams":[{"name":"vision","members":[`+members+`]},{"name":"hostile","members":[{"user":"mallory","role":"admin"}]}]}`, "--prune")
		}},
	}
	for name, door := range doors {
		h.mustIAM("user", "create", name)
		h.mustIAM("team", "set", "vision", "--add", name)
		h.mustIAM("project", "create", "vision/of-"+name, "--visibility", "restricted", "--owner", name, "--add", "victor")
		h.mustIAM("project", "create", "vision/also-of-"+name, "--owner", name)
		h.log(t, victorKey, "vision/of-"+name, "r")
		if out := h.mustIAM("project", "get", "vision/of-"+name, "--json"); !strings.Contains(out, `"owner_state": "present"`) {
			t.Errorf("%s: %s", name, out)
		}

		door.leave(name)
		g := h.awaitOwnerGone(t, name)
		if g.State != door.state || g.Team != "vision" || g.Level != "warn" || len(g.Projects) != 1 || g.Projects[0] != "of-"+name {
			t.Errorf("%s: the log says %+v", name, g)
		}
		out := h.mustIAM("project", "get", "vision/of-"+name, "--json")
		if !strings.Contains(out, `"owner_state": "`+door.state+`"`) || strings.Contains(out, `"owner": "`+name+`"`) == (door.state == "deleted") {
			t.Errorf("%s: the list says %s", name, out)
		}
		if out := h.mustIAM("doctor"); !strings.Contains(out, "vision/of-"+name+" (owner "+door.state+")") || strings.Contains(out, "also-of-") || !strings.Contains(out, "--owner USERNAME") {
			t.Errorf("%s: the doctor says %s", name, out)
		}
		// Closed it stays, to the team's admin too, and open to those invited.
		if got := sees(aliceKey, "vision/of-"+name); got.reason() != "restricted_project_not_invited" {
			t.Errorf("%s: the team's admin: %d %s", name, got.status, got.body)
		}
		if got := sees(victorKey, "vision/of-"+name); got.status != http.StatusOK {
			t.Errorf("%s: who is invited: %d %s", name, got.status, got.body)
		}
		if out := h.mustIAM("export"); strings.Contains(out, `"owner": "`+name+`"`) == (door.state == "deleted") {
			t.Errorf("%s: the export names an owner who is not there, or not one who left", name)
		}
	}

	t.Run("another owner", func(t *testing.T) {
		if _, err := h.iam("", "project", "set", "vision/of-command", "--owner", "mallory"); err == nil || !strings.Contains(err.Error(), "not in the team") {
			t.Errorf("an owner from outside the team: %v", err)
		}
		if _, err := h.iam("", "project", "set", "vision/of-command", "--owner", "service_account:ci-hostile"); err == nil || !strings.Contains(err.Error(), "not in the team") {
			t.Errorf("an account of another team: %v", err)
		}
		if _, err := h.iam("", "project", "create", "mallory/own", "--owner", "alice"); err == nil || !strings.Contains(err.Error(), "personal entity") {
			t.Errorf("the owner of somebody else's personal project: %v", err)
		}
		h.mustIAM("project", "set", "vision/of-command", "--owner", "alice")
		if got := sees(aliceKey, "vision/of-command"); got.status != http.StatusOK {
			t.Errorf("the new owner: %d %s", got.status, got.body)
		}
		if out := h.mustIAM("doctor"); strings.Contains(out, "vision/of-command ") {
			t.Errorf("the doctor says %s", out)
		}
	})
	t.Run("back again", func(t *testing.T) {
		h.mustIAM("key", "create", "--owner", "sdk", "--name", "k")
		key := strings.TrimSpace(h.mustIAM("key", "create", "--owner", "sdk", "--name", "k2"))
		if got := sees(key, "vision/of-sdk"); got.reason() != "not_team_member" {
			t.Errorf("before: %d %s", got.status, got.body)
		}
		h.mustIAM("team", "set", "vision", "--add", "sdk")
		if got := sees(key, "vision/of-sdk"); got.status != http.StatusOK {
			t.Errorf("after: %d %s", got.status, got.body)
		}
		if out := h.mustIAM("project", "get", "vision/of-sdk", "--json"); !strings.Contains(out, `"owner_state": "present"`) {
			t.Error(out)
		}
		h.mustIAM("user", "set", "deactivated", "--active=true")
		if out := h.mustIAM("project", "get", "vision/of-deactivated", "--json"); !strings.Contains(out, `"owner_state": "present"`) {
			t.Error(out)
		}
	})
	t.Run("a person of the same name", func(t *testing.T) {
		h.mustIAM("user", "create", "deleted")
		h.mustIAM("team", "set", "vision", "--add", "deleted")
		key := strings.TrimSpace(h.mustIAM("key", "create", "--owner", "deleted", "--name", "k"))
		if got := sees(key, "vision/of-deleted"); got.reason() != "restricted_project_not_invited" {
			t.Errorf("%d %s", got.status, got.body)
		}
	})
	t.Run("a service account", func(t *testing.T) {
		h.mustIAM("project", "create", "vision/of-ci", "--visibility", "restricted", "--owner", "service_account:ci-vision")
		h.mustIAM("service-account", "set", "ci-vision", "--active=false")
		if g := h.awaitOwnerGone(t, "ci-vision"); g.State != "deactivated" || len(g.Projects) != 1 {
			t.Errorf("%+v", g)
		}
		h.mustIAM("project", "create", "hostile/of-bot", "--visibility", "restricted", "--owner", "service_account:org-bot")
		h.mustIAM("service-account", "delete", "org-bot")
		if g := h.awaitOwnerGone(t, "org-bot"); g.State != "deleted" || g.Team != "hostile" || len(g.Projects) != 1 {
			t.Errorf("%+v", g)
		}
	})
}

// others are the people of vision but alice, victor and one more.
func (h house) others(t *testing.T, but string) string {
	t.Helper()
	var names []string
	for _, m := range membersOf(t, h.did(t, aliceKey, docTeam, given{"name": "vision"})) {
		if m.AccountType == "MEMBER" && m.Username != "alice" && m.Username != "victor" && m.Username != but {
			names = append(names, m.Username)
		}
	}
	return strings.Join(names, " ")
}

// importText imports a file given as text.
func (p *process) importText(contents string, args ...string) {
	p.t.Helper()
	if _, err := p.iam(contents, append([]string{"import", "-"}, args...)...); err != nil {
		p.t.Fatal(err)
	}
}
