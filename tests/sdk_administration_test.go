//go:build e2e

package tests

import (
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

const (
	sdkTinaKey = "local-71a0000000000000000000000000000000000713"
	sdkMaxKey  = "local-3a80000000000000000000000000000000000384"
)

// sdkAdministration is the directory of the SDK's administration: one person of each role in team vision.
const sdkAdministration = `{"organization": "acme",
 "users": [
  {"username": "alice", "email": "alice@acme.test", "role": "admin"},
  {"username": "tina", "email": "tina@acme.test"},
  {"username": "max", "email": "max@acme.test"},
  {"username": "vera", "email": "vera@acme.test"},
  {"username": "guest-a", "email": "guest-a@acme.test"},
  {"username": "guest-t", "email": "guest-t@acme.test"}],
 "teams": [{"name": "vision", "members": [{"user": "alice"}, {"user": "tina", "role": "admin"}, {"user": "max"}, {"user": "vera", "role": "viewer"}]}],
 "service_accounts": [{"name": "ci-train", "team": "vision"}],
 "api_keys": [
  {"owner": "alice", "name": "laptop", "key": "` + sdkAliceKey + `"},
  {"owner": "tina", "name": "laptop", "key": "` + sdkTinaKey + `"},
  {"owner": "max", "name": "laptop", "key": "` + sdkMaxKey + `"},
  {"owner": "vera", "name": "laptop", "key": "` + sdkVeraKey + `"},
  {"owner": "service_account:ci-train", "name": "ci", "key": "` + sdkTrainKey + `"}]}`

// What each role may do through the SDK; everything else is refused.
var sdkRoles = []struct {
	name, key, guest string
	may              []string
}{
	{"organization admin", sdkAliceKey, "guest-a", []string{"find user", "find users", "create user", "create admin", "create team", "create team for another",
		"read team", "invite nobody", "invite", "remove", "service account", "remove service account", "own keys", "create project"}},
	{"team admin", sdkTinaKey, "guest-t@acme.test", []string{"read team", "invite nobody", "invite", "remove", "service account", "remove service account", "own keys", "create project"}},
	{"member", sdkMaxKey, "guest-t", []string{"read team", "invite nobody", "own keys", "create project"}},
	{"view-only", sdkVeraKey, "guest-t", []string{"read team", "invite nobody", "own keys"}},
}

// TestSDKAdministration: each call of the public API's administration works for those who may, in every
// version of the client, and changes nothing for everybody else; the server behind never hears of any.
func TestSDKAdministration(t *testing.T) {
	t.Parallel()
	forEachSDK(t, func(t *testing.T, version string) {
		upstream := startStandin(t, standin.Config{Trust: true})
		gateway := start(t, config{site: "upstream_credential none", upstream: upstream.address})
		gateway.importFile(sdkAdministration)
		for _, role := range sdkRoles {
			made := strings.ReplaceAll("m-"+role.name+"-"+version, " ", "-")
			before := gateway.exported(t)
			o := newSDK(t, version, gateway.url, role.key).with("DRIVER_MADE", made, "DRIVER_GUEST", role.guest, "WANDB_ENTITY", "vision").drive(t, "by_role.py")
			for call, result := range o.report.Steps {
				if got, want := result == "ok", slices.Contains(role.may, call); got != want {
					t.Errorf("%s, %s: %s, allowed %t\n%s", role.name, call, result, want, o.output)
				}
			}
			if len(o.report.Steps) != len(sdkRoles[0].may) {
				t.Errorf("%s tried %d calls", role.name, len(o.report.Steps))
			}
			if len(role.may) <= 3 && gateway.exported(t) != before && !slices.Contains(role.may, "create project") {
				t.Errorf("%s changed the directory", role.name)
			}
			if key := o.report.Key; key != "" && gateway.graphQL(key, `{viewer{username}}`, nil, nil).status != 401 {
				t.Errorf("%s: the key of a deleted service account still works", role.name)
			}
		}
		for _, name := range []string{"createUser", "createTeam", "createInvite", "deleteInvite", "createServiceAccount", "generateApiKey", "deleteApiKey", "users"} {
			if got := upstream.Requests(standin.ToRoot(name)); len(got) > 0 {
				t.Errorf("%s reached the server: %s", name, got[0].Body)
			}
		}
	})
}

// exported is the directory as a file.
func (p *process) exported(t *testing.T) string {
	t.Helper()
	return p.mustIAM("export")
}
