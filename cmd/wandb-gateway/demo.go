package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	"github.com/spf13/cobra"

	"github.com/wandb-gateway/wandb-gateway/internal/standin"
)

func init() {
	caddycmd.RegisterCommand(caddycmd.Command{
		Name:  "demo",
		Usage: "[--listen <address>]",
		Short: "Runs the gateway in front of a stand-in W&B server, with a sample directory",
		Long: `
Runs the gateway, an embedded store and a stand-in W&B server in one process, with a sample
directory, and prints what to paste to log a first run, and what to try that will be refused.
Nothing is kept: the data goes when the demo ends.
`,
		CobraFunc: func(c *cobra.Command) {
			listen := c.Flags().String("listen", ":8080", "Address of the gateway")
			c.Args = cobra.NoArgs
			c.RunE = func(c *cobra.Command, _ []string) error {
				c.SilenceUsage = true
				return runDemo(c.Context(), *listen, c.OutOrStdout())
			}
		},
	})
}

// demoDirectory is a small company: two teams, a project of each visibility, a service account.
const demoDirectory = `{
	"organization": "acme",
	"users": [
		{"username": "alice", "email": "alice@acme.test", "name": "Alice", "role": "admin"},
		{"username": "bob", "email": "bob@acme.test", "name": "Bob"},
		{"username": "vera", "email": "vera@acme.test", "name": "Vera"}
	],
	"teams": [
		{"name": "vision", "members": [{"user": "alice", "role": "admin"}, {"user": "vera", "role": "viewer"}]},
		{"name": "speech", "members": [{"user": "bob", "role": "member"}]}
	],
	"projects": [
		{"entity": "vision", "name": "playground", "visibility": "open", "owner": "alice"},
		{"entity": "vision", "name": "detector", "visibility": "team", "owner": "alice"},
		{"entity": "vision", "name": "secret", "visibility": "restricted", "owner": "alice", "members": [{"user": "alice"}]}
	],
	"service_accounts": [
		{"name": "ci-train", "team": "vision"},
		{"name": "gh-train", "team": "vision", "issuer": "{issuer}", "subject": "repo:acme/detector:ref:refs/heads/main"}
	]
}`

// demoPeople sign in at the stand-in provider.
var demoPeople = []standin.Person{
	{Username: "alice", Email: "alice@acme.test", Name: "Alice, who administers vision"},
	{Username: "bob", Email: "bob@acme.test", Name: "Bob, who is in speech"},
	{Username: "carol", Email: "carol@acme.test", Name: "Carol, whom nobody knows yet"},
}

// runDemo serves until it is interrupted or ctx ends.
func runDemo(ctx context.Context, listen string, out io.Writer) error {
	if ctx == nil {
		ctx = context.Background()
	}
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	data, err := os.MkdirTemp("", "wandb-gateway-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(data)
	server, upstream, err := serveStandIn()
	if err != nil {
		return err
	}
	defer server.Close()
	signIn, provider, issuer, err := serveProvider()
	if err != nil {
		return err
	}
	defer signIn.Close()

	site, admin, err := demoAddresses(listen)
	if err != nil {
		return err
	}
	if err := loadDemo(site, admin, data, upstream, issuer); err != nil {
		return err
	}
	defer caddy.Stop()
	given, err := fillDemo(ctx, admin, issuer)
	if err != nil {
		return err
	}
	if given["token"], err = writeIdentityToken(provider, data); err != nil {
		return err
	}
	printDemo(out, "http://"+site, admin, given)
	<-ctx.Done()
	return nil
}

// serveStandIn starts the stand-in on a port of its own. It trusts the gateway's headers, so it
// listens on loopback only.
func serveStandIn() (*http.Server, string, error) {
	handler, err := standin.New(standin.Config{Organization: "acme", Trust: true})
	if err != nil {
		return nil, "", err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	return serveOn(listener, handler), listener.Addr().String(), nil
}

func serveOn(listener net.Listener, handler http.Handler) *http.Server {
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go server.Serve(listener)
	return server
}

// serveProvider starts the stand-in OpenID provider on a port of its own.
func serveProvider() (*http.Server, *standin.Provider, string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, "", err
	}
	issuer := "http://" + listener.Addr().String()
	provider, err := standin.NewProvider(issuer, "wandb-gateway", demoPeople...)
	if err != nil {
		return nil, nil, "", err
	}
	return serveOn(listener, provider), provider, issuer, nil
}

// writeIdentityToken puts the token of a CI job into a file, as its platform would.
func writeIdentityToken(p *standin.Provider, data string) (string, error) {
	token, err := p.IdentityToken("repo:acme/detector:ref:refs/heads/main", "acme", 12*time.Hour)
	if err != nil {
		return "", err
	}
	file := filepath.Join(data, "identity-token")
	return file, os.WriteFile(file, []byte(token), 0o600)
}

// demoAddresses returns what clients write to reach the gateway, and an address for the admin
// endpoint: Caddy's usual one unless it is taken.
func demoAddresses(listen string) (site, admin string, err error) {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return "", "", fmt.Errorf("--listen %q is not an address such as :8080", listen)
	}
	if host == "" {
		host = "localhost"
	}
	if port == "0" {
		if port, err = freePort(net.JoinHostPort(host, "0")); err != nil {
			return "", "", err
		}
	}
	if _, err = freePort("localhost:2019"); err == nil {
		return net.JoinHostPort(host, port), "localhost:2019", nil
	}
	free, err := freePort("localhost:0")
	return net.JoinHostPort(host, port), net.JoinHostPort("localhost", free), err
}

