package caddymodule

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("wandb_gateway", parseGlobal)
	httpcaddyfile.RegisterHandlerDirective("wandb_gateway", parseSite)
	httpcaddyfile.RegisterDirectiveOrder("wandb_gateway", httpcaddyfile.Before, "reverse_proxy")
}

// parseGlobal reads the block in the global options (design section 7).
func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
		d.Next() // for the line
		return nil, d.Err("wandb_gateway stands twice in the global options; merge the two blocks")
	}
	app := new(App)
	if err := app.UnmarshalCaddyfile(d); err != nil {
		return nil, err
	}
	return httpcaddyfile.App{Name: "wandb_gateway", Value: caddyconfig.JSON(app, nil)}, nil
}

// UnmarshalCaddyfile reads
//
//	wandb_gateway {
//		organization <name>
//		store embedded <folder> | store redis <url> { ... }
//		master_key <base64> | master_key_file <file>
//		directory local | directory wandb <url> { ... }
//		enforcement enforce|shadow
//		failure_limit <number>/s|m|h | off
//		stale_limit <duration>
//		cache_size <size>
//		personal_entities on|off
//		api_key_creation on|off
//		seamless_reload on|off
//		anonymous_public_projects on|off
//		jwt_issuer <url> { ... }
//		access_token { ... }
//		skip_audience_validation on|off
//		oidc { ... }
//		ldap { ... }
//		session { length <duration> }
//		sso_provisioning on|off
//		sso_group_claims on|off
//		identifier_claims on|off
//		domain <name> { ... }
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // wandb_gateway
	if d.NextArg() {
		return d.Errf("wandb_gateway takes no argument; write its options in a block, not %q", d.Val())
	}
	return eachOption(d, a.options(), "jwt_issuer", "domain")
}

// options are those of the global block.
func (a *App) options() options {
	return options{
		"organization":              a.parseOrganization,
		"store":                     a.parseStore,
		"master_key":                a.parseMasterKey,
		"master_key_file":           a.parseMasterKeyFile,
		"directory":                 a.parseDirectory,
		"enforcement":               oneOf(&a.Enforcement, "enforce", "shadow"),
		"failure_limit":             checked(&a.FailureLimit, checkFailureLimit),
		"stale_limit":               duration(&a.StaleLimit, checkStaleLimit),
		"cache_size":                a.parseCacheSize,
		"personal_entities":         a.parsePersonalEntities,
		"api_key_creation":          a.parseAPIKeyCreation,
		"seamless_reload":           a.parseSeamlessReload,
		"anonymous_public_projects": onOff(&a.AnonymousPublicProjects),
		"jwt_issuer":                a.parseJWTIssuer,
		"access_token":              a.parseAccessToken,
		"skip_audience_validation":  onOff(&a.SkipAudienceValidation),
		"oidc":                      a.parseOIDC,
		"ldap":                      a.parseLDAP,
		"session":                   a.parseSession,
		"sso_provisioning":          a.parseSSOProvisioning,
		"sso_group_claims":          onOff(&a.SSOGroupClaims),
		"identifier_claims":         onOff(&a.IdentifierClaims),
		"domain":                    a.parseDomain,
	}
}

// parseOrganization reads `organization <name> [{ formerly <name> }]`.
func (a *App) parseOrganization(d *caddyfile.Dispenser) error {
	if err := checked(&a.Organization, checkOrganization)(d); err != nil {
		return err
	}
	return eachOption(d, options{"formerly": checked(&a.Formerly, checkOrganization)})
}

func (a *App) parseMasterKey(d *caddyfile.Dispenser) error {
	if err := checked(&a.MasterKey, checkMasterKey)(d); err != nil {
		return err
	}
	return a.oneMasterKey(d)
}

func (a *App) parseMasterKeyFile(d *caddyfile.Dispenser) error {
	if err := text(&a.MasterKeyFile)(d); err != nil {
		return err
	}
	return a.oneMasterKey(d)
}

