package tests

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/store/redis/redistest"
)

// TestMigrate is what docs/operations.md says, with a small Redis; the end-to-end tests have a real one.
func TestMigrate(t *testing.T) {
	testMigrate(t, "redis redis://"+miniredis.RunT(t).Addr()+"/0")
}

// testMigrate moves a gateway in use to Redis and back: whoever could come in before can afterwards, and
// whoever could not still cannot.
func testMigrate(t *testing.T, redis string) {
	key := newKey(t, "ES256", "k1")
	jobs := newIssuer(t, key)
	var c config
	site := startSignIn(t, "pkce", func(conf *config) {
		conf.global += "\n\t\tjwt_issuer " + jobs.name
		conf.site = "upstream_credential per_user"
		c = *conf
	})
	site.importFile(withExternal(jobs.name, "gh-train", ciSubject))
	for owner, secret := range map[string]string{"--user=alice": aliceAtServer, "--team=vision": teamAtServer} {
		if _, err := site.iam(secret, "upstream-key", "set", owner); err != nil {
			t.Fatal(err)
		}
	}
	v := site.visitor(t).signIn("alice", nil)
	minted := site.mustIAM("key", "create", "--owner", "alice", "--name", "laptop")
	deleted := site.mustIAM("key", "create", "--owner", "alice", "--name", "lost")
	site.mustIAM("key", "delete", deleted[len("wbg-"):][:8])
	token := site.mustExchange(t, key.token(jobs.claims(ciSubject)))
	ended := site.mustExchange(t, key.token(jobs.claims(ciSubject)))
	_, claims := decodeToken(t, ended)
	site.mustIAM("token", "delete", fmt.Sprint(claims["jti"]))
	exported, listed := site.mustIAM("export"), site.unusedList()
	var used time.Time // when her imported key was last used, before the latest move

	holds := func(where string) {
		t.Helper()
		if last := site.lastUse(aliceKey); last.Before(used) {
			t.Errorf("%s: her key was last used at %s, and before the move at %s", where, last, used)
		}
		site.upstream.take()
		for name, got := range map[string]answer{
			"a key": site.stream("vision/team", minted), "an imported key": site.stream("vision/team", aliceKey), "a token": site.bearer("vision/team", token),
		} {
			if got.status != http.StatusOK {
				t.Errorf("%s: %s gets %d %s", where, name, got.status, got.body)
			}
		}
		for _, arrived := range site.upstream.take() {
			want := basic(aliceAtServer)
			if arrived.header.Get("X-Forwarded-User") != "alice" {
				want = basic(teamAtServer)
			}
			if got := arrived.header.Get("Authorization"); got != want {
				t.Errorf("%s: for %s the server gets %q", where, arrived.header.Get("X-Forwarded-User"), got)
			}
		}
		for name, got := range map[string]answer{"a deleted key": site.stream("vision/team", deleted), "an ended token": site.bearer("vision/team", ended)} {
			if got.status != http.StatusUnauthorized {
				t.Errorf("%s: %s gets %d", where, name, got.status)
			}
		}
		v.mustBe(where, "alice")
		if got := site.mustIAM("export"); got != exported {
			t.Errorf("%s: the export is\n%s\nand was\n%s", where, got, exported)
		}
		if got := site.unusedList(); got != listed {
			t.Errorf("%s: the keys are\n%s\nand were\n%s", where, got, listed)
		}
		if used = site.lastUse(aliceKey); used.IsZero() {
			t.Errorf("%s: her key was just used, and is not shown so", where)
		}
	}
	move := func(from, to config) (string, error) {
		t.Helper()
		site.stop()
		return migrate(t, site.dir, from, to)
	}
	begin := func(c config) {
		t.Helper()
		c.dir = site.dir
		site.process = start(t, c)
		v.origin = site.url
	}

	holds("before")
	shared := c
	shared.store = redis
	shared.global += "\n\t\tmaster_key_file ./data/master.key"
	out, err := move(c, shared)
	if err != nil || !strings.Contains(out, "organization acme is moved") || !strings.Contains(out, "sha256 ") {
		t.Fatalf("to Redis: %v\n%s", err, out)
	}
	begin(shared)
	holds("on Redis")
	later := site.mustIAM("key", "create", "--owner", "alice", "--name", "made on Redis")
	site.mustIAM("user", "set", "bob", "--name", "Bob, renamed on Redis")
	exported, listed = site.mustIAM("export"), site.unusedList()

	other := shared
	other.store = "embedded ./other"
	if out, err := migrate(t, site.dir, shared, other); exitCode(err) != 1 || !strings.Contains(out, "still in use by gateways of the organization acme (1 connected)") {
		t.Errorf("while a gateway runs on Redis: %v\n%s", err, out)
	}

	// The file that it came from is an older state of the same directory: nothing goes over it.
	if out, err := move(shared, withKey(c)); exitCode(err) != 1 || !strings.Contains(out, "differ") || !strings.Contains(out, "move") {
		t.Errorf("over the older file: %v\n%s", err, out)
	}
	back := shared
	back.store = "embedded ./back"
	if out, err := move(shared, back); err != nil {
		t.Fatalf("back: %v\n%s", err, out)
	}
	if out, err := migrate(t, site.dir, shared, back); err != nil || !strings.Contains(out, "already") {
		t.Errorf("once more: %v\n%s", err, out)
	}
	begin(back)
	holds("back in a file")
	if a := site.stream("vision/team", later); a.status != http.StatusOK {
		t.Errorf("a key that was made on Redis gets %d", a.status)
	}
}

