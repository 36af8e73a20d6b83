package caddymodule

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/tokenexchange"
)

// JWTIssuer is an issuer whose assertions are exchanged for access tokens (FED-1).
type JWTIssuer struct {
	// URL is the issuer, byte for byte as it stands in the claim `iss`.
	URL string `json:"url"`
	// Audience lists the audiences of which an assertion must have one. Default: the organization's
	// name, and `wandb`.
	Audience []string `json:"audience,omitempty"`
	// Algorithms lists those that its keys may sign with. Default: the asymmetric ones of its key set.
	Algorithms []string `json:"algorithms,omitempty"`
	// Subject says whom an assertion is about: without it the claim `sub`, which is a person's e-mail
	// address or a service account's subject; `email` if people are numbered in `sub` and known by the
	// verified claim `email`; `claim NAME` for another claim.
	Subject string `json:"subject,omitempty"`
	// Preset names what kind of workloads the issuer vouches for: github_actions, gitlab, kubernetes,
	// google, aws, azure or buildkite. Such an issuer vouches for service accounts only.
	Preset string `json:"preset,omitempty"`
	// KeysURL is the address of its key set, for an issuer without a discovery document.
	KeysURL string `json:"keys_url,omitempty"`
	// KeysFile is a file with its key set, for a site that cannot reach the issuer.
	KeysFile string `json:"keys_file,omitempty"`
	// TLSCA is a file of certificates to trust for it, in place of the system's.
	TLSCA string `json:"tls_ca,omitempty"`
}

// AccessToken says how the gateway's own tokens are made.
type AccessToken struct {
	// Lifetime is how long one counts, 10m to 24h. Default: 1h.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
	// Algorithm is what they are signed with: ES256 or EdDSA. Default: ES256.
	Algorithm string `json:"algorithm,omitempty"`
	// Issuer is the address under which others know the gateway: the `iss` of its tokens. Default: the
	// address that the client used.
	Issuer string `json:"issuer,omitempty"`
}