func (a *App) oneMasterKey(d *caddyfile.Dispenser) error {
	if err := a.checkOneMasterKey(); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) parseDirectory(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("directory needs a source; write `directory local`, or `directory wandb URL`")
	}
	a.Directory = &DirectoryConfig{Source: d.Val()}
	switch d.Val() {
	case sourceLocal:
		if d.NextArg() {
			return d.WrapErr(errLocalOptions)
		}
		if d.NextBlock(d.Nesting()) {
			return d.WrapErr(errLocalOptions)
		}
		return nil
	case sourceWandb:
		return a.Directory.parseWandb(d)
	default:
		return d.WrapErr(notOneOf("directory", d.Val(), sourceLocal, sourceWandb))
	}
}

func (c *DirectoryConfig) parseWandb(d *caddyfile.Dispenser) error {
	if !d.NextArg() || d.Val() == "" {
		return d.WrapErr(errNoAddress)
	}
	c.URL = d.Val()
	if !hasPlaceholder(c.URL) {
		if _, err := serverURL(c.URL); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Err("directory wandb takes one address; options stand in a block behind it")
	}
	return eachOption(d, options{
		"api_key": text(&c.APIKey),
		"tls_ca":  text(&c.TLSCA),
		"hits":    duration(&c.Hits, checkLookupTime),
		"misses":  duration(&c.Misses, checkLookupTime),
		"timeout": duration(&c.Timeout, checkLookupTime),
	})
}

func (a *App) parseCacheSize(d *caddyfile.Dispenser) error {
	var value string
	if err := text(&value)(d); err != nil {
		return err
	}
	size, err := parseSize(value)
	if err != nil {
		return d.Errf("cache_size %w", err)
	}
	if err := checkCacheSize(size); err != nil {
		return d.WrapErr(err)
	}
	a.CacheSize = size
	return nil
}

func (a *App) parseSeamlessReload(d *caddyfile.Dispenser) error {
	a.SeamlessReload = new(Switch)
	return onOff(a.SeamlessReload)(d)
}

func (a *App) parsePersonalEntities(d *caddyfile.Dispenser) error {
	a.PersonalEntities = new(Switch)
	return onOff(a.PersonalEntities)(d)
}

func (a *App) parseAPIKeyCreation(d *caddyfile.Dispenser) error {
	a.APIKeyCreation = new(Switch)
	return onOff(a.APIKeyCreation)(d)
}

// parseSite reads the directive in a site's block:
//
//	wandb_gateway [<matcher>] {
//		upstream_credential none | passthrough | api_key <key> | per_user
//		assertion on [<audience>] | off
//		unplaced deny|members|allow
//		unknown_route refuse|forward
//		telemetry off|forward
//		weave_prefix <path>
//	}
func parseSite(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	return handler, handler.UnmarshalCaddyfile(h.Dispenser)
}

// UnmarshalCaddyfile implements caddyfile.Unmarshaler.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // wandb_gateway
	if d.NextArg() {
		return d.Errf("%q is no matcher; write a path such as /api/*, a named matcher such as @name, or none, and options in a block", d.Val())
	}
	return eachOption(d, h.options())
}

// options are those of a site's block.
func (h *Handler) options() options {
	return options{
		"upstream_credential": h.parseUpstreamCredential,
		"assertion":           h.parseAssertion,
		"unplaced":            oneOf(&h.Unplaced, "deny", "members", "allow"),
		"unknown_route":       oneOf(&h.UnknownRoute, "refuse", "forward"),
		"telemetry":           oneOf(&h.Telemetry, "off", "forward"),
		"weave_prefix":        checked(&h.WeavePrefix, checkWeavePrefix),
	}
}

func (h *Handler) parseUpstreamCredential(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("upstream_credential needs one of none, passthrough, api_key KEY, per_user")
	}
	h.UpstreamCredential = d.Val()
	switch d.Val() {
	case "none", "passthrough", "per_user":
		if d.NextArg() {
			return d.Errf("upstream_credential %s takes no key; write `upstream_credential api_key KEY` if the server is to see one", h.UpstreamCredential)
		}
		return nil
	case "api_key":
		return text(&h.APIKey)(d)
	default:
		return d.WrapErr(notOneOf("upstream_credential", d.Val(), upstreamCredentials...))
	}
}

