package wandb

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wandb-gateway/wandb-gateway/authz"
)

var updateGraphQL = flag.Bool("update-graphql", false, "write the goldens of the GraphQL reading anew")

// golden compares got with a file, or writes it.
func goldenText(t *testing.T, path, got string) {
	t.Helper()
	if *updateGraphQL {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s is not what it says; go test -update-graphql writes it anew. Now:\n%s", path, got)
	}
}

// refusedForSoleJudge are the documents of clients that need more than what their root needs where
// the gateway is the only judge: their lists do not say which projects they show, and nothing else
// tells it.
var refusedForSoleJudge = []string{"GetAutomationsLegacy", "GetEntityAutomationsLegacy", "GetOrgAutomations"}

// TestClientDocuments: every document that W&B clients send is placed as sdk-wire says, and whoever
// may do what its root says may send it.
func TestClientDocuments(t *testing.T) {
	raw, err := os.ReadFile("testdata/clients.txt")
	if err != nil {
		t.Fatal(err)
	}
	r := newReader(t)
	var out strings.Builder
	for line := range strings.Lines(string(raw)) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		name, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		var variables json.RawMessage
		d := json.NewDecoder(strings.NewReader(rest))
		if err := d.Decode(&variables); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b := body(t, rest[d.InputOffset():], variables)
		c, err := r.Read(b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		accesses, err := c.Accesses("home")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		for _, a := range accesses {
			unplaced := a.Permission == authz.UnplacedRead || a.Permission == authz.UnplacedWrite
			if unplaced && !a.Redactable && !slices.Contains(refusedForSoleJudge, name) {
				t.Errorf("%s needs %s", name, show(a))
			}
		}
		forwarded, err := c.Body(BodyOptions{DefaultEntity: "home"})
		if err != nil || name != "GetProjectsOfNobody" && !bytes.Equal(forwarded, b) {
			t.Errorf("%s is changed to %s, %v", name, forwarded, err)
		}
		fmt.Fprintf(&out, "%s\n\t%s\n", name, strings.ReplaceAll(showAll(accesses), "\n", "\n\t"))
	}
	goldenText(t, "testdata/clients.golden", out.String())
}

// TestRootsDocumentation keeps the tables of docs/graphql.md in step with the code.
func TestRootsDocumentation(t *testing.T) {
	const path = "../../docs/graphql.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := between(t, string(page), "roots", rootsTable())
	text = between(t, text, "crossings", crossingsTable())
	goldenText(t, path, text)
}

// between replaces what stands between the marks of a generated part.
func between(t *testing.T, page, name, with string) string {
	t.Helper()
	begin, end := "<!-- "+name+" begin -->\n", "<!-- "+name+" end -->"
	before, rest, ok1 := strings.Cut(page, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok1 || !ok2 {
		t.Fatalf("the page has no part %s", name)
	}
	return before + begin + with + end + after
}

func rootsTable() string {
	var b strings.Builder
	b.WriteString("| root field | needs | sdk-wire |\n|---|---|---|\n")
	names := slices.SortedFunc(maps.Keys(rootTable), func(x, y string) int {
		if rootTable[x].mutation != rootTable[y].mutation {
			return cmp.Compare(fmt.Sprint(rootTable[x].mutation), fmt.Sprint(rootTable[y].mutation))
		}
		return cmp.Compare(strings.ToLower(x), strings.ToLower(y))
	})
	for _, name := range names {
		row := rootTable[name]
		kind := "query"
		if row.mutation {
			kind = "mutation"
		}
		var needs []string
		for _, c := range row.claims {
			needs = append(needs, claimText(c))
		}
		fmt.Fprintf(&b, "| %s `%s` | %s | %s |\n", kind, name, strings.Join(needs, "; "), row.ref)
	}
	return b.String()
}

func claimText(c claim) string {
	var b strings.Builder
	fmt.Fprintf(&b, "`%s`", c.permission)
	var from []string
	for _, path := range []string{c.entity, c.project, c.run, c.organization, c.id} {
		if path != "" {
			from = append(from, "`"+path+"`")
		}
	}
	switch c.kind {
	case claimSelf:
		b.WriteString(" of the caller")
	case claimServer:
		b.WriteString(" of the server")
	case claimOrganization:
		b.WriteString(" of the organization")
	default:
	}
	if c.each != "" {
		fmt.Fprintf(&b, " for each of `%s`", c.each)
	}
	if c.json != "" {
		fmt.Fprintf(&b, " by the JSON in `%s`", c.json)
	}
	if len(from) > 0 {
		fmt.Fprintf(&b, " by %s", strings.Join(from, ", "))
	}
	if c.idType != "" {
		fmt.Fprintf(&b, " (id of: %s)", c.idType)
	}
	if c.when != "" {
		fmt.Fprintf(&b, " if `%s` is given", c.when)
	}
	if c.unlessFalse != "" {
		fmt.Fprintf(&b, " if `%s` is not false", c.unlessFalse)
	}
	if c.administered {
		b.WriteString(" unless it only sets `input.access` or `input.owner` and reads names")
	}
	if c.access != "" {
		b.WriteString(", to what `" + c.access + "` says")
	}
	if c.creates {
		b.WriteString(", or `project:create`")
	}
	if c.filtered {
		b.WriteString(", filtered")
	}
	return b.String()
}

func crossingsTable() string {
	var b strings.Builder
	b.WriteString("| of | field | leads to | needs |\n|---|---|---|---|\n")
	for _, t := range slices.Sorted(maps.Keys(typeTable)) {
		for _, field := range slices.Sorted(maps.Keys(typeTable[t].fields)) {
			s := typeTable[t].fields[field]
			var needs string
			switch s.how {
			case away, owner:
				needs = "nothing: only what is named there is shown"
			case placed:
				needs = claimText(s.claim) + " in the entity around it"
			case crossing:
				needs = claimText(s.claim)
			case projects:
				needs = claimText(s.claim)
			default:
				continue
			}
			if s.redactable {
				needs += ", or it is emptied"
			}
			fmt.Fprintf(&b, "| %s | `%s` | %s | %s |\n", t, field, cmp.Or(string(s.to), "scalar"), needs)
		}
	}
	return b.String()
}
