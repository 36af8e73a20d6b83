package tests

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// acme is the directory that most tests start from: alice and vera in team vision, bob in speech, a
// project of each visibility, service accounts of the team and of the organization.
const acme = `{
	"organization": "acme",
	"users": [
		{"username": "root", "email": "root@acme.test", "role": "admin"},
		{"username": "alice", "email": "alice@acme.test", "name": "Alice"},
		{"username": "vera", "email": "vera@acme.test"},
		{"username": "bob", "email": "bob@acme.test"}
	],
	"teams": [
		{"name": "vision", "members": [{"user": "alice", "role": "admin"}, {"user": "vera", "role": "viewer"}]},
		{"name": "speech", "members": [{"user": "bob", "role": "member"}]}
	],
	"projects": [
		{"entity": "vision", "name": "open", "visibility": "open"},
		{"entity": "vision", "name": "public", "visibility": "public"},
		{"entity": "vision", "name": "team", "visibility": "team"},
		{"entity": "vision", "name": "restricted", "visibility": "restricted", "owner": "alice"}
	],
	"service_accounts": [
		{"name": "ci-vision", "team": "vision"},
		{"name": "ci-speech", "team": "speech"},
		{"name": "org-bot", "default_team": "vision"}
	],
	"api_keys": [
		{"owner": "alice", "name": "old laptop", "key": "local-00000000000000000000000000000000000alice"},
		{"owner": "bob", "name": "old laptop", "key": "00000000000000000000000000000000000000000000000000000000000000000000000000000000000bob"}
	]
}`

// Keys that acme imports.
const (
	aliceKey = "local-00000000000000000000000000000000000alice"
	bobKey   = "00000000000000000000000000000000000000000000000000000000000000000000000000000000000bob"
)

// stream is the request of a run that logs metrics; it needs the permission to write.
func (p *process) stream(project, key string) answer {
	p.t.Helper()
	return p.send("POST", "/files/"+project+"/run1/file_stream", key, "{}", nil)
}

func TestImportExportRoundTrip(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	exported := p.mustIAM("export")
	if strings.Contains(exported, aliceKey) || strings.Contains(exported, bobKey) {
		t.Errorf("the export holds a key: %s", exported)
	}
	file := filepath.Join(p.dir, "exported.json")
	if err := os.WriteFile(file, []byte(exported), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, again := range []string{filepath.Join(p.dir, "import.json"), file} {
		out := p.mustIAM("import", again)
		if !strings.HasPrefix(out, "0 created, 0 updated") || !strings.HasSuffix(out, "0 deleted") {
			t.Errorf("importing %s again: %s", filepath.Base(again), out)
		}
	}
	if got := p.mustIAM("export"); got != exported {
		t.Errorf("the export changed:\n%s", got)
	}
}

func TestBadImportChangesNothing(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	before := p.mustIAM("export")
	for name, tt := range map[string]struct{ file, says string }{
		"unknown member":       {`{"teams": [{"name": "audio", "members": [{"user": "nobody"}]}]}`, "nobody"},
		"foreign organization": {`{"organization": "other", "users": []}`, "other"},
		"one bad row":          {`{"users": [{"username": "carol", "email": "c@acme.test"}, {"username": "b@d name", "email": "x"}]}`, "users[1]"},
		"unknown field":        {`{"users": [{"username": "carol", "isAdmin": true}]}`, "isAdmin"},
		"bad visibility":       {`{"projects": [{"entity": "vision", "name": "x", "visibility": "secret"}]}`, "secret"},
		"duplicate member":     {`{"users": [], "users": []}`, "users"},
		"no JSON":              {`{"users": [`, "end"},
		"an array":             {`[]`, "object"},
	} {
		t.Run(name, func(t *testing.T) {
			out, err := p.iam(tt.file, "import", "-")
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("printed %q, error %v; want one that says %q", out, err, tt.says)
			}
			if after := p.mustIAM("export"); after != before {
				t.Errorf("something changed:\n%s", after)
			}
		})
	}
}

var mintedKey = regexp.MustCompile(`^wbg-[0-9a-f]{40}$`)

