// Command wandb-gateway is Caddy with the gateway built in: all of Caddy's commands, `iam` to
// administer the directory, and `demo`.
package main

import (
	_ "time/tzdata"

	"github.com/caddyserver/caddy/v2"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	_ "github.com/wandb-gateway/wandb-gateway"
)

func main() {
	caddy.CustomBinaryName = "wandb-gateway" // what `help` calls the binary
	caddycmd.Main()
}
