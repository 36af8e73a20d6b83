package tests

import (
	"encoding/json"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/store"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

// TestMigrateRefuses: what cannot be moved is refused with code 1, says why and what to do, and leaves both
// stores and the folder as they were. Nothing shows a password.
func TestMigrateRefuses(t *testing.T) {
	server := miniredis.RunT(t)
	server.RequireUserAuth("gateway", "store-canary")
	login := " {\n\t\t\tusername gateway\n\t\t\tpassword store-canary\n\t\t}"
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	// Another directory of the same organization, on the same server with another prefix.
	others := strings.Replace(login, "password", "prefix others:\n\t\t\tpassword", 1)
	other := start(t, config{upstream: newRecorder(t).host(), env: []string{sharedMasterKey}, store: "redis redis://" + server.Addr() + others})
	other.importFile(acme)
	other.stop()

	file := config{}
	redis := withKey(config{store: "redis redis://" + server.Addr() + login})
	at := func(c config, store string) config {
		c.store = store
		return c
	}
	if out, err := migrate(t, p.dir, file, redis); exitCode(err) != 1 || !strings.Contains(out, "in use by another process") {
		t.Errorf("while a gateway runs: %v\n%s", err, out)
	}
	p.stop()
	if err := os.Symlink("data", filepath.Join(p.dir, "link")); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name     string
		from, to config
		says     []string
	}{
		{"one and the same", file, withKey(file), []string{"same store"}},
		{"by another name", file, withKey(at(file, "embedded ./link")), []string{"same store"}},
		{"a folder without a store", at(file, "embedded ./nowhere"), redis, []string{"--from", "no store", "nowhere"}},
		{"an unknown backend", file, at(redis, "postgres postgres://:store-canary@x"), []string{"--to", "postgres", "embedded FOLDER"}},
		{"without a master key", file, at(config{}, redis.store), []string{"--to", "master key"}},
		{"to a file without a master key", file, at(config{}, "embedded ./new"), []string{"--to", "names no master key", "master.key"}},
		{"with another master key", file, at(config{global: "master_key AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="}, redis.store), []string{"--to", "master key is not the one"}},
		{"from with another master key", config{global: "master_key AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA="}, redis, []string{"--from", "master key is not the one"}},
		{"nobody listens", file, at(redis, "redis redis://:store-canary@127.0.0.1:1"), []string{"--to", "127.0.0.1:1", "cannot be used"}},
		{"a wrong password", file, at(redis, "redis redis://gateway:store-canary2@"+server.Addr()), []string{"--to", "does not let this gateway in"}},
		{"another directory", file, at(redis, "redis redis://"+server.Addr()+others), []string{"another directory", "prefix"}},
		{"an empty server", redis, at(withKey(file), "embedded ./new"), []string{"--from", "no directory of the organization acme"}},
		{"an address with a variable that is empty", file, at(redis, "redis {env.NO_SUCH_REDIS}"), []string{"--to", "NO_SUCH_REDIS"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before, was := standsIn(t, p.dir), server.Dump()
			out, err := migrate(t, p.dir, tt.from, tt.to)
			if exitCode(err) != 1 {
				t.Errorf("it ends with %v\n%s", err, out)
			}
			for _, want := range tt.says {
				if !strings.Contains(out, want) {
					t.Errorf("does not say %q:\n%s", want, out)
				}
			}
			if strings.Contains(out, "canary") || strings.Contains(out, "Usage:") {
				t.Errorf("it prints a password, or its usage:\n%s", out)
			}
			if after := standsIn(t, p.dir); !maps.Equal(after, before) {
				t.Errorf("the folder holds %q, and held %q", slices.Sorted(maps.Keys(after)), slices.Sorted(maps.Keys(before)))
			}
			if now := server.Dump(); now != was {
				t.Errorf("the server was written to:\n%s", now)
			}
		})
	}

	t.Run("another organization", func(t *testing.T) {
		arguments := migration(t, p.dir, file, redis)
		write(t, p.dir, "new.caddyfile", strings.Replace(redis.caddyfile("localhost:0", "127.0.0.1:1"), "organization acme", "organization globex", 1))
		out, err := runIn(p.dir, arguments...)
		if exitCode(err) != 1 || !strings.Contains(out, "globex") || !strings.Contains(out, "formerly") {
			t.Errorf("%v\n%s", err, out)
		}
	})
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"no --to":         {[]string{"--from", "old.caddyfile"}, "--to"},
		"no such file":    {[]string{"--from", "old.caddyfile", "--to", "none.caddyfile"}, "none.caddyfile"},
		"no gateway":      {[]string{"--from", "old.caddyfile", "--to", "plain.caddyfile"}, "wandb_gateway"},
		"no Caddyfile":    {[]string{"--from", "old.caddyfile", "--to", "broken.caddyfile"}, "broken.caddyfile"},
		"unknown members": {[]string{"--from", "old.caddyfile", "--to", "unknown.json"}, "stores"},
		"arguments":       {[]string{"old.caddyfile", "new.caddyfile"}, "unknown command"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, p.dir, "plain.caddyfile", ":8080 {\n}\n")
			write(t, p.dir, "broken.caddyfile", "{\n\twandb_gateway {\n\t\tstore redis redis://x:store-canary@\n\t}\n")
			write(t, p.dir, "unknown.json", `{"apps":{"wandb_gateway":{"stores":{}}}}`)
			out, err := runIn(p.dir, append([]string{"iam", "migrate"}, tt.args...)...)
			if exitCode(err) != 1 || !strings.Contains(out, tt.says) || strings.Contains(out, "canary") {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// standsIn are the files below a folder, but for configurations; of stores also what is in them.
func standsIn(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || strings.HasSuffix(path, ".caddyfile") {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		all[name] = ""
		if filepath.Base(path) == "gateway.db" {
			b, err := os.ReadFile(path)
			all[name] = string(b)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestMigrateFullDisk: a target that is full ends the move with code 2, and more room is all it needs.
func TestMigrateFullDisk(t *testing.T) {
	c := config{upstream: newRecorder(t).host()}
	p := start(t, c)
	p.importFile(acme)
	p.importFile(manyUsers(3000))
	exported := p.mustIAM("export")
	p.stop()
	leaveBehind(t, p.dir)
	moved := withKey(c)
	moved.store = "embedded ./new"
	arguments := migration(t, p.dir, c, moved)
	limited := exec.Command("sh", append([]string{"-c", `ulimit -f 1000 && exec "$0" "$@"`, binary}, arguments...)...)
	limited.Dir = p.dir
	limited.Env = append(cleanEnvironment(), "HOME="+p.dir)
	out, err := limited.CombinedOutput()
	if exitCode(err) != 2 || !strings.Contains(string(out), "file too large") || !strings.Contains(string(out), "run the same command again") {
		t.Fatalf("on a full disk: %v\n%s", err, out)
	}
	moved.dir = p.dir
	half := launch(t, moved)
	if code := half.exit(30 * time.Second); code == 0 || !strings.Contains(half.logs.String(), "holds only a part") {
		t.Errorf("on half a store a gateway ends with %d\n%s", code, half.logs)
	}
	text, err := runIn(p.dir, append(arguments, "--json")...)
	if err != nil {
		t.Fatalf("with room again: %v\n%s", err, text)
	}
	if !strings.Contains(text, "records of the organization globex, which stay there") {
		t.Errorf("it does not say what stays behind:\n%s", text)
	}
	var result struct {
		Organization, From, To, SHA256 string
		Records, Written               int
		Already                        bool
	}
	if err := json.Unmarshal([]byte(text[strings.LastIndex(text, "\n{")+1:]), &result); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if result.Organization != "acme" || result.Records < 3000 || result.Written == 0 || result.Written >= result.Records || len(result.SHA256) != 64 || !strings.HasPrefix(result.To, "embedded /") {
		t.Errorf("it prints %+v", result)
	}
	again := start(t, moved)
	if got := again.mustIAM("export"); got != exported {
		t.Error("the export is another one")
	}
	if a := again.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key gets %d %s", a.status, a.body)
	}
}

// leaveBehind puts a record of another organization into the store below a folder.
func leaveBehind(t *testing.T, dir string) {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: filepath.Join(dir, "data")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(t.Context(), store.Write{Key: "globex/x", Value: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
