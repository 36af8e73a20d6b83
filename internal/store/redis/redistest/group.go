//go:build !windows

package redistest

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
)

// Cluster is several masters, each with as many replicas as asked for.
type Cluster struct {
	t     testing.TB
	Nodes []*Server
}

// StartCluster runs a Cluster of three masters.
func StartCluster(t testing.TB, replicas int, settings ...string) *Cluster {
	t.Helper()
	c := &Cluster{t: t}
	var addresses []string
	for range 3 * (1 + replicas) {
		node := Start(t, append([]string{"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 2000"}, settings...)...)
		c.Nodes = append(c.Nodes, node)
		addresses = append(addresses, node.Address)
	}
	arguments := append([]string{"--cluster", "create"}, addresses...)
	arguments = append(arguments, "--cluster-replicas", fmt.Sprint(replicas), "--cluster-yes")
	if out, err := exec.Command("redis-cli", arguments...).CombinedOutput(); err != nil {
		t.Fatalf("making a Cluster: %v\n%s", err, out)
	}
	for _, node := range c.Nodes {
		node.Await("the Cluster", func() bool { return strings.Contains(node.Do("CLUSTER", "INFO"), "cluster_state:ok") })
		node.Await("its master", func() bool {
			info := node.Do("INFO", "replication")
			return strings.Contains(info, "role:master") || strings.Contains(info, "master_link_status:up")
		})
	}
	if replicas > 0 {
		for _, node := range c.Nodes {
			node.Await("its part", func() bool {
				return strings.Count(node.Do("CLUSTER", "NODES"), "slave ") == 3*replicas
			})
		}
	}
	return c
}

// URL is its address, by all nodes.
func (c *Cluster) URL() string {
	var addresses []string
	for _, node := range c.Nodes {
		addresses = append(addresses, node.Address)
	}
	return "redis+cluster://" + strings.Join(addresses, ",")
}

// Owner returns the node that is the master of a key.
func (c *Cluster) Owner(key string) *Server {
	c.t.Helper()
	if node := c.Find(key); node != nil {
		return node
	}
	c.t.Fatalf("no node has the key %q", key)
	return nil
}

// Find is Owner while there may be none.
func (c *Cluster) Find(key string) *Server {
	for _, node := range c.Nodes {
		out, err := node.Try("GET", key)
		if err != nil || strings.Contains(out, "MOVED") || strings.Contains(out, "DOWN") {
			continue
		}
		if role, _ := node.Try("ROLE"); strings.Contains(role, "master") {
			return node
		}
	}
	return nil
}

// Group is a master with replicas, looked after by three Sentinels under the name of mymaster.
type Group struct {
	t         testing.TB
	Servers   []*Server // the first begins as master
	Sentinels []*Server
}

// StartGroup runs a master with two replicas and three Sentinels.
func StartGroup(t testing.TB, settings ...string) *Group {
	t.Helper()
	g := &Group{t: t}
	master := Start(t, settings...)
	g.Servers = []*Server{master}
	for range 2 {
		g.Servers = append(g.Servers, Start(t, append(settings, "replicaof 127.0.0.1 "+master.Port())...))
	}
	for range 3 {
		g.Sentinels = append(g.Sentinels, start(t, "redis-sentinel", FreePort(t), []string{
			"sentinel monitor mymaster 127.0.0.1 " + master.Port() + " 2",
			"sentinel down-after-milliseconds mymaster 1000",
			"sentinel failover-timeout mymaster 5000",
			"sentinel parallel-syncs mymaster 2",
		}))
	}
	for _, replica := range g.Servers[1:] {
		replica.Await("the master", func() bool { return strings.Contains(replica.Do("INFO", "replication"), "master_link_status:up") })
	}
	for _, s := range g.Sentinels {
		s.Await("the others", func() bool {
			info := s.Do("INFO", "sentinel")
			return strings.Contains(info, "slaves=2,sentinels=3")
		})
	}
	return g
}

// URL is its address, by all Sentinels.
func (g *Group) URL() string {
	var addresses []string
	for _, s := range g.Sentinels {
		addresses = append(addresses, s.Address)
	}
	return "redis+sentinel://" + strings.Join(addresses, ",") + "/mymaster"
}

// Master returns the server that the Sentinels name.
func (g *Group) Master() *Server {
	g.t.Helper()
	for _, sentinel := range g.Sentinels {
		out, _ := sentinel.Try("SENTINEL", "get-master-addr-by-name", "mymaster")
		address := strings.Join(strings.Fields(out), ":")
		for _, s := range g.Servers {
			if s.Address == address {
				return s
			}
		}
	}
	g.t.Fatal("the Sentinels name no master")
	return nil
}
