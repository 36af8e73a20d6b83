//go:build e2e

package tests

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// TestSDKWhileTheRecordFails: with no user in the gateway at all, a run goes on while the server is slow to
// say who is calling, fails to, answers pages, and hangs; longer than it is believed. Nothing of the run is
// lost, and somebody with an unknown key gets in at no time.
func TestSDKWhileTheRecordFails(t *testing.T) {
	t.Parallel()
	forEachSDK(t, func(t *testing.T, version string) {
		upstream := startStandin(t, recordConfig())
		gateway := start(t, config{
			global:   "directory wandb " + upstream.url() + " {\n\t\t\t" + recordBounds + "\n\t\t}",
			upstream: upstream.address,
		})
		id := runID(version, "record-fails")
		c := newSDK(t, version, gateway.url, aliceServerKey).with("WANDB_ENTITY", "vision", "DRIVER_PROJECT", "team", "WANDB_RUN_ID", id)
		stream := "/files/vision/team/" + id + "/file_stream"
		streamed := func() int {
			return len(upstream.Requests(func(r standin.Request) bool { return r.Path == stream && r.Status == 200 }))
		}
		lookups := func(r standin.Request) bool { return byGateway(r) }
		more := func(n int) func() string {
			seen := -1
			return func() string {
				if seen < 0 {
					seen = streamed()
				}
				if got := streamed(); got < seen+n {
					return fmt.Sprintf("for more of the run at the server: %d", got-seen)
				}
				return ""
			}
		}
		// held counts the requests of the run that the gateway neither let pass nor refused.
		held := func() (n int) {
			for line := range strings.Lines(gateway.logs.String()) {
				if strings.Contains(line, "could not be judged") && strings.Contains(line, stream) {
					n++
				}
			}
			return n
		}
		during := func(f standin.Fault) func() string {
			var remove func()
			before := 0
			return func() string {
				if remove == nil {
					f.Match = lookups
					remove = upstream.Fail(f)
					before = held()
				}
				got := gateway.send("POST", "/files/vision/team/another/file_stream", strings.Repeat("f", 40), "{}", nil)
				if got.status != 503 {
					t.Errorf("an unknown key is answered %d %s", got.status, got.body)
				}
				if held() < before+2 {
					return "for the run to be held up"
				}
				remove()
				return ""
			}
		}
		began := time.Now()
		o := c.inPhases(t,
			more(2),
			func() func() string {
				var remove func()
				slow := more(2)
				return func() string {
					if remove == nil {
						remove = upstream.Fail(standin.Fault{Delay: 400 * time.Millisecond, Match: lookups})
					}
					why := slow()
					if why == "" {
						remove()
					}
					return why
				}
			}(),
			during(standin.Fault{Status: 500, Header: header(), Body: `{"errors":[{"message":"internal"}]}`}),
			more(1),
			during(standin.Fault{Status: 200, Header: header("Content-Type", "text/html"), Body: standin.HTMLPage}),
			more(1),
			during(standin.Fault{Hang: true}),
			more(1),
		)
		o.mustWork(t)
		t.Logf("the run took %s", time.Since(began))
		body := gateway.graphQL(aliceServerKey, `query R($r: String!) { project(entityName: "vision", name: "team") { run(name: $r) { state historyLineCount user { username } outputArtifacts { edges { node { id } } } } } }`, map[string]any{"r": id}, nil).body
		for _, want := range []string{`"state":"finished"`, fmt.Sprintf(`"historyLineCount":%d,`, o.report.Lines), `"username":"alice"`} {
			if !strings.Contains(body, want) {
				t.Errorf("the server keeps %s, want %s", body, want)
			}
		}
		if n := strings.Count(body, `"node"`); n != c.artifacts() {
			t.Errorf("the server keeps %d artifacts, want %d: %s", n, c.artifacts(), body)
		}
	})
}
