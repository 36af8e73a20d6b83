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
	caddy.CustomBinaryName = "wandb-gateway"
	caddy.CustomLongDescription = `A gateway for Weights & Biases: it stands in front of a W&B deployment, finds out who calls, decides
whether this caller may do this, and forwards the request. It is Caddy with the module wandb_gateway,
and has all of Caddy's commands.

	wandb-gateway demo            tries it out, in front of a stand-in server
	wandb-gateway run             runs it with the Caddyfile of this folder
	wandb-gateway validate        checks a configuration without opening anything
	wandb-gateway iam doctor      checks a running gateway
`
	caddycmd.Main()
}
