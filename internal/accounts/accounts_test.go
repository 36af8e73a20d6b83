package accounts

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wandb-gateway/wandb-gateway/gateway"
	"github.com/wandb-gateway/wandb-gateway/internal/directory"
	"github.com/wandb-gateway/wandb-gateway/internal/hotcache"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
	"github.com/wandb-gateway/wandb-gateway/internal/store/embedded"
	"github.com/wandb-gateway/wandb-gateway/internal/wandb"
)

// office is the accounts of a directory: root administers the organization, tina team vision, max is in it.
type office struct {
	testing.TB
	*Accounts
	people map[string]*iam.Principal
	team   iam.TeamID
	events []Event
	now    time.Time
}

func newOffice(t testing.TB) *office {
	t.Helper()
	s, err := embedded.Open(embedded.Config{Directory: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	cache, err := hotcache.New(hotcache.Config{Store: s, Space: "acme"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	o := &office{TB: t, people: map[string]*iam.Principal{}, now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time { return o.now }
	d, err := directory.New(directory.Config{Cache: cache, Organization: "acme", HMACKey: [32]byte{1}, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	o.Accounts, err = New(Config{Directory: d, Master: keys.NewMasterKey(), Report: func(e Event) { o.events = append(o.events, e) }, Now: clock})
	if err != nil {
		t.Fatal(err)
	}
	for name, role := range map[string]iam.OrganizationRole{"root": iam.OrganizationAdmin, "tina": iam.OrganizationMember, "max": iam.OrganizationMember} {
		c, err := d.CreateUser(t.Context(), directory.NewUser{Username: name, Email: name + "@acme.test", Role: role})
		if err != nil {
			t.Fatal(err)
		}
		o.people[name] = o.principal(c.After.ID.Ref())
	}
	c, err := d.CreateTeam(t.Context(), "vision", directory.TeamMember{User: iam.UserID(o.people["tina"].Ref.ID), Role: iam.RoleAdmin},
		directory.TeamMember{User: iam.UserID(o.people["max"].Ref.ID), Role: iam.RoleMember})
	if err != nil {
		t.Fatal(err)
	}
	o.team = c.After.ID
	return o
}

func (o *office) principal(ref iam.PrincipalRef) *iam.Principal {
	o.Helper()
	p, err := o.Directory.Principal(o.Context(), ref)
	if err != nil {
		o.Fatal(err)
	}
	return p
}

// ask puts a root field with a selection to the accounts.
func (o *office) ask(who, root string, args map[string]any, selection string) (string, error) {
	o.Helper()
	f := wandb.Root{Name: root, ResponseKey: root, Args: args}
	if !roots[root].query {
		f.Args = map[string]any{"input": args}
	}
	f.Fields = selected(selection)
	b, err := o.Answer(o.Context(), gateway.Question{Who: o.people[who], Root: f, Alone: true})
	return string(b), err
}

// selected reads a selection such as "a{b c}".
func selected(s string) []wandb.Field {
	fields, _ := selection(strings.NewReplacer("{", " { ", "}", " } ").Replace(s))
	return fields
}

func selection(s string) (fields []wandb.Field, rest string) {
	for {
		s = strings.TrimSpace(s)
		word, after, _ := strings.Cut(s, " ")
		switch word {
		case "", "}":
			return fields, after
		case "{":
			fields[len(fields)-1].Fields, s = selection(after)
		default:
			fields, s = append(fields, wandb.Field{Name: word, ResponseKey: word}), after
		}
	}
}

// Everybody is found, page by page, once each; whoever has exactly the name comes first.
func TestUsersInPages(t *testing.T) {
	o := newOffice(t)
	for i := range 25 {
		if _, err := o.Directory.CreateUser(t.Context(), directory.NewUser{Username: fmt.Sprintf("max-%02d", i), Email: fmt.Sprintf("m%02d@acme.test", i)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, size := range []string{"1", "2", "7", "26", "1000"} {
		var seen []string
		args := map[string]any{"query": "MAX", "first": json.Number(size)}
		for {
			answer, err := o.ask("root", "users", args, "edges{node{username}} pageInfo{hasNextPage endCursor}")
			if err != nil {
				t.Fatal(err)
			}
			var page struct {
				Edges    []struct{ Node struct{ Username string } }
				PageInfo struct {
					HasNextPage bool
					EndCursor   string
				}
			}
			if err := json.Unmarshal([]byte(answer), &page); err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Edges {
				seen = append(seen, e.Node.Username)
			}
			if !page.PageInfo.HasNextPage {
				break
			}
			args["after"] = page.PageInfo.EndCursor
		}
		if seen[0] != "max" || len(seen) != 26 || len(slices.Compact(slices.Sorted(slices.Values(seen)))) != 26 {
			t.Errorf("in pages of %s: %v", size, seen)
		}
	}
	if _, err := o.Directory.CreateUser(t.Context(), directory.NewUser{Username: "two", Email: "xm01@acme.test"}); err != nil {
		t.Fatal(err)
	}
	if answer, err := o.ask("root", "users", map[string]any{"query": "M01@acme.test"}, "edges{node{username}}"); err != nil || answer != `{"edges":[{"node":{"username":"max-01"}}]}` {
		t.Errorf("an address finds %s (%v)", answer, err)
	}
	// Names are compared without regard to case, and no sign means anything but itself.
	for query, want := range map[string]int{"m": 26, "@ACME.test": 29, "m0": 10, "%": 0, "*": 0, ".*": 0, "\x00": 0, "": 29, "ax": 1, "a": 1, "TİNA": 0} {
		answer, err := o.ask("root", "users", map[string]any{"query": query}, "edges{node{username}}")
		if err != nil || strings.Count(answer, "username") != want {
			t.Errorf("%q finds %d (%v), want %d", query, strings.Count(answer, "username"), err, want)
		}
	}
}

// A team's admin ends a key of the team's service account, and nobody else's.
func TestTeamAdminDeletesAccountsKeys(t *testing.T) {
	o := newOffice(t)
	account, err := o.Directory.CreateServiceAccount(t.Context(), directory.NewServiceAccount{Name: "ci", Team: o.team})
	if err != nil {
		t.Fatal(err)
	}
	other, err := o.Directory.CreateServiceAccount(t.Context(), directory.NewServiceAccount{Name: "org", DefaultTeam: o.team})
	if err != nil {
		t.Fatal(err)
	}
	node := map[string]string{}
	for name, ref := range map[string]iam.PrincipalRef{"ci": account.After.ID.Ref(), "org": other.After.ID.Ref(), "max": o.people["max"].Ref} {
		_, c, err := o.Directory.MintKey(t.Context(), ref, "k")
		if err != nil {
			t.Fatal(err)
		}
		node[name] = keyNode(*c.After)
	}
	for _, tt := range []struct {
		who, key string
		kind     iam.Kind
	}{
		{"max", "ci", iam.KindDenied}, {"tina", "org", iam.KindDenied}, {"tina", "max", iam.KindDenied},
		{"tina", "ci", iam.KindInternal}, {"tina", "ci", iam.KindNotFound}, {"root", "org", iam.KindInternal}, {"max", "max", iam.KindInternal},
	} {
		answer, err := o.ask(tt.who, "deleteApiKey", map[string]any{"id": node[tt.key]}, "success")
		if done := err == nil; done != (tt.kind == iam.KindInternal) || !done && iam.KindOf(err) != tt.kind || done && answer != `{"success":true}` {
			t.Errorf("%s deletes a key of %s: %s %v", tt.who, tt.key, answer, err)
		}
	}
	var rights []iam.Reason
	for _, e := range o.events {
		rights = append(rights, e.Reason)
	}
	if want := []iam.Reason{"team_admin", "organization_admin", ""}; !slices.Equal(rights, want) { // the last is the gateway's to tell
		t.Errorf("by the rights %q, want %q", rights, want)
	}
}

// KEY-9, as far as the SDK's fields go: everybody sees the names of their own keys, the organization's admins those of
// everybody, and its service accounts, which may look people up, none.
func TestWhoSeesWhichKeys(t *testing.T) {
	o := newOffice(t)
	bot, err := o.Directory.CreateServiceAccount(t.Context(), directory.NewServiceAccount{Name: "org", DefaultTeam: o.team})
	if err != nil {
		t.Fatal(err)
	}
	o.people["org"] = o.principal(bot.After.ID.Ref())
	for name, p := range o.people {
		if _, _, err := o.Directory.MintKey(t.Context(), p.Ref, "key of "+name); err != nil {
			t.Fatal(err)
		}
	}
	const keys = "apiKeys{edges{node{name}}}"
	for who, want := range map[string]int{"root": 3, "org": 0} {
		if answer, err := o.ask(who, "users", map[string]any{}, "edges{node{"+keys+"}}"); err != nil || strings.Count(answer, "key of") != want {
			t.Errorf("%s sees %s (%v)", who, answer, err)
		}
	}
	for who, p := range o.people {
		own, err := o.Keys(t.Context(), p, wandb.Field{Name: "apiKeys", Fields: selected("edges{node{name}}")})
		if err != nil || string(own) != `{"edges":[{"node":{"name":"key of `+who+`"}}]}` {
			t.Errorf("of their own %s sees %s (%v)", who, own, err)
		}
	}
}

// A key that waits is shown to who may still administer the team, for ten minutes.
func TestWaitingKey(t *testing.T) {
	o := newOffice(t)
	create := func() {
		t.Helper()
		if _, err := o.ask("tina", "createServiceAccount", map[string]any{"entityName": "vision", "description": "bot"}, "user{id}"); err != nil {
			t.Fatal(err)
		}
	}
	shown := func(who string) int {
		t.Helper()
		answer, err := o.ask(who, "entity", map[string]any{"name": "vision"}, "members{username apiKey}")
		if err != nil {
			t.Fatal(err)
		}
		return strings.Count(answer, "wbg-")
	}
	create()
	if n := shown("max") + shown("root"); n != 0 {
		t.Errorf("shown to others: %d", n)
	}
	if n := shown("tina"); n != 1 {
		t.Errorf("shown %d times", n)
	}
	create()
	create()
	if n := shown("tina"); n != 2 {
		t.Errorf("of two %d are shown", n)
	}
	create()
	o.now = o.now.Add(10 * time.Minute)
	if n := shown("tina"); n != 0 {
		t.Errorf("shown too late: %d", n)
	}
	create()
	if _, err := o.Directory.SetMember(t.Context(), o.team, iam.UserID(o.people["tina"].Ref.ID), iam.RoleMember); err != nil {
		t.Fatal(err)
	}
	if n := shown("tina"); n != 0 {
		t.Errorf("shown to somebody who may no longer have it: %d", n)
	}
}

// A key with limits of whoever made the account is handed none without, and takes none from who may have it: also
// one that only ends, though it may administer the team.
func TestWaitingKeyIsNotForKeysWithLimits(t *testing.T) {
	o := newOffice(t)
	if _, err := o.ask("tina", "createServiceAccount", map[string]any{"entityName": "vision", "description": "bot"}, "user{id}"); err != nil {
		t.Fatal(err)
	}
	whole := o.people["tina"]
	for name, l := range map[string]iam.KeyLimits{
		"ends": {Expires: o.now.Add(time.Hour)}, "reads": {ReadOnly: true}, "of the team": {Entity: o.team.Entity()},
	} {
		secret, _, err := o.Directory.CreateKey(t.Context(), directory.NewKey{Owner: whole.Ref, Name: name, Limits: l})
		if err != nil {
			t.Fatal(err)
		}
		if o.people["tina"], err = o.Directory.PrincipalByKey(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		answer, err := o.ask("tina", "entity", map[string]any{"name": "vision"}, "members{username apiKey}")
		if err != nil || !strings.Contains(answer, `"bot"`) || strings.Contains(answer, "wbg-") {
			t.Errorf("a key that %s is shown %s, %v", name, answer, err)
		}
	}
	o.people["tina"] = whole
	if answer, err := o.ask("tina", "entity", map[string]any{"name": "vision"}, "members{username apiKey}"); err != nil || strings.Count(answer, "wbg-") != 1 {
		t.Errorf("afterwards she is shown %s, %v", answer, err)
	}
}

// What is not selected is not done: a look at the members without keys leaves them waiting.
func TestLookingWithoutKeysTakesNone(t *testing.T) {
	o := newOffice(t)
	if _, err := o.ask("tina", "createServiceAccount", map[string]any{"entityName": "vision", "description": "bot"}, ""); err != nil {
		t.Fatal(err)
	}
	if answer, err := o.ask("tina", "entity", map[string]any{"name": "vision"}, "id members{username}"); err != nil || strings.Contains(answer, "wbg-") {
		t.Fatal(answer, err)
	}
	f := wandb.Root{Name: "entity", Args: map[string]any{"name": "vision"}, Fields: selected("members{apiKey}")}
	b, err := o.Answer(t.Context(), gateway.Question{Who: o.people["tina"], Root: f})
	if err != nil || strings.Contains(string(b), "wbg-") {
		t.Errorf("beside the server's part: %s %v", b, err)
	}
	if answer, err := o.ask("tina", "entity", map[string]any{"name": "vision"}, "members{apiKey}"); err != nil || !strings.Contains(answer, "wbg-") {
		t.Errorf("afterwards: %s %v", answer, err)
	}
}

// A field that is not there is null, an object has only what was asked for, and one key is answered once.
func TestSelections(t *testing.T) {
	o := newOffice(t)
	args := map[string]any{"email": "dave@acme.test"}
	answer, err := o.ask("root", "createUser", args, "__typename user{username secret{x} teams{edges{node{name}}}} other clientMutationId")
	if want := `{"__typename":"CreateUserPayload","user":{"username":"dave","secret":null,"teams":null},"other":null,"clientMutationId":null}`; err != nil || answer != want {
		t.Errorf("%s %v", answer, err)
	}
	answer, err = o.ask("root", "users", map[string]any{"query": "dave"}, "edges{node{id}} edges{node{username} cursor}")
	if err != nil || strings.Count(answer, "edges") != 1 || !strings.Contains(answer, `"username":"dave"`) || !strings.Contains(answer, `"cursor"`) {
		t.Errorf("%s %v", answer, err)
	}
}

func FuzzNodeIDs(f *testing.F) {
	f.Add(memberNode("team_1", iam.UserID("usr_1").Ref()))
	f.Add(keyNode(directory.Key{ID: "00000000", Owner: iam.ServiceAccountID("sa_1").Ref()}))
	f.Add("QXBpS2V5OnVzZXI6OjA=")
	f.Fuzz(func(t *testing.T, id string) {
		if team, who, err := parseMemberNode(id); err == nil && (memberNode(team, who) != id || who.ID == "" || team == "") {
			t.Errorf("%q is read as %s of %s", id, who, team)
		}
		if owner, key, err := parseKeyNode(id); err == nil && (keyNode(directory.Key{ID: key, Owner: owner}) != id || owner.ID == "") {
			t.Errorf("%q is read as %s of %s", id, key, owner)
		}
	})
}

// Whatever stands in the arguments, a caller who may not is not let in by it, and nothing falls over.
func FuzzArguments(f *testing.F) {
	for _, seed := range []string{`{"input":{"email":"x@acme.test","admin":true}}`, `{"input":{"entityName":"vision","username":"max"}}`, `{"input":[]}`, `{"query":1}`, `{"name":"vision"}`, `{"input":{"id":"x"}}`, `null`} {
		f.Add(seed)
	}
	o := newOffice(f)
	names := slices.Sorted(maps.Keys(roots))
	f.Fuzz(func(t *testing.T, text string) {
		var args map[string]any
		d := json.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		if d.Decode(&args) != nil {
			return
		}
		for _, name := range names {
			in, err := readArguments(wandb.Root{Name: name, Args: args}, roots[name])
			if err != nil {
				if iam.KindOf(err) != iam.KindInvalid {
					t.Errorf("%s: %v", name, err)
				}
				continue
			}
			for member := range in {
				if !slices.Contains(roots[name].input, member) {
					t.Errorf("%s takes %q", name, member)
				}
			}
			if !roots[name].query {
				continue
			}
			b, err := o.Answer(context.Background(), gateway.Question{Who: o.people["max"], Root: wandb.Root{Name: name, Args: args, Fields: selected("edges{node{id}} members{id}")}})
			if err == nil && !json.Valid(b) || iam.KindOf(err) == iam.KindInternal && err != nil {
				t.Errorf("%s: %s %v", name, b, err)
			}
		}
	})
}

// BenchmarkTeam is a look at a team of 2000.
func BenchmarkTeam(b *testing.B) {
	o := newOffice(b)
	for i := range 2000 {
		c, err := o.Directory.AddPerson(b.Context(), fmt.Sprintf("user-%04d@acme.test", i), iam.OrganizationMember)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := o.Directory.AddMember(b.Context(), o.team, c.After.ID, iam.RoleMember); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := o.ask("tina", "entity", map[string]any{"name": "vision"}, "id members{id admin username name email accountType apiKey}"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUsers is a search among 100,000 people: by an exact address, and by what only few addresses end with.
func BenchmarkUsers(b *testing.B) {
	o := newOffice(b)
	var file strings.Builder
	file.WriteString(`{"organization":"acme","users":[{"username":"root","email":"root@acme.test","role":"admin"}`)
	const people, part = 100_000, 3000
	for i := 0; i < people; i += part {
		var users strings.Builder
		users.WriteString(file.String())
		for n := i; n < min(i+part, people); n++ {
			fmt.Fprintf(&users, `,{"username":"user-%06d","email":"user-%06d@acme.test"}`, n, n)
		}
		users.WriteString("]}")
		if _, err := o.Directory.Import(b.Context(), []byte(users.String()), directory.ImportOptions{}); err != nil {
			b.Fatal(err)
		}
	}
	for name, query := range map[string]string{"address": "user-099999@acme.test", "ending": "9999@acme.test", "page": ""} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := o.ask("root", "users", map[string]any{"query": query}, "edges{node{id username email apiKeys{edges{node{id}}} teams{edges{node{name}}}}}"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
