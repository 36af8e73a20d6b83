package tokenexchange

import (
	"encoding/json"
	"net/http"
	"strconv"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/problem"
)

// The paths that the metadata names (design section 6).
const (
	tokenPath = "/oidc/token"
	keysPath  = "/.well-known/wandb-gateway/jwks.json"
)

// Metadata is the door /.well-known/oauth-authorization-server (RFC 8414 section 3).
func (e *Endpoint) Metadata(w http.ResponseWriter, r *http.Request) {
	gateway := e.Gateway(r)
	text, err := json.Marshal(struct {
		Issuer        string   `json:"issuer"`
		TokenEndpoint string   `json:"token_endpoint"`
		KeysURL       string   `json:"jwks_uri"`
		GrantTypes    []string `json:"grant_types_supported"`
		ResponseTypes []string `json:"response_types_supported"`
		AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	}{gateway, gateway + tokenPath, gateway + keysPath, []string{grantType}, []string{}, []string{"none"}})
	writePublic(w, r, text, err)
}

// Keys is the door /.well-known/wandb-gateway/jwks.json: the public keys that verify access tokens
// (RFC 7517 section 5).
func (e *Endpoint) Keys(w http.ResponseWriter, r *http.Request) {
	text, err := e.Service.Signing.Published(r.Context())
	writePublic(w, r, text, unreachable(err))
}

// publicAge is how long others may keep what is published. New keys are published longer than that
// before they sign.
const publicAge = 300

func writePublic(w http.ResponseWriter, r *http.Request, text []byte, err error) {
	if err == nil && r.Method != http.MethodGet && r.Method != http.MethodHead {
		err = methodNotAllowed
	}
	if err != nil {
		problem.From(err).WriteJSON(w)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "public, max-age="+strconv.Itoa(publicAge))
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", strconv.Itoa(len(text)))
	w.Write(text)
}

var methodNotAllowed error = &iam.Error{Kind: iam.KindInvalid, Reason: problem.ReasonMethodNotAllowed, Message: "This address takes GET."}
