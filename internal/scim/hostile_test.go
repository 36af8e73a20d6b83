package scim_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
	"github.com/wandb-gateway/wandb-gateway/internal/scim"
)

// call sends a request to a dialect and returns the status and the body.
func (h *house) call(dialect string, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, "http://acme.test"+path, strings.NewReader(body))
	var err error
	switch dialect {
	case "v2":
		err = scim.V2{Service: h.service}.ServeCaller(w, r, h.admin)
	default:
		err = scim.Dialect{Service: h.service}.ServeCaller(w, r, h.admin)
	}
	if err != nil {
		problem.From(err).WriteSCIM(w)
	}
	return w.Code, w.Body.String()
}

func (h *house) create(t testing.TB, name string) string {
	t.Helper()
	status, body := h.call("v2", "POST", "/scim/v2/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+name+`"}`)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != 201 {
		t.Fatal(status, body)
	}
	return made.ID
}

// FuzzPatch: whatever a PATCH holds, it never fails inside, never changes who a person is, and gives
// rights only where rights stand (S02).
func FuzzPatch(f *testing.F) {
	for _, operations := range []string{
		`{"op":"replace","value":{"active":false}}`,
		`{"op":"Add","path":"emails[type eq \"work\"].value","value":"x@acme.test"}`,
		`{"op":"remove","path":"name.familyName"}`,
		`{"op":"replace","path":"emails","value":[{"value":"a@b.c"},{"value":"d@e.f","primary":true}]}`,
		`{"op":"add","value":{"name.givenName":"x","roles":[{"value":"admin"}],"organizationRole":"admin"}}`,
		`{"op":"add","path":"urn:wandb:params:scim:schemas:extension:2.0:User:registryRoles","value":{"registryName":"a","roleName":"b"}}`,
		`{"op":"remove","path":"emails[value pr and not (type eq \"x\")]"}`,
		`{"op":"replace","path":"teamRoles","value":[{"teamName":"a","roleName":"b"}]}`,
		`{"op":"add","path":"members","value":[{"value":"usr_00"}]}`,
		`{"op":"replace","path":"name","value":null},{"op":"add","path":"name","value":{"givenName":["x"]}}`,
	} {
		f.Add(operations)
	}
	h := newHouse(f)
	n := 0
	f.Fuzz(func(t *testing.T, operations string) {
		n++
		id := h.create(t, fmt.Sprintf("eve-%d", n))
		body := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[` + operations + `]}`
		for _, door := range []string{"v2", "wandb"} {
			path := map[string]string{"v2": "/scim/v2/Users/", "wandb": "/scim/Users/"}[door] + id
			status, answer := h.call(door, "PATCH", path, body)
			switch status {
			case 200, 400, 409, 413:
			default:
				t.Fatalf("%s: %d %s", operations, status, answer)
			}
			if !json.Valid([]byte(answer)) {
				t.Fatalf("%s: %d %s is no JSON", operations, status, answer)
			}
		}
		status, answer := h.call("v2", "GET", "/scim/v2/Users/"+id, "")
		var u map[string]any
		if err := json.Unmarshal([]byte(answer), &u); err != nil || status != 200 {
			t.Fatal(status, answer)
		}
		if u["id"] != id || u["userName"] != fmt.Sprintf("eve-%d", n) {
			t.Fatalf("%s changed who the person is: %s", operations, answer)
		}
		role := u["urn:wandb:params:scim:schemas:extension:2.0:User"].(map[string]any)["organizationRole"]
		if role != "member" && !strings.Contains(strings.ToLower(operations), "organizationrole") && !strings.Contains(operations, `\u`) {
			t.Fatalf("%s made the person %v: %s", operations, role, answer)
		}
		if status, answer := h.call("v2", "DELETE", "/scim/v2/Users/"+id, ""); status != 204 {
			t.Fatal(status, answer)
		}
	})
}

