//go:build e2e

package tests

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

// TestSCIMFleet: what is provisioned at one gateway holds at the other, and admins at two gateways meet as
// they would at one (S07, S09).
func TestSCIMFleet(t *testing.T) {
	server := redistest.Start(t)
	upstream := newRecorder(t)
	fleet := startFleet(t, config{upstream: upstream.host()}, "redis://"+server.Address, "redis://"+server.Address)
	fleet[0].importFile(acme)
	key, _ := fleet[0].mintKey("root")
	a, b := scimHouse{process: fleet[0], upstream: upstream, admin: key}, scimHouse{process: fleet[1], upstream: upstream, admin: key}
	await(t, "the admin's key at both", 15*time.Second, func() bool {
		one, err := b.try("GET", "/scim/Users", "", http.Header{"Authorization": {"Bearer " + key}})
		return err == nil && one.status == 200
	})
	alice := a.id("Users", "alice")
	works := func(what string, want int) {
		t.Helper()
		await(t, what, 15*time.Second, func() bool { return b.stream("vision/team", aliceKey).status == want })
		for range 3 {
			if got := b.stream("vision/team", aliceKey); got.status != want {
				t.Errorf("%s: alice's key gets %d %s, want %d", what, got.status, got.body, want)
			}
		}
	}
	total := func(want int) {
		t.Helper()
		await(t, fmt.Sprintf("%d people at both", want), 15*time.Second, func() bool {
			return a.must(200, "GET", "/scim/v2/Users?count=1", "")["totalResults"] == float64(want) && b.must(200, "GET", "/scim/v2/Users?count=1", "")["totalResults"] == float64(want)
		})
	}
	works("at first", 200)
	a.must(200, "PATCH", "/scim/v2/Users/"+alice, patchBody(`{"op":"replace","path":"active","value":false}`))
	works("deactivated", 401)
	a.must(200, "PATCH", "/scim/v2/Users/"+alice, patchBody(`{"op":"replace","path":"active","value":true}`))
	works("reactivated", 200)
	total(4)
	made := b.must(201, "POST", "/scim/v2/Users", `{"schemas":["`+coreUser+`"],"userName":"dora"}`)
	total(5)
	a.must(204, "DELETE", "/scim/v2/Users/"+made["id"].(string), "")
	total(4)

	path := "/scim/v2/Groups/" + a.id("Groups", "vision")
	people := []string{alice, a.id("Users", "bob"), a.id("Users", "vera"), a.id("Users", "root")}
	for range 10 {
		_, _, header := a.call("GET", path, "")
		results := make([]int, len(people))
		var all sync.WaitGroup
		for i, id := range people {
			all.Go(func() {
				one, err := []scimHouse{a, b}[i%2].try("PUT", path, `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"vision","externalId":"`+fmt.Sprint(time.Now().UnixNano())+`","members":[{"value":"`+id+`"}]}`,
					http.Header{"Authorization": {"Bearer " + key}, "If-Match": {header.Get("Etag")}})
				if err == nil {
					results[i] = one.status
				}
			})
		}
		all.Wait()
		won := 0
		for _, status := range results {
			if status == 200 {
				won++
			} else if status != 412 {
				t.Errorf("an admin is answered %d", status)
			}
		}
		if members := b.must(200, "GET", path, "")["members"].([]any); won != 1 || len(members) != 1 {
			t.Fatalf("%d admins won, and the members are %v", won, members)
		}
	}
}