// TestKeyLife: a key works from when it is printed until it is deleted, and is printed once.
func TestKeyLife(t *testing.T) {
	upstream := newRecorder(t)
	p := start(t, config{upstream: upstream.host()})
	p.importFile(acme)

	key := p.mustIAM("key", "create", "--owner", "alice", "--name", "laptop")
	if !mintedKey.MatchString(key) {
		t.Fatalf("key create prints %q, want the key alone", key)
	}
	if a := p.stream("vision/team", key); a.status != 200 {
		t.Fatalf("the new key gets %d %s", a.status, a.body)
	}
	if got := upstream.take(); len(got) != 1 || got[0].header.Get("X-Forwarded-User") != "alice" || got[0].header.Get("Authorization") != "" {
		t.Fatalf("the upstream got %+v", got)
	}

	list := p.mustIAM("key", "list", "--owner", "alice")
	id := key[len("wbg-"):][:8]
	if !strings.Contains(list, id) || !strings.Contains(list, "laptop") || strings.Contains(list, key[:20]) {
		t.Errorf("key list:\n%s", list)
	}
	var rows []struct{ ID, Owner, Name string }
	if err := json.Unmarshal([]byte(p.mustIAM("key", "list", "--owner", "alice", "--json")), &rows); err != nil || len(rows) != 2 {
		t.Errorf("key list --json: %v %v", rows, err)
	}

	p.mustIAM("key", "set", id, "--name", "new laptop")
	if a := p.stream("vision/team", key); a.status != 200 {
		t.Errorf("a renamed key gets %d", a.status)
	}
	p.mustIAM("key", "delete", id)
	if a := p.stream("vision/team", key); a.status != 401 || a.reason() != "unknown_credential" {
		t.Errorf("a deleted key gets %d %s", a.status, a.body)
	}
	if _, err := p.iam("", "key", "delete", id); err == nil {
		t.Error("deleting it again says that it worked")
	}
	if a := p.stream("vision/team", aliceKey); a.status != 200 {
		t.Errorf("her imported key gets %d %s", a.status, a.body)
	}
	if a := p.stream("speech/x", bobKey); a.status != 200 {
		t.Errorf("a long imported key gets %d %s", a.status, a.body)
	}
}

