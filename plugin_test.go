package wandbgateway

import (
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// goMod is what `go mod edit -json` prints.
type goMod struct {
	Module  struct{ Path string }
	Require []struct{ Path, Version string }
}

func readGoMod(t *testing.T) goMod {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", "go.mod").Output()
	if err != nil {
		t.Fatal(err)
	}
	var m goMod
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// xcaddy.json is xcaddy's Builder: whoever builds by it must get the versions that are tested here.
func TestXcaddyIsInStepWithGoMod(t *testing.T) {
	source, err := os.Open("xcaddy.json")
	if err != nil {
		t.Fatal(err)
	}
	defer source.Close()
	var builder struct {
		CaddyVersion string `json:"caddy_version"`
		Plugins      []struct {
			ModulePath string `json:"module_path"`
			Version    string `json:"version"`
		} `json:"plugins"`
	}
	decoder := json.NewDecoder(source)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&builder); err != nil {
		t.Fatal(err)
	}
	mod := readGoMod(t)
	versions := make(map[string]string)
	for _, r := range mod.Require {
		versions[r.Path] = r.Version
	}
	if want := versions["github.com/caddyserver/caddy/v2"]; builder.CaddyVersion != want {
		t.Errorf("caddy_version is %s, go.mod requires %s", builder.CaddyVersion, want)
	}
	var us bool
	for _, p := range builder.Plugins {
		if p.ModulePath == mod.Module.Path {
			us = true
			continue
		}
		if want := versions[p.ModulePath]; p.Version != want {
			t.Errorf("plugin %s is %q, go.mod requires %q", p.ModulePath, p.Version, want)
		}
	}
	if !us {
		t.Errorf("%s is not among the plugins", mod.Module.Path)
	}
}

// The root package is all that xcaddy imports, so that it must bring every module along.
func TestImportRegistersModules(t *testing.T) {
	for _, id := range []string{"wandb_gateway", "http.handlers.wandb_gateway", "admin.api.wandb_gateway"} {
		if _, err := caddy.GetModule(id); err != nil {
			t.Error(err)
		}
	}
}

// The root package must not bring what only the binary needs: the demo's W&B server, or Caddy's own
// modules, which a build chooses by itself.
func TestImportBringsOnlyTheGateway(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	for path := range strings.Lines(string(out)) {
		switch path = strings.TrimSpace(path); {
		case path == "github.com/caddyserver/caddy/v2/modules/standard",
			strings.Contains(path, "/internal/standin"), strings.Contains(path, "/internal/demo"):
			t.Errorf("the plugin imports %s", path)
		}
	}
}
