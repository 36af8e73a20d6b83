// Package verifyassertion shows how a server behind wandb-gateway verifies the header
// X-Wandb-Gateway-Assertion. It is meant to be copied: it imports nothing of the gateway's own.
// docs/verify-assertion.md says why each check is there.
package verifyassertion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// Header carries the assertion.
const Header = "X-Wandb-Gateway-Assertion"

const (
	tokenType = "wandb-gateway-assertion+jwt"
	leeway    = 10 * time.Second // for clocks that differ
	maxLife   = time.Minute
	// A key set is used for keysAge, and not fetched more often than every minFetch, whatever arrives.
	keysAge  = 5 * time.Minute
	minFetch = 5 * time.Second
	maxKeys  = 1 << 20 // bytes of a key set
)

// Caller is who makes a request.
type Caller struct {
	Subject      string   `json:"sub"` // user:<id> or service_account:<id>: stays the same when a name changes
	Organization string   `json:"organization"`
	Username     string   `json:"preferred_username"`
	Email        string   `json:"email"`
	Groups       []string `json:"groups"`
	// OnBehalfOf is the person whom a service account works for, nil if it works for itself.
	OnBehalfOf *Caller `json:"on_behalf_of"`
}

// Verifier verifies assertions. Its fields are set once, before its first use.
type Verifier struct {
	Issuer   string // the gateway's address, such as https://wandb.acme.com
	Audience string // what the gateway calls this server, such as http://wandb.internal:8080
	KeysURL  string // Issuer + "/.well-known/wandb-gateway/jwks.json"
	Client   *http.Client
	Now      func() time.Time // nil means time.Now

	mu        sync.Mutex
	keys      jose.JSONWebKeySet
	fetched   time.Time
	attempted time.Time
}

// Request verifies the assertion of a request. A request without one, or with two, has no caller: let
// it do nothing that needs one.
func (v *Verifier) Request(r *http.Request) (*Caller, error) {
	values := r.Header.Values(Header)
	if len(values) != 1 {
		return nil, fmt.Errorf("%d assertions, want 1", len(values))
	}
	return v.Verify(r.Context(), values[0])
}

// Verify returns whom an assertion is about.
func (v *Verifier) Verify(ctx context.Context, text string) (*Caller, error) {
	// The algorithms are ours to say, never the token's.
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.ES256, jose.EdDSA})
	if err != nil {
		return nil, err
	}
	if len(token.Headers) != 1 || token.Headers[0].ExtraHeaders[jose.HeaderType] != tokenType {
		return nil, errors.New("not an assertion: the gateway signs access tokens with the same keys")
	}
	key, err := v.key(ctx, token.Headers[0].KeyID)
	if err != nil {
		return nil, err
	}
	if key.Algorithm != token.Headers[0].Algorithm {
		return nil, errors.New("the key is for another algorithm")
	}
	var claims jwt.Claims
	var caller Caller
	if err := token.Claims(key.Key, &claims, &caller); err != nil { // checks the signature
		return nil, err
	}
	now := v.now()
	expected := jwt.Expected{Issuer: v.Issuer, AnyAudience: jwt.Audience{v.Audience}, Time: now}
	if err := claims.ValidateWithLeeway(expected, leeway); err != nil {
		return nil, err
	}
	switch { // what ValidateWithLeeway lets pass if it is missing
	case claims.Expiry == nil || claims.IssuedAt == nil:
		return nil, errors.New("without exp or iat")
	case claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > maxLife:
		return nil, errors.New("it lives too long")
	case caller.Subject == "":
		return nil, errors.New("without a subject")
	}
	return &caller, nil
}

// key finds a key by its id. The set is fetched anew when it is old, so that a key that the gateway
// took away counts no longer, and when it lacks the key, which may be new.
func (v *Verifier) key(ctx context.Context, id string) (*jose.JSONWebKey, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	found := v.keys.Key(id)
	if len(found) == 1 && now.Sub(v.fetched) < keysAge {
		return &found[0], nil
	}
	if now.Sub(v.attempted) >= minFetch {
		v.attempted = now
		if err := v.fetch(ctx); err != nil {
			return nil, fmt.Errorf("fetching the gateway's keys: %w", err) // nobody can tell: answer 503, not 401
		}
		v.fetched = now
		found = v.keys.Key(id)
	}
	if len(found) != 1 || now.Sub(v.fetched) >= keysAge {
		return nil, errors.New("signed with an unknown key")
	}
	return &found[0], nil
}

func (v *Verifier) fetch(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.KeysURL, nil)
	if err != nil {
		return err
	}
	client := v.Client
	if client == nil {
		client = http.DefaultClient
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return errors.New(res.Status)
	}
	var keys jose.JSONWebKeySet
	if err := json.NewDecoder(io.LimitReader(res.Body, maxKeys)).Decode(&keys); err != nil {
		return err
	}
	keys.Keys = slices.DeleteFunc(keys.Keys, func(k jose.JSONWebKey) bool { return !k.IsPublic() || k.Use != "sig" })
	v.keys = keys
	return nil
}

func (v *Verifier) now() time.Time {
	if v.Now != nil {
		return v.Now()
	}
	return time.Now()
}
