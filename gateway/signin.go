package gateway

import (
	"net/http"
	"net/url"

	"github.com/wandb-gateway/wandb-gateway/authz"
	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// What a browser sends is judged by the same rules as an SDK's request. Two things are its own: a page
// that needs a caller leads to sign-in, and a cookie, which goes along with requests that other sites
// make, counts for a change only if one of the site's own pages asks for it.

// checkOrigin refuses a request that could change something if another site may have made the browser
// send it. A WebSocket is one: nothing else keeps other sites from opening it.
func (x *exchange) checkOrigin() error {
	if x.caller.Credential.Kind != iam.CredentialSession || x.caller.Principal == nil {
		return nil
	}
	safe := x.r.Method == http.MethodGet || x.r.Method == http.MethodHead
	if safe && !upgrading(x.r.Header) {
		return nil
	}
	if session.SameOrigin(x.r, x.address()) {
		return nil
	}
	return fail(&iam.Error{
		Kind: iam.KindDenied, Reason: ReasonCrossSite,
		Message: "The browser sent this request for another site, or did not say for which. Do it on a page of " + x.address() + " itself; scripts use an API key instead of a browser's session.",
	})
}

// mustSignIn reports whether a page load was refused only because nobody is signed in.
func (x *exchange) mustSignIn(err error) bool {
	if x.g.SignIn == nil || iam.KindOf(err) != iam.KindUnauthenticated || x.r.Method != http.MethodGet || !x.wantsPage() {
		return false
	}
	kind := x.caller.Credential.Kind
	return kind == iam.NoCredential || kind == iam.CredentialSession
}

// toSignIn sends the browser to sign-in, from where it comes back to the same path and query. The error
// says why it cannot: a page says that itself, rather than to lead to another that does.
func (x *exchange) toSignIn(cause error) error {
	if err := x.g.SignIn.Ready(x.r); err != nil {
		return err
	}
	x.event.Effect, x.event.Reason, x.event.Status, x.event.Err = authz.Deny, iam.ReasonOf(cause), http.StatusFound, cause
	h := x.w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("Location", x.g.SignIn.Page+"?return_to="+url.QueryEscape(x.r.URL.RequestURI()))
	x.w.WriteHeader(http.StatusFound)
	return nil
}

// https reports whether the client speaks https.
func (x *exchange) https() bool {
	if x.g.Host.HTTPS != nil {
		return x.g.Host.HTTPS(x.r)
	}
	return x.r.TLS != nil
}
