package caddymodule

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

var update = flag.Bool("update", false, "write what the tests see into their golden files")

// A golden file holds cases: a line `=== NAME`, a Caddyfile, a line of dashes, and what comes of it,
// either the adapted JSON of a configuration that is valid or the error.
const (
	caseMark   = "=== "
	resultMark = "----------\n"
)

type goldenCase struct{ name, input, output string }

func readGolden(t *testing.T, file string) []goldenCase {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cases []goldenCase
	for part := range strings.SplitSeq("\n"+string(source), "\n"+caseMark) {
		if strings.TrimSpace(part) == "" {
			continue
		}
		name, rest, _ := strings.Cut(part, "\n")
		input, output, _ := strings.Cut(rest, resultMark)
		cases = append(cases, goldenCase{name, input, strings.TrimSpace(output)})
	}
	if len(cases) == 0 {
		t.Fatalf("%s holds no case", file)
	}
	return cases
}

func writeGolden(t *testing.T, file string, cases []goldenCase) {
	t.Helper()
	var b strings.Builder
	for i, c := range cases {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(caseMark + c.name + "\n" + c.input + resultMark + c.output + "\n")
	}
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// withoutVariables takes W&B's own variables away, which would win over the file.
func withoutVariables(t *testing.T) {
	t.Helper()
	for _, v := range os.Environ() {
		name, value, _ := strings.Cut(v, "=")
		if slices.ContainsFunc([]string{"GORILLA_", "WANDB_", "OIDC_", "LOCAL_", "SESSION_LENGTH", "DISABLE_SSO", "SKIP_AUDIENCE", "HOST"},
			func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			t.Setenv(name, value) // restores it afterwards
			os.Unsetenv(name)
		}
	}
}

// outcome adapts and validates a Caddyfile as `run` would before it starts anything.
func outcome(t *testing.T, input string) string {
	t.Helper()
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err.Error()
	}
	for _, w := range warnings {
		t.Errorf("line %d: %s", w.Line, w.Message)
	}
	if err := validate(adapted); err != nil {
		return reasonOf(err)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String()
}

func validate(config []byte) error {
	c := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(config, c); err != nil {
		return err
	}
	return caddy.Validate(c)
}

// reasonOf leaves out through which modules an error came: Caddy loads apps in any order.
func reasonOf(err error) string {
	text := err.Error()
	for _, mark := range []string{"provision http.handlers.wandb_gateway: ", "provision wandb_gateway: "} {
		if i := strings.LastIndex(text, mark); i >= 0 {
			text = text[i+len(mark):]
		}
	}
	return text
}

func TestCaddyfile(t *testing.T) {
	withoutVariables(t)
	t.Setenv("CADDYFILE_TEST_KEY", "local-0123456789012345678901234567890123456789")
	files, err := filepath.Glob("testdata/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden files: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			cases := readGolden(t, file)
			for i := range cases {
				c := &cases[i]
				t.Run(c.name, func(t *testing.T) {
					got := outcome(t, c.input)
					if *update {
						c.output = got
					}
					if got != c.output {
						t.Errorf("got\n%s\nwant\n%s", got, c.output)
					}
				})
			}
			if *update {
				writeGolden(t, file, cases)
			}
		})
	}
}

// Every option must stand in a case that is accepted, and be refused when it stands twice.
func TestEveryOptionHasItsCases(t *testing.T) {
	var accepted strings.Builder
	for _, file := range []string{"testdata/global.caddyfiletest", "testdata/site.caddyfiletest"} {
		for _, c := range readGolden(t, file) {
			if !strings.HasPrefix(c.output, "{") {
				t.Errorf("%s: %q is not accepted: %s", file, c.name, c.output)
			}
			accepted.WriteString(c.input)
		}
	}
	for name, read := range map[string]func(*caddyfile.Dispenser) error{
		"global": new(App).UnmarshalCaddyfile,
		"site":   new(Handler).UnmarshalCaddyfile,
	} {
		for _, option := range documentedOptions(t, name) {
			if !strings.Contains(accepted.String(), "\t"+option+" ") {
				t.Errorf("no accepted case has the %s option %s", name, option)
			}
			err := read(caddyfile.NewTestDispenser("wandb_gateway {\n\t" + option + "\n}"))
			if err == nil || strings.Contains(err.Error(), "unknown option") {
				t.Errorf("the %s option %s without a value: %v", name, option, err)
			}
		}
	}
}

