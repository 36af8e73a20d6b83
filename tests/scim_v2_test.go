package tests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

const (
	coreUser  = "urn:ietf:params:scim:schemas:core:2.0:User"
	wandbUser = "urn:wandb:params:scim:schemas:extension:2.0:User"
)

// TestV2Users is a person's life by the standard, each answer whole.
func TestV2Users(t *testing.T) {
	h := startSCIM(t)
	base := h.url + "/scim/v2"
	const wandb = `"` + wandbUser + `":{"organizationRole":"member","modelsSeat":"full","weaveRole":"full"}`
	const meta = `"meta":{"resourceType":"User","created":"TIME","lastModified":"TIME","location":"BASE/Users/ID","version":"VERSION"}`
	user := func(fields string) string {
		return strings.ReplaceAll(`{"schemas":["`+coreUser+`","`+wandbUser+`"],"id":"ID","userName":"bjensen",`+fields+`,`+meta+`}`, "BASE", base)
	}
	create := `{"schemas":["` + coreUser + `"],"userName":"bjensen","externalId":"701984","name":{"givenName":"Barbara","familyName":"Jensen","formatted":"Ms. Barbara Jensen"},"emails":[{"value":"bjensen@acme.test","type":"work","primary":true},{"value":"babs@acme.test","type":"home"}],"active":true,"password":"t1meMa$heen","title":"Tour Guide"}`
	status, made, header := h.call("POST", "/scim/v2/Users", create)
	if status != 201 {
		t.Fatalf("create: %d %v", status, made)
	}
	id := made["id"].(string)
	if header.Get("Location") != base+"/Users/"+id || header.Get("Etag") == "" {
		t.Errorf("create: the header is %v", header)
	}
	const named = `"externalId":"701984","name":{"givenName":"Barbara","familyName":"Jensen"},"displayName":"Barbara Jensen","emails":[{"value":"bjensen@acme.test","type":"work","primary":true}]`
	golden(t, "create", made, user(named+`,"active":true,`+wandb))
	golden(t, "get", h.must(200, "GET", "/scim/v2/Users/"+id, ""), user(named+`,"active":true,`+wandb))
	h.refused(409, "uniqueness", "taken", "POST", "/scim/v2/Users", create)

	patch := func(what, operations, want string) {
		t.Helper()
		golden(t, what, h.must(200, "PATCH", "/scim/v2/Users/"+id, patchBody(operations)), user(want))
	}
	patch("Entra's deactivation", `{"op":"Replace","path":"active","value":"False"}`, named+`,"active":false,`+wandb)
	patch("Okta's reactivation", `{"op":"replace","value":{"active":true}}`, named+`,"active":true,`+wandb)
	patch("dotted names", `{"op":"Replace","value":{"name.familyName":"Smith","displayName":"Babs","emails[type eq \"work\"].value":"babs@acme.test"}}`,
		`"externalId":"701984","name":{"givenName":"Barbara","familyName":"Smith"},"displayName":"Babs","emails":[{"value":"babs@acme.test","type":"work","primary":true}],"active":true,`+wandb)
	patch("remove", `{"op":"remove","path":"name"},{"op":"remove","path":"externalId"},{"op":"remove","path":"emails[value eq \"babs@acme.test\"]"}`,
		`"displayName":"Babs","active":true,`+wandb)
	patch("create on patch", `{"op":"Add","path":"emails[type eq \"work\"].value","value":"b@acme.test"}`,
		`"displayName":"Babs","emails":[{"value":"b@acme.test","type":"work"}],"active":true,`+wandb)
	patch("unknown attributes are passed over", `{"op":"Add","path":"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department","value":"x"},{"op":"replace","path":"title","value":"Boss"},{"op":"add","path":"addresses[type eq \"work\"].locality","value":"x"},{"op":"replace","path":"roles","value":[{"value":"admin"}]}`,
		`"displayName":"Babs","emails":[{"value":"b@acme.test","type":"work"}],"active":true,`+wandb)
	vision := h.id("Groups", "vision")
	h.must(204, "PATCH", "/scim/v2/Groups/"+vision, patchBody(`{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`))
	group := strings.ReplaceAll(`"groups":[{"value":"ID","$ref":"BASE/Groups/ID","display":"vision","type":"direct"}]`, "BASE", base)
	patch("rights", `{"op":"replace","path":"`+wandbUser+`:organizationRole","value":"admin"},{"op":"replace","value":{"`+wandbUser+`:weaveRole":"viewer"}},{"op":"replace","path":"`+wandbUser+`:teamRoles[teamName eq \"vision\"].roleName","value":"admin"},{"op":"add","path":"`+wandbUser+`","value":{"registryRoles":[{"registryName":"r","roleName":"admin"}]}}`,
		`"displayName":"Babs","emails":[{"value":"b@acme.test","type":"work"}],"active":true,`+group+`,"`+wandbUser+`":{"organizationRole":"admin","modelsSeat":"full","weaveRole":"viewer","teamRoles":[{"teamName":"vision","roleName":"admin"}],"registryRoles":[{"registryName":"r","roleName":"admin"}]}`)
	golden(t, "put keeps rights that it does not mention", h.must(200, "PUT", "/scim/v2/Users/"+id, `{"schemas":["`+coreUser+`"],"userName":"BJensen","displayName":"B"}`),
		user(`"displayName":"B","active":true,`+group+`,"`+wandbUser+`":{"organizationRole":"admin","modelsSeat":"full","weaveRole":"viewer","teamRoles":[{"teamName":"vision","roleName":"admin"}],"registryRoles":[{"registryName":"r","roleName":"admin"}]}`))
	patch("roles in registries taken out", `{"op":"remove","path":"`+wandbUser+`:registryRoles"}`,
		`"displayName":"B","active":true,`+group+`,"`+wandbUser+`":{"organizationRole":"admin","modelsSeat":"full","weaveRole":"viewer","teamRoles":[{"teamName":"vision","roleName":"admin"}]}`)
	_, before, header := h.call("GET", "/scim/v2/Users/"+id, "")
	if _, after, again := h.call("PATCH", "/scim/v2/Users/"+id, patchBody(`{"op":"add","value":{"active":true,"displayName":"B"}}`)); again.Get("Etag") != header.Get("Etag") || !reflect.DeepEqual(before, after) {
		t.Errorf("a change of nothing changed %v into %v", before, after)
	}

	for _, c := range []struct{ operation, scimType string }{
		{`{"op":"replace","path":"id","value":"x"}`, "mutability"},
		{`{"op":"replace","path":"meta.created","value":"x"}`, "mutability"},
		{`{"op":"replace","path":"groups","value":[]}`, "mutability"},
		{`{"op":"replace","path":"userName","value":"root"}`, "mutability"},
		{`{"op":"remove","path":"userName"}`, "mutability"},
		{`{"op":"remove"}`, "noTarget"},
		{`{"op":"remove","path":"active"}`, "mutability"},
		{`{"op":"remove","path":"` + wandbUser + `"}`, "mutability"},
		{`{"op":"remove","path":"` + wandbUser + `:organizationRole"}`, "mutability"},
		{`{"op":"replace","path":"emails[type eq \"home\"].value","value":"x@acme.test"}`, "noTarget"},
		{`{"op":"replace","path":"emails[type eq","value":"x"}`, "invalidPath"},
		{`{"op":"replace","path":"emails[nosuch eq \"x\"]","value":"x"}`, "invalidFilter"},
		{`{"op":"replace","path":"userName[value eq \"x\"]","value":"x"}`, "invalidPath"},
		{`{"op":"add","path":"displayName"}`, "invalidValue"},
		{`{"op":"replace","path":"displayName","value":{"x":1}}`, "invalidValue"},
		{`{"op":"replace","path":"displayName","value":"` + strings.Repeat("x", 300) + `"}`, "invalidValue"},
		{`{"op":"replace","path":"` + wandbUser + `:organizationRole","value":"owner"}`, "invalidValue"},
		{`{"op":"add","path":"` + wandbUser + `:teamRoles","value":[{"teamName":"speech","roleName":"admin"}]}`, "invalidValue"},
	} {
		h.refused(400, c.scimType, "", "PATCH", "/scim/v2/Users/"+id, patchBody(c.operation))
	}
	h.refused(400, "invalidSyntax", "schemas", "PATCH", "/scim/v2/Users/"+id, `{"Operations":[{"op":"replace","value":{"active":false}}]}`)
	h.refused(400, "invalidSyntax", "schemas", "POST", "/scim/v2/Users", `{"userName":"x"}`)
	h.refused(400, "mutability", "userName", "PUT", "/scim/v2/Users/"+id, `{"schemas":["`+coreUser+`"],"userName":"root"}`)
	h.refused(404, "", "no user", "PUT", "/scim/v2/Users/usr_00000000000000000000", `{"schemas":["`+coreUser+`"],"userName":"new"}`)
	h.must(204, "DELETE", "/scim/v2/Users/"+id, "")
	h.refused(404, "", "no user", "GET", "/scim/v2/Users/"+id, "")
	h.refused(404, "", "no user", "GET", "/scim/v2/Users/12345", "")
	if left := h.must(200, "GET", "/scim/v2/Groups/"+vision, ""); strings.Contains(fmt.Sprint(left), id) {
		t.Errorf("who was deleted is still a member: %v", left)
	}
	h.refused(501, "", "cannot be deleted", "DELETE", "/scim/v2/Groups/"+vision, "")
	h.refused(501, "", "Users", "GET", "/scim/v2/Me", "")
	h.refused(401, "", "API key", "GET", "/scim/v2/Users", "", "Authorization", "")
	h.refused(403, "", "admin", "GET", "/scim/v2/Users", "", "Authorization", "Bearer "+aliceKey)
}

