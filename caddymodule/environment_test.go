package caddymodule

import (
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
)

// provisioned is the app after W&B's own variables were read over a file's settings.
func provisioned(t *testing.T, app *App, variables map[string]string) error {
	t.Helper()
	withoutVariables(t)
	for name, value := range variables {
		t.Setenv(name, value)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	return app.Provision(ctx)
}

// TestEnvironmentOfAServer moves the environment block of a W&B server over as it is.
func TestEnvironmentOfAServer(t *testing.T) {
	app := &App{OIDC: &OIDC{Issuer: "https://file.acme.test", ClientID: "file", Scopes: []string{"roles"}}}
	err := provisioned(t, app, map[string]string{
		"HOST": "https://WANDB.acme.test", "OIDC_ISSUER": "https://acme.okta.test", "OIDC_CLIENT_ID": "0oa1", "OIDC_AUTH_METHOD": "pkce",
		"GORILLA_OIDC_SECRET": "secret", "GORILLA_OIDC_CUSTOM_SCOPES": "groups, offline_access", "SESSION_LENGTH": "24",
		"DISABLE_SSO_PROVISIONING": "true", "GORILLA_ENABLE_SSO_GROUPS_CLAIMS": "True", "GORILLA_USE_IDENTIFIER_CLAIMS": "1",
		"LOCAL_LDAP_ADDRESS": "ldaps://ldap.acme.test:636", "LOCAL_LDAP_BASE_DN": "dc=acme,dc=test", "LOCAL_LDAP_ATTRIBUTES": "email=mail, group=gidNumber",
		"LOCAL_LDAP_LOGIN": "False", "GORILLA_LDAP_GROUP_SYNC": "true", "LOCAL_RESTORE": "", "GORILLA_UNKNOWN": "x",
	})
	if err != nil {
		t.Fatal(err)
	}
	s := app.signIn
	if s.oidc.Issuer != "https://acme.okta.test" || s.oidc.ClientID != "0oa1" || s.oidc.Method != oidc.PKCE || s.oidc.ClientSecret.Reveal() != "secret" || strings.Join(s.oidc.Scopes, " ") != "groups offline_access" {
		t.Errorf("the provider is %+v", s.oidc)
	}
	if s.host != "wandb.acme.test" || strings.Join(s.hosts, " ") != "wandb.acme.test" || !s.sites || s.length != 24*time.Hour || s.settings.Provision || !s.settings.OIDCGroups || !s.settings.LDAPGroups || !s.settings.ForceNames {
		t.Errorf("%+v", s)
	}
	if s.ldap == nil || s.ldap.GroupAttribute != "gidNumber" || s.password || s.restore {
		t.Errorf("the directory is %+v, passwords %t", s.ldap, s.password)
	}
}

func TestFileWithoutVariables(t *testing.T) {
	off := Switch(false)
	app := &App{
		OIDC: &OIDC{Issuer: "https://file.acme.test", ClientID: "file", RedirectHosts: []string{"wandb.acme.test"}}, Session: &SessionConfig{Length: caddy.Duration(time.Hour)},
		SSOProvisioning: &off, Domains: []*Domain{{Name: "acme.test", DefaultTeam: "all", Teams: []string{"vision"}}},
	}
	if err := provisioned(t, app, nil); err != nil {
		t.Fatal(err)
	}
	s := app.signIn
	if s.oidc.Method != oidc.Implicit || s.length != time.Hour || s.settings.Provision || len(s.hosts) != 1 || s.sites || s.settings.Domains[0].DefaultTeam != "all" || s.ldap != nil {
		t.Errorf("%+v", s)
	}
	if err := provisioned(t, app, map[string]string{"HOST": "https://people.acme.test"}); err != nil || strings.Join(app.signIn.hosts, " ") != "wandb.acme.test people.acme.test" || app.signIn.sites {
		t.Errorf("beside HOST: %v, %+v", err, app.signIn)
	}
	if none := new(App); provisioned(t, none, nil) != nil || none.signIn.configured() || !none.signIn.settings.Provision {
		t.Error("without anything, somebody can sign in")
	}
	if restore := new(App); provisioned(t, restore, map[string]string{"LOCAL_RESTORE": "true"}) != nil || !restore.signIn.configured() {
		t.Error("LOCAL_RESTORE lets nobody in")
	}
}

// TestVariablesThatStopTheStart: each is named, and no value is repeated.
func TestVariablesThatStopTheStart(t *testing.T) {
	provider := map[string]string{"OIDC_ISSUER": "https://a.test", "OIDC_CLIENT_ID": "a"}
	for _, test := range []struct {
		with  map[string]string
		names string
	}{
		{map[string]string{"OIDC_ISSUER": "https://a.test"}, "OIDC_ISSUER"},
		{map[string]string{"OIDC_ISSUER": "https://a.test", "GORILLA_OIDC_ISSUER": "https://b.test"}, "GORILLA_OIDC_ISSUER"},
		{map[string]string{"OIDC_CLIENT_ID": "a", "GORILLA_OIDC_CLIENT_ID": "b"}, "GORILLA_OIDC_CLIENT_ID"},
		{map[string]string{"GORILLA_OIDC_SECRET": "canary", "OIDC_SECRET": "canary2"}, "OIDC_SECRET"},
		{map[string]string{"OIDC_AUTH_METHOD": "code"}, "OIDC_AUTH_METHOD"}, // also where nothing else is set
		{map[string]string{"OIDC_AUTH_METHOD": "pkce", "GORILLA_AUTH_METHOD": "implicit"}, "GORILLA_AUTH_METHOD"},
		{map[string]string{"SESSION_LENGTH": "720h"}, "SESSION_LENGTH"},
		{map[string]string{"SESSION_LENGTH": "0"}, "SESSION_LENGTH"},
		{map[string]string{"SESSION_LENGTH": "-5"}, "SESSION_LENGTH"},
		{map[string]string{"SESSION_LENGTH": "1.5"}, "SESSION_LENGTH"},
		{map[string]string{"SESSION_LENGTH": "99999999999"}, "SESSION_LENGTH"},
		{map[string]string{"GORILLA_SESSION_LENGTH": "24"}, "GORILLA_SESSION_LENGTH"},
		{map[string]string{"SESSION_LENGTH": "24", "GORILLA_SESSION_LENGTH": "48h"}, "GORILLA_SESSION_LENGTH"},
		{map[string]string{"DISABLE_SSO_PROVISIONING": "maybe"}, "DISABLE_SSO_PROVISIONING"},
		{map[string]string{"DISABLE_SSO_PROVISIONING": "true", "GORILLA_DISABLE_SSO_PROVISIONING": "false"}, "GORILLA_DISABLE_SSO_PROVISIONING"},
		{map[string]string{"GORILLA_ENABLE_SSO_GROUP_CLAIMS": "true", "GORILLA_ENABLE_SSO_GROUPS_CLAIMS": "false"}, "GORILLA_ENABLE_SSO_GROUPS_CLAIMS"},
		{map[string]string{"LOCAL_RESTORE": "please"}, "LOCAL_RESTORE"},
		{map[string]string{"LOCAL_LDAP_LOGIN": "perhaps"}, "LOCAL_LDAP_LOGIN"},
		{map[string]string{"LOCAL_LDAP_TLS_ENABLE": "perhaps"}, "LOCAL_LDAP_TLS_ENABLE"},
		{map[string]string{"LOCAL_LDAP_ADDRESS": "ftp://x"}, "LOCAL_LDAP_ADDRESS"},
		{map[string]string{"GORILLA_LDAP_GROUP_SYNC": "canary"}, "GORILLA_LDAP_GROUP_SYNC"},
		{map[string]string{"HOST": "ftp://wandb.acme.test"}, "HOST"},
		{map[string]string{"HOST": "https://wandb.acme.test/path"}, "HOST"},
		{map[string]string{"SKIP_AUDIENCE_VALIDATION": "canary"}, "SKIP_AUDIENCE_VALIDATION"},
	} {
		err := provisioned(t, new(App), test.with)
		if err == nil || !strings.Contains(err.Error(), test.names) || strings.Contains(err.Error(), "canary") {
			t.Errorf("%v: %v", test.with, err)
		}
	}
	// Equal spellings are no contradiction, and an empty one is unset.
	for _, with := range []map[string]string{
		{"GORILLA_OIDC_ISSUER": "https://a.test"}, {"SESSION_LENGTH": "24", "GORILLA_SESSION_LENGTH": "24h"},
		{"OIDC_AUTH_METHOD": "pkce", "GORILLA_AUTH_METHOD": "PKCE"}, {"LOCAL_RESTORE": "", "GORILLA_OIDC_CLIENT_ID": " "},
		{"GORILLA_ENABLE_SSO_GROUP_CLAIMS": "true", "GORILLA_ENABLE_SSO_GROUPS_CLAIMS": "1"},
	} {
		for name, value := range provider {
			with[name] = value
		}
		if err := provisioned(t, new(App), with); err != nil {
			t.Errorf("%v: %v", with, err)
		}
	}
}
