package caddymodule

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "iam",
		Usage: "<noun> <verb> [args] [--address <admin>] [--json]",
		Short: "Administers the gateway's users, teams, projects, service accounts and API keys",
		Long: `
Administers the directory of a running gateway, through Caddy's admin endpoint.

	iam import FILE                      read a directory file; importing twice changes nothing
	iam export                           write one, without key material
	iam backup FILE                      copy the embedded store, while the gateway runs
	iam migrate --from CONFIG --to CONFIG   move the store to another backend, while no gateway runs
	iam user|team|project|service-account|role create|list|get|set|delete [NAME]
	iam team set NAME --hidden|--private-projects|--members-invite|--auto-join on|off
	iam organization get|set             what is decided for all teams
	iam key create --owner NAME --name LABEL   prints the new key, alone, once
	    [--expires WHEN] [--read-only] [--entity NAME | --project ENTITY/NAME]   it may less than its owner
	iam key list [--owner NAME] [--team NAME] [--search TEXT] [--unused-for 90d] [--sort COLUMN[:desc]]
	iam key delete ID
	iam issuer create|list|get|set|delete [URL]
	iam token delete [ID] [--owner NAME] [--before TIME]
	iam upstream-key set --user NAME | --team NAME   keeps their key of the W&B server, read from standard input
	iam upstream-key list; iam upstream-key delete --user NAME | --team NAME
	iam session list [--owner NAME]; iam session delete ID
	iam signing-key create|list|delete [ID]
	iam explain --as WHO | --key ID --to ACTION RESOURCE
	iam explain --token FILE             why a token counts or not, check by check
	iam doctor [issuer URL]
`,
		CobraFunc: buildIAM,
	})
}

// option is a flag of an iam command, sent as a member of the request when it was given.
type option struct {
	name, usage string
	kind        optionKind
}

type optionKind uint8

const (
	textOption   optionKind = iota
	listOption              // may be given several times
	fileOption              // names a file, whose contents are sent
	switchOption            // true or false
)

// verb is one iam command: what it takes, and which columns a person sees.
type verb struct {
	noun, name string
	args       string // the positional argument, "" if it takes none
	optional   bool   // whether the argument may be left out
	short      string
	options    []option
	stdin      string   // the member of the request that holds what stands in standard input, "" for none
	columns    []string // of the rows in the answer; none prints the answer's text
}

