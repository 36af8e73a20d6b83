package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// side is one of the two proxies that are compared.
type side struct {
	name    string
	address string
	admin   string
	*process
}

// The options that both sides have. No access log is configured, which is Caddy's default.
const site = `{
	admin %s
	auto_https off
	persist_config off
	grace_period 1s
%s}
http://:%s {
	bind 127.0.0.1
%s	reverse_proxy %s
}
`

const gatewayGlobal = `	wandb_gateway {
		organization ` + organization + `
		store embedded ./data
		directory local
		jwt_issuer %s
		oidc {
			issuer %s
			client_id ` + signInClient + `
			auth_method pkce
			redirect_hosts {address}
		}
	}
`

const gatewayDirective = `	wandb_gateway {
		upstream_credential none
	}
`

// startPlain starts Caddy with reverse_proxy alone.
func startPlain(ctx context.Context, name, binary, home, upstream string, core int) (*side, error) {
	return startSide(ctx, name, binary, home, upstream, core, "", "")
}

// startGateway starts Caddy with the gateway, which trusts an issuer and a provider, and fills its directory.
func startGateway(ctx context.Context, binary, home, upstream, issuer, provider string, core int, p population) (*side, error) {
	s, err := startSide(ctx, "gateway", binary, home, upstream, core, fmt.Sprintf(gatewayGlobal, issuer, provider), gatewayDirective)
	if err != nil {
		return nil, err
	}
	file, err := p.importFile()
	if err != nil {
		return s, err
	}
	path := filepath.Join(home, "import.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return s, err
	}
	out, err := exec.CommandContext(ctx, binary, "iam", "import", path, "--address", s.admin).CombinedOutput()
	if err != nil {
		return s, s.failed(fmt.Errorf("iam import: %w: %s", err, out))
	}
	return s, nil
}

func startSide(ctx context.Context, name, binary, home, upstream string, core int, global, directive string) (*side, error) {
	s := &side{name: name}
	var err error
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	if s.admin, err = freeAddress(); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(s.address)
	if err != nil {
		return nil, err
	}
	global = strings.ReplaceAll(global, "{address}", s.address)
	config := fmt.Sprintf(site, s.admin, global, port, directive, upstream)
	path := filepath.Join(home, "Caddyfile")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	s.process, err = start(ctx, name, home, core, binary, "run", "--config", path, "--adapter", "caddyfile")
	if err != nil {
		return nil, err
	}
	return s, s.listening(ctx, s.address)
}
