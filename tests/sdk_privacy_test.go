//go:build e2e

package tests

import (
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

// TestSDKPrivacy: settings of a team, as people meet them through the public API. A refused invitation is False, a
// refused visibility an error with the cause, and the server hears of neither.
func TestSDKPrivacy(t *testing.T) {
	t.Parallel()
	forEachSDK(t, func(t *testing.T, version string) {
		upstream := startStandin(t, standin.Config{Trust: true})
		gateway := start(t, config{site: "upstream_credential none", upstream: upstream.address})
		gateway.importFile(sdkAdministration)
		opened := func() int {
			n := 0
			for _, r := range upstream.Requests(standin.ToRoot("upsertModel")) {
				if strings.Contains(string(r.Body), "USER_READ") || strings.Contains(string(r.Body), "USER_WRITE") {
					n++
				}
			}
			return n
		}
		for _, c := range []struct {
			settings string
			want     map[string]string // a part of the step's outcome
			opened   int               // how often the server was asked to open a project, in all
		}{
			{"--members-invite off --private-projects on", map[string]string{
				"invite": "False", "invite an admin": "False", "create project": "ok", "open": "keeps its projects private",
				"restrict": "ok", "open what is restricted": "can only become a team project"}, 0},
			{"--members-invite on --private-projects off", map[string]string{
				"invite": "ok", "invite an admin": "False", "create project": "ok", "open": "ok",
				"restrict": "ok", "open what is restricted": "can only become a team project"}, 1},
		} {
			gateway.mustIAM(append([]string{"team", "set", "vision"}, strings.Fields(c.settings)...)...)
			made := "p" + strings.NewReplacer(" ", "", ".", "-").Replace(version+c.settings)
			o := newSDK(t, version, gateway.url, sdkMaxKey).with("DRIVER_MADE", made, "DRIVER_GUEST", "guest-t", "WANDB_ENTITY", "vision").drive(t, "privacy.py")
			for step, want := range c.want {
				got := o.report.Steps[step]
				// Clients before 0.31 tell every 403 in words of their own, an invitation's too.
				own := version != "0.31.0" && want != "ok" && strings.Contains(got, "do not have permission")
				if !strings.Contains(got, want) && !own {
					t.Errorf("%s, %s: %s, want %s\n%s", c.settings, step, got, want, o.output)
				}
			}
			if got := opened(); got != c.opened {
				t.Errorf("%s: the server was asked to open a project %d times", c.settings, got)
			}
			if got := gateway.visibility("vision/" + made); got != "restricted" {
				t.Errorf("%s: the project is %s", c.settings, got)
			}
		}
		if got := gateway.mustIAM("team", "get", "vision"); !strings.Contains(got, "guest-t:member") {
			t.Errorf("the team is %s", got)
		}
	})
}