var iamVerbs = []verb{
	{noun: "user", name: "create", args: "USERNAME", short: "Add a person", options: append([]option{
		{name: "active", usage: "false adds the person without access", kind: switchOption}}, userOptions...)},
	{noun: "user", name: "list", short: "List people", columns: userColumns},
	{noun: "user", name: "get", args: "USERNAME", short: "Show a person", columns: userColumns},
	{noun: "user", name: "set", args: "USERNAME", short: "Change a person", options: append([]option{
		{name: "active", usage: "false ends access at once, true gives it back", kind: switchOption},
		{name: "unbind", usage: "an issuer: forget the person's account there, so that they can sign in with another of the same e-mail address"},
		{name: "default-team", usage: "where work goes that names no entity"}}, userOptions...)},
	{noun: "user", name: "delete", args: "USERNAME", short: "Remove a person for good, with keys and memberships"},

	{noun: "team", name: "create", args: "NAME", short: "Add a team", options: []option{
		{name: "add", usage: "a member, as USERNAME or USERNAME:ROLE", kind: listOption}}},
	{noun: "team", name: "list", short: "List teams", columns: teamColumns},
	{noun: "team", name: "get", args: "NAME", short: "Show a team", columns: teamColumns},
	{noun: "team", name: "set", args: "NAME", short: "Change a team's members and settings", options: []option{
		{name: "add", usage: "a member, as USERNAME or USERNAME:ROLE", kind: listOption},
		{name: "remove", usage: "a member's USERNAME", kind: listOption},
		{name: "hidden", usage: "on: who is outside does not learn that the team exists"},
		{name: "private-projects", usage: "on: no project becomes open or public; those that are stay"},
		{name: "members-invite", usage: "on: members add members, not only admins"},
		{name: "auto-join", usage: "on: people new in the organization become members"}}},
	{noun: "team", name: "delete", args: "NAME", short: "Remove a team"},

	{noun: "organization", name: "get", short: "Show what is decided for all teams", columns: organizationColumns},
	{noun: "organization", name: "set", short: "Decide for all teams, whatever they have chosen: on, off, or unset to leave it to them", options: []option{
		{name: "enforce-hidden", usage: "on, off or unset"},
		{name: "enforce-private-projects", usage: "on, off or unset"},
		{name: "enforce-members-invite", usage: "on, off or unset"}}},

	{noun: "project", name: "create", args: "ENTITY/NAME", short: "Add a project", options: projectOptions},
	{noun: "project", name: "list", args: "ENTITY", optional: true, short: "List projects", columns: projectColumns},
	{noun: "project", name: "get", args: "ENTITY/NAME", short: "Show a project", columns: projectColumns},
	{noun: "project", name: "set", args: "ENTITY/NAME", short: "Change a project", options: append([]option{
		{name: "remove", usage: "a member, as USERNAME or service_account:NAME", kind: listOption}}, projectOptions...)},
	{noun: "project", name: "delete", args: "ENTITY/NAME", short: "Forget a project; what was logged to it stays on the W&B server"},

	{noun: "service-account", name: "create", args: "NAME", short: "Add a service account", options: []option{
		{name: "team", usage: "the team it is limited to"},
		{name: "default-team", usage: "for one of the whole organization: where work goes that names no entity"},
		{name: "issuer", usage: "for one that signs in with assertions instead of keys: their issuer"},
		{name: "subject", usage: "and their subject"},
		{name: "claim", usage: "or instead a claim that they have, as NAME=VALUE; all that are given must hold", kind: listOption}}},
	{noun: "service-account", name: "list", short: "List service accounts", columns: serviceAccountColumns, options: []option{
		{name: "team", usage: "only those of this team"}}},
	{noun: "service-account", name: "get", args: "NAME", short: "Show a service account", columns: serviceAccountColumns},
	{noun: "service-account", name: "set", args: "NAME", short: "Change a service account", options: []option{
		{name: "name", usage: "its new name; its keys and its places in projects stay"},
		{name: "default-team", usage: "where work goes that names no entity"},
		{name: "issuer", usage: "the issuer of its assertions"},
		{name: "subject", usage: "the subject of its assertions"},
		{name: "claim", usage: "a claim that its assertions have, as NAME=VALUE; replaces all, and \"\" leaves none", kind: listOption},
		{name: "active", usage: "false stops its keys and ends its access tokens at once, true lets its keys work again", kind: switchOption}}},
	{noun: "service-account", name: "delete", args: "NAME", short: "Remove a service account, with its keys"},

	{noun: "role", name: "create", args: "NAME", short: "Add a custom role", options: roleOptions},
	{noun: "role", name: "list", short: "List custom roles", columns: roleColumns},
	{noun: "role", name: "get", args: "NAME", short: "Show a custom role", columns: roleColumns},
	{noun: "role", name: "set", args: "NAME", short: "Change a custom role", options: roleOptions},
	{noun: "role", name: "delete", args: "NAME", short: "Remove a custom role; its holders fall back to what it inherits"},

	{noun: "key", name: "create", short: "Make an API key and print it, once", options: []option{
		{name: "owner", usage: "USERNAME or service_account:NAME"},
		{name: "name", usage: "what the key is for"},
		{name: "expires", usage: "when it ends: a time from now such as 720h, a day (from its beginning, UTC), or a time such as 2027-01-31T12:00:00Z"},
		{name: "read-only", usage: "it reads and does not write", kind: switchOption},
		{name: "entity", usage: "it is for one team, or one person's own entity, and counts nowhere else"},
		{name: "project", usage: "it is for one project, as ENTITY/NAME, which need not be there yet"}}},
	{noun: "key", name: "list", short: "List API keys; their secrets are kept nowhere", columns: keyColumns, options: []option{
		{name: "owner", usage: "only the keys of USERNAME or service_account:NAME"},
		{name: "team", usage: "only the keys of this team's service accounts"},
		{name: "kind", usage: "only the keys of each user, or of each service_account"},
		{name: "search", usage: "only keys with this in their name or id"},
		{name: "unused-for", usage: "only keys that nobody used for so long, such as 90d or 36h"},
		{name: "sort", usage: "a column, with :desc for the other direction, such as last_used or created:desc"},
		{name: "limit", usage: "how many to show at most; then --after goes on"},
		{name: "after", usage: "the cursor that the page before ended with"}}},
	{noun: "key", name: "get", args: "ID", short: "Show an API key", columns: keyColumns},
	{noun: "key", name: "set", args: "ID", short: "Rename an API key", options: []option{{name: "name", usage: "its new name"}}},
	{noun: "key", name: "delete", args: "ID", short: "Delete an API key; it stops working at once"},

	{noun: "issuer", name: "create", args: "URL", short: "Trust an issuer of assertions, byte for byte as their claim iss names it", options: issuerOptions},
	{noun: "issuer", name: "list", short: "List trusted issuers", columns: issuerColumns},
	{noun: "issuer", name: "get", args: "URL", short: "Show a trusted issuer", columns: issuerColumns},
	{noun: "issuer", name: "set", args: "URL", short: "Change a trusted issuer", options: issuerOptions},
	{noun: "issuer", name: "delete", args: "URL", short: "Trust an issuer no longer; access tokens that were had for its assertions end"},

	{noun: "token", name: "delete", args: "ID", optional: true, short: "End access tokens: one by its jti, all of a principal, or all from before a moment", options: []option{
		{name: "owner", usage: "all of USERNAME or service_account:NAME, with their sessions"},
		{name: "before", usage: "all from before a time such as 2026-01-31T12:00:00Z, or now"}}},

	{noun: "upstream-key", name: "set", short: "Keep the key that a person or team has at the W&B server; it is read from standard input", stdin: "value", options: ownerOptions},
	{noun: "upstream-key", name: "list", short: "List whose keys of the W&B server are kept; the keys themselves are never shown", columns: upstreamKeyColumns},
	{noun: "upstream-key", name: "delete", short: "Forget the key that a person or team has at the W&B server, at once", options: ownerOptions},

	{noun: "session", name: "list", short: "List the sessions of signed-in browsers", columns: sessionColumns, options: []option{
		{name: "owner", usage: "only those of USERNAME"}}},
	{noun: "session", name: "delete", args: "ID", short: "End a browser's session at once"},

	{noun: "signing-key", name: "create", short: "Make the next key that signs access tokens, ahead of time"},
	{noun: "signing-key", name: "list", short: "List the keys that sign access tokens", columns: signingKeyColumns},
	{noun: "signing-key", name: "delete", args: "ID", short: "Delete a signing key; what it signed ends at once"},
}

