package tests

import (
	"fmt"
	"strings"
	"testing"
)

// TestSpellingsAreNobody is S04 beyond case: letters that some program somewhere takes for others neither make a
// second alice nor find the first, at both doors, and attributes in such letters are no attributes.
func TestSpellingsAreNobody(t *testing.T) {
	h := startSCIM(t)
	before := h.exportedDirectory(t)
	for _, name := range []string{
		"\u00e1lice", "a\u0301lice", // á, composed and not
		"al\u0131ce", "al\u0130ce", // dotless and dotted i
		"\uff41lice",       // fullwidth a
		"\u0430lice",       // Cyrillic а
		"a\u200blice",      // zero width space
		"alice\u00a0",      // no-break space
		"alice ", " alice", // blanks
		"alice\u0000", "alice\n",
		"ali\u0421e", "\u202ealice",
	} {
		for _, path := range []string{"/scim/Users", "/scim/v2/Users"} {
			h.refused(400, "invalidValue", "", "POST", path, fmt.Sprintf(`{"schemas":[%q],"userName":%s,"emails":[{"value":"new@acme.test"}]}`, coreUser, jsonText(name)))
			h.refused(400, "invalidValue", "", "POST", path, fmt.Sprintf(`{"schemas":[%q],"userName":"new","emails":[{"value":%s}]}`, coreUser, jsonText(name+"@acme.test")))
			for _, filter := range []string{"userName eq " + jsonText(name), "emails.value eq " + jsonText(name+"@acme.test")} {
				if strings.ContainsAny(name, "\x00\n") {
					continue // the filter's grammar has them escaped, and escape() does not
				}
				status, found, _ := h.call("GET", path+"?filter="+percent(filter), "")
				if status == 200 && found["totalResults"] != 0.0 || status != 200 && status != 400 {
					t.Errorf("%q at %s finds %d %v", filter, path, status, found)
				}
			}
		}
		h.refused(400, "invalidValue", "", "POST", "/scim/Groups", `{"displayName":`+jsonText(strings.Replace(name, "alice", "vision", 1))+`,"members":[]}`)
	}
	// ſ and K fold into s and k by Unicode's rules, by which JSON readers often go.
	made := h.must(201, "POST", "/scim/Users", `{"u`+"\u017f"+`erName":"root","userName":"eve","emails":[{"value":"eve@acme.test"}],"organizationRole":"member","organi`+"z\u0061tionRole\u212a"+`":"admin"}`)
	if made["userName"] != "eve" || made["organizationRole"] != "member" {
		t.Errorf("eve is %v", made)
	}
	h.must(204, "DELETE", "/scim/Users/"+made["id"].(string), "")
	if after := h.exportedDirectory(t); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
}

// percent writes every byte of a text so that it is one value of a query.
func percent(text string) string {
	var b strings.Builder
	for _, c := range []byte(text) {
		fmt.Fprintf(&b, "%%%02X", c)
	}
	return b.String()
}

// TestServiceAccountsAreNoUsers is SA-8 and SCIM-32: what SCIM does to people it does to no service account,
// whatever it is called by.
func TestServiceAccountsAreNoUsers(t *testing.T) {
	h := startSCIM(t)
	team := h.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil)
	ciVision := strings.TrimPrefix(accountRef(t, memberOf(t, team, "ci-vision").ID), "service_account:")
	if !strings.HasPrefix(ciVision, "sa_") {
		t.Fatalf("the account's id is %q", ciVision)
	}
	before := h.exportedDirectory(t)
	for _, path := range []string{"/scim/Users", "/scim/v2/Users"} {
		for _, id := range []string{ciVision, "ci-vision", "org-bot", "service_account:" + ciVision, "usr_" + strings.TrimPrefix(ciVision, "sa_")} {
			h.refused(404, "", "", "GET", path+"/"+id, "")
			h.refused(404, "", "", "PATCH", path+"/"+id, patchBody(`{"op":"replace","path":"active","value":false}`))
			h.refused(404, "", "", "PUT", path+"/"+id, `{"schemas":["`+coreUser+`"],"userName":"ci-vision"}`)
			h.refused(404, "", "", "DELETE", path+"/"+id, "")
			h.refused(400, "invalidValue", "", "PATCH", strings.Replace(path, "Users", "Groups", 1)+"/"+h.id("Groups", "vision"), patchBody(`{"op":"add","path":"members","value":[{"value":"`+id+`"}]}`))
		}
		for _, name := range []string{"ci-vision", "org-bot"} {
			if found := h.must(200, "GET", path+"?filter="+escape(`userName eq "`+name+`"`), ""); found["totalResults"] != 0.0 {
				t.Errorf("%s finds %v", name, found)
			}
		}
	}
	if after := h.exportedDirectory(t); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
}