// names returns the user or team names of a list.
func names(list map[string]any) string {
	var found []string
	for _, r := range list["Resources"].([]any) {
		object := r.(map[string]any)
		for _, attribute := range []string{"userName", "displayName", "id"} {
			if name, ok := object[attribute].(string); ok {
				found = append(found, name)
				break
			}
		}
	}
	return strings.Join(found, " ")
}

// TestV2Lists: filters, order, pages and attributes.
func TestV2Lists(t *testing.T) {
	h := startSCIM(t)
	alice := h.id("Users", "alice")
	h.must(200, "PATCH", "/scim/v2/Users/"+alice, patchBody(`{"op":"add","path":"externalId","value":"Ext-1"},{"op":"add","path":"name","value":{"givenName":"Alice","familyName":"O'Malley"}}`))
	h.must(200, "PATCH", "/scim/v2/Users/"+h.id("Users", "vera"), patchBody(`{"op":"replace","value":{"active":false}}`))
	for filter, want := range map[string]string{
		`userName eq "ALICE"`:                                                  "alice",
		coreUser + `:userName eq "alice"`:                                      "alice",
		`userName eq "alice" and active eq true`:                               "alice",
		`userName eq "alice" and active eq "False"`:                            "",
		`userName eq "alice" or userName eq "bob"`:                             "alice bob",
		`not (userName eq "alice")`:                                            "bob root vera",
		`userName ne "alice" and (userName sw "b" or userName ew "ot")`:        "bob root",
		`userName co "o"`:                                                      "bob root",
		`userName gt "b" and userName lt "r"`:                                  "bob",
		`userName ge "bob" and userName le "root"`:                             "bob root",
		`externalId eq "Ext-1"`:                                                "alice",
		`externalId eq "ext-1"`:                                                "",
		`externalId pr`:                                                        "alice",
		`externalId eq null and userName sw "a"`:                               "",
		`emails.value eq "Bob@acme.test"`:                                      "bob",
		`emails eq "bob@acme.test"`:                                            "bob",
		`emails[type eq "work" and value co "@ACME.test"] and userName sw "a"`: "alice",
		`emails[type eq "home"]`:                                               "",
		`name.familyName co "'malley"`:                                         "alice",
		`active eq False`:                                                      "vera",
		`id eq "` + alice + `"`:                                                "alice",
		`id eq "` + strings.ToUpper(alice) + `"`:                               "",
		`groups.display eq "vision"`:                                           "alice vera",
		`groups[display eq "speech"]`:                                          "bob",
		wandbUser + `:organizationRole eq "admin"`:                             "root",
		wandbUser + `:teamRoles[roleName eq "viewer"]`:                         "vera",
		wandbUser + `:teamRoles.teamName eq "Vision"`:                          "alice vera",
		`meta.created gt "2011-05-13T04:42:34Z" and userName pr`:               "alice bob root vera",
		`meta.lastModified lt "2011-05-13T04:42:34.5+02:00"`:                   "",
		`meta.resourceType eq "User" and userName eq "bob"`:                    "bob",
		`userName eq "\u0061lice"`:                                             "alice",
		`userName eq "alice\" or userName pr or userName eq \"a"`:              "",
		`schemas eq "` + coreUser + `" and userName eq "root"`:                 "root",
		`userName sw ".*" or userName co "(" or userName ew "$"`:               "",
		`userName eq "` + strings.Repeat("a", 5000) + `"`:                      "",
		`displayName eq "alice"`:                                               "alice",
		`userName eq "alice" and (emails.value eq "x" or title2pr`:             "invalid",
		`password eq "x"`:                                                      "invalid",
		`nosuch pr`:                                                            "invalid",
		`active gt true`:                                                       "invalid",
		`active eq "yes"`:                                                      "invalid",
		`userName eq 5`:                                                        "invalid",
		`userName gt null`:                                                     "invalid",
		`name eq "x"`:                                                          "invalid",
		`meta.created co "2011"`:                                               "invalid",
		`meta.created gt "yesterday"`:                                          "invalid",
		`emails[nosuch eq "x"]`:                                                "invalid",
		wandbUser + ` pr`:                                                      "invalid",
		`1 eq 1`:                                                               "invalid",
		`userName eq "a" or "1" eq "1"`:                                        "invalid",
		strings.Repeat("(", 5000):                                              "invalid",
	} {
		path := "/scim/v2/Users?sortBy=userName&filter=" + escape(filter)
		if want == "invalid" {
			h.refused(400, "invalidFilter", "", "GET", path, "")
			continue
		}
		for _, found := range []map[string]any{
			h.must(200, "GET", path, ""),
			h.must(200, "POST", "/scim/v2/Users/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"sortBy":"userName","filter":`+jsonText(filter)+`}`),
		} {
			if got := names(found); got != want || found["totalResults"] != float64(len(strings.Fields(want))) {
				t.Errorf("%.100s finds %q of %v, want %q", filter, got, found["totalResults"], want)
			}
		}
		unsorted := h.must(200, "GET", "/scim/v2/Users?filter="+escape(filter), "")
		if unsorted["totalResults"] != float64(len(strings.Fields(want))) {
			t.Errorf("%.100s finds %v without order, want %q", filter, unsorted["totalResults"], want)
		}
	}
	for query, want := range map[string]string{
		"sortBy=userName&sortOrder=descending":      "vera root bob alice",
		"sortBy=emails&startIndex=2&count=2":        "bob root",
		"sortBy=userName&startIndex=0&count=1":      "alice",
		"sortBy=userName&startIndex=-5&count=-1":    "",
		"sortBy=userName&count=0":                   "",
		"sortBy=userName&startIndex=5":              "",
		"sortBy=userName&startIndex=4&count=100000": "vera",
		"sortBy=externalId&count=1":                 "alice", // those without a value come last

		"sortBy=active&count=1&filter=userName%20sw%20%22v%22":   "vera",
		"sortBy=" + wandbUser + ":organizationRole&count=1":      "root",
		"sortBy=userName&startIndex=9223372036854775807&count=5": "",
	} {
		found := h.must(200, "GET", "/scim/v2/Users?"+query, "")
		if got := names(found); got != want || found["itemsPerPage"] != float64(len(strings.Fields(want))) {
			t.Errorf("%s: %q, %v on the page, want %q", query, got, found["itemsPerPage"], want)
		}
		if strings.Contains(query, "filter") != (found["totalResults"] == 1.0) || !strings.Contains(query, "filter") && found["totalResults"] != 4.0 {
			t.Errorf("%s: %v in all", query, found["totalResults"])
		}
	}
	seen := map[string]bool{}
	for start := 1; start <= 4; start++ {
		page := h.must(200, "GET", fmt.Sprintf("/scim/v2/Users?startIndex=%d&count=1", start), "")
		if page["totalResults"] != 4.0 || page["startIndex"] != float64(start) || page["itemsPerPage"] != 1.0 {
			t.Errorf("page %d: %v", start, page)
		}
		seen[names(page)] = true
	}
	if len(seen) != 4 {
		t.Errorf("the pages have %v", seen)
	}
	for query, scimType := range map[string]string{"count=x": "invalidValue", "startIndex=1.5": "invalidValue", "sortBy=nosuch": "invalidValue", "sortBy=userName&sortOrder=up": "invalidValue", "filter=": "invalidFilter", "filter=%zz": "invalidSyntax"} {
		h.refused(400, scimType, "", "GET", "/scim/v2/Users?"+query, "")
	}

	rendered := func(path string) string {
		one := h.must(200, "GET", path, "")
		if list, ok := one["Resources"].([]any); ok {
			one = list[0].(map[string]any)
		}
		text, _ := json.Marshal(one)
		return strings.NewReplacer(alice, "ID").Replace(string(text))
	}
	const both = `"schemas":["` + coreUser + `","` + wandbUser + `"]`
	for query, want := range map[string]string{
		"attributes=userName":                           `{"id":"ID",` + both + `,"userName":"alice"}`,
		"attributes=USERNAME,nosuch":                    `{"id":"ID",` + both + `,"userName":"alice"}`,
		"attributes=nosuch":                             `{"id":"ID",` + both + `}`,
		"attributes=emails.value,name.familyName":       `{"emails":[{"value":"alice@acme.test"}],"id":"ID","name":{"familyName":"O'Malley"},` + both + `}`,
		"attributes=" + wandbUser + ":organizationRole": `{"id":"ID",` + both + `,"` + wandbUser + `":{"organizationRole":"member"}}`,
		"excludedAttributes=meta,groups,emails,name,active,displayName,externalId,id,schemas," + wandbUser: `{"id":"ID",` + both + `,"userName":"alice"}`,
		"attributes=" + coreUser + ":active": `{"active":true,"id":"ID",` + both + `}`,
	} {
		for _, path := range []string{"/scim/v2/Users/" + alice + "?" + query, "/scim/v2/Users?filter=userName%20eq%20%22alice%22&" + query} {
			if got := rendered(path); got != want {
				t.Errorf("%s:\n got %s\nwant %s", path, got, want)
			}
		}
	}

	for filter, want := range map[string]string{
		`displayName eq "VISION"`: "vision", `displayName sw "s"`: "speech", `members.value eq "` + alice + `"`: "vision",
		`members[value eq "` + h.id("Users", "bob") + `" and type eq "User"]`: "speech", `not (displayName pr)`: "", `displayName eq "nosuch"`: "", `externalId pr`: "",
	} {
		if got := names(h.must(200, "GET", "/scim/v2/Groups?filter="+escape(filter), "")); got != want {
			t.Errorf("%s finds %q, want %q", filter, got, want)
		}
	}
	if got := fmt.Sprint(h.must(200, "GET", "/scim/v2/Groups?excludedAttributes=members,meta&sortBy=displayName&sortOrder=descending&count=1", "")["Resources"]); strings.Contains(got, "members") || !strings.Contains(got, "vision") {
		t.Errorf("without members: %s", got)
	}
	all := h.must(200, "POST", "/scim/v2/.search", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:SearchRequest"],"filter":"meta.resourceType pr","startIndex":4,"count":2,"attributes":["displayName","userName"]}`)
	if list := all["Resources"].([]any); all["totalResults"] != 6.0 || len(list) != 2 || !strings.Contains(fmt.Sprint(list[1]), "speech") {
		t.Errorf("people and teams together: %v", all)
	}
}

func jsonText(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// TestV2Groups is a team's life by the standard, in the forms of Okta and of Entra.
func TestV2Groups(t *testing.T) {
	h := startSCIM(t)
	base := h.url + "/scim/v2"
	alice, bob, vera := h.id("Users", "alice"), h.id("Users", "bob"), h.id("Users", "vera")
	const schemas = `"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"]`
	status, made, header := h.call("POST", "/scim/v2/Groups", `{`+schemas+`,"displayName":"ml","externalId":"g-1","members":[{"value":"`+alice+`","display":"x"},{"value":"`+alice+`"}]}`)
	if status != 201 || header.Get("Location") != base+"/Groups/"+fmt.Sprint(made["id"]) {
		t.Fatalf("create: %d %v %v", status, made, header)
	}
	golden(t, "create", made, strings.ReplaceAll(`{`+schemas+`,"id":"ID","displayName":"ml","externalId":"g-1","members":[{"value":"ID","$ref":"BASE/Users/ID","type":"User"}],"meta":{"resourceType":"Group","created":"TIME","lastModified":"TIME","location":"BASE/Groups/ID","version":"VERSION"}}`, "BASE", base))
	path := "/scim/v2/Groups/" + made["id"].(string)
	who := map[string]string{alice: "alice", bob: "bob", vera: "vera"}
	members := func(want string) {
		t.Helper()
		var found []string
		list, _ := h.must(200, "GET", path, "")["members"].([]any)
		for _, m := range list {
			found = append(found, who[m.(map[string]any)["value"].(string)])
		}
		slices.Sort(found)
		if got := strings.Join(found, " "); got != want {
			t.Errorf("the members are %q, want %q", got, want)
		}
	}
	for _, c := range []struct{ operation, want string }{
		{`{"op":"Add","path":"members","value":[{"value":"` + bob + `"},{"value":"` + vera + `"}]}`, "alice bob vera"},
		{`{"op":"Remove","path":"members","value":[{"value":"` + bob + `"}]}`, "alice vera"},
		{`{"op":"Remove","path":"members[value eq \"` + vera + `\"]"}`, "alice"},
		{`{"op":"Remove","path":"members[value eq \"` + vera + `\"]"}`, "alice"},
		{`{"op":"replace","value":{"id":"x","displayName":"ML"}}`, "alice"}, // Okta repeats the name
		{`{"op":"replace","path":"members","value":[{"value":"` + vera + `"}]}`, "vera"},
		{`{"op":"replace","path":"externalId","value":"g-2"}`, "vera"},
		{`{"op":"remove","path":"members"}`, ""},
		{`{"op":"add","path":"members","value":{"value":"` + vera + `"}}`, "vera"},
	} {
		if status, body, _ := h.call("PATCH", path, patchBody(c.operation)); status != 204 || body != nil {
			t.Errorf("%s: %d %v", c.operation, status, body)
		}
		members(c.want)
	}
	if got := h.must(200, "PATCH", path+"?attributes=members.value", patchBody(`{"op":"remove","path":"members"}`)); got["members"] != nil || got["id"] == nil {
		t.Errorf("a PATCH that asks for attributes is answered %v", got)
	}
	h.must(200, "PUT", path, `{`+schemas+`,"displayName":"ml","members":[{"value":"`+alice+`"},{"value":"`+bob+`"}]}`)
	members("alice bob")
	for _, c := range []struct{ operation, scimType string }{
		{`{"op":"replace","path":"displayName","value":"other"}`, "mutability"},
		{`{"op":"add","path":"members","value":[{"value":"` + vera + `"},{"value":"bob@acme.test"}]}`, "invalidValue"},
		{`{"op":"add","path":"members","value":[{"value":"` + made["id"].(string) + `","type":"Group"}]}`, "invalidValue"},
		{`{"op":"add","path":"members","value":[{"display":"x"}]}`, "invalidValue"},
		{`{"op":"add","path":"members","value":[7]}`, "invalidValue"},
		{`{"op":"replace","path":"members[value eq \"` + vera + `\"].value","value":"` + bob + `"}`, "noTarget"},
		{`{"op":"replace","path":"members[value eq \"` + alice + `\"].value","value":"` + vera + `"}`, "mutability"},
	} {
		h.refused(400, c.scimType, "", "PATCH", path, patchBody(c.operation))
	}
	members("alice bob")
	// A team that others work in keeps its roles when an identity provider repeats its members.
	vision := "/scim/v2/Groups/" + h.id("Groups", "vision")
	h.must(200, "PUT", vision, `{`+schemas+`,"displayName":"vision","members":[{"value":"`+alice+`"},{"value":"`+bob+`"}]}`)
	if out := h.mustIAM("team", "get", "vision"); !strings.Contains(out, "alice") || strings.Contains(out, "vera") {
		t.Errorf("vision is %s", out)
	}
	if got := fmt.Sprint(h.must(200, "GET", "/scim/Users/"+alice, "")["teamRoles"]); !strings.Contains(got, "map[roleName:admin teamName:vision]") {
		t.Errorf("alice has %s", got)
	}
}

// TestV2Bulk is section 3.7 of RFC 7644, and S11.
func TestV2Bulk(t *testing.T) {
	h := startSCIM(t)
	bulk := func(fields, operations string) string {
		return `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"]` + fields + `,"Operations":[` + operations + `]}`
	}
	create := func(name string) string {
		return `{"method":"POST","path":"/Users","bulkId":"` + name + `","data":{"schemas":["` + coreUser + `"],"userName":"` + name + `"}}`
	}
	group := `{"method":"POST","path":"/Groups","bulkId":"g","data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"made","members":[{"value":"bulkId:u1"},{"value":"bulkId:u2"}]}}`
	statuses := func(answer map[string]any) string {
		var found []string
		for _, o := range answer["Operations"].([]any) {
			found = append(found, o.(map[string]any)["status"].(string))
		}
		return strings.Join(found, " ")
	}
	// The team comes before one of those who are in it; one operation fails, and the others do not.
	made := h.must(200, "POST", "/scim/v2/Bulk", bulk("", create("u1")+","+group+","+create("u2")+","+create("alice")+`,{"method":"PATCH","path":"/Users/bulkId:u2","data":`+patchBody(`{"op":"replace","path":"active","value":false}`)+`},{"method":"DELETE","path":"/Groups/`+h.id("Groups", "vision")+`"}`))
	if got := statuses(made); got != "201 201 201 409 200 501" {
		t.Errorf("the operations end in %s: %v", got, made)
	}
	if first := made["Operations"].([]any)[0].(map[string]any); first["bulkId"] != "u1" || first["method"] != "POST" || first["version"] == nil || !strings.HasPrefix(fmt.Sprint(first["location"]), h.url+"/scim/v2/Users/usr_") {
		t.Errorf("the first is answered %v", first)
	}
	if failed := made["Operations"].([]any)[3].(map[string]any); !strings.Contains(fmt.Sprint(failed["response"]), "uniqueness") {
		t.Errorf("the fourth is answered %v", failed)
	}
	if got := fmt.Sprint(h.must(200, "GET", "/scim/v2/Groups/"+h.id("Groups", "made"), "")["members"]); strings.Count(got, "usr_") != 4 { // value and $ref
		t.Errorf("the members are %s", got)
	}
	// An operation on a version that is gone changes nothing, and one on the present version does.
	alice := h.id("Users", "alice")
	version := jsonText(h.must(200, "GET", "/scim/v2/Users/"+alice, "")["meta"].(map[string]any)["version"].(string))
	rename := func(version, name string) string {
		return `{"method":"PATCH","path":"/Users/` + alice + `","version":` + version + `,"data":` + patchBody(`{"op":"replace","path":"displayName","value":"`+name+`"}`) + `}`
	}
	if got := statuses(h.must(200, "POST", "/scim/v2/Bulk", bulk("", rename(version, "first")+","+rename(version, "second")+`,{"method":"DELETE","path":"/Users/`+alice+`","version":`+version+`}`))); got != "200 412 412" {
		t.Errorf("operations on one version: %s", got)
	}
	if got := h.must(200, "GET", "/scim/v2/Users/"+alice, "")["displayName"]; got != "first" {
		t.Errorf("alice is called %v", got)
	}
	stopped := h.must(200, "POST", "/scim/v2/Bulk", bulk(`,"failOnErrors":1`, create("u1")+","+create("u3")))
	if got := statuses(stopped); got != "409" {
		t.Errorf("failOnErrors 1: %s", got)
	}
	loop := `{"method":"POST","path":"/Groups","bulkId":"a","data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"a","members":[{"value":"bulkId:b"}]}},{"method":"POST","path":"/Groups","bulkId":"b","data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"b","members":[{"value":"bulkId:a"}]}}`
	if got := statuses(h.must(200, "POST", "/scim/v2/Bulk", bulk("", loop))); got != "409 409" {
		t.Errorf("a circle of references: %s", got)
	}
	for _, body := range []string{
		bulk("", ""), bulk("", `7`), bulk("", `{"method":"GET","path":"/Users"}`), bulk("", `{"method":"POST","path":"/Users","data":{}}`), bulk("", `{"method":"POST","path":"/Bulk","bulkId":"x","data":{}}`),
		bulk("", `{"method":"PUT","path":"/Users/x"}`), bulk("", create("x")+","+create("x")), bulk(`,"failOnErrors":"x"`, create("x")), `{"Operations":[` + create("x") + `]}`,
	} {
		if status, answer, _ := h.call("POST", "/scim/v2/Bulk", body); status != 400 {
			t.Errorf("%s: %d %v", body, status, answer)
		}
	}
	h.refused(413, "", "1000", "POST", "/scim/v2/Bulk", bulk("", strings.TrimSuffix(strings.Repeat(`{},`, 10_000), ",")))
	h.refused(413, "", "4 MiB", "POST", "/scim/v2/Bulk", bulk("", strings.Repeat(" ", 5<<20)))
	h.refused(405, "", "not allowed", "GET", "/scim/v2/Bulk", "")
	if found := h.must(200, "GET", "/scim/v2/Users?filter="+escape(`userName eq "u3" or userName eq "x"`), ""); found["totalResults"] != 0.0 {
		t.Errorf("operations that were not to be carried out were: %v", found)
	}
}

// TestV2Discovery: what there is is said, and nothing else answers.
func TestV2Discovery(t *testing.T) {
	h := startSCIM(t)
	config := h.must(200, "GET", "/scim/v2/ServiceProviderConfig", "")
	for _, feature := range []string{"patch", "bulk", "filter", "sort", "etag"} {
		if config[feature].(map[string]any)["supported"] != true {
			t.Errorf("%s: %v", feature, config[feature])
		}
	}
	for _, kind := range []string{"ResourceTypes", "Schemas"} {
		all := h.must(200, "GET", "/scim/v2/"+kind, "")
		for _, one := range all["Resources"].([]any) {
			id := one.(map[string]any)["id"].(string)
			if got := h.must(200, "GET", "/scim/v2/"+kind+"/"+id, ""); !reflect.DeepEqual(got, one) {
				t.Errorf("%s %s alone is %v, in the list %v", kind, id, got, one)
			}
		}
		h.refused(404, "", "", "GET", "/scim/v2/"+kind+"/nosuch", "")
		h.refused(403, "invalidFilter", "", "GET", "/scim/v2/"+kind+"?filter=id%20pr", "")
	}
	for _, path := range []string{"/scim/v2/ServiceProviderConfig", "/scim/v2/Schemas", "/scim/v2/ResourceTypes"} {
		for _, method := range []string{"POST", "PUT", "PATCH", "DELETE"} {
			h.refused(405, "", "not allowed", method, path, map[bool]string{true: "{}"}[method != "DELETE"])
		}
	}
	for _, path := range []string{"/scim/v2", "/scim/v2/", "/scim/v2/Nothing", "/scim/v2/Roles", "/scim/v2/Users/a/b"} {
		h.refused(404, "", "", "GET", path, "")
	}
	if a := h.send("GET", "/scim/v2/ServiceProviderConfig", "", "", http.Header{}); a.status != 401 {
		t.Errorf("without a credential: %d", a.status)
	}
}

// TestSCIMRaces: of two admins who change the same on what they both saw, one wins and the other is told
// (S09), and none of many who add members at once is lost.
func TestSCIMRaces(t *testing.T) {
	h := startSCIM(t)
	group := h.must(201, "POST", "/scim/v2/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"race"}`)
	path := "/scim/v2/Groups/" + group["id"].(string)
	users := []string{h.id("Users", "alice"), h.id("Users", "bob"), h.id("Users", "vera"), h.id("Users", "root")}
	for range 10 {
		h.must(204, "PATCH", path, patchBody(`{"op":"remove","path":"members"}`))
		_, _, header := h.call("GET", path, "")
		results := make([]int, len(users))
		var all sync.WaitGroup
		for i, id := range users {
			all.Go(func() {
				a, err := h.try("PUT", path, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"race","members":[{"value":"`+id+`"}]}`,
					http.Header{"Authorization": {"Bearer " + h.admin}, "If-Match": {header.Get("Etag")}})
				if err == nil {
					results[i] = a.status
				}
			})
		}
		all.Wait()
		won := 0
		for _, status := range results {
			switch status {
			case 200:
				won++
			case 412:
			default:
				t.Errorf("one of the admins is answered %d", status)
			}
		}
		if members := h.must(200, "GET", path, "")["members"].([]any); won != 1 || len(members) != 1 {
			t.Fatalf("%d of the admins won, and the members are %v", won, members)
		}
	}
	h.must(204, "PATCH", path, patchBody(`{"op":"remove","path":"members"}`))
	var all sync.WaitGroup
	for _, id := range users {
		all.Go(func() {
			a, err := h.try("PATCH", path, patchBody(`{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`), http.Header{"Authorization": {"Bearer " + h.admin}})
			if err != nil || a.status != 204 {
				t.Errorf("adding a member: %d %v", a.status, err)
			}
		})
	}
	all.Wait()
	if members := h.must(200, "GET", path, "")["members"].([]any); len(members) != len(users) {
		t.Errorf("%d of %d are members", len(members), len(users))
	}
	// Of those who create the same person in different spellings, one does.
	var made, told atomic.Int32
	for _, name := range []string{"dora", "Dora", "DORA", "dorA", "dORA"} {
		all.Go(func() {
			a, err := h.try("POST", "/scim/v2/Users", `{"schemas":["`+coreUser+`"],"userName":"`+name+`","emails":[{"value":"`+name+`@acme.test"}]}`, http.Header{"Authorization": {"Bearer " + h.admin}})
			switch {
			case err == nil && a.status == 201:
				made.Add(1)
			case err == nil && a.status == 409 && strings.Contains(a.body, `"uniqueness"`):
				told.Add(1)
			default:
				t.Errorf("creating %s: %d %s %v", name, a.status, a.body, err)
			}
		})
	}
	all.Wait()
	if made.Load() != 1 || told.Load() != 4 {
		t.Errorf("%d were created, %d told", made.Load(), told.Load())
	}
}

// TestSCIMKeepsAdminsOut is ENV-9: who may not enter a team by joining it may not do so by SCIM either.
func TestSCIMKeepsAdminsOut(t *testing.T) {
	h := startSCIM(t)
	root, vision := h.id("Users", "root"), h.id("Groups", "vision")
	join := patchBody(`{"op":"add","path":"members","value":[{"value":"` + root + `"}]}`)
	h.stop()
	again := start(t, config{env: []string{"GORILLA_DISABLE_ADMIN_TEAM_ACCESS=true"}, upstream: h.upstream.host(), dir: h.dir})
	h.process = again
	for _, path := range []string{"/scim/Groups/", "/scim/v2/Groups/"} {
		h.refused(403, "", "cannot give themselves access", "PATCH", path+vision, join)
	}
	// A team that they make is no exception, alone or in a bulk request.
	made := `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"own","members":[{"value":"` + h.id("Users", "bob") + `"},{"value":"` + root + `"}]}`
	for _, path := range []string{"/scim/Groups", "/scim/v2/Groups"} {
		h.refused(403, "", "cannot give themselves access", "POST", path, made)
	}
	bulk := h.must(200, "POST", "/scim/v2/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[{"method":"POST","path":"/Groups","bulkId":"g","data":`+made+`}]}`)
	if got := fmt.Sprint(bulk["Operations"]); !strings.Contains(got, "status:403") {
		t.Errorf("in a bulk request: %s", got)
	}
	h.must(201, "POST", "/scim/v2/Groups", strings.Replace(made, `,{"value":"`+root+`"}`, "", 1)) // others
	h.must(204, "PATCH", "/scim/v2/Groups/"+vision, join, "Authorization", "Bearer "+h.bot)       // somebody else adds them
	// Who is in the team already gains nothing by being named again.
	h.must(204, "PATCH", "/scim/v2/Groups/"+vision, patchBody(`{"op":"add","path":"members","value":[{"value":"`+root+`"},{"value":"`+h.id("Users", "bob")+`"}]}`))
	h.must(200, "PUT", "/scim/Groups/"+vision, `{"displayName":"vision","members":[{"value":"`+root+`"}]}`)
	raise := patchBody(`{"op":"replace","path":"teamRoles","value":[{"teamName":"vision","roleName":"admin"}]}`)
	h.refused(403, "", "cannot give themselves access", "PATCH", "/scim/Users/"+root, raise)
	h.must(200, "PATCH", "/scim/Users/"+root, raise, "Authorization", "Bearer "+h.bot)
}