var (
	userOptions = []option{
		{name: "email", usage: "e-mail address"},
		{name: "name", usage: "full name"},
		{name: "role", usage: "admin, member or viewer in the organization"},
		{name: "models-seat", usage: "full, viewer or none"},
		{name: "weave-seat", usage: "full, viewer or none"},
		{name: "billing-admin", usage: "who pays; they cannot be deleted while the organization has other members", kind: switchOption},
	}
	projectOptions = []option{
		{name: "visibility", usage: "open, public, team or restricted"},
		{name: "owner", usage: "USERNAME or service_account:NAME"},
		{name: "add", usage: "a member, as USERNAME or service_account:NAME, with :ROLE to differ from the team", kind: listOption},
	}
	roleOptions = []option{
		{name: "inherits", usage: "member or viewer"},
		{name: "permission", usage: "a permission to add, such as run:stop", kind: listOption},
		{name: "description", usage: "what the role is for"},
	}
	issuerOptions = []option{
		{name: "audience", usage: "an audience to accept in place of the organization's name and wandb", kind: listOption},
		{name: "algorithm", usage: "an algorithm that its keys may sign with, such as RS256", kind: listOption},
		{name: "subject", usage: "whom an assertion is about: email, if people are numbered in sub, or 'claim NAME'"},
		{name: "preset", usage: "github_actions, gitlab, kubernetes, google, aws, azure or buildkite"},
		{name: "keys-url", usage: "the address of its key set, if it has no discovery document"},
		{name: "keys", usage: "a file with its key set, if it cannot be reached from the gateway", kind: fileOption},
		{name: "tls-ca", usage: "a file of certificates to trust for it", kind: fileOption},
	}
	ownerOptions = []option{
		{name: "user", usage: "a person's USERNAME"},
		{name: "team", usage: "a team's NAME; its key stands for its service accounts"},
	}
	upstreamKeyColumns    = []string{"owner", "set"}
	issuerColumns         = []string{"url", "source", "preset", "audiences", "algorithms", "subject", "keys"}
	sessionColumns        = []string{"id", "owner", "method", "created", "expires", "client", "user_agent"}
	signingKeyColumns     = []string{"id", "algorithm", "state", "created", "signs_from", "ends"}
	teamColumns           = []string{"name", "hidden", "private_projects", "members_invite", "auto_join", "members"}
	organizationColumns   = []string{"name", "enforce_hidden", "enforce_private_projects", "enforce_members_invite"}
	userColumns           = []string{"username", "email", "name", "role", "models_seat", "weave_seat", "billing_admin", "active", "teams", "accounts"}
	projectColumns        = []string{"entity", "name", "visibility", "owner", "owner_state", "members"}
	serviceAccountColumns = []string{"name", "kind", "team", "default_team", "issuer", "subject", "claims", "active", "keys", "last_used", "created"}
	roleColumns           = []string{"name", "inherits", "permissions", "description"}
	keyColumns            = []string{"name", "id", "owner", "last_used", "created", "expires", "read_only", "entity", "project"}
)