// documentedOptions reads the options from the comment above a block's parser, which is its manual.
func documentedOptions(t *testing.T, block string) []string {
	t.Helper()
	source, err := os.ReadFile("caddyfile.go")
	if err != nil {
		t.Fatal(err)
	}
	head := map[string]string{"global": "//\twandb_gateway {\n", "site": "//\twandb_gateway [<matcher>] {\n"}[block]
	_, rest, ok := strings.Cut(string(source), head)
	manual, _, closed := strings.Cut(rest, "//\t}\n")
	if !ok || !closed {
		t.Fatalf("caddyfile.go does not explain the %s block", block)
	}
	seen := make(map[string]bool)
	var options []string
	for line := range strings.Lines(manual) {
		for alternative := range strings.SplitSeq(strings.TrimPrefix(line, "//"), " | ") {
			words := strings.Fields(alternative)
			// An alternative such as `| master_key_file <file>` is an option, `| passthrough` a value.
			if len(words) > 0 && (strings.HasPrefix(line, "//\t\t"+words[0]) || words[0] == "master_key_file") && !seen[words[0]] {
				seen[words[0]] = true
				options = append(options, words[0])
			}
		}
	}
	if len(options) < 5 {
		t.Fatalf("caddyfile.go names the %s options %q only", block, options)
	}
	return options
}

// JSON configuration has the same names, the same checks, and no member that nobody reads.
func TestJSON(t *testing.T) {
	withoutVariables(t)
	tests := []struct {
		name, app, handler string
		want               string // part of the error, "" when it is valid
	}{
		{"nothing", `{}`, `{}`, ""},
		{"everything", `{"organization": "acme", "store": {"backend": "embedded", "path": "./data"}, "master_key_file": "master.key",
			"directory": {"source": "wandb", "url": "https://wandb.example.com", "api_key": "k", "tls_ca": "ca.pem", "hits": "60s", "misses": "10s", "timeout": "5s"},
			"enforcement": "shadow", "failure_limit": "off", "stale_limit": "10s", "cache_size": "256MiB", "personal_entities": "off", "anonymous_public_projects": true}`,
			`{"upstream_credential": "api_key", "api_key": "k", "unplaced": "allow", "unknown_route": "forward", "telemetry": "forward", "weave_prefix": "/weave"}`, ""},

		{"unknown member of the app", `{"organisation": "acme"}`, `{}`, `unknown field "organisation"`},
		{"unknown member of the store", `{"store": {"folder": "./data"}}`, `{}`, `unknown field "folder"`},
		{"unknown member of the directory", `{"directory": {"api-key": "k"}}`, `{}`, `unknown field "api-key"`},
		{"unknown member of the handler", `{}`, `{"unplacd": "deny"}`, `unknown field "unplacd"`},
		{"a list for a name", `{"organization": ["acme"]}`, `{}`, "organization"},
		{"a number for a switch", `{"anonymous_public_projects": 1}`, `{}`, `1 is neither true, false, "on" nor "off"`},
		{"another word for a switch", `{"personal_entities": "yes"}`, `{}`, `"yes" is neither on nor off`},
		{"a duration without a unit", `{"stale_limit": "10"}`, `{}`, "missing unit"},

		{"a size in bytes", `{"cache_size": 16777216}`, `{}`, ""},
		{"a size without a unit", `{"cache_size": "256"}`, `{}`, `"256" is not a size such as 256MiB`},
		{"a size that is too small", `{"cache_size": 1}`, `{}`, `cache_size 1B is not between 16MiB and 64GiB`},
		{"a size that is no number", `{"cache_size": 1.5}`, `{}`, `1.5 is not a number of bytes`},
		{"a master key that is none", `{"master_key": "hunter2-hunter2"}`, `{}`, "the master key is not base64"},
		{"a password in the address", `{"directory": {"source": "wandb", "url": "https://api:canary@wandb.example.com"}}`, `{}`, "the address holds a user name or a password"},

		{"no such enforcement", `{"enforcement": "log"}`, `{}`, `enforcement "log" is neither enforce nor shadow`},
		{"no such store", `{"store": {"backend": "memory"}}`, `{}`, `store "memory" is not known`},
		{"Redis with everything", `{"store": {"backend": "redis", "url": "redis://a,b/", "username": "u", "password": "p", "prefix": "x:", "tls_ca": "ca.pem"}}`, `{}`, ""},
		{"Redis without an address", `{"store": {"backend": "redis"}}`, `{}`, "store redis needs the address of the server"},
		{"Redis with a folder", `{"store": {"backend": "redis", "url": "redis://a", "path": "./data"}}`, `{}`, "store redis has no path"},
		{"a folder with an address", `{"store": {"backend": "embedded", "url": "redis://:canary@a"}}`, `{}`, "store embedded takes a folder alone"},
		{"a password that breaks the address", `{"store": {"backend": "redis", "url": "redis://:can/ary@a"}}`, `{}`, "the address cannot be read"},
		{"no such source", `{"directory": {"source": "ldap"}}`, `{}`, `directory "ldap" is neither local nor wandb`},
		{"local with an address", `{"directory": {"source": "local", "url": "https://wandb.example.com"}}`, `{}`, "directory local takes no address and no options"},
		{"no such failure limit", `{"failure_limit": "300"}`, `{}`, `failure_limit "300" is not a number`},
		{"no such upstream credential", `{}`, `{"upstream_credential": "basic"}`, `upstream_credential "basic" is not none, passthrough, api_key or per_user`},
		{"a key that nothing uses", `{}`, `{"upstream_credential": "none", "api_key": "k"}`, "nothing else takes one"},
		{"api_key without a key", `{}`, `{"upstream_credential": "api_key"}`, "upstream_credential api_key needs a key"},
		{"each caller's own key, and a statement of who calls", `{}`, `{"upstream_credential": "per_user", "assertion": "on", "assertion_audience": "https://wandb.internal:8080"}`, ""},
		{"an audience for nothing", `{}`, `{"assertion_audience": "https://wandb.internal:8080"}`, "assertion_audience is for `assertion on`, which is off"},
		{"an audience that is no name", `{}`, `{"assertion": true, "assertion_audience": "two words"}`, `the audience "two words" of assertion is no name`},
		{"another word for assertion", `{}`, `{"assertion": "yes"}`, `"yes" is neither on nor off`},
		{"no such policy", `{}`, `{"unplaced": "all"}`, `unplaced "all" is not deny, members or allow`},
		{"no such answer to an unknown route", `{}`, `{"unknown_route": "pass"}`, `unknown_route "pass" is neither refuse nor forward`},
		{"no such answer to telemetry", `{}`, `{"telemetry": "on"}`, `telemetry "on" is neither off nor forward`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			handler := strings.Replace(test.handler, "{", `{"handler": "wandb_gateway", `, 1)
			handler = strings.Replace(handler, ", }", "}", 1)
			err := validate([]byte(`{"admin": {"disabled": true}, "apps": {"wandb_gateway": ` + test.app + `,
				"http": {"servers": {"gateway": {"listen": [":8080"], "routes": [{"handle": [` + handler + `]}]}}}}}`))
			if test.want == "" && err != nil {
				t.Error(err)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("the error repeats a secret: %v", err)
			}
			if test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want an error that says %q", err, test.want)
			}
		})
	}
}

