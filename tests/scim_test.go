package tests

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"strings"
	"testing"
)

// scimHouse is a gateway with an organization admin's key and one of a service account of the organization.
type scimHouse struct {
	*process
	upstream *recorder
	admin    string // root's
	bot      string // org-bot's
}

func startSCIM(t *testing.T) scimHouse { return startSCIMWith(t, "") }

func startSCIMWith(t *testing.T, global string) scimHouse {
	t.Helper()
	h := scimHouse{upstream: newRecorder(t)}
	h.process = start(t, config{global: global, upstream: h.upstream.host()})
	h.importFile(acme)
	h.admin = h.mustIAM("key", "create", "--owner", "root", "--name", "scim")
	h.bot = h.mustIAM("key", "create", "--owner", "service_account:org-bot", "--name", "scim")
	return h
}

// call sends a request with the admin's key and returns status and body, which must be JSON unless empty.
func (h scimHouse) call(method, path, body string, header ...string) (int, map[string]any, http.Header) {
	h.t.Helper()
	head := http.Header{"Authorization": {"Bearer " + h.admin}}
	if body != "" {
		head.Set("Content-Type", "application/scim+json")
	}
	for i := 0; i < len(header); i += 2 {
		if head.Set(header[i], header[i+1]); header[i+1] == "" {
			head.Del(header[i])
		}
	}
	a := h.send(method, path, "", body, head)
	if a.body == "" {
		return a.status, nil, a.header
	}
	var object map[string]any
	if err := json.Unmarshal([]byte(a.body), &object); err != nil {
		h.t.Fatalf("%s %s: %d %.300q is no JSON object: %v", method, path, a.status, a.body, err)
	}
	if got := a.header.Get("Content-Type"); got != "application/scim+json" {
		h.t.Errorf("%s %s: the content type is %q", method, path, got)
	}
	return a.status, object, a.header
}

// must is call for requests that must be answered with this status.
func (h scimHouse) must(status int, method, path, body string, header ...string) map[string]any {
	h.t.Helper()
	got, object, _ := h.call(method, path, body, header...)
	if got != status {
		h.t.Fatalf("%s %s %.300s: %d %v, want %d", method, path, body, got, object, status)
	}
	return object
}

// refused is call for requests that must be refused in SCIM's shape.
func (h scimHouse) refused(status int, scimType, says, method, path, body string, header ...string) {
	h.t.Helper()
	got, object, _ := h.call(method, path, body, header...)
	detail, _ := object["detail"].(string)
	kind, _ := object["scimType"].(string)
	if got != status || object["status"] != fmt.Sprint(status) || !strings.Contains(detail, says) || kind != scimType {
		h.t.Errorf("%s %s %.200s: %d %v, want %d %q %q", method, path, body, got, object, status, scimType, says)
	}
	if want := []any{"urn:ietf:params:scim:api:messages:2.0:Error"}; !reflect.DeepEqual(object["schemas"], want) {
		h.t.Errorf("%s %s: the error's schemas are %v", method, path, object["schemas"])
	}
}

// id finds a person's or a team's id in the dialect.
func (h scimHouse) id(kind, name string) string {
	h.t.Helper()
	attribute := map[string]string{"Users": "userName", "Groups": "displayName"}[kind]
	found := h.must(200, "GET", "/scim/"+kind+"?filter="+escape(attribute+` eq "`+name+`"`), "")
	list, _ := found["Resources"].([]any)
	if len(list) != 1 {
		h.t.Fatalf("%s %s: %v", kind, name, found)
	}
	return list[0].(map[string]any)["id"].(string)
}

func escape(s string) string {
	return strings.NewReplacer("%", "%25", " ", "%20", `"`, "%22", "+", "%2B", "[", "%5B", "]", "%5D", "\\", "%5C", "&", "%26", "#", "%23").Replace(s)
}

var (
	timeForm    = regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"`)
	versionForm = regexp.MustCompile(`"W/\\"[0-9a-f]{20}\\""`)
	idForm      = regexp.MustCompile(`(usr|team)_[0-9a-f]{20}`)
	roleForm    = regexp.MustCompile(`Um9sZT[A-Za-z0-9+/=]+`)
)

// golden compares an answer with what is written down, in which TIME, VERSION, ID and ROLEID stand for
// what is different every time.
func golden(t *testing.T, what string, got map[string]any, want string) {
	t.Helper()
	text, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	text = timeForm.ReplaceAll(text, []byte(`"TIME"`))
	text = versionForm.ReplaceAll(text, []byte(`"VERSION"`))
	text = idForm.ReplaceAll(text, []byte(`ID`))
	text = roleForm.ReplaceAll(text, []byte(`ROLEID`))
	var g, w any
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v in %s", what, err, want)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("%s:\n got %s\nwant %s", what, text, strings.Join(strings.Fields(want), " "))
	}
}

func patchBody(operations string) string {
	return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operations + `]}`
}

const createDev = `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"emails":[{"primary":true,"value":"dev-user2@test.com"}],"userName":"dev-user2"}`