// buildIAM adds the nouns and verbs below `iam`.
func buildIAM(root *cobra.Command) {
	root.RunE = helpOrUnknown
	root.PersistentFlags().String("address", "localhost:2019", "Address of the gateway's admin endpoint")
	root.PersistentFlags().Bool("json", false, "Print JSON")
	nouns := make(map[string]*cobra.Command)
	for _, v := range iamVerbs {
		noun := nouns[v.noun]
		if noun == nil {
			noun = &cobra.Command{Use: v.noun, Short: "Administers " + plural(v.noun), RunE: helpOrUnknown}
			nouns[v.noun] = noun
			root.AddCommand(noun)
		}
		noun.AddCommand(v.command())
	}
	root.AddCommand(importCommand(), exportCommand(), backupCommand(), migrateCommand(), explainCommand(), doctorCommand())
}

// plural names a noun's things. There is one organization.
func plural(noun string) string {
	if noun == "organization" {
		return "the organization"
	}
	return strings.ReplaceAll(noun, "-", " ") + "s"
}

// helpOrUnknown is what `iam` and its nouns do without one of their commands: cobra's own answer to an
// unknown one would be help and success.
func helpOrUnknown(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	return fmt.Errorf("unknown command %q for %q", args[0], c.CommandPath())
}

// command makes the cobra command of a verb.
func (v verb) command() *cobra.Command {
	c := &cobra.Command{Use: strings.TrimSpace(v.name + " " + v.args), Short: v.short, Args: cobra.NoArgs}
	switch {
	case v.optional:
		c.Args = cobra.MaximumNArgs(1)
	case v.args != "":
		c.Args = cobra.ExactArgs(1)
	}
	for _, o := range v.options {
		switch o.kind {
		case listOption:
			c.Flags().StringArray(o.name, nil, o.usage)
		case switchOption:
			c.Flags().Bool(o.name, true, o.usage)
		default:
			c.Flags().String(o.name, "", o.usage)
		}
	}
	c.RunE = func(c *cobra.Command, args []string) error {
		request, err := v.request(c.Flags(), args)
		if err != nil {
			return err
		}
		if v.stdin != "" {
			secret, err := readSmallFile("-", c.InOrStdin())
			if err != nil {
				return err
			}
			request[v.stdin] = strings.TrimSpace(secret)
		}
		body, err := json.Marshal(request)
		if err != nil {
			return err
		}
		answer, err := callAdmin(c, http.MethodPost, "/"+v.noun+"/"+v.name, bytes.NewReader(body))
		if err != nil {
			return err
		}
		return v.print(c, answer)
	}
	return c
}

// request holds the argument as `target`, and the options that were given under their own names.
func (v verb) request(flags *pflag.FlagSet, args []string) (map[string]any, error) {
	request := make(map[string]any)
	if len(args) == 1 {
		request["target"] = args[0]
	}
	for _, o := range v.options {
		if !flags.Changed(o.name) {
			continue
		}
		var value any
		var err error
		switch o.kind {
		case listOption:
			value, err = flags.GetStringArray(o.name)
		case switchOption:
			value, err = flags.GetBool(o.name)
		case fileOption:
			value, err = readFlagFile(flags, o.name)
		default:
			value, err = flags.GetString(o.name)
		}
		if err != nil {
			return nil, err
		}
		request[strings.ReplaceAll(o.name, "-", "_")] = value
	}
	return request, nil
}

// maxFileOption bounds a file that is sent with a command.
const maxFileOption = 1 << 20

// readFlagFile returns what is in the file that a flag names; an empty name is an empty file.
func readFlagFile(flags *pflag.FlagSet, name string) (string, error) {
	path, err := flags.GetString(name)
	if err != nil || path == "" {
		return "", err
	}
	return readSmallFile(path, os.Stdin)
}