// parseJWTIssuer reads
//
//	jwt_issuer <url> {
//		audience <audience...>
//		algorithms <algorithm...>
//		subject email | subject claim <name>
//		preset <name>
//		keys_url <url>
//		keys_file <file>
//		tls_ca <file>
//	}
func (a *App) parseJWTIssuer(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() == "" {
		return d.Err("jwt_issuer needs the issuer's address, as it stands in the claim iss; write `jwt_issuer https://token.actions.githubusercontent.com`")
	}
	issuer := &JWTIssuer{URL: d.Val()}
	if d.NextArg() {
		return d.Errf("jwt_issuer takes one address, not also %q; options stand in a block behind it", d.Val())
	}
	err := eachOption(d, options{
		"audience":   texts(&issuer.Audience),
		"algorithms": texts(&issuer.Algorithms),
		"subject":    issuer.parseSubject,
		"preset":     oneOf(&issuer.Preset, tokenexchange.PresetNames()...),
		"keys_url":   text(&issuer.KeysURL),
		"keys_file":  text(&issuer.KeysFile),
		"tls_ca":     text(&issuer.TLSCA),
	})
	if err != nil {
		return err
	}
	a.JWTIssuers = append(a.JWTIssuers, issuer)
	if slices.ContainsFunc(issuer.values(), func(s *string) bool { return hasPlaceholder(*s) }) {
		return nil // checked when the configuration is loaded
	}
	if err := issuer.check(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (i *JWTIssuer) parseSubject(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	i.Subject = strings.Join(args, " ")
	if len(args) == 0 {
		return d.Err("subject needs `email`, or `claim NAME`")
	}
	return nil
}

// values are the settings in which placeholders may stand.
func (i *JWTIssuer) values() []*string {
	values := []*string{&i.URL, &i.Subject, &i.KeysURL, &i.KeysFile, &i.TLSCA}
	for n := range i.Audience {
		values = append(values, &i.Audience[n])
	}
	return values
}

func (i *JWTIssuer) expand(replacer *caddy.Replacer) error {
	for _, value := range i.values() {
		expanded, err := replacer.ReplaceOrErr(*value, true, true)
		if err != nil {
			return fmt.Errorf("wandb_gateway: jwt_issuer: %w; set the variable, or write the value", err)
		}
		*value = expanded
	}
	return nil
}

// check checks what can be checked without opening a file.
func (i *JWTIssuer) check() error {
	t, err := i.trusted()
	if err != nil {
		return err
	}
	if i.KeysURL != "" && i.KeysFile != "" {
		return iam.Invalidf("jwt_issuer %s: keys_url and keys_file are both set; keep one", i.URL)
	}
	if err := t.Check(); err != nil {
		return fmt.Errorf("jwt_issuer: %w", err)
	}
	return nil
}

// trusted is the issuer without what stands in files.
func (i *JWTIssuer) trusted() (tokenexchange.TrustedIssuer, error) {
	t := tokenexchange.TrustedIssuer{URL: i.URL, Audiences: i.Audience, Subject: i.Subject, Preset: i.Preset, KeysURL: i.KeysURL}
	for _, name := range i.Algorithms {
		algorithm, err := jws.ParseAlgorithm(name)
		if err != nil {
			return t, fmt.Errorf("jwt_issuer %s: algorithms: %w", i.URL, err)
		}
		t.Algorithms = append(t.Algorithms, algorithm)
	}
	return t, nil
}

// load is the issuer with what stands in files.
func (i *JWTIssuer) load() (tokenexchange.TrustedIssuer, error) {
	t, err := i.trusted()
	if err != nil {
		return t, err
	}
	if i.KeysFile != "" {
		if t.Keys, err = os.ReadFile(i.KeysFile); err != nil {
			return t, iam.Invalidf("jwt_issuer %s: keys_file: %v", i.URL, err)
		}
	}
	if i.TLSCA != "" {
		pem, err := os.ReadFile(i.TLSCA)
		if err != nil {
			return t, iam.Invalidf("jwt_issuer %s: tls_ca: %v", i.URL, err)
		}
		t.Roots = string(pem)
	}
	return t, nil
}

// parseAccessToken reads `access_token { lifetime <duration>; algorithm ES256|EdDSA; issuer <url> }`.
func (a *App) parseAccessToken(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("access_token takes its options in a block, such as `access_token { lifetime 1h }`, not %q", d.Val())
	}
	a.AccessToken = new(AccessToken)
	err := eachOption(d, options{
		"lifetime":  duration(&a.AccessToken.Lifetime, checkTokenLifetime),
		"algorithm": oneOf(&a.AccessToken.Algorithm, "ES256", "EdDSA"),
		"issuer":    checked(&a.AccessToken.Issuer, checkTokenIssuer),
	})
	if err == nil && *a.AccessToken == (AccessToken{}) {
		err = d.Err("access_token needs a block, such as `access_token { lifetime 1h }`")
	}
	return err
}

func checkTokenLifetime(_ string, d time.Duration) error { return tokenexchange.CheckLifetime(d) }

// checkTokenIssuer checks the gateway's own address: scheme and host, as others write it.
func checkTokenIssuer(s string) error {
	u, err := serverURL(s)
	if err != nil || u.Path != "" {
		return iam.Invalidf("access_token issuer %q is not the gateway's address; write scheme and host only, such as https://wandb.example.com", s)
	}
	return nil
}

func (t *AccessToken) check() error {
	if t.Lifetime != 0 {
		if err := tokenexchange.CheckLifetime(time.Duration(t.Lifetime)); err != nil {
			return err
		}
	}
	if t.Issuer != "" {
		if err := checkTokenIssuer(t.Issuer); err != nil {
			return err
		}
	}
	if t.Algorithm == "" {
		return nil
	}
	return checkOneOf("access_token algorithm", t.Algorithm, "ES256", "EdDSA")
}

// checkFederation checks all that concerns tokens.
func (a *App) checkFederation() error {
	for n, issuer := range a.JWTIssuers {
		if err := issuer.check(); err != nil {
			return err
		}
		if slices.ContainsFunc(a.JWTIssuers[:n], func(other *JWTIssuer) bool { return other.URL == issuer.URL }) {
			return iam.Invalidf("jwt_issuer %s stands twice; keep one", issuer.URL)
		}
	}
	return a.AccessToken.check()
}
