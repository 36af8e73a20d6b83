package tests

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// mainOfXcaddy is what `xcaddy build --with` compiles: Caddy, its standard modules, the plugin.
const mainOfXcaddy = `package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/wandb-gateway/wandb-gateway"
)

func main() { caddycmd.Main() }
`

// buildWithXcaddy builds Caddy with the gateway as xcaddy does, in a module of its own that replaces
// the gateway by this checkout. The versions are those that the gateway requires; what of them is not
// on the machine yet is fetched as for any build.
func buildWithXcaddy(t *testing.T) (caddy string) {
	t.Helper()
	checkout, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(checkout, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, contents := range map[string]string{
		"main.go": mainOfXcaddy,
		"go.sum":  string(sums),
		"go.mod": `module caddy

go 1.26.0

require github.com/wandb-gateway/wandb-gateway v0.0.0

replace github.com/wandb-gateway/wandb-gateway => ` + checkout + "\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(contents), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	caddy = filepath.Join(dir, "caddy")
	args := []string{"build", "-mod=mod", "-buildvcs=false", "-o", caddy}
	if raceEnabled {
		args = append(args, "-race")
	}
	build := exec.Command("go", args...)
	build.Dir = dir
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building with the gateway as a plugin: %v\n%s", err, out)
	}
	return caddy
}

// runCaddy runs a command of the built Caddy and returns all that it prints.
func runCaddy(t *testing.T, caddy string, args ...string) string {
	t.Helper()
	cmd := exec.Command(caddy, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(cleanEnvironment(), "HOME="+cmd.Dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("caddy %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

func TestXcaddyBuild(t *testing.T) {
	caddy := buildWithXcaddy(t)

	modules := "\n" + runCaddy(t, caddy, "list-modules")
	for _, id := range []string{"wandb_gateway", "http.handlers.wandb_gateway"} {
		if !strings.Contains(modules, "\n"+id+"\n") {
			t.Errorf("`caddy list-modules` does not name %s", id)
		}
	}
	if help := runCaddy(t, caddy, "iam", "--help"); !strings.Contains(help, "iam import FILE") {
		t.Errorf("`caddy iam --help` says\n%s", help)
	}

	upstream := newRecorder(t)
	p := start(t, config{binary: caddy, upstream: upstream.host()})
	if a := p.send(http.MethodGet, "/", "", "", nil); a.status != http.StatusUnauthorized {
		t.Errorf("a request without a key was answered %d: %s", a.status, a.body)
	}
	if got := upstream.take(); len(got) != 0 {
		t.Errorf("the upstream received %d requests without a key", len(got))
	}

	runCaddy(t, caddy, "iam", "user", "create", "alice", "--email", "alice@acme.test", "--address", p.admin)
	key := runCaddy(t, caddy, "iam", "key", "create", "--owner", "alice", "--name", "laptop", "--address", p.admin)
	if a := p.send(http.MethodGet, "/", strings.TrimSpace(key), "", nil); a.status != http.StatusOK {
		t.Errorf("a request with a key was answered %d: %s", a.status, a.body)
	}
	got := upstream.take()
	if len(got) != 1 || got[0].header.Get("X-Forwarded-User") != "alice" {
		t.Errorf("the upstream received %+v, not one request of alice", got)
	}
}