// readSmallFile reads a file, or standard input for -.
func readSmallFile(path string, stdin io.Reader) (string, error) {
	in := stdin
	if path != "-" {
		file, err := os.Open(path)
		if err != nil {
			return "", err
		}
		defer file.Close()
		in = file
	}
	text, err := io.ReadAll(io.LimitReader(in, maxFileOption+1))
	if err == nil && len(text) > maxFileOption {
		err = fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return string(text), err
}

// print shows an answer: as it is with --json, a table for rows, else its text.
func (v verb) print(c *cobra.Command, answer []byte) error {
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(c.OutOrStdout(), answer)
	}
	if len(v.columns) == 0 {
		return printText(c.OutOrStdout(), answer)
	}
	page := struct {
		Rows []map[string]any
		Next string
	}{}
	into := any(&page.Rows)
	if bytes.HasPrefix(answer, []byte("{")) { // a page
		into = &page
	}
	if err := json.Unmarshal(answer, into); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	if err := printRows(c.OutOrStdout(), v.columns, page.Rows); err != nil || page.Next == "" {
		return err
	}
	c.PrintErrf("There are more: --after %s\n", page.Next)
	return nil
}

func printJSON(w io.Writer, answer []byte) error {
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, answer, "", "  "); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	pretty.WriteByte('\n')
	_, err := pretty.WriteTo(w)
	return err
}

// printText prints the member `text` of an answer, alone on a line.
func printText(w io.Writer, answer []byte) error {
	var a struct {
		Text string `json:"text"`
	}
	if err := json.Unmarshal(answer, &a); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	_, err := fmt.Fprintln(w, a.Text)
	return err
}

func printRows(w io.Writer, columns []string, rows []map[string]any) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, strings.ToUpper(strings.Join(columns, "\t")))
	for _, row := range rows {
		cells := make([]string, len(columns))
		for i, name := range columns {
			cells[i] = cell(row[name])
			if claims, ok := row[name].(map[string]any); ok && name == "claims" {
				cells[i] = claimsCell(claims)
			}
		}
		fmt.Fprintln(table, strings.Join(cells, "\t"))
	}
	return table.Flush()
}

// cell prints a value for a person: lists joined, members as name:role, with a star behind a project role, which
// differs from the team role (PROLE-8).
func cell(value any) string {
	switch value := value.(type) {
	case nil:
		return "-"
	case string:
		if value == "" {
			return "-"
		}
		return value
	case []any:
		parts := make([]string, len(value))
		for i, v := range value {
			parts[i] = cell(v)
		}
		if len(parts) == 0 {
			return "-"
		}
		return strings.Join(parts, ",")
	case map[string]any:
		who := cell(firstOf(value, "user", "team", "service_account"))
		if role, ok := value["role"].(string); ok && role != "" {
			if _, ok := value["team_role"]; ok {
				role += "*"
			}
			return who + ":" + role
		}
		return who
	default:
		return fmt.Sprint(value)
	}
}

// claimsCell prints claims as they are given to --claim. Their names are anybody's, such as user.
func claimsCell(claims map[string]any) string {
	parts := make([]string, 0, len(claims))
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		parts = append(parts, name+"="+cell(claims[name]))
	}
	return strings.Join(parts, ",")
}

func firstOf(m map[string]any, names ...string) any {
	for _, name := range names {
		if v, ok := m[name]; ok {
			return v
		}
	}
	return nil
}

func importCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "import FILE", Args: cobra.ExactArgs(1),
		Short: "Reads users, teams, projects, service accounts and keys from a file; - reads standard input",
	}
	prune := c.Flags().Bool("prune", false, "Delete what the file does not name")
	c.RunE = func(c *cobra.Command, args []string) error {
		in := io.NopCloser(c.InOrStdin())
		if args[0] != "-" {
			file, err := os.Open(args[0])
			if err != nil {
				return err
			}
			in = file
		}
		defer in.Close()
		path := "/import"
		if *prune {
			path += "?prune=true"
		}
		answer, err := callAdmin(c, http.MethodPost, path, in)
		if err != nil {
			return err
		}
		if asJSON, _ := c.Flags().GetBool("json"); asJSON {
			return printJSON(c.OutOrStdout(), answer)
		}
		var warned struct{ Warnings []string }
		if err := json.Unmarshal(answer, &warned); err == nil {
			for _, warning := range warned.Warnings {
				c.PrintErrln("Warning: " + warning)
			}
		}
		return printText(c.OutOrStdout(), answer)
	}
	return c
}

