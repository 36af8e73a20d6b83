package oidc

import (
	"errors"
	"fmt"
	"time"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/untrusted"
)

// The reasons for which a sign-in or a sign-out is refused; those of package jws come beside them.
const (
	ReasonUnavailable     iam.Reason = "provider_unavailable"   // the provider is away, or cannot be used
	ReasonAnswerMalformed iam.Reason = "answer_malformed"       // the callback is no answer of a provider
	ReasonFlowUnknown     iam.Reason = "flow_unknown"           // no sign-in of this kind and provider was begun
	ReasonFlowExpired     iam.Reason = "flow_expired"           // it was begun too long ago
	ReasonState           iam.Reason = "state_mismatch"         // the answer belongs to another sign-in
	ReasonIssuer          iam.Reason = "issuer_mismatch"        // another provider answered
	ReasonAccessDenied    iam.Reason = "access_denied"          // the provider does not let this person in
	ReasonRefused         iam.Reason = "provider_refused"       // the provider does not let the gateway ask
	ReasonCodeRefused     iam.Reason = "code_refused"           // the provider did not redeem the code
	ReasonClientRefused   iam.Reason = "client_refused"         // the provider does not know the client id or secret
	ReasonNoIDToken       iam.Reason = "id_token_missing"       // the provider redeemed the code, for no ID token
	ReasonTokenKind       iam.Reason = "token_kind"             // a token of another kind
	ReasonAudience        iam.Reason = "audience_mismatch"      // a token for somebody else
	ReasonExpired         iam.Reason = "token_expired"          // a token whose time is over
	ReasonNotYetValid     iam.Reason = "token_not_yet_valid"    // a token whose time has not come
	ReasonTooOld          iam.Reason = "token_too_old"          // a token from before this sign-in
	ReasonNonce           iam.Reason = "nonce_mismatch"         // a token for another sign-in
	ReasonSubject         iam.Reason = "subject_malformed"      // a token about nobody
	ReasonTokenHash       iam.Reason = "token_hash_mismatch"    // an ID token beside somebody else's access token
	ReasonClaim           iam.Reason = "claim_malformed"        // a required claim is missing or of another type
	ReasonEmail           iam.Reason = "email_unusable"         // no e-mail address, or not exactly one
	ReasonLogoutEvent     iam.Reason = "logout_event_malformed" // a token that ends no session
)

// refused is an answer that proves nothing. What the person reads is the same for every reason
// (threats J30); the detail is for audit and log.
func refused(reason iam.Reason, format string, args ...any) error {
	return refusedFor(reason, fmt.Errorf(format, args...))
}

func refusedFor(reason iam.Reason, detail error) error {
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: reason, Message: provesNobody, Err: detail}
}

const provesNobody = "the sign-in was refused, because the answer of the OpenID provider does not prove who you are: sign in again, and if that fails too, ask an administrator to look up the reason in the gateway's audit log"

// again is a sign-in that was not begun here, or too long ago.
func again(reason iam.Reason, message string) error {
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: reason, Message: message + ": sign in again"}
}

func malformed(format string, args ...any) error {
	return &iam.Error{Kind: iam.KindInvalid, Reason: ReasonAnswerMalformed, Err: fmt.Errorf(format, args...),
		Message: "this is no answer of an OpenID provider that the gateway can read: sign in again, and if that fails too, ask an administrator whether the provider is set up for the gateway's authentication method"}
}

// away says that nobody can tell. The cause is for the log and the administrator.
func (c *Connector) away(cause error, after time.Duration) error {
	return &iam.Error{Kind: iam.KindUnavailable, Reason: ReasonUnavailable, RetryAfter: after, Err: cause,
		Message: fmt.Sprintf("the OpenID provider %s cannot be used at the moment, so that nobody can sign in with it; API keys and running sessions go on: try again soon", c.issuer)}
}

// unproven returns why a token does not count. The detail stays inside; not knowing stays not knowing.
func unproven(err error) error {
	e, ok := errors.AsType[*iam.Error](err)
	if ok && (e.Kind == iam.KindUnavailable || e.Message == provesNobody) {
		return err
	}
	return refusedFor(iam.ReasonOf(err), err)
}

const maxDiagnosticBytes = 200

// clean returns a text from the provider as it can stand in a log.
func clean(s string, secrets ...string) string {
	return untrusted.Line(untrusted.Redact(s, secrets...), maxDiagnosticBytes)
}

func cleaned(err error, secrets ...string) error { return errors.New(clean(err.Error(), secrets...)) }

// visible reports whether s has nothing but visible ASCII characters.
func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
