package directory_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
)

var update = flag.Bool("update", false, "rewrite the goldens under testdata")

// contract is the file of design section 7.
const contract = `{"organization": "acme",
 "users": [{"username": "alice", "email": "alice@acme.test", "name": "Alice", "role": "member",
            "models_seat": "full", "weave_seat": "full", "active": true}],
 "teams": [{"name": "vision", "members": [{"user": "alice", "role": "admin"}]}],
 "projects": [{"entity": "vision", "name": "detector", "visibility": "restricted", "owner": "alice",
               "members": [{"user": "alice"}, {"service_account": "ci-train", "role": "member"}]}],
 "service_accounts": [{"name": "ci-train", "team": "vision"}, {"name": "org-bot", "default_team": "vision"},
                      {"name": "gh-train", "team": "vision", "subject": "repo:acme/detector:ref:refs/heads/main",
                       "issuer": "https://token.actions.githubusercontent.com"}],
 "custom_roles": [{"name": "launcher", "inherits": "viewer", "permissions": ["run:stop"]}],
 "api_keys": [{"owner": "alice", "name": "laptop", "key": "local-0123456789012345678901234567890123456789"}]}`

func (h *house) imported(file string) directory.ImportResult {
	h.Helper()
	r, err := h.Import(context.Background(), []byte(file), directory.ImportOptions{})
	h.ok(err)
	r.Rows = nil
	return r
}

func (h *house) pruned(file string) directory.ImportResult {
	h.Helper()
	r, err := h.Import(context.Background(), []byte(file), directory.ImportOptions{Prune: true})
	h.ok(err)
	r.Rows = nil
	return r
}

func (h *house) exported() string {
	h.Helper()
	var out bytes.Buffer
	h.ok(h.Export(context.Background(), &out))
	return out.String()
}

func (h *house) count(got, want directory.ImportResult) {
	h.Helper()
	if got.Created != want.Created || got.Updated != want.Updated || got.Unchanged != want.Unchanged || got.Deleted != want.Deleted || got.Ignored != want.Ignored {
		h.Errorf("counted %+v, want %+v", got, want)
	}
}

func TestImportContract(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.count(h.imported(contract), directory.ImportResult{Created: 8})
	revision := h.revision()
	h.count(h.imported(contract), directory.ImportResult{Unchanged: 8})
	if h.revision() != revision {
		t.Error("the second import wrote")
	}

	p, err := h.PrincipalByKey(ctx, iam.NewSecret("local-0123456789012345678901234567890123456789"))
	h.ok(err)
	if p.Username != "alice" || len(p.Teams) != 1 || p.Teams[0].Role != iam.RoleAdmin || p.Teams[0].Name != "vision" {
		t.Errorf("%+v", p)
	}
	f := h.facts(p.Ref, "vision", "detector")
	bot, err := h.FindServiceAccount(ctx, "ci-train")
	h.ok(err)
	if f.Project.Visibility != iam.VisibilityRestricted || f.Project.Owner != p.Ref || !f.Project.Invited(bot.Ref()) || f.Roles["launcher"] == nil {
		t.Errorf("%+v", f.Project)
	}
	gh, err := h.FindServiceAccountBySubject(ctx, "https://token.actions.githubusercontent.com", "repo:acme/detector:ref:refs/heads/main")
	h.ok(err)
	if gh == "" {
		t.Error("no external service account")
	}
}

