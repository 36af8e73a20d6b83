package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// What Okta and Entra send, in the order in which they send it, to both dialects where both can take it.

// TestOkta is Okta's own test of SCIM servers (its Runscope suite), and then a person's and a group's life
// in its forms: PUT for people, PATCH without path for what is active, members by add and remove.
func TestOkta(t *testing.T) {
	for _, base := range []string{"/scim/v2", "/scim"} {
		t.Run(base, func(t *testing.T) {
			h := startSCIM(t)
			first := h.must(200, "GET", base+"/Users?count=1&startIndex=1", "")
			if list := first["Resources"].([]any); len(list) != 1 || first["totalResults"] != 4.0 {
				t.Fatalf("count=1: %v", first)
			}
			h.must(200, "GET", base+"/Users/"+first["Resources"].([]any)[0].(map[string]any)["id"].(string), "")
			absent := h.must(200, "GET", base+"/Users?filter="+escape(`userName eq "abcdefgh@atko.com"`), "")
			if absent["totalResults"] != 0.0 {
				t.Errorf("nobody: %v", absent)
			}
			h.refused(404, "", "", "GET", base+"/Users/010101001010101011001010101011", "")
			const create = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"runscope300@atko.com","name":{"givenName":"Runscope","familyName":"User"},"emails":[{"primary":true,"value":"runscope300@atko.com","type":"work"}],"displayName":"Runscope User","locale":"en-US","externalId":"00u1","groups":[],"password":"1mz050nq","active":true}`
			made := h.must(201, "POST", base+"/Users", create, "Content-Type", "application/json")
			path := base + "/Users/" + made["id"].(string)
			if got := h.must(200, "GET", path, ""); got["userName"] != "runscope300@atko.com" || got["active"] != true || strings.Contains(fmt.Sprint(got), "1mz050nq") {
				t.Errorf("get: %v", got)
			}
			h.refused(409, "uniqueness", "", "POST", base+"/Users", create, "Content-Type", "application/json; charset=utf-8")
			if found := h.must(200, "GET", base+"/Users?filter="+escape(`userName eq "RunScope300@Atko.com"`), ""); found["totalResults"] != 1.0 {
				t.Errorf("in another case: %v", found)
			}
			h.must(200, "GET", base+"/Groups", "")
			h.refused(401, "", "", "GET", base+"/Groups", "", "Authorization", "Bearer local-"+strings.Repeat("a", 40))
			h.refused(404, "", "", "GET", base+"/Users/00919288221112222", "")

			// The profile is changed, the person deactivated and reactivated.
			put := strings.Replace(create, `"displayName":"Runscope User"`, `"displayName":"Runscope Renamed"`, 1)
			if got := h.must(200, "PUT", path, put); got["displayName"] != "Runscope Renamed" {
				t.Errorf("put: %v", got)
			}
			for _, active := range []bool{false, true} {
				body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":%t}}]}`, active)
				if got := h.must(200, "PATCH", path, body); got["active"] != active {
					t.Errorf("active %t: %v", active, got)
				}
			}
			// A group is pushed: made, filled, its name repeated, emptied again.
			group := h.must(201, "POST", base+"/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"okta-group","members":[]}`)
			groupPath := base + "/Groups/" + group["id"].(string)
			for _, operation := range []string{
				`{"op":"add","path":"members","value":[{"value":"` + made["id"].(string) + `","display":"runscope300@atko.com"}]}`,
				`{"op":"replace","value":{"id":"` + group["id"].(string) + `","displayName":"okta-group"}}`,
			} {
				h.patched(groupPath, operation)
			}
			if got := h.must(200, "GET", groupPath, ""); !strings.Contains(fmt.Sprint(got["members"]), made["id"].(string)) {
				t.Errorf("the group is %v", got)
			}
			h.patched(groupPath, `{"op":"remove","path":"members[value eq \"`+made["id"].(string)+`\"]"}`)
			if got := h.must(200, "GET", groupPath, ""); got["members"] != nil {
				t.Errorf("the emptied group is %v", got)
			}
		})
	}
}

// patched sends a PATCH whose answer may have a body or none.
func (h scimHouse) patched(path, operation string) {
	h.t.Helper()
	if status, body, _ := h.call("PATCH", path, patchBody(operation)); status != 200 && status != 204 {
		h.t.Errorf("%s: %d %v", operation, status, body)
	}
}

