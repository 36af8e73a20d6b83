// Package configs holds one configuration for each kind of deployment, and the test that they work.
package configs

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/wandb-gateway/wandb-gateway"
)

// variables are what the files name and have no default for, or must not have: a key.
var variables = map[string]string{
	"WANDB_UPSTREAM":           "https://wandb.example.com:8443",
	"WANDB_ADMIN_KEY":          "local-0123456789012345678901234567890123456789",
	"WANDB_SERVICE_KEY":        "local-9876543210987654321098765432109876543210",
	"GATEWAY_REDIS_PASSWORD":   "redis-0123456789",
	"WANDB_GATEWAY_MASTER_KEY": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
	"OIDC_CLIENT_ID":           "0oa1acme",
	"OIDC_SECRET":              "7Fq~acme",
	"LOCAL_LDAP_BIND_PW":       "correct horse",
}

// files are all configurations: those here and the repository's own.
func files(t *testing.T) []string {
	t.Helper()
	here, err := filepath.Glob("*.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	if len(here) == 0 {
		t.Fatal("there is no configuration here")
	}
	return append(here, filepath.Join("..", "Caddyfile"))
}

// adapt reads a file as `run` does, and refuses warnings: an example must be formatted.
func adapt(t *testing.T, file string) *caddy.Config {
	t.Helper()
	config, err := tryAdapt(t, file)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// tryAdapt is adapt for files that may be refused.
func tryAdapt(t *testing.T, file string) (*caddy.Config, error) {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	adapted, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt(source, map[string]any{"filename": file})
	if err != nil {
		return nil, err
	}
	for _, w := range warnings {
		t.Errorf("line %d: %s", w.Line, w.Message)
	}
	config := new(caddy.Config)
	if err := caddy.StrictUnmarshalJSON(adapted, config); err != nil {
		t.Fatal(err)
	}
	return config, nil
}

func TestEveryConfigurationIsValid(t *testing.T) {
	for _, file := range files(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for name, value := range variables {
				t.Setenv(name, value)
			}
			config := adapt(t, file)
			t.Chdir(t.TempDir())
			if err := caddy.Validate(config); err != nil {
				t.Fatal(err)
			}
			// Whoever checks a configuration must not make a store or a master key by it.
			if _, err := os.Stat("data"); !os.IsNotExist(err) {
				t.Errorf("checking the configuration left a folder of data behind: %v", err)
			}
		})
	}
}

func TestEveryConfigurationJudges(t *testing.T) {
	for _, file := range files(t) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			for name, value := range variables {
				t.Setenv(name, value)
			}
			config, err := json.Marshal(adapt(t, file))
			if err != nil {
				t.Fatal(err)
			}
			gateway := bytes.Index(config, []byte(`"handler":"wandb_gateway"`))
			proxy := bytes.Index(config, []byte(`"handler":"reverse_proxy"`))
			if gateway < 0 || proxy < gateway {
				t.Errorf("wandb_gateway does not stand before reverse_proxy in\n%s", config)
			}
		})
	}
}

// The gateway keeps credentials out of the logs, unless an operator asks Caddy for them.
func TestNoConfigurationLogsCredentials(t *testing.T) {
	for _, file := range files(t) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(source, []byte("log_credentials")) {
			t.Errorf("%s asks Caddy to log credentials", file)
		}
	}
}

// Without the address of a server a gateway must not start, and must say which variable is missing.
func TestMissingUpstreamIsNamed(t *testing.T) {
	for _, file := range files(t) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(source, []byte("directory wandb")) {
			continue
		}
		t.Run(filepath.Base(file), func(t *testing.T) {
			for name, value := range variables {
				t.Setenv(name, value)
			}
			os.Unsetenv("WANDB_UPSTREAM") // restored by t.Setenv
			_, err := tryAdapt(t, file)
			if err == nil || !strings.Contains(err.Error(), "WANDB_UPSTREAM-is-not-set") {
				t.Errorf("without WANDB_UPSTREAM: %v", err)
			}
		})
	}
}

// A key that is not set must stop the start: an empty one would be shown to the server instead, or make
// a public client or an anonymous search of what was meant to prove itself.
func TestMissingKeysAreNamed(t *testing.T) {
	tests := map[string]string{
		"existing-server.caddyfile":             "WANDB_ADMIN_KEY",
		"local-directory-service-key.caddyfile": "WANDB_SERVICE_KEY",
		"sso-okta.caddyfile":                    "OIDC_CLIENT_ID",
		"sso-entra-public.caddyfile":            "OIDC_CLIENT_ID",
		"sso-entra-confidential.caddyfile":      "OIDC_SECRET",
		"sso-cognito.caddyfile":                 "OIDC_CLIENT_ID",
		"sso-keycloak.caddyfile":                "OIDC_SECRET",
		"sso-auth0.caddyfile":                   "OIDC_SECRET",
		"sso-google.caddyfile":                  "OIDC_SECRET",
		"ldap.caddyfile":                        "LOCAL_LDAP_BIND_PW",
	}
	for file, variable := range tests {
		t.Run(file, func(t *testing.T) {
			for name, value := range variables {
				t.Setenv(name, value)
			}
			os.Unsetenv(variable) // restored by t.Setenv
			err := caddy.Validate(adapt(t, file))
			if err == nil || !strings.Contains(err.Error(), variable) {
				t.Errorf("without %s: %v", variable, err)
			}
		})
	}
}

func TestREADMENamesEveryFileAndVariable(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for _, file := range files(t) {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(file, ".caddyfile") && !bytes.Contains(readme, []byte("]("+file+")")) {
			t.Errorf("README.md does not name %s", file)
		}
		for _, match := range regexp.MustCompile(`\{(?:\$|env\.)([A-Z_]+)`).FindAllSubmatch(source, -1) {
			named = append(named, string(match[1]))
		}
	}
	slices.Sort(named)
	for _, variable := range slices.Compact(named) {
		if !bytes.Contains(readme, []byte("| `"+variable+"` |")) {
			t.Errorf("README.md does not explain %s", variable)
		}
	}
}
