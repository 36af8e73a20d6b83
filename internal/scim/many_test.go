package scim_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// everybodyInPages lists everybody in pages, and returns the ids in the order in which they came. Each page
// must be in the order of ids.
func (h *house) everybodyInPages(t *testing.T, dialect, path string, size int) (ids []string, totals []int) {
	t.Helper()
	for {
		status, body := h.call(dialect, "GET", fmt.Sprintf("%s?startIndex=%d&count=%d", path, len(ids)+1, size), "")
		var page struct {
			TotalResults int
			Resources    []struct{ ID string }
		}
		if err := json.Unmarshal([]byte(body), &page); err != nil || status != 200 {
			t.Fatalf("%d %.300s", status, body)
		}
		if len(page.Resources) == 0 {
			return ids, totals
		}
		totals = append(totals, page.TotalResults)
		last := ""
		for _, r := range page.Resources {
			if r.ID <= last {
				t.Fatalf("on the page from %d, %s comes behind %s", len(ids)+1, r.ID, last)
			}
			last = r.ID
			ids = append(ids, r.ID)
		}
	}
}

// TestManyInPagesWhileOthersChange lists people while others are changed, made and deleted (S10). Pages
// are counted from the first person, as SCIM has it: who was there all the time is missed by nobody while people
// are made, and seen by nobody twice while people are deleted.
func TestManyInPagesWhileOthersChange(t *testing.T) {
	const people = 6_000
	h := newHouse(t)
	fill(t, h.store, people)
	all, _ := h.everybodyInPages(t, "wandb", "/scim/Users", 9999)
	if len(all) != people+1 { // with root
		t.Fatalf("%d people", len(all))
	}
	victims := slices.DeleteFunc(slices.Clone(all[:1000]), func(id string) bool { return id == string(h.admin.Ref.ID) })
	list := func(meanwhile func(i int)) ([]string, []int) {
		t.Helper()
		done := make(chan struct{})
		changed := make(chan int)
		go func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					changed <- i
					return
				default:
					meanwhile(i)
				}
			}
		}()
		ids, totals := h.everybodyInPages(t, "v2", "/scim/v2/Users", 400)
		close(done)
		if n := <-changed; n < 2 {
			t.Errorf("only %d changes were made meanwhile", n)
		}
		return ids, totals
	}
	must := func(want int, method, path, body string) {
		if status, answer := h.call("v2", method, path, body); status != want {
			t.Errorf("%s %s: %d %.300s", method, path, status, answer)
		}
	}
	ids, totals := list(func(i int) {
		must(200, "PATCH", "/scim/v2/Users/"+victims[i%len(victims)], fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"displayName","value":"n%d"}]}`, i))
	})
	if !slices.Equal(ids, all) || slices.Max(totals) != len(all) || slices.Min(totals) != len(all) {
		t.Errorf("while names changed, %d of %d were listed", len(ids), len(all))
	}

	made := 0
	ids, totals = list(func(i int) {
		if i >= 1000 {
			return // or people were made faster than they are listed, and the list had no end
		}
		must(201, "POST", "/scim/v2/Users", fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":"new-%d"}`, i))
		made++
	})
	seen := map[string]int{}
	for _, id := range ids {
		seen[id]++
	}
	for _, id := range all {
		if seen[id] == 0 {
			t.Fatalf("while people were made, %s was missed", id)
		}
	}
	if !slices.IsSorted(totals) || totals[len(totals)-1] > len(all)+made {
		t.Errorf("while people were made, there were %v", totals)
	}

	deleted := 0
	ids, totals = list(func(i int) {
		if i < len(victims) {
			must(204, "DELETE", "/scim/v2/Users/"+victims[i], "")
			deleted++
		}
	})
	clear(seen)
	for _, id := range ids {
		if seen[id]++; seen[id] > 1 {
			t.Fatalf("while people were deleted, %s was listed twice", id)
		}
	}
	if missed := len(all) + made - len(ids); missed > deleted {
		t.Errorf("while %d people were deleted, %d were missed", deleted, missed)
	}
	slices.Reverse(totals)
	if !slices.IsSorted(totals) {
		t.Errorf("while people were deleted, there were %v", totals)
	}
	// Who is left is all listed when nothing changes.
	if left, _ := h.everybodyInPages(t, "wandb", "/scim/Users", 9999); len(left) != len(all)+made-deleted {
		t.Errorf("%d are left, want %d", len(left), len(all)+made-deleted)
	}
}

// TestTooManyMembers are more than one change holds: the team is not made, and one that is there
// keeps its members; as many people as one change holds are put in together with their equals, or not (S06).
func TestTooManyMembers(t *testing.T) {
	const people = 26_000
	h := newHouse(t)
	fill(t, h.store, people)
	members := func(first, last int) string {
		var b strings.Builder
		for i := first; i < last; i++ {
			fmt.Fprintf(&b, `{"value":"usr_%020x"},`, i*7919)
		}
		return strings.TrimSuffix(b.String(), ",")
	}
	group := func(members string) string {
		return `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"crowd","members":[` + members + `]}`
	}
	status, body := h.call("v2", "POST", "/scim/v2/Groups", group(members(0, people)))
	if status != 413 || !strings.Contains(body, `"status":"413"`) {
		t.Errorf("a team of %d is answered %d %.300s", people, status, body)
	}
	if status, body := h.call("v2", "GET", "/scim/v2/Groups?filter=displayName%20eq%20%22crowd%22", ""); status != 200 || !strings.Contains(body, `"totalResults":0`) {
		t.Errorf("the team that was refused: %d %.300s", status, body)
	}
	status, body = h.call("v2", "POST", "/scim/v2/Groups", group(members(0, 500)+","+members(0, 500)))
	var made struct {
		ID      string
		Members []any
	}
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != 201 || len(made.Members) != 500 {
		t.Fatalf("a team whose members are named twice: %d, %d members", status, len(made.Members))
	}
	path := "/scim/v2/Groups/" + made.ID
	before := func() string { _, body := h.call("v2", "GET", path, ""); return body }()
	var all sync.WaitGroup
	for _, request := range []struct{ method, body string }{
		{"PUT", group(members(0, people))},
		{"PATCH", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[` + members(0, people) + `]}]}`},
		{"PATCH", `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[` + members(600, 700) + `,{"value":"` + made.ID + `"}]}]}`},
	} {
		all.Go(func() {
			if status, body := h.call("v2", request.method, path, request.body); status != 413 && status != 400 {
				t.Errorf("%s with %d bytes: %d %.300s", request.method, len(request.body), status, body)
			}
		})
	}
	all.Wait()
	if _, after := h.call("v2", "GET", path, ""); after != before {
		t.Errorf("the team changed from %.200s to %.200s", before, after)
	}
}