func exportCommand() *cobra.Command {
	return &cobra.Command{
		Use: "export", Args: cobra.NoArgs, Short: "Writes the directory as a file for import, without key material",
		RunE: func(c *cobra.Command, _ []string) error {
			answer, err := callAdmin(c, http.MethodGet, "/export", nil)
			if err != nil {
				return err
			}
			return printJSON(c.OutOrStdout(), answer)
		},
	}
}

func explainCommand() *cobra.Command {
	v := verb{noun: "explain", name: "decision"}
	c := &cobra.Command{
		Use: "explain --as WHO | --key ID --to ACTION RESOURCE | --token FILE", Args: cobra.MaximumNArgs(1),
		Short:   "Says whether somebody may do something, or whether a token counts, and why",
		Example: "  iam explain --as alice --to run:write vision/detector\n  iam explain --as service_account:ci-train --to project:read vision/detector\n  iam explain --key 9f86d081 --to run:write vision/detector\n  iam explain --token $WANDB_IDENTITY_TOKEN_FILE",
	}
	as := c.Flags().String("as", "", "USERNAME, service_account:NAME, or anonymous")
	key := c.Flags().String("key", "", "In place of WHO the ID of an API key: its owner, as far as the key's limits allow")
	to := c.Flags().String("to", "", "A permission such as project:read, run:write, run:delete, team:manage")
	tokenFile := c.Flags().String("token", "", "A file with an identity or access token, which is never printed; - reads standard input")
	c.RunE = func(c *cobra.Command, args []string) error {
		if *tokenFile != "" {
			return explainToken(c, *tokenFile, args)
		}
		if len(args) != 1 {
			return errors.New("name the resource, ENTITY/PROJECT or ENTITY; or --token FILE")
		}
		body, err := json.Marshal(map[string]string{"as": *as, "key": *key, "to": *to, "resource": args[0]})
		if err != nil {
			return err
		}
		answer, err := callAdmin(c, http.MethodPost, "/explain", bytes.NewReader(body))
		if err != nil {
			return err
		}
		return v.print(c, answer)
	}
	return c
}

// checks prints what was checked one by one.
var checks = verb{noun: "doctor", name: "check", columns: []string{"check", "result", "detail"}}

func explainToken(c *cobra.Command, file string, args []string) error {
	if len(args) > 0 {
		return errors.New("--token stands alone: the token says whom it is about")
	}
	token, err := readSmallFile(file, c.InOrStdin())
	if err != nil {
		return err
	}
	if strings.TrimSpace(token) == "" {
		return fmt.Errorf("%s is empty", file)
	}
	body, err := json.Marshal(map[string]string{"token": token})
	if err != nil {
		return err
	}
	answer, err := callAdmin(c, http.MethodPost, "/explain", bytes.NewReader(body))
	if err != nil {
		return err
	}
	if asJSON, _ := c.Flags().GetBool("json"); asJSON {
		return printJSON(c.OutOrStdout(), answer)
	}
	if err := printText(c.OutOrStdout(), answer); err != nil {
		return err
	}
	var explained struct{ Checks []map[string]any }
	if err := json.Unmarshal(answer, &explained); err != nil {
		return fmt.Errorf("the gateway's answer cannot be read: %w", err)
	}
	return printRows(c.OutOrStdout(), checks.columns, explained.Checks)
}

func doctorCommand() *cobra.Command {
	doctor := &cobra.Command{
		Use: "doctor", Args: cobra.NoArgs, Short: "Checks a running gateway and names what to mend",
		RunE: func(c *cobra.Command, _ []string) error {
			answer, err := callAdmin(c, http.MethodGet, "/doctor", nil)
			if err != nil {
				return err
			}
			return checks.print(c, answer)
		},
	}
	doctor.AddCommand(&cobra.Command{
		Use: "issuer URL", Args: cobra.ExactArgs(1),
		Short: "Checks an issuer of assertions from the gateway: discovery, keys, audience, who relies on it",
		RunE: func(c *cobra.Command, args []string) error {
			body, err := json.Marshal(map[string]string{"target": args[0]})
			if err != nil {
				return err
			}
			answer, err := callAdmin(c, http.MethodPost, "/doctor/issuer", bytes.NewReader(body))
			if err != nil {
				return err
			}
			return checks.print(c, answer)
		},
	})
	return doctor
}
