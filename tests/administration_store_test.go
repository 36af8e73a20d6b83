package tests

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// TestAdministrationOnTwoGateways: what is administered at one gateway counts at the other, a new key may be
// read at either, and two admins who meet at different gateways meet all the same (Z13).
func TestAdministrationOnTwoGateways(t *testing.T) {
	server := miniredis.RunT(t)
	c := config{upstream: newRecorder(t).host(), env: []string{sharedMasterKey}, store: "redis redis://" + server.Addr() + "/0"}
	one, other := launch(t, c), launch(t, c)
	one.awaitReady()
	other.awaitReady()
	one.importFile(hostile)

	if got := one.graphQL(aliceKey, docAccount, given{"entity": "vision", "description": "bot"}, nil); got.status != http.StatusOK || got.reason() != "" {
		t.Fatalf("answered %d %s", got.status, got.body)
	}
	mustShowOneKey(t, one, other, one, other)

	var all sync.WaitGroup
	for i := range 10 {
		email := fmt.Sprintf("racer-%d@acme.test", i)
		reasons := make([]string, 2)
		for n, p := range []*process{one, other} {
			all.Go(func() { reasons[n] = p.graphQL(rootKey, docCreateUser, given{"email": email}, nil).reason() })
		}
		all.Wait()
		if got := strings.Join(reasons, ""); got != "taken" {
			t.Errorf("two admins are told %q", reasons)
		}
		name, _, _ := strings.Cut(email, "@")
		one.graphQL(aliceKey, docInvite, given{"entity": "vision", "username": name}, nil)
		other.await("the other gateway to know of the member", 30*time.Second, func() bool {
			return strings.Contains(other.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil).body, email)
		})
	}

	// While the store fails nothing is acknowledged and nobody is told no; afterwards nothing is half done.
	before := one.exportedDirectory(t)
	server.SetError("LOADING Redis is loading the dataset in memory")
	for name, ask := range map[string]func() answer{
		"user": func() answer { return one.graphQL(rootKey, docCreateUser, given{"email": "late@acme.test"}, nil) },
		"team": func() answer { return one.graphQL(rootKey, docCreateTeam, given{"teamName": "late"}, nil) },
		"invite": func() answer {
			return one.graphQL(aliceKey, docInvite, given{"entity": "vision", "username": "mallory"}, nil)
		},
		"account": func() answer {
			return one.graphQL(aliceKey, docAccount, given{"entity": "vision", "description": "late"}, nil)
		},
		"key":     func() answer { return one.graphQL(victorKey, docKey, given{"description": "late"}, nil) },
		"users":   func() answer { return one.graphQL(rootKey, docUsers, given{"query": "late"}, nil) },
		"members": func() answer { return one.graphQL(aliceKey, docTeam, given{"name": "vision"}, nil) },
	} {
		if got := ask(); got.status != http.StatusServiceUnavailable || got.header.Get("Retry-After") == "" {
			t.Errorf("%s: answered %d %s", name, got.status, got.body)
		}
	}
	// Who calls is known from before, for a while; which keys they have is not.
	if got := one.graphQL(victorKey, docViewer, nil, nil); got.status != http.StatusServiceUnavailable && !strings.Contains(got.body, `"apiKeys":null`) {
		t.Errorf("victor is answered %d %s", got.status, got.body)
	}
	server.SetError("")
	one.await("the store to be back", 60*time.Second, func() bool {
		return one.graphQL(victorKey, `{viewer{username}}`, nil, nil).status == http.StatusOK
	})
	if after := one.exportedDirectory(t); after != before {
		t.Errorf("the directory was\n%s\nand is\n%s", before, after)
	}
	if n := len(keyIDs(t, one.graphQL(victorKey, docViewer, nil, nil))); n != 1 {
		t.Errorf("victor has %d keys", n)
	}
}
