// Package wandbgateway makes the gateway a plugin of Caddy: importing it registers the app
// wandb_gateway, the handler http.handlers.wandb_gateway and the iam commands, so that
//
//	xcaddy build --with github.com/wandb-gateway/wandb-gateway
//
// builds a Caddy that has them.
package wandbgateway

import _ "github.com/wandb-gateway/wandb-gateway/caddymodule"
