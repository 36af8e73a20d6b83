//go:build e2e

package redis

import (
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
	"github.com/wandb-gateway/wandb-gateway/internal/store/storetest"
)

// TestConformanceReal runs the suite on real servers, unchanged. Each store gets a server emptied of
// the one before.
func TestConformanceReal(t *testing.T) {
	t.Run("one server", func(t *testing.T) {
		server := redistest.Start(t)
		storetest.Run(t, func(t testing.TB) store.Store {
			server.Do("FLUSHALL")
			return open(t, Config{URL: "redis://" + server.Address + "/0"})
		})
	})
	t.Run("sentinel", func(t *testing.T) {
		group := redistest.StartGroup(t)
		storetest.Run(t, func(t testing.TB) store.Store {
			group.Master().Do("FLUSHALL")
			return open(t, Config{URL: group.URL()})
		})
	})
	t.Run("cluster", func(t *testing.T) {
		nodes := redistest.StartCluster(t, 0)
		storetest.Run(t, func(t testing.TB) store.Store {
			for _, node := range nodes.Nodes {
				node.Do("FLUSHALL")
			}
			return open(t, Config{URL: nodes.URL()})
		})
	})
	t.Run("cluster, found through one node", func(t *testing.T) {
		nodes := redistest.StartCluster(t, 0)
		s := open(t, Config{URL: "redis://" + nodes.Nodes[1].Address})
		if s.Address().kind != cluster {
			t.Fatalf("it is taken for a server of kind %d", s.Address().kind)
		}
		for _, space := range []string{"a", "b", "c", "d", "e"} {
			if _, err := s.Commit(t.Context(), store.Write{Key: space + "/x", Value: []byte("1")}); err != nil {
				t.Errorf("space %s: %v", space, err)
			}
		}
		if all, err := s.List(t.Context(), "", "", 0); err != nil || len(all) != 5 {
			t.Errorf("listing all spaces: %v, %v", all, err)
		}
	})
}
