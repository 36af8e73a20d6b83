package tests

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestKilledSCIMIsWholeOrNothing: whenever kill -9 comes between the writes to a team and to its members, all of
// them are in or none is, and the team and the people agree (S09).
func TestKilledSCIMIsWholeOrNothing(t *testing.T) {
	const people = 4000
	h := startSCIM(t)
	var rows []string
	for i := range people {
		rows = append(rows, fmt.Sprintf(`{"username":"person-%d"}`, i))
	}
	file := filepath.Join(h.dir, "many.json")
	if err := os.WriteFile(file, []byte(`{"users":[`+strings.Join(rows, ",")+`]}`), 0o600); err != nil {
		t.Fatal(err)
	}
	h.mustIAM("import", file)
	crowd := h.must(201, "POST", "/scim/v2/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"crowd"}`)
	path := "/scim/v2/Groups/" + crowd["id"].(string)
	var members []string
	for start := 1; start <= people+4; start += 1000 {
		for _, one := range h.must(200, "GET", fmt.Sprintf("/scim/v2/Users?attributes=id&count=1000&startIndex=%d", start), "")["Resources"].([]any) {
			members = append(members, `{"value":"`+one.(map[string]any)["id"].(string)+`"}`)
		}
	}
	add := patchBody(`{"op":"add","path":"members","value":[` + strings.Join(members, ",") + `]}`)
	inside := func() (team, persons int) {
		list, _ := h.must(200, "GET", path, "")["members"].([]any)
		found := h.must(200, "GET", "/scim/v2/Users?count=0&filter="+escape(`groups.display eq "crowd"`), "")
		return len(list), int(found["totalResults"].(float64))
	}
	undone := 0
	// The later rounds kill later; the last one after the answer.
	for _, moment := range []time.Duration{0, 30 * time.Millisecond, 60 * time.Millisecond, 120 * time.Millisecond, time.Minute} {
		acknowledged := make(chan bool, 1)
		go func() {
			a, err := h.try("PATCH", path, add, http.Header{"Authorization": {"Bearer " + h.admin}, "Content-Type": {"application/scim+json"}})
			acknowledged <- err == nil && a.status == 204
		}()
		ok := h.killAfter(moment, acknowledged)
		h.process = start(t, config{upstream: h.upstream.host(), dir: h.dir})
		team, persons := inside()
		switch {
		case team != persons || team != 0 && team != len(members) || ok && team == 0:
			t.Fatalf("killed after %s, acknowledged %v, the team has %d members, and %d people are in it", moment, ok, team, persons)
		case team == 0:
			undone++
		}
		h.must(204, "PATCH", path, patchBody(`{"op":"remove","path":"members"}`))
	}
	if undone == 0 || undone == 5 {
		t.Errorf("%d of 5 were undone: nothing was killed in the middle, or nothing ever ends", undone)
	}
}
