//go:build e2e

package tests

import (
	"slices"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// TestSDKWithLimitedKeys: wandb.init() with a key for one project just works there, with no WANDB_ENTITY, and artifacts
// with it; with one that may not, the user reads at once which limit it has. A key that only reads, reads.
func TestSDKWithLimitedKeys(t *testing.T) {
	t.Parallel()
	upstream := startStandin(t, standin.Config{Trust: true})
	gateway := start(t, config{site: "upstream_credential none", upstream: upstream.address})
	gateway.importFile(sdkDirectory)
	project, _ := gateway.limitedKey("alice", "--project", "vision/team", "--expires", "2h")
	job, _ := gateway.limitedKey("service_account:org-bot", "--project", "vision/fresh")
	reads, _ := gateway.limitedKey("alice", "--read-only")
	const ended = "local-e2d0000000000000000000000000000000000e2d"
	gateway.importFile(`{"api_keys": [{"owner": "alice", "name": "old", "key": "` + ended + `", "expires": "2020-01-31"}]}`)
	for _, version := range []string{sdkVersions[0], sdkVersions[len(sdkVersions)-1]} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			for _, s := range []scenario{
				{name: "of a project", key: project, project: "team", entity: "vision", user: "alice", attributed: "alice"},
				{name: "of a project, for a member", key: job, project: "fresh", env: []string{"WANDB_USERNAME", "alice"}, entity: "vision", user: "org-bot", attributed: "alice"},
				{name: "of another project", key: project, project: "open", reads: []string{"limited to vision/team", "vision/open is outside it"}},
				{name: "of another entity", key: project, project: "team", env: []string{"WANDB_ENTITY", "alice"}, reads: []string{"limited to vision/team", "check WANDB_ENTITY"}},
				{name: "that only reads", key: reads, project: "team", env: []string{"WANDB_ENTITY", "vision"}, reads: []string{"this API key only reads", "use another key"}},
				{name: "that has ended", key: ended, project: "team", env: []string{"WANDB_ENTITY", "vision"}, reads: []string{"expired on 2020-01-31"}},
			} {
				t.Run(s.name, func(t *testing.T) {
					s.run(t, version, gateway, upstream)
				})
			}
			for name, key := range map[string]string{"of a project": project, "that only reads": reads} {
				o := newSDK(t, version, gateway.url, key).with("DRIVER_PATH", "vision/team").drive(t, "read_runs.py")
				o.mustWork(t)
				if !slices.Contains(o.report.Runs, runID(version, "of a project")) {
					t.Errorf("a key %s sees the runs %q", name, o.report.Runs)
				}
			}
		})
	}
}