func TestImportUpdates(t *testing.T) {
	h := newHouse(t)
	h.imported(contract)
	for _, c := range []struct {
		name, file string
		want       directory.ImportResult
	}{
		{"nothing", `{}`, directory.ImportResult{}},
		{"empty lists", `{"users":[],"teams":[],"projects":[],"service_accounts":[],"custom_roles":[],"api_keys":[]}`, directory.ImportResult{}},
		{"a name only", `{"users":[{"username":"alice"}]}`, directory.ImportResult{Unchanged: 1}},
		{"in another case", `{"users":[{"username":"ALICE"}]}`, directory.ImportResult{Unchanged: 1}},
		{"one member", `{"users":[{"username":"alice","name":"Alice A."}]}`, directory.ImportResult{Updated: 1}},
		{"one more", `{"users":[{"username":"bob","role":"admin","default_team":"audio"}],"teams":[{"name":"audio","members":[{"user":"bob"}]}]}`, directory.ImportResult{Created: 2}},
		{"team gains one", `{"teams":[{"name":"vision","members":[{"user":"bob","role":"viewer"}]}]}`, directory.ImportResult{Updated: 1}},
		{"team's role left out", `{"teams":[{"name":"vision","members":[{"user":"bob"}]}]}`, directory.ImportResult{Unchanged: 1}},
		{"project's list replaced", `{"projects":[{"entity":"vision","name":"detector","members":[{"user":"bob"}]}]}`, directory.ImportResult{Updated: 1}},
		{"project's list emptied", `{"projects":[{"entity":"vision","name":"detector","members":[]}]}`, directory.ImportResult{Updated: 1}},
		{"project's list left", `{"projects":[{"entity":"vision","name":"detector"}]}`, directory.ImportResult{Unchanged: 1}},
		{"owner is a service account", `{"projects":[{"entity":"vision","name":"detector","owner":"service_account:ci-train"}]}`, directory.ImportResult{Updated: 1}},
		{"personal project", `{"projects":[{"entity":"alice","name":"mine"}]}`, directory.ImportResult{Created: 1}},
		{"key renamed", `{"api_keys":[{"owner":"alice","name":"desktop","key":"local-0123456789012345678901234567890123456789"}]}`, directory.ImportResult{Updated: 1}},
		{"exported key from elsewhere", `{"api_keys":[{"owner":"alice","id":"00000000","name":"x","created":"2026-01-01T00:00:00Z"}]}`, directory.ImportResult{Ignored: 1}},
		{"subject moved", `{"service_accounts":[{"name":"gh-train","subject":"repo:acme/other"}]}`, directory.ImportResult{Updated: 1}},
		{"role widened", `{"custom_roles":[{"name":"launcher","permissions":["run:stop","run:delete"]}]}`, directory.ImportResult{Updated: 1}},
	} {
		h.TB.Log(c.name)
		h.count(h.imported(c.file), c.want)
	}
}

func TestImportPrunes(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	h.imported(contract)
	h.imported(`{"users":[{"username":"bob","role":"admin"}],"teams":[{"name":"audio","members":[{"user":"bob"},{"user":"alice"}]}],
		"projects":[{"entity":"audio","name":"speech","members":[{"user":"bob"}]}],
		"service_accounts":[{"name":"audio-ci","team":"audio"}],"api_keys":[{"owner":"bob","key":"local-bob-bob-bob"}]}`)

	h.count(h.pruned(`{"users":[{"username":"alice"},{"username":"bob"}]}`), directory.ImportResult{Unchanged: 2})
	// The team loses bob, and he his invitation.
	h.count(h.pruned(`{"teams":[{"name":"audio","members":[{"user":"alice"}]},{"name":"vision"}]}`), directory.ImportResult{Updated: 1, Unchanged: 1})
	speech := h.facts(h.principal(mustFind(h, "alice").Ref()).Ref, "audio", "speech").Project
	if len(speech.Members) != 0 {
		t.Errorf("%+v", speech)
	}
	_, err := h.Import(ctx, []byte(`{"teams":[{"name":"vision"}]}`), directory.ImportOptions{Prune: true})
	h.refused(err, iam.KindInvalid, "still has 1 projects")
	h.count(h.pruned(`{"teams":[{"name":"vision"}],"projects":[{"entity":"vision","name":"detector"}]}`), directory.ImportResult{Unchanged: 2, Deleted: 2})
	if id, _ := h.FindServiceAccount(ctx, "audio-ci"); id != "" {
		t.Error("the team's service account is left")
	}
	h.count(h.pruned(contract[:strings.Index(contract, `"users"`)]+`"api_keys":[],"custom_roles":[]}`), directory.ImportResult{Deleted: 3})
	if _, err := h.PrincipalByKey(ctx, iam.NewSecret("local-bob-bob-bob")); iam.KindOf(err) != iam.KindUnauthenticated {
		t.Errorf("pruned key: %v", err)
	}
	_, err = h.Import(ctx, []byte(`{"users":[]}`), directory.ImportOptions{Prune: true})
	h.refused(err, iam.KindInvalid, "without an active admin")
}

