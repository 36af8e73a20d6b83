//go:build e2e

package tests

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// toxiproxyVersion is the release of github.com/Shopify/toxiproxy that stands between a gateway and Redis.
const toxiproxyVersion = "v2.5.0"

// toxiproxyInstall builds toxiproxy once, in its own versions: it is no part of this module.
func toxiproxyInstall(t *testing.T) (program string) {
	t.Helper()
	dir := installed(t, "toxiproxy-"+toxiproxyVersion+"-"+runtime.Version(), func(dir string) error {
		build := exec.Command("go", "install", "github.com/Shopify/toxiproxy/v2/cmd/server@"+toxiproxyVersion)
		build.Dir = dir
		build.Env = append(os.Environ(), "GOBIN="+dir, "GOFLAGS=", "GOWORK=off")
		if out, err := build.CombinedOutput(); err != nil {
			return fmt.Errorf("%w\n%s", err, out)
		}
		return nil
	})
	return filepath.Join(dir, "server")
}

// wire is a toxiproxy in front of one server.
type wire struct {
	t *testing.T
	// address is where clients connect.
	address string

	api string
}

// toxic is one way in which a wire misbehaves; toxiproxy's README has the kinds and their attributes.
type toxic struct {
	Type       string         `json:"type"`
	Stream     string         `json:"stream,omitempty"`   // downstream, which carries answers, unless it says upstream
	Toxicity   float64        `json:"toxicity,omitempty"` // the share of connections, all unless it says less
	Attributes map[string]int `json:"attributes"`
}

// newWire begins to forward to a server.
func newWire(t *testing.T, target string) *wire {
	t.Helper()
	address := freeAddress(t)
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	logs := new(logBuffer)
	cmd := exec.Command(toxiproxyInstall(t), "-host", host, "-port", port)
	cmd.Env = append(os.Environ(), "LOG_LEVEL=warn")
	cmd.Stdout, cmd.Stderr = logs, logs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Logf("toxiproxy printed:\n%s", logs)
		}
	})
	w := &wire{t: t, api: "http://" + address}
	await(t, "toxiproxy", 30*time.Second, func() bool {
		res, err := client.Get(w.api + "/version")
		if err == nil {
			res.Body.Close()
		}
		return err == nil && res.StatusCode == http.StatusOK
	})
	var made struct{ Listen string }
	answer := w.tell("POST", "/proxies", map[string]any{"name": "wire", "listen": "127.0.0.1:0", "upstream": target, "enabled": true})
	if err := json.Unmarshal(answer, &made); err != nil || made.Listen == "" {
		t.Fatalf("toxiproxy answers %s", answer)
	}
	w.address = made.Listen
	return w
}

// tell sends something to toxiproxy's own interface and returns its answer.
func (w *wire) tell(method, path string, value any) []byte {
	w.t.Helper()
	body, err := json.Marshal(value)
	if err != nil {
		w.t.Fatal(err)
	}
	req, err := http.NewRequest(method, w.api+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	if err != nil || res.StatusCode/100 != 2 {
		w.t.Fatalf("toxiproxy answers %s %s with %d %s %v", method, path, res.StatusCode, answer, err)
	}
	return answer
}

// poison lets the wire misbehave, on connections that are open and on those that come.
func (w *wire) poison(toxics ...toxic) {
	w.t.Helper()
	for _, toxic := range toxics {
		w.tell("POST", "/proxies/wire/toxics", toxic)
	}
}

// unplug closes all connections and takes none.
func (w *wire) unplug() {
	w.t.Helper()
	w.tell("POST", "/proxies/wire", map[string]any{"enabled": false})
}

// heal forwards as in the beginning.
func (w *wire) heal() {
	w.t.Helper()
	w.tell("POST", "/reset", nil)
}