// TestEntra is what Entra's provisioning service sends, after Microsoft's own examples.
func TestEntra(t *testing.T) {
	h := startSCIM(t)
	const base = "/scim/v2"
	h.must(200, "GET", base+"/Users?filter="+escape(`userName eq "non-existent user"`), "") // the connection test
	create := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User","urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"],"externalId":"0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef","userName":"Test_User_ab6490ee","active":true,"addresses":null,"displayName":"lennay","emails":[{"type":"work","primary":true,"value":"bellanca@amcoarrington.com"}],"meta":{"resourceType":"User"},"name":{"formatted":"Adrienne McCoy","familyName":"McCoy","givenName":"Adrienne"},"roles":[],"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User":{"department":"bob","manager":null}}`
	made := h.must(201, "POST", base+"/Users", create)
	path := base + "/Users/" + made["id"].(string)
	for _, filter := range []string{`externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"`, `userName eq "test_user_AB6490EE"`} {
		if found := h.must(200, "GET", base+"/Users?filter="+escape(filter), ""); found["totalResults"] != 1.0 {
			t.Errorf("%s: %v", filter, found)
		}
	}
	patched := h.must(200, "PATCH", path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"emails[type eq \"work\"].value","value":"updatedEmail@microsoft.com"},{"op":"Replace","path":"name.familyName","value":"updatedFamilyName"},{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"R&D"},{"op":"Add","path":"phoneNumbers[type eq \"mobile\"].value","value":"1"}]}`)
	if got := fmt.Sprint(patched["emails"], patched["name"]); !strings.Contains(got, "updatedEmail@microsoft.com") || !strings.Contains(got, "updatedFamilyName") {
		t.Errorf("after a PATCH: %v", patched)
	}
	flat := h.must(200, "PATCH", path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","value":{"displayName":"Ryan","name.givenName":"Ryan","active":"True","emails[type eq \"work\"].value":"ryan@acme.test"}}]}`)
	if got := fmt.Sprint(flat["displayName"], flat["emails"], flat["active"]); !strings.Contains(got, "Ryan") || !strings.Contains(got, "ryan@acme.test") || !strings.Contains(got, "true") {
		t.Errorf("after a PATCH with dotted names: %v", flat)
	}
	// A soft delete, found all the same, and undone; then the hard one.
	for _, active := range []string{"False", "True"} {
		if got := h.must(200, "PATCH", path, patchBody(`{"op":"Replace","path":"active","value":"`+active+`"}`)); fmt.Sprint(got["active"]) != strings.ToLower(active) {
			t.Errorf("active %s: %v", active, got)
		}
		if found := h.must(200, "GET", base+"/Users?filter="+escape(`userName eq "Test_User_ab6490ee"`), ""); found["totalResults"] != 1.0 {
			t.Errorf("active %s: found %v", active, found)
		}
	}

	group := h.must(201, "POST", base+"/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group","http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"],"externalId":"8aa1a0c0-c4c3-4bc0-b4a5-2ef676900159","displayName":"entra-group","meta":{"resourceType":"Group"}}`)
	groupPath := base + "/Groups/" + group["id"].(string)
	if got := h.must(200, "GET", groupPath+"?excludedAttributes=members", ""); got["displayName"] != "entra-group" || got["members"] != nil {
		t.Errorf("the group without members: %v", got)
	}
	if found := h.must(200, "GET", base+"/Groups?excludedAttributes=members&filter="+escape(`displayName eq "Entra-Group"`), ""); found["totalResults"] != 1.0 {
		t.Errorf("the group by its name: %v", found)
	}
	id := made["id"].(string)
	if status, body, _ := h.call("PATCH", groupPath, patchBody(`{"op":"Add","path":"members","value":[{"$ref":null,"value":"`+id+`"}]}`)); status != 204 {
		t.Errorf("adding a member: %d %v", status, body)
	}
	// Entra asks for one member in this way, because it does not read them all.
	for member, want := range map[string]float64{id: 1, h.id("Users", "bob"): 0} {
		filter := `id eq "` + group["id"].(string) + `" and members eq "` + member + `"`
		if found := h.must(200, "GET", base+"/Groups?attributes=id&filter="+escape(filter), ""); found["totalResults"] != want {
			t.Errorf("%s: %v", filter, found)
		}
	}
	if status, body, _ := h.call("PATCH", groupPath, patchBody(`{"op":"Remove","path":"members","value":[{"$ref":null,"value":"`+id+`"}]}`)); status != 204 {
		t.Errorf("removing a member: %d %v", status, body)
	}
	h.must(204, "DELETE", path, "")
	if found := h.must(200, "GET", base+"/Users?filter="+escape(`externalId eq "0a21f0f2-8d2a-4f8e-bf98-7363c4aed4ef"`), ""); found["totalResults"] != 0.0 {
		t.Errorf("who was deleted is found: %v", found)
	}
}

// TestExternalIDIsNobody is S03 (CVE-2025-41115): what a client calls a person gives no access to another.
func TestExternalIDIsNobody(t *testing.T) {
	h := startSCIM(t)
	alice := h.id("Users", "alice")
	before := fmt.Sprint(h.must(200, "GET", "/scim/v2/Users/"+alice, ""))
	for i, external := range []string{alice, "1", "alice", "alice@acme.test", "root", strings.TrimPrefix(alice, "usr_"), "user:" + alice} {
		made := h.must(201, "POST", "/scim/v2/Users", fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"eve%d","externalId":"%s"}`, i, external))
		if made["id"] == alice || made["externalId"] != external {
			t.Errorf("%s: %v", external, made)
		}
		if found := h.must(200, "GET", "/scim/v2/Users?filter="+escape(`externalId eq "`+external+`"`), ""); names(found) != fmt.Sprintf("eve%d", i) {
			t.Errorf("%s finds %s", external, names(found))
		}
		h.refused(400, "invalidValue", "no person", "POST", "/scim/v2/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"g","members":[{"value":"1"}]}`)
	}
	h.refused(400, "invalidValue", "string", "POST", "/scim/v2/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"mallory","externalId":1}`)
	if after := fmt.Sprint(h.must(200, "GET", "/scim/v2/Users/"+alice, "")); after != before {
		t.Errorf("alice changed:\n%s\n%s", before, after)
	}
	// Two people may be called the same by their clients; both are found, and each stays themselves.
	h.must(201, "POST", "/scim/v2/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"twin","externalId":"1"}`)
	if found := h.must(200, "GET", "/scim/v2/Users?sortBy=userName&filter="+escape(`externalId eq "1"`), ""); names(found) != "eve1 twin" {
		t.Errorf("both: %s", names(found))
	}
}

// TestSCIMEndsSessions is S07 for browsers: whom SCIM deactivates is signed out for good, and cannot sign in
// until reactivated; and neither a browser's session nor the pages of another site administer.
func TestSCIMEndsSessions(t *testing.T) {
	site := startSignIn(t, "pkce", nil).withAcme()
	h := scimHouse{process: site.process, admin: site.mustIAM("key", "create", "--owner", "root", "--name", "scim")}
	v := site.visitor(t).signIn("alice", nil)
	v.mustBe("at first", "alice")
	cookie := v.session()
	path := "/scim/v2/Users/" + h.id("Users", "alice")
	h.must(200, "PATCH", path, patchBody(`{"op":"Replace","path":"active","value":"False"}`))
	if a := site.copied(cookie); a.status != 401 {
		t.Errorf("deactivated, the session is answered %d", a.status)
	}
	h.must(200, "PATCH", path, patchBody(`{"op":"Replace","path":"active","value":"True"}`))
	if a := site.copied(cookie); a.status != 401 {
		t.Errorf("reactivated, the old session is answered %d", a.status)
	}
	root := site.visitor(t).signIn("root", nil)
	root.mustBe("the admin", "root")
	for _, header := range []http.Header{{"Cookie": {"wandb-gateway=" + root.session()}}, {"Cookie": {"wandb-gateway=" + root.session()}, "Origin": {site.url}, "Sec-Fetch-Site": {"same-origin"}}} {
		if a := site.send("DELETE", path, "", "", header); a.status != 401 {
			t.Errorf("an admin's cookie deletes people: %d %s", a.status, a.body)
		}
	}
	h.must(200, "GET", path, "")
}