func mustFind(h *house, name string) iam.UserID {
	h.Helper()
	id, err := h.FindUser(context.Background(), name)
	h.ok(err)
	return id
}

func TestImportDryRunWritesNothing(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	r, err := h.Import(ctx, []byte(contract), directory.ImportOptions{DryRun: true})
	h.ok(err)
	h.count(r, directory.ImportResult{Created: 8})
	if h.revision() != 0 {
		t.Error("wrote")
	}
}

// TestImportGoldens imports testdata/import/*.json over the contract's file, and compares what is
// refused, or else what the directory has become.
func TestImportGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/import/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal("no goldens", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".json"), func(t *testing.T) {
			h := newHouse(t)
			h.imported(contract)
			before, revision := h.exported(), h.revision()
			input, err := os.ReadFile(file)
			h.ok(err)
			result, err := h.Import(context.Background(), input, directory.ImportOptions{})
			var got string
			if err != nil {
				got = err.Error() + "\n"
				if h.exported() != before || h.revision() != revision {
					t.Error("a refused file changed something")
				}
			} else {
				result.Rows = nil
				counted, _ := json.Marshal(result)
				got = string(counted) + "\n" + h.exported()
			}
			golden := strings.TrimSuffix(file, ".json") + ".golden"
			if *update {
				h.ok(os.WriteFile(golden, []byte(got), 0o644))
			}
			want, err := os.ReadFile(golden)
			h.ok(err)
			if got != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", got, want)
			}
		})
	}
}

func TestExportHasNoKeyMaterial(t *testing.T) {
	h := newHouse(t)
	h.imported(contract)
	secret := h.key(mustFind(h, "alice").Ref()).Reveal()
	out := h.exported()
	for _, hidden := range []string{secret, secret[12:], "0123456789"} {
		if strings.Contains(out, hidden) {
			t.Errorf("%q is in the export:\n%s", hidden, out)
		}
	}
	if !strings.Contains(out, `"owner": "alice"`) || !strings.Contains(out, secret[4:12]) {
		t.Errorf("keys are not listed:\n%s", out)
	}
}

// TestExportThenImportIsIdentity holds for directories made at random: importing an export changes
// nothing where it came from, and makes the like in an empty one.
func TestExportThenImportIsIdentity(t *testing.T) {
	for seed := range uint64(25) {
		h := newHouse(t)
		makeAtRandom(h, rand.New(rand.NewPCG(seed, 1)))
		first, revision := h.exported(), h.revision()
		r := h.imported(first)
		if r.Created+r.Updated+r.Deleted+r.Ignored != 0 || h.revision() != revision {
			t.Fatalf("seed %d: importing one's own export: %+v\n%s", seed, r, first)
		}
		if r := h.pruned(first); r.Deleted != 0 || h.revision() != revision {
			t.Fatalf("seed %d: pruning by one's own export: %+v", seed, r)
		}
		empty := newHouse(t)
		empty.imported(first)
		if got, want := withoutKeys(t, empty.exported()), withoutKeys(t, first); got != want {
			t.Fatalf("seed %d: got\n%s\nwant\n%s", seed, got, want)
		}
	}
}

func withoutKeys(t *testing.T, export string) string {
	var file map[string]any
	if err := json.Unmarshal([]byte(export), &file); err != nil {
		t.Fatal(err)
	}
	delete(file, "api_keys")
	out, _ := json.MarshalIndent(file, "", " ")
	return string(out)
}

