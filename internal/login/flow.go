package login

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/login/oidc"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// A flow is kept in a cookie of its own, sealed, so that tabs do not disturb each other (threats O01),
// nothing is stored for strangers, and a callback counts only in the browser that began (threats O08).

const (
	// flowLife is how long a person has at the provider.
	flowLife = 10 * time.Minute
	// maxFlows is how many sign-ins a browser can have begun: the oldest is forgotten.
	maxFlows = 5
	// clockLeeway is how far the clocks of two nodes may be apart.
	clockLeeway = time.Minute
)

// heldFlow is what a flow's cookie holds.
type heldFlow struct {
	Flow oidc.Flow
	// Old is the id of the session that the browser had when it began.
	Old string `json:",omitempty"`
}

// flowName returns the name of a flow's cookie. The hash keeps the state, which is in the provider's
// address too, out of it, and the value is sealed for this name: it is of no use under another.
func flowName(state string, https bool) string {
	sum := sha256.Sum256([]byte("flow " + state))
	return session.CookieName(https) + flowSuffix + hex.EncodeToString(sum[:8])
}

// keep gives the browser the flow's cookie, and takes away those of flows that are over or too many.
func (l *Login) keep(w http.ResponseWriter, r *http.Request, f heldFlow) bool {
	name := flowName(f.Flow.State, l.HTTPS(r))
	value, ok := l.seal.close(name, f)
	if !ok {
		f.Flow.ReturnTo = home // the only part that can be long
		if value, ok = l.seal.close(name, f); !ok {
			return false
		}
	}
	l.forget(w, r, l.excess(r))
	l.give(w, r, name, value, flowLife, l.flowSameSite(r))
	return true
}

// flowSameSite returns None where another site's page posts the answer (threats O11). That needs https:
// on http, where only loopback may be, the attribute is left out, and browsers send such a cookie for
// two minutes or without end.
func (l *Login) flowSameSite(r *http.Request) http.SameSite {
	switch {
	case l.Provider.Method() != oidc.Implicit:
		return http.SameSiteLaxMode
	case l.HTTPS(r):
		return http.SameSiteNoneMode
	}
	return 0
}

// excess returns the names of the flows' cookies that make room for one more.
func (l *Login) excess(r *http.Request) []string {
	type begun struct {
		name string
		at   time.Time
	}
	var all []begun
	for name, value := range cookies(r.Header, session.CookieName(l.HTTPS(r))+flowSuffix) {
		var f heldFlow
		if !l.seal.open(name, value, &f) || l.over(&f) {
			f.Flow.Created = time.Time{}
		}
		all = append(all, begun{name, f.Flow.Created})
	}
	slices.SortFunc(all, func(a, b begun) int { return cmp.Or(b.at.Compare(a.at), cmp.Compare(a.name, b.name)) })
	var names []string
	for i, f := range all {
		if i >= maxFlows-1 || f.at.IsZero() {
			names = append(names, f.name)
		}
	}
	return names
}

// maxForgotten bounds the cookies that one answer takes away.
const maxForgotten = 20

func (l *Login) forget(w http.ResponseWriter, r *http.Request, names []string) {
	for _, name := range names[:min(len(names), maxForgotten)] {
		l.take(w, r, name)
	}
}

// over reports whether a flow's time is over, or has not come.
func (l *Login) over(f *heldFlow) bool {
	age := l.Now().Sub(f.Flow.Created)
	return age < -clockLeeway || age > flowLife
}

// resume returns the flow that an answer with this state belongs to, and takes its cookie away: it is
// used up, whatever comes of it. nil if this browser has no such flow.
func (l *Login) resume(w http.ResponseWriter, r *http.Request, state string) *heldFlow {
	name := flowName(state, l.HTTPS(r))
	value := cookie(r.Header, name)
	if state == "" || value == "" {
		return nil
	}
	l.take(w, r, name)
	var f heldFlow
	if !l.seal.open(name, value, &f) || f.Flow.State != state {
		return nil
	}
	return &f
}