// TestCommands changes everything that commands can change, and asks the gateway each time.
func TestCommands(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	allowed := func(project, key string, want int, why string) {
		t.Helper()
		if a := p.stream(project, key); a.status != want {
			t.Errorf("%s: %d %s, want %d", why, a.status, a.body, want)
		}
	}
	key := func(owner string) string { return p.mustIAM("key", "create", "--owner", owner, "--name", "test") }

	p.mustIAM("user", "create", "carol", "--email", "carol@acme.test")
	carol := key("carol")
	allowed("vision/team", carol, 403, "carol is in no team")
	p.mustIAM("team", "set", "vision", "--add", "carol")
	allowed("vision/team", carol, 200, "carol joined")
	p.mustIAM("team", "set", "vision", "--add", "carol:viewer")
	allowed("vision/team", carol, 403, "carol may only view")
	p.mustIAM("team", "set", "vision", "--add", "carol:member")
	p.mustIAM("user", "set", "carol", "--models-seat", "viewer")
	allowed("vision/team", carol, 403, "carol has a viewer's seat")
	p.mustIAM("user", "set", "carol", "--models-seat", "full")
	allowed("vision/team", carol, 200, "carol has a full seat again")
	p.mustIAM("user", "set", "carol", "--active=false")
	if a := p.stream("vision/team", carol); a.status != 401 || a.reason() != "deactivated" {
		t.Errorf("carol deactivated: %d %s", a.status, a.body)
	}
	p.mustIAM("user", "set", "carol", "--active=true")
	allowed("vision/team", carol, 200, "carol reactivated, with the same key")
	p.mustIAM("team", "set", "vision", "--remove", "carol")
	allowed("vision/team", carol, 403, "carol left")
	p.mustIAM("user", "delete", "carol")
	allowed("vision/team", carol, 401, "carol is gone")
	p.mustIAM("user", "create", "carol", "--email", "carol@acme.test")
	allowed("vision/open", carol, 401, "another carol does not get the old key")

	bot := key("service_account:ci-vision")
	allowed("vision/restricted", bot, 403, "not on the list")
	p.mustIAM("project", "set", "vision/restricted", "--add", "service_account:ci-vision")
	allowed("vision/restricted", bot, 200, "on the list")
	p.mustIAM("project", "set", "vision/restricted", "--remove", "service_account:ci-vision")
	allowed("vision/restricted", bot, 403, "off the list")
	p.mustIAM("project", "set", "vision/restricted", "--visibility", "team")
	allowed("vision/restricted", bot, 200, "now a team project")
	p.mustIAM("service-account", "set", "ci-vision", "--active=false")
	allowed("vision/team", bot, 401, "deactivated account")
	p.mustIAM("service-account", "delete", "ci-vision")
	text := p.mustIAM("service-account", "create", "gh", "--team", "vision", "--issuer", "https://ci.example", "--claim", "repository=acme/detector", "--claim", "user=a=b")
	if !strings.Contains(text, "needs no key") || strings.Contains(text, "iam key create") {
		t.Errorf("creating an external service account says %q", text)
	}
	if list := p.mustIAM("service-account", "get", "gh"); !strings.Contains(list, "repository=acme/detector,user=a=b") {
		t.Errorf("the claims are shown as %s", list)
	}
	p.mustIAM("service-account", "set", "gh", "--claim", "", "--subject", "repo:acme/detector")
	if list := p.mustIAM("service-account", "list"); !strings.Contains(list, "repo:acme/detector") || strings.Contains(list, "a=b") {
		t.Errorf("the subject is shown as %s", list)
	}
	p.mustIAM("service-account", "delete", "gh")
	allowed("vision/team", bot, 401, "deleted account")

	p.mustIAM("project", "create", "speech/notes", "--visibility", "public", "--owner", "bob")
	alice := key("alice")
	if a := p.send("GET", "/files/speech/notes/r/x.txt", alice, "", nil); a.status != 200 {
		t.Errorf("a public project is viewed: %d %s", a.status, a.body)
	}
	allowed("speech/notes", alice, 403, "but not written")
	p.mustIAM("role", "create", "stopper", "--inherits", "viewer", "--permission", "run:stop")
	p.mustIAM("team", "set", "vision", "--add", "bob:stopper")
	allowed("vision/team", bobKey, 403, "a custom role that may stop, not write")

	explained := p.mustIAM("explain", "--as", "bob", "--to", "run:write", "vision/team")
	if !strings.HasPrefix(explained, "refused: ") || !strings.Contains(explained, "\n") {
		t.Errorf("explain prints %q", explained)
	}
	if out := p.mustIAM("doctor"); !strings.Contains(out, "store") || !strings.Contains(out, "embedded") {
		t.Errorf("doctor prints %q", out)
	}
	for _, noun := range []string{"user", "team", "project", "service-account", "role", "key"} {
		if out := p.mustIAM(noun, "list"); strings.Count(out, "\n") < 1 {
			t.Errorf("%s list prints %q", noun, out)
		}
		if out := p.mustIAM(noun, "list", "--json"); !json.Valid([]byte(out)) {
			t.Errorf("%s list --json prints %q", noun, out)
		}
	}
}

