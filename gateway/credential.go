package gateway

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"strings"

	"github.com/wandb-gateway/wandb-gateway/internal/iam"
	"github.com/wandb-gateway/wandb-gateway/internal/session"
)

// maxCredentialBytes bounds an Authorization value: an assertion with many groups has some 8 KiB.
const maxCredentialBytes = 16 << 10

// TicketHeader carries an upload's ticket (design section 6).
const TicketHeader = "X-Wandb-Gateway-Ticket"

// weaveKeyHeader carries an API key where OpenTelemetry exporters send traces to Weave.
const weaveKeyHeader = "Wandb-Api-Key"

// credentialPlaces says what may hold a credential beside Authorization.
type credentialPlaces struct {
	// session is the gateway's own cookie, whose name depends on https.
	session, https bool
	// serverCookies are a session of the server behind the gateway.
	serverCookies bool
	// weaveHeader is the header of Weave's exporters.
	weaveHeader bool
}

// readCredential finds the one credential of a request. An Authorization header counts before any
// cookie, and the gateway's own session before the server's cookies, from which it takes its own. Tickets
// are read apart (Tickets.present), for a client may send one beside its credential.
//
// Two Authorization lines are refused rather than resolved: whichever we judged, the server behind
// us might obey the other (threats P12).
func readCredential(h http.Header, where credentialPlaces) (iam.Credential, error) {
	authorization, tickets, weaveKeys := h["Authorization"], h[TicketHeader], h[weaveKeyHeader]
	if !where.weaveHeader {
		weaveKeys = nil
	}
	if len(authorization) > 1 || len(tickets) > 1 || len(authorization)+len(weaveKeys) > 1 {
		return iam.Credential{}, &iam.Error{
			Kind: iam.KindInvalid, Reason: ReasonTwoCredentials,
			Message: "The request carries two credentials. Send exactly one Authorization header.",
		}
	}
	switch {
	case len(authorization) == 1:
		return parseAuthorization(authorization[0])
	case len(weaveKeys) == 1 && weaveKeys[0] != "":
		return credentialOf(weaveKeys[0], false)
	}
	if where.session {
		if secret, found := session.Read(h, where.https); found {
			return iam.Credential{Kind: iam.CredentialSession, Secret: secret}, nil
		}
	}
	if !where.serverCookies {
		return iam.Credential{}, nil
	}
	session.Strip(h) // of a sign-in that has begun, or a session that counts for nobody: not the server's
	if cookies := h["Cookie"]; len(cookies) > 0 {
		value := strings.Join(cookies, "; ")
		if len(value) > maxCredentialBytes {
			return iam.Credential{}, errCredentialTooLarge
		}
		return iam.Credential{Kind: iam.CredentialCookie, Secret: iam.NewSecret(value)}, nil
	}
	return iam.Credential{}, nil
}

var errCredentialTooLarge = &iam.Error{
	Kind: iam.KindInvalid, Reason: ReasonMalformedCredential,
	Message: "The credential is longer than 16 KiB, which no API key or token is. Check WANDB_API_KEY.",
}

// parseAuthorization reads `Basic base64(anything:credential)` and `Bearer credential`. The user
// name of Basic is no part of the credential (sdk-wire 1.2). An empty credential is none at all:
// old clients without a key send `Basic base64("api:")`.
func parseAuthorization(value string) (iam.Credential, error) {
	if len(value) > maxCredentialBytes {
		return iam.Credential{}, errCredentialTooLarge
	}
	scheme, rest, _ := strings.Cut(value, " ")
	rest = strings.TrimLeft(rest, " ") // RFC 9110 section 11.4: one or more spaces
	switch {
	case strings.EqualFold(scheme, "Basic"):
		password, err := parseBasic(rest)
		if err != nil || password == "" {
			return iam.Credential{}, err
		}
		return credentialOf(password, false)
	case strings.EqualFold(scheme, "Bearer"):
		if rest == "" {
			return iam.Credential{}, nil
		}
		return credentialOf(rest, true)
	default:
		return iam.Credential{}, malformed("The Authorization header is neither Basic nor Bearer.")
	}
}

// strict is the alphabet without unused bits that are set: two spellings of one credential would be two
// entries in every cache behind us.
var strict = base64.StdEncoding.Strict()

// parseBasic returns what stands behind the first colon of RFC 7617 credentials.
func parseBasic(encoded string) (password string, err error) {
	var inline [128]byte // a key fits, and costs one allocation in place of three
	raw, err := strict.AppendDecode(inline[:0], []byte(encoded))
	if err != nil || strings.ContainsAny(encoded, "\r\n") { // line breaks, which the decoder skips
		return "", malformed("The Basic credential is not base64.")
	}
	_, behind, ok := bytes.Cut(raw, []byte{':'})
	if !ok {
		return "", malformed("The Basic credential has no colon between user name and API key.")
	}
	return string(behind), nil
}

// credentialOf tells by its own form what a credential is.
func credentialOf(value string, bearer bool) (iam.Credential, error) {
	if len(value) > maxCredentialBytes {
		return iam.Credential{}, errCredentialTooLarge
	}
	for i := range len(value) {
		if c := value[i]; c <= ' ' || c >= 0x7f {
			return iam.Credential{}, malformed("The API key holds a space, a control character or a character outside ASCII. Copy it again, without quotes or line breaks.")
		}
	}
	kind := iam.CredentialAPIKey
	if strings.Count(value, ".") == 2 {
		kind = iam.CredentialToken
	}
	return iam.Credential{Kind: kind, Bearer: bearer, Secret: iam.NewSecret(value)}, nil
}

// malformed is a 401: no credential of that form exists.
func malformed(message string) error {
	return &iam.Error{Kind: iam.KindUnauthenticated, Reason: ReasonMalformedCredential, Message: message}
}