// withKey names the key that was made beside the store.
func withKey(c config) config {
	c.global += "\n\t\tmaster_key_file ./data/master.key"
	return c
}

// migrate moves a store from one configuration to another.
func migrate(t *testing.T, dir string, from, to config) (string, error) {
	t.Helper()
	return runIn(dir, migration(t, dir, from, to)...)
}

// migration writes two configurations, and returns the arguments that move from one to the other.
func migration(t *testing.T, dir string, from, to config) []string {
	t.Helper()
	write(t, dir, "old.caddyfile", from.caddyfile("localhost:0", "127.0.0.1:1"))
	write(t, dir, "new.caddyfile", to.caddyfile("localhost:0", "127.0.0.1:1"))
	return []string{"iam", "migrate", "--from", "old.caddyfile", "--to", "new.caddyfile"}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// manyUsers is a directory file with that many people.
func manyUsers(n int) string {
	people := make([]map[string]string, n)
	for i := range people {
		people[i] = map[string]string{"username": fmt.Sprintf("person-%d", i), "email": fmt.Sprintf("person-%d@acme.test", i)}
	}
	return toJSON(map[string]any{"users": people})
}

// background starts the binary in a folder and leaves it running.
func background(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = append(cleanEnvironment(), "HOME="+dir)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return cmd
}

// exitCode is that of a command that ended with err; -1 if a signal ended it.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode()
	}
	return -2
}

// TestMigrateKilled: a process that is killed leaves a target that no gateway takes for whole, and the same
// command goes on.
func TestMigrateKilled(t *testing.T) {
	server := miniredis.RunT(t)
	slow := redistest.NewProxy(t, server.Addr())
	c := config{upstream: newRecorder(t).host()}
	p := start(t, c)
	p.importFile(acme)
	p.importFile(manyUsers(3000))
	exported := p.mustIAM("export")
	p.stop()
	shared := withKey(c)
	shared.store = "redis redis://" + slow.Address
	slow.Slow(50 * time.Millisecond) // of a hundred round trips most come after the mark

	for _, end := range []struct {
		signal os.Signal
		code   int
	}{{syscall.SIGTERM, 2}, {os.Kill, -1}} {
		before := server.HGet("wandb-gateway:{acme}:records", "unfinished_move")
		ended := background(t, p.dir, migration(t, p.dir, c, shared)...)
		await(t, "the target to be marked", 30*time.Second, func() bool {
			return server.HGet("wandb-gateway:{acme}:records", "unfinished_move") != before
		})
		if err := ended.Process.Signal(end.signal); err != nil {
			t.Fatal(err)
		}
		if err := ended.Wait(); exitCode(err) != end.code {
			t.Fatalf("%s ends it with %v", end.signal, err)
		}
	}
	slow.Heal()
	half := shared
	half.dir = p.dir
	refused := launch(t, half)
	if code := refused.exit(30 * time.Second); code == 0 || !strings.Contains(refused.logs.String(), "iam migrate") {
		t.Errorf("on half a store a gateway ends with %d\n%s", code, refused.logs)
	}
	out, err := migrate(t, p.dir, c, shared)
	if err != nil || !strings.Contains(out, "going on") {
		t.Fatalf("going on: %v\n%s", err, out)
	}
	again := start(t, half)
	if got := again.mustIAM("export"); got != exported {
		t.Errorf("the export is\n%s\nand was\n%s", got, exported)
	}
	if a := again.stream("vision/team", aliceKey); a.status != http.StatusOK {
		t.Errorf("a key gets %d %s", a.status, a.body)
	}
}
