package caddymodule

import (
	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/wandb-gateway/wandb-gateway/gateway"
)

func init() {
	httpcaddyfile.RegisterGlobalOption("wandb_gateway", parseGlobal)
	httpcaddyfile.RegisterHandlerDirective("wandb_gateway", parseSite)
	httpcaddyfile.RegisterDirectiveOrder("wandb_gateway", httpcaddyfile.Before, "reverse_proxy")
}

// parseGlobal reads the block in the global options (design section 7).
func parseGlobal(d *caddyfile.Dispenser, existing any) (any, error) {
	if existing != nil {
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
//		store embedded <folder>
//		master_key <base64> | master_key_file <file>
//		directory local | directory wandb <url> { ... }
//		enforcement enforce|shadow
//		failure_limit <number>/s|m|h | off
//		stale_limit <duration>
//		personal_entities on|off
//		anonymous_public_projects on|off
//	}
func (a *App) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // wandb_gateway
	if d.NextArg() {
		return d.ArgErr()
	}
	return eachOption(d, map[string]func(*caddyfile.Dispenser) error{
		"organization":              text(&a.Organization),
		"store":                     a.parseStore,
		"master_key":                text(&a.MasterKey),
		"master_key_file":           text(&a.MasterKeyFile),
		"directory":                 a.parseDirectory,
		"enforcement":               oneOf(&a.Enforcement, "enforce", "shadow"),
		"failure_limit":             a.parseFailureLimit,
		"stale_limit":               duration(&a.StaleLimit),
		"personal_entities":         a.parsePersonalEntities,
		"anonymous_public_projects": onOff(&a.AnonymousPublicProjects),
	})
}

func (a *App) parseStore(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) == 0 || len(args) > 2 || args[0] != "embedded" {
		return d.Errf("store %q is not known; write `store embedded FOLDER`", args)
	}
	a.Store = &Store{Backend: args[0]}
	if len(args) == 2 {
		a.Store.Path = args[1]
	}
	return nil
}

func (a *App) parseDirectory(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("directory needs a source: local, or wandb URL")
	}
	a.Directory = &DirectoryConfig{Source: d.Val()}
	switch d.Val() {
	case sourceLocal:
		if d.NextArg() {
			return d.ArgErr()
		}
		return eachOption(d, nil)
	case sourceWandb:
		if err := text(&a.Directory.URL)(d); err != nil {
			return err
		}
		return eachOption(d, map[string]func(*caddyfile.Dispenser) error{
			"api_key": text(&a.Directory.APIKey),
			"tls_ca":  text(&a.Directory.TLSCA),
			"hits":    duration(&a.Directory.Hits),
			"misses":  duration(&a.Directory.Misses),
			"timeout": duration(&a.Directory.Timeout),
		})
	default:
		return d.Errf("directory %q is neither local nor wandb", d.Val())
	}
}

func (a *App) parseFailureLimit(d *caddyfile.Dispenser) error {
	if err := text(&a.FailureLimit)(d); err != nil {
		return err
	}
	if _, err := gateway.ParseFailureLimit(a.FailureLimit); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (a *App) parsePersonalEntities(d *caddyfile.Dispenser) error {
	a.PersonalEntities = new(Switch)
	return onOff(a.PersonalEntities)(d)
}

// parseSite reads the directive in a site's block:
//
//	wandb_gateway [<matcher>] {
//		upstream_credential none | passthrough | api_key <key>
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
		return d.ArgErr()
	}
	return eachOption(d, map[string]func(*caddyfile.Dispenser) error{
		"upstream_credential": h.parseUpstreamCredential,
		"unplaced":            oneOf(&h.Unplaced, "deny", "members", "allow"),
		"unknown_route":       oneOf(&h.UnknownRoute, "refuse", "forward"),
		"telemetry":           oneOf(&h.Telemetry, "off", "forward"),
		"weave_prefix":        text(&h.WeavePrefix),
	})
}

func (h *Handler) parseUpstreamCredential(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.Err("upstream_credential needs one of none, passthrough, api_key KEY")
	}
	h.UpstreamCredential = d.Val()
	switch d.Val() {
	case "none", "passthrough":
		if d.NextArg() {
			return d.ArgErr()
		}
		return nil
	case "api_key":
		return text(&h.APIKey)(d)
	default:
		return d.Errf("upstream_credential %q is not none, passthrough or api_key", d.Val())
	}
}

// eachOption reads a block of options, each at most once.
func eachOption(d *caddyfile.Dispenser, options map[string]func(*caddyfile.Dispenser) error) error {
	seen := make(map[string]bool)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		read, ok := options[name]
		if !ok {
			return d.Errf("unknown option %q", name)
		}
		if seen[name] {
			return d.Errf("%s stands twice; keep one", name)
		}
		seen[name] = true
		if err := read(d); err != nil {
			return err
		}
	}
	return nil
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

func oneOf(into *string, values ...string) func(*caddyfile.Dispenser) error {
	return func(d *caddyfile.Dispenser) error {
		name := d.Val()
		if err := text(into)(d); err != nil {
			return err
		}
		for _, v := range values {
			if *into == v {
				return nil
			}
		}
		return d.Errf("%s %q is not one of %v", name, *into, values)
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

func duration(into *caddy.Duration) func(*caddyfile.Dispenser) error {
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
		*into = caddy.Duration(parsed)
		return nil
	}
}

// Interface guards.
var (
	_ caddyfile.Unmarshaler = (*App)(nil)
	_ caddyfile.Unmarshaler = (*Handler)(nil)
)
