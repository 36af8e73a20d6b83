package tests

import (
	"fmt"
	"strings"
	"testing"
)

// TestDialectHasNothingElse is SCIM-1 and SCIM-14: what W&B's own SCIM does not have is not there, whoever
// asks, and the order and the attributes that are asked for change nothing.
func TestDialectHasNothingElse(t *testing.T) {
	h := startSCIM(t)
	for _, path := range []string{"Bulk", "ServiceProviderConfig", "Schemas", "ResourceTypes", "Me", ".search", "Users/.search", "users", "Users/x/y", "Tokens"} {
		h.refused(404, "", "", "GET", "/scim/"+path, "")
	}
	h.refused(404, "", "", "POST", "/scim/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[]}`)
	plain := h.must(200, "GET", "/scim/Users", "")
	if sorted := h.must(200, "GET", "/scim/Users?sortBy=userName&sortOrder=descending&attributes=userName", ""); fmt.Sprint(sorted) != fmt.Sprint(plain) {
		t.Errorf("asked for an order, the list is\n%v, not\n%v", sorted, plain)
	}
	if got := h.upstream.take(); len(got) != 0 {
		t.Errorf("%d requests reached the server behind", len(got))
	}
}

// TestDialectBodies: what stands in W&B's documents and is no JSON (SCIM-16), in capitals (SCIM-15), in
// several addresses (SCIM-22), with seats (SCIM-31), with what SaaS alone has (SCIM-30) and in plain JSON
// (SCIM-7).
func TestDialectBodies(t *testing.T) {
	h := startSCIM(t)
	for _, body := range []string{
		"{\"userName\":\"eve\", // the name\n\"emails\":[{\"value\":\"eve@acme.test\"}]}",
		`{"userName":"eve","emails":[{"value":"eve@acme.test"}],}`,
		`{"userName":"eve","emails":[{"value":"eve@acme.test"}], ...}`,
		`{"userName":"eve","emails":[{"value":"eve@acme.test"}]}{}`,
	} {
		h.refused(400, "invalidSyntax", "", "POST", "/scim/Users", body)
	}
	made := h.must(201, "POST", "/scim/Users", `{"userName":"eve","emails":[{"value":"other@acme.test"},{"value":"eve@acme.test","primary":true}],"modelsSeat":"VIEWER","weaveRole":"none","teams":["vision"],"groups":[{"value":"`+h.id("Groups", "vision")+`"}]}`, "Content-Type", "application/json; charset=utf-8")
	if email := made["emails"].(map[string]any)["Value"]; email != "eve@acme.test" || made["modelsSeat"] != "viewer" || made["weaveRole"] != "none" || fmt.Sprint(made["teamRoles"]) != "[]" {
		t.Errorf("eve is %v", made)
	}
	if found := h.must(200, "GET", "/scim/Users?filter="+escape(`emails.value eq "other@acme.test"`), ""); found["totalResults"] != 0.0 {
		t.Errorf("an address that is not the primary one finds %v", found)
	}
	// A role in a team adds nobody to it, and is not passed over in silence either.
	h.refused(400, "invalidValue", "in no team yet", "POST", "/scim/Users", `{"userName":"eva","emails":[{"value":"eva@acme.test"}],"teamRoles":[{"teamName":"vision","roleName":"admin"}]}`)
	h.refused(400, "invalidValue", "in no team yet", "POST", "/scim/v2/Users", `{"schemas":["`+coreUser+`"],"userName":"eva","`+wandbUser+`":{"teamRoles":[{"teamName":"vision","roleName":"admin"}]}}`)
	h.refused(415, "", "compressed", "POST", "/scim/Users", `{"userName":"eva","emails":[{"value":"eva@acme.test"}]}`, "Content-Encoding", "gzip")
	id := made["id"].(string)
	h.refused(400, "invalidValue", "one of full, viewer, none", "PATCH", "/scim/Users/"+id, patchBody(`{"op":"replace","path":"modelsSeat","value":"half"}`))
	group := h.must(201, "POST", "/scim/Groups", `{"DisplayName":"audio","Members":[{"Value":"`+id+`","Display":"somebody else"}]}`)
	if got := fmt.Sprint(group["members"]); !strings.Contains(got, "Display:eve") {
		t.Errorf("the members are %s", got)
	}
	h.must(200, "PATCH", "/scim/Groups/"+group["id"].(string), `{"operations":[{"OP":"REMOVE","Path":"Members[Value Eq \"`+id+`\"]"}]}`)
	h.refused(400, "invalidSyntax", "Operations", "PATCH", "/scim/Users/"+id, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"]}`) // SCIM-23
	h.refused(400, "invalidSyntax", "Operations", "PATCH", "/scim/Users/"+id, `{"Operations":{"op":"replace","path":"displayName","value":"x"}}`)
	// What the documents' example of a role's list of permissions holds besides names is passed over.
	role := h.must(201, "POST", "/scim/Roles", `{"name":"Bare","inheritedFrom":"Viewer","permissions":[{"name":"sweep:create_agent","isInherited":true}]}`) // ROLE-2, ROLE-3, ROLE-6, ROLE-7
	if got := fmt.Sprint(role["permissions"]); role["description"] != "" || role["inheritedFrom"] != "viewer" || !strings.Contains(got, "map[isInherited:false name:sweep:create_agent]") {
		t.Errorf("the role is %v", role)
	}
}

// TestDialectGroupsAreOfPeople is SCIM-39: a team's service accounts are not shown among its members, and
// what is done to these does not touch them.
func TestDialectGroupsAreOfPeople(t *testing.T) {
	h := startSCIM(t)
	vision := "/scim/Groups/" + h.id("Groups", "vision")
	if got := fmt.Sprint(h.must(200, "GET", vision, "")["members"]); strings.Contains(got, "ci-vision") || strings.Contains(got, "org-bot") || !strings.Contains(got, "alice") {
		t.Errorf("the members are %s", got)
	}
	ci := h.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "x")
	h.must(200, "PATCH", vision, patchBody(`{"op":"remove","path":"members"}`))
	if a := h.stream("vision/team", ci); a.status != 200 {
		t.Errorf("the team's account gets %d %s", a.status, a.body)
	}
	if a := h.stream("vision/team", aliceKey); a.status != 403 || a.reason() != "team_project" {
		t.Errorf("who was taken out gets %d %s", a.status, a.body)
	}
	// SA-19: a team that SCIM made is one for the organization's accounts, and for no other team's.
	h.must(201, "POST", "/scim/Groups", `{"displayName":"audio","members":[]}`)
	if a := h.stream("audio/first", h.bot); a.status != 200 {
		t.Errorf("the organization's account gets %d %s", a.status, a.body)
	}
	if a := h.stream("audio/first", ci); a.status != 403 {
		t.Errorf("another team's account gets %d %s", a.status, a.body)
	}
}

// TestStorageOfATeam is SCIM-38: where a team's files are to be kept, the gateway does not decide, and a team whose
// files would lie elsewhere than was asked for is not made.
func TestStorageOfATeam(t *testing.T) {
	h := startSCIM(t)
	for _, bucket := range []string{`{"name":"acme-eu","provider":"AWS"}`, `{"name":"acme-eu","provider":"aws"}`, `{}`, `"acme-eu"`} {
		h.refused(400, "invalidValue", "storageBucket", "POST", "/scim/Groups", `{"displayName":"audio","members":[],"storageBucket":`+bucket+`}`)
	}
	vision := "/scim/Groups/" + h.id("Groups", "vision")
	h.refused(400, "invalidValue", "storageBucket", "PUT", vision, `{"displayName":"vision","members":[],"storageBucket":{"name":"acme-eu","provider":"AWS"}}`)
	if got := fmt.Sprint(h.must(200, "GET", "/scim/Groups", "")); strings.Contains(got, "audio") || !strings.Contains(got, "alice") {
		t.Errorf("after refusals there are %s", got)
	}
	h.must(201, "POST", "/scim/Groups", `{"displayName":"audio","members":[],"storageBucket":null}`)
}

// TestTeamsKeepTheirNames: a team's name stands in the address of everything in it, and PUT changes it as little as
// PATCH; its case is no change.
func TestTeamsKeepTheirNames(t *testing.T) {
	h := startSCIM(t)
	vision := h.id("Groups", "vision")
	before := fmt.Sprint(h.must(200, "GET", "/scim/Groups/"+vision, ""))
	for _, path := range []string{"/scim/Groups/", "/scim/v2/Groups/"} {
		for _, body := range []string{`"displayName":"other","members":[]`, `"members":[]`} {
			h.refused(400, "mutability", "displayName", "PUT", path+vision, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],`+body+`}`)
		}
	}
	if after := fmt.Sprint(h.must(200, "GET", "/scim/Groups/"+vision, "")); after != before {
		t.Errorf("the team was %s and is %s", before, after)
	}
	if put := h.must(200, "PUT", "/scim/v2/Groups/"+vision, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"VISION","members":[]}`); put["displayName"] != "vision" {
		t.Errorf("the team is %v", put)
	}
}

// TestSCIMAudit: each change is in the log once, with who made it and what was before and after, and what changes
// nothing is not.
func TestSCIMAudit(t *testing.T) {
	h := startSCIM(t)
	alice, vision := h.id("Users", "alice"), h.id("Groups", "vision")
	first := len(h.changes(0))
	h.must(201, "POST", "/scim/Users", createDev)
	h.must(200, "PATCH", "/scim/Users/"+alice, patchBody(`{"op":"replace","path":"displayName","value":"A."}`))
	h.must(200, "PATCH", "/scim/Users/"+alice, patchBody(`{"op":"replace","path":"displayName","value":"A."}`))
	h.must(204, "PATCH", "/scim/v2/Groups/"+vision, patchBody(`{"op":"remove","path":"members[value eq \"`+alice+`\"]"}`))
	h.must(204, "PATCH", "/scim/v2/Groups/"+vision, patchBody(`{"op":"remove","path":"members[value eq \"`+alice+`\"]"}`))
	h.must(201, "POST", "/scim/Groups", `{"displayName":"audio","members":[]}`, "Authorization", "Bearer "+h.bot)
	role := h.must(201, "POST", "/scim/Roles", `{"name":"Sample","inheritedFrom":"member"}`)["id"].(string)
	for range 2 {
		h.must(200, "PATCH", "/scim/Roles/"+role, patchBody(`{"op":"add","path":"permissions","value":[{"name":"run:stop"}]}`))
	}
	h.must(204, "DELETE", "/scim/Roles/"+role, "")
	var got []string
	for _, e := range h.changes(first + 7)[first:] {
		f := e.fields
		before, after := fmt.Sprint(f["before"]), fmt.Sprint(f["after"])
		if before == after {
			t.Errorf("%v changed nothing: %s", f["action"], before)
		}
		got = append(got, fmt.Sprint(f["username"], " ", f["action"], " ", f["before"] != nil, f["after"] != nil, " ", strings.Contains(before, alice), strings.Contains(after, alice)))
	}
	want := []string{
		"root user:create false true false false",
		"root user:update true true true true",
		"root team:update true true true false",
		"org-bot team:create false true false false",
		"root role:create false true false false",
		"root role:update true true false false",
		"root role:delete true false false false",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("the log holds\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDialectRoleVersions is SCIM-12 for roles.
func TestDialectRoleVersions(t *testing.T) {
	h := startSCIM(t)
	_, made, header := h.call("POST", "/scim/Roles", `{"name":"Sample","inheritedFrom":"member"}`)
	path, first := "/scim/Roles/"+made["id"].(string), header.Get("Etag")
	add := patchBody(`{"op":"add","path":"permissions","value":[{"name":"run:stop"}]}`)
	h.must(200, "PATCH", path, add, "If-Match", first)
	h.refused(412, "", "since you read it", "PATCH", path, patchBody(`{"op":"remove","path":"permissions","value":[{"name":"run:stop"}]}`), "If-Match", first)
	h.refused(412, "", "since you read it", "PUT", path, `{"name":"Other","inheritedFrom":"viewer"}`, "If-Match", first)
	h.refused(412, "", "since you read it", "DELETE", path, "", "If-Match", first)
	role := h.must(200, "GET", path, "")
	if got := fmt.Sprint(role["permissions"]); role["name"] != "Sample" || role["inheritedFrom"] != "member" || !strings.Contains(got, "name:run:stop") {
		t.Errorf("after refusals the role is %v", role)
	}
	h.must(204, "DELETE", path, "", "If-Match", role["meta"].(map[string]any)["version"].(string))
}

// TestRightsByDialect: what SCIM says of a person's role, seats and custom roles holds with the next request
// (ORG-6, SEAT-2, SEAT-7, ROLE-2, ROLE-9, ROLE-12).
func TestRightsByDialect(t *testing.T) {
	h := startSCIM(t)
	alice := "/scim/Users/" + h.id("Users", "alice")
	write := func() string {
		a := h.stream("vision/team", aliceKey)
		return fmt.Sprint(a.status, a.reason())
	}
	read := func() string {
		a := h.send("GET", "/files/vision/team/run1/config.yaml", aliceKey, "", nil)
		return fmt.Sprint(a.status, a.reason())
	}
	stop := func() string {
		a := h.graphQL(aliceKey, `mutation($id:ID!){stopRun(input:{id:$id}){success}}`, given{"id": nodeID("Run:v1:run1:team:vision")}, nil)
		return fmt.Sprint(a.status, a.reason())
	}
	set := func(operation string) {
		t.Helper()
		h.must(200, "PATCH", alice, patchBody(operation))
	}
	is := func(what, writes, reads, stops string) {
		t.Helper()
		if w, r, s := write(), read(), stop(); w != writes || r != reads || s != stops {
			t.Errorf("%s: writing is answered %s, reading %s, stopping %s; want %s, %s, %s", what, w, r, s, writes, reads, stops)
		}
	}
	is("at first", "200", "200", "200")
	set(`{"op":"replace","path":"modelsSeat","value":"viewer"}`)
	is("with a viewer's seat", "403view_only_seat", "200", "403view_only_seat")
	set(`{"op":"replace","path":"modelsSeat","value":"none"}`)
	is("without a seat", "403no_seat", "403no_seat", "403no_seat")
	set(`{"op":"replace","value":{"modelsSeat":"full"}}`)
	is("with a full seat again", "200", "200", "200")

	set(`{"op":"replace","path":"organizationRole","value":"Viewer"}`) // in any case (SCIM-25)
	is("as the old role viewer", "403view_only", "200", "403view_only")
	set(`{"op":"replace","path":"organizationRole","value":"member"}`) // seats stay, and roles
	is("as member again", "403view_only", "200", "403view_only")
	set(`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision","roleName":"member"}]}`)
	is("with the team's role again", "403view_only_seat", "200", "403view_only_seat")
	set(`{"op":"replace","value":{"modelsSeat":"full"}}`)

	role := h.must(201, "POST", "/scim/Roles", `{"name":"Stopper","inheritedFrom":"viewer","permissions":[{"name":"run:stop"}]}`)
	set(`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision","roleName":"Stopper"}]}`)
	is("with a custom role", "403view_only", "200", "200")
	h.must(200, "PATCH", "/scim/Roles/"+role["id"].(string), patchBody(`{"op":"remove","path":"permissions","value":[{"name":"run:stop"}]}`))
	is("with a custom role that lost its permission", "403view_only", "200", "403view_only")
	h.must(200, "PUT", "/scim/Roles/"+role["id"].(string), `{"name":"Stopper","inheritedFrom":"member"}`)
	is("with a custom role on another base", "200", "200", "200")
	h.must(204, "DELETE", "/scim/Roles/"+role["id"].(string), "")
	is("when the role is gone, by what it inherited from", "200", "200", "200")
	if got := fmt.Sprint(h.must(200, "GET", alice, "")["teamRoles"]); !strings.Contains(got, "roleName:member") {
		t.Errorf("alice has %s", got)
	}

	h.must(201, "POST", "/scim/Roles", `{"name":"Helper","inheritedFrom":"viewer"}`)
	h.mustIAM("user", "create", "olga", "--role", "viewer", "--email", "olga@acme.test")
	h.mustIAM("team", "set", "vision", "--add", "olga:member")
	h.refused(400, "invalidValue", "viewer of the organization", "PATCH", "/scim/Users/"+h.id("Users", "olga"), patchBody(`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision","roleName":"Helper"}]}`))
}
