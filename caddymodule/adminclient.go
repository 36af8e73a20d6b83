package caddymodule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/spf13/cobra"
)

// maxAdminAnswer bounds what a command reads of an answer: an export of a large organization.
const maxAdminAnswer = 1 << 30

// callAdmin sends a request to the gateway's routes on Caddy's admin endpoint. What the gateway
// refuses comes back as an error that says why, in the gateway's own words: caddycmd's client would
// wrap them in its own.
func callAdmin(c *cobra.Command, method, path string, body io.Reader) ([]byte, error) {
	res, err := openAdmin(c, method, path, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAdminAnswer))
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, adminError(res.StatusCode, answer)
	}
	return answer, nil
}

// openAdmin sends the request and leaves the answer to be read.
func openAdmin(c *cobra.Command, method, path string, body io.Reader) (*http.Response, error) {
	address, err := c.Flags().GetString("address")
	if err != nil {
		return nil, err
	}
	c.SilenceUsage = true // from here on errors are not about how the command was written
	endpoint, err := caddy.ParseNetworkAddress(address)
	if err != nil || endpoint.PortRangeSize() > 1 {
		return nil, fmt.Errorf("--address %q is not the address of an admin endpoint, such as localhost:2019", address)
	}
	res, err := adminRequest(c.Context(), endpoint, method, adminPrefix+path, body)
	if err != nil {
		return nil, fmt.Errorf("no gateway answers at %s; start it, or name its admin endpoint with --address: %w", address, err)
	}
	return res, nil
}

func adminRequest(ctx context.Context, endpoint caddy.NetworkAddress, method, path string, body io.Reader) (*http.Response, error) {
	host, dial := endpoint.JoinHostPort(0), endpoint.JoinHostPort(0)
	if endpoint.IsUnixNetwork() {
		// Caddy writes a socket's permissions behind a bar; any host name will do.
		dial, _, _ = strings.Cut(endpoint.Host, "|")
		host = "127.0.0.1"
	}
	if ctx == nil {
		ctx = context.Background()
	}
	req, err := http.NewRequestWithContext(ctx, method, "http://"+host+path, body)
	if err != nil {
		return nil, err
	}
	if !endpoint.IsUnixNetwork() {
		req.Header.Set("Origin", "http://"+host) // which the admin endpoint checks
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, endpoint.Network, dial)
		},
	}}
	return client.Do(req)
}

// adminError reads why the gateway refused.
func adminError(status int, answer []byte) error {
	var body struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &body) != nil || body.Error == "" {
		if status == http.StatusNotFound {
			return errors.New("the server at this admin endpoint has no gateway in its configuration")
		}
		return fmt.Errorf("the admin endpoint answered %d: %s", status, strings.TrimSpace(string(answer)))
	}
	return errors.New(body.Error)
}