// parseAssertion reads `assertion on [<audience>]` and `assertion off`.
func (h *Handler) parseAssertion(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("assertion needs a value; write `assertion on`, with an audience or without, or `assertion off`")
	}
	if err := checkOneOf("assertion", d.Val(), "on", "off"); err != nil {
		return d.WrapErr(err)
	}
	h.Assertion = d.Val() == "on"
	if !d.NextArg() {
		return nil
	}
	if !h.Assertion || d.Val() == "" {
		return d.Err("assertion takes an audience only behind `on`, and none that is empty")
	}
	h.AssertionAudience = d.Val()
	if !hasPlaceholder(d.Val()) {
		if err := checkAudience(d.Val()); err != nil {
			return d.WrapErr(err)
		}
	}
	if d.NextArg() {
		return d.Errf("assertion on takes one audience, not also %q", d.Val())
	}
	return nil
}

// options are the readers of a block's options, by name.
type options map[string]func(*caddyfile.Dispenser) error

// eachOption reads a block of options, each at most once but those that may stand repeatedly.
func eachOption(d *caddyfile.Dispenser, known options, repeatable ...string) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, ok := known[name]
		if !ok {
			return d.Errf("unknown option %q; %s", name, known.remedy(name))
		}
		if seen[name] && !slices.Contains(repeatable, name) {
			return d.Errf("%s stands twice; keep one", name)
		}
		seen[name] = true
		if err := read(d); err != nil {
			return err
		}
	}
	return nil
}

// remedy says where an option belongs that a block does not have, or which it has.
func (known options) remedy(name string) string {
	if _, ok := new(App).options()[name]; ok {
		return "it stands in the block wandb_gateway of the global options"
	}
	if _, ok := new(Handler).options()[name]; ok {
		return "it stands in the block wandb_gateway of a site"
	}
	return "known are " + strings.Join(slices.Sorted(maps.Keys(known)), ", ")
}

// text reads exactly one argument.
func text(into *string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if !d.NextArg() || d.Val() == "" {
			return d.Errf("%s needs a value", name)
		}
		*into = d.Val()
		if d.NextArg() {
			return d.Errf("%s takes one value, not also %q", name, d.Val())
		}
		return nil
	}
}

// texts reads one argument or more.
func texts(into *[]string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		*into = d.RemainingArgs()
		if len(*into) == 0 || slices.Contains(*into, "") {
			return d.Errf("%s needs a value", name)
		}
		return nil
	}
}

// checked reads one argument and checks it at once, so that an error names its line. What a
// placeholder stands for is checked when the configuration is loaded.
func checked(into *string, check func(string) error) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		if err := text(into)(d); err != nil {
			return err
		}
		if hasPlaceholder(*into) {
			return nil
		}
		if err := check(*into); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
}

func hasPlaceholder(s string) bool { return strings.Contains(s, "{") }

func oneOf(into *string, values ...string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if err := text(into)(d); err != nil {
			return err
		}
		if err := checkOneOf(name, *into, values...); err != nil {
			return d.WrapErr(err)
		}
		return nil
	}
}

func onOff(into *Switch) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		var value string
		if err := oneOf(&value, "on", "off")(d); err != nil {
			return err
		}
		*into = value == "on"
		return nil
	}
}

func duration(into *caddy.Duration, check func(name string, d time.Duration) error) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		var value string
		if err := text(&value)(d); err != nil {
			return err
		}
		parsed, err := caddy.ParseDuration(value)
		if err != nil {
			return d.Errf("%s %q is not a duration such as 10s", name, value)
		}
		if err := check(name, parsed); err != nil {
			return d.WrapErr(err)
		}
		*into = caddy.Duration(parsed)
		return nil
	}
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
