package gateway

import (
	"net/http"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
)

// maxClaimBytes bounds a name or e-mail address that a client claims.
const maxClaimBytes = 320

// readClaim takes whom the client says it works for. Two lines of one kind are no claim (design
// section 6), nor is one that could not be a name.
func readClaim(h http.Header) iam.Attribution {
	return iam.Attribution{Username: onlyValue(h[headerAttributionName]), Email: onlyValue(h[headerAttributionEmail])}
}

func onlyValue(values []string) string {
	if len(values) != 1 || len(values[0]) > maxClaimBytes {
		return ""
	}
	return values[0]
}

// attribute finds the person whose name goes upstream. A person is always attributed to
// themselves; a service account to whom it names, if the claim holds; otherwise the request goes on
// without, and the event says so (ATTR-5..9, design section 8).
func (x *exchange) attribute() error {
	p := x.caller.Principal
	if p == nil || x.claim == (iam.Attribution{}) {
		return nil
	}
	if !p.IsServiceAccount() {
		x.event.AttributionDropped = claimsAnother(x.claim, p)
		return nil
	}
	person, err := x.g.Directory.Attribute(x.r.Context(), x.caller, x.destination, x.claim)
	if err != nil {
		return fail(err)
	}
	if person == nil {
		x.event.AttributionDropped = true
		return nil
	}
	x.event.Attributed = person
	return nil
}

// claimsAnother reports whether a person claims to work for somebody else.
func claimsAnother(c iam.Attribution, p *iam.Principal) bool {
	if name := iam.FoldName(c.Username); name != "" { // which beats the e-mail address (ATTR-3)
		return name != iam.FoldName(p.Username) && name != iam.FoldName(p.Email)
	}
	return iam.FoldName(c.Email) != iam.FoldName(p.Email)
}
