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
		store {store}
		{directory}
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

// embedded is the store that a gateway has by itself, local the directory.
const (
	embedded = "embedded ./data"
	local    = "directory local"
)

// startGateway starts Caddy with the gateway, which trusts the issuer and the provider. What the store and
// the directory are is written as in its configuration.
func (b *bench) startGateway(ctx context.Context, name, store, directory string) (*side, error) {
	global := strings.NewReplacer("{store}", store, "{directory}", directory).Replace(fmt.Sprintf(gatewayGlobal, b.issuer.url, b.provider.url))
	home := filepath.Join(b.folder, strings.ReplaceAll(name, " ", "-"))
	return b.keep(startSide(ctx, name, b.binary, home, b.upstream, b.proxyCore, global, gatewayDirective))
}

// fill imports the population into a side's own directory.
func (s *side) fill(ctx context.Context, binary, home string, p population) error {
	file, err := p.importFile()
	if err != nil {
		return err
	}
	return s.take(ctx, binary, home, file)
}

// take imports a file.
func (s *side) take(ctx context.Context, binary, home string, file []byte) error {
	path := filepath.Join(home, s.name+" import.json")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, binary, "iam", "import", path, "--address", s.admin).CombinedOutput()
	if err != nil {
		return s.failed(fmt.Errorf("iam import: %w: %s", err, out))
	}
	return nil
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