// TestCommandsAreToldInTheLog: what commands and files change is an audit event for each record, with how it was and
// is; what changes nothing or is refused is none.
func TestCommandsAreToldInTheLog(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	p.importFile(acme)
	imported := p.entries("directory changed", 1)
	key := p.mustIAM("key", "create", "--owner", "alice", "--name", "laptop")
	p.mustIAM("user", "create", "carol", "--email", "carol@acme.test")
	p.mustIAM("user", "set", "carol", "--role", "admin")
	p.mustIAM("user", "set", "carol", "--role", "admin")
	p.mustIAM("user", "set", "carol", "--active=false")
	p.mustIAM("user", "set", "carol", "--active=true")
	p.mustIAM("team", "set", "vision", "--private-projects", "on")
	p.mustIAM("organization", "set", "--enforce-hidden", "off")
	p.mustIAM("service-account", "create", "nightly-eval", "--team", "vision")
	p.mustIAM("role", "create", "launcher", "--inherits", "viewer", "--permission", "run:stop")
	p.mustIAM("project", "create", "vision/told", "--visibility", "restricted")
	p.mustIAM("project", "set", "vision/told", "--visibility", "team")
	p.mustIAM("project", "delete", "vision/told")
	p.mustIAM("key", "delete", key[len("wbg-"):][:8])
	p.mustIAM("user", "delete", "carol")
	if _, err := p.iam("", "user", "set", "nobody", "--role", "admin"); err == nil {
		t.Error("nobody was changed")
	}
	want := []string{
		"user:create_api_key " + key[len("wbg-"):][:8] + " <nil> -> laptop",
		"user:create carol <nil> -> member",
		"user:update carol member -> admin",
		"user:deactivate carol admin -> admin",
		"user:reactivate carol admin -> admin",
		"team:update vision vision -> vision",
		"organization:update  <nil> -> map[enforced:map[hidden:off]]",
		"team:create_service_account nightly-eval <nil> -> nightly-eval",
		"role:create launcher <nil> -> launcher",
		"project:create told <nil> -> restricted",
		"project:update told restricted -> team",
		"project:delete told team -> <nil>",
		"user:delete_api_key " + key[len("wbg-"):][:8] + " laptop -> <nil>",
		"user:permanently_delete carol admin -> <nil>",
	}
	what := func(record any) any {
		fields, _ := record.(map[string]any)
		for _, name := range []string{"role", "visibility", "name"} {
			if fields[name] != nil {
				return fields[name]
			}
		}
		return record
	}
	var got []string
	for _, e := range p.entries("directory changed", len(imported)+len(want))[len(imported):] {
		if e.fields["client"] == "" || e.fields["reason"] != "admin_endpoint" {
			t.Errorf("event %v", e.fields)
		}
		got = append(got, fmt.Sprintf("%v %v %v -> %v", e.fields["action"], e.fields["subject"], what(e.fields["before"]), what(e.fields["after"])))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the log says\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	p.holdsNoCanary(key, aliceKey, bobKey)
}

// TestCommandsSayWhatIsWrong: every error names the cause, and the exit code is not 0.
func TestCommandsSayWhatIsWrong(t *testing.T) {
	p := start(t, config{upstream: newRecorder(t).host()})
	p.importFile(acme)
	for _, tt := range []struct {
		args []string
		says string
	}{
		{[]string{"user", "create", "alice"}, "alice"},
		{[]string{"user", "create", "ALICE"}, "ALICE"},
		{[]string{"user", "create", "vision"}, "vision"},
		{[]string{"user", "create", "a b"}, "a b"},
		{[]string{"user", "set", "nobody", "--name", "x"}, "there is no user \"nobody\""},
		{[]string{"user", "set", "alice", "--role", "god"}, "god"},
		{[]string{"user", "set", "root", "--active=false"}, "admin"},
		{[]string{"user", "delete", "root"}, "admin"},
		{[]string{"team", "set", "vision", "--add", "nobody"}, "nobody"},
		{[]string{"project", "create", "nowhere/x"}, "nowhere"},
		{[]string{"project", "create", "justaname"}, "ENTITY/NAME"},
		{[]string{"project", "set", "vision/restricted", "--visibility", "open"}, "team"},
		{[]string{"project", "get", "vision/none"}, "vision/none"},
		{[]string{"service-account", "create", "x", "--team", "nowhere"}, "nowhere"},
		{[]string{"service-account", "create", "x", "--team", "vision", "--issuer", "https://ci.example", "--claim", "repository"}, "NAME=VALUE"},
		{[]string{"service-account", "create", "x", "--team", "vision", "--issuer", "https://ci.example", "--claim", "sub=repo:acme/*"}, "wildcard"},
		{[]string{"key", "create", "--owner", "alice"}, "--name"},
		{[]string{"key", "create", "--owner", "ci-vision", "--name", "x"}, "service_account:ci-vision"},
		{[]string{"key", "create", "--name", "x"}, "--owner"},
		{[]string{"key", "delete", "ffffffff"}, "ffffffff"},
		{[]string{"explain", "--as", "alice", "--to", "fly", "vision/team"}, "fly"},
		{[]string{"import", "no-such-file"}, "no-such-file"},
		{[]string{"user", "frob"}, "frob"},
		{[]string{"frob"}, "unknown command \"frob\""},
	} {
		out, err := p.iam("", tt.args...)
		if err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("iam %s: printed %q, error %v; want one that says %q", strings.Join(tt.args, " "), out, err, tt.says)
		}
	}
	p.admin = freeAddress(t)
	if _, err := p.iam("", "user", "list"); err == nil || !strings.Contains(err.Error(), "--address") {
		t.Errorf("no gateway there: %v", err)
	}
}