// TestStoreAway: what cannot be read or written is unavailable, never a no (and never half done).
func TestStoreAway(t *testing.T) {
	h := newHouse(t)
	id := h.create(t, "eve")
	if err := h.store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ method, path, body string }{
		{"GET", "/scim/v2/Users", ""}, {"GET", "/scim/v2/Users/" + id, ""}, {"GET", "/scim/v2/Groups", ""}, {"DELETE", "/scim/v2/Users/" + id, ""},
		{"PATCH", "/scim/v2/Users/" + id, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}`},
		{"POST", "/scim/v2/Users", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"x"}`},
		{"GET", "/scim/v2/Users?filter=displayName%20pr", ""}, {"GET", "/scim/v2/Users?filter=externalId%20eq%20%22x%22", ""},
	} {
		status, body := h.call("v2", c.method, c.path, c.body)
		if status != http.StatusServiceUnavailable || !strings.Contains(body, `"status":"503"`) || strings.Contains(body, "bbolt") || strings.Contains(body, "closed") {
			t.Errorf("%s %s: %d %s", c.method, c.path, status, body)
		}
	}
}

// TestImportByBulk: ten thousand people come in bulk requests, are counted, and those who come again are told.
func TestImportByBulk(t *testing.T) {
	h := newHouse(t)
	const requests, each = 100, 100
	for _, requests := range []int{requests, 1} {
		for r := range requests {
			var operations []string
			for i := range each {
				operations = append(operations, fmt.Sprintf(`{"method":"POST","path":"/Users","bulkId":"b%d","data":{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"user-%d-%d","emails":[{"value":"user-%d-%d@acme.test"}]}}`, i, r, i, r, i))
			}
			status, body := h.call("v2", "POST", "/scim/v2/Bulk", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[`+strings.Join(operations, ",")+`]}`)
			if status != 200 || strings.Count(body, `"status":"201"`)+strings.Count(body, `"method":"POST","response"`) != each {
				t.Fatalf("%d %.500s", status, body)
			}
		}
	}
	if got := h.get(t, "Users?count=1"); got != requests*each+1 {
		t.Errorf("%d people, want %d", got, requests*each+1)
	}
	if len(h.events) != requests*each {
		t.Errorf("%d events, want one for each who was created", len(h.events))
	}
	for _, e := range h.events {
		if u, ok := e.After.(*iam.User); e.Action != "user:create" || e.Before != nil || !ok || string(u.ID) != e.Target || e.Principal.Username != "root" {
			t.Fatalf("an event is %+v", e)
		}
	}
}

// TestLargeGroups: a team of two thousand is changed by one, and as a whole; one that is too large for
// one change is refused whole (S06).
func TestLargeGroups(t *testing.T) {
	h := newHouse(t)
	const most = 2_000
	fill(t, h.store, most)
	member := func(i int) string { return fmt.Sprintf(`{"value":"usr_%020x"}`, i*7919) }
	var members []string
	for i := range most {
		members = append(members, member(i))
	}
	status, body := h.call("v2", "POST", "/scim/v2/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"all","members":[`+strings.Join(members, ",")+`]}`)
	var group struct {
		ID      string
		Members []any
	}
	if err := json.Unmarshal([]byte(body), &group); err != nil || status != 201 || len(group.Members) != most {
		t.Fatalf("%d %.300s", status, body)
	}
	path := "/scim/v2/Groups/" + group.ID
	patch := func(operations string) (int, string) {
		return h.call("v2", "PATCH", path, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[`+operations+`]}`)
	}
	count := func(want int) {
		t.Helper()
		_, body := h.call("v2", "GET", path, "")
		if got := strings.Count(body, `"value"`); got != want {
			t.Errorf("%d members, want %d", got, want)
		}
	}
	if status, body := patch(`{"op":"remove","path":"members[value eq \"usr_00000000000000000000\"]"}`); status != 204 {
		t.Errorf("removing one: %d %.300s", status, body)
	}
	count(most - 1)
	if status, body := patch(`{"op":"add","path":"members","value":[` + strings.Join(members, ",") + `]}`); status != 204 { // one of them is new
		t.Errorf("adding all: %d %.300s", status, body)
	}
	count(most)
	if status, body := patch(`{"op":"add","path":"members","value":[` + member(0) + `,{"value":"usr_ffffffffffffffffffff"}]}`); status != 400 {
		t.Errorf("adding nobody: %d %.300s", status, body)
	}
	count(most)
	if status, body := patch(`{"op":"remove","path":"members"}`); status != 204 {
		t.Errorf("removing all: %d %.300s", status, body)
	}
	count(0)
	unknown := strings.TrimSuffix(strings.Repeat(`{"value":"usr_ffffffffffffffffffff"},`, 90_000), ",")
	if status, body := patch(`{"op":"add","path":"members","value":[` + unknown + `]}`); status != 400 && status != 413 {
		t.Errorf("adding 90,000 of nobody: %d %.300s", status, body)
	}
	count(0)
}
