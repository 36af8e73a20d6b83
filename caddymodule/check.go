package caddymodule

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/failure"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys"
)

// What is wrong with one setting is found here, for the Caddyfile, whose parser adds the line, and
// for JSON alike. No error shows a value that may hold a secret.

func checkOrganization(s string) error {
	if !iam.ValidName(s) {
		return iam.Invalidf("organization %q is not a name of letters, digits and . _ @ -", s)
	}
	return nil
}

func checkMasterKey(s string) error {
	_, err := keys.ParseMasterKey(s)
	return err
}

func checkFailureLimit(s string) error {
	_, err := failure.ParseRate(s)
	return err
}

func checkStaleLimit(name string, d time.Duration) error {
	if d < time.Second || d > time.Minute {
		return iam.Invalidf("%s %s is not between 1s and 60s", name, d)
	}
	return nil
}

func checkLookupTime(name string, d time.Duration) error {
	if d < 0 || d > time.Hour {
		return iam.Invalidf("directory wandb: %s %s is not between 0 and 1h", name, d)
	}
	return nil
}

// Bounds of cache_size. Below, the records of one busy team push each other out; above, a mistake in
// the unit is likelier than a machine of that size.
const (
	minCacheSize Size = 16 << 20
	maxCacheSize Size = 64 << 30
)

func checkCacheSize(s Size) error {
	if s < minCacheSize || s > maxCacheSize {
		return iam.Invalidf("cache_size %s is not between %s and %s", s, minCacheSize, maxCacheSize)
	}
	return nil
}

func checkWeavePrefix(s string) error {
	if !strings.HasPrefix(s, "/") || len(s) < 2 || strings.HasSuffix(s, "/") {
		return iam.Invalidf("weave_prefix %q is not a path such as /traces", s)
	}
	return nil
}

// checkOneOf refuses a value that a setting does not have.
func checkOneOf(name, value string, values ...string) error {
	if !slices.Contains(values, value) {
		return notOneOf(name, value, values...)
	}
	return nil
}

// notOneOf says which values a setting has.
func notOneOf(name, value string, values ...string) error {
	if len(values) == 2 {
		return iam.Invalidf("%s %q is neither %s nor %s", name, value, values[0], values[1])
	}
	last := len(values) - 1
	return iam.Invalidf("%s %q is not %s or %s", name, value, strings.Join(values[:last], ", "), values[last])
}

var (
	errLocalOptions = iam.Invalidf("directory local takes no address and no options; write `directory wandb URL { ... }` if the W&B server is the record")
	errNoAddress    = iam.Invalidf("directory wandb needs the address of the W&B server, and there is none, or its variable is empty; write `directory wandb https://wandb.example.com`")
)

// serverURL reads the base URL of a W&B server. People put passwords and keys into addresses, so an
// address that could hold one is not repeated.
func serverURL(s string) (*url.URL, error) {
	u, err := url.Parse(s)
	switch {
	case s == "":
		return nil, errNoAddress
	case strings.Contains(s, "@"):
		return nil, iam.Invalidf("directory wandb: the address holds a user name or a password; write scheme, host and port only, and an admin's key in the block: `directory wandb https://wandb.example.com { api_key {env.WANDB_ADMIN_KEY} }`")
	case strings.ContainsAny(s, "?#"):
		return nil, iam.Invalidf("directory wandb: the address has a query or a fragment; write scheme, host and port only, such as https://wandb.example.com")
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, iam.Invalidf("directory wandb %q is not the address of a W&B server; write `directory wandb https://wandb.example.com`", s)
	}
	return u, nil
}
