package tests

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
)

// scimPatch is a PATCH of one operation.
const scimPatch = `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[%s]}`

// scim sends a request to a SCIM door.
func (p *process) scim(method, path, key, body string) answer {
	p.t.Helper()
	h := http.Header{}
	if body != "" {
		h.Set("Content-Type", "application/scim+json")
	}
	return p.send(method, path, key, body, h)
}

// scimUser is a person's id there.
func (p *process) scimUser(t *testing.T, name string) string {
	t.Helper()
	got := p.scim(http.MethodGet, `/scim/v2/Users?filter=userName%20eq%20"`+name+`"`, rootKey, "")
	return between(t, got.body, `"id":"`, `"`)
}

// TestLastAdminAtEveryDoor: no door lets the last admin go (ORG-9, S08).
func TestLastAdminAtEveryDoor(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	id := h.scimUser(t, "root")
	for name, refused := range map[string]func() (string, bool){
		"demoted by command":     h.refusedCommand("user", "set", "root", "--role", "member"),
		"made viewer by command": h.refusedCommand("user", "set", "root", "--role", "viewer"),
		"deactivated by command": h.refusedCommand("user", "set", "root", "--active=false"),
		"deleted by command":     h.refusedCommand("user", "delete", "root"),
		"demoted by file":        h.refusedImport(`{"users":[{"username":"root","role":"member"}]}`),
		"deactivated by file":    h.refusedImport(`{"users":[{"username":"root","active":false}]}`),
		"pruned":                 h.refusedImport(`{"users":[{"username":"alice"}]}`, "--prune"),
		"deactivated by SCIM":    h.refusedSCIM(http.MethodPatch, "/scim/v2/Users/"+id, fmt.Sprintf(scimPatch, `{"op":"replace","path":"active","value":false}`)),
		"deactivated by Entra":   h.refusedSCIM(http.MethodPatch, "/scim/v2/Users/"+id, fmt.Sprintf(scimPatch, `{"op":"Replace","value":{"active":"False"}}`)),
		"replaced by SCIM":       h.refusedSCIM(http.MethodPut, "/scim/v2/Users/"+id, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"root","emails":[{"value":"root@acme.test"}],"active":false}`),
		"deleted by SCIM":        h.refusedSCIM(http.MethodDelete, "/scim/v2/Users/"+id, ""),
		"deleted by W&B's SCIM":  h.refusedSCIM(http.MethodDelete, "/scim/Users/"+id, ""),
		"demoted by W&B's SCIM":  h.refusedSCIM(http.MethodPatch, "/scim/Users/"+id, fmt.Sprintf(scimPatch, `{"op":"replace","path":"organizationRole","value":"member"}`)),
		"deleted in bulk": func() (string, bool) {
			got := h.scim(http.MethodPost, "/scim/v2/Bulk", rootKey, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:BulkRequest"],"Operations":[{"method":"DELETE","path":"/Users/`+id+`"}]}`)
			return got.body, got.status == http.StatusOK && !strings.Contains(got.body, `"204"`)
		},
	} {
		text, ok := refused()
		if !ok || !strings.Contains(text, "without an active admin") {
			t.Errorf("%s: %s", name, text)
		}
	}
	if got := h.graphQL(rootKey, `{users(query:"root"){edges{node{username admin}}}}`, nil, nil); !strings.Contains(got.body, `"admin":true`) {
		t.Errorf("%d %s", got.status, got.body)
	}
}

// TestBillingAdminAtEveryDoor: nor does any let a billing admin go who has others to pay for (ORG-7, ORG-8).
func TestBillingAdminAtEveryDoor(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	h.mustIAM("user", "set", "alice", "--billing-admin")
	if out := h.mustIAM("user", "get", "alice"); !strings.Contains(out, "BILLING_ADMIN") || !strings.Contains(out, "true") {
		t.Error(out)
	}
	id := h.scimUser(t, "alice")
	for name, refused := range map[string]func() (string, bool){
		"deleted by command":    h.refusedCommand("user", "delete", "alice"),
		"pruned":                h.refusedImport(`{"users":[{"username":"root"}]}`, "--prune"),
		"deleted by SCIM":       h.refusedSCIM(http.MethodDelete, "/scim/v2/Users/"+id, ""),
		"deleted by W&B's SCIM": h.refusedSCIM(http.MethodDelete, "/scim/Users/"+id, ""),
	} {
		text, ok := refused()
		if !ok || !strings.Contains(text, "alice is billing admin of an organization with other members") {
			t.Errorf("%s: %s", name, text)
		}
	}
	// It is no role: it administers nothing (ORG-7), and access can be ended.
	if got := h.graphQL(aliceKey, docCreateUser, given{"email": "x@acme.test"}, nil); got.reason() != "organization_admin_required" {
		t.Errorf("%d %s", got.status, got.body)
	}
	h.mustIAM("user", "set", "alice", "--active=false")
	h.mustIAM("user", "set", "victor", "--billing-admin")
	h.mustIAM("user", "set", "alice", "--billing-admin=false")
	h.mustIAM("user", "delete", "alice")
	h.importText(`{"users":[{"username":"root","billing_admin":true},{"username":"victor","billing_admin":false}]}`)
	h.mustIAM("user", "delete", "victor")
}