// makeAtRandom does random administration, right and wrong.
func makeAtRandom(h *house, r *rand.Rand) {
	ctx := context.Background()
	keys := rand.New(rand.NewPCG(1, 18))
	var users []iam.UserID
	var teams []iam.TeamID
	var accounts []iam.ServiceAccountID
	var projects []iam.ProjectID
	roles := []iam.Role{iam.RoleAdmin, iam.RoleMember, iam.RoleViewer, "launcher", "pilot"}
	try := func(err error) {
		h.Helper()
		switch iam.KindOf(err) {
		case iam.KindInternal, iam.KindUnavailable:
			if err != nil {
				h.Fatal(err)
			}
		}
	}
	for i := range 4 {
		users = append(users, h.user(fmt.Sprintf("user%d", i)))
		teams = append(teams, h.team(fmt.Sprintf("Team%d", i)))
	}
	for range 150 {
		u, t := users[r.IntN(len(users))], teams[r.IntN(len(teams))]
		role := roles[r.IntN(len(roles))]
		switch r.IntN(16) {
		case 0:
			try(second(h.SetRole(ctx, iam.CustomRole{Name: string(roles[3+r.IntN(2)]), Inherits: roles[1+r.IntN(2)], Permissions: []string{"run:stop"}})))
		case 1:
			try(second(h.DeleteRole(ctx, role)))
		case 2, 3:
			try(second(h.SetMember(ctx, t, u, role)))
		case 4:
			try(second(h.RemoveMember(ctx, t, u)))
		case 5:
			c, err := h.CreateServiceAccount(ctx, directory.NewServiceAccount{Name: fmt.Sprintf("sa-%d", r.IntN(99)), Team: t})
			try(err)
			if err == nil {
				accounts = append(accounts, c.After.ID)
			}
		case 6:
			n := directory.NewServiceAccount{Name: fmt.Sprintf("sa-%d", r.IntN(99)), Team: t, Issuer: "https://i", Subject: fmt.Sprint(r.IntN(99))}
			if r.IntN(2) == 0 {
				n.Claims, n.Subject = map[string]string{"repository": n.Subject, "ref": "main"}, ""
			}
			c, err := h.CreateServiceAccount(ctx, n)
			try(err)
			if err == nil {
				accounts = append(accounts, c.After.ID)
			}
		case 7:
			entity := t.Entity()
			if r.IntN(3) == 0 {
				entity = u.PersonalEntity()
			}
			c, err := h.CreateProject(ctx, directory.NewProject{Entity: entity, Name: fmt.Sprintf("pröject %d", r.IntN(99)), Visibility: iam.Visibility(r.IntN(4)), Owner: u.Ref()})
			try(err)
			if err == nil {
				projects = append(projects, c.After.ID)
			}
		case 8:
			try(second(h.SetUser(ctx, u, directory.UserChange{DefaultTeam: &t})))
		case 9:
			try(second(h.SetUser(ctx, u, directory.UserChange{Role: ptr([]iam.OrganizationRole{"admin", "member", "viewer"}[r.IntN(3)]), WeaveSeat: ptr(iam.SeatNone)})))
		case 10:
			limits := []iam.KeyLimits{{}, {ReadOnly: true}, {Entity: t.Entity(), Project: "detector"}, {Entity: users[keys.IntN(len(users))].PersonalEntity(), Expires: noon.AddDate(1, 0, 0)}}
			_, _, err := h.CreateKey(ctx, directory.NewKey{Owner: u.Ref(), Name: "key", Limits: limits[keys.IntN(len(limits))]})
			try(err)
		case 11:
			if r.IntN(3) == 0 {
				try(second(h.DeleteUser(ctx, u)))
			}
		case 12:
			try(second(h.CreateUser(ctx, directory.NewUser{Username: fmt.Sprintf("user%d", r.IntN(4)), Inactive: r.IntN(2) == 0})))
		case 13, 14:
			maybe := func() *bool { return []*bool{nil, ptr(true), ptr(false)}[r.IntN(3)] }
			c := directory.TeamSettingsChange{Hidden: maybe(), PrivateProjects: maybe(), MembersInvite: maybe(), AutoJoin: maybe()}
			try(second(h.SetTeam(ctx, t, directory.TeamChange{Settings: c})))
		case 15:
			position := func() *iam.Switch {
				return []*iam.Switch{nil, ptr(iam.SwitchUnset), ptr(iam.SwitchOff), ptr(iam.SwitchOn)}[r.IntN(4)]
			}
			try(second(h.SetOrganization(ctx, directory.OrganizationChange{EnforceHidden: position(), EnforcePrivateProjects: position(), EnforceMembersInvite: position()})))
		}
		if len(projects) == 0 {
			continue
		}
		p := projects[r.IntN(len(projects))]
		who := u.Ref()
		if len(accounts) > 0 && r.IntN(2) == 0 {
			who = accounts[r.IntN(len(accounts))].Ref()
		}
		switch r.IntN(6) {
		case 0, 1:
			try(second(h.SetProjectMember(ctx, p, who, role)))
		case 2:
			try(second(h.SetProjectMember(ctx, p, who, "")))
		case 3:
			try(h.SetVisibility(ctx, p, iam.Visibility(r.IntN(4))))
		case 4:
			if who.Kind == iam.KindServiceAccount && r.IntN(4) == 0 {
				try(second(h.DeleteServiceAccount(ctx, iam.ServiceAccountID(who.ID))))
			}
		}
	}
}