// TestDialectUsers is U1 to U13 of iam.md 7.3, each with the whole answer.
func TestDialectUsers(t *testing.T) {
	h := startSCIM(t)
	user := func(active, display, email, models, role, registries, meta, teams, weave string) string {
		return `{"active":` + active + `,"displayName":"` + display + `","emails":{"Value":"` + email + `","Display":"","Type":"","Primary":true},"id":"ID",` +
			`"meta":{"resourceType":"User","created":"TIME",` + meta + `"location":"Users/ID","version":"VERSION"},` +
			`"modelsSeat":"` + models + `","organizationRole":"` + role + `",` + registries + `"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"teamRoles":[` + teams + `],"userName":"dev-user2","weaveRole":"` + weave + `"}`
	}
	const changed = `"lastModified":"TIME",`
	made := h.must(201, "POST", "/scim/Users", createDev) // U3, SCIM-19
	golden(t, "create", made, user("true", "", "dev-user2@test.com", "full", "member", "", "", "", "full"))
	id := made["id"].(string)
	golden(t, "get", h.must(200, "GET", "/scim/Users/"+id, ""), user("true", "", "dev-user2@test.com", "full", "member", "", changed, "", "full")) // U1

	for _, filter := range []string{`userName eq "dev-user2"`, `userName eq "DEV-User2"`, `username Eq "dev-user2"`, `emails.value eq "dev-user2@test.com"`, `emails.value eq "Dev-User2@Test.com"`} { // U2, SCIM-13
		golden(t, filter, h.must(200, "GET", "/scim/Users?filter="+escape(filter), ""),
			`{"Resources":[`+user("true", "", "dev-user2@test.com", "full", "member", "", changed, "", "full")+`],"itemsPerPage":9999,"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"startIndex":1,"totalResults":1}`)
	}
	golden(t, "nobody", h.must(200, "GET", "/scim/Users?filter="+escape(`userName eq "nobody"`), ""),
		`{"Resources":[],"itemsPerPage":9999,"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"startIndex":1,"totalResults":0}`)
	all := h.must(200, "GET", "/scim/Users", "")
	if list := all["Resources"].([]any); all["totalResults"] != 5.0 || all["itemsPerPage"] != 9999.0 || all["startIndex"] != 1.0 || len(list) != 5 {
		t.Errorf("all: %v", all)
	}
	if strings.Contains(fmt.Sprint(all), "org-bot") || strings.Contains(fmt.Sprint(all), "ci-vision") { // SCIM-32
		t.Error("service accounts are among the users")
	}

	for query, want := range map[string]string{"count=2": "2 1 5 2", "startIndex=5&count=2": "1 5 5 2", "startIndex=9223372036854775807&count=9223372036854775807": "0 1.073741824e+09 5 9999", "startIndex=-1&count=-1": "0 1 5 0"} {
		page := h.must(200, "GET", "/scim/Users?"+query, "")
		if got := fmt.Sprint(len(page["Resources"].([]any)), page["startIndex"], page["totalResults"], page["itemsPerPage"]); got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	h.refused(400, "invalidValue", "whole number", "GET", "/scim/Users?count=x", "")

	patch := func(what, operation, want string) {
		t.Helper()
		golden(t, what, h.must(200, "PATCH", "/scim/Users/"+id, patchBody(operation)), want)
	}
	patch("deactivate", `{"op":"replace","value":{"active":false}}`, user("false", "", "dev-user2@test.com", "full", "member", "", changed, "", "full"))              // U5, SCIM-28
	patch("reactivate", `{"op":"replace","value":{"active":true}}`, user("true", "", "dev-user2@test.com", "full", "member", "", changed, "", "full"))                // U6
	patch("admin", `{"op":"replace","path":"organizationRole","value":"admin"}`, user("true", "", "dev-user2@test.com", "full", "admin", "", changed, "", "full"))    // U7
	patch("member", `{"op":"Replace","path":"organizationRole","value":"MEMBER"}`, user("true", "", "dev-user2@test.com", "full", "member", "", changed, "", "full")) // SCIM-25
	vision := h.id("Groups", "vision")
	h.must(200, "PATCH", "/scim/Groups/"+vision, patchBody(`{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`))
	inVision := func(role string) string { return `{"teamName":"vision","roleName":"` + role + `"}` }
	patch("team role", `{"op":"replace","path":"teamRoles","value":[{"roleName":"Admin","teamName":"vision"}]}`, // U8, SCIM-26
		user("true", "", "dev-user2@test.com", "full", "member", "", changed, inVision("admin"), "full"))
	patch("emails", `{"op":"replace","path":"emails","value":[{"value":"dev@test.com","primary":true}]}`, // U9
		user("true", "", "dev@test.com", "full", "member", "", changed, inVision("admin"), "full"))
	patch("displayName", `{"op":"replace","path":"displayName","value":"Dev User 2"}`, // U10
		user("true", "Dev User 2", "dev@test.com", "full", "member", "", changed, inVision("admin"), "full"))
	patch("modelsSeat", `{"op":"replace","path":"modelsSeat","value":"viewer"}`, // U11
		user("true", "Dev User 2", "dev@test.com", "viewer", "member", "", changed, inVision("admin"), "full"))
	patch("weaveRole", `{"op":"replace","path":"weaveRole","value":"none"}`,
		user("true", "Dev User 2", "dev@test.com", "viewer", "member", "", changed, inVision("admin"), "none"))
	registry := func(role string) string {
		return `"registryRoles":[{"registryName":"hello","roleName":"` + role + `"}],`
	}
	patch("registry role", `{"op":"add","path":"registryRoles","value":[{"registryName":"hello","roleName":"admin"}]}`, // U12
		user("true", "Dev User 2", "dev@test.com", "viewer", "member", registry("admin"), changed, inVision("admin"), "none"))
	patch("another registry role", `{"op":"add","path":"registryRoles","value":[{"registryName":"hello","roleName":"viewer"}]}`,
		user("true", "Dev User 2", "dev@test.com", "viewer", "member", registry("viewer"), changed, inVision("admin"), "none"))
	patch("no registry role", `{"op":"remove","path":"registryRoles[registryName eq \"hello\"]"}`, // U13
		user("true", "Dev User 2", "dev@test.com", "viewer", "member", "", changed, inVision("admin"), "none"))
	patch("full again", `{"op":"replace","value":{"modelsSeat":"full","weaveRole":"full"}}`,
		user("true", "Dev User 2", "dev@test.com", "full", "member", "", changed, inVision("admin"), "full"))
	patch("viewer", `{"op":"replace","path":"organizationRole","value":"viewer"}`, // ORG-6, design section 6
		user("true", "Dev User 2", "dev@test.com", "viewer", "member", "", changed, inVision("viewer"), "viewer"))
	golden(t, "put", h.must(200, "PUT", "/scim/Users/"+id, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"dev-user2","displayName":"Dev","emails":[{"value":"dev2@test.com","primary":true}],"active":true}`),
		user("true", "Dev", "dev2@test.com", "viewer", "member", "", changed, inVision("viewer"), "viewer"))

	if status, body, _ := h.call("DELETE", "/scim/Users/"+id, ""); status != 204 || body != nil { // U4
		t.Errorf("delete: %d %v", status, body)
	}
	h.refused(404, "", "no user", "GET", "/scim/Users/"+id, "")
	h.refused(404, "", "no user", "DELETE", "/scim/Users/"+id, "")
	if again := h.must(201, "POST", "/scim/Users", createDev); again["id"] == id {
		t.Error("somebody else got the id of one who was deleted")
	}
	if got := h.upstream.take(); len(got) != 0 {
		t.Errorf("%d requests reached the server behind", len(got))
	}
}

// TestDialectGroups is G1 to G7 of iam.md 7.4.
func TestDialectGroups(t *testing.T) {
	h := startSCIM(t)
	alice, bob := h.id("Users", "alice"), h.id("Users", "bob")
	group := func(members string) string {
		return `{"displayName":"wandb-support","id":"ID","members":` + members + `,"meta":{"resourceType":"Group","created":"TIME","lastModified":"TIME","location":"Groups/ID","version":"VERSION"},"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]}`
	}
	const isAlice, isBob = `{"Value":"ID","Ref":"","Type":"","Display":"alice"}`, `{"Value":"ID","Ref":"","Type":"","Display":"bob"}`
	made := h.must(201, "POST", "/scim/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"wandb-support","members":[{"value":"`+alice+`"}]}`) // G3
	golden(t, "create", made, group("["+isAlice+"]"))
	id := made["id"].(string)
	golden(t, "get", h.must(200, "GET", "/scim/Groups/"+id, ""), group("["+isAlice+"]")) // G1
	golden(t, "find", h.must(200, "GET", "/scim/Groups?filter="+escape(`displayName eq "Wandb-Support"`), ""),
		`{"Resources":[`+group("["+isAlice+"]")+`],"itemsPerPage":9999,"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"startIndex":1,"totalResults":1}`)
	all := h.must(200, "GET", "/scim/Groups", "") // G2
	if all["totalResults"] != 3.0 || all["itemsPerPage"] != 9999.0 || len(all["Resources"].([]any)) != 3 {
		t.Errorf("all: %v", all)
	}
	patch := func(what, operation, want string) {
		t.Helper()
		golden(t, what, h.must(200, "PATCH", "/scim/Groups/"+id, patchBody(operation)), group(want))
	}
	patch("add", `{"op":"add","path":"members","value":[{"value":"`+bob+`"}]}`, "["+isAlice+","+isBob+"]") // G4
	patch("add again", `{"op":"Add","path":"members","value":[{"value":"`+bob+`"}]}`, "["+isAlice+","+isBob+"]")
	patch("remove by filter", `{"op":"remove","path":"members[value eq \"`+bob+`\"]"}`, "["+isAlice+"]") // G5
	patch("add by e-mail", `{"op":"add","path":"members","value":[{"value":"BOB@acme.test"}]}`, "["+isAlice+","+isBob+"]")
	patch("remove by value", `{"op":"Remove","path":"members","value":[{"value":"`+alice+`"}]}`, "["+isBob+"]")
	patch("remove by e-mail", `{"op":"remove","path":"members","value":[{"value":"bob@acme.test"}]}`, "null")
	patch("replace", `{"op":"replace","path":"members","value":[{"value":"`+alice+`"},{"value":"`+bob+`"}]}`, "["+isAlice+","+isBob+"]") // G6
	patch("without path", `{"op":"add","value":{"members":[{"value":"`+alice+`"}]}}`, "["+isAlice+","+isBob+"]")
	patch("remove all", `{"op":"remove","path":"members"}`, "null") // SCIM-37
	golden(t, "put", h.must(200, "PUT", "/scim/Groups/"+id, `{"displayName":"wandb-support","members":[{"value":"`+bob+`"}]}`), group("["+isBob+"]"))
	golden(t, "put nobody", h.must(200, "PUT", "/scim/Groups/"+id, `{"displayName":"wandb-support","members":[]}`), group("null"))
	golden(t, "create empty", h.must(201, "POST", "/scim/Groups", `{"displayName":"empty","members":[]}`), // SCIM-36
		strings.ReplaceAll(group("null"), "wandb-support", "empty"))

	h.refused(501, "", "cannot be deleted", "DELETE", "/scim/Groups/"+id, "") // G7
	h.refused(409, "uniqueness", "taken by a team", "POST", "/scim/Groups", `{"displayName":"VISION","members":[]}`)
	h.refused(409, "uniqueness", "taken by a user", "POST", "/scim/Groups", `{"displayName":"alice","members":[]}`)
	h.refused(400, "invalidValue", "members", "POST", "/scim/Groups", `{"displayName":"more"}`)
	h.refused(400, "invalidValue", "displayName", "POST", "/scim/Groups", `{"members":[]}`)
	h.refused(400, "invalidValue", "not a name", "POST", "/scim/Groups", `{"displayName":"ML Team","members":[]}`)
	h.refused(400, "mutability", "stays what it was", "PATCH", "/scim/Groups/"+id, patchBody(`{"op":"replace","path":"displayName","value":"other"}`))
	// S06: teams hold people of this directory, and nothing is half done.
	for _, member := range []string{id, "usr_00000000000000000000", "nobody@acme.test", "org-bot", "", strings.Repeat("x", 5000)} {
		h.refused(400, "invalidValue", "", "PATCH", "/scim/Groups/"+id, patchBody(`{"op":"add","path":"members","value":[{"value":"`+alice+`"},{"value":"`+member+`"}]}`))
	}
	golden(t, "after refusals", h.must(200, "GET", "/scim/Groups/"+id, ""), group("null"))
}

// TestDialectRoles is R1 to R6 of iam.md 7.5.
func TestDialectRoles(t *testing.T) {
	h := startSCIM(t)
	role := func(name, description, base, added string) string {
		return `{"description":"` + description + `","id":"ROLEID","inheritedFrom":"` + base + `","meta":{"resourceType":"Role","created":"TIME","location":"Roles/ROLEID","version":"VERSION"},"name":"` + name + `","organizationID":"` +
			base64.StdEncoding.EncodeToString([]byte("Organization:acme")) + `","permissions":[{"name":"artifact:read","isInherited":true},{"name":"launchagent:read","isInherited":true},{"name":"project:read","isInherited":true},{"name":"run:read","isInherited":true}` + added + `],"schemas":[""]}`
	}
	const update, stop, remove = `,{"name":"project:update","isInherited":false}`, `,{"name":"run:stop","isInherited":false}`, `,{"name":"run:delete","isInherited":false}`
	made := h.must(201, "POST", "/scim/Roles", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Role"],"name":"Sample","description":"A sample","permissions":[{"name":"project:update"}],"inheritedFrom":"member"}`) // R3
	golden(t, "create", made, role("Sample", "A sample", "member", update))
	id := made["id"].(string)
	golden(t, "get", h.must(200, "GET", "/scim/Roles/"+id, ""), role("Sample", "A sample", "member", update)) // R1
	golden(t, "list", h.must(200, "GET", "/scim/Roles", ""),                                                  // R2
		`{"Resources":[`+role("Sample", "A sample", "member", update)+`],"itemsPerPage":9999,"schemas":["urn:ietf:params:scim:api:messages:2.0:ListResponse"],"startIndex":1,"totalResults":1}`)
	golden(t, "add", h.must(200, "PATCH", "/scim/Roles/"+id, patchBody(`{"op":"add","path":"permissions","value":[{"name":"run:stop"},{"name":"run:delete"},{"name":"artifact:read"}]}`)), // R5
		role("Sample", "A sample", "member", update+remove+stop))
	golden(t, "remove", h.must(200, "PATCH", "/scim/Roles/"+id, strings.ReplaceAll(patchBody(`{"op":"remove","path":"permissions","value":[{"name":"run:delete"}]}`), "Operations", "operations")), // SCIM-44
		role("Sample", "A sample", "member", update+stop))
	h.refused(400, "invalidValue", "inherited", "PATCH", "/scim/Roles/"+id, patchBody(`{"op":"remove","path":"permissions","value":[{"name":"artifact:read"}]}`)) // ROLE-13

	alice := h.id("Users", "alice")
	holds := func(want string) {
		t.Helper()
		if got := fmt.Sprint(h.must(200, "GET", "/scim/Users/"+alice, "")["teamRoles"]); got != "[map[roleName:"+want+" teamName:vision]]" {
			t.Errorf("alice has %s, want %s", got, want)
		}
	}
	assign := patchBody(`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision","roleName":"Sample"}]}`)
	h.must(200, "PATCH", "/scim/Users/"+alice, assign)
	holds("Sample")
	h.refused(400, "invalidValue", "no role", "PATCH", "/scim/Users/"+alice, strings.ReplaceAll(assign, "Sample", "sample")) // SCIM-26: custom names exactly
	golden(t, "put", h.must(200, "PUT", "/scim/Roles/"+id, `{"name":"Renamed","description":"Another","inheritedFrom":"viewer"}`),
		role("Renamed", "Another", "viewer", update+stop)) // R6: custom permissions stay (SCIM-42)
	holds("Renamed")
	golden(t, "put with permissions", h.must(200, "PUT", "/scim/Roles/"+id, `{"name":"Renamed","description":"Another","inheritedFrom":"viewer","permissions":[{"name":"run:delete"}]}`),
		role("Renamed", "Another", "viewer", remove)) // SCIM-43, C-13
	for _, body := range []string{`{"name":"x","inheritedFrom":"admin"}`, `{"name":"x"}`, `{"name":"admin","inheritedFrom":"member"}`, `{"inheritedFrom":"member"}`,
		`{"name":"x","inheritedFrom":"member","permissions":[{"name":"*"}]}`, `{"name":"x","inheritedFrom":"member","permissions":["run:stop"]}`, `{"name":7,"inheritedFrom":"member"}`} {
		h.refused(400, "invalidValue", "", "POST", "/scim/Roles", body)
	}
	h.refused(409, "uniqueness", "already", "POST", "/scim/Roles", `{"name":"Renamed","inheritedFrom":"member"}`)
	if status, body, _ := h.call("DELETE", "/scim/Roles/"+id, ""); status != 204 || body != nil { // R4, ROLE-9
		t.Errorf("delete: %d %v", status, body)
	}
	holds("viewer")
	h.refused(404, "", "no custom role", "GET", "/scim/Roles/"+id, "")
}

// TestSCIMCallers: who may, and that every refusal has SCIM's shape (SCIM-3 to SCIM-6, S05).
func TestSCIMCallers(t *testing.T) {
	h := startSCIM(t)
	team := h.mustIAM("key", "create", "--owner", "service_account:ci-vision", "--name", "scim")
	basicAs := func(user, key string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+key))
	}
	for name, c := range map[string]struct {
		authorization string
		status        int
		says          string
	}{
		"admin, Basic":                   {basicAs("root", h.admin), 200, ""},
		"admin, Basic, any name":         {basicAs("demo", h.admin), 200, ""},
		"admin, Bearer":                  {"Bearer " + h.admin, 200, ""},
		"organization account, no name":  {basicAs("", h.bot), 200, ""},
		"organization account, Bearer":   {"Bearer " + h.bot, 200, ""},
		"team account":                   {basicAs("", team), 403, "admin of the organization"},
		"member, though admin of a team": {"Bearer " + aliceKey, 403, "admin of the organization"},
		"nobody":                         {"", 401, "API key"},
		"unknown key":                    {"Bearer local-" + strings.Repeat("0", 40), 401, "unknown"},
		"base64 as Bearer":               {"Bearer " + base64.StdEncoding.EncodeToString([]byte("root:"+h.admin)), 401, ""},
		"no scheme":                      {h.admin, 401, ""},
		"a token":                        {"Bearer a.b.c", 401, ""},
	} {
		for _, path := range []string{"/scim/Users", "/scim/Groups", "/scim/Roles"} {
			head := []string{"Authorization", c.authorization}
			if c.status != 200 {
				h.refused(c.status, "", c.says, "GET", path, "", head...)
				continue
			}
			if status, body, _ := h.call("GET", path, "", head...); status != 200 {
				t.Errorf("%s: %s gets %d %v", name, path, status, body)
			}
		}
	}
	if _, _, header := h.call("GET", "/scim/Users", "", "Authorization", ""); header.Get("Www-Authenticate") == "" {
		t.Error("a 401 without a challenge")
	}
	h.refused(404, "", "nothing", "GET", "/scim/Nothing", "")
	h.refused(404, "", "nothing", "GET", "/scim", "")
	h.refused(405, "", "not allowed", "POST", "/scim/Users/usr_00000000000000000000", "{}")
	h.refused(400, "", "canonical", "GET", "/scim/Users/%2e%2e", "")
	h.refused(415, "", "scim+json", "POST", "/scim/Users", "userName=x", "Content-Type", "application/x-www-form-urlencoded")
}

// TestSCIMDeactivation is S07: keys and sessions die at once, keys come back and sessions do not, and the
// last admin stays (S08).
func TestSCIMDeactivation(t *testing.T) {
	h := startSCIM(t)
	alice, root := h.id("Users", "alice"), h.id("Users", "root")
	works := func(want int) {
		t.Helper()
		if a := h.stream("vision/team", aliceKey); a.status != want {
			t.Errorf("alice's key gets %d %s, want %d", a.status, a.body, want)
		}
	}
	works(200)
	h.must(200, "PATCH", "/scim/Users/"+alice, patchBody(`{"op":"Replace","path":"active","value":"False"}`)) // as Entra writes it
	works(401)
	if u := h.must(200, "GET", "/scim/Users?filter="+escape(`userName eq "alice"`), ""); fmt.Sprint(u["totalResults"]) != "1" {
		t.Errorf("one who is deactivated is not found: %v", u)
	}
	h.must(200, "PATCH", "/scim/Users/"+alice, patchBody(`{"op":"replace","value":{"active":true}}`))
	works(200)
	h.must(204, "DELETE", "/scim/Users/"+alice, "")
	works(401)

	for _, c := range []struct{ method, body string }{
		{"PATCH", patchBody(`{"op":"replace","value":{"active":false}}`)},
		{"PATCH", patchBody(`{"op":"replace","path":"organizationRole","value":"member"}`)},
		{"PATCH", patchBody(`{"op":"replace","path":"organizationRole","value":"viewer"}`)},
		{"DELETE", ""},
	} {
		h.refused(409, "", "active admin", c.method, "/scim/Users/"+root, c.body, "Authorization", "Bearer "+h.bot)
	}
	changes := h.changes(3)
	last := changes[len(changes)-1].fields
	if last["action"] != "user:permanently_delete" || last["subject"] != alice || last["username"] != "root" || last["after"] != nil {
		t.Errorf("the audit event of the deletion is %v", last)
	}
	if before, _ := last["before"].(map[string]any); before["username"] != "alice" {
		t.Errorf("the audit event does not say who was deleted: %v", last)
	}
	first := changes[0].fields
	before, _ := first["before"].(map[string]any)
	after, _ := first["after"].(map[string]any)
	if first["action"] != "user:deactivate" || before["active"] != true || after["active"] != false {
		t.Errorf("the audit event of the deactivation is %v", first)
	}
	if again := changes[1].fields["action"]; again != "user:reactivate" {
		t.Errorf("the audit event of the reactivation is %v", again)
	}
	h.holdsNoCanary(h.admin, h.bot, aliceKey)
}

// TestDialectRefusals is what the dialect does not take (S01 to S04, SCIM-24).
func TestDialectRefusals(t *testing.T) {
	h := startSCIM(t)
	alice := h.id("Users", "alice")
	before := fmt.Sprint(h.must(200, "GET", "/scim/Users/"+alice, ""))
	for _, c := range []struct{ operation, scimType, says string }{
		{`{"op":"add","path":"organizationRole","value":"admin"}`, "invalidSyntax", "replace"},
		{`{"op":"remove","path":"displayName"}`, "invalidSyntax", "replace"},
		{`{"op":"add","value":{"active":false}}`, "invalidSyntax", "replace"},
		{`{"op":"replace","path":"teamRoles","value":[{"teamName":"speech","roleName":"admin"}]}`, "invalidValue", "not in a team"},
		{`{"op":"replace","path":"teamRoles","value":[{"teamName":"nowhere","roleName":"admin"}]}`, "invalidValue", "not in a team"},
		{`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision","roleName":"nosuch"}]}`, "invalidValue", "no role"},
		{`{"op":"replace","path":"teamRoles","value":[]}`, "invalidValue", "one object"},
		{`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision","roleName":"member"},{"teamName":"vision","roleName":"admin"}]}`, "invalidValue", "one object"},
		{`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision"}]}`, "invalidValue", "roleName"},
		{`{"op":"replace","path":"organizationRole","value":"owner"}`, "invalidValue", "organizationRole"},
		{`{"op":"replace","path":"organizationRole","value":7}`, "invalidValue", "organizationRole"},
		{`{"op":"replace","path":"userName","value":"root"}`, "mutability", "userName"},
		{`{"op":"replace","value":{"userName":"eve"}}`, "mutability", "userName"},
		{`{"op":"replace","path":"id","value":"x"}`, "mutability", "id"},
		{`{"op":"replace","path":"isAdmin","value":true}`, "invalidPath", "isAdmin"},
		{`{"op":"replace","path":"emails","value":[{"value":"root@acme.test"}]}`, "uniqueness", "taken"},
		{`{"op":"replace","path":"emails","value":[{"value":"no address"}]}`, "invalidValue", "e-mail"},
		{`{"op":"replace","path":"active","value":"maybe"}`, "invalidValue", "active"},
		{`{"op":"move","path":"active","value":true}`, "invalidSyntax", "op is"},
		{`{"op":"replace","value":"x"}`, "invalidValue", "object"},
		{`7`, "invalidSyntax", "object"},
		// The first of the two would do; nothing is half done.
		{`{"op":"replace","path":"displayName","value":"Mallory"},{"op":"replace","path":"organizationRole","value":"owner"}`, "invalidValue", "organizationRole"},
	} {
		status := 400
		if c.scimType == "uniqueness" {
			status = 409
		}
		h.refused(status, c.scimType, c.says, "PATCH", "/scim/Users/"+alice, patchBody(c.operation))
	}
	for _, c := range []struct {
		status               int
		scimType, says, body string
	}{
		{400, "invalidSyntax", "no JSON", `{`},
		{400, "invalidSyntax", "object", `[]`},
		{400, "invalidSyntax", "twice", `{"userName":"a","USERNAME":"b","emails":[{"value":"a@b.c"}]}`},
		{400, "invalidSyntax", "nested", strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)},
		{400, "invalidValue", "emails", `{"userName":"eve"}`},
		{400, "invalidValue", "emails", `{"userName":"eve","emails":[]}`},
		{400, "invalidValue", "emails", `{"userName":"eve","emails":[7]}`},
		{400, "invalidValue", "userName", `{"emails":[{"value":"eve@acme.test"}]}`},
		{400, "invalidValue", "primary", `{"userName":"eve","emails":[{"value":"a@acme.test"},{"value":"b@acme.test"}]}`},
		{400, "invalidValue", "primary", `{"userName":"eve","emails":[{"value":"a@acme.test","primary":true},{"value":"b@acme.test","primary":true}]}`},
		{400, "invalidValue", "not a name", `{"userName":"eve mallory","emails":[{"value":"eve@acme.test"}]}`},
		{400, "invalidValue", "not a name", `{"userName":"../eve","emails":[{"value":"eve@acme.test"}]}`},
		{400, "invalidValue", "string", `{"userName":["a","b"],"emails":[{"value":"eve@acme.test"}]}`},
		{409, "uniqueness", "taken by a user", `{"userName":"ALICE","emails":[{"value":"eve@acme.test"}]}`},
		{409, "uniqueness", "taken by a service account", `{"userName":"org-bot","emails":[{"value":"eve@acme.test"}]}`},
		{409, "uniqueness", "taken by a team", `{"userName":"vision","emails":[{"value":"eve@acme.test"}]}`},
		{409, "uniqueness", "e-mail", `{"userName":"eve","emails":[{"value":"Alice@ACME.test"}]}`},
		{413, "", "4 MiB", `{"userName":"` + strings.Repeat("a", 5<<20) + `"}`},
	} {
		h.refused(c.status, c.scimType, c.says, "POST", "/scim/Users", c.body)
	}
	for _, filter := range []string{`userName eq "a" or "1" eq "1"`, `userName co "a"`, `password eq "x"`, `userName eq "alice" and active eq true`, `displayName eq "Alice"`, `meta.created pr`, `*`, ``} {
		h.refused(400, "invalidFilter", "", "GET", "/scim/Users?filter="+escape(filter), "")
	}
	// S02, S03: what callers cannot set is passed over, and never a privilege.
	made := h.must(201, "POST", "/scim/Users", `{"userName":"eve","emails":[{"value":"eve@acme.test"}],"id":"`+alice+`","externalId":"`+alice+`","admin":true,"isAdmin":true,"roles":[{"value":"admin"}],"groups":[{"value":"vision"}],"teams":["vision"],"meta":{"created":"2001-01-01T00:00:00Z"},"epoch":9,"urn:evil:User":{"organizationRole":"admin"},"entitlements":[{"value":"admin"}]}`)
	if made["id"] == alice || made["organizationRole"] != "member" || fmt.Sprint(made["teamRoles"]) != "[]" || strings.HasPrefix(made["meta"].(map[string]any)["created"].(string), "2001") {
		t.Errorf("mass assignment: %v", made)
	}
	if after := fmt.Sprint(h.must(200, "GET", "/scim/Users/"+alice, "")); after != before {
		t.Errorf("alice changed:\n%s\n%s", before, after)
	}
}

// TestOldViewers: who has the organization role viewer from before keeps it when something else changes.
func TestOldViewers(t *testing.T) {
	h := startSCIM(t)
	h.mustIAM("user", "create", "olga", "--role", "viewer", "--email", "olga@acme.test")
	h.mustIAM("team", "set", "vision", "--add", "olga:member")
	id := h.id("Users", "olga")
	for _, path := range []string{"/scim/Users/", "/scim/v2/Users/"} {
		h.must(200, "PATCH", path+id, patchBody(`{"op":"replace","value":{"displayName":"`+path+`"}}`))
		if got := h.must(200, "GET", "/scim/Users/"+id, ""); fmt.Sprint(got["organizationRole"], got["modelsSeat"], got["teamRoles"]) != "viewerfull[map[roleName:member teamName:vision]]" {
			t.Errorf("olga is %v", got)
		}
	}
	got := h.must(200, "PATCH", "/scim/Users/"+id, `{"Operations":[{"op":"replace","path":"organizationRole","value":"member"}]}`)
	if fmt.Sprint(got["organizationRole"], got["modelsSeat"]) != "memberfull" {
		t.Errorf("olga is %v", got)
	}
	// The response's own form of an address is taken too (SCIM-15).
	h.must(201, "POST", "/scim/Users", `{"UserName":"odd","Emails":{"Value":"odd@acme.test","Primary":true}}`)
	h.refused(400, "invalidSyntax", "schemas", "PATCH", "/scim/Users/"+id, `{"schemas":["urn:x"],"Operations":[{"op":"replace","path":"displayName","value":"x"}]}`)
}

// TestSCIMVersions is SCIM-12: a change of what somebody else changed meanwhile is refused.
func TestSCIMVersions(t *testing.T) {
	h := startSCIM(t)
	for _, path := range []string{"/scim/Users/" + h.id("Users", "alice"), "/scim/Groups/" + h.id("Groups", "vision")} {
		_, body, header := h.call("GET", path, "")
		version := header.Get("Etag")
		if meta := body["meta"].(map[string]any); version == "" || meta["version"] != version {
			t.Fatalf("%s: the header says %q, the body %v", path, version, meta)
		}
		if status, body, _ := h.call("GET", path, "", "If-None-Match", version); status != 304 || body != nil {
			t.Errorf("%s unchanged: %d %v", path, status, body)
		}
		change := patchBody(`{"op":"replace","path":"displayName","value":"Alice B."}`)
		if strings.Contains(path, "Groups") {
			change = patchBody(`{"op":"remove","path":"members"}`)
		}
		h.refused(412, "", "since you read it", "PATCH", path, change, "If-Match", `W/"00000000000000000000"`)
		h.must(200, "PATCH", path, change, "If-Match", `W/"x", `+version)
		h.refused(412, "", "since you read it", "PATCH", path, change, "If-Match", version)
		if strings.Contains(path, "Users") {
			h.refused(412, "", "since you read it", "DELETE", path, "", "If-Match", version)
		}
		h.must(200, "PATCH", path, change, "If-Match", "*")
	}
}

// TestSCIMEndsTokens is S07 for access tokens, which do not come back with their owner, and S05: a token
// is for work, not for administration.
func TestSCIMEndsTokens(t *testing.T) {
	f := startFederated(t)
	h := scimHouse{process: f.process, upstream: f.upstream, admin: f.mustIAM("key", "create", "--owner", "root", "--name", "scim")}
	alice := h.id("Users", "alice")
	token := f.mustExchange(t, f.assertion("alice@acme.test"))
	for range 2 {
		f.counts(t, "new", token, true)
	}
	h.must(200, "PATCH", "/scim/v2/Users/"+alice, patchBody(`{"op":"replace","path":"active","value":false}`))
	f.counts(t, "deactivated", token, false)
	h.must(200, "PATCH", "/scim/v2/Users/"+alice, patchBody(`{"op":"replace","path":"active","value":true}`))
	f.counts(t, "reactivated", token, false)
	f.counts(t, "reactivated, a new one", f.mustExchange(t, f.assertion("alice@acme.test")), true)

	root := f.mustExchange(t, f.assertion("root@acme.test"))
	h.refused(401, "", "API key", "GET", "/scim/v2/Users", "", "Authorization", "Bearer "+root)
	h.refused(401, "", "API key", "GET", "/scim/Users", "", "Authorization", "Bearer "+root)
}

// TestSCIMShadow: where nothing is enforced, administration is all the same.
func TestSCIMShadow(t *testing.T) {
	h := startSCIMWith(t, "enforcement shadow")
	h.refused(401, "", "not known", "GET", "/scim/Users", "", "Authorization", "Bearer local-"+strings.Repeat("0", 40))
	h.refused(401, "", "API key", "GET", "/scim/v2/Users", "", "Authorization", "")
	h.refused(403, "", "admin", "GET", "/scim/Users", "", "Authorization", "Bearer "+aliceKey)
	if got := h.upstream.take(); len(got) != 0 {
		t.Errorf("%d requests reached the server behind", len(got))
	}
}

// TestSCIMIsTheServers: in front of a server that is the record, its own SCIM answers, and refuses.
func TestSCIMIsTheServers(t *testing.T) {
	r := startRecordWith(t, "", "", "")
	if a := r.send("GET", "/scim/Users", recordRoot, "", nil); a.status != 200 || !strings.Contains(a.body, "mallory") || strings.Contains(a.body, "usr_") {
		t.Errorf("the server's list: %d %s", a.status, a.body)
	}
	if a := r.send("GET", "/scim/v2/Users", recordRoot, "", nil); strings.Contains(a.body, "urn:ietf:params:scim") {
		t.Errorf("the gateway answers in the server's place: %d %s", a.status, a.body)
	}
}