// TestAdminsDemoteEachOther: of two admins who demote or deactivate each other at the same moment, one wins and the
// other is told why not (ORG-9, S09).
func TestAdminsDemoteEachOther(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	for round := range 8 {
		var keys, ids [2]string
		for i := range keys {
			name := fmt.Sprintf("admin-%d-%d", round, i)
			h.mustIAM("user", "create", name, "--role", "admin")
			keys[i] = strings.TrimSpace(h.mustIAM("key", "create", "--owner", name, "--name", "k"))
			ids[i] = h.scimUser(t, name)
		}
		h.mustIAM("user", "set", "root", "--role", "member")
		operation := []string{`{"op":"replace","path":"organizationRole","value":"member"}`, `{"op":"replace","path":"active","value":false}`}[round%2]
		var answers [2]answer
		var both sync.WaitGroup
		for i := range keys {
			both.Go(func() {
				answers[i] = h.scim(http.MethodPatch, "/scim/Users/"+ids[1-i], keys[i], fmt.Sprintf(scimPatch, operation))
			})
		}
		both.Wait()
		won := slices.IndexFunc(answers[:], func(a answer) bool { return a.status == http.StatusOK })
		if won < 0 || answers[1-won].status == http.StatusOK {
			t.Fatalf("round %d: %d %s, %d %s", round, answers[0].status, answers[0].body, answers[1].status, answers[1].body)
		}
		lost := answers[1-won]
		told := strings.Contains(lost.body, "without an active admin") || strings.Contains(lost.body, "is not an admin of the organization") || strings.Contains(lost.body, "is deactivated")
		if !told || lost.status < 400 || lost.status >= 500 {
			t.Errorf("round %d: the other is told %d %s", round, lost.status, lost.body)
		}
		h.mustIAM("user", "set", "root", "--role", "admin")
		for i := range keys {
			h.mustIAM("user", "delete", fmt.Sprintf("admin-%d-%d", round, i))
		}
	}
}

// TestDemotionEndsWhatIsUnderway: once a demotion is acknowledged, nothing of the demoted admin's is done any more,
// at neither door (Z05).
func TestDemotionEndsWhatIsUnderway(t *testing.T) {
	t.Parallel()
	h := startHouse(t, config{})
	people := func() string {
		t.Helper()
		return between(t, h.scim(http.MethodGet, "/scim/v2/Users?count=0", rootKey, "").body, `"totalResults":`, ",")
	}
	for round := range 4 {
		admin := fmt.Sprint("admin", round)
		h.mustIAM("user", "create", admin, "--role", "admin")
		key := strings.TrimSpace(h.mustIAM("key", "create", "--owner", admin, "--name", "k"))
		id := h.scimUser(t, admin)
		begun := make(chan struct{}, 12*200)
		var all sync.WaitGroup
		for w := range 12 {
			all.Go(func() {
				for i := range 200 {
					name := fmt.Sprintf("made-%d-%d-%d", round, w, i)
					var got answer
					if w%2 == 0 {
						got = h.graphQL(key, docCreateUser, given{"email": name + "@acme.test"}, nil)
					} else {
						got = h.scim(http.MethodPost, "/scim/v2/Users", key, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"`+name+`"}`)
					}
					begun <- struct{}{}
					if got.status >= 400 {
						if got.status != http.StatusForbidden {
							t.Errorf("%d %s", got.status, got.body)
						}
						return
					}
				}
			})
		}
		for range 36 {
			<-begun
		}
		if got := h.scim(http.MethodPatch, "/scim/Users/"+id, rootKey, fmt.Sprintf(scimPatch, `{"op":"replace","path":"organizationRole","value":"member"}`)); got.status != http.StatusOK {
			t.Fatalf("%d %s", got.status, got.body)
		}
		then := people()
		all.Wait()
		if now := people(); now != then {
			t.Errorf("round %d: %s people when the demotion was acknowledged, %s later", round, then, now)
		}
	}
}

// refusedCommand is a command that must be refused.
func (h house) refusedCommand(args ...string) func() (string, bool) {
	return func() (string, bool) {
		out, err := h.iam("", args...)
		return fmt.Sprint(out, err), err != nil
	}
}

// refusedImport is a file that must be refused.
func (h house) refusedImport(contents string, args ...string) func() (string, bool) {
	return func() (string, bool) {
		out, err := h.iam(contents, append([]string{"import", "-"}, args...)...)
		return fmt.Sprint(out, err), err != nil
	}
}

// refusedSCIM is a request of the organization's admin that must be refused.
func (h house) refusedSCIM(method, path, body string) func() (string, bool) {
	return func() (string, bool) {
		got := h.scim(method, path, rootKey, body)
		return fmt.Sprint(got.status, " ", got.body), got.status >= 400 && got.status < 500
	}
}