func TestImportOfTenThousandRows(t *testing.T) {
	h, ctx := newHouse(t), context.Background()
	var file bytes.Buffer
	file.WriteString(`{"users":[{"username":"root","role":"admin"}`)
	const users = 9_996
	for i := range users {
		fmt.Fprintf(&file, `,{"username":"user-%d","email":"user-%d@acme.test"}`, i, i)
	}
	file.WriteString(`],"teams":[{"name":"all","members":[{"user":"root"}`)
	for i := range users {
		fmt.Fprintf(&file, `,{"user":"user-%d"}`, i)
	}
	file.WriteString(`]},{"name":"few"},{"name":"none"}]}`)
	h.count(h.imported(file.String()), directory.ImportResult{Created: 10_000})
	revision := h.revision()
	h.count(h.imported(file.String()), directory.ImportResult{Unchanged: 10_000})
	if h.revision() != revision {
		t.Error("the second import wrote")
	}

	file.Reset()
	file.WriteString(`{"api_keys":[{"owner":"root","key":"local-root-root"}`)
	for i := range 20_000 {
		fmt.Fprintf(&file, `,{"owner":"user-1","key":"local-%020d"}`, i)
	}
	file.WriteString(`]}`)
	_, err := h.Import(ctx, file.Bytes(), directory.ImportOptions{})
	h.refused(err, iam.KindTooLarge, "split it; nothing was changed")
	if h.revision() != revision {
		t.Error("wrote something")
	}
}

// FuzzImport wants -fuzzminimizetime 10x: the goroutines of store and cache make coverage flicker, and
// the fuzzer would spend its time on minimizing what is not new.
func FuzzImport(f *testing.F) {
	f.Add([]byte(contract))
	files, _ := filepath.Glob("testdata/import/*.json")
	for _, file := range files {
		seed, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(seed)
	}
	s, err := embedded.Open(embedded.Config{Directory: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	h := onStore(f, s, authz.Settings{})
	h.imported(contract)
	f.Fuzz(func(t *testing.T, file []byte) {
		// Whatever the file says, judging it neither fails inside nor writes.
		h := &house{TB: t, Directory: h.Directory, cache: h.cache, store: h.store}
		revision := h.revision()
		_, err := h.Import(context.Background(), file, directory.ImportOptions{DryRun: true, Prune: len(file)%2 == 0})
		if err != nil && iam.KindOf(err) != iam.KindInvalid && iam.KindOf(err) != iam.KindTooLarge {
			t.Errorf("%v", err)
		}
		if err == nil && !json.Valid(file) {
			t.Error("accepted what is no JSON")
		}
		if h.revision() != revision {
			t.Error("a dry run wrote")
		}
	})
}
