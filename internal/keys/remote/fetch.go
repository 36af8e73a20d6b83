package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/keys/jws"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// The bounds of what an issuer may take and send (threats J17).
const (
	requestTimeout    = 5 * time.Second
	fetchTimeout      = 10 * time.Second // of all requests for one fetch
	maxDiscoveryBytes = 256 << 10
	maxRedirects      = 3
	maxHeaderBytes    = 64 << 10
)

// discoveryPaths are where issuers describe themselves: the path of the standard first, then that of
// W&B's older documentation (FED-4).
var discoveryPaths = []string{"/.well-known/openid-configuration", "/.well-known/oidc-configuration"}

// Discovery is what an issuer says about itself.
type Discovery struct {
	// Issuer is its name, which is the one that was asked for.
	Issuer string
	// JWKSURI is where its key set is.
	JWKSURI string
	// Path is where the description was found, below the issuer's URL.
	Path string
	// Algorithms are those that it says it signs ID tokens with. They are for people to read: what
	// counts is the key set.
	Algorithms []string
}

// client makes the requests for one issuer.
type client struct {
	issuer string
	http   *http.Client
	own    *http.Transport // nil if it is the caller's
}

func newClient(c Config) *client {
	transport := c.Transport
	var own *http.Transport
	if transport == nil {
		own = &http.Transport{
			Proxy:           http.ProxyFromEnvironment,
			TLSClientConfig: &tls.Config{RootCAs: c.Roots, MinVersion: tls.VersionTLS12},
			// A fetch is two requests in minutes; a connection kept for them would only outlive the Set.
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: maxHeaderBytes,
			TLSHandshakeTimeout:    requestTimeout,
		}
		transport = own
	}
	return &client{issuer: c.Issuer, http: &http.Client{Transport: transport, CheckRedirect: withinOrigin}, own: own}
}

func (c *client) close() {
	if c.own != nil {
		c.own.CloseIdleConnections()
	}
}

// withinOrigin follows redirects only to where the first request went: whoever may answer there may
// say what the keys are, others may not.
func withinOrigin(next *http.Request, via []*http.Request) error {
	switch {
	case origin(next.URL) != origin(via[0].URL):
		return fmt.Errorf("it redirects to %s, and redirects to other places are not followed", untrusted.Quote(origin(next.URL)))
	case next.URL.User != nil:
		return errors.New("it redirects to a URL with a user name")
	case len(via) > maxRedirects:
		return fmt.Errorf("it redirects more than %d times", maxRedirects)
	}
	return nil
}

func origin(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return u.Scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}

// statusError is an answer that is not 200.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("it answered with status %d", int(e)) }

// errNotJSON is an answer of 200 that is a page for people.
var errNotJSON = errors.New("it answered with an HTML page instead of JSON")

// get returns the body of an answer of at most limit bytes.
func (c *client) get(ctx context.Context, address string, limit int64) ([]byte, http.Header, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, errNoURL
	}
	request.Header.Set("Accept", "application/json, application/jwk-set+json")
	request.Header.Set("User-Agent", "wandb-gateway")
	answer, err := c.http.Do(request)
	if err != nil {
		var wrapped *url.Error // repeats method and address, which the caller names
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		return nil, nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, nil, statusError(answer.StatusCode)
	}
	if strings.HasPrefix(strings.ToLower(answer.Header.Get("Content-Type")), "text/html") {
		return nil, nil, errNotJSON
	}
	body, err := io.ReadAll(io.LimitReader(answer.Body, limit+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reading its answer: %w", err)
	case int64(len(body)) > limit:
		return nil, nil, fmt.Errorf("its answer is larger than %d bytes", limit)
	}
	return body, answer.Header, nil
}