// freePort finds out which port could be listened on at the address.
func freePort(address string) (string, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// loadDemo starts Caddy with the demo's configuration.
func loadDemo(site, admin, data, upstream, issuer string) error {
	file := fmt.Sprintf(`{
	admin %[1]s
	auto_https off
	persist_config off
	log {
		level WARN
	}
	wandb_gateway {
		organization acme
		store embedded %[2]s
		directory local
		oidc {
			issuer %[5]s
			client_id wandb-gateway
			auth_method pkce
			redirect_hosts %[3]s
		}
		jwt_issuer %[5]s
	}
}
http://%[3]s {
	wandb_gateway
	reverse_proxy http://%[4]s
}
`, admin, data, site, upstream, issuer)
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(file), map[string]any{"filename": "demo"})
	if err != nil {
		return err
	}
	if len(warnings) > 0 {
		return fmt.Errorf("the demo's configuration: %v", warnings)
	}
	if err := caddy.Load(config, true); err != nil {
		return fmt.Errorf("%w\nIf the address is taken, choose another one: demo --listen :8090", err)
	}
	return nil
}

// fillDemo imports the sample directory and makes a key for each caller, as an administrator would:
// through the admin endpoint.
func fillDemo(ctx context.Context, admin, issuer string) (map[string]string, error) {
	if _, err := callDemo(ctx, admin, "import", strings.ReplaceAll(demoDirectory, "{issuer}", issuer)); err != nil {
		return nil, err
	}
	keys := make(map[string]string)
	for _, owner := range []string{"alice", "bob", "vera", "service_account:ci-train"} {
		key, err := callDemo(ctx, admin, "key/create", fmt.Sprintf(`{"owner": %q, "name": "demo"}`, owner))
		if err != nil {
			return nil, err
		}
		keys[owner] = key
	}
	return keys, nil
}

func callDemo(ctx context.Context, admin, path, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+admin+"/wandb_gateway/iam/"+path, bytes.NewBufferString(body))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	var answer struct{ Text, Error string }
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return "", err
	}
	if answer.Error != "" {
		return "", errors.New(answer.Error)
	}
	return answer.Text, nil
}

func printDemo(out io.Writer, url, admin string, keys map[string]string) {
	text := `
The gateway runs at {url}, in front of a stand-in W&B server.

Log a run as Alice, who administers the team vision. In another terminal:

  pip install wandb
  export WANDB_BASE_URL={url}
  export WANDB_API_KEY={alice}

  python - <<'EOF'
  import wandb
  with wandb.init(entity="vision", project="detector") as run:
      run.log({"loss": 0.1})
  EOF

Now what is refused, and what the user reads:

  Bob is in the team speech. The project vision/detector is for its team only:
    WANDB_API_KEY={bob}
  Vera may view what vision does, but not add to it:
    WANDB_API_KEY={vera}
  The service account ci-train writes to vision/detector, but nobody put it on the list of the
  restricted project vision/secret:
    WANDB_API_KEY={ci}

Open {url} in a browser: a stand-in provider asks who you are, and {url}/authorize
then makes you an API key. Carol, whom nobody knows yet, becomes a member at her first sign-in.

A CI job needs no key at all. Its platform gives it a token, which the SDK exchanges by itself:

  unset WANDB_API_KEY
  export WANDB_IDENTITY_TOKEN_FILE={token}
  wandb-gateway iam explain --token $WANDB_IDENTITY_TOKEN_FILE{address}

Everybody may log to vision/playground, which is open. Put ci-train on the list, and it may:

  wandb-gateway iam project set vision/secret --add service_account:ci-train{address}
  wandb-gateway iam explain --as bob --to run:write vision/detector{address}

Press Ctrl-C to end the demo; nothing is kept.
`
	address := ""
	if admin != "localhost:2019" {
		address = " --address " + admin
	}
	fmt.Fprint(out, strings.NewReplacer(
		"{url}", url, "{address}", address,
		"{token}", keys["token"], "{alice}", keys["alice"], "{bob}", keys["bob"], "{vera}", keys["vera"], "{ci}", keys["service_account:ci-train"],
	).Replace(text))
}
