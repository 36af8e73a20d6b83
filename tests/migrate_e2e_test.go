//go:build e2e

package tests

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

// TestMigrateRealRedis moves to a real server and back.
func TestMigrateRealRedis(t *testing.T) {
	testMigrate(t, "redis redis://"+redistest.Start(t).Address+"/0")
}

// TestMigrateCluster moves to a Cluster and back.
func TestMigrateCluster(t *testing.T) {
	cluster := redistest.StartCluster(t, 0)
	testMigrate(t, "redis "+cluster.URL())
}

// TestMigrateFullRedis: a server without memory for all of it ends the move with code 2; with memory it
// goes on.
func TestMigrateFullRedis(t *testing.T) {
	server := redistest.Start(t, "maxmemory-policy noeviction")
	c := config{upstream: newRecorder(t).host()}
	p := start(t, c)
	p.importFile(acme)
	p.importFile(manyUsers(5000))
	exported := p.mustIAM("export")
	p.stop()
	shared := withKey(c)
	shared.store = "redis redis://" + server.Address
	var used int
	if _, err := fmt.Sscanf(infoLine(server, "used_memory:"), "used_memory:%d", &used); err != nil {
		t.Fatal(err)
	}
	server.Do("CONFIG", "SET", "maxmemory", fmt.Sprint(used+1<<20))
	out, err := migrate(t, p.dir, c, shared)
	if exitCode(err) != 2 || !strings.Contains(out, "OOM") || !strings.Contains(out, "run the same command again") {
		t.Fatalf("without memory: %v\n%s", err, out)
	}
	server.Do("CONFIG", "SET", "maxmemory", "0")
	shared.dir = p.dir
	half := launch(t, shared)
	if code := half.exit(30 * time.Second); code == 0 || !strings.Contains(half.logs.String(), "holds only a part") {
		t.Errorf("on half a store a gateway ends with %d\n%s", code, half.logs)
	}
	if out, err = migrate(t, p.dir, c, shared); err != nil {
		t.Fatalf("with memory: %v\n%s", err, out)
	}
	again := start(t, shared)
	if got := again.mustIAM("export"); got != exported {
		t.Error("the export is another one")
	}
	if a := again.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key gets %d %s", a.status, a.body)
	}
}

// infoLine is the line of INFO that begins so.
func infoLine(server *redistest.Server, prefix string) string {
	for line := range strings.Lines(server.Do("INFO")) {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}