// Discover asks an issuer where its keys are, once and without keeping anything. Errors are of
// iam.KindUnavailable and say what the issuer did; of iam.KindInvalid if it cannot be an issuer.
func Discover(ctx context.Context, c Config) (Discovery, error) {
	if err := c.validate(); err != nil {
		return Discovery{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	asking := newClient(c)
	defer asking.close()
	found, err := asking.discover(ctx)
	if err != nil {
		return Discovery{}, &iam.Error{Kind: iam.KindUnavailable, Reason: ReasonUnavailable,
			Message: fmt.Sprintf("the issuer %s does not say where its keys are", untrusted.Quote(c.Issuer)), Err: err}
	}
	return found, nil
}

func (c *client) discover(ctx context.Context) (Discovery, error) {
	var failures []error
	for _, path := range discoveryPaths {
		// Section 4.1 of OpenID Connect Discovery 1.0: without the slash that an issuer may end with.
		address := strings.TrimSuffix(c.issuer, "/") + path
		body, _, err := c.get(ctx, address, maxDiscoveryBytes)
		if err == nil {
			found, err := c.readDiscovery(body)
			if err != nil {
				return Discovery{}, fmt.Errorf("%s: %w", address, err)
			}
			found.Path = path
			return found, nil
		}
		failures = append(failures, fmt.Errorf("%s: %w", address, err))
		if !elsewhere(err) {
			break
		}
	}
	return Discovery{}, errors.Join(failures...)
}

// elsewhere reports whether an answer means that the description is not at this path, so that another
// is worth a request; an issuer that is down is not asked twice.
func elsewhere(err error) bool {
	status, ok := errors.AsType[statusError](err)
	return ok && status >= 400 && status < 500 && status != http.StatusTooManyRequests || errors.Is(err, errNotJSON)
}

func (c *client) readDiscovery(body []byte) (Discovery, error) {
	// Names are exact and none may stand twice, as everywhere where trust is decided.
	var text struct {
		Issuer     string `json:"issuer"`
		JWKSURI    string `json:"jwks_uri"`
		Algorithms any    `json:"id_token_signing_alg_values_supported"`
	}
	if err := json.Unmarshal(body, &text); err != nil {
		return Discovery{}, errors.New("its answer is not the JSON description of an issuer")
	}
	if text.Issuer != c.issuer { // exact bytes (threats J10)
		return Discovery{}, fmt.Errorf("it calls itself %s, which is not exactly %s: configure the issuer as it calls itself", untrusted.Quote(text.Issuer), untrusted.Quote(c.issuer))
	}
	if err := c.mayFetchFrom(text.JWKSURI); err != nil {
		return Discovery{}, err
	}
	found := Discovery{Issuer: text.Issuer, JWKSURI: text.JWKSURI}
	list, _ := text.Algorithms.([]any)
	for _, one := range list {
		if name, ok := one.(string); ok {
			found.Algorithms = append(found.Algorithms, name)
		}
	}
	return found, nil
}

// mayFetchFrom says whether the keys of this issuer may be at an address. Many are on another host.
func (c *client) mayFetchFrom(address string) error {
	u, err := parseURL(address)
	if err != nil {
		return fmt.Errorf("its `jwks_uri` %s is no URL", untrusted.Quote(address))
	}
	if u.Scheme == "https" {
		return nil
	}
	if issuer, err := parseURL(c.issuer); err == nil && plainLoopback(issuer) && plainLoopback(u) {
		return nil
	}
	return fmt.Errorf("its `jwks_uri` %s is not https", untrusted.Quote(address))
}

// fetched is what one fetch brought.
type fetched struct {
	keys    *jws.KeySet
	ignored []string
	fresh   time.Duration
}

// fetchKeys returns the key set at an address. One without a key that can be used is no answer: it
// would turn a mistake of the issuer's into the refusal of everybody.
func (c *client) fetchKeys(ctx context.Context, address string) (fetched, error) {
	body, header, err := c.get(ctx, address, jws.MaxKeySetBytes)
	if err != nil {
		return fetched{}, fmt.Errorf("%s: %w", address, err)
	}
	keys, ignored, err := jws.ParseKeySet(body)
	if err != nil {
		return fetched{}, fmt.Errorf("%s: %w", address, err)
	}
	got := fetched{keys, ignored, freshness(header)}
	if keys.Len() == 0 {
		return got, fmt.Errorf("%s: none of its %d keys can be used", address, len(ignored))
	}
	return got, nil
}

// freshness returns for how long a key set is used before it is fetched again: as long as the issuer
// says (RFC 9111 section 5.2.2), within bounds.
func freshness(header http.Header) time.Duration {
	for _, line := range header.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.ToLower(strings.TrimSpace(directive))
			if directive == "no-store" || directive == "no-cache" {
				return minFresh
			}
			if digits, ok := strings.CutPrefix(directive, "max-age="); ok {
				seconds, err := strconv.ParseUint(strings.Trim(digits, `"`), 10, 31)
				if err != nil {
					return defaultFresh
				}
				return min(max(time.Duration(seconds)*time.Second, minFresh), maxFresh)
			}
		}
	}
	return defaultFresh
}
