// Package facts is where a gateway's facts come from: Local reads the gateway's own record, Wandb
// the deployment behind it, beside what the gateway itself knows. Both fulfil gateway.Directory, the
// one seam between the two (design section 4). They decide nothing.
package facts