// W&B's own variables win over the file, and a value that cannot be read stops the start by name.
func TestVariablesWinOverTheFile(t *testing.T) {
	tests := []struct {
		variable, value string
		want            func(settings) bool
		err             string
	}{
		{"GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS", "true", func(s settings) bool { return s.AnonymousPublicProjects }, ""},
		{"GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS", "0", func(s settings) bool { return !s.AnonymousPublicProjects }, ""},
		{"GORILLA_ALLOW_ANONYMOUS_PUBLIC_PROJECTS", "", func(s settings) bool { return !s.AnonymousPublicProjects }, ""},
		{"GORILLA_DISABLE_PERSONAL_ENTITY", "1", func(s settings) bool { return s.DisablePersonalEntity }, ""},
		{"GORILLA_DISABLE_PERSONAL_ENTITY", "false", func(s settings) bool { return !s.DisablePersonalEntity }, ""},
		{"GORILLA_DISABLE_ADMIN_TEAM_ACCESS", "T", func(s settings) bool { return s.DisableAdminTeamAccess }, ""},
		{"GORILLA_DISABLE_TEAM_SERVICE_ACCOUNT_CREATION", "TRUE", func(s settings) bool { return s.DisableTeamServiceAccounts }, ""},
		{"GORILLA_ALLOW_USER_TEAM_CREATION", "t", func(s settings) bool { return s.AllowUserTeamCreation }, ""},
		{"GORILLA_DISABLE_PERSONAL_ENTITY", "on", nil, `the variable GORILLA_DISABLE_PERSONAL_ENTITY is wrong: it is neither true nor false`},
		{"GORILLA_ALLOW_USER_TEAM_CREATION", "yes", nil, `the variable GORILLA_ALLOW_USER_TEAM_CREATION is wrong: it is neither true nor false`},
	}
	for _, test := range tests {
		t.Run(test.variable+"="+test.value, func(t *testing.T) {
			withoutVariables(t)
			t.Setenv(test.variable, test.value)
			app := &App{}
			ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
			defer cancel()
			err := app.Provision(ctx)
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("got %v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !test.want(app.settings) {
				t.Errorf("the settings are %+v", app.settings)
			}
		})
	}
}
